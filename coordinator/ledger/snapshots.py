"""Snapshots of the market's state, so that a start replays only what came after the newest.

A snapshot is made by a process of its own from the file alone (the last snapshot and the rows after it), so that
trading does not wait for it: ``python -m coordinator.ledger.snapshots FILE`` writes one to standard output. It counts
only where everything fits: the log's row has the hash that it had then, the content has its digest, the code of the
rooms that make the state is the same to the byte, and the state that comes out has the hash of the one that went in.
Else the log is replayed, as it always can be. Only the market's and the protocol's own types are read back.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import pickle
import sqlite3
import struct
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import FunctionType

from ..market.state import MarketState, state_hash
from . import codec
from .log import TERMS_KIND, LogHead, Terms, row_hash
from .records import LedgerError
from .replay import Rebuilt, entries
from .store import damage_reported, open_read_only, transaction

SNAPSHOTS_KEPT = 2
_DROP_OLD = (
    "DELETE FROM snapshots WHERE sequence NOT IN (SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT ?)"
)
_ROOMS = ("market", "protocol")
_PLAIN = {("builtins", "set"), ("builtins", "frozenset"), ("collections", "OrderedDict"), ("collections", "deque")}
_PACKAGE = __package__.rpartition(".")[0]
_MARKET = f"{_PACKAGE}.market."
_OURS = tuple(f"{_PACKAGE}.{room}." for room in _ROOMS)
_UNREADABLE = (pickle.UnpicklingError, AttributeError, EOFError, ImportError, LookupError, TypeError, ValueError)
_PROTOCOL = 5
_ROOT = Path(__file__).parents[2]
_HEAD = struct.Struct(">Q32s32s32s32s")
_TIMEOUT_S = 3_600


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after row ``sequence`` of the log, as bytes."""

    sequence: int
    log_hash: bytes
    code: bytes
    digest: bytes
    state_hash: bytes
    content: bytes


def take(rebuilt: Rebuilt) -> Snapshot:
    """Return a snapshot of a replayed state."""
    content = pickle.dumps(rebuilt.state, protocol=_PROTOCOL)
    head = rebuilt.head
    return Snapshot(
        head.sequence, head.hash, code_hash(), hashlib.sha256(content).digest(), state_hash(rebuilt.state), content
    )


def restore(connection: sqlite3.Connection) -> Rebuilt | None:
    """Return the state of the newest snapshot that is beyond doubt, ``None`` when there is none."""
    rows = connection.execute("SELECT * FROM snapshots ORDER BY sequence DESC").fetchall()
    return next((found for row in rows if (found := _restored(connection, Snapshot(*row))) is not None), None)


def kept(connection: sqlite3.Connection) -> dict[int, Snapshot]:
    """Return the snapshots that a start would look at, by the row of the log that they follow."""
    rows = connection.execute("SELECT * FROM snapshots WHERE code = ?", (code_hash(),)).fetchall()
    return {snapshot.sequence: snapshot for snapshot in (Snapshot(*row) for row in rows)}


def is_of(snapshot: Snapshot, state: MarketState) -> bool:
    """Tell whether a snapshot's content is this state, whatever hashes stand beside it."""
    content = _read(snapshot.content)
    return content is not None and state_hash(content) == state_hash(state)


def write(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    """Keep a snapshot and the one before it."""
    with transaction(connection):
        values = snapshot.sequence, snapshot.log_hash, snapshot.code, snapshot.digest, snapshot.state_hash
        connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?)", (*values, snapshot.content))
        connection.execute(_DROP_OLD, (SNAPSHOTS_KEPT,))


def newest(connection: sqlite3.Connection) -> int:
    """Return the sequence of the newest snapshot of this code, 0 when there is none."""
    row = connection.execute("SELECT max(sequence) FROM snapshots WHERE code = ?", (code_hash(),)).fetchone()
    return int(row[0] or 0)


async def make(path: Path) -> Snapshot:
    """Have a process make a snapshot of the file as it is now; raise ``LedgerError`` when it cannot."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answer, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LedgerError(f"No snapshot could be made of {path}: {complaint.decode(errors='replace')[-500:]}")
    sequence, log_hash, code, digest, state_digest = _HEAD.unpack(answer[: _HEAD.size])
    return Snapshot(sequence, log_hash, code, digest, state_digest, answer[_HEAD.size :])


def rebuild(connection: sqlite3.Connection) -> Rebuilt:
    """Return the state at the end of the log, from the newest snapshot on where there is one."""
    rebuilt = restore(connection) or Rebuilt()
    for entry in entries(connection, after=rebuilt.head):
        rebuilt.take(entry)
    return rebuilt


@cache
def code_hash() -> bytes:
    """Return SHA-256 over the sources of the rooms that make the state."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {_PROTOCOL}".encode())
    for room in _ROOMS:
        folder = Path(str(files(f"{_PACKAGE}.{room}"))).resolve()
        for file in sorted(folder.rglob("*.py")):
            text = file.read_bytes()
            name = f"{room}/{file.relative_to(folder).as_posix()}"
            digest.update(len(text).to_bytes(8, "big") + name.encode() + text)
    return digest.digest()


def _restored(connection: sqlite3.Connection, snapshot: Snapshot) -> Rebuilt | None:
    if snapshot.code != code_hash() or hashlib.sha256(snapshot.content).digest() != snapshot.digest:
        return None
    row = connection.execute("SELECT * FROM log WHERE sequence = ?", (snapshot.sequence,)).fetchone()
    if row is None:
        return None
    sequence, at, kind, command, events, previous, stored = row
    if not stored == snapshot.log_hash == row_hash(previous, sequence, at, kind, command, events):
        return None
    terms = _terms(connection, sequence)
    state = _read(snapshot.content)
    if terms is None or state is None or state.rules != terms.rules or state_hash(state) != snapshot.state_hash:
        return None
    return Rebuilt(LogHead(sequence, stored, at), terms, state)


def _terms(connection: sqlite3.Connection, until: int) -> Terms | None:
    sql = "SELECT command FROM log WHERE kind = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1"
    row = connection.execute(sql, (TERMS_KIND, until)).fetchone()
    return None if row is None else codec.decode(Terms, row[0])


def _read(content: bytes) -> MarketState | None:
    try:
        state = _Reader(io.BytesIO(content)).load()
    except _UNREADABLE:
        return None
    return state if isinstance(state, MarketState) else None


class _Reader(pickle.Unpickler):
    """Reads our own types, the market's functions (which touch nothing) and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if module.startswith(_OURS) and "." not in name:
            found = super().find_class(module, name)
            is_pure = isinstance(found, FunctionType) and module.startswith(_MARKET)
            if (isinstance(found, type) or is_pure) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a market's state")


def _main(arguments: Iterable[str]) -> None:
    (path,) = map(Path, arguments)
    with damage_reported(path), closing(open_read_only(path)) as connection:
        connection.execute("BEGIN")
        made = take(rebuild(connection))
    head = _HEAD.pack(made.sequence, made.log_hash, made.code, made.digest, made.state_hash)
    sys.stdout.buffer.write(head + made.content)


if __name__ == "__main__":
    _main(sys.argv[1:])
