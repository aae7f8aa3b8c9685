"""What a command makes happen: the market's judgement, and settlement where it is settlement's.

Also the effects that leave through the outbox, and the receipts, both following from the events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..market.balancing import node_load_w
from ..market.commands import Command, ProposeCorrection, RegisterMeter, ResettleInterval, Withdraw
from ..market.decide import Decision
from ..market.decide import decide as decide_market
from ..market.events import (
    BalancingAnswered,
    CorrectionAgreed,
    CorrectionProposed,
    CorrectionRow,
    Event,
    MemberAdmitted,
    MeterRegistered,
    Rejected,
    Settled,
    WithdrawalAccepted,
)
from ..market.state import MarketState
from ..protocol.chain_messages import SettlementHeader
from ..protocol.keccak import keccak256
from ..protocol.messages import ZERO_HASH, device_text
from ..protocol.typed_data import Domain
from ..settlement.rows import BatchTotals, SignedOrder, batch_totals, pack_rows
from ..settlement.statements import MeterEvidence, Settlement, Statement, StatementTerms, statements
from .evidence import Evidence
from .log import Terms
from .records import LedgerConfig
from .settling import Settling, account_energies, decide_settlement, is_off_chain, row_of, share_of, trades_to_settle


@dataclass(frozen=True, slots=True)
class NewEffect:
    """Something that must happen on chain once."""

    key: str
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One settled interval as the contract and the members get it."""

    header: SettlementHeader
    rows: bytes
    totals: BatchTotals
    receipts: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class BatchDraft:
    """All that a batch is made from, taken from the state before the interval leaves it."""

    terms: StatementTerms
    settlement: Settlement
    readings_root: bytes

    def finish(self) -> Batch:
        """Write the receipts, hash them and pack the rows (CPU for some milliseconds per 10 homes)."""
        receipts_root, receipts = statements(self.terms, self.settlement)
        rows = self.settlement.rows
        packed, totals = pack_rows(rows, self.settlement.orders), batch_totals(rows)
        header = SettlementHeader(
            self.terms.delivery_start, self.terms.revision, keccak256(packed), self.readings_root, receipts_root
        )
        return Batch(header, packed, totals, receipts)


def decide(state: MarketState, command: Command, at: int) -> Decision:
    """Return the command's events or its refusal; look, never change."""
    if isinstance(command, Settling):
        return decide_settlement(state, command, at)
    return decide_market(state, command, at)


def settlement_command(
    state: MarketState, delivery_start: int, evidence: Evidence, fee_account: str, terms: Terms
) -> Settling | None:
    """Return what settles an interval on this evidence, settles it anew, or proposes its correction.

    ``None`` when it is settled so already, or is nothing to be settled.
    """
    interval = state.intervals.get(delivery_start)
    if interval is None or interval.settlement is None:
        return evidence.command(delivery_start)
    if is_off_chain(interval):
        again = ResettleInterval(delivery_start, evidence.energies, evidence.readings_root)
        return None if isinstance(decide_settlement(state, again, 0), Rejected) else again
    wanted = ProposeCorrection(delivery_start, evidence.energies, evidence.readings_root, ZERO_HASH, fee_account)
    decision = decide_settlement(state, wanted, 0)
    if isinstance(decision, Rejected):
        return wanted if decision.code == "correction_open" else None
    (event, *_) = decision
    assert isinstance(event, CorrectionProposed)
    draft = draft_batch(state, event, evidence.meters, Domain(terms.chain_id, terms.ledger))
    return replace(wanted, receipts_root=statements(draft.terms, draft.settlement)[0])


def draft_batch(state: MarketState, event: Settled, meters: Iterable[MeterEvidence], domain: Domain) -> BatchDraft:
    """Collect what receipts and rows of a settled interval are made from."""
    interval, rules = state.intervals[event.delivery_start], state.rules
    orders = {d: SignedOrder(state.orders[d].order, state.orders[d].signature) for d in interval.orders}
    promised = {trade.trade_id: trade for trade in trades_to_settle(state.orders, interval.trades)}
    terms = StatementTerms(
        market=rules.market,
        domain=domain,
        delivery_start=event.delivery_start,
        interval_s=rules.interval_s,
        rule=rules.rule.name,
        supplier_micro_per_kwh=rules.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=rules.feed_in_micro_per_kwh,
        revision=event.revision,
        compensation=rules.compensation,
    )
    settlement = Settlement(
        shares=[share_of(settled, promised[settled.trade_id]) for settled in event.trades],
        rows=[row_of(row, orders[row.order]) for row in event.rows],
        energies=account_energies(event.energies),
        orders=orders,
        evidence=list(meters),
    )
    return BatchDraft(terms, settlement, event.readings_root)


def effects_of(command: Command, events: Iterable[Event], config: LedgerConfig) -> list[NewEffect]:
    """Return the effects of members, meters, withdrawals, answers to the grid and corrections.

    A batch's are ``batch_effects``.
    """
    effects = []
    for event in events:
        match event:
            case MemberAdmitted() if config.welcome_credit_micro > 0:
                payload = {"account": event.account, "money_micro": config.welcome_credit_micro}
                effects.append(NewEffect(f"welcome:{event.account}", "deposit_welcome", payload))
            case MeterRegistered():
                assert isinstance(command, RegisterMeter)
                effects.append(_register_meter(command))
            case WithdrawalAccepted():
                assert isinstance(command, Withdraw)
                payload = {
                    "number": event.number,
                    "withdrawal": event.withdrawal.to_wire(),
                    "signature": "0x" + command.signature.hex(),
                }
                effects.append(NewEffect(f"withdrawal:{event.number}", "relay_withdrawal", payload))
            case BalancingAnswered():
                payload = {"node_id": event.node_id, "request_id": event.request_id, "relieved_w": event.relieved_w}
                key = f"balancing:{event.node_id}:{event.request_id}"
                effects.append(NewEffect(key, "answer_balancing", payload))
            case CorrectionAgreed():
                effects.append(_correct_interval(event))
            case _:
                pass
    return effects


def correction_key(delivery_start: int, revision: int) -> str:
    """Return the outbox key of a correction."""
    return f"correct:{delivery_start}:{revision}"


def settlement_key(delivery_start: int, revision: int) -> str:
    """Return the outbox key of a batch."""
    return f"settle:{delivery_start}:{revision}"


def batch_effects(batch: Batch, event: Settled, interval_s: int, config: LedgerConfig) -> list[NewEffect]:
    """Return the settling of a batch and, the first time, the grid's update; none when nothing was settled."""
    if not batch.rows:
        return []
    settle = {
        "delivery_start": event.delivery_start,
        "readings_root": "0x" + batch.header.readings_root.hex(),
        "receipts_root": "0x" + batch.header.receipts_root.hex(),
        "rows": "0x" + batch.rows.hex(),
    }
    effect = NewEffect(settlement_key(event.delivery_start, event.revision), "settle_batch", settle)
    if event.revision:
        return [effect]
    grid = {
        "node_id": config.grid_node_id,
        "load_w": node_load_w(event.energies, interval_s),
        "capacity_w": config.grid_capacity_w,
    }
    return [effect, NewEffect(f"grid:{event.delivery_start}", "update_grid", grid)]


def _correct_interval(event: CorrectionAgreed) -> NewEffect:
    payload = {
        "delivery_start": event.delivery_start,
        "revision": event.revision,
        "readings_root": "0x" + event.readings_root.hex(),
        "receipts_root": "0x" + event.receipts_root.hex(),
        "rows": [_correction_row(row) for row in event.rows],
    }
    return NewEffect(correction_key(event.delivery_start, event.revision), "correct_interval", payload)


def _correction_row(row: CorrectionRow) -> dict[str, Any]:
    """Return a row as the contract takes it; who only gains has signed nothing, and needs not."""
    return {
        "account": row.account,
        "energy_wh": row.energy_wh,
        "money_micro": row.money_micro,
        "minted_wh": row.minted_wh,
        "burned_wh": row.burned_wh,
        "signature": "0x" + (row.signature or bytes(64)).hex(),
    }


def _register_meter(command: RegisterMeter) -> NewEffect:
    device = device_text(command.device_id)
    payload = {
        "device_id": device,
        "account": command.account,
        "public_key": "0x" + command.public_key.hex(),
        "import_limit_w": command.import_limit_w,
        "export_limit_w": command.export_limit_w,
        "meter_signature": "0x" + command.meter_signature.hex(),
        "account_signature": "0x" + command.account_signature.hex(),
    }
    return NewEffect(f"meter:{device}", "register_meter", payload)
