"""Everything in a ledger recomputed: the chain of hashes, every decision, every reading, every receipt.

``verify`` trusts only the code that runs it. It changes nothing and may run beside a coordinator.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ..market.commands import Command, ExcludeFromSettlement, SettleInterval
from ..market.events import Event, IntervalResettled, IntervalSettled, Settled
from ..market.state import MarketState, state_hash
from ..protocol.keys import verify_meter
from ..protocol.messages import ZERO_HASH, device_text
from ..protocol.receipts import canonical
from ..protocol.recovery import recover_address
from ..protocol.typed_data import Domain
from .decisions import Batch, batch_effects, decide, draft_batch
from .evidence import SELECT_READINGS, device_key, gather, question, reading_of
from .log import Terms
from .records import LedgerConfig, LedgerError
from .replay import Entry, Rebuilt, entries
from .store import check_pages, damage_reported, open_read_only

FINDINGS_MAX = 100


@dataclass(slots=True)
class VerifyReport:
    """What was recomputed, and what does not hold (a sentence each)."""

    sequence: int = 0
    state_hash: bytes = b""
    commands: int = 0
    readings: int = 0
    settlements: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Revision:
    """An interval's last settlement, and the sequence of its first."""

    sequence: int
    revision: int


def verify(path: Path) -> VerifyReport:
    """Recompute the ledger at ``path``; stop looking after ``FINDINGS_MAX`` findings."""
    report = VerifyReport()
    rebuilt = Rebuilt()
    try:
        report.findings += [f"the file: {fault}" for fault in check_pages(path)]
        with damage_reported(path), closing(open_read_only(path)) as connection:
            connection.execute("BEGIN")  # one moment for everything, whatever a coordinator adds meanwhile
            for finding in _findings(connection, rebuilt, report):
                report.findings.append(finding)
                if len(report.findings) >= FINDINGS_MAX:
                    report.findings.append("and perhaps more: looked no further")
                    break
    except LedgerError as error:
        report.findings.append(str(error))
    report.sequence = rebuilt.head.sequence
    report.state_hash = state_hash(rebuilt.state) if rebuilt.terms else b""
    return report


def _findings(connection: sqlite3.Connection, rebuilt: Rebuilt, report: VerifyReport) -> Iterator[str]:
    revisions: dict[int, _Revision] = {}
    for entry in entries(connection):
        if not isinstance(entry.command, Terms):
            yield from _check_decision(rebuilt.state, entry, entry.command)
            for event in entry.events:
                if isinstance(event, IntervalSettled | IntervalResettled):
                    first = revisions.get(event.delivery_start)
                    revision = _Revision(first.sequence if first else entry.row.sequence, event.revision)
                    revisions[event.delivery_start] = revision
                    report.settlements += not event.revision
                    yield from _check_settlement(connection, rebuilt, entry, event, revision.sequence)
        rebuilt.take(entry)
        report.commands += 1
    yield from _check_revisions(connection, revisions)
    if rebuilt.terms is not None:
        yield from _check_readings(connection, rebuilt, rebuilt.terms, report)


def _check_decision(state: MarketState, entry: Entry, command: Command) -> Iterator[str]:
    decision = decide(state, command, entry.row.at)
    if decision != entry.events:
        difference = _first_difference(decision, entry)
        yield f"row {entry.row.sequence}: {entry.row.kind} is decided otherwise now: {difference}"


def _first_difference(decision: object, entry: Entry) -> str:
    if not isinstance(decision, tuple):
        return repr(decision)
    pairs: Iterator[tuple[Event, Event]] = zip(decision, entry.events, strict=False)
    differing = (f"{now!r} instead of {then!r}" for now, then in pairs if now != then)
    return next(differing, f"{len(decision)} events instead of {len(entry.events)}")


def _check_settlement(
    connection: sqlite3.Connection, rebuilt: Rebuilt, entry: Entry, event: Settled, sequence: int
) -> Iterator[str]:
    """Go from the signed readings to the receipts and the packed rows once more.

    ``sequence`` is the command's that settled the interval first: what the readings are as of.
    """
    name = f"row {entry.row.sequence}: the settlement of {event.delivery_start}"
    assert rebuilt.terms is not None
    asked = question(rebuilt.state, event.delivery_start, rebuilt.terms)
    if asked is None or not isinstance(entry.command, SettleInterval | ExcludeFromSettlement):
        yield f"{name} is of an interval that nobody traded in"
        return
    evidence = gather(connection, asked, sequence)
    if not evidence.supports(event):
        yield f"{name} does not follow from the stored readings"
        return
    batch = draft_batch(rebuilt.state, event, evidence.meters, rebuilt.terms.domain).finish()
    yield from (f"{name}: {fault}" for fault in _check_batch(connection, batch, rebuilt.terms.domain))
    yield from (f"{name}: {fault}" for fault in _check_receipts(connection, batch, event.revision))
    yield from (f"{name}: {fault}" for fault in _check_effect(connection, batch, event))


def _check_revisions(connection: sqlite3.Connection, revisions: Mapping[int, _Revision]) -> Iterator[str]:
    """The stored batches must be the last that were decided: those before them are replaced."""
    for delivery_start, *stored in connection.execute("SELECT delivery_start, sequence, revision FROM settlements"):
        decided = revisions.get(delivery_start)
        if decided is None or [decided.sequence, decided.revision] != stored:
            yield f"the stored settlement of {delivery_start} is not the last that was decided"


def _check_batch(connection: sqlite3.Connection, batch: Batch, domain: Domain) -> Iterator[str]:
    """A batch that a later revision has replaced is gone; ``_check_revisions`` looks whether one has."""
    sql = (
        "SELECT revision, batch_hash, readings_root, receipts_root, rows, signer, signature"
        " FROM settlements WHERE delivery_start = ?"
    )
    header = batch.header
    found = connection.execute(sql, (header.delivery_start,)).fetchone()
    if found is not None and found[0] > header.revision:
        return
    expected = header.revision, header.batch_hash, header.readings_root, header.receipts_root, batch.rows
    if found is None or found[:5] != expected:
        yield "the stored roots or rows are others"
    elif recover_address(header.digest(domain), found[6]) != found[5]:
        yield "the settler did not sign it"


def _check_receipts(connection: sqlite3.Connection, batch: Batch, revision: int) -> Iterator[str]:
    sql = "SELECT account, body, proof FROM receipts WHERE delivery_start = ? AND revision = ?"
    rows = connection.execute(sql, (batch.header.delivery_start, revision))
    stored = {account: (body, proof) for account, body, proof in rows}
    for receipt in batch.receipts:
        expected = canonical(receipt.body).decode(), b"".join(receipt.proof)
        if stored.pop(receipt.account, None) != expected:
            yield f"the stored receipt of {receipt.account} is another"
    yield from (f"there is a receipt for {account}, who did not trade" for account in stored)


def _check_effect(connection: sqlite3.Connection, batch: Batch, event: Settled) -> Iterator[str]:
    """The grid's update depends on the configuration; the batch is what must be right."""
    for effect in batch_effects(batch, event, 1, LedgerConfig()):
        if effect.kind != "settle_batch":
            continue
        stored = connection.execute("SELECT payload FROM outbox WHERE key = ?", (effect.key,)).fetchone()
        if stored is None or json.loads(stored[0]) != effect.payload:
            yield f"the outbox's {effect.key} is missing or another"


def _check_readings(
    connection: sqlite3.Connection, rebuilt: Rebuilt, terms: Terms, report: VerifyReport
) -> Iterator[str]:
    """Every meter's readings must be signed, without gaps, and chained by hash."""
    stored = connection.execute("SELECT count(*) FROM readings").fetchone()[0]
    for device_id, meter in rebuilt.state.meters.items():
        expected, previous = 1, ZERO_HASH
        rows = connection.execute(f"{SELECT_READINGS} WHERE device_id = ? ORDER BY sequence", (device_key(device_id),))
        for row in rows:
            reading, digest, signature, _ = reading_of(row)
            name = f"reading {reading.sequence} of meter {device_text(device_id)}"
            if reading.sequence != expected or reading.previous != previous:
                yield f"{name} does not follow from the one before it"
            if reading.digest(terms.domain) != digest or not verify_meter(digest, signature, meter.public_key):
                yield f"{name} is not what the meter signed"
            expected, previous = reading.sequence + 1, digest
            report.readings += 1
    if stored != report.readings:
        yield f"{stored - report.readings} readings are of meters that were never registered"
