"""The button that takes all orders out of the market."""

from __future__ import annotations

from typing import override

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .const import DOMAIN
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .protocol.client import CoordinatorRefused
from .protocol.messages import ZERO_HASH

PARALLEL_UPDATES = 1

CANCEL_ALL = ButtonEntityDescription(key="cancel_all", translation_key="cancel_all")
BUTTONS = (CANCEL_ALL,)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the button."""
    async_add_entities([CancelAllButton(entry.runtime_data.coordinator)])


class CancelAllButton(EnergyTradeEntity, ButtonEntity):
    """Cancels what stands in the market; what was traded stays traded, and the policy goes on."""

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, CANCEL_ALL, local=True)

    @override
    async def async_press(self) -> None:
        """Sign the cancellation; without a coordinator it waits in the outbox before everything else."""
        answer = await self.home.async_cancel(ZERO_HASH)
        if isinstance(answer, CoordinatorRefused):
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key="refused",
                translation_placeholders={"code": answer.code, "reason": str(answer)},
            )
