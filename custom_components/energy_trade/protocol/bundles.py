"""Bundles: energy in several intervals that an auction accepts together.

A bundle is signed through its legs: each leg is an order whose ``Terms`` carry the bundle's ``hashStruct``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .keccak import keccak256
from .messages import ZERO_HASH, Order, Side
from .typed_data import StructType, Value, hash_struct
from .wire import read_bytes, read_choice, read_int, read_objects, read_text


@dataclass(frozen=True, slots=True)
class Leg:
    """A bundle's energy in one interval."""

    delivery_start: int
    energy_wh: int

    def to_wire(self) -> dict[str, Any]:
        """Return the leg as JSON values."""
        return {"delivery_start": self.delivery_start, "energy_wh": self.energy_wh}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Energy in several intervals that is accepted together, by an auction over all of them.

    Accepted is one share of all legs: none, or from ``min_acceptance`` (numerator and denominator, ``(1, 1)`` for
    all or none) to all. ``price_micro_per_kwh`` limits the mean price over the accepted energy. ``parent`` is
    the hash of a bundle that must be accepted too; of one ``group`` at most one is accepted; a ``spread`` is
    a buy and a sell bundle that carry the same mark and are accepted with the same share. Each leg is an
    order of its own (market, or with a limit of its own that its interval's price keeps to) whose terms carry
    this struct's hash. Groups and spreads are one account's; 32 zero bytes are none.
    """

    account: str
    market: str
    side: Side
    price_micro_per_kwh: int
    legs: tuple[Leg, ...]
    min_acceptance: tuple[int, int] = (1, 1)
    parent: bytes = ZERO_HASH
    group: bytes = ZERO_HASH
    spread: bytes = ZERO_HASH
    salt: bytes = ZERO_HASH

    TYPE: ClassVar[StructType] = StructType(
        "Bundle",
        (
            ("account", "address"),
            ("market", "string"),
            ("side", "uint8"),
            ("priceMicroPerKwh", "int64"),
            ("minAcceptanceNumerator", "uint32"),
            ("minAcceptanceDenominator", "uint32"),
            ("parent", "bytes32"),
            ("group", "bytes32"),
            ("spread", "bytes32"),
            ("legs", "bytes32"),
            ("salt", "bytes32"),
        ),
    )

    def leg_orders(self) -> tuple[Order, ...]:
        """Return an order for each leg, to be signed, that leaves all limits to the bundle."""
        return tuple(
            Order(
                self.account,
                self.market,
                leg.delivery_start,
                self.side,
                leg.energy_wh,
                None,
                salt=self.salt,
                bundle=self.struct_hash(),
            )
            for leg in self.legs
        )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "side": self.side.code,
            "priceMicroPerKwh": self.price_micro_per_kwh,
            "minAcceptanceNumerator": self.min_acceptance[0],
            "minAcceptanceDenominator": self.min_acceptance[1],
            "parent": self.parent,
            "group": self.group,
            "spread": self.spread,
            "legs": legs_hash(self.legs),
            "salt": self.salt,
        }

    def struct_hash(self) -> bytes:
        """Return the bundle's id, which its legs' terms carry."""
        return hash_struct(self.TYPE, self.values())

    def to_wire(self) -> dict[str, Any]:
        """Return the bundle as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "side": self.side.value,
            "price_micro_per_kwh": self.price_micro_per_kwh,
            "legs": [leg.to_wire() for leg in self.legs],
            "min_acceptance_numerator": self.min_acceptance[0],
            "min_acceptance_denominator": self.min_acceptance[1],
            "parent": "0x" + self.parent.hex(),
            "group": "0x" + self.group.hex(),
            "spread": "0x" + self.spread.hex(),
            "salt": "0x" + self.salt.hex(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Bundle:
        """Read a bundle from JSON values."""
        return cls(
            account=read_text(wire, "account").lower(),
            market=read_text(wire, "market"),
            side=read_choice(wire, "side", Side),
            price_micro_per_kwh=read_int(wire, "price_micro_per_kwh"),
            legs=tuple(
                Leg(read_int(leg, "delivery_start"), read_int(leg, "energy_wh")) for leg in read_objects(wire, "legs")
            ),
            min_acceptance=(read_int(wire, "min_acceptance_numerator"), read_int(wire, "min_acceptance_denominator")),
            parent=read_bytes(wire, "parent", 32),
            group=read_bytes(wire, "group", 32),
            spread=read_bytes(wire, "spread", 32),
            salt=read_bytes(wire, "salt", 32),
        )


def legs_hash(legs: Sequence[Leg]) -> bytes:
    """Return the Keccak-256 of the legs in order, each 8 bytes of start and 8 of energy, big end first."""
    return keccak256(b"".join(leg.delivery_start.to_bytes(8, "big") + leg.energy_wh.to_bytes(8, "big") for leg in legs))
