"""What all actions share: the entry they are for, exact units, and failures in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Final

from homeassistant.core import ServiceCall
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import service
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .coordinator import EnergyTradeConfigEntry
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable

ATTR_CONFIG_ENTRY: Final = "config_entry_id"
ATTR_START: Final = "delivery_start"


def entry_of(call: ServiceCall) -> EnergyTradeConfigEntry:
    """Return the running entry that the action is for."""
    entry: EnergyTradeConfigEntry = service.async_get_config_entry(call.hass, DOMAIN, call.data.get(ATTR_CONFIG_ENTRY))
    return entry


def time_of(call: ServiceCall, name: str, default: int) -> int:
    """Return a wished time as UTC seconds; a time without zone is the home's local time."""
    wished: datetime | None = call.data.get(name)
    return default if wished is None else int(dt_util.as_utc(wished).timestamp())


def scaled(value: float, factor: int) -> int:
    """Turn what a person typed into integer units, exactly as it reads."""
    return int((Decimal(str(value)) * factor).to_integral_value())


def refused(code: str, reason: str) -> ServiceValidationError:
    """Return the error that says why something is not accepted."""
    return ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="order_refused",
        translation_placeholders={"code": code, "reason": reason},
    )


@contextmanager
def asking() -> Iterator[None]:
    """Turn the coordinator's failures into the errors of actions."""
    try:
        yield
    except CoordinatorRefused as refusal:
        raise refused(refusal.code, str(refusal)) from refusal
    except CoordinatorUnavailable as error:
        raise HomeAssistantError(
            translation_domain=DOMAIN, translation_key="unavailable", translation_placeholders={"reason": str(error)}
        ) from error
    except ValueError as error:
        raise HomeAssistantError(
            translation_domain=DOMAIN, translation_key="unusable", translation_placeholders={"reason": str(error)}
        ) from error
