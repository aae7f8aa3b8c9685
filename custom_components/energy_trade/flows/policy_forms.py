"""The forms of the policies, made of what each declares (``Policy.FIELDS``), and the way to what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import probatio
from homeassistant.components.sensor import DOMAIN as SENSOR_DOMAIN
from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.selector import (
    EntitySelector,
    EntitySelectorConfig,
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    ObjectSelector,
    ObjectSelectorConfig,
    ObjectSelectorField,
    SelectOptionDict,
    Selector,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
    TimeSelector,
)
from homeassistant.helpers.translation import async_get_cached_translations, async_get_translations

from ..const import CONF_POLICY, DOMAIN
from ..household.policies import POLICIES, make
from ..household.settings import Field, FieldKind, Settings, SettingsInvalid
from ..meter import entity_of, reference_of
from ..protocol.client import MarketInfo
from ..protocol.units import MICRO
from ..sources.price_sources import PriceProblem, async_preview_prices, async_price_choices
from .amounts import minute_of, scaled, time_of
from .joining import NO_FAULT, Fault

_DAY_MINUTES: Final = 1_440
_BAND_PRICES: Final = ("sell", "buy")
HOLIDAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "only": {"holidays": True, "days": []},
    "also": {"holidays": True},
    "never": {"holidays": False},
    "as_weekday": {},
}
"""How a form says when a band counts on holidays, and what is stored of it; what fits first is shown."""
_PRICE_UNITS: Final = ("/kWh", "/MWh", "/Wh")
_WORDS: Final = "selector"

KIND = probatio.Schema(
    {
        probatio.Required(CONF_POLICY): SelectSelector(
            SelectSelectorConfig(options=list(POLICIES), translation_key="policy", mode=SelectSelectorMode.LIST)
        )
    }
)


async def async_schema(hass: HomeAssistant, kind: str, info: MarketInfo) -> probatio.Schema:
    """Return the form of a policy's settings, once its words are there."""
    await async_get_translations(hass, hass.config.language, _WORDS, {DOMAIN})
    return schema(hass, kind, info)


def schema(hass: HomeAssistant, kind: str, info: MarketInfo) -> probatio.Schema:
    """Return the form of a policy's settings."""
    fields = {}
    for field in POLICIES[kind].FIELDS:
        marker = probatio.Required if field.required else probatio.Optional
        fields[marker(field.key)] = _SELECTORS[field.kind](hass, field, info)
    return probatio.Schema(fields)


def shown(hass: HomeAssistant, kind: str, settings: Settings) -> dict[str, Any]:
    """Return stored settings as the form shows them."""
    fields = {field.key: field for field in POLICIES[kind].FIELDS}
    return {
        key: _show(hass, fields[key], value) for key, value in settings.items() if key in fields and value is not None
    }


async def async_read(
    hass: HomeAssistant, kind: str, user_input: Mapping[str, Any], info: MarketInfo
) -> tuple[Settings, Fault]:
    """Return what to store of a form, and what is wrong with it: each price source is tried."""
    fields = [field for field in POLICIES[kind].FIELDS if field.key in user_input]
    settings = {field.key: _read(hass, field, user_input[field.key]) for field in fields}
    try:
        make(kind, settings, info)
    except SettingsInvalid as error:
        return settings, ({error.field: error.code}, str(error))
    for field in fields:
        if is_price_source(field):
            problem = await async_preview_prices(hass, settings[field.key], info)
            if isinstance(problem, PriceProblem):
                return settings, ({field.key: "price_source_unusable"}, problem.message)
    return settings, NO_FAULT


def is_price_source(field: Field) -> bool:
    """Tell whether a field names where prices come from."""
    return field.kind is FieldKind.ENTITY and SENSOR_DOMAIN in field.choices


def price_selector(info: MarketInfo) -> NumberSelector:
    """Return how a price, or what is added to one, is asked for: in the market's currency per kWh."""
    most = max(abs(info.price_min_micro_per_kwh), abs(info.price_max_micro_per_kwh)) / MICRO
    return NumberSelector(
        NumberSelectorConfig(
            min=-most,
            max=most,
            step="any",
            unit_of_measurement=f"{info.currency}/kWh",
            mode=NumberSelectorMode.BOX,
        )
    )


def percent_selector(least: int, most: int) -> NumberSelector:
    """Return how a share is asked for."""
    return NumberSelector(
        NumberSelectorConfig(min=least, max=most, step=1, unit_of_measurement="%", mode=NumberSelectorMode.BOX)
    )


def price_source_selector(hass: HomeAssistant) -> SelectSelector:
    """Offer what other integrations answer and each of their sensors with a price's unit; another can be typed.

    Own sensors are not offered: a home that follows its own price would run after itself.
    """
    offered = [SelectOptionDict(value=each.reference, label=each.name) for each in async_price_choices(hass)]
    sensors = [
        SelectOptionDict(value=state.entity_id, label=f"{state.name} ({state.entity_id})")
        for state in hass.states.async_all(SENSOR_DOMAIN)
        if str(state.attributes.get(ATTR_UNIT_OF_MEASUREMENT, "")).endswith(_PRICE_UNITS)
        and not _is_own(hass, state.entity_id)
    ]
    return SelectSelector(
        SelectSelectorConfig(options=offered + sensors, custom_value=True, mode=SelectSelectorMode.DROPDOWN)
    )


def _is_own(hass: HomeAssistant, entity_id: str) -> bool:
    entry = er.async_get(hass).async_get(entity_id)
    return entry is not None and entry.platform == DOMAIN


def price_reference(hass: HomeAssistant, chosen: str) -> str:
    """Return what to remember of a chosen price source: an entity is followed through renames."""
    chosen = chosen.strip()
    return reference_of(hass, chosen) if hass.states.get(chosen) is not None else chosen


def shown_reference(hass: HomeAssistant, reference: str) -> str:
    """Return how a form shows a remembered entity or source; one that is gone is shown as it was kept."""
    return entity_of(hass, reference) or reference


def _price(_hass: HomeAssistant, _field: Field, info: MarketInfo) -> Selector[Any]:
    return price_selector(info)


def _percent(_hass: HomeAssistant, field: Field, _info: MarketInfo) -> Selector[Any]:
    return percent_selector(field.least, field.most)


def _entity(hass: HomeAssistant, field: Field, _info: MarketInfo) -> Selector[Any]:
    if is_price_source(field):
        return price_source_selector(hass)
    return EntitySelector(EntitySelectorConfig(domain=list(field.choices)))


def _choice(_hass: HomeAssistant, field: Field, _info: MarketInfo) -> Selector[Any]:
    return _one_of(field.choices, field.key)


def _bands(hass: HomeAssistant, _field: Field, info: MarketInfo) -> Selector[Any]:
    time = ObjectSelectorField(selector=TimeSelector(), required=True)
    return ObjectSelector(
        ObjectSelectorConfig(
            fields={
                "from": time,
                "to": time,
                "sell": ObjectSelectorField(selector=price_selector(info)),
                "buy": ObjectSelectorField(selector=price_selector(info)),
                "days": ObjectSelectorField(selector=_named(hass, range(7), "weekday", multiple=True)),
                "months": ObjectSelectorField(selector=_named(hass, range(1, 13), "month", multiple=True)),
                "holidays": ObjectSelectorField(selector=_named(hass, HOLIDAYS, "band_holidays")),
            },
            multiple=True,
            label_field="from",
            description_field="to",
            translation_key="bands",
        )
    )


def _one_of(options: Iterable[str], words: str) -> SelectSelector:
    return SelectSelector(SelectSelectorConfig(options=list(options), translation_key=words))


def _named(hass: HomeAssistant, options: Iterable[object], words: str, *, multiple: bool = False) -> SelectSelector:
    """Return a choice that brings its words along: inside an object the frontend shows the bare values else."""
    known = async_get_cached_translations(hass, hass.config.language, _WORDS, DOMAIN)
    path = f"component.{DOMAIN}.{_WORDS}.{words}.options."
    labelled = [SelectOptionDict(value=str(each), label=known.get(f"{path}{each}", str(each))) for each in options]
    return SelectSelector(SelectSelectorConfig(options=labelled, multiple=multiple))


_SELECTORS: Final[Mapping[FieldKind, Callable[[HomeAssistant, Field, MarketInfo], Selector[Any]]]] = {
    FieldKind.PRICE: _price,
    FieldKind.PERCENT: _percent,
    FieldKind.BANDS: _bands,
    FieldKind.ENTITY: _entity,
    FieldKind.CHOICE: _choice,
}


def _read(hass: HomeAssistant, field: Field, value: Any) -> Any:
    match field.kind:
        case FieldKind.PRICE:
            return scaled(value, MICRO)
        case FieldKind.PERCENT:
            return round(value)
        case FieldKind.BANDS:
            return [_read_band(band) for band in value]
        case FieldKind.ENTITY:
            return price_reference(hass, value)
    return value


def _show(hass: HomeAssistant, field: Field, value: Any) -> Any:
    match field.kind:
        case FieldKind.PRICE:
            return value / MICRO
        case FieldKind.BANDS:
            return [_show_band(band) for band in value]
        case FieldKind.ENTITY:
            return shown_reference(hass, value)
    return value


def _read_band(band: Mapping[str, Any]) -> dict[str, Any]:
    """Read one band; midnight as its end is the day's last minute, and no day or month chosen means all."""
    read: dict[str, Any] = {"from": minute_of(band["from"]), "to": minute_of(band["to"]) or _DAY_MINUTES}
    for key in ("days", "months"):
        if band.get(key):
            read[key] = sorted(int(number) for number in band[key])
    read |= HOLIDAYS[band.get("holidays", "as_weekday")]
    return read | {side: scaled(band[side], MICRO) for side in _BAND_PRICES if band.get(side) is not None}


def _show_band(band: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "from": time_of(band["from"]),
        "to": time_of(band["to"]),
        **{side: band[side] / MICRO for side in _BAND_PRICES if band.get(side) is not None},
        **{key: [str(number) for number in band[key]] for key in ("days", "months") if band.get(key)},
        "holidays": next(word for word, kept in HOLIDAYS.items() if kept.items() <= band.items()),
    }
