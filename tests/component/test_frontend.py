"""The cards are served under a name that changes with them, and listed once among the dashboards' resources."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from homeassistant.components.frontend import DATA_EXTRA_MODULE_URL
from homeassistant.components.lovelace.const import LOVELACE_DATA
from homeassistant.components.lovelace.resources import ResourceYAMLCollection
from homeassistant.config_entries import ConfigEntryDisabler
from homeassistant.const import EVENT_HOMEASSISTANT_STARTED
from homeassistant.core import CoreState, HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.energy_trade import frontend
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.frontend import BASE_URL, FOLDER, STEADY_URL, newest_bundle
from custom_components.energy_trade.issues import CARDS_NOT_LISTED

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.")  # Home Assistant's own server
GZIPPED_BYTES_MAX = 30_000
FOREIGN = {"id": "theirs", "type": "module", "url": "/local/their-card.js"}
OLD = {"id": "old", "type": "module", "url": f"{BASE_URL}/energy-trade.000000000000.js"}
IN_YAML: dict[str, Any] = {"lovelace": {"resource_mode": "yaml", "resources": []}}


def bundle() -> Path:
    found = newest_bundle(FOLDER)
    assert found is not None
    return found


@pytest.fixture
def listed(hass: HomeAssistant) -> Callable[[], list[str]]:
    """What the dashboards load."""
    return lambda: [item["url"] for item in hass.data[LOVELACE_DATA].resources.async_items()]


def add_entry(hass: HomeAssistant) -> MockConfigEntry:
    entry = MockConfigEntry(domain=DOMAIN, title="Nr. 5")
    entry.add_to_hass(hass)
    return entry


async def start(hass: HomeAssistant, config: dict[str, Any] | None = None) -> None:
    assert await async_setup_component(hass, "frontend", config or {})
    await frontend.async_setup_frontend(hass)
    await hass.async_block_till_done()


def store_resources(hass_storage: dict[str, Any], *items: dict[str, str]) -> None:
    key = "lovelace_resources"
    hass_storage[key] = {"version": 1, "minor_version": 1, "key": key, "data": {"items": list(items)}}


def test_there_is_one_module_named_by_its_hash_and_small() -> None:
    assert [path.name for path in FOLDER.glob("*.js")] == [bundle().name]
    content = bundle().read_bytes()
    assert bundle().name == f"energy-trade.{hashlib.sha256(content).hexdigest()[:12]}.js"
    assert len(gzip.compress(content, 9, mtime=0)) <= GZIPPED_BYTES_MAX
    assert b"import" not in content.replace(b"importNode", b""), "the module loads another one"
    assert b"SPDX-License-Identifier: BSD-3-Clause" in content, "Lit's licence is kept"


def test_a_module_that_an_older_version_left_behind_is_passed_over(tmp_path: Path) -> None:
    assert newest_bundle(tmp_path) is None
    for name, at in (("f", 100), ("0", 200), ("a", 150)):
        path = tmp_path / f"energy-trade.{name}.js"
        path.write_text(name, encoding="utf-8")
        os.utime(path, (at, at))
    found = newest_bundle(tmp_path)
    assert found is not None
    assert found.name == "energy-trade.0.js"


async def test_the_module_is_served_cached_by_its_hash_and_fresh_by_its_steady_name(
    hass: HomeAssistant, hass_client_no_auth: ClientSessionGenerator
) -> None:
    await start(hass)
    client = await hass_client_no_auth()
    hashed = await client.get(f"{BASE_URL}/{bundle().name}")
    assert (hashed.status, hashed.content_type) == (200, "text/javascript")
    assert "max-age" in hashed.headers["Cache-Control"]
    assert await hashed.read() == bundle().read_bytes()
    steady = await client.get(STEADY_URL)
    assert steady.status == 200
    assert "Cache-Control" not in steady.headers
    assert (await client.get(f"{BASE_URL}/__init__.py")).status == 404


async def test_dashboards_learn_of_the_cards_once(hass: HomeAssistant, listed: Callable[[], list[str]]) -> None:
    add_entry(hass)
    await start(hass)
    served = len(hass.http.app.router.resources())
    await start(hass)
    assert len(hass.http.app.router.resources()) == served
    await frontend._async_list(hass)
    assert listed() == [f"{BASE_URL}/{bundle().name}"]
    assert hass.data[DATA_EXTRA_MODULE_URL].urls == frozenset()


async def test_resources_of_others_stay_and_old_ones_of_ours_become_the_new_one(
    hass: HomeAssistant, hass_storage: dict[str, Any], listed: Callable[[], list[str]]
) -> None:
    store_resources(hass_storage, FOREIGN, OLD, {**OLD, "id": "older", "url": f"{BASE_URL}/energy-trade.1.js"})
    add_entry(hass)
    await start(hass)
    assert listed() == [FOREIGN["url"], f"{BASE_URL}/{bundle().name}"]
    ours = hass.data[LOVELACE_DATA].resources.async_items()[1]
    assert (ours["id"], ours["type"]) == ("old", "module")


async def test_a_resource_of_ours_with_a_wrong_type_is_mended(
    hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    store_resources(hass_storage, {**OLD, "type": "js", "url": f"{BASE_URL}/{bundle().name}"})
    add_entry(hass)
    await start(hass)
    (ours,) = hass.data[LOVELACE_DATA].resources.async_items()
    assert (ours["id"], ours["type"]) == ("old", "module")


async def test_nothing_is_listed_before_home_assistant_has_started(
    hass: HomeAssistant, listed: Callable[[], list[str]]
) -> None:
    add_entry(hass)
    hass.set_state(CoreState.starting)
    await start(hass)
    assert listed() == []
    hass.set_state(CoreState.running)
    hass.bus.async_fire(EVENT_HOMEASSISTANT_STARTED)
    await hass.async_block_till_done()
    assert len(listed()) == 1


async def test_the_last_entry_takes_the_cards_with_it_and_a_new_one_brings_them_back(
    hass: HomeAssistant, hass_storage: dict[str, Any], listed: Callable[[], list[str]]
) -> None:
    store_resources(hass_storage, FOREIGN)
    await start(hass)
    await frontend.async_remove_frontend(hass)
    assert listed() == [FOREIGN["url"]]
    first, second = add_entry(hass), add_entry(hass)
    await frontend._async_list(hass)
    assert len(listed()) == 2
    await hass.config_entries.async_remove(first.entry_id)
    await frontend.async_remove_frontend(hass)
    assert len(listed()) == 2, "the other home still needs them"
    await hass.config_entries.async_remove(second.entry_id)
    await frontend.async_remove_frontend(hass)
    assert listed() == [FOREIGN["url"]]
    await hass.config_entries.async_add(MockConfigEntry(domain=DOMAIN, disabled_by=ConfigEntryDisabler.USER))
    await hass.async_block_till_done()
    assert listed() == [FOREIGN["url"], f"{BASE_URL}/{bundle().name}"]


async def test_an_entry_of_somebody_else_lists_nothing(hass: HomeAssistant, listed: Callable[[], list[str]]) -> None:
    await start(hass)
    await hass.config_entries.async_add(MockConfigEntry(domain="sun", disabled_by=ConfigEntryDisabler.USER))
    await hass.async_block_till_done()
    assert listed() == []


async def test_resources_in_yaml_are_asked_for_and_loaded_as_an_extra_module_meanwhile(hass: HomeAssistant) -> None:
    entry = add_entry(hass)
    await start(hass, IN_YAML)
    assert hass.data[DATA_EXTRA_MODULE_URL].urls == {f"{BASE_URL}/{bundle().name}"}
    issue = ir.async_get(hass).async_get_issue(DOMAIN, CARDS_NOT_LISTED)
    assert issue is not None
    assert issue.translation_placeholders == {"line": f"- url: {STEADY_URL}", "type": "type: module"}
    await frontend._async_list(hass)  # again: nothing twice
    await hass.config_entries.async_remove(entry.entry_id)
    await frontend.async_remove_frontend(hass)
    assert hass.data[DATA_EXTRA_MODULE_URL].urls == frozenset()
    assert ir.async_get(hass).async_get_issue(DOMAIN, CARDS_NOT_LISTED) is None


async def test_the_line_in_yaml_ends_the_question(hass: HomeAssistant) -> None:
    add_entry(hass)
    await start(hass, IN_YAML)
    resources = hass.data[LOVELACE_DATA].resources
    assert isinstance(resources, ResourceYAMLCollection)
    resources.data.append({"type": "module", "url": STEADY_URL})
    await frontend._async_list(hass)
    assert ir.async_get(hass).async_get_issue(DOMAIN, CARDS_NOT_LISTED) is None


async def test_a_home_without_a_frontend_trades_and_gets_the_cards_when_there_is_one(
    hass: HomeAssistant, listed: Callable[[], list[str]]
) -> None:
    add_entry(hass)
    await frontend.async_remove_frontend(hass)
    await frontend.async_setup_frontend(hass)
    await frontend.async_remove_frontend(hass)
    assert LOVELACE_DATA not in hass.data
    await start(hass)
    assert len(listed()) == 1


async def test_an_incomplete_installation_is_told_of(
    hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(frontend, "FOLDER", tmp_path)
    add_entry(hass)
    await start(hass)
    assert "install Energy Trade again" in caplog.text
    await frontend._async_list(hass)
    assert hass.data[LOVELACE_DATA].resources.async_items() == []
