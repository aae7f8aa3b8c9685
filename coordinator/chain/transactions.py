"""Signed EIP-1559 transactions, and the little RLP that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from btclib_secp256k1 import recovery

from ..protocol.keccak import keccak256
from ..protocol.keys import AccountKey

LOCAL_CHAIN_ID = 31337
TRANSACTION_GAS_MAX = 16_777_216  # EIP-7825
TRANSACTION_BYTES_MAX = 131_072  # go-ethereum's txMaxSize; the local chain has no such limit


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction may cost per gas, in wei."""

    max_fee_wei: int
    tip_wei: int


@dataclass(frozen=True, slots=True)
class Call:
    """What a transaction does; ``to`` is ``None`` for a deployment."""

    to: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction as it travels."""

    nonce: int
    raw: bytes
    transaction: str


def sign(key: AccountKey, chain_id: int, nonce: int, call: Call, gas: int, fees: Fees) -> Signed:
    """Sign a transaction without value; the same input gives the same bytes (RFC 6979)."""
    to = b"" if call.to is None else bytes.fromhex(call.to.removeprefix("0x"))
    fields: list[object] = [chain_id, nonce, fees.tip_wei, fees.max_fee_wei, gas, to, 0, call.data, []]
    signature, parity = recovery.sign(keccak256(b"\x02" + rlp(fields)), key.secret)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    raw = b"\x02" + rlp([*fields, parity, r, s])
    return Signed(nonce, raw, "0x" + keccak256(raw).hex())


def max_fee_wei(signed: Signed) -> int:
    """Return the most that a signed transaction pays per gas."""
    return int.from_bytes(_fields(signed)[3])


def sign_again(key: AccountKey, signed: Signed, fees: Fees) -> Signed:
    """Sign the same transaction at other fees: it has the same nonce, so that only one of the two happens."""
    chain_id, nonce, _, _, gas, to, _, calldata, *_ = _fields(signed)
    call = Call("0x" + to.hex() if to else None, calldata)
    return sign(key, int.from_bytes(chain_id), int.from_bytes(nonce), call, int.from_bytes(gas), fees)


def created_address(creator: str, nonce: int) -> str:
    """Return the address of the contract that the creator's transaction of this nonce makes."""
    return "0x" + keccak256(rlp([bytes.fromhex(creator.removeprefix("0x")), nonce]))[12:].hex()


def rlp(value: object) -> bytes:
    """Encode bytes, non-negative integers and nested sequences (Yellow Paper, appendix B)."""
    match value:
        case bytes():
            return value if len(value) == 1 and value[0] < 0x80 else _prefix(0x80, len(value)) + value
        case int():
            return rlp(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        case Sequence():
            body = b"".join(rlp(item) for item in value)
            return _prefix(0xC0, len(body)) + body
    raise TypeError(f"a {type(value).__name__} has no RLP")


def _fields(signed: Signed) -> list[bytes]:
    """Return a signed transaction's fields; its access list is empty."""
    body, _ = _item(signed.raw, 1)
    fields, at = [], 0
    while at < len(body):
        field, at = _item(body, at)
        fields.append(field)
    return fields


def _item(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes of the RLP item at a place, a list's as they are, and where the next one begins."""
    kind = data[at]
    if kind < 0x80:
        return data[at : at + 1], at + 1
    length, begin = kind - (0x80 if kind < 0xC0 else 0xC0), at + 1
    if length > 55:
        begin += length - 55
        length = int.from_bytes(data[at + 1 : begin])
    return data[begin : begin + length], begin + length


def _prefix(offset: int, length: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size
