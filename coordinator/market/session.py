"""What a session's quantities come to, in exact integers: demand and supply of a node, shares and families of bundles.

``worth`` is counted in 1e-6 currency per kWh times Wh, so that nothing is rounded; a thousand of it are 1e-6 currency.
In it a market order is worth the utmost price, so that it comes before every limit order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import gcd
from operator import attrgetter
from typing import Any

import numpy as np

from ..protocol.messages import Side
from .mechanisms.halves import Half, Halves, Ints
from .problem import BundleOrder, Problem

type Place = tuple[int, str]
type Shares = Mapping[bytes, int]

_ENERGY, _INTERVAL, _NODE, _PRICE = map(attrgetter, ("energy_wh", "interval", "node", "price"))
_MARKET = 10**15  # beyond every price there is
_GIVEN = 2 * _MARKET  # what bundles and lines bring or take goes before all single orders
EXACT_BELOW = 2**62
"""Where a sum or a product could reach this, arrays hold Python's integers instead of 64-bit ones."""
_RADIX_BELOW = 2**15  # numpy sorts whole numbers of 16 bits in linear time
_NO_INTS: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Margin:
    """What single orders at a node buy and sell, and the prices that support just that (``None``: no bound)."""

    bought_wh: int
    sold_wh: int
    low: int | None
    high: int | None


@dataclass(slots=True)
class Curve:
    """A node's single orders in one interval, each side sorted as a call auction sorts it.

    A side's ``places`` are those in ``Problem.orders``. Sums and products are exact, as in ``mechanisms.halves``.
    """

    bids: Half = field(default_factory=lambda: _half(_NO_INTS, _NO_INTS, _NO_INTS, -1))
    asks: Half = field(default_factory=lambda: _half(_NO_INTS, _NO_INTS, _NO_INTS, 1))
    _absorbed: dict[tuple[int, tuple[int, int] | None], Margin | None] = field(default_factory=dict)

    @property
    def has_market_orders(self) -> bool:
        """Whether there is an order without a limit."""
        return bool(self.bids.at_market or self.asks.at_market)

    @property
    def utmost_limits(self) -> Iterator[int]:
        """The lowest and the highest limit of each side that has any."""
        for half in (self.bids, self.asks):
            if len(half.ranks) > half.at_market:
                yield half.sign * int(half.ranks[half.at_market])
                yield half.sign * int(half.ranks[-1])

    def limited(self, edges: tuple[int, int]) -> tuple[Half, Half]:
        """Return both sides with market orders as limit orders at the utmost prices."""
        return _limited(self.bids, edges[1]), _limited(self.asks, edges[0])

    def absorb(self, given_wh: int, edges: tuple[int, int] | None = None) -> Margin | None:
        """Trade as much as can be with what comes from elsewhere (or, negative, goes there); ``None``: too much.

        With ``edges`` market orders bound the price like limit orders at the utmost prices.
        """
        known = given_wh, edges
        if known not in self._absorbed:
            self._absorbed[known] = self._absorb(given_wh, edges)
        return self._absorbed[known]

    def _absorb(self, given_wh: int, edges: tuple[int, int] | None) -> Margin | None:
        if not -self.asks.total_wh <= given_wh <= self.bids.total_wh:
            return None
        bids, asks = (self.bids, self.asks) if edges is None else self.limited(edges)
        if given_wh > 0:
            asks = _before(given_wh, asks)
        elif given_wh < 0:
            bids = _before(-given_wh, bids)
        volume_wh = Halves((), bids, asks).crossing_wh()
        if volume_wh < abs(given_wh):
            return None
        (bid, next_bid), (ask, next_ask) = _margin(bids, volume_wh), _margin(asks, volume_wh)
        lows = [price for price in (ask, next_bid) if price is not None]
        highs = [price for price in (bid, next_ask) if price is not None]
        bought, sold = volume_wh - max(-given_wh, 0), volume_wh - max(given_wh, 0)
        return Margin(bought, sold, max(lows, default=None), min(highs, default=None))

    def worth(self, margin: Margin, edges: tuple[int, int]) -> int:
        """Return the value of what is bought less the cost of what is sold."""
        return _worth(self.bids, margin.bought_wh, edges[1]) - _worth(self.asks, margin.sold_wh, edges[0])


def _half(places: Ints, ranks: Ints, energy_wh: Ints, sign: int) -> Half:
    """Sort one side; ``places`` ascend, and the rank of a market order is what stands for it."""
    best = np.argsort(ranks, kind="stable")
    ranks, energy_wh = ranks[best], energy_wh[best]
    at_market = int(np.searchsorted(ranks, -_MARKET, "right"))
    return Half(places[best], ranks, energy_wh, np.cumsum(energy_wh), at_market, sign)


def _limited(half: Half, price: int) -> Half:
    if not half.at_market:
        return half
    ranks = half.ranks.copy()
    ranks[: half.at_market] = half.sign * price
    return replace(half, ranks=ranks, at_market=0)


def _before(given_wh: int, half: Half) -> Half:
    """Put energy that asks for no price before all orders of a side."""
    return replace(
        half,
        places=np.concatenate([[-1], half.places]),
        ranks=np.concatenate([np.array([-_GIVEN], dtype=half.ranks.dtype), half.ranks]),
        energy_wh=np.concatenate([np.array([given_wh], dtype=half.energy_wh.dtype), half.energy_wh]),
        reach_wh=np.concatenate([np.array([given_wh], dtype=half.reach_wh.dtype), half.reach_wh + given_wh]),
        at_market=half.at_market + 1,
    )


def _margin(half: Half, volume_wh: int) -> tuple[int | None, int | None]:
    """Return the limit of the last order accepted and of the first one not wholly accepted."""
    following = max(int(np.searchsorted(half.reach_wh, volume_wh, "right")), half.at_market)
    return (
        half.limit(half.last(volume_wh)) if volume_wh else None,
        half.limit(following) if following < len(half.ranks) else None,
    )


def _worth(half: Half, volume_wh: int, market_price: int) -> int:
    """Return the sum of energy times limit over the best orders."""
    if not volume_wh:
        return 0
    count = half.last(volume_wh) + 1
    parts = half.energy_wh[:count].copy()
    parts[-1] -= half.reach_wh[count - 1] - volume_wh
    at_market = min(half.at_market, count)
    at_limits = int((parts[at_market:] * half.ranks[at_market:count]).sum())
    return half.sign * at_limits + market_price * int(parts[:at_market].sum())


def curves_of(problem: Problem[bytes]) -> dict[Place, Curve]:
    """Return the single orders by interval and node."""
    curves: dict[Place, Curve] = {}
    if not problem.orders:
        return curves
    sell = Side.SELL
    is_sell = np.frombuffer(bytes([order.side is sell for order in problem.orders]), dtype=np.bool)
    energy_wh, ranks = _columns(problem, is_sell)
    nodes, codes = _places(problem)
    for is_ask in (False, True):
        places = np.flatnonzero(is_sell == is_ask)
        places = places[np.argsort(codes[places], kind="stable")]
        starts = np.flatnonzero(np.diff(codes[places], prepend=-1))
        for own in np.split(places, starts[1:]) if len(places) else ():
            interval, node = divmod(int(codes[own[0]]), len(nodes))
            curve = curves.setdefault((interval, nodes[node]), Curve())
            half = _half(own, ranks[own], energy_wh[own], 1 if is_ask else -1)
            if is_ask:
                curve.asks = half
            else:
                curve.bids = half
    return curves


def _places(problem: Problem[bytes]) -> tuple[list[str], Ints]:
    """Return the nodes, and for each order its interval times their count plus its node's number among them."""
    orders, count = problem.orders, len(problem.orders)
    nodes = sorted(set(map(_NODE, orders)))
    numbers = {node: number for number, node in enumerate(nodes)}
    node: Ints = np.fromiter(map(numbers.__getitem__, map(_NODE, orders)), dtype=np.int64, count=count)
    codes: Ints = np.fromiter(map(_INTERVAL, orders), dtype=np.int64, count=count) * len(nodes) + node
    return nodes, codes.astype(np.int16) if codes.max() < _RADIX_BELOW else codes


def _columns(problem: Problem[bytes], is_sell: Ints) -> tuple[Ints, Ints]:
    """Return the orders' energies and ranks: asks' limits, bids' with the sign changed."""
    at_market = _NO_INTS
    energy_wh = _whole(list(map(_ENERGY, problem.orders)))
    prices: list[int | None] = list(map(_PRICE, problem.orders))
    try:
        limits = _whole(prices)
    except TypeError:
        at_market = np.flatnonzero([price is None for price in prices])
        limits = _whole([price or 0 for price in prices])
    low, high = _edges(problem, (int(limits.min()), int(limits.max())))
    total_wh = len(energy_wh) * int(energy_wh.max()) + sum(wh for b in problem.bundles for _, wh in b.energy_wh)
    if (total_wh + 1) * (max(-low, high) + 1) >= EXACT_BELOW:
        energy_wh, limits = energy_wh.astype(object), limits.astype(object)
    ranks = np.where(is_sell, limits, -limits)
    ranks[at_market] = -_MARKET
    return energy_wh, ranks


def _whole(values: Sequence[int | None]) -> Ints:
    """Return 64-bit integers, or Python's where one does not fit; raise ``TypeError`` when one is ``None``."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        kind: Any = object
        if None in values:
            raise TypeError from None
        return np.array(values, dtype=kind)


def edges_of(problem: Problem[bytes], curves: Mapping[Place, Curve]) -> tuple[int, int]:
    """Return the utmost prices: the band's, or where there is none just beyond every limit and way."""
    return _edges(problem, chain.from_iterable(curve.utmost_limits for curve in curves.values()))


def _edges(problem: Problem[bytes], singles: Iterable[int]) -> tuple[int, int]:
    bundles = problem.bundles
    limits = [*singles, *(bundle.price for bundle in bundles)]
    limits += [limit for bundle in bundles for _, limit in bundle.leg_limits]
    if problem.band is not None:
        low, high = problem.band
        return min(low, min(limits, default=low)), max(high, max(limits, default=high))
    limits += [] if problem.rule.reference_price is None else [problem.rule.reference_price]
    ways = 1 + sum(line.fee_micro_per_kwh for line in problem.lines)
    return min(limits, default=0) - ways, max(limits, default=0) + ways


def steps_of(bundle: BundleOrder[bytes]) -> int:
    """Return in how many steps of whole Wh in every leg the bundle can be shared: its legs' common divisor."""
    return gcd(*(energy_wh for _, energy_wh in bundle.energy_wh))


def least_steps(bundle: BundleOrder[bytes]) -> int:
    """Return the fewest steps that may be accepted."""
    numerator, denominator = bundle.min_acceptance
    return max(1, -(-steps_of(bundle) * numerator // denominator))


def legs(bundle: BundleOrder[bytes], steps: int) -> Iterator[tuple[int, int]]:
    """Yield interval and energy of each leg when this many steps are accepted."""
    whole = steps_of(bundle)
    return ((interval, energy_wh * steps // whole) for interval, energy_wh in bundle.energy_wh)


def given_by_bundles(problem: Problem[bytes], shares: Shares) -> dict[Place, int]:
    """Return what accepted bundles bring to each node, less what they take."""
    given: defaultdict[Place, int] = defaultdict(int)
    for bundle in problem.bundles:
        sign = 1 if bundle.side is Side.SELL else -1
        for interval, energy_wh in legs(bundle, shares.get(bundle.key, 0)):
            given[interval, bundle.node] += sign * energy_wh
    return given


def given_by_lines(problem: Problem[bytes], flows: Sequence[Sequence[int]]) -> dict[Place, int]:
    """Return what the lines bring to each node, less what they take away."""
    given: defaultdict[Place, int] = defaultdict(int)
    for interval, carried in enumerate(flows):
        for line, flow_wh in zip(problem.lines, carried, strict=True):
            given[interval, line.target] += flow_wh
            given[interval, line.source] -= flow_wh
    return given


def worth_of_bundles(problem: Problem[bytes], shares: Shares) -> int:
    """Return what the accepted bundles are worth at their own prices."""
    return sum(
        (1 if bundle.side is Side.BUY else -1) * bundle.price * energy_wh
        for bundle in problem.bundles
        if bundle.key in shares
        for _, energy_wh in legs(bundle, shares[bundle.key])
    )


def cost_of_lines(problem: Problem[bytes], flows: Sequence[Sequence[int]]) -> int:
    """Return what the use of the lines costs."""
    fees = [line.fee_micro_per_kwh for line in problem.lines]
    return sum(fee * abs(flow) for carried in flows for fee, flow in zip(fees, carried, strict=True))


def families(problem: Problem[bytes], accepted: Shares) -> dict[bytes, frozenset[bytes]]:
    """Return for each accepted bundle whose surplus counts with its own: spread partners and children, and theirs."""
    tied: defaultdict[bytes, set[bytes]] = defaultdict(set)
    spreads: defaultdict[str, list[bytes]] = defaultdict(list)
    for bundle in problem.bundles:
        if bundle.key in accepted:
            if bundle.parent is not None:
                tied[bundle.parent].add(bundle.key)
            if bundle.spread is not None:
                spreads[bundle.spread].append(bundle.key)
    for pair in spreads.values():
        for key in pair:
            tied[key].update(pair)
    return {key: _reached(key, tied) for key in accepted}


def _reached(key: bytes, tied: Mapping[bytes, set[bytes]]) -> frozenset[bytes]:
    found, ahead = {key}, [key]
    while ahead:
        new = tied.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return frozenset(found)


def breach_of_rules(problem: Problem[bytes], shares: Shares) -> str | None:
    """Return which rule of bundles the shares break: their least share, parents, groups, spreads."""
    by_key = {bundle.key: bundle for bundle in problem.bundles}
    groups: set[str] = set()
    for key, steps in shares.items():
        bundle = by_key.get(key)
        if bundle is None:
            return "accepts a bundle that there is not"
        if not least_steps(bundle) <= steps <= steps_of(bundle):
            return "accepts a share that a bundle does not allow"
        if bundle.parent is not None and bundle.parent not in shares:
            return "accepts a bundle without its parent"
        if bundle.group in groups:
            return "accepts two bundles of one group"
        groups |= {bundle.group} if bundle.group is not None else set()
    spreads: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for bundle in problem.bundles:
        if bundle.spread is not None:
            spreads[bundle.spread].add((shares.get(bundle.key, 0), steps_of(bundle)))
    if any(a * h != b * g for shared in spreads.values() for a, g in shared for b, h in shared):
        return "accepts a spread's two bundles with different shares"
    return None
