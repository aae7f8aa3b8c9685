"""Conditional orders in the log: who holds one back, or lets them fire in another order, is found out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from coordinator.ledger import writer
from coordinator.ledger.group import Group
from coordinator.ledger.verify import verify
from coordinator.ledger.writer import Writer
from coordinator.market.commands import FireOrder, ObserveSignal
from coordinator.market.decide import decide
from coordinator.market.events import Event, Rejected
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.ledger.test_auctions import DELIVERY, SESSIONS
from tests.ledger.world import Home, World, open_ledger

_STRAINED = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1, 0)
_STRAIN = ObserveSignal(Signal.GRID_STATE, 0, 2)

type Fire = Callable[[Writer, Group, tuple[Event, ...]], Awaitable[None]]


async def _hold_back(self: Writer, group: Group, events: tuple[Event, ...]) -> None:
    """Fire nothing."""


async def _youngest_first(self: Writer, group: Group, events: tuple[Event, ...]) -> None:
    """Fire what may fire, the youngest first."""
    for digest in reversed([*self._ahead.orders]):
        decision = decide(self._ahead, FireOrder(digest), group.at)
        if not isinstance(decision, Rejected):
            self._book(group, FireOrder(digest), decision)


async def _dormant(world: World, home: Home, count: int) -> list[bytes]:
    orders = [home.order(Side.BUY, 10, 100_000, DELIVERY, condition=_STRAINED) for _ in range(count)]
    for order in orders:
        await world.commit(order)
    return [order.digest for order in orders]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def _findings(ledger: Path, fire: Fire, monkeypatch: pytest.MonkeyPatch, *, more: bool) -> tuple[list[str], str]:
    """Verify a log of two dormant orders, the grid's strain and perhaps another order; name the first order too."""
    monkeypatch.setattr(Writer, "_fire", fire)
    anna, bert = Home("anna"), Home("bert")
    world = open_ledger(ledger.parent, rules=SESSIONS)
    async with world.ledger:
        await world.join(anna, bert)
        first, _ = await _dormant(world, bert, 2)
        await world.commit(_STRAIN)
        if more:
            await world.commit(anna.order(Side.SELL, 10, 200_000, DELIVERY))
    return verify(ledger).findings, first.hex()


async def test_an_order_that_is_held_back_is_found(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings, first = await _findings(ledger, _hold_back, monkeypatch, more=True)
    (finding,) = findings
    assert f"order {first} should have fired before" in finding
    assert finding.startswith("row ")


async def test_an_order_that_is_held_back_at_the_log_s_end_is_found(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings, first = await _findings(ledger, _hold_back, monkeypatch, more=False)
    (finding,) = findings
    assert finding.startswith(f"the log's end: order {first} should have fired before")


async def test_another_order_of_firing_is_found(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding, *_), first = await _findings(ledger, _youngest_first, monkeypatch, more=False)
    assert f"order {first} should have fired before" in finding


async def test_an_order_that_fires_late_is_found(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the next second, though before any other command; and after another one, when nothing lets it."""
    monkeypatch.setattr(Writer, "_fire", _hold_back)
    anna, bert = Home("anna"), Home("bert")
    world = open_ledger(ledger.parent, rules=SESSIONS)
    async with world.ledger:
        await world.join(anna, bert)
        first, second = await _dormant(world, bert, 2)
        await world.commit(_STRAIN)
        world.clock.set(world.clock.now() + 1)
        await world.commit(FireOrder(first))
        await world.commit(anna.order(Side.SELL, 10, 200_000, DELIVERY))
        await world.commit(FireOrder(second))
    late, unasked = verify(ledger).findings
    assert f"order {first.hex()} should have fired before" in late
    assert f"order {second.hex()} fires, and nothing lets it" in unasked


async def test_a_log_with_long_cascades_is_sound(ledger: Path) -> None:
    bert = Home("bert")
    world = open_ledger(ledger.parent, rules=SESSIONS)
    async with world.ledger:
        await world.join(bert)
        for state in (2, 0, 1):
            await _dormant(world, bert, 5)
            await world.commit(ObserveSignal(Signal.GRID_STATE, 0, state))
        assert world.ledger.state.orders_fired == 15
    assert verify(ledger).findings == []


async def test_a_long_cascade_lets_others_run_and_shows_nobody_half_of_it(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_FIRINGS_A_TURN", 4)
    bert = Home("bert")
    world = open_ledger(ledger.parent, rules=SESSIONS)
    seen: set[tuple[int, int]] = set()

    async def look() -> None:
        assert world.ledger._writer is not None
        while True:
            seen.add((world.ledger._writer._ahead.orders_fired, world.ledger.state.orders_fired))
            await asyncio.sleep(0)

    async with world.ledger:
        await world.join(bert)
        await _dormant(world, bert, 10)
        looking = asyncio.create_task(look())
        await world.commit(_STRAIN)
        looking.cancel()
    assert {(0, 0), (4, 0), (8, 0)} <= seen <= {(0, 0), (4, 0), (8, 0), (10, 0), (10, 10)}
    assert verify(ledger).findings == []
