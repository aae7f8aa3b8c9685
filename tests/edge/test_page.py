"""The live page: whole, without anything inline, and at home in a real browser under its own policy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.edge.routes import API
from coordinator.protocol.messages import Side
from tests.e2e.browser import take
from tests.edge.support import CONFIG, DELIVERY, Door, Home, open_door, place, settle_in


async def test_the_page_refers_only_to_what_is_served(door: Door) -> None:
    text = await _text(door, "/")
    found = set(re.findall(r'(?:src|href)="(/[^"]+)"', text))
    assert "/static/page.js" in found
    for path in found:
        async with door.client.get(path) as response:
            assert response.status == 200, path


async def test_nothing_is_inline_and_nothing_comes_from_elsewhere(door: Door) -> None:
    page = await _text(door, "/")
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|https?://", page)
    for name in ("page.js", "chart.js", "depth.js", "dom.js", "format.js"):
        script = await _text(door, f"/static/{name}")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script)


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/../http.py", "/static/%2e%2e/http.py"])
async def test_nothing_else_is_served(door: Door, path: str) -> None:
    async with door.client.get(path) as response:
        assert response.status == 404


@pytest.mark.timeout(120)
async def test_a_browser_shows_it_without_complaint(door: Door, tmp_path: Path) -> None:
    """Light, dark and narrow: no violation of the policy, no error, no barrier that axe knows."""
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    await place(door, buyer, buyer.order(Side.BUY, 200, 150_000))
    url = str(door.client.make_url("/"))
    common = {"url": url, "wait": "#home-rows td", "pause_ms": 300, "axe": True, "full": True}
    shots = [
        {**common, "name": "light"},
        {**common, "name": "dark", "scheme": "dark"},
        {**common, "name": "narrow", "width": 390, "height": 844},
    ]
    for shot in (await take(tmp_path, shots)).values():
        assert (shot["violations"], shot["errors"]) == ([], []), shot["name"]
        assert "2 homes are here" in shot["text"]
        assert "Market open" in shot["text"]
        assert "Live" in shot["text"]


@pytest.mark.timeout(120)
async def test_a_browser_shows_where_demand_meets_supply_and_the_last_auctions(tmp_path: Path) -> None:
    """An interval whose auction is to come is drawn, one whose auction was held is listed with its outcome."""
    config = replace(
        CONFIG, market=replace(CONFIG.market, continuous=False, session_every_s=0, community_fee_share_ppm=25_000)
    )
    async with open_door(tmp_path / "door", config=config) as door:
        seller, buyer = Home(), Home(salt=1_000)
        for home in (seller, buyer):
            await settle_in(door, home)
        for start, wh in ((DELIVERY, 700), (DELIVERY + 300, 900)):
            await place(door, seller, seller.order(Side.SELL, wh, 120_000, delivery_start=start))
            await place(door, buyer, buyer.order(Side.BUY, wh, 205_000, delivery_start=start))
        door.clock.at = DELIVERY - CONFIG.market.gate_s
        common = {"url": str(door.client.make_url("/")), "wait": "#auction-rows a", "pause_ms": 300, "axe": True}
        shots = [
            {**common, "name": "wide"},
            {**common, "name": "small", "scheme": "dark", "width": 390, "height": 844},
        ]
        for shot in (await take(tmp_path, shots)).values():
            assert (shot["violations"], shot["errors"]) == ([], []), shot["name"]
            assert "Demand meets supply at 0.160 EUR/kWh: 900 Wh would trade" in shot["text"]
            assert "0.160 · 900 Wh" in shot["text"]
            assert "Buyers pay the community 2.5 % of the price on top." in shot["text"]
            assert "Gate of 09:15–09:20\n0.160\n700 Wh" in shot["text"]
            assert "cleared\ncertificate" in shot["text"]


async def test_the_page_asks_only_for_what_there_is(door: Door) -> None:
    script = await _text(door, "/static/page.js")
    assert f"{API}/stream" in script
    for path in re.findall(r'fetch\("([^"]+)"', script):
        async with door.client.get(path) as response:
            assert response.status == 200


async def _text(door: Door, path: str) -> str:
    async with door.client.get(path) as response:
        return await response.text()
