"""What the Home Assistant tests share: a real coordinator, a meter, and a clock that can be moved.

The clock runs as fast as the real one and can be moved on: timers, timeouts and threads behave as always.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import freezegun
import pytest
from freezegun.api import TickingDateTimeFactory
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.community import NOON, Community
from tests.component.rig import Rig, set_meters
from tests.needs import pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport", "pytest_terminal_summary"]


class Ran:
    """Which tests of this run have passed, by their name from the project's root."""

    def __init__(self) -> None:
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test whose own part has passed."""
        if report.when == "call" and report.passed:
            self.passed.add(f"tests/component/{report.nodeid}")


def pytest_configure(config: pytest.Config) -> None:
    """Watch what passes; say nothing of each of the recorder's statements."""
    logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)
    config.pluginmanager.register(Ran(), "energy_trade_ran")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge the quality scale last: it takes the other tests at their word."""
    items.sort(key=lambda item: item.path.name == "test_quality_scale.py")


@pytest.fixture
def passed_tests(request: pytest.FixtureRequest) -> set[str]:
    """The tests of this run that have passed so far."""
    ran = request.config.pluginmanager.get_plugin("energy_trade_ran")
    assert isinstance(ran, Ran)
    return ran.passed


@pytest.fixture
def hass_config_dir(hass_tmp_config_dir: str) -> str:
    """Write nothing into the plugin's own folder."""
    return hass_tmp_config_dir


@pytest.fixture(autouse=True)
def _our_integration(enable_custom_integrations: None) -> None:
    """Let Home Assistant find the integration."""


@pytest.fixture
def clock() -> Iterator[TickingDateTimeFactory]:
    """A clock that starts at noon, seven seconds into an interval."""
    start = dt.datetime.fromtimestamp(NOON + 7, dt.UTC)
    with freezegun.freeze_time(start, tick=True) as moved:
        assert isinstance(moved, TickingDateTimeFactory)
        yield moved


@pytest.fixture
async def community(clock: TickingDateTimeFactory, socket_enabled: None, tmp_path: Path) -> AsyncIterator[Community]:
    """A running coordinator."""
    folder = tmp_path / "community"
    folder.mkdir()
    running = Community(folder)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def rig(hass: HomeAssistant, community: Community, clock: TickingDateTimeFactory) -> AsyncIterator[Rig]:
    """Home Assistant with a meter beside the coordinator; entries are unloaded at the end."""
    await hass.config.async_set_time_zone("UTC")
    set_meters(hass, "35600.120", "812.340")
    yield Rig(hass, community, clock)
    for entry in hass.config_entries.async_entries(DOMAIN):
        if entry.state is ConfigEntryState.LOADED:
            await hass.config_entries.async_unload(entry.entry_id)


@pytest.fixture
async def entry(rig: Rig) -> EnergyTradeConfigEntry:
    """A home that has joined, with money, connected live."""
    return await rig.join()
