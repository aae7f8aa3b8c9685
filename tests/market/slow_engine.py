"""A slow, obvious second engine: one list, searched from end to end, and everything looked at after every command."""

from __future__ import annotations

import random
from typing import Any

from coordinator.market.engine import Closed, ContinuousEngine, EngineEvent, Fired, Refused, Traded, replay
from coordinator.market.journal import Advance, Cancel, CancelAll, EngineCommand, Modify, New, Observe
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Signal

type Plain = tuple[Any, ...]
"""An event: (trade, maker, taker, price, wh), (closed, key, wh, why), (fired, key, value), (refused, key, code)."""


class SlowEngine:
    """Orders are dictionaries in the order of their priority in time; ``asleep`` ones wait for their condition."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.last: int | None = None
        self.outside: dict[Signal, int] = {}
        self.at = 0
        self.placed = 0
        self.told: list[Plain] = []

    def handle(self, command: EngineCommand) -> list[Plain]:
        """Do what a command says and tell what comes of it."""
        self.told = []
        self.expire(max(self.at, command.at))
        already = len(self.told)
        match command:
            case New():
                self.new(command, max(self.at, command.at))
            case Cancel(_, key):
                self.close_or_refuse(key)
            case CancelAll(_, owner):
                for order in sorted((o for o in self.orders if o["owner"] == owner), key=lambda o: o["sequence"]):
                    self.close(order, "cancelled")
            case Modify(_, key, energy_wh, price):
                self.modify(key, energy_wh, price)
            case Observe(_, signal, value):
                self.outside[signal] = value
            case Advance():
                pass
        if not isinstance(command, Advance) and "refused" not in (event[0] for event in self.told[already:]):
            self.at = max(self.at, command.at)
        self.cascade()
        return self.told

    def expire(self, at: int) -> None:
        due = [order for order in self.orders if 0 < order["expiry"] <= at]
        for order in sorted(due, key=lambda order: (order["expiry"], order["sequence"])):
            self.close(order, "expired")
        if due:
            self.at = at
        self.cascade()

    def new(self, order: New, at: int) -> None:
        """Take an order, or say why not: time moves with what is accepted only."""
        dead_on_arrival = (order.expiry or order.lifetime is TimeInForce.GOOD_TILL_DATE) and order.expiry <= at
        if any(other["key"] == order.key for other in self.orders):
            self.told.append(("refused", order.key, "duplicate_order"))
        elif not 1 <= order.energy_wh < 2**48:
            self.told.append(("refused", order.key, "energy_out_of_range"))
        elif order.price is not None and abs(order.price) > 10**12:
            self.told.append(("refused", order.key, "price_out_of_band"))
        elif dead_on_arrival:
            self.told.append(("refused", order.key, "expired"))
        else:
            self.placed += 1
            entry = {**order._asdict(), "wh": order.energy_wh, "sequence": self.placed, "asleep": False}
            if order.condition is None:
                self.enter(entry)
            else:
                self.orders.append(entry | {"asleep": True})

    def close_or_refuse(self, key: int) -> None:
        found = [order for order in self.orders if order["key"] == key]
        if found:
            self.close(found[0], "cancelled")
        else:
            self.told.append(("refused", key, "order_not_open"))

    def close(self, order: dict[str, Any], why: str) -> None:
        self.orders.remove(order)
        self.told.append(("closed", order["key"], order["wh"], why))

    def modify(self, key: int, energy_wh: int, price: int) -> None:
        found = [order for order in self.orders if order["key"] == key]
        if not found:
            self.told.append(("refused", key, "order_not_open"))
        elif not 1 <= energy_wh < 2**48:
            self.told.append(("refused", key, "energy_out_of_range"))
        elif abs(price) > 10**12:
            self.told.append(("refused", key, "price_out_of_band"))
        elif found[0]["asleep"] or (price == found[0]["price"] and energy_wh < found[0]["wh"]):
            found[0].update(wh=energy_wh, price=price)
        else:
            self.orders.remove(found[0])
            self.enter(found[0] | {"wh": energy_wh, "price": price, "lifetime": TimeInForce.GOOD_TILL_GATE})

    def enter(self, new: dict[str, Any]) -> None:
        queue, meets_owner = self.counterparties(new)
        if new["lifetime"] is TimeInForce.FILL_OR_KILL and sum(order["wh"] for order in queue) < new["wh"]:
            queue = []
        for maker in queue:
            wh = min(maker["wh"], new["wh"])
            if not wh:
                break
            self.told.append(("trade", maker["key"], new["key"], maker["price"], wh))
            self.last = maker["price"]
            maker["wh"] -= wh
            new["wh"] -= wh
        self.orders = [order for order in self.orders if order["wh"]]
        if new["wh"] and meets_owner:
            self.told.append(("closed", new["key"], new["wh"], "self_trade"))
        elif new["wh"] and not self.stays(new):
            self.told.append(("closed", new["key"], new["wh"], "immediate_remainder"))
        elif new["wh"]:
            self.orders.append(new)

    def stays(self, order: dict[str, Any]) -> bool:
        """Tell whether what an order could not trade waits for others."""
        return order["price"] is not None and "good_till" in order["lifetime"].value

    def resting(self, side: Side) -> list[dict[str, Any]]:
        """Return who can be traded with on a side, the oldest first."""
        return [o for o in self.orders if o["side"] is side and o["price"] is not None and not o["asleep"]]

    def counterparties(self, new: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        """Return whom the order may trade with, best first, and whether its own owner stands behind them."""
        sign = 1 if new["side"] is Side.BUY else -1
        others = self.resting(Side.SELL if new["side"] is Side.BUY else Side.BUY)
        within = [o for o in others if new["price"] is None or sign * o["price"] <= sign * new["price"]]
        queue = sorted(within, key=lambda order: sign * order["price"])  # stable: the oldest of equals is first
        for place, order in enumerate(queue):
            if new["owner"] and order["owner"] == new["owner"]:
                return queue[:place], sum(o["wh"] for o in queue[:place]) < new["wh"]
        return queue, False

    def cascade(self) -> None:
        """Fire the oldest that is due, and look again, until none is."""
        while due := self.due():
            oldest = min(due, key=lambda order: order["sequence"])
            self.fire(oldest, self.values()[oldest["condition"].signal])

    def due(self) -> list[dict[str, Any]]:
        """Return who sleeps and whose condition is met."""
        values = self.values()
        return [
            order
            for order in self.orders
            if order["asleep"]
            and values.get(order["condition"].signal) is not None
            and order["condition"].comparison.holds(values[order["condition"].signal], order["condition"].threshold)
        ]

    def fire(self, order: dict[str, Any], value: int) -> None:
        """Let a sleeping order trade from now on."""
        self.orders.remove(order)
        self.told.append(("fired", order["key"], value))
        self.enter(order | {"asleep": False})

    def values(self) -> dict[Signal, Any]:
        bids = [order["price"] for order in self.resting(Side.BUY)]
        asks = [order["price"] for order in self.resting(Side.SELL)]
        own = {
            Signal.LAST_PRICE: self.last,
            Signal.BEST_BID: max(bids, default=None),
            Signal.BEST_ASK: min(asks, default=None),
        }
        return own | self.outside

    def depth(self, side: Side) -> list[tuple[int, int, int]]:
        """Return price, energy and key of what rests on a side, in its priority."""
        sign = -1 if side is Side.BUY else 1
        rest = sorted(self.resting(side), key=lambda order: sign * order["price"])
        return [(order["price"], order["wh"], order["key"]) for order in rest]

    def asleep(self) -> list[int]:
        return sorted(order["key"] for order in self.orders if order["asleep"])


def plain(events: list[EngineEvent]) -> list[Plain]:
    """Return the fast engine's events as the slow one tells them."""
    told: list[Plain] = []
    for event in events:
        match event:
            case Traded(taker, fills):
                told += [("trade", fill.key, taker, fill.price, fill.energy_wh) for fill in fills]
            case Closed(key, energy_wh, reason):
                told.append(("closed", key, energy_wh, reason.value))
            case Fired(key, value):
                told.append(("fired", key, value))
            case Refused(key, code):
                told.append(("refused", key, code.value))
    return told


def depth(engine: ContinuousEngine, side: Side) -> list[tuple[int, int, int]]:
    """Return what ``SlowEngine.depth`` returns."""
    return [(level.price, order.energy_wh, order.key) for level in engine.book.side(side).levels() for order in level]


def random_command(rng: random.Random, number: int, at: int, known: list[int]) -> EngineCommand:
    """Return any kind of command: mostly good ones around a wandering middle, some in vain, few of them nonsense."""
    middle = 100 + (number // 400) % 50
    recent = rng.choice(known) if known and rng.random() < 0.6 else rng.randrange(max(0, number - 80), number + 1)
    kind = rng.random()
    if kind < 0.22:
        return Cancel(at, recent)
    if kind < 0.32:
        return Modify(at, recent, rng.randint(0, 20), middle + rng.randint(-6, 6))
    if kind < 0.325:
        return CancelAll(at, rng.randint(1, 12))
    if kind < 0.335:
        return Observe(at, Signal.FREQUENCY, rng.randint(49_800, 50_200))
    if kind < 0.34:
        return Advance(at + rng.randint(0, 3))
    return random_order(rng, number, at, middle)


def random_order(rng: random.Random, number: int, at: int, middle: int) -> New:
    """Return an order with any lifetime, some of them conditional, few of them nonsense."""
    side = rng.choice((Side.BUY, Side.SELL))
    away = rng.randint(-2, 8) * (-1 if side is Side.BUY else 1)
    price = None if rng.random() < 0.08 else middle + away
    lifetime, expiry, condition = TimeInForce.GOOD_TILL_GATE, 0, None
    luck = rng.random()
    if luck < 0.12:
        lifetime, expiry = TimeInForce.GOOD_TILL_DATE, at + rng.randint(0, 60)
    elif luck < 0.2:
        lifetime = TimeInForce.IMMEDIATE_OR_CANCEL
    elif luck < 0.28:
        lifetime = TimeInForce.FILL_OR_KILL
    if rng.random() < 0.1:
        condition = random_condition(rng, middle)
    key = number if rng.random() < 0.98 else rng.randrange(max(1, number))
    energy_wh = rng.randint(1, 20) if rng.random() < 0.995 else rng.choice((0, -1, 2**48))
    if price is not None and rng.random() < 0.004:
        price = rng.choice((-1, 1)) * (10**12 + 1)
    owner = rng.randint(1, 12) if rng.random() < 0.6 else 0
    return New(at, key, side, energy_wh, price, lifetime, owner, expiry, condition)


def random_condition(rng: random.Random, middle: int) -> Condition:
    """Return a condition that the middle's wandering may meet."""
    comparison = rng.choice(tuple(Comparison))
    if rng.random() < 0.2:
        return Condition(Signal.FREQUENCY, comparison, rng.randint(49_800, 50_200))
    signal = rng.choice((Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK))
    return Condition(signal, comparison, middle + rng.randint(-8, 8))


class Duel:
    """Both engines on one stream of commands; they must tell the same after each and rest the same now and then."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.frames = bytearray()
        self.fast = ContinuousEngine(self.frames.extend)
        self.slow = SlowEngine()
        self.number = 0
        self.at = 0
        self.seen: dict[str, int] = {}

    def step(self) -> None:
        self.number += 1
        self.at += self.rng.random() < 0.1
        stale = 5 if self.rng.random() < 0.01 else 0
        known = [order["key"] for order in self.slow.orders]
        command = random_command(self.rng, self.number, max(0, self.at - stale), known)
        told = plain(self.fast.handle(command))
        assert told == self.slow.handle(command), (self.number, command)
        for event in told:
            name = event[0] if event[0] in ("trade", "fired") else f"{event[0]} {event[-1]}"
            self.seen[name] = self.seen.get(name, 0) + 1

    def run(self, steps: int, every: int = 50) -> None:
        """Take steps, compare what rests now and then, and replay the trail at the end."""
        for number in range(1, steps + 1):
            self.step()
            if not number % every:
                self.compare()
        again = replay(bytes(self.frames))
        assert again.state_hash() == self.fast.state_hash()
        assert (again.journal.head, again.journal.count) == (self.fast.journal.head, self.fast.journal.count)

    def compare(self) -> None:
        for side in Side:
            assert depth(self.fast, side) == self.slow.depth(side), self.number
        assert self.fast.dormant == len(self.slow.asleep()), self.number
        assert self.fast.last_price == self.slow.last, self.number
