"""What the cards ask for: the homes here, and one home's snapshot as often as it changes.

``energy_trade/entries`` answers with the homes: ``[{"entry_id", "title", "loaded"}]``.

``energy_trade/subscribe`` with an optional ``entry_id`` (without: the first home) sends the whole snapshot at once and
again after each change, at most every ``COALESCE_S``; ``snapshot`` describes its shape. Where nothing changes it is
sent once an interval, so that a card can tell calm from silence. It goes on through reloads of the entry, and before
there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import probatio
from homeassistant.components import websocket_api
from homeassistant.config_entries import SIGNAL_CONFIG_ENTRY_CHANGED, ConfigEntry, ConfigEntryChange, ConfigEntryState
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.dispatcher import async_dispatcher_connect
from homeassistant.helpers.event import async_call_later

from .const import DOMAIN
from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .snapshot import Snapshot, snapshot_of

COALESCE_S: Final = 0.5
ATTR_ENTRY_ID: Final = "entry_id"

type Send = Callable[[Snapshot], None]


@callback
def async_setup_websocket(hass: HomeAssistant) -> None:
    """Register the commands, once for all entries."""
    websocket_api.async_register_command(hass, ws_entries)
    websocket_api.async_register_command(hass, ws_subscribe)


@websocket_api.websocket_command({probatio.Required("type"): f"{DOMAIN}/entries"})
@callback
def ws_entries(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Answer with the homes that are set up here."""
    entries: list[EnergyTradeConfigEntry] = hass.config_entries.async_entries(DOMAIN)
    homes = [
        {"entry_id": entry.entry_id, "title": entry.title, "loaded": entry.state is ConfigEntryState.LOADED}
        for entry in entries
    ]
    connection.send_result(message["id"], homes)


@websocket_api.websocket_command(
    {probatio.Required("type"): f"{DOMAIN}/subscribe", probatio.Optional(ATTR_ENTRY_ID): str}
)
@callback
def ws_subscribe(hass: HomeAssistant, connection: websocket_api.ActiveConnection, message: dict[str, Any]) -> None:
    """Send a home's snapshot now and after each change, until the connection unsubscribes or closes."""
    number = message["id"]

    @callback
    def send(snapshot: Snapshot) -> None:
        connection.send_message(websocket_api.event_message(number, snapshot))

    subscription = Subscription(hass, message.get(ATTR_ENTRY_ID), send)
    connection.subscriptions[number] = subscription.async_stop
    connection.send_result(number)
    subscription.async_start()


class Subscription:
    """Follows one home, or the first there is, through changes, reloads and removal."""

    def __init__(self, hass: HomeAssistant, entry_id: str | None, send: Send) -> None:
        """Wait for ``async_start``."""
        self._hass = hass
        self._entry_id = entry_id
        self._send = send
        self._sent: Snapshot | None = None
        self._followed: EnergyTradeCoordinator | None = None
        self._unfollow: CALLBACK_TYPE | None = None
        self._timer: CALLBACK_TYPE | None = None
        self._stop_entries: CALLBACK_TYPE | None = None

    @callback
    def async_start(self) -> None:
        """Send the first snapshot and listen."""
        self._stop_entries = async_dispatcher_connect(self._hass, SIGNAL_CONFIG_ENTRY_CHANGED, self._entries_changed)
        self._push()

    @callback
    def async_stop(self) -> None:
        """Listen no more."""
        for stop in (self._stop_entries, self._unfollow, self._timer):
            if stop is not None:
                stop()
        self._stop_entries = self._unfollow = self._timer = None

    @callback
    def _entries_changed(self, _change: ConfigEntryChange, entry: ConfigEntry[Any]) -> None:
        if entry.domain == DOMAIN:
            self._follow(self._entry())  # at once: who has been unloaded must not be listened to
            self._soon()

    @callback
    def _soon(self) -> None:
        if self._timer is None:
            self._timer = async_call_later(self._hass, COALESCE_S, self._push)

    @callback
    def _push(self, _now: object = None) -> None:
        self._timer = None
        entry = self._entry()
        self._follow(entry)
        snapshot = snapshot_of(self._hass, entry)
        if self._sent is None or _is_news(self._sent, snapshot):
            self._sent = snapshot
            self._send(snapshot)

    def _entry(self) -> EnergyTradeConfigEntry | None:
        """Return the home asked for; without a wish the first that runs, else the first."""
        if self._entry_id is not None:
            found = self._hass.config_entries.async_get_entry(self._entry_id)
            return found if found is not None and found.domain == DOMAIN else None
        entries: list[EnergyTradeConfigEntry] = self._hass.config_entries.async_entries(DOMAIN)
        loaded = (entry for entry in entries if entry.state is ConfigEntryState.LOADED)
        return next(loaded, entries[0] if entries else None)

    def _follow(self, entry: EnergyTradeConfigEntry | None) -> None:
        """Listen to the entry's present coordinator: a reload makes a new one."""
        loaded = entry is not None and entry.state is ConfigEntryState.LOADED
        coordinator = entry.runtime_data.coordinator if entry is not None and loaded else None
        if coordinator is not self._followed:
            if self._unfollow is not None:
                self._unfollow()
            self._followed = coordinator
            self._unfollow = None if coordinator is None else coordinator.async_add_listener(self._soon)


def _is_news(sent: Snapshot, snapshot: Snapshot) -> bool:
    """Tell whether something else has changed than the time, or an interval has gone by."""
    if snapshot | {"at": 0} != sent | {"at": 0}:
        return True
    market = snapshot["market"]
    return market is not None and snapshot["at"] - sent["at"] >= market["interval_s"]
