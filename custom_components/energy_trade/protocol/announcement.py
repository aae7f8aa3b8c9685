"""How a coordinator makes itself known in the local network: by DNS service discovery, signed by its operator.

Anybody in a network can announce anything, and what a coordinator answers is public. The signature binds the address
to the operator's key, so that a home follows its own market to a new address and nobody else's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from .keys import read_address, verify_account
from .messages import Message
from .typed_data import Domain, StructType, Value
from .wire import read_bytes, read_text

SERVICE = "_energy-trade._tcp.local."
"""RFC 6763; the name is not registered with IANA."""

_PLACE = re.compile(r"(?P<market>.+)@(?P<chain>[0-9]{1,18}):(?P<ledger>0x[0-9a-f]{40})")
_TEXT_BYTES_MAX = 255
"""RFC 6763, 6.1: one string of a TXT record, the key and the equals sign included."""


@dataclass(frozen=True, slots=True)
class Announcement(Message):
    """A market and the address at which its coordinator answers."""

    market: str
    url: str
    name: str

    TYPE = StructType("Announcement", (("market", "string"), ("url", "string"), ("name", "string")))

    def values(self) -> Mapping[str, Value]:
        """Return the struct's values by EIP-712 member name."""
        return self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON values."""
        return {"market": self.market, "url": self.url, "name": self.name}

    def properties(self, signature: bytes, domain: Domain) -> dict[str, str]:
        """Return the TXT record's strings; raise ``ValueError`` for one that is too long for it."""
        found = {
            "id": f"{self.market}@{domain.chain_id}:{domain.ledger}",
            "url": self.url,
            "name": self.name,
            "signature": "0x" + signature.hex(),
        }
        for key, value in found.items():
            if len(f"{key}={value}".encode()) > _TEXT_BYTES_MAX:
                raise ValueError(f"{key} is too long to be announced: {value}")
        return found

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> tuple[Self, Domain, bytes]:
        """Read the TXT record's strings; raise ``ValueError`` naming what is wrong."""
        place = _PLACE.fullmatch(read_text(properties, "id"))
        if place is None:
            raise ValueError("id: expected market@chain:ledger")
        announcement = cls(place["market"], read_text(properties, "url"), read_text(properties, "name"))
        domain = Domain(int(place["chain"]), read_address(place["ledger"]))
        return announcement, domain, read_bytes(properties, "signature", 64)

    def signed_by(self, signature: bytes, public_key: bytes, domain: Domain) -> bool:
        """Tell whether the signature is this operator's."""
        return verify_account(self.digest(domain), signature, public_key)
