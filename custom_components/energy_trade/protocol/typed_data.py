"""EIP-712 typed data for flat and nested structs, as far as our messages need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .keccak import keccak256

type Value = int | str | bytes | Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct of EIP-712: its name and its members as ``(name, type)`` in signing order."""

    name: str
    members: tuple[tuple[str, str], ...]
    nested: tuple[StructType, ...] = ()
    type_hash: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash the type string once."""
        object.__setattr__(self, "type_hash", keccak256(self.type_string().encode()))

    def type_string(self) -> str:
        """Return ``Order(address account,...)Terms(...)`` as the standard writes it."""
        own = self.name + "(" + ",".join(f"{kind} {name}" for name, kind in self.members) + ")"
        return own + "".join(t.type_string() for t in sorted(self.nested, key=lambda t: t.name))


@dataclass(frozen=True, slots=True)
class Domain:
    """The signing domain: chain and ledger contract (address as ``0x`` and 40 hex digits)."""

    chain_id: int
    ledger: str

    def separator(self) -> bytes:
        """Return EIP-712's domain separator (32 bytes)."""
        return _separator(self.chain_id, self.ledger)

    def digest(self, struct_hash: bytes) -> bytes:
        """Return the 32 bytes that are signed for a struct."""
        return keccak256(b"\x19\x01" + self.separator() + struct_hash)


def hash_struct(kind: StructType, values: Mapping[str, Value]) -> bytes:
    """Return ``hashStruct`` of the values; raise ``ValueError`` when one does not fit its type."""
    nested = {struct.name: struct for struct in kind.nested}
    words = [kind.type_hash]
    for name, member in kind.members:
        try:
            words.append(_word(member, values[name], nested))
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{kind.name}.{name}: {error}") from error
    return keccak256(b"".join(words))


@lru_cache(maxsize=16)  # a process knows few domains and hashes thousands of messages a second
def _separator(chain_id: int, ledger: str) -> bytes:
    return hash_struct(
        _DOMAIN,
        {
            "name": "Energy Trade",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": ledger,
        },
    )


def _word(member: str, value: Value, nested: Mapping[str, StructType]) -> bytes:
    """Encode one member as a 32-byte word."""
    match value:
        case int():
            return _integer(member, value)
        case str() if member == "string":
            return keccak256(value.encode())
        case str() if member == "address":
            return _fixed(bytes.fromhex(value.removeprefix("0x")), 20).rjust(32, b"\0")
        case bytes() if member == "bytes32":
            return _fixed(value, 32)
        case Mapping() if member in nested:
            return hash_struct(nested[member], value)
    raise ValueError(f"a {type(value).__name__} is no {member}")


def _integer(member: str, value: int) -> bytes:
    signed = member.startswith("int")
    if not signed and not member.startswith("uint"):
        raise ValueError(f"an int is no {member}")
    bits = int(member.removeprefix("u").removeprefix("int"))
    value.to_bytes(bits // 8, "big", signed=signed)  # raises OverflowError when it does not fit
    return value.to_bytes(32, "big", signed=signed)


def _fixed(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError(f"{len(data)} bytes instead of {length}")
    return data


_DOMAIN = StructType(
    "EIP712Domain",
    (
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
    ),
)
