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

from ..protocol.bundles import Bundle
from ..protocol.chain_messages import Withdrawal
from ..protocol.messages import ZERO_HASH, Order, Side
from ..protocol.order_terms import Condition, Signal
from .book import Book
from .events import (
    BalancingRequested,
    ClearedInterval,
    CloseReason,
    CorrectionProposed,
    GateClosed,
    MeterRegistered,
    Settled,
    SettlementConfirmed,
    Traded,
)
from .rules import MarketRules
from .triggers import Triggers

FINISHED_INTERVALS_KEPT = 16
CHANGEABLE_INTERVALS_KEPT = 96
"""As long as late readings may still change their settlement: the contract's window."""
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

    ``reserved_micro`` covers what open orders and trades can cost at most, until their settlement is final.
    ``withdrawal_nonce`` is the next signed withdrawal's, as far as the chain has told; ``cancelled`` are
    delivery starts; ``dormant_orders`` counts those that wait for their condition.
    """

    money_micro: int = 0
    reserved_micro: int = 0
    energy_wh: int = 0
    bought_wh: int = 0
    sold_wh: int = 0
    cost_micro: int = 0
    revenue_micro: int = 0
    open_orders: dict[bytes, None] = field(default_factory=dict)
    dormant_orders: int = 0
    open_bundles: dict[bytes, None] = field(default_factory=dict)
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
        return self._requested_of(self.withdrawable_micro)

    @property
    def available_micro(self) -> int:
        """What new orders may reserve."""
        return self.available_after(0)

    def available_after(self, freed_micro: int) -> int:
        """What new orders may reserve once this much more is free: what was requested comes before them."""
        free_micro = self.withdrawable_micro + freed_micro
        return free_micro - self._requested_of(free_micro)

    def _requested_of(self, free_micro: int) -> int:
        return min(self.request.money_micro, max(0, free_micro)) if self.request is not None else 0


@dataclass(slots=True)
class KnownOrder:
    """An order, open or closed; it stays known until its interval is pruned.

    ``priority`` ranks it in time: by its arrival, for a conditional order by when it fired, for one that took
    another's place by that one's. ``bound_micro`` is what its trades can cost its account at most. ``fired`` is
    the value that met its condition.
    """

    order: Order
    digest: bytes
    signature: bytes
    sequence: int
    received_at: int
    remaining_wh: int
    reserved_micro: int
    priority: tuple[int, int]
    bound_micro: int = 0
    trades: list[Traded] = field(default_factory=list)
    fired: int | None = None
    closed: CloseReason | None = None

    @property
    def filled_wh(self) -> int:
        """The energy that has traded."""
        return self.order.energy_wh - self.remaining_wh

    @property
    def is_buy(self) -> bool:
        """Whether the order takes energy."""
        return self.order.side is Side.BUY

    @property
    def is_dormant(self) -> bool:
        """Whether the order is open and its condition was never met."""
        return self.fired is None and self.order.condition is not None and self.closed is None

    @property
    def is_leg(self) -> bool:
        """Whether the order is a bundle's leg."""
        return self.order.bundle != ZERO_HASH

    @property
    def rests(self) -> bool:
        """Whether the order is open and in the book; legs and preferences wait for auctions outside of it."""
        is_single = self.order.preferences is None and not self.is_leg
        return is_single and self.closed is None and not self.is_dormant


@dataclass(slots=True)
class KnownBundle:
    """A bundle, open or closed; ``legs`` are its orders. It stays known as long as one of them.

    ``share`` is what a session auction accepted of it: numerator and denominator.
    """

    bundle: Bundle
    digest: bytes
    received_at: int
    legs: list[bytes] = field(default_factory=list)
    share: tuple[int, int] | None = None
    closed: CloseReason | None = None


def _empty_books() -> dict[str, Book[bytes]]:
    return {"": Book()}


@dataclass(slots=True)
class OpenCorrection:
    """The latest correction proposed for an interval: signed by some, agreed by all who lose, or over.

    ``stage`` is proposed, agreed (on its way to the chain), then booked or ended.
    """

    proposed: CorrectionProposed
    signatures: dict[str, bytes] = field(default_factory=dict)
    stage: Literal["proposed", "agreed", "booked", "ended"] = "proposed"

    @property
    def is_open(self) -> bool:
        """Whether it may still come onto the chain."""
        return self.stage in ("proposed", "agreed")


@dataclass(slots=True)
class Interval:
    """One delivery interval; it exists from its first order on, which came at ``opened_at``.

    An order holds one of the interval's ``places`` until it closes without a trade; only such orders can come into
    the interval's batch. ``orders_by_account`` counts all that were placed. ``books`` are by node; ``held`` are the
    orders that wait for an auction outside of them, by account. ``sent_wh`` is what auctions have sent over
    each line so far, from source to target; ``session`` is the latest session's part.
    """

    delivery_start: int
    opened_at: int = 0
    stage: IntervalStage = IntervalStage.OPEN
    books: dict[str, Book[bytes]] = field(default_factory=_empty_books)
    held: dict[str, dict[bytes, None]] = field(default_factory=dict)
    orders: list[bytes] = field(default_factory=list)
    orders_by_account: dict[str, int] = field(default_factory=dict)
    places: int = 0
    places_by_account: dict[str, int] = field(default_factory=dict)
    trades: list[Traded] = field(default_factory=list)
    sent_wh: tuple[int, ...] = ()
    session: ClearedInterval | None = None
    closing: GateClosed | None = None
    settlement: Settled | None = None
    confirmation: SettlementConfirmed | None = None
    correction: OpenCorrection | None = None

    @property
    def may_change(self) -> bool:
        """Whether late readings may still change the settlement, or a correction of it is under way."""
        estimated = self.settlement is not None and any(energy.estimated for energy in self.settlement.energies)
        return estimated or (self.correction is not None and self.correction.is_open)

    @property
    def book(self) -> Book[bytes]:
        """The book of the node ``""``: the only one where the network has no lines."""
        return self.books[""]

    def book_of(self, node: str) -> Book[bytes]:
        """Return a node's book; where nobody has ordered yet, an empty one that is not kept."""
        book = self.books.get(node)
        return Book() if book is None else book

    def hold(self, account: str, digest: bytes) -> None:
        """Let an order wait for an auction."""
        self.held.setdefault(account, {})[digest] = None

    def let_go(self, account: str, digest: bytes) -> None:
        """Let an order wait no more."""
        waiting = self.held[account]
        del waiting[digest]
        if not waiting:
            del self.held[account]

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
    ``grid_load_w`` is the load that was decided to be reported last. ``triggers`` hold the dormant orders by the
    node of their account, ``signals`` what the market was told (by delivery start, 0 for the grid's), ``session_at``
    is when the latest session was due, and ``orders_fired`` counts.
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
    bundles: dict[bytes, KnownBundle] = field(default_factory=dict)
    signals: dict[tuple[Signal, int], int] = field(default_factory=dict)
    signals_issued_at: dict[tuple[Signal, int], int] = field(default_factory=dict)
    triggers: dict[str, Triggers[bytes]] = field(default_factory=dict)
    session_at: int = 0
    orders_fired: int = 0


def awaited_start(order: Order, condition: Condition) -> int:
    """Return the delivery start whose signal a condition waits for, 0 for the grid's."""
    return 0 if condition.signal.is_of_the_grid else condition.delivery_start or order.delivery_start


def state_hash(state: MarketState) -> bytes:
    """Return SHA-256 of a canonical encoding: equal states, equal hashes, whatever their past.

    Derived parts count by their content, not their layout (the books' heaps), or not at all: the expiry heap, the
    dormant orders' heaps and the index of waiting orders follow from the orders.
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
        "bundles": {digest.hex(): repr(bundle) for digest, bundle in state.bundles.items()},
        "signals": sorted((signal.value, start, value) for (signal, start), value in state.signals.items()),
        "signals_issued_at": sorted((s.value, start, at) for (s, start), at in state.signals_issued_at.items()),
        "session_at": state.session_at,
        "counts": [state.orders_placed, state.orders_fired, state.trades_made, state.withdrawals],
        "requests": list(state.requests),
        "credited": list(state.credited),
        "balancing": [repr(request) for request in state.balancing.values()],
        "balancing_seen": sorted(state.balancing_seen.items()),
        "grid_load_w": state.grid_load_w,
    }


def _interval(interval: Interval) -> list[object]:
    return [
        interval.delivery_start,
        interval.opened_at,
        interval.stage.value,
        [[node, *(book.content(side) for side in Side)] for node, book in sorted(interval.books.items())],
        [digest.hex() for digest in interval.orders],
        interval.orders_by_account,
        interval.places,
        interval.places_by_account,
        repr(interval.trades),
        interval.sent_wh,
        repr(interval.session),
        repr(interval.closing),
        repr(interval.settlement),
        repr(interval.confirmation),
        repr(interval.correction),
    ]
