"""Pay as bid: each trade at a price of its own between the two limits.

What executes is what the uniform auction executes. The best bid then meets the best ask (merit order), and the price is
``ask + share * (bid - ask)``, rounded down, with the share of the rule (``bid_share_ppm``, 1e-6; one half by default).
A market order has no limit of its own: it trades at the other's, and with another market order at the uniform price.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...protocol.units import MICRO, WH_PER_KWH
from ..rules import ClearingRule, Tariff
from .halves import Halves, lay_along
from .shapes import AuctionResult, AuctionTrade, Offer
from .uniform import Crossing, crossing_of, halves_of, keys_by_merit, optimum_micro


def clear_pay_as_bid[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,  # noqa: ARG001 - every mechanism is called alike
) -> AuctionResult[K]:
    """Clear orders that are given in the order of their arrival; keys must differ.

    Raises ``ValueError`` when the rule's share is not between 0 and 1,000,000.
    """
    if not 0 <= rule.bid_share_ppm <= MICRO:
        raise ValueError(f"bid_share_ppm must be from 0 to {MICRO}, was {rule.bid_share_ppm}")
    halves = halves_of(orders, rule, band)
    crossing = crossing_of(halves, rule, band)
    if crossing is None:
        return AuctionResult(None, None, 0, 0, 0, halves.nothing(), (), 0, rule.name)
    priced = list(_priced(halves, crossing, rule.bid_share_ppm))
    trades = tuple(trade for trade, _ in priced)
    prices = [trade.price_micro_per_kwh for trade in trades]
    mean = sum(trade.energy_wh * trade.price_micro_per_kwh for trade in trades) // crossing.volume_wh
    return AuctionResult(
        price_micro_per_kwh=mean,
        price_range=(min(prices), max(prices)),
        volume_wh=crossing.volume_wh,
        surplus_wh=halves.surplus_wh(mean),
        welfare_micro=sum(gain for _, gain in priced) // WH_PER_KWH,
        fills=halves.fills(crossing.bid_fills, crossing.ask_fills),
        trades=trades,
        optimum_micro=optimum_micro(halves, crossing),
        rule=rule.name,
    )


def _priced[K](halves: Halves[K], crossing: Crossing, share_ppm: int) -> Iterator[tuple[AuctionTrade[K], int]]:
    """Yield each trade with what both sides gain by it, in 1e-6 currency per kWh times Wh."""
    buyers, sellers = keys_by_merit(halves, halves.bids), keys_by_merit(halves, halves.asks)
    bid_limits, ask_limits = halves.bids.limits(len(buyers)), halves.asks.limits(len(sellers))
    for bid, ask, energy_wh in zip(*lay_along(crossing.bid_fills, crossing.ask_fills), strict=True):
        value, cost = bid_limits[bid], ask_limits[ask]
        if value is None:
            value = crossing.price if cost is None else cost
        if cost is None:
            cost = value
        price = cost + share_ppm * (value - cost) // MICRO
        yield AuctionTrade(buyers[bid], sellers[ask], energy_wh, price), energy_wh * (value - cost)
