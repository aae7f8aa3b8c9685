"""The home at work: reads its meter at each boundary, signs, plans, and tells what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_track_point_in_utc_time
from homeassistant.util import dt as dt_util

from .carrier import Carrier, StateSaver
from .const import LOGGER
from .events import event_time, moment, order_words
from .grid import GRID_SOURCES, GridView, without_past
from .household.agent import HouseholdAgent
from .household.courier import Answer
from .household.forecast import STALE_AFTER_INTERVALS
from .household.guard import GuardRefusal
from .household.outbox import Outgoing
from .household.outlook import GridEvent, Outlook
from .household.planner import Planned
from .household.reason import Refusal
from .meter import MeterEntities, read_sample
from .options import apply_options, policy_problem
from .protocol.client import CoordinatorClient, CoordinatorRefused
from .protocol.messages import Cancel, DeviceReceipt, Order, Side, TimeInForce
from .protocol.units import interval_start
from .protocol.wire import read_int

ORDERS_REMEMBERED = 100
WITHDRAWAL_VALID_S = 86_400

type EventListener = Callable[[str, Mapping[str, Any]], None]


class OutlookProvider(Protocol):
    """Where the outlook of a plan comes from."""

    def current(self, at: int) -> Outlook:
        """Return what is known at ``at`` (UTC seconds); never raises."""


class Home:
    """The shell around the agent: time, meter, disk and network."""

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry[Any],
        agent: HouseholdAgent,
        meters: MeterEntities,
        client: CoordinatorClient,
        save: StateSaver,
    ) -> None:
        self.agent = agent
        self.meters = meters
        self.clock_offset_s = 0
        self._planned_at = 0
        self.last_boundary = 0
        self.refusal: GuardRefusal | None = None
        self.refusals_in_a_row = 0
        self.receipt: DeviceReceipt | None = None
        self.rejected: tuple[Outgoing, CoordinatorRefused] | None = None
        self.orders_answered = 0
        self.orders_known = False
        self.wallet_low = False
        self.policy_problem = policy_problem(entry.options, agent.info)
        self.recent_orders: deque[str] = deque(maxlen=ORDERS_REMEMBERED)
        self.grid = GridView()
        self._asked: dict[str, GridEvent] = {}
        self.outlook = Outlook()
        self._planned_with: tuple[int, Outlook] | None = None
        self._outline: Mapping[int, Planned] | None = None
        self.carrier = Carrier(
            hass,
            entry,
            agent,
            client,
            save,
            now=self.market_time,
            answered=self._answered,
            changed=self.async_changed,
        )
        self._hass = hass
        self._entry = entry
        self._client = client
        self._source: OutlookProvider | None = None
        self._listeners: list[Callable[[], None]] = []
        self._event_listeners: list[EventListener] = []
        self._timer: CALLBACK_TYPE | None = None
        self._blocked_rules: dict[int, str] = {}

    @property
    def held(self) -> bool:
        """Whether nothing is sent because somebody else answers than the home knows."""
        return self.carrier.held

    @property
    def blocked(self) -> Refusal | None:
        """Why the coordinator takes no readings of this meter, if it does not."""
        return self.carrier.blocked

    @property
    def plan(self) -> Mapping[int, Planned]:
        """What was decided last about each interval that is not past, by delivery start."""
        return self.agent.plan_for()

    @property
    def outline(self) -> Mapping[int, Planned]:
        """What the policy would do beyond the plan, by what was known when that was made; worked out when asked for."""
        if self._outline is None:
            self._outline = {} if self._planned_with is None else self.agent.outline(*self._planned_with)
        return self._outline

    @property
    def grid_events(self) -> tuple[GridEvent, ...]:
        """What the grid's operator and the owner's calendar ask for, now and later, each once."""
        known = {event.uid: event for event in (*self._events_of_the_owner(), *self.grid.events)}
        return tuple(sorted(known.values(), key=lambda event: (event.start, event.uid)))

    def market_time(self) -> int:
        """Return the coordinator's time (UTC seconds), as far as this home knows it."""
        return int(dt_util.utcnow().timestamp()) - self.clock_offset_s

    @callback
    def async_hear_time(self, at: int) -> None:
        """Take over what the coordinator's clock shows (UTC seconds)."""
        now = int(dt_util.utcnow().timestamp())
        self.clock_offset_s = now - at
        if self._timer is not None and self._planned_at > now + self.agent.info.interval_s:
            self._stop()  # the clock was set back: the timer would wait until it shows that time again
            self._schedule()

    @callback
    def async_start(self, source: OutlookProvider) -> None:
        """Wait for the next boundary, and deliver what an earlier run has left."""
        self._source = source
        self._schedule()
        self._entry.async_on_unload(self._stop)
        self.carrier.async_deliver()

    @callback
    def async_listen(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Call the listener after each boundary, each delivery and each change; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @callback
    def async_listen_events(self, listener: EventListener) -> CALLBACK_TYPE:
        """Call the listener with each event (its kind and data); return how to stop that."""
        self._event_listeners.append(listener)
        return lambda: self._event_listeners.remove(listener)

    @callback
    def async_emit(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell that something happened to this home."""
        for listener in tuple(self._event_listeners):
            listener(kind, data)

    @callback
    def async_changed(self) -> None:
        """Tell the listeners that something is otherwise than before."""
        for listener in tuple(self._listeners):
            listener()

    @callback
    def async_see_grid(self, view: GridView) -> None:
        """Take over what the grid says, tell what began and what ended, and plan anew when that changes anything."""
        now = self.market_time()
        view = without_past(view, now)
        before, own = self._asked, (event for event in self._events_of_the_owner() if event.covers(now))
        self._asked = after = {event.uid: event for event in (*view.events, *own)}
        changed, self.grid = view != self.grid, view
        for uid, event in after.items():
            if uid not in before:
                self.async_emit("grid_event_started", event_time(event))
        for uid, event in before.items():
            if uid not in after:
                self.async_emit("grid_event_ended", event_time(event))
        if before.keys() != after.keys():
            self.async_replan()
        if changed:  # also where nothing may be planned: devices and entities follow the grid
            self.async_changed()

    def _events_of_the_owner(self) -> list[GridEvent]:
        """Return what the owner's calendar says; what the grid said when that was planned with may be over."""
        return [event for event in self.outlook.events if event.source not in GRID_SOURCES]

    @callback
    def async_replan(self) -> None:
        """Plan with what is known now, and send what that asks for.

        Not before the coordinator has told once which orders there are: a state that came from a backup does not know
        what was placed after it, and would place it again.
        """
        if self._source is None or not self.orders_known or self.held or self.carrier.is_elsewhere:
            return
        at = self.market_time()
        self.outlook = outlook = self._source.current(at)
        if self._is_blind(at):  # what no reading shows counts as not delivered, whatever habits promise
            outlook = replace(outlook, forecasts={})
        self.agent.plan(at, outlook)
        self._planned_with, self._outline = (at, outlook), None
        self._tell_blocked()
        self.async_changed()
        self.carrier.async_deliver()

    def _is_blind(self, at: int) -> bool:
        """Tell whether the meter has not been read of late, or not by this clock."""
        return abs(at - self.agent.meter.signed_at) > STALE_AFTER_INTERVALS * self.agent.info.interval_s

    @callback
    def async_apply_options(self) -> None:
        """Trade by the entry's options as they are now."""
        apply_options(self.agent, self._entry.options)
        self.policy_problem = policy_problem(self._entry.options, self.agent.info)
        self.async_replan()

    async def async_place(
        self, delivery_start: int, side: Side, energy_wh: int, price: int | None, time_in_force: TimeInForce
    ) -> tuple[Outgoing, Answer | None] | Refusal:
        """Sign an order and wait for its answer; ``None``: no answer yet, it stays in the outbox."""
        item = self.agent.place(self.market_time(), delivery_start, side, energy_wh, price, time_in_force)
        return item if isinstance(item, Refusal) else (item, await self.carrier.async_answer_to(item))

    async def async_cancel(self, order: bytes) -> Answer | None:
        """Cancel an order (zero: all) and wait for the answer; ``None``: it stays in the outbox."""
        return await self.carrier.async_answer_to(self.agent.cancel(self.market_time(), order))

    async def async_withdraw(self, to: str, money_micro: int) -> dict[str, Any]:
        """Sign a withdrawal and have it brought on chain; raise what the client raises.

        It is not kept for later: whoever asks again after an outage signs a new one, and only one is taken at a time.
        """
        identity, domain = self.agent.identity, self.agent.info.domain
        nonce = read_int(await self._client.account(identity.account), "withdrawal_nonce")
        wanted = identity.withdrawal(to, money_micro, nonce, self.market_time() + WITHDRAWAL_VALID_S)
        return await self._client.withdraw(wanted, identity.account_key.sign(wanted.digest(domain)))

    async def async_set_trading(self, enabled: bool) -> None:
        """Switch trading; off also cancels what stands in the market."""
        self.agent.set_trading(self.market_time(), enabled)
        await self._after_switch()

    async def async_set_shadow(self, enabled: bool) -> None:
        """Switch shadow mode; on also cancels what stands in the market."""
        self.agent.set_shadow(self.market_time(), enabled)
        await self._after_switch()

    async def async_set_away(self, enabled: bool) -> None:
        """Say whether the household is on vacation."""
        self.agent.set_away(enabled)
        await self._after_switch()

    async def async_set_opted_out(self, enabled: bool) -> None:
        """Say whether the owner wants no flexible device touched."""
        self.agent.set_opted_out(enabled)
        self.async_changed()  # devices are given back at once, whatever the disk says
        await self._after_switch()

    async def async_set_held(self, delivery_start: int, held: bool) -> None:
        """Take an interval out of the plan, or put it back."""
        self.agent.set_held(self.market_time(), delivery_start, held)
        await self._after_switch()

    async def async_confirm_replacement(self) -> None:
        """Take the meter's next registers as a new beginning that is no energy."""
        self.agent.rebase()
        await self.async_save()

    async def async_save(self) -> None:
        """Bring the agent's state to disk."""
        await self.carrier.async_save()

    async def _after_switch(self) -> None:
        await self.async_save()
        self.async_replan()
        self.carrier.async_deliver()

    @callback
    def _schedule(self) -> None:
        interval_s = self.agent.info.interval_s
        self._planned_at = at = interval_start(int(dt_util.utcnow().timestamp()), interval_s) + interval_s
        self._timer = async_track_point_in_utc_time(self._hass, self._boundary, dt_util.utc_from_timestamp(at))

    @callback
    def _stop(self) -> None:
        if self._timer is not None:
            self._timer()
            self._timer = None

    @callback
    def _boundary(self, planned: datetime) -> None:
        """Sign the registers, plan the next intervals, send both."""
        self._schedule()
        self.last_boundary = at = int(planned.timestamp())
        now = int(dt_util.utcnow().timestamp())
        sample = read_sample(self._hass, self.meters, at, now, self.clock_offset_s)
        outcome = sample if isinstance(sample, GuardRefusal) else self.agent.observe(sample)
        if isinstance(outcome, GuardRefusal):
            self.refusal = outcome
            self.refusals_in_a_row += 1
            LOGGER.debug("No reading at %s: %s", at, outcome.message)
        else:
            self.refusal = None
            self.refusals_in_a_row = 0
        try:
            self.async_see_grid(self.grid)
            self.async_replan()
        finally:  # a plan that fails keeps no reading back
            self.async_changed()
            self.carrier.async_deliver()

    @callback
    def _tell_blocked(self) -> None:
        """Tell once an interval and rule that the policy would have traded but may not."""
        plan = self.plan
        self._blocked_rules = {start: rule for start, rule in self._blocked_rules.items() if start in plan}
        for start, planned in plan.items():
            reason = planned.decision.reason
            if planned.decision.order is None and reason.rule in _BLOCKING:
                if self._blocked_rules.get(start) != reason.rule:
                    self.async_emit("policy_blocked", {"delivery_start": moment(start), "reason": reason.to_dict()})
                self._blocked_rules[start] = reason.rule

    @callback
    def _answered(self, item: Outgoing, answer: Answer) -> None:
        match answer:
            case DeviceReceipt():
                self.receipt = answer
            case dict() if isinstance(item.message, Order):
                self.recent_orders.append(item.key.removeprefix("order:"))
                self.orders_answered += 1
                self.wallet_low = False
                self.async_emit("order_placed", order_words(item, self.agent.info.currency))
            case dict():
                self.orders_answered += 1
            case CoordinatorRefused() if isinstance(item.message, Cancel) and answer.code == "order_not_open":
                self.orders_answered += 1  # it traded or ended meanwhile: have the orders asked for
            case CoordinatorRefused() if isinstance(item.message, Order | Cancel):
                self.orders_answered += 1
                self.rejected = (item, answer)
                self.wallet_low = self.wallet_low or answer.code == "insufficient_funds"
                LOGGER.debug("The coordinator refused %s: %s", item.key, answer)
                words = order_words(item, self.agent.info.currency)
                self.async_emit("order_rejected", {**words, "code": answer.code, "message": str(answer)})
            case CoordinatorRefused():
                LOGGER.warning("The coordinator refused a reading for good (%s): %s", answer.code, answer)


_BLOCKING = frozenset({"outside_band", "limit_zero", "price_missing", "held", "away", "selling_off", "buying_off"})
"""Rules that keep a policy from an order that it would have placed."""

__all__ = ["EventListener", "Home", "OutlookProvider", "StateSaver"]
