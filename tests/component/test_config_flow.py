"""The flows: every path, and from every fault the way back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.energy.data import async_get_manager
from homeassistant.config_entries import SOURCE_REAUTH, ConfigFlowContext, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import entity_registry as er
from homeassistant.util.file import WriteError

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.identity import Identity
from custom_components.energy_trade.protocol.client import MarketInfo
from custom_components.energy_trade.protocol.invitation import Invitation
from custom_components.energy_trade.store import IdentityStore, async_identities
from tests.component.community import INVITE
from tests.component.flows_tools import METERS, SURPLUS, ends, finish, shows, suggested, to_settings, words
from tests.component.rig import EXPORT_METER, IMPORT_METER, LIMITS, PRICES, Rig, agent_of, set_meters


async def test_joining(rig: Rig, hass_storage: dict[str, Any]) -> None:
    flow = shows(await rig.start_flow(), "meter")
    assert words(flow)["market"] == "Elm Street"
    assert words(flow)["minutes"] == "1"
    flow = shows(await rig.answer(flow, METERS), "policy")
    assert suggested(flow) == SURPLUS
    flow = shows(await rig.answer(flow, SURPLUS), "settings")
    assert suggested(flow) == PRICES
    flow = shows(await rig.answer(flow, {"sell": 0.1501, "buy": 0.25}), "no_preview")
    assert "recorder" in words(flow)["reason"]
    assert suggested(flow) == {"shadow": True}
    done = await rig.answer(flow, {"shadow": True})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    entry = done["result"]
    assert (entry.title, entry.version, entry.minor_version) == ("Elm Street", 1, 2)
    assert entry.unique_id in rig.community.ledger.state.accounts
    assert entry.options == {
        "policy": "surplus",
        "policies": {"surplus": {"sell": 150_100, "buy": 250_000}},
        "guard": True,
        "confidence_percent": 80,
        "ahead_intervals": 4,
        "battery_reserve_percent": 20,
        "shadow": True,
    }
    assert entry.data["import_limit_w"] == 24_000
    assert agent_of(entry).shadow, "nothing is traded until the owner says so"
    keys = hass_storage[f"{DOMAIN}.identities"]["data"]
    (secrets,) = keys.values()
    for secret in (*secrets.values(), INVITE):
        assert secret not in json.dumps(entry.as_dict(), default=str)


async def test_the_flow_can_be_passed_with_what_it_proposes(rig: Rig) -> None:
    flow: Any = await rig.start_flow()
    flow = await rig.answer(flow, suggested(flow) | METERS)
    for _ in range(3):
        flow = await rig.answer(flow, suggested(flow))
    assert flow["type"] is FlowResultType.CREATE_ENTRY


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
    again: EnergyTradeConfigEntry = await finish(rig, shows(flow, "policy"))
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
    flow = await to_settings(rig, "surplus")
    lossy = {"sell": 0.07, "buy": 0.33}
    flow = shows(await rig.answer(flow, lossy), "settings", sell="below_feed_in", buy="above_supplier")
    assert suggested(flow) == lossy
    shows(await rig.answer(flow, {"sell": 0.08, "buy": 0.32}), "no_preview")


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
    assert suggested(flow) == METERS | {"url": entry.data["url"]}
    flow = shows(await rig.answer(flow, {"url": "nowhere", **METERS}), "reconfigure", url="invalid_url")
    flow = shows(await rig.answer(flow, {"url": "http://127.0.0.1:1", **METERS}), "reconfigure", url="cannot_connect")
    same = {"url": rig.community.url, **METERS, "export_meter": IMPORT_METER}
    flow = shows(await rig.answer(flow, same), "reconfigure", export_meter="same_meter")
    ends(await rig.answer(flow, {"url": rig.community.url, **METERS}), "reconfigure_successful")
    assert entry.data["url"] == rig.community.url
    assert entry.data["meter_generation"] == 1
    await rig.hass.async_block_till_done()
    await rig.live(entry)


async def test_reconfiguring_to_another_market_is_refused(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    flow = await rig.reconfigure(entry)
    shows(await rig.answer(flow, {"url": rig.community.url, **METERS}), "reconfigure", url="other_market")


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
    choice = {"url": rig.community.url, **METERS, "import_meter": new.entity_id}
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


async def test_other_limits_give_the_meter_a_new_key(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.200", "812.340")
    await rig.delivered(entry)
    old = agent_of(entry).identity.device_id
    stronger = {"url": rig.community.url, **METERS, "import_limit_kw": 34.5}
    ends(await rig.answer(await rig.reconfigure(entry), stronger), "reconfigure_successful")
    await rig.hass.async_block_till_done()
    await rig.live(entry)
    new = agent_of(entry).identity.device_id
    assert new != old
    assert (entry.data["import_limit_w"], entry.data["meter_generation"]) == (34_500, 2)
    assert rig.community.ledger.state.meters[new].import_limit_w == 34_500
    assert rig.community.ledger.state.accounts[str(entry.unique_id)].meters == [old, new]
    await rig.boundary("35600.300", "812.340")
    await rig.delivered(entry)
    readings = await rig.community.readings(new)
    assert [(reading.sequence, reading.consumption_wh) for reading in readings] == [(1, 35_600_300)]


async def test_limits_wait_until_no_reading_waits(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.stop()
    await rig.boundary("35600.200", "812.340")
    stronger = {"url": rig.community.url, **METERS, "import_limit_kw": 34.5}
    flow = await rig.reconfigure(entry)
    flow = shows(await rig.answer(flow, stronger), "reconfigure", url="cannot_connect")
    with patch.object(entry.runtime_data.home.carrier, "_deliver", side_effect=asyncio.CancelledError):
        await rig.community.start()
        flow = shows(await rig.answer(flow, stronger), "reconfigure", base="readings_waiting")
    await rig.hass.config_entries.async_reload(entry.entry_id)
    await rig.delivered(entry)
    ends(await rig.answer(flow, stronger), "reconfigure_successful")
    await rig.hass.async_block_till_done()


async def test_limits_change_under_the_accounts_own_keys_only(
    rig: Rig, entry: EnergyTradeConfigEntry, hass_storage: dict[str, Any]
) -> None:
    stronger = {"url": rig.community.url, **METERS, "import_limit_kw": 34.5}
    keys = hass_storage[f"{DOMAIN}.identities"]["data"]
    good = {place: dict(secrets) for place, secrets in keys.items()}
    flow = await rig.reconfigure(entry)
    for secrets in keys.values():
        secrets["account_secret"] = "0x" + "11" * 32
    flow = shows(await rig.answer(flow, stronger), "reconfigure", base="keys_missing")
    for secrets in keys.values():
        secrets["account_secret"] = "0xspoilt"
    flow = shows(await rig.answer(flow, stronger), "reconfigure", base="keys_unreadable")
    keys.update(good)
    ends(await rig.answer(flow, stronger), "reconfigure_successful")
    await rig.hass.async_block_till_done()


async def test_without_an_export_meter_the_form_proposes_what_it_did_at_first(rig: Rig) -> None:
    entry = await rig.join(export_meter=False)
    assert suggested(await rig.reconfigure(entry))["export_limit_kw"] == 10


async def test_a_home_that_its_market_forgot_joins_again_with_the_same_keys(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    account, device = entry.unique_id, agent_of(entry).identity.device_id
    await rig.community.begin_anew()
    flow = shows(await reauth(rig, entry), "reauth_confirm")
    assert words(flow)["name"] == "Elm Street"
    flow = shows(await rig.answer(flow, {"invite": "open sesame"}), "reauth_confirm", invite="invite_wrong")
    await rig.community.stop()
    flow = shows(await rig.answer(flow, {"invite": INVITE}), "reauth_confirm", base="cannot_connect")
    await rig.community.start()
    ends(await rig.answer(flow, {"invite": INVITE}), "reauth_successful")
    await rig.hass.async_block_till_done()
    await rig.live(entry)
    assert entry.unique_id == account
    assert rig.community.ledger.state.accounts[str(account)].meters == [device]
    assert rig.community.ledger.state.members[str(account)].name == "Nr. 5"


async def test_a_home_that_its_market_forgot_is_asked_once_to_join_again(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    await rig.community.begin_anew()
    for _ in range(3):
        await entry.runtime_data.coordinator.async_refresh()
    await rig.hass.async_block_till_done()
    (flow,) = rig.hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert (flow["context"]["source"], flow["step_id"]) == (SOURCE_REAUTH, "reauth_confirm")
    ends(await rig.answer(flow, {"invite": INVITE}), "reauth_successful")
    await rig.hass.async_block_till_done()
    await rig.live(entry)


async def test_joining_again_may_take_a_link_with_a_new_address(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.begin_anew()
    await rig.community.stop()
    rig.community.port = 0
    await rig.community.start()
    flow = await reauth(rig, entry)
    flow = shows(await rig.answer(flow, {"invite": INVITE}), "reauth_confirm", base="cannot_connect")
    dead = link_of(rig, url="http://127.0.0.1:1")
    flow = shows(await rig.answer(flow, {"invite": dead}), "reauth_confirm", invite="cannot_connect")
    ends(await rig.answer(flow, {"invite": link_of(rig)}), "reauth_successful")
    assert entry.data["url"] == rig.community.url
    await rig.hass.async_block_till_done()
    await rig.live(entry)


async def test_joining_again_elsewhere_or_under_another_operator_is_refused(
    rig: Rig, entry: EnergyTradeConfigEntry, hass_storage: dict[str, Any]
) -> None:
    flow = await reauth(rig, entry)
    known = entry.data
    rig.hass.config_entries.async_update_entry(entry, data={**known, "operator_account": "0x" + "11" * 20})
    flow = shows(await rig.answer(flow, {"invite": INVITE}), "reauth_confirm", invite="other_operator")
    rig.hass.config_entries.async_update_entry(entry, data=known)
    keys = hass_storage[f"{DOMAIN}.identities"]["data"]
    good = dict(keys)
    keys.clear()
    flow = shows(await rig.answer(flow, {"invite": INVITE}), "reauth_confirm", base="keys_missing")
    assert len(rig.community.ledger.state.members) == 1, "no stranger has joined"
    keys.update(good)
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    shows(await rig.answer(flow, {"invite": INVITE}), "reauth_confirm", invite="other_market")


async def test_a_meter_that_its_market_knows_otherwise_gets_a_new_key_on_joining_again(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    limited = {**entry.data, "import_limit_w": 12_000}
    rig.hass.config_entries.async_update_entry(entry, data=limited)
    ends(await rig.answer(await reauth(rig, entry), {"invite": INVITE}), "reauth_successful")
    assert entry.data["meter_generation"] == 2
    await rig.hass.async_block_till_done()


async def reauth(rig: Rig, entry: EnergyTradeConfigEntry) -> ConfigFlowResult:
    """Begin the flow that joins again, as a refused session does."""
    context = ConfigFlowContext(source=SOURCE_REAUTH, entry_id=entry.entry_id)
    return await rig.hass.config_entries.flow.async_init(DOMAIN, context=context, data=dict(entry.data))


def link_of(rig: Rig, url: str | None = None) -> str:
    """Return the invite link of the rig's community."""
    info = market_info(rig)
    return Invitation(url or rig.community.url, INVITE, info.market, info.operator_account).link()
