"""The differential runs at length: continuous trading against the slow engine, sessions against enumeration.

``script/bench --soak [COMMANDS [SESSIONS [LIVE]]]``, 10,000,000, 1,000 and 1,000,000 by default, over all cores. The
commands of the first number go through ``ContinuousEngine``, those of the last through the market that the coordinator
trades with. They come in slices of 1,000 with their own seeds; the first divergence ends the run with the seed, the
command's number and exit status 1.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.bench import market_session
from tests.market.live_duel import LiveDuel
from tests.market.slow_engine import Duel

COMMANDS = 10_000_000
SESSIONS = 1_000
LIVE = 1_000_000
SESSIONS_PER_TASK = 25
SLICE = 1_000
SLICES_PER_TASK = 50
FIRST_SEED = 1_000_000
"""The suite's seeds lie below, so a soak never repeats them."""


def run_slices(kind: type[Duel | LiveDuel], first_seed: int, slices: int) -> dict[str, int]:
    """Run slices and return how often each kind of event was met; raise ``AssertionError`` naming the seed."""
    seen: Counter[str] = Counter()
    for seed in range(first_seed, first_seed + slices):
        duel = kind(seed)
        try:
            duel.run(SLICE)
        except AssertionError as divergence:
            raise AssertionError(f"seed {seed}: {divergence}") from divergence
        seen.update(duel.seen)
    return dict(seen)


def soak_continuous(count: int, kind: type[Duel | LiveDuel]) -> int:
    """Run at least ``count`` commands of a kind of duel with a line of progress; return the exit status."""
    slices = -(-count // SLICE)
    starts = range(0, slices, SLICES_PER_TASK)
    sizes = [min(SLICES_PER_TASK, slices - start) for start in starts]
    seen: Counter[str] = Counter()
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(run_slices, repeat(kind), (FIRST_SEED + start for start in starts), sizes)
        done = 0
        try:
            for size, result in zip(sizes, results, strict=True):
                done += size * SLICE
                seen.update(result)
                rate = done / (time.monotonic() - began)
                print(f"\r{done:,} of {slices * SLICE:,} commands, {rate:,.0f}/s, no divergence", end="", flush=True)
        except AssertionError as divergence:
            print(f"\ndivergence: {divergence}")
            pool.shutdown(cancel_futures=True)
            return 1
    print("\n" + "\n".join(f"{times:>12,} {name}" for name, times in seen.most_common()))
    return 0


def soak_sessions(count: int) -> int:
    """Run this many random sessions with a line of progress; return the exit status."""
    starts = range(0, count, SESSIONS_PER_TASK)
    sizes = [min(SESSIONS_PER_TASK, count - start) for start in starts]
    done = different = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for size, result in zip(sizes, pool.map(market_session.soak, sizes, starts), strict=True):
            done += size
            different += result
            print(f"\r{done:,} of {count:,} sessions, {different} differ", end="", flush=True)
    print()
    return 1 if different else 0


if __name__ == "__main__":
    counts = [int(text) for text in sys.argv[1:]] + [COMMANDS, SESSIONS, LIVE][len(sys.argv) - 1 :]
    sys.exit(soak_continuous(counts[0], Duel) or soak_sessions(counts[1]) or soak_continuous(counts[2], LiveDuel))
