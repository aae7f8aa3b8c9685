import asyncio
import stat
from pathlib import Path

from coordinator.simulation.home_store import Flow, HomeStore, read_flows
from coordinator.simulation.virtual_home import Registers


async def test_keys_and_states_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "homes.sqlite3"
    store = HomeStore(path)
    first = store.identities(2)
    writer = asyncio.create_task(store.run())
    await asyncio.gather(store.save(0, {"n": 1}), store.save(1, {"n": 2}), store.save(0, {"n": 3}))
    writer.cancel()
    store.close()

    again = HomeStore(path)
    assert [i.account for i in again.identities(3)][:2] == [i.account for i in first]
    assert again.state(0) == {"n": 3}
    assert again.state(1) == {"n": 2}
    assert again.state(2) is None
    again.close()


async def test_flows_of_many_homes_add_up_per_interval(tmp_path: Path) -> None:
    path = tmp_path / "homes.sqlite3"
    store = HomeStore(path)
    store.identities(3)
    writer = asyncio.create_task(store.run())
    flow = Flow.between(Registers(0), Registers(60, 10, 20, 30, 40))
    await asyncio.gather(*(store.save(number, {}, flow) for number in range(3)))
    await store.save(0, {}, Flow.between(Registers(60), Registers(120, 1, 1, 1, 1)))
    writer.cancel()
    store.close()
    assert read_flows(path, {60}) == [Flow(60, 3, used_ws=90, generated_ws=120, imported_ws=30, exported_ws=60)]
    assert [flow.ended_at for flow in read_flows(path, {60, 120, 180})] == [60, 120]


def test_only_the_owner_may_read_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "homes.sqlite3"
    HomeStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
