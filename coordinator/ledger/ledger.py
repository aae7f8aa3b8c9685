"""The ledger: one door to write through, one state to read, one file that survives."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog

from ..clock import Clock
from ..market.commands import Command
from ..market.events import Rejected
from ..market.rules import MarketRules
from ..market.state import MarketState, Meter
from ..metering.verification import Head, next_head
from ..protocol.messages import Reading
from ..protocol.typed_data import Domain
from . import codec, projections, snapshots
from .decisions import settlement_command
from .evidence import SELECT_READINGS, device_key, gather, question, reading_of
from .group import count_effects, insert_rows
from .inbox import CommandWork, LookAgain, ManyWork, ReadingWork
from .log import TERMS_KIND, Terms
from .outbox import Expectations, Outbox
from .projections import Projections
from .publisher import Subscription
from .queries import Queries
from .records import Committed, LedgerBusy, LedgerConfig, LedgerError, Settler, Solver, StoredReading
from .replay import Rebuilt, entries, read_entry
from .schedule import Scheduler
from .settling import Settling
from .store import Store, damage_reported, transaction
from .writer import Counters, Durable, Signals, Writer, facts

_LOG = structlog.get_logger(__name__)
_FIXED = ("market", "interval_s", "price_min_micro_per_kwh", "price_max_micro_per_kwh", "metered_max_wh")
_REBUILD_EVERY = 1_000
_READINGS_RECALLED = 200
_SNAPSHOT_LOOK_S = 30
_CONFIRMED = "SELECT count(*) FROM intervals WHERE stage = 'confirmed' AND transaction_hash IS NOT NULL"


class Ledger:
    """Async context manager: opens the file, replays the log, starts the one writer task.

    ``state`` shows only what is durable and is read only outside; ``sequence`` is the last command's.
    """

    outbox: Outbox
    queries: Queries
    expectations: Expectations

    def __init__(
        self,
        path: Path,
        rules: MarketRules,
        config: LedgerConfig,
        domain: Domain,
        clock: Clock,
        settler: Settler,
        solver: Solver | None = None,
    ) -> None:
        self._path = path
        self._rules = rules
        self._config = config
        self._domain = domain
        self._clock = clock
        self._settler = settler
        self._solver = solver
        self._store = Store(path)
        self.outbox = Outbox(self._store)
        self.queries = Queries(self._store)
        self._scheduler = Scheduler(clock, self.submit, self._prepare_settlement, config.reading_deadline_s)
        self._writer: Writer | None = None
        self._snapshot_at = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> MarketState:
        """The market as it is on the disk."""
        return self._running.durable.state

    @property
    def sequence(self) -> int:
        """The sequence of the last command in the log."""
        return self._running.durable.head.sequence

    @property
    def counters(self) -> Counters:
        """What was done since the start."""
        return self._running.counters

    @property
    def inbox_depth(self) -> int:
        """How many commands and readings wait."""
        return len(self._running.inbox)

    async def __aenter__(self) -> Self:
        """Open and replay; raise ``LedgerError`` with a sentence when the file cannot be used."""
        try:
            await self._store.open()
            durable = await self._store.write(self._load)
        except BaseException:
            await self._store.close()
            raise
        signals = Signals(effects=self.outbox.written, readings=self._scheduler.notify)
        self._writer = Writer(self._store, durable, self._clock, self._config, self._settler, signals, self._solver)
        self.expectations = Expectations(self._store, durable)
        self._task = asyncio.create_task(self._writer.run(), name="ledger-writer")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse new work, finish what was taken, close."""
        self._running.inbox.close()
        try:
            if self._task is not None:
                await asyncio.wait((self._task,))
                if not self._task.cancelled() and (error := self._task.exception()) is not None:
                    _LOG.error("the ledger has closed after a failure", error=str(error))
        finally:
            await self._store.close()

    async def submit(self, command: Command, *, completes: str | None = None) -> Committed | Rejected:
        """Have a command decided; what it made happen is durable when this returns.

        Signatures were checked before. ``completes`` is the outbox key that the command ends, in the
        same transaction. Codes besides the market's: busy, stopping, storage_full, storage_failed,
        readings_missing, readings_changed, internal_error.
        """
        work = CommandWork(command, completes)
        rejected = self._running.offer(work)
        return rejected if rejected is not None else await work.reply

    async def submit_many(self, commands: Sequence[Command]) -> list[Committed | Rejected]:
        """Have commands decided in their order, as if each was submitted, at less cost; their answers in that order."""
        size = self._config.group_max
        works = [ManyWork(commands[start : start + size]) for start in range(0, len(commands), size)]
        for work in works:
            if (rejected := self._running.offer(work)) is not None:
                work.refuse(rejected)
        return [result for work in works for result in await work.reply]

    async def store_reading(self, reading: Reading, signature: bytes) -> StoredReading | Rejected:
        """Keep a reading, whose signature was checked before, durably; a repeat is answered as before.

        Codes: unknown_meter, suspended, malformed_reading, equivocation, sequence_gap (detail: the
        expected number), wrong_previous (the hash), clock_skew, not_later, too_soon,
        register_decreased, beyond_limit; busy, stopping, storage_full, storage_failed.
        """
        try:
            digest = reading.digest(self._domain)
        except ValueError as error:
            return Rejected("malformed_reading", f"The reading does not fit its message: {error}.")
        while True:
            try:
                known = await self._known(reading)
            except LedgerBusy as busy:
                return Rejected("busy", str(busy))
            meter = self.state.meters.get(reading.device_id)
            if known is not None and known.digest == digest and meter is not None and meter.suspended is None:
                return replace(known, duplicate=True)
            work = ReadingWork(reading, digest, signature, known)
            if (rejected := self._running.offer(work)) is not None:
                return rejected
            answer = await work.reply
            if not isinstance(answer, LookAgain):
                return answer

    def subscribe(self) -> Subscription:
        """Start to be told of everything that becomes durable; use it as a context manager."""
        return self._running.publisher.subscribe()

    async def run(self) -> None:
        """Do the clock's work until cancelled; raise ``LedgerError`` when the writer has failed."""
        assert self._task is not None
        durable = self._running.durable
        scheduler = asyncio.create_task(self._scheduler.run(durable.state, durable.heads), name="ledger-schedule")
        keeper = asyncio.create_task(self._keep_snapshots(), name="ledger-snapshots")
        try:
            done, _ = await asyncio.wait((self._task, scheduler), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for helper in (scheduler, keeper):
                helper.cancel()
            await asyncio.wait((scheduler, keeper))

    async def step(self) -> None:
        """Do once what the clock asks for now; ``run`` does it every second."""
        durable = self._running.durable
        await self._scheduler.step(durable.state, durable.heads)

    async def snapshot(self) -> None:
        """Keep the state as it is now for the next start; a process of its own makes it. Raises ``LedgerError``."""
        made = await snapshots.make(self._path)
        await self._store.write(lambda connection: snapshots.write(connection, made))
        self._snapshot_at = made.sequence

    async def _keep_snapshots(self) -> None:
        while True:
            await asyncio.sleep(_SNAPSHOT_LOOK_S)
            if self.sequence - self._snapshot_at < self._config.snapshot_every:
                continue
            try:
                await self.snapshot()
            except LedgerError, OSError, TimeoutError, sqlite3.Error:
                _LOG.exception("no snapshot was kept; the log has everything")

    @property
    def _running(self) -> Writer:
        if self._writer is None:
            raise LedgerError("The ledger is not open.")
        return self._writer

    async def _known(self, reading: Reading) -> StoredReading | None:
        head = self._running.durable.heads.get(reading.device_id)
        if head is None or not 0 < reading.sequence <= head.sequence:
            return None
        return await self.queries.reading(reading.device_id, reading.sequence)

    async def _prepare_settlement(self, delivery_start: int) -> Settling | None:
        """Return the command that the readings ask for; ``None`` when they agree with what is settled."""
        terms = self._running.durable.terms
        asked = question(self.state, delivery_start, terms)
        if asked is None:
            return None
        sequence = self.sequence + 1
        evidence = await self._store.read(lambda connection: gather(connection, asked, sequence))
        return settlement_command(self.state, delivery_start, evidence, self._config.fee_account, terms)

    def _load(self, connection: sqlite3.Connection) -> Durable:
        """Replay the log, with its projections where they are outdated, and go on under our terms."""
        with damage_reported(self._path):
            rebuilt = _replay(connection)
            terms = Terms(self._domain.chain_id, self._domain.ledger, self._config.metered_max_wh, self._rules)
            if rebuilt.terms != terms:
                _check_terms(rebuilt.terms, terms)
                self._write_terms(connection, rebuilt, terms)
            meters = rebuilt.state.meters.values()
            heads = {meter.device_id: head for meter in meters if (head := _head(connection, meter))}
            confirmed = connection.execute(_CONFIRMED).fetchone()[0]
            self.outbox.written(count_effects(connection), new=False)
            self._snapshot_at = snapshots.newest(connection)
        return Durable(terms, rebuilt.state, rebuilt.head, heads, confirmed)

    def _write_terms(self, connection: sqlite3.Connection, rebuilt: Rebuilt, terms: Terms) -> None:
        at = max(self._clock.now(), rebuilt.head.at)
        row = rebuilt.head.next(at, TERMS_KIND, codec.encode(terms), "[]")
        with transaction(connection):
            insert_rows(connection, [row])
        rebuilt.take(read_entry(row))


def _replay(connection: sqlite3.Connection) -> Rebuilt:
    if projections.are_current(connection):
        return snapshots.rebuild(connection)
    rebuilt = Rebuilt()
    with transaction(connection):
        projections.reset(connection)
        rows = Projections()
        for entry in entries(connection):
            rebuilt.take(entry)
            rows.add(entry.row.sequence, entry.row.at, entry.events, rebuilt.state)
            if entry.row.sequence % _REBUILD_EVERY == 0:
                rows.write(connection)
                rows = Projections()
        rows.write(connection)
    return rebuilt


def _check_terms(old: Terms | None, new: Terms) -> None:
    """Rules may change from one start to the next, but not what contracts and orders rest on."""
    if old is None:
        return
    if (old.chain_id, old.ledger) != (new.chain_id, new.ledger):
        raise LedgerError(
            f"This ledger belongs to contract {old.ledger} on chain {old.chain_id}, not to {new.ledger} on chain "
            f"{new.chain_id}: give back the old chain, or start with an empty data directory."
        )
    for name, was, now in zip(_FIXED, _fixed(old), _fixed(new), strict=True):
        if was != now:
            raise LedgerError(
                f"{name} was {was} when this ledger and its contract were made and cannot become {now}: set it back, "
                "or start with an empty data directory."
            )


def _fixed(terms: Terms) -> tuple[str | int, ...]:
    rules = terms.rules
    band = rules.price_min_micro_per_kwh, rules.price_max_micro_per_kwh
    return rules.market, rules.interval_s, *band, terms.metered_max_wh


def _head(connection: sqlite3.Connection, meter: Meter) -> Head | None:
    """Return a meter's last reading, with what the last ones together leave of its tolerance."""
    rows = connection.execute(
        f"{SELECT_READINGS} WHERE device_id = ? ORDER BY sequence DESC LIMIT ?",
        (device_key(meter.device_id), _READINGS_RECALLED),
    ).fetchall()
    limits, head = facts(meter), None
    for row in reversed(rows):
        reading, digest, _, _ = reading_of(row)
        head = next_head(head, reading, digest, limits)
    return head
