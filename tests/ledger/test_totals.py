"""Sums over receipts: kept with each receipt, right after a replaced one and after the migration."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.ledger import LedgerBusy
from coordinator.ledger.store import QUESTIONS_MAX, Store, migrate, migrations

_RECEIPT = "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, 0, ?, '', x'')"
_SETTLE = """
INSERT INTO settlements (delivery_start, sequence, readings_root, receipts_root, batch_hash, rows, traded_wh,
    value_micro, minted_wh, burned_wh, revision) VALUES (?, 1, x'', x'', x'', x'', 0, 0, 0, 0, ?)
ON CONFLICT (delivery_start) DO UPDATE SET revision = excluded.revision
"""
_SUMS = """
SELECT account, count(*), sum(consumption_wh), sum(production_wh), sum(saved_micro)
FROM receipts JOIN settlements USING (delivery_start, revision) GROUP BY account
"""
_TOTALS = "SELECT * FROM account_totals WHERE intervals > 0 ORDER BY account"


def settle(connection: sqlite3.Connection, start: int, revision: int, *receipts: tuple[str, int, int, int]) -> None:
    connection.execute(_SETTLE, (start, revision))
    rows = [(account, start, revision, *energy) for account, *energy in receipts]
    connection.executemany(_RECEIPT, rows)


def live(connection: sqlite3.Connection) -> None:
    """Settle two intervals; the second again without ``bert``, and with other numbers."""
    settle(connection, 60, 0, ("anna", 5, 0, 70), ("bert", 0, 8, -3))
    settle(connection, 120, 0, ("anna", 1, 2, 10), ("bert", 3, 4, 20), ("cleo", 0, 1, 1))
    settle(connection, 120, 1, ("anna", 1, 2, 4), ("cleo", 0, 1, 2))
    settle(connection, 120, 2, ("anna", 1, 2, 5))


def test_the_newest_revision_counts() -> None:
    with closing(sqlite3.connect(":memory:", autocommit=True)) as connection:
        migrate(connection, migrations())
        live(connection)
        expected = [("anna", 2, 6, 2, 75), ("bert", 1, 0, 8, -3)]
        assert connection.execute(_TOTALS).fetchall() == expected == connection.execute(_SUMS).fetchall()
        assert connection.execute("SELECT * FROM account_totals WHERE intervals = 0").fetchall() == [
            ("cleo", 0, 0, 0, 0)
        ]


def test_an_older_ledger_is_summed_up_once() -> None:
    with closing(sqlite3.connect(":memory:", autocommit=True)) as connection:
        steps = migrations()
        place = next(i for i, step in enumerate(steps) if step.name.endswith("account_totals.sql"))
        migrate(connection, steps[:place])
        live(connection)
        migrate(connection, steps)
        assert connection.execute(_TOTALS).fetchall() == connection.execute(_SUMS).fetchall()


async def test_the_public_cannot_hold_up_the_coordinators_own_reading(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")
    await store.open()
    try:
        await check_own_lane(store)
    finally:
        await store.close()


async def check_own_lane(store: Store) -> None:
    """With all answering threads at work and the queue full, ``read`` answers and ``ask`` refuses."""
    gate = threading.Event()
    asked = [asyncio.ensure_future(store.ask(lambda _: gate.wait(30))) for _ in range(QUESTIONS_MAX)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(LedgerBusy, match="ask again later"):
            await store.ask(lambda _: None)
        async with asyncio.timeout(5):
            assert await store.read(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
    finally:
        gate.set()
    assert all(await asyncio.gather(*asked))
    assert await store.ask(lambda _: "free") == "free"
