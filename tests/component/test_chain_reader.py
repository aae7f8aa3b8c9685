"""The chain is read by the home itself: a real node bears a receipt out or not, and no answer is no verdict."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web

from custom_components.energy_trade.settled import chain_reader
from custom_components.energy_trade.settled.chain_reader import ChainUnavailable, NotOnChain, WrongChain
from tests.chain.test_proof import Envelope
from tests.component.chain_help import OnChain, on_chain


@pytest.fixture
async def chain(socket_enabled: None, tmp_path: Path) -> AsyncIterator[OnChain]:
    async with on_chain(tmp_path) as found:
        yield found


async def test_a_settled_receipt_is_borne_out(chain: OnChain) -> None:
    proof = await chain.reader().async_check(chain.settled)
    assert proof.findings == ()
    assert proof.transaction == chain.settled["transaction"]
    assert await chain.reader().async_check(chain.settled | {"transaction": None}) == proof
    assert await chain.reader().async_check(chain.settled | {"transaction": "0x" + "ab" * 32}) == proof


async def test_corrected_receipts_are_borne_out_by_batch_and_corrections_together(chain: OnChain) -> None:
    for receipt in chain.corrected:
        proof = await chain.reader().async_check(receipt)
        assert proof.findings == ()
        assert proof.transaction == receipt["transaction"]


async def test_a_receipt_that_was_corrected_on_chain_since_is_no_longer_the_chains(chain: OnChain) -> None:
    with pytest.raises(NotOnChain, match="already 1"):
        await chain.reader().async_check(chain.before)


async def test_a_correction_that_is_not_on_chain_yet_is_waited_for(chain: OnChain) -> None:
    later = copy.deepcopy(chain.settled)
    later["settlement"]["revision"] = 1
    with pytest.raises(NotOnChain, match="has revision 0"):
        await chain.reader().async_check(later)
    elsewhere = copy.deepcopy(chain.settled)
    elsewhere["body"]["delivery_start"] += 900
    with pytest.raises(NotOnChain, match="has not settled"):
        await chain.reader().async_check(elsewhere)


def edit(*path: str | int, value: object) -> Callable[[Envelope], None]:
    def apply(receipt: Envelope) -> None:
        place: Any = receipt
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return apply


FORGED: list[tuple[str, str, Callable[[Envelope], None]]] = [
    ("receipts", "another receipts root", edit("settlement", "receipts_root", value="0x" + "33" * 32)),
    ("readings", "another readings root", edit("settlement", "readings_root", value="0x" + "33" * 32)),
    ("batch", "other rows than were signed for", edit("settlement", "batch_hash", value="0x" + "33" * 32)),
    ("signer", "sent it", edit("settlement", "signer", value="0x" + "33" * 20)),
    ("money", "are not the receipt's", edit("body", "rows", 0, "value_micro", value=99_999)),
    ("energy", "are not the receipt's", edit("body", "rows", 0, "order", "energy_wh", value=900)),
    ("short", "are not the receipt's", edit("body", "rows", 0, "short_wh", value=1)),
    ("no rows", "are not the receipt's", edit("body", "rows", value=[])),
]


@pytest.mark.parametrize(("finding", "forge"), [case[1:] for case in FORGED], ids=[case[0] for case in FORGED])
async def test_a_forged_receipt_is_not_borne_out(
    chain: OnChain, finding: str, forge: Callable[[Envelope], None]
) -> None:
    forged = copy.deepcopy(chain.settled)
    forge(forged)
    (found,) = (await chain.reader().async_check(forged)).findings
    assert finding in found


FORGED_CORRECTIONS: list[tuple[str, str, Callable[[Envelope], None]]] = [
    ("money", "came to 99993 micro and 10 Wh on chain", edit("body", "rows", 0, "value_micro", value=100_000)),
    ("energy", "the receipt's rows to 99993 and 50", edit("body", "rows", 0, "metered_wh", value=550)),
    ("readings", "another readings root", edit("settlement", "readings_root", value="0x" + "11" * 32)),
    ("receipts", "another receipts root", edit("settlement", "receipts_root", value="0x" + "33" * 32)),
    ("signer", "sent it", edit("settlement", "signer", value="0x" + "33" * 20)),
]


@pytest.mark.parametrize(
    ("finding", "forge"), [case[1:] for case in FORGED_CORRECTIONS], ids=[case[0] for case in FORGED_CORRECTIONS]
)
async def test_a_forged_correction_is_not_borne_out(
    chain: OnChain, finding: str, forge: Callable[[Envelope], None]
) -> None:
    forged = copy.deepcopy(chain.corrected[0])
    forge(forged)
    (found,) = (await chain.reader().async_check(forged)).findings
    assert finding in found


async def test_amounts_that_fit_no_row_are_malformed(chain: OnChain) -> None:
    forged = copy.deepcopy(chain.settled)
    forged["body"]["rows"][0]["executed_wh"] = 2**60
    with pytest.raises(ValueError, match="does not fit"):
        await chain.reader().async_check(forged)


async def test_another_chain_or_market_is_named_before_anything_is_believed(chain: OnChain) -> None:
    for reader, words in (
        (chain.reader(chain_id=1), "of chain 31337"),
        (chain.reader(market="elsewhere"), "no ledger of this market"),
    ):
        with pytest.raises(WrongChain, match=words):
            await reader.async_check(chain.settled)


async def test_the_head_tells_how_old_the_chains_newest_block_is(chain: OnChain) -> None:
    number, at = await chain.reader().async_head()
    assert number > 5
    assert at > 1_700_000_000


async def test_a_node_that_is_gone_is_no_verdict_and_its_address_is_not_told(chain: OnChain) -> None:
    with pytest.raises(ChainUnavailable) as gone:
        await chain.reader("http://user:secret@127.0.0.1:9/key").async_check(chain.settled)
    assert "secret" not in str(gone.value)
    assert "key" not in str(gone.value)


class Relay:
    """A node in front of the real one whose answers a test can spoil; refused methods are refused."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.url = ""
        self.asked: list[str] = []
        self.spoil: dict[str, Any] = {}
        self.refuse: set[tuple[str, str]] = set()
        self.raw: bytes | None = None
        self._node = url

    async def answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        method = call["method"]
        self.asked.append(method)
        first_block = call["params"][0].get("fromBlock", "") if method == "eth_getLogs" else ""
        if self.raw is not None:
            return web.Response(body=self.raw)
        if (method, first_block) in self.refuse or (method, "") in self.refuse:
            return web.json_response({"jsonrpc": "2.0", "id": 1, "error": {"code": -32_000, "message": "no"}})
        if method in self.spoil and not callable(self.spoil[method]):
            return web.json_response({"jsonrpc": "2.0", "id": 1, "result": self.spoil[method]})
        async with self._session.post(self._node, json=call) as response:
            answer = await response.json()
        if method in self.spoil:
            answer["result"] = self.spoil[method](answer["result"])
        return web.json_response(answer)


@pytest.fixture
async def relay(chain: OnChain) -> AsyncIterator[Relay]:
    relay = Relay(chain.url, chain.session)
    app = web.Application()
    app.router.add_post("/", relay.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    relay.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield relay
    await runner.cleanup()


SPOILT: list[tuple[str, Any]] = [
    ("eth_chainId", None),
    ("eth_chainId", "many"),
    ("eth_call", 5),
    ("eth_getTransactionReceipt", {"status": "0x1", "logs": None}),
    ("eth_getTransactionReceipt", {"status": "0x1", "logs": [{"address": 3}]}),
    ("eth_getTransactionReceipt", {"status": {}, "logs": []}),
    ("eth_getTransactionByHash", None),
    ("eth_getTransactionByHash", {"from": None, "to": None}),
    ("eth_getLogs", "none"),
    ("eth_getLogs", [7]),
]


@pytest.mark.parametrize(("method", "answer"), SPOILT, ids=range(len(SPOILT)))
async def test_what_a_node_cannot_mean_is_no_verdict(chain: OnChain, relay: Relay, method: str, answer: Any) -> None:
    relay.spoil[method] = answer
    with pytest.raises(ChainUnavailable):
        await chain.reader(relay.url).async_check(chain.settled)
    relay.spoil.clear()
    assert (await chain.reader(relay.url).async_check(chain.settled)).findings == ()


async def test_a_transaction_that_is_none_speaks_against_its_receipt_and_not_against_the_node(
    chain: OnChain, relay: Relay
) -> None:
    for garbage in ("0xab", "latest", "", 7, "0x" + "g" * 64):
        with pytest.raises(ValueError, match="transaction"):
            await chain.reader(relay.url).async_check(chain.settled | {"transaction": garbage})
    relay.refuse = {("eth_getLogs", "")}
    with pytest.raises(NotOnChain, match="has not settled"):
        await chain.reader(relay.url).async_check(chain.settled | {"transaction": "0x" + "12" * 32})


async def test_a_long_answer_is_read_beside_the_event_loop(chain: OnChain, relay: Relay) -> None:
    with patch.object(chain_reader, "ANSWER_BYTES_AT_ONCE", 100):
        assert (await chain.reader(relay.url).async_check(chain.settled)).findings == ()
        relay.raw = b"[" * 200_000
        with pytest.raises(ChainUnavailable):
            await chain.reader(relay.url).async_probe()


@pytest.mark.parametrize("raw", [b"<html>", b"[1]", b"[" * 100_000], ids=range(3))
async def test_an_answer_that_is_no_answer_is_no_verdict(chain: OnChain, relay: Relay, raw: bytes) -> None:
    relay.raw = raw
    with pytest.raises(ChainUnavailable):
        await chain.reader(relay.url).async_probe()


async def test_an_answer_without_end_is_cut_off(chain: OnChain, relay: Relay) -> None:
    relay.raw = b'{"result": "0x7a69", "more": "' + b"x" * 2_000 + b'"}'
    most = patch.object(chain_reader, "ANSWER_BYTES_MAX", 1_000)
    with most, pytest.raises(ChainUnavailable, match="more than 1000 bytes"):
        await chain.reader(relay.url).async_probe()


async def test_logs_of_others_or_taken_back_are_passed_over(chain: OnChain, relay: Relay) -> None:
    receipt = await _call(chain, "eth_getTransactionReceipt", chain.settled["transaction"])
    others: list[dict[str, Any]] = [{"address": "0x" + "77" * 20}, {"removed": True}, {"topics": []}]
    for changes in [*others, {"topics": ["0x" + "12" * 32] * 3}]:
        logs = [{**log, **changes} for log in receipt["logs"]]
        relay.spoil = {"eth_getTransactionReceipt": {**receipt, "logs": logs}, "eth_getLogs": []}
        with pytest.raises(NotOnChain):
            await chain.reader(relay.url).async_check(chain.settled)
    relay.spoil = {"eth_getTransactionReceipt": {**receipt, "status": "0x0"}, "eth_getLogs": []}
    with pytest.raises(NotOnChain):
        await chain.reader(relay.url).async_check(chain.settled)


async def test_a_node_without_old_logs_still_bears_an_uncorrected_receipt_out(chain: OnChain, relay: Relay) -> None:
    relay.refuse = {("eth_getLogs", "")}
    assert (await chain.reader(relay.url).async_check(chain.settled)).findings == ()
    for receipt in (chain.corrected[0], chain.settled | {"transaction": None}):
        with pytest.raises(ChainUnavailable):
            await chain.reader(relay.url).async_check(receipt)


async def test_a_node_that_tells_of_the_batch_only_does_not_hide_that_a_correction_is_missing(
    chain: OnChain, relay: Relay
) -> None:
    relay.refuse = {("eth_getLogs", hex(await _block(chain)))}
    with pytest.raises(ChainUnavailable):
        await chain.reader(relay.url).async_check(chain.corrected[0])


async def test_a_contract_that_answers_nothing_is_another(chain: OnChain, relay: Relay) -> None:
    relay.refuse = {("eth_call", "")}
    with pytest.raises(WrongChain):
        await chain.reader(relay.url).async_probe()


def with_input(transaction: object, change: Callable[[str], str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return how a node shows one transaction with other call data."""
    return lambda sent: {**sent, "input": change(sent["input"])} if sent["hash"] == transaction else sent


def flipped(data: str) -> str:
    """Change one digit in the first row."""
    at = 2 + 8 + 5 * 64 + 60
    return data[:at] + ("1" if data[at] == "0" else "0") + data[at + 1 :]


OTHER_CALLS: list[Callable[[str], str]] = [flipped, lambda data: "0x12345678" + data[10:], lambda _: "0x"]


@pytest.mark.parametrize("change", OTHER_CALLS, ids=["other row", "other function", "nothing"])
async def test_rows_that_are_not_the_executed_ones_are_not_believed(
    chain: OnChain, relay: Relay, change: Callable[[str], str]
) -> None:
    """The contract says which rows it executed by their hash: a node that shows others is found out."""
    relay.spoil["eth_getTransactionByHash"] = with_input(chain.settled["transaction"], change)
    (found,) = (await chain.reader(relay.url).async_check(chain.settled)).findings
    assert "are not those that the contract settled" in found


async def test_a_batch_that_came_by_another_contract_cannot_be_read(chain: OnChain, relay: Relay) -> None:
    relay.spoil["eth_getTransactionByHash"] = lambda sent: {**sent, "to": "0x" + "77" * 20}
    (found,) = (await chain.reader(relay.url).async_check(chain.settled)).findings
    assert "are not those that the contract settled" in found


@pytest.mark.parametrize("change", OTHER_CALLS, ids=["other row", "other function", "nothing"])
async def test_a_correction_whose_rows_cannot_be_read_is_not_believed(
    chain: OnChain, relay: Relay, change: Callable[[str], str]
) -> None:
    receipt = chain.corrected[0]
    relay.spoil["eth_getTransactionByHash"] = with_input(receipt["transaction"], change)
    (found,) = (await chain.reader(relay.url).async_check(receipt)).findings
    assert "the correction's rows" in found
    relay.spoil.clear()
    assert (await chain.reader(relay.url).async_check(receipt)).findings == ()


async def _call(chain: OnChain, method: str, *params: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with chain.session.post(chain.url, json=body) as response:
        return json.loads(await response.text())["result"]


async def _block(chain: OnChain) -> int:
    receipt = await _call(chain, "eth_getTransactionReceipt", chain.before["transaction"])
    return int(receipt["blockNumber"], 16)
