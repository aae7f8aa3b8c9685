"""Repairs that repair: confirm that the meter was replaced, or that the operator has a new key."""

from __future__ import annotations

from typing import Any

from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow, RepairsFlowResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from .const import CONF_OPERATOR_KEY
from .coordinator import EnergyTradeConfigEntry
from .operator import async_pin


class MeterReplacedRepairFlow(ConfirmRepairFlow):
    """Go on from the registers of the new meter; the jump between the two is no energy."""

    def __init__(self, entry: EnergyTradeConfigEntry) -> None:
        super().__init__()
        self._entry = entry

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Rebase the registers once the owner has confirmed."""
        if user_input is not None:
            if self._entry.state is not ConfigEntryState.LOADED:
                return self.async_abort(reason="not_loaded")
            await self._entry.runtime_data.home.async_confirm_replacement()
        return await super().async_step_confirm(user_input)


class OperatorChangedRepairFlow(ConfirmRepairFlow):
    """Trust the operator's key that the issue shows; not one that came after it."""

    def __init__(self, entry: EnergyTradeConfigEntry, pin: dict[str, Any]) -> None:
        super().__init__()
        self._entry = entry
        self._pin = pin

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Remember the new key once the owner has confirmed, and go on."""
        if user_input is not None:
            async_pin(self.hass, self._entry, self._pin)
            if self._entry.state is ConfigEntryState.LOADED:
                await self._entry.runtime_data.coordinator.async_refresh()
        return await super().async_step_confirm(user_input)


async def async_create_fix_flow(hass: HomeAssistant, _issue_id: str, data: dict[str, Any] | None) -> RepairsFlow:
    """Return the flow that mends an issue."""
    known = data or {}
    entry = hass.config_entries.async_get_entry(str(known.get("entry_id")))
    if entry is None:
        return ConfirmRepairFlow()
    return OperatorChangedRepairFlow(entry, known) if CONF_OPERATOR_KEY in known else MeterReplacedRepairFlow(entry)
