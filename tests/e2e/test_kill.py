"""kill -9 of the whole coordinator, many times, while homes trade: nothing acknowledged is lost or doubled.

In the traffic are single orders, replaced and conditional ones, and a battery's bundles, which trade in sessions. What
the disk holds after a kill is verified each time before the coordinator starts again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed, read_balances
from coordinator.chain.deployment import Deployment, load_deployment
from coordinator.chain.ports import Balance
from coordinator.chain.rpc import Rpc
from coordinator.cli import main
from coordinator.ledger.replay import entries, replay
from coordinator.ledger.snapshots import rebuild
from coordinator.ledger.verify import verify
from coordinator.market.events import (
    BundlesPlaced,
    CloseReason,
    Event,
    OrderClosed,
    OrderPlaced,
    OrderTriggered,
    SessionCleared,
    Stage,
    Traded,
)
from coordinator.market.state import state_hash
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.messages import Side
from tests.e2e.fast_clock import FastClock
from tests.e2e.street import INVITE, BatteryHome, StreetHome

ROOT = Path(__file__).parents[2]
KILLS = 22
LIMIT_S = 60
CHAIN_KILLS = range(3, KILLS, 5)  # then the chain's node is killed too, and comes back some blocks younger
WELCOME_MICRO = 500_000_000
FACTOR = 15  # an interval of 60 s takes 4 s
SETTINGS = """
data = "{data}"
[http]
port = {port}
[market]
interval_s = 60
gate_s = 10
horizon_s = 600
reading_deadline_s = 600
session_every_s = 60
community_fee_micro_per_kwh = 5000
welcome_credit_micro = {welcome}
orders_per_account_interval_max = 1000
members_max = 20
invite = "{invite}"
"""


@dataclass
class Victim:
    """The coordinator's process, started again after each kill."""

    folder: Path
    clock: FastClock
    port: int
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    confirmed: set[int] = field(default_factory=set)
    state: tuple[int, bytes] = (0, b"")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = self.folder / "coordinator.toml"
        settings.write_text(
            SETTINGS.format(data=self.data, port=self.port, invite=INVITE, welcome=WELCOME_MICRO), encoding="utf-8"
        )
        times = (repr(self.clock.real), str(self.clock.shown), str(self.clock.factor))
        command = [sys.executable, "-m", "tests.e2e.fast_serve", *times, str(settings)]
        self.starts += 1
        with (self.folder / f"log-{self.starts}").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, f"the coordinator ended by itself: {self.last_words()}"
        self.process.kill()
        self.process.wait()

    def kill_chain(self) -> None:
        noted = json.loads((self.data / "chain" / "anvil.json").read_text("ascii"))
        words = Path(f"/proc/{noted['pid']}/cmdline")
        if words.exists() and b"anvil" in words.read_bytes():
            os.kill(noted["pid"], signal.SIGKILL)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    def check_the_disk(self) -> None:
        """Decide all of the log again; the state is the same from a snapshot on, and nothing of it is lost."""
        file = self.data / "ledger.sqlite"
        report, (sequence, before) = verify(file), self.state
        assert report.findings == []
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            rebuilt = rebuild(connection)
        replayed = replay(file)
        assert rebuilt.head.sequence == replayed.sequence == report.sequence >= sequence
        assert state_hash(rebuilt.state) == replayed.state_hash == report.state_hash
        assert not sequence or replay(file, sequence).state_hash == before
        self.state = report.sequence, report.state_hash

    def last_words(self) -> str:
        return (self.folder / f"log-{self.starts}").read_text(encoding="utf-8")[-2_000:]


@pytest.fixture
async def victim(tmp_path: Path) -> AsyncIterator[Victim]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    victim = Victim(tmp_path, FastClock.starting(FACTOR), port)
    victim.start()
    try:
        yield victim
    finally:
        if victim.process is not None and victim.process.poll() is None:
            victim.process.kill()
            victim.process.wait()


@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_or_doubled(victim: Victim) -> None:
    chance = random.Random(20_261_122)  # the kills' times differ from machine to machine all the same
    async with aiohttp.ClientSession() as session:
        sides = (Side.SELL, Side.SELL, Side.BUY, Side.BUY)
        homes = [_home(StreetHome, session, victim, side, chance) for side in sides]
        homes.append(_home(BatteryHome, session, victim, Side.BUY, chance))
        await asyncio.gather(*(home.enter() for home in homes))
        async with _living(homes):
            await _kill_many_times(victim, homes, chance)
            for home in homes:
                home.trading = False
            await _until_all_is_settled(session, victim)
        await _check_what_the_api_says(homes, victim)
        await _check_the_chain(homes, victim)
    assert victim.stop() == 0, victim.last_words()
    _check_the_log(homes, victim.data / "ledger.sqlite")
    assert main(["verify", "--data", str(victim.data)]) == 0


def _home(
    kind: type[StreetHome], session: aiohttp.ClientSession, victim: Victim, side: Side, chance: random.Random
) -> StreetHome:
    client = CoordinatorClient(session, victim.url, timeout_s=3)
    return kind(side, client, victim.clock, random.Random(chance.random()), is_restless=True)


@asynccontextmanager
async def _living(homes: Iterable[StreetHome]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(home.live()) for home in homes]
        yield
        for task in tasks:
            task.cancel()


async def _kill_many_times(victim: Victim, homes: list[StreetHome], chance: random.Random) -> None:
    """Kill when something was acknowledged since the last start, at a random moment after it; or while starting."""
    for number in range(KILLS):
        if number % 6 != 5:  # every sixth kill comes while it starts
            seen = _acknowledged(homes)
            async with asyncio.timeout(LIMIT_S):
                while _acknowledged(homes) == seen:  # noqa: ASYNC110 - many places acknowledge
                    await asyncio.sleep(0.02)
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        await _remember_confirmed(victim)
        victim.kill()
        if number in CHAIN_KILLS:
            victim.kill_chain()
        await asyncio.to_thread(victim.check_the_disk)
        victim.start()


def _acknowledged(homes: list[StreetHome]) -> int:
    return sum(len(home.orders) + len(home.receipts) for home in homes)


async def _remember_confirmed(victim: Victim) -> None:
    """What the API once called confirmed must stay so."""
    for interval in await _intervals(victim):
        if interval["stage"] == "confirmed":
            victim.confirmed.add(interval["delivery_start"])


async def _intervals(victim: Victim) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session:
        try:
            address = f"{victim.url}/api/v1/intervals?limit=500"
            async with session.get(address, timeout=aiohttp.ClientTimeout(total=5)) as response:
                return list((await response.json())["intervals"])
        except aiohttp.ClientError, TimeoutError:
            return []


async def _until_all_is_settled(session: aiohttp.ClientSession, victim: Victim) -> None:
    async with asyncio.timeout(3 * LIMIT_S):
        while True:
            intervals = await _intervals(victim)
            if intervals and all(interval["stage"] in {"confirmed", "idle"} for interval in intervals):
                async with session.get(f"{victim.url}/readyz") as response:
                    health = await response.json()
                if health["waiting_effects"] == 0:
                    assert (health["status"], health["failed_effects"]) == ("ready", 0), health
                    return
            await asyncio.sleep(0.3)


async def _check_what_the_api_says(homes: list[StreetHome], victim: Victim) -> None:
    stages = {interval["delivery_start"]: interval["stage"] for interval in await _intervals(victim)}
    assert {stages[start] for start in victim.confirmed} == {"confirmed"}
    assert len(victim.confirmed) >= 5, "too few settlements to prove anything"
    for home in homes:
        await home.sign_in()
        assert not home.outbox
        last = home.receipts[-1][0]
        kept = (await home.client.meter(home.meter.device_id))["last"]["reading"]
        assert (kept["sequence"], kept["consumption_wh"]) == (last.sequence, last.consumption_wh)
        for order in await home.client.orders(home.account.address, 500):
            placed = home.orders[order["order"]]
            assert order["terms"] == placed["terms"]
            assert order["filled_wh"] >= placed["filled_wh"]


async def _check_the_chain(homes: list[StreetHome], victim: Victim) -> None:
    """The contract's columns are the ledger's, money sums to what came in, and each interval was settled once."""
    deployment = load_deployment(victim.data)
    assert deployment is not None
    listed = {account["account"]: account for account in await homes[0].client.accounts()}
    port = json.loads((victim.data / "chain" / "anvil.json").read_text("ascii"))["port"]
    async with Rpc(f"http://127.0.0.1:{port}") as rpc:
        block = await rpc.call("eth_getBlockByNumber", "latest", False)
        balances = await read_balances(rpc, deployment.addresses, [*listed], block["hash"])
        settled = await _settled_on_chain(rpc, deployment)
        call = {"to": deployment.addresses.ledger, "data": hexed(contract("EnergyLedger").encode("feesMicro"))}
        fees_micro = int(await rpc.call("eth_call", call, "latest"), 16)
    shown = {name: Balance(account["money_micro"], account["energy_wh"]) for name, account in listed.items()}
    assert balances == shown
    held_micro = sum(balance.money_micro for balance in balances.values()) + fees_micro
    assert held_micro == len(homes) * WELCOME_MICRO
    assert fees_micro > 0
    batches = [interval["delivery_start"] for interval in await _intervals(victim) if interval["transaction"]]
    assert sorted(settled) == sorted(batches)


async def _settled_on_chain(rpc: Rpc, deployment: Deployment) -> list[int]:
    topics = [contract("EnergyLedger").topic("BatchSettled")]
    wanted = {"address": deployment.addresses.ledger, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
    return [int(log["topics"][1], 16) for log in await rpc.call("eth_getLogs", wanted)]


def _check_the_log(homes: list[StreetHome], file: Path) -> None:
    """Every acknowledged order, trade and reading stands in the ledger, and once."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        events = [event for entry in entries(connection) for event in entry.events]
        readings = connection.execute("SELECT device_id, sequence, digest FROM readings").fetchall()
    orders = Counter("0x" + event.digest.hex() for event in events if isinstance(event, OrderPlaced))
    trades = {event.trade_id: event for event in events if isinstance(event, Traded)}
    assert set(orders.values()) == {1}
    assert set(orders) == {name for home in homes for name in home.orders}, "acknowledged is what was placed"
    assert len(trades) == sum(isinstance(event, Traded) for event in events)
    for home in homes:
        for placed in home.orders.values():
            for fill in placed["trades"]:
                trade = trades[fill["trade_id"]]
                assert (trade.energy_wh, trade.price_micro_per_kwh) == (fill["energy_wh"], fill["price_micro_per_kwh"])
    acknowledged = {
        (reading.device_id.to_bytes(32, "big"), reading.sequence, receipt.reading)
        for home in homes
        for reading, receipt in home.receipts
    }
    assert {*readings} == acknowledged
    _check_the_market(homes, events)


def _check_the_market(homes: list[StreetHome], events: list[Event]) -> None:
    """Bundles and replacements that were acknowledged happened once; all kinds of trading were in the traffic."""
    placed = Counter("0x" + b.struct_hash().hex() for e in events if isinstance(e, BundlesPlaced) for b in e.bundles)
    assert placed == Counter(name for home in homes for name in home.bundles)
    closed = {"0x" + e.digest.hex() for e in events if isinstance(e, OrderClosed) and e.reason is CloseReason.REPLACED}
    assert closed == {name for home in homes for name in home.replaced}
    fired = Counter(event.digest for event in events if isinstance(event, OrderTriggered))
    assert set(fired.values()) == {1}
    sessions = Counter(event.session_at for event in events if isinstance(event, SessionCleared))
    assert set(sessions.values()) == {1}
    assert any(event.accepted for event in events if isinstance(event, SessionCleared))
    assert placed
    assert closed
    assert {event.stage for event in events if isinstance(event, Traded)} >= {Stage.CONTINUOUS, Stage.SESSION}
