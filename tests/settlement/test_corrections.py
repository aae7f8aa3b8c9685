"""Corrections of what is on chain: proposed on late readings, signed by who loses, booked with the contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.ledger.verify import verify
from coordinator.market.commands import AccountChange, BookCorrection, EndCorrection, ProposeCorrection
from coordinator.market.events import (
    CorrectionAgreed,
    CorrectionProposed,
    CorrectionSigned,
    IntervalCorrected,
    IntervalSettled,
)
from coordinator.market.rules import Fees
from coordinator.market.state import FINISHED_INTERVALS_KEPT, state_hash
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_correction, verify_receipt
from tests.ledger.world import CONFIG, RULES, START, Home, World, open_ledger
from tests.settlement.late import (
    DEADLINE,
    DELIVERY,
    END,
    also_metered_by,
    booked,
    confirm,
    consent,
    correction,
    gained,
    records,
    settled_at_the_deadline,
    settlement,
    the_log_holds,
)

COMPENSATING = replace(RULES, compensation=True)
CHARGING = replace(RULES, fees=Fees(community_micro_per_kwh=10_000))
TREASURY = Home("the treasury")


@pytest.fixture
def homes() -> tuple[Home, Home]:
    return Home("anna"), Home("bert")


async def test_a_correction_is_proposed_signed_agreed_and_booked(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        receipts = [await world.ledger.queries.receipt(home.address, DELIVERY) for home in homes]
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        proposed = correction(world).proposed
        changes = {change.account: (change.money_micro, change.energy_wh) for change in proposed.changes}
        assert changes == {anna.address: (40_000, 10), bert.address: (-40_000, 0)}
        assert gained(world, anna, bert) == [20_000, -20_000]  # nothing has moved
        assert [await world.ledger.queries.receipt(home.address, DELIVERY) for home in homes] == receipts
        (annas,), (berts,) = await records(world, anna), await records(world, bert)
        assert [(r.status, r.signed, r.needs_signature) for r in (annas, berts)] == [
            ("proposed", False, False),
            ("proposed", False, True),
        ]
        for record, receipt in zip((annas, berts), receipts, strict=True):
            assert record.envelope is not None
            assert verify_correction(record.correction, record.envelope, receipt) == []
        assert await world.refuse(consent(anna, annas)) == "nothing_to_sign"
        events = (await world.commit(consent(bert, berts))).events
        assert [type(event) for event in events] == [CorrectionSigned, CorrectionAgreed]
        assert await world.refuse(consent(bert, berts)) == "unknown_correction"
        await _effect_is_the_contracts_call(world, homes)
        await booked(world)
        await _correction_is_in_force(world, homes)
        await the_log_holds(world, tmp_path)
        before = state_hash(world.ledger.state)
    again = open_ledger(tmp_path, world.clock)
    async with again.ledger:
        assert state_hash(again.ledger.state) == before
        await again.ledger.step()
        assert state_hash(again.ledger.state) == before


async def _effect_is_the_contracts_call(world: World, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    (effect,) = [e for e in await world.ledger.outbox.pending(100) if e.kind == "correct_interval"]
    assert effect.key == f"correct:{DELIVERY}:1"
    rows = {row["account"]: row for row in effect.payload["rows"]}
    assert [row["account"] for row in effect.payload["rows"]] == sorted(rows)
    assert rows[anna.address]["signature"] == "0x" + bytes(64).hex()
    assert rows[bert.address]["signature"] != rows[anna.address]["signature"]
    assert sum(row["money_micro"] for row in rows.values()) == 0
    assert all(row["energy_wh"] == row["minted_wh"] - row["burned_wh"] for row in rows.values())
    expected = await world.ledger.expectations.correction(DELIVERY, 1)
    assert expected is not None
    assert [(row.account, row.money_micro, row.minted_wh) for row in expected] == [
        (account, rows[account]["money_micro"], rows[account]["minted_wh"]) for account in sorted(rows)
    ]
    assert await world.ledger.expectations.correction(DELIVERY, 2) is None


async def _correction_is_in_force(world: World, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    assert gained(world, anna, bert) == [60_000, -60_000]
    accounts = world.ledger.state.accounts
    assert (accounts[anna.address].sold_wh, accounts[anna.address].revenue_micro) == (300, 60_000)
    assert (accounts[bert.address].bought_wh, accounts[bert.address].cost_micro) == (300, 60_000)
    assert accounts[anna.address].energy_wh == 10
    for home, total_micro in ((anna, 60_000), (bert, -60_000)):
        envelope = await world.ledger.queries.receipt(home.address, DELIVERY)
        assert envelope is not None
        assert verify_receipt(envelope) == []
        assert (envelope["body"]["revision"], envelope["body"]["components"]["total_micro"]) == (1, total_micro)
        (line,) = await world.ledger.queries.receipts_of(home.address)
        assert (line.revision, line.total_micro) == (1, total_micro)
        totals = await world.ledger.queries.account_totals(home.address)
        assert (totals.intervals, totals.production_wh) == (1, 310 if home is anna else 0)
        assert totals.saved_micro == envelope["body"]["counterfactual"]["saved_micro"]
    assert [trade.settled_wh for trade in await world.ledger.queries.trades(DELIVERY)] == [300]
    interval = await world.ledger.queries.interval(DELIVERY)
    assert interval is not None
    assert (interval.stage, interval.settled_wh, interval.value_micro) == ("confirmed", 300, 60_000)
    batch = await world.ledger.queries.batch(DELIVERY)
    assert batch is not None
    assert batch.traded_wh == 100  # what the chain was told stays as it was
    assert correction(world).stage == "booked"


async def test_a_foreign_correction_moves_money_and_nothing_else(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    """One that nobody agreed to here: the observer halts trading for it, the ledger books what it did."""
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        changes = (AccountChange(bert.address, 5, 0),)
        (event,) = (await world.commit(BookCorrection(DELIVERY, 1, changes, "0xdd:0"))).events
        assert isinstance(event, IntervalCorrected)
        assert gained(world, bert) == [-20_000 + 5]
        assert isinstance(settlement(world), IntervalSettled)
        assert correction(world).stage == "proposed"
        await the_log_holds(world, tmp_path)


async def test_an_agreed_correction_is_booked_as_agreed_or_not_at_all(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        (record,) = await records(world, bert)
        await world.commit(consent(bert, record))
        await world.commit(BookCorrection(DELIVERY, 1, (AccountChange(bert.address, 5, 0),), "0xdd:0"))
        assert isinstance(settlement(world), IntervalSettled)
        envelope = await world.ledger.queries.receipt(bert.address, DELIVERY)
        assert envelope is not None
        assert envelope["body"]["revision"] == 0
        await the_log_holds(world, tmp_path)


async def test_readings_that_come_in_two_parts_make_a_newer_correction(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    """A second meter that was registered late: the first proposal and the signature under it are void."""
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=100)
        await world.ledger.step()
        (old,) = await records(world, bert)
        second = Home("anna's second meter")
        await world.commit(also_metered_by(anna, second))
        for at, production_wh in ((DELIVERY, 0), (END, 50)):
            await world.read(second, at, production_wh=production_wh)
        newer = await world.ledger._prepare_settlement(DELIVERY)
        assert newer is not None
        await world.commit(newer)
        assert correction(world).proposed.revision == 2
        assert await world.refuse(consent(bert, old)) == "correction_changed"
        new, superseded = await records(world, bert)
        assert (new.status, new.correction.revision, superseded.status) == ("proposed", 2, "superseded")
        assert new.correction.money_micro == old.correction.money_micro - 10_000
        await world.commit(consent(bert, new))
        assert isinstance(newer, ProposeCorrection)
        assert await world.refuse(replace(newer, energies=())) == "correction_open"
        await booked(world)
        assert gained(world, anna, bert) == [50_000, -50_000]
        await the_log_holds(world, tmp_path)


async def test_a_correction_that_the_contract_refuses_ends(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        (record,) = await records(world, bert)
        await world.commit(consent(bert, record))
        await world.commit(EndCorrection(DELIVERY, 1, "AccountMoneyInsufficient()"))
        assert await world.refuse(EndCorrection(DELIVERY, 1, "again")) == "nothing_due"
        (record,) = await records(world, bert)
        assert (record.status, record.needs_signature) == ("ended", False)
        assert gained(world, anna, bert) == [20_000, -20_000]
        assert await world.ledger.expectations.correction(DELIVERY, 1) is None
        await the_log_holds(world, tmp_path)


async def test_compensation_is_taken_back_when_late_readings_show_the_delivery(
    tmp_path: Path, homes: tuple[Home, Home]
) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path, rules=COMPENSATING)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        shortfall = 200 * (320_000 - 200_000) // 1000
        assert gained(world, anna, bert) == [20_000 - shortfall, shortfall - 20_000]
        await confirm(world)
        await world.read(anna, END, production_wh=200)
        await world.ledger.step()
        (record,) = await records(world, bert)
        receipt = await world.ledger.queries.receipt(bert.address, DELIVERY)
        assert record.envelope is not None
        assert verify_correction(record.correction, record.envelope, receipt) == []
        await world.commit(consent(bert, record))
        await booked(world)
        assert gained(world, anna, bert) == [60_000, -60_000]
        await the_log_holds(world, tmp_path)


async def test_a_correction_pays_its_fees_to_the_fee_account(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    """The contract's corrections net to zero, so the fee account is one of their rows."""
    anna, bert = homes
    config = replace(CONFIG, fee_account=TREASURY.address)
    world = open_ledger(tmp_path, rules=CHARGING, config=config)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        assert gained(world, anna, bert) == [20_000, -21_000]
        await confirm(world)
        await world.read(anna, END, production_wh=200)
        await world.ledger.step()
        proposed = correction(world).proposed
        assert {c.account: c.money_micro for c in proposed.changes} == {
            anna.address: 40_000,
            bert.address: -42_000,
            TREASURY.address: 2_000,
        }
        (record,) = await records(world, TREASURY)
        assert (record.envelope, record.needs_signature) == (None, False)
        (record,) = await records(world, bert)
        await world.commit(consent(bert, record))
        await booked(world)
        assert world.ledger.state.accounts[TREASURY.address].money_micro == 2_000
        await the_log_holds(world, tmp_path)


async def test_without_a_fee_account_no_correction_changes_fees(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path, rules=CHARGING)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=200)
        await world.ledger.step()
        assert world.ledger.state.intervals[DELIVERY].correction is None


async def test_who_had_no_row_on_chain_gets_nothing_minted(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    """The contract mints by correction only in intervals that a batch used: money moves, the surplus does not."""
    anna, bert = homes
    carl = Home("carl")
    world = open_ledger(tmp_path)
    async with world.ledger:
        await world.join(carl)
        await world.commit(carl.order(Side.SELL, 100, 200_000, DELIVERY))
        await world.read(carl, DELIVERY)
        await world.join(anna, bert)
        await world.commit(bert.order(Side.BUY, 100, 250_000, DELIVERY))
        await world.commit(anna.order(Side.SELL, 300, 200_000, DELIVERY))
        await world.commit(bert.order(Side.BUY, 300, 250_000, DELIVERY))
        for home in (anna, bert):
            await world.read(home, DELIVERY)
        world.clock.set(END)
        await world.read(anna, END, production_wh=300)
        await world.read(bert, END, consumption_wh=400)
        world.clock.set(DEADLINE)
        await world.ledger.step()
        assert gained(world, carl) == [0]
        await confirm(world)
        await world.read(carl, END, production_wh=150)
        await world.ledger.step()
        proposed = correction(world).proposed
        assert proposed.unminted == (carl.address,)
        assert {c.account: (c.money_micro, c.energy_wh) for c in proposed.changes} == {
            carl.address: (20_000, 0),
            bert.address: (-20_000, 0),
        }
        (record,) = await records(world, carl)
        assert record.envelope is not None
        receipt = await world.ledger.queries.receipt(carl.address, DELIVERY)
        assert verify_correction(record.correction, record.envelope, receipt) == []


async def test_intervals_that_may_change_stay_known_longer(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        for number in range(6, 6 + FINISHED_INTERVALS_KEPT + 2):
            await world.commit(bert.order(Side.BUY, 10, 1, START + 60 * number))
        world.clock.set(START + 60 * 40)
        await world.ledger.step()
        kept = sorted(world.ledger.state.intervals)
        assert (kept[0], len(kept)) == (DELIVERY, FINISHED_INTERVALS_KEPT + 1)
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        (record,) = await records(world, bert)
        await world.commit(consent(bert, record))
        await booked(world)
        await world.commit(bert.order(Side.BUY, 10, 1, START + 60 * 50))
        world.clock.set(START + 60 * 51)
        await world.ledger.step()
        assert DELIVERY not in world.ledger.state.intervals  # corrected, and known for good
        await the_log_holds(world, tmp_path)


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("UPDATE corrections SET receipts_root = zeroblob(32)", "the stored correction's roots are others"),
        ("UPDATE corrections SET signature = zeroblob(64)", "the settler did not sign the correction"),
        ("UPDATE correction_changes SET money_micro = money_micro + 1", "the stored correction's changes are others"),
        ("UPDATE correction_receipts SET proof = x''", "is another"),
    ],
)
async def test_verify_finds_a_tampered_correction(
    tmp_path: Path, homes: tuple[Home, Home], tampering: str, finding: str
) -> None:
    anna, bert = homes
    world, path = open_ledger(tmp_path), tmp_path / "ledger.sqlite"
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=210)
        await world.ledger.step()
        assert isinstance(correction(world).proposed, CorrectionProposed)
    assert verify(path).findings == []
    with closing(sqlite3.connect(path, autocommit=True)) as connection:
        connection.execute(tampering)
    assert any(finding in found for found in verify(path).findings)


async def test_nothing_is_corrected_to_what_no_reading_says(tmp_path: Path, homes: tuple[Home, Home]) -> None:
    anna, bert = homes
    world = open_ledger(tmp_path)
    async with world.ledger:
        await settled_at_the_deadline(world, anna, bert, halfway_wh=100)
        await confirm(world)
        await world.read(anna, END, production_wh=210)
        right = await world.ledger._prepare_settlement(DELIVERY)
        assert isinstance(right, ProposeCorrection)
        invented = tuple(replace(energy, production_wh=999) for energy in right.energies)
        assert await world.refuse(replace(right, energies=invented)) == "readings_changed"
        assert await world.refuse(replace(right, readings_root=bytes(32))) == "readings_changed"
        assert await world.refuse(replace(right, receipts_root=bytes(32))) == "readings_changed"
        await world.commit(right)
        assert await world.refuse(right) == "nothing_due"
        assert await world.refuse(replace(right, delivery_start=END)) == "not_settleable"
