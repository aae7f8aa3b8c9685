"""The prices of a coupled auction by the rule alone, in exact integers: what a proposal says of prices does not count.

Everywhere it is the middle of the supporting prices (``prices.middle_in``). Where an accepted bundle would lose at
that, the prices of its intervals move from their lowest and from their highest ends, all of an interval by the same
part of what is left to them, just so far that no bundle loses; the price is the middle of both. Only where even that
lets a bundle lose is the rule silent, and any prices do that support the quantities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..protocol.messages import Side
from .prices import Middle, Support, middle_in
from .problem import BundleOrder, Problem
from .session import Place, Shares, families, legs

_ROUNDS = 20


def rule_prices(problem: Problem[bytes], support: Support, shares: Shares, edges: tuple[int, int]) -> dict[Place, int]:
    """Return the price of every place for which the rule has one, whole intervals at a time."""
    nodes = support.nodes()
    own = Support(arcs=support.arcs)
    for interval, here in nodes.items():
        own.ranges |= support.within(interval, here, None).ranges
    units = _units(problem, shares)
    for unit in units:
        unit.bound(own)
    middles = {interval: middle_in(problem, own, interval, here, edges) for interval, here in nodes.items()}
    prices: dict[Place, int] = {}
    for intervals, coupled in _components(middles, units):
        known = [middle for interval in sorted(intervals) if (middle := middles[interval]) is not None]
        if len(known) == len(intervals):
            prices |= _without_losers(known, coupled) or {}
    return prices


class _Unit:
    """Accepted bundles whose surplus counts together: what each place's price is worth to them, and what they need."""

    def __init__(self, bundles: Iterable[BundleOrder[bytes]], shares: Shares) -> None:
        weights: defaultdict[Place, int] = defaultdict(int)
        self.least = 0
        for bundle in bundles:
            sign = 1 if bundle.side is Side.SELL else -1
            for interval, energy_wh in legs(bundle, shares[bundle.key]):
                weights[interval, bundle.node] += sign * energy_wh
                self.least += sign * bundle.price * energy_wh
        self.intervals = {interval for interval, _ in weights}
        self.weights = {place: weight for place, weight in sorted(weights.items()) if weight}

    def bound(self, support: Support) -> None:
        """Bound the price of its place where there is just one."""
        if len(self.weights) == 1:
            ((place, weight),) = self.weights.items()
            if weight > 0:
                support.ranges[place].at_least(-(-self.least // weight))
            else:
                support.ranges[place].at_most(-self.least // -weight)

    def lacks(self, prices: Mapping[Place, int]) -> int:
        """Return how much it loses at these prices; at most zero when it does not."""
        return self.least - sum(weight * prices[place] for place, weight in self.weights.items())


def _units(problem: Problem[bytes], shares: Shares) -> list[_Unit]:
    by_key = {bundle.key: bundle for bundle in problem.bundles if bundle.key in shares}
    together = sorted({*families(problem, shares).values()}, key=sorted)
    return [_Unit([by_key[key] for key in sorted(members)], shares) for members in together]


def _components(intervals: Iterable[int], units: Sequence[_Unit]) -> Iterator[tuple[set[int], list[_Unit]]]:
    """Yield the intervals that accepted bundles couple, each time with those bundles."""
    found: dict[int, tuple[set[int], list[_Unit]]] = {interval: ({interval}, []) for interval in intervals}
    for unit in units:
        first, *others = sorted(unit.intervals)
        whole = found[first]
        whole[1].append(unit)
        for interval in others:
            other = found[interval]
            if other is not whole:
                whole[0].update(other[0])
                whole[1].extend(other[1])
                found |= dict.fromkeys(other[0], whole)
    for first, whole in found.items():
        if first == min(whole[0]):
            yield whole


def _without_losers(middles: Sequence[Middle], units: Sequence[_Unit]) -> dict[Place, int] | None:
    """Return prices of coupled intervals at which no unit loses; ``None`` when the rule finds none."""
    middle = {place: price for here in middles for place, price in here.prices().items()}
    if not _loses(units, middle):
        return middle
    ends = [_moved(middles, units, [here.end(is_high=is_high) for here in middles]) for is_high in (False, True)]
    found = [end for end in ends if end is not None]
    if len(found) == 2:
        found.insert(0, {place: (found[0][place] + found[1][place]) // 2 for place in middle})
    return next((prices for prices in found if not _loses(units, prices)), None)


def _loses(units: Sequence[_Unit], prices: Mapping[Place, int]) -> bool:
    return any(unit.lacks(prices) > 0 for unit in units)


def _moved(
    middles: Sequence[Middle], units: Sequence[_Unit], starts: Sequence[dict[Place, int]]
) -> dict[Place, int] | None:
    """Move prices until no unit loses; ``None`` when one cannot be helped or they keep taking from each other."""
    prices = {place: price for start in starts for place, price in start.items()}
    lows, highs = ([here.widest_end(is_high=is_high) for here in middles] for is_high in (False, True))
    for _ in range(_ROUNDS):
        if not _loses(units, prices):
            return prices
        for unit in units:
            lacking = unit.lacks(prices)
            if lacking > 0 and not _help(unit, lacking, prices, list(zip(lows, highs, strict=True))):
                return None
    return None


def _help(
    unit: _Unit,
    lacking: int,
    prices: dict[Place, int],
    ends: Iterable[tuple[dict[Place, int], dict[Place, int]]],
) -> bool:
    """Move each interval's prices to the end that is worth more to the unit, by the part that it lacks.

    Rounded away from where they are, so that it lacks nothing more; whole steps of one part of the way to an end keep
    to all bounds of two prices' difference.
    """
    aims: list[tuple[int, dict[Place, int]]] = []
    for both in ends:
        if any(place in unit.weights for place in both[0]):
            worth = [sum(unit.weights.get(at, 0) * (price - prices[at]) for at, price in end.items()) for end in both]
            aims.append(max(zip(worth, both, strict=True), key=lambda aim: aim[0]))
    most = sum(worth for worth, _ in aims)
    if most < lacking:
        return False
    for gain, end in aims:
        if gain > 0:
            for place, there in end.items():
                way = there - prices[place]
                part = -(-abs(way) * lacking // most)
                prices[place] += part if way > 0 else -part
    return True
