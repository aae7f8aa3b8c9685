"""System health answers what an operator asks first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import get_system_health_info

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.entities_help import buy, settle
from tests.component.rig import Rig


async def health(hass: HomeAssistant) -> dict[str, Any]:
    """Ask as the page does, and wait for what is asked elsewhere."""
    assert await async_setup_component(hass, "system_health", {})
    await hass.async_block_till_done()
    found: dict[str, Any] = await get_system_health_info(hass, DOMAIN)
    waiting = {key: value for key, value in found.items() if asyncio.iscoroutine(value)}
    return found | dict(zip(waiting, await asyncio.gather(*waiting.values()), strict=True))


@pytest.fixture
async def node() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A chain's node on a real port, and what it says its newest block is."""
    block: dict[str, Any] = {"number": "0x10", "timestamp": "0x0"}

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": block or None})

    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", block
    await runner.cleanup()


async def test_a_home_that_works_says_so(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    found = await health(hass)
    version = found.pop("version")
    assert version.count(".") == 2
    assert found == {
        "homes": 1,
        "coordinator_reachable": "ok",
        "coordinator_version": entry.runtime_data.coordinator.info.version,
        "connection": "live",
        "clock_offset": "0 s",
        "readings_waiting": 0,
    }


async def test_the_last_checked_settlement_is_told(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await settle(rig, entry, await buy(rig, entry))
    await rig.until(lambda: entry.runtime_data.verifier.state.last is not None)
    found = await health(hass)
    assert found["last_settlement"].startswith("2027-01-15T08:0")


async def test_a_coordinator_that_is_down_is_seen(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.community.stop()
    await rig.until(lambda: rig.state(entry, "connection").state == "offline")
    found = await health(hass)
    assert found["coordinator_reachable"] == {"type": "failed", "error": "unreachable"}
    assert found["connection"] == "offline"


async def test_the_age_of_the_chains_newest_block_is_told(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, node: tuple[str, dict[str, Any]]
) -> None:
    url, block = node
    hass.config_entries.async_update_entry(entry, options={**entry.options, "rpc_url": url})
    block["timestamp"] = hex(entry.runtime_data.home.market_time() - 12)
    age = (await health(hass))["chain_head_age"]
    assert 12 <= int(age.removesuffix(" s")) < 20
    block.clear()
    assert (await health(hass))["chain_head_age"] == {"type": "failed", "error": "unreachable"}


async def test_without_a_home_only_the_version_is_told(hass: HomeAssistant) -> None:
    assert await async_setup_component(hass, DOMAIN, {})
    assert set(await health(hass)) == {"version", "homes"}
