"""What the book shows: what rests, and what waits for the next auction at the limit that it has for everyone."""

from __future__ import annotations

from dataclasses import replace

from coordinator.market.commands import CancelOrder
from coordinator.market.rules import Fees
from coordinator.market.views import DepthLevel, depth
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL, RULES, START, Market


def wishes(limit: int | None) -> Preferences:
    return Preferences(local=True, other_limit_price_micro_per_kwh=limit)


def test_an_order_that_waits_for_an_auction_stands_at_its_limit_for_everyone() -> None:
    market = Market().admit(ALICE, BOB, CAROL)
    market.place(ALICE, "sell", 100, 150_000)
    market.place(BOB, "sell", 40, 140_000, preferences=wishes(150_000))
    market.place(CAROL, "buy", 30, 200_000, preferences=wishes(160_000))
    found = depth(market.state, START)
    assert found.asks == (DepthLevel(150_000, 140, 2),)
    assert found.bids == (DepthLevel(160_000, 30, 1),)


def test_an_order_for_preferred_partners_only_is_not_for_everyone_to_see() -> None:
    market = Market().admit(ALICE)
    market.place(ALICE, "sell", 100, 150_000, preferences=wishes(None))
    assert depth(market.state, START).asks == ()


def test_a_condition_hides_an_order_until_it_fires() -> None:
    market = Market().admit(ALICE)
    condition = Condition(Signal.FREQUENCY, Comparison.AT_MOST, 49_900)
    market.place(ALICE, "sell", 100, 150_000, preferences=wishes(150_000), condition=condition)
    assert depth(market.state, START).asks == ()


def test_waiting_bids_stand_without_the_communitys_fee() -> None:
    market = Market(replace(RULES, fees=Fees(5_000))).admit(ALICE)
    market.place(ALICE, "buy", 10, 200_000, preferences=wishes(200_000))
    assert depth(market.state, START).bids == (DepthLevel(195_000, 10, 1),)


def test_the_best_levels_come_first_whatever_rests_or_waits() -> None:
    market = Market().admit(ALICE, BOB)
    for price in (150_000, 130_000):
        market.place(ALICE, "sell", 10, price)
    market.place(BOB, "sell", 10, 140_000, preferences=wishes(140_000))
    found = depth(market.state, START, levels=2)
    assert [level.price_micro_per_kwh for level in found.asks] == [130_000, 140_000]


def test_what_was_cancelled_stands_no_more() -> None:
    market = Market().admit(ALICE)
    digest = market.place(ALICE, "sell", 10, 140_000, preferences=wishes(140_000))
    market.do(CancelOrder(ALICE, digest, market.at))
    assert depth(market.state, START).asks == ()
