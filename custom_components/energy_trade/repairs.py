"""Repairs that repair: choose another meter, confirm a replaced one, a new operator, or that the keys are safe."""

from __future__ import annotations

from typing import Any

from homeassistant.components.repairs import ConfirmRepairFlow, RepairsFlow, RepairsFlowResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant

from . import issues
from .backups import CONF_KEYS_BACKED_UP
from .const import CONF_EXPORT_METER, CONF_IMPORT_METER, CONF_METER_GENERATION, CONF_OPERATOR_KEY
from .coordinator import EnergyTradeConfigEntry
from .flows import forms
from .meter import entity_of
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


class MeterUnusableRepairFlow(RepairsFlow):
    """Choose which sensors are the meter; their registers go on where the old ones stopped."""

    def __init__(self, entry: EnergyTradeConfigEntry) -> None:
        super().__init__()
        self._entry = entry

    async def async_step_init(self, _user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Begin with the sensors that are chosen now."""
        return await self.async_step_meter()

    async def async_step_meter(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Ask for the sensors, try them, and begin with their registers."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            errors, reason = forms.check_meters(self.hass, user_input)
            if not errors:
                references = forms.meter_references(self.hass, user_input)
                changed = {key: value for key, value in references.items() if self._entry.data.get(key) != value}
                generation = self._entry.data[CONF_METER_GENERATION] + bool(changed)
                data = {**self._entry.data, **references, CONF_METER_GENERATION: generation}
                self.hass.config_entries.async_update_entry(self._entry, data=data)
                self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
                return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="meter",
            data_schema=self.add_suggested_values_to_schema(forms.METER_ENTITIES, user_input or self._present()),
            errors=errors,
            description_placeholders={"name": self._entry.title, "reason": reason},
        )

    def _present(self) -> dict[str, Any]:
        found = {
            key: None if (reference := self._entry.data.get(key)) is None else entity_of(self.hass, reference)
            for key in (CONF_IMPORT_METER, CONF_EXPORT_METER)
        }
        return {key: entity for key, entity in found.items() if entity is not None}


class KeysBackedUpRepairFlow(ConfirmRepairFlow):
    """Remember that the owner has a backup of the keys."""

    def __init__(self, entry: EnergyTradeConfigEntry) -> None:
        super().__init__()
        self._entry = entry

    async def async_step_confirm(self, user_input: dict[str, str] | None = None) -> RepairsFlowResult:
        """Ask no more once the owner has confirmed."""
        if user_input is not None:
            data = {**self._entry.data, CONF_KEYS_BACKED_UP: True}
            self.hass.config_entries.async_update_entry(self._entry, data=data)
        return await super().async_step_confirm(user_input)


async def async_create_fix_flow(hass: HomeAssistant, issue_id: str, data: dict[str, Any] | None) -> RepairsFlow:
    """Return the flow that mends an issue."""
    known = data or {}
    entry = hass.config_entries.async_get_entry(str(known.get("entry_id")))
    if entry is None:
        return ConfirmRepairFlow()
    if CONF_OPERATOR_KEY in known:
        return OperatorChangedRepairFlow(entry, known)
    match issue_id.removesuffix(f"_{entry.entry_id}"):
        case issues.METER_UNUSABLE:
            return MeterUnusableRepairFlow(entry)
        case issues.KEYS_WITHOUT_BACKUP:
            return KeysBackedUpRepairFlow(entry)
    return MeterReplacedRepairFlow(entry)
