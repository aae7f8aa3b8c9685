"""The whole market under arbitrary commands, by Hypothesis and in long seeded days (``whole_market`` has the laws)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from coordinator.market.events import IntervalResettled, SessionCleared, Stage, Traded
from coordinator.market.state import IntervalStage
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL
from tests.market.whole_market import DAVE, FIRST, MARKETS, MEMBERS, STARTS, WholeMarketMachine

TestWholeMarket = WholeMarketMachine.TestCase
TestWholeMarket.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class Day:
    """A long day from a seed, with chances that let bundles and auctions have something to do."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.machine = WholeMarketMachine()
        self.machine.open(MARKETS[seed % len(MARKETS)], self.plans(6))

    def step(self) -> None:
        acts = {
            self.place: 6,
            self.bundle: 4,
            self.replace: 2,
            self.cancel: 1,
            self.signal: 1,
            self.session: 2,
            self.halt: 1,
            self.wait: 2,
            self.settle: 1,
        }
        (act,) = self.chance.choices([*acts], [*acts.values()])
        act()
        self.check()

    def end(self) -> None:
        """Let all gates come, then settle and confirm."""
        self.machine.market.at = max(self.machine.market.at, FIRST - 1500)
        while self.machine.market.at < STARTS[-1]:
            self.machine.place(self.plans(9))
            self.machine.wait(300)
            self.check()
        for _ in range(3):
            self.settle()
            self.check()

    def check(self) -> None:
        for invariant_of in _INVARIANTS:
            invariant_of(self.machine)

    def plans(self, count: int) -> list[dict[str, Any]]:
        return [self.plan() for _ in range(count)]

    def plan(self) -> dict[str, Any]:
        chance = self.chance
        terms: dict[str, Any] = {}
        if chance.random() < 0.2:
            signal = chance.choice([Signal.LAST_PRICE, Signal.BEST_ASK, Signal.SESSION_PRICE])
            terms["condition"] = Condition(signal, chance.choice([*Comparison]), self.price())
        if chance.random() < 0.2:
            other = chance.choice([None, 200_140])
            terms["preferences"] = Preferences(True, other_limit_price_micro_per_kwh=other)
        side = chance.choice(["buy", "sell"])
        limit = (210_147 if side == "buy" else 190_133) if "preferences" in terms else self.price()
        return {
            "account": chance.choice(MEMBERS[:4]),
            "side": side,
            "energy_wh": chance.randint(1, 30),
            "limit": None if not terms and chance.random() < 0.2 else limit,
            "start": chance.choice(STARTS),
            "terms": terms,
        }

    def price(self) -> int:
        return self.chance.randint(19, 23) * 10_007

    def place(self) -> None:
        self.machine.place(self.plans(3))

    def bundle(self) -> None:
        chance, side = self.chance, self.chance.choice([*Side])
        link = chance.choice(["", "", "parent", "group", "spread"])
        price = (
            chance.randint(22, 26) * 10_007 if side is Side.BUY or link == "spread" else chance.randint(16, 19) * 10_007
        )
        energies = [chance.randint(1, 8) for _ in STARTS]
        least = chance.choice([(1, 1), (1, 3), (0, 1)])
        account = chance.choice(MEMBERS[4:])
        self.machine.place_bundle(account, side, price, energies, chance.randint(0, 2), least, link)

    def replace(self) -> None:
        self.machine.replace(self.chance.randint(1, self.machine.market.placed), self.plan())

    def cancel(self) -> None:
        number = self.chance.randint(1, self.machine.market.placed)
        self.machine.cancel(self.chance.choice(MEMBERS), number, self.chance.random() < 0.1)

    def signal(self) -> None:
        self.machine.observe(Signal.GRID_STATE, self.chance.randint(0, 3))

    def session(self) -> None:
        if self.machine.market.at < FIRST - 3600 or self.chance.random() < 0.3:
            self.machine.session(self.chance.choice(["", "", "", "silent", "greedy", "garbage"]))

    def halt(self) -> None:
        self.machine.halt_or_resume(self.chance.random() < 0.2)

    def wait(self) -> None:
        self.machine.wait(self.chance.choice([1, 60, 300, -300]))

    def settle(self) -> None:
        if self.chance.random() < 0.3:
            self.machine.wait(900)
        energies = [
            (self.chance.randint(0, 60), self.chance.randint(0, 60), self.chance.random() < 0.5) for _ in MEMBERS
        ]
        out = self.chance.choice([None, None, *MEMBERS])
        self.machine.settle(energies, out)
        self.machine.confirm(self.chance.choice(STARTS))


_INVARIANTS = [
    WholeMarketMachine.replay_is_equal,
    WholeMarketMachine.books_never_cross_at_rest,
    WholeMarketMachine.every_open_order_is_in_one_place,
    WholeMarketMachine.energy_is_conserved_per_order,
    WholeMarketMachine.every_trade_suits_both_sides_and_the_network,
    WholeMarketMachine.lines_carry_what_they_can,
    WholeMarketMachine.reserves_are_exact_and_cover_every_settlement,
    WholeMarketMachine.nobody_is_taken_more_than_was_reserved,
    WholeMarketMachine.money_is_conserved,
    WholeMarketMachine.bundles_keep_their_rules,
]


@pytest.mark.parametrize("rules", range(len(MARKETS)))
def test_long_days(rules: int) -> None:
    """Days of sixty steps: bundles are accepted, stages trade, and the laws hold after each step."""
    happened: list[object] = []
    for seed in range(rules, 3 * len(MARKETS), len(MARKETS)):
        day = Day(seed)
        for _ in range(60):
            day.step()
        day.end()
        happened += day.machine.events()
    stages = {e.stage for e in happened if isinstance(e, Traded)}
    assert {Stage.SESSION, Stage.CONTINUOUS if MARKETS[rules].stages.continuous else Stage.CLOSING_AUCTION} <= stages
    assert sum(len(e.accepted) for e in happened if isinstance(e, SessionCleared)) > 0
    assert any(isinstance(e, IntervalResettled) for e in happened)


def test_the_machine_reaches_what_it_checks() -> None:
    """A run by hand through the rules: all three stages, a fired order, a battery, a settlement with compensation."""
    machine = WholeMarketMachine()
    plan = {"energy_wh": 10, "start": FIRST, "terms": {}}
    second, third = STARTS[1:]
    plans = [
        {**plan, "account": ALICE, "side": "sell", "limit": 200_140},
        {**plan, "account": BOB, "side": "buy", "limit": 230_161},
        {**plan, "account": CAROL, "side": "buy", "limit": 230_161, "terms": {"condition": _WHEN_TRADED}},
        {**plan, "account": ALICE, "side": "sell", "limit": 200_140, "start": second},
        {**plan, "account": BOB, "side": "sell", "limit": 200_140, "start": third},
    ]
    machine.open(MARKETS[1], plans)
    machine.place_bundle(CAROL, Side.BUY, 230_161, [0, 5, 5], 1, (1, 1), "")
    machine.session("")
    while machine.market.at < third - 900:
        machine.wait(900)
    machine.place([{**plan, "account": ALICE, "side": "buy", "limit": None, "start": third}])
    machine.place([{**plan, "account": DAVE, "side": "sell", "limit": 190_133, "start": third}])
    machine.wait(900)
    machine.settle([(3, 4, True)] * 6, ALICE)
    assert {trade.stage for trade in machine.trades()} == set(Stage)
    assert machine.state.orders[(3).to_bytes(32, "big")].fired == 200_140
    assert [known.share for known in machine.state.bundles.values()] == [(5, 5)]
    assert machine.state.intervals[FIRST].settlement is not None
    assert {interval.stage for interval in machine.state.intervals.values()} <= {
        IntervalStage.SETTLED,
        IntervalStage.CONFIRMED,
    }
    machine.reserves_are_exact_and_cover_every_settlement()
    machine.nobody_is_taken_more_than_was_reserved()
    machine.money_is_conserved()
    machine.bundles_keep_their_rules()
    machine.replay_is_equal()


_WHEN_TRADED = Condition(Signal.LAST_PRICE, Comparison.AT_LEAST, 1)
