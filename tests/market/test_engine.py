"""The continuous engine: what fast engines get wrong, by name, and the kinds of orders a book alone does not know."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from coordinator.market.engine import Closed, ContinuousEngine, EngineEvent, Fired, Refused, Traded, replay
from coordinator.market.events import CloseReason
from coordinator.market.journal import Advance, Cancel, CancelAll, EngineCommand, Modify, New, Observe
from coordinator.market.rejections import Code
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.market.slow_engine import depth

BUY, SELL = Side.BUY, Side.SELL
IOC, FOK, GTD = TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL, TimeInForce.GOOD_TILL_DATE
LAST, BID, ASK = Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK
UP, DOWN = Comparison.AT_LEAST, Comparison.AT_MOST


class Desk:
    """An engine with short ways to speak to it; keys count up by themselves."""

    def __init__(self) -> None:
        self.frames = bytearray()
        self.engine = ContinuousEngine(self.frames.extend)
        self.keys = itertools.count(1)
        self.at = 0

    def new(self, side: Side, wh: int, price: int | None, **terms: Any) -> tuple[int, list[EngineEvent]]:
        key = terms.pop("key", None) or next(self.keys)
        return key, self.engine.new(New(self.at, key, side, wh, price, **terms))

    def rest(self, side: Side, wh: int, price: int, **terms: Any) -> int:
        key, events = self.new(side, wh, price, **terms)
        assert not events
        return key

    def cancel(self, key: int) -> list[EngineEvent]:
        return self.engine.cancel(Cancel(self.at, key))

    def modify(self, key: int, wh: int, price: int) -> list[EngineEvent]:
        return self.engine.modify(Modify(self.at, key, wh, price))


def _trades(events: list[EngineEvent]) -> list[tuple[int, int, int]]:
    """Return maker, price and energy of every fill."""
    return [(f.key, f.price, f.energy_wh) for event in events if isinstance(event, Traded) for f in event.fills]


def _fired(events: list[EngineEvent]) -> list[int]:
    return [event.key for event in events if isinstance(event, Fired)]


def test_a_fill_is_at_the_makers_price() -> None:
    desk = Desk()
    maker = desk.rest(SELL, 5, 100)
    assert _trades(desk.new(BUY, 5, 130)[1]) == [(maker, 100, 5)]


def test_an_id_is_free_again_after_a_full_fill_and_dead_until_then() -> None:
    desk = Desk()
    maker = desk.rest(SELL, 5, 100)
    assert desk.new(SELL, 5, 100, key=maker)[1] == [Refused(maker, Code.DUPLICATE_ORDER)]
    desk.new(BUY, 5, 100)
    assert desk.cancel(maker) == [Refused(maker, Code.ORDER_NOT_OPEN)]
    assert desk.new(SELL, 3, 100, key=maker)[1] == []
    assert depth(desk.engine, SELL) == [(100, 3, maker)]


def test_a_cancel_in_the_middle_keeps_the_order_of_the_others() -> None:
    desk = Desk()
    keys = [desk.rest(SELL, 1, 100) for _ in range(5)]
    desk.cancel(keys[1])
    desk.cancel(keys[3])
    assert [maker for maker, _, _ in _trades(desk.new(BUY, 3, None)[1])] == [keys[0], keys[2], keys[4]]


def test_a_partly_filled_maker_keeps_its_place() -> None:
    desk = Desk()
    first, second = desk.rest(SELL, 5, 100), desk.rest(SELL, 5, 100)
    desk.new(BUY, 2, 100)
    assert _trades(desk.new(BUY, 4, 100)[1]) == [(first, 100, 3), (second, 100, 1)]


@pytest.mark.parametrize(("price", "lifetime"), [(100, IOC), (None, TimeInForce.GOOD_TILL_GATE), (None, IOC)])
def test_no_remainder_of_these_rests(price: int | None, lifetime: TimeInForce) -> None:
    desk = Desk()
    maker = desk.rest(SELL, 5, 100)
    key, events = desk.new(BUY, 8, price, lifetime=lifetime)
    assert _trades(events) == [(maker, 100, 5)]
    assert events[-1] == Closed(key, 3, CloseReason.IMMEDIATE)
    assert len(desk.engine.book) == 0


def test_a_sweep_ends_at_its_limit() -> None:
    desk = Desk()
    keys = [desk.rest(SELL, 1, price) for price in (100, 101, 102)]
    key, events = desk.new(BUY, 5, 101)
    assert _trades(events) == [(keys[0], 100, 1), (keys[1], 101, 1)]
    assert depth(desk.engine, BUY) == [(101, 3, key)]
    assert depth(desk.engine, SELL) == [(102, 1, keys[2])]


def test_fill_or_kill_counts_every_level_and_changes_nothing_when_killed() -> None:
    desk = Desk()
    keys = [desk.rest(SELL, 2, price) for price in (100, 101, 102)]
    before = depth(desk.engine, SELL)
    key, events = desk.new(BUY, 5, 101, lifetime=FOK)
    assert events == [Closed(key, 5, CloseReason.IMMEDIATE)]
    assert depth(desk.engine, SELL) == before
    assert _trades(desk.new(BUY, 5, 102, lifetime=FOK)[1]) == [(keys[0], 100, 2), (keys[1], 101, 2), (keys[2], 102, 1)]


def test_no_trade_has_no_energy() -> None:
    desk = Desk()
    desk.rest(SELL, 2, 100)
    _, events = desk.new(BUY, 2, 100)
    assert [wh for _, _, wh in _trades(events)] == [2]
    assert desk.new(BUY, 2, 100)[1] == []


def test_the_best_price_is_not_stale_after_a_cancel() -> None:
    desk = Desk()
    best = desk.rest(BUY, 1, 105)
    desk.rest(BUY, 1, 104)
    desk.cancel(best)
    assert desk.engine.book.best(BUY) == 104
    assert _trades(desk.new(SELL, 1, 105)[1]) == []


def test_a_modify_into_the_cross_trades() -> None:
    desk = Desk()
    maker = desk.rest(SELL, 5, 100)
    mover = desk.rest(BUY, 9, 90)
    assert _trades(desk.modify(mover, 8, 110)) == [(maker, 100, 5)]
    assert depth(desk.engine, BUY) == [(110, 3, mover)]


def test_a_modified_order_meets_its_owner_and_keeps_its_expiry() -> None:
    desk = Desk()
    desk.rest(SELL, 5, 100, owner=7)
    mover = desk.rest(BUY, 9, 90, owner=7, lifetime=GTD, expiry=50)
    dated = desk.rest(BUY, 2, 80, lifetime=GTD, expiry=60)
    assert desk.modify(mover, 9, 110) == [Closed(mover, 9, CloseReason.SELF_TRADE)]
    assert desk.modify(dated, 4, 81) == []
    assert desk.engine.advance(Advance(60)) == [Closed(dated, 4, CloseReason.EXPIRED)]


def test_orders_of_one_second_keep_their_order() -> None:
    """No clock orders them, their place in the stream of commands does."""
    desk = Desk()
    keys = [desk.rest(SELL, 1, 100) for _ in range(1_000)]
    assert [maker for maker, _, _ in _trades(desk.new(BUY, 1_000, 100)[1])] == keys


def test_prices_near_one_another_are_levels_of_their_own() -> None:
    """A price is an integer; as a binary fraction these two would be one."""
    desk = Desk()
    low, high = desk.rest(SELL, 1, 10**12 - 1), desk.rest(SELL, 1, 10**12)
    assert depth(desk.engine, SELL) == [(10**12 - 1, 1, low), (10**12, 1, high)]


def test_a_cascade_goes_on_until_all_is_quiet() -> None:
    """Each order's trade fires the next one; the last finds nothing to trade with."""
    desk = Desk()
    for price in range(100, 110):
        desk.rest(SELL, 1, price)
    sleepers = [desk.rest(BUY, 1, 200, condition=Condition(LAST, UP, price)) for price in range(100, 112)]
    _, events = desk.new(BUY, 1, 100)
    assert _fired(events) == sleepers[:10]
    assert [price for _, price, _ in _trades(events)] == list(range(100, 110))
    assert desk.engine.dormant == 2
    assert [key for _, _, key in depth(desk.engine, BUY)] == [sleepers[9]]


def test_the_oldest_fires_first_whatever_its_signal() -> None:
    desk = Desk()
    second = Condition(LAST, UP, 100)
    keys = [desk.rest(BUY, 1, 10, condition=c) for c in (Condition(ASK, DOWN, 101), second, Condition(LAST, DOWN, 100))]
    desk.rest(SELL, 1, 102)
    desk.new(SELL, 2, 100)
    _, events = desk.new(BUY, 1, 100)
    assert _fired(events) == [keys[1], keys[2]], "the first has fired when the ask came"
    assert not any(desk.engine.cancel(Cancel(0, key)) == [Refused(key, Code.ORDER_NOT_OPEN)] for key in keys)


def test_a_deep_sweep_does_not_recurse() -> None:
    desk = Desk()
    for number in range(20_000):
        desk.rest(SELL, 1, 100 + number % 7)
    fills = _trades(desk.new(BUY, 20_000, None)[1])
    assert len(fills) == 20_000
    assert [price for _, price, _ in fills] == sorted(100 + number % 7 for number in range(20_000))


def test_a_long_cascade_does_not_recurse() -> None:
    desk = Desk()
    for price in range(1, 3_001):
        desk.rest(SELL, 1, price)
        desk.rest(BUY, 1, 10_000, condition=Condition(LAST, UP, price))
    assert len(_fired(desk.new(BUY, 1, 1)[1])) == 3_000


def test_a_condition_fires_once() -> None:
    desk = Desk()
    key = desk.rest(BUY, 5, 90, condition=Condition(LAST, UP, 100))
    for _ in range(3):
        desk.rest(SELL, 1, 100)
        _, events = desk.new(BUY, 1, 100)
        assert _fired(events) == ([key] if desk.engine.orders_placed == 3 else [])
    assert depth(desk.engine, BUY) == [(90, 5, key)]


def test_a_condition_that_holds_already_fires_at_once() -> None:
    desk = Desk()
    desk.rest(BUY, 1, 95)
    key, events = desk.new(BUY, 1, 96, condition=Condition(BID, UP, 95))
    assert events == [Fired(key, 95)]
    assert desk.engine.book.best(BUY) == 96


def test_a_signal_without_a_value_fires_nothing() -> None:
    desk = Desk()
    for signal in (LAST, BID, ASK, Signal.FREQUENCY):
        for comparison in (UP, DOWN):
            desk.rest(BUY, 1, 5, condition=Condition(signal, comparison, 0))
    assert desk.engine.dormant == 8


@pytest.mark.parametrize(("lifetime", "left"), [(IOC, 2), (FOK, 5)])
def test_immediate_conditional_orders_are_judged_when_they_fire(lifetime: TimeInForce, left: int) -> None:
    desk = Desk()
    key = desk.rest(BUY, 5, 100, lifetime=lifetime, condition=Condition(ASK, DOWN, 100))
    _, events = desk.new(SELL, 3, 100)
    assert events[0] == Fired(key, 100)
    assert events[-1] == Closed(key, left, CloseReason.IMMEDIATE)


def test_a_dormant_order_can_be_cancelled_modified_and_expires() -> None:
    desk = Desk()
    condition = Condition(LAST, UP, 100)
    gone, kept, late = (
        desk.rest(BUY, 5, 90, condition=condition, owner=number, lifetime=GTD, expiry=40 + 10 * number)
        for number in (1, 2, 3)
    )
    assert desk.engine.cancel_all(CancelAll(0, 1)) == [Closed(gone, 5, CloseReason.CANCELLED)]
    assert desk.modify(kept, 7, 91) == []
    assert desk.engine.advance(Advance(60)) == [Closed(kept, 7, CloseReason.EXPIRED)]
    desk.at = 61
    desk.rest(SELL, 1, 100)
    assert _fired(desk.new(BUY, 1, 100)[1]) == [late]
    assert desk.engine.advance(Advance(70)) == [Closed(late, 5, CloseReason.EXPIRED)]


def test_signals_from_outside_fire() -> None:
    desk = Desk()
    state, frequency = Condition(Signal.GRID_STATE, UP, 2), Condition(Signal.FREQUENCY, DOWN, 49_900)
    strained, slow = desk.rest(BUY, 1, 9, condition=state), desk.rest(SELL, 1, 10, condition=frequency)
    assert desk.engine.observe(Observe(0, Signal.GRID_STATE, 1)) == []
    assert desk.engine.observe(Observe(0, Signal.FREQUENCY, 49_900)) == [Fired(slow, 49_900)]
    assert desk.engine.observe(Observe(0, Signal.GRID_STATE, 3)) == [Fired(strained, 3)]
    with pytest.raises(ValueError, match="best_bid is the book's own"):
        desk.engine.observe(Observe(0, BID, 5))


def test_a_price_within_a_sweep_fires_nothing() -> None:
    """Signals are looked at after a command, never inside one: the last price is 102 then."""
    desk = Desk()
    for price in (100, 101, 102):
        desk.rest(SELL, 1, price)
    desk.rest(BUY, 1, 5, condition=Condition(LAST, DOWN, 101))
    assert _fired(desk.new(BUY, 3, 102)[1]) == []


def test_orders_expire_by_the_commands_time_in_the_order_of_their_time() -> None:
    desk = Desk()
    late, early = (desk.rest(SELL, 1, 100, lifetime=GTD, expiry=expiry) for expiry in (20, 10))
    desk.at = 20
    key, events = desk.new(BUY, 1, 100)
    assert events == [Closed(early, 1, CloseReason.EXPIRED), Closed(late, 1, CloseReason.EXPIRED)]
    assert depth(desk.engine, BUY) == [(100, 1, key)]


def test_what_expires_before_a_refused_command_is_in_the_trail() -> None:
    desk = Desk()
    dated = desk.rest(SELL, 1, 100, lifetime=GTD, expiry=10)
    desk.at = 10
    assert desk.cancel(99) == [Closed(dated, 1, CloseReason.EXPIRED), Refused(99, Code.ORDER_NOT_OPEN)]
    assert replay(bytes(desk.frames)).state_hash() == desk.engine.state_hash()


def test_time_never_goes_back() -> None:
    desk = Desk()
    desk.at = 100
    desk.rest(BUY, 1, 50)
    desk.at = 10
    key, events = desk.new(BUY, 1, 50, lifetime=GTD, expiry=60)
    assert events == [Refused(key, Code.EXPIRED)]
    desk.rest(BUY, 1, 50)
    assert desk.engine.at == 100
    assert replay(bytes(desk.frames)).state_hash() == desk.engine.state_hash()


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (New(5, 9, BUY, 0, 1), Code.ENERGY_OUT_OF_RANGE),
        (New(5, 9, BUY, -4, 1), Code.ENERGY_OUT_OF_RANGE),
        (New(5, 9, BUY, 2**48, 1), Code.ENERGY_OUT_OF_RANGE),
        (New(5, 9, BUY, 1, 10**12 + 1), Code.PRICE_OUT_OF_BAND),
        (New(5, 9, BUY, 1, -(10**12) - 1), Code.PRICE_OUT_OF_BAND),
        (New(5, 9, BUY, 1, 1, GTD), Code.EXPIRED),
        (New(5, 9, BUY, 1, 1, GTD, 0, 5), Code.EXPIRED),
        (New(5, 1, BUY, 1, 1), Code.DUPLICATE_ORDER),
        (New(5, 2, BUY, 1, 1), Code.DUPLICATE_ORDER),
    ],
)
def test_a_refused_command_changes_nothing_and_leaves_no_record(order: New, code: Code) -> None:
    desk = Desk()
    desk.rest(BUY, 1, 50, key=1)
    desk.rest(BUY, 1, 50, key=2, condition=Condition(LAST, UP, 100))
    before = desk.engine.state_hash(), desk.engine.journal.head, bytes(desk.frames)
    assert desk.engine.new(order) == [Refused(order.key, code)]
    assert desk.engine.cancel(Cancel(5, 99)) == [Refused(99, Code.ORDER_NOT_OPEN)]
    assert desk.engine.modify(Modify(5, 99, 1, 1)) == [Refused(99, Code.ORDER_NOT_OPEN)]
    assert desk.engine.modify(Modify(5, 1, 0, 1)) == [Refused(1, Code.ENERGY_OUT_OF_RANGE)]
    assert (desk.engine.state_hash(), desk.engine.journal.head, bytes(desk.frames)) == before


@pytest.mark.parametrize(
    "command", [New(0, 2**64, BUY, 1, 1), New(2**64, 1, BUY, 1, 1), New(0, 1, BUY, 1, 1, owner=-1), CancelAll(2**64, 1)]
)
def test_numbers_that_no_record_holds_change_nothing(command: EngineCommand) -> None:
    desk = Desk()
    before = desk.engine.state_hash()
    with pytest.raises(struct.error):
        desk.engine.handle(command)
    assert (desk.engine.state_hash(), bytes(desk.frames)) == (before, b"")


def test_self_trades_are_prevented_and_the_newer_order_leaves() -> None:
    desk = Desk()
    other, own = desk.rest(SELL, 2, 100, owner=8), desk.rest(SELL, 2, 100, owner=7)
    key, events = desk.new(BUY, 5, 100, owner=7)
    assert _trades(events) == [(other, 100, 2)]
    assert events[-1] == Closed(key, 3, CloseReason.SELF_TRADE)
    assert depth(desk.engine, SELL) == [(100, 2, own)]
    desk.rest(SELL, 2, 99, owner=8)
    key, events = desk.new(BUY, 4, 100, owner=7, lifetime=FOK)
    assert events == [Closed(key, 4, CloseReason.SELF_TRADE)]
    assert len(_trades(desk.new(BUY, 4, 100)[1])) == 2, "nobody's orders trade with anybody's"


def test_cancel_all_takes_the_owners_orders_only_and_the_oldest_first() -> None:
    desk = Desk()
    first = desk.rest(BUY, 1, 50, owner=7)
    other = desk.rest(BUY, 1, 60, owner=8)
    asleep = desk.rest(SELL, 1, 70, owner=7, condition=Condition(LAST, UP, 100))
    last = desk.rest(SELL, 1, 80, owner=7)
    events = desk.engine.cancel_all(CancelAll(0, 7))
    assert events == [Closed(key, 1, CloseReason.CANCELLED) for key in (first, asleep, last)]
    assert depth(desk.engine, BUY) == [(60, 1, other)]
    assert desk.engine.cancel_all(CancelAll(0, 7)) == []


def test_storms_of_dated_and_dormant_orders_leave_nothing_behind() -> None:
    desk = Desk()
    engine = desk.engine
    stays = desk.rest(BUY, 1, 50, lifetime=GTD, expiry=5)
    sleeps = desk.rest(BUY, 1, 50, condition=Condition(LAST, UP, 60))
    for number in range(5_000):
        dated = desk.rest(BUY, 1, 40 + number % 5, lifetime=GTD, expiry=10 + number)
        desk.modify(dated, 1, 39)
        asleep = desk.rest(BUY, 1, 40, condition=Condition(LAST, UP, 100 + number))
        desk.cancel(dated)
        desk.cancel(asleep)
    assert engine.is_open(stays)
    assert engine.is_open(sleeps)
    assert len(engine._expiries) < 200
    assert sum(len(watch._rising) + len(watch._sinking) for watch in engine._price_watches) < 200
    assert len(engine.book.bids.heap) < 200
