"""A clock that started in the past and runs fast, so that a day of intervals fits into a test.

It stays behind the machine's clock, for the contract settles no delivery that is still to come.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FastClock:
    """Runs ``factor`` times as fast as the machine's since ``real``, when it showed ``shown``."""

    real: float
    shown: int
    factor: int

    @classmethod
    def starting(cls, factor: int, behind_s: int = 24 * 3600) -> FastClock:
        """Start a day in the past, at the full hour."""
        now = time.time()
        return cls(now, (int(now) - behind_s) // 3600 * 3600, factor)

    def now(self) -> int:
        """Return the seconds that it shows."""
        return self.shown + int((time.time() - self.real) * self.factor)

    async def sleep_until(self, at: int) -> None:
        """Return when it shows ``at``."""
        while (left_s := at - self.now()) > 0:  # noqa: ASYNC110 - no event tells that a clock has moved
            await asyncio.sleep(min(1.0, left_s / self.factor))
