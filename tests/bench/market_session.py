"""Session auctions: bundles and feeders at the size of a community, what is proved, and counted random sessions.

``report()`` is a part of ``script/bench market``; alone: ``.venv/bin/python -m tests.bench.market_session``. With
``--soak COUNT [FIRST]`` it counts random sessions by enumeration and ends with status 1 when one differs. CPU time of
one core; the workload is that of the design's measurements: 60 % buyers, limits uniform from 8 to 32 ct.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Sequence
from time import perf_counter, process_time

from coordinator.market.certificate import certificate, verify
from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, NetworkLine, Problem, SingleOrder
from coordinator.protocol.messages import Side
from coordinator.solver.highs import propose
from coordinator.solver.worker import SyncSolver
from tests.bench.rig import table
from tests.solver.enumeration import best, crowded_problem, random_problem

INTERVALS = 96
BAND = (0, 400_000)
LIMIT_S = 5
NETWORK_LIMIT_MS = 20
_HEAD = [
    "session", "propose s", "clear s", "sum s", "limit s", "outcome", "accepted", "paradoxical", "gap", "proof s",
    "faults",
]  # fmt: skip


def orders(
    homes: int, intervals: int, tick: int, nodes: Sequence[str], seed: int = 1
) -> tuple[SingleOrder[bytes], ...]:
    """Return one order for each home and interval, with limits that are multiples of ``tick``."""
    dice = random.Random(seed)
    return tuple(
        SingleOrder(
            b"%d.%d" % (interval, home),
            interval,
            Side.BUY if dice.random() < 0.6 else Side.SELL,
            dice.randint(50, 1_500),
            dice.randrange(80_000 // tick, 320_000 // tick + 1) * tick,
            nodes[home % len(nodes)],
        )
        for interval in range(intervals)
        for home in range(homes)
    )


def bundles(count: int, intervals: int, seed: int = 2) -> tuple[BundleOrder[bytes], ...]:
    """Return blocks of 2 to 16 intervals: a fifth children of the one before, a third in exclusive groups of three."""
    dice = random.Random(seed)
    found = []
    for number in range(count):
        length = dice.randint(2, min(16, intervals))
        first = dice.randrange(intervals - length + 1)
        is_child = number % 5 == 4
        found.append(
            BundleOrder(
                b"b%d" % number,
                dice.choice([Side.BUY, Side.SELL]),
                dice.randrange(140, 260) * 1_000,
                tuple((interval, dice.randint(100, 2_000)) for interval in range(first, first + length)),
                parent=b"b%d" % (number - 1) if is_child else None,
                group=f"g{number // 3}" if number < 150 and not is_child else None,
            )
        )
    return tuple(found)


def report() -> None:
    """Print what sessions take."""
    rows = [
        _measured(f"{homes:,} homes x {INTERVALS}, {count} bundles, {tick / 10_000:g} ct ticks", homes, count, tick)
        for homes, count, tick in ((1_000, 500, 1_000), (1_000, 500, 100), (1_000, 500, 1), (200, 500, 1_000))
    ]
    table("Session with bundles", _HEAD, rows)
    head = ["network", "propose ms", "clear ms", "sum ms", "limit ms", "outcome", "trades", "proof ms", "faults"]
    table("Session without bundles on 10 feeders, each interval", head, [_network(1_000, 96), _network(10_000, 96)])
    table("The solver's own process", ["question", "wall s", "beyond the solver s"], [_worker()])
    table("Random sessions against enumeration", ["sessions", "different", "wall s"], [_counted(200, 0)])


def _measured(name: str, homes: int, count: int, tick: int) -> list[object]:
    problem = Problem(
        tuple(range(INTERVALS)), orders(homes, INTERVALS, tick, [""]), bundles(count, INTERVALS), (), band=BAND
    )
    began = process_time()
    proposal = propose(problem, LIMIT_S)
    proposed = process_time()
    result = clear(problem, proposal)
    cleared = process_time()
    faults = verify(certificate(problem, result))
    proved = process_time()
    gap = "?" if result.bound_micro is None else f"{100 * (result.bound_micro / result.welfare_micro - 1):.4f} %"
    spent = proposed - began, cleared - proposed, cleared - began
    counts = len(result.accepted), len(result.paradoxical)
    return [
        name,
        *(f"{s:.2f}" for s in spent),
        LIMIT_S,
        result.outcome,
        *counts,
        gap,
        f"{proved - cleared:.2f}",
        len(faults),
    ]


def feeders(homes: int, intervals: int) -> Problem[bytes]:
    """Return a community on ten feeders that meet in one place, each with a limit that binds now and then."""
    nodes = [f"feeder {number}" for number in range(10)]
    most = (homes * 6,) * intervals
    lines = tuple(NetworkLine("substation", node, 2_000, most, most) for node in nodes)
    return Problem(tuple(range(intervals)), orders(homes, intervals, 1_000, nodes), (), lines, band=BAND)


def _network(homes: int, intervals: int) -> list[object]:
    problem = feeders(homes, intervals)
    gc.collect()
    gc.freeze()  # the workload is not the session's garbage
    began = process_time()
    proposal = propose(problem, 600)
    proposed = process_time()
    result = clear(problem, proposal)
    cleared = process_time()
    faults = verify(certificate(problem, result))
    proved = process_time()
    gc.unfreeze()
    spent = [proposed - began, cleared - proposed, cleared - began, proved - cleared]
    each = [f"{1_000 * seconds / intervals:.1f}" for seconds in spent]
    name = f"{homes:,} homes x {intervals}"
    return [name, *each[:3], NETWORK_LIMIT_MS, result.outcome, len(result.trades), each[3], len(faults)]


def _worker() -> list[object]:
    problem = Problem(tuple(range(INTERVALS)), orders(1_000, INTERVALS, 1_000, [""]), bundles(50, INTERVALS), band=BAND)
    began = perf_counter()
    expected = propose(problem, LIMIT_S)
    inside = perf_counter() - began
    with SyncSolver() as solver:
        solver.solve(Problem((0,), (), bundles(1, 2)[:0]), LIMIT_S)  # the process starts
        began = perf_counter()
        answer = solver.solve(problem, LIMIT_S)
        wall = perf_counter() - began
    assert answer == expected
    return ["1,000 homes x 96, 50 bundles", f"{wall:.2f}", f"{wall - inside:.2f}"]


def _counted(count: int, first: int) -> list[object]:
    began = perf_counter()
    different = soak(count, first)
    return [f"{count:,}", different, f"{perf_counter() - began:.0f}"]


def soak(count: int, first: int = 0) -> int:
    """Count this many random sessions by enumeration; return how many differ, each with a line."""
    different = 0
    for seed in range(first, first + count):
        problem = (random_problem, crowded_problem)[seed % 2](seed)
        result, counted = clear(problem, propose(problem, 60)), best(problem)
        holds = counted.sure // 1_000 <= result.welfare_micro <= counted.most // 1_000
        faults = verify(certificate(problem, result))
        if result.outcome != "optimal" or not holds or faults:
            different += 1
            print(f"session {seed}: {result.outcome}, {result.welfare_micro}, counted {counted}, {faults}")
    return different


if __name__ == "__main__":
    if sys.argv[1:2] == ["--soak"]:
        sys.exit(min(1, soak(*map(int, sys.argv[2:4]))))
    report()
