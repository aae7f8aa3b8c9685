"""What a home was told of its own orders when they were over: kept, and only what is certain."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.household.orders import OrderStatus, Standing
from coordinator.household.verification import TOLD_KEPT, ToldOrders
from coordinator.protocol.messages import Side

from .test_trading import NEXT, Trader
from .world import START, Crashed

REFUSED = "refuse:insufficient_funds"


def told_of(trader: Trader) -> list[int]:
    """What the home will remember of what it was told."""
    told = ToldOrders()
    told.note(trader.agent.orders)
    return list(told.by_digest().values())


def offers(*faults: str) -> Trader:
    """A home that offers 200 Wh, again and again, while this happens on the way."""
    trader = Trader()
    trader.expects(-200)
    for fault in faults:
        try:
            trader.delivers(fault)
        except Crashed:
            trader.restarts()
    return trader


def test_an_order_that_was_refused_was_told_to_trade_nothing() -> None:
    trader = offers(REFUSED)
    assert told_of(trader) == [0]
    trader.restarts()
    assert told_of(trader) == [0]


@pytest.mark.parametrize("before", ["away", "late", "lost", "crash", "crash_lost"])
def test_a_refusal_says_nothing_of_what_may_have_come_before(before: str) -> None:
    """The order came, or comes yet, by the way that got no answer, and trades."""
    trader = offers(before, REFUSED)
    assert told_of(trader) == []
    trader.market.arrive()
    trader.restarts()
    assert told_of(trader) == []


def test_a_refusal_says_nothing_after_a_restart_that_may_have_come_between() -> None:
    trader = offers()
    trader.agent.saved(trader.agent.version)
    trader.restarts()
    trader.delivers(REFUSED)
    assert told_of(trader) == []


def test_a_replaced_order_was_told_with_what_had_traded_before() -> None:
    trader = offers("")
    trader.trades(50)
    trader.is_told()
    assert told_of(trader) == []
    assert trader.expects(-100, at=START + 60) == ["cancel"]
    trader.delivers()
    assert told_of(trader) == []
    trader.is_told()
    assert told_of(trader) == [50]
    assert trader.expects(-100, at=START + 120) == ["sell 50"]
    trader.restarts()
    trader.delivers()
    trader.trades(50)
    trader.is_told()
    assert told_of(trader) == [50, 50]


def test_one_that_is_told_less_than_traded_cannot_be_made_good_once_another_was_signed() -> None:
    """The truth that comes when the home has acted on the lie does not take the lie back."""
    trader = offers("")
    (digest,) = trader.market.kept
    trader.agent.heard([OrderStatus(digest, NEXT, Side.SELL, 200, 0, open=False)])
    assert trader.expects(-200, at=START + 60) == ["sell 200"]
    trader.market.trade(digest, 200)
    trader.is_told()
    assert told_of(trader) == [0]
    trader.restarts()
    assert told_of(trader) == [0]


def over(number: int = 9, told_wh: int | None = 30, *, at: int = START) -> Standing:
    return Standing(number.to_bytes(32), START + number, Side.SELL, 100, at=at, told_wh=told_wh)


def test_what_was_told_is_kept_when_the_home_has_forgotten_the_order() -> None:
    told = ToldOrders()
    assert told.note([over()])
    assert not told.note([over()]), "that is no news"
    assert not told.note([])
    assert told.by_digest() == {over().digest: 30}


def test_an_order_that_stands_after_all_says_nothing_any_more() -> None:
    told = ToldOrders()
    told.note([over(told_wh=0)])
    assert told.note([over(told_wh=None)])
    assert told.by_digest() == {}


def test_nothing_is_kept_of_orders_that_this_home_has_not_signed() -> None:
    told = ToldOrders()
    assert not told.note([over(at=0)])
    assert told.by_digest() == {}


def test_the_newest_of_what_was_told_are_kept() -> None:
    told = ToldOrders()
    told.note(over(number) for number in range(TOLD_KEPT + 5, 0, -1))
    assert sorted(int.from_bytes(digest) for digest in told.by_digest()) == [*range(6, TOLD_KEPT + 6)]
    assert not told.note([over(1)]), "it is too old by now"


def test_what_was_told_survives_its_file_and_a_damaged_one() -> None:
    told = ToldOrders()
    told.note([over(), over(10, 0)])
    saved = told.to_list()
    assert ToldOrders.from_list(saved).by_digest() == told.by_digest()
    damaged: list[Any] = [None, 7, [], ["0x12", 1, 2], [saved[0][0], "soon", 3], [saved[0][0], 1, True], *saved[1:]]
    assert ToldOrders.from_list(damaged).by_digest() == {over(10).digest: 0}
    nothings: list[Any] = [None, {}, "x", []]
    for nothing in nothings:
        assert ToldOrders.from_list(nothing).by_digest() == {}
