"""A session being solved: what a choice of bundles comes to, and better choices when there is no time for proof.

The search starts from a choice without prices, lets the worst loser go until there are prices, and then takes in, one
by one, bundles that the prices would pay, as long as that is worth more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..market.clearing import paradoxically_rejected
from ..market.prices import margins_of, middle_prices, support_of, surplus_of
from ..market.problem import Problem
from ..market.session import (
    Curve,
    Margin,
    Place,
    Shares,
    breach_of_rules,
    cost_of_lines,
    given_by_bundles,
    steps_of,
    worth_of_bundles,
)
from .model import Deadline, Highs, OutOfTimeError
from .pricing import Conflict, price
from .steps import build


@dataclass(frozen=True, slots=True)
class Outcome:
    """One choice of bundles with all that follows from it; ``prices`` tells what contradicts where there are none."""

    shares: dict[bytes, int]
    flows: tuple[tuple[int, ...], ...]
    worth: int
    prices: dict[Place, int] | Conflict


@dataclass(frozen=True, slots=True)
class Session:
    """What is asked, ready to be solved."""

    problem: Problem[bytes]
    curves: dict[Place, Curve]
    edges: tuple[int, int]
    scales: tuple[int, int]
    deadline: Deadline
    exact: Deadline
    known_flows: dict[tuple[int, tuple[tuple[str, int], ...]], tuple[int, ...]] = field(default_factory=dict)

    def outcome(self, shares: dict[bytes, int]) -> Outcome | None:
        """Find flows and prices for these shares; ``None`` when they cannot balance or there is no time left."""
        problem = self.problem
        try:
            flows = self._flows(shares)
            margins = margins_of(problem, self.curves, shares, flows)
            if margins is None:
                return None
            prices = price(problem, margins, shares, flows, self.edges, self.deadline)
        except OutOfTimeError:
            return None
        return Outcome(shares, flows, _worth(problem, self.curves, margins, shares, flows, self.edges), prices)

    def _flows(self, shares: Shares) -> tuple[tuple[int, ...], ...]:
        """Return the best flows, interval by interval; a basic solution of a network's flow is whole."""
        if not self.problem.lines:
            return ((),) * len(self.problem.intervals)
        given: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for (interval, node), energy_wh in given_by_bundles(self.problem, shares).items():
            given[interval][node] = energy_wh
        return tuple(self._flows_in(interval, given[interval]) for interval in range(len(self.problem.intervals)))

    def _flows_in(self, interval: int, given: Mapping[str, int]) -> tuple[int, ...]:
        known = interval, tuple(sorted((node, wh) for node, wh in given.items() if wh))
        if known not in self.known_flows:
            there = {(interval, node): wh for node, wh in given.items()}
            built = build(self.problem, self.curves, self.edges, self.scales, (interval,), there)
            solved = Highs(built.model).run(self.deadline)
            if solved is None or not solved.optimal:
                raise OutOfTimeError
            lines = range(len(self.problem.lines))
            self.known_flows[known] = tuple(built.flow(solved.values, interval, line) for line in lines)
        return self.known_flows[known]


def _worth(
    problem: Problem[bytes],
    curves: Mapping[Place, Curve],
    margins: Mapping[Place, Margin],
    shares: Shares,
    flows: tuple[tuple[int, ...], ...],
    edges: tuple[int, int],
) -> int:
    singles = sum(curves[place].worth(margin, edges) for place, margin in margins.items() if place in curves)
    return singles + worth_of_bundles(problem, shares) - cost_of_lines(problem, flows)


def search(session: Session, best: Outcome, shares: Mapping[bytes, int]) -> Outcome:
    """Return the best choice found from ``best``, which has prices, and from the ``shares``, which need not."""
    repaired = _without_losers(session, dict(shares))
    if repaired is not None and repaired.worth > best.worth:
        best = repaired
    return _with_gainers(session, best)


def _without_losers(session: Session, shares: dict[bytes, int]) -> Outcome | None:
    while session.deadline.left_s:
        outcome = session.outcome(shares)
        if outcome is None or not isinstance(outcome.prices, Conflict):
            return outcome
        shares = _without(session.problem, shares, _worst(session, outcome, outcome.prices))
    return None


def _worst(session: Session, outcome: Outcome, conflict: Conflict) -> bytes:
    """Return who of those in conflict loses most at the middle of the prices that the others would have."""
    problem, shares = session.problem, outcome.shares
    margins = margins_of(problem, session.curves, shares, outcome.flows)
    assert margins is not None
    prices = middle_prices(problem, support_of(problem, margins, {}, outcome.flows), session.edges)
    among = conflict.members or frozenset(shares)
    surplus = {b.key: surplus_of(b, shares[b.key], prices or {}) for b in problem.bundles if b.key in among and prices}
    return min(sorted(among), key=lambda key: surplus.get(key, 0))


def _without(problem: Problem[bytes], shares: Mapping[bytes, int], key: bytes) -> dict[bytes, int]:
    """Take a bundle out with all that cannot stay without it: children, and a spread's other half."""
    gone = {key}
    while True:
        marks = {b.spread for b in problem.bundles if b.key in gone} - {None}
        more = {b.key for b in problem.bundles if b.parent in gone or b.spread in marks} - gone
        if not more:
            return {kept: steps for kept, steps in shares.items() if kept not in gone}
        gone |= more


def _with_gainers(session: Session, best: Outcome) -> Outcome:
    problem, tried = session.problem, set[bytes]()
    by_key = {bundle.key: bundle for bundle in problem.bundles}
    while session.deadline.left_s and not isinstance(best.prices, Conflict):
        prices = best.prices
        waiting = [key for key in paradoxically_rejected(problem, best.shares, prices) if key not in tried]
        if not waiting:
            break
        key = max(waiting, key=lambda key: surplus_of(by_key[key], steps_of(by_key[key]), prices))
        mark = by_key[key].spread
        unit = {b.key: steps_of(b) for b in problem.bundles if b.key == key or (mark is not None and b.spread == mark)}
        tried |= unit.keys()
        shares = {**best.shares, **unit}
        outcome = session.outcome(shares) if breach_of_rules(problem, shares) is None else None
        if outcome is not None and outcome.worth > best.worth and not isinstance(outcome.prices, Conflict):
            best = outcome
    return best
