"""How an account comes in: it joins a market, and opens sessions to read what is its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .messages import Message
from .typed_data import StructType, Value


@dataclass(frozen=True, slots=True)
class Join(Message):
    """An account joins a market with the operator's invite."""

    account: str
    market: str
    invite: str
    name: str
    issued_at: int

    TYPE = StructType(
        "Join",
        (
            ("account", "address"),
            ("market", "string"),
            ("invite", "string"),
            ("name", "string"),
            ("issuedAt", "uint64"),
        ),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "invite": self.invite,
            "name": self.name,
            "issuedAt": self.issued_at,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "invite": self.invite,
            "name": self.name,
            "issued_at": self.issued_at,
        }


@dataclass(frozen=True, slots=True)
class SessionRequest(Message):
    """An account asks for a token to read what is its own."""

    account: str
    market: str
    issued_at: int

    TYPE = StructType(
        "SessionRequest",
        (("account", "address"), ("market", "string"), ("issuedAt", "uint64")),
    )

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return {
            "account": self.account,
            "market": self.market,
            "issuedAt": self.issued_at,
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON values."""
        return {
            "account": self.account,
            "market": self.market,
            "issued_at": self.issued_at,
        }
