"""Readings and orders on their way: outages, restarts, refusals, and what they become in the market."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util
from homeassistant.util.file import WriteError

from coordinator.metering.verification import Refusal
from coordinator.protocol.messages import Side
from custom_components.energy_trade.coordinator import (
    ORDERS_ASKED,
    Connection,
    EnergyTradeConfigEntry,
    _tells_all,
)
from custom_components.energy_trade.data import PlacedOrder
from custom_components.energy_trade.household.forecast import Forecast
from custom_components.energy_trade.household.orders import Standing
from custom_components.energy_trade.household.outbox import Kind
from custom_components.energy_trade.household.outlook import Outlook
from custom_components.energy_trade.protocol.client import CoordinatorRefused, MarketInfo
from custom_components.energy_trade.protocol.messages import Side as HomeSide
from custom_components.energy_trade.store import market_wire
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig, agent_of, set_meters


async def stored(rig: Rig, entry: EnergyTradeConfigEntry) -> list[tuple[int, int]]:
    """Return sequence and consumption of all readings that the coordinator keeps."""
    readings = await rig.community.readings(agent_of(entry).identity.device_id)
    return [(reading.sequence, reading.consumption_wh) for reading in readings]


async def test_each_boundary_becomes_a_signed_reading(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    at = await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    again = await rig.boundary("35.600170", "0.812345")
    await rig.delivered(entry)
    assert again == at + INTERVAL_S
    assert await stored(rig, entry) == [(1, 35_600_150)], "a meter that fell is not believed"
    await rig.boundary("35600.190", "812.345")
    await rig.delivered(entry)
    assert await stored(rig, entry) == [(1, 35_600_150), (2, 35_600_190)]


@pytest.mark.parametrize(
    ("value", "unit", "wh"), [("35600150", "Wh", 35_600_150), ("35.60015", "MWh", 35_600_150), ("0.1", "kWh", 100)]
)
async def test_units_are_converted_exactly(rig: Rig, value: str, unit: str, wh: int) -> None:
    entry = await rig.join(export_meter=False)
    set_meters(rig.hass, value, "0", unit=unit)
    await rig.boundary_as_it_is()
    await rig.delivered(entry)
    assert await stored(rig, entry) == [(1, wh)]


async def test_an_outage_loses_nothing_and_readings_arrive_in_order(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await rig.community.stop()
    for step in range(3):
        await rig.boundary(f"35600.{200 + step}", "812.340")
    assert len(agent_of(entry).outbox.readings()) == 3
    assert rig.state(entry, "readings_waiting").state == "3"
    await rig.until(lambda: rig.state(entry, "connection").state in {"offline", "polling"})
    await rig.community.start()
    await rig.boundary("35600.300", "812.340")
    await rig.delivered(entry)
    assert await stored(rig, entry) == [
        (1, 35_600_150),
        (2, 35_600_200),
        (3, 35_600_201),
        (4, 35_600_202),
        (5, 35_600_300),
    ]


async def test_a_restart_during_an_outage_loses_nothing(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.community.stop()
    await rig.boundary("35600.150", "812.340")
    await hass.config_entries.async_unload(entry.entry_id)
    assert await hass.config_entries.async_setup(entry.entry_id), "starts from what it knew"
    await rig.boundary("35600.200", "812.340")
    assert rig.state(entry, "connection").state == Connection.OFFLINE
    assert rig.state(entry, "money_balance").state == "unavailable"
    assert rig.state(entry, "last_reading").state != "unavailable"
    await rig.community.start()
    await rig.boundary("35600.250", "812.340")
    await rig.delivered(entry)
    assert [wh for _, wh in await stored(rig, entry)] == [35_600_150, 35_600_200, 35_600_250]


async def test_nothing_leaves_before_it_is_on_disk(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    full = ("energy_trade", f"disk_full_{entry.entry_id}")
    await rig.delivered(entry)
    with patch("homeassistant.helpers.storage.Store._async_write_data", side_effect=WriteError("disk full")):
        await rig.boundary("35600.150", "812.340")
        await rig.boundary("35600.160", "812.340")
        assert await stored(rig, entry) == []
        assert full in ir.async_get(hass).issues
    await rig.boundary("35600.170", "812.340")
    await rig.delivered(entry)
    assert full not in ir.async_get(hass).issues
    assert [wh for _, wh in await stored(rig, entry)] == [35_600_150, 35_600_160, 35_600_170]


async def test_a_state_lost_to_a_backup_goes_on_behind_the_coordinator(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await hass.config_entries.async_unload(entry.entry_id)
    del hass_storage[f"energy_trade.{entry.entry_id}"]
    await hass.config_entries.async_setup(entry.entry_id)
    await rig.boundary("35600.200", "812.340")
    await rig.delivered(entry)
    assert await stored(rig, entry) == [(1, 35_600_150), (2, 35_600_200)]


async def test_neighbours_trade_and_settle(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    community = rig.community
    await community.neighbour_joins()
    await rig.boundary("35600.000", "812.000")
    at = await rig.boundary("35600.100", "812.000")
    planned = agent_of(entry).plan_for()[at + INTERVAL_S]
    assert planned.order is not None
    assert planned.decision.reason.rule == "buy_missing"
    assert "buy 100 Wh for at most 0.240 EUR/kWh" in planned.decision.reason.text
    await rig.delivered(entry)
    await community.neighbour_orders(Side.SELL, 60, 200_000, at + INTERVAL_S)
    await rig.until(lambda: rig.state(entry, "next_position").state == "60")
    await rig.boundary("35600.200", "812.000")
    await community.neighbour_reads(at + INTERVAL_S, 0, 0)
    await rig.until(lambda: rig.state(entry, "market_price").state == "0.24")
    await rig.boundary("35600.300", "812.000")
    await community.neighbour_reads(at + 2 * INTERVAL_S, 0, 60)
    await rig.until(lambda: float(rig.state(entry, "energy_bought").state) == 0.06)
    assert float(rig.state(entry, "money_paid").state) == 0.0144
    assert float(rig.state(entry, "saved").state) == pytest.approx(60 * (0.32 - 0.24) / 1000)


async def test_a_suspended_meter_keeps_its_readings_and_says_so(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    await rig.community.suspend(agent_of(entry).identity.device_id)
    await rig.boundary("35600.160", "812.340")
    issue_id = f"readings_blocked_{entry.entry_id}"
    await rig.until(lambda: ir.async_get(hass).async_get_issue("energy_trade", issue_id) is not None)
    assert len(agent_of(entry).outbox.readings()) == 1


async def test_a_reading_refused_for_good_is_given_up_and_the_next_one_carries_its_energy(
    rig: Rig, entry: EnergyTradeConfigEntry, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.boundary("35600.000", "812.340")
    await rig.delivered(entry)
    limit = Refusal("beyond_limit", "The register rose by more than the limit allows: correct it.")
    with patch("coordinator.ledger.writer.check_reading", return_value=limit):
        await rig.boundary("35600.150", "812.340")
        await rig.delivered(entry)
    assert "beyond_limit" in caplog.text
    await rig.boundary("35600.200", "812.340")
    await rig.delivered(entry)
    assert await stored(rig, entry) == [(1, 35_600_000), (2, 35_600_200)]


async def test_a_busy_system_does_not_sign_a_late_value(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    now = await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    rig.move_to(now + INTERVAL_S - 1)
    set_meters(rig.hass, "35600.200", "812.340")
    rig.move_to(now + INTERVAL_S + 20)
    await rig.until(lambda: rig.state(entry, "meter_check").state == "late")
    assert agent_of(entry).meter.sequence == 1


async def test_orders_do_not_leave_a_home_that_is_switched_off(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    entity_id = er.async_get(hass).async_get_entity_id("switch", "energy_trade", f"{entry.unique_id}_trading")
    target = {"entity_id": entity_id}
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.until(lambda: open_orders(rig, entry) > 0)
    await hass.services.async_call("switch", "turn_off", target, blocking=True)
    assert rig.state(entry, "trading", "switch").state == "off"
    await rig.delivered(entry)
    await rig.until(lambda: not open_orders(rig, entry))
    await rig.boundary("35600.200", "812.000")
    await rig.delivered(entry)
    assert all(item.kind is not Kind.ORDER for item in agent_of(entry).outbox)
    assert not open_orders(rig, entry)
    await hass.config_entries.async_reload(entry.entry_id)
    assert rig.state(entry, "trading", "switch").state == "off", "it stays off"
    await hass.services.async_call("switch", "turn_on", target, blocking=True)
    await rig.boundary("35600.300", "812.000")
    await rig.until(lambda: open_orders(rig, entry) > 0)
    assert entry.state is ConfigEntryState.LOADED


def open_orders(rig: Rig, entry: EnergyTradeConfigEntry) -> int:
    return len(rig.community.ledger.state.accounts[str(entry.unique_id)].open_orders)


@pytest.mark.parametrize("asked", [[{"status": 7}], [{}], [{"status": "proposed", "signed": False}]])
async def test_corrections_that_make_no_sense_keep_nothing_back(
    rig: Rig, entry: EnergyTradeConfigEntry, asked: list[dict[str, Any]]
) -> None:
    home, client = entry.runtime_data.home, entry.runtime_data.coordinator.client
    await rig.boundary("35600.150", "812.340")
    with patch.object(client, "corrections", return_value=asked):
        await rig.boundary("35600.160", "812.340")
        await rig.delivered(entry)
        task = home.carrier.task
        assert task is not None
        await task
    assert home.blocked is None


async def test_a_correction_that_is_refused_does_not_say_that_readings_are(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    home, client = entry.runtime_data.home, entry.runtime_data.coordinator.client
    await rig.boundary("35600.150", "812.340")
    with patch.object(client, "corrections", side_effect=CoordinatorRefused(409, "closed", "no more")):
        await rig.boundary("35600.160", "812.340")
        await rig.delivered(entry)
        task = home.carrier.task
        assert task is not None
        await task
    assert home.blocked is None


async def test_a_plan_that_fails_keeps_no_reading_back(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    home = entry.runtime_data.home
    at = home.last_boundary + INTERVAL_S
    home._stop()
    rig.move_to(at)
    set_meters(rig.hass, "35600.160", "812.340")
    with patch.object(agent_of(entry), "plan", side_effect=RuntimeError("out of order")):
        with pytest.raises(RuntimeError):
            home._boundary(dt_util.utc_from_timestamp(at))
        await rig.delivered(entry)
    assert [sequence for sequence, _ in await stored(rig, entry)] == [1, 2]


async def test_a_list_of_orders_is_all_when_it_reaches_back_far_enough(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """A market tells the newest hundred; after a day of trading there are always more."""
    agent = agent_of(entry)
    lost = Standing(b"l" * 32, 5_000, HomeSide.BUY, 100, at=4_000, cancelling=True)
    agent.orders.add(lost)
    told = [PlacedOrder(bytes(32), start, HomeSide.BUY, 1, 1, "filled") for start in range(4_000, 4_000 + ORDERS_ASKED)]
    assert _tells_all(told, agent)
    assert _tells_all(told[1:], agent)
    assert not _tells_all([*told[1:], told[-1]], agent)
    lost.heard = True
    assert _tells_all([*told[1:], told[-1]], agent)


async def test_a_home_that_cannot_read_its_meter_offers_nothing_by_habit(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    """What no reading shows counts as not delivered; whoever sold it would pay for it."""
    home, agent = entry.runtime_data.home, agent_of(entry)

    def habits(at: int) -> Outlook:
        starts = [at - at % INTERVAL_S + step * INTERVAL_S for step in range(6)]
        return Outlook(forecasts={start: Forecast(-100, "as always") for start in starts})

    with patch.object(entry.runtime_data.outlook, "current", habits):
        await rig.boundary("35600.150", "812.340")
        assert {order.side for order in agent.orders} == {HomeSide.SELL}
        for _ in range(3):
            await rig.boundary("0", "0")
        signed = agent.to_dict()["orders_signed"]
        for _ in range(2):
            await rig.boundary("0", "0")
        assert agent.to_dict()["orders_signed"] == signed
        assert "no_forecast" in {planned.decision.reason.rule for planned in home.plan.values()}
        await rig.boundary("35600.150", "812.940")
        assert agent.to_dict()["orders_signed"] > signed


async def test_the_rules_of_the_last_run_are_kept_whole(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """Fees and sessions too: a start without network goes on by the same rules."""
    info = replace(
        agent_of(entry).info, session_every_s=3_600, community_micro_per_kwh=5_000, community_share_ppm=20_000
    )
    assert MarketInfo.from_wire(market_wire(info)) == replace(info, signals=())
