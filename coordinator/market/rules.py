"""What one market has agreed on. Rules are data: their name and version stand in every result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..protocol.messages import Order, Side
from ..protocol.units import (
    ENERGY_WH_MAX,
    INTERVAL_S_ALLOWED,
    PRICE_MICRO_PER_KWH_MAX,
    cover_micro,
)

type Mechanism = Literal["uniform"]
type PriceRule = Literal["midpoint", "reference"]
type TieRule = Literal["pro_rata", "time"]


@dataclass(frozen=True, slots=True)
class ClearingRule:
    """How an auction finds its price and shares what is scarce at the margin."""

    mechanism: Mechanism = "uniform"
    price: PriceRule = "midpoint"
    reference_price: int | None = None
    ties: TieRule = "pro_rata"
    version: int = 1

    @property
    def name(self) -> str:
        """The name in results, for example ``uniform-midpoint-pro_rata/1``."""
        return f"{self.mechanism}-{self.price}-{self.ties}/{self.version}"


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Times, limits and prices of one market; raise ``ValueError`` when they contradict.

    Prices below zero are not supported: a seller would need funds too. ``orders_per_interval_max``
    keeps an interval's batch within one transaction (16.78M gas, EIP-7825, at 12.5k an order); of
    these places one is kept for each possible member. ``power_max_w`` is the most that a meter's
    registered limits may be.
    """

    market: str
    interval_s: int
    gate_s: int
    horizon_s: int
    price_min_micro_per_kwh: int
    price_max_micro_per_kwh: int
    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    order_energy_max_wh: int
    orders_per_account_interval_max: int
    members_max: int
    orders_per_interval_max: int = 1_200
    power_max_w: int = 1_000_000
    rule: ClearingRule = field(default_factory=ClearingRule)

    def __post_init__(self) -> None:
        """Refuse rules that cannot work, with a sentence that names them."""
        low, high = self.price_min_micro_per_kwh, self.price_max_micro_per_kwh
        if self.interval_s not in INTERVAL_S_ALLOWED:
            raise ValueError(f"interval_s must be one of {INTERVAL_S_ALLOWED}, was {self.interval_s}")
        if not 0 <= self.gate_s < self.horizon_s:
            raise ValueError("gate_s must be at least 0 and less than horizon_s")
        if not 0 <= low < high <= PRICE_MICRO_PER_KWH_MAX:
            raise ValueError(f"the price band must lie within 0 to {PRICE_MICRO_PER_KWH_MAX}")
        if not 0 < self.order_energy_max_wh <= ENERGY_WH_MAX:
            raise ValueError(f"order_energy_max_wh must be from 1 to {ENERGY_WH_MAX}")
        limits = self.orders_per_account_interval_max, self.orders_per_interval_max, self.members_max
        if min(limits) < 1:
            raise ValueError("limits of orders and members must be at least 1")
        if self.members_max > self.orders_per_interval_max:
            raise ValueError("members_max must be at most orders_per_interval_max: each member has a place")
        if self.power_max_w < 1:
            raise ValueError("power_max_w must be at least 1")

    @property
    def band(self) -> tuple[int, int]:
        """The lowest and the highest price, in 1e-6 currency per kWh."""
        return self.price_min_micro_per_kwh, self.price_max_micro_per_kwh

    def gate_at(self, delivery_start: int) -> int:
        """Return the second from which the interval can no longer be traded."""
        return delivery_start - self.gate_s

    def reserve_micro(self, order: Order, energy_wh: int) -> int:
        """Return what this much of the order can cost its account at most.

        A sell costs nothing; a market buy pays up to the band's upper price.
        """
        if order.side is Side.SELL:
            return 0
        limit = order.limit_price_micro_per_kwh
        return cover_micro(energy_wh, self.price_max_micro_per_kwh if limit is None else limit)
