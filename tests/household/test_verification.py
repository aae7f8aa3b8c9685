"""A home believes a receipt only when it is about itself: its keys, its registers, its contract, its operator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coordinator.household.verification import (
    FINDINGS_KEPT,
    Known,
    ProvedBy,
    Verdict,
    VerificationState,
    check_receipt,
)
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_receipt
from coordinator.protocol.typed_data import Domain
from coordinator.settlement.statements import statements
from tests.settlement.community import DOMAIN, INTERVAL_S, MARKET, Community, Home, homes

START = 1_800_000_000
SETTLER = Home.named("the settler")
type Envelope = dict[str, Any]


def receipt() -> tuple[Envelope, Known]:
    """Return a buyer's receipt, and what the buyer knows."""
    seller, buyer = homes("seller", "buyer")
    community = Community(START)
    sell, buy = community.order(seller, Side.SELL, 600, 150_000), community.order(buyer, Side.BUY, 500, 200_000)
    community.trade(buy, sell, 500, 160_000)
    community.meter(seller, 0, 620)
    community.meter(buyer, 700, 0)
    root, told = statements(community.terms(), community.settle())
    (own,) = (each for each in told if each.account == buyer.address)
    known = Known(
        account=buyer.address,
        market=MARKET,
        domain=DOMAIN,
        operator=SETTLER.address,
        device_id=buyer.meter.device_id,
        interval_s=INTERVAL_S,
        registers={START: (1_000, 2_000), START + INTERVAL_S: (1_700, 2_000)},
    )
    return community.envelope(own, root), known


def test_an_honest_receipt_holds() -> None:
    assert check_receipt(*_with_start(receipt())) == ()


def _with_start(found: tuple[Envelope, Known]) -> tuple[Envelope, int, Known]:
    return found[0], START, found[1]


@pytest.mark.parametrize(
    ("otherwise", "words"),
    [
        (lambda k: replace(k, account="0x" + "11" * 20), "another account"),
        (lambda k: replace(k, market="elsewhere"), "another market"),
        (lambda k: replace(k, domain=Domain(1, DOMAIN.ledger)), "another contract than"),
        (lambda k: replace(k, domain=Domain(DOMAIN.chain_id, "0x" + "22" * 20)), "another contract"),
        (lambda k: replace(k, operator="0x" + "33" * 20), "somebody else than the operator"),
        (lambda k: replace(k, device_id=7), "a meter that this home does not have"),
        (lambda k: replace(k, interval_s=300), "another interval"),
        (lambda k: replace(k, registers={START: (999, 2_000)}), "opening reading has other registers"),
        (lambda k: replace(k, registers={START + INTERVAL_S: (1_700, 1)}), "closing reading has other registers"),
    ],
)
def test_a_receipt_that_says_otherwise_than_the_home_knows_does_not_hold(
    otherwise: Callable[[Known], Known], words: str
) -> None:
    envelope, known = receipt()
    assert verify_receipt(envelope) == []
    (finding,) = check_receipt(envelope, START, otherwise(known))
    assert words in finding


def own_order(envelope: Envelope) -> bytes:
    """Return the digest of the order that the receipt executes: 500 Wh of it traded."""
    return bytes.fromhex(envelope["body"]["rows"][0]["digest"][2:])


@pytest.mark.parametrize("told_wh", [0, 20, 499])
def test_an_order_that_traded_more_than_was_told_when_it_was_over_is_found(told_wh: int) -> None:
    envelope, known = receipt()
    own = own_order(envelope)
    (finding,) = check_receipt(envelope, START, replace(known, told_wh={own: told_wh}))
    assert finding.startswith(f"order 0x{own.hex()} traded 500 Wh, but this home was told")
    assert f"over with {told_wh} Wh traded" in finding


@pytest.mark.parametrize(
    "told_wh",
    [
        lambda own: {},
        lambda own: {own: 500},
        lambda own: {own: 501},
        lambda own: {bytes(32): 0},
    ],
    ids=["nothing told, or not by this home", "all", "more", "another order"],
)
def test_what_was_told_as_it_was_or_not_at_all_is_no_finding(told_wh: Callable[[bytes], dict[bytes, int]]) -> None:
    envelope, known = receipt()
    assert check_receipt(envelope, START, replace(known, told_wh=told_wh(own_order(envelope)))) == ()


@pytest.mark.parametrize("delivered_wh", [0, 300, 620])
def test_what_traded_counts_and_not_what_was_delivered(delivered_wh: int) -> None:
    """Two trades of one order: they are told together, whatever the seller's meter makes of them."""
    envelope, known, sell = sold(delivered_wh)
    assert check_receipt(envelope, START, replace(known, told_wh={sell: 500})) == ()
    (finding,) = check_receipt(envelope, START, replace(known, told_wh={sell: 300}))
    assert "traded 500 Wh" in finding


def sold(delivered_wh: int, *, excluded: bool = False) -> tuple[Envelope, Known, bytes]:
    """Return the receipt of who sold 300 and 200 Wh with one order, what it knows, and that order."""
    seller, buyer = homes("seller", "buyer")
    community = Community(START, excluded=(buyer.address,) if excluded else ())
    sell = community.order(seller, Side.SELL, 600, 150_000)
    for energy_wh in (300, 200):
        community.trade(community.order(buyer, Side.BUY, energy_wh, 200_000), sell, energy_wh, 160_000)
    community.meter(seller, 0, delivered_wh)
    community.meter(buyer, 700, 0)
    root, told = statements(community.terms(), community.settle())
    (own,) = (each for each in told if each.account == seller.address)
    known = replace(receipt()[1], account=seller.address, device_id=seller.meter.device_id, registers={})
    return community.envelope(own, root), known, sell


@pytest.mark.parametrize("told_wh", [0, 500])
def test_nothing_comes_of_a_void_trade(told_wh: int) -> None:
    envelope, known, sell = sold(620, excluded=True)
    assert all(trade["void"] for trade in envelope["body"]["trades"])
    assert check_receipt(envelope, START, replace(known, told_wh={sell: told_wh})) == ()


def test_the_receipt_of_another_interval_is_not_taken_for_the_one_asked_for() -> None:
    envelope, known = receipt()
    assert any("another interval" in finding for finding in check_receipt(envelope, START + INTERVAL_S, known))


def test_a_trade_that_was_never_ordered_is_found_by_its_missing_signature() -> None:
    envelope, known = receipt()
    stranger = Home.named("stranger")
    envelope["body"]["rows"][0]["signature"] = "0x" + stranger.key.sign(bytes(32)).hex()
    assert any("not signed by the account" in finding for finding in check_receipt(envelope, START, known))


GARBAGE: list[Any] = [None, 7, "x", [], {}, {"a": 1}, -(2**70), True, "0x12"]


@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_garbage_in_any_place_is_a_finding_and_never_an_error(garbage: Any) -> None:
    envelope, known = receipt()
    for path in _paths(envelope):
        broken = copy.deepcopy(envelope)
        place: Any = broken
        for step in path[:-1]:
            place = place[step]
        if place[path[-1]] == garbage and type(place[path[-1]]) is type(garbage):
            continue
        place[path[-1]] = garbage
        found = check_receipt(broken, START, known)
        assert found or path in HARMLESS, path
        assert len(found) <= FINDINGS_KEPT


HARMLESS = [("transaction",), ("block_number",)]
"""What a receipt says of the chain is a hint where to look, no claim."""


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = [path] if path else []
    for key, value in items:
        found += _paths(value, (*path, key))
    return found


def test_an_empty_answer_is_malformed() -> None:
    (finding,) = check_receipt({}, START, receipt()[1])
    assert "malformed" in finding


def test_a_verdict_survives_its_file() -> None:
    verdict = Verdict(START, 2, ProvedBy.CHAIN, ("a",), ("b",), "0xab")
    assert Verdict.from_dict(verdict.to_dict()) == verdict
    assert Verdict.from_dict(replace(verdict, transaction=None).to_dict()).transaction is None
    with pytest.raises(ValueError, match="proof"):
        Verdict.from_dict({**verdict.to_dict(), "proved_by": "proof"})


def test_nothing_is_known_before_the_first_receipt() -> None:
    good = Verdict(START, 0, ProvedBy.OPERATOR)
    assert VerificationState().holds is None
    assert VerificationState(1, (), good).holds is True
    bad = replace(good, chain_findings=("other rows",))
    assert (good.holds, bad.holds) == (True, False)
    assert VerificationState(1, (bad,), good).holds is False
