"""One order book: price levels in a dictionary, first in first out within a level, heaps of prices.

Integers only, no clock, no I/O. Looking (``match``, ``levels``) never changes the book; ``add``,
``reduce`` and ``remove`` do. A cancelled order leaves at once; an emptied level leaves its heap
when it surfaces or when empty levels outnumber the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ..protocol.messages import Side

_EMPTY_LEVELS_MIN = 64


@dataclass(slots=True)
class Resting[K]:
    """An order in the book; ``price`` is ``None`` for a market order that waits for an auction."""

    key: K
    side: Side
    price: int | None
    energy_wh: int
    owner: str = ""


@dataclass(slots=True)
class Level[K]:
    """The orders at one price, oldest first."""

    price: int
    energy_wh: int = 0
    queue: OrderedDict[K, Resting[K]] = field(default_factory=OrderedDict)


class Fill[K](NamedTuple):
    """A resting order's part in a match, at its own price."""

    key: K
    price: int
    energy_wh: int


class Match[K](NamedTuple):
    """What an incoming order would trade, what it would leave, and whether it met its owner."""

    fills: tuple[Fill[K], ...]
    remaining_wh: int
    self_trade: bool


class Half[K]:
    """One side of the book."""

    __slots__ = ("_empty", "_heap", "_levels", "_sign", "at_market")

    def __init__(self, side: Side) -> None:
        """Make an empty side; bids are best when high, asks when low."""
        self._sign = -1 if side is Side.BUY else 1
        self._levels: dict[int, Level[K]] = {}
        self._heap: list[int] = []
        self._empty = 0
        self.at_market: OrderedDict[K, Resting[K]] = OrderedDict()

    def levels(self) -> Iterator[Level[K]]:
        """Walk the levels that hold orders from the best price on, in O(log n) per level."""
        for ranked in in_order(self._heap):
            level = self._levels[ranked * self._sign]
            if level.queue:
                yield level

    def best(self) -> int | None:
        """Return the best price."""
        return self._heap[0] * self._sign if self._heap else None

    def reaches(self, price: int, limit: int | None) -> bool:
        """Tell whether an order of the other side with this limit trades at ``price``."""
        return limit is None or price * self._sign <= limit * self._sign

    def add(self, resting: Resting[K]) -> None:
        """Put an order behind all others at its price."""
        if resting.price is None:
            self.at_market[resting.key] = resting
            return
        level = self._levels.get(resting.price)
        if level is None:
            level = self._levels[resting.price] = Level(resting.price)
            heappush(self._heap, resting.price * self._sign)
        elif not level.queue:
            self._empty -= 1
        level.queue[resting.key] = resting
        level.energy_wh += resting.energy_wh

    def reduce(self, resting: Resting[K], energy_wh: int) -> None:
        """Take energy from an order, which keeps its place."""
        resting.energy_wh -= energy_wh
        if resting.price is not None:
            self._levels[resting.price].energy_wh -= energy_wh

    def remove(self, resting: Resting[K]) -> None:
        """Take an order out."""
        if resting.price is None:
            del self.at_market[resting.key]
            return
        level = self._levels[resting.price]
        del level.queue[resting.key]
        level.energy_wh -= resting.energy_wh
        if not level.queue:
            self._empty += 1
            self._sweep()

    def _sweep(self) -> None:
        """Drop empty levels from the top, and all of them when they are the majority."""
        if self._empty > max(_EMPTY_LEVELS_MIN, len(self._heap) // 2):
            self._levels = {price: level for price, level in self._levels.items() if level.queue}
            self._heap = [price * self._sign for price in self._levels]
            heapify(self._heap)
            self._empty = 0
        while self._heap and not self._levels[self._heap[0] * self._sign].queue:
            del self._levels[heappop(self._heap) * self._sign]
            self._empty -= 1


class Book[K]:
    """Both sides and the index of all orders by key."""

    __slots__ = ("_halves", "_orders")

    def __init__(self) -> None:
        """Make an empty book."""
        self._halves: dict[Side, Half[K]] = {side: Half(side) for side in Side}
        self._orders: dict[K, Resting[K]] = {}

    def side(self, side: Side) -> Half[K]:
        """Return one side."""
        return self._halves[side]

    def get(self, key: K) -> Resting[K] | None:
        """Return an order that is in the book."""
        return self._orders.get(key)

    def match(
        self,
        side: Side,
        energy_wh: int,
        limit: int | None,
        owner: str = "",
        gone: Container[K] = (),
    ) -> Match[K]:
        """Return what an incoming order would trade, at the resting prices, best and oldest first.

        The match ends where it meets an order of the same ``owner``. Orders in ``gone`` are passed
        over. ``limit`` is ``None`` for a market order. Market orders that wait do not trade.
        """
        half = self._halves[side.other]
        fills: list[Fill[K]] = []
        for level in half.levels():
            if not half.reaches(level.price, limit):
                break
            for resting in level.queue.values():
                if resting.key in gone:
                    continue
                if owner and resting.owner == owner:
                    return Match(tuple(fills), energy_wh, self_trade=True)
                taken_wh = min(energy_wh, resting.energy_wh)
                fills.append(Fill(resting.key, level.price, taken_wh))
                energy_wh -= taken_wh
                if not energy_wh:
                    return Match(tuple(fills), 0, self_trade=False)
        waits = owner and any(resting.owner == owner and resting.key not in gone for resting in half.at_market.values())
        return Match(tuple(fills), energy_wh, self_trade=bool(waits))

    def add(self, resting: Resting[K]) -> None:
        """Put an order into the book."""
        self._orders[resting.key] = resting
        self._halves[resting.side].add(resting)

    def fill(self, key: K, energy_wh: int) -> None:
        """Take traded energy from an order; a full fill leaves the book."""
        resting = self._orders[key]
        self._halves[resting.side].reduce(resting, energy_wh)
        if not resting.energy_wh:
            self.remove(key)

    def remove(self, key: K) -> Resting[K]:
        """Take an order out and return it."""
        resting = self._orders.pop(key)
        self._halves[resting.side].remove(resting)
        return resting

    def waiting(self) -> list[Resting[K]]:
        """Return all orders, each side by price and time with market orders first."""
        return [
            resting
            for half in self._halves.values()
            for queue in (half.at_market, *(level.queue for level in half.levels()))
            for resting in queue.values()
        ]

    def content(self, side: Side) -> list[tuple[int | None, list[tuple[str, int]]]]:
        """Return prices, keys and energies of one side in priority order, for comparing books."""
        half = self._halves[side]
        queues = [(None, half.at_market), *((level.price, level.queue) for level in half.levels())]
        return [
            (price, [(_shown(resting.key), resting.energy_wh) for resting in queue.values()]) for price, queue in queues
        ]


def in_order[T: (int, tuple[int, int, bytes])](heap: list[T]) -> Iterator[T]:
    """Walk a heap from its smallest item on without changing it: O(log k) for the k-th item."""
    frontier = [(heap[0], 0)] if heap else []
    while frontier:
        item, index = heappop(frontier)
        yield item
        for child in (2 * index + 1, 2 * index + 2):
            if child < len(heap):
                heappush(frontier, (heap[child], child))


def _shown(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)
