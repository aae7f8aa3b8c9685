"""Reading a case file's values: each fault in one line that says what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ...protocol.messages import Side


class CaseError(ValueError):
    """The case is malformed or asks for something that is not supported yet."""


def as_object(value: object, where: str) -> Mapping[str, Any]:
    """Return an object."""
    if isinstance(value, Mapping):
        return value
    raise CaseError(f"{where}: expected an object, was {shown(value)}")


def as_list(value: object, where: str) -> Sequence[Any]:
    """Return a list."""
    if isinstance(value, list):
        return value
    raise CaseError(f"{where}: expected a list, was {shown(value)}")


def given(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a field that may be left out or ``null``."""
    value = fields.get(name)
    return default if value is None else value


def field(fields: Mapping[str, Any], name: str, where: str) -> Any:
    """Return a field that must be there."""
    if name in fields:
        return fields[name]
    raise CaseError(f"{path(where, name)}: is missing")


def only(fields: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    """Refuse fields that the format does not know."""
    for name in fields:
        if name not in names:
            named = path(where, name if name.isidentifier() and len(name) <= 40 else shown(name))
            raise CaseError(f"{named}: unknown; expected {', '.join(names)}")


def path(where: str, name: str) -> str:
    """Return where a field is."""
    return f"{where}.{name}" if where else name


def name_of(entry: Mapping[str, Any], where: str) -> str:
    """Return a case's id."""
    return as_text(entry["id"], path(where, "id")) if "id" in entry else where


def as_integer(value: object, where: str) -> int:
    """Return an integer."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CaseError(f"{where}: expected an integer, was {shown(value)}")


def as_flag(value: object, where: str) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise CaseError(f"{where}: expected true or false, was {shown(value)}")


def as_price(value: object, where: str) -> int | None:
    """Return a price, or ``None`` for none."""
    return None if value is None else as_integer(value, where)


def within(value: int, low: int, high: int, where: str) -> None:
    """Refuse a number outside of its limits."""
    if not low <= value <= high:
        raise CaseError(f"{where}: expected {low} to {high}, was {shown(value)}")


def as_text(value: object, where: str) -> str:
    """Return text that is not empty."""
    if isinstance(value, str) and value and not any("\ud800" <= sign <= "\udfff" for sign in value):
        return value
    raise CaseError(f"{where}: expected text, was {shown(value)}")


def as_side(value: object, where: str) -> Side:
    """Return a side."""
    return Side(as_choice(value, ("buy", "sell"), where))


def as_choice[C: str](value: object, choices: Sequence[C], where: str) -> C:
    """Return one of the choices."""
    for choice in choices:
        if value == choice:
            return choice
    expected = " or ".join(f'"{choice}"' for choice in choices)
    raise CaseError(f"{where}: expected {expected}, was {shown(value)}")


def shown(value: object) -> str:
    """Show a foreign value in one line without flooding the message."""
    try:
        text = _written(value, _DEPTH_SHOWN)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


_DEPTH_SHOWN = 4
_ENTRIES_SHOWN = 20
_JSON_WORDS = {"None": "null", "True": "true", "False": "false", "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _written(value: object, depth: int) -> str:
    """Return a value in the words of JSON, its texts in single quotes."""
    if isinstance(value, list):
        inner = [_written(entry, depth - 1) for entry in value[:_ENTRIES_SHOWN]] if depth else ["..."]
        return f"[{', '.join(inner)}]"
    if isinstance(value, Mapping):
        entries = islice(value.items(), _ENTRIES_SHOWN)
        inner = [f"{name!r}: {_written(entry, depth - 1)}" for name, entry in entries] if depth else ["..."]
        return f"{{{', '.join(inner)}}}"
    return repr(value) if isinstance(value, str) else _JSON_WORDS.get(repr(value), repr(value))
