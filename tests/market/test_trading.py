"""One interval's life: continuous trading, the closing auction, settlement, pruning."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from coordinator.market.commands import (
    AccountChange,
    BookCorrection,
    CancelOrder,
    CloseGate,
    ConfirmSettlement,
    CreditFunds,
    ExpireOrders,
    HaltTrading,
)
from coordinator.market.decide import due
from coordinator.market.events import CloseReason, GateClosed, IntervalSettled, OrderClosed, OrderPlaced, Stage, Traded
from coordinator.market.rules import ClearingRule
from coordinator.market.state import FINISHED_INTERVALS_KEPT, Account, IntervalStage, state_hash
from coordinator.market.views import Depth, DepthLevel, OrderStatus, depth, order_status
from coordinator.protocol.messages import ZERO_HASH, TimeInForce
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

_GATE = START - RULES.gate_s


@pytest.fixture
def market() -> Market:
    return Market().admit(ALICE, BOB, CAROL)


def _status(market: Market, digest: bytes) -> OrderStatus:
    status = order_status(market.state, digest)
    assert status is not None
    return status


def _close(market: Market) -> GateClosed:
    market.at = _GATE
    *_, closed = market.do(CloseGate(START))
    assert isinstance(closed, GateClosed)
    return closed


def test_trades_are_made_at_the_resting_price(market: Market) -> None:
    dear = market.place(ALICE, "sell", 100, 220_000)
    cheap = market.place(BOB, "sell", 100, 200_000)
    bid = market.order(CAROL, "buy", 150, 250_000)
    assert market.do(bid) == (
        OrderPlaced(bid.order, bid.digest, bid.signature),
        Traded(1, START, bid.digest, cheap, 100, 200_000, Stage.CONTINUOUS),
        OrderClosed(cheap, 0, CloseReason.FILLED),
        Traded(2, START, bid.digest, dear, 50, 220_000, Stage.CONTINUOUS),
        OrderClosed(bid.digest, 0, CloseReason.FILLED),
    )
    assert [_status(market, digest).status for digest in (dear, cheap, bid.digest)] == [
        "partly_filled",
        "filled",
        "filled",
    ]
    assert market.state.accounts[CAROL].reserved_micro == 20_000 + 11_000


def test_a_buy_reserves_its_limit_and_releases_what_it_did_not_need(market: Market) -> None:
    account = market.state.accounts[ALICE]
    bid = market.place(ALICE, "buy", 100, 200_001)
    assert account.reserved_micro == 20_001
    market.place(BOB, "sell", 40, 0)
    assert account.reserved_micro == 12_001 + 8_000
    market.cancel_all(ALICE)
    assert account.reserved_micro == 8_000
    assert market.state.orders[bid].closed is CloseReason.CANCELLED


@pytest.mark.parametrize(
    ("lifetime", "filled", "reason"),
    [
        (TimeInForce.IMMEDIATE_OR_CANCEL, 60, CloseReason.IMMEDIATE),
        (TimeInForce.FILL_OR_KILL, 0, CloseReason.IMMEDIATE),
        (TimeInForce.GOOD_TILL_GATE, 60, None),
    ],
)
def test_lifetimes(market: Market, lifetime: TimeInForce, filled: int, reason: CloseReason | None) -> None:
    market.place(ALICE, "sell", 60, 200_000)
    bid = market.place(BOB, "buy", 100, 200_000, time_in_force=lifetime)
    known = market.state.orders[bid]
    assert (known.filled_wh, known.closed) == (filled, reason)
    assert _status(market, bid).status == ("partly_filled" if reason is None else "closed")


def test_fill_or_kill_looks_beyond_the_best_price(market: Market) -> None:
    market.place(ALICE, "sell", 60, 200_000)
    market.place(ALICE, "sell", 60, 210_000)
    bid = market.place(BOB, "buy", 100, 210_000, time_in_force=TimeInForce.FILL_OR_KILL)
    assert _status(market, bid).status == "filled"


def test_self_trade_cancels_the_newer_order(market: Market) -> None:
    market.place(BOB, "sell", 10, 190_000)
    own = market.place(ALICE, "sell", 100, 200_000)
    bid = market.place(ALICE, "buy", 50, 250_000)
    assert market.trades() == [(3, 1, 190_000, 10)]
    assert market.state.orders[bid].closed is CloseReason.SELF_TRADE
    assert _status(market, own).status == "resting"
    kill = market.place(ALICE, "buy", 50, 250_000, time_in_force=TimeInForce.FILL_OR_KILL)
    assert market.state.orders[kill].closed is CloseReason.SELF_TRADE


def test_an_order_expires_by_the_time_of_the_next_command(market: Market) -> None:
    short = market.place(ALICE, "sell", 100, 200_000, valid_until=NOON + 60)
    longer = market.place(BOB, "sell", 100, 210_000, valid_until=NOON + 61)
    market.at = NOON + 60
    assert due(market.state, market.at) == (ExpireOrders(),)
    bid = market.order(CAROL, "buy", 100, 250_000)
    assert market.do(bid)[:3] == (
        OrderClosed(short, 100, CloseReason.EXPIRED),
        OrderPlaced(bid.order, bid.digest, bid.signature),
        Traded(1, START, bid.digest, longer, 100, 210_000, Stage.CONTINUOUS),
    )
    assert _status(market, short).status == "expired"
    assert due(market.state, market.at) == ()
    assert market.state.expiries == []


def test_a_clock_command_expires_orders_of_a_quiet_market(market: Market) -> None:
    later = market.place(ALICE, "buy", 100, 200_000, valid_until=NOON + 90)
    sooner = market.place(BOB, "buy", 100, 190_000, valid_until=NOON + 60)
    gone = market.place(BOB, "buy", 100, 190_000, valid_until=NOON + 30)
    market.cancel_all(BOB)
    market.place(BOB, "buy", 100, 190_000, valid_until=START)  # beyond its gate, which comes first
    market.at = NOON + 90
    assert market.do(ExpireOrders()) == (OrderClosed(later, 100, CloseReason.EXPIRED),)
    assert [_status(market, digest).status for digest in (later, sooner, gone)] == ["expired", "cancelled", "cancelled"]
    assert market.state.accounts[ALICE].reserved_micro == 0


def test_cancel_all_takes_what_came_by_then_and_is_still_tradable(market: Market) -> None:
    first = market.place(ALICE, "buy", 100, 200_000)
    soon = market.place(ALICE, "buy", 100, 200_000, delivery_start=START - 1800)
    market.at = NOON + 10
    market.place(ALICE, "buy", 100, 200_000)
    market.at = START - 1800 - RULES.gate_s
    market.do(CloseGate(START - 1800))
    assert _status(market, soon).status == "closed"
    late = market.place(ALICE, "buy", 100, 200_000)
    market.at += 1
    events = market.do(replace(_cancel(ALICE), until=NOON + 10))
    assert [event.digest for event in events if isinstance(event, OrderClosed)] == [first, _digest(3)]
    assert _status(market, late).status == "resting"
    market.at = _GATE
    assert market.cancel_all(ALICE) == ()
    assert market.cancel_all("0x" + "9" * 40) == ()


def test_a_market_order_trades_at_once_and_then_waits_for_the_auction(market: Market) -> None:
    """It does not rest at the band's edge: the later seller gets the auction's price, not 500_000."""
    market.place(ALICE, "sell", 60, 200_000)
    bid = market.place(BOB, "buy", 100, None)
    market.place(CAROL, "sell", 30, 210_000)
    assert market.trades() == [(2, 1, 200_000, 60)]
    assert depth(market.state, START) == Depth((), (DepthLevel(210_000, 30, 1),), 40, 0, 1, 0)
    closed = _close(market)
    assert (closed.price_micro_per_kwh, closed.price_range, closed.volume_wh) == (210_000, (210_000, 210_000), 30)
    assert closed.rule == "uniform-midpoint-pro_rata/1"
    assert market.trades()[1:] == [(2, 3, 210_000, 30)]
    assert market.state.orders[bid].closed is CloseReason.GATE_CLOSED
    assert _status(market, bid).remaining_wh == 10


def test_market_orders_alone_meet_in_the_middle_of_the_band(market: Market) -> None:
    market.place(ALICE, "sell", 60, None)
    market.place(BOB, "buy", 60, None)
    assert _close(market).price_micro_per_kwh == 250_000


def test_no_auction_between_orders_of_one_account(market: Market) -> None:
    market.place(ALICE, "buy", 100, None)
    ask = market.place(ALICE, "sell", 100, 200_000)
    other = market.place(ALICE, "sell", 100, None)
    assert {market.state.orders[digest].closed for digest in (ask, other)} == {CloseReason.SELF_TRADE}


def test_the_rule_of_the_market_shares_the_margin() -> None:
    rule = ClearingRule(price="reference", reference_price=230_000, ties="time")
    market = Market(replace(RULES, rule=rule)).admit(ALICE, BOB, CAROL)
    for account in (ALICE, BOB):
        market.place(account, "buy", 60, None)
    market.place(CAROL, "sell", 80, None)
    closed = _close(market)
    assert (closed.price_micro_per_kwh, closed.rule) == (230_000, "uniform-reference-time/1")
    assert market.trades() == [(1, 3, 230_000, 60), (2, 3, 230_000, 20)]


def test_a_halted_market_closes_its_gates_without_trading(market: Market) -> None:
    market.place(ALICE, "sell", 60, None)
    bid = market.place(BOB, "buy", 60, None)
    market.do(HaltTrading("chain and ledger differ"))
    assert _close(market).volume_wh == 0
    assert market.state.orders[bid].closed is CloseReason.HALTED
    assert market.state.accounts[BOB].reserved_micro == 0


def test_an_order_expired_at_the_gate_is_not_in_the_auction(market: Market) -> None:
    market.place(ALICE, "sell", 60, None, valid_until=_GATE - 1)
    market.place(BOB, "buy", 60, None)
    closed = _close(market)
    assert closed.volume_wh == 0
    assert [known.closed for known in market.state.orders.values()] == [CloseReason.EXPIRED, CloseReason.GATE_CLOSED]
    assert market.state.intervals[START].stage is IntervalStage.IDLE


def test_gates_are_due_oldest_first(market: Market) -> None:
    for start in (START + 900, START, START + 1800):
        market.place(ALICE, "buy", 100, 200_000, delivery_start=start)
    assert due(market.state, _GATE - 1) == ()
    assert due(market.state, _GATE + 900) == (CloseGate(START), CloseGate(START + 900))
    _close(market)
    assert due(market.state, _GATE + 900) == (CloseGate(START + 900),)


def test_settlement_moves_money_and_energy_and_frees_the_rest(market: Market) -> None:
    bid = market.place(ALICE, "buy", 100, 250_000)
    market.place(BOB, "sell", 40, 200_000)
    market.place(BOB, "sell", 500, 240_000)
    market.place(ALICE, "buy", 7, 300_000)
    idle = market.place(ALICE, "buy", 7, 100_000)
    _close(market)
    market.book(market.settlement(START, over_wh=5))
    alice, bob = market.state.accounts[ALICE], market.state.accounts[BOB]
    cost = 10_000 + 15_000 - 15_000 + 60 * 250 + 7 * 240
    assert market.trades() == [(1, 2, 250_000, 40), (1, 3, 250_000, 60), (4, 3, 240_000, 7)]
    assert (alice.money_micro, alice.reserved_micro, alice.cost_micro) == (10**9 - cost, 0, cost)
    assert (alice.bought_wh, alice.energy_wh) == (107, 0)
    assert (bob.money_micro, bob.revenue_micro, bob.sold_wh, bob.energy_wh) == (10**9 + cost, cost, 107, 10)
    assert _status(market, bid).status == "settled"
    assert _status(market, idle).status == "closed"
    assert market.state.orders[bid].reserved_micro == 0
    assert market.state.intervals[START].stage is IntervalStage.SETTLED
    market.do(ConfirmSettlement(START, "0xabc", 7, 120_000))
    assert market.state.intervals[START].stage is IntervalStage.CONFIRMED


def test_nothing_metered_is_final_without_a_transaction(market: Market) -> None:
    market.place(ALICE, "buy", 100, 250_000)
    market.place(BOB, "sell", 40, 200_000)
    _close(market)
    market.book(IntervalSettled(START, (), (), (), ZERO_HASH))
    assert market.state.intervals[START].stage is IntervalStage.CONFIRMED
    assert market.state.accounts[ALICE].reserved_micro == 0


def test_finished_intervals_are_forgotten(market: Market) -> None:
    digests = []
    for number in range(FINISHED_INTERVALS_KEPT + 3):
        start = START + 900 * number
        digests.append(market.place(ALICE, "buy", 1, 1, delivery_start=start))
        market.at = start - RULES.gate_s
        market.do(CloseGate(start))
    assert len(market.state.intervals) == len(market.state.orders) == FINISHED_INTERVALS_KEPT
    assert order_status(market.state, digests[2]) is None
    assert _status(market, digests[3]).status == "closed"
    assert market.refused(market.order(ALICE, "buy", 1, 1)) == "gate_closed"


def test_credits_count_once_and_for_future_members_too(market: Market) -> None:
    stranger = "0x" + "d" * 40
    market.do(CreditFunds(stranger, 500, "tx:0"))
    market.do(CreditFunds(stranger, -200, "tx:1"))
    assert market.refused(CreditFunds(stranger, 500, "tx:0")) == "duplicate_credit"
    market.admit(stranger, money_micro=1)
    assert market.state.accounts[stranger].money_micro == 301


def test_correction_seen_on_chain_is_booked_once(market: Market) -> None:
    correction = BookCorrection(START, 1, (AccountChange(ALICE, -7, 30), AccountChange(BOB, 7, -10)), "tx:0")
    before = deepcopy(market.state.accounts)
    market.do(correction)
    assert market.refused(correction) == "duplicate_credit"
    gains = [_gained(before[name], market.state.accounts[name]) for name in (ALICE, BOB, CAROL)]
    assert gains == [(-7, 30), (7, -10), (0, 0)]


def _gained(before: Account, after: Account) -> tuple[int, int]:
    return after.money_micro - before.money_micro, after.energy_wh - before.energy_wh


def test_depth_shows_levels_best_first_and_no_more_than_asked(market: Market) -> None:
    for price in (100_000, 120_000, 110_000, 120_000):
        market.place(ALICE, "buy", 10, price)
        market.place(BOB, "sell", 5, 400_000 - price)
    market.place(BOB, "sell", 3, 120_000)
    view = depth(market.state, START, levels=2)
    assert view.bids == (DepthLevel(120_000, 17, 2), DepthLevel(110_000, 10, 1))
    assert view.asks == (DepthLevel(280_000, 10, 2), DepthLevel(290_000, 5, 1))
    assert depth(market.state, START + 900) == Depth((), (), 0, 0)
    assert market.state.intervals[START].last_price_micro_per_kwh == 120_000


def test_the_state_hash_sees_what_differs_and_not_how_it_came(market: Market) -> None:
    other = Market().admit(ALICE, BOB, CAROL)
    assert state_hash(market.state) == state_hash(other.state)
    market.place(ALICE, "buy", 10, 100_000)
    assert state_hash(market.state) != state_hash(other.state)
    other.place(ALICE, "buy", 10, 100_000)
    assert state_hash(market.state) == state_hash(other.state) == state_hash(market.replayed())


def _cancel(account: str) -> CancelOrder:
    return CancelOrder(account, ZERO_HASH, 0)


def _digest(number: int) -> bytes:
    return number.to_bytes(32, "big")
