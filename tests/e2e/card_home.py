"""A real Home Assistant with the integration set up, beside a real coordinator: what the cards are looked at in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.protocol.messages import Side
from coordinator.simulation.mqtt_meter import MeterValues
from coordinator.simulation.processes import Ports
from coordinator.simulation.smart_home import DOMAIN, SmartHome, set_up_integration, start_smart_home
from tests.component.community import Community
from tests.edge.support import INVITE

_PATIENCE_S = 200.0
_SURPLUS_W = 4_200


class SunnyMeter:
    """A home that gives 4.2 kW to the grid, all day."""

    def __init__(self) -> None:
        """Begin with the registers of a meter that has been in the house for some years."""
        self._began = time.time()

    async def read(self) -> MeterValues:
        """Return what the meter shows now."""
        given_wh = int((time.time() - self._began) * _SURPLUS_W / 3600)
        return MeterValues(4_213_000, 2_871_000 + given_wh, -_SURPLUS_W)


@dataclass(frozen=True, slots=True)
class CardHome:
    """What a test of the cards turns and looks at."""

    hass: SmartHome
    community: Community

    async def snapshot(self) -> dict[str, Any]:
        """Return what the cards are told now."""
        async with self.hass.api.session.ws_connect(f"{self.hass.url}/api/websocket") as socket:
            await socket.receive_json()
            await socket.send_json({"type": "auth", "access_token": self.hass.api.token})
            await socket.receive_json()
            await socket.send_json({"id": 1, "type": f"{DOMAIN}/subscribe"})
            await socket.receive_json()
            event: dict[str, Any] = (await socket.receive_json())["event"]
        return event

    async def until(self, wanted: str, holds: Any) -> dict[str, Any]:
        """Wait until the snapshot is as wanted; return it."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            found = await self.snapshot()
            if holds(found):
                return found
            self.hass.check()
            assert time.monotonic() < deadline, f"{wanted} did not happen: {found}"
            await asyncio.sleep(0.5)

    async def trades(self) -> None:
        """Let the home offer its surplus and a neighbour buy some of it for the next interval."""
        await self.community.neighbour_joins()
        await self.switch("shadow", on=False)
        found = await self.until(
            "an offer", lambda seen: any(row["plan"] and row["plan"]["side"] for row in seen["intervals"])
        )
        for row in found["intervals"]:
            if row["plan"] and not row["plan"]["provisional"] and row["plan"]["side"] == "sell":
                await self.community.neighbour_orders(Side.BUY, 40, 240_000, row["start"])
        await self.until("an interval with a price", _has_price_now)

    async def switch(self, key: str, *, on: bool) -> None:
        """Turn one of the home's switches."""
        entity = (await self.snapshot())["entities"][f"switch.{key}"]
        await self.hass.api.command(
            "call_service", domain="switch", service=f"turn_{'on' if on else 'off'}", service_data={"entity_id": entity}
        )


def _has_price_now(seen: dict[str, Any]) -> bool:
    start = seen["at"] - seen["at"] % seen["market"]["interval_s"]
    return any(row["price_micro_per_kwh"] for row in seen["intervals"] if row["start"] == start)


@asynccontextmanager
async def card_home(folder: Path) -> AsyncIterator[CardHome]:
    """Start coordinator and Home Assistant and let the home join, by its own dialog."""
    async with AsyncExitStack() as stack:
        street = folder / "community"
        street.mkdir(parents=True)
        community = Community(street)
        await community.start()
        stack.push_async_callback(community.stop)
        data = folder / "home"
        data.mkdir()
        meter: Any = SunnyMeter()
        home = await start_smart_home(stack, data, Ports(data / "ports.json"), meter, lambda _: None)
        await set_up_integration(home, community.url, INVITE)
        (entry,) = await home.api.entries(DOMAIN)
        found = CardHome(home, community)
        snapshot = await found.until("the stream", lambda seen: seen["connection"] == "live")
        assert snapshot["entry_id"] == entry["entry_id"]
        yield found
