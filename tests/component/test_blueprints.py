"""The blueprints, as Home Assistant's own automations run them, with the home's real entities."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from homeassistant.components.blueprint.schemas import BLUEPRINT_SCHEMA
from homeassistant.core import CoreState, HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from homeassistant.util import yaml as yaml_util
from pytest_homeassistant_custom_component.common import async_fire_time_changed

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.outlook import GridState
from tests.component.flexibility_house import CAR, FlexibleHouse, furnish, grid_state
from tests.component.rig import Rig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "blueprints" / "automation" / DOMAIN
NAMES = (
    "charge_ev_on_surplus",
    "notify_grid_events",
    "pause_on_vacation",
    "run_in_cheapest_window",
    "sell_above_price",
)
PRICE, VACATION, SURPLUS = "sensor.price", "input_boolean.vacation", "sensor.surplus"


@pytest.fixture
def _blueprints(hass: HomeAssistant) -> None:
    """Put the blueprints where an import puts them."""
    shutil.copytree(FOLDER, Path(hass.config.path("blueprints", "automation", DOMAIN)))


async def use(hass: HomeAssistant, name: str, **given: Any) -> None:
    """Make an automation of a blueprint."""
    assert await async_setup_component(hass, "homeassistant", {})
    config = {"alias": name, "use_blueprint": {"path": f"{DOMAIN}/{name}.yaml", "input": given}}
    assert await async_setup_component(hass, "automation", {"automation": [config]})
    await hass.async_block_till_done()
    state = hass.states.get(f"automation.{name}")
    assert state is not None, "Home Assistant does not take the blueprint"
    assert state.state == "on"


def entity(hass: HomeAssistant, entry: EnergyTradeConfigEntry, platform: str, key: str) -> str:
    """Return the id of one of the home's entities."""
    entity_id = er.async_get(hass).async_get_entity_id(platform, DOMAIN, f"{entry.unique_id}_{key}")
    assert entity_id is not None
    return entity_id


def shows(hass: HomeAssistant, entity_id: str) -> str:
    """Return an entity's state."""
    state = hass.states.get(entity_id)
    assert state is not None
    return state.state


def test_there_are_five_and_each_is_complete() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)
    for name in NAMES:
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        blueprint = BLUEPRINT_SCHEMA(yaml_util.parse_yaml(text))["blueprint"]
        assert blueprint["domain"] == "automation"
        assert blueprint["source_url"].endswith(f"/blueprints/automation/{DOMAIN}/{name}.yaml")
        assert blueprint["homeassistant"]["min_version"] == "2026.10.0"
        assert all(given["name"] and given["selector"] for given in blueprint["input"].values())
        used = set(re.findall(r"!input (\w+)", text))
        assert used == set(blueprint["input"])


def test_the_guide_has_a_link_to_import_each() -> None:
    guide = (ROOT / "docs" / "users" / "AUTOMATIONS.md").read_text(encoding="utf-8")
    for name in NAMES:
        blueprint = yaml_util.parse_yaml((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        assert isinstance(blueprint, dict)
        source = quote(blueprint["blueprint"]["source_url"], safe="")
        assert f"https://my.home-assistant.io/redirect/blueprint_import/?blueprint_url={source}" in guide


@pytest.mark.usefixtures("_blueprints")
async def test_the_lowest_selling_price_follows_another_price(
    hass: HomeAssistant, rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    floor = entity(hass, entry, "number", "floor")
    hass.states.async_set(PRICE, "0.10")
    await use(hass, "sell_above_price", price=PRICE, floor=floor, margin=0.02)
    hass.states.async_set(PRICE, "0.15")
    await rig.until(lambda: entry.options.get("floor_micro_per_kwh") == 170_000)
    await hass.async_block_till_done()
    hass.states.async_set(PRICE, "unavailable")
    await hass.async_block_till_done()
    assert entry.options["floor_micro_per_kwh"] == 170_000, "an unknown price is no price"
    hass.states.async_set(PRICE, "9")
    most = agent_band(entry)
    await rig.until(lambda: entry.options.get("floor_micro_per_kwh") == most)


def agent_band(entry: EnergyTradeConfigEntry) -> int:
    """Return the highest price of the market."""
    return entry.runtime_data.home.agent.info.price_max_micro_per_kwh


@pytest.mark.usefixtures("_blueprints")
async def test_the_car_charges_while_energy_is_cheap_or_over(hass: HomeAssistant) -> None:
    await furnish(hass)
    await hass.services.async_call("input_boolean", "turn_off", {"entity_id": CAR}, blocking=True)
    hass.states.async_set(PRICE, "unknown")
    hass.states.async_set(SURPLUS, "-300")
    hass.states.async_set("binary_sensor.emergency", "off")
    await use(
        hass,
        "charge_ev_on_surplus",
        charger=CAR,
        market_price=PRICE,
        cheap=0.12,
        expected_surplus=SURPLUS,
        grid_emergency="binary_sensor.emergency",
        least=0,
    )
    for price, surplus, emergency, charges in (
        ("0.10", "-300", "off", "on"),
        ("0.20", "-300", "off", "off"),
        ("unknown", "600", "off", "on"),
        ("unknown", "600", "on", "off"),
        ("unknown", "unknown", "off", "off"),
        ("0.12", "unknown", "off", "on"),
    ):
        hass.states.async_set("binary_sensor.emergency", emergency)
        hass.states.async_set(PRICE, price)
        hass.states.async_set(SURPLUS, surplus)
        await hass.async_block_till_done()
        assert shows(hass, CAR) == charges, (price, surplus, emergency)


@pytest.mark.usefixtures("_blueprints")
async def test_the_owner_is_told_what_the_grid_asks_for(hass: HomeAssistant, rig: Rig) -> None:
    await furnish(hass)
    house = FlexibleHouse(hass, rig, await rig.join())
    await house.offer("ev")
    told: list[tuple[str, str]] = []

    @callback
    def tell(call: ServiceCall) -> None:
        told.append((call.data["title"], call.data["message"]))

    hass.services.async_register("notify", "phone", tell)
    kinds = ["grid_event_started", "grid_event_ended", "flexibility_started", "flexibility_ended"]
    action = {"action": "notify.phone", "data": {"title": "{{ title }}", "message": "{{ message }}"}}
    event = entity(hass, house.entry, "event", "grid")
    await use(hass, "notify_grid_events", grid_event=event, kinds=kinds, tell=[action])
    await rig.community.ledger.submit(grid_state(GridState.EMERGENCY))
    await rig.until(lambda: len(told) == 2)
    await house.settled()
    await rig.community.ledger.submit(grid_state(GridState.NORMAL))
    await rig.until(lambda: len(told) == 4)
    words = dict(told)
    assert words["The grid asks for something"].startswith("the grid's state is emergency")
    assert words["A device is moved for the grid"].startswith("ev: off until ")
    assert words["A device is yours again"] == "ev is as it was before"
    assert words["The grid is well again"] == "the grid's state is emergency: over"


@pytest.mark.usefixtures("_blueprints")
async def test_what_is_not_wanted_is_not_told(hass: HomeAssistant, rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    event = entity(hass, entry, "event", "grid")
    await use(hass, "notify_grid_events", grid_event=event, kinds=["grid_event_ended"])
    entry.runtime_data.home.async_emit("grid_event_started", {"text": "help"})
    await hass.async_block_till_done()
    automation = hass.states.get("automation.notify_grid_events")
    assert automation is not None
    assert automation.attributes["last_triggered"] is None
    assert rig.state(entry, "grid", "event").attributes["event_type"] == "grid_event_started"


@pytest.mark.usefixtures("_blueprints")
async def test_vacation_switches_away_and_back(hass: HomeAssistant, rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": {"vacation": {"initial": False}}})
    away, trading = entity(hass, entry, "switch", "away"), entity(hass, entry, "switch", "trading")
    agent = entry.runtime_data.home.agent
    await use(hass, "pause_on_vacation", vacation=VACATION, on_while_away=[away], off_while_away=[trading])
    await hass.services.async_call("input_boolean", "turn_on", {"entity_id": VACATION}, blocking=True)
    await rig.until(lambda: agent.away and not agent.trading)
    await hass.async_block_till_done()
    await hass.services.async_call("input_boolean", "turn_off", {"entity_id": VACATION}, blocking=True)
    await rig.until(lambda: not agent.away and agent.trading)


@pytest.mark.usefixtures("_blueprints")
async def test_a_start_of_home_assistant_switches_nothing_back_that_the_owner_has_set(
    hass: HomeAssistant, rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    """Nobody is on vacation, and the owner has stopped trading by hand: a restart must not begin it again."""
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": {"vacation": {"initial": False}}})
    away, trading = entity(hass, entry, "switch", "away"), entity(hass, entry, "switch", "trading")
    agent = entry.runtime_data.home.agent
    await entry.runtime_data.home.async_set_trading(False)
    hass.set_state(CoreState.not_running)
    await use(hass, "pause_on_vacation", vacation=VACATION, on_while_away=[away], off_while_away=[trading])
    await begin(hass)
    assert not agent.trading
    await hass.services.async_call("input_boolean", "turn_on", {"entity_id": VACATION}, blocking=True)
    await rig.until(lambda: agent.away)


@pytest.mark.usefixtures("_blueprints")
async def test_a_vacation_that_began_while_home_assistant_was_off_counts(
    hass: HomeAssistant, rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": {"vacation": {"initial": True}}})
    away, trading = entity(hass, entry, "switch", "away"), entity(hass, entry, "switch", "trading")
    agent = entry.runtime_data.home.agent
    hass.set_state(CoreState.not_running)
    await use(hass, "pause_on_vacation", vacation=VACATION, on_while_away=[away], off_while_away=[trading])
    await begin(hass)
    await rig.until(lambda: agent.away and not agent.trading)


@pytest.mark.usefixtures("_blueprints")
async def test_a_vacation_that_is_seen_late_counts_and_a_return_out_of_nowhere_does_not(
    hass: HomeAssistant, entry: EnergyTradeConfigEntry
) -> None:
    """A calendar may be unavailable for a while."""
    calendar, agent = "binary_sensor.vacation", entry.runtime_data.home.agent
    trading = entity(hass, entry, "switch", "trading")
    await use(hass, "pause_on_vacation", vacation=calendar, off_while_away=[trading])
    for told, trades in (("unavailable", True), ("on", False), ("unavailable", False), ("off", False)):
        hass.states.async_set(calendar, told)
        await hass.async_block_till_done()
        assert agent.trading is trades, told
    for told, trades in (("on", False), ("off", True)):
        hass.states.async_set(calendar, told)
        await hass.async_block_till_done()
        assert agent.trading is trades, told


@pytest.mark.parametrize(("price", "before", "after"), [("0.10", "off", "on"), ("0.30", "on", "off")])
@pytest.mark.usefixtures("_blueprints")
async def test_a_car_is_not_forgotten_over_a_restart(hass: HomeAssistant, price: str, before: str, after: str) -> None:
    """What became true, or ceased to be, while Home Assistant was off is no change that it could see."""
    await furnish(hass)
    await hass.services.async_call("input_boolean", f"turn_{before}", {"entity_id": CAR}, blocking=True)
    hass.states.async_set(PRICE, price)
    hass.states.async_set(SURPLUS, "-300")
    hass.states.async_set("binary_sensor.emergency", "off")
    hass.set_state(CoreState.not_running)
    await use(
        hass,
        "charge_ev_on_surplus",
        charger=CAR,
        market_price=PRICE,
        cheap=0.12,
        expected_surplus=SURPLUS,
        grid_emergency="binary_sensor.emergency",
        least=0,
    )
    await begin(hass)
    assert shows(hass, CAR) == after


async def begin(hass: HomeAssistant) -> None:
    """Let Home Assistant be started."""
    await hass.async_start()
    await hass.async_block_till_done()


def forecast_from(start: dt.datetime, prices: list[float | None]) -> ServiceResponse:
    """Return what the action answers: hours with an expected price, or only the supplier's."""
    hours = [start + dt.timedelta(hours=hour) for hour in range(len(prices))]
    intervals: list[Any] = [
        {
            "start": hour.isoformat(),
            "end": (hour + dt.timedelta(hours=1)).isoformat(),
            "traded_price": None,
            "expected_price": price,
            "supplier_price": 0.32,
        }
        for hour, price in zip(hours, prices, strict=True)
    ]
    return {"unit": "EUR/kWh", "intervals": intervals}


@pytest.mark.parametrize(
    ("prices", "hours"),
    [
        ([0.1, 0.3, 0.2, 0.15, 0.2, 0.3], 2),  # the hour that has begun does not count
        ([0.1, 0.3, 0.3, None, 0.1, 0.12, 0.3, 0.01, 0.01], 4),  # the cheapest of all would end too late
        ([0.1, 0.2], 0),  # no window is known: at once
    ],
)
@pytest.mark.usefixtures("_blueprints", "clock")
async def test_an_appliance_runs_in_the_cheapest_window(
    hass: HomeAssistant, clock: Any, prices: list[float | None], hours: int
) -> None:
    await hass.config.async_set_time_zone("UTC")
    await furnish(hass)
    await hass.services.async_call("input_boolean", "turn_off", {"entity_id": CAR}, blocking=True)
    begin = dt_util.utcnow().replace(minute=0, second=0, microsecond=0)
    hass.services.async_register(
        DOMAIN,
        "get_price_forecast",
        lambda _call: forecast_from(begin, prices),
        supports_response=SupportsResponse.ONLY,
    )
    assert await async_setup_component(hass, "input_button", {"input_button": {"plan": {}}})
    ready_by = (begin + dt.timedelta(hours=7)).strftime("%H:%M:%S")
    await use(
        hass,
        "run_in_cheapest_window",
        home="entry",
        appliance=CAR,
        minutes=120,
        ready_by=ready_by,
        button=["input_button.plan"],
    )
    await hass.services.async_call("input_button", "press", {"entity_id": "input_button.plan"}, blocking=True)
    await settle_at(hass, clock, begin + dt.timedelta(hours=hours, minutes=-1 if hours else 1))
    assert shows(hass, CAR) == ("off" if hours else "on")
    await settle_at(hass, clock, begin + dt.timedelta(hours=hours, minutes=1))
    assert shows(hass, CAR) == "on"
    await settle_at(hass, clock, begin + dt.timedelta(hours=hours + 2, minutes=2))
    assert shows(hass, CAR) == "off"
    automation = {"entity_id": "automation.run_in_cheapest_window"}
    await hass.services.async_call("automation", "turn_off", automation, blocking=True)


async def settle_at(hass: HomeAssistant, clock: Any, at: dt.datetime) -> None:
    """Let the time come, and what waits for it; the automation itself goes on waiting."""
    clock.move_to(at)
    async_fire_time_changed(hass, at)
    for _ in range(30):
        await asyncio.sleep(0.01)
