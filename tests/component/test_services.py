"""The actions: what they place and withdraw, what they answer, and how they refuse."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from unittest.mock import patch

import probatio
import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.setup import async_setup_component

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.services import CANCEL_ORDER, PLACE_ORDER, SCHEMAS, WITHDRAW
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig

WALLET = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


async def call(hass: HomeAssistant, action: str, **data: Any) -> dict[str, Any]:
    response = await hass.services.async_call(DOMAIN, action, data, blocking=True, return_response=True)
    assert response is not None
    return dict(response)


async def test_an_order_by_hand_stands_in_the_market(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = (int(time.time()) // INTERVAL_S + 5) * INTERVAL_S
    local = dt.datetime.fromtimestamp(start, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    answer = await call(
        hass,
        PLACE_ORDER,
        config_entry_id=entry.entry_id,
        side="buy",
        energy_kwh=0.29,
        limit_price=0.1999,
        delivery_start=local,
    )
    assert (answer["status"], answer["remaining_wh"]) == ("resting", 290)
    order = rig.community.ledger.state.orders[bytes.fromhex(answer["order"][2:])].order
    assert (order.delivery_start, order.limit_price_micro_per_kwh) == (start, 199_900)
    assert await call(hass, CANCEL_ORDER, order=answer["order"]) == {"cancelled": [answer["order"]]}


async def test_the_default_is_the_next_open_interval_at_any_price(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    answers = [await call(hass, PLACE_ORDER, side="sell", energy_kwh=1) for _ in range(2)]
    assert len({answer["order"] for answer in answers}) == 2
    orders = [rig.community.ledger.state.orders[bytes.fromhex(a["order"][2:])].order for a in answers]
    assert {order.limit_price_micro_per_kwh for order in orders} == {None}
    assert all(order.delivery_start - INTERVAL_S <= time.time() < order.delivery_start for order in orders)
    cancelled = await call(hass, CANCEL_ORDER)
    assert sorted(cancelled["cancelled"]) == sorted(answer["order"] for answer in answers)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"side": "sell", "energy_kwh": 200}, "energy_out_of_range"),
        ({"side": "sell", "energy_kwh": 1, "limit_price": 1.5}, "price_out_of_band"),
        ({"side": "sell", "energy_kwh": 1, "delivery_start": "2027-01-15 08:00:30"}, "interval_misaligned"),
        ({"side": "sell", "energy_kwh": 1, "delivery_start": "2027-01-15 07:00:00"}, "interval_not_open"),
        ({"side": "buy", "energy_kwh": 99, "limit_price": 0.3}, "insufficient_funds"),
    ],
)
async def test_what_cannot_stand_is_refused_with_a_sentence(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, data: dict[str, Any], code: str
) -> None:
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, PLACE_ORDER, **data)
    assert refused.value.translation_key == "order_refused"
    assert (refused.value.translation_placeholders or {})["code"] == code


async def test_an_unknown_order_cannot_be_cancelled(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, CANCEL_ORDER, order="0x" + "77" * 32)
    assert (refused.value.translation_placeholders or {})["code"] == "unknown_order"


async def test_during_an_outage_an_order_waits_and_says_so(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.delivered(entry)
    await rig.community.stop()
    with patch("custom_components.energy_trade.carrier.ANSWER_S", 0.2):
        placed = await call(hass, PLACE_ORDER, side="sell", energy_kwh=1)
        other = await call(hass, PLACE_ORDER, side="sell", energy_kwh=2)
        assert placed["status"] == other["status"] == "queued"
        assert await call(hass, CANCEL_ORDER, order=other["order"]) == {"cancelled": [], "status": "queued"}
    await rig.community.start()
    entry.runtime_data.home.carrier.async_deliver()
    await rig.delivered(entry)
    assert ["0x" + digest.hex() for digest in rig.community.ledger.state.orders] == [placed["order"]]


async def test_without_a_running_entry_the_action_says_so(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    with pytest.raises(ServiceValidationError):
        await call(hass, PLACE_ORDER, config_entry_id=entry.entry_id, side="sell", energy_kwh=1)
    assert rig.community.ledger.state.orders == {}


async def test_the_actions_are_there_before_any_home_is(hass: HomeAssistant) -> None:
    """Automations are checked while entries are not loaded yet, or cannot be."""
    assert await async_setup_component(hass, DOMAIN, {})
    assert set(hass.services.async_services_for_domain(DOMAIN)) == set(SCHEMAS)


async def test_money_is_sent_to_a_wallet(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.until(lambda: rig.community.ledger.state.accounts[str(entry.unique_id)].money_micro == 5_000_000)
    answer = await call(hass, WITHDRAW, config_entry_id=entry.entry_id, amount=1.234567, to=WALLET)
    assert (answer["status"], answer["money_micro"], answer["nonce"]) == ("open", 1_234_567, 0)
    account = rig.community.ledger.state.accounts[str(entry.unique_id)]
    assert account.withdrawal is not None
    signed = account.withdrawal.withdrawal
    assert (signed.to, signed.relay_fee_micro) == (WALLET.lower(), 0)
    assert 86_000 < signed.deadline - time.time() <= 86_400
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, WITHDRAW, amount=1, to=WALLET.lower())
    assert (refused.value.translation_placeholders or {})["code"] == "withdrawal_open"
    assert account.withdrawing_micro == 1_234_567


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"amount": 5.000001, "to": WALLET}, "insufficient_funds"),
        ({"amount": 1, "to": WALLET.replace("aAeb", "AAeb")}, "recipient_invalid"),
        ({"amount": 1, "to": "0x" + "00" * 20}, "recipient_invalid"),
    ],
)
async def test_a_withdrawal_that_cannot_be_is_refused(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, data: dict[str, Any], code: str
) -> None:
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, WITHDRAW, **data)
    assert (refused.value.translation_placeholders or {})["code"] == code
    assert rig.community.ledger.state.accounts[str(entry.unique_id)].withdrawal is None


async def test_a_withdrawal_names_its_amount_and_its_wallet(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    for data in ({"amount": 1}, {"to": WALLET}, {"amount": 0, "to": WALLET}, {"amount": 1, "to": "my wallet"}):
        with pytest.raises(probatio.Invalid):
            await call(hass, WITHDRAW, **data)


async def test_during_an_outage_no_money_leaves(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    """Nothing is kept for later: who is told of the failure decides anew."""
    await rig.delivered(entry)
    await rig.community.stop()
    with pytest.raises(HomeAssistantError) as failed:
        await call(hass, WITHDRAW, amount=1, to=WALLET)
    assert failed.value.translation_key == "unavailable"
    await rig.community.start()
    assert rig.community.ledger.state.withdrawals == 0


async def test_while_somebody_else_answers_no_money_leaves(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    entry.runtime_data.home.carrier.async_hold(True)
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, WITHDRAW, amount=1, to=WALLET)
    assert refused.value.translation_key == "held"
    assert rig.community.ledger.state.withdrawals == 0
