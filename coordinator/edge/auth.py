"""Session tokens: ``account.expiry.mac``, so that the coordinator stores no sessions."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

SESSION_S = 24 * 3600
REQUEST_AGE_S_MAX = 120


@dataclass(frozen=True, slots=True)
class Sessions:
    """Issues and checks tokens with one secret of at least 32 bytes, kept in the data directory."""

    secret: bytes = field(repr=False)

    def issue(self, account: str, now: int) -> tuple[str, int]:
        """Return a token for the account and the second at which it expires."""
        expires_at = now + SESSION_S
        return f"{account}.{expires_at}.{self._mac(account, str(expires_at))}", expires_at

    def account(self, token: str, now: int) -> str | None:
        """Return the account of a token that is ours and has not expired, else ``None``."""
        parts = token.split(".")
        if len(parts) != 3 or not token.isascii():
            return None
        account, expires_at, mac = parts
        if not hmac.compare_digest(mac, self._mac(account, expires_at)):
            return None
        return account if now < int(expires_at) else None

    def _mac(self, account: str, expires_at: str) -> str:
        text = f"energy-trade/session/1|{account}|{expires_at}"
        return hmac.new(self.secret, text.encode(), sha256).hexdigest()
