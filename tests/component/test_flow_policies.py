"""Each policy's form: from what it proposes to what is stored, and from every fault the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType, InvalidData
from homeassistant.helpers import entity_registry as er
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.flows import policy_forms
from custom_components.energy_trade.household.policies import POLICIES, SETTINGS_CODES
from custom_components.energy_trade.household.settings import Field, FieldKind
from tests.component.flows_tools import options_of, shows, suggested, to_settings, words
from tests.component.outlook_bench import INFO
from tests.component.rig import Rig
from tests.component.test_files import ENGLISH, load

SPOT = "sensor.spot"
HOUR_S, DAY_S = 3_600, 86_400
BASE = {"sell": 0.16, "buy": 0.24}
SHOWN: dict[str, dict[str, Any]] = {
    "surplus": BASE,
    "fixed": BASE,
    "demand_response": BASE | {"event_price_percent": 20, "reduce_buy_percent": 50, "increase_sell_percent": 50},
    "grid_stability": BASE
    | {
        "strained_premium": 0.02,
        "emergency_premium": 0.06,
        "island_premium": 0.04,
        "surplus_discount": 0.02,
        "emergency_buy_percent": 50,
    },
    "dynamic": {
        "sell_percent": 70,
        "sell_offset": 0,
        "buy_percent": 95,
        "buy_offset": 0,
        "lowest": 0,
        "highest": 1,
        "without_price": "nothing",
    },
    "time_of_use": {
        "bands": [
            {"from": "17:00:00", "to": "21:00:00", "sell": 0.2, "buy": 0.28, "holidays": "as_weekday"},
            {"from": "00:00:00", "to": "00:00:00", "sell": 0.16, "buy": 0.24, "holidays": "as_weekday"},
        ]
    },
}


def set_price(hass: HomeAssistant, value: str = "0.30", unit: str = "EUR/kWh") -> None:
    hass.states.async_set(SPOT, value, {"unit_of_measurement": unit, "friendly_name": "Spot"})


def test_every_policy_has_its_form() -> None:
    assert set(SHOWN) == set(POLICIES)


@pytest.mark.parametrize("kind", POLICIES)
async def test_what_a_policy_proposes_can_be_taken_as_it_is(rig: Rig, hass: HomeAssistant, kind: str) -> None:
    set_price(hass)
    flow = await to_settings(rig, kind)
    assert suggested(flow) == SHOWN[kind]
    only_the_owner_knows = {"price_source": SPOT} if kind == "dynamic" else {}
    flow = shows(await rig.answer(flow, suggested(flow) | only_the_owner_knows), "no_preview")
    done = await rig.answer(flow, {"shadow": True})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    stored = done["result"].options["policies"][kind]
    proposed = POLICIES[kind].proposed(done["result"].runtime_data.coordinator.info)
    assert stored == proposed | only_the_owner_knows
    assert json.loads(json.dumps(stored)) == stored


@pytest.mark.parametrize("root", ["config", "options"])
def test_every_policy_field_and_fault_has_words(root: str) -> None:
    fields = {field.key for made in POLICIES.values() for field in made.FIELDS}
    step = ENGLISH[root]["step"]["settings"]
    assert set(step["data"]) == set(step["data_description"]) == fields
    ours = {"below_feed_in", "above_supplier", "price_source_unusable"}
    assert set(SETTINGS_CODES) | ours <= set(ENGLISH[root]["error"])
    assert set(ENGLISH["selector"]["policy"]["options"]) == set(POLICIES)


@pytest.mark.parametrize("words", [ENGLISH, load("translations/de.json")], ids=["en", "de"])
def test_a_policy_has_one_name_wherever_it_is_met(words: dict[str, Any]) -> None:
    """A form that offers *Follow a price* is not followed by an entity that says *Dynamic prices*."""
    names = words["selector"]["policy"]["options"]
    assert names == words["entity"]["select"]["policy"]["state"]
    for root in ("config", "options"):
        told = words[root]["step"]["policy"]["description"]
        assert [name for name in names.values() if f"* **{name}**:" not in told] == []


async def test_bands_are_stored_in_minutes_and_shown_again(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    bands = [
        {"from": "22:00:00", "to": "06:00:00", "buy": 0.2, "days": ["0", "4"], "holidays": "never"},
        {"from": "10:00:00", "to": "16:00:00", "sell": 0.1, "months": ["6", "7"], "holidays": "also"},
        {"from": "00:00:00", "to": "00:00:00", "sell": 0.15, "holidays": "only"},
        {"from": "00:00:00", "to": "00:00:00", "sell": 0.16, "buy": 0.24, "holidays": "as_weekday"},
    ]
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    configure = hass.config_entries.options.async_configure
    for given in ({"next_step_id": "policy"}, {"policy": "time_of_use"}, {"bands": bands}, {}):
        flow = await configure(flow["flow_id"], given)
    await hass.async_block_till_done()
    assert entry.options["policies"]["time_of_use"]["bands"] == [
        {"from": 1_320, "to": 360, "buy": 200_000, "days": [0, 4], "holidays": False},
        {"from": 600, "to": 960, "sell": 100_000, "months": [6, 7], "holidays": True},
        {"from": 0, "to": 1_440, "sell": 150_000, "days": [], "holidays": True},
        {"from": 0, "to": 1_440, "sell": 160_000, "buy": 240_000},
    ]
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await configure(flow["flow_id"], {"next_step_id": "policy"})
    flow = await configure(flow["flow_id"], {"policy": "time_of_use"})
    assert suggested(flow) == {"bands": bands}


@pytest.mark.parametrize(
    ("bands", "error", "reason"),
    [
        ([{"from": "06:00:00", "to": "22:00:00", "sell": 0.1}], "bands_gap", "no band holds"),
        ([{"from": "06:00:00", "to": "06:00:00", "sell": 0.1}], "band_empty", "band 1"),
        ([], "bands_none", "at least one"),
        ([{"from": "00:00:00", "to": "00:00:00", "sell": 0.1}] * 2, "band_hidden", "band 2"),
    ],
)
async def test_bands_that_cannot_work_can_be_mended(
    rig: Rig, bands: list[dict[str, Any]], error: str, reason: str
) -> None:
    flow = await to_settings(rig, "time_of_use")
    proposed = suggested(flow)
    flow = shows(await rig.answer(flow, {"bands": bands}), "settings", bands=error)
    assert reason in words(flow)["reason"]
    shows(await rig.answer(flow, proposed), "no_preview")


async def test_a_policy_without_any_price_can_be_mended(rig: Rig) -> None:
    flow = shows(await rig.answer(await to_settings(rig, "fixed"), {}), "settings", sell="needs_a_price")
    shows(await rig.answer(flow, {"buy": 0.2}), "no_preview")


async def test_a_price_source_is_shown_again_by_its_present_name(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    known = er.async_get(hass).async_get_or_create("sensor", "spot", "price", suggested_object_id="spot")
    assert known.entity_id == SPOT
    set_price(hass)
    configure = hass.config_entries.options.async_configure
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    chosen = SHOWN["dynamic"] | {"price_source": SPOT}
    for given in ({"next_step_id": "policy"}, {"policy": "dynamic"}, chosen, {}):
        flow = await configure(flow["flow_id"], given)
    await hass.async_block_till_done()
    assert entry.options["policies"]["dynamic"]["price_source"] == known.id
    er.async_get(hass).async_update_entity(SPOT, new_entity_id="sensor.exchange")
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    for given in ({"next_step_id": "policy"}, {"policy": "dynamic"}):
        flow = await configure(flow["flow_id"], given)
    assert suggested(flow)["price_source"] == "sensor.exchange"


def test_an_entity_that_tells_no_price_is_chosen_from_its_domains(hass: HomeAssistant) -> None:
    field = Field("events", FieldKind.ENTITY, choices=("calendar",))
    selector = policy_forms._SELECTORS[field.kind](hass, field, INFO)
    assert selector.config["domain"] == ["calendar"]


async def test_a_percentage_has_its_range(rig: Rig) -> None:
    flow = await to_settings(rig, "demand_response")
    with pytest.raises(InvalidData):
        await rig.answer(flow, SHOWN["demand_response"] | {"event_price_percent": 101})


async def test_price_sensors_and_integrations_are_offered_as_sources(rig: Rig, hass: HomeAssistant) -> None:
    set_price(hass)
    hass.states.async_set("sensor.temperature", "21", {"unit_of_measurement": "°C"})
    hass.states.async_set("sensor.unitless", "21")
    nordpool = MockConfigEntry(domain="nordpool", title="Nord Pool", data={"areas": ["AT"], "currency": "EUR"})
    nordpool.add_to_hass(hass)
    offered = [option["value"] for option in options_of(await to_settings(rig, "dynamic"), "price_source")]
    assert offered[-1] == SPOT
    assert any(reference.startswith(f"nordpool:{nordpool.entry_id}") for reference in offered[:-1])
    assert not {"sensor.temperature", "sensor.unitless"} & set(offered)


async def test_a_home_is_not_offered_its_own_prices(rig: Rig, hass: HomeAssistant) -> None:
    entry = await rig.join()
    market_price = er.async_get(hass).async_get_entity_id("sensor", "energy_trade", f"{entry.unique_id}_market_price")
    assert market_price is not None
    hass.states.async_set(market_price, "0.2", {"unit_of_measurement": "EUR/kWh"})
    set_price(hass)
    form = policy_forms.schema(hass, "dynamic", INFO).schema["price_source"]
    assert [option["value"] for option in form.config["options"]] == [SPOT]


@pytest.mark.parametrize(("language", "monday", "only"), [("en", "Monday", "Only on"), ("de", "Montag", "Nur an")])
async def test_a_bands_choices_bring_their_words(hass: HomeAssistant, language: str, monday: str, only: str) -> None:
    """Inside an object Home Assistant's frontend translates no option: a person saw the weekdays as 0 to 6."""
    hass.config.language = language
    bands = (await policy_forms.async_schema(hass, "time_of_use", INFO)).schema["bands"]
    fields = bands.config["fields"]
    labels = {
        key: [option["label"] for option in fields[key]["selector"].config["options"]]
        for key in ("days", "months", "holidays")
    }
    assert labels["days"][0] == monday
    assert len(set(labels["days"])) == 7
    assert len(set(labels["months"])) == 12
    assert labels["holidays"][0].startswith(only)


async def test_a_price_source_is_tried_before_it_is_taken(rig: Rig, hass: HomeAssistant) -> None:
    flow = await to_settings(rig, "dynamic")
    form = SHOWN["dynamic"] | {"price_source": f" {SPOT} "}
    flow = shows(await rig.answer(flow, form), "settings", price_source="price_source_unusable")
    assert SPOT in words(flow)["reason"]
    set_price(hass, "30", "bananas")
    flow = shows(await rig.answer(flow, form), "settings", price_source="price_source_unusable")
    set_price(hass)
    flow = shows(await rig.answer(flow, form), "no_preview")
    done = await rig.answer(flow, {"shadow": True})
    assert done["result"].options["policies"]["dynamic"]["price_source"] == SPOT
