"""The forms of the flows: their fields, and what can be wrong with what was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import probatio
from homeassistant.components.sensor import DOMAIN as SENSOR_DOMAIN
from homeassistant.components.sensor import SensorDeviceClass
from homeassistant.const import CONF_NAME, CONF_URL, UnitOfPower
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    EntityWithDeviceFilterSelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from ..const import (
    CONF_EXPORT_LIMIT,
    CONF_EXPORT_METER,
    CONF_IMPORT_LIMIT,
    CONF_IMPORT_METER,
    CONF_INVITE,
)
from ..household.guard import GuardRefusal
from ..household.terms import HomeLimits
from ..meter import entity_of, read_entity, reference_of
from .amounts import scaled
from .energy_settings import FoundDevice, GridMeters
from .joining import NO_FAULT, Fault

EXAMPLE_URL: Final = "http://192.168.1.20:8787"
EXAMPLE_LINK: Final = "energy-trade:join?..."
FIELD_DEVICES: Final = "devices"
FIELD_SHADOW: Final = "shadow"
FIELD_IMPORT_LIMIT: Final = "import_limit_kw"
FIELD_EXPORT_LIMIT: Final = "export_limit_kw"
_IMPORT_LIMIT_KW, _EXPORT_LIMIT_KW = 24, 10
_W_PER_KW = 1_000

_URL = TextSelector(TextSelectorConfig(type=TextSelectorType.URL))
_ADDRESS = TextSelector(TextSelectorConfig(autocomplete="off"))
_INVITE = TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD))
_METER = EntitySelector(
    EntitySelectorConfig(
        filter=EntityWithDeviceFilterSelectorConfig(domain=SENSOR_DOMAIN, device_class=SensorDeviceClass.ENERGY)
    )
)
_POWER = NumberSelector(
    NumberSelectorConfig(
        min=0, max=1_000, step=0.1, unit_of_measurement=UnitOfPower.KILO_WATT, mode=NumberSelectorMode.BOX
    )
)
_NAME = probatio.All(TextSelector(), probatio.Length(min=1, max=64))

USER = probatio.Schema(
    {
        probatio.Required(CONF_URL): _ADDRESS,
        probatio.Optional(CONF_INVITE): _INVITE,
        probatio.Required(CONF_NAME): _NAME,
    }
)
METER = probatio.Schema(
    {
        probatio.Required(CONF_IMPORT_METER): _METER,
        probatio.Optional(CONF_EXPORT_METER): _METER,
        probatio.Required(FIELD_IMPORT_LIMIT): _POWER,
        probatio.Required(FIELD_EXPORT_LIMIT): _POWER,
    }
)
METER_ENTITIES = probatio.Schema(
    {probatio.Required(CONF_IMPORT_METER): _METER, probatio.Optional(CONF_EXPORT_METER): _METER}
)
RECONFIGURE = probatio.Schema(
    {
        probatio.Required(CONF_URL): _URL,
        probatio.Required(CONF_IMPORT_METER): _METER,
        probatio.Optional(CONF_EXPORT_METER): _METER,
        probatio.Required(FIELD_IMPORT_LIMIT): _POWER,
        probatio.Required(FIELD_EXPORT_LIMIT): _POWER,
    }
)
DISCOVERED = probatio.Schema({probatio.Required(CONF_INVITE): _INVITE, probatio.Required(CONF_NAME): _NAME})
REAUTH = probatio.Schema({probatio.Required(CONF_INVITE): _INVITE})
SHADOW_FORM = probatio.Schema({probatio.Required(FIELD_SHADOW): BooleanSelector()})


def devices(found: Sequence[FoundDevice]) -> probatio.Schema:
    """Return the form that offers what the Energy dashboard knows."""
    options = [SelectOptionDict(value=device.key, label=f"{device.title} ({device.text})") for device in found]
    several = SelectSelectorConfig(options=options, multiple=True, mode=SelectSelectorMode.LIST)
    return probatio.Schema({probatio.Optional(FIELD_DEVICES): SelectSelector(several)})


def meter_entities(meters: GridMeters) -> dict[str, Any]:
    """Return the entities that are known, by field."""
    known = {CONF_IMPORT_METER: meters.import_meter, CONF_EXPORT_METER: meters.export_meter}
    return {field: entity for field, entity in known.items() if entity is not None}


def meter_values(meters: GridMeters) -> dict[str, Any]:
    """Return what the meter form proposes."""
    return {
        **meter_entities(meters),
        FIELD_IMPORT_LIMIT: _IMPORT_LIMIT_KW,
        FIELD_EXPORT_LIMIT: _EXPORT_LIMIT_KW,
    }


def check_meters(hass: HomeAssistant, user_input: Mapping[str, Any]) -> Fault:
    """Read the chosen entities as they are now."""
    if user_input[CONF_IMPORT_METER] == user_input.get(CONF_EXPORT_METER):
        return {CONF_EXPORT_METER: "same_meter"}, ""
    for field in (CONF_IMPORT_METER, CONF_EXPORT_METER):
        if field in user_input:
            found = read_entity(hass, user_input[field])
            if isinstance(found, GuardRefusal):
                return {field: "meter_unusable"}, found.message
    return NO_FAULT


def limits(user_input: Mapping[str, Any]) -> HomeLimits:
    """Return the connection's limits in W; without an export meter nothing is given to the grid."""
    export_kw = user_input[FIELD_EXPORT_LIMIT] if CONF_EXPORT_METER in user_input else 0
    return HomeLimits(scaled(user_input[FIELD_IMPORT_LIMIT], _W_PER_KW), scaled(export_kw, _W_PER_KW))


def meter_references(hass: HomeAssistant, user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to remember of the chosen entities."""
    chosen = (user_input[CONF_IMPORT_METER], user_input.get(CONF_EXPORT_METER))
    imported, exported = (None if entity is None else reference_of(hass, entity) for entity in chosen)
    return {CONF_IMPORT_METER: imported, CONF_EXPORT_METER: exported}


def meter_data(hass: HomeAssistant, user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the meter's part of the entry's data."""
    bounds = limits(user_input)
    return {
        **meter_references(hass, user_input),
        CONF_IMPORT_LIMIT: bounds.import_limit_w,
        CONF_EXPORT_LIMIT: bounds.export_limit_w,
    }


def kept_limits(data: Mapping[str, Any]) -> HomeLimits:
    """Return the connection's limits of an entry."""
    return HomeLimits(data[CONF_IMPORT_LIMIT], data[CONF_EXPORT_LIMIT])


def present_meters(hass: HomeAssistant, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's meters and limits as the form shows them; one that is gone is left empty."""
    found = (
        None if (reference := data.get(key)) is None else entity_of(hass, reference)
        for key in (CONF_IMPORT_METER, CONF_EXPORT_METER)
    )
    kept = kept_limits(data)
    export_w = kept.export_limit_w if data.get(CONF_EXPORT_METER) is not None else _EXPORT_LIMIT_KW * _W_PER_KW
    return {
        **meter_entities(GridMeters(*found)),
        FIELD_IMPORT_LIMIT: kept.import_limit_w / _W_PER_KW,
        FIELD_EXPORT_LIMIT: export_w / _W_PER_KW,
    }


def other_meter(data: Mapping[str, Any], updates: Mapping[str, Any]) -> bool:
    """Tell whether other entities are the meter now."""
    return any(data.get(key) != updates[key] for key in (CONF_IMPORT_METER, CONF_EXPORT_METER))
