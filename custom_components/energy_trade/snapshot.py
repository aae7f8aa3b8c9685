"""One home at one moment, as plain data for the cards: the shapes, and how they are filled.

Energies are Wh (from the grid or bought positive), prices and money 1e-6 of ``currency`` (per kWh), times UTC seconds
of the market's clock. ``None`` is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypedDict

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .data import HomeData
from .home import Home
from .household.forecast import Forecast, MeteredInterval, persistence
from .household.outlook import GridEvent
from .household.planner import Planned
from .household.terms import gate_closes_at
from .protocol.client import MarketInfo
from .protocol.units import interval_start

PAST_INTERVALS: Final = 8
AHEAD_S: Final = 86_400
AHEAD_INTERVALS_MAX: Final = 288
"""A day of five-minute intervals; a market with shorter ones shows less than a day."""


class MarketRow(TypedDict):
    """The market's rules that a card shows or counts with."""

    name: str
    state: str
    interval_s: int
    gate_s: int
    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int


class SwitchesRow(TypedDict):
    """What the owner has switched."""

    trading: bool
    shadow: bool
    away: bool
    opted_out: bool


class EventRow(TypedDict):
    """Something that the grid asks for."""

    kind: str
    start: int
    end: int
    source: str
    text: str


class GridRow(TypedDict):
    """What the home has heard of its grid; ``state`` is normal, strained, emergency or island."""

    state: str
    since: int
    frequency_mhz: int | None
    events: list[EventRow]


class AccountRow(TypedDict):
    """The account's balance and totals since it joined."""

    money_micro: int
    bought_wh: int
    sold_wh: int
    cost_micro: int
    revenue_micro: int
    saved_micro: int
    open_orders: int


class MeterRow(TypedDict):
    """The last metered interval: ``net_wh`` at the meter, and what of it was traded."""

    start: int
    end: int
    consumption_wh: int
    production_wh: int
    position_wh: int | None


class ForecastRow(TypedDict):
    """What an interval will probably be at the meter, enclosed at the owner's confidence."""

    net_wh: int
    low_wh: int | None
    high_wh: int | None


class PlanRow(TypedDict):
    """What was decided about an interval and why; without an order ``side`` and the like are ``None``.

    ``provisional``: the interval lies beyond the plan. It is what the policy would do by what is known now; nothing
    is ordered yet.
    """

    side: Literal["buy", "sell"] | None
    energy_wh: int | None
    limit_micro_per_kwh: int | None
    shadow: bool
    provisional: bool
    rule: str
    text: str
    alternative: str


class IntervalRow(TypedDict):
    """One delivery interval. Rows of which nothing is known are left out."""

    start: int
    price_micro_per_kwh: int | None
    supplier_micro_per_kwh: int | None
    source_price_micro_per_kwh: int | None
    traded_wh: int | None
    homes: int | None
    position_wh: int | None
    held: bool
    forecast: ForecastRow | None
    plan: PlanRow | None


class Snapshot(TypedDict):
    """A home as a card shows it.

    ``status``: ``missing`` (no such entry), ``not_loaded`` (``problem`` says why), ``waiting`` (the coordinator has not
    answered since the start), ``running``. But for ``missing`` and ``not_loaded`` everything is filled in. ``entities``
    are the home's entity ids by key (``sensor.market_price``).
    """

    status: Literal["missing", "not_loaded", "waiting", "running"]
    entry_id: str | None
    title: str | None
    problem: str | None
    at: int
    connection: str
    currency: str | None
    market: MarketRow | None
    policy: str | None
    switches: SwitchesRow | None
    grid: GridRow | None
    account: AccountRow | None
    meter: MeterRow | None
    intervals: list[IntervalRow]
    entities: dict[str, str]


def snapshot_of(hass: HomeAssistant, entry: EnergyTradeConfigEntry | None) -> Snapshot:
    """Return the home as it is now; never raises, whatever state the entry is in."""
    if entry is None:
        return _empty("missing")
    empty = _empty("not_loaded")
    empty |= {"entry_id": entry.entry_id, "title": entry.title, "problem": entry.reason}
    empty["entities"] = _entities(hass, entry)
    return empty if entry.state is not ConfigEntryState.LOADED else _running(entry.runtime_data.coordinator, empty)


def _empty(status: Literal["missing", "not_loaded"]) -> Snapshot:
    return Snapshot(
        status=status,
        entry_id=None,
        title=None,
        problem=None,
        at=0,
        connection="offline",
        currency=None,
        market=None,
        policy=None,
        switches=None,
        grid=None,
        account=None,
        meter=None,
        intervals=[],
        entities={},
    )


def _running(coordinator: EnergyTradeCoordinator, empty: Snapshot) -> Snapshot:
    home, data, info = coordinator.home, coordinator.latest, coordinator.info
    agent = home.agent
    last = agent.meter.last
    empty["status"] = "waiting" if data is None else "running"
    empty["at"] = home.market_time()
    empty["connection"] = coordinator.connection.value
    empty["currency"] = info.currency
    empty["market"] = _market(info)
    empty["policy"] = agent.policy.kind
    empty["switches"] = SwitchesRow(
        trading=agent.trading, shadow=agent.shadow, away=agent.away, opted_out=agent.opted_out
    )
    empty["grid"] = _grid(home)
    empty["account"] = None if data is None else _account(data)
    empty["meter"] = None if last is None else _meter(last, data)
    empty["intervals"] = list(_intervals(home, data))
    return empty


def _market(info: MarketInfo) -> MarketRow:
    return MarketRow(
        name=info.name,
        state=info.state,
        interval_s=info.interval_s,
        gate_s=info.gate_s,
        supplier_micro_per_kwh=info.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=info.feed_in_micro_per_kwh,
    )


def _grid(home: Home) -> GridRow:
    view = home.grid
    return GridRow(
        state=view.state.name.lower(),
        since=view.since,
        frequency_mhz=view.frequency_mhz,
        events=[_event(event) for event in home.grid_events],
    )


def _event(event: GridEvent) -> EventRow:
    return EventRow(kind=event.kind.value, start=event.start, end=event.end, source=event.source, text=event.text)


def _account(data: HomeData) -> AccountRow:
    account = data.account
    return AccountRow(
        money_micro=account.money_micro,
        bought_wh=account.bought_wh,
        sold_wh=account.sold_wh,
        cost_micro=account.cost_micro,
        revenue_micro=account.revenue_micro,
        saved_micro=account.saved_micro,
        open_orders=account.open_orders,
    )


def _meter(last: MeteredInterval, data: HomeData | None) -> MeterRow:
    return MeterRow(
        start=last.start,
        end=last.end,
        consumption_wh=last.consumption_wh,
        production_wh=last.production_wh,
        position_wh=None if data is None else data.position_wh(last.start),
    )


def _intervals(home: Home, data: HomeData | None) -> Iterable[IntervalRow]:
    """Yield the rows from some intervals ago to a day ahead, as far as anything is known of them."""
    info, plans = home.agent.info, _plans(home)
    now = interval_start(home.market_time(), info.interval_s)
    ahead = min(AHEAD_S // info.interval_s, AHEAD_INTERVALS_MAX)
    for number in range(-PAST_INTERVALS, ahead):
        start = now + number * info.interval_s
        row = _interval(home, data, plans.get(start), start)
        if _is_known(row):
            yield row


def _is_known(row: IntervalRow) -> bool:
    own = (row["forecast"], row["plan"], row["source_price_micro_per_kwh"], row["supplier_micro_per_kwh"])
    market = (row["price_micro_per_kwh"], row["traded_wh"])
    return row["held"] or bool(row["position_wh"]) or any(value is not None for value in (*own, *market))


def _plans(home: Home) -> Mapping[int, PlanRow]:
    """Return the plan, and what would be done beyond it where orders can still be placed."""
    info, now = home.agent.info, home.market_time()
    outline = {start: planned for start, planned in home.outline.items() if now < gate_closes_at(info, start)}
    rows = {start: _plan(planned, provisional=True) for start, planned in outline.items()}
    return rows | {start: _plan(planned, provisional=False) for start, planned in home.plan.items()}


def _interval(home: Home, data: HomeData | None, plan: PlanRow | None, start: int) -> IntervalRow:
    outlook, agent = home.outlook, home.agent
    volume = None if data is None else data.volumes.get(start)
    forecast = outlook.forecasts.get(start)
    if forecast is None and plan is not None:  # then the plan rests on the last metered interval
        forecast = persistence(agent.meter.last, home.market_time(), agent.info.interval_s)
    return IntervalRow(
        start=start,
        price_micro_per_kwh=None if data is None else data.prices.get(start),
        supplier_micro_per_kwh=outlook.supplier.get(start),
        source_price_micro_per_kwh=outlook.prices.get(start),
        traded_wh=None if volume is None else volume.traded_wh,
        homes=None if volume is None else volume.homes,
        position_wh=None if data is None else data.position_wh(start),
        held=start in agent.held,
        forecast=None if forecast is None else _forecast(forecast),
        plan=plan,
    )


def _forecast(forecast: Forecast) -> ForecastRow:
    return ForecastRow(net_wh=forecast.net_wh, low_wh=forecast.low_wh, high_wh=forecast.high_wh)


def _plan(planned: Planned, *, provisional: bool) -> PlanRow:
    order, reason = planned.decision.order, planned.decision.reason
    return PlanRow(
        side=None if order is None else order.side.value,
        energy_wh=None if order is None else order.energy_wh,
        limit_micro_per_kwh=None if order is None else order.limit_price_micro_per_kwh,
        shadow=planned.shadow,
        provisional=provisional,
        rule=reason.rule,
        text=reason.text,
        alternative=reason.alternative,
    )


def _entities(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> dict[str, str]:
    """Return the entry's enabled entities by platform and key: ``sensor.market_price``."""
    prefix = f"{entry.unique_id}_"
    found: dict[str, str] = {}
    for item in er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id):
        if item.disabled_by is None and item.unique_id.startswith(prefix):
            found[f"{item.domain}.{item.unique_id.removeprefix(prefix)}"] = item.entity_id
    return found
