"""One home in one market: a state machine that signs readings and orders.

The shell around it (Home Assistant, a simulated home) reads the meter, keeps the time, saves the
state and carries messages; see ``courier``. The contract that makes equivocation impossible:

1. every call that changes something raises ``version``;
2. the shell saves ``to_dict()`` and then calls ``saved(version)``;
3. ``outbox.ready()`` holds a message back until the state that remembers it is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..protocol.client import MarketInfo
from ..protocol.messages import ZERO_HASH, Cancel, Order, Reading, Side, TimeInForce, device_text
from ..protocol.order_terms import Preferences
from ..protocol.wire import read_int, read_list, read_mapping
from . import guard, planner
from .forecast import Forecast
from .guard import GuardRefusal, Register, Sample
from .identity import Identity
from .metered import MeterState
from .orders import ORDER_KEY, Orders, OrderStatus, Standing
from .outbox import ORDERS_MAX, READINGS_MAX, Outbox, Outgoing
from .outlook import Outlook
from .planner import Planned, Step
from .policy import Bounds, Decision, Policy, Situation
from .reason import Reason, Refusal
from .terms import HomeLimits, check_order, gate_closes_at

STATE_VERSION = 2
CONFIDENCE_PERCENT = 80
DECISIONS_KEPT = 100
CANCEL_SLACK_S = 60
"""A cancellation of all covers what arrives this long after it was signed: an order may be on its way,
for as long as a call may last. What waits behind it in the outbox is sent after its answer only."""


class HouseholdAgent:
    """Signs one home's readings and orders; pure, deterministic, restartable at any moment."""

    def __init__(
        self,
        identity: Identity,
        info: MarketInfo,
        policy: Policy,
        limits: HomeLimits,
        *,
        ahead: int = 1,
        local_first: bool = False,
    ) -> None:
        """Start a home that has signed nothing yet; ``ahead`` is how many intervals it plans.

        ``local_first``: its orders wait for the auctions, which bring it together with homes at its own node where
        that costs nobody anything; otherwise they trade at once. ``bounds`` and ``confidence_percent`` (of forecasts)
        may be set at any time, as ``policy`` and ``ahead`` may.
        """
        self.identity = identity
        self.info = info
        self.policy = policy
        self.limits = limits
        self.ahead = ahead
        self.local_first = local_first
        self.bounds = Bounds()
        self.confidence_percent = CONFIDENCE_PERCENT
        self.trading = True
        self.shadow = False
        self.away = False
        self.opted_out = False
        self.held: frozenset[int] = frozenset()
        self.version = 0
        self.outbox = Outbox()
        self.orders = Orders()
        self.meter = MeterState()
        self.decisions: list[Planned] = []
        self.refusal: GuardRefusal | None = None
        self._orders_signed = 0
        self._plan: dict[int, Planned] = {}
        self._planned_at = 0

    def observe_boundary(
        self,
        at: int,
        consumption_wh: int,
        production_wh: int,
        *,
        reported_at: int | None = None,
        clock_offset_s: int = 0,
        flags: int = 0,
    ) -> list[Outgoing] | GuardRefusal:
        """Sign the registers at an interval's boundary; see ``observe``."""
        sample = Sample(
            at=at,
            consumption=Register(consumption_wh),
            production=Register(production_wh),
            reported_at=at if reported_at is None else reported_at,
            clock_offset_s=clock_offset_s,
        )
        return self.observe(sample, flags)

    def observe(self, sample: Sample, flags: int = 0) -> list[Outgoing] | GuardRefusal:
        """Put a signed reading into the outbox, or return why the meter guard refuses."""
        self.refusal = self._check(sample)
        if self.refusal is not None:
            return self.refusal
        self.version += 1
        reading = self.meter.next_reading(self.identity.device_id, sample, flags)
        return [self._enqueue_reading(reading)]

    def plan(self, at: int, outlook: Outlook | None = None) -> list[Outgoing]:
        """Sign what the policy wants done in the open intervals, with reason: orders, and cancellations before them.

        The nearest intervals are expected to be as the last metered one where ``outlook`` has no forecast.
        """
        self._forget_past(at)
        if not self.trading:
            self._plan = {}
            return self._clear(at)
        outlook = self._with_switches(outlook or Outlook())
        signed = self._clear(at) if self.shadow else []
        starts = planner.open_intervals(self.info, at, self.ahead)
        for start, forecast in planner.expected(self.info, at, starts, outlook, self.meter.last):
            signed += self._plan_interval(at, start, forecast, outlook)
        return signed

    def outline(self, at: int, outlook: Outlook) -> dict[int, Planned]:
        """Return what ``plan`` would decide at ``at`` beyond the plan, as far as forecasts reach; nothing is kept."""
        outlook = self._with_switches(outlook)
        starts = planner.intervals_beyond(self.info, at, self.ahead, outlook) if self.trading else ()
        return {
            start: Planned(start, self._decide(at, start, forecast, outlook)[1], at, shadow=self.shadow)
            for start, forecast in planner.expected(self.info, at, starts, outlook, self.meter.last)
            if forecast is not None
        }

    def plan_for(self) -> dict[int, Planned]:
        """Return what was decided last about each interval that is not past, by delivery start."""
        return dict(sorted(self._plan.items()))

    @property
    def awaits_word(self) -> bool:
        """Whether an order was cancelled or refused, but not told what came of it: ask for all, and plan anew."""
        leaving = self._leaving()
        return any(order.cancelling and not leaving & {order.digest, ZERO_HASH} for order in self.orders)

    def heard(self, orders: Iterable[OrderStatus], *, complete: bool = True) -> None:
        """Take over what the coordinator says of this account's orders; what is old does no harm.

        ``complete``: they are all of the account's newest orders, so that one that is missing never came there.
        """
        leaving, told = self._leaving(), tuple(orders)
        news = False
        for status in told:
            if status.delivery_start + self.info.interval_s > self._planned_at:
                news |= self.orders.heard(status, still_cancelling=bool(leaving & {status.digest, ZERO_HASH}))
        if complete and not leaving:
            news |= self.orders.missed({status.digest for status in told}, self._planned_at - 2 * CANCEL_SLACK_S)
        if news:
            self.version += 1

    def place(
        self,
        at: int,
        delivery_start: int,
        side: Side,
        energy_wh: int,
        limit_price_micro_per_kwh: int | None,
        time_in_force: TimeInForce = TimeInForce.GOOD_TILL_GATE,
    ) -> Outgoing | Refusal:
        """Sign an order that a person asked for; the no-regret guard does not apply to it."""
        refusal = check_order(self.info, at, delivery_start, energy_wh, limit_price_micro_per_kwh)
        if refusal is None and len(self.outbox.orders()) >= ORDERS_MAX:
            refusal = Refusal("outbox_full", f"{ORDERS_MAX} orders already wait for the coordinator")
        if refusal is not None:
            return refusal
        inputs = {"energy_wh": energy_wh}
        if limit_price_micro_per_kwh is not None:
            inputs["limit_price_micro_per_kwh"] = limit_price_micro_per_kwh
        text = f"{side} {energy_wh} Wh, as asked for by hand"
        reason = Reason("manual", "by_hand", inputs, text, "the policy's own order covers what this one leaves")
        order = self._order(delivery_start, side, energy_wh, limit_price_micro_per_kwh, time_in_force)
        return self._sign_order(at, order, reason)

    def cancel(self, at: int, order: bytes = ZERO_HASH) -> Outgoing:
        """Sign the cancellation of one order, or of all, that a person asked for; the plan will not place them anew."""
        for known in self.orders:
            if known.open and order in (ZERO_HASH, known.digest):
                known.withdrawn = True
        return self._cancel(at, order)

    def answered(self, key: str) -> Outgoing | None:
        """Note that the coordinator has answered for good: a verified receipt, a status, a refusal."""
        item = self.outbox.remove(key)
        if item is not None:
            self.version += 1
            if isinstance(item.message, Reading):
                self.meter.acknowledged = max(self.meter.acknowledged, item.message.sequence)
        return item

    def refused(self, key: str, at: int = 0) -> Outgoing | None:
        """Note that the coordinator refused for good: a reading, after which ``resume_from`` must follow, or an order.

        ``at`` is when it refused an order.
        """
        item = self.outbox.remove(key)
        if item is not None:
            self.version += 1
            if isinstance(item.message, Order):
                self.orders.refused(_order_id(item), at)
        return item

    def resume_from(self, kept: Reading | None) -> Refusal | None:
        """Line up with the last reading that the coordinator keeps of this meter, one that this home has signed.

        Needed at start-up (a restored backup may be behind) and after a refused reading. Readings
        that wait are signed anew behind ``kept`` when their chain does not continue it; they were
        never accepted, so nothing is contradicted. Returns a refusal when the coordinator has lost
        readings that it had acknowledged.
        """
        sequence = 0 if kept is None else kept.sequence
        if sequence < self.meter.acknowledged:
            return Refusal(
                "coordinator_behind",
                f"the coordinator keeps readings up to {sequence} but had acknowledged"
                f" {self.meter.acknowledged}: its operator must restore the newest backup",
            )
        waiting = self.outbox.readings()
        digest = ZERO_HASH if kept is None else kept.digest(self.info.domain)
        if self._continues(sequence, digest, waiting):
            return None
        self.version += 1
        for item in waiting:
            self.outbox.remove(item.key)
        self.meter.adopt(kept, digest)
        for item in waiting:
            if isinstance(item.message, Reading) and self.meter.may_follow(item.message):
                self._enqueue_reading(self.meter.renumber(item.message))
        return None

    def rebase(self) -> None:
        """Take the next sample as the same energy: the meter was replaced or another one mapped."""
        self.version += 1
        self.meter.rebase()

    def set_trading(self, at: int, enabled: bool) -> list[Outgoing]:
        """Switch trading on or off; switching off cancels what stands in the market."""
        if enabled == self.trading:
            return []
        self.version += 1
        self.trading = enabled
        return [] if enabled else [self._cancel(at, ZERO_HASH)]

    def set_shadow(self, at: int, enabled: bool) -> list[Outgoing]:
        """Only think the plan through, and sign no order of it; switching that on cancels what stands in the market."""
        if enabled == self.shadow:
            return []
        self.version += 1
        self.shadow = enabled
        return [self._cancel(at, ZERO_HASH)] if enabled else []

    def set_away(self, away: bool) -> None:
        """Say whether the household is away; the next ``plan`` follows it."""
        if away != self.away:
            self.version += 1
            self.away = away

    def set_opted_out(self, opted_out: bool) -> None:
        """Say whether the owner wants no flexible device touched."""
        if opted_out != self.opted_out:
            self.version += 1
            self.opted_out = opted_out

    def set_held(self, at: int, delivery_start: int, held: bool) -> None:
        """Take an interval out of the plan, or put it back also after its order was cancelled by hand.

        The next ``plan`` follows it. An interval that is past at ``at`` is not remembered.
        """
        self.version += 1
        if held and delivery_start + self.info.interval_s > at:
            self.held |= {delivery_start}
            return
        self.held -= {delivery_start}
        for order in self.orders.of(delivery_start):
            order.withdrawn = False

    def saved(self, version: int) -> None:
        """Note that the state with this version is on disk; its messages may leave."""
        self.outbox.saved(version)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state as JSON values, without keys."""
        return {
            "state_version": STATE_VERSION,
            "version": self.version,
            **{name: getattr(self, name) for name in _SWITCHES},
            "held": sorted(self.held),
            "device_id": device_text(self.identity.device_id),
            "orders_signed": self._orders_signed,
            "meter": self.meter.to_dict(),
            "orders": self.orders.to_list(),
            "outbox": self.outbox.to_list(),
        }

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        identity: Identity,
        info: MarketInfo,
        policy: Policy,
        limits: HomeLimits,
        *,
        ahead: int = 1,
        local_first: bool = False,
    ) -> HouseholdAgent:
        """Go on from a saved state, also of version 1; ``ValueError`` names a field that is wrong.

        With another meter key than the state's a new chain of readings begins.
        """
        if read_int(data, "state_version") not in (1, STATE_VERSION):
            raise ValueError("the saved state is of another version of Energy Trade")
        agent = cls(identity, info, policy, limits, ahead=ahead, local_first=local_first)
        for name in _SWITCHES:
            setattr(agent, name, data.get(name) is True)
        agent.version = read_int(data, "version")
        agent.held = frozenset(read_int({"held": start}, "held") for start in data.get("held", ()))
        agent._orders_signed = read_int(data, "orders_signed")
        agent.orders = Orders.from_state(data)
        agent.meter = MeterState.from_dict(read_mapping(data, "meter"))
        agent.outbox = Outbox.from_list(read_list(data, "outbox"), agent.version)
        if data.get("device_id", device_text(identity.device_id)) != device_text(identity.device_id):
            agent.meter = MeterState()
            for item in agent.outbox.readings():
                agent.outbox.remove(item.key)
        return agent

    def _clear(self, at: int) -> list[Outgoing]:
        """Cancel what stands of the plan although it may not trade: an order that came in after all were cancelled."""
        left = [order for order in self.orders if order.planned and order.open and order.heard and not order.cancelling]
        return [
            self._cancel(at, order.digest)
            for order in left
            if order.cancelled_at + planner.CANCEL_AGAIN_S <= at < gate_closes_at(self.info, order.delivery_start)
        ]

    def _with_switches(self, outlook: Outlook) -> Outlook:
        return replace(outlook, away=outlook.away or self.away, held=outlook.held | self.held)

    def _decide(self, at: int, start: int, forecast: Forecast | None, outlook: Outlook) -> tuple[Situation, Decision]:
        orders = self.orders.of(start)
        committed_wh = planner.committed_wh(orders, forecast)
        situation = Situation(at, start, forecast, self.info, self.limits, outlook, committed_wh)
        return situation, planner.decide_interval(self.policy, self.bounds, situation, orders)

    def _plan_interval(self, at: int, start: int, forecast: Forecast | None, outlook: Outlook) -> list[Outgoing]:
        """Decide about one interval and sign what that asks for."""
        situation, decision = self._decide(at, start, forecast, outlook)
        if self.shadow:
            self._note(Planned(start, decision, at, shadow=True))
            return []
        step, about = planner.next_step(decision, situation, self.orders.of(start))
        if step is Step.CANCEL and about is not None:
            self._note(Planned(start, decision, at))
            return [self._cancel(at, about.digest)]
        if step is Step.PLACE and decision.order is not None and len(self.outbox.orders()) < ORDERS_MAX:
            terms = decision.order
            order = self._order(start, terms.side, terms.energy_wh, terms.limit_price_micro_per_kwh)
            order = replace(order, preferences=self._preferences(terms.limit_price_micro_per_kwh))
            item = self._sign_order(at, order, decision.reason, planned=True)
            self._note(Planned(start, decision, at, order=_order_id(item)))
            return [item]
        self._note(planner.as_it_stands(Planned(start, decision, at), about))
        return []

    def _note(self, planned: Planned) -> None:
        """Keep a decision, also in the list of decisions when it is another than before."""
        before = self._plan.get(planned.delivery_start)
        self._plan[planned.delivery_start] = planned
        if before is None or planner.differs(before, planned):
            self.decisions = [*self.decisions, planned][-DECISIONS_KEPT:]

    def _check(self, sample: Sample) -> GuardRefusal | None:
        if len(self.outbox.readings()) >= READINGS_MAX:
            return GuardRefusal(
                "outbox_full",
                f"{READINGS_MAX} readings wait for the coordinator: check why it does not answer",
            )
        return guard.check(sample, self.meter.baseline, self.limits, self.info.interval_s)

    def _order(
        self,
        delivery_start: int,
        side: Side,
        energy_wh: int,
        price: int | None,
        time_in_force: TimeInForce = TimeInForce.GOOD_TILL_GATE,
    ) -> Order:
        """Return an order of this home, without its number."""
        account, market = self.identity.account, self.info.market
        return Order(account, market, delivery_start, side, energy_wh, price, time_in_force)

    def _sign_order(self, at: int, order: Order, reason: Reason, *, planned: bool = False) -> Outgoing:
        number = self._next_number()
        order = replace(order, client_id=f"{reason.policy}-{number}", salt=self.identity.salt(number))
        digest, start = order.digest(self.info.domain), order.delivery_start
        item = Outgoing(
            key=ORDER_KEY + digest.hex(),
            message=order,
            signature=self.identity.account_key.sign(digest),
            expires_at=gate_closes_at(self.info, start),
            reason=reason,
        )
        self.outbox.add(item, self.version)
        limit = order.limit_price_micro_per_kwh
        self.orders.add(Standing(digest, start, order.side, order.energy_wh, limit, reason, planned=planned, at=at))
        return item

    def _cancel(self, at: int, order: bytes) -> Outgoing:
        """Sign a cancellation; what waits about its orders leaves the outbox at once."""
        for item in self.outbox.orders():
            about = item.message.order if isinstance(item.message, Cancel) else _order_id(item)
            if order in (ZERO_HASH, about):
                self._take_back(item)
        for known in self.orders:
            if order in (ZERO_HASH, known.digest):
                self.orders.cancel(known.digest, at)
        number = self._next_number()
        until = at + CANCEL_SLACK_S if order == ZERO_HASH else at
        message = Cancel(self.identity.account, self.info.market, order, until, self.identity.salt(number))
        signature = self.identity.account_key.sign(message.digest(self.info.domain))
        item = Outgoing(f"cancel:{number}", message, signature, at + self.info.horizon_s)
        self.outbox.add(item, self.version)
        return item

    def _take_back(self, item: Outgoing) -> None:
        """Take an order or a cancellation out of the outbox; one that never left cannot trade."""
        never_left = not self.outbox.may_have_left(item.key)
        self.outbox.remove(item.key)
        known = self.orders.get(_order_id(item)) if isinstance(item.message, Order) else None
        if known is not None and never_left:
            known.open = False

    def _leaving(self) -> set[bytes]:
        """Return the orders whose cancellation waits for its answer (zero: all)."""
        return {item.message.order for item in self.outbox.orders() if isinstance(item.message, Cancel)}

    def _preferences(self, limit_price_micro_per_kwh: int) -> Preferences | None:
        """Return the wish for energy from the own node, at no premium."""
        if not self.local_first:
            return None
        return Preferences(local=True, other_limit_price_micro_per_kwh=limit_price_micro_per_kwh)

    def _enqueue_reading(self, reading: Reading) -> Outgoing:
        digest = reading.digest(self.info.domain)
        self.meter.signed(reading, digest)
        signature = self.identity.meter_key.sign(digest)
        item = Outgoing(f"reading:{reading.sequence}", reading, signature)
        self.outbox.add(item, self.version)
        return item

    def _continues(self, sequence: int, digest: bytes, waiting: list[Outgoing]) -> bool:
        """Tell whether the chain that waits (or the last signed one) continues the kept reading."""
        for item in waiting:
            message = item.message
            if isinstance(message, Reading) and message.sequence == sequence:
                return message.digest(self.info.domain) == digest
        if waiting and isinstance(waiting[0].message, Reading):
            first = waiting[0].message
            return (first.sequence - 1, first.previous) == (sequence, digest)
        return (self.meter.sequence, self.meter.previous) == (sequence, digest)

    def _next_number(self) -> int:
        self.version += 1
        self._orders_signed += 1
        return self._orders_signed

    def _forget_past(self, at: int) -> None:
        self._planned_at = at
        interval_s = self.info.interval_s
        self._plan = {start: planned for start, planned in self._plan.items() if start + interval_s > at}
        held = frozenset(start for start in self.held if start + interval_s > at)
        expired = self.outbox.drop_expired(at)
        past = self.orders.forget(at, interval_s)
        if expired or past or held != self.held:
            self.version += 1
        self.held = held


def _order_id(item: Outgoing) -> bytes:
    return bytes.fromhex(item.key.removeprefix(ORDER_KEY))


_SWITCHES = ("trading", "shadow", "away", "opted_out")

__all__ = ["HouseholdAgent", "OrderStatus"]
