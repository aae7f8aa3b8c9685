"""The two sides of an auction's book as sorted arrays, and the exact arithmetic that all rules share.

The arrays hold 64-bit integers; where a sum or a product could reach 2**62 they hold Python's integers instead, which
are slower and know no bound. The results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...protocol.messages import Side
from ...protocol.units import WH_PER_KWH, split_pro_rata
from ..rules import TieRule
from .shapes import Offer

type Ints = NDArray[Any]

_EXACT_BELOW = 2**62


@dataclass(frozen=True, slots=True)
class Half:
    """One side, best first: market orders, then by limit, equals as they arrived.

    ``places`` tells where each order stands among all that were given; ``ranks`` ascend: an ask's limit, a bid's with
    the sign changed, and below them all what stands for market orders, of which there are ``at_market``. ``reach_wh``
    is the energy up to and with each order; all energies are above zero.
    """

    places: Ints
    ranks: Ints
    energy_wh: Ints
    reach_wh: Ints
    at_market: int
    sign: int

    @property
    def total_wh(self) -> int:
        """All of the side's energy."""
        return int(self.reach_wh[-1]) if len(self.reach_wh) else 0

    def limit(self, index: int) -> int | None:
        """Return the limit of an order by its rank's place; ``None`` for a market order."""
        return None if index < self.at_market else self.sign * int(self.ranks[index])

    def limits(self, count: int) -> list[int | None]:
        """Return the limits of the best orders."""
        bounded = (self.sign * self.ranks[self.at_market : max(count, self.at_market)]).tolist()
        return [*[None] * min(count, self.at_market), *bounded]

    def last(self, volume_wh: int) -> int:
        """Return the place of the last order that takes part in the best ``volume_wh`` (above zero)."""
        return int(np.searchsorted(self.reach_wh, volume_wh, "left"))

    def willing(self, price: int) -> int:
        """Return how many orders accept the price: they are the first ones."""
        return self.at_market + int(np.searchsorted(self.ranks[self.at_market :], self.sign * price, "right"))

    def willing_wh(self, price: int) -> int:
        """Return the energy that accepts the price."""
        count = self.willing(price)
        return int(self.reach_wh[count - 1]) if count else 0

    def worth(self, fills: Ints, market_price: int) -> int:
        """Return the sum of energy times limit, in 1e-6 currency per kWh times Wh; market orders at that price."""
        at_limits = (fills[self.at_market :] * self.ranks[self.at_market :]).sum() if len(fills) else 0
        at_market = fills[: self.at_market].sum() if len(fills) else 0
        return self.sign * int(at_limits) + market_price * int(at_market)


@dataclass(frozen=True, slots=True)
class Halves[K]:
    """An auction's book: the orders as given and both sides sorted."""

    orders: Sequence[Offer[K]]
    bids: Half
    asks: Half

    @classmethod
    def of(cls, orders: Sequence[Offer[K]], *prices: int | None) -> Halves[K]:
        """Sort orders that are given as they arrived; ``prices`` are others that may be multiplied with energy."""
        limits = [order.price for order in orders]
        energies = [order.energy_wh for order in orders]
        largest = max((abs(limit) for limit in limits if limit is not None), default=0)
        highest = max([largest, *(abs(price) for price in prices if price is not None)]) + 1
        kind: Any = np.int64 if max(sum(energies), 1) * highest < _EXACT_BELOW else object
        energy_wh = np.array(energies, dtype=kind)
        buy = Side.BUY
        buys = np.fromiter((order.side is buy for order in orders), dtype=bool, count=len(orders))
        return cls(
            orders,
            _half(np.flatnonzero(buys), limits, energy_wh, -1, largest),
            _half(np.flatnonzero(~buys), limits, energy_wh, 1, largest),
        )

    def crossing_wh(self) -> int:
        """Return the largest volume whose last bid is worth at least its last ask."""
        bids, asks = self.bids, self.asks
        steps = np.sort(np.concatenate([bids.reach_wh, asks.reach_wh]))
        steps = steps[steps <= min(bids.total_wh, asks.total_wh)]
        if not len(steps):
            return 0
        last_bids = bids.ranks[np.searchsorted(bids.reach_wh, steps, "left")]
        last_asks = asks.ranks[np.searchsorted(asks.reach_wh, steps, "left")]
        crossing = np.count_nonzero(last_bids + last_asks <= 0)
        return int(steps[crossing - 1]) if crossing else 0

    def surplus_wh(self, price: int) -> int:
        """Return the bid less the ask volume at a price."""
        return self.bids.willing_wh(price) - self.asks.willing_wh(price)

    def welfare_micro(self, bid_fills: Ints, ask_fills: Ints, bid_price: int, ask_price: int) -> int:
        """Return the bids' value less the asks' cost in 1e-6 currency; market orders at the prices given."""
        return (self.bids.worth(bid_fills, bid_price) - self.asks.worth(ask_fills, ask_price)) // WH_PER_KWH

    def fills(self, bid_fills: Ints, ask_fills: Ints) -> dict[K, int]:
        """Return the fills by key, in the order in which the orders were given."""
        filled = np.zeros(len(self.orders), dtype=object if bid_fills.dtype == object else np.int64)
        filled[self.bids.places] = bid_fills
        filled[self.asks.places] = ask_fills
        return dict(zip((order.key for order in self.orders), filled.tolist(), strict=True))

    def nothing(self) -> dict[K, int]:
        """Return the fills when nothing executes."""
        return dict.fromkeys((order.key for order in self.orders), 0)


def by_merit(half: Half, volume_wh: int, ties: TieRule) -> Ints:
    """Share the volume (above zero): better prices first, at the margin by the rule for ties."""
    before_wh = half.reach_wh - half.energy_wh
    fills: Ints = np.minimum(np.maximum(volume_wh - before_wh, 0), half.energy_wh)
    if ties == "pro_rata":
        rank = half.ranks[half.last(volume_wh)]
        first, end = (int(np.searchsorted(half.ranks, rank, side)) for side in ("left", "right"))
        if half.reach_wh[end - 1] > volume_wh:
            shared_wh = volume_wh - int(before_wh[first])
            fills[first:end] = _pro_rata(shared_wh, half.energy_wh[first:end])
    return fills


def by_arrival(half: Half, count: int, volume_wh: int, ties: TieRule) -> Ints:
    """Share the volume among the first ``count`` orders whatever their limits: pro rata, or first come first served."""
    arrivals = np.argsort(half.places[:count], kind="stable")
    energy_wh = half.energy_wh[:count][arrivals]
    if ties == "pro_rata":
        parts = _pro_rata(volume_wh, energy_wh)
    else:
        parts = np.minimum(np.maximum(volume_wh - (np.cumsum(energy_wh) - energy_wh), 0), energy_wh)
    fills: Ints = np.zeros(len(half.energy_wh), dtype=half.energy_wh.dtype)
    fills[arrivals] = parts
    return fills


def lay_along(bid_fills: Ints, ask_fills: Ints) -> tuple[list[int], list[int], list[int]]:
    """Lay two equal sums along each other: which bid faces which ask, and with how much energy."""
    bid_reach, ask_reach = np.cumsum(bid_fills), np.cumsum(ask_fills)
    steps = np.sort(np.concatenate([bid_reach, ask_reach]))
    energy_wh = np.diff(steps, prepend=0)
    steps, energy_wh = steps[energy_wh > 0], energy_wh[energy_wh > 0]
    facing = (np.searchsorted(reach, steps, "left").tolist() for reach in (bid_reach, ask_reach))
    return (*facing, energy_wh.tolist())


def _half(places: Ints, limits: Sequence[int | None], energy_wh: Ints, sign: int, largest: int) -> Half:
    """Sort the orders that stand at ``places``; no limit is larger than ``largest``, either way."""
    own = [limits[place] for place in places.tolist()]
    market_rank = -largest - 1
    ranks = np.array([market_rank if limit is None else sign * limit for limit in own], dtype=energy_wh.dtype)
    best = np.argsort(ranks, kind="stable")
    places = places[best]
    ranked_wh = energy_wh[places]
    return Half(
        places=places,
        ranks=ranks[best],
        energy_wh=ranked_wh,
        reach_wh=np.cumsum(ranked_wh),
        at_market=own.count(None),
        sign=sign,
    )


def _pro_rata(total: int, weights: Ints) -> Ints:
    """Split by largest remainder, earlier first on a tie, as ``split_pro_rata`` does."""
    if weights.dtype == object or total * int(weights.max()) >= _EXACT_BELOW:
        return np.array(split_pro_rata(total, weights.tolist()), dtype=weights.dtype)
    whole = int(weights.sum())
    products = total * weights
    parts: Ints = products // whole
    left = total - int(parts.sum())
    parts[np.argsort(-(products % whole), kind="stable")[:left]] += 1
    return parts
