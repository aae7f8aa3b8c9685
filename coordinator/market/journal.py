"""The continuous engine's trail: every command as a binary record, each chained to all before it.

A frame is a record and its link: 16 bytes of BLAKE2b over all records until and with this one. So a changed, lost or
torn record shows at its place, and the last link stands for the whole trail. Records are little-endian and tell their
own length. No I/O: ``write`` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from ..protocol.messages import Side, TimeInForce
from ..protocol.order_terms import Comparison, Condition, Signal

LINK_BYTES = 16

_SIDES = tuple(Side)
_LIFETIMES = tuple(TimeInForce)
_SIGNALS = tuple(Signal)
_COMPARISONS = tuple(Comparison)
_SELLS, _AT_MARKET, _EXPIRES, _WAITS = 1, 2, 4, 8
_LIFETIME_SHIFT = 4
_LIFETIME_BITS = {lifetime: lifetime.code << _LIFETIME_SHIFT for lifetime in TimeInForce}


class _Kind(IntEnum):
    NEW = 1
    CANCEL = 2
    CANCEL_ALL = 3
    MODIFY = 4
    OBSERVE = 5
    ADVANCE = 6


_NEW = Struct("<BBQQQqQ")
_EXPIRY = Struct("<Q")
_CONDITION = Struct("<BBqQ")
_CANCEL = Struct("<BQQ")
_MODIFY = Struct("<BQQQq")
_OBSERVE = Struct("<BQBq")
_ADVANCE = Struct("<BQ")
_PACK_NEW, _PACK_CANCEL = _NEW.pack, _CANCEL.pack
_KIND_NEW, _KIND_CANCEL = int(_Kind.NEW), int(_Kind.CANCEL)
_SELL = Side.SELL


class New(NamedTuple):
    """An order comes. ``expiry`` is a second (0: none), ``owner`` 0 is nobody.

    An engine has one interval; its conditions' ``delivery_start`` is kept, not looked at.
    """

    at: int
    key: int
    side: Side
    energy_wh: int
    price: int | None
    lifetime: TimeInForce = TimeInForce.GOOD_TILL_GATE
    owner: int = 0
    expiry: int = 0
    condition: Condition | None = None


class Cancel(NamedTuple):
    """An order is to leave."""

    at: int
    key: int


class CancelAll(NamedTuple):
    """All orders of an owner are to leave."""

    at: int
    owner: int


class Modify(NamedTuple):
    """An order is to have this much open energy and this limit."""

    at: int
    key: int
    energy_wh: int
    price: int


class Observe(NamedTuple):
    """A signal from outside has a value."""

    at: int
    signal: Signal
    value: int


class Advance(NamedTuple):
    """Time comes to ``at``, and orders expire."""

    at: int


type EngineCommand = New | Cancel | CancelAll | Modify | Observe | Advance


class Journal:
    """Where records go; ``head`` is the link of the last one and stands for all of them."""

    __slots__ = ("_hash", "_write", "count", "head")

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        """Begin a trail; ``write`` gets each frame (``None``: only count and chain)."""
        self._hash = blake2b(digest_size=LINK_BYTES)
        self._write = write
        self.head = self._hash.digest()
        self.count = 0

    def append(self, record: bytes) -> None:
        """Chain a record and write its frame."""
        trail = self._hash
        trail.update(record)
        head = self.head = trail.digest()
        self.count += 1
        if self._write is not None:
            self._write(record + head)


def pack(command: EngineCommand) -> bytes:
    """Return a command's record; raise ``struct.error`` for numbers of more than 64 bits."""
    match command:
        case New():
            return pack_new(command)
        case Cancel(at, key):
            return pack_cancel(at, key)
        case CancelAll(at, owner):
            return _CANCEL.pack(_Kind.CANCEL_ALL, at, owner)
        case Modify(at, key, energy_wh, price):
            return _MODIFY.pack(_Kind.MODIFY, at, key, energy_wh, price)
        case Observe(at, signal, value):
            return _OBSERVE.pack(_Kind.OBSERVE, at, signal.code, value)
        case Advance(at):
            return _ADVANCE.pack(_Kind.ADVANCE, at)


def pack_new(command: New) -> bytes:
    """Return an order's record; raises as ``pack`` does."""
    at, key, side, energy_wh, price, lifetime, owner, expiry, condition = command
    flags = _LIFETIME_BITS[lifetime] | (_SELLS if side is _SELL else 0)
    if price is None:
        flags |= _AT_MARKET
        price = 0
    if not expiry and condition is None:
        return _PACK_NEW(_KIND_NEW, flags, at, key, energy_wh, price, owner)
    tail = b""
    if expiry:
        flags |= _EXPIRES
        tail = _EXPIRY.pack(expiry)
    if condition is not None:
        flags |= _WAITS
        codes = condition.signal.code, condition.comparison.code
        tail += _CONDITION.pack(*codes, condition.threshold, condition.delivery_start)
    return _PACK_NEW(_KIND_NEW, flags, at, key, energy_wh, price, owner) + tail


def pack_cancel(at: int, key: int) -> bytes:
    """Return a cancellation's record; raises as ``pack`` does."""
    return _PACK_CANCEL(_KIND_CANCEL, at, key)


def read_journal(data: bytes) -> Iterator[EngineCommand]:
    """Yield the commands of a trail; raise ``ValueError`` at the first frame that is torn or does not chain."""
    trail, offset, number = blake2b(digest_size=LINK_BYTES), 0, 0
    while offset < len(data):
        number += 1
        length = _length(data, offset)
        end = offset + length
        if not length or end + LINK_BYTES > len(data):
            raise ValueError(f"record {number} at byte {offset} is torn or none of ours")
        record = data[offset:end]
        trail.update(record)
        if trail.digest() != data[end : end + LINK_BYTES]:
            raise ValueError(f"record {number} at byte {offset} does not chain to the one before")
        yield _read(record)
        offset = end + LINK_BYTES


_LENGTHS: dict[int, int] = {
    _Kind.CANCEL: _CANCEL.size,
    _Kind.CANCEL_ALL: _CANCEL.size,
    _Kind.MODIFY: _MODIFY.size,
    _Kind.OBSERVE: _OBSERVE.size,
    _Kind.ADVANCE: _ADVANCE.size,
}


def _length(data: bytes, offset: int) -> int:
    """Return how long the record at ``offset`` is, 0 when nothing begins there."""
    if data[offset] != _KIND_NEW:
        return _LENGTHS.get(data[offset], 0)
    flags = data[offset + 1] if offset + 1 < len(data) else 0
    return _NEW.size + (_EXPIRY.size if flags & _EXPIRES else 0) + (_CONDITION.size if flags & _WAITS else 0)


def _read(record: bytes) -> EngineCommand:
    match record[0]:
        case _Kind.NEW:
            return _read_new(record)
        case _Kind.CANCEL:
            return Cancel(*_CANCEL.unpack(record)[1:])
        case _Kind.CANCEL_ALL:
            return CancelAll(*_CANCEL.unpack(record)[1:])
        case _Kind.MODIFY:
            return Modify(*_MODIFY.unpack(record)[1:])
        case _Kind.OBSERVE:
            _, at, signal, value = _OBSERVE.unpack(record)
            return Observe(at, _SIGNALS[signal], value)
        case _:
            return Advance(_ADVANCE.unpack(record)[1])


def _read_new(record: bytes) -> New:
    _, flags, at, key, energy_wh, price, owner = _NEW.unpack_from(record)
    offset, expiry, condition = _NEW.size, 0, None
    if flags & _EXPIRES:
        (expiry,) = _EXPIRY.unpack_from(record, offset)
        offset += _EXPIRY.size
    if flags & _WAITS:
        signal, comparison, threshold, delivery_start = _CONDITION.unpack_from(record, offset)
        condition = Condition(_SIGNALS[signal], _COMPARISONS[comparison], threshold, delivery_start)
    return New(
        at=at,
        key=key,
        side=_SIDES[flags & _SELLS],
        energy_wh=energy_wh,
        price=None if flags & _AT_MARKET else price,
        lifetime=_LIFETIMES[flags >> _LIFETIME_SHIFT],
        owner=owner,
        expiry=expiry,
        condition=condition,
    )
