"""The neighbourhood's battery: what it offers pays for its losses, and what it traded it does."""

from __future__ import annotations

import dataclasses

import pytest

from coordinator.household.identity import Identity
from coordinator.protocol.client import MarketInfo
from coordinator.protocol.keys import verify_account
from coordinator.protocol.messages import Side
from coordinator.simulation import battery
from coordinator.simulation.profiles import Sun
from coordinator.simulation.virtual_home import Registers, equipment
from tests.household.world import INFO

NOON = 1_800_000_000
TARIFFS = {"supplier_micro_per_kwh": 320_000, "feed_in_micro_per_kwh": 80_000}
BATTERY = equipment(5, **TARIFFS)


@pytest.fixture
def identity() -> Identity:
    return Identity.generate()


def test_one_home_of_twenty_is_a_battery() -> None:
    homes = [equipment(number, **TARIFFS) for number in range(40)]
    assert [number for number, home in enumerate(homes) if home.storage_w] == [5, 25]
    assert all(home.load_w == 0 for home in homes if home.storage_w)


@pytest.mark.parametrize("interval_s", [60, 900])
def test_discharging_at_the_offered_price_earns_what_charging_cost_and_the_margin(
    identity: Identity, interval_s: int
) -> None:
    info: MarketInfo = dataclasses.replace(INFO, interval_s=interval_s)
    (buy, sell), _ = battery.spread(identity, info, BATTERY, NOON)
    (bought,), (sold,) = buy.legs, sell.legs
    assert sold.energy_wh < bought.energy_wh <= min(BATTERY.storage_wh, BATTERY.storage_w * interval_s // 3600)
    assert sold.delivery_start == bought.delivery_start + interval_s
    earned, cost = sell.price_micro_per_kwh * sold.energy_wh, buy.price_micro_per_kwh * bought.energy_wh
    assert earned >= cost + battery.MARGIN_MICRO_PER_KWH * sold.energy_wh


def test_both_bundles_carry_one_mark_and_their_legs_are_signed(identity: Identity) -> None:
    bundles, legs = battery.spread(identity, INFO, BATTERY, NOON)
    assert {bundle.spread for bundle in bundles} == {bundles[0].spread} != {bytes(32)}
    for bundle, (order, signature) in zip(bundles, legs, strict=True):
        assert order.bundle == bundle.struct_hash()
        assert (order.side, order.energy_wh) == (bundle.side, bundle.legs[0].energy_wh)
        assert verify_account(order.digest(INFO.domain), signature, identity.account_key.public_key)


def test_the_fills_of_its_legs_are_its_schedule() -> None:
    legs = [leg(Side.BUY, NOON, 100), leg(Side.SELL, NOON + 60, 90), leg(Side.BUY, NOON + 120, 0, "received")]
    assert battery.schedule(legs) == {NOON: 100, NOON + 60: -90}
    assert battery.is_waiting(legs)
    assert not battery.is_waiting(legs[:2])


def test_charging_shows_as_consumption_and_discharging_as_production() -> None:
    began = Registers(NOON)
    charged = began.advance(NOON + 60, BATTERY, Sun(NOON), 6_000)
    discharged = charged.advance(NOON + 120, BATTERY, Sun(NOON), -5_400)
    assert (charged.consumption_wh, charged.production_wh) == (100, 0)
    assert (discharged.consumption_wh, discharged.production_wh) == (100, 90)


def leg(side: Side, start: int, filled_wh: int, status: str = "filled") -> dict[str, object]:
    return {"status": status, "filled_wh": filled_wh, "terms": {"side": side.value, "delivery_start": start}}
