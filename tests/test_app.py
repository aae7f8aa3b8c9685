"""The whole coordinator in this process, on a real chain and with a fast clock."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.app import LEDGER_FILE, Coordinator, resume_trading, running
from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import DevChain
from coordinator.chain.proof import check_on_chain
from coordinator.chain.rpc import Rpc
from coordinator.chain.transactions import Call, Fees, sign
from coordinator.cli import main
from coordinator.clock import Clock
from coordinator.config import Config, parse
from coordinator.ledger.verify import verify
from coordinator.market.commands import HaltTrading
from coordinator.market.state import state_hash
from coordinator.premises import StartError
from coordinator.protocol.client import CoordinatorClient, CoordinatorRefused
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_receipt
from coordinator.protocol.units import interval_start
from tests.e2e.fast_clock import FastClock
from tests.e2e.street import INVITE, StreetHome

WELCOME_MICRO = 10_000_000
FACTOR = 60  # an interval takes a second

pytestmark = pytest.mark.timeout(300)


@dataclass
class Street:
    """A running coordinator, its clock, and a session to speak with it."""

    coordinator: Coordinator
    clock: Clock
    session: aiohttp.ClientSession

    def home(self, side: Side) -> StreetHome:
        client = CoordinatorClient(self.session, self.coordinator.url)
        return StreetHome(side, client, self.clock, random.Random(side.code))

    async def get(self, path: str) -> Any:
        async with self.session.get(self.coordinator.url + path) as response:
            return await response.json()

    async def until(self, path: str, holds: Callable[[Any], bool], limit_s: float = 45) -> Any:
        async with asyncio.timeout(limit_s):
            while not holds(answer := await self.get(path)):  # noqa: ASYNC110 - asks as a reader would
                await asyncio.sleep(0.05)
        return answer

    async def trade_once(self) -> tuple[StreetHome, StreetHome, int]:
        """Let two homes trade in the next interval and deliver; return them and its start."""
        seller, buyer = self.home(Side.SELL), self.home(Side.BUY)
        for home in (seller, buyer):
            await home.enter()
        await self.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
        return seller, buyer, await self.trade(seller, buyer)

    async def trade(self, seller: StreetHome, buyer: StreetHome) -> int:
        """Let the homes trade 50 Wh and deliver more; return the interval's start."""
        start = interval_start(self.clock.now(), 60) + 180
        await seller.place(start, 50, 150_000)
        bought = await buyer.place(start, 50, 200_000)
        assert buyer.orders[bought]["status"] == "filled", buyer.refused
        for boundary in (start, start + 60):
            await self.clock.sleep_until(boundary)
            for home in (seller, buyer):
                home.read_meter(boundary)
                await home.send_reading(home.outbox.popleft())
        return start

    async def confirmed(self, start: int, limit_s: float = 45) -> dict[str, Any]:
        def is_confirmed(found: Any) -> bool:
            return any(i["delivery_start"] == start and i["stage"] == "confirmed" for i in found["intervals"])

        found = await self.until("/api/v1/intervals", is_confirmed, limit_s)
        return next(i for i in found["intervals"] if i["delivery_start"] == start)


def settings(folder: Path, rules: Mapping[str, Any] | None = None, **chain: Any) -> Config:
    market = {
        "interval_s": 60,
        "gate_s": 10,
        "horizon_s": 600,
        "reading_deadline_s": 900,
        "welcome_credit_micro": WELCOME_MICRO,
        "invite": INVITE,
        **(rules or {}),
    }
    contracts = {"exit_delay_s": 0}
    sections = {"http": {"port": 0}, "market": market, "chain": chain, "contracts": contracts}
    return parse({"data": str(folder / "data"), **sections})


@asynccontextmanager
async def street(config: Config, clock: Clock | None = None) -> AsyncIterator[Street]:
    clock = clock or FastClock.starting(FACTOR)
    async with running(config, clock) as coordinator, aiohttp.ClientSession() as session:
        yield Street(coordinator, clock, session)


async def test_a_trade_becomes_a_settled_balance_in_the_contract(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        seller, buyer, start = await here.trade_once()
        interval = await here.confirmed(start)
        assert interval["settled_wh"] == 50
        assert interval["value_micro"] == 7_500
        health = await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
        assert (health["status"], health["failed_effects"]) == ("ready", 0)
        await _check_receipt(here, seller, start, tmp_path)
        for home, change in ((seller, 7_500), (buyer, -7_500)):
            shown = await here.get(f"/api/v1/accounts/{home.account.address}")
            assert shown["money_micro"] == WELCOME_MICRO + change
            assert await _on_chain(here, home) == (shown["energy_wh"], shown["money_micro"])
        async with here.session.get(f"{here.coordinator.url}/metrics") as response:
            text = await response.text()
        assert "energy_trade_settlements_total 1.0" in text
        assert "energy_trade_outbox_waiting 0.0" in text
        assert "energy_trade_settlement_lag_seconds_count 1.0" in text
        opening, closing = (reading for reading, _ in buyer.receipts)
        assert await _grid_load_w(here) == (closing.consumption_wh - opening.consumption_wh) * 60


async def _check_receipt(here: Street, home: StreetHome, start: int, folder: Path) -> None:
    """The receipt proves itself, then against the chain, also on the command line; a changed one does not."""
    await home.sign_in()
    envelope = await home.client.receipt(home.account.address, start)
    assert verify_receipt(envelope) == []
    proof = await check_on_chain(envelope, here.coordinator.rpc_url)
    assert (proof.findings, proof.rows) == ((), 1)
    file = folder / "receipt.json"
    file.write_text(json.dumps(envelope), encoding="utf-8")
    command = ["receipt", "verify", str(file), "--rpc-url", here.coordinator.rpc_url]
    assert await asyncio.to_thread(main, command) == 0
    envelope["body"]["rows"][0]["value_micro"] += 1
    file.write_text(json.dumps(envelope), encoding="utf-8")
    assert await asyncio.to_thread(main, command) == 1


async def _on_chain(here: Street, home: StreetHome) -> tuple[int, int]:
    ledger = contract("EnergyLedger")
    call = {
        "to": here.coordinator.deployment.addresses.ledger,
        "data": hexed(ledger.encode("accountOf", home.account.address)),
    }
    async with Rpc(here.coordinator.rpc_url) as rpc:
        words = bytes.fromhex((await rpc.call("eth_call", call, "latest"))[2:])
    return int.from_bytes(words[:32]), int.from_bytes(words[32:64])


async def _grid_load_w(here: Street) -> int:
    grid = contract("GridManagement")
    node = here.coordinator.config.chain.grid_node_id
    call = {
        "to": here.coordinator.deployment.addresses.grid,
        "data": hexed(grid.encode("getGridStatus", node)),
    }
    async with Rpc(here.coordinator.rpc_url) as rpc:
        words = bytes.fromhex((await rpc.call("eth_call", call, "latest"))[2:])
    return int.from_bytes(words[:32])


async def test_a_restart_finds_everything_as_it_was(tmp_path: Path) -> None:
    config, clock = settings(tmp_path), FastClock.starting(FACTOR)
    async with street(config, clock) as here:
        seller, _, start = await here.trade_once()
        await here.confirmed(start)
        await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
        before = here.coordinator.deployment.addresses, state_hash(here.coordinator.ledger.state)
    async with street(config, clock) as here:
        assert (here.coordinator.deployment.addresses, state_hash(here.coordinator.ledger.state)) == before
        shown = await here.get(f"/api/v1/accounts/{seller.account.address}")
        assert await _on_chain(here, seller) == (shown["energy_wh"], shown["money_micro"])


async def test_without_its_chain_the_market_trades_and_settles_later(tmp_path: Path) -> None:
    """The node goes after the contracts were made; even a restart finds no node; then it comes back."""
    clock, node = FastClock.starting(FACTOR), tmp_path / "node"
    async with DevChain(node) as chain:
        config = settings(tmp_path, rpc_url=chain.url)
        port = int(chain.url.rpartition(":")[2])
        async with street(config, clock) as here:
            warm = here.home(Side.SELL), here.home(Side.BUY)
            for home in warm:
                await home.enter()
            await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
    async with street(config, clock) as here:
        health = await here.until("/readyz", lambda h: h["status"] == "degraded")
        assert (health["ledger"], health["chain"], health["trading"]) == ("open", "unreachable", "open")
        newcomer = here.home(Side.BUY)
        await newcomer.enter()
        for home in warm:
            home.client = CoordinatorClient(here.session, here.coordinator.url)
        start = await here.trade(*warm)
        await here.until("/api/v1/intervals", lambda found: found["intervals"][-1]["stage"] == "settled")
        async with DevChain(node, port=port):
            await here.confirmed(start)
            health = await here.until("/readyz", lambda h: h["status"] == "ready" and h["waiting_effects"] == 0)
            assert health["failed_effects"] == 0
            path = f"/api/v1/accounts/{newcomer.account.address}"
            await here.until(path, lambda shown: shown["money_micro"] == WELCOME_MICRO)


async def test_chain_and_ledger_that_disagree_stop_trading(tmp_path: Path) -> None:
    """Somebody with the operator's rights pays in twice what the ledger is told: here, a storage slot is changed."""
    async with street(settings(tmp_path)) as here:
        seller, _, start = await here.trade_once()
        await here.confirmed(start)
        await _corrupt(here, seller)
        await _withdraw(here, seller, 1)  # the observer looks at accounts that something happens to
        second = await here.until("/readyz", lambda h: h["trading"] == "halted", limit_s=60)
        assert second["status"] == "halted"
        assert second["reason"]
        market = await here.get("/api/v1/market")
        assert (market["state"], market["halt_reason"]) == ("halted", second["reason"])


async def test_an_interval_cancelled_on_chain_settles_without_its_owner(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with street(config) as here:

        async def cancel(home: StreetHome, start: int) -> None:
            await _cancelled(here, home, start)

        await _trade_with_a_defector(here, cancel)
    assert verify(config.data / LEDGER_FILE).findings == []


async def test_money_withdrawn_before_its_settlement_leaves_only_its_owner_out(tmp_path: Path) -> None:
    """Withdrawn money might come back, so the coordinator asks the contract for half a minute."""
    config = settings(tmp_path)
    async with street(config) as here:

        async def withdraw(home: StreetHome, _start: int) -> None:
            await _withdraw(here, home, WELCOME_MICRO)

        assert await _trade_with_a_defector(here, withdraw) == 0
    assert verify(config.data / LEDGER_FILE).findings == []


async def _trade_with_a_defector(here: Street, defect: Callable[[StreetHome, int], Awaitable[None]]) -> int:
    """Two homes buy 50 Wh each; one takes itself out on chain, and the other is settled all the same.

    Return what the one that left holds in the end.
    """
    seller, buyer, defector = (here.home(side) for side in (Side.SELL, Side.BUY, Side.BUY))
    homes = (seller, buyer, defector)
    for home in homes:
        await home.enter()
    await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
    start = interval_start(here.clock.now(), 60) + 180
    await seller.place(start, 100, 150_000)
    for home in (buyer, defector):
        bought = await home.place(start, 50, 200_000)
        assert home.orders[bought]["status"] == "filled", home.refused
    await here.clock.sleep_until(start)
    await defect(defector, start)
    for boundary in (start, start + 60):
        await here.clock.sleep_until(boundary)
        for home in homes:
            home.read_meter(boundary)
            await home.send_reading(home.outbox.popleft())
    interval = await here.confirmed(start, limit_s=90)
    assert (interval["settled_wh"], interval["value_micro"]) == (50, 7_500)
    health = await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
    assert (health["status"], health["trading"], health["failed_effects"]) == ("ready", "open", 0)
    money_micro = []
    for home in homes:
        shown = await here.get(f"/api/v1/accounts/{home.account.address}")
        assert await _on_chain(here, home) == (shown["energy_wh"], shown["money_micro"])
        money_micro.append(int(shown["money_micro"]))
    assert money_micro[:2] == [WELCOME_MICRO + 7_500, WELCOME_MICRO - 7_500]
    await defector.sign_in()
    envelope = await defector.client.receipt(defector.account.address, start)
    assert verify_receipt(envelope) == []
    assert (envelope["body"]["revision"], envelope["body"]["rows"]) == (1, [])
    await seller.sign_in()
    proof = await check_on_chain(await seller.client.receipt(seller.account.address, start), here.coordinator.rpc_url)
    assert (proof.findings, proof.rows) == ((), 1)
    return money_micro[2]


async def _withdraw(here: Street, home: StreetHome, money_micro: int) -> None:
    """Let a home take its money out by itself: nothing has to be waited for here."""
    ledger = contract("EnergyLedger")
    await _act_on_chain(here, home, ledger.encode("requestWithdrawal", money_micro))
    await _act_on_chain(here, home, ledger.encode("withdraw", money_micro, home.account.address))


async def _cancelled(here: Street, home: StreetHome, start: int) -> None:
    """Use the home's interval up, as ``cancelInterval`` does before the delivery: the chain's clock is a day ahead."""
    deployment = here.coordinator.deployment
    index = (start - deployment.genesis) // deployment.terms.interval_s
    place, word = await _word(here, home)
    changed = word >> 120 << 120 | index << 96 | 1
    async with Rpc(here.coordinator.rpc_url) as rpc:
        values = deployment.addresses.ledger, place, hexed(changed.to_bytes(32))
        await rpc.call("anvil_setStorageAt", *values)


async def _act_on_chain(here: Street, home: StreetHome, calldata: bytes) -> None:
    """Let a home make a transaction of its own with the ledger contract."""
    deployment = here.coordinator.deployment
    call = Call(deployment.addresses.ledger, calldata)
    async with Rpc(here.coordinator.rpc_url) as rpc:
        nonce = int(await rpc.call("eth_getTransactionCount", home.account.address, "latest"), 16)
        signed = sign(home.account, deployment.chain_id, nonce, call, 300_000, Fees(10**9, 10**9))
        await rpc.call("anvil_setBalance", home.account.address, hex(10**18))
        await rpc.call("eth_sendRawTransaction", hexed(signed.raw))
        async with asyncio.timeout(10):
            while (receipt := await rpc.call("eth_getTransactionReceipt", signed.transaction)) is None:  # noqa: ASYNC110 - a node's doing
                await asyncio.sleep(0.01)
    assert receipt["status"] == "0x1"


async def test_a_failed_settlement_that_nobody_was_halted_for_halts_at_the_start(tmp_path: Path) -> None:
    """As a crash of an earlier version left it; the operator's word is asked for once."""
    config = settings(tmp_path)
    async with street(config) as here:
        _, _, start = await here.trade_once()
        await here.confirmed(start)
    with closing(sqlite3.connect(config.data / LEDGER_FILE, autocommit=True)) as connection:
        change = "UPDATE outbox SET state = 'failed', error = 'BatchUnbalanced()' WHERE kind = 'settle_batch'"
        assert connection.execute(change).rowcount == 1
    reason = f"The contract refused settle:{start}:0: BatchUnbalanced()"
    async with street(config) as here:
        assert (await here.get("/readyz"))["reason"] == reason
    assert (await resume_trading(config, "looked, all is well")).halted == reason
    async with street(config) as here:
        assert (await here.get("/readyz"))["trading"] == "open"


async def _corrupt(here: Street, home: StreetHome) -> None:
    """Give the account a unit of money by brute force."""
    place, word = await _word(here, home)
    async with Rpc(here.coordinator.rpc_url) as rpc:
        values = here.coordinator.deployment.addresses.ledger, place, hexed((word ^ 1 << 120).to_bytes(32))
        await rpc.call("anvil_setStorageAt", *values)


async def _word(here: Street, home: StreetHome) -> tuple[str, int]:
    """Return the account's word in the ledger contract and where it is, wherever the compiler put its mapping."""
    ledger = here.coordinator.deployment.addresses.ledger
    async with Rpc(here.coordinator.rpc_url) as rpc:
        for slot in range(16):
            place = hexed(keccak256(bytes.fromhex(home.account.address[2:]).rjust(32, b"\0") + slot.to_bytes(32)))
            word = int(await rpc.call("eth_getStorageAt", ledger, place, "latest"), 16)
            if word:
                return place, word
    raise AssertionError("the account's word was not found")


async def test_a_halt_stands_until_the_operator_resumes(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with street(config) as here:
        await here.coordinator.ledger.submit(HaltTrading("the operator's word"))
    async with street(config) as here:
        assert (await here.get("/readyz"))["reason"] == "the operator's word"
        with pytest.raises(StartError, match="already runs"):
            await resume_trading(config, "while it runs")
    assert (await resume_trading(config, "looked, all is well")).halted == "the operator's word"
    async with street(config) as here:
        assert (await here.get("/readyz"))["status"] == "ready"


async def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    config = settings(tmp_path)
    with pytest.raises(StartError, match="no market"):
        await resume_trading(config, "x")
    async with street(config):
        pass
    with pytest.raises(StartError, match="open"):
        await resume_trading(config, "x")


async def test_a_second_coordinator_is_turned_away(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with street(config):
        with pytest.raises(StartError, match="already runs"):
            await _start(config)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        port = int(here.coordinator.url.rpartition(":")[2])
        other = settings(tmp_path / "other")
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            await _start(replace(other, http=replace(other.http, port=port)))


async def test_other_rules_than_the_contracts_are_refused(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with street(config):
        pass
    other = replace(config, market=replace(config.market, price_max_micro_per_kwh=900_000))
    with pytest.raises(Exception, match="price_max"):
        await _start(other)


async def _start(config: Config) -> None:
    async with running(config):
        pass


async def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    config = settings(tmp_path)
    config = replace(config, market=replace(config.market, invite=None))
    async with street(config) as here:
        invite = here.coordinator.invite
        assert here.coordinator.invite_is_new
        assert invite not in repr(here.coordinator)
        home = here.home(Side.BUY)
        with pytest.raises(CoordinatorRefused, match="invite"):
            await home.enter()
    async with street(config) as here:
        assert (here.coordinator.invite, here.coordinator.invite_is_new) == (invite, False)
    for name in ("operator.key", "session.secret", "invite"):
        assert stat.S_IMODE((config.data / name).stat().st_mode) == 0o600


async def test_a_ledger_that_fails_ends_the_coordinator(tmp_path: Path) -> None:
    """It must not go on without its ledger: the supervisor starts it again, and restart is recovery."""
    with pytest.RaisesGroup(Exception, flatten_subgroups=True):
        async with street(settings(tmp_path)) as here:
            here.coordinator.ledger._running._serve = _fail  # type: ignore[assignment, method-assign]
            home = here.home(Side.BUY)
            async with asyncio.timeout(20):
                await home.enter()


async def _fail(_works: Any) -> None:
    raise RuntimeError("a fault for the test")


async def test_the_contracts_are_published_with_their_interfaces(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here, Rpc(here.coordinator.rpc_url) as rpc:
        told = await here.get("/api/v1/contracts")
        made = here.coordinator.deployment
        assert (told["network"], told["chain_id"], told["genesis"]) == ("local", made.chain_id, made.genesis)
        assert {place["name"]: place["address"] for place in told["contracts"]} == made.contracts
        assert told["currency"] == made.addresses.currency
        separator = {"to": made.addresses.ledger, "data": hexed(contract("EnergyLedger").encode("domainSeparator"))}
        assert await rpc.call("eth_call", separator, "latest") == told["domain_separator"]
        for place in told["contracts"]:
            shown = await here.get(place["abi"])
            assert shown["address"] == place["address"]
            names = {entry["name"] for entry in shown["abi"] if entry["type"] == "function"}
            assert names == set(contract(place["name"]).functions)


async def test_real_money_is_given_to_nobody(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        currency, rpc_url = here.coordinator.deployment.addresses.currency, here.coordinator.rpc_url
        config = settings(tmp_path / "other", rpc_url=rpc_url)
        real = replace(config, chain=replace(config.chain, currency_token=currency))
        with pytest.raises(StartError, match=f"welcome_credit_micro: expected 0, for {currency} is real money"):
            await _start(real)
