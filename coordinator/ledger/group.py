"""A group of commands and readings that becomes durable in one transaction, or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..chain.ports import Mined
from ..market.commands import Command, ConfirmSettlement
from ..market.events import Event, IntervalResettled, Settled
from ..metering.verification import Head
from . import codec
from .auctions import KeptAuction, keep
from .corrections import CorrectionDraft, follow_corrections, receipt_row, write_correction
from .decisions import Batch, BatchDraft, NewEffect, batch_effects, settlement_key
from .evidence import device_key
from .log import LogHead, LogRow, head_of
from .projections import Projections
from .records import LedgerConfig, Settler, StoredReading
from .store import insert_many, transaction

_INSERT_BATCH = """
INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (delivery_start) DO UPDATE SET
    sequence = CASE readings_root WHEN excluded.readings_root THEN sequence ELSE excluded.sequence END,
    readings_root = excluded.readings_root, receipts_root = excluded.receipts_root,
    batch_hash = excluded.batch_hash, rows = excluded.rows,
    traded_wh = excluded.traded_wh, value_micro = excluded.value_micro, minted_wh = excluded.minted_wh,
    burned_wh = excluded.burned_wh, revision = excluded.revision, fees_micro = excluded.fees_micro,
    signer = excluded.signer, signature = excluded.signature
"""


class Decided(NamedTuple):
    """A command with its row in the log; ``completes`` names the effect that it ends."""

    row: LogRow
    command: Command
    events: tuple[Event, ...]
    completes: str | None


@dataclass(frozen=True, slots=True)
class SettledDraft:
    """A batch to be written, and signed, with the command that decided it."""

    settler: Settler
    draft: BatchDraft
    event: Settled
    sequence: int
    interval_s: int


class SettlementSent(Exception):
    """A batch that was to be replaced has left for the chain meanwhile."""


class Group:
    """What is decided, but not yet on the disk."""

    def __init__(self, head: LogHead, at: int, config: LedgerConfig) -> None:
        self.head = head
        self.at = at
        self.config = config
        self.decided: list[Decided] = []
        self.readings: dict[tuple[int, int], tuple[StoredReading, int]] = {}
        self.heads: dict[int, Head] = {}
        self.equivocations: list[StoredReading] = []
        self.effects: list[tuple[NewEffect, int]] = []
        self.batch: SettledDraft | None = None
        self.correction: CorrectionDraft | None = None
        self.auctions: list[KeptAuction] = []
        self.projections = Projections()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (self.decided or self.readings or self.equivocations)

    @property
    def has_effects(self) -> bool:
        """Tell whether there is something new for the chain."""
        return bool(self.effects) or self.batch is not None

    def append(self, command: Command, events: tuple[Event, ...], completes: str | None) -> Decided:
        """Give a decided command its row."""
        kind, text = codec.encode_command(command)
        row = self.head.next(self.at, kind, text, codec.encode_events(events, command))
        decided = Decided(row, command, events, completes)
        self.decided.append(decided)
        self.head = head_of(row)
        return decided

    def accept(self, stored: StoredReading, head: Head) -> None:
        """Take a verified reading in; ``head`` is what it makes of its meter's."""
        reading = stored.reading
        self.readings[reading.device_id, reading.sequence] = stored, self.head.sequence
        self.heads[reading.device_id] = head

    def write(self, connection: sqlite3.Connection) -> EffectCounts | None:
        """Write everything durably; return the outbox's counts when it changed. Raises ``SettlementSent``."""
        effects = list(self.effects)
        batch = None
        if self.batch is not None:
            batch = self.batch.draft.finish()
            found = batch_effects(batch, self.batch.event, self.batch.interval_s, self.config)
            effects = [*((effect, self.batch.sequence) for effect in found), *effects]  # answers after the load
        with transaction(connection):
            insert_rows(connection, [decided.row for decided in self.decided])
            self._write_readings(connection)
            if batch is not None and self.batch is not None:
                _write_batch(connection, batch, self.batch)
            if self.correction is not None:
                write_correction(connection, self.correction)
            follow_corrections(connection, (event for decided in self.decided for event in decided.events))
            _write_effects(connection, effects)
            if self.batch is not None:
                _supersede(connection, self.batch.event)
            for decided in self.decided:
                if decided.completes is not None:
                    complete_effect(connection, decided.completes, mined_by(decided.command))
            keep(connection, self.auctions)
            self.projections.write(connection)
        changed = self.has_effects or any(decided.completes is not None for decided in self.decided)
        return count_effects(connection) if changed else None

    def _write_readings(self, connection: sqlite3.Connection) -> None:
        rows = [
            (
                device_key(r.device_id),
                r.sequence,
                r.timestamp,
                r.consumption_wh,
                r.production_wh,
                r.flags,
                r.previous,
                r.samples,
                stored.digest,
                stored.signature,
                stored.committed_at,
                after,
            )
            for stored, after in self.readings.values()
            for r in (stored.reading,)
        ]
        insert_many(connection, "INSERT INTO readings", rows)
        for stored in self.equivocations:
            reading = stored.reading
            connection.execute(
                "INSERT OR IGNORE INTO equivocations VALUES (?, ?, ?, ?, ?, ?)",
                (
                    device_key(reading.device_id),
                    reading.sequence,
                    stored.digest,
                    json.dumps(reading.to_wire()),
                    stored.signature,
                    stored.committed_at,
                ),
            )


@dataclass(frozen=True, slots=True)
class EffectCounts:
    """How many effects are not done: ``waiting`` are pending or sent, ``failed`` for good."""

    waiting: int = 0
    failed: int = 0


def count_effects(connection: sqlite3.Connection) -> EffectCounts:
    """Count what is not done (both counts are of small partial indexes)."""
    waiting = connection.execute("SELECT count(*) FROM outbox WHERE state IN ('pending', 'sent')").fetchone()[0]
    failed = connection.execute("SELECT count(*) FROM outbox WHERE state = 'failed'").fetchone()[0]
    return EffectCounts(waiting, failed)


def insert_rows(connection: sqlite3.Connection, rows: Sequence[LogRow]) -> None:
    """Append rows to the log and note where it ends, inside the caller's transaction."""
    if not rows:
        return
    insert_many(connection, "INSERT INTO log", rows)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (rows[-1].sequence,))


def mined_by(command: Command) -> Mined | None:
    """Return where a confirming command says that its transaction ended up."""
    if isinstance(command, ConfirmSettlement):
        return Mined(command.transaction, command.block_number, command.gas_used)
    return None


def complete_effect(connection: sqlite3.Connection, key: str, mined: Mined | None) -> None:
    """Mark an effect done."""
    connection.execute(
        "UPDATE outbox SET state = 'done', error = NULL, transaction_hash = coalesce(?, transaction_hash),"
        " block_number = ?, gas_used = ? WHERE key = ?",
        (
            mined.transaction if mined else None,
            mined.block_number if mined else None,
            mined.gas_used if mined else None,
            key,
        ),
    )


def _write_effects(connection: sqlite3.Connection, effects: Sequence[tuple[NewEffect, int]]) -> None:
    rows = [(effect.key, effect.kind, json.dumps(effect.payload), sequence) for effect, sequence in effects]
    insert_many(connection, "INSERT INTO outbox (key, kind, payload, sequence)", rows)


def is_unsent(connection: sqlite3.Connection, key: str) -> bool:
    """Tell whether an effect can still be replaced: no transaction of it was ever signed, or there is none."""
    row = connection.execute("SELECT state, nonce FROM outbox WHERE key = ?", (key,)).fetchone()
    return row is None or (row[0] != "done" and row[1] is None)


def _supersede(connection: sqlite3.Connection, event: Settled) -> None:
    """End the effect of the revision before; the new one takes its place in the order of settlements."""
    if not event.revision:
        return
    old, new = (settlement_key(event.delivery_start, revision) for revision in (event.revision - 1, event.revision))
    if isinstance(event, IntervalResettled) and event.late_readings and not is_unsent(connection, old):
        raise SettlementSent(old)
    ids = [connection.execute("SELECT id FROM outbox WHERE key = ?", (key,)).fetchone() for key in (old, new)]
    if ids[0] is None:  # nothing was settled before
        return
    last = connection.execute("SELECT max(id) FROM outbox").fetchone()[0]
    connection.execute("UPDATE outbox SET state = 'superseded', id = ? WHERE key = ?", (last + 1, old))
    if ids[1] is not None:  # none when nothing is left to settle
        connection.execute("UPDATE outbox SET id = ? WHERE key = ?", (*ids[0], new))


def _write_batch(connection: sqlite3.Connection, batch: Batch, settled: SettledDraft) -> None:
    """Write batch and receipts. A later revision replaces the batch, but for its ``sequence``; receipts are kept."""
    totals, header, settler = batch.totals, batch.header, settled.settler
    connection.execute(
        _INSERT_BATCH,
        (
            header.delivery_start,
            settled.sequence,
            header.readings_root,
            header.receipts_root,
            header.batch_hash,
            batch.rows,
            totals.traded_wh,
            totals.value_micro,
            totals.minted_wh,
            totals.burned_wh,
            header.revision,
            totals.fees_micro,
            settler.account,
            settler.sign(header.digest(settled.draft.terms.domain)),
        ),
    )
    insert_many(
        connection,
        "INSERT INTO receipts",
        [receipt_row(receipt, header) for receipt in batch.receipts],
    )
