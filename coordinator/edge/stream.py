"""The stream: attach the listener, send a snapshot (or what was missed), then every event.

One subscription to the ledger feeds all clients; a message is encoded once. A client that does not
keep up is closed with a code and resumes with ``?since``. Besides the events, which are facts, there
are ``state`` messages: the rows that changed, absolute, gathered for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import WSCloseCode, web

from ..config import HttpConfig
from ..market.events import Event, GateClosed, OrderClosed, OrderPlaced, OrderTriggered, SessionCleared, Traded
from .decode import read_parameters
from .errors import Refusal
from .limits import address_of
from .plain import event_data, event_name
from .services import Published, Services
from .wire import StreamStart

_log = structlog.get_logger(__name__)

HEARTBEAT_S = 10
GATHER_S = 0.25
REPLAY_EVENTS_MAX = 5_000
SLOW_CLIENT = WSCloseCode.TRY_AGAIN_LATER
_PAGE = 1_000
_INTERVALS = 96
_TRADES = 50
_AUCTIONS = 20
_CLOSE_S = 2.0


@dataclass(slots=True, eq=False)
class Client:
    """One listener: a bounded queue of ``(sequence, text)``, and the code it is closed with."""

    queue: asyncio.Queue[tuple[int | None, str]]
    address: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: WSCloseCode = WSCloseCode.OK

    def offer(self, sequence: int | None, text: str) -> None:
        """Queue a message; a client whose queue is full is too slow and will be closed."""
        try:
            self.queue.put_nowait((sequence, text))
        except asyncio.QueueFull:
            self.end(SLOW_CLIENT)

    def end(self, code: WSCloseCode) -> None:
        """Have the client closed; the first reason counts."""
        if not self.ended.is_set():
            self.code = code
            self.ended.set()


class Hub:
    """Spreads what happens over all clients."""

    def __init__(self, services: Services, *, queue_max: int, clients_max: int, per_address_max: int) -> None:
        """Wait for ``run``."""
        self._services = services
        self._queue_max = queue_max
        self._clients_max = clients_max
        self._per_address_max = per_address_max
        self._clients: set[Client] = set()
        self._changed = asyncio.Event()
        self._intervals: set[int] = set()
        self._books: set[int] = set()
        self._auctioned = False
        self._shown = _Shown()

    async def run(self) -> None:
        """Listen and spread until cancelled; then close all clients."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(self._gather())
                group.create_task(self._beat())
        finally:
            self._end_all(WSCloseCode.GOING_AWAY)

    @contextmanager
    def attach(self, address: str) -> Iterator[Client]:
        """Add a client for the time of the block; one address may have some of the places only."""
        if len(self._clients) >= self._clients_max:
            raise Refusal("busy", "Too many streams are open: try again later.")
        if sum(client.address == address for client in self._clients) >= self._per_address_max:
            raise Refusal("too_many_requests", "Too many streams are open from this address: close one, then go on.")
        client = Client(asyncio.Queue(self._queue_max), address)
        self._clients.add(client)
        self._services.metrics.stream_opened()
        try:
            yield client
        finally:
            self._clients.discard(client)
            self._services.metrics.stream_closed(slow=client.code is SLOW_CLIENT)

    async def opening(self, since: int | None) -> tuple[int, list[str]]:
        """Return what a new client gets first, and the sequence up to which that goes."""
        missed = None if since is None else await self._missed(since)
        sequence = self._services.ledger.sequence
        if missed is None:
            return sequence, [await self._snapshot("snapshot", sequence)]
        if missed:
            sequence = missed[-1].sequence
        elif since is not None:
            sequence = since
        return sequence, [*map(self._event, missed), await self._snapshot("state", sequence)]

    async def _missed(self, since: int) -> list[Published] | None:
        """Return the events after ``since``, ``None`` when they are too many or of another log."""
        if since > self._services.ledger.sequence:
            return None
        found: list[Published] = []
        while page := await self._services.views.events(found[-1].sequence if found else since, _PAGE):
            found += page
            if len(found) > REPLAY_EVENTS_MAX:
                return None
        return found

    async def _snapshot(self, kind: str, sequence: int) -> str:
        """Return everything a reader needs; rows may be newer than ``sequence``, never older."""
        views = self._services.views
        message = {
            "type": kind,
            "sequence": sequence,
            "at": self._services.clock.now(),
            "market": views.market(),
            "books": views.open_books(),
            "intervals": await views.intervals(None, _INTERVALS),
            "accounts": await views.accounts(),
            "auctions": await views.auctions(_AUCTIONS),
            "trades": await views.trades(None, _TRADES),
        }
        return _text(message)

    async def _listen(self) -> None:
        while True:
            with self._services.ledger.subscribe() as subscription:
                while (published := await subscription.get()) is not None:
                    self._spread(published)
                if not subscription.lagged:
                    return  # the ledger has closed
            self._end_all(SLOW_CLIENT)  # we lagged ourselves: all resume from the log

    def _spread(self, published: Published) -> None:
        self._services.metrics.happened(published.event, published.at)
        self._note(published.event)
        self._changed.set()
        if self._clients:
            text = self._event(published)
            for client in self._clients:
                client.offer(published.sequence, text)

    def _note(self, event: Event) -> None:
        """Remember which intervals' rows and books the event may have changed, and that an auction was held."""
        self._auctioned |= isinstance(event, GateClosed | SessionCleared)
        match event:
            case OrderPlaced():
                self._books.add(event.order.delivery_start)
            case OrderClosed() | OrderTriggered():
                start = self._services.views.interval_of(event.digest)
                self._books |= set() if start is None else {start}
            case SessionCleared():
                self._intervals |= {cleared.delivery_start for cleared in event.intervals}
            case _ if start := getattr(event, "delivery_start", 0):
                self._intervals.add(start)

    async def _gather(self) -> None:
        """Send the rows that changed, at most every ``GATHER_S``."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            intervals, self._intervals = self._intervals, set()
            books, self._books = self._books | intervals, set()
            auctioned, self._auctioned = self._auctioned, False
            if self._clients:
                try:
                    message = await self._state(sorted(intervals), sorted(books), auctioned=auctioned)
                except Refusal:  # the ledger has too many questions: ask again, also for what changes meanwhile
                    self._intervals |= intervals
                    self._books |= books
                    self._auctioned |= auctioned
                    self._changed.set()
                    continue
                for client in self._clients:
                    client.offer(None, message)

    async def _state(self, starts: list[int], books: list[int], *, auctioned: bool) -> str:
        services, views = self._services, self._services.views
        accounts = await views.accounts()
        found = [await views.interval(start) for start in starts]
        message: dict[str, Any] = {
            "type": "state",
            "sequence": services.ledger.sequence,
            "at": services.clock.now(),
        }
        market = views.market()
        if self._shown.is_new("market", (market["state"], market["halt_reason"])):
            message["market"] = market
        message["books"] = [
            book for book in map(views.open_book, books) if book and self._shown.is_new(book["delivery_start"], book)
        ]
        message["accounts"] = [account for account in accounts if self._shown.is_new(account["account"], account)]
        auctions = await views.auctions(_AUCTIONS) if auctioned else []
        message["auctions"] = [line for line in auctions if self._shown.is_new((line["kind"], line["at"]), line)]
        message["intervals"] = [interval for interval in found if interval is not None]
        self._shown.forget_before(services.clock.now())
        return _text(message)

    async def _beat(self) -> None:
        clock = self._services.clock
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            text = _text({"type": "heartbeat", "sequence": self._services.ledger.sequence, "at": clock.now()})
            for client in self._clients:
                client.offer(None, text)

    def _event(self, published: Published) -> str:
        """Return an event as it is sent; a trade also names its parties."""
        data, event = event_data(published.event), published.event
        if isinstance(event, Traded):
            owner = self._services.views.owner
            data |= {"buyer": owner(event.buy), "seller": owner(event.sell)}
        return _text(
            {
                "type": "event",
                "sequence": published.sequence,
                "index": published.index,
                "at": published.at,
                "event": event_name(event),
                "data": data,
            }
        )

    def _end_all(self, code: WSCloseCode) -> None:
        for client in self._clients:
            client.end(code)


@dataclass(slots=True)
class _Shown:
    """The rows as they were last sent, by account, by delivery start, or by an auction's kind and time."""

    rows: dict[str | int | tuple[str, int], object] = field(default_factory=dict)

    def is_new(self, key: str | int | tuple[str, int], row: object) -> bool:
        """Tell whether the row differs from the last one; remember it."""
        if self.rows.get(key) == row:
            return False
        self.rows[key] = row
        return True

    def forget_before(self, now: int) -> None:
        """Drop the books of intervals that have begun, and the auctions but the newest."""
        for key in [key for key in self.rows if isinstance(key, int) and key < now]:
            del self.rows[key]
        auctions = [key for key in self.rows if isinstance(key, tuple)]
        for old in auctions[: -4 * _AUCTIONS]:
            del self.rows[old]


def stream_handler(hub: Hub, config: HttpConfig) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler of ``GET /api/v1/stream``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        _check_origin(request, config)
        start = read_parameters(request, StreamStart)
        with hub.attach(address_of(request, config)) as client:
            socket = web.WebSocketResponse(timeout=_CLOSE_S, max_msg_size=4096, compress=False)
            if not socket.can_prepare(request):
                raise Refusal("malformed", "This is a WebSocket: send an Upgrade request.")
            await socket.prepare(request)
            await _serve(socket, client, hub, start.since)
        return socket

    return handle


async def _serve(socket: web.WebSocketResponse, client: Client, hub: Hub, since: int | None) -> None:
    """Write until the client leaves, is too slow, or the coordinator stops."""
    tasks = [
        asyncio.ensure_future(work) for work in (_write(socket, client, hub, since), _read(socket), client.ended.wait())
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for fault in results:
        if isinstance(fault, Exception):
            _log.error("a stream failed", exc_info=fault)
            client.end(WSCloseCode.INTERNAL_ERROR)
    reason = b"too slow: resume with ?since" if client.code is SLOW_CLIENT else b""
    await socket.close(code=client.code, message=reason, drain=False)


async def _write(socket: web.WebSocketResponse, client: Client, hub: Hub, since: int | None) -> None:
    try:
        last, texts = await hub.opening(since)
        for text in texts:
            await socket.send_str(text)
        while True:
            sequence, text = await client.queue.get()
            if sequence is None or sequence > last:
                await socket.send_str(text)
    except ConnectionError:
        client.end(WSCloseCode.OK)  # it has gone
    except Refusal:
        client.end(SLOW_CLIENT)  # the ledger has too many questions


async def _read(socket: web.WebSocketResponse) -> None:
    """Take what the client sends: pings and the closing are answered within, all else is dropped."""
    async for _ in socket:
        pass


def _check_origin(request: web.Request, config: HttpConfig) -> None:
    """A browser may listen from our own page, or from where the operator allows it."""
    origin = request.headers.get("Origin")
    if origin is None or origin in config.allowed_origins or _host(origin) == request.host:
        return
    raise Refusal("origin_refused", "This web page may not open the stream: the operator can allow its origin.")


def _host(origin: str) -> str | None:
    """Return host and port of an origin, ``None`` when it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
