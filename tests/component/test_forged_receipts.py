"""A coordinator that wants its receipts believed, or not looked at: garbage, silence and times that never were."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers.json import json_bytes

from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.events import moment
from custom_components.energy_trade.household.verification import ProvedBy
from custom_components.energy_trade.protocol.client import CoordinatorUnavailable
from custom_components.energy_trade.settled import verification
from custom_components.energy_trade.settled.chain_reader import ChainProof, ChainUnavailable, NodeRefused, NotOnChain
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig
from tests.component.settled import Meters, settle_trade
from tests.component.test_verification import Scripted, issue, lying, reader, street, verifier_of

__all__ = ["reader", "street"]


class Torn(Scripted):
    """A node that answers each receipt otherwise."""

    answers: dict[int, ChainProof | Exception]

    async def async_check(self, envelope: Any) -> ChainProof:
        self.answer = self.answers[envelope["body"]["delivery_start"]]
        return await super().async_check(envelope)


def lines(entry: EnergyTradeConfigEntry, *starts: int, transaction: str | None = "0xab") -> Any:
    told = [{"delivery_start": start, "revision": 0, "transaction": transaction} for start in starts]
    return patch.object(entry.runtime_data.coordinator.client, "receipts", return_value=told)


async def two_settled(rig: Rig, entry: EnergyTradeConfigEntry) -> list[int]:
    verifier, meters = verifier_of(entry), Meters()
    starts = [await settle_trade(rig, entry, meters) for _ in range(2)]
    await rig.until(lambda: verifier.state.verified == 2 and verifier.state.waiting == 0)
    return starts


@pytest.mark.parametrize("start", [10**30, -INTERVAL_S, 4_000_000_000])
async def test_intervals_that_have_not_been_are_not_believed(street: EnergyTradeConfigEntry, start: int) -> None:
    with lines(street, start), pytest.raises(CoordinatorUnavailable, match="have not been"):
        await verifier_of(street).async_catch_up()
    assert not verifier_of(street)._seen


@pytest.mark.parametrize("at", [10**30, -(10**30), 10**12])
def test_a_time_that_no_calendar_knows_is_told_as_it_is(at: int) -> None:
    assert moment(at) == str(at)[:20]


@pytest.mark.parametrize("start", [10**30, -(10**30), 4_000_000_000])
async def test_news_of_a_time_that_never_was_are_no_news(street: EnergyTradeConfigEntry, start: int) -> None:
    verifier = verifier_of(street)
    verifier._settled(start)
    assert not verifier._asked


async def test_what_is_kept_of_a_receipt_is_bounded_whatever_it_says(
    rig: Rig, street: EnergyTradeConfigEntry, hass_storage: dict[str, Any]
) -> None:
    verifier, (first, _) = verifier_of(street), await two_settled(rig, street)

    def swell(envelope: dict[str, Any]) -> dict[str, Any]:
        envelope["body"]["revision"] = 10**300
        return envelope | {"transaction": "0x" + "ab" * 100_000}

    with lying(street, swell):
        await verifier.async_verify(first)
        assert await verifier.async_catch_up() is False
    assert verifier.state.holds is False
    kept = hass_storage[f"energy_trade.{street.entry_id}.receipts"]["data"]
    assert len(json_bytes(kept)) < 20_000
    assert [verdict["delivery_start"] for verdict in kept["disputed"]] == [first]


async def test_a_receipt_that_the_node_refuses_does_not_keep_it_from_the_others(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted
) -> None:
    verifier, (first, second) = verifier_of(street), await two_settled(rig, street)
    verifier._chain = torn = Torn(reader._session, reader._url, reader._domain, reader._market)
    torn.answers = {first: NodeRefused("no such transaction"), second: ChainProof((), "0xab", 7)}
    with lines(street, first, second):
        assert await verifier.async_catch_up() is False
    assert (verifier._seen[first].on_chain, verifier._seen[second].on_chain) == (False, True)
    assert verifier.state.problem == "no such transaction"


async def test_a_settlement_that_is_never_said_to_be_on_chain_is_missed_all_the_same(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted, hass: HomeAssistant
) -> None:
    verifier, starts = verifier_of(street), await two_settled(rig, street)
    with lines(street, *starts, transaction=None):
        reader.answer = AssertionError("too early to ask")
        await verifier.async_catch_up()
        reader.answer = NotOnChain("the contract has not settled it")
        rig.move_to(starts[1] + verification.KEPT_INTERVALS * INTERVAL_S // 2 + 1)
        await verifier.async_catch_up()
        assert {verdict.delivery_start for verdict in verifier.state.disputed} == set(starts)
        assert issue(hass, street, "chain_disagrees") is not None
        reader.answer = ChainProof((), "0xab", 7)
        await verifier.async_catch_up()
    assert (verifier.state.holds, verifier.state.last and verifier.state.last.proved_by) == (True, ProvedBy.CHAIN)


async def test_what_stays_unproved_is_asked_for_once_a_round(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted
) -> None:
    verifier, starts = verifier_of(street), await two_settled(rig, street)
    counted = patch.object(verifier, "_check", wraps=verifier._check)
    with lines(street, *starts), patch.object(verification, "AT_ONCE", 1), counted as checked:
        assert await verifier.async_catch_up() is True
        assert await verifier.async_catch_up() is False
    assert [call.args[0] for call in checked.mock_calls] == starts


async def test_a_check_by_hand_answers_without_its_node_too(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted
) -> None:
    verifier, (first, _) = verifier_of(street), await two_settled(rig, street)
    reader.answer = ChainUnavailable("the node sleeps")
    found = await verifier.async_verify(first)
    assert found is not None
    assert (found[0].holds, found[0].proved_by, verifier.state.problem) == (True, ProvedBy.OPERATOR, "the node sleeps")


async def test_amounts_that_no_ledger_holds_do_not_reach_the_statistics(
    rig: Rig, street: EnergyTradeConfigEntry
) -> None:
    verifier, (first, _) = verifier_of(street), await two_settled(rig, street)
    before = verifier.rows[first]

    def inflate(envelope: dict[str, Any]) -> dict[str, Any]:
        envelope["body"]["counterfactual"]["saved_micro"] = 10**400
        return envelope

    with lying(street, inflate):
        await verifier.async_verify(first)
    assert verifier.state.holds is False
    assert verifier.rows[first] == before
