"""Receipts: what each account is told about an interval, and the roots that prove it.

A body is plain JSON (integers, text, booleans), so that it can be recomputed anywhere; its canonical
bytes are the leaf. ``protocol.receipts.verify_receipt`` is the other side of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol.merkle import merkle_proofs, merkle_root
from ..protocol.messages import Reading, Side, device_text
from ..protocol.receipts import RECEIPT_VERSION, counterfactual, price_components, reading_leaf, receipt_leaf
from ..protocol.typed_data import Domain
from .deliver import AccountEnergy, SettledShare, traders
from .rows import Row, SignedOrder


@dataclass(frozen=True, slots=True)
class StatementTerms:
    """What all receipts of an interval share."""

    market: str
    domain: Domain
    delivery_start: int
    interval_s: int
    rule: str
    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    revision: int = 0
    compensation: bool = False


@dataclass(frozen=True, slots=True)
class SignedReading:
    """A reading with its meter's signature, 64 bytes ``r || s``."""

    reading: Reading
    signature: bytes


@dataclass(frozen=True, slots=True)
class MeterEvidence:
    """The signed registers around an interval: at its boundaries, or nearest beyond them."""

    account: str
    public_key: bytes
    opening: SignedReading
    closing: SignedReading


@dataclass(frozen=True, slots=True)
class Settlement:
    """Everything that was decided about one interval."""

    shares: Sequence[SettledShare]
    rows: Sequence[Row]
    energies: Sequence[AccountEnergy]
    orders: Mapping[bytes, SignedOrder]
    evidence: Sequence[MeterEvidence]


@dataclass(frozen=True, slots=True)
class Statement:
    """One account's receipt and the proof that it is in the batch."""

    account: str
    body: dict[str, Any]
    proof: tuple[bytes, ...]


def statements(terms: StatementTerms, settlement: Settlement) -> tuple[bytes, tuple[Statement, ...]]:
    """Return the receipts' root and every trader's receipt, by rising account."""
    bodies = [(part.energy.account, _body(terms, settlement.orders, part)) for part in _by_account(terms, settlement)]
    leaves = [receipt_leaf(body) for _, body in bodies]
    proofs = merkle_proofs(leaves)
    return merkle_root(leaves), tuple(
        Statement(account, body, tuple(proof)) for (account, body), proof in zip(bodies, proofs, strict=True)
    )


def readings_root(evidence: Iterable[MeterEvidence], domain: Domain) -> bytes:
    """Return the root over the readings used and their signatures: opening, then closing, by rising device id."""
    return merkle_root(_reading_leaves(_ordered(evidence), domain))


def _ordered(evidence: Iterable[MeterEvidence]) -> list[MeterEvidence]:
    return sorted(evidence, key=lambda meter: meter.opening.reading.device_id)


def _reading_leaves(ordered: Iterable[MeterEvidence], domain: Domain) -> list[bytes]:
    ends = [end for meter in ordered for end in (meter.opening, meter.closing)]
    return [reading_leaf(end.reading.digest(domain), end.signature) for end in ends]


@dataclass(frozen=True, slots=True)
class _Part:
    """One account's part of a settlement."""

    energy: AccountEnergy
    trades: list[dict[str, Any]]
    rows: list[Row]
    meters: list[dict[str, Any]]

    def settled_wh(self, side: Side) -> int:
        """Return what was settled on one side."""
        return sum(trade["settled_wh"] for trade in self.trades if trade["side"] == side)

    def components(self) -> dict[str, int]:
        """Return the parts of what the account receives (what it pays is negative), and their sum."""
        return price_components(self.trades)


def _by_account(terms: StatementTerms, settlement: Settlement) -> list[_Part]:
    """Deal the settlement out to its traders, by rising account."""
    accounts = traders(share.trade for share in settlement.shares)
    energies = {energy.account: energy for energy in settlement.energies}
    parts = {account: _Part(energies[account], [], [], []) for account in sorted(accounts)}
    for share in settlement.shares:
        parts[share.trade.buyer].trades.append(_trade(share, Side.BUY))
        parts[share.trade.seller].trades.append(_trade(share, Side.SELL))
    for row in settlement.rows:
        parts[row.account].rows.append(row)
    ordered = _ordered(settlement.evidence)
    proofs = merkle_proofs(_reading_leaves(ordered, terms.domain))
    for place, meter in enumerate(ordered):
        if meter.account in parts:
            parts[meter.account].meters.append(_meter(meter, *proofs[2 * place : 2 * place + 2]))
    return list(parts.values())


def _body(terms: StatementTerms, orders: Mapping[bytes, SignedOrder], part: _Part) -> dict[str, Any]:
    energy, components = part.energy, part.components()
    return {
        "version": RECEIPT_VERSION,
        "revision": terms.revision,
        "market": terms.market,
        "chain_id": terms.domain.chain_id,
        "ledger": terms.domain.ledger,
        "account": energy.account,
        "delivery_start": terms.delivery_start,
        "interval_s": terms.interval_s,
        "rule": terms.rule,
        "compensation": terms.compensation,
        "meters": part.meters,
        "verified": {
            "consumption_wh": energy.consumption_wh,
            "production_wh": energy.production_wh,
            "estimated": energy.estimated,
        },
        "trades": part.trades,
        "rows": [_row(row, orders[row.order]) for row in part.rows],
        "components": components,
        "counterfactual": counterfactual(
            consumption_wh=energy.consumption_wh,
            production_wh=energy.production_wh,
            bought_wh=part.settled_wh(Side.BUY),
            sold_wh=part.settled_wh(Side.SELL),
            total_micro=components["total_micro"],
            supplier_micro_per_kwh=terms.supplier_micro_per_kwh,
            feed_in_micro_per_kwh=terms.feed_in_micro_per_kwh,
        ),
    }


def _trade(share: SettledShare, side: Side) -> dict[str, Any]:
    trade = share.trade
    return {
        "trade_id": trade.trade_id,
        "side": side.value,
        "order": "0x" + (trade.buy if side is Side.BUY else trade.sell).hex(),
        "energy_wh": trade.energy_wh,
        "price_micro_per_kwh": trade.price_micro_per_kwh,
        "grid_fee_micro_per_kwh": trade.grid_fee_micro_per_kwh,
        "community_fee_micro_per_kwh": trade.community_fee_micro_per_kwh,
        "settled_wh": share.settled_wh,
        "short_wh": share.short_wh,
        "unused_wh": share.unused_wh,
        "value_micro": share.value_micro,
        "grid_fee_micro": share.grid_fee_micro,
        "community_fee_micro": share.community_fee_micro,
        "shortfall_micro": share.shortfall_micro,
        "under_use_micro": share.under_use_micro,
        "void": share.void,
    }


def _row(row: Row, signed: SignedOrder) -> dict[str, Any]:
    return {
        "order": signed.order.to_wire(),
        "signature": "0x" + signed.signature.hex(),
        "digest": "0x" + row.order.hex(),
        "executed_wh": row.executed_wh,
        "short_wh": row.short_wh,
        "metered_wh": row.metered_wh,
        "value_micro": row.value_micro,
        "trades": row.trades,
    }


def _meter(meter: MeterEvidence, opening_proof: list[bytes], closing_proof: list[bytes]) -> dict[str, Any]:
    return {
        "device_id": device_text(meter.opening.reading.device_id),
        "public_key": "0x" + meter.public_key.hex(),
        "opening": _signed(meter.opening, opening_proof),
        "closing": _signed(meter.closing, closing_proof),
    }


def _signed(signed: SignedReading, proof: list[bytes]) -> dict[str, Any]:
    return {
        "reading": signed.reading.to_wire(),
        "signature": "0x" + signed.signature.hex(),
        "proof": ["0x" + step.hex() for step in proof],
    }
