"""The rules beside the uniform price: what they come to, and what holds for each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.market.auction import MECHANISMS, AuctionOrder, AuctionResult, clear
from coordinator.market.cases import clear_case
from coordinator.market.mechanisms import halves
from coordinator.market.rules import ClearingRule, Mechanism, Tariff, TieRule
from coordinator.protocol.messages import Side
from tests.market.reference import Plain

_SEEDED = settings(derandomize=True, deadline=None)
_TARIFF = Tariff(supplier_micro_per_kwh=12, feed_in_micro_per_kwh=3)
_SIDES = st.sampled_from(["buy", "sell"])
_BOOKS = st.lists(st.tuples(_SIDES, st.integers(1, 9), st.one_of(st.none(), st.integers(0, 14))), max_size=12)
_LIMITED = st.lists(st.tuples(_SIDES, st.integers(1, 9), st.integers(0, 14)), max_size=12)
_NAMES: st.SearchStrategy[Mechanism] = st.sampled_from(sorted(MECHANISMS))
_TIES: st.SearchStrategy[TieRule] = st.sampled_from(["pro_rata", "time"])
_BANDS = st.sampled_from([None, (0, 14)])


def _cleared(
    orders: Sequence[Plain], rule: ClearingRule, band: tuple[int, int] | None = None, tariff: Tariff | None = _TARIFF
) -> AuctionResult[int]:
    book = [AuctionOrder(number, Side(side), wh, limit) for number, (side, wh, limit) in enumerate(orders)]
    return clear(book, rule, band, tariff)


def _rule(mechanism: Mechanism, ties: TieRule = "pro_rata", **more: Any) -> ClearingRule:
    return ClearingRule(mechanism=mechanism, ties=ties, **more)


@given(_BOOKS, _NAMES, _TIES, _BANDS)
@settings(_SEEDED, max_examples=500)
def test_no_rule_makes_anybody_trade_beyond_its_limit(
    orders: list[Plain], name: Mechanism, ties: TieRule, band: tuple[int, int] | None
) -> None:
    result = _cleared(orders, _rule(name, ties), band)
    for trade in result.trades:
        (buys, _, value), (sells, _, cost) = orders[trade.buy], orders[trade.sell]
        assert (buys, sells) == ("buy", "sell")
        assert value is None or trade.price_micro_per_kwh + trade.fee_micro_per_kwh <= value
        assert cost is None or trade.price_micro_per_kwh >= cost


@given(_BOOKS, _NAMES, _TIES, _BANDS)
@settings(_SEEDED, max_examples=500)
def test_every_rule_conserves_energy_and_money(
    orders: list[Plain], name: Mechanism, ties: TieRule, band: tuple[int, int] | None
) -> None:
    result = _cleared(orders, _rule(name, ties), band)
    filled: dict[int, int] = defaultdict(int)
    for trade in result.trades:
        assert trade.energy_wh > 0
        assert trade.fee_micro_per_kwh >= 0, "no rule needs money from outside"
        assert trade.fee_micro_per_kwh == 0 or name == "mcafee"
        filled[trade.buy] += trade.energy_wh
        filled[trade.sell] += trade.energy_wh
    assert result.fills == {key: filled[key] for key in range(len(orders))}
    assert all(result.fills[key] <= wh for key, (_, wh, _) in enumerate(orders))
    assert result.volume_wh == sum(trade.energy_wh for trade in result.trades)
    assert (result.price_micro_per_kwh is None) == (result.price_range is None) == (not result.volume_wh)
    assert result.rule == _rule(name, ties).name


@given(_LIMITED, _NAMES, _TIES)
@settings(_SEEDED, max_examples=300)
def test_no_rule_exceeds_the_optimum_and_uniform_reaches_it(
    orders: list[Plain], name: Mechanism, ties: TieRule
) -> None:
    orders = [(side, wh, None if limit is None else 1000 * limit) for side, wh, limit in orders]
    result = _cleared(orders, _rule(name, ties), tariff=Tariff(12_000, 3_000))
    worth = sum(
        trade.energy_wh * ((orders[trade.buy][2] or 0) - (orders[trade.sell][2] or 0)) for trade in result.trades
    )
    assert result.welfare_micro == worth // 1000
    assert result.optimum_micro == _cleared(orders, ClearingRule(ties=ties)).welfare_micro >= result.welfare_micro >= 0
    if name in ("uniform", "pay_as_bid"):
        assert result.welfare_micro == result.optimum_micro


@given(_BOOKS, _NAMES, _TIES, _BANDS)
@settings(_SEEDED, max_examples=200)
def test_64_bits_and_unbounded_integers_come_to_the_same(
    orders: list[Plain], name: Mechanism, ties: TieRule, band: tuple[int, int] | None
) -> None:
    result = _cleared(orders, _rule(name, ties), band)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halves, "_EXACT_BELOW", 0)
        assert _cleared(orders, _rule(name, ties), band) == result


@given(_BOOKS, st.integers(0, 1_000_000))
@_SEEDED
def test_pay_as_bid_shares_what_lies_between_the_limits(orders: list[Plain], share_ppm: int) -> None:
    uniform = _cleared(orders, ClearingRule())
    result = _cleared(orders, _rule("pay_as_bid", bid_share_ppm=share_ppm))
    assert (result.volume_wh, result.fills) == (uniform.volume_wh, uniform.fills)
    for trade in result.trades:
        value, cost = orders[trade.buy][2], orders[trade.sell][2]
        if value is not None and cost is not None:
            assert trade.price_micro_per_kwh == cost + share_ppm * (value - cost) // 1_000_000
        elif value is not None or cost is not None:
            assert trade.price_micro_per_kwh in (value, cost)
        else:
            assert trade.price_micro_per_kwh == uniform.price_micro_per_kwh


def test_pay_as_bid_meets_the_best_bid_with_the_best_ask() -> None:
    result = _cleared(
        [("buy", 10, 20), ("buy", 10, 30), ("sell", 10, 16), ("sell", 5, 10), ("sell", 9, 25)], _rule("pay_as_bid")
    )
    trades = [(trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh) for trade in result.trades]
    assert trades == [(1, 3, 5, 20), (1, 2, 5, 23), (0, 2, 5, 18)]
    assert (result.price_micro_per_kwh, result.price_range) == (20, (18, 23))


def test_mid_market_rate_is_the_same_for_everybody() -> None:
    orders: list[Plain] = [
        ("buy", 6, 9),
        ("buy", 6, 6),
        ("buy", 6, None),
        ("buy", 6, 7),
        ("sell", 5, 7),
        ("sell", 4, 3),
        ("sell", 9, 8),
    ]
    shared = _cleared(orders, _rule("mid_market_rate"))
    assert (shared.price_micro_per_kwh, shared.volume_wh, shared.surplus_wh) == (7, 9, 9)
    assert shared.fills == {0: 3, 1: 0, 2: 3, 3: 3, 4: 5, 5: 4, 6: 0}
    first = _cleared(orders, _rule("mid_market_rate", "time"))
    assert first.fills == {0: 6, 1: 0, 2: 3, 3: 0, 4: 5, 5: 4, 6: 0}


@pytest.mark.parametrize(
    ("supply", "demand", "price"),
    [(1, 100, 392_156), (25, 100, 266_666), (50, 100, 199_999), (100, 100, 133_333), (101, 100, 133_333)],
)
def test_the_supply_demand_ratio_of_liu_and_others(supply: int, demand: int, price: int) -> None:
    """The internal selling price with 0.40 from the supplier and 0.133333 for feeding in, worked out in fractions."""
    orders: list[Plain] = [("buy", demand, 400_000), ("sell", supply, 100_000)]
    found = _cleared(orders, _rule("supply_demand_ratio"), tariff=Tariff(400_000, 133_333)).price_micro_per_kwh
    ratio = min(Fraction(supply, demand), Fraction(1))
    exact = Fraction(133_333 * 400_000) / ((400_000 - 133_333) * ratio + 133_333)
    assert found == price == exact.numerator // exact.denominator


@given(_BOOKS, st.integers(0, 30), st.integers(0, 30), st.sampled_from(["mid_market_rate", "supply_demand_ratio"]))
@_SEEDED
def test_community_prices_lie_within_the_tariff_and_ask_no_limit(
    orders: list[Plain], feed_in: int, margin: int, name: Mechanism
) -> None:
    tariff = Tariff(feed_in + margin, feed_in)
    price = _cleared(orders, _rule(name), tariff=tariff).price_micro_per_kwh
    willing: list[Plain] = [(side, wh, None) for side, wh, _ in orders]
    anyone = _cleared(willing, _rule(name), tariff=tariff).price_micro_per_kwh
    assert price is None or price == anyone
    assert price is None or feed_in <= price <= feed_in + margin


def test_community_prices_stay_within_the_band() -> None:
    orders: list[Plain] = [("buy", 5, None), ("sell", 5, None)]
    assert _cleared(orders, _rule("mid_market_rate"), (8, 20)).price_micro_per_kwh == 8
    assert _cleared(orders, _rule("mid_market_rate"), (0, 5)).price_micro_per_kwh == 5


@pytest.mark.parametrize(
    ("next_bid", "next_ask", "price", "fee", "volume"),
    [(5, 8, 6, 0, 3), (6, 7, 6, 0, 3), (1, 8, 6, 2, 2), (5, 30, 6, 2, 2), (None, None, 6, 2, 2)],
)
def test_mcafee_on_single_units(next_bid: int | None, next_ask: int | None, price: int, fee: int, volume: int) -> None:
    """McAfee 1992: bids 10, 9, 8 and asks 2, 4, 6; the next ones' middle decides whether the third pair trades."""
    orders: list[Plain] = [*(("buy", 1, limit) for limit in (10, 9, 8)), *(("sell", 1, limit) for limit in (2, 4, 6))]
    orders += [] if next_bid is None else [("buy", 1, next_bid)]
    orders += [] if next_ask is None else [("sell", 1, next_ask)]
    result = _cleared(orders, _rule("mcafee"))
    assert result.volume_wh == volume
    assert {(trade.price_micro_per_kwh, trade.fee_micro_per_kwh) for trade in result.trades} == {(price, fee)}


def test_mcafee_leaves_the_marginal_orders_out_and_shares() -> None:
    """Crossing at 12 Wh inside the second bid: it and the second ask go; 10 Wh want what 8 Wh give."""
    orders: list[Plain] = [
        ("buy", 6, 20),
        ("buy", 4, 19),
        ("buy", 5, 15),
        ("sell", 8, 5),
        ("sell", 4, 9),
        ("sell", 3, 16),
    ]
    result = _cleared(orders, _rule("mcafee"))
    assert result.fills == {0: 5, 1: 3, 2: 0, 3: 8, 4: 0, 5: 0}
    assert {(trade.price_micro_per_kwh, trade.fee_micro_per_kwh) for trade in result.trades} == {(9, 6)}
    assert result.price_range == (9, 15)
    early = _cleared(orders, _rule("mcafee", "time"))
    assert early.fills == {0: 6, 1: 2, 2: 0, 3: 8, 4: 0, 5: 0}


@given(_LIMITED, _TIES, st.data())
@settings(_SEEDED, max_examples=600)
def test_mcafee_rewards_the_true_limit(orders: list[Plain], ties: TieRule, data: st.DataObject) -> None:
    """Whatever an order says instead of its true limit, it gains no more."""
    if not orders:
        return
    key = data.draw(st.integers(0, len(orders) - 1))
    side, wh, true = orders[key]
    assert true is not None

    def gain(said: int) -> int:
        book = [*orders[:key], (side, wh, said), *orders[key + 1 :]]
        trades = _cleared(book, _rule("mcafee", ties)).trades
        if side == "buy":
            paid = [
                (trade.energy_wh, trade.price_micro_per_kwh + trade.fee_micro_per_kwh)
                for trade in trades
                if trade.buy == key
            ]
            return sum(energy * (true - price) for energy, price in paid)
        return sum(trade.energy_wh * (trade.price_micro_per_kwh - true) for trade in trades if trade.sell == key)

    assert gain(data.draw(st.integers(-1, 16))) <= gain(true)


def test_a_uniform_price_does_not_reward_the_true_limit() -> None:
    """What McAfee's rule buys: here a buyer gains by understating, and the test above can tell."""
    orders: list[Plain] = [("buy", 5, 10), ("sell", 5, 4)]
    truthful = _cleared(orders, ClearingRule()).price_micro_per_kwh
    shaded = _cleared([("buy", 5, 5), orders[1]], ClearingRule()).price_micro_per_kwh
    assert truthful is not None
    assert shaded is not None
    assert shaded < truthful


@pytest.mark.parametrize("name", ["mid_market_rate", "supply_demand_ratio"])
def test_a_rule_without_its_tariff_is_refused_with_a_sentence(name: Mechanism) -> None:
    with pytest.raises(ValueError, match=f"^{name} needs the supplier's tariff$"):
        _cleared([], _rule(name), tariff=None)
    with pytest.raises(ValueError, match=f"^{name} needs a feed-in price from 0 to the supplier's price$"):
        _cleared([], _rule(name), tariff=Tariff(3, 4))


def test_a_rule_that_does_not_exist_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="^no mechanism is called 'raffle'; there are uniform, pay_as_bid, "):
        _cleared([], _rule("raffle"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^bid_share_ppm must be from 0 to 1000000, was 1000001$"):
        _cleared([], _rule("pay_as_bid", bid_share_ppm=1_000_001))


def test_a_market_order_at_mcafees_margin_needs_a_band() -> None:
    orders: list[Plain] = [("buy", 5, None), ("buy", 5, None), ("sell", 5, 3), ("sell", 5, 4)]
    assert _cleared(orders, _rule("mcafee")).trades == ()
    banded = _cleared(orders, _rule("mcafee"), (0, 20))
    assert [(t.buy, t.sell, t.energy_wh, t.price_micro_per_kwh, t.fee_micro_per_kwh) for t in banded.trades] == [
        (0, 2, 5, 4, 16)
    ]


def _case(orders: list[dict[str, Any]], mechanism: str = "uniform", **more: Any) -> dict[str, Any]:
    rule = {"mechanism": mechanism, "price": "midpoint", "ties": "pro_rata"}
    return clear_case({"kind": "call_auction", "rule": rule, "orders": orders, **more})


def _order(key: str, side: str, wh: int, price: int | None, **more: Any) -> dict[str, Any]:
    return {"id": key, "side": side, "energy_wh": wh, "price_micro_per_kwh": price, **more}


def test_a_case_with_fees_matches_what_is_left_after_them() -> None:
    """At 5 % and 10,000 per kWh a bid of 220,000 is 200,000 to the seller; 219,000 would be 199,047."""
    fees = {"community_micro_per_kwh": 10_000, "community_share_ppm": 50_000}
    result = _case([_order("b", "buy", 10, 220_000), _order("s", "sell", 10, 200_000)], fees=fees)
    assert result["trades"] == [
        {
            "buy": "b",
            "sell": "s",
            "energy_wh": 10,
            "price_micro_per_kwh": 200_000,
            "value_micro": 2_000,
            "fee_micro_per_kwh": 20_000,
        }
    ]
    assert _case([_order("b", "buy", 10, 219_000), _order("s", "sell", 10, 200_000)], fees=fees)["trades"] == []


def test_a_case_with_preferences_pairs_and_says_the_premium() -> None:
    wanted = {"green": True, "other_limit_price_micro_per_kwh": 200}
    result = _case(
        [
            _order("ann", "buy", 5, 240, preferences=wanted),
            _order("bob", "buy", 5, 290, preferences=wanted),
            _order("gas", "sell", 5, 100, source="gas"),
            _order("sun", "sell", 5, 100, source="solar"),
        ]
    )
    trades = [(t["buy"], t["sell"], t["energy_wh"], t["price_micro_per_kwh"]) for t in result["trades"]]
    assert (result["price_micro_per_kwh"], trades) == (150, [("bob", "sun", 5, 190), ("ann", "gas", 5, 150)])
    assert result["fills"] == {"ann": 5, "bob": 5, "gas": 5, "sun": 5}
    assert (result["volume_wh"], result["welfare_micro"]) == (10, (5 * 190 + 5 * 100) // 1000)


def test_a_case_takes_fees_off_both_limits_and_off_the_band() -> None:
    """With 20 per kWh: 220 and 170 are 200 and 150, the band ends at 480, and who wants partners alone stays out."""
    fees = {"community_micro_per_kwh": 20}
    wanted = {"green": True, "other_limit_price_micro_per_kwh": 170}
    sun, gas = _order("sun", "sell", 5, 160, source="solar"), _order("gas", "sell", 5, 160)
    ann = _order("ann", "buy", 5, 220, preferences=wanted)
    assert [(t["sell"], t["price_micro_per_kwh"]) for t in _case([ann, sun, gas], fees=fees)["trades"]] == [
        ("sun", 180)
    ]
    alone = {**ann, "preferences": {"green": True}}
    assert _case([alone, gas], fees=fees)["trades"] == []
    anybody = [_order("b", "buy", 5, None), _order("s", "sell", 5, None)]
    assert _case(anybody, fees=fees, band=[0, 500])["price_micro_per_kwh"] == 240


def test_a_case_names_its_rule_and_what_another_could_reach() -> None:
    result = _case([_order("b", "buy", 10, 220_000), _order("s", "sell", 10, 200_000)], "mcafee")
    assert (result["rule"], result["welfare_micro"], result["optimum_micro"]) == ("mcafee-pro_rata/1", 0, 200)
