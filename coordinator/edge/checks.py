"""Checks that several handlers make, and refusals of the rooms below as the door words them."""

from __future__ import annotations

from ..market.events import Rejected
from .auth import REQUEST_AGE_S_MAX
from .errors import Refusal
from .services import Services


def our_market(services: Services, market: str) -> None:
    """Refuse what was signed for another market."""
    if market != services.market:
        raise Refusal("wrong_market", f"This is the market {services.market!r}: sign for that one.")


def fresh(services: Services, issued_at: int) -> None:
    """Refuse what was not signed just now: somebody else may have kept it."""
    now = services.clock.now()
    if abs(now - issued_at) > REQUEST_AGE_S_MAX:
        sentence = f"The request was not issued within {REQUEST_AGE_S_MAX} s of now: set the clock and sign again."
        raise Refusal("stale_request", sentence, f"the coordinator's time is {now}")


def refusal_of(rejected: Rejected) -> Refusal:
    """Write what a room below decided as a whole sentence."""
    text = rejected.message[:1].upper() + rejected.message[1:]
    return Refusal(rejected.code, text if text.endswith((".", "?", "!")) else text + ".", rejected.detail)


def bad_signature(what: str) -> Refusal:
    """Return the refusal of a signature that is not the claimed key's."""
    sentence = f"The signature over the {what} does not fit the key that is claimed or registered."
    return Refusal("bad_signature", sentence, "check market, chain id and ledger address in GET /api/v1/market")
