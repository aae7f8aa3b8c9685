"""The market that the coordinator trades with, against the slow engine: the same random commands to both.

``Live`` is the market as the ledger's writer drives it: decide, apply, then fire what is due. ``SlowMarket`` is the
slow engine with what an order signed by an account means otherwise than a key of the engine, by design:

* what a market order cannot trade at once waits for the auction: in no price, ahead of its side, never for the owner;
* an order's digest is known as long as its interval, so it is used once; only its account may cancel or replace it;
* a replacement is a new order with terms of its own. It takes the old one's place for the same price and as much
  energy as is open, or less (the engine: less); anything else closes the old one and enters like any new order;
* who has expired leaves with the next order, replacement, firing or tick of the clock that is accepted, and has
  neither traded nor told a price to a condition since; until then it may be cancelled. What is refused changes nothing;
* energy is judged first, then ``valid_until``, then the price; the price's band and the frequency have a range.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from coordinator.market.commands import CancelOrder, Command, ExpireOrders, ObserveSignal, PlaceOrder, ReplaceOrder
from coordinator.market.conditions import FREQUENCY_MHZ_MAX, signal_value
from coordinator.market.decide import decide
from coordinator.market.events import (
    CloseReason,
    Event,
    OrderClosed,
    OrderPlaced,
    OrderTriggered,
    Rejected,
    SignalObserved,
    Traded,
)
from coordinator.market.journal import Advance, CancelAll, New, Observe
from coordinator.market.rules import Stages
from coordinator.market.state import state_hash
from coordinator.protocol.messages import ZERO_HASH, Order, Side, TimeInForce
from coordinator.protocol.order_terms import Signal
from coordinator.protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from tests.market.slow_engine import Plain, SlowEngine, random_condition, random_order
from tests.market.support import NOON, RULES, Market

START = NOON + 24 * 3600
OWNERS = range(1, 31)
_RULES = replace(
    RULES,
    price_max_micro_per_kwh=PRICE_MICRO_PER_KWH_MAX,
    order_energy_max_wh=ENERGY_WH_MAX,
    orders_per_account_interval_max=10**9,
    orders_per_interval_max=10**9,
    members_max=len(OWNERS),
    stages=Stages(session_every_s=0),
)
_SIGNALS = (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK)


class Cancel(NamedTuple):
    """An account takes an order back."""

    at: int
    key: int
    owner: int


class Replace(NamedTuple):
    """An account places an order instead of another."""

    at: int
    key: int
    order: New


type DuelCommand = New | Replace | Cancel | CancelAll | Observe | Advance
type Queue = list[tuple[int | None, int, int]]
"""One side in its priority: price, energy, key."""


class Live(Market):
    """The live market with 30 members; a command goes in and out as the slow engine's."""

    def __init__(self) -> None:
        super().__init__(_RULES)
        self.admit(*(_account(owner) for owner in OWNERS), money_micro=10**30)

    def ask(self, command: Command) -> tuple[Event, ...] | Rejected:
        """Decide and apply; the hashes of every step would be most of a long run's time."""
        decision = decide(self.state, command, self.at)
        if not isinstance(decision, Rejected):
            self.book(*decision)
        return decision

    def handle(self, command: DuelCommand) -> list[Plain]:
        """Do what a command says, fire what is due as the writer does, and tell what came of it."""
        self.at = command.at
        before = len(self.log)
        decision = self.ask(_live_command(command))
        if isinstance(decision, Rejected):
            return [("refused", decision.code)]
        self.fire(decision)
        return list(_told(event for _, events in self.log[before:] for event in events))

    def depth(self, side: Side) -> Queue:
        content = self.state.intervals[START].book.content(side) if self.state.intervals else []
        return [(price, wh, int(key, 16)) for price, orders in content for key, wh in orders]

    def open_orders(self) -> list[tuple[int, int, bool]]:
        """Return key, energy and whether it sleeps of all that is open, in the order of the orders' arrival."""
        accounts = self.state.accounts.values()
        known = [self.state.orders[digest] for account in accounts for digest in account.open_orders]
        known.sort(key=lambda order: order.sequence)
        return [(_key(order.digest), order.remaining_wh, order.is_dormant) for order in known]

    def prices(self) -> list[int | None]:
        return [signal_value(self.state, signal, START) for signal in _SIGNALS]


class SlowMarket(SlowEngine):
    """The slow engine under the live market's rules; see above."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[int, int] = {}
        self.kept = 0

    def handle(self, command: DuelCommand) -> list[Plain]:  # type: ignore[override]
        self.told, self.at = [], command.at
        refused = self.refusal(command)
        if refused is not None:
            return [("refused", refused)]
        if isinstance(command, New | Replace | Advance):
            self.sweep()
        match command:
            case New():
                self.place(command)
            case Replace(_, key, order):
                self.replace(key, order)
            case Cancel(_, key):
                self.close_or_refuse(key)
            case CancelAll() | Observe():
                super().handle(command)
                return self.told
        self.cascade()
        return self.told

    def expire(self, at: int) -> None:
        """Neither the end of all orders of an account nor a signal lets anybody expire."""

    def refusal(self, command: DuelCommand) -> str | None:
        match command:
            case New():
                return self.refused_terms(command)
            case Cancel(_, key, owner):
                return self.refused_key(key, owner, [order["key"] for order in self.orders])
            case Replace(_, key, new):
                alive = {order["key"]: order for order in self.orders if order not in self.expired()}
                if refused := self.refused_key(key, new.owner, [*alive]):
                    return refused
                return "replace_mismatch" if new.side is not alive[key]["side"] else self.refused_terms(new)
            case Observe(_, _, value):
                return None if 0 <= value <= FREQUENCY_MHZ_MAX else "signal_invalid"
            case Advance():
                return None if self.expired() else "nothing_due"
        return None

    def refused_key(self, key: int, owner: int, alive: list[int]) -> str | None:
        if key not in self.owners:
            return "unknown_order"
        if self.owners[key] != owner:
            return "not_your_order"
        return None if key in alive else "order_not_open"

    def refused_terms(self, new: New) -> str | None:
        if new.key in self.owners:
            return "duplicate_order"
        if not 1 <= new.energy_wh <= ENERGY_WH_MAX:
            return "energy_out_of_range"
        if (new.expiry or new.lifetime is TimeInForce.GOOD_TILL_DATE) and new.expiry <= self.at:
            return "expired"
        return None if new.price is None or 0 <= new.price <= PRICE_MICRO_PER_KWH_MAX else "price_out_of_band"

    def expired(self) -> list[dict[str, Any]]:
        due = [order for order in self.orders if 0 < order["expiry"] <= self.at]
        return sorted(due, key=lambda order: (order["expiry"], order["sequence"]))

    def sweep(self) -> None:
        for order in self.expired():
            self.close(order, "expired")

    def place(self, new: New) -> None:
        self.owners[new.key] = new.owner
        self.new(new, self.at)

    def replace(self, key: int, new: New) -> None:
        (old,) = [order for order in self.orders if order["key"] == key]
        plain = new.condition is None and "good_till" in new.lifetime.value and not old["asleep"]
        if plain and new.price == old["price"] and new.energy_wh <= old["wh"]:
            self.owners[new.key] = new.owner
            self.placed += 1
            self.told.append(("closed", key, old["wh"], "replaced"))
            self.kept += 1
            old.update({**new._asdict(), "wh": new.energy_wh, "sequence": self.placed})
        else:
            self.close(old, "replaced")
            self.place(new)

    def stays(self, order: dict[str, Any]) -> bool:
        return "good_till" in order["lifetime"].value

    def counterparties(self, new: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        queue, meets_owner = super().counterparties(new)
        own = any(o["owner"] == new["owner"] and o["side"] is not new["side"] for o in self.at_market())
        return queue, meets_owner or (own and sum(order["wh"] for order in queue) < new["wh"])

    def at_market(self) -> list[dict[str, Any]]:
        return [order for order in self.orders if order["price"] is None and not order["asleep"]]

    def due(self) -> list[dict[str, Any]]:
        """An expired order neither fires nor lets others fire by its price."""
        found, expired = super().due(), self.expired()
        if not (found and expired):
            return found
        every = self.orders
        self.orders = [order for order in every if order not in expired]
        still = super().due()
        self.orders = every
        return [order for order in found if order in still]

    def fire(self, order: dict[str, Any], value: int) -> None:
        self.sweep()
        super().fire(order, self.values()[order["condition"].signal])

    def queue(self, side: Side) -> Queue:
        waiting = [(None, order["wh"], order["key"]) for order in self.at_market() if order["side"] is side]
        return [*waiting, *self.depth(side)]

    def open_orders(self) -> list[tuple[int, int, bool]]:
        known = sorted(self.orders, key=lambda order: order["sequence"])
        return [(order["key"], order["wh"], order["asleep"]) for order in known]


class LiveDuel:
    """Both on one stream of commands. They tell the same after each and hold the same orders in the same queues.

    With ``ticks`` the clock lets orders expire before each command, as it does each second; without, they leave with
    the next order. ``hasty`` orders live for a few seconds, and more of them are conditional.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.ticks = self.rng.random() < 0.5
        self.hasty = self.rng.random() < 0.5
        self.live = Live()
        self.slow = SlowMarket()
        self.number = 0
        self.at = NOON
        self.seen: dict[str, int] = {}

    def run(self, steps: int) -> None:
        """Take steps; the events of all of them lead to the same state at the end."""
        for _ in range(steps):
            self.step()
        assert state_hash(self.live.replayed()) == state_hash(self.live.state)

    def step(self) -> None:
        self.number += 1
        self.at += self.rng.random() < 0.1
        if self.ticks and any(0 < order["expiry"] <= self.at for order in self.slow.orders):
            self.give(Advance(self.at))
        self.give(self.random_command())

    def give(self, command: DuelCommand) -> None:
        """Let both do a command, and compare."""
        told = self.slow.handle(command)
        assert self.live.handle(command) == told, (self.number, command)
        assert self.live.open_orders() == self.slow.open_orders(), (self.number, command)
        assert [self.live.depth(side) for side in Side] == [self.slow.queue(side) for side in Side], self.number
        assert self.live.prices() == [self.slow.values()[signal] for signal in _SIGNALS], self.number
        for event in told:
            name = event[0] if event[0] in ("trade", "fired") else f"{event[0]} {event[-1]}"
            self.seen[name] = self.seen.get(name, 0) + 1

    def random_command(self) -> DuelCommand:
        """Return any kind of command: mostly good ones around a wandering middle, few of them nonsense."""
        rng, at = self.rng, self.at
        alive = [order["key"] for order in self.slow.orders]
        key = rng.choice(alive) if alive and rng.random() < 0.7 else rng.randint(max(1, self.number - 80), self.number)
        owner = self.slow.owners.get(key, 1) if rng.random() < 0.97 else rng.choice(OWNERS)
        kind = rng.random()
        if kind < 0.22:
            return Cancel(at, key, owner)
        if kind < 0.34:
            return self.random_replacement(key, owner)
        if kind < 0.345:
            return CancelAll(at, rng.choice(OWNERS))
        if kind < 0.36:
            return Observe(at, Signal.FREQUENCY, rng.randint(49_800, 50_200) if rng.random() < 0.95 else -1)
        return Advance(at) if kind < 0.365 else self.random_order()

    def random_order(self) -> New:
        rng, middle = self.rng, 100 + (self.number // 400) % 50
        order = random_order(rng, self.number, self.at, middle)
        order = order._replace(owner=order.owner or rng.randint(13, OWNERS[-1]), key=order.key or self.number)
        if self.hasty and order.price is not None and rng.random() < 0.5:
            order = order._replace(lifetime=TimeInForce.GOOD_TILL_DATE, expiry=self.at + rng.randint(1, 4))
        if self.hasty and order.condition is None and rng.random() < 0.2:
            order = order._replace(condition=random_condition(rng, middle))
        return order

    def random_replacement(self, key: int, owner: int) -> Replace:
        """Return any order of mostly the same side, half of them at the same price."""
        new = self.random_order()._replace(owner=owner)
        old = next((order for order in self.slow.orders if order["key"] == key), None)
        if old is not None and self.rng.random() < 0.95:
            new = new._replace(side=old["side"])
            if self.rng.random() < 0.5:
                new = new._replace(price=old["price"], energy_wh=max(1, old["wh"] + self.rng.randint(-6, 1)))
        return Replace(self.at, key, new)


def _account(owner: int) -> str:
    return f"0x{owner:040x}"


def _digest(key: int) -> bytes:
    return key.to_bytes(32, "big")


def _key(digest: bytes) -> int:
    return int.from_bytes(digest, "big")


def _live_command(command: DuelCommand) -> Command:
    match command:
        case New():
            return PlaceOrder(_order(command), _digest(command.key), b"signature")
        case Replace(_, key, new):
            return ReplaceOrder(_order(new), _digest(new.key), b"signature", _digest(key))
        case Cancel(at, key, owner):
            return CancelOrder(_account(owner), _digest(key), at)
        case CancelAll(at, owner):
            return CancelOrder(_account(owner), ZERO_HASH, at)
        case Observe(_, signal, value):
            return ObserveSignal(signal, 0, value)
        case Advance():
            return ExpireOrders()


def _order(new: New) -> Order:
    return Order(
        account=_account(new.owner),
        market=_RULES.market,
        delivery_start=START,
        side=new.side,
        energy_wh=new.energy_wh,
        limit_price_micro_per_kwh=new.price,
        time_in_force=new.lifetime,
        valid_until=new.expiry,
        condition=new.condition,
    )


def _told(events: Iterable[Event]) -> Iterator[Plain]:
    """Return the live market's events as the slow engine tells them: an order that is filled leaves without a word."""
    taker = ZERO_HASH
    for event in events:
        match event:
            case OrderPlaced(digest=digest):
                taker = digest
            case OrderTriggered(digest, value):
                taker = digest
                yield "fired", _key(digest), value
            case Traded():
                maker = event.sell if event.buy == taker else event.buy
                assert taker in (event.buy, event.sell)
                yield "trade", _key(maker), _key(taker), event.price_micro_per_kwh, event.energy_wh
            case OrderClosed(digest, remaining_wh, reason):
                if reason is not CloseReason.FILLED:
                    yield "closed", _key(digest), remaining_wh, reason.value
                else:
                    assert not remaining_wh
            case _:
                assert isinstance(event, SignalObserved), event
