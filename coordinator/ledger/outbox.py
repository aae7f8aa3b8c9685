"""Effects on the chain: written by the transaction that decided them, marked as they come true.

``Outbox`` is the port that the chain's sender works from, ``Expectations`` the one that the
independent observer compares with.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence

from ..chain.ports import Balance, CorrectedAccount, Effect, EffectState, ExpectedBatch, Mined, Standing
from ..market.state import IntervalStage
from .group import EffectCounts, complete_effect, count_effects
from .store import Store, transaction
from .writer import Durable

SELECT_EFFECTS = "SELECT key, kind, payload, nonce, raw_transaction, transaction_hash, attempts, state FROM outbox"

_FAILURES_UNTOLD = """
SELECT key, kind, payload, nonce, raw_transaction, transaction_hash, attempts, state, error FROM outbox
WHERE state = 'failed' AND kind = 'settle_batch' AND NOT EXISTS (
    SELECT 1 FROM log
    WHERE log.kind = 'HaltTrading' AND log.sequence > outbox.sequence AND instr(log.command, outbox.key || ':')
) ORDER BY id
"""


class UnknownEffect(LookupError):
    """No effect has this key."""


class Outbox:
    """The effects, in the order they were decided."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = asyncio.Event()
        self._changed.set()
        self._counts = EffectCounts()

    async def pending(self, limit: int, *, but: str | None = None) -> Sequence[Effect]:
        """Return effects that are pending or sent, oldest first, ``but`` none of that kind."""
        sql = f"{SELECT_EFFECTS} WHERE state IN ('pending', 'sent') AND kind IS NOT ? ORDER BY id LIMIT ?"
        return await self._select(sql, but, limit)

    async def signed_since(self, nonce: int) -> Sequence[Effect]:
        """Return every effect with a stored transaction of this nonce or later, by rising nonce."""
        return await self._select(f"{SELECT_EFFECTS} WHERE nonce >= ? ORDER BY nonce", nonce)

    async def mark_sent(self, key: str, nonce: int, raw_transaction: bytes, transaction: str) -> bool:
        """Store the signed transaction durably; call it before the transaction leaves.

        Return ``False``, with nothing stored, when the effect was superseded meanwhile: the transaction must not leave.
        """
        sql = (
            "UPDATE outbox SET state = 'sent', nonce = ?, raw_transaction = ?, transaction_hash = ? WHERE key = ?"
            " AND state <> 'superseded'"
        )
        values = (nonce, raw_transaction, transaction, key)
        marked: list[int] = []
        await self._change(key, lambda connection: marked.append(connection.execute(sql, values).rowcount))
        return marked == [1]

    async def mark_done(self, key: str, block_number: int, gas_used: int, transaction: str) -> None:
        """Book that the effect is on chain."""
        mined = Mined(transaction, block_number, gas_used)
        await self._change(key, lambda connection: complete_effect(connection, key, mined))

    async def mark_failed(self, key: str, error: str, *, retry: bool) -> None:
        """Book an error and one attempt more; ``retry`` leaves the effect pending, a superseded one stays that."""
        state: EffectState = "pending" if retry else "failed"
        sql = (
            "UPDATE outbox SET state = CASE state WHEN 'superseded' THEN state ELSE ? END, error = ?,"
            " attempts = attempts + 1 WHERE key = ?"
        )
        await self._change(key, lambda connection: connection.execute(sql, (state, error, key)))

    async def failures_untold(self) -> list[tuple[Effect, str]]:
        """Return failed settlements with their errors, but for those that trading was halted for."""

        def work(connection: sqlite3.Connection) -> list[tuple[Effect, str]]:
            return [(effect_of(row[:-1]), str(row[-1])) for row in connection.execute(_FAILURES_UNTOLD)]

        return await self._store.read(work)

    async def failures(self) -> list[Effect]:
        """Return what has failed for good, oldest first; what was superseded has not."""
        return await self._select(f"{SELECT_EFFECTS} WHERE state = 'failed' ORDER BY id")

    async def try_again(self, keys: Sequence[str]) -> None:
        """Let failed effects be sent anew, as if never tried: their old transactions were mined or never left."""
        sql = (
            "UPDATE outbox SET state = 'pending', attempts = 0, nonce = NULL, raw_transaction = NULL,"
            " transaction_hash = NULL WHERE key = ? AND state = 'failed'"
        )

        def work(connection: sqlite3.Connection) -> EffectCounts:
            with transaction(connection):
                for key in keys:
                    connection.execute(sql, (key,))
            return count_effects(connection)

        self.written(await self._store.write(work), new=True)

    async def changed(self) -> None:
        """Return when there is a new effect, also one written before the call but not yet told of."""
        await self._changed.wait()
        self._changed.clear()

    @property
    def waiting(self) -> int:
        """How many effects are pending or sent."""
        return self._counts.waiting

    @property
    def failed(self) -> int:
        """How many effects have failed for good."""
        return self._counts.failed

    def written(self, counts: EffectCounts, *, new: bool) -> None:
        """Note what the outbox holds now; wake who waits when there is something new."""
        self._counts = counts
        if new:
            self._changed.set()

    async def _select(self, sql: str, *values: int | str | None) -> list[Effect]:
        return await self._store.read(lambda connection: [effect_of(r) for r in connection.execute(sql, values)])

    async def _change(self, key: str, change: Callable[[sqlite3.Connection], object]) -> None:
        def work(connection: sqlite3.Connection) -> EffectCounts:
            with transaction(connection):
                if not connection.execute("SELECT 1 FROM outbox WHERE key = ?", (key,)).fetchone():
                    raise UnknownEffect(f"the outbox has no effect {key!r}")
                change(connection)
            return count_effects(connection)

        self.written(await self._store.write(work), new=False)


class Expectations:
    """What the ledger says should be on chain."""

    def __init__(self, store: Store, durable: Durable) -> None:
        self._store = store
        self._durable = durable

    async def batch(self, delivery_start: int) -> ExpectedBatch | None:
        """Return the batch that was decided for an interval, ``None`` when none was."""
        sql = "SELECT delivery_start, readings_root, receipts_root, rows FROM settlements WHERE delivery_start = ?"
        row = await self._store.read(lambda connection: connection.execute(sql, (delivery_start,)).fetchone())
        return ExpectedBatch(*row) if row else None

    async def correction(self, delivery_start: int, revision: int) -> Sequence[CorrectedAccount] | None:
        """Return the rows of a correction that all who lose have agreed to, ``None`` when there is none."""
        sql = (
            "SELECT account, energy_wh, money_micro, max(0, energy_wh), max(0, -energy_wh) FROM correction_changes"
            " JOIN corrections USING (delivery_start, revision) WHERE delivery_start = ? AND revision = ?"
            " AND stage IN ('agreed', 'booked') ORDER BY account"
        )
        key = delivery_start, revision
        rows = await self._store.read(lambda connection: connection.execute(sql, key).fetchall())
        return [CorrectedAccount(*row) for row in rows] or None

    async def standing(self) -> Standing:
        """Return all accounts' columns, as of one moment."""
        state = self._durable.state
        unconfirmed = [i for i in state.intervals.values() if i.stage is IntervalStage.SETTLED]
        settlements = [i.settlement for i in unconfirmed if i.settlement is not None]
        return Standing(
            balances={name: Balance(a.money_micro, a.energy_wh) for name, a in state.accounts.items()},
            unconfirmed=len(unconfirmed),
            confirmed=self._durable.batches_confirmed,
            in_flight=frozenset(row.account for settlement in settlements for row in settlement.rows),
        )


def effect_of(row: Sequence[object]) -> Effect:
    """Return an effect from a row."""
    key, kind, payload, *rest = row
    return Effect(str(key), str(kind), json.loads(str(payload)), *rest)  # type: ignore[arg-type]
