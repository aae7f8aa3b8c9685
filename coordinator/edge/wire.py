"""What may be sent to us: strict request models, and how they become domain messages.

Integers only (no booleans, no floats), unknown fields refused, every size and range limited. The
models say it once for validation and for OpenAPI.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..protocol.chain_messages import Correction, Withdrawal
from ..protocol.membership import Join, SessionRequest
from ..protocol.messages import MeterRegistration, Reading
from ..protocol.order_terms import Signal
from ..protocol.signals import SignalMessage
from ..protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX

SECONDS_MAX = 2**40 - 1
SEQUENCE_MAX = 2**40 - 1
POWER_W_MAX = 2**32 - 1
PAGE_MAX = 500

type Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$", to_lower=True)]
type Hash = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{64}$", to_lower=True)]
type Signature = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{128}$")]
type Installation = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")]
type Seconds = Annotated[int, Field(ge=0, le=SECONDS_MAX, description="UTC epoch seconds")]
type EnergyWh = Annotated[int, Field(ge=0, le=ENERGY_WH_MAX)]
type PositiveEnergyWh = Annotated[int, Field(ge=1, le=ENERGY_WH_MAX)]
type PositiveMoneyMicro = Annotated[int, Field(ge=1, le=2**63 - 1)]
type MoneyMicro = Annotated[int, Field(ge=0, le=2**63 - 1)]
type Price = Annotated[int, Field(ge=-PRICE_MICRO_PER_KWH_MAX, le=PRICE_MICRO_PER_KWH_MAX)]
type SignalValue = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
type PowerW = Annotated[int, Field(ge=0, le=POWER_W_MAX)]
type MarketId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
type Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
type Page = Annotated[int, Field(ge=1, le=PAGE_MAX)]


class Wire(BaseModel):
    """A JSON object with exactly these fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Parameters(BaseModel):
    """Path and query parameters: text that must read as the type."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WithdrawalWire(Wire):
    """Money that leaves the account for ``to``, as the contract's EIP-712 ``Withdrawal``."""

    account: Address
    to: Address
    money_micro: PositiveMoneyMicro
    relay_fee_micro: MoneyMicro
    nonce: Annotated[int, Field(ge=0, le=2**62)]
    deadline: Seconds

    def message(self) -> Withdrawal:
        """Return what was signed."""
        return Withdrawal.from_wire(self.model_dump(mode="json"))


class ReadingWire(Wire):
    """A meter's absolute registers at one moment."""

    device_id: Hash
    sequence: Annotated[int, Field(ge=1, le=SEQUENCE_MAX)]
    timestamp: Seconds
    consumption_wh: EnergyWh
    production_wh: EnergyWh
    flags: Annotated[int, Field(ge=0, le=0xFFFF)]
    previous: Hash
    samples: Hash

    def message(self) -> Reading:
        """Return what was signed."""
        return Reading.from_wire(self.model_dump(mode="json"))


class RegistrationWire(Wire):
    """A meter's key bound to an account; ``public_key`` is the P-256 point ``x || y``."""

    device_id: Hash
    account: Address
    public_key: Signature
    import_limit_w: PowerW
    export_limit_w: PowerW

    def message(self) -> MeterRegistration:
        """Return what was signed."""
        key = unhex(self.public_key)
        return MeterRegistration(
            device_id=int(self.device_id, 16),
            account=self.account,
            public_key_x=key[:32],
            public_key_y=key[32:],
            import_limit_w=self.import_limit_w,
            export_limit_w=self.export_limit_w,
        )


class JoinWire(Wire):
    """An account joins with the operator's invite."""

    account: Address
    market: MarketId
    invite: Annotated[Text, Field(max_length=128)]
    name: Annotated[Text, Field(min_length=1, max_length=64)]
    issued_at: Seconds

    def message(self) -> Join:
        """Return what was signed."""
        return Join(self.account, self.market, self.invite, self.name, self.issued_at)


class SessionWire(Wire):
    """An account asks for a token."""

    account: Address
    market: MarketId
    issued_at: Seconds

    def message(self) -> SessionRequest:
        """Return what was signed."""
        return SessionRequest(self.account, self.market, self.issued_at)


class CorrectionWire(Wire):
    """What a correction of a settled interval takes off an account's columns, as the contract's ``Correction``."""

    account: Address
    market: MarketId
    delivery_start: Seconds
    revision: Annotated[int, Field(ge=0, le=255)]
    energy_wh: Annotated[int, Field(ge=-ENERGY_WH_MAX, le=ENERGY_WH_MAX)]
    money_micro: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
    receipts_root: Hash

    def message(self) -> Correction:
        """Return what was signed."""
        return Correction.from_wire(self.model_dump(mode="json"))


class SignalWire(Wire):
    """A value of the grid, or of a forecast for one interval (else ``delivery_start`` is 0)."""

    market: MarketId
    signal: Signal
    delivery_start: Seconds
    value: SignalValue
    issued_at: Seconds

    def message(self) -> SignalMessage:
        """Return what was signed."""
        return SignalMessage(self.market, self.signal, self.delivery_start, self.value, self.issued_at)


class WithdrawalBody(Wire):
    """A signed withdrawal (secp256k1, ``r || s``)."""

    withdrawal: WithdrawalWire
    signature: Signature


class ReadingBody(Wire):
    """A reading signed by its meter (P-256, ``r || s``); ``installation`` tells systems with the same key apart."""

    reading: ReadingWire
    signature: Signature
    installation: Installation = ""


class RegistrationBody(Wire):
    """A registration signed by the meter and by the account."""

    registration: RegistrationWire
    meter_signature: Signature
    account_signature: Signature


class JoinBody(Wire):
    """A signed wish to join."""

    join: JoinWire
    signature: Signature


class SessionBody(Wire):
    """A signed wish for a session."""

    session: SessionWire
    signature: Signature


class CorrectionBody(Wire):
    """A correction that its account signed (secp256k1, ``r || s``)."""

    correction: CorrectionWire
    signature: Signature


class SignalBody(Wire):
    """A signal that the operator signed."""

    signal: SignalWire
    signature: Signature


class NoParameters(Parameters):
    """No path or query parameters."""


class OrderPath(Parameters):
    """One order."""

    digest: Hash


class ContractPath(Parameters):
    """One contract, by its name in Solidity."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9]{0,63}$")]


class MeterPath(Parameters):
    """One meter."""

    device_id: Hash


class AccountPath(Parameters):
    """One account."""

    address: Address


class AccountPage(Parameters):
    """One account's newest entries."""

    address: Address
    limit: Page = 100


class ReceiptPage(Parameters):
    """One account's receipts from ``since`` on."""

    address: Address
    since: Seconds = 0
    limit: Page = 100


class ReceiptPath(Parameters):
    """One account's receipt for one interval."""

    address: Address
    delivery_start: Seconds


class IntervalPage(Parameters):
    """Delivery intervals from ``since`` on; without it the newest."""

    since: Seconds | None = None
    limit: Page = 96


class BookPath(Parameters):
    """One interval's book, at one node when it is named."""

    delivery_start: Seconds
    node: Annotated[Text, Field(max_length=64)] | None = None


class AuctionPath(Parameters):
    """The auction at one interval's gate."""

    delivery_start: Seconds


class SessionPath(Parameters):
    """One session auction, by its time."""

    session_at: Seconds


class AuctionPage(Parameters):
    """The newest auctions."""

    limit: Page = 20


class TradePage(Parameters):
    """The newest trades, of one interval when it is named."""

    delivery_start: Seconds | None = None
    limit: Page = 100


class StreamStart(Parameters):
    """Where to resume: events after this sequence."""

    since: Annotated[int, Field(ge=0, le=2**62)] | None = None


def unhex(text: str) -> bytes:
    """Return the bytes of a checked ``0x`` text."""
    return bytes.fromhex(text[2:])
