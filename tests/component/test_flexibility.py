"""Devices of a real Home Assistant do what the grid asks, and are always given back."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import HomeAssistant, ServiceCall, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util.file import WriteError
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.energy_trade.carrier import Carrier
from custom_components.energy_trade.const import BATTERY, DOMAIN, EV, INVERTER, LOAD, SOLAR
from custom_components.energy_trade.coordinator import Connection
from custom_components.energy_trade.household.flexible import What
from custom_components.energy_trade.household.outlook import EventKind, GridEvent, GridState, Outlook
from tests.component.flexibility_house import (
    BOILER,
    CAR,
    LIMIT,
    SET_POINT,
    FlexibleHouse,
    charge,
    frequency,
    furnish,
    grid_state,
    words_of,
)
from tests.component.rig import Rig

DISK = "homeassistant.helpers.storage.Store._async_write_data"


@dataclass
class Foreseen:
    """What the home knows of the time ahead, said by the test."""

    outlook: Outlook

    def current(self, _at: int) -> Outlook:
        """Return it."""
        return self.outlook


@pytest.fixture
async def house(hass: HomeAssistant, rig: Rig) -> FlexibleHouse:
    """A home that has joined, in a house with devices that it does not offer yet."""
    await furnish(hass)
    return FlexibleHouse(hass, rig, await rig.join())


async def test_an_emergency_that_is_over_asks_for_nothing_while_nothing_is_planned(
    house: FlexibleHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that waits for another with the same keys plans nothing; what it planned with before is out of date."""
    await house.offer(LOAD)
    ledger, data = house.rig.community.ledger, house.entry.runtime_data
    await ledger.submit(grid_state(GridState.EMERGENCY))
    await house.rig.until(lambda: data.flexibility.ask is not None and bool(data.home.outlook.events))
    monkeypatch.setattr(Carrier, "is_elsewhere", True)
    house.rig.move_to(data.home.market_time() + 2)
    await ledger.submit(grid_state(GridState.NORMAL))
    await house.rig.until(lambda: data.home.grid.state is GridState.NORMAL)
    assert data.flexibility.ask is None
    assert data.flexibility.actions == ()


async def test_an_emergency_moves_what_is_offered_and_its_end_gives_everything_back(house: FlexibleHouse) -> None:
    await house.offer(SOLAR, BATTERY, LOAD, EV, INVERTER)
    await house.metered()
    await house.grid_is(GridState.EMERGENCY)
    assert house.doing() == {"battery": What.DISCHARGE, "load": What.SWITCH_OFF, "ev": What.SWITCH_OFF}
    assert house.shows(BOILER) == house.shows(CAR) == "off"
    assert float(house.shows(SET_POINT)) == 4.0
    assert float(house.shows(LIMIT)) == 8_000
    began = words_of(house.heard, "flexibility_started")
    assert {data["name"] for data in began} == {"battery", "load", "ev"}
    assert all(data["reason"]["rule"] == "grid_emergency" for data in began)
    await house.grid_is(GridState.NORMAL)
    assert house.doing() == {}
    assert house.shows(BOILER) == house.shows(CAR) == "on"
    assert float(house.shows(SET_POINT)) == 0.25
    assert len(words_of(house.heard, "flexibility_ended")) == 3
    assert not house.flexibility._controller.holds


async def test_opting_out_gives_everything_back_at_once_and_keeps_it(house: FlexibleHouse) -> None:
    await house.offer(LOAD, EV)
    await house.grid_is(GridState.EMERGENCY)
    assert house.shows(BOILER) == "off"
    await house.entry.runtime_data.home.async_set_opted_out(True)
    await house.settled()
    assert house.shows(BOILER) == house.shows(CAR) == "on"
    await house.metered()
    assert house.doing() == {}
    await house.entry.runtime_data.home.async_set_opted_out(False)
    await house.settled()
    assert house.shows(CAR) == "off"


@pytest.mark.parametrize(
    "damage", [{"data": {"holds": [{"device": "load", "of": "another version"}]}}, {"data": [1]}, {"version": 9}]
)
async def test_a_file_that_cannot_be_read_does_not_end_flexibility(
    house: FlexibleHouse,
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    damage: dict[str, Any],
) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    entry_id = house.entry.entry_id
    await hass.config_entries.async_unload(entry_id)
    hass_storage[f"{DOMAIN}.flexibility.{entry_id}"] |= damage
    await hass.config_entries.async_setup(entry_id)
    await house.rig.until(lambda: house.flexibility._ready)
    assert "look after them" in caplog.text
    await house.rig.until(lambda: house.shows(CAR) == "off")


async def test_opting_out_works_without_a_disk(house: FlexibleHouse) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    with patch(DISK, side_effect=WriteError("disk full")):
        with pytest.raises(HomeAssistantError):
            await house.entry.runtime_data.home.async_set_opted_out(True)
        await house.rig.until(lambda: house.shows(CAR) == "on")
    assert house.doing() == {}


async def test_nothing_is_moved_that_cannot_be_remembered(house: FlexibleHouse) -> None:
    await house.offer(EV)
    with patch(DISK, side_effect=WriteError("disk full")):
        await house.rig.community.ledger.submit(grid_state(GridState.EMERGENCY))
        await house.rig.until(lambda: house.doing() != {})
        await house.rig.until(
            lambda: house.flexibility._controller.holds[next(iter(house.flexibility._controller.holds))].error != ""
        )
        assert house.shows(CAR) == "on"


async def test_the_owners_hand_counts_until_the_event_ends(house: FlexibleHouse) -> None:
    await house.offer(LOAD, EV)
    await house.grid_is(GridState.EMERGENCY)
    await house.owner("turn_on", CAR)
    assert house.doing() == {"load": What.SWITCH_OFF}
    await house.metered()
    assert house.shows(CAR) == "on"
    await house.grid_is(GridState.NORMAL)
    await house.grid_is(GridState.EMERGENCY)
    assert house.shows(CAR) == "off"


async def test_unloading_gives_everything_back(house: FlexibleHouse, hass: HomeAssistant) -> None:
    await house.offer(LOAD, EV)
    await house.grid_is(GridState.EMERGENCY)
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    assert house.shows(BOILER) == house.shows(CAR) == "on"


async def test_stopping_home_assistant_gives_everything_back(house: FlexibleHouse, hass: HomeAssistant) -> None:
    await house.offer(LOAD, EV)
    await house.grid_is(GridState.EMERGENCY)
    hass.bus.async_fire(EVENT_HOMEASSISTANT_STOP)
    await hass.async_block_till_done()
    assert house.shows(BOILER) == house.shows(CAR) == "on"
    assert house.doing() == {}


async def test_after_a_kill_what_was_left_over_is_given_back(
    house: FlexibleHouse, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    key = f"energy_trade.flexibility.{house.entry.entry_id}"
    killed = hass_storage[key]
    await house.grid_is(GridState.NORMAL)
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    hass_storage[key] = killed
    await house.owner("turn_off", CAR)
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    await house.running()
    await house.rig.until(lambda: house.shows(CAR) == "on")
    await house.settled()
    assert hass_storage[key]["data"]["holds"] == []


async def test_leftovers_are_given_back_although_the_grid_still_asks(
    house: FlexibleHouse, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    key = f"energy_trade.flexibility.{house.entry.entry_id}"
    killed = hass_storage[key]
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    hass_storage[key] = killed
    await house.owner("turn_off", CAR)
    shown: list[str] = []
    note = callback(lambda event: shown.append(str(event.data["new_state"].state)))
    hass.bus.async_listen("state_changed", note, is_car)
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    await house.running()
    await house.rig.until(lambda: shown[:1] == ["on"])


@callback
def is_car(data: Mapping[str, Any]) -> bool:
    """Tell whether a change of state is the car's."""
    return bool(data["entity_id"] == CAR)


@pytest.mark.parametrize(("kind", "device"), [(EV, CAR), (BATTERY, SET_POINT)])
async def test_a_device_that_is_not_offered_any_more_is_given_back_after_a_kill(
    house: FlexibleHouse, hass: HomeAssistant, hass_storage: dict[str, Any], kind: str, device: str
) -> None:
    await house.offer(kind)
    await house.metered()
    before = house.shows(device)
    await house.grid_is(GridState.EMERGENCY)
    held = house.shows(device)
    assert held != before
    key = f"energy_trade.flexibility.{house.entry.entry_id}"
    killed = hass_storage[key]
    await house.grid_is(GridState.NORMAL)
    assert await hass.config_entries.async_unload(house.entry.entry_id)
    hass_storage[key] = killed
    hass.states.async_set(device, held, hass.states.get(device).attributes)  # type: ignore[union-attr]
    hass.config_entries.async_remove_subentry(house.entry, next(iter(house.entry.subentries)))
    assert await hass.config_entries.async_setup(house.entry.entry_id)
    await house.running()
    await house.rig.until(lambda: house.shows(device) == before)


async def test_a_removed_entry_leaves_nothing_behind(
    house: FlexibleHouse, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    await hass.config_entries.async_remove(house.entry.entry_id)
    assert house.shows(CAR) == "on"
    assert not [key for key in hass_storage if key.startswith("energy_trade.flexibility")]


async def test_a_silent_coordinator_loses_its_say(house: FlexibleHouse) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    coordinator = house.entry.runtime_data.coordinator
    await house.rig.community.stop()
    await coordinator.async_refresh()
    await house.rig.until(lambda: coordinator.connection is Connection.OFFLINE)
    for _ in range(3):
        await house.rig.boundary_as_it_is()
    await house.rig.until(lambda: house.shows(CAR) == "on")
    assert house.flexibility.ask is None


async def test_a_dead_man_gives_back_by_himself(house: FlexibleHouse, hass: HomeAssistant) -> None:
    await house.offer(EV)
    await house.grid_is(GridState.EMERGENCY)
    home = house.entry.runtime_data.home
    home._stop()
    house.rig.move_to(house.flexibility.actions[0].until + 1)
    async_fire_time_changed(hass, dt.datetime.now(dt.UTC))
    await house.rig.until(lambda: house.shows(CAR) == "on")


async def test_an_event_of_the_owners_calendar_counts_by_itself(house: FlexibleHouse) -> None:
    await house.offer(EV, BATTERY)
    await house.metered()
    now = int(time.time())
    home, event = house.entry.runtime_data.home, GridEvent("sun", EventKind.INCREASE, now - 1, now + 3_600, "calendar")
    home._source = Foreseen(Outlook(events=(event,)))
    home.async_replan()
    await house.settled()
    assert house.doing() == {"battery": What.CHARGE}
    assert float(house.shows(SET_POINT)) == -1.5
    home._source = Foreseen(Outlook())
    home.async_replan()
    await house.settled()
    assert float(house.shows(SET_POINT)) == 0.25


async def test_a_battery_without_a_state_of_charge_is_not_moved_and_said(
    house: FlexibleHouse, caplog: pytest.LogCaptureFixture
) -> None:
    charge(house.hass, "unavailable")
    await house.offer(BATTERY)
    await house.grid_is(GridState.EMERGENCY)
    assert house.doing() == {}
    problem = next(iter(house.flexibility.problems.values()))
    assert "not a state of charge in %" in problem
    assert "cannot be used: battery" in caplog.text
    caplog.clear()
    await house.metered()
    assert "cannot be used" not in caplog.text, "said once"
    charge(house.hass, "80")
    await house.metered()
    assert "can be used again" in caplog.text
    assert house.flexibility.problems == {}


async def test_a_battery_that_loses_its_state_of_charge_is_given_back(house: FlexibleHouse) -> None:
    await house.offer(BATTERY)
    await house.metered()
    await house.grid_is(GridState.EMERGENCY)
    house.hass.states.async_remove("sensor.soc")
    await house.rig.boundary("35600.152", "812.340")
    await house.settled()
    assert float(house.shows(SET_POINT)) == 0.25


async def test_a_battery_without_a_set_point_is_not_moved(house: FlexibleHouse) -> None:
    await house.offer(BATTERY, control_entity=None)
    await house.grid_is(GridState.EMERGENCY)
    assert house.doing() == {}
    assert house.flexibility.problems == {}


async def test_a_window_of_the_day_is_kept(house: FlexibleHouse) -> None:
    await house.offer(EV, window={"from": 13 * 60, "to": 18 * 60})
    await house.grid_is(GridState.EMERGENCY)
    assert house.doing() == {}, "it is noon"


async def test_a_device_that_fails_is_told_three_times_and_said(
    house: FlexibleHouse, hass: HomeAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[ServiceCall] = []

    async def fail(call: ServiceCall) -> None:
        calls.append(call)
        raise KeyError("a fault of the device's integration")

    for service in ("turn_on", "turn_off"):
        hass.services.async_register("switch", service, fail)
    hass.states.async_set("switch.broken", "on")
    await house.offer(EV, switch_entity="switch.broken", connected_entity=None)
    with patch("custom_components.energy_trade.household.flexibility.RETRY_S", 1):
        await house.rig.community.ledger.submit(grid_state(GridState.EMERGENCY))
        await house.rig.until(lambda: len(calls) == 4)
        await house.rig.until(lambda: not house.flexibility._controller.holds)
    await house.metered()
    assert [call.service for call in calls] == ["turn_off"] * 3 + ["turn_on"], "no loop"
    problem = next(iter(house.flexibility.problems.values()))
    assert "ev does not do what it is told" in problem
    assert "a fault of the device's integration" in problem
    assert caplog.text.count("cannot be used: ev does not do what it is told") == 1


async def test_a_device_that_hangs_does_not_hold_up_the_others(house: FlexibleHouse, hass: HomeAssistant) -> None:
    never, calls = asyncio.Event(), list[str]()

    async def hang(call: ServiceCall) -> None:
        calls.append(call.service)
        await never.wait()

    for service in ("turn_on", "turn_off"):
        hass.services.async_register("switch", service, hang)
    hass.states.async_set("switch.slow", "on")
    await house.offer(EV, switch_entity="switch.slow", connected_entity=None)
    await house.offer(LOAD)
    holds = house.flexibility._controller.holds
    with patch("custom_components.energy_trade.household.flexibility.RETRY_S", 1):
        await house.rig.community.ledger.submit(grid_state(GridState.EMERGENCY))
        await house.rig.until(lambda: house.shows(BOILER) == "off" and calls == ["turn_off"])
        await house.rig.until(lambda: any(hold.tries == 2 for hold in holds.values()))
    await house.entry.runtime_data.home.async_set_opted_out(True)
    await house.rig.until(lambda: house.shows(BOILER) == "on")
    assert calls == ["turn_off"], "what it is told next waits until it has answered"
    never.set()
    await house.rig.until(lambda: calls == ["turn_off", "turn_on"])
    await house.settled()
    assert calls == ["turn_off", "turn_on"], "it was to be told again to switch off, but that is not wanted any more"


async def test_an_inverter_is_limited_in_its_own_unit(house: FlexibleHouse) -> None:
    await house.offer(INVERTER)
    await house.rig.community.ledger.submit(frequency(50_400))
    await house.rig.until(lambda: house.entry.runtime_data.home.grid.frequency_mhz == 50_400)
    await house.grid_is(GridState.ISLAND)
    assert house.doing() == {"inverter": What.LIMIT}
    assert float(house.shows(LIMIT)) == 2_400
    await house.grid_is(GridState.NORMAL)
    assert float(house.shows(LIMIT)) == 8_000
