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

from ..market.cascades import Cascade
from ..market.certificate import verify as verify_certificate
from ..market.commands import ClearSession, CloseGate, Command, FireOrder
from ..market.decide import Decision
from ..market.events import (
    CorrectionProposed,
    Event,
    GateClosed,
    IntervalResettled,
    IntervalSettled,
    SessionCleared,
    Settled,
)
from ..market.sessions import certified
from ..market.state import MarketState, state_hash
from ..protocol.keys import verify_meter
from ..protocol.messages import ZERO_HASH, device_text
from ..protocol.receipts import canonical
from ..protocol.recovery import recover_address
from ..protocol.typed_data import Domain
from . import snapshots
from .auctions import certified as auction_of
from .auctions import kept
from .decisions import Batch, batch_effects, decide, draft_batch
from .evidence import SELECT_READINGS, device_key, gather, question, reading_of
from .log import Terms
from .records import LedgerConfig, LedgerError
from .replay import Entry, Rebuilt, entries
from .settling import Settling
from .store import check_pages, damage_reported, open_read_only

FINDINGS_MAX = 100
_RECEIPTS = "SELECT account, body, proof FROM receipts WHERE delivery_start = ? AND revision = ?"
_CORRECTED_RECEIPTS = "SELECT account, body, proof FROM correction_receipts WHERE delivery_start = ? AND revision = ?"


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
    """An interval's last settlement, and the sequence of the command whose readings it rests on."""

    sequence: int
    revision: int
    readings_root: bytes

    def next(self, event: Settled, sequence: int) -> _Revision:
        """Return the revision that a later settlement is, decided by the command ``sequence``."""
        same = event.readings_root == self.readings_root
        return _Revision(self.sequence if same else sequence, event.revision, event.readings_root)


class _Firings:
    """Which conditional orders the log must let fire, in which order: by the rule that the writer fires them by.

    They come right after the command that let them, in the same second, and none comes unasked.
    """

    def __init__(self) -> None:
        self._cascade: Cascade | None = None
        self._state: MarketState
        self._at = 0

    def check(self, entry: Entry | None) -> Iterator[str]:
        """Compare an entry, or the log's end, with what has to fire now."""
        firing = None if self._cascade is None else self._cascade.next(self._judge)
        due = firing[0] if firing else None
        found = entry.command if entry is not None and isinstance(entry.command, FireOrder) else None
        if found == due and (due is None or (entry is not None and entry.row.at == self._at)):
            return
        self._cascade = None  # look anew: one finding for one fault
        name = "the log's end" if entry is None else f"row {entry.row.sequence}"
        if due is None:
            assert found is not None
            yield f"{name}: order {found.order.hex()} fires, and nothing lets it"
        else:
            yield f"{name}: order {due.order.hex()} should have fired before, at {self._at}"

    def take(self, state: MarketState, entry: Entry) -> None:
        """Note what an entry lets fire; its events are applied."""
        if self._cascade is None:
            self._cascade = Cascade(state)
        self._state, self._at = state, entry.row.at
        self._cascade.add(entry.events)

    def _judge(self, command: FireOrder) -> Decision:
        return decide(self._state, command, self._at)


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
    kept_snapshots = snapshots.kept(connection)
    firings = _Firings()
    for entry in entries(connection):
        yield from firings.check(entry)
        if not isinstance(entry.command, Terms):
            yield from _check_decision(rebuilt.state, entry, entry.command)
            yield from _check_auction(connection, rebuilt.state, entry, entry.command)
            for event in entry.events:
                if isinstance(event, IntervalSettled | IntervalResettled):
                    sequence = entry.row.sequence
                    before = revisions.get(event.delivery_start, _Revision(sequence, 0, event.readings_root))
                    revisions[event.delivery_start] = before.next(event, sequence)
                    report.settlements += not event.revision
                    sequence = revisions[event.delivery_start].sequence
                    yield from _check_settlement(connection, rebuilt, entry, event, sequence)
                elif isinstance(event, CorrectionProposed):
                    yield from _check_settlement(connection, rebuilt, entry, event, entry.row.sequence)
        rebuilt.take(entry)
        firings.take(rebuilt.state, entry)
        report.commands += 1
        snapshot = kept_snapshots.get(entry.row.sequence)
        if snapshot is not None and not snapshots.is_of(snapshot, rebuilt.state):
            yield f"row {entry.row.sequence}: the snapshot kept there is of another state: delete it"
    yield from firings.check(None)
    yield from _check_revisions(connection, revisions)
    if rebuilt.terms is not None:
        yield from _check_readings(connection, rebuilt, rebuilt.terms, report)


def _check_decision(state: MarketState, entry: Entry, command: Command) -> Iterator[str]:
    decision = decide(state, command, entry.row.at)
    if decision != entry.events:
        difference = _first_difference(decision, entry)
        yield f"row {entry.row.sequence}: {entry.row.kind} is decided otherwise now: {difference}"


def _check_auction(connection: sqlite3.Connection, state: MarketState, entry: Entry, command: Command) -> Iterator[str]:
    """Where an auction's certificate is still kept, it must be the one that follows, and hold."""
    if not isinstance(command, ClearSession | CloseGate):
        return
    event = next((e for e in entry.events if isinstance(e, SessionCleared | GateClosed)), None)
    sql = "SELECT 1 FROM auctions WHERE sequence = ?"
    if event is None or not connection.execute(sql, (entry.row.sequence,)).fetchone():
        return
    expected = kept(event, entry.row.at, certified(state, command, entry.row.at), entry.row.sequence)
    record = expected.record
    name = f"row {entry.row.sequence}: the {record.kind} auction at {record.at}"
    stored = auction_of(connection, record.kind, record.at)
    if stored is None or stored[0] != record or canonical(stored[1]) != canonical(expected.certificate):
        yield f"{name} is stored otherwise"
    elif stored[1] and (faults := verify_certificate(stored[1])):
        yield f"{name} has a certificate that does not hold: {faults[0]}"


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

    ``sequence`` is the command's whose readings it rests on: what they are as of.
    """
    name = f"row {entry.row.sequence}: the settlement of {event.delivery_start}"
    assert rebuilt.terms is not None
    asked = question(rebuilt.state, event.delivery_start, rebuilt.terms)
    if asked is None or not isinstance(entry.command, Settling):
        yield f"{name} is of an interval that nobody traded in"
        return
    evidence = gather(connection, asked, sequence)
    if not evidence.supports(event):
        yield f"{name} does not follow from the stored readings"
        return
    batch = draft_batch(rebuilt.state, event, evidence.meters, rebuilt.terms.domain).finish()
    if isinstance(event, CorrectionProposed):
        yield from (f"{name}: {fault}" for fault in _check_correction(connection, batch, event, rebuilt.terms.domain))
        return
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


def _check_correction(
    connection: sqlite3.Connection, batch: Batch, event: CorrectionProposed, domain: Domain
) -> Iterator[str]:
    """The proposal's roots, signature, changes and receipts must be those that were decided."""
    sql = (
        "SELECT batch_hash, readings_root, receipts_root, signer, signature, stage FROM corrections"
        " WHERE delivery_start = ? AND revision = ?"
    )
    key, header = (event.delivery_start, event.revision), batch.header
    found = connection.execute(sql, key).fetchone()
    if found is None or found[:3] != (header.batch_hash, header.readings_root, event.receipts_root):
        yield "the stored correction's roots are others"
    elif recover_address(header.digest(domain), found[4]) != found[3]:
        yield "the settler did not sign the correction"
    if header.receipts_root != event.receipts_root:
        yield "the correction is of other receipts"
    sql = "SELECT account, money_micro, energy_wh FROM correction_changes WHERE delivery_start = ? AND revision = ?"
    changes = {(change.account, change.money_micro, change.energy_wh) for change in event.changes}
    if set(connection.execute(sql, key)) != changes:
        yield "the stored correction's changes are others"
    yield from _check_receipts(connection, batch, event.revision, _CORRECTED_RECEIPTS)
    if found is not None and found[5] == "booked":
        yield from _check_receipts(connection, batch, event.revision)


def _check_receipts(connection: sqlite3.Connection, batch: Batch, revision: int, sql: str = _RECEIPTS) -> Iterator[str]:
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
