"""Call auctions as cases: one interval, one uniform price or another rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from ..auction import AuctionOrder, clear_uniform
from ..rules import ClearingRule, Mechanism, PriceRule, TieRule
from .reading import (
    CaseError,
    as_choice,
    as_integer,
    as_list,
    as_object,
    as_price,
    as_side,
    as_text,
    field,
    only,
    shown,
    within,
)

_MECHANISMS: tuple[Mechanism, ...] = ("uniform",)
_PRICE_RULES: tuple[PriceRule, ...] = ("midpoint", "reference")
_TIE_RULES: tuple[TieRule, ...] = ("pro_rata", "time")


def call_auction(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a call auction's case."""
    only(fields, ("kind", "rule", "orders"), "")
    rule = read_rule(field(fields, "rule", ""))
    orders = [
        _auction_order(as_object(order, f"orders[{index}]"), f"orders[{index}]")
        for index, order in enumerate(as_list(field(fields, "orders", ""), "orders"))
    ]
    first_use: dict[str, int] = {}
    for index, order in enumerate(orders):
        if first_use.setdefault(order.key, index) != index:
            raise CaseError(f"orders[{index}].id: {shown(order.key)} is the id of orders[{first_use[order.key]}]")
    result = clear_uniform(orders, rule)
    return {
        "price_micro_per_kwh": result.price_micro_per_kwh,
        "price_range": None if result.price_range is None else list(result.price_range),
        "volume_wh": result.volume_wh,
        "surplus_wh": result.surplus_wh,
        "welfare_micro": result.welfare_micro,
        "fills": result.fills,
        "trades": [
            {
                "buy": trade.buy,
                "sell": trade.sell,
                "energy_wh": trade.energy_wh,
                "price_micro_per_kwh": trade.price_micro_per_kwh,
                "value_micro": trade.value_micro,
            }
            for trade in result.trades
        ],
    }


def _auction_order(fields: Mapping[str, Any], where: str) -> AuctionOrder[str]:
    only(fields, ("id", "side", "energy_wh", "price_micro_per_kwh"), where)
    energy_wh = as_integer(field(fields, "energy_wh", where), f"{where}.energy_wh")
    within(energy_wh, 1, ENERGY_WH_MAX, f"{where}.energy_wh")
    price = as_price(field(fields, "price_micro_per_kwh", where), f"{where}.price_micro_per_kwh")
    if price is not None:
        maximum = PRICE_MICRO_PER_KWH_MAX
        within(price, -maximum, maximum, f"{where}.price_micro_per_kwh")
    return AuctionOrder(
        key=as_text(field(fields, "id", where), f"{where}.id"),
        side=as_side(field(fields, "side", where), f"{where}.side"),
        energy_wh=energy_wh,
        price=price,
    )


def read_rule(value: object) -> ClearingRule:
    """Return a case's clearing rule."""
    fields = as_object(value, "rule")
    only(fields, ("mechanism", "price", "reference_price", "ties"), "rule")
    mechanism = as_choice(field(fields, "mechanism", "rule"), _MECHANISMS, "rule.mechanism")
    price = as_choice(field(fields, "price", "rule"), _PRICE_RULES, "rule.price")
    ties = as_choice(field(fields, "ties", "rule"), _TIE_RULES, "rule.ties")
    reference = as_price(fields.get("reference_price"), "rule.reference_price")
    if reference is not None:
        maximum = PRICE_MICRO_PER_KWH_MAX
        within(reference, -maximum, maximum, "rule.reference_price")
    return ClearingRule(mechanism=mechanism, price=price, reference_price=reference, ties=ties)
