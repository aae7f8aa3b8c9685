"""Conditional orders, sessions and gates as the writer takes them: cascades, the solver's port, certificates."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from coordinator.ledger import Committed
from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.market import certificate
from coordinator.market.commands import ClearSession, CloseGate, FireOrder, HaltTrading
from coordinator.market.events import OrderTriggered, SessionCleared, Traded
from coordinator.market.problem import Problem
from coordinator.market.proposal import Proposal
from coordinator.market.rules import Stages
from coordinator.market.state import state_hash
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from coordinator.solver.highs import propose
from tests.ledger.world import CONFIG, RULES, START, Home, World, open_ledger

DELIVERY = START + 120
SESSIONS = replace(RULES, stages=Stages(continuous=True, session_every_s=60))


@dataclass
class Asked:
    """A solver that is asked as the real one is; ``answer`` replaces what it finds."""

    answer: Proposal | str | None = None
    problems: list[Problem[bytes]] = field(default_factory=list)

    async def solve(self, problem: Problem[bytes], limit_s: float) -> Proposal | str:
        self.problems.append(problem)
        await asyncio.sleep(0)
        return propose(problem, limit_s) if self.answer is None else self.answer


@pytest.fixture
def anna() -> Home:
    return Home("anna")


@pytest.fixture
def bert() -> Home:
    return Home("bert")


@pytest.fixture
def solver() -> Asked:
    return Asked()


@pytest.fixture
async def world(tmp_path: Path, anna: Home, bert: Home, solver: Asked) -> AsyncIterator[World]:
    world = open_ledger(tmp_path, rules=SESSIONS, solver=solver)
    async with world.ledger:
        await world.join(anna, bert)
        yield world
    assert verify(tmp_path / "ledger.sqlite").findings == []


def at_most(price: int) -> Condition:
    return Condition(Signal.LAST_PRICE, Comparison.AT_MOST, price, 0)


async def test_conditional_orders_fire_in_the_group_of_what_they_waited_for(
    world: World, anna: Home, bert: Home, tmp_path: Path
) -> None:
    sells = [anna.order(Side.SELL, 100, price, DELIVERY) for price in (100_000, 110_000, 120_000)]
    for sell in sells:
        await world.commit(sell)
    first = bert.order(Side.BUY, 100, 110_000, DELIVERY, condition=at_most(110_000))
    second = bert.order(Side.BUY, 100, 120_000, DELIVERY, condition=at_most(110_000))
    later = bert.order(Side.BUY, 100, 120_000, DELIVERY, condition=at_most(50_000))
    for order in (second, first, later):
        await world.commit(order)
    groups = world.ledger.counters.groups
    met = await world.commit(bert.order(Side.BUY, 100, 100_000, DELIVERY))
    assert world.ledger.counters.groups == groups + 1
    told = await world.ledger.queries.events(met.sequence)
    assert {one.sequence for one in told} == {met.sequence + 1, met.sequence + 2}
    assert [one.event.digest for one in told if isinstance(one.event, OrderTriggered)] == [second.digest, first.digest]
    assert [one.event.price_micro_per_kwh for one in told if isinstance(one.event, Traded)] == [110_000]
    orders = world.ledger.state.orders
    assert orders[later.digest].is_dormant
    assert (orders[second.digest].filled_wh, orders[first.digest].filled_wh) == (100, 0)
    assert replay(tmp_path / "ledger.sqlite").commands["FireOrder"] == 2


async def test_a_client_cannot_fire_an_order_whose_condition_is_not_met(world: World, bert: Home) -> None:
    dormant = bert.order(Side.BUY, 100, 120_000, DELIVERY, condition=at_most(50_000))
    await world.commit(dormant)
    assert await world.refuse(FireOrder(dormant.digest)) == "condition_not_met"


async def test_many_commands_are_decided_in_order_each_for_itself(world: World, anna: Home, bert: Home) -> None:
    sells = [anna.order(Side.SELL, 10, 200_000, DELIVERY) for _ in range(300)]
    stranger = Home("stranger").order(Side.SELL, 10, 200_000, DELIVERY)
    buys = [bert.order(Side.BUY, 10, 200_000, DELIVERY) for _ in range(300)]
    commands = [*sells, sells[0], stranger, *buys]
    groups = world.ledger.counters.groups
    results = await world.ledger.submit_many(commands)
    assert world.ledger.counters.groups == groups + 5  # 602 commands in groups of 128
    refused = {i: result.code for i, result in enumerate(results) if not isinstance(result, Committed)}
    assert refused == {300: "duplicate_order", 301: "not_a_member"}
    sequences = [result.sequence for result in results if isinstance(result, Committed)]
    assert sequences == list(range(sequences[0], sequences[0] + 600))
    assert all(world.ledger.state.orders[buy.digest].remaining_wh == 0 for buy in buys)
    assert await world.ledger.submit_many([]) == []


async def test_a_flood_of_many_is_refused_whole_groups_at_a_time(tmp_path: Path, anna: Home) -> None:
    world = open_ledger(tmp_path, config=replace(CONFIG, inbox_max=20, group_max=8))
    async with world.ledger:
        await world.join(anna)
        orders = [anna.order(Side.SELL, 1, 200_000, DELIVERY) for _ in range(100)]
        results = await world.ledger.submit_many(orders)
        kept = [isinstance(result, Committed) for result in results]
        assert kept == [True] * sum(kept) + [False] * (100 - sum(kept))
        assert 20 <= sum(kept) < 100
        assert sorted(world.ledger.state.orders) == sorted(order.digest for order in orders[: sum(kept)])
        assert world.ledger.inbox_depth == 0


async def test_a_session_with_bundles_takes_the_solvers_proposal_into_the_log(
    world: World, anna: Home, bert: Home, solver: Asked, tmp_path: Path
) -> None:
    block = anna.bundle(Side.SELL, 90_000, {DELIVERY: 200, DELIVERY + 60: 200})
    await world.commit(block)
    for start in (DELIVERY, DELIVERY + 60):
        await world.commit(bert.order(Side.BUY, 200, 150_000, start))
    world.clock.set(START + 60)
    await world.ledger.step()
    (problem,) = solver.problems
    assert [bundle.key for bundle in problem.bundles] == [block.bundles[0].struct_hash()]
    found = await world.ledger.queries.auction("session", START + 60)
    assert found is not None
    record, proof = found
    assert (record.outcome, record.volume_wh) == ("optimal", 400)
    assert certificate.verify(proof) == []
    row = await world.ledger.queries.run(
        lambda c: c.execute("SELECT command FROM log WHERE kind = 'ClearSession'").fetchone()
    )
    assert '"welfare_micro"' in row[0]
    leg = await world.ledger.queries.order(block.legs[1].digest)
    assert leg is not None
    assert (leg.order, leg.signature, leg.filled_wh) == (block.legs[1].order, block.legs[1].signature, 200)
    assert {trade.stage.value for trade in await world.ledger.queries.trades()} == {"session"}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("the solver did not answer within 7 s and was killed", "was killed"),
        (Proposal((), (), 10**9, None), "fallback: "),
    ],
)
async def test_a_session_whose_solver_fails_or_lies_is_held_without_bundles(
    world: World, anna: Home, bert: Home, solver: Asked, answer: Proposal | str, cause: str
) -> None:
    solver.answer = answer
    await world.commit(anna.bundle(Side.SELL, 90_000, {DELIVERY: 200, DELIVERY + 60: 200}))
    await world.commit(bert.order(Side.BUY, 200, 150_000, DELIVERY))
    result = await at_session(world)
    (cleared,) = [event for event in result.events if isinstance(event, SessionCleared)]
    assert cleared.outcome.startswith("fallback: ")
    assert cause in cleared.outcome
    assert cleared.accepted == ()


async def test_without_a_solver_the_result_says_so(tmp_path: Path, anna: Home, bert: Home) -> None:
    world = open_ledger(tmp_path, rules=SESSIONS)
    async with world.ledger:
        await world.join(anna, bert)
        await world.commit(anna.bundle(Side.SELL, 90_000, {DELIVERY: 200, DELIVERY + 60: 200}))
        await world.commit(bert.order(Side.BUY, 200, 150_000, DELIVERY))
        result = await at_session(world)
    (cleared,) = [event for event in result.events if isinstance(event, SessionCleared)]
    assert cleared.outcome == "fallback: no solver is at work"


async def test_what_comes_while_the_solver_thinks_waits_for_the_session(
    world: World, anna: Home, bert: Home, solver: Asked
) -> None:
    await world.commit(anna.bundle(Side.SELL, 90_000, {DELIVERY: 200, DELIVERY + 60: 200}))
    for start in (DELIVERY, DELIVERY + 60):
        await world.commit(bert.order(Side.BUY, 200, 150_000, start))
    world.clock.set(START + 60)
    late = bert.order(Side.BUY, 500, 300_000, DELIVERY)
    session = asyncio.create_task(world.ledger.submit(ClearSession(START + 60)))
    await asyncio.sleep(0)
    placed = await world.commit(late)
    cleared = await session
    assert isinstance(cleared, Committed)
    assert placed.sequence == cleared.sequence + 1
    assert all(order.key != late.digest for order in solver.problems[0].orders)


async def test_every_gate_leaves_its_certificate(world: World, anna: Home, bert: Home, solver: Asked) -> None:
    await world.commit(anna.order(Side.SELL, 300, None, DELIVERY))
    await world.commit(bert.order(Side.BUY, 200, 150_000, DELIVERY))
    world.clock.set(DELIVERY - RULES.gate_s)
    await world.ledger.step()
    found = await world.ledger.queries.auction("closing", DELIVERY)
    assert found is not None
    record, proof = found
    assert (record.at, record.volume_wh, record.cleared_at) == (DELIVERY, 200, DELIVERY - RULES.gate_s)
    assert certificate.verify(proof) == []
    assert record in await world.ledger.queries.auctions()
    assert solver.problems == []


async def test_a_forged_certificate_is_found(world: World, anna: Home, bert: Home, tmp_path: Path) -> None:
    await world.commit(anna.order(Side.SELL, 300, None, DELIVERY))
    await world.commit(bert.order(Side.BUY, 200, 150_000, DELIVERY))
    world.clock.set(DELIVERY - RULES.gate_s)
    await world.commit(CloseGate(DELIVERY))
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path, autocommit=True)) as file:
        (text,) = file.execute("SELECT certificate FROM auctions WHERE kind = 'closing'").fetchone()
        file.execute("UPDATE auctions SET certificate = ? WHERE kind = 'closing'", (text.replace("200", "199"),))
        assert [finding for finding in verify(path).findings if "is stored otherwise" in finding]
        file.execute("UPDATE auctions SET certificate = ? WHERE kind = 'closing'", (text,))


async def test_only_the_newest_auctions_are_kept(
    world: World, anna: Home, bert: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.ledger.auctions.AUCTIONS_KEPT", 2)
    starts = [START + 60 * i for i in range(2, 6)]
    for start in starts:
        await world.commit(anna.order(Side.SELL, 300, 100_000, start))
    for start in starts:
        world.clock.set(start - RULES.gate_s)
        await world.commit(CloseGate(start))
    assert [record.at for record in await world.ledger.queries.auctions()] == starts[:-3:-1]
    assert await world.ledger.queries.auction("closing", starts[0]) is None


async def test_states_of_disk_and_memory_agree_after_all_of_it(
    world: World, anna: Home, bert: Home, tmp_path: Path
) -> None:
    await world.commit(anna.bundle(Side.SELL, 90_000, {DELIVERY: 200, DELIVERY + 60: 200}))
    await world.commit(bert.order(Side.BUY, 250, 150_000, DELIVERY, condition=at_most(400_000)))
    await world.commit(bert.order(Side.BUY, 200, 150_000, DELIVERY + 60))
    await at_session(world)
    await world.commit(HaltTrading("enough"))
    assert replay(tmp_path / "ledger.sqlite").state_hash == state_hash(world.ledger.state)


async def at_session(world: World) -> Committed:
    world.clock.set(START + 60)
    return await world.commit(ClearSession(START + 60))
