"""Energy Trade: a home in a local energy market that its community runs for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from homeassistant.config_entries import SIGNAL_CONFIG_ENTRY_CHANGED, ConfigEntry, ConfigEntryChange
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryError, ConfigEntryNotReady
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.typing import ConfigType

from . import flexibility, issues
from .backups import async_watch_keys
from .const import (
    CONF_CHAIN_ID,
    CONF_EXPORT_LIMIT,
    CONF_EXPORT_METER,
    CONF_IMPORT_LIMIT,
    CONF_IMPORT_METER,
    CONF_LEDGER,
    CONF_MARKET,
    CONF_METER_GENERATION,
    CONF_OPERATOR_KEY,
    DOMAIN,
    LOGGER,
    PLATFORMS,
)
from .coordinator import NONSENSE, EnergyTradeConfigEntry, EnergyTradeCoordinator, EnergyTradeData
from .flexibility import Flexibility
from .frontend import async_remove_frontend, async_setup_frontend
from .home import Home, StateSaver
from .household.agent import HouseholdAgent
from .household.identity import Identity
from .household.terms import HomeLimits
from .leaving import async_take_orders_back
from .meter import MeterEntities
from .migration import MINOR_VERSION, VERSION, migrated
from .operator import async_pin, pin_of, with_pinned
from .options import apply_options, policy_of
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from .protocol.typed_data import Domain
from .services import async_setup_services
from .session import HomeClient, installation_of
from .settled import energy_dashboard, statistics, verification
from .settled.statistics import StatisticsPublisher
from .settled.verification import ReceiptVerifier
from .sources.outlook import OutlookSource
from .store import NotWrittenError, StateStore, async_identities
from .websocket_api import async_setup_websocket

CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)


async def async_setup(hass: HomeAssistant, _config: ConfigType) -> bool:
    """Register the actions, the cards and what feeds them."""
    async_setup_services(hass)
    async_setup_websocket(hass)
    await async_setup_frontend(hass)
    return True


async def async_migrate_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> bool:
    """Bring an older entry up to date; one of a newer version is refused with a sentence."""
    if (entry.version, entry.minor_version) > (VERSION, MINOR_VERSION):
        LOGGER.error("%s was set up by a newer version of Energy Trade: update, or restore a backup", entry.title)
        return False
    options = migrated(entry.minor_version, entry.options)
    hass.config_entries.async_update_entry(entry, options=options, minor_version=MINOR_VERSION)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> bool:
    """Start the home; without network it starts from what it knew, and keeps its readings."""
    identity = await _load_identity(hass, entry)
    domain = Domain(entry.data[CONF_CHAIN_ID], entry.data[CONF_LEDGER])
    session = async_get_clientsession(hass)
    installation = installation_of(hass.config.config_dir, identity.account)
    client = HomeClient(session, entry.data[CONF_URL], identity, entry.data[CONF_MARKET], domain, installation)
    store = StateStore(hass, entry.entry_id)
    with _reading_the_state(entry):
        saved = await store.async_load()
        known = _known_market(saved)
    info = known or await _ask_market(client)
    if (info.market, info.domain) != (entry.data[CONF_MARKET], domain):
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="other_market")
    if CONF_OPERATOR_KEY not in entry.data:  # an entry of before operators were pinned
        async_pin(hass, entry, pin_of(info))
    with _reading_the_state(entry):
        agent = _load_agent(entry, identity, with_pinned(entry, info), saved)
    export_meter = entry.data.get(CONF_EXPORT_METER)
    meters = MeterEntities(entry.data[CONF_IMPORT_METER], export_meter)
    home = Home(hass, entry, agent, meters, client, StateSaver(store, entry.data[CONF_METER_GENERATION]))
    try:
        await home.async_save()
    except NotWrittenError as error:
        raise ConfigEntryNotReady(
            translation_domain=DOMAIN,
            translation_key="not_written",
            translation_placeholders=error.translation_placeholders,
        ) from error
    await _start(hass, entry, home, client)
    return True


async def _start(hass: HomeAssistant, entry: EnergyTradeConfigEntry, home: Home, client: HomeClient) -> None:
    """Put the parts together, let the entities in, then begin to work."""
    coordinator = EnergyTradeCoordinator(hass, entry, client, home)
    data = EnergyTradeData(
        coordinator,
        home,
        OutlookSource(hass, entry, home),
        StatisticsPublisher(hass, entry, home),
        ReceiptVerifier(hass, entry, client, home),
        Flexibility(hass, entry, home),
    )
    entry.runtime_data = data
    await coordinator.async_refresh()
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    data.outlook.async_start()
    data.flexibility.async_start()
    await data.verifier.async_start()
    await data.statistics.async_start()
    home.async_start(data.outlook)
    coordinator.async_start_stream()
    async_watch_keys(hass, entry)
    _reload_with_devices(hass, entry)


@callback
def _reload_with_devices(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> None:
    """Start the entry anew when a device was added, changed or removed."""
    devices = dict(entry.subentries)

    @callback
    def changed(_change: ConfigEntryChange, other: ConfigEntry[Any]) -> None:
        nonlocal devices
        if other.entry_id == entry.entry_id and dict(other.subentries) != devices:
            devices = dict(other.subentries)  # the entry's state changes while it unloads, which is told here too
            hass.config_entries.async_schedule_reload(entry.entry_id)

    entry.async_on_unload(async_dispatcher_connect(hass, SIGNAL_CONFIG_ENTRY_CHANGED, changed))


async def async_unload_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> bool:
    """Stop the home; what was signed and not delivered is on disk."""
    unloaded = await hass.config_entries.async_unload_platforms(entry, PLATFORMS)
    if unloaded and entry.disabled_by is not None:
        await async_take_orders_back(hass, entry)
    return unloaded


async def async_remove_entry(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> None:
    """Forget the entry's state. The keys stay: they own the account's money and energy; so do the statistics."""
    issues.async_withdraw_all(hass, entry)
    await async_take_orders_back(hass, entry)
    await StateStore(hass, entry.entry_id).async_remove()
    for room in (statistics, verification, energy_dashboard, flexibility):
        await room.async_forget(hass, entry.entry_id)
    if not [other for other in hass.config_entries.async_entries(DOMAIN) if other.entry_id != entry.entry_id]:
        await async_remove_frontend(hass)


async def _load_identity(hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> Identity:
    data = entry.data
    try:
        identity = await async_identities(hass).async_load(data[CONF_MARKET], data[CONF_CHAIN_ID], data[CONF_LEDGER])
    except ValueError as error:
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="keys_unreadable") from error
    if identity is None or identity.account != entry.unique_id:
        raise ConfigEntryError(translation_domain=DOMAIN, translation_key="keys_missing")
    return identity


@contextmanager
def _reading_the_state(entry: EnergyTradeConfigEntry) -> Iterator[None]:
    """Refuse to start on a state that makes no sense, and say what to do; what was signed may be in it."""
    try:
        yield
    except NONSENSE as error:
        raise ConfigEntryError(
            translation_domain=DOMAIN,
            translation_key="state_unreadable",
            translation_placeholders={"key": f"{DOMAIN}.{entry.entry_id}", "reason": str(error)},
        ) from error


def _known_market(saved: dict[str, Any]) -> MarketInfo | None:
    """Return the rules known from the last run."""
    known = saved.get("market")
    return None if known is None else MarketInfo.from_wire(known)


async def _ask_market(client: HomeClient) -> MarketInfo:
    """Return the market's rules at the first start."""
    try:
        return await client.market()
    except (CoordinatorUnavailable, CoordinatorRefused) as error:
        raise ConfigEntryNotReady(
            translation_domain=DOMAIN, translation_key="unavailable", translation_placeholders={"reason": str(error)}
        ) from error


def _load_agent(
    entry: EnergyTradeConfigEntry, identity: Identity, info: MarketInfo, saved: dict[str, object]
) -> HouseholdAgent:
    policy = policy_of(entry.options, info)
    limits = HomeLimits(entry.data[CONF_IMPORT_LIMIT], entry.data[CONF_EXPORT_LIMIT])
    if isinstance(state := saved.get("agent"), dict):
        agent = HouseholdAgent.from_dict(state, identity, info, policy, limits)
        if saved.get("meter_generation") != entry.data[CONF_METER_GENERATION]:
            agent.rebase()
    else:
        agent = HouseholdAgent(identity, info, policy, limits)
        agent.set_shadow(info.time, entry.options.get("shadow", False))
    apply_options(agent, entry.options)
    return agent
