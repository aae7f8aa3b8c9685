"""Questions to the ledger's tables, asked on read-only connections in worker threads.

Every answer is of committed data. Lists have a limit, at most ``LIMIT_MAX``. When too many ask at
once, ``LedgerBusy`` is raised; the coordinator's own reading does not come through here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from ..chain.ports import Effect
from ..market.commands import Command, PlaceBundles, PlaceOrder, ReplaceOrder
from ..market.events import CloseReason, Stage
from ..market.views import closed_as
from ..protocol.chain_messages import SettlementHeader
from ..protocol.messages import Order
from . import codec
from .auctions import AuctionKind, AuctionRecord, certified, newest
from .evidence import SELECT_READINGS, device_key, reading_of
from .log import TERMS_KIND
from .outbox import SELECT_EFFECTS, effect_of
from .records import (
    AccountTotals,
    BatchRecord,
    IntervalRecord,
    OrderRecord,
    Published,
    ReceiptRecord,
    StoredReading,
    TradeRecord,
)
from .store import Store

LIMIT_MAX = 1_000

_INTERVALS = """
SELECT i.delivery_start, i.stage, i.price_micro_per_kwh, i.volume_wh, i.trades, i.settled_wh, i.value_micro,
    CASE WHEN i.settled_at IS NULL THEN (
        SELECT count(*) FROM (
            SELECT buyer FROM trades WHERE delivery_start = i.delivery_start
            UNION SELECT seller FROM trades WHERE delivery_start = i.delivery_start
        )
    ) ELSE i.homes END,
    i.transaction_hash, i.block_number, i.gas_used, i.settled_at, i.confirmed_at
FROM intervals i
"""
_ORDERS = """
SELECT l.kind, l.command, o.digest, l.at, coalesce(f.filled_wh, 0), o.energy_wh, c.remaining_wh, c.reason, i.stage
FROM orders o JOIN log l USING (sequence) LEFT JOIN order_fills f USING (id) LEFT JOIN order_closings c USING (id)
    LEFT JOIN intervals i ON i.delivery_start = o.delivery_start
"""
_TRADES = """
SELECT t.trade_id, t.at, t.delivery_start, t.buy, t.sell, t.buyer, t.seller, t.energy_wh, t.price_micro_per_kwh,
    t.stage, s.settled_wh, s.value_micro, t.grid_fee_micro_per_kwh, t.community_fee_micro_per_kwh
FROM trades t LEFT JOIN settled_trades s USING (trade_id)
"""
_BATCHES = """
SELECT s.delivery_start, s.batch_hash, s.readings_root, s.receipts_root, s.rows, s.traded_wh, s.value_micro,
    s.minted_wh, s.burned_wh, s.fees_micro, i.transaction_hash
FROM settlements s LEFT JOIN intervals i USING (delivery_start)
"""
_RECEIPT = """
SELECT r.body, r.proof, s.delivery_start, s.revision, s.batch_hash, s.readings_root, s.receipts_root, s.signer,
    s.signature, iif(o.id, o.transaction_hash, i.transaction_hash), iif(o.id, o.block_number, i.block_number)
FROM receipts r JOIN statements s USING (delivery_start, revision) LEFT JOIN intervals i USING (delivery_start)
    LEFT JOIN outbox o ON o.key = 'correct:' || r.delivery_start || ':' || r.revision
WHERE r.account = ? AND r.delivery_start = ? ORDER BY r.revision DESC LIMIT 1
"""
_TOTALS = "SELECT account, intervals, consumption_wh, production_wh, saved_micro FROM account_totals"


class Queries:
    """The ledger's read side."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def intervals(self, since: int = 0, limit: int = 48) -> list[IntervalRecord]:
        """Return the newest ``limit`` intervals that start at ``since`` or later, oldest first."""
        sql = f"{_INTERVALS} WHERE i.delivery_start >= ? ORDER BY i.delivery_start DESC LIMIT ?"
        return [IntervalRecord(*row) for row in reversed(await self._rows(sql, since, _limit(limit)))]

    async def interval(self, delivery_start: int) -> IntervalRecord | None:
        """Return one interval's history."""
        rows = await self._rows(f"{_INTERVALS} WHERE i.delivery_start = ?", delivery_start)
        return IntervalRecord(*rows[0]) if rows else None

    async def trades(self, delivery_start: int | None = None, limit: int = 50) -> list[TradeRecord]:
        """Return the newest trades, of one interval or of all, newest first."""
        where = "" if delivery_start is None else "WHERE t.delivery_start = ?"
        values = () if delivery_start is None else (delivery_start,)
        rows = await self._rows(f"{_TRADES} {where} ORDER BY t.trade_id DESC LIMIT ?", *values, _limit(limit))
        return [_trade(row) for row in rows]

    async def auctions(self, limit: int = 100) -> list[AuctionRecord]:
        """Return the newest auctions of both kinds, newest first."""
        return await self._store.ask(lambda connection: newest(connection, limit))

    async def auction(self, kind: AuctionKind, at: int) -> tuple[AuctionRecord, dict[str, Any]] | None:
        """Return an auction with its certificate (empty: none is made of its kind), while it is kept."""
        return await self._store.ask(lambda connection: certified(connection, kind, at))

    async def order(self, digest: bytes) -> OrderRecord | None:
        """Return an order and what became of it."""
        rows = await self._rows(f"{_ORDERS} WHERE o.digest = ?", digest)
        return _order(rows[0]) if rows else None

    async def orders_of(self, account: str, limit: int = 100) -> list[OrderRecord]:
        """Return an account's newest orders, newest first."""
        rows = await self._rows(f"{_ORDERS} WHERE o.account = ? ORDER BY o.id DESC LIMIT ?", account, _limit(limit))
        return [_order(row) for row in rows]

    async def receipts_of(self, account: str, since: int = 0, limit: int = 100) -> list[ReceiptRecord]:
        """Return an account's newest receipts of intervals from ``since`` on, newest first."""
        rows = await self._rows(
            "SELECT r.delivery_start, r.revision, r.saved_micro, r.total_micro, i.transaction_hash FROM receipts r"
            " JOIN revisions_in_force s USING (delivery_start, revision) LEFT JOIN intervals i USING (delivery_start)"
            " WHERE r.account = ? AND r.delivery_start >= ? ORDER BY r.delivery_start DESC LIMIT ?",
            account,
            since,
            _limit(limit),
        )
        return [ReceiptRecord(*row) for row in rows]

    async def receipt(self, account: str, delivery_start: int) -> dict[str, Any] | None:
        """Return the newest receipt's envelope: body, proof, receipts_root, settlement, transaction, block_number."""
        rows = await self._rows(_RECEIPT, account, delivery_start)
        return _envelope(rows[0]) if rows else None

    async def account_totals(self, account: str) -> AccountTotals:
        """Return the sums over an account's receipts."""
        rows = await self._rows(f"{_TOTALS} WHERE account = ?", account)
        return AccountTotals(*rows[0][1:]) if rows else AccountTotals(0, 0, 0, 0)

    async def all_account_totals(self) -> dict[str, AccountTotals]:
        """Return the sums of every account that has a receipt."""
        return {row[0]: AccountTotals(*row[1:]) for row in await self._rows(_TOTALS)}

    async def reading(self, device_id: int, sequence: int) -> StoredReading | None:
        """Return the reading that is kept under a sequence number."""
        return await self._reading("AND sequence = ?", device_id, sequence)

    async def last_reading(self, device_id: int) -> StoredReading | None:
        """Return a meter's last accepted reading."""
        return await self._reading("ORDER BY sequence DESC LIMIT 1", device_id)

    async def readings(self, device_id: int, since: int = 0, limit: int = 100) -> list[StoredReading]:
        """Return a meter's readings taken at ``since`` or later, oldest first."""
        rows = await self._rows(
            f"{SELECT_READINGS} WHERE device_id = ? AND timestamp >= ? ORDER BY timestamp, sequence LIMIT ?",
            device_key(device_id),
            since,
            _limit(limit),
        )
        return [StoredReading(*reading_of(row)) for row in rows]

    async def batch(self, delivery_start: int) -> BatchRecord | None:
        """Return what the contract must say about a settled interval."""
        rows = await self._rows(f"{_BATCHES} WHERE s.delivery_start = ?", delivery_start)
        return BatchRecord(*rows[0]) if rows else None

    async def batches(self, since: int = 0, limit: int = 100) -> list[BatchRecord]:
        """Return the newest batches of intervals from ``since`` on, newest first."""
        sql = f"{_BATCHES} WHERE s.delivery_start >= ? ORDER BY s.delivery_start DESC LIMIT ?"
        return [BatchRecord(*row) for row in await self._rows(sql, since, _limit(limit))]

    async def events(self, since: int, limit: int = 1000) -> list[Published]:
        """Return the events of the (at most ``limit``) commands after sequence ``since``."""
        sql = "SELECT sequence, at, kind, command, events FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[Published]:
            return [
                Published(sequence, index, at, event)
                for sequence, at, kind, command, text in connection.execute(sql, (since, _limit(limit)))
                if kind != TERMS_KIND
                for index, event in enumerate(codec.decode_row(kind, command, text)[1])
            ]

        return await self._store.ask(work)

    async def effects(self, state: str | None = None, limit: int = 100) -> list[Effect]:
        """Return the newest effects, of one state or of all, newest first."""
        where = "" if state is None else "WHERE state = ?"
        values = () if state is None else (state,)
        rows = await self._rows(f"{SELECT_EFFECTS} {where} ORDER BY id DESC LIMIT ?", *values, _limit(limit))
        return [effect_of(row) for row in rows]

    async def run[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a question of one's own with a read-only connection."""
        return await self._store.ask(question)

    async def _reading(self, where: str, device_id: int, *values: int) -> StoredReading | None:
        sql = f"{SELECT_READINGS} WHERE device_id = ? {where}"
        rows = await self._rows(sql, device_key(device_id), *values)
        return StoredReading(*reading_of(rows[0])) if rows else None

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        return await self._store.ask(lambda connection: connection.execute(sql, values).fetchall())


def _limit(limit: int) -> int:
    return max(0, min(limit, LIMIT_MAX))


def _trade(row: Sequence[Any]) -> TradeRecord:
    values = list(row)
    values[9] = Stage(values[9])
    return TradeRecord(*values)


def _order(row: Sequence[Any]) -> OrderRecord:
    kind, text, digest, placed_at, filled_wh, energy_wh, remaining_wh, reason, stage = row
    order, signature = _signed(codec.decode_command(kind, text), digest)
    closed = None if reason is None else CloseReason(reason)
    open_wh = energy_wh - filled_wh if remaining_wh is None else remaining_wh
    status = order_status(filled_wh, closed, stage)
    return OrderRecord(order, digest, signature, placed_at, filled_wh, open_wh, closed, status)


def _signed(command: Command, digest: bytes) -> tuple[Order, bytes]:
    """Return an order and its signature from the command that placed it."""
    if isinstance(command, PlaceBundles):
        leg = next(leg for leg in command.legs if leg.digest == digest)
        return leg.order, leg.signature
    assert isinstance(command, PlaceOrder | ReplaceOrder)
    return command.order, command.signature


def order_status(filled_wh: int, closed: CloseReason | None, stage: str | None) -> str:
    """Return an order's status in the API's words."""
    if filled_wh and stage in {"settled", "confirmed"}:
        return "settled"
    if closed is not None:
        return closed_as(closed)
    return "partly_filled" if filled_wh else "resting"


def _envelope(row: Sequence[Any]) -> dict[str, Any]:
    body, proof, *header, signer, signature, transaction, block_number = row
    steps = [proof[i : i + 32] for i in range(0, len(proof), 32)]
    settlement = SettlementHeader(*header).to_wire()
    return {
        "body": json.loads(body),
        "proof": ["0x" + step.hex() for step in steps],
        "receipts_root": settlement["receipts_root"],
        "settlement": settlement | {"signer": signer, "signature": "0x" + signature.hex()},
        "transaction": transaction,
        "block_number": block_number,
    }
