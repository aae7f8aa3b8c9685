import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.simulation.processes import LOOPBACK, Child, Ports, ProcessFailed


def test_ports_stay_the_same_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = Ports(path)
    taken = [first.take("coordinator"), first.take("mqtt")]
    assert [Ports(path).take("coordinator"), Ports(path).take("mqtt")] == taken


def test_a_taken_port_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        with pytest.raises(ProcessFailed, match="is taken; free it"):
            Ports(tmp_path / "ports.json").take("coordinator", other.getsockname()[1])


def test_another_port_for_the_same_folder_is_refused(tmp_path: Path) -> None:
    kept = Ports(tmp_path / "ports.json").take("coordinator")
    with pytest.raises(ProcessFailed, match=f"uses port {kept}"):
        Ports(tmp_path / "ports.json").take("coordinator", kept + 1)


async def test_stopping_a_child_ends_its_whole_group(tmp_path: Path) -> None:
    grandchild = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    child = await Child.start("the family", [sys.executable, "-c", command], tmp_path / "log")
    await until(lambda: bool((tmp_path / "log").read_text().strip()))
    await child.stop(patience_s=5)
    assert not child.running
    await until(lambda: not is_alive(int((tmp_path / "log").read_text())))


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    command = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = await Child.start("the deaf", [sys.executable, "-c", command], tmp_path / "log")
    await until(lambda: bool((tmp_path / "log").read_text()))
    await child.stop(patience_s=0.1)
    assert child.process.returncode == -signal.SIGKILL


async def test_a_dead_child_is_told_with_its_log_file(tmp_path: Path) -> None:
    child = await Child.start("the unlucky", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
    await child.process.wait()
    with pytest.raises(ProcessFailed, match=f"the unlucky ended with status 3; read {tmp_path / 'log'}"):
        child.check()


async def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    start = (
        "import asyncio, sys; from pathlib import Path; from coordinator.simulation.processes import Child\n"
        "async def main():\n"
        "    sleeper = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "    child = await Child.start('sleeper', sleeper, Path(sys.argv[1]))\n"
        "    print(child.process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await Child.start("the parent", [sys.executable, "-c", start, str(tmp_path / "c")], tmp_path / "log")
    await until(lambda: bool((tmp_path / "log").read_text().strip()))
    pid = int((tmp_path / "log").read_text())
    parent.process.kill()
    await parent.process.wait()
    await until(lambda: not is_alive(pid))


async def until(done: Callable[[], bool]) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen within ten seconds")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError, FileNotFoundError:
        return False
