"""Seconds from the end of a delivery interval to its settlement on chain, for 20, 200 and 1,000 homes.

The homes are the simulated ones of the demo, in one process; each posts its reading at a random
moment of the first two seconds, so that is the least there can be. The batch cannot be smaller than
one transaction, so a plain transaction on the same kind of chain is the limit beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from coordinator.chain.rpc import Rpc
from coordinator.simulation.homes import READING_SPREAD_S
from coordinator.simulation.processes import Child
from tests.bench.rig import INVITE, Rig, coordinator, table

INTERVAL_S = 60
SETTLED = 3


async def settle_times(rig: Rig, homes: int) -> list[tuple[float, Mapping[str, Any]]]:
    """Return, per settled interval, the seconds after its end at which it was seen confirmed."""
    command = [sys.executable, "-m", "coordinator", "homes", "--url", rig.url, "--count", str(homes)]
    command += ["--data", str(rig.data / "homes"), "--sun-start", str(int(time.time()) - 180)]
    process = await Child.start("the homes", command, rig.data / "homes.log", {"ENERGY_TRADE_INVITE": INVITE})
    seen: dict[int, tuple[float, Mapping[str, Any]]] = {}
    try:
        while len(seen) < SETTLED:
            process.check()
            rig.process.check()
            for row in await rig.client.intervals(int(time.time()) - 600):
                if row["stage"] == "confirmed" and row["transaction"] and row["delivery_start"] not in seen:
                    late_s = time.time() - row["delivery_start"] - INTERVAL_S
                    seen[row["delivery_start"]] = (late_s, row)
            await asyncio.sleep(0.05)
    finally:
        await process.stop()
    return [seen[start] for start in sorted(seen)]


async def transaction_s(rig: Rig) -> float:
    """Return how long the node takes to mine a transaction that does nothing, at best."""
    deployment = json.loads((rig.data / "c" / "deployment.json").read_text())
    account = "0x" + os.urandom(20).hex()
    async with Rpc(deployment["rpc_url"]) as rpc:
        await rpc.call("anvil_impersonateAccount", account)
        await rpc.call("anvil_setBalance", account, hex(10**20))
        best = 1e9
        for _ in range(20):
            began = time.perf_counter()
            transaction = await rpc.call("eth_sendTransaction", {"from": account, "to": account})
            receipt = None
            while receipt is None:
                receipt = await rpc.call("eth_getTransactionReceipt", transaction)
            best = min(best, time.perf_counter() - began)
        return best


async def measure(sizes: list[int]) -> None:
    """Run the community in each size and print the table."""
    rows = []
    for homes in sizes:
        async with coordinator(interval_s=INTERVAL_S, gate_s=10) as rig:
            found = await settle_times(rig, homes)
            floor_s = READING_SPREAD_S + await transaction_s(rig)
        times = sorted(late_s for late_s, _ in found)
        middle_s = times[len(times) // 2]
        trades = sum(row["trades"] for _, row in found) // len(found)
        gas = sum(row["gas_used"] for _, row in found) // len(found)
        traders = sum(row["homes"] for _, row in found) // len(found)
        rows.append(
            (
                f"{homes:,}",
                f"{middle_s:.1f} s",
                f"{times[-1]:.1f} s",
                f"{floor_s:.2f} s",
                f"{middle_s / floor_s:.1f}",
                f"{traders:,}",
                f"{trades:,}",
                f"{gas:,}",
            )
        )
    title = f"interval end to settled on chain, {SETTLED} intervals of {INTERVAL_S} s each"
    head = ("homes", "median", "worst", "floor", "median : floor", "traders", "trades", "gas a batch")
    table(title, head, rows)


if __name__ == "__main__":
    asyncio.run(measure([int(text) for text in sys.argv[1:]] or [20, 200, 1_000]))
