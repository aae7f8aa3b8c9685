"""External statistics: what the home traded and what was left to its supplier, hour by hour, in energy and money.

The recorder's rows are put in by their start: sending an hour again corrects it, sending it twice changes nothing.
They outlive the entry, as the energy did flow; ``async_clear`` deletes them when the owner asks for that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.models import StatisticData, StatisticMeanType, StatisticMetaData
from homeassistant.components.recorder.statistics import (
    async_add_external_statistics,
    get_last_statistics,
    statistics_during_period,
)
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import UnitOfEnergy
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.event import async_track_utc_time_change
from homeassistant.util import dt as dt_util
from sqlalchemy.exc import SQLAlchemyError

from ..const import DOMAIN, LOGGER
from ..home import Home
from ..household.ledger_rows import HOUR_S, MONEY_SERIES, SERIES, Carried, Hour, Point, hour_of, mean_price, series
from ..meter import entity_of
from ..protocol.client import CoordinatorError
from ..protocol.units import MICRO, WH_PER_KWH, interval_start
from ..protocol.wire import read_int, read_mapping
from ..store import DurableStore

KEPT_S: Final = 60 * 86_400
"""A correction of an older hour comes too late for the statistics."""
BACKFILL_S: Final = 3 * 366 * 86_400
RESUMED_S: Final = 3 * 86_400
METER_WAIT_S: Final = 2 * 86_400
TARIFFS_KEPT: Final = 3_000
PUBLISH_MINUTE: Final = 6
"""The recorder has made its own hourly rows by then."""

_NAMES: Final = {
    "bought": "bought from the neighbourhood",
    "sold": "sold to the neighbourhood",
    "cost": "paid to the neighbourhood",
    "revenue": "earned in the neighbourhood",
    "grid_import": "taken from the supplier",
    "grid_export": "given to the supplier",
    "grid_cost": "paid to the supplier",
    "grid_revenue": "earned from the supplier",
}


class StatisticsPublisher:
    """Publishes the home's hourly statistics for the Energy dashboard; without a recorder it stays silent."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], home: Home) -> None:
        self.ids = statistic_ids(entry)
        self.published: frozenset[str] = frozenset()
        self._hass = hass
        self._entry = entry
        self._home = home
        self._store = _store(hass, entry.entry_id)
        self._hours: dict[int, Hour] = {}
        self._carried = Carried.nothing()
        self._tariffs: dict[int, tuple[int, int]] = {}
        self._dirty: set[int] = set()
        self._begun = False
        self._unsent = 0
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def async_start(self) -> None:
        """Publish what is new, then each hour and after each settlement."""
        if "recorder" not in self._hass.config.components:
            return
        self._restore(await self._store.async_load_or_nothing())
        self._note_tariff()
        verifier = self._entry.runtime_data.verifier
        self._dirty |= {hour_of(start) for start in verifier.rows}
        second = random.randrange(60)  # noqa: S311 - no secret
        for stop in (
            self._home.async_listen(self._note_tariff),
            verifier.async_listen_rows(self._row_changed),
            async_track_utc_time_change(self._hass, self._hourly, minute=PUBLISH_MINUTE, second=second),
        ):
            self._entry.async_on_unload(stop)
        self._publish_soon()

    async def async_publish(self) -> None:
        """Bring the recorder up to date: hours that are over, and hours whose settlement was corrected.

        Raises ``CoordinatorError`` when the rows of an old hour could not be had; they are asked for again later.
        """
        async with self._lock:
            if not self._begun:
                await self._begin()
            over = self._present_hour()
            await self._fill_metered(over)
            try:
                await self._fill_traded(over)
            finally:
                hours = {start: hour for start, hour in self._hours.items() if start < over}
                points, _ = await self._hass.async_add_executor_job(series, hours, self._carried)
                await self._send(points, self._unsent if self.published else min(self._hours))
                self._unsent = over
                self._trim(over)
                await self._save()

    async def async_clear(self) -> None:
        """Delete the statistics from the recorder and begin anew with the present hour."""
        async with self._lock:
            cleared = asyncio.Event()

            def done() -> None:
                self._hass.loop.call_soon_threadsafe(cleared.set)

            get_instance(self._hass).async_clear_statistics(list(self.ids.values()), on_done=done)
            await cleared.wait()
            self._hours, self._carried = {self._present_hour(): Hour()}, Carried.nothing()
            self._dirty.clear()
            self.published = frozenset()
            await self._save()

    async def _begin(self) -> None:
        """Find out where to begin: after what is published, or at the meter's own beginning."""
        if not self._hours:
            published = await self._read(self.ids.values(), None)
            if published:
                self._resume(published)
            else:
                await self._begin_with_meter()
        elif any(self._carried.sums.values()) and not await self._read(self.ids.values(), None):
            # The recorder has lost it all: sums of hours that are kept nowhere would become one hour's energy.
            self._carried = replace(self._carried, sums=dict.fromkeys(SERIES, 0))
        self._begun = True

    def _resume(self, published: Mapping[str, Mapping[int, tuple[int, int]]]) -> None:
        """Go on from the recorder's sums, over the last days again; for an entry whose own memory is lost."""
        sums = dict(self._carried.sums)
        for name, statistic_id in self.ids.items():
            if rows := published.get(statistic_id):
                state, total = rows[min(rows)]
                sums[name] = total - state
        first = min(start for rows in published.values() for start in rows)
        self._carried = Carried(sums)
        self._hours = {first: Hour()}
        self._dirty |= set(range(first, self._present_hour(), HOUR_S))

    def _present_hour(self) -> int:
        """Return the start of the hour that runs, never one ahead of this system's clock, whatever is told."""
        return hour_of(min(self._home.market_time(), int(dt_util.utcnow().timestamp())))

    async def _begin_with_meter(self) -> None:
        """Begin where the meter's statistics begin, so that the supplier's part has a past too."""
        now = self._present_hour()
        metered = await self._metered(now - BACKFILL_S, now)
        self._hours = {min((now, *self._dirty, *(start for rows in metered for start in rows))): Hour()}

    async def _fill_metered(self, over: int) -> None:
        """Take in what the meter's statistics say of the hours before ``over``."""
        for start in range(max(self._hours) + HOUR_S, over, HOUR_S):
            self._hours[start] = Hour()
        waiting = [start for start, hour in self._hours.items() if self._awaits_meter(start, hour, over)]
        if not waiting:
            return
        metered = await self._metered(min(waiting), over)
        for start in waiting:
            imported, exported = (rows.get(start) for rows in metered)
            self._take(start, replace(self._hours[start], import_wh=imported, export_wh=exported))

    async def _fill_traded(self, over: int) -> None:
        """Take in what was settled or corrected in hours before ``over``."""
        for start in sorted(hour for hour in self._dirty if hour < over):
            if start in self._hours:
                rows = await self._entry.runtime_data.verifier.async_rows(start, start + HOUR_S)
                self._take(start, self._hours[start].traded(rows))
            else:
                LOGGER.debug("The settlement of %s comes too late for the statistics", start)
            self._dirty.discard(start)

    def _take(self, start: int, hour: Hour) -> None:
        self._hours[start] = self._priced(start, hour)
        self._unsent = min(self._unsent, start)

    def _awaits_meter(self, start: int, hour: Hour, over: int) -> bool:
        if start >= over or hour.import_wh is not None:
            return False
        return start >= over - METER_WAIT_S or not self.published

    def _priced(self, start: int, hour: Hour) -> Hour:
        """Put in the tariff of an hour in which the home was a member; unknown before that."""
        intervals = [at for at in self._tariffs if start <= at < start + HOUR_S]
        if not intervals and not (hour.bought_wh or hour.sold_wh):
            return hour
        info = self._home.agent.info
        supplier, feed_in = ({at: self._tariffs[at][side] for at in intervals} for side in (0, 1))
        return replace(
            hour,
            supplier_micro_per_kwh=mean_price(supplier, start, info.supplier_micro_per_kwh),
            feed_in_micro_per_kwh=mean_price(feed_in, start, info.feed_in_micro_per_kwh),
        )

    async def _metered(self, start: int, end: int) -> tuple[dict[int, int], dict[int, int]]:
        """Return what the recorder's statistics of import and export meter say, Wh by hour."""
        meters = self._home.meters
        ids = [
            None if reference is None else entity_of(self._hass, reference)
            for reference in (meters.import_meter, meters.export_meter)
        ]
        wanted = {statistic_id for statistic_id in ids if statistic_id is not None}
        if not wanted or start >= end:
            return {}, {}
        found = await get_instance(self._hass).async_add_executor_job(
            statistics_during_period,
            self._hass,
            dt_util.utc_from_timestamp(start),
            dt_util.utc_from_timestamp(end),
            wanted,
            "hour",
            {"energy": UnitOfEnergy.KILO_WATT_HOUR},
            {"change", "sum"},
        )
        imported, exported = (_wh_by_hour(found.get(str(statistic_id), ())) for statistic_id in ids)
        return imported, exported

    async def _read(self, ids: Iterable[str], start: int | None) -> dict[str, dict[int, tuple[int, int]]]:
        """Return state and sum by hour of what is published, from ``start`` (``None``: the last days) on."""
        instance, ids = get_instance(self._hass), set(ids)
        if start is None:
            last = [
                row["start"]
                for statistic_id in ids
                for rows in (
                    await instance.async_add_executor_job(
                        get_last_statistics, self._hass, 1, statistic_id, False, {"sum"}
                    )
                ).values()
                for row in rows
            ]
            if not last:
                return {}
            start = int(max(last)) - RESUMED_S
        found = await instance.async_add_executor_job(
            statistics_during_period,
            self._hass,
            dt_util.utc_from_timestamp(start),
            None,
            ids,
            "hour",
            None,
            {"state", "sum"},
        )
        scales = {self.ids[name]: _scale(name) for name in SERIES}
        return {
            statistic_id: {
                int(row["start"]): (
                    round((row.get("state") or 0) * scales[statistic_id]),
                    round((row.get("sum") or 0) * scales[statistic_id]),
                )
                for row in rows
            }
            for statistic_id, rows in found.items()
        }

    async def _send(self, points: Mapping[str, list[Point]], first: int) -> None:
        """Send the points from ``first`` on that the recorder has not or has otherwise."""
        have = await self._read(self.ids.values(), first)
        for name, found in points.items():
            statistic_id = self.ids[name]
            known, scale = have.get(statistic_id, {}), _scale(name)
            rows = [
                StatisticData(
                    start=dt_util.utc_from_timestamp(point.start), state=point.state / scale, sum=point.sum / scale
                )
                for point in found
                if point.start >= first and known.get(point.start) != (point.state, point.sum)
            ]
            if rows:
                async_add_external_statistics(self._hass, self._metadata(name), rows)
        self.published = frozenset(name for name, found in points.items() if found)

    def _metadata(self, name: str) -> StatisticMetaData:
        is_money = name in MONEY_SERIES
        return StatisticMetaData(
            mean_type=StatisticMeanType.NONE,
            has_sum=True,
            name=f"{self._entry.title}: {_NAMES[name]}",
            source=DOMAIN,
            statistic_id=self.ids[name],
            unit_class=None if is_money else "energy",
            unit_of_measurement=self._home.agent.info.currency if is_money else UnitOfEnergy.KILO_WATT_HOUR,
        )

    def _trim(self, over: int) -> None:
        """Let hours go that are older than corrections may be; their sums stay."""
        old = {start: hour for start, hour in self._hours.items() if start < over - KEPT_S}
        if old:
            _, self._carried = series(old, self._carried)
            for start in old:
                del self._hours[start]
        for at in sorted(self._tariffs)[:-TARIFFS_KEPT]:
            del self._tariffs[at]

    @callback
    def _note_tariff(self) -> None:
        """Remember the owner's tariff of the present interval: nobody can be asked for it later."""
        info, outlook = self._home.agent.info, self._home.outlook
        start = interval_start(self._home.market_time(), info.interval_s)
        self._tariffs[start] = (
            outlook.supplier.get(start, info.supplier_micro_per_kwh),
            outlook.feed_in.get(start, info.feed_in_micro_per_kwh),
        )

    @callback
    def _row_changed(self, delivery_start: int) -> None:
        self._dirty.add(hour := hour_of(delivery_start))
        if hour < self._present_hour():
            self._publish_soon()

    @callback
    def _hourly(self, _now: datetime) -> None:
        self._publish_soon()

    @callback
    def _publish_soon(self) -> None:
        if self._task is None or self._task.done():
            name = f"{DOMAIN} statistics {self._entry.entry_id}"
            self._task = self._entry.async_create_background_task(self._hass, self._publish(), name)

    async def _publish(self) -> None:
        try:
            await self.async_publish()
        except (CoordinatorError, SQLAlchemyError) as error:
            LOGGER.debug("The statistics wait: %s", error)

    async def _save(self) -> None:
        carried = self._carried
        await self._store.async_save(
            {
                "hours": {str(start): hour.to_list() for start, hour in self._hours.items()},
                "sums": dict(carried.sums),
                "import_behind_wh": carried.import_behind_wh,
                "export_behind_wh": carried.export_behind_wh,
                "tariffs": {str(at): list(prices) for at, prices in self._tariffs.items()},
            }
        )

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what an earlier run has saved; without it the recorder's own rows tell where to go on."""
        if not saved:
            return
        try:
            sums = read_mapping(saved, "sums")
            behind = (read_int(saved, f"{side}_behind_wh") for side in ("import", "export"))
            carried = Carried({name: read_int(sums, name) for name in SERIES}, *behind)
            tariffs = {int(at): (prices[0], prices[1]) for at, prices in saved["tariffs"].items()}
            hours = {int(start): Hour(*values) for start, values in saved["hours"].items()}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            LOGGER.warning("What was known of the statistics cannot be read (%r): they go on from the recorder", error)
            return
        self._carried, self._tariffs, self._hours = carried, tariffs, hours


def statistic_ids(entry: ConfigEntry[Any]) -> dict[str, str]:
    """Return the ids of the home's statistics by series; they follow from its account."""
    short = str(entry.unique_id).removeprefix("0x")[:8].lower()
    return {name: f"{DOMAIN}:{short}_{name}" for name in SERIES}


async def async_forget(hass: HomeAssistant, entry_id: str) -> None:
    """Forget what was noted for the statistics; they themselves stay in the recorder."""
    await _store(hass, entry_id).async_remove()


def _store(hass: HomeAssistant, entry_id: str) -> DurableStore[dict[str, Any]]:
    return DurableStore(hass, f"{DOMAIN}.{entry_id}.statistics")


def _scale(name: str) -> int:
    """Return by what whole numbers are divided for a series: money to the currency, Wh to kWh."""
    return MICRO if name in MONEY_SERIES else WH_PER_KWH


def _wh_by_hour(rows: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Return each hour's energy; rounding the sums instead of the changes lets no Wh get lost."""
    found: dict[int, int] = {}
    for row in rows:
        total, change = row.get("sum"), row.get("change")
        if total is not None and change is not None:
            grown = round(total * WH_PER_KWH) - round((total - change) * WH_PER_KWH)
            found[int(row["start"])] = max(0, grown)
    return found
