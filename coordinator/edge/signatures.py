"""Signatures of homes, checked off the event loop: orders in processes of their own, all else in threads.

libsecp256k1 takes about 31 microseconds for a recovery, Python about as long to decode and hash an order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from ..protocol.keys import verify_meter
from ..protocol.messages import Message
from ..protocol.typed_data import Domain
from .signed import SignedOrder, compact_for
from .verifier import Checked, VerifierFailedError, Verifiers

WAITING_MAX = 2_000
_PROCESSES_MAX = 4
_ORDERS_WAITING_MAX = 8_000


def processes_wanted() -> int:
    """Return how many processes suit this machine: one core is the event loop's."""
    return max(1, min(_PROCESSES_MAX, (os.cpu_count() or 2) - 1))


class Busy(Exception):
    """Too many signatures wait to be checked."""


@dataclass(slots=True)
class Signatures:
    """Hashes and checks messages of one domain; a context manager, with ``async with`` when it has ``processes``.

    Without processes threads check orders too.
    """

    domain: Domain
    workers: int = 2
    processes: int = 0
    _pool: ThreadPoolExecutor = field(init=False)
    _verifiers: Verifiers | None = field(init=False, default=None)
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

    async def __aenter__(self) -> Self:
        """Start the processes and wait until they are warm."""
        if self.processes:
            self._verifiers = Verifiers(self.domain, self.processes)
            try:
                await self._verifiers.start()
            except BaseException:
                await self.__aexit__()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the processes and drop what waits."""
        if self._verifiers is not None:
            await self._verifiers.stop()
            self._verifiers = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def of_account(self, message: Message, signature: bytes, account: str) -> tuple[bytes, bytes] | None:
        """Return digest and ``r || vs``, or ``None`` when the account did not sign the message."""
        return await self._run(lambda: _account_work(message, self.domain, signature, account))

    async def of_orders(self, orders: Sequence[SignedOrder]) -> list[Checked]:
        """Return digest and ``r || vs`` of each order, or ``None`` where its account did not sign it."""
        raws = [order.raw for order in orders if order.raw is not None]
        if self._verifiers is None or len(raws) < len(orders):
            return await self._run(lambda: [self._order_work(order) for order in orders])
        if self._waiting + len(raws) > _ORDERS_WAITING_MAX:
            raise Busy
        self._waiting += len(raws)
        try:
            return await self._verifiers.check(raws)
        except VerifierFailedError as error:
            raise Busy from error
        finally:
            self._waiting -= len(raws)

    async def of_meter(self, message: Message, signature: bytes, public_key: bytes) -> bytes | None:
        """Return the digest, or ``None`` when the meter did not sign the message."""
        return await self._run(lambda: _meter_work(message, self.domain, signature, public_key))

    def _order_work(self, signed: SignedOrder) -> Checked:
        return _account_work(signed.order, self.domain, signed.signature, signed.order.account)

    async def _run[R](self, work: Callable[[], R]) -> R:
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def _account_work(message: Message, domain: Domain, signature: bytes, account: str) -> tuple[bytes, bytes] | None:
    digest = message.digest(domain)
    compact = compact_for(account, digest, signature)
    return None if compact is None else (digest, compact)


def _meter_work(message: Message, domain: Domain, signature: bytes, public_key: bytes) -> bytes | None:
    digest = message.digest(domain)
    return digest if verify_meter(digest, signature, public_key) else None
