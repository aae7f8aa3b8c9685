"""The local development chain: anvil, a real node, as a child that keeps its state in a folder.

It dies with its parent, is started again when it dies alone, and takes over from one that a killed
coordinator left behind. Its state file is written every few seconds, so that a killed node may come
back some blocks younger: the sender then repeats the missing transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from .rpc import NodeUnreachable, Reachability, Rpc
from .transactions import LOCAL_CHAIN_ID

FUNDS_WEI = 10_000 * 10**18
_LOG = logging.getLogger(__name__)
_STATE_INTERVAL_S = 5
_START_S = 20
_STOP_S = 10
_HISTORY_BLOCKS = 256
_PR_SET_PDEATHSIG = 1


class DevChainError(Exception):
    """The local chain cannot run; the text says what to do."""


class DevChain:
    """A running anvil. Use as an async context manager; ``fund`` accounts have play ether.

    ``port`` 0 takes the port of the last time if it is free, else any.
    """

    def __init__(self, folder: Path, *, port: int = 0, fund: Sequence[str] = ()) -> None:
        self.folder = folder.resolve()
        self._fixed_port = port
        self._fund = fund
        self._lock: int | None = None
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The node's address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The node's process id."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        """Start the node and wait until it answers. Raises ``DevChainError``."""
        self._lock = await asyncio.to_thread(_prepare, self.folder)
        try:
            self._port = _choose_port(self.folder, self._fixed_port)
            await self._start()
        except BaseException:
            self._unlock()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="local chain")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the node; it writes its state first."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._stop()
        self._unlock()

    async def _start(self) -> None:
        """Start the node; a state file that it cannot read is put aside, and it starts empty."""
        if await self._try_start():
            return
        aside = _put_state_aside(self.folder)
        if aside is None or not await self._try_start():  # it had another reason, or has another one now
            raise DevChainError(f"the local chain does not start: {_last_words(self.folder)}")
        _LOG.error("the local chain's state could not be read; kept as %s, started empty", aside)

    async def _try_start(self) -> bool:
        command = _command(self.folder, self._port)
        with (self.folder / "anvil.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the coordinator, which stops the node last
                preexec_fn=_die_with(os.getpid()),
            )
        _note(self.folder, self._process.pid, self._port)
        try:
            async with asyncio.timeout(_START_S), Rpc(self.url) as rpc:
                await self._answers(rpc, self._process)
                await rpc.batch([("anvil_setBalance", (account, hex(FUNDS_WEI))) for account in self._fund])
        except NodeUnreachable, TimeoutError:
            await self._stop()
            return False
        return True

    async def _answers(self, rpc: Rpc, process: asyncio.subprocess.Process) -> None:
        """Wait for the first answer; raise ``NodeUnreachable`` when the node ends instead."""
        while True:
            try:
                await rpc.call("eth_chainId")
                return
            except NodeUnreachable:
                if process.returncode is not None:
                    raise
                await asyncio.sleep(0.02)

    async def _keep(self) -> None:
        """Start the node again whenever it ends by itself."""
        pause = Reachability("local chain")
        while True:
            assert self._process is not None
            status = await self._process.wait()
            _LOG.warning("the local chain ended (status %s); starting it again", status)
            try:
                await self._start()
                pause.found()
            except DevChainError as error:
                await asyncio.sleep(pause.lost(NodeUnreachable(str(error))))

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def find_anvil(start: Path | None = None) -> Path:
    """Return anvil's native binary from npm's folder or the path. Raises ``DevChainError``."""
    here = start or Path(__file__).resolve().parent
    for parent in (here, *here.parents):
        for modules in (parent / "node_modules", parent / "contracts" / "node_modules"):
            for binary in sorted(modules.glob("@foundry-rs/anvil-*/bin/anvil")):
                if os.access(binary, os.X_OK):
                    return binary
    if found := shutil.which("anvil"):
        return Path(found)
    raise DevChainError("anvil, the local chain's node, is not installed; run script/setup (or set chain.rpc_url)")


def _command(folder: Path, port: int) -> list[str]:
    return [
        str(find_anvil()),
        *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(LOCAL_CHAIN_ID), "--accounts", "0"),
        *("--hardfork", "osaka", "--enable-tx-gas-limit", "--no-request-size-limit"),
        *("--block-base-fee-per-gas", "0"),  # a repeated transaction must not be outbid on an empty chain
        *("--state", str(folder / "state.json"), "--state-interval", str(_STATE_INTERVAL_S)),
        *("--prune-history", str(_HISTORY_BLOCKS), "--quiet"),
    ]


def _prepare(folder: Path) -> int:
    """Lock the folder and end a node that a killed coordinator left; return the lock's handle."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise DevChainError(f"another coordinator already runs with {folder}; stop it first") from None
    _end_orphan(folder)
    return lock


def _end_orphan(folder: Path) -> None:
    """End the noted node if it still runs and really is ours, letting it write its state first."""
    pid = _noted(folder).get("pid", 0)
    for number, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
        if not _is_ours(pid, folder):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        _await_end(pid, folder, wait_s)


def _await_end(pid: int, folder: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while _is_ours(pid, folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_ours(pid: int, folder: Path) -> bool:
    """Tell whether the process is an anvil with this folder's state: a pid may be somebody else's by now."""
    if pid <= 0:
        return False
    try:
        if sys.platform == "linux":
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        else:
            ask = ["ps", "-o", "command=", "-p", str(pid)]
            shown = subprocess.run(ask, capture_output=True, text=True, check=False)  # noqa: S603 - nobody's input
            words = shown.stdout.split()
    except OSError:
        return False
    return str(folder / "state.json") in words


def _choose_port(folder: Path, fixed: int) -> int:
    """Return the fixed port, else the last one if it is free, else any. Raises ``DevChainError``."""
    if fixed:
        if not _is_free(fixed):
            raise DevChainError(f"port {fixed} is taken; free it or set chain.dev_port to another (0 for any)")
        return fixed
    last = _noted(folder).get("port", 0)
    if last and _is_free(last):
        return last
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _note(folder: Path, pid: int, port: int) -> None:
    (folder / "anvil.json").write_text(json.dumps({"pid": pid, "port": port}), "ascii")


def _noted(folder: Path) -> dict[str, int]:
    try:
        noted = json.loads((folder / "anvil.json").read_text("ascii"))
    except OSError, ValueError:
        return {}
    return {k: v for k, v in noted.items() if isinstance(v, int)} if isinstance(noted, dict) else {}


def _put_state_aside(folder: Path) -> Path | None:
    """Rename the state file out of the way when it is what the node complained of; else ``None``."""
    state = folder / "state.json"
    if not state.exists() or str(state) not in _last_words(folder):
        return None
    return state.replace(folder / "state.unreadable.json")


def _last_words(folder: Path) -> str:
    text = (folder / "anvil.log").read_text("utf-8", errors="replace").strip()
    return " ".join(text.split())[-600:] or "it says nothing"


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a child end when this process does, however that happens (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before prctl
            os._exit(1)

    return prepare
