"""Getting signed transactions mined: fees, sending, sending again, receipts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .abi import describe_revert
from .contracts import hexed
from .rpc import NodeUnreachable, Rpc, RpcError, quantity
from .transactions import TRANSACTION_GAS_MAX, Call, Fees, Signed

_LOG = logging.getLogger(__name__)
_KNOWN = ("already known", "already imported", "nonce too low", "nonce is too low")


@dataclass(frozen=True, slots=True)
class FeeLimits:
    """The most that a gas may cost and the most that goes to the block's proposer, in wei."""

    max_fee_wei: int = 200 * 10**9
    tip_max_wei: int = 2 * 10**9


class Broadcaster:
    """Sends transactions, and again when they are not mined after ``repeat_s`` seconds."""

    def __init__(self, rpc: Rpc, repeat_s: float = 5.0) -> None:
        self._rpc = rpc
        self._repeat_s = repeat_s
        self._sent_at: dict[str, float] = {}
        self._refusals: dict[str, str] = {}

    def forget(self) -> None:
        """Let every transaction go out again: the node may have lost them."""
        self._sent_at.clear()

    async def send(self, transactions: Iterable[Signed]) -> None:
        """Send those that are due, by rising nonce; the node's refusals are logged once and tried again."""
        now = asyncio.get_running_loop().time()
        due = [t for t in transactions if now - self._sent_at.get(t.transaction, -self._repeat_s) >= self._repeat_s]
        for transaction in sorted(due, key=lambda t: t.nonce):
            try:
                await self._rpc.call("eth_sendRawTransaction", hexed(transaction.raw))
            except RpcError as error:
                self._note_refusal(transaction, error)
            self._sent_at[transaction.transaction] = now

    def mined(self, transaction: str) -> None:
        """Forget a transaction that needs no sending any more."""
        self._sent_at.pop(transaction, None)
        self._refusals.pop(transaction, None)

    def _note_refusal(self, transaction: Signed, error: RpcError) -> None:
        if any(known in error.message.lower() for known in _KNOWN):
            return
        if self._refusals.get(transaction.transaction) != error.message:
            self._refusals[transaction.transaction] = error.message
            _LOG.error("nonce %d, %s: %s; trying again", transaction.nonce, transaction.transaction, error)


async def read_nonce(rpc: Rpc, account: str) -> int:
    """Return how many of the account's transactions are mined."""
    return quantity(await rpc.call("eth_getTransactionCount", account, "latest"))


async def read_receipts(rpc: Rpc, transactions: Sequence[str]) -> list[Mapping[str, Any] | None]:
    """Return the receipts, ``None`` for a transaction that is not mined."""
    answers = await rpc.batch([("eth_getTransactionReceipt", (t,)) for t in transactions])
    return [answer if isinstance(answer, dict) and answer.get("blockNumber") else None for answer in answers]


async def read_fees(rpc: Rpc, limits: FeeLimits) -> Fees | None:
    """Return what to bid now, ``None`` while a gas costs more than the limit."""
    block, tip = await rpc.batch([("eth_getBlockByNumber", ("latest", False)), ("eth_maxPriorityFeePerGas", ())])
    if not isinstance(block, dict):
        raise NodeUnreachable(f"{rpc} does not tell its latest block")
    base_wei = quantity(block.get("baseFeePerGas"))
    if base_wei > limits.max_fee_wei:
        _LOG.warning("a gas costs %d wei, more than the limit of %d; waiting", base_wei, limits.max_fee_wei)
        return None
    tip_wei = min(limits.tip_max_wei, 0 if isinstance(tip, RpcError) else quantity(tip))
    max_fee_wei = min(limits.max_fee_wei, 2 * base_wei + tip_wei)
    return Fees(max_fee_wei, min(tip_wei, max_fee_wei))


async def estimate_gas(rpc: Rpc, sender: str, call: Call) -> int:
    """Return a gas limit with a margin of a quarter. Raises ``RpcError``, a revert's too."""
    body = {"from": sender, "to": call.to, "data": hexed(call.data)}
    gas = quantity(await rpc.call("eth_estimateGas", body, "pending"))
    if gas > TRANSACTION_GAS_MAX:
        raise RpcError(
            "eth_estimateGas", 0, f"out of gas: needs {gas}, a transaction has at most {TRANSACTION_GAS_MAX}"
        )
    return min(TRANSACTION_GAS_MAX, gas + gas // 4 + 5_000)


async def explain_revert(rpc: Rpc, receipt: Mapping[str, Any]) -> str:
    """Say why a mined transaction failed, by calling it again on the states after and before its block."""
    sent = await rpc.call("eth_getTransactionByHash", receipt["transactionHash"])
    if not isinstance(sent, dict):
        return "reverted"
    body = {"from": sent["from"], "to": sent["to"], "data": sent["input"], "gas": sent["gas"]}
    number = quantity(receipt["blockNumber"])
    for answer in await rpc.batch([("eth_call", (body, hex(at))) for at in (number, number - 1)]):
        if isinstance(answer, RpcError) and is_revert(answer):
            return describe_revert(answer.data)
    return "reverted for a reason that the node does not tell any more"


def is_revert(error: RpcError) -> bool:
    """Tell whether the contract said no, not the node."""
    return error.data is not None or error.code == 3 or "revert" in error.message.lower()


def is_too_big(error: RpcError) -> bool:
    """Tell whether the call needs more gas than a transaction may have, or more bytes than the node takes."""
    message = error.message.lower()
    return any(sign in message for sign in ("out of gas", "gas required exceeds", "too large", "gas limit"))
