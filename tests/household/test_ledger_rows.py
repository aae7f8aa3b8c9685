"""Hourly sums: to the Wh and the millionth what settlements and meter say, whatever is corrected and kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.ledger_rows import (
    HOUR_S,
    SERIES,
    Carried,
    Hour,
    SettledRow,
    as_csv,
    hour_of,
    mean_price,
    series,
)
from coordinator.protocol.messages import Side
from coordinator.settlement.statements import statements
from tests.settlement.community import FEED_IN, SUPPLIER, Community, homes

START = 1_800_000_000
MEMBER = Hour(supplier_micro_per_kwh=SUPPLIER, feed_in_micro_per_kwh=FEED_IN)


def row(start: int, bought_wh: int = 0, sold_wh: int = 0, cost: int = 0, revenue: int = 0) -> SettledRow:
    return SettledRow(start, 0, bought_wh, sold_wh, cost, revenue, bought_wh, sold_wh, 0)


def sums(hours: dict[int, Hour], before: Carried | None = None) -> dict[str, int]:
    return dict(series(hours, before or Carried.nothing())[1].sums)


def test_a_receipt_comes_to_what_its_rows_say() -> None:
    seller, buyer = homes("seller", "buyer")
    community = Community(START)
    sell, buy = community.order(seller, Side.SELL, 600, 150_000), community.order(buyer, Side.BUY, 500, 200_000)
    community.trade(buy, sell, 500, 160_000, (5_000, 10_000))
    community.meter(seller, 0, 620)
    community.meter(buyer, 700, 0)
    root, told = statements(community.terms(), community.settle())
    found = {each.account: SettledRow.of_receipt(community.envelope(each, root)) for each in told}
    bought, sold = found[buyer.address], found[seller.address]
    assert (bought.delivery_start, bought.revision) == (START, 0)
    assert (bought.bought_wh, bought.cost_micro, bought.sold_wh, bought.revenue_micro) == (500, 87_500, 0, 0)
    assert (sold.sold_wh, sold.revenue_micro, sold.bought_wh, sold.cost_micro) == (500, 80_000, 0, 0)
    assert (bought.consumption_wh, sold.production_wh) == (700, 620)
    assert bought.saved_micro == 500 * (SUPPLIER - 175_000) // 1_000
    assert SettledRow(*bought.to_list()) == bought


def test_a_receipt_without_its_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="body"):
        SettledRow.of_receipt({})


@pytest.mark.parametrize("amount", [2**63, -(2**63), 10**400])
def test_a_receipt_of_more_than_a_ledger_holds_is_refused(amount: int) -> None:
    body = {
        "delivery_start": START,
        "revision": 0,
        "rows": [{"order": {"side": "buy"}, "executed_wh": 1, "value_micro": amount}],
        "verified": {"consumption_wh": 1, "production_wh": 0},
        "counterfactual": {"saved_micro": 0},
    }
    with pytest.raises(ValueError, match="the ledger can hold"):
        SettledRow.of_receipt({"body": body})
    body["rows"] = [{"order": {"side": "buy"}, "executed_wh": 1, "value_micro": 2**63 - 1}]
    assert SettledRow.of_receipt({"body": body}).cost_micro == 2**63 - 1


def test_the_supplier_has_what_the_meter_saw_and_the_market_did_not() -> None:
    rows = [row(START, 300, 0, 48_000), row(START + 900, 0, 100, 0, 20_000)]
    hour = replace(MEMBER, import_wh=1_000, export_wh=400).traded(rows)
    points, carried = series({START: hour}, Carried.nothing())
    states = {name: found[0].state for name, found in points.items()}
    assert states == {
        "bought": 300,
        "sold": 100,
        "cost": 48_000,
        "revenue": 20_000,
        "grid_import": 700,
        "grid_export": 300,
        "grid_cost": 700 * SUPPLIER // 1_000,
        "grid_revenue": 300 * FEED_IN // 1_000,
    }
    assert carried.sums == states


def test_a_meter_that_shows_the_last_wh_an_hour_late_loses_none() -> None:
    first = replace(MEMBER, import_wh=499, export_wh=0).traded([row(START, 500)])
    second = replace(MEMBER, import_wh=301, export_wh=0)
    points, carried = series({START: first, START + HOUR_S: second}, Carried.nothing())
    assert [point.state for point in points["grid_import"]] == [0, 300]
    assert carried.sums["bought"] + carried.sums["grid_import"] == 800


def test_an_hour_without_a_meter_is_not_zero_but_unknown() -> None:
    hours = {START: MEMBER.traded([row(START, 200)]), START + HOUR_S: replace(MEMBER, import_wh=900)}
    points, _ = series(hours, Carried.nothing())
    assert [(point.start, point.state) for point in points["grid_import"]] == [(START + HOUR_S, 700)]
    assert points["grid_export"] == []


def test_hours_before_the_home_joined_have_energy_of_the_supplier_only() -> None:
    points, _ = series({START: Hour(import_wh=800, export_wh=20)}, Carried.nothing())
    assert {name: [p.sum for p in found] for name, found in points.items() if found} == {
        "grid_import": [800],
        "grid_export": [20],
    }


AMOUNT = st.integers(0, 10_000)
HOURS = st.lists(
    st.builds(
        lambda a, b, c, d, e, f: Hour(a, b, c, d, None if e is None else e + a, None if f is None else f + b, 1, 1),
        AMOUNT,
        AMOUNT,
        st.integers(-(10**9), 10**9),
        st.integers(-(10**9), 10**9),
        st.none() | AMOUNT,
        st.none() | AMOUNT,
    ),
    min_size=1,
    max_size=30,
)


@given(HOURS, st.integers(0, 30))
def test_sums_are_the_same_wherever_old_hours_are_let_go(found: list[Hour], cut: int) -> None:
    hours = {START + place * HOUR_S: hour for place, hour in enumerate(found)}
    old = {start: hour for start, hour in hours.items() if start < START + cut * HOUR_S}
    new = {start: hour for start, hour in hours.items() if start not in old}
    whole, carried = series(hours, Carried.nothing())
    _, before = series(old, Carried.nothing())
    rest, again = series(new, before)
    assert again == carried
    for name in SERIES:
        assert [point for point in whole[name] if point.start in new] == rest[name]


@given(HOURS)
def test_market_and_supplier_together_are_the_meter(found: list[Hour]) -> None:
    hours = {START + place * HOUR_S: replace(hour, import_wh=hour.import_wh or 0) for place, hour in enumerate(found)}
    carried = series(hours, Carried.nothing())[1]
    metered = sum(hour.import_wh or 0 for hour in hours.values())
    assert carried.sums["bought"] + carried.sums["grid_import"] - carried.import_behind_wh == metered
    assert carried.import_behind_wh >= 0


@given(HOURS)
def test_every_sum_is_the_sum_of_its_states(found: list[Hour]) -> None:
    points, carried = series({START + n * HOUR_S: hour for n, hour in enumerate(found)}, Carried.nothing())
    for name, line in points.items():
        total = 0
        for point in line:
            total += point.state
            assert point.sum == total
        assert carried.sums[name] == total


def test_a_correction_changes_the_sums_from_its_hour_on() -> None:
    hours = {START + n * HOUR_S: MEMBER.traded([row(START + n * HOUR_S, 100)]) for n in range(3)}
    corrected = {**hours, START + HOUR_S: MEMBER.traded([row(START + HOUR_S, 40)])}
    before, after = (series(each, Carried.nothing())[0]["bought"] for each in (hours, corrected))
    assert [point.sum for point in before] == [100, 200, 300]
    assert [point.sum for point in after] == [100, 140, 240]
    assert sums(corrected)["bought"] == 240


def test_an_hours_tariff_is_the_mean_of_its_intervals_or_the_markets() -> None:
    assert mean_price({START: 100, START + 900: 200, START + HOUR_S: 999}, START, 7) == 150
    assert mean_price({}, START, 7) == 7
    assert hour_of(START + 1_799) == START


def test_csv_has_exact_money_and_one_line_a_settlement() -> None:
    text = as_csv([row(START, 500, 0, 87_500), row(START + 900, 0, 20, 0, -1)], "EUR")
    assert text == (
        "delivery_start,revision,bought_wh,sold_wh,cost_eur,revenue_eur,consumption_wh,production_wh,saved_eur\n"
        "1800000000,0,500,0,0.087500,0.000000,500,0,0.000000\n"
        "1800000900,0,0,20,0.000000,-0.000001,0,20,0.000000\n"
    )
