"""The independent observer: reads the contract over its own connection and compares.

Three comparisons, and when each may be made:

1. *Batch*, at every ``BatchSettled``: hash of the rows, both roots and the sums against the batch
   that the ledger decided for that interval. The ledger decides before it sends: no race. The
   ledger decides no corrections: each one is reported, and booked as it stands on chain.
2. *Account*, for every account that a block touched: the contract's columns after block N against
   the observer's book at block N (see ``book``). Both speak of the same block, so settlements in
   flight do not matter.
3. *Columns*, for all accounts that are in no batch in flight: the ledger's own columns against the
   book. For the others they speak of the same moment only when every batch that the ledger decided
   is confirmed; then all accounts are compared. Deposits need no waiting: the ledger has
   booked those that the book holds, for the observer waits for it. As a chain that lost blocks
   looks wrong until the sender has repeated what was lost, a difference counts here when it has
   stood unchanged for ``grace_s`` seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .book import Book
from .compare import ColumnsCheck, compare_accounts, compare_batch, compare_correction, rows_of
from .contracts import read_balances
from .deployment import Deployment
from .files import read_json, write_json
from .logs import EnergyMoved, LedgerLog, read_logs
from .ports import (
    Agreement,
    BatchSettled,
    Deposited,
    Expectations,
    FeesCollected,
    IntervalCorrected,
    Mismatch,
    OnEvent,
    OnReport,
    Withdrawn,
)
from .rpc import NodeUnreachable, Reachability, Rpc, RpcError, quantity

_LOG = logging.getLogger(__name__)
_BLOCKS_PER_LOOK = 2_000
_BOOKS_KEPT = 16
_ABSENT_LOOKS = 3


@dataclass(frozen=True, slots=True)
class ObserverSettings:
    """Pauses, and how many blocks must stand on top of one before it counts."""

    poll_s: float = 0.5
    grace_s: float = 10.0
    columns_every_s: float = 30.0
    confirmations: int = 0


@dataclass(frozen=True, slots=True)
class ObserverStatus:
    """How far the observer is; ``agreed_block`` is the last block at which all columns agreed."""

    reachable: bool
    block_number: int
    agreed_block: int | None
    mismatches: int


class Observer:
    """Watches until its task is cancelled. ``rpc`` must be a connection of its own."""

    def __init__(
        self,
        rpc: Rpc,
        deployment: Deployment,
        expectations: Expectations,
        on_event: OnEvent,
        on_report: OnReport,
        file: Path,
        settings: ObserverSettings = ObserverSettings(),
    ) -> None:
        self._rpc = rpc
        self._deployment = deployment
        self._expectations = expectations
        self._on_event = on_event
        self._on_report = on_report
        self._file = file
        self._settings = settings
        self._node = Reachability("observer")
        self._book, self._owed = self._load()  # owed: accounts touched but not yet compared
        self._earlier: deque[Book] = deque(maxlen=_BOOKS_KEPT)
        self._absent_looks = 0
        self._columns = ColumnsCheck(settings.grace_s)
        self._columns_due = 0.0
        self._agreed_block: int | None = None
        self._reported: set[tuple[str, str | None, int | None]] = set()

    @property
    def status(self) -> ObserverStatus:
        """Tell how far the observer is."""
        return ObserverStatus(self._node.reachable, self._book.number, self._agreed_block, len(self._reported))

    async def run(self) -> None:
        """Watch until cancelled; a node that is gone is waited for."""
        while True:
            try:
                behind = await self._look()
            except (NodeUnreachable, RpcError) as error:
                await asyncio.sleep(self._node.lost(error))
                continue
            self._node.found()
            if not behind:
                await asyncio.sleep(self._settings.poll_s)

    async def _look(self) -> bool:
        """Read what is new and compare; return whether there is more to read."""
        wanted = [("eth_getBlockByNumber", (which, False)) for which in ("latest", hex(self._book.number))]
        head, at_book = await self._rpc.batch(wanted)
        if self._settings.confirmations:
            head = await self._block(max(0, _number(head) - self._settings.confirmations))
        if self._is_elsewhere(at_book):
            await self._step_back()
            return True
        last = min(_number(head), self._book.number + _BLOCKS_PER_LOOK)
        if last > self._book.number:
            await self._read_up_to(last, is_head=last == _number(head))
        if last < _number(head):
            return True
        await self._compare_columns()
        return False

    async def _block(self, number: int) -> Mapping[str, Any]:
        block = await self._rpc.call("eth_getBlockByNumber", hex(number), False)
        if not isinstance(block, dict):
            raise NodeUnreachable(f"{self._rpc} has no block {number} any more")
        return block

    def _is_elsewhere(self, at_book: object) -> bool:
        """Tell whether the block that the book ends with is not in the chain any more.

        A node behind a load balancer may only be late, so a missing block must be missing for a while.
        """
        if isinstance(at_book, dict):
            self._absent_looks = 0
            return self._book.hash is not None and at_book["hash"] != self._book.hash
        self._absent_looks += 1
        return self._absent_looks >= _ABSENT_LOOKS

    async def _read_up_to(self, last: int, *, is_head: bool) -> None:
        """Read blocks, tell their events, compare what they touched, and move on."""
        addresses = self._deployment.addresses
        block = await self._block(last)
        logs = await read_logs(self._rpc, addresses, self._book.number + 1, last)
        book, touched, mismatches = await self._booked(logs)
        book.number, book.hash = last, block["hash"]
        touched |= self._owed
        accounts = sorted(touched) if is_head else []
        chain = await read_balances(self._rpc, addresses, accounts, block["hash"])
        if (await self._block(last))["hash"] != block["hash"]:
            return  # the chain moved while it was read: look again
        for log in logs:
            if not isinstance(log, EnergyMoved):
                await self._on_event(log)
        mismatches += compare_accounts(book, chain)
        await self._report(mismatches)
        await self._keep(book, touched if not is_head else set(), changed=bool(logs))
        if logs and not mismatches:
            batches = sum(isinstance(log, BatchSettled) for log in logs)
            await self._on_report(Agreement(last, len(chain), batches, whole=False))

    async def _booked(self, logs: Sequence[LedgerLog]) -> tuple[Book, set[str], list[Mismatch]]:
        """Return the book with the logs in it, the accounts that they touched, and wrong batches."""
        book, touched, mismatches = self._book.copy(), set[str](), list[Mismatch]()
        for log in logs:
            match log:
                case BatchSettled():
                    expected = await self._expectations.batch(log.delivery_start)
                    if (wrong := compare_batch(log, expected)) is not None:
                        mismatches.append(wrong)
                    touched.update(book.settle(rows_of(expected)))
                case IntervalCorrected():
                    decided = await self._expectations.correction(log.delivery_start, log.revision)
                    if (wrong := compare_correction(log, decided)) is not None:
                        mismatches.append(wrong)
                    touched.update(book.correct(log.rows or ()))
                case EnergyMoved():
                    touched.update(book.move_energy(log))
                case Deposited() | Withdrawn() | FeesCollected():
                    touched.add(book.move_money(log))
                case _:
                    pass  # no column changes: who wants may act on it
        return book, touched, mismatches

    async def _compare_columns(self) -> None:
        """Compare the ledger's columns with the book, but for the accounts of batches in flight."""
        now = asyncio.get_running_loop().time()
        if now < self._columns_due:
            return
        standing = await self._expectations.standing()
        agree, mismatches = self._columns.compare(self._book, standing, now)
        await self._report(mismatches)
        if agree and not standing.unconfirmed:
            self._columns_due = now + self._settings.columns_every_s
            if self._agreed_block != self._book.number:
                self._agreed_block = self._book.number
                await self._on_report(
                    Agreement(self._book.number, len(standing.balances), self._book.batches, whole=True)
                )

    async def _report(self, mismatches: Sequence[Mismatch]) -> None:
        """Tell every mismatch once."""
        for mismatch in mismatches:
            subject = mismatch.code, mismatch.account, mismatch.delivery_start
            if subject not in self._reported:
                self._reported.add(subject)
                _LOG.error("chain and ledger disagree: %s", mismatch.text)
                await self._on_report(mismatch)

    async def _step_back(self) -> None:
        """Return to the last book whose block the chain still has, else to the ledger's beginning."""
        left, there = self._book.number, Book(self._deployment.block_number)
        for book in reversed(self._earlier):
            found = await self._rpc.call("eth_getBlockByNumber", hex(book.number), False)
            if isinstance(found, dict) and found["hash"] == book.hash:
                there = book
                break
        self._earlier = deque((b for b in self._earlier if b.number < there.number), maxlen=_BOOKS_KEPT)
        self._book, self._agreed_block = there, None
        _LOG.warning("the chain changed before block %d; reading it again from %d", left, self._book.number)
        self._owed, self._absent_looks, self._columns_due = set(), 0, 0.0

    async def _keep(self, book: Book, owed: set[str], *, changed: bool) -> None:
        """Move on to the book; store it when it says something new."""
        if changed and not self._owed and self._book.hash is not None:
            self._earlier.append(self._book)
        self._book, self._owed = book, owed
        if changed:
            self._columns_due = 0.0
            values = {"ledger": self._deployment.addresses.ledger, "owed": sorted(owed), **book.to_json()}
            await asyncio.to_thread(write_json, self._file, values)

    def _load(self) -> tuple[Book, set[str]]:
        """Return what was stored, or an empty book: then the chain is read from the ledger's beginning."""
        values = read_json(self._file)
        try:
            if values["ledger"] == self._deployment.addresses.ledger:
                return Book.from_json(values), set(values["owed"])
        except KeyError, TypeError, ValueError:
            pass
        return Book(self._deployment.block_number), set()


def _number(block: object) -> int:
    if not isinstance(block, dict):
        raise NodeUnreachable("the node does not tell its latest block")
    return quantity(block["number"])
