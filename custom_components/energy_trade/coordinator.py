"""What the home knows of its market: pushed by the stream, polled slowly as a backstop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, override

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.debounce import Debouncer
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed
from homeassistant.util import dt as dt_util

from . import issues
from .const import DOMAIN, LOGGER, POLL_ALONE, POLL_CONNECTED
from .data import AccountState, HomeData, PlacedOrder, prices_of
from .home import Home
from .operator import is_pinned, pin_of
from .protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from .protocol.units import interval_start
from .protocol.wire import read_int

RECONNECT_S_MIN, RECONNECT_S_MAX = 1.0, 60.0
_OWN_ORDERS = frozenset({"traded", "order_closed"})
_ORDER_FIELDS = ("buy", "sell", "digest")
_HISTORY_INTERVALS = 4

type EnergyTradeConfigEntry = ConfigEntry[EnergyTradeData]


@dataclass(frozen=True, slots=True)
class EnergyTradeData:
    """What an entry has while it is loaded."""

    coordinator: EnergyTradeCoordinator
    home: Home


class Connection(StrEnum):
    """How the home hears of its market."""

    LIVE = "live"
    POLLING = "polling"
    OFFLINE = "offline"


class EnergyTradeCoordinator(DataUpdateCoordinator[HomeData]):
    """Keeps the market's data of one home."""

    config_entry: EnergyTradeConfigEntry

    def __init__(
        self, hass: HomeAssistant, entry: EnergyTradeConfigEntry, client: CoordinatorClient, home: Home
    ) -> None:
        super().__init__(
            hass,
            LOGGER,
            config_entry=entry,
            name=f"{DOMAIN} {entry.title}",
            update_interval=POLL_ALONE,
            always_update=False,
        )
        self.home = home
        self.client = client
        self.streaming = False
        self._sequence: int | None = None
        self._orders_seen = 0
        self._stream: asyncio.Task[None] | None = None
        # Spread over some seconds: the homes of a community hear of everything at the same moment.
        pause_s = random.uniform(1, 3)  # noqa: S311 - no secret
        self._refresh_soon = Debouncer(hass, LOGGER, cooldown=pause_s, immediate=False, function=self.async_refresh)
        entry.async_on_unload(self._refresh_soon.async_shutdown)
        home.async_listen(self._home_changed)

    @property
    def connection(self) -> Connection:
        """How the home hears of its market at present."""
        if self.streaming:
            return Connection.LIVE
        return Connection.POLLING if self.last_update_success else Connection.OFFLINE

    @property
    def latest(self) -> HomeData | None:
        """What the coordinator said last, ``None`` when it has not answered since the start."""
        return self.data

    @property
    def info(self) -> MarketInfo:
        """The market's rules as they were last seen."""
        return self.home.agent.info

    def next_start(self) -> int:
        """Return the start of the next delivery interval."""
        return interval_start(self.home.market_time(), self.info.interval_s) + self.info.interval_s

    @callback
    def async_start_stream(self) -> None:
        """Listen until the entry is unloaded."""
        name = f"{DOMAIN} stream {self.config_entry.entry_id}"
        self._stream = self.config_entry.async_create_background_task(self.hass, self._listen(), name)

    @override
    async def _async_update_data(self) -> HomeData:
        account = self.home.agent.identity.account
        try:
            info = await self.client.market()
            self._use(info)
            since = interval_start(info.time, info.interval_s) - _HISTORY_INTERVALS * info.interval_s
            rows = await self.client.intervals(since=since)
            orders = await self.client.orders(account)
            return HomeData(
                info=info,
                account=AccountState.from_wire(await self.client.account(account)),
                prices=prices_of(rows),
                orders=tuple(PlacedOrder.from_wire(order) for order in orders),
            )
        except CoordinatorUnavailable as error:
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key="unavailable",
                translation_placeholders={"reason": str(error)},
                retry_after=error.retry_after_s,
            ) from error
        except CoordinatorRefused as refusal:
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key="refused",
                translation_placeholders={"code": refusal.code, "reason": str(refusal)},
            ) from refusal
        except ValueError as error:
            raise UpdateFailed(
                translation_domain=DOMAIN, translation_key="unusable", translation_placeholders={"reason": str(error)}
            ) from error

    def _use(self, info: MarketInfo) -> None:
        """Take new rules over, but never another market's or an unknown operator's."""
        if (reason := self._mistrust(info)) is not None:
            raise ValueError(reason)
        self.home.clock_offset_s = int(dt_util.utcnow().timestamp()) - info.time
        self.home.agent.info = info

    def _mistrust(self, info: MarketInfo) -> str | None:
        """Say why nothing is sent to who answers now; raise or withdraw the repairs for it."""
        known, entry = self.info, self.config_entry
        same = (info.market, info.domain, info.interval_s) == (known.market, known.domain, known.interval_s)
        pinned = is_pinned(entry, info)
        issues.async_set(self.hass, entry, issues.OTHER_MARKET, None if same else {"found": info.name})
        words = {"found": info.operator_account, "known": known.operator_account}
        issue = (words, pin_of(info)) if same and not pinned else (None, None)
        issues.async_set(self.hass, entry, issues.OPERATOR_CHANGED, *issue)
        self.home.async_hold(not (same and pinned))
        if not same:
            return "another market answers at this address"
        return None if pinned else "the market's operator has another key than before"

    @callback
    def _home_changed(self) -> None:
        home = self.home
        refusal = home.refusal if home.refusals_in_a_row >= issues.REFUSALS_BEFORE_ISSUE else None
        issues.async_report_meter(self.hass, self.config_entry, refusal)
        issues.async_report_blocked(self.hass, self.config_entry, home.blocked)
        if home.orders_answered != self._orders_seen:
            self._orders_seen = home.orders_answered
            self._refresh_soon.async_schedule_call()
        self.async_update_listeners()

    async def _listen(self) -> None:
        """Hold the stream; after a break come back with a pause that grows and differs per home."""
        pause_s = RECONNECT_S_MIN
        while True:
            try:
                async for message in self.client.stream(self._sequence):
                    pause_s = RECONNECT_S_MIN
                    self._heard(message)
            except (CoordinatorUnavailable, CoordinatorRefused) as error:
                LOGGER.debug("The stream ended: %s", error)
            self._set_streaming(False)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)

    @callback
    def _set_streaming(self, streaming: bool) -> None:
        if streaming != self.streaming:
            self.streaming = streaming
            self.update_interval = POLL_CONNECTED if streaming else POLL_ALONE
            self._refresh_soon.async_schedule_call()
            if streaming:
                self.home.async_deliver()
            self.async_update_listeners()

    @callback
    def _heard(self, message: Mapping[str, Any]) -> None:
        """Take over what a message of the stream says; one that makes no sense is passed over."""
        try:
            market = message.get("market")
            if market is not None:
                self._mistrust(MarketInfo.from_wire(market))
            if self.home.held:
                return
            self._set_streaming(True)
            if isinstance(sequence := message.get("sequence"), int):
                self._sequence = sequence
            match message.get("type"):
                case "heartbeat":
                    self.home.clock_offset_s = int(dt_util.utcnow().timestamp()) - read_int(message, "at")
                case "snapshot" | "state":
                    self._take_rows(message)
                case "event" if message.get("event") in _OWN_ORDERS and self._is_own(message.get("data")):
                    self._refresh_soon.async_schedule_call()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            LOGGER.debug("A message of the stream makes no sense (%r): %.200s", error, message)

    def _take_rows(self, message: Mapping[str, Any]) -> None:
        if (latest := self.latest) is None:
            return
        own = [row for row in message.get("accounts", ()) if row.get("account") == self.home.agent.identity.account]
        account = AccountState.from_wire(own[0]) if own else None
        data = latest.with_rows(account, message.get("intervals", ()))
        if data != latest:
            self.data = data
            self.async_update_listeners()

    def _is_own(self, data: object) -> bool:
        """Tell whether an event is about an order of this home, as far as it placed it itself."""
        if not isinstance(data, Mapping):
            return False
        orders = () if (latest := self.latest) is None else latest.orders
        known = {"0x" + order.digest.hex() for order in orders}
        return any(data.get(name) in known or data.get(name) in self.home.recent_orders for name in _ORDER_FIELDS)
