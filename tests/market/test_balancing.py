"""The grid asks for relief: asked once, answered once, with what the reported load has fallen by since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.ledger.decisions import decide as decide_all
from coordinator.market.apply import apply
from coordinator.market.balancing import BALANCING_OPEN_MAX, answer_requests, node_load_w
from coordinator.market.commands import BookBalancingRequest, CloseGate, MeteredEnergy, SettleInterval
from coordinator.market.events import (
    BalancingAnswered,
    BalancingForgotten,
    BalancingRequested,
    IntervalSettled,
    Rejected,
)
from coordinator.market.state import state_hash
from coordinator.protocol.messages import ZERO_HASH
from tests.market.support import ALICE, BOB, START, Market

INTERVAL_S = 900


def asked(number: int = 1, node: int = 7) -> BookBalancingRequest:
    return BookBalancingRequest(node, number, 50, 20_000, f"tx:grid:{number}")


@pytest.fixture
def market() -> Market:
    return Market().admit(ALICE, BOB)


def settle(market: Market, start: int, consumption_wh: int) -> tuple[BalancingAnswered, ...]:
    """Trade 100 Wh, let Bob take this much, settle as the ledger does; return the answers."""
    market.at = start - 3_600
    market.place(ALICE, "sell", 100, 100_000, delivery_start=start)
    market.place(BOB, "buy", 100, 100_000, delivery_start=start)
    market.at = start - market.rules.gate_s
    market.do(CloseGate(start))
    market.at = start + INTERVAL_S
    energies = MeteredEnergy(ALICE, 0, 100, False), MeteredEnergy(BOB, consumption_wh, 0, False)
    decision = decide_all(market.state, SettleInterval(start, energies, ZERO_HASH), market.at)
    assert not isinstance(decision, Rejected), decision
    market.book(*decision)
    settled, *answers = decision
    assert isinstance(settled, IntervalSettled)
    found = tuple(answer for answer in answers if isinstance(answer, BalancingAnswered))
    assert len(found) == len(answers)
    return found


def test_load_is_the_traders_average_power() -> None:
    energies = MeteredEnergy(ALICE, 30, 5, False), MeteredEnergy(BOB, 71, 0, True)
    assert node_load_w(energies, INTERVAL_S) == 404
    assert node_load_w((), INTERVAL_S) == 0


def test_a_request_is_answered_with_what_the_load_fell_by(market: Market) -> None:
    assert settle(market, START, 300) == ()
    assert market.do(asked()) == (BalancingRequested(7, 1, 50, 20_000, 1_200, "tx:grid:1"),)
    assert settle(market, START + INTERVAL_S, 200) == (
        BalancingAnswered(7, 1, 400, "the load fell from 1200 W to 800 W"),
    )
    assert not market.state.balancing
    assert settle(market, START + 2 * INTERVAL_S, 100) == ()
    assert state_hash(market.replayed()) == state_hash(market.state)


@pytest.mark.parametrize("later_wh", [300, 301])
def test_a_load_that_did_not_fall_relieves_nothing(market: Market, later_wh: int) -> None:
    settle(market, START, 300)
    market.do(asked())
    reason = f"the load did not fall: 1200 W at the request, {later_wh * 4} W now"
    assert settle(market, START + INTERVAL_S, later_wh) == (BalancingAnswered(7, 1, 0, reason),)


def test_a_request_before_any_report_relieves_nothing_and_says_why(market: Market) -> None:
    assert market.do(asked()) == (BalancingRequested(7, 1, 50, 20_000, None, "tx:grid:1"),)
    (answer,) = settle(market, START, 300)
    assert (answer.relieved_w, answer.reason) == (0, "the load at the request is unknown: none had been reported")


def test_an_interval_without_a_report_answers_nothing(market: Market) -> None:
    """Nobody consumed or produced what was traded: nothing goes on chain, so the request waits."""
    settle(market, START, 300)
    market.do(asked())
    assert settle(market, START + INTERVAL_S, 0) == ()
    assert market.state.grid_load_w == 1_200
    (answer,) = settle(market, START + 2 * INTERVAL_S, 100)
    assert answer.relieved_w == 800


def test_a_request_is_booked_once_also_after_its_answer(market: Market) -> None:
    market.do(asked(1))
    assert market.refused(asked(1)) == "duplicate_credit"
    assert market.refused(replace(asked(1), reference="moved:grid:0")) == "duplicate_credit"
    settle(market, START, 300)
    assert market.refused(asked(1)) == "duplicate_credit"
    market.do(asked(2))
    assert market.refused(asked(1)) == "duplicate_credit"
    market.do(asked(1, node=8))
    assert list(market.state.balancing) == [(7, 2), (8, 1)]


def test_the_oldest_requests_are_forgotten_with_a_reason(market: Market) -> None:
    for number in range(1, BALANCING_OPEN_MAX + 1):
        assert len(market.do(asked(number))) == 1
    forgotten, requested = market.do(asked(BALANCING_OPEN_MAX + 1))
    reason = "16 newer requests came before the node's load was reported again"
    assert forgotten == BalancingForgotten(7, 1, reason)
    assert isinstance(requested, BalancingRequested)
    assert len(market.state.balancing) == BALANCING_OPEN_MAX
    assert [answer.request_id for answer in answer_requests(market.state, 0)] == [*range(2, BALANCING_OPEN_MAX + 2)]
    assert market.refused(asked(1)) == "duplicate_credit"
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_the_state_hash_sees_open_requests_known_numbers_and_the_load(market: Market) -> None:
    other = Market().admit(ALICE, BOB)
    requested = market.do(asked())
    is_open = state_hash(market.state)
    market.book(BalancingForgotten(7, 1, "why"))
    assert len({is_open, state_hash(market.state), state_hash(other.state)}) == 3
    for event in (*requested, BalancingForgotten(7, 1, "why")):
        apply(other.state, event, other.at)
    assert state_hash(market.state) == state_hash(other.state)
    other.state.grid_load_w = 5
    assert state_hash(market.state) != state_hash(other.state)
