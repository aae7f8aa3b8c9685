"""One node's orders in one interval, swept once over all limits: demand, supply, volume, supporting prices, shares.

Energy in Wh, prices in 1e-6 currency per kWh. A row is an order's key, energy and limit (``None``: a market order);
rows stand in the order of their arrival. Nothing here is taken from the auctions that are checked with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

type Row = tuple[str, int, int | None]


class Book:
    """Both sides at every limit. ``given_wh`` comes from elsewhere (negative: goes there) and asks for no price.

    ``volume_wh`` is the largest that bids and asks accept; only prices from ``low`` to ``high`` support it, each
    ``None`` where no limit bounds it. An order that is not wholly filled bounds the price from both sides.
    """

    def __init__(self, bids: Sequence[Row], asks: Sequence[Row], given_wh: int = 0) -> None:
        wanted, offered = _levels(bids), _levels(asks)
        demand_at_market = sum(wh for _, wh, limit in bids if limit is None) + max(-given_wh, 0)
        supply = sum(wh for _, wh, limit in asks if limit is None) + max(given_wh, 0)
        demand = demand_at_market + sum(wanted.values())
        self.bids, self.asks, self.given_wh = bids, asks, given_wh
        self.points: list[tuple[int, int, int]] = []
        for price in sorted(wanted.keys() | offered.keys()):
            supply += offered.get(price, 0)
            self.points.append((price, demand, supply))
            demand -= wanted.get(price, 0)
        self.volume_wh = max((min(d, s) for _, d, s in self.points), default=min(demand_at_market, supply))
        self._bound(wanted, offered)

    def _bound(self, wanted: dict[int, int], offered: dict[int, int]) -> None:
        """Find the last orders that trade and the first that do not trade all they would."""
        volume = self.volume_wh
        bids = [(price, wh, wh - wanted[price]) for price, wh, _ in self.points if price in wanted]
        asks = [(price, wh, wh - offered[price]) for price, _, wh in self.points if price in offered]
        rejected_bids = [price for price, reach, _ in bids if reach > volume]
        accepted_bids = [price for price, _, before in bids if before < volume]
        rejected_asks = [price for price, reach, _ in asks if reach > volume]
        accepted_asks = [price for price, _, before in asks if before < volume]
        self.low = max([*rejected_bids, *accepted_asks], default=None)
        self.high = min([*accepted_bids, *rejected_asks], default=None)

    @property
    def balances(self) -> bool:
        """Whether all that is given finds its place."""
        return self.volume_wh >= abs(self.given_wh)

    def fills(self, ties: str) -> dict[str, int]:
        """Return what each order fills of the largest volume: better limits first, equal ones by the rule for ties."""
        bought, sold = self.volume_wh - max(-self.given_wh, 0), self.volume_wh - max(self.given_wh, 0)
        return shared_by_merit(self.bids, -1, bought, ties) | shared_by_merit(self.asks, 1, sold, ties)

    def best_limits(self) -> dict[int, int]:
        """Return the limits with the largest volume and then the smallest surplus: limit to bid less ask volume."""
        surplus = {price: d - s for price, d, s in self.points if min(d, s) == self.volume_wh}
        least = min(map(abs, surplus.values()), default=0)
        return {price: wh for price, wh in surplus.items() if abs(wh) == least}


def _levels(rows: Iterable[Row]) -> dict[int, int]:
    levels: defaultdict[int, int] = defaultdict(int)
    for _, energy_wh, limit in rows:
        if limit is not None:
            levels[limit] += energy_wh
    return dict(levels)


def by_merit(rows: Iterable[Row], sign: int) -> list[Row]:
    """Sort rows: market orders first, then bids (sign -1) from the highest or asks (1) from the lowest limit."""
    return sorted(rows, key=lambda row: (False, 0) if row[2] is None else (True, sign * row[2]))


def shared_by_merit(rows: Sequence[Row], sign: int, volume_wh: int, ties: str) -> dict[str, int]:
    """Share a volume: level after level, and the last one by the rule for ties."""
    levels: defaultdict[int | None, list[Row]] = defaultdict(list)
    for row in rows:
        levels[row[2]].append(row)
    fills: dict[str, int] = {}
    for level in sorted(levels, key=lambda limit: (False, 0) if limit is None else (True, sign * limit)):
        part = min(volume_wh, sum(energy_wh for _, energy_wh, _ in levels[level]))
        fills |= shared(levels[level], part, ties)
        volume_wh -= part
    return fills


def shared(rows: Sequence[Row], volume_wh: int, ties: str) -> dict[str, int]:
    """Share a volume among equals: first come first served (``time``), or pro rata by largest remainder."""
    total_wh = sum(energy_wh for _, energy_wh, _ in rows)
    if ties == "time":
        fills = {}
        for key, energy_wh, _ in rows:
            fills[key] = min(volume_wh, energy_wh)
            volume_wh -= fills[key]
        return fills
    if volume_wh in {0, total_wh}:
        return {key: energy_wh if volume_wh else 0 for key, energy_wh, _ in rows}
    fills = {key: volume_wh * energy_wh // total_wh for key, energy_wh, _ in rows}
    behind = sorted(rows, key=lambda row: -(volume_wh * row[1] % total_wh))
    for key, _, _ in behind[: volume_wh - sum(fills.values())]:
        fills[key] += 1
    return fills
