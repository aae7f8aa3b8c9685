"""The device and its entities: names, units, categories, and what they say when they cannot know."""

from __future__ import annotations

import pytest
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity import Entity
from pytest_homeassistant_custom_component.syrupy import HomeAssistantSnapshotExtension
from syrupy.assertion import SnapshotAssertion

from coordinator.protocol.order_terms import Signal
from custom_components.energy_trade.const import DOMAIN, PLATFORMS
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.community import INTERVAL_S
from tests.component.entities_help import buy, settle, tell, written_down
from tests.component.rig import Rig

DIAGNOSTIC, CONFIG = EntityCategory.DIAGNOSTIC, EntityCategory.CONFIG
# entity id without its domain and device: unit, device class, state class, category, shown by default
EXPECTED = {
    "market_price": ("EUR/kWh", None, "measurement", None, True),
    "next_market_price": ("EUR/kWh", None, "measurement", None, True),
    "own_selling_price": ("EUR/kWh", None, "measurement", None, True),
    "own_buying_price": ("EUR/kWh", None, "measurement", None, True),
    "expected_surplus_next_interval": ("Wh", None, "measurement", None, True),
    "traded_for_the_next_interval": ("Wh", None, "measurement", None, True),
    "energy_bought": ("kWh", "energy", "total", None, True),
    "energy_sold": ("kWh", "energy", "total", None, True),
    "energy_balance": ("kWh", "energy", "total", None, True),
    "energy_bought_today": ("kWh", "energy", "total", None, True),
    "energy_sold_today": ("kWh", "energy", "total", None, True),
    "money_paid": ("EUR", "monetary", "total", None, True),
    "money_received": ("EUR", "monetary", "total", None, True),
    "money_paid_today": ("EUR", "monetary", "total", None, True),
    "money_received_today": ("EUR", "monetary", "total", None, True),
    "saved_against_the_supplier": ("EUR", "monetary", "total", None, True),
    "saved_today": ("EUR", "monetary", "total", None, True),
    "gain_in_shadow_mode": ("EUR", "monetary", "total", None, True),
    "money_balance": ("EUR", "monetary", "total", None, True),
    "money_reserved_for_orders": ("EUR", "monetary", "total", None, False),
    "open_orders": (None, None, "measurement", None, False),
    "grid_state": (None, "enum", None, None, True),
    "grid_frequency": ("Hz", "frequency", "measurement", None, False),
    "community_surplus_next_interval": ("Wh", None, "measurement", None, True),
    "last_decision": (None, "enum", None, None, True),
    "connection": (None, "enum", None, DIAGNOSTIC, True),
    "last_signed_reading": (None, "timestamp", None, DIAGNOSTIC, True),
    "meter_check": (None, "enum", None, DIAGNOSTIC, True),
    "readings_waiting": (None, None, "measurement", DIAGNOSTIC, True),
    "clock_offset": ("s", "duration", "measurement", DIAGNOSTIC, False),
    "data_sent_today": ("kB", "data_size", "total", DIAGNOSTIC, True),
    "messages_sent_today": (None, None, "total", DIAGNOSTIC, False),
    "grid_emergency": (None, "problem", None, None, True),
    "grid_island": (None, None, None, None, True),
    "demand_response": (None, "running", None, None, True),
    "settlements_verified": (None, None, None, DIAGNOSTIC, True),
    "inputs": (None, "problem", None, DIAGNOSTIC, True),
    "trading": (None, None, None, None, True),
    "shadow_mode": (None, None, None, None, True),
    "away": (None, None, None, None, True),
    "flexibility_opt_out": (None, None, None, None, True),
    "policy": (None, None, None, None, True),
    "lowest_selling_price": ("EUR/kWh", None, None, CONFIG, True),
    "highest_buying_price": ("EUR/kWh", None, None, CONFIG, True),
    "cancel_all_orders": (None, None, None, None, True),
    "market": (None, None, None, None, True),
    "settlement": (None, None, None, None, True),
    "grid": (None, None, None, None, True),
    "schedule": (None, None, None, None, True),
}


@pytest.fixture
def all_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable also what an owner has to enable by hand."""
    monkeypatch.setattr(Entity, "entity_registry_enabled_default", True)


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


@pytest.mark.usefixtures("all_enabled")
async def test_every_platform_is_as_it_was_written_down(rig: Rig, snapshot: SnapshotAssertion) -> None:
    entry = await rig.join()
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    await rig.until(lambda: rig.state(entry, "open_orders").state == "4")
    for platform in PLATFORMS:
        found = written_down(rig.hass, entry, platform)
        assert found == snapshot(name=platform.value, extension_class=HomeAssistantSnapshotExtension)


async def test_one_home_is_one_device(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    (device,) = dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    assert device.identifiers == {(DOMAIN, str(entry.unique_id))}
    assert (device.name, device.manufacturer) == ("Elm Street", "Energy Trade")
    assert device.entry_type is dr.DeviceEntryType.SERVICE
    assert device.configuration_url == rig.community.url
    assert device.sw_version


async def test_unknown_is_never_zero(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    unknown = {
        "market_price",
        "next_market_price",
        "expected_surplus",
        "community_surplus",
        "last_reading",
        "last_decision",
        "shadow_gain",
    }
    assert {key: rig.state(entry, key).state for key in unknown} == dict.fromkeys(unknown, "unknown")
    assert rig.state(entry, "meter_check").state == "waiting"
    assert rig.state(entry, "settlement_verified", "binary_sensor").state == "unknown"
    assert {rig.state(entry, key, "number").state for key in ("floor", "ceiling")} == {"unknown"}
    await rig.until(lambda: float(rig.state(entry, "money_balance").state) == 5)


async def test_without_coordinator_nothing_stale_is_shown(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await rig.community.stop()
    await rig.until(lambda: rig.state(entry, "connection").state == "offline")
    unavailable = {key for key in KEYS if rig.state(entry, *key).state == "unavailable"}
    assert unavailable == KEYS - LOCAL
    await rig.community.start()
    await rig.until(lambda: rig.state(entry, "connection").state == "live")
    await rig.until(lambda: rig.state(entry, "money_balance").state != "unavailable")


LOCAL = {
    *((key, "switch") for key in ("trading", "shadow", "away", "flexibility_opt_out")),
    *((key, "number") for key in ("floor", "ceiling")),
    *((key, "event") for key in ("market", "settlement", "grid")),
    ("policy", "select"),
    ("cancel_all", "button"),
    ("schedule", "calendar"),
    ("demand_response_active", "binary_sensor"),
    ("settlement_verified", "binary_sensor"),
    ("inputs_problem", "binary_sensor"),
    *(
        (key, "sensor")
        for key in (
            "sell_limit",
            "buy_limit",
            "expected_surplus",
            "last_decision",
            "connection",
            "last_reading",
            "meter_check",
            "readings_waiting",
            "data_sent_today",
        )
    ),
}
KEYS = LOCAL | {
    ("grid_emergency", "binary_sensor"),
    ("grid_island", "binary_sensor"),
    *(
        (key, "sensor")
        for key in (
            "market_price",
            "next_market_price",
            "next_position",
            "energy_bought",
            "energy_sold",
            "energy_balance",
            "energy_bought_today",
            "energy_sold_today",
            "money_paid",
            "money_received",
            "money_paid_today",
            "money_received_today",
            "saved",
            "saved_today",
            "money_balance",
            "shadow_gain",
            "grid_state",
            "community_surplus",
        )
    ),
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


async def test_a_settled_trade_shows_in_energy_and_money(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    start = await buy(rig, entry)
    assert float(rig.state(entry, "energy_bought").state) == 0
    await settle(rig, entry, start)
    shown = {key: float(rig.state(entry, key).state) for key in ("money_paid", "saved", "energy_sold")}
    assert shown == {"money_paid": 0.0144, "saved": 0.0048, "energy_sold": 0}


async def test_the_next_interval_is_expected_to_go_on_as_it_was(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.000", "812.040")
    assert rig.state(entry, "expected_surplus").state == "40"
    await rig.boundary("35600.070", "812.040")
    assert rig.state(entry, "expected_surplus").state == "-70"


@pytest.mark.usefixtures("all_enabled")
async def test_the_grid_shows_as_its_operator_tells_it(rig: Rig) -> None:
    entry = await rig.join()
    assert rig.state(entry, "grid_state").state == "normal"
    assert rig.state(entry, "grid_frequency").state == "unknown"
    start = entry.runtime_data.coordinator.next_start()
    for later in range(3):  # a minute may pass meanwhile
        await tell(rig, Signal.FORECAST_SURPLUS, 12_500, start + later * INTERVAL_S)
    await tell(rig, Signal.FREQUENCY, 49_950)
    await tell(rig, Signal.GRID_STATE, 1)
    await rig.until(lambda: rig.state(entry, "grid_state").state == "strained")
    assert rig.state(entry, "grid_frequency").state == "49.95"
    assert rig.state(entry, "community_surplus").state == "12500"
