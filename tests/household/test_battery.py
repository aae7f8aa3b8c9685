"""What the meter sees behind a battery that stores the home's own surplus."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.battery import behind
from coordinator.household.forecast import Forecast
from coordinator.household.outlook import BatteryState

from .world import START

HOUR_S = 3_600
BATTERY = BatteryState(
    capacity_wh=5_000,
    energy_wh=2_000,
    charge_max_w=2_500,
    discharge_max_w=2_000,
    reserve_wh=1_000,
    efficiency_percent=100,
)


def nets(forecasts: dict[int, Forecast]) -> list[int]:
    return [forecast.net_wh for forecast in forecasts.values()]


def coming(*wh: int) -> dict[int, Forecast]:
    return {START + place * HOUR_S: Forecast(net_wh, "as told") for place, net_wh in enumerate(wh)}


def test_a_surplus_fills_the_battery_first() -> None:
    found = behind(coming(-2_000, -2_000, -500), BATTERY, HOUR_S, START)
    assert nets(found) == [0, -1_000, -500], "3,000 Wh fit in, the rest is left over"
    assert found[START].text == "as told, the battery takes 2000 Wh"
    assert found[START + 2 * HOUR_S].text == "as told"


def test_a_need_empties_it_down_to_the_reserve_and_never_below() -> None:
    found = behind(coming(600, 600, 600), BATTERY, HOUR_S, START)
    assert nets(found) == [0, 200, 600]
    assert found[START].text == "as told, the battery gives 600 Wh"


def test_it_is_no_faster_than_its_power() -> None:
    assert nets(behind(coming(-4_000), BATTERY, HOUR_S, START)) == [-1_500]
    full = replace(BATTERY, energy_wh=5_000)
    assert nets(behind(coming(3_000), full, HOUR_S, START)) == [1_000]


def test_both_ways_lose_energy() -> None:
    lossy = replace(BATTERY, efficiency_percent=80, energy_wh=1_000)
    assert nets(behind(coming(-1_000, 1_000), lossy, HOUR_S, START)) == [0, 360], "640 of 1,000 Wh come back"
    assert nets(behind(coming(-2_500, -2_500, -2_500), lossy, HOUR_S, START)) == [0, 0, -2_500]


def test_of_a_running_interval_only_what_is_left_counts() -> None:
    half = START + HOUR_S // 2
    assert nets(behind(coming(-2_000, -4_000), BATTERY, HOUR_S, half)) == [-1_000, -2_000]


def test_intervals_that_are_past_are_left_out() -> None:
    assert [*behind(coming(100, 200), BATTERY, HOUR_S, START + HOUR_S)] == [START + HOUR_S]


def test_what_comes_after_a_gap_is_unknown() -> None:
    known = coming(100, 100, 100)
    del known[START + HOUR_S]
    assert [*behind(known, BATTERY, HOUR_S, START)] == [START]


def test_each_end_of_the_range_has_its_own_battery() -> None:
    hour = Forecast(-2_000, "as told", low_wh=-3_000, high_wh=-500)
    found = behind({START: hour, START + HOUR_S: hour}, BATTERY, HOUR_S, START)
    first, second = found.values()
    assert (first.low_wh, first.net_wh, first.high_wh) == (-500, 0, 0)
    assert (second.low_wh, second.net_wh, second.high_wh) == (-2_500, -1_000, 0)
    assert second.surplus_wh == 0, "if little comes the battery still takes all of it"


@given(
    ranges=st.lists(st.tuples(*[st.integers(-6_000, 6_000)] * 3).map(sorted), min_size=1, max_size=12),
    energy_wh=st.integers(0, 6_000),
    reserve_wh=st.integers(0, 6_000),
    efficiency=st.integers(50, 100),
    late_s=st.integers(0, HOUR_S - 1),
)
def test_a_battery_never_makes_more_of_anything(
    ranges: list[list[int]], energy_wh: int, reserve_wh: int, efficiency: int, late_s: int
) -> None:
    """The range stays one, no surplus or need grows or turns round, and no energy comes from nothing."""
    battery = replace(BATTERY, energy_wh=energy_wh, reserve_wh=reserve_wh, efficiency_percent=efficiency)
    known = {
        START + place * HOUR_S: Forecast(net, "", low_wh=low, high_wh=high)
        for place, (low, net, high) in enumerate(ranges)
    }
    found = behind(known, battery, HOUR_S, START + late_s)
    assert found.keys() == known.keys()
    for start, forecast in found.items():
        before = known[start]
        assert forecast.low_wh is not None
        assert forecast.high_wh is not None
        assert forecast.low_wh <= forecast.net_wh <= forecast.high_wh
        assert min(0, before.net_wh) <= forecast.net_wh <= max(0, before.net_wh)
        assert forecast.surplus_wh <= before.surplus_wh
        assert forecast.need_wh <= before.need_wh
    given_wh = sum(max(0, known[start].net_wh - forecast.net_wh) for start, forecast in found.items())
    taken_wh = sum(max(0, forecast.net_wh - known[start].net_wh) for start, forecast in found.items())
    assert given_wh <= max(0, energy_wh - reserve_wh) + taken_wh + len(found)
