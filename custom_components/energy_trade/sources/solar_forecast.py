"""What the sun will give, as any integration with an ``energy`` platform forecasts it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.loader import async_get_loaded_integration
from homeassistant.util import dt as dt_util

from ..household.reason import Refusal
from ..household.resample import Segment, energies

ANSWER_S: Final = 30.0
PEAK_TIMES_MAX: Final = 2
"""A forecast beyond twice the plant's peak is in another unit, or another plant's."""
_ROW_S_MAX: Final = 3_600
_NO_ROWS = "tells nothing of the days ahead"


class SolarProblem(Refusal):
    """Why there is no solar forecast."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Plant:
    """A solar plant with a forecast: the config entry that tells it, and its peak in W (0: not known)."""

    forecast_entry: str
    peak_w: int = 0


async def async_solar_forecast(
    hass: HomeAssistant, plants: Sequence[Plant], interval_s: int
) -> dict[int, int] | SolarProblem:
    """Return what all plants together will make, in Wh by interval; only where each of them is known."""
    sums: dict[int, int] | None = None
    for plant in plants:
        told = await _told(hass, plant)
        segments = told if isinstance(told, SolarProblem) else segments_of(told, plant.peak_w)
        if isinstance(segments, SolarProblem):
            entry = hass.config_entries.async_get_entry(plant.forecast_entry)
            name = plant.forecast_entry if entry is None else entry.title
            return SolarProblem(segments.code, f"the solar forecast {name} {segments.message}")
        wh = energies(segments, interval_s)
        sums = wh if sums is None else {start: sums[start] + wh[start] for start in sums.keys() & wh.keys()}
    return sums or {}


def segments_of(wh_hours: Mapping[Any, Any], peak_w: int = 0) -> list[Segment] | SolarProblem:
    """Return the forecast without gaps: it speaks of whole local days, and what it leaves out of them is night.

    A row lasts until the next one, an hour at most.
    """
    rows: dict[int, float] = {}
    for key, value in wh_hours.items():
        moment = dt_util.parse_datetime(key) if isinstance(key, str) else key
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not isinstance(moment, datetime) or not number or value < 0:
            return SolarProblem("unusable", f"says {value!r} for {key!r}, which is no energy in a time")
        rows[int(dt_util.as_utc(moment).timestamp())] = value
    if not rows:
        return SolarProblem("no_rows", _NO_ROWS)
    starts = sorted(rows)
    steps = [min(after - before, _ROW_S_MAX) for before, after in pairwise(starts)]
    lasting = dict(zip(starts, [*steps, min(steps, default=_ROW_S_MAX)], strict=True))
    if peak_w and any(rows[start] > _most_wh(peak_w, lasting[start]) for start in starts):
        return SolarProblem("absurd", f"says more than {PEAK_TIMES_MAX} times what {peak_w} W can give")
    return _whole_days([(start, start + lasting[start], rows[start]) for start in starts])


def _most_wh(peak_w: int, seconds: int) -> float:
    """Return what a row may hold at most; short rows about sunrise are rounded, hence never less than of 15 minutes."""
    return PEAK_TIMES_MAX * peak_w * max(seconds, 900) / 3_600


def _whole_days(rows: list[Segment]) -> list[Segment]:
    """Fill what lies between the rows, from the first row's local midnight to the last row's next, with nothing."""
    zone = dt_util.get_default_time_zone()
    first = dt_util.start_of_local_day(datetime.fromtimestamp(rows[0][0], zone))
    last = dt_util.start_of_local_day(datetime.fromtimestamp(rows[-1][0], zone).date() + timedelta(days=1))
    edges = [int(first.timestamp()), *(edge for row in rows for edge in row[:2]), int(last.timestamp())]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return sorted(rows + [(start, end, 0.0) for start, end in gaps if end > start])


async def _told(hass: HomeAssistant, plant: Plant) -> Mapping[Any, Any] | SolarProblem:
    """Ask the entry's integration; it is somebody else's, and whatever it raises is its failure."""
    entry = hass.config_entries.async_get_entry(plant.forecast_entry)
    if entry is None:
        return SolarProblem("missing", "does not exist any more: choose another for the plant")
    if entry.state is not ConfigEntryState.LOADED:
        return SolarProblem("not_loaded", "is not running: see its own page")
    try:
        integration = async_get_loaded_integration(hass, entry.domain)
        platform = await integration.async_get_platform("energy")
        async with asyncio.timeout(ANSWER_S):
            told = await platform.async_get_solar_forecast(hass, entry.entry_id)
    except ImportError, AttributeError:
        return SolarProblem("no_platform", "comes from an integration that tells none")
    except TimeoutError:
        return SolarProblem("failed", f"gave no answer within {ANSWER_S:.0f} s")
    except (HomeAssistantError, LookupError, ValueError, TypeError) as error:
        return SolarProblem("failed", f"failed: {error!r}")
    hours = told.get("wh_hours") if isinstance(told, Mapping) else None
    return hours if isinstance(hours, Mapping) else SolarProblem("no_rows", _NO_ROWS)
