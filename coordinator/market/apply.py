"""The only mutator: ``apply`` turns an event into the next state. It is total for decided events."""

from __future__ import annotations

from heapq import heappop, heappush

from ..protocol.messages import ZERO_HASH
from ..protocol.units import value_micro
from .balancing import node_load_w
from .book import Book, Resting
from .corrections import apply_corrected, apply_correction
from .events import (
    BalancingAnswered,
    BalancingForgotten,
    BalancingRequested,
    BundlesPlaced,
    CorrectionAgreed,
    CorrectionEnded,
    CorrectionProposed,
    CorrectionSigned,
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
    OrderTriggered,
    RequestReduced,
    SessionCleared,
    SettlementConfirmed,
    SettlementRow,
    SignalObserved,
    Traded,
    TradingHalted,
    TradingResumed,
    WithdrawalAccepted,
    WithdrawalEnded,
)
from .rules import MarketRules
from .state import (
    CANCELLED_INTERVALS_KEPT,
    CHANGEABLE_INTERVALS_KEPT,
    FINISHED_INTERVALS_KEPT,
    Account,
    Interval,
    IntervalStage,
    KnownBundle,
    KnownOrder,
    MarketState,
    Member,
    Meter,
    MoneyRequest,
    SignedWithdrawal,
    awaited_start,
)
from .triggers import Triggers


def apply(state: MarketState, event: Event, at: int) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm per event
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
        case BundlesPlaced():
            _place_bundles(state, event, at)
        case OrderTriggered():
            _fire(state, event)
        case SignalObserved():
            _observe(state, event, at)
        case SessionCleared():
            _clear_session(state, event)
        case IntervalSettled():
            _settle(state, event)
        case IntervalResettled():
            _resettle(state, event)
        case CorrectionProposed() | CorrectionSigned() | CorrectionAgreed() | CorrectionEnded():
            apply_correction(state, event)
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
            _admit(state, event)
        case MeterRegistered():
            _register_meter(state, event)
        case MeterSuspended():
            state.meters[event.device_id].suspended = event.reason
        case TradingHalted():
            state.halted = event.reason
        case TradingResumed():
            state.halted = None


def _place(state: MarketState, event: OrderPlaced, at: int) -> None:
    known = _known(state, event, at)
    order = known.order
    state.orders[event.digest] = known
    account = state.accounts[order.account]
    account.reserved_micro += known.reserved_micro
    account.open_orders[event.digest] = None
    interval = state.intervals.get(order.delivery_start)
    if interval is None:
        interval = state.intervals[order.delivery_start] = Interval(order.delivery_start, at)
    interval.orders.append(event.digest)
    placed = interval.orders_by_account.get(order.account, 0)
    interval.orders_by_account[order.account] = placed + 1
    interval.take_place(order.account)
    if order.bundle != ZERO_HASH:
        state.bundles[order.bundle].legs.append(event.digest)
    if order.condition is None:
        _enter(state, interval, known, event.place_of)
    else:
        _sleep(state, known)
    if 0 < order.valid_until < state.rules.gate_at(order.delivery_start):
        heappush(state.expiries, (order.valid_until, known.sequence, event.digest))


def _known(state: MarketState, event: OrderPlaced, at: int) -> KnownOrder:
    order = event.order
    state.orders_placed += 1
    priority = state.orders_placed, 0
    if event.place_of != ZERO_HASH:
        priority = state.orders[event.place_of].priority
    return KnownOrder(
        order=order,
        digest=event.digest,
        signature=event.signature,
        sequence=state.orders_placed,
        received_at=at,
        remaining_wh=order.energy_wh,
        reserved_micro=state.rules.reserve_micro(order, order.energy_wh),
        priority=priority,
    )


def _enter(state: MarketState, interval: Interval, known: KnownOrder, place_of: bytes = ZERO_HASH) -> None:
    """Let an order trade from now on: in its node's book, or in the auctions that it waits for."""
    order = known.order
    if not known.rests:
        interval.hold(order.account, known.digest)
        return
    limit = state.rules.net_limit(order.side, order.limit_price_micro_per_kwh)
    resting = Resting(known.digest, order.side, limit, known.remaining_wh, order.account)
    book = _book_of(state, interval, known)
    if place_of == ZERO_HASH:
        book.add(resting)
    else:
        book.put_in_place(place_of, resting)


def _book_of(state: MarketState, interval: Interval, known: KnownOrder) -> Book[bytes]:
    node = state.rules.node_of(known.order.account)
    book = interval.books.get(node)
    if book is None:
        book = interval.books[node] = Book()
    return book


def _sleep(state: MarketState, known: KnownOrder) -> None:
    """Let a conditional order wait for its signal."""
    condition = known.order.condition
    assert condition is not None
    triggers = state.triggers.setdefault(state.rules.node_of(known.order.account), Triggers())
    start = awaited_start(known.order, condition)
    triggers.add(known.digest, known.sequence, condition.signal, start, condition.comparison, condition.threshold)
    state.accounts[known.order.account].dormant_orders += 1


def _wake(state: MarketState, known: KnownOrder) -> None:
    """Let a conditional order wait no more."""
    node = state.rules.node_of(known.order.account)
    triggers = state.triggers[node]
    triggers.remove(known.digest)
    state.accounts[known.order.account].dormant_orders -= 1
    if not triggers:
        del state.triggers[node]


def _fire(state: MarketState, event: OrderTriggered) -> None:
    known = state.orders[event.digest]
    _wake(state, known)
    state.orders_fired += 1
    known.fired = event.value
    known.priority = state.orders_placed, state.orders_fired
    _enter(state, state.intervals[known.order.delivery_start], known)


def _place_bundles(state: MarketState, event: BundlesPlaced, at: int) -> None:
    for bundle in event.bundles:
        digest = bundle.struct_hash()
        state.bundles[digest] = KnownBundle(bundle, digest, at)
        state.accounts[bundle.account].open_bundles[digest] = None


def _observe(state: MarketState, event: SignalObserved, at: int) -> None:
    """Keep the value; forecasts of intervals that are over are forgotten."""
    over = [key for key in state.signals if 0 < key[1] <= at - state.rules.interval_s]
    for key in over:
        del state.signals[key]
        state.signals_issued_at.pop(key, None)
    state.signals[event.signal, event.delivery_start] = event.value
    if event.issued_at:
        state.signals_issued_at[event.signal, event.delivery_start] = event.issued_at


def _clear_session(state: MarketState, event: SessionCleared) -> None:
    state.session_at = event.session_at
    for cleared in event.intervals:
        interval = state.intervals[cleared.delivery_start]
        interval.session = cleared
        interval.sent_wh = _added(interval.sent_wh, cleared.flows_wh)
    for accepted in event.accepted:
        state.bundles[accepted.bundle].share = accepted.numerator, accepted.denominator


def _added(sent_wh: tuple[int, ...], flows_wh: tuple[int, ...]) -> tuple[int, ...]:
    """Return what the lines have carried with these flows; an interval starts without any, an auction may have none."""
    if not (sent_wh and flows_wh):
        return sent_wh or flows_wh
    return tuple(sent + flow for sent, flow in zip(sent_wh, flows_wh, strict=True))


def _trade(state: MarketState, event: Traded) -> None:
    state.trades_made = event.trade_id
    interval = state.intervals[event.delivery_start]
    interval.trades.append(event)
    for digest in (event.buy, event.sell):
        known = state.orders[digest]
        if known.rests:
            _book_of(state, interval, known).fill(digest, event.energy_wh)
        known.remaining_wh -= event.energy_wh
        known.trades.append(event)
        known.bound_micro += _bound_micro(state.rules, known, event)
        _reserve(state, known, known.remaining_wh)


def _bound_micro(rules: MarketRules, known: KnownOrder, trade: Traded) -> int:
    """Return what a trade can cost the order's account at most: the price with its fees, or all of it missing."""
    price = trade.price_micro_per_kwh
    if known.is_buy:
        price += trade.grid_fee_micro_per_kwh + trade.community_fee_micro_per_kwh
        return value_micro(trade.energy_wh, price)
    return value_micro(trade.energy_wh, max(rules.supplier_micro_per_kwh - price, 0)) if rules.compensation else 0


def _close(state: MarketState, event: OrderClosed) -> None:
    known = state.orders[event.digest]
    account, interval = known.order.account, state.intervals[known.order.delivery_start]
    if known.is_dormant:
        _wake(state, known)
    elif not known.rests:
        interval.let_go(account, event.digest)
    elif (book := _book_of(state, interval, known)).get(event.digest) is not None:
        book.remove(event.digest)
    known.closed = event.reason
    del state.accounts[account].open_orders[event.digest]
    if not known.trades:
        interval.free_place(account)
    _reserve(state, known, 0)
    if known.is_leg:
        state.bundles[known.order.bundle].closed = event.reason
        state.accounts[account].open_bundles.pop(known.order.bundle, None)
    while state.expiries and _is_closed(state, state.expiries[0][2]):
        heappop(state.expiries)


def _reserve(state: MarketState, known: KnownOrder, open_wh: int) -> None:
    """Reserve for what is open at the limit and what has traded at its price."""
    reserved_micro = state.rules.reserve_micro(known.order, open_wh) + known.bound_micro
    account = state.accounts[known.order.account]
    account.reserved_micro += reserved_micro - known.reserved_micro
    known.reserved_micro = reserved_micro


def _is_closed(state: MarketState, digest: bytes) -> bool:
    known = state.orders.get(digest)
    return known is None or known.closed is not None


def _close_gate(state: MarketState, event: GateClosed) -> None:
    interval = state.intervals[event.delivery_start]
    interval.closing = event
    interval.sent_wh = _added(interval.sent_wh, event.flows_wh)
    interval.stage = IntervalStage.GATE_CLOSED if interval.trades else IntervalStage.IDLE
    _prune(state)


def _settle(state: MarketState, event: IntervalSettled) -> None:
    """Move money and energy by the rows and release what no later settlement of the interval can take."""
    interval = state.intervals[event.delivery_start]
    interval.settlement = event
    interval.stage = IntervalStage.SETTLED if event.rows else IntervalStage.CONFIRMED
    if event.rows:
        state.grid_load_w = node_load_w(event.energies, state.rules.interval_s)
    for row in event.rows:
        _book(state, row, 1)
    _release(state, interval)
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
    _release(state, interval)
    _prune(state)


def _release(state: MarketState, interval: Interval) -> None:
    """Keep reserved what the interval's trades can still cost: nothing when it is final, or the account is out."""
    settlement = interval.settlement
    assert settlement is not None
    values = {row.order: row.value_micro for row in settlement.rows}
    is_final = interval.confirmation is not None or not (settlement.rows or interval.may_change)
    for digest in interval.orders:
        known = state.orders[digest]
        value = values.get(digest, 0)
        taken_micro = max(value if known.is_buy else -value, 0)
        is_over = is_final or known.order.account in settlement.excluded
        kept_micro = 0 if is_over else max(known.bound_micro - taken_micro, 0)
        state.accounts[known.order.account].reserved_micro += kept_micro - known.reserved_micro
        known.reserved_micro = kept_micro


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
    _release(state, interval)
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
    apply_corrected(state, event)


def _admit(state: MarketState, event: MemberAdmitted) -> None:
    state.members[event.account] = Member(event.name)
    _account(state, event.account)


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
    finished = sorted(start for start, interval in state.intervals.items() if interval.stage.is_finished)
    for start in finished[:-FINISHED_INTERVALS_KEPT]:
        age_s = finished[-1] - start
        if age_s < CHANGEABLE_INTERVALS_KEPT * state.rules.interval_s and state.intervals[start].may_change:
            continue
        for digest in state.intervals.pop(start).orders:
            known = state.orders.pop(digest)
            state.accounts[known.order.account].reserved_micro -= known.reserved_micro
            bundle = known.order.bundle
            if bundle != ZERO_HASH and not any(leg in state.orders for leg in state.bundles[bundle].legs):
                del state.bundles[bundle]
