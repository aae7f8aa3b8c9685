"""A settlement receipt against the chain alone: no coordinator is asked, and none is trusted.

Whether the receipt is right in itself (signatures, registers, sums, the proof to its root) is
``protocol.receipts.verify_receipt``; here the root and the account's rows are found on chain. A corrected receipt's
root is a correction's, and batch and corrections together must come to what its rows say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol.chain_messages import SettlementHeader
from ..protocol.keccak import keccak256
from ..protocol.messages import Order
from ..protocol.wire import read_bytes, read_int, read_list, read_mapping, read_text
from .abi import contract
from .batch import Row, batch_hash, changes, unpack
from .broadcast import read_receipts
from .contracts import hexed
from .logs import ledger_logs, with_corrections
from .ports import BatchSettled, IntervalCorrected
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
        corrections = await _corrections(rpc, ledger, body["delivery_start"])
        last = next((c for c in corrections if c.receipts_root == signed.receipts_root), None)
        if last is not None:
            made = [correction for correction in corrections if correction.revision <= last.revision]
            findings = await _compare_correction(rpc, ledger, event, made, signed, signer, _Own(body["account"], own))
            return ChainProof(tuple(findings), chain_id, ledger, last.transaction, last.block_number, own.total())
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
    batches: list[BatchSettled] = []
    if isinstance(transaction, str):
        (receipt,) = await read_receipts(rpc, [transaction])
        logs = list(receipt["logs"]) if receipt and quantity(receipt["status"]) == 1 else []
        found = ledger_logs(ledger, [log for log in logs if log["address"].lower() == ledger])
        batches = [e for e in found if isinstance(e, BatchSettled) and e.delivery_start == delivery_start]
    if not batches:
        found = ledger_logs(ledger, await _logs(rpc, ledger, "BatchSettled", delivery_start))
        batches = [e for e in found if isinstance(e, BatchSettled)]
    return batches[-1] if batches else None


async def _corrections(rpc: Rpc, ledger: str, delivery_start: int) -> list[IntervalCorrected]:
    """Return an interval's corrections, oldest first, with their rows where they can be read."""
    found = ledger_logs(ledger, await _logs(rpc, ledger, "IntervalCorrected", delivery_start))
    logs = await with_corrections(rpc, ledger, found)
    return [log for log in logs if isinstance(log, IntervalCorrected)]


async def _logs(rpc: Rpc, ledger: str, event: str, delivery_start: int) -> list[Mapping[str, Any]]:
    topics = [contract("EnergyLedger").topic(event), f"0x{delivery_start:064x}"]
    wanted = {"address": ledger, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
    logs: list[Mapping[str, Any]] = await rpc.call("eth_getLogs", wanted)
    return logs


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
    executed = await _executed(rpc, ledger, event, own.account)
    if isinstance(executed, str):
        return [executed]
    return [*await _check_sender(rpc, event.transaction, signer), *_differences(own.rows, executed)]


async def _executed(rpc: Rpc, ledger: str, event: BatchSettled, account: str) -> Counter[Row] | str:
    """Return an account's rows in a batch, or why they cannot be read."""
    sent = await rpc.call("eth_getTransactionByHash", event.transaction)
    if not isinstance(sent, dict) or (sent["to"] or "").lower() != ledger:
        return f"transaction {event.transaction} is no direct call of the ledger: its rows cannot be read"
    arguments = contract("EnergyLedger").arguments("settleBatch", data(sent["input"]))
    if arguments is None or batch_hash(arguments[3]) != event.batch_hash:
        return f"the rows in transaction {event.transaction} are not those that the contract settled"
    return Counter(row for row in unpack(arguments[3]) if row.account == account)


async def _check_sender(rpc: Rpc, transaction: str, signer: str) -> list[str]:
    sent = await rpc.call("eth_getTransactionByHash", transaction)
    sender = sent["from"].lower()
    return [] if sender == signer else [f"the settlement is signed by {signer}, but {sender} sent it"]


async def _compare_correction(
    rpc: Rpc,
    ledger: str,
    event: BatchSettled,
    corrections: Sequence[IntervalCorrected],
    signed: SettlementHeader,
    signer: str,
    own: _Own,
) -> list[str]:
    """Compare what batch and corrections together gave the account with what its receipt's rows come to."""
    executed, last = await _executed(rpc, ledger, event, own.account), corrections[-1]
    if isinstance(executed, str):
        return [executed]
    findings = await _check_sender(rpc, last.transaction, signer)
    if (last.readings_root, last.revision) != (signed.readings_root, signed.revision):
        findings.append("the contract has another readings root or revision for this correction")
    unread = [correction for correction in corrections if correction.rows is None]
    findings += [f"the correction's rows in transaction {c.transaction} cannot be read" for c in unread]
    money_micro, energy_wh = changes(executed.elements()).get(own.account, (0, 0))
    for row in (row for correction in corrections for row in correction.rows or () if row.account == own.account):
        money_micro, energy_wh = money_micro + row.money_micro, energy_wh + row.energy_wh
    if (money_micro, energy_wh) != (stated := changes(own.rows.elements()).get(own.account, (0, 0))):
        findings.append(
            f"batch and corrections came to {money_micro} micro and {energy_wh} Wh on chain, the receipt's rows to"
            f" {stated[0]} and {stated[1]}"
        )
    return findings


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
