"""A home's two keys, and what is signed with them outside trading."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Self

from ..protocol.chain_messages import Withdrawal
from ..protocol.keys import AccountKey, MeterKey
from ..protocol.membership import Join, SessionRequest
from ..protocol.messages import MeterRegistration
from .terms import HomeLimits

_SALT_LABEL = b"energy-trade/salt/1"


@dataclass(frozen=True, slots=True)
class Identity:
    """The trading account's key and the meter's key."""

    account_key: AccountKey
    meter_key: MeterKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new identity from the system's randomness."""
        return cls(AccountKey.generate(), MeterKey.generate())

    @property
    def account(self) -> str:
        """The account's address."""
        return self.account_key.address

    @property
    def device_id(self) -> int:
        """The meter's id."""
        return self.meter_key.device_id

    def salt(self, counter: int) -> bytes:
        """Return the salt of the message with this number: unguessable, yet the same after a crash."""
        data = _SALT_LABEL + counter.to_bytes(8, "big")
        return hmac.new(self.account_key.secret, data, hashlib.sha256).digest()

    def join(self, market: str, invite: str, name: str, at: int) -> Join:
        """Return the request to take part in a market."""
        return Join(self.account, market, invite, name, at)

    def session(self, market: str, at: int) -> SessionRequest:
        """Return the request for a token to read what is the account's own."""
        return SessionRequest(self.account, market, at)

    def withdrawal(self, to: str, money_micro: int, nonce: int, deadline: int) -> Withdrawal:
        """Return the wish to have money sent to a wallet; the coordinator brings it on chain for nothing."""
        return Withdrawal(self.account, to, money_micro, 0, nonce, deadline)

    def registration(self, limits: HomeLimits) -> MeterRegistration:
        """Return the binding of the meter to the account, for both keys to sign."""
        public_key = self.meter_key.public_key
        return MeterRegistration(
            device_id=self.device_id,
            account=self.account,
            public_key_x=public_key[:32],
            public_key_y=public_key[32:],
            import_limit_w=limits.import_limit_w,
            export_limit_w=limits.export_limit_w,
        )
