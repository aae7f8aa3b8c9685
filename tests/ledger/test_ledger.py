"""The ledger from outside: what is answered is durable, ordered, and there again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger import Committed, LedgerError, Published, StoredReading
from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market.commands import CancelOrder, CloseGate, ConfirmSettlement, HaltTrading, SettleInterval
from coordinator.market.events import OrderPlaced, Rejected, Traded
from coordinator.market.state import IntervalStage, state_hash
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.messages import Reading, Side
from coordinator.protocol.receipts import verify_receipt
from tests.ledger.world import CONFIG, DOMAIN, OPERATOR, RULES, START, Home, World, open_ledger, settled_interval

DELIVERY = START + 60


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = open_ledger(tmp_path)
    async with made.ledger:
        yield made


@pytest.fixture
def anna() -> Home:
    return Home("anna")


@pytest.fixture
def bert() -> Home:
    return Home("bert")


async def test_interval_goes_all_the_way(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    await settled_interval(world, anna, bert)
    (interval,) = await world.ledger.queries.intervals()
    assert (interval.stage, interval.volume_wh, interval.settled_wh, interval.value_micro) == (
        "settled",
        400,
        200,
        40_000,
    )
    accounts = world.ledger.state.accounts
    assert [accounts[h.address].money_micro for h in (anna, bert)] == [100_040_000, 99_960_000]
    assert [accounts[h.address].energy_wh for h in (anna, bert)] == [100, 0]
    batch = await world.ledger.queries.batch(DELIVERY)
    assert batch is not None
    assert (batch.batch_hash, batch.fees_micro) == (keccak256(batch.rows), 0)
    for home in (anna, bert):
        envelope = await world.ledger.queries.receipt(home.address, DELIVERY)
        assert envelope is not None
        assert verify_receipt(envelope) == []
        assert envelope["settlement"]["signer"] == OPERATOR.address
        assert envelope["settlement"]["batch_hash"] == "0x" + batch.batch_hash.hex()
    kinds = [effect.kind for effect in await world.ledger.outbox.pending(10)]
    assert kinds == ["register_meter", "register_meter", "settle_batch", "update_grid"]


async def test_confirmation_ends_the_effect_in_the_same_transaction(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    await settled_interval(world, anna, bert)
    key = f"settle:{DELIVERY}:0"
    confirm = ConfirmSettlement(DELIVERY, "0x77", 12, 90_000)
    assert isinstance(await world.ledger.submit(confirm, completes=key), Committed)
    done = await world.ledger.queries.effects("done")
    assert [(effect.key, effect.transaction) for effect in done] == [(key, "0x77")]
    interval = await world.ledger.queries.interval(DELIVERY)
    assert interval is not None
    assert (interval.stage, interval.transaction, interval.block_number) == ("confirmed", "0x77", 12)
    envelope = await world.ledger.queries.receipt(anna.address, DELIVERY)
    assert envelope is not None
    assert (envelope["transaction"], envelope["block_number"]) == ("0x77", 12)
    standing = await world.ledger.expectations.standing()
    assert (standing.unconfirmed, standing.confirmed) == (0, 1)


async def test_restart_gives_the_same_state(tmp_path: Path, anna: Home, bert: Home) -> None:
    first = open_ledger(tmp_path)
    async with first.ledger:
        await first.join(anna, bert)
        await settled_interval(first, anna, bert)
        before = first.ledger.sequence, state_hash(first.ledger.state)
        standing = await first.ledger.expectations.standing()
    second = open_ledger(tmp_path, first.clock)
    async with second.ledger:
        assert (second.ledger.sequence, state_hash(second.ledger.state)) == before
        assert await second.ledger.expectations.standing() == standing
        await second.read(anna, first.clock.now() + 60, production_wh=1)
        assert await second.refuse(anna.join()[0]) == "already_member"
    report = verify(tmp_path / "ledger.sqlite")
    assert report.findings == []
    assert (report.settlements, report.readings) == (1, 5)
    assert replay(tmp_path / "ledger.sqlite").state_hash == report.state_hash


async def test_commands_of_one_group_see_each_other(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    orders = [anna.order(Side.SELL, 100, 200_000, DELIVERY), bert.order(Side.BUY, 60, 200_000, DELIVERY)]
    results = await asyncio.gather(*(world.ledger.submit(command) for command in [*orders, orders[0]]))
    assert isinstance(results[1], Committed)
    assert [type(event) for event in results[1].events][:2] == [OrderPlaced, Traded]
    assert isinstance(results[2], Rejected)
    assert results[2].code == "duplicate_order"
    record = await world.ledger.queries.order(orders[0].digest)
    assert record is not None
    assert (record.status, record.filled_wh, record.remaining_wh) == ("partly_filled", 60, 40)


async def test_order_records_follow_what_becomes_of_them(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    orders = [anna.order(Side.SELL, 100, price, DELIVERY) for price in (200_000, 300_000, 400_000)]
    for order in orders:
        await world.commit(order)
    await world.commit(CancelOrder(anna.address, orders[0].digest, 0))
    await world.commit(bert.order(Side.BUY, 30, 350_000, DELIVERY))
    world.clock.set(DELIVERY)
    await world.ledger.step()
    records = await world.ledger.queries.orders_of(anna.address)
    assert [(r.status, r.filled_wh, r.remaining_wh) for r in records] == [
        ("closed", 0, 100),
        ("closed", 30, 70),
        ("cancelled", 0, 100),
    ]
    assert [r.order for r in records] == [o.order for o in reversed(orders)]
    (interval,) = await world.ledger.queries.intervals()
    assert (interval.stage, interval.homes, interval.volume_wh) == ("gate_closed", 2, 30)
    (trade,) = await world.ledger.queries.trades(DELIVERY)
    assert (trade.seller, trade.buyer, trade.settled_wh) == (anna.address, bert.address, None)


async def test_reading_is_kept_once_and_a_repeat_is_answered_alike(world: World, anna: Home) -> None:
    await world.join(anna)
    first = await world.read(anna, START, 5)
    signature = anna.sign(first.reading)
    world.clock.set(START + 30)
    again, *at_once = await asyncio.gather(*(world.ledger.store_reading(first.reading, signature) for _ in range(5)))
    assert again == replace(first, duplicate=True)
    assert all(answer == again for answer in at_once)
    assert await world.ledger.queries.last_reading(anna.meter.device_id) == first


@pytest.mark.parametrize("group_max", [1, 7, 128])
async def test_same_reading_at_once_is_kept_once(tmp_path: Path, anna: Home, group_max: int) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, group_max=group_max))
    async with world.ledger:
        await world.join(anna)
        reading = anna.reading(START, 5)
        answers = await asyncio.gather(*(world.ledger.store_reading(reading, anna.sign(reading)) for _ in range(20)))
    assert all(isinstance(answer, StoredReading) for answer in answers)
    assert sum(1 for answer in answers if isinstance(answer, StoredReading) and not answer.duplicate) == 1


async def test_gap_is_refused_with_the_expected_number(world: World, anna: Home) -> None:
    await world.join(anna)
    first, second = anna.reading(START - 60), anna.reading(START)
    answer = await world.ledger.store_reading(second, anna.sign(second))
    assert isinstance(answer, Rejected)
    assert (answer.code, answer.detail) == ("sequence_gap", "1")
    for reading in (first, second):
        assert isinstance(await world.ledger.store_reading(reading, anna.sign(reading)), StoredReading)


async def test_readings_in_order_at_once_are_all_kept(world: World, anna: Home) -> None:
    await world.join(anna)
    readings = [anna.reading(START - 1_000 + 5 * i, 1) for i in range(50)]
    answers = await asyncio.gather(*(world.ledger.store_reading(r, anna.sign(r)) for r in readings))
    assert [a.reading.sequence for a in answers if isinstance(a, StoredReading)] == list(range(1, 51))


async def test_a_meters_tolerance_is_used_up_across_groups_and_a_restart(tmp_path: Path, anna: Home) -> None:
    """A 17 kW meter may be 100 Wh and 5 s ahead once, not in each reading."""
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(anna)
        await world.read(anna, START - 60)
        await world.read(anna, START - 50, consumption_wh=174)
        assert await _offer(world, anna, START - 40, 60) == "beyond_limit"
        await world.read(anna, START - 40, consumption_wh=49)
    again = open_ledger(tmp_path, world.clock)
    async with again.ledger:
        assert await _offer(again, anna, START - 30, 60) == "beyond_limit"
        assert await _offer(again, anna, START - 36, 0) == "too_soon"
        await again.read(anna, START, consumption_wh=198)


async def _offer(world: World, home: Home, at: int, consumption_wh: int) -> str:
    """Return why a reading is refused; the home goes on as if it had not been."""
    last = home.last
    reading = home.reading(at, consumption_wh)
    home.last = last
    result = await world.ledger.store_reading(reading, home.sign(reading))
    assert isinstance(result, Rejected), result
    return result.code


@pytest.mark.parametrize("later", [0, 3])
async def test_equivocation_keeps_both_and_suspends(world: World, anna: Home, tmp_path: Path, later: int) -> None:
    await world.join(anna)
    kept = await world.read(anna, START, 5)
    for i in range(later):
        await world.read(anna, START + 5 * (i + 1), 1)
    other = replace(kept.reading, consumption_wh=6)
    answer = await world.ledger.store_reading(other, anna.sign(other))
    assert isinstance(answer, Rejected)
    assert answer.code == "equivocation"
    assert world.ledger.state.meters[anna.meter.device_id].suspended is not None
    assert await world.ledger.queries.reading(anna.meter.device_id, 1) == kept
    assert await world.ledger.queries.run(lambda c: c.execute("SELECT count(*) FROM equivocations").fetchone()) == (1,)
    after = anna.reading(START + 60)
    refused = await world.ledger.store_reading(after, anna.sign(after))
    assert isinstance(refused, Rejected)
    assert refused.code == "suspended"
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_reading_that_cannot_be_is_refused(world: World, anna: Home) -> None:
    await world.join(anna)
    for reading in (Reading(anna.meter.device_id, -1, 0, 0, 0), Reading(2**256, 1, 0, 0, 0)):
        answer = await world.ledger.store_reading(reading, bytes(64))
        assert isinstance(answer, Rejected)
        assert answer.code == "malformed_reading"
    unknown = await world.ledger.store_reading(Reading(5, 1, START, 0, 0), bytes(64))
    assert isinstance(unknown, Rejected)
    assert unknown.code == "unknown_meter"


async def test_settlement_waits_for_readings_until_the_deadline(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    await world.commit(anna.order(Side.SELL, 400, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 400, 200_000, DELIVERY))
    for home in (anna, bert):
        await world.read(home, DELIVERY)
    world.clock.set(DELIVERY + 60)
    await world.read(anna, DELIVERY + 60, production_wh=300)
    await world.ledger.step()
    await world.ledger.step()
    assert world.ledger.state.intervals[DELIVERY].stage is IntervalStage.GATE_CLOSED
    world.clock.set(DELIVERY + 60 + CONFIG.reading_deadline_s)
    await world.ledger.step()
    interval = await world.ledger.queries.interval(DELIVERY)
    assert interval is not None
    assert (interval.stage, interval.settled_wh) == ("confirmed", 0)
    receipt = await world.ledger.queries.receipt(bert.address, DELIVERY)
    assert receipt is not None
    assert receipt["body"]["verified"] == {"consumption_wh": 0, "production_wh": 0, "estimated": True}
    assert verify_receipt(receipt) == []


async def test_late_meter_is_estimated_from_its_next_reading(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    await world.commit(anna.order(Side.SELL, 200, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 200, 200_000, DELIVERY))
    for home in (anna, bert):
        await world.read(home, DELIVERY)
    world.clock.set(DELIVERY + 120)
    await world.read(bert, DELIVERY + 60, consumption_wh=150)
    await world.read(anna, DELIVERY + 120, production_wh=260)
    await world.ledger.step()
    await world.ledger.step()
    receipt = await world.ledger.queries.receipt(anna.address, DELIVERY)
    assert receipt is not None
    assert receipt["body"]["verified"] == {"consumption_wh": 0, "production_wh": 130, "estimated": True}
    assert receipt["body"]["rows"][0]["metered_wh"] == receipt["body"]["rows"][0]["executed_wh"] == 130
    assert verify_receipt(receipt) == []


async def test_settlement_must_follow_from_the_readings(world: World, anna: Home, bert: Home) -> None:
    await world.join(anna, bert)
    assert await world.refuse(SettleInterval(DELIVERY, (), bytes(32))) == "not_settleable"
    await world.commit(anna.order(Side.SELL, 200, 200_000, DELIVERY))
    await world.commit(bert.order(Side.BUY, 200, 200_000, DELIVERY))
    world.clock.set(DELIVERY - RULES.gate_s)
    await world.commit(CloseGate(DELIVERY))
    world.clock.set(DELIVERY + 30)
    assert await world.refuse(SettleInterval(DELIVERY, (), bytes(32))) == "not_settleable"
    world.clock.set(DELIVERY + 60)
    assert await world.refuse(SettleInterval(DELIVERY, (), bytes(32))) == "readings_missing"
    prepared = await world.ledger._prepare_settlement(DELIVERY)
    assert isinstance(prepared, SettleInterval)
    invented = replace(prepared, energies=tuple(replace(e, production_wh=200) for e in prepared.energies))
    assert await world.refuse(invented) == "readings_changed"
    assert await world.refuse(replace(prepared, readings_root=b"\x01" * 32)) == "readings_changed"
    await world.commit(prepared)
    assert await world.refuse(prepared) == "already_settled"


async def test_production_beyond_the_contracts_belief_is_cut(tmp_path: Path, anna: Home, bert: Home) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, metered_max_wh=250))
    async with world.ledger:
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
        receipt = await world.ledger.queries.receipt(anna.address, DELIVERY)
    assert receipt is not None
    assert receipt["body"]["verified"] == {"consumption_wh": 0, "production_wh": 250, "estimated": True}
    assert verify_receipt(receipt) == []
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_welcome_credit_leaves_through_the_outbox(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, welcome_credit_micro=5_000_000))
    async with world.ledger:
        await world.commit(anna.join()[0])
        (effect,) = await world.ledger.outbox.pending(5)
        assert (effect.key, effect.payload["money_micro"]) == (f"welcome:{anna.address}", 5_000_000)


async def test_subscription_tells_everything_in_order(world: World, anna: Home, bert: Home) -> None:
    with world.ledger.subscribe() as subscription:
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
        last = world.ledger.sequence
        told: list[Published] = []
        while not told or told[-1].sequence < last:
            published = await subscription.get()
            assert published is not None
            told.append(published)
    assert told == await world.ledger.queries.events(0)
    assert await world.ledger.queries.events(last) == []


async def test_slow_subscriber_is_told_that_it_lags(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, subscription_max=2))
    async with world.ledger:
        with world.ledger.subscribe() as slow, world.ledger.subscribe() as quick:
            await world.commit(anna.join()[0])
            assert (await quick.get()) is not None
            for command in anna.join()[1:]:
                await world.commit(command)
            await world.commit(HaltTrading("test"))
            assert slow.lagged
            assert await slow.get() is None
            assert not quick.lagged or await quick.get() is None


async def test_closing_ends_subscriptions_and_refuses_new_work(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path)
    async with world.ledger:
        subscription = world.ledger.subscribe()
        waiting = [asyncio.create_task(world.ledger.submit(command)) for command in anna.join()]
        await asyncio.sleep(0)
    results = [await task for task in waiting]
    assert all(isinstance(result, Committed) for result in results)
    assert len([published async for published in subscription]) == 3
    assert await world.refuse(anna.join()[0]) == "stopping"


async def test_flood_is_refused_but_the_coordinators_own_work_is_not(tmp_path: Path, anna: Home, bert: Home) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, inbox_max=20, group_max=8))
    async with world.ledger:
        await world.join(anna, bert)
        orders = [anna.order(Side.SELL, 1, 200_000, DELIVERY) for _ in range(300)]
        flood = [asyncio.create_task(world.ledger.submit(order)) for order in orders]
        await asyncio.sleep(0)
        own = asyncio.create_task(world.ledger.submit(HaltTrading("flooded")))
        results = await asyncio.gather(*flood)
        assert isinstance(await own, Committed)
        codes = {result.code for result in results if isinstance(result, Rejected)}
        assert codes == {"busy"}
        accepted = [o.digest for o, r in zip(orders, results, strict=True) if isinstance(r, Committed)]
        stored = [r.digest for r in await world.ledger.queries.orders_of(anna.address, 1_000)]
        assert sorted(stored) == sorted(accepted)
        assert world.ledger.counters.busy == 300 - len(accepted)


async def test_rules_may_change_between_starts_and_old_commands_keep_theirs(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(anna)
        await world.commit(anna.order(Side.SELL, 900, 200_000, DELIVERY))
    stricter = replace(RULES, order_energy_max_wh=500)
    async with (again := open_ledger(tmp_path, world.clock, rules=stricter)).ledger:
        assert await again.refuse(anna.order(Side.SELL, 900, 200_000, DELIVERY)) == "energy_out_of_range"
        await again.commit(anna.order(Side.SELL, 500, 200_000, DELIVERY))
    report = verify(tmp_path / "ledger.sqlite")
    assert report.findings == []
    assert replay(tmp_path / "ledger.sqlite").commands["Terms"] == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"market": "other"}, "market was sunny-street"),
        ({"interval_s": 900}, "interval_s was 60"),
        ({"price_max_micro_per_kwh": 5}, "price_max_micro_per_kwh was 1000000"),
    ],
)
async def test_what_contracts_rest_on_may_not_change(
    tmp_path: Path, change: dict[str, int | str], sentence: str
) -> None:
    async with open_ledger(tmp_path).ledger:
        pass
    with pytest.raises(LedgerError, match=sentence):
        async with open_ledger(tmp_path, rules=replace(RULES, **change)).ledger:  # type: ignore[arg-type]
            pass


async def test_ledger_of_another_chain_is_refused(tmp_path: Path) -> None:
    async with open_ledger(tmp_path).ledger:
        pass
    with pytest.raises(LedgerError, match="belongs to contract 0x0+1ed9e2 on chain 31337"):
        async with open_ledger(tmp_path, domain=replace(DOMAIN, chain_id=1)).ledger:
            pass


async def test_time_never_runs_backwards_in_the_log(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.commit(anna.join()[0])
        world.clock.set(START - 500)
        assert (await world.commit(anna.join()[1])).at == START
