"""A coordinator that is away for a day, with restarts in between: nothing lost, nothing doubled, nothing too late."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from coordinator.household.agent import HouseholdAgent
from coordinator.household.courier import deliver, line_up
from coordinator.protocol.client import CoordinatorUnavailable

from .world import IDENTITY, LIMITS, POLICY, START, Market, market_info, new_agent, run

QUARTER_S = 900
DAY_S = 86_400
BEGIN = START - START % QUARTER_S
INFO = market_info(interval_s=QUARTER_S, horizon_s=4 * 3_600, time=BEGIN)


def restarted(agent: HouseholdAgent) -> HouseholdAgent:
    """Return the agent as it comes back from disk."""
    return HouseholdAgent.from_dict(json.loads(json.dumps(agent.to_dict())), IDENTITY, INFO, POLICY, LIMITS)


@pytest.mark.parametrize("restart_every", [0, 1, 7])
def test_a_day_without_a_coordinator_loses_nothing_and_doubles_nothing(restart_every: int) -> None:
    market, agent = Market(), new_agent(INFO, ahead=4)

    async def save() -> None:
        agent.saved(agent.version)

    async def visit() -> None:
        await line_up(agent, market)
        await deliver(agent, market, save, market.now)

    boundaries = range(BEGIN + QUARTER_S, BEGIN + DAY_S + QUARTER_S, QUARTER_S)
    for step, at in enumerate(boundaries, start=1):
        market.now = at
        assert not hasattr(agent.observe_boundary(at, 1_000 + 100 * step, 500), "code"), "the meter is read all day"
        agent.plan(at)
        market.faults = ["away"] * 4
        with pytest.raises(CoordinatorUnavailable):
            run(visit())
        if restart_every and step % restart_every == 0:
            agent = restarted(agent)
    assert not market.readings
    assert not market.orders
    market.faults = []
    run(visit())
    kept = [market.readings[number] for number in sorted(market.readings)]
    assert [reading.timestamp for reading in kept] == list(boundaries), "every boundary, in order"
    assert [reading.sequence for reading in kept] == list(range(1, DAY_S // QUARTER_S + 1))
    assert {later.consumption_wh - sooner.consumption_wh for sooner, later in pairwise(kept)} == {100}
    assert market.equivocations == 0
    placed = Counter((order.delivery_start, order.side) for order in market.orders.values())
    assert set(placed.values()) == {1}, "one order per interval and side, however often it was planned"
    assert min(start for start, _ in placed) >= market.now + INFO.gate_s, "no order for what is over"
    assert agent.outbox.readings() == []
