"""What the observer compares, without any input or output; see ``observer`` for the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .batch import Row, batch_hash, totals, unpack
from .book import Book
from .ports import Balance, BatchSettled, CorrectedAccount, ExpectedBatch, IntervalCorrected, Mismatch, Standing

_NOTHING = Balance(0, 0)


def compare_batch(event: BatchSettled, expected: ExpectedBatch | None) -> Mismatch | None:
    """Return how the batch on chain differs from the one that the ledger decided."""
    if expected is None:
        return _batch_mismatch(event, "batch_unknown", "the ledger decided no such settlement")
    if event.batch_hash != batch_hash(expected.rows):
        return _batch_mismatch(event, "batch_rows", "its rows are not the ledger's")
    roots = expected.readings_root, expected.receipts_root
    if (event.readings_root, event.receipts_root) != roots:
        return _batch_mismatch(event, "batch_roots", "its readings' or receipts' root is not the ledger's")
    if event.totals != totals(unpack(expected.rows)):
        counted = f"the contract counted {event.totals}, which is not what the rows say"
        return _batch_mismatch(event, "batch_sums", counted)
    return None


def compare_correction(event: IntervalCorrected, expected: Sequence[CorrectedAccount] | None) -> Mismatch | None:
    """Return how a correction on chain differs from the one that the ledger agreed on with who loses by it."""
    text = f"revision {event.revision} of {event.delivery_start} in transaction {event.transaction}: "
    if event.rows is None:
        text += "its rows cannot be read from the call data"
        return Mismatch("correction_unreadable", text, event.block_number, delivery_start=event.delivery_start)
    accounts = ", ".join(row.account for row in event.rows)
    if expected is None:
        text += f"the ledger decided no such correction (of {accounts})"
        return Mismatch("correction_unknown", text, event.block_number, delivery_start=event.delivery_start)
    if tuple(expected) != event.rows:
        text += f"its rows (of {accounts}) are not the ledger's"
        return Mismatch("correction_rows", text, event.block_number, delivery_start=event.delivery_start)
    return None


def rows_of(expected: ExpectedBatch | None) -> tuple[Row, ...]:
    """Return the rows that the ledger decided, none when it decided none."""
    return unpack(expected.rows) if expected is not None and expected.rows else ()


def compare_accounts(book: Book, chain: Mapping[str, Balance]) -> Iterator[Mismatch]:
    """Yield the accounts whose columns in the contract are not what the book says."""
    for account, found in chain.items():
        if (expected := book.expected(account)) != found:
            text = f"account {account} should hold {_shown(expected)}, the contract says {_shown(found)}"
            yield Mismatch("account_balance", text, book.number, account=account)


class ColumnsCheck:
    """Compares the ledger's columns with the book; a difference counts when it stands for a while."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._differing: dict[str, tuple[str, float]] = {}

    def compare(self, book: Book, standing: Standing, now: float) -> tuple[bool, list[Mismatch]]:
        """Return whether all agree, and the differences that have stood unchanged for the grace time."""
        texts = dict(_column_differences(book, standing))
        known = self._differing
        self._differing = {
            subject: known[subject] if known.get(subject, ("", 0.0))[0] == text else (text, now)
            for subject, text in texts.items()
        }
        stood = [s for s, (_, since) in self._differing.items() if now - since >= self._grace_s]
        return not texts, [_columns_mismatch(book, subject, texts[subject]) for subject in stood]


_BATCHES = "batches"


def _column_differences(book: Book, standing: Standing) -> Iterator[tuple[str, str]]:
    if not standing.confirmed <= book.batches <= standing.confirmed + standing.unconfirmed:
        yield _BATCHES, f"the ledger has confirmed {standing.confirmed} settlements, the chain has {book.batches}"
        return
    for account in {*standing.balances, *book.market} - standing.in_flight:
        ledger, market = standing.balances.get(account, _NOTHING), book.market.get(account, _NOTHING)
        if ledger != market:
            yield account, f"account {account} holds {_shown(ledger)} in the ledger, {_shown(market)} by the chain"


def _columns_mismatch(book: Book, subject: str, text: str) -> Mismatch:
    if subject == _BATCHES:
        return Mismatch("batches_missing", text, book.number)
    return Mismatch("ledger_columns", text, book.number, account=subject)


def _batch_mismatch(event: BatchSettled, code: str, why: str) -> Mismatch:
    text = f"settlement of {event.delivery_start} in transaction {event.transaction}: {why}"
    return Mismatch(code, text, event.block_number, delivery_start=event.delivery_start)


def _shown(balance: Balance) -> str:
    return f"{balance.money_micro} micro and {balance.energy_wh} Wh"
