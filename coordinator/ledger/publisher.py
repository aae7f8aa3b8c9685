"""Telling others what has become durable, each at its own pace and within a limit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Self

from .records import Published


class Subscription:
    """Events as they become durable; a context manager and an async iterator of ``Published``.

    When the reader falls behind by more than the limit, ``lagged`` is set and the iteration ends: the
    reader then starts again from ``queries.events(since)``. It also ends when the ledger closes.
    """

    def __init__(self, publisher: Publisher, limit: int) -> None:
        self.lagged = False
        self._publisher = publisher
        self._limit = limit
        self._queue: deque[Published] = deque()
        self._ended = False
        self._wake = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.forget(self)
        self.end()

    async def __aiter__(self) -> AsyncIterator[Published]:
        while (published := await self.get()) is not None:
            yield published

    async def get(self) -> Published | None:
        """Return the next event; ``None`` when lagged or when the ledger has closed."""
        while not self._queue and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft() if self._queue and not self.lagged else None

    def put(self, published: Iterable[Published]) -> None:
        """Queue events, or give the reader up when it is too far behind."""
        self._queue.extend(published)
        if len(self._queue) > self._limit:
            self.lagged = True
            self._queue.clear()
            self._publisher.forget(self)
            self._ended = True
        self._wake.set()

    def end(self) -> None:
        """Let the reader finish what is queued, and no more."""
        self._ended = True
        self._wake.set()


class Publisher:
    """Hands events to all subscriptions."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._subscriptions: dict[Subscription, None] = {}

    def subscribe(self) -> Subscription:
        """Start a subscription with the next event."""
        subscription = Subscription(self, self._limit)
        self._subscriptions[subscription] = None
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Send it nothing more."""
        self._subscriptions.pop(subscription, None)

    def publish(self, published: list[Published]) -> None:
        """Give the events to everybody."""
        for subscription in list(self._subscriptions):
            subscription.put(published)

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
