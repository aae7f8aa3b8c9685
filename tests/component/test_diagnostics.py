"""Diagnostics help and give nothing away."""

from __future__ import annotations

import json
from typing import Any

from homeassistant.core import HomeAssistant

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.diagnostics import async_get_config_entry_diagnostics
from tests.component.community import INVITE
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig, agent_of


async def test_no_secret_and_no_name_is_in_the_dump(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.delivered(entry)
    await rig.community.stop()
    await rig.boundary("35600.100", "812.000")  # leaves a reading and an order in the outbox
    dump = await async_get_config_entry_diagnostics(hass, entry)
    text = json.dumps(dump, default=str).lower()
    agent = agent_of(entry)
    (secrets,) = hass_storage[f"{DOMAIN}.identities"]["data"].values()
    hidden = {
        *(secret.removeprefix("0x") for secret in secrets.values()),
        str(entry.unique_id).removeprefix("0x"),
        f"{agent.identity.device_id:064x}",
        agent.identity.meter_key.public_key.hex(),
        agent.identity.account_key.public_key.hex(),
        entry.runtime_data.coordinator.client._token or "no token",
        *(item.signature.hex() for item in agent.outbox),
        *(item.message.digest(agent.info.domain).hex() for item in agent.outbox),
        rig.community.url,
        f":{rig.community.port}",
        "nr. 5",
        "elm street",
        INVITE,
        IMPORT_METER,
        EXPORT_METER,
    }
    assert [word for word in hidden if word.lower() in text] == []


async def test_the_dump_helps(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    await rig.boundary("0", "812.000")
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert dump["meter_refusal"] == "register_zero"
    assert dump["decisions"][-1]["reason"]["rule"] == "buy_at_fixed_price"
    assert dump["agent"]["meter"]["sequence"] == 2
    assert dump["last_receipt"]["sequence"] == 2
    assert dump["entry"]["options"]["sell_price_micro_per_kwh"] == 160_000
    assert dump["market"]["interval_s"] == 60


async def test_a_home_that_never_reached_its_coordinator_can_be_dumped(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    await rig.community.stop()
    await hass.config_entries.async_setup(entry.entry_id)
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert (dump["connection"], dump["orders"]) == ("offline", [])
