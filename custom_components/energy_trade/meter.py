"""The home's meter as Home Assistant's entities show it."""

from __future__ import annotations

from dataclasses import dataclass

from homeassistant.const import ATTR_UNIT_OF_MEASUREMENT, STATE_UNAVAILABLE, STATE_UNKNOWN
from homeassistant.core import HomeAssistant
from homeassistant.helpers import entity_registry as er

from .household.guard import GuardRefusal, Register, Sample, read_register

LATE_S_MAX = 10
NO_REGISTER = Register(0)


@dataclass(frozen=True, slots=True)
class MeterEntities:
    """Entity-registry ids (or entity ids, where there is no registry entry) of the two registers."""

    import_meter: str
    export_meter: str | None


def reference_of(hass: HomeAssistant, entity_id: str) -> str:
    """Return what to remember of an entity: its registry id survives a renaming."""
    entry = er.async_get(hass).async_get(entity_id)
    return entity_id if entry is None else entry.id


def entity_of(hass: HomeAssistant, reference: str) -> str | None:
    """Return the entity's present id, or ``None`` when it is gone."""
    return er.async_resolve_entity_id(er.async_get(hass), reference)


def read_sample(
    hass: HomeAssistant, entities: MeterEntities, at: int, now: int, clock_offset_s: int
) -> Sample | GuardRefusal:
    """Read both registers for the boundary ``at``, or say why they cannot be used."""
    if now - at > LATE_S_MAX:
        return GuardRefusal("late", f"the boundary was noticed {now - at} s late: this system was busy or asleep")
    consumption = read_entity(hass, entities.import_meter)
    if isinstance(consumption, GuardRefusal):
        return consumption
    register, reported_at = consumption
    produced = NO_REGISTER
    if entities.export_meter is not None:
        production = read_entity(hass, entities.export_meter)
        if isinstance(production, GuardRefusal):
            return production
        produced, production_reported_at = production
        # A register that stands still (no sun, no need) may not be reported at all; the other one is.
        reported_at = max(reported_at, production_reported_at)
    return Sample(at, register, produced, reported_at, clock_offset_s)


def read_entity(hass: HomeAssistant, reference: str) -> tuple[Register, int] | GuardRefusal:
    """Return an entity's register and when it was last reported (UTC seconds)."""
    entity_id = entity_of(hass, reference)
    state = None if entity_id is None else hass.states.get(entity_id)
    if state is None:
        return GuardRefusal("missing", f"the meter {entity_id or reference} does not exist (any more)")
    if state.state in (STATE_UNAVAILABLE, STATE_UNKNOWN):
        return GuardRefusal("unavailable", f"the meter {entity_id} is {state.state}: check its connection")
    register = read_register(state.state, state.attributes.get(ATTR_UNIT_OF_MEASUREMENT))
    if isinstance(register, GuardRefusal):
        return GuardRefusal(register.code, f"{entity_id}: {register.message}")
    return register, int(state.last_reported.timestamp())
