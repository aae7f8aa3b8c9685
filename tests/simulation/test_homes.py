import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from coordinator.household.planner import CANCEL_AGAIN_S
from coordinator.household.policy import Bounds
from coordinator.protocol.client import CoordinatorClient
from coordinator.simulation.home_store import HomeStore, read_flows
from coordinator.simulation.homes import SimulatedHome, World
from coordinator.simulation.profiles import Sun
from coordinator.simulation.virtual_home import equipment
from tests.edge.support import CONFIG, INVITE, NOON, Door, open_door

INTERVAL_S = CONFIG.market.interval_s
TARIFFS = {"supplier_micro_per_kwh": 320_000, "feed_in_micro_per_kwh": 80_000}
SELLER = 1
PLANS_AHEAD = 4  # a seller that waits for auctions


class AtOnce(random.Random):
    """Chance that never lets anybody wait."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


@asynccontextmanager
async def living(door: Door, path: Path, number: int = SELLER) -> AsyncIterator[SimulatedHome]:
    """Let one home with a solar plant live at the door, with its state in a file."""
    store = HomeStore(path)
    try:
        async with aiohttp.ClientSession() as session:
            url = str(door.client.make_url("/")).rstrip("/")
            world = World(store, session, url, INVITE, Sun(NOON), door.clock, AtOnce())
            info = await CoordinatorClient(session, url).market()
            identity = store.identities(number + 1)[number]
            home = SimulatedHome(world, number, identity, equipment(number, **TARIFFS), info)
            tasks = [asyncio.create_task(store.run()), asyncio.create_task(home.run())]
            yield home
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        store.close()


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if done():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within ten seconds")


async def pass_intervals(door: Door, home: SimulatedHome, count: int) -> None:
    """Turn the clock from boundary to boundary; the home signs at each."""
    for _ in range(count):
        door.clock.at += INTERVAL_S - door.clock.at % INTERVAL_S
        await until(lambda: home.agent.meter.signed_at == door.clock.at)


async def test_a_home_reads_at_each_boundary_and_sells_its_surplus(tmp_path: Path) -> None:
    async with open_door(tmp_path / "ledger") as door, living(door, tmp_path / "homes.sqlite3") as home:
        await until(lambda: home.agent.meter.acknowledged == 1)
        await pass_intervals(door, home, 2)
        await until(lambda: home.agent.meter.acknowledged == 3 and not home.agent.outbox.orders())
        account = home.agent.identity.account
        assert door.ledger.state.members[account].name == home.home.name
        orders = [known.order for known in door.ledger.state.orders.values()]
        assert {order.side for order in orders} == {"sell"}
        assert orders[0].limit_price_micro_per_kwh == home.home.sell_price_micro_per_kwh
        assert all(0 < order.energy_wh < 3_600 * INTERVAL_S // 3600 for order in orders)
        assert all(flow.homes == 1 for flow in read_flows(tmp_path / "homes.sqlite3", set(range(NOON, NOON + 9_000))))


async def test_a_home_that_wants_another_price_replaces_its_orders_one_by_one(tmp_path: Path) -> None:
    async with open_door(tmp_path / "ledger") as door, living(door, tmp_path / "homes.sqlite3", PLANS_AHEAD) as home:
        await until(lambda: home.agent.meter.acknowledged == 1)
        await pass_intervals(door, home, 1)
        await until(lambda: len(door.ledger.state.orders) == 3 and not home.agent.outbox.orders())
        floor = home.home.sell_price_micro_per_kwh + 50_000
        home.agent.bounds = Bounds(floor_micro_per_kwh=floor)
        door.clock.at += CANCEL_AGAIN_S
        await pass_intervals(door, home, 1)

        def replaced() -> bool:
            orders = list(door.ledger.state.orders.values())
            standing = {known.order.delivery_start for known in orders if known.closed is None}
            dear = {known.order.delivery_start for known in orders if known.order.limit_price_micro_per_kwh == floor}
            cancelled = {known.order.delivery_start for known in orders if known.closed == "cancelled"}
            assert len(standing) == sum(known.closed is None for known in orders), "never two in one interval"
            return len(dear) == 3 and len(cancelled) == 2

        await until(replaced)


async def test_readings_of_an_outage_arrive_later_in_order_even_after_a_restart(tmp_path: Path) -> None:
    homes = tmp_path / "homes.sqlite3"
    async with open_door(tmp_path / "ledger") as door, living(door, homes) as home:
        await until(lambda: home.agent.meter.acknowledged == 1)
        await door.client.server.close()
        await pass_intervals(door, home, 3)
        await until(lambda: len(home.agent.outbox.readings()) == 3)
        kept = [item.message for item in home.agent.outbox.readings()]
        device_id, stopped_at = home.agent.identity.device_id, door.clock.at
    async with open_door(tmp_path / "ledger") as door:
        door.clock.at = stopped_at
        async with living(door, homes) as home:
            await until(lambda: home.agent.meter.acknowledged >= 4)
        stored = [row.reading for row in await door.ledger.queries.readings(device_id)]
        assert [reading.sequence for reading in stored] == [1, 2, 3, 4]
        assert stored[1:] == kept
