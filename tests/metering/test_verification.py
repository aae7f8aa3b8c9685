"""Which readings count, check by check and in the pinned order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.metering.verification import (
    CLOCK_SKEW_S_MAX,
    Head,
    MeterFacts,
    Refusal,
    check_reading,
    energy_limit_wh,
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
        {"timestamp": HEAD.timestamp, "consumption_wh": 10_000, "production_wh": 20_000},
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
