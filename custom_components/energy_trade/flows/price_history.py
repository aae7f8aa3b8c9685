"""What a price source told in the past, for previews: from the recorder, or from the integration that tells prices."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.statistics import statistics_during_period
from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from sqlalchemy.exc import SQLAlchemyError

from ..household.price_rows import PriceProblem, PriceRow, factor_of, per_interval, price_of
from ..meter import entity_of
from ..protocol.client import MarketInfo
from ..sources.price_sources import async_prices, is_action

_HOUR_S: Final = 3_600
_DAY_S: Final = 24 * _HOUR_S
ANSWERS_S: Final = 20.0
"""For all days together; what is not told by then is not known."""


async def async_past_prices(
    hass: HomeAssistant, reference: str, info: MarketInfo, start: int, end: int
) -> dict[int, int]:
    """Return the source's prices by market interval from ``start`` to before ``end`` (UTC seconds), as far as known."""
    rows: dict[int, PriceRow] = {}
    if not is_action(reference):
        rows |= {row.start: row for row in await _recorded(hass, reference, info, start, end)}
    try:
        async with asyncio.timeout(ANSWERS_S):
            for at in _moments(start, end) if is_action(reference) else (end,):
                told = await async_prices(hass, reference, info, at)
                if not isinstance(told, PriceProblem):
                    rows |= {row.start: row for row in told if row.end <= end}
    except TimeoutError:
        pass
    prices = per_interval(sorted(rows.values(), key=lambda row: row.start), info.interval_s)
    return {at: price for at, price in prices.items() if start <= at < end}


def _moments(start: int, end: int) -> range:
    """Return when to ask: an integration tells the day of the moment and the next one."""
    return range(start, end + _DAY_S, 2 * _DAY_S)


async def _recorded(hass: HomeAssistant, reference: str, info: MarketInfo, start: int, end: int) -> list[PriceRow]:
    """Return the hourly means that the recorder keeps of a price sensor."""
    entity_id = entity_of(hass, reference)
    state = None if entity_id is None else hass.states.get(entity_id)
    if entity_id is None or state is None or "recorder" not in hass.config.components:
        return []
    factor = factor_of(state.attributes.get(ATTR_UNIT_OF_MEASUREMENT), info.currency)
    if isinstance(factor, PriceProblem):
        return []
    since, until = dt_util.utc_from_timestamp(start), dt_util.utc_from_timestamp(end)
    job = partial(statistics_during_period, hass, since, until, {entity_id}, "hour", None, {"mean"})
    try:
        means = await get_instance(hass).async_add_executor_job(job)
    except SQLAlchemyError:
        return []
    rows = []
    for mean in means.get(entity_id, []):
        price = price_of(mean.get("mean"), factor, info)
        if not isinstance(price, PriceProblem):
            rows.append(PriceRow(int(mean["start"]), int(mean["start"]) + _HOUR_S, price))
    return rows
