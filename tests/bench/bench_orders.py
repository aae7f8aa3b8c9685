"""Orders per second through HTTP to durable acknowledgement, beside the machine's own limits.

Every order is signed by its own member, verified, matched and on the disk before it is counted.
"""

from __future__ import annotations

import asyncio
import time

from btclib_secp256k1 import recovery

from coordinator.household.identity import Identity
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Order, Side
from tests.bench.rig import (
    calls_per_s,
    coordinator,
    echo_load,
    encoded,
    fsync_commits_per_s,
    members,
    post_all,
    rates_table,
    until_funded,
)

MEMBERS = 200
ORDERS_EACH = 25
GROUP = 64


def signed_orders(info: MarketInfo, identity: Identity, number: int) -> list[bytes]:
    """Return one member's orders over the next hours: half buy, half sell, prices that often cross."""
    first = (int(time.time()) // info.interval_s + 2) * info.interval_s
    bodies = []
    for turn in range(ORDERS_EACH):
        order = Order(
            account=identity.account,
            market=info.market,
            delivery_start=first + (turn % 10) * info.interval_s,
            side=Side.BUY if (number + turn) % 2 else Side.SELL,
            energy_wh=100 + (number * 37 + turn * 11) % 900,
            limit_price_micro_per_kwh=150_000 + (number * 7_919 + turn * 104_729) % 100_000,
            salt=identity.salt(turn),
        )
        signature = identity.account_key.sign(order.digest(info.domain))
        bodies.append(encoded({"order": order.to_wire(), "signature": "0x" + signature.hex()}))
    return bodies


async def measure() -> None:
    """Run the load and print the table."""
    async with coordinator() as rig:
        info, identities = await members(rig, MEMBERS)
        await until_funded(rig, MEMBERS)
        chains = [signed_orders(info, identity, number) for number, identity in enumerate(identities)]
        load = await post_all(rig.session, f"{rig.url}/api/v1/orders", chains, 201)
    echo = await echo_load([body for chain in chains for body in chain])
    commits = fsync_commits_per_s(GROUP)
    digest = bytes(range(32))
    signature, _ = recovery.sign(digest, bytes(31) + b"\x07", verify=False)
    limits = (
        ("aiohttp echo of the same bodies", echo.per_s, echo.latency),
        (f"SQLite rows in durable groups of {GROUP}", commits * GROUP, f"{commits:,.0f} commits/s"),
        ("secp256k1 recoveries on one core", calls_per_s(lambda: recovery.recover(digest, signature, 0, False)), ""),
    )
    title = f"{load.requests} orders of {MEMBERS} members, 64 connections, client on the same machine"
    rates_table(title, "orders acknowledged", load, limits)


if __name__ == "__main__":
    asyncio.run(measure())
