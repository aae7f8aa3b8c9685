from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.simulation.profiles import Sun
from coordinator.simulation.virtual_home import Equipment, Registers, equipment

SUN = Sun(started_at=6_000_000)
TARIFFS = {"supplier_micro_per_kwh": 320_000, "feed_in_micro_per_kwh": 80_000}


def home(number: int) -> Equipment:
    return equipment(number, **TARIFFS)


def test_of_twenty_homes_seven_have_solar_and_three_charge_a_car() -> None:
    homes = [home(number) for number in range(20)]
    assert sum(h.solar_w > 0 for h in homes) == 7
    assert sum(h.vehicle_w > 0 for h in homes) == 3
    assert len({h.load.name for h in homes}) == 20
    assert home(3) == home(3)


def test_all_limit_prices_lie_between_the_tariffs_and_buyers_meet_sellers() -> None:
    homes = [home(number) for number in range(1_000)]
    assert all(80_000 < h.sell_price_micro_per_kwh < h.buy_price_micro_per_kwh < 320_000 for h in homes)
    assert max(h.sell_price_micro_per_kwh for h in homes) < min(h.buy_price_micro_per_kwh for h in homes)


def test_around_noon_the_community_has_both_surplus_and_need() -> None:
    homes = [home(number) for number in range(20)]
    for quarter in range(40, 56):
        nets = [used - generated for used, generated in (h.power(quarter) for h in homes)]
        assert sum(net > 0 for net in nets) >= 10
        assert sum(net < 0 for net in nets) >= 5


@given(number=st.integers(0, 50), moments=st.lists(st.integers(0, 20_000), min_size=1, max_size=8))
def test_registers_never_fall_and_do_not_depend_on_how_often_they_are_read(number: int, moments: list[int]) -> None:
    moments = sorted(moments)
    start = Registers(SUN.started_at)
    at_once = start.advance(SUN.started_at + moments[-1], home(number), SUN)
    shown = [start]
    for moment in moments:
        shown.append(shown[-1].advance(SUN.started_at + moment, home(number), SUN))
    assert shown[-1] == at_once
    for before, after in pairwise(shown):
        assert after.consumption_wh >= before.consumption_wh
        assert after.production_wh >= before.production_wh


@given(number=st.integers(0, 50), seconds=st.integers(0, 20_000))
def test_energy_behind_the_meter_balances_with_the_grid_to_the_watt_second(number: int, seconds: int) -> None:
    after = Registers(SUN.started_at).advance(SUN.started_at + seconds, home(number), SUN)
    assert after.imported_ws + after.generated_ws == after.used_ws + after.exported_ws


@given(number=st.integers(0, 999), minute=st.integers(0, 200))
def test_no_interval_shows_more_than_the_registered_limits(number: int, minute: int) -> None:
    this = home(number)
    at = SUN.started_at + 60 * minute
    before = Registers(at)
    after = before.advance(at + 60, this, SUN)
    assert after.imported_ws <= this.import_limit_w * 60
    assert after.exported_ws <= this.export_limit_w * 60


def test_a_power_cut_adds_no_energy_and_time_never_goes_back() -> None:
    before = Registers(SUN.started_at, 10, 20, 30, 40)
    assert before.resumed(SUN.started_at + 99) == Registers(SUN.started_at + 99, 10, 20, 30, 40)
    assert before.resumed(SUN.started_at - 99) == before


def test_registers_survive_json() -> None:
    registers = Registers(5, 1, 2, 3, 4)
    assert Registers.from_dict(registers.to_dict()) == registers
