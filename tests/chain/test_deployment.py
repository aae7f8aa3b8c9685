"""The contracts are put on a chain once and found again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.chain import deployment
from coordinator.chain.abi import CONTRACTS, contract, describe_revert
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import ensure_deployed, load_deployment, prepare, sign_plan
from coordinator.chain.devchain import DevChain
from coordinator.chain.networks import DeploymentError
from coordinator.chain.rpc import Rpc, data, quantity
from coordinator.chain.transactions import max_fee_wei
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.typed_data import Domain
from tests.chain.conftest import TERMS, WANTED, deploy


async def ask(rpc: Rpc, name: str, place: str, function: str, *values: object) -> tuple[object, ...] | None:
    call = {"to": place, "data": hexed(contract(name).encode(function, *values))}
    return contract(name).result(function, data(await rpc.call("eth_call", call, "latest")))


async def test_ledger_is_made_for_the_market_and_the_operator_has_the_roles(
    rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    made = await ensure_deployed(rpc, operator, tmp_path, WANTED, 1_800_000_123)
    places = made.addresses
    assert made.genesis == 1_800_000_000
    for function, expected in {
        "marketHash": keccak256(TERMS.market.encode()),
        "intervalS": TERMS.interval_s,
        "genesis": made.genesis,
        "currency": places.currency,
        "energyToken": places.token,
        "settler": operator.address,
        "compliance": places.compliance,
        "batchRules": False,
        "domainSeparator": Domain(made.chain_id, places.ledger).separator(),
    }.items():
        assert await ask(rpc, "EnergyLedger", places.ledger, function) == (expected,)
    told = await ask(rpc, "EnergyLedger", places.ledger, "terms")
    assert told is not None
    band = TERMS.price_min_micro_per_kwh, TERMS.price_max_micro_per_kwh
    assert told[0] == (
        TERMS.market,
        TERMS.interval_s,
        made.genesis,
        places.currency,
        *band,
        TERMS.price_max_micro_per_kwh,  # what a shortfall is answered for at most
        0,  # what unused energy is taken back for at least
        TERMS.metered_max_wh,
        0,
        operator.address,
        TERMS.exit_delay_s,
        TERMS.settle_within_s,
    )
    for role in range(6):
        assert await ask(rpc, "Authority", places.authority, "hasRole", role, operator.address) == (True, 0)
    assert await ask(rpc, "Authority", places.authority, "hasRole", 6, places.disputes) == (True, 0)
    assert await ask(rpc, "ReadingDisputes", places.disputes, "isBonded", operator.address) == (True,)
    assert await ask(rpc, "DemoCurrency", places.currency, "allowance", operator.address, places.disputes) == (0,)
    assert load_deployment(tmp_path) == made


async def test_second_start_sends_nothing(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    first = await ensure_deployed(rpc, operator, tmp_path, WANTED, int(time.time()))
    again = await ensure_deployed(rpc, operator, tmp_path, WANTED, int(time.time()) + 5_000)
    assert again == first
    assert quantity(await rpc.call("eth_getTransactionCount", operator.address, "latest")) == first.next_nonce


async def test_lost_chain_gets_the_same_contracts_again(operator: AccountKey, tmp_path: Path) -> None:
    made = []
    for folder in ("one", "two"):
        async with DevChain(tmp_path / folder, fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            made.append(await ensure_deployed(rpc, operator, tmp_path, WANTED, int(time.time())))
            assert await ask(rpc, "EnergyLedger", made[-1].addresses.ledger, "intervalS") == (TERMS.interval_s,)
            assert made[-1].rpc_url == chain.url
    assert replace(made[0], rpc_url="") == replace(made[1], rpc_url="")


async def test_node_that_is_gone_stops_only_the_first_start(operator: AccountKey, tmp_path: Path) -> None:
    async with Rpc("http://127.0.0.1:9") as nowhere:
        with pytest.raises(DeploymentError, match=r"does not answer.*start the node or set chain.rpc_url"):
            await ensure_deployed(nowhere, operator, tmp_path, WANTED, 0)
        async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            made = await ensure_deployed(rpc, operator, tmp_path, WANTED, int(time.time()))
        assert (await ensure_deployed(nowhere, operator, tmp_path, WANTED, 0)).addresses == made.addresses


async def test_other_terms_operator_or_folder_are_refused(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    with pytest.raises(DeploymentError, match="interval_s 900, now it is 60; put that back"):
        await ensure_deployed(rpc, operator, tmp_path, replace(WANTED, terms=replace(TERMS, interval_s=60)), 0)
    with pytest.raises(DeploymentError, match="made with operator"):
        await ensure_deployed(rpc, AccountKey.generate(), tmp_path, WANTED, 0)


KEPT = ("deployment.json", "deployment.transactions.json")


def kept_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT if (folder / name).is_file()}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("harm", ["truncated", "empty", "null", "folder", "link", "latin", "deep"])
async def test_a_file_that_cannot_be_read_is_no_missing_deployment(
    name: str, harm: str, rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    made = await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    file = tmp_path / name
    content = file.read_bytes()
    if harm in {"folder", "link"}:
        file.unlink()
    if harm == "folder":
        file.mkdir()
    elif harm == "link":
        file.symlink_to(tmp_path / "gone")
    else:
        file.write_bytes(
            {"truncated": content[:-9], "empty": b"", "null": b"null", "latin": b"\xff", "deep": b"[" * 10**6}[harm]
        )
    before = kept_files(tmp_path)
    with pytest.raises(DeploymentError, match=rf"{file} is damaged \(.*\); restore it from your backup"):
        await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    assert kept_files(tmp_path) == before
    assert quantity(await rpc.call("eth_getTransactionCount", operator.address, "latest")) == made.next_nonce


async def test_a_description_without_its_transactions_is_refused_and_the_other_way_round_begun_anew(
    rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    described, transactions = (tmp_path / name for name in KEPT)
    content = transactions.read_bytes()
    transactions.unlink()
    with pytest.raises(DeploymentError, match=rf"{transactions} is missing beside {described}.*from your backup"):
        await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    transactions.write_bytes(content)
    described.unlink()
    assert load_deployment(tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"chain_id": "31337"}, "chain_id: expected an integer, was '31337'"),
        ({"chain_id": 0}, "chain_id: expected at least 1, was 0"),
        ({"block_number": None}, "block_number: expected an integer, was None"),
        ({"genesis": -1}, "genesis: expected at least 0, was -1"),
        ({"operator": "0x12"}, "operator: expected 0x and 40 hex digits"),
        ({"rpc_url": 5}, "rpc_url: expected text"),
        ({"addresses": []}, "addresses: expected an object"),
        ({"addresses": {"ledger": "0x12"}}, "authority: expected 0x and 40 hex digits"),
        ({"interval_s": True}, "interval_s: expected an integer, was True"),
        ({"market": None}, "market: expected text, was None"),
        ({"currency": 7}, "currency: expected text or null, was 7"),
        ({"currency": "0xg"}, "currency: expected 0x and 40 hex digits"),
        ({"batch_rules": 1}, "batch_rules: expected true or false, was 1"),
    ],
)
async def test_a_damaged_description_is_named(
    changed: dict[str, Any], sentence: str, rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    await deploy(rpc, operator, tmp_path)
    damage(tmp_path / KEPT[0], lambda values: values | changed)
    with pytest.raises(DeploymentError) as told:
        load_deployment(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / KEPT[0]} is damaged ({sentence}")


async def test_an_address_that_no_transaction_makes_is_named(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    damage(tmp_path / KEPT[0], lambda values: values | {"addresses": values["addresses"] | {"grid": "0x" + "12" * 20}})
    with pytest.raises(DeploymentError, match="the addresses are not those of the contracts that its transactions"):
        load_deployment(tmp_path)
    damage(tmp_path / KEPT[0], lambda values: [values])
    with pytest.raises(DeploymentError, match="description: expected an object"):
        load_deployment(tmp_path)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda raws: [], "there are no transactions in it"),
        (lambda raws: {}, "transactions: expected a list"),
        (lambda raws: [*raws, 5], "transactions: expected an object, was 5"),
        (lambda raws: [raws[0] | {"nonce": "x"}, *raws[1:]], "nonce: expected an integer, was 'x'"),
        (lambda raws: [raws[0] | {"nonce": -1}, *raws[1:]], "nonce: expected at least 0, was -1"),
        (lambda raws: [raws[0] | {"raw": "0xg"}, *raws[1:]], "a transaction cannot be read: non-hexadecimal"),
        (lambda raws: [raws[0] | {"raw": None}, *raws[1:]], "raw: expected text, was None"),
        (lambda raws: [*raws[:2], *raws[3:]], "the transactions' nonces do not follow one another"),
        (lambda raws: [raws[1], raws[0], *raws[2:]], "the transactions' nonces do not follow one another"),
        (lambda raws: [raws[0] | {"raw": raws[1]["raw"]}, *raws[1:]], "the transaction with nonce 0 is not the one"),
    ],
    ids=["none", "no list", "no object", "nonce", "negative", "hex", "raw", "gap", "order", "hash"],
)
async def test_damaged_transactions_are_named(
    harm: Callable[[Any], Any], sentence: str, rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    await deploy(rpc, operator, tmp_path)
    damage(tmp_path / KEPT[1], harm)
    with pytest.raises(DeploymentError) as told:
        load_deployment(tmp_path)
    assert f"{KEPT[1]} is damaged (" in str(told.value)
    assert sentence in str(told.value)


def damage(file: Path, harm: Callable[[Any], Any]) -> None:
    file.write_text(json.dumps(harm(json.loads(file.read_text("utf-8")))), "utf-8")


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


async def test_a_folder_of_another_version_is_refused(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    file = tmp_path / "deployment.json"
    values = json.loads(file.read_text("utf-8"))
    del values["layout"]
    file.write_text(json.dumps(values), "utf-8")
    with pytest.raises(DeploymentError, match="another version's contracts"):
        load_deployment(tmp_path)


async def test_a_longer_exit_delay_than_wanted_may_stay(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    await deploy(rpc, operator, tmp_path)
    shorter = replace(WANTED, terms=replace(TERMS, exit_delay_s=3_600))
    assert (await ensure_deployed(rpc, operator, tmp_path, shorter, 0)).terms.exit_delay_s == TERMS.exit_delay_s
    longer = replace(WANTED, terms=replace(TERMS, exit_delay_s=TERMS.exit_delay_s + 1))
    with pytest.raises(DeploymentError, match="made with exit_delay_s 172800, now it is 172801"):
        await ensure_deployed(rpc, operator, tmp_path, longer, 0)


async def test_a_deployment_that_became_too_cheap_is_signed_again(
    rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    await rpc.call("evm_setAutomine", False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    first = load_deployment(tmp_path)
    assert first is not None
    await rpc.call("anvil_dropAllTransactions")
    await rpc.call("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
    await rpc.call("evm_mine")
    await rpc.call("evm_setAutomine", True)
    made = await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)
    assert made.addresses == first.addresses
    assert load_deployment(tmp_path) == made
    assert [t.nonce for t in made.transactions] == [t.nonce for t in first.transactions]
    assert all(
        max_fee_wei(again) > 50 * 10**9 > max_fee_wei(t)
        for again, t in zip(made.transactions, first.transactions, strict=True)
    )


async def test_a_wiring_that_failed_is_named_though_all_contracts_stand(
    rpc: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    plan = await prepare(rpc, operator.address, WANTED, 0)
    starved = tuple(replace(step, gas=30_000) if step.text == "name the settler" else step for step in plan.steps)
    made = await sign_plan(rpc, operator, replace(plan, steps=starved))
    deployment._keep(tmp_path, made, rpc.url)
    with pytest.raises(DeploymentError, match="a transaction failed: "):
        await ensure_deployed(rpc, operator, tmp_path, WANTED, 0)


async def test_a_transaction_that_failed_is_named(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    mad = replace(WANTED, terms=replace(TERMS, under_use_price_min_micro_per_kwh=TERMS.price_max_micro_per_kwh + 1))
    with pytest.raises(DeploymentError, match="ConfigurationInvalid.*underUsePriceMin"):
        await ensure_deployed(rpc, operator, tmp_path, mad, 0)
