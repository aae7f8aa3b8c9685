"""What an auction is given and what it comes to, whatever its rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...protocol.messages import Side
from ...protocol.units import value_micro


class Offer[K](Protocol):
    """An order as the auction sees it: ``AuctionOrder``, or anything that has the same."""

    @property
    def key(self) -> K:
        """Whose result it is."""

    @property
    def side(self) -> Side:
        """Which way the energy goes."""

    @property
    def energy_wh(self) -> int:
        """All that it would trade."""

    @property
    def price(self) -> int | None:
        """Its limit in 1e-6 currency per kWh; ``None`` for a market order."""


@dataclass(frozen=True, slots=True)
class AuctionOrder[K]:
    """An order as the auction sees it; ``price`` is ``None`` for a market order."""

    key: K
    side: Side
    energy_wh: int
    price: int | None


@dataclass(frozen=True, slots=True)
class AuctionTrade[K]:
    """A buyer's and a seller's part in the executed volume.

    The seller receives the price; the buyer pays ``fee_micro_per_kwh`` on top, which the community keeps (``mcafee``
    alone asks for one).
    """

    buy: K
    sell: K
    energy_wh: int
    price_micro_per_kwh: int
    fee_micro_per_kwh: int = 0

    @property
    def value_micro(self) -> int:
        """What the seller receives."""
        return value_micro(self.energy_wh, self.price_micro_per_kwh)


@dataclass(frozen=True, slots=True)
class AuctionResult[K]:
    """What an auction came to; price and range are ``None`` when nothing executes.

    Where each trade has a price of its own, ``price_micro_per_kwh`` is their mean by energy, rounded down, and the
    range goes from the lowest to the highest. ``surplus_wh`` is bid minus ask volume at the price. ``welfare_micro`` is
    the bids' value less the asks' cost of what executed, in 1e-6 currency rounded down; a market order counts at what
    it pays or receives. ``optimum_micro`` is the same sum of the uniform auction on the same book, which no rule
    exceeds (but for how market orders count). ``fills`` holds every order in the order given; ``rule`` names rule and
    version.
    """

    price_micro_per_kwh: int | None
    price_range: tuple[int, int] | None
    volume_wh: int
    surplus_wh: int
    welfare_micro: int
    fills: dict[K, int]
    trades: tuple[AuctionTrade[K], ...]
    optimum_micro: int = 0
    rule: str = ""
