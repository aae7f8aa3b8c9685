"""Settlement's rows on a real chain: thousands of random batches, each compared with the reference.

What a batch changes (every account's word, the sums, the pots) or why it is refused must be the same
in Python and in the contract.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from coordinator.chain.abi import contract, describe_revert
from coordinator.chain.batch import Totals, batch_hash
from coordinator.chain.contracts import hexed
from coordinator.chain.deployment import Deployment, Wanted, ensure_deployed
from coordinator.chain.devchain import DevChain
from coordinator.chain.plan import LedgerTerms
from coordinator.chain.rpc import Rpc, RpcError, data
from coordinator.protocol.keccak import keccak256
from coordinator.protocol.keys import AccountKey
from coordinator.protocol.typed_data import Domain
from tests.chain.random_batches import changed, random_interval, rows_of
from tests.chain.reference import Bounds, ReferenceLedger, Refused, Word
from tests.chain.support import INTERVAL_S, MARKET

BOUNDS = Bounds(-500_000, 1_000_000, 400_000, 80_000, 150_000, 20_000)
TERMS = LedgerTerms(
    MARKET,
    INTERVAL_S,
    BOUNDS.price_min,
    BOUNDS.price_max,
    BOUNDS.metered_max_wh,
    shortfall_price_max_micro_per_kwh=BOUNDS.shortfall_price_max,
    under_use_price_min_micro_per_kwh=BOUNDS.under_use_price_min,
    fee_max_micro_per_kwh=BOUNDS.fee_max_micro_per_kwh,
    settle_within_s=2**31,
)
DAYS = 100
BATCHES = 25
EXAMPLES = 120
HOMES = [AccountKey.from_secret(keccak256(f"differential {i}".encode())) for i in range(7)]
PURSES_MICRO = [1_000_000_000_000] * 6 + [40_000]  # the last home's money does not go far
LEDGER = contract("EnergyLedger")


class Street:
    """A chain with a ledger and homes with money."""

    def __init__(self, runner: asyncio.Runner, rpc: Rpc, deployment: Deployment, funded: ReferenceLedger) -> None:
        self.runner = runner
        self.rpc = rpc
        self.deployment = deployment
        self.funded = funded

    def settle(self, function: str, index: int, packed: bytes) -> tuple[str, dict[str, str]]:
        """Return the call that settles a batch, as the settler makes it."""
        start = self.deployment.genesis + index * INTERVAL_S
        calldata = LEDGER.encode("settleBatch", start, b"\x11" * 32, b"\x22" * 32, packed)
        call = {"from": self.deployment.operator, "to": self.deployment.addresses.ledger, "data": hexed(calldata)}
        return function, call | {"gas": hex(16_000_000)}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(_make_street(stack, runner, tmp_path_factory.mktemp("street")))
        finally:
            runner.run(stack.aclose())


async def _make_street(stack: AsyncExitStack, runner: asyncio.Runner, folder: Path) -> Street:
    operator = AccountKey.generate()
    chain = await stack.enter_async_context(DevChain(folder / "chain", fund=[operator.address]))
    rpc = await stack.enter_async_context(Rpc(chain.url))
    long_ago = int(time.time()) - DAYS * 86_400
    deployment = await ensure_deployed(rpc, operator, folder, Wanted(TERMS), long_ago)
    await rpc.call("anvil_impersonateAccount", operator.address)
    funded = ReferenceLedger(BOUNDS)
    for home, money_micro in zip(HOMES, PURSES_MICRO, strict=True):
        calldata = LEDGER.encode("depositFor", home.address, money_micro)
        call = {"from": operator.address, "to": deployment.addresses.ledger, "data": hexed(calldata)}
        await rpc.call("eth_sendTransaction", call)
        funded.words[home.address] = Word(0, money_micro)
    await rpc.call("evm_setAutomine", False)
    await rpc.call("evm_mine")
    return Street(runner, rpc, deployment, funded)


@dataclass(frozen=True)
class Attempt:
    """A batch, and what must come of it: its sums and the ledger afterwards, or a refusal."""

    index: int
    packed: bytes = field(repr=False)
    expected: Totals | str
    after: ReferenceLedger = field(repr=False)

    @property
    def kind(self) -> str:
        """What becomes of it, in a word."""
        if isinstance(self.expected, str):
            return self.expected
        return "settled with fees" if self.expected.fees_micro else "settled"


def attempts(street: Street, rng: Random) -> Iterator[Attempt]:
    """Yield batches of one ledger's life, most of them right."""
    ledger = street.funded.copy()
    domain = Domain(street.deployment.chain_id, street.deployment.addresses.ledger)
    latest = rng.randrange(100, DAYS * 60)
    for _ in range(BATCHES):
        ahead = rng.choice((1, 1, 1, 1, 1, 2, 50, 96, 97, 0, -1, -3, -95, -96))
        index, latest = latest + ahead, latest + max(0, ahead)
        start = street.deployment.genesis + index * INTERVAL_S
        interval = random_interval(rng, domain, MARKET, start, HOMES, BOUNDS)
        packed = interval.packed()
        if rng.random() < 0.25:
            packed = changed(rng, packed)
        ledger = ledger.copy()
        try:
            expected: Totals | str = ledger.settle(index, rows_of(packed), interval.digest)
        except Refused as refusal:
            expected = str(refusal)
        yield Attempt(index, packed, expected, ledger)


KINDS = {
    "settled",
    "settled with fees",
    "AccountIntervalPassed",
    "AccountIntervalUsed",
    "AccountMeteredTooMuch",
    "AccountMoneyInsufficient",
    "BatchFeesTooHigh",
    "BatchUnbalanced",
    "RowAccountNotAscending",
    "RowExecutedInvalid",
    "RowLimitBroken",
    "RowMeteredInvalid",
    "RowOrderNotAscending",
    "RowSignatureInvalid",
    "RowTradesInvalid",
}


@pytest.mark.timeout(300)
def test_python_and_contract_agree_on_every_random_batch(street: Street) -> None:
    met: set[str] = set()

    @seed(20_270_115)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=(Phase.generate, Phase.shrink))
    @given(number=st.integers(0, 2**64 - 1))
    def agree(number: int) -> None:
        met.update(street.runner.run(_check(street, list(attempts(street, Random(number))))))

    agree()
    assert met >= KINDS, "it is worth little if the batches were not of every kind"


async def _check(street: Street, batches: list[Attempt]) -> set[str]:
    """Let the chain decide about the batches, and compare; return what became of them."""
    snapshot = await street.rpc.call("evm_snapshot")
    try:
        sent = [(batch, await _send(street, batch)) for batch in batches]
        await _check_mined(street, [(batch, transaction) for batch, transaction in sent if transaction is not None])
    finally:
        assert await street.rpc.call("evm_revert", snapshot)
    return {batch.kind for batch in batches}


async def _send(street: Street, batch: Attempt) -> str | None:
    """Settle a batch and return its transaction, or let it be refused as expected and return nothing."""
    if not isinstance(batch.expected, str):
        transaction: str = await street.rpc.call(*street.settle("eth_sendTransaction", batch.index, batch.packed))
        await street.rpc.call("evm_mine")
        return transaction
    try:
        await street.rpc.call(*street.settle("eth_call", batch.index, batch.packed))
        reason = "settled"
    except RpcError as refusal:
        reason = describe_revert(refusal.data)
    assert reason.startswith(f"{batch.expected}("), batch
    return None


async def _check_mined(street: Street, sent: list[tuple[Attempt, str]]) -> None:
    """Compare the events, and each home's word and the sums after each batch."""
    receipts = await street.rpc.batch([("eth_getTransactionReceipt", (transaction,)) for _, transaction in sent])
    for (batch, _), receipt in zip(sent, receipts, strict=True):
        assert receipt["status"] == "0x1", batch
        (log,) = receipt["logs"]
        values = LEDGER.log("BatchSettled", log)
        assert values is not None
        assert values["batchHash"] == batch_hash(batch.packed)
        assert Totals.of_word(values["totals"]) == batch.expected
    calls = [call for receipt in receipts for call in _questions(street, receipt["blockNumber"])]
    answers = iter([data(answer) for answer in await street.rpc.batch(calls)])
    for batch, _ in sent:
        for home in HOMES:
            word = batch.after.word(home.address)
            columns = word.energy_wh, word.money_micro, word.latest, word.used, 0
            assert LEDGER.result("accountOf", next(answers)) == columns, batch
        sums = [int.from_bytes(next(answers), "big") for _ in range(2)]
        assert sums == [batch.after.energy_wh, batch.after.fees_micro]


def _questions(street: Street, block: str) -> list[tuple[str, tuple[Any, ...]]]:
    asked = [LEDGER.encode("accountOf", home.address) for home in HOMES]
    asked += [LEDGER.encode("energyWhTotal"), LEDGER.encode("feesMicro")]
    ledger = street.deployment.addresses.ledger
    return [("eth_call", ({"to": ledger, "data": hexed(calldata)}, block)) for calldata in asked]
