"""What everybody may read: nothing that a home measured, and nothing that it signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from coordinator.edge.plain import event_data
from coordinator.edge.routes import API
from coordinator.market import events
from coordinator.protocol.chain_messages import Withdrawal
from coordinator.protocol.messages import Order, Side
from tests.edge.support import DELIVERY, DOMAIN, INVITE, Door, Home, place, record, settle_in

END = DELIVERY + 300
PRIVATE_NAMES = frozenset({"signature", "salt", "client_id", "energies", "rows", "consumption_wh", "production_wh"})


@dataclass(slots=True)
class Secrets:
    """What must not be found."""

    texts: set[str] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)

    async def order(self, door: Door, home: Home, order: Order) -> None:
        """Place an order; its signature, salt and name are the home's own."""
        body = home.order_body(order)
        self.texts |= {body["signature"][2:], order.salt.hex(), order.client_id}
        await place(door, home, order)

    async def readings(self, door: Door, home: Home, *registers: tuple[int, int]) -> None:
        """Send readings at the boundaries of the interval; registers and what lies between are private."""
        for at, (consumption_wh, production_wh) in zip((DELIVERY, END), registers, strict=True):
            reading = home.reading(at, consumption_wh, production_wh)
            self.texts.add(home.reading_body(reading)["signature"][2:])
            await record(door, home, reading)
        self.numbers |= {register for pair in registers for register in pair}
        (bought, sold), (bought_later, sold_later) = registers
        self.numbers |= {bought_later - bought, sold_later - sold}


async def trade_and_settle(door: Door) -> Secrets:
    """Let two homes trade and measure, until the interval is settled."""
    secrets, seller, buyer = Secrets(), Home(), Home(salt=10_000)
    for home in (seller, buyer):
        secrets.texts |= {home.meter.public_key.hex(), home.registration_body()["meter_signature"][2:]}
        await settle_in(door, home)
    await secrets.order(door, seller, seller.order(Side.SELL, 500, 150_000, client_id="surplus-of-monday"))
    await secrets.order(door, buyer, buyer.order(Side.BUY, 500, 250_000, client_id="dishwasher-of-tuesday"))
    door.clock.at = END + 1
    await secrets.readings(door, seller, (7_001_003, 5_200_007), (7_001_616, 5_200_794))
    await secrets.readings(door, buyer, (9_400_009, 3_100_001), (9_401_928, 3_100_432))
    async with asyncio.timeout(10):
        while not await is_settled(door):  # noqa: ASYNC110 - another process would ask so too
            await asyncio.sleep(0.02)
    return secrets


async def is_settled(door: Door) -> bool:
    return (await door.ask("GET", "/intervals")).body["intervals"][0]["settled_wh"] is not None


async def everything_public(door: Door) -> list[Any]:
    """Return the whole stream from the first event on, a snapshot, and what can be asked for."""
    heard: list[Any] = []
    for query, last in (("?since=0", "state"), ("", "snapshot")):
        async with door.client.ws_connect(f"{API}/stream{query}") as socket:
            while not heard or heard[-1]["type"] != last:
                heard.append(json.loads(await socket.receive_str(timeout=5)))
    accounts = (await door.ask("GET", "/accounts")).body
    paths = ["/intervals", "/trades", "/market", *(f"/accounts/{row['account']}" for row in accounts["accounts"])]
    return [*heard, accounts, *[(await door.ask("GET", path)).body for path in paths]]


def numbers(value: Any) -> Iterator[int]:
    match value:
        case int():
            yield value
        case list():
            for item in value:
                yield from numbers(item)
        case dict():
            yield from numbers(list(value.values()))


def names(value: Any) -> Iterator[str]:
    match value:
        case list():
            for item in value:
                yield from names(item)
        case dict():
            yield from value
            yield from names(list(value.values()))


async def test_nothing_measured_and_nothing_signed_is_public(door: Door) -> None:
    secrets = await trade_and_settle(door)
    public = await everything_public(door)
    kinds = {message.get("event") for message in public} - {None}
    assert {"order_placed", "traded", "gate_closed", "interval_settled", "meter_registered"} <= kinds
    text = json.dumps(public)
    assert [secret for secret in secrets.texts if secret in text] == []
    assert secrets.numbers.isdisjoint(numbers(public))
    assert PRIVATE_NAMES.isdisjoint(names(public))


async def test_a_settlement_shows_what_was_traded(door: Door) -> None:
    await trade_and_settle(door)
    public = await everything_public(door)
    (settled,) = [message["data"] for message in public if message.get("event") == "interval_settled"]
    (interval,) = (await door.ask("GET", "/intervals")).body["intervals"]
    shown = {name: interval[name] for name in ("delivery_start", "settled_wh", "value_micro", "homes")}
    trade = {"trade_id": 1, "energy_wh": 500, "price_micro_per_kwh": 150_000, "settled_wh": 500, "value_micro": 75_000}
    trade |= dict.fromkeys(("grid_fee_micro", "community_fee_micro", "shortfall_micro", "under_use_micro"), 0)
    assert settled == {**shown, "revision": 0, "excluded": [], "trades": [trade]}


async def test_the_invite_is_not_shown_with_what_holds_it(door: Door) -> None:
    assert door.services.invite == INVITE
    assert INVITE not in repr(door.services)


def test_a_field_is_shown_only_when_somebody_chose_it() -> None:
    for kind in get_args(events.Event.__value__):
        event = object.__new__(kind)
        for item in fields(kind):
            object.__setattr__(event, item.name, ())
        if kind is events.OrderPlaced:
            object.__setattr__(event, "order", Home().order())
        if kind is events.WithdrawalAccepted:
            object.__setattr__(event, "withdrawal", Withdrawal(Home().address, Home().address, 1, 0, 0, 1))
        assert PRIVATE_NAMES.isdisjoint(names(event_data(event))), kind
        assert DOMAIN.ledger not in json.dumps(event_data(event))
