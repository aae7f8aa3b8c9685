"""The street of the simulated week: weather, homes with measured profiles, one battery, a price source, grid events.

All of it follows from a seed and is the same for every policy: only what the home trades differs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise

from ..household.battery import behind
from ..household.forecast import Forecast, Forecaster, MeteredInterval
from ..household.history import HistoryRow
from ..household.outlook import BatteryState, EventKind, GridEvent, GridState, Outlook
from .profiles import QUARTER_S, QUARTERS_PER_DAY, Profile, household_profiles, solar_profiles
from .virtual_home import SECONDS_PER_HOUR, Equipment, equipment

MONDAY = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp())
PAST_DAYS = 28
DAY_S = 86_400
AHEAD = 4
CONFIDENCE_PERCENT = 80

SUPPLIER_MICRO = 320_000
FEED_IN_MICRO = 80_000

HOME_LOAD = ("H0-B", 8_000)
HOME_SOLAR_W = 8_000
HOME_LIMITS_W = (24_000, 10_000)
STORAGE = BatteryState(5_000, 2_500, 2_500, 2_500, reserve_wh=1_000, efficiency_percent=95)
NEIGHBOURS = (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
"""Numbers of ``virtual_home.equipment``: four with solar plants, two with a car."""
TURBINE_W = 1_500
"""A small water turbine that gives the same power day and night."""

_REDUCE_DAYS, _INCREASE_DAYS, _EMERGENCY_DAY = (1, 4), (2, 5), 4
_NIGHT, _NOON, _EVENING = 220_000, 160_000, 380_000


@dataclass(frozen=True, slots=True)
class Series:
    """One home's energies in Wh by quarter-hour, from ``PAST_DAYS`` before the week on."""

    name: str
    used_wh: tuple[int, ...]
    solar_wh: tuple[int, ...]
    sell_micro_per_kwh: int
    buy_micro_per_kwh: int

    def net_wh(self, quarter: int) -> int:
        """Return what is missing (or, negative, left over) in the quarter-hour counted from the week's beginning."""
        place = quarter + PAST_DAYS * QUARTERS_PER_DAY
        return self.used_wh[place] - self.solar_wh[place]


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meter sees of the home behind its battery in a quarter-hour, and what is stored before it."""

    consumption_wh: int
    production_wh: int
    stored_wh: int


class Street:
    """A week of one home and its neighbours, and what the home knows of it beforehand."""

    def __init__(self, seed: int = 1, days: int = 7, confidence_percent: int = CONFIDENCE_PERCENT) -> None:
        """Draw the weather and everybody's days; ``confidence_percent`` is that of the home's forecasts."""
        self.days = days
        self._confidence_percent = confidence_percent
        self.quarters = days * QUARTERS_PER_DAY
        chance = random.Random(seed)
        weather = [chance.uniform(0.25, 1.0) for _ in range(PAST_DAYS + days)]
        clouds = _clouds(chance, len(weather) * QUARTERS_PER_DAY)
        self.home = _home(chance, weather, clouds)
        self.neighbours = [_neighbour(chance, number, weather, clouds) for number in NEIGHBOURS]
        self.neighbours.append(_turbine(len(weather) * QUARTERS_PER_DAY))
        self._expected_solar = self._told_solar(chance, weather)
        self._levels = [chance.uniform(0.85, 1.15) for _ in range(days + 1)]

    @cached_property
    def metered(self) -> tuple[Metered, ...]:
        """The home's meter through the week: the battery stores its own surplus and gives it back."""
        stored, efficiency = float(STORAGE.energy_wh), STORAGE.efficiency_percent / 100
        found = []
        for quarter in range(self.quarters):
            before, net_wh = stored, self.home.net_wh(quarter)
            if net_wh < 0:
                taken = min(-net_wh, (STORAGE.capacity_wh - stored) / efficiency, _wh(STORAGE.charge_max_w))
                stored += int(taken) * efficiency
                net_wh += int(taken)
            else:
                kept = max(0.0, stored - STORAGE.reserve_wh) * efficiency
                given = int(min(net_wh, kept, _wh(STORAGE.discharge_max_w)))
                stored -= given / efficiency
                net_wh -= given
            found.append(Metered(max(0, net_wh), max(0, -net_wh), int(before)))
        return tuple(found)

    @cached_property
    def outlooks(self) -> tuple[Outlook, ...]:
        """What the home knows at the beginning of each quarter-hour, by the integration's own forecaster."""
        found: list[Outlook] = []
        for day in range(self.days):
            first = day * QUARTERS_PER_DAY
            forecaster = Forecaster(self._past(first), QUARTER_S)
            found += [self._outlook(forecaster, quarter) for quarter in range(first, first + QUARTERS_PER_DAY)]
        return tuple(found)

    @cached_property
    def prices(self) -> dict[int, int]:
        """The price source by delivery start: cheap at noon, dear in the evening, another level every day."""
        return {
            MONDAY + quarter * QUARTER_S: int(
                _price(quarter % QUARTERS_PER_DAY) * self._levels[quarter // QUARTERS_PER_DAY]
            )
            for quarter in range(self.quarters + QUARTERS_PER_DAY)
        }

    @cached_property
    def events(self) -> tuple[GridEvent, ...]:
        """Two evenings with less, two noons with more; the operator announces them on Monday."""
        kinds = ((EventKind.REDUCE, _REDUCE_DAYS, 18), (EventKind.INCREASE, _INCREASE_DAYS, 12))
        return tuple(
            GridEvent(f"{kind}-{day}", kind, begin, begin + 2 * SECONDS_PER_HOUR, "the operator")
            for kind, event_days, hour in kinds
            for day in event_days
            for begin in [MONDAY + day * DAY_S + hour * SECONDS_PER_HOUR]
        )

    @cached_property
    def community_surplus(self) -> dict[int, int]:
        """What the operator expects the neighbours to have left over: as much as a day before."""
        return {
            MONDAY + quarter * QUARTER_S: -sum(home.net_wh(quarter - QUARTERS_PER_DAY) for home in self.neighbours)
            for quarter in range(self.quarters)
        }

    def grid_state(self, at: int) -> GridState:
        """Return the grid's state: strained while less is asked for, one half hour of it an emergency."""
        reduces = [event for event in self.events if event.kind is EventKind.REDUCE and event.covers(at)]
        if not reduces:
            return GridState.NORMAL
        begin = MONDAY + _EMERGENCY_DAY * DAY_S + 19 * SECONDS_PER_HOUR
        return GridState.EMERGENCY if begin <= at < begin + SECONDS_PER_HOUR // 2 else GridState.STRAINED

    def _outlook(self, forecaster: Forecaster, quarter: int) -> Outlook:
        at = MONDAY + quarter * QUARTER_S
        starts = range(at, at + (AHEAD + 2) * QUARTER_S, QUARTER_S)
        net_wh = self.home.net_wh(quarter - 1)
        last = MeteredInterval(at - QUARTER_S, at, max(0, net_wh), max(0, -net_wh))
        found: dict[int, Forecast] = forecaster.forecast(
            starts, at, confidence_percent=self._confidence_percent, solar=self._expected_solar, last=last
        )
        stored = self.metered[quarter].stored_wh
        battery = BatteryState(
            STORAGE.capacity_wh, stored, STORAGE.charge_max_w, STORAGE.discharge_max_w, STORAGE.reserve_wh
        )
        return Outlook(
            forecasts=behind(found, battery, QUARTER_S, at),
            prices=self.prices,
            grid_state=self.grid_state(at),
            events=self.events,
            battery=battery,
            community_surplus=self.community_surplus,
        )

    def _past(self, until: int) -> list[HistoryRow]:
        past = PAST_DAYS * QUARTERS_PER_DAY
        return [
            HistoryRow(MONDAY + quarter * QUARTER_S, self.home.net_wh(quarter), self.home.solar_wh[quarter + past])
            for quarter in range(until - past, until)
        ]

    def _told_solar(self, chance: random.Random, weather: list[float]) -> dict[int, int]:
        """Return a solar forecast that knows the day's weather but for an error, and no single cloud."""
        told = {}
        for day, factor in enumerate(weather):
            told_factor = min(1.0, max(0.1, factor * chance.gauss(1, 0.12)))
            for quarter in range(QUARTERS_PER_DAY):
                start = MONDAY + ((day - PAST_DAYS) * QUARTERS_PER_DAY + quarter) * QUARTER_S
                told[start] = int(_wh(solar_profiles()[0].power_w(quarter, HOME_SOLAR_W)) * told_factor)
        last = MONDAY + self.days * DAY_S
        return told | {last + quarter * QUARTER_S: 0 for quarter in range(AHEAD + 2)}


def _home(chance: random.Random, weather: list[float], clouds: list[float]) -> Series:
    kind, peak_w = HOME_LOAD
    days = [profile for profile in household_profiles() if profile.name.startswith(kind)]
    used = _used(chance, days, peak_w, len(weather))
    solar = _solar(solar_profiles()[0], HOME_SOLAR_W, weather, clouds)
    return Series("the home", used, solar, 0, 0)


def _neighbour(chance: random.Random, number: int, weather: list[float], clouds: list[float]) -> Series:
    home: Equipment = equipment(number, supplier_micro_per_kwh=SUPPLIER_MICRO, feed_in_micro_per_kwh=FEED_IN_MICRO)
    days = [profile for profile in household_profiles() if profile.name[:4] == home.load.name[:4]]
    used = _used(chance, days, home.load_w, len(weather))
    vehicle = [_wh(home.vehicle.power_w(quarter, home.vehicle_w)) for quarter in range(len(used))]
    return Series(
        home.name,
        tuple(a + b for a, b in zip(used, vehicle, strict=True)),
        _solar(home.solar, home.solar_w, weather, clouds),
        home.sell_price_micro_per_kwh,
        home.buy_price_micro_per_kwh,
    )


def _turbine(quarters: int) -> Series:
    ask = FEED_IN_MICRO + (SUPPLIER_MICRO - FEED_IN_MICRO) * 2 // 5
    return Series("Turbine", (0,) * quarters, (_wh(TURBINE_W),) * quarters, ask, 0)


def _used(chance: random.Random, days: list[Profile], peak_w: int, count: int) -> tuple[int, ...]:
    found = []
    for _ in range(count):
        profile = chance.choice(days)
        found += [
            int(_wh(profile.power_w(quarter, peak_w)) * chance.uniform(0.8, 1.2)) for quarter in range(QUARTERS_PER_DAY)
        ]
    return tuple(found)


def _solar(profile: Profile, installed_w: int, weather: list[float], clouds: list[float]) -> tuple[int, ...]:
    return tuple(
        int(_wh(profile.power_w(quarter, installed_w)) * min(1.1, weather[quarter // QUARTERS_PER_DAY] * cloud))
        for quarter, cloud in enumerate(clouds)
    )


def _clouds(chance: random.Random, quarters: int) -> list[float]:
    """Return factors around 1 that change slowly: what passes before the sun."""
    found, now = [], 0.0
    for _ in range(quarters):
        now = 0.8 * now + chance.gauss(0, 0.09)
        found.append(min(1.25, max(0.4, 1 + now)))
    return found


def _price(quarter: int) -> int:
    """Return a day's price at a quarter-hour, straight lines between night, noon and evening."""
    corners = [(0, _NIGHT), (24, _NIGHT), (48, _NOON), (60, _NOON), (76, _EVENING), (84, _EVENING), (96, _NIGHT)]
    for (left, low), (right, high) in pairwise(corners):
        if quarter < right:
            return low + (high - low) * (quarter - left) // (right - left)
    raise ValueError(f"a day has no quarter-hour {quarter}")


def _wh(power_w: int) -> int:
    return power_w * QUARTER_S // SECONDS_PER_HOUR
