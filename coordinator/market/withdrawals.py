"""Judging money that leaves: a member's signed withdrawal, its own request on chain, and what the chain did.

A withdrawal is reserved when it is accepted and brought on chain by the settler; a request is reserved
until its money is withdrawn, it is replaced or ended, or a day after it could first be used. New orders get
only what neither needs. A signed withdrawal may use requested money: both belong to the same owner.
"""

from __future__ import annotations

from .commands import (
    BookCancellation,
    BookRequest,
    BookWithdrawal,
    EndWithdrawal,
    Withdraw,
)
from .events import (
    CloseReason,
    Event,
    FundsCredited,
    IntervalCancelled,
    MoneyRequested,
    Rejected,
    RequestReduced,
    WithdrawalAccepted,
    WithdrawalEnded,
)
from .leaving import closings
from .rejections import Code, refuse
from .state import MarketState

DEADLINE_AHEAD_S_MIN = 300
"""A withdrawal's deadline is at least so far ahead: it has to be mined, and refusals are tried again."""
REQUEST_OPEN_S = 86_400
"""How long requested money can be taken, as in the contract; then the request lapses."""

type Decision = tuple[Event, ...] | Rejected


def accept_withdrawal(state: MarketState, command: Withdraw, at: int) -> Decision:
    """Reserve a signed withdrawal's money, or say why it cannot be brought on chain."""
    wanted = command.withdrawal
    if wanted.account not in state.members:
        return refuse(Code.NOT_A_MEMBER, "only a member's withdrawal is brought on chain; join the market")
    account = state.accounts[wanted.account]
    if (pending := account.withdrawal) is not None:
        if pending.digest == command.digest:
            return refuse(Code.DUPLICATE_WITHDRAWAL, "this withdrawal is known already; ask for its status")
        if pending.is_open:
            return refuse(Code.WITHDRAWAL_OPEN, "one withdrawal is on its way to the chain; sign the next after it")
    if wanted.relay_fee_micro:
        return refuse(Code.RELAY_FEE_NOT_ZERO, "the coordinator takes no relay_fee_micro; sign for 0")
    if wanted.nonce != account.withdrawal_nonce:
        expected = account.withdrawal_nonce
        return refuse(Code.WRONG_NONCE, f"the account's next withdrawal has the nonce {expected}", str(expected))
    if wanted.deadline < at + DEADLINE_AHEAD_S_MIN:
        least = at + DEADLINE_AHEAD_S_MIN
        return refuse(Code.EXPIRED, f"the deadline must be {least} or later: the chain takes its time", str(least))
    if wanted.money_micro > account.withdrawable_micro:
        return refuse(
            Code.INSUFFICIENT_FUNDS,
            f"{max(account.withdrawable_micro, 0)} is free of orders and trades (1e-6 currency); withdraw less, or"
            " cancel orders",
        )
    return (WithdrawalAccepted(state.withdrawals + 1, wanted, command.digest),)


def end_withdrawal(state: MarketState, command: EndWithdrawal) -> Decision:
    """Release what the contract refuses to let go."""
    account = state.accounts.get(command.account)
    pending = account.withdrawal if account is not None else None
    if account is None or pending is None or not pending.is_open or pending.number != command.number:
        return refuse(Code.NOTHING_DUE, "this withdrawal has ended already")
    nonce = account.withdrawal_nonce if command.next_nonce is None else command.next_nonce
    return (WithdrawalEnded(command.account, command.number, nonce, command.reason),)


def book_withdrawal(state: MarketState, command: BookWithdrawal) -> Decision:
    """Book money that left on chain: it ends the signed withdrawal that it is, else it came from the request."""
    if command.reference in state.credited:
        return refuse(Code.DUPLICATE_CREDIT, "this transfer is booked already", command.reference)
    left: list[Event] = [FundsCredited(command.account, -command.money_micro, command.reference)]
    account = state.accounts.get(command.account)
    if account is None:
        return tuple(left)
    pending, request = account.withdrawal, account.request
    if pending is not None and pending.is_brought_by(command.to, command.money_micro):
        left.append(WithdrawalEnded(command.account, pending.number, pending.withdrawal.nonce + 1, None))
    elif request is not None:
        left.append(RequestReduced(command.account, max(0, request.money_micro - command.money_micro)))
    return tuple(left)


def book_request(state: MarketState, command: BookRequest) -> Decision:
    """Reserve what an account asked for on chain, in place of what it asked before."""
    if command.reference in state.credited:
        return refuse(Code.DUPLICATE_CREDIT, "this request is booked already", command.reference)
    return (MoneyRequested(command.account, command.money_micro, command.available_at, command.reference),)


def lapse_requests(state: MarketState, at: int) -> Decision:
    """End the requests whose time is over."""
    lapsed = lapsed_requests(state, at)
    if not lapsed:
        return refuse(Code.NOTHING_DUE, "no request lapses yet")
    return tuple(RequestReduced(account, 0) for account in lapsed)


def lapsed_requests(state: MarketState, at: int) -> list[str]:
    """Return the accounts whose requested money can be taken no more."""
    found = []
    for name in state.requests:
        request = state.accounts[name].request
        if request is not None and request.available_at + REQUEST_OPEN_S < at:
            found.append(name)
    return found


def book_cancellation(state: MarketState, command: BookCancellation) -> Decision:
    """Take an account out of an interval that it cancelled on chain: its open orders there close.

    What has traded there already stands: the contract refuses it, and the settlement is made without it.
    """
    if command.reference in state.credited:
        return refuse(Code.DUPLICATE_CREDIT, "this cancellation is booked already", command.reference)
    account = state.accounts.get(command.account)
    known_orders = [state.orders[digest] for digest in account.open_orders] if account is not None else []
    leaving = (known for known in known_orders if known.order.delivery_start == command.delivery_start)
    closed = closings(state, leaving, CloseReason.CANCELLED)
    return (*closed, IntervalCancelled(command.account, command.delivery_start, command.reference))
