"""The choice of the policy that trades for the home."""

from __future__ import annotations

from typing import override

from homeassistant.components.select import SelectEntity, SelectEntityDescription
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .const import CONF_POLICIES, CONF_POLICY, DOMAIN
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .household.policies import POLICIES
from .household.settings import SettingsInvalid

PARALLEL_UPDATES = 1

POLICY = SelectEntityDescription(key="policy", translation_key="policy", options=list(POLICIES))
SELECTS = (POLICY,)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the choice."""
    async_add_entities([PolicySelect(entry.runtime_data.coordinator)])


class PolicySelect(EnergyTradeEntity, SelectEntity):
    """Which policy trades, with the settings that the owner gave it."""

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, POLICY, local=True)

    @property
    @override
    def current_option(self) -> str:
        """The policy that trades at present."""
        return self.home.agent.policy.kind

    @override
    async def async_select_option(self, option: str) -> None:
        """Trade by another policy from now on; one that was never set up begins with what is proposed for it."""
        entry, info = self.coordinator.config_entry, self.coordinator.info
        policies = dict(entry.options.get(CONF_POLICIES, {}))
        settings = policies.get(option) or POLICIES[option].proposed(info)
        try:
            POLICIES[option].from_settings(settings, info)
        except SettingsInvalid as error:
            raise ServiceValidationError(
                translation_domain=DOMAIN,
                translation_key="policy_not_set_up",
                translation_placeholders={"reason": str(error)},
            ) from error
        chosen = {CONF_POLICY: option, CONF_POLICIES: {**policies, option: settings}}
        self.hass.config_entries.async_update_entry(entry, options={**entry.options, **chosen})
        self.home.async_apply_options()
        self.async_write_ha_state()
