"""Events as everybody may read them: an allow-list of fields per event, bytes and device ids as ``0x`` hex.

The stream needs no session. What a home measured, what it signed (signatures, salts, its own order names)
and its meter's key and limits stay with the home, its receipts and the operator.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from ..market.events import (
    BalancingAnswered,
    BalancingForgotten,
    BalancingRequested,
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
    RequestReduced,
    SettlementConfirmed,
    Traded,
    TradingHalted,
    TradingResumed,
    WithdrawalAccepted,
    WithdrawalEnded,
)
from ..protocol.messages import device_text

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PUBLIC: dict[type[Event], tuple[str, ...]] = {
    MemberAdmitted: ("account", "name"),
    MeterRegistered: ("device_id", "account"),
    MeterSuspended: ("device_id",),
    Traded: ("trade_id", "delivery_start", "buy", "sell", "energy_wh", "price_micro_per_kwh", "stage"),
    OrderClosed: ("digest", "remaining_wh", "reason"),
    GateClosed: ("delivery_start", "price_micro_per_kwh", "price_range", "volume_wh", "rule"),
    FundsCredited: ("account", "money_micro"),
    MoneyRequested: ("account", "money_micro", "available_at"),
    RequestReduced: ("account", "money_micro"),
    WithdrawalEnded: ("account", "number", "reason"),
    IntervalCancelled: ("account", "delivery_start"),
    IntervalCorrected: ("delivery_start", "revision"),
    BalancingRequested: ("node_id", "request_id", "overload_w", "stability", "load_w"),
    BalancingAnswered: ("node_id", "request_id", "relieved_w", "reason"),
    BalancingForgotten: ("node_id", "request_id", "reason"),
    SettlementConfirmed: ("delivery_start", "transaction", "block_number", "gas_used"),
    TradingHalted: ("reason",),
    TradingResumed: ("reason",),
}
"""An event that is not here, and is not written out below, shows its name only."""
_ORDER = ("account", "delivery_start", "side", "energy_wh", "limit_price_micro_per_kwh")
_SETTLED_TRADE = ("trade_id", "energy_wh", "price_micro_per_kwh", "settled_wh", "value_micro")


def event_name(event: Event) -> str:
    """Return ``order_placed`` for ``OrderPlaced``."""
    return _WORD.sub("_", type(event).__name__).lower()


def event_data(event: Event) -> dict[str, Any]:
    """Return the event's public fields as JSON values."""
    match event:
        case OrderPlaced():
            return {"digest": _plain("digest", event.digest), "order": _chosen(event.order, _ORDER)}
        case WithdrawalAccepted():
            return {"number": event.number, **_chosen(event.withdrawal, ("account", "money_micro"))}
        case IntervalSettled() | IntervalResettled():
            return {
                "delivery_start": event.delivery_start,
                "revision": event.revision,
                "excluded": list(event.excluded),
                "settled_wh": sum(trade.settled_wh for trade in event.trades),
                "value_micro": sum(trade.value_micro for trade in event.trades),
                "homes": len(event.energies),
                "trades": [_chosen(trade, _SETTLED_TRADE) for trade in event.trades],
            }
    return _chosen(event, _PUBLIC.get(type(event), ()))


def _chosen(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _plain(name, getattr(value, name)) for name in names}


def _plain(name: str, value: object) -> Any:
    match value:
        case None | StrEnum():
            return None if value is None else value.value
        case int():
            return device_text(value) if name == "device_id" else value
        case bytes():
            return "0x" + value.hex()
        case tuple():
            return list(value)
    return str(value)
