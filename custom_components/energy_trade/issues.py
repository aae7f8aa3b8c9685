"""Repairs: what a person can mend, and only that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir

from .const import DOMAIN
from .household.guard import GuardRefusal
from .household.reason import Refusal

REFUSALS_BEFORE_ISSUE: Final = 2
"""A register that is zero for one interval after a restart heals by itself."""

METER_REPLACED: Final = "meter_replaced"
METER_UNUSABLE: Final = "meter_unusable"
READINGS_BLOCKED: Final = "readings_blocked"
OTHER_MARKET: Final = "other_market"
OPERATOR_CHANGED: Final = "operator_changed"
ALL: Final = (METER_REPLACED, METER_UNUSABLE, READINGS_BLOCKED, OTHER_MARKET, OPERATOR_CHANGED)

_FIXABLE = frozenset({METER_REPLACED, OPERATOR_CHANGED})
_REPLACED_CODES = frozenset({"register_zero", "register_fell", "beyond_limit"})
_PASSING_CODES = frozenset({"late", "outbox_full"})


@callback
def async_set(
    hass: HomeAssistant,
    entry: ConfigEntry[Any],
    kind: str,
    placeholders: Mapping[str, str] | None,
    data: Mapping[str, str] | None = None,
) -> None:
    """Raise the issue with these placeholders, or with ``None`` withdraw it; ``data`` is for its repair."""
    issue_id = f"{kind}_{entry.entry_id}"
    if placeholders is None:
        ir.async_delete_issue(hass, DOMAIN, issue_id)
        return
    ir.async_create_issue(
        hass,
        DOMAIN,
        issue_id,
        data={"entry_id": entry.entry_id, **(data or {})},
        is_fixable=kind in _FIXABLE,
        severity=ir.IssueSeverity.ERROR,
        translation_key=kind,
        translation_placeholders={"name": entry.title, **placeholders},
    )


@callback
def async_report_meter(hass: HomeAssistant, entry: ConfigEntry[Any], refusal: GuardRefusal | None) -> None:
    """Show why no readings are signed, when that lasts and a person can do something."""
    replaced = refusal is not None and refusal.code in _REPLACED_CODES
    unusable = refusal is not None and not replaced and refusal.code not in _PASSING_CODES
    text = {} if refusal is None else {"reason": refusal.message}
    async_set(hass, entry, METER_REPLACED, text if replaced else None)
    async_set(hass, entry, METER_UNUSABLE, text if unusable else None)


@callback
def async_report_blocked(hass: HomeAssistant, entry: ConfigEntry[Any], refusal: Refusal | None) -> None:
    """Show why the coordinator takes no readings of this meter."""
    async_set(hass, entry, READINGS_BLOCKED, None if refusal is None else {"reason": refusal.message})


@callback
def async_withdraw_all(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Withdraw all issues of an entry that is removed."""
    for kind in ALL:
        async_set(hass, entry, kind, None)
