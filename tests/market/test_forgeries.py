"""Forged certificates: every sum in them is right, and the result is not what the rule makes of the orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from coordinator.market.certificate import certificate, checking, verify
from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, NetworkLine, Problem, SingleOrder
from coordinator.market.rules import ClearingRule, Tariff
from coordinator.protocol.messages import Side
from coordinator.solver.highs import propose

_BUY, _SELL = Side.BUY, Side.SELL
_BAND = (0, 500_000)
_TARIFF = Tariff(300_000, 100_000)
BID, ASK = SingleOrder(b"bid", 0, _BUY, 100, 200_000), SingleOrder(b"ask", 0, _SELL, 100, 100_000)
RULES = ["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"]

type Trade = tuple[str, str, int, int, int]


def good(
    orders: Sequence[SingleOrder[bytes]], rule: ClearingRule | None = None, band: tuple[int, int] | None = _BAND
) -> dict[str, Any]:
    """Return the certificate of a call auction, which holds."""
    problem = Problem((0,), tuple(orders), rule=rule or ClearingRule(), band=band, tariff=_TARIFF)
    stated = certificate(problem, clear(problem))
    assert verify(stated) == []
    return stated


def forged(
    stated: dict[str, Any],
    fills: Sequence[int],
    trades: Sequence[Trade],
    price: int | None,
    ends: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return a certificate of the same question with another answer, and all sums as that answer makes them."""
    orders = [[*order[:6], fill] for order, fill in zip(stated["orders"], fills, strict=True)]
    answer = stated | {
        "orders": orders,
        "trades": [[0, buy.encode().hex(), sell.encode().hex(), wh, at, fee] for buy, sell, wh, at, fee in trades],
        "prices": [] if price is None else [[0, "", price, *(ends or (price, price))]],
        "volume_wh": [sum(fill for order, fill in zip(orders, fills, strict=True) if order[2] == "buy")],
    }
    answer["worth"] = checking.worths(answer)
    answer["welfare_micro"] = (answer["worth"]["at_limits"] - answer["worth"]["line_fees"]) // 1_000
    answer["bound_micro"] = answer["welfare_micro"] if stated["terms"]["mechanism"] == "uniform" else None
    return answer


def finds(stated: dict[str, Any], finding: str) -> None:
    found = verify(stated)
    assert any(finding in sentence for sentence in found), found


@pytest.mark.parametrize("mechanism", RULES)
def test_the_same_answer_again_is_no_forgery(mechanism: Any) -> None:
    stated = good([BID, ASK], ClearingRule(mechanism))
    fills, (_, *ends) = [order[6] for order in stated["orders"]], (stated["prices"] or [[0, "", None, 0, 0]])[0][1:]
    names = {order.key.hex(): order.key.decode() for order in (BID, ASK)}
    trades = [(names[buy], names[sell], wh, price, fee) for _, buy, sell, wh, price, fee in stated["trades"]]
    assert verify(forged(stated, fills, trades, ends[0], (ends[1], ends[2]))) == []


@pytest.mark.parametrize("mechanism", RULES)
def test_a_trade_above_the_buyers_limit_is_found(mechanism: Any) -> None:
    stated = good([BID, ASK], ClearingRule(mechanism))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 200_001, 0)], 200_001),
        "the buyer pays 200001, above its limit of 200000",
    )


@pytest.mark.parametrize("mechanism", RULES)
def test_a_fee_above_the_buyers_limit_is_found(mechanism: Any) -> None:
    stated = good([BID, ASK], ClearingRule(mechanism))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 150_000, 50_001)], 150_000),
        "the buyer pays 200001, above its limit of 200000",
    )


@pytest.mark.parametrize("mechanism", RULES)
def test_a_trade_below_the_sellers_limit_is_found(mechanism: Any) -> None:
    stated = good([BID, ASK], ClearingRule(mechanism))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 99_999, 0)], 99_999),
        "the seller gets 99999, below its limit of 100000",
    )


@pytest.mark.parametrize("mechanism", RULES)
def test_a_market_order_outside_of_the_band_is_found(mechanism: Any) -> None:
    orders = [SingleOrder(b"bid", 0, _BUY, 100, None), SingleOrder(b"ask", 0, _SELL, 100, None)]
    stated = good(orders, ClearingRule(mechanism))
    finds(forged(stated, [100, 100], [("bid", "ask", 100, 500_001, 0)], 500_001), "above its limit of 500000")
    finds(forged(stated, [100, 100], [("bid", "ask", 100, -1, 0)], -1), "below its limit of 0")


@pytest.mark.parametrize("mechanism", RULES)
def test_a_buyer_who_pays_less_than_the_seller_gets_is_found(mechanism: Any) -> None:
    stated = good([BID, ASK], ClearingRule(mechanism))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 150_000, -1)], 150_000), "is none between a buyer and a seller"
    )


@pytest.mark.parametrize("mechanism", ["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio"])
def test_nothing_traded_although_bids_cross_is_found(mechanism: Any) -> None:
    ask = SingleOrder(b"ask", 0, _SELL, 100, 50_000)
    finds(forged(good([BID, ask], ClearingRule(mechanism)), [0, 0], [], None), "orders that meet were left alone")


def test_nothing_traded_under_mcafee_although_its_rule_trades_is_found() -> None:
    orders = [
        BID,
        ASK,
        SingleOrder(b"next bid", 0, _BUY, 100, 150_000),
        SingleOrder(b"next ask", 0, _SELL, 100, 140_000),
    ]
    finds(forged(good(orders, ClearingRule("mcafee")), [0] * 4, [], None), "orders that meet were left alone")
    finds(
        forged(good([BID, ASK], ClearingRule("mcafee")), [100, 100], [("bid", "ask", 100, 150_000, 0)], 150_000),
        "there is a price, though nothing can trade",
    )


def test_a_price_that_is_not_the_tariffs_middle_is_found() -> None:
    stated = good([BID, ASK], ClearingRule("mid_market_rate"))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 150_000, 0)], 150_000),
        "the price 150000 is not the rule's, 200000",
    )


def test_an_order_that_trades_at_a_loss_is_found() -> None:
    orders = [SingleOrder(b"bid", 0, _BUY, 100, 50_000), ASK]
    for mechanism in RULES:
        stated = good(orders, ClearingRule(mechanism))  # type: ignore[arg-type]
        finds(forged(stated, [100, 100], [("bid", "ask", 100, 75_000, 0)], 75_000), "above its limit of 50000")


def test_a_pair_that_is_not_paid_as_bid_is_found() -> None:
    stated = good([BID, ASK], ClearingRule("pay_as_bid"))
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 149_999, 0)], 149_999),
        "the price 149999 is not the rule's, 150000",
    )
    finds(
        forged(stated, [100, 100], [("bid", "ask", 100, 149_999, 0)], 150_000),
        "the trades are not the rule's, best bid with best ask",
    )


@pytest.mark.parametrize("limit", [None, 100_000])
def test_a_market_order_left_alone_with_a_limit_it_meets_is_found(limit: int | None) -> None:
    orders = [SingleOrder(b"bid", 0, _BUY, 100, None), SingleOrder(b"ask", 0, _SELL, 100, limit)]
    finds(forged(good(orders), [0, 0], [], None), "orders that meet were left alone")


def test_equal_limits_left_alone_are_found() -> None:
    """At their common limit neither order gains, and yet they are part of the largest volume."""
    orders = [BID, SingleOrder(b"ask", 0, _SELL, 100, 200_000)]
    finds(forged(good(orders), [0, 0], [], None), "orders that meet were left alone")
    finds(forged(good(orders), [0, 0], [], 200_000), "order 626964: 0 Wh are filled, by the rule it is 100")
    finds(
        forged(good(orders), [60, 60], [("bid", "ask", 60, 200_000, 0)], 200_000),
        "60 Wh are filled, by the rule it is 100",
    )


@pytest.mark.parametrize("price", [100_000, 149_999, 150_001, 200_000])
def test_a_price_of_the_range_that_is_not_the_midpoint_is_found(price: int) -> None:
    answer = forged(good([BID, ASK]), [100, 100], [("bid", "ask", 100, price, 0)], price, (100_000, 200_000))
    assert verify(answer) == [f"interval 0, node '': the price {price} is not the rule's, 150000"]


@pytest.mark.parametrize("price", [100_000, 150_000, 119_999])
def test_a_price_of_the_range_that_is_not_the_references_is_found(price: int) -> None:
    stated = good([BID, ASK], ClearingRule(price="reference", reference_price=180_000))
    answer = forged(stated, [100, 100], [("bid", "ask", 100, price, 0)], price, (100_000, 200_000))
    assert verify(answer) == [f"interval 0, node '': the price {price} is not the rule's, 200000"]


@pytest.mark.parametrize("ends", [(100_000, 199_999), (99_999, 200_000), (7, 3), (150_000, 150_000)])
def test_a_range_that_is_not_what_supports_is_found(ends: tuple[int, int]) -> None:
    answer = forged(good([BID, ASK]), [100, 100], [("bid", "ask", 100, 150_000, 0)], 150_000, ends)
    assert verify(answer) == ["interval 0, node '': the range is from 100000 to 200000"]


@pytest.mark.parametrize("ties", ["pro_rata", "time"])
def test_another_split_at_the_margin_is_found(ties: Any) -> None:
    orders = [
        SingleOrder(b"first", 0, _BUY, 100, 200_000),
        SingleOrder(b"second", 0, _BUY, 100, 200_000),
        SingleOrder(b"ask", 0, _SELL, 101, 100_000),
    ]
    stated = good(orders, ClearingRule(ties=ties))
    first, second, _ = (order[6] for order in stated["orders"])
    assert (first, second) == ((51, 50) if ties == "pro_rata" else (100, 1))
    swapped = [("first", "ask", second, 200_000, 0), ("second", "ask", first, 200_000, 0)]
    answer = forged(stated, [second, first, 101], swapped, 200_000)
    assert verify(answer) == [
        f"order {b'first'.hex()}: {second} Wh are filled, by the rule it is {first}",
        f"order {b'second'.hex()}: {first} Wh are filled, by the rule it is {second}",
    ]


@pytest.mark.parametrize("name", ["best-price-first/1", "uniform-reference-pro_rata/1", "uniform-midpoint-time/1"])
def test_a_rule_that_there_is_not_or_that_was_not_used_is_found(name: str) -> None:
    stated = good([BID, ASK])
    finds(stated | {"rule": name}, "the rule's name is uniform-midpoint-pro_rata/1")
    for term, value in (("mechanism", "whim"), ("price", "whim"), ("ties", "whim"), ("bid_share_ppm", -1)):
        finds(stated | {"terms": stated["terms"] | {term: value}}, "no rule")


def test_a_fallback_without_bundles_and_lines_is_found() -> None:
    finds(
        good([BID, ASK]) | {"outcome": "fallback: just so", "bound_micro": None},
        "there is nothing that a fallback could be for",
    )


def test_a_fallback_keeps_the_band_and_proves_no_bound() -> None:
    problem = Problem((0,), (BID, ASK), (BundleOrder(b"bundle", _BUY, 1, ((0, 5),)),), band=_BAND)
    stated = certificate(problem, clear(problem, None, "no solver"))
    assert verify(stated) == []
    finds(stated | {"band": [0, 1_000]}, "is outside of the band")
    finds(stated | {"bound_micro": stated["welfare_micro"]}, "a fallback proves no bound")


def test_a_best_result_that_is_not_the_rules_to_claim_is_found() -> None:
    stated = good([BID, ASK], ClearingRule("pay_as_bid"))
    finds(stated | {"outcome": "optimal", "bound_micro": stated["welfare_micro"]}, "no other rule has one")
    finds(good([BID, ASK]) | {"outcome": "feasible", "bound_micro": None}, "a uniform rule's bound is its welfare")


def test_two_prices_of_a_node_and_prices_of_no_interval_are_found() -> None:
    stated = good([BID, ASK])
    finds(stated | {"prices": stated["prices"] * 2}, "two prices are of one node")
    finds(stated | {"prices": [*stated["prices"], [1, "", 5, 5, 5]]}, "a price is of an interval that there is not")


def test_a_price_where_nothing_can_trade_is_found() -> None:
    stated = good([BID])
    finds(stated | {"prices": [[0, "", 150_000, 150_000, 150_000]]}, "there is a price, though nothing can trade")


def test_orders_without_energy_side_or_interval_are_found() -> None:
    stated = good([BID, ASK])
    for place, value in ((1, 1), (2, "hold"), (3, 0)):
        order = list(stated["orders"][0])
        order[place] = value
        finds(stated | {"orders": [order, stated["orders"][1]]}, "is none of an interval with a side and energy")


def test_a_trade_between_nodes_that_no_line_joins_is_found() -> None:
    orders = [
        SingleOrder(name, 0, side, 10, price, node)
        for node in ("a", "b")
        for name, side, price in ((node.encode() + b"1", _BUY, 30), (node.encode() + b"2", _SELL, 20))
    ]
    stated = good(orders)
    (one, other) = stated["trades"]
    one[2], other[2] = other[2], one[2]
    assert verify(stated) == ["trade 0: no line joins the nodes", "trade 1: no line joins the nodes"]


def test_deep_nesting_is_said() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert verify(good([BID, ASK]) | {"extra": nested}) == ["is not whole: its lists are nested too deeply"]


_LINE = (NetworkLine("a", "b", 2_000, (600,), (600,)),)
_ABROAD = (
    SingleOrder(b"ask", 0, _SELL, 900, 100_000, "a"),
    SingleOrder(b"bid", 0, _BUY, 300, 200_000, "b"),
    SingleOrder(b"same", 0, _BUY, 300, 200_000, "b"),
    SingleOrder(b"more", 0, _BUY, 600, 200_000, "b"),
)


def _coupled(orders: Sequence[SingleOrder[bytes]] = _ABROAD) -> dict[str, Any]:
    problem = Problem((0,), tuple(orders), (), _LINE, band=_BAND)
    stated = certificate(problem, clear(problem, propose(problem, 10)))
    assert verify(stated) == []
    assert stated["outcome"] == "optimal"
    return stated


def test_another_split_at_a_coupled_margin_is_found() -> None:
    stated = _coupled()
    assert [order[6] for order in stated["orders"]] == [600, 150, 150, 300]
    for order, fill in zip(stated["orders"], (600, 300, 0, 300), strict=True):
        order[6] = fill
    stated["trades"] = [trade for trade in stated["trades"] if trade[1] != b"same".hex()]
    next(trade for trade in stated["trades"] if trade[1] == b"bid".hex())[3] = 300
    assert verify(stated) == [
        f"order {b'bid'.hex()}: 300 Wh are filled, by the rule it is 150",
        f"order {b'same'.hex()}: 0 Wh are filled, by the rule it is 150",
    ]


def test_equal_limits_left_alone_at_a_coupled_node_are_found() -> None:
    """At the node's price neither of the two gains; still the largest volume has them."""
    more = (SingleOrder(b"local bid", 0, _BUY, 50, 100_000, "a"),)
    stated = _coupled((*_ABROAD, *more))
    trades = [trade for trade in stated["trades"] if trade[1] == b"local bid".hex()]
    assert sum(trade[3] for trade in trades) == 50
    stated["trades"] = [trade for trade in stated["trades"] if trade not in trades]
    stated["orders"][0][6] -= 50
    stated["orders"][4][6] = 0
    stated["volume_wh"][0] -= 50
    finds(stated, f"order {b'local bid'.hex()}: 0 Wh are filled, by the rule it is 50")


def test_a_coupled_range_that_is_not_what_supports_is_found() -> None:
    stated = _coupled()
    stated["prices"][0][3] -= 1
    assert verify(stated) == ["interval 0, node 'a': the range is from 100000 to 100000"]


def test_a_market_order_left_waiting_that_a_line_could_serve_is_found() -> None:
    orders = (SingleOrder(b"bid", 0, _BUY, 100, None, "b"), SingleOrder(b"ask", 0, _SELL, 100, 100_000, "a"))
    stated = _coupled(orders)
    for order in stated["orders"]:
        order[6] = 0
    stated["lines"][0]["flows_wh"] = [0]
    stated |= {"trades": [], "volume_wh": [0], "welfare_micro": 0, "bound_micro": 0}
    stated["prices"] = [[0, "a", 100_000, 98_000, 100_000], [0, "b", 100_000, 100_000, 102_000]]
    stated["worth"] = checking.worths(stated)
    finds(stated, "interval 0: a market order waits that the lines could serve")


def test_a_coupled_price_that_is_not_the_rules_is_found() -> None:
    problem = Problem((0,), (BID, ASK), (BundleOrder(b"poor", _SELL, 400_000, ((0, 5),)),), band=_BAND)
    stated = certificate(problem, clear(problem, propose(problem, 10)))
    assert verify(stated) == []
    stated["prices"][0][2] += 1
    stated["trades"][0][4] += 1
    stated["worth"] = checking.worths(stated)
    assert verify(stated) == ["interval 0, node '': the price 150001 is not the rule's, 150000"]


@pytest.mark.parametrize(
    ("ends", "finding"),
    [((0, 500_000), "the range is within 100000 to 100000"), ((180_000, 190_000), "contradicts the range from 180000")],
)
def test_a_range_beside_an_accepted_bundle_that_orders_contradict_is_found(ends: tuple[int, int], finding: str) -> None:
    offers = (BID, SingleOrder(b"ask", 0, _SELL, 200, 100_000), SingleOrder(b"low", 0, _BUY, 200, 90_000))
    problem = Problem((0,), offers, (BundleOrder(b"block", _BUY, 160_000, ((0, 50),)),), band=_BAND)
    stated = certificate(problem, clear(problem, propose(problem, 10)))
    assert verify(stated) == []
    assert stated["prices"] == [[0, "", 100_000, 100_000, 100_000]]
    stated["prices"][0][3:] = ends
    finds(stated, finding)


def test_a_single_interval_said_to_have_fallen_back_is_checked_alone() -> None:
    stated = _coupled()
    found = verify(stated | {"fallen": [0]})
    assert "a fallback does without lines" in found
    assert "intervals that fell back are named so in the outcome, and leave no bound" in found


def test_bundles_under_another_rule_are_found() -> None:
    problem = Problem((0,), (BID, ASK), (BundleOrder(b"poor", _SELL, 400_000, ((0, 5),)),), band=_BAND)
    stated = certificate(problem, clear(problem, propose(problem, 10)))
    finds(stated | {"terms": stated["terms"] | {"mechanism": "pay_as_bid"}}, "only a uniform rule knows bundles")
