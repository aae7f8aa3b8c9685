"""A home and its market: orders are revised without ever standing twice. Each race has its test here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.household.agent import CANCEL_SLACK_S, HouseholdAgent, OrderStatus
from coordinator.household.courier import deliver
from coordinator.household.forecast import Forecast
from coordinator.household.outlook import Outlook
from coordinator.protocol.client import CoordinatorUnavailable
from coordinator.protocol.messages import Cancel, Order, Side

from .world import IDENTITY, LIMITS, POLICY, START, Kept, Market, market_info, run

QUARTER_S = 900
NEXT = START + QUARTER_S
QUARTERLY = market_info(interval_s=QUARTER_S)


class Trader:
    """A home that is told what to expect of its next quarter-hour."""

    def __init__(self) -> None:
        self.agent = HouseholdAgent(IDENTITY, QUARTERLY, POLICY, LIMITS)
        self.market = Market()
        self.now = START

    def expects(self, net_wh: int, *, at: int | None = None) -> list[str]:
        """Plan; return what was signed."""
        self.now = self.now if at is None else at
        self.market.now = self.now
        signed = self.agent.plan(self.now, Outlook(forecasts={NEXT: Forecast(net_wh, "as told")}))
        return [_words(item.message) for item in signed if isinstance(item.message, Order | Cancel)]

    def delivers(self, *faults: str) -> None:
        self.market.faults = list(faults)
        try:
            run(deliver(self.agent, self.market, self.save, self.now))
        except CoordinatorUnavailable:
            assert faults
        self.market.faults = []

    async def save(self) -> None:
        self.agent.saved(self.agent.version)

    def is_told(self) -> None:
        self.agent.heard(map(OrderStatus.from_wire, self.market.told()))

    def restarts(self) -> None:
        state = json.loads(json.dumps(self.agent.to_dict()))
        self.agent = HouseholdAgent.from_dict(state, IDENTITY, QUARTERLY, POLICY, LIMITS)

    @property
    def kept(self) -> list[Kept]:
        return list(self.market.kept.values())

    @property
    def standing(self) -> list[tuple[str, int]]:
        return [(_words(kept.order), kept.filled_wh) for kept in self.kept if kept.closed is None]

    def trades(self, energy_wh: int) -> None:
        (digest,) = [digest for digest, kept in self.market.kept.items() if kept.closed is None]
        self.market.trade(digest, energy_wh)


def _words(message: Order | Cancel) -> str:
    return f"{message.side} {message.energy_wh}" if isinstance(message, Order) else "cancel"


@pytest.fixture
def trader() -> Trader:
    """A home that offers 200 Wh."""
    trader = Trader()
    assert trader.expects(-200) == ["sell 200"]
    trader.delivers()
    return trader


def test_a_forecast_that_moves_little_changes_nothing(trader: Trader) -> None:
    assert trader.expects(-185) == []
    assert trader.standing == [("sell 200", 0)]


def test_a_forecast_that_moves_replaces_the_order_cancelling_it_first(trader: Trader) -> None:
    assert trader.expects(-120) == ["cancel"]
    assert trader.expects(-120) == [], "the cancellation has not left"
    trader.delivers()
    assert trader.agent.awaits_word
    assert trader.expects(-120) == [], "answered, but how much had traded is not told"
    trader.is_told()
    assert not trader.agent.awaits_word
    assert trader.expects(-120) == ["sell 120"]
    trader.delivers()
    assert trader.standing == [("sell 120", 0)]


def test_what_traded_before_the_cancellation_counts(trader: Trader) -> None:
    """Nobody told the home of the trade when it decided."""
    trader.trades(90)
    trader.expects(-120)
    trader.delivers()
    trader.is_told()
    assert trader.expects(-120) == ["sell 30"]


def test_an_order_that_traded_whole_before_its_cancellation_is_not_replaced(trader: Trader) -> None:
    trader.trades(200)
    assert trader.expects(-300) == ["cancel"]
    trader.delivers()
    trader.is_told()
    assert trader.expects(-300) == ["sell 100"]
    assert [kept.closed for kept in trader.kept] == ["filled"]


def test_a_cancellation_whose_answer_got_lost_is_sent_again(trader: Trader) -> None:
    trader.expects(-120)
    trader.delivers("lost")
    trader.is_told()
    assert [kept.closed for kept in trader.kept] == ["cancelled"]
    trader.delivers()
    assert trader.expects(-120) == ["sell 120"]


def test_a_cancellation_that_was_refused_is_signed_again_later(trader: Trader) -> None:
    trader.expects(-120)
    trader.delivers("refuse:trading_halted")
    trader.is_told()
    assert trader.expects(-120) == [], "not at once"
    assert trader.expects(-120, at=START + 60) == ["cancel"]
    trader.delivers()
    trader.is_told()
    assert trader.expects(-120) == ["sell 120"]


def test_a_report_from_before_the_cancellation_does_no_harm(trader: Trader) -> None:
    old = [OrderStatus.from_wire(wire) for wire in trader.market.told()]
    trader.expects(-120)
    trader.delivers()
    trader.agent.heard(old)
    assert trader.expects(-120, at=START + 60) == ["cancel"], "it seems to be open still"
    trader.delivers()
    trader.is_told()
    trader.agent.heard(old)
    assert trader.expects(-120) == ["sell 120"], "what was told as closed stays closed"


def test_an_order_that_has_not_been_answered_is_not_revised() -> None:
    trader = Trader()
    trader.expects(-200)
    assert trader.expects(-100) == []
    trader.delivers("lost")
    assert trader.expects(-100) == []
    trader.delivers()
    assert trader.expects(-100) == ["cancel"]
    assert len(trader.kept) == 1


def test_a_restart_between_cancelling_and_placing_doubles_nothing(trader: Trader) -> None:
    trader.expects(-120)
    trader.delivers("lost")
    trader.restarts()
    assert trader.expects(-120) == []
    trader.delivers()
    trader.restarts()
    trader.is_told()
    assert trader.expects(-120) == ["sell 120"]
    trader.delivers("lost")
    trader.restarts()
    assert trader.expects(-120) == []
    trader.delivers()
    assert trader.standing == [("sell 120", 0)]


def test_a_side_that_turns_round_is_cancelled_first(trader: Trader) -> None:
    assert trader.expects(150) == ["cancel"]
    trader.delivers()
    trader.is_told()
    assert trader.expects(150) == ["buy 150"]


def test_sold_beyond_what_can_now_be_expected_is_said_and_nothing_more_is_sold(trader: Trader) -> None:
    trader.trades(200)
    trader.is_told()
    assert trader.expects(-190) == []
    assert trader.agent.plan_for()[NEXT].decision.reason.rule == "sell_surplus", "a little off is nothing"
    assert trader.expects(-120) == []
    assert trader.agent.plan_for()[NEXT].decision.reason.rule == "sold_beyond_forecast"
    assert trader.expects(-300) == ["sell 100"]


def test_an_order_in_flight_while_the_interval_is_held_is_caught_when_it_comes_in() -> None:
    """It reaches the coordinator after its own cancellation."""
    trader = Trader()
    trader.expects(-200)
    trader.delivers("late")
    trader.agent.set_held(START, NEXT, True)
    assert trader.expects(-200) == ["cancel"]
    trader.delivers()
    trader.agent.set_held(START, NEXT, False)
    trader.is_told()
    assert trader.expects(-200, at=START + CANCEL_SLACK_S) == [], "it may still come"
    trader.market.arrive()
    trader.is_told()
    assert trader.standing == [("sell 200", 0)]
    assert trader.expects(-100) == ["cancel"]


def test_an_order_that_never_came_in_frees_its_interval() -> None:
    trader = Trader()
    trader.expects(-200)
    trader.delivers("away")
    trader.agent.set_held(START, NEXT, True)
    trader.expects(-200)
    trader.delivers()
    trader.agent.set_held(START, NEXT, False)
    trader.expects(-200, at=START + 2 * CANCEL_SLACK_S)
    trader.is_told()
    assert trader.expects(-200) == ["sell 200"]


def test_an_order_that_never_left_the_home_frees_its_interval_at_once() -> None:
    trader = Trader()
    trader.expects(-200)
    trader.agent.set_held(START, NEXT, True)
    trader.expects(-200)
    trader.agent.set_held(START, NEXT, False)
    assert trader.expects(-200) == ["sell 200"]
    trader.delivers()
    assert trader.standing == [("sell 200", 0)]


def test_what_a_person_cancels_the_plan_leaves_alone_until_it_is_released(trader: Trader) -> None:
    (digest,) = trader.market.kept
    trader.agent.cancel(START, digest)
    trader.delivers()
    trader.is_told()
    assert trader.expects(-200) == []
    assert trader.agent.plan_for()[NEXT].decision.reason.rule == "cancelled_by_hand"
    trader.restarts()
    assert trader.expects(-200) == []
    trader.agent.set_held(START, NEXT, False)
    assert trader.expects(-200) == ["sell 200"]


def test_switched_off_and_on_again_it_trades_again(trader: Trader) -> None:
    trader.agent.set_trading(START, False)
    trader.agent.set_trading(START, True)
    assert trader.expects(-200) == [], "what it cancelled is not told as closed"
    trader.delivers()
    trader.is_told()
    assert trader.expects(-200) == ["sell 200"]


@pytest.mark.parametrize("switch", ["trading", "shadow"])
def test_an_order_that_comes_in_after_all_were_cancelled_is_cancelled_too(switch: str) -> None:
    trader = Trader()
    trader.expects(-200)
    trader.delivers("late")
    if switch == "trading":
        trader.agent.set_trading(START, False)
    else:
        trader.agent.set_shadow(START, True)
    trader.delivers()
    trader.market.arrive()
    trader.is_told()
    assert trader.expects(-200) == [], "its cancellation has just been signed"
    assert trader.expects(-200, at=START + 15) == ["cancel"]
    trader.delivers()
    trader.is_told()
    assert trader.standing == []
    assert trader.expects(-200, at=START + 60) == []


def test_an_answer_about_another_order_is_no_word_of_this_one(trader: Trader) -> None:
    """A coordinator that lies fills or closes no order that it was not asked about."""
    (stands,) = trader.agent.orders
    other = Trader()
    other.expects(-300)

    async def lie(order: Order, signature: bytes) -> dict[str, Any]:
        return {"order": "0x" + stands.digest.hex(), "status": "cancelled", "filled_wh": 200}

    other.agent.orders.add(stands)
    other.market.place_order = lie  # type: ignore[method-assign]
    other.delivers()
    assert (stands.open, stands.filled_wh) == (True, 0)


def test_an_offer_by_hand_takes_room_from_the_plan() -> None:
    trader = Trader()
    trader.agent.place(START, NEXT, Side.SELL, 150, 250_000)
    assert trader.expects(-200) == ["sell 50"]


def test_an_offer_by_hand_beside_the_plans_makes_the_plans_smaller(trader: Trader) -> None:
    trader.agent.place(START, NEXT, Side.SELL, 150, 250_000)
    assert trader.expects(-200) == ["cancel"]
    trader.delivers()
    trader.is_told()
    assert trader.expects(-200) == ["sell 50"]


def test_after_a_backup_came_back_what_the_market_tells_is_not_sold_again(trader: Trader) -> None:
    fresh = Trader()
    fresh.market = trader.market
    fresh.is_told()
    assert fresh.expects(-200) == []
    assert fresh.expects(-260) == ["sell 60"]


def test_a_refused_order_is_not_sent_again_and_again() -> None:
    trader = Trader()
    trader.expects(-200)
    trader.delivers("refuse:insufficient_funds")
    trader.is_told()
    assert trader.expects(-100) == [], "an earlier sending may have arrived"
    trader.expects(-200, at=START + 2 * CANCEL_SLACK_S)
    trader.is_told()
    assert trader.expects(-200) == []
    assert trader.expects(-100) == ["sell 100"]


def test_an_order_that_was_refused_although_it_had_arrived_is_found() -> None:
    trader = Trader()
    trader.expects(-200)
    trader.delivers("late")
    trader.delivers("refuse:trading_halted")
    trader.market.arrive()
    trader.is_told()
    assert trader.expects(-100, at=START + 60) == ["cancel"]


def test_an_answer_that_makes_no_sense_is_no_word_of_the_order(trader: Trader) -> None:
    (status,) = trader.agent.orders
    assert status.heard
    other = Trader()
    other.expects(-200)
    (item,) = other.agent.outbox.orders()
    other.agent.answered(item.key)
    (status,) = other.agent.orders
    assert (status.heard, status.open) == (False, True)
    assert other.expects(-100) == [], "it stays, for its fills would not be known"


def test_a_report_of_past_intervals_changes_nothing(trader: Trader) -> None:
    old = [OrderStatus.from_wire(wire) for wire in trader.market.told()]
    trader.expects(-200, at=NEXT + QUARTER_S)
    version = trader.agent.version
    trader.agent.heard(old)
    assert [*trader.agent.orders] == []
    assert trader.agent.version == version
