"""What is counted from midnight on: across midnights, restarts, time changes and gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.day import WATCHED_S, DayCounter

DAY = 86_400
MIDNIGHT = 20_000 * DAY


def test_the_first_sight_of_a_total_is_no_growth() -> None:
    counter = DayCounter()
    counter.see(5_000, MIDNIGHT + 3_600, MIDNIGHT)
    assert (counter.value, counter.since) == (0, MIDNIGHT + 3_600)
    counter.see(5_250, MIDNIGHT + 7_200, MIDNIGHT)
    assert (counter.value, counter.since) == (250, MIDNIGHT + 3_600)


def test_a_watched_midnight_begins_a_whole_day() -> None:
    counter = DayCounter()
    counter.see(100, MIDNIGHT - WATCHED_S, MIDNIGHT - DAY)
    counter.see(130, MIDNIGHT + 60, MIDNIGHT)
    assert (counter.value, counter.since) == (30, MIDNIGHT)


def test_what_grew_while_nobody_looked_is_nobodys_day() -> None:
    counter = DayCounter()
    counter.see(100, MIDNIGHT - WATCHED_S - 1, MIDNIGHT - DAY)
    counter.see(900, MIDNIGHT + 60, MIDNIGHT)
    assert (counter.value, counter.since) == (0, MIDNIGHT + 60)


@pytest.mark.parametrize("hours", [23, 25])
def test_a_day_of_another_length_is_one_day(hours: int) -> None:
    next_midnight = MIDNIGHT + hours * 3_600
    counter = DayCounter()
    counter.see(0, MIDNIGHT, MIDNIGHT)
    counter.see(70, next_midnight - 60, MIDNIGHT)
    assert counter.value == 70
    counter.see(75, next_midnight, next_midnight)
    assert (counter.value, counter.since) == (5, next_midnight)


def test_a_clock_that_was_set_back_begins_anew() -> None:
    counter = DayCounter()
    counter.see(100, MIDNIGHT + 60, MIDNIGHT)
    counter.see(140, MIDNIGHT - 60, MIDNIGHT - DAY)
    assert (counter.value, counter.since) == (0, MIDNIGHT - 60)


def test_a_correction_takes_away() -> None:
    counter = DayCounter()
    counter.see(100, MIDNIGHT, MIDNIGHT)
    counter.see(90, MIDNIGHT + 60, MIDNIGHT)
    assert counter.value == -10


@given(
    st.lists(st.integers(0, 1_000), min_size=1, max_size=20),
    st.lists(st.integers(0, 1_000), min_size=1, max_size=20),
)
def test_a_total_that_begins_again_is_counted_on(first: list[int], second: list[int]) -> None:
    """Whatever was counted before a restart and after it, the day's value is the sum of both."""
    counter = DayCounter()
    counter.see(0, MIDNIGHT, MIDNIGHT)
    for number in range(len(first)):
        counter.see(sum(first[: number + 1]), MIDNIGHT + number, MIDNIGHT)
    counter = DayCounter.from_dict(counter.to_dict())
    counter.begin_at_zero()
    assert counter.value == sum(first)
    for number in range(len(second)):
        counter.see(sum(second[: number + 1]), MIDNIGHT + 100 + number, MIDNIGHT)
    assert counter.value == sum(first) + sum(second)


def test_what_is_kept_must_be_whole() -> None:
    kept = DayCounter(MIDNIGHT, MIDNIGHT, 1, 2, MIDNIGHT + 1).to_dict()
    assert DayCounter.from_dict(kept) == DayCounter(MIDNIGHT, MIDNIGHT, 1, 2, MIDNIGHT + 1)
    for name in kept:
        with pytest.raises(ValueError, match=name):
            DayCounter.from_dict({key: value for key, value in kept.items() if key != name})
