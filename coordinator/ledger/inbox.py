"""The bounded inbox of the one writer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..market.commands import (
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    ClearSession,
    CloseGate,
    Command,
    ConfirmSettlement,
    CreditFunds,
    EndCorrection,
    EndWithdrawal,
    ExcludeFromSettlement,
    ExpireOrders,
    HaltTrading,
    LapseRequests,
    ProposeCorrection,
    ResettleInterval,
    ResumeTrading,
    SettleInterval,
    SuspendMeter,
)
from ..market.events import Rejected
from ..protocol.messages import Reading
from .records import Committed, StoredReading
from .settling import Settling

RESERVE = 256
"""Places that only the coordinator's own commands may take, so that a flood of orders never keeps a
gate from closing or a settlement from being booked."""

_OWN = (
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    ClearSession,
    CloseGate,
    ConfirmSettlement,
    CreditFunds,
    EndCorrection,
    EndWithdrawal,
    ExcludeFromSettlement,
    ExpireOrders,
    HaltTrading,
    LapseRequests,
    ProposeCorrection,
    ResettleInterval,
    ResumeTrading,
    SettleInterval,
    SuspendMeter,
)


class LookAgain:
    """The writer's word that a reading's number was taken meanwhile: compare with what is stored."""


@dataclass(slots=True)
class CommandWork:
    """A command that waits for its turn."""

    command: Command
    completes: str | None = None
    reply: asyncio.Future[Committed | Rejected] = field(default_factory=asyncio.Future)

    def __len__(self) -> int:
        return 1

    def refuse(self, rejected: Rejected) -> None:
        """Answer that nothing was kept."""
        if not self.reply.done():
            self.reply.set_result(rejected)


@dataclass(slots=True)
class ManyWork:
    """Commands that are sequenced in one go, in their order; each is decided for itself."""

    commands: Sequence[Command]
    reply: asyncio.Future[list[Committed | Rejected]] = field(default_factory=asyncio.Future)

    def __len__(self) -> int:
        return len(self.commands)

    def refuse(self, rejected: Rejected) -> None:
        """Answer that nothing was kept."""
        if not self.reply.done():
            self.reply.set_result([rejected] * len(self.commands))


@dataclass(slots=True)
class ReadingWork:
    """A reading that waits for its turn; ``known`` is what is stored under its number."""

    reading: Reading
    digest: bytes
    signature: bytes
    known: StoredReading | None
    reply: asyncio.Future[StoredReading | Rejected | LookAgain] = field(default_factory=asyncio.Future)

    def __len__(self) -> int:
        return 1

    def refuse(self, rejected: Rejected) -> None:
        """Answer that nothing was kept."""
        if not self.reply.done():
            self.reply.set_result(rejected)


type Work = CommandWork | ManyWork | ReadingWork


class Inbox:
    """First come, first served, up to a limit; a settlement and an auction are always taken alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[Work] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return self._waiting

    def put(self, work: Work) -> Rejected | None:
        """Queue the work, or say why not."""
        if self._closed:
            return Rejected("stopping", "The coordinator is stopping: send this again in a moment.")
        own = isinstance(work, CommandWork) and isinstance(work.command, _OWN)
        if self._waiting >= self._limit + (RESERVE if own else 0):
            return Rejected("busy", "The coordinator has more to do than it can take: send this again in a moment.")
        self._queue.append(work)
        self._waiting += len(work)
        self._arrived.set()
        return None

    async def take(self, limit: int) -> list[Work]:
        """Return what waits, up to about ``limit`` commands; an empty list when closed and empty."""
        while not self._queue and not self._closed:
            self._arrived.clear()
            await self._arrived.wait()
        taken: list[Work] = []
        commands = 0
        while self._queue and commands < limit:
            alone = _is_taken_alone(self._queue[0])
            if alone and taken:
                break
            taken.append(self._queue.popleft())
            commands += len(taken[-1])
            if alone:
                break
        self._waiting -= commands
        return taken

    def close(self) -> None:
        """Take nothing more; what is queued is still served."""
        self._closed = True
        self._arrived.set()

    def drop(self, error: Exception) -> None:
        """Fail everything that waits: there is no writer any more."""
        self.close()
        while self._queue:
            work = self._queue.popleft()
            self._waiting -= len(work)
            if not work.reply.done():
                work.reply.set_exception(error)


def _is_taken_alone(work: Work) -> bool:
    return isinstance(work, CommandWork) and isinstance(work.command, Settling | ClearSession | CloseGate)
