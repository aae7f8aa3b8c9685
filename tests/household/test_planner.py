"""Which intervals a home trades in, and what it does about the orders that stand there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.forecast import Forecast
from coordinator.household.orders import Standing
from coordinator.household.outlook import Outlook
from coordinator.household.planner import (
    CANCEL_AGAIN_S,
    ORDERS_PER_INTERVAL_MAX,
    REFUSED_AGAIN_S,
    RULES,
    Planned,
    Step,
    as_it_stands,
    committed_wh,
    decide_interval,
    differs,
    moves,
    next_step,
    open_intervals,
)
from coordinator.household.policies import ALL_RULES
from coordinator.household.policy import Bounds, Decision, OrderTerms, Situation
from coordinator.household.reason import Reason
from coordinator.household.terms import is_open, next_open
from coordinator.protocol.messages import Side

from .world import INFO, LIMITS, POLICY, START, market_info

NEXT = START + 120
REASON = Reason("surplus", "sell_surplus", {}, "because", "otherwise")
SELL_100 = Decision(OrderTerms(Side.SELL, 100, 160_000), REASON)
NOTHING = Decision(None, replace(REASON, rule="balanced"))


def standing(**changes: Any) -> Standing:
    """An order of the plan that sells 100 Wh and of which the coordinator has told."""
    order = Standing(bytes(32), NEXT, Side.SELL, 100, 160_000, REASON, planned=True, at=START, heard=True)
    for name, value in changes.items():
        setattr(order, name, value)
    return order


def traded(wh: int, **changes: Any) -> Standing:
    """An order that is closed and has traded."""
    return standing(filled_wh=wh, open=False, **changes)


def situation(forecast: Forecast | None = None, *, at: int = START, outlook: Outlook | None = None) -> Situation:
    return Situation(at, NEXT, forecast or Forecast(-100, "sunny"), INFO, LIMITS, outlook or Outlook())


def sells(energy_wh: int, limit: int = 160_000) -> Decision:
    return Decision(OrderTerms(Side.SELL, energy_wh, limit), REASON)


@given(
    at=st.integers(START, START + 100_000),
    interval_s=st.sampled_from([60, 300, 900, 1800, 3600]),
    gate_s=st.integers(0, 7_200),
    extra_s=st.integers(0, 20_000),
    ahead=st.integers(1, 8),
)
def test_only_open_gates_and_the_nearest_first(at: int, interval_s: int, gate_s: int, extra_s: int, ahead: int) -> None:
    info = market_info(interval_s=interval_s, gate_s=gate_s, horizon_s=gate_s + interval_s + extra_s)
    starts = open_intervals(info, at, ahead)
    assert 0 < len(starts) <= ahead
    assert starts == sorted(starts)
    assert all(is_open(info, start, at) for start in starts)
    assert not is_open(info, starts[0] - interval_s, at)
    assert starts[0] == next_open(info, at)


@pytest.mark.parametrize(
    ("before_wh", "after_wh", "is_much"),
    [(200, 221, True), (200, 220, False), (200, 180, False), (200, 179, True), (100, 120, False), (100, 121, True)],
)
def test_a_move_must_be_a_tenth_and_eighty_watts(before_wh: int, after_wh: int, is_much: bool) -> None:
    assert moves(before_wh, after_wh, 900) is is_much


def test_the_first_order_is_placed_however_small() -> None:
    assert next_step(sells(1), situation(), []) == (Step.PLACE, None)
    assert next_step(NOTHING, situation(), []) == (Step.KEEP, None)


@pytest.mark.parametrize(
    ("decision", "step"),
    [
        (SELL_100, Step.KEEP),
        (sells(101), Step.KEEP),
        (sells(120), Step.CANCEL),
        (sells(70), Step.CANCEL),
        (sells(100, 170_000), Step.CANCEL),
        (Decision(OrderTerms(Side.BUY, 100, 160_000), REASON), Step.CANCEL),
        (NOTHING, Step.CANCEL),
    ],
)
def test_an_order_is_cancelled_when_something_else_is_wanted(decision: Decision, step: Step) -> None:
    order = standing()
    assert next_step(decision, situation(), [order]) == (step, order)


def test_what_has_traded_of_an_order_is_no_reason_to_revise_it() -> None:
    order = standing(filled_wh=60)
    assert next_step(sells(40), situation(), [order]) == (Step.KEEP, order)


def test_an_order_whose_price_is_not_remembered_stays() -> None:
    order = standing(limit_price_micro_per_kwh=None)
    assert next_step(SELL_100, situation(), [order]) == (Step.KEEP, order)


def test_an_order_that_nobody_told_of_is_not_revised() -> None:
    """Its fills would never be known, so nothing could take its place."""
    order = standing(heard=False)
    assert next_step(sells(10), situation(), [order]) == (Step.KEEP, order)


def test_a_forecast_that_is_gone_is_no_news() -> None:
    order, unknown = standing(), replace(situation(), forecast=None)
    assert next_step(NOTHING, unknown, [order]) == (Step.KEEP, order)


def test_a_held_interval_is_cleared_whatever_is_known() -> None:
    held = replace(situation(outlook=Outlook(held=frozenset({NEXT}))), forecast=None)
    order = standing(heard=False)
    assert next_step(NOTHING, held, [order]) == (Step.CANCEL, order)


def test_a_cancellation_is_waited_for_and_not_repeated_at_once() -> None:
    on_its_way = standing(cancelling=True, cancelled_at=START)
    assert next_step(NOTHING, situation(at=START + 1_000), [on_its_way]) == (Step.KEEP, on_its_way)
    refused = standing(cancelled_at=START)
    assert next_step(NOTHING, situation(at=START + CANCEL_AGAIN_S - 1), [refused]) == (Step.KEEP, refused)
    assert next_step(NOTHING, situation(at=START + CANCEL_AGAIN_S), [refused]) == (Step.CANCEL, refused)


def test_after_a_trade_a_little_more_is_not_worth_another_order() -> None:
    done = traded(100)
    assert next_step(sells(8), situation(), [done]) == (Step.KEEP, done)
    assert next_step(sells(30), situation(), [done]) == (Step.PLACE, done)
    untouched = traded(0)
    assert next_step(sells(1), situation(), [untouched]) == (Step.PLACE, untouched)


def test_an_order_that_was_refused_is_not_sent_again_until_it_is_another() -> None:
    refused = standing(open=False, refused=True, cancelled_at=START)
    assert next_step(SELL_100, situation(), [refused]) == (Step.KEEP, refused)
    assert next_step(sells(50), situation(), [refused]) == (Step.PLACE, refused)
    assert next_step(sells(100, 150_000), situation(), [refused]) == (Step.PLACE, refused)
    assert next_step(SELL_100, situation(at=START + REFUSED_AGAIN_S), [refused]) == (Step.PLACE, refused)


def test_an_interval_gets_a_bounded_number_of_orders() -> None:
    many = [traded(0) for _ in range(ORDERS_PER_INTERVAL_MAX)]
    assert next_step(SELL_100, situation(), many[1:])[0] is Step.PLACE
    assert next_step(SELL_100, situation(), many)[0] is Step.KEEP


@pytest.mark.parametrize(
    ("decision", "step"),
    [
        (sells(130), Step.KEEP),
        (sells(100, 150_000), Step.KEEP),
        (sells(100, 170_000), Step.CANCEL),
        (sells(70), Step.CANCEL),
        (NOTHING, Step.CANCEL),
        (Decision(OrderTerms(Side.BUY, 100, 160_000), REASON), Step.CANCEL),
    ],
)
def test_the_last_order_of_an_interval_stays_while_it_does_no_harm(decision: Decision, step: Step) -> None:
    """Nothing could take its place: it goes only when it offers too much, or for too little."""
    before = [standing(open=False) for _ in range(ORDERS_PER_INTERVAL_MAX - 1)]
    last = standing()
    assert next_step(decision, situation(), [*before, last]) == (step, last)


def test_the_last_bid_of_an_interval_stays_while_it_does_no_harm() -> None:
    before = [standing(open=False) for _ in range(ORDERS_PER_INTERVAL_MAX - 1)]
    last = standing(side=Side.BUY, limit_price_micro_per_kwh=160_000)
    dearer, cheaper = (Decision(OrderTerms(Side.BUY, 100, limit), REASON) for limit in (170_000, 150_000))
    assert next_step(dearer, situation(), [*before, last]) == (Step.KEEP, last)
    assert next_step(cheaper, situation(), [*before, last]) == (Step.CANCEL, last)


def test_what_was_bought_is_no_reason_to_sell_nothing() -> None:
    bought = standing(side=Side.BUY, energy_wh=2_000, filled_wh=2_000, open=False)
    assert next_step(sells(100), situation(), [bought])[0] is Step.PLACE


def test_orders_by_hand_are_nobody_elses_business() -> None:
    assert next_step(SELL_100, situation(), [standing(planned=False)])[0] is Step.PLACE


SUNNY, DARK = Forecast(-100, "sunny", high_wh=-80), Forecast(100, "dark", low_wh=70, high_wh=120)


@pytest.mark.parametrize(
    ("orders", "forecast", "wh"),
    [
        ([], SUNNY, 0),
        ([traded(50)], SUNNY, -50),
        ([traded(50), traded(20, side=Side.BUY)], SUNNY, -50),
        ([traded(50), traded(20, side=Side.BUY)], DARK, 20),
        ([standing(filled_wh=10)], SUNNY, -10),
        ([standing(planned=False, filled_wh=10, energy_wh=30)], SUNNY, -30),
        ([traded(10, planned=False)], SUNNY, -10),
        ([standing(planned=False, filled_wh=10, energy_wh=30), traded(50)], SUNNY, -80),
        ([standing(planned=False, filled_wh=10, energy_wh=30)], DARK, 0),
        ([standing(planned=False, side=Side.BUY, filled_wh=10, energy_wh=30)], DARK, 30),
        ([standing(planned=False, side=Side.BUY, filled_wh=10, energy_wh=30)], None, 30),
        ([standing(planned=False, side=Side.BUY, energy_wh=500)], SUNNY, 0),
    ],
)
def test_what_is_committed(orders: list[Standing], forecast: Forecast | None, wh: int) -> None:
    """Each side is settled for itself; offers by hand take room from the plan."""
    assert committed_wh(orders, forecast) == wh


def test_an_interval_whose_order_was_cancelled_by_hand_is_left_alone() -> None:
    decision = decide_interval(POLICY, Bounds(), situation(), [traded(10, withdrawn=True)])
    assert decision.order is None
    assert decision.reason.rule == "cancelled_by_hand"
    by_hand = decide_interval(POLICY, Bounds(), situation(), [traded(10, planned=False, withdrawn=True)])
    assert by_hand.order is not None
    assert {*RULES} <= {*ALL_RULES}


def test_more_sold_than_expected_is_said_and_not_bought_back() -> None:
    """A purchase would be settled for itself and mend nothing (ADR 11)."""
    late = situation(Forecast(-100, "clouds come up"))
    sold = [traded(200)]
    late = replace(late, committed_wh=committed_wh(sold, late.forecast))
    decision = decide_interval(POLICY, Bounds(), late, sold)
    assert decision.order is None
    assert decision.reason.rule == "sold_beyond_forecast"
    assert (decision.reason.inputs["sold_wh"], decision.reason.inputs["surplus_wh"]) == (200, 100)
    assert "200 Wh are sold" in decision.reason.text
    shown = as_it_stands(Planned(NEXT, decision, START), sold[0])
    assert (shown.decision, shown.order) == (decision, bytes(32))
    for orders in ([traded(101)], [traded(200, planned=False)]):
        same = replace(late, committed_wh=committed_wh(orders, late.forecast))
        assert decide_interval(POLICY, Bounds(), same, orders).reason.rule == "already_traded"
    unknown = replace(late, forecast=None)
    assert decide_interval(POLICY, Bounds(), unknown, sold).reason.rule == "no_forecast"
    needy = situation(Forecast(60, "a cloud and the oven"))
    assert decide_interval(POLICY, Bounds(), needy, sold).reason.rule == "buy_missing", "use is settled for itself too"


def test_what_stands_is_shown_with_its_own_reason() -> None:
    order = standing(filled_wh=100, open=False)
    shown = as_it_stands(Planned(NEXT, NOTHING, START + 30), order)
    assert shown == Planned(NEXT, SELL_100, START, order=bytes(32))
    assert as_it_stands(Planned(NEXT, sells(101), START + 30), standing()) == Planned(NEXT, SELL_100, START, bytes(32))
    held = Decision(None, replace(REASON, rule="held"))
    assert as_it_stands(Planned(NEXT, held, START), order) == Planned(NEXT, held, START, order=bytes(32))
    assert as_it_stands(Planned(NEXT, NOTHING, START), traded(0)) == Planned(NEXT, NOTHING, START)
    assert as_it_stands(Planned(NEXT, NOTHING, START), None) == Planned(NEXT, NOTHING, START)
    nameless = standing(reason=None)
    assert as_it_stands(Planned(NEXT, NOTHING, START), nameless) == Planned(NEXT, NOTHING, START, order=bytes(32))


def test_only_what_is_new_is_another_decision() -> None:
    planned = Planned(NEXT, SELL_100, START, order=bytes(32))
    assert not differs(planned, replace(planned, at=START + 1))
    for other in (
        replace(planned, decision=NOTHING),
        replace(planned, order=None),
        replace(planned, shadow=True),
        replace(planned, decision=replace(SELL_100, reason=replace(REASON, rule="x"))),
    ):
        assert differs(planned, other)
