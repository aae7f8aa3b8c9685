"""kill -9 at random moments of real writing: what was answered is there, once."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from coordinator.ledger.replay import replay
from coordinator.ledger.verify import verify
from coordinator.protocol.messages import device_text
from tests.ledger.world import Home

KILLS = 20
ROOT = Path(__file__).parents[2]


type Told = dict[str, list[Any]]


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process that forks the workers."""
    command = [sys.executable, "-m", "tests.ledger.kill_child", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def work_and_kill(process: subprocess.Popen[bytes], after_s: float, told: Told) -> None:
    """Let a worker work for a while, kill it, and note what it had answered."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    pid = 0
    for line in process.stdout:
        what, value = json.loads(line)
        if what == "pid":
            pid = value
        elif what == "ready":
            threading.Timer(after_s, os.kill, (pid, signal.SIGKILL)).start()
        elif what == "exit":
            assert value == -signal.SIGKILL
            return
        else:
            told.setdefault(what, []).append(value)
    raise AssertionError("the forking process has ended")


@pytest.mark.timeout(180)
def test_nothing_answered_is_lost_or_doubled(tmp_path: Path, killed: subprocess.Popen[bytes]) -> None:
    chance = random.Random(3)
    answered: Told = {}
    for _ in range(KILLS):
        work_and_kill(killed, chance.uniform(0.0, 0.8), answered)
    path = tmp_path / "ledger.sqlite"
    assert verify(path).findings == []
    with closing(sqlite3.connect(path)) as connection:
        check_orders(connection, answered)
        check_readings(connection, answered)
        check_credits(path, connection, answered)
        check_settlements(connection, answered)
    assert min(len(answered[what]) for what in ("order", "reading", "credit", "settled", "confirmed")) >= 3


def check_orders(connection: sqlite3.Connection, answered: Told) -> None:
    stored = {f"0x{digest.hex()}" for (digest,) in connection.execute("SELECT digest FROM orders")}
    assert not set(answered["order"]) - stored
    placed = connection.execute("SELECT count(*) FROM log WHERE kind = 'PlaceOrder'").fetchone()[0]
    assert placed == len(stored)


def check_readings(connection: sqlite3.Connection, answered: Told) -> None:
    stored = {
        (f"0x{device.hex()}", sequence, f"0x{digest.hex()}")
        for device, sequence, digest in connection.execute("SELECT device_id, sequence, digest FROM readings")
    }
    for name, sequence, digest in answered["reading"]:
        assert (device_text(Home(name).meter.device_id), sequence, digest) in stored
    assert len(stored) == connection.execute("SELECT count(*) FROM readings").fetchone()[0]


def check_credits(path: Path, connection: sqlite3.Connection, answered: Told) -> None:
    """Each deposit is booked once; money only moves between homes."""
    booked = Counter(
        json.loads(text)["reference"]
        for (text,) in connection.execute("SELECT command FROM log WHERE kind = 'CreditFunds'")
    )
    assert set(booked.values()) == {1}
    assert not set(answered["credit"]) - set(booked)
    joined = sum(1 for reference in booked if reference.startswith("deposit-"))
    accounts = replay(path).state.accounts.values()
    assert sum(a.money_micro for a in accounts) == 100_000_000 * joined + 7 * (len(booked) - joined)


def check_settlements(connection: sqlite3.Connection, answered: Told) -> None:
    stages = dict(connection.execute("SELECT delivery_start, stage FROM intervals"))
    assert all(stages[start] in {"settled", "confirmed"} for start in answered["settled"])
    assert all(stages[start] == "confirmed" for start in answered["confirmed"])
    effects = dict(connection.execute("SELECT key, state FROM outbox WHERE kind = 'settle_batch'"))
    for start, stage in stages.items():
        if stage in {"settled", "confirmed"} and f"settle:{start}:0" in effects:
            assert effects[f"settle:{start}:0"] == ("done" if stage == "confirmed" else "pending")
    batches = {
        start for (start,) in connection.execute("SELECT delivery_start FROM settlements WHERE length(rows) > 0")
    }
    assert {f"settle:{start}:0" for start in batches} == set(effects)
