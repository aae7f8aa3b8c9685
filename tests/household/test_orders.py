"""What the coordinator tells of orders: late, twice, out of order or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.household.orders import KNOWN_MAX, Orders, OrderStatus, Standing
from coordinator.protocol.messages import Order, Side

from .world import IDENTITY, INTERVAL_S, START

DIGEST = bytes([9] * 32)
NEXT = START + 120


def known(**changes: Any) -> Standing:
    order = Standing(DIGEST, NEXT, Side.SELL, 100, 160_000, planned=True, at=START)
    for name, value in changes.items():
        setattr(order, name, value)
    return order


def told(filled_wh: int = 0, *, is_open: bool = True, energy_wh: int = 100) -> OrderStatus:
    return OrderStatus(DIGEST, NEXT, Side.SELL, energy_wh, filled_wh, is_open)


def hear(order: Standing, *reports: OrderStatus, still_cancelling: bool = False) -> Standing:
    orders = Orders([order])
    for report in reports:
        orders.heard(report, still_cancelling=still_cancelling)
    return order


def test_fills_only_grow_and_a_closed_order_stays_closed() -> None:
    order = hear(known(), told(60, is_open=False), told(10))
    assert (order.open, order.filled_wh, order.remaining_wh) == (False, 60, 0)


@pytest.mark.parametrize(
    ("reports", "told_wh"),
    [
        ([], None),
        ([told(60)], None),
        ([told(60, is_open=False)], 60),
        ([told(60), told(60, is_open=False), told(10)], 60),
        ([told(60), told(10, is_open=False)], 60),
        ([told(0, is_open=False), told(60, is_open=False)], 0),
        ([told(0, is_open=False), told(60)], 0),
        ([told(999, is_open=False)], 100),
    ],
    ids=["nothing", "open", "closed", "old news later", "known better", "more later", "open again", "beyond"],
)
def test_the_first_word_that_an_order_is_over_counts(reports: list[OrderStatus], told_wh: int | None) -> None:
    assert hear(known(), *reports).told_wh == told_wh


def test_that_an_order_is_over_is_news_to_be_saved() -> None:
    orders = Orders([known(open=False)])
    assert orders.heard(told(0, is_open=False), still_cancelling=False)
    assert orders.to_list()[0]["told_wh"] == 0
    assert not orders.heard(told(0, is_open=False), still_cancelling=False)


@pytest.mark.parametrize(("sent", "told_wh"), [(0, None), (1, 0), (2, None)])
def test_a_refusal_is_a_word_only_when_no_answer_can_have_got_lost(sent: int, told_wh: int | None) -> None:
    orders = Orders([known()])
    for _ in range(sent):
        orders.sending("order:0x" + DIGEST.hex())
    orders.sending("cancel:7")
    orders.sending("order:0x" + bytes(32).hex())
    orders.refused(DIGEST, START)
    assert orders.of(NEXT)[0].told_wh == told_wh


def test_a_refusal_of_what_was_heard_of_is_no_word() -> None:
    orders = Orders([hear(known(sent=1), told(5))])
    orders.refused(DIGEST, START)
    assert orders.of(NEXT)[0].told_wh is None


def test_after_a_refusal_a_later_word_counts_while_the_order_may_stand() -> None:
    def after_refusal(*reports: OrderStatus, missed: bool = False) -> int | None:
        orders = Orders([known(sent=1)])
        orders.refused(DIGEST, START)
        if missed:
            orders.missed(set(), START)
        for report in reports:
            orders.heard(report, still_cancelling=False)
        return orders.of(NEXT)[0].told_wh

    assert after_refusal() == 0
    assert after_refusal(told(5)) is None
    assert after_refusal(told(5, is_open=False)) == 5
    assert after_refusal(told(5), missed=True) == 0, "another may have been signed"


def test_what_waits_in_a_saved_state_may_have_left_before() -> None:
    state: dict[str, Any] = {
        "state_version": 2,
        "orders": Orders([known(sent=1)]).to_list(),
        "outbox": [{"key": "order:0x" + DIGEST.hex()}, {"key": "reading:3"}],
    }
    (order,) = Orders.from_state(state)
    assert order.sent == 2
    del state["orders"][0]["sent"], state["orders"][0]["told_wh"]
    (older,) = Orders.from_state({**state, "outbox": []})
    assert (older.sent, older.told_wh) == (1, None)


def test_the_same_news_again_is_no_news() -> None:
    orders = Orders([known()])
    assert orders.heard(told(60), still_cancelling=False)
    assert not orders.heard(told(60), still_cancelling=False)
    assert not orders.heard(told(20), still_cancelling=False)


def test_a_coordinator_cannot_fill_more_than_was_signed() -> None:
    order = hear(known(), told(10**9, energy_wh=10**9))
    assert (order.energy_wh, order.filled_wh) == (100, 100)


def test_while_its_cancellation_is_on_its_way_open_means_nothing() -> None:
    order = hear(known(cancelling=True, cancelled_at=START), told(20), still_cancelling=True)
    assert order.cancelling
    assert order.filled_wh == 20
    hear(order, told(20))
    assert not order.cancelling, "the cancellation was refused: it may be signed again"
    assert order.cancelled_at == START


def test_an_order_that_was_refused_but_stands_is_found_again() -> None:
    orders = Orders([known()])
    orders.refused(DIGEST, START)
    orders.refused(bytes(32), START)
    (order,) = orders
    assert (order.open, order.refused, order.cancelling) == (True, True, True)
    hear(order, told(5))
    assert (order.open, order.refused, order.cancelling, order.remaining_wh) == (True, False, False, 95)


def test_an_order_that_was_refused_is_closed_once_a_report_does_not_have_it() -> None:
    orders = Orders([known()])
    orders.refused(DIGEST, START)
    assert not orders.missed(set(), START - 1)
    assert orders.missed(set(), START)
    (order,) = orders
    assert (order.open, order.refused) == (False, True)


def test_an_order_that_is_not_remembered_counts_as_one_by_hand() -> None:
    orders = Orders()
    assert orders.heard(told(10), still_cancelling=False)
    (order,) = orders
    assert not order.planned
    assert (order.delivery_start, order.remaining_wh) == (NEXT, 90)
    empty = Orders()
    assert not empty.heard(told(0, is_open=False), still_cancelling=False), "it came to nothing"
    assert [*empty] == []


def test_orders_that_nobody_can_have_are_not_remembered() -> None:
    """A coordinator that tells of ever more, or of less than nothing, would fill the disk or hide what is sold."""
    orders = Orders()
    nothing = replace(told(energy_wh=-100), filled_wh=-100)
    assert not orders.heard(nothing, still_cancelling=False)
    for start, energy_wh in ((NEXT, 2**64), (2**64, 100), (-60, 100)):
        impossible = replace(told(), delivery_start=start, energy_wh=energy_wh)
        assert not orders.heard(impossible, still_cancelling=False)
    for number in range(KNOWN_MAX + 5):
        orders.heard(replace(told(), digest=number.to_bytes(32)), still_cancelling=False)
    assert len(orders.to_list()) == KNOWN_MAX


def test_what_never_came_to_the_coordinator_is_given_up_after_a_while() -> None:
    def lost(**changes: Any) -> bool:
        orders = Orders([known(cancelling=True, cancelled_at=START, **changes)])
        return orders.missed(set(), START) and not orders.of(NEXT)[0].open

    assert lost()
    assert not lost(heard=True), "the report is of the newest orders only"
    orders = Orders([known(cancelling=True, cancelled_at=START)])
    assert not orders.missed(set(), START - 1), "it may still be on its way"
    assert not orders.missed({DIGEST}, START)
    assert not Orders([known()]).missed(set(), START), "nobody cancelled it"


def test_only_an_open_order_can_be_cancelled() -> None:
    orders = Orders([known(open=False)])
    orders.cancel(DIGEST, START)
    orders.cancel(bytes(32), START)
    assert not orders.of(NEXT)[0].cancelling


def test_past_intervals_are_forgotten() -> None:
    orders = Orders([known()])
    assert not orders.forget(NEXT + INTERVAL_S - 1, INTERVAL_S)
    assert orders.get(DIGEST) is not None
    assert orders.forget(NEXT + INTERVAL_S, INTERVAL_S)
    assert orders.get(DIGEST) is None


ORDER = Order(IDENTITY.account, "sunny-street", NEXT, Side.SELL, 100, 160_000)


@pytest.mark.parametrize("status", ["received", "triggered", "resting", "partly_filled"])
def test_open_orders_on_the_wire(status: str) -> None:
    wire = {"order": "0x" + DIGEST.hex(), "status": status, "filled_wh": 3, "terms": ORDER.to_wire()}
    assert OrderStatus.from_wire(wire) == told(3)


@pytest.mark.parametrize("status", ["filled", "cancelled", "expired", "settled"])
def test_closed_orders_on_the_wire(status: str) -> None:
    answer = {"order": "0x" + DIGEST.hex(), "status": status, "filled_wh": 100}
    assert OrderStatus.of(ORDER, answer) == told(100, is_open=False)


@pytest.mark.parametrize(
    "broken", [{"order": "0x12"}, {"filled_wh": "3"}, {"status": None}, {"terms": {}}, {"terms": None}]
)
def test_an_order_that_makes_no_sense_is_refused(broken: dict[str, Any]) -> None:
    wire = {"order": "0x" + DIGEST.hex(), "status": "resting", "filled_wh": 3, "terms": ORDER.to_wire()} | broken
    with pytest.raises(ValueError, match=r".+"):
        OrderStatus.from_wire(wire)


def test_orders_are_json_and_come_back_whole() -> None:
    order = known(filled_wh=7, cancelling=True, cancelled_at=START, heard=True, withdrawn=True, sent=1, told_wh=7)
    state = {"state_version": 2, "orders": Orders([order]).to_list()}
    assert [*Orders.from_state(state)] == [order]


def test_a_state_of_the_first_version_keeps_which_orders_stand() -> None:
    state = {"state_version": 1, "taken": [[NEXT, "sell", "0x" + DIGEST.hex()]]}
    (order,) = Orders.from_state(state)
    assert (order.digest, order.delivery_start, order.side, order.planned, order.open) == (
        DIGEST,
        NEXT,
        Side.SELL,
        True,
        True,
    )
    hear(order, told(30))
    assert (order.energy_wh, order.remaining_wh) == (100, 70), "the coordinator tells what the state did not keep"
