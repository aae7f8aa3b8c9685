"""A guardian's pause, a batch without whom the contract refuses, and what the operator sends again afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.app import LEDGER_FILE
from coordinator.chain.abi import contract
from coordinator.chain.rpc import Rpc
from coordinator.cli import main
from coordinator.config import Config
from coordinator.ledger.verify import verify
from coordinator.market.commands import EndWithdrawal, ExcludeFromSettlement, HaltTrading, PlaceOrder, Withdraw
from coordinator.premises import StartError
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from coordinator.protocol.units import interval_start
from coordinator.resuming import resume
from tests.chain.conftest import transact
from tests.e2e.fast_clock import FastClock
from tests.ledger.world import DOMAIN, START, Home, World, open_ledger, settled_interval, sign_compact
from tests.test_app import FACTOR, WELCOME_MICRO, Street, settings, street

GUARDIAN_ROLE = 4
GUARDIAN = AccountKey.from_secret(bytes([7]) * 32).address
PAUSED = "the guardian has paused the contract; what is decided waits until it ends the pause"


async def appoint_guardian(here: Street) -> None:
    """Give the role to somebody else than the operator, whose nonces belong to the sender."""
    await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
    granted = contract("Authority").encode("grantRole", GUARDIAN_ROLE, GUARDIAN, 0)
    async with Rpc(here.coordinator.rpc_url) as rpc:
        await transact(rpc, here.coordinator.operator.address, here.coordinator.deployment.addresses.authority, granted)


async def pause(here: Street, *, paused: bool) -> None:
    async with Rpc(here.coordinator.rpc_url) as rpc:
        calldata = contract("EnergyLedger").encode("setPaused", paused)
        await transact(rpc, GUARDIAN, here.coordinator.deployment.addresses.ledger, calldata)


async def trade_into_a_pause(here: Street) -> int:
    """Let two homes trade and deliver while the contract is paused; return the interval's start."""
    seller, buyer = here.home(Side.SELL), here.home(Side.BUY)
    for home in (seller, buyer):
        await home.enter()
    await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
    await appoint_guardian(here)
    await pause(here, paused=True)
    start = await here.trade(seller, buyer)
    health = await here.until("/readyz", lambda h: h["status"] == "degraded")
    assert (health["reason"], health["chain"], health["trading"]) == (PAUSED, "reachable", "open")
    return start


@pytest.mark.timeout(300)
async def test_a_pause_is_told_and_its_settlements_outlive_it_and_a_restart(tmp_path: Path) -> None:
    config, clock = settings(tmp_path), FastClock.starting(FACTOR)
    async with street(config, clock) as here:
        start = await trade_into_a_pause(here)
        async with here.session.get(f"{here.coordinator.url}/metrics") as response:
            assert "energy_trade_chain_waiting 1.0" in await response.text()
    async with street(config, clock) as here:
        await here.until("/readyz", lambda h: h["status"] == "degraded" and h["reason"] == PAUSED)
        await pause(here, paused=False)
        await here.confirmed(start, limit_s=60)
        health = await here.until("/readyz", lambda h: h["status"] == "ready" and h["waiting_effects"] == 0)
        assert (health["reason"], health["failed_effects"]) == (None, 0)
        async with here.session.get(f"{here.coordinator.url}/metrics") as response:
            assert "energy_trade_chain_waiting 0.0" in await response.text()


@pytest.mark.timeout(300)
async def test_a_settlement_that_failed_in_a_pause_is_sent_again_at_the_operators_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an earlier version left it, which gave a paused settlement up after half a minute."""
    config, clock = settings(tmp_path), FastClock.starting(FACTOR)
    async with street(config, clock) as here:
        start = await trade_into_a_pause(here)
    key = f"settle:{start}:0"
    with closing(sqlite3.connect(config.data / LEDGER_FILE, autocommit=True)) as connection:
        change = "UPDATE outbox SET state = 'failed', attempts = 6, error = 'TradingPaused()' WHERE key = ?"
        assert connection.execute(change, (key,)).rowcount == 1
    async with street(config, clock) as here:
        health = await here.get("/readyz")
        reason = f"The contract refused {key}: TradingPaused()"
        assert (health["status"], health["reason"], health["failed_effects"]) == ("halted", reason, 1)
        await pause(here, paused=False)
    assert await asyncio.to_thread(main, ["resume", *_options(config, tmp_path), "--reason", "the pause is over"]) == 0
    said = capsys.readouterr().out
    assert f"it had stopped because: {reason}" in said
    assert f"{key} is sent again with the next start" in said
    async with street(config, clock) as here:
        await here.confirmed(start, limit_s=60)
        health = await here.until("/readyz", lambda h: h["status"] == "ready" and h["waiting_effects"] == 0)
        assert health["failed_effects"] == 0
    assert verify(config.data / LEDGER_FILE).findings == []


def _options(config: Config, folder: Path) -> list[str]:
    """Write the settings as the operator would."""
    market, file = config.market, folder / "energy-trade.toml"
    names = ("interval_s", "gate_s", "horizon_s", "reading_deadline_s", "welcome_credit_micro")
    lines = ["[market]", *(f"{name} = {getattr(market, name)}" for name in names), "[contracts]", "exit_delay_s = 0"]
    file.write_text("\n".join(lines), encoding="utf-8")
    return ["--config", str(file), "--data", str(config.data)]


@pytest.mark.timeout(300)
async def test_who_did_not_sign_its_order_is_left_out_and_the_others_are_settled(tmp_path: Path) -> None:
    """The door would not let it pass: as if somebody had tampered with the order behind it."""
    config = settings(tmp_path)
    async with street(config) as here:
        seller, buyer, forged = (here.home(side) for side in (Side.SELL, Side.BUY, Side.BUY))
        homes = (seller, buyer, forged)
        for home in homes:
            await home.enter()
        await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
        start = interval_start(here.clock.now(), 60) + 180
        await seller.place(start, 100, 150_000)
        await buyer.place(start, 50, 200_000)
        order = Order(forged.account.address, config.market.id, start, Side.BUY, 50, 200_000)
        digest = order.digest(seller.info.domain)
        await here.coordinator.ledger.submit(PlaceOrder(order, digest, sign_compact(digest, AccountKey.generate())))
        for boundary in (start, start + 60):
            await here.clock.sleep_until(boundary)
            for home in homes:
                home.read_meter(boundary)
                await home.send_reading(home.outbox.popleft())
        interval = await here.confirmed(start, limit_s=90)
        assert (interval["settled_wh"], interval["value_micro"]) == (50, 7_500)
        health = await here.until("/readyz", lambda h: h["waiting_effects"] == 0)
        assert (health["status"], health["trading"], health["failed_effects"]) == ("ready", "open", 0)
        money_micro = [here.coordinator.ledger.state.accounts[home.account.address].money_micro for home in homes]
        assert money_micro == [WELCOME_MICRO + 7_500, WELCOME_MICRO - 7_500, WELCOME_MICRO]
    assert verify(config.data / LEDGER_FILE).findings == []


# What is sent again, and what is not


async def fail(world: World, kind: str) -> str:
    """Fail an effect after it was mined, as the sender does."""
    outbox = world.ledger.outbox
    (effect,) = [effect for effect in await outbox.pending(100) if effect.kind == kind]
    await outbox.mark_sent(effect.key, 3, b"raw", "0xaa")
    await outbox.mark_failed(effect.key, "refused", retry=False)
    return effect.key


async def test_a_failed_settlement_goes_again_as_if_never_sent(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with world.ledger:
        await world.join(anna, bert)
        await settled_interval(world, anna, bert)
        key = await fail(world, "settle_batch")
        await world.commit(HaltTrading("refused"))
        resumed = await resume(world.ledger, "mended")
        assert (resumed.halted, resumed.again, resumed.left) == ("refused", (key,), ())
        assert world.ledger.state.halted is None
        (effect,) = [effect for effect in await world.ledger.outbox.pending(100) if effect.key == key]
        assert (effect.state, effect.attempts, effect.nonce, effect.raw_transaction) == ("pending", 0, None, None)
        assert world.ledger.outbox.failed == 0
        await fail(world, "settle_batch")  # trading goes on already, as after a crash: only the effect is sent again
        resumed = await resume(world.ledger, "mended now")
        assert (resumed.halted, resumed.again) == (None, (key,))
        with pytest.raises(StartError, match="trading is open, and nothing failed"):
            await resume(world.ledger, "once more")


async def test_a_withdrawal_goes_again_only_while_its_money_is_reserved(tmp_path: Path) -> None:
    world, anna = open_ledger(tmp_path), Home("anna")
    async with world.ledger:
        await world.join(anna)
        wanted = Withdrawal(anna.address, Home("bert").address, 1_000, 0, 0, START + 86_400)
        digest = wanted.digest(DOMAIN)
        await world.commit(Withdraw(wanted, digest, sign_compact(digest, anna.account)))
        key = await fail(world, "relay_withdrawal")
        assert (await resume(world.ledger, "mended")).again == (key,)
        await world.commit(EndWithdrawal(anna.address, 1, "refused", None))
        await fail(world, "relay_withdrawal")
        await world.commit(HaltTrading("another thing"))
        resumed = await resume(world.ledger, "mended")
        assert (resumed.again, resumed.left) == ((), (key,))
        assert world.ledger.outbox.failed == 1


async def test_a_superseded_settlement_and_a_meter_are_not_sent_again(tmp_path: Path) -> None:
    world, anna, bert = open_ledger(tmp_path), Home("anna"), Home("bert")
    async with world.ledger:
        await world.join(anna)
        meter = await fail(world, "register_meter")
        await world.join(bert)
        await settled_interval(world, anna, bert)
        await _exclude(world, bert)
        await world.commit(HaltTrading("looked at"))
        resumed = await resume(world.ledger, "all is well")
        assert (resumed.again, resumed.left) == ((), (meter,))
        await world.ledger.outbox.try_again([f"settle:{START + 60}:0"])
        assert len(await world.ledger.queries.effects("superseded")) == 1


async def _exclude(world: World, home: Home) -> None:
    """Settle again without a home after its batch has failed, as the coordinator does before the failure is booked."""
    key = f"settle:{START + 60}:0"
    await world.commit(ExcludeFromSettlement(START + 60, home.address, "refused"))
    await world.ledger.outbox.mark_failed(key, "refused", retry=False)
