"""Energy Trade: a home in a local energy market that its community runs for itself."""

from __future__ import annotations

from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import ConfigEntryError, ConfigEntryNotReady
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.typing import ConfigType

from . import issues
from .const import (
    CONF_BUY_PRICE,
    CONF_CHAIN_ID,
    CONF_EXPORT_LIMIT,
    CONF_EXPORT_METER,
    CONF_IMPORT_LIMIT,
    CONF_IMPORT_METER,
    CONF_LEDGER,
    CONF_MARKET,
    CONF_METER_GENERATION,
    CONF_OPERATOR_KEY,
    CONF_SELL_PRICE,
    DOMAIN,
    PLATFORMS,
)
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator, EnergyTradeData
from .home import Home, StateSaver
from .household.agent import HouseholdAgent
from .household.identity import Identity
from .household.policy import SurplusPolicy
from .household.terms import HomeLimits
from .meter import MeterEntities
from .operator import async_pin, pin_of, with_pinned
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from .protocol.typed_data import Domain
from .services import async_setup_services
from .session import HomeClient
from .store import NotWrittenError, StateStore, async_identities

CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Register the actions."""
    async_setup_services(hass)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> bool:
    """Start the home; without network it starts from what it knew, and keeps its readings."""
    identity = await _load_identity(hass, entry)
    domain = Domain(entry.data[CONF_CHAIN_ID], entry.data[CONF_LEDGER])
    session = async_get_clientsession(hass)
    client = HomeClient(session, entry.data[CONF_URL], identity, entry.data[CONF_MARKET], domain)
    store = StateStore(hass, entry.entry_id)
    saved = await store.async_load()
    info = await _load_market(client, saved.get("market"))
    if (info.market, info.domain) != (entry.data[CONF_MARKET], domain):
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="other_market")
    if CONF_OPERATOR_KEY not in entry.data:  # an entry of before operators were pinned
        async_pin(hass, entry, pin_of(info))
    agent = _load_agent(entry, identity, with_pinned(entry, info), saved)
    export_meter = entry.data.get(CONF_EXPORT_METER)
    meters = MeterEntities(entry.data[CONF_IMPORT_METER], export_meter)
    home = Home(hass, entry, agent, meters, client, StateSaver(store, entry.data[CONF_METER_GENERATION]))
    try:
        await home.async_save()
    except NotWrittenError as error:
        raise ConfigEntryNotReady(error) from error
    coordinator = EnergyTradeCoordinator(hass, entry, client, home)
    entry.runtime_data = EnergyTradeData(coordinator, home)
    await coordinator.async_refresh()
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    home.async_start()
    coordinator.async_start_stream()
    return True


async def async_unload_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> bool:
    """Stop the home; what was signed and not delivered is on disk."""
    return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)


async def async_remove_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> None:
    """Forget the entry's state. The keys stay: they own the account's money and energy."""
    issues.async_withdraw_all(hass, entry)
    await StateStore(hass, entry.entry_id).async_remove()


async def _load_identity(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> Identity:
    data = entry.data
    try:
        identity = await async_identities(hass).async_load(data[CONF_MARKET], data[CONF_CHAIN_ID], data[CONF_LEDGER])
    except ValueError as error:
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="keys_unreadable") from error
    if identity is None or identity.account != entry.unique_id:
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="keys_missing")
    return identity


async def _load_market(client: HomeClient, saved: dict[str, object] | None) -> MarketInfo:
    """Return the rules known from the last run; ask only at the first start."""
    if saved is not None:
        return MarketInfo.from_wire(saved)
    try:
        return await client.market()
    except (CoordinatorUnavailable, CoordinatorRefused) as error:
        raise ConfigEntryNotReady(
            translation_domain=DOMAIN, translation_key="unavailable", translation_placeholders={"reason": str(error)}
        ) from error


def _load_agent(
    entry: EnergyTradeConfigEntry, identity: Identity, info: MarketInfo, saved: dict[str, object]
) -> HouseholdAgent:
    policy = SurplusPolicy(entry.options[CONF_SELL_PRICE], entry.options[CONF_BUY_PRICE])
    limits = HomeLimits(entry.data[CONF_IMPORT_LIMIT], entry.data[CONF_EXPORT_LIMIT])
    if not isinstance(state := saved.get("agent"), dict):
        return HouseholdAgent(identity, info, policy, limits)
    agent = HouseholdAgent.from_dict(state, identity, info, policy, limits)
    if saved.get("meter_generation") != entry.data[CONF_METER_GENERATION]:
        agent.rebase()
    return agent
