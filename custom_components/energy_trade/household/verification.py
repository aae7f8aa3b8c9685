"""What a home finds out about a settlement: whether its receipt holds, is about this home, and what proves it.

``protocol.receipts.verify_receipt`` recomputes a receipt from itself alone. Here it is held against what only the home
knows: its keys, its meter's registers, the contract and the operator that it trusted when it joined, and what it was
told of its own orders. It may sign another order on the word that one is over, so that word must hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..protocol.messages import Reading, device_text
from ..protocol.receipts import verify_receipt
from ..protocol.typed_data import Domain
from ..protocol.wire import read_bool, read_bytes, read_int, read_list, read_mapping, read_objects, read_text
from .orders import Standing

FINDINGS_KEPT = 20
TOLD_KEPT = 1_000
"""Orders: three days of quarter hours with three in each, more than ten days with one."""
FINDING_MAX = 400
"""Characters: a receipt may quote itself at any length."""
type Registers = tuple[int, int]
"""Consumption and production of the signed meter, Wh."""


class ProvedBy(StrEnum):
    """What stands behind a receipt besides its own sums and signatures."""

    CHAIN = "chain"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking one receipt; without ``findings`` and ``chain_findings`` it holds."""

    delivery_start: int
    revision: int
    proved_by: ProvedBy
    findings: tuple[str, ...] = ()
    chain_findings: tuple[str, ...] = ()
    transaction: str | None = None

    @property
    def holds(self) -> bool:
        """Tell whether nothing speaks against the receipt."""
        return not self.findings and not self.chain_findings

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "delivery_start": self.delivery_start,
            "revision": self.revision,
            "proved_by": self.proved_by.value,
            "findings": list(self.findings),
            "chain_findings": list(self.chain_findings),
            "transaction": self.transaction,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Read a verdict from JSON values; ``ValueError`` names a field that is wrong."""
        transaction = data.get("transaction")
        return cls(
            delivery_start=read_int(data, "delivery_start"),
            revision=read_int(data, "revision"),
            proved_by=ProvedBy(read_text(data, "proved_by")),
            findings=tuple(map(str, read_list(data, "findings"))),
            chain_findings=tuple(map(str, read_list(data, "chain_findings"))),
            transaction=None if transaction is None else str(transaction),
        )


@dataclass(frozen=True, slots=True)
class VerificationState:
    """How far the home has come: ``verified`` receipts hold, ``disputed`` do not, ``waiting`` are to be checked.

    ``problem`` says why nothing can be checked, or not against the chain, at present.
    """

    verified: int = 0
    disputed: tuple[Verdict, ...] = ()
    last: Verdict | None = None
    waiting: int = 0
    problem: str = ""

    @property
    def holds(self) -> bool | None:
        """Tell whether all that was checked holds; ``None`` before the first."""
        return None if self.last is None else not self.disputed


@dataclass(frozen=True, slots=True)
class Known:
    """What the home knows besides the receipt.

    ``registers`` are its own signed ones by time; ``told_wh`` is how much of its own orders had traded when the
    coordinator told that they are over, by digest. Other orders, such as one that was placed with the same keys
    elsewhere, are no contradiction.
    """

    account: str
    market: str
    domain: Domain
    operator: str
    device_id: int
    interval_s: int
    registers: Mapping[int, Registers] = field(default_factory=dict)
    told_wh: Mapping[bytes, int] = field(default_factory=dict)


class ToldOrders:
    """What a home was told of its own orders that are over, beyond the time for which it knows the orders themselves.

    Of each how much had traded by then; of an order that was refused, nothing. The newest ``TOLD_KEPT`` are kept.
    """

    def __init__(self, told: Iterable[tuple[bytes, int, int]] = ()) -> None:
        """Begin with these: digest, delivery start, energy in Wh."""
        self._told = {digest: (start, told_wh) for digest, start, told_wh in told}

    def note(self, orders: Iterable[Standing]) -> bool:
        """Take over what was told of the orders that this home has signed; return whether that is news."""
        before, told = self._told, dict(self._told)
        for order in orders:
            if not order.at:
                continue  # not signed by this state: of such the coordinator could make up as many as it likes
            if order.told_wh is None:
                told.pop(order.digest, None)  # told of again, as open
            else:
                told[order.digest] = order.delivery_start, order.told_wh
        if told == before:
            return False
        self._told = dict(sorted(told.items(), key=lambda item: item[1][0])[-TOLD_KEPT:])
        return self._told != before

    def by_digest(self) -> dict[bytes, int]:
        """Return the energy that each order was told to have traded, Wh."""
        return {digest: told_wh for digest, (_, told_wh) in self._told.items()}

    def to_list(self) -> list[list[Any]]:
        """Return all as JSON values."""
        return [["0x" + digest.hex(), start, told_wh] for digest, (start, told_wh) in self._told.items()]

    @classmethod
    def from_list(cls, saved: Any) -> ToldOrders:
        """Read what was saved; what cannot be read is left out, for without it nothing is claimed."""
        return cls(told for item in (saved if isinstance(saved, list) else ()) if (told := _told(item)) is not None)


def check_receipt(envelope: Mapping[str, Any], delivery_start: int, known: Known) -> tuple[str, ...]:
    """Return what is wrong with the receipt that was given for an interval, a sentence each; empty: it holds.

    A signature of the account's key under each order makes a trade that the home never ordered impossible to claim.
    """
    try:
        findings = [
            *verify_receipt(envelope),
            *_strangers(envelope, delivery_start, known),
            *_traded_beyond(envelope, known.told_wh),
        ]
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        findings = [f"the receipt is malformed: {error}"]
    return tuple(finding[:FINDING_MAX] for finding in findings[:FINDINGS_KEPT])


def _strangers(envelope: Mapping[str, Any], delivery_start: int, known: Known) -> Iterator[str]:
    """Yield what the receipt says otherwise than the home knows it."""
    body = read_mapping(envelope, "body")
    if read_text(body, "account").lower() != known.account:
        yield "the receipt is of another account"
    if read_text(body, "market") != known.market:
        yield "the receipt is of another market"
    if Domain(read_int(body, "chain_id"), read_text(body, "ledger").lower()) != known.domain:
        yield "the receipt is of another contract than the one that this home joined"
    if (read_int(body, "delivery_start"), read_int(body, "interval_s")) != (delivery_start, known.interval_s):
        yield "the receipt is of another interval"
    if read_text(read_mapping(envelope, "settlement"), "signer").lower() != known.operator:
        yield "the settlement is signed by somebody else than the operator that this home trusts"
    own = device_text(known.device_id)
    for meter in read_objects(body, "meters"):
        if read_text(meter, "device_id") != own:
            yield "it rests on the readings of a meter that this home does not have"
            continue
        for end in ("opening", "closing"):
            reading = Reading.from_wire(read_mapping(read_mapping(meter, end), "reading"))
            noted = known.registers.get(reading.timestamp)
            if noted is not None and noted != (reading.consumption_wh, reading.production_wh):
                yield f"its {end} reading has other registers than this home signed"


def _traded_beyond(envelope: Mapping[str, Any], told_wh: Mapping[bytes, int]) -> Iterator[str]:
    """Yield the orders of which more traded than was told when they were over.

    What was traded counts, as it was told then; what of it was delivered and settled is another matter. Of a trade
    that is void nothing comes.
    """
    traded_wh: Counter[bytes] = Counter()
    for trade in read_objects(read_mapping(envelope, "body"), "trades"):
        if not read_bool(trade, "void"):
            traded_wh[read_bytes(trade, "order", 32)] += read_int(trade, "energy_wh")
    for digest, energy_wh in traded_wh.items():
        if digest in told_wh and energy_wh > told_wh[digest]:
            yield (
                f"order 0x{digest.hex()} traded {energy_wh} Wh, but this home was told that it was over with"
                f" {told_wh[digest]} Wh traded: what was ordered on that word came on top"
            )


def _told(item: Any) -> tuple[bytes, int, int] | None:
    """Return digest, delivery start and energy of a saved line, ``None`` when it cannot be read."""
    try:
        digest, start, told_wh = item
        told = {"digest": digest, "start": start, "told_wh": told_wh}
        return read_bytes(told, "digest", 32), read_int(told, "start"), read_int(told, "told_wh")
    except TypeError, ValueError:
        return None
