"""A trading coordinator's ledger, to be killed at any moment: ``python -m tests.ledger.kill_child FOLDER``.

For each line on standard input a process is forked (importing everything once saves a second each)
that works until it is killed; its pid is told first, its end last. Homes order, meter and settle as
fast as they can in a time of their own. Whatever the ledger has answered is told on standard output, a
JSON line each, before anything else is asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
import time
from pathlib import Path

from coordinator.ledger import Committed, StoredReading
from coordinator.market.commands import ConfirmSettlement, CreditFunds
from coordinator.market.state import IntervalStage
from coordinator.protocol.messages import Side
from tests.ledger.world import Home, TurnedClock, World, open_ledger

HOMES = 4
SECONDS_PER_SECOND = 40


async def main(folder: Path) -> None:
    clock = TurnedClock()
    world = open_ledger(folder, clock)
    homes = [Home(f"killed {i}") for i in range(HOMES)]
    async with world.ledger:
        clock.set(begun := await last_time(world))
        for home in homes:
            for command in home.join():
                await world.ledger.submit(command)
        tell("ready", world.ledger.sequence)
        async with asyncio.TaskGroup() as group:
            group.create_task(turn(clock, begun))
            group.create_task(world.ledger.run())
            group.create_task(confirm(world))
            for home in homes:
                group.create_task(trade(world, home))
                group.create_task(meter(world, home))
                group.create_task(deposit(world, home))


async def last_time(world: World) -> int:
    """Return the time of the log's last command: the clock goes on from there."""
    row = await world.ledger.queries.run(lambda c: c.execute("SELECT max(at) FROM log").fetchone())
    return int(row[0])


async def turn(clock: TurnedClock, begun: int) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(0.005)
        clock.set(begun + int((time.monotonic() - started) * SECONDS_PER_SECOND))


async def trade(world: World, home: Home) -> None:
    chance = random.Random()
    while True:
        start = (world.clock.now() // 60 + chance.choice((1, 2))) * 60
        home.orders = chance.getrandbits(60)
        order = home.order(chance.choice(list(Side)), chance.randint(1, 50), chance.randint(100, 300) * 1_000, start)
        if isinstance(await world.ledger.submit(order), Committed):
            tell("order", "0x" + order.digest.hex())


async def meter(world: World, home: Home) -> None:
    """Send the reading of each boundary that has passed, going on from what the ledger has."""
    stored = await world.ledger.queries.last_reading(home.meter.device_id)
    home.last = stored.reading if stored else None
    at = stored.reading.timestamp + 60 if stored else world.clock.now() // 60 * 60
    for boundary in itertools.count(at, 60):
        await world.clock.sleep_until(boundary)
        reading = home.reading(boundary, 30, 40)
        answer = await world.ledger.store_reading(reading, home.sign(reading))
        assert isinstance(answer, StoredReading), answer
        tell("reading", [home.name, reading.sequence, "0x" + answer.digest.hex()])


async def deposit(world: World, home: Home) -> None:
    while True:
        reference = f"{home.name} {random.getrandbits(60)}"
        if isinstance(await world.ledger.submit(CreditFunds(home.address, 7, reference)), Committed):
            tell("credit", reference)
        await asyncio.sleep(0.01)


async def confirm(world: World) -> None:
    """Play the chain: confirm what is settled, completing its effect."""
    for block in itertools.count(1):
        await asyncio.sleep(0.01)
        settled = [i for i in world.ledger.state.intervals.values() if i.stage is IntervalStage.SETTLED]
        for interval in settled:
            start = interval.delivery_start
            tell("settled", start)
            command = ConfirmSettlement(start, f"0x{start:x}", block, 1)
            if isinstance(await world.ledger.submit(command, completes=f"settle:{start}:0"), Committed):
                tell("confirmed", start)


def tell(what: str, value: object) -> None:
    os.write(1, (json.dumps([what, value]) + "\n").encode())


def serve(folder: Path) -> None:
    """Fork a worker per line on standard input."""
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            asyncio.run(main(folder))
            os._exit(0)
        tell("pid", pid)
        tell("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
