"""Late readings: an interval settles on what is proven, and anew before its batch has left for the chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger.schedule import Scheduler
from coordinator.market.commands import ExcludeFromSettlement, ResettleInterval
from coordinator.market.events import IntervalResettled, IntervalSettled
from coordinator.market.state import IntervalStage
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_receipt
from tests.ledger.world import CONFIG, Home, open_ledger
from tests.settlement.late import (
    DEADLINE,
    DELIVERY,
    END,
    also_metered_by,
    confirm,
    correction,
    gained,
    pending,
    settled_at_the_deadline,
    settlement,
    the_log_holds,
    traded,
)


@pytest.fixture
def homes() -> tuple[Home, Home]:
    return Home("anna"), Home("bert")


async def test_what_was_not_sent_is_settled_anew(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        first = settlement(world)
        assert isinstance(first, IntervalSettled)
        assert [trade.settled_wh for trade in first.trades] == [100]  # what her meter proved
        assert gained(world, anna, bert) == [20_000, -20_000]
        await world.read(anna, DEADLINE, production_wh=290)  # 90 s for 290 Wh: a third of it within the interval
        await world.ledger.step()
        again = settlement(world)
        assert isinstance(again, IntervalResettled)
        assert (again.revision, again.late_readings, again.excluded) == (1, True, ())
        assert [trade.settled_wh for trade in again.trades] == [100 + 290 * 30 // 150]
        assert gained(world, anna, bert) == [31_600, -31_600]
        assert [key for key in await pending(world) if key.startswith("settle:")] == [f"settle:{DELIVERY}:1"]
        envelope = await world.ledger.queries.receipt(anna.address, DELIVERY)
        assert envelope is not None
        assert (verify_receipt(envelope), envelope["body"]["revision"]) == ([], 1)
        before = world.ledger.sequence
        await world.ledger.step()  # looked at once
        assert world.ledger.sequence == before
        await the_log_holds(world, tmp_path)


async def test_an_interval_of_which_nothing_was_proven_settles_when_the_readings_come(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert)
        assert settlement(world).rows == ()
        assert world.ledger.state.intervals[DELIVERY].stage is IntervalStage.CONFIRMED
        await world.read(anna, END, production_wh=310)
        await world.ledger.step()
        assert world.ledger.state.intervals[DELIVERY].stage is IntervalStage.SETTLED
        assert gained(world, anna, bert) == [60_000, -60_000]
        assert world.ledger.state.accounts[anna.address].energy_wh == 10
        await confirm(world, revision=1)
        await the_log_holds(world, tmp_path)


async def test_what_is_on_its_way_to_the_chain_waits_until_it_is_there(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await world.ledger.outbox.mark_sent(f"settle:{DELIVERY}:0", 1, b"raw", "0xaa")
        await world.read(anna, END, production_wh=200)
        again = await world.ledger._prepare_settlement(DELIVERY)
        assert again is not None
        assert await world.refuse(again) == "settlement_sent"
        await world.ledger.step()
        assert isinstance(settlement(world), IntervalSettled)
        await confirm(world)
        await world.ledger.step()
        assert correction(world).proposed.revision == 1


async def test_a_batch_that_is_superseded_is_not_sent(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    """The sender has read the effect, and is about to sign it, when the interval is settled anew."""
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await world.read(anna, END, production_wh=200)
        await world.ledger.step()
        assert not await world.ledger.outbox.mark_sent(f"settle:{DELIVERY}:0", 1, b"raw", "0xaa")
        assert await world.ledger.outbox.mark_sent(f"settle:{DELIVERY}:1", 1, b"raw", "0xbb")


async def test_a_meter_replaced_within_the_interval_settles_with_both(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await traded(world, anna, bert)
        await world.read(anna, DELIVERY + 20, production_wh=70)
        second = Home("anna's new meter")
        await world.commit(also_metered_by(anna, second))
        await world.read(second, DELIVERY + 25)
        world.clock.set(END)
        await world.read(second, END, production_wh=130)
        await world.read(bert, END, consumption_wh=300)
        world.clock.set(DEADLINE)
        await world.ledger.step()
        assert [trade.settled_wh for trade in settlement(world).trades] == [200]
        assert [energy.estimated for energy in settlement(world).energies if energy.production_wh] == [True]
        assert world.ledger.state.accounts[anna.address].energy_wh == 0
        envelope = await world.ledger.queries.receipt(anna.address, DELIVERY)
        assert envelope is not None
        assert verify_receipt(envelope) == []
        assert len(envelope["body"]["meters"]) == 2
        await the_log_holds(world, tmp_path)


async def test_a_member_who_joined_within_the_interval_settles_what_its_meter_proves(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    """Its meter has no reading at the opening boundary; one who leaves has none at the closing one."""
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(anna, bert)
        await world.commit(anna.order(Side.SELL, 300, 200_000, DELIVERY))
        await world.commit(bert.order(Side.BUY, 300, 250_000, DELIVERY))
        await world.read(bert, DELIVERY)
        world.clock.set(DELIVERY + 10)
        await world.read(anna, DELIVERY + 10)
        world.clock.set(END - 5)
        await world.read(bert, END - 5, consumption_wh=120)  # and never again
        world.clock.set(END)
        await world.read(anna, END, production_wh=140)
        world.clock.set(DEADLINE)
        await world.ledger.step()
        assert [trade.settled_wh for trade in settlement(world).trades] == [120]
        for home in homes:
            envelope = await world.ledger.queries.receipt(home.address, DELIVERY)
            assert envelope is not None
            assert verify_receipt(envelope) == []
            assert envelope["body"]["verified"]["estimated"]


async def test_late_readings_are_looked_at_once_all_are_there_and_no_more(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    anna, bert = homes
    world, asked = open_ledger(tmp_path), list[int]()

    async def prepare(delivery_start: int) -> None:
        asked.append(delivery_start)

    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        scheduler = Scheduler(world.clock, world.ledger.submit, prepare, CONFIG.reading_deadline_s)
        heads = world.ledger._running.durable.heads
        await world.read(anna, END - 1, production_wh=50)
        await scheduler.step(world.ledger.state, heads)
        assert asked == []
        await world.read(anna, END + 60, production_wh=50)
        for _ in range(2):
            await scheduler.step(world.ledger.state, heads)
        assert asked == [DELIVERY]


async def test_who_was_left_out_stays_out_when_late_readings_come(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    carl = Home("carl")
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(carl)
        await world.commit(carl.order(Side.BUY, 100, 250_000, DELIVERY))
        await world.read(carl, DELIVERY)
        await world.join(anna, bert)
        await world.commit(anna.order(Side.SELL, 100, 200_000, DELIVERY))
        await world.commit(anna.order(Side.SELL, 300, 200_000, DELIVERY))
        await world.commit(bert.order(Side.BUY, 300, 250_000, DELIVERY))
        for home in (anna, bert):
            await world.read(home, DELIVERY)
        world.clock.set(DELIVERY + 30)
        await world.read(anna, DELIVERY + 30, production_wh=200)
        world.clock.set(END)
        await world.read(bert, END, consumption_wh=300)
        await world.read(carl, END, consumption_wh=100)
        world.clock.set(DEADLINE)
        await world.ledger.step()
        await world.commit(ExcludeFromSettlement(DELIVERY, carl.address, "AccountIntervalUsed()"))
        assert [trade.settled_wh for trade in settlement(world).trades] == [0, 200]
        await world.read(anna, END, production_wh=60)
        await world.ledger.step()
        again = settlement(world)
        assert (again.revision, again.excluded, again.late_readings) == (2, (carl.address,), True)
        assert [(trade.settled_wh, trade.void) for trade in again.trades] == [(0, True), (260, False)]
        envelope = await world.ledger.queries.receipt(carl.address, DELIVERY)
        assert envelope is not None
        assert verify_receipt(envelope) == []
        assert [key for key in await pending(world) if key.startswith("settle:")] == [f"settle:{DELIVERY}:2"]
        await the_log_holds(world, tmp_path)


async def test_nothing_is_settled_anew_on_what_no_reading_says(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        first = settlement(world)
        same = ResettleInterval(DELIVERY, first.energies, first.readings_root)
        assert await world.refuse(same) == "nothing_due"
        invented = tuple(replace(energy, production_wh=300, consumption_wh=300) for energy in first.energies)
        assert await world.refuse(replace(same, energies=invented)) == "readings_changed"
        await world.read(anna, END, production_wh=210)
        late = await world.ledger._prepare_settlement(DELIVERY)
        assert isinstance(late, ResettleInterval)
        assert await world.refuse(replace(late, energies=invented)) == "readings_changed"
        assert await world.refuse(replace(late, readings_root=first.readings_root)) == "readings_changed"
        assert settlement(world) == first
        await world.commit(late)
        assert await world.refuse(replace(late, delivery_start=END)) == "not_settleable"
