"""The home's client against a real HTTP server that answers well, badly, late and not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from coordinator.protocol.client import (
    CoordinatorClient,
    CoordinatorRefused,
    CoordinatorUnavailable,
    MarketInfo,
)
from coordinator.protocol.membership import SessionRequest
from coordinator.protocol.messages import DeviceReceipt, Reading

from .vectors import DOMAIN, account_key, meter_key

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MARKET: dict[str, Any] = {
    "market": "sunny-street",
    "name": "Sunny Street",
    "currency": "EUR",
    "version": "0.1.0",
    "state": "open",
    "time": 1_800_000_000,
    "interval_s": 900,
    "gate_s": 300,
    "horizon_s": 129_600,
    "price_band": {"min_micro_per_kwh": 0, "max_micro_per_kwh": 1_000_000},
    "tariff": {"supplier_micro_per_kwh": 320_000, "feed_in_micro_per_kwh": 80_000},
    "order_limits": {"energy_max_wh": 100_000, "per_interval_max": 8},
    "chain": {"chain_id": DOMAIN.chain_id, "ledger": DOMAIN.ledger},
    "operator": {
        "account": account_key("operator").address,
        "public_key": "0x" + account_key("operator").public_key.hex(),
    },
}
READING = Reading(meter_key("ann").device_id, 1, 1_800_000_000, 10, 20)


@asynccontextmanager
async def serving(method: str, path: str, handler: Handler) -> AsyncIterator[CoordinatorClient]:
    """Serve one route on a free loopback port and yield a client for it."""
    app = web.Application()
    app.router.add_route(method, "/api/v1" + path, handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        yield CoordinatorClient(session, f"http://{host}:{port}/", timeout_s=1.0)
    await runner.cleanup()


def answering(body: Any, status: int = 200, **headers: str) -> Handler:
    """Return a handler that gives this answer."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return handler


async def test_market_is_read_and_its_gaps_are_named() -> None:
    async with serving("GET", "/market", answering(MARKET)) as client:
        info = await client.market()
        assert info.domain == DOMAIN
        assert info.feed_in_micro_per_kwh == 80_000
    async with serving("GET", "/market", answering(MARKET | {"gate_s": "5"})) as client:
        with pytest.raises(CoordinatorUnavailable, match="gate_s: expected an integer"):
            await client.market()


def test_market_rules_that_no_store_keeps_are_refused() -> None:
    with pytest.raises(ValueError, match="gate_s: expected an integer of 64 bits"):
        MarketInfo.from_wire({**MARKET, "gate_s": 2**63})


async def test_sessions_and_fees_are_read_where_a_market_has_them() -> None:
    fees = {"community_micro_per_kwh": 5_000, "community_share_ppm": 20_000}
    stages = {"session_every_s": 3_600}
    async with serving("GET", "/market", answering(MARKET | {"stages": stages, "fees": fees})) as client:
        info = await client.market()
    assert (info.session_every_s, info.community_micro_per_kwh, info.community_share_ppm) == (3_600, 5_000, 20_000)
    assert MarketInfo.from_wire(MARKET).community_share_ppm == 0
    async with serving("GET", "/market", answering(MARKET | {"fees": {}})) as client:
        with pytest.raises(CoordinatorUnavailable, match="community_micro_per_kwh: expected an integer"):
            await client.market()


async def test_refusal_and_outage_are_told_apart() -> None:
    refusal = {"code": "gate_closed", "message": "Order a later interval.", "detail": "d"}
    async with serving("GET", "/market", answering(refusal, 422)) as client:
        with pytest.raises(CoordinatorRefused, match="later interval") as refused:
            await client.market()
        assert (refused.value.code, refused.value.status) == ("gate_closed", 422)
        assert refused.value.detail == "d"
    busy = answering(refusal | {"code": "busy"}, 503, **{"Retry-After": "7"})
    async with serving("GET", "/market", busy) as client:
        with pytest.raises(CoordinatorUnavailable) as unavailable:
            await client.market()
        assert unavailable.value.retry_after_s == 7
    async with serving("GET", "/elsewhere", answering({})) as client:
        with pytest.raises(CoordinatorUnavailable, match="without an error envelope"):
            await client.market()


async def test_garbage_silence_and_absence_are_outages() -> None:
    async def garbage(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async def endless(request: web.Request) -> web.Response:
        return web.Response(text=" " * (5 * 1024 * 1024))

    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    for handler, sentence in ((garbage, "JSON"), (endless, "4 MiB"), (silent, "no answer")):
        async with serving("GET", "/market", handler) as client:
            with pytest.raises(CoordinatorUnavailable, match=sentence):
                await client.market()
    with pytest.raises(CoordinatorUnavailable, match="no answer from .*: Cannot connect") as refused:
        async with aiohttp.ClientSession() as session:
            await CoordinatorClient(session, "http://127.0.0.1:9").market()
    assert "ConnectionKey" not in str(refused.value), "a person reads it"


async def test_an_answer_nested_without_end_is_an_outage() -> None:
    async def nested(request: web.Request) -> web.Response:
        return web.Response(text='{"a":' + "[" * 500_000)

    async with serving("GET", "/market", nested) as client:
        with pytest.raises(CoordinatorUnavailable, match="JSON"):
            await client.market()


@pytest.mark.parametrize("answer", [{}, {"orders": 5}, {"orders": ["one"]}, {"orders": None}])
async def test_an_answer_without_its_list_is_an_outage(answer: Any) -> None:
    async with serving("GET", "/accounts/0x1/orders", answering(answer)) as client:
        with pytest.raises(CoordinatorUnavailable, match="orders: expected"):
            await client.orders("0x1")


async def test_a_session_without_a_token_is_an_outage() -> None:
    request = SessionRequest(account_key("ann").address, "sunny-street", 1_800_000_000)
    async with serving("POST", "/sessions", answering({"token": 5}, 201)) as client:
        with pytest.raises(CoordinatorUnavailable, match="token: expected text"):
            await client.open_session(request, account_key("ann"), DOMAIN)


@pytest.mark.parametrize(("told", "pause_s"), [("999999999", 3_600), ("9" * 5_000, None), ("soon", None)])
async def test_nobody_is_sent_away_for_good(told: str, pause_s: int | None) -> None:
    busy = answering({"code": "busy", "message": "Later."}, 503, **{"Retry-After": told})
    async with serving("GET", "/market", busy) as client:
        with pytest.raises(CoordinatorUnavailable) as unavailable:
            await client.market()
        assert unavailable.value.retry_after_s == pause_s


def receipt_answer(signer: str = "operator", **changes: Any) -> dict[str, Any]:
    """Return the coordinator's answer to ``READING``."""
    good: dict[str, Any] = {
        "device_id": READING.device_id,
        "sequence": 1,
        "reading": READING.digest(DOMAIN),
        "committed_at": 1_800_000_001,
    }
    receipt = DeviceReceipt(**(good | changes))
    seal = account_key(signer).sign(receipt.digest(DOMAIN))
    return {"receipt": receipt.to_wire(), "signature": "0x" + seal.hex()}


async def test_only_the_operators_receipt_for_this_reading_counts() -> None:
    info = MarketInfo.from_wire(MARKET)
    signature = meter_key("ann").sign(READING.digest(DOMAIN))
    async with serving("POST", "/readings", answering(receipt_answer(), 201)) as client:
        receipt = await client.submit_reading(READING, signature, info)
        assert receipt.committed_at == 1_800_000_001
    for answer, sentence in (
        (receipt_answer("mallory"), "not signed by the market's operator"),
        (receipt_answer(sequence=2), "another reading"),
        (receipt_answer(reading=bytes(32)), "another reading"),
        ({"receipt": {}}, "unusable"),
    ):
        async with serving("POST", "/readings", answering(answer, 201)) as client:
            with pytest.raises(CoordinatorUnavailable, match=sentence):
                await client.submit_reading(READING, signature, info)


async def drain(client: CoordinatorClient, seen: list[dict[str, Any]]) -> None:
    """Collect the stream's messages until it breaks."""
    async for message in client.stream(4):
        seen.append(message)  # noqa: PERF401 - what came before the break must be kept


async def test_stream_yields_messages_and_its_end_is_an_outage() -> None:
    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "snapshot", "since": request.query.get("since")})
        await socket.send_json({"type": "event", "sequence": 5})
        await socket.close()
        return socket

    async with serving("GET", "/stream", stream) as client:
        seen: list[dict[str, Any]] = []
        with pytest.raises(CoordinatorUnavailable, match="closed"):
            await drain(client, seen)
    assert seen == [{"type": "snapshot", "since": "4"}, {"type": "event", "sequence": 5}]
