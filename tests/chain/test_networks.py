"""Deployments to networks that are not ours: checks beforehand, separate holders, delays, costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from coordinator.chain.abi import contract, describe_revert, roles
from coordinator.chain.broadcast import FeeLimits, read_fees
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import (
    Wanted,
    ensure_deployed,
    load_deployment,
    prepare,
    with_gas_for_bytes,
)
from coordinator.chain.devchain import DevChain
from coordinator.chain.estimate import estimate
from coordinator.chain.networks import ZERO_ADDRESS, DeploymentError, network_of, networks
from coordinator.chain.plan import Holders, Member, make_plan, members_of
from coordinator.chain.rpc import Rpc, RpcError, data, quantity
from coordinator.chain.verify import verify_deployment
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from tests.chain.conftest import TERMS, transact

ADMIN, GUARDIAN, COMPLIANCE, COMMUNITY = ("0x" + digit * 40 for digit in "abcd")
OPERATOR = "0x" + "e1" * 20
HOLDERS = Holders(admin=ADMIN, guardian=GUARDIAN, compliance=COMPLIANCE)
ABROAD = Wanted(replace(TERMS, community=COMMUNITY), HOLDERS, "base")
BASE = network_of(8453)
ZEROS = "0x60a06000f3"  # returns 160 zero bytes: a feed's round
EIGHTEEN = "0x601260005260206000f3"  # returns 18
DATA_FEE_WEI = 18


@pytest.fixture
async def base(operator: AccountKey, tmp_path: Path) -> AsyncIterator[Rpc]:
    """A node that looks like Base's: its chain id, a currency, a sequencer's feed, the OP Stack's fee oracle."""
    assert BASE.currency
    assert BASE.sequencer_uptime_feed
    assert BASE.data_fee_oracle
    async with DevChain(tmp_path / "base", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
        money = await rpc.call("eth_call", {"data": hexed(contract("DemoCurrency").creation())}, "latest")
        await rpc.call("anvil_setCode", BASE.currency, money)
        await rpc.call("anvil_setCode", BASE.sequencer_uptime_feed, ZEROS)
        await rpc.call("anvil_setCode", BASE.data_fee_oracle, EIGHTEEN)
        await rpc.call("anvil_setChainId", 8453)
        yield rpc


def checksummed(address: str) -> str:
    """Spell an address as ERC-55 does."""
    digits = address[2:].lower()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(mark, 16) > 7 else c for c, mark in zip(digits, marks, strict=False))


def test_every_address_of_the_networks_is_spelt_without_a_slip() -> None:
    text = (Path(__file__).parents[2] / "contracts" / "networks.json").read_text("utf-8")
    spelt = [word for word in text.split('"') if word.startswith("0x")]
    assert len(spelt) >= 2 * 3
    assert [checksummed(address) for address in spelt] == spelt


def test_networks_are_found_by_their_chain_id_and_checked_by_name() -> None:
    assert network_of(31337).is_local
    assert [network_of(network.chain_id, network.name) for network in networks()] == [*networks()]
    with pytest.raises(DeploymentError, match="base has the chain id 8453, the node's is 1"):
        network_of(1, "base")
    with pytest.raises(DeploymentError, match="no network is called 'moon'; there are local, sepolia"):
        network_of(1, "moon")


@pytest.mark.parametrize(
    ("chain_id", "changed", "sentence"),
    [
        (1337, {"sequencer_uptime_feed": ZERO_ADDRESS}, "no settlement currency is known on chain 1337"),
        (1337, {"currency": ADMIN}, "no sequencer uptime feed is known on chain 1337"),
        (84532, {}, "no sequencer uptime feed is known on base-sepolia: set contracts.sequencer_uptime_feed"),
        (1, {"community": None}, "contracts.community: on mainnet name the account"),
        (1, {"community": OPERATOR.upper().replace("X", "x")}, "contracts.community: on mainnet name the account"),
        (1, {"fee_max_micro_per_kwh": 1}, "contracts.fee_account: on mainnet name the account that gets the fees"),
        (1, {"fee_max_micro_per_kwh": 1, "fee_account": OPERATOR}, "contracts.fee_account: on mainnet"),
    ],
)
def test_what_a_network_lacks_the_operator_must_name(chain_id: int, changed: dict[str, Any], sentence: str) -> None:
    terms = replace(TERMS, **({"community": COMMUNITY} | changed))
    with pytest.raises(DeploymentError, match=sentence):
        make_plan(network_of(chain_id), OPERATOR, 0, terms, HOLDERS, 0)


@pytest.mark.parametrize("name", ["admin", "guardian"])
def test_admin_and_guardian_are_named_where_money_is_real(name: str) -> None:
    with pytest.raises(DeploymentError, match=f"contracts.{name}: on base name the account"):
        make_plan(BASE, OPERATOR, 0, ABROAD.terms, replace(HOLDERS, **{name: None}), 0)


def holding(holders: Holders, name: str, account: str) -> Holders:
    changed: dict[str, Any] = {name: account}
    return replace(holders, **changed)


@pytest.mark.parametrize("name", ["admin", "guardian", "oracle", "grid", "compliance"])
def test_nobody_holds_no_role_where_money_is_real(name: str) -> None:
    with pytest.raises(DeploymentError, match=f"contracts.{name}: nobody has the key of the zero address: on base"):
        make_plan(BASE, OPERATOR, 0, ABROAD.terms, holding(HOLDERS, name, ZERO_ADDRESS), 0)


@pytest.mark.parametrize("name", ["admin", "guardian"])
@pytest.mark.parametrize("spelt", [OPERATOR, OPERATOR.upper().replace("X", "x")])
def test_the_operator_is_no_admin_or_guardian_where_money_is_real(name: str, spelt: str) -> None:
    with pytest.raises(DeploymentError, match=rf"contracts.{name}: on base .*the operator's \({OPERATOR}\) must not"):
        make_plan(BASE, OPERATOR, 0, ABROAD.terms, holding(HOLDERS, name, spelt), 0)
    local = make_plan(network_of(31337), OPERATOR, 0, TERMS, holding(Holders(), name, spelt), 0)
    assert local.steps


def test_a_holder_of_the_grid_role_comes_beside_the_operator() -> None:
    plan = make_plan(BASE, OPERATOR, 0, ABROAD.terms, replace(HOLDERS, grid=COMMUNITY, compliance_delay_s=7), 0)
    members = members_of(plan.holders, BASE, OPERATOR, plan.addresses)
    assert members[0] == Member(0, ADMIN, 172_800)
    assert {m.account for m in members if m.role == roles()["grid"]["id"]} == {OPERATOR, COMMUNITY}
    assert {m.delay_s for m in members[1:]} == {0, 7}


async def test_wrong_currencies_and_feeds_are_refused(base: Rpc, operator: AccountKey) -> None:
    async def refused(**changed: Any) -> str:
        with pytest.raises(DeploymentError) as told:
            await prepare(base, operator.address, replace(ABROAD, terms=replace(ABROAD.terms, **changed)), 0)
        return str(told.value)

    assert BASE.data_fee_oracle
    assert "has no code there" in await refused(currency=COMMUNITY)
    assert "has 18 decimals, it must have 6" in await refused(currency=BASE.data_fee_oracle)
    await base.call("anvil_setCode", GUARDIAN, "0x00")
    assert "tells no decimals" in await refused(currency=GUARDIAN)
    assert "answers no latestRoundData()" in await refused(sequencer_uptime_feed=COMMUNITY)
    await base.call("anvil_setChainId", 1)
    with pytest.raises(DeploymentError, match="base has the chain id 8453, the node's is 1"):
        await prepare(base, operator.address, ABROAD, 0)


async def test_an_estimate_measures_and_sends_nothing(base: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    plan = await prepare(base, operator.address, ABROAD, 1_800_000_000)
    fees = await read_fees(base, FeeLimits())
    assert fees
    found = await estimate(base, operator, plan, fees)
    assert found.failures == ()
    assert found.data_fee_wei == len(plan.steps) * DATA_FEE_WEI
    assert quantity(await base.call("eth_blockNumber")) == 0
    assert quantity(await base.call("eth_getTransactionCount", operator.address, "pending")) == 0
    made = await ensure_deployed(base, operator, tmp_path, ABROAD, 1_800_000_000)
    assert made.addresses == plan.addresses
    receipts = await base.batch([("eth_getTransactionReceipt", (t.transaction,)) for t in made.transactions])
    assert [quantity(receipt["gasUsed"]) for receipt in receipts] == [*found.gas]
    assert found.likely_wei < found.most_wei(plan)


async def test_an_estimate_names_the_transaction_that_would_fail(base: Rpc, operator: AccountKey) -> None:
    mad = replace(ABROAD, terms=replace(ABROAD.terms, exit_delay_s=8 * 86_400))
    plan = await prepare(base, operator.address, mad, 1_800_000_000)
    fees = await read_fees(base, FeeLimits())
    assert fees
    found = await estimate(base, operator, plan, fees)
    assert found.failures[0].startswith("make EnergyLedger: ConfigurationInvalid(field=exitDelayS)")


def test_gas_limits_grow_where_bytes_cost_gas() -> None:
    plan = make_plan(BASE, OPERATOR, 0, ABROAD.terms, HOLDERS, 0)
    first = plan.steps[0]
    assert with_gas_for_bytes(plan, first.gas // 2) == plan
    dearer = with_gas_for_bytes(plan, 10 * first.gas)
    assert dearer.steps[0].gas >= 12 * first.gas
    extra = [after.gas - before.gas for before, after in zip(plan.steps, dearer.steps, strict=True)]
    per_byte = extra[0] // len(first.call.data)
    assert extra == [per_byte * len(step.call.data) for step in plan.steps]


async def test_a_coordinator_makes_no_contracts_where_they_cost_money(
    base: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    with pytest.raises(DeploymentError, match="no contracts on base yet.*energy-trade deploy --dry-run"):
        await ensure_deployed(base, operator, tmp_path, replace(ABROAD, first=False), 0)
    assert load_deployment(tmp_path) is None
    made = await ensure_deployed(base, operator, tmp_path, ABROAD, 0)
    assert await ensure_deployed(base, operator, tmp_path, replace(ABROAD, first=False), 0) == made


async def test_an_operator_who_cannot_pay_to_the_end_does_not_begin(
    base: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    await base.call("anvil_setBalance", operator.address, hex(10**9))
    with pytest.raises(DeploymentError, match="has 0.000000001 ETH, the deployment may take up to 0.0.* ETH"):
        await ensure_deployed(base, operator, tmp_path, ABROAD, 0)
    assert load_deployment(tmp_path) is None


async def test_holders_act_as_slowly_as_agreed_and_the_guardian_cancels(
    base: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    made = await ensure_deployed(base, operator, tmp_path, ABROAD, 1_800_000_000)
    assert await verify_deployment(base, made, BASE, HOLDERS) == []
    at, authority = made.addresses, contract("Authority")
    settler = contract("EnergyLedger").encode("setSettler", COMMUNITY)
    block = contract("Compliance").encode("setBlocked", COMMUNITY, True, True)

    async def revert(sender: str, place: str, calldata: bytes) -> str:
        with pytest.raises(RpcError) as told:
            await base.call("eth_call", {"from": sender, "to": place, "data": hexed(calldata)}, "latest")
        return describe_revert(told.value.data)

    assert "AccessManagedUnauthorized" in await revert(operator.address, at.ledger, settler)
    schedule = authority.encode("schedule", at.ledger, settler, 0)
    assert "AccessManagerUnauthorizedCall" in await revert(operator.address, at.authority, schedule)
    assert "AccessManagerNotScheduled" in await revert(ADMIN, at.ledger, settler)
    await transact(base, ADMIN, at.authority, schedule)
    assert "AccessManagerNotReady" in await revert(ADMIN, at.ledger, settler)
    await base.call("evm_increaseTime", hex(BASE.admin_delay_s))
    await base.call("evm_mine")
    await transact(base, ADMIN, at.ledger, settler)

    await transact(base, COMPLIANCE, at.authority, authority.encode("schedule", at.compliance, block, 0))
    cancel = authority.encode("cancel", COMPLIANCE, at.compliance, block)
    assert "AccessManagerUnauthorizedCancel" in await revert(operator.address, at.authority, cancel)
    await transact(base, GUARDIAN, at.authority, cancel)
    await base.call("evm_increaseTime", hex(BASE.compliance_delay_s))
    await base.call("evm_mine")
    assert "AccessManagerNotScheduled" in await revert(COMPLIANCE, at.compliance, block)
    findings = await verify_deployment(base, made, BASE, HOLDERS)
    assert findings == [f"EnergyLedger.settler() is {COMMUNITY}, should be {made.operator}"]


async def test_the_operator_keeps_no_allowance_of_a_real_currency(
    base: Rpc, operator: AccountKey, tmp_path: Path
) -> None:
    made = await ensure_deployed(base, operator, tmp_path, ABROAD, 0)
    allowance = contract("DemoCurrency").encode("allowance", operator.address, made.addresses.ledger)
    answer = await base.call("eth_call", {"to": made.addresses.currency, "data": hexed(allowance)}, "latest")
    assert data(answer) == encode(("uint256",), (0,))
    assert "DemoCurrency" not in made.contracts
