"""A preview counts money as a settlement would, never invents a price, and is worth what orders are worth."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.forecast import Forecast
from coordinator.household.history import HistoryRow
from coordinator.household.outlook import Outlook
from coordinator.household.policies import DynamicPolicy, SurplusPolicy
from coordinator.household.policy import Bounds, Decision, Policy, Situation, decide
from coordinator.household.preview import MONTH_S, Preview, preview, would_have
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.receipts import counterfactual

from .deciding import BERLIN, bounds, markets, policies, prices
from .world import LIMITS, market_info

POLICY = SurplusPolicy(160_000, 240_000)
QUARTER = market_info(interval_s=900)
DAY = int(datetime(2026, 5, 4, tzinfo=UTC).timestamp())


def rows(*net_wh: int, start: int = DAY) -> list[HistoryRow]:
    return [HistoryRow(start + 900 * number, net) for number, net in enumerate(net_wh)]


def test_known_prices_and_assumed_ones_are_told_apart() -> None:
    market = {DAY: 200_000, DAY + 900: 250_000}
    seen = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(-1000, 1000, -1000, 1000), market_prices=market)
    # sells at 0.20; does not buy at 0.25; then at its own limits, 0.16 and 0.24
    assert (seen.sold_wh, seen.bought_wh) == (2000, 1000)
    assert seen.money_micro == 200_000 - 320_000 + 160_000 - 240_000
    assert seen.without_micro == 2 * 80_000 - 2 * 320_000
    assert (seen.intervals, seen.traded, seen.assumed) == (4, 3, 2)
    assert seen.rules == {"sell_surplus": 2, "buy_missing": 2}


def test_a_month_is_told_from_a_day_on() -> None:
    """Fifteen minutes at noon once were 90 EUR per month."""
    day = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(*[-1000] * 96))
    assert day.gain_micro_per_month == 96 * 80_000 * MONTH_S // 86_400
    assert preview(POLICY, Bounds(), QUARTER, LIMITS, rows(*[-1000] * 95)).gain_micro_per_month is None


def test_fees_are_the_buyers() -> None:
    info = market_info(interval_s=900, community_micro_per_kwh=20_000, community_share_ppm=100_000)
    bought = preview(POLICY, Bounds(), info, LIMITS, rows(1000), market_prices={DAY: 200_000})
    assert (bought.money_micro, bought.traded) == (-240_000, 1)
    dearer = preview(POLICY, Bounds(), info, LIMITS, rows(1000), market_prices={DAY: 200_001})
    assert (dearer.money_micro, dearer.traded) == (-320_000, 0)
    sold = preview(POLICY, Bounds(), info, LIMITS, rows(-1000), market_prices={DAY: 200_000})
    assert sold.money_micro == 200_000


def test_days_are_those_of_the_home() -> None:
    late = int(datetime(2026, 10, 24, 23, 30, tzinfo=BERLIN).timestamp())
    seen = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(*[100] * 104, start=late), Outlook(timezone=BERLIN))
    assert list(seen.by_day) == [date(2026, 10, 24), date(2026, 10, 25), date(2026, 10, 26)]
    assert [day.bought_wh for day in seen.by_day.values()] == [200, 10_000, 200]  # a day of 25 hours
    assert seen.days == 3
    assert sum(day.gain_micro for day in seen.by_day.values()) == seen.total.gain_micro


def test_a_source_without_prices_trades_nothing_and_says_so() -> None:
    policy = DynamicPolicy(70, 95)
    seen = preview(policy, Bounds(), QUARTER, LIMITS, rows(-100, -100), Outlook(prices={DAY: 300_000}))
    assert (seen.sold_wh, seen.rules) == (100, {"dynamic_price": 1, "price_missing": 1})


def test_the_owners_absence_does_not_change_the_past() -> None:
    seen = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(100), Outlook(away=True, held=frozenset([DAY])))
    assert seen.bought_wh == 100


def test_without_history_there_is_no_figure() -> None:
    seen = preview(POLICY, Bounds(), QUARTER, LIMITS, [])
    assert (seen.gain_micro_per_month, seen.days, seen.money_micro) == (None, 0, 0)


@given(policies, bounds, markets(), st.lists(st.integers(-20_000, 20_000), max_size=8), st.lists(prices, max_size=8))
def test_with_the_guard_no_preview_is_worse_than_no_market(
    policy: Policy, within: Bounds, info: MarketInfo, net: list[int], cleared: list[int]
) -> None:
    guarded = Bounds(within.floor_micro_per_kwh, within.ceiling_micro_per_kwh)
    first = DAY - DAY % info.interval_s
    history = [HistoryRow(first + info.interval_s * number, wh) for number, wh in enumerate(net)]
    market = {first + info.interval_s * number: price for number, price in enumerate(cleared)}
    seen = preview(policy, guarded, info, LIMITS, history, market_prices=market)
    assert seen.total.gain_micro >= -2 * seen.traded  # each trade is rounded by itself
    assert seen == preview(policy, guarded, info, LIMITS, history, market_prices=market)
    assert seen.sold_wh <= sum(-wh for wh in net if wh < 0)
    assert seen.bought_wh <= sum(wh for wh in net if wh > 0)


@given(st.integers(-50_000, 50_000), st.integers(0, 400_000))
def test_money_is_what_a_receipt_would_say(net_wh: int, price: int) -> None:
    seen = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(net_wh), market_prices={DAY: price})
    trade = seen.sold_wh * price // 1000 - -(-seen.bought_wh * price // 1000)
    told = counterfactual(
        consumption_wh=max(0, net_wh),
        production_wh=max(0, -net_wh),
        bought_wh=seen.bought_wh,
        sold_wh=seen.sold_wh,
        total_micro=trade,
        supplier_micro_per_kwh=QUARTER.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=QUARTER.feed_in_micro_per_kwh,
    )
    assert seen.without_micro == told["without_market_micro"]
    assert seen.money_micro == told["with_market_micro"]


def made(net_wh: int) -> Decision:
    where = Situation(DAY - 60, DAY, Forecast(net_wh, "as told"), QUARTER, LIMITS)
    return decide(POLICY, Bounds(), where)


@pytest.mark.parametrize(
    ("net_wh", "price", "gain"),
    [
        (-1000, 200_000, 120_000),
        (-1000, 159_999, 0),
        (1000, 200_000, 120_000),
        (1000, 240_001, 0),
        (0, 200_000, 0),
    ],
)
def test_what_would_have_been_gained(net_wh: int, price: int, gain: int) -> None:
    decision = made(net_wh)
    assert would_have(decision, price) == gain
    stored = decision.reason.from_dict(decision.reason.to_dict())
    assert would_have(Decision(decision.order, stored), price) == gain


def test_fees_count_when_the_market_is_known() -> None:
    info = market_info(community_micro_per_kwh=30_000)
    assert would_have(made(1000), 200_000, info) == 90_000
    assert would_have(made(1000), 220_000, info) == 0
    assert would_have(made(-1000), 200_000, info) == 120_000


def test_a_preview_and_what_would_have_been_agree() -> None:
    seen: Preview = preview(POLICY, Bounds(), QUARTER, LIMITS, rows(-777), market_prices={DAY: 199_999})
    assert abs(seen.total.gain_micro - would_have(made(-777), 199_999)) <= 1
