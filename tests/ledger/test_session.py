"""Any session of a community: conserved at every step, the same after a restart, decided alike."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from coordinator.ledger import Committed, StoredReading
from coordinator.ledger.verify import verify
from coordinator.market.commands import CancelOrder, Command, ConfirmSettlement, HaltTrading, PlaceOrder, ResumeTrading
from coordinator.market.state import IntervalStage, state_hash
from coordinator.protocol.messages import Order, Side, TimeInForce
from coordinator.protocol.receipts import verify_receipt
from tests.ledger.world import DOMAIN, MARKET, START, Home, World, open_ledger, sign_compact

DEPOSIT = 300_000


@pytest.mark.parametrize("seed", range(6))
async def test_any_session_is_conserved_and_comes_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    homes = [Home(f"session {i}") for i in range(5)]
    world = open_ledger(tmp_path)
    for part in range(3):
        world = open_ledger(tmp_path, world.clock)
        async with world.ledger:
            if part == 0:
                for home in homes:
                    for command in home.join(DEPOSIT):
                        await world.commit(command)
            for _ in range(8):
                await live(world, homes, chance)
                check(world, homes)
            before = world.ledger.sequence, state_hash(world.ledger.state)
        async with (again := open_ledger(tmp_path, world.clock)).ledger:
            assert (again.ledger.sequence, state_hash(again.ledger.state)) == before
    report = verify(tmp_path / "ledger.sqlite")
    assert report.findings == []
    assert report.settlements > 1
    async with (last := open_ledger(tmp_path, world.clock)).ledger:
        await check_history(last, homes)


async def live(world: World, homes: list[Home], chance: random.Random) -> None:
    """Let half a minute pass: orders and cancels at once, readings at boundaries, the clock's work."""
    now = world.clock.now()
    await asyncio.gather(*(world.ledger.submit(any_command(world, chance.choice(homes), chance)) for _ in range(12)))
    if now % 60 == 0:
        readings = [(h, h.reading(now, chance.randint(0, 200), chance.randint(0, 200))) for h in homes]
        answers = await asyncio.gather(*(world.ledger.store_reading(r, h.sign(r)) for h, r in readings))
        assert all(isinstance(answer, StoredReading) for answer in answers)
    await world.ledger.step()
    settled = [i for i in world.ledger.state.intervals.values() if i.stage is IntervalStage.SETTLED]
    for interval in settled:
        if chance.random() < 0.7:
            start = interval.delivery_start
            result = await world.ledger.submit(ConfirmSettlement(start, "0x1", 1, 1), completes=f"settle:{start}:0")
            assert isinstance(result, Committed)
    world.clock.set(now + 30)


def any_command(world: World, home: Home, chance: random.Random) -> Command:
    kind = chance.random()
    if kind < 0.02:
        return HaltTrading("seen a ghost") if world.ledger.state.halted is None else ResumeTrading("no ghost")
    open_orders = list(world.ledger.state.accounts[home.address].open_orders)
    if kind < 0.2 and open_orders:
        return CancelOrder(home.address, chance.choice([*open_orders, bytes(32)]), world.clock.now())
    now = world.clock.now()
    order = Order(
        home.address,
        MARKET,
        (now // 60 + chance.choice((1, 2, 3))) * 60,
        chance.choice(list(Side)),
        chance.randint(1, 300),
        chance.choice([None, *range(100_000, 300_000, 20_000)]),
        chance.choice(list(TimeInForce)),
        valid_until=now + chance.randint(1, 100),
        salt=chance.randbytes(32),
    )
    digest = order.digest(DOMAIN)
    return PlaceOrder(order, digest, sign_compact(digest, home.account))


def check(world: World, homes: list[Home]) -> None:
    accounts = world.ledger.state.accounts.values()
    assert sum(a.money_micro for a in accounts) == DEPOSIT * len(homes)
    assert all(a.money_micro >= 0 and a.energy_wh >= 0 and a.reserved_micro >= 0 for a in accounts)
    assert sum(a.bought_wh for a in accounts) == sum(a.sold_wh for a in accounts)
    assert sum(a.cost_micro for a in accounts) == sum(a.revenue_micro for a in accounts)


async def check_history(world: World, homes: list[Home]) -> None:
    """The queries agree with the state, the batches add up to it, every receipt holds."""
    queries, state = world.ledger.queries, world.ledger.state
    batches = await queries.batches(limit=1_000)
    assert sum(b.minted_wh - b.burned_wh for b in batches) == sum(a.energy_wh for a in state.accounts.values())
    assert sum(b.traded_wh for b in batches) == sum(a.sold_wh for a in state.accounts.values())
    for home in homes:
        account, totals = state.accounts[home.address], await queries.account_totals(home.address)
        receipts = await queries.receipts_of(home.address, limit=1_000)
        assert sum(r.total_micro for r in receipts) == account.revenue_micro - account.cost_micro
        assert (len(receipts), sum(r.saved_micro for r in receipts)) == (totals.intervals, totals.saved_micro)
        for receipt in receipts:
            envelope = await queries.receipt(home.address, receipt.delivery_start)
            assert envelope is not None
            assert verify_receipt(envelope) == []
    trades = await queries.trades(limit=1_000)
    intervals = await queries.intervals(limit=1_000)
    assert sum(t.energy_wh for t in trades) == sum(i.volume_wh for i in intervals)
    assert sum(t.value_micro or 0 for t in trades) == sum(i.value_micro or 0 for i in intervals)
    assert intervals[0].delivery_start > START
