"""A real chain for each test: anvil starts in a tenth of a second."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.chain.deployment import LedgerTerms, ensure_deployed
from coordinator.chain.devchain import DevChain
from coordinator.chain.rpc import Rpc
from coordinator.protocol.keys import AccountKey
from tests.chain.support import INTERVAL_S, MARKET, Community

TERMS = LedgerTerms(MARKET, INTERVAL_S, 0, 1_000_000, 10_000)


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


async def deploy(rpc: Rpc, operator: AccountKey, folder: Path) -> Community:
    """Make contracts whose genesis was yesterday, so that intervals can be settled at once."""
    yesterday = int(time.time()) - 86_400
    return Community(await ensure_deployed(rpc, operator, folder, TERMS, yesterday))
