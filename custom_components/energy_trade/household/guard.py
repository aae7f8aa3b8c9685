"""The meter guard: what a home refuses to sign, and why.

Meters are read through many hands (firmware, gateway, template). A restart zero, a swapped unit or
a stuck value must never become energy that somebody pays for. A refusal costs nothing: registers
are absolute, so the next good reading carries the energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from ..protocol.units import ENERGY_WH_MAX
from .reason import Refusal
from .terms import SECONDS_PER_HOUR, HomeLimits

WH_PER_UNIT = {"Wh": 1, "kWh": 1_000, "MWh": 1_000_000, "GWh": 1_000_000_000}
COARSE_STEP_WH = 1_000
ROUNDING_WH = 1
CLOCK_OFFSET_S_MAX = 60
STALE_AFTER_S_MIN = 300
READINGS_APART_S = 5
"""The coordinator takes readings that are this far apart."""

TOLERANCE_PERCENT, TOLERANCE_S, TOLERANCE_WH = 5, 5, 100
"""Fuses trip late, meters report some seconds late, registers step by up to 100 Wh (0.1 kWh)."""


class GuardRefusal(Refusal):
    """A reading that was not signed."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Register:
    """One register as it was read: its value, and the finest step its text can show, in Wh."""

    value_wh: int
    step_wh: int = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """Both registers at an interval's boundary, and how far they can be believed.

    ``reported_at`` is when the meter was last heard, ``clock_offset_s`` how far this home's clock
    is ahead of the coordinator's.
    """

    at: int
    consumption: Register
    production: Register
    reported_at: int
    clock_offset_s: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The last boundary that was signed, in the meter's own registers."""

    at: int
    consumption: Register
    production: Register


def read_register(text: str, unit: str | None) -> Register | GuardRefusal:
    """Read a register from a state's text and unit, exactly (no binary fractions)."""
    factor = WH_PER_UNIT.get(unit or "")
    if factor is None:
        known = ", ".join(WH_PER_UNIT)
        return GuardRefusal("unit", f"the unit {unit!r} is not one of {known}: map an energy meter")
    try:
        number = Decimal(text.strip())
        value = number * factor
    except ArithmeticError:
        return GuardRefusal("not_a_number", f"the meter says {text[:40]!r}: waiting for a number")
    if not value.is_finite() or value < 0 or value > ENERGY_WH_MAX:
        return GuardRefusal("out_of_range", f"{text[:40]} {unit} is no meter register")
    decimals = min(int(number.as_tuple().exponent), 0)
    return Register(int(value), max(1, int(Decimal(factor).scaleb(decimals))))


def check(sample: Sample, last: Baseline | None, limits: HomeLimits, interval_s: int) -> GuardRefusal | None:
    """Return why the sample must not be signed, or ``None`` when it may."""
    return next(_findings(sample, last, limits, interval_s), None)


def held(register: Register, last: Register) -> Register:
    """Return the register, lifted to the last one where it fell by rounding only."""
    return Register(max(register.value_wh, last.value_wh), min(register.step_wh, last.step_wh))


def _findings(sample: Sample, last: Baseline | None, limits: HomeLimits, interval_s: int) -> Iterator[GuardRefusal]:
    yield from _time(sample, last, interval_s)
    if last is None:
        return
    pairs = (
        ("consumption", sample.consumption, last.consumption),
        ("production", sample.production, last.production),
    )
    for name, now, before in pairs:
        yield from _fall(name, now, before)
        yield from _coarse(name, now, before)
    yield from _physics(sample, last, limits)


def _time(sample: Sample, last: Baseline | None, interval_s: int) -> Iterator[GuardRefusal]:
    if abs(sample.clock_offset_s) > CLOCK_OFFSET_S_MAX:
        yield GuardRefusal(
            "clock",
            f"this home's clock is {sample.clock_offset_s} s off the coordinator's: set its clock",
        )
    if last is not None and sample.at < last.at + READINGS_APART_S:
        yield GuardRefusal("clock_back", "the last reading is ahead, or has just been taken: waiting until it is past")
    silence_s = sample.at - sample.reported_at
    if silence_s > max(interval_s, STALE_AFTER_S_MIN):
        yield GuardRefusal("stale", f"the meter was last heard {silence_s} s ago: check its connection")


def _fall(name: str, now: Register, before: Register) -> Iterator[GuardRefusal]:
    if now.value_wh == 0 < before.value_wh:
        yield GuardRefusal(
            "register_zero",
            f"the {name} register dropped to zero: waiting for it to come back; if the meter was"
            " replaced, confirm that",
        )
    elif now.value_wh < before.value_wh - ROUNDING_WH:
        fell_wh = before.value_wh - now.value_wh
        yield GuardRefusal(
            "register_fell",
            f"the {name} register fell by {fell_wh} Wh: waiting for it to come back; if the meter"
            " was replaced, confirm that",
        )


def _coarse(name: str, now: Register, before: Register) -> Iterator[GuardRefusal]:
    """A whole-kWh register shows nothing for hours and then one lump: of no use to a market."""
    step_wh = min(now.step_wh, before.step_wh)
    if step_wh >= COARSE_STEP_WH and now.value_wh != before.value_wh:
        yield GuardRefusal(
            "resolution",
            f"the {name} register counts in steps of {step_wh} Wh only: map a finer meter entity",
        )


def _physics(sample: Sample, last: Baseline, limits: HomeLimits) -> Iterator[GuardRefusal]:
    seconds = sample.at - last.at
    consumed_wh = sample.consumption.value_wh - last.consumption.value_wh
    produced_wh = sample.production.value_wh - last.production.value_wh
    most_in_wh = most_wh(limits.import_limit_w, seconds)
    most_out_wh = most_wh(limits.export_limit_w, seconds)
    for name, energy_wh, bound_wh, limit_w in (
        ("consumption", consumed_wh, most_in_wh, limits.import_limit_w),
        ("production", produced_wh, most_out_wh, limits.export_limit_w),
    ):
        if energy_wh > bound_wh:
            yield GuardRefusal(
                "beyond_limit",
                f"the {name} register rose by {energy_wh} Wh in {seconds} s, more than {limit_w} W can carry: "
                "check the meter's unit and the connection's limits",
            )
            return
    if consumed_wh * most_out_wh + produced_wh * most_in_wh > most_in_wh * most_out_wh:
        yield GuardRefusal(
            "both_directions",
            f"{consumed_wh} Wh in and {produced_wh} Wh out do not fit into {seconds} s of one connection: "
            "import and export may be mapped to the wrong entities",
        )


def most_wh(limit_w: int, seconds: int) -> int:
    """Return the most energy that ``limit_w`` lets through, with the coordinator's own tolerances."""
    exact = limit_w * (seconds + TOLERANCE_S) * (100 + TOLERANCE_PERCENT)
    return exact // (100 * SECONDS_PER_HOUR) + TOLERANCE_WH
