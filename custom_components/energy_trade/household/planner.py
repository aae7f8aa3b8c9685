"""Which intervals to trade in now, and what to do about the orders that stand there already.

One order of the plan stands in an interval at a time. When the forecast has moved, it is cancelled first; another is
signed only after the coordinator has told that the old one is closed and how much of it had traded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ..protocol.client import MarketInfo
from ..protocol.messages import Side
from .forecast import PERSISTENCE_INTERVALS, Forecast, MeteredInterval, persistence
from .orders import Standing
from .outlook import Outlook
from .policy import HELD, Bounds, Decision, OrderTerms, Policy, Situation, decide
from .reason import Reason
from .terms import SECONDS_PER_HOUR, is_open, next_open

REVISE_PERCENT = 10
REVISE_W = 80
"""An order stays although the forecast has moved by less than a tenth or by less than this power (20 Wh of 15 min)."""
REFUSED_AGAIN_S = 900
"""An order that was refused is tried again so much later, if it is not another by then."""
ORDERS_PER_INTERVAL_MAX = 12
"""So many orders are signed for one interval; the market takes 24 of an account, as a rule."""
CANCEL_AGAIN_S = 15
"""After a cancellation that was refused the next one waits so long."""
RULES = ("cancelled_by_hand", "sold_beyond_forecast")
"""Rules of decisions that are made here."""
_AGAINST_TRADING = frozenset({*RULES, HELD})


class Step(StrEnum):
    """What to do about an interval."""

    KEEP = "keep"
    """What stands there is right, or it is too early to tell."""
    PLACE = "place"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Planned:
    """What was decided about one interval at ``at`` (UTC seconds).

    ``order`` is the digest of the order that stands there for it, open or traded. ``shadow``: it was only thought
    through, nothing was signed.
    """

    delivery_start: int
    decision: Decision
    at: int = 0
    order: bytes | None = None
    shadow: bool = False


def open_intervals(info: MarketInfo, at: int, ahead: int) -> list[int]:
    """Return the starts of the next ``ahead`` intervals that take orders at ``at``, nearest first."""
    first = next_open(info, at)
    starts = range(first, first + ahead * info.interval_s, info.interval_s)
    return [start for start in starts if is_open(info, start, at)]


def intervals_beyond(info: MarketInfo, at: int, ahead: int, outlook: Outlook) -> list[int]:
    """Return the starts of the intervals after the next ``ahead`` ones, up to the last that has a forecast."""
    last = max(outlook.forecasts, default=0)
    planned = open_intervals(info, at, ahead)
    return [start for start in range(next_open(info, at), last + 1, info.interval_s) if start not in planned]


def expected(
    info: MarketInfo, at: int, starts: Iterable[int], outlook: Outlook, last: MeteredInterval | None
) -> Iterator[tuple[int, Forecast | None]]:
    """Yield each interval with what is expected of it at ``at``.

    The nearest are expected to be as the ``last`` metered one where the outlook has no forecast.
    """
    like_last = persistence(last, at, info.interval_s)
    far = next_open(info, at) + PERSISTENCE_INTERVALS * info.interval_s
    for start in starts:
        known = None if outlook.away else outlook.forecasts.get(start)  # habits say little of an empty house
        yield start, known or (like_last if start < far else None)


def committed_wh(orders: Iterable[Standing], forecast: Forecast | None) -> int:
    """Return what is traded already on the side that is called for: bought positive, sold negative.

    Sales and purchases are settled each for itself, so one does not make up for the other
    (``coordinator.settlement.deliver``). What a person offers by hand counts as if it had traded, for it may.
    """
    side = Side.SELL if forecast is not None and forecast.surplus_wh > 0 else Side.BUY
    mine = [order for order in orders if order.side is side]
    traded_wh = sum(order.filled_wh + (0 if order.planned else order.remaining_wh) for order in mine)
    return traded_wh if side is Side.BUY else -traded_wh


def decide_interval(policy: Policy, bounds: Bounds, situation: Situation, orders: Iterable[Standing]) -> Decision:
    """Return what should still be traded in the interval beside all that has traded, with the reason."""
    own = [order for order in orders if order.planned]
    by_hand = next((order for order in own if order.withdrawn), None)
    if by_hand is not None:
        return _left_alone(policy, by_hand)
    decision = decide(policy, bounds, situation)
    sold_wh = sum(order.filled_wh for order in own if order.side is Side.SELL)
    forecast = situation.forecast
    if decision.order is not None or forecast is None or sold_wh <= forecast.surplus_wh:
        return decision
    is_much = moves(sold_wh, forecast.surplus_wh, situation.info.interval_s)
    return _sold_beyond(decision, sold_wh, forecast) if is_much else decision


def next_step(decision: Decision, situation: Situation, orders: Iterable[Standing]) -> tuple[Step, Standing | None]:
    """Return what to do, and the order of the plan that it is about.

    ``orders`` are the interval's; their fills are part of the situation.
    """
    own = [order for order in orders if order.planned]
    standing = next((order for order in own if order.open), None)
    if standing is None:
        last = own[-1] if own else None
        is_worth_it = decision.order is not None and len(own) < ORDERS_PER_INTERVAL_MAX
        is_worth_it = is_worth_it and not _is_too_little(decision, situation, own)
        is_worth_it = is_worth_it and not _would_be_refused(decision, situation, last)
        return (Step.PLACE if is_worth_it else Step.KEEP), last
    was_just_cancelled = standing.cancelling or situation.at < standing.cancelled_at + CANCEL_AGAIN_S
    is_last = len(own) >= ORDERS_PER_INTERVAL_MAX and _does_no_harm(standing, decision)
    if was_just_cancelled or is_last or not _is_to_go(standing, decision, situation):
        return Step.KEEP, standing
    return Step.CANCEL, standing


def as_it_stands(planned: Planned, order: Standing | None) -> Planned:
    """Return what is planned with the order that stands (or has traded) there, and its own reason while it is right."""
    if order is None or not (order.open or order.filled_wh):
        return planned
    decision, wanted = planned.decision, planned.decision.order
    is_reached = wanted is None and decision.reason.rule not in _AGAINST_TRADING
    if order.reason is not None and order.limit_price_micro_per_kwh is not None and (wanted or is_reached):
        terms = OrderTerms(order.side, order.energy_wh, order.limit_price_micro_per_kwh)
        return replace(planned, decision=Decision(terms, order.reason), at=order.at, order=order.digest)
    return replace(planned, order=order.digest)


def differs(before: Planned, after: Planned) -> bool:
    """Tell whether another decision was made."""
    return (before.decision.order, before.decision.reason.rule, before.order, before.shadow) != (
        after.decision.order,
        after.decision.reason.rule,
        after.order,
        after.shadow,
    )


def moves(before_wh: int, after_wh: int, interval_s: int) -> bool:
    """Tell whether the difference is worth another order."""
    moved_wh = abs(after_wh - before_wh)
    return moved_wh * 100 > REVISE_PERCENT * before_wh and moved_wh * SECONDS_PER_HOUR > REVISE_W * interval_s


def _is_to_go(standing: Standing, decision: Decision, situation: Situation) -> bool:
    """Tell whether an open order is not what is wanted any more."""
    if situation.delivery_start in situation.outlook.held:
        return True
    if situation.forecast is None or not standing.heard:
        return False  # nothing moved that is known, or how much of it has traded would never be told
    wanted = decision.order
    if wanted is None or wanted.side is not standing.side:
        return True
    if standing.limit_price_micro_per_kwh not in (None, wanted.limit_price_micro_per_kwh):
        return True
    return moves(standing.remaining_wh, wanted.energy_wh, situation.info.interval_s)


def _does_no_harm(standing: Standing, decision: Decision) -> bool:
    """Tell whether an order, though not what is wanted any more, trades no more of it and for no worse a price."""
    wanted, limit = decision.order, standing.limit_price_micro_per_kwh
    if wanted is None or wanted.side is not standing.side or limit is None:
        return False
    gain = limit - wanted.limit_price_micro_per_kwh
    return standing.remaining_wh <= wanted.energy_wh and (gain if wanted.side is Side.SELL else -gain) >= 0


def _is_too_little(decision: Decision, situation: Situation, own: Iterable[Standing]) -> bool:
    """Tell whether something has traded already and the rest is not worth another order."""
    if (wanted := decision.order) is None:
        return False
    traded_wh = sum(order.filled_wh for order in own if order.side is wanted.side)
    if traded_wh == 0:
        return False
    return not moves(traded_wh, traded_wh + wanted.energy_wh, situation.info.interval_s)


def _would_be_refused(decision: Decision, situation: Situation, last: Standing | None) -> bool:
    """Tell whether it is about the same order as the one that the coordinator would not take lately."""
    wanted = decision.order
    if wanted is None or last is None or not last.refused or situation.at >= last.cancelled_at + REFUSED_AGAIN_S:
        return False
    same = (wanted.side, wanted.limit_price_micro_per_kwh) == (last.side, last.limit_price_micro_per_kwh)
    return same and not moves(last.energy_wh, wanted.energy_wh, situation.info.interval_s)


def _left_alone(policy: Policy, order: Standing) -> Decision:
    inputs = {"energy_wh": order.energy_wh, "filled_wh": order.filled_wh}
    text = "no order: the plan's order was cancelled by hand"
    alternative = "release the interval to let the plan trade in it again"
    return Decision(None, Reason(policy.kind, "cancelled_by_hand", inputs, text, alternative))


def _sold_beyond(decision: Decision, sold_wh: int, forecast: Forecast) -> Decision:
    """Say that more is sold than can be expected now; a purchase would not count for it in the settlement."""
    inputs = {**decision.reason.inputs, "sold_wh": sold_wh, "surplus_wh": forecast.surplus_wh}
    text = (
        f"no order: {sold_wh} Wh are sold, {forecast.surplus_wh} Wh of surplus are certain enough now"
        f" ({forecast.text}); what is missing then is delivered by the supplier"
    )
    reason = replace(decision.reason, rule="sold_beyond_forecast", inputs=inputs, text=text)
    return Decision(None, reason)
