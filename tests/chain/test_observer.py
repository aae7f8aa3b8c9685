"""The observer compares what it reads with what the ledger says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.chain.abi import contract
from coordinator.chain.batch import ROW_LENGTH, Totals, totals, unpack
from coordinator.chain.contracts import TOKEN_UNITS_PER_WH, hexed
from coordinator.chain.devchain import DevChain
from coordinator.chain.ports import (
    Agreement,
    Balance,
    BatchSettled,
    Deposited,
    FeesCollected,
    IntervalCancelled,
    LoadBalancingTriggered,
    MandateRevoked,
    MandateSet,
    Mismatch,
    WithdrawalRequested,
    Withdrawn,
)
from coordinator.chain.rpc import Rpc
from coordinator.chain.transactions import Call, Fees, sign
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from tests.chain.conftest import TERMS, WANTED, deploy, transact
from tests.chain.support import FAST_OBSERVER, INTERVAL_S, Community, Home, compact, events_of, until


def agrees_wholly(community: Community, batches: int, accounts: int) -> bool:
    wanted = (batches, accounts)
    return any(a.whole and (a.batches, a.accounts) == wanted for a in events_of(Agreement, community.reports))


def mismatches(community: Community) -> list[Mismatch]:
    return events_of(Mismatch, community.reports)


@pytest.fixture
async def settled(community: Community, operator: AccountKey) -> AsyncIterator[tuple[Community, Home, Home]]:
    """Two homes with money, and one settlement on chain, seen by nobody yet."""
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        community.welcome(home)
    community.trade(1, seller, buyer)
    async with community.sending(operator):
        await until(lambda: set(community.outbox.states().values()) == {"done"})
        yield community, seller, buyer


async def withdraw(rpc: Rpc, community: Community, home: Home, money_micro: int) -> None:
    """Let a home take money out by itself, after the delay."""
    await on_ledger(rpc, community, home.account, "requestWithdrawal", money_micro)
    await rpc.call("evm_increaseTime", 2 * 86_400)
    await on_ledger(rpc, community, home.account, "withdraw", money_micro, home.address)


async def on_ledger(rpc: Rpc, community: Community, key: AccountKey, function: str, *values: object) -> None:
    """Call the ledger with a key of its own."""
    calldata = contract("EnergyLedger").encode(function, *values)
    await act(rpc, key, Call(community.deployment.addresses.ledger, calldata))


async def act(rpc: Rpc, key: AccountKey, call: Call) -> None:
    """Let an account make a transaction of its own."""
    await rpc.call("anvil_setBalance", key.address, hex(10**18))
    nonce = int(await rpc.call("eth_getTransactionCount", key.address, "latest"), 16)
    signed = sign(key, 31337, nonce, call, 400_000, Fees(10**9, 10**9))
    await rpc.call("eth_sendRawTransaction", hexed(signed.raw))
    await until_receipt(rpc, signed.transaction)


async def until_receipt(rpc: Rpc, transaction: str) -> None:
    async with asyncio.timeout(5):
        while (receipt := await rpc.call("eth_getTransactionReceipt", transaction)) is None:  # noqa: ASYNC110 - a node's doing
            await asyncio.sleep(0.01)
    assert receipt["status"] == "0x1"


async def test_deposits_settlements_and_withdrawals_are_told_and_agree(
    rpc: Rpc, settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, seller, buyer = settled
    async with community.observing(tmp_path / "observer.json") as observer:
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        await withdraw(rpc, community, seller, 5_100_000)
        await until(lambda: bool(events_of(Withdrawn, community.events)))
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
    deposits = events_of(Deposited, community.events)
    assert {(d.account, d.money_micro) for d in deposits} == {(h.address, 5_000_000) for h in (seller, buyer)}
    (batch,) = events_of(BatchSettled, community.events)
    sums = totals(unpack(community.batches[batch.delivery_start].rows))
    assert batch.totals == sums == Totals(100_000, traded_wh=500, minted_wh=520, burned_wh=500, fees_micro=0)
    (withdrawal,) = events_of(Withdrawn, community.events)
    assert (withdrawal.account, withdrawal.money_micro) == (seller.address, 5_100_000)
    assert withdrawal.reference == f"{withdrawal.transaction}:0"
    (request,) = events_of(WithdrawalRequested, community.events)
    assert (request.account, request.money_micro) == (seller.address, 5_100_000)
    assert request.available_at == await timestamp_of(rpc, request.block_number) + 2 * 86_400
    assert not mismatches(community)


async def timestamp_of(rpc: Rpc, block_number: int) -> int:
    block = await rpc.call("eth_getBlockByNumber", hex(block_number), False)
    return int(block["timestamp"], 16)


async def test_relayed_withdrawal_leaves_the_account_with_its_fee(
    rpc: Rpc, settled: tuple[Community, Home, Home], operator: AccountKey, tmp_path: Path
) -> None:
    community, seller, _ = settled
    message = Withdrawal(seller.address, seller.address, 3_000_000, 50_000, 0, 2**40)
    signature = compact(seller.account, message.digest(community.domain))
    call = [tuple(message.to_wire().values()), signature[:32], signature[32:]]
    async with community.observing(tmp_path / "observer.json") as observer:
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        await on_ledger(rpc, community, operator, "relayWithdrawal", *call)
        await until(lambda: len(events_of(Withdrawn, community.events)) == 2)
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
    withdrawn = events_of(Withdrawn, community.events)
    assert [(w.account, w.money_micro) for w in withdrawn] == [(seller.address, 3_000_000), (seller.address, 50_000)]
    assert len({w.reference for w in withdrawn}) == 2
    assert not mismatches(community)


async def test_fees_go_from_the_batches_to_the_fee_account(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> None:
    seller, buyer, treasurer = Home(), Home(), Home()
    wanted = replace(WANTED, terms=replace(TERMS, fee_max_micro_per_kwh=20_000, fee_account=treasurer.address))
    community = await deploy(rpc, operator, tmp_path, wanted)
    community.welcome(buyer)
    for number, fee_micro in ((1, 10_000), (2, 7)):
        community.trade(number, seller, buyer, fee_micro=fee_micro)
    async with community.observing(tmp_path / "observer.json"):
        async with community.sending(operator):
            await until(lambda: agrees_wholly(community, batches=2, accounts=2))
        await on_ledger(rpc, community, buyer.account, "collectFees")
        await until(lambda: agrees_wholly(community, batches=2, accounts=3))
    assert [batch.totals.fees_micro for batch in events_of(BatchSettled, community.events)] == [10_000, 7]
    (collected,) = events_of(FeesCollected, community.events)
    assert (collected.account, collected.money_micro) == (treasurer.address, 10_007)
    assert community.columns()[treasurer.address] == Balance(10_007, 0)
    assert not mismatches(community)


async def test_what_changes_no_column_is_told_and_no_mismatch(
    rpc: Rpc, settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, seller, buyer = settled
    start = community.deployment.genesis + 200 * INTERVAL_S
    mandate = (seller.address, buyer.address, start, start + INTERVAL_S, 500, 300_000, -5)
    async with community.observing(tmp_path / "observer.json") as observer:
        await on_ledger(rpc, community, seller.account, "cancelInterval", await next_start(rpc, community))
        await on_ledger(rpc, community, seller.account, "setMandate", mandate)
        await on_ledger(rpc, community, seller.account, "revokeMandate", buyer.address)
        await until(lambda: bool(events_of(MandateRevoked, community.events)))
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
    (cancelled,) = events_of(IntervalCancelled, community.events)
    assert cancelled.account == seller.address
    (given,) = events_of(MandateSet, community.events)
    told = (given.account, given.delegate, given.valid_from, given.valid_until)
    assert (*told, given.energy_per_interval_max_wh, given.buy_limit_max, given.sell_limit_min) == mandate
    (revoked,) = events_of(MandateRevoked, community.events)
    assert revoked.valid_until == await timestamp_of(rpc, revoked.block_number) + 1
    assert not mismatches(community)


async def test_the_grids_request_is_told_and_no_mismatch(
    rpc: Rpc, settled: tuple[Community, Home, Home], operator: AccountKey, tmp_path: Path
) -> None:
    community, grid = settled[0], contract("GridManagement")
    place = community.deployment.addresses.grid
    async with community.observing(tmp_path / "observer.json") as observer:
        await transact(rpc, operator.address, place, grid.encode("updateGridMetrics", 7, 12_500, 12_000))
        for _ in range(2):
            await transact(rpc, operator.address, place, grid.encode("triggerLoadBalancing", 7))
        await until(lambda: len(events_of(LoadBalancingTriggered, community.events)) == 2)
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
    asked = events_of(LoadBalancingTriggered, community.events)
    assert [(a.node_id, a.request_id, a.overload_w, a.stability) for a in asked] == [(7, 1, 500, 0), (7, 2, 500, 0)]
    assert [a.reference for a in asked] == [f"{a.transaction}:grid:0" for a in asked]
    assert not mismatches(community)


async def next_start(rpc: Rpc, community: Community) -> int:
    """Return the start of the next delivery but one."""
    latest = await rpc.call("eth_getBlockByNumber", "latest", False)
    genesis = community.deployment.genesis
    return genesis + ((int(latest["timestamp"], 16) - genesis) // INTERVAL_S + 2) * INTERVAL_S


async def test_restarted_observer_goes_on_where_it_was(settled: tuple[Community, Home, Home], tmp_path: Path) -> None:
    community, seller, buyer = settled
    file = tmp_path / "observer.json"
    async with community.observing(file):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
    told = len(community.events)
    community.trade(2, seller, buyer)
    async with community.observing(file):
        await until(lambda: agrees_wholly(community, batches=2, accounts=2))
    assert len(community.events) == told + 1
    file.write_text("{", "ascii")
    async with community.observing(file):  # without its file it reads everything again
        await until(lambda: len(community.events) == 2 * (told + 1))
    assert not mismatches(community)


@pytest.mark.parametrize(
    ("altered", "code"),
    [
        ({"receipts_root": b"\x33" * 32}, "batch_roots"),
        ({"readings_root": b"\x33" * 32}, "batch_roots"),
        ({"rows": b"\0" * ROW_LENGTH}, "batch_rows"),
        (None, "batch_unknown"),
    ],
)
async def test_batch_that_the_ledger_did_not_decide_is_reported_once(
    settled: tuple[Community, Home, Home], tmp_path: Path, altered: dict[str, bytes] | None, code: str
) -> None:
    community, _, _ = settled
    start, batch = community.batches.popitem()
    if altered is not None:
        community.batches[start] = replace(batch, **altered)  # type: ignore[arg-type]
    async with community.observing(tmp_path / "observer.json") as observer:
        await until(lambda: bool(mismatches(community)))
        await asyncio.sleep(3 * FAST_OBSERVER.poll_s)
        assert observer.status.mismatches
    first = mismatches(community)[0]
    assert (first.code, first.delivery_start) == (code, start)
    assert [m.code for m in mismatches(community)].count(code) == 1


async def test_manipulated_rows_are_found_by_batch_and_by_account(
    community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    """The ledger decided 300 Wh, but somebody with the operator's key settled 500."""
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    community.trade(1, seller, buyer, energy_wh=500)
    (start,) = community.batches
    effects = community.outbox.effects.copy()
    community.trade(1, seller, buyer, energy_wh=300)
    community.outbox.effects = effects
    async with community.sending(operator), community.observing(tmp_path / "observer.json"):
        await until(lambda: len(mismatches(community)) >= 3)
    found = {(m.code, m.account, m.delivery_start) for m in mismatches(community)}
    accounts = {("account_balance", home.address, None) for home in (seller, buyer)}
    assert found == {("batch_rows", None, start)} | accounts


async def test_changed_storage_is_found_when_its_account_is_touched(
    rpc: Rpc, settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, seller, buyer = settled
    async with community.observing(tmp_path / "observer.json"):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        await add_money(rpc, community.deployment.addresses.ledger, buyer, 1)
        community.trade(2, seller, buyer)
        await until(lambda: bool(mismatches(community)))
    (found,) = mismatches(community)
    assert (found.code, found.account) == ("account_balance", buyer.address)
    assert "should hold 4800000 micro and 0 Wh, the contract says 4800001 micro and 0 Wh" in found.text


async def add_money(rpc: Rpc, ledger: str, home: Home, money_micro: int) -> None:
    """Change the account's word in the contract's storage, wherever the compiler put its mapping."""
    for place in range(10):
        slot = hexed(keccak256(bytes.fromhex(home.address[2:]).rjust(32, b"\0") + place.to_bytes(32, "big")))
        word = int(await rpc.call("eth_getStorageAt", ledger, slot, "latest"), 16)
        if word:
            await rpc.call("anvil_setStorageAt", ledger, slot, hexed((word + (money_micro << 120)).to_bytes(32, "big")))
            return
    raise AssertionError("the account's word was not found")


async def test_ledger_whose_columns_went_wrong_is_found_after_the_grace_time(
    settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, seller, _ = settled
    async with community.observing(tmp_path / "observer.json"):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        community.credited["a bug"] = seller.address, 7
        before = time.monotonic()
        await until(lambda: bool(mismatches(community)))
        assert time.monotonic() - before >= FAST_OBSERVER.grace_s
    (found,) = mismatches(community)
    assert (found.code, found.account) == ("ledger_columns", seller.address)


async def test_settlements_in_flight_are_no_mismatch(
    rpc: Rpc, community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    async with community.observing(tmp_path / "observer.json"), community.sending(operator):
        await until(lambda: agrees_wholly(community, batches=0, accounts=1))
        await rpc.call("evm_setAutomine", False)
        community.trade(1, seller, buyer)
        await asyncio.sleep(2 * FAST_OBSERVER.grace_s)  # decided, sent, not mined for a long time
        await rpc.call("evm_setAutomine", True)
        await rpc.call("evm_mine")
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
    assert not mismatches(community)


async def test_a_batch_that_never_comes_does_not_blind_the_observer_for_the_others(
    community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer, other = Home(), Home(), Home()
    for home in (buyer, other):
        community.welcome(home)
    async with community.observing(tmp_path / "observer.json") as observer, community.sending(operator):
        await until(lambda: agrees_wholly(community, batches=0, accounts=2))
        key = community.trade(1, seller, buyer)
        del community.outbox.effects[key]  # decided, never sent
        community.credited["a bug"] = buyer.address, 7
        await asyncio.sleep(2 * FAST_OBSERVER.grace_s)
        assert not mismatches(community)
        assert observer.status.agreed_block is not None
        community.credited["another"] = other.address, 7
        await until(lambda: bool(mismatches(community)))
    (found,) = mismatches(community)
    assert (found.code, found.account) == ("ledger_columns", other.address)


async def test_energy_moved_by_its_owner_is_no_mismatch(
    rpc: Rpc, settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, seller, buyer = settled
    async with community.observing(tmp_path / "observer.json"):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        gift = contract("EnergyToken").encode("transferEnergy", seller.address, buyer.address, 15 * TOKEN_UNITS_PER_WH)
        await act(rpc, seller.account, Call(community.deployment.addresses.token, gift))
        community.trade(2, seller, buyer)
        await until(lambda: agrees_wholly(community, batches=2, accounts=2))
        await asyncio.sleep(2 * FAST_OBSERVER.grace_s)
    assert not mismatches(community)


async def test_chain_that_lost_blocks_is_read_again_without_a_false_alarm(
    rpc: Rpc, community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    patient = replace(FAST_OBSERVER, grace_s=10)
    async with community.observing(tmp_path / "observer.json", patient) as observer:
        async with community.sending(operator):
            await until(lambda: agrees_wholly(community, batches=0, accounts=1))
            snapshot, before = await rpc.call("evm_snapshot"), observer.status.block_number
            community.welcome(seller)
            community.trade(1, seller, buyer)
            await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        deposits = {e.reference for e in events_of(Deposited, community.events)}
        told = len(community.events)
        assert await rpc.call("evm_revert", snapshot)
        await until(lambda: observer.status.block_number == before)
        community.reports.clear()
        async with community.sending(operator):
            await until(lambda: agrees_wholly(community, batches=1, accounts=2))
    assert len(community.events) == told + 2  # what came before the lost blocks is not told again
    assert {e.reference for e in events_of(Deposited, community.events)} == deposits
    assert not mismatches(community)


async def test_blocks_count_when_enough_others_stand_on_them(
    rpc: Rpc, settled: tuple[Community, Home, Home], tmp_path: Path
) -> None:
    community, _, _ = settled
    careful = replace(FAST_OBSERVER, confirmations=2)
    async with community.observing(tmp_path / "observer.json", careful) as observer:
        await until(lambda: observer.status.block_number > 0)
        await asyncio.sleep(3 * careful.poll_s)
        assert not events_of(BatchSettled, community.events)
        await rpc.call("anvil_mine", "0x2")
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
    assert not mismatches(community)


async def test_settlement_that_the_chain_lost_for_good_is_reported(
    rpc: Rpc, community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    async with community.observing(tmp_path / "observer.json"):
        async with community.sending(operator):
            await until(lambda: agrees_wholly(community, batches=0, accounts=1))
            snapshot = await rpc.call("evm_snapshot")
            community.trade(1, seller, buyer)
            await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        assert await rpc.call("evm_revert", snapshot)  # and nobody sends it again
        await until(lambda: bool(mismatches(community)))
    (found,) = mismatches(community)
    assert found.code == "batches_missing"
    assert found.text == "the ledger has confirmed 1 settlements, the chain has 0"


async def test_node_that_goes_and_comes_back_is_said_once_each(
    tmp_path: Path, operator: AccountKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    home = Home()
    async with DevChain(tmp_path / "chain", fund=[operator.address]) as chain, Rpc(chain.url) as rpc:
        community = await deploy(rpc, operator, tmp_path)
    async with community.observing(tmp_path / "observer.json") as observer:
        await until(lambda: not observer.status.reachable)
        async with DevChain(tmp_path / "chain", fund=[operator.address]):
            await until(lambda: observer.status.reachable)
            community.welcome(home)
            async with community.sending(operator):
                await until(lambda: agrees_wholly(community, batches=0, accounts=1))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("observer:")]
    assert lines[0].endswith("waiting for it, nothing is lost")
    assert lines[1] == "observer: the node answers again"
