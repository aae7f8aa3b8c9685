"""A market for one home: the coordinator's own checks of readings, in memory, with faults on demand."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from coordinator.household.agent import HouseholdAgent
from coordinator.household.identity import Identity
from coordinator.household.policies import SurplusPolicy
from coordinator.household.terms import HomeLimits
from coordinator.metering.verification import Head, MeterFacts, Refusal, Verdict, check_reading, next_head
from coordinator.protocol.client import CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from coordinator.protocol.keys import AccountKey, MeterKey, verify_account, verify_meter
from coordinator.protocol.messages import Cancel, DeviceReceipt, Order, Reading
from coordinator.protocol.typed_data import Domain

DOMAIN = Domain(31337, "0x" + "11" * 20)
OPERATOR = AccountKey.from_secret(bytes([7] * 32))
IDENTITY = Identity(AccountKey.from_secret(bytes([1] * 32)), MeterKey.from_secret(bytes([2] * 32)))
LIMITS = HomeLimits(import_limit_w=24_000, export_limit_w=10_000)
START = 1_800_000_000
INTERVAL_S = 60


def market_info(**changes: Any) -> MarketInfo:
    fields: dict[str, Any] = {
        "market": "sunny-street",
        "name": "Sunny Street",
        "currency": "EUR",
        "version": "0.1.0",
        "state": "open",
        "time": START,
        "interval_s": INTERVAL_S,
        "gate_s": 10,
        "horizon_s": 3_600,
        "price_min_micro_per_kwh": 0,
        "price_max_micro_per_kwh": 1_000_000,
        "supplier_micro_per_kwh": 320_000,
        "feed_in_micro_per_kwh": 80_000,
        "order_energy_max_wh": 100_000,
        "domain": DOMAIN,
        "operator_account": OPERATOR.address,
        "operator_public_key": OPERATOR.public_key,
    }
    return MarketInfo(**(fields | changes))


INFO = market_info()
POLICY = SurplusPolicy.between_tariffs(INFO)


def signed_reading(reading: Reading, key: MeterKey = IDENTITY.meter_key) -> dict[str, Any]:
    """What ``last`` of ``GET /meters/{device_id}`` says of a reading, signed by this home's meter or by another."""
    return {"reading": reading.to_wire(), "signature": "0x" + key.sign(reading.digest(DOMAIN)).hex()}


def new_agent(info: MarketInfo = INFO, ahead: int = 1) -> HouseholdAgent:
    return HouseholdAgent(IDENTITY, info, POLICY, LIMITS, ahead=ahead)


@dataclass
class Kept:
    """An order as the market keeps it."""

    order: Order
    filled_wh: int = 0
    closed: str | None = None

    def status(self) -> str:
        if self.closed is not None:
            return self.closed
        return "partly_filled" if self.filled_wh else "resting"


class Crashed(BaseException):
    """The home's process is gone; nothing after this line runs."""


class Market:
    """Keeps what a coordinator would, judged by its own rules.

    ``faults`` are consumed call by call: ``refuse:CODE``, ``away`` (never arrived), ``late`` (an order that arrives
    when everybody has given it up), ``lost`` (arrived, the answer did not), ``crash`` and ``crash_lost`` likewise for
    the home itself; anything else passes.
    """

    def __init__(self) -> None:
        self.now = START
        self.readings: dict[int, Reading] = {}
        self.kept: dict[bytes, Kept] = {}
        self.on_their_way: list[Order] = []
        self.cancels: list[Cancel] = []
        self.equivocations = 0
        self.suspended: str | None = None
        self.faults: list[str] = []
        self.calls: list[str] = []

    @property
    def orders(self) -> dict[bytes, Order]:
        """All orders that ever came."""
        return {digest: kept.order for digest, kept in self.kept.items()}

    def trade(self, digest: bytes, energy_wh: int) -> None:
        """Let somebody trade with an open order."""
        kept = self.kept[digest]
        assert kept.closed is None
        kept.filled_wh += min(energy_wh, kept.order.energy_wh - kept.filled_wh)
        if kept.filled_wh == kept.order.energy_wh:
            kept.closed = "filled"

    def arrive(self) -> None:
        """Let the late orders come in."""
        for order in self.on_their_way:
            if self.now < order.delivery_start - INFO.gate_s:
                self.kept.setdefault(order.digest(DOMAIN), Kept(order))
        self.on_their_way = []

    def close_gates(self) -> None:
        """End what can no longer trade."""
        for kept in self.kept.values():
            if kept.closed is None and self.now >= kept.order.delivery_start - INFO.gate_s:
                kept.closed = "expired"

    def told(self) -> list[dict[str, Any]]:
        """What ``GET /accounts/{address}/orders`` says now."""
        return [{**_placed(digest, kept), "terms": kept.order.to_wire()} for digest, kept in self.kept.items()][::-1]

    @property
    def head(self) -> Head | None:
        head, facts = None, MeterFacts(LIMITS.import_limit_w, LIMITS.export_limit_w)
        for sequence in sorted(self.readings):
            reading = self.readings[sequence]
            head = next_head(head, reading, reading.digest(DOMAIN), facts)
        return head

    async def place_order(self, order: Order, signature: bytes) -> dict[str, Any]:
        fault = self._before("order")
        digest = order.digest(DOMAIN)
        assert verify_account(digest, signature, IDENTITY.account_key.public_key)
        if fault == "late":
            self.on_their_way.append(order)
            raise CoordinatorUnavailable("no answer in time")
        if digest not in self.kept and self.now >= order.delivery_start - INFO.gate_s:
            raise CoordinatorRefused(409, "gate_closed", "too late")
        kept = self.kept.setdefault(digest, Kept(order))
        self._after(fault)
        return _placed(digest, kept)

    async def cancel(self, cancel: Cancel, signature: bytes) -> dict[str, Any]:
        fault = self._before("cancel")
        assert verify_account(cancel.digest(DOMAIN), signature, IDENTITY.account_key.public_key)
        self.cancels.append(cancel)
        closed = self._cancel(cancel)
        self._after(fault)
        return {"cancelled": closed}

    async def submit_reading(self, reading: Reading, signature: bytes, info: MarketInfo) -> DeviceReceipt:
        fault = self._before(f"reading {reading.sequence}")
        digest = reading.digest(DOMAIN)
        assert verify_meter(digest, signature, IDENTITY.meter_key.public_key)
        known = self.readings.get(reading.sequence)
        facts = MeterFacts(LIMITS.import_limit_w, LIMITS.export_limit_w, self.suspended)
        verdict = check_reading(
            reading, digest, facts, self.head, None if known is None else known.digest(DOMAIN), self.now
        )
        if isinstance(verdict, Refusal):
            raise CoordinatorRefused(409, verdict.code, verdict.message, verdict.detail)
        if verdict is Verdict.EQUIVOCATION:
            self.equivocations += 1
            raise CoordinatorRefused(409, "equivocation", "another content")
        self.readings[reading.sequence] = reading
        self._after(fault)
        return DeviceReceipt(reading.device_id, reading.sequence, digest, self.now)

    async def meter(self, device_id: int) -> dict[str, Any]:
        fault = self._before("meter")
        last = self.readings[max(self.readings)] if self.readings else None
        self._after(fault)
        return {"last": None if last is None else signed_reading(last)}

    def _cancel(self, cancel: Cancel) -> list[str]:
        kept = self.kept.get(cancel.order)
        if any(cancel.order) and kept is None:
            raise CoordinatorRefused(404, "unknown_order", "no such order")
        if kept is not None and kept.closed is not None:
            raise CoordinatorRefused(409, "order_not_open", "nothing left to cancel")
        leaving = self.kept.items() if kept is None else [(cancel.order, kept)]
        closed = [(digest, order) for digest, order in leaving if order.closed is None]
        for _, order in closed:
            order.closed = "cancelled"
        return ["0x" + digest.hex() for digest, _ in closed]

    def _before(self, call: str) -> str:
        self.calls.append(call)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "away":
            raise CoordinatorUnavailable("no answer")
        if fault == "crash":
            raise Crashed
        if fault.startswith("refuse:"):
            raise CoordinatorRefused(422, fault.removeprefix("refuse:"), "refused")
        return fault

    def _after(self, fault: str) -> None:
        if fault == "lost":
            raise CoordinatorUnavailable("the answer got lost")
        if fault == "crash_lost":
            raise Crashed


def _placed(digest: bytes, kept: Kept) -> dict[str, Any]:
    filled_wh = kept.filled_wh
    return {
        "order": "0x" + digest.hex(),
        "status": kept.status(),
        "filled_wh": filled_wh,
        "remaining_wh": kept.order.energy_wh - filled_wh,
    }


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for anything outside."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the coroutine waits for something")
