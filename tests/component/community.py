"""A community's real coordinator (HTTP, ledger, market; no chain) on one port, to be stopped and started."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from coordinator.agreement import market_rules
from coordinator.config import Config
from coordinator.edge.http import create_application
from coordinator.edge.services import Services
from coordinator.edge.signatures import Signatures
from coordinator.edge.stream import Hub
from coordinator.ledger import Ledger, LedgerConfig
from coordinator.market.commands import AdmitMember, CreditFunds, PlaceOrder, RegisterMeter, SuspendMeter
from coordinator.market.events import Rejected
from coordinator.protocol.messages import Reading, Side
from coordinator.protocol.recovery import compact
from tests.edge import support
from tests.edge.support import DOMAIN, INVITE, Home

NOON = support.NOON
INTERVAL_S = 60
CONFIG = replace(
    support.CONFIG,
    market=replace(support.CONFIG.market, interval_s=INTERVAL_S, gate_s=10, name="Elm Street", horizon_s=3_600),
)


@dataclass
class WallClock:
    """The coordinator's clock: the machine's, which the tests move, and can set wrong."""

    wrong_by_s: int = 0

    def now(self) -> int:
        return int(time.time()) + self.wrong_by_s

    async def sleep_until(self, at: int) -> None:
        await asyncio.sleep(max(0, at - time.time()))


@dataclass
class Community:
    """The coordinator and, when wanted, a neighbour that trades."""

    folder: Path
    config: Config = CONFIG
    port: int = 0
    ledger: Ledger = field(init=False)
    services: Services = field(init=False)
    neighbour: Home = field(default_factory=Home)
    clock: WallClock = field(default_factory=WallClock)
    _server: asyncio.Task[None] | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve, on the same port as before."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._server = asyncio.create_task(self._serve(started))
        await started

    async def stop(self) -> None:
        """Close the port; what was stored stays on disk."""
        if self._server is not None:
            self._stop.set()
            await self._server
            self._server = None

    async def begin_anew(self, **market: Any) -> None:
        """Serve with an empty ledger on the same port, with these changes to the market."""
        await self.stop()
        self.folder = self.folder / "anew"
        self.folder.mkdir()
        self.config = replace(self.config, market=replace(self.config.market, **market))
        await self.start()

    async def fund(self, account: str, money_micro: int = 5_000_000) -> None:
        await self.ledger.submit(CreditFunds(account, money_micro, f"test:{account}"))

    async def neighbour_joins(self) -> None:
        """A neighbour with a meter and money."""
        home = self.neighbour
        await self.readmit(home.address, home.meter.public_key, home.meter.device_id)
        await self.fund(home.address)

    async def readmit(self, account: str, public_key: bytes, device_id: int) -> None:
        """Take in a home by hand, as an operator would."""
        await self.ledger.submit(AdmitMember(account, "Nr. 7"))
        await self.ledger.submit(RegisterMeter(device_id, account, public_key, 24_000, 10_000, bytes(64), bytes(64)))

    async def neighbour_orders(self, side: Side, energy_wh: int, price: int, delivery_start: int) -> None:
        """Place an order of the neighbour's that must be accepted."""
        order = self.neighbour.order(side, energy_wh, price, delivery_start=delivery_start)
        digest = order.digest(DOMAIN)
        signature = compact(self.neighbour.account.sign(digest), digest, self.neighbour.address)
        assert signature is not None
        result = await self.ledger.submit(PlaceOrder(order, digest, signature))
        assert not isinstance(result, Rejected), result

    async def neighbour_reads(self, at: int, consumption_wh: int, production_wh: int) -> None:
        """Store a reading of the neighbour's that must be accepted."""
        home = self.neighbour
        reading = home.reading(at, consumption_wh, production_wh)
        stored = await self.ledger.store_reading(reading, home.meter.sign(reading.digest(DOMAIN)))
        assert not isinstance(stored, Rejected), stored
        home.last = reading

    async def suspend(self, device_id: int) -> None:
        await self.ledger.submit(SuspendMeter(device_id, "seal broken"))

    async def readings(self, device_id: int) -> list[Reading]:
        """Return the readings that are stored, in sequence."""
        found = await self.ledger.queries.readings(device_id, limit=1_000)
        return [stored.reading for stored in found]

    async def _serve(self, started: asyncio.Future[None]) -> None:
        clock: Any = self.clock
        async with AsyncExitStack() as stack:
            signatures = stack.enter_context(Signatures(DOMAIN))
            file = self.folder / "ledger.sqlite"
            self.ledger = Ledger(file, market_rules(self.config), LedgerConfig(), DOMAIN, clock, support.SETTLER)
            await stack.enter_async_context(self.ledger)
            self.services = support._services(self.config, clock, self.ledger, signatures)
            hub = Hub(self.services, queue_max=1_000, clients_max=10, per_address_max=10)
            work = asyncio.gather(hub.run(), self.ledger.run())
            runner = web.AppRunner(
                create_application(self.services, self.config.http, hub), shutdown_timeout=0.1, access_log=None
            )
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
            await site.start()
            self.port = runner.addresses[0][1]
            started.set_result(None)
            await self._stop.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await runner.cleanup()


__all__ = ["INTERVAL_S", "INVITE", "NOON", "Community"]
