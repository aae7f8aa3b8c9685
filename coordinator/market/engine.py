"""Continuous trading at full speed: one book, every kind of order, every command in the trail.

A command returns what it led to. One that is refused changes nothing and leaves no record. Time comes
with the commands and never goes back; orders whose time is over leave before a command is judged. Conditional orders
sleep until their signal meets their threshold; that is looked at after each command, the oldest fires first, until no
more is due.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from ..protocol.messages import Side, TimeInForce
from ..protocol.order_terms import Condition, Signal
from ..protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from .book import Book, Fill, Resting
from .events import CloseReason
from .journal import (
    Advance,
    Cancel,
    CancelAll,
    EngineCommand,
    Journal,
    Modify,
    New,
    Observe,
    pack,
    pack_cancel,
    pack_new,
    read_journal,
)
from .rejections import Code
from .triggers import Watch

_BUY, _SELL = Side.BUY, Side.SELL
_STAYS = TimeInForce.GOOD_TILL_GATE
_DATED = TimeInForce.GOOD_TILL_DATE
_WHOLE = TimeInForce.FILL_OR_KILL
_CANCELLED = CloseReason.CANCELLED
_EXPIRED = CloseReason.EXPIRED
_IMMEDIATE = CloseReason.IMMEDIATE
_SELF_TRADE = CloseReason.SELF_TRADE
_DEAD_MIN = 64
_PRICE_SIGNALS = (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK)
"""The signals that the book itself tells, as they stand in ``Prices``."""

type Due = tuple[int, int, int]
"""A conditional order's sequence and key, and the value that fires it."""

type Prices = tuple[int | None, int | None, int | None]
"""The last trade's price, the best bid, the best ask."""


class Traded(NamedTuple):
    """An order trades with these, each at the maker's price, in this order."""

    taker: int
    fills: list[Fill[int]]


class Closed(NamedTuple):
    """An order left with this much unfilled."""

    key: int
    energy_wh: int
    reason: CloseReason


class Fired(NamedTuple):
    """A conditional order's signal met its threshold at this value; what it trades follows."""

    key: int
    value: int


class Refused(NamedTuple):
    """A command changed nothing."""

    key: int
    code: Code


type EngineEvent = Traded | Closed | Fired | Refused


class Dormant(NamedTuple):
    """A conditional order before it fires."""

    order: New
    condition: Condition
    sequence: int


class ContinuousEngine:
    """One market's continuous trading. Keys and owners are integers of 64 bits; owner 0 is nobody."""

    __slots__ = (
        "_append",
        "_asks",
        "_bids",
        "_book",
        "_dated",
        "_dormant",
        "_expiries",
        "_price_watches",
        "_quiet_at",
        "_resting",
        "_signal_watches",
        "at",
        "journal",
        "last_price",
        "orders_placed",
        "signals",
    )

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        """Start empty; ``write`` gets each frame of the trail."""
        self.journal = Journal(write)
        self.at = 0
        self.last_price: int | None = None
        self.signals: dict[Signal, int] = {}
        self.orders_placed = 0
        self._append = self.journal.append
        self._book: Book[int] = Book()
        self._resting = self._book.orders
        self._bids, self._asks = self._book.bids.heap, self._book.asks.heap
        self._dormant: dict[int, Dormant] = {}
        self._price_watches: tuple[Watch[int], Watch[int], Watch[int]] = Watch(), Watch(), Watch()
        self._signal_watches: dict[Signal, Watch[int]] = {}
        self._quiet_at: Prices | None = None
        self._expiries: list[tuple[int, int, int]] = []
        self._dated = 0

    @property
    def book(self) -> Book[int]:
        """The resting orders, to look at."""
        return self._book

    @property
    def dormant(self) -> int:
        """How many conditional orders sleep."""
        return len(self._dormant)

    def is_open(self, key: int) -> bool:
        """Tell whether an order rests or sleeps."""
        return key in self._resting or key in self._dormant

    def handle(self, command: EngineCommand) -> list[EngineEvent]:
        """Do what a command says; raise ``struct.error`` for numbers of more than 64 bits, before anything changes."""
        return _HANDLERS[type(command)](self, command)

    def new(self, command: New) -> list[EngineEvent]:
        """Trade an order; what remains rests, or leaves at once (market orders, IOC, FOK).

        A conditional order sleeps first; IOC and FOK are judged when it fires.
        """
        at, key, _, energy_wh, price, lifetime, _, expiry, condition = command
        expiries = self._expiries
        events = self._come(at) if expiries and expiries[0][0] <= at else []
        if key in self._resting or key in self._dormant:
            return [*events, Refused(key, Code.DUPLICATE_ORDER)]
        if energy_wh < 1 or energy_wh > ENERGY_WH_MAX:
            return [*events, Refused(key, Code.ENERGY_OUT_OF_RANGE)]
        if price is not None and (price > PRICE_MICRO_PER_KWH_MAX or price < -PRICE_MICRO_PER_KWH_MAX):
            return [*events, Refused(key, Code.PRICE_OUT_OF_BAND)]
        if (expiry or lifetime is _DATED) and expiry <= max(at, self.at):
            return [*events, Refused(key, Code.EXPIRED)]
        if at < self.at:
            command = command._replace(at=self.at)
        self._append(pack_new(command))
        self.at = command.at
        sequence = self.orders_placed = self.orders_placed + 1
        if condition is None:
            self._enter(events, command, sequence)
        else:
            self._sleep(Dormant(command, condition, sequence))
        if self._dormant:
            self._cascade(events)
        return events

    def cancel(self, command: Cancel) -> list[EngineEvent]:
        """Take an order out."""
        at, key = command
        expiries = self._expiries
        events = self._come(at) if expiries and expiries[0][0] <= at else []
        if key not in self._resting and key not in self._dormant:
            return [*events, Refused(key, Code.ORDER_NOT_OPEN)]
        at = max(at, self.at)
        self._append(pack_cancel(at, key))
        self.at = at
        events.append(Closed(key, self._take_out(key), _CANCELLED))
        if self._dormant:
            self._cascade(events)
        return events

    def cancel_all(self, command: CancelAll) -> list[EngineEvent]:
        """Take all of an owner's orders out, the oldest first. O(all open orders): no index of owners is kept."""
        events = self._come(command.at)
        self._book_in(command)
        owner = command.owner
        owned = [(live.sequence, live.key) for live in self._resting.values() if live.owner == owner]
        owned += [(sequence, key) for key, (order, _, sequence) in self._dormant.items() if order.owner == owner]
        for _, key in sorted(owned):
            events.append(Closed(key, self._take_out(key), _CANCELLED))
        self._cascade(events)
        return events

    def modify(self, command: Modify) -> list[EngineEvent]:
        """Give an open order new open energy and a new limit.

        Less energy at the same price keeps its place; anything else enters the book anew and may trade.
        """
        _, key, energy_wh, price = command
        events = self._come(command.at)
        code = _terms(energy_wh, price) if self.is_open(key) else Code.ORDER_NOT_OPEN
        if code is not None:
            return [*events, Refused(key, code)]
        self._book_in(command)
        dormant = self._dormant.get(key)
        if dormant is None:
            self._change(events, command)
        else:
            self._dormant[key] = dormant._replace(order=dormant.order._replace(energy_wh=energy_wh, price=price))
        self._cascade(events)
        return events

    def observe(self, command: Observe) -> list[EngineEvent]:
        """Take note of a signal from outside; raise ``ValueError`` for one that the book itself tells."""
        if command.signal in _PRICE_SIGNALS:
            raise ValueError(f"{command.signal.value} is the book's own; observe another signal")
        events = self._come(command.at)
        self._book_in(command)
        self.signals[command.signal] = command.value
        self._quiet_at = None
        self._cascade(events)
        return events

    def advance(self, command: Advance) -> list[EngineEvent]:
        """Let time come; return what expires and fires."""
        return self._come(command.at)

    def state_hash(self) -> bytes:
        """Return SHA-256 of a canonical encoding: equal states, equal hashes, whatever their heaps look like."""
        state = {
            "at": self.at,
            "last_price": self.last_price,
            "signals": sorted(self.signals.items()),
            "orders_placed": self.orders_placed,
            "book": [self._encoded(side) for side in Side],
            "dormant": [repr(dormant) for dormant in self._dormant.values()],
        }
        return hashlib.sha256(json.dumps(state, separators=(",", ":")).encode()).digest()

    def _encoded(self, side: Side) -> list[list[object]]:
        levels = self._book.side(side).levels()
        return [[o.price, o.key, o.energy_wh, o.owner, o.expiry, o.sequence] for level in levels for o in level]

    def _book_in(self, command: EngineCommand) -> None:
        """Write an accepted command into the trail, at the engine's time if its own lies before."""
        if command.at < self.at:
            command = command._replace(at=self.at)
        self._append(pack(command))
        self.at = command.at

    def _come(self, at: int) -> list[EngineEvent]:
        """Let orders expire until ``at``; that is a command of its own, whatever becomes of the one that follows."""
        events: list[EngineEvent] = []
        if not self._expiries or self._expiries[0][0] > at:
            return events
        self._book_in(Advance(at))
        while self._expiries and self._expiries[0][0] <= at:
            key = self._expiries[0][2]
            events.append(Closed(key, self._take_out(key), _EXPIRED))
        self._cascade(events)
        return events

    def _enter(self, events: list[EngineEvent], order: New, sequence: int) -> None:
        """Trade with what rests and let the remainder rest where it may."""
        _, key, side, energy_wh, price, lifetime, owner, expiry, _ = order
        book = self._book
        half, others = (book.bids, book.asks) if side is _BUY else (book.asks, book.bids)
        if others.heap and (price is None or others.heap[0] <= price * others.sign):
            if lifetime is _WHOLE:
                match = book.match(side, energy_wh, price, owner)
                if match.remaining_wh:
                    events.append(Closed(key, energy_wh, _SELF_TRADE if match.self_trade else _IMMEDIATE))
                    return
            fills, energy_wh, self_trade, gone = book.take(side, energy_wh, price, owner)
            for maker in gone:
                if maker.expiry:
                    self._undate()
            if fills:
                events.append(Traded(key, fills))
                self.last_price = fills[-1].price
            if self_trade:
                events.append(Closed(key, energy_wh, _SELF_TRADE))
                return
        if not energy_wh:
            return
        if price is None or (lifetime is not _STAYS and lifetime is not _DATED):
            events.append(Closed(key, energy_wh, _IMMEDIATE))
            return
        live = Resting(key, side, price, energy_wh, owner, None, None, expiry, sequence)
        self._resting[key] = live
        half.add(live)
        if expiry:
            self._date(key, expiry, sequence)

    def _sleep(self, dormant: Dormant) -> None:
        order, condition, sequence = dormant
        self._dormant[order.key] = dormant
        self._watch(condition.signal).add(order.key, sequence, condition.comparison, condition.threshold)
        if order.expiry:
            self._date(order.key, order.expiry, sequence)
        self._quiet_at = None

    def _watch(self, signal: Signal) -> Watch[int]:
        if signal in _PRICE_SIGNALS:
            return self._price_watches[_PRICE_SIGNALS.index(signal)]
        return self._signal_watches.setdefault(signal, Watch())

    def _date(self, key: int, expiry: int, sequence: int) -> None:
        self._dated += 1
        heappush(self._expiries, (expiry, sequence, key))

    def _take_out(self, key: int) -> int:
        """Take an open order out of wherever it is; return its open energy."""
        live = self._resting.pop(key, None)
        if live is None:
            return self._wake(key).order.energy_wh
        (self._book.bids if live.side is _BUY else self._book.asks).remove(live)
        if live.expiry:
            self._undate()
        return live.energy_wh

    def _wake(self, key: int) -> Dormant:
        dormant = self._dormant.pop(key)
        self._watch(dormant.condition.signal).remove(dormant.sequence)
        if dormant.order.expiry:
            self._undate()
        return dormant

    def _undate(self) -> None:
        """Count a dated order that is gone, and clear the heap before the dead outnumber the living."""
        self._dated -= 1
        heap = self._expiries
        if len(heap) - self._dated > max(_DEAD_MIN, self._dated):
            heap[:] = sorted({entry for entry in heap if self._is_dated(entry)})
        while heap and not self._is_dated(heap[0]):
            heappop(heap)

    def _is_dated(self, entry: tuple[int, int, int]) -> bool:
        """Tell whether an entry of the expiry heap is that of an open order."""
        _, sequence, key = entry
        live = self._resting.get(key)
        if live is not None:
            return live.sequence == sequence
        return key in self._dormant and self._dormant[key].sequence == sequence

    def _change(self, events: list[EngineEvent], command: Modify) -> None:
        _, key, energy_wh, price = command
        live = self._resting[key]
        assert isinstance(live.owner, int)
        if price == live.price and energy_wh < live.energy_wh:
            self._book.fill(key, live.energy_wh - energy_wh)
            return
        self._take_out(key)
        order = New(self.at, key, live.side, energy_wh, price, _STAYS, live.owner, live.expiry)
        self._enter(events, order, live.sequence)

    def _cascade(self, events: list[EngineEvent]) -> None:
        """Fire what is due, the oldest first, and look again after each that changed a price."""
        while self._dormant:
            bids, asks = self._bids, self._asks
            prices = self.last_price, -bids[0] if bids else None, asks[0] if asks else None
            if prices == self._quiet_at:
                return
            due = self._due(prices)
            if not due:
                self._quiet_at = prices
                return
            self._fire(events, due, prices)

    def _fire(self, events: list[EngineEvent], due: list[Due], prices: Prices) -> None:
        for _, key, value in due:
            dormant = self._wake(key)
            events.append(Fired(key, value))
            self._enter(events, dormant.order, dormant.sequence)
            bids, asks = self._bids, self._asks
            if prices != (self.last_price, -bids[0] if bids else None, asks[0] if asks else None):
                return

    def _due(self, prices: Prices) -> list[Due]:
        """Return all that are due, the oldest first."""
        last, bid, ask = prices
        on_last, on_bid, on_ask = self._price_watches
        if (
            not self._signal_watches
            and (last is None or on_last.below < last < on_last.above)
            and (bid is None or on_bid.below < bid < on_bid.above)
            and (ask is None or on_ask.below < ask < on_ask.above)
        ):
            return []
        values = [*zip(self._price_watches, prices, strict=True)]
        values += [(watch, self.signals.get(signal)) for signal, watch in self._signal_watches.items()]
        due = [
            (sequence, key, value)
            for watch, value in values
            if value is not None and watch.is_due(value)
            for sequence, key in watch.due(value)
        ]
        return sorted(due)


def replay(data: bytes, write: Callable[[bytes], object] | None = None) -> ContinuousEngine:
    """Return the engine that a trail leads to; raise ``ValueError`` for a trail that is torn or was changed.

    The engine goes on with the trail: ``write`` gets all its frames again, and then new ones.
    """
    engine = ContinuousEngine(write)
    for command in read_journal(data):
        engine.handle(command)
    return engine


_HANDLERS: dict[type[EngineCommand], Callable[[ContinuousEngine, Any], list[EngineEvent]]] = {
    New: ContinuousEngine.new,
    Cancel: ContinuousEngine.cancel,
    CancelAll: ContinuousEngine.cancel_all,
    Modify: ContinuousEngine.modify,
    Observe: ContinuousEngine.observe,
    Advance: ContinuousEngine.advance,
}


def _terms(energy_wh: int, price: int | None) -> Code | None:
    if not 1 <= energy_wh <= ENERGY_WH_MAX:
        return Code.ENERGY_OUT_OF_RANGE
    if price is not None and not -PRICE_MICRO_PER_KWH_MAX <= price <= PRICE_MICRO_PER_KWH_MAX:
        return Code.PRICE_OUT_OF_BAND
    return None
