"""Signatures of homes, checked off the event loop.

An account's ``r || s`` names its signer once the recovery bit is known. The claimed account tells
which of the two it is, so finding it checks the signature and gives what the contract wants:
``r || vs`` (EIP-2098). libsecp256k1: about 31 microseconds per recovery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from btclib_secp256k1 import recovery

from ..protocol.keccak import keccak256
from ..protocol.keys import verify_meter
from ..protocol.messages import Message
from ..protocol.typed_data import Domain

_HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
WAITING_MAX = 2_000


class Busy(Exception):
    """Too many signatures wait to be checked."""


@dataclass(slots=True)
class Signatures:
    """Hashes and checks messages of one domain in worker threads; a context manager."""

    domain: Domain
    workers: int = 2
    _pool: ThreadPoolExecutor = field(init=False)
    _waiting: int = 0

    def __post_init__(self) -> None:
        """Make the pool; its threads start with the first work."""
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="signatures")

    def __enter__(self) -> Self:
        """Return the checker itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the running checks end and drop the waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def of_account(self, message: Message, signature: bytes, account: str) -> tuple[bytes, bytes] | None:
        """Return digest and ``r || vs``, or ``None`` when the account did not sign the message."""
        return await self._run(lambda: _account_work(message, self.domain, signature, account))

    async def of_meter(self, message: Message, signature: bytes, public_key: bytes) -> bytes | None:
        """Return the digest, or ``None`` when the meter did not sign the message."""
        return await self._run(lambda: _meter_work(message, self.domain, signature, public_key))

    async def _run[R](self, work: Callable[[], R]) -> R:
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def compact_for(account: str, digest: bytes, signature: bytes) -> bytes | None:
    """Return ``r || vs`` when ``r || s`` is the account's over the digest, with low ``s``."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "big") > _HALF_ORDER:
        return None
    for parity in (0, 1):
        try:
            public_key: Any = recovery.recover(digest, signature, parity, False)
        except ValueError:
            continue
        if "0x" + keccak256(public_key[1:])[12:].hex() == account:
            return signature[:32] + bytes([signature[32] | parity << 7]) + signature[33:]
    return None


def _account_work(message: Message, domain: Domain, signature: bytes, account: str) -> tuple[bytes, bytes] | None:
    digest = message.digest(domain)
    compact = compact_for(account, digest, signature)
    return None if compact is None else (digest, compact)


def _meter_work(message: Message, domain: Domain, signature: bytes, public_key: bytes) -> bytes | None:
    digest = message.digest(domain)
    return digest if verify_meter(digest, signature, public_key) else None
