"""What the meter will probably see: habits from the recorder, the sun from its forecasts, behind the battery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, tzinfo
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util

from ..const import (
    CONF_ENERGY_ENTITY,
    CONF_EXPORT_LIMIT,
    CONF_EXPORT_METER,
    CONF_FORECAST_ENTRIES,
    CONF_IMPORT_LIMIT,
    CONF_IMPORT_METER,
    CONF_PEAK,
    SOLAR,
)
from ..home import Home
from ..household.battery import behind
from ..household.forecast import Forecast, Forecaster, MeteredInterval
from ..household.history import HistoryRow
from ..household.outlook import BatteryState
from ..household.reason import Refusal
from ..protocol.units import interval_start
from .answers import Problems, Source
from .batteries import battery_meters
from .history import ONE_WAY_EFFICIENCY, HistoryMeters, async_history
from .solar_forecast import Plant, async_solar_forecast

HISTORY_DAYS: Final = 28
HISTORY_S, SUN_S = 21_600.0, 900.0
DAY_S: Final = 86_400
SUN_KEPT_S: Final = 7 * DAY_S
"""A forecast is judged by what was measured: of so many days it is kept what was told before they came."""
INTERVALS_MAX: Final = 200
"""How far a plan looks: a day, or fewer where intervals are short."""
_CHARGES_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What is learnt from, and by which clock."""

    meters: HistoryMeters
    interval_s: int
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class _Learnt:
    """Forecasters of the meter as it was, and of the home without its battery where that is known."""

    meter: Forecaster
    without_battery: Forecaster | None


class Forecasting:
    """Learns from the recorder now and then, and forecasts from memory."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        home: Home,
        holidays: Callable[[], frozenset[date]],
        problems: Problems,
    ) -> None:
        self._hass = hass
        self._entry = entry
        self._home = home
        self._holidays = holidays
        self._charges: dict[int, int] = {}
        self.history = Source("history", HISTORY_S, self._lesson, self._learn, problems)
        self.sun = Source("solar", SUN_S, self._plants, self._ask_sun, problems)

    def forecasts(self, at: int, battery: BatteryState | None) -> Mapping[int, Forecast]:
        """Return a day of forecasts of the meter, from the interval that holds ``at`` (market time)."""
        interval_s = self._home.agent.info.interval_s
        first = interval_start(at, interval_s)
        if battery is not None:
            self._remember_charge(first, battery.energy_wh)
        if (learnt := self.history.value) is None:
            return {}
        starts = range(first, first + min(DAY_S, INTERVALS_MAX * interval_s), interval_s)
        last, forecaster = self._home.agent.meter.last, learnt.meter
        simulated = battery if learnt.without_battery is not None else None
        if learnt.without_battery is not None and battery is not None:
            last, forecaster = self._without_battery(last), learnt.without_battery
        found = forecaster.forecast(
            starts, at, confidence_percent=self._home.agent.confidence_percent, solar=self.sun.value, last=last
        )
        return found if simulated is None else behind(found, simulated, interval_s, at)

    def _remember_charge(self, boundary: int, energy_wh: int) -> None:
        """Keep what the batteries held when an interval was first looked at: at its beginning, give or take."""
        self._charges.setdefault(boundary, energy_wh)
        for old in sorted(self._charges)[:-_CHARGES_KEPT]:
            del self._charges[old]

    def _without_battery(self, last: MeteredInterval | None) -> MeteredInterval | None:
        """Return the last metered interval without what the batteries took or gave, ``None`` when that is not known."""
        if last is None or last.start not in self._charges or last.end not in self._charges:
            return None
        stored_wh = self._charges[last.end] - self._charges[last.start]
        at_terminals = stored_wh / ONE_WAY_EFFICIENCY if stored_wh > 0 else stored_wh * ONE_WAY_EFFICIENCY
        net_wh = last.net_wh - round(at_terminals)
        return replace(last, consumption_wh=max(net_wh, 0), production_wh=max(-net_wh, 0))

    def _lesson(self) -> _Lesson:
        data, solar = self._entry.data, [plant for plant in self._solar() if plant.get(CONF_ENERGY_ENTITY)]
        meters = HistoryMeters(
            import_meter=data[CONF_IMPORT_METER],
            export_meter=data.get(CONF_EXPORT_METER),
            solar=tuple(plant[CONF_ENERGY_ENTITY] for plant in solar if plant.get(CONF_FORECAST_ENTRIES)),
            batteries=battery_meters(self._entry),
            import_max_w=data[CONF_IMPORT_LIMIT],
            export_max_w=data[CONF_EXPORT_LIMIT],
        )
        return _Lesson(meters, self._home.agent.info.interval_s, dt_util.get_default_time_zone())

    async def _learn(self, lesson: _Lesson) -> _Learnt | Refusal:
        now = self._home.market_time()
        rows = await async_history(self._hass, lesson.meters, lesson.interval_s, now - HISTORY_DAYS * DAY_S, now)
        if isinstance(rows, Refusal):
            return rows
        return await self._hass.async_add_executor_job(_learnt, rows, lesson, self._holidays())

    def _plants(self) -> tuple[Plant, ...] | None:
        """Return the plants whose part in the history is known too: only that can be exchanged for a forecast."""
        plants = tuple(
            Plant(forecast, plant.get(CONF_PEAK, 0))
            for plant in self._solar()
            if plant.get(CONF_ENERGY_ENTITY)
            for forecast in plant.get(CONF_FORECAST_ENTRIES, ())
        )
        return plants or None

    async def _ask_sun(self, plants: tuple[Plant, ...]) -> Mapping[int, int] | Refusal:
        """Return what is told of the time ahead, and what was told last of the past days before they came."""
        told = await async_solar_forecast(self._hass, plants, self._home.agent.info.interval_s)
        if isinstance(told, Refusal):
            return told
        now = self._home.market_time()
        earlier = self.sun.value or {}
        past = {start: wh for start, wh in earlier.items() if now - SUN_KEPT_S <= start <= now}
        return past | {start: wh for start, wh in told.items() if start > now}

    def _solar(self) -> list[Mapping[str, Any]]:
        return [subentry.data for subentry in self._entry.subentries.values() if subentry.subentry_type == SOLAR]


def _learnt(rows: tuple[HistoryRow, ...], lesson: _Lesson, holidays: frozenset[date]) -> _Learnt:
    """Make the forecasters; runs in an executor."""
    without = [bare for row in rows if (bare := row.without_battery()) is not None]
    return _Learnt(
        Forecaster(rows, lesson.interval_s, lesson.zone, holidays),
        Forecaster(without, lesson.interval_s, lesson.zone, holidays) if without else None,
    )
