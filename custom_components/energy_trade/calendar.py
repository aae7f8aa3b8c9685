"""A calendar: when energy is delivered that was traded, when the grid asks for something, what devices do for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import override

from homeassistant.components.calendar import CalendarEntity, CalendarEntityDescription, CalendarEvent
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.translation import async_get_translations
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .household.outlook import GridEvent
from .protocol.messages import Side
from .protocol.units import WH_PER_KWH

PARALLEL_UPDATES = 0

SCHEDULE = CalendarEntityDescription(key="schedule", translation_key="schedule")
CALENDARS = (SCHEDULE,)
TEXTS = ("calendar_buy", "calendar_sell", "calendar_reduce", "calendar_increase", "calendar_device")


async def async_setup_entry(
    hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the calendar, in the system's language."""
    found = await async_get_translations(hass, hass.config.language, "common", {DOMAIN})
    texts = {key: found[f"component.{DOMAIN}.common.{key}"] for key in TEXTS}
    async_add_entities([ScheduleCalendar(entry.runtime_data.coordinator, texts)])


class ScheduleCalendar(EnergyTradeEntity, CalendarEntity):
    """What was agreed for which time, as far as the home knows it."""

    def __init__(self, coordinator: EnergyTradeCoordinator, texts: Mapping[str, str]) -> None:
        super().__init__(coordinator, SCHEDULE, local=True)
        self._texts = texts

    @property
    @override
    def event(self) -> CalendarEvent | None:
        """What is on now, or comes next."""
        now = dt_util.now()
        return next((event for event in self._events() if event.end_datetime_local > now), None)

    @override
    async def async_get_events(
        self, hass: HomeAssistant, start_date: datetime, end_date: datetime
    ) -> list[CalendarEvent]:
        """Return what overlaps a time."""
        return [
            event
            for event in self._events()
            if event.start_datetime_local < end_date and start_date < event.end_datetime_local
        ]

    def _events(self) -> list[CalendarEvent]:
        events = [*self._deliveries(), *map(self._asked, self.home.grid_events), *self._devices()]
        return sorted(events, key=lambda event: (event.start_datetime_local, event.uid or ""))

    def _deliveries(self) -> Iterator[CalendarEvent]:
        """Yield the windows in which traded energy flows one way; neighbouring intervals are one window."""
        latest, interval_s = self.coordinator.latest, self.coordinator.info.interval_s
        starts = sorted({order.delivery_start for order in (() if latest is None else latest.orders)})
        window: tuple[int, int, int] | None = None
        for start in starts:
            energy_wh = 0 if latest is None else latest.position_wh(start)
            if window is not None and (window[1] != start or (window[2] > 0) != (energy_wh > 0) or not energy_wh):
                yield self._delivery(*window)
                window = None
            if energy_wh:
                begin, _, before_wh = window or (start, start, 0)
                window = begin, start + interval_s, before_wh + energy_wh
        if window is not None:
            yield self._delivery(*window)

    def _delivery(self, start: int, end: int, energy_wh: int) -> CalendarEvent:
        side = Side.BUY if energy_wh > 0 else Side.SELL
        text = self._texts[f"calendar_{side.value}"]
        return _entry(start, end, text.format(energy=f"{abs(energy_wh) / WH_PER_KWH:.3f}"), "", f"delivery:{start}")

    def _asked(self, event: GridEvent) -> CalendarEvent:
        return _entry(event.start, event.end, self._texts[f"calendar_{event.kind.value}"], event.text, event.uid)

    def _devices(self) -> Iterator[CalendarEvent]:
        for action in self.coordinator.config_entry.runtime_data.flexibility.actions:
            summary = self._texts["calendar_device"].format(device=action.name)
            uid = f"device:{action.device}:{action.since}"
            yield _entry(action.since, action.until, summary, action.reason.text, uid)


def _entry(start: int, end: int, summary: str, description: str, uid: str) -> CalendarEvent:
    return CalendarEvent(
        start=dt_util.as_local(dt_util.utc_from_timestamp(start)),
        end=dt_util.as_local(dt_util.utc_from_timestamp(end)),
        summary=summary,
        description=description or None,
        uid=uid,
    )
