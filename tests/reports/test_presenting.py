"""Fairness figures against worked examples; tables, drawings and pages that hold hostile names."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.protocol.messages import Side
from coordinator.reports.counterfactual import MemberChange, Outcome, RuleReport
from coordinator.reports.fairness import gini, jain, lorenz, shown
from coordinator.reports.page import page_of
from coordinator.reports.plot import MEMBERS_MAX, plot_of
from coordinator.reports.surveillance import watch
from coordinator.reports.tables import moment, money, shown_moment, text_table, write_csv
from tests.reports.street import Street, newcomers

HOSTILE = '<script>alert("x")</script>&'


@pytest.mark.parametrize(
    ("values", "fairness", "inequality"),
    [
        ([5, 5, 5, 5], 1.0, 0.0),
        ([1, 0, 0, 0], 0.25, 0.75),
        ([1, 2, 3, 4], 100 / 120, 0.25),
        ([-7, 3, 3], 2 / 3, 1 / 3),
    ],
)
def test_fairness_by_hand(values: list[int], fairness: float, inequality: float) -> None:
    assert jain(values) == pytest.approx(fairness)
    assert gini(values) == pytest.approx(inequality)


@pytest.mark.parametrize("values", [[], [0, 0], [-3, 0]])
def test_where_nobody_has_anything_there_is_no_figure(values: list[int]) -> None:
    """Equal shares of nothing are not the fairest outcome."""
    assert (jain(values), gini(values), lorenz(values)) == (None, None, [])
    assert [shown(figure) for figure in (None, 0.0, 1.0)] == ["-", "0.000", "1.000"]


@settings(derandomize=True, max_examples=100)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30).filter(any))
def test_gini_is_what_the_lorenz_curve_encloses(values: list[int]) -> None:
    """Twice the area between the curve and the line of equality; both figures keep their bounds and ignore order."""
    points = lorenz(values)
    below = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))
    assert gini(values) == pytest.approx(1 - 2 * below, abs=1e-9)
    index = jain(values)
    assert index is not None
    assert 1 / len(values) - 1e-9 <= index <= 1 + 1e-9
    assert (index, gini(values)) == pytest.approx((jain(values[::-1]), gini(values[::-1])))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1800000000", 1_800_000_000),
        ("2027-01-15", 1_799_971_200),
        ("2027-01-15T08:00", 1_800_000_000),
        ("2027-01-15T09:00+01:00", 1_800_000_000),
    ],
)
def test_moments(text: str, at: int) -> None:
    assert moment(text) == at
    assert moment(shown_moment(at).replace("Z", "+00:00")) == at


def test_a_moment_that_is_none() -> None:
    with pytest.raises(ValueError, match="'noon' is no moment: write 2026-11-22"):
        moment("noon")


def test_money_has_all_six_places() -> None:
    assert [money(micro) for micro in (0, 1, -1, 1_500_000, -2_000_001)] == [
        "0.000000",
        "0.000001",
        "-0.000001",
        "1.500000",
        "-2.000001",
    ]


def test_a_text_table_aligns_numbers_to_the_right() -> None:
    assert text_table(["name", "kWh"], [["a", "1.5"], ["longer", "-12.25"]]).splitlines() == [
        "name       kWh",
        "------  ------",
        "a          1.5",
        "longer  -12.25",
    ]


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    write_csv(file, ["name", "change"], [["=1+1", "-0.5"], ["@cmd", "+2"], ["Ann", "0"], ["-Bob", "1"]])
    with file.open(newline="") as read:
        rows = list(csv.reader(read))
    assert rows[1:] == [["'=1+1", "-0.5"], ["'@cmd", "+2"], ["Ann", "0"], ["'-Bob", "1"]]


def _report(members: int) -> RuleReport:
    changes = tuple(
        MemberChange(f"0x{n:040x}", f"{HOSTILE} {n}", Outcome(saved_micro=n), Outcome(saved_micro=3 * n * (-1) ** n))
        for n in range(members)
    )
    return RuleReport(HOSTILE, "uniform", ("x",), 1, members=changes)


@pytest.mark.parametrize(("members", "shown"), [(0, 0), (3, 3), (200, MEMBERS_MAX)])
def test_a_drawing_is_sound_whatever_the_names(members: int, shown: int) -> None:
    drawing = ET.fromstring(plot_of(_report(members)))
    assert not [element for element in drawing.iter() if element.tag.endswith("script")]
    bars = [e for e in drawing.iter() if e.tag.endswith("rect") and e.get("class") in {"more", "less"}]
    assert len(bars) == shown
    assert all(int(bar.get("width", "-1")) >= 0 and int(bar.get("x", "-1")) >= 0 for bar in bars)


def test_a_page_shows_hostile_names_as_text() -> None:
    street = Street(homes=0, intervals=8)
    newcomers(street, "0x" + "d" * 40)
    street.reader.history.members["0x" + "d" * 40] = HOSTILE
    for start in street.starts[:3]:
        street.place_at(start - 9_000, "0x" + "d" * 40, Side.SELL, 100, 200_000, start)
        street.place_at(start - 8_000, "0x" + "d" * 40, Side.BUY, 100, 200_000, start)
    report = watch(street.run())
    page = page_of(report)
    assert [finding.code for finding in report.findings] == ["self_trade_attempts"]
    assert "<script" not in page
    assert "&lt;script&gt;" in page
