"""The calendar shows when traded energy flows, what the grid asks for and what devices do for it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from homeassistant.core import HomeAssistant

from custom_components.energy_trade.const import LOAD
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.data import PlacedOrder
from custom_components.energy_trade.diagnostics import async_get_config_entry_diagnostics
from custom_components.energy_trade.household.outlook import EventKind, GridEvent, GridState, Outlook
from custom_components.energy_trade.protocol.messages import Side
from tests.component.community import INTERVAL_S, NOON
from tests.component.entities_help import BOUGHT_WH, buy
from tests.component.flexibility_house import FlexibleHouse, furnish
from tests.component.rig import Rig


async def entries(rig: Rig, entry: EnergyTradeConfigEntry, start: int, end: int) -> list[dict[str, Any]]:
    """Return what the calendar's own action answers."""
    entity_id = rig.state(entry, "schedule", "calendar").entity_id
    data = {"start_date_time": iso(start), "end_date_time": iso(end)}
    target = {"entity_id": entity_id}
    found = await rig.hass.services.async_call(
        "calendar", "get_events", data, blocking=True, target=target, return_response=True
    )
    assert found is not None
    answer: Any = found[entity_id]
    return list(answer["events"])


def iso(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat()


def order(start: int, side: Side, filled_wh: int) -> PlacedOrder:
    return PlacedOrder(start.to_bytes(32), start, side, 500, filled_wh, "partly_filled")


def show(entry: EnergyTradeConfigEntry, *orders: PlacedOrder) -> None:
    """Let the coordinator have told of these orders."""
    coordinator = entry.runtime_data.coordinator
    assert coordinator.latest is not None
    coordinator.async_set_updated_data(replace(coordinator.latest, orders=orders))


async def test_traded_energy_has_its_window(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    start = await buy(rig, entry)
    (window,) = await entries(rig, entry, start - 60, start + 120)
    assert window["summary"] == f"Buys {BOUGHT_WH / 1000:.3f} kWh"
    assert (window["start"], window["end"]) == (iso(start), iso(start + INTERVAL_S))
    state = rig.state(entry, "schedule", "calendar")
    assert state.attributes["message"] == window["summary"]


async def test_neighbouring_intervals_of_one_side_are_one_window(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    first = NOON + 20 * INTERVAL_S
    show(
        entry,
        order(first, Side.SELL, 100),
        order(first + INTERVAL_S, Side.SELL, 50),
        order(first + 2 * INTERVAL_S, Side.BUY, 70),
        order(first + 3 * INTERVAL_S, Side.BUY, 0),
        order(first + 5 * INTERVAL_S, Side.BUY, 30),
    )
    found = await entries(rig, entry, first, first + 10 * INTERVAL_S)
    assert [(item["summary"], item["start"], item["end"]) for item in found] == [
        ("Sells 0.150 kWh", iso(first), iso(first + 2 * INTERVAL_S)),
        ("Buys 0.070 kWh", iso(first + 2 * INTERVAL_S), iso(first + 3 * INTERVAL_S)),
        ("Buys 0.030 kWh", iso(first + 5 * INTERVAL_S), iso(first + 6 * INTERVAL_S)),
    ]


async def test_only_what_overlaps_the_asked_time_is_told(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    first = NOON + 20 * INTERVAL_S
    show(entry, order(first, Side.SELL, 100))
    assert await entries(rig, entry, first - 600, first) == []
    assert await entries(rig, entry, first + INTERVAL_S, first + 600) == []
    assert len(await entries(rig, entry, first + 1, first + 2)) == 1


async def test_an_event_of_the_owners_calendar_is_an_entry(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    home, at = entry.runtime_data.home, NOON + 3_600
    home.outlook = Outlook(events=(GridEvent("sun", EventKind.INCREASE, at, at + 900, "calendar", "much sun"),))
    home.async_changed()
    (event,) = await entries(rig, entry, at, at + 60)
    assert (event["summary"], event["description"]) == ("The grid asks for more", "much sun")
    state = rig.state(entry, "schedule", "calendar")
    assert (state.state, state.attributes["message"]) == ("off", "The grid asks for more")


async def test_the_grids_emergency_and_what_a_device_does_for_it_are_entries(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await furnish(hass)
    house = FlexibleHouse(hass, rig, entry)
    await house.offer(LOAD)
    await house.grid_is(GridState.EMERGENCY)
    assert house.doing()
    now = entry.runtime_data.home.market_time()
    found = {item["summary"]: item for item in await entries(rig, entry, now, now + 1)}
    assert set(found) == {"The grid asks for less", "load helps the grid"}
    assert "emergency" in found["The grid asks for less"]["description"]
    assert found["load helps the grid"]["description"]
    assert rig.state(entry, "schedule", "calendar").state == "on"
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert dump["flexibility"][0]["reason"]["rule"] == "grid_emergency"


async def test_nothing_agreed_is_an_empty_calendar(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    assert await entries(rig, entry, NOON - 86_400, NOON + 86_400) == []
    assert rig.state(entry, "schedule", "calendar").state == "off"


async def test_the_calendar_speaks_the_systems_language(rig: Rig, hass: HomeAssistant) -> None:
    hass.config.language = "de"
    entry = await rig.join()
    start = await buy(rig, entry)
    (window,) = await entries(rig, entry, start, start + 60)
    assert window["summary"] == f"Kauft {BOUGHT_WH / 1000:.3f} kWh"
