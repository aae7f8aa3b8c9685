"""A market at work for tests: one state, its clock, and short ways to command it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.market.apply import apply
from coordinator.market.cascades import Cascade
from coordinator.market.commands import (
    AdmitMember,
    CancelOrder,
    ClearSession,
    CloseGate,
    Command,
    CreditFunds,
    PlaceBundles,
    PlaceOrder,
    RegisterMeter,
    SignedLeg,
)
from coordinator.market.decide import decide
from coordinator.market.events import (
    Event,
    GateClosed,
    IntervalSettled,
    Rejected,
    SessionCleared,
    SettledTrade,
    SettlementRow,
    Traded,
)
from coordinator.market.rules import MarketRules
from coordinator.market.sessions import needs_solver
from coordinator.market.state import MarketState, state_hash
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.messages import ZERO_HASH, Order, Side
from coordinator.protocol.units import value_micro
from coordinator.solver.highs import propose

NOON = 1_800_000_000
START = NOON + 3600
ALICE, BOB, CAROL = ("0x" + letter * 40 for letter in "abc")
RULES = MarketRules(
    market="elm-street",
    interval_s=900,
    gate_s=300,
    horizon_s=36 * 3600,
    price_min_micro_per_kwh=0,
    price_max_micro_per_kwh=500_000,
    supplier_micro_per_kwh=320_000,
    feed_in_micro_per_kwh=80_000,
    order_energy_max_wh=10_000,
    orders_per_account_interval_max=20,
    members_max=10,
)


@dataclass
class Market:
    """Every accepted command is logged with its time and its events."""

    rules: MarketRules = RULES
    at: int = NOON
    log: list[tuple[int, tuple[Event, ...]]] = field(default_factory=list)
    placed: int = 0

    def __post_init__(self) -> None:
        self.state = MarketState(self.rules)

    def ask(self, command: Command) -> tuple[Event, ...] | Rejected:
        """Decide, apply, log; a refusal must leave the state as it was."""
        before = state_hash(self.state)
        decision = decide(self.state, command, self.at)
        assert state_hash(self.state) == before, "decide changed the state"
        if not isinstance(decision, Rejected):
            self.book(*decision)
        return decision

    def do(self, command: Command) -> tuple[Event, ...]:
        decision = self.ask(command)
        assert not isinstance(decision, Rejected), decision
        return decision

    def refused(self, command: Command) -> str:
        decision = self.ask(command)
        assert isinstance(decision, Rejected), decision
        assert decision.message
        return decision.code

    def book(self, *events: Event) -> None:
        for event in events:
            apply(self.state, event, self.at)
        self.log.append((self.at, events))

    def replayed(self) -> MarketState:
        state = MarketState(self.rules)
        for at, events in self.log:
            for event in events:
                apply(state, event, at)
        return state

    def admit(self, *accounts: str, money_micro: int = 10**9) -> Market:
        for account in accounts:
            number = len(self.state.meters) + 1
            self.do(AdmitMember(account, f"Home {number}"))
            self.do(RegisterMeter(number, account, b"key", 10_000, 10_000, b"", b""))
            self.do(CreditFunds(account, money_micro, f"welcome:{account}"))
        return self

    def order(self, account: str, side: str, energy_wh: int, limit: int | None, /, **terms: Any) -> PlaceOrder:
        """Return a command for a fresh order; its digest is its running number."""
        self.placed += 1
        salt = self.placed.to_bytes(32, "big")
        order = Order(account, self.rules.market, START, Side(side), energy_wh, limit, salt=salt)
        return PlaceOrder(replace(order, **terms), salt, b"signature")

    def place(self, account: str, side: str, energy_wh: int, limit: int | None, /, **terms: Any) -> bytes:
        command = self.order(account, side, energy_wh, limit, **terms)
        self.do(command)
        return command.digest

    def fire(self, events: tuple[Event, ...]) -> list[bytes]:
        """Fire what is due after these events until nothing is, as whoever sequences commands does."""
        fired = []
        cascade = Cascade(self.state)
        cascade.add(events)
        while (firing := cascade.next(self.ask)) is not None:
            command, decided = firing
            cascade.add(decided)
            fired.append(command.order)
        return fired

    def bundle(
        self,
        account: str,
        side: str,
        price: int,
        energies: dict[int, int],
        /,
        limits: dict[int, int] | None = None,
        **terms: Any,
    ) -> PlaceBundles:
        """Return a command for a bundle with energy by delivery start; its legs' digests are running numbers."""
        legs = tuple(Leg(start, energy_wh) for start, energy_wh in sorted(energies.items()))
        salt = (self.placed + 1).to_bytes(32, "big")
        made = Bundle(account, self.rules.market, Side(side), price, legs, salt=salt)
        return self.bundles(replace(made, **terms), limits=limits)

    def bundles(self, *bundles: Bundle, limits: dict[int, int] | None = None) -> PlaceBundles:
        """Return a command for bundles as they are, with legs that fit; ``limits`` are legs' own by delivery start."""
        signed = []
        for bundle in bundles:
            for leg in bundle.legs:
                limit = (limits or {}).get(leg.delivery_start)
                terms = {"delivery_start": leg.delivery_start, "bundle": bundle.struct_hash(), "market": bundle.market}
                made = self.order(bundle.account, bundle.side.value, leg.energy_wh, limit, **terms)
                signed.append(SignedLeg(made.order, made.digest, made.signature))
        return PlaceBundles(bundles, tuple(signed))

    def solved[C: (ClearSession, CloseGate)](self, command: C) -> C:
        """Return the command with the solver's proposal, where it needs one."""
        problem = needs_solver(self.state, command, self.at)
        return command if problem is None else replace(command, proposal=propose(problem, 5))

    def session(self) -> SessionCleared:
        """Wait for the next session and hold it."""
        every_s = self.rules.stages.session_every_s
        self.at += every_s - self.at % every_s
        events = self.do(self.solved(ClearSession(self.at)))
        (cleared,) = [event for event in events if isinstance(event, SessionCleared)]
        return cleared

    def close(self, start: int = START) -> GateClosed:
        """Wait for an interval's gate and close it."""
        self.at = max(self.at, self.rules.gate_at(start))
        *_, closed = self.do(self.solved(CloseGate(start)))
        assert isinstance(closed, GateClosed)
        return closed

    def cancel_all(self, account: str) -> tuple[Event, ...]:
        return self.do(CancelOrder(account, ZERO_HASH, self.at))

    def trades(self, start: int = START) -> list[tuple[int, int, int, int]]:
        """Return (buy, sell, price, energy) of the interval's trades, orders by their number."""
        return [
            (_number(t.buy), _number(t.sell), t.price_micro_per_kwh, t.energy_wh)
            for t in self.state.intervals[start].trades
        ]

    def settlement(self, start: int, over_wh: int = 0) -> IntervalSettled:
        """Settle every trade in full; each seller produced ``over_wh`` more than it sold."""
        trades = self.state.intervals[start].trades
        settled = tuple(
            SettledTrade(t.trade_id, t.buy, t.sell, t.energy_wh, t.price_micro_per_kwh, t.energy_wh, _value(t))
            for t in trades
        )
        digests = sorted({digest for t in trades for digest in (t.buy, t.sell)})
        rows = tuple(self._row(digest, over_wh) for digest in digests)
        return IntervalSettled(start, (), settled, rows, ZERO_HASH)

    def _row(self, digest: bytes, over_wh: int) -> SettlementRow:
        known = self.state.orders[digest]
        return SettlementRow(
            account=known.order.account,
            order=digest,
            executed_wh=known.filled_wh,
            short_wh=0,
            metered_wh=known.filled_wh + (0 if known.is_buy else over_wh),
            value_micro=sum(_value(trade) for trade in known.trades),
            trades=len(known.trades),
        )


def _value(trade: Traded) -> int:
    return value_micro(trade.energy_wh, trade.price_micro_per_kwh)


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")
