"""The energy of an interval between a meter's signed registers.

With readings at both boundaries it is their exact difference. Otherwise, once a later reading
exists, the registers at the boundaries are estimated on the straight line between their
neighbours and the result is flagged; estimates of adjoining intervals sum to the measured difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..protocol.messages import READING_ESTIMATED, Reading


@dataclass(frozen=True, slots=True)
class Boundary:
    """A meter's neighbours of one moment.

    ``after`` is the first reading not before it; ``before`` the last one earlier than it, or
    ``after`` itself when that was taken at the moment.
    """

    at: int
    before: Reading | None
    after: Reading | None

    @property
    def exact(self) -> bool:
        """Tell whether a reading was taken at the moment itself."""
        return self.before is not None and self.before.timestamp == self.at


@dataclass(frozen=True, slots=True)
class MeterEnergy:
    """One meter's energy in an interval, with the readings that prove it."""

    consumption_wh: int
    production_wh: int
    estimated: bool
    opening: Reading
    closing: Reading


@dataclass(frozen=True, slots=True)
class EnergySum:
    """The energy of all meters of an account in an interval."""

    consumption_wh: int
    production_wh: int
    estimated: bool


def meter_energy(start: Boundary, end: Boundary) -> MeterEnergy | None:
    """Return the energy between the two boundaries, or ``None`` while they are not both enclosed."""
    assert start.at < end.at
    if start.before is None or end.after is None:
        return None
    first, last = _registers_at(start), _registers_at(end)
    if first is None or last is None:
        return None
    return MeterEnergy(
        consumption_wh=last[0] - first[0],
        production_wh=last[1] - first[1],
        estimated=not (_measured(start) and _measured(end)),
        opening=start.before,
        closing=end.after,
    )


def sum_energy(meters: Iterable[MeterEnergy | None]) -> EnergySum:
    """Add up an account's meters; one that says nothing counts as zero and makes an estimate.

    So does an account without meters: nobody is credited with energy that was not metered.
    """
    listed = list(meters)
    known = [meter for meter in listed if meter is not None]
    return EnergySum(
        consumption_wh=sum(meter.consumption_wh for meter in known),
        production_wh=sum(meter.production_wh for meter in known),
        estimated=not known or len(known) < len(listed) or any(meter.estimated for meter in known),
    )


def _measured(boundary: Boundary) -> bool:
    return boundary.exact and boundary.before is not None and not boundary.before.flags & READING_ESTIMATED


def _registers_at(boundary: Boundary) -> tuple[int, int] | None:
    """Return consumption and production at the moment, on the line between its neighbours."""
    before, after = boundary.before, boundary.after
    if before is None:
        return None
    if boundary.exact:
        return before.consumption_wh, before.production_wh
    if after is None:
        return None
    elapsed, span = boundary.at - before.timestamp, after.timestamp - before.timestamp
    return (
        before.consumption_wh + (after.consumption_wh - before.consumption_wh) * elapsed // span,
        before.production_wh + (after.production_wh - before.production_wh) * elapsed // span,
    )
