"""Energy between registers: exact at the boundaries, estimated between neighbours, exact in sum."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.metering.intervals import Boundary, MeterEnergy, meter_energy, sum_energy
from coordinator.protocol.messages import READING_ESTIMATED, Reading

START, END = 1_000, 1_900


def reading(timestamp: int, consumption_wh: int, production_wh: int = 0, flags: int = 0) -> Reading:
    return Reading(1, 1 + timestamp, timestamp, consumption_wh, production_wh, flags)


def boundary(readings: list[Reading], at: int) -> Boundary:
    """Find the neighbours as the ledger does."""
    after = min((r for r in readings if r.timestamp >= at), key=lambda r: r.timestamp, default=None)
    if after is not None and after.timestamp == at:
        return Boundary(at, after, after)
    before = max((r for r in readings if r.timestamp < at), key=lambda r: r.timestamp, default=None)
    return Boundary(at, before, after)


def energy(readings: list[Reading], start: int = START, end: int = END) -> MeterEnergy | None:
    return meter_energy(boundary(readings, start), boundary(readings, end))


def test_exact_readings_give_their_difference() -> None:
    found = energy([reading(START, 100, 7), reading(END, 350, 19)])
    assert found is not None
    assert (found.consumption_wh, found.production_wh, found.estimated) == (250, 12, False)
    assert (found.opening.timestamp, found.closing.timestamp) == (START, END)


def test_missing_boundary_is_estimated_on_the_line_and_flagged() -> None:
    found = energy([reading(START, 0), reading(END + 900, 1_000, 600)])
    assert found is not None
    assert (found.consumption_wh, found.production_wh, found.estimated) == (500, 300, True)
    assert found.closing.timestamp == END + 900


def test_gap_on_both_sides_is_estimated_from_the_readings_around() -> None:
    found = energy([reading(START - 450, 0), reading(START + 450, 100), reading(END + 450, 300)])
    assert found is not None
    assert (found.consumption_wh, found.estimated) == (150, True)
    assert (found.opening.timestamp, found.closing.timestamp) == (START - 450, END + 450)


@pytest.mark.parametrize(
    "times",
    [(), (START,), (START + 1,), (END,), (START - 900, START - 1), (START - 900, START), (END, END + 900)],
    ids=str,
)
def test_nothing_is_said_without_two_readings_of_which_one_lies_within(times: tuple[int, ...]) -> None:
    assert energy([reading(at, at) for at in times]) is None


@pytest.mark.parametrize(
    ("times", "proven_wh"),
    [
        ((START, END - 1), 899),
        ((START - 450, END - 100), 800),
        ((START + 1, END), 899),
        ((START + 300, END + 900), 600),
    ],
    ids=["no reading since the last second", "none at either end", "began just after", "began within"],
)
def test_meter_that_ended_or_began_within_counts_what_it_proves_and_is_flagged(
    times: tuple[int, ...], proven_wh: int
) -> None:
    """It was replaced, its home left or joined, or what it measured since is still on its way."""
    found = energy([reading(at, at) for at in times])
    assert found is not None
    assert (found.consumption_wh, found.estimated) == (proven_wh, True)


def test_meter_replaced_within_counts_up_to_its_last_reading_and_its_successor_from_its_first() -> None:
    old, new = (
        energy([reading(START, 500), reading(START + 400, 900)]),
        energy([reading(START + 460, 0), reading(END, 77)]),
    )
    both = sum_energy([old, new])
    assert (both.consumption_wh, both.estimated) == (477, True)


def test_what_a_meter_ended_with_goes_on_when_its_later_readings_come() -> None:
    """The interval and those after it then sum to the measured difference."""
    early = energy([reading(START, 0), reading(START + 450, 300)])
    late = [reading(START, 0), reading(START + 450, 300), reading(END + 900, 1_200)]
    parts = [energy(late, start, start + 900) for start in (START, END)]
    assert early is not None
    assert early.consumption_wh == 300
    assert [part.consumption_wh for part in parts if part is not None] == [600, 600]


def test_device_that_estimates_makes_an_estimate() -> None:
    found = energy([reading(START, 0), reading(END, 50, flags=READING_ESTIMATED)])
    assert found is not None
    assert (found.consumption_wh, found.estimated) == (50, True)


@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=8))
def test_estimates_of_adjoining_intervals_sum_to_the_registers(steps: list[tuple[int, int, int]]) -> None:
    times = sorted({step[0] for step in steps} | {0, 5_000})
    readings, consumption_wh, production_wh = [], 0, 0
    for place, time in enumerate(times):
        _, consumed, produced = steps[place % len(steps)]
        consumption_wh, production_wh = consumption_wh + consumed, production_wh + produced
        readings.append(reading(time, consumption_wh, production_wh))
    parts = [energy(readings, start, end) for start, end in pairwise(range(0, 5_001, 1_000))]
    assert all(part is not None and part.consumption_wh >= 0 and part.production_wh >= 0 for part in parts)
    first, last = readings[0], readings[-1]
    assert sum(p.consumption_wh for p in parts if p) == last.consumption_wh - first.consumption_wh
    assert sum(p.production_wh for p in parts if p) == last.production_wh - first.production_wh


def test_account_adds_its_meters_and_a_silent_one_makes_an_estimate() -> None:
    one = energy([reading(START, 0), reading(END, 50, 9)])
    assert one is not None
    assert sum_energy([one, one]).consumption_wh == 100
    assert not sum_energy([one, one]).estimated
    assert sum_energy([one, None]).estimated
    assert (sum_energy([one, None]).consumption_wh, sum_energy([one, None]).production_wh) == (50, 9)


def test_account_without_meters_has_an_estimate_of_nothing() -> None:
    nothing = sum_energy([])
    assert (nothing.consumption_wh, nothing.production_wh, nothing.estimated) == (0, 0, True)
