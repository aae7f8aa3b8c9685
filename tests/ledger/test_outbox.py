"""Effects: in order, marked durably, never lost, and woken for when there is something new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger import Outbox
from coordinator.ledger.outbox import UnknownEffect
from tests.ledger.world import CONFIG, START, Home, World, open_ledger, settled_interval


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = open_ledger(tmp_path, config=replace(CONFIG, welcome_credit_micro=1))
    async with made.ledger:
        yield made


async def keys(outbox: Outbox) -> list[str]:
    return [effect.key for effect in await outbox.pending(100)]


async def test_effects_stand_in_the_order_they_were_decided(world: World) -> None:
    anna, bert = Home("anna"), Home("bert")
    await world.join(anna, bert)
    await settled_interval(world, anna, bert)
    kinds = [key.split(":")[0] for key in await keys(world.ledger.outbox)]
    assert kinds == ["welcome", "meter", "welcome", "meter", "settle", "grid"]
    assert (world.ledger.outbox.waiting, world.ledger.outbox.failed) == (6, 0)
    assert len(await world.ledger.outbox.pending(2)) == 2


async def test_sent_transaction_is_there_after_a_restart(tmp_path: Path) -> None:
    first = open_ledger(tmp_path, config=replace(CONFIG, welcome_credit_micro=1))
    async with first.ledger:
        await first.join(Home("anna"))
        key, meter_key = await keys(first.ledger.outbox)
        await first.ledger.outbox.mark_sent(key, 7, b"\x01\x02", "0xaa")
    second = open_ledger(tmp_path, first.clock, config=replace(CONFIG, welcome_credit_micro=1))
    async with second.ledger:
        outbox = second.ledger.outbox
        assert outbox.waiting == 2
        effect = (await outbox.pending(10))[0]
        assert (effect.state, effect.nonce, effect.raw_transaction, effect.transaction) == (
            "sent",
            7,
            b"\x01\x02",
            "0xaa",
        )
        await outbox.mark_done(key, 3, 21_000, "0xaa")
        assert await keys(outbox) == [meter_key]
        assert [e.key for e in await outbox.signed_since(7)] == [key]
        assert await outbox.signed_since(8) == []


async def test_failure_is_tried_again_or_stands(world: World) -> None:
    await world.join(Home("anna"))
    outbox = world.ledger.outbox
    key, other = await keys(outbox)
    await outbox.mark_sent(key, 1, b"raw", "0xaa")
    await outbox.mark_failed(key, "node gone", retry=True)
    effect = (await outbox.pending(10))[0]
    assert (effect.state, effect.attempts, effect.raw_transaction) == ("pending", 1, b"raw")
    await outbox.mark_failed(key, "reverted", retry=False)
    assert await keys(outbox) == [other]
    assert (outbox.waiting, outbox.failed) == (1, 1)
    assert [e.key for e in await outbox.signed_since(0)] == [key]
    assert sorted(effect.state for effect in await world.ledger.queries.effects()) == ["failed", "pending"]


async def test_unknown_effect_is_an_error(world: World) -> None:
    with pytest.raises(UnknownEffect, match="nothing:1"):
        await world.ledger.outbox.mark_done("nothing:1", 1, 1, "0x")


async def test_waiting_ends_with_something_new_only(world: World) -> None:
    outbox = world.ledger.outbox
    await outbox.changed()
    waiting = asyncio.create_task(outbox.changed())
    await world.commit(Home("anna").join()[0])
    await waiting
    (key,) = await keys(outbox)
    waiting = asyncio.create_task(outbox.changed())
    await outbox.mark_sent(key, 1, b"raw", "0xaa")
    await world.commit(Home("anna").join()[2])
    assert not waiting.done()
    waiting.cancel()


async def test_expected_batch_is_what_the_effect_carries(world: World) -> None:
    anna, bert = Home("anna"), Home("bert")
    await world.join(anna, bert)
    await settled_interval(world, anna, bert)
    settle = next(e for e in await world.ledger.outbox.pending(10) if e.kind == "settle_batch")
    expected = await world.ledger.expectations.batch(START + 60)
    assert expected is not None
    assert settle.payload == {
        "delivery_start": START + 60,
        "readings_root": "0x" + expected.readings_root.hex(),
        "receipts_root": "0x" + expected.receipts_root.hex(),
        "rows": "0x" + expected.rows.hex(),
    }
    assert await world.ledger.expectations.batch(START) is None
    standing = await world.ledger.expectations.standing()
    assert (standing.unconfirmed, standing.confirmed) == (1, 0)
    assert standing.balances[anna.address].energy_wh == 100
