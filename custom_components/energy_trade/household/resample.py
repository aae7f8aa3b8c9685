"""Brings what was told for other stretches of time onto the market's intervals, without losing or inventing any.

A segment is ``(start, end, value)``, times in UTC seconds. Segments may come in any order and must not overlap. Only
intervals that segments cover whole come out: a part that is missing is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..protocol.units import interval_start

type Segment = tuple[int, int, float]


def energies(segments: Iterable[Segment], interval_s: int) -> dict[int, int]:
    """Spread energies (Wh) evenly over their segments; return the whole Wh of each interval.

    The running total is rounded, not each interval, so that the sum over a stretch without a gap is kept to 1 Wh.
    """
    found: dict[int, int] = {}
    for stretch in _stretches(segments):
        total, levels = 0.0, [(stretch[0][0], 0.0)]
        for _start, end, value in stretch:
            total += value
            levels.append((end, total))
        found |= _between(levels, interval_s)
    return found


def means(segments: Iterable[Segment], interval_s: int) -> dict[int, int]:
    """Return the mean value of each interval, weighted by time and rounded."""
    found: dict[int, int] = {}
    for stretch in _stretches(segments):
        position = 0
        for start in range(-(-stretch[0][0] // interval_s) * interval_s, stretch[-1][1] - interval_s + 1, interval_s):
            while stretch[position][1] <= start:
                position += 1
            found[start] = round(_weighted(stretch, position, start, start + interval_s) / interval_s)
    return found


def at_moments(points: Iterable[tuple[int, float]], moments: Iterable[int], gap_s: int) -> dict[int, float]:
    """Interpolate between points ``(time, value)`` at ascending moments, never over a gap longer than ``gap_s``."""
    known = sorted(points)
    found: dict[int, float] = {}
    position = 0
    for moment in moments:
        while position + 1 < len(known) and known[position + 1][0] <= moment:
            position += 1
        if position < len(known) and known[position][0] == moment:
            found[moment] = known[position][1]
        elif position + 1 < len(known) and known[position][0] < moment:
            (left, before), (right, after) = known[position], known[position + 1]
            if right - left <= gap_s:
                found[moment] = before + (after - before) * (moment - left) / (right - left)
    return found


def filled(
    finer: Mapping[int, float | None], coarser: Mapping[int, float | None], finer_s: int, coarser_s: int
) -> list[Segment]:
    """Return fine rows as segments, and coarse ones instead where not all of the fine ones are there.

    Keys are starts. A row of ``None`` is there but not to be believed: it makes no segment.
    """
    rough = {
        start: value
        for start, value in coarser.items()
        if any(part not in finer for part in range(start, start + coarser_s, finer_s))
    }
    fine = {start: value for start, value in finer.items() if interval_start(start, coarser_s) not in rough}
    segments = [(start, start + finer_s, value) for start, value in fine.items() if value is not None]
    segments += [(start, start + coarser_s, value) for start, value in rough.items() if value is not None]
    return sorted(segments)


def _stretches(segments: Iterable[Segment]) -> Iterable[list[Segment]]:
    """Yield the segments in stretches without a gap; raise ``ValueError`` where two overlap or one has no length."""
    stretch: list[Segment] = []
    for segment in sorted(segments):
        if segment[1] <= segment[0] or (stretch and segment[0] < stretch[-1][1]):
            raise ValueError(f"the segment from {segment[0]} to {segment[1]} overlaps or has no length")
        if stretch and segment[0] > stretch[-1][1]:
            yield stretch
            stretch = []
        stretch.append(segment)
    if stretch:
        yield stretch


def _between(levels: list[tuple[int, float]], interval_s: int) -> dict[int, int]:
    """Return how much a running total grows in each interval that lies between its first and its last level."""
    first = -(-levels[0][0] // interval_s) * interval_s
    bounds = range(first, levels[-1][0] + 1, interval_s)
    totals = at_moments(levels, bounds, levels[-1][0] - levels[0][0])
    return {start: round(totals[start + interval_s]) - round(totals[start]) for start in bounds[:-1]}


def _weighted(stretch: list[Segment], position: int, start: int, end: int) -> float:
    total = 0.0
    while position < len(stretch) and stretch[position][0] < end:
        left, right, value = stretch[position]
        total += value * (min(right, end) - max(left, start))
        position += 1
    return total
