"""What each auction rule makes of the same books: 100 random ones, and a week of the demo's street.

``.venv/bin/python -m tests.bench.bench_welfare``. The optimum is the uniform auction's welfare, which a linear
programme could not raise. Money is in the currency's units; the week's days are the profiles' twenty household days
in turn under one sunny sky, for there is one measured day of sun. Community prices are made for members without limits
of their own: the last table is the week once more with homes that accept whatever beats the tariff.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.market.auction import MECHANISMS, AuctionOrder, clear
from coordinator.market.rules import ClearingRule, Mechanism, Tariff
from coordinator.protocol.messages import Side
from coordinator.protocol.units import MICRO, WH_PER_KWH
from coordinator.simulation.profiles import QUARTERS_PER_DAY, household_profiles
from coordinator.simulation.virtual_home import equipment
from tests.bench.rig import table

TARIFF = Tariff(supplier_micro_per_kwh=320_000, feed_in_micro_per_kwh=80_000)
BAND = (0, 500_000)
BOOKS, ORDERS = 100, 200
HOMES, DAYS = 100, 7
_SELLER_EVERY = (5, 4, 3, 2)  # orders of a random book: from 20 to 50 % sell

type Book = Sequence[AuctionOrder[int]]


@dataclass
class Account:
    """What a rule came to over many books, in 1e-6 currency, and in Wh."""

    welfare: int = 0
    optimum: int = 0
    worst_ppm: int = MICRO
    volume_wh: int = 0
    buyers: int = 0
    sellers: int = 0
    community: int = 0

    def add(self, book: Book, mechanism: Mechanism) -> None:
        """Clear one book and add what came of it."""
        result = clear(book, ClearingRule(mechanism=mechanism), BAND, TARIFF)
        self.welfare += result.welfare_micro
        self.optimum += result.optimum_micro
        self.volume_wh += result.volume_wh
        if result.optimum_micro:
            self.worst_ppm = min(self.worst_ppm, result.welfare_micro * MICRO // result.optimum_micro)
        limits = {order.key: order.price or 0 for order in book}
        for trade in result.trades:
            price, fee = trade.price_micro_per_kwh, trade.fee_micro_per_kwh
            self.buyers += trade.energy_wh * (limits[trade.buy] - price - fee) // WH_PER_KWH
            self.sellers += trade.energy_wh * (price - limits[trade.sell]) // WH_PER_KWH
            self.community += trade.energy_wh * fee // WH_PER_KWH


def random_books() -> Iterable[Book]:
    """Yield seeded books of homes that buy below the supplier's price and sell above the feed-in price."""
    draw = random.Random(4)
    for number in range(BOOKS):
        every = _SELLER_EVERY[number % len(_SELLER_EVERY)]
        sides = [Side.SELL if key % every == 0 else Side.BUY for key in range(ORDERS)]
        yield [
            AuctionOrder(
                key,
                side,
                draw.randint(50, 2_000),
                draw.randint(TARIFF.feed_in_micro_per_kwh, TARIFF.supplier_micro_per_kwh),
            )
            for key, side in enumerate(sides)
        ]


def street_week(*, own_limits: bool = True) -> Iterable[Book]:
    """Yield the book of each quarter-hour of seven days: every home offers its surplus or asks for what it lacks.

    Without limits of their own, homes accept what is better than the tariff.
    """
    tariff = (TARIFF.supplier_micro_per_kwh, TARIFF.feed_in_micro_per_kwh)
    homes = [equipment(n, supplier_micro_per_kwh=tariff[0], feed_in_micro_per_kwh=tariff[1]) for n in range(HOMES)]
    loads = household_profiles()
    for quarter in range(DAYS * QUARTERS_PER_DAY):
        day = quarter // QUARTERS_PER_DAY
        book = []
        for number, home in enumerate(homes):
            load = loads[(loads.index(home.load) + day) % len(loads)]
            used_w = load.power_w(quarter, home.load_w) + home.vehicle.power_w(quarter, home.vehicle_w)
            net_wh = (home.solar.power_w(quarter, home.solar_w) - used_w) // 4
            if net_wh > 0:
                limit = home.sell_price_micro_per_kwh if own_limits else TARIFF.feed_in_micro_per_kwh
                book.append(AuctionOrder(number, Side.SELL, net_wh, limit))
            elif net_wh < 0:
                limit = home.buy_price_micro_per_kwh if own_limits else TARIFF.supplier_micro_per_kwh
                book.append(AuctionOrder(number, Side.BUY, -net_wh, limit))
        yield book


def main() -> None:
    """Print a table for the random books and two for the week."""
    week = f"The demo's street for a week: {HOMES} homes, {DAYS * QUARTERS_PER_DAY} intervals"
    _compare(f"{BOOKS} random books of {ORDERS} orders", list(random_books()))
    _compare(f"{week}, each with its own limit", list(street_week()))
    _compare(f"{week}, all accepting what beats the tariff", list(street_week(own_limits=False)))


def _compare(title: str, books: Sequence[Book]) -> None:
    rows = []
    for mechanism in MECHANISMS:
        account = Account()
        for book in books:
            account.add(book, mechanism)
        rows.append(_row(mechanism, account))
    head = ["rule", "welfare", "of the optimum", "worst book", "traded kWh", "buyers gain", "sellers gain", "community"]
    table(title, head, rows)


def _row(name: str, account: Account) -> list[str]:
    share = account.welfare / account.optimum if account.optimum else 1.0
    money = (account.buyers, account.sellers, account.community)
    return [
        name,
        f"{account.welfare / MICRO:,.2f}",
        f"{share:.2%}",
        f"{account.worst_ppm / MICRO:.2%}",
        f"{account.volume_wh / WH_PER_KWH:,.1f}",
        *(f"{part / MICRO:,.2f}" for part in money),
    ]


if __name__ == "__main__":
    main()
