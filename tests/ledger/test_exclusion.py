"""An interval is settled again without an account whose trades the contract refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market.commands import ConfirmSettlement, ExcludeFromSettlement, HaltTrading, RegisterMeter
from coordinator.market.events import IntervalResettled
from coordinator.market.state import IntervalStage, state_hash
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_receipt
from coordinator.settlement.rows import ROW_BYTES
from tests.ledger.world import START, Home, World, open_ledger

DELIVERY, LATER, END = START + 60, START + 120, START + 180
MONEY_MICRO = 100_000_000


@pytest.fixture
def homes() -> tuple[Home, Home, Home]:
    return Home("anna"), Home("bert"), Home("carl")


async def two_intervals(world: World, homes: tuple[Home, Home, Home]) -> None:
    """Anna sells 200 Wh to Bert and 100 Wh to Carl at 0.20, in two intervals; all is delivered and settled."""
    anna, bert, carl = homes
    await world.join(*homes)
    for start in (DELIVERY, LATER):
        await world.commit(anna.order(Side.SELL, 300, 200_000, start))
        await world.commit(bert.order(Side.BUY, 200, 200_000, start))
        await world.commit(carl.order(Side.BUY, 100, 200_000, start))
    for at in (DELIVERY, LATER, END):
        world.clock.set(at)
        await world.read(anna, at, production_wh=310)
        await world.read(bert, at, consumption_wh=200)
        await world.read(carl, at, consumption_wh=100)
    await world.ledger.step()
    await world.ledger.step()


def refused(home: Home, start: int = DELIVERY) -> ExcludeFromSettlement:
    return ExcludeFromSettlement(start, home.address, f"AccountIntervalUsed(account={home.address})")


def money(world: World, homes: tuple[Home, Home, Home]) -> list[int]:
    return [world.ledger.state.accounts[home.address].money_micro - MONEY_MICRO for home in homes]


async def test_the_others_are_settled_as_if_the_account_had_not_traded(
    tmp_path: Path, homes: tuple[Home, Home, Home]
) -> None:
    anna, bert, carl = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await two_intervals(world, homes)
        assert money(world, homes) == [120_000, -80_000, -40_000]
        meter = Home("bert's second meter").meter
        old = bert.join()[1]
        assert isinstance(old, RegisterMeter)
        await world.commit(replace(old, device_id=meter.device_id, public_key=meter.public_key))  # changes nothing
        (event,) = (await world.commit(refused(bert))).events
        assert isinstance(event, IntervalResettled)
        assert (event.revision, event.excluded) == (1, (bert.address,))
        assert [(t.settled_wh, t.value_micro) for t in event.trades] == [(0, 0), (100, 20_000)]
        assert money(world, homes) == [80_000, -40_000, -40_000]
        assert world.ledger.state.accounts[bert.address].bought_wh == 200
        assert world.ledger.state.accounts[anna.address].energy_wh == 210 + 10
        await _outbox_goes_on(world)
        await _receipts_are_new(world, homes)
        before = state_hash(world.ledger.state)
    assert verify(tmp_path / "ledger.sqlite").findings == []
    assert replay(tmp_path / "ledger.sqlite").state_hash == before
    again = open_ledger(tmp_path, world.clock)
    async with again.ledger:
        assert state_hash(again.ledger.state) == before
        confirm = ConfirmSettlement(DELIVERY, "0x77", 12, 90_000)
        await again.ledger.submit(confirm, completes=f"settle:{DELIVERY}:1")
        assert again.ledger.state.intervals[DELIVERY].stage is IntervalStage.CONFIRMED
        assert await again.refuse(refused(carl)) == "not_settleable"


async def _outbox_goes_on(world: World) -> None:
    """The new batch stands where the old one stood, before the next interval's."""
    outbox = world.ledger.outbox
    waiting = [effect.key for effect in await outbox.pending(100) if effect.kind == "settle_batch"]
    assert waiting == [f"settle:{DELIVERY}:1", f"settle:{LATER}:0"]
    await outbox.mark_failed(f"settle:{DELIVERY}:0", "AccountIntervalUsed", retry=False)
    assert len(await world.ledger.queries.effects("superseded")) == 1
    assert outbox.failed == 0


async def _receipts_are_new(world: World, homes: tuple[Home, Home, Home]) -> None:
    queries = world.ledger.queries
    for home, total_micro in zip(homes, (20_000, 0, -20_000), strict=True):
        envelope = await queries.receipt(home.address, DELIVERY)
        assert envelope is not None
        assert verify_receipt(envelope) == []
        assert envelope["body"]["revision"] == 1
        assert envelope["body"]["components"]["total_micro"] == total_micro
        listed = await queries.receipts_of(home.address)
        assert [(r.delivery_start, r.revision) for r in listed] == [(LATER, 0), (DELIVERY, 1)]
        assert (await queries.account_totals(home.address)).intervals == 2
    interval = await queries.interval(DELIVERY)
    assert interval is not None
    assert (interval.stage, interval.settled_wh, interval.value_micro) == ("settled", 100, 20_000)
    assert sorted(t.settled_wh or 0 for t in await queries.trades(DELIVERY)) == [0, 100]
    expected = await world.ledger.expectations.batch(DELIVERY)
    assert expected is not None
    assert len(expected.rows) == 2 * ROW_BYTES
    standing = await world.ledger.expectations.standing()
    assert standing.in_flight == {home.address for home in homes}


async def test_interval_of_which_nothing_is_left_is_confirmed_at_once(
    tmp_path: Path, homes: tuple[Home, Home, Home]
) -> None:
    anna, bert, _ = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await two_intervals(world, homes)
        await world.commit(refused(bert))
        await world.commit(refused(anna))
        assert money(world, homes) == [60_000, -40_000, -20_000]
        assert world.ledger.state.intervals[DELIVERY].stage is IntervalStage.CONFIRMED
        waiting = [effect.key for effect in await world.ledger.outbox.pending(100) if effect.kind == "settle_batch"]
        assert waiting == [f"settle:{LATER}:0"]
        assert len(await world.ledger.queries.effects("superseded")) == 2
        assert await world.refuse(refused(bert)) == "not_settleable"
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_who_has_no_row_cannot_be_left_out(tmp_path: Path, homes: tuple[Home, Home, Home]) -> None:
    _, bert, _ = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await two_intervals(world, homes)
        assert await world.refuse(refused(Home("dora"))) == "not_settleable"
        assert await world.refuse(refused(bert, END)) == "not_settleable"
        await world.commit(refused(bert))
        assert await world.refuse(refused(bert)) == "not_settleable"


async def test_verify_finds_a_batch_that_is_not_the_last(tmp_path: Path, homes: tuple[Home, Home, Home]) -> None:
    path, world = tmp_path / "ledger.sqlite", open_ledger(tmp_path)
    async with world.ledger:
        await two_intervals(world, homes)
        await world.commit(refused(homes[1]))
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        connection.execute("UPDATE settlements SET revision = 2, rows = zeroblob(159)")
    assert any("is not the last that was decided" in finding for finding in verify(path).findings)


async def test_failures_that_nobody_was_halted_for_are_told(tmp_path: Path, homes: tuple[Home, Home, Home]) -> None:
    world, key = open_ledger(tmp_path), f"settle:{DELIVERY}:0"
    async with world.ledger:
        await two_intervals(world, homes)
        outbox = world.ledger.outbox
        assert await outbox.failures_untold() == []
        await outbox.mark_failed(key, "BatchUnbalanced()", retry=False)
        ((effect, error),) = await outbox.failures_untold()
        assert (effect.key, effect.state, error) == (key, "failed", "BatchUnbalanced()")
        await world.commit(HaltTrading(f"The contract refused {key}: {error}"))
        assert await outbox.failures_untold() == []
