"""What a command makes happen: the market's judgement, and settlement where it is settlement's.

Also the effects that leave through the outbox, and the receipts, both following from the events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..market.balancing import answer_requests, node_load_w
from ..market.commands import (
    Command,
    ExcludeFromSettlement,
    MeteredEnergy,
    RegisterMeter,
    SettleInterval,
    Withdraw,
)
from ..market.decide import Decision
from ..market.decide import decide as decide_market
from ..market.events import (
    BalancingAnswered,
    Event,
    IntervalResettled,
    IntervalSettled,
    MemberAdmitted,
    MeterRegistered,
    Rejected,
    Settled,
    SettledTrade,
    SettlementRow,
    Traded,
    WithdrawalAccepted,
)
from ..market.state import IntervalStage, MarketState
from ..protocol.chain_messages import SettlementHeader
from ..protocol.keccak import keccak256
from ..protocol.messages import device_text
from ..protocol.typed_data import Domain
from ..settlement.deliver import AccountEnergy, MissingEnergy, SettledShare, TradeToSettle, deliver
from ..settlement.rows import BatchTotals, Row, RowLimit, SignedOrder, batch_totals, build_rows, pack_rows
from ..settlement.statements import MeterEvidence, Settlement, Statement, StatementTerms, statements
from .records import LedgerConfig


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
    if isinstance(command, SettleInterval):
        return _settle(state, command, at)
    if isinstance(command, ExcludeFromSettlement):
        return _exclude(state, command)
    return decide_market(state, command, at)


def draft_batch(state: MarketState, event: Settled, meters: Iterable[MeterEvidence], domain: Domain) -> BatchDraft:
    """Collect what receipts and rows of a settled interval are made from."""
    interval, rules = state.intervals[event.delivery_start], state.rules
    orders = {d: SignedOrder(state.orders[d].order, state.orders[d].signature) for d in interval.orders}
    promised = {trade.trade_id: trade for trade in _to_settle(state, interval.trades)}
    terms = StatementTerms(
        market=rules.market,
        domain=domain,
        delivery_start=event.delivery_start,
        interval_s=rules.interval_s,
        rule=rules.rule.name,
        supplier_micro_per_kwh=rules.supplier_micro_per_kwh,
        feed_in_micro_per_kwh=rules.feed_in_micro_per_kwh,
        revision=event.revision,
    )
    settlement = Settlement(
        shares=[SettledShare(promised[t.trade_id], t.settled_wh, t.value_micro) for t in event.trades],
        rows=[_row_of(row, orders[row.order]) for row in event.rows],
        energies=_energies(event.energies),
        orders=orders,
        evidence=list(meters),
    )
    return BatchDraft(terms, settlement, event.readings_root)


def effects_of(command: Command, events: Iterable[Event], config: LedgerConfig) -> list[NewEffect]:
    """Return the effects of members, meters, withdrawals and answers to the grid; a batch's are ``batch_effects``."""
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
            case _:
                pass
    return effects


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


def _settle(state: MarketState, command: SettleInterval, at: int) -> Decision:
    interval = state.intervals.get(command.delivery_start)
    if interval is not None and interval.stage in (IntervalStage.SETTLED, IntervalStage.CONFIRMED):
        return Rejected("already_settled", "The interval is settled already.")
    if interval is None or interval.stage is not IntervalStage.GATE_CLOSED:
        return Rejected("not_settleable", "Only an interval with trades and a closed gate can be settled.")
    end = command.delivery_start + state.rules.interval_s
    if at < end:
        return Rejected("not_settleable", f"Delivery ends at {end}; settle after that.", str(end))
    if (older := _unsettled_before(state, command.delivery_start)) is not None:
        return Rejected("not_settleable", f"Settle the interval from {older} first: they go in order.", str(older))
    energies = _energies(command.energies)
    try:
        shares = deliver(_to_settle(state, interval.trades), energies)
        rows = build_rows(shares, energies)
    except MissingEnergy as error:
        return Rejected("readings_missing", f"The settlement needs every trader's energy: {error}.")
    except RowLimit as error:
        return Rejected("not_settleable", f"The batch cannot be packed: {error}.")
    settled = IntervalSettled(
        command.delivery_start,
        command.energies,
        tuple(_settled_trade(share) for share in shares),
        tuple(_settled_row(row) for row in rows),
        command.readings_root,
    )
    if not rows:
        return (settled,)  # no load is reported, so none can be compared with
    return (settled, *answer_requests(state, node_load_w(command.energies, state.rules.interval_s)))


def _exclude(state: MarketState, command: ExcludeFromSettlement) -> Decision:
    """Settle once more what the chain has not: the account's trades void, all others as if they were alone."""
    interval = state.intervals.get(command.delivery_start)
    settlement = interval.settlement if interval is not None else None
    if interval is None or settlement is None or interval.stage is not IntervalStage.SETTLED:
        return Rejected("not_settleable", "Only a settlement that is not on chain can be made again.")
    if command.account not in {row.account for row in settlement.rows}:
        return Rejected("not_settleable", "The account has no row in the settlement.", command.account)
    excluded = {*settlement.excluded, command.account}
    energies, trades = _energies(settlement.energies), _to_settle(state, interval.trades)
    void = [SettledShare(trade, 0, 0) for trade in trades if {trade.buyer, trade.seller} & excluded]
    shares = deliver((t for t in trades if t.buyer not in excluded and t.seller not in excluded), energies)
    rows = build_rows(shares, energies)
    everything = sorted([*shares, *void], key=lambda share: share.trade.trade_id)
    return (
        IntervalResettled(
            command.delivery_start,
            settlement.revision + 1,
            tuple(sorted(excluded)),
            settlement.energies,
            tuple(_settled_trade(share) for share in everything),
            tuple(_settled_row(row) for row in rows),
            settlement.readings_root,
        ),
    )


def _unsettled_before(state: MarketState, delivery_start: int) -> int | None:
    """Return the oldest earlier interval that may still have something to settle."""
    unsettled = (IntervalStage.OPEN, IntervalStage.GATE_CLOSED)
    earlier = (i.delivery_start for i in state.intervals.values() if i.stage in unsettled)
    return min((start for start in earlier if start < delivery_start), default=None)


def _settled_row(row: Row) -> SettlementRow:
    return SettlementRow(
        row.account, row.order, row.executed_wh, row.short_wh, row.metered_wh, row.value_micro, row.trades
    )


def _settled_trade(share: SettledShare) -> SettledTrade:
    trade = share.trade
    return SettledTrade(
        trade.trade_id,
        trade.buy,
        trade.sell,
        trade.energy_wh,
        trade.price_micro_per_kwh,
        share.settled_wh,
        share.value_micro,
    )


def _row_of(row: SettlementRow, signed: SignedOrder) -> Row:
    amounts = row.executed_wh, row.short_wh, row.metered_wh, row.value_micro, row.trades
    return Row(row.account, row.order, signed.order.side, *amounts)


def _to_settle(state: MarketState, trades: Iterable[Traded]) -> list[TradeToSettle]:
    return [
        TradeToSettle(
            trade.trade_id,
            trade.buy,
            trade.sell,
            state.orders[trade.buy].order.account,
            state.orders[trade.sell].order.account,
            trade.energy_wh,
            trade.price_micro_per_kwh,
        )
        for trade in trades
    ]


def _energies(energies: Iterable[MeteredEnergy]) -> list[AccountEnergy]:
    return [AccountEnergy(e.account, e.consumption_wh, e.production_wh, e.estimated) for e in energies]


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
