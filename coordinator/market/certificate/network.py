"""The prices that support what bundles and lines do: bounds at each node, carried along the lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .book import Book
from .nodes import Nodes, Place
from .rules import Terms

type Ends = dict[str, tuple[int | None, int | None]]
type _Arcs = list[tuple[str, str, int]]


class Network:
    """A certificate's coupled places: ``given_wh`` is what accepted bundles and lines bring, less what they take."""

    def __init__(self, stated: Mapping[str, Any], nodes: Nodes, given_wh: Mapping[Place, int]) -> None:
        self._stated, self._nodes, self._given_wh = stated, nodes, given_wh
        self._utmost = _utmost(stated)

    def findings(
        self,
        intervals: Collection[int],
        leg_limits: Mapping[int, Sequence[tuple[str, str, int]]],
        bundled: Collection[int],
    ) -> Iterator[str]:
        """Check the coupled intervals; ``bundled`` are those with accepted bundles' legs, ``leg_limits`` their limits.

        By interval, a leg's limit is node, side and price.
        """
        books = _by_interval(self._nodes.books(self._given_wh))
        for at in intervals:
            here = books.get(at, {})
            ends = self._ends(here)
            for node, side, limit in leg_limits.get(at, ()):
                low, high = ends.get(node, (None, None))
                ends[node] = (_most(low, limit), high) if side == "sell" else (low, _least(high, limit))
            yield from (
                f"interval {at}, node {node!r}: cannot take or give {book.given_wh} Wh"
                for node, book in here.items()
                if not book.balances
            )
            if not carried(ends, self._arcs(at)):
                yield f"interval {at}: no prices support what was accepted"
                continue
            yield from self._traded(at, here, ends)
            yield from self._bundled(at, ends) if at in bundled else self._ruled(at, ends)
        yield from self._waiting(intervals)

    def _traded(self, at: int, books: Mapping[str, Book], ends: Ends) -> Iterator[str]:
        """Each node trades the largest volume; market orders alone do only where something says at what price."""
        terms = self._nodes.terms
        nowhere = terms.band is None and terms.reference is None
        for node, book in books.items():
            is_free = ends[node] == (None, None) and (at, node) not in self._nodes.prices
            fills = book.fills(terms.ties) if book.balances else {}
            yield from self._nodes.filled(dict.fromkeys(fills, 0) if is_free and nowhere else fills)

    def _bundled(self, at: int, ends: Ends) -> Iterator[str]:
        """Where bundles are accepted, too, ranges lie within what single orders, lines and legs' limits leave."""
        for node, (low, high) in ends.items():
            name, priced = f"interval {at}, node {node!r}", self._nodes.prices.get((at, node))
            if priced is None:
                if (low, high) != (None, None):
                    yield f"{name}: there is no price"
                continue
            price, least, most = priced
            if not least <= price <= most:
                yield f"{name}: the price {price} contradicts the range from {least} to {most}"
            if (low is not None and least < low) or (high is not None and most > high):
                yield f"{name}: the range is within {low} to {high}"

    def _ruled(self, at: int, ends: Ends) -> Iterator[str]:
        """Without accepted bundles the ranges are just these, and the price is their middle within the band."""
        due = middles(ends, self._arcs(at), self._utmost, self._nodes.terms)
        if due is None:
            yield f"interval {at}: no prices within the band support what was accepted"
            return
        for node, (low, high) in ends.items():
            name, priced = f"interval {at}, node {node!r}", self._nodes.prices.get((at, node))
            if priced is None:
                if (low, high) != (None, None):
                    yield f"{name}: there is no price"
                continue
            price = priced[0]
            least = min(price, price if high is None else high) if low is None else low
            most = max(price, least) if high is None else high
            if priced[1:] != (least, most):
                yield f"{name}: the range is from {least} to {most}"
            if price != due[node]:
                yield f"{name}: the price {price} is not the rule's, {due[node]}"

    def _ends(self, books: Mapping[str, Book]) -> Ends:
        ends: Ends = {node: (book.low, book.high) for node, book in books.items()}
        for line in self._stated["lines"]:
            for node in (line["source"], line["target"]):
                ends.setdefault(node, (None, None))
        return ends

    def _arcs(self, at: int) -> _Arcs:
        """Return ``(a, b, w)`` for each price that a line bounds by another: that of b is at most that of a and w."""
        arcs: _Arcs = []
        for line in self._stated["lines"]:
            source, target, fee, flow = line["source"], line["target"], line["fee"], line["flows_wh"][at]
            for a, b, sent, limit in (
                (source, target, flow, line["forward_wh"][at]),
                (target, source, -flow, line["backward_wh"][at]),
            ):
                arcs += [(a, b, fee)] if limit is None or sent < limit else []
                arcs += [(b, a, -fee)] if sent > 0 else []
        return arcs

    def _waiting(self, intervals: Collection[int]) -> Iterator[str]:
        """No market order waits that flows could serve: at the utmost prices, the flows would still be supported."""
        orders = self._stated["orders"]
        if not self._stated["lines"] or all(order[4] is not None for order in orders):
            return
        terms, books = self._nodes.terms, self._nodes.books(self._given_wh, self._utmost)
        if terms.band is None and terms.reference is None:  # market orders alone may wait where nothing says a price
            books = {place: book for place, book in books.items() if place in self._nodes.prices}
        by_interval = _by_interval(books)
        for at in intervals:
            if not carried(self._ends(by_interval.get(at, {})), self._arcs(at)):
                yield f"interval {at}: a market order waits that the lines could serve"


def _utmost(stated: Mapping[str, Any]) -> tuple[int, int]:
    """Return the band, or prices beyond every limit and way, for market orders."""
    bundles = stated["bundles"]
    limits = [order[4] for order in stated["orders"] if order[4] is not None]
    limits += [bundle["price"] for bundle in bundles] + [leg[1] for b in bundles for leg in b["leg_limits"]]
    if stated["band"] is not None:
        low, high = stated["band"]
        return min([low, *limits]), max([high, *limits])
    reference = stated["terms"]["reference_price"]
    limits += [] if reference is None else [reference]
    ways = 1 + sum(line["fee"] for line in stated["lines"])
    return min(limits, default=0) - ways, max(limits, default=0) + ways


def _by_interval(books: Mapping[Place, Book]) -> dict[int, dict[str, Book]]:
    found: dict[int, dict[str, Book]] = {}
    for (at, node), book in books.items():
        found.setdefault(at, {})[node] = book
    return found


def middles(ends: Ends, arcs: _Arcs, utmost: tuple[int, int], terms: Terms) -> dict[str, int] | None:
    """Return the middle of each node's supporting prices within the band, or between the utmost prices without one.

    Where one end has no bound, the price is the bound that exists, or the nearest at which the nodes that lines join
    to it have one too. Where nothing bounds them: the reference price within the band, or the band's middle.
    """
    low, high = terms.band or utmost
    usual = (low + high) // 2 if terms.reference is None else sorted((low, terms.reference, high))[1]
    known = dict(ends)
    inside: Ends = {node: (_most(a, low), _least(b, high)) for node, (a, b) in ends.items()}
    if not carried(inside, arcs):
        return None
    while free := [node for node, both in known.items() if None in both]:
        below = [node for node in free if known[node][0] is not None]
        above = [node for node in free if known[node][1] is not None]
        for node in below or above or sorted(free)[:1]:
            least, most = inside[node]
            assert least is not None
            assert most is not None
            price = least if below else most if above else sorted((least, usual, most))[1]
            known[node] = inside[node] = (price, price)
        if not carried(known, arcs) or not carried(inside, arcs):
            return None
    return {node: sum(end for end in both if end is not None) // 2 for node, both in inside.items()}


def carried(ends: Ends, arcs: _Arcs) -> bool:
    """Carry the ends along the lines until nothing changes; tell whether prices are left."""
    for _ in range(len(ends) + 1):
        before = dict(ends)
        for a, b, most in arcs:
            (low_a, high_a), (low_b, high_b) = ends[a], ends[b]
            ends[b] = low_b, high_b if high_a is None else _least(high_b, high_a + most)
            ends[a] = low_a if low_b is None else _most(low_a, low_b - most), ends[a][1]
        if any(low is not None and high is not None and low > high for low, high in ends.values()):
            return False
        if ends == before:
            return True
    return False


def _most(bound: int | None, price: int) -> int:
    return price if bound is None else max(bound, price)


def _least(bound: int | None, price: int) -> int:
    return price if bound is None else min(bound, price)
