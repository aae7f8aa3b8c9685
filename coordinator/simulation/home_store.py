"""What simulated homes must not forget: keys, registers and signed state, in one SQLite file.

Saves of many homes are committed together; a save returns when its commit is on the disk.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..household.identity import Identity
from ..protocol.keys import AccountKey, MeterKey
from .virtual_home import Registers

_SCHEMA = """
CREATE TABLE IF NOT EXISTS homes (
    number INTEGER PRIMARY KEY, account_key BLOB NOT NULL, meter_key BLOB NOT NULL, state TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS flows (
    ended_at INTEGER PRIMARY KEY, homes INTEGER NOT NULL, used_ws INTEGER NOT NULL,
    generated_ws INTEGER NOT NULL, imported_ws INTEGER NOT NULL, exported_ws INTEGER NOT NULL
) STRICT;
"""
_ADD_FLOW = """
INSERT INTO flows VALUES (?, 1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET homes = homes + 1,
    used_ws = used_ws + excluded.used_ws, generated_ws = generated_ws + excluded.generated_ws,
    imported_ws = imported_ws + excluded.imported_ws,
    exported_ws = exported_ws + excluded.exported_ws
"""


@dataclass(frozen=True, slots=True)
class Flow:
    """Energy of one or more homes in the interval that ended at ``ended_at``, in watt-seconds."""

    ended_at: int
    homes: int
    used_ws: int
    generated_ws: int
    imported_ws: int
    exported_ws: int

    @classmethod
    def between(cls, before: Registers, after: Registers) -> Self:
        """Return one home's energy between two states of its registers."""
        return cls(
            ended_at=after.at,
            homes=1,
            used_ws=after.used_ws - before.used_ws,
            generated_ws=after.generated_ws - before.generated_ws,
            imported_ws=after.imported_ws - before.imported_ws,
            exported_ws=after.exported_ws - before.exported_ws,
        )


@dataclass(frozen=True, slots=True)
class _Save:
    number: int
    state: str
    flow: Flow | None
    done: asyncio.Future[None]


class HomeStore:
    """The file of one process of simulated homes."""

    def __init__(self, path: Path) -> None:
        """Open the file; it holds keys, so only its owner may read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._file = sqlite3.connect(path, autocommit=True, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.executescript(_SCHEMA)
        self._waiting: asyncio.Queue[_Save] = asyncio.Queue()

    def identities(self, count: int) -> list[Identity]:
        """Return the keys of the homes from 0 on, making those that do not exist yet."""
        rows = self._file.execute("SELECT account_key, meter_key FROM homes ORDER BY number")
        known = [Identity(AccountKey.from_secret(account), MeterKey.from_secret(meter)) for account, meter in rows][
            :count
        ]
        new = [Identity.generate() for _ in range(count - len(known))]
        keys = [
            (len(known) + place, identity.account_key.secret, identity.meter_key.secret)
            for place, identity in enumerate(new)
        ]
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO homes VALUES (?, ?, ?, NULL)", keys)
        self._file.execute("COMMIT")
        return known + new

    def state(self, number: int) -> dict[str, Any] | None:
        """Return what was saved last of a home."""
        row = self._file.execute("SELECT state FROM homes WHERE number = ?", [number]).fetchone()
        return None if row is None or row[0] is None else json.loads(row[0])

    async def save(self, number: int, state: Mapping[str, Any], flow: Flow | None = None) -> None:
        """Keep a home's state (and add its energy of an interval) durably."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Save(number, json.dumps(state), flow, done))
        await done

    async def run(self) -> None:
        """Commit what is waiting, for ever."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await asyncio.to_thread(self._commit, batch)
            for save in batch:
                if not save.done.done():
                    save.done.set_result(None)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _commit(self, batch: list[_Save]) -> None:
        self._file.execute("BEGIN")
        self._file.executemany("UPDATE homes SET state = ? WHERE number = ?", [(s.state, s.number) for s in batch])
        self._file.executemany(
            _ADD_FLOW,
            [
                (f.ended_at, f.used_ws, f.generated_ws, f.imported_ws, f.exported_ws)
                for f in (save.flow for save in batch)
                if f is not None
            ],
        )
        self._file.execute("COMMIT")


def read_flows(path: Path, ended_at: set[int]) -> list[Flow]:
    """Return the homes' energy of the intervals that ended at the given seconds."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT * FROM flows ORDER BY ended_at")
        return [flow for flow in (Flow(*row) for row in rows) if flow.ended_at in ended_at]
