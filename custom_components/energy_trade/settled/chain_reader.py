"""The community's contract, read without the coordinator: JSON-RPC that only asks, to a node of the owner's choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from ..household.chain_proof import (
    BATCH_SETTLED,
    INTERVAL_CORRECTED,
    MARKET_HASH,
    Sent,
    Settled,
    compare,
    hex_bytes,
    read_log,
)
from ..protocol.keccak import keccak256
from ..protocol.typed_data import Domain
from ..protocol.wire import read_bytes, read_int, read_mapping, read_text

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
ANSWER_BYTES_AT_ONCE: Final = 64 * 1024
"""A longer answer is read in another thread: it would hold up everything else."""
TIMEOUT_S: Final = 10.0


class ChainUnavailable(Exception):
    """The node does not answer, or not with what was asked for: try again later."""


class NodeRefused(ChainUnavailable):
    """The node answered with an error: other questions it may well answer."""


class WrongChain(Exception):
    """The node's chain is another one, or has not this community's contract."""


class NotOnChain(Exception):
    """The contract does not know of this settlement (yet)."""


@dataclass(frozen=True, slots=True)
class ChainProof:
    """Where a receipt's settlement stands on chain; without ``findings`` the chain bears the receipt out."""

    findings: tuple[str, ...]
    transaction: str
    block_number: int


class ChainReader:
    """Asks one node about one ledger contract; never sends a transaction."""

    def __init__(self, session: aiohttp.ClientSession, url: str, domain: Domain, market: str) -> None:
        """Use ``session`` (which stays the caller's) for the node at ``url``."""
        self._session = session
        self._url = url
        self._domain = domain
        self._ledger = domain.ledger.lower()
        self._market = market
        self._known = False

    def __str__(self) -> str:
        """Name the host alone: a provider's path may hold a secret."""
        return f"the chain's node at {urlsplit(self._url).hostname}"

    async def async_probe(self) -> None:
        """Find this community's contract on the node's chain; raise ``WrongChain`` or ``ChainUnavailable``."""
        chain_id = _quantity(await self._call("eth_chainId"))
        if chain_id != self._domain.chain_id:
            raise WrongChain(f"{self} is of chain {chain_id}, the community's contract of {self._domain.chain_id}")
        call = {"to": self._ledger, "data": "0x" + MARKET_HASH.hex()}
        try:
            answer = await self._call("eth_call", call, "latest")
        except NodeRefused:
            answer = "0x"
        if _data(answer) != keccak256(self._market.encode()):
            raise WrongChain(f"{self} has no ledger of this market at {self._ledger}")
        self._known = True

    async def async_head(self) -> tuple[int, int]:
        """Return the newest block's number and time (UTC seconds)."""
        block = _object(await self._call("eth_getBlockByNumber", "latest", False))
        return _quantity(block.get("number")), _quantity(block.get("timestamp"))

    async def async_check(self, envelope: Mapping[str, Any]) -> ChainProof:
        """Compare a receipt with the chain.

        Raises ``NotOnChain``, ``WrongChain``, ``ChainUnavailable``; ``ValueError`` when the receipt is malformed.
        """
        transaction = envelope.get("transaction")
        if transaction is not None:
            read_bytes(envelope, "transaction", 32)  # else the node would refuse, and nothing were ever compared
        if not self._known:
            await self.async_probe()
        delivery_start = read_int(read_mapping(envelope, "body"), "delivery_start")
        revision = read_int(read_mapping(envelope, "settlement"), "revision")
        batch = await self._find_batch(transaction, delivery_start, revision)
        if batch is None:
            raise NotOnChain(f"the contract has not settled interval {delivery_start}")
        logs = [batch, *await self._corrections(batch, delivery_start, revision)]
        newest = max(logs, key=lambda log: log.revision)
        if newest.revision < revision:
            raise NotOnChain(f"the contract has revision {newest.revision} of interval {delivery_start}")
        if newest.revision > revision:
            raise NotOnChain(f"the receipt is of revision {revision}, the contract has already {newest.revision}")
        sent = {log.transaction: await self._transaction(log.transaction) for log in logs}
        compared = asyncio.get_running_loop().run_in_executor(None, compare, envelope, logs, sent)
        return ChainProof(tuple(await compared), newest.transaction, newest.block_number)

    async def _find_batch(self, transaction: object, delivery_start: int, revision: int) -> Settled | None:
        """Return the interval's batch: in the transaction that the receipt names, else by its event."""
        found: list[Settled] = []
        if isinstance(transaction, str) and revision == 0:
            receipt = await self._call("eth_getTransactionReceipt", transaction)
            if isinstance(receipt, Mapping) and _quantity(receipt.get("status")) == 1:
                found = self._read(receipt.get("logs"), delivery_start)
        if not found:
            try:
                found = await self._logs(BATCH_SETTLED, delivery_start, 0)
            except NodeRefused as error:
                if transaction is None or revision:
                    raise
                raise NotOnChain(f"transaction {transaction} has not settled interval {delivery_start}") from error
        batches = [log for log in found if log.revision == 0]
        return batches[-1] if batches else None

    async def _corrections(self, batch: Settled, delivery_start: int, revision: int) -> list[Settled]:
        """Return the interval's corrections; a node that tells no logs of the past tells of none."""
        try:
            return await self._logs(INTERVAL_CORRECTED, delivery_start, batch.block_number)
        except NodeRefused:
            if revision:
                raise
            return []

    async def _logs(self, event: str, delivery_start: int, first_block: int) -> list[Settled]:
        wanted = {
            "address": self._ledger,
            "fromBlock": hex(first_block),
            "toBlock": "latest",
            "topics": [event, f"0x{delivery_start:064x}"],
        }
        return self._read(await self._call("eth_getLogs", wanted), delivery_start)

    def _read(self, logs: object, delivery_start: int) -> list[Settled]:
        if not isinstance(logs, list):
            raise ChainUnavailable(f"{self} answered no list of logs")
        try:
            found = [read_log(log, self._ledger) for log in logs]
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ChainUnavailable(f"{self} answered logs that make no sense: {error}") from error
        return [log for log in found if log is not None and log.delivery_start == delivery_start]

    async def _transaction(self, transaction: str) -> Sent:
        sent = _object(await self._call("eth_getTransactionByHash", transaction))
        try:
            recipient = str(sent.get("to")).lower()
            data = hex_bytes(sent.get("input")) if recipient == self._ledger else b""
            return Sent(read_text(sent, "from").lower(), recipient, data)
        except ValueError as error:
            raise ChainUnavailable(f"{self} answered a transaction that makes no sense: {error}") from error

    async def _call(self, method: str, *params: object) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.post(self._url, json=body, timeout=timeout, allow_redirects=False) as response:
                answer = await _parsed(await self._bounded(response))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise ChainUnavailable(f"{self} does not answer ({type(error).__name__})") from error
        except (RecursionError, ValueError) as error:
            raise ChainUnavailable(f"{self} did not answer with JSON") from error
        if not isinstance(answer, dict):
            raise ChainUnavailable(f"{self} did not answer a call")
        if answer.get("error") is not None:
            raise NodeRefused(f"{self} refused {method}: {str(answer['error'])[:200]}")
        return answer.get("result")

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            data += chunk
            if len(data) > ANSWER_BYTES_MAX:
                raise ChainUnavailable(f"{self} answers more than {ANSWER_BYTES_MAX} bytes")
        return bytes(data)


async def _parsed(raw: bytes) -> Any:
    if len(raw) <= ANSWER_BYTES_AT_ONCE:
        return json.loads(raw)
    return await asyncio.get_running_loop().run_in_executor(None, json.loads, raw)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ChainUnavailable("the chain's node does not know what was asked for")
    return value


def _quantity(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError as error:
        raise ChainUnavailable(f"the chain's node answered {value!r:.60} instead of a number") from error


def _data(value: object) -> bytes:
    try:
        return hex_bytes(value)
    except ValueError as error:
        raise ChainUnavailable(f"the chain's node answered no data: {error}") from error
