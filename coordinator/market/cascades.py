"""What a command sets off: the dormant orders that it lets fire, one after the other, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush

from ..protocol.order_terms import Signal
from .commands import FireOrder
from .conditions import met_value, signal_value
from .events import (
    Event,
    OrderClosed,
    OrderPlaced,
    OrderTriggered,
    Rejected,
    SessionCleared,
    SignalObserved,
    Traded,
    TradingResumed,
)
from .rejections import Code
from .state import MarketState, awaited_start
from .triggers import Entry

_OF_THE_BOOK = (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK)

type Judge = Callable[[FireOrder], tuple[Event, ...] | Rejected]
"""How whoever sequences commands decides one now."""


class Cascade:
    """The orders that are due after a command and after each that fires in turn, until all is quiet.

    Tell it all events once they are applied, and fire what it returns before any other command. An order moves
    from its watch's heap (by threshold) to the one of what is due (by age) when its signal meets its threshold, and
    back if it no longer does at its turn. Nobody is judged before its turn: N firings cost O(N log N).
    """

    __slots__ = ("_due", "_state", "_waiting")

    def __init__(self, state: MarketState) -> None:
        """Watch the state, which others change."""
        self._state = state
        self._due: list[tuple[int, Entry[bytes], list[Entry[bytes]]]] = []
        self._waiting: dict[tuple[str, Signal, int], tuple[list[Entry[bytes]], list[Entry[bytes]]]] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Look at what these events have touched; they are applied already."""
        state = self._state
        if not state.triggers or state.halted is not None:
            return
        touched = _touched(state, events)
        for node, triggers in state.triggers.items():
            for signal, start in triggers.watched() if touched is None else touched:
                self._look(node, signal, start)

    def next(self, judge: Judge) -> tuple[FireOrder, tuple[Event, ...]] | None:
        """Return the oldest order that fires now, as its command and what that decides; ``None``: all is quiet."""
        orders = self._state.orders
        while self._due:
            _, entry, waiting = heappop(self._due)
            known = orders.get(entry[2])
            if known is None or not known.is_dormant:
                continue
            if met_value(self._state, known) is None:
                heappush(waiting, entry)
                continue
            command = FireOrder(known.digest)
            decision = judge(command)
            if not isinstance(decision, Rejected):
                return command, decision
            if decision.code == Code.CONDITION_NOT_MET:  # other refusals hold for as long as this moment
                heappush(waiting, entry)
        self._waiting.clear()  # what comes next may place others
        return None

    def _look(self, node: str, signal: Signal, start: int) -> None:
        """Let everybody be due whose threshold the signal meets."""
        watch = self._state.triggers[node].watch(signal, start)
        value = None if watch is None else signal_value(self._state, signal, start, node)
        if watch is None or value is None or not watch.is_due(value):
            return
        heaps = self._waiting.get((node, signal, start))
        if heaps is None:
            heaps = self._waiting[node, signal, start] = watch.heaps()
        for heap, ranked in zip(heaps, (value, -value), strict=True):
            while heap and heap[0][0] <= ranked:
                entry = heappop(heap)
                heappush(self._due, (entry[1], entry, heap))


def _touched(state: MarketState, events: Iterable[Event]) -> set[tuple[Signal, int]] | None:
    """Return the signals that these events may have changed, or that somebody new waits for; ``None``: any."""
    touched: set[tuple[Signal, int]] = set()
    for event in events:
        if isinstance(event, TradingResumed):
            return None
        touched.update(_signals_of(state, event))
    return touched


def _signals_of(state: MarketState, event: Event) -> Iterator[tuple[Signal, int]]:
    match event:
        case OrderPlaced(order=order):
            yield from _book_signals(order.delivery_start)
            if order.condition is not None:
                yield order.condition.signal, awaited_start(order, order.condition)
        case OrderClosed(digest=digest) | OrderTriggered(digest=digest):
            if (known := state.orders.get(digest)) is not None:
                yield from _book_signals(known.order.delivery_start)
        case Traded(delivery_start=start):
            yield from _book_signals(start)
        case SignalObserved(signal=signal, delivery_start=start):
            yield signal, start
        case SessionCleared(intervals=intervals):
            yield from ((Signal.SESSION_PRICE, cleared.delivery_start) for cleared in intervals)
        case _:
            pass


def _book_signals(start: int) -> Iterator[tuple[Signal, int]]:
    return ((signal, start) for signal in _OF_THE_BOOK)
