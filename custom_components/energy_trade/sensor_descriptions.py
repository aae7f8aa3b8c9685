"""What each sensor shows: prices, position, energy, money, the grid, and how the home is doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from homeassistant.components.sensor import SensorDeviceClass, SensorEntityDescription, SensorStateClass
from homeassistant.const import EntityCategory, UnitOfEnergy, UnitOfFrequency, UnitOfInformation, UnitOfTime
from homeassistant.util import dt as dt_util

from .coordinator import Connection, EnergyTradeCoordinator
from .data import AccountState
from .household.forecast import Forecast, persistence
from .household.outlook import GridState
from .household.policies import ALL_RULES
from .household.policy import Situation, limit_for
from .household.reason import Reason
from .household.terms import next_open
from .protocol.messages import Side
from .protocol.units import MICRO, WH_PER_KWH

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
DECISION_RULES = tuple(ALL_RULES)
GRID_STATES = tuple(state.name.lower() for state in GridState)


@dataclass(frozen=True, kw_only=True)
class EnergyTradeSensorDescription(SensorEntityDescription):
    """A sensor and where its value comes from.

    ``local`` sensors need no coordinator. ``currency`` is how the market's currency makes the unit.
    """

    value_fn: Callable[[EnergyTradeCoordinator], Value]
    attributes_fn: Callable[[EnergyTradeCoordinator], Mapping[str, Any] | None] | None = None
    local: bool = False
    currency: str | None = None


@dataclass(frozen=True, kw_only=True)
class TodaySensorDescription(SensorEntityDescription):
    """A sensor that shows how much a total has grown since midnight.

    ``total_fn`` is the total in whole units, ``per_unit`` of which make one of the sensor's. ``restarts``: the total
    begins from zero with each start of the home.
    """

    total_fn: Callable[[EnergyTradeCoordinator], int]
    per_unit: int = 1
    local: bool = False
    restarts: bool = False
    currency: str | None = None


def units(micro: int | None) -> Decimal | None:
    """Turn 1e-6 of the currency into the currency."""
    return None if micro is None else Decimal(micro) / MICRO


def _account(value: Callable[[AccountState], Value]) -> Callable[[EnergyTradeCoordinator], Value]:
    return lambda coordinator: value(coordinator.data.account)


def _kwh(energy_wh: int) -> Decimal:
    return Decimal(energy_wh) / WH_PER_KWH


def _price(
    key: str, price: Callable[[EnergyTradeCoordinator], int | None], *, local: bool
) -> EnergyTradeSensorDescription:
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        currency="{}/kWh",
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=4,
        local=local,
        value_fn=lambda coordinator: units(price(coordinator)),
    )


def _energy(key: str, energy_wh: Callable[[AccountState], int]) -> EnergyTradeSensorDescription:
    """Describe a total that a correction of a settled interval may also lower."""
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.ENERGY,
        native_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
        state_class=SensorStateClass.TOTAL,
        suggested_display_precision=3,
        value_fn=_account(lambda account: _kwh(energy_wh(account))),
    )


def _interval_energy(
    key: str, energy_wh: Callable[[EnergyTradeCoordinator], int | None], *, local: bool
) -> EnergyTradeSensorDescription:
    """Describe an energy of one interval: not an energy meter, so without its device class."""
    return EnergyTradeSensorDescription(
        key=key,
        translation_key=key,
        native_unit_of_measurement=UnitOfEnergy.WATT_HOUR,
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=0,
        local=local,
        value_fn=energy_wh,
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
        value_fn=_account(lambda account: units(micro(account))),
    )


def _energy_today(key: str, energy_wh: Callable[[AccountState], int]) -> TodaySensorDescription:
    return TodaySensorDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.ENERGY,
        native_unit_of_measurement=UnitOfEnergy.KILO_WATT_HOUR,
        suggested_display_precision=3,
        per_unit=WH_PER_KWH,
        total_fn=lambda coordinator: energy_wh(coordinator.data.account),
    )


def _money_today(key: str, micro: Callable[[AccountState], int]) -> TodaySensorDescription:
    return TodaySensorDescription(
        key=key,
        translation_key=key,
        device_class=SensorDeviceClass.MONETARY,
        currency="{}",
        suggested_display_precision=3,
        per_unit=MICRO,
        total_fn=lambda coordinator: micro(coordinator.data.account),
    )


def _own_limit(coordinator: EnergyTradeCoordinator, side: Side) -> int | None:
    """Return what the policy asks or offers for the next interval whose gate is open."""
    home, info = coordinator.home, coordinator.info
    now, agent = home.market_time(), home.agent
    situation = Situation(now, next_open(info, now), None, info, agent.limits, home.outlook)
    return limit_for(agent.policy, agent.bounds, situation, side)


def _next_forecast(coordinator: EnergyTradeCoordinator) -> Forecast | None:
    """Return what is expected of the next interval: from the history, or that it goes on as it was."""
    home, start = coordinator.home, coordinator.next_start()
    known = home.outlook.forecasts.get(start)
    return known or persistence(home.agent.meter.last, home.market_time(), coordinator.info.interval_s)


def _expected_surplus(coordinator: EnergyTradeCoordinator) -> int | None:
    forecast = _next_forecast(coordinator)
    return None if forecast is None else -forecast.net_wh


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


def _frequency(coordinator: EnergyTradeCoordinator) -> Decimal | None:
    frequency_mhz = coordinator.home.grid.frequency_mhz
    return None if frequency_mhz is None else Decimal(frequency_mhz) / 1000


_MARKET = (
    _price("market_price", lambda c: c.data.price_at(c.home.market_time()), local=False),
    _price("next_market_price", lambda c: c.data.price_at(c.home.market_time(), 1), local=False),
    _price("sell_limit", lambda c: _own_limit(c, Side.SELL), local=True),
    _price("buy_limit", lambda c: _own_limit(c, Side.BUY), local=True),
    _interval_energy("expected_surplus", _expected_surplus, local=True),
    _interval_energy("next_position", lambda c: c.data.position_wh(c.next_start()), local=False),
)
_ACCOUNT = (
    _energy("energy_bought", lambda account: account.bought_wh),
    _energy("energy_sold", lambda account: account.sold_wh),
    _energy("energy_balance", lambda account: account.energy_wh),
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
)
_GRID = (
    EnergyTradeSensorDescription(
        key="grid_state",
        translation_key="grid_state",
        device_class=SensorDeviceClass.ENUM,
        options=list(GRID_STATES),
        value_fn=lambda c: c.home.grid.state.name.lower(),
    ),
    EnergyTradeSensorDescription(
        key="grid_frequency",
        translation_key="grid_frequency",
        device_class=SensorDeviceClass.FREQUENCY,
        native_unit_of_measurement=UnitOfFrequency.HERTZ,
        state_class=SensorStateClass.MEASUREMENT,
        suggested_display_precision=3,
        entity_registry_enabled_default=False,
        value_fn=_frequency,
    ),
    _interval_energy("community_surplus", lambda c: c.home.grid.forecast_surplus.get(c.next_start()), local=False),
)
_HOW_IT_IS_DOING = (
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
SENSORS: tuple[EnergyTradeSensorDescription, ...] = (*_MARKET, *_ACCOUNT, *_GRID, *_HOW_IT_IS_DOING)

TODAY: tuple[TodaySensorDescription, ...] = (
    _energy_today("energy_bought_today", lambda account: account.bought_wh),
    _energy_today("energy_sold_today", lambda account: account.sold_wh),
    _money_today("money_paid_today", lambda account: account.cost_micro),
    _money_today("money_received_today", lambda account: account.revenue_micro),
    _money_today("saved_today", lambda account: account.saved_micro),
    TodaySensorDescription(
        key="data_sent_today",
        translation_key="data_sent_today",
        device_class=SensorDeviceClass.DATA_SIZE,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.KILOBYTES,
        suggested_display_precision=1,
        entity_category=EntityCategory.DIAGNOSTIC,
        local=True,
        restarts=True,
        total_fn=lambda c: c.client.sent_bytes,
    ),
    TodaySensorDescription(
        key="messages_sent_today",
        translation_key="messages_sent_today",
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        local=True,
        restarts=True,
        total_fn=lambda c: c.client.sent_messages,
    ),
)

SHADOW_GAIN = SensorEntityDescription(
    key="shadow_gain",
    translation_key="shadow_gain",
    device_class=SensorDeviceClass.MONETARY,
    state_class=SensorStateClass.TOTAL,
    suggested_display_precision=3,
)
