"""Emergency, island, demand response and whether settlements hold."""

from __future__ import annotations

import pytest
from homeassistant.core import HomeAssistant

from coordinator.protocol.order_terms import Signal
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.grid import GridView, with_signals
from custom_components.energy_trade.household.outlook import EventKind, GridEvent, GridState, Outlook
from custom_components.energy_trade.household.verification import ProvedBy, Verdict, VerificationState
from tests.component.community import NOON
from tests.component.entities_help import buy, settle, tell
from tests.component.rig import Rig


@pytest.mark.parametrize(
    ("state", "emergency", "island"),
    [(GridState.STRAINED, "off", "off"), (GridState.EMERGENCY, "on", "off"), (GridState.ISLAND, "off", "on")],
)
async def test_emergency_and_island_follow_the_grid(
    rig: Rig, entry: EnergyTradeConfigEntry, state: GridState, emergency: str, island: str
) -> None:
    await tell(rig, Signal.GRID_STATE, state)
    await rig.until(lambda: rig.state(entry, "grid_state").state == state.name.lower())
    assert rig.state(entry, "grid_emergency", "binary_sensor").state == emergency
    assert rig.state(entry, "grid_island", "binary_sensor").state == island
    rig.move_to(entry.runtime_data.home.market_time() + 2)  # the operator's words have an order in time
    await tell(rig, Signal.GRID_STATE, GridState.NORMAL)
    await rig.until(lambda: rig.state(entry, "grid_state").state == "normal")
    assert rig.state(entry, "grid_emergency", "binary_sensor").state == "off"
    assert rig.state(entry, "grid_island", "binary_sensor").state == "off"


async def test_a_strained_grid_is_a_demand_response_event(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    assert rig.state(entry, "demand_response_active", "binary_sensor").state == "off"
    await tell(rig, Signal.GRID_STATE, GridState.STRAINED)
    await rig.until(lambda: rig.state(entry, "demand_response_active", "binary_sensor").state == "on")
    (event,) = rig.state(entry, "demand_response_active", "binary_sensor").attributes["events"]
    assert (event["kind"], event["source"]) == ("reduce", "grid_state")
    rig.move_to(entry.runtime_data.home.market_time() + 2)
    await tell(rig, Signal.GRID_STATE, GridState.NORMAL)
    await rig.until(lambda: rig.state(entry, "demand_response_active", "binary_sensor").state == "off")


async def test_an_event_of_the_calendar_begins_and_ends_at_its_own_second(
    rig: Rig, entry: EnergyTradeConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing else wakes the entity between two boundaries."""
    home = entry.runtime_data.home
    at = await rig.boundary("35600.000", "812.000")
    home.outlook = Outlook(events=(GridEvent("sun", EventKind.INCREASE, at + 10, at + 20, "calendar", "noon"),))
    home.async_changed()
    assert rig.state(entry, "demand_response_active", "binary_sensor").state == "off"
    monkeypatch.setattr(entry.runtime_data.coordinator, "async_update_listeners", lambda: None)
    rig.move_to(at + 10)
    await rig.until(lambda: rig.state(entry, "demand_response_active", "binary_sensor").state == "on")
    assert rig.state(entry, "demand_response_active", "binary_sensor").attributes["events"][0]["text"] == "noon"
    rig.move_to(at + 20)
    await rig.until(lambda: rig.state(entry, "demand_response_active", "binary_sensor").state == "off")


async def test_no_timer_outlives_the_entry(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    """The plugin fails a test that leaves a timer behind."""
    home = entry.runtime_data.home
    at = home.market_time() + 3_600
    home.outlook = Outlook(events=(GridEvent("sun", EventKind.INCREASE, at, at + 20, "calendar", "noon"),))
    home.async_changed()
    assert await hass.config_entries.async_unload(entry.entry_id)


async def test_a_receipt_that_holds_is_told_with_what_proves_it(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    start = await buy(rig, entry)
    await settle(rig, entry, start)
    await rig.until(lambda: rig.state(entry, "settlement_verified", "binary_sensor").state == "on")
    shown = rig.state(entry, "settlement_verified", "binary_sensor").attributes
    assert (shown["verified"], shown["proved_by"]) == (1, "operator")
    assert "findings" not in shown


async def test_a_receipt_that_does_not_hold_is_told_with_what_speaks_against_it(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    verifier = entry.runtime_data.verifier
    verdict = Verdict(NOON, 0, ProvedBy.CHAIN, ("the sums differ",), ("the chain has another root",), "0xabc")
    verifier.state = VerificationState(4, (verdict,), verdict, 2, "the chain's node does not answer")
    for listener in tuple(verifier._listeners):
        listener()
    shown = rig.state(entry, "settlement_verified", "binary_sensor")
    assert shown.state == "off"
    assert shown.attributes["findings"] == ["the sums differ", "the chain has another root"]
    assert shown.attributes["problem"] == "the chain's node does not answer"
    assert (shown.attributes["verified"], shown.attributes["waiting"]) == (4, 2)
    assert (shown.attributes["proved_by"], shown.attributes["transaction"]) == ("chain", "0xabc")


async def test_what_a_plan_lacks_is_shown_and_goes_when_it_is_back(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """A price sensor that is gone and a device that cannot be used are seen without a look into the log."""
    data = entry.runtime_data
    before = set(data.outlook.problems.values())
    hass.states.async_set("sensor.spot", "unavailable", {"unit_of_measurement": "EUR/kWh"})
    hass.config_entries.async_update_entry(entry, options={**entry.options, "supplier_price": "sensor.spot"})
    data.home.async_apply_options()
    await rig.until(lambda: rig.state(entry, "inputs_problem", "binary_sensor").state == "on")
    shown = rig.state(entry, "inputs_problem", "binary_sensor").attributes["problems"]
    assert set(shown) - before == {"the price source sensor.spot is unavailable"}
    hass.states.async_set("sensor.spot", "0.31", {"unit_of_measurement": "EUR/kWh"})
    data.home.async_apply_options()
    assert set(rig.state(entry, "inputs_problem", "binary_sensor").attributes["problems"]) == before
    await hass.config_entries.async_unload(entry.entry_id)
    assert rig.state(entry, "inputs_problem", "binary_sensor").state == "unavailable"


def test_a_state_of_the_grid_lasts_as_long_as_it_is_told() -> None:
    """Also for days; but who is told nothing for a day goes back to normal life."""
    day, told = 86_400, [{"signal": "grid_state", "value": int(GridState.ISLAND)}]
    view = with_signals(GridView(), told, NOON)
    (first,) = view.events
    assert (first.start, first.end) == (NOON, NOON + day)
    assert with_signals(view, told, NOON + 300) == view, "nothing new: no plan is made anew"
    for at in range(NOON, NOON + 3 * day, 300):
        view = with_signals(view, told, at)
        assert view.events[0].covers(at)
        assert view.events[0].uid == first.uid, "it is one event"
    assert not view.events[0].covers(at + day)
    ended = with_signals(view, [{"signal": "grid_state", "value": int(GridState.NORMAL)}], at)
    assert ended.events == ()
