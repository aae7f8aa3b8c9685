"""Which prices support given quantities, in exact integers.

At each node single orders bound the price from both sides, accepted bundles by their legs' limits. Along a line, in
each direction that is free, the far price is at most the near one and the line's fee; where energy flows it is at
least that. So each bound is of one price or of two prices' difference, and the lowest and the highest supporting
prices are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..protocol.messages import Side
from .problem import BundleOrder, NetworkLine, Problem
from .session import Curve, Margin, Place, Shares, families, given_by_bundles, given_by_lines, legs


@dataclass(slots=True)
class Range:
    """The lowest and the highest supporting price of a node; ``None`` where there is no bound."""

    low: int | None = None
    high: int | None = None

    def at_least(self, price: int | None) -> bool:
        """Raise the lower bound; return whether that changed it."""
        if price is None or (self.low is not None and self.low >= price):
            return False
        self.low = price
        return True

    def at_most(self, price: int | None) -> bool:
        """Lower the upper bound; return whether that changed it."""
        if price is None or (self.high is not None and self.high <= price):
            return False
        self.high = price
        return True

    @property
    def is_empty(self) -> bool:
        """Whether no price is left."""
        return self.low is not None and self.high is not None and self.low > self.high


@dataclass(slots=True)
class Support:
    """The bounds on all prices that go with quantities: ``arcs`` ``(a, b, w)`` of an interval say p_b <= p_a + w."""

    ranges: dict[Place, Range] = field(default_factory=dict)
    arcs: dict[int, list[tuple[str, str, int]]] = field(default_factory=dict)

    def tighten(self, interval: int, nodes: Sequence[str]) -> bool:
        """Carry an interval's bounds along its lines; return whether prices are left that meet them all."""
        ranges = {node: self.ranges[interval, node] for node in nodes}
        arcs = self.arcs.get(interval, [])
        for _ in range(len(nodes) + 1):
            changed = False
            for a, b, most in arcs:
                high, low = ranges[a].high, ranges[b].low
                changed |= high is not None and ranges[b].at_most(high + most)
                changed |= low is not None and ranges[a].at_least(low - most)
            if not changed or any(here.is_empty for here in ranges.values()):
                break
        else:
            return False
        return not any(here.is_empty for here in ranges.values())

    def within(self, interval: int, nodes: Sequence[str], ends: tuple[int, int] | None) -> Support:
        """Return an interval's bounds alone, cut down to these ends; they can be changed without changing these."""
        ranges = {(interval, node): replace(self.ranges[interval, node]) for node in nodes}
        if ends is not None:
            for here in ranges.values():
                here.at_least(ends[0])
                here.at_most(ends[1])
        return Support(ranges, {interval: self.arcs.get(interval, [])})

    def nodes(self) -> dict[int, list[str]]:
        """Return the nodes of each interval."""
        found: dict[int, list[str]] = {}
        for interval, node in sorted(self.ranges):
            found.setdefault(interval, []).append(node)
        return found


def margins_of(
    problem: Problem[bytes],
    curves: Mapping[Place, Curve],
    shares: Shares,
    flows: Sequence[Sequence[int]],
    edges: tuple[int, int] | None = None,
) -> dict[Place, Margin] | None:
    """Return what single orders do at each node, or ``None`` when a node cannot take or give what it should."""
    margins: dict[Place, Margin] = {}
    for place, energy_wh in _given(problem, curves, shares, flows).items():
        margin = curves.get(place, _EMPTY).absorb(energy_wh, edges)
        if margin is None:
            return None
        margins[place] = margin
    return margins


def unbalanced(
    problem: Problem[bytes],
    curves: Mapping[Place, Curve],
    shares: Shares,
    flows: Sequence[Sequence[int]],
    edges: tuple[int, int] | None = None,
) -> set[int]:
    """Return the intervals in which a node cannot take or give what it should."""
    given = _given(problem, curves, shares, flows)
    return {
        place[0] for place, energy_wh in given.items() if curves.get(place, _EMPTY).absorb(energy_wh, edges) is None
    }


def _given(
    problem: Problem[bytes], curves: Mapping[Place, Curve], shares: Shares, flows: Sequence[Sequence[int]]
) -> dict[Place, int]:
    """Return what bundles and lines bring to each node, in the order of the places."""
    given = given_by_bundles(problem, shares)
    for place, energy_wh in given_by_lines(problem, flows).items():
        given[place] = given.get(place, 0) + energy_wh
    return {place: given.get(place, 0) for place in sorted(curves.keys() | given.keys())}


_EMPTY = Curve()


def support_of(
    problem: Problem[bytes], margins: Mapping[Place, Margin], shares: Shares, flows: Sequence[Sequence[int]]
) -> Support:
    """Return all bounds on the prices but those that the bundles' surplus sets."""
    support = Support({place: Range(margin.low, margin.high) for place, margin in margins.items()})
    for bundle in problem.bundles:
        if bundle.key in shares:
            for interval, limit in bundle.leg_limits:
                here = support.ranges[interval, bundle.node]
                if bundle.side is Side.SELL:
                    here.at_least(limit)
                else:
                    here.at_most(limit)
    for interval, carried in enumerate(flows):
        arcs = [arc for line, flow in zip(problem.lines, carried, strict=True) for arc in _arcs(line, interval, flow)]
        for place in {(interval, node) for arc in arcs for node in arc[:2]}:
            support.ranges.setdefault(place, Range())
        support.arcs[interval] = arcs
    return support


def _arcs(line: NetworkLine, interval: int, flow_wh: int) -> Iterator[tuple[str, str, int]]:
    forward, backward = line.forward_wh[interval], line.backward_wh[interval]
    source, target, fee = line.source, line.target, line.fee_micro_per_kwh
    if forward is None or flow_wh < forward:
        yield source, target, fee
    if flow_wh > 0:
        yield target, source, -fee
    if backward is None or flow_wh > -backward:
        yield target, source, fee
    if flow_wh < 0:
        yield source, target, -fee


@dataclass(frozen=True, slots=True)
class Middle:
    """Prices of an interval: the rule's ``chosen`` ends, whose middle is the price, and the ``widest`` possible."""

    chosen: dict[Place, Range]
    widest: dict[Place, Range]

    def prices(self) -> dict[Place, int]:
        """Return the middle, rounded down; that keeps to all bounds of two prices' difference."""
        return {place: sum(_both(here)) // 2 for place, here in self.chosen.items()}

    def end(self, *, is_high: bool) -> dict[Place, int]:
        """Return the lowest or the highest prices by the rule."""
        return {place: _both(here)[is_high] for place, here in self.chosen.items()}

    def widest_end(self, *, is_high: bool) -> dict[Place, int]:
        """Return the lowest or the highest prices that are possible."""
        return {place: _both(here)[is_high] for place, here in self.widest.items()}


def middle_prices(problem: Problem[bytes], support: Support, edges: tuple[int, int]) -> dict[Place, int] | None:
    """Return the middle of each node's supporting prices; ``None`` when none support the quantities.

    Only prices within the band count. Where one end has no bound, both ends are the bound that exists, or the nearest
    price at which all nodes that lines join to it have one. Where nothing bounds the prices: the reference price
    within the band, or the middle of the band or else of the utmost prices.
    """
    prices: dict[Place, int] = {}
    for interval, nodes in support.nodes().items():
        middle = middle_in(problem, support, interval, nodes, edges)
        if middle is None:
            return None
        prices |= middle.prices()
    return prices


def middle_in(
    problem: Problem[bytes], support: Support, interval: int, nodes: Sequence[str], edges: tuple[int, int]
) -> Middle | None:
    """Return one interval's prices by the rule; ``None`` when none within the band support the quantities."""
    low, high = edges if problem.band is None else problem.band
    reference = problem.rule.reference_price
    usual = (low + high) // 2 if reference is None else min(max(reference, low), high)
    known, inside = support.within(interval, nodes, None), support.within(interval, nodes, (low, high))
    if not known.tighten(interval, nodes) or not inside.tighten(interval, nodes):
        return None
    widest = {place: replace(here) for place, here in inside.ranges.items()}
    _close(known, inside, interval, nodes, usual)
    return Middle(inside.ranges, widest)


def _close(known: Support, inside: Support, interval: int, nodes: Sequence[str], usual: int) -> None:
    """Choose a price where an end is ``known`` to have no bound; what is ``inside`` has both ends and stays possible.

    The lowest possible prices of all nodes go together, and so do the highest: so all nodes that are bounded from one
    side only can take that end at once. Any single price that is possible leaves some to the other nodes.
    """
    places = [(interval, node) for node in nodes]
    while free := [at for at in places if known.ranges[at].low is None or known.ranges[at].high is None]:
        below = [at for at in free if known.ranges[at].low is not None]
        above = [at for at in free if known.ranges[at].high is not None]
        for at in below or above or free[:1]:
            low, high = _both(inside.ranges[at])
            price = low if below else high if above else min(max(usual, low), high)
            for here in (known.ranges[at], inside.ranges[at]):
                here.low = here.high = price
        known.tighten(interval, nodes)
        inside.tighten(interval, nodes)


def _both(here: Range) -> tuple[int, int]:
    assert here.low is not None
    assert here.high is not None
    return here.low, here.high


def surplus_of(bundle: BundleOrder[bytes], steps: int, prices: Mapping[Place, int]) -> int:
    """Return what the bundle gains at the prices, in 1e-6 currency per kWh times Wh."""
    sign = 1 if bundle.side is Side.SELL else -1
    return sum(
        sign * (prices[interval, bundle.node] - bundle.price) * energy_wh for interval, energy_wh in legs(bundle, steps)
    )


def losers(problem: Problem[bytes], shares: Shares, prices: Mapping[Place, int]) -> list[bytes]:
    """Return the accepted bundles that lose at the prices, each counted with its family."""
    surplus = {b.key: surplus_of(b, shares[b.key], prices) for b in problem.bundles if b.key in shares}
    return [key for key, family in families(problem, shares).items() if sum(surplus[member] for member in family) < 0]


def breaches_of_support(
    support: Support, prices: Mapping[Place, int], band: tuple[int, int] | None
) -> Iterator[tuple[int, str]]:
    """Yield the intervals in which the prices fail to support the quantities, and how."""
    for (interval, node), here in support.ranges.items():
        price = prices.get((interval, node))
        if price is None:
            yield interval, f"names no price for {node!r} in interval {interval}"
        elif (here.low is not None and price < here.low) or (here.high is not None and price > here.high):
            yield (
                interval,
                f"names a price for {node!r} in interval {interval} at which orders would rather do otherwise",
            )
        elif band is not None and not band[0] <= price <= band[1]:
            yield interval, f"names a price for {node!r} in interval {interval} outside of the band"
    for interval, arcs in support.arcs.items():
        known = [(prices.get((interval, a)), prices.get((interval, b)), most) for a, b, most in arcs]
        if any(near is not None and far is not None and far > near + most for near, far, most in known):
            yield interval, f"names prices that the lines' flows in interval {interval} contradict"
