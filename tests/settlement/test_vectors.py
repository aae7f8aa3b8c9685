"""The golden batches are what the code makes now, and their receipts hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.protocol.receipts import verify_receipt
from coordinator.settlement.rows import ROW_BYTES
from tests.settlement.vectors import PATH, build

VECTORS: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))


def test_file_is_what_the_generator_makes() -> None:
    assert json.loads(json.dumps(build())) == VECTORS


@pytest.mark.parametrize("batch", VECTORS["batches"], ids=lambda batch: batch["name"])
def test_receipt_of_each_batch_holds(batch: dict[str, Any]) -> None:
    assert verify_receipt(batch["receipt"]) == []


@pytest.mark.parametrize("batch", VECTORS["batches"], ids=lambda batch: batch["name"])
def test_rows_stand_in_the_contract_order(batch: dict[str, Any]) -> None:
    packed = bytes.fromhex(batch["rows_hex"][2:])
    rows = [packed[i : i + ROW_BYTES] for i in range(0, len(packed), ROW_BYTES)]
    keys = [(row[:20], bytes.fromhex(r["order"][2:])) for row, r in zip(rows, batch["rows"], strict=True)]
    assert keys == sorted(set(keys))
    assert all(row[:20].hex() == r["account"][2:] for row, r in zip(rows, batch["rows"], strict=True))


def test_packed_row_field_by_field() -> None:
    """The layout of contracts/src/types/OrderRow.sol, read with nothing but offsets."""
    batch = VECTORS["batches"][0]
    orders = {order["digest"]: order for order in batch["orders"]}
    packed = bytes.fromhex(batch["rows_hex"][2:])
    for place, row in enumerate(batch["rows"]):
        raw = packed[place * ROW_BYTES : (place + 1) * ROW_BYTES]
        order = orders[row["order"]]
        fields = [int.from_bytes(raw[a:b], "big", signed=(a in {21, 53})) for a, b in _OFFSETS]
        assert fields == [
            0 if row["side"] == "buy" else 1,
            order["wire"]["limit_price_micro_per_kwh"],
            order["wire"]["energy_wh"],
            row["executed_wh"],
            row["short_wh"],
            row["metered_wh"],
            row["value_micro"],
            row["trades"],
        ]
        assert raw[95:].hex() == order["signature"][2:]


def test_money_is_kept_and_energy_minted_less_burned() -> None:
    balances: dict[str, dict[str, int]] = {}
    minted_wh = fees_micro = 0
    for batch in VECTORS["batches"]:
        balances |= {entry["account"]: entry for entry in batch["balances"]}
        minted_wh += batch["totals"]["minted_wh"] - batch["totals"]["burned_wh"]
        fees_micro += batch["totals"]["fees_micro"]
    assert sorted(balances) == VECTORS["accounts"]
    money_micro = sum(balance["money_micro"] for balance in balances.values())
    assert money_micro + fees_micro == VECTORS["opening_money_micro"] * len(balances)
    assert fees_micro > 0
    assert sum(b["energy_wh"] for b in balances.values()) == minted_wh


_OFFSETS = ((20, 21), (21, 29), (29, 35), (35, 41), (41, 47), (47, 53), (53, 61), (61, 63))
