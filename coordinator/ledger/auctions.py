"""Auctions with their certificates: the newest are kept for whoever asks; the log has what made all of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

import msgspec

from ..market.certificate import certificate
from ..market.events import GateClosed, SessionCleared
from ..market.problem import Problem, Result

AUCTIONS_KEPT = 1_000

type AuctionKind = Literal["closing", "session"]

_NEWEST = """
SELECT kind, at, cleared_at, rule, outcome, volume_wh, price_micro_per_kwh, welfare_micro
FROM auctions ORDER BY sequence DESC, at DESC LIMIT ?
"""
_ONE = """
SELECT kind, at, cleared_at, rule, outcome, volume_wh, price_micro_per_kwh, welfare_micro, certificate
FROM auctions WHERE kind = ? AND at = ?
"""


@dataclass(frozen=True, slots=True)
class AuctionRecord:
    """What an auction came to; ``at`` is the delivery start of a closing auction, or the session's time.

    ``price_micro_per_kwh`` is ``None`` when nothing traded or there are several prices.
    """

    kind: AuctionKind
    at: int
    cleared_at: int
    rule: str
    outcome: str
    volume_wh: int
    price_micro_per_kwh: int | None
    welfare_micro: int | None


@dataclass(frozen=True, slots=True)
class KeptAuction:
    """An auction with its certificate (empty: none is made) and its command's place in the log."""

    record: AuctionRecord
    certificate: Mapping[str, Any]
    sequence: int


def record_of(event: GateClosed | SessionCleared, at: int, welfare_micro: int | None = None) -> AuctionRecord:
    """Return the record of an auction that was decided at the second ``at``; a session knows its own welfare."""
    if isinstance(event, GateClosed):
        start, price = event.delivery_start, event.price_micro_per_kwh
        return AuctionRecord("closing", start, at, event.rule, event.outcome, event.volume_wh, price, welfare_micro)
    traded = [interval for interval in event.intervals if interval.volume_wh]
    prices = {node.price_micro_per_kwh for interval in traded for node in interval.nodes}
    volume_wh = sum(interval.volume_wh for interval in traded)
    price = prices.pop() if len(prices) == 1 else None
    return AuctionRecord(
        "session", event.session_at, at, event.rule, event.outcome, volume_wh, price, event.welfare_micro
    )


def kept(
    event: GateClosed | SessionCleared,
    at: int,
    held: Sequence[tuple[Problem[bytes], Result[bytes]]],
    sequence: int,
) -> KeptAuction:
    """Return what is kept of an auction that the command ``sequence`` holds; without a problem nothing is certified."""
    if not held:
        return KeptAuction(record_of(event, at), {}, sequence)
    ((problem, result),) = held
    return KeptAuction(record_of(event, at, result.welfare_micro), certificate(problem, result), sequence)


def keep(connection: sqlite3.Connection, auctions: Iterable[KeptAuction]) -> None:
    """Write auctions with their certificates inside the caller's transaction; drop the oldest of too many."""
    rows = [(*astuple(one.record), one.sequence, msgspec.json.encode(one.certificate).decode()) for one in auctions]
    if not rows:
        return
    connection.executemany("INSERT OR REPLACE INTO auctions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute(
        "DELETE FROM auctions WHERE sequence < (SELECT sequence FROM auctions ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
        (AUCTIONS_KEPT - 1,),
    )


def newest(connection: sqlite3.Connection, limit: int) -> list[AuctionRecord]:
    """Return the newest auctions, newest first, at most as many as are kept."""
    return [AuctionRecord(*row) for row in connection.execute(_NEWEST, (max(0, min(limit, AUCTIONS_KEPT)),))]


def certified(
    connection: sqlite3.Connection, kind: AuctionKind, at: int
) -> tuple[AuctionRecord, dict[str, Any]] | None:
    """Return an auction with its certificate, ``None`` when there was none or it is no longer kept."""
    row = connection.execute(_ONE, (kind, at)).fetchone()
    return None if row is None else (AuctionRecord(*row[:8]), json.loads(row[8]))
