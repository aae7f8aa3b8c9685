"""The six policies: their settings, their prices, and what they say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.forecast import Forecast
from coordinator.household.outlook import EventKind, GridEvent, GridState, Outlook
from coordinator.household.policies import (
    DEFAULT,
    POLICIES,
    SETTINGS_CODES,
    DemandResponsePolicy,
    DynamicPolicy,
    FixedPolicy,
    GridStabilityPolicy,
    SurplusPolicy,
    TimeOfUsePolicy,
    make,
)
from coordinator.household.policy import Bounds, Policy, Situation, Wish, decide
from coordinator.household.settings import Settings, SettingsInvalid

from .deciding import BERLIN, markets
from .world import INFO, LIMITS, START

AT = START - START % INFO.interval_s + INFO.interval_s


def complete(kind: str) -> Settings:
    """Settings that work: what is proposed, and what only the owner knows."""
    return POLICIES[kind].proposed(INFO) | ({"price_source": "sensor.spot"} if kind == "dynamic" else {})


def wished(policy: Policy, outlook: Outlook | None = None, net_wh: int = -100) -> Wish:
    forecast = Forecast(net_wh, "as told")
    return policy.wish(Situation(START, AT, forecast, INFO, LIMITS, outlook or Outlook()))


def code(kind: str, settings: Settings) -> tuple[str, str]:
    with pytest.raises(SettingsInvalid) as refused:
        make(kind, settings, INFO)
    assert refused.value.code in SETTINGS_CODES
    assert str(refused.value)
    return refused.value.field, refused.value.code


def test_there_are_six_and_each_is_found_by_its_kind() -> None:
    assert list(POLICIES) == ["surplus", "fixed", "time_of_use", "dynamic", "demand_response", "grid_stability"]
    assert all(made.kind == kind for kind, made in POLICIES.items())
    assert DEFAULT == "surplus"
    assert code("lottery", {}) == ("policy", "policy_unknown")


@given(st.sampled_from(sorted(POLICIES)), markets())
def test_what_is_proposed_works_in_every_market(kind: str, info: Any) -> None:
    settings = POLICIES[kind].proposed(info) | ({"price_source": "sensor.spot"} if kind == "dynamic" else {})
    assert settings.keys() <= {field.key for field in POLICIES[kind].FIELDS}
    assert make(kind, settings, info).kind == kind


@pytest.mark.parametrize("kind", sorted(POLICIES))
def test_what_is_proposed_trades_between_the_tariffs(kind: str) -> None:
    outlook = Outlook(prices={AT: 300_000})
    for net_wh in (-100, 100):
        situation = Situation(START, AT, Forecast(net_wh, "as told"), INFO, LIMITS, outlook)
        decision = decide(make(kind, complete(kind), INFO), Bounds(), situation)
        assert decision.order is not None
        assert INFO.feed_in_micro_per_kwh < decision.order.limit_price_micro_per_kwh < INFO.supplier_micro_per_kwh
        assert decision.reason.inputs["least_gain_micro"] > 0


@pytest.mark.parametrize("kind", sorted(POLICIES))
def test_every_field_says_what_is_wrong_with_it(kind: str) -> None:
    settings = complete(kind)
    for field in POLICIES[kind].FIELDS:
        if field.required:
            assert code(kind, {k: v for k, v in settings.items() if k != field.key}) == (field.key, "setting_missing")
            assert code(kind, settings | {field.key: ""}) == (field.key, "setting_missing")
        assert code(kind, settings | {field.key: object()})[0] == field.key
        assert code(kind, settings | {field.key: True})[0] == field.key
        assert code(kind, settings | {field.key: 0.5})[0] == field.key


@pytest.mark.parametrize(
    ("kind", "changes", "wrong"),
    [
        ("surplus", {"sell": 10**12 + 1}, ("sell", "not_a_price")),
        ("surplus", {"buy": "0.2"}, ("buy", "not_a_price")),
        ("fixed", {"sell": None, "buy": None}, ("sell", "needs_a_price")),
        ("dynamic", {"sell_percent": 301}, ("sell_percent", "not_a_percentage")),
        ("dynamic", {"price_source": 7}, ("price_source", "not_an_entity")),
        ("dynamic", {"without_price": "guess"}, ("without_price", "not_a_choice")),
        ("dynamic", {"lowest": 2, "highest": 1}, ("highest", "highest_below_lowest")),
        ("demand_response", {"reduce_buy_percent": 101}, ("reduce_buy_percent", "not_a_percentage")),
        ("grid_stability", {"emergency_buy_percent": -1}, ("emergency_buy_percent", "not_a_percentage")),
        ("time_of_use", {"bands": []}, ("bands", "bands_none")),
    ],
)
def test_settings_that_cannot_work_are_refused(kind: str, changes: Settings, wrong: tuple[str, str]) -> None:
    assert code(kind, complete(kind) | changes) == wrong


def test_surplus_leaves_room_for_both_neighbours() -> None:
    assert SurplusPolicy.between_tariffs(INFO) == SurplusPolicy(160_000, 240_000)
    assert SurplusPolicy.proposed(INFO) == {"sell": 160_000, "buy": 240_000}
    assert wished(SurplusPolicy(1, 2), net_wh=100).rule == "buy_missing"
    assert wished(SurplusPolicy(1, 2), net_wh=-100).rule == "sell_surplus"


def test_fixed_may_trade_on_one_side_only() -> None:
    only_sells = make("fixed", {"sell": 200_000}, INFO)
    assert only_sells == FixedPolicy(200_000, None)
    assert wished(only_sells, net_wh=-100).rule == "fixed_price"
    assert wished(only_sells, net_wh=100).rule == "side_without_price"
    assert wished(FixedPolicy(None, 1), net_wh=-100).text == "there is no price for selling"


NIGHT = {"from": 22 * 60, "to": 6 * 60, "sell": 1, "buy": 2}
SUNDAY = {"from": 0, "to": 1440, "days": [6], "holidays": True, "sell": 3, "buy": 4}
WINTER = {"from": 6 * 60, "to": 22 * 60, "months": [12, 1, 2], "sell": 5, "buy": 6}
DAY = {"from": 0, "to": 1440, "sell": 7, "buy": None}
PLAN = {"bands": [NIGHT, SUNDAY, WINTER, DAY]}


@pytest.mark.parametrize(
    ("local", "sell"),
    [
        ("2027-05-05 23:59", 1),  # a Wednesday's night
        ("2027-05-05 05:59", 1),
        ("2027-05-05 06:00", 7),
        ("2027-05-02 12:00", 3),  # a Sunday
        ("2027-05-06 12:00", 3),  # Ascension Day
        ("2027-01-05 12:00", 5),
        ("2027-03-28 03:00", 1),  # the hour after the one that summer time takes away
        ("2026-10-25 02:30", 1),  # the hour that there is twice
    ],
)
def test_time_of_use_goes_by_the_homes_clock(local: str, sell: int) -> None:
    start = int(datetime.fromisoformat(local).replace(tzinfo=BERLIN).timestamp())
    outlook = Outlook(timezone=BERLIN, holidays=frozenset([date(2027, 5, 6)]))
    policy = make("time_of_use", PLAN, INFO)
    wish = policy.wish(Situation(start - 60, start, Forecast(-1, ""), INFO, LIMITS, outlook))
    assert (wish.sell_micro_per_kwh, wish.rule) == (sell, "band_price")


def test_both_hours_of_the_same_name_have_the_same_band() -> None:
    """On the day of 25 hours 02:30 comes twice, on the one of 23 hours never."""
    policy = make("time_of_use", {"bands": [{"from": 120, "to": 180, "sell": 1}, {"from": 0, "to": 1440}]}, INFO)
    day = int(datetime(2026, 10, 25, tzinfo=BERLIN).timestamp())
    short = int(datetime(2027, 3, 28, tzinfo=BERLIN).timestamp())

    def hours(start: int, count: int) -> list[int]:
        outlook = Outlook(timezone=BERLIN)
        moments = [start + 3600 * hour for hour in range(count)]
        wishes = [policy.wish(Situation(at, at, Forecast(-1, ""), INFO, LIMITS, outlook)) for at in moments]
        return [hour for hour, wish in enumerate(wishes) if wish.sell_micro_per_kwh == 1]

    assert hours(day, 25) == [2, 3]
    assert hours(short, 23) == []


def test_a_band_may_leave_a_side_out_and_says_so() -> None:
    policy = make("time_of_use", PLAN, INFO)
    start = 1_809_600_000  # 2027-05-06 12:00 UTC, a Thursday
    where = Situation(start - 60, start, Forecast(50, "as told"), INFO, LIMITS, Outlook())
    wish = policy.wish(where)
    assert wish.rule == "band_without_price"
    assert wish.text.endswith("lies in the band 00:00 to 24:00, which has no price for buying")
    assert wish.inputs["band"] == 4
    assert decide(policy, Bounds(), where).reason.rule == "band_without_price"
    assert wished(TimeOfUsePolicy(())).rule == "no_band"


def test_dynamic_follows_its_source_with_factor_and_offset() -> None:
    policy = DynamicPolicy(50, 90, 10_000, -20_000)
    wish = wished(policy, Outlook(prices={AT: 300_000}))
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh) == (160_000, 250_000)
    assert wish.inputs == {"source_price_micro_per_kwh": 300_000}
    assert wish.text == "the price source says 0.300 EUR/kWh"
    bounded = replace(policy, lowest_micro_per_kwh=170_000, highest_micro_per_kwh=200_000)
    wish = wished(bounded, Outlook(prices={AT: 300_000}))
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh) == (170_000, 200_000)


def test_dynamic_without_a_price_does_nothing_unless_told_otherwise() -> None:
    outlook = Outlook(prices={AT - 60: 1}, price_problem="sensor.spot is unavailable")
    nothing = make("dynamic", complete("dynamic"), INFO)
    wish = wished(nothing, outlook)
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh, wish.rule) == (None, None, "price_missing")
    assert wish.text == "sensor.spot is unavailable"
    assert wished(nothing).text == "the price source names no price for this interval"
    fallback = make("dynamic", complete("dynamic") | {"without_price": "between_tariffs"}, INFO)
    wish = wished(fallback, outlook)
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh, wish.rule) == (160_000, 240_000, "price_fallback")


def event(kind: EventKind, start: int = AT) -> Outlook:
    return Outlook(events=(GridEvent("e", kind, start, start + 900, "the operator"),))


def test_an_event_to_reduce_buys_less_and_offers_surplus_for_less() -> None:
    policy = DemandResponsePolicy(150_000, 200_000, 20, 40, 30)
    wish = wished(policy, event(EventKind.REDUCE))
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh) == (120_000, 160_000)
    assert (wish.rule, wish.sell_percent, wish.buy_percent) == ("event_reduce", 100, 40)
    assert wish.text == "the operator asks to take less: prices fall, 40 % of the need is bought"
    situation = Situation(START, AT, Forecast(100, "as told"), INFO, LIMITS, event(EventKind.REDUCE))
    order = decide(policy, Bounds(), situation).order
    assert order is not None
    assert order.energy_wh == 40


def test_an_event_to_increase_keeps_surplus_and_buys_for_more() -> None:
    policy = DemandResponsePolicy(150_000, 200_000, 20, 40, 0)
    wish = wished(policy, event(EventKind.INCREASE))
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh) == (180_000, 240_000)
    assert (wish.rule, wish.sell_percent, wish.buy_percent) == ("event_increase", 0, 100)
    decision = decide(policy, Bounds(), Situation(START, AT, Forecast(-9, ""), INFO, LIMITS, event(EventKind.INCREASE)))
    assert (decision.order, decision.reason.rule) == (None, "event_increase")
    assert "leaves nothing to sell" in decision.reason.text


def test_only_an_event_that_overlaps_the_interval_counts() -> None:
    policy = DemandResponsePolicy(150_000, 200_000, 20, 40, 30)
    assert wished(policy, event(EventKind.REDUCE, AT + INFO.interval_s)).rule == "base_price"
    assert wished(policy, event(EventKind.REDUCE, AT - 900)).rule == "base_price"
    assert wished(policy, event(EventKind.REDUCE, AT - 899)).rule == "event_reduce"


@given(st.integers(-(10**6), 10**6), st.integers(0, 100))
def test_an_event_moves_prices_its_own_way_even_below_zero(price: int, percent: int) -> None:
    policy = DemandResponsePolicy(price, price, percent, 100, 100)
    reduce, increase = (wished(policy, event(kind)).sell_micro_per_kwh for kind in EventKind)
    assert reduce is not None
    assert increase is not None
    assert reduce <= price <= increase


@pytest.mark.parametrize(
    ("state", "rule", "premium", "buys"),
    [
        (GridState.NORMAL, "grid_normal", 0, 100),
        (GridState.STRAINED, "grid_strained", 10, 100),
        (GridState.EMERGENCY, "grid_emergency", 30, 50),
        (GridState.ISLAND, "grid_island", 20, 100),
    ],
)
def test_grid_stability_prices_the_grids_state(state: GridState, rule: str, premium: int, buys: int) -> None:
    policy = GridStabilityPolicy(100_000, 200_000, 10, 30, 20, 5, 50)
    wish = wished(policy, Outlook(grid_state=state))
    assert (wish.sell_micro_per_kwh, wish.buy_micro_per_kwh) == (100_000 + premium, 200_000 + premium)
    assert (wish.rule, wish.buy_percent, wish.sell_percent) == (rule, buys, 100)


def test_grid_stability_gives_a_discount_while_the_community_has_too_much() -> None:
    policy = GridStabilityPolicy(100_000, 200_000, 10, 30, 20, 5, 50)
    assert wished(policy, Outlook(community_surplus={AT: 700})).sell_micro_per_kwh == 99_995
    assert wished(policy, Outlook(community_surplus={AT: 700})).rule == "community_surplus"
    assert wished(policy, Outlook(community_surplus={AT: 700})).inputs["community_surplus_wh"] == 700
    assert wished(policy, Outlook(community_surplus={AT: -700})).rule == "grid_normal"
    assert wished(policy, Outlook(community_surplus={AT - 60: 700})).rule == "grid_normal"
    strained = Outlook(community_surplus={AT: 700}, grid_state=GridState.STRAINED)
    assert wished(policy, strained).rule == "grid_strained"
