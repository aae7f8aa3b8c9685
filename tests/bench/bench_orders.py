"""Orders per second through HTTP to durable acknowledgement, beside the machine's own limits.

Every order is signed by its own member, verified, matched and on the disk before it counts. The client sends prepared
bytes and only counts answers, so that it leaves the cores to the coordinator: one order a request, a thousand a
request, and one order a request on a timetable of 1,000 a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import batched
from pathlib import Path

from btclib_secp256k1 import recovery

from coordinator.edge.order_wire import ORDERS_MAX
from coordinator.household.identity import Identity
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Order, Side
from coordinator.simulation.processes import LOOPBACK, Child, Ports
from tests.bench.rig import (
    Load,
    calls_per_s,
    coordinator,
    encoded,
    fsync_commits_per_s,
    members,
    rates_table,
    until_funded,
)
from tests.bench.wire_load import closed_loop, connections, open_loop, request

MEMBERS = 200
INTERVALS = 24
SINGLE_EACH = 50
BATCHES = 20
STEADY_PER_S = 1_000
STEADY_S = 10
CONNECTIONS = 64
BATCH_CONNECTIONS = 3
GROUP = 64


def signed_orders(info: MarketInfo, identity: Identity, number: int, turns: range) -> Iterator[bytes]:
    """Yield one member's orders over the next hours: half buy, half sell, prices that often cross."""
    first = (int(time.time()) // info.interval_s + 2) * info.interval_s
    for turn in turns:
        order = Order(
            account=identity.account,
            market=info.market,
            delivery_start=first + (turn % INTERVALS) * info.interval_s,
            side=Side.BUY if (number + turn) % 2 else Side.SELL,
            energy_wh=100 + (number * 37 + turn * 11) % 900,
            limit_price_micro_per_kwh=150_000 + (number * 7_919 + turn * 104_729) % 100_000,
            salt=identity.salt(turn),
        )
        digest = order.digest(info.domain)
        signature, _ = recovery.sign(digest, identity.account_key.secret, verify=False)
        yield encoded({"order": order.to_wire(), "signature": "0x" + signature.hex()})


async def measure() -> None:
    """Run the loads and print the tables."""
    async with coordinator() as rig:
        info, identities = await members(rig, MEMBERS)
        await until_funded(rig, MEMBERS)
        url = f"{rig.url}/api/v1/orders"
        steady_each = STEADY_PER_S * STEADY_S // MEMBERS
        batch_each = BATCHES * ORDERS_MAX // MEMBERS
        ends = SINGLE_EACH, SINGLE_EACH + steady_each, SINGLE_EACH + steady_each + batch_each
        singles = _all(info, identities, range(ends[0]))
        steady = [
            request(url, body)
            for bodies in zip(*_all(info, identities, range(*ends[:2])), strict=True)
            for body in bodies
        ]
        many = [body for bodies in zip(*_all(info, identities, range(*ends[1:])), strict=True) for body in bodies]
        single = await closed_loop(url, [[request(url, b) for b in bodies] for bodies in singles], 201, CONNECTIONS)
        timed = await open_loop(url, steady, 201, STEADY_PER_S, CONNECTIONS)
        batches = [[request(f"{url}/batch", _batch(part))] for part in batched(many, ORDERS_MAX, strict=True)]
        batch = await closed_loop(f"{url}/batch", batches, 200, BATCH_CONNECTIONS, check=_all_placed)
    limits = await _limits([body for bodies in singles for body in bodies])
    title = f"{single.requests:,} orders of {MEMBERS} members, {CONNECTIONS} connections"
    rates_table(title, "orders acknowledged", single, limits)
    title = f"{len(many):,} orders in batches of {ORDERS_MAX:,}, {BATCH_CONNECTIONS} connections"
    in_batches = replace(batch, requests=len(many))
    rates_table(title, "orders acknowledged (latency of a batch)", in_batches, limits)
    print(
        f"{timed.requests:,} orders at {STEADY_PER_S:,}/s: answered at {timed.per_s:,.0f}/s, 50 %/99 % {timed.latency}"
    )
    print(f"other work on the {os.cpu_count()} cores: load average {os.getloadavg()[0]:.1f}")


def _all(info: MarketInfo, identities: Sequence[Identity], turns: range) -> list[list[bytes]]:
    return [list(signed_orders(info, identity, number, turns)) for number, identity in enumerate(identities)]


def _batch(bodies: Sequence[bytes]) -> bytes:
    return b'{"orders":[' + b",".join(bodies) + b"]}"


def _all_placed(body: bytes) -> None:
    refused = [order for order in json.loads(body)["orders"] if order["status"] != 201]
    if refused:
        raise RuntimeError(f"{len(refused)} orders were refused, the first: {refused[0]}")


async def _limits(bodies: Sequence[bytes]) -> tuple[tuple[str, float, str], ...]:
    async with _echo_server() as url:
        echo: Load = await closed_loop(url, [[request(url, body)] for body in bodies], 200, CONNECTIONS)
    commits = fsync_commits_per_s(GROUP)
    digest = bytes(range(32))
    signature, _ = recovery.sign(digest, bytes(31) + b"\x07", verify=False)
    return (
        ("aiohttp echo of the same bodies", echo.per_s, echo.latency),
        (f"SQLite rows in durable groups of {GROUP}", commits * GROUP, f"{commits:,.0f} commits/s"),
        ("secp256k1 recoveries on one core", calls_per_s(lambda: recovery.recover(digest, signature, 0, False)), ""),
    )


@asynccontextmanager
async def _echo_server() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        port = Ports(Path(folder) / "ports.json").take("echo")
        command = [sys.executable, "-m", "tests.bench.rig", str(port)]
        process = await Child.start("the echo server", command, Path(folder) / "echo.log")
        url = f"http://{LOOPBACK}:{port}/"
        try:
            for _ in range(100):
                process.check()
                try:
                    (one,) = await connections(url, 1)
                except ConnectionError:
                    await asyncio.sleep(0.1)
                else:
                    one.close()
                    break
            yield url
        finally:
            await process.stop()


if __name__ == "__main__":
    asyncio.run(measure())
