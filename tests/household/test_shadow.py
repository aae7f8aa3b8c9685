"""What shadow mode would have gained: never overstated, across restarts, and only for what would have traded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.planner import Planned
from coordinator.household.policy import Decision, OrderTerms
from coordinator.household.reason import Reason
from coordinator.household.shadow import PENDING_MAX, ShadowGain
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Side

from .world import INFO, START

FEES = replace(INFO, community_micro_per_kwh=5_000, community_share_ppm=10_000)


def decision(side: Side, energy_wh: int, limit: int, tariff: int) -> Decision:
    reason = Reason("surplus", "rule", {"tariff_micro_per_kwh": tariff}, "text", "alternative")
    return Decision(OrderTerms(side, energy_wh, limit), reason)


SALE = decision(Side.SELL, 1_000, 160_000, 80_000)
PURCHASE = decision(Side.BUY, 500, 240_000, 320_000)


def shadow(start: int, decided: Decision = SALE) -> Planned:
    return Planned(start, decided, shadow=True)


def gained_micro(decided: Decision, price: int, info: MarketInfo) -> int:
    gain = ShadowGain()
    gain.note([shadow(START, decided)])
    gain.judge({START: price}, START + 900, info)
    return gain.gain_micro


def nothing() -> Decision:
    return Decision(None, SALE.reason)


@pytest.mark.parametrize(
    ("decided", "price", "gain"),
    [
        (SALE, 200_000, 120_000),
        (SALE, 160_000, 80_000),
        (SALE, 159_999, 0),
        (PURCHASE, 200_000, 60_000),
        (PURCHASE, 240_000, 40_000),
        (PURCHASE, 240_001, 0),
        (nothing(), 200_000, 0),
    ],
)
def test_the_gain_is_against_the_tariff_and_only_within_the_limit(decided: Decision, price: int, gain: int) -> None:
    assert gained_micro(decided, price, INFO) == gain


def test_a_buyer_pays_the_fees_a_seller_does_not() -> None:
    assert gained_micro(PURCHASE, 200_000, FEES) == 500 * (320_000 - 207_000) // 1_000
    assert gained_micro(PURCHASE, 235_000, FEES) == 0, "with fees it is beyond the limit"
    assert gained_micro(SALE, 200_000, FEES) == gained_micro(SALE, 200_000, INFO)


@given(st.integers(-500_000, 1_000_000), st.integers(1, 100_000), st.integers(0, 400_000), st.integers(0, 400_000))
def test_with_the_guard_nothing_is_ever_lost(price: int, energy_wh: int, limit: int, tariff: int) -> None:
    """A limit that is no worse than the tariff never shows a loss, but for the last micro of rounding."""
    assert gained_micro(decision(Side.SELL, energy_wh, max(limit, tariff), tariff), price, FEES) >= -1
    assert gained_micro(decision(Side.BUY, energy_wh, min(limit, tariff), tariff), price, FEES) >= -1


def test_each_interval_counts_once_when_its_price_is_known() -> None:
    gain = ShadowGain()
    gain.note([shadow(START), shadow(START + 900, PURCHASE)])
    gain.judge({START: 200_000, START + 900: 200_000}, START, INFO)
    assert gain.gain_micro == 0, "no interval has begun"
    gain.judge({START: 200_000, START + 900: 200_000}, START + 900, INFO)
    gain.judge({START: 200_000, START + 900: 200_000}, START + 900, INFO)
    assert gain.gain_micro == 120_000
    gain.judge({}, START + 9_000, INFO)
    assert list(gain.pending) == [START + 900], "its price is not known yet"
    gain.judge({START + 900: None}, START + 9_000, INFO)
    assert (gain.gain_micro, gain.pending) == (120_000, {}), "nobody traded"


def test_the_newest_plan_counts_and_a_real_one_takes_it_out() -> None:
    gain = ShadowGain()
    gain.note([shadow(START), shadow(START + 900), shadow(START + 1_800)])
    gain.note([shadow(START, PURCHASE), Planned(START + 900, SALE), shadow(START + 1_800, nothing())])
    assert gain.pending == {START: PURCHASE}


def test_only_so_many_plans_are_kept() -> None:
    gain = ShadowGain()
    gain.note([shadow(START + 900 * number) for number in range(PENDING_MAX + 5)])
    assert len(gain.pending) == PENDING_MAX
    assert min(gain.pending) == START + 900 * 5


def test_a_restart_forgets_nothing() -> None:
    gain = ShadowGain(7, {START: SALE, START + 900: PURCHASE})
    assert ShadowGain.from_dict(gain.to_dict()) == gain


def test_a_plan_without_its_tariff_is_refused() -> None:
    kept = ShadowGain(7, {START: SALE}).to_dict()
    kept["pending"][0]["reason"]["inputs"] = {}
    with pytest.raises(ValueError, match="tariff_micro_per_kwh"):
        ShadowGain.from_dict(kept)


@pytest.mark.parametrize(
    "broken", [{}, {"gain_micro": 1}, {"gain_micro": "1", "pending": []}, {"gain_micro": 1, "pending": [3]}]
)
def test_what_is_of_something_else_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="gain_micro|pending"):
        ShadowGain.from_dict(broken)
