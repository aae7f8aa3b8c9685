"""Signing, against eth-account as the oracle."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from coordinator.chain.keys import KeyFileError, load_or_create_key
from coordinator.chain.transactions import Call, Fees, created_address, max_fee_wei, sign, sign_again
from coordinator.protocol.keys import AccountKey

KEY = AccountKey.from_secret(bytes(31) + b"\x07")


@given(
    chain_id=st.integers(1, 2**32),
    nonce=st.integers(0, 2**40),
    to=st.none() | st.binary(min_size=20, max_size=20),
    calldata=st.binary(max_size=300),
    gas=st.integers(21_000, 2**24),
    fees=st.tuples(st.integers(0, 2**60), st.integers(0, 2**60)),
)
def test_transaction_is_what_eth_account_signs(
    chain_id: int, nonce: int, to: bytes | None, calldata: bytes, gas: int, fees: tuple[int, int]
) -> None:
    call = Call(None if to is None else "0x" + to.hex(), calldata)
    signed = sign(KEY, chain_id, nonce, call, gas, Fees(max(fees), min(fees)))
    fields = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "data": calldata,
        "gas": gas,
        "value": 0,
        "maxFeePerGas": max(fees),
        "maxPriorityFeePerGas": min(fees),
    }
    if to is not None:
        fields["to"] = to
    oracle = Account.sign_transaction(fields, KEY.secret)
    assert signed.raw == bytes(oracle.raw_transaction)
    assert signed.transaction == "0x" + bytes(oracle.hash).hex()


def test_created_address_is_the_published_one() -> None:
    # The first contract of the account 0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0, as in go-ethereum's
    # crypto_test.go (TestNewContractAddress uses this sender; nonces 0, 1, 2).
    sender = "0x970e8128ab834e8eac17ab8e3812f010678cf791"
    assert [created_address(sender, nonce) for nonce in range(3)] == [
        "0x333c3310824b7c685133f2bedb2ca4b8b4df633d",
        "0x8bda78331c916a08481428e4b07c96d3e916d165",
        "0xc9ddedf451bc62ce88bf9292afb13df35b670699",
    ]


@pytest.mark.parametrize("call", [Call(None, b"\x01"), Call("0x" + "00" * 19 + "07", bytes(70_000)), Call(None, b"")])
@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 2**40])
def test_a_transaction_signed_again_differs_in_its_fees_only(call: Call, nonce: int) -> None:
    key = AccountKey.from_secret(bytes([5]) * 32)
    cheap, dear = Fees(10**9, 0), Fees(10**12, 10**9)
    first = sign(key, 31337, nonce, call, 16_000_000, cheap)
    assert max_fee_wei(first) == cheap.max_fee_wei
    assert sign_again(key, first, dear) == sign(key, 31337, nonce, call, 16_000_000, dear)
    assert sign_again(key, sign_again(key, first, dear), cheap) == first


def test_operator_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "operator.key"
    key = load_or_create_key(path)
    assert load_or_create_key(path).address == key.address
    assert path.read_bytes() == key.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["operator.key"]


@pytest.mark.parametrize(("mode", "content", "says"), [(0o640, KEY.secret, "chmod 600"), (0o600, b"short", "no key")])
def test_key_file_that_cannot_be_trusted_is_refused(tmp_path: Path, mode: int, content: bytes, says: str) -> None:
    path = tmp_path / "operator.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=says):
        load_or_create_key(path)
