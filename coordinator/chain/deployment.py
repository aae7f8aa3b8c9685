"""Putting the contracts on a chain, once, and finding them again.

All transactions are signed and stored before the first one leaves; a crash in between, or a chain
that lost them, gets the same ones again, and the addresses stay what they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..protocol.keys import AccountKey
from ..protocol.units import interval_start
from .abi import contract, roles
from .broadcast import Broadcaster, FeeLimits, explain_revert, read_fees, read_nonce, read_receipts
from .contracts import Addresses, hexed
from .files import read_json, write_json
from .rpc import NodeUnreachable, Rpc, RpcError, data, quantity
from .transactions import Call, Fees, Signed, created_address, sign

_LOG = logging.getLogger(__name__)
_CALL_GAS = 300_000
_FUNDS_WEI = 10_000 * 10**18
_PLAY_MONEY_MICRO = 10**18
_UINT256_MAX = 2**256 - 1
_WAIT_S = 300
_EMERGENCY_BELOW, _NORMAL_FROM = 50_000, 150_000  # free capacity, 1e6 = all
_GRID_STALE_INTERVALS = 3
_TRADE_PERIOD_S = 7 * 86_400


class DeploymentError(Exception):
    """The contracts cannot be put on this chain or used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """What the ledger is made with. ``currency`` ``None`` makes play money, for local chains only."""

    market: str
    interval_s: int
    price_min_micro_per_kwh: int
    price_max_micro_per_kwh: int
    metered_max_wh: int
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the contracts are, and the transactions that made them.

    ``genesis`` is the second in which the ledger's first epoch begins; no block up to
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


async def ensure_deployed(rpc: Rpc, key: AccountKey, folder: Path, terms: LedgerTerms, at: int) -> Deployment:
    """Return the deployment kept in the folder, made at the second ``at`` when there is none.

    A node that is gone is no obstacle to a deployment that is already kept. Raises
    ``DeploymentError``.
    """
    kept = load_deployment(folder)
    try:
        chain_id = quantity(await rpc.call("eth_chainId"))
        if kept is None:
            kept = await _plan(rpc, key, chain_id, terms, at)
        _check(kept, chain_id, key, terms, folder)
        kept = _keep(folder, kept, rpc.url)
        await _bring_to_chain(rpc, kept)
    except NodeUnreachable as error:
        if kept is None:
            raise DeploymentError(f"{error}; start the node or set chain.rpc_url") from error
        _LOG.warning("%s; going on with the contracts as they were", error)
    except RpcError as error:
        raise DeploymentError(f"the node refuses {error}; is chain.rpc_url the right one?") from error
    return kept


def load_deployment(folder: Path) -> Deployment | None:
    """Return the deployment kept in the folder. Raises ``DeploymentError`` when it is damaged."""
    values, raws = read_json(folder / _FILE), read_json(folder / _TRANSACTIONS)
    if values is None or raws is None:
        return None
    try:
        return _from_json(values, raws)
    except (KeyError, TypeError, ValueError) as error:
        raise DeploymentError(f"{folder / _FILE} is damaged ({error}); restore it from your backup") from error


_FILE = "deployment.json"
_TRANSACTIONS = "deployment.transactions.json"


async def _plan(rpc: Rpc, key: AccountKey, chain_id: int, terms: LedgerTerms, at: int) -> Deployment:
    """Sign the whole deployment."""
    await _require_funds(rpc, key.address)
    nonce = await read_nonce(rpc, key.address)
    fees = await read_fees(rpc, FeeLimits())
    if fees is None:
        raise DeploymentError("gas is too dear to deploy now; try again later")
    genesis = interval_start(at, terms.interval_s)
    addresses = _addresses(key.address, nonce, terms.currency)
    calls = [*_creations(addresses, key.address, terms, genesis), *_settings(addresses, key.address, terms)]
    signed = [
        sign(key, chain_id, nonce + i, call, _gas(call), Fees(fees.max_fee_wei, fees.tip_wei))
        for i, call in enumerate(calls)
    ]
    head = quantity(await rpc.call("eth_blockNumber"))
    return Deployment(chain_id, rpc.url, key.address, terms, genesis, head, addresses, tuple(signed))


async def _require_funds(rpc: Rpc, operator: str) -> None:
    """Give the operator play ether where the node can, else ask for it."""
    if quantity(await rpc.call("eth_getBalance", operator, "latest")):
        return
    try:
        await rpc.call("anvil_setBalance", operator, hex(_FUNDS_WEI))
    except RpcError as error:
        raise DeploymentError(f"the operator's account {operator} has no ether for gas; send it some") from error


def _addresses(creator: str, nonce: int, currency: str | None) -> Addresses:
    """Return where the contracts will be, in the order of ``_creations``."""
    made = iter(range(nonce, nonce + 7))
    authority = created_address(creator, next(made))
    money = currency.lower() if currency else created_address(creator, next(made))
    names = ("ledger", "registry", "token", "grid", "trading")
    return Addresses(authority, money, **{name: created_address(creator, next(made)) for name in names})


def _creations(at: Addresses, operator: str, terms: LedgerTerms, genesis: int) -> Iterator[Call]:
    def create(name: str, *values: object) -> Call:
        return Call(None, contract(name).creation(*values))

    band = terms.price_min_micro_per_kwh, terms.price_max_micro_per_kwh
    yield create("Authority", operator)
    if terms.currency is None:
        yield create("DemoCurrency")
    ledger = at.authority, terms.market, terms.interval_s, genesis, at.currency, *band, terms.metered_max_wh
    yield create("EnergyLedger", *ledger)
    yield create("SmartMeterRegistry", at.authority, at.ledger)
    yield create("EnergyToken", at.authority, at.ledger, at.registry)
    stale_after_s = _GRID_STALE_INTERVALS * terms.interval_s
    yield create("GridManagement", at.authority, _EMERGENCY_BELOW, _NORMAL_FROM, stale_after_s)
    yield create("P2PTrading", at.ledger, at.token, at.registry, at.currency, _TRADE_PERIOD_S)


def _settings(at: Addresses, operator: str, terms: LedgerTerms) -> Iterator[Call]:
    """Yield the calls that name the token, give the roles, and fill the operator's purse."""
    targets = {
        "EnergyLedger": at.ledger,
        "EnergyToken": at.token,
        "GridManagement": at.grid,
        "SmartMeterRegistry": at.registry,
    }
    yield Call(at.ledger, contract("EnergyLedger").encode("setEnergyToken", at.token))
    authority = contract("Authority")
    for role in roles().values():
        for name, listed in groupby(role["functions"], key=itemgetter("contract")):
            selectors = [data(function["selector"]) for function in listed]
            allow = authority.encode("setTargetFunctionRole", targets[name], selectors, role["id"])
            yield Call(at.authority, allow)
        yield Call(at.authority, authority.encode("grantRole", role["id"], operator, 0))
    money = contract("DemoCurrency")
    if terms.currency is None:
        yield Call(at.currency, money.encode("mint", operator, _PLAY_MONEY_MICRO))
    yield Call(at.currency, money.encode("approve", at.ledger, _UINT256_MAX))


def _gas(call: Call) -> int:
    """Return a limit without asking the node, which cannot know contracts that are still to come.

    A creation costs 53,000, 200 per byte kept and 16 per byte sent; a constructor's own work is little.
    """
    return _CALL_GAS if call.to else 53_000 + 216 * len(call.data) + 700_000


def _check(kept: Deployment, chain_id: int, key: AccountKey, terms: LedgerTerms, folder: Path) -> None:
    found = (
        ("chain id", kept.chain_id, chain_id),
        ("operator", kept.operator, key.address),
        *((name, value, asdict(terms)[name]) for name, value in asdict(kept.terms).items()),
    )
    for name, was, now in found:
        if was != now:
            raise DeploymentError(
                f"{folder / _FILE}: the contracts were made with {name} {was}, now it is {now};"
                " put that back, or use another data folder"
            )


async def _bring_to_chain(rpc: Rpc, deployment: Deployment) -> None:
    """Send what the chain lacks and wait until all of it is mined."""
    broadcaster = Broadcaster(rpc)
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while (nonce := await read_nonce(rpc, deployment.operator)) < deployment.next_nonce:
        if asyncio.get_running_loop().time() > deadline:
            raise DeploymentError(
                f"the contracts were sent, but not mined within {_WAIT_S} s; see the log, start again"
            )
        if not nonce:
            await _require_funds(rpc, deployment.operator)
        await broadcaster.send([t for t in deployment.transactions if t.nonce >= nonce])
        await asyncio.sleep(0.05)
    await _check_code(rpc, deployment)


async def _check_code(rpc: Rpc, deployment: Deployment) -> None:
    places = asdict(deployment.addresses)
    codes = await rpc.batch([("eth_getCode", (address, "latest")) for address in places.values()])
    missing = [n for n, code in zip(places, codes, strict=True) if isinstance(code, RpcError) or not data(code)]
    if not missing:
        return
    receipts = await read_receipts(rpc, [t.transaction for t in deployment.transactions])
    failed = [r for r in receipts if r is not None and quantity(r["status"]) != 1]
    why = await explain_revert(rpc, failed[0]) if failed else "the operator's key made other transactions there"
    raise DeploymentError(
        f"no contract at {', '.join(f'{n} {places[n]}' for n in missing)}: {why};"
        " use another data folder or the right chain.rpc_url"
    )


def _keep(folder: Path, deployment: Deployment, rpc_url: str) -> Deployment:
    """Write the deployment, transactions first: the description without them is of no use."""
    values = {
        "chain_id": deployment.chain_id,
        "rpc_url": rpc_url,
        "operator": deployment.operator,
        **asdict(deployment.terms),
        "genesis": deployment.genesis,
        "block_number": deployment.block_number,
        "addresses": asdict(deployment.addresses),
    }
    if read_json(folder / _FILE) != values:
        raws = [{"nonce": t.nonce, "transaction": t.transaction, "raw": hexed(t.raw)} for t in deployment.transactions]
        write_json(folder / _TRANSACTIONS, raws)
        write_json(folder / _FILE, values)
    return replace(deployment, rpc_url=rpc_url)


def _from_json(values: Mapping[str, Any], raws: Sequence[Mapping[str, Any]]) -> Deployment:
    terms = LedgerTerms(**{name: values[name] for name in LedgerTerms.__dataclass_fields__})
    transactions = [Signed(r["nonce"], data(r["raw"]), r["transaction"]) for r in raws]
    return Deployment(
        values["chain_id"],
        values["rpc_url"],
        values["operator"],
        terms,
        values["genesis"],
        values["block_number"],
        Addresses(**values["addresses"]),
        tuple(transactions),
    )
