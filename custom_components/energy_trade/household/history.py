"""What a home's meters have measured: the rows that forecasts learn from and previews replay."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One interval of the past in Wh, positive from the grid.

    ``net_wh`` is the meter's. ``solar_wh`` is what the solar plants made and ``battery_wh`` what the batteries took
    (negative: gave), ``None`` where it is not known. ``resolution_s`` is how finely it was measured: a coarser row was
    spread evenly over its intervals and says nothing of how they differ.
    """

    start: int
    net_wh: int
    solar_wh: int | None = None
    resolution_s: int = 0
    battery_wh: int | None = None

    def without_battery(self) -> HistoryRow | None:
        """Return what the meter would have seen without the batteries, ``None`` where that is not known."""
        if self.battery_wh is None:
            return None
        return replace(self, net_wh=self.net_wh - self.battery_wh, battery_wh=0)
