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
from coordinator.protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import (
    ZERO_HASH,
    DeviceReceipt,
    Join,
    MeterRegistration,
    Order,
    Reading,
    SessionRequest,
    Side,
)
from coordinator.protocol.units import interval_start

INVITE = "street-invite"
RETRY_S = 0.1
LIMIT_W = 24_000


@dataclass(slots=True)
class StreetHome:
    """A home with its keys, its meter and its memory; it only buys or only sells."""

    side: Side
    client: CoordinatorClient
    clock: Clock
    chance: random.Random
    account: AccountKey = field(default_factory=AccountKey.generate)
    meter: MeterKey = field(default_factory=MeterKey.generate)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
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

    async def place(self, delivery_start: int, energy_wh: int, price_micro_per_kwh: int) -> str:
        """Place one order and insist on an answer; return its digest."""
        self._salt += 1
        order = Order(
            account=self.account.address,
            market=self.info.market,
            delivery_start=delivery_start,
            side=self.side,
            energy_wh=energy_wh,
            limit_price_micro_per_kwh=price_micro_per_kwh,
            salt=self._salt.to_bytes(32, "big"),
        )
        digest = order.digest(self.info.domain)
        signature, name = self.account.sign(digest), "0x" + digest.hex()
        try:
            answer = await insist(lambda: self.client.place_order(order, signature))
        except CoordinatorRefused as refusal:
            self.refused[name] = refusal.code
        else:
            assert answer["order"] == name
            self.orders[name] = {**answer, "terms": order.to_wire()}
        return name

    def read_meter(self, boundary: int) -> None:
        """Put the next signed reading into the outbox: some energy more than at the last boundary."""
        consumption_wh = self._last.consumption_wh if self._last else 10_000
        production_wh = self._last.production_wh if self._last else 20_000
        if self._last is not None:
            consumption_wh += self.chance.randint(60, 150) if self.side is Side.BUY else 0
            production_wh += self.chance.randint(60, 150) if self.side is Side.SELL else 0
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

    async def _trade(self) -> None:
        while True:
            if self.trading:
                base = 200_000 if self.side is Side.BUY else 150_000
                price = base + self.chance.randrange(-50_000, 50_000, 1_000)
                await self.place(self._next_start(), self.chance.randint(20, 70), price)
            await asyncio.sleep(self.chance.uniform(0.02, 0.6))

    def _next_start(self) -> int:
        info = self.info
        return interval_start(self.clock.now() + info.gate_s, info.interval_s) + info.interval_s


async def insist[R](ask: Callable[[], Awaitable[R]]) -> R:
    """Ask until there is an answer."""
    while True:
        try:
            return await ask()
        except CoordinatorUnavailable:
            await asyncio.sleep(RETRY_S)
