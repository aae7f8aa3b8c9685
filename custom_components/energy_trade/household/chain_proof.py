"""A receipt held against what the ledger contract said and executed: the rows, roots and sender, read by this home.

Pure: what a node answered comes in as data. The layouts are those of ``contracts/`` (``EnergyLedger``): a batch is
packed in rows of 159 bytes, a correction is an array of seven words each, hashed as ABI-encoded.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol.chain_messages import SettlementHeader
from ..protocol.keccak import keccak256
from ..protocol.messages import Order, Side
from ..protocol.wire import read_bytes, read_int, read_mapping, read_objects, read_text

ROW_LENGTH = 159
_HEAD = struct.Struct(">20sBq")
_TAIL = struct.Struct(">qH32s64s")
_WORD = 32
_CORRECTED_WORDS = 7


def selector(signature: str) -> bytes:
    """Return the four bytes that choose a function."""
    return keccak256(signature.encode())[:4]


def topic(signature: str) -> str:
    """Return an event's first topic."""
    return "0x" + keccak256(signature.encode()).hex()


MARKET_HASH = selector("marketHash()")
SETTLE_BATCH = selector("settleBatch(uint64,bytes32,bytes32,bytes)")
CORRECT_INTERVAL = selector(
    "correctInterval(uint64,uint8,bytes32,bytes32,(address,int64,int64,uint48,uint48,bytes32,bytes32)[])"
)
BATCH_SETTLED = topic("BatchSettled(uint64,bytes32,bytes32,bytes32,uint256)")
INTERVAL_CORRECTED = topic("IntervalCorrected(uint64,uint256,bytes32,bytes32,bytes32,uint256,uint256)")


@dataclass(frozen=True, slots=True)
class Settled:
    """A ``BatchSettled`` (``revision`` 0) or ``IntervalCorrected`` log; ``content`` is the hash of its rows."""

    delivery_start: int
    revision: int
    content: bytes
    readings_root: bytes
    receipts_root: bytes
    transaction: str
    block_number: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction: who sent it to whom, with what call data."""

    sender: str
    recipient: str
    data: bytes


def read_log(log: Mapping[str, Any], ledger: str) -> Settled | None:
    """Read a log of the ledger; ``None``: it is another's or about something else. ``ValueError``: it is garbage."""
    if read_text(log, "address").lower() != ledger or log.get("removed") is True:
        return None
    topics = [str(value).lower() for value in log.get("topics") or ()]
    if len(topics) != 3 or topics[0] not in (BATCH_SETTLED, INTERVAL_CORRECTED):
        return None
    words = _words(hex_bytes(log.get("data")))
    place = read_text(log, "transactionHash").lower(), int(read_text(log, "blockNumber"), 16)
    start = int(topics[1], 16)
    if topics[0] == BATCH_SETTLED:
        return Settled(start, 0, hex_bytes(topics[2]), words[0], words[1], *place)
    return Settled(start, int(topics[2], 16), words[0], words[1], words[2], *place)


def compare(envelope: Mapping[str, Any], logs: Sequence[Settled], sent: Mapping[str, Sent]) -> list[str]:
    """Return where the chain says otherwise than the receipt, a sentence each; ``logs`` must hold the batch.

    ``sent`` has the transactions of batch and corrections. ``ValueError``: the receipt is malformed.
    """
    body = read_mapping(envelope, "body")
    header = SettlementHeader.from_wire(read_mapping(envelope, "settlement"))
    signer = read_text(read_mapping(envelope, "settlement"), "signer").lower()
    batch = [log for log in logs if log.revision == 0][-1]
    made = sorted((log for log in logs if 0 < log.revision <= header.revision), key=lambda log: log.revision)
    last = made[-1] if made else batch
    findings = list(_compare_header(header, last))
    if sent[last.transaction].sender != signer:
        findings.append(f"the settlement is signed by {signer}, but {sent[last.transaction].sender} sent it")
    return findings + list(_compare_rows(body, batch, made, sent))


def _compare_header(header: SettlementHeader, last: Settled) -> Iterator[str]:
    """Compare what the settler signed with what the contract has said last."""
    if last.revision != header.revision:
        yield f"the contract has revision {last.revision} of this interval, the receipt is of {header.revision}"
    if last.receipts_root != header.receipts_root:
        yield "the contract has another receipts root for this interval"
    if last.readings_root != header.readings_root:
        yield "the contract has another readings root for this interval"
    if last.revision == 0 and last.content != header.batch_hash:
        yield "the contract has settled other rows than were signed for"


def _compare_rows(
    body: Mapping[str, Any], batch: Settled, made: Sequence[Settled], sent: Mapping[str, Sent]
) -> Iterator[str]:
    """Compare the account's rows: one by one with a batch, in sum when corrections have changed it."""
    account = hex_bytes(read_text(body, "account"))
    executed = _batch_rows(batch, sent[batch.transaction])
    if executed is None:
        yield f"the rows in transaction {batch.transaction} are not those that the contract settled"
        return
    here = [row for row in executed if row[:20] == account]
    own = list(_packed(body))
    if not made:
        if Counter(own) != Counter(here):
            yield "the rows that the contract executed for this account are not the receipt's"
        return
    money_micro, energy_wh = _columns(here)
    for log in made:
        changes = _corrected(log, sent[log.transaction])
        if changes is None:
            yield f"the correction's rows in transaction {log.transaction} cannot be read"
            return
        for changed, energy, money in changes:
            if changed == account:
                money_micro, energy_wh = money_micro + money, energy_wh + energy
    stated = _columns(own)
    if (money_micro, energy_wh) != stated:
        yield (
            f"batch and corrections came to {money_micro} micro and {energy_wh} Wh on chain, the receipt's rows to"
            f" {stated[0]} and {stated[1]}"
        )


def _packed(body: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the receipt's rows as the contract reads them."""
    account = hex_bytes(read_text(body, "account"))
    for row in read_objects(body, "rows"):
        order = Order.from_wire(read_mapping(row, "order"))
        try:
            amounts = (order.energy_wh, *(read_int(row, f"{name}_wh") for name in ("executed", "short", "metered")))
            yield b"".join(
                (
                    _HEAD.pack(account, order.side.code, order.signed_limit),
                    *(amount.to_bytes(6, "big") for amount in amounts),
                    _TAIL.pack(
                        read_int(row, "value_micro"),
                        read_int(row, "trades"),
                        order.terms_hash(),
                        read_bytes(row, "signature", 64),
                    ),
                )
            )
        except (struct.error, OverflowError) as error:
            raise ValueError(f"a row does not fit the contract: {error}") from error


def _batch_rows(batch: Settled, sent: Sent) -> list[bytes] | None:
    """Return the rows in a batch's call data, ``None`` when they are not those that were settled."""
    if sent.data[:4] != SETTLE_BATCH:
        return None
    words = sent.data[4:]
    at = int.from_bytes(words[3 * _WORD : 4 * _WORD], "big")
    length = int.from_bytes(words[at : at + _WORD], "big")
    rows = words[at + _WORD : at + _WORD + length]
    if keccak256(rows) != batch.content or len(rows) % ROW_LENGTH:
        return None
    return [rows[start : start + ROW_LENGTH] for start in range(0, len(rows), ROW_LENGTH)]


def _corrected(log: Settled, sent: Sent) -> list[tuple[bytes, int, int]] | None:
    """Return account, energy (Wh) and money (1e-6) of each row of a correction, ``None`` when it has other rows."""
    if sent.data[:4] != CORRECT_INTERVAL:
        return None
    words = sent.data[4:]
    at = int.from_bytes(words[4 * _WORD : 5 * _WORD], "big")
    count = int.from_bytes(words[at : at + _WORD], "big")
    array = words[at : at + _WORD * (1 + count * _CORRECTED_WORDS)]
    if keccak256(_WORD.to_bytes(_WORD, "big") + array) != log.content:
        return None
    cells = _words(array[_WORD:])
    rows = [cells[place : place + _CORRECTED_WORDS] for place in range(0, len(cells), _CORRECTED_WORDS)]
    return [(row[0][12:], _signed(row[1]), _signed(row[2])) for row in rows]


def _columns(rows: Iterable[bytes]) -> tuple[int, int]:
    """Return what packed rows add to an account's money and energy columns."""
    money_micro = energy_wh = 0
    for row in rows:
        executed_wh, metered_wh = (int.from_bytes(row[at : at + 6], "big") for at in (35, 47))
        (value_micro,) = struct.unpack_from(">q", row, 53)
        sign = 1 if row[20] == Side.SELL.code else -1
        money_micro += sign * value_micro
        energy_wh += sign * (metered_wh - executed_wh)
    return money_micro, energy_wh


def _signed(word: bytes) -> int:
    return int.from_bytes(word, "big", signed=True)


def _words(data: bytes) -> list[bytes]:
    if len(data) % _WORD:
        raise ValueError(f"{len(data)} bytes are not a number of words")
    return [data[at : at + _WORD] for at in range(0, len(data), _WORD)]


def hex_bytes(value: object) -> bytes:
    """Read ``0x`` hex; ``ValueError`` when it is none."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"expected 0x and hex digits, was {value!r:.60}")
    return bytes.fromhex(value[2:])
