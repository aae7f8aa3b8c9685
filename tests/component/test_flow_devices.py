"""The home's devices: proposed from the Energy dashboard with the entry, added and changed as subentries later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.energy.data import async_get_manager
from homeassistant.config_entries import SOURCE_RECONFIGURE, SOURCE_USER, ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry, MockModule, mock_integration, mock_platform

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.flows_tools import METERS, ends, finish, options_of, shows, suggested
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig

ROOF, SOC, SETPOINT = "sensor.roof", "sensor.battery", "number.battery_power"
HEATER, CAR, PLUGGED, LIMIT = "switch.heater", "switch.car", "binary_sensor.plugged", "number.inverter_limit"
ENTITIES = {
    ROOF: ("812.5", "kWh"),
    SOC: ("55", "%"),
    SETPOINT: ("0", "W"),
    HEATER: ("on", None),
    "switch.pump": ("on", None),
    CAR: ("off", None),
    PLUGGED: ("off", None),
    LIMIT: ("100", "%"),
}
SOLAR_FORM = {"name": "Roof", "energy_entity": ROOF, "peak_kw": 9.8}
BATTERY_FORM = {
    "name": "Cellar",
    "soc_entity": SOC,
    "capacity_kwh": 12.5,
    "charge_max_kw": 5,
    "discharge_max_kw": 4.6,
    "reserve_percent": 30,
    "control_entity": SETPOINT,
}
LOAD_FORM = {
    "name": "Heater",
    "switch_entity": HEATER,
    "power_kw": 2.4,
    "off_max_minutes": 45,
    "on_min_minutes": 10,
    "window_from": "22:00:00",
    "window_to": "06:30:00",
}
EV_FORM = {
    "name": "Car",
    "switch_entity": CAR,
    "power_kw": 11,
    "energy_kwh": 20,
    "ready_by": "07:00:00",
    "connected_entity": PLUGGED,
}
INVERTER_FORM = {"name": "South", "limit_entity": LIMIT, "rated_kw": 8, "least_percent": 40}
STORED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "solar": (SOLAR_FORM, {"energy_entity": ROOF, "peak_w": 9_800}),
    "battery": (
        BATTERY_FORM,
        {
            "soc_entity": SOC,
            "capacity_wh": 12_500,
            "charge_max_w": 5_000,
            "discharge_max_w": 4_600,
            "reserve_percent": 30,
            "control_entity": SETPOINT,
        },
    ),
    "load": (
        LOAD_FORM,
        {
            "switch_entity": HEATER,
            "power_w": 2_400,
            "off_max_minutes": 45,
            "on_min_minutes": 10,
            "window": {"from": 1_320, "to": 390},
        },
    ),
    "ev": (
        EV_FORM,
        {
            "switch_entity": CAR,
            "power_w": 11_000,
            "energy_wh": 20_000,
            "ready_by_minute": 420,
            "connected_entity": PLUGGED,
        },
    ),
    "inverter": (INVERTER_FORM, {"limit_entity": LIMIT, "rated_w": 8_000, "least_percent": 40}),
}


@pytest.fixture(autouse=True)
def _entities(hass: HomeAssistant) -> None:
    for entity_id, (state, unit) in ENTITIES.items():
        hass.states.async_set(entity_id, state, {} if unit is None else {"unit_of_measurement": unit})


@pytest.fixture
def sky(hass: HomeAssistant) -> MockConfigEntry:
    """An integration that forecasts solar energy, and its entry."""

    async def forecast(hass: HomeAssistant, entry_id: str) -> None:
        """It has nothing to tell."""

    mock_integration(hass, MockModule("sky"))
    mock_platform(hass, "sky.energy", type("energy", (), {"async_get_solar_forecast": staticmethod(forecast)}))
    hass.config.components.add("sky")
    entry = MockConfigEntry(domain="sky", title="Sky over the roof")
    entry.add_to_hass(hass)
    return entry


def registered(hass: HomeAssistant, entity_id: str) -> er.RegistryEntry:
    """Let an entity have an entry in the registry."""
    state = hass.states.get(entity_id)
    assert state is not None
    hass.states.async_remove(entity_id)
    domain, name = entity_id.split(".")
    entry = er.async_get(hass).async_get_or_create(domain, "bms", name, suggested_object_id=name)
    hass.states.async_set(entry.entity_id, state.state, state.attributes)
    return entry


async def answer(hass: HomeAssistant, flow: Any, user_input: Mapping[str, Any]) -> Any:
    return await hass.config_entries.subentries.async_configure(flow["flow_id"], dict(user_input))


async def add(hass: HomeAssistant, entry: EnergyTradeConfigEntry, kind: str) -> Any:
    """Begin to add a device."""
    manager = hass.config_entries.subentries
    return shows(await manager.async_init((entry.entry_id, kind), context={"source": SOURCE_USER}), "user")


async def change(hass: HomeAssistant, entry: EnergyTradeConfigEntry, device: ConfigSubentry) -> Any:
    """Begin to change a device."""
    context: Any = {"source": SOURCE_RECONFIGURE, "subentry_id": device.subentry_id}
    manager = hass.config_entries.subentries
    return shows(await manager.async_init((entry.entry_id, device.subentry_type), context=context), "reconfigure")


async def added(hass: HomeAssistant, entry: EnergyTradeConfigEntry, kind: str) -> ConfigSubentry:
    """Add the device of this kind as the forms above describe it."""
    done = await answer(hass, await add(hass, entry, kind), STORED[kind][0])
    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    await hass.async_block_till_done()
    return next(device for device in entry.subentries.values() if device.subentry_type == kind)


@pytest.mark.parametrize("kind", STORED)
async def test_a_device_is_added_and_changed(entry: EnergyTradeConfigEntry, hass: HomeAssistant, kind: str) -> None:
    form, stored = STORED[kind]
    device = await added(hass, entry, kind)
    assert (device.title, dict(device.data)) == (form["name"], stored)
    flow = await change(hass, entry, device)
    assert suggested(flow) == form
    ends(await answer(hass, flow, form | {"name": " Other "}), "device_changed")
    await hass.async_block_till_done()
    (changed,) = entry.subentries.values()
    assert (changed.title, dict(changed.data)) == ("Other", stored)


@pytest.mark.parametrize("kind", STORED)
async def test_a_device_is_there_once(entry: EnergyTradeConfigEntry, hass: HomeAssistant, kind: str) -> None:
    await added(hass, entry, kind)
    flow = await answer(hass, await add(hass, entry, kind), STORED[kind][0] | {"name": "Twin"})
    (field,) = shows(flow, "user", **flow["errors"])["errors"]
    assert flow["errors"] == {field: "device_known"}
    assert field in {"energy_entity", "soc_entity", "switch_entity", "limit_entity"}


async def test_two_devices_do_not_set_one_entity(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await added(hass, entry, "load")
    flow = await answer(hass, await add(hass, entry, "ev"), EV_FORM | {"switch_entity": HEATER})
    shows(flow, "user", switch_entity="device_known")
    await added(hass, entry, "ev")
    car = next(device for device in entry.subentries.values() if device.subentry_type == "ev")
    flow = await answer(hass, await change(hass, entry, car), EV_FORM | {"switch_entity": HEATER})
    flow = shows(flow, "reconfigure", switch_entity="device_known")
    ends(await answer(hass, flow, EV_FORM | {"energy_kwh": 30}), "device_changed")


@pytest.mark.parametrize(
    ("kind", "wrong", "errors"),
    [
        ("battery", {"soc_entity": ROOF}, {"soc_entity": "entity_unit"}),
        ("battery", {"control_entity": LIMIT}, {"control_entity": "entity_unit"}),
        ("solar", {"energy_entity": SOC}, {"energy_entity": "entity_unit"}),
        ("load", {"switch_entity": "switch.gone"}, {"switch_entity": "entity_missing"}),
        ("load", {"window_to": "22:00:00"}, {"window_to": "window_empty"}),
        ("ev", {"energy_kwh": 300}, {"energy_kwh": "never_ready"}),
        ("ev", {"window_from": "06:00:00", "window_to": "07:00:00"}, {"energy_kwh": "never_ready"}),
        ("ev", {"window_from": "06:00:00"}, {"window_to": "window_half"}),
        ("ev", {"window_to": "06:00:00"}, {"window_from": "window_half"}),
    ],
)
async def test_what_cannot_work_is_refused_and_can_be_mended(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, kind: str, wrong: dict[str, Any], errors: dict[str, str]
) -> None:
    form = STORED[kind][0]
    flow = shows(await answer(hass, await add(hass, entry, kind), form | wrong), "user", **errors)
    assert suggested(flow) == form | wrong
    done = await answer(hass, flow, form)
    assert done["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("battery", {"reserve_percent": 101}),
        ("battery", {"capacity_kwh": 0}),
        ("battery", {"charge_max_kw": -1}),
        ("battery", {"soc_entity": "light.lamp"}),
        ("load", {"off_max_minutes": 0}),
        ("load", {"switch_entity": "sensor.roof"}),
        ("inverter", {"least_percent": -1}),
        ("solar", {"name": ""}),
    ],
)
async def test_what_is_out_of_range_is_no_answer(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, kind: str, wrong: dict[str, Any]
) -> None:
    flow = await add(hass, entry, kind)
    with pytest.raises(InvalidData):
        await answer(hass, flow, STORED[kind][0] | wrong)


async def test_a_solar_plant_needs_a_meter_or_a_forecast(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, sky: MockConfigEntry
) -> None:
    nothing = {"name": "Roof", "forecast_entries": []}
    flow = shows(await answer(hass, await add(hass, entry, "solar"), nothing), "user", base="solar_nothing")
    assert options_of(flow, "forecast_entries") == [{"value": sky.entry_id, "label": "Sky over the roof"}]
    done = await answer(hass, flow, {"name": "Roof", "forecast_entries": [sky.entry_id]})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    assert done["data"] == {"forecast_entries": [sky.entry_id]}
    flow = await answer(hass, await add(hass, entry, "solar"), {"name": "Roof", "forecast_entries": [sky.entry_id]})
    shows(flow, "user", forecast_entries="device_known")


async def test_integrations_that_forecast_nothing_are_not_offered(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    mock_integration(hass, MockModule("plain"))
    mock_integration(hass, MockModule("metering"))
    mock_platform(hass, "metering.energy", type("energy", (), {}))
    for domain in ("plain", "metering"):
        hass.config.components.add(domain)
    for domain in ("plain", "metering", "never_loaded"):
        MockConfigEntry(domain=domain).add_to_hass(hass)
    assert options_of(await add(hass, entry, "solar"), "forecast_entries") == []


async def test_entities_are_followed_through_renames_and_left_empty_when_gone(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    registry = er.async_get(hass)
    known = registered(hass, SOC)
    device = await added(hass, entry, "battery")
    assert device.data["soc_entity"] == known.id
    registry.async_update_entity(SOC, new_entity_id="sensor.cellar")
    assert suggested(await change(hass, entry, device))["soc_entity"] == "sensor.cellar"
    registry.async_remove("sensor.cellar")
    assert "soc_entity" not in suggested(await change(hass, entry, device))


@pytest.fixture
def sources() -> list[dict[str, Any]]:
    return [{"type": "grid", "stat_energy_from": IMPORT_METER, "stat_energy_to": EXPORT_METER}]


@pytest.fixture
async def dashboard(hass: HomeAssistant, sources: list[dict[str, Any]]) -> Any:
    """The Energy dashboard with these sources."""
    hass.config.components.add("energy")
    with patch.object(await async_get_manager(hass), "data", {"energy_sources": sources}):
        yield


def solar(meter: str | None, *forecasts: str, **more: Any) -> dict[str, Any]:
    return {"type": "solar", "stat_energy_from": meter, "config_entry_solar_forecast": list(forecasts) or None, **more}


async def test_what_the_energy_dashboard_knows_comes_with_the_entry(
    rig: Rig, dashboard: None, sources: list[dict[str, Any]], sky: MockConfigEntry, hass: HomeAssistant
) -> None:
    registry = er.async_get(hass)
    named = registered(hass, SOC)
    registry.async_update_entity(named.entity_id, name="Cellar battery")
    other = MockConfigEntry(domain="sky", title="Sky over the barn")
    other.add_to_hass(hass)
    sources += [
        solar(ROOF, sky.entry_id, other.entry_id, "gone"),
        {"type": "battery", "stat_soc": SOC, "capacity": 12.5},
        {"type": "battery", "stat_soc": "sensor.second", "name": "Garage"},
        {"type": "battery"},
        {"type": "gas"},
    ]
    flow = shows(await rig.answer(await rig.start_flow(), METERS), "devices")
    offered = suggested(flow)["devices"]
    assert [option["label"] for option in options_of(flow, "devices")] == [
        "roof (sensor.roof + Sky over the roof + Sky over the barn)",
        "Cellar battery (sensor.battery, 12.5 kWh)",
        "Garage (sensor.second, 10 kWh)",
    ]
    created = await finish(rig, shows(await rig.answer(flow, {"devices": offered[:2]}), "policy"))
    kept = {(device.subentry_type, device.title): dict(device.data) for device in created.subentries.values()}
    assert kept == {
        ("solar", "roof"): {"energy_entity": ROOF, "forecast_entries": [sky.entry_id, other.entry_id]},
        ("battery", "Cellar battery"): {
            "soc_entity": named.id,
            "capacity_wh": 12_500,
            "charge_max_w": 6_250,
            "discharge_max_w": 6_250,
            "reserve_percent": 20,
        },
    }


async def test_devices_that_are_not_wanted_are_not_created(
    rig: Rig, dashboard: None, sources: list[dict[str, Any]], hass: HomeAssistant
) -> None:
    sources.append(solar(ROOF, name="Roof"))
    flow = shows(await rig.answer(await rig.start_flow(), METERS), "devices")
    created = await finish(rig, shows(await rig.answer(flow, {}), "policy"))
    assert created.subentries == {}


async def test_what_is_no_device_of_the_home_is_not_offered(
    rig: Rig, dashboard: None, sources: list[dict[str, Any]]
) -> None:
    sources += [solar("portal:solar"), solar(None), {"type": "battery", "stat_soc": "portal:soc"}]
    shows(await rig.answer(await rig.start_flow(), METERS), "policy")


async def test_a_plant_without_a_state_is_called_by_its_forecast_or_kind(
    rig: Rig, dashboard: None, sources: list[dict[str, Any]], sky: MockConfigEntry
) -> None:
    sources += [
        solar("sensor.unheard"),
        solar("sensor.silent", sky.entry_id),
        solar("portal:solar", sky.entry_id),
        {"type": "battery", "stat_soc": "sensor.mute", "capacity": 5},
    ]
    flow = shows(await rig.answer(await rig.start_flow(), METERS), "devices")
    labels = [option["label"] for option in options_of(flow, "devices")]
    assert labels == [
        "solar (sensor.unheard)",
        "Sky over the roof (sensor.silent + Sky over the roof)",
        "Sky over the roof (Sky over the roof)",
        "battery (sensor.mute, 5 kWh)",
    ]
