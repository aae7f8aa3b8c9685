"""What the ledger hands out: plain, frozen records; and its kinds of failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..market.events import CloseReason, Event, Stage
from ..market.problem import Problem
from ..market.proposal import Proposal
from ..protocol.messages import Order, Reading
from ..protocol.units import ENERGY_WH_MAX


class LedgerError(Exception):
    """The ledger cannot go on; the message says what to do. The process should end non-zero."""


class LedgerBusy(Exception):
    """Too many questions wait for an answer; the same one may be asked again later."""


class LedgerDamaged(LedgerError):
    """The stored log contradicts itself: it was cut, changed or damaged."""


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """What an operator chooses about the ledger.

    ``welcome_credit_micro`` is deposited for each new member (0: none; local chains only).
    A settlement waits for readings until ``reading_deadline_s`` after the delivery's end.
    ``metered_max_wh`` is what the contract was deployed with (most production per account and interval), and
    ``fee_account`` the one that its fees go to; without it, corrections that change fees are not proposed.
    """

    welcome_credit_micro: int = 0
    reading_deadline_s: int = 300
    metered_max_wh: int = ENERGY_WH_MAX
    fee_account: str = ""
    grid_node_id: int = 1
    grid_capacity_w: int = 0
    inbox_max: int = 4096
    group_max: int = 128
    subscription_max: int = 4096
    snapshot_every: int = 20_000


class Solver(Protocol):
    """Who finds prices where an auction couples intervals or nodes; what it proposes is checked in integers."""

    async def solve(self, problem: Problem[bytes], limit_s: float) -> Proposal | str:
        """Return a proposal, or in a sentence why there is none, about ``limit_s`` seconds from now at the latest."""


@dataclass(frozen=True, slots=True)
class Settler:
    """Who signs for the settlements; ``sign`` turns a digest into ``r || vs``."""

    account: str
    sign: Callable[[bytes], bytes]


class Committed(NamedTuple):
    """A command is in the log and on the disk."""

    sequence: int
    at: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading is on the disk; ``duplicate`` when it was there before."""

    reading: Reading
    digest: bytes
    signature: bytes
    committed_at: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """One event of the log; ``index`` counts the events of one command from 0."""

    sequence: int
    index: int
    at: int
    event: Event


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order and what became of it; ``status`` as the API words it."""

    order: Order
    digest: bytes
    signature: bytes
    placed_at: int
    filled_wh: int
    remaining_wh: int
    closed: CloseReason | None
    status: str


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """A trade; ``settled_wh`` and ``value_micro`` are ``None`` until the interval is settled."""

    trade_id: int
    at: int
    delivery_start: int
    buy: bytes
    sell: bytes
    buyer: str
    seller: str
    energy_wh: int
    price_micro_per_kwh: int
    stage: Stage
    settled_wh: int | None
    value_micro: int | None
    grid_fee_micro_per_kwh: int
    community_fee_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class IntervalRecord:
    """One delivery interval's history.

    ``price_micro_per_kwh`` is the volume-weighted average of its trades (the last price while it
    is open); ``homes`` have traded; ``stage`` is open, gate_closed, idle, settled or confirmed.
    """

    delivery_start: int
    stage: str
    price_micro_per_kwh: int | None
    volume_wh: int
    trades: int
    settled_wh: int | None
    value_micro: int | None
    homes: int
    transaction: str | None
    block_number: int | None
    gas_used: int | None
    settled_at: int | None
    confirmed_at: int | None


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A line in a member's list of settlement receipts."""

    delivery_start: int
    revision: int
    saved_micro: int
    total_micro: int
    transaction: str | None


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What the contract must say about one settled interval."""

    delivery_start: int
    batch_hash: bytes
    readings_root: bytes
    receipts_root: bytes
    rows: bytes
    traded_wh: int
    value_micro: int
    minted_wh: int
    burned_wh: int
    fees_micro: int
    transaction: str | None


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """Sums over an account's settlement receipts."""

    intervals: int
    consumption_wh: int
    production_wh: int
    saved_micro: int
