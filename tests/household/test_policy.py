"""Whatever a policy wishes, a decision never regrets, never exceeds, keeps the owner's bounds and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.household.counterfactual import least_gain_micro
from coordinator.household.forecast import Forecast
from coordinator.household.outlook import Outlook
from coordinator.household.policies import ALL_RULES, FixedPolicy, SurplusPolicy
from coordinator.household.policy import (
    RULES,
    Bounds,
    Decision,
    Policy,
    Situation,
    decide,
    limit_for,
    price_with_fees,
)
from coordinator.household.reason import Reason, money_text, price_text
from coordinator.household.terms import HomeLimits
from coordinator.market.admission import refuse_price
from coordinator.market.rules import Fees, MarketRules
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Side

from .deciding import bounds, markets, policies, prices, situations
from .world import INFO, LIMITS, START

POLICY = SurplusPolicy(160_000, 240_000)
FREE = Bounds(guard=False)


def situation(
    net_wh: int | None,
    info: MarketInfo = INFO,
    limits: HomeLimits = LIMITS,
    *,
    low: int | None = None,
    high: int | None = None,
    committed: int = 0,
) -> Situation:
    forecast = None if net_wh is None else Forecast(net_wh, "as told", low, high)
    return Situation(START, START + info.interval_s, forecast, info, limits, committed_wh=committed)


def decided(
    net_wh: int | None,
    policy: Policy = POLICY,
    within: Bounds | None = None,
    *,
    low: int | None = None,
    high: int | None = None,
    committed: int = 0,
) -> Decision:
    where = situation(net_wh, low=low, high=high, committed=committed)
    return decide(policy, within or Bounds(), where)


@given(policies, bounds, situations())
def test_with_the_guard_no_limit_is_worse_than_the_tariff(policy: Policy, within: Bounds, where: Situation) -> None:
    decision = decide(policy, replace(within, guard=True), where)
    if (order := decision.order) is None:
        return
    if order.side is Side.SELL:
        assert order.limit_price_micro_per_kwh >= where.tariff.feed_in_micro_per_kwh
    else:
        assert order.limit_price_micro_per_kwh <= where.tariff.supplier_micro_per_kwh
    assert decision.reason.inputs["least_gain_micro"] >= -1  # rounding of one trade at the tariff itself


@given(policies, bounds, situations())
def test_floor_ceiling_and_switched_off_sides_are_always_kept(policy: Policy, within: Bounds, where: Situation) -> None:
    order = decide(policy, within, where).order
    if order is None:
        return
    if order.side is Side.SELL:
        assert within.sell
        assert within.floor_micro_per_kwh is None or order.limit_price_micro_per_kwh >= within.floor_micro_per_kwh
    else:
        assert within.buy
        assert not where.outlook.away
        assert within.ceiling_micro_per_kwh is None or order.limit_price_micro_per_kwh <= within.ceiling_micro_per_kwh


@given(policies, bounds, situations())
def test_never_more_energy_than_is_sure_nor_than_the_connection_carries(
    policy: Policy, within: Bounds, where: Situation
) -> None:
    order = decide(policy, within, where).order
    if order is None:
        return
    assert where.forecast is not None
    assert where.delivery_start not in where.outlook.held
    assert 0 < order.energy_wh <= where.info.order_energy_max_wh
    bought, sold = max(0, where.committed_wh), max(0, -where.committed_wh)
    if order.side is Side.SELL:
        assert order.energy_wh + sold <= where.forecast.surplus_wh
        assert order.energy_wh + sold <= where.limits.export_max_wh(where.info.interval_s)
    else:
        assert order.energy_wh + bought <= where.forecast.need_wh
        assert order.energy_wh + bought <= where.limits.import_max_wh(where.info.interval_s)


@given(policies, bounds, situations())
def test_every_decision_has_a_known_rule_and_words_and_is_the_same_again(
    policy: Policy, within: Bounds, where: Situation
) -> None:
    decision = decide(policy, within, where)
    assert decision == decide(policy, within, where)
    assert decision.reason.rule in ALL_RULES
    assert decision.reason.policy == policy.kind
    assert all((decision.reason.text, decision.reason.alternative))
    assert Reason.from_dict(decision.reason.to_dict()) == decision.reason
    if where.forecast is not None and where.delivery_start not in where.outlook.held:
        assert policy.wish(where).rule in policy.RULES


def test_each_rule_is_named_once() -> None:
    assert len(set(ALL_RULES)) == len(ALL_RULES)
    assert set(RULES) < set(ALL_RULES)


def rules_of(info: MarketInfo) -> MarketRules:
    return MarketRules(
        market=info.market,
        interval_s=info.interval_s,
        gate_s=info.gate_s,
        horizon_s=info.horizon_s,
        price_min_micro_per_kwh=info.price_min_micro_per_kwh,
        price_max_micro_per_kwh=info.price_max_micro_per_kwh,
        supplier_micro_per_kwh=info.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=info.feed_in_micro_per_kwh,
        order_energy_max_wh=info.order_energy_max_wh,
        orders_per_account_interval_max=10,
        members_max=10,
        fees=Fees(info.community_micro_per_kwh, info.community_share_ppm),
    )


@settings(max_examples=300)
@given(markets(), st.sampled_from(Side), prices, st.booleans())
def test_the_market_admits_every_limit_that_is_decided(info: MarketInfo, side: Side, price: int, guard: bool) -> None:
    try:
        rules = rules_of(info)
    except ValueError:
        return  # its fees leave no price: such a market cannot be configured
    policy = FixedPolicy(price, price)
    limit = limit_for(policy, Bounds(guard=guard), situation(0, info), side)
    if limit is not None:
        assert refuse_price(rules, side, limit, "limit") is None
    elif info.price_min_micro_per_kwh <= price <= info.price_max_micro_per_kwh and not guard:
        assert refuse_price(rules, side, price, "limit") is not None


@given(markets(), prices.filter(lambda price: price >= 0))
def test_a_price_with_fees_is_what_the_market_charges(info: MarketInfo, price: int) -> None:
    fees = Fees(info.community_micro_per_kwh, info.community_share_ppm)
    assert price_with_fees(price, info) == price + fees.community_fee(price)
    assert fees.net_of(price_with_fees(price, info)) >= price


def test_surplus_is_sold_with_its_reason() -> None:
    decision = decided(-120)
    assert decision.order is not None
    assert (decision.order.side, decision.order.energy_wh) == (Side.SELL, 120)
    assert decision.reason.rule == "sell_surplus"
    assert decision.reason.text == "sell 120 Wh for at least 0.160 EUR/kWh: as told; sells what is left over"
    assert decision.reason.alternative == (
        "without a trade the supplier pays 0.080 EUR/kWh; the order gains at least 0.0096 EUR on that"
    )
    assert decision.reason.inputs == {
        "forecast_net_wh": -120,
        "energy_wh": 120,
        "limit_price_micro_per_kwh": 160_000,
        "wished_price_micro_per_kwh": 160_000,
        "tariff_micro_per_kwh": 80_000,
        "least_gain_micro": 120 * (160_000 - 80_000) // 1000,
    }


def test_the_guard_holds_a_price_at_the_tariff_and_says_so() -> None:
    policy = SurplusPolicy(10_000, 900_000)
    low, high = decided(-120, policy), decided(120, policy)
    assert low.order is not None
    assert high.order is not None
    assert low.order.limit_price_micro_per_kwh == INFO.feed_in_micro_per_kwh
    assert high.order.limit_price_micro_per_kwh == INFO.supplier_micro_per_kwh
    assert low.reason.rule == high.reason.rule == "no_regret_guard"
    assert "0.010 EUR/kWh was wished, the tariff is better" in low.reason.text


def test_without_the_guard_the_owner_may_regret_and_is_told() -> None:
    decision = decided(-120, SurplusPolicy(10_000, 900_000), FREE)
    assert decision.order is not None
    assert decision.order.limit_price_micro_per_kwh == 10_000
    assert decision.reason.inputs["least_gain_micro"] < 0
    assert decision.reason.alternative.endswith("the order may cost more")


def test_the_guard_looks_at_the_owners_real_tariff_of_the_hour() -> None:
    start = START + INFO.interval_s
    outlook = Outlook(supplier={start: 100_000}, feed_in={start: 90_000})
    bought = decide(POLICY, Bounds(), replace(situation(120), outlook=outlook))
    sold = decide(SurplusPolicy(85_000, 0), Bounds(), replace(situation(-120), outlook=outlook))
    assert bought.order is not None
    assert sold.order is not None
    assert bought.order.limit_price_micro_per_kwh == 100_000
    assert sold.order.limit_price_micro_per_kwh == 90_000
    assert (bought.reason.inputs["tariff_micro_per_kwh"], sold.reason.inputs["tariff_micro_per_kwh"]) == (
        100_000,
        90_000,
    )
    assert sold.reason.inputs["least_gain_micro"] == 0


@pytest.mark.parametrize(
    ("net_wh", "within", "limit", "rule"),
    [
        (-100, Bounds(floor_micro_per_kwh=200_000), 200_000, "owner_floor"),
        (-100, Bounds(floor_micro_per_kwh=100_000), 160_000, "sell_surplus"),
        (100, Bounds(ceiling_micro_per_kwh=200_000), 200_000, "owner_ceiling"),
        (100, Bounds(ceiling_micro_per_kwh=300_000), 240_000, "buy_missing"),
        (100, Bounds(floor_micro_per_kwh=900_000), 240_000, "buy_missing"),
    ],
)
def test_floor_and_ceiling_move_their_own_side(net_wh: int, within: Bounds, limit: int, rule: str) -> None:
    decision = decided(net_wh, within=within)
    assert decision.order is not None
    assert (decision.order.limit_price_micro_per_kwh, decision.reason.rule) == (limit, rule)


def test_a_price_beyond_the_bands_near_edge_trades_at_the_edge() -> None:
    info = replace(INFO, price_min_micro_per_kwh=170_000, price_max_micro_per_kwh=230_000)
    sold, bought = (decide(POLICY, Bounds(), situation(net, info)) for net in (-100, 100))
    assert sold.order is not None
    assert bought.order is not None
    assert (sold.order.limit_price_micro_per_kwh, bought.order.limit_price_micro_per_kwh) == (170_000, 230_000)
    assert sold.reason.rule == bought.reason.rule == "market_band"


def test_each_way_of_not_trading_has_its_own_rule() -> None:
    start = START + INFO.interval_s
    narrow = replace(INFO, price_max_micro_per_kwh=100_000)
    high = replace(INFO, price_min_micro_per_kwh=300_000)
    away, held = Outlook(away=True), Outlook(held=frozenset([start]))
    rules = {
        "no_forecast": decided(None),
        "balanced": decided(0),
        "uncertain": decided(-10, low=-50, high=20),
        "already_traded": decided(-100, committed=-100),
        "selling_off": decided(-100, within=Bounds(sell=False)),
        "buying_off": decided(100, within=Bounds(buy=False)),
        "side_without_price": decided(100, FixedPolicy(1, None)),
        "away": decide(POLICY, Bounds(), replace(situation(100), outlook=away)),
        "held": decide(POLICY, Bounds(), replace(situation(-100), outlook=held)),
    }
    assert {rule: decision.reason.rule for rule, decision in rules.items()} == {rule: rule for rule in rules}
    assert all(decision.order is None for decision in rules.values())
    assert decide(POLICY, Bounds(), situation(-100, limits=HomeLimits(24_000, 0))).reason.rule == "limit_zero"
    assert decide(POLICY, Bounds(), situation(-100, narrow)).reason.rule == "outside_band"
    assert decide(POLICY, Bounds(), situation(100, high)).reason.rule == "outside_band"
    assert rules["balanced"].reason.alternative == "the supplier delivers for 0.320 EUR/kWh and pays 0.080 EUR/kWh"


def test_away_still_sells() -> None:
    decision = decide(POLICY, Bounds(), replace(situation(-100), outlook=Outlook(away=True)))
    assert decision.order is not None


def test_what_is_traded_is_not_ordered_again() -> None:
    sold, bought = decided(-100, committed=-30), decided(100, committed=40)
    assert sold.order is not None
    assert bought.order is not None
    assert (sold.order.energy_wh, bought.order.energy_wh) == (70, 60)


def test_what_was_bought_is_not_sold_nor_what_was_sold_bought_back() -> None:
    """A settlement spreads production over sales and consumption over purchases: neither mends the other."""
    resold, bought_back = decided(-100, committed=50), decided(100, committed=-50)
    assert resold.order is not None
    assert bought_back.order is not None
    assert (resold.order.energy_wh, bought_back.order.energy_wh) == (100, 100)
    assert decided(-100, committed=-150).order is None


def test_an_order_is_no_larger_than_connection_and_market_allow() -> None:
    """In a minute 24 kW carry 400 Wh, 10 kW carry 166; what is traded has its part of that."""
    sold, bought = decided(-1000, committed=-100), decided(1000, committed=100)
    small = decide(POLICY, Bounds(), situation(-1000, replace(INFO, order_energy_max_wh=50)))
    assert sold.order is not None
    assert bought.order is not None
    assert small.order is not None
    assert (sold.order.energy_wh, bought.order.energy_wh, small.order.energy_wh) == (66, 300, 50)
    assert decided(-1000, committed=-166).reason.rule == "limit_zero"


def test_only_the_sure_part_of_a_forecast_is_traded() -> None:
    sold, bought = decided(-100, low=-150, high=-60), decided(100, low=70, high=150)
    assert sold.order is not None
    assert bought.order is not None
    assert (sold.order.energy_wh, bought.order.energy_wh) == (60, 70)
    assert sold.reason.inputs["forecast_high_wh"] == -60


def test_the_limits_now_are_those_of_an_order() -> None:
    where = situation(0)
    assert limit_for(POLICY, Bounds(), where, Side.SELL) == 160_000
    assert limit_for(POLICY, Bounds(ceiling_micro_per_kwh=1), where, Side.BUY) == 1
    assert limit_for(POLICY, Bounds(sell=False), where, Side.SELL) is None
    assert limit_for(POLICY, Bounds(buy=False), where, Side.BUY) is None
    assert limit_for(FixedPolicy(None, 1), Bounds(), where, Side.SELL) is None
    assert limit_for(POLICY, Bounds(), replace(where, outlook=Outlook(away=True)), Side.BUY) is None
    assert limit_for(POLICY, Bounds(), replace(where, outlook=Outlook(away=True)), Side.SELL) == 160_000
    held = Outlook(held=frozenset([where.delivery_start]))
    assert limit_for(POLICY, Bounds(), replace(where, outlook=held), Side.SELL) is None
    assert limit_for(FixedPolicy(2_000_000, None), Bounds(), where, Side.SELL) is None


@given(st.sampled_from(Side), st.integers(0, 10_000), prices, prices)
def test_the_promised_gain_is_never_overstated(side: Side, energy_wh: int, limit: int, tariff: int) -> None:
    exact = energy_wh * ((limit - tariff) if side is Side.SELL else (tariff - limit))
    assert least_gain_micro(side, energy_wh, limit, tariff) * 1000 <= exact


def test_prices_and_money_read_well() -> None:
    assert price_text(240_000, "EUR") == "0.240 EUR/kWh"
    assert price_text(-1_005_900, "CHF") == "-1.005 CHF/kWh"
    assert money_text(1_234_567, "EUR") == "1.2345 EUR"
    assert money_text(-50_100, "EUR") == "-0.0501 EUR"
