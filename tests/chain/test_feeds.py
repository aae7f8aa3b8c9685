"""Prices through the contract on a real chain; the aggregators are a few bytes of code that tell a round."""

from __future__ import annotations

import asyncio

import pytest
from eth_abi.abi import encode

from coordinator.chain.abi import contract
from coordinator.chain.contracts import hexed
from coordinator.chain.feeds import FeedPrice, FeedReader, feed_id, read_feeds
from coordinator.chain.rpc import Rpc, RpcError, quantity
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from tests.edge.support import HandClock

NOBODY = "0x" + "00" * 20
EURO, ETHER, SEQUENCER = ("0x" + f"{n:02x}" * 20 for n in (0xE1, 0xE2, 0x5E))
HEARTBEAT_S = 3_600


class Market:
    """A ``PriceFeeds`` with its authority, and aggregators that say what a test wants."""

    def __init__(self, rpc: Rpc, admin: str) -> None:
        self.rpc = rpc
        self.admin = admin
        self.address = ""

    async def open(self, sequencer: str = NOBODY) -> None:
        await self.rpc.call("anvil_impersonateAccount", self.admin)
        authority = await self._deploy("Authority", self.admin)
        self.address = await self._deploy("PriceFeeds", authority, sequencer, 60)

    async def set_feed(self, name: str, aggregator: str) -> None:
        feed = (aggregator, HEARTBEAT_S, 500_000, 2_000_000)
        await self._send(
            {"to": self.address, "data": hexed(contract("PriceFeeds").encode("setFeed", feed_id(name), feed))}
        )

    async def tell(self, aggregator: str, answer: int, *, age_s: int = 0, decimals: int = 8) -> int:
        """Let an aggregator tell an answer of some age; return its second."""
        at = await self.now() - age_s
        await self.rpc.call("anvil_setCode", aggregator, hexed(telling(answer, at, decimals)))
        return at

    async def now(self) -> int:
        return quantity((await self.rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"])

    async def read(self, *names: str) -> list[FeedPrice]:
        return await read_feeds(self.rpc, self.address, names, await self.now())

    async def _deploy(self, name: str, *values: object) -> str:
        made: str = (await self._send({"data": hexed(contract(name).creation(*values))}))["contractAddress"]
        return made

    async def _send(self, transaction: dict[str, str]) -> dict[str, str]:
        sent = await self.rpc.call("eth_sendTransaction", {"from": self.admin, "gas": hex(5_000_000)} | transaction)
        receipt: dict[str, str] | None = None
        async with asyncio.timeout(10):
            while receipt is None:
                receipt = await self.rpc.call("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
        return receipt


def telling(answer: int, at: int, decimals: int) -> bytes:
    """Return the code of an aggregator: it answers two functions, and stops at any other."""
    decimals_of, round_of = (keccak256(name)[:4].hex() for name in (b"decimals()", b"latestRoundData()"))
    parts = [
        "5f3560e01c",  # the selector: PUSH0 CALLDATALOAD PUSH1 e0 SHR
        f"8063{decimals_of}14601a57",  # DUP1 PUSH4 EQ PUSH1 JUMPI
        f"8063{round_of}14602357",
        "00",
        f"5b60{decimals:02x}5f5260205ff3",  # 1a: return the number
        "5b60a0602e5f3960a05ff3",  # 23: return the 160 bytes that follow the code
    ]
    told = encode(["uint80", "int256", "uint256", "uint256", "uint80"], [1, answer, at, at, 1])
    return bytes.fromhex("".join(parts)) + told


@pytest.fixture
async def market(rpc: Rpc, operator: AccountKey) -> Market:
    market = Market(rpc, operator.address)
    await market.open()
    at = await market.tell(EURO, 108_250_000)
    await market.set_feed("EUR/USD", EURO)
    assert await market.read("EUR/USD") == [FeedPrice("EUR/USD", 1_082_500, at, await market.now() - at, None)]
    return market


async def test_feeds_come_in_their_order_with_value_and_age(market: Market) -> None:
    euro_at = await market.tell(EURO, 110_000_000, age_s=100)
    ether_at = await market.tell(ETHER, 1_234_567 * 10**12, age_s=7, decimals=18)
    await market.set_feed("ETH/MILLI", ETHER)
    ether, euro = await market.read("ETH/MILLI", "EUR/USD")
    assert (ether.feed, ether.value_micro, ether.updated_at, ether.refused) == ("ETH/MILLI", 1_234_567, ether_at, None)
    assert (euro.feed, euro.value_micro, euro.updated_at, euro.refused) == ("EUR/USD", 1_100_000, euro_at, None)
    assert euro.age_s is not None
    assert 100 <= euro.age_s < 160


async def test_one_refused_feed_keeps_no_other_back(market: Market) -> None:
    unknown, euro = await market.read("XYZ/USD", "EUR/USD")
    assert euro.value_micro == 1_082_500
    assert (unknown.value_micro, unknown.updated_at, unknown.age_s) == (None, None, None)
    assert unknown.refused is not None
    assert unknown.refused.startswith("FeedUnknown(")


@pytest.mark.parametrize(
    ("answer", "age_s", "decimals", "error"),
    [
        (0, 0, 8, "FeedNotPositive"),
        (-1, 0, 8, "FeedNotPositive"),
        (108_250_000, HEARTBEAT_S + 60, 8, "FeedStale"),
        (108_250_000, -600, 8, "FeedFromFuture"),
        (50_000_000, 0, 8, "FeedOutOfBounds"),
        (200_000_000, 0, 8, "FeedOutOfBounds"),
        (108_250_000, 0, 37, "FeedDecimalsInvalid"),
    ],
)
async def test_refusals_are_named(market: Market, answer: int, age_s: int, decimals: int, error: str) -> None:
    await market.tell(EURO, answer, age_s=age_s, decimals=decimals)
    (price,) = await market.read("EUR/USD")
    assert price.value_micro is None
    assert price.refused is not None
    assert price.refused.startswith(f"{error}(")


async def test_an_aggregator_that_vanished_is_refused(market: Market) -> None:
    await market.rpc.call("anvil_setCode", EURO, "0x")
    (price,) = await market.read("EUR/USD")
    assert price.value_micro is None
    assert price.refused is not None
    assert "FeedUnreadable" in price.refused
    assert EURO in price.refused


async def test_no_price_counts_while_the_sequencer_is_down(rpc: Rpc, operator: AccountKey) -> None:
    market = Market(rpc, operator.address)
    await rpc.call("anvil_setCode", SEQUENCER, "0x00")
    await market.open(SEQUENCER)
    await market.tell(EURO, 108_250_000)
    await market.set_feed("EUR/USD", EURO)
    said = []
    for answer, age_s in ((1, 10), (0, 10), (0, 200)):
        await market.tell(SEQUENCER, answer, age_s=age_s, decimals=0)
        (price,) = await market.read("EUR/USD")
        said.append(price.refused and price.refused.split("(")[0])
    assert said == ["SequencerDown", "SequencerGracePeriod", None]


async def test_a_node_that_is_behind_keeps_no_price_young(market: Market) -> None:
    now = await market.now()
    (price,) = await read_feeds(market.rpc, market.address, ["EUR/USD"], now + HEARTBEAT_S)
    assert price.value_micro == 1_082_500, "old by the clock, but not too old"
    (price,) = await read_feeds(market.rpc, market.address, ["EUR/USD"], now + HEARTBEAT_S + 120)
    assert price.value_micro is None
    assert price.age_s is not None
    assert price.age_s > HEARTBEAT_S
    assert price.refused is not None
    assert "the node is behind" in price.refused


async def test_a_clock_behind_the_node_gives_no_negative_age(market: Market) -> None:
    (price,) = await read_feeds(market.rpc, market.address, ["EUR/USD"], 0)
    assert (price.value_micro, price.age_s) == (1_082_500, 0)


async def test_a_reader_logs_each_change_once_as_ages_grow(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock(await market.now())
    reader = FeedReader(market.rpc.url, market.address, ["EUR/USD", "XYZ/USD"], clock)

    async def shown(words: str) -> FeedPrice:
        async with asyncio.timeout(10):
            while words not in str(reader.price("EUR/USD")):  # noqa: ASYNC110 - another task's doing
                await asyncio.sleep(0.01)
        return reader.price("EUR/USD")

    assert [price.refused for price in reader.prices()] == ["not read yet"] * 2
    reading = asyncio.create_task(reader.run())
    at = (await shown("value_micro=1082500")).updated_at
    assert at is not None
    clock.at = at + 50
    assert reader.price("EUR/USD").age_s == 50, "though nothing was read since"
    for age_s in (HEARTBEAT_S + 120, HEARTBEAT_S + 180):
        clock.at = at + age_s
        assert (await shown(f"refused='{age_s} s old")).value_micro is None
    assert caplog.text.count("price feeds: EUR/USD: ") == 1
    assert caplog.text.count("price feeds: XYZ/USD: FeedUnknown(") == 1
    clock.at = at + HEARTBEAT_S
    reading.cancel()
    reading = asyncio.create_task(reader.run())
    await shown("value_micro=1082500")
    assert caplog.text.count("price feeds: EUR/USD: ") == 1
    reading.cancel()


async def test_an_address_that_is_no_price_feeds_is_told(market: Market) -> None:
    for address in (NOBODY, EURO):
        with pytest.raises(RpcError, match="is no PriceFeeds"):
            await read_feeds(market.rpc, address, ["EUR/USD"], 0)


@pytest.mark.parametrize("name", ["", "E" * 33, "EUR/€", "EUR\n"])
def test_names_that_no_feed_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="is no feed"):
        feed_id(name)


def test_the_longest_name() -> None:
    assert feed_id("E" * 32) == b"E" * 32
    assert feed_id("EUR/USD") == b"EUR/USD" + bytes(25)
