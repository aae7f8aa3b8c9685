"""What a home has in the market: each order that it signed, and what the coordinator has told of it.

Nothing is forgotten while it could still trade. What is told may be old: fills only grow, an order that is closed stays
closed, and one that was cancelled counts as open until the coordinator has told that it is closed, for only then is
known how much of it had traded before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ..protocol.messages import Order, Side
from ..protocol.units import ENERGY_WH_MAX
from ..protocol.wire import (
    INT64_MAX,
    read_bytes,
    read_choice,
    read_int,
    read_list,
    read_mapping,
    read_objects,
    read_text,
)
from .reason import Reason

KNOWN_MAX = 1_000
"""A market takes a few hundred of an account; more is nothing that a home can have."""

ORDER_KEY = "order:0x"
"""What an order's key in the outbox begins with; its digest follows."""

_OPEN = frozenset({"received", "triggered", "resting", "partly_filled"})


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """One order as the coordinator knows it; ``open``: it can still trade."""

    digest: bytes
    delivery_start: int
    side: Side
    energy_wh: int
    filled_wh: int
    open: bool

    @classmethod
    def of(cls, order: Order, answer: Mapping[str, Any]) -> Self:
        """Read what the coordinator answered about an order; ``ValueError`` names a field that is wrong."""
        return cls(
            digest=read_bytes(answer, "order", 32),
            delivery_start=order.delivery_start,
            side=order.side,
            energy_wh=order.energy_wh,
            filled_wh=read_int(answer, "filled_wh"),
            open=read_text(answer, "status") in _OPEN,
        )

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read an order of ``GET /accounts/{address}/orders``; ``ValueError`` names a field that is wrong."""
        return cls.of(Order.from_wire(read_mapping(wire, "terms")), wire)


@dataclass(slots=True)
class Standing:
    """One order of this home, and what is known of it.

    ``planned``: the plan's own, else placed by hand (or in a life that this state does not remember). ``at`` is when
    it was signed, ``cancelled_at`` when its last cancellation was, or its refusal; it is ``cancelling`` until the
    coordinator has told what came of that. ``heard``: the coordinator has told of it. ``withdrawn``: a person cancelled
    it. ``sent`` counts how often it may have left. ``told_wh`` is how much of it had traded when the coordinator told
    that it is over, ``None`` without such a word.
    """

    digest: bytes
    delivery_start: int
    side: Side
    energy_wh: int
    limit_price_micro_per_kwh: int | None = None
    reason: Reason | None = None
    planned: bool = False
    at: int = 0
    filled_wh: int = 0
    open: bool = True
    heard: bool = False
    refused: bool = False
    cancelled_at: int = 0
    cancelling: bool = False
    withdrawn: bool = False
    sent: int = 0
    told_wh: int | None = None

    @property
    def remaining_wh(self) -> int:
        """What may still trade."""
        return self.energy_wh - self.filled_wh if self.open else 0

    @property
    def heard_of(self) -> tuple[int, int, bool, bool, bool, bool, int | None]:
        """What the coordinator's word can change."""
        return (self.energy_wh, self.filled_wh, self.open, self.heard, self.refused, self.cancelling, self.told_wh)

    def to_dict(self) -> dict[str, Any]:
        """Return the order as JSON values."""
        return {
            **{name: getattr(self, name) for name in (*_INTEGERS, *_FLAGS)},
            "digest": "0x" + self.digest.hex(),
            "side": self.side.value,
            "limit_price_micro_per_kwh": self.limit_price_micro_per_kwh,
            "reason": None if self.reason is None else self.reason.to_dict(),
            "sent": self.sent,
            "told_wh": self.told_wh,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read an order from JSON values; ``ValueError`` names a field that is wrong.

        A state that did not count yet how often it was sent counts as one from which it was.
        """
        limit, reason = data.get("limit_price_micro_per_kwh"), data.get("reason")
        order = cls(
            digest=read_bytes(data, "digest", 32),
            side=read_choice(data, "side", Side),
            limit_price_micro_per_kwh=None if limit is None else read_int(data, "limit_price_micro_per_kwh"),
            reason=None if reason is None else Reason.from_dict(reason),
            delivery_start=read_int(data, "delivery_start"),
            energy_wh=read_int(data, "energy_wh"),
            sent=read_int({"sent": 1, **data}, "sent"),
            told_wh=None if data.get("told_wh") is None else read_int(data, "told_wh"),
        )
        for name in _INTEGERS:
            setattr(order, name, read_int(data, name))
        for name in _FLAGS:
            setattr(order, name, data.get(name) is True)
        return order


class Orders:
    """The home's orders of the intervals that are not past, by digest, oldest first."""

    def __init__(self, orders: Iterable[Standing] = ()) -> None:
        """Begin with these."""
        self._known = {order.digest: order for order in orders}

    @classmethod
    def from_state(cls, data: Mapping[str, Any]) -> Self:
        """Read the orders of an agent's saved state; version 1 kept the plan's orders without their energy.

        What waits to leave may have left before the state was read.
        """
        if read_int(data, "state_version") > 1:
            orders = cls(Standing.from_dict(order) for order in read_objects(data, "orders"))
            for item in read_objects({"outbox": [], **data}, "outbox"):
                orders.sending(read_text(item, "key"))
            return orders
        return cls(
            Standing(bytes.fromhex(digest[2:]), start, Side(side), 0, planned=True)
            for start, side, digest in read_list(data, "taken")
        )

    def __iter__(self) -> Iterator[Standing]:
        """Yield all, oldest first."""
        return iter(tuple(self._known.values()))

    def get(self, digest: bytes) -> Standing | None:
        """Return the order with this digest."""
        return self._known.get(digest)

    def of(self, delivery_start: int) -> tuple[Standing, ...]:
        """Return an interval's orders, oldest first."""
        return tuple(order for order in self._known.values() if order.delivery_start == delivery_start)

    def add(self, order: Standing) -> None:
        """Remember an order that was signed now."""
        self._known[order.digest] = order

    def sending(self, key: str) -> None:
        """Note that the message with this key of the outbox leaves now, for an answer that may get lost."""
        if key.startswith(ORDER_KEY) and (known := self.get(bytes.fromhex(key.removeprefix(ORDER_KEY)))) is not None:
            known.sent += 1

    def heard(self, status: OrderStatus, *, still_cancelling: bool) -> bool:
        """Take over what the coordinator says of an order; return whether that is news.

        ``still_cancelling``: its cancellation has not been answered, so being open means nothing yet.
        """
        known = self._known.get(status.digest)
        if known is None:
            is_over = not status.open and not status.filled_wh
            if is_over or not _is_possible(status) or len(self._known) >= KNOWN_MAX:
                return False
            known = Standing(status.digest, status.delivery_start, status.side, status.energy_wh)
            self.add(known)
        before = known.heard_of
        known.heard = True
        known.energy_wh = known.energy_wh or status.energy_wh
        known.filled_wh = max(known.filled_wh, min(status.filled_wh, known.energy_wh))
        if known.open or known.told_wh is None:  # else another may have been signed on the word that it is over
            known.told_wh = None if status.open else known.filled_wh
        if not status.open:
            known.open = known.cancelling = False
        elif known.open and not still_cancelling:
            known.cancelling = False  # the cancellation was refused, or this was told before it: it may be sent again
        known.refused = False
        return before != known.heard_of

    def refused(self, digest: bytes, at: int) -> None:
        """Note that the coordinator would not take an order.

        It may have taken it before, if that answer got lost; so its word is waited for as after a cancellation.
        """
        if (known := self._known.get(digest)) is not None and known.open:
            known.refused = known.cancelling = True
            known.cancelled_at = at
            if known.sent == 1 and not known.heard:
                known.told_wh = 0

    def cancel(self, digest: bytes, at: int) -> None:
        """Note that the cancellation of an order was signed."""
        if (known := self._known.get(digest)) is not None and known.open:
            known.cancelling, known.cancelled_at = True, at

    def missed(self, mentioned: Collection[bytes], cancelled_before: int) -> bool:
        """Close what was cancelled (or refused) by then and is in no complete report; return whether there was any.

        Such an order never came to the coordinator. It may be on its way for as long as a call may last, so until some
        time after its cancellation it counts as open.
        """
        lost = [
            order
            for order in self
            if order.cancelling
            and not order.heard
            and order.digest not in mentioned
            and order.cancelled_at <= cancelled_before
        ]
        for order in lost:
            order.open = order.cancelling = False
        return bool(lost)

    def forget(self, ended_before: int, interval_s: int) -> bool:
        """Forget intervals that have ended; return whether there was one."""
        past = [digest for digest, order in self._known.items() if order.delivery_start + interval_s <= ended_before]
        for digest in past:
            del self._known[digest]
        return bool(past)

    def to_list(self) -> list[dict[str, Any]]:
        """Return all as JSON values."""
        return [order.to_dict() for order in self._known.values()]


def _is_possible(status: OrderStatus) -> bool:
    """Tell whether anybody can have such an order; what is greater could not be kept on disk."""
    return 0 < status.energy_wh <= ENERGY_WH_MAX and 0 <= status.delivery_start <= INT64_MAX


_INTEGERS = ("delivery_start", "energy_wh", "at", "filled_wh", "cancelled_at")
_FLAGS = ("planned", "open", "heard", "refused", "cancelling", "withdrawn")
