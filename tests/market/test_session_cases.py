"""Sessions as case files: published cases, and one line for whatever is malformed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.market.cases import CaseError, clear_case
from coordinator.market.cases.session import Solver
from coordinator.solver.highs import propose
from coordinator.solver.worker import SyncSolver

_FILE = Path(__file__).parents[1] / "cases" / "clear.json"
_ENTRIES = [entry for entry in json.loads(_FILE.read_text())["cases"] if entry["case"]["kind"] == "session"]
_RULE = {"mechanism": "uniform", "price": "midpoint", "reference_price": None, "ties": "pro_rata"}


@pytest.fixture
def solver() -> Solver:
    return lambda problem: propose(problem, 20)


@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry["id"])
def test_published_case(entry: dict[str, Any], solver: Solver) -> None:
    result = clear_case(entry["case"], solver)
    expected = dict(entry["expected"])
    shares = {key: share[0] / share[1] for key, share in result["bundles"].items()}
    assert shares == expected.pop("accepted", shares)
    node_price = expected.pop("node_price", None)
    assert node_price is None or {node: price[0] for node, price in result["prices"].items()} == node_price
    assert {key: result[key] for key in expected} == expected
    assert (result["outcome"], result["gap"]) == ("optimal", 0)


def test_without_a_solver_each_node_trades_alone() -> None:
    result = clear_case(_case())
    assert result["outcome"] == "fallback: no solver"
    assert result["gap"] is None
    assert result["bundles"] == {"up": [0, 1], "down": [0, 1]}


def test_without_bundles_and_lines_no_solver_is_asked() -> None:
    case = {**_case(), "bundles": [], "lines": []}
    result = clear_case(case)
    assert (result["outcome"], result["gap"]) == ("optimal", 0)


def test_each_interval_may_follow_another_rule() -> None:
    orders = [_order("bid", "buy", 10, 40), _order("ask", "sell", 10, 20)]
    case = {"kind": "session", "intervals": 2, "rule": {**_RULE, "mechanism": "pay_as_bid"}, "orders": orders}
    result = clear_case(case)
    assert result["prices"] == {"n": [30, None]}
    assert result["rule"].startswith("pay_as_bid")


@pytest.mark.parametrize("spread", ["pair", "down"])
def test_a_spread_is_marked_by_a_common_name_or_by_the_other_bundle(spread: str, solver: Solver) -> None:
    case = _case()
    case["bundles"][0]["spread"] = spread
    case["bundles"][1]["spread"] = "pair" if spread == "pair" else None
    assert clear_case(case, solver)["bundles"] == clear_case(_case(), solver)["bundles"]


def _order(
    key: str, side: str, energy_wh: int, price: int | None, interval: int = 0, node: str = "n"
) -> dict[str, Any]:
    return {
        "id": key,
        "side": side,
        "interval": interval,
        "energy_wh": energy_wh,
        "price_micro_per_kwh": price,
        "node": node,
    }


def _case() -> dict[str, Any]:
    """A battery that buys at night and sells by day across a line."""
    return {
        "kind": "session",
        "intervals": 2,
        "rule": dict(_RULE),
        "orders": [
            _order("ask", "sell", 10_000, 20_000),
            _order("bid", "buy", 8_000, 60_000, 1),
            _order("late", "sell", 1_000, 70_000, 1),
        ],
        "bundles": [
            {
                "id": name,
                "side": side,
                "price_micro_per_kwh": price,
                "energy_wh": {interval: 4_000},
                "min_acceptance": [1, 2],
                "node": "m",
                "parent": None,
                "group": None,
                "spread": "pair",
            }
            for name, side, price, interval in (("up", "buy", 30_000, "0"), ("down", "sell", 40_000, "1"))
        ],
        "lines": [{"from": "n", "to": "m", "limit_wh": 3_000, "fee_micro_per_kwh": 1_000}],
    }


def test_a_battery_trades_its_spread_as_far_as_the_line_allows(solver: Solver) -> None:
    result = clear_case(_case(), solver)
    assert result["bundles"] == {"up": [3, 4], "down": [3, 4]}
    assert result["flows_wh"] == {"n-m": [3_000, -3_000]}
    assert result["fills"] == {"ask": 3_000, "bid": 3_000, "late": 0}
    assert result["welfare_micro"] == 3 * (60_000 - 20_000 - 2 * 1_000) - 3 * (40_000 - 30_000)
    paid = [(t["buy"], t["sell"], t["price_micro_per_kwh"] + t["grid_fee_micro_per_kwh"]) for t in result["trades"]]
    assert paid == [("up", "ask", result["prices"]["m"][0]), ("bid", "down", result["prices"]["n"][1])]


def _line(source: str, target: str) -> dict[str, Any]:
    return {"from": source, "to": target, "limit_wh": 3_000}


def _changed(path: list[Any], value: Any) -> dict[str, Any]:
    case = copy.deepcopy(_case())
    target: Any = case
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return case


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (_changed(["intervals"], 0), "intervals: expected 1 to 10000, was 0"),
        (_changed(["orders", 0, "interval"], 2), "orders[0].interval: expected 0 to 1, was 2"),
        (_changed(["orders", 0, "interval"], -1), "orders[0].interval: expected 0 to 1, was -1"),
        (_changed(["orders", 0, "energy_wh"], 1.5), "orders[0].energy_wh: expected an integer, was 1.5"),
        (_changed(["orders", 1, "id"], "ask"), "orders[1].id: 'ask' is the id of orders[0]"),
        (_changed(["orders", 0, "node"], 7), "orders[0].node: expected text, was 7"),
        (_changed(["bundles", 0, "id"], "ask"), "bundles[0].id: 'ask' is the id of orders[0]"),
        (_changed(["bundles", 0, "energy_wh"], {}), "bundles[0].energy_wh: expected energy in at least one interval"),
        (_changed(["bundles", 0, "energy_wh"], {"2": 5}), "bundles[0].energy_wh: expected intervals 0 to 1, was '2'"),
        (_changed(["bundles", 0, "energy_wh"], {"01": 5}), "bundles[0].energy_wh: expected intervals 0 to 1, was '01'"),
        (
            _changed(["bundles", 0, "energy_wh"], {"0": 0}),
            "bundles[0].energy_wh.0: expected 1 to 281474976710655, was 0",
        ),
        (
            _changed(["bundles", 0, "min_acceptance"], [0, 0]),
            "bundles[0].min_acceptance: expected numerator and denominator of a share from 0 to 1, was [0, 0]",
        ),
        (
            _changed(["bundles", 0, "min_acceptance"], [2, 1]),
            "bundles[0].min_acceptance: expected numerator and denominator of a share from 0 to 1, was [2, 1]",
        ),
        (
            _changed(["bundles", 0, "min_acceptance"], [-1, 1]),
            "bundles[0].min_acceptance: expected numerator and denominator of a share from 0 to 1, was [-1, 1]",
        ),
        (
            _changed(["bundles", 0, "min_acceptance"], [None, 1]),
            "bundles[0].min_acceptance: expected an integer, was null",
        ),
        (_changed(["orders", 0, "node"], None), "orders[0].node: expected an end of a line, is missing"),
        (_changed(["orders", 1, "node"], "o"), "orders[1].node: expected an end of a line, was 'o'"),
        (_changed(["bundles", 1, "node"], None), "bundles[1].node: expected an end of a line, is missing"),
        (_changed(["bundles", 0, "node"], "o"), "bundles[0].node: expected an end of a line, was 'o'"),
        (
            _changed(["lines"], [_line("n", "m"), _line("n", "m-o"), _line("n-m", "o")]),
            "lines[2]: its flow would be named 'n-m-o' as that of lines[1]",
        ),
        (_changed(["band"], [0, 1]), "band: unknown; expected kind, intervals, rule, orders, bundles, lines"),
        (_changed(["bundles", 0, "parent"], "who"), "bundles[0].parent: no bundle is called 'who'"),
        (_changed(["bundles", 0, "parent"], "up"), "bundles[0].parent: 'up' closes a circle of parents"),
        (
            _changed(["bundles", 0, "spread"], "other"),
            "bundles[0].spread: expected one buy and one sell bundle with this mark",
        ),
        (
            _changed(["bundles", 0, "side"], "sell"),
            "bundles[0].spread: expected one buy and one sell bundle with this mark",
        ),
        (_changed(["lines", 0, "to"], "n"), "lines[0].to: expected another node than 'n'"),
        (_changed(["lines", 0, "limit_wh"], -1), "lines[0].limit_wh: expected 0 to 281474976710655, was -1"),
        (
            _changed(["lines"], [_case()["lines"][0], {"from": "m", "to": "n", "limit_wh": None}]),
            "lines[1]: joins the nodes of lines[0]",
        ),
        (
            _changed(["rule", "mechanism"], "pay_as_bid"),
            'rule.mechanism: expected "uniform" where there are bundles or lines',
        ),
        (
            {**_case(), "bundles": [], "lines": [], "rule": {**_RULE, "mechanism": "mid_market_rate"}},
            "rule: ",
        ),
    ],
)
def test_a_malformed_session_gets_one_line(case: object, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        clear_case(case)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_bundle_may_have_no_least_share(solver: Solver) -> None:
    block: dict[str, Any] = {
        "id": "blk",
        "side": "sell",
        "price_micro_per_kwh": 20,
        "energy_wh": {"0": 10},
        "node": "n",
    }
    case = {"kind": "session", "intervals": 1, "orders": [_order("bid", "buy", 3, 40)], "bundles": [block]}
    block["min_acceptance"] = [0, 1]
    result = clear_case(case, solver)
    assert (result["bundles"], result["fills"]) == ({"blk": [3, 10]}, {"bid": 3})
    for least in ([1, 2], [1, 1], None):
        block["min_acceptance"] = least
        assert clear_case(case, solver)["bundles"] == {"blk": [0, 1]}


def test_what_a_case_leaves_out_or_gives_as_null_is_as_usual(solver: Solver) -> None:
    block = {"id": "blk", "side": "sell", "price_micro_per_kwh": 20, "energy_wh": {"0": 10}}
    orders = [{"id": "bid", "side": "buy", "interval": 0, "energy_wh": 10, "price_micro_per_kwh": 40}]
    case = {"kind": "session", "intervals": 1, "orders": orders, "bundles": [block]}
    result = clear_case(case, solver)
    assert (result["rule"], result["bundles"]) == ("uniform-midpoint-pro_rata/1", {"blk": [1, 1]})
    nulls = dict.fromkeys(("min_acceptance", "node", "parent", "group", "spread"))
    more = {"rule": None, "lines": None, "band": None, "fees": None, "bundles": [{**block, **nulls}]}
    assert clear_case({**case, **more}, solver) == result
    assert clear_case({**case, "bundles": None}) == clear_case({**case, "bundles": []})
    full = _case()
    full["lines"][0]["fee_micro_per_kwh"] = None
    assert clear_case(full, solver) == clear_case(_changed(["lines", 0, "fee_micro_per_kwh"], 0), solver)


def test_the_rule_is_named_as_it_was_used(solver: Solver) -> None:
    """Where intervals or nodes are coupled the price is the middle whatever the rule says, but not after a fallback."""
    case = _changed(["rule", "price"], "reference")
    assert clear_case(case, solver)["rule"] == "uniform-midpoint-pro_rata/1"
    assert clear_case(case)["rule"] == "uniform-reference-pro_rata/1"
    assert clear_case({**case, "bundles": [], "lines": []})["rule"] == "uniform-reference-pro_rata/1"
    assert clear_case({**case, "bundles": []}, solver)["rule"] == "uniform-midpoint-pro_rata/1"


def test_lawful_huge_numbers_fall_back_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    """What these orders are worth does not fit into the 64 bits of the solver's message."""
    orders = [_order("bid", "buy", 2**47, 10**12), _order("ask", "sell", 2**47, -(10**12))]
    block = {"id": "blk", "side": "sell", "price_micro_per_kwh": -(10**12), "energy_wh": {"0": 2**47}, "node": "n"}
    case = {"kind": "session", "intervals": 1, "orders": orders, "bundles": [block]}
    with SyncSolver() as solver:
        result = clear_case(case, lambda problem: solver.solve(problem, 20))
    assert result["outcome"].startswith("fallback: ")
    assert "process ended" not in result["outcome"]
    assert result["welfare_micro"] == 2 * 2**47 * 10**12 // 1_000
    assert capfd.readouterr().err == ""


def test_two_bundles_that_are_each_others_parents() -> None:
    case = _changed(["bundles", 0, "parent"], "down")
    case["bundles"][1]["parent"] = "up"
    with pytest.raises(CaseError, match=r"^bundles\[0\]\.parent: 'up' closes a circle of parents$"):
        clear_case(case)
