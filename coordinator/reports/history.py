"""What the log tells of orders, trades and settlements, interval by interval: what every report is made from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ..ledger.log import Terms
from ..ledger.records import LedgerError
from ..ledger.replay import entries
from ..ledger.store import damage_reported, open_read_only
from ..market.commands import BookWithdrawal, Command
from ..market.events import (
    CloseReason,
    Event,
    FundsCredited,
    GateClosed,
    IntervalResettled,
    IntervalSettled,
    MemberAdmitted,
    MeterRegistered,
    OrderClosed,
    OrderPlaced,
    OrderTriggered,
    Settled,
    Traded,
    WithdrawalAccepted,
)
from ..market.rules import MarketRules
from ..protocol.messages import ZERO_HASH, Order

FOREVER = 2**63 - 1


@dataclass(slots=True)
class OrderStory:
    """An order from its placing to its end; ``closed_at`` is ``None`` while it is open."""

    order: Order
    digest: bytes
    sequence: int
    placed_at: int
    filled_wh: int = 0
    triggered: bool = False
    closed: CloseReason | None = None
    closed_at: int | None = None

    @property
    def remaining_wh(self) -> int:
        """The energy that has not traded."""
        return self.order.energy_wh - self.filled_wh

    @property
    def was_in_the_book(self) -> bool:
        """Whether others could see and meet it outside of auctions: never asleep, no bundle's leg, no preferences."""
        order = self.order
        awake = order.condition is None or self.triggered
        return awake and order.bundle == ZERO_HASH and order.preferences is None

    @property
    def stood_at_the_gate(self) -> bool:
        """Whether what remained was in force when the gate closed: never a dormant order, never a bundle's leg."""
        if self.closed not in {CloseReason.GATE_CLOSED, CloseReason.FILLED}:
            return False
        return self.order.bundle == ZERO_HASH and (self.order.condition is None or self.triggered)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeStory(Traded):
    """A trade with the time it was made and both sides' names; prices are 1e-6 currency per kWh."""

    at: int
    buyer: str
    seller: str


@dataclass(slots=True)
class IntervalStory:
    """A delivery interval; ``rules`` are those under which its gate closed (until then: the latest)."""

    delivery_start: int
    rules: MarketRules
    orders: list[OrderStory] = field(default_factory=list)
    trades: list[TradeStory] = field(default_factory=list)
    gate: GateClosed | None = None
    settlement: Settled | None = None


@dataclass(slots=True)
class History:
    """A market's past.

    ``meters`` are each account's, with their keys; ``payees`` are the addresses that its money went to, ``funding`` its
    deposits' transactions.
    """

    terms: Terms | None = None
    intervals: dict[int, IntervalStory] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)
    meters: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    payees: dict[str, set[str]] = field(default_factory=dict)
    funding: dict[str, set[str]] = field(default_factory=dict)
    sequence: int = 0
    orders: dict[bytes, OrderStory] = field(default_factory=dict)

    def name(self, account: str) -> str:
        """Return an account's name, or its address when it has none."""
        return self.members.get(account) or account

    def stories(self) -> Iterable[IntervalStory]:
        """Return the intervals by rising delivery start."""
        return (self.intervals[start] for start in sorted(self.intervals))


class Reader:
    """Grows a history with the log's entries; intervals outside of ``since`` to ``until`` (exclusive) are left out."""

    def __init__(self, since: int = 0, until: int = FOREVER) -> None:
        self.history = History()
        self._since, self._until = since, until
        self._rules: MarketRules | None = None

    def take_rules(self, rules: MarketRules) -> None:
        """Go on under these rules."""
        self._rules = rules

    def take(self, sequence: int, at: int, command: Command, events: Iterable[Event]) -> None:
        """Take in a command's events."""
        self.history.sequence = sequence
        if isinstance(command, BookWithdrawal):
            self.history.payees.setdefault(command.account, set()).add(command.to)
        for event in events:
            self._take_event(sequence, at, event)

    def _take_event(self, sequence: int, at: int, event: Event) -> None:
        match event:
            case OrderPlaced():
                self._placed(sequence, at, event)
            case Traded():
                self._traded(at, event)
            case OrderTriggered():
                if (story := self.history.orders.get(event.digest)) is not None:
                    story.triggered = True
            case OrderClosed():
                if (story := self.history.orders.get(event.digest)) is not None:
                    story.closed, story.closed_at = event.reason, at
            case GateClosed():
                if (interval := self.history.intervals.get(event.delivery_start)) is not None:
                    interval.gate, interval.rules = event, self._known_rules()
            case IntervalSettled() | IntervalResettled():
                if (interval := self.history.intervals.get(event.delivery_start)) is not None:
                    interval.settlement = event
            case _:
                self._take_account(event)

    def _take_account(self, event: Event) -> None:
        history = self.history
        match event:
            case MemberAdmitted():
                history.members[event.account] = event.name
            case MeterRegistered():
                history.meters.setdefault(event.account, []).append((event.device_id, event.public_key))
            case FundsCredited() if event.money_micro > 0:
                history.funding.setdefault(event.account, set()).update(_transaction(event.reference))
            case WithdrawalAccepted():
                history.payees.setdefault(event.withdrawal.account, set()).add(event.withdrawal.to)
            case _:
                pass

    def _placed(self, sequence: int, at: int, event: OrderPlaced) -> None:
        start = event.order.delivery_start
        if not self._since <= start < self._until:
            return
        interval = self.history.intervals.setdefault(start, IntervalStory(start, self._known_rules()))
        story = OrderStory(event.order, event.digest, sequence, at)
        interval.orders.append(story)
        self.history.orders[event.digest] = story

    def _traded(self, at: int, event: Traded) -> None:
        buy, sell = self.history.orders.get(event.buy), self.history.orders.get(event.sell)
        if buy is None or sell is None:
            return
        for story in (buy, sell):
            story.filled_wh += event.energy_wh
        trade = TradeStory(
            event.trade_id,
            event.delivery_start,
            event.buy,
            event.sell,
            event.energy_wh,
            event.price_micro_per_kwh,
            event.stage,
            event.grid_fee_micro_per_kwh,
            event.community_fee_micro_per_kwh,
            at=at,
            buyer=buy.order.account,
            seller=sell.order.account,
        )
        self.history.intervals[event.delivery_start].trades.append(trade)

    def _known_rules(self) -> MarketRules:
        if self._rules is None:
            raise LedgerError("The log does not begin with its terms.")
        return self._rules


def read_history(path: Path, since: int = 0, until: int = FOREVER) -> History:
    """Read the ledger at ``path`` without changing it; raise ``LedgerError``."""
    with damage_reported(path), closing(open_read_only(path)) as connection:
        return history_of(connection, since, until)


def history_of(connection: sqlite3.Connection, since: int = 0, until: int = FOREVER) -> History:
    """Read the whole log, every row checked against the one before; keep the intervals asked for."""
    reader = Reader(since, until)
    for entry in entries(connection):
        if isinstance(entry.command, Terms):
            reader.history.terms = entry.command
            reader.take_rules(entry.command.rules)
        else:
            reader.take(entry.row.sequence, entry.row.at, entry.command, entry.events)
    if reader.history.terms is None:
        raise LedgerError("The log is empty: no coordinator has started with it yet.")
    return reader.history


def _transaction(reference: str) -> Iterable[str]:
    """Return the transaction in a deposit's reference ``block:transaction:log``."""
    parts = reference.split(":")
    return parts[1:2] if len(parts) == 3 and parts[1].startswith("0x") else ()
