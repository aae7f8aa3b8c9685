"""How orders leave: one alone, a bundle's leg with all that is accepted only together with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from ..protocol.messages import ZERO_HASH
from .events import CloseReason, OrderClosed
from .heaps import in_order
from .state import KnownBundle, KnownOrder, MarketState


def closings(state: MarketState, leaving: Iterable[KnownOrder], reason: CloseReason) -> list[OrderClosed]:
    """Return the closing of these open orders; a leg takes its bundle's whole family along, each order once."""
    closed: dict[bytes, OrderClosed] = {}
    for known in leaving:
        together = family_legs(state, known.order.bundle) if known.is_leg else [known]
        for other in together:
            closed[other.digest] = OrderClosed(other.digest, other.remaining_wh, reason)
    return [*closed.values()]


def family_legs(state: MarketState, bundle: bytes) -> Iterator[KnownOrder]:
    """Return the legs of all bundles that can be accepted with this one only, its own first."""
    for digest in family(state, [bundle]):
        for leg in state.bundles[digest].legs:
            yield state.orders[leg]


def family(state: MarketState, bundles: Iterable[bytes]) -> dict[bytes, None]:
    """Return open bundles with their spreads' other halves and, down the line, their children."""
    found: dict[bytes, None] = {}
    waiting = [digest for digest in bundles if state.bundles[digest].closed is None]
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found[digest] = None
            waiting += _next_of_kin(state, state.bundles[digest])
    return found


def open_bundles(state: MarketState, account: str) -> Iterator[KnownBundle]:
    """Return an account's open bundles in the order of their arrival."""
    owner = state.accounts.get(account)
    for digest in owner.open_bundles if owner is not None else ():
        yield state.bundles[digest]


def expired_orders(state: MarketState, at: int) -> list[KnownOrder]:
    """Return the open orders whose ``valid_until`` is at most ``at``, the earliest first."""
    due = takewhile(lambda entry: entry[0] <= at, in_order(state.expiries))
    known_orders = (state.orders.get(digest) for _, _, digest in due)
    return [known for known in known_orders if known is not None and known.closed is None]


def expiring(state: MarketState, at: int) -> list[OrderClosed]:
    """Return the closing of every order whose ``valid_until`` has come."""
    expired = expired_orders(state, at)
    return closings(state, expired, CloseReason.EXPIRED) if expired else []


def _next_of_kin(state: MarketState, known: KnownBundle) -> Iterator[bytes]:
    spread = known.bundle.spread
    for other in open_bundles(state, known.bundle.account):
        is_child = other.bundle.parent == known.digest
        if is_child or (spread != ZERO_HASH and other.bundle.spread == spread):
            yield other.digest
