"""The week that is shown before a policy begins, from a real recorder; and what prices were told in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.db_schema import Statistics
from homeassistant.components.recorder.models import StatisticData, StatisticMeanType, StatisticMetaData
from homeassistant.core import HomeAssistant, ServiceCall, SupportsResponse
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.util import dt as dt_util
from sqlalchemy.exc import OperationalError

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.flows import price_history
from custom_components.energy_trade.protocol.client import MarketInfo
from tests.component.community import NOON
from tests.component.flows_tools import shows, suggested, to_settings, words
from tests.component.outlook_bench import loaded_entry
from tests.component.rig import EXPORT_METER, IMPORT_METER, PRICES, Rig
from tests.component.test_flow_policies import SHOWN, SPOT, set_price

HOUR_S, DAY_S = 3_600, 86_400


@pytest.fixture(autouse=True)
def _our_integration(recorder_mock: Recorder, enable_custom_integrations: None) -> None:
    """Start the recorder before Home Assistant."""


async def keep(hass: HomeAssistant, statistic_id: str, hours: Mapping[int, float], unit: str = "kWh") -> None:
    """Let the recorder have these changes of a register (or means of a price) by hour."""
    is_price = unit != "kWh"
    metadata = StatisticMetaData(
        mean_type=StatisticMeanType.ARITHMETIC if is_price else StatisticMeanType.NONE,
        has_sum=not is_price,
        name=None,
        source="recorder",
        statistic_id=statistic_id,
        unit_class=None if is_price else "energy",
        unit_of_measurement=unit,
    )
    total, rows = 0.0, []
    for start, value in sorted(hours.items()):
        total += value
        when = dt_util.utc_from_timestamp(start)
        rows.append(StatisticData(start=when, mean=value) if is_price else StatisticData(start=when, sum=total))
    get_instance(hass).async_import_statistics(metadata, rows, Statistics)
    await get_instance(hass).async_block_till_done()


def hours(value_at: Mapping[int, float]) -> dict[int, float]:
    """Return a value for each hour of the eight days before noon, by its hour of the day."""
    return {at: value_at.get(at // HOUR_S % 24, 0.0) for at in range(NOON - 8 * DAY_S, NOON, HOUR_S)}


async def meter_kept(hass: HomeAssistant) -> None:
    await keep(hass, IMPORT_METER, hours({19: 1.0}))
    await keep(hass, EXPORT_METER, hours({12: 2.0}))


async def test_the_last_seven_days_are_shown(rig: Rig, hass: HomeAssistant) -> None:
    await meter_kept(hass)
    flow = shows(await rig.answer(await to_settings(rig, "surplus"), PRICES), "preview")
    shown = words(flow)
    # each day 2 kWh sold at 0.16 instead of 0.08, and 1 kWh bought at 0.24 instead of 0.32
    assert (shown["days"], shown["sold"], shown["bought"]) == ("7", "14.0", "7.0")
    assert (shown["without"], shown["money"]) == ("1.12 EUR", "-0.56 EUR")
    assert shown["gain"] == "7.30 EUR", "7 x 0.24 EUR in 7 days, 30.44 days in a month"
    assert (shown["traded"], shown["known"]) == ("840", "0"), "120 minutes a day at the order's own limit"
    assert suggested(flow) == {"shadow": True}
    done = await rig.answer(flow, {"shadow": False})
    assert done["type"] is FlowResultType.CREATE_ENTRY


async def test_without_a_record_of_the_meter_it_says_so(rig: Rig, hass: HomeAssistant) -> None:
    flow = shows(await rig.answer(await to_settings(rig, "surplus"), PRICES), "no_preview")
    assert "statistics" in words(flow)["reason"]


async def test_with_a_record_that_ended_long_ago_it_says_so(rig: Rig, hass: HomeAssistant) -> None:
    for meter in (IMPORT_METER, EXPORT_METER):
        await keep(hass, meter, {NOON - 8 * DAY_S + n * HOUR_S: 1.0 for n in range(10)})
    flow = shows(await rig.answer(await to_settings(rig, "surplus"), PRICES), "no_preview")
    assert words(flow)["reason"]


async def test_with_a_record_that_never_tells_both_registers_it_says_so(rig: Rig, hass: HomeAssistant) -> None:
    await keep(hass, IMPORT_METER, {NOON - n * HOUR_S: 1.0 for n in range(40, 36, -1)})
    await keep(hass, EXPORT_METER, {NOON - n * HOUR_S: 1.0 for n in range(20, 16, -1)})
    flow = shows(await rig.answer(await to_settings(rig, "surplus"), PRICES), "no_preview")
    assert "nothing of the meter" in words(flow)["reason"]


async def test_with_a_record_of_less_than_a_day_no_month_is_promised(rig: Rig, hass: HomeAssistant) -> None:
    for meter, wh in ((IMPORT_METER, 0.0), (EXPORT_METER, 2.0)):
        await keep(hass, meter, {NOON - n * HOUR_S: wh for n in range(4, 0, -1)})
    flow = shows(await rig.answer(await to_settings(rig, "surplus"), PRICES), "no_preview")
    assert "3.0 h of the meter" in words(flow)["reason"]


async def test_known_market_prices_count(rig: Rig, hass: HomeAssistant) -> None:
    await meter_kept(hass)
    told = [{"delivery_start": start, "price_micro_per_kwh": 200_000} for start in range(NOON - DAY_S, NOON, 60)]
    flow = await to_settings(rig, "surplus")
    with patch.object(type(rig.community.services.views), "intervals", return_value=told):
        flow = shows(await rig.answer(flow, PRICES), "preview")
    assert words(flow)["known"] == "120"


async def test_a_coordinator_that_is_silent_now_takes_nothing_but_prices(rig: Rig, hass: HomeAssistant) -> None:
    await meter_kept(hass)
    flow = await to_settings(rig, "surplus")
    await rig.community.stop()
    assert words(shows(await rig.answer(flow, PRICES), "preview"))["known"] == "0"
    await rig.community.start()


async def test_a_dynamic_policy_is_shown_at_the_prices_that_were_hass(rig: Rig, hass: HomeAssistant) -> None:
    await meter_kept(hass)
    await keep(hass, SPOT, hours(dict.fromkeys(range(24), 0.2)), "EUR/kWh")
    set_price(hass, "0.2")
    flow = await rig.answer(await to_settings(rig, "dynamic"), SHOWN["dynamic"] | {"price_source": SPOT})
    shown = words(shows(flow, "preview"))
    assert (shown["sold"], shown["bought"]) == ("14.0", "7.0")
    assert shown["money"] == "-0.63 EUR", "7 x (2 kWh at 0.14, less 1 kWh at 0.19)"


async def test_an_own_tariff_is_compared_as_it_was(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await meter_kept(hass)
    await keep(hass, SPOT, hours(dict.fromkeys(range(24), 40.0)), "ct/kWh")
    set_price(hass, "40", "ct/kWh")
    configure = hass.config_entries.options.async_configure
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await configure(flow["flow_id"], {"next_step_id": "sources"})
    await configure(flow["flow_id"], {"supplier_price": SPOT})
    await hass.async_block_till_done()
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    for given in ({"next_step_id": "policy"}, {"policy": "surplus"}, PRICES):
        flow = await configure(flow["flow_id"], given)
    assert words(shows(flow, "preview"))["without"] == "1.68 EUR", "7 x (1 kWh at 0.40, less 2 kWh at 0.08)"


@pytest.fixture
def info(rig: Rig) -> MarketInfo:
    """The market's rules."""
    return MarketInfo.from_wire(rig.community.services.views.market())


async def test_past_prices_are_known_as_far_as_anybody_tells(hass: HomeAssistant, info: MarketInfo) -> None:
    async def past(reference: str = SPOT) -> dict[int, int]:
        return await price_history.async_past_prices(hass, reference, info, NOON - DAY_S, NOON)

    assert await past("sensor.gone") == {}
    set_price(hass, "much", "bananas")
    assert await past() == {}
    set_price(hass, "0.3")
    await keep(hass, SPOT, {NOON - HOUR_S: 0.25, NOON - 2 * HOUR_S: 9_999.0}, "EUR/kWh")
    found = await past()
    assert set(found) == set(range(NOON - HOUR_S, NOON, 60)), "an absurd price is none"
    assert set(found.values()) == {250_000}
    with patch.object(price_history, "statistics_during_period", side_effect=OperationalError("", {}, Exception())):
        assert await past() == {}


async def test_integrations_are_asked_for_each_past_day(hass: HomeAssistant, info: MarketInfo) -> None:
    asked: set[str] = set()

    async def prices(call: ServiceCall) -> Any:
        asked.add(call.data["date"])
        begin = dt_util.parse_datetime(call.data["date"] + "T00:00:00+01:00")
        assert begin is not None
        moments = [iso(int(begin.timestamp()) + n * HOUR_S) for n in range(25)]
        return {"AT": [{"start": moments[n], "end": moments[n + 1], "price": 300.0} for n in range(24)]}

    def iso(at: int) -> str:
        return dt_util.utc_from_timestamp(at).isoformat()

    entry = loaded_entry(hass, "nordpool", areas=["AT"], currency="EUR")
    action = "get_prices_for_date"
    hass.services.async_register("nordpool", action, prices, supports_response=SupportsResponse.ONLY)
    reference = f"nordpool:{entry.entry_id}:AT"
    found = await price_history.async_past_prices(hass, reference, info, NOON - 2 * DAY_S, NOON)
    assert set(found) == set(range(NOON - 2 * DAY_S, NOON, 60))
    assert set(found.values()) == {300_000}
    assert len(asked) >= 3


async def test_an_integration_that_does_not_answer_in_time_tells_nothing(hass: HomeAssistant, info: MarketInfo) -> None:
    with (
        patch.object(price_history, "ANSWERS_S", 0.0),
        patch.object(price_history, "async_prices", side_effect=TimeoutError),
    ):
        assert await price_history.async_past_prices(hass, "tibber", info, NOON - DAY_S, NOON) == {}
