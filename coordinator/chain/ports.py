"""What the chain's room needs from the others, and what it tells them: ports and plain data.

The application hands in an :class:`Outbox` and :class:`Expectations` and callbacks; this room
imports neither the ledger nor the market. Addresses and transaction hashes are lower-case hex.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .batch import Totals

type EffectState = Literal["pending", "sent", "done", "failed", "superseded"]


@dataclass(frozen=True, slots=True)
class Effect:
    """Something decided that must happen on chain once; ``key`` is its idempotency key."""

    key: str
    kind: str
    payload: Mapping[str, Any]
    nonce: int | None = None
    raw_transaction: bytes | None = None
    transaction: str | None = None
    attempts: int = 0
    state: EffectState = "pending"


class Outbox(Protocol):
    """The effects that the ledger's transactions decided."""

    async def pending(self, limit: int, *, but: str | None = None) -> Sequence[Effect]:
        """Return effects that are pending or sent, in the order they were decided, ``but`` of no such kind."""

    async def signed_since(self, nonce: int) -> Sequence[Effect]:
        """Return every effect with a stored transaction of this nonce or a later one.

        Whatever their state (done and failed ones too), by rising nonce: a chain that lost its
        last blocks gets the same transactions again, but for superseded ones.
        """

    async def mark_sent(self, key: str, nonce: int, raw_transaction: bytes, transaction: str) -> bool:
        """Store the signed transaction durably; called before it leaves.

        ``False``: another effect has taken its place meanwhile, and the transaction must not leave.
        """

    async def mark_done(self, key: str, block_number: int, gas_used: int, transaction: str) -> None:
        """Book that the effect is on chain."""

    async def mark_failed(self, key: str, error: str, *, retry: bool) -> None:
        """Book an error and one attempt more; ``retry`` leaves the effect pending.

        An effect that ``OnFailed`` has superseded (by another in its place) stays superseded.
        """

    async def changed(self) -> None:
        """Return when there is a new effect (also one written before the call but not yet seen)."""


@dataclass(frozen=True, slots=True)
class Mined:
    """Where a transaction ended up."""

    transaction: str
    block_number: int
    gas_used: int


type OnDone = Callable[[Effect, Mined], Awaitable[None]]
"""Called for a mined ``settle_batch``; must complete the effect (in the ledger's transaction).

Called again while the effect is not completed.
"""

type OnFailed = Callable[[Effect, str], Awaitable[None]]
"""Called before ``mark_failed(retry=False)`` with the decoded error; again after a crash between the two."""


@dataclass(frozen=True, slots=True)
class Deposited:
    """Money came into an account. ``reference`` stays the same when a reorganisation moves it."""

    account: str
    money_micro: int
    reference: str
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Money left an account for ``to``."""

    account: str
    money_micro: int
    reference: str
    transaction: str
    block_number: int
    to: str


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """The contract settled one delivery interval."""

    delivery_start: int
    batch_hash: bytes
    readings_root: bytes
    receipts_root: bytes
    totals: Totals
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class WithdrawalRequested:
    """A member wants ``money_micro`` out from ``available_at`` on (0: it changed its mind); nothing has moved yet."""

    account: str
    money_micro: int
    available_at: int
    transaction: str
    block_number: int
    reference: str


@dataclass(frozen=True, slots=True)
class FeesCollected:
    """The fees that batches left in the ledger's pot went to the fee account."""

    account: str
    money_micro: int
    reference: str
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class CorrectedAccount:
    """What a correction adds to one account's columns, and the production and consumption found later."""

    account: str
    energy_wh: int
    money_micro: int
    minted_wh: int
    burned_wh: int


@dataclass(frozen=True, slots=True)
class IntervalCorrected:
    """The contract corrected a settled interval.

    ``rows`` are read from the transaction's call data; ``None`` when they are not there to be read.
    """

    delivery_start: int
    revision: int
    correction_hash: bytes
    readings_root: bytes
    receipts_root: bytes
    minted_wh: int
    burned_wh: int
    reference: str
    transaction: str
    block_number: int
    rows: tuple[CorrectedAccount, ...] | None = None


@dataclass(frozen=True, slots=True)
class IntervalCancelled:
    """An account's orders in an interval can be settled no more."""

    account: str
    delivery_start: int
    transaction: str
    block_number: int
    reference: str


@dataclass(frozen=True, slots=True)
class MandateSet:
    """Another key may sign an account's orders, within limits; see the contract's ``Mandate``."""

    account: str
    delegate: str
    valid_from: int
    valid_until: int
    energy_per_interval_max_wh: int
    buy_limit_max: int
    sell_limit_min: int
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class MandateRevoked:
    """A mandate covers no delivery that starts at ``valid_until`` or later."""

    account: str
    delegate: str
    valid_until: int
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class LoadBalancingTriggered:
    """The grid's operator asks the community to relieve a node; ``request_id`` counts from 1 for each node."""

    node_id: int
    request_id: int
    overload_w: int
    stability: int
    transaction: str
    block_number: int
    reference: str


type MoneyMoved = Deposited | Withdrawn | FeesCollected
"""What changes one account's money outside of the batches."""

type ChainEvent = (
    MoneyMoved
    | BatchSettled
    | IntervalCorrected
    | WithdrawalRequested
    | IntervalCancelled
    | MandateSet
    | MandateRevoked
    | LoadBalancingTriggered
)

type OnEvent = Callable[[ChainEvent], Awaitable[None]]
"""Called in chain order, at least once per event (``reference`` makes it idempotent).

A deposit must be booked in the ledger when the call returns: the observer compares after it. So must
everything else that moves money or energy, but for the batches.
"""


@dataclass(frozen=True, slots=True)
class ExpectedBatch:
    """What the ledger decided for one delivery interval; ``rows`` is the packed batch."""

    delivery_start: int
    readings_root: bytes
    receipts_root: bytes
    rows: bytes


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's two columns."""

    money_micro: int
    energy_wh: int

    def plus(self, money_micro: int, energy_wh: int) -> Balance:
        """Return the balance after a change."""
        return Balance(self.money_micro + money_micro, self.energy_wh + energy_wh)


@dataclass(frozen=True, slots=True)
class Standing:
    """The ledger's accounts.

    ``unconfirmed`` counts the batches that the ledger decided but does not know to be on chain,
    ``confirmed`` those that it knows to be there, over the ledger's whole life. ``in_flight`` are
    the accounts of the unconfirmed ones.
    """

    balances: Mapping[str, Balance]
    unconfirmed: int
    confirmed: int
    in_flight: frozenset[str] = frozenset()


class Expectations(Protocol):
    """What the ledger says should be on chain."""

    async def batch(self, delivery_start: int) -> ExpectedBatch | None:
        """Return the batch that the ledger decided, None when it decided none."""

    async def correction(self, delivery_start: int, revision: int) -> Sequence[CorrectedAccount] | None:
        """Return the rows of a correction that its losers agreed to, by rising account; None when there is none."""

    async def standing(self) -> Standing:
        """Return all accounts' columns at one moment."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Chain and ledger agree up to this block; ``whole`` says the ledger's columns were compared."""

    block_number: int
    accounts: int
    batches: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Chain and ledger disagree: trading must stop. ``code`` is stable, ``text`` is a sentence."""

    code: str
    text: str
    block_number: int
    account: str | None = None
    delivery_start: int | None = None


type Report = Agreement | Mismatch

type OnReport = Callable[[Report], Awaitable[None]]
"""Called when a check found agreement on something new, and once per new mismatch."""
