"""Time as data: the one place that asks the machine what time it is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the shell asks for time; tests hand in one that they turn themselves."""

    def now(self) -> int:
        """Return UTC epoch seconds; never less than what was returned before."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return as soon as ``now()`` is at least ``at``."""
        ...


class SystemClock:
    """The machine's clock, held still when somebody sets it back."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        """Start without a memory of an earlier time."""
        self._latest = 0

    def now(self) -> int:
        """Return UTC epoch seconds that never run backwards within this process."""
        self._latest = max(self._latest, int(time.time()))
        return self._latest

    async def sleep_until(self, at: int) -> None:
        """Sleep in steps of a second at most, so that a clock set forward is noticed."""
        while self.now() < at:  # noqa: ASYNC110 - the machine's clock has no event to wait for
            await asyncio.sleep(min(1.0, max(0.01, at - time.time())))
