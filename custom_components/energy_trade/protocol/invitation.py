"""An invite as one link, to be sent or shown as a QR code.

``energy-trade:join?url=...&invite=...&market=...&operator=0x...`` names the coordinator's address, the operator's
word, the market and the operator's account, so that whoever answers at the address can be told from an impostor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from .keys import read_address

SCHEME = "energy-trade"
_PATH = "join"
_FIELDS = ("url", "invite", "market", "operator")
_CHARACTERS_MAX = 2_000
_VALUE_MAX = 256


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an operator hands to a home that may join."""

    url: str
    invite: str
    market: str
    operator: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a link; raise ``ValueError`` with a sentence that says what is wrong with it."""
        if len(text) > _CHARACTERS_MAX:
            raise ValueError(f"an invite link has at most {_CHARACTERS_MAX} characters")
        link = urlsplit(text.strip())
        if (link.scheme, link.path.strip("/")) != (SCHEME, _PATH) or link.netloc:
            raise ValueError(f"an invite link begins with {SCHEME}:{_PATH}?")
        given = _values(link)
        missing = [name for name in _FIELDS if not given.get(name)]
        if missing:
            raise ValueError(f"the invite link lacks {', '.join(missing)}: it was not copied whole")
        return cls(
            url=coordinator_url(given["url"]),
            invite=given["invite"],
            market=given["market"],
            operator=read_address(given["operator"]),
        )

    def link(self) -> str:
        """Return the link that ``parse`` reads."""
        return f"{SCHEME}:{_PATH}?{urlencode({name: getattr(self, name) for name in _FIELDS})}"


def is_link(text: str) -> bool:
    """Tell whether somebody pasted a link and not an address."""
    return text.strip().lower().startswith(f"{SCHEME}:")


def coordinator_url(text: str) -> str:
    """Return a coordinator's address without path and slash; raise ``ValueError`` when it is none."""
    found = urlsplit(text.strip())
    host, port = found.hostname, found.port  # a bad port raises ValueError
    if found.scheme not in {"http", "https"} or not host or found.username is not None:
        raise ValueError("a coordinator's address begins with http:// or https:// and names a host")
    place = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[found.scheme]
    return f"{found.scheme}://{place}" + ("" if port in {None, usual} else f":{port}")


def _values(link: SplitResult) -> dict[str, str]:
    pairs = parse_qsl(link.query, keep_blank_values=True)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("the invite link names something twice")
    if any(len(value) > _VALUE_MAX or not value.isprintable() for value in values.values()):
        raise ValueError("the invite link holds what no invite holds")
    return values
