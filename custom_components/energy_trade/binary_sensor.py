"""Binary sensors: emergency and island of the grid, demand response, whether settlements hold, what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, override

from homeassistant.components.binary_sensor import (
    BinarySensorDeviceClass,
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.const import EntityCategory
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.event import async_track_point_in_utc_time
from homeassistant.util import dt as dt_util

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .events import event_time, moment
from .household.outlook import GridEvent, GridState

PARALLEL_UPDATES = 0


@dataclass(frozen=True, kw_only=True)
class GridSensorDescription(BinarySensorEntityDescription):
    """What one state of the grid is called."""

    state: GridState


GRID: tuple[GridSensorDescription, ...] = (
    GridSensorDescription(
        key="grid_emergency",
        translation_key="grid_emergency",
        device_class=BinarySensorDeviceClass.PROBLEM,
        state=GridState.EMERGENCY,
    ),
    GridSensorDescription(key="grid_island", translation_key="grid_island", state=GridState.ISLAND),
)
DEMAND_RESPONSE = BinarySensorEntityDescription(
    key="demand_response_active",
    translation_key="demand_response_active",
    device_class=BinarySensorDeviceClass.RUNNING,
)
SETTLEMENT_VERIFIED = BinarySensorEntityDescription(
    key="settlement_verified",
    translation_key="settlement_verified",
    entity_category=EntityCategory.DIAGNOSTIC,
)
INPUTS_PROBLEM = BinarySensorEntityDescription(
    key="inputs_problem",
    translation_key="inputs_problem",
    device_class=BinarySensorDeviceClass.PROBLEM,
    entity_category=EntityCategory.DIAGNOSTIC,
)
BINARY_SENSORS = (*GRID, DEMAND_RESPONSE, SETTLEMENT_VERIFIED, INPUTS_PROBLEM)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the binary sensors."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(GridSensor(coordinator, description) for description in GRID)
    async_add_entities([DemandResponseSensor(coordinator), SettlementSensor(coordinator), InputsSensor(coordinator)])


class GridSensor(EnergyTradeEntity, BinarySensorEntity):
    """Whether the grid is in one certain state."""

    entity_description: GridSensorDescription

    def __init__(self, coordinator: EnergyTradeCoordinator, description: GridSensorDescription) -> None:
        super().__init__(coordinator, description, local=False)

    @property
    @override
    def is_on(self) -> bool:
        """Whether the grid's operator says so."""
        return self.home.grid.state is self.entity_description.state


class DemandResponseSensor(EnergyTradeEntity, BinarySensorEntity):
    """Whether an event of the grid or of the owner's calendar is on; it changes at the event's own second."""

    _unrecorded_attributes = frozenset({"events"})

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, DEMAND_RESPONSE, local=True)
        self._timer: CALLBACK_TYPE | None = None

    @property
    @override
    def is_on(self) -> bool:
        """Whether any event is on now."""
        return bool(self._now())

    @property
    @override
    def extra_state_attributes(self) -> Mapping[str, Any]:
        """The events that are on, with what they ask for."""
        return {"events": [event_time(event) for event in self._now()]}

    @override
    async def async_added_to_hass(self) -> None:
        """Wait for the next beginning or end."""
        await super().async_added_to_hass()
        self._wait()

    @override
    async def async_will_remove_from_hass(self) -> None:
        """Wait no longer."""
        self._stop()

    @callback
    @override
    def _handle_coordinator_update(self) -> None:
        self._wait()
        super()._handle_coordinator_update()

    @callback
    def _wait(self) -> None:
        """Wake up when the next event begins or ends; the coordinator's clock counts."""
        self._stop()
        now, offset_s = self.home.market_time(), self.home.clock_offset_s
        edges = [edge for event in self.home.grid_events for edge in (event.start, event.end) if edge > now]
        if edges:
            at = dt_util.utc_from_timestamp(min(edges) + offset_s)
            self._timer = async_track_point_in_utc_time(self.hass, self._woken, at)

    @callback
    def _woken(self, _at: datetime) -> None:
        self._timer = None
        self._wait()
        self.async_write_ha_state()

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    def _now(self) -> list[GridEvent]:
        now = self.home.market_time()
        return [event for event in self.home.grid_events if event.covers(now)]


class SettlementSensor(EnergyTradeEntity, BinarySensorEntity):
    """Whether every settlement receipt that was checked here holds; unknown before the first."""

    _unrecorded_attributes = frozenset({"findings", "problem"})

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, SETTLEMENT_VERIFIED, local=True)
        self._verifier = coordinator.config_entry.runtime_data.verifier

    @property
    @override
    def is_on(self) -> bool | None:
        """Whether all that was checked holds."""
        return self._verifier.state.holds

    @property
    @override
    def extra_state_attributes(self) -> Mapping[str, Any]:
        """How many were checked, what the last one rests on and what speaks against those that do not hold."""
        state = self._verifier.state
        shown: dict[str, Any] = {"verified": state.verified, "waiting": state.waiting}
        if state.last is not None:
            shown |= {
                "delivery_start": moment(state.last.delivery_start),
                "proved_by": state.last.proved_by.value,
                "transaction": state.last.transaction,
            }
        if state.disputed:
            shown["findings"] = [text for verdict in state.disputed for text in verdict.findings]
            shown["findings"] += [text for verdict in state.disputed for text in verdict.chain_findings]
        if state.problem:
            shown["problem"] = state.problem
        return shown

    @override
    async def async_added_to_hass(self) -> None:
        """Hear of each check."""
        await super().async_added_to_hass()
        self.async_on_remove(self._verifier.async_listen(self.async_write_ha_state))


class InputsSensor(EnergyTradeEntity, BinarySensorEntity):
    """Whether something that the owner has named cannot be read: a price source, a calendar, a battery, a device."""

    _unrecorded_attributes = frozenset({"problems"})

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, INPUTS_PROBLEM, local=True)

    @property
    @override
    def is_on(self) -> bool:
        """Whether plans are made, or devices left alone, for want of something."""
        return bool(self._problems())

    @property
    @override
    def extra_state_attributes(self) -> Mapping[str, Any]:
        """What is missing and why, as sentences."""
        return {"problems": self._problems()}

    def _problems(self) -> list[str]:
        data = self.coordinator.config_entry.runtime_data
        return sorted({*data.outlook.problems.values(), *data.flexibility.problems.values()})
