"""Repairs appear when a person can do something, repair it, and go when it has healed."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir

from coordinator.market.commands import CreditFunds
from custom_components.energy_trade import issues
from custom_components.energy_trade.backups import async_keys_are_safe
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.protocol.keys import AccountKey
from custom_components.energy_trade.repairs import (
    KeysBackedUpRepairFlow,
    MeterReplacedRepairFlow,
    MeterUnusableRepairFlow,
    OperatorChangedRepairFlow,
    async_create_fix_flow,
)
from custom_components.energy_trade.session import HomeClient
from tests.component.community import Community
from tests.component.rig import EXPORT_METER, Rig, agent_of
from tests.edge import support


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


async def test_a_last_reading_that_the_home_never_signed_is_shown_and_nothing_is_sent_behind_it(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    honest = HomeClient.meter

    async def lie(client: HomeClient, device_id: int) -> dict[str, Any]:
        answer = await honest(client, device_id)
        answer["last"]["reading"]["consumption_wh"] += 1_000
        return answer

    monkeypatch.setattr(HomeClient, "meter", lie)
    await hass.config_entries.async_reload(entry.entry_id)
    home = entry.runtime_data.home
    await rig.until(lambda: raised(hass) == {issues.READINGS_BLOCKED})
    assert home.blocked is not None
    assert home.blocked.code == "foreign_reading"
    await rig.boundary("35600.160", "812.340")
    assert len(home.agent.outbox.readings()) == 1
    monkeypatch.undo()
    await rig.boundary("35600.170", "812.340")
    await rig.until(lambda: raised(hass) == set() and not home.agent.outbox.readings())


async def test_a_community_that_began_anew_is_shown(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.community.begin_anew(id="oak-street", name="Oak Street")
    await entry.runtime_data.coordinator.async_refresh()
    assert raised(hass) == {issues.OTHER_MARKET}
    assert rig.state(entry, "money_balance").state == "unavailable"
    await hass.config_entries.async_remove(entry.entry_id)
    assert raised(hass) == set()


async def new_operator(community: Community, monkeypatch: pytest.MonkeyPatch) -> AccountKey:
    """Let the coordinator go on with another key."""
    await community.stop()
    key = AccountKey.generate()
    monkeypatch.setattr(support, "OPERATOR", key)
    await community.start()
    return key


async def confirm_operator(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> dict[str, str]:
    """Confirm the operator that the issue shows; return the words that it was shown with."""
    issue_id = f"{issues.OPERATOR_CHANGED}_{entry.entry_id}"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    assert issue.is_fixable
    flow = await async_create_fix_flow(hass, issue_id, dict(issue.data or {}))
    assert isinstance(flow, OperatorChangedRepairFlow)
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, issue_id
    form = await flow.async_step_init()
    assert form["type"] is FlowResultType.FORM
    assert (await flow.async_step_confirm({}))["type"] is FlowResultType.CREATE_ENTRY
    return dict(form["description_placeholders"] or {})


async def test_an_unknown_operator_gets_nothing_until_the_owner_accepts_him(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.boundary("35600.000", "812.340")
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    device_id, orders = agent_of(entry).identity.device_id, {*rig.community.ledger.state.orders}
    assert orders, "else nothing was traded before either"
    operator = await new_operator(rig.community, monkeypatch)
    await rig.until(lambda: raised(hass) == {issues.OPERATOR_CHANGED})
    assert await hass.config_entries.async_reload(entry.entry_id), "a restart accepts nobody"
    assert raised(hass) == {issues.OPERATOR_CHANGED}
    await rig.boundary("35600.300", "812.340")
    await rig.boundary("35600.450", "812.340")
    await hass.async_block_till_done()
    assert len(agent_of(entry).outbox.readings()) == 2, "they are kept"
    assert agent_of(entry).outbox.orders() == []
    assert len(await rig.community.readings(device_id)) == 2
    assert orders.issuperset(rig.community.ledger.state.orders)
    assert agent_of(entry).info.operator_public_key != operator.public_key
    words = await confirm_operator(hass, entry)
    assert words["name"] == "Elm Street"
    assert words["found"] == operator.address
    assert words["known"] != operator.address
    await rig.delivered(entry)
    assert raised(hass) == set()
    assert len(await rig.community.readings(device_id)) == 4
    assert entry.data["operator_account"] == operator.address
    assert await hass.config_entries.async_reload(entry.entry_id)
    await rig.live(entry)
    assert raised(hass) == set()


async def test_the_operator_that_comes_after_the_accepted_one_is_shown_again(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await new_operator(rig.community, monkeypatch)
    await rig.until(lambda: raised(hass) == {issues.OPERATOR_CHANGED})
    await hass.config_entries.async_unload(entry.entry_id)
    await new_operator(rig.community, monkeypatch)
    assert (await confirm_operator(hass, entry))["found"] == first.address
    assert await hass.config_entries.async_setup(entry.entry_id)
    assert raised(hass) == {issues.OPERATOR_CHANGED}


async def test_an_entry_of_before_pins_the_operator_that_it_knows(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    known = {key: value for key, value in entry.data.items() if not key.startswith("operator_")}
    before = entry.data["operator_public_key"]
    hass.config_entries.async_update_entry(entry, data=known)
    await new_operator(rig.community, monkeypatch)
    assert await hass.config_entries.async_setup(entry.entry_id)
    assert entry.data["operator_public_key"] == before
    assert raised(hass) == {issues.OPERATOR_CHANGED}


def fix_flow(hass: HomeAssistant, flow: RepairsFlow, issue_id: str) -> None:
    flow.hass, flow.handler, flow.issue_id = hass, DOMAIN, issue_id


async def test_a_meter_that_is_gone_is_replaced_in_the_repair(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.150", "812.340")
    for _ in range(2):
        await rig.boundary("35600.160", "812.340", exists=False)
    assert raised(hass) == {issues.METER_UNUSABLE}
    hass.states.async_set("sensor.new_meter", "12.5", {"unit_of_measurement": "kWh", "device_class": "energy"})
    issue_id = f"{issues.METER_UNUSABLE}_{entry.entry_id}"
    flow = await async_create_fix_flow(hass, issue_id, {"entry_id": entry.entry_id})
    assert isinstance(flow, MeterUnusableRepairFlow)
    fix_flow(hass, flow, issue_id)
    form = await flow.async_step_init()
    assert form["type"] is FlowResultType.FORM
    same = await flow.async_step_meter({"import_meter": EXPORT_METER, "export_meter": EXPORT_METER})
    assert same["errors"] == {"export_meter": "same_meter"}
    done = await flow.async_step_meter({"import_meter": "sensor.new_meter", "export_meter": EXPORT_METER})
    assert done["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    await rig.live(entry)
    before = len(await rig.community.readings(agent_of(entry).identity.device_id))
    hass.states.async_set("sensor.new_meter", "12.6", {"unit_of_measurement": "kWh", "device_class": "energy"})
    await rig.boundary("0", "812.340")
    await rig.delivered(entry)
    readings = await rig.community.readings(agent_of(entry).identity.device_id)
    assert len(readings) == before + 1
    assert readings[-1].consumption_wh == 35_600_150, "the old meter's register goes on: the jump is no energy"


async def test_keys_of_an_account_with_money_want_a_backup(rig: Rig, hass: HomeAssistant) -> None:
    entry = await rig.join(backed_up=False)
    await rig.until(lambda: float(rig.state(entry, "money_balance").state) == 5)
    await hass.config_entries.async_reload(entry.entry_id)
    await rig.until(lambda: raised(hass) == {issues.KEYS_WITHOUT_BACKUP})
    issue_id = f"{issues.KEYS_WITHOUT_BACKUP}_{entry.entry_id}"
    flow = await async_create_fix_flow(hass, issue_id, {"entry_id": entry.entry_id})
    assert isinstance(flow, KeysBackedUpRepairFlow)
    fix_flow(hass, flow, issue_id)
    assert (await flow.async_step_confirm({}))["type"] is FlowResultType.CREATE_ENTRY
    await hass.config_entries.async_reload(entry.entry_id)
    await rig.live(entry)
    assert await async_keys_are_safe(hass, entry)
    await rig.until(lambda: raised(hass) == set())


async def test_too_little_money_is_said_until_an_order_is_taken(rig: Rig, hass: HomeAssistant) -> None:
    entry = await rig.join(money_micro=0)
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.500", "812.000")
    await rig.until(lambda: raised(hass) == {issues.WALLET_LOW})
    await rig.community.ledger.submit(CreditFunds(str(entry.unique_id), 5_000_000, "test:paid in later"))
    await rig.boundary("35601.000", "812.000")
    await rig.until(lambda: raised(hass) == set())


@pytest.mark.parametrize(("theirs", "known"), [("0.1.9", True), ("0.2.0", False), ("9.1.0", False), ("x", False)])
async def test_another_version_of_the_coordinator_is_said(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, theirs: str, known: bool
) -> None:
    issues.async_report_version(hass, entry, "0.1.0", theirs)
    assert raised(hass) == (set() if known else {issues.VERSION})
    await entry.runtime_data.coordinator.async_refresh()
    assert raised(hass) == set(), "the coordinator that really answers is of this version"


async def test_a_wrong_clock_has_a_repair_of_its_own(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.150", "812.340")
    rig.community.clock.wrong_by_s = -120
    await entry.runtime_data.coordinator.async_refresh()
    await rig.boundary("35600.160", "812.340")
    await rig.boundary("35600.170", "812.340")
    assert raised(hass) == {issues.CLOCK_SKEW}


async def test_a_policy_whose_settings_no_longer_work_is_said_until_they_do(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """It gives way to selling surplus; nobody shall find that out from the log."""
    options, issue_id = dict(entry.options), f"{issues.POLICY_UNUSABLE}_{entry.entry_id}"
    broken = {**options, "policy": "time_of_use", "policies": {"time_of_use": {"bands": []}}}
    await hass.config_entries.async_unload(entry.entry_id)
    hass.config_entries.async_update_entry(entry, options=broken)
    await hass.config_entries.async_setup(entry.entry_id)
    await rig.boundary("35600.150", "812.340")
    assert agent_of(entry).policy.kind == "surplus"
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    words = issue.translation_placeholders or {}
    assert words["policy"] == "By time of day"
    assert words["reason"]
    hass.config_entries.async_update_entry(entry, options=options)
    entry.runtime_data.home.async_apply_options()
    assert ir.async_get(hass).async_get_issue(DOMAIN, issue_id) is None


async def test_a_repair_speaks_the_systems_language(rig: Rig, hass: HomeAssistant) -> None:
    hass.config.language = "de"
    entry = await rig.join()
    await rig.boundary("35600.150", "812.340")
    for _ in range(2):
        await rig.boundary("not a number", "812.340")
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"{issues.METER_UNUSABLE}_{entry.entry_id}")
    assert issue is not None
    assert (issue.translation_placeholders or {})["reason"].startswith("Keine Zahl (")


async def test_a_backup_of_after_the_keys_were_made_is_enough(
    rig: Rig, hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await rig.join(backed_up=False)
    assert not await async_keys_are_safe(hass, entry), "there is no backup integration"
    hass.config.components.add("backup")
    made = entry.created_at + dt.timedelta(hours=1)
    for date, whole, safe in (
        (made, True, True),
        (made, False, False),
        (entry.created_at - dt.timedelta(hours=1), True, False),
    ):
        backup = SimpleNamespace(date=date.isoformat(), homeassistant_included=whole)
        manager = SimpleNamespace(async_get_backups=AsyncMock(return_value=({"1": backup}, {})))
        monkeypatch.setattr("custom_components.energy_trade.backups.async_get_manager", lambda _, m=manager: m)
        assert await async_keys_are_safe(hass, entry) is safe
