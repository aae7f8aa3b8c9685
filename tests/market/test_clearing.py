"""What becomes of a solver's proposal: it stands exactly, or the auction is held without it and says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.market.auction import AuctionOrder
from coordinator.market.auction import clear as clear_auction
from coordinator.market.certificate import certificate, verify
from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, NetworkLine, Problem, Result, SingleOrder
from coordinator.market.proposal import AcceptedBundle, Proposal
from coordinator.market.rules import ClearingRule, Tariff
from coordinator.protocol.messages import Side
from coordinator.solver.highs import propose
from tests.solver.enumeration import random_problem

_BUY, _SELL = Side.BUY, Side.SELL


def single(
    key: str, side: Side, energy_wh: int, price: int | None, interval: int = 0, node: str = ""
) -> SingleOrder[bytes]:
    return SingleOrder(key.encode(), interval, side, energy_wh, price, node)


ORDERS = (
    single("bid", _BUY, 1_000, 300_000),
    single("ask", _SELL, 900, 100_000),
    single("late bid", _BUY, 500, 250_000, 1),
    single("late ask", _SELL, 900, 120_000, 1),
)
BUNDLES = (
    BundleOrder(b"block", _SELL, 110_000, ((0, 100), (1, 100))),
    BundleOrder(b"child", _SELL, 90_000, ((1, 100),), parent=b"block"),
    BundleOrder(b"charge", _BUY, 130_000, ((1, 200),), spread="battery"),
    BundleOrder(b"discharge", _SELL, 130_000, ((0, 50),), spread="battery"),
    BundleOrder(b"one", _BUY, 125_000, ((1, 10),), group="g"),
    BundleOrder(b"other", _BUY, 121_000, ((1, 10),), group="g"),
    BundleOrder(b"limited", _SELL, 90_000, ((1, 100),), leg_limits=((1, 200_000),)),
)
PROBLEM = Problem((1_000, 1_900), ORDERS, BUNDLES)


@pytest.fixture(scope="module")
def proposal() -> Proposal:
    return propose(PROBLEM, 10)


def executed(result: Result[bytes]) -> dict[tuple[int, bytes], int]:
    """Return what each order or bundle trades in each interval, and check that buyers and sellers balance."""
    found: Counter[tuple[int, bytes]] = Counter()
    for trade in result.trades:
        found[trade.interval, trade.buy] += trade.energy_wh
        found[trade.interval, trade.sell] += trade.energy_wh
    return dict(found)


def test_a_good_proposal_stands(proposal: Proposal) -> None:
    result = clear(PROBLEM, proposal)
    assert result.outcome == "optimal"
    assert [key for key, _, _ in result.accepted] == [b"block", b"child", b"charge", b"discharge", b"one"]
    assert result.paradoxical == ()
    assert result.welfare_micro == result.bound_micro
    parts = executed(result)
    assert {key: wh for (_, key), wh in parts.items() if key in result.fills} == {
        key: wh for key, wh in result.fills.items() if wh
    }
    assert parts[0, b"block"] == parts[1, b"block"] == 100


def _accepted(*names: str) -> Callable[[Proposal], Proposal]:
    steps = {bundle.key: bundle for bundle in BUNDLES}
    whole = {b"block": 100, b"child": 100, b"charge": 200, b"discharge": 50, b"one": 10, b"other": 10, b"limited": 100}
    chosen = tuple(AcceptedBundle(n.encode(), whole[n.encode()], whole[n.encode()]) for n in names)
    assert all(n.encode() in steps for n in names)
    return lambda p: replace(p, accepted=chosen)


def _shared(key: bytes, numerator: int, denominator: int) -> Callable[[Proposal], Proposal]:
    return lambda p: replace(
        p,
        accepted=tuple(AcceptedBundle(key, numerator, denominator) if a.bundle == key else a for a in p.accepted),
    )


def _priced(interval: int, *prices: tuple[str, int]) -> Callable[[Proposal], Proposal]:
    return lambda p: replace(
        p,
        intervals=tuple(replace(at, prices=prices) if n == interval else at for n, at in enumerate(p.intervals)),
    )


FAULTS: list[tuple[str, Callable[[Proposal], Proposal], str]] = [
    ("another bundle", lambda p: replace(p, accepted=(AcceptedBundle(b"x", 1, 1),)), "names a bundle's share"),
    ("a bundle twice", lambda p: replace(p, accepted=p.accepted[:1] * 2), "names a bundle's share"),
    ("another denominator", _shared(b"block", 1, 1), "names a bundle's share"),
    ("no denominator", _shared(b"block", 0, 0), "names a bundle's share"),
    ("a part of all or none", _shared(b"block", 50, 100), "accepts a share that a bundle does not allow"),
    ("more than all", _shared(b"block", 101, 100), "accepts a share that a bundle does not allow"),
    ("less than nothing", _shared(b"block", -100, 100), "accepts a share that a bundle does not allow"),
    ("a child without its parent", _accepted("child"), "accepts a bundle without its parent"),
    ("two of one group", _accepted("one", "other"), "accepts two bundles of one group"),
    ("half a spread", _accepted("charge"), "accepts a spread's two bundles with different shares"),
    ("other intervals", lambda p: replace(p, intervals=p.intervals[::-1]), "is for other intervals"),
    ("an interval less", lambda p: replace(p, intervals=p.intervals[:1]), "is for other intervals"),
    (
        "flows where there are no lines",
        lambda p: replace(p, intervals=tuple(replace(at, flows_wh=(0,)) for at in p.intervals)),
        "is for other lines",
    ),
    ("no price", _priced(0), "names no price for '' in interval 0"),
    ("a price twice", _priced(0, ("", 1), ("", 2)), "names a node's price twice"),
    ("a price that is too high", _priced(0, ("", 300_001)), "at which orders would rather do otherwise"),
    ("a price that is too low", _priced(1, ("", 119_999)), "at which orders would rather do otherwise"),
    ("a leg's limit broken", _accepted("limited"), "at which orders would rather do otherwise|leaves no price"),
    ("too much welfare", lambda p: replace(p, welfare_micro=p.welfare_micro + 1), "it is worth"),
    ("too little welfare", lambda p: replace(p, welfare_micro=p.welfare_micro - 1), "it is worth"),
    ("a bound below the welfare", lambda p: replace(p, bound_micro=p.welfare_micro - 1), "than the most that it says"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fault", "cause"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_faulty_proposal_is_put_aside_whole_and_no_trade_is_lost(
    name: str, fault: Callable[[Proposal], Proposal], cause: str, proposal: Proposal
) -> None:
    result = clear(PROBLEM, fault(proposal))
    alone = clear(PROBLEM, None, "x")
    assert result.outcome.startswith("fallback: the proposal "), name
    assert any(part in result.outcome for part in cause.split("|")), result.outcome
    assert (result.fills, result.trades, result.accepted) == (alone.fills, alone.trades, ())
    assert result.fills == {b"bid": 900, b"ask": 900, b"late bid": 500, b"late ask": 500}


def test_a_bundle_that_loses_is_not_accepted_even_if_it_is_worth_more() -> None:
    """White paper 'Electricity spot market design 2030-2050', figure 5: worth 2,570 with the block, but at a loss."""
    orders = (
        single("high", _BUY, 10, 300_000),
        single("low", _BUY, 14, 10_000),
        single("ask", _SELL, 13, 100_000),
    )
    problem = Problem((0,), orders, (BundleOrder(b"block", _SELL, 40_000, ((0, 12),), (11, 12)),))
    good = propose(problem, 5)
    at = replace(good.intervals[0], prices=(("", 10_000),))
    greedy = replace(good, accepted=(AcceptedBundle(b"block", 11, 12),), intervals=(at,), welfare_micro=2_570)
    greedy = replace(greedy, bound_micro=2_570)
    assert clear(problem, greedy).outcome == "fallback: the proposal accepts a bundle that loses at its prices"
    assert clear(problem, good).paradoxical == (b"block",)


def test_a_choice_that_is_worth_less_than_no_bundles_is_put_aside() -> None:
    """A wrong optimum: the block takes the energy that a market order would have had at any price."""
    orders = (single("market", _BUY, 10, None), single("ask", _SELL, 10, 100_000))
    block = BundleOrder(b"block", _BUY, 200_000, ((0, 10),))
    problem = Problem((0,), orders, (block,), band=(0, 400_000))
    good = propose(problem, 5)
    assert clear(problem, good).fills[b"market"] == 10
    at = replace(good.intervals[0], prices=(("", 100_000),))
    wrong = Proposal((AcceptedBundle(b"block", 10, 10),), (at,), 1_000, 1_000)
    assert clear(problem, wrong).outcome == (
        "fallback: the proposal is worth less than an auction without bundles and lines"
    )


LINES = (NetworkLine("a", "b", 1_000, (4,), (4,)), NetworkLine("b", "c", 500, (None,), (None,)))
NETWORK = Problem(
    (0,),
    (
        single("cheap", _SELL, 10, 10_000, node="a"),
        single("dear", _SELL, 10, 20_000, node="b"),
        single("near", _BUY, 2, 30_000, node="b"),
        single("far", _BUY, 6, 40_000, node="c"),
    ),
    (),
    LINES,
)


def test_trades_follow_the_flows_and_pay_for_them() -> None:
    result = clear(NETWORK, propose(NETWORK, 5))
    assert result.outcome == "optimal"
    prices = {price.node: price.price_micro_per_kwh for price in result.intervals[0].nodes}
    assert prices == {"a": 10_000, "b": 20_000, "c": 20_500}
    assert result.intervals[0].flows_wh == (4, 6)
    trades = {(t.buy, t.sell): (t.energy_wh, t.price_micro_per_kwh, t.grid_fee_micro_per_kwh) for t in result.trades}
    assert trades == {
        (b"near", b"dear"): (2, 20_000, 0),
        (b"far", b"cheap"): (4, 10_000, 10_500),  # congestion and both lines' fees
        (b"far", b"dear"): (2, 20_000, 500),
    }
    assert result.intervals[0].volume_wh == 8
    value, cost, fees = 2 * 30_000 + 6 * 40_000, 4 * 10_000 + 4 * 20_000, 4 * 1_000 + 6 * 500
    assert result.welfare_micro == (value - cost - fees) // 1_000


@pytest.mark.parametrize(
    ("flows", "cause"),
    [
        ((5, 6), "overloads the line from 'a' to 'b'"),
        ((-5, 6), "overloads the line from 'a' to 'b'"),
        ((4, 7), "does not balance"),
        ((3, 6), "leaves no price in interval 0"),
        ((4, 5), "leaves no price in interval 0"),
    ],
)
def test_flows_that_cannot_be_or_should_not_be(flows: tuple[int, ...], cause: str) -> None:
    good = propose(NETWORK, 5)
    wrong = replace(good, intervals=(replace(good.intervals[0], flows_wh=flows),))
    result = clear(NETWORK, wrong)
    assert cause in result.outcome
    assert result.fills == {b"cheap": 0, b"dear": 2, b"near": 2, b"far": 0}, "each node trades alone"


@pytest.mark.parametrize(
    ("prices", "cause"),
    [
        ({"a": 9_999, "b": 20_000, "c": 20_500}, "would rather do otherwise"),
        ({"a": 10_000, "b": 20_000, "c": 20_501}, "would rather do otherwise|flows in interval 0 contradict"),
        ({"a": 10_000, "b": 20_000}, "names no price for 'c'"),
    ],
)
def test_prices_that_do_not_support_the_flows(prices: dict[str, int], cause: str) -> None:
    good = propose(NETWORK, 5)
    wrong = replace(good, intervals=(replace(good.intervals[0], prices=tuple(prices.items())),))
    assert any(part in clear(NETWORK, wrong).outcome for part in cause.split("|"))


def test_prices_stay_within_the_band() -> None:
    problem = replace(NETWORK, band=(0, 20_400))
    outcome = clear(problem, propose(NETWORK, 5)).outcome
    assert outcome == "fallback: the proposal names a price for 'c' in interval 0 outside of the band"


def test_a_market_order_is_not_left_waiting_by_the_flows() -> None:
    orders = (single("ask", _SELL, 10, 10_000, node="a"), single("market", _BUY, 4, None, node="b"))
    problem = Problem((0,), orders, (), LINES[:1], band=(0, 100_000))
    good = propose(problem, 5)
    assert clear(problem, good).fills == {b"ask": 4, b"market": 4}
    at = replace(good.intervals[0], flows_wh=(0,), prices=(("a", 10_000), ("b", 11_000)))
    idle = replace(good, intervals=(at,), welfare_micro=0, bound_micro=0)
    assert "leaves a market order waiting" in clear(problem, idle).outcome


def test_prices_differ_by_no_more_than_a_free_lines_fee() -> None:
    """Each price alone would do: nobody trades, but energy would rather go from a to b."""
    orders = tuple(
        single(f"{side} {node}", side, 5, price, node=node)
        for node in "ab"
        for side, price in ((_BUY, 5_000), (_SELL, 30_000))
    )
    problem = Problem((0,), orders, (), LINES[:1])
    good = propose(problem, 5)
    assert clear(problem, good).outcome == "optimal"
    apart = replace(good, intervals=(replace(good.intervals[0], prices=(("a", 6_000), ("b", 29_000))),))
    assert clear(problem, apart).outcome == (
        "fallback: the proposal names prices that the lines' flows in interval 0 contradict"
    )


def test_energy_that_runs_in_a_circle_is_not_traded() -> None:
    """Lines without fees may carry energy round and round; no trade comes of it."""
    lines = tuple(NetworkLine(a, b, 0, (9,), (9,)) for a, b in ("ab", "bc", "ca", "bd"))
    orders = (single("ask", _SELL, 5, 10_000, node="a"), single("bid", _BUY, 5, 20_000, node="d"))
    problem = Problem((0,), orders, (), lines)
    good = propose(problem, 5)
    for flows in ((5, 0, 0, 5), (8, 3, 3, 5), (7, 2, 2, 5), (1, -4, -4, 5)):
        result = clear(problem, replace(good, intervals=(replace(good.intervals[0], flows_wh=flows),)))
        assert result.outcome == "optimal"
        assert {(t.buy, t.sell) for t in result.trades} == {(b"bid", b"ask")}
        assert sum(t.energy_wh for t in result.trades) == 5


@pytest.mark.parametrize(("ties", "fills"), [("pro_rata", [4, 3, 3]), ("time", [5, 5, 0])])
def test_ties_at_a_node_are_shared_by_the_rule(ties: str, fills: list[int]) -> None:
    assert ties in {"pro_rata", "time"}
    rule = ClearingRule(ties="pro_rata" if ties == "pro_rata" else "time")
    orders = tuple(single(f"b{n}", _BUY, 5, 30_000) for n in range(3))
    problem = Problem((0,), orders, (BundleOrder(b"block", _SELL, 20_000, ((0, 10),)),), rule=rule)
    result = clear(problem, propose(problem, 5))
    assert [result.fills[order.key] for order in orders] == fills


@pytest.mark.parametrize(("ties", "halves"), [("pro_rata", (5, 5)), ("time", (10, 0))])
def test_sums_beyond_64_bits_come_to_the_same(ties: str, halves: tuple[int, int]) -> None:
    """A network a thousand billion times as large trades a thousand billion times as much, to the Wh."""
    assert ties in {"pro_rata", "time"}
    rule = ClearingRule(ties="pro_rata" if ties == "pro_rata" else "time")
    rivals = (single("rival", _SELL, 10, 10_000, node="a"), single("any", _BUY, 1, None, node="a"))
    small = replace(NETWORK, orders=NETWORK.orders + rivals, rule=rule, band=(0, 50_000))
    good = propose(small, 5)
    times = 1_000 * 2**40
    lines = tuple(replace(line, forward_wh=(None,), backward_wh=(None,)) for line in LINES[1:])
    first = replace(LINES[0], forward_wh=(4 * times,), backward_wh=(4 * times,))
    large = replace(
        small,
        orders=tuple(replace(order, energy_wh=order.energy_wh * times) for order in small.orders),
        lines=(first, *lines),
    )
    at = replace(good.intervals[0], flows_wh=tuple(flow * times for flow in good.intervals[0].flows_wh))
    assert good.bound_micro is not None
    worth = [good.welfare_micro * times, good.bound_micro * times]
    result = clear(large, Proposal((), (at,), *worth))
    plain = clear(small, good)
    assert (plain.outcome, result.outcome) == ("optimal", "optimal")
    assert sum(plain.fills.values()) == 18
    assert result.intervals[0].nodes == plain.intervals[0].nodes
    assert [result.fills[key] * 2 for key in (b"cheap", b"rival")] == [half * times for half in halves]
    assert {t.energy_wh // times for t in result.trades} <= {1, 2, 3, 4}
    assert result.intervals[0].volume_wh == plain.intervals[0].volume_wh * times
    assert all(type(filled_wh) is int for filled_wh in result.fills.values())


def _with_prices(proposal: Proposal, *prices: int) -> Proposal:
    """Return the proposal with other prices at the only node, one for each interval."""
    at = tuple(replace(here, prices=(("", price),)) for here, price in zip(proposal.intervals, prices, strict=True))
    return replace(proposal, intervals=at)


def test_the_proposals_prices_are_the_rules_or_it_is_put_aside() -> None:
    """A bundle that is not even accepted must not leave the price to whoever makes the proposal."""
    orders = tuple(
        single(f"{side}{at}", side, 1_000, price, at)
        for at in range(2)
        for side, price in ((_BUY, 400_000), (_SELL, 50_000))
    )
    problem = Problem((0, 900), orders, (BundleOrder(b"x", _BUY, 1, ((0, 5), (1, 5))),), band=(0, 500_000))
    honest = propose(problem, 5)
    assert [here.prices for here in honest.intervals] == [(("", 225_000),)] * 2
    assert clear(problem, honest).outcome == "optimal"
    for price in (50_000, 224_999, 225_001, 400_000):
        result = clear(problem, _with_prices(honest, 225_000, price))
        assert result.outcome == "fallback: the proposal names another price for '' in interval 1 than the rule has"


def test_a_bundle_that_would_lose_sets_the_price_and_not_the_proposal() -> None:
    """Needs 25,000 where orders allow 10,000 to 30,000; over two intervals both prices rise by one part."""
    orders = tuple(
        single(f"{side}{at}{price}", side, 10, price, at)
        for at in range(2)
        for side, price in ((_BUY, 30_000), (_BUY, 10_000), (_SELL, 40_000))
    )
    once = Problem((0,), orders[:3], (BundleOrder(b"x", _SELL, 25_000, ((0, 10),)),))
    honest = propose(once, 5)
    assert honest.intervals[0].prices == (("", 27_500),)
    assert "than the rule has" in clear(once, _with_prices(honest, 30_000)).outcome
    twice = Problem((0, 900), orders, (BundleOrder(b"x", _SELL, 25_000, ((0, 10), (1, 10))),))
    honest = propose(twice, 5)
    assert [here.prices for here in honest.intervals] == [(("", 27_500),)] * 2
    assert clear(twice, honest).accepted == ((b"x", 10, 10),)
    assert "than the rule has" in clear(twice, _with_prices(honest, 26_000, 30_000)).outcome


_TWO = Problem(
    (0, 900, 1_800),
    tuple(
        single(f"{side}{at}{node}", side, 10, price, at, node)
        for at in range(3)
        for side, price, node in ((_SELL, 10_000, "a"), (_BUY, 30_000, "b"), (_BUY, 12_000, "a"))
    ),
    (),
    (NetworkLine("a", "b", 1_000, (4,) * 3, (4,) * 3),),
    band=(0, 100_000),
)


def _at(proposal: Proposal, interval: int, **changes: object) -> Proposal:
    changed = replace(proposal.intervals[interval], **changes)  # type: ignore[arg-type]
    return replace(
        proposal, intervals=tuple(changed if n == interval else at for n, at in enumerate(proposal.intervals))
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"prices": ()}, "names no price for 'a' in interval 1"),
        ({"prices": (("a", 12_000), ("b", 100_001))}, "names a price for 'b' in interval 1 at which orders"),
        ({"flows_wh": (5,)}, "overloads the line from 'a' to 'b' in interval 1"),
        ({"flows_wh": (3,)}, "leaves no price in interval 1"),
        ({"flows_wh": (-4,)}, "does not balance"),
    ],
)
def test_a_fault_of_one_interval_puts_that_one_aside_alone(changes: dict[str, object], cause: str) -> None:
    good = propose(_TWO, 5)
    whole, alone = clear(_TWO, good), clear(_TWO, None, "x")
    assert whole.outcome == "optimal"
    result = clear(_TWO, _at(good, 1, **changes))
    assert result.outcome.startswith(f"partial fallback: interval 1: the proposal {cause}")
    assert (result.fallen, result.bound_micro) == ((1,), None)
    assert result.intervals == (whole.intervals[0], alone.intervals[1], whole.intervals[2])
    assert 3 * result.welfare_micro == 2 * whole.welfare_micro + alone.welfare_micro
    for at, key in ((o.interval, o.key) for o in _TWO.orders):
        assert result.fills[key] == (alone if at == 1 else whole).fills[key]
    assert [t for t in result.trades if t.interval == 1] == [t for t in alone.trades if t.interval == 1]
    assert verify(certificate(_TWO, result)) == []


def test_what_bundles_couple_to_a_fault_falls_with_it_and_the_rest_stands() -> None:
    """A parent in the faulty interval takes its child along, wherever that is."""
    parent = BundleOrder(b"parent", _SELL, 5_000, ((0, 2),), node="b")
    child = BundleOrder(b"child", _SELL, 5_000, ((1, 2),), node="b", parent=b"parent")
    other = BundleOrder(b"other", _SELL, 5_000, ((2, 2),), node="b")
    problem = replace(_TWO, bundles=(parent, child, other))
    good = propose(problem, 5)
    assert [key for key, _, _ in clear(problem, good).accepted] == [b"parent", b"child", b"other"]
    result = clear(problem, _at(good, 0, prices=()))
    assert result.fallen == (0, 1)
    assert result.outcome.startswith("partial fallback: intervals 0, 1: the proposal names no price")
    assert [key for key, _, _ in result.accepted] == [b"other"]
    assert verify(certificate(problem, result)) == []
    joined = replace(problem, bundles=(parent, child, replace(other, group="g"), replace(child, key=b"c", group="g")))
    assert clear(joined, _at(propose(joined, 5), 0, prices=())).outcome.startswith("fallback: the proposal ")


def test_a_missing_proposal_is_said() -> None:
    assert clear(PROBLEM).outcome == "fallback: no proposal"
    assert clear(PROBLEM, None, "the solver was killed").outcome == "fallback: the solver was killed"


_MECHANISM = st.sampled_from(["uniform", "pay_as_bid", "mid_market_rate", "supply_demand_ratio", "mcafee"])
_ORDER = st.tuples(
    st.integers(0, 1), st.sampled_from("ab"), st.sampled_from(Side), st.integers(1, 9), st.none() | st.integers(1, 20)
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(_ORDER, max_size=12), _MECHANISM)
def test_what_nothing_couples_is_a_call_auction_each(
    rows: Sequence[tuple[int, str, Side, int, int | None]], mechanism: str
) -> None:
    rule = ClearingRule(mechanism=mechanism)  # type: ignore[arg-type]
    orders = [
        SingleOrder(str(n).encode(), at, side, wh, price, node) for n, (at, node, side, wh, price) in enumerate(rows)
    ]
    problem = Problem((0, 900), tuple(orders), (), (), rule, (0, 30), Tariff(25, 5))
    result = clear(problem)
    assert not problem.needs_solver
    for at in range(2):
        volume = 0
        for node in "ab":
            here = [o for o in orders if (o.interval, o.node) == (at, node)]
            alone = clear_auction(
                [AuctionOrder(o.key, o.side, o.energy_wh, o.price) for o in here], rule, (0, 30), Tariff(25, 5)
            )
            volume += alone.volume_wh
            assert {o.key: result.fills[o.key] for o in here} == alone.fills
            priced = [p for p in result.intervals[at].nodes if p.node == node]
            assert [p.price_micro_per_kwh for p in priced] == (
                [] if alone.price_micro_per_kwh is None else [alone.price_micro_per_kwh]
            )
        assert result.intervals[at].volume_wh == volume


@pytest.mark.parametrize("start", [2_000, 2_100])
def test_random_sessions_keep_every_promise(start: int) -> None:
    """Nobody pays more or receives less than its limit, energy and money balance, and nothing is dropped."""
    for seed in range(start, start + 100):
        problem = random_problem(seed)
        result = clear(problem, propose(problem, 10))
        assert result == clear(problem, propose(problem, 10)), "deterministic"
        limits = {order.key: order.price for order in problem.orders}
        parts = executed(result)
        for order in problem.orders:
            assert parts.get((order.interval, order.key), 0) == result.fills[order.key] <= order.energy_wh
        for bundle in problem.bundles:
            share = {key: (k, g) for key, k, g in result.accepted}.get(bundle.key, (0, 1))
            for at, wh in bundle.energy_wh:
                assert parts.get((at, bundle.key), 0) * share[1] == wh * share[0]
        for trade in result.trades:
            buyer, seller = limits.get(trade.buy), limits.get(trade.sell)
            assert trade.grid_fee_micro_per_kwh >= 0
            assert buyer is None or trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh <= buyer
            assert seller is None or trade.price_micro_per_kwh >= seller
        assert result.welfare_micro >= clear(problem, None, "x").welfare_micro
