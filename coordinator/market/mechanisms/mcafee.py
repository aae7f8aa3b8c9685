"""McAfee's auction: who states the true limit never fares worse by it, at the price of some energy left untraded.

Source: McAfee, "A dominant strategy double auction", Journal of Economic Theory 56 (1992), pages 434 to 450; orders of
many Wh as in Huang, Scheller-Wolf, Sycara, "Design of a multi-unit double auction e-market", Computational
Intelligence 18(4) (2002), pages 596 to 617: the marginal *order* is left out, not the marginal unit.

* Where the crossing volume ends at whole orders on both sides, and the floor of the middle of the first rejected bid
  and the first rejected ask lies between the last accepted ask and bid, all of it executes at that price.
* Else the last accepted order of each side is left out. All other accepted buyers pay its bid, all other accepted
  sellers receive its ask, and the difference is a fee that the community keeps. The side that is then longer
  shares: pro rata to energy or, with ``time``, first come first served.

No accepted order's own limit moves what it pays or receives. That holds for limits, and for accounts with one order;
who overstates its energy gains with ``pro_rata`` shares. ``optimum_micro`` less ``welfare_micro`` is the efficiency
given up: one order at most is left out on each side, and the longer side cannot sell or buy the rest.
A market order that is the last accepted one counts at the band's end; without a band nothing executes then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..rules import ClearingRule, Tariff
from .community import trades_by_arrival
from .halves import Halves, by_arrival
from .shapes import AuctionResult, Offer
from .uniform import crossing_of, halves_of, optimum_micro


@dataclass(frozen=True, slots=True)
class _Winners:
    """How many of each side's best orders trade, and at which prices."""

    bids: int
    asks: int
    buyers_pay: int
    sellers_receive: int


def clear_mcafee[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,  # noqa: ARG001 - every mechanism is called alike
) -> AuctionResult[K]:
    """Clear orders that are given in the order of their arrival; keys must differ."""
    halves = halves_of(orders, rule, band)
    best_micro = optimum_micro(halves, crossing_of(halves, rule, band))
    winners = _winners(halves, band)
    if winners is None:
        return AuctionResult(None, None, 0, 0, 0, halves.nothing(), (), best_micro, rule.name)
    volume_wh = min(int(halves.bids.reach_wh[winners.bids - 1]), int(halves.asks.reach_wh[winners.asks - 1]))
    bid_fills = by_arrival(halves.bids, winners.bids, volume_wh, rule.ties)
    ask_fills = by_arrival(halves.asks, winners.asks, volume_wh, rule.ties)
    low, high = winners.sellers_receive, winners.buyers_pay
    return AuctionResult(
        price_micro_per_kwh=low,
        price_range=(low, high),
        volume_wh=volume_wh,
        surplus_wh=halves.surplus_wh(low),
        welfare_micro=halves.welfare_micro(bid_fills, ask_fills, high, low),
        fills=halves.fills(bid_fills, ask_fills),
        trades=tuple(trades_by_arrival(halves, bid_fills, ask_fills, low, high - low)),
        optimum_micro=best_micro,
        rule=rule.name,
    )


def _winners[K](halves: Halves[K], band: tuple[int, int] | None) -> _Winners | None:
    """Return who trades; ``None`` when nobody is left."""
    volume_wh = halves.crossing_wh()
    if not volume_wh:
        return None
    bid, ask = halves.bids.last(volume_wh), halves.asks.last(volume_wh)
    at_both_ends = halves.bids.reach_wh[bid] == halves.asks.reach_wh[ask]  # it ends where the first does
    value, cost = halves.bids.limit(bid), halves.asks.limit(ask)
    middle = _rejected_middle(halves, bid + 1, ask + 1) if at_both_ends else None
    if middle is not None and (cost is None or cost <= middle) and (value is None or middle <= value):
        return _Winners(bid + 1, ask + 1, middle, middle)
    if band is not None:
        value, cost = band[1] if value is None else value, band[0] if cost is None else cost
    if not bid or not ask or value is None or cost is None:
        return None
    return _Winners(bid, ask, value, cost)


def _rejected_middle[K](halves: Halves[K], bid: int, ask: int) -> int | None:
    """Return the floor of the middle of the first rejected bid and ask, when there are both."""
    if bid >= len(halves.bids.ranks) or ask >= len(halves.asks.ranks):
        return None
    value, cost = halves.bids.limit(bid), halves.asks.limit(ask)
    return None if value is None or cost is None else (value + cost) // 2
