"""``energy-trade deploy``: say what a deployment takes, make it, compare it with this repository."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from .chain.abi import roles
from .chain.broadcast import FeeLimits, read_fees
from .chain.deployment import Deployment, Wanted, count_mined, ensure_deployed, ether, load_deployment, prepare
from .chain.devchain import DevChainError
from .chain.estimate import Estimate, estimate
from .chain.keys import KeyFileError, load_or_create_key
from .chain.networks import DeploymentError, network_of, networks
from .chain.plan import ADMIN_ROLE, Plan, members_of
from .chain.rpc import NodeUnreachable, Rpc, RpcError
from .chain.verify import verify_deployment
from .clock import SystemClock
from .config import Config
from .premises import OPERATOR_KEY_FILE, StartError, chain_node, lock, wanted_contracts
from .protocol.keys import AccountKey

_FAILED = 1


def list_networks() -> int:
    """Print the networks that are known."""
    for network in networks():
        print(f"{network.name:<18}{network.chain_id:>10}  {network.kind}")
    return 0


async def run(config: Config, *, dry_run: bool, verify: bool) -> int:
    """Run the command; return the exit status."""
    try:
        if verify:
            return await _verify(config)
        return await (_rehearse(config) if dry_run else _deploy(config))
    except (StartError, DeploymentError, DevChainError, KeyFileError, NodeUnreachable, RpcError) as error:
        print(f"energy-trade: {error}", file=sys.stderr)
        return _FAILED


async def _deploy(config: Config) -> int:
    """Make the contracts, or go on where an earlier run was stopped.

    On a public chain nothing is sent before it was carried out on a chain of its own without a fault.
    """
    async with _working(config) as (rpc, operator):
        wanted = wanted_contracts(config, first=True)
        if config.chain.rpc_url is not None and load_deployment(config.data) is None:
            plan, found = await _estimate(rpc, operator, wanted)
            if faults := _faults(plan, found):
                raise DeploymentError("\n".join((*faults, "nothing was sent")))
        made = await ensure_deployed(rpc, operator, config.data, wanted, SystemClock().now())
        network = network_of(made.chain_id)
        print(f"network    {network.name} (chain id {made.chain_id}), {rpc}")
        _print_places(made)
        print(f"kept in    {config.data.resolve()}; compare any time with energy-trade deploy --verify")
    return 0


async def _rehearse(config: Config) -> int:
    """Print what ``_deploy`` would do. Without a node's address it is rehearsed on a chain of its own."""
    kept = load_deployment(config.data)
    if kept is not None:
        return await _show_kept(config, kept)
    async with AsyncExitStack() as stack:
        operator = _key(config)
        if config.chain.rpc_url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rpc_url = await stack.enter_async_context(chain_node(replace(config, data=folder), operator))
        else:
            rpc_url = config.chain.rpc_url
        rpc = await stack.enter_async_context(Rpc(rpc_url))
        plan, found = await _estimate(rpc, operator, wanted_contracts(config, first=True))
        _print_plan(plan, found, rpc)
        faults = _faults(plan, found)
        for fault in faults:
            print(fault, file=sys.stderr)
        print("nothing was sent")
    return _FAILED if faults else 0


async def _estimate(rpc: Rpc, operator: AccountKey, wanted: Wanted) -> tuple[Plan, Estimate]:
    plan = await prepare(rpc, operator.address, wanted, SystemClock().now())
    fees = await read_fees(rpc, FeeLimits())
    if fees is None:
        raise DeploymentError("gas is too dear to deploy now; try again later")
    return plan, await estimate(rpc, operator, plan, fees)


def _faults(plan: Plan, found: Estimate) -> list[str]:
    """Say what stands in the way of a plan."""
    faults = [*found.failures]
    if found.balance_wei < found.most_wei(plan) and not plan.network.is_local:
        faults.append(f"the operator's account {plan.operator} needs up to {ether(found.most_wei(plan))}: send it some")
    return faults


async def _show_kept(config: Config, kept: Deployment) -> int:
    """Say how far a deployment is that was begun before."""
    async with Rpc(config.chain.rpc_url or kept.rpc_url) as rpc:
        mined = await count_mined(rpc, kept)
        _print_places(kept)
        print(f"{mined} of {len(kept.transactions)} transactions are mined; a run without --dry-run sends the others")
    return 0


async def _verify(config: Config) -> int:
    """Print every difference between the contracts there and this repository."""
    kept = load_deployment(config.data)
    if kept is None:
        raise StartError(f"{config.data} has no contracts yet: name the right --data, or run energy-trade deploy")
    async with _looking(config, kept) as rpc:
        wanted = wanted_contracts(config)
        network = network_of(kept.chain_id, wanted.network)
        findings = await verify_deployment(rpc, kept, network, wanted.holders)
    for finding in findings:
        print(finding)
    if not findings:
        print(
            f"{len(kept.contracts)} contracts on {network.name}: code, terms, wiring, roles and delays"
            " are as this repository says"
        )
    return _FAILED if findings else 0


@asynccontextmanager
async def _working(config: Config) -> AsyncIterator[tuple[Rpc, AccountKey]]:
    """Give node and key to somebody who alone uses the data folder."""
    async with AsyncExitStack() as stack:
        stack.callback(os.close, lock(config.data))
        operator = load_or_create_key(config.data / OPERATOR_KEY_FILE)
        rpc_url = await stack.enter_async_context(chain_node(config, operator))
        yield await stack.enter_async_context(Rpc(rpc_url)), operator


@asynccontextmanager
async def _looking(config: Config, kept: Deployment) -> AsyncIterator[Rpc]:
    """Give the node; a coordinator at work may own the local chain, which then answers where it was last."""
    async with AsyncExitStack() as stack:
        try:
            rpc, _ = await stack.enter_async_context(_working(config))
        except StartError:
            rpc = await stack.enter_async_context(Rpc(config.chain.rpc_url or kept.rpc_url))
        yield rpc


def _key(config: Config) -> AccountKey:
    path = config.data / OPERATOR_KEY_FILE
    if not path.exists():
        print(f"the operator's key is made now, for it pays the gas: {path}", file=sys.stderr)
    return load_or_create_key(path)


def _print_plan(plan: Plan, found: Estimate, rpc: Rpc) -> None:
    print(f"network    {plan.network.name} (chain id {plan.network.chain_id}), {rpc}")
    print(f"operator   {plan.operator}, {ether(found.balance_wei)}, next nonce {plan.nonce}")
    print(f"currency   {plan.addresses.currency}{'' if plan.terms.currency else ' (play money)'}")
    print(f"market     {plan.terms.market}, interval {plan.terms.interval_s} s, from {plan.genesis} on")
    for number, (step, gas) in enumerate(zip(plan.steps, found.gas, strict=True), 1):
        print(f"{number:>4}  {step.text:<46}{step.makes or '':<44}{gas:>12,} gas")
    names = {ADMIN_ROLE: "admin"} | {role["id"]: name for name, role in roles().items()}
    for member in members_of(plan.holders, plan.network, plan.operator, plan.addresses):
        who = {plan.operator: "the operator", plan.addresses.disputes: "ReadingDisputes"}.get(member.account, "")
        delay = f"after {member.delay_s} s" if member.delay_s else "at once"
        print(f"role  {names[member.role]:<12}{member.account}  {delay:<15}{who}".rstrip())
    print(f"gas        {sum(found.gas):,} (measured by carrying it out on a chain of its own)")
    if plan.network.data_fee_oracle is not None:
        print(f"data fee   {ether(found.data_fee_wei)} for the bytes, in the cost below")
    print(f"cost       {ether(found.likely_wei)} at the present price of gas, at most {ether(found.most_wei(plan))}")


def _print_places(made: Deployment) -> None:
    print(f"currency   {made.addresses.currency}{'' if made.terms.currency else ' (play money)'}")
    for name, address in made.contracts.items():
        print(f"  {name:<20}{address}")
