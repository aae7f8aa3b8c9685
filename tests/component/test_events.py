"""What happens to a home can be seen and acted on: each event once, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant, State

from coordinator.protocol.order_terms import Signal
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.data import HomeData
from custom_components.energy_trade.event import EVENTS
from custom_components.energy_trade.events import moment
from custom_components.energy_trade.household.outlook import EventKind, GridEvent, GridState, Outlook
from tests.component.community import INTERVAL_S
from tests.component.entities_help import BOUGHT_WH, buy, settle, tell
from tests.component.rig import Rig


def seen(rig: Rig, entry: EnergyTradeConfigEntry, key: str) -> State:
    return rig.state(entry, key, "event")


async def test_an_order_is_placed_matched_and_settled_with_its_reason(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    kinds: list[str] = []
    entry.runtime_data.home.async_listen_events(lambda kind, _: kinds.append(kind))
    start = await buy(rig, entry)
    await rig.until(lambda: seen(rig, entry, "market").attributes["event_type"] == "order_matched")
    matched = seen(rig, entry, "market").attributes
    assert (matched["side"], matched["energy_kwh"]) == ("buy", 0.06)
    assert matched["reason"]["rule"] == "buy_missing"
    assert kinds.count("order_matched") == 1
    await settle(rig, entry, start)
    await rig.until(lambda: seen(rig, entry, "settlement").state != "unknown")
    settled = seen(rig, entry, "settlement").attributes
    assert (settled["event_type"], settled["bought_kwh"], settled["paid"]) == ("trade_settled", 0.06, 0.0144)
    assert kinds.count("trade_settled") == 1


async def test_a_trade_that_was_settled_while_nobody_listened_is_told_once(
    rig: Rig, entry: EnergyTradeConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream may be down for hours: what is asked for tells it too, and never takes back what was streamed."""
    told: list[Mapping[str, Any]] = []
    coordinator = entry.runtime_data.coordinator
    entry.runtime_data.home.async_listen_events(
        lambda kind, data: told.append(data) if kind == "trade_settled" else None
    )
    start = await buy(rig, entry)
    monkeypatch.setattr(coordinator, "_take_rows", lambda _message: None)  # nothing is streamed
    await rig.boundary("35600.200", "812.000")
    await rig.community.neighbour_reads(start, 0, 0)
    await rig.boundary("35600.300", "812.000")
    await rig.community.neighbour_reads(start + INTERVAL_S, 0, BOUGHT_WH)

    async def asked() -> bool:
        await coordinator.async_refresh()
        return bool(told)

    await rig.until(asked)
    assert [(data["bought_kwh"], data["paid"]) for data in told] == [(0.06, 0.0144)]
    streamed, old = coordinator.data, replace(coordinator.data.account, bought_wh=0, cost_micro=0)

    async def late_answer() -> HomeData:
        coordinator.data = replace(streamed, prices=dict(streamed.prices))  # the stream speaks while it is asked
        return replace(streamed, account=old)

    monkeypatch.setattr(coordinator, "_ask", late_answer)
    await coordinator.async_refresh()
    assert len(told) == 1
    assert coordinator.data.account.bought_wh == BOUGHT_WH


async def test_an_order_that_is_placed_says_why(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.until(lambda: seen(rig, entry, "market").attributes["event_type"] == "order_placed")
    placed = seen(rig, entry, "market").attributes
    assert (placed["side"], placed["unit"]) == ("buy", "EUR/kWh")
    assert placed["reason"]["policy"] == "surplus"
    assert placed["reason"]["alternative"]


async def test_a_policy_that_may_not_trade_says_so_once_an_interval(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """Away nothing is bought: each interval that lacks energy is told once, however often it is planned."""
    home = entry.runtime_data.home
    told: list[tuple[str, str]] = []
    home.async_listen_events(
        lambda kind, data: (
            told.append((data["delivery_start"], data["reason"]["rule"])) if kind == "policy_blocked" else None
        )
    )
    await home.async_set_away(True)
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    home.async_replan()
    blocked = [start for start, planned in home.plan.items() if planned.decision.reason.rule == "away"]
    assert blocked
    assert sorted(told) == [(moment(start), "away") for start in sorted(blocked)]
    assert seen(rig, entry, "market").attributes["event_type"] == "policy_blocked"


async def test_the_grid_begins_and_ends_to_ask(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await tell(rig, Signal.GRID_STATE, GridState.EMERGENCY)
    await rig.until(lambda: seen(rig, entry, "grid").attributes["event_type"] == "grid_event_started")
    assert seen(rig, entry, "grid").attributes["kind"] == "reduce"
    rig.move_to(entry.runtime_data.home.market_time() + 2)
    await tell(rig, Signal.GRID_STATE, GridState.NORMAL)
    await rig.until(lambda: seen(rig, entry, "grid").attributes["event_type"] == "grid_event_ended")


async def test_an_event_of_the_owners_calendar_begins_and_ends_too(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    told: list[tuple[str, str]] = []
    home = entry.runtime_data.home
    home.async_listen_events(lambda kind, data: told.append((kind, data.get("text", ""))))
    now = home.market_time()
    coming = GridEvent("noon", EventKind.INCREASE, now, now + INTERVAL_S + 30, "calendar.grid", "sun at noon")
    later = GridEvent("night", EventKind.REDUCE, now + 9_000, now + 9_900, "calendar.grid", "not yet")
    with patch.object(entry.runtime_data.outlook, "current", lambda _at: Outlook(events=(coming, later))):
        await rig.boundary("35600.000", "812.000")
        await rig.boundary("35600.000", "812.000")
        await rig.boundary("35600.000", "812.000")
    asked = [(kind, text) for kind, text in told if kind.startswith("grid_event")]
    assert asked == [("grid_event_started", "sun at noon"), ("grid_event_ended", "sun at noon")]


async def test_each_kind_of_event_has_exactly_one_entity(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    home = entry.runtime_data.home
    kinds = [(description.key, kind) for description in EVENTS for kind in description.event_types or ()]
    assert len({kind for _, kind in kinds}) == len(kinds)
    for key, kind in kinds:
        home.async_emit(kind, {"told": kind})
        assert [item.key for item in EVENTS if seen(rig, entry, item.key).attributes.get("told") == kind] == [key]
    home.async_emit("something_newer", {"told": "something_newer"})
    assert all(seen(rig, entry, item.key).attributes["told"] != "something_newer" for item in EVENTS)


async def test_the_last_event_stays_over_a_reload_and_no_listener_is_left(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    home = entry.runtime_data.home
    home.async_emit("order_expired", {"energy_kwh": 1.5})
    await hass.config_entries.async_unload(entry.entry_id)
    assert home._event_listeners == []
    await hass.config_entries.async_setup(entry.entry_id)
    assert seen(rig, entry, "market").attributes["event_type"] == "order_expired"
