"""What an order may ask for besides price and energy: a condition, and preferences.

Each is a struct of its own; an order's ``Terms`` carry its EIP-712 ``hashStruct`` (32 zero bytes for none),
so that the account signs it with the order. ``from_wire`` raises ``ValueError`` naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from .typed_data import StructType, Value, hash_struct
from .wire import read_bool, read_choice, read_int, read_text

ZERO_ADDRESS = "0x" + "00" * 20


class Signal(StrEnum):
    """What a condition may wait for; each has its own unit.

    Prices are 1e-6 currency per kWh and belong to one interval: the last trade's, the best resting bid's and
    ask's, the latest session's. ``grid_state`` counts 0 normal, 1 strained, 2 emergency, 3 island;
    ``frequency`` is in mHz; ``forecast_surplus`` in Wh of the community in one interval.
    """

    LAST_PRICE = "last_price"
    BEST_BID = "best_bid"
    BEST_ASK = "best_ask"
    SESSION_PRICE = "session_price"
    GRID_STATE = "grid_state"
    FREQUENCY = "frequency"
    FORECAST_SURPLUS = "forecast_surplus"

    @property
    def code(self) -> int:
        """The number that is signed."""
        return list(Signal).index(self)

    @property
    def is_of_the_book(self) -> bool:
        """Whether the market itself knows the value; the others are told to it."""
        return self in (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK, Signal.SESSION_PRICE)

    @property
    def is_of_the_grid(self) -> bool:
        """Whether there is one value for the whole grid instead of one for each interval."""
        return self in (Signal.GRID_STATE, Signal.FREQUENCY)


class Comparison(StrEnum):
    """How the signal is compared with the threshold; equal counts."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"

    @property
    def code(self) -> int:
        """The number that is signed."""
        return list(Comparison).index(self)

    def holds(self, value: int, threshold: int) -> bool:
        """Tell whether the value meets the threshold."""
        return value >= threshold if self is Comparison.AT_LEAST else value <= threshold


@dataclass(frozen=True, slots=True)
class Condition:
    """The order trades only once the signal meets the threshold; it fires once and stays fired.

    ``delivery_start`` names the interval whose signal counts; 0 is the order's own.
    """

    signal: Signal
    comparison: Comparison
    threshold: int
    delivery_start: int = 0

    TYPE: ClassVar[StructType] = StructType(
        "Condition",
        (("signal", "uint8"), ("comparison", "uint8"), ("threshold", "int64"), ("deliveryStart", "uint64")),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "signal": self.signal.code,
            "comparison": self.comparison.code,
            "threshold": self.threshold,
            "deliveryStart": self.delivery_start,
        }

    def struct_hash(self) -> bytes:
        """Return what the order's terms carry."""
        return hash_struct(self.TYPE, self.values())

    def to_wire(self) -> dict[str, Any]:
        """Return the condition as JSON values."""
        return {
            "signal": self.signal.value,
            "comparison": self.comparison.value,
            "threshold": self.threshold,
            "delivery_start": self.delivery_start,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Condition:
        """Read a condition from JSON values."""
        return cls(
            read_choice(wire, "signal", Signal),
            read_choice(wire, "comparison", Comparison),
            read_int(wire, "threshold"),
            read_int(wire, "delivery_start"),
        )


@dataclass(frozen=True, slots=True)
class Preferences:
    """Whom the account would rather trade with.

    A counterparty is preferred when it has all that is asked for: ``green`` energy, the same node
    (``local``), the ``partner``'s address (zero for anyone). Towards it the order's own limit holds, which is
    the best the account would ever give. ``other_limit_price_micro_per_kwh`` holds towards all others
    (for a buyer at most the order's limit, for a seller at least); ``None``: never trade with others.
    """

    green: bool = False
    local: bool = False
    partner: str = ZERO_ADDRESS
    other_limit_price_micro_per_kwh: int | None = None

    TYPE: ClassVar[StructType] = StructType(
        "Preferences",
        (
            ("green", "uint8"),
            ("local", "uint8"),
            ("partner", "address"),
            ("onlyPreferred", "uint8"),
            ("otherLimitPriceMicroPerKwh", "int64"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        other = self.other_limit_price_micro_per_kwh
        return {
            "green": int(self.green),
            "local": int(self.local),
            "partner": self.partner,
            "onlyPreferred": int(other is None),
            "otherLimitPriceMicroPerKwh": other or 0,
        }

    def struct_hash(self) -> bytes:
        """Return what the order's terms carry."""
        return hash_struct(self.TYPE, self.values())

    def to_wire(self) -> dict[str, Any]:
        """Return the preferences as JSON values."""
        return {
            "green": self.green,
            "local": self.local,
            "partner": self.partner,
            "other_limit_price_micro_per_kwh": self.other_limit_price_micro_per_kwh,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Preferences:
        """Read preferences from JSON values."""
        other = wire.get("other_limit_price_micro_per_kwh")
        return cls(
            read_bool(wire, "green"),
            read_bool(wire, "local"),
            read_text(wire, "partner").lower(),
            None if other is None else read_int(wire, "other_limit_price_micro_per_kwh"),
        )
