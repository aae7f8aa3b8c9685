"""Who may do what: money leaves by an administrator's hand only, and who may look only places no orders."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from homeassistant.auth.const import GROUP_ID_ADMIN, GROUP_ID_READ_ONLY, GROUP_ID_USER
from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import Unauthorized

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.services import (
    CANCEL_ORDER,
    CLEAR_STATISTICS,
    PLACE_ORDER,
    SET_INTERVAL,
    WITHDRAW,
)
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig
from tests.component.test_services import WALLET

ORDERS: dict[str, dict[str, Any]] = {
    PLACE_ORDER: {"side": "buy", "energy_kwh": 0.1, "limit_price": 0.1},
    CANCEL_ORDER: {},
    SET_INTERVAL: {"hold": True},
}


async def call(hass: HomeAssistant, group: str, action: str, data: dict[str, Any]) -> Any:
    owner = await hass.auth.async_create_user("First", group_ids=[GROUP_ID_ADMIN])
    user = await hass.auth.async_create_user("Somebody", group_ids=[group])
    assert owner.is_owner
    context = Context(user_id=user.id)
    return await hass.services.async_call(DOMAIN, action, data, blocking=True, context=context, return_response=True)


@pytest.mark.parametrize("group", [GROUP_ID_USER, GROUP_ID_READ_ONLY])
@pytest.mark.parametrize("action", [WITHDRAW, CLEAR_STATISTICS])
async def test_what_does_not_come_back_is_for_administrators(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, action: str, group: str
) -> None:
    data = {"amount": 1, "to": WALLET} if action == WITHDRAW else {}
    with pytest.raises(Unauthorized):
        await call(hass, group, action, data)


async def test_an_administrator_sends_money_to_a_wallet(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.until(lambda: rig.community.ledger.state.accounts[str(entry.unique_id)].money_micro == 5_000_000)
    answer = await call(hass, GROUP_ID_ADMIN, WITHDRAW, {"amount": 1, "to": WALLET})
    assert answer["status"] == "open"


@pytest.mark.parametrize("action", ORDERS)
async def test_who_may_only_look_changes_nothing(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, action: str
) -> None:
    home, data = entry.runtime_data.home, ORDERS[action]
    if action == SET_INTERVAL:
        start = home.market_time() // INTERVAL_S * INTERVAL_S + 10 * INTERVAL_S
        data = {**data, "delivery_start": dt.datetime.fromtimestamp(start, dt.UTC).isoformat()}
    with pytest.raises(Unauthorized):
        await call(hass, GROUP_ID_READ_ONLY, action, data)
    assert not rig.community.ledger.state.orders
    assert not home.agent.held


async def test_a_user_of_the_home_may_place_and_cancel_orders(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.live(entry)
    answer = await call(hass, GROUP_ID_USER, PLACE_ORDER, ORDERS[PLACE_ORDER])
    assert answer["status"] == "resting"
