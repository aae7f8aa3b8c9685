"""The device and its entities: names, units, categories, and what they say when they cannot know."""

from __future__ import annotations

from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.rig import Rig

# entity id without its domain and device: unit, device class, state class, category, shown by default
EXPECTED = {
    "market_price": ("EUR/kWh", None, "measurement", None, True),
    "next_market_price": ("EUR/kWh", None, "measurement", None, True),
    "own_selling_price": ("EUR/kWh", None, "measurement", None, True),
    "own_buying_price": ("EUR/kWh", None, "measurement", None, True),
    "traded_for_the_next_interval": ("Wh", None, "measurement", None, True),
    "energy_bought": ("kWh", "energy", "total_increasing", None, True),
    "energy_sold": ("kWh", "energy", "total_increasing", None, True),
    "energy_balance": ("kWh", "energy", "total", None, True),
    "money_paid": ("EUR", "monetary", "total", None, True),
    "money_received": ("EUR", "monetary", "total", None, True),
    "saved_against_the_supplier": ("EUR", "monetary", "total", None, True),
    "money_balance": ("EUR", "monetary", "total", None, True),
    "money_reserved_for_orders": ("EUR", "monetary", "total", None, False),
    "open_orders": (None, None, "measurement", None, False),
    "last_decision": (None, "enum", None, None, True),
    "connection": (None, "enum", None, EntityCategory.DIAGNOSTIC, True),
    "last_signed_reading": (None, "timestamp", None, EntityCategory.DIAGNOSTIC, True),
    "meter_check": (None, "enum", None, EntityCategory.DIAGNOSTIC, True),
    "readings_waiting": (None, None, "measurement", EntityCategory.DIAGNOSTIC, True),
    "clock_offset": ("s", "duration", "measurement", EntityCategory.DIAGNOSTIC, False),
    "trading": (None, None, None, None, True),
}


async def test_entities_are_as_promised(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    found = {}
    for registered in er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id):
        name = registered.entity_id.partition(".")[2].removeprefix("elm_street_")
        capabilities = registered.capabilities or {}
        found[name] = (
            registered.unit_of_measurement,
            registered.original_device_class,
            capabilities.get("state_class"),
            registered.entity_category,
            registered.disabled_by is None,
        )
        assert registered.has_entity_name
        assert registered.translation_key
        assert registered.unique_id.startswith(f"{entry.unique_id}_")
    assert found == EXPECTED


async def test_one_home_is_one_device(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    (device,) = dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    assert device.identifiers == {(DOMAIN, str(entry.unique_id))}
    assert (device.name, device.manufacturer) == ("Elm Street", "Energy Trade")
    assert device.entry_type is dr.DeviceEntryType.SERVICE
    assert device.configuration_url == rig.community.url
    assert device.sw_version


async def test_unknown_is_never_zero(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    states = {
        key: rig.state(entry, key).state for key in ("market_price", "last_reading", "last_decision", "meter_check")
    }
    assert states == {
        "market_price": "unknown",
        "last_reading": "unknown",
        "last_decision": "unknown",
        "meter_check": "waiting",
    }
    await rig.until(lambda: float(rig.state(entry, "money_balance").state) == 5)


async def test_without_coordinator_nothing_stale_is_shown(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await rig.community.stop()
    await rig.until(lambda: rig.state(entry, "connection").state == "offline")
    unavailable = {key for key in KEYS if rig.state(entry, key).state == "unavailable"}
    assert unavailable == KEYS - LOCAL
    assert rig.state(entry, "trading", "switch").state == "on"
    await rig.community.start()
    await rig.until(lambda: rig.state(entry, "connection").state == "live")
    await rig.until(lambda: rig.state(entry, "money_balance").state != "unavailable")


LOCAL = {"sell_limit", "buy_limit", "last_decision", "connection", "last_reading", "meter_check", "readings_waiting"}
KEYS = LOCAL | {
    "market_price",
    "next_market_price",
    "next_position",
    "energy_bought",
    "energy_sold",
    "energy_balance",
    "money_paid",
    "money_received",
    "saved",
    "money_balance",
}


async def test_the_meter_check_says_what_is_wrong(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.150", "812.340")
    assert rig.state(entry, "meter_check").state == "ok"
    await rig.boundary("0", "812.340")
    check = rig.state(entry, "meter_check")
    assert check.state == "register_zero"
    assert "dropped to zero" in check.attributes["reason"]
    await rig.boundary("35600.150", "812.340")
    assert rig.state(entry, "meter_check").state == "ok"
