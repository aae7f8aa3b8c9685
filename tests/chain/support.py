"""A community without a ledger: homes that sign, and doubles of the chain's two ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from btclib_secp256k1 import recovery

from coordinator.chain.batch import changes, unpack
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import Deployment
from coordinator.chain.observer import Observer, ObserverSettings
from coordinator.chain.ports import (
    Balance,
    ChainEvent,
    CorrectedAccount,
    Deposited,
    Effect,
    ExpectedBatch,
    FeesCollected,
    IntervalCorrected,
    Mined,
    Mismatch,
    Report,
    Standing,
    Withdrawn,
)
from coordinator.chain.rpc import Rpc
from coordinator.chain.sender import Sender, SenderSettings
from coordinator.protocol.chain_messages import Correction
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import MeterRegistration, Order, Side, device_text
from coordinator.protocol.typed_data import Domain
from coordinator.protocol.units import value_micro
from coordinator.settlement.rows import Row, SignedOrder, pack_rows

MARKET = "neighbourhood"
INTERVAL_S = 900
FAST = SenderSettings(retry_s=0.05, wait_longest_s=0.2, attempts_max=3, idle_s=0.1, repeat_s=0.3)
FAST_OBSERVER = ObserverSettings(poll_s=0.05, grace_s=0.5, columns_every_s=0.1)


class MemoryOutbox:
    """The outbox port; ``sends`` keeps every transaction that was stored, in order."""

    def __init__(self) -> None:
        self.effects: dict[str, Effect] = {}
        self.errors: dict[str, str] = {}
        self.done: dict[str, Mined] = {}
        self.sends: list[tuple[str, int, str]] = []
        self._changed = asyncio.Event()

    def add(self, key: str, kind: str, payload: dict[str, Any]) -> None:
        self.effects[key] = Effect(key, kind, payload)
        self._changed.set()

    async def pending(self, limit: int, *, but: str | None = None) -> Sequence[Effect]:
        return [e for e in self.effects.values() if e.state in ("pending", "sent") and e.kind != but][:limit]

    async def signed_since(self, nonce: int) -> Sequence[Effect]:
        signed = [e for e in self.effects.values() if e.nonce is not None and e.nonce >= nonce]
        return sorted(signed, key=lambda e: e.nonce or 0)

    async def mark_sent(self, key: str, nonce: int, raw_transaction: bytes, transaction: str) -> bool:
        if self.effects[key].state == "superseded":
            return False
        self.sends.append((key, nonce, transaction))
        self._set(key, nonce=nonce, raw_transaction=raw_transaction, transaction=transaction, state="sent")
        return True

    async def mark_done(self, key: str, block_number: int, gas_used: int, transaction: str) -> None:
        self.done[key] = Mined(transaction, block_number, gas_used)
        self._set(key, state="done")

    async def mark_failed(self, key: str, error: str, *, retry: bool) -> None:
        self.errors[key] = error
        attempts = self.effects[key].attempts + 1
        self._set(key, state="pending" if retry else "failed", attempts=attempts)

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    def states(self) -> dict[str, str]:
        return {key: effect.state for key, effect in self.effects.items()}

    def _set(self, key: str, **changed: Any) -> None:
        self.effects[key] = replace(self.effects[key], **changed)


@dataclass
class Home:
    """An account and its meter."""

    account: AccountKey = field(default_factory=AccountKey.generate)
    meter: MeterKey = field(default_factory=MeterKey.generate)

    @property
    def address(self) -> str:
        return self.account.address


def compact(key: AccountKey, digest: bytes) -> bytes:
    """Sign as ``r || vs``."""
    signature, parity = recovery.sign(digest, key.secret)
    return signature[:32] + bytes([signature[32] | parity << 7]) + signature[33:]


class Community:
    """What a coordinator would decide: effects with real signatures, and the ledger's columns."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.domain = Domain(deployment.chain_id, deployment.addresses.ledger)
        self.outbox = MemoryOutbox()
        self.batches: dict[int, ExpectedBatch] = {}
        self.confirmed: set[int] = set()
        self.credited: dict[str, tuple[str, int]] = {}
        self.corrected: dict[str, tuple[CorrectedAccount, ...]] = {}
        self.agreed: dict[tuple[int, int], tuple[CorrectedAccount, ...]] = {}
        self.events: list[ChainEvent] = []
        self.reports: list[Report] = []
        self.failed: list[tuple[str, str]] = []

    # What it decides

    def welcome(self, home: Home, money_micro: int = 5_000_000) -> str:
        key = f"welcome:{home.address}"
        self.outbox.add(key, "deposit_welcome", {"account": home.address, "money_micro": money_micro})
        return key

    def register(self, home: Home) -> str:
        key, public = f"meter:{device_text(home.meter.device_id)}", home.meter.public_key
        message = MeterRegistration(home.meter.device_id, home.address, public[:32], public[32:], 25_000, 10_000)
        digest = message.digest(self.domain)
        signatures = {"meter": home.meter.sign(digest), "account": compact(home.account, digest)}
        signed = {f"{name}_signature": hexed(signature) for name, signature in signatures.items()}
        self.outbox.add(key, "register_meter", message.to_wire() | signed)
        return key

    def trade(
        self,
        number: int,
        seller: Home,
        buyer: Home,
        energy_wh: int = 500,
        surplus_wh: int = 20,
        fee_micro: int = 0,
    ) -> str:
        """Decide the settlement of one trade in the number-th interval since genesis; the buyer pays a fee."""
        start = self.deployment.genesis + number * INTERVAL_S
        value = value_micro(energy_wh, 200_000)
        rows, orders = [], {}
        for home, side, limit in ((seller, Side.SELL, 180_000), (buyer, Side.BUY, None)):
            order = Order(home.address, MARKET, start, side, energy_wh + 100, limit)
            digest = order.digest(self.domain)
            orders[digest] = SignedOrder(order, compact(home.account, digest))
            metered_wh = energy_wh + (surplus_wh if side is Side.SELL else 0)
            paid = value + (fee_micro if side is Side.BUY else 0)
            rows.append(Row(home.address, digest, side, energy_wh, 0, metered_wh, paid, 1))
        packed = pack_rows(sorted(rows, key=lambda r: r.account), orders)
        return self.settle(ExpectedBatch(start, b"\x11" * 32, b"\x22" * 32, packed))

    def settle(self, batch: ExpectedBatch) -> str:
        key = f"settle:{batch.delivery_start}:0"
        self.batches[batch.delivery_start] = batch
        self.outbox.add(key, "settle_batch", payload(batch))
        return key

    def correct(self, gains: Home, loses: Home) -> str:
        """Agree on 40 Wh and 7 micro that one home loses; another gets 30 Wh and the money, 10 Wh are burned."""
        (start,) = self.batches
        receipts_root = b"\x55" * 32
        message = Correction(loses.address, MARKET, start, 1, -40, -7, receipts_root)
        lost = CorrectedAccount(loses.address, -40, -7, 0, 10)
        rows = {CorrectedAccount(gains.address, 30, 7, 0, 0): bytes(64)}
        rows[lost] = compact(loses.account, message.digest(self.domain))
        self.agreed[start, 1] = tuple(sorted(rows, key=lambda row: row.account))
        decided = {
            "delivery_start": start,
            "revision": 1,
            "readings_root": hexed(b"\x44" * 32),
            "receipts_root": hexed(receipts_root),
            "rows": [asdict(row) | {"signature": hexed(rows[row])} for row in self.agreed[start, 1]],
        }
        key = f"correct:{start}:1"
        self.outbox.add(key, "correct_interval", decided)
        return key

    # What app does

    async def on_done(self, effect: Effect, mined: Mined) -> None:
        self.confirmed.add(effect.payload["delivery_start"])
        await self.outbox.mark_done(effect.key, mined.block_number, mined.gas_used, mined.transaction)

    async def on_failed(self, effect: Effect, error: str) -> None:
        self.failed.append((effect.key, error))

    async def on_event(self, event: ChainEvent) -> None:
        self.events.append(event)
        match event:
            case Deposited() | FeesCollected():
                self.credited[event.reference] = event.account, event.money_micro
            case Withdrawn():
                self.credited[event.reference] = event.account, -event.money_micro
            case IntervalCorrected():
                self.corrected[event.reference] = event.rows or ()
            case _:
                pass

    async def on_report(self, report: Report) -> None:
        self.reports.append(report)

    async def batch(self, delivery_start: int) -> ExpectedBatch | None:
        return self.batches.get(delivery_start)

    async def correction(self, delivery_start: int, revision: int) -> tuple[CorrectedAccount, ...] | None:
        return self.agreed.get((delivery_start, revision))

    async def standing(self) -> Standing:
        unconfirmed = self.batches.keys() - self.confirmed
        in_flight = (row.account for start in unconfirmed for row in unpack(self.batches[start].rows))
        return Standing(self.columns(), len(unconfirmed), len(self.confirmed), frozenset(in_flight))

    def columns(self) -> dict[str, Balance]:
        columns: dict[str, Balance] = {}
        gains = list(self.credited.values())
        moves = [(account, money_micro, 0) for account, money_micro in gains]
        moves += [(row.account, row.money_micro, row.energy_wh) for rows in self.corrected.values() for row in rows]
        for batch in self.batches.values():
            moves += [(account, *change) for account, change in changes(unpack(batch.rows)).items()]
        for account, money_micro, energy_wh in moves:
            columns[account] = columns.get(account, Balance(0, 0)).plus(money_micro, energy_wh)
        return columns

    def mismatches(self) -> list[str]:
        return [report.code for report in self.reports if isinstance(report, Mismatch)]

    # The tasks under test

    @asynccontextmanager
    async def sending(self, key: AccountKey, settings: SenderSettings = FAST) -> AsyncIterator[Sender]:
        async with Rpc(self.deployment.rpc_url) as rpc:
            sender = Sender(rpc, key, self.deployment, self.outbox, self.on_done, self.on_failed, settings)
            async with running(sender.run):
                yield sender

    @asynccontextmanager
    async def observing(self, file: Path, settings: ObserverSettings = FAST_OBSERVER) -> AsyncIterator[Observer]:
        async with Rpc(self.deployment.rpc_url) as rpc:
            observer = Observer(rpc, self.deployment, self, self.on_event, self.on_report, file, settings)
            async with running(observer.run):
                yield observer


def payload(batch: ExpectedBatch) -> dict[str, Any]:
    return {
        "delivery_start": batch.delivery_start,
        "readings_root": hexed(batch.readings_root),
        "receipts_root": hexed(batch.receipts_root),
        "rows": hexed(batch.rows),
    }


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a task that never ends by itself; its failure fails the test."""
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is awaited may be another process's doing
            await asyncio.sleep(0.01)


def events_of[T](kind: type[T], events: Iterable[object]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]
