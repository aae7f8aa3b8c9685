"""Prices from outside, as the contract ``PriceFeeds`` lets them pass; each comes with its age, or why there is none."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..clock import Clock
from .abi import contract, describe_revert
from .contracts import hexed
from .rpc import NodeUnreachable, Rpc, RpcError, data

_LOG = logging.getLogger(__name__)
_ID_BYTES = 32
_CLOCKS_APART_S = 60
_READ_EVERY_S = 60
_PARTICULARS = re.compile(r"\(.*|[0-9]+")


@dataclass(frozen=True, slots=True)
class FeedPrice:
    """What a feed says. Refused, it has no value; ``refused`` is the contract's error, or our own doubt in words.

    ``value_micro`` is in 1e-6 of the quote currency, ``updated_at`` in UTC seconds, ``age_s`` by our own clock.
    """

    feed: str
    value_micro: int | None
    updated_at: int | None
    age_s: int | None
    refused: str | None


def feed_id(name: str) -> bytes:
    """Return the contract's id of a feed, e.g. of ``EUR/USD``. Raises ``ValueError``."""
    if not name.isascii() or not name.isprintable() or not 0 < len(name) <= _ID_BYTES:
        raise ValueError(f"{name!r} is no feed: expected 1 to {_ID_BYTES} printable ASCII characters, e.g. EUR/USD")
    return name.encode("ascii").ljust(_ID_BYTES, b"\0")


async def read_feeds(rpc: Rpc, price_feeds: str, feeds: Sequence[str], now: int) -> list[FeedPrice]:
    """Return what the feeds say, in their order, without ever failing for a feed's sake.

    The contract measures an answer's age by its newest block. A node that is stuck would keep a price young
    for ever, so ``now`` (UTC seconds) measures again, against the same heartbeat.

    Raises ``ValueError`` for a name that no feed can have, ``NodeUnreachable``, and ``RpcError`` when the
    address is no ``PriceFeeds``.
    """
    ids = [feed_id(name) for name in feeds]
    calls = [_call(price_feeds, function, i) for i in ids for function in ("tryRead", "feedOf")]
    outputs = iter(await rpc.batch(calls))
    prices = []
    for name, output, settings in zip(feeds, outputs, outputs, strict=True):
        tried = _result(price_feeds, "tryRead", output)
        (heartbeat_s,) = (s[1] for s in _result(price_feeds, "feedOf", settings))
        prices.append(_price(name, tried, heartbeat_s, now))
    return prices


class FeedReader:
    """Reads feeds once a minute, over a connection of its own, and keeps what they said last.

    A feed that could not be read is refused until it can. A refused one tells the second of the newest answer
    that was seen, so that its age grows; the answer itself is no price any more.
    """

    def __init__(self, url: str, price_feeds: str, feeds: Sequence[str], clock: Clock) -> None:
        self._url = url
        self._price_feeds = price_feeds
        self._clock = clock
        self._prices = {feed: FeedPrice(feed, None, None, None, "not read yet") for feed in feeds}
        self._told: dict[str, str | None] = {}

    def prices(self) -> list[FeedPrice]:
        """Return what the feeds said last, in their order, with their ages now."""
        return [self.price(feed) for feed in self._prices]

    def price(self, feed: str) -> FeedPrice:
        """Return what one of the feeds said last, with its age now."""
        price = self._prices[feed]
        if price.updated_at is None:
            return price
        return replace(price, age_s=max(0, self._clock.now() - price.updated_at))

    async def run(self) -> None:
        """Read until the task is cancelled; a failure is logged when it begins and when it is over."""
        async with Rpc(self._url) as rpc:
            while True:
                await self._read(rpc)
                await self._clock.sleep_until(self._clock.now() + _READ_EVERY_S)

    async def _read(self, rpc: Rpc) -> None:
        try:
            read = await read_feeds(rpc, self._price_feeds, list(self._prices), self._clock.now())
        except (NodeUnreachable, RpcError, ValueError) as error:
            self._tell("the node", str(error))
            why = "the chain's node gave no usable answer"
            self._prices |= {p.feed: replace(p, value_micro=None, refused=why) for p in self._prices.values()}
            return
        self._tell("the node", None)
        for price in read:
            updated_at = self._prices[price.feed].updated_at if price.updated_at is None else price.updated_at
            self._prices[price.feed] = replace(price, updated_at=updated_at)
            self._tell(price.feed, price.refused)

    def _tell(self, who: str, refused: str | None) -> None:
        """Log what has changed; numbers and an error's arguments may differ each time and are no change."""
        kind = None if refused is None else _PARTICULARS.sub("", refused)
        if kind == self._told.get(who):
            return
        self._told[who] = kind
        if refused is None:
            _LOG.info("price feeds: %s answers again", who)
        else:
            _LOG.warning("price feeds: %s: %s", who, refused)


def _call(price_feeds: str, function: str, feed: bytes) -> tuple[str, Sequence[object]]:
    calldata = contract("PriceFeeds").encode(function, feed)
    return "eth_call", ({"to": price_feeds, "data": hexed(calldata)}, "latest")


def _result(price_feeds: str, function: str, output: object) -> tuple[Any, ...]:
    if isinstance(output, RpcError):
        raise output
    values = contract("PriceFeeds").result(function, data(output))
    if values is None:
        raise RpcError("eth_call", 0, f"{price_feeds} is no PriceFeeds")
    return values


def _price(name: str, tried: tuple[Any, ...], heartbeat_s: int, now: int) -> FeedPrice:
    """Judge what ``tryRead`` returned: whether there is a value, the value, its second, the error."""
    passed, value_micro, updated_at, problem = tried
    if not passed:
        why = describe_revert(problem) if problem else "the node gave the call too little gas"
        return FeedPrice(name, None, None, None, why)
    age_s = max(0, now - updated_at)
    if age_s > heartbeat_s + _CLOCKS_APART_S:
        why = f"{age_s} s old by this clock, at most {heartbeat_s} s count: the node is behind, or this clock is wrong"
        return FeedPrice(name, None, updated_at, age_s, why)
    return FeedPrice(name, value_micro, updated_at, age_s, None)
