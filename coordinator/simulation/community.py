"""The demo's coordinator and simulated homes as processes of their own."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from .processes import LOOPBACK, Child

INTERVAL_S = 60
WELCOME_CREDIT_MICRO = 100_000_000
_POLL_S = 0.2
_START_S = 120
_SETTINGS = """\
# Written by `energy-trade demo` at each start.
[market]
id = "sunny-street"
name = "Sunny Street"
currency = "EUR"
interval_s = {interval_s}
gate_s = 10
horizon_s = 900
reading_deadline_s = 45
price_min_micro_per_kwh = 0
price_max_micro_per_kwh = 500000
supplier_micro_per_kwh = 320000
feed_in_micro_per_kwh = 80000
session_every_s = {interval_s}
community_fee_micro_per_kwh = 5000
invite = "{invite}"
welcome_credit_micro = {welcome_credit_micro}

[http]
host = "{host}"
port = {port}
account_requests_per_s = 50
"""


class NotReady(Exception):
    """The coordinator did not become ready; the sentence says what it lacks."""


@dataclass(frozen=True, slots=True)
class Community:
    """One market on this machine, described by its data folder."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """The coordinator's address."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def coordinator_data(self) -> Path:
        """Where the coordinator keeps ledger, chain and keys."""
        return self.data / "coordinator"

    @property
    def invite(self) -> str:
        """The invite code, made at the first start."""
        path = self.data / "invite.json"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(json.dumps(secrets.token_urlsafe(12)) + "\n")
        invite: str = json.loads(path.read_text())
        return invite

    async def start_coordinator(self) -> Child:
        """Start the coordinator with its own local chain."""
        settings = self.data / "coordinator.toml"
        settings.touch(mode=0o600)
        settings.write_text(
            _SETTINGS.format(
                interval_s=INTERVAL_S,
                invite=self.invite,
                welcome_credit_micro=WELCOME_CREDIT_MICRO,
                host=LOOPBACK,
                port=self.port,
            )
        )
        command = [*_energy_trade(), "serve", "--config", str(settings), "--data", str(self.coordinator_data)]
        return await Child.start("the coordinator", command, self.data / "logs" / "coordinator.log")

    async def start_homes(self, count: int, sun_started_at: int) -> Child:
        """Start the simulated homes."""
        command = [
            *(*_energy_trade(), "homes", "--url", self.url, "--count", str(count)),
            *("--data", str(self.data / "homes"), "--sun-start", str(sun_started_at)),
        ]
        invite = {"ENERGY_TRADE_INVITE": self.invite}
        return await Child.start("the simulated homes", command, self.data / "logs" / "homes.log", invite)

    async def until_ready(self, session: aiohttp.ClientSession, coordinator: Child) -> None:
        """Return when the coordinator says that it can do its work."""
        last = "no answer"
        try:
            async with asyncio.timeout(_START_S):
                while True:
                    coordinator.check()
                    ready, last = await _readiness(session, self.url)
                    if ready:
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotReady(
                f"the coordinator is not ready after {_START_S} s ({last}); read {coordinator.log}"
            ) from None


async def _readiness(session: aiohttp.ClientSession, url: str) -> tuple[bool, str]:
    try:
        async with session.get(f"{url}/readyz") as response:
            text = await response.text()
            return response.status == 200 and json.loads(text)["status"] == "ready", text[:200]
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return False, repr(error)


def _energy_trade() -> list[str]:
    return [sys.executable, "-m", __package__.partition(".")[0]]
