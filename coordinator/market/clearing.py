"""Sessions and closing auctions: the solver proposes, exact integers dispose.

``clear`` is deterministic and needs no solver: the log keeps the proposal, so a replay comes to the same result. A
proposal that breaks a single rule is not mended but put aside, and the auction is held without bundles and without the
network's lines, each node alone: in the intervals of the fault, and those that bundles couple to them, where it is one
of single intervals, else in all. ``Result.outcome`` then says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ..protocol.messages import Side
from ..protocol.units import WH_PER_KWH
from .auction import AuctionResult
from .auction import clear as clear_auction
from .pairing import pair
from .parts import coupled_with, proposed_without, without
from .price_rule import rule_prices
from .prices import (
    Range,
    Support,
    breaches_of_support,
    losers,
    margins_of,
    support_of,
    surplus_of,
    unbalanced,
)
from .problem import BundleOrder, IntervalResult, NetworkLine, Problem, ProblemTrade, Result, SingleOrder
from .proposal import NodePrice, Proposal
from .ranges import bound_by_bundles, idle_places, take_back
from .session import (
    Curve,
    Margin,
    Place,
    Shares,
    breach_of_rules,
    cost_of_lines,
    curves_of,
    edges_of,
    steps_of,
    worth_of_bundles,
)

OPTIMAL, FEASIBLE, FALLBACK = "optimal", "feasible", "fallback"
_TRIES = 8  # no more than checks that name intervals


def clear(problem: Problem[bytes], proposal: Proposal | None = None, failure: str = "") -> Result[bytes]:
    """Return what the auction comes to: each node alone where nothing couples, else as proposed if that stands."""
    if not problem.needs_solver:
        return _each_alone(problem, OPTIMAL if problem.rule.mechanism == "uniform" else FEASIBLE)
    if proposal is None:
        return _each_alone(problem, f"{FALLBACK}: {failure or 'no proposal'}")
    curves = curves_of(problem)
    left, kept, fallen, cause = problem, proposal, set[int](), ""
    for _ in range(_TRIES):
        try:
            dispatch = _examine(left, curves, kept, fallen)
        except _BreachError as breach:
            cause = cause or str(breach)
            more = coupled_with(problem, fallen | breach.intervals)
            if not breach.intervals or not fallen < more < set(range(len(problem.intervals))):
                break
            fallen, left = more, without(problem, more)
            kept, curves = proposed_without(left, proposal, fallen), curves_of(left)
        else:
            result = _as_proposed(left, curves, kept, dispatch)
            return _in_part(problem, result, fallen, cause) if fallen else result
    return _each_alone(problem, f"{FALLBACK}: the proposal {cause}")


def _in_part(problem: Problem[bytes], rest: Result[bytes], fallen: set[int], cause: str) -> Result[bytes]:
    """Return the rest as proposed with the fallen intervals, in which each node is alone, and say which these are."""
    orders = tuple(order for order in problem.orders if order.interval in fallen)
    alone = _each_alone(replace(problem, orders=orders), "")
    intervals = tuple((alone if index in fallen else rest).intervals[index] for index in range(len(problem.intervals)))
    prices = {(at, node.node): node.price_micro_per_kwh for at, here in enumerate(intervals) for node in here.nodes}
    fills = {order.key: (alone if order.interval in fallen else rest).fills[order.key] for order in problem.orders}
    shares = {key: steps for key, steps, _ in rest.accepted}
    worth = sum(
        _worth([order], fills, prices[order.interval, order.node]) for order in problem.orders if fills[order.key]
    )
    worth += worth_of_bundles(problem, shares) - cost_of_lines(problem, [here.flows_wh for here in intervals])
    names = ", ".join(map(str, sorted(fallen)))
    return Result(
        intervals,
        fills,
        rest.accepted,
        paradoxically_rejected(problem, shares, prices),
        tuple(sorted((*rest.trades, *alone.trades), key=lambda trade: trade.interval)),
        worth // WH_PER_KWH,
        None,
        f"partial {FALLBACK}: interval{'s' if len(fallen) > 1 else ''} {names}: the proposal {cause}",
        tuple(sorted(fallen)),
    )


def paradoxically_rejected(problem: Problem[bytes], shares: Shares, prices: Mapping[Place, int]) -> tuple[bytes, ...]:
    """Return the bundles that would have gained at the prices and were rejected all the same.

    A spread's two bundles count together. Not among them: who has a parent that is rejected too, another of its group
    that is accepted, a leg whose price breaks the leg's own limit or is not known.
    """
    taken = {bundle.group for bundle in problem.bundles if bundle.key in shares and bundle.group is not None}
    units: defaultdict[tuple[str, str | bytes], list[BundleOrder[bytes]]] = defaultdict(list)
    for bundle in problem.bundles:
        units[("alone", bundle.key) if bundle.spread is None else ("spread", bundle.spread)].append(bundle)
    found: set[bytes] = set()
    for unit in units.values():
        could = all(_could(bundle, shares, prices, taken) for bundle in unit)
        if could and sum(surplus_of(bundle, steps_of(bundle), prices) for bundle in unit) > 0:
            found.update(bundle.key for bundle in unit)
    return tuple(bundle.key for bundle in problem.bundles if bundle.key in found)


def _could(
    bundle: BundleOrder[bytes], shares: Shares, prices: Mapping[Place, int], taken: Iterable[str | None]
) -> bool:
    """Tell whether only the auction's choice kept the bundle out."""
    if bundle.key in shares or bundle.group in taken:
        return False
    if bundle.parent is not None and bundle.parent not in shares:
        return False
    if any((interval, bundle.node) not in prices for interval, _ in bundle.energy_wh):
        return False
    sign = 1 if bundle.side is Side.SELL else -1
    return all(sign * (prices[interval, bundle.node] - limit) >= 0 for interval, limit in bundle.leg_limits)


class _BreachError(Exception):
    """What the proposal does that it must not; ``intervals`` are those that would stand without it."""

    def __init__(self, cause: str, intervals: Iterable[int] = ()) -> None:
        super().__init__(cause)
        self.intervals = set(intervals)


@dataclass(frozen=True, slots=True)
class _Dispatch:
    """A proposal that stands: its shares (in steps), flows and prices, and what they mean for single orders."""

    shares: dict[bytes, int]
    flows: tuple[tuple[int, ...], ...]
    prices: dict[Place, int]
    margins: dict[Place, Margin]
    support: Support
    worth: int


def _examine(
    problem: Problem[bytes], curves: Mapping[Place, Curve], proposal: Proposal, fallen: Collection[int]
) -> _Dispatch:
    """Return what the proposal comes to; raise ``_BreachError`` with the first thing that does not hold.

    In the ``fallen`` intervals, where each node is alone, it need not name prices.
    """
    shares, flows, prices = _shares(problem, proposal), _flows(problem, proposal), _prices(proposal)
    margins = margins_of(problem, curves, shares, flows)
    if margins is None:
        raise _BreachError("does not balance", unbalanced(problem, curves, shares, flows))
    _check_ways(problem, curves, shares, flows)
    support = support_of(problem, margins, shares, flows)
    _refuse(
        (interval, f"leaves no price in interval {interval}")
        for interval, nodes in support.nodes().items()
        if not support.tighten(interval, nodes)
    )
    edges = edges_of(problem, curves)
    ruled = rule_prices(problem, support, shares, edges)
    given = {**prices, **{place: price for place, price in ruled.items() if place[0] in fallen}}
    named = {place: given[place] for place in support.ranges if place in given}
    _refuse(breaches_of_support(support, named, problem.band))
    if losers(problem, shares, named):
        raise _BreachError("accepts a bundle that loses at its prices")
    worth = sum(curves[place].worth(margin, edges) for place, margin in margins.items() if place in curves)
    worth += worth_of_bundles(problem, shares) - cost_of_lines(problem, flows)
    if not fallen:
        _check_stated(proposal, worth)
    if any(curve.has_market_orders for curve in curves.values()):
        _check_worth(curves, worth, edges)
    _refuse(
        (interval, f"names another price for {node!r} in interval {interval} than the rule has")
        for (interval, node), price in ruled.items()
        if named[interval, node] != price
    )
    return _Dispatch(shares, flows, named, margins, support, worth)


def _refuse(faults: Iterable[tuple[int, str]]) -> None:
    """Raise with the first fault's cause and the intervals of all."""
    if found := list(faults):
        raise _BreachError(found[0][1], (interval for interval, _ in found))


def _shares(problem: Problem[bytes], proposal: Proposal) -> dict[bytes, int]:
    steps = {bundle.key: steps_of(bundle) for bundle in problem.bundles}
    shares: dict[bytes, int] = {}
    for accepted in proposal.accepted:
        whole = steps.get(accepted.bundle)
        if whole is None or accepted.bundle in shares or accepted.denominator != whole:
            raise _BreachError("names a bundle's share that there is not")
        shares[accepted.bundle] = accepted.numerator
    breach = breach_of_rules(problem, shares)
    if breach is not None:
        raise _BreachError(breach)
    return shares


def _flows(problem: Problem[bytes], proposal: Proposal) -> tuple[tuple[int, ...], ...]:
    if tuple(interval.delivery_start for interval in proposal.intervals) != problem.intervals:
        raise _BreachError("is for other intervals")
    if any(len(proposed.flows_wh) != len(problem.lines) for proposed in proposal.intervals):
        raise _BreachError("is for other lines")
    _refuse(
        (index, f"overloads the line from {line.source!r} to {line.target!r} in interval {index}")
        for index, proposed in enumerate(proposal.intervals)
        for line, flow_wh in zip(problem.lines, proposed.flows_wh, strict=True)
        if not _carries(line, index, flow_wh)
    )
    return tuple(proposed.flows_wh for proposed in proposal.intervals)


def _carries(line: NetworkLine, interval: int, flow_wh: int) -> bool:
    most, least = line.forward_wh[interval], line.backward_wh[interval]
    return (most is None or flow_wh <= most) and (least is None or flow_wh >= -least)


def _prices(proposal: Proposal) -> dict[Place, int]:
    prices = {
        (index, node): price for index, proposed in enumerate(proposal.intervals) for node, price in proposed.prices
    }
    if len(prices) != sum(len(proposed.prices) for proposed in proposal.intervals):
        raise _BreachError("names a node's price twice")
    return prices


def _check_ways(
    problem: Problem[bytes], curves: Mapping[Place, Curve], shares: Shares, flows: tuple[tuple[int, ...], ...]
) -> None:
    """Refuse flows that leave a market order waiting which they could serve: with it, no price would support them."""
    if not problem.lines or not any(curve.has_market_orders for curve in curves.values()):
        return
    cause, edges = "leaves a market order waiting that could trade", edges_of(problem, curves)
    strict = margins_of(problem, curves, shares, flows, edges)
    if strict is None:
        raise _BreachError(cause, unbalanced(problem, curves, shares, flows, edges))
    support = support_of(problem, strict, {}, flows)
    _refuse((at, cause) for at, nodes in support.nodes().items() if not support.tighten(at, nodes))


def _check_stated(proposal: Proposal, worth: int) -> None:
    """Refuse what is not stated rightly."""
    if proposal.welfare_micro != worth // WH_PER_KWH:
        raise _BreachError(f"says it is worth {proposal.welfare_micro}, it is worth {worth // WH_PER_KWH}")
    if proposal.bound_micro is not None and proposal.bound_micro < proposal.welfare_micro:
        raise _BreachError("is worth more than the most that it says there can be")


def _check_worth(curves: Mapping[Place, Curve], worth: int, edges: tuple[int, int]) -> None:
    """Refuse what is worth less than what the curves trade alone.

    Where all orders have limits it follows from the prices: no other fills have more worth at them.
    """
    alone = 0
    for curve in curves.values():
        margin = curve.absorb(0)
        assert margin is not None
        alone += curve.worth(margin, edges)
    if worth < alone:
        raise _BreachError("is worth less than an auction without bundles and lines")


def _as_proposed(
    problem: Problem[bytes], curves: Mapping[Place, Curve], proposal: Proposal, dispatch: _Dispatch
) -> Result[bytes]:
    shares, flows, prices = dispatch.shares, dispatch.flows, dispatch.prices
    fills, trades, volumes = pair(problem, curves, dispatch.margins, shares, flows, prices)
    welfare = dispatch.worth - _beyond_prices(problem, curves, fills, prices)
    bound_by_bundles(problem, dispatch.support, shares, prices)
    idle = idle_places(problem, dispatch.support, shares, fills, flows)
    trades, flows, undone = take_back(problem, idle, fills, volumes, trades, flows)
    welfare, prices = welfare - undone, {place: price for place, price in prices.items() if place not in idle}
    nodes: defaultdict[int, list[NodePrice]] = defaultdict(list)
    for (interval, node), price in sorted(prices.items()):
        nodes[interval].append(NodePrice(node, price, _ends(dispatch.support.ranges[interval, node], price)))
    gap = None if proposal.bound_micro is None else proposal.bound_micro - proposal.welfare_micro
    return Result(
        tuple(
            IntervalResult(tuple(nodes[interval]), volumes[interval], flows[interval])
            for interval in range(len(problem.intervals))
        ),
        fills,
        tuple((b.key, shares[b.key], steps_of(b)) for b in problem.bundles if b.key in shares),
        paradoxically_rejected(problem, shares, prices),
        tuple(trades),
        welfare // WH_PER_KWH,
        None if gap is None else welfare // WH_PER_KWH + gap,
        OPTIMAL if gap == 0 else FEASIBLE,
    )


def _ends(here: Range, price: int) -> tuple[int, int]:
    """Return a range's two ends; where one has no bound it reaches from the other to the price."""
    low = min(price, price if here.high is None else here.high) if here.low is None else here.low
    return low, max(price, low) if here.high is None else here.high


def _beyond_prices(
    problem: Problem[bytes], curves: Mapping[Place, Curve], fills: Mapping[bytes, int], prices: Mapping[Place, int]
) -> int:
    """Return how much more market orders are worth at the utmost prices than at their own, where they count."""
    waiting = [(place, curve) for place, curve in curves.items() if curve.has_market_orders]
    low, high = edges_of(problem, curves) if waiting else (0, 0)
    beyond = 0
    for place, curve in waiting:
        for half in (curve.bids, curve.asks):
            keys = (problem.orders[at].key for at in half.places[: half.at_market].tolist())
            if filled_wh := sum(fills[key] for key in keys):
                beyond += filled_wh * (high - prices[place] if half.sign < 0 else prices[place] - low)
    return beyond


def _each_alone(problem: Problem[bytes], outcome: str) -> Result[bytes]:
    """Hold a call auction of its own at each node in each interval, without bundles and lines."""
    orders: dict[int, dict[str, list[SingleOrder[bytes]]]] = defaultdict(lambda: defaultdict(list))
    for order in problem.orders:
        orders[order.interval][order.node].append(order)
    fills: dict[bytes, int] = dict.fromkeys((order.key for order in problem.orders), 0)
    intervals: list[IntervalResult] = []
    trades: list[ProblemTrade[bytes]] = []
    known: dict[Place, int] = {}
    welfare = 0
    for index in range(len(problem.intervals)):
        prices: list[NodePrice] = []
        volume_wh = 0
        for node, here in sorted(orders[index].items()):
            auction = _auction(problem, here)
            fills.update(auction.fills)
            volume_wh += auction.volume_wh
            if auction.price_micro_per_kwh is not None and auction.price_range is not None:
                prices.append(NodePrice(node, auction.price_micro_per_kwh, auction.price_range))
                known[index, node] = auction.price_micro_per_kwh
                welfare += _worth(here, auction.fills, auction.price_micro_per_kwh)
            trades += _trades(index, auction)
        intervals.append(IntervalResult(tuple(prices), volume_wh, (0,) * len(problem.lines)))
    bound = welfare // WH_PER_KWH if outcome == OPTIMAL else None
    missed = paradoxically_rejected(problem, {}, known)
    return Result(tuple(intervals), fills, (), missed, tuple(trades), welfare // WH_PER_KWH, bound, outcome)


def _auction(problem: Problem[bytes], orders: list[SingleOrder[bytes]]) -> AuctionResult[bytes]:
    return clear_auction(orders, problem.rule, problem.band, problem.tariff)


def _trades(interval: int, auction: AuctionResult[bytes]) -> list[ProblemTrade[bytes]]:
    return [
        ProblemTrade(
            interval, trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh, trade.fee_micro_per_kwh
        )
        for trade in auction.trades
    ]


def _worth(orders: list[SingleOrder[bytes]], fills: dict[bytes, int], price: int) -> int:
    """Return the bids' value less the asks' cost in 1e-6 Wh of currency per kWh; market orders at the price."""
    return sum(
        (1 if order.side is Side.BUY else -1) * fills[order.key] * (price if order.price is None else order.price)
        for order in orders
    )
