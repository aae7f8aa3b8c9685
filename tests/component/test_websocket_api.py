"""The cards get one home's snapshot, again after each change, through reloads and before there is a home."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import MockHAClientWebSocket, WebSocketGenerator

from coordinator.protocol import messages
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.grid import GridView
from custom_components.energy_trade.household.forecast import Forecast
from custom_components.energy_trade.household.outlook import EventKind, GridEvent, GridState, Outlook
from custom_components.energy_trade.household.policies import ALL_RULES
from custom_components.energy_trade.protocol.messages import Side, TimeInForce
from custom_components.energy_trade.snapshot import AHEAD_INTERVALS_MAX, PAST_INTERVALS, Snapshot, snapshot_of
from custom_components.energy_trade.websocket_api import Subscription, async_setup_websocket
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig, agent_of

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.")  # Home Assistant's own server


@pytest.fixture
async def socket(hass: HomeAssistant, rig: Rig, hass_ws_client: WebSocketGenerator) -> MockHAClientWebSocket:
    """A browser's connection, while no home is set up yet."""
    assert await async_setup_component(hass, "websocket_api", {})
    async_setup_websocket(hass)
    return await hass_ws_client(hass)


async def subscribe(socket: MockHAClientWebSocket, **words: Any) -> int:
    await socket.send_json_auto_id({"type": f"{DOMAIN}/subscribe", **words})
    answer = await socket.receive_json()
    assert answer["success"], answer
    number: int = answer["id"]
    return number


async def heard(socket: MockHAClientWebSocket) -> dict[str, Any]:
    message = await socket.receive_json()
    assert message["type"] == "event", message
    event: dict[str, Any] = message["event"]
    return event


async def heard_until(socket: MockHAClientWebSocket, status: str) -> dict[str, Any]:
    while (event := await heard(socket))["status"] != status:
        pass
    return event


def now_of(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> Snapshot:
    snapshot = snapshot_of(hass, entry)
    assert json.loads(json.dumps(snapshot)) == snapshot
    return snapshot


async def test_before_there_is_a_home_the_cards_hear_so_and_then_of_the_home(
    hass: HomeAssistant, socket: MockHAClientWebSocket, rig: Rig
) -> None:
    await subscribe(socket)
    first = await heard(socket)
    assert (first["status"], first["entry_id"], first["intervals"]) == ("missing", None, [])
    entry = await rig.join()
    running = await heard_until(socket, "running")
    assert (running["entry_id"], running["title"]) == (entry.entry_id, "Elm Street")
    assert running["market"]["name"] == "Elm Street"


async def test_the_homes_are_listed(hass: HomeAssistant, socket: MockHAClientWebSocket, rig: Rig) -> None:
    entry = await rig.join()
    other = MockConfigEntry(domain=DOMAIN, title="Nr. 9")
    other.add_to_hass(hass)
    await socket.send_json_auto_id({"type": f"{DOMAIN}/entries"})
    assert (await socket.receive_json())["result"] == [
        {"entry_id": entry.entry_id, "title": "Elm Street", "loaded": True},
        {"entry_id": other.entry_id, "title": "Nr. 9", "loaded": False},
    ]


async def test_the_snapshot_says_what_home_and_market_are(hass: HomeAssistant, rig: Rig) -> None:
    entry = await rig.join()
    await rig.boundary("35600.120", "812.340")
    await rig.boundary("35600.120", "812.440")
    await rig.delivered(entry)
    coordinator = entry.runtime_data.coordinator
    await rig.until(lambda: coordinator.connection.value == "live" and bool(coordinator.data.orders))
    found = now_of(hass, entry)
    assert (found["status"], found["connection"], found["currency"]) == ("running", "live", coordinator.info.currency)
    assert found["policy"] == "surplus"
    assert found["switches"] == {"trading": True, "shadow": False, "away": False, "opted_out": False}
    assert found["grid"] == {"state": "normal", "since": 0, "frequency_mhz": None, "events": []}
    account, meter = found["account"], found["meter"]
    assert account is not None
    assert meter is not None
    assert account["money_micro"] == coordinator.data.account.money_micro
    assert (meter["consumption_wh"], meter["production_wh"], meter["position_wh"]) == (0, 100, 0)
    assert found["entities"]["switch.trading"] == "switch.elm_street_trading"
    assert found["entities"]["sensor.market_price"].startswith("sensor.elm_street_")
    plans = [row["plan"] for row in found["intervals"] if row["plan"] is not None]
    (sells, *_) = [plan for plan in plans if plan["side"] is not None]
    assert (sells["side"], sells["limit_micro_per_kwh"], sells["shadow"]) == ("sell", 160_000, False)
    assert "160" in sells["text"]
    assert sells["rule"] in ALL_RULES
    assert sells["alternative"]
    forecasts = [row["forecast"] for row in found["intervals"] if row["plan"] == sells]
    assert forecasts[0] == {"net_wh": -100, "low_wh": None, "high_wh": None}, "as the plan expects it"


async def test_what_the_community_trades_is_in_the_interval_it_is_for(hass: HomeAssistant, rig: Rig) -> None:
    entry = await rig.join()
    await rig.community.neighbour_joins()
    start = entry.runtime_data.coordinator.next_start() + INTERVAL_S
    await rig.community.neighbour_orders(messages.Side.BUY, 200, 250_000, start)
    home = entry.runtime_data.home
    placed = await home.async_place(start, Side.SELL, 150, 200_000, TimeInForce.GOOD_TILL_GATE)
    assert isinstance(placed, tuple), placed

    def traded() -> bool:
        rows = [row for row in snapshot_of(hass, entry)["intervals"] if row["start"] == start]
        return bool(rows) and rows[0]["traded_wh"] == 150 and rows[0]["position_wh"] == -150

    await rig.until(traded)
    (row,) = [row for row in now_of(hass, entry)["intervals"] if row["start"] == start]
    assert row["price_micro_per_kwh"] == 250_000


async def test_a_forecast_a_price_and_a_held_interval_are_shown_and_the_unknown_left_out(
    hass: HomeAssistant, rig: Rig
) -> None:
    entry = await rig.join()
    home = entry.runtime_data.home
    now = home.market_time() - home.market_time() % INTERVAL_S
    far = now + (AHEAD_INTERVALS_MAX - 1) * INTERVAL_S
    beyond = far + INTERVAL_S
    before = now - PAST_INTERVALS * INTERVAL_S
    forecasts = {far: Forecast(-200, "sun", -250, -150), beyond: Forecast(1, "night")}
    home.outlook = Outlook(forecasts=forecasts, prices={before: 7, now: 8}, supplier={now: 9})
    agent_of(entry).set_held(home.market_time(), far, True)
    rows = {row["start"]: row for row in now_of(hass, entry)["intervals"]}
    assert rows[far]["forecast"] == {"net_wh": -200, "low_wh": -250, "high_wh": -150}
    assert rows[far]["held"] is True
    assert (rows[now]["source_price_micro_per_kwh"], rows[now]["supplier_micro_per_kwh"]) == (8, 9)
    assert before in rows
    assert beyond not in rows
    assert far - INTERVAL_S not in rows


async def test_beyond_the_plan_the_day_is_outlined_while_orders_can_be_placed(hass: HomeAssistant, rig: Rig) -> None:
    entry = await rig.join()
    home, agent = entry.runtime_data.home, agent_of(entry)
    now = home.market_time() - home.market_time() % INTERVAL_S
    starts = [now + number * INTERVAL_S for number in range(AHEAD_INTERVALS_MAX + 9)]
    sunny = {start: Forecast(-200, "sun", -250, -150) for start in starts}
    source = entry.runtime_data.outlook
    await rig.boundary("35600.120", "812.340")
    with patch.object(source, "current", lambda at: Outlook(forecasts=sunny)):
        home.async_replan()
    before = agent.to_dict()
    plans = {row["start"]: row["plan"] for row in now_of(hass, entry)["intervals"] if row["plan"] is not None}
    assert agent.to_dict() == before
    expected = [start for start, plan in plans.items() if plan["provisional"]]
    assert plans.keys() - set(expected) == home.plan.keys(), "what is planned is not provisional"
    assert min(expected) > max(home.plan)
    assert max(plans) < now + (AHEAD_INTERVALS_MAX + 2) * INTERVAL_S
    assert len(expected) > AHEAD_INTERVALS_MAX - 10
    far = plans[expected[-1]]
    assert far is not None
    assert (far["side"], far["energy_wh"], far["limit_micro_per_kwh"], far["shadow"]) == ("sell", 150, 160_000, False)
    assert far["rule"] in ALL_RULES
    rig.move_to(expected[0] + home.clock_offset_s)
    later = {row["start"]: row["plan"] for row in now_of(hass, entry)["intervals"]}
    assert later[expected[0]] is None, "its gate has closed without a plan"
    assert later[expected[9]] == plans[expected[9]]
    await home.async_set_trading(False)
    assert all(row["plan"] is None for row in now_of(hass, entry)["intervals"])


async def test_what_the_grid_asks_for_is_told_once_and_in_order(hass: HomeAssistant, rig: Rig) -> None:
    entry = await rig.join()
    home = entry.runtime_data.home
    at = home.market_time()
    later = GridEvent("calendar", EventKind.INCREASE, at + 600, at + 900, "calendar", "sunny")
    home.grid = GridView(GridState.EMERGENCY, at, 49_800)
    home.outlook = Outlook(events=(later, *home.grid.events))
    grid = now_of(hass, entry)["grid"]
    assert grid is not None
    assert (grid["state"], grid["frequency_mhz"]) == ("emergency", 49_800)
    assert [event["source"] for event in grid["events"]] == ["grid_state", "calendar"]
    home.grid = replace(home.grid, heard=at + 1)  # told again: it lasts longer than the plan knows
    assert told_now(hass, entry) == ["grid_state", "calendar"]
    home.grid = GridView()
    assert told_now(hass, entry) == ["calendar"], "what the plan still knows is over"


def told_now(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> list[str]:
    grid = now_of(hass, entry)["grid"]
    assert grid is not None
    return [event["source"] for event in grid["events"]]


async def test_changes_are_gathered_and_sent_only_when_something_differs(
    hass: HomeAssistant, socket: MockHAClientWebSocket, rig: Rig
) -> None:
    entry = await rig.join()
    await subscribe(socket, entry_id=entry.entry_id)
    await heard_until(socket, "running")
    home = entry.runtime_data.home
    coordinator = entry.runtime_data.coordinator
    for _ in range(20):
        coordinator.async_update_listeners()
    await home.async_set_away(True)
    away = await heard(socket)
    assert away["switches"]["away"] is True
    await home.async_set_away(False)
    while (event := await heard(socket))["switches"]["away"]:
        assert event["at"] >= away["at"]


async def test_calm_is_told_apart_from_silence(hass: HomeAssistant, rig: Rig) -> None:
    entry = await rig.join()
    sent: list[Snapshot] = []
    subscription = Subscription(hass, entry.entry_id, sent.append)
    subscription.async_start()
    coordinator = entry.runtime_data.coordinator

    async def look_again() -> None:
        coordinator.async_update_listeners()
        assert subscription._timer is not None
        await rig.until(lambda: subscription._timer is None)

    await rig.until(lambda: coordinator.data.account.money_micro == 5_000_000)
    await look_again()
    before = len(sent)
    await look_again()
    assert len(sent) == before, "nothing has changed"
    sent[-1]["at"] -= INTERVAL_S
    await look_again()
    assert len(sent) == before + 1, "an interval has gone by"
    subscription.async_stop()
    coordinator.async_update_listeners()
    assert subscription._timer is None


async def test_the_subscription_goes_on_through_a_reload_and_an_outage(
    hass: HomeAssistant, socket: MockHAClientWebSocket, rig: Rig
) -> None:
    entry = await rig.join()
    await subscribe(socket, entry_id=entry.entry_id)
    await heard_until(socket, "running")
    await rig.community.stop()
    await hass.config_entries.async_unload(entry.entry_id)
    gone = await heard_until(socket, "not_loaded")
    assert (gone["entry_id"], gone["market"]) == (entry.entry_id, None)
    await hass.config_entries.async_setup(entry.entry_id)
    waiting = await heard_until(socket, "waiting")
    assert (waiting["account"], waiting["connection"]) == (None, "offline")
    assert waiting["market"]["name"] == "Elm Street", "the rules are known from the last run"
    await rig.community.start()
    await entry.runtime_data.coordinator.async_refresh()
    await heard_until(socket, "running")
    await hass.config_entries.async_remove(entry.entry_id)
    await heard_until(socket, "missing")


async def test_who_unsubscribes_leaves_no_listener_and_no_timer(
    hass: HomeAssistant, socket: MockHAClientWebSocket, rig: Rig
) -> None:
    entry = await rig.join()
    coordinator = entry.runtime_data.coordinator
    before = len(coordinator._listeners)
    number = await subscribe(socket)
    await heard_until(socket, "running")
    assert len(coordinator._listeners) == before + 1
    coordinator.async_update_listeners()
    await socket.send_json_auto_id({"type": "unsubscribe_events", "subscription": number})
    while (await socket.receive_json())["type"] != "result":
        pass
    assert len(coordinator._listeners) == before


async def test_another_integrations_entry_is_none_of_ours(hass: HomeAssistant, socket: MockHAClientWebSocket) -> None:
    other = MockConfigEntry(domain="sun")
    other.add_to_hass(hass)
    await subscribe(socket, entry_id=other.entry_id)
    assert (await heard(socket))["status"] == "missing"
    hass.config_entries.async_update_entry(other, title="Moon")
    await socket.send_json_auto_id({"type": f"{DOMAIN}/entries"})
    assert (await socket.receive_json())["result"] == []


async def test_a_home_that_cannot_start_says_why(hass: HomeAssistant, socket: MockHAClientWebSocket) -> None:
    entry = MockConfigEntry(domain=DOMAIN, title="Nr. 5", state=ConfigEntryState.SETUP_RETRY, reason="no answer")
    entry.add_to_hass(hass)
    await subscribe(socket)
    found = await heard(socket)
    assert (found["status"], found["title"], found["problem"]) == ("not_loaded", "Nr. 5", "no answer")
