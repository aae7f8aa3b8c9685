"""Receipts checked at home, against a real coordinator that settles, and one that lies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir

from custom_components.energy_trade.const import CONF_RPC_URL, DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from custom_components.energy_trade.household.verification import ProvedBy
from custom_components.energy_trade.protocol.client import CoordinatorRefused, CoordinatorUnavailable
from custom_components.energy_trade.settled import verification
from custom_components.energy_trade.settled.chain_reader import ChainProof, ChainReader, NotOnChain
from custom_components.energy_trade.settled.verification import ReceiptVerifier
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig
from tests.component.settled import Meters, settle_trade

NOBODY = "http://127.0.0.1:9/"
type Envelope = dict[str, Any]


def verifier_of(entry: EnergyTradeConfigEntry) -> ReceiptVerifier:
    return entry.runtime_data.verifier


@pytest.fixture
async def street(rig: Rig, entry: EnergyTradeConfigEntry) -> EnergyTradeConfigEntry:
    """A home with a neighbour to trade with; it trades by hand only."""
    await rig.community.neighbour_joins()
    await entry.runtime_data.home.async_set_shadow(True)
    return entry


@contextmanager
def lying(entry: EnergyTradeConfigEntry, change: Callable[[Envelope], Envelope]) -> Iterator[None]:
    """Let the coordinator give other receipts than the true ones."""
    client = entry.runtime_data.coordinator.client
    truth = client.receipt

    async def receipt(address: str, delivery_start: int) -> Envelope:
        return change(copy.deepcopy(await truth(address, delivery_start)))

    with patch.object(client, "receipt", receipt):
        yield


@contextmanager
def silent(entry: EnergyTradeConfigEntry, error: Exception) -> Iterator[None]:
    """Let the coordinator's list of receipts fail."""
    with patch.object(entry.runtime_data.coordinator.client, "receipts", side_effect=error):
        yield


def issue(hass: HomeAssistant, entry: EnergyTradeConfigEntry, kind: str) -> ir.IssueEntry | None:
    return ir.async_get(hass).async_get_issue(DOMAIN, f"{kind}_{entry.entry_id}")


async def test_a_settled_trade_is_verified_by_itself(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    heard: list[int] = []
    stop = [verifier.async_listen(lambda: heard.append(0)), verifier.async_listen_rows(heard.append)]
    assert verifier.state.holds is None
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.verified == 1 and verifier.state.waiting == 0)
    assert verifier.state.holds is True
    assert verifier.state.last is not None
    assert (verifier.state.last.delivery_start, verifier.state.last.proved_by) == (start, ProvedBy.OPERATOR)
    assert verifier.rows[start].bought_wh == 50
    assert set(heard) == {0, start}
    for each in stop:
        each()
    await verifier.async_verify(start)
    assert verifier.state.verified == 1


async def test_what_was_verified_outlives_a_reload(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier_of(street).state.verified == 1 and verifier_of(street).state.waiting == 0)
    before = verifier_of(street)
    await hass.config_entries.async_reload(street.entry_id)
    after = verifier_of(street)
    assert after is not before
    assert (after.state.verified, after.state.last, list(after.rows)) == (1, before.state.last, [start])
    with patch.object(street.runtime_data.coordinator.client, "receipt") as receipt:
        await after.async_catch_up()
    assert receipt.call_count == 0


async def test_what_cannot_be_read_is_checked_anew(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier_of(street).state.verified == 1 and verifier_of(street).state.waiting == 0)
    await hass.config_entries.async_unload(street.entry_id)
    hass_storage[f"{DOMAIN}.{street.entry_id}.receipts"]["data"]["seen"] = {"soon": 3}
    await hass.config_entries.async_setup(street.entry_id)
    await rig.until(lambda: verifier_of(street).state.verified == 1)


FORGERIES: list[tuple[str, str, Callable[[Envelope], Envelope]]] = [
    ("money", "value", lambda e: _set(e, "rows", 0, "value_micro", 9_999)),
    ("energy", "verified energy", lambda e: _set(e, "verified", "consumption_wh", 900)),
    ("market", "another market", lambda e: _set(e, "market", "elsewhere")),
    ("garbage", "malformed", lambda e: {}),
    ("interval", "another interval", lambda e: _set(e, "delivery_start", 60)),
]


def _set(envelope: Envelope, *path: Any) -> Envelope:
    place: Any = envelope["body"]
    for step in path[:-2]:
        place = place[step]
    place[path[-2]] = path[-1]
    return envelope


@pytest.mark.parametrize(("words", "forge"), [case[1:] for case in FORGERIES], ids=[case[0] for case in FORGERIES])
async def test_a_false_receipt_becomes_a_repair_that_goes_with_the_right_one(
    rig: Rig,
    street: EnergyTradeConfigEntry,
    hass: HomeAssistant,
    words: str,
    forge: Callable[[Envelope], Envelope],
) -> None:
    verifier = verifier_of(street)
    with lying(street, forge):
        start = await settle_trade(rig, street, Meters())
        await rig.until(lambda: verifier.state.holds is False)
        (verdict,) = verifier.state.disputed
        assert verdict.delivery_start == start
        assert any(words in finding for finding in verdict.findings)
        shown = issue(hass, street, "settlement_mismatch")
        assert shown is not None
        assert shown.translation_placeholders is not None
        assert shown.translation_placeholders["reason"] == verdict.findings[0]
        assert issue(hass, street, "chain_disagrees") is None
    assert len(street.runtime_data.home.agent.outbox) == 0, "readings are never held up"
    await verifier.async_catch_up()
    assert (verifier.state.holds, verifier.state.verified) == (True, 1)
    assert issue(hass, street, "settlement_mismatch") is None
    assert verifier.rows[start].bought_wh == 50


async def test_another_accounts_receipt_is_not_taken(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    with silent(street, CoordinatorUnavailable("gone")):
        start = await settle_trade(rig, street, Meters())
        other = await rig.community.ledger.queries.receipt(rig.community.neighbour.address, start)
    assert other is not None
    with lying(street, lambda _: other):
        found = await verifier.async_verify(start)
    assert found is not None
    assert any("another account" in finding for finding in found[0].findings)
    assert verifier.state.verified == 0


async def test_other_registers_than_were_signed_are_found(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    """Even a reading that the meter's key signed, when it is not what this home noted."""
    verifier = verifier_of(street)
    start = await settle_trade(rig, street, Meters())
    verifier._registers[start] = (1, 1)
    found = await verifier.async_verify(start)
    assert found is not None
    assert "opening reading has other registers" in found[0].findings[0]


async def test_without_a_receipt_there_is_no_verdict(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    start = street.runtime_data.home.market_time() // INTERVAL_S * INTERVAL_S
    assert await verifier.async_verify(start) is None
    assert verifier.state.holds is None
    client = street.runtime_data.coordinator.client
    lines = [{"delivery_start": start, "revision": 0, "transaction": None}]
    with patch.object(client, "receipts", return_value=lines):
        for _ in range(2):
            assert await verifier.async_catch_up() is False
            assert verifier.state.holds is None
            with patch.object(client, "receipt", side_effect=CoordinatorRefused(404, "not_found", "no")) as asked:
                await verifier.async_catch_up()
            assert asked.call_count == 1, "it is asked for again until it comes"


@pytest.mark.parametrize("lines", [[7], [{}], [{"delivery_start": "x", "revision": 0}], [{"delivery_start": 60}]])
async def test_a_list_that_makes_no_sense_is_asked_for_again(street: EnergyTradeConfigEntry, lines: list[Any]) -> None:
    verifier = verifier_of(street)
    answer = patch.object(street.runtime_data.coordinator.client, "receipts", return_value=lines)
    with answer, pytest.raises(CoordinatorUnavailable, match="makes no sense"):
        await verifier.async_catch_up()
    assert await verifier.async_catch_up() is False


async def test_an_outage_leaves_a_backlog_that_is_checked_in_order(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier, meters = verifier_of(street), Meters()
    rows: list[int] = []
    verifier.async_listen_rows(rows.append)
    with patch.object(verification, "RETRY_S_MIN", 0.01), silent(street, CoordinatorUnavailable("gone")):
        starts = [await settle_trade(rig, street, meters) for _ in range(3)]
        verifier._settled(starts[0])
        await rig.until(lambda: "gone" in verifier.state.problem)
        assert (verifier.state.holds, rows) == (None, [])
    with patch.object(verification, "AT_ONCE", 2):
        assert await verifier.async_catch_up() is True
        assert (rows, verifier.state.waiting) == (starts[:2], 1)
        assert await verifier.async_catch_up() is False
    assert rows == starts == sorted(starts)
    assert (verifier.state.verified, verifier.state.problem, verifier.state.waiting) == (3, "", 0)


async def test_what_does_not_fit_into_the_list_is_asked_for_by_itself(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier, meters = verifier_of(street), Meters()
    with silent(street, CoordinatorUnavailable("gone")):
        starts = [await settle_trade(rig, street, meters, buys=False) for _ in range(3)]
    client = street.runtime_data.coordinator.client
    truth = client.receipts

    async def newest(address: str, since: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        return (await truth(address, since, limit))[:1]

    verifier._floor = starts[0] - INTERVAL_S
    with patch.object(verification, "PAGE", 1), patch.object(client, "receipts", newest):
        await verifier.async_catch_up()
    assert sorted(verifier.rows) == starts
    assert [verifier.rows[start].sold_wh for start in starts] == [50, 50, 50]


async def test_while_somebody_else_answers_nothing_is_asked(street: EnergyTradeConfigEntry) -> None:
    street.runtime_data.home.carrier.async_hold(True)
    with silent(street, AssertionError("asked")):
        assert await verifier_of(street).async_catch_up() is False


async def test_a_refusal_is_told_and_tried_again(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    with silent(street, CoordinatorRefused(403, "forbidden", "not yours")):
        verifier._settled(60)
        await rig.until(lambda: verifier.state.problem == "not yours")
    with silent(street, CoordinatorUnavailable("gone")):
        await settle_trade(rig, street, Meters())
    with patch.object(street.runtime_data.coordinator.client, "receipt") as receipt:
        receipt.side_effect = CoordinatorRefused(403, "forbidden", "not yours")
        with pytest.raises(CoordinatorRefused):
            await verifier.async_catch_up()
    await verifier.async_catch_up()
    assert (verifier.state.problem, verifier.state.verified) == ("", 1)


async def test_old_rows_are_let_go_and_had_again_when_wanted(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.verified == 1 and verifier.state.waiting == 0)
    rig.move_to(start + 410 * INTERVAL_S)
    await verifier.async_catch_up()
    assert verifier.rows == {}
    rows = await verifier.async_rows(start - INTERVAL_S, start + INTERVAL_S)
    assert [(row.delivery_start, row.bought_wh) for row in rows] == [(start, 50)]
    assert verifier.state.verified == 1


async def test_a_correction_of_long_ago_is_noticed(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.verified == 1 and verifier.state.waiting == 0)
    rig.move_to(start + 410 * INTERVAL_S)
    await verifier.async_catch_up()
    client = street.runtime_data.coordinator.client
    lines = [{"delivery_start": start, "revision": 1, "transaction": None}]
    with patch.object(client, "receipts", return_value=lines), lying(street, lambda e: _set(e, "revision", 1)):
        await verifier.async_catch_up()
        assert [verdict.revision for verdict in verifier.state.disputed] == [1]
        assert verifier._seen[start].revision == 1
    verifier._settled(start)
    await rig.until(lambda: verifier.state.holds is True)


class Scripted(ChainReader):
    """A reader of a chain that says what a test wants; what real nodes say is tested in ``test_chain_reader``."""

    answer: ChainProof | Exception = NotOnChain("the contract has not settled it")

    async def async_check(self, envelope: Any) -> ChainProof:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def reader(street: EnergyTradeConfigEntry) -> Scripted:
    info = street.runtime_data.home.agent.info
    client: Any = None
    verifier_of(street)._chain = reader = Scripted(client, NOBODY, info.domain, info.market)
    return reader


def on_chain_lines(street: EnergyTradeConfigEntry, start: int) -> Any:
    lines = [{"delivery_start": start, "revision": 0, "transaction": "0xab"}]
    return patch.object(street.runtime_data.coordinator.client, "receipts", return_value=lines)


async def test_a_receipt_is_proved_by_the_chain_as_soon_as_it_stands_there(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted, hass: HomeAssistant
) -> None:
    verifier = verifier_of(street)
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.verified == 1 and verifier.state.waiting == 0)
    assert verifier.state.last is not None
    assert (verifier.state.last.proved_by, verifier.state.last.holds) == (ProvedBy.OPERATOR, True)
    reader.answer = ChainProof((), "0xab", 7)
    with on_chain_lines(street, start):
        await verifier.async_catch_up()
        assert (verifier.state.last.proved_by, verifier.state.last.transaction) == (ProvedBy.CHAIN, "0xab")
        reader.answer = AssertionError("asked again")
        await verifier.async_catch_up()
    assert verifier.state.verified == 1


async def test_a_settlement_that_never_comes_on_chain_counts_against_it(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted, hass: HomeAssistant
) -> None:
    verifier = verifier_of(street)
    start = await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.verified == 1)
    rig.move_to(start + verification.CHAIN_PATIENCE_S + 1)
    await verifier.async_verify(start)
    assert verifier.state.holds is False
    assert issue(hass, street, "chain_disagrees") is not None


async def test_coordinator_and_chain_that_disagree_become_a_repair(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted, hass: HomeAssistant
) -> None:
    verifier = verifier_of(street)
    reader.answer = ChainProof(("the contract has another receipts root",), "0xab", 7)
    await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier.state.holds is False)
    shown = issue(hass, street, "chain_disagrees")
    assert shown is not None
    assert (shown.translation_placeholders or {})["reason"] == "the contract has another receipts root"
    assert issue(hass, street, "settlement_mismatch") is None
    reader.answer = ChainProof((), "0xab", 7)
    await verifier.async_catch_up()
    assert (verifier.state.holds, verifier.state.verified) == (True, 1)
    assert issue(hass, street, "chain_disagrees") is None


async def test_amounts_that_fit_no_row_are_a_finding(
    rig: Rig, street: EnergyTradeConfigEntry, reader: Scripted
) -> None:
    reader.answer = ValueError("a row does not fit")
    await settle_trade(rig, street, Meters())
    await rig.until(lambda: verifier_of(street).state.holds is False)
    assert "malformed" in verifier_of(street).state.disputed[0].findings[0]


async def test_without_its_node_the_operators_signature_counts_and_that_is_said(
    rig: Rig, street: EnergyTradeConfigEntry, hass: HomeAssistant
) -> None:
    hass.config_entries.async_update_entry(street, options={**street.options, CONF_RPC_URL: NOBODY})
    await hass.config_entries.async_reload(street.entry_id)
    await rig.live(street)
    verifier, meters = verifier_of(street), Meters()
    first = await settle_trade(rig, street, meters)
    await rig.until(lambda: verifier.state.verified == 1 and "does not answer" in verifier.state.problem)
    assert verifier.state.last is not None
    assert verifier.state.last.proved_by is ProvedBy.OPERATOR
    second = await settle_trade(rig, street, meters)
    await rig.until(lambda: verifier.state.verified == 2)
    lines = [{"delivery_start": start, "revision": 0, "transaction": "0xab"} for start in (first, second)]
    client = street.runtime_data.coordinator.client
    counted = patch.object(verifier, "_check", wraps=verifier._check)
    with patch.object(client, "receipts", return_value=lines), counted as checked:
        await verifier.async_catch_up()
    assert len(checked.mock_calls) == 2, "one try with the node, one without, and no more of them in this run"


async def test_registers_of_long_ago_are_let_go(rig: Rig, street: EnergyTradeConfigEntry) -> None:
    verifier = verifier_of(street)
    verifier._registers = {at: (at, 0) for at in range(verification.REGISTERS_KEPT)}
    await rig.boundary("35600.120", "812.340")
    assert len(verifier._registers) == verification.REGISTERS_KEPT
    assert 0 not in verifier._registers


async def test_a_removed_entry_leaves_no_memory_of_receipts(
    street: EnergyTradeConfigEntry, hass: HomeAssistant, hass_storage: dict[str, Any]
) -> None:
    key = f"{DOMAIN}.{street.entry_id}.receipts"
    await verifier_of(street).async_catch_up()
    await verification.async_forget(hass, street.entry_id)
    assert key not in hass_storage
