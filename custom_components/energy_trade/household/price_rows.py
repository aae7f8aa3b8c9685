"""Reads prices of electricity in the shapes in which they are told: units, rows with times, responses of actions.

Nothing is guessed: a unit that is not known, another currency, a number that is none, a price no tariff comes near
are all refused with a ``PriceProblem``. Rows without a time are no rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from itertools import pairwise

from ..protocol.client import MarketInfo
from ..protocol.units import MICRO
from .reason import Refusal
from .resample import means
from .terms import SECONDS_PER_HOUR

ABSURD_TIMES_TARIFF = 30
"""Spot prices have reached some ten times a household's tariff; ct read as EUR are a hundred times."""
ROWS_MAX = 2_000

_KWH_PER = {"wh": Decimal("0.001"), "kwh": Decimal(1), "mwh": Decimal(1_000), "gwh": Decimal(1_000_000)}
_SYMBOLS = {
    "€": ("EUR",), "£": ("GBP",), "$": ("USD", "AUD", "CAD", "NZD", "SGD"), "kr": ("SEK", "NOK", "DKK", "ISK"),
    "zł": ("PLN",), "kč": ("CZK",), "ft": ("HUF",), "lei": ("RON",), "fr": ("CHF",), "fr.": ("CHF",),
}  # fmt: skip
_HUNDREDTHS = {
    **dict.fromkeys(("ct", "cent", "cents", "c", "¢"), ("EUR", "USD", "AUD", "CAD", "NZD", "SGD")),
    **dict.fromkeys(("öre", "øre", "ore"), ("SEK", "NOK", "DKK")), **dict.fromkeys(("p", "pence"), ("GBP",)),
    **dict.fromkeys(("rp", "rp.", "rappen"), ("CHF",)), **dict.fromkeys(("gr", "grosz", "groszy"), ("PLN",)),
    **dict.fromkeys(("st", "stotinki"), ("BGN",)), **dict.fromkeys(("bani",), ("RON",)),
}  # fmt: skip
_CENTS = ("ct", "cent", "cents")
_LISTS = (
    "raw_today", "raw_tomorrow", "prices_today", "prices_tomorrow", "prices", "rates", "price_data", "data",
    "forecasts", "forecast", "today", "tomorrow",
)  # fmt: skip
"""Attributes in which integrations put their rows; what is named first wins where two speak of the same time."""
_STARTS = (
    "start", "start_time", "starts_at", "startsAt", "start_at", "valid_from", "from", "datetime", "hour", "time",
    "timestamp", "date",
)  # fmt: skip
_ENDS = ("end", "end_time", "ends_at", "endsAt", "end_at", "valid_to", "to", "till")
_VALUES = ("value", "price", "total", "per_kwh", "value_inc_vat", "electricity_price")
_VALUES_OWN_UNIT = {
    "price_per_kwh": "{}/kWh",
    "price_eur_per_kwh": "EUR/kWh",
    "price_ct_per_kwh": "ct/kWh",
    "price_eur_per_mwh": "EUR/MWh",
}


class PriceProblem(Refusal):
    """Why there is no price; ``code`` is one of ``PRICE_PROBLEMS``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A price from ``start`` to before ``end`` (UTC seconds), 1e-6 of the currency per kWh."""

    start: int
    end: int
    price_micro_per_kwh: int


PRICE_PROBLEMS = (
    "missing", "unavailable", "not_a_number", "unit", "currency", "absurd", "no_prices", "not_loaded", "failed",
    "ambiguous",
)  # fmt: skip
"""Every ``code`` of a ``PriceProblem``."""


def factor_of(unit: str | None, currency: str) -> Decimal | PriceProblem:
    """Return what a price in ``unit`` is to be multiplied with to be 1e-6 of the currency per kWh."""
    money, _slash, energy = (unit or "").strip().partition("/")
    money, energy = money.strip(), energy.strip().casefold()
    if energy not in _KWH_PER:
        return PriceProblem(
            "unit", f"the unit {unit!r} is no price of energy: expected {currency}/kWh, ct/kWh or alike"
        )
    word = money.casefold()
    names = (currency.casefold(), *(sign for sign, codes in _SYMBOLS.items() if currency in codes))
    if any(word in (f"{name}{between}{cent}" for between in ("", " ", "-") for cent in _CENTS) for name in names):
        return MICRO / (100 * _KWH_PER[energy])
    if word == currency.casefold() or currency in _SYMBOLS.get(word, ()):
        return MICRO / _KWH_PER[energy]
    if currency in _HUNDREDTHS.get(word, ()):
        return MICRO / (100 * _KWH_PER[energy])
    return PriceProblem("currency", f"the unit {unit!r} is not in the market's currency {currency}")


def price_of(value: object, factor: Decimal, info: MarketInfo) -> int | PriceProblem:
    """Return a told price in 1e-6 per kWh; refuse what is no number and what no tariff comes near."""
    number: Decimal | None = None
    if isinstance(value, int | float | Decimal | str):
        try:
            number = Decimal(str(value).strip())
        except ArithmeticError:
            number = None
    if number is None or not number.is_finite():
        return PriceProblem("not_a_number", f"{str(value)[:40]!r} is no price: waiting for a number")
    tariff = info.supplier_micro_per_kwh or info.price_max_micro_per_kwh
    if abs(number * factor) > ABSURD_TIMES_TARIFF * tariff:
        reason = f"{number} would be more than {ABSURD_TIMES_TARIFF} times the market's tariff: check the unit"
        return PriceProblem("absurd", reason)
    return round(number * factor)


def rows_in(
    attributes: Mapping[str, object], unit: str | None, info: MarketInfo, zone: tzinfo
) -> tuple[PriceRow, ...] | PriceProblem:
    """Return the rows that a sensor's attributes tell, oldest first; none when no attribute has a known shape."""
    lists = [value for name in _LISTS if (value := attributes.get(name)) is not None]
    found: list[PriceRow] = []
    for told in (*lists, attributes):
        rows = rows_of(told, unit, info, zone)
        if isinstance(rows, PriceProblem):
            return rows
        found = _merged(found, rows)
    return tuple(found)


def rows_of(told: object, unit: str | None, info: MarketInfo, zone: tzinfo) -> tuple[PriceRow, ...] | PriceProblem:
    """Return the rows of a list of mappings, or of one mapping from times to prices.

    A row without time or with no price yet is passed over. Times without a zone are local.
    """
    timed: list[tuple[int, int | None, int]] = []
    last: datetime | None = None
    for raw_start, raw_end, value, own_unit in _told(told, info.currency):
        factor = factor_of(own_unit or unit, info.currency)
        if isinstance(factor, PriceProblem):
            return factor
        price = price_of(value, factor, info)
        if isinstance(price, PriceProblem):
            if price.code == "absurd":
                return price
            continue
        last = _moment(raw_start, zone, last)
        if last is not None:
            end = _moment(raw_end, zone, None)
            timed.append((int(last.timestamp()), None if end is None else int(end.timestamp()), price))
    return tuple(_with_ends(timed))


def per_interval(rows: Sequence[PriceRow], interval_s: int) -> dict[int, int]:
    """Return the mean price of each market interval that the rows cover whole; of overlapping rows the first counts."""
    return means(((row.start, row.end, row.price_micro_per_kwh) for row in _merged([], rows)), interval_s)


def _told(told: object, currency: str) -> Iterator[tuple[object, object, object, str | None]]:
    """Yield (start, end, value, unit of its own or None) of whatever looks like a row."""
    if isinstance(told, Mapping):
        times = [(key, value) for key, value in told.items() if isinstance(key, datetime) or _is_iso(key)]
        yield from ((key, None, value, None) for key, value in times[:ROWS_MAX])
        return
    if not isinstance(told, list | tuple):
        return
    for row in told[:ROWS_MAX]:
        if not isinstance(row, Mapping):
            continue
        start, end = _first(row, _STARTS), _first(row, _ENDS)
        own = next((key for key in _VALUES_OWN_UNIT if row.get(key) is not None), None)
        if own is not None:
            yield start, end, row[own], _VALUES_OWN_UNIT[own].format(currency)
        elif (value := _first(row, _VALUES)) is not None:
            yield start, end, value, None


def _first(row: Mapping[object, object], names: Iterable[str]) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _is_iso(key: object) -> bool:
    return isinstance(key, str) and len(key) >= 16 and key[4:5] == "-" and key[:4].isdecimal()


def _moment(told: object, zone: tzinfo, last: datetime | None) -> datetime | None:
    """Read a time; a local one that does not come after ``last`` is the second of an hour that is there twice."""
    moment: datetime | None = None
    if isinstance(told, datetime):
        moment = told
    elif isinstance(told, int | float) and not isinstance(told, bool) and 1e9 < told < 1e13:
        moment = datetime.fromtimestamp(told / 1_000 if told > 1e11 else told, UTC)
    elif _is_iso(told):
        try:
            moment = datetime.fromisoformat(str(told))
        except ValueError:
            return None
    if moment is None or moment.tzinfo is not None:
        return moment
    local = moment.replace(tzinfo=zone)
    if last is not None and local.astimezone(UTC) <= last.astimezone(UTC):
        later = local.replace(fold=1)
        return later if later.astimezone(UTC) > last.astimezone(UTC) else local
    return local


def _with_ends(timed: list[tuple[int, int | None, int]]) -> Iterator[PriceRow]:
    """Yield rows in order, each once; a row that names no end lasts to the next, an hour at most."""
    unique = sorted({start: (start, end, price) for start, end, price in reversed(timed)}.values())
    steps = [min(after[0] - before[0], SECONDS_PER_HOUR) for before, after in pairwise(unique)]
    steps.append(min(steps, default=SECONDS_PER_HOUR))
    for (start, end, price), step in zip(unique, steps, strict=False):
        following = step if end is None else end - start
        if 0 < following <= 24 * SECONDS_PER_HOUR:
            yield PriceRow(start, start + following, price)


def _merged(rows: list[PriceRow], more: Iterable[PriceRow]) -> list[PriceRow]:
    """Return all rows in order; of those that overlap the ones that were there first, then the earlier."""
    kept = list(rows)
    for row in more:
        place = bisect_left(kept, row.start, key=lambda other: other.start)
        after = place == len(kept) or row.end <= kept[place].start
        if after and (place == 0 or kept[place - 1].end <= row.start):
            kept.insert(place, row)
    return kept
