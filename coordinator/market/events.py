"""What has happened. Events are in the past tense, frozen, and enough to rebuild the state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..protocol.bundles import Bundle
from ..protocol.chain_messages import Withdrawal
from ..protocol.messages import ZERO_HASH, Order
from ..protocol.order_terms import Signal
from .commands import AccountChange, MeteredEnergy
from .proposal import AcceptedBundle, NodePrice


class Stage(StrEnum):
    """Where a trade was made."""

    CONTINUOUS = "continuous"
    CLOSING_AUCTION = "closing_auction"
    SESSION = "session"


class CloseReason(StrEnum):
    """Why an order left the book."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    GATE_CLOSED = "gate_closed"
    SELF_TRADE = "self_trade"
    IMMEDIATE = "immediate_remainder"
    HALTED = "halted"
    REPLACED = "replaced"
    SESSION_REMAINDER = "session_remainder"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A command that changed nothing: a stable code and a sentence that says what to do."""

    code: str
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MemberAdmitted:
    """An account takes part."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class MeterRegistered:
    """A meter's readings count for an account."""

    device_id: int
    account: str
    public_key: bytes
    import_limit_w: int
    export_limit_w: int


@dataclass(frozen=True, slots=True)
class MeterSuspended:
    """A meter's readings no longer count."""

    device_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """An order was accepted; trades and a closing follow as events of the same command.

    With ``place_of`` it takes the place in the queue of the order that it replaces, whose closing follows.
    """

    order: Order
    digest: bytes
    signature: bytes
    place_of: bytes = ZERO_HASH


@dataclass(frozen=True, slots=True)
class BundlesPlaced:
    """Bundles were accepted; their legs' ``OrderPlaced`` follow. They trade in session auctions only."""

    bundles: tuple[Bundle, ...]


@dataclass(frozen=True, slots=True)
class OrderTriggered:
    """A conditional order's signal met its threshold at this value; the order trades from now on."""

    digest: bytes
    value: int


@dataclass(frozen=True, slots=True)
class SignalObserved:
    """The market was told a value of the grid, or of a forecast for one interval (else ``delivery_start`` is 0)."""

    signal: Signal
    delivery_start: int
    value: int
    issued_at: int = 0


@dataclass(frozen=True, slots=True)
class Traded:
    """Two orders trade; ``trade_id`` counts from 1 over the market's life.

    The seller receives the price, the buyer pays the price and both fees.
    """

    trade_id: int
    delivery_start: int
    buy: bytes
    sell: bytes
    energy_wh: int
    price_micro_per_kwh: int
    stage: Stage
    grid_fee_micro_per_kwh: int = 0
    community_fee_micro_per_kwh: int = 0


@dataclass(frozen=True, slots=True)
class OrderClosed:
    """An order left the book with this much unfilled."""

    digest: bytes
    remaining_wh: int
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class GateClosed:
    """Trading for the interval is over; the closing auction's price and volume.

    ``price_micro_per_kwh`` is ``None`` when nothing crossed, or when its nodes have several: then ``nodes`` has
    them. ``rule`` names rule and version, ``outcome`` says how it was cleared, with a cause after a colon.
    ``flows_wh`` is what the auction sends over each line, from source to target.
    """

    delivery_start: int
    price_micro_per_kwh: int | None
    price_range: tuple[int, int] | None
    volume_wh: int
    rule: str
    nodes: tuple[NodePrice, ...] = ()
    flows_wh: tuple[int, ...] = ()
    outcome: str = "cleared"


@dataclass(frozen=True, slots=True)
class ClearedInterval:
    """One interval of a session auction: a price for each node that has one, what traded, what the lines carry."""

    delivery_start: int
    nodes: tuple[NodePrice, ...]
    volume_wh: int
    flows_wh: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionCleared:
    """A session auction over all open intervals came to this; trades and closings follow.

    ``accepted`` and ``paradoxical`` are bundles' hashes: accepted ones, and those that the prices would have
    paid and the auction rejected all the same. ``bound_micro`` is what the solver proved that no choice
    of bundles can exceed (``None``: nothing was proved), ``welfare_micro`` what this choice is worth.
    """

    session_at: int
    rule: str
    outcome: str
    intervals: tuple[ClearedInterval, ...]
    welfare_micro: int
    bound_micro: int | None
    accepted: tuple[AcceptedBundle, ...]
    paradoxical: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FundsCredited:
    """Money came to (or, negative, left) an account on chain."""

    account: str
    money_micro: int
    reference: str


@dataclass(frozen=True, slots=True)
class MoneyRequested:
    """A member asked the contract for its money and can take it from ``available_at`` on; 0 ends the request."""

    account: str
    money_micro: int
    available_at: int
    reference: str


@dataclass(frozen=True, slots=True)
class RequestReduced:
    """This much of what a member requested can still be taken: the rest was taken, or its time is over."""

    account: str
    money_micro: int


@dataclass(frozen=True, slots=True)
class WithdrawalAccepted:
    """A signed withdrawal's money is reserved until the chain has decided; ``number`` counts from 1."""

    number: int
    withdrawal: Withdrawal
    digest: bytes


@dataclass(frozen=True, slots=True)
class WithdrawalEnded:
    """A signed withdrawal is on chain, or (with a ``reason``) the contract refused it."""

    account: str
    number: int
    next_nonce: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class IntervalCancelled:
    """An account used up an interval on chain: none of its orders there can be settled."""

    account: str
    delivery_start: int
    reference: str


@dataclass(frozen=True, slots=True)
class IntervalCorrected:
    """A settled interval was corrected on chain: accounts gained or lost money and energy."""

    delivery_start: int
    revision: int
    changes: tuple[AccountChange, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class BalancingRequested:
    """The grid's operator asks to relieve a node; ``load_w`` was last reported for it (``None``: nothing was)."""

    node_id: int
    request_id: int
    overload_w: int
    stability: int
    load_w: int | None
    reference: str


@dataclass(frozen=True, slots=True)
class BalancingAnswered:
    """A request is answered with what the node's load has fallen by since, as the ``reason`` says."""

    node_id: int
    request_id: int
    relieved_w: int
    reason: str


@dataclass(frozen=True, slots=True)
class BalancingForgotten:
    """A request will never be answered, for this ``reason``."""

    node_id: int
    request_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class SettledTrade:
    """What one trade became after metering; the buyer pays ``value_micro`` and the fees.

    The seller owes ``shortfall_micro`` for ``short_wh`` that it did not deliver, the buyer ``under_use_micro`` for
    ``unused_wh`` that it did not take. A ``void`` trade is of an excluded account: it settles nothing.
    """

    trade_id: int
    buy: bytes
    sell: bytes
    energy_wh: int
    price_micro_per_kwh: int
    settled_wh: int
    value_micro: int
    grid_fee_micro: int = 0
    community_fee_micro: int = 0
    short_wh: int = 0
    unused_wh: int = 0
    shortfall_micro: int = 0
    under_use_micro: int = 0
    void: bool = False


@dataclass(frozen=True, slots=True)
class SettlementRow:
    """One order's row in the batch that the contract checks.

    ``value_micro`` is what a buyer pays or a seller receives, with fees and compensation. ``short_wh``
    was traded but not executed, and the account answers for it. ``metered_wh`` is minted for a
    seller (verified production, never less than ``executed_wh``) and burned for a buyer.
    """

    account: str
    order: bytes
    executed_wh: int
    short_wh: int
    metered_wh: int
    value_micro: int
    trades: int


@dataclass(frozen=True, slots=True)
class IntervalSettled:
    """The interval's trades were settled; with no rows nothing goes to the chain."""

    delivery_start: int
    energies: tuple[MeteredEnergy, ...]
    trades: tuple[SettledTrade, ...]
    rows: tuple[SettlementRow, ...]
    readings_root: bytes

    @property
    def revision(self) -> int:
        """The first settlement has the number 0."""
        return 0

    @property
    def excluded(self) -> tuple[str, ...]:
        """Nobody's trades are void."""
        return ()


@dataclass(frozen=True, slots=True)
class IntervalResettled:
    """The interval was settled again, in place of the settlement before; ``revision`` counts from 1.

    All trades of the ``excluded`` accounts are void: they settle nothing. Without ``late_readings`` the metered
    energy is that of the settlement before.
    """

    delivery_start: int
    revision: int
    excluded: tuple[str, ...]
    energies: tuple[MeteredEnergy, ...]
    trades: tuple[SettledTrade, ...]
    rows: tuple[SettlementRow, ...]
    readings_root: bytes
    late_readings: bool = False


@dataclass(frozen=True, slots=True)
class CorrectionProposed:
    """A settled interval whose batch is on chain should have been settled so; nothing has changed yet.

    ``revision`` goes on from the settlement's. ``changes`` are what it adds to each account's columns; who loses
    has to sign. ``unminted`` are the accounts that the batch had no row of: nothing can be minted for them now.
    """

    delivery_start: int
    revision: int
    excluded: tuple[str, ...]
    energies: tuple[MeteredEnergy, ...]
    trades: tuple[SettledTrade, ...]
    rows: tuple[SettlementRow, ...]
    readings_root: bytes
    receipts_root: bytes
    changes: tuple[AccountChange, ...]
    unminted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CorrectionSigned:
    """An account that a proposed correction takes something from has agreed."""

    delivery_start: int
    revision: int
    account: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """One account's row of a correction as the contract takes it; ``signature`` is empty for who only gains."""

    account: str
    money_micro: int
    energy_wh: int
    signature: bytes = b""

    @property
    def minted_wh(self) -> int:
        """Production that was found later."""
        return max(0, self.energy_wh)

    @property
    def burned_wh(self) -> int:
        """Energy that was minted and has not been produced."""
        return max(0, -self.energy_wh)


@dataclass(frozen=True, slots=True)
class CorrectionAgreed:
    """All who lose have signed: the correction goes to the chain."""

    delivery_start: int
    revision: int
    rows: tuple[CorrectionRow, ...]
    readings_root: bytes
    receipts_root: bytes


@dataclass(frozen=True, slots=True)
class CorrectionEnded:
    """A proposed correction will never be, for this ``reason``."""

    delivery_start: int
    revision: int
    reason: str


type Settled = IntervalSettled | IntervalResettled | CorrectionProposed


@dataclass(frozen=True, slots=True)
class SettlementConfirmed:
    """The batch is on chain."""

    delivery_start: int
    transaction: str
    block_number: int
    gas_used: int


@dataclass(frozen=True, slots=True)
class TradingHalted:
    """No orders are taken."""

    reason: str


@dataclass(frozen=True, slots=True)
class TradingResumed:
    """Orders are taken again."""

    reason: str


type Event = (
    MemberAdmitted
    | MeterRegistered
    | MeterSuspended
    | OrderPlaced
    | BundlesPlaced
    | OrderTriggered
    | SignalObserved
    | SessionCleared
    | Traded
    | OrderClosed
    | GateClosed
    | FundsCredited
    | MoneyRequested
    | RequestReduced
    | WithdrawalAccepted
    | WithdrawalEnded
    | IntervalCancelled
    | IntervalCorrected
    | BalancingRequested
    | BalancingAnswered
    | BalancingForgotten
    | IntervalSettled
    | IntervalResettled
    | CorrectionProposed
    | CorrectionSigned
    | CorrectionAgreed
    | CorrectionEnded
    | SettlementConfirmed
    | TradingHalted
    | TradingResumed
)
