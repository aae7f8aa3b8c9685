"""A clock that moves only when the test says so: nothing becomes late on a busy machine.

It stays behind the machine's clock, for the contract settles no delivery that is still to come.
"""

from __future__ import annotations

import asyncio
import time


class HeldClock:
    """Shows ``shown`` until it is moved on."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._moved = asyncio.Event()

    @classmethod
    def starting(cls, behind_s: int = 24 * 3600) -> HeldClock:
        """Start a day in the past, a second after the full hour: the hour's session is over."""
        return cls((int(time.time()) - behind_s) // 3600 * 3600 + 1)

    def now(self) -> int:
        """Return the seconds that it shows."""
        return self._shown

    def move_to(self, at: int) -> None:
        """Show ``at`` from now on, and wake whoever waits for it."""
        assert at >= self._shown
        self._shown = at
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, at: int) -> None:
        """Return when it shows ``at``."""
        while self._shown < at:
            await self._moved.wait()
