"""Simulated homes: the integration's own household agent and client behind virtual meters.

Hundreds of homes share one process, one connection pool and one file. Each behaves as a real home:
it signs a reading at every boundary whether or not the coordinator answers, keeps it until the
receipt, and places an order some time before gate closure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from ..clock import Clock, SystemClock
from ..household.agent import HouseholdAgent, OrderStatus
from ..household.corrections import agree
from ..household.courier import deliver, line_up
from ..household.guard import READINGS_APART_S, GuardRefusal
from ..household.identity import Identity
from ..household.policies import SurplusPolicy
from ..household.terms import HomeLimits
from ..protocol.client import (
    CoordinatorClient,
    CoordinatorRefused,
    CoordinatorUnavailable,
    MarketInfo,
)
from ..protocol.units import interval_start
from . import battery
from .home_store import Flow, HomeStore
from .profiles import Sun
from .virtual_home import SECONDS_PER_HOUR, Equipment, Registers, equipment

CONNECTIONS_MAX = 64
RETRY_S_MIN = 1.0
RETRY_S_MAX = 15.0
READING_SPREAD_S = 2.0
ORDER_MARGIN_S = 8
LOCAL_FIRST_EVERY = 4  # every fourth home would rather trade with its neighbours, and waits for the auctions
LOCAL_FIRST_AHEAD = 3  # so that an auction over several intervals finds orders in them
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class World:
    """What all homes of a process share."""

    store: HomeStore
    session: aiohttp.ClientSession
    url: str
    invite: str
    sun: Sun
    clock: Clock
    random: random.Random
    entering: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS_MAX))


class SimulatedHome:
    """One home: equipment, registers, an agent and its way to the coordinator."""

    def __init__(self, world: World, number: int, identity: Identity, home: Equipment, info: MarketInfo) -> None:
        """Restore the home's saved state, or begin a new home."""
        self.home = home
        self._world = world
        self._number = number
        self._info = info
        self._client = CoordinatorClient(world.session, world.url)
        self._limits = HomeLimits(home.import_limit_w, home.export_limit_w)
        policy = SurplusPolicy(home.sell_price_micro_per_kwh, home.buy_price_micro_per_kwh)
        saved = world.store.state(number)
        now = world.clock.now()
        local_first = number % LOCAL_FIRST_EVERY == 0
        ahead = LOCAL_FIRST_AHEAD if local_first else 1
        if saved is None:
            self.agent = HouseholdAgent(identity, info, policy, self._limits, ahead=ahead, local_first=local_first)
            self.registers = Registers(now)
        else:
            self.agent = HouseholdAgent.from_dict(
                saved["agent"],
                identity,
                info,
                policy,
                self._limits,
                ahead=ahead,
                local_first=local_first,
            )
            self.registers = Registers.from_dict(saved["registers"]).resumed(now)
        self._boundary = self.registers
        self._flow: Flow | None = None
        self._saved = -1
        self._waiting = asyncio.Event()

    async def run(self) -> None:
        """Join, then sample the meter on time whether or not the coordinator answers."""
        await self._until_it_works(self._enter)
        now = self._world.clock.now()
        if now + READINGS_APART_S <= interval_start(now, self._info.interval_s) + self._info.interval_s:
            self._observe(now)  # else the boundary, which is what counts, would come too soon after it
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample())
            group.create_task(self._carry())

    async def _sample(self) -> None:
        """Sign a reading at each boundary and, some time later, an order for the next open interval."""
        world, interval_s = self._world, self._info.interval_s
        latest_s = max(READING_SPREAD_S, interval_s - self._info.gate_s - ORDER_MARGIN_S)
        boundary = interval_start(world.clock.now(), interval_s)
        while True:
            boundary = max(boundary + interval_s, interval_start(world.clock.now(), interval_s))
            await world.clock.sleep_until(boundary)
            reading_s = world.random.uniform(0, READING_SPREAD_S)
            await asyncio.sleep(reading_s)
            self._observe(boundary)
            await self._save()
            await asyncio.sleep(world.random.uniform(reading_s, latest_s) - reading_s)
            await self._until_it_works(self._trade)
            self._waiting.set()

    async def _trade(self) -> None:
        """Sign the orders that the policy wants."""
        self.agent.plan(self._world.clock.now())

    async def _plan_anew(self) -> None:
        """Ask how much of the cancelled orders had traded, and sign what is to stand in their place."""
        account = self.agent.identity.account
        orders = await self._in_session(lambda: self._client.orders(account))
        self.agent.heard(map(OrderStatus.from_wire, orders))
        if self.agent.plan(self._world.clock.now()):
            self._waiting.set()

    def _charging_w(self) -> int:
        """Return what a battery has taken since the last reading; here is none."""
        return 0

    async def _carry(self) -> None:
        """Deliver whenever something waits."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await self._until_it_works(self._deliver)
            if self.agent.awaits_word:
                await self._until_it_works(self._plan_anew)

    def _observe(self, at: int) -> None:
        """Read the meter at ``at`` and sign what it shows."""
        self.registers = self.registers.advance(at, self.home, self._world.sun, self._charging_w())
        if at % self._info.interval_s == 0:
            self._flow = Flow.between(self._boundary, self.registers)
            self._boundary = self.registers
        shown = self.registers
        refusal = self.agent.observe_boundary(at, shown.consumption_wh, shown.production_wh)
        if isinstance(refusal, GuardRefusal):
            say(f"{self.home.name}: no reading at {at}: {refusal.message}")
        self._waiting.set()

    async def _enter(self) -> None:
        """Join the market and register the meter; both can be repeated."""
        world, identity = self._world, self.agent.identity
        async with world.entering:
            now = world.clock.now()
            join = identity.join(self._info.market, world.invite, self.home.name, now)
            await self._client.join(join, identity.account_key, self._info.domain)
            await self._client.register_meter(
                identity.registration(self._limits),
                identity.meter_key,
                identity.account_key,
                self._info.domain,
            )
            if blocked := await line_up(self.agent, self._client):
                say(f"{self.home.name}: {blocked.message}")

    async def _deliver(self) -> None:
        """Send what waits."""
        now = self._world.clock.now()
        blocked = await self._in_session(lambda: deliver(self.agent, self._client, self._save, now))
        if blocked is not None:
            say(f"{self.home.name}: {blocked.message}")
        for judgement in await self._in_session(lambda: agree(self.agent.identity, self._info, self._client)):
            say(f"{self.home.name}: correction {judgement.reason.text}")

    async def _in_session[R](self, call: Callable[[], Awaitable[R]]) -> R:
        """Call, and once more in a new session when the old one has ended."""
        try:
            return await call()
        except CoordinatorRefused as refusal:
            if refusal.status != _UNAUTHORIZED:
                raise
        identity = self.agent.identity
        request = identity.session(self._info.market, self._world.clock.now())
        await self._client.open_session(request, identity.account_key, self._info.domain)
        return await call()

    async def _save(self) -> None:
        """Keep the home's state, and its energy of an interval once; nothing to do when it is kept."""
        version, flow, self._flow = self.agent.version, self._flow, None
        if version == self._saved and flow is None:
            return
        state = {"agent": self.agent.to_dict(), "registers": self.registers.to_dict()}
        await self._world.store.save(self._number, state, flow)
        self._saved = max(self._saved, version)
        self.agent.saved(version)

    async def _until_it_works(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call again, ever more patiently, until the coordinator has answered."""
        pause_s = RETRY_S_MIN
        while True:
            try:
                return await call()
            except CoordinatorUnavailable as error:
                wished_s = float(error.retry_after_s or 0)
            except CoordinatorRefused as refusal:
                say(f"{self.home.name}: {refusal.code}: {refusal}")
                wished_s = RETRY_S_MAX
            pause_s = min(pause_s * 2, RETRY_S_MAX)
            await asyncio.sleep(max(wished_s, self._world.random.uniform(pause_s / 2, pause_s)))


class BatteryHome(SimulatedHome):
    """A battery that buys in one interval and sells in the next, both or neither; its spread clears in a session.

    What it trades it does: the trades of its legs, as the coordinator keeps them, are its schedule.
    """

    def __init__(self, world: World, number: int, identity: Identity, home: Equipment, info: MarketInfo) -> None:
        """Begin with an empty schedule; the coordinator knows what was traded before."""
        super().__init__(world, number, identity, home, info)
        self._schedule: dict[int, int] = {}

    async def _trade(self) -> None:
        """Read off what is traded, and offer the next spread when no leg waits."""
        legs = await self._in_session(lambda: self._client.orders(self.agent.identity.account))
        self._schedule = battery.schedule(legs)
        now = self._world.clock.now()
        if battery.is_waiting(legs):
            return
        charge_at = interval_start(now, self._info.interval_s) + 2 * self._info.interval_s
        await self._client.place_bundles(*battery.spread(self.agent.identity, self._info, self.home, charge_at))

    def _charging_w(self) -> int:
        """Return the power of the interval that began at or after the last reading."""
        interval_s = self._info.interval_s
        traded_wh = self._schedule.get(interval_start(self.registers.at, interval_s), 0)
        return traded_wh * SECONDS_PER_HOUR // interval_s


@dataclass(frozen=True, slots=True)
class Options:
    """What ``energy-trade homes`` was asked to do."""

    url: str
    count: int
    data: Path
    invite: str
    sun_started_at: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``energy-trade homes``."""
    parser.add_argument("--url", required=True, help="the coordinator, such as http://127.0.0.1:8787")
    parser.add_argument("--count", type=int, default=20, help="how many homes (default 20)")
    parser.add_argument(
        "--invite",
        default=os.environ.get("ENERGY_TRADE_INVITE", ""),
        help="the operator's invite code (default: ENERGY_TRADE_INVITE, which no process list shows)",
    )
    parser.add_argument("--data", type=Path, default=Path("homes-data"), help="folder for keys and state")
    parser.add_argument(
        "--sun-start",
        type=int,
        metavar="SECONDS",
        help="UTC second at which it is ten in the morning (default: now)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the homes until SIGINT or SIGTERM; return the exit status."""
    if arguments.count < 1:
        say("--count: at least one home is needed")
        return 2
    options = Options(arguments.url, arguments.count, arguments.data, arguments.invite, arguments.sun_start)
    return asyncio.run(_until_signalled(options))


async def run_homes(options: Options) -> None:
    """Run the homes for ever, in this process."""
    clock = SystemClock()
    store = HomeStore(options.data / "homes.sqlite3")
    sun = Sun(clock.now() if options.sun_started_at is None else options.sun_started_at)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    cookies = aiohttp.DummyCookieJar()
    try:
        async with aiohttp.ClientSession(connector=connector, cookie_jar=cookies) as session:
            chance = random.Random()
            world = World(store, session, options.url, options.invite, sun, clock, chance)
            info = await _market(CoordinatorClient(session, options.url))
            async with asyncio.TaskGroup() as group:
                group.create_task(store.run())
                for home in _homes(world, options.count, info):
                    group.create_task(home.run())
                say(f"{options.count} homes trade in {info.name}")
    finally:
        store.close()


def _homes(world: World, count: int, info: MarketInfo) -> list[SimulatedHome]:
    tariffs = {
        "supplier_micro_per_kwh": info.supplier_micro_per_kwh,
        "feed_in_micro_per_kwh": info.feed_in_micro_per_kwh,
    }
    homes: list[SimulatedHome] = []
    for number, identity in enumerate(world.store.identities(count)):
        home = equipment(number, **tariffs)
        kind = BatteryHome if home.storage_w else SimulatedHome
        homes.append(kind(world, number, identity, home, info))
    return homes


async def _market(client: CoordinatorClient) -> MarketInfo:
    """Return the market's rules as soon as the coordinator answers."""
    while True:
        try:
            return await client.market()
        except CoordinatorUnavailable as error:
            say(f"waiting for the coordinator: {error}")
            await asyncio.sleep(RETRY_S_MIN)


async def _until_signalled(options: Options) -> int:
    task = asyncio.ensure_future(run_homes(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    return 0


def say(text: str) -> None:
    """Write one line of the log."""
    print(text, file=sys.stderr, flush=True)
