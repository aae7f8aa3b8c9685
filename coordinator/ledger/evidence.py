"""From stored readings to a settlement: the registers around an interval and what they add up to."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..market.commands import MeteredEnergy, SettleInterval
from ..market.events import IntervalResettled, Settled
from ..market.state import Interval, MarketState, Meter
from ..metering.intervals import Boundary, MeterEnergy, meter_energy, sum_energy
from ..protocol.messages import Reading
from ..protocol.typed_data import Domain
from ..settlement.statements import MeterEvidence, SignedReading, readings_root
from .log import Terms

SELECT_READINGS = """
SELECT device_id, sequence, timestamp, consumption_wh, production_wh, flags, previous, samples, digest, signature,
    committed_at
FROM readings
"""

SILENT_INTERVALS = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the readings say about one interval's traders, and the readings themselves."""

    energies: tuple[MeteredEnergy, ...]
    meters: tuple[MeterEvidence, ...]
    readings_root: bytes

    def command(self, delivery_start: int) -> SettleInterval:
        """Return the command that settles the interval on this evidence."""
        return SettleInterval(delivery_start, self.energies, self.readings_root)

    def supports(self, event: Settled) -> bool:
        """Tell whether a settlement rests on this.

        One that leaves an account out does by its readings alone: an account may have got another meter since.
        """
        if event.readings_root != self.readings_root:
            return False
        is_same_evidence = isinstance(event, IntervalResettled) and not event.late_readings
        return is_same_evidence or event.energies == self.energies


@dataclass(frozen=True, slots=True)
class Question:
    """Which meters must say something about which interval; taken from the state at one moment.

    ``metered_max_wh`` bounds an account's production: what is beyond it is cut and marked estimated.
    """

    delivery_start: int
    delivery_end: int
    accounts: tuple[str, ...]
    meters: tuple[tuple[int, str, bytes], ...]
    domain: Domain
    metered_max_wh: int


def question(state: MarketState, delivery_start: int, terms: Terms) -> Question | None:
    """Return what to ask the readings for an interval; ``None`` when it is unknown."""
    interval = state.intervals.get(delivery_start)
    if interval is None:
        return None
    accounts = traders(state, interval)
    meters = [(m.device_id, m.account, m.public_key) for account in accounts for m in meters_of(state, account)]
    end = delivery_start + state.rules.interval_s
    return Question(delivery_start, end, tuple(accounts), tuple(sorted(meters)), terms.domain, terms.metered_max_wh)


def traders(state: MarketState, interval: Interval) -> list[str]:
    """Return the accounts that traded in the interval, rising."""
    digests = {digest for trade in interval.trades for digest in (trade.buy, trade.sell)}
    return sorted({state.orders[digest].order.account for digest in digests})


def silence_begins(delivery_start: int, interval_s: int) -> int:
    """Return the second since when a meter must have read to count in the interval, if another does."""
    return delivery_start - SILENT_INTERVALS * interval_s


def meters_of(state: MarketState, account: str) -> list[Meter]:
    """Return an account's meters, suspended ones too: what they signed before still counts."""
    return [state.meters[device] for device in state.accounts[account].meters]


def gather(connection: sqlite3.Connection, asked: Question, sequence: int) -> Evidence:
    """Read the registers and add them up per account, as far as command ``sequence`` could know them."""
    energies: dict[str, list[MeterEnergy | None]] = defaultdict(list)
    silent_since = silence_begins(asked.delivery_start, asked.delivery_end - asked.delivery_start)
    meters = []
    for device_id, account, public_key in asked.meters:
        signatures: dict[int, bytes] = {}
        find = _Finder(connection, device_id, sequence, signatures)
        opening_at = find.boundary(asked.delivery_start)
        energy = meter_energy(opening_at, find.boundary(asked.delivery_end))
        before = opening_at.before
        if energy is not None or (before is not None and before.timestamp >= silent_since):
            energies[account].append(energy)
        if energy is not None:
            opening, closing = (SignedReading(r, signatures[r.sequence]) for r in (energy.opening, energy.closing))
            meters.append(MeterEvidence(account, public_key, opening, closing))
    sums = tuple(_sum(account, energies[account], asked.metered_max_wh) for account in asked.accounts)
    return Evidence(sums, tuple(meters), readings_root(meters, asked.domain))


def settled_sequence(connection: sqlite3.Connection, delivery_start: int) -> int:
    """Return the sequence of the command whose readings an interval's settlement rests on."""
    row = connection.execute("SELECT sequence FROM settlements WHERE delivery_start = ?", (delivery_start,)).fetchone()
    return int(row[0]) if row else 0


def reading_of(row: Sequence[object]) -> tuple[Reading, bytes, bytes, int]:
    """Return reading, digest, signature and commit time of a row of ``SELECT_READINGS``."""
    device_id, *values, digest, signature, committed_at = row
    assert isinstance(device_id, bytes)
    assert isinstance(digest, bytes)
    assert isinstance(signature, bytes)
    assert isinstance(committed_at, int)
    return Reading(int.from_bytes(device_id, "big"), *values), digest, signature, committed_at  # type: ignore[arg-type]


def device_key(device_id: int) -> bytes:
    """Return a device id as the tables hold it."""
    return device_id.to_bytes(32, "big")


def _sum(account: str, meters: list[MeterEnergy | None], production_max_wh: int) -> MeteredEnergy:
    energy = sum_energy(meters)
    production_wh = min(energy.production_wh, production_max_wh)
    cut = production_wh < energy.production_wh
    return MeteredEnergy(account, energy.consumption_wh, production_wh, energy.estimated or cut)


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds one meter's readings around a moment and notes their signatures by sequence."""

    connection: sqlite3.Connection
    device_id: int
    known_before: int
    signatures: dict[int, bytes]

    def boundary(self, at: int) -> Boundary:
        """Return the meter's neighbours of a moment."""
        after = self._one("timestamp >= ? AND after_sequence < ? ORDER BY timestamp, sequence", at)
        if after is not None and after.timestamp == at:
            return Boundary(at, after, after)
        before = self._one("timestamp < ? AND after_sequence < ? ORDER BY timestamp DESC, sequence DESC", at)
        return Boundary(at, before, after)

    def _one(self, where: str, at: int) -> Reading | None:
        row = self.connection.execute(
            f"{SELECT_READINGS} WHERE device_id = ? AND {where} LIMIT 1",
            (device_key(self.device_id), at, self.known_before),
        ).fetchone()
        if row is None:
            return None
        reading, _, signature, _ = reading_of(row)
        self.signatures[reading.sequence] = signature
        return reading
