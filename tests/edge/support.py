"""A market behind its real door: HTTP server, ledger and market, without a chain; and homes that sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import TypeAdapter

from coordinator.agreement import market_rules
from coordinator.chain.feeds import FeedPrice
from coordinator.chain.keys import sign_compact
from coordinator.config import Config, HttpConfig, MarketConfig
from coordinator.edge.answers import HealthAnswer
from coordinator.edge.auth import Sessions
from coordinator.edge.errors import ErrorEnvelope
from coordinator.edge.http import create_application
from coordinator.edge.metrics import Metrics
from coordinator.edge.routes import API, ROUTES, Route
from coordinator.edge.services import Services
from coordinator.edge.signatures import Signatures
from coordinator.edge.stream import Hub
from coordinator.ledger import Ledger, LedgerConfig, Settler
from coordinator.ledger.records import Solver
from coordinator.market.commands import CreditFunds
from coordinator.market.state import state_hash
from coordinator.protocol.bundles import Bundle, Leg
from coordinator.protocol.keys import AccountKey, MeterKey
from coordinator.protocol.membership import Join, SessionRequest
from coordinator.protocol.messages import (
    ZERO_HASH,
    Cancel,
    Message,
    MeterRegistration,
    Order,
    Reading,
    Side,
)
from coordinator.protocol.typed_data import Domain
from coordinator.views import LedgerViews, feed_answers

NOON = 1_800_000_000
DELIVERY = NOON + 900
MARKET = "elm-street"
INVITE = "welcome-neighbours"
DOMAIN = Domain(31337, "0x" + "5e" * 20)
OPERATOR = AccountKey.from_secret(bytes([7]) * 32)
SETTLER = Settler(OPERATOR.address, lambda digest: sign_compact(OPERATOR, digest))
CONFIG = Config(
    market=MarketConfig(
        id=MARKET,
        name="Elm Street",
        invite=INVITE,
        interval_s=300,
        gate_s=60,
        horizon_s=3_600,
        orders_per_account_interval_max=20,
        compensation=False,  # so that a seller needs no deposit
    )
)
FEEDS = [
    FeedPrice("EUR/USD", 1_082_500, NOON - 40, 40, None),
    FeedPrice("XAU/USD", None, None, None, "FeedUnknown(id=0x00)"),
]
_ADDRESSES = ("ledger", "token", "registry", "grid", "trading", "currency_token")


@dataclass(slots=True)
class HandClock:
    """A clock that tests turn."""

    at: int = NOON

    def now(self) -> int:
        return self.at

    async def sleep_until(self, at: int) -> None:
        while self.at < at:  # noqa: ASYNC110 - turned by hand, from anywhere
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class Door:
    """The running server and what is behind it."""

    client: TestClient[web.Request, web.Application]
    ledger: Ledger
    clock: HandClock
    services: Services
    hub: Hub

    async def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Answer:
        """Send a JSON request; check that the answer has the shape that its route promises."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        path = path if path.startswith(("/healthz", "/readyz")) else API + path
        async with self.client.request(method, path, json=body, headers=headers) as response:
            return await checked(method, path, response)

    async def send_raw(self, method: str, path: str, data: bytes, content_type: str = "application/json") -> Answer:
        """Send bytes as they are."""
        headers = {"Content-Type": content_type}
        async with self.client.request(method, API + path, data=BytesIO(data), headers=headers) as response:
            return await checked(method, API + path, response)

    def fingerprint(self) -> tuple[int, bytes]:
        """What must not change when something is refused."""
        return self.ledger.sequence, state_hash(self.ledger.state)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers of an answer."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return str(self.body["code"])


@dataclass(slots=True)
class Home:
    """A home with its keys; it signs for the door's domain unless told otherwise."""

    account: AccountKey = field(default_factory=AccountKey.generate)
    meter: MeterKey = field(default_factory=MeterKey.generate)
    last: Reading | None = None
    salt: int = 0

    @property
    def address(self) -> str:
        return self.account.address

    def sign(self, message: Message, key: AccountKey | MeterKey | None = None, domain: Domain = DOMAIN) -> str:
        return "0x" + (key or self.account).sign(message.digest(domain)).hex()

    def join_body(self, at: int = NOON, **changes: Any) -> dict[str, Any]:
        join = replace(Join(self.address, MARKET, INVITE, "Number 7", at), **changes)
        return {"join": join.to_wire(), "signature": self.sign(join)}

    def session_body(self, at: int = NOON) -> dict[str, Any]:
        request = SessionRequest(self.address, MARKET, at)
        return {"session": request.to_wire(), "signature": self.sign(request)}

    def registration_body(self, **changes: Any) -> dict[str, Any]:
        key = self.meter.public_key
        plain = MeterRegistration(self.meter.device_id, self.address, key[:32], key[32:], 24_000, 10_000)
        registration = replace(plain, **changes)
        return {
            "registration": registration.to_wire(),
            "meter_signature": self.sign(registration, self.meter),
            "account_signature": self.sign(registration),
        }

    def order(self, side: Side = Side.SELL, energy_wh: int = 500, price: int | None = 200_000, **changes: Any) -> Order:
        self.salt += 1
        plain = Order(self.address, MARKET, DELIVERY, side, energy_wh, price, salt=self.salt.to_bytes(32, "big"))
        return replace(plain, **changes)

    def order_body(self, order: Order) -> dict[str, Any]:
        return {"order": order.to_wire(), "signature": self.sign(order)}

    def replace_body(self, order: Order, replaced: bytes) -> dict[str, Any]:
        cancel = self.cancel_body(replaced)
        return self.order_body(order) | {"cancel": cancel["cancel"], "cancel_signature": cancel["signature"]}

    def bundle(self, side: Side, price: int, legs: dict[int, int], **changes: Any) -> Bundle:
        """Return a bundle of energies in Wh by delivery start."""
        self.salt += 1
        found = tuple(Leg(start, energy_wh) for start, energy_wh in legs.items())
        plain = Bundle(self.address, MARKET, side, price, found, salt=self.salt.to_bytes(32, "big"))
        return replace(plain, **changes)

    def bundles_body(self, *bundles: Bundle) -> dict[str, Any]:
        return {
            "bundles": [
                {"bundle": bundle.to_wire(), "legs": [self.order_body(leg) for leg in bundle.leg_orders()]}
                for bundle in bundles
            ]
        }

    def cancel_body(self, order: bytes, until: int = NOON, **changes: Any) -> dict[str, Any]:
        cancel = replace(Cancel(self.address, MARKET, order, until), **changes)
        return {"cancel": cancel.to_wire(), "signature": self.sign(cancel)}

    def reading(self, at: int = NOON, consumption_wh: int = 0, production_wh: int = 0, **changes: Any) -> Reading:
        """Return the meter's next reading."""
        plain = Reading(
            device_id=self.meter.device_id,
            sequence=self.last.sequence + 1 if self.last else 1,
            timestamp=at,
            consumption_wh=consumption_wh,
            production_wh=production_wh,
            previous=self.last.digest(DOMAIN) if self.last else ZERO_HASH,
        )
        return replace(plain, **changes)

    def reading_body(self, reading: Reading) -> dict[str, Any]:
        return {"reading": reading.to_wire(), "signature": self.sign(reading, self.meter)}


async def checked(method: str, path: str, response: ClientResponse) -> Answer:
    """Read an answer and hold it against the route's promise, or against the error envelope."""
    body = await response.json()
    route = _route(method, path.partition("?")[0])
    if response.status >= 400 and not path.startswith("/readyz"):
        TypeAdapter(ErrorEnvelope).validate_python(body, strict=True)
        assert body["message"].endswith((".", "?")), body
        assert body["message"][0].isprintable()
    elif route is not None:
        assert response.status in route.statuses
        exact: Any = TypeAdapter(route.answer).validate_json(await response.read(), strict=True)
        assert exact == body or _tuples(exact) == _tuples(body), "the answer has fields that the route does not promise"
    return Answer(response.status, body, dict(response.headers))


@asynccontextmanager
async def open_door(
    folder: Path, http: HttpConfig = CONFIG.http, config: Config = CONFIG, solver: Solver | None = None
) -> AsyncIterator[Door]:
    """Run ledger, market and HTTP in this process on a real port."""
    clock = HandClock()
    ledger = Ledger(folder / "ledger.sqlite", market_rules(config), LedgerConfig(), DOMAIN, clock, SETTLER, solver)
    async with ledger, asyncio.TaskGroup() as group:
        with Signatures(DOMAIN) as signatures:
            services = _services(config, clock, ledger, signatures)
            hub = Hub(
                services,
                queue_max=http.stream_queue_max,
                clients_max=http.streams_max,
                per_address_max=http.streams_per_address_max,
            )
            tasks = [group.create_task(hub.run()), group.create_task(ledger.run())]
            async with TestClient(TestServer(create_application(services, http, hub))) as client:
                yield Door(client, ledger, clock, services, hub)
                for task in tasks:
                    task.cancel()


async def settle_in(door: Door, home: Home, money_micro: int = 5_000_000) -> str:
    """Let a home join with its meter and some money; return its session's token."""
    joined = await door.ask("POST", "/members", home.join_body(door.clock.now()))
    assert joined.status == 201, joined.body
    registered = await door.ask("POST", "/meters", home.registration_body())
    assert registered.status == 201, registered.body
    await door.ledger.submit(CreditFunds(home.address, money_micro, f"test:{home.address}"))
    token: str = joined.body["token"]
    return token


async def place(door: Door, home: Home, order: Order) -> dict[str, Any]:
    """Place an order that must be accepted."""
    answer = await door.ask("POST", "/orders", home.order_body(order))
    assert answer.status == 201, answer.body
    body: dict[str, Any] = answer.body
    return body


async def record(door: Door, home: Home, reading: Reading) -> dict[str, Any]:
    """Send a reading that must be accepted."""
    answer = await door.ask("POST", "/readings", home.reading_body(reading))
    assert answer.status == 201, answer.body
    home.last = reading
    body: dict[str, Any] = answer.body
    return body


def _services(config: Config, clock: HandClock, ledger: Ledger, signatures: Signatures) -> Services:
    addresses = {name: "0x" + f"{index:02x}" * 20 for index, name in enumerate(_ADDRESSES)}
    chain: Any = {"chain_id": DOMAIN.chain_id, **addresses, "ledger": DOMAIN.ledger}
    public_key = "0x" + OPERATOR.public_key.hex()
    views = LedgerViews(ledger, config.market, clock, chain, {"account": OPERATOR.address, "public_key": public_key})
    return Services(
        clock=clock,
        domain=DOMAIN,
        market=MARKET,
        invite=INVITE,
        ledger=ledger,
        views=views,
        sessions=Sessions(bytes(32)),
        signatures=signatures,
        metrics=Metrics(config.market.interval_s),
        sign=OPERATOR.sign,
        health=lambda: _health(ledger),
        contracts={
            "chain_id": DOMAIN.chain_id,
            "network": "local",
            "first_block": 1,
            "genesis": NOON,
            "currency": str(addresses["currency_token"]),
            "domain_separator": "0x" + DOMAIN.separator().hex(),
            "contracts": [{"name": "EnergyLedger", "address": DOMAIN.ledger, "abi": f"{API}/contracts/EnergyLedger"}],
        },
        interface=lambda name: [{"type": "function", "name": name}],
        feeds=lambda: feed_answers(FEEDS),
    )


def _health(ledger: Ledger) -> HealthAnswer:
    halted = ledger.state.halted
    return {
        "status": "ready" if halted is None else "halted",
        "ledger": "open",
        "chain": "reachable",
        "trading": "open" if halted is None else "halted",
        "reason": halted,
        "waiting_effects": 0,
        "failed_effects": 0,
        "sequence": ledger.sequence,
    }


def _route(method: str, path: str) -> Route | None:
    parts = path.split("/")
    for route in ROUTES:
        wanted = route.path.split("/")
        fits = len(wanted) == len(parts) and all(
            w == p or w.startswith("{") for w, p in zip(wanted, parts, strict=True)
        )
        if route.method == method and fits:
            return route
    return None


def _tuples(value: Any) -> Any:
    """Make lists and tuples alike, for JSON knows only one of them."""
    match value:
        case list() | tuple():
            return tuple(_tuples(item) for item in value)
        case dict():
            return {key: _tuples(item) for key, item in value.items()}
    return value
