"""The one error envelope and the stable codes with their HTTP status."""

from __future__ import annotations

from typing import TypedDict

RETRY_AFTER_S = 5


class ErrorEnvelope(TypedDict):
    """What every refusal looks like: a stable code and a sentence that says what to do."""

    code: str
    message: str
    detail: str


class Refusal(Exception):
    """Ends a request with an error envelope."""

    def __init__(self, code: str, message: str, detail: str = "", *, retry_after_s: int | None = None) -> None:
        """Keep what the caller is told."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after_s = RETRY_AFTER_S if retry_after_s is None and self.status == 503 else retry_after_s

    @property
    def status(self) -> int:
        """The HTTP status of the code; a rule of the market that has no entry is 422."""
        return STATUS.get(self.code, 422)

    def envelope(self) -> ErrorEnvelope:
        """Return the answer's body."""
        return {"code": self.code, "message": self.message, "detail": self.detail}


STATUS = {
    "malformed": 400,
    "malformed_reading": 400,
    "bad_signature": 401,
    "stale_request": 401,
    "unauthorized": 401,
    "invite_wrong": 403,
    "not_a_member": 403,
    "not_your_order": 403,
    "not_yours": 403,
    "origin_refused": 403,
    "suspended": 403,
    "not_found": 404,
    "unknown_correction": 404,
    "unknown_meter": 404,
    "unknown_order": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "already_member": 409,
    "correction_changed": 409,
    "duplicate_bundle": 409,
    "duplicate_meter": 409,
    "duplicate_order": 409,
    "duplicate_withdrawal": 409,
    "equivocation": 409,
    "meter_taken": 409,
    "order_not_open": 409,
    "other_installation": 409,
    "withdrawal_open": 409,
    "wrong_nonce": 409,
    "sequence_gap": 409,
    "wrong_previous": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "too_many_requests": 429,
    "internal": 500,
    "internal_error": 500,
    "busy": 503,
    "stopping": 503,
    "storage_failed": 503,
    "storage_full": 503,
    "trading_halted": 503,
}
"""Every code that is not a plain refusal by a rule (422)."""
