"""Child processes of the demo: a log file each, never outliving their parent, ended in order."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1


class ProcessFailed(Exception):
    """A child process did not start or has ended; the sentence names the log file to read."""


@dataclass(slots=True)
class Child:
    """A running child process, in a process group of its own.

    The kernel ends it (SIGTERM) when this process dies by whatever cause; Ctrl-C in a terminal
    reaches this process only, which then ends its children in its own order.
    """

    name: str
    log: Path
    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Self:
        """Start the command with its output appended to ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        return cls(name, log, process)

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self.process.returncode is None

    def check(self) -> None:
        """Raise ``ProcessFailed`` when the process has ended."""
        if not self.running:
            status = self.process.returncode
            raise ProcessFailed(f"{self.name} ended with status {status}; read {self.log}\n  {self._last_words()}")

    async def stop(self, patience_s: float = 15.0) -> None:
        """Ask the process to end, then insist; nothing of its group is left afterwards."""
        if self.running:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), patience_s)
        self._signal(signal.SIGKILL)
        await self.process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it says nothing"

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Ports:
    """Loopback ports of one data folder: the same at each start, since Home Assistant remembers them."""

    def __init__(self, path: Path) -> None:
        """Keep the numbers in the JSON file at ``path``."""
        self._path = path
        self._kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}

    def take(self, name: str, wanted: int | None = None) -> int:
        """Return the port kept for the name; at the first start ``wanted``, else any free one.

        Raises ``ProcessFailed`` when it cannot be had.
        """
        kept = self._kept.get(name)
        if kept and wanted not in (None, kept):
            raise ProcessFailed(f"this data folder uses port {kept}; leave --port out, or choose another folder")
        port = kept or wanted or _free_port()
        if not _is_free(port):
            raise ProcessFailed(f"port {port} for {name.replace('_', ' ')} is taken; free it, or choose another folder")
        self._kept[name] = port
        self._path.write_text(json.dumps(self._kept, indent=2) + "\n")
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((LOOPBACK, port))
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a child end when this process does, by whatever cause (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before prctl
            os._exit(1)

    return prepare
