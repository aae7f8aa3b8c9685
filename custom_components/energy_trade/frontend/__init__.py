"""The cards: one JavaScript module, served by this home and loaded by its dashboards.

The module's file name carries the hash of what is in it, so no cache can show an old one. Dashboards learn of it
through a resource; where resources are kept in YAML, as an extra module, with a repair that names the line to write.
A home without a frontend trades like any other, so all this waits until there is one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from homeassistant.components.frontend import add_extra_js_url, remove_extra_js_url
from homeassistant.components.http import StaticPathConfig
from homeassistant.components.lovelace.const import LOVELACE_DATA
from homeassistant.components.lovelace.resources import ResourceStorageCollection
from homeassistant.config_entries import SIGNAL_CONFIG_ENTRY_CHANGED, ConfigEntry, ConfigEntryChange
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.start import async_at_started
from homeassistant.setup import async_when_setup
from homeassistant.util.hass_dict import HassKey

from ..const import DOMAIN, LOGGER
from ..issues import CARDS_NOT_LISTED

FOLDER: Final = Path(__file__).parent
BUNDLES: Final = "energy-trade.*.js"
BASE_URL: Final = f"/{DOMAIN}_static"
STEADY_URL: Final = f"{BASE_URL}/energy-trade.js"
"""The module under a name that stays, never cached: what a person writes into YAML."""


@dataclass(slots=True)
class _Cards:
    """What is known of the module in one Home Assistant."""

    url: str | None = None
    extra: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_CARDS: HassKey[_Cards] = HassKey(f"{DOMAIN}_cards")


async def async_setup_frontend(hass: HomeAssistant) -> None:
    """Serve the cards and have the dashboards load them, as soon as there is a frontend; once per Home Assistant."""
    if _CARDS in hass.data:
        return
    hass.data[_CARDS] = _Cards()

    async def changed(change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        if change is ConfigEntryChange.ADDED and entry.domain == DOMAIN:
            await _async_list(hass)

    async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, changed)
    async_when_setup(hass, "frontend", _async_serve)


async def async_remove_frontend(hass: HomeAssistant) -> None:
    """Take the cards out of the dashboards' resources, unless another entry is left."""
    cards = hass.data.get(_CARDS)
    if cards is None or cards.url is None or hass.config_entries.async_entries(DOMAIN):
        return
    async with cards.lock:
        if isinstance(resources := hass.data[LOVELACE_DATA].resources, ResourceStorageCollection):
            await resources.async_get_info()
            for item in _ours(resources):
                await resources.async_delete_item(item["id"])
        if cards.extra:
            remove_extra_js_url(hass, cards.url)
            cards.extra = False
        ir.async_delete_issue(hass, DOMAIN, CARDS_NOT_LISTED)


async def _async_serve(hass: HomeAssistant, _component: str) -> None:
    """Serve the module under both names, and list it once everything has started."""
    bundle = await hass.async_add_executor_job(newest_bundle, FOLDER)
    if bundle is None:
        LOGGER.error("The cards are missing from %s: install Energy Trade again", FOLDER)
        return
    url = f"{BASE_URL}/{bundle.name}"
    await hass.http.async_register_static_paths(
        [StaticPathConfig(url, str(bundle)), StaticPathConfig(STEADY_URL, str(bundle), cache_headers=False)]
    )
    hass.data[_CARDS].url = url
    async_at_started(hass, _async_list)


def newest_bundle(folder: Path) -> Path | None:
    """Return the module to serve; one that an older version has left behind is passed over."""
    return max(folder.glob(BUNDLES), key=lambda path: path.stat().st_mtime_ns, default=None)


async def _async_list(hass: HomeAssistant) -> None:
    """Name the module to the dashboards, where resources are kept."""
    cards = hass.data[_CARDS]
    if cards.url is None or not hass.config_entries.async_entries(DOMAIN):
        return
    async with cards.lock:
        resources = hass.data[LOVELACE_DATA].resources
        if isinstance(resources, ResourceStorageCollection):
            await _async_keep_one(resources, cards.url)
        elif not any(item["url"].startswith(STEADY_URL) for item in resources.async_items()):
            if not cards.extra:
                add_extra_js_url(hass, cards.url)
                cards.extra = True
            _ask_for_the_line(hass)
        else:
            ir.async_delete_issue(hass, DOMAIN, CARDS_NOT_LISTED)


async def _async_keep_one(resources: ResourceStorageCollection, url: str) -> None:
    """Have exactly one resource of ours, with this address; what else is listed is not ours to touch."""
    await resources.async_get_info()  # loads them: writing before would lose everybody's
    wanted = {"res_type": "module", "url": url}
    ours = _ours(resources)
    for surplus in ours[1:]:
        await resources.async_delete_item(surplus["id"])
    if not ours:
        await resources.async_create_item(wanted)
    elif (ours[0]["url"], ours[0]["type"]) != (url, "module"):
        await resources.async_update_item(ours[0]["id"], wanted)


def _ours(resources: ResourceStorageCollection) -> list[dict[str, Any]]:
    return [item for item in resources.async_items() if item["url"].startswith(f"{BASE_URL}/")]


def _ask_for_the_line(hass: HomeAssistant) -> None:
    ir.async_create_issue(
        hass,
        DOMAIN,
        CARDS_NOT_LISTED,
        is_fixable=False,
        severity=ir.IssueSeverity.WARNING,
        translation_key=CARDS_NOT_LISTED,
        translation_placeholders={"line": f"- url: {STEADY_URL}", "type": "type: module"},
    )
