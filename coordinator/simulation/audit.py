"""Compare the ledger's accounts with the contract's, from the chain alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..chain.abi import contract
from ..chain.contracts import Addresses, hexed, read_balances
from ..chain.logs import read_logs
from ..chain.ports import Balance, BatchSettled, Deposited, FeesCollected, IntervalCorrected, Withdrawn
from ..chain.rpc import Rpc, data, quantity
from ..protocol.client import CoordinatorClient

_PATIENCE_S = 60.0
_POLL_S = 0.5
_LOG_BLOCKS = 1_000


@dataclass(frozen=True, slots=True)
class Audit:
    """What was compared. Money in 1e-6 currency, energy in Wh; all sums are over all accounts.

    ``fees_micro`` is what batches kept as fees and none of the accounts has got.
    """

    accounts: int
    differing: tuple[str, ...]
    money_micro: int
    deposited_micro: int
    fees_micro: int
    held_micro: int
    energy_wh: int
    minted_wh: int
    burned_wh: int

    @property
    def balances_equal(self) -> bool:
        """Whether every account on chain holds exactly what the ledger says."""
        return not self.differing

    @property
    def money_off_micro(self) -> int:
        """Money that was made or lost: all accounts and fees less what was paid in; zero when all is well."""
        return self.money_micro + self.fees_micro - self.deposited_micro

    @property
    def energy_off_wh(self) -> int:
        """Energy that was made or lost: all accounts less what meters proved; zero when all is well."""
        return self.energy_wh - (self.minted_wh - self.burned_wh)

    @property
    def passed(self) -> bool:
        """Whether everything agrees to the unit."""
        return self.balances_equal and not self.money_off_micro and not self.energy_off_wh and self.fully_backed

    @property
    def fully_backed(self) -> bool:
        """Whether the contract holds exactly the currency that it owes."""
        return self.held_micro == self.money_micro + self.fees_micro


async def audit(client: CoordinatorClient, data_folder: Path) -> Audit:
    """Compare as soon as no settlement is on its way to the chain."""
    deployment = json.loads((data_folder / "deployment.json").read_text())
    async with Rpc(deployment["rpc_url"]) as rpc:
        addresses = Addresses(**deployment["addresses"])
        ledger, block = await _at_rest(client, rpc, addresses)
        chain = await read_balances(rpc, addresses, list(ledger), block["hash"])
        return await _compare(rpc, addresses, ledger, chain, block)


async def _at_rest(
    client: CoordinatorClient, rpc: Rpc, addresses: Addresses
) -> tuple[dict[str, Balance], Mapping[str, Any]]:
    """Return the ledger's balances and a block that stands for the same moment.

    Settlements go on while we look; the moment counts when nothing waits for the chain and no
    batch came in between. After a minute the last look is returned: a difference is then real.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        before = await _balances(client)
        waiting = [i for i in await client.intervals() if i["stage"] == "settled"]
        block = await rpc.call("eth_getBlockByNumber", "latest", False)
        chain = await read_balances(rpc, addresses, list(before), block["hash"])
        after = await _balances(client)
        resting = not waiting and before == after == chain
        if resting or asyncio.get_running_loop().time() > deadline:
            return after, block
        await asyncio.sleep(_POLL_S)


async def _balances(client: CoordinatorClient) -> dict[str, Balance]:
    return {row["account"]: Balance(row["money_micro"], row["energy_wh"]) for row in await client.accounts()}


async def _compare(
    rpc: Rpc,
    addresses: Addresses,
    ledger: Mapping[str, Balance],
    chain: Mapping[str, Balance],
    block: Mapping[str, Any],
) -> Audit:
    logs = await _logs(rpc, addresses, quantity(block["number"]))
    batches = [log.totals for log in logs if isinstance(log, BatchSettled)]
    corrections = [log for log in logs if isinstance(log, IntervalCorrected)]
    call = {"to": addresses.currency, "data": hexed(contract("DemoCurrency").encode("balanceOf", addresses.ledger))}
    held = data(await rpc.call("eth_call", call, {"blockHash": block["hash"]}))
    return Audit(
        accounts=len(ledger),
        differing=tuple(account for account in ledger if ledger[account] != chain[account]),
        money_micro=sum(balance.money_micro for balance in chain.values()),
        deposited_micro=sum(log.money_micro for log in logs if isinstance(log, Deposited))
        - sum(log.money_micro for log in logs if isinstance(log, Withdrawn)),
        fees_micro=sum(batch.fees_micro for batch in batches)
        - sum(log.money_micro for log in logs if isinstance(log, FeesCollected) and log.account in ledger),
        held_micro=int.from_bytes(held, "big"),
        energy_wh=sum(balance.energy_wh for balance in chain.values()),
        minted_wh=sum(batch.minted_wh for batch in batches) + sum(log.minted_wh for log in corrections),
        burned_wh=sum(batch.burned_wh for batch in batches) + sum(log.burned_wh for log in corrections),
    )


async def _logs(rpc: Rpc, addresses: Addresses, last: int) -> Sequence[object]:
    """Return the ledger contract's whole history."""
    found: list[object] = []
    for first in range(0, last + 1, _LOG_BLOCKS):
        found += await read_logs(rpc, addresses, first, min(last, first + _LOG_BLOCKS - 1))
    return found
