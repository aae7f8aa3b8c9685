"""A settlement receipt is borne out, or not, by the chain alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from coordinator.chain.batch import Row, batch_hash, unpack
from coordinator.chain.deployment import Deployment
from coordinator.chain.ports import ExpectedBatch
from coordinator.chain.proof import check_on_chain
from coordinator.chain.rpc import NodeUnreachable
from coordinator.protocol.chain_messages import SettlementHeader
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from tests.chain.support import MARKET, Community, Home, until

type Envelope = dict[str, Any]


def envelope(deployment: Deployment, batch: ExpectedBatch, home: Home, transaction: str | None) -> Envelope:
    """Return what the chain can say something about; the rest is ``protocol.receipts``' to check."""
    own = [row for row in unpack(batch.rows) if row.account == home.address]
    return {
        "body": {
            "chain_id": deployment.chain_id,
            "ledger": deployment.addresses.ledger,
            "market": MARKET,
            "account": home.address,
            "delivery_start": batch.delivery_start,
            "rows": [wire(row, batch.delivery_start) for row in own],
        },
        "receipts_root": "0x" + batch.receipts_root.hex(),
        "settlement": SettlementHeader(
            batch.delivery_start, 0, batch_hash(batch.rows), batch.readings_root, batch.receipts_root
        ).to_wire()
        | {"signer": deployment.operator},
        "transaction": transaction,
    }


def wire(row: Row, delivery_start: int) -> dict[str, Any]:
    side, limit = (Side.SELL, 180_000) if row.side else (Side.BUY, None)
    order = Order(row.account, MARKET, delivery_start, side, row.signed_wh, limit)
    amounts = {name: getattr(row, name) for name in ("executed_wh", "short_wh", "metered_wh", "value_micro", "trades")}
    return {"order": order.to_wire(), "signature": "0x" + row.signature.hex(), **amounts}


@pytest.fixture
async def settled(community: Community, operator: AccountKey) -> tuple[Community, Envelope]:
    """A settled interval, and the buyer's receipt."""
    seller, buyer = Home(), Home()
    community.welcome(buyer)
    key = community.trade(4, seller, buyer)
    async with community.sending(operator):
        await until(lambda: key in community.outbox.done)
    (batch,) = community.batches.values()
    return community, envelope(community.deployment, batch, buyer, community.outbox.done[key].transaction)


async def test_receipt_of_a_settled_interval_is_borne_out(settled: tuple[Community, Envelope]) -> None:
    community, receipt = settled
    proof = await check_on_chain(receipt, community.deployment.rpc_url)
    assert proof.findings == ()
    assert (proof.rows, proof.ledger) == (1, community.deployment.addresses.ledger)
    assert proof.transaction == receipt["transaction"]
    without = await check_on_chain(receipt | {"transaction": None}, community.deployment.rpc_url)
    assert without == proof


def edit(*path: str | int, value: object) -> Callable[[Envelope], None]:
    def apply(receipt: Envelope) -> None:
        place: Any = receipt
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("forge", "findings"),
    [
        (edit("settlement", "receipts_root", value="0x" + "33" * 32), ["the contract has another receipts root"]),
        (edit("settlement", "readings_root", value="0x" + "33" * 32), ["the contract has another readings root"]),
        (edit("settlement", "batch_hash", value="0x" + "33" * 32), ["has settled other rows than were signed for"]),
        (edit("settlement", "signer", value="0x" + "33" * 20), [f"is signed by 0x{'33' * 20}, but 0x"]),
        (edit("body", "rows", 0, "short_wh", value=1), ["for 100000 micro, 1 Wh short", "is not in the receipt"]),
        (edit("body", "rows", 0, "value_micro", value=99_999), ["was not settled on chain", "is not in the receipt"]),
        (edit("body", "rows", 0, "order", "energy_wh", value=900), ["was not settled on chain", "not in the receipt"]),
        (edit("body", "rows", value=[]), ["row (buy 500 of 600 Wh for 100000 micro, 500 Wh metered, 1 trades)"]),
        (edit("body", "delivery_start", value=1_000_000_800), ["the contract has not settled interval 1000000800"]),
        (edit("body", "market", value="elsewhere"), ["is not a ledger of market elsewhere"]),
        (edit("body", "ledger", value="0x" + "12" * 20), ["is not a ledger of market neighbourhood"]),
        (edit("body", "chain_id", value=1), ["the receipt is of chain 1, this node's chain is 31337"]),
        (edit("body", "rows", value=[3]), ["the receipt is malformed: rows: expected objects"]),
        (edit("body", "ledger", value="ledger"), ["the receipt is malformed: ledger"]),
    ],
)
async def test_forged_receipt_is_not_borne_out(
    settled: tuple[Community, Envelope], forge: Callable[[Envelope], None], findings: list[str]
) -> None:
    community, receipt = settled
    forged = copy.deepcopy(receipt)
    forge(forged)
    proof = await check_on_chain(forged, community.deployment.rpc_url)
    assert len(proof.findings) == len(findings)
    for found, expected in zip(proof.findings, findings, strict=True):
        assert expected in found


async def test_node_that_is_gone_is_no_verdict(settled: tuple[Community, Envelope]) -> None:
    with pytest.raises(NodeUnreachable):
        await check_on_chain(settled[1], "http://127.0.0.1:9")
