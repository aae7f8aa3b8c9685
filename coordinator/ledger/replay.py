"""From the log back to the state: the only way a coordinator starts, and what ``replay`` prints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..market.apply import apply
from ..market.commands import Command
from ..market.events import Event
from ..market.state import MarketState, state_hash
from . import codec
from .log import TERMS_KIND, LogHead, LogRow, Terms, head_of, read_log
from .records import LedgerDamaged, LedgerError
from .store import damage_reported, open_read_only


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the log, read: terms, or a command with its events."""

    row: LogRow
    command: Command | Terms
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a log comes to at one sequence."""

    sequence: int
    at: int
    log_hash: bytes
    state_hash: bytes
    terms: Terms
    state: MarketState
    commands: dict[str, int]
    events: dict[str, int]


class Rebuilt:
    """A state that grows with the log's entries, from nothing or from where a snapshot left off."""

    def __init__(
        self, head: LogHead | None = None, terms: Terms | None = None, state: MarketState | None = None
    ) -> None:
        self.head = head or LogHead()
        self.terms = terms
        self._state = state

    @property
    def state(self) -> MarketState:
        """The state; there is one from the first entry on."""
        if self._state is None:
            raise LedgerDamaged("The ledger is damaged: its log does not begin with its terms.")
        return self._state

    def take(self, entry: Entry) -> None:
        """Apply an entry."""
        if isinstance(entry.command, Terms):
            self.terms = entry.command
            if self._state is None:
                self._state = MarketState(self.terms.rules)
            self._state.rules = self.terms.rules
        for event in entry.events:
            apply(self.state, event, entry.row.at)
        self.head = head_of(entry.row)


def entries(connection: sqlite3.Connection, until: int | None = None, after: LogHead | None = None) -> Iterator[Entry]:
    """Yield the log's entries (those ``after`` a head) in order, checked and read; raise ``LedgerDamaged``."""
    for row in read_log(connection, until, after):
        try:
            yield read_entry(row)
        except codec.UnknownKind as error:
            raise LedgerError(f"Row {row.sequence} of the log: {error}. Update Energy Trade.") from error
        except ValueError as error:
            raise LedgerDamaged(f"The ledger is damaged: row {row.sequence} of the log {error}.") from error


def read_entry(row: LogRow) -> Entry:
    """Read a row; raise ``ValueError`` when its texts are not what they should be."""
    if row.kind == TERMS_KIND:
        return Entry(row, codec.decode(Terms, row.command), ())
    return Entry(row, *codec.decode_row(row.kind, row.command, row.events))


def replay(path: Path, until: int | None = None) -> ReplayReport:
    """Rebuild the state at sequence ``until`` (default: the last) without changing the file."""
    rebuilt = Rebuilt()
    commands: dict[str, int] = {}
    events: dict[str, int] = {}
    with damage_reported(path), closing(open_read_only(path)) as connection:
        for entry in entries(connection, until):
            rebuilt.take(entry)
            commands[entry.row.kind] = commands.get(entry.row.kind, 0) + 1
            for event in entry.events:
                events[type(event).__name__] = events.get(type(event).__name__, 0) + 1
    if rebuilt.terms is None:
        raise LedgerError("The log is empty: no coordinator has started with it yet.")
    head = rebuilt.head
    return ReplayReport(
        head.sequence, head.at, head.hash, state_hash(rebuilt.state), rebuilt.terms, rebuilt.state, commands, events
    )
