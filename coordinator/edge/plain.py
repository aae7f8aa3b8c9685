"""Events as JSON values: bytes and device ids as ``0x`` hex, money, energy and time as integers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

from ..market.events import Event
from ..protocol.messages import Order, device_text

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def event_name(event: Event) -> str:
    """Return ``order_placed`` for ``OrderPlaced``."""
    return _WORD.sub("_", type(event).__name__).lower()


def event_data(event: Event) -> dict[str, Any]:
    """Return the event's fields as JSON values."""
    return {field.name: _plain(field.name, getattr(event, field.name)) for field in fields(event)}


def _plain(name: str, value: object) -> Any:
    match value:
        case None | bool() | StrEnum():
            return value if value is None or isinstance(value, bool) else value.value
        case int():
            return device_text(value) if name == "device_id" else value
        case bytes():
            return "0x" + value.hex()
        case Order():
            return value.to_wire()
        case tuple() | list():
            return [_plain(name, item) for item in value]
        case Mapping():
            return {str(key): _plain(str(key), item) for key, item in value.items()}
        case _ if is_dataclass(value):
            return {field.name: _plain(field.name, getattr(value, field.name)) for field in fields(value)}
    return str(value)
