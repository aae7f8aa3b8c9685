"""Continuous trading as cases: messages in, trades and the book out.

What a well-formed case asks in vain (dead ids, energy below 1 Wh) is listed in ``rejected`` with the market's code. An
id may be used again once its order is filled or cancelled. A new order may have a seventh value with ``account``,
``valid_until`` and ``condition``; ``cancel_all``, ``observe`` and ``time`` are messages too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...protocol.messages import Side, TimeInForce
from ...protocol.order_terms import Comparison, Condition, Signal
from ..engine import Closed, ContinuousEngine, EngineEvent, Fired, Refused, Traded
from ..journal import Advance, Cancel, CancelAll, EngineCommand, Modify, New, Observe
from ..rejections import Code
from .reading import (
    CaseError,
    as_choice,
    as_integer,
    as_list,
    as_object,
    as_price,
    as_side,
    as_text,
    field,
    only,
    within,
)

_LIFETIMES = {
    "gtc": TimeInForce.GOOD_TILL_GATE,
    "ioc": TimeInForce.IMMEDIATE_OR_CANCEL,
    "fok": TimeInForce.FILL_OR_KILL,
}
_LENGTHS = {"new": (6, 7), "cancel": (2,), "modify": (4,), "cancel_all": (2,), "observe": (3,), "time": (2,)}
_OUTSIDE_SIGNALS = tuple(
    signal for signal in Signal if signal not in (Signal.LAST_PRICE, Signal.BEST_BID, Signal.BEST_ASK)
)
_INT64_MAX = 2**63 - 1


def continuous(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a continuous case."""
    only(fields, ("kind", "messages"), "")
    session = _Session()
    for index, value in enumerate(as_list(field(fields, "messages", ""), "messages")):
        where = f"messages[{index}]"
        message = as_list(value, where)
        if not message:
            raise CaseError(f"{where}: expected {' or '.join(_LENGTHS)} with its values, was []")
        name = as_choice(message[0], tuple(_LENGTHS), f"{where}[0]")
        if len(message) not in _LENGTHS[name]:
            lengths = " or ".join(str(length) for length in _LENGTHS[name])
            raise CaseError(f"{where}: expected {lengths} values for {name!r}, was {len(message)}")
        session.do(name, message, where)
    return session.result()


class _Session:
    """Continuous trading of one case; the engine's keys are the places of the ids in ``_ids``."""

    def __init__(self) -> None:
        self._engine = ContinuousEngine()
        self._at = 0
        self._keys: dict[str, int] = {}
        self._ids: list[str] = []
        self._accounts: dict[str, int] = {}
        self._accepted: set[int] = set()
        self._trades: list[list[Any]] = []
        self._cancelled: list[list[Any]] = []
        self._rejected: list[list[Any]] = []
        self._fired: list[list[Any]] = []
        self._has_conditions = False

    def do(self, name: str, message: Sequence[Any], where: str) -> None:
        """Do what a message says and note what comes of it."""
        for event in self._engine.handle(self._command(name, message, where)):
            self._note(event)
        if name == "new" and self._engine.is_open(key := self._keys[message[1]]):
            self._accepted.add(key)

    def result(self) -> dict[str, Any]:
        """Return what happened and what rests."""
        book = self._engine.book
        bids, asks = ([[level.price, level.energy_wh] for level in book.side(side).levels()] for side in Side)
        result = {
            "trades": self._trades,
            "cancelled": self._cancelled,
            "rejected": self._rejected,
            "bids": bids,
            "asks": asks,
        }
        return result | {"triggered": self._fired} if self._has_conditions else result

    def _command(self, name: str, message: Sequence[Any], where: str) -> EngineCommand:
        match name:
            case "new":
                return self._new(message, where)
            case "cancel":
                return Cancel(self._at, self._key(message, where))
            case "modify":
                key = self._key(message, where)
                energy_wh, price = (as_integer(message[place], f"{where}[{place}]") for place in (2, 3))
                return Modify(self._at, key, energy_wh, price)
            case "cancel_all":
                return CancelAll(self._at, self._owner(as_text(message[1], f"{where}[1]")))
            case "observe":
                signal = as_choice(message[1], _OUTSIDE_SIGNALS, f"{where}[1]")
                return Observe(self._at, signal, _int64(message[2], f"{where}[2]"))
            case _:
                self._at = max(self._at, _int64(message[1], f"{where}[1]"))
                return Advance(self._at)

    def _new(self, message: Sequence[Any], where: str) -> New:
        key = self._key(message, where)
        side = as_side(message[2], f"{where}[2]")
        energy_wh = as_integer(message[3], f"{where}[3]")
        price = as_price(message[4], f"{where}[4]")
        lifetime = _LIFETIMES[as_choice(message[5], tuple(_LIFETIMES), f"{where}[5]")]
        terms = as_object(message[6], f"{where}[6]") if len(message) == 7 else {}
        only(terms, ("account", "valid_until", "condition"), f"{where}[6]")
        owner = self._owner(as_text(terms["account"], f"{where}[6].account")) if "account" in terms else 0
        expiry = _int64(terms.get("valid_until", 0), f"{where}[6].valid_until")
        within(expiry, 0, _INT64_MAX, f"{where}[6].valid_until")
        condition = _condition(terms["condition"], f"{where}[6].condition") if "condition" in terms else None
        self._has_conditions |= condition is not None
        return New(self._at, key, side, energy_wh, price, lifetime, owner, expiry, condition)

    def _key(self, message: Sequence[Any], where: str) -> int:
        name = as_text(message[1], f"{where}[1]")
        key = self._keys.setdefault(name, len(self._ids))
        if key == len(self._ids):
            self._ids.append(name)
        return key

    def _owner(self, account: str) -> int:
        return self._accounts.setdefault(account, len(self._accounts) + 1)

    def _note(self, event: EngineEvent) -> None:
        match event:
            case Traded(taker, fills):
                self._accepted.add(taker)
                self._trades += [[self._ids[fill.key], self._ids[taker], fill.price, fill.energy_wh] for fill in fills]
            case Closed(key, energy_wh, _):
                self._accepted.add(key)
                self._cancelled.append([self._ids[key], energy_wh])
            case Fired(key, value):
                self._fired.append([self._ids[key], value])
            case Refused(key, code):
                unknown = code is Code.ORDER_NOT_OPEN and key not in self._accepted
                self._rejected.append([self._ids[key], (Code.UNKNOWN_ORDER if unknown else code).value])


def _condition(value: object, where: str) -> Condition:
    fields = as_object(value, where)
    only(fields, ("signal", "comparison", "threshold"), where)
    return Condition(
        Signal(as_choice(field(fields, "signal", where), tuple(Signal), f"{where}.signal")),
        Comparison(as_choice(field(fields, "comparison", where), tuple(Comparison), f"{where}.comparison")),
        _int64(field(fields, "threshold", where), f"{where}.threshold"),
    )


def _int64(value: object, where: str) -> int:
    number = as_integer(value, where)
    within(number, -_INT64_MAX, _INT64_MAX, where)
    return number
