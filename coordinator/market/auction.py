"""Call auctions: one book, and the rule by which the market agreed to clear it."""

from __future__ import annotations

from collections.abc import Sequence

from .mechanisms import MECHANISMS
from .mechanisms.shapes import AuctionOrder, AuctionResult, AuctionTrade, Offer
from .mechanisms.uniform import clear_uniform
from .rules import ClearingRule, Tariff

__all__ = ["MECHANISMS", "AuctionOrder", "AuctionResult", "AuctionTrade", "Offer", "clear", "clear_uniform"]


def clear[K](
    orders: Sequence[Offer[K]],
    rule: ClearingRule,
    band: tuple[int, int] | None = None,
    tariff: Tariff | None = None,
) -> AuctionResult[K]:
    """Clear orders that are given in the order of their arrival, by the rule's mechanism; keys must differ.

    ``band`` is the lowest and the highest price in 1e-6 currency per kWh. Raises ``ValueError`` with a sentence when
    the rule needs the supplier's tariff and there is none, or names no mechanism.
    """
    mechanism = MECHANISMS.get(rule.mechanism)
    if mechanism is None:
        raise ValueError(f"no mechanism is called {rule.mechanism!r}; there are {', '.join(MECHANISMS)}")
    return mechanism(orders, rule, band, tariff)
