"""What the operator tells its market about the grid, so that conditional orders can wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import Message
from .order_terms import Signal
from .typed_data import StructType, Value
from .wire import read_choice, read_int, read_text


@dataclass(frozen=True, slots=True)
class SignalMessage(Message):
    """A value of the grid, or of a forecast for one interval, signed with the operator's key.

    ``delivery_start`` is 0 for what the whole grid has once (``grid_state``, ``frequency``); ``value`` is in the
    signal's own unit. ``issued_at`` (UTC seconds) orders the messages: an older one never replaces a newer one.
    """

    market: str
    signal: Signal
    delivery_start: int
    value: int
    issued_at: int

    TYPE = StructType(
        "Signal",
        (
            ("market", "string"),
            ("signal", "uint8"),
            ("deliveryStart", "uint64"),
            ("value", "int64"),
            ("issuedAt", "uint64"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "market": self.market,
            "signal": self.signal.code,
            "deliveryStart": self.delivery_start,
            "value": self.value,
            "issuedAt": self.issued_at,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON values."""
        return {
            "market": self.market,
            "signal": self.signal.value,
            "delivery_start": self.delivery_start,
            "value": self.value,
            "issued_at": self.issued_at,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> SignalMessage:
        """Read a signal from JSON values."""
        return cls(
            market=read_text(wire, "market"),
            signal=read_choice(wire, "signal", Signal),
            delivery_start=read_int(wire, "delivery_start"),
            value=read_int(wire, "value"),
            issued_at=read_int(wire, "issued_at"),
        )
