"""The stream: resumed, watched, and never trusted to make sense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.update_coordinator import UpdateFailed

from custom_components.energy_trade.const import POLL_ALONE, POLL_CONNECTED
from custom_components.energy_trade.coordinator import Connection, EnergyTradeConfigEntry
from custom_components.energy_trade.protocol.client import CoordinatorUnavailable
from tests.component.rig import Rig


async def test_what_the_stream_says_is_shown_without_asking(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    coordinator = entry.runtime_data.coordinator
    await rig.until(lambda: float(rig.state(entry, "money_balance").state) == 5)
    assert coordinator.update_interval == POLL_CONNECTED
    with patch.object(coordinator.client, "account", side_effect=AssertionError("asked")):
        await rig.community.ledger.submit(_credit(entry, 1_500_000))
        await rig.until(lambda: float(rig.state(entry, "money_balance").state) == 6.5)


def _credit(entry: EnergyTradeConfigEntry, money_micro: int) -> Any:
    from coordinator.market.commands import CreditFunds  # noqa: PLC0415

    return CreditFunds(str(entry.unique_id), money_micro, "test:more")


async def test_a_broken_stream_is_resumed_and_polled_meanwhile(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    coordinator = entry.runtime_data.coordinator
    await rig.community.stop()
    await rig.until(lambda: coordinator.connection is Connection.OFFLINE)
    assert coordinator.update_interval == POLL_ALONE
    sequence = coordinator._sequence
    assert sequence is not None
    await rig.community.start()
    await rig.live(entry)
    assert coordinator._sequence is not None
    assert coordinator._sequence >= sequence


@pytest.mark.parametrize("sequence", [True, -1, 2**63])
async def test_a_number_that_no_log_has_is_not_resumed_from(entry: EnergyTradeConfigEntry, sequence: int) -> None:
    coordinator = entry.runtime_data.coordinator
    known = coordinator._sequence
    coordinator._heard({"type": "state", "sequence": sequence})
    assert (coordinator._sequence, type(coordinator._sequence)) == (known, int)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "state", "accounts": "none"},
        {"type": "state", "accounts": [{"account": "ours"}]},
        {"type": "state", "intervals": [{"delivery_start": "noon"}]},
        {"type": "state", "intervals": 7},
        {"type": "heartbeat", "at": "now"},
        {"type": "event", "event": "traded", "data": 5},
        {"type": "event", "event": "traded", "data": {"buy": []}},
        {"type": ["event"]},
        {},
    ],
)
async def test_nonsense_is_passed_over(
    rig: Rig, entry: EnergyTradeConfigEntry, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    coordinator = entry.runtime_data.coordinator
    for account in message.get("accounts", []):
        if isinstance(account, dict):
            account["account"] = entry.unique_id
    before = coordinator.latest
    coordinator._heard(message)
    assert coordinator.latest == before
    assert coordinator.connection is Connection.LIVE


async def test_a_time_that_no_clock_shows_does_not_end_the_stream(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    coordinator = entry.runtime_data.coordinator
    coordinator._heard({"type": "heartbeat", "at": 10**30})
    asked = {"type": "event", "event": "balancing_requested", "data": {"overload_w": 5, "request_id": 1}}
    coordinator._heard(asked)
    with patch.object(coordinator.home, "async_see_grid", side_effect=OverflowError("out of range")):
        coordinator._heard(asked)
    assert coordinator._stream is not None
    assert not coordinator._stream.done()
    await coordinator.async_refresh()
    assert abs(coordinator.home.clock_offset_s) <= 1


async def test_a_settlement_in_a_message_that_makes_no_sense_is_told_once_it_does(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    coordinator, told = entry.runtime_data.coordinator, []
    coordinator.home.async_listen_events(lambda kind, data: told.append((kind, data.get("bought_kwh"))))
    assert coordinator.latest is not None
    account = {**asdict(coordinator.latest.account), "account": entry.unique_id, "bought_wh": 400}
    coordinator._heard({"type": "state", "accounts": [account], "intervals": [{"delivery_start": "noon"}]})
    assert told == []
    for _ in range(2):
        coordinator._heard({"type": "state", "accounts": [account]})
    assert told == [("trade_settled", 0.4)]


async def test_what_the_stream_says_during_a_poll_is_newer_than_the_poll(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    coordinator, told = entry.runtime_data.coordinator, []
    coordinator.home.async_listen_events(lambda kind, data: told.append((kind, data.get("bought_kwh"))))
    ask = coordinator.client.account

    async def slow(address: str) -> dict[str, Any]:
        answer = await ask(address)
        newer = {**answer, "account": entry.unique_id, "bought_wh": 400}
        coordinator._heard({"type": "state", "accounts": [newer]})
        return answer

    with patch.object(coordinator.client, "account", slow):
        await coordinator.async_refresh()
    assert told == [("trade_settled", 0.4)]
    assert coordinator.latest is not None
    assert coordinator.latest.account.bought_wh == 400


async def test_nonsense_in_an_answer_is_an_outage_not_a_crash(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    coordinator = entry.runtime_data.coordinator

    async def nonsense(_address: str, _limit: int = 100) -> list[dict[str, Any]]:
        return [{"order": 5}]

    with patch.object(coordinator.client, "orders", nonsense):
        await coordinator.async_refresh()
    assert not coordinator.last_update_success
    await coordinator.async_refresh()
    assert coordinator.last_update_success


async def test_a_refused_question_is_an_outage_not_a_crash(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await rig.community.begin_anew()
    coordinator = entry.runtime_data.coordinator
    await coordinator.async_refresh()
    assert not coordinator.last_update_success
    await hass.config_entries.async_reload(entry.entry_id)
    home = entry.runtime_data.home
    await rig.until(lambda: home.blocked is not None and home.blocked.code == "not_a_member")


async def test_a_busy_coordinator_is_left_alone_for_as_long_as_it_asks(
    rig: Rig, entry: EnergyTradeConfigEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, carrier = entry.runtime_data.coordinator, entry.runtime_data.home.carrier
    pauses: list[float] = []

    async def busy(*_call: object) -> dict[str, Any]:
        raise CoordinatorUnavailable("rate_limited: slow down", 240)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.Event().wait()  # until the entry is unloaded

    monkeypatch.setattr(coordinator.client, "_call", busy)
    monkeypatch.setattr(carrier, "_pause", pause)
    await coordinator.async_refresh()
    assert isinstance(coordinator.last_exception, UpdateFailed)
    assert coordinator.last_exception.retry_after == 240
    carrier._lined_up = False
    carrier.async_deliver()
    await rig.until(lambda: pauses == [240])


async def test_reconnecting_waits_longer_each_time(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    coordinator = entry.runtime_data.coordinator
    tries = 0

    async def closed(_since: int | None) -> AsyncIterator[dict[str, Any]]:
        nonlocal tries
        tries += 1
        raise CoordinatorUnavailable("closed")
        yield {}

    with patch.object(coordinator.client, "stream", closed):
        await rig.community.stop()
        await rig.until(lambda: tries == 1)
        rig.clock.tick(2)
        await rig.until(lambda: tries == 2)
        rig.clock.tick(4)
        await rig.until(lambda: tries == 3)
        assert coordinator.connection is not Connection.LIVE
