"""Who trades with whom: preferences pair what trades anyway, and then what is left over.

An auction sees an order with preferences at the limit that holds towards anyone. ``pair`` then goes three steps, and
after each of them everybody's gain is at least what the auction gave:

1. Buyers' preferences. Within trades of one price, buyers and sellers are paired anew so that the most preferred energy
   meets; where sellers are too few, those come first who would pay most for it: the difference of their two limits.
   They pay, as in a second-price auction, the premium of those who would have met in their place, and for as much
   energy as those went away without because of them (nothing, where there is enough). The preferred sellers receive it.
2. Sellers' preferences in the same way on what is not yet a preferred pair; the premium is a discount to the buyer.
3. What did not trade at all trades among preferred pairs between their own limits, at the floor of the middle, the pair
   that gains most first.

Everything is deterministic: equals come first as they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..problem import ProblemTrade
from .flow import satisfy
from .leftovers import deals
from .parties import Kinds, Party
from .pools import Pool, along, pools_of

__all__ = ["Party", "pair"]


def pair[K](
    trades: Sequence[ProblemTrade[K]], parties: Sequence[Party[K]], *, by_node: bool = False
) -> tuple[ProblemTrade[K], ...]:
    """Return the trades that replace an auction's, with what preferences add.

    ``parties`` are all orders that were open, as they arrived; keys differ. Trades of other keys (bundles) stay as they
    are. What the auction executed stays the same for each order. ``by_node``: lines divide the market, so what is left
    over trades inside a node only, and pairs meet between the nodes between which they trade.
    """
    if all(party.preferences is None for party in parties):
        return tuple(trades)
    kinds = Kinds(parties)
    mine = [trade for trade in trades if trade.buy in kinds and trade.sell in kinds]
    others = [trade for trade in trades if trade.buy not in kinds or trade.sell not in kinds]
    paired = [trade for pool in pools_of(mine, kinds, by_node=by_node) for trade in _meet(pool, kinds)]
    return (*others, *paired, *_left_over([*others, *paired], parties, kinds, by_node=by_node))


def _meet[K](pool: Pool[K], kinds: Kinds[K]) -> Iterator[ProblemTrade[K]]:
    """Yield the pool's trades: buyers who got whom they prefer, sellers likewise, then all others as they stood."""
    buys, sells = dict(pool.buys), dict(pool.sells)
    for meeting in satisfy(buys, sells, kinds):
        yield pool.trade(meeting.wanting, meeting.offering, meeting.energy_wh, meeting.premium)
    for meeting in satisfy(sells, buys, kinds):
        yield pool.trade(meeting.offering, meeting.wanting, meeting.energy_wh, -meeting.premium)
    for buy, sell, energy_wh in along(buys, sells):
        yield pool.trade(buy, sell, energy_wh)


def _left_over[K](
    trades: Sequence[ProblemTrade[K]], parties: Sequence[Party[K]], kinds: Kinds[K], *, by_node: bool
) -> Iterator[ProblemTrade[K]]:
    left_wh = {party.key: party.energy_wh for party in parties}
    for trade in trades:
        for key in (trade.buy, trade.sell):
            if key in left_wh:
                left_wh[key] -= trade.energy_wh
    apart = sorted(parties, key=lambda party: _market_of(party, by_node))
    for (interval, _), group in groupby(apart, key=lambda party: _market_of(party, by_node)):
        here = {party.key: left_wh[party.key] for party in group}
        for deal in deals(here, kinds):
            yield ProblemTrade(interval, deal.buy, deal.sell, deal.energy_wh, deal.price)


def _market_of[K](party: Party[K], by_node: bool) -> tuple[int, str]:
    return party.interval, party.node if by_node else ""
