"""What ``energy-trade deploy --verify`` finds: other code, other wiring, other roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.chain.abi import contract, functions_of, roles
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import Deployment, ensure_deployed
from coordinator.chain.networks import network_of
from coordinator.chain.plan import PLACES, Holders
from coordinator.chain.rpc import Rpc, RpcError, data
from coordinator.chain.verify import read_condition, verify_deployment
from coordinator.protocol.keys import AccountKey
from tests.chain.conftest import WANTED, transact

type Act = Callable[[str, str, str, *tuple[object, ...]], Awaitable[None]]
STRANGER = "0x" + "ab" * 20
LOCAL = network_of(31337)


@pytest.fixture
async def made(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> Deployment:
    return await ensure_deployed(rpc, operator, tmp_path, WANTED, 1_800_000_000)


@pytest.fixture
def act(rpc: Rpc, made: Deployment) -> Act:
    """Let an account call a contract."""

    async def call(sender: str, name: str, function: str, *values: object) -> None:
        await transact(rpc, sender, made.contracts[name], contract(name).encode(function, *values))

    return call


async def differences(rpc: Rpc, made: Deployment, holders: Holders = WANTED.holders) -> list[str]:
    return await verify_deployment(rpc, made, LOCAL, holders)


async def test_a_fresh_deployment_agrees(rpc: Rpc, made: Deployment) -> None:
    assert await differences(rpc, made) == []


@pytest.mark.parametrize("name", PLACES)
async def test_a_changed_byte_of_code_is_found(name: str, rpc: Rpc, made: Deployment) -> None:
    place = made.contracts[name]
    code = bytearray(data(await rpc.call("eth_getCode", place, "latest")))
    code[-1] ^= 1
    await rpc.call("anvil_setCode", place, hexed(bytes(code)))
    (finding,) = await differences(rpc, made)
    assert finding.startswith(f"{name} {place}: its code is not this repository's")
    await rpc.call("anvil_setCode", place, "0x")
    assert await differences(rpc, made) == [f"{name} {place}: there is no code"]


async def test_another_value_in_an_immutable_is_found(rpc: Rpc, made: Deployment) -> None:
    place = made.addresses.price_feeds
    code = data(await rpc.call("eth_getCode", place, "latest"))
    authority = bytes.fromhex(made.addresses.authority[2:])
    grace = made.terms.sequencer_grace_s.to_bytes(32, "big")
    assert grace in code
    assert authority not in code  # it stands in storage, so that only the getter shows it
    await rpc.call("anvil_setCode", place, hexed(code.replace(grace, (1).to_bytes(32, "big"))))
    assert await differences(rpc, made) == ["PriceFeeds.graceS() is 1, should be 3600"]


async def test_other_wiring_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    await act(made.operator, "EnergyLedger", "setSettler", STRANGER)
    await act(made.operator, "EnergyLedger", "setCompliance", made.addresses.compliance, True)
    assert await differences(rpc, made) == [
        f"EnergyLedger.settler() is {STRANGER}, should be {made.operator}",
        "EnergyLedger.batchRules() is True, should be False",
    ]


async def test_an_escrow_that_is_not_exempt_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    await act(made.operator, "Compliance", "setExempt", made.addresses.trading, False)
    await act(made.operator, "Compliance", "setListed", made.addresses.trading, True)
    await act(made.operator, "Compliance", "setBlocked", made.addresses.trading, True, True)
    assert await differences(rpc, made) == ["Compliance.memberOf(P2PTrading).exempt is False, should be True"]


async def test_pause_and_bond_are_told_and_only_a_local_bond_is_a_difference(
    rpc: Rpc, made: Deployment, act: Act
) -> None:
    bonded = ["EnergyLedger.paused() is False", "ReadingDisputes.isBonded(settler) is True"]
    assert await read_condition(rpc, made) == bonded
    await act(made.operator, "EnergyLedger", "setPaused", True)
    amount = 4 * made.terms.bounty_micro
    await act(made.operator, "ReadingDisputes", "requestBondWithdrawal", amount)
    await rpc.call("evm_increaseTime", hex(made.terms.bond_delay_s))
    await rpc.call("evm_mine")
    await act(made.operator, "ReadingDisputes", "withdrawBond", made.operator)
    paused, unbonded = await read_condition(rpc, made)
    assert paused == "EnergyLedger.paused() is True"
    assert unbonded.startswith("ReadingDisputes.isBonded(settler) is False: ")
    assert await differences(rpc, made) == ["ReadingDisputes.isBonded(settler) is False, should be True"]
    public = replace(LOCAL, kind="layer-1")
    holders = Holders(admin=STRANGER, guardian=STRANGER)
    assert not any("Bonded" in finding for finding in await verify_deployment(rpc, made, public, holders))


async def test_a_stranger_with_a_role_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    for role in (0, roles()["guardian"]["id"], 77):
        await act(made.operator, "Authority", "grantRole", role, STRANGER, 0)
    assert await differences(rpc, made) == [
        f"the role {name}: {STRANGER} holds it and should not" for name in ("admin", "guardian", "77")
    ]
    await act(STRANGER, "Authority", "renounceRole", 77, STRANGER)
    assert len(await differences(rpc, made)) == 2


async def test_a_missing_or_slower_holder_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    oracle, disputes = roles()["oracle"]["id"], roles()["disputes"]["id"]
    await act(made.operator, "Authority", "revokeRole", disputes, made.addresses.disputes)
    await act(made.operator, "Authority", "grantRole", oracle, made.operator, 60)
    assert await differences(rpc, made) == [
        f"the role oracle: {made.operator} acts 60 s after its announcement, should after 0 s",
        f"the role disputes: {made.addresses.disputes} does not hold it and should",
    ]
    await act(made.operator, "Authority", "grantRole", oracle, made.operator, 0)
    (finding, _) = await differences(rpc, made)
    assert finding.startswith(f"the role oracle: {made.operator} acts 60 s")


async def test_a_change_that_waits_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    oracle = roles()["oracle"]["id"]
    await act(made.operator, "Authority", "grantRole", oracle, made.operator, 86_400)
    slow = await differences(rpc, made)
    await act(made.operator, "Authority", "grantRole", oracle, made.operator, 0)
    assert await differences(rpc, made) == slow  # a shorter delay counts only after the longer one
    await rpc.call("evm_increaseTime", hex(86_400))
    await rpc.call("evm_mine")
    assert await differences(rpc, made) == []
    await act(made.operator, "Authority", "setGrantDelay", oracle, 60)
    await rpc.call("evm_increaseTime", hex(6 * 86_400))
    await rpc.call("evm_mine")
    assert await differences(rpc, made) == ["getRoleGrantDelay of the role oracle is 60, should be 0"]


async def test_a_holder_who_will_be_quicker_than_agreed_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    compliance = roles()["compliance"]["id"]
    await act(made.operator, "Authority", "grantRole", compliance, made.operator, 600)
    agreed = Holders(compliance_delay_s=600)
    assert await differences(rpc, made, agreed) == []
    await act(made.operator, "Authority", "grantRole", compliance, made.operator, 60)
    (finding,) = await differences(rpc, made, agreed)
    assert finding.startswith(f"the role compliance: {made.operator} will act 60 s after its announcement from ")


async def test_a_function_that_asks_for_another_role_is_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    names = {"setPaused": "(contracts/roles.json)", "setSettler": "(contracts/roles.json)"}
    for name in names:
        selector = contract("EnergyLedger").functions[name].hash[:4]
        await act(made.operator, "Authority", "setTargetFunctionRole", made.addresses.ledger, [selector], 2**64 - 1)
    found = await differences(rpc, made)
    assert found == [
        f"EnergyLedger.setPaused(bool) asks for role {2**64 - 1}, should ask for 4 (contracts/roles.json)",
        f"EnergyLedger.setSettler(address) asks for role {2**64 - 1}, should ask for 0 (contracts/roles.json)",
    ]


async def test_a_closed_contract_and_another_guardian_are_found(rpc: Rpc, made: Deployment, act: Act) -> None:
    await act(made.operator, "Authority", "setTargetClosed", made.addresses.grid, True)
    await act(made.operator, "Authority", "setRoleGuardian", roles()["compliance"]["id"], 0)
    await act(made.operator, "Authority", "setRoleAdmin", roles()["operator"]["id"], 4)
    assert await differences(rpc, made) == [
        "GridManagement is closed: True, should be: False",
        "getRoleAdmin of the role operator is 4, should be 0",
        "getRoleGuardian of the role compliance is 0, should be 4",
    ]


async def test_every_listed_function_exists_and_asks_the_authority(rpc: Rpc, made: Deployment) -> None:
    """A stranger's call of a listed function is refused for want of the role, and for nothing else."""
    unauthorized = contract("EnergyLedger").errors
    refusal = next(selector for selector, error in unauthorized.items() if error.name == "AccessManagedUnauthorized")
    listed = [(f["contract"], f["selector"]) for role in roles().values() for f in role["functions"]]
    for name, selector in listed:
        entry = next(e for e in functions_of(name) if e.hash[:4] == data(selector))
        body = {"from": STRANGER, "to": made.contracts[name], "data": selector + "00" * 32 * 16}
        (answer,) = await rpc.batch([("eth_call", (body, "latest"))])
        assert isinstance(answer, RpcError)
        if entry.name != "revokeMeter":  # a meter's owner may as well, so it looks for the meter first
            assert (answer.data or b"")[:4] == refusal, f"{name}.{entry.signature} lets anybody in"
