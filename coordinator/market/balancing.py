"""What the grid's operator asks for on chain, and the answer: what the node's load has fallen by since.

Loads are those that the coordinator itself reports, one with each settled interval. The load at a request
is the last one that was decided before the request was booked.
"""

from __future__ import annotations

from collections.abc import Iterable

from .commands import BookBalancingRequest, MeteredEnergy
from .events import BalancingAnswered, BalancingForgotten, BalancingRequested, Rejected
from .rejections import Code, refuse
from .state import MarketState

BALANCING_OPEN_MAX = 16
_SECONDS_PER_HOUR = 3600


def node_load_w(energies: Iterable[MeteredEnergy], interval_s: int) -> int:
    """Return the load that is reported for an interval: its traders' average consumption."""
    return sum(energy.consumption_wh for energy in energies) * _SECONDS_PER_HOUR // interval_s


def book_balancing(
    state: MarketState, command: BookBalancingRequest
) -> tuple[BalancingForgotten | BalancingRequested, ...] | Rejected:
    """Open a request; its number is known once only, also when a reorganisation moves it."""
    if command.request_id <= state.balancing_seen.get(command.node_id, 0):
        return refuse(Code.DUPLICATE_CREDIT, "this balancing request is booked already", command.reference)
    surplus = len(state.balancing) + 1 - BALANCING_OPEN_MAX
    reason = f"{BALANCING_OPEN_MAX} newer requests came before the node's load was reported again"
    oldest = list(state.balancing)[: max(0, surplus)]
    requested = BalancingRequested(
        command.node_id,
        command.request_id,
        command.overload_w,
        command.stability,
        state.grid_load_w,
        command.reference,
    )
    return (*(BalancingForgotten(*key, reason) for key in oldest), requested)


def answer_requests(state: MarketState, load_w: int) -> tuple[BalancingAnswered, ...]:
    """Answer all open requests now that the load is ``load_w``."""
    return tuple(_answer(request, load_w) for request in state.balancing.values())


def _answer(request: BalancingRequested, load_w: int) -> BalancingAnswered:
    before_w = request.load_w
    if before_w is None:
        relieved_w, reason = 0, "the load at the request is unknown: none had been reported"
    elif load_w < before_w:
        relieved_w, reason = before_w - load_w, f"the load fell from {before_w} W to {load_w} W"
    else:
        relieved_w, reason = 0, f"the load did not fall: {before_w} W at the request, {load_w} W now"
    return BalancingAnswered(request.node_id, request.request_id, relieved_w, reason)
