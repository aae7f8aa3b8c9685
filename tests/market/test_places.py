"""The places of an interval: what holds one, what frees it, and that each member has one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.market.commands import CancelOrder, CloseGate
from coordinator.market.rejections import Code
from coordinator.protocol.messages import TimeInForce
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market


def _account(number: int) -> str:
    return f"0x{number:040x}"


def _held(market: Market) -> tuple[int, dict[str, int]]:
    interval = market.state.intervals[START]
    return interval.places, interval.places_by_account


def test_a_cancelled_order_frees_its_place() -> None:
    market = Market(replace(RULES, members_max=2, orders_per_interval_max=3)).admit(ALICE, BOB)
    digests = [market.place(ALICE, "sell", 1, 1) for _ in range(2)]
    assert market.refused(market.order(ALICE, "sell", 1, 1)) == Code.INTERVAL_FULL
    market.do(CancelOrder(ALICE, digests[0], 0))
    market.place(ALICE, "sell", 1, 1)
    market.place(BOB, "sell", 1, 1)
    assert _held(market) == (3, {ALICE: 2, BOB: 1})


def test_orders_that_close_without_a_trade_hold_nothing() -> None:
    market = Market().admit(ALICE, BOB)
    market.place(ALICE, "buy", 1, 1, time_in_force=TimeInForce.FILL_OR_KILL)
    market.place(BOB, "sell", 1, 1, valid_until=NOON + 60)
    market.at = NOON + 60
    market.place(ALICE, "sell", 1, 1)
    assert _held(market) == (1, {ALICE: 1})
    market.at = RULES.gate_at(START)
    market.do(CloseGate(START))
    assert _held(market) == (0, {})


def test_a_traded_order_holds_its_place_also_when_the_rest_is_cancelled() -> None:
    market = Market().admit(ALICE, BOB)
    offer = market.place(ALICE, "sell", 10, 1)
    market.place(BOB, "buy", 4, 1)
    market.do(CancelOrder(ALICE, offer, 0))
    assert _held(market) == (2, {ALICE: 1, BOB: 1})


@pytest.mark.parametrize("members_max", [60, 51])
def test_a_crowd_of_offers_locks_nobody_out(members_max: int) -> None:
    """Fifty accounts offer as much as they may; who comes later, also as a new member, has a place."""
    rules = replace(RULES, members_max=members_max, orders_per_interval_max=100, orders_per_account_interval_max=24)
    crowd = [_account(number) for number in range(50)]
    market = Market(rules).admit(*crowd, ALICE)
    for _ in range(24):
        for account in crowd:
            market.ask(market.order(account, "sell", 1, 500_000))
    assert market.state.intervals[START].places == 100 - (members_max - 50)
    market.place(ALICE, "buy", 1, 1)
    assert market.refused(market.order(ALICE, "buy", 1, 1)) == Code.INTERVAL_FULL
    late = [_account(number) for number in range(100, 100 + members_max - 51)]
    market.admit(*late)
    for account in late:
        market.place(account, "sell", 1, 500_000)
    assert market.state.intervals[START].places == 100


def test_one_account_takes_what_is_not_kept_for_others() -> None:
    market = Market(replace(RULES, members_max=10, orders_per_interval_max=20)).admit(ALICE, BOB, CAROL)
    for _ in range(11):
        market.place(ALICE, "sell", 1, 1)
    assert market.refused(market.order(ALICE, "sell", 1, 1)) == Code.INTERVAL_FULL
    for account in (BOB, CAROL):
        market.place(account, "sell", 1, 1)
        assert market.refused(market.order(account, "sell", 1, 1)) == Code.INTERVAL_FULL
