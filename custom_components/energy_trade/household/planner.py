"""Which intervals to trade in now: open gates, one order per interval and side."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from .forecast import MeteredInterval, persistence
from .policy import Decision, Policy, Situation
from .terms import HomeLimits, is_open, next_open

type Taken = AbstractSet[tuple[int, Side]]


@dataclass(frozen=True, slots=True)
class Planned:
    """What was decided about one interval."""

    delivery_start: int
    decision: Decision


def open_intervals(info: MarketInfo, at: int, ahead: int) -> list[int]:
    """Return the starts of the next ``ahead`` intervals that take orders at ``at``, nearest first."""
    first = next_open(info, at)
    starts = range(first, first + ahead * info.interval_s, info.interval_s)
    return [start for start in starts if is_open(info, start, at)]


def plan(
    policy: Policy,
    info: MarketInfo,
    limits: HomeLimits,
    last: MeteredInterval | None,
    at: int,
    ahead: int,
    taken: Taken,
) -> list[Planned]:
    """Decide about each open interval; a side that already has its order there is left alone."""
    forecast = persistence(last, at, info.interval_s)
    decisions = (
        Planned(start, policy.decide(Situation(at, start, forecast, info, limits)))
        for start in open_intervals(info, at, ahead)
    )
    return list(_untaken(decisions, taken))


def _untaken(decisions: Iterable[Planned], taken: Taken) -> Iterable[Planned]:
    for planned in decisions:
        order = planned.decision.order
        if order is None or (planned.delivery_start, order.side) not in taken:
            yield planned
