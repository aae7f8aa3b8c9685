"""A small community on a ledger with a clock that tests turn: real keys, real signatures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from btclib_secp256k1 import recovery

from coordinator.ledger import Committed, Ledger, LedgerConfig, Settler, Solver, StoredReading
from coordinator.market.commands import (
    AdmitMember,
    Command,
    CreditFunds,
    PlaceBundles,
    PlaceOrder,
    RegisterMeter,
    SignedLeg,
)
from coordinator.market.events import Rejected
from coordinator.market.rules import MarketRules
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import ZERO_HASH, Order, Reading, Side, TimeInForce
from coordinator.protocol.order_terms import Condition, Preferences
from coordinator.protocol.typed_data import Domain

DOMAIN = Domain(31337, "0x00000000000000000000000000000000001ed9e2")
MARKET = "sunny-street"
START = 1_800_000_000
RULES = MarketRules(
    market=MARKET,
    interval_s=60,
    gate_s=10,
    horizon_s=3600,
    price_min_micro_per_kwh=0,
    price_max_micro_per_kwh=1_000_000,
    supplier_micro_per_kwh=320_000,
    feed_in_micro_per_kwh=80_000,
    order_energy_max_wh=100_000,
    orders_per_account_interval_max=100_000,
    members_max=1_000,
    orders_per_interval_max=1_000_000,
)
OPERATOR = AccountKey.from_secret(keccak256(b"energy-trade test operator"))
SETTLER = Settler(OPERATOR.address, lambda digest: sign_compact(digest, OPERATOR))
CONFIG = LedgerConfig(reading_deadline_s=120, grid_capacity_w=630_000)


class Extras(TypedDict, total=False):
    """What else an order may have."""

    time_in_force: TimeInForce
    valid_until: int
    condition: Condition | None
    bundle: bytes
    preferences: Preferences | None


class TurnedClock:
    """Time that only a test moves."""

    def __init__(self, at: int = START) -> None:
        self._at = at
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self._at

    def set(self, at: int) -> None:
        self._at = at
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, at: int) -> None:
        while self._at < at:
            await self._moved.wait()


@dataclass
class Home:
    """An account with one meter, and the registers that it shows."""

    name: str
    account: AccountKey = field(init=False)
    meter: MeterKey = field(init=False)
    last: Reading | None = None
    orders: int = 0

    def __post_init__(self) -> None:
        self.account = AccountKey.from_secret(keccak256(f"energy-trade test account {self.name}".encode()))
        self.meter = MeterKey.from_secret(keccak256(f"energy-trade test meter {self.name}".encode()))

    @property
    def address(self) -> str:
        return self.account.address

    def join(self, money_micro: int = 100_000_000) -> list[Command]:
        """Return what lets the home take part, with money."""
        return [
            AdmitMember(self.address, self.name),
            RegisterMeter(
                self.meter.device_id, self.address, self.meter.public_key, 17_000, 30_000, bytes(64), bytes(64)
            ),
            CreditFunds(self.address, money_micro, f"deposit-{self.name}"),
        ]

    def order(
        self, side: Side, energy_wh: int, price: int | None, delivery_start: int, **more: Unpack[Extras]
    ) -> PlaceOrder:
        """Sign a new order."""
        self.orders += 1
        salt = self.orders.to_bytes(32, "big")
        order = Order(self.address, MARKET, delivery_start, side, energy_wh, price, salt=salt, **more)
        digest = order.digest(DOMAIN)
        return PlaceOrder(order, digest, sign_compact(digest, self.account))

    def bundle(self, side: Side, price: int, legs: dict[int, int]) -> PlaceBundles:
        """Sign a block over several intervals, all or none."""
        self.orders += 1
        parts = tuple(Leg(start, energy_wh) for start, energy_wh in legs.items())
        bundle = Bundle(self.address, MARKET, side, price, parts, salt=self.orders.to_bytes(32, "big"))
        mark = bundle.struct_hash()
        orders = [self.order(side, leg.energy_wh, None, leg.delivery_start, bundle=mark) for leg in parts]
        return PlaceBundles((bundle,), tuple(SignedLeg(o.order, o.digest, o.signature) for o in orders))

    def reading(self, at: int, consumption_wh: int = 0, production_wh: int = 0) -> Reading:
        """Make the next reading: registers rise by what is given."""
        last = self.last or Reading(self.meter.device_id, 0, 0, 0, 0)
        self.last = Reading(
            device_id=self.meter.device_id,
            sequence=last.sequence + 1,
            timestamp=at,
            consumption_wh=last.consumption_wh + consumption_wh,
            production_wh=last.production_wh + production_wh,
            previous=last.digest(DOMAIN) if self.last else ZERO_HASH,
        )
        return self.last

    def sign(self, reading: Reading) -> bytes:
        """Sign a reading with the meter's key."""
        return self.meter.sign(reading.digest(DOMAIN))


def sign_compact(digest: bytes, key: AccountKey) -> bytes:
    """Sign as ``r || vs`` (EIP-2098)."""
    signature, recid = recovery.sign(digest, key.secret, verify=False)
    return signature[:32] + bytes([signature[32] | (recid << 7)]) + signature[33:]


@dataclass
class World:
    """A ledger and its homes."""

    ledger: Ledger
    clock: TurnedClock

    async def commit(self, command: Command) -> Committed:
        result = await self.ledger.submit(command)
        assert isinstance(result, Committed), result
        return result

    async def refuse(self, command: Command) -> str:
        result = await self.ledger.submit(command)
        assert isinstance(result, Rejected), result
        return result.code

    async def read(self, home: Home, at: int, consumption_wh: int = 0, production_wh: int = 0) -> StoredReading:
        reading = home.reading(at, consumption_wh, production_wh)
        result = await self.ledger.store_reading(reading, home.sign(reading))
        assert isinstance(result, StoredReading), result
        return result

    async def join(self, *homes: Home) -> None:
        for home in homes:
            for command in home.join():
                await self.commit(command)


def open_ledger(
    folder: Path,
    clock: TurnedClock | None = None,
    rules: MarketRules = RULES,
    config: LedgerConfig = CONFIG,
    domain: Domain = DOMAIN,
    solver: Solver | None = None,
) -> World:
    """Return a world whose ledger is to be entered: ``async with world.ledger``."""
    clock = clock or TurnedClock()
    return World(Ledger(folder / "ledger.sqlite", rules, config, domain, clock, SETTLER, solver), clock)


async def settled_interval(world: World, seller: Home, buyer: Home, delivery_start: int = START + 60) -> None:
    """Trade 400 Wh at 0.20, deliver 300 of it and take 500, and settle."""
    await world.commit(seller.order(Side.SELL, 400, 200_000, delivery_start))
    await world.commit(buyer.order(Side.BUY, 400, 250_000, delivery_start))
    for home in (seller, buyer):
        await world.read(home, delivery_start)
    world.clock.set(delivery_start + 60)
    await world.read(seller, delivery_start + 60, production_wh=300)
    await world.read(buyer, delivery_start + 60, consumption_wh=200)
    await world.ledger.step()
    await world.ledger.step()
