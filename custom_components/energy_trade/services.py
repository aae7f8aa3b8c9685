"""Actions: place and cancel orders by hand, and take money out, with what the market answered."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import service
from homeassistant.util import dt as dt_util

from .const import DOMAIN
from .coordinator import EnergyTradeConfigEntry
from .household.courier import Answer
from .household.reason import Refusal
from .household.terms import next_open
from .protocol.client import CoordinatorRefused, CoordinatorUnavailable
from .protocol.keys import read_address
from .protocol.messages import ZERO_HASH, Side, TimeInForce
from .protocol.units import MICRO, WH_PER_KWH

PLACE_ORDER: Final = "place_order"
CANCEL_ORDER: Final = "cancel_order"
WITHDRAW: Final = "withdraw"

ATTR_CONFIG_ENTRY: Final = "config_entry_id"
ATTR_SIDE: Final = "side"
ATTR_ENERGY: Final = "energy_kwh"
ATTR_PRICE: Final = "limit_price"
ATTR_START: Final = "delivery_start"
ATTR_TIME_IN_FORCE: Final = "time_in_force"
ATTR_ORDER: Final = "order"
ATTR_AMOUNT: Final = "amount"
ATTR_TO: Final = "to"

_ALLOWED_FOR_MARKET_ORDERS = (TimeInForce.GOOD_TILL_GATE, TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL)

PLACE_ORDER_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY): cv.string,
        probatio.Required(ATTR_SIDE): probatio.In([side.value for side in Side]),
        probatio.Required(ATTR_ENERGY): probatio.All(probatio.Coerce(float), probatio.Range(min=0.001, max=1_000_000)),
        probatio.Optional(ATTR_PRICE): probatio.All(probatio.Coerce(float), probatio.Range(min=-1_000, max=1_000)),
        probatio.Optional(ATTR_START): cv.datetime,
        probatio.Optional(ATTR_TIME_IN_FORCE, default=TimeInForce.GOOD_TILL_GATE.value): probatio.In(
            [kind.value for kind in _ALLOWED_FOR_MARKET_ORDERS]
        ),
    }
)
CANCEL_ORDER_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY): cv.string,
        probatio.Optional(ATTR_ORDER): cv.matches_regex(r"^0x[0-9a-fA-F]{64}$"),
    }
)
WITHDRAW_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY): cv.string,
        probatio.Required(ATTR_AMOUNT): probatio.All(
            probatio.Coerce(float), probatio.Range(min=0.000_001, max=1_000_000_000)
        ),
        probatio.Required(ATTR_TO): cv.matches_regex(r"^0x[0-9a-fA-F]{40}$"),
    }
)


@callback
def async_setup_services(hass: HomeAssistant) -> None:
    """Register the actions, once for all entries."""
    for name, handler, schema in (
        (PLACE_ORDER, _place_order, PLACE_ORDER_SCHEMA),
        (CANCEL_ORDER, _cancel_order, CANCEL_ORDER_SCHEMA),
        (WITHDRAW, _withdraw, WITHDRAW_SCHEMA),
    ):
        hass.services.async_register(DOMAIN, name, handler, schema, supports_response=SupportsResponse.OPTIONAL)


async def _place_order(call: ServiceCall) -> ServiceResponse:
    """Place one order; ``status`` is ``queued`` when the coordinator has not answered yet."""
    home = _entry(call).runtime_data.home
    price = call.data.get(ATTR_PRICE)
    result = await home.async_place(
        _delivery_start(call, next_open(home.agent.info, home.market_time())),
        Side(call.data[ATTR_SIDE]),
        _scaled(call.data[ATTR_ENERGY], WH_PER_KWH),
        None if price is None else _scaled(price, MICRO),
        TimeInForce(call.data[ATTR_TIME_IN_FORCE]),
    )
    if isinstance(result, Refusal):
        raise _refused(result.code, result.message)
    item, answer = result
    waiting = {"order": item.key.removeprefix("order:"), "status": "queued"}
    return _response(answer, waiting)


async def _cancel_order(call: ServiceCall) -> ServiceResponse:
    """Cancel one order, or all."""
    order = call.data.get(ATTR_ORDER)
    digest = ZERO_HASH if order is None else bytes.fromhex(order[2:])
    answer = await _entry(call).runtime_data.home.async_cancel(digest)
    return _response(answer, {"cancelled": [], "status": "queued"})


async def _withdraw(call: ServiceCall) -> ServiceResponse:
    """Send money to a wallet; ``status`` is ``open`` until it is on chain, the balance shows when it is."""
    home = _entry(call).runtime_data.home
    try:
        to = read_address(call.data[ATTR_TO])
    except ValueError as error:
        raise _refused("recipient_invalid", str(error)) from error
    if home.held:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="held")
    try:
        return await home.async_withdraw(to, _scaled(call.data[ATTR_AMOUNT], MICRO))
    except CoordinatorRefused as refusal:
        raise _refused(refusal.code, str(refusal)) from refusal
    except CoordinatorUnavailable as error:
        raise _failed("unavailable", error) from error
    except ValueError as error:
        raise _failed("unusable", error) from error


def _entry(call: ServiceCall) -> EnergyTradeConfigEntry:
    entry: EnergyTradeConfigEntry = service.async_get_config_entry(call.hass, DOMAIN, call.data.get(ATTR_CONFIG_ENTRY))
    return entry


def _delivery_start(call: ServiceCall, default: int) -> int:
    """Return the wished interval's start; a time without zone is the home's local time."""
    wished: datetime | None = call.data.get(ATTR_START)
    return default if wished is None else int(dt_util.as_utc(wished).timestamp())


def _scaled(value: float, factor: int) -> int:
    """Turn what a person typed into integer units, exactly as it reads."""
    return int((Decimal(str(value)) * factor).to_integral_value())


def _response(answer: Answer | None, waiting: dict[str, Any]) -> ServiceResponse:
    if isinstance(answer, CoordinatorRefused):
        raise _refused(answer.code, str(answer))
    return answer if isinstance(answer, dict) else waiting


def _failed(key: str, error: Exception) -> HomeAssistantError:
    return HomeAssistantError(
        translation_domain=DOMAIN, translation_key=key, translation_placeholders={"reason": str(error)}
    )


def _refused(code: str, reason: str) -> ServiceValidationError:
    return ServiceValidationError(
        translation_domain=DOMAIN,
        translation_key="order_refused",
        translation_placeholders={"code": code, "reason": reason},
    )
