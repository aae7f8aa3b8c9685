"""Keys of homes: a secp256k1 trading account and a P-256 meter.

Signatures are 64 bytes ``r || s`` with ``s`` in the lower half; public keys are 64 bytes
``x || y``. Signing is deterministic (RFC 6979), so that a repeated message is the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .keccak import keccak256

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SIGN = ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)
_VERIFY = ec.ECDSA(Prehashed(SHA256()))


def read_address(text: str) -> str:
    """Return an account's address in lower case; raise ``ValueError`` for what is none.

    In capitals and small letters it carries a checksum (ERC-55), which must fit: a slip of the pen costs money.
    """
    digits = text.removeprefix("0x").lower()
    if len(text) != 42 or not text.startswith("0x") or set(digits) - set("0123456789abcdef"):
        raise ValueError("an address is 0x and 40 hex digits")
    nibbles = keccak256(digits.encode()).hex()
    mixed = "".join(d.upper() if int(n, 16) > 7 else d for d, n in zip(digits, nibbles, strict=False))
    if text[2:] not in {digits, digits.upper(), mixed}:
        raise ValueError("the address has a typing error: its capitals do not fit")
    return "0x" + digits


@dataclass(frozen=True)
class _Key:
    """A private key of one curve; ``repr`` never shows the secret."""

    _private: ec.EllipticCurvePrivateKey
    CURVE: ClassVar[ec.EllipticCurve]
    ORDER: ClassVar[int]

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the system's randomness."""
        return cls(ec.generate_private_key(cls.CURVE))

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Load the key from its 32-byte secret; raise ``ValueError`` when it is out of range."""
        if len(secret) != 32:
            raise ValueError(f"a key's secret has 32 bytes, not {len(secret)}")
        number = int.from_bytes(secret, "big")
        if not 0 < number < cls.ORDER:
            raise ValueError("a key's secret lies between 1 and the curve's order")
        return cls(ec.derive_private_key(number, cls.CURVE))

    @property
    def secret(self) -> bytes:
        """The 32-byte secret, for the private store only."""
        return self._private.private_numbers().private_value.to_bytes(32, "big")

    @cached_property
    def public_key(self) -> bytes:
        """The public point as 64 bytes ``x || y``."""
        return self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest: 64 bytes ``r || s``, low ``s``."""
        r, s = decode_dss_signature(self._private.sign(digest, _SIGN))
        return r.to_bytes(32, "big") + min(s, self.ORDER - s).to_bytes(32, "big")

    def __repr__(self) -> str:
        """Show the public half only."""
        return f"{type(self).__name__}(public_key=0x{self.public_key.hex()})"


class AccountKey(_Key):
    """A trading account's key (secp256k1); its Ethereum address is the account."""

    CURVE = ec.SECP256K1()
    ORDER = _SECP256K1_ORDER

    @cached_property
    def address(self) -> str:
        """The account: ``0x`` and 40 lower-case hex digits."""
        return address_of(self.public_key)


class MeterKey(_Key):
    """A meter's key (P-256)."""

    CURVE = ec.SECP256R1()
    ORDER = _P256_ORDER

    @cached_property
    def device_id(self) -> int:
        """``uint256(keccak256(x || y))``."""
        return device_id_of(self.public_key)


def address_of(public_key: bytes) -> str:
    """Return the Ethereum address of a 64-byte secp256k1 public key, in lower case."""
    return "0x" + keccak256(public_key)[12:].hex()


def device_id_of(public_key: bytes) -> int:
    """Return the device id of a 64-byte meter key."""
    return int.from_bytes(keccak256(public_key), "big")


def verify_account(digest: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether the secp256k1 signature (``r || s``, low ``s``) is the key's over the digest."""
    return _verify("secp256k1", _SECP256K1_ORDER, digest, signature, public_key)


def verify_meter(digest: bytes, signature: bytes, public_key: bytes) -> bool:
    """Tell whether the P-256 signature (``r || s``, low ``s``) is the key's over the digest."""
    return _verify("secp256r1", _P256_ORDER, digest, signature, public_key)


def _verify(curve: str, order: int, digest: bytes, signature: bytes, public_key: bytes) -> bool:
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < order or not 0 < s <= order // 2:
        return False
    try:
        _load(curve, public_key).verify(encode_dss_signature(r, s), digest, _VERIFY)
    except InvalidSignature, ValueError:  # ValueError: the point is not on the curve
        return False
    return True


@lru_cache(maxsize=4096)
def _load(curve: str, public_key: bytes) -> ec.EllipticCurvePublicKey:
    kind = ec.SECP256K1() if curve == "secp256k1" else ec.SECP256R1()
    return ec.EllipticCurvePublicKey.from_encoded_point(kind, b"\x04" + public_key)
