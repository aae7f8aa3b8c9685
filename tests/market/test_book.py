"""The continuous book against a slow one, and what fast books get wrong."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
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
    assert len(half.heap) == len(half.by_rank) < 200
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
    assert half._empty == sum(not level.count for level in half.by_rank.values()) == 3


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


def test_an_order_takes_the_place_of_another() -> None:
    """First, middle, last and alone; the others keep theirs, and the level counts what is there now."""
    for place in range(3):
        book: Book[str] = Book()
        for key in "abc":
            book.add(Resting(key, Side.SELL, 7, 5, owner=key))
        old = "abc"[place]
        assert book.put_in_place(old, Resting("new", Side.SELL, 7, 3, owner="n")).key == old
        assert book.get(old) is None
        expected = ["a", "b", "c"]
        expected[place] = "new"
        (level,) = book.side(Side.SELL).levels()
        assert [resting.key for resting in level] == expected
        assert (level.count, level.energy_wh) == (3, 13)
        assert [fill.key for fill in book.match(Side.BUY, 13, 7).fills] == expected
        for key in expected:
            book.remove(key)
        assert (book.best(Side.SELL), len(book)) == (None, 0)


def test_an_order_at_market_takes_the_place_of_another() -> None:
    book: Book[str] = Book()
    for key in "abc":
        book.add(Resting(key, Side.BUY, None, 5))
    book.put_in_place("b", Resting("new", Side.BUY, None, 4))
    assert [resting.key for resting in book.waiting()] == ["a", "new", "c"]
    assert book.side(Side.BUY).at_market.energy_wh == 14


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 8), (Side.SELL, 7), (Side.BUY, None)])
def test_there_is_no_place_to_take_at_another_price(side: Side, price: int | None) -> None:
    book: Book[str] = Book()
    book.add(Resting("a", Side.BUY, 7, 5))
    with pytest.raises(AssertionError, match="only at the same price"):
        book.put_in_place("a", Resting("b", side, price, 5))
    assert book.get("a") is not None
    assert book.get("b") is None


def test_market_orders_wait_by_side_and_first_in_line() -> None:
    book: Book[str] = Book()
    for key, side, price in (("s", Side.SELL, None), ("b1", Side.BUY, 5), ("b2", Side.BUY, None), ("b3", Side.BUY, 6)):
        book.add(Resting(key, side, price, 1))
    assert [resting.key for resting in book.waiting()] == ["b2", "b3", "b1", "s"]
    assert book.content(Side.BUY) == [(None, [("b2", 1)]), (6, [("b3", 1)]), (5, [("b1", 1)])]
    assert book.match(Side.SELL, 5, None).fills == ((("b3"), 6, 1), ("b1", 5, 1))


def test_an_owners_market_order_that_waits_is_met_last() -> None:
    book: Book[str] = Book()
    book.add(Resting("mine", Side.SELL, None, 5, "me"))
    book.add(Resting("other", Side.SELL, 7, 5, "other"))
    assert book.match(Side.BUY, 5, 7, "me").self_trade is False
    assert book.match(Side.BUY, 6, 7, "me").self_trade is True
    assert book.match(Side.BUY, 6, 7, "me", gone={"mine"}).self_trade is False


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda book: pickle.loads(pickle.dumps(book))])
def test_a_book_is_copied_however_long_its_queues_are(copied: Callable[[Book[int]], Book[int]]) -> None:
    book: Book[int] = Book()
    for key in range(30_000):
        book.add(Resting(key, Side.SELL, 100 + key % 2, 1 + key % 3, "who", None, None, key, key + 1))
    twin = copied(book)
    assert twin.content(Side.SELL) == book.content(Side.SELL)
    twin.remove(5)
    assert len(book) == len(twin) + 1 == 30_000
    order = twin.get(6)
    assert order is not None
    assert (order.owner, order.expiry, order.sequence) == ("who", 6, 7)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2)), max_size=20),
    st.tuples(st.integers(1, 40), st.none() | st.integers(0, 6), st.integers(0, 2)),
)
@settings(max_examples=300, derandomize=True)
def test_taking_is_matching_and_filling(rest: list[tuple[int, int, int]], order: tuple[int, int | None, int]) -> None:
    one, two = Book[int](), Book[int]()
    for key, (price, energy_wh, owner) in enumerate(rest):
        for book in (one, two):
            book.add(Resting(key, Side.SELL, price, energy_wh, owner))
    energy_wh, limit, owner = order
    match = one.match(Side.BUY, energy_wh, limit, owner)
    gone = [fill.key for fill in match.fills if not one.fill(fill.key, fill.energy_wh).energy_wh]
    fills, remaining_wh, self_trade, taken = two.take(Side.BUY, energy_wh, limit, owner)
    assert (tuple(fills), remaining_wh, self_trade) == match
    assert [resting.key for resting in taken] == gone
    assert one.content(Side.SELL) == two.content(Side.SELL)
    assert [(level.count, level.energy_wh) for level in one.side(Side.SELL).levels()] == [
        (level.count, level.energy_wh) for level in two.side(Side.SELL).levels()
    ]


@given(st.lists(st.integers()))
def test_walking_a_heap_sorts_it_and_leaves_it(numbers: list[int]) -> None:
    heap = list(numbers)
    heapify(heap)
    before = list(heap)
    assert list(in_order(heap)) == sorted(numbers)
    assert heap == before
