"""What continuous trading promises, after every command of any stream of them.

Price priority, time priority, a book that is never crossed, and conservation determine the output of a continuous
double auction uniquely (Garg and Sarswat, FSTTCS 2022); with the others here they leave no room for another engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.market.engine import Closed, ContinuousEngine, EngineEvent, Fired, Refused, Traded, replay
from coordinator.market.journal import Advance, Cancel, CancelAll, EngineCommand, Modify, New, Observe
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal

_KEYS = st.integers(1, 15)
_WH = st.integers(0, 9)
_PRICES = st.integers(1, 6)
_OWNERS = st.integers(0, 3)
_SIGNALS = st.sampled_from((Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK, Signal.GRID_STATE))
_CONDITIONS = st.builds(Condition, _SIGNALS, st.sampled_from(tuple(Comparison)), _PRICES)
_OWN = (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK)


@dataclass
class Book:
    """One order as its owner counts: what it asked for, what it got, what is left, where it stands in time."""

    order: New
    entered_wh: int
    limit: int | None
    since: int
    filled_wh: int = 0
    asleep: bool = False
    fired: int = 0

    @property
    def open_wh(self) -> int:
        return self.entered_wh - self.filled_wh


class ContinuousTrading(RuleBasedStateMachine):
    """Orders are followed from outside, by commands and events alone."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = bytearray()
        self.engine = ContinuousEngine(self.frames.extend)
        self.open: dict[int, Book] = {}
        self.at = 0
        self.moment = 0
        self.last: int | None = None
        self.signals: dict[Signal, int] = {}

    @initialize(asks=st.lists(st.tuples(_PRICES, _WH, _OWNERS), max_size=6))
    def something_rests(self, asks: list[tuple[int, int, int]]) -> None:
        for key, (price, energy_wh, owner) in enumerate(asks, 1):
            self.do(New(self.at, key, Side.SELL, energy_wh, price, owner=owner))

    @rule(
        key=_KEYS,
        side=st.sampled_from(Side),
        energy_wh=_WH,
        price=st.none() | _PRICES,
        lifetime=st.sampled_from(TimeInForce),
        owner=_OWNERS,
        lasts=st.integers(0, 4),
        condition=st.none() | st.none() | _CONDITIONS,
    )
    def new(self, **terms: Any) -> None:
        lasts = terms.pop("lasts")
        dated = terms["lifetime"] is TimeInForce.GOOD_TILL_DATE
        self.do(New(self.at, expiry=self.at + lasts if dated else 0, **terms))

    @rule(key=_KEYS)
    def cancel(self, key: int) -> None:
        self.do(Cancel(self.at, key))

    @rule(owner=st.integers(1, 3))
    def cancel_all(self, owner: int) -> None:
        events = self.do(CancelAll(self.at, owner))
        assert not any(book.order.owner == owner for book in self.open.values()), events

    @rule(key=_KEYS, energy_wh=_WH, price=_PRICES)
    def modify(self, key: int, energy_wh: int, price: int) -> None:
        self.do(Modify(self.at, key, energy_wh, price))

    @rule(value=_PRICES)
    def observe(self, value: int) -> None:
        self.do(Observe(self.at, Signal.GRID_STATE, value))

    @rule(seconds=st.integers(-2, 3))
    def time_passes(self, seconds: int) -> None:
        self.at = max(0, self.at + seconds)
        self.do(Advance(self.at))

    def do(self, command: EngineCommand) -> list[EngineEvent]:
        """Let time come, then let the engine do it; follow what it tells. A refusal must change nothing."""
        if command != (advance := Advance(command.at)):
            self.do(advance)
        self.moment += 1
        before = self.engine.state_hash(), len(self.frames)
        events = self.engine.handle(command)
        if any(isinstance(event, Refused) for event in events):
            assert len(events) == 1
            assert (self.engine.state_hash(), len(self.frames)) == before
            return events
        self._begin(command)
        for event in events:
            self._follow(event)
        return events

    def _begin(self, command: EngineCommand) -> None:
        """Count what an accepted command asks for."""
        if isinstance(command, New):
            self.open[command.key] = Book(
                command, command.energy_wh, command.price, self.moment, asleep=command.condition is not None
            )
        elif isinstance(command, Modify):
            book = self.open[command.key]
            keeps = not book.asleep and command.price == book.limit and command.energy_wh < book.open_wh
            book.since = book.since if keeps else self.moment
            book.entered_wh, book.limit = book.filled_wh + command.energy_wh, command.price
        elif isinstance(command, Observe):
            self.signals[command.signal] = command.value

    def _follow(self, event: EngineEvent) -> None:
        match event:
            case Fired(key, _):
                book = self.open[key]
                assert book.asleep, "it fires once"
                book.asleep, book.fired, book.since = False, book.fired + 1, self.moment
                self.moment += 1
            case Traded(taker, fills):
                for fill in fills:
                    self._trade(taker, fill.key, fill.price, fill.energy_wh)
            case Closed(key, energy_wh, _):
                assert self.open.pop(key).open_wh == energy_wh > 0
            case Refused():
                pass

    def _trade(self, taker_key: int, maker_key: int, price: int, energy_wh: int) -> None:
        taker, maker = self.open[taker_key], self.open[maker_key]
        assert energy_wh > 0
        assert taker.order.side is not maker.order.side
        assert not taker.order.owner or taker.order.owner != maker.order.owner
        assert price == maker.limit, "a fill is at the maker's price"
        sign = 1 if taker.order.side is Side.BUY else -1
        assert taker.limit is None or price * sign <= taker.limit * sign
        assert not taker.asleep
        assert not maker.asleep
        for other_key, other in self.open.items():
            rival = other_key not in (maker_key, taker_key) and other.order.side is maker.order.side
            if rival and not other.asleep and other.limit is not None:
                better = other.limit * sign < price * sign
                assert not better, "price priority"
                assert other.limit != price or other.since > maker.since, "time priority"
        self.last = price
        for key, book in ((taker_key, taker), (maker_key, maker)):
            book.filled_wh += energy_wh
            assert book.open_wh >= 0
            if not book.open_wh:
                del self.open[key]

    @invariant()
    def what_is_open_is_what_was_entered_and_not_yet_filled_or_closed(self) -> None:
        resting = {order.key: order.energy_wh for order in self.engine.book.waiting()}
        assert resting == {key: book.open_wh for key, book in self.open.items() if not book.asleep}
        assert self.engine.dormant == sum(book.asleep for book in self.open.values())

    @invariant()
    def the_book_is_never_crossed(self) -> None:
        bid, ask = self.engine.book.best(Side.BUY), self.engine.book.best(Side.SELL)
        assert bid is None or ask is None or bid < ask

    @invariant()
    def queues_stand_in_the_order_of_time(self) -> None:
        for side in Side:
            for level in self.engine.book.side(side).levels():
                times = [self.open[order.key].since for order in level]
                assert times == sorted(times)
                assert level.energy_wh == sum(order.energy_wh for order in level) > 0
                assert level.count == len(times)

    @invariant()
    def nothing_stays_that_may_not(self) -> None:
        for book in self.open.values():
            assert book.order.expiry == 0 or book.order.expiry > self.engine.at
            good = (TimeInForce.GOOD_TILL_GATE, TimeInForce.GOOD_TILL_DATE)
            assert book.asleep or (book.order.lifetime in good and book.limit is not None)

    @invariant()
    def all_is_quiet(self) -> None:
        values = {
            Signal.LAST_PRICE: self.last,
            Signal.BEST_BID: self.engine.book.best(Side.BUY),
            Signal.BEST_ASK: self.engine.book.best(Side.SELL),
            **self.signals,
        }
        for book in self.open.values():
            condition = book.order.condition
            if book.asleep and condition is not None:
                value = values.get(condition.signal)
                assert value is None or not condition.comparison.holds(value, condition.threshold)

    @invariant()
    def a_replay_is_equal(self) -> None:
        again = replay(bytes(self.frames))
        assert again.state_hash() == self.engine.state_hash()
        assert again.journal.head == self.engine.journal.head


TestContinuousTrading = ContinuousTrading.TestCase
TestContinuousTrading.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, derandomize=True, report_multiple_bugs=False
)
