"""Preferences: as much preferred energy as can be, at what is needed only, and nobody worse off than without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.market.auction import AuctionOrder, clear
from coordinator.market.preferences import Party, pair
from coordinator.market.preferences.parties import Kinds
from coordinator.market.problem import ProblemTrade
from coordinator.market.rules import ClearingRule, Mechanism
from coordinator.protocol.messages import Side
from coordinator.protocol.order_terms import ZERO_ADDRESS, Preferences

_SEEDED = settings(derandomize=True, deadline=None)
_ACCOUNTS = [f"0x{number:040x}" for number in range(1, 6)]
_GREEN = Preferences(green=True)


@st.composite
def _parties(draw: st.DrawFn) -> list[Party[int]]:
    """Up to ten open orders of five accounts at two nodes; half of them with preferences."""
    nodes = draw(st.lists(st.sampled_from("ab"), min_size=5, max_size=5))
    green = draw(st.lists(st.booleans(), min_size=5, max_size=5))
    parties = []
    for key in range(draw(st.integers(2, 10))):
        owner = draw(st.integers(0, 4))
        side = draw(st.sampled_from(list(Side)))
        limit = draw(st.one_of(st.none(), st.integers(0, 30)))
        wanted = draw(_preferences(side, limit)) if limit is not None and draw(st.booleans()) else None
        place = {"node": nodes[owner], "is_green": green[owner]}
        parties.append(Party(key, _ACCOUNTS[owner], side, draw(st.integers(1, 9)), limit, wanted, **place))  # type: ignore[arg-type]
    return parties


def _preferences(side: Side, limit: int) -> st.SearchStrategy[Preferences]:
    others = st.integers(0, limit) if side is Side.BUY else st.integers(limit, 40)
    partners = st.sampled_from([ZERO_ADDRESS, ZERO_ADDRESS, *_ACCOUNTS[:2]])
    return st.builds(Preferences, st.booleans(), st.booleans(), partners, st.one_of(st.none(), others))


def _plain(parties: Sequence[Party[int]], mechanism: Mechanism = "uniform") -> list[ProblemTrade[int]]:
    """Clear everybody at the limit that holds towards anyone."""
    seen = [party for party in parties if party.takes_part]
    orders = [AuctionOrder(party.key, party.side, party.energy_wh, party.auction_limit) for party in seen]
    result = clear(orders, ClearingRule(mechanism=mechanism), (0, 40))
    return [
        ProblemTrade(0, trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh, trade.fee_micro_per_kwh)
        for trade in result.trades
    ]


def _filled(trades: Sequence[ProblemTrade[int]]) -> dict[int, int]:
    filled: dict[int, int] = defaultdict(int)
    for trade in trades:
        filled[trade.buy] += trade.energy_wh
        filled[trade.sell] += trade.energy_wh
    return filled


def _gains(parties: Sequence[Party[int]], trades: Sequence[ProblemTrade[int]], *, plain: bool) -> dict[int, int]:
    """Return what each order gains; plainly, all counterparties are worth the same. Market orders count money alone."""
    known = {party.key: party for party in parties}
    gains: dict[int, int] = defaultdict(int)
    for trade in trades:
        buyer, seller = known[trade.buy], known[trade.sell]
        value = buyer.limit if buyer.prefers(seller) and not plain else buyer.auction_limit
        cost = seller.limit if seller.prefers(buyer) and not plain else seller.auction_limit
        gains[trade.buy] += trade.energy_wh * ((value or 0) - trade.price_micro_per_kwh - trade.grid_fee_micro_per_kwh)
        gains[trade.sell] += trade.energy_wh * (trade.price_micro_per_kwh - (cost or 0))
    return gains


@given(_parties(), st.booleans(), st.sampled_from(["uniform", "pay_as_bid", "mcafee"]))
@settings(_SEEDED, max_examples=250)
def test_nobody_gains_less_than_by_plain_matching(parties: list[Party[int]], by_node: bool, rule: Mechanism) -> None:
    plain = _plain(parties, rule)
    paired = pair(plain, parties, by_node=by_node)
    before, after = _gains(parties, plain, plain=True), _gains(parties, paired, plain=False)
    took, takes = _filled(plain), _filled(paired)
    for party in parties:
        if party.limit is not None or takes[party.key] == took[party.key]:
            assert after[party.key] >= before[party.key]
        assert took[party.key] <= takes[party.key] <= party.energy_wh


@given(_parties(), st.booleans())
@settings(_SEEDED, max_examples=250)
def test_every_limit_holds_towards_every_counterparty(parties: list[Party[int]], by_node: bool) -> None:
    known = {party.key: party for party in parties}
    for trade in pair(_plain(parties), parties, by_node=by_node):
        buyer, seller = known[trade.buy], known[trade.sell]
        assert trade.energy_wh > 0
        assert (buyer.side, seller.side) == (Side.BUY, Side.SELL)
        for party, other, sign in ((buyer, seller, 1), (seller, buyer, -1)):
            preferred = party.prefers(other)
            assert preferred or party.takes_part, "traded with somebody whom it excludes"
            limit = party.limit if preferred else party.auction_limit
            assert limit is None or sign * (limit - trade.price_micro_per_kwh) >= 0


@given(_parties(), st.booleans())
@settings(_SEEDED, max_examples=200)
def test_what_the_auction_executed_stays(parties: list[Party[int]], by_node: bool) -> None:
    """The parties who trade the same energy anew do it at the auction's price but for premiums from buyer to seller."""
    plain = _plain(parties)
    paired = pair(plain, parties, by_node=by_node)
    took, takes = _filled(plain), _filled(paired)
    assert all(takes[key] >= took[key] for key in took)
    if all(takes[party.key] == took[party.key] for party in parties):
        assert sum(trade.energy_wh for trade in paired) == sum(trade.energy_wh for trade in plain)
    assert pair(plain, [replace(party, preferences=None) for party in parties]) == tuple(plain)
    assert pair(plain, parties, by_node=by_node) == paired, "the same again"


@given(_parties())
@settings(_SEEDED, max_examples=200)
def test_as_much_preferred_energy_meets_as_can(parties: list[Party[int]]) -> None:
    """Against the largest flow between the orders, Wh by Wh."""
    buyers = [party if party.side is Side.BUY else replace(party, preferences=None) for party in parties]
    known = {party.key: party for party in buyers}
    plain = _plain(buyers)
    executed = _filled(plain)
    closed = [replace(party, energy_wh=max(1, executed[party.key])) for party in buyers]
    inside = [trade for trade in pair(plain, closed) if executed[trade.buy] and executed[trade.sell]]
    met = sum(trade.energy_wh for trade in inside if known[trade.buy].prefers(known[trade.sell]))
    bids = [party for party in buyers if party.side is Side.BUY for _ in range(executed[party.key])]
    asks = [party for party in buyers if party.side is Side.SELL for _ in range(executed[party.key])]
    assert met == _largest_meeting(bids, asks)


def _largest_meeting(bids: list[Party[int]], asks: list[Party[int]]) -> int:
    """Kuhn's algorithm on single Wh."""
    holder: dict[int, int] = {}

    def finds(bid: int, tried: set[int]) -> bool:
        for ask, seller in enumerate(asks):
            if bids[bid].prefers(seller) and ask not in tried:
                tried.add(ask)
                if ask not in holder or finds(holder[ask], tried):
                    holder[ask] = bid
                    return True
        return False

    return sum(finds(bid, set()) for bid in range(len(bids)))


@given(_parties())
@settings(_SEEDED, max_examples=200)
def test_a_premium_is_what_others_lose_by_the_taker(parties: list[Party[int]]) -> None:
    """Against the best choice of single Wh with and without the account: as in a Vickrey auction, but for rounding."""
    buyers = [party if party.side is Side.BUY else replace(party, preferences=None) for party in parties]
    known = {party.key: party for party in buyers}
    plain = _plain(buyers)
    if not plain:
        return
    price, executed = plain[0].price_micro_per_kwh, _filled(plain)
    trades = [trade for trade in pair(plain, buyers) if executed[trade.buy] and executed[trade.sell]]
    trades = trades[: _prefix(trades, sum(trade.energy_wh for trade in plain))]
    bids = [party for party in buyers if party.side is Side.BUY for _ in range(executed[party.key])]
    asks = [party for party in buyers if party.side is Side.SELL for _ in range(executed[party.key])]
    for account in _ACCOUNTS:
        mine = [t for t in trades if known[t.buy].account == account]
        paid = sum(t.energy_wh * (t.price_micro_per_kwh - price) for t in mine)
        got = sum(known[t.buy].premium * t.energy_wh for t in mine if known[t.buy].prefers(known[t.sell]))
        others = [bid for bid in bids if bid.account != account]
        lost = _worth(others, asks) - (_worth(bids, asks) - got)
        assert lost - sum(t.energy_wh for t in mine) < paid <= lost or paid == lost
        for trade in mine:
            premium = trade.price_micro_per_kwh - price
            assert 0 <= premium <= known[trade.buy].premium
            assert not premium or known[trade.buy].prefers(known[trade.sell])


def _worth(bids: list[Party[int]], asks: list[Party[int]]) -> int:
    """Return what the largest premiums add up to that can meet at once (greedily: those that can are a matroid)."""
    chosen: list[Party[int]] = []
    for bid in sorted(bids, key=lambda party: -party.premium):
        if _largest_meeting([*chosen, bid], asks) > len(chosen):
            chosen.append(bid)
    return sum(bid.premium for bid in chosen)


def _prefix(trades: Sequence[ProblemTrade[int]], energy_wh: int) -> int:
    """Return how many of the trades are the auction's; the leftovers' come after them."""
    for count, trade in enumerate(trades, 1):
        energy_wh -= trade.energy_wh
        if energy_wh <= 0:
            return count
    return len(trades)


@dataclass(frozen=True)
class _Street:
    """Orders by name; the account has the same name."""

    parties: list[Party[str]]

    @classmethod
    def of(cls, *rows: tuple[str, str, int, int | None, Preferences | None, str]) -> _Street:
        """Each row: name, side, energy, limit, preferences, node with a + for green energy."""
        return cls(
            [
                Party(name, name, Side(side), wh, limit, wanted, place.strip("+"), "+" in place)
                for name, side, wh, limit, wanted, place in rows
            ]
        )

    def trades(self, *, by_node: bool = False) -> list[tuple[str, str, int, int]]:
        seen = [party for party in self.parties if party.takes_part]
        orders = [AuctionOrder(party.key, party.side, party.energy_wh, party.auction_limit) for party in seen]
        plain = [
            ProblemTrade(0, trade.buy, trade.sell, trade.energy_wh, trade.price_micro_per_kwh)
            for trade in clear(orders, ClearingRule()).trades
        ]
        paired = pair(plain, self.parties, by_node=by_node)
        return [(t.buy, t.sell, t.energy_wh, t.price_micro_per_kwh) for t in paired]


def _wants(other: int | None, **asked: bool | str) -> Preferences:
    return Preferences(**asked, other_limit_price_micro_per_kwh=other)  # type: ignore[arg-type]


def test_enough_green_energy_costs_no_premium() -> None:
    street = _Street.of(
        ("eve", "buy", 5, 30, None, ""),
        ("ann", "buy", 5, 30, _wants(20, green=True), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("gas", "sell", 5, 10, None, ""),
    )
    assert street.trades() == [("ann", "sun", 5, 15), ("eve", "gas", 5, 15)]


def test_scarce_green_energy_goes_to_the_highest_premium_at_the_next_ones() -> None:
    street = _Street.of(
        ("ann", "buy", 5, 24, _wants(20, green=True), ""),
        ("bob", "buy", 5, 29, _wants(20, green=True), ""),
        ("cem", "buy", 5, 22, _wants(20, green=True), ""),
        ("gas", "sell", 10, 10, None, ""),
        ("sun", "sell", 5, 10, None, "+"),
    )
    assert street.trades() == [("bob", "sun", 5, 19), ("ann", "gas", 5, 15), ("cem", "gas", 5, 15)]


def test_nobody_is_its_own_rival() -> None:
    """Ann alone wants green energy, and more than there is: nobody makes her pay for it. Dan would, at his two."""
    ann = ("ann", "buy", 10, 24, _wants(20, green=True), "")
    dan = ("dan", "buy", 2, 22, _wants(20, green=True), "")
    sun = ("sun", "sell", 5, 10, None, "+")
    assert _Street.of(ann, ("gas", "sell", 5, 10, None, ""), sun).trades()[0] == ("ann", "sun", 5, 15)
    both = _Street.of(ann, dan, ("gas", "sell", 7, 10, None, ""), sun).trades()
    assert both[:2] == [("ann", "sun", 2, 17), ("ann", "sun", 3, 15)], "for the two Wh that dan went without"


def test_who_got_a_part_only_is_a_rival_still() -> None:
    street = _Street.of(
        ("bob", "buy", 5, 29, _wants(20, green=True), ""),
        ("ann", "buy", 5, 24, _wants(20, green=True), ""),
        ("gas", "sell", 3, 10, None, ""),
        ("sun", "sell", 7, 10, None, "+"),
    )
    assert street.trades()[:3] == [("bob", "sun", 3, 19), ("bob", "sun", 2, 15), ("ann", "sun", 2, 15)]


def test_a_shill_for_one_wh_costs_one_whs_premium() -> None:
    street = _Street.of(
        ("ann", "buy", 100, 300, _wants(20, green=True), ""),
        ("shill", "buy", 1, 299, _wants(20, green=True), ""),
        ("sun", "sell", 60, 10, None, "+"),
        ("win", "sell", 40, 10, None, "+"),
        ("gas", "sell", 1, 10, None, ""),
    )
    assert street.trades()[:2] == [("ann", "sun", 1, 294), ("ann", "sun", 59, 15)]
    assert street.trades()[2:] == [("ann", "win", 40, 15), ("shill", "gas", 1, 15)]


def test_rivals_that_one_taker_displaces_are_paid_for_at_their_mean() -> None:
    """Ann keeps 3 Wh from bob and 2 from cem; cem's other 3 would have had no room without her either."""
    street = _Street.of(
        ("ann", "buy", 5, 40, _wants(20, green=True), ""),
        ("bob", "buy", 3, 29, _wants(20, green=True), ""),
        ("cem", "buy", 5, 24, _wants(20, green=True), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("gas", "sell", 8, 10, None, ""),
    )
    assert street.trades()[0] == ("ann", "sun", 5, 15 + (3 * 9 + 2 * 4) // 5)


def test_who_is_kept_from_one_plant_by_another_taker_is_not_charged_to_the_first() -> None:
    """Cem wants the wind, which bob has; ann, whose sun nobody else wants, pays nothing."""
    street = _Street.of(
        ("ann", "buy", 5, 40, _wants(20, partner="sun"), ""),
        ("bob", "buy", 5, 32, _wants(20, partner="win"), ""),
        ("cem", "buy", 5, 24, _wants(20, partner="win"), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("win", "sell", 5, 10, None, "+"),
        ("gas", "sell", 5, 10, None, ""),
    )
    assert street.trades()[:2] == [("ann", "sun", 5, 15), ("bob", "win", 5, 19)]


def test_a_displaced_rival_is_found_along_who_would_make_room() -> None:
    """Without ann, bob would take the sun and leave the wind to cem: she pays cem's premium, and bob none."""
    street = _Street.of(
        ("ann", "buy", 5, 40, _wants(20, partner="sun"), ""),
        ("bob", "buy", 5, 32, _wants(20, green=True), ""),
        ("cem", "buy", 5, 24, _wants(20, partner="win"), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("win", "sell", 5, 10, None, "+"),
        ("gas", "sell", 5, 10, None, ""),
    )
    assert street.trades()[:2] == [("ann", "sun", 5, 19), ("bob", "win", 5, 19)]


def test_a_partner_without_an_order_is_nobody() -> None:
    """However many absent partners are named, all who name them are one kind, and no pair is looked at."""
    parties = [
        Party(
            key, f"home{key % 50}", Side.BUY if key % 2 else Side.SELL, 1, 30, _wants(30, green=True, partner=f"g{key}")
        )
        for key in range(1200)
    ]
    kinds = Kinds(parties)
    assert len({kinds.of(party.key) for party in parties if party.side is Side.BUY}) == 1
    assert len({kinds.of(party.key) for party in parties}) == 2
    assert pair((), parties) == ()


def test_only_those_are_looked_at_who_can_be_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    parties = [
        *(Party(f"b{n}", f"b{n}", Side.BUY, 1, 30, _wants(None, partner=f"s{n}")) for n in range(100)),
        *(Party(f"s{n}", f"s{n}", Side.SELL, 1, 10, None) for n in range(100)),
    ]
    asked: list[tuple[str, str]] = []
    known = Party.prefers

    def prefers(self: Party[str], other: Party[str]) -> bool:
        asked.append((self.key, other.key))
        return known(self, other)

    monkeypatch.setattr(Party, "prefers", prefers)
    assert len(pair((), parties)) == 100
    assert {frozenset(both) for both in asked} == {frozenset({f"b{n}", f"s{n}"}) for n in range(100)}


def test_a_seller_may_grant_a_discount_to_its_partner() -> None:
    street = _Street.of(
        ("eve", "buy", 5, 20, None, ""),
        ("pal", "buy", 5, 20, None, ""),
        ("sun", "sell", 5, 4, _wants(10, partner="pal"), ""),
        ("sol", "sell", 5, 7, _wants(10, partner="pal"), ""),
    )
    assert street.trades() == [("pal", "sun", 5, 12), ("eve", "sol", 5, 15)]


def test_who_trades_with_preferred_ones_alone_meets_them_among_what_is_left() -> None:
    street = _Street.of(
        ("eve", "buy", 5, 12, None, "a"),
        ("ann", "buy", 7, 30, _wants(None, local=True), "b"),
        ("gas", "sell", 5, 10, None, "a"),
        ("sun", "sell", 4, 25, None, "b"),
        ("far", "sell", 4, 11, None, "a"),
    )
    assert street.trades() == [("eve", "gas", 5, 10), ("ann", "sun", 4, 27)]


@pytest.mark.parametrize(("limit", "price"), [(None, 30), (20, 25)])
def test_leftovers_trade_at_the_middle_or_at_the_only_limit(limit: int | None, price: int) -> None:
    street = _Street.of(
        ("ann", "buy", 7, 30, _wants(None, partner="sun"), ""),
        ("sun", "sell", 4, limit, None, ""),
    )
    assert street.trades() == [("ann", "sun", 4, price)]


def test_nobody_prefers_itself() -> None:
    parties = [
        Party("buy", "ann", Side.BUY, 5, 30, _wants(None, green=True), is_green=True),
        Party("sell", "ann", Side.SELL, 5, 10, None, is_green=True),
    ]
    assert pair((), parties) == ()
    assert pair((), [parties[0], replace(parties[1], account="sun")]) == (ProblemTrade(0, "buy", "sell", 5, 20),)


def test_redirecting_one_taker_makes_room_for_another() -> None:
    """Bob could take either plant; ann only sun's. Both get what they prefer."""
    street = _Street.of(
        ("bob", "buy", 5, 29, _wants(20, green=True), ""),
        ("ann", "buy", 5, 24, _wants(20, partner="sun"), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("win", "sell", 5, 10, None, "+"),
    )
    assert sorted(street.trades()) == [("ann", "sun", 5, 15), ("bob", "win", 5, 15)]


def test_no_more_is_redirected_than_there_is_to_redirect() -> None:
    """Ann takes sun's spare 2 and the 3 that bob can get elsewhere; her other 3 are anybody's."""
    street = _Street.of(
        ("bob", "buy", 3, 29, _wants(20, green=True), ""),
        ("ann", "buy", 8, 24, _wants(20, partner="sun"), ""),
        ("sun", "sell", 5, 10, None, "+"),
        ("win", "sell", 6, 10, None, "+"),
    )
    assert sorted(street.trades()) == [("ann", "sun", 5, 15), ("ann", "win", 3, 15), ("bob", "win", 3, 15)]


def test_bundles_and_other_intervals_stay_as_they_are() -> None:
    trades = [
        ProblemTrade(0, "ann", "bundle", 3, 15),
        ProblemTrade(0, "ann", "gas", 2, 15),
        ProblemTrade(0, "eve", "sun", 2, 15),
        ProblemTrade(1, "dan", "sol", 2, 18),
    ]
    parties = [
        Party("ann", "ann", Side.BUY, 5, 30, _wants(20, green=True)),
        Party("eve", "eve", Side.BUY, 2, 30),
        Party("gas", "gas", Side.SELL, 2, 10),
        Party("sun", "sun", Side.SELL, 2, 10, is_green=True),
        Party("dan", "dan", Side.BUY, 2, 30, _wants(20, green=True), interval=1),
        Party("sol", "sol", Side.SELL, 2, 10, interval=1),
    ]
    assert pair(trades, parties) == (
        ProblemTrade(0, "ann", "bundle", 3, 15),
        ProblemTrade(0, "ann", "sun", 2, 15),
        ProblemTrade(0, "eve", "gas", 2, 15),
        ProblemTrade(1, "dan", "sol", 2, 18),
    )


def test_at_a_node_the_local_energy_goes_to_who_wants_it() -> None:
    """Both buyers are at b and pay 18; ann wants b's own energy, which eve was laid beside."""
    trades = [ProblemTrade(0, "eve", "sun", 4, 18), ProblemTrade(0, "ann", "far", 4, 15, 3)]
    parties = [
        Party("eve", "eve", Side.BUY, 4, 30, None, "b"),
        Party("ann", "ann", Side.BUY, 4, 30, _wants(20, local=True), "b"),
        Party("sun", "sun", Side.SELL, 4, 10, None, "b"),
        Party("far", "far", Side.SELL, 4, 10, None, "a"),
    ]
    assert set(pair(trades, parties, by_node=True)) == {
        ProblemTrade(0, "ann", "sun", 4, 18),
        ProblemTrade(0, "eve", "far", 4, 15, 3),
    }


def test_partners_change_across_nodes_only_where_no_line_is_between_them() -> None:
    """With lines an exchange at equal prices would still change what flows; without, a place is only a place."""
    trades = (ProblemTrade(0, "ann", "gas", 4, 15), ProblemTrade(0, "eve", "sun", 4, 15))
    parties = [
        Party("ann", "ann", Side.BUY, 4, 30, _wants(20, green=True), "b"),
        Party("eve", "eve", Side.BUY, 4, 30, None, "a"),
        Party("gas", "gas", Side.SELL, 4, 10, None, "b"),
        Party("sun", "sun", Side.SELL, 4, 10, None, "a", is_green=True),
    ]
    assert pair(trades, parties, by_node=True) == trades
    assert pair(trades, parties) == (ProblemTrade(0, "ann", "sun", 4, 15), ProblemTrade(0, "eve", "gas", 4, 15))


def test_between_nodes_nothing_is_left_over_to_trade() -> None:
    """A line's energy is the auction's to give; without lines the same two trade."""
    parties = [
        Party("ann", "ann", Side.BUY, 4, 30, _wants(None, partner="far"), "b"),
        Party("far", "far", Side.SELL, 4, 10, None, "a"),
    ]
    assert pair((), parties, by_node=True) == ()
    assert pair((), parties) == (ProblemTrade(0, "ann", "far", 4, 20),)


def test_the_best_pair_of_leftovers_comes_first() -> None:
    street = _Street.of(
        ("ann", "buy", 4, 30, _wants(None, green=True), ""),
        ("bob", "buy", 4, 34, _wants(None, green=True), ""),
        ("sun", "sell", 5, 20, _wants(None, partner="ann"), "+"),
        ("win", "sell", 3, 26, None, "+"),
        ("sol", "sell", 2, 22, None, "+"),
    )
    assert street.trades() == [("bob", "sol", 2, 28), ("ann", "sun", 4, 25), ("bob", "win", 2, 30)]


def test_a_market_order_with_preferences_waits_for_a_price() -> None:
    parties = [
        Party("ann", "ann", Side.BUY, 4, None, _GREEN),
        Party("sun", "sun", Side.SELL, 4, None, is_green=True),
    ]
    assert pair((), parties) == ()


@given(_parties())
@_SEEDED
def test_a_premium_moves_money_between_two_and_creates_none(parties: list[Party[int]]) -> None:
    for trade in pair(_plain(parties), parties):
        paid = Fraction(trade.energy_wh * (trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh), 1000)
        received = Fraction(trade.energy_wh * trade.price_micro_per_kwh, 1000)
        assert paid == received
