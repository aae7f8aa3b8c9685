"""What entities show of a device, whatever they show; and what comes of a command."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import ConfigSubentryData
from homeassistant.core import HomeAssistant, ServiceCall
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.energy_trade.const import DOMAIN
from custom_components.energy_trade.flexible_entities import Wired, carry_out, see, wired_devices
from custom_components.energy_trade.household.flexibility import Command
from custom_components.energy_trade.household.flexible import OFF, ON, Battery, Ev, Inverter, Seen, What

HOME_RESERVE = {"battery_reserve_percent": 40}
NOBODY = "0123456789abcdef0123456789abcdef"
BATTERY = Battery("1", "Battery", "number.set_point", 10_000, 3_000, 4_000, 20)
CAR = Ev("2", "Car", "switch.car", 11_000, 20_000, 420)
INVERTER = Inverter("3", "Inverter", "number.limit", 8_000, 30)
RANGE = {"min": -5_000, "max": 5_000, "step": 10, "unit_of_measurement": "W"}


def battery(hass: HomeAssistant, *, charge: str = "80", unit: str | None = "%", **changes: Any) -> Seen:
    """Return what is seen of a battery whose set-point has these attributes."""
    hass.states.async_set("sensor.soc", charge, {"unit_of_measurement": unit})
    value = changes.pop("value", "250")
    hass.states.async_set("number.set_point", value, {**RANGE, **changes})
    return see(hass, Wired(BATTERY, "sensor.soc"))


async def test_a_battery_shows_its_set_point_and_its_charge(hass: HomeAssistant) -> None:
    seen = battery(hass)
    assert (seen.value, seen.scale, seen.least, seen.most, seen.step) == (250, 1, -5_000, 5_000, 10)
    assert seen.soc_percent == 80
    assert seen.problem == ""
    assert battery(hass, unit_of_measurement="kW").scale == 0.001


@pytest.mark.parametrize(("options", "reserve"), [({}, 20), ({"battery_reserve_percent": 5}, 10), (HOME_RESERVE, 40)])
def test_the_larger_reserve_counts_and_what_is_proposed_where_none_was_set(
    options: dict[str, int], reserve: int
) -> None:
    data = {"soc_entity": "sensor.soc", "capacity_wh": 10_000, "charge_max_w": 3_000, "discharge_max_w": 4_000}
    own = {**data, "reserve_percent": 10, "control_entity": "number.set_point"}
    subentry = ConfigSubentryData(data=own, subentry_type="battery", title="Battery", unique_id=None)
    entry = MockConfigEntry(domain=DOMAIN, options=options, subentries_data=[subentry])
    (wired,) = wired_devices(entry)
    assert isinstance(wired.device, Battery)
    assert wired.device.reserve_percent == reserve


@pytest.mark.parametrize("charge", ["unavailable", "unknown", "101", "-1", "nan", "inf", "full"])
async def test_a_charge_that_cannot_be_is_none(hass: HomeAssistant, charge: str) -> None:
    seen = battery(hass, charge=charge)
    assert seen.soc_percent is None
    assert seen.value == 250, "it can still be given back"
    assert seen.problem.endswith("not a state of charge in %")


@pytest.mark.parametrize("unit", [None, "Wh"])
async def test_a_charge_in_another_unit_is_none(hass: HomeAssistant, unit: str | None) -> None:
    assert battery(hass, unit=unit).soc_percent is None


@pytest.mark.parametrize("reference", [None, NOBODY, "sensor.nothing"])
async def test_a_charge_that_nobody_tells_is_none(hass: HomeAssistant, reference: str | None) -> None:
    battery(hass)
    seen = see(hass, Wired(BATTERY, reference))
    assert seen.soc_percent is None
    assert seen.problem


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"value": "unknown"}, "could not be restored"),
        ({"value": "unavailable"}, "could not be restored"),
        ({"value": "nan"}, "could not be restored"),
        ({"unit_of_measurement": "%"}, "is set in %: W or kW is needed"),
        ({"unit_of_measurement": None}, "is set in None: W or kW is needed"),
        ({"min": None}, "does not tell its range"),
        ({"max": "much"}, "does not tell its range"),
        ({"step": 0}, "does not tell its range"),
    ],
)
async def test_a_set_point_that_cannot_be_used_says_why(
    hass: HomeAssistant, changes: dict[str, Any], problem: str
) -> None:
    seen = battery(hass, **changes)
    assert seen.value is None
    assert problem in seen.problem


async def test_an_entity_that_is_not_there_yet_is_not_gone(hass: HomeAssistant) -> None:
    soon = see(hass, Wired(replace(BATTERY, entity="number.soon"), "sensor.soc"))
    assert (soon.value, soon.gone) == (None, False)
    gone = see(hass, Wired(replace(BATTERY, entity=NOBODY), "sensor.soc"))
    assert (gone.value, gone.gone) == (None, True)


@pytest.mark.parametrize(("unit", "scale"), [("%", 1), ("W", 80), ("kW", 0.08)])
async def test_an_inverters_limit_is_understood_in_its_unit(hass: HomeAssistant, unit: str, scale: float) -> None:
    hass.states.async_set("number.limit", "100", {**RANGE, "unit_of_measurement": unit})
    assert see(hass, Wired(INVERTER)).scale == pytest.approx(scale)


@pytest.mark.parametrize(
    ("plug", "connected", "problem"),
    [("on", True, False), ("off", False, False), ("unavailable", False, True), (None, False, True)],
)
async def test_a_car_whose_plug_is_not_known_counts_as_away(
    *, hass: HomeAssistant, plug: str | None, connected: bool, problem: bool
) -> None:
    hass.states.async_set("switch.car", "on")
    if plug is not None:
        hass.states.async_set("binary_sensor.plug", plug)
    seen = see(hass, Wired(CAR, "binary_sensor.plug"))
    assert (seen.value, seen.connected, bool(seen.problem)) == (ON, connected, problem)
    assert see(hass, Wired(CAR)).connected is None


@pytest.mark.parametrize("state", ["unavailable", "unknown", "heat"])
async def test_a_switch_that_is_neither_on_nor_off_is_not_used(hass: HomeAssistant, state: str) -> None:
    hass.states.async_set("switch.car", state)
    seen = see(hass, Wired(CAR))
    assert seen.value is None
    assert seen.problem == f"switch.car is {state}"
    assert see(hass, Wired(replace(CAR, entity="switch.soon"))).problem == "switch.soon does not exist (yet)"


async def test_a_command_that_fails_says_why(hass: HomeAssistant) -> None:
    off = Command("2", "switch.car", What.SWITCH_OFF, OFF, release=False)
    assert "switch.turn_off" in await carry_out(hass, off), "no integration offers it"
    assert await carry_out(hass, replace(off, entity=NOBODY)) == "there is no such entity"

    async def hang(_call: ServiceCall) -> None:
        await asyncio.Event().wait()

    hass.services.async_register("switch", "turn_off", hang)
    with patch("custom_components.energy_trade.flexible_entities.ANSWER_S", 0.05):
        assert await carry_out(hass, off) == "no answer within 0 s"

    async def fail(_call: ServiceCall) -> None:
        raise KeyError

    hass.services.async_register("switch", "turn_off", fail)
    assert await carry_out(hass, off) == "KeyError"
