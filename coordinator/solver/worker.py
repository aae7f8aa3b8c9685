"""The solver in a process of its own: it is killed and replaced when it hangs or dies, and nothing else notices.

A message is its length (8 bytes, big end first) and MessagePack. Whatever comes back is read strictly; what cannot be
read is a failure like any other. The child ends by itself when its parent has gone.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec

from ..market.problem import Problem
from ..market.proposal import Proposal
from .failure import SolverFailedError

HIGHS = "coordinator.solver.highs:propose"
_LENGTH_BYTES = 8
_MESSAGE_BYTES_MAX = 1 << 30
_START_S = 30


@dataclass(frozen=True, slots=True)
class _Question:
    problem: Problem[bytes]
    limit_s: int | float


@dataclass(frozen=True, slots=True)
class _Answer:
    proposal: Proposal | None = None
    failure: str = ""


class SolverWorker:
    """One child process that solves one problem at a time; ``target`` names what it runs.

    It starts with the first question or with ``start`` and stays warm. Past the limit it has ``grace_s`` more to answer
    before it is killed.
    """

    def __init__(self, grace_s: float = 2.0, target: str = HIGHS) -> None:
        self._grace_s = grace_s
        self._target = target
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._stops = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id, ``None`` while there is no child."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the child and wait until it is warm; raise ``SolverFailedError`` when it cannot be started."""
        try:
            await self._warm()
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            raise SolverFailedError(await self._ended(error, _START_S)) from error

    async def stop(self) -> None:
        """End the child; questions that wait for it or are under way get a sentence instead of an answer."""
        self._stops += 1
        await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

    async def solve(self, problem: Problem[bytes], limit_s: float) -> Proposal | str:
        """Return a proposal, or in a sentence why there is none; never raise for what the child does."""
        stops = self._stops
        async with self._one_at_a_time:
            if stops != self._stops:
                return "the solver was stopped"
            question = msgspec.msgpack.encode(_Question(problem, limit_s))
            try:
                async with asyncio.timeout(_START_S):
                    process = await self._warm()
                async with asyncio.timeout(limit_s + self._grace_s):
                    answer = await _ask(process, question)
            except asyncio.CancelledError:
                await self._end()  # the child would answer a question that nobody has asked
                raise
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                return await self._ended(error, limit_s + self._grace_s)
        return answer.failure or "the solver gave no answer" if answer.proposal is None else answer.proposal

    async def _warm(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        stops = self._stops
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            self._target,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # an interrupt from the terminal is for the parent, which ends the child
        )
        if stops != self._stops:
            await self._end()
            raise EOFError
        async with asyncio.timeout(_START_S):
            await _ask(self._process, None)
        return self._process

    async def _ended(self, error: Exception, limit_s: float) -> str:
        """Kill the child, whatever its state; the next question gets a new one."""
        process = self._process
        code = process.returncode if process is not None else None
        if isinstance(error, EOFError) and process is not None:
            with suppress(TimeoutError):  # it may have closed its end and live on
                async with asyncio.timeout(self._grace_s):
                    code = await process.wait()
        await self._end()
        match error:
            case TimeoutError():
                return f"the solver did not answer within {limit_s:g} s and was killed"
            case EOFError() | OSError():
                return f"the solver's process ended (exit status {code})"
            case _:
                return f"the solver's answer cannot be read: {error}"


class SyncSolver:
    """The same for code without an event loop; ``solver`` makes the worker when the first problem comes."""

    def __init__(self, make: Callable[[], SolverWorker] = SolverWorker) -> None:
        self._make = make
        self._worker: SolverWorker | None = None
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._runner.run(self._worker.stop())
        self._runner.close()

    def solve(self, problem: Problem[bytes], limit_s: float) -> Proposal | str:
        """Return a proposal, or in a sentence why there is none."""
        if self._worker is None:
            self._worker = self._make()
        return self._runner.run(self._worker.solve(problem, limit_s))


async def _ask(process: asyncio.subprocess.Process, question: bytes | None) -> _Answer:
    """Send a question (``None``: wait for the first sign of life) and read the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    if question is not None:
        process.stdin.write(len(question).to_bytes(_LENGTH_BYTES, "big") + question)
        await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(_LENGTH_BYTES), "big")
    if length > _MESSAGE_BYTES_MAX:
        raise ValueError(f"{length} bytes announced")
    return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=_Answer)


def serve(questions: BinaryIO, answers: BinaryIO, target: str) -> None:
    """Answer questions until there are no more; the first message says that this process is warm."""
    module, name = target.split(":")
    propose = cast("Callable[[Problem[bytes], float], Proposal]", getattr(importlib.import_module(module), name))
    decoder = msgspec.msgpack.Decoder(_Question)
    _send(answers, _Answer())
    gc.disable()  # a question is a million small objects that live until it is answered
    while head := questions.read(_LENGTH_BYTES):
        question = decoder.decode(questions.read(int.from_bytes(head, "big")))
        try:
            answer = _Answer(propose(question.problem, question.limit_s))
        except SolverFailedError as error:
            answer = _Answer(None, str(error))
        _send(answers, answer)
        del question, answer
        gc.collect()


def _send(answers: BinaryIO, answer: _Answer) -> None:
    try:
        message = msgspec.msgpack.encode(answer)
    except OverflowError:  # lawful orders can be worth more than fits into 64 bits
        message = msgspec.msgpack.encode(_Answer(None, "the solver's answer has numbers beyond 64 bits"))
    answers.write(len(message).to_bytes(_LENGTH_BYTES, "big") + message)
    answers.flush()


def main() -> None:
    """Serve standard input; whatever a library prints goes to standard error, not among the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers, sys.argv[1])


if __name__ == "__main__":
    main()
