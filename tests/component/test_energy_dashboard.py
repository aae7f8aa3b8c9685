"""The Energy dashboard is changed with consent only: shown, applied as shown, undone exactly or not at all."""

from __future__ import annotations

import copy
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.components.energy.data import async_get_manager
from homeassistant.components.recorder import Recorder
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers.storage import Store
from homeassistant.setup import async_setup_component

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.ledger_rows import HOUR_S
from custom_components.energy_trade.settled import energy_dashboard
from custom_components.energy_trade.settled.energy_dashboard import (
    async_apply,
    async_forget,
    async_is_applied,
    async_preview,
    async_undo,
)
from tests.component.rig import EXPORT_METER, IMPORT_METER, Rig
from tests.component.test_statistics import HOUR, metered, publish, row, settle

type Sources = list[dict[str, Any]]

METER: dict[str, Any] = {
    "type": "grid",
    "stat_energy_from": IMPORT_METER,
    "stat_energy_to": EXPORT_METER,
    "stat_cost": None,
    "entity_energy_price": None,
    "number_energy_price": 0.31,
    "stat_compensation": None,
    "entity_energy_price_export": None,
    "number_energy_price_export": 0.08,
    "stat_rate": "sensor.grid_power",
    "cost_adjustment_day": 0.25,
}
SOLAR: dict[str, Any] = {"type": "solar", "stat_energy_from": "sensor.pv", "config_entry_solar_forecast": None}


@pytest.fixture(autouse=True)
def _our_integration(recorder_mock: Recorder, enable_custom_integrations: None) -> None:
    """Let the recorder run before Home Assistant finds the integration."""


@pytest.fixture
async def ready(rig: Rig, hass: HomeAssistant) -> EnergyTradeConfigEntry:
    """A home whose statistics are published."""
    assert await async_setup_component(hass, "energy", {})
    sums = {HOUR - HOUR_S: 0.0, HOUR: 1.0}
    await metered(hass, sums, sums)
    entry = await rig.join()
    settle(entry, row(HOUR, 100))
    rig.move_to(HOUR + HOUR_S + 30)
    await publish(entry, hass)
    return entry


async def use(hass: HomeAssistant, *sources: dict[str, Any]) -> None:
    update: Any = {"energy_sources": copy.deepcopy(list(sources))}
    await (await async_get_manager(hass)).async_update(update)


async def sources(hass: HomeAssistant) -> Sources:
    data: Any = (await async_get_manager(hass)).data
    return list(data["energy_sources"])


def ids(entry: EnergyTradeConfigEntry) -> dict[str, str]:
    return entry.runtime_data.statistics.ids


async def test_the_preview_changes_nothing_and_shows_everything(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER, SOLAR)
    shown = await async_preview(hass, ready)
    assert f"- Grid, from the grid: {IMPORT_METER}" in shown
    assert "- Grid, price: 0.31" in shown
    for name, statistic_id in ids(ready).items():
        assert any(statistic_id in line and line[0] == "+" for line in shown.splitlines()), name
    assert "sensor.pv" not in shown
    assert await sources(hass) == [METER, SOLAR]
    assert await async_is_applied(hass, ready) is False


async def test_the_preview_speaks_the_systems_language(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await use(hass, METER)
    hass.config.language = "de"
    shown = await async_preview(hass, ready)
    assert f"- Netz, Bezug: {IMPORT_METER}" in shown
    assert f"+ Nachbarschaft, Kosten: {ids(ready)['cost']}" in shown
    hass.config.language = "fr"
    assert f"- Grid, from the grid: {IMPORT_METER}" in await async_preview(hass, ready)


async def test_applied_are_two_named_sources_instead_of_the_meter(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER, SOLAR)
    await async_apply(hass, ready)
    solar, neighbourhood, supplier = await sources(hass)
    assert solar == SOLAR
    assert (neighbourhood["name"], supplier["name"]) == ("Neighbourhood", "Supplier")
    series = ids(ready)
    assert [neighbourhood[key] for key in ("stat_energy_from", "stat_energy_to", "stat_cost", "stat_compensation")] == [
        series[name] for name in ("bought", "sold", "cost", "revenue")
    ]
    assert [supplier[key] for key in ("stat_energy_from", "stat_energy_to", "stat_cost", "stat_compensation")] == [
        series[name] for name in ("grid_import", "grid_export", "grid_cost", "grid_revenue")
    ]
    assert (supplier["stat_rate"], supplier["cost_adjustment_day"]) == ("sensor.grid_power", 0.25)
    assert "stat_rate" not in neighbourhood
    assert await async_is_applied(hass, ready) is True
    assert await async_preview(hass, ready) == ""
    before = await sources(hass)
    await async_apply(hass, ready)
    assert await sources(hass) == before


async def test_undo_brings_back_exactly_what_was_there(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    await use(hass, SOLAR, METER)
    await async_apply(hass, ready)
    await async_undo(hass, ready)
    assert await sources(hass) == [SOLAR, METER]
    with pytest.raises(HomeAssistantError) as again:
        await async_undo(hass, ready)
    assert again.value.translation_key == "dashboard_not_applied"


async def test_undo_is_refused_when_somebody_changed_the_sources_since(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER)
    await async_apply(hass, ready)
    changed = [*await sources(hass), SOLAR]
    await use(hass, *changed)
    with pytest.raises(HomeAssistantError) as refused:
        await async_undo(hass, ready)
    assert refused.value.translation_key == "dashboard_changed"
    assert await sources(hass) == changed


async def test_meters_in_two_sources_are_both_replaced_and_others_stay(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    nothing = {key: None for key in METER if key not in ("type", "cost_adjustment_day", "stat_rate")}
    taken = {"type": "grid", **nothing, "stat_energy_from": IMPORT_METER, "cost_adjustment_day": 0.0}
    given = {
        "type": "grid",
        **nothing,
        "stat_energy_from": "sensor.garage",
        "stat_energy_to": EXPORT_METER,
        "number_energy_price": 0.3,
        "cost_adjustment_day": 0.0,
    }
    await use(hass, taken, given)
    await async_apply(hass, ready)
    garage, *new = await sources(hass)
    assert (garage["stat_energy_from"], garage["stat_energy_to"], garage["number_energy_price"]) == (
        "sensor.garage",
        None,
        0.3,
    )
    assert [source["name"] for source in new] == ["Neighbourhood", "Supplier"]


async def test_a_dashboard_without_sources_gets_both(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    assert not any(line.startswith("-") for line in (await async_preview(hass, ready)).splitlines())
    hass.config.language = "de"
    await async_apply(hass, ready)
    assert [source["name"] for source in await sources(hass)] == ["Nachbarschaft", "Versorger"]


async def test_what_is_not_published_is_not_named(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    publisher = ready.runtime_data.statistics
    publisher.published = frozenset({"grid_import", "grid_cost"})
    await async_apply(hass, ready)
    (supplier,) = await sources(hass)
    assert (supplier["stat_energy_from"], supplier["stat_energy_to"]) == (ids(ready)["grid_import"], None)


async def test_before_anything_is_published_it_says_so(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    ready.runtime_data.statistics.published = frozenset()
    with pytest.raises(HomeAssistantError) as refused:
        await async_preview(hass, ready)
    assert refused.value.translation_key == "statistics_missing"


async def test_sources_that_the_dashboard_would_not_take_are_not_written(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    broken = {**SOLAR, "stat_energy_from": None}
    await use(hass, METER, broken)
    with pytest.raises(HomeAssistantError) as refused:
        await async_apply(hass, ready)
    assert refused.value.translation_key == "dashboard_invalid"
    assert await sources(hass) == [METER, broken]


async def test_without_the_energy_integration_it_says_so(
    rig: Rig, entry: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    for act in (async_preview, async_apply, async_is_applied):
        with pytest.raises(HomeAssistantError) as refused:
            await act(hass, entry)
        assert refused.value.translation_key == "dashboard_missing"


async def test_who_saves_other_sources_at_the_same_moment_keeps_them(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER)
    save = Store.async_save

    async def slow(store: Store[Any], data: Any) -> None:
        await save(store, data)
        if "dashboard" in store.key:
            await use(hass, METER, SOLAR)

    with patch.object(Store, "async_save", slow), pytest.raises(HomeAssistantError) as busy:
        await async_apply(hass, ready)
    assert busy.value.translation_key == "dashboard_busy"
    assert [source["type"] for source in await sources(hass)] == ["grid", "solar"]
    with pytest.raises(HomeAssistantError):
        await async_undo(hass, ready)


async def test_a_removed_entry_gives_the_dashboard_its_meter_back(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER, SOLAR)
    await async_apply(hass, ready)
    await hass.config_entries.async_remove(ready.entry_id)
    assert await sources(hass) == [METER, SOLAR]


async def test_a_removed_entry_leaves_what_somebody_changed_since(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    await use(hass, METER)
    await async_apply(hass, ready)
    await use(hass, SOLAR)
    await hass.config_entries.async_remove(ready.entry_id)
    assert await sources(hass) == [SOLAR]


async def test_a_removed_entry_leaves_no_memory_of_the_dashboard(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await async_apply(hass, ready)
    assert f"{DOMAIN}.{ready.entry_id}.dashboard" in hass_storage
    await async_forget(hass, ready.entry_id)
    assert f"{DOMAIN}.{ready.entry_id}.dashboard" not in hass_storage


@pytest.mark.parametrize("damage", [{"version": 9}, {"data": [1]}, {"data": {"before": 3}}])
async def test_a_damaged_memory_of_the_dashboard_is_told_and_never_keeps_the_entry(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any], damage: dict[str, Any]
) -> None:
    await use(hass, METER)
    await async_apply(hass, ready)
    applied, key = await sources(hass), f"{DOMAIN}.{ready.entry_id}.dashboard"
    hass_storage[key] = hass_storage[key] | damage
    with pytest.raises(HomeAssistantError) as refused:
        await async_undo(hass, ready)
    assert refused.value.translation_key == "dashboard_unreadable"
    assert await hass.config_entries.async_remove(ready.entry_id)
    assert await sources(hass) == applied
    assert [kept for kept in hass_storage if ready.entry_id in kept] == []


async def test_a_policy_is_tried_over_what_the_recorder_keeps(
    ready: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    async def simulate(**data: Any) -> dict[str, Any]:
        found = await hass.services.async_call(DOMAIN, "simulate_policy", data, blocking=True, return_response=True)
        assert found is not None
        return dict(found)

    own = await simulate()
    assert (own["policy"], own["days"], own["currency"]) == ("surplus", 1, "EUR")
    assert own["money"] >= own["money_without_market"]
    assert own["intervals"] == sum(own["reasons"].values()) > 0
    fixed = await simulate(policy="fixed", settings={"sell": 0.16, "buy": 0.24}, days=2)
    assert fixed["policy"] == "fixed"
    assert (await simulate(policy="fixed"))["policy"] == "fixed"
    with pytest.raises(ServiceValidationError):
        await simulate(policy="time_of_use", settings={"bands": []})


async def test_statistics_are_cleared_by_an_action(ready: EnergyTradeConfigEntry, hass: HomeAssistant) -> None:
    found = await hass.services.async_call(DOMAIN, "clear_statistics", {}, blocking=True, return_response=True)
    assert found == {"cleared": sorted(ids(ready).values())}
    assert ready.runtime_data.statistics.published == frozenset()
    assert energy_dashboard.async_forget is async_forget
