"""The rules by which an auction may clear one book, by name; each is a pure function of the orders.

All are exact, deterministic and balanced: what buyers pay is what sellers receive and the fee that a trade states. No
order trades beyond its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..rules import ClearingRule, Mechanism, Tariff
from .community import clear_mid_market_rate, clear_supply_demand_ratio
from .mcafee import clear_mcafee
from .pay_as_bid import clear_pay_as_bid
from .shapes import AuctionResult, Offer
from .uniform import clear_uniform


class Clearing(Protocol):
    """What every mechanism is: orders as they arrived, the rule, the price band and the supplier's tariff."""

    def __call__[K](
        self,
        orders: Sequence[Offer[K]],
        rule: ClearingRule,
        band: tuple[int, int] | None = None,
        tariff: Tariff | None = None,
    ) -> AuctionResult[K]:
        """Return what the auction comes to; raise ``ValueError`` with a sentence when the rule lacks something."""


MECHANISMS: dict[Mechanism, Clearing] = {
    "uniform": clear_uniform,
    "pay_as_bid": clear_pay_as_bid,
    "mid_market_rate": clear_mid_market_rate,
    "supply_demand_ratio": clear_supply_demand_ratio,
    "mcafee": clear_mcafee,
}
