"""Policies with fixed prices: what is left over and what is missing, or one side only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ...protocol.client import MarketInfo
from ..policy import Situation, Tariff, Wish
from ..settings import Field, FieldKind, Settings, SettingsInvalid
from .reading import between, checked


@dataclass(frozen=True, slots=True)
class SurplusPolicy:
    """Sell only what is left over, buy only what is missing, each at a fixed limit price."""

    sell_micro_per_kwh: int
    buy_micro_per_kwh: int

    kind: ClassVar[str] = "surplus"
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("sell", FieldKind.PRICE), Field("buy", FieldKind.PRICE))
    RULES: ClassVar[tuple[str, ...]] = ("sell_surplus", "buy_missing")

    @classmethod
    def between_tariffs(cls, info: MarketInfo) -> Self:
        """Ask for a third of the spread above feed-in, offer up to two thirds of it."""
        return cls(*between(Tariff(info.supplier_micro_per_kwh, info.feed_in_micro_per_kwh)))

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose prices that leave both neighbours a gain."""
        made = cls.between_tariffs(info)
        return {"sell": made.sell_micro_per_kwh, "buy": made.buy_micro_per_kwh}

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read the two prices."""
        values = checked(cls.FIELDS, settings, info)
        return cls(values["sell"], values["buy"])

    def wish(self, situation: Situation) -> Wish:
        """Name both prices; the rule says which of them the forecast calls for."""
        needs = situation.forecast is not None and situation.forecast.need_wh > 0
        rule, text = ("buy_missing", "buys what is missing") if needs else ("sell_surplus", "sells what is left over")
        return Wish(self.sell_micro_per_kwh, self.buy_micro_per_kwh, rule, text)


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Trade at fixed prices; without a price for a side it does not trade there."""

    sell_micro_per_kwh: int | None
    buy_micro_per_kwh: int | None

    kind: ClassVar[str] = "fixed"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("sell", FieldKind.PRICE, required=False),
        Field("buy", FieldKind.PRICE, required=False),
    )
    RULES: ClassVar[tuple[str, ...]] = ("fixed_price", "side_without_price")

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose prices that leave both neighbours a gain."""
        return SurplusPolicy.proposed(info)

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read the prices; at least one is needed."""
        values = checked(cls.FIELDS, settings, info)
        if values["sell"] is None and values["buy"] is None:
            raise SettingsInvalid("sell", "needs_a_price", "name a price to sell or to buy at, or both")
        return cls(values["sell"], values["buy"])

    def wish(self, situation: Situation) -> Wish:
        """Name the prices there are."""
        sell, buy = self.sell_micro_per_kwh, self.buy_micro_per_kwh
        needs = situation.forecast is not None and situation.forecast.need_wh > 0
        if (buy if needs else sell) is None:
            side = "buying" if needs else "selling"
            return Wish(sell, buy, "side_without_price", f"there is no price for {side}")
        return Wish(sell, buy, "fixed_price", "at the owner's fixed price")
