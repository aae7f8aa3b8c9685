"""Delivery: in order, never lost, never twice with other content, whatever fails on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordinator.household.agent import CANCEL_SLACK_S, HouseholdAgent
from coordinator.household.courier import Answer, ForeignReadingError, deliver, line_up
from coordinator.household.outbox import Outgoing
from coordinator.household.reason import Refusal
from coordinator.protocol.client import CoordinatorRefused, CoordinatorUnavailable
from coordinator.protocol.keys import MeterKey
from coordinator.protocol.messages import ZERO_HASH, DeviceReceipt, Order, Reading, Side

from .world import DOMAIN, IDENTITY, INFO, INTERVAL_S, LIMITS, POLICY, START, Market, new_agent, run, signed_reading


class Delivery:
    """A home, its market, and what was answered."""

    def __init__(self, market: Market | None = None) -> None:
        self.agent = new_agent()
        self.market = market or Market()
        self.answers: list[tuple[str, Answer]] = []
        self.saves = 0

    async def save(self) -> None:
        self.saves += 1
        self.agent.saved(self.agent.version)

    def observe(self, *consumption_wh: int, first: int = 0) -> None:
        for index, register in enumerate(consumption_wh, first):
            self.market.now = START + index * INTERVAL_S
            assert isinstance(self.agent.observe_boundary(self.market.now, register, 0), list)

    def run(self) -> Refusal | None:
        return run(deliver(self.agent, self.market, self.save, self.market.now, self._note))

    def line_up(self) -> Refusal | None:
        return run(line_up(self.agent, self.market))

    def _note(self, item: Outgoing, answer: Answer) -> None:
        self.answers.append((item.key, answer))


def test_orders_go_first_and_readings_in_sequence() -> None:
    home = Delivery()
    home.observe(1_000, 1_020, 1_040)
    home.agent.plan(START + 120)
    assert home.run() is None
    assert home.market.calls == ["order", "reading 1", "reading 2", "reading 3"]
    assert len(home.agent.outbox) == 0
    assert home.agent.meter.acknowledged == 3
    assert isinstance(home.answers[-1][1], DeviceReceipt)


def test_an_outage_loses_nothing_and_an_order_does_not_wait_for_the_readings() -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.agent.plan(START + 60)
    home.market.faults = ["away", "away"]
    with pytest.raises(CoordinatorUnavailable):
        home.run()
    assert len(home.agent.outbox) == 3
    home.market.faults = ["", "away"]
    with pytest.raises(CoordinatorUnavailable):
        home.run()
    assert len(home.market.orders) == 1
    assert home.run() is None
    assert sorted(home.market.readings) == [1, 2]


def test_a_lost_answer_is_asked_for_again_and_counts_once() -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.agent.plan(START + 60)
    home.market.faults = ["lost", "lost"]
    with pytest.raises(CoordinatorUnavailable):
        home.run()
    assert home.run() is None
    assert (len(home.market.orders), sorted(home.market.readings)) == (1, [1, 2])
    assert home.market.equivocations == 0


def test_a_late_order_is_dropped_not_sent() -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.agent.plan(START + 60)
    home.market.now = START + 120
    assert home.run() is None
    assert home.market.calls == ["reading 1", "reading 2"]


def test_a_refused_order_is_told_and_gone() -> None:
    home = Delivery()
    home.agent.place(START, START + 120, Side.BUY, 10, 100_000)
    home.market.faults = ["refuse:insufficient_funds"]
    assert home.run() is None
    ((_, answer),) = home.answers
    assert isinstance(answer, CoordinatorRefused)
    assert answer.code == "insufficient_funds"
    assert len(home.agent.outbox) == 0


def test_a_reading_refused_for_itself_is_given_up_and_those_behind_it_are_chained_anew() -> None:
    home = Delivery()
    home.observe(1_000)
    home.run()
    home.observe(1_020, 1_040, 1_060, first=1)
    home.market.faults = ["refuse:beyond_limit"]
    assert home.run() is None
    kept = home.market.readings
    assert [(kept[n].sequence, kept[n].consumption_wh) for n in sorted(kept)] == [(1, 1_000), (2, 1_040), (3, 1_060)]
    assert kept[3].previous == kept[2].digest(DOMAIN)
    assert [key for key, answer in home.answers if isinstance(answer, CoordinatorRefused)] == ["reading:2"]
    home.observe(1_080, first=4)
    assert home.run() is None
    assert sorted(kept) == [1, 2, 3, 4]


@pytest.mark.parametrize("code", ["clock_skew", "not_a_member", "suspended", "unauthorized", "unknown_meter"])
def test_what_the_operator_can_lift_keeps_the_readings(code: str) -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.market.faults = [f"refuse:{code}"]
    blocked = home.run()
    assert blocked is not None
    assert blocked.code == code
    assert len(home.agent.outbox) == 2
    assert home.run() is None
    assert sorted(home.market.readings) == [1, 2]


def test_a_restored_backup_goes_on_behind_the_coordinators_last_reading() -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.run()
    backup = home.agent.to_dict()
    home.observe(1_040, 1_060, first=2)
    home.run()
    home.agent = HouseholdAgent.from_dict(backup, IDENTITY, INFO, POLICY, LIMITS)
    assert home.line_up() is None
    home.observe(1_080, first=4)
    assert home.run() is None
    assert sorted(home.market.readings) == [1, 2, 3, 4, 5]
    assert home.market.equivocations == 0


def test_a_restored_backup_that_signed_before_asking_does_not_contradict_itself() -> None:
    home = Delivery()
    home.observe(1_000)
    home.run()
    backup = home.agent.to_dict()
    home.observe(1_020, 1_040, first=1)
    home.run()
    home.agent = HouseholdAgent.from_dict(backup, IDENTITY, INFO, POLICY, LIMITS)
    home.observe(1_055, first=3)  # would be sequence 2 with another content
    assert home.line_up() is None
    assert home.run() is None
    assert home.market.equivocations == 0
    assert home.market.readings[4].consumption_wh == 1_055


def test_keys_without_any_state_go_on_from_the_coordinators_end() -> None:
    market = Market()
    first = Delivery(market)
    first.observe(1_000, 1_020)
    first.run()
    second = Delivery(market)
    assert second.line_up() is None
    second.observe(1_030, first=2)
    assert second.run() is None
    assert market.readings[3].consumption_wh == 1_030


def test_a_coordinator_that_lost_acknowledged_readings_is_named() -> None:
    home = Delivery()
    home.observe(1_000, 1_020)
    home.run()
    del home.market.readings[2]
    refusal = home.line_up()
    assert refusal is not None
    assert refusal.code == "coordinator_behind"
    home.observe(1_040, first=2)
    blocked = home.run()
    assert blocked is not None
    assert blocked.code == "coordinator_behind"
    assert len(home.agent.outbox) == 1, "the reading is kept until the operator has mended it"


def test_a_gap_is_closed_by_asking() -> None:
    """The coordinator knows nothing of a reading that this home believes it never signed as first."""
    home = Delivery()
    home.observe(1_000, 1_020, 1_040)
    home.agent.refused("reading:1")
    assert home.run() is None
    assert sorted(home.market.readings) == [1, 2]
    assert home.market.readings[1].consumption_wh == 1_020


def test_a_cancellation_is_carried_like_an_order() -> None:
    home = Delivery()
    home.agent.cancel(START)
    home.market.faults = ["lost"]
    with pytest.raises(CoordinatorUnavailable):
        home.run()
    assert home.run() is None
    assert len(home.market.cancels) == 2, "the same one twice does no harm"
    assert len(home.agent.outbox) == 0


class _Slow(Market):
    """Takes an order, but answers only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    async def place_order(self, order: Order, signature: bytes) -> dict[str, Any]:
        answer = await super().place_order(order, signature)
        self.arrived.set()
        await self.go_on.wait()
        return answer


async def test_what_was_taken_back_while_an_order_was_on_its_way_is_not_sent() -> None:
    market = _Slow()
    home = Delivery(market)
    for start in (120, 180, 240):
        assert isinstance(home.agent.place(START, START + start, Side.BUY, 10, 100_000), Outgoing)
    delivery = asyncio.create_task(deliver(home.agent, market, home.save, START, home._note))
    await market.arrived.wait()
    home.agent.set_trading(START + 1, enabled=False)
    market.go_on.set()
    assert await delivery is None
    assert market.calls == ["order"], "the second and third order are gone, the cancellation is not saved yet"
    assert await deliver(home.agent, market, home.save, START + 2, home._note) is None
    assert market.calls == ["order", "cancel"]
    (cancel,) = market.cancels
    assert cancel.order == ZERO_HASH
    assert cancel.until == START + 1 + CANCEL_SLACK_S, "covers the order that was on its way"
    assert len(home.agent.outbox) == 0


def test_one_orders_cancellation_needs_no_slack() -> None:
    assert new_agent().cancel(START, bytes([1]) * 32).message.to_wire()["until"] == START


def test_without_a_listener_answers_are_just_gone() -> None:
    home = Delivery()
    home.observe(1_000)
    assert run(deliver(home.agent, home.market, home.save, START)) is None
    assert home.agent.answered("reading:1") is None
    assert home.agent.refused("reading:1") is None


def test_garbage_about_the_meter_is_an_outage() -> None:
    class Garbage(Market):
        async def meter(self, device_id: int) -> dict[str, object]:
            return {"last": {"reading": {**_kept_reading().to_wire(), "sequence": "many"}}}

    home = Delivery(Garbage())
    with pytest.raises(CoordinatorUnavailable, match="sequence"):
        home.line_up()
    with pytest.raises(CoordinatorUnavailable, match="last"):
        run(line_up(home.agent, _Answering({"last": 7})))


class _Answering(Market):
    def __init__(self, answer: dict[str, object]) -> None:
        super().__init__()
        self.answer = answer

    async def meter(self, device_id: int) -> dict[str, object]:
        return self.answer


def _kept_reading(**changes: Any) -> Reading:
    return replace(Reading(IDENTITY.device_id, 7, START, 1_000, 0), **changes)


def test_a_last_reading_of_its_own_is_followed() -> None:
    home = Delivery(_Answering({"last": signed_reading(_kept_reading())}))
    home.observe(1_000)
    assert home.line_up() is None
    assert (home.agent.meter.sequence, home.agent.meter.consumption_wh) == (7, 1_000)


@pytest.mark.parametrize(
    "change",
    [{"sequence": 8}, {"timestamp": START + 1}, {"consumption_wh": 999}, {"production_wh": 1}, {"flags": 1}]
    + [{name: value} for name in ("sequence", "timestamp", "consumption_wh") for value in (-1, 2**64, 10**30)],
)
def test_a_last_reading_that_its_meter_did_not_sign_is_not_followed(change: dict[str, int]) -> None:
    """A coordinator could otherwise move a home's registers, or let it sign one number twice."""
    told = signed_reading(_kept_reading())
    home = Delivery(_Answering({"last": {**told, "reading": {**told["reading"], **change}}}))
    home.observe(1_000)
    with pytest.raises(ForeignReadingError):
        home.line_up()
    assert home.agent.meter.sequence == 1


def test_another_meters_last_reading_is_not_followed() -> None:
    home = Delivery(_Answering({"last": signed_reading(_kept_reading(), MeterKey.generate())}))
    home.observe(1_000)
    with pytest.raises(ForeignReadingError, match="not signed by this home's meter"):
        home.line_up()
    assert home.agent.meter.sequence == 1
