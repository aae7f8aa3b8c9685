"""Any engine against the case files: each case in, an answer out, a verdict for each. The engine is a command.

By default the command is run once for each case, with the case on its standard input and the answer expected on its
standard output (as ``energy-trade clear -``). With ``lines`` it is run once, gets a case in each line and answers in a
line, in order. An engine that hangs is killed with all it started, and the case has failed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from .cases import Case
from .expectations import unmet
from .invariants import violations

ANSWER_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case went; no faults is a pass."""

    case: Case
    faults: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the engine answered lawfully and as expected."""
        return not self.faults

    def plain(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "id": self.case.id,
            "kind": self.case.kind,
            "passed": self.passed,
            "faults": list(self.faults),
            "seconds": round(self.seconds, 3),
        }


class NoEngine(Exception):
    """The command cannot be started; the message says why."""


def judge(cases: Sequence[Case], command: Sequence[str], timeout_s: float, *, lines: bool = False) -> Iterator[Verdict]:
    """Yield a verdict for each case, in order; raise ``NoEngine`` when the command cannot be started."""
    engine = _LineEngine(command) if lines else None
    try:
        for case in cases:
            began = time.monotonic()
            text = json.dumps(case.problem)
            try:
                answer = engine.ask(text, timeout_s) if engine is not None else _ask_once(command, text, timeout_s)
                faults = judged(case, answer)
            except _Failed as failure:
                faults = [str(failure)]
            yield Verdict(case, tuple(faults), time.monotonic() - began)
    finally:
        if engine is not None:
            engine.stop()


def judged(case: Case, text: bytes) -> list[str]:
    """Return what is wrong with an answer: its shape, what was expected, what must hold in any case."""
    if len(text) > ANSWER_BYTES_MAX:
        return [f"the answer has more than {ANSWER_BYTES_MAX} bytes"]
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [f"the answer is not JSON: {error}"]
    if not isinstance(answer, dict):
        return ["the answer is no JSON object"]
    if "error" in answer:
        return [f"the engine says: {answer['error']}"]
    return [*unmet(case.expected, answer), *violations(case, answer)]


class _Failed(Exception):
    """The engine did not answer this case."""


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the engine in a session of its own, so that all it starts can be ended with it."""
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)  # noqa: S603 - the command asked for
    except OSError as error:
        raise NoEngine(f"{command[0]}: {error.strerror}") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ask_once(command: Sequence[str], text: str, timeout_s: float) -> bytes:
    with _start(command) as process:
        try:
            answer, errors = process.communicate(text.encode(), timeout_s)
        except subprocess.TimeoutExpired as late:
            _kill(process)
            raise _Failed(f"no answer within {timeout_s:g} s") from late
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise _Failed(f"exit status {process.returncode}{': ' + last[0][:300] if last else ''}")
    return answer


class _LineEngine:
    """A command that answers line by line; started again after it hung or ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()

    def ask(self, text: str, timeout_s: float) -> bytes:
        """Hand in a line and wait for one; an empty one means that the engine has ended."""
        process = self._running()
        assert process.stdin is not None
        threading.Thread(target=_feed, args=(process.stdin, text.encode() + b"\n"), daemon=True).start()
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty as late:
            self.stop()
            raise _Failed(f"no answer within {timeout_s:g} s") from late
        if not answer:
            self.stop()
            raise _Failed("the engine ended without an answer")
        return answer

    def stop(self) -> None:
        """End the engine and all it started."""
        if self._process is not None:
            _kill(self._process)
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = _start(self._command)
            self._answers = queue.Queue()
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            for work in (_read_lines, _drain):
                stream = self._process.stdout if work is _read_lines else self._process.stderr
                threading.Thread(target=work, args=(stream, self._answers), daemon=True).start()
        return self._process


def _feed(stream: IO[bytes], line: bytes) -> None:
    """Hand a line in, however long the engine lets it wait; one that has ended takes none."""
    with suppress(OSError, ValueError):
        stream.write(line)
        stream.flush()


def _read_lines(stream: IO[bytes], answers: queue.Queue[bytes]) -> None:
    """Hand on each line, then an empty one: the stream has ended."""
    with suppress(OSError, ValueError):
        while line := stream.readline(ANSWER_BYTES_MAX + 1):
            answers.put(line)
    answers.put(b"")


def _drain(stream: IO[bytes], _answers: queue.Queue[bytes]) -> None:
    """Read what the engine complains about, so that a full pipe does not hold it up."""
    with suppress(OSError, ValueError), stream:
        while stream.read(65_536):
            pass
