"""A trade of the home with its neighbour, delivered, metered and settled by the real coordinator."""

from __future__ import annotations

import time
from dataclasses import dataclass

from coordinator.protocol.messages import Side
from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.community import INTERVAL_S
from tests.component.rig import Rig


@dataclass
class Meters:
    """Registers that go on from trade to trade, in Wh."""

    own_import_wh: int = 35_600_120
    own_export_wh: int = 812_340
    other_import_wh: int = 1_000
    other_export_wh: int = 1_000


async def settle_trade(
    rig: Rig, entry: EnergyTradeConfigEntry, meters: Meters, *, buys: bool = True, energy_wh: int = 50
) -> int:
    """Let the home trade with the neighbour and both deliver a little more; return the settled interval's start."""
    start = (int(time.time()) // INTERVAL_S + 2) * INTERVAL_S
    other = Side.SELL if buys else Side.BUY
    await rig.community.neighbour_orders(other, energy_wh, 150_000, start)
    own = {"side": "buy" if buys else "sell", "energy_kwh": energy_wh / 1_000, "limit_price": 0.15}
    answer = await rig.hass.services.async_call(
        DOMAIN,
        "place_order",
        {"config_entry_id": entry.entry_id, "delivery_start": _local(start), **own},
        blocking=True,
        return_response=True,
    )
    assert answer is not None
    assert answer["status"] == "filled", answer
    await settle(rig, entry, meters, start, buys=buys, energy_wh=energy_wh)
    return start


async def settle(
    rig: Rig, entry: EnergyTradeConfigEntry, meters: Meters, start: int, *, buys: bool = True, energy_wh: int = 50
) -> None:
    """Let home and neighbour deliver what they traded, the home a little more, until it is settled."""
    for at in (start, start + INTERVAL_S):
        reached = 0
        while time.time() < at:
            reached = await rig.boundary(f"{meters.own_import_wh / 1_000:.3f}", f"{meters.own_export_wh / 1_000:.3f}")
        assert reached == at
        await rig.delivered(entry)
        await rig.community.neighbour_reads(at, meters.other_import_wh, meters.other_export_wh)
        if at == start:
            meters.own_import_wh += energy_wh + 20 if buys else 0
            meters.own_export_wh += 0 if buys else energy_wh + 20
            meters.other_import_wh += 0 if buys else energy_wh
            meters.other_export_wh += energy_wh if buys else 0
    account = str(entry.unique_id)

    async def is_settled() -> bool:
        return await rig.community.ledger.queries.receipt(account, start) is not None

    await rig.until(is_settled)


def _local(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
