"""A node that is gone, talks nonsense or says no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coordinator.chain.rpc import NodeUnreachable, Reachability, Rpc, RpcError

type Handler = Callable[[web.Request], Awaitable[web.Response]]


async def serve(handler: Handler) -> TestServer:
    application = web.Application()
    application.router.add_post("/{path:.*}", handler)
    server = TestServer(application)
    await server.start_server()
    return server


def answer(body: str, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status, content_type="application/json")

    return handler


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("<html>", 200, "did not answer with JSON"),
        ("{}", 503, "status 503"),
        ("[]", 200, "no answer to eth_chainId"),
        ('"fine"', 200, "no answer to eth_chainId"),
    ],
)
async def test_nonsense_is_a_node_that_is_not_there(body: str, status: int, says: str) -> None:
    server = await serve(answer(body, status))
    async with server, Rpc(str(server.make_url("/a-secret-key"))) as rpc:
        with pytest.raises(NodeUnreachable, match=says) as caught:
            await rpc.call("eth_chainId")
        assert "a-secret-key" not in str(caught.value)


async def test_refusal_carries_the_reverts_bytes() -> None:
    refusal = '{"id":0,"error":{"code":3,"message":"execution reverted","data":"0x01020304"}}'
    server = await serve(answer(refusal))
    async with server, Rpc(str(server.make_url("/"))) as rpc:
        with pytest.raises(RpcError) as caught:
            await rpc.call("eth_call")
    assert (caught.value.code, caught.value.data) == (3, b"\1\2\3\4")


async def test_batches_are_split_and_keep_their_order(rpc: Rpc) -> None:
    numbers = [hex(number) for number in range(450)]
    answers = await rpc.batch([("web3_sha3", (f"0x{number:04x}",)) for number in range(450)])
    assert len({*answers}) == len(numbers)
    assert answers[7] == await rpc.call("web3_sha3", "0x0007")
    (refused, chain_id) = await rpc.batch([("no_such_method", ()), ("eth_chainId", ())])
    assert isinstance(refused, RpcError)
    assert chain_id == "0x7a69"


def test_pauses_grow_to_a_limit_and_start_again() -> None:
    node = Reachability("test", first_s=1, longest_s=3)
    assert [node.lost(NodeUnreachable("gone")) for _ in range(4)] == [1, 2, 3, 3]
    assert node.found()
    assert not node.found()
    assert node.lost(NodeUnreachable("gone")) == 1
