"""Auctions as everybody sees them: on the stream, in the list, and with a certificate that anyone can check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.market.certificate import verify
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.membership import SessionRequest
from coordinator.protocol.messages import Cancel, Side
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from coordinator.protocol.signals import SignalMessage
from coordinator.solver.worker import SolverWorker
from tests.edge.support import CONFIG, DELIVERY, DOMAIN, MARKET, NOON, OPERATOR, Door, Home, open_door, place, settle_in
from tests.edge.test_stream import listening

LATER = DELIVERY + 300
SESSION = NOON + 600
WITH_SESSIONS = replace(CONFIG, market=replace(CONFIG.market, session_every_s=600))


@asynccontextmanager
async def market(folder: Path) -> AsyncIterator[Door]:
    """A market with sessions and a real solver."""
    async with SolverWorker() as solver, open_door(folder, config=WITH_SESSIONS, solver=solver) as door:
        yield door


async def rest(door: Door) -> tuple[Home, Home]:
    """Let a seller's orders rest in two intervals; return it with a buyer."""
    seller, buyer = Home(), Home(salt=1_000)
    for home in (seller, buyer):
        await settle_in(door, home)
    for start in (DELIVERY, LATER):
        await place(door, seller, seller.order(Side.SELL, 500, 150_000, delivery_start=start))
    return seller, buyer


async def listed(door: Door, kind: str) -> dict[str, Any]:
    """Wait until an auction of the kind is in the list."""
    async with asyncio.timeout(10):
        while True:
            for line in (await door.ask("GET", "/auctions")).body["auctions"]:
                if line["kind"] == kind:
                    found: dict[str, Any] = line
                    return found
            await asyncio.sleep(0.02)


async def test_a_session_trades_a_bundle_tells_everybody_and_proves_it(tmp_path: Path) -> None:
    async with market(tmp_path) as door:
        _, buyer = await rest(door)
        bundle = buyer.bundle(Side.BUY, 200_000, {DELIVERY: 400, LATER: 300})
        poor = buyer.bundle(Side.BUY, 100_000, {DELIVERY: 100, LATER: 100})
        async with listening(door) as listener:
            placed = await door.ask("POST", "/bundles", buyer.bundles_body(bundle, poor))
            assert placed.status == 201, placed.body
            shown = (await listener.next("event", "bundles_placed"))["data"]["bundles"]
            door.clock.at = SESSION
            cleared = (await listener.next("event", "session_cleared"))["data"]
            state = await listener.next("state")
            while not state["auctions"]:
                state = await listener.next("state")
        names = ["0x" + each.struct_hash().hex() for each in (bundle, poor)]
        assert [row["bundle"] for row in shown] == names
        assert shown[0]["legs"] == [leg.to_wire() for leg in bundle.legs]
        assert "salt" not in shown[0]
        assert (cleared["session_at"], cleared["outcome"]) == (SESSION, "optimal")
        assert cleared["accepted"] == [
            {"bundle": names[0], "share": [100, 100]}
        ]  # steps of its legs' greatest common divisor
        assert [interval["volume_wh"] for interval in cleared["intervals"]] == [400, 300]
        assert all(
            150_000 <= interval["nodes"][0]["price_micro_per_kwh"] <= 250_000 for interval in cleared["intervals"]
        )
        line = await listed(door, "session")
        assert line in state["auctions"]
        assert (line["at"], line["volume_wh"], line["outcome"]) == (SESSION, 700, "optimal")
        answer = await door.ask("GET", f"/session-auctions/{SESSION}")
        assert answer.body["auction"] == line
        assert verify(answer.body["certificate"]) == []
        answer.body["certificate"] = _with_one_more(answer.body["certificate"])
        assert verify(answer.body["certificate"]) != []
        token = (await door.ask("POST", "/sessions", buyer.session_body(door.clock.at))).body["token"]
        accepted = (await door.ask("GET", f"/bundles/{names[0]}", token=token)).body
        assert (accepted["status"], accepted["share"]) == ("filled", [100, 100])
        assert [leg["filled_wh"] for leg in accepted["legs"]] == [400, 300]
        assert {leg["trades"][0]["stage"] for leg in accepted["legs"]} == {"session"}


def _with_one_more(value: Any) -> Any:
    """Return a certificate whose numbers are all one more."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return value + 1
        case list():
            return [_with_one_more(item) for item in value]
        case dict():
            return {key: _with_one_more(item) for key, item in value.items()}
    raise AssertionError(value)


async def test_a_closing_auction_has_a_certificate_too(tmp_path: Path) -> None:
    config = replace(CONFIG, market=replace(CONFIG.market, continuous=False))
    async with open_door(tmp_path, config=config) as door:
        _, buyer = await rest(door)
        await place(door, buyer, buyer.order(Side.BUY, 300, 200_000))
        async with listening(door) as listener:
            door.clock.at = DELIVERY - CONFIG.market.gate_s
            closed = (await listener.next("event", "gate_closed"))["data"]
            traded = [m["data"] for m in listener.heard if m.get("event") == "traded"]
        assert (closed["price_micro_per_kwh"], closed["volume_wh"], closed["outcome"]) == (150_000, 300, "cleared")
        assert [(trade["energy_wh"], trade["stage"]) for trade in traded] == [(300, "closing_auction")]
        line = await listed(door, "closing")
        answer = await door.ask("GET", f"/auctions/{DELIVERY}")
        assert (answer.status, answer.body["auction"]) == (200, line)
        assert (line["at"], line["price_micro_per_kwh"], line["rule"]) == (DELIVERY, 150_000, closed["rule"])
        assert verify(answer.body["certificate"]) == []


async def test_an_auction_that_was_not_held_is_not_found(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        for path in (f"/auctions/{DELIVERY}", f"/session-auctions/{SESSION}"):
            answer = await door.ask("GET", path)
            assert (answer.status, answer.code) == (404, "not_found")
        assert (await door.ask("GET", "/auctions")).body == {"auctions": []}
        assert (await door.ask("GET", "/auctions?limit=0")).code == "malformed"


async def test_the_market_names_its_stages(tmp_path: Path) -> None:
    async with open_door(tmp_path, config=WITH_SESSIONS) as door:
        found = (await door.ask("GET", "/market")).body
        assert found["stages"].pop("conditional_orders_per_account_max") == 100
        assert found["stages"] | {"bundles_per_account_max": 0, "legs_per_bundle_max": 0} == {
            "continuous": True,
            "closing": True,
            "session_every_s": 600,
            "next_session_at": SESSION,
            "bundles_per_account_max": 0,
            "legs_per_bundle_max": 0,
        }
        assert found["rule"]["name"] == "uniform-midpoint-pro_rata/1"


async def test_triggers_and_signals_are_on_the_stream_but_no_condition_is(tmp_path: Path) -> None:
    condition = Condition(Signal.FREQUENCY, Comparison.AT_MOST, 49_817)
    async with open_door(tmp_path) as door:
        home = Home()
        await settle_in(door, home)
        async with listening(door) as listener:
            placed = await place(door, home, home.order(Side.SELL, 500, 150_000, condition=condition))
            shown = (await listener.next("event", "order_placed"))["data"]
            message = SignalMessage(MARKET, Signal.FREQUENCY, 0, 49_700, NOON)
            body = {"signal": message.to_wire(), "signature": home.sign(message, OPERATOR)}
            assert (await door.ask("POST", "/signals", body)).status == 201
            told = (await listener.next("event", "signal_observed"))["data"]
            fired = (await listener.next("event", "order_triggered"))["data"]
            state = await listener.next("state")
            while not state["books"]:
                state = await listener.next("state")
        assert (shown["kind"], "49817" in str(listener.heard)) == ("conditional", False)
        assert told == {"signal": "frequency", "delivery_start": 0, "value": 49_700}
        assert fired == {"digest": placed["order"], "value": 49_700}
        assert state["books"][0]["asks"] == [[150_000, 500, 1]]


async def test_a_homes_own_client_does_all_of_it(tmp_path: Path) -> None:
    async with market(tmp_path) as door:
        _, buyer = await rest(door)
        client = CoordinatorClient(door.client.session, str(door.client.make_url("/")))
        info = await client.market()
        assert (info.session_every_s, info.community_micro_per_kwh, info.domain) == (600, 0, DOMAIN)
        await client.open_session(_session(buyer), buyer.account, DOMAIN)

        def sign(message: Any) -> bytes:
            return bytes.fromhex(buyer.sign(message)[2:])

        orders = [buyer.order(Side.BUY, 100, 100_000) for _ in range(3)]
        outcomes = await client.place_orders([(order, sign(order)) for order in orders])
        assert [outcome["status"] for outcome in outcomes] == [201, 201, 201]
        digest = orders[0].digest(DOMAIN)
        smaller, cancel = buyer.order(Side.BUY, 50, 100_000), Cancel(buyer.address, MARKET, digest, NOON)
        assert (await client.replace_order(smaller, sign(smaller), cancel, sign(cancel)))["status"] == "resting"
        assert (await client.order(digest))["reason"] == "replaced"
        block, other = (buyer.bundle(Side.BUY, 200_000, {DELIVERY: wh, LATER: wh}) for wh in (100, 50))
        legs = [(leg, sign(leg)) for leg in (*block.leg_orders(), *other.leg_orders())]
        assert [b["status"] for b in (await client.place_bundles([block, other], legs))["bundles"]] == ["received"] * 2
        assert (await client.bundle(block.struct_hash()))["reason"] == "auction"
        told = SignalMessage(MARKET, Signal.GRID_STATE, 0, 1, NOON)
        assert (await client.send_signal(told, OPERATOR, DOMAIN))["value"] == 1
        assert (await client.book(DELIVERY, ""))["asks"] == [[150_000, 500, 1]]
        assert await client.corrections(buyer.address) == []
        door.clock.at = SESSION
        await listed(door, "session")
        assert (await client.auctions())[0]["at"] == SESSION
        assert verify((await client.session_auction(SESSION))["certificate"]) == []
        door.clock.at = DELIVERY - CONFIG.market.gate_s
        await listed(door, "closing")
        assert (await client.auction(DELIVERY))["auction"]["kind"] == "closing"


def _session(home: Home) -> SessionRequest:
    return SessionRequest(home.address, MARKET, NOON)
