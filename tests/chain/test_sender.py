"""From the outbox to the contracts, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed, read_balances
from coordinator.chain.devchain import DevChain
from coordinator.chain.ports import Balance, Effect, ExpectedBatch, Mined
from coordinator.chain.rpc import Rpc, data, quantity
from coordinator.chain.sender import Sender
from coordinator.chain.transactions import Call, Fees, sign
from coordinator.protocol.keys import AccountKey
from tests.chain.conftest import deploy, transact
from tests.chain.support import FAST, Community, Home, MemoryOutbox, until


class Crash(Exception):
    """The process ends here."""


async def balances(rpc: Rpc, community: Community, *homes: Home) -> list[Balance]:
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    accounts = [home.address for home in homes]
    found = await read_balances(rpc, community.deployment.addresses, accounts, block["hash"])
    return [found[account] for account in accounts]


async def run_until_crash(community: Community, operator: AccountKey) -> None:
    async with asyncio.timeout(10), Rpc(community.deployment.rpc_url) as rpc:
        await Sender(rpc, operator, community.deployment, community.outbox, community.on_done, settings=FAST).run()


async def mined_count(rpc: Rpc, operator: AccountKey) -> int:
    return quantity(await rpc.call("eth_getTransactionCount", operator.address, "latest"))


def all_done(community: Community) -> bool:
    return set(community.outbox.states().values()) == {"done"}


async def test_each_kind_of_effect_reaches_its_contract(rpc: Rpc, community: Community, operator: AccountKey) -> None:
    seller, buyer = Home(), Home()
    for key in (community.welcome(seller, 1_000_000), community.welcome(buyer), community.register(seller)):
        assert community.outbox.effects[key].state == "pending"
    settlement = community.trade(3, seller, buyer, energy_wh=500, surplus_wh=20)
    community.outbox.add("grid:1", "update_grid", {"node_id": 7, "load_w": 12_000, "capacity_w": 630_000})
    async with community.sending(operator):
        await until(lambda: all_done(community))
    assert await balances(rpc, community, seller, buyer) == [Balance(1_100_000, 20), Balance(4_900_000, 0)]
    assert 0 < community.outbox.done[settlement].gas_used < 200_000
    places = community.deployment.addresses
    for name, place, view, argument, expected in (
        ("SmartMeterRegistry", places.registry, "meterOf", seller.meter.device_id, seller.address),
        ("GridManagement", places.grid, "getGridStatus", 7, 12_000),
    ):
        call = {"to": place, "data": hexed(contract(name).encode(view, argument))}
        values = contract(name).result(view, data(await rpc.call("eth_call", call, "latest")))
        assert values is not None
        assert expected in values[0]


async def test_an_answer_to_the_grid_is_given_once_and_a_refused_one_is_not_tried_again(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    grid, place = contract("GridManagement"), community.deployment.addresses.grid
    for calldata in (grid.encode("updateGridMetrics", 7, 1, 2), grid.encode("triggerLoadBalancing", 7)):
        await transact(rpc, operator.address, place, calldata)
    answer = {"node_id": 7, "request_id": 1, "relieved_w": 300}
    community.outbox.add("balancing:7:1", "answer_balancing", answer)
    async with community.sending(operator):
        await until(lambda: all_done(community))
        community.outbox.add("again", "answer_balancing", answer)
        community.outbox.add("unknown", "answer_balancing", answer | {"request_id": 2})
        await until(lambda: set(community.outbox.errors) == {"again", "unknown"})
    assert {key: effect.attempts for key, effect in community.outbox.effects.items()} == {
        "balancing:7:1": 0,
        "again": 1,
        "unknown": 1,
    }
    assert community.outbox.states() == {"balancing:7:1": "done", "again": "failed", "unknown": "failed"}
    assert community.failed == [
        ("again", "RequestAlreadyAnswered(nodeId=7, requestId=1)"),
        ("unknown", "RequestUnknown(nodeId=7, requestId=2)"),
    ]
    wanted = {"address": place, "fromBlock": "0x0", "topics": [grid.topic("LoadBalancingAnswered")]}
    (log,) = await rpc.call("eth_getLogs", wanted)
    assert grid.log("LoadBalancingAnswered", log) == {"nodeId": 7, "requestId": 1, "relievedW": 300}


async def test_many_effects_are_in_flight_at_once_in_nonce_order(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    await rpc.call("evm_setAutomine", False)
    homes = [Home() for _ in range(30)]
    for home in homes:
        community.welcome(home)
    async with community.sending(operator):
        await until(lambda: len(community.outbox.sends) == 16)
        nonces = [nonce for _, nonce, _ in community.outbox.sends]
        assert nonces == [*range(nonces[0], nonces[0] + 16)]
        await rpc.call("evm_setAutomine", True)
        await rpc.call("evm_mine")
        await until(lambda: all_done(community))
    assert set(await balances(rpc, community, *homes)) == {Balance(5_000_000, 0)}


async def test_crash_between_storing_and_sending_sends_the_same_transaction_once(
    rpc: Rpc, community: Community, operator: AccountKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home()
    community.welcome(home)
    store = MemoryOutbox.mark_sent

    async def store_and_crash(outbox: MemoryOutbox, *arguments: object) -> None:
        await store(outbox, *arguments)  # type: ignore[arg-type]
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(MemoryOutbox, "mark_sent", store_and_crash)
        with pytest.raises(Crash):
            await run_until_crash(community, operator)
    assert len(community.outbox.sends) == 1
    assert await mined_count(rpc, operator) == community.deployment.next_nonce
    async with community.sending(operator):
        await until(lambda: all_done(community))
    assert len(community.outbox.sends) == 1
    assert await mined_count(rpc, operator) == community.deployment.next_nonce + 1
    assert await balances(rpc, community, home) == [Balance(5_000_000, 0)]


async def test_crash_between_mining_and_booking_books_without_sending_again(
    rpc: Rpc, community: Community, operator: AccountKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    community.trade(1, seller, buyer)

    async def crash(effect: Effect, mined: Mined) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(community, "on_done", crash)
        with pytest.raises(Crash):
            await run_until_crash(community, operator)
    assert not community.confirmed
    async with community.sending(operator):
        await until(lambda: all_done(community))
    assert len(community.outbox.sends) == 2
    assert await mined_count(rpc, operator) == community.deployment.next_nonce + 2
    assert await balances(rpc, community, seller) == [Balance(100_000, 20)]


async def test_killed_node_that_lost_its_state_gets_everything_again(
    chain: DevChain, rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    homes = [Home() for _ in range(12)]
    for home in homes:
        community.welcome(home)
    async with community.sending(operator):
        await until(lambda: list(community.outbox.states().values()).count("done") >= 4)
        first = dict(community.outbox.done)
        killed = chain.pid
        (chain.folder / "state.json").unlink(missing_ok=True)
        os.kill(killed, signal.SIGKILL)
        community.trade(5, homes[0], homes[1])
        await until(lambda: all_done(community), within_s=30)
        count = community.deployment.next_nonce + 13
        await until_mined(rpc, operator, count)
    assert chain.pid != killed
    assert [key for key, _, _ in community.outbox.sends].count(next(iter(first))) == 1
    assert len(community.outbox.sends) == 13
    expected = [Balance(5_100_000, 20), Balance(4_900_000, 0), *[Balance(5_000_000, 0)] * 10]
    assert await balances(rpc, community, *homes) == expected


async def test_chain_that_loses_its_last_blocks_gets_the_same_transactions_again(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(seller)
    async with community.sending(operator):
        await until(lambda: all_done(community))
        snapshot = await rpc.call("evm_snapshot")
        community.welcome(buyer)
        community.trade(1, seller, buyer)
        await until(lambda: all_done(community))
        sends = list(community.outbox.sends)
        assert await rpc.call("evm_revert", snapshot)
        assert await balances(rpc, community, buyer) == [Balance(0, 0)]
        await until_mined(rpc, operator, community.deployment.next_nonce + 3)
        assert await balances(rpc, community, buyer) == [Balance(4_900_000, 0)]
    assert community.outbox.sends == sends


async def until_mined(rpc: Rpc, operator: AccountKey, count: int) -> None:
    deadline = time.monotonic() + 15
    while await mined_count(rpc, operator) < count:
        assert time.monotonic() < deadline


async def test_effects_wait_while_the_node_is_gone_and_then_complete(
    tmp_path: Path, operator: AccountKey, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home()
    async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
        community = await deploy(rpc, operator, tmp_path)
    async with community.sending(operator) as sender:
        community.welcome(home)
        await until(lambda: not sender.reachable)
        await until(lambda: "waiting for it" in caplog.text)
        assert community.outbox.states() == {f"welcome:{home.address}": "pending"}
        async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
            assert chain.url == community.deployment.rpc_url
            await until(lambda: all_done(community))
            assert sender.reachable
            assert await balances(rpc, community, home) == [Balance(5_000_000, 0)]
    assert caplog.text.count("waiting for it") <= 2  # once for each time the node went


async def test_refused_settlement_fails_by_name_and_holds_nothing_else_up(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    seller, poor, buyer = Home(), Home(), Home()
    bad = community.trade(1, seller, poor)
    community.welcome(buyer)
    good = community.trade(2, seller, buyer)
    async with community.sending(operator):
        await until(lambda: community.outbox.effects[good].state == "done")
    assert community.outbox.effects[bad].state == "failed"
    assert community.outbox.effects[bad].attempts == 3
    error = f"AccountMoneyInsufficient(account={poor.address}, moneyMicro=0, neededMicro=100000)"
    assert community.failed == [(bad, error)]
    assert community.outbox.errors[bad] == error
    assert await balances(rpc, community, seller) == [Balance(100_000, 20)]


async def test_crash_between_telling_of_a_failure_and_booking_it_tells_again(
    community: Community, operator: AccountKey
) -> None:
    key = community.settle(ExpectedBatch(community.deployment.genesis, bytes(32), bytes(32), b"short"))
    mark_failed, crashed = community.outbox.mark_failed, asyncio.Event()

    async def crash(key: str, error: str, *, retry: bool) -> None:
        if not retry:
            crashed.set()
            await asyncio.Event().wait()
        await mark_failed(key, error, retry=True)

    community.outbox.mark_failed = crash  # type: ignore[method-assign]
    async with community.sending(operator):
        await asyncio.wait_for(crashed.wait(), 10)
    assert community.outbox.effects[key].state == "pending"
    error = "BatchLengthInvalid(length=5)"
    assert community.failed == [(key, error)]
    community.outbox.mark_failed = mark_failed  # type: ignore[method-assign]
    async with community.sending(operator):
        await until(lambda: community.outbox.effects[key].state == "failed")
    assert community.failed == [(key, error), (key, error)]


async def test_interval_that_an_account_has_used_fails_at_once(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    first = community.trade(1, seller, buyer)
    async with community.sending(operator):
        await until(lambda: all_done(community))
        second = f"{first}-again"
        community.outbox.add(second, "settle_batch", dict(community.outbox.effects[first].payload))
        await until(lambda: community.outbox.effects[second].state == "failed")
    assert community.outbox.effects[second].attempts == 1
    assert community.failed[0][1].startswith("AccountIntervalUsed(account=0x")


async def test_a_settlement_waits_for_the_one_before_it(rpc: Rpc, community: Community, operator: AccountKey) -> None:
    seller, late, buyer = Home(), Home(), Home()
    community.welcome(buyer)
    first, second = community.trade(1, seller, late), community.trade(2, seller, buyer)
    async with community.sending(operator):
        await until(lambda: community.outbox.effects[first].attempts > 0)
        assert community.outbox.effects[second].state == "pending"
        community.welcome(late)
        await until(lambda: all_done(community))
    sent = [key for key, _, _ in community.outbox.sends]
    assert sent.index(first) < sent.index(second)


async def test_settlement_that_reverts_in_its_block_fails_by_name(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    async with community.sending(operator):
        await until(lambda: all_done(community))
        await rpc.call("anvil_setBalance", buyer.address, hex(10**18))
        ledger = contract("EnergyLedger")
        await send_by_hand(rpc, community, buyer, 0, ledger.encode("requestWithdrawal", 5_000_000))
        await rpc.call("evm_increaseTime", 2 * 86_400)
        await rpc.call("evm_mine")
        await rpc.call("evm_setAutomine", False)
        key = community.trade(1, seller, buyer)
        await until(lambda: community.outbox.effects[key].state == "sent")
        await send_by_hand(rpc, community, buyer, 1, ledger.encode("withdraw", 5_000_000, buyer.address))
        await rpc.call("evm_mine")
        await until(lambda: community.outbox.effects[key].state == "failed")
    assert community.failed[0][1].startswith("AccountMoneyInsufficient(")


async def send_by_hand(rpc: Rpc, community: Community, home: Home, nonce: int, calldata: bytes) -> None:
    """Let a home call the ledger, and pay more than the operator to come first."""
    call = Call(community.deployment.addresses.ledger, calldata)
    signed = sign(home.account, 31337, nonce, call, 200_000, Fees(10**11, 10**11))
    await rpc.call("eth_sendRawTransaction", hexed(signed.raw))


async def test_nonce_used_by_hand_is_noticed_and_the_effect_signed_again(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    home = Home()
    community.welcome(home)
    await rpc.call("evm_setAutomine", False)
    async with community.sending(operator):
        await until(lambda: bool(community.outbox.sends))
    await rpc.call("anvil_dropAllTransactions")
    await rpc.call("evm_setAutomine", True)
    by_hand = sign(
        operator, 31337, community.deployment.next_nonce, Call(operator.address, b""), 21_000, Fees(10**9, 10**9)
    )
    await rpc.call("eth_sendRawTransaction", hexed(by_hand.raw))
    await until_mined(rpc, operator, community.deployment.next_nonce + 1)
    async with community.sending(operator):
        await until(lambda: all_done(community))
    assert [nonce for _, nonce, _ in community.outbox.sends] == [by_hand.nonce, by_hand.nonce + 1]
    assert await balances(rpc, community, home) == [Balance(5_000_000, 0)]


async def test_effect_is_done_when_enough_blocks_stand_on_it(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    key = community.welcome(Home())
    async with community.sending(operator, replace(FAST, confirmations=2)):
        await until_mined(rpc, operator, community.deployment.next_nonce + 1)
        await asyncio.sleep(0.1)
        assert community.outbox.effects[key].state == "sent"
        await rpc.call("anvil_mine", "0x2")
        await until(lambda: all_done(community))


async def test_nothing_is_sent_while_gas_is_too_dear(
    rpc: Rpc, community: Community, operator: AccountKey, caplog: pytest.LogCaptureFixture
) -> None:
    community.welcome(Home())
    await rpc.call("anvil_setNextBlockBaseFeePerGas", hex(10**12))
    await rpc.call("anvil_mine", "0x1")
    async with community.sending(operator):
        await until(lambda: "more than the limit" in caplog.text)
        assert not community.outbox.sends
        await rpc.call("anvil_setNextBlockBaseFeePerGas", "0x1")
        await rpc.call("anvil_mine", "0x1")
        await until(lambda: all_done(community))


@pytest.mark.parametrize(
    ("rows", "chain_id", "says"), [(5_500, 31337, "out of gas"), (20_000, 31337, "out of gas"), (900, 1, "131072")]
)
async def test_batch_that_no_transaction_can_carry_fails_at_once(
    community: Community, operator: AccountKey, rows: int, chain_id: int, says: str
) -> None:
    community.deployment = replace(community.deployment, chain_id=chain_id)
    batch = ExpectedBatch(community.deployment.genesis, bytes(32), bytes(32), b"\x01" * 153 * rows)
    key = community.settle(batch)
    async with community.sending(operator):
        await until(lambda: community.outbox.effects[key].state == "failed")
    assert community.outbox.effects[key].attempts == 1
    assert says in community.outbox.errors[key].lower()


async def test_an_effect_that_no_contract_knows_fails_with_a_sentence(
    community: Community, operator: AccountKey
) -> None:
    community.outbox.add("x", "make_coffee", {})
    community.outbox.add("y", "deposit_welcome", {"account": "0x12"})
    batch = ExpectedBatch(community.deployment.genesis, bytes(32), bytes(32), b"short")
    key = community.settle(replace(batch))
    async with community.sending(operator):
        await until(lambda: set(community.outbox.states().values()) == {"failed"})
    assert community.outbox.errors["x"] == "no contract does 'make_coffee'"
    assert "money_micro" in community.outbox.errors["y"]
    assert community.outbox.errors[key] == "BatchLengthInvalid(length=5)"
