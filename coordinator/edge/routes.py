"""The one table of everything that can be asked: method, path, types, errors, scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from . import answers, reads, trading, trading_answers, writes
from .call import Call, Reply
from .decode import BODY_BYTES_MAX, read_signed_order, read_signed_orders
from .order_wire import (
    BUNDLES_BYTES_MAX,
    ORDERS_BYTES_MAX,
    CancelBody,
    PlaceBundlesBody,
    PlaceOrderBody,
    PlaceOrdersBody,
    ReplaceOrderBody,
)
from .wire import (
    AccountPage,
    AccountPath,
    AuctionPage,
    AuctionPath,
    BookPath,
    ContractPath,
    CorrectionBody,
    IntervalPage,
    JoinBody,
    MeterPath,
    NoParameters,
    OrderPath,
    Parameters,
    ReadingBody,
    ReceiptPage,
    ReceiptPath,
    RegistrationBody,
    SessionBody,
    SessionPath,
    SignalBody,
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
    """One operation. ``statuses`` are those of success; ``errors`` the codes beyond the common ones.

    A body is at most ``body_bytes_max`` long. Where ``reader`` is given, it makes what the handler gets from the body's
    bytes, and refuses what is not as ``body`` says.
    """

    method: str
    path: str
    handler: Callable[[Call[Any, Any]], Awaitable[Reply[Any]]]
    answer: type
    parameters: type[Parameters] = NoParameters
    body: type[Wire] | None = None
    statuses: tuple[int, ...] = (200,)
    errors: tuple[str, ...] = ()
    scope: Scope = Scope.PUBLIC
    body_bytes_max: int = BODY_BYTES_MAX
    reader: Callable[[bytes], object] | None = None

    @property
    def name(self) -> str:
        """The operation's id."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """The handler's first line."""
        return (self.handler.__doc__ or "").partition("\n")[0]


_STORAGE = ("busy", "stopping", "storage_full", "storage_failed")
_WHO_TRADES = ("bad_signature", "not_a_member", "unknown_meter", "suspended", "trading_halted")
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
    "terms_contradict",
    "condition_invalid",
    "too_many_conditions",
    "preferences_invalid",
    "leg_without_bundle",
    "stage_off",
)
_BUNDLE_RULES = (
    "bundle_invalid",
    "unknown_parent",
    "too_many_bundles",
    "too_many_legs",
    "self_trade",
)
_OPEN_ORDER = ("not_your_order", "unknown_order", "order_not_open")
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
        trading.place_order,
        trading_answers.PlacedOrder,
        body=PlaceOrderBody,
        reader=read_signed_order,
        statuses=(201, 200),
        errors=(*_WHO_TRADES, *_ORDER_RULES, *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/orders/batch",
        trading.place_orders,
        trading_answers.OrderOutcomes,
        body=PlaceOrdersBody,
        body_bytes_max=ORDERS_BYTES_MAX,
        reader=read_signed_orders,
        scope=Scope.SIGNED,
    ),
    Route(
        "PUT",
        f"{API}/orders/{{digest}}",
        trading.replace_order,
        trading_answers.PlacedOrder,
        parameters=OrderPath,
        body=ReplaceOrderBody,
        statuses=(201, 200),
        errors=(*_WHO_TRADES, *_ORDER_RULES, *_OPEN_ORDER, "replace_mismatch", *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/bundles",
        trading.place_bundles,
        trading_answers.BundlesAnswer,
        body=PlaceBundlesBody,
        body_bytes_max=BUNDLES_BYTES_MAX,
        statuses=(201, 200),
        errors=(*_WHO_TRADES, *_ORDER_RULES, *_BUNDLE_RULES, *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "POST",
        f"{API}/signals",
        trading.observe_signal,
        trading_answers.ObservedSignal,
        body=SignalBody,
        statuses=(201, 200),
        errors=("bad_signature", "wrong_market", "stale_request", "signal_invalid", "interval_misaligned", *_STORAGE),
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
        trading.cancel_orders,
        trading_answers.CancelledOrders,
        body=CancelBody,
        errors=("bad_signature", "wrong_market", "not_a_member", *_STORAGE),
        scope=Scope.SIGNED,
    ),
    Route(
        "DELETE",
        f"{API}/orders/{{digest}}",
        trading.cancel_order,
        trading_answers.CancelledOrders,
        parameters=OrderPath,
        body=CancelBody,
        errors=(
            "bad_signature",
            "wrong_market",
            "not_a_member",
            *_OPEN_ORDER,
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
        errors=("bad_signature", "unknown_meter", "other_installation", "suspended", *_READING_RULES, *_STORAGE),
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
        trading_answers.BookAnswer,
        parameters=BookPath,
        errors=("not_found",),
    ),
    Route("GET", f"{API}/auctions", reads.auctions, trading_answers.AuctionsAnswer, parameters=AuctionPage),
    Route(
        "GET",
        f"{API}/auctions/{{delivery_start}}",
        reads.auction,
        trading_answers.AuctionAnswer,
        parameters=AuctionPath,
        errors=("not_found",),
    ),
    Route(
        "GET",
        f"{API}/session-auctions/{{session_at}}",
        reads.session_auction,
        trading_answers.AuctionAnswer,
        parameters=SessionPath,
        errors=("not_found",),
    ),
    Route("GET", f"{API}/trades", reads.trades, trading_answers.TradesAnswer, parameters=TradePage),
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
        trading_answers.OrdersAnswer,
        parameters=AccountPage,
        errors=("not_yours",),
        scope=Scope.SESSION,
    ),
    Route(
        "GET",
        f"{API}/orders/{{digest}}",
        reads.order,
        trading_answers.OrderAnswer,
        parameters=OrderPath,
        errors=("not_yours", "unknown_order"),
        scope=Scope.SESSION,
    ),
    Route(
        "GET",
        f"{API}/bundles/{{digest}}",
        reads.bundle,
        trading_answers.BundleAnswer,
        parameters=OrderPath,
        errors=("not_yours", "not_found"),
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
    Route(
        "GET",
        f"{API}/corrections/{{address}}",
        reads.corrections,
        answers.CorrectionsAnswer,
        parameters=AccountPath,
        errors=("not_yours",),
        scope=Scope.SESSION,
    ),
    Route(
        "POST",
        f"{API}/corrections",
        writes.sign_correction,
        answers.SignedCorrection,
        body=CorrectionBody,
        statuses=(201, 200),
        errors=(
            *("bad_signature", "wrong_market", "unknown_correction", "correction_changed", "nothing_to_sign"),
            *_STORAGE,
        ),
        scope=Scope.SIGNED,
    ),
    Route("GET", "/healthz", reads.alive, answers.AliveAnswer),
    Route("GET", "/readyz", reads.ready, answers.HealthAnswer, statuses=(200, 503)),
)
