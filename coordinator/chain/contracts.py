"""What the coordinator says to the contracts, and what it reads from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from .abi import contract
from .ports import Balance
from .rpc import Rpc, RpcError, data
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
    registry: str
    token: str
    certificates: str
    grid: str
    trading: str
    compliance: str
    price_feeds: str
    disputes: str


def effect_call(addresses: Addresses, kind: str, payload: Mapping[str, Any]) -> Call:
    """Return the call that makes an effect happen. Raises ``EffectInvalid``."""
    make = _CALLS.get(kind)
    if make is None:
        raise EffectInvalid(f"no contract does {kind!r}")
    try:
        return make(addresses, payload)
    except (KeyError, TypeError, ValueError, EncodingError) as error:
        raise EffectInvalid(f"{kind}: {type(error).__name__}: {error}") from error


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


def _answer_balancing(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    values = payload["node_id"], payload["request_id"], payload["relieved_w"]
    return Call(addresses.grid, contract("GridManagement").encode("answerLoadBalancing", *values))


def _relay_withdrawal(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    wire, signature = payload["withdrawal"], _bytes(payload["signature"])
    names = "account", "to", "money_micro", "relay_fee_micro", "nonce", "deadline"
    values = tuple(wire[name] for name in names), signature[:32], signature[32:]
    return Call(addresses.ledger, contract("EnergyLedger").encode("relayWithdrawal", *values))


def _correct_interval(addresses: Addresses, payload: Mapping[str, Any]) -> Call:
    rows = []
    for row in payload["rows"]:
        signature = _bytes(row["signature"])
        amounts = (row[name] for name in ("energy_wh", "money_micro", "minted_wh", "burned_wh"))
        rows.append((row["account"], *amounts, signature[:32], signature[32:]))
    roots = (_bytes(payload[name]) for name in ("readings_root", "receipts_root"))
    values = payload["delivery_start"], payload["revision"], *roots, rows
    return Call(addresses.ledger, contract("EnergyLedger").encode("correctInterval", *values))


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


_CALLS: Mapping[str, Callable[[Addresses, Mapping[str, Any]], Call]] = {
    "answer_balancing": _answer_balancing,
    "correct_interval": _correct_interval,
    "deposit_welcome": _deposit_welcome,
    "register_meter": _register_meter,
    "relay_withdrawal": _relay_withdrawal,
    "settle_batch": _settle_batch,
    "update_grid": _update_grid,
}
