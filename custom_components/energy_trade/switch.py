"""The switch that lets the home trade."""

from __future__ import annotations

from typing import Any, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity

PARALLEL_UPDATES = 1

TRADING = SwitchEntityDescription(key="trading", translation_key="trading")


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the switch."""
    async_add_entities([TradingSwitch(entry.runtime_data.coordinator)])


class TradingSwitch(EnergyTradeEntity, SwitchEntity):
    """Off: readings go on, but nothing is placed and what stands in the market is cancelled."""

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, TRADING, local=True)

    @property
    @override
    def is_on(self) -> bool:
        """Whether the policy places orders."""
        return self.coordinator.home.agent.trading

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        """Trade from the next interval on."""
        await self._set(enabled=True)

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        """Stop trading at once."""
        await self._set(enabled=False)

    async def _set(self, *, enabled: bool) -> None:
        await self.coordinator.home.async_set_trading(enabled)
        self.async_write_ha_state()
