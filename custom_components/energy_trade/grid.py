"""The grid as its operator and its contract describe it over the stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .household.outlook import EventKind, GridEvent, GridState
from .protocol.order_terms import Signal
from .protocol.wire import read_choice, read_int, read_text

_OPEN_ENDED_S = 86_400
"""A state has no end that is known; it is taken to last, and ends when the operator says so."""
_REQUESTS_MAX = 16
_STATE, _RELIEF = "grid_state", "balancing_request"
GRID_SOURCES = frozenset({_STATE, _RELIEF})
"""Who announces what the grid itself asks for; the other events are the owner's calendar's."""
_SURPLUSES_MAX = 200


@dataclass(frozen=True, slots=True)
class GridView:
    """What the home has heard of its grid.

    ``since`` (UTC seconds) is when the state began, as far as the home saw it, ``heard`` when it was told again half a
    day later or more; ``forecast_surplus`` is the community's, in Wh by delivery start; ``requests`` are the
    contract's open wishes for relief.
    """

    state: GridState = GridState.NORMAL
    since: int = 0
    frequency_mhz: int | None = None
    forecast_surplus: Mapping[int, int] = field(default_factory=dict)
    requests: tuple[GridEvent, ...] = ()
    heard: int = 0

    @property
    def until(self) -> int:
        """How long the state is taken to last; who hears nothing for a day goes back to normal life."""
        return max(self.since, self.heard) + _OPEN_ENDED_S

    @property
    def events(self) -> tuple[GridEvent, ...]:
        """All that the grid asks for at present."""
        if self.state is GridState.NORMAL:
            return self.requests
        uid, text = f"grid_state:{self.since}", f"the grid's state is {self.state.name.lower()}"
        own = GridEvent(uid, EventKind.REDUCE, self.since, self.until, _STATE, text)
        return (own, *self.requests)


def with_signals(view: GridView, signals: Iterable[Mapping[str, Any]], at: int) -> GridView:
    """Return the view after the signals that ``GET /market`` lists; ``ValueError`` names a field that is wrong."""
    for data in signals:
        view = _with_signal(view, data, at)
    return view


def with_event(view: GridView, name: object, data: Mapping[str, Any], at: int, until: int) -> GridView:
    """Return the view after an event of the stream; a request for relief lasts at most ``until``."""
    match name:
        case "signal_observed":
            return _with_signal(view, data, at)
        case "balancing_requested":
            overload_w = read_int(data, "overload_w")
            text = f"the grid's operator asks for {overload_w} W less"
            event = GridEvent(_uid(data), EventKind.REDUCE, at, until, _RELIEF, text)
            kept = tuple(request for request in view.requests if request.uid != event.uid)
            return replace(view, requests=(*kept, event)[-_REQUESTS_MAX:])
        case "balancing_answered" | "balancing_forgotten":
            kept = tuple(request for request in view.requests if request.uid != _uid(data))
            return replace(view, requests=kept)
    return view


def without_past(view: GridView, at: int) -> GridView:
    """Return the view without what is over."""
    requests = tuple(request for request in view.requests if request.end > at)
    return view if requests == view.requests else replace(view, requests=requests)


def _uid(data: Mapping[str, Any]) -> str:
    return f"balancing:{data.get('request_id')}"


def _with_signal(view: GridView, data: Mapping[str, Any], at: int) -> GridView:
    value = read_int(data, "value")
    match read_choice({"signal": read_text(data, "signal")}, "signal", Signal):
        case Signal.GRID_STATE:
            state = GridState(value)
            if state is not view.state:
                return replace(view, state=state, since=at, heard=0)
            return replace(view, heard=at) if at >= view.until - _OPEN_ENDED_S // 2 else view
        case Signal.FREQUENCY:
            return replace(view, frequency_mhz=value)
        case Signal.FORECAST_SURPLUS:
            known = {**view.forecast_surplus, read_int(data, "delivery_start"): value}
            return replace(view, forecast_surplus=dict(sorted(known.items())[-_SURPLUSES_MAX:]))
    return view
