"""A load generator that leaves the core to the server: prepared bytes over plain sockets, answers counted, not parsed.

A closed loop keeps one request under way on each connection. An open loop sends on a timetable of its own and counts
an answer's time from when its request was due, so that a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from tests.bench.rig import Load

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


def request(url: str, body: bytes) -> bytes:
    """Return a POST request's bytes."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        head = self._data.find(_END)
        if head < 0:
            return
        lowered = self._data[:head].lower()
        at = lowered.index(_LENGTH) + len(_LENGTH)
        end = head + len(_END) + int(lowered[at:].split(b"\r\n", 1)[0])
        if len(self._data) >= end and self._waiter is not None and not self._waiter.done():
            status, body = int(self._data[9:12]), self._data[head + len(_END) : end]
            self._data = self._data[end:]
            waiter, self._waiter = self._waiter, None
            waiter.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None:
            self._waiter.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def send(self, data: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; the future gets status and body of its answer."""
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._waiter

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def connections(url: str, count: int) -> list[Connection]:
    """Open connections to a server."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    assert parts.hostname is not None
    assert parts.port is not None
    made = [await loop.create_connection(Connection, parts.hostname, parts.port) for _ in range(count)]
    return [connection for _, connection in made]


async def closed_loop(
    url: str,
    chains: Sequence[Sequence[bytes]],
    status: int,
    count: int,
    check: Callable[[bytes], None] | None = None,
) -> Load:
    """Send requests over ``count`` connections, each chain in its own order; another status is an error.

    ``check`` looks at the answers when all are in.
    """
    waiting = iter(chains)
    latencies: list[float] = []
    answers: list[bytes] = []

    async def work(connection: Connection) -> None:
        for chain in waiting:
            for data in chain:
                began = time.perf_counter()
                answer = await connection.send(data)
                latencies.append(time.perf_counter() - began)
                _check(answer, status)
                if check is not None:
                    answers.append(answer[1])

    opened = await connections(url, count)
    began = time.perf_counter()
    await asyncio.gather(*(work(connection) for connection in opened))
    seconds = time.perf_counter() - began
    for connection in opened:
        connection.close()
    for body in answers:
        assert check is not None
        check(body)
    return Load(len(latencies), seconds, latencies)


async def open_loop(url: str, requests: Iterable[bytes], status: int, per_s: float, count: int) -> Load:
    """Send requests at a steady rate, whatever the server does; latencies count from when each was due."""
    opened, latencies = await connections(url, count), list[float]()
    began = time.perf_counter() + 0.1
    timetable: Iterator[tuple[int, bytes]] = iter(enumerate(requests))

    async def work(connection: Connection) -> None:
        for number, data in timetable:
            due = began + number / per_s
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            _check(await connection.send(data), status)
            latencies.append(time.perf_counter() - due)

    await asyncio.gather(*(work(connection) for connection in opened))
    seconds = time.perf_counter() - began
    for connection in opened:
        connection.close()
    return Load(len(latencies), seconds, latencies)


def _check(answer: tuple[int, bytes], status: int) -> None:
    if answer[0] != status:
        raise RuntimeError(f"the server answered {answer[0]}: {answer[1][:300]!r}")
