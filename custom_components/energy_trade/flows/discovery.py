"""Coordinators that announce themselves on the local network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant

from ..const import CONF_CHAIN_ID, CONF_LEDGER, CONF_MARKET, CONF_OPERATOR_KEY, DOMAIN
from ..protocol.announcement import Announcement
from ..protocol.invitation import coordinator_url
from ..protocol.typed_data import Domain
from ..protocol.wire import read_bytes
from .joining import Joining


@dataclass(frozen=True, slots=True)
class Announced:
    """What a coordinator says of itself, and its operator's signature of it."""

    announcement: Announcement
    domain: Domain
    signature: bytes

    @classmethod
    def read(cls, properties: Mapping[str, str | None]) -> Self:
        """Read the announcement's properties; raise ``ValueError`` for what is none."""
        announcement, domain, signature = Announcement.from_properties(properties)
        coordinator_url(announcement.url)
        return cls(announcement, domain, signature)

    @property
    def url(self) -> str:
        """The coordinator's address."""
        return coordinator_url(self.announcement.url)

    @property
    def market_data(self) -> dict[str, Any]:
        """What identifies the market, as an entry keeps it."""
        domain = self.domain
        return {CONF_MARKET: self.announcement.market, CONF_CHAIN_ID: domain.chain_id, CONF_LEDGER: domain.ledger}

    @property
    def place(self) -> str:
        """What tells one market from all others, until a home has its account there."""
        return f"{self.announcement.market}@{self.domain.chain_id}:{self.domain.ledger}"

    def signed_by(self, public_key: bytes) -> bool:
        """Tell whether the announcement, address included, is the operator's own."""
        return self.announcement.signed_by(self.signature, public_key, self.domain)


def entry_of(hass: HomeAssistant, announced: Announced) -> ConfigEntry[Any] | None:
    """Return the entry of the market that was announced, if this home takes part in it."""
    wanted = announced.market_data.items()
    entries = hass.config_entries.async_entries(DOMAIN, include_ignore=False)
    return next((entry for entry in entries if all(entry.data.get(key) == value for key, value in wanted)), None)


async def async_moved(hass: HomeAssistant, entry: ConfigEntry[Any], announced: Announced) -> bool:
    """Tell whether the coordinator of an entry answers at the announced address, and no longer at the known one.

    The address counts only with the signature of the operator that the home has pinned: anybody in the local network
    can announce, and what a coordinator says of itself is public.
    """
    if announced.url == entry.data[CONF_URL]:
        return False
    if not announced.signed_by(read_bytes(entry.data, CONF_OPERATOR_KEY, 64)):
        return False
    return await _answers(hass, entry, announced.url) and not await _answers(hass, entry, entry.data[CONF_URL])


async def _answers(hass: HomeAssistant, entry: ConfigEntry[Any], url: str) -> bool:
    joining = Joining(hass)
    errors, _ = await joining.async_connect(url, entry.data)
    return not errors and joining.same_operator(entry.data)
