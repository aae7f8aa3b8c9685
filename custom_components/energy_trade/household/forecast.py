"""What a coming interval will probably need from, or give to, the grid.

A home repeats itself from day to day: what an interval will be is read off the same time of the day in the past weeks
(``Forecaster``), moved by how the last interval differed from that. Without such a past the last interval repeats
itself for a while (``persistence``).
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from math import ceil, hypot, sqrt

from ..protocol.units import interval_start
from .history import HistoryRow

STALE_AFTER_INTERVALS = 2
PERSISTENCE_INTERVALS = 4
"""As far ahead as the last interval alone says anything."""
DAY_S = 86_400
SATURDAY = 5
FINE_DAYS_MIN = 7
"""Days of finely measured rows from which on coarse ones are left out."""
DAYS_MIN = 3
"""With fewer days nothing is said of habits."""
LIKE_WANTED = 8
LIKE_MIN = 3
"""So many like intervals are looked for, further and further around; with fewer than three nothing is said.

A confidence that these cannot bear out asks for more: n of them bear out n / (n + 1) at most.
"""
WIDTHS_MIN = (0, 15, 30, 60)
"""How many minutes around an interval its like are looked for."""
SHARES_MIN = 20
"""A solar forecast is judged by itself from so many measured intervals on."""
SUN_TOLD_PERCENT = 5
"""Intervals with less than this share of the forecast's peak tell nothing of how good it is."""
CORRELATION_MAX = 0.98


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
    """Net energy of one interval at the meter in Wh: positive from the grid, negative is surplus.

    ``net_wh`` is the middle. ``low_wh`` and ``high_wh`` enclose it at the owner's confidence: with that probability
    the surplus is at least ``-high_wh``, and the need at least ``low_wh``. ``text`` says what it rests on.
    """

    net_wh: int
    text: str
    low_wh: int | None = None
    high_wh: int | None = None

    @property
    def surplus_wh(self) -> int:
        """What can be sold without overselling at the chosen confidence, never below zero."""
        return max(0, -(self.net_wh if self.high_wh is None else self.high_wh))

    @property
    def need_wh(self) -> int:
        """What will be needed at the chosen confidence, never below zero."""
        return max(0, self.net_wh if self.low_wh is None else self.low_wh)


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


class Forecaster:
    """Reads coming intervals off a home's past, each at the confidence that is asked for.

    Nothing is assumed of how a home's use is distributed: what bounds an interval are the order statistics of like
    intervals, those of the same time of the local day on the same kind of day (working day; weekend or holiday), with
    neighbours where they are few. Of n of them the ceil((n + 1) c)-th smallest is not exceeded by the next one with
    probability c at least, if they are exchangeable (Vovk et al., Algorithmic Learning in a Random World, 2005).
    """

    def __init__(
        self,
        rows: Iterable[HistoryRow],
        interval_s: int,
        timezone: tzinfo = UTC,
        holidays: frozenset[date] = frozenset(),
    ) -> None:
        """Learn from rows of this many seconds each; rows may come in any order.

        Coarsely measured rows are used only where too few fine ones are.
        """
        self._interval_s = interval_s
        self._timezone = timezone
        self._holidays = holidays
        known = _whole({row.start: row for row in rows})
        fine = {start: row for start, row in known.items() if row.resolution_s <= interval_s}
        is_fine = self._days(fine) >= FINE_DAYS_MIN or len(fine) == len(known)
        self._rows = dict(sorted((fine if is_fine else known).items()))
        coarsest_s = max((row.resolution_s for row in self._rows.values()), default=0)
        self._widening = sqrt(max(1.0, coarsest_s / interval_s))
        self._net = self._habits({start: row.net_wh for start, row in self._rows.items()})
        solar = {start: row.solar_wh for start, row in self._rows.items() if row.solar_wh is not None}
        self._solar = self._habits(solar)
        self._load = self._habits({start: self._rows[start].net_wh + wh for start, wh in solar.items()})

    @property
    def days(self) -> int:
        """How many days' worth of rows it rests on."""
        return self._days(self._rows)

    def forecast(
        self,
        starts: Iterable[int],
        at: int,
        *,
        confidence_percent: int = 80,
        solar: Mapping[int, int] | None = None,
        last: MeteredInterval | None = None,
    ) -> dict[int, Forecast]:
        """Return what to expect of the intervals that begin at ``starts``; what nothing is known of is left out.

        ``solar`` is the expected generation (Wh per interval); with intervals of the past in it, it is also judged by
        what was measured then. ``last`` is the newest measured interval where the rows do not hold it yet, of the same
        meter as they are.
        """
        sun = _Sun(solar or {}, self._measured(solar or {}), confidence_percent / 100)
        last = self._newest(at, last)
        error = None if last is None else self._error(last, sun)
        found: dict[int, Forecast] = {}
        for start in starts:
            expected = self._expect(start, sun, error)
            if expected is None and _is_near(start, at, self._interval_s):
                expected = persistence(last, at, self._interval_s)
            if expected is not None:
                found[start] = expected
        return found

    def _expect(self, start: int, sun: _Sun, error: _Error | None) -> Forecast | None:
        """Return the forecast of one interval from its like, ``None`` where too little is known."""
        spread = self._spread(start, sun)
        if spread is None:
            return None
        steps = None if error is None else (start - error.start) // self._interval_s
        kept = 0.0 if error is None or steps is None or steps < 1 else error.correlation**steps
        shift = 0.0 if error is None else error.wh * kept
        width = sqrt(1 - kept * kept) * self._widening
        middle = spread.middle + shift
        net_wh = round(middle)
        high_wh, low_wh = ceil(middle + spread.above * width), -ceil(spread.below * width - middle)
        text = spread.text
        if round(shift):
            text += f", {abs(round(shift))} Wh {'more' if shift > 0 else 'less'} as in the last interval"
        return Forecast(net_wh, text, min(low_wh, net_wh), max(high_wh, net_wh))

    def _spread(self, start: int, sun: _Sun) -> _Spread | None:
        """Return the middle of an interval, and how far it may be from it, before anything recent counts."""
        if self.days < DAYS_MIN:
            return None
        slot, free = self._place(start)
        rises_wh = sun.expected.get(start)
        like = self._load.like(slot, free) if rises_wh is not None else None
        if rises_wh is None or like is None:
            like = self._net.like(slot, free)
            if like is None:
                return None
            middle, below, above = _quantiles(like, sun.confidence, self._net.wider(slot, free, sun.confidence))
            return _Spread(middle, below, above, f"the middle of {len(like)} like intervals of {self.days} days")
        middle, below, above = _quantiles(like, sun.confidence, self._load.wider(slot, free, sun.confidence))
        sunny, less, more = sun.of(rises_wh, self._solar.like(slot, free) or (0,))
        text = (
            f"the middle use of {len(like)} like intervals of {self.days} days less {round(sunny)} Wh of forecast sun"
        )
        return _Spread(middle - sunny, hypot(below, more), hypot(above, less), text)

    def _error(self, last: MeteredInterval, sun: _Sun) -> _Error | None:
        """Return how the newest interval differed from what it would have been expected to be."""
        start = interval_start(last.end - 1, self._interval_s)
        spread = self._spread(start, sun)
        if spread is None or (sun.expected and start not in sun.expected):
            return None  # without its sun the error would be the sun's
        habits = self._load if start in sun.expected else self._net
        wh = last.net_wh * self._interval_s / (last.end - last.start) - spread.middle
        return _Error(start, wh, habits.correlation)

    def _newest(self, at: int, last: MeteredInterval | None) -> MeteredInterval | None:
        """Return the newest measured interval, ``None`` when it is too old to tell."""
        start = next(reversed(self._rows), None)
        if start is not None and (last is None or last.end < start + self._interval_s):
            net_wh = self._rows[start].net_wh
            last = MeteredInterval(start, start + self._interval_s, max(0, net_wh), max(0, -net_wh))
        if last is None or at - last.end > STALE_AFTER_INTERVALS * self._interval_s:
            return None
        return last

    def _measured(self, solar: Mapping[int, int]) -> list[float]:
        """Return what was measured by what was forecast, of the intervals of which both are known, in order."""
        least_wh = max(solar.values(), default=0) * SUN_TOLD_PERCENT // 100
        rows = ((self._rows.get(start), wh) for start, wh in solar.items() if wh > least_wh)
        return sorted(row.solar_wh / wh for row, wh in rows if row is not None and row.solar_wh is not None)

    def _habits(self, values: Mapping[int, int]) -> _Habits:
        return _Habits([(start, *self._place(start), value) for start, value in values.items()], self._interval_s)

    def _place(self, start: int) -> tuple[int, bool]:
        """Return an interval's place in the local day, and whether the day is a weekend or holiday."""
        local = datetime.fromtimestamp(start, self._timezone)
        slot = (local.hour * 3600 + local.minute * 60) // self._interval_s
        return slot, local.weekday() >= SATURDAY or local.date() in self._holidays

    def _days(self, rows: Mapping[int, HistoryRow]) -> int:
        return len(rows) * self._interval_s // DAY_S


@dataclass(frozen=True, slots=True)
class _Spread:
    """The middle of an interval in Wh and the distances below and above it that it keeps within."""

    middle: float
    below: float
    above: float
    text: str


@dataclass(frozen=True, slots=True)
class _Error:
    """By how much the interval at ``start`` was off, and how much of that stays from one interval to the next."""

    start: int
    wh: float
    correlation: float


@dataclass(frozen=True, slots=True)
class _Sun:
    """The solar forecast, and the sorted shares of it that were measured where both are known."""

    expected: Mapping[int, int]
    shares: Sequence[float]
    confidence: float

    def of(self, expected_wh: int, like: Sequence[int]) -> tuple[float, float, float]:
        """Return the generation to count on, and how much less and more it may be, in Wh.

        A forecast that cannot be judged yet is as uncertain as the sun was in ``like`` intervals.
        """
        if len(self.shares) >= SHARES_MIN:
            middle, below, above = _quantiles(self.shares, self.confidence)
            return expected_wh * middle, expected_wh * below, expected_wh * above
        middle, below, above = _quantiles(like, self.confidence)
        if middle <= 0:
            return expected_wh, expected_wh, max(0.0, above - expected_wh)
        return expected_wh, expected_wh * min(1.0, below / middle), expected_wh * above / middle


class _Habits:
    """What was measured at each time of the day, on working days and on free ones."""

    def __init__(self, values: Iterable[tuple[int, int, bool, int]], interval_s: int) -> None:
        """Sort in values as ``(start, slot, is_free, Wh)``, ascending by start."""
        rows = list(values)
        self._slots = DAY_S // interval_s
        self._by_slot: dict[tuple[int, bool], list[int]] = defaultdict(list)
        for _start, slot, free, value in rows:
            insort(self._by_slot[slot, free], value)
        self._widths = sorted({minutes * 60 // interval_s for minutes in WIDTHS_MIN})
        self._like: dict[tuple[int, bool], Sequence[int] | None] = {}
        self._wider: dict[tuple[int, bool, float], Sequence[Sequence[int]]] = {}
        self.correlation = self._persistence(rows, interval_s)

    def like(self, slot: int, free: bool) -> Sequence[int] | None:
        """Return what was measured at this time of such days, sorted; ``None`` when that is too little."""
        if (slot, free) not in self._like:
            self._like[slot, free] = self._gather(slot, free)
        return self._like[slot, free]

    def wider(self, slot: int, free: bool, confidence: float) -> Sequence[Sequence[int]]:
        """Return what was measured further around, sorted, each of more intervals, until they bear the confidence out.

        Nothing where ``like`` does by itself.
        """
        if _bear_out(LIKE_WANTED, confidence):
            return ()
        if (slot, free, confidence) not in self._wider:
            self._wider[slot, free, confidence] = self._gather_wider(slot, free, confidence)
        return self._wider[slot, free, confidence]

    def _gather_wider(self, slot: int, free: bool, confidence: float) -> Sequence[Sequence[int]]:
        found: list[Sequence[int]] = []
        for values in self._around(slot, free):
            if len(values) >= LIKE_WANTED:
                found.append(sorted(values))
            if _bear_out(len(values), confidence):
                break
        return found[1:]  # the first is ``like``

    def _gather(self, slot: int, free: bool) -> Sequence[int] | None:
        found: list[int] = []
        for found in self._around(slot, free):
            if len(found) >= LIKE_WANTED:
                break
        return sorted(found) if len(found) >= LIKE_MIN else None

    def _around(self, slot: int, free: bool) -> Iterator[list[int]]:
        """Yield what was measured at this time of such days, then further and further around."""
        for kinds in ((free,), (free, not free)):
            for width in self._widths:
                near = [(slot + step) % self._slots for step in range(-width, width + 1)]
                yield [value for kind in kinds for place in near for value in self._by_slot.get((place, kind), ())]

    def _persistence(self, rows: Sequence[tuple[int, int, bool, int]], interval_s: int) -> float:
        """Return how much of an interval's difference from its like is left in the next one (lag-1 correlation)."""
        off: dict[int, float] = {}
        for start, slot, free, value in rows:
            like = self.like(slot, free)
            if like is not None:
                off[start] = value - like[len(like) // 2]
        pairs = [(wh, off[start + interval_s]) for start, wh in off.items() if start + interval_s in off]
        power = sum(before * before for before, _ in pairs)
        common = sum(before * after for before, after in pairs)
        return min(max(common / power, 0.0), CORRELATION_MAX) if power else 0.0


def _bear_out(count: int, confidence: float) -> bool:
    """Tell whether so many values have one that the next is not beyond with this confidence."""
    return ceil((count + 1) * confidence) <= count


def _quantiles(
    values: Sequence[float], confidence: float, wider: Sequence[Sequence[float]] = ()
) -> tuple[float, float, float]:
    """Return the middle of sorted values, and how far below and above it they stay with this confidence.

    The distances are the greatest of theirs and those of ``wider`` sets, so they only grow with the confidence.
    """
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    below = above = 0.0
    for found in (values, *wider):
        count = len(found)
        place = min(count, ceil((count + 1) * confidence))
        below, above = max(below, middle - found[count - place]), max(above, found[place - 1] - middle)
    return middle, below, above


def _whole(rows: dict[int, HistoryRow]) -> dict[int, HistoryRow]:
    """Leave out what was measured when measuring began, which may be only part of what the home used."""
    first = min(rows, default=0)
    begun_s = rows[first].resolution_s if rows else 0
    return {start: row for start, row in rows.items() if start >= first + begun_s}


def _is_near(start: int, at: int, interval_s: int) -> bool:
    return start - at <= PERSISTENCE_INTERVALS * interval_s
