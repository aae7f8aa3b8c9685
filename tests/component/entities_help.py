"""What the entities' tests share: a settled trade, a grid that speaks, and a platform written down."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er

from coordinator.market.commands import ObserveSignal
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Signal
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig

PRICE_MICRO = 240_000
BOUGHT_WH = 60
_VOLATILE = frozenset({"data_sent_today", "messages_sent_today", "clock_offset", "market", "last_signed_reading"})
_ACCOUNT = re.compile(r"0x[0-9a-f]{40,}")


async def tell(rig: Rig, signal: Signal, value: int, delivery_start: int = 0) -> None:
    """Let the market's operator tell something of its grid."""
    await rig.community.ledger.submit(ObserveSignal(signal, delivery_start, value, int(time.time())))


async def buy(rig: Rig, entry: EnergyTradeConfigEntry) -> int:
    """Let the home buy from its neighbour, for an interval that begins next; return its start."""
    await rig.community.neighbour_joins()
    await rig.boundary("35600.000", "812.000")
    at = await rig.boundary("35600.100", "812.000")
    await rig.delivered(entry)
    await rig.community.neighbour_orders(Side.SELL, BOUGHT_WH, 200_000, at + INTERVAL_S)
    await rig.until(lambda: rig.state(entry, "next_position").state == str(BOUGHT_WH))
    return at + INTERVAL_S


async def settle(rig: Rig, entry: EnergyTradeConfigEntry, start: int) -> None:
    """Meter both ends of the interval that begins at ``start``; wait until its trade is settled."""
    await rig.boundary("35600.200", "812.000")
    await rig.community.neighbour_reads(start, 0, 0)
    await rig.boundary("35600.300", "812.000")
    await rig.community.neighbour_reads(start + INTERVAL_S, 0, BOUGHT_WH)
    await rig.until(lambda: float(rig.state(entry, "energy_bought").state) == BOUGHT_WH / 1000)


def written_down(hass: HomeAssistant, entry: EnergyTradeConfigEntry, platform: str) -> dict[str, Any]:
    """Describe a platform's entities: what is registered and what they show, without what differs from run to run."""
    registered = er.async_entries_for_config_entry(er.async_get(hass), entry.entry_id)
    return {
        item.entity_id: _entity(hass, item)
        for item in sorted(registered, key=lambda item: item.entity_id)
        if item.domain == platform
    }


def _entity(hass: HomeAssistant, item: er.RegistryEntry) -> dict[str, Any]:
    state = hass.states.get(item.entity_id)
    assert state is not None, f"{item.entity_id} has no state: enable all entities"
    volatile = item.entity_id.removeprefix(f"{item.domain}.elm_street_") in _VOLATILE
    return {
        "key": _ACCOUNT.sub("<account>", item.unique_id),
        "translation_key": item.translation_key,
        "name": item.original_name,
        "category": None if item.entity_category is None else item.entity_category.value,
        "capabilities": dict(item.capabilities or {}),
        "state": "<varies>" if volatile else state.state,
        "attributes": {} if volatile else _plain(state.attributes),
    }


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _ACCOUNT.sub("<hash>", value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if name not in {"last_reset", "delivery_start"}
    }
