"""The market's time grid as a home needs it, and what the home's connection can carry."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.client import MarketInfo
from ..protocol.units import ENERGY_WH_MAX, interval_start
from .reason import Refusal

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class HomeLimits:
    """What the connection can carry: the fuse (import) and the inverters (export), in W."""

    import_limit_w: int
    export_limit_w: int

    def import_max_wh(self, seconds: int) -> int:
        """Return the most energy that can be taken from the grid in that time, in Wh."""
        return min(self.import_limit_w * seconds // SECONDS_PER_HOUR, ENERGY_WH_MAX)

    def export_max_wh(self, seconds: int) -> int:
        """Return the most energy that can be given to the grid in that time, in Wh."""
        return min(self.export_limit_w * seconds // SECONDS_PER_HOUR, ENERGY_WH_MAX)


def gate_closes_at(info: MarketInfo, delivery_start: int) -> int:
    """Return the first second at which the interval takes no more orders."""
    return delivery_start - info.gate_s


def is_open(info: MarketInfo, delivery_start: int, at: int) -> bool:
    """Tell whether an order for the interval can be placed at ``at``."""
    aligned = delivery_start % info.interval_s == 0
    gate_open = at < gate_closes_at(info, delivery_start)
    return aligned and gate_open and delivery_start <= at + info.horizon_s


def next_open(info: MarketInfo, at: int) -> int:
    """Return the start of the earliest interval whose gate is still open at ``at``."""
    return interval_start(at + info.gate_s, info.interval_s) + info.interval_s


def check_order(info: MarketInfo, at: int, delivery_start: int, energy_wh: int, price: int | None) -> Refusal | None:
    """Say why the market would not take an order at ``at`` (``price`` in 1e-6 per kWh), ``None`` when it would."""
    if delivery_start % info.interval_s:
        return Refusal("interval_misaligned", f"start at a multiple of {info.interval_s} s")
    if not is_open(info, delivery_start, at):
        return Refusal("interval_not_open", "choose an interval whose gate is still open")
    if not 0 < energy_wh <= info.order_energy_max_wh:
        return Refusal("energy_out_of_range", f"order 1 to {info.order_energy_max_wh} Wh")
    low, high = info.price_min_micro_per_kwh, info.price_max_micro_per_kwh
    if price is not None and not low <= price <= high:
        return Refusal("price_out_of_band", f"name a price from {low} to {high} micro per kWh")
    return None
