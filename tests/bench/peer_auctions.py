"""One peer's call auction on the common workload, in the peers' own environment: ``peer_auctions.py PEER ORDERS``.

Prints JSON: the CPU seconds and what the peer traded, in kWh. Imports nothing of ours, for ours needs a newer Python.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from time import process_time
from typing import Any

type Row = tuple[float, float, float, float]


def workload(orders: int) -> list[Row]:
    """Return pairs of (bid kWh, bid ct, offer kWh, offer ct): 0.05 to 2 kWh, bids 8 to 32 and offers 6 to 30 ct/kWh."""
    draw = random.Random(7)
    spans = ((0.05, 2), (8, 32), (0.05, 2), (6, 30))
    return [tuple(round(draw.uniform(*span), 4) for span in spans) for _ in range(orders // 2)]  # type: ignore[misc]


def assume(rows: list[Row], mechanism: str = "pay_as_clear") -> tuple[float, float]:
    """ASSUME's clearing of one hourly product."""
    objects: Any = importlib.import_module("assume.common.market_objects")
    mechanisms: Any = importlib.import_module("assume.markets.clearing_algorithms")
    rrule: Any = importlib.import_module("dateutil.rrule")
    utils: Any = importlib.import_module("assume.common.utils")
    start, hour = datetime(2026, 1, 1), timedelta(hours=1)  # noqa: DTZ001 - the peer wants naive times
    config = objects.MarketConfig(
        market_id="m",
        market_products=[objects.MarketProduct(hour, 1, hour)],
        opening_hours=rrule.rrule(rrule.HOURLY, dtstart=start, until=start + 24 * hour),
        market_mechanism=mechanism,
    )
    products = utils.get_available_products(config.market_products, config.opening_hours.after(start))
    product = {"start_time": products[0][0], "end_time": products[0][1], "only_hours": products[0][2]}
    book = []
    for number, (bid, value, offer, cost) in enumerate(rows):
        for side, volume, price in (("b", -bid, value), ("s", offer, cost)):
            name = f"{side}{number}"
            book.append({**product, "volume": volume, "price": price, "agent_addr": name, "bid_id": name, "node": None})
    clearing = mechanisms.clearing_mechanisms[mechanism](config)
    began = process_time()
    accepted = clearing.clear(book, products)[0]
    return process_time() - began, sum(max(0.0, order["accepted_volume"]) for order in accepted)


def pymarket(rows: list[Row], mechanism: str = "muda") -> tuple[float, float]:
    """PyMarket's truthful auctions."""
    numpy: Any = importlib.import_module("numpy")
    market = importlib.import_module("pymarket").Market()
    for number, (bid, value, offer, cost) in enumerate(rows):
        market.accept_bid(bid, value, 2 * number, True, 0)
        market.accept_bid(offer, cost, 2 * number + 1, False, 0)
    began = process_time()
    trades, _ = market.run(mechanism, **({"r": numpy.random.RandomState(7)} if mechanism == "muda" else {}))
    spent_s = process_time() - began
    frame = trades.get_df()
    return spent_s, float(frame[frame["bid"] % 2 == 0]["quantity"].sum())  # bids and offers were given in turn


PEERS: dict[str, Callable[[list[Row]], tuple[float, float]]] = {
    "assume pay_as_clear": assume,
    "assume pay_as_bid": lambda rows: assume(rows, "pay_as_bid"),
    "pymarket muda": pymarket,
    "pymarket huang": lambda rows: pymarket(rows, "huang"),
}


if __name__ == "__main__":
    cpu_s, traded_kwh = PEERS[sys.argv[1]](workload(int(sys.argv[2])))
    json.dump({"cpu_s": cpu_s, "traded_kwh": traded_kwh}, sys.stdout)
