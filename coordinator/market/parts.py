"""What of an auction is left when some of its intervals are held apart, without bundles and lines."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import replace

from .problem import BundleOrder, NetworkLine, Problem
from .proposal import Proposal


def coupled_with(problem: Problem[bytes], intervals: Collection[int]) -> set[int]:
    """Return these intervals and all that bundles couple to them: by legs, parents, groups and spreads."""
    ties = [(_ties(bundle), {interval for interval, _ in bundle.energy_wh}) for bundle in problem.bundles]
    reached, marks = set(intervals), set[Hashable]()
    while True:
        before = len(reached) + len(marks)
        for own, legs in ties:
            if not marks.isdisjoint(own) or not reached.isdisjoint(legs):
                marks |= own
                reached |= legs
        if len(reached) + len(marks) == before:
            return reached


def _ties(bundle: BundleOrder[bytes]) -> set[Hashable]:
    ties: set[Hashable] = {bundle.key}
    ties |= {bundle.parent} - {None}
    ties |= {("group", bundle.group)} if bundle.group is not None else set()
    return ties | ({("spread", bundle.spread)} if bundle.spread is not None else set())


def without(problem: Problem[bytes], intervals: Collection[int]) -> Problem[bytes]:
    """Return the problem with nothing in these intervals: no orders, no bundles with a leg there, all lines closed."""
    orders = tuple(order for order in problem.orders if order.interval not in intervals)
    bundles = tuple(b for b in problem.bundles if all(interval not in intervals for interval, _ in b.energy_wh))
    return replace(
        problem, orders=orders, bundles=bundles, lines=tuple(_closed(line, intervals) for line in problem.lines)
    )


def _closed(line: NetworkLine, intervals: Collection[int]) -> NetworkLine:
    forward, backward = (
        tuple(0 if interval in intervals else limit for interval, limit in enumerate(limits))
        for limits in (line.forward_wh, line.backward_wh)
    )
    return replace(line, forward_wh=forward, backward_wh=backward)


def proposed_without(problem: Problem[bytes], proposal: Proposal, intervals: Collection[int]) -> Proposal:
    """Return what is proposed for the problem that is left; nothing is proved of it any more."""
    left = {bundle.key for bundle in problem.bundles}
    return replace(
        proposal,
        accepted=tuple(accepted for accepted in proposal.accepted if accepted.bundle in left),
        intervals=tuple(
            replace(proposed, prices=(), flows_wh=(0,) * len(proposed.flows_wh)) if interval in intervals else proposed
            for interval, proposed in enumerate(proposal.intervals)
        ),
        bound_micro=None,
    )
