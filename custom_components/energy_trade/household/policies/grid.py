"""Policies that help the grid: prices and energy follow its events, or its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ...protocol.client import MarketInfo
from ..outlook import EventKind, GridState
from ..policy import Situation, Wish
from ..settings import Field, FieldKind, Settings
from .fixed import SurplusPolicy
from .reading import checked


@dataclass(frozen=True, slots=True)
class DemandResponsePolicy:
    """Trade at base prices, and follow the grid's events with prices and energy.

    An event that asks for less from the grid lowers both prices by ``event_price_percent`` (surplus finds its buyer,
    need costs less or waits) and buys only ``reduce_buy_percent`` of the need. One that asks to take more raises both
    and sells only ``increase_sell_percent`` of the surplus.
    """

    sell_micro_per_kwh: int
    buy_micro_per_kwh: int
    event_price_percent: int
    reduce_buy_percent: int
    increase_sell_percent: int

    kind: ClassVar[str] = "demand_response"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("sell", FieldKind.PRICE),
        Field("buy", FieldKind.PRICE),
        Field("event_price_percent", FieldKind.PERCENT),
        Field("reduce_buy_percent", FieldKind.PERCENT),
        Field("increase_sell_percent", FieldKind.PERCENT),
    )
    RULES: ClassVar[tuple[str, ...]] = ("base_price", "event_reduce", "event_increase")

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose prices between the tariffs, a fifth of difference in an event, and half of the energy."""
        changes = {"event_price_percent": 20, "reduce_buy_percent": 50, "increase_sell_percent": 50}
        return SurplusPolicy.proposed(info) | changes

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read base prices and percentages."""
        values = checked(cls.FIELDS, settings, info)
        return cls(
            values["sell"],
            values["buy"],
            values["event_price_percent"],
            values["reduce_buy_percent"],
            values["increase_sell_percent"],
        )

    def wish(self, situation: Situation) -> Wish:
        """Name the base prices, or those of the event that overlaps the interval."""
        event = situation.outlook.event_in(situation.delivery_start, situation.delivery_end)
        sell, buy = self.sell_micro_per_kwh, self.buy_micro_per_kwh
        if event is None:
            return Wish(sell, buy, "base_price", "at the base price, for no event is announced")
        change = self.event_price_percent if event.kind is EventKind.INCREASE else -self.event_price_percent
        sell, buy = (price + abs(price) * change // 100 for price in (sell, buy))
        inputs = {"event_start": event.start, "event_end": event.end, "event_price_change_percent": change}
        if event.kind is EventKind.REDUCE:
            share = self.reduce_buy_percent
            text = f"{event.source} asks to take less: prices fall, {share} % of the need is bought"
            return Wish(sell, buy, "event_reduce", text, inputs | {"buy_percent": share}, buy_percent=share)
        share = self.increase_sell_percent
        text = f"{event.source} asks to take more: prices rise, {share} % of the surplus is sold"
        return Wish(sell, buy, "event_increase", text, inputs | {"sell_percent": share}, sell_percent=share)


@dataclass(frozen=True, slots=True)
class GridStabilityPolicy:
    """Trade at base prices plus what energy is worth more in the grid's state, or less when there is too much.

    The premiums are added to both prices: scarce energy is offered and sought for more. In an emergency only
    ``emergency_buy_percent`` of the need is bought. While the grid is normal and the community expects a surplus in
    the interval, ``surplus_discount`` is taken off both.
    """

    sell_micro_per_kwh: int
    buy_micro_per_kwh: int
    strained_premium_micro_per_kwh: int
    emergency_premium_micro_per_kwh: int
    island_premium_micro_per_kwh: int
    surplus_discount_micro_per_kwh: int
    emergency_buy_percent: int

    kind: ClassVar[str] = "grid_stability"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("sell", FieldKind.PRICE),
        Field("buy", FieldKind.PRICE),
        Field("strained_premium", FieldKind.PRICE),
        Field("emergency_premium", FieldKind.PRICE),
        Field("island_premium", FieldKind.PRICE),
        Field("surplus_discount", FieldKind.PRICE),
        Field("emergency_buy_percent", FieldKind.PERCENT),
    )
    RULES: ClassVar[tuple[str, ...]] = (
        "grid_normal",
        "grid_strained",
        "grid_emergency",
        "grid_island",
        "community_surplus",
    )

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose prices between the tariffs, and premiums that are shares of the way from there to the supplier's."""
        base = SurplusPolicy.between_tariffs(info)
        step = (info.supplier_micro_per_kwh - base.buy_micro_per_kwh) // 4
        return SurplusPolicy.proposed(info) | {
            "strained_premium": step,
            "emergency_premium": 3 * step,
            "island_premium": 2 * step,
            "surplus_discount": step,
            "emergency_buy_percent": 50,
        }

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read base prices, premiums and the share of an emergency."""
        values = checked(cls.FIELDS, settings, info)
        return cls(
            values["sell"],
            values["buy"],
            values["strained_premium"],
            values["emergency_premium"],
            values["island_premium"],
            values["surplus_discount"],
            values["emergency_buy_percent"],
        )

    def wish(self, situation: Situation) -> Wish:
        """Name the base prices with what the grid's state, or the community's surplus, adds to them."""
        outlook = situation.outlook
        surplus_wh = outlook.community_surplus.get(situation.delivery_start)
        inputs = {"grid_state": int(outlook.grid_state)}
        if surplus_wh is not None:
            inputs["community_surplus_wh"] = surplus_wh
        rule, text, premium = self._premium(outlook.grid_state, surplus_wh)
        return Wish(
            self.sell_micro_per_kwh + premium,
            self.buy_micro_per_kwh + premium,
            rule,
            text,
            inputs | {"premium_micro_per_kwh": premium},
            buy_percent=self.emergency_buy_percent if outlook.grid_state is GridState.EMERGENCY else 100,
        )

    def _premium(self, state: GridState, surplus_wh: int | None) -> tuple[str, str, int]:
        match state:
            case GridState.STRAINED:
                return "grid_strained", "the grid is strained", self.strained_premium_micro_per_kwh
            case GridState.EMERGENCY:
                return "grid_emergency", "the grid is in an emergency", self.emergency_premium_micro_per_kwh
            case GridState.ISLAND:
                return "grid_island", "the community runs as an island", self.island_premium_micro_per_kwh
        if surplus_wh is not None and surplus_wh > 0:
            text = f"the community expects {surplus_wh} Wh too much"
            return "community_surplus", text, -self.surplus_discount_micro_per_kwh
        return "grid_normal", "the grid is normal", 0
