"""The dynamic policy: prices follow any source of prices, such as the owner's spot tariff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ...protocol.client import MarketInfo
from ..policy import Situation, Wish
from ..reason import price_text
from ..settings import Field, FieldKind, Settings, SettingsInvalid
from .reading import between, checked

PERCENT_MOST = 300


@dataclass(frozen=True, slots=True)
class DynamicPolicy:
    """Trade at a share of the source's price plus an offset, for each side its own, within two bounds.

    An interval without a price is not traded, unless ``fallback``: then it has prices between the tariffs.
    """

    sell_percent: int
    buy_percent: int
    sell_offset_micro_per_kwh: int = 0
    buy_offset_micro_per_kwh: int = 0
    lowest_micro_per_kwh: int | None = None
    highest_micro_per_kwh: int | None = None
    fallback: bool = False

    kind: ClassVar[str] = "dynamic"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("price_source", FieldKind.ENTITY, choices=("sensor", "number", "input_number")),
        Field("sell_percent", FieldKind.PERCENT, most=PERCENT_MOST),
        Field("sell_offset", FieldKind.PRICE),
        Field("buy_percent", FieldKind.PERCENT, most=PERCENT_MOST),
        Field("buy_offset", FieldKind.PRICE),
        Field("lowest", FieldKind.PRICE, required=False),
        Field("highest", FieldKind.PRICE, required=False),
        Field("without_price", FieldKind.CHOICE, choices=("nothing", "between_tariffs")),
    )
    RULES: ClassVar[tuple[str, ...]] = ("dynamic_price", "price_missing", "price_fallback")

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose 70 % of the price to sell, 95 % to buy, within the market's band; only the owner knows the source."""
        return {
            "sell_percent": 70,
            "sell_offset": 0,
            "buy_percent": 95,
            "buy_offset": 0,
            "lowest": info.price_min_micro_per_kwh,
            "highest": info.price_max_micro_per_kwh,
            "without_price": "nothing",
        }

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read shares, offsets and bounds."""
        values = checked(cls.FIELDS, settings, info)
        lowest, highest = values["lowest"], values["highest"]
        if lowest is not None and highest is not None and highest < lowest:
            raise SettingsInvalid("highest", "highest_below_lowest", "the highest price is below the lowest")
        return cls(
            sell_percent=values["sell_percent"],
            buy_percent=values["buy_percent"],
            sell_offset_micro_per_kwh=values["sell_offset"],
            buy_offset_micro_per_kwh=values["buy_offset"],
            lowest_micro_per_kwh=lowest,
            highest_micro_per_kwh=highest,
            fallback=values["without_price"] == "between_tariffs",
        )

    def wish(self, situation: Situation) -> Wish:
        """Name the source's price for the interval, changed by share and offset."""
        outlook = situation.outlook
        price = outlook.prices.get(situation.delivery_start)
        if price is None:
            problem = outlook.price_problem or "the price source names no price for this interval"
            if not self.fallback:
                return Wish(None, None, "price_missing", problem)
            return Wish(*between(situation.tariff), "price_fallback", f"between the tariffs, for {problem}")
        sell = self._within(price * self.sell_percent // 100 + self.sell_offset_micro_per_kwh)
        buy = self._within(price * self.buy_percent // 100 + self.buy_offset_micro_per_kwh)
        text = f"the price source says {price_text(price, situation.info.currency)}"
        return Wish(sell, buy, "dynamic_price", text, {"source_price_micro_per_kwh": price})

    def _within(self, price: int) -> int:
        if self.lowest_micro_per_kwh is not None:
            price = max(price, self.lowest_micro_per_kwh)
        return price if self.highest_micro_per_kwh is None else min(price, self.highest_micro_per_kwh)
