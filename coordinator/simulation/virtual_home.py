"""A home that exists only as numbers: its equipment, and a meter whose registers never run back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .profiles import Profile, Sun, household_profiles, solar_profiles, vehicle_profiles

SECONDS_PER_HOUR = 3600
VEHICLE_CHARGER_W = 3_700  # the size that SimBench's HLS_B_3.7 was made for
FUSE_W = 24_000  # three phases of 35 A
INVERTER_MARGIN_W = 1_000

# Sizes at which SimBench installs these profiles: 3.5 to 6 MWh a year.
_PEAK_W = {"H0-A": 5_000, "H0-B": 6_000, "H0-C": 5_000, "H0-G": 8_000, "H0-L": 7_000}
_SOLAR_PLACES = {1: 3_600, 4: 2_400, 7: 4_400, 10: 3_200, 13: 2_000, 16: 4_800, 18: 2_400}
_VEHICLE_PLACES = (2, 9, 15)
_STORAGE_PLACES = {5: (3_000, 6_000)}  # Wh and W of a neighbourhood battery


@dataclass(frozen=True, slots=True)
class Equipment:
    """What is behind one meter. ``solar_w``, ``vehicle_w`` and ``storage_w`` are 0 where there is none."""

    name: str
    load: Profile
    load_w: int
    solar: Profile
    solar_w: int
    vehicle: Profile
    vehicle_w: int
    sell_price_micro_per_kwh: int
    buy_price_micro_per_kwh: int
    storage_wh: int = 0
    storage_w: int = 0

    @property
    def import_limit_w(self) -> int:
        """The most that the connection takes from the grid."""
        return FUSE_W

    @property
    def export_limit_w(self) -> int:
        """The most that the inverter can give; the contract wants a limit for homes without one."""
        return self.solar_w + self.storage_w + INVERTER_MARGIN_W

    def power(self, quarter: int) -> tuple[int, int]:
        """Return what the home uses and what its plant gives in the quarter-hour, in W."""
        used_w = self.load.power_w(quarter, self.load_w)
        used_w += self.vehicle.power_w(quarter, self.vehicle_w)
        return used_w, self.solar.power_w(quarter, self.solar_w)


def equipment(index: int, *, supplier_micro_per_kwh: int, feed_in_micro_per_kwh: int) -> Equipment:
    """Return the home number ``index`` (from 0): always the same home for the same number.

    Of every twenty homes seven have solar plants, three charge a car and one is the neighbourhood's battery without
    a household; all have different days.
    Sellers ask for 10 to 45 % of the spread between the tariffs, buyers offer 55 to 90 %.
    """
    place, street = index % 20, index // 20
    load = household_profiles()[(index + street) % len(household_profiles())]
    spread = supplier_micro_per_kwh - feed_in_micro_per_kwh
    step = index * 7 % 36
    storage_wh, storage_w = _STORAGE_PLACES.get(place, (0, 0))
    return Equipment(
        name=f"{'Battery' if storage_w else 'Home'} {index + 1:02d}",
        load=load,
        load_w=0 if storage_w else _PEAK_W[load.name.partition("/")[0]],
        solar=solar_profiles()[index % len(solar_profiles())],
        solar_w=_SOLAR_PLACES.get(place, 0),
        vehicle=vehicle_profiles()[index % len(vehicle_profiles())],
        vehicle_w=VEHICLE_CHARGER_W if place in _VEHICLE_PLACES else 0,
        sell_price_micro_per_kwh=feed_in_micro_per_kwh + spread * (10 + step) // 100,
        buy_price_micro_per_kwh=supplier_micro_per_kwh - spread * (10 + step) // 100,
        storage_wh=storage_wh,
        storage_w=storage_w,
    )


@dataclass(frozen=True, slots=True)
class Registers:
    """Totals since the meter was made, in watt-seconds, true for the second ``at``.

    ``imported`` and ``exported`` are what the meter at the grid shows, ``used`` and ``generated``
    what happened behind it.
    """

    at: int
    imported_ws: int = 0
    exported_ws: int = 0
    used_ws: int = 0
    generated_ws: int = 0

    @property
    def consumption_wh(self) -> int:
        """The import register as the meter shows it."""
        return self.imported_ws // SECONDS_PER_HOUR

    @property
    def production_wh(self) -> int:
        """The export register as the meter shows it."""
        return self.exported_ws // SECONDS_PER_HOUR

    def advance(self, to: int, home: Equipment, sun: Sun, charging_w: int = 0) -> Registers:
        """Integrate the home's powers up to the second ``to``, quarter by quarter, exactly.

        A battery takes ``charging_w`` all the while, or gives it where it is negative.
        """
        now = self
        while now.at < to:
            until = min(to, sun.quarter_end(now.at))
            used_w, generated_w = home.power(sun.quarter(now.at))
            now = now.add(until, used_w + max(0, charging_w), generated_w + max(0, -charging_w))
        return now

    def add(self, until: int, used_w: int, generated_w: int) -> Registers:
        """Add constant powers up to the second ``until``."""
        seconds = until - self.at
        return Registers(
            at=until,
            imported_ws=self.imported_ws + max(0, used_w - generated_w) * seconds,
            exported_ws=self.exported_ws + max(0, generated_w - used_w) * seconds,
            used_ws=self.used_ws + used_w * seconds,
            generated_ws=self.generated_ws + generated_w * seconds,
        )

    def resumed(self, at: int) -> Registers:
        """Go on at a later second as after a power cut: nothing flowed in between."""
        return replace(self, at=max(at, self.at))

    def to_dict(self) -> dict[str, int]:
        """Return the registers as JSON values."""
        return {name: getattr(self, name) for name in Registers.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Registers:
        """Read the registers from JSON values."""
        return cls(**{name: int(data[name]) for name in Registers.__slots__})
