"""What a home remembers of its own meter: the chain of readings and the last interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..protocol.messages import ZERO_HASH, Reading
from ..protocol.wire import read_bytes, read_int
from .forecast import MeteredInterval
from .guard import READINGS_APART_S, Baseline, Register, Sample, held


@dataclass(slots=True)
class MeterState:
    """The signed chain's end, and the meter's own registers behind it.

    Signed registers are the meter's own plus an offset, so that a replaced meter goes on where the
    old one stopped.
    """

    sequence: int = 0
    previous: bytes = ZERO_HASH
    acknowledged: int = 0
    signed_at: int = 0
    consumption_wh: int = 0
    production_wh: int = 0
    consumption_offset_wh: int = 0
    production_offset_wh: int = 0
    consumption_step_wh: int = 1
    production_step_wh: int = 1
    rebasing: bool = False
    last: MeteredInterval | None = None

    @property
    def baseline(self) -> Baseline | None:
        """The last signed boundary in the meter's own registers; ``None`` to take any as new."""
        if self.sequence == 0 or self.rebasing:
            return None
        return Baseline(
            at=self.signed_at,
            consumption=Register(self.consumption_wh - self.consumption_offset_wh, self.consumption_step_wh),
            production=Register(self.production_wh - self.production_offset_wh, self.production_step_wh),
        )

    def next_reading(self, device_id: int, sample: Sample, flags: int) -> Reading:
        """Return the reading that follows; the sample has passed the guard."""
        consumption, production = sample.consumption, sample.production
        before = self.baseline
        if before is not None:
            consumption = held(consumption, before.consumption)
            production = held(production, before.production)
        elif self.rebasing:
            self.consumption_offset_wh = self.consumption_wh - consumption.value_wh
            self.production_offset_wh = self.production_wh - production.value_wh
            self.rebasing = False
        self.consumption_step_wh = consumption.step_wh
        self.production_step_wh = production.step_wh
        return Reading(
            device_id=device_id,
            sequence=self.sequence + 1,
            timestamp=sample.at,
            consumption_wh=consumption.value_wh + self.consumption_offset_wh,
            production_wh=production.value_wh + self.production_offset_wh,
            flags=flags,
            previous=self.previous,
        )

    def signed(self, reading: Reading, digest: bytes) -> None:
        """Move the chain's end to a reading that was just signed."""
        if self.sequence:
            self.last = MeteredInterval(
                start=self.signed_at,
                end=reading.timestamp,
                consumption_wh=reading.consumption_wh - self.consumption_wh,
                production_wh=reading.production_wh - self.production_wh,
            )
        self.sequence, self.previous = reading.sequence, digest
        self.signed_at = reading.timestamp
        self.consumption_wh, self.production_wh = reading.consumption_wh, reading.production_wh

    def adopt(self, kept: Reading | None, digest: bytes) -> None:
        """Continue behind the reading that the coordinator keeps (``None``: it keeps nothing)."""
        if kept is None:
            self.sequence, self.previous = 0, ZERO_HASH
            return
        self.sequence, self.previous = kept.sequence, digest
        self.acknowledged = kept.sequence
        self.signed_at = kept.timestamp
        self.consumption_wh, self.production_wh = kept.consumption_wh, kept.production_wh

    def may_follow(self, reading: Reading) -> bool:
        """Tell whether a reading that waits can follow the chain's end."""
        return self.sequence == 0 or (
            reading.timestamp >= self.signed_at + READINGS_APART_S
            and reading.consumption_wh >= self.consumption_wh
            and reading.production_wh >= self.production_wh
        )

    def renumber(self, reading: Reading) -> Reading:
        """Return the same registers as the chain's next reading."""
        return replace(reading, sequence=self.sequence + 1, previous=self.previous)

    def rebase(self) -> None:
        """Accept the next sample whatever it says, as no energy."""
        self.rebasing = self.sequence > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        last = self.last
        return {
            **{name: getattr(self, name) for name in _INTEGERS},
            "previous": "0x" + self.previous.hex(),
            "rebasing": self.rebasing,
            "last": None if last is None else [last.start, last.end, last.consumption_wh, last.production_wh],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MeterState:
        """Read the state from JSON values; ``ValueError`` names a field that is wrong."""
        last = data.get("last")
        return cls(
            **{name: read_int(data, name) for name in _INTEGERS},
            previous=read_bytes(data, "previous", 32),
            rebasing=data.get("rebasing") is True,
            last=None if last is None else MeteredInterval(*last),
        )


_INTEGERS = (
    "sequence",
    "acknowledged",
    "signed_at",
    "consumption_wh",
    "production_wh",
    "consumption_offset_wh",
    "production_offset_wh",
    "consumption_step_wh",
    "production_step_wh",
)
