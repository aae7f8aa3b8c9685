"""A street whose homes trade honestly on the real market, and neighbours who do not: histories for the reports."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from coordinator.market.apply import apply
from coordinator.market.commands import (
    AdmitMember,
    BookWithdrawal,
    CancelOrder,
    CloseGate,
    Command,
    CreditFunds,
    MeteredEnergy,
    PlaceOrder,
    RegisterMeter,
    SettleInterval,
)
from coordinator.market.decide import decide
from coordinator.market.events import Event, IntervalSettled, Rejected
from coordinator.market.state import MarketState
from coordinator.protocol.messages import ZERO_HASH, Order, Side
from coordinator.reports.history import History, Reader
from tests.market.support import NOON, RULES

STREET = replace(RULES, members_max=100, orders_per_account_interval_max=40, price_max_micro_per_kwh=1_000_000)
GATE_S = STREET.gate_s
LOW, HIGH = STREET.feed_in_micro_per_kwh, STREET.supplier_micro_per_kwh

type Act = Callable[[], None]


def account(number: int) -> str:
    return f"0x{number:040x}"


@dataclass
class Street:
    """Acts happen at their time, each at its place in the log; ``history`` is what the reports read."""

    seed: int = 1
    homes: int = 16
    intervals: int = 32
    widest_per_cent: int = 100
    sequence: int = 0
    placed: int = 0
    reader: Reader = field(default_factory=Reader)
    acts: list[tuple[int, int, Act]] = field(default_factory=list)
    extra_wh: dict[tuple[int, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.state = MarketState(STREET)
        self.at = NOON - 86_400
        self.reader.take_rules(STREET)
        self.made_wh: dict[int, dict[str, int]] = {start: {} for start in self.starts}
        for number in range(1, self.homes + 1):
            self.admit(account(number), f"Home {number}")

    @property
    def starts(self) -> list[int]:
        return [NOON + STREET.interval_s * number for number in range(self.intervals)]

    def admit(self, account: str, name: str) -> None:
        number = len(self.state.meters) + 1
        self.do(AdmitMember(account, name))
        self.do(RegisterMeter(number, account, b"key", 20_000, 20_000, b"", b""))
        self.do(CreditFunds(account, 10**9, f"welcome:{number}"))

    def do(self, command: Command) -> bool:
        """Decide and apply; tell whether it was accepted."""
        decision = decide(self.state, command, self.at)
        if isinstance(decision, Rejected):
            return False
        for event in decision:
            apply(self.state, event, self.at)
        self.note(command, decision)
        return True

    def note(self, command: Command, events: tuple[Event, ...]) -> None:
        """Write into the log what another room decides."""
        self.sequence += 1
        self.reader.take(self.sequence, self.at, command, events)

    def later(self, at: int, act: Act) -> None:
        heapq.heappush(self.acts, (at, len(self.acts) + self.sequence * 1_000_000, act))

    def place(self, name: str, side: Side, energy_wh: int, price: int | None, start: int) -> bytes:
        self.placed += 1
        digest = self.placed.to_bytes(32, "big")
        self.do(PlaceOrder(Order(name, STREET.market, start, side, energy_wh, price, salt=digest), digest, bytes(64)))
        return digest

    def place_at(self, at: int, name: str, side: Side, energy_wh: int, price: int | None, start: int) -> None:
        self.later(at, lambda: _digest_unused(self.place(name, side, energy_wh, price, start)))

    def cancel(self, name: str, digest: bytes) -> bool:
        return self.do(CancelOrder(name, digest, self.at))

    def pay_out(self, name: str, to: str) -> None:
        self.note(BookWithdrawal(name, to, 1_000_000, f"1:0x{self.sequence:064x}:0"), ())

    def run(self) -> History:
        """Let the honest homes and all others act, close every gate and settle what the meters say."""
        for start in self.starts:
            for number in range(1, self.homes + 1):
                self._plan(account(number), number, start)
            self.later(start - GATE_S, lambda start=start: self._close(start))  # type: ignore[misc]
        while self.acts:
            at, _, act = heapq.heappop(self.acts)
            self.at = max(self.at, at)
            act()
        return self.reader.history

    def _plan(self, name: str, number: int, start: int) -> None:
        """A third has solar power; forecasts are wrong by up to a quarter and are sometimes made again."""
        chance = self.chance
        side = Side.SELL if number % 3 == 0 else Side.BUY
        energy_wh = chance.randrange(150, 900)
        self.made_wh[start][name] = energy_wh if side is Side.SELL else 0
        wish = chance.randrange(5, 55) if side is Side.SELL else chance.randrange(45, 98)
        price = (LOW + HIGH) // 2 + (HIGH - LOW) * (wish - 50) * self.widest_per_cent // 10_000
        wanted_wh = energy_wh * chance.randrange(75, 125) // 100
        at = start - GATE_S - chance.randrange(60, 3_000)

        def order() -> None:
            digest = self.place(name, side, wanted_wh, price, start)
            if chance.random() < 0.2:
                again = self.at + chance.randrange(1, max(2, start - GATE_S - self.at))
                self.later(again, lambda: self._change(name, side, digest, wanted_wh, price, start))

        self.later(at, order)

    def _change(self, name: str, side: Side, digest: bytes, energy_wh: int, price: int, start: int) -> None:
        """A new forecast: mostly another energy, sometimes none at all, sometimes the other way."""
        chance = self.chance
        if not self.cancel(name, digest):
            if chance.random() < 0.3:  # it has traded already: some of it is bought or sold back
                other = Side.BUY if side is Side.SELL else Side.SELL
                self.place(
                    name, other, max(1, energy_wh // 5), HIGH - 1_000 if other is Side.BUY else LOW + 1_000, start
                )
        elif chance.random() < 0.85:
            self.place(name, side, max(1, energy_wh * chance.randrange(50, 120) // 100), price, start)

    def _close(self, start: int) -> None:
        self.do(CloseGate(start))
        interval = self.state.intervals.get(start)
        if interval is None or not interval.trades:
            return
        produced = {name: wh + self.extra_wh.get((start, name), 0) for name, wh in self.made_wh[start].items()}
        energies = tuple(MeteredEnergy(name, 500, produced.get(name, 0), False) for name in sorted(self.state.accounts))
        settled = IntervalSettled(start, energies, (), (), ZERO_HASH)
        self.note(SettleInterval(start, energies, ZERO_HASH), (settled,))


def _digest_unused(_digest: bytes) -> None:
    """An act has no answer."""


def newcomers(street: Street, *names: str) -> None:
    """Admit accounts that trade only as a test says."""
    for name in names:
        street.admit(name, f"Newcomer {name[-1]}")
