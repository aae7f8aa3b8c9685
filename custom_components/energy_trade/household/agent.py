"""One home in one market: a state machine that signs readings and orders.

The shell around it (Home Assistant, a simulated home) reads the meter, keeps the time, saves the
state and carries messages; see ``courier``. The contract that makes equivocation impossible:

1. every call that changes something raises ``version``;
2. the shell saves ``to_dict()`` and then calls ``saved(version)``;
3. ``outbox.ready()`` holds a message back until the state that remembers it is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..protocol.client import MarketInfo
from ..protocol.messages import ZERO_HASH, Cancel, Order, Reading, Side, TimeInForce
from ..protocol.order_terms import Preferences
from ..protocol.wire import read_int, read_list, read_mapping
from . import guard, planner
from .guard import GuardRefusal, Register, Sample
from .identity import Identity
from .metered import KeptReading, MeterState
from .outbox import ORDERS_MAX, READINGS_MAX, Outbox, Outgoing
from .policy import Policy
from .reason import Reason, Refusal
from .terms import HomeLimits, gate_closes_at, is_open

STATE_VERSION = 1
DECISIONS_KEPT = 20
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
        that costs nobody anything; otherwise they trade at once.
        """
        self.identity = identity
        self.info = info
        self.policy = policy
        self.limits = limits
        self.ahead = ahead
        self.local_first = local_first
        self.trading = True
        self.version = 0
        self.outbox = Outbox()
        self.meter = MeterState()
        self.decisions: list[planner.Planned] = []
        self.refusal: GuardRefusal | None = None
        self._orders_signed = 0
        self._taken: dict[tuple[int, Side], bytes] = {}

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

    def plan(self, at: int) -> list[Outgoing]:
        """Sign the orders that the policy wants for the open intervals, once each, with reason."""
        self._forget_past(at)
        if not self.trading:
            return []
        planned = planner.plan(self.policy, self.info, self.limits, self.meter.last, at, self.ahead, self._taken.keys())
        self.decisions = [*self.decisions, *planned][-DECISIONS_KEPT:]
        signed = []
        for item in planned:
            order = item.decision.order
            if order is not None and len(self.outbox.orders()) < ORDERS_MAX:
                outgoing = self._sign_order(
                    item.delivery_start,
                    order.side,
                    order.energy_wh,
                    order.limit_price_micro_per_kwh,
                    TimeInForce.GOOD_TILL_GATE,
                    item.decision.reason,
                    self._preferences(order.limit_price_micro_per_kwh),
                )
                self._taken[item.delivery_start, order.side] = _order_id(outgoing)
                signed.append(outgoing)
        return signed

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
        refusal = self._check_order(at, delivery_start, energy_wh, limit_price_micro_per_kwh)
        if refusal is not None:
            return refusal
        inputs = {"energy_wh": energy_wh}
        if limit_price_micro_per_kwh is not None:
            inputs["limit_price_micro_per_kwh"] = limit_price_micro_per_kwh
        text = f"{side} {energy_wh} Wh, as asked for by hand"
        reason = Reason("manual", "by_hand", inputs, text, "the policy's own order stands beside it")
        return self._sign_order(delivery_start, side, energy_wh, limit_price_micro_per_kwh, time_in_force, reason)

    def cancel(self, at: int, order: bytes = ZERO_HASH) -> Outgoing:
        """Sign the cancellation of one order, or of all; what waits about them leaves the outbox at once."""
        for item in self.outbox.orders():
            about = item.message.order if isinstance(item.message, Cancel) else _order_id(item)
            if order in (ZERO_HASH, about):
                self.outbox.remove(item.key)
        number = self._next_number()
        until = at + CANCEL_SLACK_S if order == ZERO_HASH else at
        message = Cancel(self.identity.account, self.info.market, order, until, self.identity.salt(number))
        signature = self.identity.account_key.sign(message.digest(self.info.domain))
        item = Outgoing(f"cancel:{number}", message, signature, at + self.info.horizon_s)
        self.outbox.add(item, self.version)
        return item

    def answered(self, key: str) -> Outgoing | None:
        """Note that the coordinator has answered for good: a verified receipt, a status, a refusal."""
        item = self.outbox.remove(key)
        if item is not None:
            self.version += 1
            if isinstance(item.message, Reading):
                self.meter.acknowledged = max(self.meter.acknowledged, item.message.sequence)
        return item

    def refused(self, key: str) -> Outgoing | None:
        """Note that the coordinator refused for good; after a reading, ``resume_from`` must follow."""
        item = self.outbox.remove(key)
        if item is not None:
            self.version += 1
        return item

    def resume_from(self, kept: KeptReading | None) -> Refusal | None:
        """Line up with the last reading that the coordinator keeps of this meter.

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
        if self._continues(sequence, ZERO_HASH if kept is None else kept.digest, waiting):
            return None
        self.version += 1
        for item in waiting:
            self.outbox.remove(item.key)
        self.meter.adopt(kept)
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
        return [] if enabled else [self.cancel(at)]

    def saved(self, version: int) -> None:
        """Note that the state with this version is on disk; its messages may leave."""
        self.outbox.saved(version)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state as JSON values, without keys."""
        return {
            "state_version": STATE_VERSION,
            "version": self.version,
            "trading": self.trading,
            "orders_signed": self._orders_signed,
            "meter": self.meter.to_dict(),
            "taken": [[start, side.value, "0x" + digest.hex()] for (start, side), digest in self._taken.items()],
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
        """Go on from a saved state; ``ValueError`` names a field that is wrong."""
        if read_int(data, "state_version") != STATE_VERSION:
            raise ValueError("the saved state is of another version of Energy Trade")
        agent = cls(identity, info, policy, limits, ahead=ahead, local_first=local_first)
        agent.version = read_int(data, "version")
        agent.trading = data.get("trading") is True
        agent._orders_signed = read_int(data, "orders_signed")
        agent.meter = MeterState.from_dict(read_mapping(data, "meter"))
        agent._taken = {
            (start, Side(side)): bytes.fromhex(digest[2:]) for start, side, digest in read_list(data, "taken")
        }
        agent.outbox = Outbox.from_list(read_list(data, "outbox"), agent.version)
        return agent

    def _check(self, sample: Sample) -> GuardRefusal | None:
        if len(self.outbox.readings()) >= READINGS_MAX:
            return GuardRefusal(
                "outbox_full",
                f"{READINGS_MAX} readings wait for the coordinator: check why it does not answer",
            )
        return guard.check(sample, self.meter.baseline, self.limits, self.info.interval_s)

    def _check_order(self, at: int, delivery_start: int, energy_wh: int, price: int | None) -> Refusal | None:
        info = self.info
        if delivery_start % info.interval_s:
            return Refusal("interval_misaligned", f"start at a multiple of {info.interval_s} s")
        if not is_open(info, delivery_start, at):
            return Refusal("interval_not_open", "choose an interval whose gate is still open")
        if not 0 < energy_wh <= info.order_energy_max_wh:
            return Refusal("energy_out_of_range", f"order 1 to {info.order_energy_max_wh} Wh")
        low, high = info.price_min_micro_per_kwh, info.price_max_micro_per_kwh
        if price is not None and not low <= price <= high:
            return Refusal("price_out_of_band", f"name a price from {low} to {high} micro per kWh")
        if len(self.outbox.orders()) >= ORDERS_MAX:
            return Refusal("outbox_full", f"{ORDERS_MAX} orders already wait for the coordinator")
        return None

    def _sign_order(
        self,
        delivery_start: int,
        side: Side,
        energy_wh: int,
        price: int | None,
        time_in_force: TimeInForce,
        reason: Reason,
        preferences: Preferences | None = None,
    ) -> Outgoing:
        number = self._next_number()
        order = Order(
            account=self.identity.account,
            market=self.info.market,
            delivery_start=delivery_start,
            side=side,
            energy_wh=energy_wh,
            limit_price_micro_per_kwh=price,
            time_in_force=time_in_force,
            client_id=f"{reason.policy}-{number}",
            salt=self.identity.salt(number),
            preferences=preferences,
        )
        digest = order.digest(self.info.domain)
        item = Outgoing(
            key=f"order:0x{digest.hex()}",
            message=order,
            signature=self.identity.account_key.sign(digest),
            expires_at=gate_closes_at(self.info, delivery_start),
            reason=reason,
        )
        self.outbox.add(item, self.version)
        return item

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
        expired = self.outbox.drop_expired(at)
        past = [key for key in self._taken if key[0] + self.info.interval_s <= at]
        for key in past:
            del self._taken[key]
        if expired or past:
            self.version += 1


def _order_id(item: Outgoing) -> bytes:
    return bytes.fromhex(item.key.removeprefix("order:0x"))
