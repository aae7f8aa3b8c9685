"""What did not trade in the auction trades among those who prefer one another, between their own limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from ...protocol.messages import Side
from .parties import Kinds, Party


@dataclass(frozen=True, slots=True)
class Deal[K]:
    """A buyer and a seller who agree outside of the auction's price, in 1e-6 currency per kWh."""

    buy: K
    sell: K
    energy_wh: int
    price: int


def deals[K](left_wh: dict[K, int], kinds: Kinds[K]) -> Iterator[Deal[K]]:
    """Yield what the energy left (by order, as they arrived) trades: the pair that gains most comes first.

    At least one of a pair prefers the other, and towards each other their limits must cross. A market order without
    preferences trades at the other's limit. An order with preferences and without a limit says no price: it waits.
    """
    arrival = {key: number for number, key in enumerate(left_wh)}
    queue = [lane for lane in _lanes(left_wh, kinds, arrival) if lane.settle(left_wh)]
    heap = [(lane.rank(), number) for number, lane in enumerate(queue)]
    heapify(heap)
    while heap:
        rank, number = heappop(heap)
        lane = queue[number]
        if not lane.settle(left_wh):
            continue
        if lane.rank() != rank:
            heappush(heap, (lane.rank(), number))
            continue
        buy, sell = lane.buyer.key, lane.seller.key
        energy_wh = min(left_wh[buy], left_wh[sell])
        yield Deal(buy, sell, energy_wh, lane.price)
        left_wh[buy] -= energy_wh
        left_wh[sell] -= energy_wh
        heappush(heap, (rank, number))


@dataclass(frozen=True, slots=True)
class _Part[K]:
    """A party with the limit that holds towards the other side of its lane; ``rank`` puts the best first."""

    rank: tuple[bool, int, int]
    limit: int | None
    party: Party[K]


class _Lane[K]:
    """Buyers and sellers of whom, in each pair, one at least prefers the other, and all alike; both best first."""

    __slots__ = ("_arrival", "_ask", "_bid", "_buyers", "_sellers")

    def __init__(self, buyers: list[_Part[K]], sellers: list[_Part[K]], arrival: dict[K, int]) -> None:
        self._buyers = buyers
        self._sellers = sellers
        self._arrival = arrival
        self._bid = self._ask = 0

    @property
    def buyer(self) -> Party[K]:
        return self._buyers[self._bid].party

    @property
    def seller(self) -> Party[K]:
        return self._sellers[self._ask].party

    @property
    def price(self) -> int:
        """The floor of the middle of both limits; a market order has the other's."""
        value, cost = self._limits()
        return (value + cost) // 2

    def settle(self, left_wh: dict[K, int]) -> bool:
        """Step over who has nothing left; tell whether the best two still agree."""
        while self._bid < len(self._buyers) and not left_wh[self.buyer.key]:
            self._bid += 1
        while self._ask < len(self._sellers) and not left_wh[self.seller.key]:
            self._ask += 1
        if self._bid == len(self._buyers) or self._ask == len(self._sellers):
            return False
        value, cost = self._limits()
        return value >= cost

    def rank(self) -> tuple[int, int, int]:
        """Return what comes first: the largest gain, then the older buyer, then the older seller."""
        value, cost = self._limits()
        return cost - value, self._arrival[self.buyer.key], self._arrival[self.seller.key]

    def _limits(self) -> tuple[int, int]:
        value, cost = self._buyers[self._bid].limit, self._sellers[self._ask].limit
        if value is None:
            value = cost
        if cost is None:
            cost = value
        assert value is not None
        assert cost is not None, "one of the two has preferences, and then a limit"
        return value, cost


def _lanes[K](left_wh: dict[K, int], kinds: Kinds[K], arrival: dict[K, int]) -> Iterator[_Lane[K]]:
    """Yield the lanes in which leftovers meet; each pair that may trade is in one of them.

    A kind of buyers faces the sellers whom it prefers, and a kind of sellers the other buyers whom it prefers. Kinds
    are put together, but for those with market orders, which come first in a lane whatever anybody gains by them.
    """
    open_keys = [key for key, energy_wh in left_wh.items() if energy_wh and _has_price(kinds.party(key))]
    bids, asks = (
        kinds.grouped([key for key in open_keys if kinds.party(key).side is side]) for side in (Side.BUY, Side.SELL)
    )
    wanted, offered = kinds.preferred(bids, asks), kinds.preferred(asks, bids)
    buyers, sellers = _Ranked(bids, kinds, arrival), _Ranked(asks, kinds, arrival)
    for bid, others in wanted.items():
        mutual = [ask for ask in others if kinds.prefers(ask, bid)]
        for group in sellers.apart(mutual):
            yield _Lane(buyers.of((bid,), preferred=True), sellers.of(group, preferred=True), arrival)
        for group in sellers.apart([ask for ask in others if not kinds.prefers(ask, bid)]):
            yield _Lane(buyers.of((bid,), preferred=True), sellers.of(group, preferred=False), arrival)
    for ask, others in offered.items():
        for group in buyers.apart([bid for bid in others if not kinds.prefers(bid, ask)]):
            yield _Lane(buyers.of(group, preferred=False), sellers.of((ask,), preferred=True), arrival)


class _Ranked[K]:
    """One side's parties by kinds, with the limit that holds towards preferred ones or others."""

    def __init__(self, groups: dict[int, list[K]], kinds: Kinds[K], arrival: dict[K, int]) -> None:
        self._groups = groups
        self._kinds = kinds
        self._arrival = arrival
        self._at_market = {kind for kind, keys in groups.items() if any(kinds.party(key).limit is None for key in keys)}
        self._ranked: dict[tuple[tuple[int, ...], bool], list[_Part[K]]] = {}

    def apart(self, kinds: list[int]) -> Iterator[tuple[int, ...]]:
        """Yield all the kinds without market orders together, and each other one by itself."""
        together = tuple(kind for kind in kinds if kind not in self._at_market)
        if together:
            yield together
        yield from ((kind,) for kind in kinds if kind in self._at_market)

    def of(self, group: tuple[int, ...], *, preferred: bool) -> list[_Part[K]]:
        """Return the parties of these kinds that agree; market orders come first, equals as they arrived."""
        known = self._ranked.get((group, preferred))
        if known is None:
            if len(group) == 1:
                parties = (self._kinds.party(key) for key in self._groups[group[0]])
                known = [self._part(party, preferred) for party in parties if preferred or party.takes_part]
            else:
                known = [part for kind in group for part in self.of((kind,), preferred=preferred)]
            known.sort(key=_rank_of)
            self._ranked[group, preferred] = known
        return known

    def _part(self, party: Party[K], preferred: bool) -> _Part[K]:
        limit = party.limit if preferred else party.auction_limit
        worth = 0 if limit is None else limit
        better = -worth if party.side is Side.BUY else worth
        return _Part((limit is not None, better, self._arrival[party.key]), limit, party)


def _rank_of[K](part: _Part[K]) -> tuple[bool, int, int]:
    return part.rank


def _has_price[K](party: Party[K]) -> bool:
    return party.preferences is None or party.limit is not None
