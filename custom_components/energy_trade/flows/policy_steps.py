"""The part of the flows that is about the policy: its choice, its settings, and the week it would have had."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import probatio
from homeassistant.config_entries import ConfigEntryBaseFlow, ConfigFlowResult
from homeassistant.core import HomeAssistant

from ..const import (
    AHEAD_INTERVALS,
    BATTERY_RESERVE_PERCENT,
    CONF_AHEAD,
    CONF_BATTERY_RESERVE,
    CONF_CONFIDENCE,
    CONF_FEED_IN_PRICE,
    CONF_GUARD,
    CONF_POLICIES,
    CONF_POLICY,
    CONF_SUPPLIER_PRICE,
    CONFIDENCE_PERCENT,
)
from ..household.policies import DEFAULT, POLICIES
from ..household.reason import price_text
from ..household.settings import Settings
from ..protocol.client import CoordinatorClient, MarketInfo
from . import policy_forms as forms
from .joining import Fault
from .preview import Choice, Week, async_week

_SELL, _BUY = "sell", "buy"


def new_options(kind: str, settings: Settings) -> dict[str, Any]:
    """Return the options of a new entry."""
    return {
        CONF_POLICY: kind,
        CONF_POLICIES: {kind: settings},
        CONF_GUARD: True,
        CONF_CONFIDENCE: CONFIDENCE_PERCENT,
        CONF_AHEAD: AHEAD_INTERVALS,
        CONF_BATTERY_RESERVE: BATTERY_RESERVE_PERCENT,
    }


class PolicyDialog:
    """What was chosen so far, and the forms that ask for the rest."""

    kind_form: Final = forms.KIND

    def __init__(
        self,
        hass: HomeAssistant,
        info: MarketInfo,
        data: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with an entry's options, or with none."""
        self._hass = hass
        self._info = info
        self._data = data
        self._options = options or {}
        self.kind: str = self._options.get(CONF_POLICY, DEFAULT)
        self.settings: Settings = {}

    @property
    def kind_shown(self) -> dict[str, str]:
        """What the first form shows."""
        return {CONF_POLICY: self.kind}

    async def async_form(self) -> probatio.Schema:
        """Return the form of the chosen policy's settings."""
        return await forms.async_schema(self._hass, self.kind, self._info)

    @property
    def shown(self) -> dict[str, Any]:
        """What the settings' form shows: what was set before, else what the policy proposes."""
        before = self._options.get(CONF_POLICIES, {}).get(self.kind)
        settings = POLICIES[self.kind].proposed(self._info) if before is None else before
        return forms.shown(self._hass, self.kind, settings)

    @property
    def options(self) -> dict[str, Any]:
        """The options with this policy; the settings of the others are kept."""
        policies = {**self._options.get(CONF_POLICIES, {}), self.kind: self.settings}
        return {CONF_POLICY: self.kind, CONF_POLICIES: policies}

    @property
    def words(self) -> dict[str, str]:
        """What the forms' texts are filled with."""
        info = self._info
        return {
            "market": info.name,
            "feed_in": price_text(info.feed_in_micro_per_kwh, info.currency),
            "supplier": price_text(info.supplier_micro_per_kwh, info.currency),
        }

    def choose(self, user_input: Mapping[str, Any]) -> None:
        """Take the chosen kind."""
        self.kind = user_input[CONF_POLICY]

    async def async_read(self, user_input: Mapping[str, Any]) -> Fault:
        """Take the settings, or say what is wrong with them."""
        self.settings, (errors, reason) = await forms.async_read(self._hass, self.kind, user_input, self._info)
        return (errors, reason) if errors else (self._regrets(), "")

    async def async_preview(self, client: CoordinatorClient) -> Week:
        """Return what this policy would have done in the last days."""
        choice = Choice(self.kind, self.settings, self._info, self._data, self._options)
        return await async_week(self._hass, choice, client)

    def _regrets(self) -> dict[str, str]:
        """Say where a fixed price would be worse than the tariff that the guard holds it to."""
        info, errors = self._info, {}
        if not self._options.get(CONF_GUARD, True):
            return {}
        sell, buy = self.settings.get(_SELL), self.settings.get(_BUY)
        if sell is not None and sell < info.feed_in_micro_per_kwh and not self._options.get(CONF_FEED_IN_PRICE):
            errors[_SELL] = "below_feed_in"
        if buy is not None and buy > info.supplier_micro_per_kwh and not self._options.get(CONF_SUPPLIER_PRICE):
            errors[_BUY] = "above_supplier"
        return errors


class PolicySteps(ConfigEntryBaseFlow, ABC):
    """The steps that ask for a policy, the same in the flow that joins and in the options; the preview is their own."""

    _policy: PolicyDialog

    async def async_step_policy(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask how to trade."""
        if user_input is not None:
            self._policy.choose(user_input)
            return await self.async_step_settings()
        return self.async_show_form(
            step_id="policy",
            data_schema=self.add_suggested_values_to_schema(self._policy.kind_form, self._policy.kind_shown),
            description_placeholders=self._policy.words,
        )

    async def async_step_settings(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the policy's settings."""
        errors: dict[str, str] = {}
        reason = ""
        if user_input is not None:
            errors, reason = await self._policy.async_read(user_input)
            if not errors:
                return await self.async_step_preview()
        form = await self._policy.async_form()
        return self.async_show_form(
            step_id="settings",
            data_schema=self.add_suggested_values_to_schema(form, user_input or self._policy.shown),
            errors=errors,
            description_placeholders={"reason": reason, **self._policy.words},
        )

    @abstractmethod
    async def async_step_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what the policy would have done in the last days."""
