"""The Energy dashboard with the neighbourhood apart from the supplier: shown first, applied on consent, undone on wish.

Two named sources take the place of the home's meter; together they are what the meter measured. Nothing is written
unless the owner has seen it, and what was there before is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import probatio
from homeassistant.components.energy.data import ENERGY_SOURCE_SCHEMA, EnergyManager, async_get_manager
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError

from ..const import CONF_EXPORT_METER, CONF_IMPORT_METER, DOMAIN, LOGGER
from ..meter import entity_of
from ..protocol.wire import read_list
from ..store import DurableStore
from .statistics import statistic_ids

type Source = dict[str, Any]

_NAMES: Final = {"en": ("Neighbourhood", "Supplier"), "de": ("Nachbarschaft", "Versorger")}
_IMPORT: Final = ("stat_energy_from", "stat_cost", "entity_energy_price", "number_energy_price")
_EXPORT: Final = ("stat_energy_to", "stat_compensation", "entity_energy_price_export", "number_energy_price_export")
_POWER: Final = ("stat_rate", "power_config")
_FIELDS: Final = (*_IMPORT, *_EXPORT, *_POWER)
_WORDS: Final = {
    "en": ("from the grid", "cost", "price", "price", "to the grid", "income", "price", "price", "power", "power"),
    "de": ("Bezug", "Kosten", "Preis", "Preis", "Einspeisung", "Erlös", "Preis", "Preis", "Leistung", "Leistung"),
}
"""What people call a source's fields, in the order of ``_FIELDS``."""
_GRID: Final = {"en": "Grid", "de": "Netz"}


async def async_is_applied(hass: HomeAssistant, entry: ConfigEntry[Any]) -> bool:
    """Tell whether the dashboard shows this home's neighbourhood and supplier apart."""
    own = set(statistic_ids(entry).values())
    return any(own & set(map(str, source.values())) for source in await _sources(hass))


async def async_preview(hass: HomeAssistant, entry: ConfigEntry[Any]) -> str:
    """Return what ``async_apply`` would change, a line each; empty when there is nothing to change."""
    before, after = await _change(hass, entry)
    language = hass.config.language if hass.config.language in _WORDS else "en"
    return "\n".join(
        [
            *(f"- {line}" for source in before if source not in after for line in _lines(source, language)),
            *(f"+ {line}" for source in after if source not in before for line in _lines(source, language)),
        ]
    )


async def async_apply(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Show neighbourhood and supplier instead of the home's meter; keep what was there for ``async_undo``."""
    before, after = await _change(hass, entry)
    if after == before:
        return
    try:
        ENERGY_SOURCE_SCHEMA(after)
    except probatio.Invalid as error:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key="dashboard_invalid",
            translation_placeholders={"reason": str(error)},
        ) from error
    store = _store(hass, entry.entry_id)
    await store.async_save({"before": before, "after": after})
    if await _sources(hass) != before:  # somebody saved other settings meanwhile: theirs count
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="dashboard_busy")
    await _update(hass, after)
    await store.async_save({"before": before, "after": await _sources(hass)})


async def async_undo(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Bring back what was there before; refused when the sources were changed since."""
    store = _store(hass, entry.entry_id)
    kept = await _kept(store)
    if kept is None:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="dashboard_not_applied")
    if await _sources(hass) != kept["after"]:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="dashboard_changed")
    await _update(hass, kept["before"])
    await store.async_remove()


async def async_forget(hass: HomeAssistant, entry_id: str) -> None:
    """Bring back what was there before an entry that is removed, unless it was changed since; then forget it.

    Without the entry its statistics stand still: a dashboard that shows them would show nothing of the home any more.
    """
    store = _store(hass, entry_id)
    try:
        kept = await _kept(store)
    except HomeAssistantError as error:
        LOGGER.error("The Energy dashboard stays as it is: %s", error)
        kept = None
    if kept is not None and "energy" in hass.config.components and await _sources(hass) == kept["after"]:
        await _update(hass, kept["before"])
    await store.async_remove()


async def _kept(store: DurableStore[dict[str, Any]]) -> dict[str, list[Source]] | None:
    """Return the sources of before and after, ``None`` when nothing was applied; raise a sentence if unreadable."""
    try:
        kept = await store.async_load_object()
        return {name: read_list(kept, name) for name in ("before", "after")} if kept else None
    except ValueError as error:
        raise HomeAssistantError(
            translation_domain=DOMAIN,
            translation_key="dashboard_unreadable",
            translation_placeholders={"key": store.key, "reason": str(error)},
        ) from error


async def _change(hass: HomeAssistant, entry: ConfigEntry[Any]) -> tuple[list[Source], list[Source]]:
    """Return the sources as they are and as they would be."""
    before = await _sources(hass)
    if await async_is_applied(hass, entry):
        return before, before
    published = entry.runtime_data.statistics.published
    if not published & {"grid_import", "grid_export"}:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="statistics_missing")
    meters = [
        None if entry.data.get(meter) is None else entity_of(hass, entry.data[meter])
        for meter in (CONF_IMPORT_METER, CONF_EXPORT_METER)
    ]
    after: list[Source] = []
    replaced: Source = {}
    for source in before:
        rest = _without(source, *meters)
        if rest is not source:
            replaced = {**source, **replaced}
        if rest is not None:
            after.append(rest)
    return before, [*after, *_new_sources(hass, entry, published, replaced)]


def _without(source: Source, import_meter: str | None, export_meter: str | None) -> Source | None:
    """Return a source without the home's meter: itself when it has none of it, ``None`` when nothing is left."""
    if source["type"] != "grid":
        return source
    sides = [
        names
        for names, meter in ((_IMPORT, import_meter), (_EXPORT, export_meter))
        if meter is not None and source.get(names[0]) == meter
    ]
    if not sides:
        return source
    dropped = {name for names in sides for name in names}
    rest = {name: None if name in dropped else value for name, value in source.items() if name not in _POWER}
    return rest if rest.get("stat_energy_from") or rest.get("stat_energy_to") else None


def _new_sources(
    hass: HomeAssistant, entry: ConfigEntry[Any], published: Iterable[str], replaced: Mapping[str, Any]
) -> Iterator[Source]:
    """Yield neighbourhood and supplier; the supplier keeps the replaced source's power and adjustment."""
    ids = {name: statistic_id for name, statistic_id in statistic_ids(entry).items() if name in published}
    names = _NAMES.get(hass.config.language, _NAMES["en"])
    for name, series in zip(
        names,
        (("bought", "cost", "sold", "revenue"), ("grid_import", "grid_cost", "grid_export", "grid_revenue")),
        strict=True,
    ):
        bought, cost, sold, revenue = (ids.get(one) for one in series)
        if bought is None and sold is None:
            continue
        is_supplier = name == names[1]
        yield {
            "type": "grid",
            "stat_energy_from": bought,
            "stat_energy_to": sold,
            "stat_cost": cost,
            "entity_energy_price": None,
            "number_energy_price": None,
            "stat_compensation": revenue,
            "entity_energy_price_export": None,
            "number_energy_price_export": None,
            "cost_adjustment_day": replaced.get("cost_adjustment_day", 0.0) if is_supplier else 0.0,
            "name": name,
            **({one: replaced[one] for one in _POWER if one in replaced} if is_supplier else {}),
        }


def _lines(source: Mapping[str, Any], language: str) -> Iterator[str]:
    """Yield a source's statistics and prices in words; only sources of the grid change."""
    name = source.get("name") or _GRID[language]
    for field, word in zip(_FIELDS, _WORDS[language], strict=True):
        if source.get(field) is not None:
            yield f"{name}, {word}: {source[field]}"


async def _update(hass: HomeAssistant, sources: list[Source]) -> None:
    update: Any = {"energy_sources": sources}
    await (await _manager(hass)).async_update(update)


async def _manager(hass: HomeAssistant) -> EnergyManager:
    if "energy" not in hass.config.components:
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="dashboard_missing")
    return await async_get_manager(hass)


async def _sources(hass: HomeAssistant) -> list[Source]:
    data = (await _manager(hass)).data
    return [] if data is None else [dict(source) for source in data["energy_sources"]]


def _store(hass: HomeAssistant, entry_id: str) -> DurableStore[dict[str, Any]]:
    return DurableStore(hass, f"{DOMAIN}.{entry_id}.dashboard")
