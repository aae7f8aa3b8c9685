"""Starting from a snapshot: only what came after is replayed, and nothing doubtful is believed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger import LedgerDamaged, snapshots
from coordinator.ledger.replay import Entry, Rebuilt, replay
from coordinator.ledger.snapshots import Snapshot
from coordinator.ledger.verify import verify
from coordinator.market.commands import ClearSession
from coordinator.market.rules import MarketRules
from coordinator.market.state import state_hash
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.ledger.test_auctions import SESSIONS
from tests.ledger.world import START, Home, TurnedClock, World, open_ledger, settled_interval

type Broken = tuple[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger that has seen everything, with a snapshot in the middle, closed."""
    folder = tmp_path_factory.mktemp("made")
    asyncio.run(fill(folder))
    return folder / "ledger.sqlite"


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path))


async def fill(folder: Path) -> None:
    anna, bert = Home("anna"), Home("bert")
    world = open_ledger(folder, rules=SESSIONS)
    async with world.ledger:
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
        first = world.clock.now() + 120
        await world.commit(anna.order(Side.SELL, 300, 200_000, first))
        met = Condition(Signal.LAST_PRICE, Comparison.AT_MOST, 200_000, 0)
        await world.commit(bert.order(Side.BUY, 100, None, first, condition=met))
        await world.commit(anna.bundle(Side.SELL, 90_000, {first: 20, first + 60: 20}))
        await world.ledger.snapshot()
        await world.commit(bert.order(Side.BUY, 100, 200_000, first))
        world.clock.set(first - 60)
        await world.commit(ClearSession(first - 60))


def reopened(path: Path) -> World:
    return open_ledger(path.parent, TurnedClock(START + 100_000), rules=SESSIONS)


def count_entries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the sequences that a start replays."""
    seen: list[int] = []
    real = Rebuilt.take

    def take(self: Rebuilt, entry: Entry) -> None:
        real(self, entry)
        seen.append(self.head.sequence)

    monkeypatch.setattr(Rebuilt, "take", take)
    return seen


async def test_a_start_replays_only_what_came_after(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replay(path)
    with closing(sqlite3.connect(path)) as file:
        (at,) = file.execute("SELECT max(sequence) FROM snapshots").fetchone()
    assert 0 < at < whole.sequence
    seen = count_entries(monkeypatch)
    async with (world := reopened(path)).ledger:
        assert seen == list(range(at + 1, whole.sequence + 1))
        assert state_hash(world.ledger.state) == whole.state_hash
        assert (world.ledger.sequence, world.ledger.state.rules) == (whole.sequence, whole.terms.rules)
        await world.commit(Home("anna").order(Side.SELL, 1, 300_000, START + 100_140 // 60 * 60))


async def test_a_snapshot_of_the_end_leaves_nothing_to_replay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (world := reopened(path)).ledger:
        await world.ledger.snapshot()
        hashed = state_hash(world.ledger.state)
    seen = count_entries(monkeypatch)
    async with (world := reopened(path)).ledger:
        assert seen == []
        assert state_hash(world.ledger.state) == hashed


@pytest.mark.parametrize(
    "broken",
    [
        ("UPDATE snapshots SET content = substr(content, 1, 100)", ()),
        ("UPDATE snapshots SET content = zeroblob(100), digest = zeroblob(32)", ()),
        ("UPDATE snapshots SET code = zeroblob(32)", ()),
        ("UPDATE snapshots SET state_hash = zeroblob(32)", ()),
        ("UPDATE snapshots SET log_hash = zeroblob(32)", ()),
        ("UPDATE snapshots SET sequence = sequence - 1", ()),
        ("UPDATE snapshots SET sequence = 1000000", ()),
        ("DELETE FROM snapshots", ()),
    ],
    ids=["cut", "emptied", "other code", "other state", "other log", "moved", "beyond the end", "gone"],
)
async def test_a_doubtful_snapshot_is_passed_over(path: Path, broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    change(path, broken)
    seen = count_entries(monkeypatch)
    async with (world := reopened(path)).ledger:
        assert seen[-world.ledger.sequence :] == list(range(1, world.ledger.sequence + 1))
        assert state_hash(world.ledger.state) == replay(path).state_hash


async def test_of_two_snapshots_the_sound_one_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (world := reopened(path)).ledger:
        await world.ledger.snapshot()
    with closing(sqlite3.connect(path)) as file:
        older, newest = (row[0] for row in file.execute("SELECT sequence FROM snapshots ORDER BY sequence"))
    change(path, ("UPDATE snapshots SET state_hash = zeroblob(32) WHERE sequence = ?", (newest,)))
    seen = count_entries(monkeypatch)
    async with (world := reopened(path)).ledger:
        assert seen == list(range(older + 1, world.ledger.sequence + 1))


async def test_what_a_snapshot_says_is_never_called(path: Path, tmp_path: Path) -> None:
    marker = tmp_path / "called"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(marker),)

    content = pickle.dumps(Evil())
    with closing(sqlite3.connect(path)) as file:
        row = file.execute("SELECT * FROM snapshots").fetchone()
    sequence, log_hash, code, _, hashed, _ = row
    forged = Snapshot(sequence, log_hash, code, hashlib.sha256(content).digest(), hashed, content)
    with closing(sqlite3.connect(path, autocommit=True)) as file:
        snapshots.write(file, forged)
    async with (world := reopened(path)).ledger:
        assert state_hash(world.ledger.state) == replay(path).state_hash
    assert not marker.exists()


async def test_a_change_that_the_states_hash_does_not_show_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(path)) as file:
        (content,) = file.execute("SELECT content FROM snapshots").fetchone()
    state = pickle.loads(content)
    before = state_hash(state)
    state.expiries.append((2**40, 1, bytes(32)))
    assert state_hash(state) == before
    change(path, ("UPDATE snapshots SET content = ?", (pickle.dumps(state),)))
    seen = count_entries(monkeypatch)
    async with (world := reopened(path)).ledger:
        assert seen == list(range(1, world.ledger.sequence + 1))


async def test_other_rules_start_from_the_snapshots_rules(path: Path) -> None:
    stricter: MarketRules = replace(SESSIONS, order_energy_max_wh=50)
    world = open_ledger(path.parent, TurnedClock(START + 100_000), rules=stricter)
    async with world.ledger:
        start = START + 100_140 // 60 * 60
        assert await world.refuse(Home("anna").order(Side.SELL, 51, 300_000, start)) == "energy_out_of_range"
        assert replay(path).state_hash == state_hash(world.ledger.state)


async def test_damage_after_the_snapshot_is_found_at_the_start(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        (at,) = file.execute("SELECT max(sequence) FROM snapshots").fetchone()
    change(path, ("UPDATE log SET events = '[]' WHERE sequence = ?", (at + 1,)))
    with pytest.raises(LedgerDamaged, match=f"row {at + 1} of the log was changed"):
        async with open_ledger(path.parent, TurnedClock(START + 100_000), rules=SESSIONS).ledger:
            pass


async def test_two_snapshots_are_kept(path: Path) -> None:
    async with (world := reopened(path)).ledger:
        for _ in range(2):
            await world.commit(Home(f"new {world.ledger.sequence}").join()[0])
            await world.ledger.snapshot()
        kept = await world.ledger.queries.run(lambda c: c.execute("SELECT count(*) FROM snapshots").fetchone()[0])
    assert kept == snapshots.SNAPSHOTS_KEPT == 2


def change(path: Path, broken: Broken) -> None:
    with closing(sqlite3.connect(path, autocommit=True)) as file:
        file.execute(*broken)


def test_verify_finds_a_snapshot_of_another_state_whose_hashes_all_fit(path: Path) -> None:
    assert verify(path).findings == []
    with closing(sqlite3.connect(path)) as file:
        sequence, content = file.execute("SELECT sequence, content FROM snapshots").fetchone()
        state = pickle.loads(content)
        next(iter(state.accounts.values())).money_micro += 10**9
        state.credited.clear()
        forged = pickle.dumps(state, protocol=5)
        sql = "UPDATE snapshots SET content = ?, digest = ?, state_hash = ?"
        file.execute(sql, (forged, hashlib.sha256(forged).digest(), state_hash(state)))
        file.commit()
    assert verify(path).findings == [f"row {sequence}: the snapshot kept there is of another state: delete it"]
