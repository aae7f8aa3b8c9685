"""The owner's bounds: exact, within the market's band, in force at once, and kept."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import entity_registry as er

from custom_components.energy_trade.const import BATTERY, DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.rig import Rig, agent_of

BATTERY_DATA = {
    "soc_entity": "sensor.battery_soc",
    "capacity_wh": 10_000,
    "charge_max_w": 3_000,
    "discharge_max_w": 3_000,
    "reserve_percent": 10,
}


async def turn(rig: Rig, entry: EnergyTradeConfigEntry, key: str, value: float) -> None:
    data = {"entity_id": rig.state(entry, key, "number").entity_id, "value": value}
    await rig.hass.services.async_call("number", "set_value", data, blocking=True)


@pytest.mark.parametrize(
    ("key", "value", "limit", "micro"),
    [("floor", 0.250001, "sell_limit", 250_001), ("ceiling", 0.207, "buy_limit", 207_000)],
)
async def test_a_bound_holds_the_policy_at_once(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, key: str, value: float, limit: str, micro: int
) -> None:
    home = entry.runtime_data.home
    await turn(rig, entry, key, value)
    assert float(rig.state(entry, key, "number").state) == value
    assert float(rig.state(entry, limit).state) == value
    assert entry.options[f"{key}_micro_per_kwh"] == micro, "exactly what was typed"
    assert entry.runtime_data.home is home, "no reload"
    await hass.config_entries.async_unload(entry.entry_id)
    await hass.config_entries.async_setup(entry.entry_id)
    assert float(rig.state(entry, limit).state) == value


async def test_a_bound_beyond_the_markets_band_is_refused(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    info = agent_of(entry).info
    with pytest.raises(ServiceValidationError):
        await turn(rig, entry, "floor", info.price_max_micro_per_kwh / 1_000_000 + 0.001)
    assert rig.state(entry, "floor", "number").state == "unknown"
    assert "floor_micro_per_kwh" not in entry.options or entry.options["floor_micro_per_kwh"] is None


async def test_a_reserve_is_there_while_there_is_a_battery(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    registry, unique_id = er.async_get(hass), f"{entry.unique_id}_battery_reserve"
    assert registry.async_get_entity_id("number", DOMAIN, unique_id) is None
    battery = ConfigSubentry(data=MappingProxyType(BATTERY_DATA), subentry_type=BATTERY, title="Cellar", unique_id=None)
    hass.config_entries.async_add_subentry(entry, battery)
    await rig.until(lambda: registry.async_get_entity_id("number", DOMAIN, unique_id) is not None)
    await rig.live(entry)
    assert rig.state(entry, "battery_reserve", "number").state == "20.0"
    await turn(rig, entry, "battery_reserve", 35)
    assert entry.options["battery_reserve_percent"] == 35
    hass.config_entries.async_remove_subentry(entry, battery.subentry_id)
    await rig.until(lambda: registry.async_get_entity_id("number", DOMAIN, unique_id) is None)
    await rig.live(entry)
