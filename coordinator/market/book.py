"""One order book: price levels in a dictionary, a linked queue in each level, heaps of prices.

Integers only, no clock, no I/O. Looking (``match``, ``levels``) never changes the book; ``add``,
``fill``, ``remove`` and ``put_in_place`` do. A cancelled order leaves at once, from anywhere in its queue; an emptied
level leaves its heap when it surfaces or when empty levels outnumber the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple

from ..protocol.messages import Side
from .heaps import in_order

__all__ = ["Book", "Fill", "Half", "Level", "Match", "Resting", "in_order"]

_BUY = Side.BUY
_EMPTY_LEVELS_MIN = 64
_fill = tuple.__new__  # a named tuple's own constructor is a Python function, and half of a fill's time


@dataclass(slots=True)
class Resting[K]:
    """An order in the book; ``price`` is ``None`` for a market order that waits for an auction.

    An empty ``owner`` is nobody. ``before`` and ``after`` are its neighbours in the queue, which the book keeps.
    ``expiry`` (a second, 0: none) and ``sequence`` are for whoever wants to find them again.
    """

    key: K
    side: Side
    price: int | None
    energy_wh: int
    owner: str | int = ""
    before: Resting[K] | None = field(default=None, repr=False, compare=False)
    after: Resting[K] | None = field(default=None, repr=False, compare=False)
    expiry: int = 0
    sequence: int = 0

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle without the neighbours."""
        alone = {item.name: getattr(self, item.name) for item in fields(self)} | {"before": None, "after": None}
        return type(self), tuple(alone.values())


class Level[K]:
    """The orders at one price, oldest first; the price of the level of market orders means nothing."""

    __slots__ = ("count", "energy_wh", "first", "last", "price")

    def __init__(self, price: int = 0) -> None:
        """Make an empty level."""
        self.price = price
        self.energy_wh = 0
        self.count = 0
        self.first: Resting[K] | None = None
        self.last: Resting[K] | None = None

    def __iter__(self) -> Iterator[Resting[K]]:
        """Walk the queue."""
        resting = self.first
        while resting is not None:
            yield resting
            resting = resting.after

    def unlink(self, resting: Resting[K]) -> None:
        """Take an order out, from wherever it stands."""
        before, after = resting.before, resting.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        resting.before = resting.after = None
        self.count -= 1
        self.energy_wh -= resting.energy_wh

    def swap(self, old: Resting[K], new: Resting[K]) -> None:
        """Let ``new`` stand where ``old`` stands."""
        before, after = new.before, new.after = old.before, old.after
        if before is None:
            self.first = new
        else:
            before.after = new
        if after is None:
            self.last = new
        else:
            after.before = new
        old.before = old.after = None
        self.energy_wh += new.energy_wh - old.energy_wh


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


type Taken[K] = tuple[list[Fill[K]], int, bool, list[Resting[K]]]
"""What an incoming order has traded, what remains of it, whether it met its owner, which orders it filled."""


class Half[K]:
    """One side of the book. A price times ``sign`` is its rank, and the best rank is the smallest.

    ``heap`` holds the ranks; its top always holds orders. To look at, not to change.
    """

    __slots__ = ("_empty", "at_market", "by_rank", "heap", "sign")

    def __init__(self, side: Side) -> None:
        """Make an empty side; bids are best when high, asks when low."""
        self.sign = -1 if side is _BUY else 1
        self.by_rank: dict[int, Level[K]] = {}
        self.heap: list[int] = []
        self._empty = 0
        self.at_market: Level[K] = Level()

    def levels(self) -> Iterator[Level[K]]:
        """Walk the levels that hold orders from the best price on, in O(log n) per level."""
        for ranked in in_order(self.heap):
            level = self.by_rank[ranked]
            if level.count:
                yield level

    def best(self) -> int | None:
        """Return the best price in O(1): the top of the heap always holds orders."""
        return self.heap[0] * self.sign if self.heap else None

    def crossed(self, limit: int | None) -> Iterator[Level[K]]:
        """Walk the levels that an order of the other side with this limit trades with, best first."""
        heap, by_rank = self.heap, self.by_rank
        if not heap or (limit is not None and heap[0] > limit * self.sign):
            return
        yield by_rank[heap[0]]
        for level in islice(self.levels(), 1, None):
            if limit is not None and level.price * self.sign > limit * self.sign:
                return
            yield level

    def add(self, resting: Resting[K]) -> None:
        """Put an order behind all others at its price."""
        price = resting.price
        ranked = 0 if price is None else price * self.sign
        level = self.at_market if price is None else self.by_rank.get(ranked)
        if level is None:
            level = self.by_rank[ranked] = Level(price or 0)
            heappush(self.heap, ranked)
        elif price is not None and not level.count:
            self._empty -= 1
        last = level.last
        if last is None:
            level.first = resting
        else:
            last.after = resting
            resting.before = last
        level.last = resting
        level.count += 1
        level.energy_wh += resting.energy_wh

    def level_of(self, resting: Resting[K]) -> Level[K]:
        """Return the level in which an order stands."""
        return self.at_market if resting.price is None else self.by_rank[resting.price * self.sign]

    def remove(self, resting: Resting[K]) -> None:
        """Take an order out."""
        level = self.level_of(resting)
        level.unlink(resting)
        if not level.count and resting.price is not None:
            self.note_empty()

    def note_empty(self) -> None:
        """Count one more empty level; drop those at the top, and all of them when they are the majority."""
        self._empty += 1
        heap, levels = self.heap, self.by_rank
        if self._empty > _EMPTY_LEVELS_MIN and self._empty > len(heap) // 2:
            self.by_rank = levels = {ranked: level for ranked, level in levels.items() if level.count}
            heap[:] = levels
            heapify(heap)
            self._empty = 0
        while heap and not levels[heap[0]].count:
            del levels[heappop(heap)]
            self._empty -= 1


class Book[K]:
    """Both sides and the index of all orders by key."""

    __slots__ = ("asks", "bids", "orders")

    def __init__(self) -> None:
        """Make an empty book."""
        self.bids: Half[K] = Half(Side.BUY)
        self.asks: Half[K] = Half(Side.SELL)
        self.orders: dict[K, Resting[K]] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle as the list of its orders, however long a queue is."""
        return _filled, (self.waiting(),)

    def __len__(self) -> int:
        """Count the orders in the book."""
        return len(self.orders)

    def side(self, side: Side) -> Half[K]:
        """Return one side."""
        return self.bids if side is _BUY else self.asks

    def best(self, side: Side, gone: Collection[K] = ()) -> int | None:
        """Return a side's best price in O(1); orders in ``gone`` are passed over, one by one."""
        half = self.side(side)
        if not gone:
            return half.best()
        return next((level.price for level in half.levels() if any(live.key not in gone for live in level)), None)

    def get(self, key: K) -> Resting[K] | None:
        """Return an order that is in the book."""
        return self.orders.get(key)

    def match(
        self,
        side: Side,
        energy_wh: int,
        limit: int | None,
        owner: str | int = "",
        gone: Collection[K] = (),
    ) -> Match[K]:
        """Return what an incoming order would trade, at the resting prices, best and oldest first.

        The match ends where it meets an order of the same ``owner``. Orders in ``gone`` are passed
        over. ``limit`` is ``None`` for a market order. Market orders that wait do not trade.
        """
        half = self.asks if side is _BUY else self.bids
        fills: list[Fill[K]] = []
        for level in half.crossed(limit):
            price, resting = level.price, level.first
            while resting is not None:
                if gone and resting.key in gone:
                    resting = resting.after
                    continue
                if owner and resting.owner == owner:
                    return Match(tuple(fills), energy_wh, self_trade=True)
                if resting.energy_wh >= energy_wh:
                    fills.append(Fill(resting.key, price, energy_wh))
                    return Match(tuple(fills), 0, self_trade=False)
                fills.append(Fill(resting.key, price, resting.energy_wh))
                energy_wh -= resting.energy_wh
                resting = resting.after
        waits = owner and any(own.owner == owner and own.key not in gone for own in half.at_market)
        return Match(tuple(fills), energy_wh, self_trade=bool(waits))

    def take(self, side: Side, energy_wh: int, limit: int | None, owner: str | int = "") -> Taken[K]:
        """Match and book the fills at once: what ``match`` and then ``fill`` do in two steps.

        A market order that waits is not looked at, so the owner is met among limit orders only.
        """
        half = self.asks if side is _BUY else self.bids
        heap, sign, orders = half.heap, half.sign, self.orders
        fills: list[Fill[K]] = []
        gone: list[Resting[K]] = []
        while energy_wh and heap and (limit is None or heap[0] <= limit * sign):
            level = half.by_rank[heap[0]]
            price, resting = level.price, level.first
            while resting is not None and energy_wh:
                if owner and resting.owner == owner:
                    return fills, energy_wh, True, gone
                after, wh = resting.after, resting.energy_wh
                if wh > energy_wh:
                    wh = energy_wh
                    resting.energy_wh -= wh
                    level.energy_wh -= wh
                else:
                    level.unlink(resting)
                    resting.energy_wh = 0
                    del orders[resting.key]
                    gone.append(resting)
                fills.append(_fill(Fill, (resting.key, price, wh)))
                energy_wh -= wh
                resting = after
            if not level.count:
                half.note_empty()
        return fills, energy_wh, False, gone

    def add(self, resting: Resting[K]) -> None:
        """Put an order into the book."""
        self.orders[resting.key] = resting
        (self.bids if resting.side is _BUY else self.asks).add(resting)

    def fill(self, key: K, energy_wh: int) -> Resting[K]:
        """Take traded energy from an order, which keeps its place, and return it; a full fill leaves the book."""
        resting = self.orders[key]
        half = self.bids if resting.side is _BUY else self.asks
        if energy_wh == resting.energy_wh:
            half.remove(resting)
            resting.energy_wh = 0
            del self.orders[key]
        else:
            resting.energy_wh -= energy_wh
            half.level_of(resting).energy_wh -= energy_wh
        return resting

    def remove(self, key: K) -> Resting[K]:
        """Take an order out and return it."""
        resting = self.orders.pop(key)
        (self.bids if resting.side is _BUY else self.asks).remove(resting)
        return resting

    def put_in_place(self, old_key: K, resting: Resting[K]) -> Resting[K]:
        """Let an order stand in the queue where another of the same side and price stands; return that one."""
        old = self.orders[old_key]
        assert (old.side, old.price) == (resting.side, resting.price), "only at the same price is there a place to keep"
        del self.orders[old_key]
        self.orders[resting.key] = resting
        (self.bids if old.side is _BUY else self.asks).level_of(old).swap(old, resting)
        return old

    def waiting(self) -> list[Resting[K]]:
        """Return all orders, each side by price and time with market orders first."""
        return [
            resting
            for half in (self.bids, self.asks)
            for level in (half.at_market, *half.levels())
            for resting in level
        ]

    def content(self, side: Side) -> list[tuple[int | None, list[tuple[str, int]]]]:
        """Return prices, keys and energies of one side in priority order, for comparing books."""
        half = self.side(side)
        levels = [(None, half.at_market), *((level.price, level) for level in half.levels())]
        return [(price, [(_shown(resting.key), resting.energy_wh) for resting in level]) for price, level in levels]


def _filled[K](orders: Iterable[Resting[K]]) -> Book[K]:
    """Return a book with these orders, each side's in the order of their priority."""
    book: Book[K] = Book()
    for resting in orders:
        book.add(resting)
    return book


def _shown(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)
