"""What the market can be asked to do. Commands are imperative, frozen, and data only.

``at`` is never part of a command: the writer hands it to ``decide`` when it sequences the command.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.bundles import Bundle
from ..protocol.chain_messages import Correction, Withdrawal
from ..protocol.messages import Order
from ..protocol.order_terms import Signal
from .proposal import Proposal


@dataclass(frozen=True, slots=True)
class AdmitMember:
    """Let an account take part."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class RegisterMeter:
    """Bind a meter's key to a member (both signatures were checked at the edge)."""

    device_id: int
    account: str
    public_key: bytes
    import_limit_w: int
    export_limit_w: int
    meter_signature: bytes
    account_signature: bytes


@dataclass(frozen=True, slots=True)
class SuspendMeter:
    """Stop taking a meter's readings (equivocation, tampering)."""

    device_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """Place an order; ``signature`` is 64 bytes ``r || vs`` (EIP-2098), checked at the edge."""

    order: Order
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """Place an order instead of an open one (``replaces``), whose account has signed its cancellation too."""

    order: Order
    digest: bytes
    signature: bytes
    replaces: bytes


@dataclass(frozen=True, slots=True)
class SignedLeg:
    """A bundle's leg: an order with its digest and signature, as in ``PlaceOrder``."""

    order: Order
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class PlaceBundles:
    """Place bundles together, all or none; ``legs`` holds the legs of each, in the order of its own ``legs``."""

    bundles: tuple[Bundle, ...]
    legs: tuple[SignedLeg, ...]


@dataclass(frozen=True, slots=True)
class FireOrder:
    """Let a conditional order trade: its signal meets its threshold."""

    order: bytes


@dataclass(frozen=True, slots=True)
class ObserveSignal:
    """Tell the market a value of the grid, or of a forecast for one interval (else ``delivery_start`` is 0).

    ``issued_at`` (UTC seconds; 0: unknown) orders the tellings: an older one never replaces a newer one.
    """

    signal: Signal
    delivery_start: int
    value: int
    issued_at: int = 0


@dataclass(frozen=True, slots=True)
class ClearSession:
    """Hold the session auction due at ``session_at``, with the solver's proposal or the ``failure`` to find one."""

    session_at: int
    proposal: Proposal | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel one order by digest, or with ``order`` 32 zero bytes all received by ``until``."""

    account: str
    order: bytes
    until: int


@dataclass(frozen=True, slots=True)
class CreditFunds:
    """Book a deposit that the observer saw on chain (or, negative, as earlier versions did, a withdrawal).

    ``reference`` is ``block:transaction:log`` and makes the booking idempotent.
    """

    account: str
    money_micro: int
    reference: str


@dataclass(frozen=True, slots=True)
class BookWithdrawal:
    """Book money that the observer saw leave an account on chain; ``reference`` as in ``CreditFunds``."""

    account: str
    to: str
    money_micro: int
    reference: str


@dataclass(frozen=True, slots=True)
class BookRequest:
    """Book a member's own request for its money (0: it changed its mind) that the observer saw on chain."""

    account: str
    money_micro: int
    available_at: int
    reference: str


@dataclass(frozen=True, slots=True)
class LapseRequests:
    """End the requests whose money can be taken no more."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Bring a signed withdrawal on chain; ``signature`` as in ``PlaceOrder``, checked at the edge."""

    withdrawal: Withdrawal
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class EndWithdrawal:
    """Release the money of a withdrawal that the contract refuses; ``next_nonce`` if it said which it expects."""

    account: str
    number: int
    reason: str
    next_nonce: int | None


@dataclass(frozen=True, slots=True)
class BookCancellation:
    """Book that an account used up an interval on chain, so that its orders there can be settled no more."""

    account: str
    delivery_start: int
    reference: str


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What a correction adds to one account's columns."""

    account: str
    money_micro: int
    energy_wh: int


@dataclass(frozen=True, slots=True)
class BookCorrection:
    """Book a settled interval's correction that the observer saw on chain; ``reference`` as in ``CreditFunds``."""

    delivery_start: int
    revision: int
    changes: tuple[AccountChange, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class BookBalancingRequest:
    """Book that the grid's operator asked on chain to relieve a node; ``reference`` as in ``CreditFunds``.

    ``request_id`` counts from 1 for each node; ``stability`` is the free share of the capacity, 0..1e6.
    """

    node_id: int
    request_id: int
    overload_w: int
    stability: int
    reference: str


@dataclass(frozen=True, slots=True)
class CloseGate:
    """End trading for one delivery interval with its closing auction.

    Where the network has lines, with the solver's proposal or the ``failure`` to find one.
    """

    delivery_start: int
    proposal: Proposal | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ExpireOrders:
    """Close every order whose ``valid_until`` has come."""


@dataclass(frozen=True, slots=True)
class MeteredEnergy:
    """What one account's verified registers say for one interval, in Wh."""

    account: str
    consumption_wh: int
    production_wh: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class SettleInterval:
    """Settle one interval from its trades and the verified energy."""

    delivery_start: int
    energies: tuple[MeteredEnergy, ...]
    readings_root: bytes


@dataclass(frozen=True, slots=True)
class ResettleInterval:
    """Settle an interval again on what the readings say by now, before its batch has left for the chain."""

    delivery_start: int
    energies: tuple[MeteredEnergy, ...]
    readings_root: bytes


@dataclass(frozen=True, slots=True)
class ProposeCorrection:
    """Ask the members to correct an interval whose batch is on chain: the readings say otherwise by now.

    ``receipts_root`` is that of the corrected receipts. ``fee_account`` gets, or gives, what the fees differ by.
    """

    delivery_start: int
    energies: tuple[MeteredEnergy, ...]
    readings_root: bytes
    receipts_root: bytes
    fee_account: str


@dataclass(frozen=True, slots=True)
class SignCorrection:
    """Book that an account agrees to what a proposed correction takes; ``signature`` as in ``PlaceOrder``."""

    correction: Correction
    signature: bytes


@dataclass(frozen=True, slots=True)
class EndCorrection:
    """Give up a correction that the contract refuses, or the operator."""

    delivery_start: int
    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class ExcludeFromSettlement:
    """Settle an interval again without an account's trades: the contract refuses them.

    The account's own act on chain is the cause (it cancelled the interval, withdrew its money).
    """

    delivery_start: int
    account: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfirmSettlement:
    """Book that the batch of one interval is on chain."""

    delivery_start: int
    transaction: str
    block_number: int
    gas_used: int


@dataclass(frozen=True, slots=True)
class HaltTrading:
    """Stop taking orders (chain and ledger disagree, operator's order)."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeTrading:
    """Take orders again."""

    reason: str


type Command = (
    AdmitMember
    | RegisterMeter
    | SuspendMeter
    | PlaceOrder
    | ReplaceOrder
    | PlaceBundles
    | FireOrder
    | ObserveSignal
    | ClearSession
    | CancelOrder
    | CreditFunds
    | BookWithdrawal
    | BookRequest
    | LapseRequests
    | Withdraw
    | EndWithdrawal
    | BookCancellation
    | BookCorrection
    | BookBalancingRequest
    | CloseGate
    | ExpireOrders
    | SettleInterval
    | ResettleInterval
    | ProposeCorrection
    | SignCorrection
    | EndCorrection
    | ExcludeFromSettlement
    | ConfirmSettlement
    | HaltTrading
    | ResumeTrading
)
