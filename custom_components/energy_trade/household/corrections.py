"""Corrections of settled intervals: a home signs away only what its own readings and bills show to be another's.

A late or corrected reading, its own or a neighbour's, changes what an interval comes to. Whoever loses by it must sign
(``Correction``); without that the contract takes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.chain_messages import Correction
from ..protocol.client import CoordinatorRefused, MarketInfo
from ..protocol.messages import device_text
from ..protocol.receipts import verify_correction
from ..protocol.typed_data import Domain
from ..protocol.wire import read_bool, read_int, read_mapping, read_objects, read_text
from .identity import Identity
from .reason import Reason

_POLICY = "corrections"
_AGREED = (
    "order",
    "side",
    "energy_wh",
    "price_micro_per_kwh",
    "grid_fee_micro_per_kwh",
    "community_fee_micro_per_kwh",
    "void",
)
"""What a trade was agreed to be, whatever came of it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the home says to a correction: a signature when it agrees, and always the reason."""

    correction: Correction
    signature: bytes | None
    reason: Reason


class CorrectionsClient(Protocol):
    """The part of ``protocol.client.CoordinatorClient`` that corrections need."""

    async def corrections(self, address: str) -> list[dict[str, Any]]:
        """Return the account's corrections."""

    async def receipt(self, address: str, delivery_start: int) -> dict[str, Any]:
        """Return the receipt in force for an interval."""

    async def sign_correction(self, correction: Correction, signature: bytes) -> dict[str, Any]:
        """Send a signed correction."""


async def agree(identity: Identity, info: MarketInfo, client: CorrectionsClient) -> list[Judgement]:
    """Judge each correction that asks for the account's signature and send those that hold.

    Raises ``CoordinatorUnavailable``; asking again does no harm.
    """
    judged = []
    for record in await _corrections(client, identity.account):
        if record["status"] != "proposed" or record["signed"] or not record["needs_signature"]:
            continue
        correction = Correction.from_wire(read_mapping(record, "correction"))
        before = await _receipt_before(client, correction)
        judgement = judge(identity, info, correction, record.get("receipt"), before)
        if judgement.signature is not None:
            await client.sign_correction(correction, judgement.signature)
        judged.append(judgement)
    return judged


def judge(
    identity: Identity,
    info: MarketInfo,
    correction: Correction,
    receipt: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None,
) -> Judgement:
    """Recompute the corrected bill and the one in force; sign when everything in both holds.

    The corrected bill must be of this market's contract, about the same trades, prices and tariffs as the one in force,
    and rest on readings that this home's own meter signed: at least on those that the other one rests on.
    """
    findings = _findings(identity, info, correction, receipt, before)
    inputs = {
        "delivery_start": correction.delivery_start,
        "revision": correction.revision,
        "money_micro": correction.money_micro,
        "energy_wh": correction.energy_wh,
    }
    what = f"{correction.money_micro} micro and {correction.energy_wh} Wh for {correction.delivery_start}"
    if receipt is None or findings:
        text = f"not signed: {what}: {'; '.join(findings)}"
        alternative = "signing would give away money or energy that the bill does not show to be owed"
        return Judgement(correction, None, Reason(_POLICY, "correction_refused", inputs, text, alternative))
    signature = identity.account_key.sign(correction.digest(info.domain))
    text = f"signed: {what}: the corrected bill follows from signed readings"
    alternative = "without the signature the account would keep what is another's"
    return Judgement(correction, signature, Reason(_POLICY, "correction_signed", inputs, text, alternative))


def _findings(
    identity: Identity,
    info: MarketInfo,
    correction: Correction,
    receipt: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None,
) -> list[str]:
    if receipt is None:
        return ["it comes without a receipt"]
    if (correction.account, correction.market) != (identity.account, info.market):
        return ["it is of another account or market"]
    if before is None:
        return ["there is no receipt in force that it could be held against"]
    findings = verify_correction(correction, receipt, before)
    try:
        body = read_mapping(receipt, "body")
        findings += _changes(read_mapping(before, "body"), body)
        meters = {read_text(meter, "device_id") for meter in read_objects(body, "meters")}
        if Domain(read_int(body, "chain_id"), read_text(body, "ledger").lower()) != info.domain:
            findings.append("its receipt is of another contract")
    except ValueError as error:
        return [*findings, f"the receipt is malformed: {error}"]
    if meters - {device_text(identity.device_id)}:
        findings.append("it rests on the readings of a meter that this home does not have")
    return findings


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a correction must leave as it is: only what was metered may be known better than before."""
    if _bargains(old) != _bargains(new):
        yield "it is about other trades than the receipt in force"
    if _tariffs(old) != _tariffs(new):
        yield "it has other tariffs than the receipt in force"
    before, after = read_mapping(old, "verified"), read_mapping(new, "verified")
    if not read_bool(before, "estimated"):
        if before != after:
            yield "what the meter measured at both boundaries cannot have changed"
        return
    known, told = _reaches(old), _reaches(new)
    if known == told and before != after:
        yield "it estimates otherwise from the same readings"
    for device, (opened, closed) in known.items():
        if device not in told or told[device][0] < opened or told[device][1] > closed:
            yield "it leaves out readings that the receipt in force rests on"


def _bargains(body: Mapping[str, Any]) -> dict[int, tuple[Any, ...]]:
    """Return what was agreed in each trade."""
    return {read_int(t, "trade_id"): tuple(t.get(name) for name in _AGREED) for t in read_objects(body, "trades")}


def _tariffs(body: Mapping[str, Any]) -> tuple[Any, ...]:
    stated = read_mapping(body, "counterfactual")
    return body.get("compensation"), stated.get("supplier_micro_per_kwh"), stated.get("feed_in_micro_per_kwh")


def _reaches(body: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return when the readings around the interval were taken, by meter."""
    found = {}
    for meter in read_objects(body, "meters"):
        ends = [read_mapping(read_mapping(meter, end), "reading") for end in ("opening", "closing")]
        found[read_text(meter, "device_id")] = read_int(ends[0], "timestamp"), read_int(ends[1], "timestamp")
    return found


async def _corrections(client: CorrectionsClient, account: str) -> list[dict[str, Any]]:
    """Return the account's corrections; an older coordinator has none."""
    try:
        return await client.corrections(account)
    except CoordinatorRefused as refusal:
        if refusal.code != "not_found":
            raise
        return []


async def _receipt_before(client: CorrectionsClient, correction: Correction) -> dict[str, Any] | None:
    try:
        return await client.receipt(correction.account, correction.delivery_start)
    except CoordinatorRefused as refusal:
        if refusal.code != "not_found":
            raise
        return None
