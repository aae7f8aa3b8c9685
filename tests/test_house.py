"""The house: its import law, its measures, its locks and its wheel."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house import breaches, third_party

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_house_keeps_its_laws() -> None:
    assert breaches(ROOT) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        (
            "coordinator/market/book.py",
            "from coordinator.settlement.rows import Row",
            "market must not import settlement",
        ),
        ("coordinator/market/book.py", "from ..ledger import log", "market must not import ledger"),
        ("coordinator/market/book.py", "import highspy", "market must not import highspy"),
        ("coordinator/market/book.py", "import os.path", "market is pure and must not import os"),
        ("coordinator/market/book.py", "fee = 0.5", "market counts in integers, not 0.5"),
        ("coordinator/settlement/rows.py", "import time", "settlement is pure and must not import time"),
        (
            "coordinator/settlement/rows.py",
            "import datetime\nnow = datetime.datetime.now(datetime.UTC)",
            "settlement is pure and must not call datetime.now",
        ),
        ("coordinator/edge/http.py", "import coordinator.grid.network", "edge and grid meet in app.py only"),
        ("coordinator/chain/sender.py", "from coordinator import market", "chain imports up, from market"),
        ("coordinator/ledger/log.py", "from coordinator.app import App", "ledger imports up, from app"),
        ("coordinator/extra/thing.py", "", "extra is no room of the house"),
        ("coordinator/edge/http.py", "import homeassistant.core", "edge must not import homeassistant"),
        (
            "custom_components/energy_trade/protocol/keys.py",
            "import web3",
            "protocol must not import web3",
        ),
        (
            "custom_components/energy_trade/protocol/keys.py",
            "from homeassistant.core import callback",
            "protocol must not import homeassistant",
        ),
        (
            "custom_components/energy_trade/household/agent.py",
            "from .. import sensor",
            "household must not import component",
        ),
        (
            "custom_components/energy_trade/sensor.py",
            "from coordinator.market import book",
            "component must not import market",
        ),
        ("coordinator/ledger/log.py", "def f():\n" + "    pass\n" * 61, "f has 62 lines, more than 60"),
        ("tests/test_long.py", "pass\n" * 501, "501 lines, more than 500"),
    ],
)
def test_the_law_catches_a_breach(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    _plant(tmp_path, file, source)
    assert any(complaint in breach for breach in breaches(tmp_path)), breaches(tmp_path)


def test_the_law_catches_a_circle(tmp_path: Path) -> None:
    _plant(tmp_path, "coordinator/config.py", "from coordinator.clock import Clock")
    _plant(tmp_path, "coordinator/clock.py", "from .config import Config")
    assert breaches(tmp_path) == ["a circle of rooms: clock - config"]


def test_the_law_allows_what_is_right(tmp_path: Path) -> None:
    _plant(
        tmp_path,
        "coordinator/market/book.py",
        "import heapq\nfrom ..protocol.units import MICRO\nfrom .orders import Order",
    )
    _plant(tmp_path, "coordinator/app.py", "from coordinator.edge import http\nimport coordinator.grid.network")
    _plant(tmp_path, "coordinator/cli.py", "from coordinator.app import App")
    _plant(
        tmp_path,
        "custom_components/energy_trade/sensor.py",
        "import homeassistant\nfrom .household.policy import Policy",
    )
    _plant(tmp_path, "custom_components/energy_trade/protocol/client.py", "import json\nimport aiohttp")
    assert breaches(tmp_path) == []


def test_what_the_coordinator_imports_is_declared() -> None:
    declared = {_name(requirement) for requirement in PROJECT["project"]["dependencies"]}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        module for module in third_party(ROOT) if not declared & {_name(name) for name in providers.get(module, [])}
    }
    assert undeclared == set()


def test_pins_are_home_assistants_own() -> None:
    """What a `hass` process would install by itself has the version that it would install."""
    installed = Path(str(importlib.metadata.distribution("homeassistant").locate_file("homeassistant")))
    wanted = set((installed / "package_constraints.txt").read_text(encoding="utf-8").lower().splitlines())
    for manifest in (installed / "components").glob("*/manifest.json"):
        wanted |= {pin.lower() for pin in json.loads(manifest.read_text(encoding="utf-8")).get("requirements", [])}
    pins = {pin.lower() for pin in PROJECT["dependency-groups"]["ha"]}
    assert {pin for pin in pins if not pin.startswith("pytest-")} <= wanted


@pytest.mark.parametrize(
    "lock", [*ROOT.glob("requirements/*.txt"), ROOT / "package-lock.json"], ids=lambda lock: lock.name
)
def test_a_lock_names_no_host(lock: Path) -> None:
    addresses = re.findall(r"https?://\S+", lock.read_text(encoding="utf-8"))
    assert [address for address in addresses if "funding" not in address and "sponsor" not in address] == []


@pytest.mark.parametrize("name", ["protocol", "household"])
def test_a_link_leads_into_the_integration(name: str) -> None:
    link = ROOT / "coordinator" / name
    assert link.readlink() == Path("../custom_components/energy_trade") / name
    assert link.is_dir()


def test_the_wheel_holds_files_where_the_checkout_has_links(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("coordinator", "custom_components"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = (path for path in (ROOT / "coordinator").rglob("*", recurse_symlinks=True) if path.is_file())
    ours = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert ours - packed == set()
    assert not any(name.startswith(("tests/", "custom_components/")) for name in packed)


def _plant(root: Path, file: str, source: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
