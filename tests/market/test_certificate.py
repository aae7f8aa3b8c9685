"""The certificate proves a result to whoever can add and multiply; whatever is changed in it is found."""

from __future__ import annotations

import ast
import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cli import main
from coordinator.market.certificate import book, certificate, checking, network, nodes, rules, verify
from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, NetworkLine, Problem, SingleOrder
from coordinator.market.rules import ClearingRule, Tariff
from coordinator.protocol.messages import Side
from coordinator.solver.highs import propose
from tests.solver.enumeration import random_problem

_BUY, _SELL = Side.BUY, Side.SELL
_ORDERS = (
    SingleOrder(b"ask", 0, _SELL, 900, 100_000, "a"),
    SingleOrder(b"idle", 0, _SELL, 900, 400_000, "a"),
    SingleOrder(b"bid", 0, _BUY, 1_000, 300_000, "b"),
    SingleOrder(b"late bid", 1, _BUY, 500, 250_000, "b"),
    SingleOrder(b"late ask", 1, _SELL, 900, 120_000, "b"),
)
_BUNDLES = (
    BundleOrder(b"block", _SELL, 110_000, ((0, 100), (1, 100)), node="b", leg_limits=((0, 90_000),)),
    BundleOrder(b"child", _SELL, 90_000, ((1, 100),), (1, 2), "b", parent=b"block"),
    BundleOrder(b"charge", _BUY, 130_000, ((1, 200),), node="b", spread="battery"),
    BundleOrder(b"discharge", _SELL, 130_000, ((0, 50),), node="b", spread="battery"),
    BundleOrder(b"one", _BUY, 125_000, ((1, 10),), node="b", group="g"),
    BundleOrder(b"other", _BUY, 121_000, ((1, 10),), node="b", group="g"),
)
_LINES = (NetworkLine("a", "b", 2_000, (600, 600), (600, 600)),)
PROBLEM = Problem((1_000, 1_900), _ORDERS, _BUNDLES, _LINES, band=(0, 500_000))


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    stated: dict[str, Any] = json.loads(json.dumps(certificate(PROBLEM, clear(PROBLEM, propose(PROBLEM, 10)))))
    return stated


def test_a_good_certificate_holds(good: dict[str, Any]) -> None:
    assert verify(good) == []
    assert good["outcome"] == "optimal"
    worth = good["worth"]
    assert worth["congestion_rent"] > 0
    assert worth["at_limits"] == worth["line_fees"] + worth["orders"] + worth["bundles"] + worth["congestion_rent"]


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(stated: Any) -> None:
        for step in way:
            stated = stated[step]
        stated[last] = value

    return change


def _add(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last, value = path

    def change(stated: Any) -> None:
        for step in way:
            stated = stated[step]
        stated[last] += value

    return change


CHANGES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_set("version", 1), "is no certificate of version 2"),
    (_set("welfare_micro", 1.0), "something else than whole numbers"),
    (_set("orders", 0, 6, True), "something else than whole numbers"),
    (_set("orders", 0, 0, "62696400"), "the trades are not what was filled"),
    (_set("orders", 1, 0, b"ask".hex()), "two orders have one key"),
    (_set("orders", 0, 6, 901), "901 of 900 Wh are filled"),
    (_set("orders", 0, 6, -1), "-1 of 900 Wh are filled"),
    (_add("orders", 0, 6, -1), "Wh too much"),
    (_set("orders", 0, 4, 100_001), "contradict its limit"),
    (_set("orders", 1, 4, 90_000), "contradict its limit"),
    (_set("bundles", 0, "share", [99, 100]), "a share of 99/100 is not allowed"),
    (_set("bundles", 0, "share", [101, 100]), "a share of 101/100 is not allowed"),
    (_set("bundles", 1, "share", [2, 3]), "a leg's share is not whole"),
    (_set("bundles", 0, "share", [0, 1]), "its parent is not accepted"),
    (_set("bundles", 5, "share", [10, 10]), "two bundles of one group are accepted"),
    (_set("bundles", 2, "share", [0, 1]), "a spread's two bundles have different shares"),
    (_set("bundles", 0, "price", 300_000), "is accepted at a loss"),
    (_set("bundles", 0, "leg_limits", [[0, 499_999]]), "a leg's limit is broken"),
    (_set("bundles", 5, "group", None), "the list of paradoxically rejected bundles is another"),
    (_set("paradoxical", [b"other".hex()]), "the list of paradoxically rejected bundles is another"),
    (_add("prices", 0, 2, 1), "contradict"),
    (_set("prices", []), "there is no price"),
    (_set("band", [0, 100_000]), "is outside of the band"),
    (_add("lines", 0, "flows_wh", 0, 1), "are more than 600"),
    (_add("lines", 0, "flows_wh", 0, -1), "contradict a gain"),
    (_set("lines", 0, "fee", 900_000), "contradict a gain"),
    (_set("lines", 0, "forward_wh", [599, 600]), "are more than 599"),
    (_add("volume_wh", 0, 1), "the volume is not what is bought"),
    (_add("trades", 0, 3, 1), "the trades are not what was filled"),
    (_add("trades", 0, 4, 1), "its price is not that of its nodes"),
    (_add("trades", 0, 5, 1), "its price is not that of its nodes"),
    (_set("trades", 0, 3, 0), "is none between a buyer and a seller"),
    (_set("trades", 0, 1, "00"), "is none between a buyer and a seller"),
    (_set("trades", []), "the trades are not what was filled"),
    (_add("welfare_micro", 1), "the welfare is"),
    (_set("bound_micro", 0), "the welfare is above its bound"),
    (_add("bound_micro", 1), "the outcome is feasible"),
    (_set("outcome", "feasible"), "the outcome is optimal"),
    (_set("outcome", "fallback: x"), "a fallback accepts no bundle"),
    (_add("worth", "orders", 1), "the worths are"),
    (_set("orders", 7), "is not whole"),
    (_set("lines", 0, "source", "elsewhere"), "Wh too much"),
]


@pytest.mark.parametrize(
    ("change", "finding"), CHANGES, ids=[f"{n}: {finding}" for n, (_, finding) in enumerate(CHANGES)]
)
def test_each_change_is_found(change: Callable[[dict[str, Any]], None], finding: str, good: dict[str, Any]) -> None:
    changed = copy.deepcopy(good)
    change(changed)
    assert any(finding in found for found in verify(changed)), verify(changed)


@pytest.mark.parametrize("stated", [None, [], {}, {"version": 2}, {"version": 2, "orders": 3}, 7, "x"])
def test_what_is_no_certificate_is_said(stated: object) -> None:
    assert len(verify(stated)) == 1


def test_orders_that_meet_are_not_left_alone(good: dict[str, Any]) -> None:
    """Leaving a price out hides nothing: where there is none, no bid may reach an ask."""
    problem = Problem((0,), (SingleOrder(b"bid", 0, _BUY, 5, 30), SingleOrder(b"ask", 0, _SELL, 5, 20)))
    stated = certificate(problem, clear(problem))
    assert verify(stated) == []
    nothing = {"prices": [], "trades": [], "volume_wh": [0], "welfare_micro": 0, "bound_micro": 0}
    idle = stated | nothing | {"orders": [[*order[:6], 0] for order in stated["orders"]]}
    assert "interval 0, node '': orders that meet were left alone" in verify(idle)


def test_a_market_order_does_not_wait_behind_others() -> None:
    orders = (
        SingleOrder(b"market", 0, _BUY, 5, None),
        SingleOrder(b"bid", 0, _BUY, 5, 20),
        SingleOrder(b"ask", 0, _SELL, 5, 20),
    )
    problem = Problem((0,), orders)
    stated = certificate(problem, clear(problem))
    assert verify(stated) == []
    stated["orders"][0][6], stated["orders"][1][6] = 0, 5
    stated["trades"][0][1] = b"bid".hex()
    assert "interval 0, node '': a market order waits behind others" in verify(stated)


_ORDER = st.tuples(st.integers(0, 1), st.sampled_from(Side), st.integers(1, 9), st.none() | st.integers(1, 20))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(_ORDER, max_size=10),
    st.sampled_from(["midpoint", "reference"]),
    st.none() | st.integers(0, 25),
    st.sampled_from(["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"]),
)
def test_every_call_auction_has_a_certificate_that_holds(
    rows: list[tuple[int, Side, int, int | None]], price: Any, reference: int | None, mechanism: Any
) -> None:
    orders = tuple(SingleOrder(str(n).encode(), at, side, wh, p) for n, (at, side, wh, p) in enumerate(rows))
    rule = ClearingRule(mechanism, price, reference)
    problem = Problem((0, 900), orders, (), (), rule, (0, 30), Tariff(25, 5))
    assert verify(certificate(problem, clear(problem))) == []


@pytest.mark.parametrize("start", [3_000])
def test_random_sessions_and_their_fallbacks_hold(start: int) -> None:
    for seed in range(start, start + 100):
        problem = random_problem(seed)
        for result in (clear(problem, propose(problem, 10)), clear(problem, None, "x")):
            assert verify(certificate(problem, result)) == [], seed


def test_the_check_shares_nothing_with_the_clearing() -> None:
    for module in (book, checking, network, nodes, rules):
        tree = ast.parse(inspect.getsource(module))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
        assert imported <= {"protocol.messages", "book", "nodes", "network", "rules"}


def test_the_command_line_checks_a_certificate(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "certificate.json"
    for stated in (good, {"certificate": good}):
        file.write_text(json.dumps(stated), encoding="utf-8")
        assert main(["certificate", str(file)]) == 0
        assert "holds: optimal, uniform-midpoint-pro_rata/1" in capsys.readouterr().out
    file.write_text(json.dumps(good | {"welfare_micro": 1}), encoding="utf-8")
    assert main(["certificate", str(file)]) == 1
    assert f"{file}: the welfare is" in capsys.readouterr().err
    file.write_text("{", encoding="utf-8")
    assert main(["certificate", str(file)]) == 2
