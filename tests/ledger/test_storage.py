"""A disk that is full or fails: refused with a code, nothing half kept, and reading goes on."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from coordinator.ledger import Committed, LedgerError, StoredReading, writer
from coordinator.ledger.verify import verify
from coordinator.market.events import Rejected
from coordinator.market.state import state_hash
from coordinator.protocol.messages import Side
from tests.ledger.world import START, Home, World, open_ledger

DELIVERY = START + 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer try again at once after a failure."""
    monkeypatch.setattr(writer, "_PAUSE_AFTER_FAILURE_S", 0)


async def fill(world: World, home: Home) -> str:
    """Place orders until one is refused; return the code."""
    for _ in range(5_000):
        results = await asyncio.gather(
            *(world.ledger.submit(home.order(Side.SELL, 1, 200_000, DELIVERY)) for _ in range(20))
        )
        refused = [result.code for result in results if isinstance(result, Rejected)]
        if refused:
            return refused[0]
    raise AssertionError("the disk never got full")


async def limit_pages(world: World, more: int) -> None:
    """Let the database grow by so many pages, as a disk with little room would."""

    def work(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + more}")

    await world.ledger._store.write(work)


async def test_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    world, home = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(home)
        await world.read(home, START)
        await limit_pages(world, 20)
        assert await fill(world, home) == "storage_full"
        kept = world.ledger.sequence, state_hash(world.ledger.state)
        reading = home.reading(START + 60)
        for _ in range(3):
            assert await fill(world, home) == "storage_full"
        assert (world.ledger.sequence, state_hash(world.ledger.state)) == kept
        assert len(await world.ledger.queries.orders_of(home.address, 1_000)) == kept[0] - 4
        assert world.ledger.counters.storage_failures >= 4
        await limit_pages(world, 100_000)
        assert isinstance(await world.ledger.store_reading(reading, home.sign(reading)), StoredReading)
        await world.commit(home.order(Side.SELL, 1, 200_000, DELIVERY))
        assert world.ledger.sequence == kept[0] + 1
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_reading_refused_by_a_full_disk_is_not_forgotten_nor_half_kept(tmp_path: Path) -> None:
    """After a refusal the meter's next number is still the same: nothing was taken."""
    world, home = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(home)
        await limit_pages(world, 0)
        waiting = []
        for at in count(START - 1_000_000, 5):
            reading = home.reading(at)
            result = await world.ledger.store_reading(reading, home.sign(reading))
            if isinstance(result, Rejected):
                assert result.code == "storage_full"
                waiting.append(reading)
                break
        await limit_pages(world, 1_000)
        for reading in waiting:
            assert isinstance(await world.ledger.store_reading(reading, home.sign(reading)), StoredReading)
        last = await world.ledger.queries.last_reading(home.meter.device_id)
        assert last is not None
        assert last.reading == waiting[-1]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make the kernel refuse to let any file of this process grow beyond ``size``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_failing_writes_refuse_and_recover(tmp_path: Path) -> None:
    """The kernel itself refuses the write, in the middle of a transaction."""
    world, home = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(home)
        with file_size_limit(200_000):
            assert await fill(world, home) in {"storage_failed", "storage_full"}
            kept = world.ledger.sequence, state_hash(world.ledger.state)
            await world.ledger.queries.orders_of(home.address)
        assert isinstance(await world.ledger.submit(home.order(Side.SELL, 1, 200_000, DELIVERY)), Committed)
        assert world.ledger.sequence == kept[0] + 1
    again = open_ledger(tmp_path, world.clock)
    async with again.ledger:
        assert state_hash(again.ledger.state) == state_hash(world.ledger.state)
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_after_a_failure_the_writer_rests_before_it_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PAUSE_AFTER_FAILURE_S", 1_000)
    world, home = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(home)
        await limit_pages(world, 0)
        assert await fill(world, home) == "storage_full"
        failures = world.ledger.counters.storage_failures
        assert await fill(world, home) == "storage_full"
        assert world.ledger.counters.storage_failures == failures


async def test_writer_that_cannot_go_on_says_so_to_everybody(tmp_path: Path) -> None:
    world, home = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(home)
        running = asyncio.create_task(world.ledger.run())
        await world.ledger._store.write(lambda connection: connection.execute("DROP TABLE orders"))
        await world.ledger._store.write(lambda connection: connection.execute("DROP TABLE meta"))
        with pytest.raises(LedgerError, match="writer has failed"):
            await world.ledger.submit(home.order(Side.SELL, 1, 200_000, DELIVERY))
        with pytest.raises(LedgerError):
            await running
        assert await world.refuse(home.order(Side.SELL, 1, 200_000, DELIVERY)) == "stopping"
