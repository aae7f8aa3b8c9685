"""The whole market under arbitrary commands: every order, bundle, signal, session and settlement, in several markets.

After each command the laws hold: a replay of the events gives the same state, energy and money are conserved,
what is reserved covers whatever settlement can take, no book is crossed, no account trades with itself,
nobody pays more or gets less than signed for, lines carry what they can, bundles keep their rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import gcd
from typing import Any

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.ledger.decisions import decide as decide_with_settlement
from coordinator.market.apply import apply
from coordinator.market.commands import (
    CancelOrder,
    ClearSession,
    CloseGate,
    Command,
    ConfirmSettlement,
    ExcludeFromSettlement,
    HaltTrading,
    MeteredEnergy,
    ObserveSignal,
    ReplaceOrder,
    ResettleInterval,
    ResumeTrading,
    SettleInterval,
)
from coordinator.market.decide import due
from coordinator.market.events import CloseReason, Rejected, SessionCleared, Stage, Traded
from coordinator.market.proposal import AcceptedBundle, Proposal, ProposedInterval
from coordinator.market.rules import ClearingRule, Fees, Line, MarketRules, Place, Stages
from coordinator.market.state import IntervalStage, KnownOrder, state_hash
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.messages import ZERO_HASH, Side, TimeInForce
from coordinator.protocol.order_terms import ZERO_ADDRESS, Comparison, Condition, Preferences, Signal
from coordinator.protocol.units import cover_micro, value_micro
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

DAVE, ERIN, FRED = ("0x" + letter * 40 for letter in "def")
MEMBERS = [ALICE, BOB, CAROL, DAVE, ERIN, FRED]
_ACCOUNTS = st.sampled_from(MEMBERS[:4])
_BUNDLERS = st.sampled_from(MEMBERS[3:])
FIRST = START + 7200
STARTS = [FIRST, FIRST + 900, FIRST + 1800]
_PRICES = st.integers(19, 23).map(lambda price: price * 10_007)
_STAGES = Stages(session_every_s=900, bundles_per_account_max=6)
_BASE = replace(RULES, stages=_STAGES, members_max=6, orders_per_interval_max=90, orders_per_account_interval_max=40)
_PLACES = (
    Place(ALICE, "east", "solar"),
    Place(BOB, "west", "wind"),
    Place(CAROL, "west"),
    Place(DAVE, "east"),
    Place(ERIN, "east"),
)
MARKETS = [
    _BASE,
    replace(_BASE, fees=Fees(1_003, 20_011), compensation=True, places=_PLACES),
    replace(_BASE, lines=(Line("east", "west", 60, 5_003),), places=_PLACES, fees=Fees(0, 10_007)),
    replace(_BASE, rule=ClearingRule("pay_as_bid", ties="time"), places=_PLACES, compensation=True),
    replace(_BASE, rule=ClearingRule("mcafee"), stages=replace(_STAGES, continuous=False), places=_PLACES),
]
_CONDITIONS = st.builds(
    Condition,
    st.sampled_from([Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK, Signal.SESSION_PRICE]),
    st.sampled_from(Comparison),
    _PRICES,
    st.sampled_from([0, *STARTS]),
) | st.builds(Condition, st.just(Signal.GRID_STATE), st.sampled_from(Comparison), st.integers(0, 3))
_PREFERENCES = st.builds(
    Preferences,
    st.booleans(),
    st.booleans(),
    st.sampled_from([ZERO_ADDRESS, ALICE, BOB]),
    st.one_of(st.none(), _PRICES),
)
_TERMS = st.fixed_dictionaries(
    {},
    optional={
        "time_in_force": st.sampled_from(TimeInForce),
        "valid_until": st.sampled_from([NOON + 600, NOON + 1500]),
        "condition": _CONDITIONS,
        "preferences": _PREFERENCES,
    },
)
_PLANS = st.fixed_dictionaries(
    {
        "account": _ACCOUNTS,
        "side": st.sampled_from(["buy", "sell"]),
        "energy_wh": st.integers(1, 30),
        "limit": st.one_of(st.none(), _PRICES, _PRICES),
        "start": st.sampled_from(STARTS),
        "terms": _TERMS,
    }
)
_CROWDS = st.lists(_PLANS, min_size=4, max_size=12)


class WholeMarketMachine(RuleBasedStateMachine):
    """Six accounts, three intervals, a clock that may also go back, a solver that may fail or lie."""

    @initialize(rules=st.sampled_from(MARKETS), plans=_CROWDS)
    def open(self, rules: MarketRules, plans: list[dict[str, Any]]) -> None:
        self.market = Market(rules).admit(ALICE, BOB, CAROL, ERIN, FRED).admit(DAVE, money_micro=9_000)
        self.shadow = self.market.replayed()
        self.logged = len(self.market.log)
        self.place(plans)

    @rule(plans=_CROWDS)
    def place(self, plans: list[dict[str, Any]]) -> None:
        for plan in plans:
            terms = {**plan["terms"], "delivery_start": plan["start"]}
            self._ask(self.market.order(plan["account"], plan["side"], plan["energy_wh"], plan["limit"], **terms))

    @rule(number=st.integers(1, 60), plan=_PLANS)
    def replace(self, number: int, plan: dict[str, Any]) -> None:
        old = self.state.orders.get(number.to_bytes(32, "big"))
        if old is not None:
            limit = old.order.limit_price_micro_per_kwh if number % 2 else plan["limit"]
            placed = self.market.order(old.order.account, old.order.side.value, plan["energy_wh"], limit)
            order = replace(placed.order, delivery_start=old.order.delivery_start, preferences=old.order.preferences)
            self._ask(ReplaceOrder(order, placed.digest, placed.signature, old.digest))

    @rule(
        account=_BUNDLERS,
        side=st.sampled_from(Side),
        price=st.integers(17, 27).map(lambda price: price * 10_007),
        energies=st.lists(st.integers(1, 12), min_size=3, max_size=3),
        first=st.integers(0, 2),
        least=st.sampled_from([(1, 1), (1, 3), (0, 1)]),
        link=st.sampled_from(["", "parent", "group", "spread"]),
    )
    def place_bundle(
        self,
        account: str,
        side: Side,
        price: int,
        energies: list[int],
        first: int,
        least: tuple[int, int],
        link: str,
    ) -> None:
        legs = tuple(Leg(start, energy) for start, energy in zip(STARTS[first:], energies[first:], strict=True))
        salt = (self.market.placed + 1).to_bytes(32, "big")
        made = Bundle(account, RULES.market, side, price, legs, least, salt=salt)
        if link == "spread":
            buy = replace(made, side=Side.BUY, legs=legs[:1], spread=salt)
            other = Leg(STARTS[first - 1], energies[first - 1])
            sell = replace(made, side=Side.SELL, legs=(other,), spread=salt, price_micro_per_kwh=price // 2)
            self._ask(self.market.bundles(buy, sell))
            return
        mine = [*self.state.accounts[account].open_bundles]
        if link == "parent" and mine:
            made = replace(made, parent=mine[0])
        if link == "group":
            made = replace(made, group=b"g" * 32)
        self._ask(self.market.bundles(made))

    @rule(account=_ACCOUNTS, number=st.integers(1, 60), all_of_it=st.sampled_from([False, False, False, True]))
    def cancel(self, account: str, number: int, all_of_it: bool) -> None:
        digest = ZERO_HASH if all_of_it else number.to_bytes(32, "big")
        self._ask(CancelOrder(account, digest, self.market.at))

    @rule(signal=st.sampled_from([Signal.GRID_STATE, Signal.LAST_PRICE]), value=st.integers(-1, 4))
    def observe(self, signal: Signal, value: int) -> None:
        self._ask(ObserveSignal(signal, 0, value))

    @rule(seconds=st.sampled_from([1, 300, 900, -300, 7200]))
    def wait(self, seconds: int) -> None:
        self.market.at += seconds
        while commands := due(self.state, self.market.at):
            self._ask(self._solved(commands[0]))

    @rule(fault=st.sampled_from(["", "", "", "", "silent", "greedy", "garbage"]))
    def session(self, fault: str) -> None:
        self.market.at += 900 - self.market.at % 900
        command = ClearSession(self.market.at)
        if fault == "silent":
            command = replace(command, failure="out of time")
        elif fault == "garbage":
            command = replace(command, proposal=Proposal((), (), -1, 10**30))
        else:
            command = self.market.solved(command)
        if fault == "greedy" and command.proposal is not None:
            command = replace(command, proposal=_greedy(command.proposal, [*self.state.bundles]))
        self._ask(command)

    @rule(halts=st.sampled_from([False, False, False, True]))
    def halt_or_resume(self, halts: bool) -> None:
        if halts and self.state.halted is None:
            self._ask(HaltTrading("test"))
        elif self.state.halted is not None:
            self._ask(ResumeTrading("test"))

    @rule(
        energies=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), min_size=6, max_size=6),
        out=st.one_of(st.none(), _ACCOUNTS),
    )
    def settle(self, energies: list[tuple[int, int, bool]], out: str | None) -> None:
        metered = tuple(MeteredEnergy(account, *energy) for account, energy in zip(MEMBERS, energies, strict=True))
        closed = [i.delivery_start for i in self.state.intervals.values() if i.stage is IntervalStage.GATE_CLOSED]
        if closed:
            self.market.at = max(self.market.at, max(closed) + 900)
        for start in sorted(closed):
            self._settling(SettleInterval(start, metered, ZERO_HASH))
            self._settling(ResettleInterval(start, metered[::-1], ZERO_HASH))
            if out is not None:
                self._settling(ExcludeFromSettlement(start, out, "withdrew"))

    @rule(start=st.sampled_from(STARTS))
    def confirm(self, start: int) -> None:
        self._ask(ConfirmSettlement(start, "0xabc", 7, 1))

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
            for book in interval.books.values():
                bid, ask = (book.best(side) for side in Side)
                assert bid is None or ask is None or bid < ask or not self.state.rules.stages.continuous

    @invariant()
    def every_open_order_is_in_one_place(self) -> None:
        for known in self.state.orders.values():
            interval, account = self.state.intervals[known.order.delivery_start], known.order.account
            held = known.digest in interval.held.get(account, {})
            resting = interval.book_of(self.state.rules.node_of(account)).get(known.digest)
            dormant = any(known.digest in triggers for triggers in self.state.triggers.values())
            assert held + (resting is not None) + dormant == (known.closed is None)
            assert dormant == known.is_dormant
            assert (resting.energy_wh if resting is not None else 0) == (known.remaining_wh if known.rests else 0)
            assert (known.digest in self.state.accounts[account].open_orders) == (known.closed is None)

    @invariant()
    def energy_is_conserved_per_order(self) -> None:
        for known in self.state.orders.values():
            assert known.filled_wh == sum(trade.energy_wh for trade in known.trades)
            assert (1 if known.closed is None else 0) <= known.remaining_wh <= known.order.energy_wh
            assert not known.trades or not known.is_dormant

    @invariant()
    def every_trade_suits_both_sides_and_the_network(self) -> None:
        rules = self.state.rules
        for trade in self.trades():
            buy, sell = self.state.orders[trade.buy], self.state.orders[trade.sell]
            assert (buy.order.side, sell.order.side) == (Side.BUY, Side.SELL)
            assert buy.order.account != sell.order.account
            node_price = trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh
            assert trade.community_fee_micro_per_kwh == rules.fees.community_fee(node_price)
            paid = node_price + trade.community_fee_micro_per_kwh
            assert trade.price_micro_per_kwh >= _limit(sell, rules.price_min_micro_per_kwh)
            assert paid <= _limit(buy, rules.price_max_micro_per_kwh)
            if trade.stage is Stage.CONTINUOUS:
                maker = min(buy, sell, key=lambda known: known.priority)
                limit = rules.net_limit(maker.order.side, maker.order.limit_price_micro_per_kwh)
                assert trade.price_micro_per_kwh == limit
                assert rules.node_of(buy.order.account) == rules.node_of(sell.order.account)
                assert not any(known.is_leg or known.order.preferences is not None for known in (buy, sell))

    @invariant()
    def lines_carry_what_they_can(self) -> None:
        rules = self.state.rules
        for interval in self.state.intervals.values():
            for line, sent_wh in zip(rules.lines, interval.sent_wh, strict=bool(interval.sent_wh)):
                assert line.limit_w is not None
                assert abs(sent_wh) <= line.limit_w * rules.interval_s // 3600
                over = sum(trade.energy_wh * _direction(rules, self.state.orders, trade) for trade in interval.trades)
                assert over == sent_wh

    @invariant()
    def reserves_are_exact_and_cover_every_settlement(self) -> None:
        """Each order reserves its open energy at its limit and its trades at the most they can cost."""
        reserved: Counter[str] = Counter()
        for known in self.state.orders.values():
            interval = self.state.intervals[known.order.delivery_start]
            if interval.settlement is None:
                expected = self._open_micro(known) + sum(self._bound_micro(known, t) for t in known.trades)
                assert known.reserved_micro == expected
            assert known.reserved_micro >= 0
            reserved[known.order.account] += known.reserved_micro
        for name, account in self.state.accounts.items():
            assert account.reserved_micro == reserved[name]

    @invariant()
    def nobody_is_taken_more_than_was_reserved(self) -> None:
        for interval in self.state.intervals.values():
            for row in interval.settlement.rows if interval.settlement is not None else ():
                known = self.state.orders[row.order]
                taken_micro = row.value_micro if known.is_buy else -row.value_micro
                assert taken_micro <= known.bound_micro
                if interval.confirmation is None:
                    assert known.reserved_micro >= known.bound_micro - max(taken_micro, 0)

    @invariant()
    def money_is_conserved(self) -> None:
        fees = sum(
            share.grid_fee_micro + share.community_fee_micro
            for interval in self.state.intervals.values()
            for share in (interval.settlement.trades if interval.settlement is not None else ())
        )
        assert sum(account.money_micro for account in self.state.accounts.values()) == 5 * 10**9 + 9_000 - fees

    @invariant()
    def bundles_keep_their_rules(self) -> None:
        groups: Counter[tuple[str, bytes]] = Counter()
        for known in self.state.bundles.values():
            legs = [self.state.orders[digest] for digest in known.legs]
            assert {leg.closed for leg in legs} <= {known.closed, CloseReason.SESSION_REMAINDER, CloseReason.FILLED}
            assert all((leg.closed is None) == (known.closed is None) for leg in legs)
            numerator, denominator = known.share or (0, 1)
            assert all(leg.filled_wh * denominator == leg.order.energy_wh * numerator for leg in legs)
            if known.share is not None:
                low, whole = known.bundle.min_acceptance
                assert low * denominator <= numerator * whole
                groups[known.bundle.account, known.bundle.group] += 1
                parent = self.state.bundles.get(known.bundle.parent)
                assert known.bundle.parent == ZERO_HASH or (parent is not None and parent.share is not None)
                self._mean_price_keeps_the_limit(known.bundle, legs)
        assert all(count == 1 for (_, group), count in groups.items() if group != ZERO_HASH)
        spreads: dict[bytes, set[tuple[int, int] | None]] = {}
        for known in self.state.bundles.values():
            if known.bundle.spread != ZERO_HASH:
                share = known.share
                spreads.setdefault(known.bundle.spread, set()).add(share and _lowest(*share))
        assert all(len(shares) == 1 for shares in spreads.values())

    @invariant()
    def trades_are_numbered_without_gaps(self) -> None:
        numbers = [e.trade_id for e in self.events() if isinstance(e, Traded)]
        assert numbers == list(range(1, self.state.trades_made + 1))

    def _mean_price_keeps_the_limit(self, bundle: Bundle, legs: list[KnownOrder]) -> None:
        """A child may save its parent, so whoever has kin or another half is not judged alone."""
        if bundle.parent != ZERO_HASH or bundle.spread != ZERO_HASH or self._has_children(bundle):
            return
        trades = [trade for leg in legs for trade in leg.trades]
        energy_wh = sum(trade.energy_wh for trade in trades)
        prices = sum(trade.energy_wh * _price_of(legs[0], trade) for trade in trades)
        if bundle.side is Side.BUY:
            assert prices <= bundle.price_micro_per_kwh * energy_wh
        else:
            assert prices >= bundle.price_micro_per_kwh * energy_wh

    def _has_children(self, bundle: Bundle) -> bool:
        digest = bundle.struct_hash()
        return any(known.bundle.parent == digest for known in self.state.bundles.values())

    def _open_micro(self, known: KnownOrder) -> int:
        rules, open_wh = self.state.rules, 0 if known.closed else known.remaining_wh
        if known.is_buy:
            return cover_micro(open_wh, _limit(known, rules.price_max_micro_per_kwh))
        missing = rules.supplier_micro_per_kwh - _limit(known, rules.price_min_micro_per_kwh)
        return cover_micro(open_wh, max(missing, 0)) if rules.compensation else 0

    def _bound_micro(self, known: KnownOrder, trade: Traded) -> int:
        rules = self.state.rules
        if known.is_buy:
            return value_micro(trade.energy_wh, _price_of(known, trade))
        missing = rules.supplier_micro_per_kwh - trade.price_micro_per_kwh
        return value_micro(trade.energy_wh, max(missing, 0)) if rules.compensation else 0

    @property
    def state(self) -> Any:
        return self.market.state

    def _solved(self, command: Command) -> Command:
        if isinstance(command, ClearSession):
            return self.market.solved(command)
        return self.market.solved(command) if isinstance(command, CloseGate) else command

    def _ask(self, command: Command) -> None:
        """``Market.ask`` checks that deciding changes nothing; whoever sequences commands fires what is due."""
        decision = self.market.ask(command)
        if isinstance(decision, Rejected):
            _saw(f"{type(command).__name__} refused: {decision.code}")
            assert decision.message
            return
        _saw(f"{type(command).__name__} accepted")
        self._note(decision)
        self.market.fire(decision)

    def _note(self, events: tuple[object, ...]) -> None:
        for happened in events:
            if isinstance(happened, SessionCleared):
                _saw(f"session {happened.outcome.split(':')[0]}, bundles: {len(happened.accepted)}")
            if isinstance(happened, Traded):
                _saw(f"trade in {happened.stage}")

    def _settling(self, command: Command) -> None:
        before = state_hash(self.state)
        decision = decide_with_settlement(self.state, command, self.market.at)
        assert state_hash(self.state) == before
        if not isinstance(decision, Rejected):
            _saw(f"{type(command).__name__} accepted")
            self.market.book(*decision)

    def trades(self) -> Iterator[Traded]:
        for interval in self.state.intervals.values():
            yield from interval.trades

    def events(self) -> Iterator[object]:
        for _, events in self.market.log:
            yield from events


def _saw(what: str) -> None:
    if currently_in_test_context():
        event(what)


def _limit(known: KnownOrder, band: int) -> int:
    limit = known.order.limit_price_micro_per_kwh
    return band if limit is None else limit


def _price_of(known: KnownOrder, trade: Traded) -> int:
    """Return what the order's side of the trade pays or receives for a kWh."""
    if not known.is_buy:
        return trade.price_micro_per_kwh
    return trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh + trade.community_fee_micro_per_kwh


def _direction(rules: MarketRules, orders: dict[bytes, KnownOrder], trade: Traded) -> int:
    """Return 1 for a trade from east to west, -1 for one back, 0 within a node."""
    source, target = (rules.node_of(orders[digest].order.account) for digest in (trade.sell, trade.buy))
    return (source == "east") - (target == "east")


def _lowest(numerator: int, denominator: int) -> tuple[int, int]:
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


def _greedy(proposal: Proposal, bundles: list[bytes]) -> Proposal:
    """Accept everything at once, at the same prices."""
    intervals = tuple(ProposedInterval(i.delivery_start, i.prices, i.flows_wh) for i in proposal.intervals)
    return replace(proposal, accepted=tuple(AcceptedBundle(bundle, 1, 1) for bundle in bundles), intervals=intervals)
