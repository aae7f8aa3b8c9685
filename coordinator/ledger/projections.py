"""Tables that follow from the log: orders, trades and intervals, for quick questions.

Rows of one group are collected and written together; counts go in as sums, so that a group is a
handful of statements. A new ``PROJECTIONS_VERSION`` makes the tables be rebuilt from the log.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from ..market.events import (
    CorrectionProposed,
    Event,
    GateClosed,
    IntervalCorrected,
    IntervalResettled,
    IntervalSettled,
    OrderClosed,
    OrderPlaced,
    Settled,
    SettlementConfirmed,
    Traded,
)
from ..market.state import MarketState
from .store import insert_many

PROJECTIONS_VERSION = 2
_EMPTY = (
    "DELETE FROM orders",
    "DELETE FROM order_fills",
    "DELETE FROM order_closings",
    "DELETE FROM trades",
    "DELETE FROM settled_trades",
    "DELETE FROM intervals",
)
_CLOSE_GATE = "UPDATE intervals SET stage = ?, price_micro_per_kwh = ? WHERE delivery_start = ?"
_SETTLE = """
UPDATE intervals SET stage = ?, settled_wh = ?, value_micro = ?, homes = ?, settled_at = ? WHERE delivery_start = ?
"""
_CORRECT = "UPDATE intervals SET settled_wh = ?, value_micro = ? WHERE delivery_start = ?"
_CONFIRM = """
UPDATE intervals
SET stage = 'confirmed', transaction_hash = ?, block_number = ?, gas_used = ?, confirmed_at = ?
WHERE delivery_start = ?
"""


class Projections:
    """The rows that a group of commands adds."""

    def __init__(self) -> None:
        self._orders: list[tuple[object, ...]] = []
        self._fills: dict[int, int] = defaultdict(int)
        self._closings: list[tuple[object, ...]] = []
        self._trades: list[tuple[object, ...]] = []
        self._settled: list[tuple[object, ...]] = []
        self._opened: dict[int, None] = {}
        self._volumes: dict[int, _Volume] = defaultdict(_Volume)
        self._changes: list[tuple[str, tuple[object, ...]]] = []

    def add(self, sequence: int, at: int, events: Iterable[Event], state: MarketState) -> None:
        """Note what a command's events mean; ``state`` has them applied."""
        for event in events:
            match event:
                case OrderPlaced():
                    self._place(sequence, event, state)
                case Traded():
                    self._trade(at, event, state)
                case OrderClosed():
                    self._closings.append((state.orders[event.digest].sequence, event.remaining_wh, event.reason.value))
                case GateClosed():
                    self._close_gate(event, state)
                case IntervalSettled() | IntervalResettled():
                    self._settle(at, event)
                case IntervalCorrected():
                    self._correct(event, state)
                case SettlementConfirmed():
                    self._confirm(at, event)
                case _:
                    pass

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the rows inside the caller's transaction."""
        insert_many(connection, "INSERT INTO orders", self._orders)
        insert_many(
            connection,
            "INSERT INTO order_fills",
            list(self._fills.items()),
            "ON CONFLICT DO UPDATE SET filled_wh = filled_wh + excluded.filled_wh",
        )
        insert_many(connection, "INSERT INTO order_closings", self._closings)
        insert_many(connection, "INSERT INTO trades", self._trades)
        insert_many(
            connection,
            "INSERT INTO settled_trades",
            self._settled,
            "ON CONFLICT DO UPDATE SET settled_wh = excluded.settled_wh, value_micro = excluded.value_micro",
        )
        insert_many(
            connection,
            "INSERT INTO intervals (delivery_start)",
            [(start,) for start in self._opened],
            "ON CONFLICT DO NOTHING",
        )
        insert_many(
            connection,
            "INSERT INTO intervals (delivery_start, price_micro_per_kwh, volume_wh, trades)",
            [(start, v.price, v.energy_wh, v.trades) for start, v in self._volumes.items()],
            "ON CONFLICT DO UPDATE SET price_micro_per_kwh = excluded.price_micro_per_kwh,"
            " volume_wh = volume_wh + excluded.volume_wh, trades = trades + excluded.trades",
        )
        for sql, values in self._changes:
            connection.execute(sql, values)

    def _place(self, sequence: int, event: OrderPlaced, state: MarketState) -> None:
        order = event.order
        self._opened[order.delivery_start] = None
        number = state.orders[event.digest].sequence
        self._orders.append((number, event.digest, order.account, order.delivery_start, order.energy_wh, sequence))

    def _trade(self, at: int, event: Traded, state: MarketState) -> None:
        buy, sell = state.orders[event.buy], state.orders[event.sell]
        self._fills[buy.sequence] += event.energy_wh
        self._fills[sell.sequence] += event.energy_wh
        volume = self._volumes[event.delivery_start]
        volume.price = event.price_micro_per_kwh
        volume.energy_wh += event.energy_wh
        volume.trades += 1
        self._trades.append(
            (
                event.trade_id,
                at,
                event.delivery_start,
                event.buy,
                event.sell,
                buy.order.account,
                sell.order.account,
                event.energy_wh,
                event.price_micro_per_kwh,
                event.stage.value,
                event.grid_fee_micro_per_kwh,
                event.community_fee_micro_per_kwh,
            )
        )

    def _close_gate(self, event: GateClosed, state: MarketState) -> None:
        """Book the stage and, once and for all, the volume-weighted average price."""
        interval = state.intervals.get(event.delivery_start)
        trades = interval.trades if interval else []
        volume_wh = sum(trade.energy_wh for trade in trades)
        turnover = sum(trade.energy_wh * trade.price_micro_per_kwh for trade in trades)
        stage, price = ("gate_closed", turnover // volume_wh) if volume_wh else ("idle", None)
        self._changes.append((_CLOSE_GATE, (stage, price, event.delivery_start)))

    def _settle(self, at: int, event: Settled) -> None:
        self._settled += [(trade.trade_id, trade.settled_wh, trade.value_micro) for trade in event.trades]
        values = (
            "settled" if event.rows else "confirmed",
            sum(trade.settled_wh for trade in event.trades),
            sum(trade.value_micro for trade in event.trades),
            len(event.energies),
            at,
            event.delivery_start,
        )
        self._changes.append((_SETTLE, values))

    def _correct(self, event: IntervalCorrected, state: MarketState) -> None:
        """Book what the trades became, when it is the correction that was agreed."""
        interval = state.intervals.get(event.delivery_start)
        corrected = interval.settlement if interval is not None else None
        if isinstance(corrected, CorrectionProposed) and corrected.revision == event.revision:
            self._settled += [(trade.trade_id, trade.settled_wh, trade.value_micro) for trade in corrected.trades]
            settled_wh = sum(trade.settled_wh for trade in corrected.trades)
            value = sum(trade.value_micro for trade in corrected.trades)
            self._changes.append((_CORRECT, (settled_wh, value, event.delivery_start)))

    def _confirm(self, at: int, event: SettlementConfirmed) -> None:
        values = (event.transaction, event.block_number, event.gas_used, at, event.delivery_start)
        self._changes.append((_CONFIRM, values))


def are_current(connection: sqlite3.Connection) -> bool:
    """Tell whether the tables were made by this version."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'projections'").fetchone()
    return row is not None and row[0] == PROJECTIONS_VERSION


def reset(connection: sqlite3.Connection) -> None:
    """Empty the tables, to be filled from the log."""
    for statement in _EMPTY:
        connection.execute(statement)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('projections', ?)", (PROJECTIONS_VERSION,))


class _Volume:
    """What traded for one interval within a group, and the last price."""

    __slots__ = ("energy_wh", "price", "trades")

    def __init__(self) -> None:
        self.price: int | None = None
        self.energy_wh = 0
        self.trades = 0
