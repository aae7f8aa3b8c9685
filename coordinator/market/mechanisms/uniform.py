"""The uniform-price call auction, in exact integers.

It executes the largest volume at which no accepted order is out of the money, at one price.
Prices are 1e-6 currency per kWh, energy is in Wh. A market order has no limit: it comes before
every limit order and bounds no price.

Price, when something executes:

* ``midpoint``: the floor of the middle of the supporting interval ``[max(highest accepted ask,
  highest rejected bid), min(lowest accepted bid, lowest rejected ask)]``, market orders not
  counted. Where one end has no bound, both ends are the bound that exists (the nearest limit).
* ``reference``: among all limits the one with the largest volume, then the smallest surplus, then
  with the surplus all on the bid side the highest, all on the ask side the lowest, else the nearest
  to the reference price, upward on a tie (without a reference price: as ``midpoint``). Only limits in
  the supporting interval count: a farther one could leave an order unfilled that is in the money.
  Rule and examples: Deutsche Boerse, Xetra market model, price determination.
* No limit bounds the price (only market orders): the reference price, kept within the band; without
  one the middle of the band; without a band nothing executes, for nothing says at what price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from ..rules import ClearingRule, Tariff
from .halves import Half, Halves, Ints, by_merit, lay_along
from .shapes import AuctionResult, AuctionTrade, Offer


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where demand and supply cross: the volume, the price that supports it, and who takes part in it."""

    volume_wh: int
    price: int
    price_range: tuple[int, int]
    bid_fills: Ints
    ask_fills: Ints


def clear_uniform[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,  # noqa: ARG001 - every mechanism is called alike
) -> AuctionResult[K]:
    """Clear orders that are given in the order of their arrival; keys must differ."""
    halves = halves_of(orders, rule, band)
    crossing = crossing_of(halves, rule, band)
    if crossing is None:
        return AuctionResult(None, None, 0, 0, 0, halves.nothing(), (), 0, rule.name)
    price = crossing.price
    bids, asks, energies = lay_along(crossing.bid_fills, crossing.ask_fills)
    buyers, sellers = keys_by_merit(halves, halves.bids), keys_by_merit(halves, halves.asks)
    welfare_micro = optimum_micro(halves, crossing)
    return AuctionResult(
        price_micro_per_kwh=price,
        price_range=crossing.price_range,
        volume_wh=crossing.volume_wh,
        surplus_wh=halves.surplus_wh(price),
        welfare_micro=welfare_micro,
        fills=halves.fills(crossing.bid_fills, crossing.ask_fills),
        trades=tuple(
            map(AuctionTrade, (buyers[bid] for bid in bids), (sellers[ask] for ask in asks), energies, repeat(price))
        ),
        optimum_micro=welfare_micro,
        rule=rule.name,
    )


def halves_of[K](
    orders: Sequence[Offer[K]], rule: ClearingRule, band: tuple[int, int] | None, *prices: int
) -> Halves[K]:
    """Sort the book for sums with every price that the rule may come to."""
    return Halves.of(orders, rule.reference_price, *(band or ()), *prices)


def keys_by_merit[K](halves: Halves[K], half: Half) -> list[K]:
    """Return a side's keys, best first."""
    return [halves.orders[place].key for place in half.places.tolist()]


def crossing_of[K](halves: Halves[K], rule: ClearingRule, band: tuple[int, int] | None) -> Crossing | None:
    """Return the largest volume with its price and fills; ``None`` when nothing executes."""
    volume_wh = halves.crossing_wh()
    if not volume_wh:
        return None
    price_range = _price_range(halves, volume_wh) or _unbounded_range(rule, band)
    if price_range is None:
        return None
    bid_fills, ask_fills = (by_merit(half, volume_wh, rule.ties) for half in (halves.bids, halves.asks))
    return Crossing(volume_wh, _price(halves, price_range, rule), price_range, bid_fills, ask_fills)


def optimum_micro[K](halves: Halves[K], crossing: Crossing | None) -> int:
    """Return the welfare of the crossing volume: no other volume has more (market orders at its price)."""
    if crossing is None:
        return 0
    return halves.welfare_micro(crossing.bid_fills, crossing.ask_fills, crossing.price, crossing.price)


def _price_range[K](halves: Halves[K], volume_wh: int) -> tuple[int, int] | None:
    """Return the supporting prices of the volume; ``None`` when there is no limit at all."""
    accepted_bid, rejected_bid = _margin(halves.bids, volume_wh)
    accepted_ask, rejected_ask = _margin(halves.asks, volume_wh)
    lows = [price for price in (accepted_ask, rejected_bid) if price is not None]
    highs = [price for price in (accepted_bid, rejected_ask) if price is not None]
    if not lows and not highs:
        return None
    return max(lows or [min(highs)]), min(highs or [max(lows)])


def _margin(half: Half, volume_wh: int) -> tuple[int | None, int | None]:
    """Return the limit of the last accepted order and of the first limit order rejected."""
    accepted = half.limit(half.last(volume_wh))
    rejected = max(int(np.searchsorted(half.reach_wh, volume_wh, "right")), half.at_market)
    return accepted, half.limit(rejected) if rejected < len(half.ranks) else None


def _unbounded_range(rule: ClearingRule, band: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the one price for market orders alone, twice."""
    price = rule.reference_price
    if band is not None:
        low, high = band
        price = (low + high) // 2 if price is None else min(max(price, low), high)
    return None if price is None else (price, price)


def _price[K](halves: Halves[K], price_range: tuple[int, int], rule: ClearingRule) -> int:
    low, high = price_range
    middle = (low + high) // 2
    if rule.price == "midpoint":
        return middle
    candidates = {price: wh for price, wh in _best_limits(halves).items() if low <= price <= high}
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


def _best_limits[K](halves: Halves[K]) -> dict[int, int]:
    """Return the limits with the largest volume and then the smallest surplus: price to surplus."""
    bids, asks = halves.bids, halves.asks
    limits = np.sort(np.concatenate([-bids.ranks[bids.at_market :], asks.ranks[asks.at_market :]]))
    if not len(limits):
        return {}
    demand_wh, supply_wh = _energy_at(bids, limits), _energy_at(asks, limits)
    volume_wh = np.minimum(demand_wh, supply_wh)
    surplus_wh = demand_wh - supply_wh
    largest = volume_wh == volume_wh.max()
    best = largest & (abs(surplus_wh) == abs(surplus_wh[largest]).min())
    return dict(zip(limits[best].tolist(), surplus_wh[best].tolist(), strict=True))


def _energy_at(half: Half, prices: Ints) -> Ints:
    """Return the side's energy that accepts each of the prices."""
    reach_wh = np.concatenate([np.zeros(1, dtype=half.reach_wh.dtype), half.reach_wh])
    energy_wh: Ints = reach_wh[np.searchsorted(half.ranks, half.sign * prices, "right")]
    return energy_wh
