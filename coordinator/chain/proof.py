"""A settlement receipt against the chain alone: no coordinator is asked, and none is trusted.

Whether the receipt is right in itself (signatures, registers, sums, the proof to its root) is
``protocol.receipts.verify_receipt``; here the root and the account's rows are found on chain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol.chain_messages import SettlementHeader
from ..protocol.keccak import keccak256
from ..protocol.messages import Order
from ..protocol.wire import read_bytes, read_int, read_list, read_mapping, read_text
from .abi import contract
from .batch import Row, batch_hash, unpack
from .broadcast import read_receipts
from .contracts import hexed
from .logs import ledger_logs
from .ports import BatchSettled
from .rpc import Rpc, RpcError, data, quantity


@dataclass(frozen=True, slots=True)
class ChainProof:
    """What the chain says about a receipt; without ``findings`` it bears the receipt out.

    What remains to trust is that ``ledger`` is the community's contract: compare the address.
    """

    findings: tuple[str, ...]
    chain_id: int | None = None
    ledger: str | None = None
    transaction: str | None = None
    block_number: int | None = None
    rows: int = 0


async def check_on_chain(envelope: Mapping[str, Any], rpc_url: str) -> ChainProof:
    """Compare a receipt's root and rows with the chain's. Raises ``NodeUnreachable`` or ``RpcError``."""
    try:
        body = read_mapping(envelope, "body")
        own = Counter(_rows(body))
        signed = SettlementHeader.from_wire(read_mapping(envelope, "settlement"))
        signer = read_text(read_mapping(envelope, "settlement"), "signer")
        ledger = "0x" + read_bytes(body, "ledger", 20).hex()
        read_int(body, "delivery_start"), read_text(body, "market"), read_int(body, "chain_id")
    except ValueError as error:
        return ChainProof((f"the receipt is malformed: {error}",))
    async with Rpc(rpc_url) as rpc:
        chain_id = quantity(await rpc.call("eth_chainId"))
        if chain_id != body["chain_id"]:
            return ChainProof((f"the receipt is of chain {body['chain_id']}, this node's chain is {chain_id}",))
        if not await _is_markets_ledger(rpc, ledger, body["market"]):
            return ChainProof((f"the contract {ledger} is not a ledger of market {body['market']}",), chain_id)
        event = await _find_batch(rpc, ledger, body["delivery_start"], envelope.get("transaction"))
        if event is None:
            return ChainProof((f"the contract has not settled interval {body['delivery_start']}",), chain_id, ledger)
        findings = [*_compare_header(event, signed)]
        findings += await _compare_rows(rpc, ledger, event, signer, _Own(body["account"], own))
        return ChainProof(tuple(findings), chain_id, ledger, event.transaction, event.block_number, own.total())


async def _is_markets_ledger(rpc: Rpc, ledger: str, market: str) -> bool:
    call = {"to": ledger, "data": hexed(contract("EnergyLedger").encode("marketHash"))}
    try:
        return data(await rpc.call("eth_call", call, "latest")) == keccak256(market.encode())
    except RpcError:
        return False


async def _find_batch(rpc: Rpc, ledger: str, delivery_start: int, transaction: object) -> BatchSettled | None:
    """Return the interval's batch: in the transaction that the receipt names, else by its event."""
    logs: list[Mapping[str, Any]] = []
    if isinstance(transaction, str):
        (receipt,) = await read_receipts(rpc, [transaction])
        logs = list(receipt["logs"]) if receipt and quantity(receipt["status"]) == 1 else []
    if not logs:
        topics = [contract("EnergyLedger").topic("BatchSettled"), f"0x{delivery_start:064x}"]
        wanted = {"address": ledger, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
        logs = await rpc.call("eth_getLogs", wanted)
    found = ledger_logs(ledger, [log for log in logs if log["address"].lower() == ledger])
    batches = [e for e in found if isinstance(e, BatchSettled) and e.delivery_start == delivery_start]
    return batches[-1] if batches else None


@dataclass(frozen=True, slots=True)
class _Own:
    """An account's rows by its receipt."""

    account: str
    rows: Counter[Row]


def _compare_header(event: BatchSettled, signed: SettlementHeader) -> Iterator[str]:
    """Compare what the settler signed with what the contract has said."""
    if event.receipts_root != signed.receipts_root:
        yield "the contract has another receipts root for this interval"
    if event.readings_root != signed.readings_root:
        yield "the contract has another readings root for this interval"
    if event.batch_hash != signed.batch_hash:
        yield "the contract has settled other rows than were signed for"


async def _compare_rows(rpc: Rpc, ledger: str, event: BatchSettled, signer: str, own: _Own) -> list[str]:
    """Compare the account's rows with those that the contract executed, and who sent them with the signer."""
    sent = await rpc.call("eth_getTransactionByHash", event.transaction)
    if not isinstance(sent, dict) or (sent["to"] or "").lower() != ledger:
        return [f"transaction {event.transaction} is no direct call of the ledger: its rows cannot be read"]
    arguments = contract("EnergyLedger").arguments("settleBatch", data(sent["input"]))
    if arguments is None or batch_hash(arguments[3]) != event.batch_hash:
        return [f"the rows in transaction {event.transaction} are not those that the contract settled"]
    executed = Counter(row for row in unpack(arguments[3]) if row.account == own.account)
    sender = sent["from"].lower()
    others = [] if sender == signer else [f"the settlement is signed by {signer}, but {sender} sent it"]
    return [*others, *_differences(own.rows, executed)]


def _differences(own: Counter[Row], executed: Counter[Row]) -> Iterator[str]:
    for row in own - executed:
        yield f"the receipt's {_shown(row)} was not settled on chain"
    for row in executed - own:
        yield f"the chain's {_shown(row)} is not in the receipt"


def _shown(row: Row) -> str:
    verb, amounts = (
        ("sell", "buy")[row.side == 0],
        f"{row.executed_wh} of {row.signed_wh} Wh for {row.value_micro} micro",
    )
    short = f", {row.short_wh} Wh short" if row.short_wh else ""
    return f"row ({verb} {amounts}{short}, {row.metered_wh} Wh metered, {row.trades} trades)"


def _rows(body: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the receipt's rows as the contract would read them."""
    account = read_text(body, "account")
    for row in read_list(body, "rows"):
        if not isinstance(row, Mapping):
            raise ValueError("rows: expected objects")
        order = Order.from_wire(read_mapping(row, "order"))
        yield Row(
            account=account,
            side=order.side.code,
            signed_limit=order.signed_limit,
            signed_wh=order.energy_wh,
            executed_wh=read_int(row, "executed_wh"),
            short_wh=read_int(row, "short_wh"),
            metered_wh=read_int(row, "metered_wh"),
            value_micro=read_int(row, "value_micro"),
            trades=read_int(row, "trades"),
            terms_hash=order.terms_hash(),
            signature=read_bytes(row, "signature", 64),
        )
