"""Repairs that repair: confirm that the meter was replaced."""

from __future__ import annotations

from typing import Any

from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow, RepairsFlowResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from .coordinator import EnergyTradeConfigEntry


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


async def async_create_fix_flow(hass: HomeAssistant, _issue_id: str, data: dict[str, Any] | None) -> RepairsFlow:
    """Return the flow that mends an issue."""
    entry = hass.config_entries.async_get_entry(str((data or {}).get("entry_id")))
    return ConfirmRepairFlow() if entry is None else MeterReplacedRepairFlow(entry)
