"""Carries what the home has signed to its coordinator, in the background, through outages and restarts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback

from .const import LOGGER
from .household.agent import HouseholdAgent
from .household.corrections import Judgement, agree
from .household.courier import OTHER_INSTALLATION, Answer, ForeignReadingError, deliver, line_up
from .household.outbox import Outgoing
from .household.reason import Refusal
from .protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable
from .protocol.units import interval_start
from .store import NotWrittenError, StateStore

ANSWER_S = 15.0
RETRY_S_MIN, RETRY_S_MAX = 5.0, 300.0


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


class Carrier:
    """Delivers the outbox until it is empty; what fails waits for the next try.

    ``now`` is the market's time, ``answered`` hears each answer and ``changed`` each end of a delivery.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        agent: HouseholdAgent,
        client: CoordinatorClient,
        save: StateSaver,
        *,
        now: Callable[[], int],
        answered: Callable[[Outgoing, Answer], None],
        changed: Callable[[], None],
    ) -> None:
        self.held = False
        self.unwritten = False
        self.blocked: Refusal | None = None
        self.task: asyncio.Task[None] | None = None
        self._hass = hass
        self._entry = entry
        self._agent = agent
        self._client = client
        self._save = save
        self._now = now
        self._tell = answered
        self._changed = changed
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._wake = asyncio.Event()
        self._lined_up = False
        self._agreed_at: int | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether another installation acts with the same keys; this one then signs no orders by itself."""
        return self.blocked is not None and self.blocked.code == OTHER_INSTALLATION

    @callback
    def async_deliver(self) -> None:
        """Deliver what waits, in the background; a delivery that pauses after a failure goes on now."""
        self._wake.set()
        if self.task is None or self.task.done():
            self.task = self._entry.async_create_background_task(
                self._hass, self._deliver(), f"energy_trade delivery {self._entry.entry_id}"
            )

    @callback
    def async_hold(self, held: bool) -> None:
        """Send nothing while somebody else answers than the home knows; keep what is signed."""
        resumed, self.held = self.held and not held, held
        if resumed:
            self.async_deliver()

    async def async_save(self) -> None:
        """Bring the agent's state to disk."""
        try:
            await self._save(self._agent)
        except NotWrittenError:
            self.unwritten = True
            raise
        self.unwritten = False

    async def async_answer_to(self, item: Outgoing) -> Answer | None:
        """Deliver and wait for one message's answer; ``None``: none yet, it stays in the outbox."""
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
                self._lined_up = False  # in a long silence another installation may have taken over
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
        try:
            blocked, now = await self._line_up(), self._now()
            if blocked is None or blocked.code != OTHER_INSTALLATION:
                blocked = await deliver(self._agent, self._client, self.async_save, now, self._answered) or blocked
            else:
                await self.async_save()
            self.blocked = blocked
            self._lined_up &= not self.is_elsewhere
            if not self.is_elsewhere:
                await self._agree(now)
        except ForeignReadingError as error:
            self.blocked = Refusal("foreign_reading", str(error))
            raise
        except CoordinatorRefused as refusal:
            self.blocked = Refusal(refusal.code, str(refusal))
            raise CoordinatorUnavailable(f"{refusal.code}: {refusal}") from refusal
        finally:
            self._changed()

    async def _line_up(self) -> Refusal | None:
        if self._lined_up:
            return None
        blocked = await line_up(self._agent, self._client, self._client.installation)
        self._lined_up = blocked is None
        return blocked

    async def _agree(self, at: int) -> None:
        """Judge the corrections of settled intervals that ask for the account's signature, once an interval.

        One that is refused or makes no sense keeps no reading back: it is looked at again in the next interval.
        """
        start = interval_start(at, self._agent.info.interval_s)
        if start == self._agreed_at:
            return
        judgements: list[Judgement] = []
        try:
            judgements = await agree(self._agent.identity, self._agent.info, self._client)
        except CoordinatorRefused as refusal:
            LOGGER.debug("The coordinator refused about corrections: %s", refusal)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            LOGGER.warning("The corrections that the coordinator asks for make no sense: %r", error)
        self._agreed_at = start
        for judgement in judgements:
            level = logging.WARNING if judgement.signature is None else logging.INFO
            LOGGER.log(level, "Correction %s", judgement.reason.text)

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
        self._tell(item, answer)
