"""Hashes, keys, proofs and units."""

from __future__ import annotations

import pytest
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.keccak import keccak256, keccak256_pure
from coordinator.protocol.keys import AccountKey, MeterKey, read_address, verify_account, verify_meter
from coordinator.protocol.merkle import EMPTY_ROOT, leaf_hash, merkle_proofs, merkle_root, proves
from coordinator.protocol.recovery import compact, recover_address
from coordinator.protocol.typed_data import Domain, StructType, Value, hash_struct
from coordinator.protocol.units import cover_micro, split_pro_rata, value_micro
from coordinator.protocol.wire import read_bytes, read_int, read_int64

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DIGEST = keccak256(b"digest")


@given(st.binary(max_size=400))
@settings(max_examples=60)
def test_both_keccaks_are_ethereums(data: bytes) -> None:
    assert keccak256(data) == keccak256_pure(data) == keccak(data)


@given(st.binary(min_size=32, max_size=32), st.integers(1, ORDER - 1))
@settings(max_examples=30, deadline=None)
def test_account_key_is_eth_keys(digest: bytes, secret: int) -> None:
    oracle = PrivateKey(secret.to_bytes(32, "big"))
    ours = AccountKey.from_secret(secret.to_bytes(32, "big"))
    signature = ours.sign(digest)
    expected = oracle.sign_msg_hash(digest)
    assert ours.address == oracle.public_key.to_address()
    assert signature == expected.to_bytes()[:64]
    sealed = compact(signature, digest, ours.address)
    assert sealed is not None
    assert sealed[32] >> 7 == expected.v
    assert recover_address(digest, sealed) == ours.address
    assert verify_account(digest, signature, ours.public_key)


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (1, ORDER // 2 + 1), (2**256 - 1, 2**255)],
)
def test_values_out_of_range_sign_nothing(r: int, s: int) -> None:
    key = AccountKey.generate()
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert not verify_account(DIGEST, signature, key.public_key)
    assert recover_address(DIGEST, signature) is None or s >= 2**255


def test_twin_with_high_s_is_refused() -> None:
    key, meter = AccountKey.generate(), MeterKey.generate()
    for signed, order, verify in (
        (key, ORDER, verify_account),
        (meter, MeterKey.ORDER, verify_meter),
    ):
        signature = signed.sign(DIGEST)
        high = order - int.from_bytes(signature[32:], "big")
        assert not verify(DIGEST, signature[:32] + high.to_bytes(32, "big"), signed.public_key)
        assert not verify(DIGEST, signature + b"\0", signed.public_key)
        assert not verify(DIGEST, signature, bytes(64))


def test_a_foreign_signature_has_no_compact_form() -> None:
    signature = AccountKey.generate().sign(DIGEST)
    assert compact(signature, DIGEST, AccountKey.generate().address) is None


def test_no_secret_in_repr_and_bad_secrets_refused() -> None:
    key = AccountKey.generate()
    assert key.secret.hex() not in repr(key)
    assert AccountKey.from_secret(key.secret).address == key.address
    for bad in (b"", bytes(32), b"\xff" * 32, bytes(33)):
        with pytest.raises(ValueError, match="secret"):
            AccountKey.from_secret(bad)


@given(st.integers(0, 40))
@settings(max_examples=20)
def test_every_leaf_proves_and_no_node_passes_for_a_leaf(count: int) -> None:
    leaves = [leaf_hash("t", bytes([i])) for i in range(count)]
    root, proofs = merkle_root(leaves), merkle_proofs(leaves)
    assert len(proofs) == count
    for leaf, proof in zip(leaves, proofs, strict=True):
        assert proves(leaf, proof, root)
        assert not proves(leaf_hash("u", b""), proof, root)
    if not count:
        assert root == EMPTY_ROOT
    if count > 1:
        assert leaf_hash("t", leaves[0] + leaves[1]) != merkle_root(leaves[:2])


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_split_is_exact_and_within_one(total: int, weights: list[int]) -> None:
    if not sum(weights):
        if total:
            with pytest.raises(ValueError, match="zero"):
                split_pro_rata(total, weights)
        return
    parts = split_pro_rata(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


@given(st.integers(0, 2**48), st.integers(-(10**9), 10**9))
def test_value_and_cover_enclose(energy_wh: int, price: int) -> None:
    assert value_micro(energy_wh, price) * 1000 <= energy_wh * price
    assert cover_micro(energy_wh, price) - value_micro(energy_wh, price) in {0, 1}


def test_typed_data_refuses_what_does_not_fit() -> None:
    flat = StructType("Flat", (("a", "uint8"), ("b", "address")))
    good: dict[str, Value] = {"a": 255, "b": "0x" + "ab" * 20}
    assert len(hash_struct(flat, good)) == 32
    bad_values: list[dict[str, Value]] = [
        good | {"a": 256},
        good | {"a": -1},
        good | {"b": "0x12"},
        good | {"b": 5},
        good | {"a": b"1"},
    ]
    for bad in bad_values:
        with pytest.raises(ValueError, match="Flat"):
            hash_struct(flat, bad)
    assert Domain(1, "0x" + "00" * 20).separator() != Domain(2, "0x" + "00" * 20).separator()


def test_an_integer_that_a_store_keeps_has_64_bits() -> None:
    assert [read_int64({"n": good}, "n") for good in (-(2**63), 2**63 - 1)] == [-(2**63), 2**63 - 1]
    for too_great in (-(2**63) - 1, 2**63, 10**4000):
        with pytest.raises(ValueError, match="n: expected an integer of 64 bits"):
            read_int64({"n": too_great}, "n")


def test_wire_names_the_field() -> None:
    for bad in (True, 1.0, "1", None):
        with pytest.raises(ValueError, match="n: expected an integer"):
            read_int({"n": bad}, "n")
    for bad_hex in ("0x12", "12" * 2, "0x" + "g" * 4, "0x" + "1 " * 2, 7):
        with pytest.raises(ValueError, match="h: expected 0x and 4 hex digits"):
            read_bytes({"h": bad_hex}, "h", 2)


@pytest.mark.parametrize(
    "text",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # the examples of ERC-55
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0xd1220a0cf47c7b9be7a2e6ba89f429762e7b9adb",
        "0xD1220A0CF47C7B9BE7A2E6BA89F429762E7B9ADB",
    ],
)
def test_an_address_is_read_with_its_checksum(text: str) -> None:
    assert read_address(text) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed00",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        "0x" + "\u0660" * 40,
        "",
    ],
)
def test_a_mistyped_address_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        read_address(text)
