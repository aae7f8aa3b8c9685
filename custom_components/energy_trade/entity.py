"""What all entities of a home share."""

from __future__ import annotations

from typing import override

from homeassistant.const import CONF_URL
from homeassistant.helpers.device_registry import DeviceEntryType, DeviceInfo
from homeassistant.helpers.entity import EntityDescription
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .const import DOMAIN
from .coordinator import EnergyTradeCoordinator
from .home import Home


class EnergyTradeEntity(CoordinatorEntity[EnergyTradeCoordinator]):
    """An entity of the home's account in its market."""

    _attr_has_entity_name = True

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EntityDescription, *, local: bool) -> None:
        super().__init__(coordinator)
        entry = coordinator.config_entry
        self.entity_description = description
        self._local = local
        self._attr_unique_id = f"{entry.unique_id}_{description.key}"
        self._attr_device_info = DeviceInfo(
            identifiers={(DOMAIN, str(entry.unique_id))},
            name=entry.title,
            manufacturer="Energy Trade",
            model="Home in a community energy market",
            sw_version=coordinator.info.version,
            configuration_url=entry.data[CONF_URL],
            entry_type=DeviceEntryType.SERVICE,
        )

    @property
    def home(self) -> Home:
        """The home that the entity belongs to."""
        return self.coordinator.home

    @property
    @override
    def available(self) -> bool:
        """What the home knows by itself is always there; the rest only with a coordinator."""
        return self._local or (super().available and self.coordinator.latest is not None)
