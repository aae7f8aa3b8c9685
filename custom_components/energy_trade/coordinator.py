"""What the home knows of its market: pushed by the stream, polled slowly as a backstop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, override

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed
from homeassistant.helpers.debounce import Debouncer
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed
from homeassistant.loader import async_get_loaded_integration

from . import issues
from .const import DOMAIN, LOGGER, POLL_ALONE, POLL_CONNECTED
from .data import AccountState, HomeData, PlacedOrder, prices_of, volumes_of
from .events import moment, order_changes
from .flexibility import Flexibility
from .grid import with_event, with_signals
from .home import Home
from .household.agent import HouseholdAgent
from .household.orders import OrderStatus
from .operator import is_pinned, pin_of
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from .protocol.units import MICRO, WH_PER_KWH, interval_start
from .protocol.wire import read_int
from .session import HomeClient
from .settled.statistics import StatisticsPublisher
from .settled.verification import ReceiptVerifier
from .sources.outlook import OutlookSource

ORDERS_ASKED = 100
NONSENSE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
"""What reading an answer or message can raise that makes no sense: no such field, no such moment, no such number."""
RECONNECT_S_MIN, RECONNECT_S_MAX = 1.0, 60.0
SEQUENCE_MAX = 2**62
"""A coordinator refuses to resume its stream after a greater number, and would so for ever."""
_OWN_ORDERS = frozenset({"traded", "order_closed"})
_SETTLED = frozenset({"interval_settled", "interval_resettled", "settlement_confirmed", "interval_corrected"})
_NOT_A_MEMBER = frozenset({"not_a_member", "unauthorized"})
_ORDER_FIELDS = ("buy", "sell", "digest")
_HISTORY_INTERVALS = 4

type EnergyTradeConfigEntry = ConfigEntry[EnergyTradeData]


@dataclass(frozen=True, slots=True)
class EnergyTradeData:
    """What an entry has while it is loaded."""

    coordinator: EnergyTradeCoordinator
    home: Home
    outlook: OutlookSource
    statistics: StatisticsPublisher
    verifier: ReceiptVerifier
    flexibility: Flexibility


class Connection(StrEnum):
    """How the home hears of its market."""

    LIVE = "live"
    POLLING = "polling"
    OFFLINE = "offline"


class EnergyTradeCoordinator(DataUpdateCoordinator[HomeData]):
    """Keeps the market's data of one home."""

    config_entry: EnergyTradeConfigEntry

    def __init__(self, hass: HomeAssistant, entry: EnergyTradeConfigEntry, client: HomeClient, home: Home) -> None:
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
        self._settled_listeners: list[Callable[[int], None]] = []
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

    @callback
    def async_listen_settled(self, listener: Callable[[int], None]) -> CALLBACK_TYPE:
        """Call the listener with each delivery start that is settled, on chain or corrected; return how to stop."""
        self._settled_listeners.append(listener)
        return lambda: self._settled_listeners.remove(listener)

    @override
    async def _async_update_data(self) -> HomeData:
        before = self.latest
        try:
            data = await self._ask()
        except CoordinatorUnavailable as error:
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key="unavailable",
                translation_placeholders={"reason": str(error)},
                retry_after=error.retry_after_s,
            ) from error
        except CoordinatorRefused as refusal:
            if refusal.code in _NOT_A_MEMBER:
                raise ConfigEntryAuthFailed(translation_domain=DOMAIN, translation_key="not_a_member") from refusal
            raise UpdateFailed(
                translation_domain=DOMAIN,
                translation_key="refused",
                translation_placeholders={"code": refusal.code, "reason": str(refusal)},
            ) from refusal
        except NONSENSE as error:
            raise UpdateFailed(
                translation_domain=DOMAIN, translation_key="unusable", translation_placeholders={"reason": str(error)}
            ) from error
        if (latest := self.latest) is not None and latest is not before:
            data = replace(data, account=latest.account)  # the stream spoke meanwhile: its word is the newer one
        self._compare(latest, data)
        return data

    async def _ask(self) -> HomeData:
        account = self.home.agent.identity.account
        info = await self.client.market()
        self._use(info)
        since = interval_start(info.time, info.interval_s) - _HISTORY_INTERVALS * info.interval_s
        rows = await self.client.intervals(since=since)
        orders = await self.client.orders(account, ORDERS_ASKED)
        return HomeData(
            info=info,
            account=AccountState.from_wire(await self._account_or_reauth(account)),
            prices=prices_of(rows),
            volumes=volumes_of(rows),
            orders=tuple(PlacedOrder.from_wire(order) for order in orders),
        )

    async def _account_or_reauth(self, account: str) -> dict[str, Any]:
        """Ask for the account; one that is gone is no passing fault, though a session of before may still be valid."""
        try:
            return await self.client.account(account)
        except CoordinatorRefused as refusal:
            if refusal.code != "not_found":
                raise
            raise ConfigEntryAuthFailed(translation_domain=DOMAIN, translation_key="not_a_member") from refusal

    @callback
    def _compare(self, before: HomeData | None, now: HomeData) -> None:
        """Tell the agent what became of its orders, and the listeners what is new; plan anew when that matters."""
        home = self.home
        known = {order.digest: order for order in (() if before is None else before.orders)}
        home.agent.heard(map(_status, now.orders), complete=_tells_all(now.orders, home.agent))
        first, home.orders_known = not home.orders_known, True
        if first or before is None or before.orders != now.orders:
            home.async_replan()
        if before is None:
            return
        for kind, words in order_changes(known, now.orders, now.info.currency):
            home.async_emit(kind, words)
        self._tell_settled(before.account, now.account)

    def _use(self, info: MarketInfo) -> None:
        """Take new rules over, but never another market's or an unknown operator's."""
        if (reason := self._mistrust(info)) is not None:
            raise ValueError(reason)
        self.home.async_hear_time(info.time)
        self.home.agent.info = info
        self.home.async_see_grid(with_signals(self.home.grid, info.signals, info.time))

    def _mistrust(self, info: MarketInfo) -> str | None:
        """Say why nothing is sent to who answers now; raise or withdraw the repairs for it."""
        known, entry = self.info, self.config_entry
        own = async_get_loaded_integration(self.hass, DOMAIN).version
        issues.async_report_version(self.hass, entry, str(own), info.version)
        same = (info.market, info.domain, info.interval_s) == (known.market, known.domain, known.interval_s)
        pinned = is_pinned(entry, info)
        issues.async_set(self.hass, entry, issues.OTHER_MARKET, None if same else {"found": info.name})
        words = {"found": info.operator_account, "known": known.operator_account}
        issue = (words, pin_of(info)) if same and not pinned else (None, None)
        issues.async_set(self.hass, entry, issues.OPERATOR_CHANGED, *issue)
        self.home.carrier.async_hold(not (same and pinned))
        if not same:
            return "another market answers at this address"
        return None if pinned else "the market's operator has another key than before"

    @callback
    def _home_changed(self) -> None:
        home = self.home
        refusal = home.refusal if home.refusals_in_a_row >= issues.REFUSALS_BEFORE_ISSUE else None
        issues.async_report_meter(self.hass, self.config_entry, refusal)
        issues.async_report_blocked(self.hass, self.config_entry, home.blocked)
        issues.async_report_policy(self.hass, self.config_entry, home.policy_problem)
        issues.async_set(self.hass, self.config_entry, issues.DISK_FULL, {} if home.carrier.unwritten else None)
        balance = None if self.latest is None else f"{self.latest.account.money_micro / MICRO:.2f} {self.info.currency}"
        issues.async_report_wallet(self.hass, self.config_entry, balance if home.wallet_low else None)
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
                self.home.carrier.async_deliver()
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
            if type(sequence := message.get("sequence")) is int and 0 <= sequence <= SEQUENCE_MAX:
                self._sequence = sequence
            match message.get("type"):
                case "heartbeat":
                    self.home.async_hear_time(read_int(message, "at"))
                case "snapshot" | "state":
                    self._take_rows(message)
                case "event":
                    self._take_event(message.get("event"), message["data"])
        except NONSENSE as error:
            LOGGER.debug("A message of the stream makes no sense (%r): %.200s", error, message)

    def _take_event(self, name: object, data: Mapping[str, Any]) -> None:
        """Take over what happened in the market, in the grid or to the home's settlement."""
        if name in _OWN_ORDERS and self._is_own(data):
            self._refresh_soon.async_schedule_call()
        elif name in _SETTLED:
            start = read_int(data, "delivery_start")
            for listener in tuple(self._settled_listeners):
                listener(start)
        else:
            now = self.home.market_time()
            until = self.next_start() + self.info.interval_s
            self.home.async_see_grid(with_event(self.home.grid, name, data, now, until))

    def _take_rows(self, message: Mapping[str, Any]) -> None:
        if (latest := self.latest) is None:
            return
        own = [row for row in message.get("accounts", ()) if row.get("account") == self.home.agent.identity.account]
        account = AccountState.from_wire(own[0]) if own else None
        data = latest.with_rows(account, message.get("intervals", ()))
        if account is not None:
            self._tell_settled(latest.account, account)
        if data != latest:
            self.data = data
            self.async_update_listeners()

    @callback
    def _tell_settled(self, before: AccountState, now: AccountState) -> None:
        """Tell what a settlement changed in the account's totals."""
        if (before.bought_wh, before.sold_wh) == (now.bought_wh, now.sold_wh):
            return
        words = {
            "bought_kwh": (now.bought_wh - before.bought_wh) / WH_PER_KWH,
            "sold_kwh": (now.sold_wh - before.sold_wh) / WH_PER_KWH,
            "paid": (now.cost_micro - before.cost_micro) / MICRO,
            "received": (now.revenue_micro - before.revenue_micro) / MICRO,
            "saved": (now.saved_micro - before.saved_micro) / MICRO,
            "currency": self.info.currency,
            "at": moment(self.home.market_time()),
        }
        self.home.async_emit("trade_settled", words)

    def _is_own(self, data: object) -> bool:
        """Tell whether an event is about an order of this home, as far as it placed it itself."""
        if not isinstance(data, Mapping):
            return False
        orders = () if (latest := self.latest) is None else latest.orders
        known = {"0x" + order.digest.hex() for order in orders}
        return any(data.get(name) in known or data.get(name) in self.home.recent_orders for name in _ORDER_FIELDS)


def _tells_all(orders: Sequence[PlacedOrder], agent: HouseholdAgent) -> bool:
    """Tell whether an order that is missed cannot have come to the coordinator.

    Its newest orders are asked for. One for an interval that had begun when the missed one was signed came before it,
    so a list that holds such a one reaches back far enough.
    """
    if len(orders) < ORDERS_ASKED:
        return True
    oldest = min(order.delivery_start for order in orders)
    return all(order.at >= oldest for order in agent.orders if order.cancelling and not order.heard)


def _status(order: PlacedOrder) -> OrderStatus:
    return OrderStatus(
        digest=order.digest,
        delivery_start=order.delivery_start,
        side=order.side,
        energy_wh=order.energy_wh,
        filled_wh=order.filled_wh,
        open=order.is_open,
    )
