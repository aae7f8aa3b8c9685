"""Being found in the local network: what is announced, when, and under whose signature."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from coordinator.config import Config, DiscoveryConfig, HttpConfig, MarketConfig
from coordinator.edge import announce
from coordinator.edge.announce import NotAnnounced, Place, announced, place_of, wanted
from coordinator.protocol.announcement import SERVICE, Announcement
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.typed_data import Domain

LOOPBACK = ["127.0.0.1"]
DOMAIN = Domain(31_337, "0x" + "5f" * 20)
OPERATOR = AccountKey.from_secret(bytes(31) + b"\x07")
MARK = OPERATOR.address[2:8]
CONFIG = Config(market=MarketConfig(id="elm-street", name="Elm Street No. 5"), discovery=DiscoveryConfig(enabled=True))


def configured(host: str = "127.0.0.1", enabled: bool | None = None, url: str | None = None) -> Config:
    return replace(CONFIG, http=HttpConfig(host=host), discovery=DiscoveryConfig(enabled, url))


@pytest.fixture
async def seen() -> AsyncIterator[asyncio.Queue[tuple[str, str]]]:
    """What another machine in the network would notice: services that come and go."""
    noticed: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def notice(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        noticed.put_nowait((state_change.name, name))

    async with AsyncZeroconf(interfaces=LOOPBACK) as other:
        browser = AsyncServiceBrowser(other.zeroconf, SERVICE, handlers=[notice])
        noticed_by: Any = noticed
        noticed_by.zeroconf = other
        yield noticed
        await browser.async_cancel()


async def resolved(seen: Any, name: str) -> AsyncServiceInfo:
    info = AsyncServiceInfo(SERVICE, name)
    assert await info.async_request(seen.zeroconf.zeroconf, 5_000)
    return info


async def test_a_coordinator_is_found_with_its_signed_address_and_leaves_again(
    seen: asyncio.Queue[tuple[str, str]],
) -> None:
    async with asyncio.timeout(15):
        async with announced(CONFIG, 8787, OPERATOR, DOMAIN, LOOPBACK):
            change, name = await seen.get()
            assert (change, name) == ("Added", f"Elm Street No  5 {MARK}.{SERVICE}")
            info = await resolved(seen, name)
        assert await seen.get() == ("Removed", name)
    assert (info.port, info.parsed_addresses()) == (8787, LOOPBACK)
    found, domain, signature = Announcement.from_properties(info.decoded_properties)
    assert found == Announcement("elm-street", "http://127.0.0.1:8787", "Elm Street No. 5")
    assert domain == DOMAIN
    assert found.signed_by(signature, OPERATOR.public_key, DOMAIN)
    assert not replace(found, url="http://127.0.0.1:6666").signed_by(signature, OPERATOR.public_key, DOMAIN)
    assert not found.signed_by(signature, AccountKey.generate().public_key, DOMAIN)


def test_two_markets_of_one_name_are_announced_under_two() -> None:
    place = Place("http://127.0.0.1:8787", "127.0.0.1", 8787)
    names = {announce._service(CONFIG, place, key, DOMAIN).name for key in (OPERATOR, AccountKey.generate())}
    assert len(names) == 2


async def test_a_coordinator_on_loopback_is_not_announced() -> None:
    with capture_logs() as logs:
        async with announced(configured(), 8787, OPERATOR, DOMAIN, LOOPBACK):
            pass
    assert logs == []


@pytest.mark.parametrize(
    ("host", "enabled", "expected"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("192.168.1.20", None, True),
        ("coordinator.local", None, True),
        ("0.0.0.0", False, False),
        ("127.0.0.1", True, True),
    ],
)
def test_it_is_announced_when_others_can_reach_it_or_as_configured(
    host: str, enabled: bool | None, expected: bool
) -> None:
    assert wanted(configured(host, enabled)) is expected


def test_homes_are_told_an_address_that_they_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of(configured("192.168.1.20"), 8787) == Place("http://192.168.1.20:8787", "192.168.1.20", 8787)
    assert place_of(configured("fd00::5"), 8787) == Place("http://[fd00::5]:8787", "fd00::5", 8787)
    assert place_of(configured("localhost"), 8787).port == 8787
    proxied = configured("127.0.0.1", url="https://trade.example")
    assert place_of(proxied, 8787) == Place("https://trade.example", "127.0.0.1", 443)
    monkeypatch.setattr(announce, "_own_address", lambda: "10.0.0.7")
    assert place_of(configured("0.0.0.0"), 8787) == Place("http://10.0.0.7:8787", "10.0.0.7", 8787)


def test_without_a_network_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(socket.socket):
        def connect(self, address: Any, /) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Cut)
    with pytest.raises(NotAnnounced, match=r"discovery\.url"):
        place_of(configured("0.0.0.0"), 8787)
    with pytest.raises(NotAnnounced):
        place_of(configured("no-such-host.invalid"), 8787)


def test_this_machines_own_address_is_none_of_the_special_ones() -> None:
    assert announce._own_address() not in {"0.0.0.0", "192.0.2.1"}


async def test_a_network_that_forbids_announcing_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(**_: Any) -> AsyncZeroconf:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(announce, "AsyncZeroconf", forbidden)
    with capture_logs() as logs:
        async with announced(CONFIG, 8787, OPERATOR, DOMAIN, LOOPBACK):
            pass
    assert [(log["log_level"], log["error"]) for log in logs] == [("warning", "[Errno 1] Operation not permitted")]


async def test_a_market_that_does_not_fit_into_an_announcement_stops_nothing() -> None:
    too_long = replace(CONFIG, market=MarketConfig(id="🏡" * 64))
    with capture_logs() as logs:
        async with announced(too_long, 8787, OPERATOR, DOMAIN, LOOPBACK):
            pass
    assert "too long" in logs[0]["error"]


def test_a_long_name_is_cut_where_a_letter_ends() -> None:
    long = replace(CONFIG, market=MarketConfig(id="elm", name="x" + "€" * 63))
    info = announce._service(long, Place("http://127.0.0.1:8787", "127.0.0.1", 8787), OPERATOR, DOMAIN)
    assert info.name == "x" + "€" * 18 + f" {MARK}.{SERVICE}"
    found, _, signature = Announcement.from_properties(info.decoded_properties)
    assert found.name == "x" + "€" * 63
    assert found.signed_by(signature, OPERATOR.public_key, DOMAIN)
    dots = replace(CONFIG, market=MarketConfig(id="elm", name="..."))
    assert (
        announce._service(dots, Place("http://127.0.0.1:1", "127.0.0.1", 1), OPERATOR, DOMAIN).name
        == f"{MARK}.{SERVICE}"
    )


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("id", None, "id: expected text"),
        ("id", "elm-street", "id: expected market@chain:ledger"),
        ("url", None, "url"),
        ("name", None, "name"),
        ("signature", "0x12", "signature: expected"),
    ],
)
def test_what_is_no_announcement_is_refused(key: str, value: str | None, why: str) -> None:
    announcement = Announcement("elm-street", "http://127.0.0.1:8787", "Elm Street")
    properties: dict[str, str | None] = dict(announcement.properties(bytes(64), DOMAIN))
    assert Announcement.from_properties(properties)[0] == announcement
    with pytest.raises(ValueError, match=why):
        Announcement.from_properties(properties | {key: value})
