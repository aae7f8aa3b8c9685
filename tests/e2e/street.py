"""A few homes that trade as fast as the clock allows and remember every word the coordinator gave.

They use the homes' own client and keys. What has no answer is sent again, the same bytes, as a real
home does: what counts as acknowledged is only what was answered with success.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from coordinator.clock import Clock
from coordinator.household.identity import Identity
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.membership import Join, SessionRequest
from coordinator.protocol.messages import (
    ZERO_HASH,
    Cancel,
    DeviceReceipt,
    MeterRegistration,
    Order,
    Reading,
    Side,
)
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from coordinator.protocol.units import interval_start

INVITE = "street-invite"
RETRY_S = 0.1
LIMIT_W = 24_000


@dataclass(slots=True)
class StreetHome:
    """A home with its keys, its meter and its memory; it only buys or only sells.

    ``is_restless`` ones also replace their orders and let some wait for a price.
    """

    side: Side
    client: CoordinatorClient
    clock: Clock
    chance: random.Random
    account: AccountKey = field(default_factory=AccountKey.generate)
    meter: MeterKey = field(default_factory=MeterKey.generate)
    is_restless: bool = False
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    bundles: dict[str, dict[str, Any]] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    receipts: list[tuple[Reading, DeviceReceipt]] = field(default_factory=list)
    outbox: deque[Reading] = field(default_factory=deque)
    trading: bool = True
    _info: MarketInfo | None = None
    _last: Reading | None = None
    _salt: int = 0

    @property
    def info(self) -> MarketInfo:
        """The market's rules, once the home has entered."""
        assert self._info is not None
        return self._info

    async def live(self) -> None:
        """Read the meter, send what it said, and trade, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure())
            group.create_task(self._deliver())
            group.create_task(self._trade())

    async def enter(self) -> None:
        """Join with the meter."""
        self._info = info = await insist(self.client.market)
        key = self.meter.public_key
        meter = MeterRegistration(self.meter.device_id, self.account.address, key[:32], key[32:], LIMIT_W, LIMIT_W)

        async def join() -> None:
            wish = Join(self.account.address, info.market, INVITE, f"The {self.side} home", self.clock.now())
            await self.client.join(wish, self.account, info.domain)

        await insist(join)
        await insist(lambda: self.client.register_meter(meter, self.meter, self.account, info.domain))

    async def sign_in(self) -> None:
        """Open a session."""

        async def ask() -> None:
            wish = SessionRequest(self.account.address, self.info.market, self.clock.now())
            await self.client.open_session(wish, self.account, self.info.domain)

        await insist(ask)

    @property
    def identity(self) -> Identity:
        """The keys as the household's own parts take them."""
        return Identity(self.account, self.meter)

    async def place(
        self, delivery_start: int, energy_wh: int, price_micro_per_kwh: int, condition: Condition | None = None
    ) -> str:
        """Place one order and insist on an answer; return its digest."""
        order = self._order(delivery_start, energy_wh, price_micro_per_kwh, condition)
        signature = self.account.sign(order.digest(self.info.domain))
        return await self._remember(order, lambda: self.client.place_order(order, signature))

    async def replace(self, name: str, energy_wh: int, price_micro_per_kwh: int) -> str:
        """Place an order instead of an earlier one and insist on an answer; return the new one's digest."""
        old = self.orders[name]["terms"]
        order = self._order(old["delivery_start"], energy_wh, price_micro_per_kwh)
        cancel = Cancel(self.account.address, self.info.market, bytes.fromhex(name[2:]), 0, salt=order.salt)
        signatures = [self.account.sign(message.digest(self.info.domain)) for message in (order, cancel)]
        new = await self._remember(
            order, lambda: self.client.replace_order(order, signatures[0], cancel, signatures[1])
        )
        if new in self.orders:
            self.replaced[name] = new
        return new

    async def place_spread(self, bought: Leg, buy_at: int, sold: Leg, sell_at: int) -> tuple[str, str]:
        """Place a bundle to buy and one to sell, both or neither, and insist on an answer; return their hashes."""
        self._salt += 1
        mark = self._salt.to_bytes(32, "big")
        account, market = self.account.address, self.info.market
        bundles = [
            Bundle(account, market, side, price, (leg,), spread=mark, salt=mark)
            for side, price, leg in ((Side.BUY, buy_at, bought), (Side.SELL, sell_at, sold))
        ]
        orders = [order for bundle in bundles for order in bundle.leg_orders()]
        legs = [(order, self.account.sign(order.digest(self.info.domain))) for order in orders]
        names = tuple("0x" + bundle.struct_hash().hex() for bundle in bundles)
        try:
            answer = await insist(lambda: self.client.place_bundles(bundles, legs))
        except CoordinatorRefused as refusal:
            self.refused |= dict.fromkeys(names, refusal.code)
        else:
            for placed in answer["bundles"]:
                self.bundles[placed["bundle"]] = placed
            for order, leg in zip(orders, (leg for b in answer["bundles"] for leg in b["legs"]), strict=True):
                self.orders[leg["order"]] = {**leg, "terms": order.to_wire()}
        return names[0], names[1]

    def _order(
        self, delivery_start: int, energy_wh: int, price_micro_per_kwh: int, condition: Condition | None = None
    ) -> Order:
        self._salt += 1
        return Order(
            account=self.account.address,
            market=self.info.market,
            delivery_start=delivery_start,
            side=self.side,
            energy_wh=energy_wh,
            limit_price_micro_per_kwh=price_micro_per_kwh,
            salt=self._salt.to_bytes(32, "big"),
            condition=condition,
        )

    async def _remember(self, order: Order, place: Callable[[], Awaitable[dict[str, Any]]]) -> str:
        """Insist on an answer and keep it; return the order's digest."""
        name = "0x" + order.digest(self.info.domain).hex()
        try:
            answer = await insist(place)
        except CoordinatorRefused as refusal:
            self.refused[name] = refusal.code
        else:
            assert answer["order"] == name
            self.orders[name] = {**answer, "terms": order.to_wire()}
        return name

    def read_meter(self, boundary: int, consumed_wh: int | None = None, produced_wh: int | None = None) -> None:
        """Put the next signed reading into the outbox: so much more energy than at the last one, or some."""
        consumption_wh = self._last.consumption_wh if self._last else 10_000
        production_wh = self._last.production_wh if self._last else 20_000
        if self._last is not None:
            some_consumed_wh, some_produced_wh = self._some_energy()
            consumption_wh += some_consumed_wh if consumed_wh is None else consumed_wh
            production_wh += some_produced_wh if produced_wh is None else produced_wh
        self._last = Reading(
            device_id=self.meter.device_id,
            sequence=self._last.sequence + 1 if self._last else 1,
            timestamp=boundary,
            consumption_wh=consumption_wh,
            production_wh=production_wh,
            previous=self._last.digest(self.info.domain) if self._last else ZERO_HASH,
        )
        self.outbox.append(self._last)

    async def _measure(self) -> None:
        boundary = interval_start(self.clock.now(), self.info.interval_s)
        while True:
            await self.clock.sleep_until(boundary)
            self.read_meter(boundary)
            boundary += self.info.interval_s

    async def _deliver(self) -> None:
        """Send readings in order; one leaves the outbox when its receipt has been checked."""
        while True:
            while self.outbox:
                await self.send_reading(self.outbox[0])
                self.outbox.popleft()
            await asyncio.sleep(0.05)

    async def send_reading(self, reading: Reading) -> None:
        """Send a reading and insist on its receipt."""
        signature = self.meter.sign(reading.digest(self.info.domain))
        receipt = await insist(lambda: self.client.submit_reading(reading, signature, self.info))
        self.receipts.append((reading, receipt))

    def _some_energy(self) -> tuple[int, int]:
        """Return what is consumed and produced by chance."""
        energy_wh = self.chance.randint(60, 150)
        return (energy_wh, 0) if self.side is Side.BUY else (0, energy_wh)

    async def _trade(self) -> None:
        while True:
            if self.trading:
                await self._act()
            await asyncio.sleep(self.chance.uniform(0.02, 0.6))

    async def _act(self) -> None:
        """Place an order for the next interval; a restless home does other things too."""
        energy_wh, start = self.chance.randint(20, 70), self._next_start()
        what = self.chance.random() if self.is_restless else 1.0
        if what < 0.2 and (mine := self._latest_resting()):
            await self.replace(mine, energy_wh, self._price(self.orders[mine]["terms"]["delivery_start"]))
        elif what < 0.4:
            comparison = Comparison.AT_MOST if self.side is Side.BUY else Comparison.AT_LEAST
            condition = Condition(Signal.LAST_PRICE, comparison, self._price(start))
            await self.place(start, energy_wh, self._price(start), condition)
        elif what < 0.8:
            later = start + self.chance.randint(1, 3) * self.info.interval_s
            await self.place(later, energy_wh, self._price(later))
        else:
            await self.place(start, energy_wh, self._price(start))

    def _price(self, start: int) -> int:
        """Return a limit by chance. For a restless home every second interval is dear, the others are cheap."""
        base = 200_000 if self.side is Side.BUY else 150_000
        if self.is_restless:
            base += 60_000 if start // self.info.interval_s % 2 else -60_000
        return base + self.chance.randrange(-50_000, 50_000, 1_000)

    def _latest_resting(self) -> str | None:
        """Return an order whose answer was that it rests, and that was not replaced."""
        mine = (name for name, order in reversed(self.orders.items()) if order["status"] == "resting")
        return next((name for name in mine if name not in self.replaced), None)

    def _next_start(self) -> int:
        info = self.info
        return interval_start(self.clock.now() + info.gate_s, info.interval_s) + info.interval_s


@dataclass(slots=True)
class BatteryHome(StreetHome):
    """A home that charges in a cheap interval and discharges in the dear one after it."""

    def _some_energy(self) -> tuple[int, int]:
        return self.chance.randint(60, 150), self.chance.randint(60, 150)

    async def _act(self) -> None:
        interval_s = self.info.interval_s
        charge_at = self._next_start() + interval_s
        charge_at += charge_at // interval_s % 2 * interval_s
        charge_wh = self.chance.randint(10, 40)
        bought, sold = Leg(charge_at, charge_wh), Leg(charge_at + interval_s, max(1, charge_wh * 9 // 10))
        await self.place_spread(bought, 180_000, sold, 190_000)


async def insist[R](ask: Callable[[], Awaitable[R]]) -> R:
    """Ask until there is an answer."""
    while True:
        try:
            return await ask()
        except CoordinatorUnavailable:
            await asyncio.sleep(RETRY_S)
