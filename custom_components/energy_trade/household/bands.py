"""Bands of a time-of-use plan: hours of the local day, on weekdays, in months, on holidays or not.

Stored as ``settings.FieldKind.BANDS`` tells. A minute belongs to the calendar day that it lies on: of a band from
22:00 to 06:00 on Fridays, Friday's first six hours and last two. ``holidays`` true: also on every holiday, false: on
none, missing: a holiday is the weekday that it falls on. The first band that holds the minute counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..protocol.units import PRICE_MICRO_PER_KWH_MAX
from .settings import SettingsInvalid

DAY_MINUTES = 24 * 60
BANDS_MAX = 48
CODES = ("bands_none", "bands_many", "band_malformed", "band_empty", "band_hidden", "bands_gap")
"""What may be wrong with bands, as ``SettingsInvalid.code``."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Band:
    """One band; ``days`` count from 0, Monday, ``months`` from 1; a price that is ``None``: no trade on that side."""

    from_minute: int
    to_minute: int
    days: frozenset[int]
    months: frozenset[int]
    holidays: bool | None
    sell_micro_per_kwh: int | None
    buy_micro_per_kwh: int | None

    def holds(self, minute: int, weekday: int, month: int, holiday: bool) -> bool:
        """Tell whether this minute of a local day lies in the band."""
        return month in self.months and self._holds_day(weekday, holiday) and self._holds_minute(minute)

    @property
    def text(self) -> str:
        """The band's hours for people: ``17:00 to 21:00``."""
        return f"{_clock(self.from_minute)} to {_clock(self.to_minute)}"

    def _holds_day(self, weekday: int, holiday: bool) -> bool:
        if holiday and self.holidays is not None:
            return self.holidays
        return weekday in self.days

    def _holds_minute(self, minute: int) -> bool:
        if self.from_minute < self.to_minute:
            return self.from_minute <= minute < self.to_minute
        return minute >= self.from_minute or minute < self.to_minute


def band_at(bands: Sequence[Band], minute: int, weekday: int, month: int, holiday: bool) -> Band | None:
    """Return the first band that holds this minute of a local day."""
    return next((band for band in bands if band.holds(minute, weekday, month, holiday)), None)


def read(field: str, stored: Any) -> tuple[Band, ...]:
    """Read stored bands; raise ``SettingsInvalid`` that names the band by its number."""
    if not isinstance(stored, list) or not stored:
        raise SettingsInvalid(field, "bands_none", "name at least one band")
    if len(stored) > BANDS_MAX:
        raise SettingsInvalid(field, "bands_many", f"name at most {BANDS_MAX} bands")
    return tuple(_read_band(field, number, entry) for number, entry in enumerate(stored, 1))


def refuse_hidden(field: str, bands: Sequence[Band]) -> None:
    """Refuse a band that never counts, for others before it hold all of its time."""
    reached = {band_at(bands, *moment) for moment in _moments(bands)}
    for number, band in enumerate(bands, 1):
        if band not in reached or band in bands[: number - 1]:
            text = f"band {number} ({band.text}) never counts: bands before it hold all of its time"
            raise SettingsInvalid(field, "band_hidden", text)


def refuse_gaps(field: str, bands: Sequence[Band]) -> None:
    """Refuse bands that leave a minute of the year without one."""
    for minute, weekday, month, holiday in _moments(bands):
        if band_at(bands, minute, weekday, month, holiday) is None:
            day = f"a holiday that is a {_DAYS[weekday]}" if holiday else _DAYS[weekday]
            text = f"no band holds {day}, {_clock(minute)}, in {_MONTHS[month - 1]}"
            raise SettingsInvalid(field, "bands_gap", text)


def _moments(bands: Sequence[Band]) -> Iterator[tuple[int, int, int, bool]]:
    """Yield a moment of each kind that bands can tell apart: only where one begins or ends anything changes."""
    edges = {band.from_minute for band in bands} | {band.to_minute % DAY_MINUTES for band in bands}
    yield from (
        (m, d, month, h) for h, month, d, m in product((False, True), range(1, 13), range(7), sorted({0} | edges))
    )


def _read_band(field: str, number: int, entry: Any) -> Band:
    try:
        band = Band(
            from_minute=_number(entry["from"], 0, DAY_MINUTES - 1),
            to_minute=_number(entry["to"], 0, DAY_MINUTES),
            days=_numbers(entry.get("days"), 0, 6),
            months=_numbers(entry.get("months"), 1, 12),
            holidays=_flag(entry.get("holidays")),
            sell_micro_per_kwh=_price(entry.get("sell")),
            buy_micro_per_kwh=_price(entry.get("buy")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SettingsInvalid(field, "band_malformed", f"band {number} cannot be read: {error}") from error
    if band.from_minute == band.to_minute:
        raise SettingsInvalid(field, "band_empty", f"band {number} ends when it begins: the whole day is 0 to 1440")
    if not band.months or not (band.days or band.holidays):
        raise SettingsInvalid(field, "band_empty", f"band {number} has no day or no month")
    return band


def _number(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is no whole number from {least} to {most}")
    return value


def _numbers(values: Any, least: int, most: int) -> frozenset[int]:
    """Read a list of numbers; a missing one means all of them."""
    if values is None:
        return frozenset(range(least, most + 1))
    return frozenset(_number(value, least, most) for value in values)


def _flag(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _price(value: Any) -> int | None:
    return None if value is None else _number(value, -PRICE_MICRO_PER_KWH_MAX, PRICE_MICRO_PER_KWH_MAX)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
