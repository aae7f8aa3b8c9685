"""A running coordinator reads outside prices on a real chain: set by the admin, gone stale, without a node."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.devchain import DevChain
from coordinator.chain.feeds import feed_id
from coordinator.chain.rpc import Rpc, quantity
from coordinator.config import Config
from tests.chain.conftest import transact
from tests.chain.test_feeds import ETHER, EURO, HEARTBEAT_S, telling
from tests.test_app import Street, settings, street

ADMIN = "0x" + "ad" * 20
FEEDS = {"EUR/USD": EURO, "ETH/MILLI": ETHER}


def with_feeds(config: Config) -> Config:
    return replace(config, contracts=replace(config.contracts, admin=ADMIN, price_feeds=tuple(FEEDS)))


async def set_feeds(here: Street) -> None:
    """Let the admin name both aggregators."""
    place = here.coordinator.deployment.addresses.price_feeds
    async with Rpc(here.coordinator.rpc_url) as rpc:
        for name, aggregator in FEEDS.items():
            await tell(rpc, aggregator)
            feed = (aggregator, HEARTBEAT_S, 500_000, 2_000_000)
            await transact(rpc, ADMIN, place, contract("PriceFeeds").encode("setFeed", feed_id(name), feed))


async def tell(rpc: Rpc, aggregator: str) -> None:
    """Let an aggregator tell an answer of now, as the chain has it."""
    at = quantity((await rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"])
    await rpc.call("anvil_setCode", aggregator, hexed(telling(108_250_000, at, 8)))


async def until(here: Street, euro: str | None, ether: str | None) -> list[dict[str, Any]]:
    """Wait until the feeds pass (``None``), or are refused with these words."""

    def holds(found: Any) -> bool:
        said = [feed["refused"] and feed["refused"].split("(")[0] for feed in found["feeds"]]
        return said == [euro, ether]

    feeds: list[dict[str, Any]] = (await here.until("/api/v1/feeds", holds))["feeds"]
    assert [feed["feed"] for feed in feeds] == list(FEEDS)
    return feeds


async def measured(here: Street) -> dict[str, str]:
    async with here.session.get(f"{here.coordinator.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("energy_trade_feed_"))


async def test_feeds_are_read_each_minute_and_one_that_goes_stale_is_refused(tmp_path: Path) -> None:
    async with street(with_feeds(settings(tmp_path))) as here:
        await until(here, "FeedUnknown", "FeedUnknown")
        assert (await measured(here))['energy_trade_feed_age_seconds{feed="ETH/MILLI"}'] == "NaN"
        await set_feeds(here)
        for feed in (seen := await until(here, None, None)):
            assert feed["value_micro"] == 1_082_500
            assert feed["age_s"] == max(0, here.clock.now() - feed["updated_at"])
        assert await measured(here) == {
            'energy_trade_feed_age_seconds{feed="EUR/USD"}': "0.0",
            'energy_trade_feed_age_seconds{feed="ETH/MILLI"}': "0.0",
            'energy_trade_feed_ok{feed="EUR/USD"}': "1.0",
            'energy_trade_feed_ok{feed="ETH/MILLI"}': "1.0",
        }
        async with Rpc(here.coordinator.rpc_url) as rpc:
            await rpc.call("evm_increaseTime", HEARTBEAT_S + 60)
            await rpc.call("evm_mine")
            await tell(rpc, EURO)
        euro, ether = await until(here, None, "FeedStale")
        assert (euro["value_micro"], ether["value_micro"]) == (1_082_500, None)
        assert euro["updated_at"] > ether["updated_at"] == seen[1]["updated_at"], "the newest answer's second stays"
        now = await measured(here)
        assert now['energy_trade_feed_ok{feed="EUR/USD"}'] == "1.0"
        assert now['energy_trade_feed_ok{feed="ETH/MILLI"}'] == "0.0"
        assert now['energy_trade_feed_age_seconds{feed="ETH/MILLI"}'] == "0.0", "this clock is a day behind the chain"
        assert (await here.get("/readyz"))["status"] == "ready"


async def test_without_its_node_no_price_counts_and_trading_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node, gone = tmp_path / "node", "the chain's node gave no usable answer"
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(DevChain(node))
        port = int(chain.url.rpartition(":")[2])
        here = await stack.enter_async_context(street(with_feeds(settings(tmp_path, rpc_url=chain.url))))
        await set_feeds(here)
        before = await until(here, None, None)
        await chain.__aexit__(None, None, None)
        for old, feed in zip(before, await until(here, gone, gone), strict=True):
            assert (feed["value_micro"], feed["updated_at"]) == (None, old["updated_at"])
        asked = here.clock.now()
        await here.clock.sleep_until(asked + 200)
        assert caplog.text.count("price feeds: the node:") == 1, "once, however often it is asked"
        assert (await here.get("/readyz"))["trading"] == "open"
        await stack.enter_async_context(DevChain(node, port=port))
        await until(here, None, None)
        assert caplog.text.count("price feeds: the node:") == 1


async def test_without_feeds_none_are_told(tmp_path: Path) -> None:
    async with street(settings(tmp_path)) as here:
        assert await here.get("/api/v1/feeds") == {"feeds": []}
        assert await measured(here) == {}
