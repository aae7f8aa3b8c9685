"""The home's batteries, as their subentries and sensors tell."""

from __future__ import annotations

import math
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT, PERCENTAGE
from homeassistant.core import HomeAssistant

from ..const import (
    BATTERY,
    BATTERY_RESERVE_PERCENT,
    CONF_BATTERY_RESERVE,
    CONF_CAPACITY,
    CONF_CHARGE_MAX,
    CONF_DISCHARGE_MAX,
    CONF_RESERVE,
    CONF_SOC_ENTITY,
)
from ..household.outlook import BatteryState
from ..household.reason import Refusal
from ..meter import entity_of

FULL: Final = 100


class BatteryProblem(Refusal):
    """Why the batteries' state is not known."""

    __slots__ = ()


def battery_meters(entry: ConfigEntry[Any]) -> tuple[tuple[str, int], ...]:
    """Return each battery as (reference of its state of charge, capacity in Wh)."""
    subentries = [subentry.data for subentry in entry.subentries.values() if subentry.subentry_type == BATTERY]
    return tuple((data[CONF_SOC_ENTITY], data[CONF_CAPACITY]) for data in subentries)


def read_batteries(hass: HomeAssistant, entry: ConfigEntry[Any]) -> BatteryState | BatteryProblem | None:
    """Return all batteries together, ``None`` without any; one that cannot be read makes the sum unknown.

    The reserve is the owner's for the home or the battery's own, whichever is more.
    """
    reserve_percent = entry.options.get(CONF_BATTERY_RESERVE, BATTERY_RESERVE_PERCENT)
    sums = [0, 0, 0, 0, 0]
    for subentry in entry.subentries.values():
        if subentry.subentry_type != BATTERY:
            continue
        data = subentry.data
        charge = _charge_percent(hass, data[CONF_SOC_ENTITY])
        if isinstance(charge, BatteryProblem):
            return BatteryProblem(charge.code, f"the battery {subentry.title}: {charge.message}")
        capacity_wh, reserve = data[CONF_CAPACITY], max(reserve_percent, data.get(CONF_RESERVE, 0))
        powers = data[CONF_CHARGE_MAX], data[CONF_DISCHARGE_MAX]
        own = (capacity_wh, round(capacity_wh * charge / FULL), *powers, -(-capacity_wh * reserve // FULL))
        sums = [total + part for total, part in zip(sums, own, strict=True)]
    return BatteryState(*sums) if sums[0] else None


def _charge_percent(hass: HomeAssistant, reference: str) -> float | BatteryProblem:
    entity_id = entity_of(hass, reference)
    state = None if entity_id is None else hass.states.get(entity_id)
    if state is None:
        return BatteryProblem("missing", f"{entity_id or reference} does not exist (any more)")
    unit = state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)
    if unit != PERCENTAGE:
        return BatteryProblem("unit", f"{entity_id} is in {unit!r}: expected %")
    try:
        charge = float(state.state)
    except ValueError:
        return BatteryProblem("unavailable", f"{entity_id} is {state.state[:40]}")
    if not math.isfinite(charge) or not 0 <= charge <= FULL:
        return BatteryProblem("absurd", f"{entity_id} says {state.state[:40]} %")
    return charge
