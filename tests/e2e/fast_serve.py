"""``energy-trade serve`` with a fast clock: ``python -m tests.e2e.fast_serve REAL SHOWN FACTOR CONFIG.toml``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from coordinator.cli import serve
from coordinator.config import load
from tests.e2e.fast_clock import FastClock


def main() -> int:
    """Serve until a signal comes."""
    real, shown, factor, file = sys.argv[1:]
    clock = FastClock(float(real), int(shown), int(factor))
    return asyncio.run(serve(load(Path(file)), clock))


if __name__ == "__main__":
    raise SystemExit(main())
