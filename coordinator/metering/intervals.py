"""The energy of an interval between a meter's signed registers.

With readings at both boundaries it is their exact difference. Otherwise, once a later reading
exists, the registers at the boundaries are estimated on the straight line between their
neighbours and the result is flagged; estimates of adjoining intervals sum to the measured difference.

A meter that began or ended within the interval (it was replaced, its home joined or left, or its later readings
have not come) counts from its first to its last reading there: what is proven, flagged too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..protocol.messages import READING_ESTIMATED, Reading


@dataclass(frozen=True, slots=True)
class Boundary:
    """A meter's neighbours of one moment.

    ``after`` is the first reading not before it; ``before`` the last one earlier than it, or
    ``after`` itself when that was taken at the moment. One is missing before a meter's first reading, and after
    its last.
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
    """Return the energy between the two boundaries, as far as readings prove it; ``None`` when they prove none."""
    assert start.at < end.at
    opening, closing = start.before or start.after, end.after or end.before
    if opening is None or closing is None or not opening.timestamp < closing.timestamp:
        return None
    assert opening.timestamp < end.at
    assert start.at < closing.timestamp
    first, last = _registers_at(start, opening), _registers_at(end, closing)
    return MeterEnergy(
        consumption_wh=last[0] - first[0],
        production_wh=last[1] - first[1],
        estimated=not (_measured(start) and _measured(end)),
        opening=opening,
        closing=closing,
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


def _registers_at(boundary: Boundary, nearest: Reading) -> tuple[int, int]:
    """Return consumption and production at the moment, on the line between its neighbours.

    Without a neighbour on one side, it is the other's: the ``nearest`` reading inside of the interval.
    """
    before, after = boundary.before, boundary.after
    if before is None or after is None or boundary.exact:
        return nearest.consumption_wh, nearest.production_wh
    elapsed, span = boundary.at - before.timestamp, after.timestamp - before.timestamp
    return (
        before.consumption_wh + (after.consumption_wh - before.consumption_wh) * elapsed // span,
        before.production_wh + (after.production_wh - before.production_wh) * elapsed // span,
    )
