"""Session auctions and closing auctions of the live market: stages, lines, fees, rules, preferences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.market.certificate import certificate, verify
from coordinator.market.commands import (
    CancelOrder,
    ClearSession,
    CloseGate,
    ConfirmSettlement,
    ExpireOrders,
    HaltTrading,
    MeteredEnergy,
    ResumeTrading,
)
from coordinator.market.decide import due
from coordinator.market.events import (
    CloseReason,
    IntervalResettled,
    IntervalSettled,
    OrderClosed,
    SessionCleared,
    Stage,
    Traded,
)
from coordinator.market.rejections import Code
from coordinator.market.rules import ClearingRule, Fees, Line, MarketRules, Mechanism, Place, Stages
from coordinator.market.sessions import certified, gate_problem, needs_solver, session_problem
from coordinator.market.state import CHANGEABLE_INTERVALS_KEPT, state_hash
from coordinator.market.views import depth
from coordinator.protocol.messages import ZERO_HASH, TimeInForce
from coordinator.protocol.order_terms import Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

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


def _events(market: Market) -> tuple[object, ...]:
    return market.log[-1][1]


def test_a_session_clears_what_waits_at_the_market_and_leaves_the_rest() -> None:
    market = _market()
    bid = market.place(ALICE, "buy", 100, None)
    offer = market.place(BOB, "sell", 60, 200_000)
    later = market.place(BOB, "sell", 60, 200_000, delivery_start=SECOND)
    cleared = market.session()
    (interval,) = cleared.intervals
    assert (cleared.rule, cleared.outcome) == ("uniform-midpoint-pro_rata/1", "optimal")
    assert (interval.delivery_start, interval.volume_wh, interval.nodes[0].price_micro_per_kwh) == (START, 60, 200_000)
    assert _events(market)[1:] == (
        Traded(1, START, bid, offer, 60, 200_000, Stage.SESSION),
        OrderClosed(offer, 0, CloseReason.FILLED),
    )
    assert market.state.orders[bid].remaining_wh == 40
    assert depth(market.state, START).market_buy_wh == 40
    assert market.state.orders[later].closed is None
    assert market.state.intervals[START].session == interval
    assert market.state.session_at == market.at
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_due_asks_for_the_latest_session_once_and_only_for_intervals_that_were_open() -> None:
    market = _market()
    market.at = NOON + 100
    assert due(market.state, market.at) == ()
    market.place(ALICE, "buy", 10, 200_000)
    assert due(market.state, market.at) == ()
    market.at = NOON + 1000
    assert due(market.state, market.at) == (ClearSession(NOON + 900),)
    market.do(ClearSession(NOON + 900))
    assert due(market.state, market.at) == ()
    market.at = NOON + 2750
    assert due(market.state, market.at) == (ClearSession(NOON + 2700),)
    market.do(HaltTrading("test"))
    assert due(market.state, market.at) == ()
    assert market.refused(ClearSession(NOON + 2700)) == Code.TRADING_HALTED
    market.do(ResumeTrading("test"))
    market.at = RULES.gate_at(START)
    assert due(market.state, market.at) == (CloseGate(START),)


def test_gates_close_before_the_session_of_the_same_second() -> None:
    market = _market(replace(_SESSIONS, gate_s=0))
    market.place(ALICE, "buy", 10, 200_000)
    market.place(ALICE, "buy", 10, 200_000, delivery_start=SECOND)
    market.place(ALICE, "buy", 10, 200_000, valid_until=START, delivery_start=SECOND)
    assert due(market.state, START) == (ExpireOrders(), CloseGate(START), ClearSession(START))


@pytest.mark.parametrize("session_at", [NOON, NOON + 899, NOON + 901, NOON + 1800])
def test_only_the_latest_session_can_be_held(session_at: int) -> None:
    market = _market()
    market.at = NOON + 1000
    assert market.refused(ClearSession(session_at)) == Code.SESSION_NOT_DUE
    market.do(ClearSession(NOON + 900))
    assert market.refused(ClearSession(NOON + 900)) == Code.SESSION_NOT_DUE


def test_a_market_without_sessions_holds_none() -> None:
    market = _market(RULES)
    assert market.refused(ClearSession(NOON)) == Code.STAGE_OFF
    market.place(ALICE, "buy", 10, 200_000)
    assert due(market.state, NOON + 3000) == ()


def test_a_clock_that_goes_back_holds_no_session_twice() -> None:
    market = _market()
    market.place(ALICE, "buy", 10, 200_000)
    market.at = NOON + 1800
    market.do(ClearSession(market.at))
    market.at = NOON + 1000
    assert due(market.state, market.at) == ()
    assert market.refused(ClearSession(NOON + 900)) == Code.SESSION_NOT_DUE


def test_orders_that_expire_with_the_session_take_no_part() -> None:
    market = _market()
    bid = market.place(ALICE, "buy", 10, None, valid_until=NOON + 900)
    market.place(BOB, "sell", 10, 200_000)
    cleared = market.session()
    assert cleared.intervals == ()
    assert _events(market)[0] == OrderClosed(bid, 10, CloseReason.EXPIRED)


def test_auctions_only_nothing_trades_before_and_own_orders_do_not_cross() -> None:
    market = _market(replace(RULES, stages=Stages(continuous=False, session_every_s=900)))
    market.place(ALICE, "buy", 10, 250_000)
    market.place(BOB, "sell", 10, 200_000)
    own = market.place(ALICE, "sell", 10, 240_000)
    assert market.trades() == []
    assert market.state.orders[own].closed is CloseReason.SELF_TRADE
    fast = market.order(ALICE, "buy", 10, 250_000, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert market.refused(fast) == Code.TERMS_CONTRADICT
    market.session()
    assert market.trades() == [(1, 2, 225_000, 10)]


def test_without_a_closing_auction_the_gate_only_closes() -> None:
    market = _market(replace(RULES, stages=Stages(closing=False)))
    bid = market.place(ALICE, "buy", 10, None)
    market.place(BOB, "sell", 10, 200_000)
    wishes = Preferences(green=True)
    assert market.refused(market.order(BOB, "sell", 5, 1, preferences=wishes)) == Code.STAGE_OFF
    closed = market.close()
    assert (closed.price_micro_per_kwh, closed.volume_wh) == (None, 0)
    assert market.state.orders[bid].closed is CloseReason.GATE_CLOSED


_FEES = Fees(community_micro_per_kwh=2_000, community_share_ppm=50_000)


def test_fees_decide_who_trades_and_are_charged_once() -> None:
    market = _market(replace(_SESSIONS, fees=_FEES))
    market.place(BOB, "sell", 10, 200_000)
    low = market.place(ALICE, "buy", 10, 211_999)
    assert market.trades() == []
    market.do(CancelOrder(ALICE, low, 0))
    market.place(ALICE, "buy", 10, 212_000)
    (trade,) = market.state.intervals[START].trades
    assert (trade.price_micro_per_kwh, trade.community_fee_micro_per_kwh) == (200_000, 12_000)
    assert market.state.accounts[ALICE].reserved_micro == 2_120


def test_depth_and_auctions_see_bids_without_the_fee() -> None:
    market = _market(replace(_SESSIONS, fees=_FEES))
    market.place(ALICE, "buy", 10, 212_000)
    assert depth(market.state, START).bids[0].price_micro_per_kwh == 200_000
    market.place(BOB, "sell", 10, None)
    market.place(CAROL, "sell", 10, 200_001)
    closed = market.close()
    assert closed.volume_wh == 0
    assert market.trades() == [(1, 2, 200_000, 10)]


def test_no_market_buy_pays_more_than_the_band_with_its_fee() -> None:
    market = _market(replace(_SESSIONS, fees=_FEES))
    dearest = _FEES.net_of(RULES.price_max_micro_per_kwh)
    assert market.refused(market.order(BOB, "sell", 10, dearest + 1)) == Code.PRICE_OUT_OF_BAND
    assert market.refused(market.order(BOB, "buy", 10, 1_999)) == Code.PRICE_OUT_OF_BAND
    market.place(BOB, "buy", 10, 2_000)
    market.place(BOB, "sell", 10, dearest)
    market.place(ALICE, "buy", 10, None)
    (trade,) = market.state.intervals[START].trades
    assert trade.price_micro_per_kwh + trade.community_fee_micro_per_kwh <= RULES.price_max_micro_per_kwh
    wishes = Preferences(green=True, other_limit_price_micro_per_kwh=dearest + 1)
    assert market.refused(market.order(BOB, "sell", 10, 1, preferences=wishes)) == Code.PRICE_OUT_OF_BAND


def test_with_lines_trading_is_within_a_node_and_auctions_cross() -> None:
    market = _market(_LINES)
    offer = market.place(ALICE, "sell", 100, 150_000)
    bid = market.place(BOB, "buy", 80, 250_000)
    assert market.trades() == []
    assert depth(market.state, START, node="east").asks[0].energy_wh == 100
    assert depth(market.state, START, node="west").bids[0].energy_wh == 80
    cleared = market.session()
    (interval,) = cleared.intervals
    prices = {node.node: node.price_micro_per_kwh for node in interval.nodes}
    assert interval.flows_wh == (50,)
    assert prices["west"] - prices["east"] >= 10_000
    (trade,) = market.state.intervals[START].trades
    assert (trade.buy, trade.sell, trade.energy_wh) == (bid, offer, 50)
    assert trade.price_micro_per_kwh == prices["east"]
    assert trade.grid_fee_micro_per_kwh == prices["west"] - prices["east"]
    known = market.state.orders[bid]
    assert known.bound_micro == 50 * (trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh) // 1000
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_what_a_session_has_sent_is_no_longer_free_and_can_be_sent_back() -> None:
    market = _market(_LINES)
    market.place(ALICE, "sell", 30, 150_000)
    market.place(BOB, "buy", 30, 250_000)
    market.session()
    (line,) = session_problem(market.state, market.at).lines
    assert (line.forward_wh, line.backward_wh) == ((20,), (80,))
    market.place(DAVE, "sell", 100, 100_000)
    market.place(BOB, "buy", 100, 250_000)
    closed = market.close()
    assert closed.flows_wh == (20,)
    assert market.state.intervals[START].sent_wh == (50,)
    assert closed.price_micro_per_kwh is None
    assert {node.node for node in closed.nodes} == {"east", "west"}


def test_without_lines_nodes_do_not_part_the_book() -> None:
    market = _market(replace(_LINES, lines=()))
    market.place(ALICE, "sell", 10, 150_000)
    market.place(BOB, "buy", 10, 250_000)
    assert len(market.trades()) == 1


def test_lines_need_the_uniform_rule() -> None:
    with pytest.raises(ValueError, match="lines: they need the rule uniform; mcafee knows one price for all nodes"):
        replace(_LINES, rule=ClearingRule("mcafee"))


def test_a_failed_solver_leaves_each_node_alone_and_the_result_says_so() -> None:
    market = _market(_LINES)
    market.place(ALICE, "sell", 100, 150_000)
    market.place(BOB, "buy", 80, 250_000)
    market.place(CAROL, "sell", 30, None)
    market.at = RULES.gate_at(START)
    command = CloseGate(START, None, "out of time after 5 s")
    assert needs_solver(market.state, CloseGate(START), market.at) == gate_problem(market.state, START)
    *_, closed = market.do(command)
    assert getattr(closed, "outcome", "") == "fallback: out of time after 5 s"
    assert market.trades() == [(2, 3, 250_000, 30)]


def test_no_solver_is_asked_where_nothing_is_coupled_or_nothing_waits() -> None:
    plain, lines = _market(), _market(_LINES)
    plain.place(ALICE, "buy", 10, None)
    lines.do(CancelOrder(ALICE, lines.place(ALICE, "buy", 10, 200_000), 0))
    for market in (plain, lines):
        market.at += 900
        assert needs_solver(market.state, ClearSession(market.at), market.at) is None
        market.at = RULES.gate_at(START)
        assert needs_solver(market.state, CloseGate(START), market.at) is None
    assert lines.close().outcome == "optimal"


@pytest.mark.parametrize("mechanism", ["pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"])
def test_the_closing_auction_follows_the_markets_rule_and_sessions_are_uniform(mechanism: Mechanism) -> None:
    market = _market(replace(_SESSIONS, rule=ClearingRule(mechanism)))
    for account, price in ((ALICE, None), (CAROL, 300_000)):
        market.place(account, "buy", 10, price)
    market.place(BOB, "sell", 4, 100_000)
    market.place(DAVE, "sell", 8, 120_000)
    assert session_problem(market.state, market.at).rule.mechanism == "uniform"
    closed = market.close()
    assert closed.rule.startswith(mechanism)
    assert market.state.rules.rule.name == closed.rule
    assert certified(market.state, CloseGate(START), market.at) == []


def test_every_uniform_auction_has_a_certificate_that_holds() -> None:
    market = _market(_LINES)
    market.place(ALICE, "sell", 100, 150_000)
    market.place(BOB, "buy", 80, 250_000)
    market.do(market.bundle(CAROL, "buy", 260_000, {START: 10, SECOND: 10}))
    market.place(ALICE, "sell", 30, 150_000, delivery_start=SECOND)
    market.at += 900
    session = market.solved(ClearSession(market.at))
    ((problem, result),) = certified(market.state, session, market.at)
    assert verify(certificate(problem, result)) == []
    market.do(session)
    market.at = RULES.gate_at(START)
    gate = market.solved(CloseGate(START))
    ((problem, result),) = certified(market.state, gate, market.at)
    assert verify(certificate(problem, result)) == []


def test_events_and_certificates_name_the_rule_as_it_was_used() -> None:
    """Where bundles or lines couple the price is the middle; market, uncoupled auctions and fallbacks keep the rule."""
    rule = ClearingRule(price="reference", reference_price=200_000)
    used, own = "uniform-midpoint-pro_rata/1", "uniform-reference-pro_rata/1"
    for rules, coupled in ((_SESSIONS, own), (_LINES, used)):
        market = _market(replace(rules, rule=rule))
        market.place(ALICE, "sell", 100, 150_000)
        market.place(BOB, "buy", 80, 250_000)
        market.at += 900
        session = market.solved(ClearSession(market.at))
        ((problem, result),) = certified(market.state, session, market.at)
        assert certificate(problem, result)["rule"] == coupled
        ((problem, result),) = certified(market.state, ClearSession(market.at, None, "late"), market.at)
        assert certificate(problem, result)["rule"] == own
        (cleared, *_) = market.do(session)
        assert isinstance(cleared, SessionCleared)
        assert cleared.rule == coupled
        assert market.close().rule == coupled
        assert market.state.rules.rule.name == own


def test_with_compensation_sells_are_covered_until_their_settlement_is_final() -> None:
    market = Market(replace(RULES, compensation=True)).admit(ALICE, BOB, money_micro=2_200)
    offer = market.order(ALICE, "sell", 10, 100_000)
    assert market.refused(replace(offer, order=replace(offer.order, energy_wh=11))) == Code.INSUFFICIENT_FUNDS
    market.do(offer)
    account = market.state.accounts[ALICE]
    assert account.reserved_micro == 10 * 220
    market.place(BOB, "buy", 10, 100_000)
    assert account.reserved_micro == 10 * 220
    market.close()
    market.book(market.settlement(START))
    assert account.reserved_micro == 10 * 220
    assert market.state.accounts[BOB].reserved_micro == 0


def test_a_dear_sell_needs_no_cover() -> None:
    market = Market(replace(RULES, compensation=True)).admit(ALICE, money_micro=0)
    market.place(ALICE, "sell", 10, 320_000)
    assert market.refused(market.order(ALICE, "sell", 10, None)) == Code.INSUFFICIENT_FUNDS


def test_what_a_buyer_has_not_paid_stays_reserved_until_it_is_final() -> None:
    """A late reading may settle more than the first did, as long as the batch is not on chain."""
    market = Market(RULES).admit(ALICE, BOB)
    market.place(ALICE, "sell", 10, 100_000)
    market.place(BOB, "buy", 10, 100_000)
    market.close()
    settled = market.settlement(START)
    rows = tuple(replace(row, executed_wh=6, value_micro=600) for row in settled.rows)
    market.book(replace(settled, rows=rows))
    assert market.state.accounts[BOB].reserved_micro == 400
    market.do(ConfirmSettlement(START, "0xabc", 7, 1))
    assert market.state.accounts[BOB].reserved_micro == 0


def test_nothing_was_settled_on_estimates_and_may_be_yet() -> None:
    """The reserve stays as long as late readings may come: until the interval is forgotten, or the account is out."""
    market = Market(RULES).admit(ALICE, BOB, CAROL)
    market.place(ALICE, "sell", 20, 100_000)
    for buyer in (BOB, CAROL):
        market.place(buyer, "buy", 10, 100_000)
    market.close()
    estimated = (MeteredEnergy(ALICE, 0, 0, True),)
    market.book(IntervalSettled(START, estimated, (), (), ZERO_HASH))
    market.book(IntervalResettled(START, 1, (CAROL,), estimated, (), (), ZERO_HASH))
    accounts = market.state.accounts
    assert (accounts[BOB].reserved_micro, accounts[CAROL].reserved_micro) == (1_000, 0)
    for number in range(1, CHANGEABLE_INTERVALS_KEPT + 1):
        start = START + 900 * number
        market.at = start - 1800
        market.place(ALICE, "sell", 1, 500_000, delivery_start=start)
        market.close(start)
    assert START not in market.state.intervals
    assert accounts[BOB].reserved_micro == 0


def test_a_session_event_says_everything() -> None:
    market = _market()
    market.do(market.bundle(ALICE, "buy", 250_000, {START: 10}))
    market.place(BOB, "sell", 10, 200_000)
    cleared = market.session()
    assert isinstance(cleared, SessionCleared)
    assert cleared.welfare_micro == 500
    assert cleared.bound_micro is not None
    assert cleared.bound_micro >= 500
    assert cleared.paradoxical == ()


def test_a_gate_without_an_auction_leaves_the_lines_as_they_were() -> None:
    market = _market(_LINES)
    market.place(ALICE, "sell", 30, 150_000)
    market.place(BOB, "buy", 30, 250_000)
    market.session()
    market.do(HaltTrading("test"))
    market.close()
    assert market.state.intervals[START].sent_wh == (30,)


def test_the_community_s_fee_is_of_the_buyers_node_s_price() -> None:
    market = _market(replace(_LINES, fees=Fees(0, 100_000)))
    market.place(ALICE, "sell", 50, 150_000)
    market.place(BOB, "buy", 80, 250_000)
    market.session()
    (trade,) = market.state.intervals[START].trades
    assert trade.grid_fee_micro_per_kwh >= 10_000
    paid_at_node = trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh
    assert trade.community_fee_micro_per_kwh == paid_at_node // 10


def test_the_state_s_hash_covers_all_that_is_new() -> None:
    market = _market(_LINES)
    digest = market.place(ALICE, "sell", 30, 150_000)
    market.place(BOB, "buy", 30, 250_000)
    market.session()
    market.do(market.bundle(CAROL, "buy", 250_000, {SECOND: 10}))
    state, seen = market.state, {state_hash(market.state)}
    interval, (known,) = state.intervals[START], state.bundles.values()
    changes: list[tuple[object, str, object]] = [
        (state, "signals", {(Signal.GRID_STATE, 0): 1}),
        (state, "session_at", 0),
        (state, "orders_fired", 1),
        (known, "share", (1, 1)),
        (known, "closed", CloseReason.CANCELLED),
        (interval, "sent_wh", (29,)),
        (interval, "session", None),
        (interval, "opened_at", 1),
        (state.orders[digest], "fired", 1),
        (state.orders[digest], "priority", (9, 9)),
        (state.orders[digest], "bound_micro", 9),
        (interval, "books", {}),
    ]
    for number, (owner, name, value) in enumerate(changes, 2):
        setattr(owner, name, value)
        seen.add(state_hash(state))
        assert len(seen) == number, name
