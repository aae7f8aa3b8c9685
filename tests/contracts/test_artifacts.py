"""What Python deploys is what the Solidity sources say, made by the compiler that is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coordinator.chain import abi
from coordinator.chain.plan import PLACES
from coordinator.protocol.keccak import keccak256

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
ARTIFACTS = ROOT / "coordinator" / "chain" / "artifacts"
NAMES = sorted(path.stem for path in ARTIFACTS.glob("*.json") if path.stem not in {"roles", "networks"})
CODE_BYTES_MAX = 49_152  # EIP-3860: creation code that a chain takes
RUNTIME_BYTES_MAX = 24_576  # EIP-170: a contract's code that a chain takes


@pytest.mark.timeout(300)
def test_artifacts_are_fresh() -> None:
    done = _run(str(CONTRACTS / "tools" / "artifacts"), "--check")
    assert done.returncode == 0, done.stderr


def test_solc_says_its_own_version() -> None:
    claimed = _run(str(CONTRACTS / "tools" / "solc"), "--version").stdout.splitlines()[1]
    actual = _run("node", "-e", 'console.log(require("solc").version())').stdout.strip()
    version = re.match(r"[0-9.]+\+commit\.[0-9a-f]+", actual)
    assert version is not None
    assert claimed.startswith(f"Version: {version.group()}.")


@pytest.mark.parametrize("name", NAMES)
def test_creation_code_can_be_deployed(name: str) -> None:
    code = bytes.fromhex(_artifact(name)["bytecode"].removeprefix("0x"))
    assert 0 < len(code) <= CODE_BYTES_MAX
    assert 0 < _artifact(name)["runtime"]["bytes"] <= RUNTIME_BYTES_MAX


def test_every_contract_of_ours_has_an_artifact() -> None:
    sources = [path for path in (CONTRACTS / "src").rglob("*.sol") if path.parent.name in {"src", "dev"}]
    declared = {path.stem for path in sources if re.search(r"^contract \w+", path.read_text("utf-8"), re.MULTILINE)}
    assert declared == set(NAMES) == set(abi.CONTRACTS) == set(PLACES)


@pytest.mark.parametrize("name", NAMES)
def test_the_creation_code_holds_the_runtime_code(name: str) -> None:
    """What ``--verify`` expects on a chain is what the creation code puts there, immutables zero."""
    code, runtime = abi.contract(name).bytecode, abi.contract(name).runtime
    begins = [match.start() for match in re.finditer(b"\x60\x80\x60\x40\x52", code)]  # as all of solc's code does
    (at,) = [begin for begin in begins if runtime.is_code(code[begin : begin + runtime.length])]
    for start, length in runtime.immutables:
        assert code[at + start :][:length] == bytes(length)


def test_networks_are_those_of_the_contracts() -> None:
    source = json.loads((CONTRACTS / "networks.json").read_text(encoding="utf-8"))
    assert json.loads((ARTIFACTS / "networks.json").read_text(encoding="utf-8")) == source
    assert len({network["chain_id"] for network in source.values()}) == len(source)


def test_roles_name_functions_of_the_contracts() -> None:
    roles = json.loads((ARTIFACTS / "roles.json").read_text(encoding="utf-8"))
    assert sorted(role["id"] for role in roles.values()) == [1, 2, 3, 4, 5, 6]
    for role in roles.values():
        for function in role["functions"]:
            assert function["function"] in {entry.signature for entry in abi.functions_of(function["contract"])}
            assert function["selector"] == "0x" + keccak256(function["function"].encode())[:4].hex()


def test_seed_interfaces_are_implemented() -> None:
    """The functions that the interfaces of the specification name, with their types."""
    assert _SEED.keys() <= set(NAMES)
    for contract, wanted in _SEED.items():
        assert wanted <= _signatures(contract)


def _artifact(name: str) -> dict[str, Any]:
    artifact: dict[str, Any] = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
    assert artifact["contract"] == name
    return artifact


def _signatures(contract: str) -> set[str]:
    functions = [entry for entry in _artifact(contract)["abi"] if entry["type"] == "function"]
    return {f"{f['name']}({','.join(i['type'] for i in f['inputs'])})" for f in functions}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    bins = f"{ROOT / '.venv' / 'bin'}:{ROOT / 'node_modules' / '.bin'}"
    env = {**os.environ, "PATH": f"{bins}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=CONTRACTS, env=env, capture_output=True, text=True, check=False)


_SEED = {
    "EnergyToken": {
        "mintEnergyTokens(address,uint256,uint8)",
        "burnEnergyTokens(address,uint256)",
        "transferEnergy(address,address,uint256)",
    },
    "GridManagement": {
        "updateGridMetrics(uint256,uint256,uint256)",
        "getGridStatus(uint256)",
        "triggerLoadBalancing(uint256)",
    },
    "P2PTrading": {
        "createSellOrder(uint256,uint256,uint256)",
        "matchOrder(uint256)",
        "settleTrade(uint256)",
    },
    "SmartMeterRegistry": {
        "registerMeter(uint256,bytes)",
        "submitReading(uint256,uint256,bytes)",
        "verifyReading(uint256,uint256,bytes)",
    },
}
