"""Damaged, foreign, newer and torn files: said clearly, never taken for a sound ledger."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from coordinator.ledger import LedgerDamaged, LedgerError
from coordinator.ledger.log import LogHead, head_of
from coordinator.ledger.replay import replay
from coordinator.ledger.store import Migration, migrate, migrations
from coordinator.ledger.verify import VerifyReport, verify
from coordinator.market.state import state_hash
from tests.ledger.world import Home, open_ledger, settled_interval

type Damage = Callable[[sqlite3.Connection], object]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed ledger with one settled interval."""
    world = open_ledger(tmp_path)
    async with world.ledger:
        anna, bert = Home("anna"), Home("bert")
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
    return tmp_path / "ledger.sqlite"


async def open_error(path: Path) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        async with open_ledger(path.parent).ledger:
            pass
    return caught.value


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def change(path: Path, damage: Damage) -> None:
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        damage(connection)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE log SET command = replace(command, '400', '401') WHERE kind = 'PlaceOrder'", "row 8 of the log was"),
        ("UPDATE log SET at = at + 1 WHERE sequence = 3", "row 3 of the log was changed"),
        ("UPDATE log SET hash = zeroblob(32) WHERE sequence = 4", "row 4 of the log was changed"),
        ("UPDATE log SET previous_hash = zeroblob(32) WHERE sequence = 5", "row 5 of the log does not follow"),
        ("DELETE FROM log WHERE sequence = 6", "row 6 of the log is missing"),
        ("DELETE FROM log WHERE sequence = 1", "row 1 of the log is missing"),
        ("DELETE FROM log WHERE sequence >= 10", "row 10 of the log to 11 are missing: the end was cut off"),
    ],
)
async def test_changed_log_is_named_by_row(path: Path, sql: str, sentence: str) -> None:
    change(path, lambda connection: connection.execute(sql))
    error = await open_error(path)
    assert isinstance(error, LedgerDamaged)
    assert sentence in str(error)
    assert any(sentence in finding for finding in verify(path).findings)


async def test_overwritten_header_is_named(path: Path) -> None:
    overwrite(path, b"not a database".ljust(4096, b"!"))
    error = await open_error(path)
    assert isinstance(error, LedgerDamaged)
    assert "is damaged" in str(error)


def test_flipped_bytes_never_give_another_state(path: Path) -> None:
    """Wherever a byte of the file changes: the state is the same, or the ledger refuses."""
    sound = state_hash(replay(path).state)
    content, chance = path.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(150):
        place = chance.randrange(len(content))
        flipped = content[place] ^ (1 << chance.randrange(8))
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        try:
            assert replay(path).state_hash == sound
        except LedgerError:
            refused += 1
    assert refused > 10


async def test_torn_write_ahead_log_is_a_sound_earlier_ledger(tmp_path: Path) -> None:
    """Whatever a power cut leaves of the unsynced end: whole groups, chained, decided alike."""
    world = open_ledger(tmp_path / "live")
    async with world.ledger:
        anna, bert = Home("anna"), Home("bert")
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(tmp_path / "live" / name, tmp_path)
        sequence = world.ledger.sequence
    seen = {report.sequence for report in verified_when_torn(tmp_path / "ledger.sqlite")}
    assert max(seen) == sequence
    assert len(seen) > 3


def verified_when_torn(path: Path) -> Iterator[VerifyReport]:
    """Verify copies whose write-ahead log ends anywhere."""
    wal, chance = Path(f"{path}-wal").read_bytes(), random.Random(2)
    for length in [len(wal), *(chance.randrange(len(wal)) for _ in range(40))]:
        torn = path.with_name(f"torn-{length}.sqlite")
        shutil.copy(path, torn)
        overwrite(Path(f"{torn}-wal"), wal[:length])
        with closing(sqlite3.connect(torn)) as connection:
            begun = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'").fetchone()[0]
            steps = connection.execute("SELECT count(*) FROM migrations").fetchone()[0] if begun else 0
        if steps == len(migrations()):
            report = verify(torn)
            assert report.findings == []
            yield report


async def test_another_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    change(path, lambda connection: connection.execute("CREATE TABLE songs (name TEXT)"))
    assert "no ledger of Energy Trade" in str(await open_error(path))
    with closing(sqlite3.connect(path)) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")] == ["songs"]


async def test_newer_schema_is_refused(path: Path) -> None:
    change(path, lambda connection: connection.execute("INSERT INTO migrations VALUES (99, 'x')"))
    known = migrations()[-1].version
    assert f"has schema 99, this version knows up to {known}: update" in str(await open_error(path))


async def test_schema_of_another_history_is_refused(path: Path) -> None:
    change(path, lambda connection: connection.execute("UPDATE migrations SET checksum = 'x'"))
    assert "Schema step 1 is not the one that made this ledger" in str(await open_error(path))


def test_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    steps = [Migration(1, "a", "CREATE TABLE a (x);"), Migration(2, "b", "CREATE TABLE b (x);\nCREATE TABLE a (x);")]
    with closing(sqlite3.connect(tmp_path / "m.sqlite", autocommit=True)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection, steps)
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables == {"migrations", "a"}
        migrate(connection, steps[:1])


async def test_two_coordinators_never_share_a_ledger(tmp_path: Path) -> None:
    async with open_ledger(tmp_path).ledger:
        with pytest.raises(LedgerError, match="in use by another coordinator"):
            async with open_ledger(tmp_path).ledger:
                pass
    async with open_ledger(tmp_path).ledger:
        pass


async def test_unknown_command_asks_for_an_update(path: Path) -> None:
    rechain(path, lambda row: [*row[:2], "FlyToTheMoon", *row[3:]] if row[0] == 4 else row)
    assert "'FlyToTheMoon' is unknown to this version. Update" in str(await open_error(path))


async def test_outdated_projections_are_rebuilt_from_the_log(path: Path) -> None:
    tables = ("orders", "order_fills", "order_closings", "trades", "settled_trades", "intervals")
    before = {table: rows(path, table) for table in tables}
    change(path, lambda connection: connection.execute("UPDATE meta SET value = 0 WHERE name = 'projections'"))
    for table in tables:
        change(path, lambda connection, table=table: connection.execute(f"DELETE FROM {table}"))  # type: ignore[misc]
    async with open_ledger(path.parent).ledger:
        pass
    assert {table: rows(path, table) for table in tables} == before
    assert all(before.values())


def test_ledger_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="There is no ledger at"):
        replay(tmp_path / "nothing.sqlite")


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE receipts SET body = replace(body, '40000', '40001')", "the stored receipt of"),
        ("DELETE FROM receipts", "the stored receipt of"),
        ("UPDATE settlements SET rows = zeroblob(318)", "the stored roots or rows are others"),
        ("UPDATE settlements SET batch_hash = zeroblob(32)", "the stored roots or rows are others"),
        ("UPDATE settlements SET signature = zeroblob(64)", "the settler did not sign it"),
        ("UPDATE settlements SET signer = '0x12'", "the settler did not sign it"),
        ("UPDATE outbox SET payload = '{}' WHERE kind = 'settle_batch'", "outbox's settle:1800000060:0 is missing or"),
        ("UPDATE readings SET production_wh = production_wh + 1 WHERE sequence = 2", "does not follow from the stored"),
        ("UPDATE readings SET signature = zeroblob(64)", "is not what the meter signed"),
        ("DELETE FROM readings WHERE sequence = 1", "does not follow from the"),
    ],
)
def test_verify_finds_what_was_changed_outside_the_log(path: Path, sql: str, sentence: str) -> None:
    change(path, lambda connection: connection.execute(sql))
    assert any(sentence in finding for finding in verify(path).findings)


def test_verify_decides_everything_again(path: Path) -> None:
    """Somebody who can rewrite the whole chain of hashes still cannot decide otherwise."""
    rechain(
        path, lambda row: [*row[:4], row[4].replace('"price_micro_per_kwh":200000', '"price_micro_per_kwh":200001')]
    )
    findings = verify(path).findings
    assert any("PlaceOrder is decided otherwise now" in finding for finding in findings)


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def rechain(path: Path, edit: Callable[[list[Any]], list[Any]]) -> None:
    """Change rows of the log and compute all hashes anew."""

    def work(connection: sqlite3.Connection) -> None:
        head = LogHead()
        for stored in connection.execute("SELECT sequence, at, kind, command, events FROM log").fetchall():
            sequence, *values = edit(list(stored))
            row = head.next(*values)
            sql = "UPDATE log SET kind = ?, events = ?, previous_hash = ?, hash = ? WHERE sequence = ?"
            connection.execute(sql, (row.kind, row.events, row.previous_hash, row.hash, sequence))
            head = head_of(row)

    change(path, work)
