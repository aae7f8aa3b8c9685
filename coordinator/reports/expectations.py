"""Does an answer match what a case expects? Prices may lie anywhere in a range that is lawful.

Expected are any of: fields of the answer (equal), ``price_in`` (a range for the price), ``price_ranges`` (one for each
interval's price; a price may be given by node, then the node ``""`` is meant), ``accepted`` (a bundle's share),
``node_price`` (each interval's price at these nodes), ``rejected_ids``, and ``trades`` (in any order, by the fields
that are named).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any


def unmet(expected: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each expectation that the answer does not meet."""
    return [fault for name, value in expected.items() for fault in _checked(name, value, answer)]


def price_at(answer: Mapping[str, Any], interval: int, node: str = "") -> int | None:
    """Return a session's price in an interval; prices stand in a list, or in one for each node."""
    prices = answer.get("prices")
    if isinstance(prices, Mapping):
        prices = prices.get(node)
    price = prices[interval] if isinstance(prices, Sequence) and interval < len(prices) else None
    if isinstance(price, Mapping):
        price = price.get(node)
    return price if isinstance(price, int) else None


def share(answer: Mapping[str, Any], bundle: str) -> Fraction | None:
    """Return a bundle's accepted share, ``None`` when the answer has none that can be read."""
    match answer.get("bundles", {}).get(bundle):
        case [int(numerator), int(denominator)] if denominator > 0:
            return Fraction(numerator, denominator)
        case _:
            return None


def _checked(name: str, value: Any, answer: Mapping[str, Any]) -> Iterator[str]:
    if (check := _CHECKS.get(name)) is not None:
        yield from check(value, answer)
    elif name not in answer:
        yield f"{name}: is missing"
    elif answer[name] != value or isinstance(answer[name], bool) != isinstance(value, bool):
        yield f"{name}: expected {_short(value)}, was {_short(answer[name])}"


def _price_in(value: Sequence[int], answer: Mapping[str, Any]) -> Iterator[str]:
    price = answer.get("price_micro_per_kwh")
    if not isinstance(price, int) or not value[0] <= price <= value[1]:
        yield f"price_micro_per_kwh: expected {value[0]} to {value[1]}, was {_short(price)}"


def _price_ranges(value: Sequence[Sequence[int]], answer: Mapping[str, Any]) -> Iterator[str]:
    for interval, (low, high) in enumerate(value):
        price = price_at(answer, interval)
        if price is None or not low <= price <= high:
            yield f"prices[{interval}]: expected {low} to {high}, was {_short(price)}"


def _node_price(value: Mapping[str, int], answer: Mapping[str, Any]) -> Iterator[str]:
    for node, expected in value.items():
        if (price := price_at(answer, 0, node)) != expected:
            yield f"price at {node}: expected {expected}, was {_short(price)}"


def _accepted(value: Mapping[str, float | Sequence[int]], answer: Mapping[str, Any]) -> Iterator[str]:
    for bundle, ratio in value.items():
        wanted = Fraction(*ratio) if isinstance(ratio, Sequence) else Fraction(ratio).limit_denominator(1_000_000)
        if (found := share(answer, bundle)) != wanted:
            yield f"bundle {bundle}: expected the share {wanted}, was {found}"


def _rejected_ids(value: Sequence[str], answer: Mapping[str, Any]) -> Iterator[str]:
    found = [entry[0] for entry in answer.get("rejected", []) if isinstance(entry, Sequence) and entry]
    if found != value:
        yield f"rejected: expected {_short(value)}, was {_short(found)}"


def _trades(value: Sequence[Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Continuous trades come in their order; an auction's are a set, compared by the fields that are named."""
    found = answer.get("trades")
    if not isinstance(found, Sequence):
        yield "trades: is missing"
        return
    if value and isinstance(value[0], Mapping):
        names = sorted(value[0])
        wanted, got = (sorted(_row(trade, names) for trade in trades) for trades in (value, found))
        if wanted != got:
            yield f"trades by {', '.join(names)}: expected {_short(wanted)}, was {_short(got)}"
    elif list(found) != list(value):
        yield f"trades: expected {_short(value)}, was {_short(found)}"


def _row(trade: object, names: Sequence[str]) -> list[str]:
    return [repr(trade.get(name)) if isinstance(trade, Mapping) else "" for name in names]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    "price_in": _price_in,
    "price_ranges": _price_ranges,
    "node_price": _node_price,
    "accepted": _accepted,
    "rejected_ids": _rejected_ids,
    "trades": _trades,
}
