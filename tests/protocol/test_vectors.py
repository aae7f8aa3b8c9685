"""The golden vectors are fresh, and other people's code agrees with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from eth_abi.packed import encode_packed
from eth_account import Account
from eth_account._utils.signing import to_standard_signature_bytes
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak

from coordinator.protocol.bundles import Bundle, legs_hash
from coordinator.protocol.chain_messages import Correction, Mandate, SettlementHeader, Withdrawal
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import verify_account, verify_meter
from coordinator.protocol.messages import Cancel, Message, Order, Reading
from coordinator.protocol.order_terms import Condition, Preferences
from coordinator.protocol.receipts import reading_leaf
from coordinator.protocol.signals import SignalMessage
from coordinator.protocol.typed_data import StructType

from .vectors import DOMAIN, PATH, build

VECTORS: dict[str, Any] = json.loads(PATH.read_text())
CHAIN: dict[str, Any] = {
    "withdrawals": Withdrawal,
    "mandates": Mandate,
    "corrections": Correction,
    "settlements": SettlementHeader,
    "signals": SignalMessage,
}
STRUCTS: dict[str, Any] = {"conditions": Condition, "preferences": Preferences, "bundles": Bundle}
SIGNED = [case for name in ("orders", "messages", "registrations", *CHAIN) for case in VECTORS[name]]


def test_file_is_fresh() -> None:
    assert build() == VECTORS, "run: python -m tests.protocol.vectors"


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: case["digest"][:10])
def test_eth_account_recovers_the_signer(case: dict[str, Any]) -> None:
    sealed = bytes.fromhex(case["compact_signature"][2:])
    v = 27 + (sealed[32] >> 7)
    standard = to_standard_signature_bytes(bytes.fromhex(case["signature"][2:]) + bytes([v]))
    signer = Account._recover_hash(bytes.fromhex(case["digest"][2:]), signature=standard[:64] + bytes([v]))
    assert signer.lower() == case["signer"]


@pytest.mark.parametrize("case", VECTORS["orders"], ids=lambda case: case["digest"][:10])
def test_eth_account_hashes_the_same_order(case: dict[str, Any]) -> None:
    order = Order.from_wire(case["message"])
    assert oracle_digest(order).hex() == case["digest"][2:]
    assert order.to_wire() == case["message"]


def test_eth_account_hashes_the_same_cancel_and_reading() -> None:
    cancel = VECTORS["messages"][1]
    message = cancel["message"]
    ours = Cancel(
        message["account"],
        message["market"],
        bytes.fromhex(message["order"][2:]),
        message["until"],
        bytes.fromhex(message["salt"][2:]),
    )
    assert oracle_digest(ours).hex() == cancel["digest"][2:]
    for case in VECTORS["readings"]:
        reading = Reading.from_wire(case["message"])
        assert oracle_digest(reading).hex() == case["digest"][2:]
        assert reading.to_wire() == case["message"]


def test_readings_leaves_are_hashed_three_times_with_tag_digest_and_signature() -> None:
    for case in VECTORS["readings"]:
        digest, signature = (bytes.fromhex(case[name][2:]) for name in ("digest", "signature"))
        tagged = keccak256(keccak256(b"energy-trade/reading/2") + digest + signature)
        assert keccak256(tagged).hex() == case["leaf"][2:]
        assert reading_leaf(digest, signature) == keccak256(tagged)


@pytest.mark.parametrize("name", STRUCTS)
def test_eth_account_hashes_the_same_structs_within_an_order(name: str) -> None:
    """An order carries the standard's ``hashStruct`` of its condition, its preferences, its bundle."""
    hashes = set()
    for case in VECTORS[name]:
        struct = STRUCTS[name].from_wire(case["value"])
        assert oracle(struct.TYPE, struct.values()).body.hex() == case["struct_hash"][2:]
        assert struct.to_wire() == case["value"]
        hashes.add(case["struct_hash"])
    assert len(hashes) == len(VECTORS[name]) >= 3
    carried = {"0x" + word.hex() for case in VECTORS["orders"] for word in terms(Order.from_wire(case["message"]))}
    assert hashes <= carried


def test_a_bundle_signs_its_legs_packed_in_their_order() -> None:
    for case in VECTORS["bundles"]:
        legs = [number for leg in case["value"]["legs"] for number in (leg["delivery_start"], leg["energy_wh"])]
        packed = encode_packed(["uint64"] * len(legs), legs)
        assert keccak(packed).hex() == case["legs_hash"][2:]
    two = Bundle.from_wire(VECTORS["bundles"][0]["value"]).legs
    assert legs_hash(two) != legs_hash(two[::-1])


def test_an_order_without_condition_bundle_and_preferences_may_leave_them_out() -> None:
    case = VECTORS["orders"][0]
    short = {name: value for name, value in case["message"].items() if name not in {"condition", "bundle"}}
    del short["preferences"]
    assert Order.from_wire(short) == Order.from_wire(case["message"])


@pytest.mark.parametrize("name", CHAIN)
def test_eth_account_hashes_the_same_messages_for_the_chain(name: str) -> None:
    for case in VECTORS[name]:
        message = CHAIN[name].from_wire(case["message"])
        assert oracle_digest(message).hex() == case["digest"][2:]
        assert message.to_wire() == case["message"]
    assert len(VECTORS[name]) == 2


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("withdrawals", "money_micro", 2**256),
        ("withdrawals", "relay_fee_micro", -1),
        ("mandates", "valid_until", 2**40),
        ("mandates", "sell_limit_min", -(2**63) - 1),
        ("corrections", "revision", 256),
        ("settlements", "revision", 2**32),
        ("signals", "value", 2**63),
    ],
)
def test_what_does_not_fit_its_type_is_never_signed(name: str, field: str, value: int) -> None:
    wire = VECTORS[name][0]["message"] | {field: value}
    with pytest.raises(ValueError, match=CHAIN[name].TYPE.name):
        CHAIN[name].from_wire(wire).digest(DOMAIN)


def test_signatures_verify_and_no_other_key_does() -> None:
    key = bytes.fromhex(VECTORS["keys"]["account"]["public_key"][2:])
    case = VECTORS["orders"][0]
    digest, signature = (bytes.fromhex(case[name][2:]) for name in ("digest", "signature"))
    assert verify_account(digest, signature, key)
    assert not verify_account(digest, signature, key[32:] + key[:32])
    reading = VECTORS["readings"][0]
    digest, signature, meter = (bytes.fromhex(reading[name][2:]) for name in ("digest", "signature", "public_key"))
    assert verify_meter(digest, signature, meter)
    assert not verify_meter(keccak(digest), signature, meter)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("conditions", "threshold", 2**63),
        ("conditions", "delivery_start", -1),
        ("preferences", "other_limit_price_micro_per_kwh", -(2**63) - 1),
        ("preferences", "partner", "0x12"),
        ("bundles", "min_acceptance_denominator", 2**32),
        ("bundles", "price_micro_per_kwh", 2**63),
    ],
)
def test_what_does_not_fit_its_type_is_never_hashed(name: str, field: str, value: object) -> None:
    wire = VECTORS[name][0]["value"] | {field: value}
    with pytest.raises(ValueError, match=STRUCTS[name].TYPE.name):
        STRUCTS[name].from_wire(wire).struct_hash()


@pytest.mark.parametrize(
    ("name", "field", "value", "sentence"),
    [
        ("conditions", "signal", "weather", "signal: expected one of last_price, "),
        ("conditions", "threshold", True, "threshold: expected an integer"),
        ("preferences", "green", 1, "green: expected true or false"),
        ("bundles", "legs", [7], "legs: expected an object"),
        ("bundles", "legs", None, "legs: expected a list"),
        ("bundles", "side", "both", "side: expected one of buy, sell"),
    ],
)
def test_a_field_that_is_wrong_is_named(name: str, field: str, value: object, sentence: str) -> None:
    wire = VECTORS[name][0]["value"] | {field: value}
    with pytest.raises(ValueError, match=sentence):
        STRUCTS[name].from_wire(wire)


def terms(order: Order) -> list[bytes]:
    """Return the hashes that an order's terms carry."""
    values = order.terms()
    return [bytes(values[name]) for name in ("condition", "preferences", "bundle")]  # type: ignore[arg-type]


def oracle_digest(message: Message) -> bytes:
    """Hash a message with eth-account."""
    signable = oracle(message.TYPE, message.values())
    return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


def oracle(kind: StructType, values: Mapping[str, Any]) -> SignableMessage:
    """Encode a struct with eth-account; the ``body`` is its ``hashStruct``."""
    types = {struct.name: _members(struct) for struct in (kind, *kind.nested)}
    return encode_typed_data(
        domain_data={
            "name": "Energy Trade",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": DOMAIN.ledger,
        },
        message_types=types,
        message_data=dict(values),
    )


def _members(struct: StructType) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in struct.members]
