"""Reads a policy's stored settings by its fields, and says which one is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...protocol.client import MarketInfo
from ...protocol.units import PRICE_MICRO_PER_KWH_MAX
from .. import bands
from ..outlook import Outlook
from ..policy import Tariff
from ..settings import Field, FieldKind, Settings, SettingsInvalid

SETTINGS_CODES = (
    "policy_unknown",
    "setting_missing",
    "not_a_price",
    "not_a_percentage",
    "not_an_entity",
    "not_a_choice",
    "needs_a_price",
    "highest_below_lowest",
    *bands.CODES,
)
"""Every ``code`` that ``SettingsInvalid`` may have."""


def checked(fields: Iterable[Field], settings: Settings, info: MarketInfo) -> Settings:
    """Return each field's value, ``None`` for an optional one that is not set; raise ``SettingsInvalid``."""
    return {field.key: _checked(field, settings.get(field.key), info.currency) for field in fields}


def between(tariff: Tariff) -> tuple[int, int]:
    """Return prices (1e-6 per kWh) that leave both neighbours a gain: a third and two thirds of the way up."""
    spread = tariff.supplier_micro_per_kwh - tariff.feed_in_micro_per_kwh
    return tariff.feed_in_micro_per_kwh + spread // 3, tariff.feed_in_micro_per_kwh + 2 * spread // 3


def clock_text(outlook: Outlook, at: int) -> str:
    """Write a moment on the home's clock for people: ``Mon 17:30``."""
    return f"{outlook.local(at):%a %H:%M}"


def _checked(field: Field, value: Any, currency: str) -> Any:
    if value is None or value == "":
        if field.required:
            raise SettingsInvalid(field.key, "setting_missing", f"{field.key} is missing")
        return None
    match field.kind:
        case FieldKind.BANDS:
            return bands.read(field.key, value)
        case FieldKind.PRICE if not _is_int(value) or abs(value) > PRICE_MICRO_PER_KWH_MAX:
            code, text = "not_a_price", f"{value!r} is no price in 1e-6 {currency}/kWh"
        case FieldKind.PERCENT if not _is_int(value) or not field.least <= value <= field.most:
            code, text = "not_a_percentage", f"{value!r} is no whole number from {field.least} to {field.most}"
        case FieldKind.ENTITY if not isinstance(value, str):
            code, text = "not_an_entity", f"{value!r} names no entity"
        case FieldKind.CHOICE if value not in field.choices:
            code, text = "not_a_choice", f"{value!r} is none of {', '.join(field.choices)}"
        case _:
            return value
    raise SettingsInvalid(field.key, code, f"{field.key}: {text}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
