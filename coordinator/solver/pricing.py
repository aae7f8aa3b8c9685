"""Prices at which nobody accepted loses, or which bundles cannot stand together and why.

Asked only where the rule (``market.price_rule``) lets a bundle lose. Then the middle between the smallest and the
largest sum of supporting prices is taken, on whole prices; whether they support is decided by exact arithmetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..market.price_rule import rule_prices
from ..market.prices import Support, breaches_of_support, losers, middle_prices, support_of
from ..market.problem import BundleOrder, Problem
from ..market.session import Margin, Place, Shares, families, legs
from ..protocol.messages import Side
from .model import INFINITE, Deadline, Highs, Model, OutOfTimeError

_TINY = 1e-7
_BEYOND = 100


@dataclass(frozen=True, slots=True)
class Conflict:
    """Bundles that no prices let stand together.

    The ``members`` lose as long as prices are at most what they can be now in the intervals of ``low``, and at least
    that in those of ``high``. More supply lowers all prices of an interval and more demand raises them; so it stays as
    it is until a member leaves, supply leaves or demand joins in ``low``, or demand leaves or supply joins in ``high``.
    """

    members: frozenset[bytes]
    low: frozenset[int]
    high: frozenset[int]


@dataclass(slots=True)
class _Row:
    """Prices' weighted sum that must reach ``least``; the ``members`` are the bundles that ask for it."""

    weights: dict[Place, float]
    least: float
    members: frozenset[bytes]
    number: int = -1


@dataclass(slots=True)
class _Prices:
    model: Model
    columns: dict[Place, int] = field(default_factory=dict)
    rows: list[_Row] = field(default_factory=list)
    slack: list[int] = field(default_factory=list)


def price(
    problem: Problem[bytes],
    margins: Mapping[Place, Margin],
    shares: Shares,
    flows: tuple[tuple[int, ...], ...],
    edges: tuple[int, int],
    deadline: Deadline,
) -> dict[Place, int] | Conflict:
    """Return prices that support the quantities and let no bundle lose, or what contradicts them.

    Raise ``OutOfTimeError`` when there is no time to find out.
    """
    whole = support_of(problem, margins, shares, flows)
    ruled = rule_prices(problem, whole, shares, edges)
    if len(ruled) == len(whole.ranges) and _stands(problem, whole, shares, ruled):
        return ruled
    plain = support_of(problem, margins, {}, flows)
    for interval, nodes in plain.nodes().items():
        plain.tighten(interval, nodes)
    wanted = {interval for bundle in problem.bundles if bundle.key in shares for interval, _ in bundle.energy_wh}
    if not wanted:
        silent = frozenset(place[0] for place in whole.ranges.keys() - ruled.keys())
        return Conflict(frozenset(), silent, silent)
    middle = middle_prices(problem, plain, edges) or {}
    utmost = _utmost(problem, edges)
    prices = _model(problem, plain, shares, wanted, utmost)
    conflict = _conflict(prices, deadline)
    if conflict is not None:
        return conflict
    for found in _candidates(plain, prices, utmost, deadline):
        candidate = {**middle, **found, **ruled}
        if _stands(problem, whole, shares, candidate):
            return candidate
    return Conflict(frozenset(shares), frozenset(wanted), frozenset(wanted))


def _stands(problem: Problem[bytes], support: Support, shares: Shares, prices: Mapping[Place, int]) -> bool:
    return not any(breaches_of_support(support, prices, problem.band)) and not losers(problem, shares, prices)


def _model(
    problem: Problem[bytes], support: Support, shares: Shares, wanted: set[int], utmost: tuple[int, int]
) -> _Prices:
    prices = _Prices(Model())
    for row in _rows(problem, support, shares, wanted):
        row.number = prices.model.row(row.least, INFINITE)
        prices.rows.append(row)
    entries: defaultdict[Place, list[tuple[int, float]]] = defaultdict(list)
    for row in prices.rows:
        for place, weight in row.weights.items():
            entries[place].append((row.number, weight))
    for interval in sorted(wanted):
        for a, b, most in support.arcs.get(interval, []):
            number = prices.model.row(-INFINITE, float(most))
            entries[interval, b].append((number, 1.0))
            entries[interval, a].append((number, -1.0))
    low, high = utmost
    for place in sorted(support.ranges):
        if place[0] in wanted:
            here = support.ranges[place]
            lower = min(low, low if here.high is None else here.high) if here.low is None else here.low
            upper = max(high, lower) if here.high is None else here.high
            prices.columns[place] = prices.model.column(0.0, float(lower), float(upper), entries[place])
    for row in prices.rows:
        prices.slack.append(prices.model.column(1.0, 0.0, INFINITE, [(row.number, 1.0)]))
    return prices


def _utmost(problem: Problem[bytes], edges: tuple[int, int]) -> tuple[int, int]:
    """Return how far prices may go; without a band far beyond all limits, for a dear leg may pay for a cheap one."""
    low, high = edges
    beyond = _BEYOND * (high - low)
    return (low - beyond, high + beyond) if problem.band is None else problem.band


def _rows(problem: Problem[bytes], support: Support, shares: Shares, wanted: set[int]) -> Iterator[_Row]:
    """Yield what the bundles and the band ask of the prices beyond the bounds of single orders and lines."""
    bundles = {bundle.key: bundle for bundle in problem.bundles if bundle.key in shares}
    for family in sorted({*families(problem, shares).values()}, key=sorted):
        yield _family([bundles[key] for key in sorted(family)], shares)
    for bundle in bundles.values():
        sign = 1.0 if bundle.side is Side.SELL else -1.0
        for interval, limit in bundle.leg_limits:
            yield _Row({(interval, bundle.node): sign}, sign * limit, frozenset({bundle.key}))
    if problem.band is not None:
        low, high = problem.band
        for place, here in sorted(support.ranges.items()):
            ends = [end for end in (here.low, here.high) if place[0] in wanted and end is not None]
            if any(end < low for end in ends):
                yield _Row({place: 1.0}, float(low), frozenset())
            if any(end > high for end in ends):
                yield _Row({place: -1.0}, -float(high), frozenset())


def _family(bundles: list[BundleOrder[bytes]], shares: Shares) -> _Row:
    weights: defaultdict[Place, int] = defaultdict(int)
    least = total = 0
    for bundle in bundles:
        sign = 1 if bundle.side is Side.SELL else -1
        for interval, energy_wh in legs(bundle, shares[bundle.key]):
            weights[interval, bundle.node] += sign * energy_wh
            least += sign * bundle.price * energy_wh
            total += energy_wh
    scaled = {place: weight / total for place, weight in weights.items() if weight}
    return _Row(scaled, least / total, frozenset(bundle.key for bundle in bundles))


def _conflict(prices: _Prices, deadline: Deadline) -> Conflict | None:
    """Return a contradiction if there is one: rows that cannot be met and the bounds that keep them from it."""
    found = Highs(prices.model).run(deadline)
    if found is None or not found.optimal:
        raise OutOfTimeError
    largest = max((abs(value) for value in prices.model.upper[: len(prices.columns)]), default=1.0)
    if found.objective <= _TINY * max(1.0, largest):
        return None
    members: set[bytes] = set()
    pull: defaultdict[Place, float] = defaultdict(float)
    for row in prices.rows:
        weight = abs(found.duals[row.number])
        if weight > _TINY:
            members |= row.members
            for place, value in row.weights.items():
                pull[place] += weight * value
    low = frozenset(interval for (interval, _), value in pull.items() if value > _TINY)
    high = frozenset(interval for (interval, _), value in pull.items() if value < -_TINY)
    return Conflict(frozenset(members), low, high)


def _candidates(
    support: Support, prices: _Prices, edges: tuple[int, int], deadline: Deadline
) -> Iterator[dict[Place, int]]:
    """Yield whole prices, the wanted ones first."""
    highs = Highs(prices.model)
    for column in prices.slack:
        highs.bound(column, 0.0, 0.0)
    ends: list[list[float]] = []
    for sign in (1.0, -1.0):
        highs.costs([sign] * len(prices.columns) + [0.0] * len(prices.slack))
        solved = highs.run(deadline)
        if solved is None:
            return
        if not solved.optimal:
            raise OutOfTimeError
        ends.append(solved.values)
    low, high = ({place: values[column] for place, column in prices.columns.items()} for values in ends)
    near_low, near_high = dict(low), dict(high)
    for place in prices.columns:
        here = support.ranges[place]
        if here.high is None and high[place] > edges[1] - 0.5:
            near_high[place] = low[place]
        if here.low is None and low[place] < edges[0] + 0.5:
            near_low[place] = high[place]
    for one, two in ((near_low, near_high), (low, high), (low, low), (high, high)):
        middle = {place: (one[place] + two[place]) / 2 for place in prices.columns}
        for rounded in (_floor, round, _ceil):
            yield {place: rounded(value) for place, value in middle.items()}
    yield from _whole(prices, highs, deadline)


def _floor(value: float) -> int:
    return int((value + _TINY * 10) // 1)


def _ceil(value: float) -> int:
    return -_floor(-value)


def _whole(prices: _Prices, highs: Highs, deadline: Deadline) -> Iterator[dict[Place, int]]:
    """Yield the smallest whole prices, as a mixed-integer model finds them."""
    highs.integral(range(len(prices.columns)))
    highs.costs([1.0] * len(prices.columns) + [0.0] * len(prices.slack))
    solved = highs.run(deadline)
    if solved is not None and not solved.values:
        raise OutOfTimeError
    if solved is not None:
        yield {place: round(solved.values[column]) for place, column in prices.columns.items()}
