"""Judging orders: placing, replacing, cancelling, expiring. Looks at the state, changes nothing.

A market order trades at once with what rests. What remains of it waits for an auction (it does not rest at
the band's edge, where anyone could sell to it at the highest price). An order with preferences waits for
the auctions altogether. A newer order that could trade with the same account's own is cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..protocol.messages import ZERO_HASH, Order, Side, TimeInForce
from .admission import AT_ONCE, freed_by, refuse_leg_alone, refuse_order
from .book import Match
from .commands import CancelOrder, PlaceOrder, ReplaceOrder
from .events import CloseReason, Event, OrderClosed, OrderPlaced, Rejected, Stage, Traded
from .leaving import closings, expired_orders, expiring, family_legs
from .rejections import Code, refuse
from .state import Interval, KnownOrder, MarketState


def place_order(state: MarketState, command: PlaceOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return the order's placing, its trades and, where it does not rest, its closing."""
    order, digest = command.order, command.digest
    expired = expiring(state, at)
    room = freed_by(state, order.account, expired)
    rejected = refuse_leg_alone(order) or refuse_order(state, order, digest, at, room)
    if rejected is not None:
        return rejected
    placed = OrderPlaced(order, digest, command.signature)
    return (*expired, placed, *_first(state, order, digest, {closed.digest for closed in expired}))


def replace_order(state: MarketState, command: ReplaceOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return the new order's placing, its trades, and the old one's closing.

    The new order keeps the old one's place where price and preferences are the same and it asks for no more energy
    than is open; otherwise it enters anew.
    """
    order, digest = command.order, command.digest
    expired = expiring(state, at)
    gone = {closed.digest for closed in expired}
    rejected = _refuse_replacement(state, command, at, gone)
    if rejected is not None:
        return rejected
    old = state.orders[command.replaces]
    room = freed_by(state, order.account, expired)
    room.free(old)
    rejected = refuse_leg_alone(order) or refuse_order(state, order, digest, at, room)
    if rejected is not None:
        return rejected
    closing = OrderClosed(old.digest, old.remaining_wh, CloseReason.REPLACED)
    if _keeps_its_place(order, old):
        return (*expired, OrderPlaced(order, digest, command.signature, old.digest), closing)
    placed = OrderPlaced(order, digest, command.signature)
    return (*expired, closing, placed, *_first(state, order, digest, gone))


def cancel_orders(state: MarketState, command: CancelOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return the closing of one order or bundle, or of all received by ``until`` whose gates are open."""
    if command.order == ZERO_HASH:
        account = state.accounts.get(command.account)
        mine = [state.orders[digest] for digest in account.open_orders] if account else []
        leaving = (known for known in mine if known.received_at <= command.until and _is_free(state, known, at))
        return tuple(closings(state, leaving, CloseReason.CANCELLED))
    bundle = state.bundles.get(command.order)
    known = state.orders.get(bundle.legs[0] if bundle is not None else command.order)
    if known is None:
        return refuse(Code.UNKNOWN_ORDER, "no such order; check its digest")
    if known.order.account != command.account:
        return refuse(Code.NOT_YOUR_ORDER, "only the account that placed an order may cancel it")
    if known.closed is not None:
        return refuse(Code.ORDER_NOT_OPEN, "nothing of the order is left to cancel", known.closed.value)
    if not _is_free(state, known, at):
        return refuse(Code.GATE_CLOSED, "the gate has closed; the order is in the closing auction")
    return tuple(closings(state, [known], CloseReason.CANCELLED))


def expire_orders(state: MarketState, at: int) -> tuple[Event, ...] | Rejected:
    """Return the closing of every order whose ``valid_until`` has come."""
    expired = expiring(state, at)
    return tuple(expired) if expired else refuse(Code.NOTHING_DUE, "no order expires yet")


def has_expired_orders(state: MarketState, at: int) -> bool:
    """Tell whether some open order has expired at ``at``."""
    return bool(expired_orders(state, at))


def entering(state: MarketState, order: Order, digest: bytes, gone: Collection[bytes]) -> list[Event]:
    """Return the trades of an order that enters and, where it does not stay, its closing.

    Orders in ``gone`` leave in the same moment.
    """
    match, reason = _match(state, order, gone)
    events = _trades(state, order, digest, match)
    if reason is not None:
        events.append(OrderClosed(digest, match.remaining_wh, reason))
    return events


def opposes_own(state: MarketState, order: Order, others: Iterable[KnownOrder]) -> bool:
    """Tell whether an order could trade with one of these, which are of the same account and open."""
    rules, start, side = state.rules, order.delivery_start, order.side
    limit = rules.net_limit(side, order.limit_price_micro_per_kwh)
    for other in others:
        if other.order.delivery_start == start and other.order.side is not side and not other.is_dormant:
            theirs = rules.net_limit(other.order.side, other.order.limit_price_micro_per_kwh)
            if limit is None or theirs is None or (limit >= theirs if side is Side.BUY else limit <= theirs):
                return True
    return False


def _first(state: MarketState, order: Order, digest: bytes, gone: Collection[bytes]) -> list[Event]:
    """Return what a new order does at once: a conditional one nothing before it fires."""
    return entering(state, order, digest, gone) if order.condition is None else []


def _refuse_replacement(state: MarketState, command: ReplaceOrder, at: int, gone: Collection[bytes]) -> Rejected | None:
    """Refuse what cannot take the other order's part."""
    order, old = command.order, state.orders.get(command.replaces)
    if old is None:
        return refuse(Code.UNKNOWN_ORDER, "there is no such order to replace; check its digest")
    if old.order.account != order.account:
        return refuse(Code.NOT_YOUR_ORDER, "only the account that placed an order may replace it")
    if old.closed is not None or old.digest in gone:
        reason = old.closed or CloseReason.EXPIRED
        return refuse(Code.ORDER_NOT_OPEN, "nothing of the order is left to replace", reason.value)
    if old.is_leg:
        return refuse(Code.REPLACE_MISMATCH, "a bundle's leg cannot be replaced; cancel the bundle and place another")
    if (order.delivery_start, order.side) != (old.order.delivery_start, old.order.side):
        return refuse(Code.REPLACE_MISMATCH, "the new order must be for the same interval and side")
    if not _is_before_gate(state, old, at):
        return refuse(Code.GATE_CLOSED, "the gate has closed; the order is in the closing auction")
    return None


def _keeps_its_place(order: Order, old: KnownOrder) -> bool:
    """Only whoever asks for no more than stands there already: nobody behind it loses anything."""
    return (
        order.condition is None
        and order.time_in_force not in AT_ONCE
        and not old.is_dormant
        and order.limit_price_micro_per_kwh == old.order.limit_price_micro_per_kwh
        and order.preferences == old.order.preferences
        and order.energy_wh <= old.remaining_wh
    )


def _match(state: MarketState, order: Order, gone: Collection[bytes]) -> tuple[Match[bytes], CloseReason | None]:
    """Return the order's trades and why it closes at once, if it does."""
    match = _continuous(state, order, gone)
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


def _continuous(state: MarketState, order: Order, gone: Collection[bytes]) -> Match[bytes]:
    """Match with the book of the account's node; where nothing trades before an auction, only look for own orders."""
    rules, account = state.rules, order.account
    interval = state.intervals.get(order.delivery_start)
    if interval is None:
        return Match((), order.energy_wh, self_trade=False)
    if order.preferences is not None or not rules.stages.continuous:
        mine = (state.orders[digest] for digest in state.accounts[account].open_orders if digest not in gone)
        return Match((), order.energy_wh, opposes_own(state, order, mine))
    limit = rules.net_limit(order.side, order.limit_price_micro_per_kwh)
    match = interval.book_of(rules.node_of(account)).match(order.side, order.energy_wh, limit, account, gone)
    if not match.remaining_wh or match.self_trade or account not in interval.held:
        return match
    return match._replace(self_trade=opposes_own(state, order, _held(state, interval, account, gone)))


def _held(state: MarketState, interval: Interval, account: str, gone: Collection[bytes]) -> Iterable[KnownOrder]:
    """Yield the account's orders that wait for an auction outside of the book."""
    return (state.orders[digest] for digest in interval.held[account] if digest not in gone)


def _trades(state: MarketState, taker: Order, digest: bytes, match: Match[bytes]) -> list[Event]:
    """Return a trade per fill, and the closing of each resting order that it completes."""
    events: list[Event] = []
    fees = state.rules.fees
    for trade_id, fill in enumerate(match.fills, state.trades_made + 1):
        buy, sell = fill.key, digest
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
                community_fee_micro_per_kwh=fees.community_fee(fill.price),
            )
        )
        if fill.energy_wh == state.orders[fill.key].remaining_wh:
            events.append(OrderClosed(fill.key, 0, CloseReason.FILLED))
    return events


def _is_free(state: MarketState, known: KnownOrder, at: int) -> bool:
    """Tell whether an order may still leave by its account's will: no gate of what leaves with it has come."""
    together = family_legs(state, known.order.bundle) if known.is_leg else (known,)
    return all(_is_before_gate(state, other, at) for other in together)


def _is_before_gate(state: MarketState, known: KnownOrder, at: int) -> bool:
    return at < state.rules.gate_at(known.order.delivery_start)
