"""The state of one market: plain data that only ``apply`` changes.

Everything in it follows from the events. It is bounded: orders are limited per account and
interval, and finished intervals leave it (their history lives in the ledger's projections).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from ..protocol.chain_messages import Withdrawal
from ..protocol.messages import Order, Side
from .book import Book
from .events import (
    BalancingRequested,
    CloseReason,
    GateClosed,
    MeterRegistered,
    Settled,
    SettlementConfirmed,
    Traded,
)
from .rules import MarketRules

FINISHED_INTERVALS_KEPT = 16
CANCELLED_INTERVALS_KEPT = 96
"""As many as an account's window in the contract has."""


class IntervalStage(StrEnum):
    """Where a delivery interval is: open, gate_closed, then idle or settled and confirmed."""

    OPEN = "open"
    GATE_CLOSED = "gate_closed"
    IDLE = "idle"
    SETTLED = "settled"
    CONFIRMED = "confirmed"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to the interval."""
        return self in (IntervalStage.IDLE, IntervalStage.CONFIRMED)


@dataclass(slots=True)
class Member:
    """Who takes part."""

    name: str


@dataclass(slots=True)
class Meter:
    """A meter whose readings count for an account; ``suspended`` holds the reason."""

    device_id: int
    account: str
    public_key: bytes
    import_limit_w: int
    export_limit_w: int
    suspended: str | None = None

    @property
    def registration(self) -> MeterRegistered:
        """What was registered, for telling a repetition from a contradiction."""
        return MeterRegistered(
            self.device_id,
            self.account,
            self.public_key,
            self.import_limit_w,
            self.export_limit_w,
        )


@dataclass(frozen=True, slots=True)
class MoneyRequest:
    """Money that a member asked the contract for and has not taken."""

    money_micro: int
    available_at: int


@dataclass(slots=True)
class SignedWithdrawal:
    """An account's latest signed withdrawal; ``stage`` is open, then done or refused with a ``reason``."""

    number: int
    withdrawal: Withdrawal
    digest: bytes
    stage: Literal["open", "done", "refused"] = "open"
    reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the chain has not decided yet."""
        return self.stage == "open"

    def is_brought_by(self, to: str, money_micro: int) -> bool:
        """Tell whether this is the money that left, as far as a transfer shows it."""
        return self.is_open and (self.withdrawal.to, self.withdrawal.money_micro) == (to, money_micro)


@dataclass(slots=True)
class Account:
    """Money and energy of one account, as the contract's columns, and its totals.

    ``reserved_micro`` covers open buys at their limits and filled ones at their prices. ``withdrawal_nonce``
    is the next signed withdrawal's, as far as the chain has told; ``cancelled`` are delivery starts.
    """

    money_micro: int = 0
    reserved_micro: int = 0
    energy_wh: int = 0
    bought_wh: int = 0
    sold_wh: int = 0
    cost_micro: int = 0
    revenue_micro: int = 0
    open_orders: dict[bytes, None] = field(default_factory=dict)
    meters: list[int] = field(default_factory=list)
    request: MoneyRequest | None = None
    withdrawal: SignedWithdrawal | None = None
    withdrawal_nonce: int = 0
    cancelled: dict[int, None] = field(default_factory=dict)

    @property
    def withdrawing_micro(self) -> int:
        """What a signed withdrawal takes that the chain has not decided yet."""
        withdrawal = self.withdrawal
        return withdrawal.withdrawal.money_micro if withdrawal is not None and withdrawal.is_open else 0

    @property
    def withdrawable_micro(self) -> int:
        """What orders and trades do not need, so that a signed withdrawal may take it; requested money too."""
        return self.money_micro - self.reserved_micro - self.withdrawing_micro

    @property
    def requested_micro(self) -> int:
        """What the member's own request on chain reserves: what it asked for, as far as it is held and free."""
        return min(self.request.money_micro, max(0, self.withdrawable_micro)) if self.request is not None else 0

    @property
    def available_micro(self) -> int:
        """What new orders may reserve."""
        return self.withdrawable_micro - self.requested_micro


@dataclass(slots=True)
class KnownOrder:
    """An order, open or closed; it stays known until its interval is pruned."""

    order: Order
    digest: bytes
    signature: bytes
    sequence: int
    received_at: int
    remaining_wh: int
    reserved_micro: int
    value_micro: int = 0
    trades: list[Traded] = field(default_factory=list)
    closed: CloseReason | None = None

    @property
    def filled_wh(self) -> int:
        """The energy that has traded."""
        return self.order.energy_wh - self.remaining_wh

    @property
    def is_buy(self) -> bool:
        """Whether the order takes energy."""
        return self.order.side is Side.BUY


@dataclass(slots=True)
class Interval:
    """One delivery interval; it exists from its first order on.

    An order holds one of the interval's ``places`` until it closes without a trade; only such
    orders can come into the interval's batch. ``orders_by_account`` counts all that were placed.
    """

    delivery_start: int
    stage: IntervalStage = IntervalStage.OPEN
    book: Book[bytes] = field(default_factory=Book)
    orders: list[bytes] = field(default_factory=list)
    orders_by_account: dict[str, int] = field(default_factory=dict)
    places: int = 0
    places_by_account: dict[str, int] = field(default_factory=dict)
    trades: list[Traded] = field(default_factory=list)
    closing: GateClosed | None = None
    settlement: Settled | None = None
    confirmation: SettlementConfirmed | None = None

    @property
    def last_price_micro_per_kwh(self) -> int | None:
        """The price of the latest trade."""
        return self.trades[-1].price_micro_per_kwh if self.trades else None

    def take_place(self, account: str) -> None:
        """Give an account's new order a place."""
        self.places += 1
        self.places_by_account[account] = self.places_by_account.get(account, 0) + 1

    def free_place(self, account: str) -> None:
        """Take back the place of an order that has closed without a trade."""
        self.places -= 1
        self.places_by_account[account] -= 1
        if not self.places_by_account[account]:
            del self.places_by_account[account]


@dataclass(slots=True)
class MarketState:
    """All that ``decide`` may look at.

    ``requests`` are the accounts with one. ``credited`` never forgets: after a deep rollback of the chain the
    observer tells old deposits again, and a forgotten one would be money out of nothing. ``balancing`` are the
    grid's open requests by node and number, oldest first, ``balancing_seen`` each node's latest number, and
    ``grid_load_w`` is the load that was decided to be reported last.
    """

    rules: MarketRules
    halted: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    meters: dict[int, Meter] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    intervals: dict[int, Interval] = field(default_factory=dict)
    orders: dict[bytes, KnownOrder] = field(default_factory=dict)
    orders_placed: int = 0
    trades_made: int = 0
    withdrawals: int = 0
    requests: dict[str, None] = field(default_factory=dict)
    credited: dict[str, None] = field(default_factory=dict)
    balancing: dict[tuple[int, int], BalancingRequested] = field(default_factory=dict)
    balancing_seen: dict[int, int] = field(default_factory=dict)
    grid_load_w: int | None = None
    expiries: list[tuple[int, int, bytes]] = field(default_factory=list)


def state_hash(state: MarketState) -> bytes:
    """Return SHA-256 of a canonical encoding: equal states, equal hashes, whatever their past.

    Derived parts (the expiry heap, the books' heaps) count by their content, not their layout.
    """
    text = json.dumps(_encoded(state), separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _encoded(state: MarketState) -> dict[str, object]:
    return {
        "rules": repr(state.rules),
        "halted": state.halted,
        "members": {account: member.name for account, member in state.members.items()},
        "meters": [repr(state.meters[device]) for device in sorted(state.meters)],
        "accounts": {name: repr(account) for name, account in state.accounts.items()},
        "intervals": [_interval(state.intervals[start]) for start in sorted(state.intervals)],
        "orders": {digest.hex(): repr(order) for digest, order in state.orders.items()},
        "counts": [state.orders_placed, state.trades_made, state.withdrawals],
        "requests": list(state.requests),
        "credited": list(state.credited),
        "balancing": [repr(request) for request in state.balancing.values()],
        "balancing_seen": sorted(state.balancing_seen.items()),
        "grid_load_w": state.grid_load_w,
    }


def _interval(interval: Interval) -> list[object]:
    book = interval.book
    return [
        interval.delivery_start,
        interval.stage.value,
        [book.content(side) for side in Side],
        [digest.hex() for digest in interval.orders],
        interval.orders_by_account,
        interval.places,
        interval.places_by_account,
        repr(interval.trades),
        repr(interval.closing),
        repr(interval.settlement),
        repr(interval.confirmation),
    ]
