"""Rules of the quality scale that are about the code itself, read from it."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from custom_components.energy_trade.const import DOMAIN, PLATFORMS, POLL_ALONE, POLL_CONNECTED
from custom_components.energy_trade.coordinator import Connection, EnergyTradeConfigEntry, EnergyTradeData
from custom_components.energy_trade.protocol.client import CoordinatorClient
from tests.component.rig import Rig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "custom_components" / DOMAIN
SHOWN_ERRORS = {
    "ConfigEntryAuthFailed",
    "ConfigEntryError",
    "ConfigEntryNotReady",
    "HomeAssistantError",
    "NotWrittenError",
    "ServiceValidationError",
    "UpdateFailed",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the integration's own modules, without the homes' logic and the protocol."""
    for path in sorted(FOLDER.rglob("*.py")):
        if path.relative_to(FOLDER).parts[0] not in {"household", "protocol"}:
            yield path.name, ast.parse(path.read_bytes())


def test_the_common_modules_are_where_everybody_looks_for_them() -> None:
    for name in ("coordinator.py", "entity.py", "const.py", "config_flow.py", "diagnostics.py", "repairs.py"):
        assert (FOLDER / name).is_file(), name


def test_an_entrys_own_is_in_its_runtime_data_and_nowhere_else() -> None:
    """``hass.data`` holds only what all entries share, under a typed key."""
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and _is_shared_data(node.value):
                _is_typed_key(node.slice, name)
            elif (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_shared_data(node.func.value)
            ):
                _is_typed_key(node.args[0], name)


async def test_a_loaded_entry_has_what_is_its_own(entry: EnergyTradeConfigEntry) -> None:
    assert type(entry.runtime_data) is EnergyTradeData


def _is_shared_data(node: ast.expr) -> bool:
    return ast.unparse(node) in {"hass.data", "self.hass.data", "self._hass.data", "call.hass.data"}


def _is_typed_key(node: ast.expr, module: str) -> None:
    """Fail unless the key is a constant (a ``HassKey``), and not the domain, under which entries once were kept."""
    key = ast.unparse(node)
    assert key != "DOMAIN", f"{module} keeps an entry in hass.data"
    assert re.fullmatch(r"_?[A-Z][A-Z_]+", key), f"{module}: hass.data[{key}]"


def test_polling_is_a_slow_backstop() -> None:
    """Home Assistant asks for a minute at least of whoever polls a service; the stream tells the rest."""
    assert timedelta(minutes=1) <= POLL_ALONE < POLL_CONNECTED
    assert timedelta(minutes=5) <= POLL_CONNECTED


@pytest.mark.parametrize("platform", [str(platform) for platform in PLATFORMS])
def test_each_platform_says_how_many_updates_it_does_at_once(platform: str) -> None:
    tree = ast.parse((FOLDER / f"{platform}.py").read_bytes())
    assigned = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    assert any(isinstance(target, ast.Name) and target.id == "PARALLEL_UPDATES" for target in assigned)


def test_every_error_that_people_see_is_translated() -> None:
    """An error of Home Assistant's kinds names its translation, or passes one on that does."""
    seen = 0
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                error = ast.unparse(node.exc.func)
                if error in SHOWN_ERRORS:
                    seen += 1
                    given = {keyword.arg for keyword in node.exc.keywords}
                    assert {"translation_domain", "translation_key"} <= given, f"{name}:{node.lineno} {error}"
    assert seen > 10, "the search finds them"


def test_somebody_owns_the_integration() -> None:
    owners = json.loads((FOLDER / "manifest.json").read_text())["codeowners"]
    assert owners
    assert all(re.fullmatch(r"@[\w-]+(/[\w-]+)?", owner) for owner in owners)


def test_types_are_strict_everywhere() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    assert "custom_components" in settings["files"]
    loose = [module for override in settings.get("overrides", ()) for module in override["module"]]
    assert not [module for module in loose if module.startswith("custom_components")]
    assert (FOLDER / "py.typed").is_file()


def test_every_call_of_the_client_is_asynchronous() -> None:
    for name, member in inspect.getmembers(CoordinatorClient, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member), name


async def test_the_client_uses_home_assistants_session(entry: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    assert entry.runtime_data.coordinator.client._session is async_get_clientsession(hass)


def test_the_coverage_gate_stands() -> None:
    text = (ROOT / "script/lib/tests").read_text(encoding="utf-8")
    assert re.search(r"coverage report .*custom_components.*--fail-under=97", text)
    assert re.search(r"coverage report .*config_flow.*--fail-under=100", text)
    assert "--cov-branch" in text


async def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    rig: Rig, entry: EnergyTradeConfigEntry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "custom_components.energy_trade")
    coordinator = entry.runtime_data.coordinator
    await rig.community.stop()
    await rig.until(lambda: coordinator.connection is Connection.OFFLINE)
    for _ in range(3):
        await coordinator.async_refresh()
    assert len([r for r in caplog.records if "Error fetching" in r.message]) == 1
    await rig.community.start()
    for _ in range(2):
        await coordinator.async_refresh()
    assert len([r for r in caplog.records if "Fetching" in r.message and "recovered" in r.message]) == 1
