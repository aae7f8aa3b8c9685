"""What a deployment will take, found out without sending anything to its chain.

The plan is carried out on a chain of its own that is thrown away afterwards: with the same operator,
chain id and nonces, and the code that stands at the currency's and the feed's address. So the gas is
measured, and a transaction that would fail is named. What gas and bytes cost comes from the real node.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from eth_abi.abi import encode

from ..protocol.keys import AccountKey
from .broadcast import explain_revert, read_receipts
from .contracts import hexed
from .deployment import bring_to_chain, sign_plan
from .devchain import DevChain
from .plan import Plan
from .rpc import Rpc, RpcError, data, quantity
from .transactions import Fees, rlp

_GET_L1_FEE = bytes.fromhex("49948e0e")  # getL1Fee(bytes) of the OP Stack's GasPriceOracle
_PURSE_WEI = 10**24


@dataclass(frozen=True, slots=True)
class Estimate:
    """Gas per step and what fails. Amounts in wei.

    ``data_fee_wei`` is what an OP Stack chain takes for the bytes on top of the gas.
    """

    gas: tuple[int, ...]
    failures: tuple[str, ...]
    base_fee_wei: int
    fees: Fees
    data_fee_wei: int
    balance_wei: int

    @property
    def likely_wei(self) -> int:
        """What it costs at the present price of gas."""
        return sum(self.gas) * (self.base_fee_wei + self.fees.tip_wei) + self.data_fee_wei

    def most_wei(self, plan: Plan) -> int:
        """What the operator must hold: every transaction at its limits."""
        return sum(step.gas for step in plan.steps) * self.fees.max_fee_wei + self.data_fee_wei


async def estimate(rpc: Rpc, key: AccountKey, plan: Plan, fees: Fees) -> Estimate:
    """Find out what a plan will take. Raises ``RpcError`` and what a local chain raises."""
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    balance_wei = quantity(await rpc.call("eth_getBalance", plan.operator, "latest"))
    gas, failures = await _rehearse(rpc, key, plan)
    data_fee_wei = await _data_fee_wei(rpc, plan, fees)
    return Estimate(gas, failures, quantity(block["baseFeePerGas"]), fees, data_fee_wei, balance_wei)


async def _rehearse(rpc: Rpc, key: AccountKey, plan: Plan) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Carry the plan out on a chain of its own; return the gas of each step, and why steps failed."""
    with tempfile.TemporaryDirectory() as folder:
        async with DevChain(Path(folder)) as chain, Rpc(chain.url) as stage:
            await _set_the_stage(rpc, stage, plan)
            made = await sign_plan(stage, key, plan)
            await bring_to_chain(stage, made)
            receipts = await read_receipts(stage, [t.transaction for t in made.transactions])
            gas, failures = [], []
            for step, receipt in zip(plan.steps, receipts, strict=True):
                assert receipt is not None
                gas.append(quantity(receipt["gasUsed"]))
                if quantity(receipt["status"]) != 1:
                    failures.append(f"{step.text}: {await explain_revert(stage, receipt)}")
    return tuple(gas), tuple(failures)


async def _set_the_stage(rpc: Rpc, stage: Rpc, plan: Plan) -> None:
    """Make the empty chain look as the real one does to the transactions of the plan."""
    places = [place for place in (plan.terms.currency, plan.terms.sequencer_uptime_feed) if place is not None]
    codes = await rpc.batch([("eth_getCode", (place, "latest")) for place in places])
    calls: list[tuple[str, tuple[object, ...]]] = [
        ("anvil_setChainId", (plan.network.chain_id,)),
        ("anvil_setNonce", (plan.operator, hex(plan.nonce))),
        ("anvil_setBalance", (plan.operator, hex(_PURSE_WEI))),
        *(("anvil_setCode", (place, code)) for place, code in zip(places, codes, strict=True)),
    ]
    for method, values in calls:
        await stage.call(method, *values)


async def _data_fee_wei(rpc: Rpc, plan: Plan, fees: Fees) -> int:
    """Return the OP Stack's fee for the transactions' bytes; the oracle adds the signatures itself."""
    oracle = plan.network.data_fee_oracle
    if oracle is None:
        return 0
    calls = []
    for number, step in enumerate(plan.steps):
        to = bytes.fromhex((step.call.to or "0x").removeprefix("0x"))
        numbers = [plan.network.chain_id, plan.nonce + number, fees.tip_wei, fees.max_fee_wei, step.gas]
        unsigned = b"\x02" + rlp([*numbers, to, 0, step.call.data, []])
        question = _GET_L1_FEE + encode(("bytes",), (unsigned,))
        calls.append(("eth_call", ({"to": oracle, "data": hexed(question)}, "latest")))
    answers = await rpc.batch(calls)
    refused = next((answer for answer in answers if isinstance(answer, RpcError)), None)
    if refused is not None:
        raise refused
    return sum(int.from_bytes(data(answer)) for answer in answers)
