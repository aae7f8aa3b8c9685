"""What a coming interval will probably need from, or give to, the grid."""

from __future__ import annotations

from dataclasses import dataclass

STALE_AFTER_INTERVALS = 2


@dataclass(frozen=True, slots=True)
class MeteredInterval:
    """What the meter saw between two accepted boundary readings."""

    start: int
    end: int
    consumption_wh: int
    production_wh: int

    @property
    def net_wh(self) -> int:
        """Energy from the grid (positive) or to the grid (negative)."""
        return self.consumption_wh - self.production_wh


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected net energy of one interval: positive from the grid, negative is surplus."""

    net_wh: int
    text: str


def persistence(last: MeteredInterval | None, at: int, interval_s: int) -> Forecast | None:
    """Expect the power of the last metered interval to stay; ``None`` when it is too old to tell."""
    if last is None or at - last.end > STALE_AFTER_INTERVALS * interval_s:
        return None
    seconds = last.end - last.start
    magnitude = abs(last.net_wh) * interval_s // seconds
    net_wh = magnitude if last.net_wh > 0 else -magnitude
    direction = "taken from" if net_wh > 0 else "given to"
    return Forecast(
        net_wh,
        f"as in the last metered {seconds} s: {magnitude} Wh {direction} the grid per interval",
    )
