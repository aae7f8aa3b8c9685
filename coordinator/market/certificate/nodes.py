"""Each node of each interval, worked out again: alone by the rule, or with what bundles and lines bring to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .book import Book, Row
from .rules import Terms, expected

type Place = tuple[int, str]


class Nodes:
    """The orders of a certificate by place and side, and what was made of them."""

    def __init__(self, stated: Mapping[str, Any], terms: Terms) -> None:
        self._stated, self.terms = stated, terms
        self.rows: defaultdict[Place, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
        self._fills: dict[str, int] = {}
        for key, at, side, energy_wh, limit, node, fill in stated["orders"]:
            self.rows[at, node][side == "sell"].append((key, energy_wh, limit))
            self._fills[key] = fill
        self.prices = {(at, node): (price, low, high) for at, node, price, low, high in stated["prices"]}

    def alone(self, intervals: Collection[int]) -> Iterator[str]:
        """Check each place of these intervals as a call auction of its own."""
        deals = self._deals()
        for place in sorted(self.rows.keys() | self.prices.keys()):
            if place[0] not in intervals:
                continue
            name = f"interval {place[0]}, node {place[1]!r}"
            bids, asks = self.rows.get(place, ([], []))
            due, priced = expected(self.terms, bids, asks), self.prices.get(place)
            if due is None:
                if priced is not None or deals[place]:
                    yield f"{name}: there is a price, though nothing can trade"
                continue
            if priced is None:
                yield f"{name}: orders that meet were left alone"
            elif priced[0] != due.price:
                yield f"{name}: the price {priced[0]} is not the rule's, {due.price}"
            elif priced[1:] != (due.low, due.high):
                yield f"{name}: the range is from {due.low} to {due.high}"
            yield from self.filled(due.fills)
            if priced is None or priced[0] != due.price:
                continue
            if due.deals is not None and Counter(deals[place]) != Counter(due.deals):
                yield f"{name}: the trades are not the rule's, best bid with best ask"
            elif due.deals is None and any(deal[3:] != (due.price, due.fee) for deal in deals[place]):
                yield f"{name}: a trade's price is not the rule's, {due.price} and a fee of {due.fee}"

    def _deals(self) -> defaultdict[Place, list[tuple[str, str, int, int, int]]]:
        place = {key: (at, node) for key, at, _, _, _, node, _ in self._stated["orders"]}
        deals: defaultdict[Place, list[tuple[str, str, int, int, int]]] = defaultdict(list)
        for _, buy, sell, energy_wh, price, fee in self._stated["trades"]:
            if buy in place:
                deals[place[buy]].append((buy, sell, energy_wh, price, fee))
        return deals

    def filled(self, due: Mapping[str, int]) -> Iterator[str]:
        """Find the orders that are filled otherwise than they are due."""
        for key, energy_wh in due.items():
            if self._fills[key] != energy_wh:
                yield f"order {key}: {self._fills[key]} Wh are filled, by the rule it is {energy_wh}"

    def books(self, given_wh: Mapping[Place, int], utmost: tuple[int, int] | None = None) -> dict[Place, Book]:
        """Return the places' books; with ``utmost`` prices market orders are limit orders at these."""
        books = {}
        for place in sorted(self.rows.keys() | {place for place, wh in given_wh.items() if wh}):
            bids, asks = self.rows.get(place, ([], []))
            if utmost is not None:
                bids, asks = _limited(bids, utmost[1]), _limited(asks, utmost[0])
            books[place] = Book(bids, asks, given_wh.get(place, 0))
        return books


def _limited(rows: Sequence[Row], utmost: int) -> list[Row]:
    return [(key, energy_wh, utmost if limit is None else limit) for key, energy_wh, limit in rows]
