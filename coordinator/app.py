"""The composition root: everything is built here, with explicit arguments, and stopped in reverse.

Start: data directory and its lock, keys, chain and contracts, ledger, then the tasks of one group
(ledger's clock work, sender, observer, price feeds, stream) and HTTP last. Stop: HTTP first, each stage with a
time limit, so that a stuck part cannot keep the ledger from closing.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from btclib_secp256k1 import recovery

from .agreement import market_rules
from .chain.abi import interface
from .chain.deployment import Deployment, ensure_deployed, load_deployment
from .chain.devchain import DevChainError
from .chain.feeds import FeedReader
from .chain.keys import KeyFileError, load_or_create_key, sign_compact
from .chain.networks import DeploymentError, network_of
from .chain.observer import Observer
from .chain.ports import (
    ChainEvent,
    Deposited,
    Effect,
    FeesCollected,
    IntervalCancelled,
    IntervalCorrected,
    LoadBalancingTriggered,
    Mined,
    Mismatch,
    Report,
    WithdrawalRequested,
    Withdrawn,
)
from .chain.refusals import refused_account
from .chain.rpc import Rpc
from .chain.sender import Sender
from .clock import Clock, SystemClock
from .config import Config
from .edge.announce import announced
from .edge.answers import ChainAddresses, ContractsAnswer, HealthAnswer, Operator
from .edge.auth import Sessions
from .edge.http import create_application
from .edge.leases import Leases
from .edge.metrics import Metrics
from .edge.routes import API
from .edge.services import Services
from .edge.signatures import Signatures, processes_wanted
from .edge.stream import Hub
from .ledger import Committed, Ledger, LedgerConfig, LedgerError, Settler
from .market.commands import (
    AccountChange,
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    Command,
    ConfirmSettlement,
    CreditFunds,
    EndCorrection,
    EndWithdrawal,
    ExcludeFromSettlement,
    HaltTrading,
)
from .market.events import Rejected
from .market.rules import MarketRules
from .premises import (
    INVITE_FILE,
    OPERATOR_KEY_FILE,
    StartError,
    chain_node,
    lock,
    metered_max_wh,
    staged,
    wanted_contracts,
)
from .protocol.keys import AccountKey
from .protocol.typed_data import Domain
from .resuming import Resumed, resume
from .solver.failure import SolverFailedError
from .solver.worker import SolverWorker
from .treasurer import sign_for_fees
from .views import LedgerViews, feed_answers

_log = structlog.get_logger(__name__)
LEDGER_FILE = "ledger.sqlite"
_HTTP_STOP_S = 5.0
_TASKS_STOP_S = 10.0
_LEDGER_STOP_S = 15.0
_RETRY_S = 1.0
_NONCE_EXPECTED = re.compile(r"WithdrawalNonceInvalid\(.*\bexpected=(\d+)\)")
_TRANSIENT = frozenset({"busy", "stopping", "storage_full", "storage_failed"})


FAILURES = (StartError, DeploymentError, DevChainError, KeyFileError, LedgerError)
"""What can end a coordinator with a sentence for its operator."""


@dataclass(frozen=True, slots=True)
class Coordinator:
    """A running coordinator. ``invite_is_new`` when this start made the invite."""

    url: str
    config: Config
    ledger: Ledger
    deployment: Deployment
    rpc_url: str
    operator: AccountKey = field(repr=False)
    invite: str = field(repr=False)
    invite_is_new: bool = False


@asynccontextmanager
async def running(config: Config, clock: Clock | None = None) -> AsyncIterator[Coordinator]:
    """Run a coordinator for the time of the block; raise what its parts raise when they fail.

    Raises ``StartError`` and the rooms' own errors, each with a sentence that says what to do.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        stack.callback(os.close, lock(config.data))
        operator = load_or_create_key(config.data / OPERATOR_KEY_FILE)
        rpc_url = await stack.enter_async_context(chain_node(config, operator))
        rpc = await stack.enter_async_context(Rpc(rpc_url))
        deployment = await ensure_deployed(rpc, operator, config.data, wanted_contracts(config), clock.now())
        if config.market.welcome_credit_micro and deployment.terms.currency is not None:
            raise StartError(f"market.welcome_credit_micro: expected 0, for {deployment.terms.currency} is real money.")
        domain = Domain(deployment.chain_id, deployment.addresses.ledger)
        file, rules, settler = config.data / LEDGER_FILE, _rules(config), _settler(operator)
        solver = await stack.enter_async_context(staged("solver", SolverWorker(), _TASKS_STOP_S))
        if rules.stages.session_every_s or rules.lines:
            await _warm(solver)
        ledger_config = _ledger_config(config, deployment)
        ledger = Ledger(file, rules, ledger_config, domain, clock, settler, solver)
        await stack.enter_async_context(staged("ledger", ledger, _LEDGER_STOP_S))
        parts = _Parts(config, clock, operator, deployment, domain, ledger)
        for effect, error in await ledger.outbox.failures_untold():
            await parts.failed(effect, error)
        sender = Sender(rpc, operator, deployment, ledger.outbox, parts.mined, parts.failed)
        watching = await stack.enter_async_context(Rpc(rpc_url))
        observer = Observer(
            watching,
            deployment,
            ledger.expectations,
            parts.seen,
            parts.reported,
            config.data / "observer.json",
        )
        invite, is_new = _invite(config)
        verifiers = processes_wanted() if config.http.verifiers is None else config.http.verifiers
        signatures = await stack.enter_async_context(Signatures(domain, processes=verifiers))
        feeds = FeedReader(rpc_url, deployment.addresses.price_feeds, config.contracts.price_feeds, clock)
        services = parts.services(invite, signatures, sender, feeds)
        http = config.http
        hub = Hub(
            services,
            queue_max=http.stream_queue_max,
            clients_max=http.streams_max,
            per_address_max=http.streams_per_address_max,
        )
        fees = sign_for_fees(ledger, operator, domain)
        work = (ledger.run(), sender.run(), observer.run(), feeds.run(), hub.run(), fees)
        await stack.enter_async_context(staged("tasks", _tasks(*work), _TASKS_STOP_S))
        application = create_application(services, config.http, hub)
        url = await stack.enter_async_context(_listening(application, config))
        await stack.enter_async_context(announced(config, urlsplit(url).port or 0, operator, domain))
        yield Coordinator(url, config, ledger, deployment, rpc_url, operator, invite, is_new)


async def resume_trading(config: Config, reason: str) -> Resumed:
    """Take orders again after a halt, and send failed settlements again, while the coordinator stands still.

    The operator has looked and takes the responsibility: the reason stands in the log.
    """
    with ExitStack() as stack:
        stack.callback(os.close, lock(config.data))
        deployment = load_deployment(config.data)
        if deployment is None:
            raise StartError(f"{config.data} has no market: name the right --data.")
        domain = Domain(deployment.chain_id, deployment.addresses.ledger)
        file = config.data / LEDGER_FILE
        rules, settler = _rules(config), _settler(load_or_create_key(config.data / OPERATOR_KEY_FILE))
        ledger_config = _ledger_config(config, deployment)
        async with Ledger(file, rules, ledger_config, domain, SystemClock(), settler) as ledger:
            return await resume(ledger, reason)


async def _warm(solver: SolverWorker) -> None:
    """Start the solver before the first auction needs it; without one auctions are held in the simpler way."""
    try:
        await solver.start()
    except SolverFailedError as error:
        _log.error("no solver: auctions with bundles or lines fall back until it starts", error=str(error))


def _rules(config: Config) -> MarketRules:
    try:
        return market_rules(config)
    except ValueError as error:
        raise StartError(f"The market's rules contradict: {error}.") from error


@dataclass(frozen=True, slots=True)
class _Parts:
    """What connects chain, ledger and edge, which do not know one another."""

    config: Config
    clock: Clock
    operator: AccountKey
    deployment: Deployment
    domain: Domain
    ledger: Ledger

    def services(self, invite: str, signatures: Signatures, sender: Sender, feeds: FeedReader) -> Services:
        """Return what the edge works with."""
        metrics = Metrics(self.config.market.interval_s)
        metrics.gauge("inbox_depth", "Commands and readings that wait for the writer", lambda: self.ledger.inbox_depth)
        metrics.gauge("outbox_waiting", "Effects that are not on chain yet", lambda: self.ledger.outbox.waiting)
        metrics.gauge("outbox_failed", "Effects that the chain refused for good", lambda: self.ledger.outbox.failed)
        metrics.gauge("ledger_sequence", "The last command's place in the log", lambda: self.ledger.sequence)
        metrics.gauge("chain_reachable", "Whether the chain's node answers", lambda: int(sender.reachable))
        waits = "Whether the contract lets effects wait, as in a pause"
        metrics.gauge("chain_waiting", waits, lambda: int(sender.waits_for is not None))
        _measure_feeds(metrics, feeds, self.config.contracts.price_feeds)
        return Services(
            clock=self.clock,
            domain=self.domain,
            market=self.config.market.id,
            invite=invite,
            ledger=self.ledger,
            views=LedgerViews(self.ledger, self.config.market, self.clock, self._addresses(), self._operator()),
            sessions=Sessions(_secret(self.config.data / "session.secret")),
            signatures=signatures,
            metrics=metrics,
            sign=self._sign,
            health=lambda: self._health(sender),
            contracts=self._contracts(),
            interface=interface,
            feeds=lambda: feed_answers(feeds.prices()),
            leases=Leases.of_intervals(self.config.market.interval_s),
        )

    async def mined(self, effect: Effect, mined: Mined) -> None:
        """Book a batch that is on chain; the ledger completes the effect in the same transaction."""
        command = ConfirmSettlement(
            delivery_start=int(effect.payload["delivery_start"]),
            transaction=mined.transaction,
            block_number=mined.block_number,
            gas_used=mined.gas_used,
        )
        result = await self._submit(command, effect.key)
        if isinstance(result, Rejected):
            if result.code != "already_settled":
                raise LedgerError(f"The mined {effect.key} cannot be booked ({result.message}): restore the ledger.")
            outbox = self.ledger.outbox
            await outbox.mark_done(effect.key, mined.block_number, mined.gas_used, mined.transaction)

    async def failed(self, effect: Effect, error: str) -> None:
        """Do something about what can never happen: the ledger would promise what the chain refuses.

        A withdrawal's money is free again, a correction is given up. In a settlement an account that the contract
        refuses is left out and the others are settled again. Otherwise trading stops.
        """
        _log.error("the chain refused an effect for good", effect=effect.key, error=error)
        if effect.kind == "relay_withdrawal":
            await self._withdrawal_failed(effect, error)
        if effect.kind == "correct_interval":
            start, revision = int(effect.payload["delivery_start"]), int(effect.payload["revision"])
            await self._submit(EndCorrection(start, revision, error))
        if effect.kind != "settle_batch":
            return
        reason = f"The contract refused {effect.key}: {error}"
        if (account := refused_account(error, effect.payload, self.deployment)) is not None:
            start = int(effect.payload["delivery_start"])
            result = await self._submit(ExcludeFromSettlement(start, account, reason))
            if not isinstance(result, Rejected):
                _log.warning("settled again without an account", delivery_start=start, account=account)
                return
            _log.error("the account cannot be left out", account=account, reason=result.message)
        await self._halt(reason)

    async def _withdrawal_failed(self, effect: Effect, error: str) -> None:
        """Release the money; told again after a crash, it is free already."""
        expected = _NONCE_EXPECTED.search(error)
        account, number = str(effect.payload["withdrawal"]["account"]), int(effect.payload["number"])
        await self._submit(EndWithdrawal(account, number, error, int(expected[1]) if expected is not None else None))

    async def seen(self, event: ChainEvent) -> None:
        """Book what happened to accounts on chain, but for batches: the sender's own way confirms those.

        A request to relieve a node that is not ours is for somebody else to answer.
        """
        if isinstance(event, LoadBalancingTriggered) and event.node_id != self.config.chain.grid_node_id:
            _log.warning("balancing was asked for at a node that is not reported here", node=event.node_id)
            return
        command = _booking(event)
        if command is None:
            return
        result = await self._submit(command)
        if isinstance(result, Rejected) and result.code != "duplicate_credit":
            raise LedgerError(f"{command.reference} on chain cannot be booked ({result.message}).")

    async def reported(self, report: Report) -> None:
        """Stop trading when chain and ledger disagree."""
        if isinstance(report, Mismatch):
            _log.critical("chain and ledger disagree", code=report.code, text=report.text)
            await self._halt(report.text)

    async def _halt(self, reason: str) -> None:
        if self.ledger.state.halted is None:
            await self._submit(HaltTrading(reason))

    async def _submit(self, command: Command, completes: str | None = None) -> Committed | Rejected:
        """Submit what has happened already and so must be booked: a busy or full ledger is waited for."""
        while True:
            result = await self.ledger.submit(command, completes=completes)
            if not isinstance(result, Rejected) or result.code not in _TRANSIENT:
                return result
            await asyncio.sleep(_RETRY_S)

    def _sign(self, digest: bytes) -> bytes:
        return bytes(recovery.sign(digest, self.operator.secret, verify=False)[0])

    def _addresses(self) -> ChainAddresses:
        at = self.deployment.addresses
        return {
            "chain_id": self.deployment.chain_id,
            "ledger": at.ledger,
            "token": at.token,
            "registry": at.registry,
            "grid": at.grid,
            "trading": at.trading,
            "currency_token": at.currency,
        }

    def _contracts(self) -> ContractsAnswer:
        made = self.deployment
        return {
            "chain_id": made.chain_id,
            "network": network_of(made.chain_id).name,
            "first_block": made.block_number + 1,
            "genesis": made.genesis,
            "currency": made.addresses.currency,
            "domain_separator": "0x" + self.domain.separator().hex(),
            "contracts": [
                {"name": name, "address": address, "abi": f"{API}/contracts/{name}"}
                for name, address in made.contracts.items()
            ],
        }

    def _operator(self) -> Operator:
        return {"account": self.operator.address, "public_key": "0x" + self.operator.public_key.hex()}

    def _health(self, sender: Sender) -> HealthAnswer:
        halted, outbox = self.ledger.state.halted, self.ledger.outbox
        degraded = not sender.reachable or sender.waits_for is not None
        return {
            "status": "halted" if halted is not None else "degraded" if degraded else "ready",
            "ledger": "open",
            "chain": "reachable" if sender.reachable else "unreachable",
            "trading": "open" if halted is None else "halted",
            "reason": halted or sender.waits_for,
            "waiting_effects": outbox.waiting,
            "failed_effects": outbox.failed,
            "sequence": self.ledger.sequence,
        }


def _measure_feeds(metrics: Metrics, feeds: FeedReader, names: Sequence[str]) -> None:
    age_s = {name: lambda name=name: feeds.price(name).age_s for name in names}
    passes = {name: lambda name=name: int(feeds.price(name).value_micro is not None) for name in names}
    metrics.gauges("feed_age_seconds", "Since the price feed's last answer", "feed", age_s)
    metrics.gauges("feed_ok", "Whether the price feed's answer passes all checks", "feed", passes)


type _Booking = CreditFunds | BookWithdrawal | BookRequest | BookCancellation | BookCorrection | BookBalancingRequest


def _booking(event: ChainEvent) -> _Booking | None:
    """Return the command that books what happened on chain, ``None`` when the market has nothing to do with it."""
    match event:
        case Deposited() | FeesCollected():
            return CreditFunds(event.account, event.money_micro, event.reference)
        case Withdrawn():
            return BookWithdrawal(event.account, event.to, event.money_micro, event.reference)
        case WithdrawalRequested():
            return BookRequest(event.account, event.money_micro, event.available_at, event.reference)
        case IntervalCancelled():
            return BookCancellation(event.account, event.delivery_start, event.reference)
        case IntervalCorrected():
            changes = tuple(AccountChange(row.account, row.money_micro, row.energy_wh) for row in event.rows or ())
            return BookCorrection(event.delivery_start, event.revision, changes, event.reference)
        case LoadBalancingTriggered():
            asked = event.node_id, event.request_id, event.overload_w, event.stability
            return BookBalancingRequest(*asked, event.reference)
        case _:
            return None


def _settler(operator: AccountKey) -> Settler:
    return Settler(operator.address, partial(sign_compact, operator))


def _ledger_config(config: Config, deployment: Deployment) -> LedgerConfig:
    return LedgerConfig(
        welcome_credit_micro=config.market.welcome_credit_micro,
        reading_deadline_s=config.market.reading_deadline_s,
        grid_node_id=config.chain.grid_node_id,
        grid_capacity_w=config.chain.grid_capacity_w,
        metered_max_wh=metered_max_wh(config),
        fee_account=deployment.terms.fee_account or "",
    )


def _secret(path: Path) -> bytes:
    """Return the 32 bytes in the file, made at the first start."""
    if not path.exists():
        _write_private(path, secrets.token_bytes(32))
    secret = path.read_bytes()
    if len(secret) < 32:
        raise StartError(f"{path} is damaged: delete it; members then sign in again by themselves.")
    return secret


def _invite(config: Config) -> tuple[str, bool]:
    """Return the configured invite, or the one made at the first start; and whether that was now."""
    if config.market.invite is not None:
        return config.market.invite, False
    path = config.data / INVITE_FILE
    if is_new := not path.exists():
        _write_private(path, secrets.token_urlsafe(12).encode())
    return path.read_text(encoding="ascii").strip(), is_new


def _write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read; a crash leaves all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    draft.replace(path)


@asynccontextmanager
async def _tasks(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run the work beside the block; one that fails ends the block with its error."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def _listening(application: web.Application, config: Config) -> AsyncIterator[str]:
    """Serve HTTP for the time of the block; give the address."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_HTTP_STOP_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.http.host, config.http.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            place = f"{config.http.host}:{config.http.port}"
            raise StartError(
                f"Cannot listen on {place} ({error.strerror}): choose another --port or --host."
            ) from error
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()
