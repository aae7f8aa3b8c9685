"""The call auction against brute force, and the properties that members rely on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordinator.market.auction import AuctionOrder, AuctionResult, clear_uniform
from coordinator.market.mechanisms import halves
from coordinator.market.rules import ClearingRule, PriceRule, TieRule
from coordinator.protocol.messages import Side
from tests.market.plain_auction import clear_plainly
from tests.market.reference import Plain, exchange_price, largest_volume, supporting_range

_SEEDED = settings(derandomize=True, deadline=None)
_LIMITS = st.one_of(st.none(), st.integers(-4, 12))
_ORDERS = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 9), _LIMITS), max_size=12)
_TIES: st.SearchStrategy[TieRule] = st.sampled_from(["pro_rata", "time"])
_REFERENCES = st.integers(-6, 14)


def _cleared(orders: Sequence[Plain], rule: ClearingRule, band: tuple[int, int] | None = None) -> AuctionResult[int]:
    auction = [AuctionOrder(number, Side(side), wh, limit) for number, (side, wh, limit) in enumerate(orders)]
    return clear_uniform(auction, rule, band)


@given(_ORDERS, _TIES, _REFERENCES)
@settings(_SEEDED, max_examples=500)
@example([("buy", 2, None), ("buy", 3, 1), ("sell", 1, 0), ("sell", 3, 3), ("sell", 1, None)], "time", 0)
@example([("buy", 5, None), ("sell", 5, None), ("buy", 1, 3), ("sell", 1, 6)], "time", 4)
def test_volume_range_and_price_are_those_of_brute_force(orders: list[Plain], ties: TieRule, reference: int) -> None:
    middle = _cleared(orders, ClearingRule(reference_price=reference, ties=ties))
    nearest = _cleared(orders, ClearingRule(price="reference", reference_price=reference, ties=ties))
    volume = largest_volume(orders)
    assert middle.volume_wh == nearest.volume_wh == volume
    if not volume:
        assert (middle.price_micro_per_kwh, nearest.price_micro_per_kwh, middle.price_range) == (None, None, None)
        return
    low, high = supporting_range(orders, volume) or (reference, reference)
    assert middle.price_range == nearest.price_range == (low, high)
    assert middle.price_micro_per_kwh == (low + high) // 2
    assert nearest.price_micro_per_kwh == exchange_price(orders, reference)
    assert low <= nearest.price_micro_per_kwh <= high


_BANDS = st.one_of(st.none(), st.just((-5, 13)))
_LONG_BOOKS = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 99), _LIMITS), max_size=60)


@given(_LONG_BOOKS, _TIES, st.sampled_from(["midpoint", "reference"]), st.one_of(st.none(), _REFERENCES), _BANDS)
@settings(_SEEDED, max_examples=400)
def test_sorted_arrays_find_what_plain_python_finds(
    orders: list[Plain], ties: TieRule, price: PriceRule, reference: int | None, band: tuple[int, int] | None
) -> None:
    rule = ClearingRule(price=price, reference_price=reference, ties=ties)
    auction = [AuctionOrder(number, Side(side), wh, limit) for number, (side, wh, limit) in enumerate(orders)]
    assert clear_uniform(auction, rule, band) == clear_plainly(auction, rule, band)


@given(_LONG_BOOKS, _TIES, st.integers(30, 60), st.sampled_from([1, 10**12]))
@settings(_SEEDED, max_examples=200)
def test_sums_beyond_64_bits_are_exact(orders: list[Plain], ties: TieRule, bits: int, scale: int) -> None:
    rule = ClearingRule(ties=ties)
    auction = [
        AuctionOrder(number, Side(side), (wh << bits) + number, None if limit is None else limit * scale)
        for number, (side, wh, limit) in enumerate(orders)
    ]
    result = clear_uniform(auction, rule)
    assert result == clear_plainly(auction, rule)
    assert {type(wh) for wh in [result.volume_wh, *result.fills.values()]} == {int}


def test_small_sums_take_64_bits_and_large_ones_do_not() -> None:
    small = halves.Halves.of([AuctionOrder(1, Side.BUY, 2**30, 10**6), AuctionOrder(2, Side.SELL, 2**30, 1)])
    large = halves.Halves.of([AuctionOrder(1, Side.BUY, 2**48, 10**6), AuctionOrder(2, Side.SELL, 2**48, 1)])
    assert [str(half.bids.energy_wh.dtype) for half in (small, large)] == ["int64", "object"]
    assert large.bids.worth(large.bids.energy_wh, 0) == 2**48 * 10**6


@given(_ORDERS, _TIES)
@settings(_SEEDED, max_examples=300)
def test_an_auction_is_fair_and_balanced(orders: list[Plain], ties: TieRule) -> None:
    orders = [(side, wh, None if limit is None else 1000 * limit) for side, wh, limit in orders]
    result = _cleared(orders, ClearingRule(ties=ties), band=(-4000, 12_000))
    price = result.price_micro_per_kwh
    bought = {key: sum(t.energy_wh for t in result.trades if t.buy == key) for key in result.fills}
    sold = {key: sum(t.energy_wh for t in result.trades if t.sell == key) for key in result.fills}
    for key, (side, wh, limit) in enumerate(orders):
        filled = result.fills[key]
        mine, other = (bought, sold) if side == "buy" else (sold, bought)
        assert (mine[key], other[key]) == (filled, 0)
        assert 0 <= filled <= wh
        if limit is None or price is None:
            continue
        gain = limit - price if side == "buy" else price - limit
        assert not filled or gain >= 0, "accepted out of the money"
        assert filled == wh or gain <= 0, "rejected in the money"
    assert sum(bought.values()) == sum(sold.values()) == result.volume_wh
    gains = [
        trade.energy_wh * (_worth(orders[trade.buy], price) - _worth(orders[trade.sell], price))
        for trade in result.trades
    ]
    assert result.welfare_micro == sum(gains) // 1000
    assert all(trade.energy_wh > 0 and trade.price_micro_per_kwh == price for trade in result.trades)


def _worth(order: Plain, price: int | None) -> int:
    """What a kWh is worth to an order; to a market order, the price."""
    worth = price if order[2] is None else order[2]
    assert worth is not None
    return worth


@given(_ORDERS, _TIES, st.data())
@_SEEDED
def test_a_better_limit_never_gets_less(orders: list[Plain], ties: TieRule, data: st.DataObject) -> None:
    limited = [key for key, (_, _, limit) in enumerate(orders) if limit is not None]
    if not limited:
        return
    key = data.draw(st.sampled_from(limited))
    side, wh, limit = orders[key]
    assert limit is not None
    step = data.draw(st.integers(1, 5)) * (1 if side == "buy" else -1)
    better = [*orders[:key], (side, wh, limit + step), *orders[key + 1 :]]
    rule = ClearingRule(reference_price=4, ties=ties)
    assert _cleared(better, rule).fills[key] >= _cleared(orders, rule).fills[key]


@given(_ORDERS, st.randoms(use_true_random=False))
@_SEEDED
def test_arrival_matters_only_among_equals_at_the_margin(orders: list[Plain], random: Any) -> None:
    rule = ClearingRule(reference_price=4, ties="time")
    numbers = list(range(len(orders)))
    random.shuffle(numbers)
    one, other = _cleared(orders, rule), _cleared([orders[number] for number in numbers], rule)
    assert one.price_range == other.price_range
    assert one.price_micro_per_kwh == other.price_micro_per_kwh
    assert (one.volume_wh, one.welfare_micro) == (other.volume_wh, other.welfare_micro)
    for place, number in enumerate(numbers):
        limit = orders[number][2]
        if limit is not None and one.price_range and not one.price_range[0] <= limit <= one.price_range[1]:
            assert other.fills[place] == one.fills[number]


@given(_ORDERS, _TIES, st.data())
@_SEEDED
def test_splitting_an_order_changes_no_price(orders: list[Plain], ties: TieRule, data: st.DataObject) -> None:
    splittable = [key for key, (_, wh, _) in enumerate(orders) if wh > 1]
    if not splittable:
        return
    key = data.draw(st.sampled_from(splittable))
    side, wh, limit = orders[key]
    part = data.draw(st.integers(1, wh - 1))
    split = [*orders[:key], (side, part, limit), (side, wh - part, limit), *orders[key + 1 :]]
    rule = ClearingRule(reference_price=4, ties=ties)
    one, other = _cleared(orders, rule), _cleared(split, rule)
    assert one.price_micro_per_kwh == other.price_micro_per_kwh
    assert (one.volume_wh, one.welfare_micro) == (other.volume_wh, other.welfare_micro)
    if ties == "time":
        assert other.fills[key] + other.fills[key + 1] == one.fills[key]


@pytest.mark.parametrize(
    ("reference", "band", "price"),
    [(None, None, None), (None, (10, 31), 20), (50, (10, 31), 31), (5, (10, 31), 10), (5, None, 5)],
)
def test_market_orders_alone(reference: int | None, band: tuple[int, int] | None, price: int | None) -> None:
    """Nothing but a reference or a band says at what price."""
    orders: list[Plain] = [("buy", 10, None), ("sell", 4, None)]
    for result in (
        _cleared(orders, ClearingRule(reference_price=reference), band),
        _cleared(orders, ClearingRule(price="reference", reference_price=reference), band),
    ):
        assert result.price_micro_per_kwh == price
        assert result.volume_wh == (0 if price is None else 4)
        assert result.surplus_wh == (0 if price is None else 6)


def test_reference_rule_without_a_reference_price_takes_the_middle() -> None:
    orders: list[Plain] = [("buy", 10, 202), ("sell", 10, 199)]
    assert _cleared(orders, ClearingRule(price="reference")).price_micro_per_kwh == 200


def test_the_name_of_a_rule() -> None:
    assert ClearingRule().name == "uniform-midpoint-pro_rata/1"
    assert ClearingRule(price="reference", ties="time", version=2).name == "uniform-reference-time/2"
