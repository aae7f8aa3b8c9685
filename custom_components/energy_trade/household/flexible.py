"""What a home offers to the grid, and how far each device may be moved: hard limits, without clock or network.

Powers are W, energies Wh, times UTC seconds, minutes those of the local day. A battery's set-point is positive when it
discharges and negative when it charges, as in Home Assistant's Energy dashboard. Targets are in the unit of the
device's own entity: ``Seen.scale`` of it make one W (battery) or one percent (inverter); a switch is 1 (on) or 0 (off).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum

from .outlook import EventKind

ON, OFF = 1.0, 0.0
MINUTE_S = 60
DAY_MINUTES = 1_440
SECONDS_PER_HOUR = 3_600
LEAST_W = 50
"""A battery is not moved for less."""
DISCHARGE_PERCENT = 90
"""Of what leaves a battery's cells, this much at least reaches the home: the reserve is kept after losses."""
EV_MARGIN_PERCENT = 110
"""Time kept free for a car's energy: cars charge slower when they are nearly full."""


class What(StrEnum):
    """What is done with a device, as long as the action lasts."""

    SWITCH_OFF = "switch_off"
    SWITCH_ON = "switch_on"
    DISCHARGE = "discharge"
    CHARGE = "charge"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the local day in which a device may be used, to before ``to_minute``; it may run over midnight."""

    from_minute: int
    to_minute: int

    def holds(self, local: datetime) -> bool:
        """Tell whether the local time is within; a window without length is the whole day."""
        minute = local.hour * 60 + local.minute
        if self.from_minute == self.to_minute % DAY_MINUTES:
            return True
        if self.from_minute < self.to_minute:
            return self.from_minute <= minute < self.to_minute
        return minute >= self.from_minute or minute < self.to_minute


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery with a set-point; below the reserve it is never discharged."""

    key: str
    name: str
    entity: str
    capacity_wh: int
    charge_max_w: int
    discharge_max_w: int
    reserve_percent: int
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """A switch that may be off for ``off_max_s`` in a row, then rests for ``on_min_s`` and as long as it was off."""

    key: str
    name: str
    entity: str
    power_w: int
    off_max_s: int
    on_min_s: int
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Ev:
    """A car's charger; whatever happens, ``energy_wh`` can still be charged before ``ready_by_minute``."""

    key: str
    name: str
    entity: str
    power_w: int
    energy_wh: int
    ready_by_minute: int
    window: Window | None = None

    @property
    def charging_s(self) -> int:
        """How long the whole energy takes, with margin."""
        seconds = -(-self.energy_wh * SECONDS_PER_HOUR // self.power_w)
        return -(-seconds * EV_MARGIN_PERCENT // 100)


@dataclass(frozen=True, slots=True)
class Inverter:
    """An inverter whose output can be limited, never below ``least_percent`` of its rating."""

    key: str
    name: str
    entity: str
    rated_w: int
    least_percent: int
    window: Window | None = None


type Device = Battery | Load | Ev | Inverter


@dataclass(frozen=True, slots=True)
class Seen:
    """A device as its entities show it; ``value`` is ``None`` while it cannot be seen, and ``problem`` says why.

    ``least``, ``most``, ``step`` are what the set-point's entity takes, in its own unit; ``changed_at`` is when the
    value came about; ``gone``: there is no such entity any more.
    """

    value: float | None
    problem: str = ""
    changed_at: int = 0
    scale: float = 1.0
    least: float = 0.0
    most: float = 1.0
    step: float = 1.0
    soc_percent: float | None = None
    connected: bool | None = None
    gone: bool = False

    def near(self, target: float) -> bool:
        """Tell whether the entity shows this value, as exactly as it can."""
        return self.value is not None and abs(self.value - target) <= self.step * 0.51


@dataclass(frozen=True, slots=True)
class Room:
    """How much more the home's connection can carry, in W: ``take`` from the grid, ``give`` to it."""

    take_w: int
    give_w: int


@dataclass(frozen=True, slots=True)
class Want:
    """What to do with a device until when; ``power_w`` is what that adds to the connection (taken +, given -).

    Once begun it lasts at least ``kept_s`` and at most ``longest_s``; afterwards the device rests ``rest_s`` or longer.
    """

    what: What
    target: float
    until: int
    power_w: int = 0
    kept_s: int = 0
    longest_s: int | None = None
    rest_s: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is decided, and for how long at most: nothing outlives ``until`` without a new decision."""

    at: int
    until: int
    timezone: tzinfo

    def local(self, at: int) -> datetime:
        """Return a moment on the home's own clock."""
        return datetime.fromtimestamp(at, self.timezone)

    def within(self, window: Window | None) -> int:
        """Return until when (at most ``until``) the window lasts without a break; ``at`` when it is closed."""
        if window is None:
            return self.until
        if not window.holds(self.local(self.at)):
            return self.at
        minute = self.at - self.at % MINUTE_S + MINUTE_S
        while minute < self.until and window.holds(self.local(minute)):
            minute += MINUTE_S
        return min(minute, self.until)

    def next_local(self, minute: int) -> int:
        """Return the next time that the local clock shows this minute of the day."""
        today = self.local(self.at).date()
        wanted = time(minute // 60 % 24, minute % 60, tzinfo=self.timezone)
        days = (today, today + timedelta(days=1), today + timedelta(days=2))
        moments = (datetime.combine(day, wanted.replace(fold=fold)) for day in days for fold in (0, 1))
        return min(at for moment in moments if (at := int(moment.timestamp())) > self.at)


def possible(device: Device, seen: Seen, kind: EventKind, moment: Moment, *, full: bool) -> Want | None:
    """Return what this device could do now for the grid, within its own limits, or ``None``."""
    if seen.value is None:
        return None
    until = moment.within(device.window)
    if until <= moment.at:
        return None
    match device:
        case Battery():
            return _battery(device, seen, kind, moment.at, until, full=full)
        case Load():
            return _load(device, seen, kind, moment, until)
        case Ev():
            return _ev(device, seen, kind, moment, until)
        case Inverter():
            return _inverter(device, seen, until) if full and kind is EventKind.INCREASE else None


def energy_above_reserve_wh(battery: Battery, soc_percent: float) -> int:
    """Return the energy that may leave the battery, rounded down, never below zero."""
    return max(0, math.floor(battery.capacity_wh * (soc_percent - battery.reserve_percent) / 100))


def _battery(device: Battery, seen: Seen, kind: EventKind, at: int, until: int, *, full: bool) -> Want | None:
    """Move so little that the energy above the reserve (below full) lasts until ``until`` if nobody decides again."""
    if seen.soc_percent is None:
        return None
    part = 1 if full else 2
    if kind is EventKind.REDUCE:
        spare_wh = energy_above_reserve_wh(device, seen.soc_percent) * DISCHARGE_PERCENT // 100
        power_w = min(device.discharge_max_w // part, spare_wh * SECONDS_PER_HOUR // (until - at))
        return set_point(seen, What.DISCHARGE, power_w, until)
    empty_wh = math.floor(device.capacity_wh * (100 - seen.soc_percent) / 100)
    power_w = min(device.charge_max_w // part, empty_wh * SECONDS_PER_HOUR // (until - at))
    return set_point(seen, What.CHARGE, power_w, until)


def set_point(seen: Seen, what: What, power_w: int, until: int) -> Want | None:
    """Return a battery's set-point, rounded towards standing still; ``None`` when that is too little to matter."""
    sign = 1 if what is What.DISCHARGE else -1
    bound = seen.most if sign > 0 else -seen.least
    steps = math.floor(min(power_w * seen.scale, bound) / seen.step + 1e-9)
    moved_w = int(steps * seen.step / seen.scale + 1e-6)
    if moved_w < LEAST_W:
        return None
    return Want(what, sign * steps * seen.step, until, -sign * moved_w)


def _load(device: Load, seen: Seen, kind: EventKind, moment: Moment, until: int) -> Want | None:
    """Switch off what has run long enough; switch on only what can run long enough before the window closes."""
    if kind is EventKind.REDUCE:
        rested = seen.value == OFF or moment.at - seen.changed_at >= device.on_min_s
        if not rested or not device.off_max_s:
            return None
        return Want(What.SWITCH_OFF, OFF, until, longest_s=device.off_max_s, rest_s=device.on_min_s)
    kept_until = moment.at + device.on_min_s
    if replace(moment, until=kept_until).within(device.window) < kept_until:
        return None
    return Want(What.SWITCH_ON, ON, until, device.power_w, kept_s=device.on_min_s)


def _ev(device: Ev, seen: Seen, kind: EventKind, moment: Moment, until: int) -> Want | None:
    if seen.connected is False:
        return None
    if kind is EventKind.INCREASE:
        return Want(What.SWITCH_ON, ON, until, device.power_w)
    until = min(until, moment.next_local(device.ready_by_minute) - device.charging_s)
    return Want(What.SWITCH_OFF, OFF, until) if until > moment.at else None


def _inverter(device: Inverter, seen: Seen, until: int) -> Want | None:
    target = math.ceil(device.least_percent * seen.scale / seen.step - 1e-9) * seen.step
    target = max(target, seen.least)
    return Want(What.LIMIT, target, until) if target <= seen.most else None
