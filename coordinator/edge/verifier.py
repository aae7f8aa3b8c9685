"""Many signatures at once, checked in processes of their own, so that the event loop's core does not pay for them.

What waits is handed over together: one message of as many orders as there are, up to a limit, two messages under way
for each process. A process gets the orders' bytes on its standard input and answers with a fixed number of bytes for
each; it ends when its input ends, so that none outlives the coordinator, however that ends. One that dies is
replaced, and what it had is checked by the next.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog

from ..protocol.typed_data import Domain
from .signed import check_signed

_LOG = structlog.get_logger(__name__)

type Checked = tuple[bytes, bytes] | None
"""Digest and ``r || vs``, or ``None`` for a signature that is not the account's."""

MESSAGE_ORDERS_MAX = 64
_UNDER_WAY_MAX = 2
_TRIES_MAX = 3
_RESTART_S = 0.05
_ANSWER_BYTES = 1 + 32 + 64
_REFUSED = bytes(_ANSWER_BYTES)
_ROOT = Path(__file__).parents[2]
_LENGTH = struct.Struct(">I")


class VerifierFailedError(Exception):
    """Processes died over the same orders again and again."""


@dataclass(slots=True, eq=False)
class _Job:
    """Orders that are handed over together, and whom to tell."""

    raws: Sequence[bytes]
    done: asyncio.Future[list[Checked]]
    tries: int = 0


@dataclass(slots=True, eq=False)
class _Message:
    """Jobs that one process has, and how many bytes of answer they are worth."""

    jobs: list[_Job]
    answer_bytes: int


class Verifiers:
    """``count`` warm processes for one domain; ``start`` before use, ``stop`` after it."""

    def __init__(self, domain: Domain, count: int) -> None:
        self._separator = domain.separator()
        self._count = count
        self._children: list[_Child] = []
        self._waiting: deque[_Job] = deque()
        self._restarts: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [child.pid for child in self._children]

    async def start(self) -> None:
        """Start the processes and wait until each has answered."""
        await asyncio.gather(*(self._start_child() for _ in range(self._count)))

    async def stop(self) -> None:
        """End the processes; what waits is cancelled."""
        self._stopped = True
        await asyncio.gather(*self._restarts, return_exceptions=True)
        for child in self._children:
            child.kill()
        for job in self._waiting:
            job.done.cancel()
        self._waiting.clear()
        while self._children:
            await self._children[0].ended.wait()

    async def check(self, raws: Sequence[bytes]) -> list[Checked]:
        """Check signed orders, each as ``PlaceOrderBody`` has it in JSON; raise ``VerifierFailedError``."""
        loop = asyncio.get_running_loop()
        parts = [raws[i : i + MESSAGE_ORDERS_MAX] for i in range(0, len(raws), MESSAGE_ORDERS_MAX)]
        jobs = [_Job(part, loop.create_future()) for part in parts]
        self._waiting.extend(jobs)
        self.dispatch()
        return [checked for job in jobs for checked in await job.done]

    def dispatch(self) -> None:
        """Hand what waits to processes that have room for it, the least busy first."""
        while self._waiting and self._children:
            child = min(self._children, key=lambda one: len(one.under_way))
            if len(child.under_way) >= _UNDER_WAY_MAX:
                return
            jobs = [self._waiting.popleft()]
            orders = len(jobs[0].raws)
            while self._waiting and orders + len(self._waiting[0].raws) <= MESSAGE_ORDERS_MAX:
                orders += len(self._waiting[0].raws)
                jobs.append(self._waiting.popleft())
            child.send(jobs, orders)

    def lost(self, child: _Child) -> None:
        """Replace a process that has ended; its orders come first again, unless they seem to be the cause."""
        if child not in self._children:
            return  # it has not even started
        self._children.remove(child)
        if self._stopped:
            return
        for message in reversed(child.under_way):
            for job in reversed(message.jobs):
                job.tries += 1
                if job.done.done():
                    continue
                if job.tries < _TRIES_MAX:
                    self._waiting.appendleft(job)
                else:
                    self._give_up([job])
        task = asyncio.get_running_loop().create_task(self._restart())
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    @staticmethod
    def _give_up(jobs: Iterable[_Job]) -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(VerifierFailedError("The processes that check signatures keep ending."))

    async def _restart(self) -> None:
        await asyncio.sleep(_RESTART_S)
        try:
            await self._start_child()
        except VerifierFailedError, OSError:
            _LOG.exception("a process that checks signatures could not be started")
            self._give_up(self._waiting)  # `lost` tries again, but nobody should wait for that
            self._waiting.clear()

    async def _start_child(self) -> None:
        command = (sys.executable, "-m", __name__, self._separator.hex())
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(self),
            *command,
            stderr=None,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            start_new_session=True,
        )
        self._children.append(child)
        if child.ended.is_set():
            self.lost(child)
            return
        warm: asyncio.Future[list[Checked]] = asyncio.get_running_loop().create_future()
        child.send([_Job([b"{}"], warm, _TRIES_MAX)], 1)
        await asyncio.wait((warm,))
        if warm.cancelled() or warm.exception() is not None:
            raise VerifierFailedError("A process that checks signatures could not be started.")
        self.dispatch()


@dataclass(slots=True, eq=False)
class _Child(asyncio.SubprocessProtocol):
    """The coordinator's end of one process."""

    owner: Verifiers
    under_way: deque[_Message] = field(default_factory=deque)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _transport: asyncio.SubprocessTransport | None = None
    _data: bytearray = field(default_factory=bytearray)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._transport is not None
        return self._transport.get_pid()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the process."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def send(self, jobs: list[_Job], orders: int) -> None:
        """Ask for the checks of some jobs with so many orders together."""
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        self.under_way.append(_Message(jobs, orders * _ANSWER_BYTES))
        parts = [_LENGTH.pack(orders)]
        for job in jobs:
            for raw in job.raws:
                parts += (_LENGTH.pack(len(raw)), raw)
        pipe.write(b"".join(parts))

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - there is one pipe
        """Take what the process says; a whole answer makes room for the next message."""
        self._data += data
        while self.under_way and len(self._data) >= (length := self.under_way[0].answer_bytes):
            answer = bytes(self._data[:length])
            del self._data[:length]
            _tell(self.under_way.popleft().jobs, answer)
            self.owner.dispatch()

    def process_exited(self) -> None:
        """Let the owner replace the process."""
        assert self._transport is not None
        self._transport.close()
        self.ended.set()
        self.owner.lost(self)

    def kill(self) -> None:
        """End the process; nobody waits for what it has under way."""
        assert self._transport is not None
        if self._transport.get_returncode() is None:
            self._transport.kill()
        for message in self.under_way:
            for job in message.jobs:
                job.done.cancel()


def _tell(jobs: Sequence[_Job], answer: bytes) -> None:
    start = 0
    for job in jobs:
        found: list[Checked] = []
        for _ in job.raws:
            one = answer[start : start + _ANSWER_BYTES]
            found.append((one[1:33], one[33:]) if one[0] else None)
            start += _ANSWER_BYTES
        if not job.done.done():
            job.done.set_result(found)


def serve(source: BinaryIO, sink: BinaryIO, separator: bytes) -> None:
    """Answer messages until the input ends."""
    while head := source.read(_LENGTH.size):
        (orders,) = _LENGTH.unpack(head)
        answers = [_answer(source.read(*_LENGTH.unpack(source.read(_LENGTH.size))), separator) for _ in range(orders)]
        sink.write(b"".join(answers))
        sink.flush()


def _answer(raw: bytes, separator: bytes) -> bytes:
    checked = check_signed(raw, separator)
    return _REFUSED if checked is None else b"\x01" + checked[0] + checked[1]


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer, bytes.fromhex(sys.argv[1]))
