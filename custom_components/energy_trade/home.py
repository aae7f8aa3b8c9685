"""The home at work: reads its meter at each boundary, signs, plans, and delivers what was signed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_track_point_in_utc_time
from homeassistant.util import dt as dt_util

from .const import LOGGER
from .household.agent import HouseholdAgent
from .household.corrections import agree
from .household.courier import Answer, deliver, line_up
from .household.guard import GuardRefusal
from .household.outbox import Outgoing
from .household.reason import Refusal
from .meter import MeterEntities, read_sample
from .protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable
from .protocol.messages import Cancel, DeviceReceipt, Order, Side, TimeInForce
from .protocol.units import interval_start
from .protocol.wire import read_int
from .store import NotWrittenError, StateStore

ANSWER_S = 15.0
ORDERS_REMEMBERED = 100
RETRY_S_MIN, RETRY_S_MAX = 5.0, 300.0
WITHDRAWAL_VALID_S = 86_400


class Home:
    """The shell around the agent: time, meter, disk and network."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        agent: HouseholdAgent,
        meters: MeterEntities,
        client: CoordinatorClient,
        save: StateSaver,
    ) -> None:
        self.agent = agent
        self.meters = meters
        self.clock_offset_s = 0
        self.last_boundary = 0
        self.refusal: GuardRefusal | None = None
        self.refusals_in_a_row = 0
        self.blocked: Refusal | None = None
        self.receipt: DeviceReceipt | None = None
        self.rejected: tuple[Outgoing, CoordinatorRefused] | None = None
        self.orders_answered = 0
        self.held = False
        self.recent_orders: deque[str] = deque(maxlen=ORDERS_REMEMBERED)
        self._hass = hass
        self._entry = entry
        self._client = client
        self._save = save
        self._listeners: list[Callable[[], None]] = []
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._timer: CALLBACK_TYPE | None = None
        self._wake = asyncio.Event()
        self._delivery: asyncio.Task[None] | None = None
        self._lined_up = False
        self._agreed_at: int | None = None

    def market_time(self) -> int:
        """Return the coordinator's time (UTC seconds), as far as this home knows it."""
        return int(dt_util.utcnow().timestamp()) - self.clock_offset_s

    @callback
    def async_start(self) -> None:
        """Wait for the next boundary, and deliver what an earlier run has left."""
        self._schedule()
        self._entry.async_on_unload(self._stop)
        self.async_deliver()

    @callback
    def async_listen(self, listener: Callable[[], None]) -> None:
        """Call the listener after each boundary and each delivery."""
        self._listeners.append(listener)

    @callback
    def async_deliver(self) -> None:
        """Deliver what waits, in the background; a delivery that pauses after a failure goes on now."""
        self._wake.set()
        if self._delivery is None or self._delivery.done():
            self._delivery = self._entry.async_create_background_task(
                self._hass, self._deliver(), f"energy_trade delivery {self._entry.entry_id}"
            )

    @callback
    def async_hold(self, held: bool) -> None:
        """Send nothing while somebody else answers than the home knows; keep what is signed."""
        resumed, self.held = self.held and not held, held
        if resumed:
            self.async_deliver()

    async def async_place(
        self, delivery_start: int, side: Side, energy_wh: int, price: int | None, time_in_force: TimeInForce
    ) -> tuple[Outgoing, Answer | None] | Refusal:
        """Sign an order and wait for its answer; ``None``: no answer yet, it stays in the outbox."""
        item = self.agent.place(self.market_time(), delivery_start, side, energy_wh, price, time_in_force)
        return item if isinstance(item, Refusal) else (item, await self._answer_to(item))

    async def async_cancel(self, order: bytes) -> Answer | None:
        """Cancel an order (zero: all) and wait for the answer; ``None``: it stays in the outbox."""
        return await self._answer_to(self.agent.cancel(self.market_time(), order))

    async def async_withdraw(self, to: str, money_micro: int) -> dict[str, Any]:
        """Sign a withdrawal and have it brought on chain; raise what the client raises.

        It is not kept for later: whoever asks again after an outage signs a new one, and only one is taken at a time.
        """
        identity, domain = self.agent.identity, self.agent.info.domain
        nonce = read_int(await self._client.account(identity.account), "withdrawal_nonce")
        wanted = identity.withdrawal(to, money_micro, nonce, self.market_time() + WITHDRAWAL_VALID_S)
        return await self._client.withdraw(wanted, identity.account_key.sign(wanted.digest(domain)))

    async def async_set_trading(self, enabled: bool) -> None:
        """Switch trading; off also cancels what stands in the market."""
        self.agent.set_trading(self.market_time(), enabled)
        await self.async_save()
        self.async_deliver()

    async def async_confirm_replacement(self) -> None:
        """Take the meter's next registers as a new beginning that is no energy."""
        self.agent.rebase()
        await self.async_save()

    async def async_save(self) -> None:
        """Bring the agent's state to disk."""
        await self._save(self.agent)

    @callback
    def _schedule(self) -> None:
        interval_s = self.agent.info.interval_s
        at = interval_start(int(dt_util.utcnow().timestamp()), interval_s) + interval_s
        self._timer = async_track_point_in_utc_time(self._hass, self._boundary, dt_util.utc_from_timestamp(at))

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    @callback
    def _boundary(self, planned: datetime) -> None:
        """Sign the registers, plan the next interval, send both."""
        self._schedule()
        self.last_boundary = at = int(planned.timestamp())
        now = int(dt_util.utcnow().timestamp())
        sample = read_sample(self._hass, self.meters, at, now, self.clock_offset_s)
        outcome = sample if isinstance(sample, GuardRefusal) else self.agent.observe(sample)
        if isinstance(outcome, GuardRefusal):
            self.refusal = outcome
            self.refusals_in_a_row += 1
            LOGGER.debug("No reading at %s: %s", at, outcome.message)
        else:
            self.refusal = None
            self.refusals_in_a_row = 0
        if not self.held:
            self.agent.plan(self.market_time())
        self._changed()
        self.async_deliver()

    async def _answer_to(self, item: Outgoing) -> Answer | None:
        future: asyncio.Future[Answer] = self._hass.loop.create_future()
        self._waiting[item.key] = future
        self.async_deliver()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:
            return None
        finally:
            del self._waiting[item.key]

    async def _deliver(self) -> None:
        """Deliver until nothing is left to try; pause after each failure, at boundaries go on at once."""
        pause_s = RETRY_S_MIN
        while True:
            self._wake.clear()
            try:
                await self._deliver_once()
            except CoordinatorUnavailable as error:
                LOGGER.debug("Nothing delivered for now: %s", error)
                await self._pause(max(pause_s, error.retry_after_s or 0))
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            except NotWrittenError as error:
                LOGGER.warning("Nothing is sent before the next boundary: %s", error)
                return
            else:
                if not self._wake.is_set():
                    return

    async def _deliver_once(self) -> None:
        if self.held:
            await self.async_save()
            return
        blocked: Refusal | None = None
        try:
            if not self._lined_up:
                blocked = await line_up(self.agent, self._client)
                self._lined_up = blocked is None
            now = self.market_time()
            self.blocked = await deliver(self.agent, self._client, self.async_save, now, self._answered) or blocked
            await self._agree(now)
        except CoordinatorRefused as refusal:
            self.blocked = Refusal(refusal.code, str(refusal))
            raise CoordinatorUnavailable(f"{refusal.code}: {refusal}") from refusal
        finally:
            self._changed()

    async def _agree(self, at: int) -> None:
        """Judge the corrections of settled intervals that ask for the account's signature, once an interval."""
        start = interval_start(at, self.agent.info.interval_s)
        if start == self._agreed_at:
            return
        for judgement in await agree(self.agent.identity, self.agent.info, self._client):
            level = logging.WARNING if judgement.signature is None else logging.INFO
            LOGGER.log(level, "Correction %s", judgement.reason.text)
        self._agreed_at = start

    async def _pause(self, seconds: float) -> None:
        """Wait with jitter, so that the homes of a community do not come back in step."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                await self._wake.wait()
        except TimeoutError:
            return

    @callback
    def _answered(self, item: Outgoing, answer: Answer) -> None:
        if (future := self._waiting.get(item.key)) is not None and not future.done():
            future.set_result(answer)
        match answer:
            case DeviceReceipt():
                self.receipt = answer
            case dict() if isinstance(item.message, Order):
                self.recent_orders.append(item.key.removeprefix("order:"))
                self.orders_answered += 1
            case CoordinatorRefused() if isinstance(item.message, Order | Cancel):
                self.rejected = (item, answer)
                LOGGER.debug("The coordinator refused %s: %s", item.key, answer)
            case CoordinatorRefused():
                LOGGER.warning("The coordinator refused a reading for good (%s): %s", answer.code, answer)

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


class StateSaver:
    """Saves the agent when something has changed, one write at a time."""

    def __init__(self, store: StateStore, meter_generation: int) -> None:
        self._store = store
        self._meter_generation = meter_generation
        self._saved_version = -1
        self._lock = asyncio.Lock()

    async def __call__(self, agent: HouseholdAgent) -> None:
        """Write the state unless it is on disk already; then let its messages leave."""
        async with self._lock:
            version = agent.version
            if version != self._saved_version:
                await self._store.async_save(agent.to_dict(), agent.info, self._meter_generation)
                self._saved_version = version
            agent.saved(version)
