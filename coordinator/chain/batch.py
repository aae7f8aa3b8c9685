"""A packed batch, read independently of the room that packed it.

A row has 159 bytes: account 20, side 1, limit 8, signed 6, executed 6, short 6, metered 6 (Wh), value 8
(1e-6 currency), trades 2, terms hash 32, signature ``r || vs`` 64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from ..protocol.keccak import keccak256

ROW_LENGTH = 159
_BUY, _SELL = 0, 1
_HEAD = struct.Struct(">20sBq")
_TAIL = struct.Struct(">qH32s64s")
_TOTALS = struct.Struct(">q6s6s6s6s")


@dataclass(frozen=True, slots=True)
class Row:
    """One order's row as the contract reads it."""

    account: str
    side: int
    signed_limit: int
    signed_wh: int
    executed_wh: int
    short_wh: int
    metered_wh: int
    value_micro: int
    trades: int
    terms_hash: bytes
    signature: bytes

    @property
    def money_micro(self) -> int:
        """Return what the row adds to the account's money column."""
        return self.value_micro if self.side == _SELL else -self.value_micro

    @property
    def energy_wh(self) -> int:
        """Return what the row adds to the account's energy column."""
        surplus = self.metered_wh - self.executed_wh
        return surplus if self.side == _SELL else -surplus


@dataclass(frozen=True, slots=True)
class Totals:
    """What ``BatchSettled`` says about a batch; of what the buyers paid (``value_micro``), ``fees_micro`` stays."""

    value_micro: int
    traded_wh: int
    minted_wh: int
    burned_wh: int
    fees_micro: int

    @classmethod
    def of_word(cls, word: int) -> Self:
        """Read the sums as the event packs them."""
        value_micro, *rest = _TOTALS.unpack(word.to_bytes(32, "big"))
        return cls(value_micro, *(int.from_bytes(part, "big") for part in rest))


def unpack(rows: bytes) -> tuple[Row, ...]:
    """Return the rows of a packed batch. Raises ``ValueError`` when it cannot be one."""
    if not rows or len(rows) % ROW_LENGTH:
        raise ValueError(f"a batch of {len(rows)} bytes is not a number of rows of {ROW_LENGTH}")
    return tuple(_row(rows[at : at + ROW_LENGTH]) for at in range(0, len(rows), ROW_LENGTH))


def batch_hash(rows: bytes) -> bytes:
    """Return the hash that ``BatchSettled`` carries."""
    return keccak256(rows)


def totals(rows: Iterable[Row]) -> Totals:
    """Return the sums over a batch's rows."""
    rows = tuple(rows)
    buys = [row for row in rows if row.side == _BUY]
    sells = [row for row in rows if row.side == _SELL]
    return Totals(
        value_micro=sum(row.value_micro for row in buys),
        traded_wh=sum(row.executed_wh for row in buys),
        minted_wh=sum(row.metered_wh for row in sells),
        burned_wh=sum(row.metered_wh for row in buys),
        fees_micro=sum(row.value_micro for row in buys) - sum(row.value_micro for row in sells),
    )


def changes(rows: Iterable[Row]) -> Mapping[str, tuple[int, int]]:
    """Return what each account gains in money (1e-6) and energy (Wh)."""
    changed: dict[str, tuple[int, int]] = {}
    for row in rows:
        money_micro, energy_wh = changed.get(row.account, (0, 0))
        changed[row.account] = (money_micro + row.money_micro, energy_wh + row.energy_wh)
    return changed


def _row(packed: bytes) -> Row:
    account, side, limit = _HEAD.unpack_from(packed)
    value_micro, trades, terms_hash, signature = _TAIL.unpack_from(packed, 53)
    if side not in (_BUY, _SELL):
        raise ValueError(f"a row has side {side}; 0 buys and 1 sells")
    return Row(
        account="0x" + account.hex(),
        side=side,
        signed_limit=limit,
        signed_wh=int.from_bytes(packed[29:35], "big"),
        executed_wh=int.from_bytes(packed[35:41], "big"),
        short_wh=int.from_bytes(packed[41:47], "big"),
        metered_wh=int.from_bytes(packed[47:53], "big"),
        value_micro=value_micro,
        trades=trades,
        terms_hash=terms_hash,
        signature=signature,
    )
