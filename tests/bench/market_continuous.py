"""Continuous trading: our engine with its trail, and the peers' books on the same operations.

``report(peers)`` is a part of ``script/bench market``; alone: ``.venv/bin/python -m tests.bench.market_continuous
[PYTHON]`` with the interpreter of the peers' environment. CPU time of one core, the best of three; a peer runs once in
a process of its own, at most ``PEER_LIMIT_S``. *mixed*: 67 % limit orders (1 in 7 marketable), 25 % cancels, 8 %
market orders around a wandering middle; *deep*: 90 % resting limit orders. *every kind*: mixed, and one order in six is
good till date, immediate, fill or kill or conditional, with 1,000 owners.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns, process_time

from coordinator.market.engine import ContinuousEngine, Traded, replay
from coordinator.market.journal import Cancel, EngineCommand, New
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.bench.peer_engines import PEERS, Operation
from tests.bench.rig import table

OPERATIONS = 100_000
GROUP = 512
"""Commands whose frames are written together, as a ledger commits in groups."""
PEER_LIMIT_S = 60
_PEER = Path(__file__).with_name("peer_engines.py")
_GOAL = 400_000
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}


def workload(name: str, operations: int = OPERATIONS) -> list[Operation]:
    """Return the operations of a mix, the same in every run; a cancel names an order that was placed."""
    rng = random.Random(7)
    limits, cancels = (0.90, 0.97) if name == "deep" else (0.67, 0.92)
    away = 200 if name == "deep" else 20
    middle, placed, made = 1_000, [0], [["new", 0, "buy", 1, 900]]
    for number in range(1, operations):
        middle += rng.choice((-1, 0, 1)) if number % 50 == 0 else 0
        kind, side = rng.random(), rng.choice(("buy", "sell"))
        if limits <= kind < cancels and placed:
            place = rng.randrange(len(placed))
            placed[place], placed[-1] = placed[-1], placed[place]
            made.append(["cancel", placed.pop()])
            continue
        marketable = name != "deep" and rng.random() < 1 / 7
        offset = -rng.randint(0, 3) if marketable else rng.randint(1, away)
        price = middle + (offset if side == "sell" else -offset)
        if kind < limits:
            placed.append(number)
        made.append(["new", number, side, rng.randint(1, 100), price if kind < limits else None])
    return made


def commands(operations: Sequence[Operation], *, every_kind: bool = False) -> list[EngineCommand]:
    """Return the operations as our engine's commands, one a second."""
    rng = random.Random(8)
    made: list[EngineCommand] = []
    for at, operation in enumerate(operations):
        if operation[0] == "cancel":
            made.append(Cancel(at, operation[1]))
            continue
        _, number, side, energy_wh, price = operation
        order = New(at, number, _SIDES[side], energy_wh, price)
        made.append(_of_any_kind(rng, order) if every_kind else order)
    return made


def _of_any_kind(rng: random.Random, order: New) -> New:
    order = order._replace(owner=rng.randint(1, 1_000))
    luck = rng.random()
    if luck < 0.05:
        return order._replace(lifetime=TimeInForce.GOOD_TILL_DATE, expiry=order.at + rng.randint(1, 20_000))
    if luck < 0.10:
        return order._replace(lifetime=TimeInForce.IMMEDIATE_OR_CANCEL)
    if luck < 0.13:
        return order._replace(lifetime=TimeInForce.FILL_OR_KILL)
    if luck < 0.16:
        signal = rng.choice((Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK))
        threshold = (order.price or 1_000) + rng.randint(-10, 10)
        return order._replace(condition=Condition(signal, rng.choice(tuple(Comparison)), threshold))
    return order


def report(peers: str | None = None) -> None:
    """Print the tables; ``peers`` is the interpreter of the peers' environment, if there is one."""
    mixes = {name: workload(name) for name in ("mixed", "deep")}
    rows = [_ours(name, commands(operations)) for name, operations in mixes.items()]
    rows += [_ours(f"{name}, every kind", commands(operations, every_kind=True)) for name, operations in mixes.items()]
    head = ("workload", "kops/s", "of the goal", "p50 us", "p99 us", "resting", "traded Wh", "replay")
    table(f"Continuous trading with its trail, {OPERATIONS:,} operations, goal {_GOAL // 1000} kops/s", head, rows)
    if peers is not None:
        traded = {row[0]: row[6] for row in rows}
        found = [_peer(peers, peer, mixes, traded) for peer in PEERS]
        table("Peers, the same operations, without a trail", ("peer", "mixed kops/s", "deep kops/s", "remark"), found)


def _ours(name: str, wanted: list[EngineCommand]) -> list[str]:
    engine = ContinuousEngine()
    spent = min(_spent(wanted) for _ in range(3))
    trail, traded_wh = bytearray(), 0
    engine = ContinuousEngine(trail.extend)
    for command in wanted:
        told = engine.handle(command)
        traded_wh += sum(fill.energy_wh for event in told if isinstance(event, Traded) for fill in event.fills)
    equal = replay(bytes(trail)).state_hash() == engine.state_hash()
    p50, p99 = _latencies(wanted)
    per_s = len(wanted) / spent
    resting = f"{len(engine.book):,}" + (f" + {engine.dormant:,} dormant" if engine.dormant else "")
    verdict = "bit-identical" if equal else "DIFFERS"
    rate, share = f"{per_s / 1000:,.0f}", f"{per_s / _GOAL:.2f}"
    return [name, rate, share, f"{p50 / 1000:.1f}", f"{p99 / 1000:.1f}", resting, f"{traded_wh:,}", verdict]


def _spent(wanted: list[EngineCommand]) -> float:
    """Return the CPU seconds of all commands with the trail written to a file in groups."""
    with tempfile.TemporaryFile() as file:
        frames: list[bytes] = []
        engine = ContinuousEngine(frames.append)
        handle = engine.handle
        gc.collect()
        gc.freeze()  # the workload is not the engine's garbage
        began = process_time()
        for first in range(0, len(wanted), GROUP):
            for command in wanted[first : first + GROUP]:
                handle(command)
            file.write(b"".join(frames))
            frames.clear()
        spent = process_time() - began
        gc.unfreeze()
    return spent


def _latencies(wanted: list[EngineCommand]) -> tuple[int, int]:
    """Return median and 99th percentile of a command's time on the clock, in ns."""
    frames: list[bytes] = []
    engine = ContinuousEngine(frames.append)
    times = []
    for command in wanted:
        began = perf_counter_ns()
        engine.handle(command)
        times.append(perf_counter_ns() - began)
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def _peer(python: str, peer: str, mixes: dict[str, list[Operation]], traded: dict[str, str]) -> list[str]:
    rates, remarks = [], []
    for name, operations in mixes.items():
        text = "\n".join(json.dumps(operation) for operation in operations)
        try:
            done = subprocess.run(
                [python, str(_PEER), peer], input=text, capture_output=True, text=True, timeout=PEER_LIMIT_S, check=True
            )
        except subprocess.TimeoutExpired:
            rates.append("-")
            remarks.append(f"{name}: no answer within {PEER_LIMIT_S} s")
            continue
        except subprocess.CalledProcessError as failed:
            rates.append("-")
            remarks.append(f"{name}: {failed.stderr.strip().splitlines()[-1][:80]}")
            continue
        answer = json.loads(done.stdout.splitlines()[-1])
        rates.append(f"{len(operations) / answer['cpu_s'] / 1000:,.0f}")
        if answer["traded"] is None:
            remarks.append(f"{name}: tells no fills")
        elif f"{answer['traded']:,.0f}" != traded[name]:
            remarks.append(f"{name}: traded {answer['traded']:,.0f}, not as ours")
    return [peer, *rates, "; ".join(remarks) or "trades what ours trades"]


if __name__ == "__main__":
    report(sys.argv[1] if len(sys.argv) > 1 else None)
