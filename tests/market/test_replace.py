"""Replacing an order: when the new one keeps the old one's place, and what it costs when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.market.commands import CloseGate, ReplaceOrder
from coordinator.market.events import CloseReason, OrderClosed, OrderPlaced, Traded
from coordinator.market.rejections import Code
from coordinator.market.rules import ClearingRule
from coordinator.market.state import state_hash
from coordinator.market.views import depth, order_status
from coordinator.protocol.messages import TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market


@pytest.fixture
def market() -> Market:
    return Market().admit(ALICE, BOB, CAROL)


def _instead(market: Market, old: bytes, energy_wh: int, limit: int | None, **terms: Any) -> ReplaceOrder:
    known = market.state.orders[old]
    placed = market.order(known.order.account, known.order.side.value, energy_wh, limit, **terms)
    return ReplaceOrder(placed.order, placed.digest, placed.signature, old)


def test_less_energy_at_the_same_price_keeps_the_place(market: Market) -> None:
    first = market.place(ALICE, "sell", 20, 200_000)
    market.place(BOB, "sell", 20, 200_000)
    command = _instead(market, first, 15, 200_000)
    assert market.do(command) == (
        OrderPlaced(command.order, command.digest, command.signature, first),
        OrderClosed(first, 20, CloseReason.REPLACED),
    )
    market.place(CAROL, "buy", 10, 200_000)
    assert market.trades() == [(4, 3, 200_000, 10)]
    assert state_hash(market.replayed()) == state_hash(market.state)


@pytest.mark.parametrize(
    ("energy_wh", "limit", "terms"),
    [
        (21, 200_000, {}),
        (20, 200_001, {}),
        (20, 199_999, {}),
        (20, None, {}),
        (20, 200_000, {"preferences": Preferences(green=True)}),
    ],
)
def test_anything_else_goes_to_the_back(
    market: Market, energy_wh: int, limit: int | None, terms: dict[str, Any]
) -> None:
    first = market.place(ALICE, "buy", 20, 200_000)
    market.place(BOB, "buy", 20, 200_000)
    command = _instead(market, first, energy_wh, limit, **terms)
    assert market.do(command) == (
        OrderClosed(first, 20, CloseReason.REPLACED),
        OrderPlaced(command.order, command.digest, command.signature),
    )
    known = market.state.orders[command.digest]
    assert known.priority == (3, 0)
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_what_is_open_counts_not_what_was_asked_for(market: Market) -> None:
    first = market.place(ALICE, "sell", 20, 200_000)
    market.place(CAROL, "buy", 8, 200_000)
    market.place(BOB, "sell", 20, 200_000)
    market.do(_instead(market, first, 12, 200_000))
    market.place(CAROL, "buy", 12, 200_000)
    assert market.trades()[-1] == (5, 4, 200_000, 12)
    second = market.place(ALICE, "sell", 10, 200_000)
    market.place(CAROL, "buy", 25, 200_000)
    assert market.state.orders[second].remaining_wh == 5
    late = market.place(BOB, "sell", 5, 200_000)
    market.do(_instead(market, second, 6, 200_000))
    market.place(CAROL, "buy", 5, 200_000)
    assert market.state.orders[late].closed is CloseReason.FILLED


def test_a_better_price_may_trade_at_once(market: Market) -> None:
    bid = market.place(ALICE, "buy", 20, 200_000)
    offer = market.place(BOB, "sell", 15, 210_000)
    command = _instead(market, bid, 20, 210_000)
    closed, placed, traded, filled = market.do(command)
    assert isinstance(placed, OrderPlaced)
    assert closed == OrderClosed(bid, 20, CloseReason.REPLACED)
    assert isinstance(traded, Traded)
    assert (traded.buy, traded.sell, traded.energy_wh) == (command.digest, offer, 15)
    assert filled == OrderClosed(offer, 0, CloseReason.FILLED)
    assert market.state.accounts[ALICE].reserved_micro == 15 * 210 + 5 * 210


def test_the_old_order_counts_neither_for_self_trade_nor_for_funds(market: Market) -> None:
    poor = Market().admit(ALICE, money_micro=2_000)
    bid = poor.place(ALICE, "buy", 10, 200_000)
    assert poor.refused(_instead(poor, bid, 11, 200_000)) == Code.INSUFFICIENT_FUNDS
    poor.do(_instead(poor, bid, 8, 250_000))
    assert poor.state.accounts[ALICE].available_micro == 0


def test_a_crowded_account_replaces_within_its_places() -> None:
    market = Market(replace(RULES, members_max=2, orders_per_interval_max=3)).admit(ALICE, BOB)
    digests = [market.place(ALICE, "sell", 1, 1) for _ in range(2)]
    assert market.refused(market.order(ALICE, "sell", 1, 1)) == Code.INTERVAL_FULL
    market.do(_instead(market, digests[0], 1, 2))
    assert market.state.intervals[START].places == 2
    market.do(_instead(market, digests[1], 1, 1))
    assert market.state.intervals[START].places == 2


def test_a_traded_order_holds_its_place_also_when_it_is_replaced() -> None:
    market = Market(replace(RULES, members_max=2, orders_per_interval_max=3)).admit(ALICE, BOB)
    digests = [market.place(ALICE, "sell", 10, 200_000) for _ in range(2)]
    market.place(BOB, "buy", 1, 200_000)
    assert market.refused(_instead(market, digests[0], 9, 200_001)) == Code.INTERVAL_FULL
    market.do(_instead(market, digests[1], 9, 200_001))


def test_the_place_counts_in_the_auction_too() -> None:
    rules = replace(RULES, rule=ClearingRule(ties="time"))
    market = Market(rules).admit(ALICE, BOB, CAROL)
    first = market.place(ALICE, "buy", 10, None)
    market.place(BOB, "buy", 10, None)
    command = _instead(market, first, 10, None)
    market.do(command)
    market.place(CAROL, "sell", 10, 200_000, time_in_force=TimeInForce.GOOD_TILL_GATE)
    market.close()
    assert [t.buy for t in market.state.intervals[START].trades] == [command.digest]


def test_an_order_with_preferences_keeps_its_time_in_the_auction() -> None:
    market = Market(replace(RULES, rule=ClearingRule(ties="time"))).admit(ALICE, BOB, CAROL)
    wishes = Preferences(green=True, other_limit_price_micro_per_kwh=200_000)
    first = market.place(ALICE, "buy", 10, 250_000, preferences=wishes)
    market.place(BOB, "buy", 10, 200_000)
    command = _instead(market, first, 9, 250_000, preferences=wishes)
    market.do(command)
    market.place(CAROL, "sell", 9, 200_001)
    market.do(_instead(market, market.state.intervals[START].orders[-1], 9, 0))
    assert market.trades() == [(2, 5, 200_000, 9)]
    market.place(CAROL, "sell", 1, 200_001)
    assert market.state.orders[command.digest].priority == (1, 0)


def test_a_dormant_order_can_be_replaced(market: Market) -> None:
    condition = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)
    dormant = market.place(ALICE, "sell", 20, 200_000, condition=condition)
    again = _instead(market, dormant, 10, 200_000, condition=condition)
    market.do(again)
    assert market.state.orders[again.digest].is_dormant
    market.do(_instead(market, again.digest, 10, 200_000))
    assert depth(market.state, START).asks[0].energy_wh == 10
    assert market.state.triggers == {}


def test_a_condition_or_an_immediate_order_takes_no_place(market: Market) -> None:
    first = market.place(ALICE, "sell", 20, 200_000)
    later = _instead(market, first, 10, 200_000, condition=Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1))
    assert market.do(later)[0] == OrderClosed(first, 20, CloseReason.REPLACED)
    assert market.state.orders[later.digest].priority == (2, 0)
    second = market.place(ALICE, "sell", 20, 200_000)
    at_once = _instead(market, second, 10, 200_000, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert market.do(at_once)[-1] == OrderClosed(at_once.digest, 10, CloseReason.IMMEDIATE)
    assert depth(market.state, START).asks == ()


def test_refusals_change_nothing(market: Market) -> None:
    offer = market.place(ALICE, "sell", 20, 200_000)
    command = _instead(market, offer, 10, 200_000)
    stranger = replace(command.order, account=BOB)
    cases = [
        (replace(command, replaces=b"?" * 32), Code.UNKNOWN_ORDER),
        (replace(command, order=stranger), Code.NOT_YOUR_ORDER),
        (replace(command, order=replace(command.order, delivery_start=START + 900)), Code.REPLACE_MISMATCH),
        (_instead(market, offer, 10, 200_000, side=market.order(ALICE, "buy", 1, 1).order.side), Code.REPLACE_MISMATCH),
        (replace(command, order=replace(command.order, energy_wh=0)), Code.ENERGY_OUT_OF_RANGE),
        (replace(command, digest=offer), Code.DUPLICATE_ORDER),
        (replace(command, order=replace(command.order, bundle=b"b" * 32)), Code.LEG_WITHOUT_BUNDLE),
    ]
    for refused, code in cases:
        assert market.refused(refused) == code
    market.at = RULES.gate_at(START)
    assert market.refused(command) == Code.GATE_CLOSED
    market.do(CloseGate(START))
    assert market.refused(command) == Code.ORDER_NOT_OPEN


def test_what_expires_in_the_same_moment_cannot_be_replaced(market: Market) -> None:
    offer = market.place(ALICE, "sell", 20, 200_000, valid_until=NOON + 60)
    market.at = NOON + 60
    assert market.refused(_instead(market, offer, 10, 200_000)) == Code.ORDER_NOT_OPEN


def test_a_replaced_order_says_so(market: Market) -> None:
    offer = market.place(ALICE, "sell", 20, 200_000)
    market.do(_instead(market, offer, 10, 210_000))
    status = order_status(market.state, offer)
    assert status is not None
    assert (status.status, status.remaining_wh, status.close_reason) == ("replaced", 20, CloseReason.REPLACED)
