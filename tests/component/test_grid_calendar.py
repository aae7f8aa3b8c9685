"""Holidays and grid events from calendars: the real calendar integration, its action and entities."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.calendar import CalendarEntity, CalendarEvent
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse
from homeassistant.exceptions import HomeAssistantError
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import setup_test_component_platform

from custom_components.energy_trade.household.outlook import EventKind, GridEvent
from custom_components.energy_trade.sources import grid_calendar
from custom_components.energy_trade.sources.grid_calendar import CalendarProblem, async_grid_events, async_holidays

CALENDAR = "calendar.grid"
START = datetime(2026, 12, 20, tzinfo=UTC)
END = START + timedelta(days=14)


class Calendar(CalendarEntity):
    """A calendar with these events; an error stands for a service that is down."""

    _attr_name = "Grid"

    def __init__(self) -> None:
        self.events: list[CalendarEvent] = []
        self.error: Exception | None = None

    @property
    def event(self) -> CalendarEvent | None:
        return None

    async def async_get_events(
        self, hass: HomeAssistant, start_date: datetime, end_date: datetime
    ) -> list[CalendarEvent]:
        if self.error is not None:
            raise self.error
        return [event for event in self.events if event.end_datetime_local > start_date]


@pytest.fixture
async def calendar(hass: HomeAssistant) -> Calendar:
    await hass.config.async_set_time_zone("Europe/Berlin")
    found = Calendar()
    setup_test_component_platform(hass, "calendar", [found])
    hass.config.components.add("http")
    with patch("homeassistant.components.calendar.CalendarEventView"), patch.object(hass, "http", create=True):
        assert await async_setup_component(hass, "calendar", {"calendar": {"platform": "test"}})
        await hass.async_block_till_done()
    return found


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 12, day, hour, minute, tzinfo=dt_util.get_default_time_zone())


async def events(hass: HomeAssistant) -> tuple[GridEvent, ...]:
    found = await async_grid_events(hass, CALENDAR, START, END)
    assert isinstance(found, tuple), found
    return found


async def test_all_day_events_are_holidays_and_others_are_not(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [
        CalendarEvent(date(2026, 12, 25), date(2026, 12, 27), "Christmas"),
        CalendarEvent(at(31, 18), at(31, 23), "Party"),
    ]
    found = await async_holidays(hass, CALENDAR, START, END)
    assert found == frozenset({date(2026, 12, 25), date(2026, 12, 26)})


async def test_a_holiday_without_end_is_not_believed_for_long(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [CalendarEvent(date(2026, 12, 25), date(2036, 12, 25), "Retired")]
    found = await async_holidays(hass, CALENDAR, START, END)
    assert isinstance(found, frozenset)
    assert len(found) == 60


async def test_events_are_wishes_for_less(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [
        CalendarEvent(at(22, 19), at(22, 20), "Demand response"),
        CalendarEvent(at(21, 17), at(21, 18, 30), "Peak saving"),
    ]
    first, second = await events(hass)
    begin = int(at(21, 17).timestamp())
    assert first == GridEvent(
        f"{CALENDAR}:{begin}:Peak saving", EventKind.REDUCE, begin, begin + 5_400, CALENDAR, "Peak saving"
    )
    assert second.start > first.start


@pytest.mark.parametrize(
    ("summary", "kind"),
    [
        ("Increase use", EventKind.INCREASE),
        ("SURPLUS of wind", EventKind.INCREASE),
        ("Free electricity", EventKind.INCREASE),
        ("Turn-up event", EventKind.INCREASE),
        ("Überschuss im Netz", EventKind.INCREASE),
        ("Bitte mehr verbrauchen", EventKind.INCREASE),
        ("Verbrauch erhöhen", EventKind.INCREASE),
        ("Saving session", EventKind.REDUCE),
        ("Furthermore nothing", EventKind.REDUCE),
        ("", EventKind.REDUCE),
    ],
)
async def test_words_tell_whether_more_is_asked_for(
    hass: HomeAssistant, calendar: Calendar, summary: str, kind: EventKind
) -> None:
    calendar.events = [CalendarEvent(at(22, 19), at(22, 20), summary)]
    (found,) = await events(hass)
    assert found.kind is kind


async def test_a_summary_of_any_length_is_cut(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [CalendarEvent(at(22, 19), at(22, 20), "x" * 5_000 + " increase")]
    (event,) = await events(hass)
    assert (event.text, event.kind) == ("x" * 200, EventKind.INCREASE)
    assert len(event.uid) < 300


async def test_the_description_counts_too(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [CalendarEvent(at(22, 19), at(22, 20), "Octopus", description="use more now")]
    assert (await events(hass))[0].kind is EventKind.INCREASE


async def test_a_whole_day_lasts_from_midnight_to_midnight_here(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [CalendarEvent(date(2026, 12, 22), date(2026, 12, 23), "All day")]
    (found,) = await events(hass)
    assert (found.start, found.end) == (int(at(22, 0).timestamp()), int(at(23, 0).timestamp()))


async def test_no_more_events_than_can_be_worked_with(hass: HomeAssistant, calendar: Calendar) -> None:
    calendar.events = [CalendarEvent(at(22, 1, n % 60), at(22, 3), f"{n}") for n in range(150)]
    assert len(await events(hass)) == 100


async def test_a_calendar_that_is_gone_down_or_fails_is_a_problem(hass: HomeAssistant, calendar: Calendar) -> None:
    async def problem_of(reference: str = CALENDAR) -> str:
        found = await async_grid_events(hass, reference, START, END)
        assert isinstance(found, CalendarProblem)
        assert await async_holidays(hass, reference, START, END) == found
        return found.code

    assert await problem_of("calendar.gone") == "missing"
    calendar.error = HomeAssistantError("no connection")
    assert await problem_of() == "failed"
    calendar.error = TimeoutError()
    assert await problem_of() == "failed"
    calendar.error = None
    hass.states.async_set(CALENDAR, "unavailable")
    assert await problem_of() == "unavailable"
    hass.states.async_set("calendar.other", "off")  # no entity of the calendar integration
    assert await problem_of("calendar.other") == "failed"


async def test_a_calendar_that_never_answers_is_given_up(hass: HomeAssistant, calendar: Calendar) -> None:
    async def never(_call: ServiceCall) -> ServiceResponse:
        await asyncio.Event().wait()
        return {}

    hass.services.async_register("calendar", "get_events", never, None, SupportsResponse.ONLY)
    with patch.object(grid_calendar, "ANSWER_S", 0.01):
        found = await async_grid_events(hass, CALENDAR, START, END)
    assert isinstance(found, CalendarProblem)
    assert found.code == "failed"


@pytest.mark.parametrize(
    "event",
    [
        {"start": "soon", "end": "later", "summary": "x"},
        {"start": "2026-12-22T10:00:00+01:00", "summary": "x"},
        {"start": "2026-12-22T10:00:00+01:00", "end": "2026-12-22T09:00:00+01:00"},
        "x",
    ],
    ids=repr,
)
async def test_events_that_make_no_sense_are_left_out(hass: HomeAssistant, calendar: Calendar, event: object) -> None:
    answer: Any = {CALENDAR: {"events": [event]}}
    hass.services.async_register("calendar", "get_events", lambda _call: answer, None, SupportsResponse.ONLY)
    assert await events(hass) == ()
    assert await async_holidays(hass, CALENDAR, START, END) == frozenset()


@pytest.mark.parametrize("answer", [{}, {CALENDAR: None}, {CALENDAR: {}}, {CALENDAR: {"events": "x"}}], ids=repr)
async def test_an_answer_without_events_is_a_problem(hass: HomeAssistant, calendar: Calendar, answer: Any) -> None:
    hass.services.async_register("calendar", "get_events", lambda _call: answer, None, SupportsResponse.ONLY)
    found = await async_grid_events(hass, CALENDAR, START, END)
    assert isinstance(found, CalendarProblem)
    assert found.code == "failed"
