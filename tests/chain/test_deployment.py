"""The contracts are put on a chain once and found again."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.chain.abi import CONTRACTS, contract, describe_revert
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import DeploymentError, ensure_deployed, load_deployment
from coordinator.chain.devchain import DevChain
from coordinator.chain.rpc import Rpc, data, quantity
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.typed_data import Domain
from tests.chain.conftest import TERMS, deploy


async def ask(rpc: Rpc, name: str, place: str, function: str, *values: object) -> tuple[object, ...] | None:
    call = {"to": place, "data": hexed(contract(name).encode(function, *values))}
    return contract(name).result(function, data(await rpc.call("eth_call", call, "latest")))


async def test_ledger_is_made_for_the_market_and_the_operator_has_the_roles(
    rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    made = await ensure_deployed(rpc, operator, tmp_path, TERMS, 1_800_000_123)
    places = made.addresses
    assert made.genesis == 1_800_000_000
    for function, expected in {
        "marketHash": keccak256(TERMS.market.encode()),
        "intervalS": TERMS.interval_s,
        "genesis": made.genesis,
        "priceMax": TERMS.price_max_micro_per_kwh,
        "currency": places.currency,
        "energyToken": places.token,
        "domainSeparator": Domain(made.chain_id, places.ledger).separator(),
    }.items():
        assert await ask(rpc, "EnergyLedger", places.ledger, function) == (expected,)
    for role in range(1, 5):
        assert await ask(rpc, "Authority", places.authority, "hasRole", role, operator.address) == (True, 0)
    assert load_deployment(tmp_path) == made


async def test_second_start_sends_nothing(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    first = await ensure_deployed(rpc, operator, tmp_path, TERMS, int(time.time()))
    again = await ensure_deployed(rpc, operator, tmp_path, TERMS, int(time.time()) + 5_000)
    assert again == first
    assert quantity(await rpc.call("eth_getTransactionCount", operator.address, "latest")) == first.next_nonce


async def test_lost_chain_gets_the_same_contracts_again(operator: AccountKey, tmp_path: Path) -> None:
    made = []
    for folder in ("one", "two"):
        async with DevChain(tmp_path / folder, fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            made.append(await ensure_deployed(rpc, operator, tmp_path, TERMS, int(time.time())))
            assert await ask(rpc, "EnergyLedger", made[-1].addresses.ledger, "market") == (TERMS.market,)
            assert made[-1].rpc_url == chain.url
    assert replace(made[0], rpc_url="") == replace(made[1], rpc_url="")


async def test_node_that_is_gone_stops_only_the_first_start(operator: AccountKey, tmp_path: Path) -> None:
    async with Rpc("http://127.0.0.1:9") as nowhere:
        with pytest.raises(DeploymentError, match=r"does not answer.*start the node or set chain.rpc_url"):
            await ensure_deployed(nowhere, operator, tmp_path, TERMS, 0)
        async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            made = await ensure_deployed(rpc, operator, tmp_path, TERMS, int(time.time()))
        assert (await ensure_deployed(nowhere, operator, tmp_path, TERMS, 0)).addresses == made.addresses


async def test_other_terms_operator_or_folder_are_refused(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    with pytest.raises(DeploymentError, match="interval_s 900, now it is 60; put that back"):
        await ensure_deployed(rpc, operator, tmp_path, replace(TERMS, interval_s=60), 0)
    with pytest.raises(DeploymentError, match="made with operator"):
        await ensure_deployed(rpc, AccountKey.generate(), tmp_path, TERMS, 0)


async def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "deployment.json").write_text('{"chain_id": 1}', "ascii")
    (tmp_path / "deployment.transactions.json").write_text("[]", "ascii")
    with pytest.raises(DeploymentError, match=r"deployment\.json is damaged"):
        load_deployment(tmp_path)


async def test_used_nonces_without_contracts_are_explained(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    await rpc.call("anvil_setCode", load(tmp_path), "0x")
    with pytest.raises(DeploymentError, match=r"no contract at ledger 0x.*use another data folder"):
        await deploy(rpc, operator, tmp_path)


def load(folder: Path) -> str:
    made = load_deployment(folder)
    assert made is not None
    return made.addresses.ledger


def test_reverts_are_named() -> None:
    ledger = contract("EnergyLedger")
    entry = next(e for e in ledger.errors.values() if e.name == "DeliveryMisaligned")
    assert describe_revert(entry.hash[:4] + (5).to_bytes(32, "big")) == "DeliveryMisaligned(deliveryStart=5)"
    assert describe_revert(bytes.fromhex("4e487b71") + (17).to_bytes(32, "big")) == "Panic(0x11)"
    text = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (2).to_bytes(32, "big") + b"no".ljust(32, b"\0")
    assert describe_revert(text) == "reverted: no"
    assert describe_revert(b"\x01\x02\x03\x04") == "reverted with 0x01020304"
    assert describe_revert(None) == "reverted without a reason"


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_artifact_can_be_read(name: str) -> None:
    assert contract(name).bytecode
