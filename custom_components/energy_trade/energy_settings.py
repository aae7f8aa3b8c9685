"""What the owner has already told Home Assistant's Energy dashboard about the grid meter."""

from __future__ import annotations

from dataclasses import dataclass

from homeassistant.components.energy.data import async_get_manager
from homeassistant.core import HomeAssistant


@dataclass(frozen=True, slots=True)
class GridMeters:
    """Entity ids of the grid's import and export registers, as far as they are known."""

    import_meter: str | None = None
    export_meter: str | None = None


async def async_propose_meters(hass: HomeAssistant) -> GridMeters:
    """Return the first grid connection of the Energy dashboard that is measured by an entity."""
    if "energy" not in hass.config.components:
        return GridMeters()
    manager = await async_get_manager(hass)
    for source in (manager.data or manager.default_preferences())["energy_sources"]:
        if source["type"] == "grid":
            meters = GridMeters(_entity(source.get("stat_energy_from")), _entity(source.get("stat_energy_to")))
            if meters.import_meter is not None:
                return meters
    return GridMeters()


def _entity(statistic_id: str | None) -> str | None:
    """A statistic with a colon comes from elsewhere (a supplier's portal): not a live meter."""
    return None if statistic_id is None or ":" in statistic_id else statistic_id
