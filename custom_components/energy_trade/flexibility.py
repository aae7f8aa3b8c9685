"""Lets the home's devices do what the grid asks, by Home Assistant's services, and always gives them back."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import CALLBACK_TYPE, Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_state_change_event

from .const import DOMAIN, LOGGER
from .events import moment
from .flexible_entities import Wired, carry_out, see, see_held, wired_devices
from .grid import GRID_SOURCES
from .household.flexibility import Action, Command, Controller, Situation
from .household.flexible import Seen
from .household.grid_ask import Ask, GridSignal, ask_of
from .household.outlook import Outlook
from .household.terms import SECONDS_PER_HOUR
from .meter import entity_of
from .store import DurableStore, NotWrittenError

if TYPE_CHECKING:
    from .home import Home

FLEXIBILITY_STARTED = "flexibility_started"
FLEXIBILITY_ENDED = "flexibility_ended"
METER_STALE_INTERVALS = 2
_OFFLINE = "offline"


class Flexibility:
    """Sees the devices, has the controller decide, remembers on disk, and commands."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], home: Home) -> None:
        self._hass = hass
        self._entry = entry
        self._home = home
        self._controller = Controller()
        self._store = _store(hass, entry.entry_id)
        self._saved: Mapping[str, Any] = self._controller.to_dict()
        self._saving = asyncio.Lock()
        self._sending: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._outlook = Outlook()
        self._heard_at: int | None = None
        self._ready = False
        self._told: Mapping[str, Action] = {}
        self._problems: Mapping[str, str] = {}
        self._watched: frozenset[str] = frozenset()
        self._unwatch: CALLBACK_TYPE | None = None
        self._timer: CALLBACK_TYPE | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def actions(self) -> tuple[Action, ...]:
        """What is being done with the home's devices at present."""
        return self._controller.actions

    @property
    def problems(self) -> Mapping[str, str]:
        """Why a device cannot be used, or could not be given back, by its subentry, as sentences."""
        return self._controller.problems

    @property
    def ask(self) -> Ask | None:
        """What the grid asks for at present, as far as this home may rely on it."""
        at = self._home.market_time()
        return ask_of(self._signal(at), at, self._home.agent.info.interval_s)

    @callback
    def async_start(self) -> None:
        """Give back what an earlier run left, then listen to the grid."""
        self._entry.async_on_unload(self._home.async_listen(self._home_changed))
        self._entry.async_on_unload(self._hass.bus.async_listen(EVENT_HOMEASSISTANT_STOP, self._async_stopping))
        self._entry.async_on_unload(self._async_stop)
        self._task = self._entry.async_create_background_task(
            self._hass, self._async_begin(), f"{DOMAIN} flexibility {self._entry.entry_id}"
        )

    @callback
    def async_apply(self, outlook: Outlook) -> None:
        """Decide anew with this outlook: at each boundary, and when the grid or the owner's wish changes."""
        self._outlook = outlook
        if not self._ready:
            return
        situation = self._situation()
        if situation.devices or self._controller.holds:
            self._follow(self._controller.apply(situation))

    async def _async_begin(self) -> None:
        try:
            if saved := await self._store.async_load_object():
                self._controller, self._saved = Controller.from_dict(saved), saved
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            LOGGER.error("Which devices were in the grid's hands cannot be read (%r): look after them", error)
        self._ready = True
        self._follow(self._controller.release_all(self._home.market_time(), self._seen()))
        self.async_apply(self._outlook)

    @callback
    def _home_changed(self) -> None:
        self.async_apply(self._home.outlook)

    async def _async_stopping(self, _event: Event) -> None:
        await self._async_stop()

    async def _async_stop(self) -> None:
        """Give everything back before nobody is there to do it."""
        self._ready = False
        for cancel in (self._unwatch, self._timer):
            if cancel is not None:
                cancel()
        self._unwatch = self._timer = None
        commands = self._controller.release_all(self._home.market_time(), self._seen())
        self._tell()
        await asyncio.gather(*(self._send(command) for command in commands))
        self._controller.tend(self._home.market_time(), self._seen())
        await self._save()

    def _signal(self, at: int) -> GridSignal:
        if self._entry.runtime_data.coordinator.connection != _OFFLINE:
            self._heard_at = at
        grid = self._home.grid
        own = tuple(event for event in self._outlook.events if event.source not in GRID_SOURCES)
        return GridSignal(grid.state, grid.frequency_mhz, self._heard_at, grid.requests, own)

    def _situation(self) -> Situation:
        home, agent = self._home, self._home.agent
        at, interval_s, last = home.market_time(), agent.info.interval_s, agent.meter.last
        known = last is not None and at - last.end <= METER_STALE_INTERVALS * interval_s
        net_w = last.net_wh * SECONDS_PER_HOUR // (last.end - last.start) if last is not None and known else None
        return Situation(
            at=at,
            interval_s=interval_s,
            devices=tuple(wired.device for wired in self._wired()),
            seen=self._seen(),
            ask=self.ask,
            opted_out=agent.opted_out,
            timezone=self._outlook.timezone,
            import_limit_w=agent.limits.import_limit_w,
            export_limit_w=agent.limits.export_limit_w,
            net_w=net_w,
            net_since=0 if last is None else last.start,
        )

    def _wired(self) -> tuple[Wired, ...]:
        return wired_devices(self._entry)

    def _seen(self) -> Mapping[str, Seen]:
        holds = self._controller.holds.values()
        held = {hold.entity: see_held(self._hass, hold.entity, hold.what) for hold in holds}
        return held | {wired.device.entity: see(self._hass, wired) for wired in self._wired()}

    @callback
    def _follow(self, commands: Iterable[Command]) -> None:
        """Watch what is held, come back when something is due, tell what changed, and send the commands."""
        self._watch()
        self._schedule()
        sent = list(commands)
        if sent or self._controller.to_dict() != self._saved:
            self._task = self._entry.async_create_background_task(
                self._hass, self._carry_out(sent), f"{DOMAIN} flexibility commands {self._entry.entry_id}"
            )
        self._tell()

    async def _carry_out(self, commands: Iterable[Command]) -> None:
        """Send releases at once, everything else when what is to be restored is on disk."""
        releases = [command for command in commands if command.release]
        others = [command for command in commands if not command.release]
        await asyncio.gather(*(self._send(command) for command in releases), self._save_and_send(others))

    async def _save_and_send(self, commands: list[Command]) -> None:
        error = await self._save()
        if not error:
            await asyncio.gather(*(self._send(command) for command in commands))
            return
        for command in commands:
            self._controller.carried_out(command, error)

    async def _save(self) -> str:
        """Bring what is held to disk; return what went wrong, empty if nothing."""
        async with self._saving:
            state = self._controller.to_dict()
            if state == self._saved:
                return ""
            try:
                await self._store.async_save_durably(state)
            except NotWrittenError as error:
                LOGGER.warning("No device is moved while it cannot be remembered: %s", error)
                return str(error)
            self._saved = state
            return ""

    async def _send(self, command: Command) -> None:
        """Carry out one command after those that were sent to the device before."""
        async with self._sending[command.device]:
            if not self._controller.still_wanted(command):
                return
            error = await carry_out(self._hass, command)
        if error:
            LOGGER.debug("%s was not set to %s: %s", command.entity, command.value, error)
        self._controller.carried_out(command, error)
        if self._ready:
            self._follow(self._controller.tend(self._home.market_time(), self._seen()))

    @callback
    def _watch(self) -> None:
        """Hear of every change of an entity that is held."""
        references = {hold.entity for hold in self._controller.holds.values()}
        watched = frozenset(entity for reference in references if (entity := entity_of(self._hass, reference)))
        if watched == self._watched:
            return
        if self._unwatch is not None:
            self._unwatch()
        self._watched = watched
        self._unwatch = async_track_state_change_event(self._hass, watched, self._entity_changed) if watched else None

    @callback
    def _entity_changed(self, event: Event[EventStateChangedData]) -> None:
        at, seen = self._home.market_time(), self._seen()
        by_hand = event.context.user_id is not None
        for hold in tuple(self._controller.holds.values()):
            if entity_of(self._hass, hold.entity) == event.data["entity_id"]:
                self._controller.look(hold.entity, seen[hold.entity], at, by_hand=by_hand)
        self._follow(self._controller.tend(at, seen))

    @callback
    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None
        if (due := self._controller.next_at) is not None:
            pause_s = max(1, due - self._home.market_time())
            self._timer = async_call_later(self._hass, pause_s, self._due)

    @callback
    def _due(self, _now: datetime) -> None:
        self._timer = None
        self._follow(self._controller.tend(self._home.market_time(), self._seen()))

    @callback
    def _tell(self) -> None:
        """Tell of actions that began or ended and of problems that came or went."""
        actions = {action.device: action for action in self.actions}
        before, self._told = self._told, actions
        problems, self._problems = self._problems, dict(self.problems)
        for device, action in before.items():
            if device not in actions or actions[device].since != action.since:
                self._home.async_emit(FLEXIBILITY_ENDED, _words(action))
        for device, action in actions.items():
            if device not in before or before[device].since != action.since:
                self._home.async_emit(FLEXIBILITY_STARTED, _words(action))
        for device, problem in self._problems.items():
            if device not in problems:
                LOGGER.warning("A device that is offered to the grid cannot be used: %s", problem)
        for device in problems.keys() - self._problems.keys():
            LOGGER.info("A device that is offered to the grid can be used again (%s)", problems[device])
        if (before, problems) != (self._told, self._problems):
            self._home.async_changed()


async def async_forget(hass: HomeAssistant, entry_id: str) -> None:
    """Forget what an entry's devices were set to, when the entry is removed."""
    await _store(hass, entry_id).async_remove()


def _store(hass: HomeAssistant, entry_id: str) -> DurableStore[dict[str, Any]]:
    return DurableStore(hass, f"{DOMAIN}.flexibility.{entry_id}")


def _words(action: Action) -> dict[str, Any]:
    return {
        "device": action.device,
        "name": action.name,
        "what": action.what.value,
        "value": action.value,
        "since": moment(action.since),
        "until": moment(action.until),
        "reason": action.reason.to_dict(),
    }
