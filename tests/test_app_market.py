"""The whole market on a real chain: sessions, bundles, conditions, fees, compensation, corrections.

The clock stands still until the test moves it on, so that a busy machine makes nothing late.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordinator import app
from coordinator.app import LEDGER_FILE
from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.proof import check_on_chain
from coordinator.chain.rpc import Rpc
from coordinator.cli import main
from coordinator.household.corrections import agree
from coordinator.ledger.verify import verify
from coordinator.market.certificate import verify as verify_certificate
from coordinator.protocol.bundles import Leg
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from coordinator.protocol.receipts import verify_receipt
from coordinator.solver.worker import SolverWorker
from tests.e2e.held_clock import HeldClock
from tests.e2e.street import StreetHome
from tests.test_app import WELCOME_MICRO, Street, _on_chain, settings, street

INTERVAL_S = 60
DEADLINE_S = 900
LIMIT_S = 60.0
RULES = {
    "session_every_s": INTERVAL_S,
    "community_fee_micro_per_kwh": 20_000,
    "community_fee_share_ppm": 10_000,
    "reading_deadline_s": DEADLINE_S,
}
FIRST_PLACE = 2 * INTERVAL_S  # from the start to the first interval that the tests trade in

pytestmark = pytest.mark.timeout(300)


@dataclass
class Market(Street):
    """A street whose clock is held."""

    held: HeldClock

    @property
    def first(self) -> int:
        """The start of the interval two after the present one."""
        return self.held.now() // INTERVAL_S * INTERVAL_S + FIRST_PLACE

    def next_session(self) -> int:
        """Move to the next session, and return when that is."""
        at = self.held.now() // INTERVAL_S * INTERVAL_S + INTERVAL_S
        self.held.move_to(at)
        return at

    async def homes(self, *sides: Side) -> list[StreetHome]:
        """Let homes join, sign in and get their money."""
        homes = [self.home(side) for side in sides]
        for home in homes:
            await home.enter()
            await home.sign_in()
        await self.wait("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
        return homes

    async def wait(self, path: str, holds: Callable[[Any], bool]) -> Any:
        return await self.until(path, holds, LIMIT_S)

    async def held_at(self, at: int) -> dict[str, Any]:
        """Wait for a session's result with its certificate."""
        found = await self.wait(f"/api/v1/session-auctions/{at}", lambda answer: "auction" in answer)
        assert isinstance(found, dict)
        return found

    async def read(self, boundary: int, *metered: tuple[StreetHome, int, int]) -> None:
        """Move to the boundary and have meters read: what was consumed and produced since the last reading, in Wh."""
        self.held.move_to(max(boundary, self.held.now()))
        for home, consumed_wh, produced_wh in metered:
            home.read_meter(boundary, consumed_wh, produced_wh)
            await home.send_reading(home.outbox.popleft())

    async def is_quiet(self) -> None:
        """Wait until all effects are on chain; none has failed and nothing was halted."""
        health = await self.wait("/readyz", lambda found: found["waiting_effects"] == 0)
        assert (health["status"], health["trading"], health["failed_effects"]) == ("ready", "open", 0), health

    async def chain_agrees(self, *homes: StreetHome) -> list[int]:
        """Compare ledger and contract, and return each home's gain in 1e-6 currency."""
        gained = []
        for home in homes:
            shown = await self.get(f"/api/v1/accounts/{home.account.address}")
            assert await _on_chain(self, home) == (shown["energy_wh"], shown["money_micro"])
            gained.append(shown["money_micro"] - WELCOME_MICRO)
        return gained

    async def fee_pot_micro(self) -> int:
        """Return the fees that the contract holds."""
        at = self.coordinator.deployment.addresses.ledger
        call = {"to": at, "data": hexed(contract("EnergyLedger").encode("feesMicro"))}
        async with Rpc(self.coordinator.rpc_url) as rpc:
            return int(await rpc.call("eth_call", call, "latest"), 16)


@asynccontextmanager
async def market(folder: Path, **rules: Any) -> AsyncIterator[Market]:
    """Run a market; afterwards its ledger must hold in every decision."""
    clock, config = HeldClock.starting(), settings(folder, {**RULES, **rules})
    async with street(config, clock) as here:
        yield Market(here.coordinator, clock, here.session, clock)
    assert verify(config.data / LEDGER_FILE).findings == []


async def test_a_spread_over_two_intervals_is_settled_with_fees_on_chain(tmp_path: Path) -> None:
    async with market(tmp_path) as here:
        producer, consumer, battery = await here.homes(Side.SELL, Side.BUY, Side.BUY)
        cheap, dear = here.first, here.first + INTERVAL_S
        await producer.place(cheap, 60, 100_000)
        await consumer.place(dear, 50, 300_000)
        names = await battery.place_spread(Leg(cheap, 60), 150_000, Leg(dear, 50), 200_000)
        assert [battery.bundles[name]["status"] for name in names] == ["received", "received"], battery.refused
        held = await here.held_at(here.next_session())
        assert (held["auction"]["outcome"], held["auction"]["volume_wh"]) == ("optimal", 110)
        _holds_and_no_other_would(held["certificate"])
        for name in names:
            bundle = await battery.client.bundle(bytes.fromhex(name[2:]))
            assert [leg["status"] for leg in bundle["legs"]] == ["filled"], bundle
            assert [fill["stage"] for leg in bundle["legs"] for fill in leg["trades"]] == ["session"]
        await _deliver(here, producer, consumer, battery, cheap)
        for start, settled_wh in ((cheap, 60), (dear, 50)):
            assert (await here.confirmed(start, LIMIT_S))["settled_wh"] == settled_wh
        await here.is_quiet()
        gained = await here.chain_agrees(producer, consumer, battery)
        fees_micro = 0
        settled = ((producer, [cheap]), (consumer, [dear]), (battery, [cheap, dear]))
        for (home, starts), gain in zip(settled, gained, strict=True):
            parts = [await _components(here, home, start) for start in starts]
            assert sum(part["total_micro"] for part in parts) == gain
            fees_micro -= sum(part["community_fee_micro"] for part in parts)
        assert await here.fee_pot_micro() == -sum(gained) == fees_micro > 0


async def _deliver(here: Market, producer: StreetHome, consumer: StreetHome, battery: StreetHome, cheap: int) -> None:
    """Everybody does what was traded: 60 Wh into the battery, then 50 Wh out of it."""
    dear, end = cheap + INTERVAL_S, cheap + 2 * INTERVAL_S
    await here.read(cheap, (producer, 0, 0), (consumer, 0, 0), (battery, 0, 0))
    await here.read(dear, (producer, 0, 60), (consumer, 0, 0), (battery, 60, 0))
    await here.read(end, (producer, 0, 0), (consumer, 50, 0), (battery, 0, 50))


def _holds_and_no_other_would(certificate: dict[str, Any]) -> None:
    assert verify_certificate(certificate) == []
    dearer = [[at, node, price + 100_000, *rest] for at, node, price, *rest in certificate["prices"]]
    changes: tuple[dict[str, Any], ...] = ({"orders": certificate["orders"][1:]}, {"prices": dearer}, {"bundles": []})
    for changed in changes:
        assert verify_certificate({**certificate, **changed}) != []


async def _components(here: Market, home: StreetHome, start: int) -> dict[str, int]:
    """Verify the receipt by itself and against the chain; return the parts of what it comes to."""
    envelope = await home.client.receipt(home.account.address, start)
    assert verify_receipt(envelope) == []
    proof = await check_on_chain(envelope, here.coordinator.rpc_url)
    assert (proof.findings, proof.rows) == ((), len(envelope["body"]["rows"]))
    components: dict[str, int] = envelope["body"]["components"]
    return components


async def test_a_conditional_order_fires_when_the_operator_signals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with market(tmp_path) as here:
        seller, buyer = await here.homes(Side.SELL, Side.BUY)
        resting = await seller.place(here.first, 50, 100_000)
        strained = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)
        name = await buyer.place(here.first, 50, 200_000, strained)
        assert (buyer.orders[name]["status"], buyer.orders[name]["reason"]) == ("received", "condition")
        assert await _signal(here, "normal") == 0
        assert await _status(buyer, name) == ("received", "condition")
        assert await _signal(here, "strained") == 0
        assert await _status(buyer, name) == ("filled", None)
        assert await _status(seller, resting) == ("filled", None)
        assert await _signal(here, "normal", later_s=0) == 1
        assert await _signal(here, "broken") == 2
        stranger = here.coordinator.config.data.parent / "stranger"
        stranger.mkdir()
        assert await _signal(here, "island", stranger) == 2
    told = capsys.readouterr()
    assert "grid_state is strained from now on" in told.out
    assert "grid_state stays strained: that was told in the same second; tell normal again" in told.err


async def _signal(here: Market, value: str, data: Path | None = None, later_s: int = 1) -> int:
    """Tell the market the grid's state, by default a second after what it heard last; return the exit status."""
    here.held.move_to(here.held.now() + later_s)
    folder = here.coordinator.config.data if data is None else data
    command = ["signal", "grid_state", value, "--url", here.coordinator.url, "--data", str(folder)]
    return await asyncio.to_thread(main, command)


async def _status(home: StreetHome, name: str) -> tuple[str, str | None]:
    shown = await home.client.order(bytes.fromhex(name[2:]))
    return shown["status"], shown["reason"]


async def test_a_late_reading_corrects_on_chain_what_was_settled_without_it(tmp_path: Path) -> None:
    """The seller seemed to have delivered 20 of 50 Wh and owed for the rest; its last reading shows all 50."""
    async with market(tmp_path) as here:
        seller, buyer = await here.homes(Side.SELL, Side.BUY)
        start, end = here.first, here.first + INTERVAL_S
        await seller.place(start, 50, 100_000)
        name = await buyer.place(start, 50, 200_000)
        assert buyer.orders[name]["status"] == "filled", buyer.refused
        await here.read(start, (seller, 0, 0), (buyer, 0, 0))
        await here.read(start + 30, (seller, 0, 20))
        await here.read(end, (buyer, 50, 0))
        here.held.move_to(end + DEADLINE_S)
        interval = await here.confirmed(start, LIMIT_S)
        assert interval["settled_wh"] == 20
        before = await here.chain_agrees(seller, buyer)
        await here.read(end, (seller, 0, 30))
        proposed = await _corrected(seller, "proposed")
        assert proposed["needs_signature"] is False
        assert await here.chain_agrees(seller, buyer) == before  # nothing moves before the loser has signed
        (judged,) = await agree(buyer.identity, buyer.info, buyer.client)
        assert judged.signature is not None, judged.reason
        await _corrected(seller, "booked")
        await here.is_quiet()
        after = await here.chain_agrees(seller, buyer)
        price, fee = 100_000, 21_000
        assert after == [50 * price // 1000, -50 * (price + fee) // 1000]
        assert after[0] > before[0]
        for home, gained in ((seller, after[0]), (buyer, after[1])):
            assert (await _components(here, home, start))["total_micro"] == gained
        assert (await here.get("/readyz"))["trading"] == "open"


async def _corrected(home: StreetHome, status: str) -> dict[str, Any]:
    """Wait until the home's only correction is so far."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = await home.client.corrections(home.account.address)
            if [record["status"] for record in found] == [status]:
                return found[0]
            await asyncio.sleep(0.05)


async def test_a_solver_that_is_killed_is_named_and_replaced(tmp_path: Path) -> None:
    async with market(tmp_path) as here:
        producer, consumer, battery = await here.homes(Side.SELL, Side.BUY, Side.BUY)
        start = here.first + 6 * INTERVAL_S
        await producer.place(start, 60, 100_000)
        await consumer.place(start + INTERVAL_S, 50, 300_000)
        await battery.place_spread(Leg(start, 60), 90_000, Leg(start + INTERVAL_S, 50), 290_000)
        assert (await here.held_at(here.next_session()))["auction"]["outcome"] == "optimal"
        first = _solver()
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it certainly dies over the question
        before = _heard_bytes(first)
        at = here.next_session()
        async with asyncio.timeout(LIMIT_S):
            while _heard_bytes(first) == before:  # noqa: ASYNC110 - a pipe that is not ours to read
                await asyncio.sleep(0.01)
        os.kill(first, signal.SIGKILL)
        held = await here.held_at(at)
        assert held["auction"]["outcome"] == "fallback: the solver's process ended (exit status -9)"
        assert verify_certificate(held["certificate"]) == []
        assert await _bundle_statuses(battery) == ["received", "received"]
        assert (await here.held_at(here.next_session()))["auction"]["outcome"] == "optimal"
        second = _solver()
        assert second not in (first, None)
        assert second is not None
        os.kill(second, signal.SIGKILL)  # once it is known to be gone, nobody notices
        async with asyncio.timeout(LIMIT_S):
            while _is_there(second):  # noqa: ASYNC110 - the coordinator's child, not ours to wait for
                await asyncio.sleep(0.05)
        await here.is_quiet()
        assert (await here.held_at(here.next_session()))["auction"]["outcome"] == "optimal"
        assert _solver() not in (first, second, None)
    assert _solver() is None


async def test_without_a_solver_the_market_serves_and_auctions_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SolverWorker", lambda: SolverWorker(target="coordinator.solver.absent:propose"))
    async with market(tmp_path) as here:
        (battery,) = await here.homes(Side.BUY)
        start = here.first + 6 * INTERVAL_S
        await battery.place_spread(Leg(start, 60), 90_000, Leg(start + INTERVAL_S, 50), 290_000)
        held = await here.held_at(here.next_session())
        assert held["auction"]["outcome"].startswith("fallback: ")
        assert verify_certificate(held["certificate"]) == []
        assert await _bundle_statuses(battery) == ["received", "received"]


def _solver() -> int | None:
    """Return the solver's process, a child of this one."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii").split()
    solvers = [int(child) for child in children if b"coordinator.solver.worker" in _command(int(child))]
    assert len(solvers) < 2
    return solvers[0] if solvers else None


def _is_there(process: int) -> bool:
    """Tell whether the process lives, or nobody has asked yet how it ended."""
    return Path(f"/proc/{process}").exists()


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def _heard_bytes(process: int) -> int:
    """Return how much a process has read so far, and what lies unread in its standard input."""
    with Path(f"/proc/{process}/fd/0").open("rb", buffering=0) as questions:
        (waiting,) = struct.unpack("i", fcntl.ioctl(questions, termios.FIONREAD, bytes(4)))
    (read,) = re.findall(r"rchar: (\d+)", Path(f"/proc/{process}/io").read_text("ascii"))
    return int(waiting) + int(read)


async def _bundle_statuses(home: StreetHome) -> list[str]:
    return [(await home.client.bundle(bytes.fromhex(name[2:])))["status"] for name in home.bundles]
