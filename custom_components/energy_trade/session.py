"""The coordinator's client for one home: it renews its session by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, override

import aiohttp
from homeassistant.util import dt as dt_util

from .household.identity import Identity
from .protocol.client import CoordinatorClient, CoordinatorRefused
from .protocol.typed_data import Domain


class HomeClient(CoordinatorClient):
    """Calls of one home; an expired session is opened again and the call repeated once."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, identity: Identity, market: str, domain: Domain
    ) -> None:
        super().__init__(session, url)
        self._identity = identity
        self._market = market
        self._domain = domain

    @override
    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            return await super()._call(method, path, body)
        except CoordinatorRefused as refusal:
            if refusal.code != "unauthorized" or path == "/sessions":
                raise
        request = self._identity.session(self._market, int(dt_util.utcnow().timestamp()))
        await self.open_session(request, self._identity.account_key, self._domain)
        return await super()._call(method, path, body)
