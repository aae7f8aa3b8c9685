"""The actions that answer: book, trades, prices ahead, a policy tried, a receipt checked, the ledger exported."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.util import dt as dt_util

from coordinator.protocol.messages import Side
from custom_components.energy_trade import inquiries
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.outlook import Outlook
from custom_components.energy_trade.protocol.client import CoordinatorUnavailable
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig
from tests.component.settled import Meters, settle_trade


async def call(hass: HomeAssistant, action: str, **data: Any) -> dict[str, Any]:
    response = await hass.services.async_call(DOMAIN, action, data, blocking=True, return_response=True)
    assert response is not None
    return dict(response)


def text(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def moment(at: int) -> str:
    return dt_util.as_local(dt_util.utc_from_timestamp(at)).isoformat()


@pytest.fixture
async def street(rig: Rig, entry: EnergyTradeConfigEntry) -> EnergyTradeConfigEntry:
    """A home with a neighbour to trade with; it trades by hand only."""
    await rig.community.neighbour_joins()
    await entry.runtime_data.home.async_set_shadow(True)
    return entry


async def settled(rig: Rig, street: EnergyTradeConfigEntry) -> int:
    start = await settle_trade(rig, street, Meters())
    verifier = street.runtime_data.verifier
    await rig.until(lambda: start in verifier.rows and verifier.state.waiting == 0)
    return start


async def test_the_book_is_told_in_kwh_and_the_currency(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = (int(time.time()) // INTERVAL_S + 5) * INTERVAL_S
    await rig.community.neighbour_orders(Side.SELL, 500, 180_000, start)
    await rig.community.neighbour_orders(Side.BUY, 250, 120_000, start)
    book = await call(hass, "get_order_book", delivery_start=text(start))
    assert book["asks"] == [{"price": 0.18, "energy_kwh": 0.5, "orders": 1}]
    assert book["bids"] == [{"price": 0.12, "energy_kwh": 0.25, "orders": 1}]
    assert (book["delivery_start"], book["unit"], book["crossing"]) == (moment(start), "EUR/kWh", None)
    assert book["last_price"] is None
    empty = await call(hass, "get_order_book")
    assert (empty["asks"], empty["bids"]) == ([], [])


async def test_where_the_book_would_meet_is_told(street: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    crossed = {
        "delivery_start": 60,
        "stage": "open",
        "bids": [[None, 100, 1]],
        "asks": [],
        "crossing": {"price_micro_per_kwh": 150_000, "volume_wh": 100},
        "last_price_micro_per_kwh": 140_000,
    }
    with patch.object(street.runtime_data.coordinator.client, "book", return_value=crossed):
        book = await call(hass, "get_order_book")
    assert book["crossing"] == {"price": 0.15, "energy_kwh": 0.1}
    assert (book["bids"][0]["price"], book["last_price"]) == (None, 0.14)


@pytest.mark.parametrize("garbage", [{}, {"delivery_start": 60, "bids": [7], "asks": []}], ids=["empty", "level"])
async def test_a_book_that_makes_no_sense_is_an_error(
    street: EnergyTradeConfigEntry, hass: HomeAssistant, garbage: dict[str, Any]
) -> None:
    answer = patch.object(street.runtime_data.coordinator.client, "book", return_value=garbage)
    with answer, pytest.raises(HomeAssistantError) as failed:
        await call(hass, "get_order_book")
    assert failed.value.translation_key == "unusable"


async def test_an_unknown_interval_or_node_is_refused_with_a_sentence(
    street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    for data in ({"delivery_start": "2027-01-15 07:00:30"}, {"node": "moon"}):
        with pytest.raises(ServiceValidationError) as refused:
            await call(hass, "get_order_book", **data)
        assert (refused.value.translation_placeholders or {})["code"] == "not_found"


async def test_an_outage_is_said(rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await rig.community.stop()
    for action in ("get_order_book", "get_trades", "export_ledger"):
        with pytest.raises(HomeAssistantError) as failed:
            await call(hass, action)
        assert failed.value.translation_key == "unavailable"


async def test_trades_come_with_what_became_of_them(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await settled(rig, street)
    told = await call(hass, "get_trades")
    (trade,) = told["trades"]
    assert (trade["delivery_start"], trade["side"]) == (moment(start), "buy")
    assert (trade["ordered_kwh"], trade["traded_kwh"], trade["limit_price"]) == (0.05, 0.05, 0.15)
    assert trade["reason"] is None
    (row,) = told["settled"]
    assert (row["bought_kwh"], row["sold_kwh"], row["cost"], row["disputed"]) == (0.05, 0, 0.0075, False)
    assert (told["unsettled"], told["currency"]) == ([], "EUR")
    street.runtime_data.verifier.rows.clear()
    assert (await call(hass, "get_trades"))["unsettled"] == [moment(start)]
    later = await call(hass, "get_trades", **{"from": text(start + INTERVAL_S), "to": text(start + 9 * INTERVAL_S)})
    assert later["trades"] == later["settled"] == []


async def test_an_order_of_the_policy_comes_with_its_reason(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """The home has taken 20 Wh in each of the last intervals; its policy buys that, and says so."""
    await rig.community.neighbour_joins()
    start = (int(time.time()) // INTERVAL_S + 2) * INTERVAL_S
    for n in range(2, 6):
        await rig.community.neighbour_orders(Side.SELL, 500, 100_000, start + n * INTERVAL_S)
    for n in range(4):
        await rig.boundary(f"{35_600.12 + n / 10:.3f}", "812.340")
        await rig.delivered(entry)
    told = await call(hass, "get_trades", to=text(start + 9 * INTERVAL_S))
    assert told["trades"]
    assert told["trades"][0]["reason"]["rule"]


async def test_a_time_that_ends_too_early_is_refused(street: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    for action in ("get_trades", "export_ledger"):
        with pytest.raises(ServiceValidationError) as refused:
            await call(hass, action, **{"from": "2027-01-15 08:00:00", "to": "2027-01-15 08:00:00"})
        assert (refused.value.translation_placeholders or {})["code"] == "period_empty"


async def test_prices_ahead_are_what_is_known_and_null_what_is_not(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    home = street.runtime_data.home
    now = home.market_time() // INTERVAL_S * INTERVAL_S
    home.outlook = Outlook(prices={now + INTERVAL_S: 210_000}, supplier={now: 310_000}, price_problem="gone tomorrow")
    told = await call(hass, "get_price_forecast")
    assert (told["unit"], told["problem"]) == ("EUR/kWh", "gone tomorrow")
    first, second = told["intervals"][:2]
    info = home.agent.info
    assert (first["start"], first["end"]) == (moment(now), moment(now + INTERVAL_S))
    assert (first["expected_price"], first["supplier_price"]) == (None, 0.31)
    assert (second["expected_price"], second["supplier_price"]) == (0.21, info.supplier_micro_per_kwh / 1_000_000)
    assert first["feed_in_price"] == info.feed_in_micro_per_kwh / 1_000_000
    assert first["traded_price"] is None


async def test_the_plan_shows_in_the_prices_ahead(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    for n in range(3):
        await rig.boundary(f"{35_600.12 + n / 10:.3f}", "812.340")
    told = await call(hass, "get_price_forecast")
    planned = [interval for interval in told["intervals"] if interval["own_side"] is not None]
    assert planned
    assert planned[0]["own_side"] == "buy"
    assert planned[0]["own_limit"] > 0
    assert planned[0]["reason"]


async def test_a_receipt_is_checked_on_demand(rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    start = await settled(rig, street)
    told = await call(hass, "verify_receipt", delivery_start=text(start))
    assert (told["holds"], told["proved_by"], told["findings"]) == (True, "operator", [])
    assert (told["delivery_start"], told["receipt"]["body"]["delivery_start"]) == (moment(start), start)
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, "verify_receipt", delivery_start=text(start + INTERVAL_S))
    assert (refused.value.translation_placeholders or {})["code"] == "not_found"
    street.runtime_data.home.carrier.async_hold(True)
    with pytest.raises(ServiceValidationError) as held:
        await call(hass, "verify_receipt", delivery_start=text(start))
    assert held.value.translation_key == "held"


async def test_the_ledger_is_exported_as_text_and_as_data(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await settled(rig, street)
    told = await call(hass, "export_ledger")
    lines = told["csv"].splitlines()
    assert lines[0].startswith("delivery_start,revision,bought_wh,sold_wh,cost_eur,")
    assert lines[1].startswith(f"{start},0,50,0,0.007500,")
    assert (told["complete"], told["from"], told["currency"]) == (True, moment(start), "EUR")
    data = await call(hass, "export_ledger", format="json")
    assert [row["cost"] for row in data["rows"]] == [0.0075]
    none = await call(hass, "export_ledger", to=text(start))
    assert (none["csv"].count("\n"), none["from"], none["complete"]) == (1, None, True)
    with patch.object(inquiries, "PAGE", 1):
        assert (await call(hass, "export_ledger"))["complete"] is False


async def test_what_is_older_than_the_list_of_receipts_is_exported_page_by_page(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """The coordinator lists the newest receipts only: whoever asks for an older time shall not get nothing."""
    meters, verifier = Meters(), street.runtime_data.verifier
    first = await settle_trade(rig, street, meters)
    second = await settle_trade(rig, street, meters)
    await rig.until(lambda: {first, second} <= set(verifier.rows) and verifier.state.waiting == 0)
    asked, found = {"from": text(first - INTERVAL_S), "format": "json"}, []
    with patch.object(inquiries, "PAGE", 1), patch.object(inquiries, "EXPORTED_AT_ONCE", 2):
        page = await call(hass, "export_ledger", **asked)
        found += page["rows"]
        for _ in range(5):
            if page["complete"]:
                break
            page = await call(hass, "export_ledger", **asked, to=text(utc_of(page["from"])))
            found += page["rows"]
    assert page["complete"] is True
    assert [row["delivery_start"] for row in found] == [moment(second), moment(first)]


def utc_of(told: str) -> int:
    return int(dt.datetime.fromisoformat(told).timestamp())


async def test_an_interval_is_held_and_released(rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    start = (int(time.time()) // INTERVAL_S + 5) * INTERVAL_S
    assert await call(hass, "set_interval", delivery_start=text(start), hold=True) == {"held": [moment(start)]}
    assert start in street.runtime_data.home.agent.held
    assert await call(hass, "set_interval", delivery_start=text(start), hold=False) == {"held": []}
    for wrong, code in ((start + 30, "interval_misaligned"), (start - 10 * INTERVAL_S, "interval_not_open")):
        with pytest.raises(ServiceValidationError) as refused:
            await call(hass, "set_interval", delivery_start=text(wrong), hold=True)
        assert (refused.value.translation_placeholders or {})["code"] == code


async def test_without_a_recorder_there_is_nothing_to_simulate_or_clear(
    street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, "simulate_policy")
    assert (refused.value.translation_placeholders or {})["code"] == "no_recorder"
    with pytest.raises(ServiceValidationError) as missing:
        await call(hass, "clear_statistics")
    assert missing.value.translation_key == "recorder_missing"


@pytest.mark.parametrize("settings", [{"sell": "much"}, {"sell": 0.2, "buy": 900}], ids=["form", "policy"])
async def test_settings_that_cannot_work_are_refused(
    street: EnergyTradeConfigEntry, hass: HomeAssistant, settings: dict[str, Any]
) -> None:
    with pytest.raises(ServiceValidationError) as refused:
        await call(hass, "simulate_policy", policy="fixed", settings=settings)
    assert (refused.value.translation_placeholders or {})["code"] == "settings_invalid"


async def test_the_coordinators_silence_does_not_keep_the_ledger_from_saying_so(
    street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    client = street.runtime_data.coordinator.client
    busy = patch.object(client, "receipts", side_effect=CoordinatorUnavailable("busy"))
    with busy, pytest.raises(HomeAssistantError) as failed:
        await call(hass, "export_ledger")
    assert failed.value.translation_placeholders == {"reason": "busy"}
