"""Tables as text and as CSV, and moments as people write them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

type Row = Sequence[object]


def text_table(headers: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a table with aligned columns: numbers to the right, all else to the left."""
    listed = [[str(cell) for cell in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in listed) for i in range(len(headers))]
    widths = [max(len(row[i]) for row in [list(headers), *listed]) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, listed)])


def write_csv(path: Path, headers: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table for spreadsheets; a text that one would take for a formula gets an apostrophe in front."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(headers)
        writer.writerows([_harmless(cell) for cell in row] for row in rows)


def moment(text: str) -> int:
    """Read a moment: UTC seconds, or a date or date and time of ISO 8601 (UTC unless it says otherwise).

    Raises ``ValueError`` with a sentence.
    """
    if text.isdecimal():
        return int(text)
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no moment: write 2026-11-22, 2026-11-22T10:15 or UTC seconds") from error
    return int((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp())


def shown_moment(at: int) -> str:
    """Return UTC seconds as ``2026-11-22T10:15Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def money(micro: int) -> str:
    """Return money with all six places."""
    sign, rest = ("-", -micro) if micro < 0 else ("", micro)
    return f"{sign}{rest // 1_000_000}.{rest % 1_000_000:06d}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _harmless(cell: object) -> object:
    return (
        f"'{cell}"
        if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell)
        else cell
    )
