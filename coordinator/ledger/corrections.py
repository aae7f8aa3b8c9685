"""Corrections in the ledger's tables: written as they are proposed, signed, agreed and booked; asked by members."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..market.events import (
    CorrectionAgreed,
    CorrectionEnded,
    CorrectionProposed,
    CorrectionSigned,
    Event,
    IntervalCorrected,
)
from ..protocol.chain_messages import Correction, SettlementHeader
from ..protocol.receipts import canonical
from ..settlement.statements import Statement
from .store import insert_many

CORRECTIONS_LISTED = 100

_SET_STAGE = "UPDATE corrections SET stage = ? WHERE delivery_start = ? AND revision = ?"
_SUPERSEDE = "UPDATE corrections SET stage = 'superseded' WHERE delivery_start = ? AND stage IN ('proposed', 'ended')"
_SIGN = "UPDATE correction_changes SET signature = ? WHERE account = ? AND delivery_start = ? AND revision = ?"
_BOOK = "UPDATE corrections SET stage = 'booked' WHERE delivery_start = ? AND revision = ? AND stage = 'agreed'"
_TAKE_OFF = """
UPDATE account_totals SET
    intervals = intervals - 1,
    consumption_wh = account_totals.consumption_wh - replaced.consumption_wh,
    production_wh = account_totals.production_wh - replaced.production_wh,
    saved_micro = account_totals.saved_micro - replaced.saved_micro
FROM receipts AS replaced
WHERE replaced.account = account_totals.account AND replaced.delivery_start = ?
    AND replaced.revision = (SELECT revision FROM revisions_in_force WHERE delivery_start = replaced.delivery_start)
"""
_MOVE_RECEIPTS = """
INSERT INTO receipts
SELECT account, delivery_start, revision, consumption_wh, production_wh, total_micro, saved_micro, body, proof
FROM correction_receipts WHERE delivery_start = ? AND revision = ?
"""
_OF_ACCOUNT = """
SELECT c.delivery_start, c.revision, c.batch_hash, c.readings_root, c.receipts_root, c.signer, c.signature, c.stage,
    a.money_micro, a.energy_wh, a.signature, r.body, r.proof
FROM correction_changes a JOIN corrections c USING (delivery_start, revision)
    LEFT JOIN correction_receipts r USING (account, delivery_start, revision)
WHERE account = ? ORDER BY c.delivery_start DESC, c.revision DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class CorrectionDraft:
    """A proposed correction with the settler's statement about it and its receipts."""

    event: CorrectionProposed
    sequence: int
    header: SettlementHeader
    settler: str
    signature: bytes
    receipts: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """What a correction is to one account.

    ``status`` is proposed, agreed (on its way to the chain), booked (on chain), ended or superseded. ``envelope`` is
    the account's corrected receipt as ``verify_receipt`` takes it; ``None`` for an account that did not trade.
    """

    correction: Correction
    status: str
    signed: bool
    needs_signature: bool
    envelope: dict[str, Any] | None


def write_correction(connection: sqlite3.Connection, draft: CorrectionDraft) -> None:
    """Write a proposed correction and its receipts; one before it that is not agreed is superseded."""
    event, header = draft.event, draft.header
    key = event.delivery_start, event.revision
    connection.execute(_SUPERSEDE, (event.delivery_start,))
    roots = header.batch_hash, header.readings_root, header.receipts_root
    connection.execute(
        "INSERT INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'proposed')",
        (*key, draft.sequence, *roots, draft.settler, draft.signature),
    )
    changes = [(c.account, *key, c.money_micro, c.energy_wh, b"") for c in event.changes]
    insert_many(connection, "INSERT INTO correction_changes", changes)
    insert_many(connection, "INSERT INTO correction_receipts", [receipt_row(r, header) for r in draft.receipts])


def receipt_row(receipt: Statement, header: SettlementHeader) -> tuple[object, ...]:
    """Return a receipt as the tables hold it."""
    return (
        receipt.account,
        header.delivery_start,
        header.revision,
        receipt.body["verified"]["consumption_wh"],
        receipt.body["verified"]["production_wh"],
        receipt.body["components"]["total_micro"],
        receipt.body["counterfactual"]["saved_micro"],
        canonical(receipt.body).decode(),
        b"".join(receipt.proof),
    )


def follow_corrections(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Note what has become of corrections; a booked one's receipts are in force from now on."""
    for event in events:
        match event:
            case CorrectionSigned():
                connection.execute(_SIGN, (event.signature, event.account, event.delivery_start, event.revision))
            case CorrectionAgreed():
                connection.execute(_SET_STAGE, ("agreed", event.delivery_start, event.revision))
            case CorrectionEnded():
                connection.execute(_SET_STAGE, ("ended", event.delivery_start, event.revision))
            case IntervalCorrected():
                _book(connection, event)
            case _:
                pass


def _book(connection: sqlite3.Connection, event: IntervalCorrected) -> None:
    """Let the receipts of the correction that was agreed be in force; one of somebody else's changes none."""
    agreed = connection.execute(
        "SELECT account, money_micro, energy_wh"
        " FROM correction_changes JOIN corrections USING (delivery_start, revision)"
        " WHERE delivery_start = ? AND revision = ? AND stage = 'agreed' ORDER BY account",
        (event.delivery_start, event.revision),
    ).fetchall()
    if agreed and agreed == [(c.account, c.money_micro, c.energy_wh) for c in event.changes]:
        connection.execute(_TAKE_OFF, (event.delivery_start,))
        connection.execute(_BOOK, (event.delivery_start, event.revision))
        connection.execute(_MOVE_RECEIPTS, (event.delivery_start, event.revision))


def corrections_of(connection: sqlite3.Connection, market: str, account: str) -> list[CorrectionRecord]:
    """Return an account's newest corrections, newest interval first."""
    rows = connection.execute(_OF_ACCOUNT, (account, CORRECTIONS_LISTED))
    return [_record(market, account, row) for row in rows]


def _record(market: str, account: str, row: tuple[Any, ...]) -> CorrectionRecord:
    delivery_start, revision, batch_hash, readings_root, receipts_root, signer, seal, stage, *rest = row
    money_micro, energy_wh, signature, body, proof = rest
    correction = Correction(account, market, delivery_start, revision, energy_wh, money_micro, receipts_root)
    header = SettlementHeader(delivery_start, revision, batch_hash, readings_root, receipts_root).to_wire()
    envelope = (
        None
        if body is None
        else {
            "body": json.loads(body),
            "proof": ["0x" + proof[i : i + 32].hex() for i in range(0, len(proof), 32)],
            "receipts_root": header["receipts_root"],
            "settlement": header | {"signer": signer, "signature": "0x" + seal.hex()},
            "transaction": None,
            "block_number": None,
        }
    )
    needs_signature = stage == "proposed" and not signature and (money_micro < 0 or energy_wh < 0)
    return CorrectionRecord(correction, stage, bool(signature), needs_signature, envelope)
