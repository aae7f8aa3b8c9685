"""``energy-trade deploy`` as operators meet it, against real nodes."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordinator.app import running
from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import DevChain
from coordinator.chain.keys import KeyFileError, load_or_create_key
from coordinator.chain.networks import network_of
from coordinator.chain.rpc import Rpc, quantity
from coordinator.cli import main
from coordinator.config import Config, parse
from coordinator.premises import StartError, lock

BASE = network_of(8453)
ADMIN, GUARDIAN, COMMUNITY = ("0x" + digit * 40 for digit in "abd")
CONFIG = f"""
[chain]
network = "base"

[contracts]
admin = "{ADMIN}"
guardian = "{GUARDIAN}"
community = "{COMMUNITY}"
"""
ZEROS = "0x60a06000f3"  # returns 160 zero bytes: a feed's round
ANY_NUMBER = "0x602a60005260206000f3"
CONDITION = (
    "EnergyLedger.paused() is False\nReadingDisputes.isBonded(settler) is False:"
    " what a settler signs falsely costs it nothing before it posts its bond\n"
)
AGREED = "10 contracts on base: code, terms, wiring, roles and delays are as this repository says\n"


@dataclass(frozen=True, slots=True)
class Abroad:
    """A node that looks like Base's, and an operator's folder."""

    rpc: Rpc
    folder: Path
    operator: str

    async def deploy(self, *more: str) -> tuple[int, str, str]:
        """Run the command; return its exit status and what it printed."""
        process = await self.start(*more)
        output, error = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), error.decode()

    async def alone(self, *more: str) -> tuple[int, str, str]:
        """Run the command without the node's address."""
        process = await self.start(*more, url=None)
        output, error = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), error.decode()

    async def start(self, *more: str, url: str | None = "") -> asyncio.subprocess.Process:
        where = ["--config", str(self.folder / "c.toml"), "--data", str(self.folder / "data")]
        where += [] if url is None else ["--rpc-url", url or self.rpc.url]
        command = [sys.executable, "-m", "coordinator", "deploy", *where, *more]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *command, stdout=pipe, stderr=pipe, cwd=Path(__file__).parents[1], start_new_session=True
        )

    async def nonce(self, block: str = "latest") -> int:
        return quantity(await self.rpc.call("eth_getTransactionCount", self.operator, block))

    def kept(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.folder / "data" / "deployment.json").read_text("utf-8"))
        return values


@pytest.fixture
async def abroad(tmp_path: Path) -> AsyncIterator[Abroad]:
    assert BASE.currency
    assert BASE.sequencer_uptime_feed
    assert BASE.data_fee_oracle
    (tmp_path / "c.toml").write_text(CONFIG, "utf-8")
    operator = load_or_create_key(tmp_path / "data" / "operator.key").address
    async with DevChain(tmp_path / "base", fund=[operator]) as chain, Rpc(chain.url) as rpc:
        money = await rpc.call("eth_call", {"data": hexed(contract("DemoCurrency").creation())}, "latest")
        codes = (BASE.currency, money), (BASE.sequencer_uptime_feed, ZEROS), (BASE.data_fee_oracle, ANY_NUMBER)
        for place, code in codes:
            await rpc.call("anvil_setCode", place, code)
        await rpc.call("anvil_setChainId", BASE.chain_id)
        yield Abroad(rpc, tmp_path, operator)


async def test_a_dry_run_tells_all_and_sends_nothing(abroad: Abroad) -> None:
    status, output, error = await abroad.deploy("--dry-run")
    assert (status, error) == (0, "")
    assert f"network    base (chain id 8453), {abroad.rpc}" in output
    assert f"currency   {BASE.currency}\n" in output
    for line in (
        "fixed for ever, once the contracts are made:",
        "  prices     from 0 to 1000000 micro per kWh",
        "  answers    for a shortfall up to 1000000, for unused energy down to 0 micro per kWh",
        "  metered    at most 250000 Wh for each account in an interval",
        f"  fees       at most 0 micro per kWh, to {abroad.operator}",
        f"  exit       a withdrawal without the operator waits {Config().exit_delay_s} s",
        "  settling   an interval is settled within 2592000 s",
        f"  community  {COMMUNITY} gets what a settler who lied forfeits",
        "  bounty     25000000 micro for a proof",
        "  bond       stays 2592000 s after notice",
        f"  sequencer  uptime feed {str(BASE.sequencer_uptime_feed).lower()}, 3600 s of grace",
    ):
        assert f"{line}\n" in output
    assert "make EnergyLedger" in output
    assert "hand over the admin's role" in output
    assert f"role  admin       {ADMIN}  after 172800 s" in output
    assert f"role  operator    {abroad.operator}  at once        the operator" in output
    assert "data fee   0." in output
    assert output.endswith("nothing was sent\n")
    assert quantity(await abroad.rpc.call("eth_blockNumber")) == 0
    assert await abroad.nonce("pending") == 0
    assert not (abroad.folder / "data" / "deployment.json").exists()


async def test_a_dry_run_says_what_stands_in_the_way(abroad: Abroad) -> None:
    await abroad.rpc.call("anvil_setBalance", abroad.operator, hex(10**12))
    status, _, error = await abroad.deploy("--dry-run")
    assert status == 1
    assert f"the operator's account {abroad.operator} needs up to 0." in error
    status, _, told = await abroad.deploy()
    assert (status, told.splitlines()[-1]) == (1, "nothing was sent")
    assert await abroad.nonce("pending") == 0
    status, _, error = await abroad.deploy("--network", "optimism")
    assert (status, error) == (
        1,
        "energy-trade: optimism has the chain id 10, the node's is 8453: set chain.rpc_url or --rpc-url right\n",
    )


async def test_a_deployment_that_was_killed_goes_on_where_it_stood(abroad: Abroad) -> None:
    await abroad.rpc.call("evm_setAutomine", False)
    await abroad.rpc.call("evm_setBlockGasLimit", hex(15_000_000))
    process = await abroad.start()
    async with asyncio.timeout(30):
        while await abroad.nonce("pending") == 0:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.05)
    await abroad.rpc.call("evm_mine")
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    mined, kept = await abroad.nonce(), abroad.kept()
    count = len(json.loads((abroad.folder / "data" / "deployment.transactions.json").read_text("utf-8")))
    assert 0 < mined < count
    await abroad.rpc.call("anvil_dropAllTransactions")

    status, output, _ = await abroad.deploy("--dry-run")
    assert status == 0
    assert f"{mined} of {count} transactions are mined" in output
    assert await abroad.nonce("pending") == mined

    await abroad.rpc.call("evm_setAutomine", True)
    status, output, error = await abroad.deploy()
    assert status == 0, error
    assert abroad.kept() == kept
    assert str(kept["addresses"]["ledger"]) in output
    assert await abroad.nonce() == count
    status, output, error = await abroad.deploy("--verify")
    assert (status, error) == (0, "")
    assert output == CONDITION + AGREED
    before = seen(abroad.folder)
    status, output, error = await abroad.deploy("--dry-run")
    assert (status, error) == (0, "")
    assert output.endswith(f"all {count} transactions are mined: nothing is left to send\n")
    assert seen(abroad.folder) == before


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what a folder holds, with the time of its last change."""
    files = [path for path in (folder / "data").rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


async def test_a_deployment_is_compared_at_its_own_node_and_nothing_is_written(abroad: Abroad) -> None:
    status, output, error = await abroad.deploy()
    assert status == 0, error
    told = output.splitlines()[-1].partition("energy-trade deploy ")[2]
    where = ["--config", str(abroad.folder / "c.toml"), "--data", str(abroad.folder / "data")]
    assert shlex.split(told) == [*where, "--network", "base", "--verify"]
    (abroad.folder / "data" / "operator.key").unlink()
    (abroad.folder / "data" / "coordinator.lock").unlink()
    before = seen(abroad.folder)
    assert await abroad.alone("--verify") == (0, CONDITION + AGREED, "")
    assert await abroad.deploy("--verify") == (0, CONDITION + AGREED, "")
    assert seen(abroad.folder) == before
    for more in ([], ["--dry-run"]):
        status, _, error = await abroad.alone(*more)
        assert (status, "operator.key is missing, the key of the operator" in error) == (1, True)
    assert not (abroad.folder / "data" / "operator.key").exists()


async def test_a_deployment_goes_on_at_its_own_node(abroad: Abroad) -> None:
    assert (await abroad.deploy())[0] == 0
    nonce = await abroad.nonce()
    status, output, error = await abroad.alone()
    assert status == 0, error
    assert f"network    base (chain id 8453), {abroad.rpc}" in output
    assert not (abroad.folder / "data" / "chain").exists()
    assert await abroad.nonce() == nonce
    for more in ([], ["--dry-run"], ["--verify"]):
        status, output, error = await abroad.alone("--rpc-url", "http://127.0.0.1:9", *more)
        assert (status, output) == (1, "")
        assert error.startswith("energy-trade: the node at 127.0.0.1:9 does not answer")


async def test_a_coordinator_without_its_public_node_starts_no_chain_of_its_own(abroad: Abroad) -> None:
    assert (await abroad.deploy())[0] == 0
    data = abroad.folder / "data"
    tree = {"data": str(data), "http": {"port": 0}}
    with pytest.raises(StartError, match=rf"the contracts of {data} are on base: name --rpc-url \(chain.rpc_url\)"):
        await running(parse(tree)).__aenter__()
    with pytest.raises(StartError, match="base is no local chain: name --rpc-url"):
        await running(parse(tree | {"chain": {"network": "base"}})).__aenter__()
    assert not (data / "chain").exists()


async def test_another_chain_network_or_configuration_is_told_in_every_way(abroad: Abroad) -> None:
    assert (await abroad.deploy())[0] == 0
    text = CONFIG.replace("[contracts]", "[contracts]\nbounty_micro = 1")
    (abroad.folder / "c.toml").write_text(text, "utf-8")
    sentence = "the contracts were made with bounty_micro 25000000, now it is 1"
    status, output, _ = await abroad.deploy("--verify")
    assert (status, output.splitlines()) == (1, [sentence, *CONDITION.splitlines()])
    for more in ([], ["--dry-run"]):
        status, _, error = await abroad.deploy(*more)
        assert (status, f"{sentence}; put that back" in error) == (1, True)
    for more in ([], ["--dry-run"], ["--verify"]):
        status, _, error = await abroad.deploy("--network", "optimism", *more)
        assert (status, "optimism has the chain id 10, the node's is 8453" in error) == (1, True)
    await abroad.rpc.call("anvil_setChainId", 10)
    for more in ([], ["--dry-run"], ["--verify"]):
        status, _, error = await abroad.deploy(*more)
        assert (status, "the contracts are on chain 8453, this node is 10: " in error) == (1, True)


async def test_a_dry_run_says_which_contract_is_gone(abroad: Abroad) -> None:
    assert (await abroad.deploy())[0] == 0
    await abroad.rpc.call("anvil_setCode", abroad.kept()["addresses"]["grid"], "0x")
    status, _, error = await abroad.deploy("--dry-run")
    assert (status, "no contract at grid 0x" in error) == (1, True)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_public_network_needs_its_node(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    assert main(["deploy", "--data", str(data), "--network", "sepolia", *more]) == 1
    assert "sepolia is no local chain: name --rpc-url" in capsys.readouterr().err
    assert main(["deploy", "--data", str(data), "--network", "moon", *more]) == 1
    assert "no network is called 'moon'" in capsys.readouterr().err
    assert not data.exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--verify"]])
def test_a_file_is_no_data_folder(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("", "utf-8")
    assert main(["deploy", "--data", str(tmp_path / "data"), *more]) == 1
    assert f"{tmp_path / 'data'} is a file and no data directory: name another --data" in capsys.readouterr().err
    assert main(["deploy", "--data", str(tmp_path / "data" / "below"), *more]) == 1
    assert capsys.readouterr().err.startswith("energy-trade: ")
    with pytest.raises(StartError, match=r"is no data directory \(.*\): name another --data"):
        lock(tmp_path / "data")
    with pytest.raises(KeyFileError, match="can be neither read nor made"):
        load_or_create_key(tmp_path / "data" / "operator.key")


def test_a_lost_local_chain_is_told_and_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["deploy", "--data", str(tmp_path / "data")]
    assert main(data) == 0
    assert capsys.readouterr().out.endswith(f"energy-trade {shlex.join(data)} --verify\n")
    (tmp_path / "data" / "chain" / "state.json").unlink()
    before = seen(tmp_path)
    assert main([*data, "--dry-run"]) == 0
    count = len(json.loads((tmp_path / "data" / "deployment.transactions.json").read_text("utf-8")))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == f"0 of {count} transactions are mined; energy-trade {shlex.join(data)} sends the others"
    assert main([*data, "--verify"]) == 1
    assert "there is no code" in capsys.readouterr().out
    assert seen(tmp_path) == before


async def test_verify_names_a_wrong_role_and_a_changed_code(abroad: Abroad) -> None:
    assert (await abroad.deploy())[0] == 0
    (abroad.folder / "c.toml").write_text(CONFIG.replace(GUARDIAN, COMMUNITY), "utf-8")
    status, output, _ = await abroad.deploy("--verify")
    assert status == 1
    assert output.splitlines() == [
        f"the role guardian: {GUARDIAN} holds it and should not",
        f"the role guardian: {COMMUNITY} does not hold it and should",
        *CONDITION.splitlines(),
    ]
    ledger = str(abroad.kept()["addresses"]["ledger"])
    await abroad.rpc.call("anvil_setCode", ledger, "0x600160005260206000f3")
    status, output, _ = await abroad.deploy("--verify")
    assert status == 1
    assert output.startswith(f"EnergyLedger {ledger}: its code is not this repository's (10 bytes there, ")


def test_a_local_deployment_is_rehearsed_made_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["deploy", "--data", str(tmp_path / "data")]
    assert main([*data, "--verify"]) == 1
    assert "has no contracts yet" in capsys.readouterr().err
    assert main([*data, "--dry-run"]) == 0
    assert "(play money)" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["operator.key"]
    assert main(data) == 0
    assert "DemoCurrency" in capsys.readouterr().out
    assert main([*data, "--verify"]) == 0
    assert "11 contracts on local" in capsys.readouterr().out
    assert main([*data, "--dry-run"]) == 0
    assert "transactions are mined: nothing is left to send" in capsys.readouterr().out


async def test_a_coordinator_at_work_can_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = parse({"data": str(tmp_path), "http": {"port": 0}})
    async with running(config):
        assert await asyncio.to_thread(main, ["deploy", "--data", str(tmp_path), "--verify"]) == 0
        assert "11 contracts on local" in capsys.readouterr().out
        assert await asyncio.to_thread(main, ["deploy", "--data", str(tmp_path)]) == 1
        assert "Another coordinator already runs" in capsys.readouterr().err


def test_the_networks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--list-networks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["local", "31337", "local"]
    assert ["arbitrum", "42161", "layer-2"] in [line.split() for line in lines]
