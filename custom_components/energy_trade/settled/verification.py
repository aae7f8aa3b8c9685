"""Settlement receipts, checked at home: fetched in order, recomputed, held against own readings and the chain.

Checking never holds up readings or orders: it works in the background, and what it finds becomes a state and a repair.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .. import issues
from ..const import CONF_RPC_URL, DOMAIN, LOGGER
from ..events import moment
from ..home import Home
from ..household.ledger_rows import SettledRow
from ..household.verification import (
    Known,
    ProvedBy,
    Registers,
    ToldOrders,
    Verdict,
    VerificationState,
    check_receipt,
)
from ..protocol.client import CoordinatorClient, CoordinatorRefused, CoordinatorUnavailable
from ..protocol.units import interval_start
from ..protocol.wire import read_int
from ..store import DurableStore
from .chain_reader import ChainReader, ChainUnavailable, NodeRefused, NotOnChain, WrongChain

PAGE: Final = 500
"""The coordinator's longest page of receipts."""
AT_ONCE: Final = 100
DISPUTED_KEPT: Final = 20
REGISTERS_KEPT: Final = 500
KEPT_S, KEPT_INTERVALS = 3 * 86_400, 400
CHAIN_PATIENCE_S: Final = 86_400
"""How long a settlement may take to come on chain before its absence counts against it; less with short intervals."""
POLL_S: Final = 900.0
RETRY_S_MIN, RETRY_S_MAX = 10.0, 1_800.0
NO_RECEIPT: Final = -1
REVISION_MAX: Final = 2**31
TRANSACTION_MAX: Final = 66
"""``0x`` and 64 digits; what is kept on disk is bounded, whatever was sent."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A receipt that was checked: its revision (``NO_RECEIPT``: there is none) and whether the chain bore it out."""

    revision: int
    on_chain: bool = False


class ReceiptVerifier:
    """Fetches and checks each settlement receipt of the home; keeps what the newest come to in ``rows``."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry[Any], client: CoordinatorClient, home: Home) -> None:
        self.state = VerificationState()
        self.rows: dict[int, SettledRow] = {}
        self._hass = hass
        self._entry = entry
        self._client = client
        self._home = home
        self._store = _store(hass, entry.entry_id)
        self._seen: dict[int, _Seen] = {}
        self._asked: set[int] = set()
        self._tried: set[int] = set()  # in this round, which goes on as long as something is left that was not
        self._registers: dict[int, Registers] = {}
        self._told = ToldOrders()
        self._floor = 0
        self._is_fresh = True  # this run has not asked yet: the first time it looks back further, for corrections
        self._listeners: list[Callable[[], None]] = []
        self._row_listeners: list[Callable[[int], None]] = []
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        url = entry.options.get(CONF_RPC_URL)
        info = home.agent.info
        self._chain = ChainReader(async_get_clientsession(hass), url, info.domain, info.market) if url else None

    async def async_start(self) -> None:
        """Go on where an earlier run stopped, then listen for settlements."""
        self._restore(await self._store.async_load_or_nothing())
        self._note_home()
        self._entry.async_on_unload(self._home.async_listen(self._note_home))
        self._entry.async_on_unload(self._entry.runtime_data.coordinator.async_listen_settled(self._settled))
        name = f"{DOMAIN} receipts {self._entry.entry_id}"
        self._task = self._entry.async_create_background_task(self._hass, self._work(), name)

    @callback
    def async_listen(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Call the listener when ``state`` has changed; return how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @callback
    def async_listen_rows(self, listener: Callable[[int], None]) -> CALLBACK_TYPE:
        """Call the listener with each delivery start whose row is new or otherwise; return how to stop that."""
        self._row_listeners.append(listener)
        return lambda: self._row_listeners.remove(listener)

    async def async_rows(self, start: int, end: int) -> list[SettledRow]:
        """Return what was settled for the home in a time; asks for what is no longer kept here.

        Raises ``CoordinatorUnavailable`` or ``CoordinatorRefused``.
        """
        rows = []
        for at in range(start, end, self._home.agent.info.interval_s):
            row = self.rows.get(at)
            if row is None and at < self._floor:
                row = _row_of(await self._fetch(at))
            if row is not None:
                rows.append(row)
        return rows

    async def async_verify(self, delivery_start: int) -> tuple[Verdict, dict[str, Any]] | None:
        """Check one receipt now; return what came of it and the receipt, ``None`` when there is none (yet).

        Raises ``CoordinatorUnavailable`` or ``CoordinatorRefused``.
        """
        async with self._lock:
            found, error = await self._attempt(delivery_start, self._chain)
            self._tell(problem="" if error is None else str(error))
            await self._save()
        return found

    async def async_catch_up(self) -> bool:
        """Check what is new, oldest first; tell whether more is left.

        Raises ``CoordinatorUnavailable`` or ``CoordinatorRefused``; what was checked until then is kept.
        """
        if self._home.held:
            return False
        async with self._lock:
            news, unproved = await self._todo()
            todo, chain, problem = [*news, *unproved], self._chain, ""
            try:
                for place, start in enumerate(todo[:AT_ONCE]):
                    if chain is not self._chain and place >= len(news):
                        break
                    self._set(waiting=len(todo) - place)
                    _, error = await self._attempt(start, chain)
                    self._tried.add(start)
                    if error is not None:
                        problem, chain = str(error), chain if isinstance(error, NodeRefused) else None
            finally:
                await self._save()
            left = todo[AT_ONCE:] if chain is self._chain else news[AT_ONCE:]
            if not left:
                self._tried.clear()
                self._forget_old()
            self._tell(waiting=len(left), problem=problem)
            return bool(left)

    async def _work(self) -> None:
        """Catch up after each settlement and now and then; after a failure pause, longer each time."""
        pause_s = RETRY_S_MIN
        while True:
            self._wake.clear()
            try:
                more = await self.async_catch_up()
            except (CoordinatorUnavailable, CoordinatorRefused) as error:
                LOGGER.debug("Receipts are checked later: %s", error)
                self._tell(problem=str(error))
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
                continue
            pause_s = RETRY_S_MIN
            await self._wait(1.0 if more else POLL_S)

    async def _wait(self, seconds: float) -> None:
        """Wait for a settlement with jitter, so that the homes of a community do not ask in step."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                await self._wake.wait()
        except TimeoutError:
            return

    async def _todo(self) -> tuple[list[int], list[int]]:
        """Return the intervals to look at, oldest first: news and disputes, and what the chain is still to bear out."""
        account = self._home.agent.identity.account
        lines = await self._client.receipts(account, 0 if self._is_fresh else self._floor, PAGE)
        try:
            listed = {read_int(line, "delivery_start"): (read_int(line, "revision"), line) for line in lines}
            chained = {start for start, (_, line) in listed.items() if line.get("transaction") is not None}
        except (AttributeError, ValueError) as error:
            raise CoordinatorUnavailable(f"the list of receipts makes no sense: {error}") from error
        if listed and not 0 <= min(listed) <= max(listed) <= self._home.market_time():
            raise CoordinatorUnavailable("the list of receipts makes no sense: it names intervals that have not been")
        self._is_fresh = False
        news = {start for start, (revision, _) in listed.items() if self._is_news(start, revision)}
        if self._floor and len(lines) >= PAGE:
            news |= set(self._unlisted(min(listed)))
        news |= {verdict.delivery_start for verdict in self.state.disputed}
        news |= {start for start in self._asked if start < self._floor}
        self._asked.clear()
        unproved = {start for start in listed if self._awaits_chain(start, named=start in chained)}
        return sorted(news - self._tried), sorted(unproved - news - self._tried)

    def _is_news(self, start: int, revision: int) -> bool:
        seen = self._seen.get(start)
        return (start >= self._floor or revision > 0) if seen is None else revision > seen.revision

    def _awaits_chain(self, start: int, *, named: bool) -> bool:
        """Tell whether to ask the chain: a transaction is named for it, or there should be one long since."""
        if self._chain is None or self._is_proved(start):
            return False
        return named or (self._is_late(start) and len(self.state.disputed) < DISPUTED_KEPT)

    def _is_late(self, start: int) -> bool:
        return self._home.market_time() - start > min(CHAIN_PATIENCE_S, self._kept_s // 2)

    @property
    def _kept_s(self) -> int:
        return min(KEPT_S, KEPT_INTERVALS * self._home.agent.info.interval_s)

    def _is_proved(self, start: int) -> bool:
        seen = self._seen.get(start)
        return start < self._floor if seen is None else seen.on_chain

    def _unlisted(self, oldest: int) -> Iterator[int]:
        """Yield the intervals since the last run that did not fit into the coordinator's list."""
        step = self._home.agent.info.interval_s
        for start in range(interval_start(self._floor, step), oldest, step):
            if start not in self._seen:
                yield start

    async def _attempt(
        self, start: int, chain: ChainReader | None
    ) -> tuple[tuple[Verdict, dict[str, Any]] | None, ChainUnavailable | WrongChain | None]:
        """Check one receipt; where the node does not help without it, and return why."""
        try:
            return await self._check(start, chain), None
        except (ChainUnavailable, WrongChain) as error:
            return await self._check(start, None), error

    async def _check(self, start: int, chain: ChainReader | None) -> tuple[Verdict, dict[str, Any]] | None:
        """Fetch and check one receipt, and keep what came of it."""
        envelope = await self._fetch(start)
        if envelope is None:
            self._seen[start] = _Seen(NO_RECEIPT)
            return None
        verdict = await self._judge(start, envelope, chain)
        before = self._seen.get(start)
        is_first = before is None or before.revision < verdict.revision
        was_disputed = any(old.delivery_start == start for old in self.state.disputed)
        self._seen[start] = _Seen(verdict.revision, verdict.proved_by is ProvedBy.CHAIN)
        row = _row_of(envelope)
        if row is not None and row.delivery_start == start and self.rows.get(start) != row:
            self.rows[start] = row
            for listener in tuple(self._row_listeners):
                listener(start)
        self._note(verdict, counts=verdict.holds and (is_first or was_disputed))
        return verdict, envelope

    async def _fetch(self, start: int) -> dict[str, Any] | None:
        try:
            return await self._client.receipt(self._home.agent.identity.account, start)
        except CoordinatorRefused as refusal:
            if refusal.code != "not_found":
                raise
            return None

    async def _judge(self, start: int, envelope: Mapping[str, Any], chain: ChainReader | None) -> Verdict:
        findings = await self._hass.async_add_executor_job(check_receipt, envelope, start, self._known())
        body, transaction = envelope.get("body"), envelope.get("transaction")
        revision = body.get("revision") if isinstance(body, Mapping) else None
        verdict = Verdict(
            delivery_start=start,
            revision=revision if isinstance(revision, int) and 0 <= revision < REVISION_MAX else 0,
            proved_by=ProvedBy.OPERATOR,
            findings=findings,
            transaction=transaction[:TRANSACTION_MAX] if isinstance(transaction, str) else None,
        )
        return verdict if findings or chain is None else await self._prove(verdict, envelope, chain)

    async def _prove(self, verdict: Verdict, envelope: Mapping[str, Any], chain: ChainReader) -> Verdict:
        """Hold a receipt that is right in itself against the chain."""
        try:
            proof = await chain.async_check(envelope)
        except NotOnChain as error:
            return replace(verdict, chain_findings=(str(error),)) if self._is_late(verdict.delivery_start) else verdict
        except ValueError as error:
            return replace(verdict, findings=(f"the receipt is malformed: {error}",))
        proved_by = ProvedBy.OPERATOR if proof.findings else ProvedBy.CHAIN
        return replace(verdict, proved_by=proved_by, chain_findings=proof.findings, transaction=proof.transaction)

    def _known(self) -> Known:
        identity, info = self._home.agent.identity, self._home.agent.info
        return Known(
            account=identity.account,
            market=info.market,
            domain=info.domain,
            operator=info.operator_account,
            device_id=identity.device_id,
            interval_s=info.interval_s,
            registers=dict(self._registers),
            told_wh=self._told.by_digest(),
        )

    def _note(self, verdict: Verdict, *, counts: bool) -> None:
        others = [old for old in self.state.disputed if old.delivery_start != verdict.delivery_start]
        disputed = others if verdict.holds else [*others, verdict]
        if not verdict.holds:
            LOGGER.debug("The receipt of %s: %s", verdict.delivery_start, verdict.findings + verdict.chain_findings)
        self._set(
            verified=self.state.verified + (1 if counts else 0),
            disputed=tuple(disputed[-DISPUTED_KEPT:]),
            last=verdict,
        )

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    @callback
    def _tell(self, **changes: Any) -> None:
        """Take changes over, show what a person should know, and tell the listeners."""
        self._set(**changes)
        for kind, found in (
            (issues.SETTLEMENT_MISMATCH, _first(self.state.disputed, "findings")),
            (issues.CHAIN_DISAGREES, _first(self.state.disputed, "chain_findings")),
        ):
            words = None if found is None else {"interval": moment(found[0]), "reason": found[1]}
            issues.async_set(self._hass, self._entry, kind, words)
        for listener in tuple(self._listeners):
            listener()

    @callback
    def _settled(self, delivery_start: int) -> None:
        if not 0 <= delivery_start <= self._home.market_time():
            return  # no interval that could be settled
        self._asked.add(delivery_start)
        self._tried.discard(delivery_start)
        self._wake.set()

    @callback
    def _note_home(self) -> None:
        """Keep what the home has signed and what it was told, which it forgets itself; news of orders at once."""
        self._note_registers()
        if self._told.note(self._home.agent.orders):
            name = f"{DOMAIN} told orders {self._entry.entry_id}"
            self._saving = self._entry.async_create_task(self._hass, self._save(), name)

    def _note_registers(self) -> None:
        meter = self._home.agent.meter
        if meter.sequence and meter.signed_at not in self._registers:
            self._registers[meter.signed_at] = meter.consumption_wh, meter.production_wh
            for at in sorted(self._registers)[:-REGISTERS_KEPT]:
                del self._registers[at]

    def _forget_old(self) -> None:
        """Keep what is needed to notice news; corrections are remembered longer."""
        self._floor = max(self._floor, self._home.market_time() - self._kept_s)
        self.rows = {start: row for start, row in self.rows.items() if start >= self._floor}
        corrected = sorted(start for start, seen in self._seen.items() if start < self._floor and seen.revision > 0)
        kept = set(corrected[-PAGE:])
        self._seen = {start: seen for start, seen in self._seen.items() if start >= self._floor or start in kept}

    async def _save(self) -> None:
        state = self.state
        await self._store.async_save(
            {
                "floor": self._floor,
                "seen": {str(start): [seen.revision, seen.on_chain] for start, seen in self._seen.items()},
                "rows": [row.to_list() for row in self.rows.values()],
                "registers": {str(at): list(values) for at, values in self._registers.items()},
                "told": self._told.to_list(),
                "verified": state.verified,
                "disputed": [verdict.to_dict() for verdict in state.disputed],
                "last": None if state.last is None else state.last.to_dict(),
            }
        )

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what an earlier run has saved; what cannot be read is checked anew."""
        if not saved:
            return
        self._told = ToldOrders.from_list(saved.get("told"))
        try:
            rows = [SettledRow(*row) for row in saved["rows"]]
            self.state = VerificationState(
                verified=read_int(saved, "verified"),
                disputed=tuple(Verdict.from_dict(verdict) for verdict in saved["disputed"]),
                last=None if saved["last"] is None else Verdict.from_dict(saved["last"]),
            )
            self._seen = {int(start): _Seen(*seen) for start, seen in saved["seen"].items()}
            self._registers = {int(at): (values[0], values[1]) for at, values in saved["registers"].items()}
            self._floor = read_int(saved, "floor")
            self.rows = {row.delivery_start: row for row in rows}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            LOGGER.warning("What was known of receipts cannot be read (%r): they are checked anew", error)
            self.state, self._seen = VerificationState(), {}


async def async_forget(hass: HomeAssistant, entry_id: str) -> None:
    """Forget what was checked; for an entry that is removed."""
    await _store(hass, entry_id).async_remove()


def _store(hass: HomeAssistant, entry_id: str) -> DurableStore[dict[str, Any]]:
    return DurableStore(hass, f"{DOMAIN}.{entry_id}.receipts")


def _row_of(envelope: Mapping[str, Any] | None) -> SettledRow | None:
    """Return what a receipt comes to, ``None`` when there is none or it cannot be read."""
    try:
        return None if envelope is None else SettledRow.of_receipt(envelope)
    except ValueError:
        return None


def _first(disputed: Iterable[Verdict], name: str) -> tuple[int, str] | None:
    """Return interval and sentence of the first verdict that found something of this kind."""
    for verdict in disputed:
        findings: tuple[str, ...] = getattr(verdict, name)
        if findings:
            return verdict.delivery_start, findings[0]
    return None
