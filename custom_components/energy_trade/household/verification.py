"""What a home finds out about a settlement: whether its receipt holds, is about this home, and what proves it.

``protocol.receipts.verify_receipt`` recomputes a receipt from itself alone. Here it is held against what only the home
knows: its keys, its meter's registers, the contract and the operator that it trusted when it joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..protocol.messages import Reading, device_text
from ..protocol.receipts import verify_receipt
from ..protocol.typed_data import Domain
from ..protocol.wire import read_int, read_list, read_mapping, read_objects, read_text

FINDINGS_KEPT = 20
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
    """What the home knows without the coordinator; ``registers`` are its own signed ones by time."""

    account: str
    market: str
    domain: Domain
    operator: str
    device_id: int
    interval_s: int
    registers: Mapping[int, Registers] = field(default_factory=dict)


def check_receipt(envelope: Mapping[str, Any], delivery_start: int, known: Known) -> tuple[str, ...]:
    """Return what is wrong with the receipt that was given for an interval, a sentence each; empty: it holds.

    A signature of the account's key under each order makes a trade that the home never ordered impossible to claim.
    """
    try:
        findings = [*verify_receipt(envelope), *_strangers(envelope, delivery_start, known)]
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
