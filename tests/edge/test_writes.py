"""What a home does, over HTTP: join, register, trade, cancel, send readings; each of it twice."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.market.commands import HaltTrading
from coordinator.protocol.keys import verify_account, verify_meter
from coordinator.protocol.messages import ZERO_HASH, DeviceReceipt, Reading, Side, TimeInForce
from coordinator.protocol.recovery import recover_address
from tests.edge.support import CONFIG, DELIVERY, DOMAIN, NOON, OPERATOR, Door, Home, place, record, settle_in


async def test_joining_gives_a_session_and_joining_again_another(door: Door) -> None:
    home = Home()
    first = await door.ask("POST", "/members", home.join_body())
    door.clock.at += 60
    again = await door.ask("POST", "/members", home.join_body(door.clock.at))
    assert (first.status, again.status) == (201, 200)
    assert again.body["expires_at"] == first.body["expires_at"] + 60
    assert [member.name for member in door.ledger.state.members.values()] == ["Number 7"]


async def test_a_member_opens_a_session_and_reads_what_is_its_own(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    session = await door.ask("POST", "/sessions", home.session_body())
    orders = await door.ask("GET", f"/accounts/{home.address}/orders", token=session.body["token"])
    assert (session.status, orders.status, orders.body) == (201, 200, {"orders": []})


async def test_registering_a_meter_again_is_harmless(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    before = door.fingerprint()
    again = await door.ask("POST", "/meters", home.registration_body())
    assert again.status == 200
    assert door.fingerprint() == before


async def test_two_orders_trade_and_say_so(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    resting = await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    taking = await place(door, buyer, buyer.order(Side.BUY, 800, 200_000))
    assert (resting["status"], resting["remaining_wh"]) == ("resting", 500)
    assert (taking["status"], taking["filled_wh"], taking["remaining_wh"]) == ("partly_filled", 500, 300)
    fees = {"grid_fee_micro_per_kwh": 0, "community_fee_micro_per_kwh": 0}
    assert taking["trades"] == [
        {"trade_id": 1, "energy_wh": 500, "price_micro_per_kwh": 150_000, "stage": "continuous", **fees}
    ]


async def test_the_same_order_again_is_answered_with_its_present_status(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    order = seller.order()
    await place(door, seller, order)
    await place(door, buyer, buyer.order(Side.BUY))
    before = door.fingerprint()
    again = await door.ask("POST", "/orders", seller.order_body(order))
    assert (again.status, again.body["status"], again.body["filled_wh"]) == (200, "filled", 500)
    assert door.fingerprint() == before


async def test_the_same_order_at_the_same_time_is_placed_once(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    body = home.order_body(home.order())
    answers = await asyncio.gather(*(door.ask("POST", "/orders", body) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert door.ledger.state.orders_placed == 1


async def test_an_immediate_order_without_a_match_is_closed(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    placed = await place(door, home, home.order(time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL))
    assert (placed["status"], placed["reason"]) == ("cancelled", "immediate_remainder")
    assert placed["remaining_wh"] == 500
    again = await door.ask("GET", f"/book/{DELIVERY}")
    assert again.body["asks"] == []


async def test_the_contract_gets_a_signature_that_it_can_recover(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    placed = await place(door, home, home.order())
    known = door.ledger.state.orders[bytes.fromhex(placed["order"][2:])]
    assert recover_address(known.digest, known.signature) == home.address


async def test_an_order_is_cancelled_once(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    placed = await place(door, home, home.order())
    body = home.cancel_body(bytes.fromhex(placed["order"][2:]))
    first = await door.ask("DELETE", f"/orders/{placed['order']}", body)
    again = await door.ask("DELETE", f"/orders/{placed['order']}", body)
    assert (first.status, first.body) == (200, {"cancelled": [placed["order"]]})
    assert (again.status, again.code) == (409, "order_not_open")


async def test_cancel_all_spares_what_came_later(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    old = await place(door, home, home.order())
    door.clock.at += 5
    new = await place(door, home, home.order())
    answer = await door.ask("DELETE", "/orders", home.cancel_body(ZERO_HASH, until=NOON + 1))
    assert answer.body == {"cancelled": [old["order"]]}
    assert [*door.ledger.state.accounts[home.address].open_orders] == [bytes.fromhex(new["order"][2:])]


async def test_a_reading_is_receipted_by_the_operator_and_again_with_the_same_words(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    reading = home.reading()
    first = await record(door, home, reading)
    door.clock.at += 30
    again = await door.ask("POST", "/readings", home.reading_body(reading))
    assert (again.status, again.body) == (200, first)
    receipt = DeviceReceipt.from_wire(first["receipt"])
    seal = bytes.fromhex(first["signature"][2:])
    assert receipt.reading == reading.digest(DOMAIN)
    assert receipt.committed_at == NOON
    assert verify_account(receipt.digest(DOMAIN), seal, OPERATOR.public_key)


async def test_a_meter_tells_its_owner_where_its_readings_stand(door: Door) -> None:
    home = Home()
    token = await settle_in(door, home)
    path = f"/meters/0x{home.meter.device_id:064x}"
    assert (await door.ask("GET", path, token=token)).body["last"] is None
    await record(door, home, home.reading(consumption_wh=12))
    last = (await door.ask("GET", path, token=token)).body["last"]
    assert home.last is not None
    assert Reading.from_wire(last["reading"]) == home.last
    assert home.last.consumption_wh == 12
    assert verify_meter(home.last.digest(DOMAIN), bytes.fromhex(last["signature"][2:]), home.meter.public_key)


async def test_accounts_book_trades_and_intervals_show_what_happened(door: Door) -> None:
    seller, buyer = Home(), Home()
    for home in (seller, buyer):
        await settle_in(door, home)
    await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    await place(door, seller, seller.order(Side.SELL, 100, 300_000))
    await place(door, buyer, buyer.order(Side.BUY, 200, 150_000))
    book = (await door.ask("GET", f"/book/{DELIVERY}")).body
    assert book["asks"] == [[150_000, 300, 1], [300_000, 100, 1]]
    assert book["last_price_micro_per_kwh"] == 150_000
    (trade,) = (await door.ask("GET", f"/trades?delivery_start={DELIVERY}")).body["trades"]
    assert (trade["seller"], trade["buyer"], trade["energy_wh"]) == (seller.address, buyer.address, 200)
    (interval,) = (await door.ask("GET", "/intervals")).body["intervals"]
    assert (interval["volume_wh"], interval["trades"]) == (200, 1)
    account = (await door.ask("GET", f"/accounts/{seller.address}")).body
    assert (account["open_orders"], account["meters"]) == (2, [f"0x{seller.meter.device_id:064x}"])
    assert len((await door.ask("GET", "/accounts")).body["accounts"]) == 2


async def test_a_halt_refuses_orders_but_takes_cancellations_and_readings(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    placed = await place(door, home, home.order())
    await door.ledger.submit(HaltTrading("chain and ledger disagree"))
    refused = await door.ask("POST", "/orders", home.order_body(home.order()))
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "trading_halted", "5")
    digest = bytes.fromhex(placed["order"][2:])
    cancelled = await door.ask("DELETE", f"/orders/{placed['order']}", home.cancel_body(digest))
    assert cancelled.status in {200, 409}  # halting may have closed it
    await record(door, home, home.reading())
    market = (await door.ask("GET", "/market")).body
    assert (market["state"], market["halt_reason"]) == ("halted", "chain and ledger disagree")
    assert (await door.ask("GET", "/readyz")).body["status"] == "halted"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_answered(door: Door, path: str) -> None:
    assert (await door.ask("GET", path)).status == 200


async def test_the_market_tells_its_rules(door: Door) -> None:
    market = (await door.ask("GET", "/market")).body
    assert market["rule"]["name"] == "uniform-midpoint-pro_rata/1"
    assert market["tariff"]["supplier_micro_per_kwh"] == CONFIG.market.supplier_micro_per_kwh
    assert market["chain"]["ledger"] == DOMAIN.ledger
    assert (market["time"], market["state"]) == (NOON, "open")


async def test_a_second_system_with_the_same_keys_is_refused_and_the_meter_tells_who_signs(door: Door) -> None:
    home = Home()
    token = await settle_in(door, home)
    path = f"/meters/0x{home.meter.device_id:064x}"
    assert (await door.ask("GET", path, token=token)).body["installation"] is None
    first = home.reading(consumption_wh=12)
    assert (await door.ask("POST", "/readings", home.reading_body(first) | {"installation": "aa"})).status == 201
    assert (await door.ask("GET", path, token=token)).body["installation"] == "aa"
    other = await door.ask(
        "POST", "/readings", home.reading_body(home.reading(consumption_wh=13)) | {"installation": "bb"}
    )
    assert (other.status, other.body["code"]) == (409, "other_installation")
    assert (await door.ask("GET", path, token=token)).body["suspended"] is None
