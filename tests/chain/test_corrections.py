"""Corrections on chain: what its losers signed is booked, what nobody agreed to is a fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from coordinator.chain.ports import Balance, IntervalCorrected
from coordinator.chain.rpc import Rpc
from coordinator.chain.transactions import Call, created_address
from coordinator.protocol.keys import AccountKey
from tests.chain.support import FAST_OBSERVER, Community, Home, events_of, until
from tests.chain.test_observer import act, agrees_wholly, mismatches, on_ledger


async def forward_to(rpc: Rpc, operator: AccountKey, ledger: str) -> str:
    """Make a contract that passes every call on to the ledger, and fails when that does."""
    passing_on = bytes.fromhex(f"365f5f375f5f365f5f73{ledger[2:]}5af1")
    runtime = passing_on + bytes([0x60, len(passing_on) + 6, 0x57]) + bytes.fromhex("5f5ffd5b00")
    length = f"60{len(runtime):02x}"
    nonce = int(await rpc.call("eth_getTransactionCount", operator.address, "latest"), 16)
    await act(rpc, operator, Call(None, bytes.fromhex(f"{length}600c600039{length}6000f3") + runtime))
    return created_address(operator.address, nonce)


async def test_correction_that_its_losers_signed_is_booked_and_agrees(
    community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        community.welcome(home)
    community.trade(1, seller, buyer, surplus_wh=200)
    async with community.observing(tmp_path / "observer.json") as observer, community.sending(operator):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        key = community.correct(buyer, seller)
        await until(lambda: community.outbox.states()[key] == "done" and bool(community.corrected))
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
    assert not mismatches(community)
    assert community.columns() == {seller.address: Balance(5_099_993, 160), buyer.address: Balance(4_900_007, 30)}


async def test_correction_with_other_rows_is_reported(
    community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        community.welcome(home)
    community.trade(1, seller, buyer, surplus_wh=200)
    async with community.observing(tmp_path / "observer.json"), community.sending(operator):
        await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        community.correct(buyer, seller)
        ((subject, rows),) = community.agreed.items()
        community.agreed[subject] = (replace(rows[0], money_micro=rows[0].money_micro + 1), *rows[1:])
        await until(lambda: bool(community.mismatches()))
    assert community.mismatches()[0] == "correction_rows"


async def test_correction_that_nobody_agreed_to_is_reported_booked_and_agrees_afterwards(
    community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        community.welcome(home)
    community.trade(1, seller, buyer, surplus_wh=200)
    (start,) = community.batches
    async with community.observing(tmp_path / "observer.json") as observer:
        async with community.sending(operator):
            await until(lambda: agrees_wholly(community, batches=1, accounts=2))
            community.correct(buyer, seller)
            community.agreed.clear()
            await until(lambda: bool(community.corrected))
        await until(lambda: observer.status.agreed_block == observer.status.block_number)
        await asyncio.sleep(2 * FAST_OBSERVER.grace_s)
    (event,) = events_of(IntervalCorrected, community.events)
    assert (event.delivery_start, event.revision, event.minted_wh, event.burned_wh) == (start, 1, 0, 10)
    assert {row.account: (row.energy_wh, row.money_micro) for row in event.rows or ()} == {
        seller.address: (-40, -7),
        buyer.address: (30, 7),
    }
    (found,) = mismatches(community)
    assert (found.code, found.delivery_start) == ("correction_unknown", start)
    assert community.columns() == {seller.address: Balance(5_099_993, 160), buyer.address: Balance(4_900_007, 30)}


async def test_correction_that_cannot_be_read_is_reported(
    rpc: Rpc, community: Community, operator: AccountKey, tmp_path: Path
) -> None:
    """The settler is a contract here: the rows are not in its transaction's call data as the ledger got them."""
    seller, buyer = Home(), Home()
    async with community.observing(tmp_path / "observer.json"):
        async with community.sending(operator):
            for home in (seller, buyer):
                community.welcome(home)
            community.trade(1, seller, buyer, surplus_wh=200)
            await until(lambda: agrees_wholly(community, batches=1, accounts=2))
        forwarder = await forward_to(rpc, operator, community.deployment.addresses.ledger)
        await on_ledger(rpc, community, operator, "setSettler", forwarder)
        community.deployment = replace(
            community.deployment, addresses=replace(community.deployment.addresses, ledger=forwarder)
        )
        community.correct(buyer, seller)
        async with community.sending(operator):
            await until(lambda: "correction_unreadable" in community.mismatches())
    assert community.mismatches()[0] == "correction_unreadable"
    assert all(event.rows is None for event in events_of(IntervalCorrected, community.events))
