"""One interval under another rule: what counts as in force, networks, preferences, fees and compensation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.market.events import CloseReason
from coordinator.market.rules import ClearingRule, Fees, Line, MarketRules, Place
from coordinator.protocol.messages import ZERO_HASH, Order, Side
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from coordinator.reports.history import IntervalStory, OrderStory
from coordinator.reports.rerun import RULES, offered_wh, rule_for, settled_under, trades_under
from coordinator.settlement.deliver import AccountEnergy, TradeToSettle
from tests.market.support import RULES as PLAIN
from tests.market.support import START

ANN, BEN, CID, DAN = ("0x" + letter * 40 for letter in "abcd")
CONDITION = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)
GREEN = Preferences(green=True, other_limit_price_micro_per_kwh=250_000)


class Book:
    """An interval whose orders stood at the gate unless a test says otherwise."""

    def __init__(self, rules: MarketRules = PLAIN) -> None:
        self.interval = IntervalStory(START, rules)

    def add(self, account: str, side: Side, energy_wh: int, limit: int | None, **terms: object) -> OrderStory:
        number = len(self.interval.orders) + 1
        order = replace(Order(account, PLAIN.market, START, side, energy_wh, limit), **terms)  # type: ignore[arg-type]
        story = OrderStory(order, number.to_bytes(32, "big"), number, 0, closed=CloseReason.GATE_CLOSED)
        self.interval.orders.append(story)
        return story

    def sell(self, account: str, energy_wh: int, limit: int | None, **terms: object) -> OrderStory:
        return self.add(account, Side.SELL, energy_wh, limit, **terms)

    def buy(self, account: str, energy_wh: int, limit: int | None, **terms: object) -> OrderStory:
        return self.add(account, Side.BUY, energy_wh, limit, **terms)

    def trades(self, rule: ClearingRule | None = None) -> list[TradeToSettle]:
        return trades_under(rule or RULES["uniform"], self.interval)

    def brief(self, rule: ClearingRule | None = None) -> list[tuple[str, str, int, int]]:
        return [(t.buyer, t.seller, t.energy_wh, t.price_micro_per_kwh) for t in self.trades(rule)]


@pytest.mark.parametrize(
    ("closed", "filled_wh", "offered"),
    [
        (CloseReason.GATE_CLOSED, 30, 100),
        (CloseReason.FILLED, 100, 100),
        (CloseReason.CANCELLED, 30, 30),
        (CloseReason.EXPIRED, 0, 0),
        (CloseReason.IMMEDIATE, 30, 30),
        (CloseReason.REPLACED, 10, 10),
        (CloseReason.HALTED, 30, 30),
        (None, 30, 30),
    ],
)
def test_what_was_in_force_at_the_gate(closed: CloseReason | None, filled_wh: int, offered: int) -> None:
    story = Book().sell(ANN, 100, 100_000)
    story.closed, story.filled_wh = closed, filled_wh
    assert offered_wh(story) == offered


def test_a_dormant_order_and_a_bundles_leg_count_with_what_they_traded() -> None:
    book = Book()
    dormant = book.buy(ANN, 100, 300_000, condition=CONDITION)
    fired = book.buy(ANN, 100, 300_000, condition=CONDITION)
    leg = book.buy(ANN, 100, 300_000, bundle=b"\x01" + ZERO_HASH[1:])
    fired.triggered, leg.filled_wh = True, 40
    assert [offered_wh(story) for story in (dormant, fired, leg)] == [0, 100, 40]


def test_a_bid_counts_net_of_the_fee_and_pays_it_on_top() -> None:
    book = Book(replace(PLAIN, fees=Fees(community_micro_per_kwh=20_000)))
    book.sell(ANN, 100, 100_000)
    book.buy(BEN, 100, 120_000)
    (trade,) = book.trades()
    assert (trade.price_micro_per_kwh, trade.community_fee_micro_per_kwh) == (100_000, 20_000)
    assert trade.paid_micro_per_kwh == 120_000


def test_a_fee_that_the_rule_keeps_goes_to_the_community_and_nobody_pays_beyond_the_limit() -> None:
    book = Book(replace(PLAIN, fees=Fees(community_share_ppm=100_000)))
    for account, bid in ((ANN, 330_000), (BEN, 275_000)):
        book.buy(account, 100, bid)
    for account, ask in ((CID, 100_000), (DAN, 200_000)):
        book.sell(account, 100, ask)
    (trade,) = book.trades(RULES["mcafee"])
    assert (trade.buyer, trade.seller, trade.price_micro_per_kwh) == (ANN, CID, 200_000)
    assert trade.community_fee_micro_per_kwh == 50_000 + 25_000
    assert trade.paid_micro_per_kwh == 275_000


def test_an_account_that_meets_itself_does_not_trade() -> None:
    book = Book()
    book.sell(ANN, 100, 100_000)
    book.buy(ANN, 60, 300_000)
    book.buy(BEN, 40, 300_000)
    assert book.brief() == [(BEN, ANN, 40, 200_000)]


def test_with_lines_each_node_is_alone() -> None:
    places = (Place(ANN, "north"), Place(BEN, "south"), Place(CID, "north"), Place(DAN, "south"))
    book = Book(replace(PLAIN, lines=(Line("north", "south"),), places=places))
    book.sell(ANN, 100, 100_000)
    book.buy(BEN, 100, 300_000)
    assert book.brief() == []
    book.buy(CID, 50, 200_000)
    book.sell(DAN, 30, 200_000)
    assert book.brief() == [(CID, ANN, 50, 100_000), (BEN, DAN, 30, 300_000)]


def test_preferences_pair_inside_what_trades_and_pay_the_premium_needed() -> None:
    book = Book(replace(PLAIN, places=(Place(DAN, source="solar"),)))
    book.buy(ANN, 100, 300_000, preferences=GREEN)
    book.buy(BEN, 100, 280_000, preferences=GREEN)
    book.sell(CID, 100, 100_000)
    book.sell(DAN, 100, 100_000)
    assert sorted(book.brief()) == [(ANN, DAN, 100, 205_000), (BEN, CID, 100, 175_000)]


@pytest.mark.parametrize(("compensation", "seller_gets", "buyer_pays"), [(False, 8_000, 8_000), (True, 800, 800)])
def test_what_is_short_is_compensated_where_the_market_does(
    compensation: bool, seller_gets: int, buyer_pays: int
) -> None:
    """100 Wh at 0.20, 40 delivered: 8,000, less 60 Wh times (0.32 - 0.20) = 7,200 owed by the seller."""
    book = Book(replace(PLAIN, compensation=compensation))
    book.sell(ANN, 100, 200_000)
    book.buy(BEN, 100, 200_000)
    energies = [AccountEnergy(ANN, 0, 40, False), AccountEnergy(BEN, 100, 0, False)]
    (fill,) = settled_under(book.trades(), energies, book.interval)
    assert (fill.share.settled_wh, fill.share.received_micro, fill.share.paid_micro) == (40, seller_gets, buyer_pays)


def test_trades_of_an_excluded_account_settle_nothing() -> None:
    book = Book()
    book.sell(ANN, 100, 200_000)
    book.buy(BEN, 100, 200_000)
    energies = [AccountEnergy(ANN, 0, 100, False), AccountEnergy(BEN, 100, 0, False)]
    (fill,) = settled_under(book.trades(), energies, book.interval, excluded=(BEN,))
    assert fill.share.settled_wh == fill.share.paid_micro == 0


def test_the_reference_is_the_middle_of_the_tariffs() -> None:
    assert rule_for("uniform-reference", PLAIN).reference_price == 200_000
    assert rule_for("pay_as_bid", PLAIN) is RULES["pay_as_bid"]


def test_welfare_counts_a_market_order_at_the_trades_price() -> None:
    book = Book()
    book.sell(ANN, 100, 100_000)
    book.buy(BEN, 100, None)
    energies = [AccountEnergy(ANN, 0, 100, False), AccountEnergy(BEN, 100, 0, False)]
    (fill,) = settled_under(book.trades(), energies, book.interval)
    assert fill.welfare_nano == 100 * (fill.share.trade.price_micro_per_kwh - 100_000)
