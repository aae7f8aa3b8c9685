"""The continuous book against a slow one, and what fast books get wrong."""

from __future__ import annotations

import random
from heapq import heapify
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.market.book import Book, Resting, in_order
from coordinator.market.cases import clear_case
from coordinator.protocol.messages import Side
from tests.market.reference import SlowBook

_KEYS = st.sampled_from([str(number) for number in range(12)])
_WH = st.integers(0, 9)
_PRICES = st.integers(-3, 6)
_MESSAGES = st.lists(
    st.one_of(
        st.tuples(
            st.just("new"),
            _KEYS,
            st.sampled_from(["buy", "sell"]),
            _WH,
            st.one_of(st.none(), _PRICES),
            st.sampled_from(["gtc", "gtc", "ioc", "fok"]),
        ),
        st.tuples(st.just("cancel"), _KEYS),
        st.tuples(st.just("modify"), _KEYS, _WH, _PRICES),
    ),
    max_size=40,
)


def _agree(messages: list[Any]) -> None:
    slow = SlowBook()
    for message in messages:
        slow.handle(*message)
    fast = clear_case({"kind": "continuous", "messages": [list(message) for message in messages]})
    fast["rejected_ids"] = [key for key, _ in fast.pop("rejected")]
    assert fast == slow.result()


@given(_MESSAGES)
@settings(max_examples=500)
def test_any_messages(messages: list[Any]) -> None:
    _agree(messages)


@pytest.mark.parametrize("seed", range(4))
def test_long_runs(seed: int) -> None:
    rng = random.Random(seed)
    _agree([_random_message(rng, number) for number in range(3_000)])


def _random_message(rng: random.Random, number: int) -> tuple[Any, ...]:
    """A quarter cancel, a tenth modify, the rest are new orders around a wandering middle."""
    middle = 100 + number // 100
    recent = str(rng.randrange(max(0, number - 60), number + 1))
    kind = rng.random()
    if kind < 0.25:
        return ("cancel", recent)
    if kind < 0.35:
        return ("modify", recent, rng.randint(1, 20), middle + rng.randint(-6, 6))
    side = rng.choice(["buy", "sell"])
    away = rng.randint(-2, 8) * (-1 if side == "buy" else 1)
    price = None if kind > 0.92 else middle + away
    return ("new", str(number), side, rng.randint(1, 20), price, rng.choice(["gtc"] * 6 + ["ioc", "fok"]))


def test_a_deep_sweep_takes_every_order_in_turn() -> None:
    book: Book[int] = Book()
    for key in range(20_000):
        book.add(Resting(key, Side.SELL, 100 + key % 50, 1))
    match = book.match(Side.BUY, 20_000, None)
    assert [fill.key for fill in match.fills] == sorted(range(20_000), key=lambda key: (key % 50, key))
    assert match.remaining_wh == 0
    assert sum(level.energy_wh for level in book.side(Side.SELL).levels()) == 20_000, "matching only looks"


def test_a_storm_of_cancels_leaves_nothing_behind() -> None:
    book: Book[int] = Book()
    book.add(Resting(-1, Side.BUY, 10**6, 1))
    for key in range(10_000):
        book.add(Resting(key, Side.BUY, key, 5))
        book.remove(key)
    half = book.side(Side.BUY)
    assert half.best() == 10**6
    assert len(half._heap) == len(half._levels) < 200
    book.remove(-1)
    assert half.best() is None
    assert list(half.levels()) == []


def test_empty_levels_are_counted() -> None:
    """A price that fills and empties again and again is one empty level, not many."""
    book: Book[int] = Book()
    book.add(Resting(-1, Side.SELL, 1, 1))
    for key in range(300):
        book.add(Resting(key, Side.SELL, 2 + key % 3, 5))
        book.remove(key)
    half = book.side(Side.SELL)
    assert half._empty == sum(not level.queue for level in half._levels.values()) == 3


def test_the_best_price_follows_a_cancel() -> None:
    book: Book[str] = Book()
    for key, price in (("a", 3), ("b", 5), ("c", 4)):
        book.add(Resting(key, Side.BUY, price, 1))
    book.remove("b")
    assert book.side(Side.BUY).best() == 4
    book.add(Resting("d", Side.BUY, 5, 1))
    assert [level.price for level in book.side(Side.BUY).levels()] == [5, 4, 3]


def test_a_match_ends_at_its_own_account() -> None:
    book: Book[str] = Book()
    for key, owner in (("a", "other"), ("b", "me"), ("c", "other")):
        book.add(Resting(key, Side.SELL, 7, 2, owner))
    match = book.match(Side.BUY, 5, 7, owner="me")
    assert ([fill.key for fill in match.fills], match.remaining_wh, match.self_trade) == (["a"], 3, True)
    passing = book.match(Side.BUY, 4, 7, owner="me", gone={"b"})
    assert ([fill.key for fill in passing.fills], passing.self_trade) == (["a", "c"], False)


@given(st.lists(st.integers()))
def test_walking_a_heap_sorts_it_and_leaves_it(numbers: list[int]) -> None:
    heap = list(numbers)
    heapify(heap)
    before = list(heap)
    assert list(in_order(heap)) == sorted(numbers)
    assert heap == before
