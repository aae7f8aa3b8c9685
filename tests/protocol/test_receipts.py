"""A settlement receipt holds, and no single number in it can be changed unnoticed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.chain_messages import SettlementHeader
from coordinator.protocol.keys import MeterKey
from coordinator.protocol.merkle import leaf_hash, merkle_proofs, merkle_root
from coordinator.protocol.messages import Order, Reading, Side, device_text
from coordinator.protocol.receipts import (
    canonical,
    counterfactual,
    reading_leaf,
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


def test_a_readings_leaf_holds_its_signature() -> None:
    """A settler that invents a reading cannot show its members another signature than its tree holds."""
    forged, opening = envelope(), _readings(meter_key("ann"))[0]
    leaves = [reading_leaf(opening.digest(DOMAIN), bytes(64)), *READING_LEAVES[1:]]
    header = SettlementHeader(START, 0, bytes(32), merkle_root(leaves), bytes.fromhex(forged["receipts_root"][2:]))
    forged["settlement"] = signed(header)
    (finding, *_) = verify_receipt(forged)
    assert "the opening reading" in finding
    assert "not among the settlement's readings" in finding


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
UNBOUND = {"trade_id", "energy_wh", "feed_in_micro_per_kwh"}


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


def _as_estimate(content: dict[str, Any], wh: int) -> None:
    content["verified"] = {"consumption_wh": wh, "production_wh": 0, "estimated": True}


def _without_meters(content: dict[str, Any]) -> None:
    content["meters"] = []
    content["verified"] = {"consumption_wh": 0, "production_wh": 0, "estimated": False}


def _of_another_market(content: dict[str, Any]) -> None:
    content["market"] = "elm-street"


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "little verified, much billed": (lambda b: _as_estimate(b, 1), "more was bought than"),
    "an invented estimate": (lambda b: _as_estimate(b, 10**6), "outside of the signed registers"),
    "nothing metered": (_without_meters, "more was bought than"),
    "one meter twice": (lambda b: b["meters"].append(b["meters"][0]), "listed twice"),
    "one row twice": (lambda b: b["rows"].append(b["rows"][0]), "listed twice"),
    "one trade twice": (lambda b: b["trades"].append(b["trades"][0]), "listed twice"),
    "settled beyond the trade": (
        lambda b: b["trades"][0].update(energy_wh=BOUGHT_WH - 1),
        "more was settled than traded",
    ),
    "a trade turned round": (lambda b: b["trades"][0].update(side="sell"), "side is not the order's"),
    "another market": (_of_another_market, "for another market"),
    "no word about estimates": (lambda b: b["verified"].pop("estimated"), "estimated: expected"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_consistent_forgery_is_found(name: str) -> None:
    """Several numbers changed together, sealed by an operator who lies."""
    forge, sentence = FORGERIES[name]
    forged = body()
    forge(forged)
    verified = forged["verified"]
    forged["counterfactual"] = counterfactual(
        consumption_wh=verified["consumption_wh"],
        production_wh=verified["production_wh"],
        bought_wh=BOUGHT_WH,
        sold_wh=0,
        total_micro=forged["components"]["total_micro"],
        supplier_micro_per_kwh=320_000,
        feed_in_micro_per_kwh=80_000,
    )
    assert any(sentence in finding for finding in verify_receipt(sealed(forged)))


def test_a_true_estimate_holds() -> None:
    estimate = body()
    _as_estimate(estimate, 900)
    estimate["counterfactual"] = counterfactual(
        consumption_wh=900,
        production_wh=0,
        bought_wh=BOUGHT_WH,
        sold_wh=0,
        total_micro=estimate["components"]["total_micro"],
        supplier_micro_per_kwh=320_000,
        feed_in_micro_per_kwh=80_000,
    )
    assert verify_receipt(sealed(estimate)) == []


@pytest.mark.parametrize("name", ["body", "proof", "receipts_root", "settlement"])
def test_what_is_missing_is_named(name: str) -> None:
    broken = envelope()
    del broken[name]
    [finding] = verify_receipt(broken)
    assert name in finding


def test_a_future_version_says_update() -> None:
    later = body()
    later["version"] = 3
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


def _by_another_signer(sent: dict[str, Any]) -> None:
    sent["settlement"]["signer"] = account_key("ann").address


def _with_other_rows(sent: dict[str, Any]) -> None:
    sent["settlement"]["batch_hash"] = "0x" + "77" * 32


def _of_other_receipts(sent: dict[str, Any]) -> None:
    sent["settlement"] = signed(SettlementHeader(START, 0, bytes(32), READINGS_ROOT, bytes(32)))


def _of_another_interval(sent: dict[str, Any]) -> None:
    root = bytes.fromhex(sent["receipts_root"][2:])
    sent["settlement"] = signed(SettlementHeader(START + INTERVAL_S, 0, bytes(32), READINGS_ROOT, root))


def _of_another_revision(sent: dict[str, Any]) -> None:
    root = bytes.fromhex(sent["receipts_root"][2:])
    sent["settlement"] = signed(SettlementHeader(START, 1, bytes(32), READINGS_ROOT, root))


def _on_other_readings(sent: dict[str, Any]) -> None:
    root = bytes.fromhex(sent["receipts_root"][2:])
    sent["settlement"] = signed(SettlementHeader(START, 0, bytes(32), bytes(32), root))


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (_by_another_signer, "the settlement is not signed by its signer"),
        (_with_other_rows, "the settlement is not signed by its signer"),
        (_of_other_receipts, "the signed settlement has another receipts root"),
        (_of_another_interval, "the signed settlement is of another interval or revision"),
        (_of_another_revision, "the signed settlement is of another interval or revision"),
        (_on_other_readings, "is not among the settlement's readings"),
    ],
)
def test_a_statement_that_does_not_bear_the_receipt_out_is_found(
    forge: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    sent = envelope()
    forge(sent)
    assert any(sentence in finding for finding in verify_receipt(sent))


def charged(fee_micro: int = 0, compensation_micro: int = 0, short_wh: int = 0) -> dict[str, Any]:
    """Return the body of a buyer who pays fees, and for what it left (or, negative, gets compensation)."""
    content = body()
    (row,) = content["rows"]
    row |= {"short_wh": short_wh, "value_micro": row["value_micro"] + fee_micro + compensation_micro}
    parts = content["components"]
    parts |= {"community_fee_micro": -fee_micro, "imbalance_micro": -compensation_micro}
    parts["total_micro"] -= fee_micro + compensation_micro
    stated = content["counterfactual"]
    stated["with_market_micro"] -= fee_micro + compensation_micro
    stated["saved_micro"] -= fee_micro + compensation_micro
    return content


@pytest.mark.parametrize(
    "charges",
    [(8_000, 0, 0), (0, 5_000, 50), (0, -5_000, 0), (7_000, 60_000, 1)],
    ids=["a fee", "compensation paid", "compensation received", "both"],
)
def test_fees_and_compensation_are_part_of_the_receipt(charges: tuple[int, int, int]) -> None:
    assert verify_receipt(sealed(charged(*charges))) == []


@pytest.mark.parametrize(
    ("charges", "sentence"),
    [
        ((30_000, 0, 0), "the value with all fees is worse than the signed limit"),
        ((-1, 0, 0), "a fee is received instead of paid"),
        ((0, 1, 0), "compensation is paid for energy that was not short"),
        ((0, 0, 51), "more is called short than was traded and not executed"),
        ((0, 0, -1), "more is called short than was traded and not executed"),
    ],
)
def test_wrong_charges_are_found(charges: tuple[int, int, int], sentence: str) -> None:
    assert any(sentence in finding for finding in verify_receipt(sealed(charged(*charges))))


def test_charges_that_no_row_pays_are_found() -> None:
    forged = charged(fee_micro=8_000)
    forged["rows"][0]["value_micro"] -= 1
    assert verify_receipt(sealed(forged)) == ["the total is not what the rows pay and receive"]


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
        "settlement": signed(SettlementHeader(START, 0, bytes(32), READINGS_ROOT, merkle_root(leaves))),
        "transaction": None,
        "block_number": None,
    }


def signed(header: SettlementHeader) -> dict[str, Any]:
    """Let the settler sign."""
    settler, digest = account_key("ben"), header.digest(DOMAIN)
    signature = compact(settler.sign(digest), digest, settler.address)
    assert signature is not None
    return header.to_wire() | {"signer": settler.address, "signature": "0x" + signature.hex()}


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
        "short_wh": 0,
        "metered_wh": BOUGHT_WH,
        "value_micro": value,
        "trades": 1,
    }
    parts = {"energy_micro": -value, "grid_fee_micro": 0, "community_fee_micro": 0}
    return {
        "version": 2,
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


def _readings(meter: MeterKey) -> tuple[Reading, Reading]:
    first = Reading(meter.device_id, 1, START, 50_000, 700)
    return first, Reading(meter.device_id, 2, START + INTERVAL_S, 51_000, 700, 0, first.digest(DOMAIN))


def _meter(meter: MeterKey) -> dict[str, Any]:
    proofs = merkle_proofs(READING_LEAVES)
    opening, closing = (_signed(*end, meter) for end in zip(_readings(meter), proofs, strict=False))
    return {
        "device_id": device_text(meter.device_id),
        "public_key": "0x" + meter.public_key.hex(),
        "opening": opening,
        "closing": closing,
    }


def _signed(reading: Reading, proof: list[bytes], meter: MeterKey) -> dict[str, Any]:
    return {
        "reading": reading.to_wire(),
        "signature": "0x" + meter.sign(reading.digest(DOMAIN)).hex(),
        "proof": ["0x" + step.hex() for step in proof],
    }


def _reading_leaf(reading: Reading, meter: MeterKey) -> bytes:
    digest = reading.digest(DOMAIN)
    return reading_leaf(digest, meter.sign(digest))


ANNS_METER = meter_key("ann")
READING_LEAVES = [*(_reading_leaf(reading, ANNS_METER) for reading in _readings(ANNS_METER)), leaf_hash("x", b"3")]
READINGS_ROOT = merkle_root(READING_LEAVES)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**300), 2**300) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@given(st.data(), JUNK)
@settings(max_examples=300, deadline=None)
def test_garbage_anywhere_is_a_finding_never_a_crash(data: st.DataObject, junk: Any) -> None:
    broken = envelope()
    target: Any = broken
    while isinstance(target, (dict, list)) and target:
        step = data.draw(st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target))))
        if data.draw(st.booleans()) or not isinstance(target[step], (dict, list)):
            target[step] = junk
            break
        target = target[step]
    assert isinstance(verify_receipt(broken), list)
    assert isinstance(verify_receipt(sealed(broken["body"])) if isinstance(broken["body"], dict) else [], list)


def test_canonical_form_is_ascii_and_refuses_nan() -> None:
    assert canonical({"b": 1, "a": "ü"}) == b'{"a":"\\u00fc","b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})
