"""A home with devices behind real entities (helpers of Home Assistant) that it offers to the grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from homeassistant.auth.const import GROUP_ID_ADMIN
from homeassistant.config_entries import ConfigEntryState, ConfigSubentry
from homeassistant.core import Context, HomeAssistant
from homeassistant.setup import async_setup_component

from coordinator.market.commands import ObserveSignal
from coordinator.protocol.order_terms import Signal
from custom_components.energy_trade.const import BATTERY, EV, INVERTER, LOAD, SOLAR
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.flexibility import Flexibility
from custom_components.energy_trade.household.flexible import What
from custom_components.energy_trade.household.outlook import GridState
from tests.component.rig import Rig

BOILER, CAR, PLUG = "input_boolean.boiler", "input_boolean.car", "input_boolean.plug"
SET_POINT, LIMIT, SOC = "input_number.set_point", "input_number.limit", "sensor.soc"
SWITCHES = {"boiler": {"initial": True}, "car": {"initial": True}, "plug": {"initial": True}}
NUMBERS = {
    "set_point": {"min": -5, "max": 5, "step": 0.01, "initial": 0.25, "unit_of_measurement": "kW"},
    "limit": {"min": 0, "max": 8_000, "step": 10, "initial": 8_000, "unit_of_measurement": "W"},
}
DATA: dict[str, dict[str, Any]] = {
    SOLAR: {"peak_w": 9_000},
    BATTERY: {
        "soc_entity": SOC,
        "capacity_wh": 10_000,
        "charge_max_w": 3_000,
        "discharge_max_w": 4_000,
        "reserve_percent": 20,
        "control_entity": SET_POINT,
    },
    LOAD: {"switch_entity": BOILER, "power_w": 2_000, "off_max_minutes": 30, "on_min_minutes": 0},
    EV: {
        "switch_entity": CAR,
        "power_w": 11_000,
        "connected_entity": PLUG,
        "energy_wh": 20_000,
        "ready_by_minute": 420,
    },
    INVERTER: {"limit_entity": LIMIT, "rated_w": 8_000, "least_percent": 30},
}


@dataclass
class FlexibleHouse:
    """What a test turns and looks at."""

    hass: HomeAssistant
    rig: Rig
    entry: EnergyTradeConfigEntry
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def flexibility(self) -> Flexibility:
        return self.entry.runtime_data.flexibility

    def doing(self) -> dict[str, What]:
        """Return what is done at present, by the devices' names."""
        return {action.name: action.what for action in self.flexibility.actions}

    def shows(self, entity_id: str) -> str:
        state = self.hass.states.get(entity_id)
        assert state is not None
        return state.state

    async def offer(self, *kinds: str, **changes: Any) -> None:
        """Add these devices to the entry, and wait until it runs again."""
        for kind in kinds:
            data = MappingProxyType({**DATA[kind], **changes})
            subentry = ConfigSubentry(data=data, subentry_type=kind, title=kind, unique_id=None)
            self.hass.config_entries.async_add_subentry(self.entry, subentry)
        await self.running()

    async def running(self) -> None:
        """Wait until the entry is loaded, has its live stream and what an earlier run left is given back."""
        await self.hass.async_block_till_done()
        await self.rig.until(lambda: self.entry.state is ConfigEntryState.LOADED)
        await self.rig.live(self.entry)
        await self.rig.until(lambda: self.flexibility._ready)
        home = self.entry.runtime_data.home
        home.async_listen_events(lambda kind, data: self.heard.append((kind, dict(data))))

    async def grid_is(self, state: GridState) -> None:
        """Let the operator tell the grid's state, and wait until the home has heard of it."""
        await self.rig.community.ledger.submit(grid_state(state))
        await self.rig.until(lambda: self.entry.runtime_data.home.grid.state is state)
        await self.settled()

    async def settled(self) -> None:
        """Wait until no command is under way."""
        controller = self.flexibility._controller
        await self.rig.until(lambda: all(hold.confirmed and not hold.releasing for hold in controller.holds.values()))

    async def metered(self) -> None:
        """Let two boundaries pass, so that the home knows what flows through its meter."""
        await self.rig.boundary("35600.150", "812.340")
        await self.rig.boundary("35600.151", "812.340")

    async def owner(self, service: str, entity_id: str, **data: Any) -> None:
        """Let a person set an entity."""
        domain = entity_id.partition(".")[0]
        user = await self.hass.auth.async_create_user("Owner", group_ids=[GROUP_ID_ADMIN])
        context = Context(user_id=user.id)
        await self.hass.services.async_call(
            domain, service, {"entity_id": entity_id, **data}, blocking=True, context=context
        )

    def kinds(self) -> list[str]:
        """Return which events of flexibility were heard."""
        return [kind for kind, _ in self.heard if kind.startswith("flexibility")]


def grid_state(state: GridState) -> ObserveSignal:
    """Return the operator's word on the grid's state."""
    return ObserveSignal(Signal.GRID_STATE, 0, int(state))


def frequency(mhz: int) -> ObserveSignal:
    """Return the operator's word on the grid's frequency."""
    return ObserveSignal(Signal.FREQUENCY, 0, mhz)


async def furnish(hass: HomeAssistant) -> None:
    """Put the helpers into Home Assistant that stand for devices."""
    assert await async_setup_component(hass, "input_boolean", {"input_boolean": SWITCHES})
    assert await async_setup_component(hass, "input_number", {"input_number": NUMBERS})
    charge(hass, "80")


def charge(hass: HomeAssistant, percent: str, unit: str | None = "%") -> None:
    """Let the battery report its state of charge."""
    hass.states.async_set(SOC, percent, {"unit_of_measurement": unit})


def words_of(heard: Iterable[tuple[str, dict[str, Any]]], kind: str) -> list[dict[str, Any]]:
    """Return the data of the events of a kind."""
    return [data for heard_kind, data in heard if heard_kind == kind]
