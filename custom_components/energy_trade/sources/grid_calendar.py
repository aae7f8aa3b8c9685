"""Holidays, and events in which the grid asks for something, from the owner's calendars."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import probatio as vol
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.util import dt as dt_util

from ..household.outlook import EventKind, GridEvent
from ..household.reason import Refusal
from ..meter import entity_of

ANSWER_S: Final = 30.0
EVENTS_MAX: Final = 100
TEXT_MAX: Final = 200
"""Characters of a summary: it becomes an attribute, and anybody can send an invitation to a calendar."""
_DAYS_MAX: Final = 60
"""A holiday that lasts longer is no holiday of a tariff."""
_MORE = re.compile(
    r"\b(increase|more|surplus|plunge|turn[ -]?up|free (electricity|power|energy)|mehr|überschuss|erhöh\w*)\b",
    re.IGNORECASE,
)


class CalendarProblem(Refusal):
    """Why a calendar tells nothing."""

    __slots__ = ()


async def async_holidays(
    hass: HomeAssistant, reference: str, start: datetime, end: datetime
) -> frozenset[date] | CalendarProblem:
    """Return the days that all-day events of a calendar cover."""
    told = await _events(hass, reference, start, end)
    if isinstance(told, CalendarProblem):
        return told
    days: set[date] = set()
    for event in told:
        first, last = dt_util.parse_date(str(event.get("start"))), dt_util.parse_date(str(event.get("end")))
        if first is not None and last is not None:
            days |= {first + timedelta(days=by) for by in range(min((last - first).days, _DAYS_MAX))}
    return frozenset(days)


async def async_grid_events(
    hass: HomeAssistant, reference: str, start: datetime, end: datetime
) -> tuple[GridEvent, ...] | CalendarProblem:
    """Return a calendar's events as wishes of the grid; words such as *increase* or *surplus* ask for more."""
    told = await _events(hass, reference, start, end)
    if isinstance(told, CalendarProblem):
        return told
    found = sorted(_grid_events(told, entity_of(hass, reference) or reference), key=lambda event: event.start)
    return tuple(found[:EVENTS_MAX])


def _grid_events(told: list[Mapping[str, Any]], calendar: str) -> Iterator[GridEvent]:
    for event in told:
        first, last = _second(event.get("start")), _second(event.get("end"))
        if first is None or last is None or last <= first:
            continue
        text = str(event.get("summary") or "")
        kind = EventKind.INCREASE if _MORE.search(f"{text} {event.get('description') or ''}") else EventKind.REDUCE
        text = text[:TEXT_MAX]
        yield GridEvent(f"{calendar}:{first}:{text}", kind, first, last, calendar, text)


def _second(told: object) -> int | None:
    """Read the time of a whole day's or a timed event."""
    if (day := dt_util.parse_date(str(told))) is not None:
        return int(dt_util.start_of_local_day(day).timestamp())
    moment = dt_util.parse_datetime(str(told))
    return None if moment is None else int(dt_util.as_utc(moment).timestamp())


async def _events(
    hass: HomeAssistant, reference: str, start: datetime, end: datetime
) -> list[Mapping[str, Any]] | CalendarProblem:
    entity_id = entity_of(hass, reference)
    state = None if entity_id is None else hass.states.get(entity_id)
    if entity_id is None or state is None:
        return CalendarProblem("missing", f"the calendar {entity_id or reference} does not exist (any more)")
    if state.state == STATE_UNAVAILABLE:
        return CalendarProblem("unavailable", f"the calendar {entity_id} is unavailable")
    data = {"entity_id": entity_id, "start_date_time": start.isoformat(), "end_date_time": end.isoformat()}
    try:
        async with asyncio.timeout(ANSWER_S):
            told = await hass.services.async_call("calendar", "get_events", data, blocking=True, return_response=True)
    except TimeoutError:
        return CalendarProblem("failed", f"the calendar {entity_id} gave no answer within {ANSWER_S:.0f} s")
    except (HomeAssistantError, vol.Invalid) as error:
        return CalendarProblem("failed", f"the calendar {entity_id} failed: {error}")
    answer = told.get(entity_id) if isinstance(told, Mapping) else None
    events = answer.get("events") if isinstance(answer, Mapping) else None
    if not isinstance(events, list):
        return CalendarProblem("failed", f"the calendar {entity_id} gave no answer")
    return [event for event in events if isinstance(event, Mapping)]
