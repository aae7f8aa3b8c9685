"""SimBench's measured quarter-hour powers of one sunny summer day, and the sun's faster clock.

The figures are watts per installed kilowatt; ``data/NOTICE`` names their source and licence.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

QUARTERS_PER_DAY = 96
QUARTER_S = 900
MORNING_QUARTER = 40  # 10:00, when the plants already give half of their power


@dataclass(frozen=True, slots=True)
class Profile:
    """One day's power of a household, a plant or a charging station, relative to its size."""

    name: str
    per_kilowatt_w: tuple[int, ...]

    def power_w(self, quarter: int, installed_w: int) -> int:
        """Return the power in the quarter-hour (counted over days) of ``installed_w``."""
        return self.per_kilowatt_w[quarter % QUARTERS_PER_DAY] * installed_w // 1000


@dataclass(frozen=True, slots=True)
class Sun:
    """The simulated time of day: at ``started_at`` (UTC seconds) it is ten in the morning.

    ``speed`` 15 makes each minute show the powers of one quarter-hour. Only the sun runs faster:
    powers, registers and delivery intervals are those of real time.
    """

    started_at: int
    speed: int = 15

    def __post_init__(self) -> None:
        """Refuse a speed that would cut quarter-hours into fractions of a second."""
        if self.speed <= 0 or QUARTER_S % self.speed:
            raise ValueError(f"the sun's speed must divide {QUARTER_S}, {self.speed} does not")

    @property
    def quarter_s(self) -> int:
        """How many real seconds show one quarter-hour."""
        return QUARTER_S // self.speed

    def quarter(self, at: int) -> int:
        """Return the quarter-hour that the second ``at`` shows, counted from midnight."""
        return MORNING_QUARTER + (at - self.started_at) // self.quarter_s

    def quarter_end(self, at: int) -> int:
        """Return the second in which the next quarter-hour begins."""
        return at + self.quarter_s - (at - self.started_at) % self.quarter_s

    def time_of_day(self, at: int) -> str:
        """Return the simulated time of day, such as ``10:07``."""
        minutes = (MORNING_QUARTER * QUARTER_S + (at - self.started_at) * self.speed) // 60
        return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


@cache
def household_profiles() -> tuple[Profile, ...]:
    """Return the loads of twenty days of households."""
    return _read("household_load.csv")


@cache
def solar_profiles() -> tuple[Profile, ...]:
    """Return the generation of three solar plants on the same day."""
    return _read("solar_generation.csv")


@cache
def vehicle_profiles() -> tuple[Profile, ...]:
    """Return three days of a charging station at home."""
    return _read("vehicle_charging.csv")


def _read(name: str) -> tuple[Profile, ...]:
    text = files(__package__).joinpath("data", name).read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    return tuple(
        Profile(title, tuple(int(row[column]) for row in rows)) for column, title in enumerate(header) if column > 0
    )
