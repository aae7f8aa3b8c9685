"""Numbers: the owner's bounds, to be turned without opening the options."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import override

from homeassistant.components.number import NumberDeviceClass, NumberEntity, NumberEntityDescription, NumberMode
from homeassistant.const import PERCENTAGE, EntityCategory, Platform
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .const import (
    BATTERY,
    BATTERY_RESERVE_PERCENT,
    CONF_BATTERY_RESERVE,
    CONF_CEILING,
    CONF_FLOOR,
    DOMAIN,
)
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .protocol.units import MICRO

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnergyTradeNumberDescription(NumberEntityDescription):
    """A number that stands in the entry's options under ``option``, there ``factor`` times as large."""

    option: str
    factor: int = 1
    default: int | None = None


def _price(key: str, option: str) -> EnergyTradeNumberDescription:
    return EnergyTradeNumberDescription(
        key=key,
        translation_key=key,
        entity_category=EntityCategory.CONFIG,
        mode=NumberMode.BOX,
        native_step=0.001,
        option=option,
        factor=MICRO,
    )


PRICES: tuple[EnergyTradeNumberDescription, ...] = (_price("floor", CONF_FLOOR), _price("ceiling", CONF_CEILING))
RESERVE = EnergyTradeNumberDescription(
    key="battery_reserve",
    translation_key="battery_reserve",
    device_class=NumberDeviceClass.BATTERY,
    entity_category=EntityCategory.CONFIG,
    native_unit_of_measurement=PERCENTAGE,
    native_min_value=0,
    native_max_value=100,
    native_step=1,
    option=CONF_BATTERY_RESERVE,
    default=BATTERY_RESERVE_PERCENT,
)
NUMBERS = (*PRICES, RESERVE)


async def async_setup_entry(
    hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the bounds; a reserve only where there is a battery."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(PriceBound(coordinator, description) for description in PRICES)
    if any(subentry.subentry_type == BATTERY for subentry in entry.subentries.values()):
        async_add_entities([BoundNumber(coordinator, RESERVE)])
    else:
        _forget(hass, entry, RESERVE.key)


@callback
def _forget(hass: HomeAssistant, entry: EnergyTradeConfigEntry, key: str) -> None:
    """Take out the entity that an earlier battery had."""
    registry = er.async_get(hass)
    entity_id = registry.async_get_entity_id(Platform.NUMBER, DOMAIN, f"{entry.unique_id}_{key}")
    if entity_id is not None:
        registry.async_remove(entity_id)


class BoundNumber(EnergyTradeEntity, NumberEntity):
    """A number of the owner's options; a change counts at once and needs no reload."""

    entity_description: EnergyTradeNumberDescription

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EnergyTradeNumberDescription) -> None:
        super().__init__(coordinator, description, local=True)

    @property
    @override
    def native_value(self) -> float | None:
        """The number, ``None`` while the owner has set none."""
        description = self.entity_description
        value = self.coordinator.config_entry.options.get(description.option, description.default)
        return None if value is None else value / description.factor

    @override
    async def async_set_native_value(self, value: float) -> None:
        """Keep the number and plan anew with it."""
        description, entry = self.entity_description, self.coordinator.config_entry
        kept = int((Decimal(str(value)) * description.factor).to_integral_value())
        self.hass.config_entries.async_update_entry(entry, options={**entry.options, description.option: kept})
        self.home.async_apply_options()
        self.async_write_ha_state()


class PriceBound(BoundNumber):
    """The least price to sell for, or the most to buy for, whatever the policy wants."""

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EnergyTradeNumberDescription) -> None:
        super().__init__(coordinator, description)
        info = coordinator.info
        self._attr_native_unit_of_measurement = f"{info.currency}/kWh"
        self._attr_native_min_value = info.price_min_micro_per_kwh / MICRO
        self._attr_native_max_value = info.price_max_micro_per_kwh / MICRO
