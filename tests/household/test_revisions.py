"""Orders are revised as forecasts move: never two for one interval, never more sold than was certain enough.

The home is driven through everything at once: forecasts that move, trades that nobody tells it of, answers that get
lost or come late, refusals, reports that are old, switches, crashes, a network that is away.
"""

from __future__ import annotations

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coordinator.household.agent import HouseholdAgent, OrderStatus
from coordinator.household.courier import deliver
from coordinator.household.forecast import Forecast
from coordinator.household.outbox import Outgoing
from coordinator.household.outlook import Outlook
from coordinator.household.planner import open_intervals
from coordinator.household.policy import Bounds
from coordinator.household.verification import ToldOrders
from coordinator.protocol.client import CoordinatorUnavailable
from coordinator.protocol.messages import Order, Side

from .world import IDENTITY, INFO, INTERVAL_S, LIMITS, POLICY, START, Crashed, Market, new_agent, run

AHEAD = 3
faults = st.lists(
    st.sampled_from(["", "", "", "away", "late", "lost", "crash", "crash_lost", "refuse:trading_halted"]), max_size=5
)
places = st.integers(0, AHEAD - 1)
forecasts = st.lists(
    st.none() | st.tuples(st.integers(-200, 200), st.integers(0, 60), st.integers(0, 60)),
    min_size=AHEAD,
    max_size=AHEAD,
)


class Trading(RuleBasedStateMachine):
    """A home that plans three intervals ahead, its disk, and a market in which others trade."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.market = Market()
        self.agent = new_agent(ahead=AHEAD)
        self.disk = json.dumps(self.agent.to_dict())
        self.alive = True
        self.reports: list[list[OrderStatus]] = []
        self.known: dict[int, Forecast] = {}
        self.told = ToldOrders()

    async def save(self) -> None:
        self.disk = json.dumps(self.agent.to_dict())
        self.agent.saved(self.agent.version)

    @rule(told=forecasts)
    def plan(self, told: list[tuple[int, int, int] | None]) -> None:
        """The forecasts are others now, or gone."""
        starts = open_intervals(INFO, self.now, AHEAD)
        for start, one in zip(starts, told, strict=True):
            self.known.pop(start, None)
            if one is not None:
                net, below, above = one
                self.known[start] = Forecast(net, "as drawn", low_wh=net - below, high_wh=net + above)
        self.replan()

    @rule(told=forecasts, network=faults, wh=st.lists(st.integers(0, 120), max_size=AHEAD), is_told=st.booleans())
    def live(self, told: list[tuple[int, int, int] | None], network: list[str], wh: list[int], is_told: bool) -> None:
        """What is usual: plan, send, be traded with, hear of it, plan anew."""
        self.plan(told)
        self.deliver(network)
        open_orders = [digest for digest, kept in self.market.kept.items() if kept.closed is None]
        for digest, energy_wh in zip(open_orders, wh, strict=False):
            self.market.trade(digest, energy_wh)
        self.look()
        if is_told:
            self.agent.heard(self.reports[-1])
        self.replan()
        self.deliver([])

    @rule()
    def replan(self) -> None:
        """Plan with what is known; judge each order that is signed by what has really traded."""
        for item in self.agent.plan(self.now, Outlook(forecasts=self.known)):
            if isinstance(item.message, Order):
                self._judge(item, item.message)

    def _judge(self, item: Outgoing, order: Order) -> None:
        forecast, limit = self.known[order.delivery_start], order.limit_price_micro_per_kwh
        others = [kept for kept in self.market.kept.values() if kept.order.delivery_start == order.delivery_start]
        assert all(kept.closed for kept in others), "the one before is closed"
        waiting = {item.key, *("order:0x" + digest.hex() for digest in self.market.kept)}
        assert waiting >= set(self._waiting(order.delivery_start)), "none that never came there waits to leave"
        traded_wh = order.energy_wh + sum(kept.filled_wh for kept in others if kept.order.side is order.side)
        assert traded_wh <= (forecast.surplus_wh if order.side is Side.SELL else forecast.need_wh)
        assert limit is not None
        assert INFO.feed_in_micro_per_kwh <= limit <= INFO.supplier_micro_per_kwh
        assert order.delivery_start not in self.agent.held
        assert self.agent.trading
        assert not self.agent.shadow
        assert not (self.agent.away and order.side is Side.BUY)

    def _waiting(self, start: int) -> list[str]:
        items = self.agent.outbox.orders()
        return [item.key for item in items if isinstance(item.message, Order) and item.message.delivery_start == start]

    @rule()
    def look(self) -> None:
        """A report of all orders is on its way to the home."""
        self.reports.append([OrderStatus.from_wire(wire) for wire in self.market.told()])

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """A report comes in, perhaps not the newest."""
        self.agent.heard(data.draw(st.sampled_from(self.reports)))

    @rule(network=faults)
    def deliver(self, network: list[str]) -> None:
        self.market.faults = list(network)
        try:
            run(deliver(self.agent, self.market, self.save, self.now, None))
        except CoordinatorUnavailable:
            pass
        except Crashed:
            self.crash()
        self.market.faults = []
        self.one_order_stands_in_an_interval()

    @rule()
    def crash(self) -> None:
        self.agent = HouseholdAgent.from_dict(json.loads(self.disk), IDENTITY, INFO, POLICY, LIMITS, ahead=AHEAD)

    @rule(seconds=st.sampled_from([1, 20, 45, INTERVAL_S, 3 * INTERVAL_S]))
    def wait(self, seconds: int) -> None:
        """Time goes on; what was on its way arrives, unless it was but a moment."""
        self._pass(seconds)

    def _pass(self, seconds: int) -> None:
        if seconds > 1:
            self.market.arrive()
            self.one_order_stands_in_an_interval()
        self.reports = self.reports[-1:] if seconds < INTERVAL_S else []
        self.now += seconds
        self.market.now = self.now
        self.market.close_gates()

    @rule(what=st.sampled_from(["trading", "shadow", "away", "held", "held"]), enabled=st.booleans(), place=places)
    def switch(self, what: str, enabled: bool, place: int) -> None:
        """A person wants it otherwise."""
        match what:
            case "trading":
                self.agent.set_trading(self.now, enabled)
            case "shadow":
                self.agent.set_shadow(self.now, enabled)
            case "away":
                self.agent.set_away(enabled)
            case _:
                self.agent.set_held(self.now, open_intervals(INFO, self.now, AHEAD)[place], enabled)

    @rule(sell=st.booleans(), buy=st.booleans())
    def bound(self, sell: bool, buy: bool) -> None:
        self.agent.bounds = Bounds(buy=buy, sell=sell)

    @rule()
    def cancel_all(self) -> None:
        self.agent.cancel(self.now)

    @invariant()
    def a_market_that_tells_the_truth_is_never_accused(self) -> None:
        """What was told of an order that is over stays all of it, whatever got lost or came late."""
        self.told.note(self.agent.orders)
        for digest, told_wh in self.told.by_digest().items():
            kept = self.market.kept.get(digest)
            assert told_wh == (0 if kept is None else kept.filled_wh)
            assert kept is None or kept.closed

    def one_order_stands_in_an_interval(self) -> None:
        """Whatever happened, the plan has one open order in an interval at most, on one side."""
        standing = [kept.order.delivery_start for kept in self.market.kept.values() if kept.closed is None]
        assert len(standing) == len(set(standing)), "two orders stand in one interval"

    def teardown(self) -> None:
        """With a network that works and nothing in the way, the plan comes true within an interval."""
        self.agent.set_trading(self.now, True)
        self.agent.set_shadow(self.now, False)
        self.agent.bounds = Bounds()
        self._pass(3 * INTERVAL_S)
        starts = open_intervals(INFO, self.now, AHEAD)
        for start in starts:
            self.agent.set_held(self.now, start, False)
        self.agent.set_away(False)
        self.known = {start: Forecast(-100, "sunny", high_wh=-80) for start in starts}
        for _ in range(3):
            self.replan()
            self.deliver([])
            self.look()
            self.agent.heard(self.reports[-1])
        standing = {kept.order.delivery_start: kept for kept in self.market.kept.values() if kept.closed is None}
        for start in starts:
            sold_wh = sum(
                kept.filled_wh
                for kept in self.market.kept.values()
                if kept.order.delivery_start == start and kept.order.side is Side.SELL
            )
            offered_wh = 0 if start not in standing else standing[start].order.energy_wh - standing[start].filled_wh
            assert abs(80 - sold_wh - offered_wh) <= 8 or sold_wh > 80, (start, sold_wh, offered_wh)


Trading.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTrading = Trading.TestCase
