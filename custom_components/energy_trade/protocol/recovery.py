"""Recover a secp256k1 signer from ``r || vs`` (EIP-2098) in pure Python, about 5 ms each.

For proofs that anybody checks now and then; who checks thousands uses libsecp256k1. Arithmetic:
SEC 1, section 4.1.6, over public values only, so timing leaks nothing.
"""

from __future__ import annotations

from .keys import address_of

_P = 2**256 - 2**32 - 977
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
type _Jacobian = tuple[int, int, int]
_INFINITY: _Jacobian = (0, 1, 0)


def recover_address(digest: bytes, signature: bytes) -> str | None:
    """Return the account that signed the digest, or ``None`` for no valid low-``s`` signature."""
    if len(signature) != 64:
        return None
    r, vs = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    odd, s = vs >> 255, vs & (2**255 - 1)
    if not 0 < r < _N or not 0 < s <= _N // 2:
        return None
    y = pow((pow(r, 3, _P) + 7) % _P, (_P + 1) // 4, _P)
    if (y * y - r**3 - 7) % _P:
        return None
    point = (r, y if y % 2 == odd else _P - y)
    inverse = pow(r, -1, _N)
    z = int.from_bytes(digest, "big")
    key = _double_multiply(-z * inverse % _N, _G, s * inverse % _N, point)
    return None if key is None else address_of(b"".join(c.to_bytes(32, "big") for c in key))


def compact(signature: bytes, digest: bytes, account: str) -> bytes | None:
    """Turn ``r || s`` into ``r || vs`` for its account, or ``None`` when it is not the account's."""
    for parity in (0, 0x80):
        candidate = signature[:32] + bytes([signature[32] | parity]) + signature[33:]
        if recover_address(digest, candidate) == account:
            return candidate
    return None


def _double_multiply(a: int, first: tuple[int, int], b: int, second: tuple[int, int]) -> tuple[int, int] | None:
    """Return the affine point ``a * first + b * second`` (Shamir's trick), ``None`` at infinity."""
    one, two = (*first, 1), (*second, 1)
    both = _add(one, two)
    total = _INFINITY
    for bit in range(255, -1, -1):
        total = _double(total)
        pick = (a >> bit & 1) + 2 * (b >> bit & 1)
        if pick:
            total = _add(total, (one, two, both)[pick - 1])
    x, y, z = total
    if z == 0:
        return None
    inverse = pow(z, -1, _P)
    return x * inverse**2 % _P, y * inverse**3 % _P


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0 or y == 0:
        return _INFINITY
    ysq = y * y % _P
    s = 4 * x * ysq % _P
    m = 3 * x * x % _P
    x3 = (m * m - 2 * s) % _P
    return x3, (m * (s - x3) - 8 * ysq * ysq) % _P, 2 * y * z % _P


def _add(p: _Jacobian, q: _Jacobian) -> _Jacobian:
    if p[2] == 0:
        return q
    if q[2] == 0:
        return p
    z1, z2 = p[2] * p[2] % _P, q[2] * q[2] % _P
    u1, u2 = p[0] * z2 % _P, q[0] * z1 % _P
    s1, s2 = p[1] * q[2] * z2 % _P, q[1] * p[2] * z1 % _P
    if u1 == u2:
        return _double(p) if s1 == s2 else _INFINITY
    h, r = (u2 - u1) % _P, (s2 - s1) % _P
    h2 = h * h % _P
    h3 = h * h2 % _P
    x = (r * r - h3 - 2 * u1 * h2) % _P
    return x, (r * (u1 * h2 - x) - s1 * h3) % _P, h * p[2] * q[2] % _P
