"""The market's state in the shapes of the answers: pure functions, shared by questions and stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..market.auction import AuctionOrder, clear_uniform
from ..market.events import CloseReason, Traded
from ..market.rules import ClearingRule, MarketRules
from ..market.state import IntervalStage, MarketState
from ..market.views import Depth, DepthLevel, bundle_status, depth, order_status
from ..protocol.messages import Side
from .answers import FeesAnswer, GridSignal, LineAnswer, Rule, StagesAnswer
from .trading_answers import BookAnswer, BundleAnswer, Crossing, Fill, PlacedOrder, PriceLevel

BOOK_LEVELS = 50
CROSSING_LEVELS = 1_000

_WAITS_FOR = {"dormant": "condition", "waiting": "auction"}
_ENDED_BY_TIME = frozenset({CloseReason.GATE_CLOSED, CloseReason.EXPIRED})


def shown_status(status: str, closed: CloseReason | None) -> tuple[str, str | None]:
    """Return an order's status as the API words it, with the reason why it waits or why it ended."""
    if status in _WAITS_FOR:
        return "received", _WAITS_FOR[status]
    reason = None if closed in (None, CloseReason.FILLED) else str(closed)
    if status in ("closed", "replaced"):
        return ("expired" if closed in _ENDED_BY_TIME else "cancelled"), reason
    return status, reason


def placed_order(state: MarketState, digest: bytes) -> PlacedOrder | None:
    """Return where an order is, ``None`` when it is unknown or forgotten."""
    known = order_status(state, digest)
    if known is None:
        return None
    status, reason = shown_status(known.status, known.close_reason)
    return {
        "order": "0x" + digest.hex(),
        "status": status,
        "reason": reason,
        "filled_wh": known.filled_wh,
        "remaining_wh": known.remaining_wh,
        "trades": [_fill(trade) for trade in known.trades],
    }


def bundle_answer(state: MarketState, digest: bytes) -> BundleAnswer | None:
    """Return where a bundle is, ``None`` when it is unknown or forgotten."""
    known = bundle_status(state, digest)
    if known is None:
        return None
    status, reason = shown_status(known.status, known.close_reason)
    if known.share is not None:
        status = "filled" if known.share[0] == known.share[1] else "partly_filled"
    legs = [placed_order(state, leg) for leg in known.legs]
    return {
        "bundle": "0x" + digest.hex(),
        "status": status,
        "reason": reason,
        "share": known.share,
        "legs": [leg for leg in legs if leg is not None],
    }


def book_answer(state: MarketState, delivery_start: int, node: str | None) -> BookAnswer | None:
    """Return an interval's depth at one node, or at all together; ``None`` when the market has no such node."""
    interval, rules = state.intervals.get(delivery_start), state.rules
    known = nodes_of(rules)
    if node is not None and node not in known:
        return None
    wanted = known if node is None else [node]
    found = _merged(depth(state, delivery_start, CROSSING_LEVELS, name) for name in wanted)
    meets = crossing(found, rules) if node is not None or not rules.lines else None
    inside_wh = 0 if meets is None else meets["volume_wh"]
    return {
        "delivery_start": delivery_start,
        "node": node,
        "stage": IntervalStage.OPEN.value if interval is None else interval.stage.value,
        "bids": _levels(found.bids, (found.market_buy_wh, found.market_buys), inside_wh),
        "asks": _levels(found.asks, (found.market_sell_wh, found.market_sells), inside_wh),
        "crossing": meets,
        "last_price_micro_per_kwh": None if interval is None else interval.last_price_micro_per_kwh,
    }


def crossing(found: Depth, rules: MarketRules) -> Crossing | None:
    """Return what a uniform auction of these levels would come to; a level counts as one order, as for the price."""
    buys = [(None, found.market_buy_wh), *((level.price_micro_per_kwh, level.energy_wh) for level in found.bids)]
    sells = [(None, found.market_sell_wh), *((level.price_micro_per_kwh, level.energy_wh) for level in found.asks)]
    if not _may_cross(found):
        return None
    sides = [(Side.BUY, *row) for row in buys] + [(Side.SELL, *row) for row in sells]
    orders = [AuctionOrder(key, side, wh, price) for key, (side, price, wh) in enumerate(sides) if wh]
    rule = rules.rule if rules.rule.mechanism == "uniform" else ClearingRule()
    low, high = rules.band
    result = clear_uniform(orders, rule, (low, max(low, rules.fees.net_of(high))))
    if result.price_micro_per_kwh is None or result.price_range is None:
        return None
    return {
        "price_micro_per_kwh": result.price_micro_per_kwh,
        "price_range": result.price_range,
        "volume_wh": result.volume_wh,
    }


def nodes_of(rules: MarketRules) -> list[str]:
    """Return the nodes that have a book of their own: those of the lines, else one without a name."""
    if not rules.lines:
        return [""]
    places = {place.node for place in rules.places}
    return sorted({"", *places, *(line.source for line in rules.lines), *(line.target for line in rules.lines)})


def rule_answer(rule: ClearingRule) -> Rule:
    """Return the clearing rule."""
    return {
        "name": rule.name,
        "mechanism": rule.mechanism,
        "price": rule.price,
        "ties": rule.ties,
        "reference_price": rule.reference_price,
        "bid_share_ppm": rule.bid_share_ppm,
    }


def fees_answer(rules: MarketRules) -> FeesAnswer:
    """Return the community's fees."""
    fees = rules.fees
    return {
        "community_micro_per_kwh": fees.community_micro_per_kwh,
        "community_share_ppm": fees.community_share_ppm,
    }


def stages_answer(rules: MarketRules, now: int) -> StagesAnswer:
    """Return the market's stages, with the time of the next session."""
    stages = rules.stages
    every = stages.session_every_s
    return {
        "continuous": stages.continuous,
        "closing": stages.closing,
        "session_every_s": every,
        "next_session_at": (now // every + 1) * every if every else None,
        "bundles_per_account_max": stages.bundles_per_account_max,
        "legs_per_bundle_max": stages.legs_per_bundle_max,
        "conditional_orders_per_account_max": stages.conditional_orders_per_account_max,
    }


def signals_answer(state: MarketState, now: int) -> list[GridSignal]:
    """Return what the operator last told of the grid, without intervals that are over."""
    return [
        {"signal": signal.value, "delivery_start": start, "value": value}
        for (signal, start), value in sorted(state.signals.items(), key=lambda item: (item[0][0].code, item[0][1]))
        if start == 0 or start + state.rules.interval_s > now
    ]


def lines_answer(rules: MarketRules) -> list[LineAnswer]:
    """Return the network's lines."""
    return [
        {
            "source": line.source,
            "target": line.target,
            "limit_w": line.limit_w,
            "fee_micro_per_kwh": line.fee_micro_per_kwh,
        }
        for line in rules.lines
    ]


def _fill(trade: Traded) -> Fill:
    return {
        "trade_id": trade.trade_id,
        "energy_wh": trade.energy_wh,
        "price_micro_per_kwh": trade.price_micro_per_kwh,
        "grid_fee_micro_per_kwh": trade.grid_fee_micro_per_kwh,
        "community_fee_micro_per_kwh": trade.community_fee_micro_per_kwh,
        "stage": trade.stage.value,
    }


def _may_cross(found: Depth) -> bool:
    """Tell whether some bid is worth some ask, so that the usual book costs nothing."""
    if (found.market_buy_wh and (found.asks or found.market_sell_wh)) or (found.market_sell_wh and found.bids):
        return True
    return bool(found.bids and found.asks and found.bids[0].price_micro_per_kwh >= found.asks[0].price_micro_per_kwh)


def _merged(depths: Iterable[Depth]) -> Depth:
    """Put the nodes' depths together."""
    found = list(depths)
    if len(found) == 1:
        return found[0]
    bids, asks = _sum(d.bids for d in found), _sum(d.asks for d in found)
    return Depth(
        tuple(bids[price] for price in sorted(bids, reverse=True)),
        tuple(asks[price] for price in sorted(asks)),
        sum(d.market_buy_wh for d in found),
        sum(d.market_sell_wh for d in found),
        sum(d.market_buys for d in found),
        sum(d.market_sells for d in found),
    )


def _sum(sides: Iterable[Sequence[DepthLevel]]) -> Mapping[int, DepthLevel]:
    levels: dict[int, DepthLevel] = {}
    for side in sides:
        for level in side:
            price = level.price_micro_per_kwh
            known = levels.get(price, DepthLevel(price, 0, 0))
            levels[price] = DepthLevel(price, known.energy_wh + level.energy_wh, known.orders + level.orders)
    return levels


def _levels(levels: Sequence[DepthLevel], at_market: tuple[int, int], inside_wh: int) -> list[PriceLevel]:
    """Put what waits at any price first; show what would trade (``inside_wh``) and ``BOOK_LEVELS`` beyond."""
    found: list[PriceLevel] = [(None, *at_market)] if at_market[0] else []
    left_wh, beyond = inside_wh - at_market[0], 0
    for level in levels:
        beyond += left_wh <= 0
        left_wh -= level.energy_wh
        if beyond > BOOK_LEVELS:
            break
        found.append((level.price_micro_per_kwh, level.energy_wh, level.orders))
    return found
