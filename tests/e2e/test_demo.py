"""The whole community as a person starts it, with a real Home Assistant in it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from coordinator.chain.contracts import Addresses, read_balances
from coordinator.chain.rpc import Rpc
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.membership import SessionRequest
from coordinator.protocol.units import MICRO
from coordinator.simulation.hass_api import HassApi
from coordinator.simulation.hass_files import Login
from coordinator.simulation.smart_home import DASHBOARD, add_dashboard
from tests.e2e import browser
from tests.e2e.running_demo import RunningDemo

pytest.importorskip("homeassistant", reason="needs homeassistant")
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

HOME_NAME = "Demo home"
HOUR_LEFT_S = 3600 - 330
"""At the start the demo's clocks show five and a half minutes before a full hour, when statistics are made."""
PICTURES = Path(tempfile.gettempdir()) / "energy-trade-shots"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo and the ways to look at it."""

    demo: RunningDemo
    data: Path
    client: CoordinatorClient
    hass: HassApi
    dialog: list[str]
    full_hour: int

    @property
    def live(self) -> str:
        """The live page's address."""
        return self.demo.addresses()["live"]

    async def home(self) -> dict[str, Any]:
        """Return the account of the home behind Home Assistant."""
        return next(row for row in await self.client.accounts() if row["name"] == HOME_NAME)

    async def entities(self) -> dict[str, dict[str, Any]]:
        """Return the integration's registry entries and states by translation key."""
        registry = await self.hass.command("config/entity_registry/list")
        states = await self.hass.states()
        return {
            entry["translation_key"]: entry | {"state": states.get(entry["entity_id"])}
            for entry in registry
            if entry["platform"] == "energy_trade"
        }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(data: Path) -> AsyncIterator[Stage]:
    """The demo, its clocks some minutes before a full hour, and the integration added by hand in Chromium."""
    if shutil.which("faketime") is None:
        pytest.skip("needs faketime")
    behind_s = int(time.time() - HOUR_LEFT_S) % 3600
    full_hour = (int(time.time()) - behind_s) // 3600 * 3600 + 3600
    demo = await RunningDemo.start("--homes", "6", "--join-by-hand", "--data", str(data), behind_s=behind_s)
    try:
        await demo.line("Live page", 240)
        await demo.line("Ctrl-C ends the demo")
        places = demo.addresses()
        job = {**places, "url": places["hass"], "watch_first": "Watch first, trade later"}
        dialog = await browser.run("join.mjs", PICTURES, job)
        async with aiohttp.ClientSession() as session:
            client = CoordinatorClient(session, places["live"].rstrip("/"))
            hass = await HassApi.log_in(session, places["hass"], Login(places["user"], places["password"]))
            yield Stage(demo, data, client, hass, dialog, full_hour)
    finally:
        if demo.process.returncode is None:
            await demo.interrupt()


async def test_a_person_adds_it_in_the_browser(stage: Stage) -> None:
    titles = ["Join a community market", "Your meter", "How to trade", "Prices in", "No preview yet"]
    shown = [text.partition("\n")[0] for text in stage.dialog]
    assert [any(text.startswith(title) for text in shown) for title in titles] == [True] * len(titles), shown
    assert shown[-1] in {"Success", "Name and assign"}, "Home Assistant asks for the device's room in the end"
    assert "What leaves this home" in stage.dialog[1]
    (entry,) = await stage.hass.entries("energy_trade")
    assert entry["state"] == "loaded"


async def test_its_readings_reach_the_ledger(stage: Stage) -> None:
    entities = await eventually(stage.entities, lambda found: "last_reading" in found)
    assert entities["connection"]["state"]["state"] == "live"
    found = await eventually(stage.entities, lambda found: found["last_reading"]["state"]["state"] != "unknown")
    assert found["meter_check"]["state"]["state"] == "ok"
    await eventually(stage.entities, lambda found: found["readings_waiting"]["state"]["state"] == "0")


async def test_its_trade_is_settled_on_chain(stage: Stage) -> None:
    home = await eventually(stage.home, lambda row: row["sold_wh"] > 0, 480)
    assert home["revenue_micro"] > 0
    assert home["meters"]

    async def ledger_and_chain() -> tuple[tuple[int, int], tuple[int, int]]:
        home = await stage.home()
        chain = await chain_balance(stage.data, home["account"])
        return (home["money_micro"], home["energy_wh"]), chain

    await eventually(ledger_and_chain, lambda pair: pair[0] == pair[1], 60)


async def test_the_energy_dashboard_shows_the_community_apart(stage: Stage) -> None:
    """Statistics of the full hour come to what the ledger's receipts say; on consent the dashboard shows them."""
    home = await stage.home()
    prefix = f"energy_trade:{home['account'][2:10]}_"

    async def sums() -> dict[str, float]:
        listed = await stage.hass.command("recorder/list_statistic_ids", statistic_type="sum")
        ids = [row["statistic_id"] for row in listed if row["source"] == "energy_trade"]
        assert all(name.startswith(prefix) for name in ids), ids
        if not ids:
            return {}
        found = await stage.hass.command(
            "recorder/statistics_during_period",
            start_time=dt.datetime.fromtimestamp(stage.full_hour - 7200, dt.UTC).isoformat(),
            statistic_ids=ids,
            period="hour",
            types=["sum"],
        )
        return {name.removeprefix(prefix): rows[-1]["sum"] for name, rows in found.items()}

    async def both() -> tuple[dict[str, float], dict[str, float]]:
        found = await sums()
        return {name: round(found.get(name, -1), 6) for name in ("sold", "bought", "revenue", "cost")}, await ledger()

    async def ledger() -> dict[str, float]:
        return await settled_by(stage, home["account"], stage.full_hour)

    await eventually(sums, lambda found: found.get("sold", 0) > 0 and "grid_export" in found, 720)
    await eventually(both, lambda pair: pair[0] == pair[1], 120)
    (entry,) = await stage.hass.entries("energy_trade")
    step = await stage.hass.begin_options(entry["entry_id"])
    step = await stage.hass.answer_options(step["flow_id"], {"next_step_id": "energy_dashboard"})
    assert "Neighbourhood" in str(step["description_placeholders"])
    assert (await stage.hass.answer_options(step["flow_id"], {}))["type"] in {"create_entry", "abort"}
    names = [source.get("name") for source in (await stage.hass.command("energy/get_prefs"))["energy_sources"]]
    assert names == ["Neighbourhood", "Supplier"]
    await add_dashboard(stage.hass)
    login = {"url": stage.hass.url, "tokens": tokens(stage.hass)}
    shot = {"name": "energy", "url": f"{stage.hass.url}/{DASHBOARD}/energy", "hass": login, "wait": "home-assistant"}
    found = (await browser.take(PICTURES, [shot | {"text": "Neighbourhood"}]))["energy"]
    assert "Neighbourhood" in found["text"]
    assert "Supplier" in found["text"]


async def settled_by(stage: Stage, account: str, until: int) -> dict[str, float]:
    """Sum what the ledger's receipts say of a home's intervals before ``until``, in kWh and the currency."""
    keys = json.loads((stage.data / "home-assistant" / ".storage" / "energy_trade.identities").read_text())["data"]
    (secrets,) = keys.values()
    key = AccountKey.from_secret(bytes.fromhex(secrets["account_secret"][2:]))
    info = await stage.client.market()
    await stage.client.open_session(SessionRequest(account, info.market, info.time), key, info.domain)
    totals = dict.fromkeys(("sold", "bought", "revenue", "cost"), 0)
    for line in await stage.client.receipts(account, limit=100):
        if line["delivery_start"] < until:
            receipt = await stage.client.receipt(account, line["delivery_start"])
            for row in receipt["body"]["rows"]:
                energy, money = ("sold", "revenue") if row["order"]["side"] == "sell" else ("bought", "cost")
                totals[energy] += row["executed_wh"]
                totals[money] += row["value_micro"]
    return {name: round(value / (1_000 if name in {"sold", "bought"} else MICRO), 6) for name, value in totals.items()}


async def test_every_entity_has_a_state(stage: Stage) -> None:
    def complete(found: dict[str, dict[str, Any]]) -> bool:
        return float(found["energy_sold"]["state"]["state"]) > 0

    entities = await eventually(stage.entities, complete, 120)
    for name, entity in entities.items():
        if entity["disabled_by"] is None:
            assert entity["state"]["state"] != "unavailable", name
    for name in ("market_price", "sell_limit", "buy_limit", "money_received", "money_balance", "last_decision"):
        assert entities[name]["state"]["state"] != "unknown", name
    assert entities["trading"]["state"]["state"] == "on"


async def test_the_live_page_reads_well_and_is_accessible(stage: Stage) -> None:
    shots: list[dict[str, Any]] = [
        {"name": "live-light", "url": stage.live, "axe": True, "full": True},
        {"name": "live-dark", "url": stage.live, "axe": True, "scheme": "dark"},
        {"name": "live-phone", "url": stage.live, "axe": True, "width": 390, "height": 844},
    ]
    for found in (await browser.take(PICTURES, shots)).values():
        assert found["violations"] == []
        assert found["errors"] == []
        assert "EUR/kWh" in found["text"]
        assert HOME_NAME in found["text"]


async def test_the_device_page_shows_the_home(stage: Stage) -> None:
    devices = await stage.hass.command("config/device_registry/list")
    device = next(d for d in devices if any(domain == "energy_trade" for domain, _ in d["identifiers"]))
    login = {"url": stage.hass.url, "tokens": tokens(stage.hass)}
    pages = {
        "device": f"{stage.hass.url}/config/devices/device/{device['id']}",
        "integration": f"{stage.hass.url}/config/integrations/integration/energy_trade",
    }
    seen = {"hass": login, "wait": "home-assistant", "text": "Sunny Street", "pause_ms": 8_000, "height": 1400}
    shots: list[dict[str, Any]] = [{"name": name, "url": url, **seen} for name, url in pages.items()]
    for found in (await browser.take(PICTURES, shots)).values():
        assert "Sunny Street" in found["text"]
        assert "Invalid config" not in found["text"]
        assert not [error for error in found["errors"] if "energy_trade" in error]


async def test_ctrl_c_leaves_nothing_running(stage: Stage) -> None:
    assert stage.demo.processes()
    assert await stage.demo.interrupt() == 0, stage.demo.text
    assert stage.demo.processes() == []
    assert "start again to go on where it was" in stage.demo.text


async def test_a_second_start_goes_on_and_ends_with_a_summary(data: Path) -> None:
    demo = await RunningDemo.start("--homes", "6", "--data", str(data), "--no-home-assistant", "--settled", "1")
    try:
        await demo.line("Live page", 120)
        async with aiohttp.ClientSession() as session:
            client = CoordinatorClient(session, demo.addresses()["live"].rstrip("/"))
            before = [row for row in await client.intervals() if row["transaction"]]
            assert before, "what was settled before the restart is still there"
            assert len(await client.accounts()) == 7, "nobody joined twice"
        assert await demo.ended(600) == 0, demo.text
    finally:
        if demo.process.returncode is None:
            demo.process.kill()
    assert "Summary of 1 settled intervals" in demo.text
    assert "balances on chain equal the ledger's for all 7 accounts" in demo.text
    assert "= 0 EUR, fully backed" in demo.text
    assert "= 0 Wh" in demo.text
    assert demo.processes() == []


async def eventually[T](look: Callable[[], Awaitable[T]], good: Callable[[T], bool], patience_s: float = 90) -> T:
    """Return what was seen once it is good; fail with the last sight."""
    seen = await look()
    async with asyncio.timeout(patience_s):
        for _ in range(int(patience_s)):
            if good(seen):
                return seen
            await asyncio.sleep(1)
            seen = await look()
    pytest.fail(f"not within {patience_s} s; last seen: {seen!r:.2000}")


async def chain_balance(data: Path, account: str) -> tuple[int, int]:
    """Return an account's money and energy as the contract keeps them."""
    deployment = json.loads((data / "coordinator" / "deployment.json").read_text())
    async with Rpc(deployment["rpc_url"]) as rpc:
        block = await rpc.call("eth_getBlockByNumber", "latest", False)
        balances = await read_balances(rpc, Addresses(**deployment["addresses"]), [account], block["hash"])
    return balances[account].money_micro, balances[account].energy_wh


def tokens(hass: HassApi) -> dict[str, Any]:
    """Return the login as the frontend keeps it."""
    return {
        "access_token": hass.token,
        "refresh_token": hass.refresh_token,
        "token_type": "Bearer",
        "expires_in": 1800,
    }
