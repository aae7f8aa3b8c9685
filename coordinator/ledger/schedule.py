"""What the clock asks for: gates to close, orders to expire, intervals to settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from ..clock import Clock
from ..market.commands import Command
from ..market.decide import due
from ..market.events import Rejected
from ..market.state import Interval, IntervalStage, MarketState
from ..metering.verification import Head
from .evidence import meters_of, silence_begins, traders
from .records import Committed

_LOG = structlog.get_logger(__name__)
_QUIET = {
    "already_settled",
    "busy",
    "correction_open",
    "nothing_due",
    "readings_changed",
    "settlement_sent",
    "stopping",
}

type Submit = Callable[[Command], Awaitable[Committed | Rejected]]
type Prepare = Callable[[int], Awaitable[Command | None]]
type Told = frozenset[str]
"""Accounts whose late readings an interval's settlement takes into account already."""


def due_settlements(state: MarketState, heads: Mapping[int, Head], at: int, deadline_s: int) -> list[int]:
    """Return the intervals that can be settled at ``at``, oldest first.

    Delivery is over, and every trader's meter has a reading from its end or later (readings come
    without gaps, so nothing more can come before that) or ``deadline_s`` has passed since. Nobody
    waits for a suspended meter, nor for one that fell silent while another of its account reads on
    (a meter that was replaced). The first interval that is not due yet holds up all later ones: the
    contract's window of an account's intervals moves on with the latest, and its receipts come in order.
    """
    found: list[int] = []
    for start in sorted(state.intervals):
        interval = state.intervals[start]
        if interval.stage is IntervalStage.OPEN:
            break
        if interval.stage is IntervalStage.GATE_CLOSED:
            if not _is_due(state, interval, heads, at, deadline_s):
                break
            found.append(start)
    return found


def late_readings(state: MarketState, heads: Mapping[int, Head], told: Mapping[int, Told]) -> dict[int, Told]:
    """Return the settled intervals that late readings may change, oldest first, with what makes them so.

    These are accounts that an estimate stands for, and of which all meters have read on past the interval by now.
    ``told`` is what was looked at before.
    """
    found: dict[int, Told] = {}
    for start in sorted(state.intervals):
        settlement, end = state.intervals[start].settlement, start + state.rules.interval_s
        if settlement is None:
            continue
        estimated = (energy.account for energy in settlement.energies if energy.estimated)
        complete = frozenset(account for account in estimated if _reads_past(state, account, heads, end))
        if complete - told.get(start, frozenset()):
            found[start] = complete
    return found


class Scheduler:
    """Looks every second, and at once when readings have come."""

    def __init__(self, clock: Clock, submit: Submit, prepare: Prepare, deadline_s: int) -> None:
        self._clock = clock
        self._submit = submit
        self._prepare = prepare
        self._deadline_s = deadline_s
        self._readings = asyncio.Event()
        self._told: set[tuple[str, str]] = set()
        self._settled_on: dict[int, Told] = {}

    def notify(self) -> None:
        """Look again: readings have come."""
        self._readings.set()

    async def run(self, state: MarketState, heads: Mapping[int, Head]) -> None:
        """Do what is due until cancelled; ``state`` and ``heads`` are those on the disk."""
        while True:
            self._readings.clear()
            await self.step(state, heads)
            await self._wait(self._clock.now() + 1)

    async def step(self, state: MarketState, heads: Mapping[int, Head]) -> None:
        """Do what is due now."""
        at = self._clock.now()
        for command in due(state, at):
            await self._do(command)
        for delivery_start in due_settlements(state, heads, at, self._deadline_s):
            settlement = await self._prepare(delivery_start)
            if settlement is None or not await self._do(settlement):
                return  # the later ones wait for it
        await self._look_back(state, heads)

    async def _look_back(self, state: MarketState, heads: Mapping[int, Head]) -> None:
        """Settle anew, or propose a correction of, what late readings change; what is on its way there waits."""
        self._settled_on = {start: told for start, told in self._settled_on.items() if start in state.intervals}
        for start, accounts in late_readings(state, heads, self._settled_on).items():
            command = await self._prepare(start)
            if command is None or await self._do(command):
                self._settled_on[start] = self._settled_on.get(start, frozenset()) | accounts

    async def _do(self, command: Command) -> bool:
        result = await self._submit(command)
        if isinstance(result, Rejected) and result.code not in _QUIET:
            once = (repr(command)[:200], result.code)
            if once not in self._told:
                self._told.add(once)
                _LOG.error("work by the clock was refused", command=once[0], code=result.code, reason=result.message)
        return isinstance(result, Committed)

    async def _wait(self, at: int) -> None:
        tick = asyncio.ensure_future(self._clock.sleep_until(at))
        woken = asyncio.ensure_future(self._readings.wait())
        try:
            await asyncio.wait((tick, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tick.cancel()
            woken.cancel()


def _is_due(state: MarketState, interval: Interval, heads: Mapping[int, Head], at: int, deadline_s: int) -> bool:
    end = interval.delivery_start + state.rules.interval_s
    return end <= at and (end + deadline_s <= at or _is_complete(state, interval, heads, end))


def _is_complete(state: MarketState, interval: Interval, heads: Mapping[int, Head], end: int) -> bool:
    return all(_reads_past(state, account, heads, end) for account in traders(state, interval))


def _reads_past(state: MarketState, account: str, heads: Mapping[int, Head], end: int) -> bool:
    """Tell whether nothing more can come of what the account's meters say up to ``end``, as far as is known."""
    silent_since = silence_begins(end - state.rules.interval_s, state.rules.interval_s)
    meters = [meter for meter in meters_of(state, account) if meter.suspended is None]
    last = [head.timestamp if (head := heads.get(meter.device_id)) is not None else 0 for meter in meters]
    reads_on = any(timestamp >= end for timestamp in last)
    return all(timestamp >= end or (reads_on and timestamp < silent_since) for timestamp in last)
