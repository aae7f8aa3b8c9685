"""Dormant orders: who is due at a value, oldest first, and nothing left of those that are gone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.market.triggers import Triggers, Watch
from coordinator.protocol.order_terms import Comparison, Signal

_WAITING = st.tuples(
    st.sampled_from((Signal.LAST_PRICE, Signal.BEST_ASK, Signal.FREQUENCY)),
    st.sampled_from((0, 900)),
    st.sampled_from(tuple(Comparison)),
    st.integers(-3, 3),
)


def _due[K](triggers: Triggers[K], signal: Signal, interval: int, value: int) -> list[K]:
    watch = triggers.watch(signal, interval) or Watch[K]()
    found = [key for _, key in watch.due(value)]
    assert watch.is_due(value) is bool(found)
    for heap, ranked in zip(watch.heaps(), (value, -value), strict=True):
        assert {key for threshold, _, key in heap if threshold <= ranked and key in triggers} <= {*found}
    return found


@given(st.lists(_WAITING, max_size=25), st.lists(st.integers(0, 24), max_size=15))
@settings(max_examples=300, derandomize=True)
def test_who_is_due(waiting: list[tuple[Signal, int, Comparison, int]], leaving: list[int]) -> None:
    triggers: Triggers[str] = Triggers()
    there: dict[str, tuple[Signal, int, Comparison, int]] = {}
    for sequence, (signal, interval, comparison, threshold) in enumerate(waiting):
        triggers.add(f"k{sequence}", sequence, signal, interval, comparison, threshold)
        there[f"k{sequence}"] = signal, interval, comparison, threshold
    for number in leaving:
        if there.pop(f"k{number}", None) is not None:
            triggers.remove(f"k{number}")
    assert len(triggers) == len(there)
    assert triggers.watched() == sorted({(signal, interval) for signal, interval, _, _ in there.values()})
    for signal in Signal:
        for interval in (0, 900):
            for value in range(-4, 5):
                expected = [
                    key
                    for key, (of, at, comparison, threshold) in there.items()
                    if (of, at) == (signal, interval) and comparison.holds(value, threshold)
                ]
                assert _due(triggers, signal, interval, value) == expected


def test_looking_changes_nothing_and_leaving_ends_it() -> None:
    triggers: Triggers[int] = Triggers()
    triggers.add(7, 1, Signal.LAST_PRICE, 900, Comparison.AT_LEAST, 100)
    assert _due(triggers, Signal.LAST_PRICE, 900, 100) == _due(triggers, Signal.LAST_PRICE, 900, 100) == [7]
    assert 7 in triggers
    triggers.remove(7)
    assert 7 not in triggers
    assert _due(triggers, Signal.LAST_PRICE, 900, 100) == []
    assert triggers.watched() == []


def test_the_most_extreme_thresholds_are_met() -> None:
    triggers: Triggers[str] = Triggers()
    low, high = -(2**63), 2**63 - 1
    triggers.add("high", 1, Signal.FORECAST_SURPLUS, 0, Comparison.AT_LEAST, high)
    triggers.add("low", 2, Signal.FORECAST_SURPLUS, 0, Comparison.AT_MOST, low)
    due = [_due(triggers, Signal.FORECAST_SURPLUS, 0, value) for value in (low, low + 1, 0, high - 1, high)]
    assert due == [["low"], [], [], [], ["high"]]


def test_a_storm_leaves_nothing_behind() -> None:
    triggers: Triggers[int] = Triggers()
    triggers.add(-1, 0, Signal.LAST_PRICE, 900, Comparison.AT_LEAST, 5)
    triggers.add(-2, 10**6, Signal.LAST_PRICE, 900, Comparison.AT_MOST, 0)
    for sequence in range(2, 20_000):
        comparison = tuple(Comparison)[sequence % 2]
        threshold = -sequence if sequence % 2 else 10 + sequence
        triggers.add(sequence, sequence, Signal.LAST_PRICE, 900, comparison, threshold)
        triggers.add(-1 - sequence, sequence, Signal.BEST_BID, sequence, comparison, threshold)
        triggers.remove(sequence)
        triggers.remove(-1 - sequence)
    (watch,) = triggers._watches.values()
    assert len(watch._rising) + len(watch._sinking) < 200
    assert _due(triggers, Signal.LAST_PRICE, 900, 4) == []
    assert _due(triggers, Signal.LAST_PRICE, 900, 5) == [-1]
