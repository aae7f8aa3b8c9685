"""Who may place what: the refusals of orders. Looks at the state, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..protocol.messages import ZERO_HASH, Order, Side, TimeInForce
from ..protocol.order_terms import ZERO_ADDRESS, Condition, Preferences
from .events import OrderClosed, Rejected
from .rejections import Code, refuse
from .rules import MarketRules
from .state import Interval, IntervalStage, KnownOrder, MarketState, awaited_start

AT_ONCE = (TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)
THRESHOLD_MAX = 2**62
"""The largest magnitude of a threshold and of a signal's value, in the signal's unit."""


@dataclass(slots=True)
class Room:
    """What a command's other parts free and take for the same account: money, and orders and places by interval.

    What is freed goes to the account's request on chain first; ``passed_on_micro`` passes to the new order alone.
    ``woken`` are the dormant orders that leave.
    """

    freed_micro: int = 0
    passed_on_micro: int = 0
    woken: int = 0
    orders: dict[int, int] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)

    def take(self, rules: MarketRules, order: Order) -> None:
        """Count an order that the same command places."""
        self.freed_micro -= rules.reserve_micro(order, order.energy_wh)
        self.orders[order.delivery_start] = self.orders.get(order.delivery_start, 0) + 1
        self.places[order.delivery_start] = self.places.get(order.delivery_start, 0) + 1

    def free(self, known: KnownOrder) -> None:
        """Count an open order that the same command replaces."""
        self.passed_on_micro += known.reserved_micro - known.bound_micro
        self.woken += known.is_dormant
        if not known.trades:
            self.places[known.order.delivery_start] = self.places.get(known.order.delivery_start, 0) - 1


def freed_by(state: MarketState, account: str, closings: list[OrderClosed]) -> Room:
    """Return the money and the conditions that an account's orders free which close in the same moment."""
    room = Room()
    for closing in closings:
        known = state.orders[closing.digest]
        if known.order.account == account:
            room.freed_micro += known.reserved_micro - known.bound_micro
            room.woken += known.is_dormant
    return room


def refuse_order(state: MarketState, order: Order, digest: bytes, at: int, room: Room) -> Rejected | None:
    """Refuse an order, also a bundle's leg, that may not be placed now."""
    return (
        refuse_sender(state, order, digest)
        or _refuse_interval(state, order, at, room)
        or _refuse_terms(state, order, at)
        or _refuse_wishes(state, order, at, room)
        or _refuse_funds(state, order, room)
    )


def refuse_sender(state: MarketState, order: Order, digest: bytes) -> Rejected | None:
    """Refuse an order that is known, is not of this market, or whose account may not trade."""
    if digest in state.orders:
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


def refuse_price(rules: MarketRules, side: Side, limit: int | None, name: str) -> Rejected | None:
    """Refuse a limit outside the band, or one that the community's fee leaves no counterparty for."""
    low, high = rules.band
    if limit is None:
        return None
    if not low <= limit <= high:
        return refuse(Code.PRICE_OUT_OF_BAND, f"{name} must be from {low} to {high}")
    net_low, net_high = rules.net_band
    if side is Side.SELL and limit > net_high:
        return refuse(
            Code.PRICE_OUT_OF_BAND,
            f"{name} of a sell must be at most {net_high}: with the community's fee a buyer pays {high} then",
        )
    if side is Side.BUY and rules.fees.net_of(limit) < net_low:
        lowest = net_low + rules.fees.community_fee(net_low)
        return refuse(
            Code.PRICE_OUT_OF_BAND, f"{name} of a buy must be at least {lowest}, the lowest price with the fee"
        )
    return None


def _refuse_interval(state: MarketState, order: Order, at: int, room: Room) -> Rejected | None:
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
    if interval is None and not room.orders:
        return None
    return _refuse_crowd(rules, interval or Interval(start), order.account, room)


def _refuse_crowd(rules: MarketRules, interval: Interval, account: str, room: Room) -> Rejected | None:
    """Refuse whom the memory or the interval's batch has no room for.

    Whoever has no place gets one: places are kept free for all members there may ever be, also for
    those who join later, so the batch's limit holds and nobody can be locked out.
    """
    placed = interval.orders_by_account.get(account, 0) + room.orders.get(interval.delivery_start, 0)
    if placed >= rules.orders_per_account_interval_max:
        return refuse(
            Code.TOO_MANY_ORDERS,
            f"an account may place {rules.orders_per_account_interval_max} orders per interval",
        )
    added = room.places.get(interval.delivery_start, 0)
    held = interval.places_by_account
    has_place = held.get(account, 0) + added > 0
    kept_free = rules.members_max - len(held) - (account not in held)
    if has_place and interval.places + added + kept_free >= rules.orders_per_interval_max:
        return refuse(
            Code.INTERVAL_FULL,
            f"what is left of this interval's {rules.orders_per_interval_max} places is kept for members without"
            " one; cancel an order there, or take another interval",
        )
    return None


def _refuse_terms(state: MarketState, order: Order, at: int) -> Rejected | None:
    rules = state.rules
    if not 1 <= order.energy_wh <= rules.order_energy_max_wh:
        return refuse(Code.ENERGY_OUT_OF_RANGE, f"energy_wh must be from 1 to {rules.order_energy_max_wh}")
    if order.valid_from > at:
        return refuse(Code.NOT_VALID_YET, "the order's valid_from has not come; send it then")
    if order.valid_until and order.valid_until <= at:
        return refuse(Code.EXPIRED, "the order's valid_until has passed; sign a new order")
    if order.time_in_force is TimeInForce.GOOD_TILL_DATE and not order.valid_until:
        return refuse(Code.EXPIRED, "a good_till_date order needs valid_until; sign a new order")
    if order.time_in_force in AT_ONCE and not rules.stages.continuous:
        return refuse(
            Code.TERMS_CONTRADICT,
            f"this market trades in auctions only, {order.time_in_force} waits for none; sign a good_till_gate order",
        )
    limit = order.limit_price_micro_per_kwh
    return refuse_price(rules, order.side, limit, "limit_price_micro_per_kwh")


def _refuse_wishes(state: MarketState, order: Order, at: int, room: Room) -> Rejected | None:
    """Refuse what stands beside price and energy: a condition, preferences."""
    if order.condition is not None:
        rejected = _refuse_condition(state.rules, order, order.condition, at) or _refuse_sleepers(state, order, room)
        if rejected is not None:
            return rejected
    return None if order.preferences is None else _refuse_preferences(state.rules, order, order.preferences)


def _refuse_sleepers(state: MarketState, order: Order, room: Room) -> Rejected | None:
    """Refuse whose dormant orders are too many: each may have to be judged after any command."""
    most = state.rules.stages.conditional_orders_per_account_max
    if state.accounts[order.account].dormant_orders - room.woken >= most:
        return refuse(
            Code.TOO_MANY_CONDITIONS, f"{most} of the account's orders may wait for their condition; cancel one"
        )
    return None


def _refuse_condition(rules: MarketRules, order: Order, condition: Condition, at: int) -> Rejected | None:
    start = awaited_start(order, condition)
    if condition.signal.is_of_the_grid and condition.delivery_start:
        return refuse(
            Code.CONDITION_INVALID, f"{condition.signal} is of no interval: the condition's delivery_start must be 0"
        )
    if start < 0 or start % rules.interval_s:
        return refuse(
            Code.CONDITION_INVALID, f"the condition's delivery_start must be a multiple of {rules.interval_s} s"
        )
    if condition.delivery_start and not at - rules.interval_s <= start <= at + rules.horizon_s:
        return refuse(
            Code.CONDITION_INVALID,
            "the condition's delivery_start must be 0 or an interval from the one before now to"
            f" {rules.horizon_s} s ahead",
        )
    if abs(condition.threshold) > THRESHOLD_MAX:
        return refuse(Code.CONDITION_INVALID, f"the threshold must be from -{THRESHOLD_MAX} to {THRESHOLD_MAX}")
    return None


def _refuse_preferences(rules: MarketRules, order: Order, wishes: Preferences) -> Rejected | None:
    if not (rules.stages.closing or rules.stages.session_every_s):
        return refuse(Code.STAGE_OFF, "preferences need an auction, and this market holds none; sign without them")
    if order.time_in_force in AT_ONCE:
        return refuse(
            Code.TERMS_CONTRADICT,
            f"preferences wait for an auction and {order.time_in_force} waits for none; sign a good_till_gate order",
        )
    limit, other = order.limit_price_micro_per_kwh, wishes.other_limit_price_micro_per_kwh
    if not (wishes.green or wishes.local or wishes.partner != ZERO_ADDRESS):
        return refuse(Code.PREFERENCES_INVALID, "name whom the order prefers: green, local or a partner")
    if wishes.partner == order.account:
        return refuse(Code.PREFERENCES_INVALID, "the preferred partner must be another account")
    if limit is None:
        return refuse(Code.PREFERENCES_INVALID, "an order with preferences needs a limit price")
    if other is None:
        return None
    if other > limit if order.side is Side.BUY else other < limit:
        return refuse(
            Code.PREFERENCES_INVALID,
            f"other_limit_price_micro_per_kwh must not be better for others than the limit {limit}",
        )
    return refuse_price(rules, order.side, other, "other_limit_price_micro_per_kwh")


def _refuse_funds(state: MarketState, order: Order, room: Room) -> Rejected | None:
    """Refuse an order that its account cannot cover, counting what the same command frees and takes.

    What was requested on chain is never reserved again: of it a new order gets only what the one that it replaces
    holds already.
    """
    needed_micro = state.rules.reserve_micro(order, order.energy_wh)
    available_micro = state.accounts[order.account].available_after(room.freed_micro) + room.passed_on_micro
    if needed_micro <= max(available_micro, 0):
        return None
    return refuse(
        Code.INSUFFICIENT_FUNDS,
        f"the order reserves {needed_micro} and {available_micro} is available (1e-6 currency); deposit, or trade less",
    )


def refuse_leg_alone(order: Order) -> Rejected | None:
    """Refuse a bundle's leg that comes without its bundle."""
    if order.bundle == ZERO_HASH:
        return None
    return refuse(Code.LEG_WITHOUT_BUNDLE, "the order is a bundle's leg; place the whole bundle")
