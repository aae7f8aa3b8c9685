"""The local node: it keeps its state, dies with its parent, and is replaced when orphaned."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import FUNDS_WEI, DevChain, DevChainError, find_anvil
from coordinator.chain.rpc import NodeUnreachable, Rpc, RpcError, quantity
from coordinator.chain.transactions import Call, Fees, sign
from coordinator.protocol.keys import AccountKey
from tests.chain.support import until

RUN = """
import asyncio, sys
from pathlib import Path
from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import DevChain
async def main():
    async with DevChain(Path(sys.argv[1])) as chain:
        print(chain.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("ascii").split(")")[1][:3]
    except FileNotFoundError:
        return False


async def head(url: str) -> dict[str, str]:
    async with Rpc(url) as rpc:
        block: dict[str, str] = await rpc.call("eth_getBlockByNumber", "latest", False)
        return block


async def test_state_and_port_are_kept_across_restarts(tmp_path: Path) -> None:
    async with DevChain(tmp_path, fund=["0x" + "12" * 20]) as chain, Rpc(chain.url) as rpc:
        first = chain.url
        assert quantity(await rpc.call("eth_chainId")) == 31337
        assert quantity(await rpc.call("eth_getBalance", "0x" + "12" * 20, "latest")) == FUNDS_WEI
        await rpc.call("anvil_mine", "0x5")
        before = await head(chain.url)
    async with DevChain(tmp_path) as chain:
        after = await head(chain.url)
        assert chain.url == first
        assert (after["number"], after["hash"]) == (before["number"], before["hash"]) == ("0x5", before["hash"])


async def test_a_transaction_has_a_gas_limit_and_p256_is_there(chain: DevChain, rpc: Rpc, operator: AccountKey) -> None:
    too_much = sign(operator, 31337, 0, Call(operator.address, b""), 2**24 + 1, Fees(1, 1))
    with pytest.raises(RpcError, match="gas"):
        await rpc.call("eth_sendRawTransaction", hexed(too_much.raw))
    # EIP-7951 answers nothing to a wrong signature, but costs 6,900: a plain address costs nothing.
    gas = await rpc.call("eth_estimateGas", {"to": "0x" + "100".zfill(40), "data": "0x" + "01" * 160})
    assert quantity(gas) > 21_000 + 6_900


async def test_node_that_dies_is_started_again_on_the_same_port(chain: DevChain) -> None:
    first = chain.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: chain.pid != first)
    await until_answers(chain.url)


async def until_answers(url: str) -> None:
    async with asyncio.timeout(10), Rpc(url) as rpc:
        while True:
            try:
                await rpc.call("eth_chainId")
                return
            except NodeUnreachable:
                await asyncio.sleep(0.05)


async def test_node_dies_with_a_killed_coordinator_and_the_next_one_starts(tmp_path: Path) -> None:
    coordinator = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, tmp_path, stdout=subprocess.PIPE)
    assert coordinator.stdout is not None
    node = int(await coordinator.stdout.readline())
    with pytest.raises(DevChainError, match="another coordinator already runs"):
        await DevChain(tmp_path).__aenter__()
    coordinator.kill()
    await coordinator.wait()
    async with DevChain(tmp_path) as chain:
        await until(lambda: not is_alive(node))
        assert chain.pid != node
        await head(chain.url)


async def test_node_dies_with_a_killed_coordinator_also_when_none_follows(tmp_path: Path) -> None:
    coordinator = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, tmp_path, stdout=subprocess.PIPE)
    assert coordinator.stdout is not None
    node = int(await coordinator.stdout.readline())
    coordinator.kill()
    await coordinator.wait()
    await until(lambda: not is_alive(node))


async def test_orphan_is_ended_before_a_new_node_starts(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(find_anvil()), "--port", str(port), "--state", str(tmp_path / "state.json"), "--quiet"]
    orphan = await asyncio.create_subprocess_exec(*command)
    await until_answers(f"http://127.0.0.1:{port}")
    (tmp_path / "anvil.json").write_text(json.dumps({"pid": orphan.pid, "port": port}), "ascii")
    async with DevChain(tmp_path) as chain:
        assert chain.pid != orphan.pid
    assert await orphan.wait() == 0  # it had time to write its state


async def test_stale_note_with_the_pid_of_another_process_harms_nobody(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "30")
    (tmp_path / "anvil.json").write_text(json.dumps({"pid": stranger.pid, "port": 1}), "ascii")
    async with DevChain(tmp_path) as chain:
        await head(chain.url)
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_unreadable_state_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state.json").write_text('{"block": {"number"', "ascii")
    async with DevChain(tmp_path) as chain:
        assert (await head(chain.url))["number"] == "0x0"
    assert (tmp_path / "state.unreadable.json").read_text("ascii") == '{"block": {"number"'
    assert "started empty" in caplog.text


async def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DevChainError, match=f"port {port} is taken"):
            await DevChain(tmp_path, port=port).__aenter__()


def test_missing_node_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevChainError, match="run script/setup"):
        find_anvil(tmp_path)
