"""Diagnostics without secrets: nothing in the dump says whose home it is or can sign for it."""

from __future__ import annotations

from typing import Any

from homeassistant.components.diagnostics import async_redact_data
from homeassistant.core import HomeAssistant

from .coordinator import EnergyTradeConfigEntry
from .store import market_wire

_HIDDEN = {
    "account",
    "client_id",
    "device_id",
    "digest",
    "export_meter",
    "import_meter",
    "name",
    "order",
    "previous",
    "salt",
    "signature",
    "taken",
    "title",
    "unique_id",
    "url",
}


async def async_get_config_entry_diagnostics(_hass: HomeAssistant, entry: EnergyTradeConfigEntry) -> dict[str, Any]:
    """Return what helps to find a fault."""
    coordinator, home = entry.runtime_data.coordinator, entry.runtime_data.home
    agent = home.agent
    dump = {
        "entry": {"data": dict(entry.data), "options": dict(entry.options)},
        "market": market_wire(agent.info),
        "connection": coordinator.connection.value,
        "clock_offset_s": home.clock_offset_s,
        "last_boundary": home.last_boundary,
        "meter_refusal": None if home.refusal is None else home.refusal.code,
        "readings_blocked": None if home.blocked is None else home.blocked.code,
        "last_receipt": None if home.receipt is None else home.receipt.to_wire(),
        "last_rejection": None if home.rejected is None else home.rejected[1].code,
        "decisions": [
            {"delivery_start": item.delivery_start, "reason": item.decision.reason.to_dict()}
            for item in agent.decisions
        ],
        "agent": _without_keys_of_messages(agent.to_dict()),
        "orders": [
            {"delivery_start": order.delivery_start, "side": order.side, "filled_wh": order.filled_wh}
            for order in (() if coordinator.latest is None else coordinator.latest.orders)
        ],
    }
    redacted: dict[str, Any] = async_redact_data(dump, _HIDDEN)
    return redacted


def _without_keys_of_messages(state: dict[str, Any]) -> dict[str, Any]:
    """An order's key in the outbox is its digest, by which it could be found in public lists."""
    outbox = [{**item, "key": str(item["key"]).partition(":")[0]} for item in state["outbox"]]
    return {**state, "outbox": outbox}
