"""Random intervals: signed orders, trades and metered energy, settled by settlement's own code.

Some rows get fees, shortfall and compensation on top, up to the market's bounds and now and then one
unit beyond; some batches get one field changed, and may then be anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from coordinator.chain.batch import Row as ChainRow
from coordinator.chain.batch import unpack
from coordinator.chain.keys import sign_compact
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.messages import Order, Side
from coordinator.protocol.typed_data import Domain
from coordinator.settlement.deliver import AccountEnergy, SettledShare, TradeToSettle, deliver
from coordinator.settlement.rows import ROW_BYTES, Row, SignedOrder, build_rows, pack_rows
from tests.chain.reference import Bounds

MARKET_ORDER_SHARE = 0.15
_TOO_FAR_SHARE = 0.03
_EXECUTED, _SHORT, _METERED, _VALUE, _TRADES = (35, 41), (41, 47), (47, 53), (53, 61), (61, 63)
_SIGNATURE = (95, 159)


@dataclass
class Interval:
    """What one interval's orders became."""

    domain: Domain
    market: str
    delivery_start: int
    orders: dict[bytes, SignedOrder] = field(default_factory=dict)
    rows: Sequence[Row] = ()

    def packed(self) -> bytes:
        """Return the batch."""
        return pack_rows(self.rows, self.orders)

    def digest(self, row: ChainRow) -> bytes | None:
        """Return the digest of a row's order; ``None`` when the row has not its account's signature."""
        signed = {order.signature: digest for digest, order in self.orders.items()}
        return signed.get(row.signature)


def random_interval(
    rng: Random, domain: Domain, market: str, delivery_start: int, homes: Sequence[AccountKey], bounds: Bounds
) -> Interval:
    """Return an interval with one row or more."""
    interval = Interval(domain, market, delivery_start)
    shares: tuple[SettledShare, ...] = ()
    while not interval.rows:
        for key in rng.choices(homes, k=rng.randint(2, 7)):
            _order(rng, interval, key, bounds)
        shares, energies = _deliver(rng, interval, bounds)
        interval.rows = build_rows(shares, energies)
    if rng.random() < 0.5:
        interval.rows = _charged(rng, interval, shares, bounds)
    return interval


def changed(rng: Random, packed: bytes) -> bytes:
    """Change one field of one row, a little or entirely, or the order of two rows."""
    rows = [packed[at : at + ROW_BYTES] for at in range(0, len(packed), ROW_BYTES)]
    place = rng.randrange(len(rows))
    begin, end = rng.choice((_EXECUTED, _SHORT, _METERED, _VALUE, _TRADES, _SIGNATURE))
    if rng.random() < 0.15 and place:
        rows[place - 1 : place + 1] = rows[place], rows[place - 1]
        return b"".join(rows)
    bits = 8 * (end - begin)
    old = int.from_bytes(rows[place][begin:end], "big")
    new = rng.choice((old + rng.choice((-1, 1)), old + rng.randint(-1000, 1000), 0, rng.getrandbits(bits)))
    rows[place] = rows[place][:begin] + (new % 2**bits).to_bytes(end - begin, "big") + rows[place][end:]
    return b"".join(rows)


def _order(rng: Random, interval: Interval, key: AccountKey, bounds: Bounds) -> None:
    side = rng.choice(tuple(Side))
    middle = (bounds.price_min + bounds.price_max) // 2
    span = (bounds.price_min, middle) if side is Side.SELL else (middle, bounds.price_max)
    limit = None if rng.random() < MARKET_ORDER_SHARE else rng.randint(*span)
    energy_wh = rng.choice((rng.randint(1, 20), rng.randint(1, 5_000), rng.randint(1, 100_000)))
    salt = rng.randbytes(32)
    order = Order(key.address, interval.market, interval.delivery_start, side, energy_wh, limit, salt=salt)
    digest = order.digest(interval.domain)
    interval.orders[digest] = SignedOrder(order, sign_compact(key, digest))


def _deliver(rng: Random, interval: Interval, bounds: Bounds) -> tuple[tuple[SettledShare, ...], list[AccountEnergy]]:
    """Trade at random within the limits, meter at random, and let settlement say what was delivered."""
    room = {digest: signed.order.energy_wh for digest, signed in interval.orders.items()}
    trades: list[TradeToSettle] = []
    for buy, sell in _pairs(rng, interval):
        energy_wh = rng.randint(1, max(1, min(room[buy], room[sell])))
        if min(room[buy], room[sell]) < energy_wh:
            continue
        room[buy] -= energy_wh
        room[sell] -= energy_wh
        bought, sold = interval.orders[buy].order, interval.orders[sell].order
        low = max(sold.signed_limit, bounds.price_min)
        price = rng.randint(low, min(bought.signed_limit, bounds.price_max))
        trades.append(TradeToSettle(len(trades) + 1, buy, sell, bought.account, sold.account, energy_wh, price))
    energies = _metered(rng, trades)
    return deliver(trades, energies), energies


def _pairs(rng: Random, interval: Interval) -> list[tuple[bytes, bytes]]:
    """Return pairs of orders of different accounts that may trade, some of them twice."""
    sides: dict[Side, list[bytes]] = defaultdict(list)
    for digest, signed in interval.orders.items():
        sides[signed.order.side].append(digest)
    pairs = [
        (buy, sell)
        for buy in sides[Side.BUY]
        for sell in sides[Side.SELL]
        if interval.orders[buy].order.account != interval.orders[sell].order.account
    ]
    return rng.choices(pairs, k=rng.randint(1, 2 * len(pairs))) if pairs else []


def _metered(rng: Random, trades: Sequence[TradeToSettle]) -> list[AccountEnergy]:
    bought: dict[str, int] = defaultdict(int)
    sold: dict[str, int] = defaultdict(int)
    for trade in trades:
        bought[trade.buyer] += trade.energy_wh
        sold[trade.seller] += trade.energy_wh

    def registers(promised_wh: int) -> int:
        return rng.choice((promised_wh, rng.randint(0, promised_wh), promised_wh + rng.randint(0, 3_000)))

    accounts = sorted({*bought, *sold})
    return [AccountEnergy(a, registers(bought[a]), registers(sold[a]), rng.random() < 0.2) for a in accounts]


def _charged(rng: Random, interval: Interval, shares: Sequence[SettledShare], bounds: Bounds) -> Sequence[Row]:
    """Let buyers pay more and sellers get less, as far as they may; what is no fee goes to one seller."""
    rows = [_short(rng, interval.orders[row.order].order, row) for row in interval.rows]
    rows += _undelivered(interval, rows, shares)
    rows.sort(key=lambda row: (row.account, row.order))
    taken = 0
    for place, row in enumerate(rows):
        order = interval.orders[row.order].order
        worst = _most(order, row, bounds) if row.side is Side.BUY else _least(order, row, bounds)
        beyond = worst + (1 if row.side is Side.BUY else -1)
        value = rng.choice((rng.randint(*sorted((row.value_micro, worst))), worst, row.value_micro))
        value = beyond if rng.random() < _TOO_FAR_SHARE else value
        taken += abs(value - row.value_micro)
        rows[place] = replace(row, value_micro=value)
    fee_max = sum(row.executed_wh for row in rows if row.side is Side.BUY) * bounds.fee_max_micro_per_kwh // 1000
    fees_micro = rng.choice((rng.randint(0, fee_max), fee_max, fee_max + (rng.random() < _TOO_FAR_SHARE)))
    rest = taken - min(taken, fees_micro)
    sellers = [place for place, row in enumerate(rows) if row.side is Side.SELL]
    place = rng.choice(sellers)
    rows[place] = replace(rows[place], value_micro=rows[place].value_micro + rest)
    return rows


def _short(rng: Random, order: Order, row: Row) -> Row:
    """Call some of what was signed and not executed short; a buyer may use less than it bought."""
    short_wh = rng.choice((0, order.energy_wh - row.executed_wh, rng.randint(0, order.energy_wh - row.executed_wh)))
    metered_wh = rng.randint(0, row.executed_wh) if row.side is Side.BUY and rng.random() < 0.5 else row.metered_wh
    return replace(row, short_wh=short_wh, metered_wh=metered_wh)


def _undelivered(interval: Interval, rows: Sequence[Row], shares: Sequence[SettledShare]) -> list[Row]:
    """Return rows of the orders of which nothing was executed: all that they traded is short."""
    known = {row.order for row in rows}
    traded: dict[bytes, list[int]] = defaultdict(list)
    for share in shares:
        for digest in {share.trade.buy, share.trade.sell} - known:
            traded[digest].append(share.trade.energy_wh)
    made = []
    for digest, energies in traded.items():
        order = interval.orders[digest].order
        made.append(Row(order.account, digest, order.side, 0, sum(energies), 0, 0, len(energies)))
    return made


def _most(order: Order, row: Row, bounds: Bounds) -> int:
    """Return the most that a buyer pays."""
    limit = min(order.signed_limit, bounds.price_max)
    return (row.executed_wh * limit + row.short_wh * max(0, limit - bounds.under_use_price_min)) // 1000


def _least(order: Order, row: Row, bounds: Bounds) -> int:
    """Return the least that a seller gets: its exact value is less than one below for each trade."""
    limit = max(order.signed_limit, bounds.price_min)
    exact = row.executed_wh * limit - row.short_wh * max(0, bounds.shortfall_price_max - limit)
    return exact // 1000 - row.trades + 1


def rows_of(packed: bytes) -> Sequence[ChainRow]:
    """Return the rows as the chain's own reader sees them."""
    return unpack(packed)
