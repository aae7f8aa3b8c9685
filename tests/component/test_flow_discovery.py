"""Coming in by an invite link, or by a coordinator that announces itself; and following one that moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.config_entries import SOURCE_IGNORE, SOURCE_USER, SOURCE_ZEROCONF, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo

from coordinator.protocol.keys import AccountKey
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.protocol.announcement import SERVICE, Announcement
from custom_components.energy_trade.protocol.client import MarketInfo
from custom_components.energy_trade.protocol.invitation import Invitation
from tests.component.community import INVITE
from tests.component.flows_tools import METERS, ends, finish, shows, suggested, words
from tests.component.rig import Rig
from tests.edge.support import OPERATOR

STRANGER = AccountKey.generate()


def info_of(rig: Rig) -> MarketInfo:
    return MarketInfo.from_wire(rig.community.services.views.market())


def invitation(rig: Rig) -> Invitation:
    info = info_of(rig)
    return Invitation(rig.community.url, INVITE, info.market, info.operator_account)


def announcement(rig: Rig, url: str | None = None, key: AccountKey = OPERATOR, **changed: Any) -> ZeroconfServiceInfo:
    """What a coordinator of this market announces, under somebody's signature."""
    info = info_of(rig)
    said = replace(Announcement(info.market, url or rig.community.url, info.name), **changed)
    address = ip_address("127.0.0.1")
    return ZeroconfServiceInfo(
        ip_address=address,
        ip_addresses=[address],
        port=rig.community.port,
        hostname="coordinator.local.",
        type=SERVICE,
        name=f"Elm Street.{SERVICE}",
        properties=dict(said.properties(key.sign(said.digest(info.domain)), info.domain)),
    )


async def discover(rig: Rig, found: ZeroconfServiceInfo) -> ConfigFlowResult:
    flow = await rig.hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=found)
    await rig.hass.async_block_till_done()
    return flow


async def test_an_invite_link_is_all_that_is_needed(rig: Rig, hass: HomeAssistant) -> None:
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    flow = await rig.answer(flow, {"url": f" {invitation(rig).link()}\n", "name": "Nr. 5"})
    flow = await rig.answer(shows(flow, "meter"), METERS)
    entry = await finish(rig, shows(flow, "policy"))
    assert entry.data["url"] == rig.community.url


@pytest.mark.parametrize(
    ("change", "errors", "reason"),
    [
        ({"invite": "open sesame"}, {"invite": "invite_wrong"}, ""),
        ({"url": "http://127.0.0.1:1"}, {"url": "cannot_connect"}, ""),
        ({"market": "oak-street"}, {"url": "not_the_inviter"}, "Elm Street"),
        ({"operator": "0x" + "11" * 20}, {"url": "not_the_inviter"}, "Elm Street"),
    ],
)
async def test_a_link_that_leads_elsewhere_is_refused(
    rig: Rig, change: dict[str, str], errors: dict[str, str], reason: str
) -> None:
    link = replace(invitation(rig), **change).link()
    flow = shows(await rig.start_flow(url=link, invite=""), "user", **errors)
    assert reason in words(flow)["reason"]
    shows(await rig.answer(flow, {"url": invitation(rig).link(), "name": "Nr. 5"}), "meter")


async def test_a_link_that_was_not_copied_whole_says_so(rig: Rig) -> None:
    flow = shows(await rig.start_flow(url=invitation(rig).link()[:60]), "user", url="invalid_link")
    assert "lacks" in words(flow)["reason"]
    flow = shows(await rig.start_flow(invite=" "), "user", invite="invite_needed")
    shows(await rig.answer(flow, {"url": rig.community.url, "invite": INVITE, "name": "Nr. 5"}), "meter")


@asynccontextmanager
async def answering(described: Mapping[str, Any]) -> AsyncIterator[str]:
    """Somebody else in the network who describes a market like this."""

    async def market(_request: web.Request) -> web.Response:
        return web.json_response(dict(described))

    application = web.Application()
    application.router.add_get("/api/v1/market", market)
    async with TestServer(application, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


async def test_an_operator_whose_key_is_not_its_accounts_is_no_operator(rig: Rig) -> None:
    described = rig.community.services.views.market()
    forged = {**described["operator"], "account": "0x" + "11" * 20}
    async with answering({**described, "operator": forged}) as url:
        flow = shows(await rig.start_flow(url=url), "user", url="cannot_connect")
    assert "key" in words(flow)["reason"]


async def test_a_coordinator_that_announces_itself_can_be_joined(rig: Rig, hass: HomeAssistant) -> None:
    flow = shows(await discover(rig, announcement(rig)), "discovery_confirm")
    (progress,) = hass.config_entries.flow.async_progress_by_handler(DOMAIN)
    assert progress["context"]["title_placeholders"] == {"name": "Elm Street"}
    assert words(flow)["operator"] == OPERATOR.address
    assert words(flow)["url"] == rig.community.url
    assert suggested(flow) == {"name": hass.config.location_name}
    await rig.community.stop()
    flow = await rig.answer(flow, {"invite": INVITE, "name": "Nr. 5"})
    flow = shows(flow, "discovery_confirm", invite="cannot_connect")
    await rig.community.start()
    flow = await rig.answer(flow, {"invite": "open sesame", "name": "Nr. 5"})
    flow = shows(flow, "discovery_confirm", invite="invite_wrong")
    assert suggested(flow)["name"] == "Nr. 5"
    flow = await rig.answer(flow, {"invite": INVITE, "name": "Nr. 5"})
    entry = await finish(rig, await rig.answer(shows(flow, "meter"), METERS))
    assert entry.unique_id in rig.community.ledger.state.accounts, "the entry is the account's, not the market's"


async def test_a_market_that_was_found_may_be_joined_by_its_link(rig: Rig) -> None:
    flow = await discover(rig, announcement(rig))
    other = await rig.answer(flow, {"invite": invitation(rig).link()[:60], "name": "Nr. 5"})
    flow = shows(other, "discovery_confirm", invite="invalid_link")
    shows(await rig.answer(flow, {"invite": invitation(rig).link(), "name": "Nr. 5"}), "meter")


async def test_the_link_of_another_market_does_not_join_the_one_that_was_found(rig: Rig) -> None:
    flow = await discover(rig, announcement(rig))
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    flow = await rig.answer(flow, {"invite": invitation(rig).link(), "name": "Nr. 5"})
    shows(flow, "discovery_confirm", invite="other_market")
    assert rig.community.ledger.state.members == {}


async def test_what_was_announced_twice_or_ignored_is_offered_once(rig: Rig, hass: HomeAssistant) -> None:
    flow = await discover(rig, announcement(rig))
    ends(await discover(rig, announcement(rig)), "already_in_progress")
    found = next(iter(hass.config_entries.flow.async_progress_by_handler(DOMAIN)))["context"]["unique_id"]
    hass.config_entries.flow.async_abort(flow["flow_id"])
    await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_IGNORE}, data={"unique_id": found, "title": "Elm Street"}
    )
    ends(await discover(rig, announcement(rig)), "already_configured")


async def test_what_is_no_coordinator_is_not_offered(rig: Rig) -> None:
    good = announcement(rig)
    for spoilt in ({"id": "elm-street"}, {"url": "elm street"}, {"signature": "0x12"}):
        broken = replace(good, properties={**good.properties, **spoilt})
        ends(await discover(rig, broken), "invalid_discovery")
    ends(await discover(rig, announcement(rig, url="http://127.0.0.1:1")), "cannot_connect")
    ends(await discover(rig, announcement(rig, market="oak-street")), "cannot_connect")


async def test_a_coordinator_under_a_strangers_signature_is_not_offered(rig: Rig) -> None:
    ends(await discover(rig, announcement(rig, key=STRANGER)), "invalid_discovery")


async def test_a_home_follows_its_coordinator_to_a_new_address(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.community.stop()
    rig.community.port = 0
    await rig.community.start()
    assert entry.data["url"] != rig.community.url
    ends(await discover(rig, announcement(rig)), "already_configured")
    assert entry.data["url"] == rig.community.url
    await rig.live(entry)


async def test_a_stranger_cannot_lead_a_home_away(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """All that a coordinator answers is public: without the operator's signature of the address it counts nothing."""
    before = entry.data["url"]
    await rig.community.stop()
    rig.community.port = 0
    await rig.community.start()
    ends(await discover(rig, announcement(rig, key=STRANGER)), "already_configured")
    assert entry.data["url"] == before


async def test_a_home_stays_where_its_coordinator_still_answers(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    before = entry.data["url"]
    ends(await discover(rig, announcement(rig)), "already_configured")
    async with answering(rig.community.services.views.market()) as url:
        ends(await discover(rig, announcement(rig, url=url)), "already_configured")
    assert entry.data["url"] == before


async def test_a_home_does_not_go_where_nobody_answers(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    before = entry.data["url"]
    await rig.community.stop()
    ends(await discover(rig, announcement(rig, url="http://127.0.0.1:1")), "already_configured")
    assert entry.data["url"] == before
