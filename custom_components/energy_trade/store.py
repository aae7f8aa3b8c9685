"""What survives a restart: keys in one private file, the agent's state in another per entry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, override

from homeassistant.core import HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError, UnsupportedStorageVersionError
from homeassistant.helpers.storage import Store
from homeassistant.util.hass_dict import HassKey

from .const import DOMAIN, LOGGER
from .household.identity import Identity
from .protocol.client import MarketInfo
from .protocol.keys import AccountKey, MeterKey
from .protocol.wire import read_bytes, read_mapping

_VERSION = 1


class NotWrittenError(HomeAssistantError):
    """The disk did not take the state; nothing may be sent on the strength of it."""


class DurableStore[T: Mapping[str, Any]](Store[T]):
    """A private (0600), atomically written store that says so when a write did not happen.

    Home Assistant's own store logs a failed write, and skips writes while it stops. A signed message
    must never leave before the state that remembers it is on disk.
    """

    _written = False

    def __init__(self, hass: HomeAssistant, key: str) -> None:
        super().__init__(hass, _VERSION, key, private=True, atomic_writes=True)

    async def async_save_durably(self, data: T) -> None:
        """Write now; raise ``NotWrittenError`` when the file was not written."""
        self._written = False
        await self.async_save(data)
        if not self._written:
            raise NotWrittenError(
                translation_domain=DOMAIN, translation_key="not_written", translation_placeholders={"key": self.key}
            )

    async def async_load_object(self) -> dict[str, Any]:
        """Return what was saved, empty at first; raise ``ValueError`` for what this version cannot read."""
        try:
            saved: object = await self.async_load()
        except UnsupportedStorageVersionError as error:
            raise ValueError(str(error)) from error
        except (AttributeError, KeyError, NotImplementedError, TypeError) as error:
            raise ValueError(f"{self.key} is not in the shape of a store ({error!r})") from error
        if saved is not None and not isinstance(saved, dict):
            raise ValueError(f"{self.key} does not hold an object")
        return saved or {}

    async def async_load_or_nothing(self) -> dict[str, Any]:
        """Return what can be had again if need be: empty, with a line in the log, when it cannot be read."""
        try:
            return await self.async_load_object()
        except ValueError as error:
            LOGGER.warning("What was kept cannot be read and is begun anew: %s", error)
            return {}

    @override
    async def _async_write_data(self, data: dict[str, Any]) -> None:
        await super()._async_write_data(data)
        self._written = True


class IdentityStore:
    """The keys of all entries, by market and ledger. They outlive an entry: they own its money.

    There is one per system (``async_identities``): two flows that write at once would lose keys.
    """

    def __init__(self, hass: HomeAssistant) -> None:
        self._store: DurableStore[dict[str, dict[str, str]]] = DurableStore(hass, f"{DOMAIN}.identities")
        self._lock = asyncio.Lock()

    async def async_load(self, market: str, chain_id: int, ledger: str) -> Identity | None:
        """Return the keys for this market, if there are any."""
        async with self._lock:
            return await self._load(_key(market, chain_id, ledger))

    async def async_load_or_create(self, info: MarketInfo) -> Identity:
        """Return the keys for this market; new ones are on disk before they are returned."""
        place = _place_of(info)
        async with self._lock:
            identity = await self._load(place)
            if identity is None:
                identity = Identity.generate()
                await self._save(place, identity)
            return identity

    async def async_replace_meter(self, info: MarketInfo, known: Identity) -> Identity:
        """Give the account a new meter key, unless that has happened since ``known`` was read."""
        place = _place_of(info)
        async with self._lock:
            identity = await self._load(place)
            if identity is None or identity.device_id == known.device_id:
                identity = replace(known, meter_key=MeterKey.generate())
                await self._save(place, identity)
            return identity

    async def _load(self, place: str) -> Identity | None:
        kept = await self._store.async_load_object()
        if place not in kept:
            return None
        saved = read_mapping(kept, place)
        return Identity(
            AccountKey.from_secret(read_bytes(saved, "account_secret", 32)),
            MeterKey.from_secret(read_bytes(saved, "meter_secret", 32)),
        )

    async def _save(self, place: str, identity: Identity) -> None:
        secrets = {
            "account_secret": "0x" + identity.account_key.secret.hex(),
            "meter_secret": "0x" + identity.meter_key.secret.hex(),
        }
        saved = await self._store.async_load_object()
        await self._store.async_save_durably({**saved, place: secrets})


_IDENTITIES: HassKey[IdentityStore] = HassKey(f"{DOMAIN}.identities")


@callback
def async_identities(hass: HomeAssistant) -> IdentityStore:
    """Return the one store of this system's keys."""
    return hass.data.setdefault(_IDENTITIES, IdentityStore(hass))


class StateStore:
    """One entry's agent and the market's rules as they were last seen, for a start without network."""

    def __init__(self, hass: HomeAssistant, entry_id: str) -> None:
        self._store: DurableStore[dict[str, Any]] = DurableStore(hass, f"{DOMAIN}.{entry_id}")

    async def async_load(self) -> dict[str, Any]:
        """Return what was saved, empty at first; raise ``ValueError`` for what this version cannot read."""
        return await self._store.async_load_object()

    async def async_save(self, agent: Mapping[str, Any], info: MarketInfo, meter_generation: int) -> None:
        """Write now; raise ``NotWrittenError`` when that failed."""
        market = market_wire(info)
        await self._store.async_save_durably(
            {"agent": dict(agent), "market": market, "meter_generation": meter_generation}
        )

    async def async_remove(self) -> None:
        """Forget the state."""
        await self._store.async_remove()


def market_wire(info: MarketInfo) -> dict[str, Any]:
    """Return the rules in the shape that ``MarketInfo.from_wire`` reads."""
    return {
        "market": info.market,
        "name": info.name,
        "currency": info.currency,
        "version": info.version,
        "state": info.state,
        "time": info.time,
        "interval_s": info.interval_s,
        "gate_s": info.gate_s,
        "horizon_s": info.horizon_s,
        "price_band": {
            "min_micro_per_kwh": info.price_min_micro_per_kwh,
            "max_micro_per_kwh": info.price_max_micro_per_kwh,
        },
        "tariff": {
            "supplier_micro_per_kwh": info.supplier_micro_per_kwh,
            "feed_in_micro_per_kwh": info.feed_in_micro_per_kwh,
        },
        "order_limits": {"energy_max_wh": info.order_energy_max_wh},
        "stages": {"session_every_s": info.session_every_s},
        "fees": {
            "community_micro_per_kwh": info.community_micro_per_kwh,
            "community_share_ppm": info.community_share_ppm,
        },
        "chain": {"chain_id": info.domain.chain_id, "ledger": info.domain.ledger},
        "operator": {"account": info.operator_account, "public_key": "0x" + info.operator_public_key.hex()},
    }


def _place_of(info: MarketInfo) -> str:
    return _key(info.market, info.domain.chain_id, info.domain.ledger)


def _key(market: str, chain_id: int, ledger: str) -> str:
    return f"{market}@{chain_id}:{ledger}"
