"""Trades that may change their partners without changing anybody's price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..problem import ProblemTrade
from .parties import Kinds


@dataclass(frozen=True, slots=True)
class Pool[K]:
    """What trades in one interval at one price between two nodes: energy by buyer and by seller, as they stood."""

    interval: int
    price: int
    grid_fee: int
    buys: dict[K, int]
    sells: dict[K, int]

    def trade(self, buy: K, sell: K, energy_wh: int, premium: int = 0) -> ProblemTrade[K]:
        """Return a trade at the pool's price and a premium to the seller, in 1e-6 currency per kWh."""
        return ProblemTrade(self.interval, buy, sell, energy_wh, self.price + premium, self.grid_fee)


def along[B, S](buys: Mapping[B, int], sells: Mapping[S, int]) -> Iterator[tuple[B, S, int]]:
    """Lay two equal sums along each other, in their order: what faces what, and with how much energy."""
    sellers = iter(sells.items())
    sell, offered_wh = next(sellers, (None, 0))
    for buy, energy_wh in buys.items():
        wanted_wh = energy_wh
        while wanted_wh:
            while not offered_wh:
                sell, offered_wh = next(sellers)
            assert sell is not None, "what was bought was sold"
            step_wh = min(wanted_wh, offered_wh)
            yield buy, sell, step_wh
            wanted_wh -= step_wh
            offered_wh -= step_wh


def pools_of[K](trades: Sequence[ProblemTrade[K]], kinds: Kinds[K], *, by_node: bool) -> list[Pool[K]]:
    """Return the pools of an auction's trades, in the order of their first trades.

    Where nodes have prices of their own, those who prefer their own node are first given the energy that trades
    within it: all buyers at a node pay the same, wherever their energy comes from, and all sellers receive the same.
    """
    if by_node:
        trades = _nearer(_nearer(trades, kinds, of_buyers=True), kinds, of_buyers=False)
    pools: dict[tuple[object, ...], Pool[K]] = {}
    for trade in trades:
        nodes = (kinds.party(trade.buy).node, kinds.party(trade.sell).node) if by_node else ("", "")
        price, fee = trade.price_micro_per_kwh, trade.grid_fee_micro_per_kwh
        pool = pools.setdefault((trade.interval, nodes, price, fee), Pool(trade.interval, price, fee, {}, {}))
        pool.buys[trade.buy] = pool.buys.get(trade.buy, 0) + trade.energy_wh
        pool.sells[trade.sell] = pool.sells.get(trade.sell, 0) + trade.energy_wh
    return list(pools.values())


def _nearer[K](trades: Sequence[ProblemTrade[K]], kinds: Kinds[K], *, of_buyers: bool) -> list[ProblemTrade[K]]:
    """Exchange one side of the trades at each node and price, so that who prefers its own node trades within it."""
    groups: dict[tuple[object, ...], list[ProblemTrade[K]]] = defaultdict(list)
    for trade in trades:
        own = kinds.party(trade.buy if of_buyers else trade.sell)
        paid = trade.price_micro_per_kwh + (trade.grid_fee_micro_per_kwh if of_buyers else 0)
        groups[trade.interval, own.node, paid].append(trade)
    return [trade for group in groups.values() for trade in _exchanged(group, kinds, of_buyers=of_buyers)]


def _exchanged[K](group: list[ProblemTrade[K]], kinds: Kinds[K], *, of_buyers: bool) -> Iterator[ProblemTrade[K]]:
    owners: dict[K, int] = {}
    for trade in group:
        key = trade.buy if of_buyers else trade.sell
        owners[key] = owners.get(key, 0) + trade.energy_wh
    if not any(_wants_near(key, kinds) for key in owners):
        yield from group
        return
    ranked = sorted(owners, key=lambda key: (not _wants_near(key, kinds), -kinds.party(key).premium))
    slots = {
        number: trade.energy_wh for number, trade in sorted(enumerate(group), key=lambda slot: _is_far(slot[1], kinds))
    }
    for key, number, energy_wh in along({key: owners[key] for key in ranked}, slots):
        trade = replace(group[number], energy_wh=energy_wh)
        yield replace(trade, buy=key) if of_buyers else replace(trade, sell=key)


def _wants_near[K](key: K, kinds: Kinds[K]) -> bool:
    asked = kinds.party(key).preferences
    return asked is not None and asked.local


def _is_far[K](trade: ProblemTrade[K], kinds: Kinds[K]) -> bool:
    return kinds.party(trade.buy).node != kinds.party(trade.sell).node
