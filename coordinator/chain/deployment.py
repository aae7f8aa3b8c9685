"""Putting the contracts on a chain, once, and finding them again.

All transactions are signed and stored before the first one leaves; a crash in between, or a chain
that lost them, gets the same ones again, and the addresses stay what they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..protocol.keccak import keccak256
from ..protocol.keys import AccountKey
from ..protocol.units import interval_start
from ..protocol.wire import read_bytes, read_int, read_mapping, read_objects, read_text
from .broadcast import Broadcaster, FeeLimits, explain_revert, read_fees, read_nonce, read_receipts
from .contracts import Addresses, hexed
from .files import FileDamaged, load_json, read_json, write_json
from .networks import ZERO_ADDRESS, DeploymentError, check_currency, check_feed, network_of
from .plan import PLACES, Holders, LedgerTerms, Plan, make_plan, places_of, resolve
from .rpc import NodeUnreachable, Rpc, RpcError, data, quantity
from .transactions import Fees, Signed, max_fee_wei, sign, sign_again

_LOG = logging.getLogger(__name__)
_FUNDS_WEI = 10_000 * 10**18
_WAIT_S = 300
_LAYOUT = 2
_FILE = "deployment.json"
_TRANSACTIONS = "deployment.transactions.json"
_KINDS: Mapping[type, str] = {int: "an integer", str: "text", bool: "true or false"}
_ACCOUNTS = frozenset({"currency", "fee_account", "sequencer_uptime_feed", "community"})


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the contracts are, and the transactions that made them.

    ``genesis`` is the second in which the ledger's first interval begins; no block up to
    ``block_number`` has anything of this ledger.
    """

    chain_id: int
    rpc_url: str
    operator: str
    terms: LedgerTerms
    genesis: int
    block_number: int
    addresses: Addresses
    transactions: tuple[Signed, ...]

    @property
    def next_nonce(self) -> int:
        """The operator's first nonce after the deployment."""
        return self.transactions[-1].nonce + 1

    @property
    def contracts(self) -> dict[str, str]:
        """The contracts of this project that were made, with their addresses; a currency of others is none."""
        places = {name: getattr(self.addresses, field) for name, field in PLACES.items()}
        if self.terms.currency is not None:
            del places["DemoCurrency"]
        return places


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants on its chain. ``network`` ``None``: whatever network the node is of.

    Without ``first`` only a local chain gets contracts that are not there yet.
    """

    terms: LedgerTerms
    holders: Holders = field(default_factory=Holders)
    network: str | None = None
    first: bool = True


async def ensure_deployed(rpc: Rpc, key: AccountKey, folder: Path, wanted: Wanted, at: int) -> Deployment:
    """Return the deployment kept in the folder, made at the second ``at`` when there is none.

    A node that is gone is no obstacle to a deployment that is already kept. Raises
    ``DeploymentError``.
    """
    kept = load_deployment(folder)
    try:
        chain_id = quantity(await rpc.call("eth_chainId"))
        if kept is None:
            kept = await sign_plan(rpc, key, await prepare(rpc, key.address, wanted, at))
        check_kept(kept, chain_id, key.address, wanted, folder)
        kept = _keep(folder, await _afford(rpc, key, kept), rpc.url)
        await bring_to_chain(rpc, kept)
        await check_made(rpc, kept)
    except NodeUnreachable as error:
        if kept is None:
            raise DeploymentError(f"{error}; start the node or set chain.rpc_url") from error
        _LOG.warning("%s; going on with the contracts as they were", error)
    except RpcError as error:
        raise DeploymentError(f"the node refuses {error}; is chain.rpc_url the right one?") from error
    return kept


async def prepare(rpc: Rpc, operator: str, wanted: Wanted, at: int) -> Plan:
    """Return the plan of a first deployment, and send nothing. Raises ``DeploymentError``."""
    network = network_of(quantity(await rpc.call("eth_chainId")), wanted.network)
    if not wanted.first and not network.is_local:
        raise DeploymentError(
            f"there are no contracts on {network.name} yet: look with energy-trade deploy --dry-run at what it will"
            " cost, then run energy-trade deploy"
        )
    nonce = await read_nonce(rpc, operator)
    genesis = interval_start(at, wanted.terms.interval_s)
    plan = make_plan(network, operator, nonce, wanted.terms, wanted.holders, genesis)
    if plan.terms.currency is not None:
        await check_currency(rpc, plan.terms.currency)
    if plan.terms.sequencer_uptime_feed not in {None, ZERO_ADDRESS}:
        await check_feed(rpc, str(plan.terms.sequencer_uptime_feed))
    if network.is_local:
        return plan
    first = plan.steps[0]
    asked = quantity(await rpc.call("eth_estimateGas", {"from": operator, "data": hexed(first.call.data)}))
    return with_gas_for_bytes(plan, asked)


def with_gas_for_bytes(plan: Plan, asked_for_first: int) -> Plan:
    """Raise the gas limits where bytes cost more gas than on Ethereum, as on Arbitrum.

    The first step needs no other, so a node can tell its gas: what that is above the limit, its bytes cost.
    """
    first = plan.steps[0]
    missing = asked_for_first + asked_for_first // 4 - first.gas
    if missing <= 0:
        return plan
    per_byte = -(-missing // len(first.call.data))
    steps = tuple(replace(step, gas=step.gas + per_byte * len(step.call.data)) for step in plan.steps)
    return replace(plan, steps=steps)


async def sign_plan(rpc: Rpc, key: AccountKey, plan: Plan) -> Deployment:
    """Sign the whole plan at the node's present fees; nothing is sent. Raises ``DeploymentError``."""
    fees = await read_fees(rpc, FeeLimits())
    if fees is None:
        raise DeploymentError("gas is too dear to deploy now; try again later")
    await _require_funds(rpc, plan, fees)
    chain_id = plan.network.chain_id
    signed = [sign(key, chain_id, plan.nonce + i, step.call, step.gas, fees) for i, step in enumerate(plan.steps)]
    head = quantity(await rpc.call("eth_blockNumber"))
    return Deployment(chain_id, rpc.url, plan.operator, plan.terms, plan.genesis, head, plan.addresses, tuple(signed))


async def bring_to_chain(rpc: Rpc, deployment: Deployment) -> None:
    """Send what the chain lacks and wait until all of it is mined."""
    broadcaster = Broadcaster(rpc)
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while (nonce := await read_nonce(rpc, deployment.operator)) < deployment.next_nonce:
        if asyncio.get_running_loop().time() > deadline:
            raise DeploymentError(
                f"the contracts were sent, but not mined within {_WAIT_S} s; see the log, start again"
            )
        if not nonce:
            await _balance_wei(rpc, deployment.operator)
        await broadcaster.send([t for t in deployment.transactions if t.nonce >= nonce])
        await asyncio.sleep(0.05)


def load_deployment(folder: Path) -> Deployment | None:
    """Return the deployment kept in the folder, ``None`` when none was ever described there.

    Raises ``DeploymentError`` for anything else: a second ledger beside the members' would be worse than none.
    """
    file, name = folder / _FILE, _FILE
    if folder.exists() and not folder.is_dir():
        raise DeploymentError(f"{folder} is a file and no data directory: name another --data")
    try:
        values = load_json(file)
    except FileNotFoundError:
        return None  # transactions without a description were never sent
    except FileDamaged as error:
        raise _damaged(file, error) from error
    if isinstance(values, dict) and values.get("layout") != _LAYOUT and "genesis" in values:
        raise DeploymentError(
            f"{file} is of another version's contracts, which this version cannot use: run that version,"
            " or begin a new ledger in another data folder and let members move"
        )
    try:
        name = _TRANSACTIONS
        transactions = _read_transactions(load_json(folder / name))
        name = _FILE
        return _read_description(values, transactions)
    except FileNotFoundError as error:
        raise DeploymentError(
            f"{folder / _TRANSACTIONS} is missing beside {file}, which it belongs to; restore it from your backup"
        ) from error
    except (FileDamaged, ValueError) as error:
        raise _damaged(folder / name, error) from error


async def count_mined(rpc: Rpc, deployment: Deployment) -> int:
    """Return how many of the deployment's transactions are mined."""
    nonce = await read_nonce(rpc, deployment.operator)
    return sum(transaction.nonce < nonce for transaction in deployment.transactions)


async def _require_funds(rpc: Rpc, plan: Plan, fees: Fees) -> None:
    """Refuse to begin what the operator cannot pay to the end; give it play ether where the node can."""
    held_wei = await _balance_wei(rpc, plan.operator)
    needed_wei = fees.max_fee_wei * sum(step.gas for step in plan.steps)
    if held_wei < needed_wei:
        raise DeploymentError(
            f"the operator's account {plan.operator} has {ether(held_wei)}, the deployment may take up to"
            f" {ether(needed_wei)} for gas; send it some"
        )


async def _balance_wei(rpc: Rpc, operator: str) -> int:
    held_wei = quantity(await rpc.call("eth_getBalance", operator, "latest"))
    if held_wei:
        return held_wei
    try:
        await rpc.call("anvil_setBalance", operator, hex(_FUNDS_WEI))
    except RpcError as error:
        raise DeploymentError(f"the operator's account {operator} has no ether for gas; send it some") from error
    return _FUNDS_WEI


def ether(wei: int) -> str:
    """Show an amount in ether, to the last digit that matters."""
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".") + " ETH"


def check_kept(kept: Deployment, chain_id: int, operator: str, wanted: Wanted, folder: Path) -> None:
    """Refuse to go on with contracts that were made for something else. Raises ``DeploymentError``."""
    check_chain(kept, chain_id, wanted.network)
    for difference in term_differences(kept, operator, wanted.terms):
        raise DeploymentError(
            f"{folder / _FILE}: the contracts were {difference}; put that back, or use another data folder"
        )


def check_chain(kept: Deployment, chain_id: int, network: str | None) -> None:
    """Refuse a node of another chain than the contracts', or another network. Raises ``DeploymentError``."""
    if chain_id != kept.chain_id:
        raise DeploymentError(
            f"the contracts are on chain {kept.chain_id}, this node is {chain_id}: set chain.rpc_url or --rpc-url"
            " right, or use another data folder"
        )
    network_of(chain_id, network)


def term_differences(kept: Deployment, operator: str | None, terms: LedgerTerms) -> Iterator[str]:
    """Yield what the contracts were made with and is now wanted otherwise; ``operator`` ``None`` is not known.

    A withdrawal that waits longer than it must harms nobody, so the exit delay may have been longer.
    """
    terms = resolve(terms, network_of(kept.chain_id), kept.operator)
    terms = replace(terms, exit_delay_s=max(terms.exit_delay_s, kept.terms.exit_delay_s))
    if operator not in {None, kept.operator}:
        yield f"made with operator {kept.operator}, now it is {operator}"
    now = asdict(terms)
    for name, was in asdict(kept.terms).items():
        if was != now[name]:
            yield f"made with {name} {was}, now it is {now[name]}"


async def _afford(rpc: Rpc, key: AccountKey, kept: Deployment) -> Deployment:
    """Sign again, at the node's present fees, what waits at fees that no block takes any more."""
    mined = await read_nonce(rpc, kept.operator)
    waiting = [t for t in kept.transactions if t.nonce >= mined]
    fees = await read_fees(rpc, FeeLimits()) if waiting else None
    if fees is None:
        return kept
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    if all(max_fee_wei(t) >= quantity(block["baseFeePerGas"]) for t in waiting):
        return kept
    _LOG.warning("gas became dearer: signing %d transactions again, at %d wei", len(waiting), fees.max_fee_wei)
    again = {t.nonce: sign_again(key, t, fees) for t in waiting}
    return replace(kept, transactions=tuple(again.get(t.nonce, t) for t in kept.transactions))


async def check_made(rpc: Rpc, deployment: Deployment) -> None:
    """Refuse a deployment of which a transaction failed or a contract is missing."""
    places = asdict(deployment.addresses)
    codes = await rpc.batch([("eth_getCode", (address, "latest")) for address in places.values()])
    missing = [n for n, code in zip(places, codes, strict=True) if isinstance(code, RpcError) or not data(code)]
    receipts = await read_receipts(rpc, [t.transaction for t in deployment.transactions])
    failed = [r for r in receipts if r is not None and quantity(r["status"]) != 1]
    if not missing and not failed:
        return
    why = await explain_revert(rpc, failed[0]) if failed else "the operator's key made other transactions there"
    what = f"no contract at {', '.join(f'{n} {places[n]}' for n in missing)}" if missing else "a transaction failed"
    raise DeploymentError(f"{what}: {why}; use another data folder or the right chain.rpc_url")


def _keep(folder: Path, deployment: Deployment, rpc_url: str) -> Deployment:
    """Write the deployment, transactions first: the description without them is of no use."""
    values = {
        "layout": _LAYOUT,
        "chain_id": deployment.chain_id,
        "rpc_url": rpc_url,
        "operator": deployment.operator,
        **asdict(deployment.terms),
        "genesis": deployment.genesis,
        "block_number": deployment.block_number,
        "addresses": asdict(deployment.addresses),
    }
    raws = [{"nonce": t.nonce, "transaction": t.transaction, "raw": hexed(t.raw)} for t in deployment.transactions]
    for name, content in ((_TRANSACTIONS, raws), (_FILE, values)):
        if read_json(folder / name) != content:
            write_json(folder / name, content)
    return replace(deployment, rpc_url=rpc_url)


def _damaged(file: Path, why: Exception) -> DeploymentError:
    return DeploymentError(f"{file} is damaged ({why}); restore it from your backup")


def _read_transactions(raws: object) -> tuple[Signed, ...]:
    """Return the transactions, which follow one another. Raises ``ValueError``."""
    signed = []
    for values in read_objects({"transactions": raws}, "transactions"):
        raw, text = read_text(values, "raw"), read_text(values, "transaction")
        try:
            transaction = Signed(_at_least(values, "nonce", 0), bytes.fromhex(raw.removeprefix("0x")), text)
        except ValueError as error:
            raise ValueError(f"a transaction cannot be read: {error}") from error
        if text != hexed(keccak256(transaction.raw)):
            raise ValueError(f"the transaction with nonce {transaction.nonce} is not the one that its hash names")
        signed.append(transaction)
    if not signed:
        raise ValueError("there are no transactions in it")
    if [t.nonce for t in signed] != [*range(signed[0].nonce, signed[0].nonce + len(signed))]:
        raise ValueError("the transactions' nonces do not follow one another")
    return tuple(signed)


def _read_description(values: object, transactions: tuple[Signed, ...]) -> Deployment:
    """Return what the values and the transactions describe. Raises ``ValueError``."""
    described = read_mapping({"description": values}, "description")
    chain_id, operator = _at_least(described, "chain_id", 1), _address(described, "operator")
    terms, places = _read_terms(described), read_mapping(described, "addresses")
    addresses = Addresses(**{field.name: _address(places, field.name) for field in fields(Addresses)})
    if addresses != places_of(operator, transactions[0].nonce, terms.currency):
        raise ValueError("the addresses are not those of the contracts that its transactions make")
    url, genesis = read_text(described, "rpc_url"), _at_least(described, "genesis", 0)
    block_number = _at_least(described, "block_number", 0)
    return Deployment(chain_id, url, operator, terms, genesis, block_number, addresses, transactions)


def _read_terms(described: Mapping[str, Any]) -> LedgerTerms:
    terms: dict[str, Any] = {}
    for name, kind in get_type_hints(LedgerTerms).items():
        value = described.get(name)
        kinds = get_args(kind) or (kind,)
        if name not in described or type(value) not in kinds:
            expected = " or ".join("null" if k is type(None) else _KINDS[k] for k in kinds)
            raise ValueError(f"{name}: expected {expected}, was {value!r:.60}")
        if name in _ACCOUNTS and value is not None:
            value = _address(described, name)
        terms[name] = value
    return LedgerTerms(**terms)


def _at_least(values: Mapping[str, Any], name: str, least: int) -> int:
    number = read_int(values, name)
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, was {number}")
    return number


def _address(values: Mapping[str, Any], name: str) -> str:
    """Return an address as it is kept, in lower case."""
    return hexed(read_bytes(values, name, 20))
