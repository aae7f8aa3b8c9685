"""Preferred energy inside what an auction executed: the most that can meet, and the least that it has to cost."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .parties import Kinds


@dataclass(frozen=True, slots=True)
class Meeting[K]:
    """A part that prefers and what it got, with the premium in 1e-6 currency per kWh that it gives for it."""

    wanting: K
    offering: K
    energy_wh: int
    premium: int = 0


def satisfy[K](wanting: dict[K, int], offering: dict[K, int], kinds: Kinds[K]) -> list[Meeting[K]]:
    """Let the most energy meet whom it prefers, and take it out of both.

    ``wanting`` and ``offering`` map orders of the two sides to the energy that is still to be paired, in their order
    of priority. Whoever would give more comes first; each energy that meets keeps meeting when the next one looks for
    room (augmenting paths), so the total is the largest there is. Only the first side's preferences count.
    """
    takers = [key for key, energy_wh in wanting.items() if energy_wh and kinds.party(key).preferences is not None]
    takers.sort(key=lambda key: -kinds.party(key).premium)
    givers = [key for key, energy_wh in offering.items() if energy_wh]
    offers = kinds.grouped(givers)
    spare_wh = {other: sum(offering[key] for key in keys) for other, keys in offers.items()}
    flow = _Flow(kinds.preferred(kinds.grouped(takers), offers), spare_wh)
    met = {key: sum(flow.send(kinds.of(key), wanting[key]).values()) for key in takers}
    missed = {key: wanting[key] - met[key] for key in takers if met[key] < wanting[key]}
    meetings = list(_meetings(flow.sent, met, kinds, offering))
    for meeting in meetings:
        wanting[meeting.wanting] -= meeting.energy_wh
        offering[meeting.offering] -= meeting.energy_wh
    return list(_charged(meetings, _displaced(flow, meetings, missed, kinds), kinds)) if missed else meetings


class _Flow:
    """Energy from kinds that want to kinds that offer, along who prefers whom; ``sent`` is how much so far."""

    def __init__(self, offers: Mapping[int, Sequence[int]], spare_wh: dict[int, int]) -> None:
        self.sent: dict[tuple[int, int], int] = {}
        self._offers = offers
        self._spare_wh = spare_wh
        self._order = {kind: number for number, kind in enumerate(offers)}
        self._holders: dict[int, set[int]] = {other: set() for other in spare_wh}
        self._full: set[int] = set()

    def merged(self, place: Callable[[int], int]) -> _Flow:
        """Return the same flow to what counts as one; nothing has room any more."""
        offers = {kind: list(dict.fromkeys(map(place, others))) for kind, others in self._offers.items()}
        flow = _Flow(offers, dict.fromkeys(map(place, self._spare_wh), 0))
        for (kind, other), energy_wh in self.sent.items():
            flow.add(kind, place(other), energy_wh)
        return flow

    def without(self, leaving: Mapping[tuple[int, int], int]) -> _Flow:
        """Return what would flow if this energy did not, with room for others in its place and nowhere else."""
        rest = _Flow(self._offers, dict.fromkeys(self._spare_wh, 0))
        for (kind, other), energy_wh in self.sent.items():
            left_wh = leaving.get((kind, other), 0)
            rest.add(kind, other, energy_wh - left_wh)
            rest.make_room(other, left_wh)
        return rest

    def add(self, kind: int, other: int, energy_wh: int) -> None:
        """Let this much more (or less) flow between two kinds."""
        pair = kind, other
        self.sent[pair] = self.sent.get(pair, 0) + energy_wh
        if self.sent[pair]:
            self._holders[other].add(kind)
        else:
            self._holders[other].discard(kind)

    def make_room(self, other: int, energy_wh: int) -> None:
        """Let so much more be taken of what is offered."""
        self._spare_wh[other] += energy_wh

    def send(self, kind: int, energy_wh: int) -> dict[int, int]:
        """Send up to this much from a kind, redirecting others but never lessening them; return whose room it took."""
        left_wh = energy_wh
        taken_wh: dict[int, int] = {}
        while left_wh and kind not in self._full:
            path = self._path(kind)
            if not path:
                break
            room_wh = [self.sent[taker, other] for taker, other in zip(_others(path), path[1::2], strict=False)]
            step_wh = min(left_wh, self._spare_wh[path[-1]], *room_wh)
            self._push(path, step_wh)
            taken_wh[path[-1]] = taken_wh.get(path[-1], 0) + step_wh
            left_wh -= step_wh
        return taken_wh

    def _push(self, path: list[int], energy_wh: int) -> None:
        for index in range(0, len(path), 2):
            self.add(path[index], path[index + 1], energy_wh)
            if index:
                self.add(path[index], path[index - 1], -energy_wh)
        self._spare_wh[path[-1]] -= energy_wh

    def _path(self, kind: int) -> list[int]:
        """Return taker, offer, taker, offer ... up to an offer with room, by the fewest steps; empty: none.

        Whoever was met on a search in vain finds no room either, now or later, and no search goes through it again.
        """
        came: dict[int, int] = {}
        queue, seen = deque([kind]), {kind}
        while queue:
            taker = queue.popleft()
            for other in self._offers[taker]:
                if other in came:
                    continue
                came[other] = taker
                if self._spare_wh[other]:
                    return _back(other, kind, came)
                for holder in sorted(self._holders[other] - seen - self._full, key=self._order.__getitem__):
                    seen.add(holder)
                    came[holder] = other
                    queue.append(holder)
        self._full |= seen
        return []


def _back(last: int, first: int, came: Mapping[int, int]) -> list[int]:
    path = [last]
    while path[-1] != first:
        path.append(came[path[-1]])
    return path[::-1]


def _displaced[K](
    flow: _Flow, meetings: Sequence[Meeting[K]], missed: Mapping[K, int], kinds: Kinds[K]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return by account and place of offer what others went away without because of the account.

    That is the energy that would meet in its place if the account wanted nothing, in Wh, and what those others would
    have given for it (Wh times 1e-6 currency per kWh). Who would give most comes first; nobody is its own rival.
    """
    rivals = [(kinds.of(key), kinds.party(key), energy_wh) for key, energy_wh in missed.items()]
    rivals = [rival for rival in rivals if rival[1].premium]
    held: dict[str, dict[tuple[int, int], int]] = defaultdict(lambda: defaultdict(int))
    for meeting in meetings:
        pair = kinds.of(meeting.wanting), kinds.place(kinds.of(meeting.offering))
        held[kinds.party(meeting.wanting).account][pair] += meeting.energy_wh
    displaced: dict[tuple[str, int], tuple[int, int]] = {}
    flow = flow.merged(kinds.place)
    for account, leaving in held.items():
        rest, room_wh = flow.without(leaving), sum(leaving.values())
        for kind, rival, energy_wh in rivals:
            if rival.account == account or not room_wh:
                continue
            for other, taken_wh in rest.send(kind, energy_wh).items():
                sum_wh, worth = displaced.get((account, other), (0, 0))
                displaced[account, other] = sum_wh + taken_wh, worth + taken_wh * rival.premium
                room_wh -= taken_wh
    return displaced


def _charged[K](
    meetings: Sequence[Meeting[K]], displaced: Mapping[tuple[str, int], tuple[int, int]], kinds: Kinds[K]
) -> Iterator[Meeting[K]]:
    """Yield the meetings with a premium on as much energy as others went away without because of the taker.

    The premium is the floor of those others' mean, so a meeting has two parts at most, however many rivals there are.
    """
    left_wh = {place: energy_wh for place, (energy_wh, _) in displaced.items()}
    for meeting in meetings:
        taker = kinds.party(meeting.wanting)
        place = taker.account, kinds.place(kinds.of(meeting.offering))
        charged_wh = min(meeting.energy_wh, left_wh.get(place, 0))
        if charged_wh:
            left_wh[place] -= charged_wh
            energy_wh, worth = displaced[place]
            yield replace(meeting, energy_wh=charged_wh, premium=min(taker.premium, worth // energy_wh))
        if meeting.energy_wh > charged_wh:
            yield replace(meeting, energy_wh=meeting.energy_wh - charged_wh)


def _others(path: list[int]) -> list[int]:
    """Return the takers of a path who are redirected: all but the first."""
    return path[2::2]


def _meetings[K](
    sent: dict[tuple[int, int], int],
    met: dict[K, int],
    kinds: Kinds[K],
    offering: dict[K, int],
) -> Iterator[Meeting[K]]:
    """Lay the flow between kinds out over their parties, first come first served."""
    takers = {kind: _Parts(keys, met) for kind, keys in kinds.grouped(list(met)).items()}
    givers = {kind: _Parts(keys, offering) for kind, keys in kinds.grouped(list(offering)).items()}
    for (kind, other), energy_wh in sent.items():
        left_wh = energy_wh
        while left_wh:
            taker, giver = takers[kind], givers[other]
            step_wh = min(left_wh, taker.left_wh, giver.left_wh)
            yield Meeting(taker.key, giver.key, step_wh)
            left_wh -= step_wh
            taker.take(step_wh)
            giver.take(step_wh)


class _Parts[K]:
    """Parties with energy, to be used up one after the other."""

    def __init__(self, keys: Sequence[K], energy_wh: dict[K, int]) -> None:
        self._parts = deque((key, energy_wh[key]) for key in keys if energy_wh[key])

    @property
    def key(self) -> K:
        return self._parts[0][0]

    @property
    def left_wh(self) -> int:
        return self._parts[0][1]

    def take(self, energy_wh: int) -> None:
        key, left_wh = self._parts.popleft()
        if left_wh > energy_wh:
            self._parts.appendleft((key, left_wh - energy_wh))
