"""Resampling keeps what it is given: no energy lost or invented, no gap bridged, whatever the steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.resample import Segment, at_moments, energies, filled, means
from coordinator.protocol.units import INTERVAL_S_ALLOWED

START = 1_800_000_000
HOUR = 3_600


@st.composite
def stretches(draw: st.DrawFn) -> list[Segment]:
    """Neighbouring segments of odd lengths, from an odd second on."""
    at = START + draw(st.integers(0, HOUR))
    found: list[Segment] = []
    for _ in range(draw(st.integers(1, 40))):
        end = at + draw(st.integers(1, 5_000))
        found.append((at, end, draw(st.floats(0, 20_000))))
        at = end
    return found


@given(stretches(), st.sampled_from(INTERVAL_S_ALLOWED))
def test_energy_is_neither_lost_nor_invented_when_it_is_spread(segments: list[Segment], interval_s: int) -> None:
    found = energies(segments, interval_s)
    if not found:
        return
    first, last = min(found), max(found) + interval_s
    inside = sum(
        wh * (min(end, last) - max(start, first)) / (end - start)
        for start, end, wh in segments
        if end > first and start < last
    )
    assert abs(sum(found.values()) - inside) <= 1
    assert all(wh >= 0 for wh in found.values())
    assert list(found) == list(range(first, last, interval_s))
    assert first >= segments[0][0]
    assert last <= segments[-1][1]


@given(stretches(), st.sampled_from(INTERVAL_S_ALLOWED))
def test_a_mean_lies_between_the_values_it_is_made_of(segments: list[Segment], interval_s: int) -> None:
    for start, mean in means(segments, interval_s).items():
        values = [value for left, right, value in segments if right > start and left < start + interval_s]
        assert min(values) - 0.5 <= mean <= max(values) + 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=96))
def test_prices_of_quarter_hours_are_averaged_to_hours(prices: list[float]) -> None:
    segments = [(START + 900 * n, START + 900 * (n + 1), price) for n, price in enumerate(prices)]
    found = means(segments, HOUR)
    for start, mean in found.items():
        n = (start - START) // 900
        assert mean == pytest.approx(sum(prices[n : n + 4]) / 4, abs=0.6)
    assert len(found) >= len(prices) // 4 - 1


def test_an_hour_is_spread_evenly_over_its_quarters() -> None:
    first = START - START % HOUR
    assert energies([(first, first + HOUR, 1_000.0)], 900) == dict.fromkeys(range(first, first + HOUR, 900), 250)


def test_a_gap_is_unknown_and_never_zero() -> None:
    first = START - START % HOUR
    quarters = [(first, first + 900, 10.0), (first + 1_800, first + HOUR, 30.0)]
    assert sorted(energies(quarters, 900)) == [first, first + 1_800, first + 2_700]
    assert sorted(means(quarters, 900)) == [first, first + 1_800, first + 2_700]
    assert energies(quarters, HOUR) == {}
    assert means(quarters, HOUR) == {}


def test_an_interval_that_is_covered_in_part_is_unknown() -> None:
    first = START - START % HOUR
    assert energies([(first + 1, first + HOUR, 10.0)], HOUR) == {}
    assert means([(first + 1, first + HOUR, 10.0)], HOUR) == {}


def test_nothing_makes_nothing() -> None:
    assert energies([], 900) == means([], 900) == at_moments([], [START], 60) == {}


@pytest.mark.parametrize("segments", [[(0, 900, 1.0), (899, 1_000, 1.0)], [(0, 0, 1.0)], [(10, 5, 1.0)]])
def test_segments_that_overlap_or_have_no_length_are_refused(segments: list[Segment]) -> None:
    with pytest.raises(ValueError, match="overlaps or has no length"):
        energies(segments, 900)
    with pytest.raises(ValueError, match="overlaps or has no length"):
        means(segments, 900)


def test_levels_are_interpolated_but_never_over_a_gap() -> None:
    points = [(0, 10.0), (100, 20.0), (1_000, 50.0)]
    assert at_moments(points, [-1, 0, 25, 100, 500, 1_000, 1_001], gap_s=100) == {0: 10, 25: 12.5, 100: 20, 1_000: 50}


def test_coarse_rows_stand_in_where_fine_ones_are_not_all_there() -> None:
    fine: dict[int, float | None] = {HOUR + 300 * n: 1.0 for n in range(12)}
    fine[0], fine[3 * HOUR] = 9.0, 7.0
    coarse: dict[int, float | None] = {0: 100.0, HOUR: 200.0, 2 * HOUR: 300.0}
    assert filled(fine, coarse, 300, HOUR) == [
        (0, HOUR, 100.0),
        *((HOUR + 300 * n, HOUR + 300 * n + 300, 1.0) for n in range(12)),
        (2 * HOUR, 3 * HOUR, 300.0),
        (3 * HOUR, 3 * HOUR + 300, 7.0),
    ]


def test_a_fine_row_that_is_not_believed_is_not_hidden_in_a_coarse_one() -> None:
    fine: dict[int, float | None] = {300 * n: None if n == 4 else 1.0 for n in range(12)}
    assert len(filled(fine, {0: 2_000.0}, 300, HOUR)) == 11
    assert filled({}, {0: None}, 300, HOUR) == []
