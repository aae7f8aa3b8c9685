"""A home signs a correction when its own recomputation agrees, and says why when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.household.corrections import Judgement, agree, judge
from coordinator.household.identity import Identity
from coordinator.protocol.chain_messages import Correction
from coordinator.protocol.client import CoordinatorClient, CoordinatorRefused, MarketInfo
from coordinator.protocol.keys import MeterKey, verify_account
from coordinator.protocol.typed_data import Domain
from tests.edge.support import DELIVERY, Home, open_door
from tests.edge.test_corrections import corrected


@dataclass(frozen=True)
class Asked:
    """A home that a correction takes something from, at a real coordinator."""

    identity: Identity
    info: MarketInfo
    client: CoordinatorClient
    correction: Correction
    receipt: dict[str, Any]
    before: dict[str, Any]

    def judged(self, **changes: Any) -> Judgement:
        asked = replace(self, **changes)
        return judge(asked.identity, asked.info, asked.correction, asked.receipt, asked.before)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    async with open_door(tmp_path / "ledger") as door:
        seller, buyer, _ = await corrected(door)
        client = CoordinatorClient(door.client.session, str(door.client.make_url("/")).rstrip("/"))
        info = await client.market()
        for home in (seller, buyer):
            identity = identity_of(home)
            request = identity.session(info.market, door.clock.at)
            await client.open_session(request, identity.account_key, info.domain)
            (found,) = await client.corrections(identity.account)
            if found["needs_signature"]:
                before = await client.receipt(identity.account, DELIVERY)
                yield Asked(identity, info, client, Correction.from_wire(found["correction"]), found["receipt"], before)
                return
    pytest.fail("nobody loses by the correction")


def identity_of(home: Home) -> Identity:
    return Identity(home.account, home.meter)


async def test_a_home_signs_what_its_own_readings_and_bills_show(asked: Asked) -> None:
    (judgement,) = await agree(asked.identity, asked.info, asked.client)
    digest = asked.correction.digest(asked.info.domain)
    assert judgement.signature is not None
    assert verify_account(digest, judgement.signature, asked.identity.account_key.public_key)
    assert judgement.reason.rule == "correction_signed"
    assert await agree(asked.identity, asked.info, asked.client) == []


@pytest.mark.parametrize("field", ["money_micro", "energy_wh"])
def test_more_than_the_bills_differ_by_is_not_signed_away(asked: Asked, field: str) -> None:
    more = replace(asked.correction, **{field: getattr(asked.correction, field) - 1})
    judgement = asked.judged(correction=more)
    assert judgement.signature is None
    assert "the correction is not the difference of the two receipts" in judgement.reason.text


def test_readings_of_a_meter_that_is_not_ours_are_not_believed(asked: Asked) -> None:
    other = Identity(asked.identity.account_key, MeterKey.generate())
    judgement = asked.judged(identity=other)
    assert judgement.signature is None
    assert "a meter that this home does not have" in judgement.reason.text


def test_a_receipt_of_another_contract_is_not_believed(asked: Asked) -> None:
    elsewhere = replace(asked.info, domain=Domain(1, asked.info.domain.ledger))
    judgement = asked.judged(info=elsewhere)
    assert judgement.signature is None
    assert "its receipt is of another contract" in judgement.reason.text


def test_a_forged_receipt_is_not_believed(asked: Asked) -> None:
    body = {**asked.receipt["body"], "supplier_micro_per_kwh": 1}
    judgement = asked.judged(receipt={**asked.receipt, "body": body})
    assert judgement.signature is None
    assert judgement.reason.rule == "correction_refused"


@pytest.mark.parametrize("changes", [{"account": "0x" + "22" * 20}, {"market": "oak-street"}])
def test_what_is_anothers_is_not_signed(asked: Asked, changes: dict[str, Any]) -> None:
    judgement = asked.judged(correction=replace(asked.correction, **changes))
    assert judgement.signature is None
    assert "it is of another account or market" in judgement.reason.text


def test_a_correction_without_a_receipt_is_not_signed(asked: Asked) -> None:
    judgement = judge(asked.identity, asked.info, asked.correction, None, asked.before)
    assert (judgement.signature, judgement.reason.rule) == (None, "correction_refused")


def changed(receipt: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the receipt as an operator might like it."""
    body = {**receipt["body"]}
    match what:
        case "trade left out":
            body["trades"] = body["trades"][1:]
        case "price":
            body["trades"] = [{**trade, "price_micro_per_kwh": 1} for trade in body["trades"]]
        case "tariff":
            body["counterfactual"] = {**body["counterfactual"], "supplier_micro_per_kwh": 9_000_000}
        case "compensation":
            body["compensation"] = not body["compensation"]
        case "energy":
            body["verified"] = {**body["verified"], "production_wh": 0}
        case "estimate":
            body["verified"] = {**body["verified"], "estimated": True}
        case "readings left out":
            body["meters"] = []
        case "readings further apart":
            reading = body["meters"][0]["opening"]["reading"]
            opening = {"reading": {**reading, "timestamp": reading["timestamp"] - 60}}
            body["meters"] = [{**body["meters"][0], "opening": opening}]
    return {**receipt, "body": body}


@pytest.mark.parametrize(
    ("what", "finding"),
    [
        ("trade left out", "it is about other trades"),
        ("price", "it is about other trades"),
        ("tariff", "it has other tariffs"),
        ("compensation", "it has other tariffs"),
        ("energy", "what the meter measured at both boundaries cannot have changed"),
        ("estimate", "what the meter measured at both boundaries cannot have changed"),
    ],
)
def test_a_correction_changes_nothing_that_was_agreed_or_measured(asked: Asked, what: str, finding: str) -> None:
    judgement = asked.judged(receipt=changed(asked.receipt, what))
    assert judgement.signature is None
    assert finding in judgement.reason.text


@pytest.mark.parametrize("what", ["readings left out", "readings further apart"])
def test_a_correction_of_an_estimate_rests_on_as_many_readings(asked: Asked, what: str) -> None:
    judgement = asked.judged(before=changed(asked.before, "estimate"), receipt=changed(asked.receipt, what))
    assert judgement.signature is None
    assert "it leaves out readings that the receipt in force rests on" in judgement.reason.text
    fair = asked.judged(before=changed(asked.before, "estimate"))
    assert "leaves out readings" not in fair.reason.text


def test_an_estimate_does_not_change_without_another_reading(asked: Asked) -> None:
    before = changed(asked.before, "estimate")
    judgement = asked.judged(before=before, receipt=changed(changed(asked.before, "energy"), "estimate"))
    assert "it estimates otherwise from the same readings" in judgement.reason.text


def test_a_correction_of_a_receipt_that_is_kept_back_is_not_signed(asked: Asked) -> None:
    """Without the receipt in force the same money could be taken twice."""
    judgement = asked.judged(before=None)
    assert judgement.signature is None
    assert "no receipt in force" in judgement.reason.text


async def test_an_older_coordinator_has_no_corrections(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(_client: CoordinatorClient, _address: str) -> list[dict[str, Any]]:
        raise CoordinatorRefused(404, "not_found", "There is nothing here.", "")

    monkeypatch.setattr(CoordinatorClient, "corrections", unknown)
    assert await agree(asked.identity, asked.info, asked.client) == []
