"""Sensors: the market's price, the home's position, its energy, its money, and how it is doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, override

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import EntityCategory, UnitOfEnergy, UnitOfTime
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from homeassistant.util import dt as dt_util

from .coordinator import Connection, EnergyTradeConfigEntry, EnergyTradeCoordinator
from .data import AccountState
from .entity import EnergyTradeEntity
from .household.reason import Reason
from .protocol.messages import Side
from .protocol.units import MICRO, WH_PER_KWH

PARALLEL_UPDATES = 0

type Value = str | int | Decimal | datetime | None

METER_STATES = (
    "ok",
    "waiting",
    "missing",
    "unavailable",
    "not_a_number",
    "unit",
    "out_of_range",
    "register_zero",
    "register_fell",
    "beyond_limit",
    "both_directions",
    "resolution",
    "stale",
    "clock",
    "clock_back",
    "late",
    "outbox_full",
)
DECISION_RULES = (
    "sell_at_fixed_price",
    "buy_at_fixed_price",
    "no_regret_guard",
    "no_forecast",
    "balanced",
    "limit_zero",
    "outside_band",
)


@dataclass(frozen=True, kw_only=True)
class EnergyTradeSensorDescription(SensorEntityDescription):
    """A sensor and where its value comes from.

    ``local`` sensors need no coordinator. ``currency`` is how the market's currency makes the unit.
    """

    value_fn: Callable[[EnergyTradeCoordinator], Value]
    attributes_fn: Callable[[EnergyTradeCoordinator], Mapping[str, Any] | None] | None = None
    local: bool = False
    currency: str | None = None


def _account(value: Callable[[AccountState], Value]) -> Callable[[EnergyTradeCoordinator], Value]:
    return lambda coordinator: value(coordinator.data.account)


def _kwh(energy_wh: int) -> Decimal:
    return Decimal(energy_wh) / WH_PER_KWH


def _units(micro: int | None) -> Decimal | None:
    """Turn 1e-6 of the currency into the currency."""
    return None if micro is None else Decimal(micro) / MICRO


def _price(
    key: str, price: Callable[[EnergyTradeCoordinator], int | None], local: bool
) -> EnergyTradeSensorDescription:
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        currency="{}/kWh",
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=4,
        local=local,
        value_fn=lambda coordinator: _units(price(coordinator)),
    )


def _energy(
    key: str, energy_wh: Callable[[AccountState], int], state_class: SensorStateClass
) -> EnergyTradeSensorDescription:
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.ENERGY,
        native_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
        state_class=state_class,
        suggested_display_precision=3,
        value_fn=_account(lambda account: _kwh(energy_wh(account))),
    )


def _money(
    key: str, micro: Callable[[AccountState], int], *, precision: int = 2, enabled: bool = True
) -> EnergyTradeSensorDescription:
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.MONETARY,
        currency="{}",
        state_class=SensorStateClass.TOTAL,
        suggested_display_precision=precision,
        entity_registry_enabled_default=enabled,
        value_fn=_account(lambda account: _units(micro(account))),
    )


def _last_reason(coordinator: EnergyTradeCoordinator) -> Reason | None:
    decisions = coordinator.home.agent.decisions
    return decisions[-1].decision.reason if decisions else None


def _reason_attributes(coordinator: EnergyTradeCoordinator) -> Mapping[str, Any] | None:
    reason = _last_reason(coordinator)
    if reason is None:
        return None
    start = dt_util.utc_from_timestamp(coordinator.home.agent.decisions[-1].delivery_start)
    return {"delivery_start": start.isoformat(), **reason.to_dict()}


def _last_reading(coordinator: EnergyTradeCoordinator) -> datetime | None:
    signed_at = coordinator.home.agent.meter.signed_at
    return dt_util.utc_from_timestamp(signed_at) if signed_at else None


def _meter_state(coordinator: EnergyTradeCoordinator) -> str:
    home = coordinator.home
    if home.refusal is not None:
        return home.refusal.code
    return "ok" if home.agent.meter.signed_at else "waiting"


def _meter_attributes(coordinator: EnergyTradeCoordinator) -> Mapping[str, Any] | None:
    refusal = coordinator.home.refusal
    return None if refusal is None else {"reason": refusal.message}


SENSORS: tuple[EnergyTradeSensorDescription, ...] = (
    _price("market_price", lambda c: c.data.price_at(c.home.market_time()), local=False),
    _price("next_market_price", lambda c: c.data.price_at(c.home.market_time(), 1), local=False),
    _price("sell_limit", lambda c: c.home.agent.policy.limit_for(Side.SELL, c.info), local=True),
    _price("buy_limit", lambda c: c.home.agent.policy.limit_for(Side.BUY, c.info), local=True),
    EnergyTradeSensorDescription(
        key="next_position",
        translation_key="next_position",
        native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=0,
        value_fn=lambda c: c.data.position_wh(c.next_start()),
    ),
    _energy("energy_bought", lambda account: account.bought_wh, SensorStateClass.TOTAL_INCREASING),
    _energy("energy_sold", lambda account: account.sold_wh, SensorStateClass.TOTAL_INCREASING),
    _energy("energy_balance", lambda account: account.energy_wh, SensorStateClass.TOTAL),
    _money("money_paid", lambda account: account.cost_micro, precision=3),
    _money("money_received", lambda account: account.revenue_micro, precision=3),
    _money("saved", lambda account: account.saved_micro, precision=3),
    _money("money_balance", lambda account: account.money_micro),
    _money("money_reserved", lambda account: account.reserved_micro, enabled=False),
    EnergyTradeSensorDescription(
        key="open_orders",
        translation_key="open_orders",
        state_class=SensorStateClass.MEASUREMENT,
        entity_registry_enabled_default=False,
        value_fn=_account(lambda account: account.open_orders),
    ),
    EnergyTradeSensorDescription(
        key="last_decision",
        translation_key="last_decision",
        device_class=SensorDeviceClass.ENUM,
        options=list(DECISION_RULES),
        local=True,
        value_fn=lambda c: None if (reason := _last_reason(c)) is None else reason.rule,
        attributes_fn=_reason_attributes,
    ),
    EnergyTradeSensorDescription(
        key="connection",
        translation_key="connection",
        device_class=SensorDeviceClass.ENUM,
        options=[state.value for state in Connection],
        entity_category=EntityCategory.DIAGNOSTIC,
        local=True,
        value_fn=lambda c: c.connection.value,
    ),
    EnergyTradeSensorDescription(
        key="last_reading",
        translation_key="last_reading",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        local=True,
        value_fn=_last_reading,
    ),
    EnergyTradeSensorDescription(
        key="meter_check",
        translation_key="meter_check",
        device_class=SensorDeviceClass.ENUM,
        options=list(METER_STATES),
        entity_category=EntityCategory.DIAGNOSTIC,
        local=True,
        value_fn=_meter_state,
        attributes_fn=_meter_attributes,
    ),
    EnergyTradeSensorDescription(
        key="readings_waiting",
        translation_key="readings_waiting",
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        local=True,
        value_fn=lambda c: len(c.home.agent.outbox.readings()),
    ),
    EnergyTradeSensorDescription(
        key="clock_offset",
        translation_key="clock_offset",
        device_class=SensorDeviceClass.DURATION,
        native_unit_of_measurement=UnitOfTime.SECONDS,
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        value_fn=lambda c: c.home.clock_offset_s,
    ),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnergyTradeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the sensors."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities(EnergyTradeSensor(coordinator, description) for description in SENSORS)


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
