"""The grid asks a running coordinator for relief, on a real chain, and gets one answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coordinator.app import LEDGER_FILE
from coordinator.chain.abi import contract
from coordinator.chain.rpc import Rpc
from coordinator.ledger.verify import verify
from coordinator.market.state import state_hash
from tests.chain.conftest import transact
from tests.e2e.fast_clock import FastClock
from tests.e2e.street import StreetHome
from tests.test_app import FACTOR, Street, settings, street

GRID = contract("GridManagement")


async def ask_for_relief(here: Street, node: int) -> None:
    """Let the holder of the grid's role act; the sender has nothing on its way, so the nonce is free."""
    await quiet(here)
    deployment, operator = here.coordinator.deployment, here.coordinator.operator.address
    async with Rpc(here.coordinator.rpc_url) as rpc:
        await transact(rpc, operator, deployment.addresses.grid, GRID.encode("triggerLoadBalancing", node))


async def report_another(here: Street, node: int) -> None:
    await quiet(here)
    deployment, operator = here.coordinator.deployment, here.coordinator.operator.address
    async with Rpc(here.coordinator.rpc_url) as rpc:
        await transact(rpc, operator, deployment.addresses.grid, GRID.encode("updateGridMetrics", node, 9, 8))


async def quiet(here: Street) -> None:
    health = await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
    assert (health["status"], health["failed_effects"]) == ("ready", 0)


async def answers_on_chain(here: Street) -> list[dict[str, Any]]:
    place = here.coordinator.deployment.addresses.grid
    wanted = {"address": place, "fromBlock": "0x0", "topics": [GRID.topic("LoadBalancingAnswered")]}
    async with Rpc(here.coordinator.rpc_url) as rpc:
        found = [GRID.log("LoadBalancingAnswered", log) for log in await rpc.call("eth_getLogs", wanted)]
    return [values for values in found if values is not None]


def load_w(buyer: StreetHome) -> int:
    """Return what the buyer, the only consumer, took on average in its last interval of a minute."""
    opening, closing = (reading.consumption_wh for reading, _ in buyer.receipts[-2:])
    return (closing - opening) * 60


async def test_a_request_on_chain_is_told_and_answered_once_on_chain(tmp_path: Path) -> None:
    """A restart lies between the request and its answer."""
    config, clock = settings(tmp_path), FastClock.starting(FACTOR)
    node = config.chain.grid_node_id
    async with street(config, clock) as here:
        seller, buyer, start = await here.trade_once()
        await here.confirmed(start)
        await report_another(here, node + 1)
        await ask_for_relief(here, node + 1)
        async with here.session.ws_connect(f"{here.coordinator.url}/api/v1/stream") as socket:
            await ask_for_relief(here, node)
            told = await heard(socket, "balancing_requested")
        at_request_w = load_w(buyer)
        capacity_w = config.chain.grid_capacity_w
        stability = 1_000_000 * max(0, capacity_w - at_request_w) // capacity_w
        asked = {"node_id": node, "request_id": 1, "overload_w": max(0, at_request_w - capacity_w)}
        assert told == {**asked, "stability": stability, "load_w": at_request_w}
        before = state_hash(here.coordinator.ledger.state)
    async with street(config, clock) as here:
        assert state_hash(here.coordinator.ledger.state) == before
        assert list(here.coordinator.ledger.state.balancing) == [(node, 1)]
        for home in (seller, buyer):
            home.client = type(home.client)(here.session, here.coordinator.url)
            await home.sign_in()
        await here.confirmed(await here.trade(seller, buyer))
        await quiet(here)
        relieved_w = max(0, at_request_w - load_w(buyer))
        answer = {"nodeId": node, "requestId": 1, "relievedW": relieved_w}
        assert await answers_on_chain(here) == [answer]
        await here.confirmed(await here.trade(seller, buyer))
        await quiet(here)
        assert await answers_on_chain(here) == [answer]
        assert (await here.get("/readyz"))["trading"] == "open"
    assert verify(config.data / LEDGER_FILE).findings == []


async def heard(socket: Any, event: str) -> dict[str, Any]:
    """Return the next event of this name."""
    while True:
        message = json.loads(await socket.receive_str(timeout=15))
        if message["type"] == "event" and message["event"] == event:
            data: dict[str, Any] = message["data"]
            return data


async def test_an_answer_that_the_contract_refuses_is_final_and_trading_goes_on(tmp_path: Path) -> None:
    """Somebody with the role has answered already."""
    config = settings(tmp_path)
    async with street(config) as here:
        seller, buyer, start = await here.trade_once()
        await here.confirmed(start)
        node = config.chain.grid_node_id
        await ask_for_relief(here, node)
        deployment, operator = here.coordinator.deployment, here.coordinator.operator.address
        async with Rpc(here.coordinator.rpc_url) as rpc:
            calldata = GRID.encode("answerLoadBalancing", node, 1, 12)
            await transact(rpc, operator, deployment.addresses.grid, calldata)
        await here.confirmed(await here.trade(seller, buyer))
        health = await here.until("/readyz", lambda h: h["failed_effects"] == 1 and h["waiting_effects"] == 0)
        assert (health["status"], health["trading"]) == ("ready", "open")
        (failed,) = await here.coordinator.ledger.queries.effects("failed")
        assert (failed.key, failed.kind) == (f"balancing:{node}:1", "answer_balancing")
        assert await answers_on_chain(here) == [{"nodeId": node, "requestId": 1, "relievedW": 12}]
    assert verify(config.data / LEDGER_FILE).findings == []
