"""Which installation signs for a meter: two systems with the same keys must never contradict each other.

A home that is restored from a backup while the old one still runs would sign the same sequence number with another
value: equivocation, which suspends the meter. The installation whose reading was stored last holds the meter's lease;
another one is refused until the lease has run out, so it takes over by itself only when the first is silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .errors import Refusal

LEASE_S = 900
LEASE_INTERVALS = 3


@dataclass(slots=True)
class Leases:
    """The holders, in memory: after a restart of the coordinator the first valid reading takes the lease again.

    An installation that names itself with no text is one like any other (a gateway, an older home).
    """

    lease_s: int = LEASE_S
    _held: dict[int, tuple[str, int]] = field(default_factory=dict)
    _storing: dict[int, list[str]] = field(default_factory=dict)
    """Whose readings are being stored at this moment, by meter."""

    @classmethod
    def of_intervals(cls, interval_s: int) -> Leases:
        """Let a lease last a quarter of an hour, or three intervals where these are longer."""
        return cls(max(LEASE_S, LEASE_INTERVALS * interval_s))

    def holder(self, device_id: int, now: int) -> str | None:
        """Return who signs for the meter at ``now`` (UTC seconds), ``None`` when nobody has of late."""
        installation, until = self._held.get(device_id, ("", 0))
        return installation if now < until else None

    def check(self, device_id: int, installation: str, now: int) -> None:
        """Raise ``Refusal`` while another installation signs for the meter."""
        others = {self.holder(device_id, now), *self._storing.get(device_id, ())} - {None, installation}
        if others:
            raise Refusal(
                "other_installation",
                "Another installation signs for this meter with the same keys: switch one of the two off; "
                "the other one takes over some minutes later.",
            )

    @contextmanager
    def storing(self, device_id: int, installation: str, now: int) -> Iterator[None]:
        """Check, and keep others out while this installation's reading is being stored: two may come at once."""
        self.check(device_id, installation, now)
        coming = self._storing.setdefault(device_id, [])
        coming.append(installation)
        try:
            yield
        finally:
            coming.remove(installation)
            if not coming:
                del self._storing[device_id]

    def take(self, device_id: int, installation: str, now: int) -> None:
        """Note that this installation's reading was stored."""
        self._held[device_id] = (installation, now + self.lease_s)
