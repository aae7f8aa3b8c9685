"""The golden vectors are fresh, and other people's code agrees with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account._utils.signing import to_standard_signature_bytes
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from coordinator.protocol.chain_messages import Correction, Mandate, SettlementHeader, Withdrawal
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import verify_account, verify_meter
from coordinator.protocol.messages import Cancel, Message, Order, Reading
from coordinator.protocol.receipts import reading_leaf
from coordinator.protocol.typed_data import StructType

from .vectors import DOMAIN, PATH, build

VECTORS: dict[str, Any] = json.loads(PATH.read_text())
CHAIN: dict[str, Any] = {
    "withdrawals": Withdrawal,
    "mandates": Mandate,
    "corrections": Correction,
    "settlements": SettlementHeader,
}
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


def oracle_digest(message: Message) -> bytes:
    """Hash a message with eth-account."""
    types = {struct.name: _members(struct) for struct in (message.TYPE, *message.TYPE.nested)}
    signable = encode_typed_data(
        domain_data={
            "name": "Energy Trade",
            "version": "1",
            "chainId": DOMAIN.chain_id,
            "verifyingContract": DOMAIN.ledger,
        },
        message_types=types,
        message_data=dict(message.values()),
    )
    return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


def _members(struct: StructType) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in struct.members]
