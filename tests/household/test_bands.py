"""Bands of a time-of-use plan: read exactly, first match, no gap and none in vain."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.household.bands import BANDS_MAX, CODES, Band, band_at, read, refuse_gaps, refuse_hidden
from coordinator.household.settings import SettingsInvalid

from .deciding import bands

ALL_DAY = {"from": 0, "to": 1440}


def checked(stored: Any) -> tuple[Band, ...]:
    found = read("bands", stored)
    refuse_hidden("bands", found)
    refuse_gaps("bands", found)
    return found


def refused(stored: Any) -> tuple[str, str]:
    with pytest.raises(SettingsInvalid) as error:
        checked(stored)
    assert error.value.field == "bands"
    assert error.value.code in CODES
    return error.value.code, str(error.value)


def test_a_band_is_read_with_what_is_left_out() -> None:
    (band,) = read("bands", [{"from": 1320, "to": 360, "sell": -5}])
    assert band == Band(1320, 360, frozenset(range(7)), frozenset(range(1, 13)), None, -5, None)
    assert band.text == "22:00 to 06:00"


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (None, "bands_none"),
        ({}, "bands_none"),
        ([], "bands_none"),
        ([ALL_DAY] * (BANDS_MAX + 1), "bands_many"),
        (["all day"], "band_malformed"),
        ([{"from": 0}], "band_malformed"),
        ([{"from": 0, "to": 1441}], "band_malformed"),
        ([{"from": 1440, "to": 0}], "band_malformed"),
        ([{"from": True, "to": 1440}], "band_malformed"),
        ([{"from": 0.0, "to": 1440}], "band_malformed"),
        ([ALL_DAY | {"days": [7]}], "band_malformed"),
        ([ALL_DAY | {"days": 3}], "band_malformed"),
        ([ALL_DAY | {"months": [0]}], "band_malformed"),
        ([ALL_DAY | {"holidays": "yes"}], "band_malformed"),
        ([ALL_DAY | {"sell": "cheap"}], "band_malformed"),
        ([ALL_DAY | {"buy": 10**13}], "band_malformed"),
        ([{"from": 60, "to": 60}], "band_empty"),
        ([ALL_DAY | {"days": []}], "band_empty"),
        ([ALL_DAY | {"months": []}], "band_empty"),
        ([ALL_DAY, {"from": 60, "to": 120}], "band_hidden"),
        ([ALL_DAY, ALL_DAY], "band_hidden"),
        ([{"from": 0, "to": 720}, {"from": 720, "to": 1440}, {"from": 600, "to": 800}], "band_hidden"),
        ([{"from": 0, "to": 1439}], "bands_gap"),
        ([ALL_DAY | {"days": [0, 1, 2, 3, 4, 5]}], "bands_gap"),
        ([ALL_DAY | {"months": list(range(2, 13))}], "bands_gap"),
        ([ALL_DAY | {"holidays": False}], "bands_gap"),
    ],
)
def test_bands_that_cannot_work_are_refused(stored: Any, code: str) -> None:
    assert refused(stored)[0] == code


def test_a_refusal_names_the_band_or_the_gap() -> None:
    assert refused([ALL_DAY, {"from": 60, "to": 120}])[1].startswith("band 2 (01:00 to 02:00) never counts")
    assert refused([{"from": 0, "to": 1320}])[1] == "no band holds Monday, 22:00, in January"
    assert refused([ALL_DAY | {"holidays": False}])[1] == "no band holds a holiday that is a Monday, 00:00, in January"


def test_overlapping_bands_are_fine_while_each_counts_and_the_first_wins() -> None:
    found = checked([{"from": 1020, "to": 1260, "days": [0]}, ALL_DAY])
    assert band_at(found, 1020, 0, 1, holiday=False) is found[0]
    assert band_at(found, 1260, 0, 1, holiday=False) is found[1]
    assert band_at(found, 1020, 1, 1, holiday=False) is found[1]


@pytest.mark.parametrize(
    ("holidays", "expected"), [(None, [False, True]), (True, [True, True]), (False, [False, False])]
)
def test_a_holiday_counts_as_the_band_says(holidays: bool | None, expected: list[bool]) -> None:
    band = Band(0, 1440, frozenset([6]), frozenset(range(1, 13)), holidays, None, None)
    assert [band.holds(0, weekday, 1, holiday=True) for weekday in (2, 6)] == expected
    assert [band.holds(0, weekday, 1, holiday=False) for weekday in (2, 6)] == [False, True]


@settings(max_examples=40, deadline=None)
@given(st.lists(bands, min_size=1, max_size=4).map(tuple))
def test_plans_that_pass_hold_every_minute_of_every_kind_of_day(plan: tuple[Band, ...]) -> None:
    """Against the slow way: ask every tenth minute, and those beside every edge."""
    minutes = {*range(0, 1440, 10)}
    minutes |= {(edge + by) % 1440 for band in plan for edge in (band.from_minute, band.to_minute) for by in (-1, 0)}
    kinds = [(m, d, month, h) for m in minutes for d in range(7) for month in range(1, 13) for h in (False, True)]
    whole = all(any(band.holds(*kind) for band in plan) for kind in kinds)
    try:
        refuse_gaps("bands", plan)
    except SettingsInvalid:
        assert not whole
    else:
        assert whole
