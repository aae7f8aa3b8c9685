"""How far each device may be moved: windows on days of any length, reserves, readiness, steps and ranges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.flexible import (
    LEAST_W,
    OFF,
    ON,
    Moment,
    Seen,
    Want,
    What,
    Window,
    energy_above_reserve_wh,
    possible,
    set_point,
)
from coordinator.household.outlook import EventKind

from .flexible_house import BATTERY, BERLIN, BOILER, CAR, INVERTER, POOL, SET_POINTS, START

POINT = replace(SET_POINTS[BATTERY.entity], soc_percent=50.0)
MINUTES = st.integers(0, 1_439)
AUTUMN, SPRING = 1_792_879_200, 1_774_738_800
"""25 October 2026 and 29 March 2026 at midnight in Berlin, days of 25 and of 23 hours."""


def moment(at: int = START, seconds: int = 1_800) -> Moment:
    return Moment(at, at + seconds, BERLIN)


@pytest.mark.parametrize(
    ("window", "hours"),
    [
        (Window(9 * 60, 18 * 60), set(range(9, 18))),
        (Window(22 * 60, 6 * 60), {22, 23, 0, 1, 2, 3, 4, 5}),
        (Window(0, 1_440), set(range(24))),
        (Window(8 * 60, 8 * 60), set(range(24))),
        (Window(20 * 60, 1_440), {20, 21, 22, 23}),
    ],
)
def test_a_window_is_open_in_its_hours(window: Window, hours: set[int]) -> None:
    day = datetime(2026, 7, 1, tzinfo=UTC)
    assert {hour for hour in range(24) if window.holds(day.replace(hour=hour))} == hours


@given(
    window=st.builds(Window, MINUTES, MINUTES),
    day=st.sampled_from([AUTUMN, SPRING]),
    second=st.integers(0, 93_600),
    seconds=st.integers(1, 7_200),
)
def test_a_window_holds_without_a_break_until_the_time_that_is_told(
    window: Window, day: int, second: int, seconds: int
) -> None:
    now = moment(day + second, seconds)
    until = now.within(window)
    assert now.at <= until <= now.until
    assert all(window.holds(now.local(at)) for at in range(now.at, until, 30))
    assert until == now.until or not window.holds(now.local(until))


@given(minute=MINUTES, day=st.sampled_from([AUTUMN, SPRING, START]), second=st.integers(0, 93_600))
def test_the_next_time_of_day_is_within_a_day_and_shows_that_time(minute: int, day: int, second: int) -> None:
    now = moment(day + second)
    found = now.next_local(minute)
    assert now.at < found <= now.at + 90_000
    local = now.local(found)
    lost = day == SPRING and 120 <= minute < 180
    assert lost or local.hour * 60 + local.minute == minute


def test_a_time_that_comes_twice_counts_twice() -> None:
    """The night in which clocks are set back has 02:30 twice."""
    assert moment(AUTUMN + 9_900).next_local(150) == AUTUMN + 12_600


@given(
    soc=st.floats(0, 100),
    reserve=st.integers(0, 100),
    capacity=st.integers(100, 100_000),
    scale=st.sampled_from([1.0, 0.001]),
    step=st.sampled_from([1.0, 10.0, 0.1, 0.001]),
    seconds=st.integers(60, 14_400),
    kind=st.sampled_from(list(EventKind)),
    full=st.booleans(),
)
def test_a_battery_never_passes_its_reserve_its_fill_its_power_or_its_range(**given_: Any) -> None:
    device = replace(BATTERY, capacity_wh=given_["capacity"], reserve_percent=given_["reserve"])
    scale = given_["scale"]
    seen = replace(POINT, soc_percent=given_["soc"], scale=scale, least=-5_000 * scale, most=3_500 * scale)
    seen = replace(seen, step=given_["step"])
    want = possible(device, seen, given_["kind"], moment(seconds=given_["seconds"]), full=given_["full"])
    if want is None:
        return
    assert seen.least <= want.target <= seen.most
    watts = want.target / scale
    moved_wh = watts * given_["seconds"] / 3_600
    stored_wh = given_["capacity"] * given_["soc"] / 100
    part = 1 if given_["full"] else 2
    if given_["kind"] is EventKind.REDUCE:
        assert LEAST_W * 0.99 <= watts <= device.discharge_max_w / part
        assert stored_wh - moved_wh / 0.9 >= given_["capacity"] * given_["reserve"] / 100 - 1e-6
        assert want.power_w == pytest.approx(-watts, abs=1)
    else:
        assert LEAST_W * 0.99 <= -watts <= device.charge_max_w / part
        assert stored_wh - moved_wh <= given_["capacity"] + 1e-6
        assert want.power_w == pytest.approx(-watts, abs=1)


@pytest.mark.parametrize("soc", [None, 20.0, 20.1, 5.0])
def test_a_battery_at_its_reserve_or_unknown_gives_nothing(soc: float | None) -> None:
    seen = replace(POINT, soc_percent=soc)
    assert possible(BATTERY, seen, EventKind.REDUCE, moment(), full=True) is None


def test_the_energy_above_the_reserve_is_never_negative() -> None:
    assert energy_above_reserve_wh(BATTERY, 50.0) == 3_000
    assert energy_above_reserve_wh(BATTERY, 10.0) == 0


def test_a_set_point_whose_range_does_not_reach_that_way_is_not_used() -> None:
    charging_only = replace(POINT, least=-3_000, most=0)
    assert set_point(charging_only, What.DISCHARGE, 2_000, START) is None
    assert set_point(charging_only, What.CHARGE, 2_000, START) == Want(What.CHARGE, -2_000, START, 2_000)


@given(second=st.integers(0, 86_400), seconds=st.integers(60, 7_200), energy=st.integers(1, 60_000))
def test_a_car_can_always_be_full_in_time(second: int, seconds: int, energy: int) -> None:
    car = replace(CAR, energy_wh=energy)
    now = moment(START + second, seconds)
    want = possible(car, Seen(ON), EventKind.REDUCE, now, full=True)
    if want is not None:
        assert now.at < want.until <= now.until
        assert (now.next_local(car.ready_by_minute) - want.until) * car.power_w >= energy * 3_600


def test_a_car_that_needs_longer_than_a_day_is_never_held_up() -> None:
    assert possible(replace(CAR, energy_wh=400_000), Seen(ON), EventKind.REDUCE, moment(), full=True) is None


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_car_that_is_away_is_left_alone(kind: EventKind) -> None:
    assert possible(CAR, Seen(ON, connected=False), kind, moment(), full=True) is None
    assert possible(CAR, Seen(ON, connected=True), kind, moment(), full=True) is not None


def test_a_load_is_switched_on_only_if_its_window_lasts_for_its_least_time() -> None:
    pump = replace(POOL, on_min_s=3_600)
    seen = Seen(OFF)
    noon = moment()
    assert possible(pump, seen, EventKind.INCREASE, noon, full=True) is not None
    late = moment(START + 5 * 3_600 + 60)
    assert possible(pump, seen, EventKind.INCREASE, late, full=True) is None
    assert possible(pump, Seen(ON), EventKind.REDUCE, late, full=True) is not None
    assert possible(pump, Seen(ON), EventKind.REDUCE, moment(START + 6 * 3_600), full=True) is None


def test_nothing_is_wanted_of_what_cannot_be_seen() -> None:
    assert possible(BOILER, Seen(None, "dark"), EventKind.REDUCE, moment(), full=True) is None


@given(least=st.integers(0, 100), step=st.sampled_from([1.0, 5.0, 0.5]), unit=st.sampled_from([1.0, 80.0, 0.08]))
def test_an_inverter_is_never_limited_below_its_least(least: int, step: float, unit: float) -> None:
    device = replace(INVERTER, least_percent=least)
    seen = Seen(100 * unit, scale=unit, least=0, most=100 * unit, step=step * unit)
    want = possible(device, seen, EventKind.INCREASE, moment(), full=True)
    assert want is not None
    assert least * unit <= want.target + 1e-6
    assert want.target <= seen.most
    assert possible(device, seen, EventKind.INCREASE, moment(), full=False) is None
    assert possible(device, seen, EventKind.REDUCE, moment(), full=True) is None


def test_an_inverter_whose_range_ends_below_its_least_is_left_alone() -> None:
    seen = Seen(20.0, scale=1.0, least=0, most=25, step=1)
    assert possible(INVERTER, seen, EventKind.INCREASE, moment(), full=True) is None
