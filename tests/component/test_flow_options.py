"""The options: every point of the menu, and from every fault the way back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.components.energy.data import async_get_manager
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er

from coordinator.protocol.keccak import keccak256
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.settled import energy_dashboard
from tests.component.flows_tools import ends, shows, suggested, words
from tests.component.rig import EXPORT_METER, IMPORT_METER, PRICES, Rig, agent_of

MENU = ["policy", "bounds", "sources", "verification", "energy_dashboard", "account"]
TARIFF, FEED_IN = "sensor.tariff", "sensor.feed_in"


async def choose(hass: HomeAssistant, entry: EnergyTradeConfigEntry, point: str) -> Any:
    """Open the menu and choose one of its points."""
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert (flow["type"], flow["menu_options"]) == (FlowResultType.MENU, MENU)
    return await answer(hass, flow, {"next_step_id": point})


async def answer(hass: HomeAssistant, flow: Any, user_input: Mapping[str, Any]) -> Any:
    return await hass.config_entries.options.async_configure(flow["flow_id"], dict(user_input))


async def changes(hass: HomeAssistant, flow: Any, entry: EnergyTradeConfigEntry) -> Mapping[str, Any]:
    """Check that a flow ended with changed options and that the home runs with them; return them."""
    assert flow["type"] is FlowResultType.CREATE_ENTRY, flow
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    return entry.options


def set_price(hass: HomeAssistant, entity_id: str, value: str, unit: str = "EUR/kWh") -> None:
    hass.states.async_set(entity_id, value, {"unit_of_measurement": unit, "friendly_name": entity_id})


async def test_changing_the_prices(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    flow = shows(await choose(hass, entry, "policy"), "policy")
    assert suggested(flow) == {"policy": "surplus"}
    flow = shows(await answer(hass, flow, {"policy": "surplus"}), "settings")
    assert suggested(flow) == PRICES
    flow = shows(await answer(hass, flow, {"sell": 0.01, "buy": 0.24}), "settings", sell="below_feed_in")
    flow = shows(await answer(hass, flow, {"sell": 0.2, "buy": 0.21}), "no_preview")
    options = await changes(hass, await answer(hass, flow, {}), entry)
    assert options["policies"] == {"surplus": {"sell": 200_000, "buy": 210_000}}
    await rig.live(entry)
    assert rig.state(entry, "sell_limit").state == "0.2"
    assert rig.state(entry, "buy_limit").state == "0.21"


async def test_another_policy_keeps_the_settings_of_the_first(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    before = dict(entry.options)
    flow = await answer(hass, await choose(hass, entry, "policy"), {"policy": "fixed"})
    options = await changes(hass, await answer(hass, await answer(hass, flow, {"sell": 0.3}), {}), entry)
    assert options == before | {
        "policy": "fixed",
        "policies": {"surplus": {"sell": 160_000, "buy": 240_000}, "fixed": {"sell": 300_000}},
    }
    assert agent_of(entry).policy.kind == "fixed"
    flow = await answer(hass, await choose(hass, entry, "policy"), {"policy": "surplus"})
    assert suggested(flow) == PRICES, "what was set before"


async def test_the_bounds(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    flow = shows(await choose(hass, entry, "bounds"), "bounds")
    plain = {"guard": True, "confidence_percent": 80, "ahead_intervals": 4, "battery_reserve_percent": 20}
    assert suggested(flow) == plain
    wanted = {"floor": 0.101, "ceiling": 0.3, "guard": False, "confidence_percent": 95, "ahead_intervals": 8}
    options = await changes(hass, await answer(hass, flow, wanted | {"battery_reserve_percent": 35}), entry)
    assert options["floor_micro_per_kwh"] == 101_000
    assert options["ceiling_micro_per_kwh"] == 300_000
    agent = agent_of(entry)
    assert (agent.bounds.floor_micro_per_kwh, agent.bounds.guard) == (101_000, False)
    assert (agent.confidence_percent, agent.ahead) == (95, 8)
    flow = await choose(hass, entry, "bounds")
    assert suggested(flow) == wanted | {"battery_reserve_percent": 35}
    options = await changes(hass, await answer(hass, flow, plain), entry)
    assert (options["floor_micro_per_kwh"], options["ceiling_micro_per_kwh"]) == (None, None)


async def test_without_the_guard_prices_may_be_worse_than_the_tariff(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    flow = await choose(hass, entry, "bounds")
    await changes(hass, await answer(hass, flow, suggested(flow) | {"guard": False}), entry)
    flow = await answer(hass, await choose(hass, entry, "policy"), {"policy": "surplus"})
    shows(await answer(hass, flow, {"sell": 0.01, "buy": 0.39}), "no_preview")


async def test_an_own_tariff_and_calendars(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    known = er.async_get(hass).async_get_or_create("sensor", "spot", "price", suggested_object_id="tariff")
    set_price(hass, TARIFF, "32.5", "ct/kWh")
    set_price(hass, FEED_IN, "much")
    flow = shows(await choose(hass, entry, "sources"), "sources")
    assert suggested(flow) == {}
    wanted = {"supplier_price": TARIFF, "feed_in_price": FEED_IN, "holiday_calendar": "calendar.holidays"}
    flow = shows(await answer(hass, flow, wanted), "sources", feed_in_price="price_source_unusable")
    assert FEED_IN in words(flow)["reason"]
    set_price(hass, FEED_IN, "0.05")
    options = await changes(hass, await answer(hass, flow, wanted), entry)
    assert options["supplier_price"] == known.id, "followed through renames"
    assert options["feed_in_price"] == FEED_IN
    assert options["holiday_calendar"] == "calendar.holidays"
    assert options["grid_event_calendar"] is None
    flow = await choose(hass, entry, "sources")
    assert suggested(flow) == wanted
    options = await changes(hass, await answer(hass, flow, {}), entry)
    assert [options[key] for key in wanted] == [None, None, None]
    assert suggested(await choose(hass, entry, "sources")) == {}


async def test_with_an_own_tariff_prices_are_not_compared_with_the_markets(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    set_price(hass, TARIFF, "0.42")
    set_price(hass, FEED_IN, "0.01")
    flow = await choose(hass, entry, "sources")
    await changes(hass, await answer(hass, flow, {"supplier_price": TARIFF, "feed_in_price": FEED_IN}), entry)
    flow = await answer(hass, await choose(hass, entry, "policy"), {"policy": "surplus"})
    shows(await answer(hass, flow, {"sell": 0.02, "buy": 0.39}), "no_preview")


async def test_the_energy_dashboards_tariff_is_proposed(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    hass.config.components.add("energy")
    manager = await async_get_manager(hass)
    plain = {"type": "grid", "stat_energy_from": IMPORT_METER, "entity_energy_price": None}
    priced = plain | {"entity_energy_price": TARIFF}
    with patch.object(manager, "data", {"energy_sources": [plain, priced]}):
        assert suggested(await choose(hass, entry, "sources")) == {"supplier_price": TARIFF}
    with patch.object(manager, "data", {"energy_sources": [plain]}):
        assert suggested(await choose(hass, entry, "sources")) == {}


@asynccontextmanager
async def node(chain_id: int, market: str = "elm-street") -> AsyncIterator[str]:
    """A node that knows a ledger contract of this market."""
    answers = {"eth_chainId": hex(chain_id), "eth_call": "0x" + keccak256(market.encode()).hex()}

    async def called(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": answers[body["method"]]})

    application = web.Application()
    application.router.add_post("/", called)
    async with TestServer(application, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


async def test_a_node_is_tried_before_it_is_taken(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    flow = shows(await choose(hass, entry, "verification"), "verification")
    assert words(flow)["ledger"] == entry.data["ledger"]
    flow = shows(await answer(hass, flow, {"rpc_url": "my node"}), "verification", rpc_url="invalid_url")
    gone = {"rpc_url": "http://127.0.0.1:1"}
    flow = shows(await answer(hass, flow, gone), "verification", rpc_url="chain_unavailable")
    async with node(entry.data["chain_id"] + 1) as url:
        flow = shows(await answer(hass, flow, {"rpc_url": url}), "verification", rpc_url="wrong_chain")
        assert "chain" in words(flow)["reason"]
    async with node(entry.data["chain_id"]) as url:
        options = await changes(hass, await answer(hass, flow, {"rpc_url": f" {url} "}), entry)
        assert options["rpc_url"] == url
        flow = await choose(hass, entry, "verification")
        assert suggested(flow) == {"rpc_url": url}
        options = await changes(hass, await answer(hass, flow, {}), entry)
        assert options["rpc_url"] is None


@pytest.fixture
async def dashboard(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> Any:
    """The Energy dashboard with the home's meter in it."""
    manager = await async_get_manager(hass)
    source = {
        "type": "grid",
        "stat_energy_from": IMPORT_METER,
        "stat_energy_to": EXPORT_METER,
        "stat_cost": None,
        "stat_compensation": None,
        "entity_energy_price": None,
        "entity_energy_price_export": None,
        "number_energy_price": 0.32,
        "number_energy_price_export": 0.08,
        "cost_adjustment_day": 0.0,
    }
    hass.config.components.add("energy")
    sources: Any = {"energy_sources": [source]}
    await manager.async_update(sources)
    series = frozenset({"bought", "cost", "sold", "revenue", "grid_import", "grid_cost", "grid_export", "grid_revenue"})
    entry.runtime_data.statistics.published = series  # as after the first full hour
    return manager


async def test_the_energy_dashboard_is_changed_on_consent_and_back(
    dashboard: Any, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    before = dashboard.data["energy_sources"]
    flow = shows(await choose(hass, entry, "energy_dashboard"), "energy_dashboard")
    assert "Neighbourhood" in words(flow)["changes"]
    assert dashboard.data["energy_sources"] == before, "seen is not agreed"
    ends(await answer(hass, flow, {}), "dashboard_applied")
    assert [source["name"] for source in dashboard.data["energy_sources"]] == ["Neighbourhood", "Supplier"]
    flow = shows(await choose(hass, entry, "energy_dashboard"), "energy_dashboard_undo")
    ends(await answer(hass, flow, {}), "dashboard_undone")
    assert dashboard.data["energy_sources"] == before


async def test_a_dashboard_that_was_changed_since_is_left_alone(
    dashboard: Any, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    flow = await choose(hass, entry, "energy_dashboard")
    await answer(hass, flow, {})
    sources = [source | {"name": "Mine"} for source in dashboard.data["energy_sources"]]
    await dashboard.async_update({"energy_sources": sources})
    flow = await answer(hass, await choose(hass, entry, "energy_dashboard"), {})
    ends(flow, "dashboard_refused")
    assert words(flow)["reason"]
    assert dashboard.data["energy_sources"] == sources


async def test_without_statistics_or_dashboard_it_says_what_is_missing(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    flow = await choose(hass, entry, "energy_dashboard")
    ends(flow, "dashboard_refused")
    assert "Energy integration" in words(flow)["reason"]
    hass.config.components.add("energy")
    flow = await choose(hass, entry, "energy_dashboard")
    ends(flow, "dashboard_refused")
    assert "statistics" in words(flow)["reason"]


async def test_a_dashboard_with_nothing_to_change_says_so(
    dashboard: Any, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    with patch.object(energy_dashboard, "async_preview", return_value=""):
        ends(await choose(hass, entry, "energy_dashboard"), "dashboard_unchanged")


async def test_a_dashboard_that_refuses_the_change_says_why(
    dashboard: Any, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    flow = await choose(hass, entry, "energy_dashboard")
    with patch.object(dashboard, "async_update", side_effect=HomeAssistantError("no room")):
        flow = await answer(hass, flow, {})
    ends(flow, "dashboard_refused")
    assert words(flow)["reason"] == "no room"


async def test_the_account_is_shown_for_a_wallet(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    flow = shows(await choose(hass, entry, "account"), "account")
    (code,) = flow["data_schema"].schema.values()
    assert code.config["data"] == entry.unique_id, "no payment link: money sent straight to the account is not paid in"
    assert words(flow)["account"] == entry.unique_id
    before = dict(entry.options)
    flow = await answer(hass, flow, {})
    assert flow["type"] is FlowResultType.MENU, "there is nothing to change: back to the menu"
    assert entry.options == before


async def test_options_of_an_entry_that_does_not_run_cannot_be_changed(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    ends(await hass.config_entries.options.async_init(entry.entry_id), "not_loaded")
