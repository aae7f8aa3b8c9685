"""What one settlement costs by its size: packing, wall time on anvil, gas, up to a transaction's limit (EIP-7825).

Every order is of another account; half sell and half buy 1.5 kWh, with fees and a surplus. It is the
second interval, when every account has its word. Beside it what a plain transfer of the currency costs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import Deployment, Wanted, ensure_deployed
from coordinator.chain.devchain import DevChain
from coordinator.chain.plan import LedgerTerms
from coordinator.chain.rpc import Rpc, quantity
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from coordinator.protocol.typed_data import Domain
from coordinator.settlement.rows import Row, SignedOrder, pack_rows
from tests.bench.rig import table
from tests.chain.support import INTERVAL_S, MARKET, compact

SIZES = (2, 8, 32, 128, 512, 1_000, 1_390)
GAS_MAX = 16_777_216
TERMS = LedgerTerms(MARKET, INTERVAL_S, 0, 1_000_000, 10_000, fee_max_micro_per_kwh=20_000)
LEDGER = contract("EnergyLedger")


@dataclass(frozen=True, slots=True)
class Cost:
    """One batch: seconds to pack it and to have it mined, and its gas."""

    orders: int
    pack_s: float
    mine_s: float
    gas: int


class Street:
    """A ledger on anvil, and the settler."""

    def __init__(self, rpc: Rpc, deployment: Deployment) -> None:
        self.rpc = rpc
        self.deployment = deployment
        self.domain = Domain(deployment.chain_id, deployment.addresses.ledger)

    async def send(self, calldata: bytes, to: str | None = None) -> tuple[float, int]:
        """Make a transaction of the settler's; return the seconds until its receipt and its gas."""
        place = to or self.deployment.addresses.ledger
        body = {"from": self.deployment.operator, "to": place, "data": hexed(calldata), "gas": hex(GAS_MAX)}
        began = time.perf_counter()
        sent = await self.rpc.call("eth_sendTransaction", body)
        while (receipt := await self.rpc.call("eth_getTransactionReceipt", sent)) is None:  # noqa: ASYNC110 - a node's doing
            await asyncio.sleep(0.002)
        assert quantity(receipt["status"]) == 1
        return time.perf_counter() - began, quantity(receipt["gasUsed"])

    async def settle(self, number: int, homes: list[AccountKey]) -> Cost:
        """Settle one order of each home in the number-th interval."""
        start = self.deployment.genesis + number * INTERVAL_S
        orders, rows = {}, []
        for place, home in enumerate(homes):
            side = Side.SELL if place % 2 == 0 else Side.BUY
            order = Order(home.address, MARKET, start, side, 1_600, 200_000 if side is Side.SELL else 210_000)
            digest = order.digest(self.domain)
            orders[digest] = SignedOrder(order, compact(home, digest))
            metered_wh, paid = (1_750, 300_000) if side is Side.SELL else (1_500, 300_001)
            rows.append(Row(home.address, digest, side, 1_500, 0, metered_wh, paid, 1))
        began = time.perf_counter()
        packed = pack_rows(sorted(rows, key=lambda row: row.account), orders)
        calldata = LEDGER.encode("settleBatch", start, b"\x11" * 32, b"\x22" * 32, packed)
        packed_at = time.perf_counter()
        mine_s, gas = await self.send(calldata)
        return Cost(len(homes), packed_at - began, mine_s, gas)


async def measure() -> tuple[list[Cost], int]:
    """Return each size's steady batch, and the gas of a transfer."""
    operator = AccountKey.generate()
    homes = [AccountKey.from_secret(keccak256(f"bench {i}".encode())) for i in range(sum(SIZES))]
    with tempfile.TemporaryDirectory() as folder:
        async with DevChain(Path(folder) / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            yesterday = int(time.time()) - 86_400
            street = Street(rpc, await ensure_deployed(rpc, operator, Path(folder), Wanted(TERMS), yesterday))
            await rpc.call("anvil_impersonateAccount", operator.address)
            costs = []
            for size in SIZES:
                own, homes = homes[:size], homes[size:]
                for home in own:
                    await street.send(LEDGER.encode("depositFor", home.address, 1_000_000))
                await street.settle(1, own)
                costs.append(await street.settle(2, own))
            currency = contract("DemoCurrency").encode("transfer", AccountKey.generate().address, 1)
            transfers = [await street.send(currency, street.deployment.addresses.currency) for _ in range(2)]
            return costs, transfers[-1][1]


def main() -> None:
    """Print the table."""
    costs, transfer_gas = asyncio.run(measure())
    head = ["orders", "pack", "mined", "gas", "an order", "of a transaction", "trade : two transfers"]
    rows = [
        [
            f"{cost.orders:,}",
            f"{cost.pack_s * 1e3:.1f} ms",
            f"{cost.mine_s * 1e3:.0f} ms",
            f"{cost.gas:,}",
            f"{cost.gas / cost.orders:,.0f}",
            f"{cost.gas / GAS_MAX:.1%}",
            f"{cost.gas / cost.orders / transfer_gas:.2f}",
        ]
        for cost in costs
    ]
    table("One settlement by its size (steady)", head, rows)
    print(f"a transfer of the currency between holders: {transfer_gas:,} gas")


if __name__ == "__main__":
    main()
