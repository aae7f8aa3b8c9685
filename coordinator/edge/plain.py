"""Events as everybody may read them: an allow-list of fields per event, bytes and device ids as ``0x`` hex.

The stream needs no session. What a home measured, what it signed (signatures, salts, its own order names)
and its meter's key and limits stay with the home, its receipts and the operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from ..market.events import (
    BalancingAnswered,
    BalancingForgotten,
    BalancingRequested,
    BundlesPlaced,
    CorrectionAgreed,
    CorrectionEnded,
    CorrectionProposed,
    CorrectionSigned,
    Event,
    FundsCredited,
    GateClosed,
    IntervalCancelled,
    IntervalCorrected,
    IntervalResettled,
    IntervalSettled,
    MemberAdmitted,
    MeterRegistered,
    MeterSuspended,
    MoneyRequested,
    OrderClosed,
    OrderPlaced,
    OrderTriggered,
    RequestReduced,
    SessionCleared,
    SettlementConfirmed,
    SignalObserved,
    Traded,
    TradingHalted,
    TradingResumed,
    WithdrawalAccepted,
    WithdrawalEnded,
)
from ..market.proposal import NodePrice
from ..protocol.bundles import Bundle
from ..protocol.messages import ZERO_HASH, Order, device_text

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PUBLIC: dict[type[Event], tuple[str, ...]] = {
    MemberAdmitted: ("account", "name"),
    MeterRegistered: ("device_id", "account"),
    MeterSuspended: ("device_id",),
    SignalObserved: ("signal", "delivery_start", "value"),
    OrderTriggered: ("digest", "value"),
    OrderClosed: ("digest", "remaining_wh", "reason"),
    FundsCredited: ("account", "money_micro"),
    MoneyRequested: ("account", "money_micro", "available_at"),
    RequestReduced: ("account", "money_micro"),
    WithdrawalEnded: ("account", "number", "reason"),
    IntervalCancelled: ("account", "delivery_start"),
    IntervalCorrected: ("delivery_start", "revision"),
    CorrectionSigned: ("delivery_start", "revision", "account"),
    CorrectionAgreed: ("delivery_start", "revision"),
    CorrectionEnded: ("delivery_start", "revision", "reason"),
    BalancingRequested: ("node_id", "request_id", "overload_w", "stability", "load_w"),
    BalancingAnswered: ("node_id", "request_id", "relieved_w", "reason"),
    BalancingForgotten: ("node_id", "request_id", "reason"),
    SettlementConfirmed: ("delivery_start", "transaction", "block_number", "gas_used"),
    TradingHalted: ("reason",),
    TradingResumed: ("reason",),
}
"""An event that is not here, and is not written out below, shows its name only."""
_ORDER = ("account", "delivery_start", "side", "energy_wh", "limit_price_micro_per_kwh")
_TRADE = (
    *("trade_id", "delivery_start", "buy", "sell", "energy_wh", "price_micro_per_kwh"),
    *("grid_fee_micro_per_kwh", "community_fee_micro_per_kwh", "stage"),
)
_BUNDLE = ("account", "side", "price_micro_per_kwh", "min_acceptance", "parent", "group", "spread")
_GATE = ("delivery_start", "price_micro_per_kwh", "price_range", "volume_wh", "rule", "outcome", "flows_wh")
_NODE = ("node", "price_micro_per_kwh", "price_range")
_SESSION = ("session_at", "rule", "outcome", "welfare_micro", "bound_micro")
_SETTLED_TRADE = (
    *("trade_id", "energy_wh", "price_micro_per_kwh", "settled_wh", "value_micro"),
    *("grid_fee_micro", "community_fee_micro", "shortfall_micro", "under_use_micro"),
)


def event_name(event: Event) -> str:
    """Return ``order_placed`` for ``OrderPlaced``."""
    return _WORD.sub("_", type(event).__name__).lower()


def event_data(event: Event) -> dict[str, Any]:
    """Return the event's public fields as JSON values."""
    write = _WRITTEN_OUT.get(type(event))
    return _chosen(event, _PUBLIC.get(type(event), ())) if write is None else write(event)


def _placed(event: OrderPlaced) -> dict[str, Any]:
    """Show an order that is in the book; of one that waits only for what, else others would trade against it."""
    return {
        "digest": _plain("digest", event.digest),
        "order": _chosen(event.order, _ORDER),
        "kind": _kind(event.order),
        "place_of": None if event.place_of == ZERO_HASH else _plain("place_of", event.place_of),
    }


def _kind(order: Order) -> str:
    if order.bundle != ZERO_HASH:
        return "leg"
    if order.condition is not None:
        return "conditional"
    return "plain" if order.preferences is None else "preferring"


def _bundle(bundle: Bundle) -> dict[str, Any]:
    legs = [leg.to_wire() for leg in bundle.legs]
    return {"bundle": _hex(bundle.struct_hash()), **_chosen(bundle, _BUNDLE), "legs": legs}


def _gate(event: GateClosed) -> dict[str, Any]:
    return {**_chosen(event, _GATE), "nodes": _nodes(event.nodes)}


def _correction(event: CorrectionProposed) -> dict[str, Any]:
    accounts = [change.account for change in event.changes]
    return {**_chosen(event, ("delivery_start", "revision")), "accounts": accounts}


def _withdrawal(event: WithdrawalAccepted) -> dict[str, Any]:
    return {"number": event.number, **_chosen(event.withdrawal, ("account", "money_micro"))}


def _settlement(event: IntervalSettled | IntervalResettled) -> dict[str, Any]:
    return {
        "delivery_start": event.delivery_start,
        "revision": event.revision,
        "excluded": list(event.excluded),
        "settled_wh": sum(trade.settled_wh for trade in event.trades),
        "value_micro": sum(trade.value_micro for trade in event.trades),
        "homes": len(event.energies),
        "trades": [_chosen(trade, _SETTLED_TRADE) for trade in event.trades],
    }


def _nodes(nodes: tuple[NodePrice, ...]) -> list[dict[str, Any]]:
    return [_chosen(node, _NODE) for node in nodes]


def _session(event: SessionCleared) -> dict[str, Any]:
    return {
        **_chosen(event, _SESSION),
        "intervals": [
            {**_chosen(cleared, ("delivery_start", "volume_wh", "flows_wh")), "nodes": _nodes(cleared.nodes)}
            for cleared in event.intervals
        ],
        "accepted": [{"bundle": _hex(a.bundle), "share": [a.numerator, a.denominator]} for a in event.accepted],
        "paradoxical": [_hex(bundle) for bundle in event.paradoxical],
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _chosen(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _plain(name, getattr(value, name)) for name in names}


def _plain(name: str, value: object) -> Any:
    match value:
        case None | StrEnum():
            return None if value is None else value.value
        case int():
            return device_text(value) if name == "device_id" else value
        case bytes():
            return _hex(value)
        case tuple():
            return list(value)
    return str(value)


_WRITTEN_OUT: dict[type[Event], Callable[[Any], dict[str, Any]]] = {
    OrderPlaced: _placed,
    BundlesPlaced: lambda event: {"bundles": [_bundle(bundle) for bundle in event.bundles]},
    Traded: lambda event: _chosen(event, _TRADE),
    GateClosed: _gate,
    SessionCleared: _session,
    WithdrawalAccepted: _withdrawal,
    IntervalSettled: _settlement,
    IntervalResettled: _settlement,
    CorrectionProposed: _correction,
}
