"""Events: what became of orders, of trades, and what the grid asked for, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, override

from homeassistant.components.event import EventEntity, EventEntityDescription
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity

PARALLEL_UPDATES = 0

EVENTS: tuple[EventEntityDescription, ...] = (
    EventEntityDescription(
        key="market",
        translation_key="market",
        event_types=["order_placed", "order_matched", "order_rejected", "order_expired", "policy_blocked"],
    ),
    EventEntityDescription(key="settlement", translation_key="settlement", event_types=["trade_settled"]),
    EventEntityDescription(
        key="grid",
        translation_key="grid",
        event_types=["grid_event_started", "grid_event_ended", "flexibility_started", "flexibility_ended"],
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the events."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(EnergyTradeEvent(coordinator, description) for description in EVENTS)


class EnergyTradeEvent(EnergyTradeEntity, EventEntity):
    """The latest of some events; it stays to be seen while there is no coordinator."""

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EventEntityDescription) -> None:
        super().__init__(coordinator, description, local=True)

    @override
    async def async_added_to_hass(self) -> None:
        """Listen while the entity is there."""
        await super().async_added_to_hass()
        self.async_on_remove(self.home.async_listen_events(self._happened))

    @callback
    def _happened(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind in self.event_types:
            self._trigger_event(kind, {**self._reason_of(data), **data})
            self.async_write_ha_state()

    def _reason_of(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return why the order of an event was planned, as long as the home remembers it."""
        for planned in reversed(self.home.agent.decisions):
            if planned.order is not None and data.get("order") == "0x" + planned.order.hex():
                return {"reason": planned.decision.reason.to_dict()}
        return {}
