"""The outlook of a real home beside a real coordinator: each source, each of its failures, and what stays then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CoreState, HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util import dt as dt_util

from custom_components.energy_trade.const import (
    BATTERY,
    CONF_BATTERY_RESERVE,
    CONF_FEED_IN_PRICE,
    CONF_GRID_EVENTS,
    CONF_HOLIDAYS,
    CONF_POLICY,
    CONF_SUPPLIER_PRICE,
)
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.grid import GridView
from custom_components.energy_trade.household.outlook import BatteryState, EventKind, GridEvent, GridState, Outlook
from custom_components.energy_trade.sources import outlook as outlook_module
from custom_components.energy_trade.sources.outlook import OutlookSource
from tests.component.community import NOON
from tests.component.outlook_bench import loaded_entry
from tests.component.outlook_home import BATTERY_DATA, CHARGE, add, calendar, choose, follow, iso, now_of, say
from tests.component.rig import Rig

PRICE, SUPPLIER, FEED_IN = "sensor.price", "sensor.supplier", "sensor.feed_in"
DAY, HOUR, FINE = 86_400, 3_600, 300
__all__ = ["calendar"]


@pytest.fixture
def source(entry: EnergyTradeConfigEntry) -> OutlookSource:
    return entry.runtime_data.outlook


def prices_now(entry: EnergyTradeConfigEntry) -> int | None:
    found, start = now_of(entry)
    return found.prices.get(start)


async def test_a_home_that_has_set_nothing_has_an_outlook(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.hass.config.async_set_time_zone("Europe/Berlin")
    found, _start = now_of(entry)
    assert found == Outlook(timezone=dt_util.get_default_time_zone())
    assert str(found.timezone) == "Europe/Berlin"


async def test_the_dynamic_policys_prices_come_from_its_sensor(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, PRICE, 24.5, "ct/kWh")
    follow(rig.hass, entry, PRICE)
    assert prices_now(entry) == 245_000
    rig.hass.states.async_set(PRICE, "unavailable")
    found, _start = now_of(entry)
    assert found.prices == {}
    assert "unavailable" in found.price_problem
    say(rig.hass, PRICE, 0.3)
    found, start = now_of(entry)
    assert (found.prices[start], found.price_problem) == (300_000, "")


async def test_another_policys_source_is_not_used(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, PRICE, 0.25)
    follow(rig.hass, entry, PRICE)
    assert prices_now(entry) == 250_000
    choose(rig.hass, entry, **{CONF_POLICY: "surplus"})
    assert prices_now(entry) is None
    choose(rig.hass, entry, **{CONF_POLICY: "of_a_newer_version"})
    assert prices_now(entry) is None


async def test_prices_of_yesterday_are_no_prices(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, PRICE, 0.2, prices=[{"start": NOON - DAY, "value": 0.2}])
    follow(rig.hass, entry, PRICE)
    found, _start = now_of(entry)
    assert found.prices == {}
    assert found.price_problem == "sensor.price tells no price for the time ahead"


async def test_a_source_is_logged_once_down_and_once_up(
    rig: Rig, entry: EnergyTradeConfigEntry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    follow(rig.hass, entry, PRICE)
    for state in ("unknown", "unknown", "unavailable", 0.2, 0.3, "unknown", "unknown"):
        say(rig.hass, PRICE, state)
        now_of(entry)
    assert logged(caplog) == [
        "WARNING The outlook lacks the prices: the price source sensor.price does not exist (any more)",
        "INFO The outlook has the prices again",
        "WARNING The outlook lacks the prices: the price source sensor.price is unknown",
    ]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    return [f"{level} {text}" for level, text in told if "the prices" in text]


async def test_what_is_missing_while_home_assistant_starts_is_no_news(
    rig: Rig, entry: EnergyTradeConfigEntry, caplog: pytest.LogCaptureFixture
) -> None:
    rig.hass.set_state(CoreState.starting)
    follow(rig.hass, entry, PRICE)
    found, _start = now_of(entry)
    assert "does not exist" in found.price_problem
    assert logged(caplog) == []
    rig.hass.set_state(CoreState.running)
    now_of(entry)
    assert len(logged(caplog)) == 1, "but what stays missing is told"


async def test_the_owners_real_tariff_changes_with_time(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    begin = NOON - NOON % HOUR
    rows = [{"start": begin + n * HOUR, "value": 0.3 + n / 100} for n in range(24)]
    say(rig.hass, SUPPLIER, 0.3, prices=rows)
    say(rig.hass, FEED_IN, 7, "ct/kWh")
    choose(rig.hass, entry, **{CONF_SUPPLIER_PRICE: SUPPLIER, CONF_FEED_IN_PRICE: FEED_IN})
    found, start = now_of(entry)
    assert found.supplier[start] == 300_000
    assert found.supplier[begin + 5 * HOUR] == 350_000
    assert found.feed_in[start] == 70_000
    assert found.prices == {}


async def test_one_source_that_fails_leaves_the_others(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, SUPPLIER, 0.3)
    say(rig.hass, FEED_IN, "text")
    follow(rig.hass, entry, "sensor.gone")
    choose(rig.hass, entry, **{CONF_SUPPLIER_PRICE: SUPPLIER, CONF_FEED_IN_PRICE: FEED_IN})
    found, start = now_of(entry)
    assert found.supplier[start] == 300_000
    assert found.feed_in == found.prices == {}
    assert {"prices", "feed_in"} <= entry.runtime_data.outlook.problems.keys()
    assert "supplier" not in entry.runtime_data.outlook.problems


async def test_whatever_goes_wrong_a_plan_gets_an_outlook(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource
) -> None:
    say(rig.hass, SUPPLIER, 0.3)
    choose(rig.hass, entry, **{CONF_SUPPLIER_PRICE: SUPPLIER})
    with patch.object(outlook_module, "read_batteries", side_effect=ZeroDivisionError("x")):
        found, start = now_of(entry)
    assert found.battery is None
    assert found.supplier[start] == 300_000
    assert "ZeroDivisionError" in source.problems["battery"]
    now_of(entry)
    assert "battery" not in source.problems


async def test_the_home_and_its_grid_are_told_as_they_are(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    home = entry.runtime_data.home
    home.grid = GridView(GridState.STRAINED, since=NOON, forecast_surplus={NOON: 500})
    await home.async_set_away(True)
    found, start = now_of(entry)
    assert found.grid_state is GridState.STRAINED
    assert found.community_surplus == {NOON: 500}
    event = found.event_in(start, start + 60)
    assert event is not None
    assert event.kind is EventKind.REDUCE
    assert found.away is True
    await home.async_set_held(start, True)
    assert now_of(entry)[0].held == {start}


def tibber(hass: HomeAssistant, prices: Mapping[str, float | Exception]) -> tuple[ConfigEntry[Any], list[str]]:
    """Set up an action that tells prices; change the mapping to change what it says."""
    asked: list[str] = []

    async def answer(call: ServiceCall) -> ServiceResponse:
        asked.append(call.data["start"])
        price = prices["now"]
        if isinstance(price, Exception):
            raise price
        rows: list[Any] = [
            {"start_time": dt_util.utc_from_timestamp(NOON - NOON % HOUR + n * HOUR).isoformat(), "price": price}
            for n in range(6)
        ]
        return {"prices": {"home": rows}}

    hass.services.async_register("tibber", "get_prices", answer, None, SupportsResponse.ONLY)
    return loaded_entry(hass, "tibber"), asked


async def test_an_action_is_asked_in_the_background_when_the_owner_names_it(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    other, asked = tibber(rig.hass, {"now": 0.21})
    follow(rig.hass, entry, f"tibber:{other.entry_id}")
    assert prices_now(entry) is None
    await rig.until(lambda: prices_now(entry) == 210_000)
    assert len(asked) == 1


async def test_what_an_action_said_stays_while_it_fails(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource
) -> None:
    prices: dict[str, float | Exception] = {"now": 0.21}
    other, _asked = tibber(rig.hass, prices)
    follow(rig.hass, entry, f"tibber:{other.entry_id}")
    await source.async_refresh()
    assert prices_now(entry) == 210_000
    prices["now"] = HomeAssistantError("down")
    await source.async_refresh()
    assert prices_now(entry) == 210_000
    assert "down" in source.problems["prices"]
    assert now_of(entry)[0].price_problem == ""
    prices["now"] = RuntimeError("a bug of theirs")
    await source.async_refresh()
    assert "a bug of theirs" in source.problems["prices"]
    prices["now"] = 0.22
    await source.async_refresh()
    assert prices_now(entry) == 220_000
    assert "prices" not in source.problems


async def test_prices_of_a_source_that_was_left_are_never_used(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource
) -> None:
    other, _asked = tibber(rig.hass, {"now": 0.21})
    follow(rig.hass, entry, f"tibber:{other.entry_id}")
    await source.async_refresh()
    assert prices_now(entry) == 210_000
    follow(rig.hass, entry, f"tibber:{other.entry_id}:cabin")
    assert prices_now(entry) is None
    await source.async_refresh()
    found, _start = now_of(entry)
    assert found.prices == {}
    assert "cabin" in found.price_problem


async def test_sources_are_asked_from_time_to_time(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    prices: dict[str, float | Exception] = {"now": HomeAssistantError("down")}
    other, asked = tibber(rig.hass, prices)
    follow(rig.hass, entry, f"tibber:{other.entry_id}")
    await rig.until(lambda: len(asked) == 1)
    prices["now"] = 0.2
    for _ in range(7):  # a failure is tried again within five minutes, not at once
        await rig.boundary_as_it_is()
    await rig.until(lambda: prices_now(entry) == 200_000)
    count = len(asked)
    for _ in range(7):  # and what is known is left alone for half an hour
        await rig.boundary_as_it_is()
    assert len(asked) == count


async def test_a_price_that_changes_makes_a_new_plan(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, PRICE, 0.2)
    follow(rig.hass, entry, PRICE)

    def planned_with() -> set[int]:
        return set(entry.runtime_data.home.outlook.prices.values())

    say(rig.hass, PRICE, 0.4)
    await rig.hass.async_block_till_done()
    assert planned_with() == {200_000}
    rig.clock.tick(31)
    await rig.until(lambda: planned_with() == {400_000})


async def test_holidays_and_grid_events_come_from_calendars(
    rig: Rig, entry: EnergyTradeConfigEntry, source: OutlookSource, calendar: list[Any]
) -> None:
    calendar.append({"start": "2027-01-16", "end": "2027-01-17", "summary": "Holiday"})
    choose(rig.hass, entry, **{CONF_HOLIDAYS: "calendar.ours"})
    await rig.until(lambda: now_of(entry)[0].holidays == {date(2027, 1, 16)})
    calendar[:] = [{"start": iso(NOON + HOUR), "end": iso(NOON + 2 * HOUR), "summary": "Save"}]
    choose(rig.hass, entry, **{CONF_HOLIDAYS: None, CONF_GRID_EVENTS: "calendar.ours"})
    await rig.until(lambda: len(now_of(entry)[0].events) == 1)
    assert now_of(entry)[0].holidays == frozenset()
    at = NOON + HOUR
    assert source.current(at + 60).event_in(at, at + 60) == GridEvent(
        f"calendar.ours:{at}:Save", EventKind.REDUCE, at, at + HOUR, "calendar.ours", "Save"
    )
    assert source.current(NOON + 2 * HOUR).events == ()


async def test_a_calendar_that_changes_is_asked_at_once(
    rig: Rig, entry: EnergyTradeConfigEntry, calendar: list[Any]
) -> None:
    choose(rig.hass, entry, **{CONF_GRID_EVENTS: "calendar.ours"})
    await entry.runtime_data.outlook.async_refresh()
    calendar.append({"start": iso(NOON + HOUR), "end": iso(NOON + 2 * HOUR), "summary": "Save"})
    rig.hass.states.async_set("calendar.ours", "on")
    await rig.until(lambda: len(now_of(entry)[0].events) == 1)


async def test_batteries_are_summed_with_the_greater_reserve(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    say(rig.hass, CHARGE, 55.5, "%")
    await add(rig, entry, BATTERY, **BATTERY_DATA)
    assert now_of(entry)[0].battery == BatteryState(10_000, 5_550, 5_000, 4_000, 2_000)
    choose(rig.hass, entry, **{CONF_BATTERY_RESERVE: 5})
    assert now_of(entry)[0].battery == BatteryState(10_000, 5_550, 5_000, 4_000, 1_000)
    say(rig.hass, "sensor.second", 20, "%")
    await add(rig, entry, BATTERY, **BATTERY_DATA | {"soc_entity": "sensor.second", "capacity_wh": 2_000})
    assert now_of(entry)[0].battery == BatteryState(12_000, 5_950, 10_000, 8_000, 1_200)


@pytest.mark.parametrize(
    ("state", "unit", "problem"),
    [
        ("unavailable", "%", "unavailable"),
        ("full", "%", "full"),
        ("nan", "%", "nan"),
        ("101", "%", "101"),
        ("-1", "%", "-1"),
        ("5", "kWh", "expected %"),
    ],
)
async def test_a_battery_that_cannot_be_read_is_unknown(
    rig: Rig, entry: EnergyTradeConfigEntry, state: str, unit: str, problem: str
) -> None:
    say(rig.hass, CHARGE, state, unit)
    await add(rig, entry, BATTERY, **BATTERY_DATA)
    assert now_of(entry)[0].battery is None
    assert problem in entry.runtime_data.outlook.problems["battery"]
    rig.hass.states.async_remove(CHARGE)
    assert now_of(entry)[0].battery is None
    assert "does not exist" in entry.runtime_data.outlook.problems["battery"]


async def test_nothing_is_asked_any_more_after_unloading(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """The test plugin fails on a timer or task that is left; a late change of a price finds nobody either."""
    say(rig.hass, PRICE, 0.2)
    follow(rig.hass, entry, PRICE)
    source = entry.runtime_data.outlook
    assert await rig.hass.config_entries.async_unload(entry.entry_id)
    say(rig.hass, PRICE, 0.3)
    await rig.hass.async_block_till_done()
    assert source._unwatch is None
    assert source._timer is None
