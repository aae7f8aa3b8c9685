"""What a policy would have done with the energy that was metered, beside no market at all.

It answers before anything is risked: the forecast is taken to be right, and where the market's price of an interval is
not known, the order is taken to trade at its own limit, the least that it can gain. How often that was so is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from ..protocol.units import cover_micro, value_micro
from .forecast import Forecast
from .history import HistoryRow
from .outlook import Outlook
from .policy import Bounds, Decision, OrderTerms, Policy, Situation, Tariff, decide, price_with_fees
from .terms import HomeLimits

DAY_S = 86_400
MONTH_S = 2_629_800
"""A twelfth of 365.25 days."""


@dataclass(frozen=True, slots=True)
class Money:
    """Energy traded (Wh) and money (1e-6, positive is received): with the market, and without it."""

    bought_wh: int = 0
    sold_wh: int = 0
    money_micro: int = 0
    without_micro: int = 0

    @property
    def gain_micro(self) -> int:
        """What the market is worth."""
        return self.money_micro - self.without_micro

    def plus(self, other: Money) -> Money:
        """Return both together."""
        return Money(
            self.bought_wh + other.bought_wh,
            self.sold_wh + other.sold_wh,
            self.money_micro + other.money_micro,
            self.without_micro + other.without_micro,
        )


@dataclass(frozen=True, slots=True)
class Preview:
    """A policy's days: ``by_day`` on the home's clock, and the total.

    ``intervals`` were looked at, of ``traded`` an order would have been placed and traded, of which ``assumed`` at its
    own limit because the market's price is not known. ``rules`` counts the reasons of all decisions.
    """

    total: Money
    seconds: int
    by_day: Mapping[date, Money]
    intervals: int
    traded: int
    assumed: int
    rules: Mapping[str, int]

    @property
    def days(self) -> int:
        """How many days of the home's clock it covers."""
        return len(self.by_day)

    @property
    def bought_wh(self) -> int:
        """Energy bought in the market."""
        return self.total.bought_wh

    @property
    def sold_wh(self) -> int:
        """Energy sold in the market."""
        return self.total.sold_wh

    @property
    def money_micro(self) -> int:
        """Money with the market, the supplier's rest included."""
        return self.total.money_micro

    @property
    def without_micro(self) -> int:
        """Money without the market."""
        return self.total.without_micro

    @property
    def gain_micro_per_month(self) -> int | None:
        """The gain as it would go on for a month, ``None`` from less than a day: noon tells nothing of the night."""
        return self.total.gain_micro * MONTH_S // self.seconds if self.seconds >= DAY_S else None


def preview(
    policy: Policy,
    bounds: Bounds,
    info: MarketInfo,
    limits: HomeLimits,
    history: Iterable[HistoryRow],
    outlook: Outlook | None = None,
    *,
    market_prices: Mapping[int, int] | None = None,
) -> Preview:
    """Replay the policy over metered intervals.

    ``outlook`` brings what else the policy looks at: time zone, the price source's prices, tariffs, holidays, events.
    ``market_prices`` are what sellers received in the market, 1e-6 per kWh by delivery start.
    """
    seen = replace(outlook or Outlook(), away=False, held=frozenset())
    tally = _Tally()
    for row in history:
        forecast = Forecast(row.net_wh, "as it was metered")
        situation = Situation(row.start - info.gate_s, row.start, forecast, info, limits, seen)
        decision = decide(policy, bounds, situation)
        tally.count(seen.local(row.start), row.net_wh, situation, decision, (market_prices or {}).get(row.start))
    return tally.result(info.interval_s)


def would_have(decision: Decision, price_micro_per_kwh: int, info: MarketInfo | None = None) -> int:
    """Return the gain (1e-6) of a decision that was never placed, had it met this price in the market.

    Against the owner's tariff of its interval, as the decision knew it (``tariff_micro_per_kwh`` of its inputs). 0
    without an order, and when the price is not within its limit. ``info`` brings the fees that a buyer pays.
    """
    order = decision.order
    if order is None:
        return 0
    paid = _paid(order, price_micro_per_kwh, info)
    if paid is None:
        return 0
    tariff = decision.reason.inputs["tariff_micro_per_kwh"]
    selling = order.side is Side.SELL
    return _money(order, paid) + (
        -cover_micro(order.energy_wh, tariff) if selling else value_micro(order.energy_wh, tariff)
    )


def without_market_micro(net_wh: int, tariff: Tariff) -> int:
    """Return what an interval's energy brings (negative: costs) at the supplier's tariff alone."""
    if net_wh < 0:
        return value_micro(-net_wh, tariff.feed_in_micro_per_kwh)
    return -cover_micro(net_wh, tariff.supplier_micro_per_kwh)


@dataclass(slots=True)
class _Tally:
    by_day: dict[date, Money] = field(default_factory=dict)
    intervals: int = 0
    traded: int = 0
    assumed: int = 0
    rules: dict[str, int] = field(default_factory=dict)

    def count(self, at: datetime, net_wh: int, situation: Situation, decision: Decision, price: int | None) -> None:
        """Add one interval: what its order, at the market's price or else its limit, leaves to the supplier."""
        self.intervals += 1
        self.rules[decision.reason.rule] = self.rules.get(decision.reason.rule, 0) + 1
        order, without_micro = decision.order, without_market_micro(net_wh, situation.tariff)
        money = Money(money_micro=without_micro, without_micro=without_micro)
        if order is not None:
            paid = order.limit_price_micro_per_kwh if price is None else _paid(order, price, situation.info)
            if paid is not None:
                self.traded += 1
                self.assumed += price is None
                money = _with_order(order, paid, net_wh, situation.tariff, without_micro)
        self.by_day[at.date()] = self.by_day.get(at.date(), Money()).plus(money)

    def result(self, interval_s: int) -> Preview:
        """Return the sum of all days."""
        total = Money()
        for money in self.by_day.values():
            total = total.plus(money)
        return Preview(
            total, self.intervals * interval_s, self.by_day, self.intervals, self.traded, self.assumed, self.rules
        )


def _with_order(order: OrderTerms, paid: int, net_wh: int, tariff: Tariff, without_micro: int) -> Money:
    """Return an interval in which the order traded; it never holds more than was metered."""
    selling = order.side is Side.SELL
    rest_wh = net_wh + order.energy_wh if selling else net_wh - order.energy_wh
    return Money(
        bought_wh=0 if selling else order.energy_wh,
        sold_wh=order.energy_wh if selling else 0,
        money_micro=_money(order, paid) + without_market_micro(rest_wh, tariff),
        without_micro=without_micro,
    )


def _money(order: OrderTerms, paid: int) -> int:
    """Return what the trade brings (negative: costs), rounded against the home."""
    selling = order.side is Side.SELL
    return value_micro(order.energy_wh, paid) if selling else -cover_micro(order.energy_wh, paid)


def _paid(order: OrderTerms, price: int, info: MarketInfo | None) -> int | None:
    """Return what the order gets or pays per kWh at the market's price, ``None`` when its limit forbids it."""
    if order.side is Side.SELL:
        return price if price >= order.limit_price_micro_per_kwh else None
    paid = price if info is None else price_with_fees(price, info)
    return paid if paid <= order.limit_price_micro_per_kwh else None
