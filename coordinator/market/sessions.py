"""Auctions in the live market: what they may look at, and what their results make happen.

A session holds all open intervals, a closing auction one. Both are put as a ``Problem``, whose keys are orders'
digests and bundles' hashes; where it couples intervals or nodes, the command brings a solver's proposal along. Bids
are net of the community's fee, a bid with preferences stands with its limit for everyone. Looks at the state,
changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..protocol.messages import ZERO_HASH
from ..protocol.units import MICRO
from .clearing import OPTIMAL, clear
from .commands import ClearSession, CloseGate
from .events import (
    ClearedInterval,
    CloseReason,
    Event,
    OrderClosed,
    Rejected,
    SessionCleared,
    Stage,
    Traded,
)
from .leaving import closings, expired_orders, expiring, family
from .preferences import Party, pair
from .problem import BundleOrder, IntervalResult, NetworkLine, Problem, ProblemTrade, Result, SingleOrder
from .proposal import AcceptedBundle
from .rejections import Code, refuse
from .rules import GREEN_SOURCES, ClearingRule, MarketRules
from .state import Interval, IntervalStage, KnownBundle, KnownOrder, MarketState


@dataclass(frozen=True, slots=True)
class Auction:
    """An auction that was held; ``trades`` are the result's, preferred partners found for them, and more of such."""

    problem: Problem[bytes]
    result: Result[bytes]
    trades: tuple[ProblemTrade[bytes], ...]


def clear_session(state: MarketState, command: ClearSession, at: int) -> tuple[Event, ...] | Rejected:
    """Return expiries, the session's result, its trades, and the closing of what it has filled or ended."""
    rejected = _refuse_session(state, command, at)
    if rejected is not None:
        return rejected
    auction = hold(state, session_problem(state, at), command, at)
    trades = traded(state, auction, Stage.SESSION)
    filled_wh = filled_by(trades)
    return (
        *expiring(state, at),
        _session_cleared(command, auction),
        *trades,
        *_singles_filled(state, filled_wh),
        *_bundles_ended(state, auction.result, filled_wh),
    )


def due_session(state: MarketState, at: int) -> ClearSession | None:
    """Return the session that is due: the latest one that was not held, if any interval was open before it."""
    every_s = state.rules.stages.session_every_s
    if not every_s or state.halted is not None:
        return None
    session_at = at - at % every_s
    is_open = (
        interval.opened_at <= session_at for interval in state.intervals.values() if _is_open(state, interval, at)
    )
    return ClearSession(session_at) if session_at > state.session_at and any(is_open) else None


def needs_solver(state: MarketState, command: ClearSession | CloseGate, at: int) -> Problem[bytes] | None:
    """Return the problem that the command's solver must be asked, ``None`` where none is needed.

    ``at`` is the second at which the command will be decided.
    """
    if isinstance(command, ClearSession):
        problem = session_problem(state, at) if _refuse_session(state, command, at) is None else None
    else:
        problem = gate_problem(state, command.delivery_start)
    return problem if problem is not None and problem.needs_solver and _has_work(problem) else None


def certified(
    state: MarketState, command: ClearSession | CloseGate, at: int
) -> list[tuple[Problem[bytes], Result[bytes]]]:
    """Return problem and result of a command that is about to be applied, for the certificate; uniform rules only."""
    if isinstance(command, ClearSession):
        problem = session_problem(state, at)
    else:
        problem = gate_problem(state, command.delivery_start)
    if problem.rule.mechanism != "uniform" or not _has_work(problem):
        return []
    return [(problem, clear(problem, command.proposal, command.failure))]


def session_problem(state: MarketState, at: int) -> Problem[bytes]:
    """Return what a session at ``at`` may look at: all single orders and bundles whose gates are open."""
    starts = tuple(start for start in sorted(state.intervals) if _is_open(state, state.intervals[start], at))
    gone = {known.digest for known in expired_orders(state, at)}
    orders = [
        order for index, start in enumerate(starts) for order in _singles(state, state.intervals[start], index, gone)
    ]
    places = {start: index for index, start in enumerate(starts)}
    rules = state.rules
    rule = rules.rule if rules.rule.mechanism == "uniform" else ClearingRule(ties=rules.rule.ties)
    bundles = tuple(_bundle_order(state, known, places) for known in _open_bundles(state, places, gone))
    lines = _lines(rules, [state.intervals[start] for start in starts])
    return Problem(starts, tuple(orders), bundles, lines, rule, rules.net_band, rules.tariff)


def gate_problem(state: MarketState, delivery_start: int) -> Problem[bytes]:
    """Return what an interval's closing auction may look at; nothing while trading is halted, or without that stage."""
    rules, interval = state.rules, state.intervals.get(delivery_start)
    if interval is None or not _closes_with_auction(state):
        return Problem((delivery_start,), (), rule=rules.rule, band=rules.net_band, tariff=rules.tariff)
    gone = {known.digest for known in expired_orders(state, rules.gate_at(delivery_start))}
    orders = tuple(_singles(state, interval, 0, gone))
    return Problem((delivery_start,), orders, (), _lines(rules, [interval]), rules.rule, rules.net_band, rules.tariff)


def hold(state: MarketState, problem: Problem[bytes], command: ClearSession | CloseGate, at: int) -> Auction:
    """Clear the problem, then bring together who prefers one another."""
    if isinstance(command, CloseGate) and not _closes_with_auction(state):
        return Auction(problem, _nothing(problem), ())
    result = clear(problem, command.proposal, command.failure) if _has_work(problem) else _nothing(problem)
    parties = _parties(state, problem, {known.digest for known in expired_orders(state, at)})
    trades = pair(result.trades, parties, by_node=bool(problem.lines)) if parties else result.trades
    return Auction(problem, result, trades)


def traded(state: MarketState, auction: Auction, stage: Stage) -> list[Traded]:
    """Return the auction's trades as events; a bundle trades as its leg in that interval."""
    events = []
    for trade_id, trade in enumerate(auction.trades, state.trades_made + 1):
        start = auction.problem.intervals[trade.interval]
        buy, sell = _order_of(state, trade.buy, start), _order_of(state, trade.sell, start)
        fee = state.rules.fees.community_fee(trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh)
        events.append(
            Traded(
                trade_id,
                start,
                buy,
                sell,
                trade.energy_wh,
                trade.price_micro_per_kwh,
                stage,
                trade.grid_fee_micro_per_kwh,
                fee,
            )
        )
        assert _suits_both(state.rules, state.orders[buy], state.orders[sell], events[-1])
    return events


def _suits_both(rules: MarketRules, buy: KnownOrder, sell: KnownOrder, trade: Traded) -> bool:
    """Tell whether price and fees keep both signed limits, and the accounts differ."""
    paid = trade.price_micro_per_kwh + trade.grid_fee_micro_per_kwh + trade.community_fee_micro_per_kwh
    low, high = rules.band
    least, most = sell.order.limit_price_micro_per_kwh, buy.order.limit_price_micro_per_kwh
    keeps_limits = trade.price_micro_per_kwh >= (low if least is None else least)
    return keeps_limits and paid <= (high if most is None else most) and buy.order.account != sell.order.account


def _refuse_session(state: MarketState, command: ClearSession, at: int) -> Rejected | None:
    every_s = state.rules.stages.session_every_s
    if not every_s:
        return refuse(Code.STAGE_OFF, "this market holds no session auctions")
    if command.session_at != at - at % every_s:
        return refuse(Code.SESSION_NOT_DUE, f"the session that can be held now is the one of {at - at % every_s}")
    if command.session_at <= state.session_at:
        return refuse(Code.SESSION_NOT_DUE, "this session was held already")
    if state.halted is not None:
        return refuse(Code.TRADING_HALTED, "trading is halted; no session is held until it resumes", state.halted)
    return None


def _is_open(state: MarketState, interval: Interval, at: int) -> bool:
    return interval.stage is IntervalStage.OPEN and at < state.rules.gate_at(interval.delivery_start)


def _closes_with_auction(state: MarketState) -> bool:
    return state.rules.stages.closing and state.halted is None


def _nothing(problem: Problem[bytes]) -> Result[bytes]:
    return Result(tuple(IntervalResult((), 0) for _ in problem.intervals), {}, (), (), (), 0, 0, OPTIMAL)


def _has_work(problem: Problem[bytes]) -> bool:
    return bool(problem.orders or problem.bundles)


def _waiting(state: MarketState, interval: Interval, gone: set[bytes]) -> list[KnownOrder]:
    """Return the interval's open single orders, none of them dormant, in the order of their time."""
    known_orders = (state.orders[digest] for digest in interval.orders if digest not in gone)
    live = [k for k in known_orders if k.closed is None and not k.is_leg and not k.is_dormant]
    return sorted(live, key=lambda known: known.priority)


def _singles(state: MarketState, interval: Interval, index: int, gone: set[bytes]) -> Iterator[SingleOrder[bytes]]:
    rules = state.rules
    for known in _waiting(state, interval, gone):
        order, wishes = known.order, known.order.preferences
        limit = order.limit_price_micro_per_kwh if wishes is None else wishes.other_limit_price_micro_per_kwh
        if wishes is None or limit is not None:
            net = rules.net_limit(order.side, limit)
            yield SingleOrder(known.digest, index, order.side, known.remaining_wh, net, rules.node_of(order.account))


def _open_bundles(state: MarketState, places: Mapping[int, int], gone: set[bytes]) -> Iterator[KnownBundle]:
    """Yield the open bundles whose gates are open, with all that they can be accepted with only."""
    standing = [known for known in state.bundles.values() if known.closed is None]
    late = [
        known.digest
        for known in standing
        if gone.intersection(known.legs) or any(leg.delivery_start not in places for leg in known.bundle.legs)
    ]
    out = family(state, late)
    return (known for known in standing if known.digest not in out)


def _bundle_order(state: MarketState, known: KnownBundle, places: Mapping[int, int]) -> BundleOrder[bytes]:
    bundle, rules = known.bundle, state.rules
    legs = [state.orders[digest].order for digest in known.legs]
    limits = ((leg, rules.net_limit(leg.side, leg.limit_price_micro_per_kwh)) for leg in legs)
    return BundleOrder(
        known.digest,
        bundle.side,
        bundle.price_micro_per_kwh if bundle.side.code else _net_mean(rules, bundle.price_micro_per_kwh),
        tuple((places[leg.delivery_start], leg.energy_wh) for leg in legs),
        bundle.min_acceptance,
        rules.node_of(bundle.account),
        None if bundle.parent == ZERO_HASH else bundle.parent,
        _mark(bundle.account, bundle.group),
        _mark(bundle.account, bundle.spread),
        tuple((places[leg.delivery_start], limit) for leg, limit in limits if limit is not None),
    )


def _net_mean(rules: MarketRules, limit: int) -> int:
    """Return the highest mean price whose fees keep within a bundle's limit, also where each fee is rounded down."""
    fees = rules.fees
    return (limit - fees.community_micro_per_kwh) * MICRO // (MICRO + fees.community_share_ppm)


def _mark(account: str, mark: bytes) -> str | None:
    """Return a group's or spread's mark as no other account can have it."""
    return None if mark == ZERO_HASH else f"{account}:{mark.hex()}"


def _lines(rules: MarketRules, intervals: Sequence[Interval]) -> tuple[NetworkLine, ...]:
    """Return the lines with what earlier auctions have left of them."""
    lines = []
    for number, line in enumerate(rules.lines):
        sent_wh = [interval.sent_wh[number] if interval.sent_wh else 0 for interval in intervals]
        if line.limit_w is None:
            forward: tuple[int | None, ...] = (None,) * len(intervals)
            backward = forward
        else:
            limit_wh = line.limit_w * rules.interval_s // 3600
            forward = tuple(max(limit_wh - sent, 0) for sent in sent_wh)
            backward = tuple(max(limit_wh + sent, 0) for sent in sent_wh)
        lines.append(NetworkLine(line.source, line.target, line.fee_micro_per_kwh, forward, backward))
    return tuple(lines)


def _parties(state: MarketState, problem: Problem[bytes], gone: set[bytes]) -> list[Party[bytes]]:
    """Return who may be brought together, nobody when no order has preferences."""
    if not any(state.intervals[start].held for start in problem.intervals):
        return []
    parties = [
        _party(state.rules, known, index)
        for index, start in enumerate(problem.intervals)
        for known in _waiting(state, state.intervals[start], gone)
    ]
    return parties if any(party.preferences is not None for party in parties) else []


def _party(rules: MarketRules, known: KnownOrder, index: int) -> Party[bytes]:
    order, wishes, place = known.order, known.order.preferences, rules.place_of(known.order.account)
    if wishes is not None:
        other = rules.net_limit(order.side, wishes.other_limit_price_micro_per_kwh)
        wishes = replace(wishes, other_limit_price_micro_per_kwh=other)
    return Party(
        known.digest,
        order.account,
        order.side,
        known.remaining_wh,
        rules.net_limit(order.side, order.limit_price_micro_per_kwh),
        wishes,
        place.node,
        place.source in GREEN_SOURCES,
        index,
    )


def _session_cleared(command: ClearSession, auction: Auction) -> SessionCleared:
    result, volume_wh = auction.result, Counter[int]()
    for trade in auction.trades:
        volume_wh[trade.interval] += trade.energy_wh
    intervals = (
        ClearedInterval(start, cleared.nodes, volume_wh[index], cleared.flows_wh)
        for index, (start, cleared) in enumerate(zip(auction.problem.intervals, result.intervals, strict=True))
        if volume_wh[index]
    )
    return SessionCleared(
        command.session_at,
        auction.problem.rule_name(result.outcome),
        result.outcome,
        tuple(intervals),
        result.welfare_micro,
        result.bound_micro,
        tuple(AcceptedBundle(*accepted) for accepted in result.accepted),
        result.paradoxical,
    )


def _order_of(state: MarketState, key: bytes, start: int) -> bytes:
    """Return the order's digest that a key stands for: itself, or a bundle's leg in the interval."""
    known = state.bundles.get(key)
    if known is None:
        return key
    return next(
        digest for leg, digest in zip(known.bundle.legs, known.legs, strict=True) if leg.delivery_start == start
    )


def filled_by(trades: Iterable[Traded]) -> Counter[bytes]:
    """Return what each order trades."""
    filled_wh: Counter[bytes] = Counter()
    for trade in trades:
        filled_wh[trade.buy] += trade.energy_wh
        filled_wh[trade.sell] += trade.energy_wh
    return filled_wh


def _singles_filled(state: MarketState, filled_wh: Mapping[bytes, int]) -> Iterator[OrderClosed]:
    for digest, energy_wh in filled_wh.items():
        known = state.orders[digest]
        if not known.is_leg and known.remaining_wh == energy_wh:
            yield OrderClosed(digest, 0, CloseReason.FILLED)


def _bundles_ended(state: MarketState, result: Result[bytes], filled_wh: Mapping[bytes, int]) -> Iterator[OrderClosed]:
    """Yield the closing of accepted bundles' legs, then of those that can never be accepted now.

    Those are the others of an accepted bundle's group, and its children: they are accepted with it or not at all.
    """
    accepted = {key for key, _, _ in result.accepted}
    for key, numerator, denominator in result.accepted:
        for digest in state.bundles[key].legs:
            known = state.orders[digest]
            remaining_wh = known.remaining_wh - filled_wh.get(digest, 0)
            assert known.remaining_wh * numerator == (known.remaining_wh - remaining_wh) * denominator
            reason = CloseReason.SESSION_REMAINDER if remaining_wh else CloseReason.FILLED
            yield OrderClosed(digest, remaining_wh, reason)
    ended = family(state, _shut_out(state, accepted)).keys() - accepted
    legs = (state.orders[known.legs[0]] for known in state.bundles.values() if known.digest in ended)
    yield from closings(state, legs, CloseReason.SESSION_REMAINDER)


def _shut_out(state: MarketState, accepted: set[bytes]) -> Iterator[bytes]:
    marks = {(state.bundles[key].bundle.account, state.bundles[key].bundle.group) for key in accepted}
    for known in state.bundles.values():
        if known.closed is None and known.digest not in accepted:
            bundle = known.bundle
            is_of_group = bundle.group != ZERO_HASH and (bundle.account, bundle.group) in marks
            if is_of_group or bundle.parent in accepted:
                yield known.digest
