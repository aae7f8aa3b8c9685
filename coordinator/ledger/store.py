"""The database: SQLite, one writer on a thread of its own, read-only connections beside it.

WAL with ``synchronous=FULL``: a transaction that has returned survives a power cut. The schema is a
list of numbered SQL files with checksums; a file made by a newer version is refused.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from .records import LedgerBusy, LedgerDamaged, LedgerError

APPLICATION_ID = 0x454E5452
"""``ENTR``: tells our files from other SQLite databases."""

QUESTIONS_MAX = 256
"""How many questions may wait for the readers, or be answered by them."""

_READERS = 2
_BUSY_TIMEOUT_MS = 5_000
_CACHE_KIB = 65_536
_CHECKPOINT_PAGES = 8_000
_CHUNKS = (256, 64, 16, 4, 1)

type Rows = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Store:
    """The open database, worked on in threads, so that the loop never waits.

    One thread writes (``write``), one reads for the coordinator itself (``read``), and some answer
    the public's questions (``ask``): no flood of those holds up a settlement.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-read")
        self._answerers = ThreadPoolExecutor(_READERS, thread_name_prefix="ledger-ask")
        self._questions = 0
        self._connection: sqlite3.Connection | None = None
        self._local = threading.local()
        self._read_connections: list[sqlite3.Connection] = []
        self._lock: int | None = None

    async def open(self) -> None:
        """Lock the file, open it and bring its schema up to date; raise ``LedgerError``."""
        await self._run(self._writer, self._open)

    async def write[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` with the writing connection, one at a time."""
        return await self._run(self._writer, lambda: work(self._writing()))

    async def read[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` for the coordinator with a read-only connection, seeing what is committed."""
        return await self._run(self._reader, lambda: work(self._reading()))

    async def ask[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` for somebody outside, as ``read``; raise ``LedgerBusy`` when too many ask."""
        if self._questions >= QUESTIONS_MAX:
            raise LedgerBusy("The coordinator has more questions than it can answer: ask again later.")
        self._questions += 1
        try:
            return await self._run(self._answerers, lambda: work(self._reading()))
        finally:
            self._questions -= 1

    async def close(self) -> None:
        """Close all connections after the work that is under way."""
        await self._run(self._writer, self._close)
        self._writer.shutdown()

    @staticmethod
    async def _run[T](pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._path)
        with damage_reported(self._path):
            connection = sqlite3.connect(self._path, autocommit=True, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            migrate(connection, migrations())

    def _writing(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError("The ledger is closed.")
        return self._connection

    def _reading(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_read_only(self._path)
            self._local.connection = connection
            self._read_connections.append(connection)
        return connection

    def _close(self) -> None:
        for pool in (self._answerers, self._reader):
            pool.shutdown(wait=True)
        for connection in self._read_connections:
            connection.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a ledger to look at, also while a coordinator writes to it."""
    if not path.exists():
        raise LedgerError(f"There is no ledger at {path}.")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, autocommit=True, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    return connection


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn SQLite's word of a damaged or foreign file into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if error_name(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_MISUSE")):
            raise LedgerDamaged(f"{path} is damaged ({error}). Restore the file from a backup.") from error
        raise LedgerError(f"{path} cannot be used: {error}.") from error
    except UnicodeDecodeError as error:
        raise LedgerDamaged(f"{path} is damaged (a text is none). Restore the file from a backup.") from error


def error_name(error: sqlite3.Error) -> str:
    """Return SQLite's name for an error, as ``SQLITE_FULL``; what Python's module finds by itself has none."""
    return getattr(error, "sqlite_errorname", "SQLITE_MISUSE")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit durably at the end, or undo everything."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def insert_many(connection: sqlite3.Connection, head: str, rows: Rows, tail: str = "") -> None:
    """Insert rows with few statements: each lets other threads run, and then waits for its turn."""
    done = 0
    for size in _CHUNKS:
        while len(rows) - done >= size:
            part = rows[done : done + size]
            places = "(" + ",".join("?" * len(part[0])) + ")"
            values = [value for row in part for value in row]
            connection.execute(f"{head} VALUES {','.join([places] * size)} {tail}", values)
            done += size


def migrations() -> list[Migration]:
    """Return the schema's steps, in order."""
    folder = files(__package__) / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(int(n[:4]), n, (folder / n).read_text(encoding="utf-8")) for n in names]


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration]) -> None:
    """Apply what is missing; refuse a foreign file, a newer one and one whose history differs."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    if application != APPLICATION_ID and not empty:
        raise LedgerError("The file is an SQLite database, but no ledger of Energy Trade: choose another.")
    if empty:
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, checksum TEXT NOT NULL) STRICT")
    known = {step.version: step.checksum for step in steps}
    applied: dict[int, str] = dict(connection.execute("SELECT version, checksum FROM migrations"))
    if unknown := sorted(applied.keys() - known.keys()):
        raise LedgerError(
            f"The ledger has schema {unknown[-1]}, this version knows up to {max(known)}: update Energy Trade."
        )
    if changed := [version for version, checksum in applied.items() if known[version] != checksum]:
        raise LedgerError(f"Schema step {changed[0]} is not the one that made this ledger: use the version that did.")
    for step in steps:
        if step.version not in applied:
            _apply(connection, step)


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    with transaction(connection):
        for statement in _statements(step.sql):
            connection.execute(statement)
        connection.execute("INSERT INTO migrations VALUES (?, ?)", (step.version, step.checksum))


def _statements(sql: str) -> Iterator[str]:
    """Split a script, because ``executescript`` would end the transaction."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), f"the script ends in the middle of a statement: {statement}"


def _lock(path: Path) -> int:
    """Hold the only right to write; the kernel gives it back when the process ends, however it ends."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LedgerError(f"{path} is in use by another coordinator: stop that one first.") from error
    return descriptor


def check_pages(path: Path) -> list[str]:
    """Return what SQLite's own quick check says about the file; empty when it is sound."""
    with damage_reported(path), closing(open_read_only(path)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
    return [] if found == ["ok"] else found
