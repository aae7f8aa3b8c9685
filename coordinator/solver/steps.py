"""The model of a session: merged steps, bundles and lines, and back from its numbers to whole Wh.

At each node the single orders' best worth is a concave function of what bundles and lines bring. Its slopes are the
limits: bids and asks with one price are one step, and only steps that the bundles and lines could reach become
columns; all before them are a constant. That changes no result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..market.mechanisms.halves import Half, Ints
from ..market.problem import BundleOrder, Problem
from ..market.session import Curve, Place, least_steps, steps_of
from ..protocol.messages import Side
from .model import INFINITE, Model

_COST_MAX = 1e3  # HiGHS's tolerances are absolute: prices and energies are scaled to about this size
_ENERGY_MAX = 1e4
SCALE_MAX = 2**16  # 1e-7 of tolerance is then less than a hundredth; far beyond it HiGHS heeds no time limit


@dataclass(slots=True)
class Built:
    """A model and what its columns mean; ``constant`` is worth that no choice changes, in exact units."""

    model: Model
    cost_scale: int
    energy_scale: int
    constant: int = 0
    chosen: dict[bytes, int] = field(default_factory=dict)
    steps: dict[bytes, int] = field(default_factory=dict)
    flows: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)

    def worth(self, objective: float) -> float:
        """Return what an objective is worth, in 1e-6 currency per kWh times Wh."""
        return self.constant - objective * self.cost_scale * self.energy_scale

    def shares(self, values: list[float]) -> dict[bytes, int]:
        """Return the accepted bundles' steps."""
        accepted = (key for key, column in self.chosen.items() if values[column] > 0.5)
        return {key: round(values[self.steps[key]]) if key in self.steps else self.whole[key] for key in accepted}

    def flow(self, values: list[float], interval: int, line: int) -> int:
        """Return what a line carries, in Wh."""
        forward, *backward = (values[column] for column in self.flows[interval, line])
        return round((forward - sum(backward)) * self.energy_scale)

    whole: dict[bytes, int] = field(default_factory=dict)


def scales(problem: Problem[bytes], curves: Mapping[Place, Curve], edges: tuple[int, int]) -> tuple[int, int]:
    """Return powers of two by which prices and energies are divided; energies are those that bundles and lines move."""
    halves = (half for curve in curves.values() for half in (curve.bids, curve.asks))
    largest = max((int(half.energy_wh.max()) for half in halves if len(half.energy_wh)), default=0)
    limits = [limit for line in problem.lines for limit in (*line.forward_wh, *line.backward_wh)]
    moved = [largest if limit is None else min(limit, largest) for limit in limits]
    moved += [energy_wh for bundle in problem.bundles for _, energy_wh in bundle.energy_wh]
    return _scale(max(abs(edges[0]), abs(edges[1])), _COST_MAX), _scale(max(moved, default=0), _ENERGY_MAX)


def _scale(value: int, most: float) -> int:
    scale = 1
    while value > most * scale:
        scale *= 2
    return scale


def build(
    problem: Problem[bytes],
    curves: Mapping[Place, Curve],
    edges: tuple[int, int],
    scaled: tuple[int, int],
    intervals: Collection[int],
    given: Mapping[Place, int] | None = None,
) -> Built:
    """Return the model of these intervals; with ``given`` the bundles bring just that, and only lines are free."""
    built = Built(Model(), *scaled)
    places = {place for place in curves if place[0] in intervals}
    places |= {
        (interval, node) for interval in intervals for line in problem.lines for node in (line.source, line.target)
    }
    if given is None:
        places |= {(interval, bundle.node) for bundle in problem.bundles for interval, _ in bundle.energy_wh}
    windows = _windows(problem, intervals, given)
    balance: dict[Place, int] = {}
    for place in sorted(places):
        balance[place] = _node(
            built, curves.get(place, _EMPTY), edges, windows.get(place, (0, 0)), (given or {}).get(place, 0)
        )
    if given is None:
        _add_bundles(built, problem, balance)
    for interval in sorted(intervals):
        _add_lines(built, problem, balance, interval)
    return built


_EMPTY = Curve()


def _windows(
    problem: Problem[bytes], intervals: Collection[int], given: Mapping[Place, int] | None
) -> dict[Place, tuple[int | None, int | None]]:
    """Return the least and the most that bundles and lines may bring to each node (``None``: any amount)."""
    least: defaultdict[Place, int | None] = defaultdict(int)
    most: defaultdict[Place, int | None] = defaultdict(int)

    def widen(bounds: defaultdict[Place, int | None], place: Place, energy_wh: int | None) -> None:
        bound = bounds[place]
        bounds[place] = None if bound is None or energy_wh is None else bound + energy_wh

    if given is None:
        for bundle in problem.bundles:
            for interval, energy_wh in bundle.energy_wh:
                widen(most if bundle.side is Side.SELL else least, (interval, bundle.node), energy_wh)
    else:
        for place, energy_wh in given.items():
            least[place] = -energy_wh
            most[place] = energy_wh
    for line in problem.lines:
        for interval in intervals:
            forward, backward = line.forward_wh[interval], line.backward_wh[interval]
            source, target = (interval, line.source), (interval, line.target)
            widen(most, target, forward)
            widen(least, source, forward)
            widen(most, source, backward)
            widen(least, target, backward)
    return {
        place: (None if (down := least[place]) is None else -down, most[place]) for place in least.keys() | most.keys()
    }


def _node(
    built: Built, curve: Curve, edges: tuple[int, int], window: tuple[int | None, int | None], given_wh: int
) -> int:
    """Add a node's steps within the window; return its row, in which what is brought there counts negative.

    From the left end, where all asks are sold elsewhere, each Wh more that is brought there is worth the next limit.
    """
    bids, asks = curve.limited(edges)
    end = bids.total_wh
    at = -asks.total_wh
    built.constant -= int((asks.ranks * asks.energy_wh).sum())
    low = at if window[0] is None else max(at, window[0])
    prices, widths = _merged(bids, asks)
    right = at + np.cumsum(widths)
    left = right - widths
    reached, most = min(low, end), end if window[1] is None else min(max(at, window[1]), end)
    built.constant += int((prices * np.maximum(0, np.minimum(right, reached) - left)).sum())
    wide = np.minimum(right, most) - np.maximum(left, reached)
    costs, uppers = -prices[wide > 0] / built.cost_scale, wide[wide > 0] / built.energy_scale
    row = built.model.row((given_wh - low) / built.energy_scale, (given_wh - low) / built.energy_scale)
    built.model.columns(costs.tolist(), uppers.tolist(), row)
    return row


def _merged(bids: Half, asks: Half) -> tuple[Ints, Ints]:
    """Return all limits, the highest first, each with the energy of bids and asks that have it."""
    ranks = np.concatenate([bids.ranks, -asks.ranks[::-1]])
    energy_wh = np.concatenate([bids.energy_wh, asks.energy_wh[::-1]])
    best = np.argsort(ranks, kind="stable")
    ranks = ranks[best]
    first = np.flatnonzero(np.concatenate([[True], ranks[1:] != ranks[:-1]])[: len(ranks)])
    return -ranks[first], np.add.reduceat(energy_wh[best], first) if len(first) else energy_wh


def _add_bundles(built: Built, problem: Problem[bytes], balance: Mapping[Place, int]) -> None:
    parents: dict[bytes, list[tuple[int, float]]] = defaultdict(list)
    marks: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for bundle in problem.bundles:
        if bundle.group is not None and bundle.group not in marks:
            marks[bundle.group] = [(built.model.row(-INFINITE, 1.0), 1.0)]
    spreads: dict[str, int] = {}
    links: dict[bytes, list[tuple[int, float]]] = defaultdict(list)
    for bundle in problem.bundles:
        if bundle.parent is not None:
            row = built.model.row(0.0, INFINITE)  # parent less child
            parents[bundle.parent].append((row, 1.0))
            links[bundle.key].append((row, -1.0))
    shared: dict[bytes, tuple[int, float]] = {}
    for bundle in problem.bundles:
        if bundle.spread is not None:
            sign = -1.0 if bundle.spread in spreads else 1.0
            row = spreads.setdefault(bundle.spread, len(built.model.row_lower))
            if sign > 0:
                built.model.row(0.0, 0.0)
            shared[bundle.key] = (row, sign)
    for bundle in problem.bundles:
        chosen = [*parents[bundle.key], *links[bundle.key]]
        chosen += [] if bundle.group is None else marks[bundle.group]
        _add_bundle(built, bundle, balance, chosen, shared.get(bundle.key))


def _add_bundle(
    built: Built,
    bundle: BundleOrder[bytes],
    balance: Mapping[Place, int],
    chosen: list[tuple[int, float]],
    shared: tuple[int, float] | None,
) -> None:
    """Add whether the bundle is accepted and, where it can be in part, in how many steps."""
    whole, least = steps_of(bundle), least_steps(bundle)
    sign = 1 if bundle.side is Side.SELL else -1
    unit = [
        (balance[interval, bundle.node], -sign * wh / whole / built.energy_scale) for interval, wh in bundle.energy_wh
    ]
    cost = sign * bundle.price * sum(wh for _, wh in bundle.energy_wh) / whole / built.cost_scale / built.energy_scale
    built.whole[bundle.key] = whole
    if least == whole:
        entries = [*chosen, *((row, value * whole) for row, value in unit)]
        entries += [] if shared is None else [shared]
        built.chosen[bundle.key] = built.model.column(cost * whole, 0.0, 1.0, entries, integral=True)
        return
    upper, lower = built.model.row(-INFINITE, 0.0), built.model.row(0.0, INFINITE)
    chosen = [*chosen, (upper, -float(whole)), (lower, -float(least))]
    built.chosen[bundle.key] = built.model.column(0.0, 0.0, 1.0, chosen, integral=True)
    steps = [*unit, (upper, 1.0), (lower, 1.0)]
    steps += [] if shared is None else [(shared[0], shared[1] / whole)]
    built.steps[bundle.key] = built.model.column(cost, 0.0, float(whole), steps, integral=True)


def _add_lines(built: Built, problem: Problem[bytes], balance: Mapping[Place, int], interval: int) -> None:
    """Add each line's flow, forwards and backwards."""
    for index, line in enumerate(problem.lines):
        source, target = balance[interval, line.source], balance[interval, line.target]
        fee = line.fee_micro_per_kwh / built.cost_scale
        columns = [
            built.model.column(fee, 0.0, INFINITE if limit is None else limit / built.energy_scale, entries)
            for limit, entries in (
                (line.forward_wh[interval], [(target, -1.0), (source, 1.0)]),
                (line.backward_wh[interval], [(target, 1.0), (source, -1.0)]),
            )
        ]
        built.flows[interval, index] = tuple(columns)
