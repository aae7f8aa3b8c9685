"""The hourly statistics are the ledger's sums, whatever is sent twice, corrected, lost or cut by a clock change."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.recorder import Recorder, get_instance
from homeassistant.components.recorder.models import StatisticData, StatisticMeanType, StatisticMetaData
from homeassistant.components.recorder.statistics import (
    async_add_external_statistics,
    async_import_statistics,
    statistics_during_period,
)
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.ledger_rows import HOUR_S, MONEY_SERIES, SERIES, SettledRow, hour_of
from custom_components.energy_trade.household.outlook import Outlook
from custom_components.energy_trade.protocol.client import CoordinatorUnavailable
from custom_components.energy_trade.settled import statistics, verification
from custom_components.energy_trade.settled.statistics import StatisticsPublisher
from tests.component.community import INTERVAL_S, NOON
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig
from tests.component.settled import Meters, settle_trade

HOUR = hour_of(NOON)


@pytest.fixture(autouse=True)
def _our_integration(recorder_mock: Recorder, enable_custom_integrations: None) -> None:
    """Let the recorder run before Home Assistant finds the integration."""


def publisher_of(entry: EnergyTradeConfigEntry) -> StatisticsPublisher:
    return entry.runtime_data.statistics


async def publish(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await publisher_of(entry).async_publish()
    await async_wait_recording_done(hass)


async def metered(hass: HomeAssistant, import_kwh: Mapping[int, float], export_kwh: Mapping[int, float]) -> None:
    """Let the recorder have hourly sums of the meters."""
    for statistic_id, sums in ((IMPORT_METER, import_kwh), (EXPORT_METER, export_kwh)):
        meta = StatisticMetaData(
            mean_type=StatisticMeanType.NONE,
            has_sum=True,
            name=None,
            source="recorder",
            statistic_id=statistic_id,
            unit_class="energy",
            unit_of_measurement="kWh",
        )
        rows = [
            StatisticData(start=dt_util.utc_from_timestamp(start), state=total, sum=total)
            for start, total in sums.items()
        ]
        async_import_statistics(hass, meta, rows)
    await async_wait_recording_done(hass)


async def read(
    entry: EnergyTradeConfigEntry, hass: HomeAssistant, period: Any = "hour", since: int = 0
) -> dict[str, list[tuple[int, int, int]]]:
    """Return start, change and sum of each series' rows in whole Wh and millionths."""
    ids = publisher_of(entry).ids
    found = await get_instance(hass).async_add_executor_job(
        statistics_during_period,
        hass,
        dt_util.utc_from_timestamp(since),
        None,
        set(ids.values()),
        period,
        None,
        {"change", "sum"},
    )
    scale = {name: 1_000_000 if name in MONEY_SERIES else 1_000 for name in SERIES}
    return {
        name: [
            (int(row["start"]), round((row["change"] or 0) * scale[name]), round((row["sum"] or 0) * scale[name]))
            for row in found.get(ids[name], [])
        ]
        for name in SERIES
    }


async def test_the_statistics_sums_are_the_ledgers(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    """Real trades, settled by the real coordinator: what the dashboard adds up is what the ledger has booked."""
    await rig.community.neighbour_joins()
    await entry.runtime_data.home.async_set_shadow(True)
    meters = Meters()
    starts = [await settle_trade(rig, entry, meters, buys=buys) for buys in (True, False, True)]
    await rig.until(lambda: entry.runtime_data.verifier.state.verified == 3)
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    found = await read(entry, hass)
    account = rig.community.ledger.state.accounts[str(entry.unique_id)]
    assert {name: found[name][-1][2] for name in ("bought", "sold", "cost", "revenue")} == {
        "bought": account.bought_wh,
        "sold": account.sold_wh,
        "cost": account.cost_micro,
        "revenue": account.revenue_micro,
    }
    assert account.bought_wh == 100
    assert [start for start, _, _ in found["bought"]] == [HOUR]
    assert len(starts) == 3


def row(start: int, bought_wh: int, sold_wh: int = 0, revision: int = 0) -> SettledRow:
    cost, revenue = bought_wh * 150, sold_wh * 150
    return SettledRow(start, revision, bought_wh, sold_wh, cost, revenue, bought_wh, sold_wh, 0)


def settle(entry: EnergyTradeConfigEntry, *rows: SettledRow) -> None:
    """Let the verifier have checked these, as it tells the statistics of them."""
    verifier = entry.runtime_data.verifier
    for each in rows:
        verifier.rows[each.delivery_start] = each
        publisher_of(entry)._dirty.add(hour_of(each.delivery_start))


async def test_what_the_market_did_not_bring_the_supplier_did(rig: Rig, hass: HomeAssistant) -> None:
    """Meter minus market, at the market's tariff of the hours in which the home was a member."""
    await metered(
        hass,
        {HOUR - HOUR_S: 10.0, HOUR: 10.8, HOUR + HOUR_S: 11.3},
        {HOUR - HOUR_S: 1.0, HOUR: 1.0, HOUR + HOUR_S: 1.4},
    )
    entry = await rig.join()
    await rig.until(lambda: "grid_import" in publisher_of(entry).published)
    settle(entry, row(HOUR, 300), row(HOUR + HOUR_S, 100, 250))
    rig.move_to(HOUR + HOUR_S + 60)
    entry.runtime_data.home.async_changed()
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    await publish(entry, hass)
    found, info = await read(entry, hass), entry.runtime_data.home.agent.info
    assert [change for _, change, _ in found["bought"]] == [300, 100]
    assert [change for _, change, _ in found["grid_import"]][-2:] == [500, 400]
    assert [change for _, change, _ in found["grid_export"]][-2:] == [0, 150]
    assert [change for _, change, _ in found["grid_cost"]] == [
        500 * info.supplier_micro_per_kwh // 1_000,
        400 * info.supplier_micro_per_kwh // 1_000,
    ]
    assert [change for _, change, _ in found["grid_revenue"]] == [0, 150 * info.feed_in_micro_per_kwh // 1_000]
    assert found["grid_import"][0] == (HOUR - HOUR_S, 10_000, 10_000), "the meter's past is the supplier's"


async def test_the_owners_own_tariff_is_remembered_for_its_hour(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    home = entry.runtime_data.home
    await metered(hass, {HOUR - HOUR_S: 0.0, HOUR: 1.0}, {HOUR - HOUR_S: 0.0, HOUR: 0.5})
    publisher = publisher_of(entry)
    start = home.market_time() // INTERVAL_S * INTERVAL_S
    home.outlook = Outlook(supplier={start: 500_000}, feed_in={start: 40_000})
    publisher._note_tariff()
    home.outlook = Outlook()
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    found = await read(entry, hass)
    assert (found["grid_cost"][-1][1], found["grid_revenue"][-1][1]) == (500_000, 20_000)


async def test_sending_again_changes_nothing(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    settle(entry, row(HOUR, 300), row(HOUR + INTERVAL_S, 20))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    before = await read(entry, hass)
    with patch.object(statistics, "async_add_external_statistics") as sent:
        settle(entry, row(HOUR, 300))
        await publish(entry, hass)
    assert sent.call_count == 0
    assert await read(entry, hass) == before
    with patch.object(entry.runtime_data.verifier, "async_rows") as asked:
        await publish(entry, hass)
    assert asked.call_count == 0, "what was taken in is not asked for again"
    assert before["bought"] == [(HOUR, 320, 320)]


async def test_a_correction_is_put_in_from_its_hour_on(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    settle(entry, *(row(HOUR + n * HOUR_S, 100) for n in range(4)))
    rig.move_to(HOUR + 4 * HOUR_S + 30)
    await publish(entry, hass)
    settle(entry, row(HOUR + HOUR_S, 40, revision=1))
    add = patch.object(statistics, "async_add_external_statistics", wraps=async_add_external_statistics)
    with add as sent:
        await publish(entry, hass)
    starts = [row["start"].timestamp() for call in sent.call_args_list for row in call.args[2]]
    assert min(starts) == HOUR + HOUR_S
    found = await read(entry, hass)
    assert [(change, total) for _, change, total in found["bought"]] == [(100, 100), (40, 140), (100, 240), (100, 340)]
    assert found["cost"][-1][2] == 340 * 150


@pytest.mark.parametrize(
    ("day", "hours"), [("2027-03-28", 23), ("2027-10-31", 25), ("2027-06-01", 24)], ids=["spring", "autumn", "summer"]
)
async def test_days_of_23_and_25_hours_are_whole(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, day: str, hours: int
) -> None:
    await hass.config.async_set_time_zone("Europe/Berlin")
    zone = dt_util.get_default_time_zone()
    date = dt.date.fromisoformat(day)
    first, last = (int(dt.datetime.combine(date + dt.timedelta(days=n), dt.time(), zone).timestamp()) for n in (0, 1))
    assert (last - first) // HOUR_S == hours
    await publish(entry, hass)
    rig.move_to(last + HOUR_S + 30)
    with patch.object(statistics, "KEPT_S", 400 * 86_400), patch.object(verification, "KEPT_INTERVALS", 10_000):
        settle(entry, *(row(start, 100) for start in range(first - HOUR_S, last + HOUR_S, HOUR_S)))
        await publish(entry, hass)
    days = {start: change for start, change, _ in (await read(entry, hass, "day"))["bought"]}
    assert days[first] == hours * 100


async def test_a_lost_memory_goes_on_from_the_recorder(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    settle(entry, *(row(HOUR + n * HOUR_S, 100) for n in range(5)))
    rig.move_to(HOUR + 5 * HOUR_S + 30)
    await publish(entry, hass)
    assert (await read(entry, hass))["bought"][-1][2] == 500
    rows = dict(entry.runtime_data.verifier.rows)
    await hass.config_entries.async_unload(entry.entry_id)
    hass_storage.pop(f"{DOMAIN}.{entry.entry_id}.statistics")
    await hass.config_entries.async_setup(entry.entry_id)
    entry.runtime_data.verifier.rows |= {start: r for start, r in rows.items() if start >= HOUR + 2 * HOUR_S}
    settle(entry, row(HOUR + 5 * HOUR_S, 7))
    rig.move_to(HOUR + 6 * HOUR_S + 30)
    with patch.object(statistics, "RESUMED_S", 2 * HOUR_S):
        publisher_of(entry)._begun = False
        publisher_of(entry)._hours = {}
        await publish(entry, hass)
    found = (await read(entry, hass))["bought"]
    assert [total for _, _, total in found] == [100, 200, 300, 400, 500, 507]


async def test_a_recorder_that_forgot_is_told_again_after_a_restart(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    settle(entry, row(HOUR, 100), row(HOUR + HOUR_S, 50))
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    await publish(entry, hass)
    get_instance(hass).async_clear_statistics(list(publisher_of(entry).ids.values()))
    await async_wait_recording_done(hass)
    assert (await read(entry, hass))["bought"] == []
    await hass.config_entries.async_reload(entry.entry_id)
    await publish(entry, hass)
    assert [total for _, _, total in (await read(entry, hass))["bought"]] == [100, 150]


async def test_a_recorder_that_lost_all_is_not_told_the_sum_of_long_ago_as_one_hour(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    settle(entry, row(HOUR, 1_000), row(HOUR + HOUR_S, 50))
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    with patch.object(statistics, "KEPT_S", HOUR_S):
        await publish(entry, hass)
    get_instance(hass).async_clear_statistics(list(publisher_of(entry).ids.values()))
    await async_wait_recording_done(hass)
    await hass.config_entries.async_reload(entry.entry_id)
    await publish(entry, hass)
    assert (await read(entry, hass))["bought"] == [(HOUR + HOUR_S, 50, 50)]


async def test_a_file_that_cannot_be_read_is_made_anew(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    await hass.config_entries.async_unload(entry.entry_id)
    hass_storage[f"{DOMAIN}.{entry.entry_id}.statistics"]["data"]["hours"] = {"noon": 1}
    await hass.config_entries.async_setup(entry.entry_id)
    settle(entry, row(HOUR, 100))
    await publish(entry, hass)
    assert (await read(entry, hass))["bought"] == [(HOUR, 100, 100)]


@pytest.mark.parametrize(
    "damage", [{"version": 9}, {"version": None}, {"data": [1]}, {"data": 7}, {"data": {"told": 3}}]
)
async def test_what_can_be_had_again_never_keeps_it_from_starting(
    rig: Rig,
    entry: EnergyTradeConfigEntry,
    hass: HomeAssistant,
    hass_storage: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    damage: dict[str, Any],
) -> None:
    own = f"{DOMAIN}.{entry.entry_id}"
    keys = [f"{own}.receipts", f"{own}.statistics"]
    await hass.config_entries.async_unload(entry.entry_id)
    for key in keys:
        hass_storage[key] = {"version": 1, "minor_version": 1, "key": key, "data": {}} | damage
    assert await hass.config_entries.async_setup(entry.entry_id)
    await rig.live(entry)
    assert caplog.text.count(" cannot be read") == len(keys)
    await rig.until(lambda: all(hass_storage[key]["version"] == 1 for key in keys))


async def test_old_hours_are_let_go_and_their_sums_stay(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    publisher = publisher_of(entry)
    settle(entry, row(HOUR, 100), row(HOUR + HOUR_S, 50))
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    with patch.object(statistics, "KEPT_S", HOUR_S), patch.object(statistics, "TARIFFS_KEPT", 1):
        await publish(entry, hass)
        assert HOUR not in publisher._hours
        settle(entry, row(HOUR, 999), row(HOUR + 2 * HOUR_S, 5))
        rig.move_to(HOUR + 3 * HOUR_S + 30)
        await publish(entry, hass)
    found = await read(entry, hass)
    assert [total for _, _, total in found["bought"]] == [100, 150, 155]


async def test_rows_that_cannot_be_had_are_asked_for_again(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    publisher, verifier = publisher_of(entry), entry.runtime_data.verifier
    settle(entry, row(HOUR, 100), row(HOUR + HOUR_S, 50))
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    with patch.object(verifier, "async_rows", side_effect=CoordinatorUnavailable("gone")):
        with pytest.raises(CoordinatorUnavailable):
            await publisher.async_publish()
        publisher._hourly(dt_util.utcnow())
        await rig.until(lambda: publisher._task is not None and publisher._task.done())
    await publish(entry, hass)
    assert [total for _, _, total in (await read(entry, hass))["bought"]] == [100, 150]


async def test_a_row_of_the_verifier_is_published(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    publisher = publisher_of(entry)
    rig.move_to(HOUR + HOUR_S + 30)
    settle(entry, row(HOUR, 100))
    publisher._row_changed(HOUR)
    publisher._row_changed(HOUR)
    await rig.until(lambda: "bought" in publisher.published)
    await async_wait_recording_done(hass)
    assert (await read(entry, hass))["bought"] == [(HOUR, 100, 100)]


async def test_the_metadata_names_unit_class_and_kind_of_mean(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    with patch.object(statistics, "async_add_external_statistics") as sent:
        await publish(entry, hass)
    by_name = {
        call.args[1]["statistic_id"].rpartition(":")[2].partition("_")[2]: call.args[1] for call in sent.mock_calls
    }
    assert (by_name["bought"]["unit_class"], by_name["bought"]["unit_of_measurement"]) == ("energy", "kWh")
    assert (by_name["cost"]["unit_class"], by_name["cost"]["unit_of_measurement"]) == (None, "EUR")
    assert all(meta["mean_type"] is StatisticMeanType.NONE and meta["has_sum"] for meta in by_name.values())
    assert all(meta["source"] == DOMAIN for meta in by_name.values())


async def test_a_meter_that_is_gone_leaves_the_suppliers_part_unknown(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    home = entry.runtime_data.home
    home.meters = replace(home.meters, import_meter="0123456789abcdef0123456789abcdef", export_meter=None)
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    found = await read(entry, hass)
    assert found["bought"] == [(HOUR, 100, 100)]
    assert found["grid_import"] == found["grid_export"] == []


async def test_clearing_deletes_and_begins_anew(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    await publisher_of(entry).async_clear()
    await async_wait_recording_done(hass)
    assert (await read(entry, hass))["bought"] == []
    settle(entry, row(HOUR + HOUR_S, 5))
    rig.move_to(HOUR + 2 * HOUR_S + 30)
    await publish(entry, hass)
    assert (await read(entry, hass))["bought"] == [(HOUR + HOUR_S, 5, 5)]


async def test_the_statistics_outlive_the_entry(rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    before = await read(entry, hass)
    ids = set(publisher_of(entry).ids.values())
    await hass.config_entries.async_remove(entry.entry_id)
    await async_wait_recording_done(hass)
    found = await get_instance(hass).async_add_executor_job(
        statistics_during_period, hass, dt_util.utc_from_timestamp(0), None, ids, "hour", None, {"sum"}
    )
    assert found
    assert before["bought"]
    assert time.time() > HOUR


async def test_no_hour_is_filled_that_this_system_has_not_seen(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await publish(entry, hass)
    entry.runtime_data.home.clock_offset_s = -100 * 24 * HOUR_S
    await publish(entry, hass)
    assert max(publisher_of(entry)._hours) <= hour_of(int(time.time()))
