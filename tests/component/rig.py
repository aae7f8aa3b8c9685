"""The bench the tests work on: Home Assistant, its meter, its market and the time."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from freezegun.api import TickingDateTimeFactory
from homeassistant.config_entries import SOURCE_RECONFIGURE, SOURCE_USER, ConfigFlowContext, ConfigFlowResult
from homeassistant.core import HomeAssistant, State
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import entity_registry as er

from custom_components.energy_trade.backups import CONF_KEYS_BACKED_UP
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import Connection, EnergyTradeConfigEntry
from custom_components.energy_trade.household.agent import HouseholdAgent
from tests.component.community import INTERVAL_S, INVITE, Community

IMPORT_METER, EXPORT_METER = "sensor.grid_import", "sensor.grid_export"
LIMITS = {"import_limit_kw": 24, "export_limit_kw": 10}
PRICES = {"sell": 0.16, "buy": 0.24}
LIVE = {"shadow": False}
PATIENCE_S = 20.0


def set_meters(hass: HomeAssistant, consumption: str, production: str, unit: str = "kWh") -> None:
    """Let the meter's sensors report."""
    attributes = {"unit_of_measurement": unit, "device_class": "energy", "state_class": "total_increasing"}
    hass.states.async_set(IMPORT_METER, consumption, attributes, force_update=True)
    hass.states.async_set(EXPORT_METER, production, attributes, force_update=True)


@dataclass
class Rig:
    """What a test turns and looks at."""

    hass: HomeAssistant
    community: Community
    clock: TickingDateTimeFactory

    async def start_flow(self, **user_input: Any) -> ConfigFlowResult:
        """Begin the flow and answer its first step."""
        flow = await self.hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
        return await self.answer(flow, {"url": self.community.url, "invite": INVITE, "name": "Nr. 5"} | user_input)

    async def reconfigure(self, entry: EnergyTradeConfigEntry) -> ConfigFlowResult:
        """Begin the flow that changes an entry."""
        context = ConfigFlowContext(source=SOURCE_RECONFIGURE, entry_id=entry.entry_id)
        return await self.hass.config_entries.flow.async_init(DOMAIN, context=context)

    async def answer(self, flow: ConfigFlowResult, user_input: dict[str, Any]) -> ConfigFlowResult:
        """Answer a step of a flow."""
        return await self.hass.config_entries.flow.async_configure(flow["flow_id"], user_input)

    async def join(
        self, money_micro: int = 5_000_000, *, export_meter: bool = True, backed_up: bool = True
    ) -> EnergyTradeConfigEntry:
        """Go through the whole flow; wait until the home is connected and has delivered."""
        flow = await self.start_flow()
        meters = {"import_meter": IMPORT_METER, **({"export_meter": EXPORT_METER} if export_meter else {})}
        answers: dict[str, dict[str, Any]] = {
            "meter": meters | LIMITS,
            "policy": {"policy": "surplus"},
            "settings": PRICES,
            "preview": LIVE,
            "no_preview": LIVE,
        }
        done = flow
        while done["type"] is FlowResultType.FORM and not done["errors"]:
            done = await self.answer(done, answers.pop(str(done["step_id"]), {}))
        assert done["type"] is FlowResultType.CREATE_ENTRY, done
        entry: EnergyTradeConfigEntry = done["result"]
        if backed_up:
            self.hass.config_entries.async_update_entry(entry, data={**entry.data, CONF_KEYS_BACKED_UP: True})
        await self.community.fund(str(entry.unique_id), money_micro)
        await self.live(entry)
        return entry

    async def live(self, entry: EnergyTradeConfigEntry) -> None:
        """Wait until the home hears its market's stream."""
        await self.until(lambda: entry.runtime_data.coordinator.connection is Connection.LIVE)

    async def boundary(self, consumption: str, production: str, *, exists: bool = True) -> int:
        """Let the meter report (or vanish) and the next boundary come; return its time."""
        await self._quiet()
        now = int(time.time())
        at = now - now % INTERVAL_S + INTERVAL_S
        self.move_to(at - 1)
        set_meters(self.hass, consumption, production)
        if not exists:
            self.hass.states.async_remove(IMPORT_METER)
        await self._pass(at)
        return at

    async def boundary_as_it_is(self) -> None:
        """Let the next boundary come without a new report of the meter."""
        await self._quiet()
        now = int(time.time())
        await self._pass(now - now % INTERVAL_S + INTERVAL_S)

    async def _quiet(self) -> None:
        """Let deliveries end before the clock jumps, or a request under way runs out of time with it."""
        entries: list[EnergyTradeConfigEntry] = self.hass.config_entries.async_loaded_entries(DOMAIN)
        deliveries = [entry.runtime_data.home.carrier.task for entry in entries]
        waiting = [task for task in deliveries if task is not None and not task.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=1.0)  # during an outage they go on, pausing
        for entry in entries:
            async with entry.runtime_data.coordinator._refresh_soon._execute_lock:
                pass

    async def _pass(self, at: int) -> None:
        self.move_to(at)
        entries: list[EnergyTradeConfigEntry] = self.hass.config_entries.async_loaded_entries(DOMAIN)
        await self.until(lambda: all(entry.runtime_data.home.last_boundary >= at for entry in entries))

    def move_to(self, at: int) -> None:
        """Move the clock on."""
        self.clock.move_to(dt.datetime.fromtimestamp(at, dt.UTC))

    async def delivered(self, entry: EnergyTradeConfigEntry) -> None:
        """Wait until nothing that was signed is left."""
        await self.until(lambda: len(agent_of(entry).outbox) == 0)

    async def until(self, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        """Wait for something that real servers and threads bring about."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            assert time.monotonic() < deadline, "what was waited for did not happen"
            await asyncio.sleep(0.01)

    def state(self, entry: EnergyTradeConfigEntry, key: str, platform: str = "sensor") -> State:
        """Return the state of one of the entry's entities."""
        unique_id = f"{entry.unique_id}_{key}"
        entity_id = er.async_get(self.hass).async_get_entity_id(platform, DOMAIN, unique_id)
        assert entity_id is not None, f"no {platform} {key}"
        state = self.hass.states.get(entity_id)
        assert state is not None, f"{entity_id} has no state"
        return state


def agent_of(entry: EnergyTradeConfigEntry) -> HouseholdAgent:
    """Return the entry's agent."""
    return entry.runtime_data.home.agent
