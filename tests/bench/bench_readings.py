"""Signed readings per second, verified and stored with a receipt, beside the machine's own limits."""

from __future__ import annotations

import asyncio
import time

from coordinator.household.identity import Identity
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import ZERO_HASH, Reading
from tests.bench.rig import (
    coordinator,
    echo_load,
    encoded,
    fsync_commits_per_s,
    members,
    post_all,
    rates_table,
    verifies_per_s,
)

METERS = 200
READINGS_EACH = 25
GROUP = 64


def chain(info: MarketInfo, identity: Identity) -> list[bytes]:
    """Return one meter's chain of readings, a minute apart up to now."""
    previous, bodies = ZERO_HASH, []
    first = int(time.time()) - READINGS_EACH * 60
    for sequence in range(1, READINGS_EACH + 1):
        reading = Reading(
            device_id=identity.device_id,
            sequence=sequence,
            timestamp=first + sequence * 60,
            consumption_wh=1_000 + sequence * 10,
            production_wh=500 + sequence * 5,
            previous=previous,
        )
        previous = reading.digest(info.domain)
        signature = identity.meter_key.sign(previous)
        bodies.append(encoded({"reading": reading.to_wire(), "signature": "0x" + signature.hex()}))
    return bodies


async def measure() -> None:
    """Run the load and print the table."""
    async with coordinator() as rig:
        info, identities = await members(rig, METERS)
        chains = [chain(info, identity) for identity in identities]
        load = await post_all(rig.session, f"{rig.url}/api/v1/readings", chains, 201)
    echo = await echo_load([body for bodies in chains for body in bodies])
    commits = fsync_commits_per_s(GROUP)
    limits = (
        ("aiohttp echo of the same bodies", echo.per_s, echo.latency),
        (f"SQLite rows in durable groups of {GROUP}", commits * GROUP, f"{commits:,.0f} commits/s"),
        ("P-256 verifications on one core", verifies_per_s(), ""),
    )
    title = f"{load.requests} readings of {METERS} meters, 64 connections, client on the same machine"
    rates_table(title, "readings verified and stored", load, limits)


if __name__ == "__main__":
    asyncio.run(measure())
