"""What a home checks before it signs a correction: its receipts, and that the correction is their difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.protocol.chain_messages import Correction, SettlementHeader
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_correction
from coordinator.protocol.recovery import compact
from coordinator.settlement.rows import pack_rows
from coordinator.settlement.statements import readings_root, statements
from tests.settlement.community import DOMAIN, MARKET, Community, Home, homes

DELIVERY = 1_800_000_000


def envelopes(revision: int, delivered_wh: int) -> dict[str, dict[str, Any]]:
    """Return both homes' receipts: Anna sells 400 Wh to Bert and delivers this much; compensation is due."""
    community = Community(DELIVERY, compensation=True)
    anna, bert = homes("anna", "bert")
    sell, buy = community.order(anna, Side.SELL, 400, 150_000), community.order(bert, Side.BUY, 400, 250_000)
    community.trade(buy, sell, 400, 200_000)
    community.meter(anna, 0, delivered_wh)
    community.meter(bert, 400, 0)
    settlement = community.settle()
    root, receipts = statements(replace(community.terms(), revision=revision), settlement)
    header = SettlementHeader(
        DELIVERY,
        revision,
        keccak256(pack_rows(settlement.rows, settlement.orders)),
        readings_root(community.evidence, DOMAIN),
        root,
    )
    settler, digest = Home.named("the settler"), header.digest(DOMAIN)
    signature = compact(settler.key.sign(digest), digest, settler.address)
    assert signature is not None
    statement = header.to_wire() | {"signer": settler.address, "signature": "0x" + signature.hex()}
    return {
        receipt.account: {
            "body": receipt.body,
            "proof": ["0x" + step.hex() for step in receipt.proof],
            "receipts_root": "0x" + root.hex(),
            "settlement": statement,
        }
        for receipt in receipts
    }


ANNA, BERT = homes("anna", "bert")
BEFORE, AFTER = envelopes(0, 100), envelopes(1, 430)
SHORTFALL_MICRO = 300 * 120


def asked(home: Home, money_micro: int, energy_wh: int) -> Correction:
    root = bytes.fromhex(AFTER[home.address]["receipts_root"][2:])
    return Correction(home.address, MARKET, DELIVERY, 1, energy_wh, money_micro, root)


ANNAS, BERTS = asked(ANNA, 60_000 + SHORTFALL_MICRO, 30), asked(BERT, -60_000 - SHORTFALL_MICRO, 0)


@pytest.mark.parametrize(("home", "correction"), [(ANNA, ANNAS), (BERT, BERTS)], ids=["gains", "loses"])
def test_a_true_correction_may_be_signed(home: Home, correction: Correction) -> None:
    assert verify_correction(correction, AFTER[home.address], BEFORE[home.address]) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"money_micro": BERTS.money_micro - 1}, "not the difference of the two receipts"),
        ({"energy_wh": -1}, "not the difference of the two receipts"),
        ({"receipts_root": bytes(32)}, "the correction is of other receipts"),
        ({"revision": 2}, "of another account, interval or revision"),
        ({"delivery_start": DELIVERY + 900}, "of another account, interval or revision"),
        ({"market": "elm-street"}, "of another account, interval or revision"),
        ({"account": ANNA.address}, "of another account, interval or revision"),
    ],
    ids=str,
)
def test_a_correction_of_something_else_is_refused(change: dict[str, Any], sentence: str) -> None:
    findings = verify_correction(replace(BERTS, **change), AFTER[BERT.address], BEFORE[BERT.address])
    assert any(sentence in finding for finding in findings)


def _forged(envelope: dict[str, Any]) -> dict[str, Any]:
    return envelope | {"body": envelope["body"] | {"rule": "mine"}}


@pytest.mark.parametrize(
    ("after", "before", "sentence"),
    [
        (_forged(AFTER[BERT.address]), BEFORE[BERT.address], "the proof does not lead to"),
        (AFTER[BERT.address], _forged(BEFORE[BERT.address]), "the receipt in force: the proof does not lead to"),
        (AFTER[BERT.address], BEFORE[ANNA.address], "the receipt in force is of another account"),
        (AFTER[BERT.address], AFTER[BERT.address], "not later than the receipt in force"),
        (AFTER[BERT.address], None, "not the difference of the two receipts"),
        ({}, BEFORE[BERT.address], "the receipt is malformed"),
        (AFTER[BERT.address], {"body": 5}, "the receipt is malformed"),
    ],
    ids=["forged", "forged before", "a neighbour's", "the same", "nothing before", "nothing", "garbage"],
)
def test_a_receipt_that_does_not_hold_is_refused(after: Any, before: Any, sentence: str) -> None:
    assert any(sentence in finding for finding in verify_correction(BERTS, after, before))


def test_a_home_without_a_receipt_in_force_counts_from_nothing() -> None:
    """It traded, and nothing of that was settled before."""
    total_micro = AFTER[ANNA.address]["body"]["components"]["total_micro"]
    assert verify_correction(replace(ANNAS, money_micro=total_micro), AFTER[ANNA.address], None) == []
    assert verify_correction(replace(ANNAS, money_micro=total_micro + 1), AFTER[ANNA.address], None) != []
