"""Read views of the state for the rooms above; nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from ..protocol.messages import Side
from .book import Half
from .events import CloseReason, Traded
from .state import Interval, IntervalStage, KnownOrder, MarketState

_CLOSED_AS = {
    CloseReason.FILLED: "filled",
    CloseReason.CANCELLED: "cancelled",
    CloseReason.EXPIRED: "expired",
    CloseReason.REPLACED: "replaced",
}


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """Where an order is.

    ``dormant`` (its condition was never met), ``waiting`` (a bundle's leg, or with preferences: for an auction),
    ``resting`` (in the book), ``triggered`` (its condition was met, nothing has traded yet), ``partly_filled``;
    ``filled``, ``cancelled``, ``expired``, ``replaced`` or, for another ``close_reason``, ``closed``; ``settled``.
    """

    status: str
    filled_wh: int
    remaining_wh: int
    trades: tuple[Traded, ...]
    close_reason: CloseReason | None


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """Where a bundle is: waiting, accepted with this ``share``, cancelled, expired or closed; and its legs' digests."""

    status: str
    share: tuple[int, int] | None
    legs: tuple[bytes, ...]
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
    market_buys: int = 0
    market_sells: int = 0


def closed_as(reason: CloseReason) -> str:
    """Return the word for an order or a bundle that ended for this reason."""
    return _CLOSED_AS.get(reason, "closed")


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


def bundle_status(state: MarketState, digest: bytes) -> BundleStatus | None:
    """Return where a bundle is; ``None`` when it was never placed or all its legs are pruned."""
    known = state.bundles.get(digest)
    if known is None:
        return None
    status = "waiting"
    if known.share is not None:
        status = "accepted"
    elif known.closed is not None:
        status = closed_as(known.closed)
    return BundleStatus(status, known.share, tuple(known.legs), known.closed)


def depth(state: MarketState, delivery_start: int, levels: int = 50, node: str = "") -> Depth:
    """Return the book of one interval at one node, at most ``levels`` prices per side; empty when unknown.

    Orders with preferences, which wait for the next auction, stand with the limit that they have for everyone.
    Prices are what a seller receives: bids stand without the community's fee.
    """
    interval = state.intervals.get(delivery_start)
    if interval is None:
        return Depth((), (), 0, 0)
    book = interval.book_of(node)
    waiting = _waiting(state, interval, node)
    sides = [book.side(side) for side in Side]
    bids, asks = (_levels(half, waiting[side], side, levels) for half, side in zip(sides, Side, strict=True))
    buys, sells = (half.at_market for half in sides)
    return Depth(bids, asks, buys.energy_wh, sells.energy_wh, buys.count, sells.count)


def _waiting(state: MarketState, interval: Interval, node: str) -> dict[Side, dict[int, list[int]]]:
    """Return the energies of orders with preferences that wait for an auction, by side and the limit for everyone."""
    rules = state.rules
    found: dict[Side, dict[int, list[int]]] = {side: {} for side in Side}
    for digest in interval.orders:
        known = state.orders[digest]
        wishes = known.order.preferences
        if wishes is None or known.closed is not None or known.is_dormant or known.is_leg:
            continue
        limit = wishes.other_limit_price_micro_per_kwh
        if limit is not None and rules.node_of(known.order.account) == node:
            net = rules.net_limit(known.order.side, limit)
            if net is not None:
                found[known.order.side].setdefault(net, []).append(known.remaining_wh)
    return found


def _levels(half: Half[bytes], waiting: dict[int, list[int]], side: Side, levels: int) -> tuple[DepthLevel, ...]:
    """Return the best levels of one side, what rests and what waits at a price together."""
    resting = (DepthLevel(level.price, level.energy_wh, level.count) for level in islice(half.levels(), levels))
    if not waiting:
        return tuple(resting)
    at = {level.price_micro_per_kwh: level for level in resting}
    for price, energies in waiting.items():
        level = at.get(price, DepthLevel(price, 0, 0))
        at[price] = DepthLevel(price, level.energy_wh + sum(energies), level.orders + len(energies))
    return tuple(at[price] for price in sorted(at, reverse=side is Side.BUY)[:levels])


def _status(state: MarketState, known: KnownOrder) -> str:
    interval = state.intervals[known.order.delivery_start]
    if known.filled_wh and interval.stage in (IntervalStage.SETTLED, IntervalStage.CONFIRMED):
        return "settled"
    if known.closed is not None:
        return closed_as(known.closed)
    if known.filled_wh:
        return "partly_filled"
    if known.is_dormant:
        return "dormant"
    if known.fired is not None:
        return "triggered"
    return "resting" if known.rests else "waiting"
