"""The arbitrary market once more, with accounts that take their money out: nobody buys with money that leaves."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from coordinator.market.commands import (
    BookCancellation,
    BookRequest,
    BookWithdrawal,
    CreditFunds,
    EndWithdrawal,
    Withdraw,
)
from coordinator.market.withdrawals import DEADLINE_AHEAD_S_MIN
from coordinator.protocol.chain_messages import Withdrawal
from tests.market.support import ALICE, BOB, CAROL, START
from tests.market.test_machine import MarketMachine

_ACCOUNTS = st.sampled_from([ALICE, BOB, CAROL, CAROL])
_SHARES = st.sampled_from([1, 500, 999, 1_000])
WALLET = "0x" + "d" * 40


class LeavingMachine(MarketMachine):
    """Money comes by deposits only, and leaves as the contract lets it: signed, or requested before."""

    @rule(account=_ACCOUNTS, money_micro=st.integers(1, 5_000))
    def credit(self, account: str, money_micro: int) -> None:
        self._ask(CreditFunds(account, money_micro, self._reference()))

    @rule(account=_ACCOUNTS, share=_SHARES, too_much=st.sampled_from([0, 0, 0, 1]))
    def withdraw(self, account: str, share: int, too_much: int) -> None:
        known = self.state.accounts[account]
        money_micro = known.withdrawable_micro * share // 1_000 + too_much
        deadline = self.market.at + DEADLINE_AHEAD_S_MIN
        wanted = Withdrawal(account, WALLET, money_micro, 0, known.withdrawal_nonce, deadline)
        digest = (self.state.withdrawals + 1).to_bytes(32, "big")
        self._ask(Withdraw(wanted, digest, b""))

    @rule(account=_ACCOUNTS, refused=st.booleans())
    def chain_decides(self, account: str, refused: bool) -> None:
        pending = self.state.accounts[account].withdrawal
        if pending is None or not pending.is_open:
            return
        if refused:
            self._ask(EndWithdrawal(account, pending.number, "refused", None))
        else:
            self._ask(BookWithdrawal(account, WALLET, pending.withdrawal.money_micro, self._reference()))

    @rule(account=_ACCOUNTS, money_micro=st.sampled_from([0, 700, 2_500, 2**64 - 1]))
    def request(self, account: str, money_micro: int) -> None:
        self._ask(BookRequest(account, money_micro, self.market.at + 300, self._reference()))

    @rule(account=_ACCOUNTS, share=_SHARES)
    def take_requested(self, account: str, share: int) -> None:
        money_micro = self.state.accounts[account].requested_micro * share // 1_000
        if money_micro:
            self._ask(BookWithdrawal(account, account, money_micro, self._reference()))

    @rule(seconds=st.sampled_from([86_000, 87_000]))
    def wait_a_day(self, seconds: int) -> None:
        self.wait(seconds, punctual=True)

    @rule(account=_ACCOUNTS, start=st.sampled_from([START, START + 900]), once=st.sampled_from([True, False, False]))
    def cancel_interval(self, account: str, start: int, once: bool) -> None:
        if once:
            self._ask(BookCancellation(account, start, self._reference()))

    @invariant()
    def nobody_buys_with_money_that_leaves(self) -> None:
        for account in self.state.accounts.values():
            assert account.withdrawable_micro >= account.requested_micro >= 0
            assert account.available_micro >= 0

    @invariant()
    def requests_are_indexed(self) -> None:
        requesting = {name for name, account in self.state.accounts.items() if account.request is not None}
        assert set(self.state.requests) == requesting

    @invariant()
    def nobody_rests_in_an_interval_that_it_cancelled(self) -> None:
        for account in self.state.accounts.values():
            for digest in account.open_orders:
                assert self.state.orders[digest].order.delivery_start not in account.cancelled

    def _reference(self) -> str:
        return f"tx:{len(self.state.credited)}"


TestLeaving = LeavingMachine.TestCase
TestLeaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
