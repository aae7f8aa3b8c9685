"""A market under arbitrary commands: after each one the laws hold and a replay gives the same state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.market.apply import apply
from coordinator.market.commands import (
    CancelOrder,
    Command,
    ConfirmSettlement,
    CreditFunds,
    HaltTrading,
    ResumeTrading,
    SuspendMeter,
)
from coordinator.market.decide import due
from coordinator.market.events import FundsCredited, IntervalSettled, Rejected, Stage, Traded
from coordinator.market.state import IntervalStage, KnownOrder, MarketState, state_hash
from coordinator.protocol.messages import ZERO_HASH, Side, TimeInForce
from coordinator.protocol.units import cover_micro, value_micro
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

_ACCOUNTS = st.sampled_from([ALICE, BOB, CAROL])
_STARTS = st.sampled_from([START, START + 900, START + 1800])
_LIMITS = st.one_of(st.none(), st.integers(190, 210).map(lambda price: price * 1001))
_LIFETIMES = st.sampled_from([*[TimeInForce.GOOD_TILL_GATE] * 4, *TimeInForce])
RULES_OF_THE_MACHINE = replace(RULES, members_max=4, orders_per_interval_max=12)
_PLANS = st.fixed_dictionaries(
    {
        "account": _ACCOUNTS,
        "side": st.sampled_from(["buy", "sell"]),
        "energy_wh": st.integers(1, 30),
        "limit": _LIMITS,
        "start": _STARTS,
        "lifetime": _LIFETIMES,
        "stands_s": st.sampled_from([0, 0, 300, 900]),
    }
)


class MarketMachine(RuleBasedStateMachine):
    """Three accounts, three intervals, a clock; one account is never rich."""

    @initialize()
    def open(self) -> None:
        self.market = Market(RULES_OF_THE_MACHINE).admit(ALICE, BOB).admit(CAROL, money_micro=3_000)
        self.shadow = self.market.replayed()
        self.logged = len(self.market.log)
        self.produced_wh = 0

    @rule(plan=_PLANS)
    def place(self, plan: dict[str, Any]) -> None:
        self._place(**plan)

    @rule(plans=st.lists(_PLANS, min_size=5, max_size=15))
    def place_many(self, plans: list[dict[str, Any]]) -> None:
        for plan in plans:
            self._place(**plan)
            self.books_never_cross_at_rest()

    @rule(account=_ACCOUNTS, number=st.integers(1, 40))
    def cancel(self, account: str, number: int) -> None:
        self._ask(CancelOrder(account, number.to_bytes(32, "big"), 0))

    @rule(account=_ACCOUNTS, ago_s=st.sampled_from([0, 300]))
    def cancel_all(self, account: str, ago_s: int) -> None:
        self._ask(CancelOrder(account, ZERO_HASH, self.market.at - ago_s))

    @rule(seconds=st.sampled_from([1, 300, 900, START - NOON]), punctual=st.booleans())
    def wait(self, seconds: int, punctual: bool) -> None:
        self.market.at += seconds
        while punctual and (commands := due(self.state, self.market.at)):
            self._ask(commands[0])

    @rule()
    def wait_for_the_next_gate(self) -> None:
        gates = [
            RULES.gate_at(i.delivery_start) for i in self.state.intervals.values() if i.stage is IntervalStage.OPEN
        ]
        self.market.at = max(self.market.at, min(gates, default=0))
        for command in due(self.state, self.market.at):
            self._ask(command)

    @rule(account=_ACCOUNTS, money_micro=st.integers(-500, 5_000))
    def credit(self, account: str, money_micro: int) -> None:
        self._ask(CreditFunds(account, money_micro, f"tx:{len(self.state.credited)}"))

    @rule()
    def halt_or_resume(self) -> None:
        self._ask(HaltTrading("test") if self.state.halted is None else ResumeTrading("test"))

    @rule(again=st.sampled_from([True, False, False, False]))
    def suspend(self, again: bool) -> None:
        if again:
            self._ask(SuspendMeter(3, "test"))

    @rule(over_wh=st.integers(0, 3))
    def settle(self, over_wh: int) -> None:
        for interval in list(self.state.intervals.values()):
            if interval.stage is IntervalStage.GATE_CLOSED:
                settled = self.market.settlement(interval.delivery_start, over_wh)
                self.produced_wh += sum(row.metered_wh - row.executed_wh for row in settled.rows)
                self.market.book(settled)
                return

    @rule()
    def confirm(self) -> None:
        for interval in list(self.state.intervals.values()):
            self._ask(ConfirmSettlement(interval.delivery_start, "0xabc", 7, 1))

    @invariant()
    def replay_is_equal(self) -> None:
        for at, events in self.market.log[self.logged :]:
            for happened in events:
                apply(self.shadow, happened, at)
        self.logged = len(self.market.log)
        assert state_hash(self.shadow) == state_hash(self.state)

    @invariant()
    def books_never_cross_at_rest(self) -> None:
        for interval in self.state.intervals.values():
            bid, ask = (interval.book.side(side).best() for side in Side)
            assert bid is None or ask is None or bid < ask

    @invariant()
    def energy_is_conserved_per_order(self) -> None:
        for known in self.state.orders.values():
            assert known.filled_wh == sum(trade.energy_wh for trade in known.trades)
            assert (1 if known.closed is None else 0) <= known.remaining_wh <= known.order.energy_wh
            resting = self.state.intervals[known.order.delivery_start].book.get(known.digest)
            in_book_wh = resting.energy_wh if resting is not None else 0
            assert in_book_wh == (0 if known.closed else known.remaining_wh)

    @invariant()
    def trades_are_numbered_without_gaps(self) -> None:
        numbers = [e.trade_id for e in self._logged_events() if isinstance(e, Traded)]
        assert numbers == list(range(1, self.state.trades_made + 1))

    @invariant()
    def levels_add_up(self) -> None:
        for interval in self.state.intervals.values():
            for side in Side:
                for level in interval.book.side(side).levels():
                    assert level.energy_wh == sum(resting.energy_wh for resting in level) > 0

    @invariant()
    def every_trade_suits_both_sides(self) -> None:
        for trade in self._trades():
            buy, sell = self.state.orders[trade.buy], self.state.orders[trade.sell]
            assert trade.energy_wh > 0
            assert buy.order.account != sell.order.account
            low, high = _limit(sell, RULES.price_min_micro_per_kwh), _limit(buy, RULES.price_max_micro_per_kwh)
            assert low <= trade.price_micro_per_kwh <= high
            maker = min(buy, sell, key=lambda known: known.sequence)
            if trade.stage is Stage.CONTINUOUS:
                assert trade.price_micro_per_kwh == maker.order.limit_price_micro_per_kwh

    @invariant()
    def funds_are_conserved_and_reserved_exactly(self) -> None:
        reserved = dict.fromkeys(self.state.accounts, 0)
        for known in self.state.orders.values():
            if known.is_buy and self.state.intervals[known.order.delivery_start].settlement is None:
                open_wh = 0 if known.closed else known.remaining_wh
                reserved[known.order.account] += cover_micro(open_wh, _limit(known, RULES.price_max_micro_per_kwh))
                reserved[known.order.account] += sum(
                    value_micro(trade.energy_wh, trade.price_micro_per_kwh) for trade in known.trades
                )
        assert reserved == {name: account.reserved_micro for name, account in self.state.accounts.items()}
        credited = sum(e.money_micro for e in self._logged_events() if isinstance(e, FundsCredited))
        assert credited == sum(account.money_micro for account in self.state.accounts.values())

    @invariant()
    def no_account_spends_what_it_does_not_have(self) -> None:
        withdrawn = dict.fromkeys(self.state.accounts, 0)
        for booked in self._logged_events():
            if isinstance(booked, FundsCredited):
                withdrawn[booked.account] -= min(booked.money_micro, 0)
        for name, account in self.state.accounts.items():
            assert account.available_micro >= -withdrawn[name]

    @invariant()
    def energy_accounts_hold_what_was_produced_and_not_sold(self) -> None:
        accounts = self.state.accounts.values()
        assert sum(account.energy_wh for account in accounts) == self.produced_wh
        assert sum(a.bought_wh for a in accounts) == sum(a.sold_wh for a in accounts)
        assert sum(a.cost_micro for a in accounts) == sum(a.revenue_micro for a in accounts)

    @invariant()
    def open_orders_are_indexed(self) -> None:
        still_open = [digest for digest, known in self.state.orders.items() if known.closed is None]
        indexed = [digest for account in self.state.accounts.values() for digest in account.open_orders]
        assert sorted(still_open) == sorted(indexed)

    @invariant()
    def places_are_held_by_open_and_traded_orders(self) -> None:
        for interval in self.state.intervals.values():
            held: dict[str, int] = {}
            for known in (self.state.orders[digest] for digest in interval.orders):
                if known.closed is None or known.trades:
                    held[known.order.account] = held.get(known.order.account, 0) + 1
            assert interval.places_by_account == held
            assert interval.places == sum(held.values())
            kept_free = RULES_OF_THE_MACHINE.members_max - len(held)
            assert interval.places + kept_free <= RULES_OF_THE_MACHINE.orders_per_interval_max

    def teardown(self) -> None:
        if hasattr(self, "market"):
            for stage in sorted({trade.stage for trade in self._trades()}):
                event(f"traded: {stage}")
            assert state_hash(self.market.replayed()) == state_hash(self.state)

    @property
    def state(self) -> MarketState:
        return self.market.state

    def _place(self, account: str, side: str, energy_wh: int, limit: int | None, start: int, **terms: Any) -> None:
        until = self.market.at + terms["stands_s"] if terms["stands_s"] else 0
        lifetime = terms["lifetime"]
        self._ask(
            self.market.order(
                account,
                side,
                energy_wh,
                limit,
                delivery_start=start,
                time_in_force=lifetime,
                valid_until=until,
            )
        )

    def _ask(self, command: Command) -> None:
        """``Market.ask`` checks that deciding changes nothing; a refusal says why."""
        decision = self.market.ask(command)
        assert not isinstance(decision, Rejected) or decision.message

    def _trades(self) -> Iterator[Traded]:
        for interval in self.state.intervals.values():
            yield from interval.trades

    def _logged_events(self) -> Iterator[object]:
        for _, events in self.market.log:
            yield from events


def _limit(known: KnownOrder, band: int) -> int:
    limit = known.order.limit_price_micro_per_kwh
    return band if limit is None else limit


TestMarketMachine = MarketMachine.TestCase
TestMarketMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_the_machine_reaches_what_it_checks() -> None:
    """A run by hand through the rules: trades in both stages, an expiry, a settlement."""
    machine = MarketMachine()
    machine.open()
    terms = {"lifetime": TimeInForce.GOOD_TILL_GATE, "stands_s": 0}
    machine._place(ALICE, "buy", 10, 200_200, START, **terms)
    machine._place(BOB, "sell", 15, 200_200, START, **terms)
    machine._place(CAROL, "buy", 5, None, START, **terms)
    machine._place(ALICE, "buy", 9, None, START, **terms)
    machine._place(BOB, "sell", 4, 200_200, START, **terms)
    machine.wait(START - NOON, punctual=True)
    machine.settle(2)
    machine.confirm()
    stages = {trade.stage for trade in machine._trades()}
    assert stages == {Stage.CONTINUOUS, Stage.CLOSING_AUCTION}
    assert any(isinstance(e, IntervalSettled) for e in machine._logged_events())
    machine.replay_is_equal()
    machine.trades_are_numbered_without_gaps()
    machine.every_trade_suits_both_sides()
    machine.funds_are_conserved_and_reserved_exactly()
    machine.energy_accounts_hold_what_was_produced_and_not_sold()
