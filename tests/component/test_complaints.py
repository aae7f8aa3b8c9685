"""What owners of other energy integrations complained of, played to the meter guard of a whole home.

Each case is one of the threads in the study that the design rests on: a register that restarts, a lifetime that is
booked at once, a unit that changes, a meter of whole kWh, a clock that is wrong, the night when the clocks change.
"""

from __future__ import annotations

import datetime as dt
import time

import pytest
from homeassistant.core import HomeAssistant

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig, agent_of, set_meters

BEFORE, AFTER = "35600.150", "35600.160"


async def consumed_wh(rig: Rig, entry: EnergyTradeConfigEntry) -> list[int]:
    """Return what each stored reading says of the consumption register."""
    await rig.delivered(entry)
    return [reading.consumption_wh for reading in await rig.community.readings(agent_of(entry).identity.device_id)]


def verdict(rig: Rig, entry: EnergyTradeConfigEntry) -> str:
    return rig.state(entry, "meter_check").state


@pytest.mark.parametrize(
    ("shown", "verdict_is"),
    [
        ("0", "register_zero"),
        ("unavailable", "unavailable"),
        ("unknown", "unavailable"),
        ("", "not_a_number"),
        ("abc", "not_a_number"),
        ("1,5", "not_a_number"),
        ("nan", "out_of_range"),
        ("inf", "out_of_range"),
        ("-5", "out_of_range"),
        ("1e30", "out_of_range"),
        ("12.000", "register_fell"),
        ("71200.300", "beyond_limit"),
        ("35601", "resolution"),
    ],
)
async def test_what_a_meter_may_not_say_becomes_no_energy_and_is_made_up_for(
    rig: Rig, entry: EnergyTradeConfigEntry, shown: str, verdict_is: str
) -> None:
    before = BEFORE if verdict_is != "resolution" else "35600"
    await rig.boundary(before, "812.340")
    await rig.boundary(shown, "812.340")
    assert verdict(rig, entry) == verdict_is
    signed = await consumed_wh(rig, entry)
    assert len(signed) == 1, "nothing was signed of it"
    await rig.boundary(AFTER if verdict_is != "resolution" else "35600.160", "812.340")
    if verdict_is != "resolution":
        assert verdict(rig, entry) == "ok"
        assert await consumed_wh(rig, entry) == [35_600_150, 35_600_160], "the next good register carries the energy"


async def test_a_lifetime_is_not_booked_at_once(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("0.010", "0")
    await rig.boundary("35600.150", "812.340")
    assert verdict(rig, entry) == "beyond_limit"
    assert await consumed_wh(rig, entry) == [10]


async def test_a_unit_that_changes_changes_no_energy(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary(BEFORE, "812.340")
    await rig._quiet()
    set_meters(hass, "35600160", "812340", "Wh")
    await rig.boundary_as_it_is()
    assert verdict(rig, entry) == "ok"
    set_meters(hass, "35600160", "812340", "kWh")  # the unit alone jumped: a thousand times too much
    await rig.boundary_as_it_is()
    assert verdict(rig, entry) == "beyond_limit"
    set_meters(hass, "120", "3", "m³")
    await rig.boundary_as_it_is()
    assert verdict(rig, entry) == "unit"
    assert await consumed_wh(rig, entry) == [35_600_150, 35_600_160]


async def test_a_clock_that_is_wrong_signs_nothing(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary(BEFORE, "812.340")
    rig.community.clock.wrong_by_s = -120
    await entry.runtime_data.coordinator.async_refresh()
    await rig.boundary(AFTER, "812.340")
    assert verdict(rig, entry) == "clock"
    rig.community.clock.wrong_by_s = 0
    await entry.runtime_data.coordinator.async_refresh()
    await rig.boundary("35600.170", "812.340")
    assert await consumed_wh(rig, entry) == [35_600_150, 35_600_170]


async def test_a_clock_that_is_set_back_keeps_no_boundary_waiting(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    at, home = int(time.time()), entry.runtime_data.home
    rig.move_to(at + 86_400)
    await rig.until(lambda: home.last_boundary > 0)  # noticed late, and the next one is planned a day ahead
    rig.move_to(at + 10)
    await entry.runtime_data.coordinator.async_refresh()
    set_meters(rig.hass, BEFORE, "812.340")
    home.last_boundary = 0
    await rig.boundary(BEFORE, "812.340")
    assert home.last_boundary < at + 86_400
    assert await consumed_wh(rig, entry) == [35_600_150]


async def test_the_night_of_the_clock_change_has_no_gap_and_no_overlap(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config.async_set_time_zone("Europe/Berlin")
    change = int(dt.datetime(2027, 3, 28, 1, 0, tzinfo=dt.UTC).timestamp())
    rig.move_to(change - 2 * INTERVAL_S + 5)
    await entry.runtime_data.coordinator.async_refresh()
    times = [await rig.boundary(f"35600.{200 + 10 * step}", "812.340") for step in range(4)]
    assert times == list(range(change - INTERVAL_S, change + 3 * INTERVAL_S, INTERVAL_S))
    await rig.delivered(entry)
    readings = await rig.community.readings(agent_of(entry).identity.device_id)
    assert [reading.timestamp for reading in readings] == times
