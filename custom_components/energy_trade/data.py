"""What the coordinator tells a home, in the shape that the entities read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .protocol.client import MarketInfo
from .protocol.messages import Side
from .protocol.units import interval_start
from .protocol.wire import read_bytes, read_choice, read_int, read_mapping

INTERVALS_KEPT = 200
_OPEN = frozenset({"received", "triggered", "resting", "partly_filled"})


@dataclass(frozen=True, slots=True)
class AccountState:
    """Balances and totals of the home's account."""

    money_micro: int
    reserved_micro: int
    energy_wh: int
    bought_wh: int
    sold_wh: int
    cost_micro: int
    revenue_micro: int
    saved_micro: int
    open_orders: int

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> AccountState:
        """Read an account; ``ValueError`` names a field that is wrong."""
        return cls(**{name: read_int(wire, name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """One of the home's orders as the coordinator knows it."""

    digest: bytes
    delivery_start: int
    side: Side
    energy_wh: int
    filled_wh: int
    status: str
    limit_price_micro_per_kwh: int | None = None
    reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still trade."""
        return self.status in _OPEN

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> PlacedOrder:
        """Read an order of ``GET /accounts/{address}/orders``."""
        terms = read_mapping(wire, "terms")
        price = terms.get("limit_price_micro_per_kwh")
        return cls(
            digest=read_bytes(wire, "order", 32),
            delivery_start=read_int(terms, "delivery_start"),
            side=read_choice(terms, "side", Side),
            energy_wh=read_int(terms, "energy_wh"),
            filled_wh=read_int(wire, "filled_wh"),
            status=str(wire.get("status")),
            limit_price_micro_per_kwh=None if price is None else read_int(terms, "limit_price_micro_per_kwh"),
            reason=None if wire.get("reason") is None else str(wire["reason"]),
        )


@dataclass(frozen=True, slots=True)
class IntervalVolume:
    """What all homes together traded for one interval, and between how many it was settled."""

    traded_wh: int
    settled_wh: int | None
    homes: int


@dataclass(frozen=True, slots=True)
class HomeData:
    """Everything that came from the coordinator last."""

    info: MarketInfo
    account: AccountState
    prices: Mapping[int, int | None]
    orders: tuple[PlacedOrder, ...]
    volumes: Mapping[int, IntervalVolume] = field(default_factory=dict)

    def price_at(self, at: int, intervals_later: int = 0) -> int | None:
        """Return the price (micro per kWh) of the interval that holds ``at``, or of a later one."""
        interval_s = self.info.interval_s
        return self.prices.get(interval_start(at, interval_s) + intervals_later * interval_s)

    def position_wh(self, delivery_start: int) -> int:
        """Return the energy traded for an interval: bought positive, sold negative."""
        orders = [order for order in self.orders if order.delivery_start == delivery_start]
        return sum(order.filled_wh if order.side is Side.BUY else -order.filled_wh for order in orders)

    def with_rows(self, account: AccountState | None, intervals: Iterable[Mapping[str, Any]]) -> HomeData:
        """Return the data with newer rows put in."""
        rows = tuple(intervals)
        prices = {**self.prices, **prices_of(rows)}
        newest = dict(sorted(prices.items())[-INTERVALS_KEPT:])
        volumes = {**self.volumes, **volumes_of(rows)}
        kept = {start: volume for start, volume in volumes.items() if start in newest}
        return replace(self, account=account or self.account, prices=newest, volumes=kept)


def prices_of(intervals: Iterable[Mapping[str, Any]]) -> dict[int, int | None]:
    """Return the price by delivery start; ``None`` where nothing was traded."""
    found: dict[int, int | None] = {}
    for row in intervals:
        price = row.get("price_micro_per_kwh")
        found[read_int(row, "delivery_start")] = None if price is None else read_int(row, "price_micro_per_kwh")
    return found


def volumes_of(intervals: Iterable[Mapping[str, Any]]) -> dict[int, IntervalVolume]:
    """Return by delivery start what all homes traded; ``ValueError`` names a field that is wrong."""
    found: dict[int, IntervalVolume] = {}
    for row in intervals:
        settled = row.get("settled_wh")
        found[read_int(row, "delivery_start")] = IntervalVolume(
            traded_wh=read_int(row, "volume_wh"),
            settled_wh=None if settled is None else read_int(row, "settled_wh"),
            homes=read_int(row, "homes"),
        )
    return found
