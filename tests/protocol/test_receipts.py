"""A settlement receipt holds, and no single number in it can be changed unnoticed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
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
    price_components,
    reading_leaf,
    receipt_leaf,
    verify_receipt,
)
from coordinator.protocol.recovery import compact
from coordinator.protocol.units import value_micro

from .vectors import DOMAIN, MARKET, account_key, meter_key

START, INTERVAL_S = 1_800_000_000, 900
ANNS_METER = meter_key("ann")
TRADED_WH, BOUGHT_WH, PRICE = 850, 800, 215_000
SUPPLIER, FEED_IN = 320_000, 80_000


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


# A name, what was traded before metering (beyond what this home took of it), and a tariff of an export it has not.
UNBOUND = {"trade_id", "feed_in_micro_per_kwh"}


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


def _moved(content: dict[str, Any], settled_wh: int) -> None:
    """Settle less (all numbers agree), without saying that the rest was short."""
    trade, row = content["trades"][0], content["rows"][0]
    trade["settled_wh"] += settled_wh
    trade["value_micro"] = value_micro(trade["settled_wh"], PRICE)
    row |= dict.fromkeys(("executed_wh", "metered_wh"), trade["settled_wh"])
    row["value_micro"] = trade["value_micro"]
    content["components"] |= price_components([trade])


def _as_unused(content: dict[str, Any]) -> None:
    content["trades"][0] |= {"short_wh": 0, "unused_wh": TRADED_WH - BOUGHT_WH}


def _fee_received(content: dict[str, Any]) -> None:
    """The fee's rate is negative: the buyer would pay less than the price."""
    trade, row = content["trades"][0], content["rows"][0]
    trade |= {"community_fee_micro_per_kwh": -1_000, "community_fee_micro": -800}
    row["value_micro"] -= 800
    content["components"] |= price_components([trade])


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "little verified, much billed": (lambda b: _as_estimate(b, 1), "more was bought than"),
    "an invented estimate": (lambda b: _as_estimate(b, 10**6), "outside of the signed registers"),
    "nothing metered": (_without_meters, "more was bought than"),
    "one meter twice": (lambda b: b["meters"].append(b["meters"][0]), "listed twice"),
    "one row twice": (lambda b: b["rows"].append(b["rows"][0]), "listed twice"),
    "one trade twice": (lambda b: b["trades"].append(b["trades"][0]), "listed twice"),
    "delivered, but said to be short": (lambda b: _moved(b, -50), "not its share of what the meters verified"),
    "short, but said to be left by the buyer": (_as_unused, "not its share of what the meters verified"),
    "short and left at once": (lambda b: b["trades"][0].update(unused_wh=1), "called short and unused"),
    "void, and settled": (lambda b: b["trades"][0].update(void=True), "it is void, and settled something"),
    "compensation forgotten": (lambda b: b.update(compensation=True), "compensation is not what the tariffs make it"),
    "a fee without energy": (lambda b: b["trades"][0].update(grid_fee_micro=7), "the grid fee is not energy times"),
    "a fee received": (_fee_received, "the community fee is not energy times its rate"),
    "much called short": (lambda b: b["rows"][0].update(short_wh=50), "not what its account owes money for"),
    "settled beyond the trade": (
        lambda b: b["trades"][0].update(energy_wh=BOUGHT_WH - 1),
        "more was settled than traded",
    ),
    "a trade turned round": (lambda b: b["trades"][0].update(side="sell"), "side is not the order's"),
    "another market": (_of_another_market, "for another market"),
    "no word about estimates": (lambda b: b["verified"].pop("estimated"), "estimated: expected"),
    "no word about compensation": (lambda b: b.pop("compensation"), "compensation: expected"),
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


def test_a_future_version_says_update_and_an_old_one_that_it_is_old() -> None:
    other = body()
    for version, word in ((4, "update"), (2, "as of its own time")):
        other["version"] = version
        [finding] = verify_receipt(sealed(other))
        assert word in finding


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


def charged(fees: tuple[int, int] = (0, 0), *, delivered_wh: int = BOUGHT_WH, taken_wh: int = 1000) -> dict[str, Any]:
    """Return the body of a buyer in a market with compensation: it pays fees, and one side owes the other."""
    content = body()
    trade, row = content["trades"][0], content["rows"][0]
    delivered_wh, bought_wh = min(delivered_wh, TRADED_WH), min(taken_wh, TRADED_WH)
    settled_wh = min(delivered_wh, bought_wh)
    dearer, cheaper = SUPPLIER - PRICE - sum(fees), PRICE - FEED_IN
    content |= {"compensation": True, "meters": [_meter(ANNS_METER, taken_wh)]}
    content["verified"]["consumption_wh"] = taken_wh
    trade |= {
        "grid_fee_micro_per_kwh": fees[0],
        "community_fee_micro_per_kwh": fees[1],
        "settled_wh": settled_wh,
        "short_wh": bought_wh - settled_wh,
        "unused_wh": delivered_wh - settled_wh,
        "value_micro": value_micro(settled_wh, PRICE),
        "grid_fee_micro": value_micro(settled_wh, fees[0]),
        "community_fee_micro": value_micro(settled_wh, fees[1]),
        "shortfall_micro": value_micro(bought_wh - settled_wh, max(0, dearer)),
        "under_use_micro": value_micro(delivered_wh - settled_wh, cheaper),
    }
    content["components"] = price_components([trade])
    total_micro = content["components"]["total_micro"]
    short_wh = delivered_wh - settled_wh
    row |= {
        "executed_wh": settled_wh,
        "metered_wh": settled_wh,
        "short_wh": short_wh or (0 if settled_wh else 1),
        "value_micro": -total_micro,
    }
    content["counterfactual"] = counterfactual(
        consumption_wh=taken_wh,
        production_wh=0,
        bought_wh=settled_wh,
        sold_wh=0,
        total_micro=total_micro,
        supplier_micro_per_kwh=SUPPLIER,
        feed_in_micro_per_kwh=FEED_IN,
    )
    return content


@pytest.mark.parametrize(
    ("fees", "delivered_wh", "taken_wh", "imbalance_micro"),
    [
        ((10_001, 20_003), 900, 1_000, 0),
        ((0, 0), 900, 700, -150 * 135),
        ((0, 0), 800, 1_000, 50 * 105),
        ((10_000, 0), 800, 1_000, 50 * 95),
        ((0, 0), 0, 1_000, 850 * 105),
        ((0, 0), 850, 0, -850 * 135),
        ((0, 0), 400, 300, -100 * 135),
    ],
    ids=["fees", "she owes", "she is owed", "her fees are spared", "nothing came", "nothing was taken", "both missed"],
)
def test_fees_and_compensation_are_part_of_the_receipt(
    fees: tuple[int, int], delivered_wh: int, taken_wh: int, imbalance_micro: int
) -> None:
    content = charged(fees, delivered_wh=delivered_wh, taken_wh=taken_wh)
    assert verify_receipt(sealed(content, taken_wh)) == []
    assert content["components"]["imbalance_micro"] == imbalance_micro


def test_fees_beyond_the_signed_limit_are_found() -> None:
    findings = verify_receipt(sealed(charged((20_000, 15_001))))
    assert "trade 3: the price is worse than the signed limit" in findings
    at_the_limit = charged((20_000, 15_000))
    assert verify_receipt(sealed(at_the_limit)) == []


def test_charges_that_no_row_pays_and_compensation_that_none_receives_are_found() -> None:
    forged = charged((8_000, 0))
    forged["rows"][0]["value_micro"] -= 1
    assert "the total is not what the rows pay and receive" in verify_receipt(sealed(forged))
    forged = charged(delivered_wh=0)
    forged["rows"] = []
    assert "trade 3 has no row, though it settled energy or money" in verify_receipt(sealed(forged))


def envelope() -> dict[str, Any]:
    """Return a true receipt of a buyer."""
    return sealed(body())


def sealed(content: dict[str, Any], taken_wh: int = 1_000) -> dict[str, Any]:
    """Put the body into a tree with two others, and its readings into one with another."""
    readings_root = merkle_root(_reading_leaves(taken_wh))
    leaves = [leaf_hash("x", b"1"), receipt_leaf(content), leaf_hash("x", b"2")]
    header = SettlementHeader(START, 0, bytes(32), readings_root, merkle_root(leaves))
    return {
        "body": copy.deepcopy(content),
        "proof": ["0x" + step.hex() for step in merkle_proofs(leaves)[1]],
        "receipts_root": "0x" + merkle_root(leaves).hex(),
        "settlement": signed(header),
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
    """Return the body of a buyer who took 1,000 Wh, had bought 850 of them and got 800."""
    ann, meter = account_key("ann"), meter_key("ann")
    order = Order(ann.address, MARKET, START, Side.BUY, 900, 250_000)
    digest = order.digest(DOMAIN)
    signature = compact(ann.sign(digest), digest, ann.address)
    assert signature is not None
    value = value_micro(BOUGHT_WH, PRICE)
    trade = _trade("0x" + digest.hex(), value)
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
        "version": 3,
        "revision": 0,
        "market": MARKET,
        "chain_id": DOMAIN.chain_id,
        "ledger": DOMAIN.ledger,
        "account": ann.address,
        "delivery_start": START,
        "interval_s": INTERVAL_S,
        "rule": "uniform-midpoint-pro_rata/1",
        "compensation": False,
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


def _trade(order: str, value: int) -> dict[str, Any]:
    return {
        "trade_id": 3,
        "side": "buy",
        "order": order,
        "energy_wh": TRADED_WH,
        "price_micro_per_kwh": PRICE,
        "grid_fee_micro_per_kwh": 0,
        "community_fee_micro_per_kwh": 0,
        "settled_wh": BOUGHT_WH,
        "short_wh": TRADED_WH - BOUGHT_WH,
        "unused_wh": 0,
        "value_micro": value,
        "grid_fee_micro": 0,
        "community_fee_micro": 0,
        "shortfall_micro": 0,
        "under_use_micro": 0,
        "void": False,
    }


def _readings(meter: MeterKey, consumption_wh: int = 1_000) -> tuple[Reading, Reading]:
    first = Reading(meter.device_id, 1, START, 50_000, 700)
    last = 50_000 + consumption_wh
    return first, Reading(meter.device_id, 2, START + INTERVAL_S, last, 700, 0, first.digest(DOMAIN))


def _meter(meter: MeterKey, consumption_wh: int = 1_000) -> dict[str, Any]:
    ends = zip(_readings(meter, consumption_wh), merkle_proofs(_reading_leaves(consumption_wh)), strict=False)
    opening, closing = (_signed(*end, meter) for end in ends)
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


@cache
def _reading_leaves(consumption_wh: int = 1_000) -> tuple[bytes, ...]:
    own = (_reading_leaf(reading, ANNS_METER) for reading in _readings(ANNS_METER, consumption_wh))
    return *own, leaf_hash("x", b"3")


READING_LEAVES = _reading_leaves()
READINGS_ROOT = merkle_root(READING_LEAVES)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**300), 2**300) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@given(st.data(), JUNK)
@settings(max_examples=120, deadline=None, derandomize=True)
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
