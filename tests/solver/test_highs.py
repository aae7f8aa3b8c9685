"""What the solver proposes: as good as counting every choice, within its time, and the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from coordinator.market.certificate import certificate, verify
from coordinator.market.clearing import clear
from coordinator.market.problem import BundleOrder, NetworkLine, Problem, SingleOrder
from coordinator.market.rules import ClearingRule
from coordinator.protocol.messages import Side
from coordinator.solver import highs, model
from coordinator.solver.failure import SolverFailedError
from coordinator.solver.highs import propose
from coordinator.solver.model import Solved
from tests.solver.enumeration import best, crowded_problem, random_problem

_SLICE = 50


@pytest.mark.parametrize("start", range(0, 300, _SLICE))
def test_random_sessions_are_as_good_as_counting_every_choice(start: int) -> None:
    """Bundles of all kinds, lines with limits and fees; the rest of the 1,000 is counted by script/bench --soak."""
    for seed in range(start, start + _SLICE):
        problem = random_problem(seed)
        result, counted = clear(problem, propose(problem, 20)), best(problem)
        assert result.outcome == "optimal", seed
        assert counted.sure // 1000 <= result.welfare_micro <= counted.most // 1000, seed
        assert verify(json.loads(json.dumps(certificate(problem, result)))) == [], seed


def test_the_same_problem_gets_the_same_proposal() -> None:
    problem = random_problem(7)
    assert propose(problem, 20) == propose(problem, 20)


def test_a_choice_is_cut_off_only_when_no_prices_support_it() -> None:
    """At the middle of the supporting prices the block loses, at others it does not: it stays."""
    orders = (
        SingleOrder(b"bid", 0, Side.BUY, 10, 30_000),
        SingleOrder(b"low", 0, Side.BUY, 10, 10_000),
        SingleOrder(b"ask", 0, Side.SELL, 10, 40_000),
    )
    block = BundleOrder(b"block", Side.SELL, 25_000, ((0, 10),))
    result = clear(problem := Problem((0,), orders, (block,)), propose(problem, 5))
    assert result.accepted == ((b"block", 10, 10),)
    (price,) = result.intervals[0].nodes
    assert price.price_range == (25_000, 30_000)
    assert price.price_micro_per_kwh == (25_000 + 30_000) // 2, "the middle of the prices that let the block gain"


@pytest.mark.parametrize("seed", [70, 200, 205, 397, 547, 624, 1_123, 1_196, 1_423])
def test_a_cut_takes_no_better_choice_away(seed: int) -> None:
    """Sessions in which a cut that names too few ways out of a contradiction would lose the best choice."""
    problem = crowded_problem(seed)
    counted = best(problem)
    assert counted.unpriced
    assert clear(problem, propose(problem, 20)).welfare_micro == counted.sure // 1_000


@pytest.mark.parametrize("seed", [401, 643])
def test_a_dear_leg_may_pay_for_a_cheap_one(seed: int) -> None:
    """Without a band the prices that let nobody lose may lie beyond every limit."""
    problem = random_problem(seed)
    assert clear(problem, propose(problem, 20)).welfare_micro == best(problem).sure // 1_000


def test_whole_prices_are_found_where_rounding_fails() -> None:
    """The bundles leave 105,005 <= 3 p + 2 q <= 105,006, and every end and middle of that is a fraction."""
    ranges = ((20_000, 22_500), (20_003, 22_001))
    orders = tuple(
        SingleOrder(f"{side}{at}".encode(), at, side, 10, price)
        for at, (low, high) in enumerate(ranges)
        for side, price in ((Side.BUY, low), (Side.SELL, high))
    )
    orders += (SingleOrder(b"bid", 2, Side.BUY, 5, 30_000), SingleOrder(b"ask", 2, Side.SELL, 20, 21_000))
    seller = BundleOrder(b"s", Side.SELL, 21_001, ((0, 3), (1, 2)))
    buyer = BundleOrder(b"b", Side.BUY, 21_001, ((0, 3), (1, 2), (2, 1)))
    problem = Problem((0, 1, 2), orders, (seller, buyer))
    result = clear(problem, propose(problem, 5))
    prices = [interval.nodes[0].price_micro_per_kwh for interval in result.intervals]
    assert len(result.accepted) == 2
    assert 105_005 <= 3 * prices[0] + 2 * prices[1] <= 105_006


def test_half_of_the_time_goes_to_proof_and_then_a_search_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the time for proof a feasible session comes out, with the bound that was proved."""
    problem = next(p for p in map(random_problem, range(1_000)) if best(p).unpriced)
    exact = propose(problem, 20)

    class NoTime(model.Deadline):
        """Time that has gone after the first model."""

        def __init__(self, limit_s: float) -> None:
            super().__init__(limit_s)
            self._looks = 3 if limit_s < 20 else 10**6

        @property
        def left_s(self) -> float:
            self._looks -= 1
            return 10.0 if self._looks >= 0 else 0.0

    monkeypatch.setattr(highs, "Deadline", NoTime)
    hurried = propose(problem, 20)
    result = clear(problem, hurried)
    assert not result.outcome.startswith("fallback")
    assert hurried.welfare_micro <= exact.welfare_micro
    assert verify(certificate(problem, result)) == []


def test_without_time_the_session_goes_without_bundles() -> None:
    problem = random_problem(3)
    proposal = propose(Problem(problem.intervals, problem.orders, problem.bundles), 0.0)
    assert proposal.accepted == ()
    assert proposal.bound_micro is None
    result = clear(Problem(problem.intervals, problem.orders, problem.bundles), proposal)
    assert result.outcome == "feasible"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (lambda s: Solved(s.values, s.duals, s.objective * 2 + 1, s.bound, s.optimal), "exactly it is"),
        (lambda s: Solved(s.values, s.duals, s.objective, s.objective + 1, s.optimal), "proves a bound of"),
        (lambda s: Solved([1.0] * len(s.values), s.duals, s.objective, s.bound, s.optimal), "HiGHS"),
    ],
)
def test_what_highs_says_wrongly_is_a_failure(monkeypatch: pytest.MonkeyPatch, fault: object, cause: str) -> None:
    run = model.Highs.run

    def wrong(self: model.Highs, deadline: model.Deadline) -> Solved | None:
        solved = run(self, deadline)
        assert solved is not None
        assert callable(fault)
        changed: Solved = fault(solved)
        return changed if self._is_integral else solved

    problem = Problem(
        (0,),
        (SingleOrder(b"bid", 0, Side.BUY, 10, 30_000),),
        tuple(BundleOrder(f"b{n}".encode(), Side.SELL, 9_000 + n, ((0, 8),), group="g") for n in range(2)),
    )
    monkeypatch.setattr(model.Highs, "run", wrong)
    with pytest.raises(SolverFailedError, match=cause):
        propose(problem, 5)


def test_a_graph_with_a_circle_of_lines() -> None:
    """Energy takes the cheaper of two ways until it is full, then the other."""
    orders = (SingleOrder(b"ask", 0, Side.SELL, 20, 10_000, "a"), SingleOrder(b"bid", 0, Side.BUY, 15, 30_000, "c"))
    lines = (
        NetworkLine("a", "c", 1_000, (8,), (8,)),
        NetworkLine("a", "b", 1_000, (None,), (None,)),
        NetworkLine("b", "c", 1_000, (None,), (None,)),
    )
    result = clear(problem := Problem((0,), orders, (), lines), propose(problem, 5))
    assert result.outcome == "optimal"
    assert result.intervals[0].flows_wh == (8, 7, 7)
    assert {trade.grid_fee_micro_per_kwh for trade in result.trades} == {2_000}
    assert sum(trade.energy_wh for trade in result.trades) == 15
    assert verify(certificate(problem, result)) == []


def test_market_orders_cross_lines_within_the_band() -> None:
    orders = (
        SingleOrder(b"ask", 0, Side.SELL, 20, 390_000, "a"),
        SingleOrder(b"market", 0, Side.BUY, 5, None, "b"),
        SingleOrder(b"bid", 0, Side.BUY, 5, 395_000, "b"),
    )
    for fee, bought in ((1_000, 10), (6_000, 5), (20_000, 0)):
        lines = (NetworkLine("a", "b", fee, (None,), (None,)),)
        result = clear(problem := Problem((0,), orders, (), lines, band=(0, 400_000)), propose(problem, 5))
        assert result.outcome == "optimal"
        assert result.fills[b"ask"] == bought, "a market order never pays more than the band's upper price"
        assert verify(certificate(problem, result)) == []


def _block(
    key: str, side: Side, price: int, *legs: tuple[int, int], limits: tuple[tuple[int, int], ...] = ()
) -> BundleOrder[bytes]:
    return BundleOrder(key.encode(), side, price, legs, leg_limits=limits)


def test_bundles_that_trade_with_each_other_alone_stay_within_the_band() -> None:
    """Nothing but the two bundles and the band bounds the prices."""
    pair = (_block("s", Side.SELL, 40, (0, 3), (1, 2)), _block("b", Side.BUY, 60, (0, 3), (1, 2)))
    problem = Problem((0, 1), (), pair, (), band=(0, 50))
    result = clear(problem, propose(problem, 5))
    assert [key for key, _, _ in result.accepted] == [b"s", b"b"]
    assert all(interval.nodes[0].price_micro_per_kwh <= 50 for interval in result.intervals)
    dear = Problem((0, 1), (), (_block("s", Side.SELL, 51, (0, 3)), pair[1]), (), band=(0, 50))
    assert clear(dear, propose(dear, 5)).accepted == (), "no price within the band pays the seller"


def test_a_bid_below_the_band_waits_in_vain() -> None:
    """Net of a fee a bid may be worth less than the lowest price there is."""
    problem = Problem((0,), (SingleOrder(b"b", 0, Side.BUY, 20, -5, "a"),), (), _LINE, band=(0, 100))
    result = clear(problem, propose(problem, 5))
    assert (result.outcome, result.fills) == ("optimal", {b"b": 0})
    assert verify(certificate(problem, result)) == []


def test_a_network_without_orders_is_cleared() -> None:
    problem: Problem[bytes] = Problem((0,), (), (), _LINE, band=(0, 100))
    assert clear(problem, propose(problem, 5)).outcome == "optimal"


def test_a_broken_legs_limit_keeps_a_bundle_out() -> None:
    orders = (SingleOrder(b"bid", 0, Side.BUY, 20, 50), SingleOrder(b"ask", 0, Side.SELL, 20, 40))
    kept, broken = ((0, 40),), ((0, 41),)
    for limits, accepted in ((kept, 1), (broken, 0)):
        problem = Problem((0,), orders, (_block("x", Side.SELL, 20, (0, 10), limits=limits),))
        assert len(clear(problem, propose(problem, 5)).accepted) == accepted


def test_beyond_the_solvers_precision_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Wh beside 2**47 Wh is less than a tolerance in floating point, and HiGHS would not heed its time limit."""
    orders = (
        SingleOrder(b"ask", 0, Side.SELL, 2**48 - 1, 10**12 - 1),
        SingleOrder(b"bid", 0, Side.BUY, 2**48 - 1, 10**12),
    )
    bundles = (_block("large", Side.SELL, 10**12 - 5, (0, 2**47)), _block("small", Side.SELL, 10, (0, 1)))
    monkeypatch.setattr(model.Highs, "run", lambda *_: pytest.fail("HiGHS was asked"))
    with pytest.raises(SolverFailedError, match="too large for the solver"):
        propose(Problem((0,), orders, bundles), 5)
    energies = (replace(orders[0], price=2), replace(orders[1], price=3))
    with pytest.raises(SolverFailedError, match="too large for the solver"):
        propose(Problem((0,), energies, (_block("large", Side.SELL, 2, (0, 2**47)),)), 5)


def _book_with_lines(random: Random) -> Problem[bytes]:
    """Return a few orders, market orders and limits at the band's ends among them, at two or three joined nodes."""
    nodes = random.choice(["ab", "abc"])
    most_wh, high = random.choice([3, 100]), random.choice([10, 1_000, 500_000])
    orders = tuple(
        SingleOrder(
            f"o{number}".encode(),
            0,
            random.choice([Side.BUY, Side.SELL]),
            random.randint(1, most_wh),
            random.choice([None, random.randint(0, high), random.choice([0, high])]),
            random.choice(nodes),
        )
        for number in range(random.randint(2, 9))
    )
    limits = [random.choice([0, 1, 2, most_wh, None]) for _ in nodes[1:]]
    lines = tuple(
        NetworkLine(ends[0], ends[1], random.choice([0, 1, high // 3]), (limit,), (random.choice([0, limit]),))
        for ends, limit in zip(("ab", random.choice(["bc", "cb", "ac"])), limits, strict=False)
    )
    rule = ClearingRule(reference_price=random.choice([None, high // 4]))
    return Problem((0,), orders, (), lines, rule, (0, high))


def test_with_lines_there_are_prices_whenever_orders_keep_to_the_band() -> None:
    """Of 112 among 15,973 such books a bound from one side alone became a price that the line's fee made impossible."""
    random = Random(1)
    for _ in range(400):
        problem = _book_with_lines(random)
        result = clear(problem, propose(problem, 5))
        assert result.outcome == "optimal", problem
        assert verify(certificate(problem, result)) == [], problem


def test_an_end_without_a_bound_leaves_room_for_the_lines_fee() -> None:
    """The rejected ask alone bounds the price at a; at that price buyers at b would pay more than the band allows."""
    orders = (
        SingleOrder(b"market ask", 0, Side.SELL, 83, None, "a"),
        SingleOrder(b"dear", 0, Side.SELL, 5, 500_000, "a"),
        SingleOrder(b"market bid", 0, Side.BUY, 71, None, "b"),
    )
    problem = Problem((0,), orders, (), (NetworkLine("a", "b", 166_666, (None,), (0,)),), band=(0, 500_000))
    result = clear(problem, propose(problem, 5))
    prices = {priced.node: priced.price_micro_per_kwh for priced in result.intervals[0].nodes}
    assert result.outcome == "optimal"
    assert result.intervals[0].volume_wh == 71
    assert prices["b"] == prices["a"] + 166_666 <= 500_000


def test_an_interval_without_prices_is_left_out_and_the_others_are_solved() -> None:
    """A limit beyond the band, which no market lets in: at the price that it asks for nobody may trade."""
    line = NetworkLine("a", "b", 1_000, (9, 9), (9, 9))
    orders = tuple(
        SingleOrder(f"{side}{at}".encode(), at, side, 5, price, node)
        for at, dear in enumerate((0, 40_000))
        for side, price, node in ((Side.SELL, 10_000 + dear, "a"), (Side.BUY, 20_000 + dear, "b"))
    )
    problem = Problem((0, 1), orders, (_block("x", Side.SELL, 5_000, (0, 2)),), (line,), band=(0, 30_000))
    result = clear(problem, propose(problem, 5))
    assert result.outcome.startswith("partial fallback: interval 1: the proposal ")
    assert [interval.flows_wh for interval in result.intervals] == [(5,), (0,)]
    assert verify(certificate(problem, result)) == []


_LINE = (NetworkLine("a", "b", 5, (10,), (10,)),)
