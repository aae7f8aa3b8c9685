"""The clock's work: gates close and intervals settle by themselves, at the right moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

from coordinator.ledger import Ledger
from coordinator.ledger.schedule import due_settlements
from coordinator.market.commands import RegisterMeter, SuspendMeter
from coordinator.market.events import IntervalSettled
from coordinator.market.state import IntervalStage
from coordinator.protocol.keys import MeterKey
from coordinator.protocol.messages import Side
from tests.ledger.world import CONFIG, RULES, START, Home, World, open_ledger

DELIVERY, END = START + 60, START + 120


async def traded(world: World, anna: Home, bert: Home) -> None:
    """Bring an interval to its closed gate, with the readings of its beginning."""
    await world.join(anna, bert)
    await world.commit(anna.order(Side.SELL, 100, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 100, 200_000, DELIVERY))
    for home in (anna, bert):
        await world.read(home, DELIVERY)
    world.clock.set(DELIVERY - RULES.gate_s)
    await world.ledger.step()


def due_now(ledger: Ledger, at: int) -> list[int]:
    return due_settlements(ledger.state, ledger._running.durable.heads, at, CONFIG.reading_deadline_s)


async def test_settlement_is_due_with_the_last_reading(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with world.ledger:
        await traded(world, anna, bert)
        world.clock.set(END)
        assert due_now(world.ledger, END) == []
        await world.read(anna, END, production_wh=100)
        assert due_now(world.ledger, END) == []
        await world.read(bert, END, consumption_wh=100)
        assert due_now(world.ledger, END - 1) == []
        assert due_now(world.ledger, END) == [DELIVERY]


async def test_settlement_is_due_at_the_deadline_and_does_not_wait_for_the_suspended(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with world.ledger:
        await traded(world, anna, bert)
        assert due_now(world.ledger, END + CONFIG.reading_deadline_s - 1) == []
        assert due_now(world.ledger, END + CONFIG.reading_deadline_s) == [DELIVERY]
        world.clock.set(END)
        await world.read(bert, END, consumption_wh=100)
        await world.commit(SuspendMeter(anna.meter.device_id, "tampering"))
        assert due_now(world.ledger, END) == [DELIVERY]


async def test_nobody_waits_for_a_meter_that_was_replaced(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    replaced = MeterKey.generate()
    async with world.ledger:
        key = replaced.public_key
        await traded(world, anna, bert)
        await world.commit(RegisterMeter(replaced.device_id, anna.address, key, 17_000, 30_000, bytes(64), bytes(64)))
        world.clock.set(END)
        await world.read(bert, END, consumption_wh=100)
        assert due_now(world.ledger, END) == []  # anna's own meter is waited for
        await world.read(anna, END, production_wh=100)
        assert due_now(world.ledger, END) == [DELIVERY]
        await world.ledger.step()
        settled = world.ledger.state.intervals[DELIVERY].settlement
        assert isinstance(settled, IntervalSettled)
        assert not any(energy.estimated for energy in settled.energies)
        assert [trade.settled_wh for trade in settled.trades] == [100]


async def test_interval_runs_by_itself(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with world.ledger, asyncio.TaskGroup() as group:
        running = group.create_task(world.ledger.run())
        with world.ledger.subscribe() as events:
            await traded(world, anna, bert)
            world.clock.set(END)
            await asyncio.gather(world.read(anna, END, production_wh=100), world.read(bert, END, consumption_wh=100))
            async for published in events:
                if isinstance(published.event, IntervalSettled):
                    break
        assert world.ledger.state.intervals[DELIVERY].stage is IntervalStage.SETTLED
        running.cancel()


async def test_nobody_trades_and_the_gate_still_closes(tmp_path: Path) -> None:
    world, anna = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(anna)
        await world.commit(anna.order(Side.SELL, 100, 200_000, DELIVERY))
        world.clock.set(END + CONFIG.reading_deadline_s)
        await world.ledger.step()
        interval = await world.ledger.queries.interval(DELIVERY)
        assert interval is not None
        assert (interval.stage, interval.price_micro_per_kwh) == ("idle", None)
        assert due_now(world.ledger, END + CONFIG.reading_deadline_s) == []


async def test_a_later_interval_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """Carl's meter is silent: what he traded in waits for the deadline, and what comes after waits for that."""
    world, anna, bert, carl = open_ledger(tmp_path), Home("anna"), Home("bert"), Home("carl")
    later = DELIVERY + RULES.interval_s
    async with world.ledger:
        await world.join(anna, bert, carl)
        await world.commit(anna.order(Side.SELL, 100, 200_000, DELIVERY))
        await world.commit(carl.order(Side.BUY, 100, 200_000, DELIVERY))
        await world.commit(anna.order(Side.SELL, 100, 200_000, later))
        await world.commit(bert.order(Side.BUY, 100, 200_000, later))
        for at in (DELIVERY, later, later + RULES.interval_s):
            world.clock.set(at)
            await world.read(anna, at, production_wh=100)
            await world.read(bert, at, consumption_wh=100)
        assert due_now(world.ledger, world.clock.now()) == []  # the gates are still open in the books
        await world.ledger.step()
        assert due_now(world.ledger, world.clock.now()) == []
        early = await world.ledger._prepare_settlement(later)
        assert early is not None
        assert await world.refuse(early) == "not_settleable"
        world.clock.set(END + CONFIG.reading_deadline_s)
        assert due_now(world.ledger, world.clock.now()) == [DELIVERY, later]
        await world.ledger.step()
        stages = {start: interval.stage for start, interval in world.ledger.state.intervals.items()}
        assert stages == {DELIVERY: IntervalStage.CONFIRMED, later: IntervalStage.SETTLED}


async def test_restart_settles_what_was_missed(tmp_path: Path) -> None:
    first, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with first.ledger:
        await traded(first, anna, bert)
        first.clock.set(END)
        await first.read(anna, END, production_wh=100)
        await first.read(bert, END, consumption_wh=100)
    second = open_ledger(tmp_path, first.clock)
    async with second.ledger:
        await second.ledger.step()
        assert second.ledger.state.intervals[DELIVERY].stage is IntervalStage.SETTLED
