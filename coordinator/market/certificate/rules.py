"""What each rule makes of one book, worked out once more from the rules as they are published.

Prices in 1e-6 currency per kWh, energy in Wh. The rules' sources stand with the mechanisms; nothing of them is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .book import Book, Row, by_merit, shared

_PPM = 1_000_000

type Deal = tuple[str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class Expected:
    """What follows: the price with its range, all fills, and each trade's price and fee.

    ``deals`` are the trades themselves (buyer, seller, energy, price, fee) where each has a price of its own.
    """

    price: int
    low: int
    high: int
    fills: Mapping[str, int]
    fee: int = 0
    deals: Sequence[Deal] | None = None


class UnknownRuleError(ValueError):
    """The terms name no rule that there is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The rule with all that it needs, as a certificate states it."""

    mechanism: str
    price: str
    reference: int | None
    ties: str
    version: int
    bid_share_ppm: int
    band: tuple[int, int] | None
    tariff: tuple[int, int] | None

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Terms:
        """Read a certificate's terms; raise ``UnknownRuleError`` for a rule that there is not."""
        told, band, tariff = stated["terms"], stated["band"], stated["tariff"]
        terms = cls(
            told["mechanism"],
            told["price"],
            told["reference_price"],
            told["ties"],
            told["version"],
            told["bid_share_ppm"],
            None if band is None else (band[0], band[1]),
            None if tariff is None else (tariff[0], tariff[1]),
        )
        if terms.mechanism not in _RULES or terms.price not in {"midpoint", "reference"}:
            raise UnknownRuleError(f"no rule is called {terms.mechanism!r} with the price {terms.price!r}")
        if terms.ties not in {"pro_rata", "time"} or not 0 <= terms.bid_share_ppm <= _PPM:
            raise UnknownRuleError(f"no rule has ties {terms.ties!r} and {terms.bid_share_ppm} ppm for the seller")
        return terms

    def name(self, *, is_coupled: bool) -> str:
        """Return the rule's name in results: where intervals or nodes are coupled prices are midpoints."""
        own = {
            "uniform": "-midpoint" if is_coupled else f"-{self.price}",
            "pay_as_bid": f"-{self.bid_share_ppm}ppm",
        }.get(self.mechanism, "")
        return f"{self.mechanism}{own}-{self.ties}/{self.version}"


def expected(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """Return what a call auction of this book comes to, ``None`` when nothing trades."""
    return _RULES[terms.mechanism](terms, bids, asks)


def _uniform(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """The largest volume at one price: the middle of those that support it, or the nearest to the reference."""
    book = Book(bids, asks)
    if not book.volume_wh:
        return None
    low, high = book.low, book.high
    if low is None and high is None:
        low = high = _unbounded(terms)
    low, high = (high if low is None else low), (low if high is None else high)
    if low is None or high is None:
        return None
    return Expected(_price(terms, book, low, high), low, high, book.fills(terms.ties))


def _unbounded(terms: Terms) -> int | None:
    """Return the price between market orders alone: the reference within the band, else the band's middle."""
    if terms.band is None:
        return terms.reference
    low, high = terms.band
    return (low + high) // 2 if terms.reference is None else sorted((low, terms.reference, high))[1]


def _price(terms: Terms, book: Book, low: int, high: int) -> int:
    middle = (low + high) // 2
    if terms.price == "midpoint":
        return middle
    best = {price: surplus for price, surplus in book.best_limits().items() if low <= price <= high}
    if not best:
        return middle
    if min(best.values()) > 0:
        return max(best)
    if max(best.values()) < 0:
        return min(best)
    reference = terms.reference
    return middle if reference is None else min(best, key=lambda price: (abs(price - reference), -price))


def _pay_as_bid(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """The same volume, the best bid with the best ask, each pair at its own share of what lies between them."""
    same = _uniform(terms, bids, asks)
    if same is None:
        return None
    deals: list[Deal] = []
    for (buy, _, value), (sell, _, cost), energy_wh in _merit_pairs(bids, asks, same.fills):
        most = value if value is not None else cost if cost is not None else same.price
        least = most if cost is None else cost
        deals.append((buy, sell, energy_wh, least + terms.bid_share_ppm * (most - least) // _PPM, 0))
    prices = [price for _, _, _, price, _ in deals]
    volume_wh = sum(energy_wh for _, _, energy_wh, _, _ in deals)
    mean = sum(energy_wh * price for _, _, energy_wh, price, _ in deals) // volume_wh
    return Expected(mean, min(prices), max(prices), same.fills, 0, deals)


def _merit_pairs(bids: Sequence[Row], asks: Sequence[Row], fills: Mapping[str, int]) -> Iterator[tuple[Row, Row, int]]:
    """Lay what both sides fill along each other, best first."""
    sellers = iter([(ask, fills[ask[0]]) for ask in by_merit(asks, 1) if fills[ask[0]]])
    ask, offered = None, 0
    for bid in by_merit(bids, -1):
        wanted = fills[bid[0]]
        while wanted:
            if ask is None or not offered:
                ask, offered = next(sellers)
            energy_wh = min(wanted, offered)
            yield bid, ask, energy_wh
            wanted, offered = wanted - energy_wh, offered - energy_wh


def _mid_market_rate(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    supplier, feed_in = _tariff(terms)
    return _at(terms, (supplier + feed_in) // 2, bids, asks)


def _supply_demand_ratio(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """``feed_in * supplier / ((supplier - feed_in) * r + feed_in)`` with supply by demand as r, feed-in from r = 1."""
    supplier, feed_in = _tariff(terms)
    demand, supply = sum(row[1] for row in bids), sum(row[1] for row in asks)
    if supply >= demand:
        return _at(terms, feed_in, bids, asks)
    below = (supplier - feed_in) * supply + feed_in * demand
    return _at(terms, feed_in * supplier * demand // below if below else supplier, bids, asks)


def _tariff(terms: Terms) -> tuple[int, int]:
    if terms.tariff is None:
        raise ValueError(f"{terms.mechanism} without a tariff")
    return terms.tariff


def _at(terms: Terms, price: int, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """All who accept the price, kept within the band; the longer side shares, whatever the limits."""
    if terms.band is not None:
        price = min(max(price, terms.band[0]), terms.band[1])
    buyers = [row for row in bids if row[2] is None or row[2] >= price]
    sellers = [row for row in asks if row[2] is None or row[2] <= price]
    return _among(terms, price, 0, buyers, sellers)


def _among(terms: Terms, price: int, fee: int, buyers: Sequence[Row], sellers: Sequence[Row]) -> Expected | None:
    """Trade as much as both groups can; who is not in them trades nothing."""
    volume_wh = min(sum(row[1] for row in buyers), sum(row[1] for row in sellers))
    if not volume_wh:
        return None
    fills = shared(buyers, volume_wh, terms.ties) | shared(sellers, volume_wh, terms.ties)
    return Expected(price, price, price + fee, fills, fee)


def _mcafee(terms: Terms, bids: Sequence[Row], asks: Sequence[Row]) -> Expected | None:
    """All marginal orders where the first rejected ones' middle suits them, else all but the marginal ones."""
    volume_wh = Book(bids, asks).volume_wh
    if not volume_wh:
        return None
    buyers, sellers = by_merit(bids, -1), by_merit(asks, 1)
    (last_bid, bought_wh), (last_ask, sold_wh) = _last(buyers, volume_wh), _last(sellers, volume_wh)
    value, cost = buyers[last_bid][2], sellers[last_ask][2]
    middle = _rejected_middle(buyers[last_bid + 1 :], sellers[last_ask + 1 :]) if bought_wh == sold_wh else None
    if middle is not None and (cost is None or cost <= middle) and (value is None or middle <= value):
        kept = {row[0] for row in (*buyers[: last_bid + 1], *sellers[: last_ask + 1])}
        pay = receive = middle
    else:
        if terms.band is not None:
            value, cost = terms.band[1] if value is None else value, terms.band[0] if cost is None else cost
        if value is None or cost is None:
            return None
        kept = {row[0] for row in (*buyers[:last_bid], *sellers[:last_ask])}
        pay, receive = value, cost
    kept_bids, kept_asks = ([row for row in rows if row[0] in kept] for rows in (bids, asks))
    return _among(terms, receive, pay - receive, kept_bids, kept_asks)


def _last(rows: Sequence[Row], volume_wh: int) -> tuple[int, int]:
    """Return the place of the last row that the volume reaches, and the energy up to and with it."""
    reach = 0
    for place, (_, energy_wh, _) in enumerate(rows):
        reach += energy_wh
        if reach >= volume_wh:
            return place, reach
    raise ValueError("the volume is more than all of a side")


def _rejected_middle(bids: Sequence[Row], asks: Sequence[Row]) -> int | None:
    if not bids or not asks or bids[0][2] is None or asks[0][2] is None:
        return None
    return (bids[0][2] + asks[0][2]) // 2


_RULES: dict[str, Callable[[Terms, Sequence[Row], Sequence[Row]], Expected | None]] = {
    "uniform": _uniform,
    "pay_as_bid": _pay_as_bid,
    "mid_market_rate": _mid_market_rate,
    "supply_demand_ratio": _supply_demand_ratio,
    "mcafee": _mcafee,
}
