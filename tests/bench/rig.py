"""What the benchmarks share: a coordinator of their own, signed members, load, limits, tables."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from coordinator.household.identity import Identity
from coordinator.household.terms import HomeLimits
from coordinator.protocol.client import CoordinatorClient, MarketInfo
from coordinator.protocol.keys import MeterKey, verify_meter
from coordinator.simulation.community import NotReady
from coordinator.simulation.processes import LOOPBACK, Child, Ports

INVITE = "benchmark-invite"
CONNECTIONS = 64
LIMITS = HomeLimits(24_000, 10_000)
_SETTINGS = """\
[market]
id = "bench"
name = "Bench"
interval_s = {interval_s}
gate_s = {gate_s}
horizon_s = 86400
reading_deadline_s = {reading_deadline_s}
invite = "{invite}"
welcome_credit_micro = 1000000000
members_max = 2000
orders_per_account_interval_max = 1000
orders_per_interval_max = 10000

[http]
host = "{host}"
port = {port}
address_requests_per_s = 1000000
address_burst = 1000000
account_requests_per_s = 1000000
account_burst = 1000000
"""


@dataclass(frozen=True, slots=True)
class Rig:
    """A running coordinator and a way to talk to it."""

    url: str
    data: Path
    session: aiohttp.ClientSession
    process: Child

    @property
    def client(self) -> CoordinatorClient:
        """A client without keys."""
        return CoordinatorClient(self.session, self.url, timeout_s=60)


@asynccontextmanager
async def coordinator(interval_s: int = 900, gate_s: int = 60, reading_deadline_s: int = 45) -> AsyncIterator[Rig]:
    """Run a coordinator with its own chain in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="energy-trade-bench-") as folder:
        data = Path(folder)
        port = Ports(data / "ports.json").take("coordinator")
        settings = data / "coordinator.toml"
        settings.write_text(
            _SETTINGS.format(
                interval_s=interval_s,
                gate_s=gate_s,
                reading_deadline_s=reading_deadline_s,
                invite=INVITE,
                host=LOOPBACK,
                port=port,
            )
        )
        command = [sys.executable, "-m", "coordinator", "serve", "--config", str(settings), "--data", str(data / "c")]
        process = await Child.start("the coordinator", command, data / "coordinator.log")
        url = f"http://{LOOPBACK}:{port}"
        try:
            async with client_session() as session:
                await _until_ready(session, url, process)
                yield Rig(url, data, session, process)
        finally:
            await process.stop()


def client_session() -> aiohttp.ClientSession:
    """Return a session with as many connections as the benchmarks use."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar())


async def members(rig: Rig, count: int) -> tuple[MarketInfo, list[Identity]]:
    """Let ``count`` new members join, each with a meter."""
    info = await rig.client.market()
    gate = asyncio.Semaphore(CONNECTIONS)

    async def join(number: int) -> Identity:
        identity = Identity.generate()
        async with gate:
            client = rig.client
            request = identity.join(info.market, INVITE, f"Member {number}", int(time.time()))
            await client.join(request, identity.account_key, info.domain)
            await client.register_meter(
                identity.registration(LIMITS), identity.meter_key, identity.account_key, info.domain
            )
        return identity

    return info, list(await asyncio.gather(*(join(number) for number in range(count))))


async def until_funded(rig: Rig, count: int) -> None:
    """Return when the welcome credit of so many members came through the chain."""

    async def all_funded() -> bool:
        funded = [row for row in await rig.client.accounts() if row["money_micro"] > 0]
        return len(funded) >= count

    await _until(all_funded, rig.process)


@dataclass(frozen=True, slots=True)
class Load:
    """How a run of requests went."""

    requests: int
    seconds: float
    latencies_s: Sequence[float]

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def latency(self) -> str:
        """The latencies that half and 99 % of the requests stayed below."""
        ranked = sorted(self.latencies_s)
        half, nearly_all = (ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in (0.5, 0.99))
        return f"{1000 * half:.0f}/{1000 * nearly_all:.0f} ms"


async def post_all(session: aiohttp.ClientSession, url: str, chains: Sequence[Sequence[bytes]], status: int) -> Load:
    """Post bodies over all connections; each chain is sent in its own order. Any other status is an error."""
    waiting = iter(chains)
    latencies: list[float] = []

    async def worker() -> None:
        for chain in waiting:
            for body in chain:
                began = time.perf_counter()
                async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                    text = await response.read()
                    if response.status != status:
                        raise RuntimeError(f"{url} answered {response.status}: {text[:300]!r}")
                latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return Load(len(latencies), time.perf_counter() - began, latencies)


async def echo_load(bodies: Sequence[bytes]) -> Load:
    """Return what a bare aiohttp server in a process of its own does with the same bodies."""
    with tempfile.TemporaryDirectory() as folder:
        port = Ports(Path(folder) / "ports.json").take("echo")
        command = [sys.executable, "-m", "tests.bench.rig", str(port)]
        process = await Child.start("the echo server", command, Path(folder) / "echo.log")
        try:
            async with client_session() as session:
                url = f"http://{LOOPBACK}:{port}/"
                await _until(lambda: _answers(session, url), process)
                return await post_all(session, url, [[body] for body in bodies], 200)
        finally:
            await process.stop()


def fsync_commits_per_s(rows_per_commit: int, seconds: float = 2.0) -> float:
    """Return how many SQLite commits of so many 500-byte rows this disk makes durable in a second."""
    with tempfile.TemporaryDirectory() as folder:
        file = sqlite3.connect(Path(folder) / "limit.sqlite3", autocommit=True)
        file.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (b BLOB)")
        rows = [(os.urandom(500),)] * rows_per_commit
        commits, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            file.execute("BEGIN")
            file.executemany("INSERT INTO t VALUES (?)", rows)
            file.execute("COMMIT")
            commits += 1
        file.close()
        return commits / (time.perf_counter() - began)


def verifies_per_s(seconds: float = 1.0) -> float:
    """Return how many P-256 signatures one core verifies in a second."""
    key, digest = MeterKey.generate(), bytes(range(32))
    signature = key.sign(digest)
    return calls_per_s(lambda: verify_meter(digest, signature, key.public_key), seconds)


def calls_per_s(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Return how often a call can be made in a second."""
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        call()
        calls += 1
    return calls / spent


def encoded(value: Any) -> bytes:
    """Return a request's body."""
    return json.dumps(value).encode()


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    print(f"\n{title}\n")
    for number, row in enumerate(texts):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("| " + " | ".join("-" * width for width in widths) + " |")
    print(flush=True)


def rates_table(title: str, what: str, load: Load, limits: Sequence[tuple[str, float, str]]) -> None:
    """Print a load beside the machine's own limits, each as ``(name, per second, note)``."""
    rows = [(what, f"{load.per_s:,.0f}/s", "", load.latency)]
    rows += [(name, f"{per_s:,.0f}/s", f"{100 * load.per_s / per_s:.1f} %", note) for name, per_s, note in limits]
    table(title, ("what", "rate", "of the limit", "50 %/99 % latency"), rows)


async def _until_ready(session: aiohttp.ClientSession, url: str, process: Child) -> None:
    async def ready() -> bool:
        async with session.get(f"{url}/readyz") as response:
            return response.status == 200 and (await response.json())["status"] == "ready"

    await _until(ready, process)


async def _until(done: Callable[[], Awaitable[bool]], process: Child) -> None:
    for _ in range(600):
        process.check()
        try:
            if await done():
                return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise NotReady(f"{process.name} does not answer; read {process.log}: {process.log.read_text()[-500:]}")


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.post(url, data=b"{}") as response:
        return response.status == 200


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


if __name__ == "__main__":
    server = web.Application()
    server.router.add_post("/", _echo)
    web.run_app(server, host=LOOPBACK, port=int(sys.argv[1]), print=lambda *_: None, access_log=None)
