"""Which readings count.

The signature was checked before. The rest is checked here, in this order: known device, not suspended,
fields in range, sequence (a repeat is a duplicate, the same number with other content is
equivocation, a gap is refused), chain of hashes, clock, registers never falling, no more energy than
the connection's fuse and the registered inverters let through.

The last holds between any two readings, however many came between them: what a reading takes of the
absolute tolerance is missing from the next one's, until time at the limit without that much energy
gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ..protocol.messages import ZERO_HASH, Reading

CLOCK_SKEW_S_MAX = 120
"""How far a reading's time may lie ahead of ours."""

READINGS_APART_S = 5
"""How long after the last reading the next one may be taken."""

LIMIT_TOLERANCE_PERCENT = 5
LIMIT_TOLERANCE_S = 5
LIMIT_TOLERANCE_WH = 100
"""Fuses trip late, clocks jitter by seconds, and registers step by up to 100 Wh (0.1 kWh)."""

_INT64_MAX = 2**63 - 1
_MWS_PER_WH = 3_600_000
_PERMILLE = 10 * (100 + LIMIT_TOLERANCE_PERCENT)


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
    """A meter's last accepted reading, and how much of each register's tolerance is used up."""

    sequence: int
    timestamp: int
    digest: bytes
    consumption_wh: int
    production_wh: int
    consumption_used_mws: int = 0
    production_used_mws: int = 0

    @classmethod
    def of(cls, reading: Reading, digest: bytes) -> Head:
        """Return the head that a meter's first accepted reading becomes."""
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


def next_head(head: Head | None, reading: Reading, digest: bytes, meter: MeterFacts) -> Head:
    """Return the head that an accepted reading becomes."""
    first = Head.of(reading, digest)
    if head is None:
        return first
    consumption, production = _registers(head, reading, meter)
    return replace(
        first,
        consumption_used_mws=max(0, consumption.used_mws),
        production_used_mws=max(0, production.used_mws),
    )


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
    if head and reading.timestamp <= head.timestamp:
        return Refusal(
            "not_later",
            "The reading's time is not after that of the reading before it: set the meter's clock.",
            str(head.timestamp),
        )
    if head and reading.timestamp < (earliest := head.timestamp + READINGS_APART_S):
        return Refusal(
            "too_soon",
            f"Readings are at least {READINGS_APART_S} s apart: take the next one at {earliest} or later.",
            str(earliest),
        )
    return None


def _plausible(reading: Reading, meter: MeterFacts, head: Head | None) -> Verdict | Refusal:
    if head is None:
        return Verdict.ACCEPT
    for register in _registers(head, reading, meter):
        name, rise_wh = register.name, register.now_wh - register.before_wh
        if rise_wh < 0:
            return Refusal(
                "register_decreased",
                f"The {name} register fell from {register.before_wh} to {register.now_wh} Wh: a replaced or reset "
                "meter is registered anew.",
                str(register.before_wh),
            )
        if register.used_mws > _tolerance_mws(register.limit_w):
            return Refusal(
                "beyond_limit",
                f"The {name} register rose by {rise_wh} Wh in {register.seconds} s, more than the {register.most_wh} Wh"
                f" that {register.limit_w} W allow after the readings before: correct the register or the registered"
                " limit.",
                str(register.most_wh),
            )
    return Verdict.ACCEPT


@dataclass(frozen=True, slots=True)
class _Register:
    """One register from the last reading to this one; ``used_before_mws`` of its tolerance is used up."""

    name: str
    before_wh: int
    now_wh: int
    limit_w: int
    seconds: int
    used_before_mws: int

    @property
    def used_mws(self) -> int:
        """How much of the tolerance is used up with this reading; below zero: nothing, with room."""
        rise_mws = (self.now_wh - self.before_wh) * _MWS_PER_WH
        return self.used_before_mws + rise_mws - self.limit_w * self.seconds * _PERMILLE

    @property
    def most_wh(self) -> int:
        """The most that the register may rise by."""
        return energy_limit_wh(self.limit_w, self.seconds, self.used_before_mws)


def _registers(head: Head, reading: Reading, meter: MeterFacts) -> tuple[_Register, _Register]:
    seconds = reading.timestamp - head.timestamp
    return (
        _Register(
            "consumption",
            head.consumption_wh,
            reading.consumption_wh,
            meter.import_limit_w,
            seconds,
            head.consumption_used_mws,
        ),
        _Register(
            "production",
            head.production_wh,
            reading.production_wh,
            meter.export_limit_w,
            seconds,
            head.production_used_mws,
        ),
    )


def energy_limit_wh(limit_w: int, seconds: int, used_mws: int = 0) -> int:
    """Return the most energy that a connection of ``limit_w`` lets through, with the tolerance that is left."""
    exact_mws = limit_w * seconds * _PERMILLE + _tolerance_mws(limit_w) - used_mws
    return exact_mws // _MWS_PER_WH


def _tolerance_mws(limit_w: int) -> int:
    return limit_w * LIMIT_TOLERANCE_S * _PERMILLE + LIMIT_TOLERANCE_WH * _MWS_PER_WH
