"""Gate closure: the closing auction on what rests, then everything left leaves the book."""

from __future__ import annotations

from .auction import AuctionOrder, AuctionResult, clear_uniform
from .commands import CloseGate
from .events import CloseReason, Event, GateClosed, OrderClosed, Rejected, Stage, Traded
from .orders import expired_orders
from .rejections import Code, refuse
from .state import Interval, IntervalStage, KnownOrder, MarketState


def close_gate(state: MarketState, command: CloseGate, at: int) -> tuple[Event, ...] | Rejected:
    """Return expiries, the auction's trades, the closing of all orders, and the gate's closing.

    While trading is halted nothing trades: the orders close as ``halted``.
    """
    interval = state.intervals.get(command.delivery_start)
    if interval is None:
        return refuse(Code.INTERVAL_NOT_OPEN, "nobody has ordered for this interval")
    if interval.stage is not IntervalStage.OPEN:
        return refuse(Code.GATE_CLOSED, "the interval's gate is closed already")
    gate_at = state.rules.gate_at(command.delivery_start)
    if at < gate_at:
        return refuse(Code.GATE_OPEN, f"the gate closes at {gate_at}; wait until then")
    expired = {known.digest for known in expired_orders(state, at)}
    waiting = _waiting(state, interval)
    live = [known for known in waiting if known.digest not in expired]
    auction = _auction(state, [] if state.halted is not None else live)
    return (
        *_trades(state, interval, auction),
        *(_closing(state, known, auction, expired) for known in waiting),
        GateClosed(
            interval.delivery_start,
            auction.price_micro_per_kwh,
            auction.price_range,
            auction.volume_wh,
            state.rules.rule.name,
        ),
    )


def _waiting(state: MarketState, interval: Interval) -> list[KnownOrder]:
    """Return the interval's open orders in the order of their arrival."""
    known_orders = (state.orders[digest] for digest in interval.orders)
    return [known for known in known_orders if known.closed is None]


def _auction(state: MarketState, live: list[KnownOrder]) -> AuctionResult[bytes]:
    orders = [
        AuctionOrder(
            known.digest,
            known.order.side,
            known.remaining_wh,
            known.order.limit_price_micro_per_kwh,
        )
        for known in live
    ]
    return clear_uniform(orders, state.rules.rule, state.rules.band)


def _trades(state: MarketState, interval: Interval, auction: AuctionResult[bytes]) -> list[Traded]:
    return [
        Traded(
            trade_id,
            interval.delivery_start,
            trade.buy,
            trade.sell,
            trade.energy_wh,
            trade.price_micro_per_kwh,
            Stage.CLOSING_AUCTION,
        )
        for trade_id, trade in enumerate(auction.trades, state.trades_made + 1)
    ]


def _closing(state: MarketState, known: KnownOrder, auction: AuctionResult[bytes], expired: set[bytes]) -> OrderClosed:
    remaining_wh = known.remaining_wh - auction.fills.get(known.digest, 0)
    if known.digest in expired:
        reason = CloseReason.EXPIRED
    elif not remaining_wh:
        reason = CloseReason.FILLED
    elif state.halted is not None:
        reason = CloseReason.HALTED
    else:
        reason = CloseReason.GATE_CLOSED
    return OrderClosed(known.digest, remaining_wh, reason)
