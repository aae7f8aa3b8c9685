"""Refusals that end by themselves are waited for; the others name who has to be left out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.refusals import refused_account
from coordinator.chain.rpc import Rpc, quantity
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from coordinator.settlement.rows import ROW_BYTES
from tests.chain.conftest import transact
from tests.chain.support import FAST, INTERVAL_S, MARKET, Community, Home, compact, until

GUARDIAN_ROLE = 4
LONG_S = 1.5
"""FAST gives a refusal up after 0.15 s."""


@pytest.fixture
async def guardian(rpc: Rpc, community: Community, operator: AccountKey) -> str:
    """Appoint another guardian than the operator, whose nonces belong to the sender."""
    key = AccountKey.generate()
    granted = contract("Authority").encode("grantRole", GUARDIAN_ROLE, key.address, 0)
    await transact(rpc, operator.address, community.deployment.addresses.authority, granted)
    return key.address


async def pause(rpc: Rpc, community: Community, guardian: str, *, paused: bool) -> None:
    calldata = contract("EnergyLedger").encode("setPaused", paused)
    await transact(rpc, guardian, community.deployment.addresses.ledger, calldata)


async def ready_to_trade(community: Community, operator: AccountKey) -> tuple[Home, Home]:
    seller, buyer = Home(), Home()
    welcome = community.welcome(buyer)
    async with community.sending(operator):
        await until(lambda: welcome in community.outbox.done)
    return seller, buyer


async def test_a_long_pause_is_waited_for_and_then_everything_is_settled(
    rpc: Rpc, community: Community, operator: AccountKey, guardian: str, caplog: pytest.LogCaptureFixture
) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    await pause(rpc, community, guardian, paused=True)
    keys = [community.trade(number, seller, buyer) for number in (1, 2)]
    community.outbox.add("grid:1", "update_grid", {"node_id": 7, "load_w": 12_000, "capacity_w": 630_000})
    async with community.sending(operator) as sender:
        assert sender.waits_for is None
        await until(lambda: "grid:1" in community.outbox.done)
        await asyncio.sleep(LONG_S)
        assert sender.waits_for == "the guardian has paused the contract; what is decided waits until it ends the pause"
        assert [community.outbox.effects[key].state for key in keys] == ["pending", "pending"]
        await pause(rpc, community, guardian, paused=False)
        await until(lambda: all(key in community.outbox.done for key in keys))
        assert sender.waits_for is None
    assert [community.outbox.effects[key].attempts for key in keys] == [0, 0]
    assert [key for key, _, _ in community.outbox.sends[-2:]] == keys
    assert community.failed == []
    assert caplog.text.count("TradingPaused()") == 1


async def test_a_pause_outlives_restarts(rpc: Rpc, community: Community, operator: AccountKey, guardian: str) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    await pause(rpc, community, guardian, paused=True)
    key = community.trade(1, seller, buyer)
    for _ in range(4):  # more starts than attempts
        async with community.sending(operator) as sender:
            await until(lambda sender=sender: sender.waits_for is not None)  # type: ignore[misc]
            await asyncio.sleep(0.2)
    assert (community.outbox.effects[key].state, community.outbox.effects[key].attempts) == ("pending", 0)
    await pause(rpc, community, guardian, paused=False)
    async with community.sending(operator):
        await until(lambda: key in community.outbox.done)
    assert community.failed == []


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_settlement_that_was_mined_in_a_pause_is_sent_again_after_it(
    rpc: Rpc, community: Community, operator: AccountKey, guardian: str, restarted: bool
) -> None:
    """It left before the pause, whose transaction paid more to come first."""
    seller, buyer = await ready_to_trade(community, operator)
    await rpc.call("evm_setAutomine", False)
    async with community.sending(operator) as sender:
        key = community.trade(1, seller, buyer)
        await until(lambda: community.outbox.effects[key].state == "sent")
        await rpc.call("anvil_impersonateAccount", guardian)
        await rpc.call("anvil_setBalance", guardian, hex(10**18))
        paused = hexed(contract("EnergyLedger").encode("setPaused", True))
        ledger, fee = community.deployment.addresses.ledger, hex(10**11)
        first = {"from": guardian, "to": ledger, "data": paused, "gas": hex(10**6), "maxFeePerGas": fee}
        await rpc.call("eth_sendTransaction", first | {"maxPriorityFeePerGas": fee})
        await rpc.call("evm_mine")
        await rpc.call("evm_setAutomine", True)
        await until(lambda: sender.waits_for is not None)
        await asyncio.sleep(LONG_S)
        if not restarted:
            await pause(rpc, community, guardian, paused=False)
            await until(lambda: key in community.outbox.done)
    if restarted:
        async with community.sending(operator) as sender:
            await until(lambda: sender.waits_for is not None)
            await pause(rpc, community, guardian, paused=False)
            await until(lambda: key in community.outbox.done)
    assert [sent for sent, _, _ in community.outbox.sends].count(key) == 2
    assert (community.outbox.effects[key].attempts, community.failed) == (0, [])


async def test_settlements_that_wait_keep_nothing_else_from_its_turn(
    rpc: Rpc, community: Community, operator: AccountKey, guardian: str
) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    await pause(rpc, community, guardian, paused=True)
    keys = [community.trade(number, seller, buyer) for number in range(1, 8)]
    community.outbox.add("grid:1", "update_grid", {"node_id": 7, "load_w": 12_000, "capacity_w": 630_000})
    async with community.sending(operator, replace(FAST, in_flight_max=1)):  # looks at four effects at a time
        await until(lambda: "grid:1" in community.outbox.done)
        await pause(rpc, community, guardian, paused=False)
        await until(lambda: all(key in community.outbox.done for key in keys))


async def test_a_delivery_that_is_not_over_for_the_chain_is_waited_for(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    """The chain's clock is behind by an interval."""
    seller, buyer = await ready_to_trade(community, operator)
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    number = (quantity(block["timestamp"]) - community.deployment.genesis) // INTERVAL_S + 1
    key = community.trade(number, seller, buyer)
    async with community.sending(operator) as sender:
        await until(lambda: sender.waits_for is not None)
        await asyncio.sleep(LONG_S)
        assert sender.waits_for is not None
        assert "clock is behind" in sender.waits_for
        await rpc.call("evm_increaseTime", 2 * INTERVAL_S)
        await rpc.call("evm_mine")
        await until(lambda: key in community.outbox.done)
    assert (community.outbox.effects[key].attempts, community.failed) == (0, [])


async def test_a_key_that_is_not_the_settler_waits_and_says_so_as_an_error(
    rpc: Rpc, community: Community, operator: AccountKey, caplog: pytest.LogCaptureFixture
) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    admin, place = AccountKey.generate().address, community.deployment.addresses
    await transact(rpc, operator.address, place.authority, contract("Authority").encode("grantRole", 0, admin, 0))
    settlers = [contract("EnergyLedger").encode("setSettler", key) for key in (admin, operator.address)]
    await transact(rpc, admin, place.ledger, settlers[0])
    key = community.trade(1, seller, buyer)
    async with community.sending(operator) as sender:
        await until(lambda: sender.waits_for is not None)
        await asyncio.sleep(LONG_S)
        assert sender.waits_for is not None
        assert "setSettler" in sender.waits_for
        (told,) = [record for record in caplog.records if "SettlerOnly" in record.message]
        assert told.levelno == logging.ERROR
        await transact(rpc, admin, place.ledger, settlers[1])
        await until(lambda: key in community.outbox.done)
    assert (community.outbox.effects[key].attempts, community.failed) == (0, [])


async def test_what_fails_otherwise_while_it_waits_fails_and_is_waited_for_no_more(
    rpc: Rpc, community: Community, operator: AccountKey, guardian: str
) -> None:
    """The buyer's money is not there; the pause hides it, its end shows it."""
    seller, poor = Home(), Home()
    await pause(rpc, community, guardian, paused=True)
    key = community.trade(1, seller, poor)
    async with community.sending(operator) as sender:
        await until(lambda: sender.waits_for is not None)
        await pause(rpc, community, guardian, paused=False)
        await until(lambda: community.outbox.effects[key].state == "failed")
        assert sender.waits_for is None
    assert community.outbox.effects[key].attempts == FAST.attempts_max
    assert community.failed[0][1].startswith("AccountMoneyInsufficient(")


# Whom a refusal names


type Change = Callable[[bytes], bytes]


def put(at: int, value: int, length: int) -> Change:
    return lambda row: row[:at] + value.to_bytes(length, "big") + row[at + length :]


def change_row(community: Community, key: str, home: Home, change: Change) -> None:
    """Change the row of an account in a batch that is to be sent."""
    effect = community.outbox.effects[key]
    rows = bytes.fromhex(effect.payload["rows"][2:])
    parts = [rows[at : at + ROW_BYTES] for at in range(0, len(rows), ROW_BYTES)]
    changed = b"".join(change(row) if row[:20].hex() == home.address[2:] else row for row in parts)
    community.outbox.effects[key] = replace(effect, payload={**effect.payload, "rows": hexed(changed)})


async def refusal(community: Community, operator: AccountKey, key: str) -> tuple[str, str | None]:
    """Return what the contract says to a batch, and whom the coordinator leaves out then."""
    async with community.sending(operator):
        await until(lambda: community.outbox.effects[key].state == "failed")
    ((_, error),) = community.failed
    return error, refused_account(error, community.outbox.effects[key].payload, community.deployment)


def signed_by(other: AccountKey, community: Community, home: Home, start: int) -> Change:
    """Sign the seller's order of ``Community.trade`` with another key."""
    order = Order(home.address, MARKET, start, Side.SELL, 600, 180_000)
    signature = compact(other, order.digest(community.domain))
    return lambda row: row[:-64] + signature


async def test_a_signature_that_is_not_the_accounts_names_it(community: Community, operator: AccountKey) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    key = community.trade(1, seller, buyer)
    start = community.outbox.effects[key].payload["delivery_start"]
    change_row(community, key, seller, signed_by(AccountKey.generate(), community, seller, start))
    error, account = await refusal(community, operator, key)
    assert error.startswith(f"RowSignatureInvalid(account={seller.address}, digest=0x")
    assert account == seller.address


async def test_a_mandate_that_does_not_cover_names_the_account(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    agent = AccountKey.generate()
    key = community.trade(1, seller, buyer)
    start = community.outbox.effects[key].payload["delivery_start"]
    mandate = (seller.address, agent.address, start, start + INTERVAL_S, 1, 1_000_000, 0)
    given = contract("EnergyLedger").encode("setMandate", mandate)
    await transact(rpc, seller.address, community.deployment.addresses.ledger, given)
    change_row(community, key, seller, signed_by(agent, community, seller, start))
    error, account = await refusal(community, operator, key)
    assert error.startswith(f"MandateNotCovering(account={seller.address}, delegate={agent.address}")
    assert account == seller.address


@pytest.mark.parametrize(
    ("problem", "change"),
    [
        ("RowExecutedInvalid", put(35, 601, 6)),
        ("RowMeteredInvalid", put(47, 499, 6)),
        ("RowLimitBroken", put(53, 1, 8)),
        ("RowTradesInvalid", put(61, 501, 2)),
    ],
)
async def test_an_order_that_the_contract_refuses_leads_to_its_account(
    community: Community, operator: AccountKey, problem: str, change: Change
) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    key = community.trade(1, seller, buyer)
    change_row(community, key, seller, change)
    error, account = await refusal(community, operator, key)
    assert error.startswith(f"{problem}(digest=0x")
    assert account == seller.address


async def test_rows_out_of_order_are_nobodys_fault(community: Community, operator: AccountKey) -> None:
    seller, buyer = await ready_to_trade(community, operator)
    key = community.trade(1, seller, buyer)
    effect = community.outbox.effects[key]
    rows = bytes.fromhex(effect.payload["rows"][2:])
    turned = hexed(rows[ROW_BYTES:] + rows[:ROW_BYTES])
    community.outbox.effects[key] = replace(effect, payload={**effect.payload, "rows": turned})
    error, account = await refusal(community, operator, key)
    assert error.startswith("RowAccountNotAscending(account=0x")
    assert account is None


def test_compliances_word_names_the_account_and_an_order_of_no_row_nobody(community: Community) -> None:
    seller, buyer = Home(), Home()
    payload = community.outbox.effects[community.trade(1, seller, buyer)].payload
    for error, account in (
        (f"AccountSaleCapExceeded(account={seller.address}, soldWh=2, saleCapWh=1)", seller.address),
        (f"AccountNotListed(account={seller.address})", seller.address),
        (f"RowSideInvalid(digest=0x{'12' * 32}, side=2)", None),
        (f"RowOrderNotAscending(account={seller.address}, digest=0x{'12' * 32})", None),
        ("BatchUnbalanced(energyWh=1, moneyMicro=0)", None),
    ):
        assert refused_account(error, payload, community.deployment) == account
