"""What was signed and has not been answered yet, in order, across restarts and outages.

Nothing is handed out before it was saved: a signed message that could be forgotten after it was
sent would be signed again with other content (equivocation). Readings leave one at a time, in
sequence; an order that cannot be placed any more because its gate closed is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..protocol.messages import Cancel, Order, Reading
from ..protocol.wire import read_bytes, read_choice, read_int, read_mapping, read_text
from .reason import Reason

READINGS_MAX = 10_000
ORDERS_MAX = 200


class Kind(StrEnum):
    """What kind of message waits."""

    READING = "reading"
    ORDER = "order"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One signed message on its way; ``expires_at`` 0 means that it waits for ever."""

    key: str
    message: Reading | Order | Cancel
    signature: bytes
    expires_at: int = 0
    reason: Reason | None = None

    @property
    def kind(self) -> Kind:
        """What kind of message it is."""
        match self.message:
            case Reading():
                return Kind.READING
            case Order():
                return Kind.ORDER
            case Cancel():
                return Kind.CANCEL

    def to_dict(self) -> dict[str, Any]:
        """Return the item as JSON values."""
        return {
            "key": self.key,
            "kind": self.kind.value,
            "message": self.message.to_wire(),
            "signature": "0x" + self.signature.hex(),
            "expires_at": self.expires_at,
            "reason": None if self.reason is None else self.reason.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outgoing:
        """Read an item from JSON values; ``ValueError`` names a field that is wrong."""
        message = read_mapping(data, "message")
        reason = data.get("reason")
        return cls(
            key=read_text(data, "key"),
            message=_message(read_choice(data, "kind", Kind), message),
            signature=read_bytes(data, "signature", 64),
            expires_at=read_int(data, "expires_at"),
            reason=None if reason is None else Reason.from_dict(reason),
        )


class Outbox:
    """The messages that wait, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: dict[str, tuple[Outgoing, int]] = {}
        self._saved_version = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._items)

    def __iter__(self) -> Iterator[Outgoing]:
        """Yield all that waits, oldest first."""
        return iter([item for item, _ in self._items.values()])

    def __contains__(self, key: str) -> bool:
        """Tell whether the message with this key still waits."""
        return key in self._items

    def readings(self) -> list[Outgoing]:
        """Return the readings that wait, in sequence."""
        return [item for item in self if item.kind is Kind.READING]

    def orders(self) -> list[Outgoing]:
        """Return the orders and cancellations that wait, oldest first."""
        return [item for item in self if item.kind is not Kind.READING]

    def add(self, item: Outgoing, version: int) -> None:
        """Put a message at the end; it may leave once state ``version`` is saved."""
        self._items[item.key] = (item, version)

    def saved(self, version: int) -> None:
        """Note that the state with this version is on disk."""
        self._saved_version = max(self._saved_version, version)

    def ready(self) -> list[Outgoing]:
        """Return the saved orders and cancellations and the next reading: what may be sent now."""
        reading = self.next_reading()
        orders = [item for item in self.orders() if self._is_saved(item)]
        return orders if reading is None else [*orders, reading]

    def next_reading(self) -> Outgoing | None:
        """Return the first reading that waits, once it is saved."""
        first = next((item for item in self if item.kind is Kind.READING), None)
        return first if first is not None and self._is_saved(first) else None

    def may_have_left(self, key: str) -> bool:
        """Tell whether the message with this key was free to be sent."""
        return key in self._items and self._items[key][1] <= self._saved_version

    def remove(self, key: str) -> Outgoing | None:
        """Take a message out, e.g. when it was answered."""
        entry = self._items.pop(key, None)
        return None if entry is None else entry[0]

    def drop_expired(self, at: int) -> list[Outgoing]:
        """Take out what can no longer be of use at ``at``."""
        late = [item for item in self if item.expires_at and item.expires_at <= at]
        for item in late:
            self.remove(item.key)
        return late

    def _is_saved(self, item: Outgoing) -> bool:
        return self._items[item.key][1] <= self._saved_version

    def to_list(self) -> list[dict[str, Any]]:
        """Return all that waits as JSON values."""
        return [item.to_dict() for item in self]

    @classmethod
    def from_list(cls, items: list[Any], version: int) -> Outbox:
        """Read what waited when state ``version`` was saved."""
        outbox = cls()
        outbox.saved(version)
        for data in items:
            outbox.add(Outgoing.from_dict(data), version)
        return outbox


def _message(kind: Kind, wire: Mapping[str, Any]) -> Reading | Order | Cancel:
    match kind:
        case Kind.READING:
            return Reading.from_wire(wire)
        case Kind.ORDER:
            return Order.from_wire(wire)
        case Kind.CANCEL:
            return Cancel(
                account=read_text(wire, "account"),
                market=read_text(wire, "market"),
                order=read_bytes(wire, "order", 32),
                until=read_int(wire, "until"),
                salt=read_bytes(wire, "salt", 32),
            )
