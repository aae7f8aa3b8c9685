"""The log's commonest texts, put together by hand: to the byte what ``codec`` writes for them, only sooner."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from ..market.commands import PlaceOrder
from ..market.events import OrderClosed, Traded


def place_order(command: PlaceOrder) -> str | None:
    """Return a command's JSON; ``None`` for an order with a condition or preferences."""
    order = command.order
    if order.condition is not None or order.preferences is not None:
        return None
    limit = order.limit_price_micro_per_kwh
    return (
        f'{{"order":{{"account":{_quoted(order.account)},"market":{_quoted(order.market)},'
        f'"delivery_start":{order.delivery_start},"side":"{order.side._value_}","energy_wh":{order.energy_wh},'
        f'"limit_price_micro_per_kwh":{"null" if limit is None else limit},'
        f'"time_in_force":"{order.time_in_force._value_}","valid_from":{order.valid_from},'
        f'"valid_until":{order.valid_until},"client_id":{_quoted(order.client_id)},"salt":"0x{order.salt.hex()}",'
        f'"condition":null,"bundle":"0x{order.bundle.hex()}","preferences":null}},'
        f'"digest":"0x{command.digest.hex()}","signature":"0x{command.signature.hex()}"}}'
    )


def traded(event: Traded) -> str:
    """Return an event's ``[kind, event]``."""
    return (
        f'["Traded",{{"trade_id":{event.trade_id},"delivery_start":{event.delivery_start},"buy":"0x{event.buy.hex()}",'
        f'"sell":"0x{event.sell.hex()}","energy_wh":{event.energy_wh},'
        f'"price_micro_per_kwh":{event.price_micro_per_kwh},"stage":"{event.stage._value_}",'
        f'"grid_fee_micro_per_kwh":{event.grid_fee_micro_per_kwh},'
        f'"community_fee_micro_per_kwh":{event.community_fee_micro_per_kwh}}}]'
    )


def order_closed(event: OrderClosed) -> str:
    """Return an event's ``[kind, event]``."""
    return (
        f'["OrderClosed",{{"digest":"0x{event.digest.hex()}","remaining_wh":{event.remaining_wh},'
        f'"reason":"{event.reason._value_}"}}]'
    )


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
