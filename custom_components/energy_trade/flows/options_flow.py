"""What the owner may change at any time: policy, bounds, sources, verification, the Energy dashboard, the account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeassistant.config_entries import ConfigEntryState, ConfigFlowResult, OptionsFlowWithReload
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from ..const import CONF_HOLIDAYS, CONF_RPC_URL
from ..events import plain
from ..protocol.client import MarketInfo
from ..protocol.invitation import coordinator_url
from ..settled import energy_dashboard
from ..settled.chain_reader import ChainReader, ChainUnavailable, WrongChain
from . import options_forms as forms
from .energy_settings import async_propose_prices
from .joining import NO_FAULT, Fault
from .policy_steps import PolicyDialog, PolicySteps

MENU = ("policy", "bounds", "sources", "verification", "energy_dashboard", "account")


class EnergyTradeOptionsFlow(PolicySteps, OptionsFlowWithReload):
    """One menu; each of its points can be left without a change."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the menu of an entry that runs."""
        entry = self.config_entry
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_loaded")
        self._policy = PolicyDialog(self.hass, self._info, entry.data, entry.options)
        return self.async_show_menu(step_id="init", menu_options=list(MENU))

    async def async_step_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what the policy would have done in the last days, then take it."""
        if user_input is not None:
            return self._changed(self._policy.options)
        week = await self._policy.async_preview(self.config_entry.runtime_data.coordinator.client)
        return self.async_show_form(
            step_id=week.step,
            data_schema=forms.CONFIRM,
            description_placeholders={**week.words, **self._policy.words},
        )

    async def async_step_no_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Take the policy without a preview: too little is recorded."""
        return await self.async_step_preview(user_input)

    async def async_step_bounds(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask what no policy may do."""
        if user_input is not None:
            return self._changed(forms.read_bounds(user_input))
        return self.async_show_form(
            step_id="bounds",
            data_schema=self.add_suggested_values_to_schema(
                forms.bounds(self._info), forms.shown_bounds(self.config_entry.options)
            ),
            description_placeholders=self._policy.words,
        )

    async def async_step_sources(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask where the owner's own tariff, holidays and grid events come from."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            options, (errors, reason) = await forms.async_read_sources(self.hass, user_input, self._info)
            if not errors:
                return self._changed(options)
        shown = user_input or await self._shown_sources()
        return self.async_show_form(
            step_id="sources",
            data_schema=self.add_suggested_values_to_schema(forms.sources(self.hass), shown),
            errors=errors,
            description_placeholders={"reason": reason, **self._policy.words},
        )

    async def async_step_verification(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for a node of the chain, and take one only that knows the community's contract."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            url = user_input.get(CONF_RPC_URL, "").strip()
            errors, reason = await self._probe(url) if url else NO_FAULT
            if not errors:
                return self._changed({CONF_RPC_URL: url or None})
        domain = self._info.domain
        return self.async_show_form(
            step_id="verification",
            data_schema=self.add_suggested_values_to_schema(forms.VERIFICATION, user_input or self._set(CONF_RPC_URL)),
            errors=errors,
            description_placeholders={"reason": reason, "chain": str(domain.chain_id), "ledger": domain.ledger},
        )

    async def async_step_energy_dashboard(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what would change in the Energy dashboard, and change it only then; or offer to undo the change."""
        try:
            if user_input is not None:
                await energy_dashboard.async_apply(self.hass, self.config_entry)
                return self.async_abort(reason="dashboard_applied")
            if await energy_dashboard.async_is_applied(self.hass, self.config_entry):
                return await self.async_step_energy_dashboard_undo()
            changes = await energy_dashboard.async_preview(self.hass, self.config_entry)
        except HomeAssistantError as error:
            return self._dashboard_refused(error)
        if not changes:
            return self.async_abort(reason="dashboard_unchanged")
        return self.async_show_form(
            step_id="energy_dashboard", data_schema=forms.CONFIRM, description_placeholders={"changes": changes}
        )

    async def async_step_energy_dashboard_undo(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Bring the Energy dashboard's settings of before back, on wish."""
        if user_input is None:
            return self.async_show_form(step_id="energy_dashboard_undo", data_schema=forms.CONFIRM)
        try:
            await energy_dashboard.async_undo(self.hass, self.config_entry)
        except HomeAssistantError as error:
            return self._dashboard_refused(error)
        return self.async_abort(reason="dashboard_undone")

    async def async_step_account(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the account, for a wallet that is to pay into it."""
        if user_input is not None:
            return await self.async_step_init()
        account, domain = str(self.config_entry.unique_id), self._info.domain
        return self.async_show_form(
            step_id="account",
            data_schema=forms.account(account),
            description_placeholders={"account": account, "chain": str(domain.chain_id), "ledger": domain.ledger},
        )

    @property
    def _info(self) -> MarketInfo:
        info: MarketInfo = self.config_entry.runtime_data.coordinator.info
        return info

    def _changed(self, options: Mapping[str, Any]) -> ConfigFlowResult:
        """Keep all options but those that were changed."""
        return self.async_create_entry(data={**self.config_entry.options, **options})

    def _dashboard_refused(self, error: HomeAssistantError) -> ConfigFlowResult:
        return self.async_abort(reason="dashboard_refused", description_placeholders={"reason": str(error)})

    def _set(self, key: str) -> dict[str, Any]:
        value = self.config_entry.options.get(key)
        return {} if value is None else {key: value}

    async def _shown_sources(self) -> dict[str, Any]:
        """What was set; before that was ever asked, what the Energy dashboard knows of the tariff."""
        options = self.config_entry.options
        if CONF_HOLIDAYS in options:
            return forms.shown_sources(self.hass, options)
        prices = await async_propose_prices(self.hass)
        return forms.known_sources(prices)

    async def _probe(self, url: str) -> Fault:
        try:
            coordinator_url(url)
        except ValueError:
            return {CONF_RPC_URL: "invalid_url"}, ""
        info = self._info
        reader = ChainReader(async_get_clientsession(self.hass), url, info.domain, info.market)
        try:
            await reader.async_probe()
        except WrongChain as error:
            return {CONF_RPC_URL: "wrong_chain"}, plain(str(error))
        except ChainUnavailable as error:
            return {CONF_RPC_URL: "chain_unavailable"}, plain(str(error))
        return NO_FAULT
