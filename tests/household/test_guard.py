"""The meter guard against what meters really do, each case from a complaint of a real user.

Sources of the complaints: the issue threads named beside the cases.
"""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordinator.household.guard import (
    Baseline,
    GuardRefusal,
    Register,
    Sample,
    check,
    most_wh,
    read_register,
)
from coordinator.household.terms import HomeLimits
from coordinator.metering.verification import energy_limit_wh

from .world import INTERVAL_S, LIMITS, START

LAST = Baseline(START, Register(35_600_000), Register(1_000_000))


def sample(
    consumption_wh: int, production_wh: int = 1_000_000, seconds: int = INTERVAL_S, step_wh: int = 1, **changes: int
) -> Sample:
    at = START + seconds
    fields = {"reported_at": at, "clock_offset_s": 0} | changes
    return Sample(at, Register(consumption_wh, step_wh), Register(production_wh, step_wh), **fields)


def verdict(taken: Sample, last: Baseline | None = LAST, limits: HomeLimits = LIMITS) -> str | None:
    refusal = check(taken, last, limits, INTERVAL_S)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    ("taken", "code"),
    [
        # a counter that falls to 0 at a restart and comes back (wills106/homeassistant-solax-modbus#2252)
        pytest.param(sample(0), "register_zero", id="zero at restart"),
        # and is back a minute later: no fresh energy
        pytest.param(sample(35_600_000, seconds=120), None, id="back after the zero"),
        # a lifetime booked at once (Refoss/refoss_rpc#14)
        pytest.param(sample(71_200_000), "beyond_limit", id="lifetime at once"),
        # the unit changes from kWh to Wh in an update: a thousandfold
        pytest.param(sample(35_600_000_000), "beyond_limit", id="unit times a thousand"),
        pytest.param(sample(35_600), "register_fell", id="unit by a thousand"),
        # a register that counts whole kWh: nothing for hours, then a lump
        pytest.param(sample(35_601_000, seconds=3_600, step_wh=1_000), None, id="fine once, coarse now"),
        # a modem drops out and the last value stays (binsentsu/homeassistant-solaredge-modbus#374)
        pytest.param(sample(35_600_010, seconds=900, reported_at=START), "stale", id="not heard of"),
        pytest.param(sample(35_600_010, clock_offset_s=61), "clock", id="clock ahead"),
        pytest.param(sample(35_600_010, clock_offset_s=-90), "clock", id="clock behind"),
        pytest.param(sample(35_600_010, seconds=0), "clock_back", id="the hour twice"),
        pytest.param(sample(35_600_010, seconds=4), "clock_back", id="a moment later"),
        pytest.param(sample(35_600_010, seconds=-3_600), "clock_back", id="clock set back"),
        # import and export mapped the wrong way, or both gross: one connection carries only one at a time
        pytest.param(sample(35_600_390, 1_000_170), "both_directions", id="both at full"),
        pytest.param(sample(35_600_200, 1_000_060), None, id="cloud passes, half and half"),
        # a rounding that wobbles by one
        pytest.param(sample(35_599_999), None, id="rounding"),
        pytest.param(sample(35_599_990), "register_fell", id="more than rounding"),
        pytest.param(sample(35_600_000), None, id="nothing used"),
        pytest.param(sample(35_600_400), None, id="the fuse's full power"),
        pytest.param(sample(35_600_000 + 24_000 * 24 * 7, seconds=7 * 86_400), None, id="after a week away"),
    ],
)
def test_what_meters_do(taken: Sample, code: str | None) -> None:
    assert verdict(taken) == code


def test_whole_kilowatt_hours_are_refused_when_nothing_finer_was_ever_seen() -> None:
    last = Baseline(START, Register(35_600_000, 1_000), Register(0, 1_000))
    moved = Sample(START + 3_600, Register(35_601_000, 1_000), Register(0, 1_000), START + 3_600)
    still = Sample(START + 3_600, Register(35_600_000, 1_000), Register(0, 1_000), START + 3_600)
    assert verdict(moved, last) == "resolution"
    assert verdict(still, last) is None


def test_a_first_sample_has_nothing_to_be_compared_with() -> None:
    assert verdict(sample(0, 0), None) is None
    assert verdict(sample(35_600_000), None) is None


def test_a_home_without_inverter_gives_nothing() -> None:
    assert verdict(sample(35_600_010, 1_000_500), limits=HomeLimits(24_000, 0)) == "beyond_limit"


@given(st.integers(0, 200_000), st.integers(0, 40_000_000))
def test_the_guard_signs_nothing_that_the_coordinator_would_refuse(limit_w: int, seconds: int) -> None:
    assert most_wh(limit_w, seconds) <= energy_limit_wh(limit_w, seconds)


@given(
    consumed_wh=st.integers(-5, 3_000),
    produced_wh=st.integers(-5, 1_500),
    seconds=st.integers(-60, 400),
)
def test_what_passes_is_monotone_and_within_the_connection(consumed_wh: int, produced_wh: int, seconds: int) -> None:
    taken = sample(LAST.consumption.value_wh + consumed_wh, LAST.production.value_wh + produced_wh, seconds)
    passes = verdict(taken) is None
    sane = seconds > 0 and consumed_wh >= -1 and produced_wh >= -1
    fits = sane and consumed_wh / most_wh(24_000, seconds) + produced_wh / most_wh(10_000, seconds) <= 1 + 1e-12
    assert not passes or fits


@pytest.mark.parametrize(
    ("text", "unit", "register"),
    [
        ("1234.567", "kWh", Register(1_234_567)),
        ("1234.5", "kWh", Register(1_234_500, 100)),
        ("1234", "kWh", Register(1_234_000, 1_000)),
        ("1234", "Wh", Register(1_234)),
        ("1234.9", "Wh", Register(1_234)),
        ("1.234567", "MWh", Register(1_234_567)),
        ("1.2", "MWh", Register(1_200_000, 100_000)),
        ("0.1", "GWh", Register(100_000_000, 100_000_000)),
        ("2.3e3", "kWh", Register(2_300_000, 1_000)),
        (" 7.25 ", "kWh", Register(7_250, 10)),
        ("0.29", "kWh", Register(290, 10)),  # 0.29 * 1000 is 289.99999999999994 in binary
        ("0", "kWh", Register(0, 1_000)),
    ],
)
def test_registers_are_read_exactly(text: str, unit: str, register: Register) -> None:
    assert read_register(text, unit) == register


@pytest.mark.parametrize(
    ("text", "unit", "code"),
    [
        ("", "kWh", "not_a_number"),
        ("on", "kWh", "not_a_number"),
        ("1,234", "kWh", "not_a_number"),
        ("nan", "kWh", "out_of_range"),
        ("inf", "kWh", "out_of_range"),
        ("-1", "kWh", "out_of_range"),
        ("1e30", "kWh", "out_of_range"),
        ("1e999999999999999999", "kWh", "not_a_number"),
        ("-0.0001", "kWh", "out_of_range"),
        ("12", None, "unit"),
        ("12", "W", "unit"),
        ("12", "m³", "unit"),
    ],
)
def test_what_is_no_register_is_refused_with_a_sentence(text: str, unit: str | None, code: str) -> None:
    refusal = read_register(text, unit)
    assert isinstance(refusal, GuardRefusal)
    assert refusal.code == code
    assert len(refusal.message) > 10


@given(st.decimals(0, 10**9, allow_nan=False, places=6), st.sampled_from(["Wh", "kWh", "MWh"]))
def test_no_energy_is_invented_when_reading(value: object, unit: str) -> None:
    register = read_register(str(value), unit)
    factor = {"Wh": 1, "kWh": 1_000, "MWh": 1_000_000}[unit]
    assume(isinstance(register, Register))  # beyond the largest register it is refused
    assert isinstance(register, Register)
    exact = float(str(value)) * factor
    assert register.value_wh <= exact + 1
    assert register.value_wh >= exact - 1 - exact * 1e-9
