"""Repairs appear when a person can do something, repair it, and go when it has healed."""

from __future__ import annotations

import pytest
from homeassistant.components.repairs import ConfirmRepairFlow
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir

from custom_components.energy_trade import issues
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.repairs import MeterReplacedRepairFlow, async_create_fix_flow
from tests.component.rig import Rig, agent_of


def raised(hass: HomeAssistant) -> set[str]:
    return {issue.translation_key or "" for issue in ir.async_get(hass).issues.values() if issue.domain == DOMAIN}


async def test_a_zero_at_restart_raises_nothing(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.boundary("0", "0")
    assert raised(hass) == set()
    await rig.boundary("35600.160", "812.340")
    assert raised(hass) == set()


async def test_a_replaced_meter_is_confirmed_with_one_click(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.boundary("0.010", "0")
    await rig.boundary("0.020", "0")
    assert raised(hass) == {issues.METER_REPLACED}
    issue_id = f"{issues.METER_REPLACED}_{entry.entry_id}"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    assert issue.is_fixable
    flow = await async_create_fix_flow(hass, issue_id, {"entry_id": entry.entry_id})
    assert isinstance(flow, MeterReplacedRepairFlow)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, issue_id
    form = await flow.async_step_init()
    assert form["type"] is FlowResultType.FORM
    assert (form["description_placeholders"] or {})["name"] == "Elm Street"
    done = await flow.async_step_confirm({})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    await rig.boundary("0.030", "0")
    await rig.boundary("0.050", "0.010")
    await rig.delivered(entry)
    assert raised(hass) == set()
    readings = await rig.community.readings(agent_of(entry).identity.device_id)
    assert [reading.consumption_wh for reading in readings] == [35_600_150, 35_600_150, 35_600_170]


async def test_confirming_needs_a_running_entry(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    flow = await async_create_fix_flow(hass, "any", {"entry_id": entry.entry_id})
    assert isinstance(flow, MeterReplacedRepairFlow)
    done = await flow.async_step_confirm({})
    assert (done["type"], done["reason"]) == (FlowResultType.ABORT, "not_loaded")
    assert type(await async_create_fix_flow(hass, "any", {"entry_id": "gone"})) is ConfirmRepairFlow


@pytest.mark.parametrize("state", ["unavailable", "gone", "not a number"])
async def test_a_meter_that_stays_unusable_is_shown_until_it_is_back(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, state: str
) -> None:
    await rig.boundary("35600.150", "812.340")
    for _ in range(2):
        await rig.boundary(state, "812.340", exists=state != "gone")
    assert raised(hass) == {issues.METER_UNUSABLE}
    await rig.boundary("35600.160", "812.340")
    assert raised(hass) == set()


async def test_an_export_meter_that_is_gone_is_shown_too(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    for _ in range(2):
        await rig.boundary("35600.150", "unknown")
    assert raised(hass) == {issues.METER_UNUSABLE}


async def test_a_coordinator_that_lost_readings_is_shown(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    account, device_id = str(entry.unique_id), agent_of(entry).identity.device_id
    await rig.community.begin_anew()
    await rig.boundary("35600.160", "812.340")
    await rig.until(lambda: raised(hass) == {issues.READINGS_BLOCKED})
    assert entry.runtime_data.home.blocked is not None
    assert entry.runtime_data.home.blocked.code == "unknown_meter"
    await rig.community.readmit(account, agent_of(entry).identity.meter_key.public_key, device_id)
    await rig.boundary("35600.170", "812.340")
    home = entry.runtime_data.home
    await rig.until(lambda: home.blocked is not None and home.blocked.code == "coordinator_behind")


async def test_a_community_that_began_anew_is_shown(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    await entry.runtime_data.coordinator.async_refresh()
    assert raised(hass) == {issues.OTHER_MARKET}
    assert rig.state(entry, "money_balance").state == "unavailable"
    await hass.config_entries.async_remove(entry.entry_id)
    assert raised(hass) == set()
