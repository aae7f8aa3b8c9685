"""The owner's switches, the choice of the policy and the button: they work at once, offline, and after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.policies import POLICIES
from tests.component.rig import Rig, agent_of

SWITCHES = {"trading": "trading", "shadow": "shadow", "away": "away", "flexibility_opt_out": "opted_out"}


async def switch(rig: Rig, entry: EnergyTradeConfigEntry, key: str, action: str) -> None:
    entity_id = rig.state(entry, key, "switch").entity_id
    await rig.hass.services.async_call("switch", action, {"entity_id": entity_id}, blocking=True)


@pytest.mark.parametrize("key", SWITCHES)
async def test_a_switch_works_offline_and_survives_a_restart(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, key: str
) -> None:
    before = rig.state(entry, key, "switch").state
    after, action = ("off", "turn_off") if before == "on" else ("on", "turn_on")
    await rig.community.stop()
    await switch(rig, entry, key, action)
    assert rig.state(entry, key, "switch").state == after
    assert getattr(agent_of(entry), SWITCHES[key]) is (after == "on")
    await hass.config_entries.async_unload(entry.entry_id)
    await hass.config_entries.async_setup(entry.entry_id)
    assert rig.state(entry, key, "switch").state == after
    await switch(rig, entry, key, "turn_on" if before == "on" else "turn_off")
    assert rig.state(entry, key, "switch").state == before


async def test_in_shadow_mode_nothing_is_placed(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await switch(rig, entry, "shadow", "turn_on")
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    assert agent_of(entry).decisions[-1].shadow
    account = await rig.community.services.views.account(str(entry.unique_id))
    assert account is not None
    assert account["open_orders"] == 0


async def test_the_button_takes_all_orders_out_of_the_market(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    assert await open_orders(rig, entry) > 0
    await press(rig, entry)
    assert await open_orders(rig, entry) == 0


async def test_the_button_says_when_the_coordinator_refuses(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    """It refuses, for one, what was signed for another market."""
    agent_of(entry).info = replace(agent_of(entry).info, market="elm-street-2")
    with pytest.raises(HomeAssistantError) as caught:
        await press(rig, entry)
    assert caught.value.translation_key == "refused"
    assert (caught.value.translation_placeholders or {})["code"] == "wrong_market"


async def test_another_policy_trades_at_once_and_after_a_restart(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    home = entry.runtime_data.home
    assert rig.state(entry, "policy", "select").state == "surplus"
    await choose(rig, entry, "fixed")
    assert rig.state(entry, "policy", "select").state == "fixed"
    assert entry.runtime_data.home is home, "no reload"
    assert entry.options["policies"]["fixed"] == POLICIES["fixed"].proposed(home.agent.info)
    assert entry.options["policies"]["surplus"]["sell"] == 160_000, "what was set before is kept"
    assert agent_of(entry).policy.kind == "fixed"
    await hass.config_entries.async_unload(entry.entry_id)
    await hass.config_entries.async_setup(entry.entry_id)
    assert rig.state(entry, "policy", "select").state == "fixed"


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "dynamic"])
async def test_every_policy_can_be_chosen_and_shows_its_prices(
    rig: Rig, entry: EnergyTradeConfigEntry, kind: str
) -> None:
    """The dynamic one needs a price source first."""
    await choose(rig, entry, kind)
    assert agent_of(entry).policy.kind == kind
    info = agent_of(entry).info
    for key in ("sell_limit", "buy_limit"):
        price = float(rig.state(entry, key).state) * 1_000_000
        assert info.feed_in_micro_per_kwh <= price <= info.supplier_micro_per_kwh


async def test_a_policy_that_was_never_set_up_is_refused_with_a_sentence(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    """The dynamic policy needs to know where its prices come from."""
    with pytest.raises(ServiceValidationError) as caught:
        await choose(rig, entry, "dynamic")
    assert caught.value.translation_key == "policy_not_set_up"
    assert rig.state(entry, "policy", "select").state == "surplus"
    assert entry.options["policy"] == "surplus"


async def choose(rig: Rig, entry: EnergyTradeConfigEntry, option: str) -> None:
    data = {"entity_id": rig.state(entry, "policy", "select").entity_id, "option": option}
    await rig.hass.services.async_call("select", "select_option", data, blocking=True)


async def press(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    data = {"entity_id": rig.state(entry, "cancel_all", "button").entity_id}
    await rig.hass.services.async_call("button", "press", data, blocking=True)


async def open_orders(rig: Rig, entry: EnergyTradeConfigEntry) -> int:
    account = await rig.community.services.views.account(str(entry.unique_id))
    assert account is not None
    return account["open_orders"]
