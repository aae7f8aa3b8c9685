"""A backup restored beside the running home: the second system is kept from contradicting the first."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir

from custom_components.energy_trade import issues
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.orders import Orders
from custom_components.energy_trade.protocol.client import CoordinatorUnavailable
from custom_components.energy_trade.session import HomeClient, installation_of
from tests.component.rig import Rig, agent_of

OTHER = "0f" * 16


def shown(hass: HomeAssistant) -> set[str]:
    return {issue.translation_key or "" for issue in ir.async_get(hass).issues.values() if issue.domain == DOMAIN}


async def test_a_second_system_sends_nothing_says_why_and_takes_over_when_the_first_is_silent(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    device_id = agent_of(entry).identity.device_id
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    leases = rig.community.services.leases
    leases._held[device_id] = (OTHER, rig.community.clock.now() + 10_000)
    await rig.boundary("35600.160", "812.340")
    home = entry.runtime_data.home
    await rig.until(lambda: home.carrier.is_elsewhere)
    assert shown(hass) == {issues.OTHER_INSTALLATION}
    orders = len(rig.community.ledger.state.orders)
    await rig.boundary("35600.170", "812.340")
    assert len(await rig.community.readings(device_id)) == 1
    assert len(rig.community.ledger.state.orders) == orders, "it places no orders either"
    assert rig.community.ledger.state.meters[device_id].suspended is None
    leases._held[device_id] = (OTHER, rig.community.clock.now())
    await rig.boundary("35600.180", "812.340")
    await rig.delivered(entry)
    assert [reading.consumption_wh for reading in await rig.community.readings(device_id)][-1] == 35_600_180
    assert shown(hass) == set()


async def test_a_restored_backup_asks_before_it_sends(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    device_id = agent_of(entry).identity.device_id
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await hass.config_entries.async_unload(entry.entry_id)
    rig.community.services.leases._held[device_id] = (OTHER, rig.community.clock.now() + 10_000)
    await hass.config_entries.async_setup(entry.entry_id)
    await rig.until(lambda: entry.runtime_data.home.carrier.is_elsewhere)
    assert shown(hass) == {issues.OTHER_INSTALLATION}


async def test_after_an_outage_nothing_is_sent_before_it_is_known_who_acts(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    """Orders leave before readings: what two systems offer for one home would be sold twice."""
    device_id = agent_of(entry).identity.device_id
    await rig.boundary("35600.150", "812.340")
    await rig.boundary("35600.160", "812.340")
    await rig.delivered(entry)
    await rig.community.stop()
    home = entry.runtime_data.home
    await rig.boundary("35600.190", "812.340")
    await rig.until(lambda: not home.carrier._lined_up)
    assert agent_of(entry).outbox.orders(), "it plans on during the outage"
    await rig.community.start()
    orders = len(rig.community.ledger.state.orders)
    rig.community.services.leases._held[device_id] = (OTHER, rig.community.clock.now() + 10_000)
    home.carrier.async_deliver()
    await rig.until(lambda: home.carrier.is_elsewhere)
    assert len(rig.community.ledger.state.orders) == orders


async def test_a_restored_backup_plans_nothing_before_it_knows_its_orders(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """What was placed after the backup was made stands in the market; the state does not remember it."""
    await rig.boundary("35600.150", "812.340")
    await rig.boundary("35600.160", "812.340")
    await rig.delivered(entry)
    with patch.object(HomeClient, "orders", side_effect=CoordinatorUnavailable("no answer")):
        await hass.config_entries.async_reload(entry.entry_id)
        home = entry.runtime_data.home
        home.agent.orders = Orders()
        await rig.boundary("35600.170", "812.340")
        await rig.until(lambda: not home.agent.outbox.readings())
        assert (home.orders_known, home.plan, list(home.agent.orders)) == (False, {}, [])
    await entry.runtime_data.coordinator.async_refresh()
    assert home.orders_known
    assert home.plan
    assert any(not order.planned for order in home.agent.orders), "what it had forgotten"


def test_a_system_is_the_same_after_a_restart_and_another_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid.getnode", lambda: 0x02_42_AC_11_00_02)
    first = installation_of("/config", "0x" + "11" * 20)
    assert first == installation_of("/config", "0x" + "11" * 20)
    assert first != installation_of("/restored", "0x" + "11" * 20)
    monkeypatch.setattr("uuid.getnode", lambda: 0x02_42_AC_11_00_03)
    assert first != installation_of("/config", "0x" + "11" * 20)


def test_a_random_network_address_is_no_name_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for node in (0x01_00_00_00_00_01, 0x03_00_00_00_00_02):
        monkeypatch.setattr("uuid.getnode", lambda node=node: node)
        found.add(installation_of("/config", "0x" + "11" * 20))
    assert len(found) == 1
