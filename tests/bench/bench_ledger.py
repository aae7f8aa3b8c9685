"""Measures the ledger alone: ``python -m tests.bench.bench_ledger [orders]``.

Orders and readings per second through ``submit`` and ``store_reading`` to the durable answer, with many
callers at once and with one; a settlement's time; a restart's. Signatures are checked at the edge and
are not measured here. Prints figures; judges nothing.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path

from coordinator.ledger import Committed, StoredReading
from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market.commands import PlaceOrder
from coordinator.protocol.messages import Side
from coordinator.settlement.rows import ROW_BYTES
from tests.ledger.world import RULES, START, Home, World, open_ledger

HOMES = 100
INTERVALS = 8


async def main(orders: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure(Path(folder), orders)
        for homes in (20, 200, 1000):
            await measure_settlement(Path(folder) / str(homes), homes)


async def measure(folder: Path, orders: int) -> None:
    world = open_ledger(folder)
    homes = [Home(f"bench {i}") for i in range(HOMES)]
    async with world.ledger:
        await world.join(*homes)
        for callers in (1, 20, 200, 1000):
            commands = make_orders(homes, orders if callers > 1 else orders // 20)
            await timed(f"orders, {callers} callers", commands, callers, lambda c: place(world, c))
        await timed_many(world, make_orders(homes, orders))
        for callers in (1, 100, 1000):
            rounds = 1 if callers == 1 else max(1, orders // HOMES // 2)
            await timed_readings(world, homes, callers, rounds)
        print(f"groups {world.ledger.counters.groups}, commands {world.ledger.counters.commands}")
    path = folder / "ledger.sqlite"
    print(f"file {path.stat().st_size / 1e6:.0f} MB")
    await measure_starts(folder)
    works: list[tuple[str, Callable[[], int]]] = [
        ("replay", lambda: replay(path).sequence),
        ("verify", lambda: verify(path).commands),
    ]
    for name, work in works:
        begun = time.perf_counter()
        count = work()
        print(f"{name}: {count / (time.perf_counter() - begun):,.0f} commands/s")


async def measure_starts(folder: Path) -> None:
    """Start from the log alone, make a snapshot, and start from that."""
    for name in ("the log", "a snapshot"):
        begun = time.perf_counter()
        async with open_ledger(folder).ledger as ledger:
            print(f"start from {name}: {time.perf_counter() - begun:.2f} s, {ledger.sequence:,} commands")
            begun = time.perf_counter()
            await ledger.snapshot()
            print(f"a snapshot, made by a process of its own: {time.perf_counter() - begun:.1f} s")


def make_orders(homes: Sequence[Home], count: int) -> list[PlaceOrder]:
    chance = random.Random(count)
    made = []
    for i in range(count):
        side = chance.choice(list(Side))
        start = START + 60 * chance.randint(1, INTERVALS)
        made.append(homes[i % len(homes)].order(side, chance.randint(1, 500), chance.randint(100, 300) * 1000, start))
    return made


async def place(world: World, command: PlaceOrder) -> None:
    result = await world.ledger.submit(command)
    assert isinstance(result, Committed), result


async def timed[T](name: str, items: Sequence[T], callers: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Let ``callers`` work the items off, each waiting for its answer before it goes on."""
    queue, latencies = iter(items), list[float]()

    async def caller() -> None:
        for item in queue:
            begun = time.perf_counter()
            await work(item)
            latencies.append(time.perf_counter() - begun)

    begun, begun_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    rate = len(items) / (time.perf_counter() - begun)
    cpu_us = (time.process_time() - begun_cpu) / len(items) * 1e6
    half, most = (statistics.quantiles(latencies, n=100)[place] * 1000 for place in (49, 98))
    print(f"{name}: {rate:,.0f}/s, answer in {half:.1f} ms, 99% {most:.1f} ms, processor {cpu_us:.0f} us each")


async def timed_many(world: World, commands: Sequence[PlaceOrder]) -> None:
    """Hand the commands over in thousands, as batches come."""
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for part in batched(commands, 1_000, strict=False):
        results = await world.ledger.submit_many(part)
        assert all(isinstance(result, Committed) for result in results)
    rate = len(commands) / (time.perf_counter() - begun)
    cpu_us = (time.process_time() - begun_cpu) / len(commands) * 1e6
    print(f"orders, in thousands: {rate:,.0f}/s, processor {cpu_us:.0f} us each")


async def timed_readings(world: World, homes: Sequence[Home], callers: int, rounds: int) -> None:
    made = {
        home.name: [
            (r := home.reading(START - 100_000 + 60 * ((home.last.sequence if home.last else 0) + 1), 10), home.sign(r))
            for _ in range(rounds)
        ]
        for home in homes
    }

    async def send(home: Home) -> None:
        for reading, signature in made[home.name]:
            assert isinstance(await world.ledger.store_reading(reading, signature), StoredReading)

    begun = time.perf_counter()
    if callers == 1:
        for home in homes:
            await send(home)
    else:
        await asyncio.gather(*(send(home) for home in homes))
    rate = len(homes) * rounds / (time.perf_counter() - begun)
    print(f"readings, {min(callers, len(homes))} callers: {rate:,.0f}/s")


async def measure_settlement(folder: Path, count: int) -> None:
    """Settle one interval in which every home trades with three others."""
    world = open_ledger(folder, rules=replace(RULES, members_max=count))
    homes = [Home(f"bench {i}") for i in range(count)]
    start = START + 60
    async with world.ledger:
        for home in homes:
            await asyncio.gather(*(world.ledger.submit(command) for command in home.join()))
        orders = [h.order(s, 300, 200_000, start) for i, h in enumerate(homes) for s in (list(Side)[i % 2],)]
        await asyncio.gather(*(world.ledger.submit(order) for order in orders))
        await asyncio.gather(*(world.read(home, start) for home in homes))
        world.clock.set(start + 60)
        await world.ledger.step()
        await asyncio.gather(*(world.read(home, start + 60, 250, 280) for home in homes))
        begun = time.perf_counter()
        await world.ledger.step()
        taken = time.perf_counter() - begun
        batch = await world.ledger.queries.batch(start)
        assert batch is not None
        print(f"settlement of {count} homes: {taken * 1000:.0f} ms, {len(batch.rows) // ROW_BYTES} rows")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
