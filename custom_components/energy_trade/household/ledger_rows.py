"""What settlements and the meter come to hour by hour, and the growing sums that statistics are made of.

Energies in Wh, money 1e-6 of the currency, times UTC seconds; all whole numbers, so that the sums are the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..protocol.messages import Side
from ..protocol.units import value_micro
from ..protocol.wire import read_int, read_mapping, read_objects, read_text

HOUR_S = 3_600
_MOST = 2**63 - 1
"""What the ledger contract can hold; more would be no number for the recorder either."""

MARKET_SERIES = ("bought", "sold", "cost", "revenue")
GRID_SERIES = ("grid_import", "grid_export", "grid_cost", "grid_revenue")
SERIES = (*MARKET_SERIES, *GRID_SERIES)
MONEY_SERIES = frozenset({"cost", "revenue", "grid_cost", "grid_revenue"})


def hour_of(at: int) -> int:
    """Return the start of the hour that holds a moment."""
    return at - at % HOUR_S


@dataclass(frozen=True, slots=True)
class SettledRow:
    """What one settled interval was for the home, as its receipt says.

    ``cost_micro`` and ``revenue_micro`` hold fees and compensation, as the ledger's own totals do.
    """

    delivery_start: int
    revision: int
    bought_wh: int
    sold_wh: int
    cost_micro: int
    revenue_micro: int
    consumption_wh: int
    production_wh: int
    saved_micro: int

    @classmethod
    def of_receipt(cls, envelope: Mapping[str, Any]) -> SettledRow:
        """Read a receipt's sums; ``ValueError`` names a field that is wrong."""
        body = read_mapping(envelope, "body")
        verified = read_mapping(body, "verified")
        energy, money = {Side.BUY: 0, Side.SELL: 0}, {Side.BUY: 0, Side.SELL: 0}
        for row in read_objects(body, "rows"):
            side = Side(read_text(read_mapping(row, "order"), "side"))
            energy[side] += read_int(row, "executed_wh")
            money[side] += read_int(row, "value_micro")
        found = cls(
            delivery_start=read_int(body, "delivery_start"),
            revision=read_int(body, "revision"),
            bought_wh=energy[Side.BUY],
            sold_wh=energy[Side.SELL],
            cost_micro=money[Side.BUY],
            revenue_micro=money[Side.SELL],
            consumption_wh=read_int(verified, "consumption_wh"),
            production_wh=read_int(verified, "production_wh"),
            saved_micro=read_int(read_mapping(body, "counterfactual"), "saved_micro"),
        )
        if any(abs(value) > _MOST for value in found.to_list()):
            raise ValueError("body: expected amounts that the ledger can hold")
        return found

    def to_list(self) -> list[int]:
        """Return the row as JSON values, in the order of its fields."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the home: what it traded, what its meter saw, and its supplier's tariff (``None``: unknown)."""

    bought_wh: int = 0
    sold_wh: int = 0
    cost_micro: int = 0
    revenue_micro: int = 0
    import_wh: int | None = None
    export_wh: int | None = None
    supplier_micro_per_kwh: int | None = None
    feed_in_micro_per_kwh: int | None = None

    @property
    def is_member(self) -> bool:
        """Tell whether the home was in the market: then what it did not trade is known to be zero."""
        return self.supplier_micro_per_kwh is not None

    def traded(self, rows: Iterable[SettledRow]) -> Hour:
        """Return the hour with these settlements, instead of what was traded in it before."""
        rows = tuple(rows)
        return replace(
            self,
            bought_wh=sum(row.bought_wh for row in rows),
            sold_wh=sum(row.sold_wh for row in rows),
            cost_micro=sum(row.cost_micro for row in rows),
            revenue_micro=sum(row.revenue_micro for row in rows),
        )

    def to_list(self) -> list[int | None]:
        """Return the hour as JSON values, in the order of its fields."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True, slots=True)
class Point:
    """One hour of one series: what it added, and the sum up to its end."""

    start: int
    state: int
    sum: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What hours that are no longer kept came to: sums by series, and energy by which the meter is still behind."""

    sums: Mapping[str, int]
    import_behind_wh: int = 0
    export_behind_wh: int = 0

    @classmethod
    def nothing(cls) -> Carried:
        """Return the beginning."""
        return cls(dict.fromkeys(SERIES, 0))


def series(hours: Mapping[int, Hour], before: Carried) -> tuple[dict[str, list[Point]], Carried]:
    """Return the points of each series, oldest first, and what they come to together.

    The supplier's part is the meter minus the market, never below zero: where the sensor shows the last Wh of an hour
    only in the next one, the difference is carried on. An hour without a meter's value has no such point, one without
    tariff no money of the supplier's.
    """
    points: dict[str, list[Point]] = {name: [] for name in SERIES}
    sums = dict(before.sums)
    behind = [before.import_behind_wh, before.export_behind_wh]
    for start, hour in sorted(hours.items()):
        rest: list[int | None] = []
        for side, (metered_wh, market_wh) in enumerate(
            ((hour.import_wh, hour.bought_wh), (hour.export_wh, hour.sold_wh))
        ):
            left_wh = (metered_wh or 0) - market_wh - behind[side]
            behind[side] = max(0, -left_wh)
            rest.append(None if metered_wh is None else max(0, left_wh))
        for name, state in _states(hour, rest):
            sums[name] += state
            points[name].append(Point(start, state, sums[name]))
    return points, Carried(sums, *behind)


def _states(hour: Hour, rest: Sequence[int | None]) -> Iterator[tuple[str, int]]:
    """Yield what an hour adds to each series that it says something about."""
    if hour.is_member:
        traded = hour.bought_wh, hour.sold_wh, hour.cost_micro, hour.revenue_micro
        yield from zip(MARKET_SERIES, traded, strict=True)
    prices = hour.supplier_micro_per_kwh, hour.feed_in_micro_per_kwh
    for energy_name, money_name, left_wh, price in zip(GRID_SERIES[:2], GRID_SERIES[2:], rest, prices, strict=True):
        if left_wh is not None:
            yield energy_name, left_wh
            if price is not None:
                yield money_name, value_micro(left_wh, price)


def mean_price(prices: Mapping[int, int], start: int, fallback: int) -> int:
    """Return the mean of an hour's known interval prices, ``fallback`` (the market's tariff) where none is known."""
    known = [price for at, price in prices.items() if start <= at < start + HOUR_S]
    return sum(known) // len(known) if known else fallback


_TITLES = (
    "delivery_start",
    "revision",
    "bought_wh",
    "sold_wh",
    "cost",
    "revenue",
    "consumption_wh",
    "production_wh",
    "saved",
)


def as_csv(rows: Iterable[SettledRow], currency: str) -> str:
    """Return settlements as comma-separated text with a header: energies in Wh, money in the currency, exactly."""
    money = {4, 5, 8}
    titles = [f"{name}_{currency.lower()}" if place in money else name for place, name in enumerate(_TITLES)]
    lines = [",".join(titles)]
    for row in rows:
        values = row.to_list()
        lines.append(",".join(decimal(v) if place in money else str(v) for place, v in enumerate(values)))
    return "\n".join(lines) + "\n"


def decimal(amount_micro: int) -> str:
    """Return money as text with six decimals, exactly."""
    whole, part = divmod(abs(amount_micro), 1_000_000)
    return f"{'-' if amount_micro < 0 else ''}{whole}.{part:06}"
