"""Many ask at once: 400 concurrent GET /accounts over 57,600 receipts, and how long the outbox takes meanwhile.

``.venv/bin/python -m tests.bench.bench_questions``
"""

from __future__ import annotations

import asyncio
import collections
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import aiohttp

from coordinator.ledger.store import insert_many
from coordinator.market.commands import AdmitMember
from tests.edge.support import CONFIG, NOON, open_door

ACCOUNTS, INTERVALS = 40, 1_440
ASKERS, ROUNDS = 400, 5


async def main() -> None:
    """Fill a ledger, let another process ask, and look at the outbox all the while."""
    http = replace(CONFIG.http, address_burst=1_000_000, address_requests_per_s=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        async with open_door(Path(folder), http) as door:
            accounts = [f"0x{number:040x}" for number in range(ACCOUNTS)]
            for account in accounts:
                await door.ledger.submit(AdmitMember(account, f"Home {account[-2:]}"))
            await door.ledger._store.write(lambda connection: _fill(connection, accounts))
            url = str(door.client.make_url("/api/v1/accounts"))
            asking = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.bench_questions", url)
            outbox, turns = await asyncio.gather(_watch(asking, door.ledger.outbox.pending), _watch(asking, _turn))
    print(f"outbox.pending: {outbox}")
    print(f"two turns of the loop, which accepts the askers meanwhile: {turns}")


async def ask(url: str) -> None:
    """Ask with all askers at once, round by round; print what was answered."""
    statuses: collections.Counter[int] = collections.Counter()
    began = perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with session.get(url) as response:
                await response.read()
                statuses[response.status] += 1

        for _ in range(ROUNDS):
            await asyncio.gather(*(one() for _ in range(ASKERS)))
    print(f"GET /accounts: {dict(statuses)} in {perf_counter() - began:.2f} s, {ASKERS} at a time")


async def _watch(asking: asyncio.subprocess.Process, question: Callable[[int], Awaitable[object]]) -> str:
    waits_ms = []
    while asking.returncode is None:
        began = perf_counter()
        await question(100)
        waits_ms.append((perf_counter() - began) * 1_000)
        await asyncio.sleep(0.005)
    waits_ms.sort()
    median, most, worst = (waits_ms[int(len(waits_ms) * part)] for part in (0.5, 0.99, 1 - 1e-9))
    return f"{len(waits_ms)} times, median {median:.1f} ms, 99 % {most:.1f} ms, worst {worst:.1f} ms"


async def _turn(_limit: int) -> None:
    for _ in range(2):
        await asyncio.sleep(0)


def _fill(connection: sqlite3.Connection, accounts: list[str]) -> None:
    body = "{" + "x" * 4_000 + "}"
    starts = range(NOON - INTERVALS * 300, NOON, 300)
    rows = [(account, start, 0, 100, 50, 7, 9, body, b"") for start in starts for account in accounts]
    connection.execute("BEGIN")
    insert_many(connection, "INSERT INTO receipts", rows)
    connection.execute("COMMIT")


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1]) if len(sys.argv) > 1 else main())
