"""The flows: every path, and from every fault the way back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.energy.data import async_get_manager
from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import entity_registry as er
from homeassistant.util.file import WriteError

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import Connection, EnergyTradeConfigEntry
from custom_components.energy_trade.household.identity import Identity
from custom_components.energy_trade.protocol.client import MarketInfo
from custom_components.energy_trade.store import IdentityStore, async_identities
from tests.component.community import INVITE
from tests.component.rig import EXPORT_METER, IMPORT_METER, LIMITS, PRICES, Rig, agent_of, set_meters

METERS = {"import_meter": IMPORT_METER, "export_meter": EXPORT_METER, **LIMITS}


def shows(flow: ConfigFlowResult, step: str, **errors: str) -> ConfigFlowResult:
    """Check that a form is shown with exactly these errors."""
    assert flow["type"] is FlowResultType.FORM
    assert flow["step_id"] == step
    assert flow["errors"] == errors
    return flow


def words(flow: ConfigFlowResult) -> Mapping[str, str]:
    """Return what a form's text is filled with."""
    return flow["description_placeholders"] or {}


def suggested(flow: ConfigFlowResult) -> dict[str, Any]:
    """Return what a form proposes, by field."""
    schema = flow["data_schema"]
    assert schema is not None
    fields = {str(key): (key.description or {}).get("suggested_value") for key in schema.schema}
    return {name: value for name, value in fields.items() if value is not None}


async def test_joining(rig: Rig, hass_storage: dict[str, Any]) -> None:
    flow = shows(await rig.start_flow(), "meter")
    assert words(flow)["market"] == "Elm Street"
    assert words(flow)["minutes"] == "1"
    flow = shows(await rig.answer(flow, METERS), "policy")
    assert suggested(flow) == PRICES
    done = await rig.answer(flow, {"sell_price": 0.1501, "buy_price": 0.25})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    entry = done["result"]
    assert entry.title == "Elm Street"
    assert entry.unique_id in rig.community.ledger.state.accounts
    assert entry.options == {"sell_price_micro_per_kwh": 150_100, "buy_price_micro_per_kwh": 250_000}
    assert entry.data["import_limit_w"] == 24_000
    keys = hass_storage[f"{DOMAIN}.identities"]["data"]
    (secrets,) = keys.values()
    for secret in (*secrets.values(), INVITE):
        assert secret not in json.dumps(entry.as_dict(), default=str)


async def test_without_export_meter_nothing_may_be_given_to_the_grid(rig: Rig) -> None:
    entry = await rig.join(export_meter=False)
    assert entry.data["export_meter"] is None
    assert entry.data["export_limit_w"] == 0


async def test_meters_are_proposed_from_the_energy_dashboard(rig: Rig, hass: HomeAssistant) -> None:
    assert "import_meter" not in suggested(await rig.start_flow())
    hass.config.components.add("energy")
    manager = await async_get_manager(hass)
    sources: list[dict[str, Any]] = [
        {"type": "solar", "stat_energy_from": "sensor.roof", "config_entry_solar_forecast": None},
        grid("portal:import", None),
        grid(IMPORT_METER, EXPORT_METER),
    ]
    with patch.object(manager, "data", {"energy_sources": sources}):
        flow = await rig.start_flow()
        assert suggested(flow) == METERS
    with patch.object(manager, "data", {"energy_sources": sources[:2]}):
        assert suggested(await rig.start_flow()) == LIMITS
    with patch.object(manager, "data", None):
        assert suggested(await rig.start_flow()) == LIMITS


def grid(import_meter: str | None, export_meter: str | None) -> dict[str, Any]:
    return {"type": "grid", "stat_energy_from": import_meter, "stat_energy_to": export_meter}


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("elm street", "invalid_url"),
        ("ftp://127.0.0.1", "invalid_url"),
        ("http://[::1", "invalid_url"),
        ("http://127.0.0.1:1", "cannot_connect"),
    ],
)
async def test_an_address_that_does_not_answer_can_be_mended(rig: Rig, url: str, error: str) -> None:
    flow = shows(await rig.start_flow(url=url), "user", url=error)
    assert suggested(flow)["url"] == url
    again = {"url": f" {rig.community.url}/ ", "invite": INVITE, "name": "Nr. 5"}
    shows(await rig.answer(flow, again), "meter")


async def test_a_wrong_invite_can_be_mended(rig: Rig) -> None:
    flow = shows(await rig.start_flow(invite="open sesame"), "user", invite="invite_wrong")
    again = {"url": rig.community.url, "invite": f" {INVITE} ", "name": "Nr. 5"}
    shows(await rig.answer(flow, again), "meter")


async def test_a_clock_that_is_off_can_be_mended(rig: Rig) -> None:
    rig.community.clock.wrong_by_s = 300
    flow = shows(await rig.start_flow(), "user", base="clock")
    rig.community.clock.wrong_by_s = 0
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


async def test_a_refused_name_can_be_mended(rig: Rig) -> None:
    flow = shows(await rig.start_flow(name="Nr.\x075"), "user", base="refused")
    assert "malformed" in words(flow)["reason"]
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


async def test_a_full_market_says_so(rig: Rig) -> None:
    await rig.community.begin_anew(members_max=1)
    await rig.community.neighbour_joins()
    shows(await rig.start_flow(), "user", base="market_full")


async def test_keys_that_cannot_be_written_are_not_used(rig: Rig) -> None:
    with patch("homeassistant.helpers.storage.Store._async_write_data", side_effect=WriteError("disk full")):
        flow = shows(await rig.start_flow(), "user", base="not_written")
    assert rig.community.ledger.state.members == {}
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


async def test_keys_that_cannot_be_read_are_not_replaced(rig: Rig, hass_storage: dict[str, Any]) -> None:
    await rig.start_flow()
    keys = hass_storage[f"{DOMAIN}.identities"]["data"]
    good = {place: dict(secrets) for place, secrets in keys.items()}
    for secrets in keys.values():
        secrets["account_secret"] = "0xspoilt"
    flow = shows(await rig.start_flow(), "user", base="keys_unreadable")
    keys.update(good)
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


async def test_an_outage_between_the_steps_can_be_waited_for(rig: Rig) -> None:
    flow = shows(await rig.start_flow(), "meter")
    await rig.community.stop()
    shows(await rig.answer(flow, METERS), "meter", base="cannot_connect")
    await rig.community.start()
    shows(await rig.answer(flow, METERS), "policy")


async def test_an_outage_just_before_joining_can_be_waited_for(rig: Rig) -> None:
    with patch.object(rig.community.services.ledger, "submit", side_effect=RuntimeError("no disk")):
        flow = shows(await rig.start_flow(), "user", base="cannot_connect")
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


async def test_a_meter_that_cannot_serve_is_named(rig: Rig, hass: HomeAssistant) -> None:
    flow = await rig.start_flow()
    flow = shows(await rig.answer(flow, METERS | {"export_meter": IMPORT_METER}), "meter", export_meter="same_meter")
    set_meters(hass, "unavailable", "0.5")
    flow = shows(await rig.answer(flow, METERS), "meter", import_meter="meter_unusable")
    assert "unavailable" in words(flow)["reason"]
    set_meters(hass, "1.5", "0.5", unit="m³")
    flow = shows(await rig.answer(flow, METERS), "meter", import_meter="meter_unusable")
    assert "m³" in words(flow)["reason"]
    set_meters(hass, "1.5", "0.5")
    hass.states.async_remove(EXPORT_METER)
    flow = shows(await rig.answer(flow, METERS), "meter", export_meter="meter_unusable")
    set_meters(hass, "1.5", "0.5")
    shows(await rig.answer(flow, METERS), "policy")


async def test_a_home_that_comes_back_with_other_limits_gets_a_new_meter_key(rig: Rig, hass: HomeAssistant) -> None:
    entry = await rig.join(money_micro=7_000_000)
    for _ in range(2):
        await rig.boundary("35600.200", "812.340")
        await rig.delivered(entry)
    account, old = entry.unique_id, agent_of(entry).identity.device_id
    await hass.config_entries.async_remove(entry.entry_id)
    flow = await rig.answer(await rig.start_flow(), METERS | {"import_limit_kw": 12})
    done = await rig.answer(shows(flow, "policy"), PRICES)
    again: EnergyTradeConfigEntry = done["result"]
    await rig.live(again)
    new = agent_of(again).identity.device_id
    assert (again.unique_id, again.data["import_limit_w"]) == (account, 12_000)
    assert new != old
    assert rig.community.ledger.state.accounts[str(account)].meters == [old, new]
    assert rig.community.ledger.state.meters[new].import_limit_w == 12_000
    await rig.boundary("35600.300", "812.340")
    await rig.delivered(again)
    assert [reading.sequence for reading in await rig.community.readings(new)] == [1]
    assert len(await rig.community.readings(old)) == 2


async def test_a_new_meter_key_that_cannot_be_written_is_not_used(rig: Rig) -> None:
    shows(await rig.answer(await rig.start_flow(), METERS), "policy")
    flow = await rig.start_flow()  # the first one was left: same keys, same meter
    other = METERS | {"import_limit_kw": 12}
    with patch("homeassistant.helpers.storage.Store._async_write_data", side_effect=WriteError("disk full")):
        flow = shows(await rig.answer(flow, other), "meter", base="not_written")
    assert len(rig.community.ledger.state.meters) == 1
    shows(await rig.answer(flow, other), "policy")
    assert len(rig.community.ledger.state.meters) == 2


async def test_two_flows_at_once_use_the_same_keys(rig: Rig, hass: HomeAssistant) -> None:
    for flow in await asyncio.gather(rig.start_flow(), rig.start_flow()):
        shows(flow, "meter")
    assert len(rig.community.ledger.state.members) == 1
    ours = market_info(rig)
    other = replace(ours, market="oak-street")
    store = async_identities(hass)
    assert async_identities(hass) is store
    made = await asyncio.gather(*(store.async_load_or_create(info) for info in (ours, other, other)))
    assert owner(made[1]) == owner(made[2])
    assert owner(made[0]) != owner(made[1])
    for info, identity in ((ours, made[0]), (other, made[1])):
        kept = await IdentityStore(hass).async_load(info.market, info.domain.chain_id, info.domain.ledger)
        assert kept is not None
        assert owner(kept) == owner(identity), "it is on disk"
    replaced = await asyncio.gather(*(store.async_replace_meter(other, made[1]) for _ in range(2)))
    assert owner(replaced[0]) == owner(replaced[1])
    assert replaced[0].account == made[1].account
    assert replaced[0].device_id != made[1].device_id


def owner(identity: Identity) -> tuple[str, int]:
    return identity.account, identity.device_id


def market_info(rig: Rig) -> MarketInfo:
    return MarketInfo.from_wire(rig.community.services.views.market())


async def test_a_registration_that_is_refused_is_explained(rig: Rig) -> None:
    flow = await rig.start_flow()
    await rig.community.begin_anew()
    flow = shows(await rig.answer(flow, METERS), "meter", base="refused")
    assert "not_a_member" in words(flow)["reason"]


async def test_prices_that_lose_money_are_refused(rig: Rig) -> None:
    flow = await rig.answer(await rig.start_flow(), METERS)
    lossy = {"sell_price": 0.07, "buy_price": 0.33}
    flow = shows(await rig.answer(flow, lossy), "policy", sell_price="below_feed_in", buy_price="above_supplier")
    assert suggested(flow) == lossy
    done = await rig.answer(flow, {"sell_price": 0.08, "buy_price": 0.32})
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_a_home_joins_a_market_once(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    flow = await rig.start_flow()
    assert flow["type"] is FlowResultType.ABORT
    assert flow["reason"] == "already_configured"


async def test_joining_again_after_removal_finds_the_account_and_its_money(rig: Rig, hass: HomeAssistant) -> None:
    entry = await rig.join(money_micro=7_000_000)
    account = entry.unique_id
    await hass.config_entries.async_remove(entry.entry_id)
    again = await rig.join(money_micro=0)
    assert again.unique_id == account
    await rig.until(lambda: float(rig.state(again, "money_balance").state) == 7)


async def test_reconfiguring_the_address(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.stop()
    rig.community.port = 0
    await rig.community.start()
    flow = shows(await rig.reconfigure(entry), "reconfigure")
    assert suggested(flow)["import_meter"] == IMPORT_METER
    meters = {"import_meter": IMPORT_METER, "export_meter": EXPORT_METER}
    flow = shows(await rig.answer(flow, {"url": "nowhere", **meters}), "reconfigure", url="invalid_url")
    flow = shows(await rig.answer(flow, {"url": "http://127.0.0.1:1", **meters}), "reconfigure", url="cannot_connect")
    same = {"url": rig.community.url, "import_meter": IMPORT_METER, "export_meter": IMPORT_METER}
    flow = shows(await rig.answer(flow, same), "reconfigure", export_meter="same_meter")
    done = await rig.answer(flow, {"url": rig.community.url, **meters})
    assert (done["type"], done["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert entry.data["url"] == rig.community.url
    assert entry.data["meter_generation"] == 1
    await rig.hass.async_block_till_done()
    await rig.live(entry)


async def test_reconfiguring_to_another_market_is_refused(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    flow = await rig.reconfigure(entry)
    meters = {"import_meter": IMPORT_METER, "export_meter": EXPORT_METER}
    shows(await rig.answer(flow, {"url": rig.community.url, **meters}), "reconfigure", url="other_market")


async def test_another_meter_goes_on_where_the_old_one_stopped(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.200", "812.340")
    await rig.delivered(entry)
    registry = er.async_get(hass)
    new = registry.async_get_or_create("sensor", "p1", "import", suggested_object_id="new_meter")
    attributes = {"unit_of_measurement": "Wh", "device_class": "energy"}
    hass.states.async_set(new.entity_id, "17", attributes)
    flow = await rig.reconfigure(entry)
    choice = {"url": rig.community.url, "import_meter": new.entity_id, "export_meter": EXPORT_METER}
    await rig.answer(flow, choice)
    await hass.async_block_till_done()
    assert entry.data["import_meter"] == new.id, "remembered by registry id"
    registry.async_update_entity(new.entity_id, new_entity_id="sensor.renamed_meter")
    hass.states.async_remove(new.entity_id)
    hass.states.async_set("sensor.renamed_meter", "17", attributes)
    await rig.boundary("0", "812.340")
    hass.states.async_set("sensor.renamed_meter", "57", attributes)
    await rig.boundary("0", "812.340")
    await rig.delivered(entry)
    readings = await rig.community.readings(agent_of(entry).identity.device_id)
    assert [reading.consumption_wh for reading in readings] == [35_600_200, 35_600_200, 35_600_240]
    flow = await rig.reconfigure(entry)
    assert suggested(flow)["import_meter"] == "sensor.renamed_meter"


async def test_changing_the_prices(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert suggested(flow) == PRICES
    configure = hass.config_entries.options.async_configure
    flow = await configure(flow["flow_id"], {"sell_price": 0.01, "buy_price": 0.24})
    assert flow["errors"] == {"sell_price": "below_feed_in"}
    done = await configure(flow["flow_id"], {"sell_price": 0.2, "buy_price": 0.21})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    await rig.until(lambda: entry.runtime_data.coordinator.connection is Connection.LIVE)
    assert rig.state(entry, "sell_limit").state == "0.2"
    assert rig.state(entry, "buy_limit").state == "0.21"


async def test_prices_of_an_entry_that_does_not_run_cannot_be_changed(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "not_loaded")
