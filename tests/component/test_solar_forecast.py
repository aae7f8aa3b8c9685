"""Solar forecasts as integrations tell them: hours, odd steps, nights left out, and what must not be believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from pytest_homeassistant_custom_component.common import mock_platform

from custom_components.energy_trade.sources import solar_forecast
from custom_components.energy_trade.sources.solar_forecast import Plant, SolarProblem, async_solar_forecast, segments_of
from tests.component.outlook_bench import HOUR, QUARTER, loaded_entry

BERLIN = ZoneInfo("Europe/Berlin")
DAY = datetime(2026, 6, 21, tzinfo=BERLIN)
MIDNIGHT = int(DAY.timestamp())

type Tell = Callable[[HomeAssistant, str], Awaitable[Any]]


@pytest.fixture(autouse=True)
async def _here(hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Berlin")


def hours(first: int, values: list[float], day: datetime = DAY) -> dict[str, float]:
    return {(day + timedelta(hours=first + n)).isoformat(): value for n, value in enumerate(values)}


def plant(hass: HomeAssistant, told: Any, domain: str = "some_sun", peak_w: int = 0) -> Plant:
    """A plant whose forecast comes from a real ``energy`` platform of an integration."""

    async def tell(_hass: HomeAssistant, entry_id: str) -> Any:
        assert entry_id == entry.entry_id
        if isinstance(told, Exception):
            raise told
        return told

    entry = loaded_entry(hass, domain, f"Roof of {domain}")
    mock_platform(hass, f"{domain}.energy", SimpleNamespace(async_get_solar_forecast=tell))
    return Plant(entry.entry_id, peak_w)


async def forecast(hass: HomeAssistant, *plants: Plant, interval_s: int = QUARTER) -> dict[int, int]:
    found = await async_solar_forecast(hass, plants, interval_s)
    assert isinstance(found, dict), found
    return found


async def problem_of(hass: HomeAssistant, *plants: Plant) -> SolarProblem:
    found = await async_solar_forecast(hass, plants, QUARTER)
    assert isinstance(found, SolarProblem), found
    return found


async def test_hours_are_spread_over_the_intervals(hass: HomeAssistant) -> None:
    found = await forecast(hass, plant(hass, {"wh_hours": hours(6, [100, 400, 1_000])}))
    noon = MIDNIGHT + 6 * HOUR
    assert [found[noon + QUARTER * n] for n in range(12)] == [25] * 4 + [100] * 4 + [250] * 4
    assert sum(found.values()) == 1_500


async def test_a_night_that_is_left_out_is_zero_and_another_day_unknown(hass: HomeAssistant) -> None:
    found = await forecast(hass, plant(hass, {"wh_hours": hours(6, [100]) | hours(30, [200])}), interval_s=HOUR)
    assert sorted(found) == list(range(MIDNIGHT, MIDNIGHT + 48 * HOUR, HOUR))
    assert {start: wh for start, wh in found.items() if wh} == {MIDNIGHT + 6 * HOUR: 100, MIDNIGHT + 30 * HOUR: 200}


async def test_the_days_of_the_clocks_change_are_23_and_25_hours_long(hass: HomeAssistant) -> None:
    for day, length in ((datetime(2026, 3, 29, tzinfo=BERLIN), 23), (datetime(2026, 10, 25, tzinfo=BERLIN), 25)):
        noon = (day + timedelta(hours=12)).isoformat()
        found = segments_of({noon: 500})
        assert isinstance(found, list)
        assert found[-1][1] - found[0][0] == length * HOUR
        assert found[0][0] == int(day.timestamp())


async def test_rows_of_half_hours_and_of_odd_times_at_sunrise_keep_the_sum(hass: HomeAssistant) -> None:
    told = {
        "2026-06-21T05:43:00+02:00": 20,
        "2026-06-21T06:00:00+02:00": 200.4,
        "2026-06-21T07:00:00+02:00": 600,
        "2026-06-21T07:30:00+02:00": 700,
    }
    found = await forecast(hass, plant(hass, {"wh_hours": told}))
    assert abs(sum(found.values()) - 1_520) <= 1
    assert found[MIDNIGHT + 6 * HOUR] in (50, 51)
    assert found[MIDNIGHT + 7 * HOUR] == 300


async def test_plants_are_summed_where_each_is_known(hass: HomeAssistant) -> None:
    one = plant(hass, {"wh_hours": hours(12, [1_000]) | hours(36, [800])}, "one_sun")
    two = plant(hass, {"wh_hours": hours(12, [500])}, "two_suns")
    found = await forecast(hass, one, two, interval_s=HOUR)
    assert found[MIDNIGHT + 12 * HOUR] == 1_500
    assert max(found) == MIDNIGHT + 23 * HOUR
    assert await forecast(hass) == {}


async def test_one_plant_that_is_unknown_makes_the_sum_unknown(hass: HomeAssistant) -> None:
    one = plant(hass, {"wh_hours": hours(12, [1_000])}, "one_sun")
    found = await problem_of(hass, one, plant(hass, None, "two_suns"))
    assert found.code == "no_rows"
    assert "Roof of two_suns" in found.message


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (-1, "2026-06-21T12:00:00+02:00"),
        (None, "2026-06-21T12:00:00+02:00"),
        ("500", "2026-06-21T12:00:00+02:00"),
        (True, "2026-06-21T12:00:00+02:00"),
        (float("nan"), "2026-06-21T12:00:00+02:00"),
        (float("inf"), "2026-06-21T12:00:00+02:00"),
        (500, "noon"),
        (500, 12),
    ],
    ids=repr,
)
async def test_what_is_no_energy_in_a_time_makes_the_forecast_unusable(
    hass: HomeAssistant, value: object, key: object
) -> None:
    wh_hours: dict[Any, Any] = {**hours(10, [100]), key: value}
    assert (await problem_of(hass, plant(hass, {"wh_hours": wh_hours}))).code == "unusable"


async def test_a_forecast_beyond_the_plant_is_not_believed(hass: HomeAssistant) -> None:
    """Twice the peak is a forecast in another unit, or another plant's."""
    told = {"wh_hours": hours(12, [9_000])}
    assert (await forecast(hass, plant(hass, told, peak_w=4_500), interval_s=HOUR))[MIDNIGHT + 12 * HOUR] == 9_000
    assert (await problem_of(hass, plant(hass, told, peak_w=4_400))).code == "absurd"


@pytest.mark.parametrize("told", [None, {}, {"wh_hours": None}, {"wh_hours": {}}, "x", []], ids=repr)
async def test_a_forecast_without_rows_is_a_problem(hass: HomeAssistant, told: Any) -> None:
    assert (await problem_of(hass, plant(hass, told))).code == "no_rows"


@pytest.mark.parametrize("error", [HomeAssistantError("down"), KeyError("x"), ValueError(), TypeError()], ids=repr)
async def test_a_forecast_that_fails_is_a_problem(hass: HomeAssistant, error: Exception) -> None:
    assert (await problem_of(hass, plant(hass, error))).code == "failed"


async def test_a_forecast_that_never_comes_is_given_up(hass: HomeAssistant) -> None:
    async def never(_hass: HomeAssistant, _entry_id: str) -> Any:
        await asyncio.Event().wait()

    roof = plant(hass, None)
    mock_platform(hass, "some_sun.energy", SimpleNamespace(async_get_solar_forecast=never))
    with patch.object(solar_forecast, "ANSWER_S", 0.01):
        assert (await problem_of(hass, roof)).code == "failed"


async def test_the_entry_must_exist_run_and_forecast(hass: HomeAssistant) -> None:
    assert (await problem_of(hass, Plant("gone"))).code == "missing"
    entry = loaded_entry(hass, "no_sun")
    assert (await problem_of(hass, Plant(entry.entry_id))).code == "no_platform"
    mock_platform(hass, "no_sun.energy", SimpleNamespace())
    assert (await problem_of(hass, Plant(entry.entry_id))).code == "no_platform"
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert (await problem_of(hass, Plant(entry.entry_id))).code == "not_loaded"


async def test_moments_are_read_as_text_or_as_times(hass: HomeAssistant) -> None:
    noon = datetime(2026, 6, 21, 10, tzinfo=UTC)
    assert segments_of({noon: 5}) == segments_of({noon.isoformat(): 5})
