"""The stream: snapshot, events, resume, heartbeat, slow clients, foreign pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, WSServerHandshakeError

from coordinator.edge.routes import API
from coordinator.edge.stream import GATHER_S
from coordinator.ledger import store
from coordinator.market.commands import HaltTrading
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.messages import Side
from tests.edge.support import CONFIG, DELIVERY, NOON, Door, Home, open_door, place, record, settle_in


class Listener:
    """A client that keeps what it heard."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def next(self, kind: str, event: str | None = None) -> dict[str, Any]:
        """Return the next message of a kind, keeping all that came before it."""
        while True:
            message: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=5))
            self.heard.append(message)
            if message["type"] == kind and event in {None, message.get("event")}:
                return message

    def events(self) -> list[tuple[int, int, str]]:
        return [(m["sequence"], m["index"], m["event"]) for m in self.heard if m["type"] == "event"]


@asynccontextmanager
async def listening(door: Door, query: str = "", **options: Any) -> AsyncIterator[Listener]:
    async with door.client.ws_connect(f"{API}/stream{query}", **options) as socket:
        yield Listener(socket)


async def test_a_snapshot_comes_first_and_shows_everything(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    await place(door, buyer, buyer.order(Side.BUY, 200, 150_000))
    async with listening(door) as listener:
        snapshot = await listener.next("snapshot")
    assert snapshot["sequence"] == door.ledger.sequence
    assert snapshot["market"]["market"] == CONFIG.market.id
    assert [account["account"] for account in snapshot["accounts"]] == [seller.address, buyer.address]
    assert snapshot["books"][0]["asks"] == [[150_000, 300, 1]]
    assert [trade["energy_wh"] for trade in snapshot["trades"]] == [200]
    assert [interval["delivery_start"] for interval in snapshot["intervals"]] == [DELIVERY]


async def test_events_follow_the_snapshot_without_a_gap(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    async with listening(door) as listener:
        start = (await listener.next("snapshot"))["sequence"]
        await place(door, seller, seller.order(Side.SELL, 500, 150_000))
        await place(door, buyer, buyer.order(Side.BUY, 500, 150_000))
        await listener.next("event", "traded")
        await listener.next("event", "order_closed")
        await listener.next("event", "order_closed")
    assert listener.events() == [
        (start + 1, 0, "order_placed"),
        (start + 2, 0, "order_placed"),
        (start + 2, 1, "traded"),
        (start + 2, 2, "order_closed"),
        (start + 2, 3, "order_closed"),
    ]


async def test_an_event_is_enough_to_draw_its_row(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    async with listening(door) as listener:
        placed = await place(door, seller, seller.order(Side.SELL, 500, 150_000))
        await place(door, buyer, buyer.order(Side.BUY, 200, 150_000))
        order = (await listener.next("event", "order_placed"))["data"]
        trade = await listener.next("event", "traded")
    assert order["digest"] == placed["order"]
    assert order["order"] == {
        "account": seller.address,
        "delivery_start": DELIVERY,
        "side": "sell",
        "energy_wh": 500,
        "limit_price_micro_per_kwh": 150_000,
    }
    assert (order["kind"], order["place_of"]) == ("plain", None)
    assert trade["at"] == NOON
    assert trade["data"] == {
        "trade_id": 1,
        "delivery_start": DELIVERY,
        "buy": trade["data"]["buy"],
        "sell": placed["order"],
        "energy_wh": 200,
        "price_micro_per_kwh": 150_000,
        "grid_fee_micro_per_kwh": 0,
        "community_fee_micro_per_kwh": 0,
        "stage": "continuous",
        "buyer": buyer.address,
        "seller": seller.address,
    }


async def test_changed_rows_come_whole_and_only_those(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    async with listening(door) as listener:
        await listener.next("state")  # all that the homes did before
        await place(door, seller, seller.order(Side.SELL, 500, 150_000))
        state = await listener.next("state")
        assert [account["account"] for account in state["accounts"]] == [seller.address]
        assert state["books"] == [
            {
                "delivery_start": DELIVERY,
                "node": None,
                "stage": "open",
                "bids": [],
                "asks": [[150_000, 500, 1]],
                "crossing": None,
                "last_price_micro_per_kwh": None,
            }
        ]
        await door.ledger.submit(HaltTrading("a test"))
        halted = await listener.next("state")
        assert (halted["market"]["state"], halted["market"]["halt_reason"]) == ("halted", "a test")


async def test_resuming_brings_what_was_missed_and_nothing_twice(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    since = door.ledger.sequence
    for _ in range(3):
        await place(door, home, home.order())
    async with listening(door, f"?since={since}") as listener:
        await listener.next("state")
        await place(door, home, home.order())
        while len(listener.events()) < 4:
            await listener.next("event")
    assert listener.events() == [(since + i, 0, "order_placed") for i in (1, 2, 3, 4)]
    assert not [m for m in listener.heard if m["type"] == "snapshot"]


async def test_resuming_at_the_present_is_no_snapshot(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    async with listening(door, f"?since={door.ledger.sequence}") as listener:
        await listener.next("state")
        await place(door, home, home.order())
        await listener.next("event", "order_placed")
    assert listener.events() == [(door.ledger.sequence, 0, "order_placed")]


@pytest.mark.parametrize("since", [10_000, 2**62])
async def test_who_knows_a_future_that_is_not_ours_gets_a_snapshot(door: Door, since: int) -> None:
    async with listening(door, f"?since={since}") as listener:
        await listener.next("snapshot")


async def test_who_missed_too_much_gets_a_snapshot(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.edge.stream.REPLAY_EVENTS_MAX", 2)
    home = Home()
    await settle_in(door, home)
    for _ in range(3):
        await place(door, home, home.order())
    async with listening(door, "?since=0") as listener:
        await listener.next("snapshot")


async def test_silence_is_broken_by_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.edge.stream.HEARTBEAT_S", 0.05)
    async with open_door(tmp_path) as door, listening(door) as listener:
        beats = [await listener.next("heartbeat") for _ in range(2)]
    assert beats[0] == {"type": "heartbeat", "sequence": 1, "at": NOON}


async def test_a_client_that_does_not_read_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    config = replace(CONFIG.http, stream_queue_max=5)
    async with open_door(tmp_path, config) as door:
        home = Home()
        await settle_in(door, home)
        with door.hub.attach("192.0.2.7") as slow:  # a client whose writer never gets anywhere
            async with listening(door) as quick:
                for _ in range(12):
                    await place(door, home, home.order())
                    await quick.next("event", "order_placed")
        assert slow.code is WSCloseCode.TRY_AGAIN_LATER
        assert slow.queue.qsize() == 5
        async with door.client.get("/metrics") as response:
            assert "energy_trade_stream_slow_clients_total 1.0" in await response.text()


async def test_a_socket_that_is_not_read_is_closed_with_a_code(tmp_path: Path) -> None:
    config = replace(CONFIG.http, stream_queue_max=3)
    async with open_door(tmp_path, config) as door:
        async with door.client.ws_connect(f"{API}/stream") as socket:
            await socket.receive_str(timeout=5)
            (client,) = door.hub._clients
            for _ in range(4):  # more at once than its writer can take between two turns of the loop
                client.offer(None, '{"type":"noise"}')
            message = await socket.receive(timeout=5)
            while message.type is WSMsgType.TEXT:
                message = await socket.receive(timeout=5)
        assert socket.close_code == WSCloseCode.TRY_AGAIN_LATER
        assert message.extra == "too slow: resume with ?since"


async def test_streams_are_limited(tmp_path: Path) -> None:
    config = replace(CONFIG.http, streams_max=1)
    async with open_door(tmp_path, config) as door, listening(door) as listener:
        await listener.next("snapshot")
        with pytest.raises(WSServerHandshakeError) as refused:
            await door.client.ws_connect(f"{API}/stream")
        assert refused.value.status == 503


async def test_one_address_has_some_of_the_streams_only(tmp_path: Path) -> None:
    config = replace(CONFIG.http, streams_per_address_max=2, trusted_proxies=("127.0.0.1",))
    async with open_door(tmp_path, config) as door:
        greedy, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        async with listening(door, headers=greedy) as first, listening(door, headers=greedy) as second:
            await first.next("snapshot")
            await second.next("snapshot")
            with pytest.raises(WSServerHandshakeError) as refused:
                await door.client.ws_connect(f"{API}/stream", headers=greedy)
            assert refused.value.status == 429
            async with listening(door, headers=other) as neighbour:
                await neighbour.next("snapshot")
        async with listening(door, headers=greedy) as again:
            await again.next("snapshot")


async def test_a_busy_ledger_delays_the_rows_and_ends_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    await settle_in(door, home)
    async with listening(door) as listener:
        await listener.next("snapshot")
        monkeypatch.setattr(store, "QUESTIONS_MAX", 0)
        await place(door, home, home.order())
        await asyncio.sleep(2 * GATHER_S)
        answer = await door.ask("GET", "/accounts")
        assert (answer.status, answer.code) == (503, "busy")
        assert answer.headers["Retry-After"] == "5"
        async with door.client.ws_connect(f"{API}/stream") as late:
            await late.receive(timeout=5)
            assert late.close_code == WSCloseCode.TRY_AGAIN_LATER
        monkeypatch.undo()
        state = await listener.next("state")
        while not state["books"]:
            state = await listener.next("state")
        assert [book["delivery_start"] for book in state["books"]] == [DELIVERY]
        assert [account["open_orders"] for account in state["accounts"]] == [1]


async def test_a_foreign_page_may_not_listen_unless_it_is_allowed(tmp_path: Path) -> None:
    config = replace(CONFIG.http, allowed_origins=("https://home.example",))
    async with open_door(tmp_path, config) as door:
        for foreign in ("https://evil.example", "http://[", "null", "//"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await door.client.ws_connect(f"{API}/stream", origin=foreign)
            assert refused.value.status == 403
        own = f"http://127.0.0.1:{door.client.port}"
        for origin in (own, "https://home.example"):
            async with listening(door, origin=origin) as listener:
                await listener.next("snapshot")


async def test_a_plain_request_is_told_what_this_is(door: Door) -> None:
    answer = await door.ask("GET", "/stream")
    assert (answer.status, answer.code) == (400, "malformed")
    answer = await door.ask("GET", "/stream?since=-1")
    assert (answer.status, answer.code) == (400, "malformed")


async def test_what_a_client_says_is_passed_over(door: Door) -> None:
    async with listening(door) as listener:
        await listener.next("snapshot")
        await listener.socket.send_str("hello")
        home = Home()
        await settle_in(door, home)
        await listener.next("event", "member_admitted")


async def test_streams_end_when_the_coordinator_does(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        socket = await door.client.ws_connect(f"{API}/stream")
        await socket.receive_str(timeout=5)
        door.hub._end_all(WSCloseCode.GOING_AWAY)
        message = await socket.receive(timeout=5)
        assert message.type is WSMsgType.CLOSE
        assert socket.close_code == WSCloseCode.GOING_AWAY


async def test_a_homes_own_client_reads_the_stream(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    url = str(door.client.make_url("/"))
    stream = CoordinatorClient(door.client.session, url).stream()
    assert (await anext(stream))["type"] == "snapshot"
    await record(door, home, home.reading())
    await place(door, home, home.order())
    async with asyncio.timeout(5):
        async for message in stream:
            if message["type"] == "event":
                assert message["event"] == "order_placed"
                break
    await stream.aclose()  # type: ignore[attr-defined]
