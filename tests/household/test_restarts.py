"""A home that crashes anywhere: never an equivocation, never a lost register, never a doubled order."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordinator.household.agent import HouseholdAgent
from coordinator.household.courier import deliver, line_up
from coordinator.protocol.client import CoordinatorUnavailable
from coordinator.protocol.messages import Order, Side

from .world import IDENTITY, INFO, INTERVAL_S, LIMITS, POLICY, START, Crashed, Market, new_agent, run

faults = st.lists(st.sampled_from(["", "", "", "away", "lost", "crash", "crash_lost"]), max_size=6)


class Home(RuleBasedStateMachine):
    """One home between a disk that keeps what was saved and a network that does what it wants."""

    def __init__(self) -> None:
        super().__init__()
        self.market = Market()
        self.now = START
        self.registers = [1_000, 500]
        self.disk: str | None = None
        self.backups: list[str] = []
        self.went_back = False
        self.alive = True
        self.lined_up = False

    @initialize()
    def start(self) -> None:
        self.agent = new_agent()

    async def save(self) -> None:
        if not self.alive:
            raise Crashed
        self.disk = json.dumps(self.agent.to_dict())
        self.backups.append(self.disk)
        self.agent.saved(self.agent.version)

    @rule(consumed_wh=st.integers(0, 300), produced_wh=st.integers(0, 100), skipped=st.integers(0, 2))
    def boundary(self, consumed_wh: int, produced_wh: int, skipped: int) -> None:
        """Time goes on by one interval or a few; the meter is read and the next interval planned."""
        self.now += INTERVAL_S * (1 + skipped)
        self.market.now = self.now
        self.registers = [self.registers[0] + consumed_wh, self.registers[1] + produced_wh]
        self.agent.observe_boundary(self.now, *self.registers)
        self.agent.plan(self.now)

    @precondition(lambda self: self.agent.meter.sequence > 0 or self.market.readings)
    @rule(consumption_wh=st.integers(0, 10**9))
    def nonsense(self, consumption_wh: int) -> None:
        """The meter says something absurd, then time goes on."""
        self.now += INTERVAL_S
        self.market.now = self.now
        if not self.registers[0] - 1 <= consumption_wh <= self.registers[0] + 10**6:
            self.agent.observe_boundary(self.now, consumption_wh, self.registers[1])

    @rule()
    def save_now(self) -> None:
        run(self.save())

    @rule()
    def crash(self) -> None:
        self._restart()

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore_a_backup(self, data: st.DataObject) -> None:
        """An older state comes back: the coordinator knows more of this home than it does itself."""
        self.disk = data.draw(st.sampled_from(self.backups))
        self.went_back = True
        self._restart()

    @rule(network=faults)
    def deliver(self, network: list[str]) -> None:
        self.market.faults = list(network)
        try:
            if not self.lined_up:
                run(line_up(self.agent, self.market))
                self.lined_up = True
            run(deliver(self.agent, self.market, self.save, self.now, None))
        except CoordinatorUnavailable:
            pass
        except Crashed:
            self._restart()
        self.market.faults = []

    def _restart(self) -> None:
        if self.disk is None:
            self.agent = new_agent()
        else:
            self.agent = HouseholdAgent.from_dict(json.loads(self.disk), IDENTITY, INFO, POLICY, LIMITS)
        self.lined_up = False

    @invariant()
    def nobody_equivocated(self) -> None:
        assert self.market.equivocations == 0

    @invariant()
    def readings_are_gapless_and_monotone(self) -> None:
        kept = [self.market.readings[n] for n in sorted(self.market.readings)]
        assert [reading.sequence for reading in kept] == list(range(1, len(kept) + 1))
        assert kept == sorted(kept, key=lambda reading: (reading.timestamp, reading.consumption_wh))

    @invariant()
    def one_order_per_interval_and_side(self) -> None:
        placed = Counter[tuple[int, Side]]()
        for order in self.market.orders.values():
            placed[order.delivery_start, order.side] += 1
        assert self.went_back or all(count == 1 for count in placed.values()), placed

    @invariant()
    def orders_are_within_bounds(self) -> None:
        for order in self.market.orders.values():
            self._within(order)

    def _within(self, order: Order) -> None:
        limit = order.limit_price_micro_per_kwh
        assert limit is not None
        assert INFO.feed_in_micro_per_kwh <= limit <= INFO.supplier_micro_per_kwh
        assert 0 < order.energy_wh <= LIMITS.import_max_wh(INTERVAL_S)

    def teardown(self) -> None:
        """In the end, with a network that works, the coordinator knows the meter's last registers."""
        self.lined_up = False
        self.deliver([])
        self.boundary(0, 0, 60)  # long enough for all energy that nonsense may have kept from being signed
        self.deliver([])
        last = self.market.readings[max(self.market.readings)]
        assert (last.timestamp, [last.consumption_wh, last.production_wh]) == (self.now, self.registers)
        assert self.agent.outbox.readings() == []


Home.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestHome = Home.TestCase
