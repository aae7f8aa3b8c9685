"""Rate limits: who calls, one token bucket per caller, a bounded number of callers remembered."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from aiohttp import web

from ..config import HttpConfig

CALLERS_MAX = 20_000


@dataclass(slots=True)
class RateLimiter:
    """Lets each caller make ``per_s`` requests a second on average and ``burst`` at once.

    The longest unseen caller is forgotten when there are too many; its bucket would be full again
    long before, unless an attacker brings thousands of addresses, which no bucket stops.
    """

    per_s: int
    burst: int
    callers_max: int = CALLERS_MAX
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, caller: str, now_s: float, wanted: int = 1) -> int:
        """Take ``wanted`` tokens at the monotonic time ``now_s``, all or none; return 0, or the seconds to wait."""
        tokens, seen_s = self._buckets.pop(caller, (float(self.burst), now_s))
        tokens = min(float(self.burst), tokens + (now_s - seen_s) * self.per_s)
        allowed = tokens >= wanted
        self._buckets[caller] = (tokens - wanted if allowed else tokens, now_s)
        if len(self._buckets) > self.callers_max:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, round((wanted - tokens) / self.per_s))


def address_of(request: web.Request, config: HttpConfig) -> str:
    """Return who asks; behind a trusted proxy the last address that it wrote."""
    peer = request.remote or "unknown"
    if peer in config.trusted_proxies:
        return request.headers.get("X-Forwarded-For", peer).rpartition(",")[2].strip()
    return peer
