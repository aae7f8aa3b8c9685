"""The signed messages. One definition per message: Python type, EIP-712 type and wire form.

Addresses are lower-case hex strings, digests and signatures bytes, device ids integers; on the wire
bytes and device ids are ``0x`` hex. ``from_wire`` raises ``ValueError`` with a sentence that names
the field.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from .order_terms import Condition, Preferences
from .typed_data import Domain, StructType, Value, hash_struct
from .wire import INT64_MAX, read_bytes, read_choice, read_hex_int, read_int, read_mapping, read_text

ZERO_HASH = bytes(32)
CLIENT_ID_LENGTH_MAX = 64


class Side(StrEnum):
    """Which way the energy goes, seen from the account."""

    BUY = "buy"
    SELL = "sell"

    @property
    def code(self) -> int:
        """The number that is signed: 0 buys, 1 sells."""
        return 0 if self is Side.BUY else 1

    @property
    def other(self) -> Side:
        """The side that it trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


class TimeInForce(StrEnum):
    """How long an order stands."""

    GOOD_TILL_GATE = "good_till_gate"
    GOOD_TILL_DATE = "good_till_date"
    IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
    FILL_OR_KILL = "fill_or_kill"

    @property
    def code(self) -> int:
        """The number that is signed."""
        return list(TimeInForce).index(self)


class Message(ABC):
    """What every signed message has: its EIP-712 struct and its digest in a domain."""

    __slots__ = ()
    TYPE: ClassVar[StructType]

    @abstractmethod
    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""

    @abstractmethod
    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON values."""

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that are signed."""
        return domain.digest(hash_struct(self.TYPE, self.values()))


_TERMS = StructType(
    "Terms",
    (
        ("timeInForce", "uint8"),
        ("validFrom", "uint64"),
        ("validUntil", "uint64"),
        ("condition", "bytes32"),
        ("bundle", "bytes32"),
        ("preferences", "bytes32"),
        ("clientId", "string"),
        ("salt", "bytes32"),
    ),
)


@dataclass(frozen=True, slots=True)
class Order(Message):
    """An order for one delivery interval; its digest is its id.

    ``limit_price_micro_per_kwh`` is ``None`` for a market order, which only the market's price
    band bounds. ``valid_from`` and ``valid_until`` are UTC seconds, 0 for none. ``bundle`` is the hash
    of the bundle whose leg the order is.
    """

    account: str
    market: str
    delivery_start: int
    side: Side
    energy_wh: int
    limit_price_micro_per_kwh: int | None
    time_in_force: TimeInForce = TimeInForce.GOOD_TILL_GATE
    valid_from: int = 0
    valid_until: int = 0
    client_id: str = ""
    salt: bytes = ZERO_HASH
    condition: Condition | None = None
    bundle: bytes = ZERO_HASH
    preferences: Preferences | None = None

    TYPE = StructType(
        "Order",
        (
            ("account", "address"),
            ("market", "string"),
            ("deliveryStart", "uint64"),
            ("side", "uint8"),
            ("energyWh", "uint64"),
            ("limitPriceMicroPerKwh", "int64"),
            ("terms", "Terms"),
        ),
        (_TERMS,),
    )

    @property
    def signed_limit(self) -> int:
        """The limit as it is signed: a market order signs the extreme of its side (int64)."""
        if self.limit_price_micro_per_kwh is not None:
            return self.limit_price_micro_per_kwh
        return INT64_MAX if self.side is Side.BUY else -INT64_MAX

    def terms(self) -> Mapping[str, Value]:
        """Return the nested ``Terms``, which the contract sees only as a hash."""
        return {
            "timeInForce": self.time_in_force.code,
            "validFrom": self.valid_from,
            "validUntil": self.valid_until,
            "condition": ZERO_HASH if self.condition is None else self.condition.struct_hash(),
            "bundle": self.bundle,
            "preferences": ZERO_HASH if self.preferences is None else self.preferences.struct_hash(),
            "clientId": self.client_id,
            "salt": self.salt,
        }

    def terms_hash(self) -> bytes:
        """Return ``hashStruct(terms)``."""
        return hash_struct(_TERMS, self.terms())

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "deliveryStart": self.delivery_start,
            "side": self.side.code,
            "energyWh": self.energy_wh,
            "limitPriceMicroPerKwh": self.signed_limit,
            "terms": self.terms(),
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the order as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "delivery_start": self.delivery_start,
            "side": self.side.value,
            "energy_wh": self.energy_wh,
            "limit_price_micro_per_kwh": self.limit_price_micro_per_kwh,
            "time_in_force": self.time_in_force.value,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
            "client_id": self.client_id,
            "salt": "0x" + self.salt.hex(),
            "condition": None if self.condition is None else self.condition.to_wire(),
            "bundle": "0x" + self.bundle.hex(),
            "preferences": None if self.preferences is None else self.preferences.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Order:
        """Read an order from JSON values; ``condition``, ``bundle`` and ``preferences`` may be left out."""
        limit, has = wire.get("limit_price_micro_per_kwh"), {name for name, value in wire.items() if value is not None}
        return cls(
            account=read_text(wire, "account").lower(),
            market=read_text(wire, "market"),
            delivery_start=read_int(wire, "delivery_start"),
            side=read_choice(wire, "side", Side),
            energy_wh=read_int(wire, "energy_wh"),
            limit_price_micro_per_kwh=(None if limit is None else read_int(wire, "limit_price_micro_per_kwh")),
            time_in_force=read_choice(wire, "time_in_force", TimeInForce),
            valid_from=read_int(wire, "valid_from"),
            valid_until=read_int(wire, "valid_until"),
            client_id=read_text(wire, "client_id"),
            salt=read_bytes(wire, "salt", 32),
            condition=Condition.from_wire(read_mapping(wire, "condition")) if "condition" in has else None,
            bundle=read_bytes(wire, "bundle", 32) if "bundle" in has else ZERO_HASH,
            preferences=Preferences.from_wire(read_mapping(wire, "preferences")) if "preferences" in has else None,
        )


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Cancel one order (its digest), or with ``order`` zero all that were received by ``until``."""

    account: str
    market: str
    order: bytes
    until: int
    salt: bytes = ZERO_HASH

    TYPE = StructType(
        "Cancel",
        (
            ("account", "address"),
            ("market", "string"),
            ("order", "bytes32"),
            ("until", "uint64"),
            ("salt", "bytes32"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "order": self.order,
            "until": self.until,
            "salt": self.salt,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the cancellation as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "order": "0x" + self.order.hex(),
            "until": self.until,
            "salt": "0x" + self.salt.hex(),
        }


@dataclass(frozen=True, slots=True)
class Reading(Message):
    """A meter's absolute registers at one moment.

    ``sequence`` rises by one without gaps from 1; ``previous`` is the digest of the reading
    before (zero for the first), ``samples`` the hash of finer samples that travel with it (zero
    for none). Registers: energy taken from and given to the grid, in Wh.
    """

    device_id: int
    sequence: int
    timestamp: int
    consumption_wh: int
    production_wh: int
    flags: int = 0
    previous: bytes = ZERO_HASH
    samples: bytes = ZERO_HASH

    TYPE = StructType(
        "Reading",
        (
            ("deviceId", "uint256"),
            ("sequence", "uint64"),
            ("timestamp", "uint64"),
            ("consumptionWh", "uint64"),
            ("productionWh", "uint64"),
            ("flags", "uint16"),
            ("previous", "bytes32"),
            ("samples", "bytes32"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "deviceId": self.device_id,
            "sequence": self.sequence,
            "timestamp": self.timestamp,
            "consumptionWh": self.consumption_wh,
            "productionWh": self.production_wh,
            "flags": self.flags,
            "previous": self.previous,
            "samples": self.samples,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the reading as JSON values."""
        return {
            "device_id": device_text(self.device_id),
            "sequence": self.sequence,
            "timestamp": self.timestamp,
            "consumption_wh": self.consumption_wh,
            "production_wh": self.production_wh,
            "flags": self.flags,
            "previous": "0x" + self.previous.hex(),
            "samples": "0x" + self.samples.hex(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Reading:
        """Read a reading from JSON values."""
        return cls(
            device_id=read_hex_int(wire, "device_id"),
            sequence=read_int(wire, "sequence"),
            timestamp=read_int(wire, "timestamp"),
            consumption_wh=read_int(wire, "consumption_wh"),
            production_wh=read_int(wire, "production_wh"),
            flags=read_int(wire, "flags"),
            previous=read_bytes(wire, "previous", 32),
            samples=read_bytes(wire, "samples", 32),
        )


READING_ESTIMATED = 1
READING_ON_BATTERY = 2
READING_TAMPER_OPEN = 4
READING_CLOCK_UNSYNCHRONISED = 8


@dataclass(frozen=True, slots=True)
class MeterRegistration(Message):
    """Binds a meter's key to an account; the meter and the account both sign it.

    ``import_limit_w`` is what the connection's fuse lets in, ``export_limit_w`` what the
    inverters can give: no reading may show more.
    """

    device_id: int
    account: str
    public_key_x: bytes
    public_key_y: bytes
    import_limit_w: int
    export_limit_w: int

    TYPE = StructType(
        "MeterRegistration",
        (
            ("deviceId", "uint256"),
            ("account", "address"),
            ("publicKeyX", "bytes32"),
            ("publicKeyY", "bytes32"),
            ("importLimitW", "uint32"),
            ("exportLimitW", "uint32"),
        ),
    )

    @property
    def public_key(self) -> bytes:
        """The meter's public key, 64 bytes."""
        return self.public_key_x + self.public_key_y

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "deviceId": self.device_id,
            "account": self.account,
            "publicKeyX": self.public_key_x,
            "publicKeyY": self.public_key_y,
            "importLimitW": self.import_limit_w,
            "exportLimitW": self.export_limit_w,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the registration as JSON values."""
        return {
            "device_id": device_text(self.device_id),
            "account": self.account,
            "public_key": "0x" + self.public_key.hex(),
            "import_limit_w": self.import_limit_w,
            "export_limit_w": self.export_limit_w,
        }


@dataclass(frozen=True, slots=True)
class DeviceReceipt(Message):
    """The coordinator's word, given after its database committed, that a reading is kept."""

    device_id: int
    sequence: int
    reading: bytes
    committed_at: int

    TYPE = StructType(
        "DeviceReceipt",
        (
            ("deviceId", "uint256"),
            ("sequence", "uint64"),
            ("reading", "bytes32"),
            ("committedAt", "uint64"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "deviceId": self.device_id,
            "sequence": self.sequence,
            "reading": self.reading,
            "committedAt": self.committed_at,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the receipt as JSON values."""
        return {
            "device_id": device_text(self.device_id),
            "sequence": self.sequence,
            "reading": "0x" + self.reading.hex(),
            "committed_at": self.committed_at,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> DeviceReceipt:
        """Read a device receipt from JSON values."""
        return cls(
            device_id=read_hex_int(wire, "device_id"),
            sequence=read_int(wire, "sequence"),
            reading=read_bytes(wire, "reading", 32),
            committed_at=read_int(wire, "committed_at"),
        )


def device_text(device_id: int) -> str:
    """Return a device id as it is written: ``0x`` and 64 hex digits."""
    return f"0x{device_id:064x}"
