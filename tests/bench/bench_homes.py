"""CPU seconds of one interval of 1,000 homes: orders made and signed, checked, cleared, readings, settled.

``script/bench homes``. Each home is the integration's own agent behind a virtual meter; the market's side is the
ledger on a disk, without HTTP and chain. Everything runs in this process, so its CPU time is all that is used, but for
the settlement's own threads, which count too. Prints figures; judges nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.edge.signed import compact_for
from coordinator.household.agent import HouseholdAgent
from coordinator.household.identity import Identity
from coordinator.household.policies import SurplusPolicy
from coordinator.household.terms import HomeLimits
from coordinator.ledger import Committed, Ledger, StoredReading
from coordinator.market.commands import AdmitMember, CreditFunds, PlaceOrder, RegisterMeter
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Order, Reading
from coordinator.simulation.profiles import Sun
from coordinator.simulation.virtual_home import Equipment, Registers, equipment
from tests.household.world import market_info
from tests.ledger.world import DOMAIN, MARKET, RULES, START, World, open_ledger

HOMES = 1_000
INTERVAL_S = 60
LIMIT_S = 5.0
GSY_E_S = 24.0


@dataclass
class Home:
    """An agent, what is behind its meter, and the meter."""

    agent: HouseholdAgent
    behind: Equipment
    registers: Registers

    def read(self, at: int, sun: Sun) -> tuple[Reading, bytes]:
        """Sign what the meter shows."""
        self.registers = self.registers.advance(at, self.behind, sun)
        signed = self.agent.observe_boundary(at, self.registers.consumption_wh, self.registers.production_wh)
        assert isinstance(signed, list), signed
        reading = signed[0].message
        assert isinstance(reading, Reading)
        return reading, signed[0].signature

    def orders(self, at: int) -> list[tuple[Order, bytes]]:
        """Sign what the policy wants."""
        return [(item.message, item.signature) for item in self.agent.plan(at) if isinstance(item.message, Order)]


class Spent:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.by_part: dict[str, float] = {}

    @asynccontextmanager
    async def on(self, part: str) -> AsyncIterator[None]:
        """Count the block's CPU time."""
        begun = time.process_time()
        yield
        self.by_part[part] = self.by_part.get(part, 0.0) + time.process_time() - begun


def make_homes(info: MarketInfo) -> list[Home]:
    """Return the street, its batteries left out (they trade in sessions)."""
    homes: list[Home] = []
    for number in range(HOMES * 21 // 20):
        behind = equipment(number, supplier_micro_per_kwh=320_000, feed_in_micro_per_kwh=80_000)
        if behind.storage_w or len(homes) == HOMES:
            continue
        policy = SurplusPolicy(behind.sell_price_micro_per_kwh, behind.buy_price_micro_per_kwh)
        limits = HomeLimits(behind.import_limit_w, behind.export_limit_w)
        homes.append(Home(HouseholdAgent(Identity.generate(), info, policy, limits), behind, Registers(START)))
    return homes


async def join(ledger: Ledger, home: Home) -> None:
    """Let a home take part, with money."""
    identity, registration = home.agent.identity, home.agent.identity.registration(home.agent.limits)
    limits = registration.import_limit_w, registration.export_limit_w
    commands = (
        AdmitMember(identity.account, home.behind.name),
        RegisterMeter(identity.device_id, identity.account, registration.public_key, *limits, bytes(64), bytes(64)),
        CreditFunds(identity.account, 100_000_000, identity.account),
    )
    for command in commands:
        assert isinstance(await ledger.submit(command), Committed)


async def read_all(world: World, homes: list[Home], at: int, sun: Sun, spent: Spent) -> None:
    """Let every home read its meter; the ledger keeps the readings."""
    world.clock.set(at)
    async with spent.on("readings signed"):
        readings = [home.read(at, sun) for home in homes]
    async with spent.on("readings stored"):
        for stored in await asyncio.gather(*(world.ledger.store_reading(*reading) for reading in readings)):
            assert isinstance(stored, StoredReading), stored


async def measure(folder: Path) -> tuple[Spent, int, int]:
    """Return what was spent, and how many orders and trades there were."""
    info, sun, spent = market_info(market=MARKET, domain=DOMAIN), Sun(START), Spent()
    rules = replace(RULES, members_max=HOMES, compensation=True)
    world, homes = open_ledger(folder, rules=rules), make_homes(info)
    async with world.ledger:
        await asyncio.gather(*(join(world.ledger, home) for home in homes))
        for boundary in (START + INTERVAL_S, START + 2 * INTERVAL_S):
            await read_all(world, homes, boundary, sun, Spent())
        at, start = START + 2 * INTERVAL_S, START + 3 * INTERVAL_S
        async with spent.on("orders made and signed"):
            signed = [order for home in homes for order in home.orders(at)]
        async with spent.on("orders checked"):
            commands = [_checked(order, signature) for order, signature in signed]
        async with spent.on("orders matched and stored"):
            await asyncio.gather(*(world.ledger.submit(command) for command in commands))
        async with spent.on("closing auction"):
            world.clock.set(start - 10)
            await world.ledger.step()
        trades = len(world.ledger.state.intervals[start].trades)
        await read_all(world, homes, start, sun, Spent())
        await read_all(world, homes, start + INTERVAL_S, sun, spent)
        async with spent.on("settled, receipts proved"):
            await world.ledger.step()
        assert world.ledger.state.intervals[start].settlement is not None
    return spent, len(commands), trades


def _checked(order: Order, signature: bytes) -> PlaceOrder:
    digest = order.digest(DOMAIN)
    compact = compact_for(order.account, digest, signature)
    assert compact is not None
    return PlaceOrder(order, digest, compact)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        spent, orders, trades = asyncio.run(measure(Path(folder)))
    print(f"one interval of {HOMES:,} homes: {orders:,} orders, {trades:,} trades")
    print("| what                         | CPU s | of the limit of 5 s |")
    print("| ---------------------------- | ----- | ------------------- |")
    for part, seconds in (*spent.by_part.items(), ("together", sum(spent.by_part.values()))):
        print(f"| {part:<28} | {seconds:5.2f} | {seconds / LIMIT_S:19.1%} |")
    print(f"not measured here: gsy-e took about {GSY_E_S:.0f} CPU s for an interval of 999 homes in our study")


if __name__ == "__main__":
    main()
