"""What a home would do beyond its plan: decided as the plan would, and nothing of it kept."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.household.agent import HouseholdAgent
from coordinator.household.forecast import Forecast
from coordinator.household.outlook import Outlook
from coordinator.household.policy import Bounds, Policy
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.messages import Side

from . import deciding
from .world import IDENTITY, LIMITS, START, new_agent


def test_the_outline_goes_from_the_plan_to_the_forecasts_end() -> None:
    agent = new_agent()
    agent.ahead = 2
    starts = [START + 60 * minutes for minutes in (-1, 0, 1, 2, 3, 4, 5, 7)]
    outlook = Outlook(forecasts={start: Forecast(-100, "sunny") for start in starts}, held=frozenset([START + 300]))
    agent.plan(START + 60, outlook)
    found = agent.outline(START + 60, outlook)
    assert [*agent.plan_for()] == [START + 120, START + 180]
    assert [*found] == [START + 240, START + 300, START + 420], "past, closed, planned and unknown ones have none"
    rules = [one.decision.reason.rule for one in found.values()]
    assert rules == ["sell_surplus", "held", "sell_surplus"]
    assert {(one.order, one.shadow) for one in found.values()} == {(None, False)}
    assert agent.outline(START + 60, Outlook()) == {}


def test_the_outline_keeps_to_the_homes_switches() -> None:
    agent = new_agent()
    sunny = Outlook(forecasts={START + 180: Forecast(-100, "sunny")})
    agent.set_shadow(START + 60, True)
    assert agent.outline(START + 60, sunny)[START + 180].shadow
    agent.set_held(START + 60, START + 180, True)
    assert agent.outline(START + 60, sunny)[START + 180].decision.reason.rule == "held"
    agent.set_trading(START + 60, False)
    assert agent.outline(START + 60, sunny) == {}


def test_what_is_offered_by_hand_is_not_outlined_again() -> None:
    agent = new_agent()
    sunny = Outlook(forecasts={START + 300: Forecast(-100, "sunny")})
    agent.place(START + 60, START + 300, Side.SELL, 40, 200_000)
    order = agent.outline(START + 60, sunny)[START + 300].decision.order
    assert order is not None
    assert order.energy_wh == 60


@settings(deadline=None)
@given(
    policy=deciding.policies,
    bounds=deciding.bounds,
    info=deciding.markets(),
    known=st.lists(st.none() | deciding.forecasts(), max_size=8),
    away=st.booleans(),
    held=st.frozensets(st.integers(0, 9)),
    ahead=st.integers(1, 3),
    by_hand_wh=st.none() | st.integers(1, 100),
)
def test_what_comes_into_the_plan_is_decided_as_it_was_outlined(
    policy: Policy,
    bounds: Bounds,
    info: MarketInfo,
    known: list[Forecast | None],
    away: bool,
    held: frozenset[int],
    ahead: int,
    by_hand_wh: int | None,
) -> None:
    agent = HouseholdAgent(IDENTITY, replace(info, horizon_s=20 * info.interval_s), policy, LIMITS, ahead=ahead)
    agent.bounds = bounds
    at = START - START % info.interval_s
    starts = [at + (place + 1) * info.interval_s for place in range(10)]
    agent.observe_boundary(at - info.interval_s, 1_000, 0)
    agent.observe_boundary(at, 1_000, 30)
    if by_hand_wh is not None:
        agent.place(at, starts[5], Side.SELL, by_hand_wh, None)
    forecasts = {start: forecast for start, forecast in zip(starts, known, strict=False) if forecast is not None}
    outlook = Outlook(forecasts=forecasts, away=away, held=frozenset(starts[place] for place in held))
    agent.plan(at, outlook)
    state, plan, decisions, waiting = agent.to_dict(), agent.plan_for(), agent.decisions, len(agent.outbox)
    outlined = agent.outline(at, outlook)
    assert (agent.to_dict(), agent.plan_for(), agent.decisions) == (state, plan, decisions)
    assert len(agent.outbox) == waiting
    assert not outlined.keys() & plan.keys()
    assert {start for start in forecasts if not away} <= outlined.keys() | plan.keys()
    agent.ahead = len(starts)
    agent.shadow = True  # the plan as it was decided, not as it stands in the market
    agent.plan(at, outlook)
    later = agent.plan_for()
    assert {start: one.decision for start, one in outlined.items()} == {
        start: later[start].decision for start in outlined
    }
