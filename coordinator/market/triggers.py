"""Dormant conditional orders by what they wait for: two heaps for each signal of each interval.

Looking (``due``) never changes anything; ``add`` and ``remove`` do. An order that is removed leaves an entry behind; it
leaves its heap when it surfaces, or when such entries outnumber the others.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ..protocol.order_terms import Comparison, Signal
from .heaps import in_order

_DEAD_MIN = 64
NEVER = 2**64
"""A threshold that nothing meets: those that are signed have 64 bits and a sign."""
_AT_LEAST = Comparison.AT_LEAST

type Entry[K] = tuple[int, int, K]
"""A threshold ranked so that the next to be met is the smallest, a sequence number, the order's key."""


class Watch[K]:
    """The orders that wait for one signal of one interval.

    A value is due that is at least ``above`` or at most ``below``: the next thresholds to be met.
    """

    __slots__ = ("_dead", "_live", "_rising", "_sinking", "above", "below")

    def __init__(self) -> None:
        """Watch for nobody."""
        self._rising: list[Entry[K]] = []
        self._sinking: list[Entry[K]] = []
        self._live: dict[int, bool] = {}
        self._dead = 0
        self.above = NEVER
        self.below = -NEVER

    def __len__(self) -> int:
        """Count the orders that wait."""
        return len(self._live)

    def add(self, key: K, sequence: int, comparison: Comparison, threshold: int) -> None:
        """Let an order wait; ``sequence`` is its own and tells its age."""
        rises = comparison is _AT_LEAST
        self._live[sequence] = rises
        if rises:
            heappush(self._rising, (threshold, sequence, key))
            self.above = self._rising[0][0]
        else:
            heappush(self._sinking, (-threshold, sequence, key))
            self.below = -self._sinking[0][0]

    def remove(self, sequence: int) -> None:
        """Let an order wait no more."""
        rises = self._live.pop(sequence)
        self._dead += 1
        if self._dead > max(_DEAD_MIN, len(self._live)):
            self._forget_the_dead()
        else:
            self._lift(self._rising if rises else self._sinking)
        self.above = self._rising[0][0] if self._rising else NEVER
        self.below = -self._sinking[0][0] if self._sinking else -NEVER

    def is_due(self, value: int) -> bool:
        """Tell in O(1) whether the value meets anybody's threshold."""
        return value >= self.above or value <= self.below

    def due(self, value: int) -> list[tuple[int, K]]:
        """Return sequence and key of all whose threshold the value meets, the oldest first."""
        met = [*self._met(self._rising, value), *self._met(self._sinking, -value)]
        return sorted(met, key=lambda entry: entry[0])

    def heaps(self) -> tuple[list[Entry[K]], list[Entry[K]]]:
        """Return copies of both heaps: by rising threshold, and by the negative of a sinking one. Some may be gone."""
        return self._rising.copy(), self._sinking.copy()

    def _met(self, heap: list[Entry[K]], ranked: int) -> list[tuple[int, K]]:
        found: list[tuple[int, K]] = []
        for threshold, sequence, key in in_order(heap):
            if threshold > ranked:
                break
            if sequence in self._live:
                found.append((sequence, key))
        return found

    def _lift(self, heap: list[Entry[K]]) -> None:
        """Keep a living order at the top, so that ``is_due`` is true of the living only."""
        while heap and heap[0][1] not in self._live:
            heappop(heap)
            self._dead -= 1

    def _forget_the_dead(self) -> None:
        for heap in (self._rising, self._sinking):
            heap[:] = [entry for entry in heap if entry[1] in self._live]
            heapify(heap)
        self._dead = 0


class Triggers[K]:
    """All dormant orders of one market; ``interval`` is the delivery start whose signal counts, 0 for the grid's."""

    __slots__ = ("_place", "_watches")

    def __init__(self) -> None:
        """Hold no orders."""
        self._watches: dict[tuple[Signal, int], Watch[K]] = {}
        self._place: dict[K, tuple[Signal, int, int]] = {}

    def __len__(self) -> int:
        """Count the dormant orders."""
        return len(self._place)

    def __contains__(self, key: object) -> bool:
        """Tell whether an order is dormant."""
        return key in self._place

    def add(self, key: K, sequence: int, signal: Signal, interval: int, comparison: Comparison, threshold: int) -> None:
        """Let an order wait for its signal; ``sequence`` is unique and grows with every order."""
        self._place[key] = signal, interval, sequence
        watch = self._watches.get((signal, interval))
        if watch is None:
            watch = self._watches[signal, interval] = Watch()
        watch.add(key, sequence, comparison, threshold)

    def remove(self, key: K) -> None:
        """Let an order wait no more: it fires, or closes. The last one takes its heaps with it."""
        signal, interval, sequence = self._place.pop(key)
        watch = self._watches[signal, interval]
        watch.remove(sequence)
        if not watch:
            del self._watches[signal, interval]

    def watch(self, signal: Signal, interval: int) -> Watch[K] | None:
        """Return who waits for this signal of this interval, ``None`` if nobody does."""
        return self._watches.get((signal, interval))

    def watched(self) -> list[tuple[Signal, int]]:
        """Return the signals and intervals that somebody waits for."""
        return sorted(self._watches)
