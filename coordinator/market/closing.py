"""Gate closure: the closing auction on what waits, then everything left leaves the market."""

from __future__ import annotations

from collections.abc import Mapping

from .commands import CloseGate
from .events import CloseReason, Event, GateClosed, OrderClosed, Rejected, Stage
from .leaving import closings, expired_orders
from .rejections import Code, refuse
from .sessions import Auction, filled_by, gate_problem, hold, traded
from .state import Interval, IntervalStage, KnownOrder, MarketState


def close_gate(state: MarketState, command: CloseGate, at: int) -> tuple[Event, ...] | Rejected:
    """Return the auction's trades, the closing of all orders, and the gate's closing.

    While trading is halted nothing trades: the orders close as ``halted``. A bundle with a leg here closes whole.
    """
    interval = state.intervals.get(command.delivery_start)
    if interval is None:
        return refuse(Code.INTERVAL_NOT_OPEN, "nobody has ordered for this interval")
    if interval.stage is not IntervalStage.OPEN:
        return refuse(Code.GATE_CLOSED, "the interval's gate is closed already")
    gate_at = state.rules.gate_at(command.delivery_start)
    if at < gate_at:
        return refuse(Code.GATE_OPEN, f"the gate closes at {gate_at}; wait until then")
    auction = hold(state, gate_problem(state, command.delivery_start), command, at)
    trades = traded(state, auction, Stage.CLOSING_AUCTION)
    expired = {known.digest for known in expired_orders(state, at)}
    return (
        *trades,
        *_closings(state, interval, filled_by(trades), expired),
        _gate_closed(command, auction),
    )


def _gate_closed(command: CloseGate, auction: Auction) -> GateClosed:
    """Say what the auction came to: with lines a price for each node, else one for all."""
    (cleared,) = auction.result.intervals
    volume_wh = sum(trade.energy_wh for trade in auction.trades)
    rule = auction.problem.rule_name(auction.result.outcome)
    if auction.problem.lines:
        outcome = auction.result.outcome
        return GateClosed(command.delivery_start, None, None, volume_wh, rule, cleared.nodes, cleared.flows_wh, outcome)
    if not cleared.volume_wh:
        return GateClosed(command.delivery_start, None, None, volume_wh, rule)
    (node,) = cleared.nodes
    return GateClosed(command.delivery_start, node.price_micro_per_kwh, node.price_range, volume_wh, rule)


def _closings(
    state: MarketState, interval: Interval, filled_wh: Mapping[bytes, int], expired: set[bytes]
) -> list[OrderClosed]:
    """Return the closing of all orders in the order of their arrival, and of what leaves with a bundle's leg."""
    closed: dict[bytes, OrderClosed] = {}
    for known in (state.orders[digest] for digest in interval.orders):
        if known.closed is not None or known.digest in closed:
            continue
        if known.is_leg:
            reason = _reason(state, known, known.remaining_wh, expired)
            closed.update((closing.digest, closing) for closing in closings(state, [known], reason))
        else:
            remaining_wh = known.remaining_wh - filled_wh.get(known.digest, 0)
            closed[known.digest] = OrderClosed(known.digest, remaining_wh, _reason(state, known, remaining_wh, expired))
    return [*closed.values()]


def _reason(state: MarketState, known: KnownOrder, remaining_wh: int, expired: set[bytes]) -> CloseReason:
    if known.digest in expired:
        return CloseReason.EXPIRED
    if not remaining_wh:
        return CloseReason.FILLED
    return CloseReason.HALTED if state.halted is not None else CloseReason.GATE_CLOSED
