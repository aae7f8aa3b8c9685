"""What to make of the contract's refusals: which end by waiting, and whose fault the others are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..protocol.keccak import keccak256
from ..protocol.messages import Order
from ..protocol.typed_data import Domain
from .batch import ROW_LENGTH
from .deployment import Deployment

_WAITING_HELPS = {
    "TradingPaused(": "the guardian has paused the contract; what is decided waits until it ends the pause",
    "DeliveryNotOver(": "the chain's clock is behind: for it the delivery is not over; the settlement waits",
}
_SETTLER_ONLY = "SettlerOnly("
_NOT_THE_SETTLER = (
    "the contract takes settlements from another key than this coordinator's; they wait until its admin "
    "makes this key the settler (setSettler)"
)
_NAMED = re.compile(r"(?:Account\w+|RowSignatureInvalid|MandateNotCovering)\(account=(0x[0-9a-f]{40})[,)]")
_ROW = re.compile(r"Row\w+\(digest=0x([0-9a-f]{64})[,)]")


def reason_to_wait(error: str) -> str | None:
    """Return the sentence for a refusal that ends without another transaction of ours, ``None`` for any other."""
    if needs_operator(error):
        return _NOT_THE_SETTLER
    return next((text for name, text in _WAITING_HELPS.items() if error.startswith(name)), None)


def needs_operator(error: str) -> bool:
    """Tell whether the refusal is waited for but somebody has to act."""
    return error.startswith(_SETTLER_ONLY)


def refused_account(error: str, payload: Mapping[str, Any], deployment: Deployment) -> str | None:
    """Return the account that a refused ``settle_batch`` can be settled without.

    The contract names the account, or the digest of an order, which is then one of the batch's rows.
    ``None`` when it names neither: what is wrong is the batch as a whole (its order, its sums).
    """
    if (named := _NAMED.match(error)) is not None:
        return named[1]
    if (row := _ROW.match(error)) is None:
        return None
    rows = bytes.fromhex(str(payload["rows"]).removeprefix("0x"))
    wanted, start = bytes.fromhex(row[1]), int(payload["delivery_start"])
    for at in range(0, len(rows) - ROW_LENGTH + 1, ROW_LENGTH):
        packed = rows[at : at + ROW_LENGTH]
        if _order_digest(packed, start, deployment) == wanted:
            return "0x" + packed[:20].hex()
    return None


def _order_digest(row: bytes, delivery_start: int, deployment: Deployment) -> bytes:
    """Return the digest of a packed row's order, as the contract computes it."""
    domain = Domain(deployment.chain_id, deployment.addresses.ledger)
    limit = int.from_bytes(row[21:29], "big", signed=True)
    words = (
        Order.TYPE.type_hash,
        row[:20].rjust(32, b"\0"),
        keccak256(deployment.terms.market.encode()),
        delivery_start.to_bytes(32, "big"),
        row[20:21].rjust(32, b"\0"),
        row[29:35].rjust(32, b"\0"),
        limit.to_bytes(32, "big", signed=True),
        row[63:95],
    )
    return domain.digest(keccak256(b"".join(words)))
