"""Read views of the state for the rooms above; nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from ..protocol.messages import Side
from .events import CloseReason, Traded
from .state import IntervalStage, KnownOrder, MarketState

_CLOSED_AS = {
    CloseReason.FILLED: "filled",
    CloseReason.CANCELLED: "cancelled",
    CloseReason.EXPIRED: "expired",
}


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """Where an order is: resting, partly_filled, filled, cancelled, expired, closed or settled."""

    status: str
    filled_wh: int
    remaining_wh: int
    trades: tuple[Traded, ...]
    close_reason: CloseReason | None


@dataclass(frozen=True, slots=True)
class DepthLevel:
    """All that rests at one price."""

    price_micro_per_kwh: int
    energy_wh: int
    orders: int


@dataclass(frozen=True, slots=True)
class Depth:
    """The best levels of both sides, best first, and market orders that wait for the auction."""

    bids: tuple[DepthLevel, ...]
    asks: tuple[DepthLevel, ...]
    market_buy_wh: int
    market_sell_wh: int


def order_status(state: MarketState, digest: bytes) -> OrderStatus | None:
    """Return where an order is; ``None`` when it was never placed or its interval is pruned."""
    known = state.orders.get(digest)
    if known is None:
        return None
    return OrderStatus(
        status=_status(state, known),
        filled_wh=known.filled_wh,
        remaining_wh=known.remaining_wh,
        trades=tuple(known.trades),
        close_reason=known.closed,
    )


def depth(state: MarketState, delivery_start: int, levels: int = 50) -> Depth:
    """Return the book of one interval, at most ``levels`` prices per side; empty when unknown."""
    interval = state.intervals.get(delivery_start)
    if interval is None:
        return Depth((), (), 0, 0)
    sides = [interval.book.side(side) for side in Side]
    bids, asks = (
        tuple(DepthLevel(level.price, level.energy_wh, len(level.queue)) for level in islice(half.levels(), levels))
        for half in sides
    )
    buy_wh, sell_wh = (sum(r.energy_wh for r in half.at_market.values()) for half in sides)
    return Depth(bids, asks, buy_wh, sell_wh)


def _status(state: MarketState, known: KnownOrder) -> str:
    interval = state.intervals[known.order.delivery_start]
    if known.filled_wh and interval.stage in (IntervalStage.SETTLED, IntervalStage.CONFIRMED):
        return "settled"
    if known.closed is not None:
        return _CLOSED_AS.get(known.closed, "closed")
    return "partly_filled" if known.filled_wh else "resting"
