"""``energy-trade clear``: published cases, and one line for whatever is malformed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.market.cases import CaseError, cases_in, clear_case

_FILE = Path(__file__).parents[1] / "cases" / "clear.json"
_ENTRIES: list[dict[str, Any]] = json.loads(_FILE.read_text())["cases"]
_OTHERS = [entry for entry in _ENTRIES if entry["case"]["kind"] != "session"]
_RULE = {"mechanism": "uniform", "price": "midpoint", "reference_price": None, "ties": "pro_rata"}
_TIME = {"mechanism": "uniform", "price": "reference", "reference_price": None, "ties": "time"}


def _auction(*orders: tuple[str, int, int | None], **rule: Any) -> dict[str, Any]:
    """Return an auction case with ids o0, o1, ..."""
    return {
        "kind": "call_auction",
        "rule": {**_RULE, **rule},
        "orders": [
            {"id": f"o{number}", "side": side, "energy_wh": wh, "price_micro_per_kwh": price}
            for number, (side, wh, price) in enumerate(orders)
        ],
    }


def _continuous(*messages: list[Any]) -> dict[str, Any]:
    return clear_case({"kind": "continuous", "messages": list(messages)})


@pytest.mark.parametrize("entry", _OTHERS, ids=lambda entry: entry["id"])
def test_published_case(entry: dict[str, Any]) -> None:
    result = clear_case(entry["case"])
    result["rejected_ids"] = [key for key, _ in result.get("rejected", [])]
    assert {key: result[key] for key in entry["expected"]} == entry["expected"]


_EX4 = [("buy", 100, None), ("buy", 100, 199), ("sell", 100, None), ("sell", 100, 202)]
_EX5 = [("buy", 300, 202), ("buy", 200, 201), ("sell", 200, 198), ("sell", 300, 199)]
_STRIKE = [("buy", 250, None), ("buy", 150, 199), ("buy", 50, None), ("sell", 300, None), ("sell", 200, 198)]
_EX6 = [("buy", 900, None), ("sell", 800, None)]


@pytest.mark.parametrize(
    ("orders", "reference", "price", "volume", "surplus"),
    [
        (_STRIKE, None, 198, 450, -50),
        (_EX4, 199, 199, 100, 100),
        (_EX4, 200, 199, 100, 100),
        (_EX4, 201, 202, 100, -100),
        (_EX5, 202, 201, 500, 0),
        (_EX5, 198, 199, 500, 0),
        (_EX6, 250, 250, 800, 100),
        (_EX6, 99, 99, 800, 100),
        ([("buy", 160, 200), ("sell", 80, 201)], 200, None, 0, 0),
    ],
)
def test_examples_of_the_xetra_market_model(
    orders: list[Any], reference: int | None, price: int | None, volume: int, surplus: int
) -> None:
    """Deutsche Boerse, Xetra market model, price determination, examples 4 to 7."""
    result = clear_case(_auction(*orders, **{**_TIME, "reference_price": reference}))
    found = result["price_micro_per_kwh"], result["volume_wh"], result["surplus_wh"]
    assert found == (price, volume, surplus)


def test_auction_result_is_complete() -> None:
    case = _auction(("buy", 100, 250_000), ("buy", 50, 100_000), ("sell", 60, 120_000), ("sell", 70, 200_000))
    assert clear_case(case) == {
        "rule": "uniform-midpoint-pro_rata/1",
        "price_micro_per_kwh": 200_000,
        "price_range": [200_000, 200_000],
        "volume_wh": 100,
        "surplus_wh": -30,
        "welfare_micro": (100 * 250_000 - 60 * 120_000 - 40 * 200_000) // 1000,
        "fills": {"o0": 100, "o1": 0, "o2": 60, "o3": 40},
        "trades": [
            {"buy": "o0", "sell": "o2", "energy_wh": 60, "price_micro_per_kwh": 200_000, "value_micro": 12_000},
            {"buy": "o0", "sell": "o3", "energy_wh": 40, "price_micro_per_kwh": 200_000, "value_micro": 8_000},
        ],
    }


@pytest.mark.parametrize(
    ("orders", "price_range", "price"),
    [
        ([("buy", 10, 31), ("sell", 10, 20)], [20, 31], 25),
        ([("buy", 10, -20), ("sell", 10, -31)], [-31, -20], -26),
        ([("buy", 10, None), ("sell", 10, 20)], [20, 20], 20),
        ([("buy", 10, 31), ("sell", 10, None)], [31, 31], 31),
        ([("buy", 20, None), ("sell", 10, 20)], [20, 20], 20),
        ([("buy", 20, None), ("buy", 5, 33), ("sell", 10, 20)], [33, 33], 33),
        ([("buy", 10, None), ("sell", 10, None)], None, None),
        ([("buy", 10, 19), ("sell", 10, 20)], None, None),
        ([("buy", 10, 19)], None, None),
        ([], None, None),
    ],
)
def test_midpoint_of_the_supporting_range(orders: list[Any], price_range: list[int] | None, price: int | None) -> None:
    result = clear_case(_auction(*orders))
    assert (result["price_range"], result["price_micro_per_kwh"]) == (price_range, price)
    if price is None:
        assert result["volume_wh"] == result["surplus_wh"] == result["welfare_micro"] == 0
        assert result["trades"] == []
        assert set(result["fills"].values()) <= {0}


@pytest.mark.parametrize(
    ("ties", "fills"),
    [("pro_rata", [34, 33, 33, 0, 100]), ("time", [50, 50, 0, 0, 100])],
)
def test_ties_at_the_margin(ties: str, fills: list[int]) -> None:
    """Shares of 33 1/3: by largest remainder, then by sequence."""
    orders = [("buy", 50, 100), ("buy", 50, 100), ("buy", 50, 100), ("buy", 9, 99), ("sell", 100, 90)]
    assert list(clear_case(_auction(*orders, ties=ties))["fills"].values()) == fills


def test_a_bundle_of_lifetimes() -> None:
    result = _continuous(
        ["new", "a", "sell", 10, 200, "gtc"],
        ["new", "b", "sell", 10, 210, "gtc"],
        ["new", "kill", "buy", 21, 210, "fok"],
        ["new", "fill", "buy", 15, 210, "fok"],
        ["new", "market", "buy", 9, None, "gtc"],
        ["new", "first", "buy", 5, 190, "gtc"],
        ["new", "late", "buy", 5, None, "ioc"],
    )
    assert result["trades"] == [["a", "fill", 200, 10], ["b", "fill", 210, 5], ["b", "market", 210, 5]]
    assert result["cancelled"] == [["kill", 21], ["market", 4], ["late", 5]]
    assert (result["bids"], result["asks"], result["rejected"]) == ([[190, 5]], [], [])


def test_only_less_energy_at_the_same_price_keeps_its_place() -> None:
    result = _continuous(
        *(["new", name, "buy", 10, 100, "gtc"] for name in "abcd"),
        ["modify", "a", 9, 100],
        ["modify", "b", 11, 100],
        ["modify", "c", 10, 100],
        ["new", "x", "sell", 25, 100, "ioc"],
    )
    assert result["trades"] == [["a", "x", 100, 9], ["d", "x", 100, 10], ["b", "x", 100, 6]]
    assert result["bids"] == [[100, 15]]


def test_what_a_continuous_case_refuses() -> None:
    result = _continuous(
        ["new", "a", "buy", 10, 100, "gtc"],
        ["new", "a", "buy", 10, 100, "gtc"],
        ["new", "zero", "buy", 0, 100, "gtc"],
        ["new", "negative", "buy", -5, 100, "gtc"],
        ["new", "huge", "buy", 2**48, 100, "gtc"],
        ["new", "dear", "buy", 1, 10**12 + 1, "gtc"],
        ["modify", "a", 0, 100],
        ["modify", "nobody", 1, 100],
        ["new", "b", "sell", 10, 100, "gtc"],
        ["cancel", "a"],
        ["cancel", "nobody"],
        ["new", "a", "buy", 1, 100, "gtc"],
    )
    assert result["rejected"] == [
        ["a", "duplicate_order"],
        ["zero", "energy_out_of_range"],
        ["negative", "energy_out_of_range"],
        ["huge", "energy_out_of_range"],
        ["dear", "price_out_of_band"],
        ["a", "energy_out_of_range"],
        ["nobody", "unknown_order"],
        ["a", "order_not_open"],
        ["nobody", "unknown_order"],
    ]
    assert result["bids"] == [[100, 1]]


_RULES = [f'"{name}"' for name in ("uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee")]
_GOOD = _auction(("buy", 10, 31), ("sell", 10, 20))


def _changed(path: list[Any], value: Any) -> dict[str, Any]:
    case = copy.deepcopy(_GOOD)
    target: Any = case
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return case


def _message(*values: Any) -> dict[str, Any]:
    return {"kind": "continuous", "messages": [["cancel", "x"], list(values)]}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ([], "case: expected an object, was []"),
        ({}, "kind: is missing"),
        ({"kind": "raffle"}, "kind: expected call_auction, continuous or session, was 'raffle'"),
        ({"kind": []}, "kind: expected call_auction, continuous or session, was []"),
        ({"kind": "call_auction", "rule": {}}, "orders: is missing"),
        ({"kind": "continuous"}, "messages: is missing"),
        ({"kind": "continuous", "messages": {}}, "messages: expected a list, was {}"),
        (
            {"kind": "continuous", "messages": [[]]},
            "messages[0]: expected new or cancel or modify or cancel_all or observe or time with its values, was []",
        ),
        (_changed(["rule"], []), "rule: expected an object, was []"),
        (_changed(["rule", "ties"], "luck"), 'rule.ties: expected "pro_rata" or "time", was \'luck\''),
        (
            _changed(["rule", "mechanism"], "raffle"),
            f"rule.mechanism: expected {' or '.join(_RULES)}, was 'raffle'",
        ),
        (_changed(["rule", "mechanism"], "mid_market_rate"), "rule: mid_market_rate needs the supplier's tariff"),
        (_changed(["rule", "bid_share_ppm"], -1), "rule.bid_share_ppm: expected 0 to 1000000, was -1"),
        (_changed(["rule", "tariff"], {}), "rule.tariff.supplier_micro_per_kwh: is missing"),
        (
            _changed(["rule", "tariff"], {"supplier_micro_per_kwh": 5, "feed_in_micro_per_kwh": 6}),
            "rule.tariff.feed_in_micro_per_kwh: expected 0 to 5, was 6",
        ),
        (_changed(["fees"], {"tip": 1}), "fees.tip: unknown; expected community_micro_per_kwh, community_share_ppm"),
        (_changed(["band"], [5]), "band: expected the lowest and the highest price, was [5]"),
        (_changed(["band"], [5, 4]), "band[1]: expected 5 to 1000000000000, was 4"),
        (
            _changed(["orders", 0, "preferences"], {"green": 1}),
            "orders[0].preferences.green: expected true or false, was 1",
        ),
        (
            _changed(["orders", 0, "preferences"], {"other_limit_price_micro_per_kwh": 32}),
            (
                "orders[0].preferences.other_limit_price_micro_per_kwh: nobody gives others more than preferred ones; "
                "the order's limit is 31"
            ),
        ),
        (
            _changed(
                ["orders", 0], {**_GOOD["orders"][0], "price_micro_per_kwh": None, "preferences": {"local": True}}
            ),
            "orders[0].preferences: a market order has no preferences: it names no price to prefer at",
        ),
        (_changed(["rule", "reference_price"], 0.5), "rule.reference_price: expected an integer, was 0.5"),
        (
            _changed(["rule", "luck"], 1),
            "rule.luck: unknown; expected mechanism, price, reference_price, ties, bid_share_ppm, tariff",
        ),
        (_changed(["orders"], {"id": "x"}), "orders: expected a list, was {'id': 'x'}"),
        (_changed(["orders", 1], "x"), "orders[1]: expected an object, was 'x'"),
        (_changed(["orders", 1, "id"], "o0"), "orders[1].id: 'o0' is the id of orders[0]"),
        (_changed(["orders", 1, "id"], 1), "orders[1].id: expected text, was 1"),
        (_changed(["orders", 1, "side"], "hold"), 'orders[1].side: expected "buy" or "sell", was \'hold\''),
        (_changed(["orders", 0, "energy_wh"], 1.5), "orders[0].energy_wh: expected an integer, was 1.5"),
        (_changed(["orders", 0, "energy_wh"], True), "orders[0].energy_wh: expected an integer, was true"),
        (_changed(["orders", 0, "energy_wh"], 0), "orders[0].energy_wh: expected 1 to 281474976710655, was 0"),
        (_changed(["orders", 0, "energy_wh"], -3), "orders[0].energy_wh: expected 1 to 281474976710655, was -3"),
        (
            _changed(["orders", 0, "energy_wh"], 10**5000),
            "orders[0].energy_wh: expected 1 to 281474976710655, was a number of thousands of digits",
        ),
        (
            _changed(["orders", 0, "price_micro_per_kwh"], "9"),
            "orders[0].price_micro_per_kwh: expected an integer, was '9'",
        ),
        (
            _changed(["orders", 0, "price_micro_per_kwh"], 10**13),
            "orders[0].price_micro_per_kwh: expected -1000000000000 to 1000000000000, was 10000000000000",
        ),
        (
            _changed(["orders", 0, "colour"], "green"),
            (
                "orders[0].colour: unknown; expected id, side, energy_wh, price_micro_per_kwh, account, node, source, "
                "preferences"
            ),
        ),
        (_message("new", "a", "hold", 1, 1, "gtc"), 'messages[1][2]: expected "buy" or "sell", was \'hold\''),
        (_message("new", "a", "buy", "1", 1, "gtc"), "messages[1][3]: expected an integer, was '1'"),
        (_message("new", "a", "buy", 1, 1.5, "gtc"), "messages[1][4]: expected an integer, was 1.5"),
        (
            _message("new", "a", "buy", 1, 1, "day"),
            'messages[1][5]: expected "gtc" or "ioc" or "fok", was \'day\'',
        ),
        (_message("new", "a", "buy"), "messages[1]: expected 6 or 7 values for 'new', was 3"),
        (_message("modify", "a", 1, None), "messages[1][3]: expected an integer, was null"),
        (_message("cancel", ""), "messages[1][1]: expected text, was ''"),
    ],
)
def test_a_malformed_case_gets_one_line(case: object, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        clear_case(case)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "rule",
    [
        None,
        {},
        {"mechanism": "uniform"},
        {"mechanism": None, "price": None, "ties": None, "reference_price": None, "bid_share_ppm": None},
        {"ties": "pro_rata", "tariff": None},
    ],
)
def test_what_a_rule_leaves_out_is_as_usual(rule: dict[str, Any] | None) -> None:
    expected = clear_case(_GOOD)
    assert expected["rule"] == "uniform-midpoint-pro_rata/1"
    assert clear_case({**_GOOD, "rule": rule}) == expected
    assert clear_case({"kind": "call_auction", "orders": _GOOD["orders"], "band": None, "fees": None}) == expected


def test_what_an_order_leaves_out_may_be_null() -> None:
    names = ("account", "node", "source", "preferences")
    orders = [{**order, **dict.fromkeys(names)} for order in _GOOD["orders"]]
    fees = {"community_micro_per_kwh": None, "community_share_ppm": None}
    assert clear_case({**_GOOD, "orders": orders, "fees": fees}) == clear_case(_GOOD)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        ([None, False], "[null, false]"),
        ({"a": None}, "{'a': null}"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ([[[[[1]]]]], "[[[[[...]]]]]"),
    ],
)
def test_a_value_is_shown_in_the_words_of_json(value: object, written: str) -> None:
    with pytest.raises(CaseError) as caught:
        clear_case(_changed(["orders", 0, "energy_wh"], value))
    assert str(caught.value) == f"orders[0].energy_wh: expected an integer, was {written}"


def test_half_a_sign_is_no_text() -> None:
    with pytest.raises(CaseError, match=r"^orders\[0\]\.id: expected text, was "):
        clear_case(_changed(["orders", 0, "id"], "\ud800"))


def test_a_foreign_value_does_not_flood_the_line() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CaseError, match=r"^rule: expected an object, was "):
        clear_case({"kind": "call_auction", "rule": deep})
    with pytest.raises(CaseError) as caught:
        clear_case({"kind": "\n" * 10_000})
    assert len(str(caught.value)) < 130
    assert "\n" not in str(caught.value)
    with pytest.raises(CaseError, match=r"^orders\[0\]\.'a\\nb': unknown; expected id") as caught:
        clear_case(_changed(["orders", 0, "a\nb"], 1))
    assert "\n" not in str(caught.value)


def test_cases_in_a_file() -> None:
    assert cases_in(_GOOD) == [("", _GOOD)]
    assert cases_in({"id": "x", "case": _GOOD}) == [("x", _GOOD)]
    assert [name for name, _ in cases_in({"cases": _ENTRIES})] == [entry["id"] for entry in _ENTRIES]
    assert cases_in([1]) == [("", [1])]
    with pytest.raises(CaseError, match=r"cases\[0\].case: is missing"):
        cases_in({"cases": [{"id": "x"}]})
    with pytest.raises(CaseError, match=r"^cases: expected at least one case, was \[\]$"):
        cases_in({"cases": []})
