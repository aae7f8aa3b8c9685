"""Withdrawals over HTTP: checked, reserved, put into the outbox, and answered again as they stand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.chain.abi import contract
from coordinator.chain.contracts import effect_call
from coordinator.ledger.verify import verify
from coordinator.market.commands import BookRequest, BookWithdrawal, EndWithdrawal
from coordinator.market.withdrawals import DEADLINE_AHEAD_S_MIN
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.messages import Side
from coordinator.protocol.recovery import recover_address
from tests.edge.support import DOMAIN, NOON, Door, Home, open_door, place, settle_in

WALLET = "0x" + "d1" * 20
_ADDRESSES: Any = type("Addresses", (), {"ledger": DOMAIN.ledger})


def body(home: Home, **changes: Any) -> dict[str, Any]:
    withdrawal = Withdrawal(home.address, WALLET, 3_000_000, 0, 0, NOON + 3_600)
    withdrawal = replace(withdrawal, **changes)
    return {"withdrawal": withdrawal.to_wire(), "signature": home.sign(withdrawal)}


async def shown(door: Door, home: Home) -> tuple[int, int, int]:
    """Return what the account shows as requested and withdrawing, and its next nonce."""
    account = (await door.ask("GET", f"/accounts/{home.address}")).body
    return account["requested_micro"], account["withdrawing_micro"], account["withdrawal_nonce"]


async def test_a_withdrawal_is_reserved_and_leaves_for_the_chain(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    answer = await door.ask("POST", "/withdrawals", body(home))
    assert (answer.status, answer.body["status"], answer.body["money_micro"]) == (201, "open", 3_000_000)
    assert await shown(door, home) == (0, 3_000_000, 0)
    too_much = await door.ask("POST", "/orders", home.order_body(home.order(Side.BUY, 10_000, 250_000)))
    assert too_much.code == "insufficient_funds"
    effects = [e for e in await door.ledger.outbox.pending(100) if e.kind == "relay_withdrawal"]
    (effect,) = effects
    call = effect_call(_ADDRESSES, effect.kind, effect.payload)
    values, r, vs = contract("EnergyLedger").arguments("relayWithdrawal", call.data) or ()
    assert values == (home.address, WALLET, 3_000_000, 0, 0, NOON + 3_600)
    digest = bytes.fromhex(answer.body["withdrawal"][2:])
    assert recover_address(digest, r + vs) == home.address
    await door.ledger.submit(BookWithdrawal(home.address, WALLET, 3_000_000, "tx:0"))
    assert await shown(door, home) == (0, 0, 1)
    again = await door.ask("POST", "/withdrawals", body(home))
    assert (again.status, again.body["status"], again.body["reason"]) == (200, "done", None)


async def test_the_same_withdrawal_at_the_same_time_is_booked_once(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    answers = await asyncio.gather(*(door.ask("POST", "/withdrawals", body(home)) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert door.ledger.state.withdrawals == 1


async def test_a_refusal_by_the_contract_is_told(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    await door.ask("POST", "/withdrawals", body(home))
    await door.ledger.submit(EndWithdrawal(home.address, 1, "RecipientInvalid(..)", None))
    again = await door.ask("POST", "/withdrawals", body(home))
    assert (again.status, again.body["status"], again.body["reason"]) == (200, "refused", "RecipientInvalid(..)")
    assert await shown(door, home) == (0, 0, 0)
    anew = await door.ask("POST", "/withdrawals", body(home, deadline=NOON + 3_601))
    assert (anew.status, anew.body["number"]) == (201, 2)
    keys = [e.key for e in await door.ledger.outbox.pending(100) if e.kind == "relay_withdrawal"]
    assert keys == ["withdrawal:1", "withdrawal:2"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"to": "0x" + "00" * 20}, 422, "recipient_invalid"),
        ({"to": DOMAIN.ledger}, 422, "recipient_invalid"),
        ({"account": WALLET}, 401, "bad_signature"),
        ({"relay_fee_micro": 1}, 422, "relay_fee_not_zero"),
        ({"nonce": 1}, 409, "wrong_nonce"),
        ({"deadline": NOON + DEADLINE_AHEAD_S_MIN - 1}, 422, "expired"),
        ({"money_micro": 5_000_001}, 422, "insufficient_funds"),
        ({"money_micro": 0}, 400, "malformed"),
        ({"money_micro": 2**63}, 400, "malformed"),
        ({"deadline": 2**40}, 400, "malformed"),
    ],
)
async def test_what_cannot_be_brought_on_chain_is_refused(
    door: Door, changes: dict[str, Any], status: int, code: str
) -> None:
    home = Home()
    await settle_in(door, home)
    before = door.fingerprint()
    answer = await door.ask("POST", "/withdrawals", body(home, **changes))
    assert (answer.status, answer.code) == (status, code)
    assert door.fingerprint() == before


async def test_nobody_withdraws_with_another_s_key_or_for_another_market(door: Door) -> None:
    home, thief = Home(), Home()
    await settle_in(door, home)
    withdrawal = Withdrawal(home.address, WALLET, 1, 0, 0, NOON + 3_600)
    elsewhere = replace(DOMAIN, chain_id=1)
    for signature in (thief.sign(withdrawal), home.sign(withdrawal, domain=elsewhere)):
        wish = {"withdrawal": withdrawal.to_wire(), "signature": signature}
        assert (await door.ask("POST", "/withdrawals", wish)).code == "bad_signature"
    stranger = await door.ask("POST", "/withdrawals", body(thief))
    assert (stranger.status, stranger.code) == (403, "not_a_member")


async def test_what_trades_need_and_what_is_requested_is_shown(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    await place(door, home, home.order(Side.BUY, 10_000, 250_000))
    refused = await door.ask("POST", "/withdrawals", body(home))
    assert (refused.code, "2500000 is free" in refused.body["message"]) == ("insufficient_funds", True)
    await door.ledger.submit(BookRequest(home.address, 4_000_000, NOON, "tx:0"))
    assert await shown(door, home) == (2_500_000, 0, 0)


async def test_withdrawals_survive_a_restart(tmp_path: Path) -> None:
    home = Home()
    async with open_door(tmp_path) as door:
        await settle_in(door, home)
        await door.ask("POST", "/withdrawals", body(home))
        await door.ledger.submit(BookRequest(home.address, 7, NOON, "tx:0"))
        before = door.fingerprint()
    async with open_door(tmp_path) as door:
        assert door.fingerprint() == before
        assert await shown(door, home) == (7, 3_000_000, 0)
        again = await door.ask("POST", "/withdrawals", body(home))
        assert (again.status, again.body["status"]) == (200, "open")
    assert verify(tmp_path / "ledger.sqlite").findings == []


async def test_the_stream_tells_of_a_withdrawal_without_its_recipient(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    answer = await door.ask("POST", "/withdrawals", body(home))
    await door.ledger.submit(EndWithdrawal(home.address, 1, "why", None))
    heard: list[dict[str, Any]] = []
    async with door.client.ws_connect("/api/v1/stream?since=0") as socket:
        while not any(message.get("event") == "withdrawal_ended" for message in heard):
            heard.append(await socket.receive_json(timeout=5))
    told = {message["event"]: message["data"] for message in heard if message["type"] == "event"}
    assert told["withdrawal_accepted"] == {"number": 1, "account": home.address, "money_micro": 3_000_000}
    assert told["withdrawal_ended"] == {"account": home.address, "number": 1, "reason": "why"}
    assert WALLET not in str(told)
    assert answer.body["reason"] is None
