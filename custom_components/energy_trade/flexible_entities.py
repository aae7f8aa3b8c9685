"""The devices that the owner offers, as Home Assistant's entities show them and as its services set them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from homeassistant.config_entries import ConfigEntry, ConfigSubentry
from homeassistant.const import (
    ATTR_ENTITY_ID,
    ATTR_UNIT_OF_MEASUREMENT,
    PERCENTAGE,
    SERVICE_TURN_OFF,
    SERVICE_TURN_ON,
    STATE_OFF,
    STATE_ON,
    UnitOfPower,
)
from homeassistant.core import Context, HomeAssistant, State

from .const import (
    BATTERY,
    BATTERY_RESERVE_PERCENT,
    CONF_BATTERY_RESERVE,
    CONF_CAPACITY,
    CONF_CHARGE_MAX,
    CONF_CONNECTED_ENTITY,
    CONF_CONTROL_ENTITY,
    CONF_DISCHARGE_MAX,
    CONF_ENERGY,
    CONF_LEAST,
    CONF_LIMIT_ENTITY,
    CONF_OFF_MAX,
    CONF_ON_MIN,
    CONF_POWER,
    CONF_RATED,
    CONF_READY_BY,
    CONF_RESERVE,
    CONF_SOC_ENTITY,
    CONF_SWITCH_ENTITY,
    CONF_WINDOW,
    EV,
    INVERTER,
    LOAD,
)
from .household.flexibility import Command
from .household.flexible import OFF, ON, Battery, Device, Ev, Inverter, Load, Seen, What, Window
from .meter import entity_of

ANSWER_S = 15.0
MINUTE_S = 60
_SWITCHED = frozenset({What.SWITCH_ON, What.SWITCH_OFF})
_WATTS: dict[str, float] = {UnitOfPower.WATT: 1.0, UnitOfPower.KILO_WATT: 0.001}


@dataclass(frozen=True, slots=True)
class Wired:
    """A device with what else tells of it: a battery's state of charge, whether a car is plugged in."""

    device: Device
    helper: str | None = None


def wired_devices(entry: ConfigEntry[Any]) -> tuple[Wired, ...]:
    """Return the devices of the entry's subentries that can be moved."""
    least_reserve = entry.options.get(CONF_BATTERY_RESERVE, BATTERY_RESERVE_PERCENT)
    found = (_wired(subentry, least_reserve) for subentry in entry.subentries.values())
    return tuple(wired for wired in found if wired is not None)


def see(hass: HomeAssistant, wired: Wired) -> Seen:
    """Return what the device's entities show."""
    device = wired.device
    match device:
        case Battery():
            return _with_charge(hass, see_number(hass, device.entity, _WATTS), wired.helper)
        case Inverter():
            watts = {unit: factor * device.rated_w / 100 for unit, factor in _WATTS.items()}
            return see_number(hass, device.entity, {PERCENTAGE: 1.0, **watts})
        case Ev():
            return _with_plug(hass, see_switch(hass, device.entity), wired.helper)
        case Load():
            return see_switch(hass, device.entity)


def see_held(hass: HomeAssistant, entity: str, what: What) -> Seen:
    """Return what an entity shows whose device is not offered any more."""
    if what in _SWITCHED:
        return see_switch(hass, entity)
    return see_number(hass, entity, {PERCENTAGE: 1.0, **_WATTS})


def see_switch(hass: HomeAssistant, reference: str) -> Seen:
    """Return whether a switch is on, or why that is not known."""
    state = _state(hass, reference)
    if isinstance(state, Seen):
        return state
    if state.state not in (STATE_ON, STATE_OFF):
        return Seen(None, f"{state.entity_id} is {state.state}")
    return Seen(ON if state.state == STATE_ON else OFF, changed_at=int(state.last_changed.timestamp()))


def see_number(hass: HomeAssistant, reference: str, scales: Mapping[str, float]) -> Seen:
    """Return a set-point, in its own unit, or why it cannot be used; ``scales`` are the units that make sense."""
    state = _state(hass, reference)
    if isinstance(state, Seen):
        return state
    value = _number(state.state)
    if value is None:
        return Seen(None, f"{state.entity_id} is {state.state}: what it was set to could not be restored")
    scale = scales.get(unit := str(state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)))
    if scale is None:
        return Seen(None, f"{state.entity_id} is set in {unit}: {' or '.join(scales)} is needed")
    least, most = _number(state.attributes.get("min")), _number(state.attributes.get("max"))
    step = _number(state.attributes.get("step"))
    if least is None or most is None or step is None or step <= 0:
        return Seen(None, f"{state.entity_id} does not tell its range")
    changed_at = int(state.last_changed.timestamp())
    return Seen(value, changed_at=changed_at, scale=scale, least=least, most=most, step=step)


async def carry_out(hass: HomeAssistant, command: Command) -> str:
    """Call the service that the command means; return what went wrong, empty if nothing."""
    entity_id = entity_of(hass, command.entity)
    if entity_id is None:
        return "there is no such entity"
    domain = entity_id.partition(".")[0]
    data: dict[str, Any] = {ATTR_ENTITY_ID: entity_id}
    if command.what in _SWITCHED:
        service = SERVICE_TURN_ON if command.value == ON else SERVICE_TURN_OFF
    else:
        service, data["value"] = "set_value", command.value
    try:
        async with asyncio.timeout(ANSWER_S):
            await hass.services.async_call(domain, service, data, blocking=True, context=Context())
    except TimeoutError:
        return f"no answer within {ANSWER_S:.0f} s"
    except Exception as error:  # noqa: BLE001 - any integration may stand behind the entity, and raise anything
        return str(error) or type(error).__name__
    return ""


def _wired(subentry: ConfigSubentry, least_reserve: int) -> Wired | None:
    data, key, name = subentry.data, subentry.subentry_id, subentry.title
    window = _window(data.get(CONF_WINDOW))
    match subentry.subentry_type:
        case kind if kind == BATTERY and (entity := data.get(CONF_CONTROL_ENTITY)):
            reserve = max(data[CONF_RESERVE], least_reserve)
            charge, discharge = data[CONF_CHARGE_MAX], data[CONF_DISCHARGE_MAX]
            battery = Battery(key, name, entity, data[CONF_CAPACITY], charge, discharge, reserve, window)
            return Wired(battery, data[CONF_SOC_ENTITY])
        case kind if kind == LOAD:
            off_max_s, on_min_s = data[CONF_OFF_MAX] * MINUTE_S, data[CONF_ON_MIN] * MINUTE_S
            return Wired(Load(key, name, data[CONF_SWITCH_ENTITY], data[CONF_POWER], off_max_s, on_min_s, window))
        case kind if kind == EV:
            energy_wh, ready_by = data[CONF_ENERGY], data[CONF_READY_BY]
            car = Ev(key, name, data[CONF_SWITCH_ENTITY], data[CONF_POWER], energy_wh, ready_by, window)
            return Wired(car, data.get(CONF_CONNECTED_ENTITY))
        case kind if kind == INVERTER:
            return Wired(Inverter(key, name, data[CONF_LIMIT_ENTITY], data[CONF_RATED], data[CONF_LEAST], window))
    return None


def _window(stored: Mapping[str, int] | None) -> Window | None:
    return None if stored is None else Window(stored["from"], stored["to"])


def _state(hass: HomeAssistant, reference: str) -> State | Seen:
    entity_id = entity_of(hass, reference)
    if entity_id is None:
        return Seen(None, "its entity does not exist any more", gone=True)
    state = hass.states.get(entity_id)
    return Seen(None, f"{entity_id} does not exist (yet)") if state is None else state


def _with_charge(hass: HomeAssistant, seen: Seen, reference: str | None) -> Seen:
    """Add the battery's state of charge; without it the battery is not moved, but can be given back."""
    state = None if reference is None else _state(hass, reference)
    if not isinstance(state, State):
        return _but(seen, "its state of charge is not known" if state is None else state.problem)
    percent, unit = _number(state.state), state.attributes.get(ATTR_UNIT_OF_MEASUREMENT)
    if percent is None or not 0 <= percent <= 100 or unit != PERCENTAGE:
        shown = f"{state.state} {unit}" if percent is not None and unit else state.state
        return _but(seen, f"{state.entity_id} is {shown}: not a state of charge in %")
    return replace(seen, soc_percent=percent)


def _with_plug(hass: HomeAssistant, seen: Seen, reference: str | None) -> Seen:
    """Add whether the car is plugged in; if that should be known and is not, it counts as gone."""
    if reference is None:
        return seen
    state = _state(hass, reference)
    if isinstance(state, Seen):
        return _but(replace(seen, connected=False), state.problem)
    if state.state not in (STATE_ON, STATE_OFF):
        return _but(replace(seen, connected=False), f"{state.entity_id} is {state.state}")
    return replace(seen, connected=state.state == STATE_ON)


def _but(seen: Seen, problem: str) -> Seen:
    return replace(seen, problem=seen.problem or problem)


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
