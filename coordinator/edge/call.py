"""One request as a handler sees it, and its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import Refusal
from .services import Services


@dataclass(frozen=True, slots=True)
class Call[P, B]:
    """A checked request; ``session`` is the account of its token, ``None`` without one."""

    services: Services
    parameters: P
    body: B
    session: str | None
    spend: Callable[[str], None]
    """Count the request against an account's rate limit, once its signature was checked."""
    charge: Callable[[int], None]
    """Count this many requests more against the caller's address: what one body asks for many times."""

    def only(self, account: str) -> None:
        """Refuse everybody but the account's owner."""
        if self.session != account:
            raise Refusal("not_yours", "The session is another account's: open one with this account's key.")


@dataclass(frozen=True, slots=True)
class Reply[A]:
    """An answer with its HTTP status."""

    status: int
    body: A
