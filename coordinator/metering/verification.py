"""Which readings count.

The signature was checked before. The rest is checked here, in this order: known device, not suspended,
fields in range, sequence (a repeat is a duplicate, the same number with other content is
equivocation, a gap is refused), chain of hashes, clock, registers never falling, no more energy than
the connection's fuse and the registered inverters let through.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..protocol.messages import ZERO_HASH, Reading

CLOCK_SKEW_S_MAX = 120
"""How far a reading's time may lie ahead of ours."""

LIMIT_TOLERANCE_PERCENT = 5
LIMIT_TOLERANCE_S = 5
LIMIT_TOLERANCE_WH = 100
"""Fuses trip late, clocks jitter by seconds, and registers step by up to 100 Wh (0.1 kWh)."""

_INT64_MAX = 2**63 - 1
_SECONDS_PER_HOUR = 3600


class Verdict(StrEnum):
    """What to do with a reading that is not refused."""

    ACCEPT = "accept"
    DUPLICATE = "duplicate"
    EQUIVOCATION = "equivocation"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a reading does not count: a stable code and a sentence that says what to do."""

    code: str
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What was registered about a meter; ``suspended`` holds the reason."""

    import_limit_w: int
    export_limit_w: int
    suspended: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A meter's last accepted reading."""

    sequence: int
    timestamp: int
    digest: bytes
    consumption_wh: int
    production_wh: int

    @classmethod
    def of(cls, reading: Reading, digest: bytes) -> Head:
        """Return the head that an accepted reading becomes."""
        return cls(reading.sequence, reading.timestamp, digest, reading.consumption_wh, reading.production_wh)


def check_reading(
    reading: Reading, digest: bytes, meter: MeterFacts | None, head: Head | None, known: bytes | None, now: int
) -> Verdict | Refusal:
    """Judge a reading with a valid signature.

    ``head`` is the meter's last accepted reading, ``known`` the digest kept under the same sequence
    number, if any; ``now`` is in UTC seconds.
    """
    if meter is None:
        return Refusal("unknown_meter", "This meter is not registered here: register it first.")
    if meter.suspended is not None:
        return Refusal("suspended", f"This meter is suspended ({meter.suspended}): speak to the operator.")
    if fault := _out_of_range(reading):
        return Refusal("malformed_reading", fault)
    if known is not None:
        return Verdict.DUPLICATE if known == digest else Verdict.EQUIVOCATION
    return _succeeds(reading, head) or _in_time(reading, head, now) or _plausible(reading, meter, head)


def _out_of_range(reading: Reading) -> str | None:
    fields = {
        "sequence": reading.sequence,
        "timestamp": reading.timestamp,
        "consumption_wh": reading.consumption_wh,
        "production_wh": reading.production_wh,
    }
    for name, value in fields.items():
        if not 0 <= value <= _INT64_MAX:
            return f"{name} is out of range: expected 0 to 2^63-1, was {value}."
    return None if 0 <= reading.flags < 2**16 else f"flags are 16 bits, was {reading.flags}."


def _succeeds(reading: Reading, head: Head | None) -> Refusal | None:
    expected = head.sequence + 1 if head else 1
    if reading.sequence != expected:
        return Refusal(
            "sequence_gap",
            f"Reading {expected} is expected next, this is {reading.sequence}: send the missing ones first, in order.",
            str(expected),
        )
    previous = head.digest if head else ZERO_HASH
    if reading.previous != previous:
        return Refusal(
            "wrong_previous",
            f"Reading {reading.sequence} does not name the hash of the reading before it: sign it again with that.",
            "0x" + previous.hex(),
        )
    return None


def _in_time(reading: Reading, head: Head | None, now: int) -> Refusal | None:
    if reading.timestamp > now + CLOCK_SKEW_S_MAX:
        ahead = reading.timestamp - now
        return Refusal("clock_skew", f"The reading's time is {ahead} s in the future: set the meter's clock.", str(now))
    if head and reading.timestamp < head.timestamp:
        return Refusal(
            "not_later",
            "The reading's time is before that of the reading before it: set the meter's clock.",
            str(head.timestamp),
        )
    return None


def _plausible(reading: Reading, meter: MeterFacts, head: Head | None) -> Verdict | Refusal:
    if head is None:
        return Verdict.ACCEPT
    seconds = reading.timestamp - head.timestamp
    registers = (
        ("consumption", head.consumption_wh, reading.consumption_wh, meter.import_limit_w),
        ("production", head.production_wh, reading.production_wh, meter.export_limit_w),
    )
    for name, before_wh, now_wh, limit_w in registers:
        if now_wh < before_wh:
            return Refusal(
                "register_decreased",
                f"The {name} register fell from {before_wh} to {now_wh} Wh: a replaced or reset meter is registered "
                "anew.",
                str(before_wh),
            )
        if now_wh - before_wh > (most_wh := energy_limit_wh(limit_w, seconds)):
            return Refusal(
                "beyond_limit",
                f"The {name} register rose by {now_wh - before_wh} Wh in {seconds} s, more than the {most_wh} Wh that "
                f"{limit_w} W allow: correct the register or the registered limit.",
                str(most_wh),
            )
    return Verdict.ACCEPT


def energy_limit_wh(limit_w: int, seconds: int) -> int:
    """Return the most energy that a connection of ``limit_w`` lets through, tolerances included."""
    exact = limit_w * (seconds + LIMIT_TOLERANCE_S) * (100 + LIMIT_TOLERANCE_PERCENT)
    return exact // (100 * _SECONDS_PER_HOUR) + LIMIT_TOLERANCE_WH
