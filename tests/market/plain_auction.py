"""The uniform auction once more, order by order in plain Python: the oracle of the sorted arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile

from coordinator.market.auction import AuctionOrder, AuctionResult, AuctionTrade
from coordinator.market.rules import ClearingRule
from coordinator.protocol.messages import Side
from coordinator.protocol.units import WH_PER_KWH, split_pro_rata


def clear_plainly[K](
    orders: Sequence[AuctionOrder[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
) -> AuctionResult[K]:
    bids = sorted((o for o in orders if o.side is Side.BUY), key=_bid_rank)
    asks = sorted((o for o in orders if o.side is Side.SELL), key=_ask_rank)
    volume_wh = _crossing_volume(bids, asks)
    price_range = _price_range(bids, asks, volume_wh) or _unbounded_range(rule, band)
    fills = dict.fromkeys((order.key for order in orders), 0)
    if not volume_wh or price_range is None:
        return AuctionResult(None, None, 0, 0, 0, fills, (), 0, rule.name)
    price = _price(bids, asks, price_range, rule)
    for half in (bids, asks):
        fills.update(_allocate(half, volume_wh, rule))
    welfare_micro = _welfare_micro(bids, asks, fills, price)
    return AuctionResult(
        price_micro_per_kwh=price,
        price_range=price_range,
        volume_wh=volume_wh,
        surplus_wh=_surplus_wh(bids, asks, price),
        welfare_micro=welfare_micro,
        fills=fills,
        trades=tuple(_trades(bids, asks, fills, price)),
        optimum_micro=welfare_micro,
        rule=rule.name,
    )


def _bid_rank[K](order: AuctionOrder[K]) -> tuple[bool, int]:
    """Market orders first, then the highest limit; sorting keeps arrivals in order."""
    return (True, -order.price) if order.price is not None else (False, 0)


def _ask_rank[K](order: AuctionOrder[K]) -> tuple[bool, int]:
    return (True, order.price) if order.price is not None else (False, 0)


def _crossing_volume[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]]) -> int:
    """Return the largest volume whose last bid is worth at least its last ask."""
    overlaps = _overlaps([(o, o.energy_wh) for o in bids], [(o, o.energy_wh) for o in asks])
    return sum(energy_wh for _, _, energy_wh in takewhile(_crosses, overlaps))


def _overlaps[K](
    bids: list[tuple[AuctionOrder[K], int]], asks: list[tuple[AuctionOrder[K], int]]
) -> Iterator[tuple[AuctionOrder[K], AuctionOrder[K], int]]:
    """Lay both sides' energies (all above zero) along each other and yield what faces what."""
    i = j = bid_used_wh = ask_used_wh = 0
    while i < len(bids) and j < len(asks):
        (bid, bid_wh), (ask, ask_wh) = bids[i], asks[j]
        energy_wh = min(bid_wh - bid_used_wh, ask_wh - ask_used_wh)
        yield bid, ask, energy_wh
        bid_used_wh += energy_wh
        ask_used_wh += energy_wh
        if bid_used_wh == bid_wh:
            i, bid_used_wh = i + 1, 0
        if ask_used_wh == ask_wh:
            j, ask_used_wh = j + 1, 0


def _crosses[K](overlap: tuple[AuctionOrder[K], AuctionOrder[K], int]) -> bool:
    bid, ask, _ = overlap
    return bid.price is None or ask.price is None or bid.price >= ask.price


def _price_range[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]], volume_wh: int) -> tuple[int, int] | None:
    """Return the supporting prices of the volume; ``None`` when there is no limit at all."""
    accepted_bid, rejected_bid = _margin(bids, volume_wh)
    accepted_ask, rejected_ask = _margin(asks, volume_wh)
    lows = [price for price in (accepted_ask, rejected_bid) if price is not None]
    highs = [price for price in (accepted_bid, rejected_ask) if price is not None]
    if not lows and not highs:
        return None
    return max(lows or [min(highs)]), min(highs or [max(lows)])


def _margin[K](ranked: list[AuctionOrder[K]], volume_wh: int) -> tuple[int | None, int | None]:
    """Return the limit of the last accepted order and of the first limit order rejected."""
    accepted: int | None = None
    for order in ranked:
        if volume_wh > 0:
            accepted = order.price
        volume_wh -= order.energy_wh
        if volume_wh < 0 and order.price is not None:
            return accepted, order.price
    return accepted, None


def _unbounded_range(rule: ClearingRule, band: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the one price for market orders alone, twice."""
    price = rule.reference_price
    if band is not None:
        low, high = band
        price = (low + high) // 2 if price is None else min(max(price, low), high)
    return None if price is None else (price, price)


def _price[K](
    bids: list[AuctionOrder[K]],
    asks: list[AuctionOrder[K]],
    price_range: tuple[int, int],
    rule: ClearingRule,
) -> int:
    low, high = price_range
    middle = (low + high) // 2
    if rule.price == "midpoint":
        return middle
    best = _best_limits(bids, asks)
    candidates = {price: surplus_wh for price, surplus_wh in best.items() if low <= price <= high}
    if not candidates:  # market orders alone
        return middle
    if all(surplus_wh > 0 for surplus_wh in candidates.values()):
        return max(candidates)
    if all(surplus_wh < 0 for surplus_wh in candidates.values()):
        return min(candidates)
    reference = rule.reference_price
    if reference is None:
        return middle
    return min(candidates, key=lambda price: (abs(price - reference), -price))


def _best_limits[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]]) -> dict[int, int]:
    """Return the limits with the largest volume and then the smallest surplus: price to surplus."""
    curve = list(_curve(bids, asks))
    volume_wh = max((min(demand, supply) for _, demand, supply in curve), default=0)
    surplus_by_price = {price: demand - supply for price, demand, supply in curve if min(demand, supply) == volume_wh}
    smallest = min((abs(surplus) for surplus in surplus_by_price.values()), default=0)
    return {price: wh for price, wh in surplus_by_price.items() if abs(wh) == smallest}


def _curve[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]]) -> Iterator[tuple[int, int, int]]:
    """Yield every limit, lowest first, with demand and supply at that price."""
    bid_wh, ask_wh = _energy_by_price(bids), _energy_by_price(asks)
    demand_wh, supply_wh = sum(bid_wh.values()), ask_wh.pop(None, 0)
    bid_wh.pop(None, 0)
    for price in sorted(price for price in {**bid_wh, **ask_wh} if price is not None):
        supply_wh += ask_wh.get(price, 0)
        yield price, demand_wh, supply_wh
        demand_wh -= bid_wh.get(price, 0)


def _energy_by_price[K](orders: list[AuctionOrder[K]]) -> dict[int | None, int]:
    energy_wh: dict[int | None, int] = {}
    for order in orders:
        energy_wh[order.price] = energy_wh.get(order.price, 0) + order.energy_wh
    return energy_wh


def _allocate[K](ranked: list[AuctionOrder[K]], volume_wh: int, rule: ClearingRule) -> dict[K, int]:
    """Share the volume: better prices first, and at the margin by the rule for ties."""
    fills: dict[K, int] = {}
    for _, group in groupby(ranked, key=lambda order: order.price):
        level = list(group)
        weights = [order.energy_wh for order in level]
        shared_wh = min(volume_wh, sum(weights))
        volume_wh -= shared_wh
        split = split_pro_rata if rule.ties == "pro_rata" else _split_by_time
        parts = split(shared_wh, weights)
        fills.update(zip((order.key for order in level), parts, strict=True))
    return fills


def _split_by_time(total: int, weights: Sequence[int]) -> list[int]:
    parts = []
    for weight in weights:
        parts.append(min(total, weight))
        total -= parts[-1]
    return parts


def _surplus_wh[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]], price: int) -> int:
    demand_wh = sum(o.energy_wh for o in bids if o.price is None or o.price >= price)
    supply_wh = sum(o.energy_wh for o in asks if o.price is None or o.price <= price)
    return demand_wh - supply_wh


def _welfare_micro[K](bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]], fills: dict[K, int], price: int) -> int:
    value, cost = (sum(fills[o.key] * (price if o.price is None else o.price) for o in half) for half in (bids, asks))
    return (value - cost) // WH_PER_KWH


def _trades[K](
    bids: list[AuctionOrder[K]], asks: list[AuctionOrder[K]], fills: dict[K, int], price: int
) -> Iterator[AuctionTrade[K]]:
    """Pair the fills of both sides in priority order."""
    filled_bids, filled_asks = (
        [(order, fills[order.key]) for order in half if fills[order.key]] for half in (bids, asks)
    )
    for bid, ask, energy_wh in _overlaps(filled_bids, filled_asks):
        yield AuctionTrade(bid.key, ask.key, energy_wh, price)
