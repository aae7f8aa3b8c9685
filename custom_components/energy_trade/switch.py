"""Switches: trade or not, only in the shadow, away, and hands off the flexible devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, override

from homeassistant.components.switch import SwitchEntity, SwitchEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .home import Home

PARALLEL_UPDATES = 1


@dataclass(frozen=True, kw_only=True)
class EnergyTradeSwitchDescription(SwitchEntityDescription):
    """A switch, how it stands and how it is set; it is kept in the home's own state."""

    is_on_fn: Callable[[Home], bool]
    set_fn: Callable[[Home, bool], Awaitable[None]]


SWITCHES: tuple[EnergyTradeSwitchDescription, ...] = (
    EnergyTradeSwitchDescription(
        key="trading",
        translation_key="trading",
        is_on_fn=lambda home: home.agent.trading,
        set_fn=lambda home, enabled: home.async_set_trading(enabled),
    ),
    EnergyTradeSwitchDescription(
        key="shadow",
        translation_key="shadow",
        is_on_fn=lambda home: home.agent.shadow,
        set_fn=lambda home, enabled: home.async_set_shadow(enabled),
    ),
    EnergyTradeSwitchDescription(
        key="away",
        translation_key="away",
        is_on_fn=lambda home: home.agent.away,
        set_fn=lambda home, enabled: home.async_set_away(enabled),
    ),
    EnergyTradeSwitchDescription(
        key="flexibility_opt_out",
        translation_key="flexibility_opt_out",
        is_on_fn=lambda home: home.agent.opted_out,
        set_fn=lambda home, enabled: home.async_set_opted_out(enabled),
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the switches."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(EnergyTradeSwitch(coordinator, description) for description in SWITCHES)


class EnergyTradeSwitch(EnergyTradeEntity, SwitchEntity):
    """A switch of the owner's; it works without a coordinator and survives restarts."""

    entity_description: EnergyTradeSwitchDescription

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EnergyTradeSwitchDescription) -> None:
        super().__init__(coordinator, description, local=True)

    @property
    @override
    def is_on(self) -> bool:
        """How the owner has set it."""
        return self.entity_description.is_on_fn(self.home)

    @override
    async def async_turn_on(self, **kwargs: Any) -> None:
        """Switch on."""
        await self.entity_description.set_fn(self.home, True)
        self.async_write_ha_state()

    @override
    async def async_turn_off(self, **kwargs: Any) -> None:
        """Switch off."""
        await self.entity_description.set_fn(self.home, False)
        self.async_write_ha_state()
