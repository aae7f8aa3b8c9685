"""Reading JSON values with errors that name the field and say what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_HEX = re.compile("0x[0-9a-fA-F]*")


def read_int(wire: Mapping[str, Any], name: str) -> int:
    """Return an integer field."""
    value = wire.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refusal(name, "an integer", value)
    return value


def read_int64(wire: Mapping[str, Any], name: str) -> int:
    """Return an integer field that a home's store can keep, which ends at 64 bits."""
    value = read_int(wire, name)
    if not INT64_MIN <= value <= INT64_MAX:
        raise ValueError(f"{name}: expected an integer of 64 bits")
    return value


def read_bool(wire: Mapping[str, Any], name: str) -> bool:
    """Return a truth value."""
    value = wire.get(name)
    if not isinstance(value, bool):
        raise _refusal(name, "true or false", value)
    return value


def read_text(wire: Mapping[str, Any], name: str) -> str:
    """Return a text field."""
    value = wire.get(name)
    if not isinstance(value, str):
        raise _refusal(name, "text", value)
    return value


def read_bytes(wire: Mapping[str, Any], name: str, length: int) -> bytes:
    """Return a field of ``length`` bytes in ``0x`` hex."""
    value = wire.get(name)
    if not isinstance(value, str) or len(value) != 2 + 2 * length or not _HEX.fullmatch(value):
        raise _refusal(name, f"0x and {2 * length} hex digits", value)
    return bytes.fromhex(value[2:])


def read_hex_int(wire: Mapping[str, Any], name: str) -> int:
    """Return a 256-bit number written as ``0x`` and 64 hex digits."""
    return int.from_bytes(read_bytes(wire, name, 32), "big")


def read_choice[E: StrEnum](wire: Mapping[str, Any], name: str, kind: type[E]) -> E:
    """Return a member of an enumeration."""
    value = wire.get(name)
    if isinstance(value, str) and value in kind:
        return kind(value)
    raise _refusal(name, f"one of {', '.join(kind)}", value)


def read_mapping(wire: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a field that is itself an object."""
    value = wire.get(name)
    if not isinstance(value, Mapping):
        raise _refusal(name, "an object", value)
    return value


def read_list(wire: Mapping[str, Any], name: str) -> list[Any]:
    """Return a field that is a list."""
    value = wire.get(name)
    if not isinstance(value, list):
        raise _refusal(name, "a list", value)
    return value


def read_objects(wire: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a field that is a list of objects."""
    return [read_mapping({name: item}, name) for item in read_list(wire, name)]


def _refusal(name: str, expected: str, value: object) -> ValueError:
    """Say which field was not what was expected, without flooding the message."""
    text = repr(value)
    shown = text if len(text) <= 60 else text[:57] + "..."
    return ValueError(f"{name}: expected {expected}, was {shown}")
