"""Prices of electricity from whatever tells them here: sensors of every shape, and actions of known integrations.

A source is one string: an entity (its registry id or its id), or an action source such as ``nordpool:ENTRY:SE3``. The
actions are those that the integrations define in their own ``services.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import probatio as vol
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT, STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util import dt as dt_util

from ..household.price_rows import (
    PRICE_PROBLEMS,
    PriceProblem,
    PriceRow,
    factor_of,
    per_interval,
    price_of,
    rows_in,
    rows_of,
)
from ..meter import entity_of
from ..protocol.client import MarketInfo
from ..protocol.units import interval_start

__all__ = [
    "PRICE_PROBLEMS",
    "PriceChoice",
    "PriceProblem",
    "PriceRow",
    "async_preview_prices",
    "async_price_choices",
    "async_prices",
    "is_action",
    "read_prices",
]

HOLD_S: Final = 3_600
"""A sensor that tells no times is believed for as long: nobody knows what it will say later."""
ANSWER_S: Final = 30.0
AHEAD: Final = timedelta(days=1)
_NORDPOOL_ZONE: Final = "Europe/Brussels"
"""The days of the coupled European market are those of Central European time."""


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """A source of prices that needs no entity: its reference and its name for people."""

    reference: str
    name: str


@dataclass(frozen=True, slots=True)
class _Question:
    """What a source is asked for: its entry and variant, and the zone of its days."""

    entry: ConfigEntry[Any]
    variant: str
    now: datetime
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class _Action:
    """How an integration is asked for prices, and how its answer is read."""

    name: str
    variants: tuple[str, ...]
    calls: Callable[[_Question], Sequence[dict[str, Any]]]
    pick: Callable[[Mapping[str, Any], str], object]
    unit: Callable[[HomeAssistant, _Question], str]
    service: Callable[[str], str]


def is_action(reference: str) -> bool:
    """Tell whether the reference names an action source and not an entity."""
    return reference.partition(":")[0] in _ACTIONS


def async_price_choices(hass: HomeAssistant) -> tuple[PriceChoice, ...]:
    """Return the action sources that are set up here, to be offered beside the entities."""
    found: list[PriceChoice] = []
    for domain, action in _ACTIONS.items():
        for entry in hass.config_entries.async_entries(domain, include_disabled=False):
            areas = entry.data.get("areas", ())
            for variant in areas if len(areas) > 1 else ("", *action.variants):
                reference = f"{domain}:{entry.entry_id}" + (f":{variant}" if variant else "")
                label = f"{action.name}: {entry.title}" + (f" ({variant})" if variant else "")
                found.append(PriceChoice(reference, label))
    return tuple(found)


async def async_prices(
    hass: HomeAssistant, reference: str, info: MarketInfo, at: int
) -> tuple[PriceRow, ...] | PriceProblem:
    """Return the rows that a source tells at ``at`` (UTC seconds), in its own steps, or why there are none."""
    if not is_action(reference):
        return read_prices(hass, reference, info, at)
    domain, _colon, rest = reference.partition(":")
    entry_id, _colon, variant = rest.partition(":")
    entry = hass.config_entries.async_get_entry(entry_id)
    if entry is None or entry.domain != domain:
        return PriceProblem("missing", f"the {domain} entry that told the prices does not exist any more")
    if entry.state is not ConfigEntryState.LOADED:
        return PriceProblem("not_loaded", f"{entry.title} ({domain}) is not running: see its own page")
    zone = await dt_util.async_get_time_zone(_NORDPOOL_ZONE) if domain == "nordpool" else None
    here = dt_util.get_default_time_zone()
    question = _Question(entry, variant, dt_util.utc_from_timestamp(at), zone or here)
    return await _asked(hass, _ACTIONS[domain], question, info)


def read_prices(hass: HomeAssistant, reference: str, info: MarketInfo, at: int) -> tuple[PriceRow, ...] | PriceProblem:
    """Return the rows that an entity's attributes tell; without such its state, for the next hour."""
    entity_id = entity_of(hass, reference)
    state = None if entity_id is None else hass.states.get(entity_id)
    if state is None:
        return PriceProblem("missing", f"the price source {entity_id or reference} does not exist (any more)")
    if state.state in (STATE_UNAVAILABLE, STATE_UNKNOWN):
        return PriceProblem("unavailable", f"the price source {entity_id} is {state.state}")
    unit = state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)
    factor = factor_of(unit, info.currency)
    if isinstance(factor, PriceProblem):
        return PriceProblem(factor.code, f"{entity_id}: {factor.message}")
    rows = rows_in(state.attributes, unit, info, dt_util.get_default_time_zone())
    if isinstance(rows, PriceProblem):
        return PriceProblem(rows.code, f"{entity_id}: {rows.message}")
    if rows:
        return rows
    price = price_of(state.state, factor, info)
    if isinstance(price, PriceProblem):
        return PriceProblem(price.code, f"{entity_id}: {price.message}")
    start = interval_start(at, info.interval_s)
    return (PriceRow(start, start + info.interval_s + HOLD_S, price),)


async def async_preview_prices(
    hass: HomeAssistant, reference: str, info: MarketInfo
) -> tuple[PriceRow, ...] | PriceProblem:
    """Return the source's prices from now on, per market interval and oldest first, or why there are none."""
    now = int(dt_util.utcnow().timestamp())
    rows = await async_prices(hass, reference, info, now)
    if isinstance(rows, PriceProblem):
        return rows
    step = info.interval_s
    prices = per_interval(rows, step)
    coming = tuple(PriceRow(start, start + step, prices[start]) for start in sorted(prices) if start + step > now)
    return coming or PriceProblem("no_prices", f"{reference} tells no price for the time ahead")


async def _asked(
    hass: HomeAssistant, action: _Action, question: _Question, info: MarketInfo
) -> tuple[PriceRow, ...] | PriceProblem:
    """Ask for each day; what is not known yet (tomorrow, before it is published) takes nothing from today."""
    domain, unit = question.entry.domain, action.unit(hass, question)
    factor = factor_of(unit, info.currency)
    if isinstance(factor, PriceProblem):
        return PriceProblem(factor.code, f"{question.entry.title}: {factor.message}")
    found: list[PriceRow] = []
    problem = PriceProblem("no_prices", f"{question.entry.title} ({domain}) tells no prices")
    for data in action.calls(question):
        told = await _answer(hass, domain, action.service(question.variant), data)
        rows = told if isinstance(told, PriceProblem) else _read(action, told, question, unit, info)
        if isinstance(rows, PriceProblem):
            problem = rows
        else:
            found += rows
    unique = {row.start: row for row in reversed(found)}
    return tuple(unique[start] for start in sorted(unique)) or problem


def _read(
    action: _Action, told: Mapping[str, Any], question: _Question, unit: str, info: MarketInfo
) -> tuple[PriceRow, ...] | PriceProblem:
    picked = action.pick(told, question.variant)
    return picked if isinstance(picked, PriceProblem) else rows_of(picked, unit, info, question.zone)


async def _answer(
    hass: HomeAssistant, domain: str, service: str, data: dict[str, Any]
) -> Mapping[str, Any] | PriceProblem:
    try:
        async with asyncio.timeout(ANSWER_S):
            told = await hass.services.async_call(domain, service, data, blocking=True, return_response=True)
    except TimeoutError:
        return PriceProblem("failed", f"{domain}.{service} gave no answer within {ANSWER_S:.0f} s")
    except (HomeAssistantError, vol.Invalid) as error:
        return PriceProblem("failed", f"{domain}.{service}: {error}")
    return told if isinstance(told, Mapping) else PriceProblem("failed", f"{domain}.{service} gave no answer")


def _days(question: _Question) -> tuple[datetime, ...]:
    """Return a moment in each local day from the one that holds now to the one a day ahead."""
    return (question.now.astimezone(question.zone), (question.now + AHEAD).astimezone(question.zone))


def _nordpool_days(question: _Question) -> list[dict[str, Any]]:
    return [{"config_entry": question.entry.entry_id, "date": day.date().isoformat()} for day in _days(question)]


def _tibber_days(question: _Question) -> list[dict[str, Any]]:
    midnight = dt_util.start_of_local_day(question.now.astimezone(question.zone))
    return [{"start": midnight.isoformat(), "end": (midnight + timedelta(days=2)).isoformat()}]


def _single_days(question: _Question, **data: Any) -> list[dict[str, Any]]:
    """Ask for each day in a call of its own, from its date to the same date."""
    days = [day.date().isoformat() for day in _days(question)]
    return [{"config_entry": question.entry.entry_id, "start": day, "end": day} | data for day in days]


def _only(told: object, variant: str, what: str) -> object:
    """Return the one named thing of several, or the only one there is."""
    if not isinstance(told, Mapping):
        return PriceProblem("failed", f"the answer names no {what}")
    if variant:
        return told.get(variant, PriceProblem("missing", f"the answer has no {what} {variant}"))
    if len(told) > 1:
        return PriceProblem("ambiguous", f"the answer has more than one {what}: {', '.join(map(str, told))}")
    return next(iter(told.values()), ())


def _easyenergy_days(question: _Question) -> list[dict[str, Any]]:
    return _single_days(question) if question.variant == "return" else _single_days(question, incl_vat=True)


def _energyzero_days(question: _Question) -> list[dict[str, Any]]:
    price_type = {"price_type": question.variant} if question.variant else {}
    return _single_days(question, incl_vat=True, **price_type)


_ACTIONS: Final[Mapping[str, _Action]] = {
    "nordpool": _Action(
        "Nord Pool",
        (),
        _nordpool_days,
        lambda told, variant: _only(told, variant, "area"),
        lambda _hass, question: f"{question.entry.data.get('currency')}/MWh",
        lambda _variant: "get_prices_for_date",
    ),
    "tibber": _Action(
        "Tibber",
        (),
        _tibber_days,
        lambda told, variant: _only(told.get("prices"), variant, "home"),
        lambda hass, _question: f"{hass.config.currency}/kWh",
        lambda _variant: "get_prices",
    ),
    "easyenergy": _Action(
        "easyEnergy",
        ("return",),
        _easyenergy_days,
        lambda told, _variant: told.get("prices"),
        lambda _hass, _question: "EUR/kWh",
        lambda variant: "get_energy_return_prices" if variant == "return" else "get_energy_usage_prices",
    ),
    "energyzero": _Action(
        "EnergyZero",
        ("all_in",),
        _energyzero_days,
        lambda told, _variant: told.get("prices"),
        lambda _hass, _question: "EUR/kWh",
        lambda _variant: "get_energy_prices",
    ),
}
"""Each integration's unit: Nord Pool's is its entry's currency per MWh, Tibber answers in the home's own currency."""
