"""Where a command begins: the data folder with its lock, the chain's node, and what the configuration wants there."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import structlog

from .chain.deployment import Wanted, load_deployment
from .chain.devchain import DevChain
from .chain.networks import network_called, network_of
from .chain.plan import Holders, LedgerTerms
from .config import Config
from .protocol.keys import AccountKey

OPERATOR_KEY_FILE = "operator.key"
INVITE_FILE = "invite"
_log = structlog.get_logger(__name__)
_CHAIN_STOP_S = 15.0


class StartError(Exception):
    """A command cannot begin; the text says what to do."""


def lock(data: Path) -> int:
    """Make the data directory and lock it; two coordinators would give one nonce twice."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(data / "coordinator.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"{data} is no data directory ({error.strerror}): name another --data.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StartError(f"Another coordinator already runs with {data}: stop it, or name another --data.") from None
    return handle


@asynccontextmanager
async def chain_node(config: Config, operator: AccountKey) -> AsyncIterator[str]:
    """Give the node's address: the configured one, or that of a local chain of our own.

    Raises ``StartError`` before a local chain is started that cannot be the one that is meant.
    """
    require_node(config)
    if config.chain.rpc_url is not None:
        yield config.chain.rpc_url
        return
    local = DevChain(config.data / "chain", port=config.chain.dev_port, fund=[operator.address])
    async with staged("local chain", local, _CHAIN_STOP_S) as chain:
        yield chain.url


def require_node(config: Config) -> None:
    """Refuse a public network without its node's address. Raises ``StartError`` or ``DeploymentError``."""
    if config.chain.rpc_url is not None:
        return
    kept = load_deployment(config.data)
    if config.chain.network is not None and not network_called(config.chain.network).is_local:
        raise StartError(
            f"{config.chain.network} is no local chain: name --rpc-url (chain.rpc_url), its node's address"
        )
    if kept is not None and not (network := network_of(kept.chain_id)).is_local:
        raise StartError(
            f"the contracts of {config.data} are on {network.name}: name --rpc-url (chain.rpc_url), its node's address"
        )


@asynccontextmanager
async def staged[T](name: str, part: AbstractAsyncContextManager[T], limit_s: float) -> AsyncIterator[T]:
    """Enter a part, and leave it within a time limit."""
    value = await part.__aenter__()
    try:
        yield value
    finally:
        try:
            async with asyncio.timeout(limit_s):
                await part.__aexit__(None, None, None)
        except TimeoutError:
            _log.error("a part did not stop in time", part=name, limit_s=limit_s)


def wanted_contracts(config: Config, *, first: bool = False) -> Wanted:
    """Return what the configuration wants on the chain; ``first`` lets it be made on a public one too."""
    market, made = config.market, config.contracts
    terms = LedgerTerms(
        market=market.id,
        interval_s=market.interval_s,
        price_min_micro_per_kwh=market.price_min_micro_per_kwh,
        price_max_micro_per_kwh=market.price_max_micro_per_kwh,
        metered_max_wh=metered_max_wh(config),
        currency=config.chain.currency_token,
        shortfall_price_max_micro_per_kwh=made.shortfall_price_max_micro_per_kwh,
        under_use_price_min_micro_per_kwh=made.under_use_price_min_micro_per_kwh,
        fee_max_micro_per_kwh=config.fee_max_micro_per_kwh,
        fee_account=made.fee_account,
        exit_delay_s=config.exit_delay_s,
        settle_within_s=made.settle_within_s,
        batch_rules=made.batch_rules,
        sequencer_uptime_feed=made.sequencer_uptime_feed,
        sequencer_grace_s=made.sequencer_grace_s,
        community=made.community,
        bounty_micro=made.bounty_micro,
        bond_delay_s=made.bond_delay_s,
    )
    holders = Holders(**{name: getattr(made, name) for name in Holders.__dataclass_fields__})
    return Wanted(terms, holders, config.chain.network, first)


def metered_max_wh(config: Config) -> int:
    """Return the most that one account can produce in an interval; contract and ledger must agree on it."""
    return config.market.power_max_w * config.market.interval_s // 3600
