"""Late readings in a running coordinator, on a real chain: a correction is proposed, checked, signed and mined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.app import LEDGER_FILE
from coordinator.chain.contracts import read_balances
from coordinator.chain.proof import check_on_chain
from coordinator.chain.rpc import Rpc
from coordinator.config import Config
from coordinator.ledger.verify import verify
from coordinator.protocol.chain_messages import Correction
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_correction, verify_receipt
from coordinator.protocol.units import interval_start
from tests.e2e.street import StreetHome
from tests.test_app import WELCOME_MICRO, Street, settings, street

DEADLINE_S, FEE = 240, 10_000
TRADED_WH, PRICE, SUPPLIER = 50, 150_000, 320_000


def late_settings(folder: Path) -> Config:
    """A market with fees and compensation that waits for readings for four minutes, which are four seconds."""
    config = settings(folder)
    market = replace(config.market, reading_deadline_s=DEADLINE_S, community_fee_micro_per_kwh=FEE, compensation=True)
    return replace(config, market=market)


async def settled_too_early(here: Street) -> tuple[StreetHome, StreetHome, int]:
    """Let two homes trade; the seller's meter is cut off when the delivery begins."""
    seller, buyer = here.home(Side.SELL), here.home(Side.BUY)
    for home in (seller, buyer):
        await home.enter()
    await here.until("/api/v1/accounts", lambda found: all(a["money_micro"] for a in found["accounts"]))
    start = interval_start(here.clock.now(), 60) + 180
    await seller.place(start, TRADED_WH, PRICE)
    await buyer.place(start, TRADED_WH, 200_000)
    for boundary in (start, start + 60):
        await here.clock.sleep_until(boundary)
        for home in (seller, buyer):
            home.read_meter(boundary)
            if home is buyer or boundary == start:
                await home.send_reading(home.outbox.popleft())
    await here.confirmed(start)
    return seller, buyer, start


async def balances(here: Street, *homes: StreetHome) -> list[int]:
    deployment = here.coordinator.deployment
    async with Rpc(here.coordinator.rpc_url) as rpc:
        block = await rpc.call("eth_getBlockByNumber", "latest", False)
        accounts = [home.account.address for home in homes]
        found = await read_balances(rpc, deployment.addresses, accounts, block["hash"])
    return [found[account].money_micro - WELCOME_MICRO for account in accounts]


async def proposed(here: Street, home: StreetHome, status: str) -> dict[str, Any]:
    """Wait until the home's newest correction has this status."""
    while True:
        corrections = await home.client.corrections(home.account.address)
        if corrections and corrections[0]["status"] == status:
            return corrections[0]
        await here.clock.sleep_until(here.clock.now() + 3)


async def test_late_readings_correct_what_is_on_chain_with_the_losers_consent(tmp_path: Path) -> None:
    config = late_settings(tmp_path)
    async with street(config) as here:
        seller, buyer, start = await settled_too_early(here)
        await here.until("/readyz", lambda health: health["waiting_effects"] == 0)
        shortfall = TRADED_WH * (SUPPLIER - PRICE - FEE) // 1000
        assert await balances(here, seller, buyer) == [-shortfall, shortfall]
        for home in (seller, buyer):
            await home.sign_in()
        before = await buyer.client.receipt(buyer.account.address, start)
        assert verify_receipt(before) == []
        await seller.send_reading(seller.outbox.popleft())
        asked = await proposed(here, buyer, "proposed")
        correction = Correction.from_wire(asked["correction"])
        value, fee = TRADED_WH * PRICE // 1000, TRADED_WH * FEE // 1000
        assert correction.money_micro == -shortfall - value - fee
        assert verify_correction(correction, asked["receipt"], before) == []
        await buyer.client.sign_correction(correction, buyer.account.sign(correction.digest(buyer.info.domain)))
        await proposed(here, seller, "booked")
        health = await here.until("/readyz", lambda health: health["waiting_effects"] == 0)
        assert (health["status"], health["trading"], health["failed_effects"]) == ("ready", "open", 0)
        assert await balances(here, seller, buyer) == [value, -value - fee]
        for home in (seller, buyer):
            receipt = await home.client.receipt(home.account.address, start)
            assert (verify_receipt(receipt), receipt["body"]["revision"]) == ([], 1)
            proof = await check_on_chain(receipt, here.coordinator.rpc_url)
            assert (proof.findings, proof.transaction) == ((), receipt["transaction"])
        await here.confirmed(await here.trade(seller, buyer))
        assert (await here.get("/readyz"))["trading"] == "open"
    assert verify(config.data / LEDGER_FILE).findings == []
