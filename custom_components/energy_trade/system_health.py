"""System health: does the coordinator answer, how old is the chain's head, when was settled last, which versions."""

from __future__ import annotations

from typing import Any

from homeassistant.components import system_health
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.loader import async_get_integration
from homeassistant.util import dt as dt_util

from .const import CONF_RPC_URL, DOMAIN
from .coordinator import EnergyTradeConfigEntry
from .events import moment
from .settled.chain_reader import ChainReader, ChainUnavailable


@callback
def async_register(_hass: HomeAssistant, register: system_health.SystemHealthRegistration) -> None:
    """Say who answers."""
    register.async_register_info(system_health_info)


async def system_health_info(hass: HomeAssistant) -> dict[str, Any]:
    """Return what is known of each home; with several of them each line names its market."""
    integration = await async_get_integration(hass, DOMAIN)
    entries: list[EnergyTradeConfigEntry] = hass.config_entries.async_loaded_entries(DOMAIN)
    shown: dict[str, Any] = {"version": str(integration.version), "homes": len(entries)}
    for entry in entries:
        name = f" ({entry.title})" if len(entries) > 1 else ""
        shown |= {key + name: value for key, value in _health_of(hass, entry).items()}
    return shown


def _health_of(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> dict[str, Any]:
    data = entry.runtime_data
    url = str(entry.data[CONF_URL]).rstrip("/") + "/api/v1/market"
    shown: dict[str, Any] = {
        "coordinator_reachable": system_health.async_check_can_reach_url(hass, url),
        "coordinator_version": data.coordinator.info.version,
        "connection": data.coordinator.connection.value,
        "clock_offset": f"{data.home.clock_offset_s} s",
        "readings_waiting": len(data.home.agent.outbox.readings()),
    }
    if (last := data.verifier.state.last) is not None:
        shown["last_settlement"] = moment(last.delivery_start)
    if entry.options.get(CONF_RPC_URL):
        shown["chain_head_age"] = _chain_head_age(hass, entry)
    return shown


async def _chain_head_age(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> str | dict[str, str]:
    """Return how old the newest block is that the owner's node knows."""
    info = entry.runtime_data.coordinator.info
    reader = ChainReader(async_get_clientsession(hass), entry.options[CONF_RPC_URL], info.domain, info.market)
    try:
        _, at = await reader.async_head()
    except ChainUnavailable:
        return {"type": "failed", "error": "unreachable"}
    return f"{int(dt_util.utcnow().timestamp()) - at} s"
