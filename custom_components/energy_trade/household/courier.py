"""Carry a home's outbox to its coordinator: orders first, then readings strictly in sequence.

No I/O of its own: the client is handed in. Every message can be sent twice without harm, so an
answer that got lost, or a crash before the state was saved, only means sending again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from ..protocol.client import CoordinatorRefused, CoordinatorUnavailable, MarketInfo
from ..protocol.keys import verify_meter
from ..protocol.messages import Cancel, DeviceReceipt, Order, Reading
from ..protocol.wire import read_bytes, read_mapping
from .agent import HouseholdAgent
from .orders import ORDER_KEY, OrderStatus
from .outbox import Outgoing
from .reason import Refusal

OTHER_INSTALLATION = "other_installation"

# Somebody can lift these; until then the reading stays in the outbox.
_BLOCKING_CODES = frozenset(
    {"clock_skew", "not_a_member", OTHER_INSTALLATION, "suspended", "unauthorized", "unknown_meter"}
)


class ForeignReadingError(CoordinatorUnavailable):
    """The last reading that the coordinator tells was never signed by the meter; nothing is sent behind such a one."""


type Answer = dict[str, Any] | DeviceReceipt | CoordinatorRefused
type Save = Callable[[], Awaitable[None]]
type OnAnswer = Callable[[Outgoing, Answer], None]


class Client(Protocol):
    """The part of ``protocol.client.CoordinatorClient`` that delivery needs."""

    async def place_order(self, order: Order, signature: bytes) -> dict[str, Any]:
        """Place a signed order."""

    async def cancel(self, cancel: Cancel, signature: bytes) -> dict[str, Any]:
        """Cancel an order, or all."""

    async def submit_reading(self, reading: Reading, signature: bytes, info: MarketInfo) -> DeviceReceipt:
        """Send a reading and return its verified receipt."""

    async def meter(self, device_id: int) -> dict[str, Any]:
        """Return what the coordinator keeps of the meter."""


async def line_up(agent: HouseholdAgent, client: Client, installation: str | None = None) -> Refusal | None:
    """Compare the chain of readings with the coordinator's and continue from its end.

    Call it once after start-up, before the first ``deliver``. Returns why it cannot go on: with ``installation`` (this
    system's) also that another one signs with the same keys; whatever this one signed then would contradict it.
    Raises ``ForeignReadingError`` when the told end was not signed by this meter.
    """
    answer = await client.meter(agent.identity.device_id)
    holder = answer.get("installation")
    if installation is not None and holder not in (None, installation):
        return Refusal(OTHER_INSTALLATION, "another installation signs for this meter with the same keys")
    try:
        kept = None if answer.get("last") is None else _own_reading(agent, read_mapping(answer, "last"))
    except ValueError as error:
        raise ForeignReadingError(f"the coordinator tells a last reading that is not this home's: {error}") from error
    return agent.resume_from(kept)


def _own_reading(agent: HouseholdAgent, signed: Mapping[str, Any]) -> Reading:
    """Read a reading that this home's meter has signed; ``ValueError`` for any other, so no register is invented."""
    reading = Reading.from_wire(read_mapping(signed, "reading"))
    signature = read_bytes(signed, "signature", 64)
    digest = reading.digest(agent.info.domain)
    if not verify_meter(digest, signature, agent.identity.meter_key.public_key):
        raise ValueError(f"reading {reading.sequence} was not signed by this home's meter in this market")
    return reading


async def deliver(
    agent: HouseholdAgent, client: Client, save: Save, at: int, on_answer: OnAnswer | None = None
) -> Refusal | None:
    """Send all that is ready; return what blocks the readings, if anything does.

    ``save`` stores ``agent.to_dict()`` and calls ``agent.saved(version)``. Raises
    ``CoordinatorUnavailable`` when something could not be delivered and must be tried again.
    """
    tell = on_answer or _ignore
    await save()
    if agent.outbox.drop_expired(at):
        agent.version += 1
    failure: CoordinatorUnavailable | None = None
    blocked: Refusal | None = None
    try:
        await _deliver_orders(agent, client, at, tell)
    except CoordinatorUnavailable as error:
        failure = error
    try:
        blocked = await _deliver_readings(agent, client, save, tell)
    finally:
        await save()
    if failure is not None:
        raise failure
    return blocked


async def _deliver_orders(agent: HouseholdAgent, client: Client, at: int, tell: OnAnswer) -> None:
    for item in agent.outbox.ready():
        if item.key not in agent.outbox:
            continue  # taken back while one before it was on its way, e.g. trading was switched off
        answer: Answer
        agent.orders.sending(item.key)
        try:
            match item.message:
                case Order() as order:
                    answer = await client.place_order(order, item.signature)
                case Cancel() as cancel:
                    answer = await client.cancel(cancel, item.signature)
                case _:
                    continue
        except CoordinatorRefused as refusal:
            answer = refusal
            agent.refused(item.key, at)
        else:
            agent.answered(item.key)
            _take_over(agent, item, answer)
        tell(item, answer)


def _take_over(agent: HouseholdAgent, item: Outgoing, answer: Mapping[str, Any]) -> None:
    """Tell the agent what has become of its order; an answer that makes no sense is passed over."""
    if isinstance(item.message, Order):
        with suppress(ValueError):
            told = OrderStatus.of(item.message, answer)
            if item.key == ORDER_KEY + told.digest.hex():  # else it is about another order than was sent
                agent.heard([told], complete=False)


async def _deliver_readings(agent: HouseholdAgent, client: Client, save: Save, tell: OnAnswer) -> Refusal | None:
    while (item := agent.outbox.next_reading()) is not None:
        reading = item.message
        assert isinstance(reading, Reading)
        try:
            receipt = await client.submit_reading(reading, item.signature, agent.info)
        except CoordinatorRefused as refusal:
            if refusal.code in _BLOCKING_CODES:
                return Refusal(refusal.code, str(refusal))
            blocked = await _after_refusal(agent, client, item, refusal, tell)
            if blocked is not None:
                return blocked
            await save()
        else:
            agent.answered(item.key)
            tell(item, receipt)
    return None


async def _after_refusal(
    agent: HouseholdAgent,
    client: Client,
    item: Outgoing,
    refusal: CoordinatorRefused,
    tell: OnAnswer,
) -> Refusal | None:
    """Line up first; a reading that is refused although it continues the chain is given up."""
    before = agent.version
    blocked = await line_up(agent, client)
    if blocked is not None or agent.version != before:
        return blocked
    agent.refused(item.key)
    tell(item, refusal)
    return await line_up(agent, client)


def _ignore(_item: Outgoing, _answer: Answer) -> None:
    """Take no notice of answers."""
