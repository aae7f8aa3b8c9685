"""Set-up, unloading, reloading and removal."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers.json import prepare_save_json
from homeassistant.util.file import WriteError

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.store import DurableStore
from tests.component.rig import Rig, agent_of


async def test_without_network_and_memory_it_waits(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    del hass_storage[f"{DOMAIN}.{entry.entry_id}"]
    await rig.community.stop()
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    await rig.community.start()
    assert await hass.config_entries.async_reload(entry.entry_id)


async def test_a_full_disk_is_waited_for(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    with patch("homeassistant.helpers.storage.Store._async_write_data", side_effect=WriteError("disk full")):
        assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.state is ConfigEntryState.SETUP_RETRY
    assert await hass.config_entries.async_reload(entry.entry_id)


async def test_another_market_at_the_address_is_never_signed_for(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    del hass_storage[f"{DOMAIN}.{entry.entry_id}"]
    await rig.community.begin_anew(id="oak-street")
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.error_reason_translation_key == "other_market"


async def test_without_its_keys_it_does_not_start(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    identities = hass_storage[f"{DOMAIN}.identities"]["data"]
    (place,) = identities
    secrets = identities.pop(place)
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.error_reason_translation_key == "keys_missing"
    identities[place] = {**secrets, "meter_secret": "0x"}
    assert not await hass.config_entries.async_reload(entry.entry_id)
    assert entry.error_reason_translation_key == "keys_unreadable"
    identities[place] = secrets
    assert await hass.config_entries.async_reload(entry.entry_id)


async def test_twenty_reloads_leave_nothing_behind(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    def ours() -> list[str]:
        return sorted(task.get_name() for task in asyncio.all_tasks() if "energy_trade" in task.get_name())

    async def settled() -> tuple[list[str], int]:
        await rig.live(entry)
        await rig.delivered(entry)
        lasting = [f"energy_trade {what} {entry.entry_id}" for what in ("receipts", "stream")]
        await rig.until(lambda: ours() == lasting)  # what is asked once in a while may just be under way
        return ours(), sum(hass.bus.async_listeners().values())

    tasks, listeners = await settled()
    for _ in range(20):
        assert await hass.config_entries.async_reload(entry.entry_id)
    tasks_after, listeners_after = await settled()
    assert tasks_after == tasks
    assert listeners_after <= listeners
    await rig.boundary("35600.150", "812.340")
    await rig.delivered(entry)
    assert agent_of(entry).meter.sequence == 1


async def test_removal_forgets_the_state_and_keeps_the_keys(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    own = f"{DOMAIN}.{entry.entry_id}"
    assert own in hass_storage
    for key in (f"{own}.receipts", f"{own}.statistics", f"{own}.dashboard", f"{DOMAIN}.flexibility.{entry.entry_id}"):
        hass_storage[key] = {"version": 1, "minor_version": 1, "key": key, "data": {}}
    await hass.config_entries.async_remove(entry.entry_id)
    assert [key for key in hass_storage if entry.entry_id in key] == []
    assert len(hass_storage[f"{DOMAIN}.identities"]["data"]) == 1


async def test_state_files_hold_no_key_and_key_files_are_private(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    (secrets,) = hass_storage[f"{DOMAIN}.identities"]["data"].values()
    state = json.dumps(hass_storage[f"{DOMAIN}.{entry.entry_id}"])
    assert not any(secret.removeprefix("0x") in state for secret in secrets.values())
    store: DurableStore[dict[str, Any]] = DurableStore(hass, f"{DOMAIN}.identities")
    mode, data = prepare_save_json(hass_storage[f"{DOMAIN}.identities"], encoder=None)
    await hass.async_add_executor_job(store._write_prepared_data, mode, data)
    status = await hass.async_add_executor_job(Path(str(store.path)).stat)
    assert stat.S_IMODE(status.st_mode) == 0o600


@pytest.mark.parametrize("missing", ["agent", "market"])
async def test_a_state_of_an_older_kind_does_not_stop_it(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any], missing: str
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    del hass_storage[f"{DOMAIN}.{entry.entry_id}"]["data"][missing]
    assert await hass.config_entries.async_setup(entry.entry_id)
    await rig.live(entry)


@pytest.mark.parametrize(
    "damage",
    [{"version": 9}, {"version": None}, {"data": [1]}, {"data": {"agent": {"meter": 3}}}, {"data": {"market": {}}}],
)
async def test_a_damaged_state_says_what_to_do_and_waits_for_the_backup(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any], damage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    key = f"{DOMAIN}.{entry.entry_id}"
    good, data = hass_storage[key], damage.get("data")
    damage = {"data": good["data"] | data} if isinstance(data, dict) else damage
    hass_storage[key] = good | damage
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.error_reason_translation_key == "state_unreadable"
    hass_storage[key] = good
    assert await hass.config_entries.async_reload(entry.entry_id)


@pytest.mark.parametrize("damage", [{"version": 9}, {"version": None}, {"data": [1]}, {"data": 7}])
async def test_a_damaged_key_file_says_what_to_do_and_waits_for_the_backup(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any], damage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    key = f"{DOMAIN}.identities"
    kept = hass_storage[key]  # changed in place: the one store of the keys goes on with this very object
    good = dict(kept)
    kept.update(damage)
    assert not await hass.config_entries.async_setup(entry.entry_id)
    assert entry.error_reason_translation_key == "keys_unreadable"
    kept.update(good)
    assert await hass.config_entries.async_reload(entry.entry_id)
