"""What counts as the grid's wish: its state before events, and nothing that only a silent coordinator has said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.household.grid_ask import RULES, GridSignal, ask_of, deviation_mhz
from coordinator.household.outlook import EventKind, GridEvent, GridState

AT, INTERVAL_S = 1_800_000_000, 900
CALM = GridSignal(heard_at=AT)
EVENT = GridEvent("1", EventKind.INCREASE, AT - 60, AT + 600, "calendar.grid", "much sun")


def test_a_calm_grid_asks_for_nothing() -> None:
    assert ask_of(CALM, AT, INTERVAL_S) is None
    assert ask_of(GridSignal(), AT, INTERVAL_S) is None


@pytest.mark.parametrize(
    ("state", "frequency_mhz", "kind", "full", "rule"),
    [
        (GridState.STRAINED, None, EventKind.REDUCE, False, "grid_strained"),
        (GridState.STRAINED, 50_250, EventKind.INCREASE, False, "grid_strained"),
        (GridState.EMERGENCY, None, EventKind.REDUCE, True, "grid_emergency"),
        (GridState.EMERGENCY, 50_000, EventKind.REDUCE, True, "grid_emergency"),
        (GridState.EMERGENCY, 50_200, EventKind.INCREASE, True, "grid_emergency"),
        (GridState.ISLAND, None, EventKind.REDUCE, False, "grid_island"),
        (GridState.ISLAND, 50_050, EventKind.REDUCE, False, "grid_island"),
        (GridState.ISLAND, 49_800, EventKind.REDUCE, True, "grid_island"),
        (GridState.ISLAND, 51_000, EventKind.INCREASE, True, "grid_island"),
    ],
)
def test_the_state_and_the_frequency_say_what_is_needed(
    *, state: GridState, frequency_mhz: int | None, kind: EventKind, full: bool, rule: str
) -> None:
    ask = ask_of(replace(CALM, state=state, frequency_mhz=frequency_mhz, own_events=(EVENT,)), AT, INTERVAL_S)
    assert ask is not None
    assert (ask.kind, ask.full, ask.rule) == (kind, full, rule)
    assert rule in RULES
    assert state.name.lower() in ask.text
    assert ask.end == AT + 2 * INTERVAL_S


@pytest.mark.parametrize(
    ("frequency_mhz", "off"),
    [(None, 0), (50_199, 0), (49_801, 0), (50_200, 200), (49_500, -500), (60_000, 0), (60_300, 300)],
)
def test_the_frequency_has_a_band(frequency_mhz: int | None, off: int) -> None:
    assert deviation_mhz(frequency_mhz) == off


def test_an_event_counts_while_it_lasts() -> None:
    signal = replace(CALM, own_events=(EVENT,))
    ask = ask_of(signal, AT, INTERVAL_S)
    assert ask is not None
    assert (ask.kind, ask.full, ask.rule, ask.end, ask.text) == (
        EventKind.INCREASE,
        False,
        "grid_event",
        EVENT.end,
        "much sun",
    )
    assert ask_of(signal, EVENT.end, INTERVAL_S) is None
    assert ask_of(signal, EVENT.start - 1, INTERVAL_S) is None


def test_an_event_without_words_names_its_source() -> None:
    ask = ask_of(replace(CALM, announced=(replace(EVENT, text=""),)), AT, INTERVAL_S)
    assert ask is not None
    assert ask.text == "calendar.grid asks for it"


def test_the_word_of_a_silent_coordinator_ends_and_the_owners_calendar_does_not() -> None:
    end = AT + 2 * INTERVAL_S
    long = replace(EVENT, end=end + 600)
    announced = replace(CALM, announced=(long,))
    ask = ask_of(announced, end - 1, INTERVAL_S)
    assert ask is not None
    assert ask.end == end
    assert ask_of(announced, end, INTERVAL_S) is None
    assert ask_of(replace(CALM, state=GridState.EMERGENCY), end, INTERVAL_S) is None
    assert ask_of(replace(announced, heard_at=None), AT, INTERVAL_S) is None
    own = ask_of(replace(announced, own_events=(long,)), end, INTERVAL_S)
    assert own is not None
    assert own.end == long.end
