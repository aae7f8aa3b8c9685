"""The last week as the chosen policy would have had it, for the flows' last step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util

from ..const import (
    CONF_EXPORT_METER,
    CONF_FEED_IN_PRICE,
    CONF_IMPORT_METER,
    CONF_SUPPLIER_PRICE,
)
from ..data import prices_of
from ..household.history import HistoryRow
from ..household.outlook import Outlook
from ..household.policies import POLICIES, make
from ..household.preview import Preview, preview
from ..household.settings import Settings
from ..options import bounds_of
from ..protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from ..protocol.units import MICRO, interval_start
from ..sources.history import HistoryMeters, HistoryProblem, async_history
from . import policy_forms
from .forms import kept_limits
from .price_history import async_past_prices

DAYS: Final = 7
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_INTERVALS_MAX: Final = 500
"""As many as the coordinator tells at once."""
_WH_PER_KWH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Week:
    """Which step shows it, and what its text is filled with."""

    step: str
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen in the flow, and the home that it is for (an entry's data and options)."""

    kind: str
    settings: Settings
    info: MarketInfo
    data: Mapping[str, Any]
    options: Mapping[str, Any]


async def async_week(hass: HomeAssistant, choice: Choice, client: CoordinatorClient) -> Week:
    """Replay the policy over what the recorder keeps of the last days, at the prices of market and tariff then."""
    found = await async_replay(hass, choice, client)
    if isinstance(found, HistoryProblem):
        return Week("no_preview", {"reason": found.message})
    gain = found.gain_micro_per_month
    if gain is None:
        known = f"the recorder knows {found.seconds / _HOUR_S:.1f} h of the meter"
        return Week("no_preview", {"reason": f"{known}, and a month is told from a day on"})
    return Week("preview", _words(found, gain, choice.info.currency))


async def async_replay(
    hass: HomeAssistant, choice: Choice, client: CoordinatorClient, days: int = DAYS
) -> Preview | HistoryProblem:
    """Return what the policy would have come to in the last days."""
    info = choice.info
    end = interval_start(int(dt_util.utcnow().timestamp()), info.interval_s)
    start = end - days * _DAY_S
    rows = await async_history(hass, _meters(choice), info.interval_s, start, end)
    if isinstance(rows, HistoryProblem):
        return rows
    if not rows:
        return HistoryProblem("no_statistics", "the recorder has nothing of the meter in these days")
    outlook = await _outlook(hass, choice, start, end)
    prices = await _market_prices(client, start)
    return await hass.async_add_executor_job(_replay, choice, rows, outlook, prices)


def _replay(choice: Choice, rows: Sequence[HistoryRow], outlook: Outlook, prices: Mapping[int, int]) -> Preview:
    policy = make(choice.kind, choice.settings, choice.info)
    bounds, limits = bounds_of(choice.options), kept_limits(choice.data)
    return preview(policy, bounds, choice.info, limits, rows, outlook, market_prices=prices)


def _meters(choice: Choice) -> HistoryMeters:
    limits = kept_limits(choice.data)
    return HistoryMeters(
        choice.data[CONF_IMPORT_METER],
        choice.data[CONF_EXPORT_METER],
        import_max_w=limits.import_limit_w,
        export_max_w=limits.export_limit_w,
    )


async def _outlook(hass: HomeAssistant, choice: Choice, start: int, end: int) -> Outlook:
    """Return what the policy would have known: its price source, the owner's tariff, the home's clock."""

    async def past(reference: str | None) -> dict[int, int]:
        return {} if reference is None else await async_past_prices(hass, reference, choice.info, start, end)

    sources = [field.key for field in POLICIES[choice.kind].FIELDS if policy_forms.is_price_source(field)]
    return Outlook(
        timezone=dt_util.get_default_time_zone(),
        prices=await past(choice.settings[sources[0]] if sources else None),
        supplier=await past(choice.options.get(CONF_SUPPLIER_PRICE)),
        feed_in=await past(choice.options.get(CONF_FEED_IN_PRICE)),
    )


async def _market_prices(client: CoordinatorClient, start: int) -> dict[int, int]:
    """Return what the market's sellers received; nothing when the coordinator does not answer now."""
    try:
        told = await client.intervals(start, _INTERVALS_MAX)
        return {at: price for at, price in prices_of(told).items() if price is not None}
    except CoordinatorUnavailable, CoordinatorRefused, ValueError:
        return {}


def _words(found: Preview, gain_micro: int, currency: str) -> dict[str, str]:
    known = found.traded - found.assumed
    return {
        "days": str(max(1, round(found.seconds / _DAY_S))),
        "sold": f"{found.sold_wh / _WH_PER_KWH:.1f}",
        "bought": f"{found.bought_wh / _WH_PER_KWH:.1f}",
        "without": _money(-found.without_micro, currency),
        "money": _money(-found.money_micro, currency),
        "gain": _money(gain_micro, currency),
        "traded": str(found.traded),
        "known": str(known),
    }


def _money(micro: int, currency: str) -> str:
    """Write money for people: ``12.34 EUR``."""
    return f"{micro / MICRO:.2f} {currency}"
