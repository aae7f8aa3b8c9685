"""What a home knows about the time ahead: everything that a plan rests on, handed in as data.

Energies are Wh per delivery interval and positive from the grid, prices 1e-6 of the currency per kWh, times UTC
seconds. Maps go by delivery start; an interval that is missing is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from enum import IntEnum, StrEnum

from .forecast import Forecast


class GridState(IntEnum):
    """The grid's state as its operator tells it (``protocol.order_terms.Signal.GRID_STATE``)."""

    NORMAL = 0
    STRAINED = 1
    EMERGENCY = 2
    ISLAND = 3


class EventKind(StrEnum):
    """What an event asks of a home: take less from the grid (or give more), or take more."""

    REDUCE = "reduce"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True)
class GridEvent:
    """A window in which the grid asks for something; ``source`` says who announced it."""

    uid: str
    kind: EventKind
    start: int
    end: int
    source: str
    text: str = ""

    def covers(self, at: int) -> bool:
        """Tell whether the event is on at this second."""
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class BatteryState:
    """The home's batteries together, at the moment of planning.

    ``reserve_wh`` is the owner's hard reserve, ``efficiency_percent`` of one way.
    """

    capacity_wh: int
    energy_wh: int
    charge_max_w: int
    discharge_max_w: int
    reserve_wh: int = 0
    efficiency_percent: int = 95


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything from outside that a plan looks at.

    ``forecasts`` are of the meter (what is left after the home's own use and its battery), ``prices`` those of the
    owner's price source, ``supplier`` and ``feed_in`` the owner's real tariff where it changes with time (the market's
    tariff counts elsewhere). ``held`` are intervals that the owner took out of the plan.
    ``community_surplus`` is what the operator expects the community to have left over (negative: to lack), in Wh.
    """

    timezone: tzinfo = UTC
    forecasts: Mapping[int, Forecast] = field(default_factory=dict)
    prices: Mapping[int, int] = field(default_factory=dict)
    price_problem: str = ""
    supplier: Mapping[int, int] = field(default_factory=dict)
    feed_in: Mapping[int, int] = field(default_factory=dict)
    grid_state: GridState = GridState.NORMAL
    events: tuple[GridEvent, ...] = ()
    battery: BatteryState | None = None
    holidays: frozenset[date] = frozenset()
    away: bool = False
    held: frozenset[int] = frozenset()
    community_surplus: Mapping[int, int] = field(default_factory=dict)

    def local(self, at: int) -> datetime:
        """Return a moment on the home's own clock."""
        return datetime.fromtimestamp(at, self.timezone)

    def event_in(self, start: int, end: int) -> GridEvent | None:
        """Return the first event that overlaps the time from ``start`` to before ``end``."""
        return next((event for event in self.events if event.start < end and start < event.end), None)
