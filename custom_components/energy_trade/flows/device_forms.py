"""The forms of the home's devices: what is asked, in which unit, what is stored of it and what can be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import probatio
from homeassistant.const import (
    ATTR_UNIT_OF_MEASUREMENT,
    CONF_NAME,
    PERCENTAGE,
    UnitOfEnergy,
    UnitOfPower,
    UnitOfTime,
)
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import (
    EntitySelector,
    EntitySelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectOptionDict,
    Selector,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TimeSelector,
)

from ..const import (
    BATTERY,
    CONF_CAPACITY,
    CONF_CHARGE_MAX,
    CONF_CONNECTED_ENTITY,
    CONF_CONTROL_ENTITY,
    CONF_DISCHARGE_MAX,
    CONF_ENERGY,
    CONF_ENERGY_ENTITY,
    CONF_FORECAST_ENTRIES,
    CONF_LEAST,
    CONF_LIMIT_ENTITY,
    CONF_OFF_MAX,
    CONF_ON_MIN,
    CONF_PEAK,
    CONF_POWER,
    CONF_RATED,
    CONF_READY_BY,
    CONF_RESERVE,
    CONF_SOC_ENTITY,
    CONF_SWITCH_ENTITY,
    CONF_WINDOW,
    EV,
    INVERTER,
    LOAD,
    SOLAR,
)
from ..meter import entity_of, reference_of
from .amounts import minute_of, scaled, time_of

WINDOW_FROM, WINDOW_TO = "window_from", "window_to"
_PER_KILO: Final = 1_000
_DAY_MINUTES: Final = 1_440
_SENSORS: Final = ("sensor",)
_SWITCHES: Final = ("switch", "input_boolean")
_NUMBERS: Final = ("number", "input_number")
_YES_OR_NO: Final = ("binary_sensor", "input_boolean")
_POWER_UNITS: Final = (UnitOfPower.WATT, UnitOfPower.KILO_WATT)
_ENERGY_UNITS: Final = (UnitOfEnergy.WATT_HOUR, UnitOfEnergy.KILO_WATT_HOUR, UnitOfEnergy.MEGA_WATT_HOUR)

type Values = Mapping[str, Any]


class Kind(StrEnum):
    """How a field is asked for, and what is stored."""

    ENTITY = "entity"
    ENTRIES = "entries"
    """Entries of other integrations, as a list of ids."""
    KILO = "kilo"
    """Asked in kW or kWh, stored in W or Wh."""
    PLAIN = "plain"
    """A whole number as it is asked for."""
    MINUTE = "minute"
    """A time of day, stored as its minute."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One field of a device's form: its name there, and the key under which it is stored."""

    name: str
    key: str
    kind: Kind
    required: bool = True
    domains: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    least: float = 0
    most: float = 0
    unit: str = ""
    default: Any = field(default=None)


def _power(name: str, key: str, default: float | None) -> Asked:
    """A power that is needed, or without a default one that may be left out."""
    unit = UnitOfPower.KILO_WATT
    return Asked(name, key, Kind.KILO, default is not None, least=0.001, most=1_000, unit=unit, default=default)


def _energy(name: str, key: str, default: float) -> Asked:
    return Asked(name, key, Kind.KILO, least=0.1, most=10_000, unit=UnitOfEnergy.KILO_WATT_HOUR, default=default)


def _percent(key: str, default: int) -> Asked:
    return Asked(key, key, Kind.PLAIN, least=0, most=100, unit=PERCENTAGE, default=default)


def _minutes(key: str, least: int, default: int) -> Asked:
    return Asked(key, key, Kind.PLAIN, least=least, most=_DAY_MINUTES, unit=UnitOfTime.MINUTES, default=default)


def _switch() -> Asked:
    return Asked(CONF_SWITCH_ENTITY, CONF_SWITCH_ENTITY, Kind.ENTITY, domains=_SWITCHES)


_WINDOW: Final = (
    Asked(WINDOW_FROM, WINDOW_FROM, Kind.MINUTE, required=False),
    Asked(WINDOW_TO, WINDOW_TO, Kind.MINUTE, required=False),
)

FIELDS: Final[Mapping[str, tuple[Asked, ...]]] = {
    SOLAR: (
        Asked(CONF_ENERGY_ENTITY, CONF_ENERGY_ENTITY, Kind.ENTITY, False, domains=_SENSORS, units=_ENERGY_UNITS),
        Asked(CONF_FORECAST_ENTRIES, CONF_FORECAST_ENTRIES, Kind.ENTRIES, required=False),
        _power("peak_kw", CONF_PEAK, None),
    ),
    BATTERY: (
        Asked(CONF_SOC_ENTITY, CONF_SOC_ENTITY, Kind.ENTITY, domains=_SENSORS, units=(PERCENTAGE,)),
        _energy("capacity_kwh", CONF_CAPACITY, 10),
        _power("charge_max_kw", CONF_CHARGE_MAX, 5),
        _power("discharge_max_kw", CONF_DISCHARGE_MAX, 5),
        _percent(CONF_RESERVE, 20),
        Asked(CONF_CONTROL_ENTITY, CONF_CONTROL_ENTITY, Kind.ENTITY, False, domains=_NUMBERS, units=_POWER_UNITS),
    ),
    LOAD: (
        _switch(),
        _power("power_kw", CONF_POWER, 2),
        _minutes(CONF_OFF_MAX, 1, 60),
        _minutes(CONF_ON_MIN, 0, 15),
        *_WINDOW,
    ),
    EV: (
        _switch(),
        _power("power_kw", CONF_POWER, 11),
        _energy("energy_kwh", CONF_ENERGY, 20),
        Asked("ready_by", CONF_READY_BY, Kind.MINUTE, default="07:00:00"),
        Asked(
            CONF_CONNECTED_ENTITY,
            CONF_CONNECTED_ENTITY,
            Kind.ENTITY,
            required=False,
            domains=_YES_OR_NO,
        ),
        *_WINDOW,
    ),
    INVERTER: (
        Asked(CONF_LIMIT_ENTITY, CONF_LIMIT_ENTITY, Kind.ENTITY, domains=_NUMBERS, units=(*_POWER_UNITS, PERCENTAGE)),
        _power("rated_kw", CONF_RATED, 10),
        _percent(CONF_LEAST, 30),
    ),
}

CONTROLLED: Final = (CONF_SWITCH_ENTITY, CONF_CONTROL_ENTITY, CONF_LIMIT_ENTITY)
"""Entities that Energy Trade sets: two devices must not share one."""


def schema(kind: str, forecasts: Iterable[tuple[str, str]]) -> probatio.Schema:
    """Return the form of a device; ``forecasts`` are the entries (id and title) that forecast solar energy."""
    fields: dict[probatio.Marker, Any] = {probatio.Required(CONF_NAME): probatio.All(TextSelector(), _NAME_LENGTH)}
    for asked in FIELDS[kind]:
        marker = probatio.Required if asked.required else probatio.Optional
        fields[marker(asked.name)] = (
            _entry_selector(forecasts) if asked.kind is Kind.ENTRIES else _SELECTORS[asked.kind](asked)
        )
    return probatio.Schema(fields)


def proposed(kind: str) -> dict[str, Any]:
    """Return what the form of a new device proposes."""
    return {asked.name: asked.default for asked in FIELDS[kind] if asked.default is not None}


def shown(hass: HomeAssistant, kind: str, title: str, data: Values) -> dict[str, Any]:
    """Return a stored device as the form shows it; an entity that is gone is left empty."""
    values = dict(data)
    window = values.pop(CONF_WINDOW, None)
    if window is not None:
        values |= {WINDOW_FROM: window["from"], WINDOW_TO: window["to"]}
    found = {asked.name: _show(hass, asked, values[asked.key]) for asked in FIELDS[kind] if asked.key in values}
    return {CONF_NAME: title, **{name: value for name, value in found.items() if value is not None}}


def read(hass: HomeAssistant, kind: str, user_input: Values) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what to store of a form, and what is wrong by field."""
    asked_for = [asked for asked in FIELDS[kind] if asked.name in user_input]
    errors = {
        asked.name: error
        for asked in asked_for
        if asked.kind is Kind.ENTITY and (error := _entity_fault(hass, asked, user_input[asked.name])) is not None
    }
    data = {asked.key: _read(hass, asked, user_input[asked.name]) for asked in asked_for}
    if not data.get(CONF_FORECAST_ENTRIES, True):
        del data[CONF_FORECAST_ENTRIES]
    start, end = data.pop(WINDOW_FROM, None), data.pop(WINDOW_TO, None)
    if (start is None) != (end is None):
        errors[WINDOW_FROM if start is None else WINDOW_TO] = "window_half"
    elif start is not None:
        data[CONF_WINDOW] = {"from": start, "to": end}
        if start == end:
            errors[WINDOW_TO] = "window_empty"
    return data, errors or _CHECKS.get(kind, _no_fault)(data)


def identity(kind: str, data: Values) -> str:
    """Return what tells one device from another of its kind."""
    named = data.get(FIELDS[kind][0].key)
    return str(named) if named is not None else ",".join(sorted(data[CONF_FORECAST_ENTRIES]))


def field_of(kind: str, data: Values) -> str:
    """Return the field that names the device."""
    first = FIELDS[kind][0]
    return first.name if first.key in data else CONF_FORECAST_ENTRIES


def shared_control(data: Values, others: Iterable[Values]) -> str | None:
    """Return the field whose entity another device already has to be set by."""
    taken = {other[key] for other in others for key in CONTROLLED if key in other}
    return next((key for key in CONTROLLED if data.get(key) in taken), None)


def _entity_fault(hass: HomeAssistant, asked: Asked, entity_id: str) -> str | None:
    state = hass.states.get(entity_id)
    if state is None:
        return "entity_missing"
    if asked.units and state.attributes.get(ATTR_UNIT_OF_MEASUREMENT) not in asked.units:
        return "entity_unit"
    return None


def _read(hass: HomeAssistant, asked: Asked, value: Any) -> Any:
    match asked.kind:
        case Kind.ENTITY:
            return reference_of(hass, value)
        case Kind.KILO:
            return scaled(value, _PER_KILO)
        case Kind.PLAIN:
            return int(value)
        case Kind.MINUTE:
            return minute_of(value)
    return value


def _show(hass: HomeAssistant, asked: Asked, value: Any) -> Any:
    match asked.kind:
        case Kind.ENTITY:
            return entity_of(hass, value)
        case Kind.KILO:
            return value / _PER_KILO
        case Kind.MINUTE:
            return time_of(value)
    return value


def _solar_fault(data: Values) -> dict[str, str]:
    if CONF_ENERGY_ENTITY not in data and CONF_FORECAST_ENTRIES not in data:
        return {"base": "solar_nothing"}
    return {}


def _ev_fault(data: Values) -> dict[str, str]:
    """Say when the car can never have its energy in the time in which it may be charged."""
    window = data.get(CONF_WINDOW)
    minutes = _DAY_MINUTES if window is None else (window["to"] - window["from"]) % _DAY_MINUTES
    if data[CONF_ENERGY] * 60 > data[CONF_POWER] * minutes:
        return {"energy_kwh": "never_ready"}
    return {}


def _no_fault(_data: Values) -> dict[str, str]:
    return {}


_CHECKS: Final[Mapping[str, Callable[[Values], dict[str, str]]]] = {SOLAR: _solar_fault, EV: _ev_fault}


def _entity_selector(asked: Asked) -> Selector[Any]:
    return EntitySelector(EntitySelectorConfig(domain=list(asked.domains)))


def _number_selector(asked: Asked) -> Selector[Any]:
    step = 0.001 if asked.kind is Kind.KILO else 1
    return NumberSelector(
        NumberSelectorConfig(
            min=asked.least, max=asked.most, step=step, unit_of_measurement=asked.unit, mode=NumberSelectorMode.BOX
        )
    )


def _time_selector(_asked: Asked) -> Selector[Any]:
    return TimeSelector()


def _entry_selector(forecasts: Iterable[tuple[str, str]]) -> Selector[Any]:
    options = [SelectOptionDict(value=entry_id, label=title) for entry_id, title in forecasts]
    return SelectSelector(SelectSelectorConfig(options=options, multiple=True, mode=SelectSelectorMode.DROPDOWN))


_NAME_LENGTH: Final = probatio.Length(min=1, max=64)
_SELECTORS: Final[Mapping[Kind, Callable[[Asked], Selector[Any]]]] = {
    Kind.ENTITY: _entity_selector,
    Kind.KILO: _number_selector,
    Kind.PLAIN: _number_selector,
    Kind.MINUTE: _time_selector,
}
