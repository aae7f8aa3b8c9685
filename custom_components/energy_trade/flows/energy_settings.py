"""What the owner has already told Home Assistant's Energy dashboard about the home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeassistant.components.energy.data import async_get_manager
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er

from ..const import (
    BATTERY,
    BATTERY_RESERVE_PERCENT,
    CONF_CAPACITY,
    CONF_CHARGE_MAX,
    CONF_DISCHARGE_MAX,
    CONF_ENERGY_ENTITY,
    CONF_FORECAST_ENTRIES,
    CONF_RESERVE,
    CONF_SOC_ENTITY,
    SOLAR,
)
from ..meter import reference_of
from .device_forms import identity

_WH_PER_KWH = 1_000
_CAPACITY_WH = 10_000
_HOURS_TO_FILL = 2
"""A home battery fills and empties in about two hours; the owner can say better afterwards."""


@dataclass(frozen=True, slots=True)
class GridMeters:
    """Entity ids of the grid's import and export registers, as far as they are known."""

    import_meter: str | None = None
    export_meter: str | None = None


@dataclass(frozen=True, slots=True)
class GridPrices:
    """Entity ids of the owner's own tariff, as far as it is known."""

    supplier: str | None = None
    feed_in: str | None = None


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A solar plant or a battery of the Energy dashboard: what a subentry of it holds."""

    kind: str
    title: str
    unique_id: str
    data: Mapping[str, Any]
    text: str

    @property
    def key(self) -> str:
        """What a form calls it."""
        return f"{self.kind}:{self.unique_id}"

    def subentry(self) -> ConfigSubentryData:
        """Return what is created with the entry."""
        return ConfigSubentryData(data=self.data, subentry_type=self.kind, title=self.title, unique_id=self.unique_id)


async def async_propose_meters(hass: HomeAssistant) -> GridMeters:
    """Return the first grid connection of the Energy dashboard that is measured by an entity."""
    for source in await _sources(hass, "grid"):
        meters = GridMeters(_entity(source.get("stat_energy_from")), _entity(source.get("stat_energy_to")))
        if meters.import_meter is not None:
            return meters
    return GridMeters()


async def async_propose_prices(hass: HomeAssistant) -> GridPrices:
    """Return the price entities of the Energy dashboard's first grid connection that has any."""
    for source in await _sources(hass, "grid"):
        prices = GridPrices(source.get("entity_energy_price"), source.get("entity_energy_price_export"))
        if prices != GridPrices():
            return prices
    return GridPrices()


async def async_find_devices(hass: HomeAssistant) -> list[FoundDevice]:
    """Return the solar plants and batteries that the Energy dashboard knows."""
    plants = [_solar(hass, source) for source in await _sources(hass, SOLAR)]
    batteries = [_battery(hass, source) for source in await _sources(hass, BATTERY)]
    return list({device.key: device for device in plants + batteries if device is not None}.values())


async def _sources(hass: HomeAssistant, kind: str) -> Sequence[Mapping[str, Any]]:
    if "energy" not in hass.config.components:
        return []
    manager = await async_get_manager(hass)
    preferences = manager.data or manager.default_preferences()
    return [source for source in preferences["energy_sources"] if source["type"] == kind]


def _solar(hass: HomeAssistant, source: Mapping[str, Any]) -> FoundDevice | None:
    """Return a plant with what is known of it: its meter, its forecasts."""
    energy = _entity(source.get("stat_energy_from"))
    entries = [hass.config_entries.async_get_entry(key) for key in source.get("config_entry_solar_forecast") or []]
    forecasts = [entry for entry in entries if entry is not None]
    data: dict[str, Any] = {}
    if energy is not None:
        data[CONF_ENERGY_ENTITY] = reference_of(hass, energy)
    if forecasts:
        data[CONF_FORECAST_ENTRIES] = [entry.entry_id for entry in forecasts]
    if not data:
        return None
    titles = [entry.title for entry in forecasts]
    title: str = source.get("name") or _name(hass, energy) or (titles or [SOLAR])[0]
    text = " + ".join([*([] if energy is None else [energy]), *titles])
    return FoundDevice(SOLAR, title, identity(SOLAR, data), data, text)


def _battery(hass: HomeAssistant, source: Mapping[str, Any]) -> FoundDevice | None:
    """A battery is of use with its state of charge only."""
    soc = _entity(source.get("stat_soc"))
    if soc is None:
        return None
    capacity_wh = round(source.get("capacity", 0) * _WH_PER_KWH) or _CAPACITY_WH
    power_w = capacity_wh // _HOURS_TO_FILL
    data = {
        CONF_SOC_ENTITY: reference_of(hass, soc),
        CONF_CAPACITY: capacity_wh,
        CONF_CHARGE_MAX: power_w,
        CONF_DISCHARGE_MAX: power_w,
        CONF_RESERVE: BATTERY_RESERVE_PERCENT,
    }
    title = source.get("name") or _name(hass, soc) or BATTERY
    return FoundDevice(BATTERY, title, identity(BATTERY, data), data, f"{soc}, {capacity_wh / _WH_PER_KWH:g} kWh")


def _entity(statistic_id: str | None) -> str | None:
    """A statistic with a colon comes from elsewhere (a supplier's portal): not a live meter."""
    return None if statistic_id is None or ":" in statistic_id else statistic_id


def _name(hass: HomeAssistant, entity_id: str | None) -> str | None:
    """Return how the owner calls an entity."""
    if entity_id is None:
        return None
    entry = er.async_get(hass).async_get(entity_id)
    state = hass.states.get(entity_id)
    return (entry.name if entry is not None and entry.name else None) or (None if state is None else state.name)
