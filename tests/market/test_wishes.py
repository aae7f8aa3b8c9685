"""Orders with preferences in the live market: they wait for auctions, and find whom they prefer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.market.commands import HaltTrading
from coordinator.market.events import CloseReason
from coordinator.market.rejections import Code
from coordinator.market.rules import Fees, Line, MarketRules, Place, Stages
from coordinator.market.views import order_status
from coordinator.protocol.messages import TimeInForce
from coordinator.protocol.order_terms import Preferences
from tests.market.support import ALICE, BOB, CAROL, RULES, START, Market

DAVE = "0x" + "d" * 40
SECOND = START + 900
_SESSIONS = replace(RULES, stages=Stages(session_every_s=900))
_LINES = replace(
    _SESSIONS,
    lines=(Line("east", "west", limit_w=200, fee_micro_per_kwh=10_000),),
    places=(Place(ALICE, "east", "solar"), Place(BOB, "west"), Place(CAROL, "west", "wind"), Place(DAVE, "east")),
)


def _market(rules: MarketRules = _SESSIONS) -> Market:
    return Market(rules).admit(ALICE, BOB, CAROL, DAVE)


_GREEN = Preferences(green=True, other_limit_price_micro_per_kwh=200_000)


def test_an_order_with_preferences_waits_for_the_auction() -> None:
    market = _market(replace(_SESSIONS, places=_LINES.places))
    bid = market.place(BOB, "buy", 10, 250_000, preferences=_GREEN)
    market.place(ALICE, "sell", 10, 150_000)
    market.place(CAROL, "sell", 1, 150_000, delivery_start=SECOND)
    market.place(BOB, "buy", 1, 250_000, preferences=_GREEN, delivery_start=SECOND)
    assert market.trades(SECOND) == []
    status = order_status(market.state, bid)
    assert status is not None
    assert status.status == "waiting"
    assert market.trades() == []
    market.session()
    assert market.trades() == [(1, 2, 175_000, 10)]


def test_preferred_partners_find_each_other_inside_the_volume() -> None:
    market = _market(replace(_SESSIONS, places=_LINES.places))
    market.place(BOB, "buy", 10, 250_000, preferences=_GREEN)
    market.place(DAVE, "buy", 10, None)
    brown = market.place(BOB, "sell", 10, 100_000, delivery_start=SECOND)
    grey = "0x" + "e" * 40
    market.admit(grey)
    market.place(grey, "sell", 10, 100_000)
    solar = market.place(ALICE, "sell", 10, 100_000)
    market.close()
    bought = {t.buy: t.sell for t in market.state.intervals[START].trades}
    green = market.state.intervals[START].orders[0]
    assert bought[green] == solar
    assert market.state.orders[brown].closed is None


def test_with_nobody_but_the_preferred_the_order_trades_with_them_only() -> None:
    only = Preferences(green=True)
    market = _market(replace(_SESSIONS, places=_LINES.places))
    bid = market.place(BOB, "buy", 10, 250_000, preferences=only)
    grey = "0x" + "e" * 40
    market.admit(grey)
    market.place(grey, "sell", 10, 100_000)
    assert market.session().intervals == ()
    solar = market.place(ALICE, "sell", 10, 200_000)
    cleared = market.session()
    assert [interval.volume_wh for interval in cleared.intervals] == [10]
    (trade,) = market.state.intervals[START].trades
    assert (trade.buy, trade.sell, trade.price_micro_per_kwh) == (bid, solar, 225_000)
    assert market.state.orders[bid].closed is CloseReason.FILLED


def test_an_own_order_is_never_its_own_partner() -> None:
    market = _market(replace(_SESSIONS, places=_LINES.places))
    market.place(ALICE, "buy", 10, 250_000, preferences=_GREEN)
    own = market.place(ALICE, "sell", 10, 240_000)
    assert market.state.orders[own].closed is CloseReason.SELF_TRADE
    above = market.place(ALICE, "sell", 10, 250_001)
    other = market.place(ALICE, "buy", 5, 260_000, preferences=_GREEN)
    assert market.state.orders[above].closed is None
    assert market.state.orders[other].closed is CloseReason.SELF_TRADE


@pytest.mark.parametrize(
    ("code", "terms"),
    [
        (Code.PREFERENCES_INVALID, {"preferences": Preferences()}),
        (Code.PREFERENCES_INVALID, {"preferences": Preferences(partner=ALICE)}),
        (Code.PREFERENCES_INVALID, {"preferences": replace(_GREEN, other_limit_price_micro_per_kwh=250_001)}),
        (Code.PREFERENCES_INVALID, {"preferences": _GREEN, "limit_price_micro_per_kwh": None}),
        (Code.PRICE_OUT_OF_BAND, {"preferences": replace(_GREEN, other_limit_price_micro_per_kwh=-1)}),
        (Code.TERMS_CONTRADICT, {"preferences": _GREEN, "time_in_force": TimeInForce.FILL_OR_KILL}),
    ],
)
def test_preferences_that_mean_nothing_are_refused(code: Code, terms: dict[str, object]) -> None:
    market = _market()
    assert market.refused(market.order(ALICE, "buy", 10, 250_000, **terms)) == code


def test_halted_gates_trade_nothing_also_for_preferred_partners() -> None:
    market = _market(replace(_SESSIONS, places=_LINES.places))
    bid = market.place(BOB, "buy", 10, 250_000, preferences=_GREEN)
    market.place(ALICE, "sell", 10, 100_000)
    market.do(HaltTrading("test"))
    assert market.close().volume_wh == 0
    assert market.state.orders[bid].closed is CloseReason.HALTED


def test_a_premium_is_what_the_next_would_have_paid_after_fees() -> None:
    """Two buyers want the one solar offer: the second would pay 40_000 more for it than for any other."""
    rules = replace(_SESSIONS, places=_LINES.places, fees=Fees(10_000))
    market = _market(rules)
    first = market.place(BOB, "buy", 10, 250_000, preferences=_GREEN)
    market.place(CAROL, "buy", 10, 240_000, preferences=_GREEN)
    market.place(DAVE, "sell", 10, 100_000)
    solar = market.place(ALICE, "sell", 10, 100_000)
    market.close()
    (trade,) = [t for t in market.state.intervals[START].trades if t.sell == solar]
    assert (trade.buy, trade.price_micro_per_kwh, trade.community_fee_micro_per_kwh) == (first, 185_000, 10_000)


def test_with_lines_nobody_is_preferred_across_nodes_beyond_what_the_auction_sends() -> None:
    market = _market(_LINES)
    bid = market.place(BOB, "buy", 10, 250_000, preferences=Preferences(green=True))
    market.place(ALICE, "sell", 10, 150_000)
    assert market.session().intervals == ()
    near = market.place(CAROL, "sell", 10, 150_000)
    market.session()
    assert [(t.buy, t.sell, t.grid_fee_micro_per_kwh) for t in market.state.intervals[START].trades] == [(bid, near, 0)]


def test_a_seller_s_other_limit_is_no_better_for_others() -> None:
    market = _market()
    wishes = Preferences(green=True, other_limit_price_micro_per_kwh=149_999)
    assert market.refused(market.order(ALICE, "sell", 10, 150_000, preferences=wishes)) == Code.PREFERENCES_INVALID
    market.place(ALICE, "sell", 10, 150_000, preferences=replace(wishes, other_limit_price_micro_per_kwh=150_000))
