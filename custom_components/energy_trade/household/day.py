"""How much a running total has grown since local midnight, across restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ..protocol.wire import read_int

WATCHED_S = 900
"""A total that was seen this shortly before midnight is the one of midnight."""


@dataclass(slots=True)
class DayCounter:
    """Counts one local day; ``since`` says from when on, which is midnight unless nobody was looking then.

    All times are UTC seconds; ``midnight`` is when the counted day began.
    """

    midnight: int = 0
    since: int = 0
    baseline: int = 0
    last: int = 0
    seen_at: int = 0

    @property
    def value(self) -> int:
        """What was added in the counted day, in the total's unit."""
        return self.last - self.baseline

    def see(self, total: int, at: int, midnight: int) -> None:
        """Note the total at ``at``, in the local day that began at ``midnight``."""
        if midnight != self.midnight:
            watched = 0 <= midnight - self.seen_at <= WATCHED_S
            self.baseline = self.last if watched else total
            self.since = midnight if watched else at
            self.midnight = midnight
        self.last, self.seen_at = total, at

    def begin_at_zero(self) -> None:
        """Go on with a total that has begun again from zero; what was counted before stays."""
        self.baseline -= self.last
        self.last = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counter as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the counter from JSON values; ``ValueError`` names a field that is wrong."""
        return cls(**{name: read_int(data, name) for name in cls.__slots__})
