"""The cards in a real Home Assistant, in Chromium: drawn, accessible, pickable, set up by form, and obeyed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from coordinator.market.commands import ObserveSignal
from coordinator.protocol.order_terms import Signal
from coordinator.simulation.smart_home import DASHBOARD, missing_packages
from tests.e2e.browser import chromium
from tests.e2e.card_home import CardHome, card_home

SCRIPT = Path(__file__).with_name("cards.mjs")
PLAN, TRADING = "energy-trade-plan-card", "energy-trade-trading-card"
pytestmark = [pytest.mark.timeout(420), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CardHome]:
    """A home that sells some of its surplus to a neighbour."""
    if missing := missing_packages():
        pytest.skip(f"needs {', '.join(missing)}")
    chromium()
    async with card_home(tmp_path_factory.mktemp("cards")) as found:
        await found.trades()
        yield found


async def look(home: CardHome, folder: Path, *shots: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Let Chromium look; return by name what was found: cards (tag, text, wide), violations, errors."""
    node = shutil.which("node", path=f"{Path(__file__).parents[2] / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if node is None:
        pytest.skip("needs node")
    api = home.hass.api
    tokens = {"access_token": api.token, "refresh_token": api.refresh_token, "token_type": "Bearer", "expires_in": 1800}
    path = f"{home.hass.url}/{DASHBOARD}/home-1"
    job = {
        "chromium": chromium(),
        "folder": str(folder),
        "hass": {"url": home.hass.url, "tokens": tokens},
        "shots": [{"url": path, **shot} for shot in shots],
    }
    file = folder / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, errors.decode()
    return {found["name"]: found for found in json.loads(output)}


async def test_the_dashboard_shows_every_card_light_dark_and_on_a_phone_without_violations(
    home: CardHome, tmp_path: Path
) -> None:
    found = await look(
        home,
        tmp_path,
        {"name": "light"},
        {"name": "dark", "scheme": "dark", "language": "de"},
        {"name": "phone", "width": 390, "height": 2200},
        {"name": "phone-dark", "width": 390, "height": 2200, "scheme": "dark", "language": "de"},
    )
    for name, seen in found.items():
        assert [card["tag"].split("-")[2] for card in seen["cards"]] == ["trading", "plan", "flow"], name
        assert seen["violations"] == [], name
        assert [card["wide"] for card in seen["cards"]] == [[], [], []], name
        assert [error for error in seen["errors"] if "energy" in error] == [], name
    trading, plan, flow = (card["text"] for card in found["light"]["cards"])
    assert "Live · Elm Street" in trading
    assert "less than your supplier takes" in trading
    assert "Sells" in trading, "the rule is in the integration's words"
    assert "▲" in plan
    assert "your home gave" in flow
    german = found["dark"]["cards"][0]["text"]
    assert "weniger, als der Versorger nimmt" in german
    assert "Überschuss verkaufen" in german


async def test_an_interval_is_held_by_keyboard_and_put_back(home: CardHome, tmp_path: Path) -> None:
    cell, button = f"{PLAN} .cells li:nth-child(4) button", f"{PLAN} dialog .actions button"
    ask = [["focus", cell], ["press", "Enter"], ["wait", button]]
    seen = await look(
        home,
        tmp_path,
        {"name": "held", "steps": [*ask, ["press", "Enter"], ["gone", button], ["wait", f"{PLAN} [data-action=held]"]]},
    )
    assert "‖ held" in seen["held"]["cards"][1]["text"]
    assert seen["held"]["violations"] == []
    held = await home.until("held", lambda found: any(row["held"] for row in found["intervals"]))
    (row,) = [row for row in held["intervals"] if row["held"]]
    assert row["plan"] is None or row["plan"]["side"] is None
    held_cell = f"{PLAN} [data-action=held]"
    await look(
        home, tmp_path, {"name": "back", "steps": [["click", held_cell], ["click", button], ["gone", held_cell]]}
    )
    await home.until("released", lambda found: not any(row["held"] for row in found["intervals"]))


async def test_the_switch_on_the_card_stops_and_starts_trading(home: CardHome, tmp_path: Path) -> None:
    switch = f"{TRADING} [role=switch]"
    off = ["wait", f"{switch}[aria-checked=false]"]
    await look(home, tmp_path, {"name": "off", "steps": [["click", switch], off]})
    assert (await home.snapshot())["switches"]["trading"] is False
    await look(
        home, tmp_path, {"name": "on", "steps": [off, ["click", switch], ["wait", f"{switch}[aria-checked=true]"]]}
    )
    assert (await home.snapshot())["switches"]["trading"] is True


async def test_the_card_picker_knows_the_cards_and_suggests_them_and_a_form_sets_them_up(
    home: CardHome, tmp_path: Path
) -> None:
    config = {"views": [{"type": "sections", "sections": [{"type": "grid", "cards": [{"type": f"custom:{TRADING}"}]}]}]}
    await home.hass.api.command("lovelace/dashboards/create", url_path="card-try", title="Try", mode="storage")
    await home.hass.api.command("lovelace/config/save", url_path="card-try", config=config)
    url = f"{home.hass.url}/card-try/0?edit=1"
    add = ["click", "hui-grid-section .add"]
    price = "hui-dialog-create-card >> text=Market price"
    suggested = f"hui-dialog-create-card {TRADING} .head"
    steps = {
        "form": [["click", "hui-card-edit-mode"], ["wait", "text=Which home to show"]],
        "picker": [add, ["click", "text=Browse all cards"], ["wait", "text=Energy Trade: Community flow"]],
        "suggested": [add, ["type", "Search entities", "market_price"], ["click", price], ["wait", suggested]],
    }
    found = await look(home, tmp_path, *({"name": name, "url": url, "steps": todo} for name, todo in steps.items()))
    assert [len(found[name]["cards"]) for name in ("form", "suggested")] == [2, 2], "the card and its preview"
    assert len(found["picker"]["cards"]) == 4, "the card, and each in the picker"


async def test_an_emergency_is_on_every_card_and_an_outage_is_said(home: CardHome, tmp_path: Path) -> None:
    community = home.community
    await community.ledger.submit(ObserveSignal(Signal.GRID_STATE, 0, 2, community.clock.now()))
    await home.until("an emergency", lambda found: found["grid"]["state"] == "emergency")
    seen = await look(home, tmp_path, {"name": "emergency", "width": 390, "scheme": "dark", "height": 2200})
    assert ["Grid emergency since" in card["text"] for card in seen["emergency"]["cards"]] == [True] * 3
    assert seen["emergency"]["violations"] == []
    await community.ledger.submit(ObserveSignal(Signal.GRID_STATE, 0, 0, community.clock.now() + 1))
    await home.until("a calm grid", lambda found: found["grid"]["state"] == "normal")
    await community.stop()
    await home.until("an outage", lambda found: found["connection"] == "offline")
    seen = await look(home, tmp_path, {"name": "outage"})
    assert ["The market does not answer" in card["text"] for card in seen["outage"]["cards"]] == [True] * 3
    assert seen["outage"]["violations"] == []
