"""Joining a market, mapping the meter and the devices, choosing a policy; and changing or mending what was joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, override

from homeassistant.config_entries import ConfigEntry, ConfigFlow, ConfigFlowResult, ConfigSubentryFlow
from homeassistant.const import CONF_NAME, CONF_URL
from homeassistant.core import callback
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo

from .const import CONF_INVITE, CONF_METER_GENERATION, DOMAIN, SUBENTRIES
from .events import plain
from .flows import forms
from .flows.device_flows import SUBENTRY_FLOWS
from .flows.discovery import Announced, async_moved, entry_of
from .flows.energy_settings import FoundDevice, async_find_devices, async_propose_meters
from .flows.joining import Fault, Joining
from .flows.options_flow import EnergyTradeOptionsFlow
from .flows.policy_steps import PolicyDialog, PolicySteps, new_options
from .migration import MINOR_VERSION, VERSION
from .operator import pin_of
from .protocol.invitation import is_link

NAME_MAX: Final = 80


class EnergyTradeConfigFlow(PolicySteps, ConfigFlow, domain=DOMAIN):
    """Join, meter, devices, policy, its settings, preview. Each fault is shown at the step that can mend it."""

    VERSION = VERSION
    MINOR_VERSION = MINOR_VERSION

    _joining: Joining

    def __init__(self) -> None:
        self._data: dict[str, Any] = {}
        self._devices: list[FoundDevice] = []

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: ConfigEntry[Any]) -> EnergyTradeOptionsFlow:
        """Return the flow that changes what the owner wants."""
        return EnergyTradeOptionsFlow()

    @classmethod
    @callback
    @override
    def async_get_supported_subentry_types(cls, config_entry: ConfigEntry[Any]) -> dict[str, type[ConfigSubentryFlow]]:
        """Return the flows that add the home's devices."""
        return {kind: SUBENTRY_FLOWS[kind] for kind in SUBENTRIES}

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for coordinator and invite, or a link that holds both, and join."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            self._joining = Joining(self.hass)
            errors, reason = await self._joining.async_invited(user_input[CONF_URL], user_input.get(CONF_INVITE, ""))
            if not errors:
                errors, reason = await self._joining.async_join(user_input[CONF_NAME])
            if not errors:
                return await self._joined(user_input[CONF_NAME])
        shown = user_input or {CONF_NAME: self.hass.config.location_name}
        return self.async_show_form(
            step_id="user",
            data_schema=self.add_suggested_values_to_schema(forms.USER, shown),
            errors=errors,
            description_placeholders={
                "reason": reason,
                "example_url": forms.EXAMPLE_URL,
                "example_link": forms.EXAMPLE_LINK,
            },
        )

    @override
    async def async_step_zeroconf(self, discovery_info: ZeroconfServiceInfo) -> ConfigFlowResult:
        """Take a coordinator that announced itself: a new market is offered, a known one's address kept up to date."""
        try:
            announced = Announced.read(discovery_info.properties)
        except ValueError:
            return self.async_abort(reason="invalid_discovery")
        known = entry_of(self.hass, announced)
        if known is not None:
            if await async_moved(self.hass, known, announced):
                self.hass.config_entries.async_update_entry(known, data={**known.data, CONF_URL: announced.url})
                self.hass.config_entries.async_schedule_reload(known.entry_id)
            return self.async_abort(reason="already_configured")
        await self.async_set_unique_id(announced.place)
        self._abort_if_unique_id_configured()
        self._joining = Joining(self.hass)
        errors, _ = await self._joining.async_connect(announced.url, announced.market_data)
        if errors:
            return self.async_abort(reason="cannot_connect")
        if not announced.signed_by(self._joining.info.operator_public_key):
            return self.async_abort(reason="invalid_discovery")
        self.context["title_placeholders"] = {"name": plain(self._joining.info.name)}
        return await self.async_step_discovery_confirm()

    async def async_step_discovery_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the invite to a market that was found, and join."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            errors, reason = await self._invited_here(user_input[CONF_INVITE], self._joining.url)
            if not errors:
                errors, reason = await self._joining.async_join(user_input[CONF_NAME])
            if not errors:
                return await self._joined(user_input[CONF_NAME])
        shown = user_input or {CONF_NAME: self.hass.config.location_name}
        return self.async_show_form(
            step_id="discovery_confirm",
            data_schema=self.add_suggested_values_to_schema(forms.DISCOVERED, shown),
            errors=errors,
            description_placeholders={
                "reason": reason,
                "operator": self._joining.info.operator_account,
                **self._market_words(),
            },
        )

    async def async_step_meter(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the meter's entities and the connection's limits, and register the meter."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is None:
            shown: Mapping[str, Any] = forms.meter_values(await async_propose_meters(self.hass))
        else:
            shown = user_input
            self._abort_if_unique_id_configured()  # another flow was quicker: its meter must keep its key
            errors, reason = forms.check_meters(self.hass, user_input)
            if not errors:
                errors, reason = await self._joining.async_register(forms.limits(user_input))
            if not errors:
                joined = self._joining.market_data | pin_of(self._joining.info)
                self._data |= joined | forms.meter_data(self.hass, user_input) | {CONF_METER_GENERATION: 1}
                self._policy = PolicyDialog(self.hass, self._joining.info, self._data)
                return await self.async_step_devices()
        return self.async_show_form(
            step_id="meter",
            data_schema=self.add_suggested_values_to_schema(forms.METER, shown),
            errors=errors,
            description_placeholders={"reason": reason, **self._market_words()},
        )

    async def async_step_devices(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Offer the solar plants and batteries that the Energy dashboard knows; without any there is no question."""
        if user_input is None:
            self._devices = await async_find_devices(self.hass)
        if user_input is not None or not self._devices:
            chosen = (user_input or {}).get(forms.FIELD_DEVICES, [])
            self._devices = [device for device in self._devices if device.key in chosen]
            return await self.async_step_policy()
        suggested = {forms.FIELD_DEVICES: [device.key for device in self._devices]}
        return self.async_show_form(
            step_id="devices",
            data_schema=self.add_suggested_values_to_schema(forms.devices(self._devices), suggested),
        )

    async def async_step_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what the policy would have done in the last days; then it begins, at first in the shadow if wanted."""
        if user_input is not None:
            return self._create(shadow=user_input[forms.FIELD_SHADOW])
        week = await self._policy.async_preview(self._joining.client)
        return self.async_show_form(
            step_id=week.step,
            data_schema=self.add_suggested_values_to_schema(forms.SHADOW_FORM, {forms.FIELD_SHADOW: True}),
            description_placeholders={**week.words, **self._policy.words},
        )

    async def async_step_no_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Begin without a preview: nothing is recorded yet."""
        return await self.async_step_preview(user_input)

    async def async_step_reauth(self, _entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin anew with a market that no longer knows this home."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for a new invite and join again with the same keys: the account's money and energy stay its own."""
        entry = self._get_reauth_entry()
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            self._joining = Joining(self.hass)
            limits = forms.kept_limits(entry.data)
            errors, reason = await self._joining.async_rejoin(entry, user_input[CONF_INVITE], limits)
            if not errors:
                generation = entry.data[CONF_METER_GENERATION] + self._joining.meter_replaced
                updates = {CONF_URL: self._joining.url, CONF_METER_GENERATION: generation}
                return self.async_update_reload_and_abort(entry, data_updates=updates)
        return self.async_show_form(
            step_id="reauth_confirm",
            data_schema=forms.REAUTH,
            errors=errors,
            description_placeholders={"reason": reason, "name": entry.title, "url": entry.data[CONF_URL]},
        )

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Change the coordinator's address, the meter's entities or the connection's limits."""
        entry = self._get_reconfigure_entry()
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            self._joining = Joining(self.hass)
            errors, reason = await self._joining.async_connect(user_input[CONF_URL], entry.data)
            if not errors:
                errors, reason = forms.check_meters(self.hass, user_input)
            limits = forms.limits(user_input)
            if not errors and limits != forms.kept_limits(entry.data):
                errors, reason = await self._joining.async_change_limits(entry, limits)
            if not errors:
                updates = {CONF_URL: self._joining.url, **forms.meter_data(self.hass, user_input)}
                changed = forms.other_meter(entry.data, updates) or self._joining.meter_replaced
                updates[CONF_METER_GENERATION] = entry.data[CONF_METER_GENERATION] + changed
                return self.async_update_reload_and_abort(entry, data_updates=updates)
        shown = user_input or {CONF_URL: entry.data[CONF_URL], **forms.present_meters(self.hass, entry.data)}
        return self.async_show_form(
            step_id="reconfigure",
            data_schema=self.add_suggested_values_to_schema(forms.RECONFIGURE, shown),
            errors=errors,
            description_placeholders={"reason": reason, "name": entry.title},
        )

    async def _joined(self, name: str) -> ConfigFlowResult:
        """Go on as the account that has joined."""
        await self.async_set_unique_id(self._joining.identity.account, raise_on_progress=False)
        self._abort_if_unique_id_configured()
        self._data = {CONF_URL: self._joining.url, CONF_NAME: name.strip()}
        return await self.async_step_meter()

    def _create(self, *, shadow: bool) -> ConfigFlowResult:
        options = {**new_options(self._policy.kind, self._policy.settings), forms.FIELD_SHADOW: shadow}
        return self.async_create_entry(
            title=plain(self._joining.info.name, NAME_MAX),
            data=self._data,
            options=options,
            subentries=[device.subentry() for device in self._devices],
        )

    async def _invited_here(self, invite: str, url: str) -> Fault:
        """Take an invite word for the market at ``url``, or a link, which may name another address of it."""
        expected = self._joining.market_data
        errors, reason = await self._joining.async_invited(*(invite, "") if is_link(invite) else (url, invite))
        if not errors and self._joining.market_data != expected:
            return {CONF_INVITE: "other_market"}, plain(self._joining.info.name)
        return {CONF_INVITE if field == CONF_URL else field: code for field, code in errors.items()}, reason

    def _market_words(self) -> dict[str, str]:
        info = self._joining.info
        return {"market": plain(info.name), "url": self._joining.url, "minutes": f"{info.interval_s / 60:g}"}
