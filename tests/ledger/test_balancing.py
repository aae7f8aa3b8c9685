"""A request of the grid is answered once, through the outbox, together with the load that answers it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market.commands import BookBalancingRequest, ExcludeFromSettlement
from coordinator.market.state import state_hash
from coordinator.protocol.messages import Side
from tests.ledger.world import START, Home, World, open_ledger

FIRST, SECOND, THIRD = START + 60, START + 180, START + 300


@pytest.fixture
def homes() -> tuple[Home, Home]:
    return Home("anna"), Home("bert")


def asked(number: int) -> BookBalancingRequest:
    return BookBalancingRequest(1, number, 0, 40_000, f"0x{number}:grid:0")


async def settle(world: World, homes: Iterable[Home], start: int, consumption_wh: int) -> None:
    """Anna sells Bert 50 Wh; he takes this much in that minute."""
    anna, bert = homes
    await world.commit(anna.order(Side.SELL, 50, 200_000, start))
    await world.commit(bert.order(Side.BUY, 50, 200_000, start))
    for home in (anna, bert):
        await world.read(home, start)
    world.clock.set(start + 60)
    await world.read(anna, start + 60, production_wh=50)
    await world.read(bert, start + 60, consumption_wh=consumption_wh)
    await world.ledger.step()
    await world.ledger.step()


async def answers(world: World) -> list[tuple[str, dict[str, int]]]:
    pending = await world.ledger.outbox.pending(100)
    return [(effect.key, dict(effect.payload)) for effect in pending if effect.kind == "answer_balancing"]


async def test_a_request_outlives_a_restart_and_is_answered_once_after_the_load(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(*homes)
        await settle(world, homes, FIRST, 100)
        await world.commit(asked(1))
        assert await answers(world) == []
        before = state_hash(world.ledger.state)
    world = open_ledger(tmp_path, world.clock)
    async with world.ledger:
        assert state_hash(world.ledger.state) == before
        assert await world.refuse(asked(1)) == "duplicate_credit"
        assert state_hash(world.ledger.state) == before
        await settle(world, homes, SECOND, 60)
        expected = [("balancing:1:1", {"node_id": 1, "request_id": 1, "relieved_w": 2_400})]
        assert await answers(world) == expected
        kinds = [effect.kind for effect in await world.ledger.outbox.pending(100)]
        assert kinds[-3:] == ["settle_batch", "update_grid", "answer_balancing"]
        await settle(world, homes, THIRD, 50)
        assert await world.refuse(asked(1)) == "duplicate_credit"
        assert await answers(world) == expected
        after = state_hash(world.ledger.state)
    assert verify(tmp_path / "ledger.sqlite").findings == []
    assert replay(tmp_path / "ledger.sqlite").state_hash == after
    _answers_are_in_the_row_that_settled(tmp_path / "ledger.sqlite")


def _answers_are_in_the_row_that_settled(path: Path) -> None:
    """One row of the log and one transaction: a kill keeps the answer and its effect, or neither."""
    sql = "SELECT log.events FROM log JOIN outbox USING (sequence) WHERE outbox.kind = 'answer_balancing'"
    with closing(sqlite3.connect(path)) as connection:
        ((text,),) = connection.execute(sql).fetchall()
    settled, answered = json.loads(text)
    assert (settled[0], settled[1]["delivery_start"]) == ("IntervalSettled", SECOND)
    reason = "the load fell from 6000 W to 3600 W"
    assert answered == ["BalancingAnswered", {"node_id": 1, "request_id": 1, "relieved_w": 2_400, "reason": reason}]


async def test_a_settlement_made_again_answers_nothing(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    """It reports no load either."""
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(*homes)
        await settle(world, homes, FIRST, 100)
        await world.commit(asked(1))
        account = homes[1].address
        await world.commit(ExcludeFromSettlement(FIRST, account, f"AccountIntervalUsed(account={account})"))
        assert await answers(world) == []
        assert list(world.ledger.state.balancing) == [(1, 1)]
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_a_request_before_the_first_load_is_answered_with_nothing(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(*homes)
        for number in (1, 2):
            await world.commit(asked(number))
        await settle(world, homes, FIRST, 100)
        found = [(payload["request_id"], payload["relieved_w"]) for _, payload in await answers(world)]
        assert found == [(1, 0), (2, 0)]
    assert verify(tmp_path / "ledger.sqlite").findings == []
