"""A demo as a child process: its lines as they come, its processes, its addresses."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
_LIVE = re.compile(r"Live page +(?P<live>http://\S+)")
_BY_HAND = re.compile(r"address (?P<coordinator>http://\S+), invite (?P<invite>\S+)")
_HASS = re.compile(r"Home Assistant +(?P<hass>http://\S+)/ +user (?P<user>\S+) +password (?P<password>\S+)")


@dataclass(slots=True)
class RunningDemo:
    """A demo that was started, and everything it has printed."""

    process: asyncio.subprocess.Process
    mark: str
    lines: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _reader: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, *options: str, behind_s: int = 0) -> Self:
        """Start ``energy-trade demo`` with the options; all its clocks are ``behind_s`` behind the machine's."""
        mark = uuid.uuid4().hex
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "coordinator", "demo", *options),
            cwd=ROOT,
            env={**os.environ, **(_late(behind_s) if behind_s else {}), "ENERGY_TRADE_TEST_MARK": mark},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        demo = cls(process, mark)
        demo._reader = asyncio.create_task(demo._read())
        return demo

    async def line(self, part: str, patience_s: float = 300) -> str:
        """Return the first line with this part, waiting for it."""
        async with asyncio.timeout(patience_s):
            while True:
                for line in self.lines:
                    if part in line:
                        return line
                if self._reader is not None and self._reader.done():
                    raise AssertionError(f"the demo ended without {part!r}:\n{self.text}")
                self._news.clear()
                await self._news.wait()

    async def ended(self, patience_s: float = 300) -> int:
        """Return the exit status."""
        async with asyncio.timeout(patience_s):
            assert self._reader is not None
            await self._reader
            return await self.process.wait()

    async def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended(60)

    @property
    def text(self) -> str:
        """All that was printed."""
        return "\n".join(self.lines)

    def addresses(self) -> dict[str, str]:
        """Return the printed addresses, Home Assistant's user and password, and what joins a home by hand."""
        found: dict[str, str] = {}
        for pattern in (_LIVE, _HASS, _BY_HAND):
            if match := pattern.search(self.text):
                found |= match.groupdict()
        return found

    def processes(self) -> list[str]:
        """Return the command lines of all processes that descend from this demo."""
        return [
            _command(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit() and self._is_ours(folder)
        ]

    def _is_ours(self, folder: Path) -> bool:
        try:
            return f"ENERGY_TRADE_TEST_MARK={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            return False

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())
            self._news.set()
        self._news.set()


def _late(behind_s: int) -> dict[str, str]:
    """Return the environment in which clocks (but not durations) are behind; faketime itself would stand in between."""
    command = ["faketime", "-m", "-f", f"-{behind_s}s", "env"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {"LD_PRELOAD": told["LD_PRELOAD"], "FAKETIME": told["FAKETIME"], "DONT_FAKE_MONOTONIC": "1"}


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return folder.name
