"""Orders in a real market are replaced one by one when the home wants something else."""

from __future__ import annotations

from coordinator.market.state import KnownOrder
from coordinator.protocol.messages import Side
from custom_components.energy_trade.coordinator import EnergyTradeConfigEntry
from tests.component.rig import Rig, agent_of


def orders(rig: Rig) -> list[KnownOrder]:
    return list(rig.community.ledger.state.orders.values())


def standing(rig: Rig) -> dict[int, int | None]:
    """The limits of the open orders by delivery start; never two in one interval."""
    found = [known.order for known in orders(rig) if known.closed is None]
    limits = {order.delivery_start: order.limit_price_micro_per_kwh for order in found}
    assert len(limits) == len(found), "two orders stand in one interval"
    return limits


async def buying(rig: Rig, entry: EnergyTradeConfigEntry) -> dict[int, int | None]:
    """Let the home need 100 Wh; return what it has in the market then."""
    await rig.boundary("35600.000", "812.000")
    await rig.boundary("35600.100", "812.000")
    await rig.until(lambda: len(standing(rig)) == agent_of(entry).ahead)
    return standing(rig)


async def test_another_ceiling_replaces_every_order(rig: Rig, entry: EnergyTradeConfigEntry) -> None:
    before = await buying(rig, entry)
    ceiling = rig.state(entry, "ceiling", "number").entity_id
    await rig.hass.services.async_call("number", "set_value", {"entity_id": ceiling, "value": 0.2}, blocking=True)
    await rig.until(lambda: standing(rig) == dict.fromkeys(before, 200_000))
    assert len(orders(rig)) == 2 * len(before)
    assert {known.closed for known in orders(rig)} == {None, "cancelled"}


async def test_a_held_interval_is_cleared_and_traded_in_again_when_it_is_released(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    before = await buying(rig, entry)
    home, start = entry.runtime_data.home, max(before)
    await home.async_set_held(start, True)
    await rig.until(lambda: start not in standing(rig))
    assert home.plan[start].decision.reason.rule == "held"
    await rig.until(lambda: all(not order.open for order in agent_of(entry).orders.of(start)))
    await home.async_set_held(start, False)
    await rig.until(lambda: standing(rig) == before)


async def test_an_order_that_trades_while_it_is_replaced_is_not_bought_twice(
    rig: Rig, entry: EnergyTradeConfigEntry
) -> None:
    """The neighbour takes part of it before the home hears of that."""
    before = await buying(rig, entry)
    start = min(before)
    wanted_wh = sum(known.order.energy_wh for known in orders(rig) if known.order.delivery_start == start)
    await rig.community.neighbour_joins()
    await rig.community.neighbour_orders(Side.SELL, 30, 200_000, start)
    ceiling = rig.state(entry, "ceiling", "number").entity_id
    await rig.hass.services.async_call("number", "set_value", {"entity_id": ceiling, "value": 0.21}, blocking=True)
    await rig.until(lambda: standing(rig) == dict.fromkeys(before, 210_000))
    mine = [known for known in orders(rig) if known.order.delivery_start == start and known.order.side == Side.BUY]
    traded_wh = sum(known.filled_wh for known in mine)
    open_wh = sum(known.remaining_wh for known in mine if known.closed is None)
    assert traded_wh == 30
    assert traded_wh + open_wh == wanted_wh
