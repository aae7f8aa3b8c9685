"""Makes ``tests/cases/protocol_vectors.json``: every message with digest, signature and signer.

Run ``python -m tests.protocol.vectors`` after a change of the protocol; pytest, the Solidity tests
and the dashboard's tests read the file. Keys are made from fixed secrets: never use them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.protocol.bundles import Bundle, Leg, legs_hash
from coordinator.protocol.chain_messages import Correction, Mandate, SettlementHeader, Withdrawal
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.membership import Join, SessionRequest
from coordinator.protocol.merkle import leaf_hash, merkle_proofs, merkle_root
from coordinator.protocol.messages import (
    Cancel,
    DeviceReceipt,
    Message,
    MeterRegistration,
    Order,
    Reading,
    Side,
    TimeInForce,
)
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from coordinator.protocol.receipts import reading_leaf
from coordinator.protocol.recovery import compact
from coordinator.protocol.signals import SignalMessage
from coordinator.protocol.typed_data import Domain

PATH = Path(__file__).parents[1] / "cases" / "protocol_vectors.json"
DOMAIN = Domain(31337, "0x00000000000000000000000000000000001ed9e2")
MARKET = "sunny-street"


def account_key(name: str) -> AccountKey:
    """Return a test account's key."""
    return AccountKey.from_secret(keccak256(f"energy-trade test account {name}".encode()))


def meter_key(name: str) -> MeterKey:
    """Return a test meter's key."""
    return MeterKey.from_secret(keccak256(f"energy-trade test meter {name}".encode()))


def build() -> dict[str, Any]:
    """Return the vectors as JSON values."""
    return {
        "about": "Digests (EIP-712), signatures (RFC 6979, low s) and signers of every message.",
        "domain": {
            "name": "Energy Trade",
            "version": "1",
            "chain_id": DOMAIN.chain_id,
            "ledger": DOMAIN.ledger,
            "separator": _hex(DOMAIN.separator()),
        },
        "market_hash": _hex(keccak256(MARKET.encode())),
        "keys": _keys(),
        "orders": [_order(order) for order in [*_orders(), *_conditional_orders(), *_legs()]],
        "conditions": [_struct(condition) for condition in _conditions()],
        "preferences": [_struct(preferences) for preferences in _preferences()],
        "bundles": [_struct(bundle) | {"legs_hash": _hex(legs_hash(bundle.legs))} for bundle in _bundles()],
        "messages": [_by_account(message) for message in _account_messages()],
        "withdrawals": [_by_account(message) for message in _withdrawals()],
        "mandates": [_by_account(message) for message in _mandates()],
        "corrections": [_by_account(message) for message in _corrections()],
        "settlements": [_by_account(message) for message in _settlements()],
        "signals": [_by_account(message) for message in _signals()],
        "registrations": [_registration()],
        "readings": [_reading(reading) for reading in _readings()],
        "merkle": [_tree(count) for count in (0, 1, 2, 3, 5, 8)],
    }


def _keys() -> dict[str, Any]:
    ann, meter = account_key("ann"), meter_key("ann")
    return {
        "account": {
            "secret": _hex(ann.secret),
            "public_key": _hex(ann.public_key),
            "address": ann.address,
        },
        "meter": {
            "secret": _hex(meter.secret),
            "public_key": _hex(meter.public_key),
            "device_id": f"0x{meter.device_id:064x}",
        },
    }


def _orders() -> list[Order]:
    ann, ben = account_key("ann").address, account_key("ben").address
    salt = keccak256(b"salt")
    return [
        Order(ann, MARKET, 1_800_000_000, Side.BUY, 1_500, 250_000),
        Order(ben, MARKET, 1_800_000_000, Side.SELL, 2_000, 180_000, client_id="b-1", salt=salt),
        Order(ann, MARKET, 1_800_000_900, Side.BUY, 1, None, TimeInForce.IMMEDIATE_OR_CANCEL),
        Order(ben, MARKET, 1_800_000_900, Side.SELL, 2**48 - 1, None, TimeInForce.FILL_OR_KILL),
        Order(
            ann,
            MARKET,
            1_800_001_800,
            Side.SELL,
            42,
            -5_000,
            TimeInForce.GOOD_TILL_DATE,
            1_799_990_000,
            1_799_999_999,
            "Zürich ☀",
        ),
    ]


def _conditions() -> list[Condition]:
    return [
        Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 250_000),
        Condition(Signal.SESSION_PRICE, Comparison.AT_MOST, -(2**63), 1_800_000_000),
        Condition(Signal.FREQUENCY, Comparison.AT_MOST, 49_800),
        Condition(Signal.FORECAST_SURPLUS, Comparison.AT_LEAST, 2**63 - 1, 2**64 - 1),
    ]


def _preferences() -> list[Preferences]:
    ben = account_key("ben").address
    return [
        Preferences(green=True),
        Preferences(local=True, other_limit_price_micro_per_kwh=0),
        Preferences(green=True, local=True, partner=ben, other_limit_price_micro_per_kwh=-5_000),
    ]


def _bundles() -> list[Bundle]:
    """A block of all or none, its child, and the two halves of a battery's spread."""
    ann, ben = account_key("ann").address, account_key("ben").address
    group, spread = keccak256(b"group"), keccak256(b"spread")
    two = (Leg(1_800_000_000, 1_500), Leg(1_800_000_900, 2**48 - 1))
    block = Bundle(ann, MARKET, Side.BUY, 250_000, two)
    return [
        block,
        Bundle(ann, MARKET, Side.SELL, -5_000, two[:1], (1, 3), parent=block.struct_hash(), group=group),
        Bundle(ben, MARKET, Side.BUY, 90_000, (Leg(1_800_001_800, 4_000),), spread=spread, salt=keccak256(b"salt")),
        Bundle(ben, MARKET, Side.SELL, 210_000, (Leg(1_800_009_000, 3_600),), spread=spread, salt=keccak256(b"salt")),
    ]


def _conditional_orders() -> list[Order]:
    """An order for each condition and each kind of preference; the last has both."""
    ann = account_key("ann").address
    plain = Order(ann, MARKET, 1_800_002_700, Side.BUY, 900, 260_000)
    conditional = [replace(plain, condition=condition) for condition in _conditions()]
    choosy = [replace(plain, preferences=preferences) for preferences in _preferences()]
    return [*conditional, *choosy, replace(conditional[0], preferences=_preferences()[0])]


def _legs() -> list[Order]:
    """The legs of every bundle; the first bundle's have limits of their own."""
    limits: list[int | None] = [300_000, None, None, None]
    return [
        Order(b.account, MARKET, leg.delivery_start, b.side, leg.energy_wh, limit, bundle=b.struct_hash())
        for b, limit in zip(_bundles(), limits, strict=True)
        for leg in b.legs
    ]


def _signals() -> list[Message]:
    """What the operator says; Ann's key stands for the operator's."""
    return [
        SignalMessage(MARKET, Signal.GRID_STATE, 0, 2, 1_799_000_003),
        SignalMessage(MARKET, Signal.FORECAST_SURPLUS, 1_800_000_000, -(2**63), 2**64 - 1),
    ]


def _account_messages() -> list[Message]:
    ann = account_key("ann").address
    order = _orders()[0].digest(DOMAIN)
    return [
        Cancel(ann, MARKET, order, 0),
        Cancel(ann, MARKET, bytes(32), 1_799_999_000, keccak256(b"all")),
        Join(ann, MARKET, "sun-2026", "Ann's house", 1_799_000_000),
        SessionRequest(ann, MARKET, 1_799_000_001),
        DeviceReceipt(meter_key("ann").device_id, 7, keccak256(b"reading"), 1_799_000_002),
    ]


def _withdrawals() -> list[Message]:
    ann, ben = account_key("ann").address, account_key("ben").address
    return [
        Withdrawal(ann, ann, 5_000_000, 0, 0, 1_800_100_000),
        Withdrawal(ben, ann, 1, 20_000, 0, 2**64 - 1),
    ]


def _mandates() -> list[Message]:
    ann, ben = account_key("ann").address, account_key("ben").address
    return [
        Mandate(ann, ben, 1_800_000_000, 1_800_086_400, 5_000, 250_000, 80_000),
        Mandate(ben, ann, 0, 2**40 - 1, 2**48 - 1, 2**63 - 1, -(2**63)),
    ]


def _corrections() -> list[Message]:
    ann, ben = account_key("ann").address, account_key("ben").address
    return [
        Correction(ann, MARKET, 1_800_000_000, 1, -40, 0, keccak256(b"corrected receipts")),
        Correction(ben, MARKET, 1_800_000_900, 255, 0, -2_500_000, bytes(32)),
    ]


def _settlements() -> list[Message]:
    """The settler's statements; Ann's key stands for the settler's."""
    hashes = [keccak256(name) for name in (b"rows", b"readings", b"receipts")]
    return [
        SettlementHeader(1_800_000_000, 0, *hashes),
        SettlementHeader(2**64 - 1, 2**32 - 1, keccak256(b""), bytes(32), hashes[2]),
    ]


def _readings() -> list[Reading]:
    device = meter_key("ann").device_id
    first = Reading(device, 1, 1_800_000_000, 1_234_567, 89_012)
    second = Reading(device, 2, 1_800_000_900, 1_234_600, 89_512, 1, first.digest(DOMAIN), keccak256(b"samples"))
    return [first, second]


def _order(order: Order) -> dict[str, Any]:
    return _by_account(order) | {
        "terms_hash": _hex(order.terms_hash()),
        "side": order.side.code,
        "signed_limit": order.signed_limit,
    }


def _struct(struct: Condition | Preferences | Bundle) -> dict[str, Any]:
    return {"type": struct.TYPE.type_string(), "value": struct.to_wire(), "struct_hash": _hex(struct.struct_hash())}


def _by_account(message: Message) -> dict[str, Any]:
    names = {account_key(name).address: account_key(name) for name in ("ann", "ben")}
    key = names[getattr(message, "account", account_key("ann").address)]
    digest = message.digest(DOMAIN)
    signature = key.sign(digest)
    sealed = compact(signature, digest, key.address)
    assert sealed is not None
    return {
        "type": message.TYPE.type_string(),
        "message": message.to_wire(),
        "digest": _hex(digest),
        "signature": _hex(signature),
        "compact_signature": _hex(sealed),
        "signer": key.address,
    }


def _registration() -> dict[str, Any]:
    ann, meter = account_key("ann"), meter_key("ann")
    key = meter.public_key
    message = MeterRegistration(meter.device_id, ann.address, key[:32], key[32:], 24_000, 10_000)
    digest = message.digest(DOMAIN)
    return _by_account(message) | {"meter_signature": _hex(meter.sign(digest))}


def _reading(reading: Reading) -> dict[str, Any]:
    digest = reading.digest(DOMAIN)
    signature = meter_key("ann").sign(digest)
    return {
        "type": reading.TYPE.type_string(),
        "message": reading.to_wire(),
        "digest": _hex(digest),
        "signature": _hex(signature),
        "leaf": _hex(reading_leaf(digest, signature)),
        "public_key": _hex(meter_key("ann").public_key),
    }


def _tree(count: int) -> dict[str, Any]:
    leaves = [leaf_hash("test", bytes([index])) for index in range(count)]
    return {
        "leaves": [_hex(leaf) for leaf in leaves],
        "root": _hex(merkle_root(leaves)),
        "proofs": [[_hex(step) for step in proof] for proof in merkle_proofs(leaves)],
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1, ensure_ascii=True) + "\n")
