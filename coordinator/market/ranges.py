"""What is published of an auction's prices: how far each may go, and where there is none; in exact integers.

A price's range is as far as the prices of its interval may go while those of the other intervals stay: every single
order, line and leg's limit still agrees, and no accepted bundle loses, counted with its family. (Where a family has
legs at several nodes of one interval, the other nodes' prices stay too.) There is no price where nothing trades that
anything would bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ..protocol.messages import Side
from .prices import Support, surplus_of
from .problem import Problem, ProblemTrade
from .session import Place, Shares, cost_of_lines, families, legs

type Flows = tuple[tuple[int, ...], ...]


def bound_by_bundles(problem: Problem[bytes], support: Support, shares: Shares, prices: Mapping[Place, int]) -> None:
    """Narrow the ranges to where the accepted bundles do not lose; ``prices`` are in them and stay there."""
    bundles = {bundle.key: bundle for bundle in problem.bundles if bundle.key in shares}
    for family in {*families(problem, shares).values()}:
        surplus = sum(surplus_of(bundles[key], shares[key], prices) for key in family)
        weights: defaultdict[Place, int] = defaultdict(int)
        for key in family:
            sign = 1 if bundles[key].side is Side.SELL else -1
            for interval, energy_wh in legs(bundles[key], shares[key]):
                weights[interval, bundles[key].node] += sign * energy_wh
        for place, weight in weights.items():
            if weight > 0:
                support.ranges[place].at_least(prices[place] - surplus // weight)
            elif weight < 0:
                support.ranges[place].at_most(prices[place] + surplus // -weight)
    for interval, nodes in support.nodes().items():
        support.tighten(interval, nodes)


def _unbounded(problem: Problem[bytes], support: Support, shares: Shares, flows: Flows) -> set[Place]:
    """Return the places whose price nothing bounds, nor that of any node which energy flows to or from.

    Only market orders can trade there.
    """
    bounded = {place for place, here in support.ranges.items() if here.low is not None or here.high is not None}
    bounded |= {(at, b.node) for b in problem.bundles if b.key in shares for at, _ in b.energy_wh}
    ways = _ways(problem, flows) if support.ranges.keys() - bounded else []
    known = 0
    while known < len(bounded):
        known = len(bounded)
        for ends in ways:
            bounded |= ends if ends & bounded else set()
    return support.ranges.keys() - bounded


def _ways(problem: Problem[bytes], flows: Flows) -> list[set[Place]]:
    """Return the two ends of each line in each interval in which energy flows."""
    return [
        {(interval, line.source), (interval, line.target)}
        for interval, carried in enumerate(flows)
        for line, flow_wh in zip(problem.lines, carried, strict=True)
        if flow_wh
    ]


def idle_places(
    problem: Problem[bytes], support: Support, shares: Shares, fills: Mapping[bytes, int], flows: Flows
) -> set[Place]:
    """Return the places that come to no price: of those whose price nothing bounds the ones where nothing trades.

    It is all of them where neither a band nor a reference price says what market orders alone pay: they do not trade
    then, as in a call auction.
    """
    free = _unbounded(problem, support, shares, flows)
    if not free or (problem.band is None and problem.rule.reference_price is None):
        return free
    busy = {(order.interval, order.node) for order in problem.orders if fills[order.key]}
    return free - busy.union(*_ways(problem, flows))


def take_back(
    problem: Problem[bytes],
    places: set[Place],
    fills: dict[bytes, int],
    volumes: list[int],
    trades: list[ProblemTrade[bytes]],
    flows: Flows,
) -> tuple[list[ProblemTrade[bytes]], Flows, int]:
    """Undo what market orders traded at places without a price; return what trades and flows are left.

    Their ``fills`` become none and the ``volumes`` less. The last value is what the undone was worth.
    """
    if not places:
        return trades, flows, 0
    keys = {order.key for order in problem.orders if (order.interval, order.node) in places and fills[order.key]}
    if not keys:
        return trades, flows, 0
    worth, kept = 0, []
    for trade in trades:
        if trade.buy in keys:
            fills[trade.buy] = fills[trade.sell] = 0
            volumes[trade.interval] -= trade.energy_wh
            worth += trade.energy_wh * trade.grid_fee_micro_per_kwh
        else:
            kept.append(trade)
    left = tuple(
        tuple(0 if (interval, line.source) in places else wh for line, wh in zip(problem.lines, carried, strict=True))
        for interval, carried in enumerate(flows)
    )
    return kept, left, worth - cost_of_lines(problem, flows) + cost_of_lines(problem, left)
