"""Cascades: the oldest that is due fires first, at a cost that grows with what fires, not with what waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from heapq import heappush
from typing import Any

import pytest

from coordinator.market import cascades
from coordinator.market.cascades import Cascade
from coordinator.market.commands import FireOrder, HaltTrading, ObserveSignal, PlaceOrder, ReplaceOrder, ResumeTrading
from coordinator.market.conditions import met_value, signal_value
from coordinator.market.events import Rejected
from coordinator.market.rejections import Code
from coordinator.market.rules import Stages
from coordinator.market.state import MarketState
from coordinator.market.triggers import Triggers
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

_RULES = replace(
    RULES,
    orders_per_account_interval_max=100,
    stages=Stages(session_every_s=3_600, conditional_orders_per_account_max=10_000),
)
_GRID = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)


class Counted:
    """Counts the calls of a function that it stands for."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Count the orders that a cascade judges."""
    counted = Counted(met_value)
    monkeypatch.setattr(cascades, "met_value", counted)
    return counted


@pytest.fixture
def valued(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Count the signals that are looked at."""
    counted = Counted(signal_value)
    monkeypatch.setattr(cascades, "signal_value", counted)
    return counted


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Count the orders that move from one heap to the other."""
    counted = Counted(heappush)
    monkeypatch.setattr(cascades, "heappush", counted)
    return counted


def _run(market: Market, command: PlaceOrder | ObserveSignal) -> list[bytes]:
    return market.fire(market.do(command))


def _plainly(market: Market, state: MarketState) -> list[bytes]:
    """Fire by looking at every order there is after every firing: slow, and plainly right."""
    market.state, fired = state, []
    while True:
        for known in sorted(state.orders.values(), key=lambda known: known.sequence):
            if known.is_dormant and met_value(state, known) is not None:
                if isinstance(market.ask(FireOrder(known.digest)), Rejected):
                    continue
                fired.append(known.digest)
                break
        else:
            return fired


def test_each_order_that_fires_is_judged_once_however_many_wait(judged: Counted, moved: Counted) -> None:
    """All wait for one price, half of them trade at the interval whose price it is, which each of these touches."""
    market = Market(_RULES).admit(ALICE, BOB, CAROL)
    condition = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1, START)
    waiting = [
        market.place(ALICE, "buy", 1, 0, delivery_start=START + 900 * (number % 2), condition=condition)
        for number in range(150)
    ]
    market.do(market.order(BOB, "sell", 1, 100_000))
    assert _run(market, market.order(CAROL, "buy", 1, 100_000)) == waiting
    assert judged.calls == len(waiting)
    assert moved.calls == len(waiting)


def test_a_price_that_climbs_finds_each_order_once(judged: Counted, moved: Counted) -> None:
    """Each firing lifts the price to the next one's threshold while all those before are due still."""
    market = Market(_RULES).admit(ALICE, BOB, CAROL)
    steps = 60
    for step in range(steps + 1):
        market.place(BOB, "sell", 10, 100_000 + step)
    climbing = [
        market.place(
            ALICE, "buy", 10, 300_000, condition=Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 100_000 + step)
        )
        for step in range(steps)
    ]
    assert _run(market, market.order(CAROL, "buy", 10, 100_000)) == climbing
    assert (judged.calls, moved.calls) == (steps, steps)


def test_whoever_cannot_fire_now_is_asked_once() -> None:
    """Past their own gate, they wait for a price that each firing moves."""
    market = Market(_RULES).admit(ALICE, BOB, CAROL)
    other = START + 900
    condition = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1, other)
    for _ in range(20):
        market.place(ALICE, "buy", 1, 0, condition=condition)
    fires = [market.place(ALICE, "buy", 1, 200_000, delivery_start=other, condition=condition) for _ in range(10)]
    market.place(BOB, "sell", 20, 100_000, delivery_start=other)
    market.at = RULES.gate_at(START)
    cascade, ask = Cascade(market.state), Counted(market.ask)
    cascade.add(market.do(market.order(CAROL, "buy", 1, 100_000, delivery_start=other)))
    fired = []
    while (firing := cascade.next(ask)) is not None:
        fired.append(firing[0].order)
        cascade.add(firing[1])
    assert fired == fires
    assert ask.calls == 20 + 10


def test_a_command_looks_only_at_what_it_touches(valued: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many odd signals are waited for; all of them are looked at after trading resumes only."""
    watched = Counted(Triggers.watched)

    def counted(triggers: Triggers[bytes]) -> list[tuple[Signal, int]]:
        return watched(triggers)  # type: ignore[no-any-return]  # it stands for what returns that

    monkeypatch.setattr(Triggers, "watched", counted)
    market = Market(_RULES).admit(ALICE, BOB)
    for number in range(80):
        condition = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1, START + 900 * (1 + number))
        market.place(ALICE, "buy", 1, 0, condition=condition)
    valued.calls = 0
    assert _run(market, market.order(BOB, "sell", 1, 200_000)) == []
    assert valued.calls == 0
    assert _run(market, market.order(BOB, "sell", 1, 200_000, delivery_start=START + 1_800)) == []
    assert (valued.calls, watched.calls) == (1, 0)
    market.do(HaltTrading("test"))
    assert market.fire(market.do(ResumeTrading("test"))) == []
    assert (valued.calls, watched.calls) == (81, 1)


def test_without_dormant_orders_nothing_is_looked_at(valued: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = Counted(cascades._touched)
    monkeypatch.setattr(cascades, "_touched", touched)
    market = Market(_RULES).admit(ALICE, BOB)
    _run(market, market.order(ALICE, "sell", 10, 200_000))
    _run(market, market.order(BOB, "buy", 10, 200_000))
    assert (touched.calls, valued.calls) == (0, 0)


def _sleeper(market: Market, chance: random.Random) -> PlaceOrder:
    """Return a conditional order: some wait for the grid, others for what those do to the books."""
    signal = chance.choice((Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK, *[Signal.GRID_STATE] * 3))
    comparison, threshold, start = Comparison.AT_LEAST, 1, 0
    if signal is not Signal.GRID_STATE:
        comparison = chance.choice([*Comparison])
        threshold = 205_000 + (1 if comparison is Comparison.AT_LEAST else -1) * chance.randrange(1, 4) * 1_000
        start = START
    condition = Condition(signal, comparison, threshold, start)
    price, side = 200_000 + 1_000 * chance.randrange(10), chance.choice(("buy", "sell"))
    account, own = chance.choice((ALICE, BOB, CAROL)), START + 900 * (not chance.randrange(6))
    return market.order(account, side, chance.randrange(1, 9), price, delivery_start=own, condition=condition)


def test_the_order_of_firing_is_the_one_that_looking_at_everybody_finds(moved: Counted) -> None:
    fired = 0
    for seed in range(4):
        chance = random.Random(seed)
        market = Market(_RULES).admit(ALICE, BOB, CAROL)
        for strained in (0, 1) * 3:
            sleepers = [] if strained else [_sleeper(market, chance) for _ in range(30)]
            commands: list[PlaceOrder | ObserveSignal] = [*sleepers, ObserveSignal(Signal.GRID_STATE, 0, strained)]
            for command in commands:
                events = market.do(command)
                expected = _plainly(Market(_RULES, at=market.at), market.replayed())
                assert market.fire(events) == expected
                fired += len(expected)
    assert fired > 200
    assert moved.calls > fired + 10, "some were due, were not at their turn, and went back"


def test_one_that_is_met_no_more_waits_on_and_fires_when_it_is_met_again() -> None:
    """The second is due by the best ask that the first takes; the third brings another ask."""
    market = Market(_RULES).admit(ALICE, BOB, CAROL)
    low_ask = Condition(Signal.BEST_ASK, Comparison.AT_MOST, 200_000)
    first = market.place(ALICE, "buy", 10, 300_000, condition=low_ask)
    second = market.place(CAROL, "buy", 10, 300_000, condition=low_ask)
    traded = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1)
    third = market.place(BOB, "sell", 10, 200_000, condition=traded)
    assert _run(market, market.order(BOB, "sell", 10, 200_000)) == [first, third, second]
    assert market.state.orders[second].filled_wh == 10


def test_an_account_has_so_many_dormant_orders_and_no_more() -> None:
    rules = replace(RULES, stages=Stages(session_every_s=900, conditional_orders_per_account_max=2))
    market = Market(rules).admit(ALICE, BOB)
    old, other = (market.place(ALICE, "buy", 10, 200_000, condition=_GRID) for _ in range(2))
    assert market.refused(market.order(ALICE, "buy", 10, 200_000, condition=_GRID)) == Code.TOO_MANY_CONDITIONS
    market.place(ALICE, "buy", 10, 200_000)
    market.place(BOB, "buy", 10, 200_000, condition=_GRID)
    new = market.order(ALICE, "buy", 10, 190_000, condition=_GRID)
    market.do(ReplaceOrder(new.order, new.digest, new.signature, old))
    assert market.refused(market.order(ALICE, "buy", 10, 200_000, condition=_GRID)) == Code.TOO_MANY_CONDITIONS
    assert set(_run(market, ObserveSignal(Signal.GRID_STATE, 0, 1))) >= {other, new.digest}
    assert market.state.accounts[ALICE].dormant_orders == 0
    assert market.replayed().accounts[ALICE].dormant_orders == 0
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 0))
    short = market.place(ALICE, "buy", 10, 200_000, condition=_GRID, valid_until=NOON + 60)
    market.place(ALICE, "buy", 10, 200_000, condition=_GRID)
    market.at = NOON + 60
    market.place(ALICE, "buy", 10, 200_000, condition=_GRID)  # what expires in the same moment makes room
    assert market.state.orders[short].closed is not None
    assert market.state.accounts[ALICE].dormant_orders == 2


@pytest.mark.parametrize(
    ("start", "is_taken"),
    [
        (NOON - 1_800, False),
        (NOON - 900, True),
        (NOON, True),
        (NOON + RULES.horizon_s, True),
        (NOON + RULES.horizon_s + 900, False),
        (900, False),
    ],
)
def test_a_condition_is_of_an_interval_that_is_near(start: int, is_taken: bool) -> None:
    market = Market(_RULES).admit(ALICE)
    condition = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1, start)
    decided = market.ask(market.order(ALICE, "buy", 1, 0, condition=condition))
    assert (decided.code if isinstance(decided, Rejected) else None) == (None if is_taken else Code.CONDITION_INVALID)
