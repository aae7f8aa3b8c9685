"""Fees and compensation on a real chain: the contract takes settlement's rows, and not one unit more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from coordinator.chain.abi import contract, describe_revert
from coordinator.chain.contracts import hexed, read_balances
from coordinator.chain.deployment import Wanted
from coordinator.chain.plan import LedgerTerms
from coordinator.chain.ports import ExpectedBatch
from coordinator.chain.rpc import Rpc, RpcError, data, quantity
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from coordinator.settlement.deliver import AccountEnergy, Compensation, TradeToSettle, deliver
from coordinator.settlement.rows import Row, SignedOrder, build_rows, pack_rows
from tests.chain.conftest import deploy
from tests.chain.support import INTERVAL_S, MARKET, Community, Home, compact, payload, until

SUPPLIER, FEED_IN, FEE_MAX = 320_000, 80_000, 50_000
TERMS = LedgerTerms(
    MARKET,
    INTERVAL_S,
    0,
    1_000_000,
    10_000,
    shortfall_price_max_micro_per_kwh=SUPPLIER,
    under_use_price_min_micro_per_kwh=FEED_IN,
    fee_max_micro_per_kwh=FEE_MAX,
)
WELCOME_MICRO = 5_000_000


@dataclass
class Interval:
    """One interval's orders, trades and meters, on one community's contract."""

    community: Community
    delivery_start: int
    orders: dict[bytes, SignedOrder] = field(default_factory=dict)
    trades: list[TradeToSettle] = field(default_factory=list)
    energies: list[AccountEnergy] = field(default_factory=list)

    def order(self, home: Home, side: Side, energy_wh: int, limit: int | None) -> bytes:
        salt = len(self.orders).to_bytes(32, "big")
        order = Order(home.address, MARKET, self.delivery_start, side, energy_wh, limit, salt=salt)
        digest = order.digest(self.community.domain)
        self.orders[digest] = SignedOrder(order, compact(home.account, digest))
        return digest

    def trade(self, buy: bytes, sell: bytes, energy_wh: int, price: int, fees: tuple[int, int] = (0, 0)) -> None:
        buyer, seller = (self.orders[digest].order.account for digest in (buy, sell))
        self.trades.append(TradeToSettle(len(self.trades) + 1, buy, sell, buyer, seller, energy_wh, price, *fees))

    def meter(self, home: Home, consumption_wh: int, production_wh: int) -> None:
        self.energies.append(AccountEnergy(home.address, consumption_wh, production_wh, estimated=False))

    def rows(self) -> tuple[Row, ...]:
        shares = deliver(self.trades, self.energies, Compensation(SUPPLIER, FEED_IN))
        return build_rows(shares, self.energies)

    def batch(self, rows: tuple[Row, ...]) -> ExpectedBatch:
        return ExpectedBatch(self.delivery_start, b"\x11" * 32, b"\x22" * 32, pack_rows(rows, self.orders))


def everybody_at_fault(community: Community, homes: list[Home]) -> Interval:
    """One seller falls short, one buyer leaves a part, one is owed without having got anything; fees on top."""
    anna, bert, cleo, dora, elsa = homes
    interval = Interval(community, community.deployment.genesis + 5 * INTERVAL_S)
    sell = interval.order(anna, Side.SELL, 1_001, 150_000)
    interval.trade(interval.order(bert, Side.BUY, 600, 249_999), sell, 600, 199_999, (13_001, 36_999))
    interval.trade(interval.order(cleo, Side.BUY, 401, 200_003), sell, 401, 160_001, (10_001, 30_001))
    other = interval.order(elsa, Side.SELL, 700, 90_000)
    interval.trade(interval.order(dora, Side.BUY, 700, 180_000), other, 700, 170_003, (0, 9_997))
    nothing = interval.order(elsa, Side.SELL, 50, None)
    interval.trade(interval.order(bert, Side.BUY, 50, None), nothing, 50, 100_001)
    interval.meter(anna, 0, 500)
    interval.meter(bert, 2_000, 0)
    interval.meter(cleo, 300, 0)
    interval.meter(dora, 349, 0)
    interval.meter(elsa, 0, 651)
    return interval


@pytest.fixture
async def community(rpc: Rpc, operator: AccountKey, tmp_path: Path) -> Community:
    return await deploy(rpc, operator, tmp_path, Wanted(TERMS))


async def test_the_contract_settles_fees_and_compensation_to_the_unit(
    rpc: Rpc, community: Community, operator: AccountKey
) -> None:
    homes = [Home() for _ in range(5)]
    interval = everybody_at_fault(community, homes)
    rows = interval.rows()
    assert {(row.executed_wh > 0, row.short_wh > 0) for row in rows} >= {(True, False), (True, True)}
    for home in homes:
        community.welcome(home, WELCOME_MICRO)
    async with community.sending(operator):
        await until(lambda: set(community.outbox.states().values()) == {"done"})
        assert await _refusals(rpc, community, interval, rows) == {}
        key = community.settle(interval.batch(rows))
        await until(lambda: community.outbox.states()[key] == "done")
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    accounts = [home.address for home in homes]
    balances = await read_balances(rpc, community.deployment.addresses, accounts, block["hash"])
    for account in accounts:
        own = [row for row in rows if row.account == account]
        gained = sum(row.value_micro if row.side is Side.SELL else -row.value_micro for row in own)
        assert balances[account].money_micro == WELCOME_MICRO + gained
    fees_micro = sum(row.value_micro if row.side is Side.BUY else -row.value_micro for row in rows)
    call = {"to": community.deployment.addresses.ledger, "data": hexed(contract("EnergyLedger").encode("feesMicro"))}
    assert quantity(hexed(data(await rpc.call("eth_call", call, "latest"))[:32])) == fees_micro > 0


async def _refusals(rpc: Rpc, community: Community, interval: Interval, rows: tuple[Row, ...]) -> dict[str, str]:
    """Return what the contract says to the batch with the most taken off each account, and a unit beyond.

    An empty answer: it takes the first for every row, and refuses the second.
    """
    found: dict[str, str] = {}
    for place, row in enumerate(rows):
        order = interval.orders[row.order].order
        limit = min(max(order.signed_limit, 0), 1_000_000)
        if row.side is Side.BUY:
            worst = (row.executed_wh * limit + row.short_wh * max(0, limit - FEED_IN)) // 1000
        else:
            exact = row.executed_wh * limit - row.short_wh * max(0, SUPPLIER - limit)
            worst = exact // 1000 - row.trades + 1
        for beyond in (0, 1):
            value = worst + beyond if row.side is Side.BUY else worst - beyond
            changed = (*rows[:place], replace(row, value_micro=value), *rows[place + 1 :])
            said = await _said(rpc, community, interval.batch(changed))
            if ("RowLimitBroken" in said) is not bool(beyond):
                found[f"row {place}, {beyond} beyond"] = said
    return found


async def _said(rpc: Rpc, community: Community, batch: ExpectedBatch) -> str:
    sent = payload(batch)
    values = [bytes.fromhex(sent[name][2:]) for name in ("readings_root", "receipts_root", "rows")]
    calldata = contract("EnergyLedger").encode("settleBatch", batch.delivery_start, *values)
    deployment = community.deployment
    call = {"from": deployment.operator, "to": deployment.addresses.ledger, "data": hexed(calldata)}
    try:
        async with asyncio.timeout(10):
            await rpc.call("eth_call", call, "latest")
    except RpcError as refusal:
        return describe_revert(refusal.data)
    return "settled"
