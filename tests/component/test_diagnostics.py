"""Diagnostics help and give nothing away."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from homeassistant.config_entries import ConfigSubentry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError

from custom_components.energy_trade.const import BATTERY, DOMAIN, LOAD
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.diagnostics import async_get_config_entry_diagnostics
from custom_components.energy_trade.household.outlook import EventKind, GridEvent
from custom_components.energy_trade.household.verification import ProvedBy, Verdict, VerificationState
from tests.component.community import INVITE, NOON
from tests.component.entities_help import buy, settle
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig, agent_of

ORDER_ELSEWHERE = "ab" * 32
NODE_KEY = "d34db33fSecretOfTheProvider"
PRIVATE_OPTIONS = {
    "rpc_url": f"https://node.example/v3/{NODE_KEY}",
    "supplier_price": "sensor.tariff_of_erika_mustermann",
    "holiday_calendar": "calendar.erikas_holidays",
    "policies": {
        "surplus": {"sell": 160_000, "buy": 240_000},
        "dynamic": {"source": "sensor.prices_at_musterstrasse_7"},
    },
}
DEVICES = (
    ConfigSubentry(
        data=MappingProxyType(
            {
                "soc_entity": "sensor.erikas_battery",
                "capacity_wh": 10_000,
                "charge_max_w": 3_000,
                "discharge_max_w": 3_000,
                "reserve_percent": 10,
            }
        ),
        subentry_type=BATTERY,
        title="Erika's cellar",
        unique_id=None,
    ),
    ConfigSubentry(
        data=MappingProxyType(
            {"switch_entity": "switch.erikas_boiler", "power_w": 2_000, "off_max_minutes": 30, "on_min_minutes": 5}
        ),
        subentry_type=LOAD,
        title="Boiler of Erika",
        unique_id=None,
    ),
)


async def dumped(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> str:
    """Return the dump as it leaves the system."""
    return json.dumps(await async_get_config_entry_diagnostics(hass, entry), default=str).lower()


def secrets_of(rig: Rig, entry: EnergyTradeConfigEntry, hass_storage: dict[str, Any]) -> set[str]:
    """Return everything that could sign for the home or tell whose it is."""
    agent, data = agent_of(entry), entry.runtime_data
    (secrets,) = hass_storage[f"{DOMAIN}.identities"]["data"].values()
    return {
        *(secret.removeprefix("0x") for secret in secrets.values()),
        str(entry.unique_id).removeprefix("0x"),
        f"{agent.identity.device_id:064x}",
        str(agent.identity.device_id),
        agent.identity.meter_key.public_key.hex(),
        agent.identity.account_key.public_key.hex(),
        data.coordinator.client._token or "no token",
        data.coordinator.client.installation or "no installation",
        *(item.signature.hex() for item in agent.outbox),
        *(item.message.digest(agent.info.domain).hex() for item in agent.outbox),
        *(order.digest.hex() for order in (data.coordinator.latest.orders if data.coordinator.latest else ())),
        rig.community.url,
        "127.0.0.1",
        f":{rig.community.port}",
        "nr. 5",
        "elm street",
        "elm-street",
        INVITE,
        IMPORT_METER,
        EXPORT_METER,
        NODE_KEY,
        "node.example",
        "erika",
        "muster",
        entry.entry_id,
        ORDER_ELSEWHERE,
    }


async def test_no_secret_and_no_name_is_in_the_dump(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    for device in DEVICES:
        hass.config_entries.async_add_subentry(entry, device)
    await hass.async_block_till_done()
    await rig.live(entry)
    await settle(rig, entry, await buy(rig, entry))
    await rig.until(lambda: entry.runtime_data.verifier.state.last is not None)
    hass.config_entries.async_update_entry(entry, options={**entry.options, **PRIVATE_OPTIONS})
    await entry.runtime_data.outlook.async_refresh()
    finding = f"order 0x{ORDER_ELSEWHERE} is not one of this home's"
    verdict = Verdict(NOON, 0, ProvedBy.OPERATOR, (finding,))
    entry.runtime_data.verifier.state = VerificationState(1, (verdict,), verdict)
    await rig.community.stop()
    await rig.boundary("35600.400", "812.000")  # leaves a reading and orders in the outbox
    assert len(agent_of(entry).outbox) > 1
    assert "sensor.tariff_of_erika_mustermann" in entry.runtime_data.outlook.problems["supplier"]
    text = await dumped(hass, entry)
    hidden = secrets_of(rig, entry, hass_storage)
    assert [word for word in hidden if word.lower() in text] == []
    assert '"supplier": "' in text, "the fault itself is told"


async def test_the_dump_helps(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.boundary("35600.000", "812.000")
    at = await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    home, coordinator = entry.runtime_data.home, entry.runtime_data.coordinator
    await rig.until(lambda: coordinator.latest is not None and bool(coordinator.latest.orders))
    await rig.boundary("0", "812.000")
    event = GridEvent("sun", EventKind.INCREASE, at, at + 900, "calendar", "noon")
    home.outlook = replace(home.outlook, events=(event,), prices={at: 1})
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert dump["meter_refusal"] == "register_zero"
    assert dump["decisions"][-1]["reason"]["rule"] == "buy_missing"
    assert dump["decisions"][-1]["reason"]["inputs"]["limit_price_micro_per_kwh"] == 240_000
    assert dump["agent"]["meter"]["sequence"] == 2
    assert dump["last_receipt"]["sequence"] == 2
    assert dump["entry"]["options"]["policies"]["surplus"]["sell"] == 160_000
    assert dump["entry"]["version"] == "1.2"
    assert dump["market"]["interval_s"] == 60
    assert dump["grid"]["state"] == "normal"
    assert (dump["outlook"]["prices"], dump["outlook"]["events"]) == (1, [["increase", "calendar", at, at + 900]])
    assert dump["verification"] == {"verified": 0, "waiting": 0, "problem": "", "last": None, "disputed": []}
    assert dump["orders"][0]["status"] == "resting"
    assert dump["sent"]["bytes"] > 500


async def test_a_settlement_that_was_checked_is_told(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await buy(rig, entry)
    await settle(rig, entry, start)
    await rig.until(lambda: entry.runtime_data.verifier.state.last is not None)
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert dump["verification"]["last"]["delivery_start"] == start
    assert dump["verification"]["last"]["proved_by"] == "operator"
    assert dump["prices"][str(start)] == 240_000


async def test_a_home_that_never_reached_its_coordinator_can_be_dumped(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    await rig.community.stop()
    await hass.config_entries.async_setup(entry.entry_id)
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert (dump["connection"], dump["orders"], dump["prices"]) == ("offline", [], {})


async def test_a_home_that_does_not_start_can_be_dumped(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    hass_storage[f"{DOMAIN}.{entry.entry_id}"]["data"]["market"] = {"name": entry.title}
    await hass.config_entries.async_setup(entry.entry_id)
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert (dump["state"], "price_band: expected" in dump["reason"]) == ("setup_error", True)
    assert not {str(entry.unique_id), rig.community.url, entry.title} & set(json.dumps(dump).split('"'))


async def test_an_order_that_was_refused_is_told(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    info = agent_of(entry).info
    agent_of(entry).info = replace(info, market="elm-street-2")
    with pytest.raises(ServiceValidationError, match="sign for it"):
        await hass.services.async_call(
            DOMAIN, "place_order", {"side": "buy", "energy_kwh": 0.1, "limit_price": 0.2}, blocking=True
        )
    agent_of(entry).info = info
    dump = await async_get_config_entry_diagnostics(hass, entry)
    assert dump["last_rejection"] == "wrong_market"
