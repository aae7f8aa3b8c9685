"""Bad input over HTTP: a code and a sentence, and nothing else is affected."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from coordinator.edge.http import create_application
from coordinator.edge.routes import API
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.messages import Side, TimeInForce
from coordinator.protocol.typed_data import Domain
from tests.edge.support import CONFIG, DELIVERY, DOMAIN, NOON, Answer, Door, Home, place, record, settle_in

STRANGE_DOMAIN = Domain(1, DOMAIN.ledger)


async def refused(door: Door, method: str, path: str, body: object, status: int, code: str) -> Answer:
    """Send what must be refused, and see that nothing has changed."""
    before = door.fingerprint()
    answer = await door.ask(method, path, body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert door.fingerprint() == before
    return answer


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "malformed"),
        (b"{", "application/json", 400, "malformed"),
        (b"[]", "application/json", 400, "malformed"),
        (b"null", "application/json", 400, "malformed"),
        (b"\xff\xfe{}", "application/json", 400, "malformed"),
        (b'{"order": NaN, "signature": 1}', "application/json", 400, "malformed"),
        (b"[" * 60_000, "application/json", 400, "malformed"),
        (b"9" * 60_000, "application/json", 400, "malformed"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"order=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"padding": "' + b"x" * 70_000 + b'"}', "application/json", 413, "too_large"),
    ],
    ids=lambda value: f"{value[:12]!r}" if isinstance(value, bytes) else str(value),
)
@pytest.mark.parametrize("path", ["/orders", "/readings", "/members", "/meters", "/sessions"])
async def test_what_is_no_message(
    door: Door, path: str, data: bytes, content_type: str, status: int, code: str
) -> None:
    before = door.fingerprint()
    answer = await door.send_raw("POST", path, data, content_type)
    assert (answer.status, answer.code) == (status, code)
    assert door.fingerprint() == before


@pytest.mark.parametrize("encoding", ["deflate", "gzip"])
async def test_a_body_that_is_not_what_its_headers_say(
    door: Door, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding, "Connection": "close"}
    async with door.client.post(f"{API}/orders", data=b"garbage, not packed", headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["code"] == "malformed"
    assert "Traceback" not in caplog.text


async def test_a_caller_that_hangs_up_in_the_middle_is_no_fault_of_ours(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    # As it is served; aiohttp's test server would cancel the handler instead.
    runner = web.AppRunner(create_application(door.services, CONFIG.http, door.hub))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(b"POST /api/v1/orders HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()
    async with asyncio.timeout(5):
        while 'code="malformed"} 3.0' not in await _metrics(door):  # noqa: ASYNC110 - as a monitor would
            await asyncio.sleep(0.01)
    await runner.cleanup()
    assert 'code="internal"' not in await _metrics(door)
    assert "Traceback" not in caplog.text


async def _metrics(door: Door) -> str:
    async with door.client.get("/metrics") as response:
        return await response.text()


async def test_a_body_that_is_sent_in_chunks_is_measured_too(door: Door) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 4_096

    headers = {"Content-Type": "application/json"}
    async with door.client.post(f"{API}/orders", data=chunks(), headers=headers) as response:
        assert response.status == 413


MISSING = object()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order.energy_wh", 500.0),
        ("order.energy_wh", True),
        ("order.energy_wh", "500"),
        ("order.energy_wh", 0),
        ("order.energy_wh", -1),
        ("order.energy_wh", 2**48),
        ("order.energy_wh", 2**300),
        ("order.limit_price_micro_per_kwh", 10**12 + 1),
        ("order.limit_price_micro_per_kwh", 1.5),
        ("order.limit_price_micro_per_kwh", MISSING),
        ("order.delivery_start", -900),
        ("order.delivery_start", None),
        ("order.side", "give"),
        ("order.time_in_force", 0),
        ("order.account", "0x12"),
        ("order.salt", "0x" + "zz" * 32),
        ("order.salt", MISSING),
        ("order.client_id", "x" * 65),
        ("order.client_id", "a\u0000b"),
        ("order.market", ""),
        ("order.extra", 1),
        ("order", MISSING),
        ("signature", MISSING),
        ("signature", "0x12"),
        ("signature", None),
        ("unknown", {}),
    ],
    ids=lambda value: "missing" if value is MISSING else repr(value)[:20],
)
async def test_an_order_with_one_wrong_field_names_it(door: Door, field: str, value: object) -> None:
    home = Home()
    await settle_in(door, home)
    body = copy.deepcopy(home.order_body(home.order()))
    *outer, name = field.split(".")
    place_of = body[outer[0]] if outer else body
    if value is MISSING:
        del place_of[name]
    else:
        place_of[name] = value
    answer = await refused(door, "POST", "/orders", body, 400, "malformed")
    assert answer.body["message"].startswith(f"{field}:")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence", 0),
        ("sequence", 2**40),
        ("timestamp", -1),
        ("consumption_wh", -5),
        ("production_wh", 2**48),
        ("flags", 65_536),
        ("flags", False),
        ("previous", "0x00"),
        ("device_id", "0x1"),
    ],
)
async def test_a_reading_with_one_wrong_field_names_it(door: Door, name: str, value: object) -> None:
    home = Home()
    await settle_in(door, home)
    body = home.reading_body(home.reading())
    body["reading"][name] = value
    answer = await refused(door, "POST", "/readings", body, 400, "malformed")
    assert answer.body["message"].startswith(f"reading.{name}:")


async def test_many_faults_are_told_at_once_and_briefly(door: Door) -> None:
    answer = await refused(door, "POST", "/orders", {"order": {}, "signature": 5}, 400, "malformed")
    assert "order.market:" in answer.body["detail"]
    assert len(json.dumps(answer.body)) < 1_000


@pytest.mark.parametrize(
    "path", ["/intervals?limit=0", "/intervals?limit=501", "/intervals?limit=1.5", "/intervals?since=x", "/trades?a=1"]
)
async def test_a_query_that_is_none(door: Door, path: str) -> None:
    await refused(door, "GET", path, None, 400, "malformed")


@pytest.mark.parametrize("path", ["/accounts/0x1", "/book/now", "/intervals?limit=5&limit=6"])
async def test_a_path_that_is_none(door: Door, path: str) -> None:
    await refused(door, "GET", path, None, 400, "malformed")


async def test_what_is_not_there(door: Door) -> None:
    await refused(door, "GET", "/nothing", None, 404, "not_found")
    await refused(door, "GET", f"/accounts/{Home().address}", None, 404, "not_found")
    await refused(door, "GET", "/book/7", None, 404, "not_found")
    answer = await refused(door, "PUT", "/orders", {}, 405, "method_not_allowed")
    assert "POST" in answer.body["message"]


def _forged(body: dict[str, Any], what: str, home: Home) -> dict[str, Any]:
    """Return an order that its account has not signed as it stands."""
    order = home.order()
    match what:
        case "by another key":
            return {"order": order.to_wire(), "signature": home.sign(order, AccountKey.generate())}
        case "for another chain":
            return {"order": order.to_wire(), "signature": home.sign(order, domain=STRANGE_DOMAIN)}
        case "zero":
            return {**body, "signature": "0x" + "00" * 64}
        case "of another order":
            return {**body, "signature": home.sign(order)}
        case "high s":
            signature = bytes.fromhex(body["signature"][2:])
            high = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(signature[32:])
            return {**body, "signature": "0x" + (signature[:32] + high.to_bytes(32)).hex()}
        case "beyond the group":
            return {**body, "signature": "0x" + "ff" * 64}
    changed = copy.deepcopy(body)
    changed["order"]["energy_wh"] += 1
    return changed


@pytest.mark.parametrize(
    "what",
    ["by another key", "for another chain", "zero", "of another order", "high s", "beyond the group", "changed after"],
)
async def test_an_order_that_is_signed_wrongly(door: Door, what: str) -> None:
    home = Home()
    await settle_in(door, home)
    body = _forged(home.order_body(home.order()), what, home)
    answer = await refused(door, "POST", "/orders", body, 401, "bad_signature")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_cancellation_that_is_signed_wrongly(door: Door) -> None:
    home, thief = Home(), Home()
    for each in (home, thief):
        await settle_in(door, each)
    placed = await place(door, home, home.order())
    digest = bytes.fromhex(placed["order"][2:])
    forged = thief.cancel_body(digest, account=home.address)
    await refused(door, "DELETE", f"/orders/{placed['order']}", forged, 401, "bad_signature")
    own = thief.cancel_body(digest)
    await refused(door, "DELETE", f"/orders/{placed['order']}", own, 403, "not_your_order")
    other = home.cancel_body(bytes([1]) * 32)
    await refused(door, "DELETE", f"/orders/{placed['order']}", other, 400, "malformed")
    await refused(door, "DELETE", f"/orders/0x{'01' * 32}", other, 404, "unknown_order")
    await refused(door, "DELETE", "/orders", own, 400, "malformed")
    strange = home.cancel_body(digest, market="oak-street")
    await refused(door, "DELETE", f"/orders/{placed['order']}", strange, 422, "wrong_market")


async def test_a_reading_that_is_signed_wrongly(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    reading = home.reading()
    forged = {"reading": reading.to_wire(), "signature": home.sign(reading, MeterKey.generate())}
    await refused(door, "POST", "/readings", forged, 401, "bad_signature")
    by_account = {"reading": reading.to_wire(), "signature": home.sign(reading)}
    await refused(door, "POST", "/readings", by_account, 401, "bad_signature")
    stranger = Home()
    await refused(door, "POST", "/readings", stranger.reading_body(stranger.reading()), 404, "unknown_meter")


async def test_a_registration_that_one_of_the_two_has_not_signed(door: Door) -> None:
    home, other = Home(), Home()
    await door.ask("POST", "/members", home.join_body())
    body = home.registration_body()
    unsigned = {**body, "meter_signature": other.registration_body()["meter_signature"]}
    await refused(door, "POST", "/meters", unsigned, 401, "bad_signature")
    unsigned = {**body, "account_signature": other.registration_body()["account_signature"]}
    await refused(door, "POST", "/meters", unsigned, 401, "bad_signature")
    strange = home.registration_body(device_id=other.meter.device_id)
    await refused(door, "POST", "/meters", strange, 422, "wrong_device_id")
    await refused(door, "POST", "/meters", other.registration_body(), 403, "not_a_member")


async def test_a_registered_meter_is_nobody_elses(door: Door) -> None:
    home, thief = Home(), Home()
    for each in (home, thief):
        await settle_in(door, each)
    stolen = Home(account=thief.account, meter=home.meter)
    await refused(door, "POST", "/meters", stolen.registration_body(), 409, "meter_taken")


async def test_joining_needs_the_invite_the_market_and_the_time(door: Door) -> None:
    home = Home()
    await refused(door, "POST", "/members", home.join_body(invite="guessed-it"), 403, "invite_wrong")
    await refused(door, "POST", "/members", home.join_body(market="oak-street"), 422, "wrong_market")
    stale = await refused(door, "POST", "/members", home.join_body(NOON - 121), 401, "stale_request")
    assert str(NOON) in stale.body["detail"]
    await refused(door, "POST", "/members", home.join_body(NOON + 121), 401, "stale_request")
    forged = {**home.join_body(), "signature": Home().join_body()["signature"]}
    await refused(door, "POST", "/members", forged, 401, "bad_signature")
    await refused(door, "POST", "/sessions", home.session_body(), 403, "not_a_member")


async def test_an_old_request_for_a_session_is_not_good_for_ever(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    body = home.session_body()
    assert (await door.ask("POST", "/sessions", body)).status == 201
    door.clock.at += 121
    await refused(door, "POST", "/sessions", body, 401, "stale_request")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"market": "oak-street"}, 422, "wrong_market"),
        ({"delivery_start": DELIVERY + 1}, 422, "interval_misaligned"),
        ({"delivery_start": NOON - 300}, 422, "gate_closed"),
        ({"delivery_start": NOON}, 422, "gate_closed"),
        ({"delivery_start": NOON + 3_900}, 422, "beyond_horizon"),
        ({"energy_wh": 100_001}, 422, "energy_out_of_range"),
        ({"limit_price_micro_per_kwh": 1_000_001}, 422, "price_out_of_band"),
        ({"limit_price_micro_per_kwh": -1}, 422, "price_out_of_band"),
        ({"valid_from": NOON + 60}, 422, "not_valid_yet"),
        ({"valid_until": NOON - 1, "time_in_force": TimeInForce.GOOD_TILL_DATE}, 422, "expired"),
        ({"side": Side.BUY, "energy_wh": 99_000, "limit_price_micro_per_kwh": 900_000}, 422, "insufficient_funds"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else str(value),
)
async def test_an_order_against_the_rules(door: Door, changes: dict[str, Any], status: int, code: str) -> None:
    home = Home()
    await settle_in(door, home)
    body = home.order_body(replace(home.order(), **changes))
    await refused(door, "POST", "/orders", body, status, code)


async def test_an_order_that_comes_late(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    body = home.order_body(home.order())
    door.clock.at = DELIVERY - 60
    await refused(door, "POST", "/orders", body, 422, "gate_closed")


async def test_an_order_of_somebody_who_is_not_here(door: Door) -> None:
    home = Home()
    await refused(door, "POST", "/orders", home.order_body(home.order()), 403, "not_a_member")


async def test_more_orders_than_one_account_may_have(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    for _ in range(20):
        await place(door, home, home.order())
    await refused(door, "POST", "/orders", home.order_body(home.order()), 422, "too_many_orders")


async def test_readings_out_of_sequence(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    await record(door, home, home.reading(NOON, 100))
    gap = home.reading(NOON + 60, 110, sequence=3)
    answer = await refused(door, "POST", "/readings", home.reading_body(gap), 409, "sequence_gap")
    assert answer.body["detail"] == "2"
    unchained = home.reading(NOON + 60, 110, previous=bytes(32))
    await refused(door, "POST", "/readings", home.reading_body(unchained), 409, "wrong_previous")


@pytest.mark.parametrize(
    ("at", "consumption_wh", "code"),
    [
        (NOON + 60, 99, "register_decreased"),
        (NOON - 60, 110, "not_later"),
        (NOON + 4, 100, "too_soon"),
        (NOON + 1_000, 110, "clock_skew"),
        (NOON + 60, 9_000, "beyond_limit"),
    ],
)
async def test_readings_that_cannot_be(door: Door, at: int, consumption_wh: int, code: str) -> None:
    home = Home()
    await settle_in(door, home)
    await record(door, home, home.reading(NOON, 100))
    body = home.reading_body(home.reading(at, consumption_wh))
    await refused(door, "POST", "/readings", body, 422, code)


async def test_equivocation_suspends_the_meter_and_nobody_else(door: Door) -> None:
    home, neighbour = Home(), Home()
    for each in (home, neighbour):
        await settle_in(door, each)
    await record(door, home, home.reading(NOON, 100))
    home.last = None
    other = await door.ask("POST", "/readings", home.reading_body(home.reading(NOON, 50)))
    assert (other.status, other.code) == (409, "equivocation")
    again = await door.ask("POST", "/readings", home.reading_body(home.reading(NOON, 50)))
    assert (again.status, again.code) == (403, "suspended")
    await record(door, neighbour, neighbour.reading(NOON, 100))


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "0x1.99999999999.00"])
async def test_what_is_private_needs_a_session(door: Door, token: str | None) -> None:
    home = Home()
    await settle_in(door, home)
    for path in (f"/accounts/{home.address}/orders", f"/receipts/{home.address}"):
        answer = await door.ask("GET", path, token=token)
        assert (answer.status, answer.code) == (401, "unauthorized")


async def test_a_session_opens_nobody_elses_door(door: Door) -> None:
    home, other = Home(), Home()
    token = await settle_in(door, home)
    await settle_in(door, other)
    paths = (
        f"/accounts/{other.address}/orders",
        f"/receipts/{other.address}",
        f"/receipts/{other.address}/{DELIVERY}",
        f"/meters/0x{other.meter.device_id:064x}",
    )
    for path in paths:
        answer = await door.ask("GET", path, token=token)
        assert (answer.status, answer.code) == (403, "not_yours")


async def test_a_session_ends(door: Door) -> None:
    home = Home()
    token = await settle_in(door, home)
    door.clock.at += 24 * 3600
    answer = await door.ask("GET", f"/accounts/{home.address}/orders", token=token)
    assert (answer.status, answer.code) == (401, "unauthorized")


async def test_a_forged_token(door: Door) -> None:
    home, other = Home(), Home()
    token = await settle_in(door, home)
    await settle_in(door, other)
    _, expires_at, mac = token.split(".")
    for forged in (f"{other.address}.{expires_at}.{mac}", f"{home.address}.{int(expires_at) + 1}.{mac}", token[:-1]):
        answer = await door.ask("GET", f"/accounts/{home.address}/orders", token=forged)
        assert answer.status == 401
