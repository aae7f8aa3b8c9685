"""Conditional orders: dormant until their signal meets their threshold, then orders like any other."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from coordinator.market.cascades import Cascade
from coordinator.market.commands import (
    CancelOrder,
    ClearSession,
    CloseGate,
    ExpireOrders,
    FireOrder,
    HaltTrading,
    ObserveSignal,
    PlaceOrder,
    ResumeTrading,
)
from coordinator.market.conditions import signal_value
from coordinator.market.decide import decide
from coordinator.market.events import CloseReason, OrderTriggered, Rejected, TradingResumed
from coordinator.market.rejections import Code
from coordinator.market.rules import Line, Place, Stages
from coordinator.market.state import state_hash
from coordinator.market.views import depth, order_status
from coordinator.protocol.messages import TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

_RISES, _FALLS = Comparison.AT_LEAST, Comparison.AT_MOST


@pytest.fixture
def market() -> Market:
    return Market(replace(RULES, stages=Stages(session_every_s=900))).admit(ALICE, BOB, CAROL)


def _when(signal: Signal, comparison: Comparison, threshold: int, start: int = 0) -> Condition:
    return Condition(signal, comparison, threshold, start)


def _status(market: Market, digest: bytes) -> str:
    status = order_status(market.state, digest)
    assert status is not None
    return status.status


def _place_and_fire(market: Market, command: PlaceOrder) -> list[bytes]:
    return market.fire(market.do(command))


def test_a_dormant_order_is_reserved_for_and_trades_nowhere(market: Market) -> None:
    condition = _when(Signal.GRID_STATE, _RISES, 1)
    bid = market.place(ALICE, "buy", 100, 300_000, condition=condition)
    assert _status(market, bid) == "dormant"
    assert market.state.accounts[ALICE].reserved_micro == 30_000
    offer = market.order(BOB, "sell", 100, 200_000)
    assert _place_and_fire(market, offer) == []
    assert depth(market.state, START).bids == ()
    market.session()
    market.close()
    assert market.trades() == []
    assert market.state.orders[bid].closed is CloseReason.GATE_CLOSED
    assert market.state.accounts[ALICE].reserved_micro == 0
    assert market.state.triggers == {}


def test_it_fires_once_and_enters_like_a_new_order(market: Market) -> None:
    bid = market.place(ALICE, "buy", 100, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    market.place(BOB, "sell", 60, 200_000)
    assert market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 0))) == []
    events = market.do(ObserveSignal(Signal.GRID_STATE, 0, 2))
    assert market.fire(events) == [bid]
    assert market.log[-1][1][0] == OrderTriggered(bid, 2)
    assert market.trades() == [(1, 2, 200_000, 60)]
    assert _status(market, bid) == "partly_filled"
    assert market.state.orders[bid].fired == 2
    assert market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 3))) == []
    assert market.refused(FireOrder(bid)) == Code.ORDER_NOT_DORMANT


def test_a_fired_order_that_waits_is_triggered(market: Market) -> None:
    bid = market.place(ALICE, "buy", 100, 300_000, condition=_when(Signal.FREQUENCY, _FALLS, 49_900))
    assert market.fire(market.do(ObserveSignal(Signal.FREQUENCY, 0, 49_900))) == [bid]
    assert _status(market, bid) == "triggered"
    assert depth(market.state, START).bids[0].energy_wh == 100


@pytest.mark.parametrize(
    ("signal", "comparison", "threshold", "fires"),
    [
        (Signal.LAST_PRICE, _RISES, 200_000, True),
        (Signal.LAST_PRICE, _RISES, 200_001, False),
        (Signal.LAST_PRICE, _FALLS, 200_000, True),
        (Signal.LAST_PRICE, _FALLS, 199_999, False),
        (Signal.BEST_BID, _RISES, 150_000, True),
        (Signal.BEST_BID, _RISES, 150_001, False),
        (Signal.BEST_ASK, _FALLS, 200_000, True),
        (Signal.BEST_ASK, _FALLS, 199_999, False),
    ],
)
def test_signals_of_the_book(
    market: Market, signal: Signal, comparison: Comparison, threshold: int, fires: bool
) -> None:
    digest = market.place(CAROL, "buy", 5, 10_000, condition=_when(signal, comparison, threshold))
    market.fire(market.do(market.order(ALICE, "sell", 10, 200_000)))
    for command in (
        market.order(BOB, "buy", 10, 200_000),
        market.order(BOB, "buy", 10, 150_000),
        market.order(ALICE, "sell", 10, 250_000),
    ):
        market.fire(market.do(command))
    assert (_status(market, digest) == "triggered") is fires


def test_a_condition_that_is_met_already_fires_after_its_own_command(market: Market) -> None:
    market.place(BOB, "sell", 10, 200_000)
    bid = market.order(ALICE, "buy", 10, 250_000, condition=_when(Signal.BEST_ASK, _FALLS, 210_000))
    assert _place_and_fire(market, bid) == [bid.digest]
    assert market.trades() == [(2, 1, 200_000, 10)]


def test_a_signal_that_was_told_before_counts_for_a_new_order(market: Market) -> None:
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 2))
    bid = market.order(ALICE, "buy", 10, 250_000, condition=_when(Signal.GRID_STATE, _RISES, 2))
    assert _place_and_fire(market, bid) == [bid.digest]


def test_the_session_price_of_another_interval_counts(market: Market) -> None:
    other = START + 900
    condition = _when(Signal.SESSION_PRICE, _RISES, 180_000, other)
    digest = market.place(CAROL, "sell", 5, 400_000, condition=condition)
    market.place(ALICE, "buy", 10, None, delivery_start=other)
    market.place(BOB, "sell", 10, 190_000, delivery_start=other)
    assert signal_value(market.state, Signal.SESSION_PRICE, other) is None
    market.at += 900
    events = market.do(market.solved(ClearSession(market.at)))
    assert signal_value(market.state, Signal.SESSION_PRICE, other) == 190_000
    assert market.fire(events) == [digest]


def test_a_forecast_belongs_to_one_interval(market: Market) -> None:
    for start in (START, START + 900):
        condition = _when(Signal.FORECAST_SURPLUS, _FALLS, -500)
        market.place(ALICE, "sell", 5, 300_000, condition=condition, delivery_start=start)
    events = market.do(ObserveSignal(Signal.FORECAST_SURPLUS, START + 900, -800))
    assert market.fire(events) == [market.state.intervals[START + 900].orders[0]]


def test_one_that_fires_lets_others_fire_until_quiet(market: Market) -> None:
    """A chain: each trade moves the last price on to the next threshold."""
    for step in range(5):
        market.place(BOB, "sell", 10, 200_000 + step * 10_000)
    chain = [
        market.place(
            ALICE,
            "buy",
            10,
            300_000,
            condition=_when(Signal.LAST_PRICE, _RISES, 200_000 + step * 10_000),
        )
        for step in range(4)
    ]
    fired = market.fire(market.do(market.order(CAROL, "buy", 10, 200_000)))
    assert fired == chain
    assert [price for _, _, price, _ in market.trades()] == [200_000 + step * 10_000 for step in range(5)]


def test_the_oldest_fires_first_and_the_next_is_judged_again(market: Market) -> None:
    """What the first one takes away is no longer there for the second, which stays dormant."""
    condition = _when(Signal.BEST_ASK, _FALLS, 200_000)
    first = market.place(ALICE, "buy", 10, 300_000, condition=condition)
    second = market.place(CAROL, "buy", 10, 300_000, condition=condition)
    assert market.fire(market.do(market.order(BOB, "sell", 10, 200_000))) == [first]
    assert _status(market, second) == "dormant"
    assert market.refused(FireOrder(second)) == Code.CONDITION_NOT_MET


def test_looking_for_what_is_due_changes_nothing(market: Market) -> None:
    bid = market.place(ALICE, "buy", 10, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    events = market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    before, triggers = state_hash(market.state), copy.deepcopy(market.state.triggers[""])
    assert market.fire(()) == []
    for _ in range(2):
        cascade = Cascade(market.state)
        cascade.add(events)
        firing = cascade.next(lambda command: decide(market.state, command, market.at))
        assert firing is not None
        assert firing[0] == FireOrder(bid)
    assert state_hash(market.state) == before
    found, was = (t.watch(Signal.GRID_STATE, 0) for t in (market.state.triggers[""], triggers))
    assert found is not None
    assert was is not None
    assert found.heaps() == was.heaps()


def test_immediate_orders_are_judged_when_they_fire(market: Market) -> None:
    condition = _when(Signal.GRID_STATE, _RISES, 1)
    kill = market.place(ALICE, "buy", 20, 300_000, condition=condition, time_in_force=TimeInForce.FILL_OR_KILL)
    take = market.place(ALICE, "buy", 20, 300_000, condition=condition, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    market.place(BOB, "sell", 15, 200_000)
    market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1)))
    assert market.state.orders[kill].closed is CloseReason.IMMEDIATE
    assert market.state.orders[take].closed is CloseReason.IMMEDIATE
    assert (market.state.orders[kill].filled_wh, market.state.orders[take].filled_wh) == (0, 15)


def test_a_fired_order_stands_behind_those_that_were_there(market: Market) -> None:
    dormant = market.place(ALICE, "sell", 10, 200_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    standing = market.place(BOB, "sell", 10, 200_000)
    market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1)))
    market.place(CAROL, "buy", 10, 200_000)
    assert market.state.orders[standing].closed is CloseReason.FILLED
    assert market.state.orders[dormant].filled_wh == 0
    assert market.state.orders[dormant].priority > market.state.orders[standing].priority


def test_an_order_that_fires_against_its_own_account_is_cancelled(market: Market) -> None:
    market.place(ALICE, "sell", 10, 200_000)
    bid = market.place(ALICE, "buy", 10, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1)))
    assert market.state.orders[bid].closed is CloseReason.SELF_TRADE
    assert market.trades() == []


def test_a_dormant_order_stands_in_no_own_order_s_way(market: Market) -> None:
    offer = market.place(ALICE, "sell", 10, 200_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    market.do(market.bundle(ALICE, "buy", 250_000, {START: 10}))
    assert market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))) == [offer]
    assert market.state.orders[offer].closed is CloseReason.SELF_TRADE


def test_dormant_orders_expire_and_can_be_cancelled(market: Market) -> None:
    condition = _when(Signal.GRID_STATE, _RISES, 1)
    short = market.place(ALICE, "buy", 10, 300_000, condition=condition, valid_until=NOON + 60)
    other = market.place(ALICE, "buy", 10, 300_000, condition=condition)
    market.do(CancelOrder(ALICE, other, 0))
    market.at = NOON + 60
    market.do(ExpireOrders())
    assert [_status(market, digest) for digest in (short, other)] == ["expired", "cancelled"]
    assert market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))) == []
    assert market.state.accounts[ALICE].reserved_micro == 0


def test_what_expires_in_the_same_moment_does_not_fire(market: Market) -> None:
    condition = _when(Signal.GRID_STATE, _RISES, 1)
    short = market.place(ALICE, "buy", 10, 300_000, condition=condition, valid_until=NOON + 60)
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    market.at = NOON + 60
    assert market.refused(FireOrder(short)) == Code.ORDER_NOT_DORMANT


def test_nothing_fires_while_trading_is_halted_and_all_is_looked_at_afterwards(market: Market) -> None:
    bid = market.place(ALICE, "buy", 10, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    market.do(HaltTrading("test"))
    assert market.fire(market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))) == []
    assert market.refused(FireOrder(bid)) == Code.TRADING_HALTED
    events = market.do(ResumeTrading("test"))
    assert events == (TradingResumed("test"),)
    assert market.fire(events) == [bid]


def test_nothing_fires_after_its_gate(market: Market) -> None:
    bid = market.place(ALICE, "buy", 10, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    market.at = RULES.gate_at(START)
    assert market.refused(FireOrder(bid)) == Code.GATE_CLOSED
    market.do(CloseGate(START))
    assert market.refused(FireOrder(bid)) == Code.ORDER_NOT_DORMANT


def test_forecasts_of_the_past_are_forgotten(market: Market) -> None:
    market.do(ObserveSignal(Signal.FORECAST_SURPLUS, START, 5))
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    market.at = START + 900
    market.do(ObserveSignal(Signal.FORECAST_SURPLUS, START + 900, 7))
    assert market.state.signals == {(Signal.GRID_STATE, 0): 1, (Signal.FORECAST_SURPLUS, START + 900): 7}


def test_a_replay_has_the_same_dormant_orders(market: Market) -> None:
    bid = market.place(ALICE, "buy", 10, 300_000, condition=_when(Signal.GRID_STATE, _RISES, 1))
    events = market.do(ObserveSignal(Signal.GRID_STATE, 0, 1))
    replayed = market.replayed()
    assert state_hash(replayed) == state_hash(market.state)
    market.state = replayed
    assert market.fire(events) == [bid]


def test_each_node_has_its_own_best_prices() -> None:
    rules = replace(
        RULES,
        stages=Stages(session_every_s=900),
        lines=(Line("east", "west"),),
        places=(Place(ALICE, "east"), Place(BOB, "west"), Place(CAROL, "west")),
    )
    market = Market(rules).admit(ALICE, BOB, CAROL)
    condition = _when(Signal.BEST_ASK, _FALLS, 200_000)
    east = market.place(ALICE, "buy", 10, 100_000, condition=condition)
    west = market.place(CAROL, "buy", 10, 100_000, condition=condition)
    assert _place_and_fire(market, market.order(BOB, "sell", 10, 200_000)) == [west]
    assert _status(market, east) == "dormant"


def test_an_older_telling_never_replaces_a_newer_one() -> None:
    market = Market()
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 2, issued_at=NOON))
    for issued_at in (NOON, NOON - 1):
        refused = market.ask(ObserveSignal(Signal.GRID_STATE, 0, 0, issued_at=issued_at))
        assert isinstance(refused, Rejected)
        assert (refused.code, refused.detail) == (Code.SIGNAL_OUTDATED, "2")
    market.do(ObserveSignal(Signal.GRID_STATE, 0, 0, issued_at=NOON + 1))
    assert market.state.signals[Signal.GRID_STATE, 0] == 0
    assert state_hash(market.replayed()) == state_hash(market.state)
