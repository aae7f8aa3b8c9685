"""Case files: a clearing problem as JSON in, its result as JSON out (``energy-trade clear``).

A malformed case raises ``CaseError`` with one line that says what is wrong and where. What a
well-formed continuous case asks in vain (dead ids, energy below 1 Wh) is listed in ``rejected``
with the market's code. An id may be used again once its order is filled or cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol.messages import Side
from ..protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from .auction import AuctionOrder, clear_uniform
from .book import Book, Match, Resting
from .rejections import Code
from .rules import ClearingRule, Mechanism, PriceRule, TieRule

_MECHANISMS: tuple[Mechanism, ...] = ("uniform",)
_PRICE_RULES: tuple[PriceRule, ...] = ("midpoint", "reference")
_TIE_RULES: tuple[TieRule, ...] = ("pro_rata", "time")
_LIFETIMES = ("gtc", "ioc", "fok")
_MESSAGE_LENGTHS = {"new": 6, "cancel": 2, "modify": 4}


class CaseError(ValueError):
    """The case is malformed or asks for something that is not supported yet."""


def cases_in(document: object) -> list[tuple[str, object]]:
    """Return the cases of a file with their names: one bare case, one wrapped, or a collection.

    A collection is ``{"cases": [{"id": ..., "case": {...}}, ...]}`` as the conformance files are.
    """
    if not isinstance(document, Mapping) or not {"cases", "case"} & document.keys():
        return [("", document)]
    if "cases" not in document:
        return [(_name(document, ""), document["case"])]
    entries = _list(document["cases"], "cases")
    wrapped = [_object(entry, f"cases[{index}]") for index, entry in enumerate(entries)]
    return [
        (_name(entry, f"cases[{index}]"), _field(entry, "case", f"cases[{index}]"))
        for index, entry in enumerate(wrapped)
    ]


def clear_case(case: object) -> dict[str, Any]:
    """Return the result of one case; raise ``CaseError`` when there is none."""
    fields = _object(case, "case")
    match _field(fields, "kind", ""):
        case "call_auction":
            return _call_auction(fields)
        case "continuous":
            return _continuous(fields)
        case "session":
            raise CaseError("not supported yet: session auctions")
        case other:
            expected = "call_auction, continuous or session"
            raise CaseError(f"kind: expected {expected}, was {_shown(other)}")


def _call_auction(fields: Mapping[str, Any]) -> dict[str, Any]:
    _only(fields, ("kind", "rule", "orders"), "")
    rule = _rule(_field(fields, "rule", ""))
    orders = [
        _auction_order(_object(order, f"orders[{index}]"), f"orders[{index}]")
        for index, order in enumerate(_list(_field(fields, "orders", ""), "orders"))
    ]
    first_use: dict[str, int] = {}
    for index, order in enumerate(orders):
        if first_use.setdefault(order.key, index) != index:
            raise CaseError(f"orders[{index}].id: {_shown(order.key)} is the id of orders[{first_use[order.key]}]")
    result = clear_uniform(orders, rule)
    return {
        "price_micro_per_kwh": result.price_micro_per_kwh,
        "price_range": None if result.price_range is None else list(result.price_range),
        "volume_wh": result.volume_wh,
        "surplus_wh": result.surplus_wh,
        "welfare_micro": result.welfare_micro,
        "fills": result.fills,
        "trades": [
            {
                "buy": trade.buy,
                "sell": trade.sell,
                "energy_wh": trade.energy_wh,
                "price_micro_per_kwh": trade.price_micro_per_kwh,
                "value_micro": trade.value_micro,
            }
            for trade in result.trades
        ],
    }


def _auction_order(fields: Mapping[str, Any], where: str) -> AuctionOrder[str]:
    _only(fields, ("id", "side", "energy_wh", "price_micro_per_kwh"), where)
    energy_wh = _integer(_field(fields, "energy_wh", where), f"{where}.energy_wh")
    _within(energy_wh, 1, ENERGY_WH_MAX, f"{where}.energy_wh")
    price = _price(_field(fields, "price_micro_per_kwh", where), f"{where}.price_micro_per_kwh")
    if price is not None:
        maximum = PRICE_MICRO_PER_KWH_MAX
        _within(price, -maximum, maximum, f"{where}.price_micro_per_kwh")
    return AuctionOrder(
        key=_text(_field(fields, "id", where), f"{where}.id"),
        side=_side(_field(fields, "side", where), f"{where}.side"),
        energy_wh=energy_wh,
        price=price,
    )


def _rule(value: object) -> ClearingRule:
    fields = _object(value, "rule")
    _only(fields, ("mechanism", "price", "reference_price", "ties"), "rule")
    mechanism = _choice(_field(fields, "mechanism", "rule"), _MECHANISMS, "rule.mechanism")
    price = _choice(_field(fields, "price", "rule"), _PRICE_RULES, "rule.price")
    ties = _choice(_field(fields, "ties", "rule"), _TIE_RULES, "rule.ties")
    reference = _price(fields.get("reference_price"), "rule.reference_price")
    if reference is not None:
        maximum = PRICE_MICRO_PER_KWH_MAX
        _within(reference, -maximum, maximum, "rule.reference_price")
    return ClearingRule(mechanism=mechanism, price=price, reference_price=reference, ties=ties)


def _continuous(fields: Mapping[str, Any]) -> dict[str, Any]:
    _only(fields, ("kind", "messages"), "")
    session = _Session()
    for index, value in enumerate(_list(_field(fields, "messages", ""), "messages")):
        where = f"messages[{index}]"
        message = _list(value, where)
        name = _choice(message[0] if message else None, tuple(_MESSAGE_LENGTHS), f"{where}[0]")
        if len(message) != _MESSAGE_LENGTHS[name]:
            raise CaseError(f"{where}: expected {_MESSAGE_LENGTHS[name]} values for {name!r}, was {len(message)}")
        key = _text(message[1], f"{where}[1]")
        if name == "cancel":
            session.cancel(key)
        elif name == "modify":
            session.modify(key, _integer(message[2], f"{where}[2]"), _integer(message[3], f"{where}[3]"))
        else:
            _new(session, key, message, where)
    return session.result()


def _new(session: _Session, key: str, message: Sequence[Any], where: str) -> None:
    session.new(
        key,
        _side(message[2], f"{where}[2]"),
        _integer(message[3], f"{where}[3]"),
        _price(message[4], f"{where}[4]"),
        _choice(message[5], _LIFETIMES, f"{where}[5]"),
    )


class _Session:
    """Continuous trading of one case on one book."""

    def __init__(self) -> None:
        self._book: Book[str] = Book()
        self._seen: set[str] = set()
        self._trades: list[list[Any]] = []
        self._cancelled: list[list[Any]] = []
        self._rejected: list[list[Any]] = []

    def new(self, key: str, side: Side, energy_wh: int, price: int | None, lifetime: str) -> None:
        """Trade an order and let a good-till-cancelled limit order rest with what remains."""
        if self._book.get(key) is not None:
            self._reject(key, Code.DUPLICATE_ORDER)
        elif self._accepts(key, energy_wh, price):
            self._seen.add(key)
            self._enter(Resting(key, side, price, energy_wh), lifetime)

    def cancel(self, key: str) -> None:
        """Take an order out of the book."""
        if self._is_open(key):
            self._cancelled.append([key, self._book.remove(key).energy_wh])

    def modify(self, key: str, energy_wh: int, price: int) -> None:
        """Give an open order new open energy and a new limit.

        Less energy at the same price keeps its place; anything else enters the book anew.
        """
        if not self._is_open(key) or not self._accepts(key, energy_wh, price):
            return
        resting = self._book.get(key)
        if resting is not None and price == resting.price and energy_wh < resting.energy_wh:
            self._book.fill(key, resting.energy_wh - energy_wh)
        else:
            self._enter(Resting(key, self._book.remove(key).side, price, energy_wh), "gtc")

    def result(self) -> dict[str, Any]:
        """Return what happened and what rests."""
        bids, asks = ([[level.price, level.energy_wh] for level in self._book.side(side).levels()] for side in Side)
        return {
            "trades": self._trades,
            "cancelled": self._cancelled,
            "rejected": self._rejected,
            "bids": bids,
            "asks": asks,
        }

    def _enter(self, order: Resting[str], lifetime: str) -> None:
        match = self._book.match(order.side, order.energy_wh, order.price)
        if lifetime == "fok" and match.remaining_wh:
            match = Match((), order.energy_wh, self_trade=False)
        for fill in match.fills:
            self._book.fill(fill.key, fill.energy_wh)
            self._trades.append([fill.key, order.key, fill.price, fill.energy_wh])
        if not match.remaining_wh:
            return
        if lifetime == "gtc" and order.price is not None:
            order.energy_wh = match.remaining_wh
            self._book.add(order)
        else:
            self._cancelled.append([order.key, match.remaining_wh])

    def _is_open(self, key: str) -> bool:
        if self._book.get(key) is not None:
            return True
        self._reject(key, Code.ORDER_NOT_OPEN if key in self._seen else Code.UNKNOWN_ORDER)
        return False

    def _accepts(self, key: str, energy_wh: int, price: int | None) -> bool:
        if not 1 <= energy_wh <= ENERGY_WH_MAX:
            self._reject(key, Code.ENERGY_OUT_OF_RANGE)
        elif price is not None and abs(price) > PRICE_MICRO_PER_KWH_MAX:
            self._reject(key, Code.PRICE_OUT_OF_BAND)
        else:
            return True
        return False

    def _reject(self, key: str, code: Code) -> None:
        self._rejected.append([key, code.value])


def _object(value: object, where: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise CaseError(f"{where}: expected an object, was {_shown(value)}")


def _list(value: object, where: str) -> Sequence[Any]:
    if isinstance(value, list):
        return value
    raise CaseError(f"{where}: expected a list, was {_shown(value)}")


def _field(fields: Mapping[str, Any], name: str, where: str) -> Any:
    if name in fields:
        return fields[name]
    raise CaseError(f"{_path(where, name)}: is missing")


def _only(fields: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in fields:
        if name not in names:
            shown = _path(where, name if name.isidentifier() and len(name) <= 40 else _shown(name))
            raise CaseError(f"{shown}: unknown; expected {', '.join(names)}")


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _name(entry: Mapping[str, Any], where: str) -> str:
    return _text(entry["id"], _path(where, "id")) if "id" in entry else where


def _integer(value: object, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise CaseError(f"{where}: expected an integer, was {_shown(value)}")


def _price(value: object, where: str) -> int | None:
    return None if value is None else _integer(value, where)


def _within(value: int, low: int, high: int, where: str) -> None:
    if not low <= value <= high:
        raise CaseError(f"{where}: expected {low} to {high}, was {_shown(value)}")


def _text(value: object, where: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise CaseError(f"{where}: expected text, was {_shown(value)}")


def _side(value: object, where: str) -> Side:
    return Side(_choice(value, ("buy", "sell"), where))


def _choice[C: str](value: object, choices: Sequence[C], where: str) -> C:
    for choice in choices:
        if value == choice:
            return choice
    expected = " or ".join(f'"{choice}"' for choice in choices)
    raise CaseError(f"{where}: expected {expected}, was {_shown(value)}")


def _shown(value: object) -> str:
    """Show a foreign value in one line without flooding the message."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
