"""The flows that add the home's devices to an entry, and change them: one subentry each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from homeassistant.config_entries import SOURCE_RECONFIGURE, ConfigSubentryFlow, SubentryFlowResult
from homeassistant.const import CONF_NAME
from homeassistant.core import HomeAssistant
from homeassistant.loader import IntegrationNotLoaded, async_get_loaded_integration

from ..const import BATTERY, EV, INVERTER, LOAD, SOLAR
from . import device_forms as forms


async def async_forecast_entries(hass: HomeAssistant) -> list[tuple[str, str]]:
    """Return the entries (id and title) whose integration forecasts solar energy."""
    found = []
    for entry in hass.config_entries.async_entries(include_ignore=False, include_disabled=False):
        try:
            integration = async_get_loaded_integration(hass, entry.domain)
            platform = await integration.async_get_platform("energy")
        except ImportError, IntegrationNotLoaded:
            continue
        if hasattr(platform, "async_get_solar_forecast"):
            found.append((entry.entry_id, entry.title))
    return found


class DeviceFlow(ConfigSubentryFlow):
    """Asks for one device; the same form adds and changes it."""

    kind: ClassVar[str]

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Add a device."""
        return await self._ask("user", user_input)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> SubentryFlowResult:
        """Change a device."""
        return await self._ask("reconfigure", user_input)

    async def _ask(self, step: str, user_input: dict[str, Any] | None) -> SubentryFlowResult:
        errors: dict[str, str] = {}
        if user_input is not None:
            data, errors = forms.read(self.hass, self.kind, user_input)
            errors = errors or self._taken(data)
            if not errors:
                return self._store(user_input[CONF_NAME].strip(), data)
        forecasts = await async_forecast_entries(self.hass)
        return self.async_show_form(
            step_id=step,
            data_schema=self.add_suggested_values_to_schema(
                forms.schema(self.kind, forecasts), user_input or self._shown()
            ),
            errors=errors,
        )

    def _shown(self) -> dict[str, Any]:
        if self.source != SOURCE_RECONFIGURE:
            return forms.proposed(self.kind)
        present = self._get_reconfigure_subentry()
        return forms.shown(self.hass, self.kind, present.title, present.data)

    def _taken(self, data: Mapping[str, Any]) -> dict[str, str]:
        """Refuse a device that is there already, and an entity that two devices would set."""
        ours = self._reconfigure_subentry_id if self.source == SOURCE_RECONFIGURE else None
        others = [other for key, other in self._get_entry().subentries.items() if key != ours]
        same = {other.unique_id for other in others if other.subentry_type == self.kind}
        if forms.identity(self.kind, data) in same:
            return {forms.field_of(self.kind, data): "device_known"}
        shared = forms.shared_control(data, [other.data for other in others])
        return {} if shared is None else {shared: "device_known"}

    def _store(self, title: str, data: Mapping[str, Any]) -> SubentryFlowResult:
        unique_id = forms.identity(self.kind, data)
        if self.source != SOURCE_RECONFIGURE:
            return self.async_create_entry(title=title, data=data, unique_id=unique_id)
        present = self._get_reconfigure_subentry()
        return self.async_update_and_abort(
            self._get_entry(), present, title=title, data=data, unique_id=unique_id, reason="device_changed"
        )


class SolarFlow(DeviceFlow):
    """A solar plant: what it gives, and what it will give."""

    kind = SOLAR


class BatteryFlow(DeviceFlow):
    """A battery: what it holds, how fast, what stays in it."""

    kind = BATTERY


class LoadFlow(DeviceFlow):
    """A load that can be switched off for a while."""

    kind = LOAD


class EvFlow(DeviceFlow):
    """A car that must have its energy by a time of day."""

    kind = EV


class InverterFlow(DeviceFlow):
    """An inverter whose power can be limited."""

    kind = INVERTER


SUBENTRY_FLOWS: dict[str, type[DeviceFlow]] = {
    flow.kind: flow for flow in (SolarFlow, BatteryFlow, LoadFlow, EvFlow, InverterFlow)
}
