"""What the recorder keeps of the home's meters, as rows per market interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.statistics import StatisticsRow, statistics_during_period
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from sqlalchemy.exc import SQLAlchemyError

from ..household.history import HistoryRow
from ..household.reason import Refusal
from ..household.resample import at_moments, energies, filled
from ..household.terms import SECONDS_PER_HOUR
from ..meter import entity_of

FINE_S, COARSE_S = 300, SECONDS_PER_HOUR
"""The steps of the recorder's short-term (kept for days) and long-term statistics (kept for good)."""
ONE_WAY_EFFICIENCY: Final = 0.95
"""As ``household.outlook.BatteryState`` takes it."""
_OVER: Final = 1.1
"""Fuses trip late and registers step: a little more than the connection carries is believed."""
_PERIODS: Final[tuple[tuple[int, Literal["5minute", "hour"]], ...]] = ((FINE_S, "5minute"), (COARSE_S, "hour"))

type _Rows = Mapping[str, list[StatisticsRow]]


class HistoryProblem(Refusal):
    """Why the recorder has nothing to tell."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class HistoryMeters:
    """References of what is asked for: registers of energy, and batteries as (state of charge, capacity in Wh).

    What the connection cannot carry (W, ``None``: not known) is a fault of the record and left out.
    """

    import_meter: str
    export_meter: str | None
    solar: Sequence[str] = ()
    batteries: Sequence[tuple[str, int]] = ()
    import_max_w: int | None = None
    export_max_w: int | None = None


@dataclass(frozen=True, slots=True)
class _Ids:
    """The same as ids of statistics."""

    consumption: str
    production: str | None
    solar: tuple[str, ...]
    batteries: tuple[tuple[str, int], ...]

    @property
    def registers(self) -> tuple[str, ...]:
        """All that count energy."""
        return (self.consumption, *((self.production,) if self.production else ()), *self.solar)


async def async_history(
    hass: HomeAssistant, meters: HistoryMeters, interval_s: int, start: int, end: int
) -> tuple[HistoryRow, ...] | HistoryProblem:
    """Return a row for each whole market interval from ``start`` to before ``end`` (UTC seconds), oldest first.

    Statistics of five minutes are taken where they are kept, hourly ones before. An interval of which a
    register has nothing is left out.
    """
    ids = _ids(hass, meters)
    if isinstance(ids, HistoryProblem):
        return ids
    if "recorder" not in hass.config.components:
        return HistoryProblem("no_recorder", "the recorder does not run here: there is no history")
    try:
        job = partial(_read_rows, hass, ids, meters, interval_s, start, end)
        return await get_instance(hass).async_add_executor_job(job)
    except SQLAlchemyError as error:
        return HistoryProblem("failed", f"the recorder's database failed: {error}")


def _ids(hass: HomeAssistant, meters: HistoryMeters) -> _Ids | HistoryProblem:
    wanted = [meters.import_meter, meters.export_meter, *meters.solar, *(soc for soc, _wh in meters.batteries)]
    known = {reference: entity_of(hass, reference) for reference in wanted if reference is not None}
    gone = [reference for reference, entity_id in known.items() if entity_id is None]
    if gone:
        return HistoryProblem("missing", f"{', '.join(gone)} does not exist (any more)")
    ids = {reference: entity_id for reference, entity_id in known.items() if entity_id is not None}
    return _Ids(
        ids[meters.import_meter],
        None if meters.export_meter is None else ids[meters.export_meter],
        tuple(ids[reference] for reference in meters.solar),
        tuple((ids[reference], capacity_wh) for reference, capacity_wh in meters.batteries),
    )


def _read_rows(
    hass: HomeAssistant, ids: _Ids, meters: HistoryMeters, interval_s: int, start: int, end: int
) -> tuple[HistoryRow, ...] | HistoryProblem:
    """Read both kinds of statistics and make rows of them; runs in the recorder's own threads."""
    told = _read(hass, ids, start, end)
    without = [name for name in ids.registers if not any(name in rows for rows in told.values())]
    if without:
        return HistoryProblem("no_statistics", f"the recorder keeps no statistics of {', '.join(without)}")
    return tuple(row for row in _rows(told, ids, meters, interval_s) if start <= row.start <= end - interval_s)


def _read(hass: HomeAssistant, ids: _Ids, start: int, end: int) -> dict[int, _Rows]:
    registers = set(ids.registers)
    charges = {name for name, _capacity_wh in ids.batteries}
    since, until = dt_util.utc_from_timestamp(start), dt_util.utc_from_timestamp(end)
    units = {"energy": "Wh"}
    return {
        step_s: statistics_during_period(hass, since, until, registers, period, units, {"change", "sum"})
        | (statistics_during_period(hass, since, until, charges, period, None, {"mean"}) if charges else {})
        for step_s, period in _PERIODS
    }


def _rows(told: Mapping[int, _Rows], ids: _Ids, meters: HistoryMeters, interval_s: int) -> Iterable[HistoryRow]:
    taken = _register(told, ids.consumption, meters.import_max_w, interval_s)
    given = None if ids.production is None else _register(told, ids.production, meters.export_max_w, interval_s)
    suns = [_register(told, name, None, interval_s) for name in ids.solar]
    stored = [_stored(told, name, capacity_wh, interval_s) for name, capacity_wh in ids.batteries]
    fine_from = min((row["start"] for row in told[FINE_S].get(ids.consumption, ())), default=math.inf)
    needed = [register for register in (given, *suns) if register is not None]
    for at in sorted(taken):
        if not all(at in register for register in needed):
            continue
        net = taken[at] - (0 if given is None else given[at])
        solar = sum(wh[at] for wh in suns) if suns else None
        battery = round(sum(wh[at] for wh in stored)) if stored and all(at in wh for wh in stored) else None
        yield HistoryRow(at, net, solar, FINE_S if at >= fine_from else COARSE_S, battery)


def _register(told: Mapping[int, _Rows], name: str, max_w: int | None, interval_s: int) -> dict[int, int]:
    """Return a register's energy by interval; a step back or beyond the connection is no energy.

    Nor is a statistic's first row: it holds all that was counted before it, or began within its time.
    """
    changes: dict[int, dict[int, float | None]] = {}
    for step_s, rows in told.items():
        most = math.inf if max_w is None else max_w * _OVER * step_s / SECONDS_PER_HOUR
        found = {int(row["start"]): row.get("change") for row in rows.get(name, ())}
        found |= {int(row["start"]): None for row in rows.get(name, ())[:1] if row.get("change") == row.get("sum")}
        changes[step_s] = {at: wh if wh is not None and 0 <= wh <= most else None for at, wh in found.items()}
    return energies(filled(changes[FINE_S], changes[COARSE_S], FINE_S, COARSE_S), interval_s)


def _stored(told: Mapping[int, _Rows], name: str, capacity_wh: int, interval_s: int) -> dict[int, float]:
    """Return what a battery took (positive) or gave at its terminals by interval, from its state of charge."""
    found: dict[int, float] = {}
    for step_s in (COARSE_S, FINE_S):
        means = {int(row["start"]): row.get("mean") for row in told[step_s].get(name, ())}
        points = [(at + step_s // 2, mean) for at, mean in means.items() if mean is not None and 0 <= mean <= 100]
        if not points:
            continue
        first, last = min(points)[0], max(points)[0]
        moments = range(-(-first // interval_s) * interval_s, last + 1, interval_s)
        levels = at_moments(points, moments, 2 * step_s)
        for at in moments:
            if at in levels and at + interval_s in levels:
                wh = (levels[at + interval_s] - levels[at]) / 100 * capacity_wh
                found[at] = wh / ONE_WAY_EFFICIENCY if wh > 0 else wh * ONE_WAY_EFFICIENCY
    return found
