"""What homes send to trade: orders with all their terms, bundles, replacements and cancellations.

Strict as all of ``wire``; ``message`` and ``bundle`` return what was signed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..protocol.bundles import Bundle
from ..protocol.messages import CLIENT_ID_LENGTH_MAX, Cancel, Order, Side, TimeInForce
from ..protocol.order_terms import Comparison, Signal
from .wire import (
    Address,
    Hash,
    MarketId,
    PositiveEnergyWh,
    Price,
    Seconds,
    SignalValue,
    Signature,
    Text,
    Wire,
    unhex,
)

ORDERS_MAX = 1_000
BUNDLES_MAX = 20
LEGS_MAX = 288
SHARE_MAX = 2**32 - 1
ORDERS_BYTES_MAX = 1536 * 1024
BUNDLES_BYTES_MAX = 1024 * 1024
_ZERO_HASH = "0x" + "00" * 32

type Share = Annotated[int, Field(ge=1, le=SHARE_MAX)]


class ConditionWire(Wire):
    """The order trades only once the signal meets the threshold; ``delivery_start`` 0 is the order's own interval."""

    signal: Signal
    comparison: Comparison
    threshold: SignalValue
    delivery_start: Seconds


class PreferencesWire(Wire):
    """Whom the account would rather trade with; without another limit it trades with nobody else."""

    green: bool
    local: bool
    partner: Address
    other_limit_price_micro_per_kwh: Price | None


class OrderWire(Wire):
    """An order for one delivery interval."""

    account: Address
    market: MarketId
    delivery_start: Seconds
    side: Side
    energy_wh: PositiveEnergyWh
    limit_price_micro_per_kwh: Price | None
    time_in_force: TimeInForce
    valid_from: Seconds
    valid_until: Seconds
    client_id: Annotated[Text, Field(max_length=CLIENT_ID_LENGTH_MAX)]
    salt: Hash
    condition: ConditionWire | None = None
    bundle: Hash = _ZERO_HASH
    preferences: PreferencesWire | None = None

    def message(self) -> Order:
        """Return what was signed."""
        return Order.from_wire(self.model_dump(mode="json"))


class CancelWire(Wire):
    """The cancellation of one order or bundle, or (``order`` zero) of all orders received by ``until``."""

    account: Address
    market: MarketId
    order: Hash
    until: Seconds
    salt: Hash

    def message(self) -> Cancel:
        """Return what was signed."""
        order, salt = unhex(self.order), unhex(self.salt)
        return Cancel(self.account, self.market, order, self.until, salt)


class LegWire(Wire):
    """A bundle's energy in one interval."""

    delivery_start: Seconds
    energy_wh: PositiveEnergyWh


class BundleWire(Wire):
    """Energy in several intervals that a session auction accepts together; its legs' orders sign its hash."""

    account: Address
    market: MarketId
    side: Side
    price_micro_per_kwh: Price
    legs: Annotated[tuple[LegWire, ...], Field(min_length=1, max_length=LEGS_MAX)]
    min_acceptance_numerator: Annotated[int, Field(ge=0, le=SHARE_MAX)]
    min_acceptance_denominator: Share
    parent: Hash
    group: Hash
    spread: Hash
    salt: Hash

    def bundle(self) -> Bundle:
        """Return what the legs' orders sign the hash of."""
        return Bundle.from_wire(self.model_dump(mode="json"))


class PlaceOrderBody(Wire):
    """A signed order (secp256k1, ``r || s``)."""

    order: OrderWire
    signature: Signature


class PlaceOrdersBody(Wire):
    """Signed orders, of one account or of many; each is placed or refused for itself."""

    orders: Annotated[tuple[PlaceOrderBody, ...], Field(min_length=1, max_length=ORDERS_MAX)]


class ReplaceOrderBody(Wire):
    """A signed order and the signed cancellation of the one whose place it takes."""

    order: OrderWire
    signature: Signature
    cancel: CancelWire
    cancel_signature: Signature


class SignedBundle(Wire):
    """A bundle with a signed order for each leg, in the order of the bundle's ``legs``."""

    bundle: BundleWire
    legs: Annotated[tuple[PlaceOrderBody, ...], Field(min_length=1, max_length=LEGS_MAX)]


class PlaceBundlesBody(Wire):
    """Bundles of one account that are placed together, all or none."""

    bundles: Annotated[tuple[SignedBundle, ...], Field(min_length=1, max_length=BUNDLES_MAX)]


class CancelBody(Wire):
    """A signed cancellation."""

    cancel: CancelWire
    signature: Signature
