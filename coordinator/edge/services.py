"""What the door needs from the rest of the house, as ports; the composition root fills them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from ..clock import Clock
from ..market.commands import Command
from ..market.events import Event, Rejected
from ..protocol.messages import Reading
from ..protocol.typed_data import Domain
from .answers import (
    AccountAnswer,
    ContractsAnswer,
    CorrectionAnswer,
    FeedAnswer,
    HealthAnswer,
    IntervalAnswer,
    MarketAnswer,
    MeterAnswer,
    ReceiptAnswer,
    ReceiptLine,
    WithdrawalAnswer,
)
from .auth import Sessions
from .leases import Leases
from .metrics import Metrics
from .signatures import Signatures
from .trading_answers import (
    AuctionAnswer,
    AuctionKind,
    AuctionLine,
    BookAnswer,
    BundleAnswer,
    OrderAnswer,
    PlacedOrder,
    TradeAnswer,
)


class Committed(Protocol):
    """A command that is durable."""

    @property
    def sequence(self) -> int:
        """Its place in the log."""

    @property
    def events(self) -> tuple[Event, ...]:
        """What it did."""


class StoredReading(Protocol):
    """A reading that is durable."""

    @property
    def digest(self) -> bytes:
        """What the meter signed."""

    @property
    def committed_at(self) -> int:
        """When it was stored first."""

    @property
    def duplicate(self) -> bool:
        """Whether it was there before."""


class Published(Protocol):
    """One event of the log."""

    @property
    def sequence(self) -> int:
        """The command's place in the log."""

    @property
    def index(self) -> int:
        """Which of the command's events, from 0."""

    @property
    def at(self) -> int:
        """When the command was sequenced."""

    @property
    def event(self) -> Event:
        """What happened."""


class Subscription(Protocol):
    """Events as they become durable."""

    @property
    def lagged(self) -> bool:
        """Whether the reader missed something."""

    def __enter__(self) -> Self:
        """Start listening."""

    def __exit__(self, *_: object) -> None:
        """Stop listening."""

    async def get(self) -> Published | None:
        """Return the next event, ``None`` when the reader lagged or the ledger closed."""


class LedgerPort(Protocol):
    """The one way to change something."""

    @property
    def sequence(self) -> int:
        """The last command's place in the log."""

    async def submit(self, command: Command) -> Committed | Rejected:
        """Decide the command; durable when this returns."""

    async def submit_many(self, commands: Sequence[Command]) -> Sequence[Committed | Rejected]:
        """Decide the commands in order; durable when this returns."""

    async def store_reading(self, reading: Reading, signature: bytes) -> StoredReading | Rejected:
        """Store a reading whose signature was checked."""

    def subscribe(self) -> Subscription:
        """Listen to what happens."""


@dataclass(frozen=True, slots=True)
class MeterBinding:
    """A registered meter."""

    account: str
    public_key: bytes


class Views(Protocol):
    """The questions that can be asked. Those without ``async`` are answered from memory."""

    def market(self) -> MarketAnswer:
        """Return the market's rules and state."""

    def is_member(self, account: str) -> bool:
        """Tell whether the account takes part."""

    def owner(self, digest: bytes) -> str | None:
        """Return the account of an order that is not yet forgotten."""

    def binding(self, device_id: int) -> MeterBinding | None:
        """Return a registered meter's key and owner."""

    def book(self, delivery_start: int, node: str | None = None) -> BookAnswer | None:
        """Return one interval's depth, at a node or at all together; ``None`` when it has no such book."""

    def open_book(self, delivery_start: int) -> BookAnswer | None:
        """Return an interval's book, ``None`` when it has no orders or its gate is closed."""

    def open_books(self) -> list[BookAnswer]:
        """Return the books of the intervals whose gate is open."""

    async def meter(self, device_id: int) -> MeterAnswer | None:
        """Return a meter with its last reading."""

    async def interval(self, delivery_start: int) -> IntervalAnswer | None:
        """Return one interval."""

    async def intervals(self, since: int | None, limit: int) -> list[IntervalAnswer]:
        """Return the newest intervals from ``since`` on, oldest first."""

    async def auctions(self, limit: int) -> list[AuctionLine]:
        """Return the newest auctions, newest first."""

    async def auction(self, kind: AuctionKind, at: int) -> AuctionAnswer | None:
        """Return an auction with its certificate, ``None`` when there was none or it is no longer kept."""

    async def trades(self, delivery_start: int | None, limit: int) -> list[TradeAnswer]:
        """Return the newest trades, newest first."""

    async def accounts(self) -> list[AccountAnswer]:
        """Return all members."""

    async def account(self, address: str) -> AccountAnswer | None:
        """Return one member."""

    def placed(self, digest: bytes) -> PlacedOrder | None:
        """Return the present status of an order, ``None`` when it is unknown or forgotten."""

    def bundle(self, digest: bytes) -> BundleAnswer | None:
        """Return the present status of a bundle, ``None`` when it is unknown or forgotten."""

    def bundle_owner(self, digest: bytes) -> str | None:
        """Return the account of a bundle that is not yet forgotten."""

    def interval_of(self, digest: bytes) -> int | None:
        """Return the delivery start of an order that is not yet forgotten."""

    def withdrawal(self, account: str, digest: bytes) -> WithdrawalAnswer | None:
        """Return the status of an account's latest signed withdrawal, ``None`` when it is another one."""

    async def order(self, digest: bytes) -> OrderAnswer | None:
        """Return an order with its terms."""

    async def orders(self, address: str, limit: int) -> list[OrderAnswer]:
        """Return an account's newest orders."""

    async def receipts(self, address: str, since: int, limit: int) -> list[ReceiptLine]:
        """Return an account's newest settlement receipts."""

    async def receipt(self, address: str, delivery_start: int) -> ReceiptAnswer | None:
        """Return one settlement receipt."""

    async def corrections(self, address: str) -> list[CorrectionAnswer]:
        """Return an account's newest corrections."""

    async def events(self, since: int, limit: int) -> Sequence[Published]:
        """Return what happened after the sequence ``since``, whole commands only."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the handlers use.

    ``sign`` is the operator's key over a digest; ``interface`` gives the ABI of one of the ``contracts``.
    """

    clock: Clock
    domain: Domain
    market: str
    invite: str = field(repr=False)
    ledger: LedgerPort
    views: Views
    sessions: Sessions
    signatures: Signatures
    metrics: Metrics
    sign: Callable[[bytes], bytes]
    health: Callable[[], HealthAnswer]
    contracts: ContractsAnswer
    interface: Callable[[str], list[dict[str, Any]]]
    feeds: Callable[[], list[FeedAnswer]]
    leases: Leases = field(default_factory=Leases)
