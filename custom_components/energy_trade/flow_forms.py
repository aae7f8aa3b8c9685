"""The forms of the flows: their fields, and what can be wrong with what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import probatio
from homeassistant.components.sensor import DOMAIN as SENSOR_DOMAIN
from homeassistant.components.sensor import SensorDeviceClass
from homeassistant.const import CONF_NAME, CONF_URL, UnitOfPower
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import (
    EntitySelector,
    EntitySelectorConfig,
    EntityWithDeviceFilterSelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)
from yarl import URL

from .const import (
    CONF_BUY_PRICE,
    CONF_EXPORT_LIMIT,
    CONF_EXPORT_METER,
    CONF_IMPORT_LIMIT,
    CONF_IMPORT_METER,
    CONF_INVITE,
    CONF_SELL_PRICE,
)
from .energy_settings import GridMeters
from .household.guard import GuardRefusal
from .household.policy import SurplusPolicy
from .household.terms import HomeLimits
from .meter import read_entity, reference_of
from .protocol.client import CoordinatorRefused, MarketInfo
from .protocol.units import MICRO

type Fault = tuple[dict[str, str], str]
"""Errors by field, as the form wants them, and a reason to show in the form's text."""

EXAMPLE_URL: Final = "http://192.168.1.20:8787"
FIELD_SELL: Final = "sell_price"
FIELD_BUY: Final = "buy_price"
FIELD_IMPORT_LIMIT: Final = "import_limit_kw"
FIELD_EXPORT_LIMIT: Final = "export_limit_kw"
_IMPORT_LIMIT_KW, _EXPORT_LIMIT_KW = 24, 10
_W_PER_KW = 1_000

_URL = TextSelector(TextSelectorConfig(type=TextSelectorType.URL))
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

USER = probatio.Schema(
    {
        probatio.Required(CONF_URL): _URL,
        probatio.Required(CONF_INVITE): TextSelector(TextSelectorConfig(type=TextSelectorType.PASSWORD)),
        probatio.Required(CONF_NAME): probatio.All(TextSelector(), probatio.Length(min=1, max=64)),
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
RECONFIGURE = probatio.Schema(
    {
        probatio.Required(CONF_URL): _URL,
        probatio.Required(CONF_IMPORT_METER): _METER,
        probatio.Optional(CONF_EXPORT_METER): _METER,
    }
)


def prices(info: MarketInfo) -> probatio.Schema:
    """Return the form of the two limit prices, in the market's currency."""
    price = NumberSelector(
        NumberSelectorConfig(
            min=info.price_min_micro_per_kwh / MICRO,
            max=info.price_max_micro_per_kwh / MICRO,
            step="any",
            unit_of_measurement=f"{info.currency}/kWh",
            mode=NumberSelectorMode.BOX,
        )
    )
    return probatio.Schema({probatio.Required(FIELD_SELL): price, probatio.Required(FIELD_BUY): price})


def normal_url(text: str) -> str:
    """Return the address without path and slash, empty when it is none."""
    try:
        url = URL(text.strip())
    except ValueError:
        return ""
    return str(url.origin()) if url.scheme in {"http", "https"} and url.host else ""


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
    return {}, ""


def limits(user_input: Mapping[str, Any]) -> HomeLimits:
    """Return the connection's limits in W; without an export meter nothing is given to the grid."""
    export_kw = user_input[FIELD_EXPORT_LIMIT] if CONF_EXPORT_METER in user_input else 0
    return HomeLimits(_scaled(user_input[FIELD_IMPORT_LIMIT], _W_PER_KW), _scaled(export_kw, _W_PER_KW))


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


def check_prices(user_input: Mapping[str, Any], info: MarketInfo) -> dict[str, str]:
    """Say where a price would be worse than the supplier's tariff."""
    options = price_options(user_input)
    errors = {}
    if options[CONF_SELL_PRICE] < info.feed_in_micro_per_kwh:
        errors[FIELD_SELL] = "below_feed_in"
    if options[CONF_BUY_PRICE] > info.supplier_micro_per_kwh:
        errors[FIELD_BUY] = "above_supplier"
    return errors


def price_options(user_input: Mapping[str, Any]) -> dict[str, int]:
    """Return the prices in 1e-6 of the currency per kWh."""
    return {
        CONF_SELL_PRICE: _scaled(user_input[FIELD_SELL], MICRO),
        CONF_BUY_PRICE: _scaled(user_input[FIELD_BUY], MICRO),
    }


def price_values(policy: SurplusPolicy) -> dict[str, float]:
    """Return a policy's prices as the form shows them."""
    return {
        FIELD_SELL: round(policy.sell_price_micro_per_kwh / MICRO, 4),
        FIELD_BUY: round(policy.buy_price_micro_per_kwh / MICRO, 4),
    }


def saved_prices(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the entry's prices as the form shows them."""
    return price_values(SurplusPolicy(options[CONF_SELL_PRICE], options[CONF_BUY_PRICE]))


def join_fault(refusal: CoordinatorRefused) -> Fault:
    """Put a refused joining to the field that can mend it."""
    match refusal.code:
        case "invite_wrong":
            return {CONF_INVITE: "invite_wrong"}, ""
        case "market_full":
            return {"base": "market_full"}, ""
        case "stale_request":
            return {"base": "clock"}, ""
    return {"base": "refused"}, f"{refusal.code}: {refusal}"


def _scaled(value: float, factor: int) -> int:
    """Turn what a person typed into integer units, exactly as it reads."""
    return int((Decimal(str(value)) * factor).to_integral_value())
