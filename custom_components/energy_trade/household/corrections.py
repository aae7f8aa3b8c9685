"""Corrections of settled intervals: a home signs away only what its own readings and bills show to be another's.

A late or corrected reading, its own or a neighbour's, changes what an interval comes to. Whoever loses by it must sign
(``Correction``); without that the contract takes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.chain_messages import Correction
from ..protocol.client import CoordinatorRefused, MarketInfo
from ..protocol.messages import device_text
from ..protocol.receipts import verify_correction
from ..protocol.typed_data import Domain
from ..protocol.wire import read_int, read_mapping, read_objects, read_text
from .identity import Identity
from .reason import Reason

_POLICY = "corrections"


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

    The corrected bill must be of this market's contract and rest on readings that this home's own meter signed.
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
    findings = verify_correction(correction, receipt, before)
    try:
        body = read_mapping(receipt, "body")
        meters = {read_text(meter, "device_id") for meter in read_objects(body, "meters")}
        if Domain(read_int(body, "chain_id"), read_text(body, "ledger").lower()) != info.domain:
            findings.append("its receipt is of another contract")
    except ValueError as error:
        return [*findings, f"the receipt is malformed: {error}"]
    if meters - {device_text(identity.device_id)}:
        findings.append("it rests on the readings of a meter that this home does not have")
    return findings


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
