"""Limits, tokens, signatures, metrics and what every answer carries."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from coordinator.edge.auth import SESSION_S, Sessions
from coordinator.edge.limits import RateLimiter
from coordinator.edge.routes import API
from coordinator.edge.signatures import Busy, Signatures
from coordinator.edge.signed import compact_for
from coordinator.protocol.keys import AccountKey
from tests.edge.support import CONFIG, DOMAIN, Door, Home, open_door, place, settle_in


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    limiter = RateLimiter(per_s=2, burst=3)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert limiter.take("b", 0.0) == 0
    assert [limiter.take("a", 0.6), limiter.take("a", 0.6)] == [0, 1]


def test_the_callers_remembered_are_limited() -> None:
    limiter = RateLimiter(per_s=1, burst=1, callers_max=2)
    for caller in ("a", "b", "c"):
        limiter.take(caller, 0.0)
    assert limiter.take("b", 0.0) == 1
    assert limiter.take("a", 0.0) == 0  # forgotten, so full again


async def test_too_many_requests_from_one_address(tmp_path: Path) -> None:
    few = replace(CONFIG.http, address_requests_per_s=1, address_burst=5, trusted_proxies=("127.0.0.1",))
    async with open_door(tmp_path, few) as door:
        answers = [await door.ask("GET", "/market") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        assert answers[-1].code == "too_many_requests"
        assert int(answers[-1].headers["Retry-After"]) >= 1
        forwarded = {"X-Forwarded-For": "198.51.100.9, 203.0.113.5"}
        async with door.client.get(f"{API}/market", headers=forwarded) as response:
            assert response.status == 200  # another caller behind the proxy that we trust


async def test_a_forwarded_address_is_not_believed_from_anybody(tmp_path: Path) -> None:
    few = replace(CONFIG.http, address_requests_per_s=1, address_burst=1)
    async with open_door(tmp_path, few) as door:
        await door.ask("GET", "/market")
        async with door.client.get(f"{API}/market", headers={"X-Forwarded-For": "203.0.113.5"}) as response:
            assert response.status == 429


async def test_too_many_orders_of_one_account_leave_others_alone(tmp_path: Path) -> None:
    few = replace(CONFIG.http, account_requests_per_s=1, account_burst=4)
    async with open_door(tmp_path, few) as door:
        busy, other = Home(), Home()
        for home in (busy, other):
            await settle_in(door, home)
        for _ in range(2):
            await place(door, busy, busy.order())
        answer = await door.ask("POST", "/orders", busy.order_body(busy.order()))
        assert (answer.status, answer.code) == (429, "too_many_requests")
        await place(door, other, other.order())


async def test_a_strangers_forgeries_do_not_use_up_an_accounts_limit(tmp_path: Path) -> None:
    few = replace(CONFIG.http, account_requests_per_s=1, account_burst=3)
    async with open_door(tmp_path, few) as door:
        home, thief = Home(), Home()
        await settle_in(door, home)
        for _ in range(5):
            order = home.order()
            forged = {"order": order.to_wire(), "signature": home.sign(order, thief.account)}
            assert (await door.ask("POST", "/orders", forged)).status == 401
        await place(door, home, home.order())


@given(st.text(max_size=80))
def test_no_text_is_a_token_but_ours(text: str) -> None:
    assert Sessions(bytes(32)).account(text, 0) is None


def test_a_token_is_good_until_it_expires_and_for_its_secret_only() -> None:
    ours, theirs = Sessions(bytes(32)), Sessions(bytes([1]) * 32)
    token, expires_at = ours.issue("0xabc", 1_000)
    assert expires_at == 1_000 + SESSION_S
    assert ours.account(token, expires_at - 1) == "0xabc"
    assert ours.account(token, expires_at) is None
    assert theirs.account(token, 1_000) is None
    assert "\\x00" not in repr(ours)


@given(st.integers(1, 2**200), st.binary(min_size=32, max_size=32))
def test_the_compact_signature_is_what_ethereum_recovers(secret: int, digest: bytes) -> None:
    key = AccountKey.from_secret(secret.to_bytes(32))
    compact = compact_for(key.address, digest, key.sign(digest))
    assert compact is not None
    parity, s = compact[32] >> 7, bytes([compact[32] & 0x7F]) + compact[33:]
    vrs = (27 + parity, int.from_bytes(compact[:32]), int.from_bytes(s))
    recovered: str = Account._recover_hash(digest, vrs=vrs)
    assert recovered.lower() == key.address
    assert compact_for("0x" + "00" * 20, digest, key.sign(digest)) is None


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), b"\xff" * 64, bytes(65)])
def test_what_is_no_signature(signature: bytes) -> None:
    assert compact_for("0x" + "00" * 20, bytes(32), signature) is None


async def test_waiting_signatures_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.edge.signatures.WAITING_MAX", 2)
    home, blocked = Home(), threading.Event()
    order = home.order()
    with Signatures(DOMAIN) as signatures:
        busy = [asyncio.ensure_future(signatures._run(blocked.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await signatures.of_account(order, home.account.sign(order.digest(DOMAIN)), home.address)
        blocked.set()
        await asyncio.gather(*busy)
        assert await signatures.of_account(order, home.account.sign(order.digest(DOMAIN)), home.address)


async def test_every_answer_carries_the_security_headers(door: Door) -> None:
    for path in ("/", "/static/page.js", f"{API}/market", f"{API}/nothing", "/metrics", "/healthz"):
        async with door.client.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert "require-trusted-types-for 'script'" in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert "Cache-Control" in response.headers


async def test_metrics_count_what_happened(door: Door) -> None:
    home = Home()
    await settle_in(door, home)
    await place(door, home, home.order())
    await door.ask("POST", "/orders", {})
    await _until_counted(door, 'energy_trade_orders_total{side="sell"} 1.0')
    async with door.client.get("/metrics") as response:
        text = await response.text()
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'energy_trade_refusals_total{code="malformed"} 1.0' in text
    assert 'route="/api/v1/orders",status="201"' in text
    for name in ("trades_total", "traded_wh_total", "settled_wh_total", "readings_total", "settlement_lag_seconds"):
        assert f"energy_trade_{name}" in text


async def test_metrics_name_routes_not_what_callers_write(door: Door) -> None:
    for path in ("/nothing/at/all", f"{API}/book/1", f"{API}/accounts/0x{'ab' * 20}"):
        async with door.client.get(path) as response:
            assert response.status == 404
    async with door.client.get("/metrics") as response:
        text = await response.text()
    assert "abab" not in text
    assert "/nothing" not in text
    assert 'route="/api/v1/book/{delivery_start}"' in text


async def test_a_fault_of_ours_is_an_answer_not_a_broken_line(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(door.services.views), "trades", fail)
    answer = await door.ask("GET", "/trades")
    assert (answer.status, answer.code) == (500, "internal")
    assert "bug" not in answer.body["message"]
    assert (await door.ask("GET", "/market")).status == 200


async def _until_counted(door: Door, line: str) -> None:
    async with asyncio.timeout(5):
        while True:
            async with door.client.get("/metrics") as response:
                if line in await response.text():
                    return
