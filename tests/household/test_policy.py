"""The surplus policy never regrets, never exceeds, and always says why."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.counterfactual import least_gain_micro
from coordinator.household.forecast import Forecast
from coordinator.household.policy import Decision, Situation, SurplusPolicy
from coordinator.household.reason import Reason, price_text
from coordinator.household.terms import HomeLimits
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Side

from .world import INFO, LIMITS, START, market_info

prices = st.integers(-500_000, 1_500_000)


@st.composite
def markets(draw: st.DrawFn) -> MarketInfo:
    low, feed_in, supplier, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    return market_info(
        price_min_micro_per_kwh=low,
        price_max_micro_per_kwh=high,
        feed_in_micro_per_kwh=feed_in,
        supplier_micro_per_kwh=supplier,
        order_energy_max_wh=draw(st.integers(1, 10_000)),
        interval_s=draw(st.sampled_from([60, 300, 900, 1800, 3600])),
    )


def decide(policy: SurplusPolicy, info: MarketInfo, limits: HomeLimits, net_wh: int | None) -> Decision:
    forecast = None if net_wh is None else Forecast(net_wh, "as told")
    return policy.decide(Situation(START, START + info.interval_s, forecast, info, limits))


@given(
    info=markets(),
    policy=st.builds(SurplusPolicy, prices, prices),
    limits=st.builds(HomeLimits, st.integers(0, 100_000), st.integers(0, 100_000)),
    net_wh=st.one_of(st.none(), st.integers(-200_000, 200_000)),
)
def test_it_never_regrets_and_never_exceeds(
    info: MarketInfo, policy: SurplusPolicy, limits: HomeLimits, net_wh: int | None
) -> None:
    decision = decide(policy, info, limits, net_wh)
    assert all((decision.reason.text, decision.reason.alternative, decision.reason.rule))
    if (order := decision.order) is None:
        return
    assert net_wh is not None
    limit = order.limit_price_micro_per_kwh
    assert info.price_min_micro_per_kwh <= limit <= info.price_max_micro_per_kwh
    assert 0 < order.energy_wh <= min(abs(net_wh), info.order_energy_max_wh)
    if order.side is Side.SELL:
        assert net_wh < 0
        assert limit >= info.feed_in_micro_per_kwh
        assert order.energy_wh <= limits.export_max_wh(info.interval_s)
    else:
        assert net_wh > 0
        assert limit <= info.supplier_micro_per_kwh
        assert order.energy_wh <= limits.import_max_wh(info.interval_s)
    assert decision.reason.inputs["least_gain_micro"] >= -1  # rounding of one trade at the tariff itself


def test_surplus_is_sold_at_the_fixed_price_with_its_reason() -> None:
    decision = decide(SurplusPolicy(160_000, 240_000), INFO, LIMITS, -120)
    assert decision.order is not None
    assert (decision.order.side, decision.order.energy_wh) == (Side.SELL, 120)
    assert decision.reason.rule == "sell_at_fixed_price"
    assert decision.reason.text == "sell 120 Wh for at least 0.160 EUR/kWh: as told"
    assert decision.reason.alternative == "without a trade the supplier pays 0.080 EUR/kWh"
    assert decision.reason.inputs["least_gain_micro"] == 120 * (160_000 - 80_000) // 1000


def test_the_guard_holds_a_price_at_the_tariff_and_says_so() -> None:
    low = decide(SurplusPolicy(10_000, 900_000), INFO, LIMITS, -120)
    high = decide(SurplusPolicy(10_000, 900_000), INFO, LIMITS, 120)
    assert low.order is not None
    assert high.order is not None
    assert low.order.limit_price_micro_per_kwh == INFO.feed_in_micro_per_kwh
    assert high.order.limit_price_micro_per_kwh == INFO.supplier_micro_per_kwh
    assert low.reason.rule == high.reason.rule == "no_regret_guard"
    assert "0.010 EUR/kWh was asked for" in low.reason.text


def test_each_way_of_not_trading_has_its_own_rule() -> None:
    policy = SurplusPolicy(160_000, 240_000)
    narrow = replace(INFO, price_max_micro_per_kwh=100_000)
    rules = [
        decide(policy, INFO, LIMITS, None).reason.rule,
        decide(policy, INFO, LIMITS, 0).reason.rule,
        decide(policy, INFO, HomeLimits(24_000, 0), -100).reason.rule,
        decide(policy, narrow, LIMITS, -100).reason.rule,
    ]
    assert rules == ["no_forecast", "balanced", "limit_zero", "outside_band"]


def test_between_the_tariffs_there_is_room_for_both_neighbours() -> None:
    policy = SurplusPolicy.between_tariffs(INFO)
    assert (policy.sell_price_micro_per_kwh, policy.buy_price_micro_per_kwh) == (160_000, 240_000)


@given(st.sampled_from(Side), st.integers(0, 10_000), prices, prices)
def test_the_promised_gain_is_never_overstated(side: Side, energy_wh: int, limit: int, tariff: int) -> None:
    exact = energy_wh * ((limit - tariff) if side is Side.SELL else (tariff - limit))
    assert least_gain_micro(side, energy_wh, limit, tariff) * 1000 <= exact


def test_a_reason_survives_being_stored() -> None:
    reason = decide(SurplusPolicy(160_000, 240_000), INFO, LIMITS, 5).reason
    assert Reason.from_dict(reason.to_dict()) == reason


def test_prices_read_well() -> None:
    assert price_text(240_000, "EUR") == "0.240 EUR/kWh"
    assert price_text(-1_005_900, "CHF") == "-1.005 CHF/kWh"
