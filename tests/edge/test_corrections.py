"""Corrections over HTTP: a late reading changes a settled interval, and who loses by it agrees or does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordinator.ledger import Committed
from coordinator.market.commands import ConfirmSettlement
from coordinator.protocol.chain_messages import Correction
from coordinator.protocol.client import CoordinatorClient
from coordinator.protocol.membership import SessionRequest
from coordinator.protocol.messages import Side
from coordinator.protocol.receipts import verify_receipt
from tests.edge.support import DELIVERY, DOMAIN, MARKET, Door, Home, place, record, settle_in
from tests.edge.test_stream import listening

END = DELIVERY + 300
DEADLINE = END + 300


async def corrected(door: Door) -> tuple[Home, Home, dict[str, Any]]:
    """Settle an interval without one buyer's last reading, confirm it, then let the reading come."""
    seller, buyer, neighbour = Home(), Home(salt=1_000), Home(salt=2_000)
    for home in (seller, buyer, neighbour):
        await settle_in(door, home)
    await place(door, seller, seller.order(Side.SELL, 800, 150_000))
    for home in (buyer, neighbour):
        await place(door, home, home.order(Side.BUY, 400, 250_000))
    door.clock.at = END + 1
    for home, registers in ((seller, (0, 800)), (neighbour, (400, 0))):
        await record(door, home, home.reading(DELIVERY))
        await record(door, home, home.reading(END, *registers))
    await record(door, buyer, buyer.reading(DELIVERY))
    async with listening(door) as listener:
        door.clock.at = DEADLINE + 1
        await listener.next("event", "interval_settled")
        result = await door.ledger.submit(ConfirmSettlement(DELIVERY, "0x" + "ab" * 32, 7, 90_000))
        assert isinstance(result, Committed), result
        await record(door, buyer, buyer.reading(END, 400, 0))
        proposed = (await listener.next("event", "correction_proposed"))["data"]
    return seller, buyer, proposed


async def token_of(door: Door, home: Home) -> str:
    token: str = (await door.ask("POST", "/sessions", home.session_body(door.clock.at))).body["token"]
    return token


def body_of(home: Home, correction: Correction) -> dict[str, Any]:
    return {"correction": correction.to_wire(), "signature": home.sign(correction)}


async def test_a_home_reads_its_correction_and_signs_what_it_loses(door: Door) -> None:
    seller, buyer, proposed = await corrected(door)
    assert proposed == {
        "delivery_start": DELIVERY,
        "revision": 1,
        "accounts": sorted((seller.address, buyer.address)),
    }
    found = {}
    for home in (seller, buyer):
        answer = await door.ask("GET", f"/corrections/{home.address}", token=await token_of(door, home))
        (found[home.address],) = answer.body["corrections"]
    loser = seller if found[seller.address]["needs_signature"] else buyer
    mine = found[loser.address]
    assert (mine["status"], mine["signed"], mine["needs_signature"]) == ("proposed", False, True)
    assert verify_receipt(mine["receipt"]) == []
    correction = Correction.from_wire(mine["correction"])
    assert correction.money_micro < 0 or correction.energy_wh < 0
    first = await door.ask("POST", "/corrections", body_of(loser, correction))
    again = await door.ask("POST", "/corrections", body_of(loser, correction))
    assert (first.status, first.body) == (201, {"delivery_start": DELIVERY, "revision": 1})
    assert again.status in (200, 404)  # once all have signed, nothing waits for a signature
    client = CoordinatorClient(door.client.session, str(door.client.make_url("/")))
    await client.open_session(_request(loser, door.clock.at), loser.account, DOMAIN)
    (shown,) = await client.corrections(loser.address)
    assert (shown["signed"], shown["needs_signature"]) == (True, False)


async def test_what_nobody_proposed_or_somebody_else_signed_is_refused(door: Door) -> None:
    seller, buyer, _ = await corrected(door)
    answer = await door.ask("GET", f"/corrections/{buyer.address}", token=await token_of(door, buyer))
    correction = Correction.from_wire(answer.body["corrections"][0]["correction"])
    before = door.fingerprint()
    for sent, signer, code in (
        (correction, seller, "bad_signature"),
        (replace(correction, market="oak-street"), buyer, "wrong_market"),
        (replace(correction, delivery_start=DELIVERY + 300), buyer, "unknown_correction"),
        (replace(correction, money_micro=correction.money_micro - 1), buyer, "correction_changed"),
    ):
        refused = await door.ask("POST", "/corrections", body_of(signer, sent))
        assert refused.code == code, sent
    assert door.fingerprint() == before
    other = await door.ask("GET", f"/corrections/{seller.address}", token=await token_of(door, buyer))
    assert (other.status, other.code) == (403, "not_yours")


def _request(home: Home, at: int) -> SessionRequest:
    return SessionRequest(home.address, MARKET, at)
