"""The actions: what they place, what they answer, and how they refuse."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.services import CANCEL_ORDER, PLACE_ORDER
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig


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
    with patch("custom_components.energy_trade.home.ANSWER_S", 0.2):
        placed = await call(hass, PLACE_ORDER, side="sell", energy_kwh=1)
        other = await call(hass, PLACE_ORDER, side="sell", energy_kwh=2)
        assert placed["status"] == other["status"] == "queued"
        assert await call(hass, CANCEL_ORDER, order=other["order"]) == {"cancelled": [], "status": "queued"}
    await rig.community.start()
    entry.runtime_data.home.async_deliver()
    await rig.delivered(entry)
    assert ["0x" + digest.hex() for digest in rig.community.ledger.state.orders] == [placed["order"]]


async def test_without_a_running_entry_the_action_says_so(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await hass.config_entries.async_unload(entry.entry_id)
    with pytest.raises(ServiceValidationError):
        await call(hass, PLACE_ORDER, config_entry_id=entry.entry_id, side="sell", energy_kwh=1)
    assert rig.community.ledger.state.orders == {}
