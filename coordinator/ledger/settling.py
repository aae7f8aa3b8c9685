"""Deciding settlements: the first one of an interval, the ones in its place, and corrections of what is on chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..market.balancing import answer_requests, node_load_w
from ..market.commands import (
    AccountChange,
    ExcludeFromSettlement,
    MeteredEnergy,
    ProposeCorrection,
    ResettleInterval,
    SettleInterval,
)
from ..market.corrections import agreed, next_revision
from ..market.decide import Decision
from ..market.events import (
    CorrectionProposed,
    IntervalResettled,
    IntervalSettled,
    Rejected,
    SettledTrade,
    SettlementRow,
    Traded,
)
from ..market.rules import MarketRules
from ..market.state import Interval, IntervalStage, MarketState
from ..protocol.messages import Order
from ..settlement.deliver import (
    AccountEnergy,
    Compensation,
    MissingEnergy,
    SettledShare,
    TradeToSettle,
    deliver,
)
from ..settlement.rows import Row, RowLimit, SignedOrder, build_rows

CORRECTION_REVISION_MAX = 2**8 - 1

Settling = SettleInterval | ResettleInterval | ProposeCorrection | ExcludeFromSettlement


@dataclass(frozen=True, slots=True)
class _Made:
    """A settlement as events carry it."""

    trades: tuple[SettledTrade, ...]
    rows: tuple[SettlementRow, ...]


def decide_settlement(state: MarketState, command: Settling, at: int) -> Decision:
    """Return the events of a command that settles an interval, settles it anew or corrects it, or the refusal."""
    try:
        match command:
            case SettleInterval():
                return _settle(state, command, at)
            case ExcludeFromSettlement():
                return _exclude(state, command)
            case ResettleInterval():
                return _resettle(state, command)
            case ProposeCorrection():
                return _propose(state, command)
    except MissingEnergy as error:
        return Rejected("readings_missing", f"The settlement needs every trader's energy: {error}.")
    except RowLimit as error:
        return Rejected("not_settleable", f"The batch cannot be packed: {error}.")


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
    made = _make(state, interval, command.energies)
    settled = IntervalSettled(command.delivery_start, command.energies, made.trades, made.rows, command.readings_root)
    if not made.rows:
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
    excluded = tuple(sorted({*settlement.excluded, command.account}))
    made = _make(state, interval, settlement.energies, excluded)
    return (
        IntervalResettled(
            command.delivery_start,
            next_revision(interval),
            excluded,
            settlement.energies,
            made.trades,
            made.rows,
            settlement.readings_root,
        ),
    )


def _resettle(state: MarketState, command: ResettleInterval) -> Decision:
    """Settle anew, on what the readings say by now, what is not on chain; excluded accounts stay excluded."""
    interval = state.intervals.get(command.delivery_start)
    settlement = interval.settlement if interval is not None else None
    if interval is None or settlement is None or not is_off_chain(interval):
        return Rejected("not_settleable", "Only a settlement that is not on chain can be made again.")
    if command.energies == settlement.energies:
        return Rejected("nothing_due", "The readings say what they said: the settlement stands.")
    made = _make(state, interval, command.energies, settlement.excluded)
    return (
        IntervalResettled(
            command.delivery_start,
            next_revision(interval),
            settlement.excluded,
            command.energies,
            made.trades,
            made.rows,
            command.readings_root,
            late_readings=True,
        ),
    )


def is_off_chain(interval: Interval) -> bool:
    """Tell whether an interval's settlement is not on chain: not yet, or because there was nothing to settle."""
    settlement = interval.settlement
    if settlement is None:
        return False
    return interval.stage is IntervalStage.SETTLED or (
        interval.stage is IntervalStage.CONFIRMED and interval.confirmation is None
    )


def _propose(state: MarketState, command: ProposeCorrection) -> Decision:
    """Say what a settlement on chain should have been, and what that changes for each account."""
    interval = state.intervals.get(command.delivery_start)
    settlement = interval.settlement if interval is not None else None
    if interval is None or settlement is None or is_off_chain(interval):
        return Rejected("not_settleable", "Only a settlement on chain can be corrected.")
    correction = interval.correction
    if correction is not None and correction.stage == "agreed":
        return Rejected("correction_open", "A correction is on its way to the chain: propose the next one after it.")
    known = correction.proposed if correction is not None and correction.is_open else settlement
    if command.energies == known.energies:
        return Rejected("nothing_due", "The readings say what they said: the settlement stands.")
    if (revision := next_revision(interval)) > CORRECTION_REVISION_MAX:
        return Rejected("not_settleable", f"An interval has at most {CORRECTION_REVISION_MAX} corrections.")
    unminted = _unminted(state, interval)
    made = _make(state, interval, command.energies, settlement.excluded, unminted)
    changes = _changes(state, settlement.rows, made.rows, command.fee_account)
    if changes is None:
        return Rejected(
            "not_settleable", "The fees would change, and no fee account is configured to give or get them."
        )
    if not changes:
        return Rejected("nothing_due", "The readings change nothing of what was settled.")
    proposed = CorrectionProposed(
        delivery_start=command.delivery_start,
        revision=revision,
        excluded=settlement.excluded,
        energies=command.energies,
        trades=made.trades,
        rows=made.rows,
        readings_root=command.readings_root,
        receipts_root=command.receipts_root,
        changes=changes,
        unminted=unminted,
    )
    return (proposed, *agreed(proposed, {}))


def _unminted(state: MarketState, interval: Interval) -> tuple[str, ...]:
    """Return the traders that the batch on chain has no row of: the contract mints nothing for them now."""
    settlement = interval.settlement
    assert settlement is not None
    if isinstance(settlement, CorrectionProposed):
        return settlement.unminted
    in_batch = {row.account for row in settlement.rows}
    traded = {state.orders[digest].order.account for trade in interval.trades for digest in (trade.buy, trade.sell)}
    return tuple(sorted(traded - in_batch))


def _changes(
    state: MarketState, before: Iterable[SettlementRow], after: Iterable[SettlementRow], fee_account: str
) -> tuple[AccountChange, ...] | None:
    """Return what the later rows add to each account's columns, by rising account.

    The contract's corrections net to zero money, so the fee account gets, or gives, what the fees differ by.
    """
    money: dict[str, int] = defaultdict(int)
    energy: dict[str, int] = defaultdict(int)
    for rows, sign in ((before, -1), (after, 1)):
        for row in rows:
            side = -1 if state.orders[row.order].is_buy else 1
            money[row.account] += sign * side * row.value_micro
            energy[row.account] += sign * side * (row.metered_wh - row.executed_wh)
    if fees_micro := -sum(money.values()):
        if not fee_account:
            return None
        money[fee_account] += fees_micro
    changed = sorted(account for account in money if money[account] or energy[account])
    return tuple(AccountChange(account, money[account], energy[account]) for account in changed)


def _make(
    state: MarketState,
    interval: Interval,
    energies: Iterable[MeteredEnergy],
    excluded: Iterable[str] = (),
    unminted: Iterable[str] = (),
) -> _Made:
    """Settle an interval's trades on these energies. Raises ``MissingEnergy`` and ``RowLimit``."""
    metered = account_energies(energies)
    promised = trades_to_settle(state.orders, interval.trades)
    shares = deliver(promised, metered, compensation_of(state.rules), excluded)
    rows = build_rows(shares, metered, unminted)
    return _Made(tuple(_settled_trade(share) for share in shares), tuple(_settlement_row(row) for row in rows))


def compensation_of(rules: MarketRules) -> Compensation | None:
    """Return the tariffs by which a market compensates, ``None`` when it does not."""
    if not rules.compensation:
        return None
    return Compensation(rules.supplier_micro_per_kwh, rules.feed_in_micro_per_kwh)


def _unsettled_before(state: MarketState, delivery_start: int) -> int | None:
    """Return the oldest earlier interval that may still have something to settle."""
    unsettled = (IntervalStage.OPEN, IntervalStage.GATE_CLOSED)
    earlier = (i.delivery_start for i in state.intervals.values() if i.stage in unsettled)
    return min((start for start in earlier if start < delivery_start), default=None)


def _settlement_row(row: Row) -> SettlementRow:
    return SettlementRow(
        row.account, row.order, row.executed_wh, row.short_wh, row.metered_wh, row.value_micro, row.trades
    )


def _settled_trade(share: SettledShare) -> SettledTrade:
    trade = share.trade
    return SettledTrade(
        trade_id=trade.trade_id,
        buy=trade.buy,
        sell=trade.sell,
        energy_wh=trade.energy_wh,
        price_micro_per_kwh=trade.price_micro_per_kwh,
        settled_wh=share.settled_wh,
        value_micro=share.value_micro,
        grid_fee_micro=share.grid_fee_micro,
        community_fee_micro=share.community_fee_micro,
        short_wh=share.short_wh,
        unused_wh=share.unused_wh,
        shortfall_micro=share.shortfall_micro,
        under_use_micro=share.under_use_micro,
        void=share.void,
    )


def share_of(settled: SettledTrade, trade: TradeToSettle) -> SettledShare:
    """Return what a trade became, from its event."""
    return SettledShare(
        trade=trade,
        settled_wh=settled.settled_wh,
        value_micro=settled.value_micro,
        grid_fee_micro=settled.grid_fee_micro,
        community_fee_micro=settled.community_fee_micro,
        short_wh=settled.short_wh,
        unused_wh=settled.unused_wh,
        shortfall_micro=settled.shortfall_micro,
        under_use_micro=settled.under_use_micro,
        void=settled.void,
    )


def row_of(row: SettlementRow, signed: SignedOrder) -> Row:
    """Return a row of the batch, from its event."""
    amounts = row.executed_wh, row.short_wh, row.metered_wh, row.value_micro, row.trades
    return Row(row.account, row.order, signed.order.side, *amounts)


class Placed(Protocol):
    """Whatever knows its order: the state's known ones, and the reports' stories."""

    @property
    def order(self) -> Order:
        """The order as it was signed."""


def trades_to_settle(orders: Mapping[bytes, Placed], trades: Sequence[Traded]) -> list[TradeToSettle]:
    """Return an interval's trades with their accounts."""
    return [
        TradeToSettle(
            trade.trade_id,
            trade.buy,
            trade.sell,
            orders[trade.buy].order.account,
            orders[trade.sell].order.account,
            trade.energy_wh,
            trade.price_micro_per_kwh,
            trade.grid_fee_micro_per_kwh,
            trade.community_fee_micro_per_kwh,
        )
        for trade in trades
    ]


def account_energies(energies: Iterable[MeteredEnergy]) -> list[AccountEnergy]:
    """Return the metered energies as settlement takes them."""
    return [AccountEnergy(e.account, e.consumption_wh, e.production_wh, e.estimated) for e in energies]
