"""A session's proposal by HiGHS: which bundles, which flows, which prices.

One linear model per interval where nothing couples intervals, one mixed-integer model where bundles do. The choice of
bundles with the most worth may have no prices that let nobody lose; then exactly such choices are cut off and the
model is solved again (R. Madani and M. Van Vyve, Eur. J. Oper. Res. 242, 2015, state the problem; the cuts here follow
from the contradiction that the price model proves). Among one choice's shares, those with the most worth count.
When half of the time has gone a plain search takes over, and the bound that is proved until then stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..market.parts import coupled_with, without
from ..market.problem import Problem
from ..market.proposal import AcceptedBundle, Proposal, ProposedInterval
from ..market.session import (
    Shares,
    breach_of_rules,
    curves_of,
    edges_of,
    least_steps,
    steps_of,
)
from ..protocol.messages import Side
from ..protocol.units import WH_PER_KWH
from .failure import SolverFailedError
from .model import INFINITE, Deadline, Highs, Solved
from .pricing import Conflict
from .search import Outcome, Session, search
from .steps import SCALE_MAX, Built, build, scales

_TOLERANCE = 1e-6


def propose(problem: Problem[bytes], limit_s: float) -> Proposal:
    """Return the best proposal found within the limit; raise ``SolverFailedError`` when there is none."""
    times = Deadline(limit_s), Deadline(limit_s / 2)
    session, outcome = _begin(problem, times)
    if isinstance(outcome.prices, Conflict):
        problem = without(problem, coupled_with(problem, outcome.prices.low))  # what clearing holds apart, too
        session, outcome = _begin(problem, times)
    if isinstance(outcome.prices, Conflict):
        raise SolverFailedError("no prices support the auction without bundles")
    bound: int | None = outcome.worth
    if problem.bundles:
        outcome, bound = _choose(session, outcome)
    welfare = outcome.worth // WH_PER_KWH
    return Proposal(
        tuple(
            AcceptedBundle(bundle.key, outcome.shares[bundle.key], steps_of(bundle))
            for bundle in problem.bundles
            if bundle.key in outcome.shares
        ),
        tuple(_intervals(problem, outcome)),
        welfare,
        None if bound is None else max(welfare, bound // WH_PER_KWH),
    )


def _begin(problem: Problem[bytes], times: tuple[Deadline, Deadline]) -> tuple[Session, Outcome]:
    """Return the session and what it comes to without bundles."""
    curves = curves_of(problem)
    edges = edges_of(problem, curves)
    scaled = scales(problem, curves, edges)
    if max(scaled) > SCALE_MAX:
        raise SolverFailedError("its prices or energies are too large for the solver")
    session = Session(problem, curves, edges, scaled, *times)
    outcome = session.outcome({})
    if outcome is None:
        raise SolverFailedError("there was no time to find even the lines' flows")
    return session, outcome


def _intervals(problem: Problem[bytes], outcome: Outcome) -> Sequence[ProposedInterval]:
    prices: list[list[tuple[str, int]]] = [[] for _ in problem.intervals]
    assert not isinstance(outcome.prices, Conflict)
    for (interval, node), value in sorted(outcome.prices.items()):
        prices[interval].append((node, value))
    return [
        ProposedInterval(start, tuple(prices[index]), outcome.flows[index])
        for index, start in enumerate(problem.intervals)
    ]


def _choose(session: Session, best: Outcome) -> tuple[Outcome, int | None]:
    """Return the best choice of bundles that has prices, and what is proved that none exceeds."""
    built = build(session.problem, session.curves, session.edges, session.scales, range(len(session.problem.intervals)))
    highs = Highs(built.model)
    bound: int | None = None
    shares: dict[bytes, int] = {}
    while session.exact.left_s:
        solved = highs.run(session.exact)
        if solved is None:
            return best, best.worth  # every other choice was cut off
        if solved.values:
            shares = _shares_in(session, built, solved)
        outcome = session.outcome(shares)
        if outcome is None:
            break
        bound = _bound(built, solved, outcome.worth, bound)
        if not solved.optimal:
            break
        if not isinstance(outcome.prices, Conflict):
            return outcome, bound
        _cut(session.problem, built, highs, outcome.shares, outcome.prices)
    return search(session, best, shares), bound


def _shares_in(session: Session, built: Built, solved: Solved) -> dict[bytes, int]:
    shares = built.shares(solved.values)
    breach = breach_of_rules(session.problem, shares)
    if breach is not None:
        raise SolverFailedError(f"HiGHS's solution {breach}")
    return shares


def _bound(built: Built, solved: Solved, worth: int, before: int | None) -> int | None:
    """Return the least that is proved so far to be the most; raise when what HiGHS says contradicts the exact worth.

    HiGHS counts in floating point: what lies within its own relative gap of the exact worth is taken for it.
    """
    size = built.cost_scale * built.energy_scale
    if not math.isfinite(solved.bound):
        return before
    most = built.worth(solved.bound)
    tolerance = _TOLERANCE * size * (1 + abs(solved.objective if solved.values else solved.bound))
    if solved.values:
        stated = built.worth(solved.objective)
        if stated > worth + tolerance or (solved.optimal and stated < worth - tolerance):
            raise SolverFailedError(f"HiGHS says {stated:.0f}, exactly it is {worth}")
        if most < worth - tolerance:
            raise SolverFailedError(f"HiGHS proves a bound of {most:.0f} on what is worth {worth}")
    proved = worth if solved.optimal and most - worth <= tolerance else math.ceil(most)
    return proved if before is None else min(before, proved)


def _cut(problem: Problem[bytes], built: Built, highs: Highs, shares: Shares, conflict: Conflict) -> None:
    """Cut off the choices that contain the contradiction, and no others."""
    leave, join = _ways_out(problem, shares, conflict)
    by_key = {bundle.key: bundle for bundle in problem.bundles}
    if any(least_steps(by_key[key]) < steps_of(by_key[key]) for key in leave | join) or not leave | join:
        leave, join = set(shares), set(by_key) - set(shares)  # shares may move too: cut off this one choice only
    entries = [(built.chosen[key], -1.0) for key in sorted(leave)] + [(built.chosen[key], 1.0) for key in sorted(join)]
    highs.add_row(1.0 - len(leave), INFINITE, entries)


def _ways_out(problem: Problem[bytes], shares: Shares, conflict: Conflict) -> tuple[set[bytes], set[bytes]]:
    """Return of which bundles one must leave or join to end the contradiction."""
    leave, join = set(conflict.members), set[bytes]()
    for bundle in problem.bundles:
        intervals = {interval for interval, _ in bundle.energy_wh}
        lowers = intervals & (conflict.low if bundle.side is Side.SELL else conflict.high)
        raises = intervals & (conflict.high if bundle.side is Side.SELL else conflict.low)
        if bundle.key in shares and lowers:
            leave.add(bundle.key)
        if bundle.key not in shares and (raises or bundle.parent in conflict.members):
            join.add(bundle.key)
    return leave, join
