"""Call auctions as cases: one interval, one uniform price or another rule, with fees and preferences if there are any.

With fees a bid counts at the highest price whose fee it still covers. With preferences the auction is held at the
limits that hold towards anyone, and the trades are then paired; volume, welfare and fills are those of the trades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ...protocol.messages import Side
from ...protocol.order_terms import ZERO_ADDRESS, Preferences
from ...protocol.units import ENERGY_WH_MAX, MICRO, PRICE_MICRO_PER_KWH_MAX, WH_PER_KWH, value_micro
from ..auction import AuctionOrder, AuctionResult, clear
from ..preferences import Party, pair
from ..problem import ProblemTrade
from ..rules import GREEN_SOURCES, ClearingRule, Fees, Mechanism, PriceRule, Tariff, TieRule
from .reading import (
    CaseError,
    as_choice,
    as_flag,
    as_integer,
    as_list,
    as_object,
    as_price,
    as_side,
    as_text,
    field,
    given,
    only,
    path,
    shown,
    within,
)

_MECHANISMS: tuple[Mechanism, ...] = get_args(Mechanism.__value__)
_PRICE_RULES: tuple[PriceRule, ...] = get_args(PriceRule.__value__)
_TIE_RULES: tuple[TieRule, ...] = get_args(TieRule.__value__)


def call_auction(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a call auction's case."""
    only(fields, ("kind", "rule", "orders", "band", "fees"), "")
    rule, tariff = read_rule(fields.get("rule")), read_tariff(fields.get("rule"))
    fees, band = _read_fees(fields.get("fees")), _read_band(fields.get("band"))
    parties = [
        _read_order(as_object(order, f"orders[{index}]"), f"orders[{index}]")
        for index, order in enumerate(as_list(field(fields, "orders", ""), "orders"))
    ]
    _refuse_repeated([party.key for party in parties])
    parties = [_net(party, fees) for party in parties]
    orders = [
        AuctionOrder(party.key, party.side, party.energy_wh, party.auction_limit)
        for party in parties
        if party.takes_part
    ]
    try:
        auction = clear(orders, rule, None if band is None else (band[0], fees.net_of(band[1])), tariff)
    except ValueError as error:
        raise CaseError(f"rule: {error}") from None
    return _result(auction, parties, fees, rule)


def _result(auction: AuctionResult[str], parties: list[Party[str]], fees: Fees, rule: ClearingRule) -> dict[str, Any]:
    trades = [
        ProblemTrade(0, trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh, trade.fee_micro_per_kwh)
        for trade in auction.trades
    ]
    paired = pair(trades, parties)
    same = paired == tuple(trades)
    filled: dict[str, int] = defaultdict(int)
    for trade in paired:
        filled[trade.buy] += trade.energy_wh
        filled[trade.sell] += trade.energy_wh
    result = {
        "rule": rule.name,
        "price_micro_per_kwh": auction.price_micro_per_kwh,
        "price_range": None if auction.price_range is None else list(auction.price_range),
        "volume_wh": sum(trade.energy_wh for trade in paired),
        "surplus_wh": auction.surplus_wh,
        "welfare_micro": auction.welfare_micro if same else _welfare_micro(paired, parties),
        "fills": {party.key: filled[party.key] for party in parties},
        "trades": [_shown_trade(trade, fees) for trade in paired],
    }
    if rule.mechanism != "uniform":
        result["optimum_micro"] = auction.optimum_micro
    return result


def _shown_trade(trade: ProblemTrade[str], fees: Fees) -> dict[str, Any]:
    price = trade.price_micro_per_kwh
    fee = trade.grid_fee_micro_per_kwh + fees.community_fee(price + trade.grid_fee_micro_per_kwh)
    parts = {
        "buy": trade.buy,
        "sell": trade.sell,
        "energy_wh": trade.energy_wh,
        "price_micro_per_kwh": price,
        "value_micro": value_micro(trade.energy_wh, price),
    }
    return {**parts, "fee_micro_per_kwh": fee} if fee else parts


def _welfare_micro(trades: Sequence[ProblemTrade[str]], parties: list[Party[str]]) -> int:
    """Return what all trades are worth at the limits that hold between the two; market orders at the price."""
    known = {party.key: party for party in parties}
    worth = 0
    for trade in trades:
        buyer, seller = known[trade.buy], known[trade.sell]
        value = buyer.limit if buyer.prefers(seller) else buyer.auction_limit
        cost = seller.limit if seller.prefers(buyer) else seller.auction_limit
        price = trade.price_micro_per_kwh
        paid = price + trade.grid_fee_micro_per_kwh
        worth += trade.energy_wh * ((paid if value is None else value) - (price if cost is None else cost))
    return worth // WH_PER_KWH


def _net(party: Party[str], fees: Fees) -> Party[str]:
    """Return a buyer at the prices whose fees its limits still cover; sellers as they are."""
    if party.side is Side.SELL or fees == Fees():
        return party
    asked = party.preferences
    if asked is not None and asked.other_limit_price_micro_per_kwh is not None:
        asked = replace(asked, other_limit_price_micro_per_kwh=fees.net_of(asked.other_limit_price_micro_per_kwh))
    return replace(party, limit=None if party.limit is None else fees.net_of(party.limit), preferences=asked)


def _refuse_repeated(keys: list[str]) -> None:
    first_use: dict[str, int] = {}
    for index, key in enumerate(keys):
        if first_use.setdefault(key, index) != index:
            raise CaseError(f"orders[{index}].id: {shown(key)} is the id of orders[{first_use[key]}]")


def _read_order(fields: Mapping[str, Any], where: str) -> Party[str]:
    known = ("id", "side", "energy_wh", "price_micro_per_kwh", "account", "node", "source", "preferences")
    only(fields, known, where)
    energy_wh = as_integer(field(fields, "energy_wh", where), f"{where}.energy_wh")
    within(energy_wh, 1, ENERGY_WH_MAX, f"{where}.energy_wh")
    key = as_text(field(fields, "id", where), f"{where}.id")
    side = as_side(field(fields, "side", where), f"{where}.side")
    limit = _read_price(field(fields, "price_micro_per_kwh", where), f"{where}.price_micro_per_kwh")
    return Party(
        key=key,
        account=as_text(given(fields, "account", key), f"{where}.account"),
        side=side,
        energy_wh=energy_wh,
        limit=limit,
        preferences=_read_preferences(fields.get("preferences"), side, limit, f"{where}.preferences"),
        node="" if fields.get("node") is None else as_text(fields["node"], f"{where}.node"),
        is_green=fields.get("source") is not None and as_text(fields["source"], f"{where}.source") in GREEN_SOURCES,
    )


def _read_preferences(value: object, side: Side, limit: int | None, where: str) -> Preferences | None:
    if value is None:
        return None
    fields = as_object(value, where)
    only(fields, ("green", "local", "partner", "other_limit_price_micro_per_kwh"), where)
    if limit is None:
        raise CaseError(f"{where}: a market order has no preferences: it names no price to prefer at")
    other_path = path(where, "other_limit_price_micro_per_kwh")
    other = _read_price(fields.get("other_limit_price_micro_per_kwh"), other_path)
    if other is not None and (other > limit if side is Side.BUY else other < limit):
        raise CaseError(f"{other_path}: nobody gives others more than preferred ones; the order's limit is {limit}")
    partner = fields.get("partner")
    return Preferences(
        green=as_flag(given(fields, "green", False), f"{where}.green"),
        local=as_flag(given(fields, "local", False), f"{where}.local"),
        partner=ZERO_ADDRESS if partner is None else as_text(partner, f"{where}.partner"),
        other_limit_price_micro_per_kwh=other,
    )


def read_rule(value: object) -> ClearingRule:
    """Return a case's clearing rule; what it does not say is as in the usual one."""
    usual = ClearingRule()
    fields = {} if value is None else as_object(value, "rule")
    only(fields, ("mechanism", "price", "reference_price", "ties", "bid_share_ppm", "tariff"), "rule")
    mechanism = as_choice(given(fields, "mechanism", usual.mechanism), _MECHANISMS, "rule.mechanism")
    price = as_choice(given(fields, "price", usual.price), _PRICE_RULES, "rule.price")
    ties = as_choice(given(fields, "ties", usual.ties), _TIE_RULES, "rule.ties")
    reference = _read_price(fields.get("reference_price"), "rule.reference_price")
    share_ppm = as_integer(given(fields, "bid_share_ppm", usual.bid_share_ppm), "rule.bid_share_ppm")
    within(share_ppm, 0, MICRO, "rule.bid_share_ppm")
    return ClearingRule(mechanism, price, reference, ties, bid_share_ppm=share_ppm)


def read_tariff(value: object) -> Tariff | None:
    """Return the supplier's tariff of a case's rule, if it names one."""
    where = "rule.tariff"
    tariff = None if value is None else as_object(value, "rule").get("tariff")
    if tariff is None:
        return None
    names = ("supplier_micro_per_kwh", "feed_in_micro_per_kwh")
    fields = as_object(tariff, where)
    only(fields, names, where)
    supplier, feed_in = (as_integer(field(fields, name, where), path(where, name)) for name in names)
    within(supplier, 0, PRICE_MICRO_PER_KWH_MAX, path(where, names[0]))
    within(feed_in, 0, supplier, path(where, names[1]))
    return Tariff(supplier, feed_in)


def _read_fees(value: object) -> Fees:
    if value is None:
        return Fees()
    fields = as_object(value, "fees")
    only(fields, ("community_micro_per_kwh", "community_share_ppm"), "fees")
    per_kwh = as_integer(given(fields, "community_micro_per_kwh", 0), "fees.community_micro_per_kwh")
    within(per_kwh, 0, PRICE_MICRO_PER_KWH_MAX, "fees.community_micro_per_kwh")
    share_ppm = as_integer(given(fields, "community_share_ppm", 0), "fees.community_share_ppm")
    within(share_ppm, 0, MICRO, "fees.community_share_ppm")
    return Fees(per_kwh, share_ppm)


def _read_band(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    ends = as_list(value, "band")
    if len(ends) != 2:
        raise CaseError(f"band: expected the lowest and the highest price, was {shown(value)}")
    low, high = (as_integer(end, f"band[{index}]") for index, end in enumerate(ends))
    within(low, -PRICE_MICRO_PER_KWH_MAX, PRICE_MICRO_PER_KWH_MAX, "band[0]")
    within(high, low, PRICE_MICRO_PER_KWH_MAX, "band[1]")
    return low, high


def _read_price(value: object, where: str) -> int | None:
    price = as_price(value, where)
    if price is not None:
        within(price, -PRICE_MICRO_PER_KWH_MAX, PRICE_MICRO_PER_KWH_MAX, where)
    return price
