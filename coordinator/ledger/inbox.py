"""The bounded inbox of the one writer."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from ..market.commands import (
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    CloseGate,
    Command,
    ConfirmSettlement,
    CreditFunds,
    EndWithdrawal,
    ExcludeFromSettlement,
    ExpireOrders,
    HaltTrading,
    LapseRequests,
    ResumeTrading,
    SettleInterval,
    SuspendMeter,
)
from ..market.events import Rejected
from ..protocol.messages import Reading
from .records import Committed, StoredReading

RESERVE = 256
"""Places that only the coordinator's own commands may take, so that a flood of orders never keeps a
gate from closing or a settlement from being booked."""

_OWN = (
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    CloseGate,
    ConfirmSettlement,
    CreditFunds,
    EndWithdrawal,
    ExcludeFromSettlement,
    ExpireOrders,
    HaltTrading,
    LapseRequests,
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


@dataclass(slots=True)
class ReadingWork:
    """A reading that waits for its turn; ``known`` is what is stored under its number."""

    reading: Reading
    digest: bytes
    signature: bytes
    known: StoredReading | None
    reply: asyncio.Future[StoredReading | Rejected | LookAgain] = field(default_factory=asyncio.Future)


type Work = CommandWork | ReadingWork


class Inbox:
    """First come, first served, up to a limit; a settlement is always taken alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[Work] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, work: Work) -> Rejected | None:
        """Queue the work, or say why not."""
        if self._closed:
            return Rejected("stopping", "The coordinator is stopping: send this again in a moment.")
        own = isinstance(work, CommandWork) and isinstance(work.command, _OWN)
        if len(self._queue) >= self._limit + (RESERVE if own else 0):
            return Rejected("busy", "The coordinator has more to do than it can take: send this again in a moment.")
        self._queue.append(work)
        self._arrived.set()
        return None

    async def take(self, limit: int) -> list[Work]:
        """Return what waits, at most ``limit``; an empty list when closed and empty."""
        while not self._queue and not self._closed:
            self._arrived.clear()
            await self._arrived.wait()
        taken: list[Work] = []
        while self._queue and len(taken) < limit:
            if _is_settlement(self._queue[0]):
                return taken or [self._queue.popleft()]
            taken.append(self._queue.popleft())
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
            if not work.reply.done():
                work.reply.set_exception(error)


def _is_settlement(work: Work) -> bool:
    return isinstance(work, CommandWork) and isinstance(work.command, SettleInterval | ExcludeFromSettlement)
