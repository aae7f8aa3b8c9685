"""What a home's past says of its next intervals, and how often that is right."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.household.forecast import (
    FINE_DAYS_MIN,
    PERSISTENCE_INTERVALS,
    STALE_AFTER_INTERVALS,
    Forecast,
    Forecaster,
    MeteredInterval,
    persistence,
)
from coordinator.household.history import HistoryRow

from .world import START

QUARTER_S = 900
QUARTERS = 96
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())


def quarters(days: int, start: int = MONDAY) -> range:
    return range(start, start + days * QUARTERS * QUARTER_S, QUARTER_S)


def same_every_day(days: int, start: int = MONDAY) -> list[HistoryRow]:
    """A home that takes as many Wh as the hour says, each day."""
    return [HistoryRow(at, datetime.fromtimestamp(at, UTC).hour * 10) for at in quarters(days, start)]


def metered(row: HistoryRow) -> MeteredInterval:
    return MeteredInterval(row.start, row.start + QUARTER_S, max(0, row.net_wh), max(0, -row.net_wh))


def test_persistence_scales_a_longer_interval_to_one() -> None:
    forecast = persistence(MeteredInterval(START - 300, START, 100, 0), START, 60)
    assert forecast is not None
    assert forecast.net_wh == 20
    surplus = persistence(MeteredInterval(START - 300, START, 0, 103), START, 60)
    assert surplus is not None
    assert surplus.net_wh == -20, "a surplus is rounded towards nothing: never sell what is not there"


def test_an_old_interval_says_nothing() -> None:
    last = MeteredInterval(START - 60, START, 100, 0)
    assert persistence(last, START + 120, 60) is not None
    assert persistence(last, START + 121, 60) is None
    assert persistence(None, START, 60) is None


@pytest.mark.parametrize(
    ("forecast", "surplus_wh", "need_wh"),
    [
        (Forecast(-100, ""), 100, 0),
        (Forecast(100, ""), 0, 100),
        (Forecast(-100, "", low_wh=-150, high_wh=-60), 60, 0),
        (Forecast(-100, "", low_wh=-150, high_wh=20), 0, 0),
        (Forecast(100, "", low_wh=40, high_wh=150), 0, 40),
    ],
)
def test_surplus_and_need_are_what_is_certain_enough(forecast: Forecast, surplus_wh: int, need_wh: int) -> None:
    assert (forecast.surplus_wh, forecast.need_wh) == (surplus_wh, need_wh)


def test_a_home_that_repeats_itself_is_known_exactly() -> None:
    forecaster = Forecaster(same_every_day(14), QUARTER_S)
    at = MONDAY + 14 * QUARTERS * QUARTER_S
    found = forecaster.forecast(quarters(1, at), at)
    assert len(found) == QUARTERS
    for start, forecast in found.items():
        wh = datetime.fromtimestamp(start, UTC).hour * 10
        assert (forecast.net_wh, forecast.low_wh, forecast.high_wh) == (wh, wh, wh)
    assert forecaster.days == 14
    assert found[at].text == "the middle of 10 like intervals of 14 days"


def test_weekends_and_holidays_are_days_of_their_own() -> None:
    def row(start: int) -> HistoryRow:
        return HistoryRow(start, 500 if datetime.fromtimestamp(start, UTC).weekday() >= 5 else 100)

    rows = [row(start) for start in quarters(28)]
    at = MONDAY + 28 * QUARTERS * QUARTER_S
    noon = at + 48 * QUARTER_S
    holiday = frozenset({date(2026, 6, 29)})
    assert Forecaster(rows, QUARTER_S).forecast([noon], at)[noon].net_wh == 100
    assert Forecaster(rows, QUARTER_S, holidays=holiday).forecast([noon], at)[noon].net_wh == 500
    saturday = noon + 5 * 86_400
    assert Forecaster(rows, QUARTER_S).forecast([saturday], at)[saturday].net_wh == 500


def test_habits_follow_the_local_clock_through_the_change_to_winter_time() -> None:
    def row(start: int) -> HistoryRow:
        return HistoryRow(start, 900 if datetime.fromtimestamp(start, BERLIN).hour == 7 else 50)

    start = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
    forecaster = Forecaster([row(at) for at in quarters(24, start)], QUARTER_S, BERLIN)
    monday = datetime(2026, 10, 26, 7, 15, tzinfo=BERLIN)
    at = int(monday.timestamp())
    assert monday.utcoffset() == timedelta(hours=1)
    found = forecaster.forecast([at, at - 3_600], at - 7_200)
    assert (found[at].net_wh, found[at - 3_600].net_wh) == (900, 50)


def test_neighbours_help_out_where_like_intervals_are_few() -> None:
    rows = [HistoryRow(start, 100) for start in quarters(3)]
    noon = MONDAY + 3 * 86_400 + 43_200
    found = Forecaster(rows, QUARTER_S).forecast([noon], noon - 86_400)
    assert found[noon].text == "the middle of 9 like intervals of 3 days"


def test_a_confidence_that_few_days_cannot_bear_out_takes_the_worst_of_them() -> None:
    rows = [HistoryRow(start, (start - MONDAY) // 86_400 * 100) for start in quarters(3)]
    start = MONDAY + 86_400 * 3
    found = Forecaster(rows, QUARTER_S).forecast([start], start + 10_000, confidence_percent=99)[start]
    assert (found.low_wh, found.net_wh, found.high_wh) == (0, 100, 200)


@pytest.mark.parametrize("confidence", [80, 90, 95, 99])
@pytest.mark.parametrize(("days", "ahead"), [(14, 0), (28, 0), (28, 5)])
def test_a_high_confidence_is_kept_on_few_days_of_a_kind_too(confidence: int, days: int, ahead: int) -> None:
    """Intervals that are all drawn alike: like ones are too few for 95 %, on weekends above all, neighbours are not."""
    chance = random.Random(confidence)
    rows = [HistoryRow(start, round(chance.gauss(0, 500))) for start in quarters(days)]
    first = MONDAY + (days + ahead) * 86_400
    starts = [first + number * QUARTER_S for number in range(QUARTERS)]
    found = Forecaster(rows, QUARTER_S).forecast(starts, first - 86_400, confidence_percent=confidence)
    drawn = [(*_ends(forecast), chance.gauss(0, 500)) for forecast in found.values() for _ in range(100)]
    least = (confidence / 100 - 0.025) * len(drawn)
    assert sum(wh >= low_wh for low_wh, _, wh in drawn) >= least
    assert sum(wh <= high_wh for _, high_wh, wh in drawn) >= least


def test_a_higher_confidence_never_promises_more() -> None:
    chance = random.Random(1)
    rows = [HistoryRow(start, round(chance.expovariate(0.002))) for start in quarters(28)]
    first = MONDAY + 33 * 86_400
    starts = [first + number * QUARTER_S for number in range(QUARTERS)]
    forecaster = Forecaster(rows, QUARTER_S)
    found = [forecaster.forecast(starts, first, confidence_percent=percent) for percent in range(50, 100)]
    for start in starts:
        lows, highs = zip(*(_ends(forecast[start]) for forecast in found), strict=True)
        assert list(lows) == sorted(lows, reverse=True)
        assert list(highs) == sorted(highs)
        assert len({forecast[start].net_wh for forecast in found}) == 1


def test_without_any_past_the_last_interval_repeats_itself_for_a_while() -> None:
    last = MeteredInterval(START - QUARTER_S, START, 0, 120)
    starts = range(START, START + 10 * QUARTER_S, QUARTER_S)
    found = Forecaster([], QUARTER_S).forecast(starts, START, last=last)
    assert [*found] == [*starts][: PERSISTENCE_INTERVALS + 1]
    assert {forecast.net_wh for forecast in found.values()} == {-120}


def test_a_meter_that_has_just_begun_says_nothing_of_habits() -> None:
    """The first row may hold part of its time only, and the day is not over yet."""
    rows = [HistoryRow(START, 28, resolution_s=300), *(HistoryRow(START + 60 * n, 70) for n in range(5, 60))]
    at = START + 3_600
    last = MeteredInterval(at - 60, at, 0, 70)
    found = Forecaster(rows, 60).forecast([at], at, last=last)
    assert found[at] == persistence(last, at, 60)


def test_the_first_row_of_a_meter_is_left_out() -> None:
    rows = [HistoryRow(start, 70, resolution_s=300) for start in quarters(4)]
    late = MONDAY + 4 * 86_400
    found = Forecaster([HistoryRow(MONDAY, 10, resolution_s=300), *rows[1:]], QUARTER_S)
    assert found.forecast([late], late, confidence_percent=99)[late].low_wh == 70


def test_nothing_known_is_nothing_said() -> None:
    assert Forecaster([], QUARTER_S).forecast([START], START) == {}
    two = [HistoryRow(START + day * 86_400, 100) for day in range(2)]
    later = START + 5 * 86_400
    assert Forecaster(two, QUARTER_S).forecast([later], later) == {}


def noisy(days: int, chance: random.Random, correlation: float) -> dict[int, HistoryRow]:
    """A home with an evening peak, whose difference from it lasts."""
    off, rows = 0.0, {}
    for start in quarters(days):
        hour = start % 86_400 / 3_600
        off = correlation * off + chance.gauss(0, 40)
        rows[start] = HistoryRow(start, round(100 + 150 * math.exp(-((hour - 19) ** 2) / 4) + off))
    return rows


def test_a_recent_error_moves_the_near_intervals_and_wears_off() -> None:
    rows = noisy(21, random.Random(1), 0.8)
    at = MONDAY + 21 * QUARTERS * QUARTER_S
    starts = range(at, at + 24 * QUARTER_S, QUARTER_S)
    usual = Forecaster(rows.values(), QUARTER_S).forecast(starts, at + 10 * QUARTER_S)  # too late to tell of the last
    last = MeteredInterval(at - QUARTER_S, at, rows[at - QUARTER_S].net_wh + 400, 0)
    moved = Forecaster([row for row in rows.values() if row.start < last.start], QUARTER_S).forecast(
        starts, at, last=last
    )
    shifts = [moved[start].net_wh - usual[start].net_wh for start in starts]
    assert 200 < shifts[0] < 480
    assert all(after <= before + 25 for before, after in pairwise(shifts)), shifts
    assert abs(shifts[-1]) < 25
    narrowed = [_width(moved[start]) / _width(usual[start]) for start in starts]
    assert narrowed[0] < 0.85, "the next interval is surer for it"
    assert narrowed[-1] > 0.9, "a far one is not"
    assert "more as in the last interval" in moved[at].text


def test_the_newest_row_counts_as_the_last_interval_while_it_is_fresh() -> None:
    rows = noisy(21, random.Random(2), 0.8)
    at = MONDAY + 21 * QUARTERS * QUARTER_S
    newest = HistoryRow(at - QUARTER_S, 900)
    forecaster = Forecaster([*rows.values(), newest], QUARTER_S)
    fresh, stale = (
        forecaster.forecast([at + 3 * QUARTER_S], now)[at + 3 * QUARTER_S]
        for now in (at, at + STALE_AFTER_INTERVALS * QUARTER_S + 1)
    )
    assert fresh.net_wh > stale.net_wh + 100
    older = MeteredInterval(at - 2 * QUARTER_S, at - QUARTER_S, 0, 0)
    assert forecaster.forecast([at + 3 * QUARTER_S], at, last=older)[at + 3 * QUARTER_S] == fresh


def _ends(forecast: Forecast) -> tuple[int, int]:
    assert forecast.low_wh is not None
    assert forecast.high_wh is not None
    return forecast.low_wh, forecast.high_wh


def _width(forecast: Forecast) -> int:
    low_wh, high_wh = _ends(forecast)
    return high_wh - low_wh


class Street:
    """A home with the sun above it, and what a weather service says of that sun."""

    def __init__(self, seed: int, days: int) -> None:
        chance = random.Random(seed)
        off = cloud = passing = said = 0.0
        self.rows: dict[int, HistoryRow] = {}
        self.sun: dict[int, int] = {}
        for start in quarters(days):
            hour = start % 86_400 / 3_600
            if hour == 0:
                cloud = chance.uniform(0.2, 1.0)
                said = min(1.0, max(0.1, cloud * chance.gauss(1, 0.15)))
            off = 0.8 * off + chance.gauss(0, 40)
            passing = 0.8 * passing + chance.gauss(0, 0.1)
            clear = 1_000 * max(0.0, math.sin((hour - 6) / 14 * math.pi)) if 6 < hour < 20 else 0.0
            load = max(10.0, 100 + 150 * math.exp(-((hour - 19) ** 2) / 4) + off)
            made = round(clear * min(1.0, max(0.0, cloud + passing)))
            self.rows[start] = HistoryRow(start, round(load) - made, made)
            self.sun[start] = round(clear * said)

    def told(self, at: int, past_days: int) -> Mapping[int, int]:
        first, end = at - past_days * 86_400, at + 2 * 86_400
        return {start: wh for start, wh in self.sun.items() if first <= start < end}


def rolling(street: Street, confidence: int, past_days: int | None) -> tuple[float, float, float]:
    """Forecast through the fourth week; return how often both ends held, and the share of the surplus promised."""
    starts = [*street.rows]
    below = above = total = promised = surplus = 0
    learnt = 21 * QUARTERS
    forecaster = Forecaster([street.rows[start] for start in starts[:learnt]], QUARTER_S)
    for place in range(learnt, 27 * QUARTERS, 5):
        if place >= learnt + QUARTERS:
            learnt = place
            forecaster = Forecaster([street.rows[start] for start in starts[:learnt]], QUARTER_S)
        at = starts[place]
        solar = None if past_days is None else street.told(at, past_days)
        coming = starts[place + 1 : place + 9]
        last = metered(street.rows[starts[place - 1]])
        for start, forecast in forecaster.forecast(
            coming, at, confidence_percent=confidence, solar=solar, last=last
        ).items():
            assert forecast.high_wh is not None
            assert forecast.low_wh is not None
            net_wh = street.rows[start].net_wh
            total += 1
            above += net_wh <= forecast.high_wh
            below += net_wh >= forecast.low_wh
            promised, surplus = promised + forecast.surplus_wh, surplus + max(0, -net_wh)
    return above / total, below / total, promised / surplus


@pytest.mark.parametrize("confidence", [50, 80, 95])
@pytest.mark.parametrize("past_days", [None, 0, 7])
def test_promises_hold_about_as_often_as_they_say(confidence: int, past_days: int | None) -> None:
    """Three homes of known weather, a week ahead of what was learnt: both ends of the range are calibrated."""
    found = [rolling(Street(seed, 29), confidence, past_days) for seed in (3, 4, 5)]
    above, below = (sum(values) / 3 for values in list(zip(*found, strict=True))[:2])
    for share in (above, below):
        assert confidence / 100 - 0.06 <= share <= min(1.0, confidence / 100 + 0.14), (confidence, past_days, found)


def test_a_solar_forecast_that_was_judged_allows_to_promise_more() -> None:
    streets = [Street(seed, 29) for seed in (3, 4, 5)]
    unjudged, judged = (sum(rolling(street, 80, days)[2] for street in streets) / 3 for days in (0, 7))
    assert judged > 1.2 * unjudged


def test_the_sun_of_tomorrow_replaces_that_of_the_past() -> None:
    rows = [HistoryRow(start, 100 - 60, 60) for start in quarters(14)]
    at = MONDAY + 14 * QUARTERS * QUARTER_S
    start = at + 10 * QUARTER_S
    forecaster = Forecaster(rows, QUARTER_S)
    assert forecaster.forecast([start], at)[start].net_wh == 40
    dark = forecaster.forecast([start], at, solar={start: 0})[start]
    bright = forecaster.forecast([start], at, solar={start: 300})[start]
    assert (dark.net_wh, bright.net_wh) == (100, -200)
    assert bright.text.endswith("less 300 Wh of forecast sun")


def test_a_forecast_of_sun_that_never_shone_is_not_sold() -> None:
    rows = [HistoryRow(start, 100, 0) for start in quarters(14)]
    at = MONDAY + 14 * QUARTERS * QUARTER_S
    found = Forecaster(rows, QUARTER_S).forecast([at], at, solar={at: 500})[at]
    assert found.surplus_wh == 0


def test_a_service_that_says_too_much_is_corrected_by_what_was_measured() -> None:
    rows = [HistoryRow(start, 100 - 60, 60) for start in quarters(14)]
    at = MONDAY + 14 * QUARTERS * QUARTER_S
    told = {start: 120 for start in quarters(15) if start >= at - 86_400}
    found = Forecaster(rows, QUARTER_S).forecast([at], at, solar=told)[at]
    assert found.net_wh == 40, "it says twice what the sun makes"


def test_a_home_without_a_meter_at_its_plant_ignores_what_is_said_of_the_sun() -> None:
    rows = [HistoryRow(start, 40) for start in quarters(14)]
    at = MONDAY + 14 * QUARTERS * QUARTER_S
    assert Forecaster(rows, QUARTER_S).forecast([at], at, solar={at: 900})[at].net_wh == 40


def test_coarse_rows_are_left_out_once_there_are_enough_fine_ones() -> None:
    coarse = [HistoryRow(start, 500, resolution_s=3_600) for start in quarters(14)]
    fine_from = MONDAY + 14 * QUARTERS * QUARTER_S
    fine = [HistoryRow(start, 100, resolution_s=300) for start in quarters(FINE_DAYS_MIN, fine_from)]
    at = fine_from + FINE_DAYS_MIN * QUARTERS * QUARTER_S
    assert Forecaster([*coarse, *fine], QUARTER_S).forecast([at], at)[at].net_wh == 100
    assert Forecaster([*coarse, *fine[:QUARTERS]], QUARTER_S).forecast([at], at)[at].net_wh == 500


def test_coarse_rows_promise_less_than_fine_ones_that_say_the_same() -> None:
    chance = random.Random(7)
    rows = [HistoryRow(start, -200 + chance.randrange(100)) for start in quarters(21)]
    coarse = [HistoryRow(row.start, row.net_wh, resolution_s=3_600) for row in rows]
    at = MONDAY + 21 * QUARTERS * QUARTER_S
    start = at + 40 * QUARTER_S
    fine_wh, coarse_wh = (
        Forecaster(kept, QUARTER_S).forecast([start], at)[start].surplus_wh for kept in (rows, coarse)
    )
    assert coarse_wh < fine_wh


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 500), st.integers(-5_000, 5_000), st.none() | st.integers(0, 5_000))),
    sun=st.dictionaries(st.integers(0, 600), st.integers(0, 5_000), max_size=40),
    confidence=st.integers(50, 99),
    last_wh=st.none() | st.integers(-5_000, 5_000),
)
def test_whatever_was_measured_the_range_holds_the_middle(
    rows: list[tuple[int, int, int | None]], sun: dict[int, int], confidence: int, last_wh: int | None
) -> None:
    at = MONDAY + 500 * QUARTER_S
    known = [HistoryRow(MONDAY + place * QUARTER_S, net_wh, solar_wh) for place, net_wh, solar_wh in rows]
    last = None if last_wh is None else metered(HistoryRow(at - QUARTER_S, last_wh))
    solar = {MONDAY + place * QUARTER_S: wh for place, wh in sun.items()}
    forecaster = Forecaster(known, QUARTER_S)
    found = forecaster.forecast(quarters(1, at), at, confidence_percent=confidence, solar=solar, last=last)
    for forecast in found.values():
        low = forecast.net_wh if forecast.low_wh is None else forecast.low_wh
        high = forecast.net_wh if forecast.high_wh is None else forecast.high_wh
        assert low <= forecast.net_wh <= high
    assert found == forecaster.forecast(quarters(1, at), at, confidence_percent=confidence, solar=solar, last=last)
    surer = forecaster.forecast(quarters(1, at), at, confidence_percent=99, solar=solar, last=last)
    assert all(surer[start].surplus_wh <= forecast.surplus_wh for start, forecast in found.items())
