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
from ..market.cascades import Cascade
from ..market.commands import (
    ClearSession,
    CloseGate,
    Command,
    ExcludeFromSettlement,
    ResettleInterval,
    SuspendMeter,
)
from ..market.decide import Decision
from ..market.events import (
    CorrectionProposed,
    Event,
    GateClosed,
    IntervalResettled,
    IntervalSettled,
    Rejected,
    SessionCleared,
    SettlementConfirmed,
)
from ..market.sessions import certified, needs_solver
from ..market.state import MarketState, Meter
from ..metering.verification import Head, MeterFacts, Refusal, Verdict, check_reading, next_head
from .auctions import KeptAuction, kept
from .corrections import CorrectionDraft
from .decisions import decide, draft_batch, effects_of, settlement_key
from .evidence import Evidence, gather, question, settled_sequence
from .group import Decided, EffectCounts, Group, SettledDraft, SettlementSent, is_unsent
from .inbox import CommandWork, Inbox, LookAgain, ManyWork, ReadingWork, Work
from .log import LogHead, Terms, stored_head
from .publisher import Publisher
from .records import Committed, LedgerConfig, LedgerError, Published, Settler, Solver, StoredReading
from .settling import Settling
from .store import Store, error_name

_LOG = structlog.get_logger(__name__)
_PAUSE_AFTER_FAILURE_S = 1
_FIRINGS_A_TURN = 32
"""So many orders fire before others get a turn of the event loop."""
_READINGS_CHANGED = Rejected("readings_changed", "The readings say otherwise by now: settle again.")
_SENT = Rejected("settlement_sent", "The batch is on its way to the chain: correct it when it is there.")


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
        self,
        store: Store,
        durable: Durable,
        clock: Clock,
        config: LedgerConfig,
        settler: Settler,
        signals: Signals,
        solver: Solver | None = None,
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
        self._solver = solver
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
        if isinstance(first, CommandWork) and isinstance(first.command, Settling):
            answers = [await self._settle(group, first, first.command)]
        elif isinstance(first, CommandWork) and isinstance(first.command, ClearSession | CloseGate):
            answers = [await self._clear(group, first, first.command)]
        else:
            answers = [await self._answer(group, work) for work in works]
        if not group.is_empty and (rejected := await self._commit(group)) is not None:
            for work in works:
                work.refuse(rejected)
            return
        self._publish(group)
        for answer in answers:
            answer()

    async def _answer(self, group: Group, work: Work) -> Answer:
        if isinstance(work, ReadingWork):
            return await self._take_reading(group, work)
        if isinstance(work, ManyWork):
            results = [await self._sequence(group, command) for command in work.commands]
            return lambda: None if work.reply.done() else work.reply.set_result(results)
        result = await self._sequence(group, work.command, work.completes)
        return lambda: None if work.reply.done() else work.reply.set_result(result)

    async def _sequence(self, group: Group, command: Command, completes: str | None = None) -> Committed | Rejected:
        """Decide a command and what it triggers; ``Committed`` holds once the group is on the disk."""
        decision = self._decide(command, group.at)
        if isinstance(decision, Rejected):
            self.counters.rejected += 1
            return decision
        return _committed(await self._append(group, command, decision, completes))

    def _decide(self, command: Command, at: int) -> Decision:
        try:
            return decide(self._ahead, command, at)
        except Exception:  # noqa: BLE001 - a command that the market cannot judge must not stop everybody's
            _LOG.exception("the market failed to judge a command", command=type(command).__name__)
            return Rejected("internal_error", "The coordinator could not judge this: tell the operator.")

    async def _append(self, group: Group, command: Command, events: Decision, completes: str | None = None) -> Decided:
        """Book a decided command, and what it triggers."""
        decided = self._book(group, command, events, completes)
        await self._fire(group, decided.events)
        return decided

    def _book(self, group: Group, command: Command, events: Decision, completes: str | None = None) -> Decided:
        assert not isinstance(events, Rejected)
        decided = group.append(command, events, completes)
        for event in events:
            apply(self._ahead, event, group.at)
        group.projections.add(decided.row.sequence, group.at, events, self._ahead)
        group.effects += [(effect, decided.row.sequence) for effect in effects_of(command, events, self._config)]
        return decided

    async def _fire(self, group: Group, events: tuple[Event, ...]) -> None:
        """Let conditional orders trade whose conditions these events have met, until all is quiet.

        A long cascade lets other tasks run in between: the state ahead and the group are this task's alone.
        """
        cascade = Cascade(self._ahead)
        cascade.add(events)
        fired = 0
        while (firing := cascade.next(lambda command: self._decide(command, group.at))) is not None:
            cascade.add(self._book(group, *firing).events)
            fired += 1
            if not fired % _FIRINGS_A_TURN:
                await asyncio.sleep(0)

    async def _clear(self, group: Group, work: CommandWork, command: ClearSession | CloseGate) -> Answer:
        """Hold an auction: ask the solver where it takes one, and keep what proves the result."""
        if command.proposal is None and not command.failure:
            command = await self._proposed(command, group.at)
        decision = self._decide(command, group.at)
        if isinstance(decision, Rejected):
            return self._reject(work, decision)
        event = next(event for event in decision if isinstance(event, SessionCleared | GateClosed))
        group.auctions.append(await self._certified(event, command, group))
        return _answer_command(work, await self._append(group, command, decision, work.completes))

    async def _certified(
        self, event: SessionCleared | GateClosed, command: ClearSession | CloseGate, group: Group
    ) -> KeptAuction:
        """Return what is kept of an auction; one whose certificate cannot be made takes place all the same."""
        sequence = group.head.sequence + 1
        try:
            held = certified(self._ahead, command, group.at)
            return await asyncio.to_thread(kept, event, group.at, held, sequence)
        except Exception:  # noqa: BLE001 - the log has what any certificate is made of
            _LOG.exception("an auction's certificate could not be made", sequence=sequence)
            return kept(event, group.at, (), sequence)

    async def _proposed(self, command: ClearSession | CloseGate, at: int) -> ClearSession | CloseGate:
        """Return the command with the solver's proposal, or with why there is none."""
        problem = needs_solver(self._ahead, command, at)
        if problem is None:
            return command
        if self._solver is None:
            return replace(command, failure="no solver is at work")
        answer = await self._solver.solve(problem, self._ahead.rules.stages.session_limit_s)
        return replace(command, failure=answer) if isinstance(answer, str) else replace(command, proposal=answer)

    def _reject(self, work: CommandWork | ReadingWork, rejected: Rejected) -> Answer:
        self.counters.rejected += 1
        return lambda: None if work.reply.done() else work.reply.set_result(rejected)

    async def _settle(self, group: Group, work: CommandWork, command: Settling) -> Answer:
        decision = self._decide(command, group.at)
        if isinstance(decision, Rejected):
            return self._reject(work, decision)
        event = decision[0]  # answers to the grid, or an agreement, may follow
        assert isinstance(event, IntervalSettled | IntervalResettled | CorrectionProposed)
        if isinstance(command, ResettleInterval):
            before = settlement_key(event.delivery_start, event.revision - 1)
            if not await self._store.write(lambda connection: is_unsent(connection, before)):
                return self._reject(work, _SENT)
        sequence = None if isinstance(command, ExcludeFromSettlement) else group.head.sequence + 1
        evidence = await self._evidence(command.delivery_start, sequence)
        if evidence is None or not evidence.supports(event):
            return self._reject(work, _READINGS_CHANGED)
        draft = draft_batch(self._ahead, event, evidence.meters, self.durable.terms.domain)
        if isinstance(event, CorrectionProposed):
            batch = await asyncio.to_thread(draft.finish)
            if batch.header.receipts_root != event.receipts_root:
                return self._reject(work, _READINGS_CHANGED)
            seal = self._settler.sign(batch.header.digest(self.durable.terms.domain))
            sealed = batch.header, self._settler.account, seal, batch.receipts
            group.correction = CorrectionDraft(event, group.head.sequence + 1, *sealed)
        decided = await self._append(group, command, decision, work.completes)
        if not isinstance(event, CorrectionProposed):
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

    async def _take_reading(self, group: Group, work: ReadingWork) -> Answer:
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
                return await self._suspend(group, work, stored)
            case Verdict.DUPLICATE:
                assert known is not None
                stored = replace(known, duplicate=True)
            case Verdict.ACCEPT:
                assert limits is not None
                group.accept(stored, next_head(head, reading, work.digest, limits))
        return lambda: None if work.reply.done() else work.reply.set_result(stored)

    async def _suspend(self, group: Group, work: ReadingWork, stored: StoredReading) -> Answer:
        reason = f"two readings with the number {stored.reading.sequence}"
        command = SuspendMeter(stored.reading.device_id, reason)
        decision = self._decide(command, group.at)
        if not isinstance(decision, Rejected):
            group.equivocations.append(stored)
            await self._append(group, command, decision)
        message = f"The meter has signed {reason}: both are kept, it is suspended, speak to the operator."
        return self._reject(work, Rejected("equivocation", message))

    async def _commit(self, group: Group) -> Rejected | None:
        """Write the group; on a full or failing disk throw it away and say so."""
        try:
            counts = await self._store.write(group.write)
        except SettlementSent:
            self._ahead = copy.deepcopy(self.durable.state)
            return _SENT
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
    committed = _committed(decided)
    return lambda: None if work.reply.done() else work.reply.set_result(committed)


def _committed(decided: Decided) -> Committed:
    return Committed(decided.row.sequence, decided.row.at, decided.events)
