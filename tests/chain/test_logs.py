"""What logs and call data say, read with nothing but the interface."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode

from coordinator.chain.abi import contract
from coordinator.chain.batch import ROW_LENGTH, Row, Totals, changes, totals, unpack
from coordinator.chain.contracts import hexed
from coordinator.chain.logs import corrected_accounts, ledger_logs
from coordinator.chain.ports import CorrectedAccount, Deposited, LoadBalancingTriggered
from coordinator.protocol.keccak import keccak256

LEDGER, GRID = "0x" + "1e" * 20, "0x" + "9d" * 20
ANN, BEN = "0x" + "aa" * 20, "0x" + "bb" * 20
CORRECTION = [(ANN, -40, 7, 0, 10, b"\1" * 32, b"\2" * 32), (BEN, 30, -7, 0, 0, bytes(32), bytes(32))]
ROW_TYPE = "(address,int64,int64,uint48,uint48,bytes32,bytes32)[]"
HASH = keccak256(encode([ROW_TYPE], [CORRECTION]))


def correcting(to: str = LEDGER, **changed: Any) -> dict[str, Any]:
    """Return the transaction of a correction as a node tells it."""
    arguments = {"start": 1_800_000_000, "revision": 1, "readings": bytes(32), "receipts": bytes(32)} | changed
    calldata = contract("EnergyLedger").encode("correctInterval", *arguments.values(), CORRECTION)
    return {"to": to, "input": hexed(calldata)}


def test_rows_of_a_correction_are_read_from_its_call() -> None:
    assert corrected_accounts(LEDGER, HASH, correcting()) == (
        CorrectedAccount(ANN, -40, 7, 0, 10),
        CorrectedAccount(BEN, 30, -7, 0, 0),
    )


@pytest.mark.parametrize(
    ("correction_hash", "sent"),
    [
        (bytes(32), correcting()),
        (HASH, correcting(to="0x" + "77" * 20)),
        (HASH, correcting() | {"to": None}),
        (HASH, correcting() | {"input": "0x12345678"}),
        (HASH, correcting() | {"input": correcting()["input"][:200]}),
        (HASH, None),
    ],
    ids=["other rows", "another contract", "a creation", "another call", "half a call", "no transaction"],
)
def test_rows_that_are_not_the_corrections_are_no_rows(correction_hash: bytes, sent: object) -> None:
    assert corrected_accounts(LEDGER, correction_hash, sent) is None


def test_sums_are_read_from_their_word() -> None:
    word = (2**64 - 5) << 192 | 1 << 144 | 2**47 << 96 | 3 << 48 | 2**48 - 1
    assert Totals.of_word(word) == Totals(-5, 1, 2**47, 3, 2**48 - 1)


def test_row_is_read_field_by_field() -> None:
    packed = b"".join(
        (
            bytes.fromhex(ANN[2:]),
            b"\x01",
            (-3).to_bytes(8, "big", signed=True),
            *(n.to_bytes(6, "big") for n in (1_000, 600, 400, 700)),
            (-2).to_bytes(8, "big", signed=True),
            (9).to_bytes(2, "big"),
            b"\x04" * 32,
            b"\x05" * 64,
        )
    )
    row = Row(ANN, 1, -3, 1_000, 600, 400, 700, -2, 9, b"\x04" * 32, b"\x05" * 64)
    assert unpack(packed) == (row,)
    assert changes([row]) == {ANN: (-2, 100)}
    assert len(packed) == ROW_LENGTH
    with pytest.raises(ValueError, match="is not a number of rows of 159"):
        unpack(packed[:-1])
    with pytest.raises(ValueError, match="side 2"):
        unpack(packed[:20] + b"\x02" + packed[21:])


def test_sums_of_rows_have_fees_and_signs() -> None:
    buy = Row(ANN, 0, 0, 9, 5, 1, 4, -10, 1, b"", b"")
    sell = Row(BEN, 1, 0, 9, 5, 0, 6, -30, 1, b"", b"")
    assert totals([buy, sell]) == Totals(-10, traded_wh=5, minted_wh=6, burned_wh=4, fees_micro=20)


def test_logs_of_others_are_passed_over() -> None:
    log = {"address": LEDGER, "transactionHash": "0x1", "blockNumber": "0x2", "data": "0x"}
    assert ledger_logs(LEDGER, [log | {"topics": []}, log | {"topics": ["0x" + "12" * 32]}]) == []


def told(place: str, name: str, event: str, indexed: list[bytes], *plain: int) -> dict[str, Any]:
    """Return a log as a node tells it, in the transaction 0x1."""
    topics = [contract(name).topic(event), *map(hexed, indexed)]
    body = b"".join(value.to_bytes(32, "big") for value in plain)
    return {"address": place, "transactionHash": "0x1", "blockNumber": "0x2", "topics": topics, "data": hexed(body)}


def test_the_grids_logs_are_read_and_do_not_count_among_the_others() -> None:
    numbers = [(7).to_bytes(32, "big"), (3).to_bytes(32, "big")]
    trigger = told(GRID, "GridManagement", "LoadBalancingTriggered", numbers, 500, 20_000)
    accounts = [bytes(12) + bytes.fromhex(account[2:]) for account in (ANN, BEN)]
    deposit = told(LEDGER, "EnergyLedger", "Deposited", accounts, 5)
    expected = LoadBalancingTriggered(7, 3, 500, 20_000, "0x1", 2, "0x1:grid:0")
    assert ledger_logs(LEDGER, [trigger, deposit], GRID) == [expected, Deposited(ANN, 5, "0x1:0", "0x1", 2)]
    assert ledger_logs(LEDGER, [trigger]) == []
