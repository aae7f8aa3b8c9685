"""Orders as preferences see them: who they are, where, what their energy is made from, and whom they prefer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...protocol.messages import Side
from ...protocol.order_terms import ZERO_ADDRESS, Preferences


@dataclass(frozen=True, slots=True)
class Party[K]:
    """An open order as it stood before the auction, for one interval (its index in the problem).

    ``energy_wh`` is all that it could trade. ``limit`` (``None``: market order) and the preferences' other limit are in
    1e-6 currency per kWh, for buyers net of the community's fee. ``node`` is where the account is, also where no line
    divides the market, and ``is_green`` what its energy is made from.
    """

    key: K
    account: str
    side: Side
    energy_wh: int
    limit: int | None
    preferences: Preferences | None = None
    node: str = ""
    is_green: bool = False
    interval: int = 0

    @property
    def takes_part(self) -> bool:
        """Whether the auction sees the order: unless it trades with preferred counterparties alone."""
        return self.preferences is None or self.preferences.other_limit_price_micro_per_kwh is not None

    @property
    def auction_limit(self) -> int | None:
        """The limit that holds towards anyone, which the auction sees (``None``: any price, if it takes part)."""
        return self.limit if self.preferences is None else self.preferences.other_limit_price_micro_per_kwh

    @property
    def premium(self) -> int:
        """What it would give at most to trade with a preferred party instead of any other."""
        if self.preferences is None or self.limit is None or self.auction_limit is None:
            return 0
        return abs(self.limit - self.auction_limit)

    def prefers(self, other: Party[K]) -> bool:
        """Tell whether the other has all that is asked for; nobody prefers itself."""
        asked = self.preferences
        return (
            asked is not None
            and self.account != other.account
            and (other.is_green or not asked.green)
            and (self.node == other.node or not asked.local)
            and asked.partner in (ZERO_ADDRESS, other.account)
        )


_ANYWHERE = "any", ""


class Kinds[K]:
    """Orders that are alike to everybody's preferences, and whose preferences are alike, counted as one.

    Accounts differ only where it matters: those that somebody names as partner, and those with orders on both sides.
    Whoever names a partner without an order here prefers nobody, and is like all others who do.
    """

    def __init__(self, parties: Iterable[Party[K]]) -> None:
        self._parties = {party.key: party for party in parties}
        self._examples: list[Party[K]] = []
        self._kind: dict[K, int] = {}
        self._preferred: dict[tuple[int, int], bool] = {}
        self._places: list[int] = []
        numbers: dict[tuple[object, ...], int] = {}
        places: dict[tuple[object, ...], int] = {}
        for party in self._parties.values():
            likeness = self._likeness(party)
            kind = numbers.setdefault(likeness, len(numbers))
            if kind == len(self._examples):
                self._examples.append(party)
                self._places.append(places.setdefault(likeness[:-1], -1 - len(places)))
            self._kind[party.key] = kind

    def party(self, key: K) -> Party[K]:
        """Return the party with that key."""
        return self._parties[key]

    def __contains__(self, key: object) -> bool:
        return key in self._parties

    def of(self, key: K) -> int:
        """Return the kind of the party with that key."""
        return self._kind[key]

    def place(self, kind: int) -> int:
        """Return what is the same for all kinds that are alike to everybody's preferences, whatever they prefer.

        It is below zero, so it is no kind's number.
        """
        return self._places[kind]

    def prefers(self, kind: int, other: int) -> bool:
        """Tell whether parties of the one kind prefer those of the other."""
        pair = kind, other
        if pair not in self._preferred:
            self._preferred[pair] = self._examples[kind].prefers(self._examples[other])
        return self._preferred[pair]

    def preferred(self, wanting: Iterable[int], others: Iterable[int]) -> dict[int, list[int]]:
        """Return for each kind that wants those of the others that it prefers, in their order.

        Only those are looked at who can be: the partner's, those at the same node, those of green energy.
        """
        index: dict[tuple[str, object], list[int]] = defaultdict(list)
        for other in others:
            example = self._examples[other]
            places = (("partner", example.account), ("node", example.node), ("green", example.is_green), _ANYWHERE)
            for place in places:
                index[place].append(other)
        return {
            kind: [other for other in self._candidates(kind, index) if self.prefers(kind, other)] for kind in wanting
        }

    def _candidates(self, kind: int, index: dict[tuple[str, object], list[int]]) -> Sequence[int]:
        example = self._examples[kind]
        asked = example.preferences
        if asked is None:
            return ()
        if asked.partner != ZERO_ADDRESS:
            return index.get(("partner", asked.partner), ())
        if asked.local:
            return index.get(("node", example.node), ())
        return index.get(("green", True) if asked.green else _ANYWHERE, ())

    def grouped(self, keys: Sequence[K]) -> dict[int, list[K]]:
        """Return the keys by kind, in the order given."""
        groups: dict[int, list[K]] = defaultdict(list)
        for key in keys:
            groups[self._kind[key]].append(key)
        return dict(groups)

    def _likeness(self, party: Party[K]) -> tuple[object, ...]:
        asked = party.preferences
        terms: object = None
        if asked is not None:
            is_here = asked.partner == ZERO_ADDRESS or asked.partner in self._accounts
            terms = (asked.green, asked.local, asked.partner) if is_here else "nobody"
        named = party.account if party.account in self._named else ""
        return party.side, party.node, party.is_green, named, terms

    @cached_property
    def _accounts(self) -> frozenset[str]:
        return frozenset(party.account for party in self._parties.values())

    @cached_property
    def _named(self) -> frozenset[str]:
        parties = self._parties.values()
        partners = {party.preferences.partner for party in parties if party.preferences is not None}
        buyers, sellers = ({party.account for party in parties if party.side is side} for side in Side)
        return frozenset(partners | buyers & sellers)
