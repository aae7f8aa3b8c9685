"""A home that stops for good takes its orders out of the market: it would neither read nor plan what they trade."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from homeassistant.util import dt as dt_util

from .const import CONF_CHAIN_ID, CONF_LEDGER, CONF_MARKET, LOGGER
from .household.agent import CANCEL_SLACK_S
from .household.identity import Identity
from .household.orders import Orders
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable
from .protocol.messages import ZERO_HASH, Cancel
from .protocol.typed_data import Domain
from .session import HomeClient
from .store import StateStore, async_identities

PATIENCE_S: Final = 10.0


async def async_take_orders_back(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Cancel the orders of an entry that is removed or disabled; say so where that fails, for it goes on regardless."""
    data = entry.data
    domain = Domain(data[CONF_CHAIN_ID], data[CONF_LEDGER])
    try:
        saved = (await StateStore(hass, entry.entry_id).async_load()).get("agent")
        if saved is None or not any(order.open for order in Orders.from_state(saved)):
            return
        identity = await async_identities(hass).async_load(data[CONF_MARKET], domain.chain_id, domain.ledger)
        if identity is not None:
            client = HomeClient(async_get_clientsession(hass), data[CONF_URL], identity, data[CONF_MARKET], domain)
            async with asyncio.timeout(PATIENCE_S):
                await _cancel_all(client, identity, data[CONF_MARKET], domain)
    except (CoordinatorRefused, CoordinatorUnavailable, TimeoutError, LookupError, TypeError, ValueError) as error:
        LOGGER.warning(
            "The orders of %s could not be taken back (%s): those that stand may trade until their gate closes",
            entry.title,
            error,
        )


async def _cancel_all(client: HomeClient, identity: Identity, market: str, domain: Domain) -> None:
    """Cancel what stands, and what is still on its way."""
    until = int(dt_util.utcnow().timestamp()) + CANCEL_SLACK_S
    cancel = Cancel(identity.account, market, ZERO_HASH, until, secrets.token_bytes(32))
    try:
        await client.cancel(cancel, identity.account_key.sign(cancel.digest(domain)))
    except CoordinatorRefused as refusal:
        if refusal.code != "order_not_open":
            raise
