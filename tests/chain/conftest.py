"""A real chain for each test: anvil starts in a tenth of a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import Wanted, ensure_deployed
from coordinator.chain.devchain import DevChain
from coordinator.chain.plan import LedgerTerms
from coordinator.chain.rpc import Rpc, quantity
from coordinator.protocol.keys import AccountKey
from tests.chain.support import INTERVAL_S, MARKET, Community

TERMS = LedgerTerms(MARKET, INTERVAL_S, 0, 1_000_000, 10_000)
WANTED = Wanted(TERMS)


@pytest.fixture
def operator() -> AccountKey:
    return AccountKey.generate()


@pytest.fixture
async def chain(tmp_path: Path, operator: AccountKey) -> AsyncIterator[DevChain]:
    async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain:
        yield chain


@pytest.fixture
async def rpc(chain: DevChain) -> AsyncIterator[Rpc]:
    async with Rpc(chain.url) as rpc:
        yield rpc


@pytest.fixture
async def community(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> Community:
    return await deploy(rpc, operator, tmp_path)


async def deploy(rpc: Rpc, operator: AccountKey, folder: Path, wanted: Wanted = WANTED) -> Community:
    """Make contracts whose genesis was yesterday, so that intervals can be settled at once."""
    yesterday = int(time.time()) - 86_400
    return Community(await ensure_deployed(rpc, operator, folder, wanted, yesterday))


async def transact(rpc: Rpc, sender: str, place: str, calldata: bytes) -> None:
    """Let the node make a transaction of any account, and wait until it is mined."""
    await rpc.call("anvil_impersonateAccount", sender)
    await rpc.call("anvil_setBalance", sender, hex(10**18))
    body = {"from": sender, "to": place, "data": hexed(calldata), "gas": hex(10**6)}
    sent = await rpc.call("eth_sendTransaction", body)
    async with asyncio.timeout(10):
        while (receipt := await rpc.call("eth_getTransactionReceipt", sent)) is None:  # noqa: ASYNC110 - a node's doing
            await asyncio.sleep(0.01)
    assert quantity(receipt["status"]) == 1
