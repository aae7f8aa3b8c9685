"""A home that is lied to about its own orders finds out by its receipts, and accuses no honest coordinator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import issue_registry as ir

from coordinator.market.state import KnownOrder
from coordinator.protocol.messages import Side
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.protocol.client import CoordinatorRefused
from custom_components.energy_trade.protocol.messages import Order
from custom_components.energy_trade.settled.verification import ReceiptVerifier
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig
from tests.component.settled import Meters, settle

type Wire = dict[str, Any]


def verifier_of(entry: EnergyTradeConfigEntry) -> ReceiptVerifier:
    return entry.runtime_data.verifier


def bought(rig: Rig, start: int) -> list[KnownOrder]:
    """The home's orders of an interval as the market knows them, oldest first."""
    known = rig.community.ledger.state.orders.values()
    return [each for each in known if each.order.delivery_start == start and each.order.side == Side.BUY]


@pytest.fixture
async def street(rig: Rig, entry: EnergyTradeConfigEntry) -> EnergyTradeConfigEntry:
    """A home that needs 100 Wh of each interval, with a neighbour who could sell."""
    await rig.community.neighbour_joins()
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    return entry


async def next_start(rig: Rig) -> int:
    """Return the nearest interval in which an order of the home stands."""
    start = (int(time.time()) // INTERVAL_S + 1) * INTERVAL_S
    await rig.until(lambda: len(bought(rig, start)) == 1)
    return start


@contextmanager
def said_to_be_over(entry: EnergyTradeConfigEntry, order: bytes) -> Iterator[None]:
    """Let the coordinator say of an order that it was cancelled before anything traded."""
    client = entry.runtime_data.coordinator.client
    truth = client.orders

    async def orders(address: str, limit: int = 100) -> list[Wire]:
        lie = {"status": "cancelled", "filled_wh": 0}
        told = await truth(address, limit)
        return [wire | lie if wire["order"] == "0x" + order.hex() else wire for wire in told]

    with patch.object(client, "orders", orders):
        yield


@contextmanager
def said_to_be_refused(entry: EnergyTradeConfigEntry) -> Iterator[None]:
    """Let the coordinator take orders, but say that it has not."""
    client = entry.runtime_data.coordinator.client
    truth = client.place_order

    async def place_order(order: Order, signature: bytes) -> Wire:
        await truth(order, signature)
        raise CoordinatorRefused(422, "insufficient_funds", "there is not enough money")

    with patch.object(client, "place_order", place_order), patch.object(client, "orders", return_value=[]):
        yield


def reason_of(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> str:
    shown = ir.async_get(hass).async_get_issue(DOMAIN, f"settlement_mismatch_{entry.entry_id}")
    assert shown is not None
    assert shown.translation_placeholders is not None
    return shown.translation_placeholders["reason"]


async def test_a_home_that_is_lied_to_signs_another_order_and_finds_out(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await next_start(rig)
    first = bought(rig, start)[0]
    with said_to_be_over(street, first.digest):
        await street.runtime_data.coordinator.async_refresh()
        await rig.until(lambda: len(bought(rig, start)) == 2)
        await rig.community.neighbour_orders(Side.SELL, 200, 100_000, start)
    assert [known.filled_wh for known in bought(rig, start)] == [100, 100], "twice what it needed"
    await street.runtime_data.coordinator.async_refresh()
    await settle(rig, street, Meters(35_600_100, 812_000), start, energy_wh=200)
    await rig.until(lambda: verifier_of(street).state.holds is False)
    (finding,) = verifier_of(street).state.disputed[0].findings
    assert finding.startswith(f"order 0x{first.digest.hex()} traded 100 Wh, but this home was told")
    assert "over with 0 Wh traded" in finding
    assert reason_of(hass, street) == finding
    assert rig.state(street, "settlement_verified", "binary_sensor").state == "off"


async def test_what_was_told_outlives_restarts_of_home_assistant(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    start = await next_start(rig)
    first = bought(rig, start)[0]
    with said_to_be_over(street, first.digest):
        await street.runtime_data.coordinator.async_refresh()
        await rig.until(lambda: len(bought(rig, start)) == 2)
        await rig.community.neighbour_orders(Side.SELL, 100, 100_000, start)
    key = f"{DOMAIN}.{street.entry_id}.receipts"
    line = ["0x" + first.digest.hex(), start, 0]
    await rig.until(lambda: line in hass_storage.get(key, {}).get("data", {}).get("told", []))
    await hass.config_entries.async_reload(street.entry_id)
    await rig.live(street)
    with patch.object(street.runtime_data.coordinator.client, "receipts", return_value=[]):
        await settle(rig, street, Meters(35_600_100, 812_000), start, energy_wh=100)
        await rig.boundary_as_it_is()
        await rig.until(lambda: street.runtime_data.home.agent.orders.get(first.digest) is None)
    await hass.config_entries.async_reload(street.entry_id)
    await rig.live(street)
    await rig.until(lambda: verifier_of(street).state.holds is False)
    assert reason_of(hass, street).startswith(f"order 0x{first.digest.hex()} traded 100 Wh")


async def test_an_order_that_was_refused_and_traded_is_found(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await street.runtime_data.home.async_set_shadow(True)
    start = (int(time.time()) // INTERVAL_S + 2) * INTERVAL_S
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start))
    order: Wire = {"config_entry_id": street.entry_id, "delivery_start": when}
    order |= {"side": "buy", "energy_kwh": 0.05, "limit_price": 0.15}
    await rig.until(lambda: all(known.closed for known in bought(rig, start)))
    with said_to_be_refused(street):
        with pytest.raises(HomeAssistantError, match="not enough money"):
            await hass.services.async_call(
                DOMAIN,
                "place_order",
                {"config_entry_id": street.entry_id, **order},
                blocking=True,
                return_response=True,
            )
        await rig.community.neighbour_orders(Side.SELL, 50, 100_000, start)
        await settle(rig, street, Meters(35_600_100, 812_000), start)
    await rig.until(lambda: verifier_of(street).state.holds is False)
    assert "traded 50 Wh" in reason_of(hass, street)


async def test_an_honest_coordinator_is_not_accused_of_what_traded_before_an_order_was_replaced(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await next_start(rig)
    first = bought(rig, start)[0]
    await rig.community.neighbour_orders(Side.SELL, 30, 100_000, start)
    ceiling = rig.state(street, "ceiling", "number").entity_id
    await hass.services.async_call("number", "set_value", {"entity_id": ceiling, "value": 0.21}, blocking=True)
    await rig.until(lambda: len(bought(rig, start)) == 2)
    assert first.closed == "cancelled"
    await rig.community.neighbour_orders(Side.SELL, 20, 100_000, start)
    await hass.config_entries.async_reload(street.entry_id)
    await rig.live(street)
    await settle(rig, street, Meters(35_600_100, 812_000), start, energy_wh=50)
    await rig.until(lambda: verifier_of(street).state.verified == 1)
    assert verifier_of(street).state.holds is True
    assert verifier_of(street)._told.by_digest()[first.digest] == 30
