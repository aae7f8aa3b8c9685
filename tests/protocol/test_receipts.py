"""A settlement receipt holds, and no single number in it can be changed unnoticed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from coordinator.protocol.keys import MeterKey
from coordinator.protocol.merkle import leaf_hash, merkle_proofs, merkle_root
from coordinator.protocol.messages import Order, Reading, Side, device_text
from coordinator.protocol.receipts import (
    canonical,
    counterfactual,
    receipt_leaf,
    verify_receipt,
)
from coordinator.protocol.recovery import compact
from coordinator.protocol.units import value_micro

from .vectors import DOMAIN, MARKET, account_key, meter_key

START, INTERVAL_S = 1_800_000_000, 900
BOUGHT_WH, PRICE = 800, 215_000


def test_a_true_receipt_holds() -> None:
    assert verify_receipt(envelope()) == []


def test_a_body_that_was_changed_has_no_proof() -> None:
    forged = envelope()
    forged["body"]["components"]["energy_micro"] += 1
    assert "the proof does not lead to the batch's receipts root" in verify_receipt(forged)


def numbers(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every integer in the body that is not a mere name."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from numbers(value, (*path, index))
    elif isinstance(node, int) and not isinstance(node, bool):
        yield path


# Names, what was traded before metering, and a tariff that this home (no export) never met.
UNBOUND = {"revision", "trade_id", "energy_wh", "feed_in_micro_per_kwh"}


def test_every_number_is_recomputed_even_by_a_lying_operator() -> None:
    """The operator can give any body a valid proof; the numbers must still agree."""
    unnoticed = []
    for path in numbers(body()):
        forged = body()
        target = forged
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] += 10_007
        if not verify_receipt(sealed(forged)):
            unnoticed.append(path)
    assert {path[-1] for path in unnoticed} <= UNBOUND
    assert all(path[0] != "rows" for path in unnoticed)


@pytest.mark.parametrize("name", ["body", "proof", "receipts_root"])
def test_what_is_missing_is_named(name: str) -> None:
    broken = envelope()
    del broken[name]
    [finding] = verify_receipt(broken)
    assert name in finding


def test_a_future_version_says_update() -> None:
    later = body()
    later["version"] = 2
    [finding] = verify_receipt(sealed(later))
    assert "update" in finding


def test_a_worse_price_than_signed_is_found() -> None:
    forged = body()
    [trade] = forged["trades"]
    trade["price_micro_per_kwh"] = 260_000
    findings = verify_receipt(sealed(forged))
    assert any("worse than the signed limit" in finding for finding in findings)


def test_a_reading_of_another_meter_is_found() -> None:
    forged = body()
    forged["meters"][0]["public_key"] = "0x" + MeterKey.generate().public_key.hex()
    findings = verify_receipt(sealed(forged))
    assert any("is not that meter's" in finding for finding in findings)


def envelope() -> dict[str, Any]:
    """Return a true receipt of a buyer."""
    return sealed(body())


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Put the body into a tree with two others."""
    leaves = [leaf_hash("x", b"1"), receipt_leaf(content), leaf_hash("x", b"2")]
    return {
        "body": copy.deepcopy(content),
        "proof": ["0x" + step.hex() for step in merkle_proofs(leaves)[1]],
        "receipts_root": "0x" + merkle_root(leaves).hex(),
        "transaction": None,
        "block_number": None,
    }


def body() -> dict[str, Any]:
    """Return the body of a buyer who took 1,000 Wh and had bought 800 of them."""
    ann, meter = account_key("ann"), meter_key("ann")
    order = Order(ann.address, MARKET, START, Side.BUY, 900, 250_000)
    digest = order.digest(DOMAIN)
    signature = compact(ann.sign(digest), digest, ann.address)
    assert signature is not None
    value = value_micro(BOUGHT_WH, PRICE)
    trade = {
        "trade_id": 3,
        "side": "buy",
        "order": "0x" + digest.hex(),
        "energy_wh": 850,
        "price_micro_per_kwh": PRICE,
        "settled_wh": BOUGHT_WH,
        "value_micro": value,
    }
    row = {
        "order": order.to_wire(),
        "digest": "0x" + digest.hex(),
        "signature": "0x" + signature.hex(),
        "executed_wh": BOUGHT_WH,
        "metered_wh": BOUGHT_WH,
        "value_micro": value,
        "trades": 1,
    }
    parts = {"energy_micro": -value, "grid_fee_micro": 0, "community_fee_micro": 0}
    return {
        "version": 1,
        "revision": 0,
        "market": MARKET,
        "chain_id": DOMAIN.chain_id,
        "ledger": DOMAIN.ledger,
        "account": ann.address,
        "delivery_start": START,
        "interval_s": INTERVAL_S,
        "rule": "uniform-midpoint-pro_rata/1",
        "meters": [_meter(meter)],
        "verified": {"consumption_wh": 1000, "production_wh": 0, "estimated": False},
        "trades": [trade],
        "rows": [row],
        "components": parts | {"imbalance_micro": 0, "total_micro": -value},
        "counterfactual": counterfactual(
            consumption_wh=1000,
            production_wh=0,
            bought_wh=BOUGHT_WH,
            sold_wh=0,
            total_micro=-value,
            supplier_micro_per_kwh=320_000,
            feed_in_micro_per_kwh=80_000,
        ),
    }


def _meter(meter: MeterKey) -> dict[str, Any]:
    first = Reading(meter.device_id, 1, START, 50_000, 700)
    second = Reading(meter.device_id, 2, START + INTERVAL_S, 51_000, 700, 0, first.digest(DOMAIN))
    return {
        "device_id": device_text(meter.device_id),
        "public_key": "0x" + meter.public_key.hex(),
        "opening": _signed(first, meter),
        "closing": _signed(second, meter),
    }


def _signed(reading: Reading, meter: MeterKey) -> dict[str, Any]:
    return {
        "reading": reading.to_wire(),
        "signature": "0x" + meter.sign(reading.digest(DOMAIN)).hex(),
    }


def test_canonical_form_is_ascii_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": "ü"}) == b'{"a":"\\u00fc","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})
