"""How far a session's published prices may go, and where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.market.cases import clear_case
from coordinator.market.cases.session import Solver
from coordinator.market.certificate import certificate, verify
from coordinator.market.clearing import clear
from coordinator.market.prices import losers, margins_of, support_of
from coordinator.market.problem import NetworkLine, Problem, SingleOrder
from coordinator.market.session import curves_of
from coordinator.protocol.messages import Side
from coordinator.solver.highs import propose
from tests.solver.enumeration import random_problem


@pytest.fixture
def solver() -> Solver:
    return lambda problem: propose(problem, 20)


def _order(key: str, side: str, wh: int, price: int | None, interval: int = 0, node: str | None = None) -> Any:
    return {
        "id": key,
        "side": side,
        "interval": interval,
        "energy_wh": wh,
        "price_micro_per_kwh": price,
        "node": node,
    }


def _bundle(key: str, side: str, price: int, *intervals: int, **more: Any) -> Any:
    legs = {str(interval): 1_000 for interval in intervals}
    return {"id": key, "side": side, "price_micro_per_kwh": price, "energy_wh": legs, **more}


def _case(orders: list[Any], *bundles: Any, lines: tuple[Any, ...] = (), rule: Any = None) -> dict[str, Any]:
    return {
        "kind": "session",
        "intervals": 2,
        "rule": rule,
        "orders": orders,
        "bundles": [*bundles],
        "lines": [*lines],
    }


@pytest.mark.parametrize(
    ("single", "block", "price_range"),
    [
        (("buy", 100_000), ("sell", 50_000), [50_000, 100_000]),
        (("sell", 50_000), ("buy", 100_000), [50_000, 100_000]),
    ],
)
def test_a_bundles_break_even_bounds_the_price(
    single: tuple[str, int], block: tuple[str, int], price_range: list[int], solver: Solver
) -> None:
    result = clear_case(_case([_order("one", single[0], 1_000, single[1])], _bundle("blk", *block, 0)), solver)
    assert result["bundles"] == {"blk": [1, 1]}
    assert result["price_ranges"] == [price_range, None]
    assert price_range[0] <= result["prices"][0] <= price_range[1]


def test_each_interval_s_range_is_with_the_others_prices_as_they_are(solver: Solver) -> None:
    """The block asks 50,000 on the mean of both intervals: what one pays beyond it the other may pay less."""
    orders = [_order(f"bid{at}", "buy", 1_000, limit, at) for at, limit in ((0, 100_000), (1, 60_000))]
    result = clear_case(_case(orders, _bundle("blk", "sell", 50_000, 0, 1)), solver)
    first, second = result["prices"]
    assert result["price_ranges"] == [[100_000 - second, 100_000], [100_000 - first, 60_000]]


def test_a_parent_counts_with_its_child_and_a_spread_as_one(solver: Solver) -> None:
    orders = [_order("bid", "buy", 2_000, 100_000)]
    family = (_bundle("parent", "sell", 90_000, 0), _bundle("child", "sell", 30_000, 0, parent="parent"))
    assert clear_case(_case(orders, *family), solver)["price_ranges"][0] == [60_000, 100_000]
    orders = [_order("ask", "sell", 1_000, 20_000), _order("bid", "buy", 1_000, 90_000, 1)]
    up, down = (_bundle(key, side, 50_000, at, spread="s") for key, side, at in (("u", "buy", 0), ("d", "sell", 1)))
    result = clear_case(_case(orders, up, down), solver)
    (low, high), (other_low, other_high) = result["price_ranges"]
    assert (low, high) == (20_000, result["prices"][1])
    assert (other_low, other_high) == (result["prices"][0], 90_000)


def test_a_bundle_s_bound_goes_along_the_lines(solver: Solver) -> None:
    line = {"from": "a", "to": "b", "limit_wh": None, "fee_micro_per_kwh": 5_000}
    orders = [_order("bid", "buy", 1_000, 100_000, 0, "b")]
    result = clear_case(_case(orders, _bundle("blk", "sell", 50_000, 0, node="a"), lines=(line,)), solver)
    assert {node: ranges[0] for node, ranges in result["price_ranges"].items()} == {
        "a": [50_000, 95_000],
        "b": [55_000, 100_000],
    }


def test_a_rejected_bundle_alone_sets_no_price(solver: Solver) -> None:
    result = clear_case(_case([], _bundle("blk", "sell", 50_000, 0)), solver)
    assert (result["prices"], result["price_ranges"]) == ([None, None], [None, None])
    assert (result["paradoxically_rejected"], result["outcome"]) == ([], "optimal")


@pytest.mark.parametrize(("reference", "price", "volume_wh"), [(None, None, 0), (77, 77, 10)])
def test_market_orders_alone_are_treated_alike_with_a_bundle_elsewhere(
    reference: int | None, price: int | None, volume_wh: int, solver: Solver
) -> None:
    orders = [_order("bid", "buy", 10, None), _order("ask", "sell", 10, None)]
    rule = {"reference_price": reference}
    for bundles in ([], [_bundle("blk", "sell", 50_000, 1)]):
        result = clear_case(_case(orders, *bundles, rule=rule), solver)
        assert result["prices"] == [price, None]
        assert result["fills"] == {"bid": volume_wh, "ask": volume_wh}
        assert (result["volume_wh"], result["welfare_micro"]) == ([volume_wh, 0], 0)
        assert len(result["trades"]) == (1 if volume_wh else 0)


@pytest.mark.parametrize("limit_wh", [None, 4, 0])
def test_market_orders_alone_have_no_price_across_lines_either(limit_wh: int | None) -> None:
    line = NetworkLine("a", "b", 7, (limit_wh, limit_wh), (limit_wh, limit_wh))
    orders = [
        SingleOrder(b"bid", 0, Side.BUY, 10, None, "a"),
        SingleOrder(b"ask", 0, Side.SELL, 10, None, "b"),
        SingleOrder(b"late bid", 1, Side.BUY, 10, 90, "a"),
        SingleOrder(b"late ask", 1, Side.SELL, 4, 30, "a"),
    ]
    problem = Problem((0, 900), tuple(orders), (), (line,))
    result = clear(problem, propose(problem, 20))
    assert result.outcome == "optimal"
    assert result.fills == {b"bid": 0, b"ask": 0, b"late bid": 4, b"late ask": 4}
    assert (result.intervals[0].nodes, result.intervals[0].flows_wh) == ((), (0,))
    assert [interval.volume_wh for interval in result.intervals] == [0, 4]
    assert result.welfare_micro == 4 * 60 // 1_000
    assert verify(certificate(problem, result)) == []


def test_market_orders_trade_where_a_bundle_bounds_their_price(solver: Solver) -> None:
    result = clear_case(_case([_order("bid", "buy", 1_000, None)], _bundle("blk", "sell", 50_000, 0)), solver)
    assert (result["fills"], result["bundles"]) == ({"bid": 1_000}, {"blk": [1, 1]})
    assert result["price_ranges"][0][0] == 50_000
    assert result["prices"][0] >= 50_000


def test_ranges_end_just_where_somebody_would_lose() -> None:
    """At either end of a range all stands as it did, the other prices as they are, and beyond it does not."""
    ends = 0
    for problem in (problem for seed in range(120) if not (problem := random_problem(seed)).lines):
        result = clear(problem, propose(problem, 20))
        shares = {key: steps for key, steps, _ in result.accepted}
        flows = ((),) * len(problem.intervals)
        margins = margins_of(problem, curves_of(problem), shares, flows)
        assert margins is not None
        support = support_of(problem, margins, shares, flows)
        nodes = {(at, node.node): node for at, interval in enumerate(result.intervals) for node in interval.nodes}
        prices = {place: node.price_micro_per_kwh for place, node in nodes.items()}
        busy = {(at, bundle.node) for bundle in problem.bundles if bundle.key in shares for at, _ in bundle.energy_wh}
        for place in busy:
            for end, beyond in zip(nodes[place].price_range, (-1, 1), strict=True):
                for price, stands in ((end, True), (end + beyond, False)):
                    moved = {**prices, place: price}
                    here = support.ranges[place]
                    agrees = (here.low is None or price >= here.low) and (here.high is None or price <= here.high)
                    if here.low is not None and here.high is not None:
                        assert (agrees and not losers(problem, shares, moved)) is stands, (problem, place, price)
                        ends += 1
    assert ends > 100


def test_bundles_that_trade_have_a_price_though_nothing_bounds_it(solver: Solver) -> None:
    pair = (_bundle("up", "buy", 60_000, 0, spread="s"), _bundle("down", "sell", 40_000, 0, spread="s"))
    result = clear_case(_case([], *pair), solver)
    assert result["bundles"] == {"up": [1, 1], "down": [1, 1]}
    assert result["volume_wh"] == [1_000, 0]
    assert [trade["price_micro_per_kwh"] for trade in result["trades"]] == result["prices"][:1]
    assert result["prices"][0] is not None
