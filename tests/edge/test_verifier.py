"""Orders read at speed and checked in processes: the same answers as the strict models and one thread give."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from btclib_secp256k1 import recovery
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.edge.decode import read_signed_order, read_signed_orders
from coordinator.edge.errors import Refusal
from coordinator.edge.order_wire import ORDERS_MAX, PlaceOrderBody
from coordinator.edge.signatures import Signatures
from coordinator.edge.signed import _HALF_ORDER, check_signed, compact_for, order_digest, read_signed
from coordinator.edge.verifier import MESSAGE_ORDERS_MAX, VerifierFailedError, Verifiers
from coordinator.edge.wire import unhex
from coordinator.protocol.keys import address_of
from coordinator.protocol.messages import Order, Side, TimeInForce
from coordinator.protocol.recovery import compact
from tests.edge.support import DOMAIN, Home

HOME = Home()


def body(order: Order, home: Home = HOME) -> dict[str, Any]:
    return {"order": order.to_wire(), "signature": home.sign(order)}


def raw(order: Order, home: Home = HOME) -> bytes:
    return json.dumps(body(order, home)).encode()


@pytest.fixture
async def verifiers() -> AsyncIterator[Verifiers]:
    made = Verifiers(DOMAIN, 1)
    await made.start()
    yield made
    pids = made.pids
    await made.stop()
    assert made.pids == []
    assert not [pid for pid in pids if is_running(pid)]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_processes_answer_as_one_thread_does(verifiers: Verifiers) -> None:
    good = [raw(HOME.order(energy_wh=1 + i)) for i in range(MESSAGE_ORDERS_MAX + 5)]
    stranger = Home()
    forged = raw(HOME.order()).replace(HOME.address.encode(), stranger.address.encode())
    orders = [*good[:3], forged, b"nonsense", *good[3:], b""]
    expected = [check_signed(one, DOMAIN.separator()) for one in orders]
    assert await verifiers.check(orders) == expected
    assert expected.count(None) == 3
    assert await verifiers.check([]) == []


async def test_orders_of_a_killed_process_are_checked_by_the_next(verifiers: Verifiers) -> None:
    orders = [raw(HOME.order(energy_wh=1 + i)) for i in range(300)]
    waiting = asyncio.create_task(verifiers.check(orders))
    await asyncio.sleep(0)
    (pid,) = verifiers.pids
    os.kill(pid, signal.SIGKILL)
    found = await waiting
    assert [one is not None for one in found] == [True] * 300
    assert verifiers.pids != [pid]


async def test_orders_that_end_every_process_are_given_up(verifiers: Verifiers) -> None:
    waiting = asyncio.create_task(verifiers.check([raw(HOME.order())] * 2_000))
    killed: set[int] = set()
    while not waiting.done():
        for pid in set(verifiers.pids) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        await asyncio.sleep(0.001)
    with pytest.raises(VerifierFailedError, match="keep ending"):
        await waiting
    assert len(killed) >= 2


async def test_a_process_ends_with_its_coordinators_input(verifiers: Verifiers) -> None:
    (pid,) = verifiers.pids
    (child,) = verifiers._children
    assert child._transport is not None
    pipe = child._transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.close()
    await child.ended.wait()
    assert not is_running(pid)


async def test_signatures_use_processes_for_plain_orders_and_threads_for_others() -> None:
    plain, odd = read_signed_order(raw(HOME.order())), read_signed_order(raw(HOME.order(client_id="Küche")))
    assert (plain.raw is not None, odd.raw is None) == (True, True)
    async with Signatures(DOMAIN, processes=1) as signatures:
        (first,) = await signatures.of_orders([plain])
        both = await signatures.of_orders([plain, odd])
    assert first is not None
    assert both[0] == first
    assert both[1] is not None
    for signed, checked in zip((plain, odd), both, strict=True):
        assert checked is not None
        assert checked[0] == signed.order.digest(DOMAIN)
        assert checked[1] == compact(signed.signature, checked[0], HOME.address)


def test_a_compact_signature_is_taken_too() -> None:
    order = HOME.order()
    digest = order.digest(DOMAIN)
    short = compact(HOME.account.sign(digest), digest, HOME.address)
    assert short is not None
    told = json.dumps({"order": order.to_wire(), "signature": "0x" + short.hex()}).encode()
    assert check_signed(told, DOMAIN.separator()) == (digest, short)
    wrong = short[:32] + bytes([short[32] ^ 0x80]) + short[33:]
    other = json.dumps({"order": order.to_wire(), "signature": "0x" + wrong.hex()}).encode()
    found = check_signed(other, DOMAIN.separator())
    assert found == (None if wrong[32] & 0x80 else (digest, short))  # an unset bit tells nothing


def test_a_high_s_is_refused() -> None:
    digest = bytes(range(32))
    for s, wanted in ((_HALF_ORDER, True), (_HALF_ORDER + 1, False)):
        signature = HOME.account.sign(digest)[:32] + s.to_bytes(32, "big")
        public_key = recovery.recover(digest, signature, 0, False)
        found = compact_for(address_of(public_key[1:]), digest, signature)
        assert (found == signature) is wanted


@given(
    number=st.lists(st.integers(-5, 2**50), min_size=4, max_size=4),
    limit=st.none() | st.integers(-(10**12) - 2, 10**12 + 2),
    client_id=st.text(max_size=70),
    market=st.text(max_size=70),
    force=st.sampled_from(TimeInForce),
    side=st.sampled_from(Side),
    salt=st.binary(min_size=32, max_size=32),
)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_the_quick_reader_takes_nothing_that_the_models_refuse(
    number: list[int], limit: int | None, client_id: str, market: str, force: TimeInForce, side: Side, salt: bytes
) -> None:
    start, energy_wh, valid_from, valid_until = number
    order = Order(HOME.address, market, start, side, energy_wh, limit, force, valid_from, valid_until, client_id, salt)
    data = json.dumps({"order": order.to_wire(), "signature": "0x" + "12" * 64}).encode()
    quick = read_signed(data)
    if quick is not None:
        model = PlaceOrderBody.model_validate_json(data)
        assert (quick.order, quick.signature) == (model.order.message(), unhex(model.signature))
        assert order_digest(quick.order, DOMAIN.separator()) == order.digest(DOMAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"energy_wh": 1.0},
        {"energy_wh": True},
        {"energy_wh": "5"},
        {"energy_wh": 0},
        {"energy_wh": 2**63},
        {"delivery_start": 2**40},
        {"side": "hold"},
        {"side": 0},
        {"salt": "0x" + "0 " * 32},
        {"salt": "0x" + "00 " * 21 + " "},
        {"salt": "0X" + "00" * 32},
        {"salt": "0x" + "00" * 31},
        {"account": "0x" + "zz" * 20},
        {"account": "0x" + "11" * 21},
        {"market": ""},
        {"market": "m" * 65},
        {"client_id": "a\x00b"},
        {"client_id": "c" * 65},
        {"extra": 1},
        {"bundle": "0x" + "00" * 31},
        {"condition": {}},
        {"limit_price_micro_per_kwh": 10**12 + 1},
    ],
    ids=str,
)
def test_what_the_models_refuse_is_refused_with_their_words(change: dict[str, Any]) -> None:
    wire = body(HOME.order())
    wire["order"] |= change
    data = json.dumps(wire).encode()
    assert read_signed(data) is None
    with pytest.raises(Refusal) as one:
        read_signed_order(data)
    assert one.value.code == "malformed"
    with pytest.raises(Refusal) as many:
        read_signed_orders(json.dumps({"orders": [body(HOME.order()), wire]}).encode())
    assert many.value.code == "malformed"
    assert many.value.message.lower().startswith("orders.1.")


@pytest.mark.parametrize("count", [0, ORDERS_MAX + 1])
def test_a_batch_has_from_one_to_a_thousand_orders(count: int) -> None:
    one = body(HOME.order())
    with pytest.raises(Refusal):
        read_signed_orders(json.dumps({"orders": [one] * count}).encode())


def test_a_batch_is_read_in_order_whatever_its_orders_are_like() -> None:
    orders = [HOME.order(energy_wh=1), HOME.order(client_id="Küche"), HOME.order(energy_wh=2)]
    found = read_signed_orders(json.dumps({"orders": [body(order) for order in orders]}).encode())
    assert [signed.order for signed in found] == orders
