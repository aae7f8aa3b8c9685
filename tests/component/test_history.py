"""The recorder's statistics as rows: a real recorder, with the faults that real meters leave in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from homeassistant.components.recorder import Recorder
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from sqlalchemy.exc import OperationalError

from custom_components.energy_trade.household.history import HistoryRow
from custom_components.energy_trade.sources import history
from custom_components.energy_trade.sources.history import HistoryMeters, HistoryProblem, async_history
from tests.component.outlook_bench import FINE, HOUR, QUARTER, record

IMPORT, EXPORT, SUN, CHARGE = "sensor.grid_import", "sensor.grid_export", "sensor.sun", "sensor.charge"
T0 = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())
METERS = HistoryMeters(IMPORT, EXPORT)


@pytest.fixture(autouse=True)
def _our_integration(recorder_mock: Recorder, enable_custom_integrations: None) -> None:
    """Start the recorder before Home Assistant."""


@pytest.fixture(autouse=True)
async def _meters(hass: HomeAssistant, _our_integration: None) -> None:
    for name in (IMPORT, EXPORT, SUN):
        hass.states.async_set(name, "1", {"unit_of_measurement": "kWh"})
    hass.states.async_set(CHARGE, "50", {"unit_of_measurement": "%"})


def every(step: int, values: Sequence[float], start: int = T0) -> dict[int, float]:
    return {start + step * n: value for n, value in enumerate(values)}


async def rows_of(
    hass: HomeAssistant, meters: HistoryMeters = METERS, interval_s: int = QUARTER, hours: int = 24
) -> tuple[HistoryRow, ...]:
    found = await async_history(hass, meters, interval_s, T0, T0 + hours * HOUR)
    assert isinstance(found, tuple), found
    return found


async def test_fine_statistics_come_as_they_are(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1, 0.2, 0.3, 0, 0, 0]), fine=True)
    await record(hass, EXPORT, every(FINE, [0, 0, 0, 0.5, 0.25, 0.25]), fine=True)
    assert await rows_of(hass) == (
        HistoryRow(T0, 600, None, FINE),
        HistoryRow(T0 + QUARTER, -1_000, None, FINE),
    )


async def test_hours_are_taken_where_fine_statistics_are_gone(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(HOUR, [1.0, 2.0, 4.0]))
    await record(hass, EXPORT, every(HOUR, [0.0, 0.0, 0.0]))
    await record(hass, IMPORT, every(FINE, [0.5] * 12, T0 + 2 * HOUR), fine=True)
    await record(hass, EXPORT, every(FINE, [0.0] * 12, T0 + 2 * HOUR), fine=True)
    found = await rows_of(hass)
    assert [row.net_wh for row in found] == [250] * 4 + [500] * 4 + [1_500] * 4
    assert [row.resolution_s for row in found] == [HOUR] * 8 + [FINE] * 4
    assert [row.start for row in found] == list(range(T0, T0 + 3 * HOUR, QUARTER))


async def test_intervals_of_a_minute_and_of_an_hour_keep_the_sum(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.017] * 24), fine=True)
    await record(hass, EXPORT, every(FINE, [0.003] * 24), fine=True)
    for interval_s, count in ((60, 120), (HOUR, 2)):
        found = await rows_of(hass, interval_s=interval_s)
        assert len(found) == count
        assert sum(row.net_wh for row in found) == 24 * 14


async def test_only_whole_intervals_within_the_time_asked_for_are_told(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1] * 24), fine=True)
    await record(hass, EXPORT, every(FINE, [0.0] * 24), fine=True)
    found = await async_history(hass, METERS, QUARTER, T0 + 1, T0 + 2 * QUARTER + 899)
    assert isinstance(found, tuple)
    assert [row.start for row in found] == [T0 + QUARTER]


async def test_a_gap_in_one_register_is_unknown(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1] * 12), fine=True)
    await record(hass, EXPORT, every(FINE, [0.1] * 3), fine=True)
    assert [row.start for row in await rows_of(hass)] == [T0]


async def test_without_an_export_meter_all_is_need(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1] * 3), fine=True)
    assert await rows_of(hass, HistoryMeters(IMPORT, None)) == (HistoryRow(T0, 300, None, FINE),)


async def test_solar_meters_are_summed(hass: HomeAssistant) -> None:
    hass.states.async_set("sensor.barn", "1", {"unit_of_measurement": "kWh"})
    for name, change in ((IMPORT, 0.0), (EXPORT, 0.3), (SUN, 0.5)):
        await record(hass, name, every(FINE, [change] * 3), fine=True)
    await record(hass, "sensor.barn", every(FINE, [200.0] * 3), fine=True, unit="Wh")
    found = await rows_of(hass, HistoryMeters(IMPORT, EXPORT, solar=[SUN, "sensor.barn"]))
    assert found == (HistoryRow(T0, -900, 2_100, FINE),)


@pytest.mark.parametrize("change", [35_600.0, -35_600.0, 2.1])
async def test_a_lifetime_that_is_booked_at_once_is_no_energy(hass: HomeAssistant, change: float) -> None:
    """A counter that fell to zero and came back at a restart; 24 kW give 2 kWh in five minutes, and a little."""
    meters = HistoryMeters(IMPORT, EXPORT, import_max_w=24_000 if change != 2.1 else 22_000, export_max_w=10_000)
    await record(hass, IMPORT, every(FINE, [0.1, 0.1, 0.1, change, 0.1, 0.1, 0.1, 0.1, 0.1]), fine=True)
    await record(hass, EXPORT, every(FINE, [0.0] * 9), fine=True)
    assert [row.start - T0 for row in await rows_of(hass, meters)] == [0, 2 * QUARTER]


@pytest.mark.parametrize("fine", [True, False])
async def test_the_first_row_of_a_statistic_is_no_energy(hass: HomeAssistant, fine: bool) -> None:
    """It holds the lifetime before it: old five-minute rows are thrown away, and what stays begins there."""
    step = FINE if fine else HOUR
    for name in (IMPORT, SUN):
        await record(hass, name, every(step, [0.1] * 3), fine=fine)
    meters = HistoryMeters(IMPORT, None, solar=[SUN])
    found = await async_history(hass, meters, step, T0 - 24 * HOUR, T0 + 24 * HOUR)
    assert isinstance(found, tuple)
    assert found == tuple(HistoryRow(T0 + n * step, 100, 100, step) for n in range(3))


async def test_the_battery_is_seen_in_its_state_of_charge(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.0] * 36), fine=True)
    await record(hass, EXPORT, every(FINE, [0.1] * 36), fine=True)
    charge = [40 + n for n in range(18)] + [57 - n for n in range(18)]
    await record(hass, CHARGE, every(FINE, charge), fine=True, unit="%")
    found = await rows_of(hass, HistoryMeters(IMPORT, EXPORT, batteries=[(CHARGE, 10_000)]))
    known = {row.start: row for row in found}
    filling, emptying = known[T0 + 2 * QUARTER], known[T0 + 8 * QUARTER]
    assert (filling.battery_wh, emptying.battery_wh) == (316, -285)  # 300 Wh stored at 95 %, 300 Wh taken out
    assert filling.net_wh == emptying.net_wh == -300
    bare = filling.without_battery()
    assert bare is not None
    assert (bare.net_wh, bare.battery_wh) == (-616, 0)


async def test_a_battery_in_hourly_statistics_is_seen_too(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(HOUR, [1.0] * 6))
    await record(hass, EXPORT, every(HOUR, [0.0] * 6))
    await record(hass, CHARGE, every(HOUR, [50.0, 60.0, 70.0, 70.0, 70.0, 101.0]), unit="%")
    found = await rows_of(hass, HistoryMeters(IMPORT, EXPORT, batteries=[(CHARGE, 9_500)]), HOUR)
    assert [row.battery_wh for row in found] == [None, 1_000, 500, 0, None, None]


async def test_a_battery_that_is_not_recorded_leaves_the_meters_rows(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1] * 3), fine=True)
    await record(hass, EXPORT, every(FINE, [0.0] * 3), fine=True)
    found = await rows_of(hass, HistoryMeters(IMPORT, EXPORT, batteries=[(CHARGE, 10_000)]))
    assert found == (HistoryRow(T0, 300, None, FINE, None),)
    assert found[0].without_battery() is None


async def test_a_renamed_meter_is_followed(hass: HomeAssistant) -> None:
    registry = er.async_get(hass)
    entry = registry.async_get_or_create("sensor", "meter", "1", suggested_object_id="main")
    await record(hass, entry.entity_id, every(FINE, [0.1] * 3), fine=True)
    assert len(await rows_of(hass, HistoryMeters(entry.id, None))) == 1


@pytest.mark.parametrize("hours", [25, 72])
async def test_a_day_of_25_hours_has_25_hours(hass: HomeAssistant, hours: int) -> None:
    """Rows are in UTC: neither the clock's going back nor the zone moves or doubles one."""
    await hass.config.async_set_time_zone("Europe/Berlin")
    start = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp())
    await record(hass, IMPORT, every(HOUR, [1.0] * 25, start))
    found = await async_history(hass, HistoryMeters(IMPORT, None), HOUR, start, start + hours * HOUR)
    assert isinstance(found, tuple)
    assert [row.start for row in found] == [start + HOUR * n for n in range(25)]
    assert {row.net_wh for row in found} == {1_000}


async def problem_of(hass: HomeAssistant, meters: HistoryMeters = METERS) -> HistoryProblem:
    found = await async_history(hass, meters, QUARTER, T0, T0 + HOUR)
    assert isinstance(found, HistoryProblem), found
    return found


async def test_a_meter_without_statistics_is_told_by_name(hass: HomeAssistant) -> None:
    await record(hass, IMPORT, every(FINE, [0.1] * 3), fine=True)
    found = await problem_of(hass)
    assert found.code == "no_statistics"
    assert EXPORT in found.message


async def test_a_meter_that_is_gone_is_told(hass: HomeAssistant) -> None:
    found = await problem_of(hass, HistoryMeters("0123456789abcdef0123456789abcdef", None))
    assert found.code == "missing"


async def test_a_database_that_fails_is_a_problem(hass: HomeAssistant) -> None:
    error = OperationalError("select", None, Exception("database disk image is malformed"))
    with patch.object(history, "statistics_during_period", side_effect=error):
        assert (await problem_of(hass)).code == "failed"


async def test_without_a_recorder_there_is_no_history(hass: HomeAssistant) -> None:
    hass.config.components.remove("recorder")
    try:
        assert (await problem_of(hass)).code == "no_recorder"
    finally:
        hass.config.components.add("recorder")
