"""Community prices: one price from the supplier's tariff, the same for everybody, whatever the limits.

* ``mid_market_rate``: the floor of the middle of the supplier's price and the feed-in price. Source: Long, Wu, Zhang,
  Thomas, Cheng, Jenkins, "Peer-to-peer energy trading in a community microgrid", IEEE PES General Meeting 2017.
* ``supply_demand_ratio``: with ``r`` the auction's supply divided by its demand, the internal selling price
  ``feed_in * supplier / ((supplier - feed_in) * r + feed_in)`` up to ``r = 1`` and the feed-in price above, rounded
  down: scarce energy is dear, plentiful cheap. Source: Liu, Yu, Wang, Li, Ma, Lei, "Energy-sharing model with
  price-based demand response for microgrids of peer-to-peer prosumers", IEEE Transactions on Power Systems 32(5), 2017,
  pages 3569 to 3583. The paper's buying price is the mean of this one over what is shared and the supplier's
  over the rest; here the buyer pays the two separately, which comes to the same.

Orders whose limit does not accept the price take no part. The scarcer side executes whole, the other shares: pro
rata to energy or, with ``time``, first come first served; better limits do not come first, for the price does not
depend on them either. What remains goes to the supplier at the tariff, outside of the auction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..rules import ClearingRule, Tariff
from .halves import Half, Halves, Ints, by_arrival, lay_along
from .shapes import AuctionResult, AuctionTrade, Offer
from .uniform import crossing_of, halves_of, optimum_micro


def clear_mid_market_rate[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,
) -> AuctionResult[K]:
    """Clear at the middle of the tariff; raise ``ValueError`` without a tariff or with one that contradicts."""
    known = _known(tariff, rule)
    price = (known.supplier_micro_per_kwh + known.feed_in_micro_per_kwh) // 2
    return _clear_at(halves_of(orders, rule, band, price), rule, band, price)


def clear_supply_demand_ratio[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,
) -> AuctionResult[K]:
    """Clear at the ratio's price; raise ``ValueError`` without a tariff or with one that contradicts."""
    known = _known(tariff, rule)
    halves = halves_of(orders, rule, band, known.supplier_micro_per_kwh)
    return _clear_at(halves, rule, band, _ratio_price(known, halves.asks.total_wh, halves.bids.total_wh))


def _known(tariff: Tariff | None, rule: ClearingRule) -> Tariff:
    if tariff is None:
        raise ValueError(f"{rule.mechanism} needs the supplier's tariff")
    if not 0 <= tariff.feed_in_micro_per_kwh <= tariff.supplier_micro_per_kwh:
        raise ValueError(f"{rule.mechanism} needs a feed-in price from 0 to the supplier's price")
    return tariff


def _ratio_price(tariff: Tariff, supply_wh: int, demand_wh: int) -> int:
    supplier, feed_in = tariff.supplier_micro_per_kwh, tariff.feed_in_micro_per_kwh
    if supply_wh >= demand_wh:
        return feed_in
    weight = (supplier - feed_in) * supply_wh + feed_in * demand_wh
    return feed_in * supplier * demand_wh // weight if weight else supplier


def _clear_at[K](
    halves: Halves[K], rule: ClearingRule, band: tuple[int, int] | None, tariff_price: int
) -> AuctionResult[K]:
    """Execute what accepts the price, which is kept within the band."""
    price = tariff_price if band is None else min(max(tariff_price, band[0]), band[1])
    volume_wh = min(halves.bids.willing_wh(price), halves.asks.willing_wh(price))
    best_micro = optimum_micro(halves, crossing_of(halves, rule, band))
    if not volume_wh:
        return AuctionResult(None, None, 0, 0, 0, halves.nothing(), (), best_micro, rule.name)
    bid_fills, ask_fills = (
        by_arrival(half, half.willing(price), volume_wh, rule.ties) for half in (halves.bids, halves.asks)
    )
    return AuctionResult(
        price_micro_per_kwh=price,
        price_range=(price, price),
        volume_wh=volume_wh,
        surplus_wh=halves.surplus_wh(price),
        welfare_micro=halves.welfare_micro(bid_fills, ask_fills, price, price),
        fills=halves.fills(bid_fills, ask_fills),
        trades=tuple(trades_by_arrival(halves, bid_fills, ask_fills, price)),
        optimum_micro=best_micro,
        rule=rule.name,
    )


def trades_by_arrival[K](
    halves: Halves[K], bid_fills: Ints, ask_fills: Ints, price: int, fee: int = 0
) -> list[AuctionTrade[K]]:
    """Pair the fills of both sides as the orders arrived."""
    buyers, bought = _as_arrived(halves, halves.bids, bid_fills)
    sellers, sold = _as_arrived(halves, halves.asks, ask_fills)
    return [
        AuctionTrade(buyers[bid], sellers[ask], energy_wh, price, fee)
        for bid, ask, energy_wh in zip(*lay_along(bought, sold), strict=True)
    ]


def _as_arrived[K](halves: Halves[K], half: Half, fills: Ints) -> tuple[list[K], Ints]:
    arrivals = np.argsort(half.places, kind="stable")
    return [halves.orders[place].key for place in half.places[arrivals].tolist()], fills[arrivals]
