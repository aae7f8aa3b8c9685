"""Why a command is refused: stable codes; the sentence is written where the refusal is decided."""

from __future__ import annotations

from enum import StrEnum

from .events import Rejected


class Code(StrEnum):
    """The market's rejection codes; they are part of the API and never change their meaning."""

    ALREADY_MEMBER = "already_member"
    ALREADY_SETTLED = "already_settled"
    ALREADY_SUSPENDED = "already_suspended"
    BEYOND_HORIZON = "beyond_horizon"
    DUPLICATE_CREDIT = "duplicate_credit"
    DUPLICATE_METER = "duplicate_meter"
    DUPLICATE_ORDER = "duplicate_order"
    DUPLICATE_WITHDRAWAL = "duplicate_withdrawal"
    ENERGY_OUT_OF_RANGE = "energy_out_of_range"
    EXPIRED = "expired"
    GATE_CLOSED = "gate_closed"
    GATE_OPEN = "gate_open"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    INTERVAL_CANCELLED = "interval_cancelled"
    INTERVAL_FULL = "interval_full"
    INTERVAL_MISALIGNED = "interval_misaligned"
    INTERVAL_NOT_OPEN = "interval_not_open"
    LIMIT_TOO_HIGH = "limit_too_high"
    MARKET_FULL = "market_full"
    METER_TAKEN = "meter_taken"
    NOT_A_MEMBER = "not_a_member"
    NOT_HALTED = "not_halted"
    NOT_SETTLEABLE = "not_settleable"
    NOT_SUPPORTED = "not_supported"
    NOT_VALID_YET = "not_valid_yet"
    NOT_YOUR_ORDER = "not_your_order"
    NOTHING_DUE = "nothing_due"
    ORDER_NOT_OPEN = "order_not_open"
    PRICE_OUT_OF_BAND = "price_out_of_band"
    RELAY_FEE_NOT_ZERO = "relay_fee_not_zero"
    SUSPENDED = "suspended"
    TOO_MANY_METERS = "too_many_meters"
    TOO_MANY_ORDERS = "too_many_orders"
    TRADING_HALTED = "trading_halted"
    UNKNOWN_METER = "unknown_meter"
    UNKNOWN_ORDER = "unknown_order"
    WITHDRAWAL_OPEN = "withdrawal_open"
    WRONG_MARKET = "wrong_market"
    WRONG_NONCE = "wrong_nonce"


def refuse(code: Code, message: str, detail: str = "") -> Rejected:
    """Return the refusal: a code and a sentence that says what to do."""
    return Rejected(code.value, message, detail)
