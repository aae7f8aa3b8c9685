"""A real chain with a settled and a corrected interval, and receipts of what stands on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from coordinator.chain.devchain import DevChain
from coordinator.chain.rpc import Rpc
from coordinator.protocol.keys import AccountKey
from custom_components.energy_trade.protocol.typed_data import Domain
from custom_components.energy_trade.settled.chain_reader import ChainReader
from tests.chain.conftest import deploy
from tests.chain.support import MARKET, Community, Home, until
from tests.chain.test_proof import Envelope, envelope
from tests.chain.test_proof_corrections import corrected


@dataclass(frozen=True)
class OnChain:
    """What stands on the chain, and a way to read it."""

    community: Community
    session: aiohttp.ClientSession
    settled: Envelope
    corrected: tuple[Envelope, Envelope]
    before: Envelope
    """The settled receipt of the interval that was corrected since."""

    @property
    def url(self) -> str:
        return self.community.deployment.rpc_url

    def reader(self, url: str | None = None, *, chain_id: int | None = None, market: str = MARKET) -> ChainReader:
        known = self.community.domain
        return ChainReader(self.session, url or self.url, Domain(chain_id or known.chain_id, known.ledger), market)


@asynccontextmanager
async def on_chain(folder: Path) -> AsyncIterator[OnChain]:
    """Settle two intervals on a chain of one's own, and correct one of them."""
    operator = AccountKey.generate()
    async with DevChain(folder / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
        community = await deploy(rpc, operator, folder)
        seller, buyer = Home(), Home()
        community.welcome(buyer)
        async with community.sending(operator):
            settled = community.trade(4, seller, buyer, surplus_wh=50)
            await until(lambda: settled in community.outbox.done)
            (batch,) = community.batches.values()
            before = envelope(community.deployment, batch, buyer, community.outbox.done[settled].transaction)
            key = community.correct(gains=buyer, loses=seller)
            await until(lambda: key in community.outbox.done)
            both = (
                corrected(community, batch, seller, {"value_micro": -7, "metered_wh": -40}),
                corrected(community, batch, buyer, {"value_micro": -7, "metered_wh": -30}),
            )
            plain = community.trade(5, seller, buyer)
            await until(lambda: plain in community.outbox.done)
        other = next(b for b in community.batches.values() if b is not batch)
        receipt = envelope(community.deployment, other, buyer, community.outbox.done[plain].transaction)
        async with aiohttp.ClientSession() as session:
            yield OnChain(community, session, receipt, both, before)
