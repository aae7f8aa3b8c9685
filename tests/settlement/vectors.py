"""Makes ``tests/cases/settlement_vectors.json``: batches for the contract, and what they must do.

Run ``python -m tests.settlement.vectors`` after a change. The batches stand in the order in which one
ledger (at ``domain.ledger`` on chain ``domain.chain_id``) settles them: each gives the packed rows, what the contract
emits, and every account's columns afterwards. pytest and the Solidity tests read the file. Keys are
made from fixed secrets: never use them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coordinator.protocol.keccak import keccak256
from coordinator.protocol.messages import Side
from coordinator.protocol.units import ENERGY_WH_MAX
from coordinator.settlement.rows import Row, batch_totals, pack_rows
from coordinator.settlement.statements import readings_root, statements
from tests.settlement.community import DOMAIN, FEED_IN, INTERVAL_S, MARKET, SUPPLIER, Community, Home, homes

PATH = Path(__file__).parents[1] / "cases" / "settlement_vectors.json"
GENESIS = 1_799_971_200
FIRST_DELIVERY = GENESIS + 4 * INTERVAL_S
OPENING_MONEY_MICRO = 1_000_000_000
PRICE_MIN, PRICE_MAX = 0, 1_000_000
METERED_MAX_WH = 10_000_000
FEE_MAX = 50_000
CROWD = 40


def build() -> dict[str, Any]:
    """Return the vectors as JSON values."""
    columns: dict[str, list[int]] = {}
    batches = [_batch(place, name, make, columns) for place, (name, make) in enumerate(_CASES.items())]
    return {
        "about": "Batches that one ledger settles in this order; every account starts with opening_money_micro.",
        "domain": {"chain_id": DOMAIN.chain_id, "ledger": DOMAIN.ledger},
        "market": MARKET,
        "market_hash": _hex(keccak256(MARKET.encode())),
        "interval_s": INTERVAL_S,
        "genesis": GENESIS,
        "price_min_micro_per_kwh": PRICE_MIN,
        "price_max_micro_per_kwh": PRICE_MAX,
        "metered_max_wh": METERED_MAX_WH,
        "shortfall_price_max_micro_per_kwh": SUPPLIER,
        "under_use_price_min_micro_per_kwh": FEED_IN,
        "fee_max_micro_per_kwh": FEE_MAX,
        "supplier_micro_per_kwh": SUPPLIER,
        "feed_in_micro_per_kwh": FEED_IN,
        "opening_money_micro": OPENING_MONEY_MICRO,
        "accounts": sorted(columns),
        "batches": batches,
    }


def _batch(place: int, name: str, make: Callable[[Community], None], columns: dict[str, list[int]]) -> dict[str, Any]:
    community = Community(FIRST_DELIVERY + place * INTERVAL_S)
    make(community)
    settlement = community.settle()
    receipts_root, receipts = statements(community.terms(), settlement)
    packed = pack_rows(settlement.rows, settlement.orders)
    for signed in community.orders.values():
        columns.setdefault(signed.order.account, [OPENING_MONEY_MICRO, 0])
    for row in settlement.rows:
        _move(columns[row.account], row)
    return {
        "name": name,
        "about": (make.__doc__ or "").strip(),
        "delivery_start": community.delivery_start,
        "compensation": community.compensation,
        "orders": [
            {"wire": s.order.to_wire(), "digest": _hex(d), "signature": _hex(s.signature)}
            for d, s in community.orders.items()
        ],
        "trades": [_plain(asdict(trade)) for trade in community.trades],
        "energies": [asdict(energy) for energy in community.energies],
        "shares": [
            {name: value for name, value in asdict(share).items() if name != "trade"}
            | {"trade_id": share.trade.trade_id}
            for share in settlement.shares
        ],
        "rows": [_plain(asdict(row)) for row in settlement.rows],
        "rows_hex": _hex(packed),
        "batch_hash": _hex(keccak256(packed)),
        "readings_root": _hex(readings_root(community.evidence, DOMAIN)),
        "receipts_root": _hex(receipts_root),
        "totals": asdict(batch_totals(settlement.rows)),
        "header_digest": _hex(community.header(receipts_root).digest(DOMAIN)),
        "balances": [
            {"account": account, "money_micro": columns[account][0], "energy_wh": columns[account][1]}
            for account in sorted({signed.order.account for signed in community.orders.values()})
        ],
        "receipt": community.envelope(receipts[0], receipts_root),
    }


def _move(column: list[int], row: Row) -> None:
    sign = 1 if row.side is Side.SELL else -1
    column[0] += sign * row.value_micro
    column[1] += sign * (row.metered_wh - row.executed_wh)


def _full(c: Community) -> None:
    """One seller delivers everything to one buyer and keeps 40 Wh."""
    seller, buyer = homes("anna", "bert")
    sell, buy = c.order(seller, Side.SELL, 500, 150_000), c.order(buyer, Side.BUY, 600, 250_000)
    c.trade(buy, sell, 500, 200_000)
    c.meter(seller, 0, 540)
    c.meter(buyer, 700, 0)


def _short(c: Community) -> None:
    """A seller falls short; three buyers share what came by largest remainder, one of them takes less."""
    seller, *buyers = homes("anna", "bert", "cleo", "dora")
    sell = c.order(seller, Side.SELL, 1_000, None)
    for buyer, energy_wh in zip(buyers, (500, 333, 167), strict=True):
        c.trade(c.order(buyer, Side.BUY, energy_wh, None), sell, energy_wh, 199_999)
        c.meter(buyer, 90 if buyer.name == "dora" else 1_000, 0)
    c.meter(seller, 12, 701)


def _both_ways(c: Community) -> None:
    """An account buys and sells in the same interval; its surplus stands on its last sell row."""
    anna, bert, cleo = homes("anna", "bert", "cleo")
    sells = [c.order(anna, Side.SELL, 300, 100_000), c.order(anna, Side.SELL, 200, 120_000)]
    buys = [c.order(bert, Side.BUY, 400, 300_000), c.order(anna, Side.BUY, 100, 300_000)]
    c.trade(buys[0], sells[0], 250, 180_001)
    c.trade(buys[0], sells[1], 150, 180_003)
    c.trade(buys[1], c.order(cleo, Side.SELL, 100, 0), 100, 77_777)
    c.meter(anna, 100, 460)
    c.meter(bert, 10_000, 0)
    c.meter(cleo, 0, 100)


def _crumbs(c: Community) -> None:
    """Many trades of a few Wh at odd prices: every value is rounded down, the limits still hold."""
    seller, buyer = homes("dora", "bert")
    sell, buy = c.order(seller, Side.SELL, 900, 100_003), c.order(buyer, Side.BUY, 900, 100_003)
    for i in range(120):
        c.trade(buy, sell, 1 + i % 7, 100_003)
    c.meter(seller, 0, 450)
    c.meter(buyer, 449, 0)


def _edges(c: Community) -> None:
    """Prices at both ends of the band, zero among them, and an estimate, which mints no surplus."""
    anna, bert, cleo, dora = homes("anna", "bert", "cleo", "dora")
    c.trade(c.order(bert, Side.BUY, 1, 0), c.order(anna, Side.SELL, ENERGY_WH_MAX, 0), 1, PRICE_MIN)
    c.trade(c.order(dora, Side.BUY, 50_000, None), c.order(cleo, Side.SELL, 50_000, PRICE_MAX), 50_000, PRICE_MAX)
    c.meter(anna, 0, 1)
    c.meter(bert, 1, 0)
    c.meter(cleo, 0, 49_999, estimated=True)
    c.meter(dora, 49_998, 0)


def _crowd(c: Community) -> None:
    """A street: everybody trades with several neighbours, some deliver less, some take less."""
    street = [Home.named(f"street {i}") for i in range(CROWD)]
    sells = [c.order(home, Side.SELL, 2_000, 90_000 + i) for i, home in enumerate(street[::2])]
    buys = [c.order(home, Side.BUY, 2_000, 200_000 + i) for i, home in enumerate(street[1::2])]
    for i, sell in enumerate(sells):
        for step in (0, 1, 5):
            energy_wh = 1 + _number("energy", i, step) % 500
            c.trade(buys[(i + step) % len(buys)], sell, energy_wh, 100_000 + _number("price", i, step) % 90_000)
    for i, home in enumerate(street):
        c.meter(home, _number("consumption", i, 0) % 1_500, _number("production", i, 0) % 1_500)


def _charged(c: Community) -> None:
    """Buyers pay grid and community fees up to their limits; every fee is rounded down by itself."""
    anna, bert, cleo = homes("anna", "bert", "cleo")
    sell = c.order(anna, Side.SELL, 900, 100_001)
    c.trade(c.order(bert, Side.BUY, 333, 150_006), sell, 333, 100_001, (12_003, 38_002))
    c.trade(c.order(cleo, Side.BUY, 567, None), sell, 567, 123_457, (0, 7_777))
    c.meter(anna, 0, 900)
    c.meter(bert, 333, 0)
    c.meter(cleo, 566, 0)


def _compensated(c: Community) -> None:
    """Anna falls short and answers to both buyers; Dora leaves half of what Elsa delivers and answers to her."""
    c.compensation = True
    anna, bert, cleo, dora, elsa = homes("anna", "bert", "cleo", "dora", "elsa")
    sell = c.order(anna, Side.SELL, 1_001, 150_000)
    c.trade(c.order(bert, Side.BUY, 600, 250_000), sell, 600, 199_999, (10_000, 5_000))
    c.trade(c.order(cleo, Side.BUY, 401, 400_000), sell, 401, 350_001)
    c.trade(c.order(dora, Side.BUY, 700, 180_000), c.order(elsa, Side.SELL, 700, 90_000), 700, 170_003)
    c.meter(anna, 0, 500)
    c.meter(bert, 2_000, 0)
    c.meter(cleo, 300, 0)
    c.meter(dora, 349, 0)
    c.meter(elsa, 0, 800)


def _nothing_came(c: Community) -> None:
    """Nobody executes anything, and the rows are about money only: a seller without sun, a buyer who was away."""
    c.compensation = True
    anna, bert, cleo, dora = homes("anna", "bert", "cleo", "dora")
    c.trade(c.order(bert, Side.BUY, 500, 250_000), c.order(anna, Side.SELL, 500, 150_000), 500, 200_000)
    c.trade(c.order(dora, Side.BUY, 800, None), c.order(cleo, Side.SELL, 800, None), 800, 200_000)
    c.meter(anna, 30, 0)
    c.meter(bert, 500, 0)
    c.meter(cleo, 0, 850)
    c.meter(dora, 0, 0)


def _number(what: str, *at: int) -> int:
    return int.from_bytes(keccak256(f"{what} {at}".encode())[:4], "big")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _hex(value) if isinstance(value, bytes) else value for name, value in values.items()}


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


_CASES: dict[str, Callable[[Community], None]] = {
    "full": _full,
    "short": _short,
    "both ways": _both_ways,
    "crumbs": _crumbs,
    "edges": _edges,
    "crowd": _crowd,
    "charged": _charged,
    "compensated": _compensated,
    "nothing came": _nothing_came,
}


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")
