"""What the contract gets: one packed row per executed order of an interval.

A row has 159 bytes: account 20 | side 1 | limit int64 8 | signed Wh 6 | executed Wh 6 | short Wh 6 |
metered Wh 6 | value int64 8 | trades uint16 2 | terms hash 32 | r 32 | vs 32 (EIP-2098). Rows stand by rising account,
within an account by rising order digest, because the contract checks each account's interval bit
once and every digest for repetition by order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..protocol.messages import Order, Side
from ..protocol.units import ENERGY_WH_MAX
from .deliver import AccountEnergy, SettledShare

ROW_BYTES = 159
TRADES_MAX = 2**16 - 1


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order with its account's signature, 64 bytes ``r || vs``."""

    order: Order
    signature: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One order's row. ``value_micro`` is what its buyer pays or its seller receives in all.

    Of what was traded, ``executed_wh`` changes hands; ``short_wh`` does not, and the account owes money for
    it; it is 1 in a row that only receives compensation, because the contract has no rows about nothing.
    ``metered_wh`` is minted for a seller and burned for a buyer; a buyer's is at most ``executed_wh``, a
    seller's at least that: the surplus is its own. ``trades`` counts those whose values were rounded, 1 at least.
    """

    account: str
    order: bytes
    side: Side
    executed_wh: int
    short_wh: int
    metered_wh: int
    value_micro: int
    trades: int


@dataclass(frozen=True, slots=True)
class BatchTotals:
    """The sums over a batch that the contract emits; ``value_micro`` is what the buyers pay.

    ``fees_micro`` of it is not received by the sellers.
    """

    value_micro: int
    traded_wh: int
    minted_wh: int
    burned_wh: int
    fees_micro: int


class RowLimit(ValueError):
    """A row does not fit its fields."""


def build_rows(
    shares: Iterable[SettledShare], energies: Iterable[AccountEnergy], unminted: Iterable[str] = ()
) -> tuple[Row, ...]:
    """Return the rows of all orders that executed anything or owe or are owed money, in the contract's order.

    An account's measured production beyond its settled sales goes to its last sell row, unless it is
    ``unminted``. Raises ``RowLimit`` when a row does not fit its packed fields.
    """
    by_order: dict[tuple[str, bytes, Side], list[SettledShare]] = defaultdict(list)
    for share in shares:
        if share.settled_wh or share.shortfall_micro or share.under_use_micro:
            by_order[share.trade.buyer, share.trade.buy, Side.BUY].append(share)
            by_order[share.trade.seller, share.trade.sell, Side.SELL].append(share)
    rows = [_row(*order, own) for order, own in sorted(by_order.items())]
    without = set(unminted)
    return tuple(_mint_surplus(rows, {e.account: e for e in energies if e.account not in without}))


def batch_totals(rows: Iterable[Row]) -> BatchTotals:
    """Return the sums of a batch, after checking that energy nets to zero and money to the fees."""
    sold = [row for row in rows if row.side is Side.SELL]
    bought = [row for row in rows if row.side is Side.BUY]
    traded_wh, paid_micro = sum(row.executed_wh for row in bought), sum(row.value_micro for row in bought)
    fees_micro = paid_micro - sum(row.value_micro for row in sold)
    assert traded_wh == sum(row.executed_wh for row in sold)
    assert fees_micro >= 0
    minted_wh, burned_wh = sum(row.metered_wh for row in sold), sum(row.metered_wh for row in bought)
    return BatchTotals(paid_micro, traded_wh, minted_wh, burned_wh, fees_micro)


def pack_rows(rows: Iterable[Row], orders: Mapping[bytes, SignedOrder]) -> bytes:
    """Return the batch as the contract reads it; ``orders`` by digest."""
    return b"".join(_pack(row, orders[row.order]) for row in rows)


def _row(account: str, order: bytes, side: Side, shares: Sequence[SettledShare]) -> Row:
    executed_wh = sum(share.settled_wh for share in shares)
    if side is Side.BUY:
        value = sum(share.paid_micro for share in shares)
        short_wh = sum(share.unused_wh for share in shares if share.under_use_micro)
    else:
        value = sum(share.received_micro for share in shares)
        short_wh = sum(share.short_wh for share in shares if share.shortfall_micro)
    short_wh = short_wh if executed_wh or short_wh else 1
    trades = max(1, sum(1 for share in shares if share.settled_wh))
    if executed_wh + short_wh > ENERGY_WH_MAX or trades > TRADES_MAX or not -(2**63) <= value < 2**63:
        raise RowLimit(f"order 0x{order.hex()} has more energy, value or trades than a row can hold")
    return Row(account, order, side, executed_wh, short_wh, executed_wh, value, trades)


def _mint_surplus(rows: Sequence[Row], energies: Mapping[str, AccountEnergy]) -> list[Row]:
    sales: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        energy = energies.get(row.account)
        if row.side is Side.SELL and energy is not None and not energy.estimated:
            sales[row.account].append(place)
    minted = list(rows)
    for account, places in sales.items():
        surplus_wh = energies[account].production_wh - sum(rows[place].executed_wh for place in places)
        assert surplus_wh >= 0
        last = rows[places[-1]]
        minted[places[-1]] = replace(last, metered_wh=min(last.executed_wh + surplus_wh, ENERGY_WH_MAX))
    return minted


def _pack(row: Row, signed: SignedOrder) -> bytes:
    order = signed.order
    assert order.account == row.account
    assert order.side is row.side
    assert len(signed.signature) == 64
    packed = b"".join(
        (
            bytes.fromhex(row.account.removeprefix("0x")),
            row.side.code.to_bytes(1, "big"),
            order.signed_limit.to_bytes(8, "big", signed=True),
            order.energy_wh.to_bytes(6, "big"),
            row.executed_wh.to_bytes(6, "big"),
            row.short_wh.to_bytes(6, "big"),
            row.metered_wh.to_bytes(6, "big"),
            row.value_micro.to_bytes(8, "big", signed=True),
            row.trades.to_bytes(2, "big"),
            order.terms_hash(),
            signed.signature,
        )
    )
    assert len(packed) == ROW_BYTES
    return packed
