import pytest

from coordinator.simulation.profiles import (
    QUARTERS_PER_DAY,
    Sun,
    household_profiles,
    solar_profiles,
    vehicle_profiles,
)

NOON = 48
MIDNIGHT = 0


def test_twenty_different_household_days_in_plausible_watts() -> None:
    profiles = household_profiles()
    assert len({profile.per_kilowatt_w for profile in profiles}) == len(profiles) == 20
    for profile in profiles:
        assert len(profile.per_kilowatt_w) == QUARTERS_PER_DAY
        assert all(0 < watts <= 1000 for watts in profile.per_kilowatt_w)
        day_wh_per_kw = sum(profile.per_kilowatt_w) // 4
        assert 500 < day_wh_per_kw < 3_000, profile.name


def test_the_day_is_sunny_and_the_night_is_dark() -> None:
    for profile in solar_profiles():
        assert profile.per_kilowatt_w[MIDNIGHT] == 0
        assert 500 < max(profile.per_kilowatt_w) <= 1000
        assert 3_500 < sum(profile.per_kilowatt_w) // 4 < 5_000, "Wh per kWp of a sunny day in July"
        steps = [abs(b - a) for a, b in zip(profile.per_kilowatt_w, profile.per_kilowatt_w[1:], strict=False)]
        assert max(steps) < 120, "no cloud passes"


def test_cars_charge_at_full_power_for_a_while() -> None:
    for profile in vehicle_profiles():
        assert profile.per_kilowatt_w.count(0) > QUARTERS_PER_DAY // 2
        assert max(profile.per_kilowatt_w) > 750


def test_power_scales_with_what_is_installed() -> None:
    plant = solar_profiles()[0]
    assert plant.power_w(NOON, 5_000) == plant.per_kilowatt_w[NOON] * 5
    assert plant.power_w(NOON + QUARTERS_PER_DAY, 5_000) == plant.power_w(NOON, 5_000)


def test_each_minute_shows_one_quarter_hour_from_ten_in_the_morning() -> None:
    sun = Sun(started_at=1_000_000)
    assert [sun.quarter(1_000_000 + s) for s in (0, 59, 60, 119, 120)] == [40, 40, 41, 41, 42]
    assert sun.quarter_end(1_000_000) == 1_000_060
    assert sun.quarter_end(1_000_059) == 1_000_060
    assert [sun.time_of_day(1_000_000 + s) for s in (0, 60, 120, 96 * 60)] == ["10:00", "10:15", "10:30", "10:00"]


def test_before_its_start_the_sun_stands_earlier() -> None:
    assert Sun(started_at=1_000_000).quarter(999_999) == 39


@pytest.mark.parametrize("speed", [0, -1, 7])
def test_a_speed_that_cuts_seconds_is_refused(speed: int) -> None:
    with pytest.raises(ValueError, match="must divide 900"):
        Sun(0, speed)
