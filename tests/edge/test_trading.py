"""Every kind of order over HTTP: conditional, choosy, replaced, bundled, in batches; and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.config import Config, MarketConfig
from coordinator.ledger.records import OrderRecord
from coordinator.protocol.messages import Order, Side, TimeInForce
from coordinator.protocol.order_terms import Comparison, Condition, Preferences, Signal
from coordinator.protocol.signals import SignalMessage
from tests.edge.support import (
    CONFIG,
    DELIVERY,
    NOON,
    OPERATOR,
    Answer,
    Door,
    Home,
    open_door,
    place,
    settle_in,
)

LATER = DELIVERY + 300
STRAINED = Condition(Signal.GRID_STATE, Comparison.AT_LEAST, 1)


def with_market(**changes: Any) -> Config:
    market: MarketConfig = replace(CONFIG.market, **changes)
    return replace(CONFIG, market=market)


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Door]:
    """A market with a session each half hour."""
    async with open_door(tmp_path, config=with_market(session_every_s=1_800)) as opened:
        yield opened


async def homes(door: Door, count: int) -> list[Home]:
    found = [Home(salt=1_000 * number) for number in range(count)]
    for home in found:
        await settle_in(door, home)
    return found


async def token_of(door: Door, home: Home) -> str:
    token: str = (await door.ask("POST", "/sessions", home.session_body(door.clock.at))).body["token"]
    return token


async def order_of(door: Door, home: Home, order: str) -> dict[str, Any]:
    answer = await door.ask("GET", f"/orders/{order}", token=await token_of(door, home))
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


async def tell(door: Door, signal: Signal, value: int, **changes: Any) -> Answer:
    """Send a signal as the operator."""
    message = replace(SignalMessage(CONFIG.market.id, signal, 0, value, door.clock.at), **changes)
    return await door.ask("POST", "/signals", signal_body(message))


def signal_body(message: SignalMessage, home: Home | None = None) -> dict[str, Any]:
    signer = Home() if home is None else home
    key = OPERATOR if home is None else home.account
    return {"signal": message.to_wire(), "signature": signer.sign(message, key)}


def state_of(body: dict[str, Any]) -> tuple[str, str | None]:
    return body["status"], body["reason"]


# Conditions


async def test_a_conditional_order_waits_fires_once_and_trades(door: Door) -> None:
    seller, buyer = await homes(door, 2)
    await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    placed = await place(door, buyer, buyer.order(Side.BUY, 500, 200_000, condition=STRAINED))
    assert state_of(placed) == ("received", "condition")
    assert (await door.ask("GET", f"/book/{DELIVERY}")).body["bids"] == []
    told = await tell(door, Signal.GRID_STATE, 1)
    assert (told.status, told.body) == (201, {"signal": "grid_state", "delivery_start": 0, "value": 1})
    found = await order_of(door, buyer, placed["order"])
    assert (*state_of(found), found["filled_wh"]) == ("filled", None, 500)


async def test_an_order_whose_condition_is_met_already_fires_with_its_placing(door: Door) -> None:
    (home,) = await homes(door, 1)
    await tell(door, Signal.GRID_STATE, 2)
    placed = await place(door, home, home.order(Side.SELL, 500, 150_000, condition=STRAINED))
    assert state_of(placed) == ("triggered", None)
    assert (await door.ask("GET", f"/book/{DELIVERY}")).body["asks"] == [[150_000, 500, 1]]


async def test_what_is_told_of_an_order_is_of_one_moment(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trades while it is looked up: who was told "filled" and "0 Wh" would order the same again."""
    seller, buyer = await homes(door, 2)
    placed = await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    token = await token_of(door, seller)
    queries = door.ledger.queries
    one, of_account = queries.order, queries.orders_of

    async def order(digest: bytes) -> OrderRecord | None:
        record = await one(digest)
        await place(door, buyer, buyer.order(Side.BUY, 200, 200_000))
        return record

    async def orders_of(account: str, limit: int = 100) -> list[OrderRecord]:
        records = await of_account(account, limit)
        await place(door, buyer, buyer.order(Side.BUY, 300, 200_000))
        return records

    monkeypatch.setattr(queries, "order", order)
    monkeypatch.setattr(queries, "orders_of", orders_of)
    found = (await door.ask("GET", f"/orders/{placed['order']}", token=token)).body
    assert (found["status"], found["filled_wh"], found["remaining_wh"]) == ("partly_filled", 200, 300)
    (found,) = (await door.ask("GET", f"/accounts/{seller.address}/orders", token=token)).body["orders"]
    assert (found["status"], found["filled_wh"], found["remaining_wh"]) == ("filled", 500, 0)


async def test_only_the_operators_signals_count(door: Door) -> None:
    (home,) = await homes(door, 1)
    placed = await place(door, home, home.order(condition=STRAINED))
    before = door.fingerprint()
    message = SignalMessage(CONFIG.market.id, Signal.GRID_STATE, 0, 1, NOON)
    for changes, key, code in (
        ({}, home, "bad_signature"),
        ({"market": "oak-street"}, None, "wrong_market"),
        ({"issued_at": NOON - 121}, None, "stale_request"),
        ({"issued_at": NOON + 121}, None, "stale_request"),
        ({"value": 9}, None, "signal_invalid"),
        ({"signal": Signal.LAST_PRICE}, None, "signal_invalid"),
        ({"delivery_start": DELIVERY}, None, "signal_invalid"),
    ):
        answer = await door.ask("POST", "/signals", signal_body(replace(message, **changes), key))
        assert answer.code == code, changes
    assert door.fingerprint() == before
    assert state_of(await order_of(door, home, placed["order"])) == ("received", "condition")


async def test_an_old_signal_that_somebody_kept_changes_nothing(door: Door) -> None:
    strained = SignalMessage(CONFIG.market.id, Signal.GRID_STATE, 0, 1, NOON)
    kept = signal_body(strained)
    assert (await door.ask("POST", "/signals", kept)).status == 201
    door.clock.at += 60
    assert (await tell(door, Signal.GRID_STATE, 0)).status == 201
    before = door.fingerprint()
    again = await door.ask("POST", "/signals", kept)
    assert (again.status, door.fingerprint()) == (200, before)
    assert again.body["value"] == 0
    assert door.ledger.state.signals[Signal.GRID_STATE, 0] == 0


async def test_a_signal_that_was_refused_may_be_sent_again(door: Door) -> None:
    assert (await tell(door, Signal.GRID_STATE, 9)).code == "signal_invalid"
    assert (await tell(door, Signal.GRID_STATE, 1)).status == 201


# Preferences


async def test_a_choosy_order_waits_for_the_auction(door: Door) -> None:
    seller, buyer = await homes(door, 2)
    await place(door, seller, seller.order(Side.SELL, 500, 150_000))
    wish = Preferences(partner=seller.address, other_limit_price_micro_per_kwh=100_000)
    placed = await place(door, buyer, buyer.order(Side.BUY, 500, 200_000, preferences=wish))
    assert state_of(placed) == ("received", "auction")
    door.clock.at = DELIVERY - CONFIG.market.gate_s
    async with asyncio.timeout(5):
        while not door.ledger.state.orders[bytes.fromhex(placed["order"][2:])].filled_wh:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = await order_of(door, buyer, placed["order"])
    assert (found["filled_wh"], found["terms"]["preferences"]) == (500, wish.to_wire())


# Replace


async def test_less_energy_keeps_the_place_in_the_queue(door: Door) -> None:
    first, second, buyer = await homes(door, 3)
    old = await place(door, first, first.order(Side.SELL, 500, 150_000))
    await place(door, second, second.order(Side.SELL, 500, 150_000))
    body = first.replace_body(first.order(Side.SELL, 300, 150_000), bytes.fromhex(old["order"][2:]))
    new = await door.ask("PUT", f"/orders/{old['order']}", body)
    assert (new.status, *state_of(new.body)) == (201, "resting", None)
    assert state_of(await order_of(door, first, old["order"])) == ("cancelled", "replaced")
    await place(door, buyer, buyer.order(Side.BUY, 300, 150_000))
    assert (await order_of(door, first, new.body["order"]))["status"] == "filled"


async def test_replacing_again_is_answered_with_the_present_status(door: Door) -> None:
    (home,) = await homes(door, 1)
    old = await place(door, home, home.order())
    body = home.replace_body(home.order(Side.SELL, 300), bytes.fromhex(old["order"][2:]))
    first = await door.ask("PUT", f"/orders/{old['order']}", body)
    before = door.fingerprint()
    again = await door.ask("PUT", f"/orders/{old['order']}", body)
    assert (again.status, again.body) == (200, first.body)
    assert door.fingerprint() == before


async def test_a_replacement_needs_both_signatures_of_one_account(door: Door) -> None:
    home, thief = await homes(door, 2)
    old = await place(door, home, home.order())
    digest, path = bytes.fromhex(old["order"][2:]), f"/orders/{old['order']}"
    before = door.fingerprint()
    order = home.order(Side.SELL, 300)
    good = home.replace_body(order, digest)
    stolen = thief.replace_body(thief.order(Side.SELL, 300), digest)
    other_cancel = {**good, "cancel": stolen["cancel"], "cancel_signature": stolen["cancel_signature"]}
    for body, code in (
        (good | {"signature": stolen["signature"]}, "bad_signature"),
        (good | {"cancel_signature": stolen["cancel_signature"]}, "bad_signature"),
        (stolen, "not_your_order"),
        (other_cancel, "not_your_order"),
        (home.replace_body(order, bytes(31) + b"\1"), "malformed"),
        (home.replace_body(replace(order, side=Side.BUY), digest), "replace_mismatch"),
        (home.replace_body(replace(order, delivery_start=LATER), digest), "replace_mismatch"),
    ):
        assert (await door.ask("PUT", path, body)).code == code
    assert door.fingerprint() == before


# Batch


async def test_a_batch_answers_for_each_order_in_order(door: Door) -> None:
    seller, buyer, stranger = *await homes(door, 2), Home()
    good = seller.order_body(seller.order(Side.SELL, 500, 150_000))
    bodies = [
        good,
        buyer.order_body(buyer.order(Side.BUY, 200, 150_000)),
        good,
        good | {"signature": stranger.order_body(stranger.order())["signature"]},
        seller.order_body(seller.order(delivery_start=DELIVERY + 7)),
        stranger.order_body(stranger.order()),
    ]
    answer = await door.ask("POST", "/orders/batch", {"orders": bodies})
    assert answer.status == 200, answer.body
    outcomes = answer.body["orders"]
    assert [outcome["status"] for outcome in outcomes] == [201, 201, 200, 401, 422, 403]
    assert [outcome["order"] is None for outcome in outcomes] == [False, False, False, True, True, True]
    codes = [outcome["refusal"] and outcome["refusal"]["code"] for outcome in outcomes]
    assert codes == [None, None, None, "bad_signature", "interval_misaligned", "not_a_member"]
    assert outcomes[1]["order"]["filled_wh"] == 200
    assert outcomes[2]["order"]["order"] == outcomes[0]["order"]["order"]
    assert door.ledger.state.orders_placed == 2


async def test_a_batch_with_what_is_no_order_is_refused_whole(door: Door) -> None:
    (home,) = await homes(door, 1)
    body = home.order_body(home.order())
    before = door.fingerprint()
    broken = {"order": body["order"] | {"energy_wh": 1.5}, "signature": body["signature"]}
    for orders, where in (([], "orders"), ([body, broken], "orders.1.order.energy_wh"), ([body] * 1_001, "orders")):
        answer = await door.ask("POST", "/orders/batch", {"orders": orders})
        assert (answer.status, answer.code) == (400, "malformed"), answer.body
        assert answer.body["message"].startswith(where + ":")
    assert door.fingerprint() == before


async def test_a_large_batch_fits_and_a_larger_body_does_not(door: Door) -> None:
    (home,) = await homes(door, 1)
    orders = [home.order_body(home.order(client_id="x" * 64)) for _ in range(300)]  # more than other bodies may have
    answer = await door.ask("POST", "/orders/batch", {"orders": orders})
    assert {outcome["status"] for outcome in answer.body["orders"]} == {201, 422}
    too_large = await door.send_raw("POST", "/orders/batch", b'{"orders": "' + b"x" * 1536 * 1024 + b'"}')
    assert (too_large.status, too_large.code) == (413, "too_large")


async def test_a_batch_counts_as_many_requests_as_it_has_orders(tmp_path: Path) -> None:
    http = replace(CONFIG.http, address_requests_per_s=1, address_burst=20)
    async with open_door(tmp_path, http) as door:
        (home,) = await homes(door, 1)
        orders = [home.order_body(home.order()) for _ in range(30)]
        refused = await door.ask("POST", "/orders/batch", {"orders": orders})
        assert (refused.status, refused.code) == (429, "too_many_requests")
        assert door.ledger.state.orders_placed == 0
        assert (await door.ask("POST", "/orders/batch", {"orders": orders[:10]})).status == 200


# Bundles


async def test_a_bundle_waits_for_the_session_and_trades_in_all_intervals(sessions: Door) -> None:
    door = sessions
    seller, buyer = await homes(door, 2)
    for start in (DELIVERY, LATER):
        await place(door, seller, seller.order(Side.SELL, 500, 150_000, delivery_start=start))
    bundle = buyer.bundle(Side.BUY, 200_000, {DELIVERY: 400, LATER: 400})
    placed = await door.ask("POST", "/bundles", buyer.bundles_body(bundle))
    assert placed.status == 201, placed.body
    (shown,) = placed.body["bundles"]
    assert (shown["bundle"], *state_of(shown), shown["share"]) == (
        "0x" + bundle.struct_hash().hex(),
        "received",
        "auction",
        None,
    )
    assert [state_of(leg) for leg in shown["legs"]] == [("received", "auction")] * 2
    again = await door.ask("POST", "/bundles", buyer.bundles_body(bundle))
    assert (again.status, again.body) == (200, placed.body)


async def test_an_accounts_last_bundle_may_be_sent_again(tmp_path: Path) -> None:
    """Who had no answer asks again; that the account may have no more bundles by now is no reason to deny this one."""
    async with open_door(tmp_path, CONFIG.http, with_market(session_every_s=1_800, bundles_per_account_max=1)) as door:
        (home,) = await homes(door, 1)
        body = home.bundles_body(home.bundle(Side.BUY, 200_000, {DELIVERY: 400}))
        placed = await door.ask("POST", "/bundles", body)
        assert placed.status == 201
        again = await door.ask("POST", "/bundles", body)
        assert (again.status, again.body) == (200, placed.body)
        another = home.bundles_body(home.bundle(Side.BUY, 200_000, {LATER: 400}))
        assert (await door.ask("POST", "/bundles", another)).code == "too_many_bundles"


async def test_bundles_are_placed_together_or_not_at_all(sessions: Door) -> None:
    door = sessions
    home, other = await homes(door, 2)
    good = home.bundle(Side.BUY, 200_000, {DELIVERY: 400})
    orphan = home.bundle(Side.SELL, 200_000, {LATER: 400}, parent=bytes(31) + b"\7")
    foreign = other.bundle(Side.SELL, 200_000, {LATER: 400})
    body = home.bundles_body(good)
    unsigned = {"bundles": [body["bundles"][0] | {"legs": other.bundles_body(foreign)["bundles"][0]["legs"]}]}
    forged_leg = body["bundles"][0]["legs"][0] | {"signature": other.order_body(other.order())["signature"]}
    before = door.fingerprint()
    for asked, code in (
        (home.bundles_body(good, orphan), "unknown_parent"),
        ({"bundles": [*body["bundles"], *other.bundles_body(foreign)["bundles"]]}, "bundle_invalid"),
        (unsigned, "bundle_invalid"),
        ({"bundles": [body["bundles"][0] | {"legs": [forged_leg]}]}, "bad_signature"),
        ({"bundles": [body["bundles"][0] | {"legs": []}]}, "malformed"),
    ):
        answer = await door.ask("POST", "/bundles", asked)
        assert answer.code == code, answer.body
    assert door.fingerprint() == before


async def test_nobody_uses_up_another_accounts_requests_with_bundles(tmp_path: Path) -> None:
    http = replace(CONFIG.http, account_requests_per_s=1, account_burst=6)
    async with open_door(tmp_path, http, with_market(session_every_s=1_800)) as door:
        thief, victim = await homes(door, 2)
        pretended = thief.bundle(Side.BUY, 200_000, {DELIVERY: 400}, account=victim.address)
        body = thief.bundles_body(pretended)
        legs = [thief.order_body(replace(leg, account=thief.address)) for leg in pretended.leg_orders()]
        body["bundles"][0]["legs"] = legs
        for _ in range(10):
            assert (await door.ask("POST", "/bundles", body)).code == "bundle_invalid"
        await place(door, victim, victim.order())


@pytest.mark.parametrize("named", ["bundle", "leg"])
async def test_a_bundle_is_cancelled_whole_by_its_hash_or_a_leg(sessions: Door, named: str) -> None:
    door = sessions
    (home,) = await homes(door, 1)
    bundle = home.bundle(Side.BUY, 200_000, {DELIVERY: 400, LATER: 400})
    (placed,) = (await door.ask("POST", "/bundles", home.bundles_body(bundle))).body["bundles"]
    legs = [leg["order"] for leg in placed["legs"]]
    target = placed["bundle"] if named == "bundle" else legs[1]
    answer = await door.ask("DELETE", f"/orders/{target}", home.cancel_body(bytes.fromhex(target[2:])))
    assert (answer.status, sorted(answer.body["cancelled"])) == (200, sorted(legs))
    shown = await door.ask("GET", f"/bundles/{placed['bundle']}", token=await token_of(door, home))
    assert (*state_of(shown.body), shown.body["share"]) == ("cancelled", "cancelled", None)


async def test_a_bundle_is_shown_to_its_owner_only(sessions: Door) -> None:
    door = sessions
    home, other = await homes(door, 2)
    bundle = home.bundle(Side.BUY, 200_000, {DELIVERY: 400})
    placed = await door.ask("POST", "/bundles", home.bundles_body(bundle))
    path = f"/bundles/{placed.body['bundles'][0]['bundle']}"
    assert (await door.ask("GET", path, token=await token_of(door, other))).code == "not_yours"
    assert (await door.ask("GET", path)).code == "unauthorized"
    unknown = await door.ask("GET", "/bundles/0x" + "77" * 32, token=await token_of(door, home))
    assert (unknown.status, unknown.code) == (404, "not_found")


# An order's own page


async def test_an_order_is_shown_to_its_owner_only(door: Door) -> None:
    home, other = await homes(door, 2)
    placed = await place(door, home, home.order())
    path = f"/orders/{placed['order']}"
    assert (await door.ask("GET", path, token=await token_of(door, other))).code == "not_yours"
    assert (await door.ask("GET", path)).code == "unauthorized"
    unknown = await door.ask("GET", "/orders/0x" + "77" * 32, token=await token_of(door, home))
    assert (unknown.status, unknown.code) == (404, "unknown_order")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, ("resting", None)),
        ({"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}, ("cancelled", "immediate_remainder")),
        ({"time_in_force": TimeInForce.GOOD_TILL_DATE, "valid_until": NOON + 60}, ("expired", "expired")),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_every_end_has_its_reason(door: Door, changes: dict[str, Any], status: tuple[str, str | None]) -> None:
    (home,) = await homes(door, 1)
    order: Order = home.order(**changes)
    placed = await place(door, home, order)
    door.clock.at += 61
    async with asyncio.timeout(5):
        while state_of(await order_of(door, home, placed["order"])) != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_an_order_that_meets_its_own_account_says_so(door: Door) -> None:
    (home,) = await homes(door, 1)
    await place(door, home, home.order(Side.SELL, 500, 150_000))
    placed = await place(door, home, home.order(Side.BUY, 500, 150_000))
    assert state_of(placed) == ("cancelled", "self_trade")


# Depth


async def test_the_book_tells_where_demand_meets_supply(tmp_path: Path) -> None:
    async with open_door(tmp_path, config=with_market(continuous=False)) as door:
        first, second, buyer = await homes(door, 3)
        await place(door, first, first.order(Side.SELL, 500, 120_000))
        await place(door, second, second.order(Side.SELL, 500, 180_000))
        await place(door, buyer, buyer.order(Side.BUY, 1_000, 200_000))
        book = (await door.ask("GET", f"/book/{DELIVERY}")).body
        assert book["crossing"] == {
            "price_micro_per_kwh": 190_000,
            "price_range": [180_000, 200_000],
            "volume_wh": 1_000,
        }
        door.clock.at = DELIVERY - CONFIG.market.gate_s
        async with asyncio.timeout(5):
            while not (closed := (await door.ask("GET", "/auctions")).body["auctions"]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert (closed[0]["kind"], closed[0]["at"], closed[0]["price_micro_per_kwh"]) == ("closing", DELIVERY, 190_000)


async def test_depth_shows_what_a_seller_receives(tmp_path: Path) -> None:
    async with open_door(tmp_path, config=with_market(community_fee_micro_per_kwh=10_000)) as door:
        (buyer,) = await homes(door, 1)
        await place(door, buyer, buyer.order(Side.BUY, 700, 200_000))
        book = (await door.ask("GET", f"/book/{DELIVERY}")).body
        assert (book["bids"], book["crossing"], book["node"]) == ([[190_000, 700, 1]], None, None)
        assert (await door.ask("GET", "/market")).body["fees"]["community_micro_per_kwh"] == 10_000
        assert (await door.ask("GET", f"/book/{DELIVERY}?node=garden")).code == "not_found"
