"""The command log: rows chained by hash, so that a changed, lost or swapped row shows.

``hash = SHA-256(previous hash || sequence || at || kind || command || events)``, lengths in front of
the texts. The first row tells whose log it is (market, rules, chain, contract); a later row of the
same kind books changed rules, so that every command can be decided again under its own rules.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..market.rules import MarketRules
from ..protocol.typed_data import Domain
from .records import LedgerDamaged

TERMS_KIND = "Terms"
FIRST_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose log this is and under which rules it goes on; a log row of its own.

    ``metered_max_wh`` is the most production of one account and interval that the contract believes.
    """

    chain_id: int
    ledger: str
    metered_max_wh: int
    rules: MarketRules

    @property
    def domain(self) -> Domain:
        """The signing domain of everything in this log."""
        return Domain(self.chain_id, self.ledger)


class LogRow(NamedTuple):
    """One row of the log, as it is stored."""

    sequence: int
    at: int
    kind: str
    command: str
    events: str
    previous_hash: bytes
    hash: bytes


class LogHead(NamedTuple):
    """Where the log ends."""

    sequence: int = 0
    hash: bytes = FIRST_HASH
    at: int = 0

    def next(self, at: int, kind: str, command: str, events: str) -> LogRow:
        """Return the row that follows."""
        digest = row_hash(self.hash, self.sequence + 1, at, kind, command, events)
        return LogRow(self.sequence + 1, at, kind, command, events, self.hash, digest)


def head_of(row: LogRow) -> LogHead:
    """Return the head that a log with this last row has."""
    return LogHead(row.sequence, row.hash, row.at)


def row_hash(previous: bytes, sequence: int, at: int, kind: str, command: str, events: str) -> bytes:
    """Return a row's link in the chain."""
    digest = hashlib.sha256(previous + sequence.to_bytes(8, "big") + at.to_bytes(8, "big"))
    for text in (kind, command, events):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


def read_log(
    connection: sqlite3.Connection, until: int | None = None, after: LogHead | None = None
) -> Iterator[LogRow]:
    """Yield the rows (those ``after`` a head) in order, each checked against the one before it.

    Raises ``LedgerDamaged`` with the first row that does not fit, also when the end was cut off.
    """
    head = after or LogHead()
    sql = "SELECT * FROM log WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
    for values in connection.execute(sql, (head.sequence, until or 2**63 - 1)):
        row = LogRow(*values)
        if fault := _fault(head, row):
            raise LedgerDamaged(_damage(*fault))
        head = head_of(row)
        yield row
    if until is None and (stored := stored_head(connection)) != head.sequence:
        raise LedgerDamaged(_damage(head.sequence + 1, f"to {stored} are missing: the end was cut off"))


def stored_head(connection: sqlite3.Connection) -> int:
    """Return the last sequence that was ever committed."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'head'").fetchone()
    return int(row[0]) if row else 0


def _fault(head: LogHead, row: LogRow) -> tuple[int, str] | None:
    """Return which row is at fault after this head, and how; ``None`` when the row follows."""
    if row.sequence != head.sequence + 1:
        return head.sequence + 1, "is missing"
    if row.previous_hash != head.hash:
        return row.sequence, "does not follow from the row before it"
    try:
        expected = row_hash(head.hash, row.sequence, row.at, row.kind, row.command, row.events)
    except AttributeError, OverflowError, TypeError:  # a damaged cell may hold another type
        expected = b""
    return None if row.hash == expected else (row.sequence, "was changed: its content does not give its hash")


def _damage(sequence: int, what: str) -> str:
    return f"The ledger is damaged: row {sequence} of the log {what}. Restore the file from a backup."
