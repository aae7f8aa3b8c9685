"""What a home of the outlook's tests is given: options, devices, a calendar; and what it then sees."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse

from custom_components.energy_trade.const import CONF_POLICIES, CONF_POLICY
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.outlook import Outlook
from custom_components.energy_trade.household.policies import POLICIES
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig

CHARGE = "sensor.charge"
BATTERY_DATA = {
    "soc_entity": CHARGE,
    "capacity_wh": 10_000,
    "charge_max_w": 5_000,
    "discharge_max_w": 4_000,
    "reserve_percent": 10,
}


def say(hass: HomeAssistant, name: str, state: object, unit: str = "EUR/kWh", **attributes: Any) -> None:
    hass.states.async_set(name, str(state), {"unit_of_measurement": unit} | attributes)


def choose(hass: HomeAssistant, entry: EnergyTradeConfigEntry, **options: Any) -> None:
    """Change options as the entities and the flow do."""
    hass.config_entries.async_update_entry(entry, options={**entry.options, **options})
    entry.runtime_data.home.async_apply_options()


def follow(hass: HomeAssistant, entry: EnergyTradeConfigEntry, reference: str) -> None:
    """Choose the dynamic policy by this source."""
    info = entry.runtime_data.home.agent.info
    settings = {**POLICIES["dynamic"].proposed(info), "price_source": reference}
    choose(hass, entry, **{CONF_POLICY: "dynamic", CONF_POLICIES: {"dynamic": settings}})


async def add(rig: Rig, entry: EnergyTradeConfigEntry, kind: str, **data: Any) -> None:
    """Add a device; the entry reloads with it."""
    before = entry.runtime_data
    subentry = ConfigSubentry(data=MappingProxyType(data), subentry_type=kind, title=f"Our {kind}", unique_id=None)
    rig.hass.config_entries.async_add_subentry(entry, subentry)
    await rig.until(lambda: getattr(entry, "runtime_data", before) is not before)
    await rig.hass.async_block_till_done()
    await rig.live(entry)


def now_of(entry: EnergyTradeConfigEntry) -> tuple[Outlook, int]:
    """Return the outlook of this moment, and the next interval's start."""
    data = entry.runtime_data
    at = data.home.market_time()
    return data.outlook.current(at), at - at % INTERVAL_S + INTERVAL_S


def iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


@pytest.fixture
def calendar(hass: HomeAssistant) -> list[Any]:
    """A calendar whose events can be changed, answering the action as the integration does."""
    events: list[Any] = []

    async def answer(call: ServiceCall) -> ServiceResponse:
        return {entity_id: {"events": list(events)} for entity_id in call.data["entity_id"].split(",")}

    hass.services.async_register("calendar", "get_events", answer, None, SupportsResponse.ONLY)
    hass.states.async_set("calendar.ours", "off")
    return events
