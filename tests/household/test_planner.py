"""Which intervals a home trades in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordinator.household.forecast import MeteredInterval, persistence
from coordinator.household.planner import open_intervals, plan
from coordinator.household.terms import is_open, next_open
from coordinator.protocol.messages import Side

from .world import INFO, LIMITS, POLICY, START, market_info


@given(
    at=st.integers(START, START + 100_000),
    interval_s=st.sampled_from([60, 300, 900, 1800, 3600]),
    gate_s=st.integers(0, 7_200),
    extra_s=st.integers(0, 20_000),
    ahead=st.integers(1, 8),
)
def test_only_open_gates_and_the_nearest_first(at: int, interval_s: int, gate_s: int, extra_s: int, ahead: int) -> None:
    info = market_info(interval_s=interval_s, gate_s=gate_s, horizon_s=gate_s + interval_s + extra_s)
    starts = open_intervals(info, at, ahead)
    assert 0 < len(starts) <= ahead
    assert starts == sorted(starts)
    assert all(is_open(info, start, at) for start in starts)
    assert not is_open(info, starts[0] - interval_s, at)
    assert starts[0] == next_open(info, at)


def test_a_side_that_has_its_order_is_left_alone() -> None:
    need = MeteredInterval(START - 60, START, 100, 0)
    surplus = MeteredInterval(START - 60, START, 0, 100)
    start = next_open(INFO, START)
    assert plan(POLICY, INFO, LIMITS, need, START, 1, {(start, Side.BUY)}) == []
    (sold,) = plan(POLICY, INFO, LIMITS, surplus, START, 1, {(start, Side.BUY)})
    assert sold.decision.order is not None
    assert sold.decision.order.side is Side.SELL


def test_persistence_scales_a_longer_interval_to_one() -> None:
    forecast = persistence(MeteredInterval(START - 300, START, 100, 0), START, 60)
    assert forecast is not None
    assert forecast.net_wh == 20
    surplus = persistence(MeteredInterval(START - 300, START, 0, 103), START, 60)
    assert surplus is not None
    assert surplus.net_wh == -20, "a surplus is rounded towards nothing: never sell what is not there"


def test_an_old_interval_says_nothing() -> None:
    last = MeteredInterval(START - 60, START, 100, 0)
    assert persistence(last, START + 120, 60) is not None
    assert persistence(last, START + 121, 60) is None
    assert persistence(None, START, 60) is None
