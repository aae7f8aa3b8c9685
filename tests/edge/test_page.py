"""The live page: whole, without anything inline, and at home in a real browser under its own policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordinator.edge.routes import API
from coordinator.protocol.messages import Side
from tests.e2e.browser import take
from tests.edge.support import Door, Home, place, settle_in


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
    for name in ("page.js", "chart.js", "dom.js", "format.js"):
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


async def test_the_page_asks_only_for_what_there_is(door: Door) -> None:
    script = await _text(door, "/static/page.js")
    assert f"{API}/stream" in script
    for path in re.findall(r'fetch\("([^"]+)"', script):
        async with door.client.get(path) as response:
            assert response.status == 200


async def _text(door: Door, path: str) -> str:
    async with door.client.get(path) as response:
        return await response.text()
