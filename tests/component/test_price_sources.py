"""Price sources as a home meets them: sensors of all kinds, actions of real integrations, and everything odd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import probatio as vol
import pytest
from freezegun.api import TickingDateTimeFactory
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import entity_registry as er

from custom_components.energy_trade.sources import price_sources
from custom_components.energy_trade.sources.price_sources import (
    PRICE_PROBLEMS,
    PriceChoice,
    PriceProblem,
    PriceRow,
    async_preview_prices,
    async_price_choices,
    async_prices,
    is_action,
    read_prices,
)
from tests.component.outlook_bench import AT, HOUR, INFO, NOW, QUARTER, loaded_entry, market_info, real_fields

SENSOR = "sensor.price"
BRUSSELS = ZoneInfo("Europe/Brussels")
MIDNIGHT = int(datetime(2026, 11, 22, tzinfo=BRUSSELS).timestamp())

type Answer = Callable[[ServiceCall], ServiceResponse]


@pytest.fixture(autouse=True)
async def _here_and_now(hass: HomeAssistant, clock: TickingDateTimeFactory) -> None:
    await hass.config.async_set_time_zone("Europe/Berlin")
    hass.config.currency = "EUR"
    clock.move_to(NOW)


def code(found: object) -> str:
    assert isinstance(found, PriceProblem), found
    assert found.code in PRICE_PROBLEMS
    return found.code


def say(hass: HomeAssistant, state: object, unit: str | None = "EUR/kWh", **attributes: Any) -> None:
    unit_of: dict[str, Any] = {} if unit is None else {"unit_of_measurement": unit}
    hass.states.async_set(SENSOR, str(state), unit_of | attributes)


def day(price: float = 0.2, **names: str) -> list[dict[str, Any]]:
    """Two days of hours from the local midnight on, each a tenth of a cent dearer."""
    named = {"start": "start", "end": "end", "value": "value"} | names
    begin = datetime(2026, 11, 22, tzinfo=BRUSSELS)
    return [
        {
            named["start"]: (begin + timedelta(hours=n)).isoformat(),
            named["end"]: (begin + timedelta(hours=n + 1)).isoformat(),
            named["value"]: price + n / 1_000,
        }
        for n in range(48)
    ]


async def test_a_sensor_that_tells_only_a_state_is_believed_for_the_next_hour(hass: HomeAssistant) -> None:
    say(hass, "24.5", "ct/kWh")
    start = AT - AT % QUARTER
    assert read_prices(hass, SENSOR, INFO, AT) == (PriceRow(start, start + QUARTER + HOUR, 245_000),)
    rows = await async_preview_prices(hass, SENSOR, INFO)
    assert rows == tuple(PriceRow(at, at + QUARTER, 245_000) for at in range(start, start + 5 * QUARTER, QUARTER))


async def test_a_helper_that_is_a_number_is_a_price_too(hass: HomeAssistant) -> None:
    hass.states.async_set("input_number.price", "0.19", {"unit_of_measurement": "€/kWh"})
    rows = read_prices(hass, "input_number.price", INFO, AT)
    assert isinstance(rows, tuple)
    assert rows[0].price_micro_per_kwh == 190_000


@pytest.mark.parametrize("attribute", ["raw_today", "prices", "forecast", "data", "rates"])
async def test_lists_in_attributes_are_read_with_their_times(hass: HomeAssistant, attribute: str) -> None:
    lists: dict[str, Any] = {attribute: day()}
    say(hass, "0.25", **lists)
    rows = await async_preview_prices(hass, SENSOR, INFO)
    assert isinstance(rows, tuple)
    assert rows[0] == PriceRow(AT - AT % QUARTER, AT - AT % QUARTER + QUARTER, 210_000)  # 10:07 in Berlin
    assert rows[-1].end == MIDNIGHT + 48 * HOUR
    assert all(before.end == after.start for before, after in pairwise(rows))


async def test_prices_are_averaged_to_the_markets_interval(hass: HomeAssistant) -> None:
    quarters = [{"start": MIDNIGHT + QUARTER * n, "value": 0.1 * (n % 4)} for n in range(96)]
    say(hass, "0.1", prices=quarters)
    rows = await async_preview_prices(hass, SENSOR, market_info(interval_s=HOUR))
    assert isinstance(rows, tuple)
    assert {row.price_micro_per_kwh for row in rows} == {150_000}


async def test_a_renamed_sensor_is_followed_by_its_registry_id(hass: HomeAssistant) -> None:
    registry = er.async_get(hass)
    entry = registry.async_get_or_create("sensor", "tariff", "1", suggested_object_id="price")
    say(hass, "0.25")
    assert isinstance(read_prices(hass, entry.id, INFO, AT), tuple)
    registry.async_update_entity(SENSOR, new_entity_id="sensor.spot")
    hass.states.async_remove(SENSOR)
    hass.states.async_set("sensor.spot", "0.26", {"unit_of_measurement": "EUR/kWh"})
    rows = read_prices(hass, entry.id, INFO, AT)
    assert isinstance(rows, tuple)
    assert rows[0].price_micro_per_kwh == 260_000


@pytest.mark.parametrize(
    ("state", "unit", "problem"),
    [
        ("unavailable", "EUR/kWh", "unavailable"),
        ("unknown", "EUR/kWh", "unavailable"),
        ("cheap", "EUR/kWh", "not_a_number"),
        ("nan", "EUR/kWh", "not_a_number"),
        ("inf", "EUR/kWh", "not_a_number"),
        ("", "EUR/kWh", "not_a_number"),
        ("31.5", "EUR/kWh", "absurd"),
        ("-31.5", "EUR/kWh", "absurd"),
        ("0.25", None, "unit"),
        ("0.25", "kWh", "unit"),
        ("0.25", "EUR", "unit"),
        ("0.25", "SEK/kWh", "currency"),
    ],
)
async def test_what_is_no_price_is_a_problem_that_names_the_sensor(
    hass: HomeAssistant, state: str, unit: str | None, problem: str
) -> None:
    say(hass, state, unit)
    found = await async_preview_prices(hass, SENSOR, INFO)
    assert code(found) == problem
    assert isinstance(found, PriceProblem)
    assert SENSOR in found.message


async def test_a_sensor_that_is_gone_is_a_problem(hass: HomeAssistant) -> None:
    assert code(await async_preview_prices(hass, SENSOR, INFO)) == "missing"
    assert code(await async_preview_prices(hass, "0123456789abcdef0123456789abcdef", INFO)) == "missing"


async def test_an_absurd_row_is_a_problem_even_when_the_state_is_none(hass: HomeAssistant) -> None:
    say(hass, "0.25", raw_today=day(price=25))
    assert code(await async_preview_prices(hass, SENSOR, INFO)) == "absurd"


async def test_only_yesterdays_prices_are_no_prices(hass: HomeAssistant) -> None:
    say(hass, "0.25", prices=[{"start": MIDNIGHT - HOUR * (n + 1), "value": 0.2} for n in range(24)])
    assert code(await async_preview_prices(hass, SENSOR, INFO)) == "no_prices"


def answers(
    hass: HomeAssistant, domain: str, service: str, answer: Answer, schema: vol.Schema | None = None
) -> list[dict[str, Any]]:
    """Register an action that answers as the integration's own; return what it is asked."""
    asked: list[dict[str, Any]] = []

    async def handle(call: ServiceCall) -> ServiceResponse:
        asked.append(dict(call.data))
        return answer(call)

    hass.services.async_register(domain, service, handle, schema, SupportsResponse.ONLY)
    return asked


def nordpool(call: ServiceCall) -> ServiceResponse:
    """Two areas of quarter hours in EUR/MWh, of a day of Central European time."""
    begin = datetime.fromisoformat(call.data["date"]).replace(tzinfo=BRUSSELS)
    rows: list[Any] = [
        {
            "start": (begin + timedelta(minutes=15 * n)).astimezone(UTC).isoformat(),
            "end": (begin + timedelta(minutes=15 * n + 15)).astimezone(UTC).isoformat(),
            "price": 80.0 + n,
        }
        for n in range(96)
    ]
    return {"SE3": rows, "SE4": [row | {"price": 200.0} for row in rows]}


async def test_nordpools_action_is_asked_for_today_and_tomorrow(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3", "SE4"], currency="EUR")
    asked = answers(hass, "nordpool", "get_prices_for_date", nordpool)
    rows = await async_preview_prices(hass, f"nordpool:{entry.entry_id}:SE3", INFO)
    assert isinstance(rows, tuple)
    assert rows[0] == PriceRow(AT - AT % QUARTER, AT - AT % QUARTER + QUARTER, 120_000)  # quarter 40 of the day
    assert rows[-1].end == MIDNIGHT + 48 * HOUR
    assert [call["date"] for call in asked] == ["2026-11-22", "2026-11-23"]
    dear = await async_preview_prices(hass, f"nordpool:{entry.entry_id}:SE4", INFO)
    assert isinstance(dear, tuple)
    assert dear[0].price_micro_per_kwh == 200_000


async def test_nordpool_asks_for_the_markets_days_and_not_the_homes(hass: HomeAssistant) -> None:
    """In Helsinki a quarter past midnight it is still yesterday in Brussels."""
    await hass.config.async_set_time_zone("Europe/Helsinki")
    entry = loaded_entry(hass, "nordpool", areas=["FI"], currency="EUR")
    asked = answers(hass, "nordpool", "get_prices_for_date", lambda call: {"FI": nordpool(call)["SE3"]})  # type: ignore[index]
    at = int(datetime(2026, 11, 22, 22, 15, tzinfo=UTC).timestamp())
    rows = await async_prices(hass, f"nordpool:{entry.entry_id}", INFO, at)
    assert isinstance(rows, tuple)
    assert [call["date"] for call in asked] == ["2026-11-22", "2026-11-23"]
    assert any(row.start <= at < row.end for row in rows)


async def test_tomorrow_that_is_not_published_takes_nothing_from_today(hass: HomeAssistant) -> None:
    def only_today(call: ServiceCall) -> ServiceResponse:
        if call.data["date"] != "2026-11-22":
            raise ServiceValidationError("no data yet")
        return nordpool(call)

    entry = loaded_entry(hass, "nordpool", areas=["SE3", "SE4"], currency="EUR")
    answers(hass, "nordpool", "get_prices_for_date", only_today)
    rows = await async_preview_prices(hass, f"nordpool:{entry.entry_id}:SE3", INFO)
    assert isinstance(rows, tuple)
    assert rows[-1].end == MIDNIGHT + 24 * HOUR


async def test_several_areas_need_one_to_be_named(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3", "SE4"], currency="EUR")
    answers(hass, "nordpool", "get_prices_for_date", nordpool)
    assert code(await async_preview_prices(hass, f"nordpool:{entry.entry_id}", INFO)) == "ambiguous"
    assert code(await async_preview_prices(hass, f"nordpool:{entry.entry_id}:NO1", INFO)) == "missing"


async def test_an_action_in_another_currency_is_refused_before_it_is_asked(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3"], currency="SEK")
    asked = answers(hass, "nordpool", "get_prices_for_date", nordpool)
    assert code(await async_preview_prices(hass, f"nordpool:{entry.entry_id}", INFO)) == "currency"
    assert asked == []
    hass.config.currency = "NOK"
    other = loaded_entry(hass, "tibber")
    assert code(await async_preview_prices(hass, f"tibber:{other.entry_id}", INFO)) == "currency"


async def test_tibbers_action_tells_the_homes_prices(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "tibber", "Tibber")
    rows: list[Any] = [{"start_time": row["start"], "price": row["value"]} for row in day()]
    asked = answers(hass, "tibber", "get_prices", lambda _call: {"prices": {"Elm Street 5": rows}})
    found = await async_preview_prices(hass, f"tibber:{entry.entry_id}", INFO)
    assert isinstance(found, tuple)
    assert found[0].price_micro_per_kwh == 210_000
    assert asked == [{"start": "2026-11-22T00:00:00+01:00", "end": "2026-11-24T00:00:00+01:00"}]
    named = await async_preview_prices(hass, f"tibber:{entry.entry_id}:Elm Street 5", INFO)
    assert named == found
    assert code(await async_preview_prices(hass, f"tibber:{entry.entry_id}:Cabin", INFO)) == "missing"


@pytest.mark.parametrize(
    ("variant", "service", "data"),
    [("", "get_energy_usage_prices", {"incl_vat": True}), (":return", "get_energy_return_prices", {})],
)
async def test_easyenergys_actions_tell_what_is_taken_and_what_is_paid(
    hass: HomeAssistant, variant: str, service: str, data: dict[str, Any]
) -> None:
    def told(call: ServiceCall) -> ServiceResponse:
        begin = datetime.fromisoformat(call.data["start"]).replace(tzinfo=BRUSSELS)
        rows: list[Any] = [{"timestamp": str(begin + timedelta(hours=n)), "price": 0.2} for n in range(24)]
        return {"prices": rows}

    entry = loaded_entry(hass, "easyenergy")
    asked = answers(hass, "easyenergy", service, told)
    rows = await async_preview_prices(hass, f"easyenergy:{entry.entry_id}{variant}", INFO)
    assert isinstance(rows, tuple)
    assert rows[-1].end == MIDNIGHT + 48 * HOUR
    days = ("2026-11-22", "2026-11-23")
    assert asked == [{"config_entry": entry.entry_id, "start": day, "end": day} | data for day in days]


async def test_energyzeros_action_tells_market_or_all_in_prices(hass: HomeAssistant) -> None:
    def told(call: ServiceCall) -> ServiceResponse:
        begin = datetime.fromisoformat(call.data["start"]).replace(tzinfo=BRUSSELS)
        price = 0.3 if call.data.get("price_type") == "all_in" else 0.1
        rows: list[Any] = [
            {
                "price": price,
                "timestamp": str(begin + timedelta(hours=n)),
                "start": str(begin + timedelta(hours=n)),
                "end": str(begin + timedelta(hours=n + 1)),
            }
            for n in range(24)
        ]
        return {"prices": rows}

    entry = loaded_entry(hass, "energyzero")
    answers(hass, "energyzero", "get_energy_prices", told)
    for variant, price in (("", 100_000), (":all_in", 300_000)):
        rows = await async_preview_prices(hass, f"energyzero:{entry.entry_id}{variant}", INFO)
        assert isinstance(rows, tuple)
        assert rows[0].price_micro_per_kwh == price


@pytest.mark.parametrize(
    ("domain", "service", "variant"),
    [
        ("nordpool", "get_prices_for_date", ""),
        ("tibber", "get_prices", ""),
        ("easyenergy", "get_energy_usage_prices", ""),
        ("easyenergy", "get_energy_return_prices", ":return"),
        ("energyzero", "get_energy_prices", ""),
        ("energyzero", "get_energy_prices", ":all_in"),
    ],
)
async def test_what_is_asked_is_what_the_installed_integration_takes(
    hass: HomeAssistant, domain: str, service: str, variant: str
) -> None:
    """Compared with the integration's own description in the installed Home Assistant."""
    entry = loaded_entry(hass, domain, areas=["SE3"], currency="EUR")
    asked = answers(hass, domain, service, lambda _call: {})
    await async_preview_prices(hass, f"{domain}:{entry.entry_id}{variant}", INFO)
    fields = real_fields(domain, service)
    assert asked
    for call in asked:
        assert call.keys() <= fields.keys()
        assert {name for name, field in fields.items() if field and field.get("required")} <= call.keys()


@pytest.mark.parametrize(
    "answer",
    [{}, {"prices": None}, {"prices": "x"}, {"prices": {"a": 1}}, {"prices": [{"start_time": "soon", "price": 1}]}],
    ids=repr,
)
async def test_an_answer_that_makes_no_sense_tells_no_price(hass: HomeAssistant, answer: Any) -> None:
    for domain, service in (("tibber", "get_prices"), ("easyenergy", "get_energy_usage_prices")):
        entry = loaded_entry(hass, domain)
        answers(hass, domain, service, lambda _call: answer)
        found = await async_preview_prices(hass, f"{domain}:{entry.entry_id}", INFO)
        assert code(found) in ("no_prices", "failed")


@pytest.mark.parametrize("error", [HomeAssistantError("down"), ServiceValidationError("no"), TimeoutError()], ids=repr)
async def test_an_action_that_fails_is_a_problem(hass: HomeAssistant, error: Exception) -> None:
    def fail(_call: ServiceCall) -> ServiceResponse:
        raise error

    entry = loaded_entry(hass, "nordpool", areas=["SE3"], currency="EUR")
    answers(hass, "nordpool", "get_prices_for_date", fail)
    found = await async_preview_prices(hass, f"nordpool:{entry.entry_id}", INFO)
    assert code(found) == "failed"
    assert isinstance(found, PriceProblem)
    assert "nordpool.get_prices_for_date" in found.message


async def test_an_action_that_takes_other_fields_than_it_did_is_a_problem(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3"], currency="EUR")
    schema = vol.Schema({vol.Required("day"): str})
    answers(hass, "nordpool", "get_prices_for_date", nordpool, schema)
    assert code(await async_preview_prices(hass, f"nordpool:{entry.entry_id}", INFO)) == "failed"


async def test_an_action_that_never_answers_is_given_up(hass: HomeAssistant) -> None:
    async def never(_call: ServiceCall) -> ServiceResponse:
        await asyncio.Event().wait()
        return {}

    entry = loaded_entry(hass, "tibber")
    hass.services.async_register("tibber", "get_prices", never, None, SupportsResponse.ONLY)
    with patch.object(price_sources, "ANSWER_S", 0.01):
        assert code(await async_preview_prices(hass, f"tibber:{entry.entry_id}", INFO)) == "failed"


async def test_an_action_source_must_be_set_up_and_run(hass: HomeAssistant) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3"], currency="EUR")
    reference = f"nordpool:{entry.entry_id}"
    assert code(await async_preview_prices(hass, reference, INFO)) == "failed"  # it has registered no action
    assert await hass.config_entries.async_unload(entry.entry_id)
    assert code(await async_preview_prices(hass, reference, INFO)) == "not_loaded"
    assert code(await async_preview_prices(hass, "nordpool:gone", INFO)) == "missing"
    assert code(await async_preview_prices(hass, f"tibber:{entry.entry_id}", INFO)) == "missing"


async def test_the_sources_that_are_set_up_are_offered_with_their_areas(hass: HomeAssistant) -> None:
    assert async_price_choices(hass) == ()
    one = loaded_entry(hass, "nordpool", "North", areas=["FI"], currency="EUR")
    two = loaded_entry(hass, "nordpool", "South", areas=["SE3", "SE4"], currency="EUR")
    easy = loaded_entry(hass, "easyenergy", "Easy")
    assert async_price_choices(hass) == (
        PriceChoice(f"nordpool:{one.entry_id}", "Nord Pool: North"),
        PriceChoice(f"nordpool:{two.entry_id}:SE3", "Nord Pool: South (SE3)"),
        PriceChoice(f"nordpool:{two.entry_id}:SE4", "Nord Pool: South (SE4)"),
        PriceChoice(f"easyenergy:{easy.entry_id}", "easyEnergy: Easy"),
        PriceChoice(f"easyenergy:{easy.entry_id}:return", "easyEnergy: Easy (return)"),
    )
    assert all(is_action(choice.reference) for choice in async_price_choices(hass))
    assert not is_action(SENSOR)


@pytest.mark.parametrize("told", [{}, {"SE3": []}, Mapping])
async def test_an_area_without_rows_has_no_prices(hass: HomeAssistant, told: Any) -> None:
    entry = loaded_entry(hass, "nordpool", areas=["SE3"], currency="EUR")
    answers(hass, "nordpool", "get_prices_for_date", lambda _call: told if isinstance(told, dict) else {"SE3": 5})
    assert code(await async_preview_prices(hass, f"nordpool:{entry.entry_id}", INFO)) == "no_prices"
