"""Diagnostics without secrets: nothing in the dump says whose home it is or can sign for it.

Three sieves: fields that are known to tell something are hidden by their name; what could name a key, an account, an
order or an entity is hidden wherever it stands; and so are the words that the owner chose (names, addresses).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from homeassistant.components.diagnostics import REDACTED, async_redact_data
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant

from .const import (
    CONF_CONNECTED_ENTITY,
    CONF_CONTROL_ENTITY,
    CONF_ENERGY_ENTITY,
    CONF_EXPORT_METER,
    CONF_FEED_IN_PRICE,
    CONF_FORECAST_ENTRIES,
    CONF_GRID_EVENTS,
    CONF_HOLIDAYS,
    CONF_IMPORT_METER,
    CONF_LIMIT_ENTITY,
    CONF_MARKET,
    CONF_RPC_URL,
    CONF_SOC_ENTITY,
    CONF_SUPPLIER_PRICE,
    CONF_SWITCH_ENTITY,
)
from .coordinator import EnergyTradeConfigEntry, EnergyTradeData
from .household.outlook import Outlook
from .household.policies import POLICIES
from .household.settings import FieldKind
from .store import market_wire

_REFERENCES = {
    CONF_CONNECTED_ENTITY,
    CONF_CONTROL_ENTITY,
    CONF_ENERGY_ENTITY,
    CONF_EXPORT_METER,
    CONF_FEED_IN_PRICE,
    CONF_FORECAST_ENTRIES,
    CONF_GRID_EVENTS,
    CONF_HOLIDAYS,
    CONF_IMPORT_METER,
    CONF_LIMIT_ENTITY,
    CONF_SOC_ENTITY,
    CONF_SUPPLIER_PRICE,
    CONF_SWITCH_ENTITY,
    *(item.key for policy in POLICIES.values() for item in policy.FIELDS if item.kind is FieldKind.ENTITY),
}
_HIDDEN = _REFERENCES | {
    CONF_RPC_URL,
    "account",
    "client_id",
    "device_id",
    "digest",
    "name",
    "order",
    "previous",
    "public_key",
    "salt",
    "signature",
    "taken",
    "title",
    "unique_id",
    "url",
}
_LONG_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{32,}")
_ENTITY = re.compile(
    r"\b(binary_sensor|calendar|climate|event|input_boolean|input_number|number|select|sensor|switch)\.[a-z0-9_]{2,}"
)
_WORD_CHARACTERS_MIN = 3


async def async_get_config_entry_diagnostics(_hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> dict[str, Any]:
    """Return what helps to find a fault; of an entry that does not start, what it is made of and why."""
    dump = {"entry": _entry(entry), "state": entry.state.value, "reason": entry.reason}
    if entry.state is ConfigEntryState.LOADED:
        data = entry.runtime_data
        dump |= {**_market(data), **_home(data), **_parts(data)}
    words = sorted(_words(entry), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    scrubbed: dict[str, Any] = _scrubbed(async_redact_data(dump, _HIDDEN), pattern)
    return scrubbed


def _entry(entry: EnergyTradeConfigEntry) -> dict[str, Any]:
    return {
        "version": f"{entry.version}.{entry.minor_version}",
        "data": dict(entry.data),
        "options": dict(entry.options),
        "subentries": [
            {"type": subentry.subentry_type, "data": dict(subentry.data)} for subentry in entry.subentries.values()
        ],
    }


def _market(data: EnergyTradeData) -> dict[str, Any]:
    coordinator, latest = data.coordinator, data.coordinator.latest
    return {
        "market": market_wire(coordinator.info),
        "connection": coordinator.connection.value,
        "last_update_success": coordinator.last_update_success,
        "prices": {} if latest is None else {str(start): price for start, price in latest.prices.items()},
        "orders": [
            {
                "delivery_start": order.delivery_start,
                "side": order.side.value,
                "energy_wh": order.energy_wh,
                "filled_wh": order.filled_wh,
                "status": order.status,
                "reason": order.reason,
            }
            for order in (() if latest is None else latest.orders)
        ],
        "sent": {"messages": coordinator.client.sent_messages, "bytes": coordinator.client.sent_bytes},
    }


def _home(data: EnergyTradeData) -> dict[str, Any]:
    home, agent = data.home, data.home.agent
    return {
        "clock_offset_s": home.clock_offset_s,
        "last_boundary": home.last_boundary,
        "held": home.held,
        "meter_refusal": None if home.refusal is None else home.refusal.code,
        "readings_blocked": None if home.blocked is None else home.blocked.code,
        "last_receipt": None if home.receipt is None else home.receipt.to_wire(),
        "last_rejection": None if home.rejected is None else home.rejected[1].code,
        "decisions": [
            {
                "delivery_start": item.delivery_start,
                "shadow": item.shadow,
                "reason": item.decision.reason.to_dict(),
            }
            for item in agent.decisions
        ],
        "agent": _without_keys_of_messages(agent.to_dict()),
    }


def _parts(data: EnergyTradeData) -> dict[str, Any]:
    state, grid = data.verifier.state, data.home.grid
    return {
        "grid": {"state": grid.state.name.lower(), "since": grid.since, "frequency_mhz": grid.frequency_mhz},
        "outlook": {**_outlook(data.home.outlook), "problems": dict(data.outlook.problems)},
        "verification": {
            "verified": state.verified,
            "waiting": state.waiting,
            "problem": state.problem,
            "last": None if state.last is None else asdict(state.last),
            "disputed": [asdict(verdict) for verdict in state.disputed],
        },
        "flexibility": [
            {
                "what": str(action.what),
                "since": action.since,
                "until": action.until,
                "reason": action.reason.to_dict(),
            }
            for action in data.flexibility.actions
        ],
    }


def _outlook(outlook: Outlook) -> dict[str, Any]:
    """Say how much is known of the time ahead; what is expected stands in the decisions."""
    return {
        "forecasts": len(outlook.forecasts),
        "prices": len(outlook.prices),
        "price_problem": outlook.price_problem,
        "supplier": len(outlook.supplier),
        "feed_in": len(outlook.feed_in),
        "events": [[event.kind.value, event.source, event.start, event.end] for event in outlook.events],
        "battery": None if outlook.battery is None else asdict(outlook.battery),
        "holidays": len(outlook.holidays),
        "away": outlook.away,
        "held": sorted(outlook.held),
    }


def _without_keys_of_messages(state: dict[str, Any]) -> dict[str, Any]:
    """An order's key in the outbox is its digest, by which it could be found in public lists."""
    outbox = [{**item, "key": str(item["key"]).partition(":")[0]} for item in state["outbox"]]
    return {**state, "outbox": outbox}


def _words(entry: EnergyTradeConfigEntry) -> Iterator[str]:
    """Yield what the owner chose or what is only this home's: names, addresses, entities."""
    names = [entry.title, entry.data[CONF_MARKET], *(subentry.title for subentry in entry.subentries.values())]
    for url in (entry.data[CONF_URL], entry.options.get(CONF_RPC_URL)):
        if url:
            names += [str(url).rstrip("/"), urlsplit(str(url)).netloc, urlsplit(str(url)).hostname or ""]
    if entry.state is ConfigEntryState.LOADED:
        names.append(entry.runtime_data.coordinator.info.name)
    settings = [entry.data, entry.options, *entry.options.get("policies", {}).values()]
    settings += [subentry.data for subentry in entry.subentries.values()]
    names += [str(found[key]) for found in settings for key in _REFERENCES if found.get(key)]
    yield str(entry.unique_id)
    yield from {name for name in names if len(name) >= _WORD_CHARACTERS_MIN}


def _scrubbed(value: Any, words: re.Pattern[str]) -> Any:
    """Hide keys, accounts, orders, entities and the owner's words wherever they stand."""
    match value:
        case dict():
            return {_LONG_HEX.sub(REDACTED, str(key)): _scrubbed(item, words) for key, item in value.items()}
        case list() | tuple():
            return [_scrubbed(item, words) for item in value]
        case str():
            text = words.sub(REDACTED, value)
            return _ENTITY.sub(rf"\1.{REDACTED}", _LONG_HEX.sub(REDACTED, text))
    return value
