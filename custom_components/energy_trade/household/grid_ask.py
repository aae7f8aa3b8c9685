"""What the grid asks of a home right now, made of its state, its frequency and announced events."""

from __future__ import annotations

from dataclasses import dataclass

from .outlook import EventKind, GridEvent, GridState

SILENT_INTERVALS = 2
"""After so many intervals without a word of the coordinator, what it said last counts no more."""
FREQUENCY_BAND_MHZ = 200
"""Generators give way from 50.2 Hz, storage helps from 49.8 Hz (EN 50549-1, LFSM-O and LFSM-U); so at 60 Hz."""

GRID_STRAINED = "grid_strained"
GRID_EMERGENCY = "grid_emergency"
GRID_ISLAND = "grid_island"
GRID_EVENT = "grid_event"
RULES = (GRID_STRAINED, GRID_EMERGENCY, GRID_ISLAND, GRID_EVENT)
"""Every rule by which a device is moved."""

_STATE_RULES = {
    GridState.STRAINED: GRID_STRAINED,
    GridState.EMERGENCY: GRID_EMERGENCY,
    GridState.ISLAND: GRID_ISLAND,
}


@dataclass(frozen=True, slots=True)
class GridSignal:
    """What is known of the grid.

    The coordinator's word (``state``, ``frequency_mhz``, ``announced``) was heard last at ``heard_at``, ``None`` if
    never; ``own_events`` are those of the owner's calendar and count by themselves.
    """

    state: GridState = GridState.NORMAL
    frequency_mhz: int | None = None
    heard_at: int | None = None
    announced: tuple[GridEvent, ...] = ()
    own_events: tuple[GridEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What the grid asks for: take less or more, ``full`` with all that the owner offers, at most until ``end``."""

    kind: EventKind
    full: bool
    rule: str
    end: int
    text: str


def ask_of(signal: GridSignal, at: int, interval_s: int) -> Ask | None:
    """Return what counts now: the grid's state before events; nothing that only a silent coordinator has said."""
    silent_at = at if signal.heard_at is None else signal.heard_at + SILENT_INTERVALS * interval_s
    if silent_at <= at:
        return _of_events(signal.own_events, at, None)
    if signal.state is not GridState.NORMAL:
        return _of_state(signal.state, signal.frequency_mhz, silent_at)
    return _of_events(signal.announced, at, silent_at) or _of_events(signal.own_events, at, None)


def deviation_mhz(frequency_mhz: int | None) -> int:
    """Return by how much the frequency is outside of its band: above positive, below negative, else (or unknown) 0."""
    if frequency_mhz is None:
        return 0
    off = frequency_mhz - (60_000 if frequency_mhz > 55_000 else 50_000)
    return 0 if abs(off) < FREQUENCY_BAND_MHZ else off


def _of_state(state: GridState, frequency_mhz: int | None, end: int) -> Ask:
    """A grid in need lacks power, unless its frequency says that it has too much."""
    off = deviation_mhz(frequency_mhz)
    kind = EventKind.INCREASE if off > 0 else EventKind.REDUCE
    full = state is GridState.EMERGENCY or (state is GridState.ISLAND and off != 0)
    measured = "" if frequency_mhz is None else f", {frequency_mhz / 1000:.3f} Hz"
    return Ask(kind, full, _STATE_RULES[state], end, f"the grid's state is {state.name.lower()}{measured}")


def _of_events(events: tuple[GridEvent, ...], at: int, end: int | None) -> Ask | None:
    event = next((event for event in events if event.covers(at)), None)
    if event is None:
        return None
    until = event.end if end is None else min(event.end, end)
    return Ask(event.kind, full=False, rule=GRID_EVENT, end=until, text=event.text or f"{event.source} asks for it")
