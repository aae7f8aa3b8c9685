"""Whether this home's keys are in a backup: who loses them loses the account's money."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from homeassistant.components.backup import async_get_manager
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.event import async_track_time_interval
from homeassistant.util import dt as dt_util

from . import issues
from .coordinator import EnergyTradeConfigEntry

CONF_KEYS_BACKED_UP: Final = "keys_backed_up"
CHECKED_EVERY: Final = timedelta(hours=12)


async def async_keys_are_safe(hass: HomeAssistant, entry: ConfigEntry[Any]) -> bool:
    """Tell whether the owner has said so, or Home Assistant has a backup of after the keys were made."""
    if entry.data.get(CONF_KEYS_BACKED_UP):
        return True
    if "backup" not in hass.config.components:
        return False
    backups, _errors = await async_get_manager(hass).async_get_backups()
    dates = (dt_util.parse_datetime(backup.date) for backup in backups.values() if backup.homeassistant_included)
    return any(date is not None and dt_util.as_utc(date) >= entry.created_at for date in dates)


@callback
def async_watch_keys(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> None:
    """Look after the start, and twice a day, whether an account with money has its keys in a backup."""

    async def look(_now: datetime | None = None) -> None:
        latest = entry.runtime_data.coordinator.latest
        endangered = latest is not None and latest.account.money_micro > 0
        safe = not endangered or await async_keys_are_safe(hass, entry)
        issues.async_set(hass, entry, issues.KEYS_WITHOUT_BACKUP, None if safe else {})

    _ = entry.async_create_background_task(hass, look(), f"energy_trade keys {entry.entry_id}")
    entry.async_on_unload(async_track_time_interval(hass, look, CHECKED_EVERY))
