"""Bundles: what is taken and refused, how they trade in sessions, and what leaves together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from coordinator.market.commands import (
    BookCancellation,
    CancelOrder,
    ClearSession,
    ExpireOrders,
    HaltTrading,
    PlaceBundles,
    ReplaceOrder,
)
from coordinator.market.events import BundlesPlaced, CloseReason, OrderPlaced, Stage
from coordinator.market.proposal import AcceptedBundle
from coordinator.market.rejections import Code
from coordinator.market.rules import Fees, Stages
from coordinator.market.sessions import session_problem
from coordinator.market.state import state_hash
from coordinator.market.views import bundle_status, depth, order_status
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from tests.market.support import ALICE, BOB, CAROL, NOON, RULES, START, Market

SECOND, THIRD = START + 900, START + 1800
_MARK = b"m" * 32
RULES_WITH_SESSIONS = replace(
    RULES, stages=Stages(session_every_s=900, bundles_per_account_max=6, legs_per_bundle_max=4)
)


@pytest.fixture
def market() -> Market:
    return Market(RULES_WITH_SESSIONS).admit(ALICE, BOB, CAROL)


def _placed(market: Market, command: PlaceBundles) -> list[bytes]:
    market.do(command)
    return [bundle.struct_hash() for bundle in command.bundles]


def _block(market: Market, account: str, side: str, price: int, energy_wh: int = 100, **terms: object) -> bytes:
    """Place a bundle of two equal legs."""
    (digest,) = _placed(market, market.bundle(account, side, price, {START: energy_wh, SECOND: energy_wh}, **terms))  # type: ignore[arg-type]  # terms go on to a Bundle
    return digest


def _spread(market: Market, mark: bytes = _MARK) -> PlaceBundles:
    """Return a battery's command: buy in the first interval, sell in the second."""
    buy = Bundle(ALICE, RULES.market, Side.BUY, 150_000, (Leg(START, 100),), spread=mark, salt=b"1" * 32)
    sell = Bundle(ALICE, RULES.market, Side.SELL, 200_000, (Leg(SECOND, 90),), spread=mark, salt=b"2" * 32)
    return market.bundles(buy, sell)


def _fates(market: Market, *digests: bytes) -> list[str]:
    found = [bundle_status(market.state, digest) for digest in digests]
    return [status.status for status in found if status is not None]


def test_a_bundle_is_placed_with_its_legs_and_rests_in_no_book(market: Market) -> None:
    command = market.bundle(ALICE, "buy", 200_000, {START: 100, SECOND: 50})
    placed = [OrderPlaced(leg.order, leg.digest, leg.signature) for leg in command.legs]
    assert market.do(command) == (BundlesPlaced(command.bundles), *placed)
    account = market.state.accounts[ALICE]
    assert account.reserved_micro == 150 * RULES.price_max_micro_per_kwh // 1000
    assert [*account.open_bundles] == [command.bundles[0].struct_hash()]
    assert depth(market.state, START).market_buy_wh == 0
    status = order_status(market.state, command.legs[0].digest)
    assert status is not None
    assert status.status == "waiting"


def test_legs_reserve_their_own_limits(market: Market) -> None:
    market.do(market.bundle(ALICE, "buy", 200_000, {START: 100, SECOND: 50}, limits={START: 250_000, SECOND: 100_000}))
    assert market.state.accounts[ALICE].reserved_micro == 25_000 + 5_000


def test_all_or_none_trades_in_a_session_and_leaves(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "sell", 150, 200_000)
    market.place(BOB, "sell", 150, 200_000, delivery_start=SECOND)
    cleared = market.session()
    assert cleared.outcome == "optimal"
    assert [(share.bundle, share.numerator / share.denominator) for share in cleared.accepted] == [(block, 1)]
    assert [interval.volume_wh for interval in cleared.intervals] == [100, 100]
    assert market.trades() == [(1, 3, 200_000, 100)]
    assert {trade.stage for trade in market.state.intervals[SECOND].trades} == {Stage.SESSION}
    known = market.state.bundles[block]
    assert known.closed is CloseReason.FILLED
    assert known.share is not None
    assert market.state.accounts[ALICE].reserved_micro == 2 * 20_000
    assert market.state.accounts[ALICE].open_bundles == {}
    assert state_hash(market.replayed()) == state_hash(market.state)


def test_none_of_it_trades_where_one_interval_has_too_little(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "sell", 100, 200_000)
    market.place(BOB, "sell", 99, 200_000, delivery_start=SECOND)
    cleared = market.session()
    assert cleared.accepted == ()
    assert market.trades() == []
    assert _fates(market, block) == ["waiting"]


def test_a_share_is_accepted_down_to_the_minimum(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000, min_acceptance=(1, 2))
    market.place(BOB, "sell", 100, 200_000)
    market.place(BOB, "sell", 60, 200_000, delivery_start=SECOND)
    market.place(BOB, "sell", 60, 400_000, delivery_start=SECOND)
    (share,) = market.session().accepted
    assert share.numerator * 100 == share.denominator * 60
    assert [t.energy_wh for start in (START, SECOND) for t in market.state.intervals[start].trades] == [60, 60]
    legs = [market.state.orders[digest] for digest in market.state.bundles[block].legs]
    assert [(leg.remaining_wh, leg.closed) for leg in legs] == [(40, CloseReason.SESSION_REMAINDER)] * 2
    prices = [t.price_micro_per_kwh for start in (START, SECOND) for t in market.state.intervals[start].trades]
    assert sum(prices) <= 2 * 250_000
    assert market.state.accounts[ALICE].reserved_micro == 60 * sum(prices) // 1000


def test_a_leg_keeps_its_own_limit(market: Market) -> None:
    limits = {START: 190_000}
    market.do(market.bundle(ALICE, "buy", 250_000, {START: 100, SECOND: 100}, limits=limits))
    market.place(BOB, "sell", 100, 200_000)
    market.place(BOB, "sell", 100, 100_000, delivery_start=SECOND)
    assert market.session().accepted == ()
    market.place(CAROL, "sell", 100, 180_000)
    assert len(market.session().accepted) == 1
    assert [price for _, _, price, _ in market.trades()] <= [190_000]


def test_a_battery_buys_and_sells_both_or_neither(market: Market) -> None:
    buy, sell = _placed(market, _spread(market))
    market.place(BOB, "sell", 100, 100_000)
    assert market.session().accepted == ()
    market.place(CAROL, "buy", 90, 250_000, delivery_start=SECOND)
    assert {share.bundle for share in market.session().accepted} == {buy, sell}
    assert _fates(market, buy, sell) == ["accepted", "accepted"]


def test_of_a_group_one_is_accepted_and_the_others_close(market: Market) -> None:
    dear = _block(market, ALICE, "buy", 250_000, group=_MARK)
    cheap = _block(market, ALICE, "buy", 220_000, 10, group=_MARK)
    foreign = _block(market, BOB, "buy", 250_000, 10, group=_MARK)
    for start in (START, SECOND):
        market.place(CAROL, "sell", 110, 200_000, delivery_start=start)
    assert {share.bundle for share in market.session().accepted} == {dear, foreign}
    assert _fates(market, dear, cheap, foreign) == ["accepted", "closed", "accepted"]
    assert market.state.bundles[cheap].closed is CloseReason.SESSION_REMAINDER
    late = market.bundle(ALICE, "buy", 250_000, {START: 5}, group=_MARK)
    assert market.refused(late) == Code.BUNDLE_INVALID


def test_a_child_goes_with_its_parent_or_not_at_all(market: Market) -> None:
    """The parent would lose alone at the price of the dearer offers; what its child gains saves it."""
    parent = _block(market, ALICE, "buy", 195_000)
    child = _block(market, ALICE, "buy", 300_000, 10, parent=parent)
    market.place(BOB, "sell", 10, 200_000)
    market.place(BOB, "sell", 10, 200_000, delivery_start=SECOND)
    assert market.session().accepted == ()
    for start in (START, SECOND):
        market.place(CAROL, "sell", 100, 140_000, delivery_start=start)
    assert {share.bundle for share in market.session().accepted} == {parent, child}


def test_a_child_that_its_parent_leaves_behind_closes(market: Market) -> None:
    parent = _block(market, ALICE, "buy", 250_000)
    child = _block(market, ALICE, "buy", 100_000, 10, parent=parent)
    for start in (START, SECOND):
        market.place(BOB, "sell", 100, 200_000, delivery_start=start)
    assert [share.bundle for share in market.session().accepted] == [parent]
    assert _fates(market, parent, child) == ["accepted", "closed"]


@pytest.mark.parametrize("by_leg", [True, False])
def test_a_cancelled_leg_takes_the_whole_bundle_along(market: Market, by_leg: bool) -> None:
    parent = _block(market, ALICE, "buy", 250_000)
    child = _block(market, ALICE, "buy", 250_000, parent=parent)
    stands = _block(market, ALICE, "buy", 250_000)
    digest = market.state.bundles[parent].legs[1] if by_leg else parent
    assert len(market.do(CancelOrder(ALICE, digest, 0))) == 4
    assert _fates(market, parent, child, stands) == ["cancelled", "cancelled", "waiting"]
    assert market.refused(CancelOrder(ALICE, digest, 0)) == Code.ORDER_NOT_OPEN
    assert market.refused(CancelOrder(BOB, stands, 0)) == Code.NOT_YOUR_ORDER


def test_a_leg_cannot_be_replaced(market: Market) -> None:
    leg = market.state.bundles[_block(market, ALICE, "buy", 250_000)].legs[0]
    new = market.order(ALICE, "buy", 50, 250_000)
    assert market.refused(ReplaceOrder(new.order, new.digest, new.signature, leg)) == Code.REPLACE_MISMATCH


def test_half_a_spread_never_stands_alone(market: Market) -> None:
    buy, sell = _placed(market, _spread(market))
    market.do(CancelOrder(ALICE, sell, 0))
    assert _fates(market, buy, sell) == ["cancelled", "cancelled"]


def test_cancel_all_takes_each_leg_once(market: Market) -> None:
    _block(market, ALICE, "buy", 250_000)
    market.place(ALICE, "buy", 5, 100_000)
    assert len(market.cancel_all(ALICE)) == 3
    assert market.state.accounts[ALICE].reserved_micro == 0


def test_after_its_first_gate_a_bundle_cannot_be_cancelled(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.at = RULES.gate_at(START)
    assert market.refused(CancelOrder(ALICE, block, 0)) == Code.GATE_CLOSED
    assert market.cancel_all(ALICE) == ()


def test_the_first_gate_closes_the_whole_bundle(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "sell", 100, 200_000)
    market.close()
    assert market.trades() == []
    assert market.state.bundles[block].closed is CloseReason.GATE_CLOSED
    assert market.state.orders[market.state.bundles[block].legs[1]].closed is CloseReason.GATE_CLOSED
    assert market.state.intervals[SECOND].held == {}
    assert market.state.accounts[ALICE].reserved_micro == 0


def test_a_bundle_whose_gate_has_come_takes_part_in_no_session(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    (child,) = _placed(market, market.bundle(ALICE, "buy", 250_000, {THIRD: 10}, parent=block))
    market.do(market.bundle(BOB, "sell", 100_000, {SECOND: 10, THIRD: 10}))
    assert [b.key for b in session_problem(market.state, market.at).bundles][:2] == [block, child]
    assert len(session_problem(market.state, RULES.gate_at(START)).bundles) == 1


def test_an_expiring_leg_takes_the_whole_bundle_along(market: Market) -> None:
    command = market.bundle(ALICE, "buy", 250_000, {START: 100, SECOND: 100})
    first, second = command.legs
    short = replace(second, order=replace(second.order, valid_until=NOON + 60))
    market.do(replace(command, legs=(first, short)))
    market.at = NOON + 60
    assert {event.digest for event in market.do(ExpireOrders())} == {first.digest, second.digest}  # type: ignore[union-attr]  # closings have digests
    assert _fates(market, command.bundles[0].struct_hash()) == ["expired"]


def test_what_was_cancelled_on_chain_takes_the_whole_bundle_along(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.do(BookCancellation(ALICE, SECOND, "tx:1"))
    assert _fates(market, block) == ["cancelled"]
    assert market.state.accounts[ALICE].open_orders == {}


def test_a_bundle_is_forgotten_with_its_last_leg(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.close(START)
    market.close(SECOND)
    later = [START + 900 * number for number in range(2, 19)]
    for start in later:
        market.at = start - 1800
        market.place(ALICE, "buy", 1, 1, delivery_start=start)
        market.close(start)
    assert START not in market.state.intervals
    assert block in market.state.bundles or SECOND not in market.state.intervals
    market.at = later[-1]
    market.place(ALICE, "buy", 1, 1, delivery_start=later[-1] + 900)
    market.close(later[-1] + 900)
    assert SECOND not in market.state.intervals
    assert market.state.bundles == {}


def test_fees_are_charged_and_the_bundles_limit_holds_with_them() -> None:
    fees = Fees(community_micro_per_kwh=3_000, community_share_ppm=25_000)
    market = Market(replace(RULES_WITH_SESSIONS, fees=fees)).admit(ALICE, BOB)
    block = _block(market, ALICE, "buy", 207_999)
    for start in (START, SECOND):
        market.place(BOB, "sell", 100, 200_000, delivery_start=start)
    assert market.session().accepted == ()
    market.do(CancelOrder(ALICE, block, 0))
    _block(market, ALICE, "buy", 208_100)
    assert len(market.session().accepted) == 1
    (trade,) = market.state.intervals[START].trades
    assert (trade.price_micro_per_kwh, trade.community_fee_micro_per_kwh) == (200_000, 8_000)


def test_a_new_order_against_an_own_leg_is_cancelled(market: Market) -> None:
    _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "buy", 5, 200_000)
    offer = market.place(ALICE, "sell", 10, 200_000)
    known = market.state.orders[offer]
    assert (known.filled_wh, known.closed) == (5, CloseReason.SELF_TRADE)


def test_a_failed_solver_leaves_bundles_waiting_and_says_so(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "sell", 100, 200_000, delivery_start=START)
    market.place(CAROL, "buy", 30, None)
    market.place(BOB, "sell", 50, 210_000)
    market.at += 900
    market.do(ClearSession(market.at, None, "the solver was killed"))
    assert _fates(market, block) == ["waiting"]


def test_a_proposal_that_lies_is_put_aside(market: Market) -> None:
    block = _block(market, ALICE, "buy", 250_000)
    market.place(BOB, "sell", 50, 200_000)
    market.place(CAROL, "buy", 5, None)
    market.at += 900
    command = market.solved(ClearSession(market.at))
    assert command.proposal is not None
    lie = replace(command.proposal, accepted=(AcceptedBundle(block, 1, 1),))
    events = market.do(replace(command, proposal=lie))
    assert any("fallback" in getattr(event, "outcome", "") for event in events)
    assert _fates(market, block) == ["waiting"]


def _leg(number: int, **changes: object) -> Callable[[PlaceBundles], PlaceBundles]:
    def change(command: PlaceBundles) -> PlaceBundles:
        legs = list(command.legs)
        legs[number] = replace(legs[number], order=replace(legs[number].order, **changes))  # type: ignore[arg-type]  # any field
        return replace(command, legs=tuple(legs))

    return change


_BROKEN_LEGS = [
    _leg(0, energy_wh=99),
    _leg(0, delivery_start=THIRD),
    _leg(1, side=Side.SELL),
    _leg(1, account=BOB),
    _leg(1, market="oak-street"),
    _leg(1, bundle=b"x" * 32),
    _leg(1, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL),
    _leg(1, condition=Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)),
    _leg(1, preferences=Preferences(green=True)),
    lambda command: replace(command, legs=command.legs[:1]),
    lambda command: replace(command, legs=command.legs[::-1]),
    lambda command: replace(command, bundles=()),
]


@pytest.mark.parametrize("broken", _BROKEN_LEGS, ids=range(len(_BROKEN_LEGS)))
def test_legs_that_are_not_the_bundles_are_refused(
    market: Market, broken: Callable[[PlaceBundles], PlaceBundles]
) -> None:
    command = broken(market.bundle(ALICE, "buy", 200_000, {START: 100, SECOND: 100}))
    assert market.refused(command) == Code.BUNDLE_INVALID
    assert SECOND not in market.state.intervals


@pytest.mark.parametrize(
    ("code", "terms"),
    [
        (Code.BUNDLE_INVALID, {"legs": ()}),
        (Code.BUNDLE_INVALID, {"legs": (Leg(START, 5), Leg(START, 5))}),
        (Code.BUNDLE_INVALID, {"legs": (Leg(SECOND, 5), Leg(START, 5))}),
        (Code.BUNDLE_INVALID, {"legs": (Leg(START, 0),)}),
        (Code.BUNDLE_INVALID, {"legs": (Leg(START, -5),)}),
        (Code.BUNDLE_INVALID, {"min_acceptance": (2, 1)}),
        (Code.BUNDLE_INVALID, {"min_acceptance": (0, 0)}),
        (Code.BUNDLE_INVALID, {"min_acceptance": (-1, 2)}),
        (Code.BUNDLE_INVALID, {"min_acceptance": (1, 2**32)}),
        (Code.BUNDLE_INVALID, {"spread": _MARK}),
        (Code.BUNDLE_INVALID, {"group": b"short"}),
        (Code.PRICE_OUT_OF_BAND, {"price_micro_per_kwh": 500_001}),
        (Code.PRICE_OUT_OF_BAND, {"price_micro_per_kwh": -1}),
        (Code.WRONG_MARKET, {"market": "oak-street"}),
        (Code.UNKNOWN_PARENT, {"parent": b"p" * 32}),
        (Code.NOT_A_MEMBER, {"account": "0x" + "9" * 40}),
        (Code.ENERGY_OUT_OF_RANGE, {"legs": (Leg(START, RULES.order_energy_max_wh + 1),)}),
        (Code.INTERVAL_MISALIGNED, {"legs": (Leg(START + 1, 5),)}),
        (Code.GATE_CLOSED, {"legs": (Leg(NOON, 5), Leg(START, 5))}),
        (Code.BEYOND_HORIZON, {"legs": (Leg(START, 5), Leg(NOON + RULES.horizon_s + 900, 5))}),
        (Code.TOO_MANY_LEGS, {"legs": tuple(Leg(START + 900 * n, 5) for n in range(5))}),
        (Code.INSUFFICIENT_FUNDS, {"legs": (Leg(START, 10_000), Leg(SECOND, 10_000))}),
    ],
)
def test_bundles_that_mean_nothing_or_too_much_are_refused(code: Code, terms: dict[str, object]) -> None:
    market = Market(RULES_WITH_SESSIONS).admit(ALICE, money_micro=9_000_000)
    bundle = Bundle(ALICE, RULES.market, Side.BUY, 200_000, (Leg(START, 100),))
    try:
        command = market.bundles(replace(bundle, **terms))  # type: ignore[arg-type]  # any field
    except OverflowError, ValueError:
        signed = market.bundles(bundle)
        changed = replace(bundle, **terms)  # type: ignore[arg-type]  # any field
        command = replace(signed, bundles=(changed,), legs=signed.legs * len(changed.legs))
    assert market.refused(command) == code


def test_cyclic_links_cannot_be_written(market: Market) -> None:
    """A parent is named by its hash, which holds its own parent's: one of the two is always unknown."""
    first = Bundle(ALICE, RULES.market, Side.BUY, 200_000, (Leg(START, 100),), parent=b"2" * 32)
    second = replace(first, parent=first.struct_hash())
    assert market.refused(market.bundles(first, second)) == Code.UNKNOWN_PARENT


def test_a_parent_may_come_with_its_child_in_any_order(market: Market) -> None:
    parent = Bundle(ALICE, RULES.market, Side.BUY, 200_000, (Leg(START, 100),))
    child = replace(parent, parent=parent.struct_hash())
    market.do(market.bundles(child, parent))


@pytest.mark.parametrize("gone", ["foreign", "cancelled"])
def test_a_parent_must_be_open_and_of_the_same_account(market: Market, gone: str) -> None:
    parent = _block(market, BOB if gone == "foreign" else ALICE, "buy", 200_000)
    if gone == "cancelled":
        market.do(CancelOrder(ALICE, parent, 0))
    command = market.bundle(ALICE, "buy", 200_000, {START: 5}, parent=parent)
    assert market.refused(command) == Code.UNKNOWN_PARENT


def test_a_parent_that_expires_in_the_same_moment_is_none(market: Market) -> None:
    command = market.bundle(ALICE, "buy", 250_000, {START: 100})
    leg = replace(command.legs[0], order=replace(command.legs[0].order, valid_until=NOON + 60))
    market.do(replace(command, legs=(leg,)))
    market.at = NOON + 60
    child = market.bundle(ALICE, "buy", 200_000, {START: 5}, parent=command.bundles[0].struct_hash())
    assert market.refused(child) == Code.UNKNOWN_PARENT


def test_spreads_are_exactly_two_halves(market: Market) -> None:
    pair = _spread(market)
    buy, sell = pair.bundles
    for bundles in (
        (buy,),
        (buy, replace(buy, salt=b"3" * 32)),
        (buy, sell, replace(sell, salt=b"3" * 32)),
        (replace(buy, group=_MARK), sell),
    ):
        assert market.refused(market.bundles(*bundles)) == Code.BUNDLE_INVALID
    market.do(pair)
    again = market.bundles(replace(buy, salt=b"4" * 32), replace(sell, salt=b"5" * 32))
    assert market.refused(again) == Code.BUNDLE_INVALID


def test_bundles_of_two_accounts_do_not_come_together(market: Market) -> None:
    bundle = Bundle(ALICE, RULES.market, Side.BUY, 200_000, (Leg(START, 100),))
    assert market.refused(market.bundles(bundle, replace(bundle, account=BOB))) == Code.BUNDLE_INVALID


def test_a_bundle_comes_once(market: Market) -> None:
    command = market.bundle(ALICE, "buy", 200_000, {START: 100})
    twice = market.bundles(*command.bundles, *command.bundles)
    assert market.refused(twice) == Code.DUPLICATE_BUNDLE
    market.do(command)
    assert market.refused(market.bundles(*command.bundles)) == Code.DUPLICATE_BUNDLE
    other = market.bundle(ALICE, "buy", 200_000, {START: 100}, salt=b"o" * 32)
    repeated = replace(other.legs[0], digest=command.legs[0].digest)
    assert market.refused(replace(other, legs=(repeated,))) == Code.DUPLICATE_ORDER
    both = market.bundle(ALICE, "buy", 200_000, {START: 10, SECOND: 10}, salt=b"q" * 32)
    same = replace(both.legs[1], digest=both.legs[0].digest)
    assert market.refused(replace(both, legs=(both.legs[0], same))) == Code.DUPLICATE_ORDER


def test_a_thousand_bundles_of_one_account_are_refused(market: Market) -> None:
    taken = [market.ask(market.bundle(ALICE, "sell", 100_000, {START: 1})) for _ in range(1_000)]
    assert sum(isinstance(decision, tuple) for decision in taken) == 6
    assert len(market.state.bundles) == 6
    many = [Bundle(BOB, RULES.market, Side.SELL, 1, (Leg(START, 1),), salt=bytes([n]) * 32) for n in range(7)]
    assert market.refused(market.bundles(*many)) == Code.TOO_MANY_BUNDLES


def test_legs_of_one_command_count_together(market: Market) -> None:
    """Each leg alone would fit: orders per interval, places and money are counted over all of them."""
    tight = replace(RULES_WITH_SESSIONS, orders_per_account_interval_max=2, members_max=1, orders_per_interval_max=2)
    blocks = [Bundle(ALICE, RULES.market, Side.SELL, 1, (Leg(START, 1),), salt=bytes([n]) * 32) for n in range(3)]
    market = Market(tight).admit(ALICE)
    assert market.refused(market.bundles(*blocks)) == Code.TOO_MANY_ORDERS
    market = Market(replace(tight, orders_per_account_interval_max=9)).admit(ALICE)
    assert market.refused(market.bundles(*blocks)) == Code.INTERVAL_FULL
    market.do(market.bundles(*blocks[:2]))
    poor = Market(RULES_WITH_SESSIONS).admit(ALICE, money_micro=999)
    buys = [replace(block, side=Side.BUY) for block in blocks]
    assert poor.refused(poor.bundles(*buys)) == Code.INSUFFICIENT_FUNDS
    poor.do(poor.bundles(buys[0]))


def test_a_leg_against_an_own_order_is_refused(market: Market) -> None:
    market.place(ALICE, "sell", 10, 260_000)
    assert market.refused(market.bundle(ALICE, "buy", 200_000, {START: 10})) == Code.SELF_TRADE
    market.do(market.bundle(ALICE, "buy", 200_000, {START: 10}, limits={START: 259_999}))
    market.do(market.bundle(ALICE, "buy", 200_000, {SECOND: 10}))
    assert market.refused(market.bundle(ALICE, "sell", 1, {SECOND: 10})) == Code.SELF_TRADE
    buy = Bundle(ALICE, RULES.market, Side.BUY, 200_000, (Leg(THIRD, 5),))
    assert market.refused(market.bundles(buy, replace(buy, side=Side.SELL))) == Code.SELF_TRADE


def test_bundles_need_sessions_and_an_open_market(market: Market) -> None:
    without = Market().admit(ALICE)
    assert without.refused(without.bundle(ALICE, "buy", 1, {START: 1})) == Code.STAGE_OFF
    market.do(HaltTrading("test"))
    assert market.refused(market.bundle(ALICE, "buy", 1, {START: 1})) == Code.TRADING_HALTED
