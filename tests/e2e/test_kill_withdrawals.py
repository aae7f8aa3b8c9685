"""kill -9 while money leaves: every accepted withdrawal reaches its wallet once, also when the chain loses blocks."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp
import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import load_deployment
from coordinator.chain.rpc import Rpc
from coordinator.cli import main
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Side
from tests.e2e.street import StreetHome, insist
from tests.e2e.test_kill import LIMIT_S, WELCOME_MICRO, Victim, victim

__all__ = ["victim"]

WALLET = AccountKey.from_secret(bytes([9]) * 32).address
KILLS = 8
CHAIN_KILLS = (2, 6)
FAR_S = 30 * 86_400


@pytest.mark.timeout(900)
async def test_every_accepted_withdrawal_leaves_once(victim: Victim) -> None:
    chance = random.Random(20_261_122)
    async with aiohttp.ClientSession() as session:
        client = CoordinatorClient(session, victim.url, timeout_s=3)
        home = StreetHome(Side.BUY, client, victim.clock, chance)
        await home.enter()
        await _account(home, money_micro=WELCOME_MICRO)
        taken_micro = 0
        for number in range(KILLS):
            money_micro = 1_000_000 + number
            leaving = asyncio.create_task(_withdraw(home, money_micro, number))
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            victim.kill()
            if number in CHAIN_KILLS:
                victim.kill_chain()
            victim.start()
            assert (await leaving)["status"] == "done"
            taken_micro += money_micro
        shown = await _account(home, withdrawing_micro=0, withdrawal_nonce=KILLS)
        assert shown["money_micro"] == WELCOME_MICRO - taken_micro
        assert await _wallet_holds(victim) == taken_micro
        async with session.get(f"{victim.url}/readyz") as response:
            health = await response.json()
        assert (health["trading"], health["failed_effects"]) == ("open", 0)
    assert victim.stop() == 0, victim.last_words()
    assert main(["verify", "--data", str(victim.data)]) == 0


async def _withdraw(home: StreetHome, money_micro: int, nonce: int) -> dict[str, Any]:
    """Sign once and send the same bytes until the chain has decided."""
    wanted = Withdrawal(home.account.address, WALLET, money_micro, 0, nonce, home.clock.now() + FAR_S)
    signature = home.account.sign(wanted.digest(home.info.domain))
    while True:
        answer = await insist(lambda: home.client.withdraw(wanted, signature))
        if answer["status"] != "open":
            return answer
        await asyncio.sleep(0.05)


async def _account(home: StreetHome, **values: int) -> dict[str, Any]:
    """Wait until the account shows these values."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            shown = await insist(lambda: home.client.account(home.account.address))
            if all(shown[name] == value for name, value in values.items()):
                return shown
            await asyncio.sleep(0.05)


async def _wallet_holds(victim: Victim) -> int:
    deployment = load_deployment(victim.data)
    assert deployment is not None
    port = json.loads((victim.data / "chain" / "anvil.json").read_text("ascii"))["port"]
    call = {
        "to": deployment.addresses.currency,
        "data": hexed(contract("DemoCurrency").encode("balanceOf", WALLET)),
    }
    async with Rpc(f"http://127.0.0.1:{port}") as rpc:
        return int(await rpc.call("eth_call", call, "latest"), 16)
