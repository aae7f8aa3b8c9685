"""Continuous trading as cases: messages in, trades and the book out.

What a well-formed case asks in vain (dead ids, energy below 1 Wh) is listed in ``rejected`` with the market's code. An
id may be used again once its order is filled or cancelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...protocol.messages import Side
from ...protocol.units import ENERGY_WH_MAX, PRICE_MICRO_PER_KWH_MAX
from ..book import Book, Match, Resting
from ..rejections import Code
from .reading import CaseError, as_choice, as_integer, as_list, as_price, as_side, as_text, field, only

_LIFETIMES = ("gtc", "ioc", "fok")
_MESSAGE_LENGTHS = {"new": 6, "cancel": 2, "modify": 4}


def continuous(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a continuous case."""
    only(fields, ("kind", "messages"), "")
    session = _Session()
    for index, value in enumerate(as_list(field(fields, "messages", ""), "messages")):
        where = f"messages[{index}]"
        message = as_list(value, where)
        name = as_choice(message[0] if message else None, tuple(_MESSAGE_LENGTHS), f"{where}[0]")
        if len(message) != _MESSAGE_LENGTHS[name]:
            raise CaseError(f"{where}: expected {_MESSAGE_LENGTHS[name]} values for {name!r}, was {len(message)}")
        key = as_text(message[1], f"{where}[1]")
        if name == "cancel":
            session.cancel(key)
        elif name == "modify":
            session.modify(key, as_integer(message[2], f"{where}[2]"), as_integer(message[3], f"{where}[3]"))
        else:
            _new(session, key, message, where)
    return session.result()


def _new(session: _Session, key: str, message: Sequence[Any], where: str) -> None:
    session.new(
        key,
        as_side(message[2], f"{where}[2]"),
        as_integer(message[3], f"{where}[3]"),
        as_price(message[4], f"{where}[4]"),
        as_choice(message[5], _LIFETIMES, f"{where}[5]"),
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
