"""Prices in the shapes in which integrations really tell them, and everything that must not become a price.

The shapes are those of the integrations named beside the cases, by their documentation or source.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.price_rows import (
    ABSURD_TIMES_TARIFF,
    PRICE_PROBLEMS,
    PriceProblem,
    PriceRow,
    factor_of,
    per_interval,
    price_of,
    rows_in,
    rows_of,
)

from .world import INFO, market_info

BERLIN = ZoneInfo("Europe/Berlin")
DAY = datetime(2026, 11, 22, tzinfo=BERLIN)
MIDNIGHT = int(DAY.timestamp())
HOUR = 3_600


def code(found: object) -> str:
    assert isinstance(found, PriceProblem), found
    assert found.code in PRICE_PROBLEMS
    return found.code


def rows(told: object, unit: str | None = "EUR/kWh", **changes: Any) -> tuple[PriceRow, ...]:
    found = rows_of(told, unit, market_info(**changes), BERLIN)
    assert isinstance(found, tuple), found
    return found


@pytest.mark.parametrize(
    ("unit", "currency", "micro"),
    [
        ("EUR/kWh", "EUR", 1_000_000),
        ("€/kWh", "EUR", 1_000_000),
        (" eur / KWH ", "EUR", 1_000_000),
        ("EUR/MWh", "EUR", 1_000),
        ("EUR/GWh", "EUR", 1),
        ("EUR/Wh", "EUR", 1_000_000_000),
        ("ct/kWh", "EUR", 10_000),
        ("cents/kWh", "EUR", 10_000),
        ("¢/kWh", "USD", 10_000),
        ("€ct/kWh", "EUR", 10_000),
        ("EUR ct/kWh", "EUR", 10_000),
        ("EUR-cents/kWh", "EUR", 10_000),
        ("öre/kWh", "SEK", 10_000),
        ("øre/kWh", "NOK", 10_000),
        ("p/kWh", "GBP", 10_000),
        ("£/kWh", "GBP", 1_000_000),
        ("kr/kWh", "DKK", 1_000_000),
        ("Rp./kWh", "CHF", 10_000),
        ("Kč/kWh", "CZK", 1_000_000),
    ],
)
def test_units_of_price_are_normalised(unit: str, currency: str, micro: int) -> None:
    assert factor_of(unit, currency) == Decimal(micro)


@pytest.mark.parametrize("unit", [None, "", "EUR", "kWh", "EUR/kW", "EUR/m³", "EUR/kWh/h", "/", "%", "EUR kWh"])
def test_a_strange_unit_is_refused(unit: str | None) -> None:
    assert code(factor_of(unit, "EUR")) == "unit"


@pytest.mark.parametrize("unit", ["SEK/kWh", "öre/kWh", "p/kWh", "$/kWh", "kr/kWh", "x/kWh", "/kWh", "SEKct/kWh"])
def test_another_currency_is_refused(unit: str) -> None:
    assert code(factor_of(unit, "EUR")) == "currency"


@pytest.mark.parametrize(
    ("value", "micro"),
    [("0.2413", 241_300), (0.2413, 241_300), (Decimal("0.2413"), 241_300), (0, 0), ("-0.05", -50_000), (" 1 ", 10**6)],
    ids=repr,
)
def test_a_price_is_read_exactly(value: object, micro: int) -> None:
    assert price_of(value, Decimal(10**6), INFO) == micro


@pytest.mark.parametrize(
    "value", [None, "unknown", "", "nan", float("nan"), "inf", True, [], {}, "1,2", "0x1"], ids=repr
)
def test_what_is_no_number_is_no_price(value: object) -> None:
    assert code(price_of(value, Decimal(10**6), INFO)) == "not_a_number"


def test_cents_that_are_told_as_euros_are_refused() -> None:
    assert price_of("28.4", Decimal(10_000), INFO) == 284_000
    assert code(price_of("28.4", Decimal(10**6), INFO)) == "absurd"
    assert code(price_of("-28.4", Decimal(10**6), INFO)) == "absurd"


@given(st.decimals(-100, 100, places=6))
def test_no_price_gets_through_that_is_beyond_any_tariff(value: Decimal) -> None:
    found = price_of(value, Decimal(10**6), INFO)
    most = ABSURD_TIMES_TARIFF * INFO.supplier_micro_per_kwh
    assert (found == value * 10**6) if abs(value * 10**6) <= most else code(found) == "absurd"


def test_a_market_without_a_suppliers_tariff_judges_by_its_band() -> None:
    free = market_info(supplier_micro_per_kwh=0)
    assert price_of("29", Decimal(10**6), free) == 29_000_000
    assert code(price_of("31", Decimal(10**6), free)) == "absurd"


def hours(count: int, **names: str) -> list[dict[str, Any]]:
    """A day's rows with these names for start, end and value."""
    found: list[dict[str, Any]] = []
    for n in range(count):
        start = DAY + timedelta(hours=n)
        row = {"start": start, "end": start + timedelta(hours=1), "value": round(0.2 + n / 100, 2)}
        found.append({name: row[what] for what, name in names.items()})
    return found


@pytest.mark.parametrize(
    "names",
    [
        {"start": "start", "end": "end", "value": "value"},  # nordpool (HACS): raw_today
        {"start": "hour", "value": "price"},  # energidataservice
        {"start": "start_time", "end": "end_time", "value": "price_per_kwh"},  # EPEX Spot
        {"start": "time", "value": "price"},  # ENTSO-e
        {"start": "startsAt", "value": "total"},  # Tibber's API
        {"start": "valid_from", "end": "valid_to", "value": "value_inc_vat"},  # Octopus Energy
        {"start": "start_time", "end": "end_time", "value": "per_kwh"},  # Amber
        {"start": "timestamp", "value": "price"},  # easyEnergy's action
    ],
    ids=lambda names: "-".join(names.values()),
)
def test_rows_of_known_shapes_are_read(names: dict[str, str]) -> None:
    found = rows(hours(24, **names))
    assert len(found) == 24
    assert found[0] == PriceRow(MIDNIGHT, MIDNIGHT + HOUR, 200_000)
    assert found[23] == PriceRow(MIDNIGHT + 23 * HOUR, MIDNIGHT + 24 * HOUR, 430_000)


def test_a_key_that_names_its_unit_rules_over_the_sensors() -> None:
    told = [{"start_time": DAY.isoformat(), "price_ct_per_kwh": 25.0}]
    assert rows(told, "EUR/MWh")[0].price_micro_per_kwh == 250_000
    told = [{"start_time": DAY.isoformat(), "price_eur_per_mwh": 250.0}]
    assert rows(told, "ct/kWh")[0].price_micro_per_kwh == 250_000
    assert code(rows_of(told, "SEK/kWh", market_info(currency="SEK"), BERLIN)) == "currency"


@pytest.mark.parametrize(
    "start", [DAY, DAY.isoformat(), "2026-11-22T00:00:00", "2026-11-22 00:00", MIDNIGHT, MIDNIGHT * 1_000], ids=repr
)
def test_times_are_read_in_every_form(start: object) -> None:
    assert rows([{"start": start, "value": 0.2}]) == (PriceRow(MIDNIGHT, MIDNIGHT + HOUR, 200_000),)


@pytest.mark.parametrize(
    "start", [None, "soon", "2026-13-45T00:00:00", True, 12, 1e15, "22.11.2026 00:00:00"], ids=repr
)
def test_a_row_without_a_time_is_no_row(start: object) -> None:
    assert rows([{"start": start, "value": 0.2}]) == ()


@pytest.mark.parametrize(
    "told", [None, 5, "text", [5, None, "x"], [{}], {"a": 1}, [{"start": DAY, "other": 1}]], ids=repr
)
def test_what_has_no_known_shape_tells_no_rows(told: object) -> None:
    assert rows(told) == ()


def test_prices_that_are_not_published_yet_are_left_out() -> None:
    told = [{"start": DAY, "value": 0.2}, {"start": DAY + timedelta(hours=1), "value": None}]
    told.append({"start": DAY + timedelta(hours=2), "value": "unknown"})
    assert [row.start for row in rows(told)] == [MIDNIGHT]


def test_one_absurd_row_makes_the_source_unbelievable() -> None:
    told = [{"start": DAY, "value": 0.2}, {"start": DAY + timedelta(hours=1), "value": 90}]
    assert code(rows_of(told, "EUR/kWh", INFO, BERLIN)) == "absurd"


def test_rows_need_a_unit() -> None:
    assert code(rows_of([{"start": DAY, "value": 0.2}], None, INFO, BERLIN)) == "unit"


def test_a_row_without_an_end_lasts_to_the_next_but_never_longer_than_an_hour() -> None:
    quarter = timedelta(minutes=15)
    told = [{"start": DAY + n * quarter, "value": 0.2} for n in (0, 1, 2, 8)]
    assert [(row.start - MIDNIGHT, row.end - MIDNIGHT) for row in rows(told)] == [
        (0, 900),
        (900, 1_800),
        (1_800, 5_400),
        (7_200, 8_100),
    ]


def test_a_row_that_ends_before_it_begins_is_left_out() -> None:
    assert rows([{"start": DAY, "end": DAY - timedelta(hours=1), "value": 0.2}]) == ()
    assert rows([{"start": DAY, "end": DAY + timedelta(days=3), "value": 0.2}]) == ()


def test_the_hour_that_is_there_twice_is_read_twice() -> None:
    """On 25 October 2026 the clock goes back at 3:00; local times without a zone name 2:00 two times."""
    names = ["2026-10-25T01:00:00", "2026-10-25T02:00:00", "2026-10-25T02:00:00", "2026-10-25T03:00:00"]
    found = rows([{"start": name, "value": n / 10} for n, name in enumerate(names)])
    assert [(row.end - row.start, row.price_micro_per_kwh) for row in found] == [
        (HOUR, 0),
        (HOUR, 100_000),
        (HOUR, 200_000),
        (HOUR, 300_000),
    ]
    assert found[0].start + 3 * HOUR == found[3].start


def test_the_hour_that_is_missing_leaves_no_hole() -> None:
    """On 29 March 2026 the clock goes from 2:00 to 3:00."""
    names = ["2026-03-29T01:00:00", "2026-03-29T03:00:00"]
    found = rows([{"start": name, "value": 0.1} for name in names])
    assert found[0].end == found[1].start == found[0].start + HOUR


def test_times_that_are_told_twice_count_once() -> None:
    told = [{"start": DAY, "value": 0.2}, {"start": DAY.isoformat(), "value": 0.3}]
    assert rows(told) == (PriceRow(MIDNIGHT, MIDNIGHT + HOUR, 200_000),)


def test_a_mapping_from_times_to_prices_is_read() -> None:
    """As Czech spot prices and forecast.solar's relatives tell them."""
    told = {(DAY + timedelta(hours=n)).isoformat(): 0.2 for n in range(3)} | {"icon": "mdi:cash"}
    assert len(rows(told)) == 3
    assert len(rows({DAY: 0.2})) == 1


def attributes(**changes: object) -> dict[str, object]:
    return {"unit_of_measurement": "EUR/kWh", "friendly_name": "Price", **changes}


def test_today_and_tomorrow_are_put_together() -> None:
    tomorrow = [{"start": DAY + timedelta(hours=24 + n), "value": 0.3} for n in range(24)]
    told = attributes(raw_today=hours(24, start="start", value="value"), raw_tomorrow=tomorrow, today=[0.1] * 24)
    found = rows_in(told, "EUR/kWh", INFO, BERLIN)
    assert isinstance(found, tuple)
    assert len(found) == 48
    assert found[47] == PriceRow(MIDNIGHT + 47 * HOUR, MIDNIGHT + 48 * HOUR, 300_000)


def test_a_published_price_rules_over_a_forecast_of_it() -> None:
    """As energidataservice has it: a forecast that may speak of the same hours."""
    forecast = [{"hour": DAY + timedelta(minutes=30 + 60 * n), "price": 9.0} for n in range(-2, 26)]
    told = attributes(forecast=forecast, raw_today=hours(24, start="hour", value="price"))
    found = rows_in(told, "EUR/kWh", INFO, BERLIN)
    assert isinstance(found, tuple)
    assert [row.price_micro_per_kwh for row in found[1:25]] == [200_000 + 10_000 * n for n in range(24)]
    assert found[0].end <= MIDNIGHT
    assert [row.start for row in found[25:]] == [MIDNIGHT + 49 * HOUR // 2, MIDNIGHT + 51 * HOUR // 2]


def test_lists_of_numbers_without_times_are_not_guessed_at() -> None:
    assert rows_in(attributes(today=[0.1] * 24, prices=[0.2] * 24), "EUR/kWh", INFO, BERLIN) == ()


def test_a_problem_in_any_list_is_told() -> None:
    told = attributes(raw_today=[{"start": DAY, "value": 5_000}])
    assert code(rows_in(told, "EUR/kWh", INFO, BERLIN)) == "absurd"


def test_prices_of_short_and_long_steps_come_to_the_markets_interval() -> None:
    quarters = [PriceRow(MIDNIGHT + 900 * n, MIDNIGHT + 900 * (n + 1), 100_000 * n) for n in range(8)]
    assert per_interval(quarters, HOUR) == {MIDNIGHT: 150_000, MIDNIGHT + HOUR: 550_000}
    hour = [PriceRow(MIDNIGHT, MIDNIGHT + HOUR, 123_456)]
    assert per_interval(hour, 900) == dict.fromkeys(range(MIDNIGHT, MIDNIGHT + HOUR, 900), 123_456)


def test_of_rows_of_one_answer_that_overlap_the_first_counts() -> None:
    told = [
        {"start": DAY, "end": DAY + timedelta(hours=1), "value": 0.2},
        {"start": DAY + timedelta(minutes=30), "end": DAY + timedelta(minutes=90), "value": 0.3},
        {"start": DAY + timedelta(minutes=90), "end": DAY + timedelta(minutes=120), "value": 0.4},
    ]
    quarters = {MIDNIGHT + 900 * n: 200_000 for n in range(4)} | {MIDNIGHT + 900 * n: 400_000 for n in (6, 7)}
    assert per_interval(rows(told), 900) == quarters


def test_times_in_utc_are_times_in_utc() -> None:
    assert rows([{"start": datetime(2026, 11, 21, 23, tzinfo=UTC), "value": 0.2}])[0].start == MIDNIGHT
