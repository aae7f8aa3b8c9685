"""The market that the coordinator trades with against the slow engine; ``script/bench --soak`` runs many more."""

from __future__ import annotations

from collections import Counter

import pytest

from coordinator.market.commands import CancelOrder, ExpireOrders
from coordinator.protocol.order_terms import Comparison, Condition, Signal
from tests.market.live_duel import LiveDuel
from tests.market.support import ALICE, BOB, CAROL, NOON, Market

_SLICE = 1_000
_SLICES = 24
_AT_A_TIME = 4
_LOW_BID = Condition(Signal.BEST_BID, Comparison.AT_MOST, 190_000)


@pytest.mark.parametrize("first", range(0, _SLICES, _AT_A_TIME))
def test_slices_of_a_thousand(first: int) -> None:
    for seed in range(first, first + _AT_A_TIME):
        LiveDuel(seed).run(_SLICE)


def test_the_slices_meet_everything() -> None:
    seen: Counter[str] = Counter()
    kept = 0
    for seed in range(100, 106):
        duel = LiveDuel(seed)
        duel.run(_SLICE)
        seen.update(duel.seen)
        kept += duel.slow.kept
    assert kept >= 3
    assert set(seen) == {
        "trade",
        "fired",
        "closed cancelled",
        "closed expired",
        "closed immediate_remainder",
        "closed replaced",
        "closed self_trade",
        "refused duplicate_order",
        "refused energy_out_of_range",
        "refused expired",
        "refused not_your_order",
        "refused nothing_due",
        "refused order_not_open",
        "refused price_out_of_band",
        "refused replace_mismatch",
        "refused signal_invalid",
        "refused unknown_order",
    }


def test_an_expired_order_s_price_lets_nobody_fire() -> None:
    """Found by seed 125: the cancelled best bid uncovered one that had expired, at whose price an order fired."""
    market = Market().admit(ALICE, BOB, CAROL)
    market.place(ALICE, "buy", 10, 180_000, valid_until=NOON + 60)
    best = market.place(ALICE, "buy", 10, 200_000)
    dormant = market.place(BOB, "sell", 10, 250_000, condition=_LOW_BID)
    market.at = NOON + 60
    assert market.fire(market.do(CancelOrder(ALICE, best, market.at))) == []
    assert market.fire(market.do(ExpireOrders())) == []
    assert market.state.orders[dormant].is_dormant
    market.fire(market.do(market.order(CAROL, "buy", 10, 190_000)))
    assert market.state.orders[dormant].fired == 190_000


def test_a_condition_is_judged_by_the_bids_behind_an_expired_one() -> None:
    market = Market().admit(ALICE, BOB, CAROL)
    market.place(ALICE, "buy", 10, 185_000, valid_until=NOON + 60)
    market.place(CAROL, "buy", 10, 170_000)
    best = market.place(ALICE, "buy", 10, 200_000)
    dormant = market.place(BOB, "sell", 10, 250_000, condition=_LOW_BID)
    market.at = NOON + 60
    assert market.fire(market.do(CancelOrder(ALICE, best, market.at))) == [dormant]
    assert market.state.orders[dormant].fired == 170_000


def test_an_order_whose_firing_was_refused_fires_later_in_the_same_cascade() -> None:
    """The first order that fires lets the expired bid leave and bids itself at a price that fires the second."""
    market = Market().admit(ALICE, BOB, CAROL)
    market.place(ALICE, "buy", 10, 180_000, valid_until=NOON + 60)
    best = market.place(ALICE, "buy", 10, 200_000)
    older = market.place(BOB, "sell", 10, 250_000, condition=_LOW_BID)
    rising = Condition(Signal.BEST_ASK, Comparison.AT_LEAST, 300_000)
    younger = market.place(CAROL, "buy", 10, 150_000, condition=rising)
    market.place(CAROL, "sell", 10, 300_000)
    market.at = NOON + 60
    fired = market.fire(market.do(CancelOrder(ALICE, best, market.at)))
    assert fired == [younger, older]
    assert market.state.orders[older].fired == 150_000
