"""Call auctions: trades and certificate, every rule, preferences, and peers on the same workload.

``report(peers)`` is a part of ``script/bench market``; alone: ``.venv/bin/python -m tests.bench.market_auction
[PYTHON]`` with the interpreter of the peers' environment. CPU time of one core, the best of three.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

from coordinator.market.auction import MECHANISMS, AuctionOrder, clear
from coordinator.market.certificate import certificate, verify
from coordinator.market.clearing import clear as clear_problem
from coordinator.market.preferences import Party, pair
from coordinator.market.problem import Problem, ProblemTrade, SingleOrder
from coordinator.market.rules import ClearingRule, Tariff
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import Preferences
from tests.bench.peer_auctions import PEERS, workload
from tests.bench.rig import table

SIZES = (1_000, 10_000, 100_000)
LIMITS_MS = {10_000: 50, 100_000: 600}
BAND = (0, 500_000)
TARIFF = Tariff(supplier_micro_per_kwh=320_000, feed_in_micro_per_kwh=80_000)
PEER_S_MAX = 120
_PEER = Path(__file__).with_name("peer_auctions.py")


def book(count: int) -> list[AuctionOrder[int]]:
    """Return the common workload with its prices in 1e-6 currency per kWh and its energy in tenths of a Wh."""
    orders: list[AuctionOrder[int]] = []
    for number, (bid, value, offer, cost) in enumerate(workload(count)):
        orders.append(AuctionOrder(2 * number, Side.BUY, round(bid * 10_000), round(value * 10_000)))
        orders.append(AuctionOrder(2 * number + 1, Side.SELL, round(offer * 10_000), round(cost * 10_000)))
    return orders


def report(peers: str | None = None) -> None:
    """Print all tables; ``peers`` is the interpreter of the peers' environment, if there is one."""
    table("Closing auction: trades, and with an exact certificate that is verified", _HEAD, [_size(n) for n in SIZES])
    table("Every rule, 10,000 orders", ["rule", "ms", "trades", "of the optimum"], _rules(book(10_000)))
    table(
        "Preferences (30 % green or local, 2 % partners)",
        ["orders", "ms", "trades"],
        [_paired(n) for n in (1_200, 10_000)],
    )
    if peers is not None:
        table("Peers, the same 10,000 orders", ["peer", "CPU ms", "traded kWh", "remark"], _peers(peers, 10_000))


_HEAD = ["orders", "trades", "clear ms", "with certificate ms", "limit ms", "verify ms"]


def _size(count: int) -> list[object]:
    orders = book(count)
    singles = [SingleOrder(o.key.to_bytes(32), 0, o.side, o.energy_wh, o.price) for o in orders]
    problem: Problem[bytes] = Problem((0,), tuple(singles), band=BAND)
    plain_s, result = _best(lambda: clear(orders, ClearingRule(), BAND))
    whole_s, stated = _best(lambda: certificate(problem, clear_problem(problem)))
    check_s, findings = _best(lambda: verify(stated))
    assert findings == [], findings
    return [f"{count:,}", f"{len(result.trades):,}", _ms(plain_s), _ms(whole_s), LIMITS_MS.get(count, ""), _ms(check_s)]


def _rules(orders: Sequence[AuctionOrder[int]]) -> list[list[object]]:
    rows: list[list[object]] = []
    for name in MECHANISMS:
        spent_s, result = _best(lambda name=name: clear(orders, ClearingRule(mechanism=name), BAND, TARIFF))  # type: ignore[misc]
        share = f"{result.welfare_micro / result.optimum_micro:.2%}"
        rows.append([name, _ms(spent_s), f"{len(result.trades):,}", share])
    return rows


def _paired(count: int) -> list[object]:
    """Every third order prefers: green, local, or every fiftieth a certain partner; ten nodes, half of it green."""
    parties = []
    for order in book(count):
        assert order.price is not None
        asked = None
        if order.key % 3 == 0:
            partner = _account(order.key + 1) if order.key % 50 == 0 else Preferences().partner
            asked = Preferences(order.key % 2 == 0, order.key % 9 == 0, partner, order.price)
        limit = order.price + (_premium(order.key) if order.side is Side.BUY else -_premium(order.key))
        node, green = f"n{order.key % 10}", order.key % 4 < 2
        parties.append(Party(order.key, _account(order.key), order.side, order.energy_wh, limit, asked, node, green))
    seen = [AuctionOrder(party.key, party.side, party.energy_wh, party.auction_limit) for party in parties]
    trades = [
        ProblemTrade(0, t.buy, t.sell, t.energy_wh, t.price_micro_per_kwh) for t in clear(seen, ClearingRule()).trades
    ]
    spent_s, paired = _best(lambda: pair(trades, parties))
    return [f"{count:,}", _ms(spent_s), f"{len(paired):,}"]


def _account(key: int) -> str:
    return f"0x{key:040x}"


def _premium(key: int) -> int:
    return key * 7_919 % 20_000


def _peers(python: str, count: int) -> list[list[object]]:
    began = process_time()
    result = clear(book(count), ClearingRule(), BAND)
    ours = (process_time() - began, result.volume_wh / 10_000)
    rows: list[list[object]] = [
        ["energy-trade uniform", _ms(ours[0]), f"{ours[1]:,.1f}", "building the orders included"]
    ]
    for name in PEERS:
        command = [python, str(_PEER), name, str(count)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_S_MAX, check=False)
        except subprocess.TimeoutExpired:
            rows.append([name, "-", "-", f"no answer within {PEER_S_MAX} s"])
            continue
        if done.returncode:
            rows.append([name, "-", "-", (done.stderr.strip().splitlines() or ["no reason given"])[-1][:100]])
            continue
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append([name, _ms(answer["cpu_s"]), f"{answer['traded_kwh']:,.1f}", ""])
    return rows


def _best[R](work: Callable[[], R]) -> tuple[float, R]:
    """Return the least CPU seconds of three runs and what the last one gave."""
    spent, found = [], []
    for _ in range(3):
        began = process_time()
        found.append(work())
        spent.append(process_time() - began)
    return min(spent), found[-1]


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f}"


if __name__ == "__main__":
    report(sys.argv[1] if len(sys.argv) > 1 else None)
