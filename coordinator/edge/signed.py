"""Signed orders at speed: read strictly, hashed and checked with little ceremony.

``read_signed`` reads what nearly every order looks like and answers ``None`` to all else, which the strict models
then read, or refuse with the reason; so it takes nothing that they refuse, and the refusals have one source.
``check_signed`` is what the verifying processes run: from the same bytes to the digest and ``r || vs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from btclib_secp256k1 import recovery

from ..protocol.keccak import keccak256
from ..protocol.messages import CLIENT_ID_LENGTH_MAX, ZERO_HASH, Order, Side, TimeInForce
from ..protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX

SECONDS_MAX = 2**40 - 1
"""As ``wire`` has it; this module is loaded by processes that need nothing of the models."""

_HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
_ZERO_TEXT = "0x" + "00" * 32


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order with its account's claimed signature, and the bytes that both were read from, where they are plain."""

    order: Order
    signature: bytes
    raw: bytes | None = None


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    market: str
    delivery_start: int
    side: Side
    energy_wh: int
    limit_price_micro_per_kwh: int | None
    time_in_force: TimeInForce
    valid_from: int
    valid_until: int
    client_id: str
    salt: str
    condition: None = None
    bundle: str = _ZERO_TEXT
    preferences: None = None


class _Signed(msgspec.Struct, forbid_unknown_fields=True):
    order: _Order
    signature: str


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    orders: list[msgspec.Raw]


_BATCH_DECODER = msgspec.json.Decoder(_Batch)
_DECODER = msgspec.json.Decoder(_Signed)


def read_signed(raw: bytes) -> SignedOrder | None:
    """Read a signed order without condition, bundle and preferences; ``None``: let the strict models say."""
    try:
        found = _DECODER.decode(raw)
        order = _order(found.order)
        signature = _unhex(found.signature, 64)
    except msgspec.DecodeError, ValueError:
        return None
    return None if order is None else SignedOrder(order, signature, raw)


def read_batch(raw: bytes) -> list[bytes] | None:
    """Split ``{"orders": [...]}`` into the bytes of its orders; ``None``: let the strict models say."""
    try:
        return [bytes(order) for order in _BATCH_DECODER.decode(raw).orders]
    except msgspec.DecodeError:
        return None


def check_signed(raw: bytes, separator: bytes) -> tuple[bytes, bytes] | None:
    """Return digest and ``r || vs`` of an order that its account signed in the domain, ``None`` for any other."""
    signed = read_signed(raw)
    if signed is None:
        return None
    digest = order_digest(signed.order, separator)
    compact = compact_for(signed.order.account, digest, signed.signature)
    return None if compact is None else (digest, compact)


def order_digest(order: Order, separator: bytes) -> bytes:
    """Return ``order.digest`` of an order without condition, bundle and preferences (EIP-712), only sooner."""
    terms = keccak256(
        _TERMS_TYPE
        + order.time_in_force.code.to_bytes(32, "big")
        + order.valid_from.to_bytes(32, "big")
        + order.valid_until.to_bytes(32, "big")
        + _NO_EXTRAS
        + _text_hash(order.client_id)
        + order.salt
    )
    struct = keccak256(
        _ORDER_TYPE
        + bytes.fromhex(order.account[2:]).rjust(32, b"\0")
        + _text_hash(order.market)
        + order.delivery_start.to_bytes(32, "big")
        + order.side.code.to_bytes(32, "big")
        + order.energy_wh.to_bytes(32, "big")
        + order.signed_limit.to_bytes(32, "big", signed=True)
        + terms
    )
    return keccak256(b"\x19\x01" + separator + struct)


def compact_for(account: str, digest: bytes, signature: bytes) -> bytes | None:
    """Return ``r || vs`` when the signature is the account's over the digest, with low ``s``.

    ``r || s`` names its signer once the recovery bit is known: the claimed account tells which of the two it is, so
    finding it checks the signature. Who sends ``r || vs`` (EIP-2098) has told the bit where it is set.
    """
    if len(signature) != 64:
        return None
    told = signature[32] >> 7
    plain = signature[:32] + bytes([signature[32] & 0x7F]) + signature[33:] if told else signature
    if int.from_bytes(plain[32:], "big") > _HALF_ORDER:
        return None
    for parity in (1,) if told else (0, 1):
        try:
            public_key: Any = recovery.recover(digest, plain, parity, False)
        except ValueError:
            continue
        if "0x" + keccak256(public_key[1:])[12:].hex() == account:
            return plain[:32] + bytes([plain[32] | parity << 7]) + plain[33:]
    return None


@lru_cache(maxsize=4096)
def _text_hash(text: str) -> bytes:
    return keccak256(text.encode())


def _order(found: _Order) -> Order | None:
    """Return the order when every field is in the range that ``order_wire`` allows."""
    limit, most = found.limit_price_micro_per_kwh, PRICE_MICRO_PER_KWH_MAX
    times = found.delivery_start, found.valid_from, found.valid_until
    fits = (
        min(times) >= 0
        and max(times) <= SECONDS_MAX
        and 1 <= found.energy_wh <= ENERGY_WH_MAX
        and (limit is None or -most <= limit <= most)
        and 1 <= len(found.market) <= 64
        and len(found.client_id) <= CLIENT_ID_LENGTH_MAX
        and (found.client_id.isprintable() and found.client_id.isascii())
        and found.market.isascii()
        and found.bundle == _ZERO_TEXT
    )
    if not fits:
        return None
    _unhex(found.account, 20)
    return Order(
        found.account.lower(),
        found.market,
        found.delivery_start,
        found.side,
        found.energy_wh,
        limit,
        found.time_in_force,
        found.valid_from,
        found.valid_until,
        found.client_id,
        _unhex(found.salt, 32),
    )


def _unhex(text: str, length: int) -> bytes:
    """Return the bytes; raise ``ValueError`` for anything but ``0x`` and their digits."""
    data = bytes.fromhex(text[2:])
    if len(data) != length or len(text) != 2 + 2 * length or text[:2] != "0x":
        raise ValueError
    return data


_ORDER_TYPE = Order.TYPE.type_hash
_TERMS_TYPE = Order.TYPE.nested[0].type_hash
_NO_EXTRAS = 3 * ZERO_HASH
