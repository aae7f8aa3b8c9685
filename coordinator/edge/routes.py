"""The one table of everything that can be asked: method, path, types, errors, scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from . import answers, reads, writes
from .call import Call, Reply
from .wire import (
    AccountPage,
    AccountPath,
    BookPath,
    CancelBody,
    ContractPath,
    IntervalPage,
    JoinBody,
    MeterPath,
    NoParameters,
    OrderPath,
    Parameters,
    PlaceOrderBody,
    ReadingBody,
    ReceiptPage,
    ReceiptPath,
    RegistrationBody,
    SessionBody,
    TradePage,
    Wire,
    WithdrawalBody,
)

API = "/api/v1"


class Scope(StrEnum):
    """Who may ask."""

    PUBLIC = "public"
    SIGNED = "signed"  # the body carries its owner's signature
    SESSION = "session"  # Authorization: Bearer


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. ``statuses`` are those of success; ``errors`` the codes beyond the common ones."""

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[Reply[Any]]]
    answer: type
    parameters: type[Parameters] = NoParameters
    body: type[Wire] | None = None
    statuses: tuple[int, ...] = (200,)
    errors: tuple[str, ...] = ()
    scope: Scope = Scope.PUBLIC

    @property
    def name(self) -> str:
        """The operation's id."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """The handler's first line."""
        return (self.handler.__doc__ or "").partition("\n")[0]


_STORAGE = ("busy", "stopping", "storage_full", "storage_failed")
_ORDER_RULES = (
    "wrong_market",
    "interval_misaligned",
    "interval_not_open",
    "interval_cancelled",
    "gate_closed",
    "beyond_horizon",
    "energy_out_of_range",
    "price_out_of_band",
    "not_valid_yet",
    "expired",
    "too_many_orders",
    "interval_full",
    "insufficient_funds",
    "not_supported",
)
_READING_RULES = (
    "malformed_reading",
    "sequence_gap",
    "equivocation",
    "wrong_previous",
    "clock_skew",
    "not_later",
    "too_soon",
    "register_decreased",
    "beyond_limit",
)

ROUTES = (
    Route("GET", f"{API}/market", reads.market, answers.MarketAnswer),
    Route("GET", f"{API}/contracts", reads.contracts, answers.ContractsAnswer),
    Route(
        "GET",
        f"{API}/contracts/{{name}}",
        reads.contract,
        answers.ContractAnswer,
        parameters=ContractPath,
        errors=("not_found",),
    ),
    Route("GET", f"{API}/feeds", reads.feeds, answers.FeedsAnswer),
    Route(
        "POST",
        f"{API}/members",
        writes.join,
        answers.SessionAnswer,
        body=JoinBody,
        statuses=(201, 200),
        errors=("bad_signature", "stale_request", "wrong_market", "invite_wrong", "market_full", *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/sessions",
        writes.open_session,
        answers.SessionAnswer,
        body=SessionBody,
        statuses=(201,),
        errors=("bad_signature", "stale_request", "wrong_market", "not_a_member"),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/meters",
        writes.register_meter,
        answers.RegisteredMeter,
        body=RegistrationBody,
        statuses=(201, 200),
        errors=(
            "bad_signature",
            "wrong_device_id",
            "not_a_member",
            "suspended",
            "limit_too_high",
            "meter_taken",
            "too_many_meters",
            *_STORAGE,
        ),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/orders",
        writes.place_order,
        answers.PlacedOrder,
        body=PlaceOrderBody,
        statuses=(201, 200),
        errors=(
            "bad_signature",
            "not_a_member",
            "unknown_meter",
            "suspended",
            *_ORDER_RULES,
            "trading_halted",
            *_STORAGE,
        ),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/withdrawals",
        writes.withdraw,
        answers.WithdrawalAnswer,
        body=WithdrawalBody,
        statuses=(201, 200),
        errors=(
            "bad_signature",
            "not_a_member",
            "recipient_invalid",
            "relay_fee_not_zero",
            "wrong_nonce",
            "withdrawal_open",
            "expired",
            "insufficient_funds",
            *_STORAGE,
        ),
        scope=Scope.SIGNED,
    ),
    Route(
        "DELETE",
        f"{API}/orders",
        writes.cancel_orders,
        answers.CancelledOrders,
        body=CancelBody,
        errors=("bad_signature", "wrong_market", "not_a_member", *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "DELETE",
        f"{API}/orders/{{digest}}",
        writes.cancel_order,
        answers.CancelledOrders,
        parameters=OrderPath,
        body=CancelBody,
        errors=(
            "bad_signature",
            "wrong_market",
            "not_a_member",
            "not_your_order",
            "unknown_order",
            "order_not_open",
            *_STORAGE,
        ),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/readings",
        writes.store_reading,
        answers.DeviceReceiptAnswer,
        body=ReadingBody,
        statuses=(201, 200),
        errors=("bad_signature", "unknown_meter", "suspended", *_READING_RULES, *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "GET",
        f"{API}/meters/{{device_id}}",
        reads.meter,
        answers.MeterAnswer,
        parameters=MeterPath,
        errors=("unknown_meter", "not_yours"),
        scope=Scope.SESSION,
    ),
    Route("GET", f"{API}/intervals", reads.intervals, answers.IntervalsAnswer, parameters=IntervalPage),
    Route(
        "GET",
        f"{API}/book/{{delivery_start}}",
        reads.book,
        answers.BookAnswer,
        parameters=BookPath,
        errors=("not_found",),
    ),
    Route("GET", f"{API}/trades", reads.trades, answers.TradesAnswer, parameters=TradePage),
    Route("GET", f"{API}/accounts", reads.accounts, answers.AccountsAnswer),
    Route(
        "GET",
        f"{API}/accounts/{{address}}",
        reads.account,
        answers.AccountAnswer,
        parameters=AccountPath,
        errors=("not_found",),
    ),
    Route(
        "GET",
        f"{API}/accounts/{{address}}/orders",
        reads.orders,
        answers.OrdersAnswer,
        parameters=AccountPage,
        errors=("not_yours",),
        scope=Scope.SESSION,
    ),
    Route(
        "GET",
        f"{API}/receipts/{{address}}",
        reads.receipts,
        answers.ReceiptsAnswer,
        parameters=ReceiptPage,
        errors=("not_yours",),
        scope=Scope.SESSION,
    ),
    Route(
        "GET",
        f"{API}/receipts/{{address}}/{{delivery_start}}",
        reads.receipt,
        answers.ReceiptAnswer,
        parameters=ReceiptPath,
        errors=("not_yours", "not_found"),
        scope=Scope.SESSION,
    ),
    Route("GET", "/healthz", reads.alive, answers.AliveAnswer),
    Route("GET", "/readyz", reads.ready, answers.HealthAnswer, statuses=(200, 503)),
)
