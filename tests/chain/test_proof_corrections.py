"""A corrected receipt is borne out by batch and corrections together, and by nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from coordinator.chain.batch import Row, batch_hash, unpack
from coordinator.chain.ports import ExpectedBatch
from coordinator.chain.proof import check_on_chain
from coordinator.protocol.chain_messages import SettlementHeader
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from tests.chain.support import MARKET, Community, Home, until

type Envelope = dict[str, Any]


def corrected(community: Community, batch: ExpectedBatch, home: Home, change: dict[str, int]) -> Envelope:
    """Return a home's receipt of the correction that ``Community.correct`` agrees on."""
    (row,) = [row for row in unpack(batch.rows) if row.account == home.address]
    changed = {name: getattr(row, name) + change.get(name, 0) for name in _AMOUNTS}
    header = SettlementHeader(batch.delivery_start, 1, batch_hash(batch.rows[:159]), b"\x44" * 32, b"\x55" * 32)
    deployment = community.deployment
    return {
        "body": {
            "chain_id": deployment.chain_id,
            "ledger": deployment.addresses.ledger,
            "market": MARKET,
            "account": home.address,
            "delivery_start": batch.delivery_start,
            "rows": [{"order": _order(row, batch).to_wire(), "signature": "0x" + row.signature.hex(), **changed}],
        },
        "receipts_root": "0x" + "55" * 32,
        "settlement": header.to_wire() | {"signer": deployment.operator},
        "transaction": community.outbox.done[f"correct:{batch.delivery_start}:1"].transaction,
    }


_AMOUNTS = ("executed_wh", "short_wh", "metered_wh", "value_micro", "trades")


def _order(row: Row, batch: ExpectedBatch) -> Order:
    side, limit = (Side.SELL, 180_000) if row.side else (Side.BUY, None)
    return Order(row.account, MARKET, batch.delivery_start, side, row.signed_wh, limit)


@pytest.fixture
async def receipts(community: Community, operator: AccountKey) -> tuple[Community, Envelope, Envelope]:
    """A corrected interval, with the seller's receipt, who lost 7 micro and 40 Wh, and the buyer's, who gained."""
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    settled = community.trade(4, seller, buyer, surplus_wh=50)
    async with community.sending(operator):
        await until(lambda: settled in community.outbox.done)
        key = community.correct(gains=buyer, loses=seller)
        await until(lambda: key in community.outbox.done)
    (batch,) = community.batches.values()
    sellers = corrected(community, batch, seller, {"value_micro": -7, "metered_wh": -40})
    return community, sellers, corrected(community, batch, buyer, {"value_micro": -7, "metered_wh": -30})


async def test_corrected_receipts_are_borne_out(receipts: tuple[Community, Envelope, Envelope]) -> None:
    community, *both = receipts
    for receipt in both:
        proof = await check_on_chain(receipt, community.deployment.rpc_url)
        assert proof.findings == ()
        assert proof.transaction == receipt["transaction"]
        assert await check_on_chain(receipt | {"transaction": None}, community.deployment.rpc_url) == proof


def edit(*path: str | int, value: object) -> Callable[[Envelope], None]:
    def apply(receipt: Envelope) -> None:
        place: Any = receipt
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("forge", "finding"),
    [
        (edit("body", "rows", 0, "value_micro", value=100_000), "came to 99993 micro and 10 Wh on chain"),
        (edit("body", "rows", 0, "metered_wh", value=550), "the receipt's rows to 99993 and 50"),
        (edit("settlement", "readings_root", value="0x" + "11" * 32), "another readings root or revision"),
        (edit("settlement", "revision", value=2), "another readings root or revision"),
        (edit("settlement", "signer", value="0x" + "33" * 20), f"is signed by 0x{'33' * 20}, but 0x"),
        (edit("settlement", "receipts_root", value="0x" + "33" * 32), "the contract has another receipts root"),
    ],
    ids=["more money", "more energy", "other readings", "other revision", "other signer", "other receipts"],
)
async def test_forged_corrected_receipt_is_not_borne_out(
    receipts: tuple[Community, Envelope, Envelope], forge: Callable[[Envelope], None], finding: str
) -> None:
    community, sellers, _ = receipts
    forged = copy.deepcopy(sellers)
    forge(forged)
    proof = await check_on_chain(forged, community.deployment.rpc_url)
    assert any(finding in found for found in proof.findings)
