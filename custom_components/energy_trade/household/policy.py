"""Policies: what to order for one interval, and why.

A policy is one class with a ``name`` and ``decide``; it never sees keys, clocks or the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from .counterfactual import least_gain_micro
from .forecast import Forecast
from .reason import Reason, price_text
from .terms import HomeLimits


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a policy may look at when it decides about one interval."""

    at: int
    delivery_start: int
    forecast: Forecast | None
    info: MarketInfo
    limits: HomeLimits


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """The order that a policy wants."""

    side: Side
    energy_wh: int
    limit_price_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Decision:
    """An order or none, always with its reason."""

    order: OrderTerms | None
    reason: Reason


class Policy(Protocol):
    """Decides about one interval."""

    @property
    def name(self) -> str:
        """A stable word that reasons and settings use."""

    def limit_for(self, side: Side, info: MarketInfo) -> int:
        """Return the limit price (micro per kWh) that an order on this side would have now."""

    def decide(self, situation: Situation) -> Decision:
        """Return the order for the situation's interval, or none, with the reason."""


@dataclass(frozen=True, slots=True)
class SurplusPolicy:
    """Sell only what is left over, buy what is missing, each at a fixed limit price.

    The no-regret guard holds both limits between the tariffs: never below the feed-in tariff when
    selling, never above the supplier's when buying.
    """

    sell_price_micro_per_kwh: int
    buy_price_micro_per_kwh: int

    @property
    def name(self) -> str:
        """The policy's name in reasons and settings."""
        return "surplus"

    @classmethod
    def between_tariffs(cls, info: MarketInfo) -> SurplusPolicy:
        """Ask for a third of the spread above feed-in, offer up to two thirds of it."""
        spread = info.supplier_micro_per_kwh - info.feed_in_micro_per_kwh
        return cls(
            sell_price_micro_per_kwh=info.feed_in_micro_per_kwh + spread // 3,
            buy_price_micro_per_kwh=info.feed_in_micro_per_kwh + 2 * spread // 3,
        )

    def limit_for(self, side: Side, info: MarketInfo) -> int:
        """The worst price it accepts: never below feed-in when selling, above the supplier's when buying."""
        if side is Side.SELL:
            return max(self.sell_price_micro_per_kwh, info.feed_in_micro_per_kwh)
        return min(self.buy_price_micro_per_kwh, info.supplier_micro_per_kwh)

    def decide(self, situation: Situation) -> Decision:
        """Sell the expected surplus, buy the expected need, or say why not."""
        forecast, info = situation.forecast, situation.info
        if forecast is None:
            return self._nothing(situation, "no_forecast", "the meter has no recent interval")
        if forecast.net_wh == 0:
            return self._nothing(situation, "balanced", "neither surplus nor need is expected")
        if forecast.net_wh < 0:
            most_wh = situation.limits.export_max_wh(info.interval_s)
            wish = OrderTerms(Side.SELL, min(-forecast.net_wh, most_wh), self.limit_for(Side.SELL, info))
        else:
            most_wh = situation.limits.import_max_wh(info.interval_s)
            wish = OrderTerms(Side.BUY, min(forecast.net_wh, most_wh), self.limit_for(Side.BUY, info))
        order = replace(wish, energy_wh=min(wish.energy_wh, info.order_energy_max_wh))
        if order.energy_wh < 1:
            return self._nothing(situation, "limit_zero", "the connection's limits allow nothing")
        limit = order.limit_price_micro_per_kwh
        if not info.price_min_micro_per_kwh <= limit <= info.price_max_micro_per_kwh:
            price = price_text(limit, info.currency)
            text = f"the limit {price} is outside the market's price band"
            return self._nothing(situation, "outside_band", text)
        return Decision(order, self._reason(order, forecast, info))

    def _reason(self, order: OrderTerms, forecast: Forecast, info: MarketInfo) -> Reason:
        selling = order.side is Side.SELL
        limit = order.limit_price_micro_per_kwh
        wished = self.sell_price_micro_per_kwh if selling else self.buy_price_micro_per_kwh
        tariff = info.feed_in_micro_per_kwh if selling else info.supplier_micro_per_kwh
        text = (
            f"{order.side} {order.energy_wh} Wh for {'at least' if selling else 'at most'}"
            f" {price_text(limit, info.currency)}: {forecast.text}"
        )
        if limit != wished:
            text += f"; {price_text(wished, info.currency)} was asked for, the tariff is better"
        pays = "the supplier pays" if selling else "the supplier takes"
        return Reason(
            policy=self.name,
            rule="no_regret_guard" if limit != wished else f"{order.side}_at_fixed_price",
            inputs={
                "forecast_net_wh": forecast.net_wh,
                "energy_wh": order.energy_wh,
                "limit_price_micro_per_kwh": limit,
                "tariff_micro_per_kwh": tariff,
                "least_gain_micro": least_gain_micro(order.side, order.energy_wh, limit, tariff),
            },
            text=text,
            alternative=f"without a trade {pays} {price_text(tariff, info.currency)}",
        )

    def _nothing(self, situation: Situation, rule: str, text: str) -> Decision:
        info, forecast = situation.info, situation.forecast
        supplier = price_text(info.supplier_micro_per_kwh, info.currency)
        feed_in = price_text(info.feed_in_micro_per_kwh, info.currency)
        inputs = {} if forecast is None else {"forecast_net_wh": forecast.net_wh}
        alternative = f"the supplier delivers for {supplier} and pays {feed_in}"
        return Decision(None, Reason(self.name, rule, inputs, f"no order: {text}", alternative))
