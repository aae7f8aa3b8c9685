"""Actions that only answer: the book, what was traded, prices ahead, a receipt checked, the home's own ledger.

Answers are for people and automations: kWh, the market's currency, local ISO times. Unknown is null, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import probatio
from homeassistant.core import ServiceCall, ServiceResponse
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv

from .action_support import ATTR_CONFIG_ENTRY, ATTR_START, asking, entry_of, refused, time_of
from .const import CONF_POLICIES, CONF_POLICY, DOMAIN
from .coordinator import EnergyTradeConfigEntry
from .events import moment
from .flows import policy_forms
from .flows.preview import Choice, async_replay
from .household.ledger_rows import SettledRow, as_csv
from .household.planner import Planned
from .household.policies import DEFAULT, POLICIES
from .household.settings import Settings
from .household.terms import next_open
from .protocol.client import MarketInfo
from .protocol.units import MICRO, WH_PER_KWH, interval_start
from .protocol.wire import read_int, read_list, read_mapping
from .sources.history import HistoryProblem

GET_ORDER_BOOK: Final = "get_order_book"
GET_TRADES: Final = "get_trades"
GET_PRICE_FORECAST: Final = "get_price_forecast"
SIMULATE_POLICY: Final = "simulate_policy"
VERIFY_RECEIPT: Final = "verify_receipt"
EXPORT_LEDGER: Final = "export_ledger"

ATTR_NODE: Final = "node"
ATTR_FROM: Final = "from"
ATTR_TO: Final = "to"
ATTR_FORMAT: Final = "format"
ATTR_POLICY: Final = "policy"
ATTR_SETTINGS: Final = "settings"
ATTR_DAYS: Final = "days"

PAGE: Final = 500
EXPORTED_AT_ONCE: Final = 500
DAY_S: Final = 86_400

_ENTRY = {probatio.Optional(ATTR_CONFIG_ENTRY): cv.string}
_PERIOD = {probatio.Optional(ATTR_FROM): cv.datetime, probatio.Optional(ATTR_TO): cv.datetime}
GET_ORDER_BOOK_SCHEMA = probatio.Schema(
    {**_ENTRY, probatio.Optional(ATTR_START): cv.datetime, probatio.Optional(ATTR_NODE): cv.string}
)
GET_TRADES_SCHEMA = probatio.Schema({**_ENTRY, **_PERIOD})
GET_PRICE_FORECAST_SCHEMA = probatio.Schema(_ENTRY)
SIMULATE_POLICY_SCHEMA = probatio.Schema(
    {
        **_ENTRY,
        probatio.Optional(ATTR_POLICY): probatio.In(list(POLICIES)),
        probatio.Optional(ATTR_SETTINGS): dict,
        probatio.Optional(ATTR_DAYS, default=7): probatio.All(probatio.Coerce(int), probatio.Range(min=1, max=28)),
    }
)
VERIFY_RECEIPT_SCHEMA = probatio.Schema({**_ENTRY, probatio.Required(ATTR_START): cv.datetime})
EXPORT_LEDGER_SCHEMA = probatio.Schema(
    {**_ENTRY, **_PERIOD, probatio.Optional(ATTR_FORMAT, default="csv"): probatio.In(["csv", "json"])}
)


async def async_get_order_book(call: ServiceCall) -> ServiceResponse:
    """Return the depth of one interval's book, best first."""
    entry = entry_of(call)
    coordinator, home = entry.runtime_data.coordinator, entry.runtime_data.home
    start = time_of(call, ATTR_START, next_open(home.agent.info, home.market_time()))
    with asking():
        book = await coordinator.client.book(start, call.data.get(ATTR_NODE))
        bids, asks = ([_level(level) for level in read_list(book, side)] for side in ("bids", "asks"))
        last = book.get("last_price_micro_per_kwh")
        crossing = book.get("crossing")
        answer: dict[str, Any] = {
            "delivery_start": moment(read_int(book, "delivery_start")),
            "stage": str(book.get("stage")),
            "unit": _price_unit(home.agent.info),
            "bids": bids,
            "asks": asks,
            "crossing": None if crossing is None else _crossing(read_mapping(book, "crossing")),
            "last_price": _money(None if last is None else read_int(book, "last_price_micro_per_kwh")),
        }
    return answer


async def async_get_trades(call: ServiceCall) -> ServiceResponse:
    """Return the home's orders that traded in a time (a day, if none is named), and what became of their intervals."""
    entry = entry_of(call)
    home = entry.runtime_data.home
    begin, end = _period(call, home.market_time(), DAY_S)
    with asking():
        placed = await entry.runtime_data.coordinator.client.orders(home.agent.identity.account, PAGE)
        orders = [_order(order, home.agent.decisions) for order in placed if read_int(order, "filled_wh")]
        own = [order for order in orders if begin <= order["start"] < end]
    rows = entry.runtime_data.verifier.rows
    starts = sorted({order.pop("start") for order in own} | {start for start in rows if begin <= start < end})
    answer: dict[str, Any] = {
        "unit": _price_unit(home.agent.info),
        "currency": home.agent.info.currency,
        "trades": own,
        "settled": [_settled(rows[start], entry) for start in starts if start in rows],
        "unsettled": [moment(start) for start in starts if start not in rows],
    }
    return answer


async def async_get_price_forecast(call: ServiceCall) -> ServiceResponse:
    """Return what is known of prices in the intervals ahead, and what the home will ask and offer."""
    entry = entry_of(call)
    home, latest = entry.runtime_data.home, entry.runtime_data.coordinator.latest
    info, outlook, plan = home.agent.info, home.outlook, home.agent.plan_for()
    now = interval_start(home.market_time(), info.interval_s)
    traded: Mapping[int, int | None] = {} if latest is None else latest.prices
    known = {*outlook.prices, *outlook.supplier, *outlook.feed_in, *plan, *traded}
    last = max((start for start in known if start >= now), default=now)
    intervals: list[Any] = []
    for start in range(now, last + 1, info.interval_s):
        decision = plan[start].decision if start in plan else None
        order = None if decision is None else decision.order
        intervals.append(
            {
                "start": moment(start),
                "end": moment(start + info.interval_s),
                "traded_price": _money(traded.get(start)),
                "expected_price": _money(outlook.prices.get(start)),
                "supplier_price": _money(outlook.supplier.get(start, info.supplier_micro_per_kwh)),
                "feed_in_price": _money(outlook.feed_in.get(start, info.feed_in_micro_per_kwh)),
                "own_side": None if order is None else order.side.value,
                "own_limit": None if order is None else _money(order.limit_price_micro_per_kwh),
                "reason": None if decision is None else decision.reason.text,
            }
        )
    return {"unit": _price_unit(info), "problem": outlook.price_problem or None, "intervals": intervals}


async def async_simulate_policy(call: ServiceCall) -> ServiceResponse:
    """Return what a policy would have come to in the last days: money with the market and without it."""
    entry = entry_of(call)
    info = entry.runtime_data.home.agent.info
    kind = call.data.get(ATTR_POLICY, entry.options.get(CONF_POLICY, DEFAULT))
    choice = Choice(kind, await _settings(call, entry, kind), info, entry.data, entry.options)
    found = await async_replay(call.hass, choice, entry.runtime_data.coordinator.client, call.data[ATTR_DAYS])
    if isinstance(found, HistoryProblem):
        raise refused(found.code, found.message)
    return {
        "policy": kind,
        "currency": info.currency,
        "days": found.days,
        "bought_kwh": found.bought_wh / WH_PER_KWH,
        "sold_kwh": found.sold_wh / WH_PER_KWH,
        "money": _money(found.money_micro),
        "money_without_market": _money(found.without_micro),
        "gain_per_month": _money(found.gain_micro_per_month),
        "intervals": found.intervals,
        "traded_intervals": found.traded,
        "assumed_at_own_limit": found.assumed,
        "reasons": dict(found.rules),
    }


async def _settings(call: ServiceCall, entry: EnergyTradeConfigEntry, kind: str) -> Settings:
    """Return the settings to simulate: given as the forms take them, else the home's own, else what is proposed."""
    info = entry.runtime_data.home.agent.info
    if ATTR_SETTINGS not in call.data:
        kept: Settings | None = entry.options.get(CONF_POLICIES, {}).get(kind)
        return POLICIES[kind].proposed(info) if kept is None else kept
    try:
        given = policy_forms.schema(call.hass, kind, info)(call.data[ATTR_SETTINGS])
    except probatio.Invalid as error:
        raise refused("settings_invalid", str(error)) from error
    settings, (errors, reason) = await policy_forms.async_read(call.hass, kind, given, info)
    if errors:
        raise refused("settings_invalid", f"{', '.join(errors)}: {reason}")
    return settings


async def async_verify_receipt(call: ServiceCall) -> ServiceResponse:
    """Check one settlement receipt anew and return what came of it, with the receipt."""
    entry = entry_of(call)
    start = time_of(call, ATTR_START, 0)
    if entry.runtime_data.home.held:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="held")
    with asking():
        found = await entry.runtime_data.verifier.async_verify(start)
    if found is None:
        raise refused("not_found", "this home has no receipt for that interval (yet)")
    verdict, receipt = found
    return {"holds": verdict.holds, **verdict.to_dict(), "delivery_start": moment(start), "receipt": receipt}


async def async_export_ledger(call: ServiceCall) -> ServiceResponse:
    """Return what was settled for the home in a time (30 days, if none is named) as CSV or JSON."""
    entry = entry_of(call)
    home, verifier = entry.runtime_data.home, entry.runtime_data.verifier
    info, step = home.agent.info, home.agent.info.interval_s
    begin, end = _period(call, home.market_time(), 30 * DAY_S)
    with asking():
        lines = await entry.runtime_data.coordinator.client.receipts(home.agent.identity.account, begin, PAGE)
        listed = sorted(read_int(line, "delivery_start") for line in lines)
        starts = [*_unlisted(listed, begin, end, step), *(start for start in listed if start < end)]
        asked = starts[-EXPORTED_AT_ONCE:]
        rows = [row for start in asked for row in await verifier.async_rows(start, start + step)]
    known = {row.delivery_start for row in rows}
    complete = asked == starts and known >= set(listed) & set(asked)
    oldest = min(known, default=None) if complete else asked[0]
    is_json = call.data[ATTR_FORMAT] == "json"
    return {
        "currency": info.currency,
        "complete": complete,
        "from": None if oldest is None else moment(oldest),
        **({"rows": [_settled(row, entry) for row in rows]} if is_json else {"csv": as_csv(rows, info.currency)}),
    }


def _unlisted(listed: Sequence[int], begin: int, end: int, step: int) -> range:
    """Return the newest intervals of a time that may have a receipt which the full list of the newest ones lacks.

    They are one more than are exported at once, if there are so many: then it is known that some are left.
    """
    if len(listed) < PAGE:
        return range(0)
    until = min(listed[0], interval_start(end - 1, step) + step)
    return range(max(interval_start(begin + step - 1, step), until - (EXPORTED_AT_ONCE + 1) * step), until, step)


def _period(call: ServiceCall, now: int, length_s: int) -> tuple[int, int]:
    end = time_of(call, ATTR_TO, now)
    begin = time_of(call, ATTR_FROM, end - length_s)
    if begin >= end:
        raise refused("period_empty", "the time must begin before it ends")
    return max(0, begin), end


def _order(wire: Mapping[str, Any], decisions: Iterable[Planned]) -> dict[str, Any]:
    terms, digest = read_mapping(wire, "terms"), str(wire.get("order"))
    limit = terms.get("limit_price_micro_per_kwh")
    start = read_int(terms, "delivery_start")
    reason = next((p.decision.reason for p in decisions if p.order and "0x" + p.order.hex() == digest), None)
    return {
        "start": start,
        "order": digest,
        "delivery_start": moment(start),
        "side": str(terms.get("side")),
        "ordered_kwh": read_int(terms, "energy_wh") / WH_PER_KWH,
        "traded_kwh": read_int(wire, "filled_wh") / WH_PER_KWH,
        "limit_price": _money(None if limit is None else read_int(terms, "limit_price_micro_per_kwh")),
        "reason": None if reason is None else reason.to_dict(),
    }


def _settled(row: SettledRow, entry: EnergyTradeConfigEntry) -> dict[str, Any]:
    disputed = {verdict.delivery_start for verdict in entry.runtime_data.verifier.state.disputed}
    return {
        "delivery_start": moment(row.delivery_start),
        "revision": row.revision,
        "bought_kwh": row.bought_wh / WH_PER_KWH,
        "sold_kwh": row.sold_wh / WH_PER_KWH,
        "cost": _money(row.cost_micro),
        "revenue": _money(row.revenue_micro),
        "saved": _money(row.saved_micro),
        "consumed_kwh": row.consumption_wh / WH_PER_KWH,
        "produced_kwh": row.production_wh / WH_PER_KWH,
        "disputed": row.delivery_start in disputed,
    }


def _level(level: object) -> dict[str, Any]:
    if not isinstance(level, list) or len(level) != 3:
        raise ValueError("a level of the book: expected price, energy and orders")
    price, energy_wh, orders = level
    wire = {"price": price, "energy_wh": energy_wh, "orders": orders}
    return {
        "price": _money(None if price is None else read_int(wire, "price")),
        "energy_kwh": read_int(wire, "energy_wh") / WH_PER_KWH,
        "orders": read_int(wire, "orders"),
    }


def _crossing(crossing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "price": _money(read_int(crossing, "price_micro_per_kwh")),
        "energy_kwh": read_int(crossing, "volume_wh") / WH_PER_KWH,
    }


def _money(amount_micro: int | None) -> float | None:
    return None if amount_micro is None else amount_micro / MICRO


def _price_unit(info: MarketInfo) -> str:
    return f"{info.currency}/kWh"


SCHEMAS: Final = {
    GET_ORDER_BOOK: GET_ORDER_BOOK_SCHEMA,
    GET_TRADES: GET_TRADES_SCHEMA,
    GET_PRICE_FORECAST: GET_PRICE_FORECAST_SCHEMA,
    SIMULATE_POLICY: SIMULATE_POLICY_SCHEMA,
    VERIFY_RECEIPT: VERIFY_RECEIPT_SCHEMA,
    EXPORT_LEDGER: EXPORT_LEDGER_SCHEMA,
}
HANDLERS: Final = {
    GET_ORDER_BOOK: async_get_order_book,
    GET_TRADES: async_get_trades,
    GET_PRICE_FORECAST: async_get_price_forecast,
    SIMULATE_POLICY: async_simulate_policy,
    VERIFY_RECEIPT: async_verify_receipt,
    EXPORT_LEDGER: async_export_ledger,
}
