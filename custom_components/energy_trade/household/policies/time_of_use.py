"""The time-of-use policy: prices by the hour, the weekday, the season and the holiday."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ...protocol.client import MarketInfo
from ..bands import Band, band_at, refuse_gaps, refuse_hidden
from ..policy import Situation, Tariff, Wish
from ..settings import Field, FieldKind, Settings
from .reading import between, checked, clock_text


@dataclass(frozen=True, slots=True)
class TimeOfUsePolicy:
    """Take the prices of the first band that the interval's beginning lies in, on the home's own clock."""

    bands: tuple[Band, ...]

    kind: ClassVar[str] = "time_of_use"
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("bands", FieldKind.BANDS),)
    RULES: ClassVar[tuple[str, ...]] = ("band_price", "band_without_price", "no_band")

    @classmethod
    def proposed(cls, info: MarketInfo) -> Settings:
        """Propose an evening peak with higher prices, and the rest of the day between the tariffs."""
        sell, buy = between(Tariff(info.supplier_micro_per_kwh, info.feed_in_micro_per_kwh))
        step = (buy - sell) // 2
        return {
            "bands": [
                {"from": 17 * 60, "to": 21 * 60, "sell": sell + step, "buy": buy + step},
                {"from": 0, "to": 24 * 60, "sell": sell, "buy": buy},
            ]
        }

    @classmethod
    def from_settings(cls, settings: Settings, info: MarketInfo) -> Self:
        """Read the bands; each must be reached, and together they must leave no minute of the year without one."""
        bands: tuple[Band, ...] = checked(cls.FIELDS, settings, info)["bands"]
        refuse_hidden("bands", bands)
        refuse_gaps("bands", bands)
        return cls(bands)

    def wish(self, situation: Situation) -> Wish:
        """Name the prices of the band."""
        outlook, start = situation.outlook, situation.delivery_start
        local = outlook.local(start)
        minute = local.hour * 60 + local.minute
        band = band_at(self.bands, minute, local.weekday(), local.month, local.date() in outlook.holidays)
        clock = clock_text(outlook, start)
        if band is None:
            return Wish(None, None, "no_band", f"{clock} lies in none of the bands", {"local_minute": minute})
        inputs = {"local_minute": minute, "band": self.bands.index(band) + 1}
        text = f"{clock} lies in the band {band.text}"
        sell, buy = band.sell_micro_per_kwh, band.buy_micro_per_kwh
        needs = situation.forecast is not None and situation.forecast.need_wh > 0
        if (buy if needs else sell) is None:
            text += f", which has no price for {'buying' if needs else 'selling'}"
            return Wish(sell, buy, "band_without_price", text, inputs)
        return Wish(sell, buy, "band_price", text, inputs)
