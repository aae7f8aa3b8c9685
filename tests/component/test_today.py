"""What was counted today and what shadow mode would have gained: over midnight, restarts and broken memories."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from homeassistant.core import HomeAssistant, State
from pytest_homeassistant_custom_component.common import mock_restore_cache_with_extra_data

from coordinator.protocol.messages import Side
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.day import DayCounter
from tests.component.community import INTERVAL_S, NOON
from tests.component.entities_help import buy, settle
from tests.component.rig import Rig
from tests.component.test_switches import switch

DAY_S = 86_400
WHERE_IT_IS_MIDNIGHT = "America/Los_Angeles"  # at NOON, on that day


def shown(rig: Rig, entry: EnergyTradeConfigEntry, key: str) -> float:
    return float(rig.state(entry, key).state)


def since(rig: Rig, entry: EnergyTradeConfigEntry, key: str) -> int:
    return int(dt.datetime.fromisoformat(rig.state(entry, key).attributes["last_reset"]).timestamp())


async def reload(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.hass.config_entries.async_unload(entry.entry_id)
    await rig.hass.config_entries.async_setup(entry.entry_id)
    await rig.live(entry)


async def test_what_is_settled_today_ends_at_local_midnight(rig: Rig, hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone(WHERE_IT_IS_MIDNIGHT)
    entry = await rig.join()
    await settle(rig, entry, await buy(rig, entry))
    assert shown(rig, entry, "energy_bought_today") == 0.06
    assert shown(rig, entry, "money_paid_today") == 0.0144
    assert shown(rig, entry, "saved_today") == 0.0048
    assert NOON < since(rig, entry, "energy_bought_today") < NOON + 60, "since it was first seen, not since midnight"
    await reload(rig, entry)
    assert shown(rig, entry, "energy_bought_today") == 0.06, "a restart changes nothing"
    rig.move_to(NOON + DAY_S - 90)  # the stream does not live through that
    await rig.until(lambda: not entry.runtime_data.coordinator.streaming)
    await rig.live(entry)
    await rig.boundary("35600.400", "812.000")
    assert shown(rig, entry, "energy_bought_today") == 0.06
    assert await rig.boundary("35600.500", "812.000") == NOON + DAY_S
    await rig.until(lambda: rig.state(entry, "energy_bought_today").state == "0")
    assert since(rig, entry, "energy_bought_today") == NOON + DAY_S
    assert shown(rig, entry, "energy_bought") == 0.06, "the total stays"


async def test_what_leaves_the_home_is_counted_over_restarts(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.delivered(entry)
    client = entry.runtime_data.coordinator.client
    await rig.until(lambda: shown(rig, entry, "data_sent_today") == client.sent_bytes / 1000)
    before = shown(rig, entry, "data_sent_today")
    assert before > 0.5, "a reading with its signature at least"
    last_word = asyncio.create_task(client.market())  # on its way while everything ends
    await asyncio.sleep(0)
    await reload(rig, entry)
    await last_word
    again = entry.runtime_data.coordinator.client
    assert again is not client
    await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    await rig.until(lambda: shown(rig, entry, "data_sent_today") == (client.sent_bytes + again.sent_bytes) / 1000)
    assert shown(rig, entry, "data_sent_today") > before + 0.5


async def test_shadow_mode_counts_what_it_would_have_gained(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """Others (here the owner by hand, and the neighbour) make the price that the plan would have traded at."""
    home, community = entry.runtime_data.home, rig.community
    assert rig.state(entry, "shadow_gain").state == "unknown"
    await switch(rig, entry, "shadow", "turn_on")
    assert shown(rig, entry, "shadow_gain") == 0
    await community.neighbour_joins()
    await rig.boundary("35600.000", "812.000")
    start = await rig.boundary("35600.100", "812.000") + INTERVAL_S
    data = {"side": "buy", "energy_kwh": 0.01, "limit_price": 0.22}
    await rig.hass.services.async_call("energy_trade", "place_order", data, blocking=True, return_response=True)
    await community.neighbour_orders(Side.SELL, 10, 200_000, start)
    await rig.until(lambda: rig.state(entry, "next_position").state == "10")
    order = home.plan[start].decision.order
    assert order is not None
    await rig.boundary("35600.200", "812.000")
    await reload(rig, entry)
    await rig.boundary("35600.300", "812.000")
    gained = order.energy_wh / 1_000 * (0.32 - 0.22)
    await rig.until(lambda: shown(rig, entry, "shadow_gain") == pytest.approx(gained))
    assert gained > 0.008
    await reload(rig, entry)
    assert shown(rig, entry, "shadow_gain") == pytest.approx(gained), "counted once"


@pytest.mark.parametrize("kept", [{}, {"gain_micro": "much", "pending": []}, {"seen_at": "yesterday"}])
async def test_a_memory_that_cannot_be_read_begins_anew(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, kept: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    states = [State(f"sensor.elm_street_{name}", "5") for name in ("energy_bought_today", "gain_in_shadow_mode")]
    mock_restore_cache_with_extra_data(hass, [(state, kept) for state in states])
    await hass.config_entries.async_setup(entry.entry_id)
    await rig.live(entry)
    assert shown(rig, entry, "energy_bought_today") == 0
    assert rig.state(entry, "shadow_gain").state == "unknown"


async def test_before_the_first_answer_nothing_is_counted(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """A start without network shows neither yesterday's value nor zero."""
    await hass.config_entries.async_unload(entry.entry_id)
    await rig.community.stop()
    counter = DayCounter(NOON - DAY_S, NOON - DAY_S, 0, 5_000, NOON - 3_600)
    state = State("sensor.elm_street_energy_bought_today", "5")
    mock_restore_cache_with_extra_data(hass, [(state, counter.to_dict())])
    await hass.config_entries.async_setup(entry.entry_id)
    assert rig.state(entry, "energy_bought_today").state == "unavailable"
    await rig.community.start()
    await rig.live(entry)
    await rig.until(lambda: rig.state(entry, "energy_bought_today").state == "0")
