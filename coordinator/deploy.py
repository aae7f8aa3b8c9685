"""``energy-trade deploy``: say what a deployment takes, make it, compare it with this repository."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from .chain.abi import roles
from .chain.broadcast import FeeLimits, read_fees
from .chain.deployment import (
    Deployment,
    Wanted,
    check_chain,
    check_kept,
    check_made,
    count_mined,
    ensure_deployed,
    ether,
    load_deployment,
    prepare,
    term_differences,
)
from .chain.devchain import DevChain, DevChainError
from .chain.estimate import Estimate, estimate
from .chain.keys import KeyFileError, load_or_create_key
from .chain.networks import ZERO_ADDRESS, DeploymentError, network_of, networks
from .chain.plan import ADMIN_ROLE, LedgerTerms, Plan, members_of
from .chain.rpc import NodeUnreachable, Rpc, RpcError, quantity
from .chain.verify import read_condition, verify_deployment
from .clock import SystemClock
from .config import Config
from .premises import OPERATOR_KEY_FILE, StartError, chain_node, lock, require_node, wanted_contracts
from .protocol.keys import AccountKey

_FAILED = 1


def list_networks() -> int:
    """Print the networks that are known."""
    for network in networks():
        print(f"{network.name:<18}{network.chain_id:>10}  {network.kind}")
    return 0


async def run(config: Config, file: Path | None = None, *, dry_run: bool, verify: bool) -> int:
    """Run the command; return the exit status. ``file`` is where the configuration was read from."""
    try:
        kept = load_deployment(config.data)
        if verify:
            return await _verify(config, kept)
        if dry_run:
            return await (_rehearse(config) if kept is None else _show_kept(config, kept, file))
        return await _deploy(_at_its_node(config, kept), file)
    except (StartError, DeploymentError, DevChainError, KeyFileError, NodeUnreachable, RpcError) as error:
        print(f"energy-trade: {error}", file=sys.stderr)
        return _FAILED


async def _deploy(config: Config, file: Path | None) -> int:
    """Make the contracts, or go on where an earlier run was stopped.

    On a public chain nothing is sent before it was carried out on a chain of its own without a fault.
    """
    require_node(config)
    async with _working(config) as (rpc, operator):
        await rpc.call("eth_chainId")  # a coordinator goes on without its node, this command must not
        wanted = wanted_contracts(config, first=True)
        if config.chain.rpc_url is not None and load_deployment(config.data) is None:
            plan, found = await _estimate(rpc, operator, wanted)
            if faults := _faults(plan, found):
                raise DeploymentError("\n".join((*faults, "nothing was sent")))
        made = await ensure_deployed(rpc, operator, config.data, wanted, SystemClock().now())
        network = network_of(made.chain_id)
        print(f"network    {network.name} (chain id {made.chain_id}), {rpc}")
        _print_places(made)
        print(f"kept in    {config.data.resolve()}; compare any time with {_command(config, file, made, '--verify')}")
    return 0


async def _rehearse(config: Config) -> int:
    """Print what ``_deploy`` would do. Without a node's address it is rehearsed on a chain of its own."""
    require_node(config)
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


async def _show_kept(config: Config, kept: Deployment, file: Path | None) -> int:
    """Say how far a deployment is that was begun before, and whether a run would go on with it."""
    wanted, operator = wanted_contracts(config, first=True), _key_of(config, kept)
    async with _looking(config, kept) as rpc:
        check_kept(kept, quantity(await rpc.call("eth_chainId")), operator.address, wanted, config.data)
        mined, count = await count_mined(rpc, kept), len(kept.transactions)
        if mined == count:
            await check_made(rpc, kept)
        _print_places(kept)
        if mined == count:
            print(f"all {count} transactions are mined: nothing is left to send")
        else:
            print(f"{mined} of {count} transactions are mined; {_command(config, file, kept)} sends the others")
    return 0


async def _verify(config: Config, kept: Deployment | None) -> int:
    """Print every difference between the contracts there and this repository, and write nothing."""
    if kept is None:
        raise StartError(f"{config.data} has no contracts yet: name the right --data, or run energy-trade deploy")
    async with _looking(config, kept) as rpc:
        check_chain(kept, quantity(await rpc.call("eth_chainId")), config.chain.network)
        wanted, network = wanted_contracts(config), network_of(kept.chain_id)
        key = config.data / OPERATOR_KEY_FILE
        operator = load_or_create_key(key).address if key.exists() else None
        findings = [f"the contracts were {text}" for text in term_differences(kept, operator, wanted.terms)]
        findings += await verify_deployment(rpc, kept, network, wanted.holders)
        condition = await read_condition(rpc, kept)
    for line in (*findings, *condition):
        print(line)
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
        kept = load_deployment(config.data)
        operator = load_or_create_key(config.data / OPERATOR_KEY_FILE) if kept is None else _key_of(config, kept)
        rpc_url = await stack.enter_async_context(chain_node(config, operator))
        yield await stack.enter_async_context(Rpc(rpc_url)), operator


@asynccontextmanager
async def _looking(config: Config, kept: Deployment) -> AsyncIterator[Rpc]:
    """Give a node to ask, and leave the folder as it is: a local chain that stands still answers from a copy."""
    async with AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(Rpc(config.chain.rpc_url or kept.rpc_url))
        chain = config.data / "chain"
        if config.chain.rpc_url is None and chain.is_dir() and not await _answers(rpc):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if (state := chain / "state.json").exists():
                shutil.copyfile(state, folder / state.name)
            copy = await stack.enter_async_context(DevChain(folder))
            rpc = await stack.enter_async_context(Rpc(copy.url))
        yield rpc


async def _answers(rpc: Rpc) -> bool:
    try:
        await rpc.call("eth_chainId")
    except NodeUnreachable:
        return False
    return True


def _at_its_node(config: Config, kept: Deployment | None) -> Config:
    """Take the node of a public deployment that was begun before when none is configured."""
    if kept is None or config.chain.rpc_url is not None or network_of(kept.chain_id).is_local:
        return config
    return replace(config, chain=replace(config.chain, rpc_url=kept.rpc_url))


def _command(config: Config, file: Path | None, kept: Deployment, *more: str) -> str:
    """Return the command that means the same contracts. A kept node need not be named again."""
    words = ["energy-trade", "deploy"]
    rpc_url = None if config.chain.rpc_url == kept.rpc_url else config.chain.rpc_url
    data = None if config.data == Config().data else config.data
    options = {"config": file, "data": data, "network": config.chain.network, "rpc-url": rpc_url}
    for name, value in options.items():
        words += [f"--{name}", str(value)] if value is not None else []
    return shlex.join([*words, *more])


def _key_of(config: Config, kept: Deployment) -> AccountKey:
    """Return the operator's key of a deployment, for which no other can stand in."""
    path = config.data / OPERATOR_KEY_FILE
    if not path.exists():
        raise KeyFileError(f"{path} is missing, the key of the operator {kept.operator}; restore it from your backup")
    return load_or_create_key(path)


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
    _print_terms(plan.terms)
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


def _print_terms(terms: LedgerTerms) -> None:
    """Print what nobody can change once the contracts are made."""
    low, high = terms.price_min_micro_per_kwh, terms.price_max_micro_per_kwh
    shortfall, under_use = terms.shortfall_price_max_micro_per_kwh, terms.under_use_price_min_micro_per_kwh
    feed = terms.sequencer_uptime_feed
    told = {
        "prices": f"from {low} to {high} micro per kWh",
        "answers": f"for a shortfall up to {shortfall}, for unused energy down to {under_use} micro per kWh",
        "metered": f"at most {terms.metered_max_wh} Wh for each account in an interval",
        "fees": f"at most {terms.fee_max_micro_per_kwh} micro per kWh, to {terms.fee_account}",
        "exit": f"a withdrawal without the operator waits {terms.exit_delay_s} s",
        "settling": f"an interval is settled within {terms.settle_within_s} s",
        "community": f"{terms.community} gets what a settler who lied forfeits",
        "bounty": f"{terms.bounty_micro} micro for a proof",
        "bond": f"stays {terms.bond_delay_s} s after notice",
        "sequencer": f"uptime feed {feed}, {terms.sequencer_grace_s} s of grace" if feed != ZERO_ADDRESS else "no feed",
    }
    print("fixed for ever, once the contracts are made:")
    for name, text in told.items():
        print(f"  {name:<11}{text}")


def _print_places(made: Deployment) -> None:
    print(f"currency   {made.addresses.currency}{'' if made.terms.currency else ' (play money)'}")
    for name, address in made.contracts.items():
        print(f"  {name:<20}{address}")
