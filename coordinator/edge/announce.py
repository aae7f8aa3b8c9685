"""Makes the coordinator known in the local network, so that homes find it: DNS service discovery, signed.

What is announced is public anyway (market, address, name); the operator's signature binds the address to its key.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from zeroconf import BadTypeInNameException, InterfaceChoice, NonUniqueNameException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from ..config import Config
from ..protocol.announcement import SERVICE, Announcement
from ..protocol.keys import AccountKey
from ..protocol.typed_data import Domain

_log = structlog.get_logger(__name__)
_LABEL_BYTES_MAX = 63  # RFC 1035, 2.3.4
_NAME_BYTES_MAX = 200
_NOBODY = ("192.0.2.1", 9)  # RFC 5737: reserved for documentation; nothing is sent to it


class NotAnnounced(Exception):
    """The coordinator cannot be announced; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where homes reach the coordinator."""

    url: str
    address: str
    port: int


def wanted(config: Config) -> bool:
    """Tell whether the coordinator is to be announced: as configured, else when others can reach it."""
    if config.discovery.enabled is not None:
        return config.discovery.enabled
    return not is_loopback(config.http.host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place_of(config: Config, port: int) -> Place:
    """Return where homes reach a coordinator that listens on ``port``; raise ``NotAnnounced`` when nobody can tell."""
    host = config.http.host
    if config.discovery.url is not None:
        named = urlsplit(config.discovery.url)
        own_port = named.port or {"http": 80, "https": 443}[named.scheme]
        return Place(config.discovery.url, _reachable(host) or "127.0.0.1", own_port)
    address = _reachable(host)
    if address is None:
        raise NotAnnounced("this machine has no network address: set discovery.url to the one that homes use")
    shown = f"[{address}]" if ":" in address else address
    return Place(f"http://{shown}:{port}", address, port)


@asynccontextmanager
async def announced(
    config: Config,
    port: int,
    operator: AccountKey,
    domain: Domain,
    interfaces: Sequence[str] | InterfaceChoice = InterfaceChoice.All,
) -> AsyncIterator[None]:
    """Announce the coordinator for the time of the block; a network that does not allow it is only told of."""
    async with AsyncExitStack() as stack:
        if wanted(config):
            try:
                zeroconf = AsyncZeroconf(interfaces=interfaces)
                stack.push_async_callback(zeroconf.async_close)
                info = _service(config, place_of(config, port), operator, domain)
                await (await zeroconf.async_register_service(info, allow_name_change=True))
                _log.info("announced in the local network", url=place_of(config, port).url)
            except (NotAnnounced, OSError, ValueError, BadTypeInNameException, NonUniqueNameException) as error:
                _log.warning("homes must be told the address, for it is not announced", error=str(error))
        yield


def _service(config: Config, place: Place, operator: AccountKey, domain: Domain) -> AsyncServiceInfo:
    market = config.market
    announcement = Announcement(market.id, place.url, _cut(market.name, _NAME_BYTES_MAX))
    signature = operator.sign(announcement.digest(domain))
    mark = operator.address[2:8]  # two markets may have one name
    label = f"{_cut(market.name.replace('.', ' '), _LABEL_BYTES_MAX - len(mark) - 1)} {mark}".strip()
    return AsyncServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        parsed_addresses=[place.address],
        port=place.port,
        properties=dict(announcement.properties(signature, domain)),
    )


def _cut(text: str, most: int) -> str:
    """Return the text's beginning that fits into so many bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore").strip()


def _reachable(host: str) -> str | None:
    """Return the address that others in the network reach ``host`` by; a name is kept by its first address."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:
            return str(socket.getaddrinfo(host, None)[0][4][0])
        except OSError:
            return None
    return _own_address() if found.is_unspecified else host


def _own_address() -> str | None:
    """Return the address from which this machine would speak to others, ``None`` without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOBODY)
        except OSError:
            return None
        return str(probe.getsockname()[0])
