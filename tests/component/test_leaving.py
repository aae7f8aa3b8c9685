"""A home that is removed or disabled leaves no order behind that it would not deliver."""

from __future__ import annotations

import pytest
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.core import HomeAssistant

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.services import PLACE_ORDER
from tests.component.rig import Rig

ORDER = {"side": "buy", "energy_kwh": 0.1, "limit_price": 0.1}


async def with_an_order(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.live(entry)
    answer = await rig.hass.services.async_call(DOMAIN, PLACE_ORDER, ORDER, blocking=True, return_response=True)
    assert answer is not None
    assert answer["status"] == "resting"
    await rig.delivered(entry)


def standing(rig: Rig) -> int:
    """Return how many orders can still trade."""
    return sum(order.closed is None for order in rig.community.ledger.state.orders.values())


async def test_a_removed_home_takes_its_orders_back(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    await with_an_order(rig, entry)
    await hass.config_entries.async_remove(entry.entry_id)
    assert standing(rig) == 0
    assert "could not be taken back" not in caplog.text


async def test_a_disabled_home_takes_its_orders_back_and_trades_again_later(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await with_an_order(rig, entry)
    assert standing(rig) == 1
    await hass.config_entries.async_set_disabled_by(entry.entry_id, ConfigEntryDisabler.USER)
    assert standing(rig) == 0
    await hass.config_entries.async_set_disabled_by(entry.entry_id, None)
    await rig.live(entry)
    assert not any(order.open for order in entry.runtime_data.home.agent.orders)
    await with_an_order(rig, entry)


async def test_a_reload_leaves_the_orders(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await with_an_order(rig, entry)
    assert await hass.config_entries.async_reload(entry.entry_id)
    assert standing(rig) == 1


async def test_a_home_without_orders_asks_nobody(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.community.stop()
    await hass.config_entries.async_remove(entry.entry_id)
    assert "could not be taken back" not in caplog.text


async def test_orders_that_cannot_be_taken_back_are_told_and_the_removal_goes_on(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    await with_an_order(rig, entry)
    await rig.community.stop()
    await hass.config_entries.async_remove(entry.entry_id)
    assert "could not be taken back" in caplog.text
    assert not hass.config_entries.async_entries(DOMAIN)
