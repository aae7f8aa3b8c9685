"""Conditional orders: what their signals say, and firing them. Looks at the state, changes nothing.

A dormant order is reserved for and trades nowhere. After each command it is due when its signal meets its threshold;
whoever sequences commands then lets it fire (``cascades``) by a command of its own, which judges the condition again.
An order fires once and then enters like a new one.
"""

from __future__ import annotations

from collections.abc import Collection

from ..protocol.messages import Side
from ..protocol.order_terms import Signal
from .admission import THRESHOLD_MAX
from .commands import FireOrder, ObserveSignal
from .events import Event, OrderTriggered, Rejected, SignalObserved
from .leaving import expiring
from .orders import entering
from .rejections import Code, refuse
from .state import KnownOrder, MarketState, awaited_start

GRID_STATES = 4
FREQUENCY_MHZ_MAX = 1_000_000


def fire_order(state: MarketState, command: FireOrder, at: int) -> tuple[Event, ...] | Rejected:
    """Return that the order's condition is met, and what the order does then."""
    known = state.orders.get(command.order)
    if known is None:
        return refuse(Code.UNKNOWN_ORDER, "no such order; check its digest")
    if state.halted is not None:
        return refuse(Code.TRADING_HALTED, "trading is halted; the order waits until it resumes", state.halted)
    expired = expiring(state, at)
    gone = {closed.digest for closed in expired}
    if not known.is_dormant or known.digest in gone:
        return refuse(
            Code.ORDER_NOT_DORMANT, "the order waits for nothing: it has fired or closed, or has no condition"
        )
    if at >= state.rules.gate_at(known.order.delivery_start):
        return refuse(Code.GATE_CLOSED, "the gate has closed before the order's condition was met")
    value = met_value(state, known, gone)
    if value is None:
        return refuse(Code.CONDITION_NOT_MET, "the order's condition is not met; it waits")
    triggered = OrderTriggered(known.digest, value)
    return (*expired, triggered, *entering(state, known.order, known.digest, gone))


def observe_signal(state: MarketState, command: ObserveSignal, at: int) -> tuple[Event, ...] | Rejected:
    """Return that the market was told a value of the grid or of a forecast."""
    signal, start, rules = command.signal, command.delivery_start, state.rules
    if signal.is_of_the_book:
        return refuse(Code.SIGNAL_INVALID, f"the market knows {signal} itself; tell it the grid's signals")
    if signal.is_of_the_grid and start:
        return refuse(Code.SIGNAL_INVALID, f"{signal} is of no interval: delivery_start must be 0")
    if not signal.is_of_the_grid and (start <= 0 or start % rules.interval_s):
        return refuse(Code.INTERVAL_MISALIGNED, f"delivery_start must be a multiple of {rules.interval_s} s")
    if start and not start - rules.horizon_s <= at < start + rules.interval_s:
        return refuse(Code.SIGNAL_INVALID, f"a forecast must be for an interval of the next {rules.horizon_s} s")
    low, high = _range_of(signal)
    if not low <= command.value <= high:
        return refuse(Code.SIGNAL_INVALID, f"the value of {signal} must be from {low} to {high}")
    if command.issued_at and command.issued_at <= state.signals_issued_at.get((signal, start), 0):
        held = state.signals[signal, start]
        return refuse(Code.SIGNAL_OUTDATED, "a newer value is known; sign it anew to change it", str(held))
    return (SignalObserved(signal, start, command.value, command.issued_at),)


def signal_value(
    state: MarketState, signal: Signal, start: int, node: str = "", gone: Collection[bytes] = ()
) -> int | None:
    """Return a signal's value in its unit, ``None`` while there is none.

    The last price is the interval's; the best prices are those of the node's book without the orders in ``gone``,
    and the session's is the node's.
    """
    if not signal.is_of_the_book:
        return state.signals.get((signal, start))
    interval = state.intervals.get(start)
    if interval is None:
        return None
    if signal is Signal.LAST_PRICE:
        return interval.last_price_micro_per_kwh
    if signal is Signal.SESSION_PRICE:
        nodes = interval.session.nodes if interval.session is not None else ()
        return next((found.price_micro_per_kwh for found in nodes if found.node == node), None)
    return interval.book_of(node).best(Side.BUY if signal is Signal.BEST_BID else Side.SELL, gone)


def met_value(state: MarketState, known: KnownOrder, gone: Collection[bytes] = ()) -> int | None:
    """Return the signal's value where it meets the order's threshold; orders in ``gone`` leave in the same moment."""
    order, condition = known.order, known.order.condition
    assert condition is not None
    node = state.rules.node_of(order.account)
    value = signal_value(state, condition.signal, awaited_start(order, condition), node, gone)
    return value if value is not None and condition.comparison.holds(value, condition.threshold) else None


def _range_of(signal: Signal) -> tuple[int, int]:
    if signal is Signal.GRID_STATE:
        return 0, GRID_STATES - 1
    return (0, FREQUENCY_MHZ_MAX) if signal is Signal.FREQUENCY else (-THRESHOLD_MAX, THRESHOLD_MAX)
