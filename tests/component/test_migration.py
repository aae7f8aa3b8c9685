"""Entries of earlier and of later versions."""

from __future__ import annotations

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.migration import MINOR_VERSION, VERSION
from tests.component.rig import Rig, agent_of

OLD = {"sell_price_micro_per_kwh": 150_000, "buy_price_micro_per_kwh": 230_000}


async def test_two_prices_of_before_become_the_settings_of_selling_surplus(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    hass.config_entries.async_update_entry(entry, options=OLD, minor_version=1)
    await hass.config_entries.async_setup(entry.entry_id)
    assert (entry.version, entry.minor_version) == (VERSION, MINOR_VERSION)
    assert entry.options["policies"] == {"surplus": {"sell": 150_000, "buy": 230_000}}
    assert agent_of(entry).policy.kind == "surplus"
    assert (agent_of(entry).bounds.guard, agent_of(entry).shadow) == (True, False)


async def test_an_entry_of_today_is_left_as_it_is(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    before = dict(entry.options)
    await hass.config_entries.async_reload(entry.entry_id)
    assert dict(entry.options) == before


async def test_an_entry_of_a_newer_version_is_refused_with_a_sentence(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, caplog: pytest.LogCaptureFixture
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    hass.config_entries.async_update_entry(entry, minor_version=MINOR_VERSION + 1)
    await hass.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.MIGRATION_ERROR
    assert "newer version of Energy Trade" in caplog.text
