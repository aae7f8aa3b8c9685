"""What a real home expects of its meter: habits from a real recorder, the sun, and the battery between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from homeassistant.components.recorder import Recorder
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import mock_platform

from custom_components.energy_trade.const import (
    BATTERY,
    CONF_HOLIDAYS,
    SOLAR,
)
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.sources.outlook import OutlookSource
from tests.component.community import NOON
from tests.component.outlook_bench import loaded_entry, record
from tests.component.outlook_home import BATTERY_DATA, CHARGE, add, calendar, choose, iso, now_of, say
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig

SUN = "sensor.sun"
DAY, HOUR, FINE = 86_400, 3_600, 300
__all__ = ["calendar"]


@pytest.fixture(autouse=True)
def _our_integration(recorder_mock: Recorder, enable_custom_integrations: None) -> None:
    """Start the recorder before Home Assistant."""


@pytest.fixture
def source(entry: EnergyTradeConfigEntry) -> OutlookSource:
    return entry.runtime_data.outlook


async def a_past(hass: HomeAssistant, days: int = 8) -> None:
    """Let the recorder have a home that takes 1.2 kW, and gives 2.4 kW at noon (10 to 14 UTC) of 3.6 kW of sun."""
    end = NOON - NOON % HOUR
    hours = range(end - days * DAY, end, HOUR)
    sunny = {at for at in hours if 10 <= dt_util.utc_from_timestamp(at).hour < 14}
    hass.states.async_set(SUN, "1", {"unit_of_measurement": "kWh"})
    await record(hass, IMPORT_METER, {at: 0.0 if at in sunny else 1.2 for at in hours})
    await record(hass, EXPORT_METER, {at: 2.4 if at in sunny else 0.0 for at in hours})
    await record(hass, SUN, {at: 3.6 if at in sunny else 0.0 for at in hours})


async def test_the_meter_is_forecast_from_the_recorder(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource
) -> None:
    await a_past(rig.hass)
    assert now_of(entry)[0].forecasts == {}
    await source.async_refresh()
    assert "history" not in source.problems
    found, start = now_of(entry)
    assert list(found.forecasts) == list(range(start - 60, start - 60 + 200 * 60, 60))
    coming = source.current(NOON - NOON % DAY + 9 * HOUR + 59 * 60).forecasts
    assert coming[NOON - NOON % DAY + 12 * HOUR].net_wh == -40
    assert coming[NOON - NOON % DAY + 10 * HOUR - 60].net_wh == 20


async def sunny_home(rig: Rig, entry: EnergyTradeConfigEntry, told: Mapping[str, float]) -> None:
    """Give the home a plant with a meter and a forecast, and a past."""

    async def tell(_hass: HomeAssistant, _entry_id: str) -> Any:
        return {"wh_hours": told}

    other = loaded_entry(rig.hass, "some_sun")
    mock_platform(rig.hass, "some_sun.energy", SimpleNamespace(async_get_solar_forecast=tell))
    await a_past(rig.hass)
    await add(rig, entry, SOLAR, energy_entity=SUN, forecast_entries=[other.entry_id], peak_w=5_000)
    await entry.runtime_data.outlook.async_refresh()


async def test_the_suns_forecast_replaces_the_sun_of_the_past(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    noon = NOON - NOON % DAY + 12 * HOUR
    await sunny_home(rig, entry, {iso(noon): 600.0})
    source = entry.runtime_data.outlook
    assert source.problems == {}
    found = source.current(NOON - NOON % DAY + 9 * HOUR + 59 * 60).forecasts
    assert found[noon].net_wh == 10  # 20 Wh of use a minute less 10 Wh of sun
    assert found[noon - HOUR].net_wh == 20


async def test_a_sun_that_is_not_told_leaves_the_habits(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await sunny_home(rig, entry, {})
    source = entry.runtime_data.outlook
    assert "Ours" in source.problems["solar"]
    found = source.current(NOON - NOON % DAY + 9 * HOUR + 59 * 60).forecasts
    assert found[NOON - NOON % DAY + 12 * HOUR].net_wh == -40


async def test_what_the_sun_was_told_to_be_is_kept_to_be_judged(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    noon = NOON - NOON % DAY + 12 * HOUR
    told = {iso(noon): 600.0}
    await sunny_home(rig, entry, told)
    source = entry.runtime_data.outlook
    rig.move_to(noon + 1_800)
    told[iso(noon)] = 1_200.0
    await source.async_refresh()
    sun = source._forecasting.sun.value
    assert sun is not None
    assert (sun[noon], sun[noon + 1_740], sun[noon + 1_860]) == (10, 10, 20)


async def test_a_sun_without_a_forecast_is_not_exchanged(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await a_past(rig.hass)
    await add(rig, entry, SOLAR, energy_entity=SUN, peak_w=5_000)
    await entry.runtime_data.outlook.async_refresh()
    found = entry.runtime_data.outlook.current(NOON - NOON % DAY + 9 * HOUR + 59 * 60).forecasts
    assert found[NOON - NOON % DAY + 12 * HOUR].net_wh == -40


async def test_a_forecast_of_a_plant_that_is_not_measured_is_not_used(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """What it made is in the meter's past already, and cannot be told from what was used."""
    await add(rig, entry, SOLAR, forecast_entries=["theirs"], peak_w=5_000)
    await entry.runtime_data.outlook.async_refresh()
    assert "solar" not in entry.runtime_data.outlook.problems


async def test_the_battery_stands_between_the_home_and_the_meter(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """In the past it stood still; now it is empty and will take the surplus."""
    say(rig.hass, CHARGE, 20, "%")
    await a_past(rig.hass)
    end = NOON - NOON % HOUR
    await record(rig.hass, CHARGE, dict.fromkeys(range(end - 8 * DAY, end, HOUR), 50.0), unit="%")
    await add(rig, entry, BATTERY, **BATTERY_DATA)
    source = entry.runtime_data.outlook
    await source.async_refresh()
    noon, before = NOON - NOON % DAY + 12 * HOUR, NOON - NOON % DAY + 9 * HOUR + 59 * 60
    assert source.problems == {}
    assert source.current(before).forecasts[noon].net_wh == 0
    rig.hass.states.async_set(CHARGE, "unavailable")
    assert source.current(before).forecasts[noon].net_wh == -40, "unknown now: the meter as it was, battery and all"


async def test_what_the_battery_did_in_the_past_is_taken_out_of_it(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """It took 10 % of 9.5 kWh an hour about noon; now it is full and takes nothing more."""
    say(rig.hass, CHARGE, 100, "%")
    await a_past(rig.hass)
    end = NOON - NOON % HOUR
    hours = range(end - 8 * DAY, end, HOUR)
    charge = {at: 10.0 * min(max(dt_util.utc_from_timestamp(at).hour - 10, 0), 4) for at in hours}
    await record(rig.hass, CHARGE, charge, unit="%")
    await add(rig, entry, BATTERY, **BATTERY_DATA | {"capacity_wh": 9_500})
    source = entry.runtime_data.outlook
    await source.async_refresh()
    noon, before = NOON - NOON % DAY + 12 * HOUR, NOON - NOON % DAY + 9 * HOUR + 59 * 60
    assert source.current(before).forecasts[noon].net_wh in (-57, -56)  # 40 Wh were given, 1000 Wh an hour were taken
    rig.hass.states.async_set(CHARGE, "unavailable")
    assert source.current(before).forecasts[noon].net_wh == -40


async def test_a_battery_whose_past_is_not_recorded_is_not_counted_twice(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    say(rig.hass, CHARGE, 20, "%")
    await a_past(rig.hass)
    await add(rig, entry, BATTERY, **BATTERY_DATA)
    source = entry.runtime_data.outlook
    await source.async_refresh()
    noon, before = NOON - NOON % DAY + 12 * HOUR, NOON - NOON % DAY + 9 * HOUR + 59 * 60
    assert source.current(before).forecasts[noon].net_wh == -40


async def test_the_last_interval_is_taken_without_what_the_battery_did(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, CHARGE, 50, "%")
    await add(rig, entry, BATTERY, **BATTERY_DATA)
    forecasting = entry.runtime_data.outlook._forecasting
    first = await rig.boundary("35600.120", "812.340")
    say(rig.hass, CHARGE, 51, "%")
    second = await rig.boundary("35600.121", "812.360")
    last = entry.runtime_data.home.agent.meter.last
    assert last is not None
    assert (last.start, last.end, last.net_wh) == (first, second, -19)
    found = forecasting._without_battery(last)
    assert found is not None
    assert found.net_wh == -19 - 105  # 1 % of 10 kWh at 95 %
    say(rig.hass, CHARGE, 50, "%")
    await rig.boundary("35600.221", "812.360")
    found = forecasting._without_battery(entry.runtime_data.home.agent.meter.last)
    assert found is not None
    assert found.net_wh == 100 + 95
    assert forecasting._without_battery(None) is None
    assert forecasting._without_battery(replace(last, start=0)) is None
    for _ in range(12):
        await rig.boundary_as_it_is()
    assert len(forecasting._charges) == 8


async def test_holidays_are_learnt_from_as_soon_as_they_are_known(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource, calendar: list[Any]
) -> None:
    await a_past(rig.hass)
    await source.async_refresh()
    learnt = source._forecasting.history.value
    await source._ask()
    assert source._forecasting.history.value is learnt, "it is not time to learn again"
    calendar.append({"start": "2027-01-16", "end": "2027-01-17", "summary": "Holiday"})
    choose(rig.hass, entry, **{CONF_HOLIDAYS: "calendar.ours"})
    await rig.until(lambda: source._forecasting.history.value is not learnt)


async def test_a_home_without_statistics_says_so(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await entry.runtime_data.outlook.async_refresh()
    assert IMPORT_METER in entry.runtime_data.outlook.problems["history"]
