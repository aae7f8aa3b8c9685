"""A whole community on one machine: chain, coordinator, twenty homes and a real Home Assistant."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ..chain.rpc import NodeUnreachable, RpcError
from ..clock import Clock, SystemClock
from ..protocol.client import CoordinatorClient, CoordinatorUnavailable
from .audit import audit
from .community import INTERVAL_S, Community, NotReady
from .hass_api import HassRefused
from .home_store import Flow, HomeStore, read_flows
from .processes import Child, Ports, ProcessFailed
from .profiles import Sun
from .report import Totals, interval_line, summary
from .smart_home import DemoMeter, SmartHome, missing_packages, set_up_integration, start_smart_home
from .virtual_home import equipment

CURRENCY = "EUR"
SMART_HOME_NUMBER = 27  # solar plant of 4.4 kW and a quiet day: a seller until the evening
_POLL_S = 1.0
_FAILURES = (ProcessFailed, NotReady, HassRefused, CoordinatorUnavailable, NodeUnreachable, RpcError)


@dataclass(frozen=True, slots=True)
class Options:
    """What ``energy-trade demo`` was asked to do; ``settled`` ``None`` runs until Ctrl-C."""

    data: Path
    homes: int
    settled: int | None
    home_assistant: bool
    join_by_hand: bool
    port: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``energy-trade demo``."""
    parser.add_argument("--settled", type=int, metavar="N", help="end with a summary after N settled intervals")
    parser.add_argument("--homes", type=int, default=20, help="how many simulated homes (default 20)")
    parser.add_argument("--no-home-assistant", action="store_true", help="leave the real Home Assistant out")
    parser.add_argument(
        "--join-by-hand", action="store_true", help="leave it to you to add the integration to Home Assistant"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("demo-data"), help="folder to resume from (default demo-data)"
    )
    parser.add_argument("--port", type=int, help="the coordinator's port (default: as last time, else any free one)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return the exit status."""
    if arguments.homes < 1 or (arguments.settled is not None and arguments.settled < 1):
        print("--homes and --settled: at least 1 is needed", file=sys.stderr)
        return 2
    options = Options(
        data=arguments.data.resolve(),
        homes=arguments.homes,
        settled=arguments.settled,
        home_assistant=not arguments.no_home_assistant,
        join_by_hand=arguments.join_by_hand,
        port=arguments.port,
    )
    if options.home_assistant and (missing := missing_packages()):
        print(f"Home Assistant is not installed here ({', '.join(missing)} missing): run", file=sys.stderr)
        print("script/setup, or add --no-home-assistant", file=sys.stderr)
        return 2
    return asyncio.run(_until_signalled(options))


async def _until_signalled(options: Options) -> int:
    task = asyncio.ensure_future(_run(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        return await task
    say("stopped; start again to go on where it was")
    return 0


async def _run(options: Options) -> int:
    options.data.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(options.data):
            async with running(options) as demo:
                return await demo.watch(options.settled)
    except _FAILURES as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        return 1


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Let one demo at a time use the folder."""
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessFailed(f"another demo uses {data}; stop it, or choose another folder with --data") from None
        yield


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Demo]:
    """Start everything, and end it in the opposite order."""
    ports, clock = Ports(options.data / "ports.json"), SystemClock()
    community = Community(options.data, ports.take("coordinator", options.port))
    async with AsyncExitStack() as stack:
        stack.callback(say, "everything has ended")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        say("starting the local chain and the coordinator")
        coordinator = await community.start_coordinator()
        stack.push_async_callback(coordinator.stop)
        sun = Sun(clock.now())
        meter = await _meter(stack, options.data, sun, clock) if options.home_assistant else None
        starting = asyncio.create_task(start_smart_home(stack, options.data, ports, meter, say)) if meter else None
        try:
            await community.until_ready(session, coordinator)
            demo = Demo(community, CoordinatorClient(session, community.url), sun, [coordinator])
            await demo.remember()
            say(f"coordinator is ready: {community.url}")
            demo.children.append(homes := await community.start_homes(options.homes, sun.started_at))
            stack.push_async_callback(homes.stop)
            say(f"{options.homes} simulated homes are joining; the sun stands at ten in the morning")
            if starting is not None:
                demo.smart_home = await starting
                await _let_join(demo.smart_home, community, by_hand=options.join_by_hand)
        finally:
            if starting is not None and not starting.done():
                starting.cancel()
                with suppress(asyncio.CancelledError):
                    await starting
        demo.tell_addresses()
        stack.callback(say, "ending all processes")
        yield demo


async def _let_join(home: SmartHome, community: Community, *, by_hand: bool) -> None:
    """Add the integration, or say how a person adds it."""
    if by_hand:
        say(f"add the integration Energy Trade in Home Assistant: address {community.url}, invite {community.invite}")
        return
    await set_up_integration(home, community.url, community.invite)
    say("Home Assistant trades: the integration is set up and its meter is fed")


async def _meter(stack: AsyncExitStack, data: Path, sun: Sun, clock: Clock) -> DemoMeter:
    store = HomeStore(data / "smart-home" / "homes.sqlite3")
    stack.callback(store.close)
    writing = asyncio.create_task(store.run())
    stack.callback(writing.cancel)
    home = equipment(SMART_HOME_NUMBER, supplier_micro_per_kwh=320_000, feed_in_micro_per_kwh=80_000)
    return DemoMeter(store, home, sun, clock, INTERVAL_S)


@dataclass(slots=True)
class Demo:
    """A running community, watched through the coordinator's public API."""

    community: Community
    client: CoordinatorClient
    sun: Sun
    children: list[Child]
    smart_home: SmartHome | None = None
    settled: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _before: set[int] = field(default_factory=set)
    _saved_before_micro: int = 0

    async def remember(self) -> None:
        """Note what an earlier run has settled, which does not count in this one."""
        self._before = {row["delivery_start"] for row in await self._confirmed(since=0)}
        self._saved_before_micro = await self._saved_micro()

    def tell_addresses(self) -> None:
        """Print where to look."""
        url, home = self.community.url, self.smart_home
        print(f"\n  Live page       {url}/\n  API             {url}/api/v1/openapi.json", flush=True)
        if home is not None:
            print(f"  Home Assistant  {home.url}/   user {home.login.user}   password {home.login.password}")
        print(f"  Logs and data   {self.community.data}\n", flush=True)
        say("the first interval settles about three minutes after the homes have joined; Ctrl-C ends the demo")

    async def watch(self, wanted: int | None) -> int:
        """Print a line per settled interval; after ``wanted`` of them the summary. Return the status."""
        while wanted is None or len(self.settled) < wanted:
            self._check()
            with suppress(CoordinatorUnavailable):
                await self._look(wanted)
            await asyncio.sleep(_POLL_S)
        return await self._finish()

    def _check(self) -> None:
        for child in self.children:
            child.check()
        if self.smart_home is not None:
            self.smart_home.check()

    async def _look(self, wanted: int | None) -> None:
        since = max([0, *self.settled]) - 20 * INTERVAL_S
        for row in await self._confirmed(max(0, since)):
            start = row["delivery_start"]
            if start in self._before or start in self.settled or len(self.settled) == wanted:
                continue
            self.settled[start] = row
            say(interval_line(row, self.sun, CURRENCY))

    async def _finish(self) -> int:
        found = await audit(self.client, self.community.coordinator_data)
        rows = [self.settled[start] for start in sorted(self.settled)]
        saved_micro = await self._saved_micro() - self._saved_before_micro
        print("\n" + summary(Totals.of(rows, self._flows()), saved_micro, found, CURRENCY) + "\n", flush=True)
        return 0 if found.passed else 1

    def _flows(self) -> list[Flow]:
        ended_at = {start + INTERVAL_S for start in self.settled}
        files = [self.community.data / folder / "homes.sqlite3" for folder in ("homes", "smart-home")]
        return [flow for file in files if file.exists() for flow in read_flows(file, ended_at)]

    async def _confirmed(self, since: int) -> list[dict[str, Any]]:
        rows = await self.client.intervals(since)
        return [row for row in rows if row["stage"] == "confirmed" and row["transaction"]]

    async def _saved_micro(self) -> int:
        return sum(row["saved_micro"] for row in await self.client.accounts())


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"==> {text}", flush=True)
