"""The depth of a book: cut where nothing would trade, by node, and where demand meets supply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.config import LineConfig, NetworkConfig, PlaceConfig
from coordinator.edge.shapes import crossing
from coordinator.market.rules import ClearingRule, Fees, MarketRules
from coordinator.market.views import Depth, DepthLevel
from coordinator.protocol.messages import Side
from tests.edge.support import CONFIG, DELIVERY, Door, Home, open_door, place, settle_in

NORTH, SOUTH = "north", "south"


@asynccontextmanager
async def street(folder: Path, seller: Home, buyer: Home) -> AsyncIterator[Door]:
    """Two nodes with a line between them: the seller in the north, the buyer in the south."""
    network = NetworkConfig(
        lines=(LineConfig(source=NORTH, target=SOUTH, limit_w=6_000, fee_micro_per_kwh=5_000),),
        places=(
            PlaceConfig(account=seller.address, node=NORTH, source="solar"),
            PlaceConfig(account=buyer.address, node=SOUTH),
        ),
    )
    config = replace(CONFIG, market=replace(CONFIG.market, continuous=False), network=network)
    async with open_door(folder, config=config) as door:
        for home in (seller, buyer):
            await settle_in(door, home)
        yield door


async def test_each_node_has_its_depth_and_all_together_have_no_crossing(tmp_path: Path) -> None:
    seller, buyer = Home(), Home(salt=1_000)
    async with street(tmp_path, seller, buyer) as door:
        await place(door, seller, seller.order(Side.SELL, 500, 120_000))
        await place(door, seller, seller.order(Side.SELL, 100, 180_000))
        await place(door, buyer, buyer.order(Side.BUY, 400, 200_000))
        whole = (await door.ask("GET", f"/book/{DELIVERY}")).body
        assert (whole["node"], whole["crossing"]) == (None, None)
        assert whole["asks"] == [[120_000, 500, 1], [180_000, 100, 1]]
        assert whole["bids"] == [[200_000, 400, 1]]
        north = (await door.ask("GET", f"/book/{DELIVERY}?node={NORTH}")).body
        south = (await door.ask("GET", f"/book/{DELIVERY}?node={SOUTH}")).body
        assert (north["asks"], north["bids"]) == (whole["asks"], [])
        assert (south["asks"], south["bids"]) == ([], whole["bids"])
        assert (await door.ask("GET", f"/book/{DELIVERY}?node=east")).code == "not_found"
        places = [(await door.ask("GET", f"/accounts/{home.address}")).body for home in (seller, buyer)]
        assert [(account["node"], account["source"]) for account in places] == [(NORTH, "solar"), (SOUTH, "")]
        (line,) = (await door.ask("GET", "/market")).body["lines"]
        assert line == {"source": NORTH, "target": SOUTH, "limit_w": 6_000, "fee_micro_per_kwh": 5_000}


async def test_levels_end_some_beyond_what_would_trade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.edge.shapes.BOOK_LEVELS", 2)
    config = replace(CONFIG, market=replace(CONFIG.market, continuous=False))
    async with open_door(tmp_path, config=config) as door:
        seller, buyer = Home(), Home(salt=1_000)
        for home in (seller, buyer):
            await settle_in(door, home)
        for price in range(100_000, 200_000, 10_000):
            await place(door, seller, seller.order(Side.SELL, 100, price))
        for wh in (400, 50):
            await place(door, buyer, buyer.order(Side.BUY, wh, None))
        book = (await door.ask("GET", f"/book/{DELIVERY}")).body
    assert book["crossing"]["volume_wh"] == 450
    assert book["bids"] == [[None, 450, 2]]
    assert [level[0] for level in book["asks"]] == [*range(100_000, 150_000, 10_000), 150_000, 160_000]


def rules(**changes: Any) -> MarketRules:
    return MarketRules("m", 300, 60, 3_600, 0, 400_000, 320_000, 80_000, 10_000, 20, 10, **changes)


def depth_of(bids: list[tuple[int, int]], asks: list[tuple[int, int]], buy_wh: int = 0, sell_wh: int = 0) -> Depth:
    levels = [tuple(DepthLevel(price, wh, 1) for price, wh in side) for side in (bids, asks)]
    return Depth(levels[0], levels[1], buy_wh, sell_wh)


def test_nothing_meets_when_the_best_bid_is_below_the_best_ask() -> None:
    assert crossing(depth_of([(100, 5)], [(101, 5)]), rules()) is None
    assert crossing(depth_of([(100, 5)], []), rules()) is None
    assert crossing(depth_of([], [], buy_wh=5), rules()) is None


def test_demand_meets_supply_in_the_middle_of_what_supports_the_volume() -> None:
    found = crossing(depth_of([(300, 10), (200, 10), (100, 10)], [(50, 15), (150, 10)]), rules())
    assert found == {"price_micro_per_kwh": 150, "price_range": (150, 150), "volume_wh": 20}
    found = crossing(depth_of([(300, 10), (200, 10)], [(50, 15), (150, 5)]), rules())
    assert found == {"price_micro_per_kwh": 175, "price_range": (150, 200), "volume_wh": 20}


def test_the_markets_own_price_rule_counts_and_another_mechanism_has_none() -> None:
    book = depth_of([(300, 10)], [(100, 10)])
    nearest = ClearingRule(price="reference", reference_price=120)
    assert crossing(book, rules(rule=nearest)) == {
        "price_micro_per_kwh": 100,
        "price_range": (100, 300),
        "volume_wh": 10,
    }
    middle = {"price_micro_per_kwh": 200, "price_range": (100, 300), "volume_wh": 10}
    assert crossing(book, rules(rule=ClearingRule(mechanism="pay_as_bid"))) == middle


def test_two_market_orders_meet_within_what_a_buyer_may_pay_in_all() -> None:
    found = crossing(depth_of([], [], buy_wh=5, sell_wh=5), rules(fees=Fees(community_micro_per_kwh=100_000)))
    assert found is not None
    assert (found["price_micro_per_kwh"], found["volume_wh"]) == (150_000, 5)
