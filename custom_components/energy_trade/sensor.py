"""Sensors: the market's price, the home's position, its energy, its money, the grid, and how it is doing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, override

from homeassistant.components.sensor import SensorEntity, SensorStateClass
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.helpers.restore_state import RestoredExtraData, RestoreEntity
from homeassistant.util import dt as dt_util

from .coordinator import EnergyTradeConfigEntry, EnergyTradeCoordinator
from .entity import EnergyTradeEntity
from .household.day import DayCounter
from .household.shadow import ShadowGain
from .protocol.units import interval_start
from .sensor_descriptions import (
    DECISION_RULES,
    GRID_STATES,
    METER_STATES,
    SENSORS,
    SHADOW_GAIN,
    TODAY,
    EnergyTradeSensorDescription,
    TodaySensorDescription,
    Value,
    units,
)

PARALLEL_UPDATES = 0


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the sensors."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(EnergyTradeSensor(coordinator, description) for description in SENSORS)
    async_add_entities(TodaySensor(coordinator, description) for description in TODAY)
    async_add_entities([ShadowGainSensor(coordinator)])


class EnergyTradeSensor(EnergyTradeEntity, SensorEntity):
    """One value of the home's market."""

    entity_description: EnergyTradeSensorDescription
    _unrecorded_attributes = frozenset({"reason", "text", "alternative", "inputs", "policy", "rule", "delivery_start"})

    def __init__(self, coordinator: EnergyTradeCoordinator, description: EnergyTradeSensorDescription) -> None:
        super().__init__(coordinator, description, local=description.local)
        if description.currency is not None:
            self._attr_native_unit_of_measurement = description.currency.format(coordinator.info.currency)

    @property
    @override
    def native_value(self) -> Value:
        """The value, ``None`` where there is none: never zero for unknown."""
        return self.entity_description.value_fn(self.coordinator)

    @property
    @override
    def extra_state_attributes(self) -> Mapping[str, Any] | None:
        """The reason in words, where there is one."""
        attributes = self.entity_description.attributes_fn
        return None if attributes is None else attributes(self.coordinator)


class TodaySensor(EnergyTradeEntity, SensorEntity, RestoreEntity):
    """How much a total has grown in the local day; ``last_reset`` says since when it was watched."""

    entity_description: TodaySensorDescription
    _attr_state_class = SensorStateClass.TOTAL

    def __init__(self, coordinator: EnergyTradeCoordinator, description: TodaySensorDescription) -> None:
        super().__init__(coordinator, description, local=description.local)
        self._counter = DayCounter()
        if description.currency is not None:
            self._attr_native_unit_of_measurement = description.currency.format(coordinator.info.currency)

    @property
    @override
    def native_value(self) -> Decimal | None:
        """What was added today, ``None`` before the total was seen."""
        if not self._counter.seen_at:
            return None
        return Decimal(self._counter.value) / self.entity_description.per_unit

    @property
    @override
    def last_reset(self) -> datetime | None:
        """Midnight, or later when nobody was looking at midnight."""
        return dt_util.utc_from_timestamp(self._counter.since) if self._counter.since else None

    @property
    @override
    def extra_restore_state_data(self) -> RestoredExtraData:
        """What is needed to go on counting after a restart, up to this moment."""
        self._look()
        return RestoredExtraData(self._counter.to_dict())

    @override
    async def async_added_to_hass(self) -> None:
        """Go on where the last run stopped; what cannot be read is counted anew."""
        await super().async_added_to_hass()
        if (kept := await self.async_get_last_extra_data()) is not None:
            try:
                self._counter = DayCounter.from_dict(kept.as_dict())
            except ValueError:
                self._counter = DayCounter()
        if self.entity_description.restarts:
            self._counter.begin_at_zero()
            if not self._counter.seen_at:
                self._see(0)
        self._look()

    @callback
    @override
    def _handle_coordinator_update(self) -> None:
        self._look()
        super()._handle_coordinator_update()

    @callback
    def _look(self) -> None:
        if self.available:
            self._see(self.entity_description.total_fn(self.coordinator))

    def _see(self, total: int) -> None:
        midnight = dt_util.start_of_local_day()
        self._counter.see(total, int(dt_util.utcnow().timestamp()), int(midnight.timestamp()))


class ShadowGainSensor(EnergyTradeEntity, SensorEntity, RestoreEntity):
    """What the plans of shadow mode would have gained at the market's prices: the reason to go live, or not to."""

    def __init__(self, coordinator: EnergyTradeCoordinator) -> None:
        super().__init__(coordinator, SHADOW_GAIN, local=False)
        self._gain: ShadowGain | None = None
        self._attr_native_unit_of_measurement = coordinator.info.currency

    @property
    @override
    def native_value(self) -> Decimal | None:
        """The gain until now, ``None`` before the first plan in shadow mode."""
        return None if self._gain is None else units(self._gain.gain_micro)

    @property
    @override
    def extra_restore_state_data(self) -> RestoredExtraData | None:
        """The gain and the plans whose interval has no price yet."""
        return None if self._gain is None else RestoredExtraData(self._gain.to_dict())

    @override
    async def async_added_to_hass(self) -> None:
        """Go on where the last run stopped."""
        await super().async_added_to_hass()
        if (kept := await self.async_get_last_extra_data()) is not None:
            try:
                self._gain = ShadowGain.from_dict(kept.as_dict())
            except KeyError, ValueError:
                self._gain = None
        self._look()

    @callback
    @override
    def _handle_coordinator_update(self) -> None:
        self._look()
        super()._handle_coordinator_update()

    @callback
    def _look(self) -> None:
        if self._gain is None and self.home.agent.shadow:
            self._gain = ShadowGain()
        if self._gain is not None:
            self._gain.note(self.home.plan.values())
            if (latest := self.coordinator.latest) is not None:
                info = self.coordinator.info
                self._gain.judge(latest.prices, interval_start(self.home.market_time(), info.interval_s), info)


__all__ = [
    "DECISION_RULES",
    "GRID_STATES",
    "METER_STATES",
    "SENSORS",
    "SHADOW_GAIN",
    "TODAY",
    "EnergyTradeSensor",
    "ShadowGainSensor",
    "TodaySensor",
]
