"""The forms of the options, and the way to what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import probatio
from homeassistant.components.calendar import DOMAIN as CALENDAR_DOMAIN
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import (
    BooleanSelector,
    EntitySelector,
    EntitySelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    QrCodeSelector,
    QrCodeSelectorConfig,
    QrErrorCorrectionLevel,
    TextSelector,
    TextSelectorConfig,
    TextSelectorType,
)

from ..const import (
    AHEAD_INTERVALS,
    BATTERY_RESERVE_PERCENT,
    CONF_AHEAD,
    CONF_BATTERY_RESERVE,
    CONF_CEILING,
    CONF_CONFIDENCE,
    CONF_FEED_IN_PRICE,
    CONF_FLOOR,
    CONF_GRID_EVENTS,
    CONF_GUARD,
    CONF_HOLIDAYS,
    CONF_RPC_URL,
    CONF_SUPPLIER_PRICE,
    CONFIDENCE_PERCENT,
)
from ..meter import reference_of
from ..protocol.client import MarketInfo
from ..protocol.units import MICRO
from ..sources.price_sources import PriceProblem, async_preview_prices
from .amounts import scaled
from .energy_settings import GridPrices
from .joining import NO_FAULT, Fault
from .policy_forms import (
    percent_selector,
    price_reference,
    price_selector,
    price_source_selector,
    shown_reference,
)

FIELD_FLOOR: Final = "floor"
FIELD_CEILING: Final = "ceiling"
FIELD_QR: Final = "qr_code"
CONFIDENCE_LEAST, CONFIDENCE_MOST = 50, 99
AHEAD_MOST = 96

_PRICES: Final = {FIELD_FLOOR: CONF_FLOOR, FIELD_CEILING: CONF_CEILING}
_PLAIN: Final = {
    CONF_GUARD: True,
    CONF_CONFIDENCE: CONFIDENCE_PERCENT,
    CONF_AHEAD: AHEAD_INTERVALS,
    CONF_BATTERY_RESERVE: BATTERY_RESERVE_PERCENT,
}
_TARIFF: Final = (CONF_SUPPLIER_PRICE, CONF_FEED_IN_PRICE)
_CALENDARS: Final = (CONF_HOLIDAYS, CONF_GRID_EVENTS)
_CALENDAR = EntitySelector(EntitySelectorConfig(domain=CALENDAR_DOMAIN))

CONFIRM = probatio.Schema({})
VERIFICATION = probatio.Schema(
    {probatio.Optional(CONF_RPC_URL): TextSelector(TextSelectorConfig(type=TextSelectorType.URL))}
)


def bounds(info: MarketInfo) -> probatio.Schema:
    """Return the form of what no policy may do."""
    most = max(1, min(AHEAD_MOST, info.horizon_s // info.interval_s))
    ahead = NumberSelector(NumberSelectorConfig(min=1, max=most, step=1, mode=NumberSelectorMode.BOX))
    return probatio.Schema(
        {
            probatio.Optional(FIELD_FLOOR): price_selector(info),
            probatio.Optional(FIELD_CEILING): price_selector(info),
            probatio.Required(CONF_GUARD): BooleanSelector(),
            probatio.Required(CONF_CONFIDENCE): percent_selector(CONFIDENCE_LEAST, CONFIDENCE_MOST),
            probatio.Required(CONF_AHEAD): ahead,
            probatio.Required(CONF_BATTERY_RESERVE): percent_selector(0, 100),
        }
    )


def shown_bounds(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds as the form shows them."""
    prices = {name: options[key] / MICRO for name, key in _PRICES.items() if options.get(key) is not None}
    return prices | {key: options.get(key, default) for key, default in _PLAIN.items()}


def read_bounds(user_input: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the form set; a price that was left out bounds nothing."""
    prices = {
        key: None if user_input.get(name) is None else scaled(user_input[name], MICRO) for name, key in _PRICES.items()
    }
    numbers = {key: int(user_input[key]) for key in (CONF_CONFIDENCE, CONF_AHEAD, CONF_BATTERY_RESERVE)}
    return {**prices, CONF_GUARD: user_input[CONF_GUARD], **numbers}


def sources(hass: HomeAssistant) -> probatio.Schema:
    """Return the form of the owner's own tariff and calendars."""
    return probatio.Schema(
        {
            **{probatio.Optional(key): price_source_selector(hass) for key in _TARIFF},
            **{probatio.Optional(key): _CALENDAR for key in _CALENDARS},
        }
    )


def shown_sources(hass: HomeAssistant, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sources as the form shows them."""
    return {key: shown_reference(hass, options[key]) for key in (*_TARIFF, *_CALENDARS) if options.get(key) is not None}


def known_sources(prices: GridPrices) -> dict[str, Any]:
    """Return the price entities that the Energy dashboard knows, by field."""
    known = {CONF_SUPPLIER_PRICE: prices.supplier, CONF_FEED_IN_PRICE: prices.feed_in}
    return {key: entity for key, entity in known.items() if entity is not None}


async def async_read_sources(
    hass: HomeAssistant, user_input: Mapping[str, Any], info: MarketInfo
) -> tuple[dict[str, Any], Fault]:
    """Return the options that the form set, and what is wrong: each price source is tried."""
    read: dict[str, Any] = dict.fromkeys((*_TARIFF, *_CALENDARS))
    for key in _CALENDARS:
        if user_input.get(key):
            read[key] = reference_of(hass, user_input[key])
    for key in _TARIFF:
        if user_input.get(key):
            read[key] = price_reference(hass, user_input[key])
            found = await async_preview_prices(hass, read[key], info)
            if isinstance(found, PriceProblem):
                return read, ({key: "price_source_unusable"}, found.message)
    return read, NO_FAULT


def account(address: str) -> probatio.Schema:
    """Return the form that shows the account's address as a QR code.

    Plain text on purpose: a payment link (ERC-681) would have a wallet send money to the address itself, where the
    market never sees it; it is paid in by the contract.
    """
    code = QrCodeSelectorConfig(data=address, scale=5, error_correction_level=QrErrorCorrectionLevel.QUARTILE)
    return probatio.Schema({probatio.Optional(FIELD_QR): QrCodeSelector(code)})
