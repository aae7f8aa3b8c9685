"""From end to end: a coordinator settles on a real chain, and the home's own check believes it, and no forgery."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from coordinator.protocol.chain_messages import Correction
from custom_components.energy_trade.household.ledger_rows import SettledRow
from custom_components.energy_trade.household.verification import Known, Registers, check_receipt
from custom_components.energy_trade.protocol.typed_data import Domain
from custom_components.energy_trade.settled.chain_reader import ChainReader, NotOnChain
from tests.e2e.street import StreetHome
from tests.test_app import Street, settings, street
from tests.test_resettle import late_settings, proposed, settled_too_early


@pytest.fixture(autouse=True)
def _our_integration(socket_enabled: None) -> None:
    """No Home Assistant here: what the home checks with is the same."""


def known(home: StreetHome) -> Known:
    registers: dict[int, Registers] = {
        reading.timestamp: (reading.consumption_wh, reading.production_wh) for reading, _ in home.receipts
    }
    return Known(
        account=home.account.address,
        market=home.info.market,
        domain=Domain(home.info.domain.chain_id, home.info.domain.ledger),
        operator=home.info.operator_account,
        device_id=home.meter.device_id,
        interval_s=home.info.interval_s,
        registers=registers,
    )


def reader(here: Street, home: StreetHome) -> ChainReader:
    domain = Domain(home.info.domain.chain_id, home.info.domain.ledger)
    return ChainReader(here.session, here.coordinator.rpc_url, domain, home.info.market)


async def test_a_settlement_on_a_real_chain_is_verified_at_home(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        seller, buyer, start = await here.trade_once()
        await here.confirmed(start)
        for home in (seller, buyer):
            await home.sign_in()
            receipt: dict[str, Any] = await home.client.receipt(home.account.address, start)
            assert check_receipt(receipt, start, known(home)) == ()
            proof = await reader(here, home).async_check(receipt)
            assert (proof.findings, proof.transaction) == ((), receipt["transaction"])
            row = SettledRow.of_receipt(receipt)
            shown = await here.get(f"/api/v1/accounts/{home.account.address}")
            totals = shown["bought_wh"], shown["sold_wh"], shown["cost_micro"], shown["revenue_micro"]
            assert (row.bought_wh, row.sold_wh, row.cost_micro, row.revenue_micro) == totals
            forged = copy.deepcopy(receipt)
            forged["body"]["rows"][0]["value_micro"] += 1
            assert check_receipt(forged, start, known(home)) != ()
            assert (await reader(here, home).async_check(forged)).findings != ()


async def test_a_correction_on_a_real_chain_is_verified_at_home(tmp_path: Path) -> None:
    async with street(late_settings(tmp_path)) as here:
        seller, buyer, start = await settled_too_early(here)
        await here.until("/readyz", lambda health: health["waiting_effects"] == 0)
        for home in (seller, buyer):
            await home.sign_in()
        before = await buyer.client.receipt(buyer.account.address, start)
        await seller.send_reading(seller.outbox.popleft())
        asked = await proposed(here, buyer, "proposed")
        correction = Correction.from_wire(asked["correction"])
        await buyer.client.sign_correction(correction, buyer.account.sign(correction.digest(buyer.info.domain)))
        await proposed(here, seller, "booked")
        await here.until("/readyz", lambda health: health["waiting_effects"] == 0)
        for home in (seller, buyer):
            receipt = await home.client.receipt(home.account.address, start)
            assert check_receipt(receipt, start, known(home)) == ()
            proof = await reader(here, home).async_check(receipt)
            assert (proof.findings, proof.transaction) == ((), receipt["transaction"])
        with pytest.raises(NotOnChain, match="already 1"):
            await reader(here, buyer).async_check(before)
