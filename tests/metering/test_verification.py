"""Which readings count, check by check and in the pinned order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.metering.verification import (
    CLOCK_SKEW_S_MAX,
    LIMIT_TOLERANCE_S,
    LIMIT_TOLERANCE_WH,
    READINGS_APART_S,
    Head,
    MeterFacts,
    Refusal,
    check_reading,
    energy_limit_wh,
    next_head,
)
from coordinator.protocol.messages import ZERO_HASH, Reading

NOW = 1_800_000_000
METER = MeterFacts(import_limit_w=17_000, export_limit_w=10_000)
HEAD = Head(sequence=4, timestamp=NOW - 900, digest=b"\x04" * 32, consumption_wh=10_000, production_wh=20_000)
NEXT = Reading(7, 5, NOW, 10_500, 21_000, previous=HEAD.digest)
DIGEST = b"\x05" * 32


def judge(
    reading: Reading = NEXT,
    meter: MeterFacts | None = METER,
    head: Head | None = HEAD,
    known: bytes | None = None,
    now: int = NOW,
) -> str:
    """Return the verdict, or the code of the refusal."""
    result = check_reading(reading, DIGEST, meter, head, known, now)
    return result.code if isinstance(result, Refusal) else result.value


def test_next_reading_is_accepted() -> None:
    assert judge() == "accept"


def test_first_reading_needs_number_one_and_no_previous() -> None:
    first = replace(NEXT, sequence=1, previous=ZERO_HASH)
    assert judge(first, head=None) == "accept"
    assert judge(replace(first, sequence=2), head=None) == "sequence_gap"
    assert judge(replace(first, previous=DIGEST), head=None) == "wrong_previous"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sequence": 6}, "sequence_gap"),
        ({"sequence": 3}, "sequence_gap"),
        ({"previous": ZERO_HASH}, "wrong_previous"),
        ({"timestamp": NOW + CLOCK_SKEW_S_MAX + 1}, "clock_skew"),
        ({"timestamp": HEAD.timestamp - 1}, "not_later"),
        ({"timestamp": HEAD.timestamp}, "not_later"),
        ({"timestamp": HEAD.timestamp + READINGS_APART_S - 1}, "too_soon"),
        ({"consumption_wh": 9_999}, "register_decreased"),
        ({"production_wh": 0}, "register_decreased"),
        ({"consumption_wh": 10_000 + energy_limit_wh(17_000, 900) + 1}, "beyond_limit"),
        ({"production_wh": 20_000 + energy_limit_wh(10_000, 900) + 1}, "beyond_limit"),
        ({"consumption_wh": 2**63}, "malformed_reading"),
        ({"timestamp": -1}, "malformed_reading"),
        ({"flags": 2**16}, "malformed_reading"),
    ],
)
def test_refusals(change: dict[str, int | bytes], code: str) -> None:
    assert judge(replace(NEXT, **change)) == code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": NOW + CLOCK_SKEW_S_MAX},
        {"timestamp": HEAD.timestamp + READINGS_APART_S, "consumption_wh": 10_000, "production_wh": 20_000},
        {"consumption_wh": 10_000 + energy_limit_wh(17_000, 900)},
        {"production_wh": 20_000 + energy_limit_wh(10_000, 900)},
        {"consumption_wh": 10_000, "production_wh": 20_000},
    ],
)
def test_edges_that_are_accepted(change: dict[str, int]) -> None:
    assert judge(replace(NEXT, **change)) == "accept"  # type: ignore[arg-type]


def test_gap_tells_the_expected_number_and_wrong_previous_the_hash() -> None:
    gap = check_reading(replace(NEXT, sequence=9), DIGEST, METER, HEAD, None, NOW)
    wrong = check_reading(replace(NEXT, previous=DIGEST), DIGEST, METER, HEAD, None, NOW)
    assert isinstance(gap, Refusal)
    assert isinstance(wrong, Refusal)
    assert (gap.detail, wrong.detail) == ("5", "0x" + HEAD.digest.hex())


def test_repeat_is_a_duplicate_and_other_content_equivocation() -> None:
    old = replace(NEXT, sequence=2, timestamp=NOW - 5_000)
    assert judge(old, known=DIGEST) == "duplicate"
    assert judge(old, known=b"\x06" * 32) == "equivocation"


def test_unknown_and_suspended_come_before_everything() -> None:
    nonsense = replace(NEXT, sequence=99, consumption_wh=0, timestamp=NOW + 10**6)
    assert judge(nonsense, meter=None, known=b"x") == "unknown_meter"
    assert judge(nonsense, meter=replace(METER, suspended="tampering"), known=b"x") == "suspended"


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**9), st.integers(0, 10**9))
def test_limit_is_never_below_the_physical_one_and_grows_with_time(limit_w: int, seconds: int, more: int) -> None:
    assert energy_limit_wh(limit_w, seconds) >= limit_w * seconds // 3600
    assert energy_limit_wh(limit_w, seconds + more) >= energy_limit_wh(limit_w, seconds)


@dataclass
class _Chain:
    """A meter that tries readings; the accepted ones stay."""

    meter: MeterFacts
    head: Head | None = None
    accepted: list[Reading] = field(default_factory=list)

    def offer(self, timestamp: int, consumption_wh: int, production_wh: int) -> str:
        sequence = self.head.sequence + 1 if self.head else 1
        previous = self.head.digest if self.head else ZERO_HASH
        reading = Reading(7, sequence, timestamp, consumption_wh, production_wh, previous=previous)
        digest = sequence.to_bytes(32, "big")
        result = check_reading(reading, digest, self.meter, self.head, None, timestamp)
        if isinstance(result, Refusal):
            return result.code
        self.head = next_head(self.head, reading, digest, self.meter)
        self.accepted.append(reading)
        return result.value


_STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 250), st.integers(0, 250)), min_size=2, max_size=60)


@given(st.sampled_from([0, 1_000, 17_000]), st.sampled_from([500, 30_000]), _STEPS)
def test_between_any_two_readings_the_registers_rise_within_the_limit(
    import_limit_w: int, export_limit_w: int, steps: list[tuple[int, int, int]]
) -> None:
    """However the energy is cut into readings: the tolerance is there once."""
    chain = _Chain(MeterFacts(import_limit_w, export_limit_w))
    timestamp, consumption_wh, production_wh = NOW, 0, 0
    for seconds, consumed_wh, produced_wh in steps:
        timestamp += seconds
        if chain.offer(timestamp, consumption_wh + consumed_wh, production_wh + produced_wh) == "accept":
            consumption_wh, production_wh = consumption_wh + consumed_wh, production_wh + produced_wh
    for first, last in combinations(chain.accepted, 2):
        seconds = last.timestamp - first.timestamp
        assert seconds >= READINGS_APART_S
        assert last.consumption_wh - first.consumption_wh <= energy_limit_wh(import_limit_w, seconds)
        assert last.production_wh - first.production_wh <= energy_limit_wh(export_limit_w, seconds)


def test_many_readings_at_once_raise_a_register_by_one_tolerance() -> None:
    """A 1 kW meter once rose by 101 kWh within one second."""
    chain = _Chain(MeterFacts(1_000, 1_000))
    chain.offer(NOW, 0, 0)
    for number in range(1_001):
        production_wh = chain.accepted[-1].production_wh
        chain.offer(NOW + number // 200, 0, production_wh + 101)
        chain.offer(NOW + number // 200, 0, production_wh + 1)
    assert chain.accepted[-1].production_wh <= LIMIT_TOLERANCE_WH + 2 * LIMIT_TOLERANCE_S


@given(st.integers(1, 10), st.lists(st.integers(5, 900), min_size=1, max_size=40), st.integers(0, 5))
def test_a_coarse_late_meter_at_its_limit_is_believed(limit_kw: int, gaps_s: list[int], late_s: int) -> None:
    """Steps of 100 Wh, some seconds late now and then: what the tolerance is for, in every reading."""
    limit_w = limit_kw * 1_000
    chain = _Chain(MeterFacts(limit_w, limit_w))
    timestamp = NOW
    for number, gap_s in enumerate([0, *gaps_s]):
        timestamp += gap_s
        seen_at = timestamp - (late_s if number % 2 == 0 else 0)
        register_wh = limit_w * (seen_at - NOW + 10) // 3_600 // 100 * 100
        assert chain.offer(timestamp, register_wh, register_wh) == "accept"
