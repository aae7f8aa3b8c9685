"""What Home Assistant knows of the time ahead: prices, sun, habits, battery, holidays and the grid's events.

Entities are read when a plan is made. What must be asked for (actions, forecasts, the recorder, calendars) is asked in
the background and kept. Each source fails alone: it is then unknown, named in ``problems`` and logged once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers.debounce import Debouncer
from homeassistant.helpers.event import async_call_later, async_track_state_change_event
from homeassistant.util import dt as dt_util

from ..const import (
    CONF_FEED_IN_PRICE,
    CONF_GRID_EVENTS,
    CONF_HOLIDAYS,
    CONF_POLICIES,
    CONF_POLICY,
    CONF_SUPPLIER_PRICE,
    LOGGER,
)
from ..home import Home
from ..household.outlook import GridEvent, Outlook
from ..household.policies import POLICIES
from ..household.price_rows import PriceProblem, PriceRow, per_interval
from ..household.reason import Refusal
from ..household.settings import FieldKind
from ..meter import entity_of
from .answers import SPREAD, Problems, Source
from .batteries import read_batteries
from .forecasting import HISTORY_DAYS, Forecasting
from .grid_calendar import async_grid_events, async_holidays
from .price_sources import async_prices, is_action, read_prices

TICK_S: Final = 240.0
REPLAN_COOLDOWN_S: Final = 30.0
PRICES_S, CALENDARS_S = 1_800.0, 900.0
HOLIDAYS_AHEAD, EVENTS_AHEAD = timedelta(days=8), timedelta(days=2)
PRICES, SUPPLIER, FEED_IN, BATTERY = "prices", "supplier", "feed_in", "battery"


class OutlookSource:
    """Keeps what plans rest on; a source that fails takes none of the others down."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], home: Home) -> None:
        self._hass = hass
        self._entry = entry
        self._home = home
        self._problems = problems = Problems(hass)
        self._price_references: Mapping[str, Callable[[], str | None]] = {
            PRICES: self._policy_prices,
            SUPPLIER: self._option(CONF_SUPPLIER_PRICE),
            FEED_IN: self._option(CONF_FEED_IN_PRICE),
        }
        self._prices = {
            key: Source(key, PRICES_S, _only_actions(about), self._ask_prices, problems)
            for key, about in self._price_references.items()
        }
        self._calendars = (self._option(CONF_HOLIDAYS), self._option(CONF_GRID_EVENTS))
        self._holidays = Source("holidays", CALENDARS_S, self._calendars[0], self._ask_holidays, problems)
        self._events = Source("grid_events", CALENDARS_S, self._calendars[1], self._ask_events, problems)
        self._forecasting = Forecasting(hass, entry, home, lambda: self._holidays.value or frozenset(), problems)
        self._asking = asyncio.Lock()
        self._asking_now: asyncio.Task[None] | None = None
        self._timer: CALLBACK_TYPE | None = None
        self._wanted: tuple[str | None, ...] = ()
        self._watched: set[str] = set()
        self._unwatch: CALLBACK_TYPE | None = None
        self._replan_soon = Debouncer(
            hass, LOGGER, cooldown=REPLAN_COOLDOWN_S, immediate=False, function=home.async_replan
        )

    @property
    def problems(self) -> Mapping[str, str]:
        """What is not known at present, by source, and why."""
        return self._problems.sentences

    def current(self, at: int) -> Outlook:
        """Return what is known at ``at`` (market time), from memory; never raises."""
        agent, grid = self._home.agent, self._home.grid
        prices = {key: self._prices_of(key, at) for key in self._prices}
        battery = self._part(BATTERY, lambda: read_batteries(self._hass, self._entry))
        forecasts = self._part("forecast", lambda: self._forecasting.forecasts(at, battery))
        return Outlook(
            timezone=dt_util.get_default_time_zone(),
            forecasts=forecasts or {},
            prices=prices[PRICES],
            price_problem="" if prices[PRICES] else self.problems.get(PRICES, ""),
            supplier=prices[SUPPLIER],
            feed_in=prices[FEED_IN],
            grid_state=grid.state,
            events=(*grid.events, *(event for event in self._events.value or () if event.end > at)),
            battery=battery,
            holidays=self._holidays.value or frozenset(),
            away=agent.away,
            held=agent.held,
            community_surplus=grid.forecast_surplus,
        )

    @callback
    def async_start(self) -> None:
        """Ask in the background, now and from time to time, until the entry is unloaded."""
        for stop in (self._stop, self._replan_soon.async_shutdown, self._home.async_listen(self._watch)):
            self._entry.async_on_unload(stop)
        self._tick()
        self._watch()

    async def async_refresh(self) -> None:
        """Ask every source anew, at once; what fails is in ``problems``."""
        await self._ask(at_once=True)

    async def _ask(self, *, at_once: bool = False, calendars_at_once: bool = False) -> None:
        """Ask what is due; calendars first, for habits are learnt by workdays and holidays."""
        now = self._hass.loop.time()
        async with self._asking:
            calendars = (self._holidays, self._events)
            calendars_at_once |= at_once
            changed = [await source.async_refresh(now, at_once=calendars_at_once) for source in calendars]
            changed += await asyncio.gather(
                *(source.async_refresh(now, at_once=at_once) for source in self._prices.values()),
                self._forecasting.sun.async_refresh(now, at_once=at_once),
                self._forecasting.history.async_refresh(now, at_once=at_once or changed[0]),
            )
        if any(changed):
            self._replan_soon.async_schedule_call()

    @callback
    def _tick(self, _now: datetime | None = None) -> None:
        """Ask what is due, and come back a little earlier or later than other homes."""
        pause_s = TICK_S * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
        self._timer = async_call_later(self._hass, pause_s, self._tick)
        self._ask_in_background()

    @callback
    def _stop(self) -> None:
        for cancel in (self._timer, self._unwatch):
            if cancel is not None:
                cancel()
        self._timer = self._unwatch = None
        self._watched = set()

    @callback
    def _watch(self) -> None:
        """Follow the entities that tell prices and events; ask at once when the owner names other sources."""
        wanted = tuple(about() for about in (*self._price_references.values(), *self._calendars))
        entities = {
            entity_id
            for reference in wanted
            if reference is not None and not is_action(reference)
            if (entity_id := entity_of(self._hass, reference)) is not None
        }
        if entities != self._watched:
            if self._unwatch is not None:
                self._unwatch()
            self._watched = entities
            self._unwatch = async_track_state_change_event(self._hass, entities, self._entity_changed)
        if wanted != self._wanted:
            self._wanted = wanted
            self._ask_in_background()

    @callback
    def _entity_changed(self, event: Event[EventStateChangedData]) -> None:
        """Ask a calendar that has changed; plan anew with what a sensor of prices says."""
        if event.data["entity_id"].startswith("calendar."):
            self._ask_in_background(calendars=True)
        else:
            self._replan_soon.async_schedule_call()

    @callback
    def _ask_in_background(self, *, calendars: bool = False) -> None:
        name = f"energy_trade outlook {self._entry.entry_id}"
        self._asking_now = self._entry.async_create_background_task(
            self._hass, self._ask(calendars_at_once=calendars), name
        )

    def _option(self, key: str) -> Callable[[], str | None]:
        return lambda: self._entry.options.get(key) or None

    def _policy_prices(self) -> str | None:
        """Return the source that the chosen policy takes its prices from, if it takes any."""
        kind = self._entry.options.get(CONF_POLICY)
        settings = self._entry.options.get(CONF_POLICIES, {}).get(kind, {})
        fields = POLICIES[kind].FIELDS if kind in POLICIES else ()
        named = (settings.get(field.key) for field in fields if field.kind is FieldKind.ENTITY)
        return next((reference for reference in named if reference), None)

    def _prices_of(self, key: str, at: int) -> Mapping[int, int]:
        reference = self._price_references[key]()
        if reference is not None and is_action(reference):
            return self._prices[key].value or {}
        return self._part(key, lambda: None if reference is None else self._read_prices(reference, at)) or {}

    def _read_prices(self, reference: str, at: int) -> Mapping[int, int] | Refusal:
        return self._per_interval(reference, read_prices(self._hass, reference, self._home.agent.info, at), at)

    async def _ask_prices(self, reference: str) -> Mapping[int, int] | Refusal:
        at, info = self._home.market_time(), self._home.agent.info
        return self._per_interval(reference, await async_prices(self._hass, reference, info, at), at)

    def _per_interval(
        self, reference: str, rows: tuple[PriceRow, ...] | PriceProblem, at: int
    ) -> Mapping[int, int] | Refusal:
        if isinstance(rows, PriceProblem):
            return rows
        prices = per_interval(rows, self._home.agent.info.interval_s)
        if any(start > at for start in prices):
            return prices
        name = reference if is_action(reference) else entity_of(self._hass, reference)
        return PriceProblem("no_prices", f"{name} tells no price for the time ahead")

    async def _ask_holidays(self, reference: str) -> frozenset[date] | Refusal:
        now = dt_util.utcnow()
        return await async_holidays(self._hass, reference, now - timedelta(days=HISTORY_DAYS), now + HOLIDAYS_AHEAD)

    async def _ask_events(self, reference: str) -> tuple[GridEvent, ...] | Refusal:
        now = dt_util.utcnow()
        return await async_grid_events(self._hass, reference, now, now + EVENTS_AHEAD)

    def _part[Value](self, key: str, read: Callable[[], Value | Refusal | None]) -> Value | None:
        """Read one part of the outlook; whatever goes wrong with it is noted and leaves the others as they are."""
        try:
            told = read()
        except Exception as error:  # noqa: BLE001 - a plan is made with what is known
            LOGGER.debug("The part %s failed", key, exc_info=True)
            told = Refusal("failed", f"it failed unexpectedly: {error!r}")
        self._problems.note(key, told if isinstance(told, Refusal) else None)
        return None if isinstance(told, Refusal) else told


def _only_actions(about: Callable[[], str | None]) -> Callable[[], str | None]:
    """Ask for nothing where an entity tells the prices: that is read when a plan is made."""

    def reference() -> str | None:
        named = about()
        return named if named is not None and is_action(named) else None

    return reference
