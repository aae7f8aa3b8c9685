"""Money that leaves: signed withdrawals and requests on chain reserve it, and what the chain does frees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.market.commands import (
    BookCancellation,
    BookRequest,
    BookWithdrawal,
    CloseGate,
    Command,
    CreditFunds,
    EndWithdrawal,
    ExpireOrders,
    LapseRequests,
    ReplaceOrder,
    Withdraw,
)
from coordinator.market.decide import due
from coordinator.market.events import CloseReason, IntervalCancelled, OrderClosed, WithdrawalEnded
from coordinator.market.rules import Stages
from coordinator.market.state import CANCELLED_INTERVALS_KEPT, Account, state_hash
from coordinator.market.withdrawals import DEADLINE_AHEAD_S_MIN, REQUEST_OPEN_S
from coordinator.protocol.chain_messages import Withdrawal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

WALLET = "0x" + "d" * 40
WITHDRAWAL = Withdrawal(ALICE, WALLET, 600, 0, 0, NOON + DEADLINE_AHEAD_S_MIN)


def wish(**changes: Any) -> Withdraw:
    """A withdrawal of 600; its digest follows from its content."""
    wanted = replace(WITHDRAWAL, **changes)
    return Withdraw(wanted, repr(wanted).encode()[-32:], bytes(64))


@pytest.fixture
def market() -> Market:
    """Alice holds 1000."""
    return Market().admit(ALICE, money_micro=1_000).admit(BOB)


def alice(market: Market) -> Account:
    return market.state.accounts[ALICE]


def spends(market: Market, money_micro: int) -> bool:
    """Tell whether Alice can buy for exactly this much and no more (1 Wh at 1000 micro per kWh costs 1 micro)."""
    assert market.refused(market.order(ALICE, "buy", money_micro + 1, 1_000)) == "insufficient_funds"
    digest = market.place(ALICE, "buy", money_micro, 1_000)
    market.cancel_all(ALICE)
    return digest in market.state.orders


def left(market: Market, money_micro: int, reference: str = "tx:1", to: str = WALLET) -> BookWithdrawal:
    return BookWithdrawal(ALICE, to, money_micro, reference)


def test_a_signed_withdrawal_is_reserved_at_once_and_ended_by_the_chain(market: Market) -> None:
    market.do(wish())
    assert (alice(market).withdrawing_micro, alice(market).available_micro, alice(market).money_micro) == (
        600,
        400,
        1000,
    )
    assert spends(market, 400)
    market.do(left(market, 600))
    assert (alice(market).withdrawing_micro, alice(market).available_micro, alice(market).money_micro) == (0, 400, 400)
    assert alice(market).withdrawal_nonce == 1
    assert market.refused(left(market, 600)) == "duplicate_credit"
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_what_the_contract_refuses_is_free_again_and_says_why(market: Market) -> None:
    market.do(wish())
    events = market.do(EndWithdrawal(ALICE, 1, "AccountMoneyInsufficient(..)", None))
    assert events == (WithdrawalEnded(ALICE, 1, 0, "AccountMoneyInsufficient(..)"),)
    assert (alice(market).available_micro, alice(market).withdrawal_nonce) == (1000, 0)
    known = alice(market).withdrawal
    assert known is not None
    assert (known.stage, known.reason) == ("refused", "AccountMoneyInsufficient(..)")
    assert market.refused(EndWithdrawal(ALICE, 1, "again", None)) == "nothing_due"
    assert market.refused(wish()) == "duplicate_withdrawal"
    market.do(wish(deadline=NOON + 10_000))
    assert market.refused(EndWithdrawal(ALICE, 1, "the first one", None)) == "nothing_due"
    assert alice(market).withdrawing_micro == 600


def test_the_contract_s_nonce_counts(market: Market) -> None:
    """Somebody else has brought another signature of the member's: the contract says which nonce is next."""
    market.do(wish())
    market.do(EndWithdrawal(ALICE, 1, "WithdrawalNonceInvalid(..)", 3))
    assert market.refused(wish(deadline=NOON + 10_000)) == "wrong_nonce"
    market.do(wish(nonce=3))
    market.do(left(market, 600))
    assert alice(market).withdrawal_nonce == 4


def test_money_that_trades_need_stays(market: Market) -> None:
    market.place(ALICE, "buy", 401, 1_000)
    assert market.refused(wish()) == "insufficient_funds"
    market.cancel_all(ALICE)
    market.place(ALICE, "buy", 400, 1_000)
    market.do(wish())
    assert alice(market).available_micro == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account": CAROL}, "not_a_member"),
        ({"relay_fee_micro": 1}, "relay_fee_not_zero"),
        ({"nonce": 1}, "wrong_nonce"),
        ({"deadline": NOON + DEADLINE_AHEAD_S_MIN - 1}, "expired"),
        ({"money_micro": 1_001}, "insufficient_funds"),
    ],
)
def test_a_withdrawal_that_cannot_be_brought_is_refused(market: Market, changes: dict[str, Any], code: str) -> None:
    assert market.refused(wish(**changes)) == code
    market.do(wish(money_micro=1_000))


def test_one_withdrawal_at_a_time(market: Market) -> None:
    market.do(wish(money_micro=1))
    assert market.refused(wish(money_micro=1)) == "duplicate_withdrawal"
    assert market.refused(wish(money_micro=2, nonce=1)) == "withdrawal_open"
    market.do(left(market, 1))
    market.do(wish(money_micro=2, nonce=1))
    assert market.state.withdrawals == 2


def test_other_money_that_leaves_does_not_end_a_withdrawal(market: Market) -> None:
    market.do(wish())
    market.do(left(market, 300, to=CAROL))
    market.do(left(market, 599, "tx:2"))
    assert (alice(market).withdrawing_micro, alice(market).money_micro) == (600, 101)


@pytest.mark.parametrize("refused", [True, False])
def test_a_withdrawal_that_has_ended_stays_as_it_ended(market: Market, refused: bool) -> None:
    """Requested money may go to the same wallet in the same amount later."""
    market.do(wish(money_micro=300))
    market.do(EndWithdrawal(ALICE, 1, "why", None) if refused else left(market, 300))
    market.do(BookRequest(ALICE, 400, NOON, "tx:2"))
    market.do(left(market, 300, "tx:3"))
    known = alice(market).withdrawal
    assert known is not None
    assert (known.stage, alice(market).requested_micro) == ("refused" if refused else "done", 100)


def test_the_order_of_requests_is_part_of_the_state(market: Market) -> None:
    """They lapse in this order, so it must be the same everywhere."""
    for account in (ALICE, BOB):
        market.do(BookRequest(account, 5, NOON, f"tx:{account}"))
    before = state_hash(market.state)
    market.state.requests = dict(reversed(market.state.requests.items()))
    assert state_hash(market.state) != before


def test_requested_money_buys_nothing(market: Market) -> None:
    market.do(BookRequest(ALICE, 700, NOON + 50, "tx:0"))
    assert alice(market).requested_micro == 700
    assert spends(market, 300)
    assert market.refused(BookRequest(ALICE, 700, NOON + 50, "tx:0")) == "duplicate_credit"
    market.do(BookRequest(ALICE, 200, NOON + 60, "tx:1"))
    assert spends(market, 800)
    market.do(BookRequest(ALICE, 0, NOON + 70, "tx:2"))
    assert spends(market, 1_000)
    assert not market.state.requests
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_a_request_reserves_what_is_held_and_what_comes_later(market: Market) -> None:
    market.place(ALICE, "buy", 100, 1_000)
    market.do(BookRequest(ALICE, 2**64 - 1, NOON, "tx:0"))
    assert (alice(market).requested_micro, alice(market).available_micro) == (900, 0)
    market.do(CreditFunds(ALICE, 50, "tx:1"))
    assert (alice(market).requested_micro, alice(market).available_micro) == (950, 0)
    market.place(ALICE, "sell", 10, 1_000)


def test_requested_money_is_not_reserved_again_in_the_second_in_which_it_comes_free() -> None:
    """An order that expires frees its money for the request; no new order, and no bundle, takes it before."""
    market = Market(replace(RULES, stages=Stages(session_every_s=900))).admit(ALICE, money_micro=1_000)
    market.place(ALICE, "buy", 100, 10_000, valid_until=NOON + 60)
    market.do(BookRequest(ALICE, 900, NOON, "tx:0"))
    assert alice(market).available_micro == 0
    market.at = NOON + 60
    assert market.refused(market.order(ALICE, "buy", 101, 1_000)) == "insufficient_funds"
    assert market.refused(market.bundle(ALICE, "buy", 1_000, {START: 100}, {START: 1_010})) == "insufficient_funds"
    market.do(market.bundle(ALICE, "buy", 1_000, {START: 60, START + 900: 40}, {START: 1_000, START + 900: 1_000}))
    assert (alice(market).reserved_micro, alice(market).requested_micro, alice(market).available_micro) == (100, 900, 0)


def test_a_replacement_keeps_what_its_order_reserved_from_a_request_and_no_more(market: Market) -> None:
    old = market.place(ALICE, "buy", 100, 10_000)
    market.do(BookRequest(ALICE, 1_000, NOON, "tx:0"))
    market.do(CreditFunds(ALICE, 50, "tx:1"))
    assert (alice(market).requested_micro, alice(market).available_micro) == (50, 0)
    more, same = market.order(ALICE, "buy", 100, 10_010), market.order(ALICE, "buy", 50, 20_000)
    assert market.refused(ReplaceOrder(more.order, more.digest, more.signature, old)) == "insufficient_funds"
    market.do(ReplaceOrder(same.order, same.digest, same.signature, old))
    assert (alice(market).reserved_micro, alice(market).requested_micro) == (1_000, 50)


def test_a_withdrawal_spends_the_request(market: Market) -> None:
    market.do(BookRequest(ALICE, 700, NOON, "tx:0"))
    market.do(left(market, 300))
    assert (alice(market).requested_micro, alice(market).available_micro) == (400, 300)
    market.do(left(market, 400, "tx:2"))
    assert (alice(market).request, alice(market).available_micro) == (None, 300)


def test_a_signed_withdrawal_may_take_requested_money_and_leaves_the_request(market: Market) -> None:
    market.do(BookRequest(ALICE, 1_000, NOON, "tx:0"))
    market.do(wish())
    assert (alice(market).withdrawing_micro, alice(market).requested_micro, alice(market).available_micro) == (
        600,
        400,
        0,
    )
    market.do(left(market, 600))
    assert (alice(market).requested_micro, alice(market).available_micro) == (400, 0)


def test_a_request_lapses_a_day_after_it_could_be_used(market: Market) -> None:
    market.do(BookRequest(ALICE, 700, NOON + 50, "tx:0"))
    market.do(BookRequest(BOB, 700, NOON + 51, "tx:1"))
    market.at = NOON + 50 + REQUEST_OPEN_S
    assert due(market.state, market.at) == ()
    assert market.refused(LapseRequests()) == "nothing_due"
    market.at += 1
    (command,) = due(market.state, market.at)
    market.do(command)
    assert (alice(market).requested_micro, market.state.accounts[BOB].requested_micro) == (0, 700)
    assert due(market.state, market.at) == ()
    market.at += 1
    assert due(market.state, market.at) == (LapseRequests(),)


def test_strangers_may_request_too(market: Market) -> None:
    market.do(BookRequest(CAROL, 5, NOON, "tx:0"))
    market.do(BookWithdrawal(CAROL, WALLET, 5, "tx:1"))
    market.do(BookWithdrawal(WALLET, WALLET, 5, "tx:2"))
    assert (market.state.accounts[CAROL].money_micro, market.state.accounts[WALLET].money_micro) == (-5, -5)


def test_an_interval_cancelled_on_chain_takes_no_order_of_its_account(market: Market) -> None:
    bid = market.place(ALICE, "buy", 100, 1_000)
    other = market.place(ALICE, "buy", 100, 1_000, delivery_start=START + 900)
    theirs = market.place(BOB, "buy", 100, 900)
    events = market.do(BookCancellation(ALICE, START, "tx:0"))
    assert events == (OrderClosed(bid, 100, CloseReason.CANCELLED), IntervalCancelled(ALICE, START, "tx:0"))
    assert alice(market).reserved_micro == 100
    assert [d for d in (bid, other, theirs) if market.state.orders[d].closed is None] == [other, theirs]
    assert market.refused(market.order(ALICE, "sell", 1, 1_000)) == "interval_cancelled"
    market.place(BOB, "sell", 1, 1_000)
    market.place(ALICE, "sell", 1, 1_000, delivery_start=START + 900)
    assert market.refused(BookCancellation(ALICE, START, "tx:0")) == "duplicate_credit"
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_an_order_of_a_cancelled_interval_stays_out_of_the_closing_auction(market: Market) -> None:
    market.place(ALICE, "buy", 100, 1_000)
    market.at = market.rules.gate_at(START)
    market.do(BookCancellation(ALICE, START, "tx:0"))
    market.do(CloseGate(START))
    assert market.state.intervals[START].trades == []


def test_trades_of_a_cancelled_interval_stand(market: Market) -> None:
    market.place(ALICE, "buy", 100, 1_000)
    market.place(BOB, "sell", 60, 1_000)
    market.do(BookCancellation(ALICE, START, "tx:0"))
    assert len(market.state.intervals[START].trades) == 1
    assert alice(market).reserved_micro == 60


def test_cancelled_intervals_are_forgotten_in_time(market: Market) -> None:
    for number in range(CANCELLED_INTERVALS_KEPT + 1):
        market.do(BookCancellation(ALICE, START + 900 * number, f"tx:{number}"))
    assert len(alice(market).cancelled) == CANCELLED_INTERVALS_KEPT
    assert START not in alice(market).cancelled
    market.do(BookCancellation(CAROL, START, "tx:stranger"))


def test_the_clock_still_asks_for_everything_else(market: Market) -> None:
    market.place(ALICE, "buy", 1, 1_000, valid_until=NOON + 5)
    market.do(BookRequest(ALICE, 700, NOON - REQUEST_OPEN_S, "tx:0"))
    market.at = START
    asked: tuple[Command, ...] = due(market.state, market.at)
    assert asked == (ExpireOrders(), CloseGate(START), LapseRequests())
