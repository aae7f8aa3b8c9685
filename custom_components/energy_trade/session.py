"""The coordinator's client for one home: it renews its session by itself."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, override

import aiohttp
from homeassistant.util import dt as dt_util

from .household.identity import Identity
from .protocol.client import CoordinatorClient, CoordinatorRefused
from .protocol.typed_data import Domain


def installation_of(config_folder: str, account: str) -> str:
    """Return what tells this system from another one with the same keys, such as a restored backup.

    It stays the same over restarts: it rests on the machine's network address (where there is one) and on the folder.
    """
    node = uuid.getnode()
    machine = "" if node >> 40 & 1 else f"{node:012x}"  # a random address has its multicast bit set (RFC 9562)
    text = f"energy-trade/installation/1|{machine}|{config_folder}|{account}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class HomeClient(CoordinatorClient):
    """Calls of one home; an expired session is opened again and the call repeated once.

    ``sent_messages`` and ``sent_bytes`` (path and content of each request) count what left the home since the start.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        identity: Identity,
        market: str,
        domain: Domain,
        installation: str = "",
    ) -> None:
        super().__init__(session, url, installation=installation)
        self.sent_messages = 0
        self.sent_bytes = 0
        self._identity = identity
        self._market = market
        self._domain = domain

    @override
    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return await self._send(method, path, body)
        except CoordinatorRefused as refusal:
            if refusal.code != "unauthorized" or path == "/sessions":
                raise
        request = self._identity.session(self._market, int(dt_util.utcnow().timestamp()))
        await self.open_session(request, self._identity.account_key, self._domain)
        return await self._send(method, path, body)

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """Make one call and count it, whether it arrives or not."""
        self.sent_messages += 1
        self.sent_bytes += len(path.encode()) + (0 if body is None else len(json.dumps(body).encode()))
        return await super()._call(method, path, body)
