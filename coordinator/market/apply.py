"""The only mutator: ``apply`` turns an event into the next state. It is total for decided events."""

from __future__ import annotations

from heapq import heappop, heappush

from ..protocol.units import value_micro
from .balancing import node_load_w
from .book import Resting
from .events import (
    BalancingAnswered,
    BalancingForgotten,
    BalancingRequested,
    Event,
    FundsCredited,
    GateClosed,
    IntervalCancelled,
    IntervalCorrected,
    IntervalResettled,
    IntervalSettled,
    MemberAdmitted,
    MeterRegistered,
    MeterSuspended,
    MoneyRequested,
    OrderClosed,
    OrderPlaced,
    RequestReduced,
    SettlementConfirmed,
    SettlementRow,
    Traded,
    TradingHalted,
    TradingResumed,
    WithdrawalAccepted,
    WithdrawalEnded,
)
from .state import (
    CANCELLED_INTERVALS_KEPT,
    FINISHED_INTERVALS_KEPT,
    Account,
    Interval,
    IntervalStage,
    KnownOrder,
    MarketState,
    Member,
    Meter,
    MoneyRequest,
    SignedWithdrawal,
)


def apply(state: MarketState, event: Event, at: int) -> None:  # noqa: C901, PLR0912 - one arm per event
    """Change the state by an event that was decided at the UTC second ``at``."""
    match event:
        case OrderPlaced():
            _place(state, event, at)
        case Traded():
            _trade(state, event)
        case OrderClosed():
            _close(state, event)
        case GateClosed():
            _close_gate(state, event)
        case IntervalSettled():
            _settle(state, event)
        case IntervalResettled():
            _resettle(state, event)
        case SettlementConfirmed():
            _confirm(state, event)
        case FundsCredited():
            _credit(state, event)
        case IntervalCorrected():
            _correct(state, event)
        case MoneyRequested():
            _request(state, event.account, event.money_micro, event.available_at)
            state.credited[event.reference] = None
        case RequestReduced():
            request = state.accounts[event.account].request
            _request(state, event.account, event.money_micro, request.available_at if request is not None else 0)
        case WithdrawalAccepted():
            state.withdrawals = event.number
            kept = SignedWithdrawal(event.number, event.withdrawal, event.digest)
            state.accounts[event.withdrawal.account].withdrawal = kept
        case WithdrawalEnded():
            _end_withdrawal(state, event)
        case IntervalCancelled():
            _cancel_interval(state, event)
        case BalancingRequested():
            state.balancing[event.node_id, event.request_id] = event
            state.balancing_seen[event.node_id] = event.request_id
        case BalancingAnswered() | BalancingForgotten():
            del state.balancing[event.node_id, event.request_id]
        case MemberAdmitted():
            state.members[event.account] = Member(event.name)
            _account(state, event.account)
        case MeterRegistered():
            _register_meter(state, event)
        case MeterSuspended():
            state.meters[event.device_id].suspended = event.reason
        case TradingHalted():
            state.halted = event.reason
        case TradingResumed():
            state.halted = None


def _place(state: MarketState, event: OrderPlaced, at: int) -> None:
    order = event.order
    state.orders_placed += 1
    known = KnownOrder(
        order=order,
        digest=event.digest,
        signature=event.signature,
        sequence=state.orders_placed,
        received_at=at,
        remaining_wh=order.energy_wh,
        reserved_micro=state.rules.reserve_micro(order, order.energy_wh),
    )
    state.orders[event.digest] = known
    account = state.accounts[order.account]
    account.reserved_micro += known.reserved_micro
    account.open_orders[event.digest] = None
    interval = state.intervals.get(order.delivery_start)
    if interval is None:
        interval = state.intervals[order.delivery_start] = Interval(order.delivery_start)
    interval.orders.append(event.digest)
    placed = interval.orders_by_account.get(order.account, 0)
    interval.orders_by_account[order.account] = placed + 1
    interval.take_place(order.account)
    interval.book.add(
        Resting(
            event.digest,
            order.side,
            order.limit_price_micro_per_kwh,
            order.energy_wh,
            order.account,
        )
    )
    if 0 < order.valid_until < state.rules.gate_at(order.delivery_start):
        heappush(state.expiries, (order.valid_until, known.sequence, event.digest))


def _trade(state: MarketState, event: Traded) -> None:
    state.trades_made = event.trade_id
    interval = state.intervals[event.delivery_start]
    interval.trades.append(event)
    for digest in (event.buy, event.sell):
        known = state.orders[digest]
        interval.book.fill(digest, event.energy_wh)
        known.remaining_wh -= event.energy_wh
        known.trades.append(event)
        known.value_micro += value_micro(event.energy_wh, event.price_micro_per_kwh)
        _reserve(state, known, known.remaining_wh)


def _close(state: MarketState, event: OrderClosed) -> None:
    known = state.orders[event.digest]
    known.closed = event.reason
    del state.accounts[known.order.account].open_orders[event.digest]
    if not known.trades:
        state.intervals[known.order.delivery_start].free_place(known.order.account)
    if event.remaining_wh:
        state.intervals[known.order.delivery_start].book.remove(event.digest)
        _reserve(state, known, 0)
    while state.expiries and _is_closed(state, state.expiries[0][2]):
        heappop(state.expiries)


def _reserve(state: MarketState, known: KnownOrder, open_wh: int) -> None:
    """Reserve for what is open at the limit and what has traded at its price."""
    if not known.is_buy:
        return
    reserved_micro = state.rules.reserve_micro(known.order, open_wh) + known.value_micro
    account = state.accounts[known.order.account]
    account.reserved_micro += reserved_micro - known.reserved_micro
    known.reserved_micro = reserved_micro


def _is_closed(state: MarketState, digest: bytes) -> bool:
    known = state.orders.get(digest)
    return known is None or known.closed is not None


def _close_gate(state: MarketState, event: GateClosed) -> None:
    interval = state.intervals[event.delivery_start]
    interval.closing = event
    interval.stage = IntervalStage.GATE_CLOSED if interval.trades else IntervalStage.IDLE
    _prune(state)


def _settle(state: MarketState, event: IntervalSettled) -> None:
    """Move money and energy by the rows and release what was reserved for the interval."""
    interval = state.intervals[event.delivery_start]
    interval.settlement = event
    interval.stage = IntervalStage.SETTLED if event.rows else IntervalStage.CONFIRMED
    if event.rows:
        state.grid_load_w = node_load_w(event.energies, state.rules.interval_s)
    for digest in interval.orders:
        known = state.orders[digest]
        state.accounts[known.order.account].reserved_micro -= known.reserved_micro
        known.reserved_micro = 0
    for row in event.rows:
        _book(state, row, 1)
    _prune(state)


def _resettle(state: MarketState, event: IntervalResettled) -> None:
    """Take back what the settlement before has moved and move what this one says."""
    interval = state.intervals[event.delivery_start]
    assert interval.settlement is not None
    for row in interval.settlement.rows:
        _book(state, row, -1)
    for row in event.rows:
        _book(state, row, 1)
    interval.settlement = event
    interval.stage = IntervalStage.SETTLED if event.rows else IntervalStage.CONFIRMED
    _prune(state)


def _book(state: MarketState, row: SettlementRow, sign: int) -> None:
    """Book a row (1), or take it back (-1)."""
    account = state.accounts[row.account]
    executed_wh, metered_wh, value = sign * row.executed_wh, sign * row.metered_wh, sign * row.value_micro
    if state.orders[row.order].is_buy:
        account.money_micro -= value
        account.energy_wh += executed_wh - metered_wh
        account.bought_wh += executed_wh
        account.cost_micro += value
    else:
        account.money_micro += value
        account.energy_wh += metered_wh - executed_wh
        account.sold_wh += executed_wh
        account.revenue_micro += value


def _confirm(state: MarketState, event: SettlementConfirmed) -> None:
    interval = state.intervals[event.delivery_start]
    interval.confirmation = event
    interval.stage = IntervalStage.CONFIRMED
    _prune(state)


def _credit(state: MarketState, event: FundsCredited) -> None:
    _account(state, event.account).money_micro += event.money_micro
    state.credited[event.reference] = None


def _request(state: MarketState, name: str, money_micro: int, available_at: int) -> None:
    """Let this much of an account's money be requested, in place of what was."""
    _account(state, name).request = MoneyRequest(money_micro, available_at) if money_micro else None
    state.requests.pop(name, None)
    if money_micro:
        state.requests[name] = None


def _end_withdrawal(state: MarketState, event: WithdrawalEnded) -> None:
    account = state.accounts[event.account]
    account.withdrawal_nonce = event.next_nonce
    if account.withdrawal is not None:
        account.withdrawal.stage = "done" if event.reason is None else "refused"
        account.withdrawal.reason = event.reason


def _cancel_interval(state: MarketState, event: IntervalCancelled) -> None:
    """Note the interval; only the latest of an account are kept."""
    account = _account(state, event.account)
    account.cancelled[event.delivery_start] = None
    for start in sorted(account.cancelled)[:-CANCELLED_INTERVALS_KEPT]:
        del account.cancelled[start]
    state.credited[event.reference] = None


def _correct(state: MarketState, event: IntervalCorrected) -> None:
    for change in event.changes:
        account = _account(state, change.account)
        account.money_micro += change.money_micro
        account.energy_wh += change.energy_wh
    state.credited[event.reference] = None


def _register_meter(state: MarketState, event: MeterRegistered) -> None:
    state.meters[event.device_id] = Meter(
        event.device_id,
        event.account,
        event.public_key,
        event.import_limit_w,
        event.export_limit_w,
    )
    _account(state, event.account).meters.append(event.device_id)


def _account(state: MarketState, name: str) -> Account:
    return state.accounts.setdefault(name, Account())


def _prune(state: MarketState) -> None:
    """Forget the oldest finished intervals and their orders, beyond those that are kept."""
    finished = [start for start, interval in state.intervals.items() if interval.stage.is_finished]
    for start in sorted(finished)[:-FINISHED_INTERVALS_KEPT]:
        for digest in state.intervals.pop(start).orders:
            del state.orders[digest]
