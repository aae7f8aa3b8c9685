"""What the coordinator says to the contracts, and what it reads from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from .abi import contract
from .ports import Balance, BatchSettled, Deposited, Withdrawn
from .rpc import Rpc, RpcError, data, quantity
from .transactions import Call

TOKEN_UNITS_PER_WH = 10**15
_PROOF_TYPES = ("bytes32", "bytes32", "address", "uint32", "uint32", "bytes", "bytes")


class EffectInvalid(ValueError):
    """An effect's payload is no call that the contracts know."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the contracts are, in lower case."""

    authority: str
    currency: str
    ledger: str
    token: str
    registry: str
    grid: str
    trading: str


@dataclass(frozen=True, slots=True)
class EnergyMoved:
    """Energy changed hands, was minted or burned outside the batches (``None``: minted, burned)."""

    sender: str | None
    recipient: str | None
    energy_wh: int
    transaction: str
    block_number: int


type LedgerLog = Deposited | Withdrawn | BatchSettled | EnergyMoved


def effect_call(addresses: Addresses, kind: str, payload: Mapping[str, Any]) -> Call:
    """Return the call that makes an effect happen. Raises ``EffectInvalid``."""
    make = _CALLS.get(kind)
    if make is None:
        raise EffectInvalid(f"no contract does {kind!r}")
    try:
        return make(addresses, payload)
    except (KeyError, TypeError, ValueError, EncodingError) as error:
        raise EffectInvalid(f"{kind}: {type(error).__name__}: {error}") from error


def ledger_logs(ledger: str, logs: Iterable[Mapping[str, Any]]) -> list[LedgerLog]:
    """Return what the logs of ledger and token say, in their order; other logs are passed over."""
    found: list[LedgerLog] = []
    ordinals: dict[str, int] = {}
    for log in logs:
        transaction = log["transactionHash"]
        ordinals[transaction] = ordinal = ordinals.get(transaction, -1) + 1
        readers = _LEDGER_READERS if log["address"].lower() == ledger else _TOKEN_READERS
        read = (reader(log, f"{transaction}:{ordinal}") for reader in readers)
        found.extend(event for event in read if event is not None)
    return found


async def read_logs(rpc: Rpc, addresses: Addresses, first: int, last: int) -> list[LedgerLog]:
    """Return what happened to the accounts in these blocks, both included."""
    topics = [contract("EnergyLedger").topic(name) for name in ("Deposited", "Withdrawn", "BatchSettled")]
    topics.append(contract("EnergyToken").topic("Transfer"))
    wanted = {
        "address": [addresses.ledger, addresses.token],
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "topics": [topics],
    }
    return ledger_logs(addresses.ledger, await rpc.call("eth_getLogs", wanted))


async def read_balances(rpc: Rpc, addresses: Addresses, accounts: Sequence[str], block_hash: str) -> dict[str, Balance]:
    """Return the accounts' columns as they stood after a block. Raises ``RpcError``."""
    ledger = contract("EnergyLedger")
    calls = [
        (
            "eth_call",
            ({"to": addresses.ledger, "data": hexed(ledger.encode("accountOf", a))}, {"blockHash": block_hash}),
        )
        for a in accounts
    ]
    balances = {}
    for account, output in zip(accounts, await rpc.batch(calls), strict=True):
        if isinstance(output, RpcError):
            raise output
        values = ledger.result("accountOf", data(output))
        if values is None:
            raise RpcError("eth_call", 0, f"{addresses.ledger} is no EnergyLedger")
        balances[account] = Balance(money_micro=values[1], energy_wh=values[0])
    return balances


def hexed(value: bytes) -> str:
    """Return bytes as JSON-RPC data."""
    return "0x" + value.hex()


def _settle_batch(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    values = payload["delivery_start"], *(_bytes(payload[k]) for k in ("readings_root", "receipts_root", "rows"))
    return Call(addresses.ledger, contract("EnergyLedger").encode("settleBatch", *values))


def _deposit_welcome(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    values = payload["account"], payload["money_micro"]
    return Call(addresses.ledger, contract("EnergyLedger").encode("depositFor", *values))


def _register_meter(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    key = _bytes(payload["public_key"])
    proof = (
        key[:32],
        key[32:],
        payload["account"],
        payload["import_limit_w"],
        payload["export_limit_w"],
        _bytes(payload["meter_signature"]),
        _bytes(payload["account_signature"]),
    )
    device_id = int(payload["device_id"], 16)
    calldata = contract("SmartMeterRegistry").encode("registerMeter", device_id, encode(_PROOF_TYPES, proof))
    return Call(addresses.registry, calldata)


def _update_grid(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    values = payload["node_id"], payload["load_w"], payload["capacity_w"]
    return Call(addresses.grid, contract("GridManagement").encode("updateGridMetrics", *values))


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


_CALLS: Mapping[str, Callable[[Addresses, Mapping[str, Any]], Call]] = {
    "deposit_welcome": _deposit_welcome,
    "register_meter": _register_meter,
    "settle_batch": _settle_batch,
    "update_grid": _update_grid,
}


def _deposited(log: Mapping[str, Any], reference: str) -> Deposited | None:
    values = contract("EnergyLedger").log("Deposited", log)
    if values is None:
        return None
    return Deposited(values["account"], values["moneyMicro"], reference, *_place(log))


def _withdrawn(log: Mapping[str, Any], reference: str) -> Withdrawn | None:
    values = contract("EnergyLedger").log("Withdrawn", log)
    if values is None:
        return None
    return Withdrawn(values["account"], values["moneyMicro"], reference, *_place(log))


def _batch_settled(log: Mapping[str, Any], _: str) -> BatchSettled | None:
    values = contract("EnergyLedger").log("BatchSettled", log)
    if values is None:
        return None
    return BatchSettled(
        values["deliveryStart"],
        values["batchHash"],
        values["readingsRoot"],
        values["receiptsRoot"],
        values["tradedWh"],
        values["valueMicro"],
        values["mintedWh"],
        values["burnedWh"],
        *_place(log),
    )


def _energy_moved(log: Mapping[str, Any], _: str) -> EnergyMoved | None:
    values = contract("EnergyToken").log("Transfer", log)
    if values is None:
        return None
    sender, recipient = (None if int(values[end], 16) == 0 else values[end] for end in ("from", "to"))
    return EnergyMoved(sender, recipient, values["value"] // TOKEN_UNITS_PER_WH, *_place(log))


type _Reader = Callable[[Mapping[str, Any], str], LedgerLog | None]

_LEDGER_READERS: Sequence[_Reader] = (_deposited, _withdrawn, _batch_settled)
_TOKEN_READERS: Sequence[_Reader] = (_energy_moved,)


def _place(log: Mapping[str, Any]) -> tuple[str, int]:
    return log["transactionHash"], quantity(log["blockNumber"])
