"""Who trades with whom once an auction's quantities and prices stand, in exact integers.

Buyers and sellers of a node are laid along each other in order of priority; what is left over goes along the lines'
flows to the next node that still wants it. Where energy flows prices rise by the line's fee at least, so no buyer pays
less than its seller receives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

import numpy as np

from ..protocol.messages import Side
from .mechanisms.halves import Half, Ints, by_merit, lay_along
from .problem import Problem, ProblemTrade
from .session import EXACT_BELOW, Curve, Margin, Place, Shares, legs

type _Trades = list[ProblemTrade[bytes]]


class _Parts:
    """What one side trades at a node, in order of priority, all of it above zero; it is taken from the front."""

    def __init__(self, keys: list[bytes], energy_wh: Ints) -> None:
        self.keys = keys
        self.energy_wh = energy_wh
        self.total_wh = int(energy_wh.sum())

    def take(self, energy_wh: int) -> tuple[list[bytes], Ints]:
        """Take this much, above zero, away."""
        reach_wh = np.cumsum(self.energy_wh)
        last = int(np.searchsorted(reach_wh, energy_wh, "left"))
        left_wh = int(reach_wh[last]) - energy_wh
        keys, taken_wh = self.keys[: last + 1], self.energy_wh[: last + 1].copy()
        taken_wh[last] -= left_wh
        self.energy_wh[last] = left_wh
        begin = last if left_wh else last + 1
        self.keys, self.energy_wh = self.keys[begin:], self.energy_wh[begin:]
        self.total_wh -= energy_wh
        return keys, taken_wh


type _Sides = dict[Side, dict[str, _Parts]]


def pair(
    problem: Problem[bytes],
    curves: Mapping[Place, Curve],
    margins: Mapping[Place, Margin],
    shares: Shares,
    flows: Sequence[Sequence[int]],
    prices: Mapping[Place, int],
) -> tuple[dict[bytes, int], _Trades, list[int]]:
    """Return what each single order fills, the trades of all orders and bundles, and each interval's volume."""
    keys = list(map(attrgetter("key"), problem.orders))
    filled_wh, parts = _share_out(problem, curves, margins, keys)
    _add_bundles(problem, shares, parts)
    trades: _Trades = []
    volumes: list[int] = []
    for interval in range(len(problem.intervals)):
        carried = flows[interval] if problem.lines else ()
        here = _Interval(interval, parts[interval], prices)
        here.trade(trades, _Network([(line.source, line.target) for line in problem.lines], carried))
        volumes.append(here.volume_wh)
    return dict(zip(keys, filled_wh.tolist(), strict=True)), trades, volumes


def _nothing() -> _Parts:
    return _Parts([], np.zeros(0, dtype=np.int64))


def _add_bundles(problem: Problem[bytes], shares: Shares, parts: MutableMapping[int, _Sides]) -> None:
    """Put the accepted bundles' energy after the single orders'."""
    added: defaultdict[tuple[int, Side, str], list[tuple[bytes, int]]] = defaultdict(list)
    for bundle in problem.bundles:
        if bundle.key in shares:
            for interval, energy_wh in legs(bundle, shares[bundle.key]):
                added[interval, bundle.side, bundle.node].append((bundle.key, energy_wh))
    for (interval, side, node), more in added.items():
        singles = parts[interval][side].get(node) or _nothing()
        keys = [*singles.keys, *(key for key, _ in more)]
        energies = [*singles.energy_wh.tolist(), *(energy_wh for _, energy_wh in more)]
        kind: Any = np.int64 if sum(energies) < EXACT_BELOW else object
        parts[interval][side][node] = _Parts(keys, np.array(energies, dtype=kind))


def _share_out(
    problem: Problem[bytes], curves: Mapping[Place, Curve], margins: Mapping[Place, Margin], keys: Sequence[bytes]
) -> tuple[Ints, MutableMapping[int, _Sides]]:
    """Share each node's volumes among its orders: better prices first, and at the margin by the rule for ties."""
    large = any(half.energy_wh.dtype == object for curve in curves.values() for half in (curve.bids, curve.asks))
    filled_wh: Ints = np.zeros(len(keys), dtype=object if large else np.int64)
    parts: defaultdict[int, _Sides] = defaultdict(lambda: {side: {} for side in Side})
    for (interval, node), margin in margins.items():
        curve = curves.get((interval, node))
        if curve is not None:
            for side, half, volume_wh in (
                (Side.BUY, curve.bids, margin.bought_wh),
                (Side.SELL, curve.asks, margin.sold_wh),
            ):
                if volume_wh:
                    own = _filled(half, by_merit(half, volume_wh, problem.rule.ties), keys, filled_wh)
                    parts[interval][side][node] = own
    return filled_wh, parts


def _filled(half: Half, fills: Ints, keys: Sequence[bytes], filled_wh: Ints) -> _Parts:
    """Write the fills down; return those above zero as parts."""
    taking = np.flatnonzero(fills)
    places = half.places[taking].tolist()
    filled_wh[half.places] = fills
    return _Parts([keys[place] for place in places], fills[taking])


class _Interval:
    """The parts of one interval being paired: those of a node with each other, then along the lines."""

    def __init__(self, number: int, parts: _Sides, prices: Mapping[Place, int]) -> None:
        nodes = sorted(parts[Side.BUY].keys() | parts[Side.SELL].keys())
        self._number = number
        self._prices = {node: prices[number, node] for node in nodes}
        self._buyers, self._sellers = (
            {node: parts[side].get(node) or _nothing() for node in nodes} for side in (Side.BUY, Side.SELL)
        )
        self.volume_wh = 0

    def trade(self, trades: _Trades, network: _Network) -> None:
        """Append all trades."""
        for node, sellers in self._sellers.items():
            if energy_wh := min(self._buyers[node].total_wh, sellers.total_wh):
                trades += self._lay(node, node, energy_wh)
        for node, sellers in self._sellers.items():
            while sellers.total_wh:
                wanted_wh = {at: buyers.total_wh for at, buyers in self._buyers.items()}
                there, energy_wh = network.send(node, sellers.total_wh, wanted_wh)
                trades += self._lay(node, there, energy_wh)

    def _lay(self, source: str, target: str, energy_wh: int) -> Iterator[ProblemTrade[bytes]]:
        """Lay sellers of one node and buyers of another along each other until this much faces each other."""
        buyers, bought_wh = self._buyers[target].take(energy_wh)
        sellers, sold_wh = self._sellers[source].take(energy_wh)
        bids, asks, energies = lay_along(bought_wh, sold_wh)
        price = self._prices[source]
        self.volume_wh += energy_wh
        return map(
            ProblemTrade,
            repeat(self._number),
            map(buyers.__getitem__, bids),
            map(sellers.__getitem__, asks),
            energies,
            repeat(price),
            repeat(self._prices[target] - price),
        )


class _Network:
    """What the lines of one interval still carry, as arcs in the direction of their flow."""

    def __init__(self, lines: Sequence[tuple[str, str]], carried: Sequence[int]) -> None:
        self._left = [abs(flow) for flow in carried]
        self._out: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for index, ((source, target), flow) in enumerate(zip(lines, carried, strict=False)):
            if flow:
                self._out[source if flow > 0 else target].append((index, target if flow > 0 else source))

    def send(self, start: str, most_wh: int, wanted_wh: Mapping[str, int]) -> tuple[str, int]:
        """Follow the flow to the first node that wants energy; return it and how much goes there.

        Quantities balance at every node, so the way ends at such a node; a circle (which carries energy nowhere)
        is taken out of the flow.
        """
        node, way, passed = start, list[int](), [start]
        while not wanted_wh.get(node, 0):
            line, node = next((line, to) for line, to in self._out[node] if self._left[line])
            way.append(line)
            if node in passed:
                begin = passed.index(node)
                self._carry(way[begin:], min(self._left[at] for at in way[begin:]))
                node, way, passed = start, [], [start]
            else:
                passed.append(node)
        energy_wh = min(most_wh, wanted_wh[node], *(self._left[line] for line in way))
        self._carry(way, energy_wh)
        return node, energy_wh

    def _carry(self, way: Sequence[int], energy_wh: int) -> None:
        for line in way:
            self._left[line] -= energy_wh
