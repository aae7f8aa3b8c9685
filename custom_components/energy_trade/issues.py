"""Repairs: what a person can mend, and only that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.translation import async_get_cached_translations

from .const import CONF_POLICY, DOMAIN
from .events import plain
from .household.guard import GuardRefusal
from .household.reason import Refusal

REFUSALS_BEFORE_ISSUE: Final = 2
"""A register that is zero for one interval after a restart heals by itself."""

METER_REPLACED: Final = "meter_replaced"
METER_UNUSABLE: Final = "meter_unusable"
READINGS_BLOCKED: Final = "readings_blocked"
OTHER_MARKET: Final = "other_market"
OPERATOR_CHANGED: Final = "operator_changed"
CARDS_NOT_LISTED: Final = "cards_not_listed"
"""Of the whole Home Assistant, not of an entry; raised and withdrawn by ``frontend``."""
CLOCK_SKEW: Final = "clock_skew"
OTHER_INSTALLATION: Final = "other_installation"
DISK_FULL: Final = "disk_full"
WALLET_LOW: Final = "wallet_low"
VERSION: Final = "version"
SETTLEMENT_MISMATCH: Final = "settlement_mismatch"
CHAIN_DISAGREES: Final = "chain_disagrees"
POLICY_UNUSABLE: Final = "policy_unusable"
KEYS_WITHOUT_BACKUP: Final = "keys_without_backup"
ALL: Final = (
    METER_REPLACED,
    METER_UNUSABLE,
    READINGS_BLOCKED,
    OTHER_MARKET,
    OPERATOR_CHANGED,
    CLOCK_SKEW,
    OTHER_INSTALLATION,
    DISK_FULL,
    WALLET_LOW,
    VERSION,
    KEYS_WITHOUT_BACKUP,
    SETTLEMENT_MISMATCH,
    CHAIN_DISAGREES,
    POLICY_UNUSABLE,
)

_FIXABLE = frozenset({METER_REPLACED, METER_UNUSABLE, OPERATOR_CHANGED, KEYS_WITHOUT_BACKUP})
_WARNINGS = frozenset({WALLET_LOW, VERSION, KEYS_WITHOUT_BACKUP, POLICY_UNUSABLE})
_OF_CODE = {
    **dict.fromkeys(("register_zero", "register_fell", "beyond_limit"), METER_REPLACED),
    **dict.fromkeys(("clock", "clock_back"), CLOCK_SKEW),
}
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
        severity=ir.IssueSeverity.WARNING if kind in _WARNINGS else ir.IssueSeverity.ERROR,
        translation_key=kind,
        translation_placeholders={key: plain(text) for key, text in {"name": entry.title, **placeholders}.items()},
    )


@callback
def async_report_meter(hass: HomeAssistant, entry: ConfigEntry[Any], refusal: GuardRefusal | None) -> None:
    """Show why no readings are signed, when that lasts and a person can do something."""
    kind = None
    if refusal is not None and refusal.code not in _PASSING_CODES:
        kind = _OF_CODE.get(refusal.code, METER_UNUSABLE)
    for other in (METER_REPLACED, METER_UNUSABLE, CLOCK_SKEW):
        shown = refusal is not None and other == kind
        async_set(hass, entry, other, {"reason": _reason(hass, refusal)} if refusal is not None and shown else None)


def _reason(hass: HomeAssistant, refusal: GuardRefusal) -> str:
    """Say why in the system's language, with the particulars, which are English, behind it."""
    if hass.config.language.startswith("en"):
        return refusal.message
    return f"{_word(hass, f'sensor.meter_check.state.{refusal.code}')} ({refusal.message})"


def _word(hass: HomeAssistant, path: str) -> str:
    """Return how the system's language calls an entity's state."""
    known = async_get_cached_translations(hass, hass.config.language, "entity", DOMAIN)
    return known.get(f"component.{DOMAIN}.entity.{path}", path.rpartition(".")[2])


@callback
def async_report_policy(hass: HomeAssistant, entry: ConfigEntry[Any], problem: str | None) -> None:
    """Show that the chosen policy cannot work with its settings, so that another trades."""
    words = None
    if problem is not None:
        words = {"policy": _word(hass, f"select.policy.state.{entry.options.get(CONF_POLICY)}"), "reason": problem}
    async_set(hass, entry, POLICY_UNUSABLE, words)


@callback
def async_report_blocked(hass: HomeAssistant, entry: ConfigEntry[Any], refusal: Refusal | None) -> None:
    """Show why the coordinator takes no readings of this meter."""
    elsewhere = refusal is not None and refusal.code == OTHER_INSTALLATION
    text = None if refusal is None else {"reason": refusal.message}
    async_set(hass, entry, OTHER_INSTALLATION, text if elsewhere else None)
    async_set(hass, entry, READINGS_BLOCKED, None if elsewhere else text)


@callback
def async_report_wallet(hass: HomeAssistant, entry: ConfigEntry[Any], balance: str | None) -> None:
    """Show that orders were refused for want of money; ``balance`` is what is left, ``None`` when all is well."""
    async_set(hass, entry, WALLET_LOW, None if balance is None else {"balance": balance})


@callback
def async_report_version(hass: HomeAssistant, entry: ConfigEntry[Any], own: str, theirs: str) -> None:
    """Show that home and coordinator are of different minor versions: one of them is to be updated."""
    known = own.split(".")[:2] == theirs.split(".")[:2]
    async_set(hass, entry, VERSION, None if known else {"own": own, "theirs": theirs[:40]})


@callback
def async_withdraw_all(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Withdraw all issues of an entry that is removed."""
    for kind in ALL:
        async_set(hass, entry, kind, None)
