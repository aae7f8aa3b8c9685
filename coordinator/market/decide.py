"""The market's judgement: ``decide`` looks at the state and answers with events or a refusal.

It never changes the state and never raises for a user's mistake. Orders are judged in
``orders``, the end of an interval in ``closing``, money that leaves in ``withdrawals``.
"""

from __future__ import annotations

from .balancing import book_balancing
from .bundles import place_bundles
from .closing import close_gate
from .commands import (
    AdmitMember,
    BookBalancingRequest,
    BookCancellation,
    BookCorrection,
    BookRequest,
    BookWithdrawal,
    CancelOrder,
    ClearSession,
    CloseGate,
    Command,
    ConfirmSettlement,
    CreditFunds,
    EndCorrection,
    EndWithdrawal,
    ExcludeFromSettlement,
    ExpireOrders,
    FireOrder,
    HaltTrading,
    LapseRequests,
    ObserveSignal,
    PlaceBundles,
    PlaceOrder,
    ProposeCorrection,
    RegisterMeter,
    ReplaceOrder,
    ResettleInterval,
    ResumeTrading,
    SettleInterval,
    SignCorrection,
    SuspendMeter,
    Withdraw,
)
from .conditions import fire_order, observe_signal
from .corrections import judge_correction
from .events import (
    Event,
    FundsCredited,
    IntervalCorrected,
    MemberAdmitted,
    MeterRegistered,
    MeterSuspended,
    Rejected,
    SettlementConfirmed,
    TradingHalted,
    TradingResumed,
)
from .orders import cancel_orders, expire_orders, has_expired_orders, place_order, replace_order
from .rejections import Code, refuse
from .sessions import clear_session, due_session
from .state import IntervalStage, MarketState
from .withdrawals import (
    accept_withdrawal,
    book_cancellation,
    book_request,
    book_withdrawal,
    end_withdrawal,
    lapse_requests,
    lapsed_requests,
)

METERS_PER_ACCOUNT_MAX = 16

type Decision = tuple[Event, ...] | Rejected


def decide(state: MarketState, command: Command, at: int) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one arm per command
    """Return what the command, sequenced at the UTC second ``at``, makes happen.

    What settles an interval, or settles it anew, is the ledger's to decide (it needs settlement)
    and is refused here. An empty tuple is an accepted command with nothing to do (cancel all, and none is open).
    """
    match command:
        case PlaceOrder():
            return place_order(state, command, at)
        case ReplaceOrder():
            return replace_order(state, command, at)
        case PlaceBundles():
            return place_bundles(state, command, at)
        case ClearSession():
            return clear_session(state, command, at)
        case FireOrder():
            return fire_order(state, command, at)
        case ObserveSignal():
            return observe_signal(state, command, at)
        case CancelOrder():
            return cancel_orders(state, command, at)
        case ExpireOrders():
            return expire_orders(state, at)
        case CloseGate():
            return close_gate(state, command, at)
        case AdmitMember():
            return _admit(state, command)
        case RegisterMeter():
            return _register_meter(state, command)
        case SuspendMeter():
            return _suspend_meter(state, command)
        case CreditFunds():
            return _credit(state, command)
        case BookCorrection():
            return _correct(state, command)
        case BookWithdrawal():
            return book_withdrawal(state, command)
        case BookRequest():
            return book_request(state, command)
        case LapseRequests():
            return lapse_requests(state, at)
        case Withdraw():
            return accept_withdrawal(state, command, at)
        case EndWithdrawal():
            return end_withdrawal(state, command)
        case BookCancellation():
            return book_cancellation(state, command)
        case BookBalancingRequest():
            return book_balancing(state, command)
        case ConfirmSettlement():
            return _confirm(state, command)
        case HaltTrading():
            return _halt(state, command)
        case ResumeTrading():
            return _resume(state, command)
        case SignCorrection() | EndCorrection():
            return judge_correction(state, command)
        case SettleInterval() | ResettleInterval() | ProposeCorrection() | ExcludeFromSettlement():
            return refuse(Code.NOT_SUPPORTED, "the ledger settles intervals; ask it, not the market")


def due(state: MarketState, at: int) -> tuple[Command, ...]:
    """Return what the clock asks for: expiries, gates to close, oldest first, a session, lapsed requests."""
    gates = (
        CloseGate(start)
        for start in sorted(state.intervals)
        if state.intervals[start].stage is IntervalStage.OPEN and state.rules.gate_at(start) <= at
    )
    expiries = (ExpireOrders(),) if has_expired_orders(state, at) else ()
    lapses = (LapseRequests(),) if lapsed_requests(state, at) else ()
    session = due_session(state, at)
    return (*expiries, *gates, *(() if session is None else (session,)), *lapses)


def _admit(state: MarketState, command: AdmitMember) -> Decision:
    if command.account in state.members:
        return refuse(Code.ALREADY_MEMBER, "the account takes part already; open a session instead")
    if len(state.members) >= state.rules.members_max:
        return refuse(
            Code.MARKET_FULL,
            f"the market has its {state.rules.members_max} members; ask the operator for room",
        )
    return (MemberAdmitted(command.account, command.name),)


def _register_meter(state: MarketState, command: RegisterMeter) -> Decision:
    if command.account not in state.members:
        return refuse(Code.NOT_A_MEMBER, "join the market before registering a meter")
    most_w = state.rules.power_max_w
    if max(command.import_limit_w, command.export_limit_w) > most_w:
        return refuse(Code.LIMIT_TOO_HIGH, f"a meter's limits are at most {most_w} W here; register its real ones")
    event = MeterRegistered(
        command.device_id,
        command.account,
        command.public_key,
        command.import_limit_w,
        command.export_limit_w,
    )
    known = state.meters.get(command.device_id)
    if known is not None and known.suspended is not None:
        return refuse(Code.SUSPENDED, "the meter is suspended; ask the operator", known.suspended)
    if known is not None and known.registration == event:
        return refuse(Code.DUPLICATE_METER, "the meter is registered with the same data already")
    if known is not None:
        return refuse(Code.METER_TAKEN, "the meter is registered with other data; use another key for it")
    if len(state.accounts[command.account].meters) >= METERS_PER_ACCOUNT_MAX:
        return refuse(Code.TOO_MANY_METERS, f"an account has at most {METERS_PER_ACCOUNT_MAX} meters")
    return (event,)


def _suspend_meter(state: MarketState, command: SuspendMeter) -> Decision:
    known = state.meters.get(command.device_id)
    if known is None:
        return refuse(Code.UNKNOWN_METER, "no meter with this device id is registered")
    if known.suspended is not None:
        return refuse(Code.ALREADY_SUSPENDED, "the meter is suspended already", known.suspended)
    return (MeterSuspended(command.device_id, command.reason),)


def _credit(state: MarketState, command: CreditFunds) -> Decision:
    """Book what the chain says, for members and for accounts that may become members."""
    if command.reference in state.credited:
        return refuse(Code.DUPLICATE_CREDIT, "this transfer is booked already", command.reference)
    return (FundsCredited(command.account, command.money_micro, command.reference),)


def _correct(state: MarketState, command: BookCorrection) -> Decision:
    """Book what the chain says; nothing can be said against it any more."""
    if command.reference in state.credited:
        return refuse(Code.DUPLICATE_CREDIT, "this correction is booked already", command.reference)
    return (IntervalCorrected(command.delivery_start, command.revision, command.changes, command.reference),)


def _confirm(state: MarketState, command: ConfirmSettlement) -> Decision:
    interval = state.intervals.get(command.delivery_start)
    if interval is not None and interval.stage is IntervalStage.CONFIRMED:
        return refuse(Code.ALREADY_SETTLED, "the settlement is confirmed already")
    if interval is None or interval.stage is not IntervalStage.SETTLED:
        return refuse(Code.NOT_SETTLEABLE, "settle the interval before confirming it")
    return (SettlementConfirmed(command.delivery_start, command.transaction, command.block_number, command.gas_used),)


def _halt(state: MarketState, command: HaltTrading) -> Decision:
    if state.halted is not None:
        return refuse(Code.TRADING_HALTED, "trading is halted already", state.halted)
    return (TradingHalted(command.reason),)


def _resume(state: MarketState, command: ResumeTrading) -> Decision:
    if state.halted is None:
        return refuse(Code.NOT_HALTED, "trading is open")
    return (TradingResumed(command.reason),)
