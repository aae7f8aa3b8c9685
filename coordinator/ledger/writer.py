"""The one writer: takes a group, decides it, makes it durable, and only then applies and answers.

Two states are kept: ``state`` shows what is on the disk; a second one is a group ahead, so that
the commands of a group can build on each other. When a group cannot be written, everybody in it is
told so, the state ahead is thrown away, and the service goes on reading.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from ..clock import Clock
from ..market.apply import apply
from ..market.commands import Command, ExcludeFromSettlement, SettleInterval, SuspendMeter
from ..market.decide import Decision
from ..market.events import IntervalResettled, IntervalSettled, Rejected, SettlementConfirmed
from ..market.state import MarketState, Meter
from ..metering.verification import Head, MeterFacts, Refusal, Verdict, check_reading, next_head
from .decisions import decide, draft_batch, effects_of
from .evidence import Evidence, gather, question, settled_sequence
from .group import Decided, EffectCounts, Group, SettledDraft
from .inbox import CommandWork, Inbox, LookAgain, ReadingWork, Work
from .log import LogHead, Terms, stored_head
from .publisher import Publisher
from .records import Committed, LedgerConfig, LedgerError, Published, Settler, StoredReading
from .store import Store, error_name

_LOG = structlog.get_logger(__name__)
_PAUSE_AFTER_FAILURE_S = 1


@dataclass(slots=True)
class Counters:
    """What the writer has done since the start, for the metrics."""

    groups: int = 0
    commands: int = 0
    readings: int = 0
    rejected: int = 0
    busy: int = 0
    storage_failures: int = 0


@dataclass(slots=True)
class Durable:
    """All that is on the disk and held in memory too; changed after each commit only."""

    terms: Terms
    state: MarketState
    head: LogHead
    heads: dict[int, Head]
    batches_confirmed: int = 0


class EffectsWritten(Protocol):
    """Called after a group that changed the outbox."""

    def __call__(self, counts: EffectCounts, *, new: bool) -> None:
        """Note the outbox's counts; ``new`` tells that there are new effects."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Whom the writer wakes: ``effects`` when the outbox has changed, ``readings`` on new readings."""

    effects: EffectsWritten
    readings: Callable[[], None]


type Answer = Callable[[], None]


class Writer:
    """Runs as one task; nothing else changes the state or the log."""

    def __init__(
        self, store: Store, durable: Durable, clock: Clock, config: LedgerConfig, settler: Settler, signals: Signals
    ) -> None:
        self.durable = durable
        self.counters = Counters()
        self.inbox = Inbox(config.inbox_max)
        self.publisher = Publisher(config.subscription_max)
        self._store = store
        self._clock = clock
        self._config = config
        self._settler = settler
        self._signals = signals
        self._ahead = copy.deepcopy(durable.state)
        self._pause: tuple[float, Rejected] | None = None

    def offer(self, work: Work) -> Rejected | None:
        """Queue work, or say why not."""
        if self._pause is not None:
            until, rejected = self._pause
            if asyncio.get_running_loop().time() < until:
                return rejected
            self._pause = None
        rejected_now = self.inbox.put(work)
        if rejected_now is not None:
            self.counters.busy += 1
        return rejected_now

    async def run(self) -> None:
        """Serve the inbox until it is closed and empty; raise ``LedgerError`` when that is impossible."""
        works: list[Work] = []
        try:
            while works := await self.inbox.take(self._config.group_max):
                await self._serve(works)
        except BaseException as error:
            failure = LedgerError(f"The ledger's writer has failed: {error!r}. Start again; nothing confirmed is lost.")
            for work in works:
                if not work.reply.done():
                    work.reply.set_exception(failure)
            self.inbox.drop(failure)
            raise
        finally:
            self.publisher.close()

    async def _serve(self, works: list[Work]) -> None:
        group = Group(self.durable.head, max(self._clock.now(), self.durable.head.at), self._config)
        first = works[0]
        if isinstance(first, CommandWork) and isinstance(first.command, SettleInterval | ExcludeFromSettlement):
            answers = [await self._settle(group, first, first.command)]
        else:
            answers = [self._answer(group, work) for work in works]
        if not group.is_empty and (rejected := await self._commit(group)) is not None:
            for work in works:
                if not work.reply.done():
                    work.reply.set_result(rejected)
            return
        self._publish(group)
        for answer in answers:
            answer()

    def _answer(self, group: Group, work: Work) -> Answer:
        if isinstance(work, ReadingWork):
            return self._take_reading(group, work)
        decision = self._decide(work.command, group.at)
        if isinstance(decision, Rejected):
            return self._reject(work, decision)
        decided = self._append(group, work.command, decision, work.completes)
        return _answer_command(work, decided)

    def _decide(self, command: Command, at: int) -> Decision:
        try:
            return decide(self._ahead, command, at)
        except Exception:  # noqa: BLE001 - a command that the market cannot judge must not stop everybody's
            _LOG.exception("the market failed to judge a command", command=type(command).__name__)
            return Rejected("internal_error", "The coordinator could not judge this: tell the operator.")

    def _append(self, group: Group, command: Command, events: Decision, completes: str | None = None) -> Decided:
        assert not isinstance(events, Rejected)
        decided = group.append(command, events, completes)
        for event in events:
            apply(self._ahead, event, group.at)
        group.projections.add(decided.row.sequence, group.at, events, self._ahead)
        group.effects += [(effect, decided.row.sequence) for effect in effects_of(command, events, self._config)]
        return decided

    def _reject(self, work: CommandWork | ReadingWork, rejected: Rejected) -> Answer:
        self.counters.rejected += 1
        return lambda: None if work.reply.done() else work.reply.set_result(rejected)

    async def _settle(self, group: Group, work: CommandWork, command: SettleInterval | ExcludeFromSettlement) -> Answer:
        decision = self._decide(command, group.at)
        if isinstance(decision, Rejected):
            return self._reject(work, decision)
        event = decision[0]  # answers to the grid may follow
        assert isinstance(event, IntervalSettled | IntervalResettled)
        sequence = group.head.sequence + 1 if isinstance(command, SettleInterval) else None
        evidence = await self._evidence(command.delivery_start, sequence)
        if evidence is None or not evidence.supports(event):
            return self._reject(work, Rejected("readings_changed", "The readings say otherwise by now: settle again."))
        draft = draft_batch(self._ahead, event, evidence.meters, self.durable.terms.domain)
        decided = self._append(group, command, decision, work.completes)
        group.batch = SettledDraft(self._settler, draft, event, decided.row.sequence, self._ahead.rules.interval_s)
        return _answer_command(work, decided)

    async def _evidence(self, delivery_start: int, sequence: int | None) -> Evidence | None:
        """Return what the readings said to the command ``sequence``, by default to the one that settled first."""
        asked = question(self._ahead, delivery_start, self.durable.terms)
        if asked is None:
            return None

        def work(connection: sqlite3.Connection) -> Evidence:
            known_to = settled_sequence(connection, delivery_start) if sequence is None else sequence
            return gather(connection, asked, known_to)

        # on the writer's own thread: a flood of questions to the readers must not hold up the writing
        return await self._store.write(work)

    def _take_reading(self, group: Group, work: ReadingWork) -> Answer:
        reading = work.reading
        meter = self._ahead.meters.get(reading.device_id)
        head = group.heads.get(reading.device_id) or self.durable.heads.get(reading.device_id)
        in_group = group.readings.get((reading.device_id, reading.sequence))
        known = in_group[0] if in_group else work.known
        if head is not None and 0 < reading.sequence <= head.sequence and known is None:
            return lambda: None if work.reply.done() else work.reply.set_result(LookAgain())
        stored = StoredReading(reading, work.digest, work.signature, group.at)
        known_digest = known.digest if known else None
        limits = None if meter is None else facts(meter)
        match check_reading(reading, work.digest, limits, head, known_digest, group.at):
            case Refusal(code, message, detail):
                return self._reject(work, Rejected(code, message, detail))
            case Verdict.EQUIVOCATION:
                return self._suspend(group, work, stored)
            case Verdict.DUPLICATE:
                assert known is not None
                stored = replace(known, duplicate=True)
            case Verdict.ACCEPT:
                assert limits is not None
                group.accept(stored, next_head(head, reading, work.digest, limits))
        return lambda: None if work.reply.done() else work.reply.set_result(stored)

    def _suspend(self, group: Group, work: ReadingWork, stored: StoredReading) -> Answer:
        reason = f"two readings with the number {stored.reading.sequence}"
        command = SuspendMeter(stored.reading.device_id, reason)
        decision = self._decide(command, group.at)
        if not isinstance(decision, Rejected):
            group.equivocations.append(stored)
            self._append(group, command, decision)
        message = f"The meter has signed {reason}: both are kept, it is suspended, speak to the operator."
        return self._reject(work, Rejected("equivocation", message))

    async def _commit(self, group: Group) -> Rejected | None:
        """Write the group; on a full or failing disk throw it away and say so."""
        try:
            counts = await self._store.write(group.write)
        except sqlite3.Error as error:
            return await self._give_up(error)
        self.counters.groups += 1
        if counts is not None:
            self._signals.effects(counts, new=group.has_effects)
        if group.readings:
            self._signals.readings()
        return None

    async def _give_up(self, error: sqlite3.Error) -> Rejected:
        """Go back to what is on the disk, if the disk still says clearly what that is."""
        _LOG.error("the ledger could not be written", error=str(error), code=error_name(error))
        self.counters.storage_failures += 1
        try:
            on_disk = await self._store.write(stored_head)
        except sqlite3.Error as second:
            raise LedgerError(f"The ledger can neither be written ({error}) nor read ({second}).") from error
        if on_disk != self.durable.head.sequence or error_name(error).startswith("SQLITE_CONSTRAINT"):
            raise LedgerError(f"It is unclear what was written to the ledger ({error}): start again.") from error
        self._ahead = copy.deepcopy(self.durable.state)
        rejected = storage_rejection(error)
        self._pause = asyncio.get_running_loop().time() + _PAUSE_AFTER_FAILURE_S, rejected
        return rejected

    def _publish(self, group: Group) -> None:
        """Show what is durable: in one step, so that nobody sees half a group."""
        durable = self.durable
        published = []
        for decided in group.decided:
            for index, event in enumerate(decided.events):
                apply(durable.state, event, decided.row.at)
                published.append(Published(decided.row.sequence, index, decided.row.at, event))
                if isinstance(event, SettlementConfirmed):
                    durable.batches_confirmed += 1
        durable.head = group.head
        durable.heads |= group.heads
        self.counters.commands += len(group.decided)
        self.counters.readings += len(group.readings)
        if published:
            self.publisher.publish(published)


def facts(meter: Meter) -> MeterFacts:
    """Return what metering needs to know of a meter."""
    return MeterFacts(meter.import_limit_w, meter.export_limit_w, meter.suspended)


def storage_rejection(error: sqlite3.Error) -> Rejected:
    """Say that nothing was kept, and why."""
    if error_name(error) == "SQLITE_FULL":
        return Rejected("storage_full", "The coordinator's disk is full, nothing was kept: send this again later.")
    return Rejected("storage_failed", "The coordinator's disk failed, nothing was kept: send this again later.")


def _answer_command(work: CommandWork, decided: Decided) -> Answer:
    committed = Committed(decided.row.sequence, decided.row.at, decided.events)
    return lambda: None if work.reply.done() else work.reply.set_result(committed)
