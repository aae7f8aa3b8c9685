"""What the flows do with a coordinator: find its market, join it, bind the meter. Each fault names its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from homeassistant.config_entries import ConfigEntry, ConfigEntryState
from homeassistant.const import CONF_NAME, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util import dt as dt_util

from ..const import CONF_CHAIN_ID, CONF_INVITE, CONF_LEDGER, CONF_MARKET, LOGGER
from ..events import plain
from ..household.identity import Identity
from ..household.terms import HomeLimits
from ..operator import pin_of
from ..protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from ..protocol.invitation import Invitation, coordinator_url, is_link
from ..protocol.keys import address_of
from ..store import NotWrittenError, async_identities

type Fault = tuple[dict[str, str], str]
"""Errors by field, as the form wants them, and a reason to show in the form's text."""

NO_FAULT: Fault = ({}, "")


class Joining:
    """One conversation with one coordinator."""

    def __init__(self, hass: HomeAssistant) -> None:
        """Begin without an address."""
        self._hass = hass
        self.url = ""
        self.invite = ""
        self.client: CoordinatorClient
        self.info: MarketInfo
        self.identity: Identity
        self.meter_replaced = False

    @property
    def market_data(self) -> dict[str, Any]:
        """What identifies the market, as an entry keeps it."""
        domain = self.info.domain
        return {CONF_MARKET: self.info.market, CONF_CHAIN_ID: domain.chain_id, CONF_LEDGER: domain.ledger}

    async def async_invited(self, address: str, word: str) -> Fault:
        """Take an invite link, or an address with the operator's word, and ask the coordinator for its market."""
        if not is_link(address):
            self.invite = word.strip()
            if not self.invite:
                return {CONF_INVITE: "invite_needed"}, ""
            return await self.async_connect(address)
        try:
            invitation = Invitation.parse(address)
        except ValueError as error:
            return {CONF_URL: "invalid_link"}, plain(str(error))
        self.invite = invitation.invite
        errors, reason = await self.async_connect(invitation.url)
        if not errors and (self.info.market, self.info.operator_account) != (invitation.market, invitation.operator):
            return {CONF_URL: "not_the_inviter"}, plain(self.info.name)
        return errors, reason

    async def async_connect(self, address: str, expected: Mapping[str, Any] | None = None) -> Fault:
        """Ask the coordinator for its market; ``expected`` (an entry's data) must be the same market."""
        try:
            self.url = coordinator_url(address)
        except ValueError:
            return {CONF_URL: "invalid_url"}, ""
        self.client = CoordinatorClient(async_get_clientsession(self._hass), self.url)
        try:
            self.info = await self.client.market()
        except (CoordinatorUnavailable, CoordinatorRefused, aiohttp.InvalidURL) as error:
            return {CONF_URL: "cannot_connect"}, plain(str(error))
        if address_of(self.info.operator_public_key) != self.info.operator_account:
            return {CONF_URL: "cannot_connect"}, "the operator's key is not that of its account"
        if expected is not None and any(expected[key] != value for key, value in self.market_data.items()):
            return {CONF_URL: "other_market"}, plain(self.info.name)
        return NO_FAULT

    def same_operator(self, expected: Mapping[str, Any]) -> bool:
        """Tell whether the operator that answered is the one that an entry knows."""
        return all(expected.get(key) == value for key, value in pin_of(self.info).items())

    async def async_join(self, name: str) -> Fault:
        """Join with keys that are on disk before the coordinator hears of them."""
        now = int(dt_util.utcnow().timestamp())
        try:
            self.identity = await async_identities(self._hass).async_load_or_create(self.info)
            join = self.identity.join(self.info.market, self.invite, name.strip(), now)
            await self.client.join(join, self.identity.account_key, self.info.domain)
        except NotWrittenError:
            return {"base": "not_written"}, ""
        except ValueError:
            LOGGER.exception("The file with the keys cannot be read")
            return {"base": "keys_unreadable"}, ""
        except CoordinatorUnavailable as error:
            return {"base": "cannot_connect"}, plain(str(error))
        except CoordinatorRefused as refusal:
            return join_fault(refusal)
        return NO_FAULT

    async def async_register(self, limits: HomeLimits) -> Fault:
        """Bind the meter's key to the account; one that is bound with other limits is left for a new key."""
        try:
            try:
                await self._send_registration(limits)
            except CoordinatorRefused as refusal:
                if refusal.code != "meter_taken":
                    raise
                self.identity = await async_identities(self._hass).async_replace_meter(self.info, self.identity)
                await self._send_registration(limits)
                self.meter_replaced = True
        except NotWrittenError:
            return {"base": "not_written"}, ""
        except CoordinatorUnavailable as error:
            return {"base": "cannot_connect"}, plain(str(error))
        except CoordinatorRefused as refusal:
            return {"base": "refused"}, plain(f"{refusal.code}: {refusal}")
        return NO_FAULT

    async def async_rejoin(self, entry: ConfigEntry[Any], invite: str, limits: HomeLimits) -> Fault:
        """Join again with an entry's own keys, after the market forgot the account; a link may name a new address."""
        link = is_link(invite)
        errors, reason = await self.async_invited(*(invite, "") if link else (entry.data[CONF_URL], invite))
        if not errors and any(entry.data[key] != value for key, value in self.market_data.items()):
            errors, reason = {CONF_INVITE: "other_market"}, plain(self.info.name)
        if not errors and not self.same_operator(entry.data):
            errors, reason = {CONF_INVITE: "other_operator"}, plain(self.info.name)
        if not errors:
            errors, reason = await self._async_own_keys(entry)
        if not errors:
            errors, reason = await self.async_join(entry.data[CONF_NAME])
        if not errors:
            errors, reason = await self.async_register(limits)
        place = CONF_INVITE if link else "base"
        return {place if field == CONF_URL else field: code for field, code in errors.items()}, reason

    async def async_change_limits(self, entry: ConfigEntry[Any], limits: HomeLimits) -> Fault:
        """Register the meter with other limits: under a new key, when no reading of the present one waits."""
        if entry.state is ConfigEntryState.LOADED and entry.runtime_data.home.agent.outbox.readings():
            return {"base": "readings_waiting"}, ""
        errors, reason = await self._async_own_keys(entry)
        return (errors, reason) if errors else await self.async_register(limits)

    async def _async_own_keys(self, entry: ConfigEntry[Any]) -> Fault:
        """Take the keys of an entry's account; new ones would be another account."""
        domain = self.info.domain
        try:
            found = await async_identities(self._hass).async_load(self.info.market, domain.chain_id, domain.ledger)
        except ValueError:
            LOGGER.exception("The file with the keys cannot be read")
            return {"base": "keys_unreadable"}, ""
        if found is None or found.account != entry.unique_id:
            return {"base": "keys_missing"}, ""
        self.identity = found
        return NO_FAULT

    async def _send_registration(self, limits: HomeLimits) -> None:
        identity = self.identity
        registration = identity.registration(limits)
        await self.client.register_meter(registration, identity.meter_key, identity.account_key, self.info.domain)


def join_fault(refusal: CoordinatorRefused) -> Fault:
    """Put a refused joining to the field that can mend it."""
    match refusal.code:
        case "invite_wrong":
            return {CONF_INVITE: "invite_wrong"}, ""
        case "market_full":
            return {"base": "market_full"}, ""
        case "stale_request":
            return {"base": "clock"}, ""
    return {"base": "refused"}, plain(f"{refusal.code}: {refusal}")
