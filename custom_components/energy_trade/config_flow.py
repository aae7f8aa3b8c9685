"""Joining a market, mapping the meter, choosing prices; and changing any of it later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, override

import aiohttp
from homeassistant.config_entries import (
    ConfigEntry,
    ConfigEntryState,
    ConfigFlow,
    ConfigFlowResult,
    OptionsFlowWithReload,
)
from homeassistant.const import CONF_NAME, CONF_URL
from homeassistant.core import callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util import dt as dt_util

from . import flow_forms as forms
from .const import (
    CONF_CHAIN_ID,
    CONF_EXPORT_METER,
    CONF_IMPORT_METER,
    CONF_INVITE,
    CONF_LEDGER,
    CONF_MARKET,
    CONF_METER_GENERATION,
    DOMAIN,
    LOGGER,
)
from .energy_settings import GridMeters, async_propose_meters
from .household.identity import Identity
from .household.policy import SurplusPolicy
from .household.reason import price_text
from .household.terms import HomeLimits
from .meter import entity_of
from .operator import pin_of
from .protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from .store import NotWrittenError, async_identities


class EnergyTradeConfigFlow(ConfigFlow, domain=DOMAIN):
    """Three steps: join, meter, prices. Each fault is shown at the step that can mend it."""

    VERSION = 1
    MINOR_VERSION = 1

    def __init__(self) -> None:
        self._url = ""
        self._client: CoordinatorClient
        self._info: MarketInfo
        self._identity: Identity
        self._data: dict[str, Any] = {}

    @staticmethod
    @callback
    @override
    def async_get_options_flow(config_entry: ConfigEntry[Any]) -> EnergyTradeOptionsFlow:
        """Return the flow that changes the prices."""
        return EnergyTradeOptionsFlow()

    @override
    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for coordinator and invite, and join."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            errors, reason = await self._connect(user_input[CONF_URL])
            if not errors:
                errors, reason = await self._join(user_input)
            if not errors:
                await self.async_set_unique_id(self._identity.account, raise_on_progress=False)
                self._abort_if_unique_id_configured()
                self._data = {CONF_URL: self._url, CONF_NAME: user_input[CONF_NAME].strip()}
                return await self.async_step_meter()
        shown = user_input or {CONF_NAME: self.hass.config.location_name}
        return self.async_show_form(
            step_id="user",
            data_schema=self.add_suggested_values_to_schema(forms.USER, shown),
            errors=errors,
            description_placeholders={"reason": reason, "example_url": forms.EXAMPLE_URL},
        )

    async def async_step_meter(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the meter's entities and the connection's limits, and register the meter."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is None:
            proposed = await async_propose_meters(self.hass)
            shown: Mapping[str, Any] = forms.meter_values(proposed)
        else:
            shown = user_input
            self._abort_if_unique_id_configured()  # another flow was quicker: its meter must keep its key
            errors, reason = forms.check_meters(self.hass, user_input)
            if not errors:
                errors, reason = await self._register(forms.limits(user_input))
            if not errors:
                self._data |= self._market_data() | pin_of(self._info) | forms.meter_data(self.hass, user_input)
                self._data[CONF_METER_GENERATION] = 1
                return await self.async_step_policy()
        return self.async_show_form(
            step_id="meter",
            data_schema=self.add_suggested_values_to_schema(forms.METER, shown),
            errors=errors,
            description_placeholders={"reason": reason, **self._market_words()},
        )

    async def async_step_policy(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask at what prices to trade."""
        errors: dict[str, str] = {}
        if user_input is not None:
            errors = forms.check_prices(user_input, self._info)
            if not errors:
                return self.async_create_entry(
                    title=self._info.name, data=self._data, options=forms.price_options(user_input)
                )
        shown = user_input or forms.price_values(SurplusPolicy.between_tariffs(self._info))
        return self.async_show_form(
            step_id="policy",
            data_schema=self.add_suggested_values_to_schema(forms.prices(self._info), shown),
            errors=errors,
            description_placeholders=_tariff_words(self._info),
        )

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Change the coordinator's address or the meter's entities."""
        entry = self._get_reconfigure_entry()
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            errors, reason = await self._connect(user_input[CONF_URL], entry)
            if not errors:
                errors, reason = forms.check_meters(self.hass, user_input)
            if not errors:
                updates = {CONF_URL: self._url, **forms.meter_references(self.hass, user_input)}
                changed = any(entry.data[key] != updates[key] for key in (CONF_IMPORT_METER, CONF_EXPORT_METER))
                updates[CONF_METER_GENERATION] = entry.data[CONF_METER_GENERATION] + changed
                return self.async_update_reload_and_abort(entry, data_updates=updates)
        shown = user_input or {CONF_URL: entry.data[CONF_URL], **self._present_meters(entry)}
        return self.async_show_form(
            step_id="reconfigure",
            data_schema=self.add_suggested_values_to_schema(forms.RECONFIGURE, shown),
            errors=errors,
            description_placeholders={"reason": reason, "name": entry.title},
        )

    async def _connect(self, url: str, entry: ConfigEntry[Any] | None = None) -> forms.Fault:
        """Ask the coordinator for its market; with an entry it must be the same market."""
        self._url = forms.normal_url(url)
        if not self._url:
            return {CONF_URL: "invalid_url"}, ""
        self._client = CoordinatorClient(async_get_clientsession(self.hass), self._url)
        try:
            self._info = await self._client.market()
        except (CoordinatorUnavailable, CoordinatorRefused, aiohttp.InvalidURL) as error:
            return {CONF_URL: "cannot_connect"}, str(error)
        if entry is not None and any(entry.data[key] != value for key, value in self._market_data().items()):
            return {CONF_URL: "other_market"}, self._info.name
        return {}, ""

    async def _join(self, user_input: Mapping[str, Any]) -> forms.Fault:
        """Join with keys that are on disk before the coordinator hears of them."""
        now = int(dt_util.utcnow().timestamp())
        try:
            self._identity = await async_identities(self.hass).async_load_or_create(self._info)
            name, invite = user_input[CONF_NAME].strip(), user_input[CONF_INVITE].strip()
            join = self._identity.join(self._info.market, invite, name, now)
            await self._client.join(join, self._identity.account_key, self._info.domain)
        except NotWrittenError:
            return {"base": "not_written"}, ""
        except ValueError:
            LOGGER.exception("The file with the keys cannot be read")
            return {"base": "keys_unreadable"}, ""
        except CoordinatorUnavailable as error:
            return {"base": "cannot_connect"}, str(error)
        except CoordinatorRefused as refusal:
            return forms.join_fault(refusal)
        return {}, ""

    async def _register(self, limits: HomeLimits) -> forms.Fault:
        """Bind the meter's key to the account; one that is bound with other limits is left for a new key."""
        try:
            try:
                await self._send_registration(limits)
            except CoordinatorRefused as refusal:
                if refusal.code != "meter_taken":
                    raise
                self._identity = await async_identities(self.hass).async_replace_meter(self._info, self._identity)
                await self._send_registration(limits)
        except NotWrittenError:
            return {"base": "not_written"}, ""
        except CoordinatorUnavailable as error:
            return {"base": "cannot_connect"}, str(error)
        except CoordinatorRefused as refusal:
            return {"base": "refused"}, f"{refusal.code}: {refusal}"
        return {}, ""

    async def _send_registration(self, limits: HomeLimits) -> None:
        identity = self._identity
        registration = identity.registration(limits)
        await self._client.register_meter(registration, identity.meter_key, identity.account_key, self._info.domain)

    def _market_data(self) -> dict[str, Any]:
        domain = self._info.domain
        return {CONF_MARKET: self._info.market, CONF_CHAIN_ID: domain.chain_id, CONF_LEDGER: domain.ledger}

    def _market_words(self) -> dict[str, str]:
        minutes = f"{self._info.interval_s / 60:g}"
        return {"market": self._info.name, "url": self._url, "minutes": minutes}

    def _present_meters(self, entry: ConfigEntry[Any]) -> dict[str, Any]:
        found = (
            None if (reference := entry.data.get(key)) is None else entity_of(self.hass, reference)
            for key in (CONF_IMPORT_METER, CONF_EXPORT_METER)
        )
        return forms.meter_entities(GridMeters(*found))


class EnergyTradeOptionsFlow(OptionsFlowWithReload):
    """Changes the prices."""

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask at what prices to trade."""
        if self.config_entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_loaded")
        info: MarketInfo = self.config_entry.runtime_data.coordinator.info
        errors: dict[str, str] = {}
        if user_input is not None:
            errors = forms.check_prices(user_input, info)
            if not errors:
                return self.async_create_entry(data=forms.price_options(user_input))
        shown = user_input or forms.saved_prices(self.config_entry.options)
        return self.async_show_form(
            step_id="init",
            data_schema=self.add_suggested_values_to_schema(forms.prices(info), shown),
            errors=errors,
            description_placeholders=_tariff_words(info),
        )


def _tariff_words(info: MarketInfo) -> dict[str, str]:
    return {
        "market": info.name,
        "feed_in": price_text(info.feed_in_micro_per_kwh, info.currency),
        "supplier": price_text(info.supplier_micro_per_kwh, info.currency),
    }
