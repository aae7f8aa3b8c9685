"""Judging orders: placing, cancelling, expiring. Looks at the state, changes nothing.

A market order trades at once with what rests. What remains of it waits for the closing auction
(it does not rest at the band's edge, where anyone could sell to it at the highest price).
"""

from __future__ import annotations

from itertools import takewhile

from ..protocol.messages import ZERO_HASH, Order, Side, TimeInForce
from .book import Match, in_order
from .commands import CancelOrder, PlaceOrder
from .events import CloseReason, Event, OrderClosed, OrderPlaced, Rejected, Stage, Traded
from .rejections import Code, refuse
from .rules import MarketRules
from .state import Interval, IntervalStage, KnownOrder, MarketState


def place_order(state: MarketState, command: PlaceOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return the order's placing, its trades and, where it does not rest, its closing."""
    expired = expired_orders(state, at)
    rejected = (
        _refuse_sender(state, command)
        or _refuse_interval(state, command.order, at)
        or _refuse_terms(state, command.order, at)
        or _refuse_funds(state, command.order, expired)
    )
    if rejected is not None:
        return rejected
    events: list[Event] = [_closed(known, CloseReason.EXPIRED) for known in expired]
    events.append(OrderPlaced(command.order, command.digest, command.signature))
    match, reason = _match(state, command.order, {known.digest for known in expired})
    events += _trades(state, command, match)
    if reason is not None:
        events.append(OrderClosed(command.digest, match.remaining_wh, reason))
    return tuple(events)


def cancel_orders(state: MarketState, command: CancelOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return the closing of one order, or of all received by ``until`` whose gates are open."""
    if command.order == ZERO_HASH:
        account = state.accounts.get(command.account)
        known_orders = [state.orders[digest] for digest in account.open_orders] if account else []
        return tuple(
            _closed(known, CloseReason.CANCELLED)
            for known in known_orders
            if known.received_at <= command.until and _is_before_gate(state, known.order, at)
        )
    known = state.orders.get(command.order)
    if known is None:
        return refuse(Code.UNKNOWN_ORDER, "no such order; check its digest")
    if known.order.account != command.account:
        return refuse(Code.NOT_YOUR_ORDER, "only the account that placed an order may cancel it")
    if known.closed is not None:
        return refuse(Code.ORDER_NOT_OPEN, "nothing of the order is left to cancel", known.closed.value)
    if not _is_before_gate(state, known.order, at):
        return refuse(Code.GATE_CLOSED, "the gate has closed; the order is in the closing auction")
    return (_closed(known, CloseReason.CANCELLED),)


def expire_orders(state: MarketState, at: int) -> tuple[Event, ...] | Rejected:
    """Return the closing of every order whose ``valid_until`` has come."""
    expired = expired_orders(state, at)
    if not expired:
        return refuse(Code.NOTHING_DUE, "no order expires yet")
    return tuple(_closed(known, CloseReason.EXPIRED) for known in expired)


def has_expired_orders(state: MarketState, at: int) -> bool:
    """Tell whether some open order has expired at ``at``."""
    return bool(expired_orders(state, at))


def expired_orders(state: MarketState, at: int) -> list[KnownOrder]:
    """Return the open orders whose ``valid_until`` is at most ``at``, the earliest first."""
    due = takewhile(lambda entry: entry[0] <= at, in_order(state.expiries))
    known_orders = (state.orders.get(digest) for _, _, digest in due)
    return [known for known in known_orders if known is not None and known.closed is None]


def _refuse_sender(state: MarketState, command: PlaceOrder) -> Rejected | None:
    order = command.order
    if command.digest in state.orders:
        return refuse(Code.DUPLICATE_ORDER, "the order is known already; ask for its status")
    if state.halted is not None:
        return refuse(Code.TRADING_HALTED, "trading is halted; try again after it resumes", state.halted)
    if order.market != state.rules.market:
        return refuse(Code.WRONG_MARKET, f"this market is {state.rules.market}; sign for it")
    if order.account not in state.members:
        return refuse(Code.NOT_A_MEMBER, "join the market before trading")
    meters = [state.meters[device] for device in state.accounts[order.account].meters]
    if not meters:
        return refuse(Code.UNKNOWN_METER, "register a meter before trading; it settles the trades")
    if all(meter.suspended is not None for meter in meters):
        return refuse(Code.SUSPENDED, "the account's meter is suspended; ask the operator")
    return None


def _refuse_interval(state: MarketState, order: Order, at: int) -> Rejected | None:
    rules, start = state.rules, order.delivery_start
    if start < 0 or start % rules.interval_s:
        return refuse(
            Code.INTERVAL_MISALIGNED,
            f"delivery_start must be a multiple of {rules.interval_s} s",
        )
    if start in state.accounts[order.account].cancelled:
        return refuse(Code.INTERVAL_CANCELLED, "the account cancelled this interval on chain; take another one")
    interval = state.intervals.get(start)
    if interval is not None and interval.stage is not IntervalStage.OPEN:
        return refuse(Code.INTERVAL_NOT_OPEN, "trading for this interval is over; take a later one")
    if at >= rules.gate_at(start):
        return refuse(
            Code.GATE_CLOSED,
            f"the gate closes {rules.gate_s} s before delivery; take a later interval",
        )
    if start > at + rules.horizon_s:
        return refuse(Code.BEYOND_HORIZON, f"orders are taken up to {rules.horizon_s} s ahead; wait")
    return _refuse_crowd(rules, interval, order.account) if interval is not None else None


def _refuse_crowd(rules: MarketRules, interval: Interval, account: str) -> Rejected | None:
    """Refuse whom the memory or the interval's batch has no room for.

    Whoever has no place gets one: places are kept free for all members there may ever be, also for
    those who join later, so the batch's limit holds and nobody can be locked out.
    """
    if interval.orders_by_account.get(account, 0) >= rules.orders_per_account_interval_max:
        return refuse(
            Code.TOO_MANY_ORDERS,
            f"an account may place {rules.orders_per_account_interval_max} orders per interval",
        )
    has_place = account in interval.places_by_account
    kept_free = rules.members_max - len(interval.places_by_account)
    if has_place and interval.places + kept_free >= rules.orders_per_interval_max:
        return refuse(
            Code.INTERVAL_FULL,
            f"what is left of this interval's {rules.orders_per_interval_max} places is kept for members without"
            " one; cancel an order there, or take another interval",
        )
    return None


def _refuse_terms(state: MarketState, order: Order, at: int) -> Rejected | None:
    rules, limit = state.rules, order.limit_price_micro_per_kwh
    if not 1 <= order.energy_wh <= rules.order_energy_max_wh:
        return refuse(Code.ENERGY_OUT_OF_RANGE, f"energy_wh must be from 1 to {rules.order_energy_max_wh}")
    low, high = rules.band
    if limit is not None and not low <= limit <= high:
        return refuse(Code.PRICE_OUT_OF_BAND, f"limit_price_micro_per_kwh must be from {low} to {high}")
    if order.valid_from > at:
        return refuse(Code.NOT_VALID_YET, "the order's valid_from has not come; send it then")
    if order.valid_until and order.valid_until <= at:
        return refuse(Code.EXPIRED, "the order's valid_until has passed; sign a new order")
    if order.time_in_force is TimeInForce.GOOD_TILL_DATE and not order.valid_until:
        return refuse(Code.EXPIRED, "a good_till_date order needs valid_until; sign a new order")
    return None


def _refuse_funds(state: MarketState, order: Order, expired: list[KnownOrder]) -> Rejected | None:
    """Refuse a buy that its account cannot cover, counting what expires in the same moment."""
    needed_micro = state.rules.reserve_micro(order, order.energy_wh)
    freed_micro = sum(
        known.reserved_micro - known.value_micro for known in expired if known.order.account == order.account
    )
    available_micro = state.accounts[order.account].available_micro + freed_micro
    if needed_micro <= max(available_micro, 0):
        return None
    return refuse(
        Code.INSUFFICIENT_FUNDS,
        f"the order reserves {needed_micro} and {available_micro} is available (1e-6 currency); deposit, or buy less",
    )


def _match(state: MarketState, order: Order, gone: set[bytes]) -> tuple[Match[bytes], CloseReason | None]:
    """Return the order's trades and why it closes at once, if it does."""
    interval = state.intervals.get(order.delivery_start) or Interval(order.delivery_start)
    match = interval.book.match(order.side, order.energy_wh, order.limit_price_micro_per_kwh, order.account, gone)
    if not match.remaining_wh:
        return match, CloseReason.FILLED
    kill = order.time_in_force is TimeInForce.FILL_OR_KILL
    if kill:
        match = Match((), order.energy_wh, match.self_trade)
    if match.self_trade:
        return match, CloseReason.SELF_TRADE
    if kill or order.time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL:
        return match, CloseReason.IMMEDIATE
    return match, None


def _trades(state: MarketState, command: PlaceOrder, match: Match[bytes]) -> list[Event]:
    """Return a trade per fill, and the closing of each resting order that it completes."""
    events: list[Event] = []
    taker = command.order
    for trade_id, fill in enumerate(match.fills, state.trades_made + 1):
        buy, sell = fill.key, command.digest
        if taker.side is Side.BUY:
            buy, sell = sell, buy
        events.append(
            Traded(
                trade_id,
                taker.delivery_start,
                buy,
                sell,
                fill.energy_wh,
                fill.price,
                Stage.CONTINUOUS,
            )
        )
        if fill.energy_wh == state.orders[fill.key].remaining_wh:
            events.append(OrderClosed(fill.key, 0, CloseReason.FILLED))
    return events


def _closed(known: KnownOrder, reason: CloseReason) -> OrderClosed:
    return OrderClosed(known.digest, known.remaining_wh, reason)


def _is_before_gate(state: MarketState, order: Order, at: int) -> bool:
    return at < state.rules.gate_at(order.delivery_start)
