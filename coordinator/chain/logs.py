"""What the logs of ledger, token and grid say, as this room's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import encode

from ..protocol.keccak import keccak256
from .abi import contract
from .batch import Totals
from .contracts import TOKEN_UNITS_PER_WH, Addresses
from .ports import (
    BatchSettled,
    CorrectedAccount,
    Deposited,
    FeesCollected,
    IntervalCancelled,
    IntervalCorrected,
    LoadBalancingTriggered,
    MandateRevoked,
    MandateSet,
    MoneyMoved,
    WithdrawalRequested,
    Withdrawn,
)
from .rpc import Rpc, RpcError, data, quantity


@dataclass(frozen=True, slots=True)
class EnergyMoved:
    """Energy changed hands, was minted or burned outside the batches (``None``: minted, burned)."""

    sender: str | None
    recipient: str | None
    energy_wh: int
    transaction: str
    block_number: int


type LedgerLog = (
    MoneyMoved
    | BatchSettled
    | EnergyMoved
    | IntervalCancelled
    | IntervalCorrected
    | LoadBalancingTriggered
    | MandateRevoked
    | MandateSet
    | WithdrawalRequested
)


def ledger_logs(ledger: str, logs: Iterable[Mapping[str, Any]], grid: str = "") -> list[LedgerLog]:
    """Return what the logs of ledger, token and grid say, in their order; other logs are passed over.

    A correction's rows are not in its log: ``read_logs`` reads them. The grid's logs are counted by themselves,
    so that they leave the references of the others as they are.
    """
    names = {ledger: "EnergyLedger", grid: "GridManagement"}
    found: list[LedgerLog] = []
    ordinals: dict[str, int] = {}
    for log in logs:
        transaction, name = log["transactionHash"], names.get(log["address"].lower(), "EnergyToken")
        counted = f"{transaction}:grid" if name == "GridManagement" else transaction
        ordinals[counted] = ordinal = ordinals.get(counted, -1) + 1
        for event, reader in _READERS[name].items():
            values = contract(name).log(event, log)
            if values is not None:
                found.append(reader(values, f"{counted}:{ordinal}", (transaction, quantity(log["blockNumber"]))))
    return found


async def read_logs(rpc: Rpc, addresses: Addresses, first: int, last: int) -> list[LedgerLog]:
    """Return what happened to the accounts, and what the grid asked for, in these blocks, both included."""
    topics = [contract(name).topic(event) for name, readers in _READERS.items() for event in readers]
    wanted = {
        "address": [addresses.ledger, addresses.token, addresses.grid],
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "topics": [topics],
    }
    logs = ledger_logs(addresses.ledger, await rpc.call("eth_getLogs", wanted), addresses.grid)
    return await with_corrections(rpc, addresses.ledger, logs)


async def with_corrections(rpc: Rpc, ledger: str, logs: list[LedgerLog]) -> list[LedgerLog]:
    """Give the corrections the rows that stand in their transactions' call data."""
    corrections = [log for log in logs if isinstance(log, IntervalCorrected)]
    if not corrections:
        return logs
    wanted = dict.fromkeys(log.transaction for log in corrections)
    answers = await rpc.batch([("eth_getTransactionByHash", (transaction,)) for transaction in wanted])
    sent = dict(zip(wanted, answers, strict=True))
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
    return [
        replace(log, rows=corrected_accounts(ledger, log.correction_hash, sent[log.transaction]))
        if isinstance(log, IntervalCorrected)
        else log
        for log in logs
    ]


def corrected_accounts(ledger: str, correction_hash: bytes, sent: object) -> tuple[CorrectedAccount, ...] | None:
    """Return the rows of a correction from its transaction, ``None`` when that is no direct call with these rows."""
    if not isinstance(sent, dict) or (sent["to"] or "").lower() != ledger:
        return None
    interface = contract("EnergyLedger")
    arguments = interface.arguments("correctInterval", data(sent["input"]))
    if arguments is None:
        return None
    kind = interface.functions["correctInterval"].types[-1]
    if keccak256(encode([kind], [arguments[-1]])) != correction_hash:
        return None
    return tuple(CorrectedAccount(*row[:5]) for row in arguments[-1])


type _Values = Mapping[str, Any]
type _Place = tuple[str, int]
type _Reader = Callable[[_Values, str, _Place], LedgerLog]


def _deposited(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return Deposited(values["account"], values["moneyMicro"], reference, *place)


def _withdrawn(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return Withdrawn(values["account"], values["moneyMicro"], reference, *place, values["to"])


def _withdrawal_requested(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return WithdrawalRequested(values["account"], values["moneyMicro"], values["availableAt"], *place, reference)


def _fees_collected(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return FeesCollected(values["feeAccount"], values["moneyMicro"], reference, *place)


def _batch_settled(values: _Values, _: str, place: _Place) -> LedgerLog:
    roots = values["readingsRoot"], values["receiptsRoot"]
    return BatchSettled(values["deliveryStart"], values["batchHash"], *roots, Totals.of_word(values["totals"]), *place)


def _interval_corrected(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return IntervalCorrected(
        values["deliveryStart"],
        values["revision"],
        values["correctionHash"],
        values["readingsRoot"],
        values["receiptsRoot"],
        values["mintedWh"],
        values["burnedWh"],
        reference,
        *place,
    )


def _interval_cancelled(values: _Values, reference: str, place: _Place) -> LedgerLog:
    return IntervalCancelled(values["account"], values["deliveryStart"], *place, reference)


def _mandate_set(values: _Values, _: str, place: _Place) -> LedgerLog:
    return MandateSet(
        values["account"],
        values["delegate"],
        values["validFrom"],
        values["validUntil"],
        values["energyPerIntervalMaxWh"],
        values["buyLimitMax"],
        values["sellLimitMin"],
        *place,
    )


def _mandate_revoked(values: _Values, _: str, place: _Place) -> LedgerLog:
    return MandateRevoked(values["account"], values["delegate"], values["validUntil"], *place)


def _load_balancing_triggered(values: _Values, reference: str, place: _Place) -> LedgerLog:
    node_id, request_id = values["nodeId"], values["requestId"]
    return LoadBalancingTriggered(node_id, request_id, values["overloadW"], values["stability"], *place, reference)


def _energy_moved(values: _Values, _: str, place: _Place) -> LedgerLog:
    sender, recipient = (None if int(values[end], 16) == 0 else values[end] for end in ("from", "to"))
    return EnergyMoved(sender, recipient, values["value"] // TOKEN_UNITS_PER_WH, *place)


_READERS: Mapping[str, Mapping[str, _Reader]] = {
    "EnergyLedger": {
        "Deposited": _deposited,
        "Withdrawn": _withdrawn,
        "WithdrawalRequested": _withdrawal_requested,
        "FeesCollected": _fees_collected,
        "BatchSettled": _batch_settled,
        "IntervalCorrected": _interval_corrected,
        "IntervalCancelled": _interval_cancelled,
        "MandateSet": _mandate_set,
        "MandateRevoked": _mandate_revoked,
    },
    "EnergyToken": {"Transfer": _energy_moved},
    "GridManagement": {"LoadBalancingTriggered": _load_balancing_triggered},
}
