"""Inviting homes: the link that an operator prints names its own market, and a running coordinator is found."""

from __future__ import annotations

import asyncio
import io
import stat
import sys
import xml.etree.ElementTree as ET
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import segno
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from coordinator.app import Coordinator, running
from coordinator.cli import main
from coordinator.config import parse
from coordinator.protocol.announcement import SERVICE, Announcement
from coordinator.protocol.invitation import Invitation

ID, NAME = "oak-street", "Oak Street"
MARKET = {"id": ID, "name": NAME, "interval_s": 60, "gate_s": 10, "horizon_s": 600}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The data folder of a market that has run once, announced; and what its network heard of it."""
    folder = tmp_path_factory.mktemp("market")
    tree = {
        "data": str(folder),
        "market": MARKET,
        "http": {"port": 0},
        "contracts": {"exit_delay_s": 0},
        "discovery": {"enabled": True},
    }
    heard: dict[str, Any] = {}

    async def run_once() -> None:
        async with listening() as found, running(parse(tree)) as coordinator:
            heard.update(await found.get(), coordinator=coordinator)

    asyncio.run(run_once())
    return folder, heard


@asynccontextmanager
async def listening() -> Any:
    """Listen in the network for a coordinator of this street."""
    found: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    names: asyncio.Queue[str] = asyncio.Queue()

    def notice(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Added and name.startswith(NAME):
            names.put_nowait(name)

    async with AsyncZeroconf(interfaces=["127.0.0.1"]) as zeroconf, asyncio.TaskGroup() as tasks:

        async def resolve() -> None:
            info = AsyncServiceInfo(SERVICE, await names.get())
            assert await info.async_request(zeroconf.zeroconf, 5_000)
            await found.put(dict(info.decoded_properties))

        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[notice])
        task = tasks.create_task(resolve())
        yield found
        task.cancel()
        await browser.async_cancel()


def test_a_running_coordinator_is_found_in_its_network(market: tuple[Path, dict[str, Any]]) -> None:
    _, heard = market
    coordinator: Coordinator = heard["coordinator"]
    announcement, domain, signature = Announcement.from_properties(heard)
    assert announcement == Announcement("oak-street", coordinator.url, "Oak Street")
    assert domain.ledger == coordinator.deployment.addresses.ledger
    assert announcement.signed_by(signature, coordinator.operator.public_key, domain)


def test_the_link_names_market_operator_address_and_invite(
    market: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, heard = market
    coordinator: Coordinator = heard["coordinator"]
    assert invite(folder, monkeypatch, "--url", "http://192.168.1.20:8787/") == 0
    printed = capsys.readouterr().out
    invitation = Invitation.parse(printed)
    assert invitation == Invitation(
        "http://192.168.1.20:8787", coordinator.invite, "oak-street", coordinator.operator.address
    )
    assert printed.count("\n") == 1, "elsewhere than on a terminal the link stands alone"


def test_a_terminal_shows_the_code_as_well(
    market: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert invite(market[0], monkeypatch) == 0
    assert "only this machine" in capsys.readouterr().err
    shown = terminal.getvalue()
    *code, link, _ = shown.split("\n")
    expected = io.StringIO()
    segno.make(link, error="m", micro=False).terminal(out=expected, compact=True)
    assert "\n".join(code) == expected.getvalue().rstrip("\n")
    assert Invitation.parse(link).url == "http://127.0.0.1:8787"


def test_the_code_can_be_written_to_a_file_that_only_its_owner_reads(
    market: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "invite.svg"
    assert invite(market[0], monkeypatch, "--svg", str(file)) == 0
    drawing = ET.fromstring(file.read_text(encoding="utf-8"))
    assert drawing.tag.endswith("svg")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert invite(market[0], monkeypatch, "--svg", str(tmp_path / "no" / "folder.svg")) == 1


def test_a_configured_invite_and_address_are_taken(
    market: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRADE_MARKET__INVITE", "open sesame")
    monkeypatch.setenv("ENERGY_TRADE_DISCOVERY__URL", "https://trade.example")
    assert invite(market[0], monkeypatch) == 0
    invitation = Invitation.parse(capsys.readouterr().out)
    assert (invitation.invite, invitation.url) == ("open sesame", "https://trade.example")


def test_without_a_market_or_an_invite_it_says_what_to_do(
    market: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert invite(tmp_path, monkeypatch) == 2
    assert "name the right --data" in capsys.readouterr().err
    kept = (market[0] / "invite").rename(tmp_path / "invite")
    assert invite(market[0], monkeypatch) == 2
    assert "it makes an invite" in capsys.readouterr().err
    kept.rename(market[0] / "invite")
    assert invite(market[0], monkeypatch, "--url", "elm street") == 2
    assert "http" in capsys.readouterr().err


def invite(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("ENERGY_TRADE_MARKET__ID", ID)
    return main(["invite", "--data", str(folder), *arguments])
