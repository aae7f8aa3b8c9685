"""Judging bundles: they are placed together with their legs, all or none, and wait for a session auction.

A bundle's id is the hash that its legs carry, so no bundle can name one that names it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ..protocol.bundles import Bundle
from ..protocol.messages import ZERO_HASH, Order, Side
from .admission import AT_ONCE, freed_by, refuse_order, refuse_price
from .commands import PlaceBundles, SignedLeg
from .events import BundlesPlaced, Event, OrderPlaced, Rejected
from .leaving import expiring, open_bundles
from .orders import opposes_own
from .rejections import Code, refuse
from .state import MarketState

_SHARE_PART_MAX = 2**32 - 1
_HASH_BYTES = 32

type _Hashed = Sequence[tuple[bytes, Bundle]]


def place_bundles(state: MarketState, command: PlaceBundles, at: int) -> tuple[Event, ...] | Rejected:
    """Return the bundles' placing and that of all their legs; bundles trade in sessions only."""
    rejected = _refuse_crowd(state, command)
    if rejected is not None:
        return rejected
    for bundle, legs in _with_legs(command):
        if rejected := _refuse_shape(state, bundle, legs):
            return rejected
    hashed = [(bundle.struct_hash(), bundle) for bundle in command.bundles]
    expired = expiring(state, at)
    gone = {closed.digest for closed in expired}
    rejected = (
        _refuse_ids(state, command, hashed)
        or _refuse_links(state, hashed, gone)
        or _refuse_legs(state, command, at)
        or _refuse_own(state, command, gone)
    )
    if rejected is not None:
        return rejected
    placed = (OrderPlaced(leg.order, leg.digest, leg.signature) for leg in command.legs)
    return (*expired, BundlesPlaced(command.bundles), *placed)


def _with_legs(command: PlaceBundles) -> Iterator[tuple[Bundle, list[SignedLeg]]]:
    """Yield each bundle with the legs that stand at its turn."""
    legs = iter(command.legs)
    for bundle in command.bundles:
        yield bundle, list(islice(legs, len(bundle.legs)))


def _refuse_crowd(state: MarketState, command: PlaceBundles) -> Rejected | None:
    """Refuse before anything is hashed what is too much, or not one account's."""
    stages, accounts = state.rules.stages, {bundle.account for bundle in command.bundles}
    if not stages.session_every_s:
        return refuse(Code.STAGE_OFF, "bundles need session auctions, and this market holds none")
    if len(accounts) != 1:
        return refuse(Code.BUNDLE_INVALID, "bundles that are placed together must be of one account")
    if len(command.legs) != sum(len(bundle.legs) for bundle in command.bundles):
        return refuse(Code.BUNDLE_INVALID, "each of a bundle's legs needs its order, in the order of the legs")
    already = sum(1 for _ in open_bundles(state, *accounts))
    if already + len(command.bundles) > stages.bundles_per_account_max:
        return refuse(
            Code.TOO_MANY_BUNDLES, f"an account may have {stages.bundles_per_account_max} open bundles; cancel one"
        )
    if any(len(bundle.legs) > stages.legs_per_bundle_max for bundle in command.bundles):
        return refuse(Code.TOO_MANY_LEGS, f"a bundle has at most {stages.legs_per_bundle_max} legs")
    return None


def _refuse_shape(state: MarketState, bundle: Bundle, legs: Sequence[SignedLeg]) -> Rejected | None:
    """Refuse a bundle that means nothing, or whose orders are not its legs."""
    low, high = bundle.min_acceptance
    starts = [leg.delivery_start for leg in bundle.legs]
    if not starts or starts != sorted(set(starts)):
        return refuse(Code.BUNDLE_INVALID, "a bundle needs legs, one for each interval, the earliest first")
    if not (0 <= low <= high <= _SHARE_PART_MAX and high):
        return refuse(Code.BUNDLE_INVALID, "min_acceptance must be a share from 0 to 1 with a positive denominator")
    if any(len(mark) != _HASH_BYTES for mark in (bundle.parent, bundle.group, bundle.spread, bundle.salt)):
        return refuse(Code.BUNDLE_INVALID, f"parent, group, spread and salt must have {_HASH_BYTES} bytes")
    if not all(_is_leg_of(leg.order, bundle, place) for place, leg in enumerate(legs)):
        return refuse(
            Code.BUNDLE_INVALID,
            "a leg's order must be as the bundle says (account, market, side, interval, energy), good till its gate or"
            " a date, without condition and preferences",
        )
    return refuse_price(state.rules, bundle.side, bundle.price_micro_per_kwh, "price_micro_per_kwh")


def _is_leg_of(order: Order, bundle: Bundle, place: int) -> bool:
    leg = bundle.legs[place]
    return (
        (order.account, order.market, order.side) == (bundle.account, bundle.market, bundle.side)
        and (order.delivery_start, order.energy_wh) == (leg.delivery_start, leg.energy_wh)
        and leg.energy_wh > 0
        and leg.delivery_start >= 0
        and order.time_in_force not in AT_ONCE
        and order.condition is None
        and order.preferences is None
    )


def _refuse_ids(state: MarketState, command: PlaceBundles, hashed: _Hashed) -> Rejected | None:
    """Refuse bundles that are known or come twice, and legs that are not signed for their bundle."""
    digests = [digest for digest, _ in hashed]
    if any(digest in state.bundles for digest in digests) or len(set(digests)) != len(digests):
        return refuse(Code.DUPLICATE_BUNDLE, "the bundle is known already; ask for its status, or change its salt")
    if len({leg.digest for leg in command.legs}) != len(command.legs):
        return refuse(Code.DUPLICATE_ORDER, "two legs are the same order; change a salt")
    for digest, (_, legs) in zip(digests, _with_legs(command), strict=True):
        if any(leg.order.bundle != digest for leg in legs):
            return refuse(Code.BUNDLE_INVALID, "a leg's order must carry the hash of its bundle")
    return None


def _refuse_links(state: MarketState, hashed: _Hashed, gone: set[bytes]) -> Rejected | None:
    """Refuse parents that are not there, spreads that are not two halves, and members of groups that are linked."""
    account = hashed[0][1].account
    standing = [known for known in open_bundles(state, account) if not gone.intersection(known.legs)]
    parents = {known.digest for known in standing} | {digest for digest, _ in hashed} | {ZERO_HASH}
    if any(bundle.parent not in parents for _, bundle in hashed):
        return refuse(Code.UNKNOWN_PARENT, "a bundle's parent must be open, of the same account, or come with it")
    taken = {known.bundle.spread for known in standing}
    for spread in {bundle.spread for _, bundle in hashed} - {ZERO_HASH}:
        sides = [bundle.side for _, bundle in hashed if bundle.spread == spread]
        if sorted(sides) != sorted(Side) or spread in taken:
            return refuse(Code.BUNDLE_INVALID, "a spread is one buy and one sell bundle with a mark of their own")
    return _refuse_groups(state, account, {bundle.group for _, bundle in hashed} - {ZERO_HASH}, hashed)


def _refuse_groups(state: MarketState, account: str, groups: set[bytes], hashed: _Hashed) -> Rejected | None:
    """Refuse groups that have had their one accepted bundle already, and halves of spreads in a group."""
    if any(bundle.spread != ZERO_HASH != bundle.group for _, bundle in hashed):
        return refuse(Code.BUNDLE_INVALID, "half of a spread cannot be in an exclusive group")
    if groups and any(
        known.share is not None and known.bundle.account == account and known.bundle.group in groups
        for known in state.bundles.values()
    ):
        return refuse(Code.BUNDLE_INVALID, "one of the group was accepted already; use another mark")
    return None


def _refuse_legs(state: MarketState, command: PlaceBundles, at: int) -> Rejected | None:
    """Judge each leg as the order that it is, counting those before it."""
    account = command.bundles[0].account
    room = freed_by(state, account, expiring(state, at))
    for leg in command.legs:
        if rejected := refuse_order(state, leg.order, leg.digest, at, room):
            return rejected
        room.take(state.rules, leg.order)
    return None


def _refuse_own(state: MarketState, command: PlaceBundles, gone: set[bytes]) -> Rejected | None:
    """Refuse legs that could trade with the account's own orders, or with one another."""
    account = state.accounts[command.bundles[0].account]
    mine = [state.orders[digest] for digest in account.open_orders if digest not in gone]
    sides: dict[int, set[Side]] = {}
    for leg in command.legs:
        sides.setdefault(leg.order.delivery_start, set()).add(leg.order.side)
    if any(len(both) > 1 for both in sides.values()) or any(
        opposes_own(state, leg.order, mine) for leg in command.legs
    ):
        return refuse(
            Code.SELF_TRADE, "a leg could trade with an order of its own account in the same interval; cancel that one"
        )
    return None
