"""Actions: trade by hand, change the plan, take money out, and ask; each with what the market answered."""

from __future__ import annotations

from typing import Any, Final

import probatio
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.exceptions import ServiceValidationError
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import service

from . import inquiries
from .action_support import ATTR_CONFIG_ENTRY, ATTR_START, asking, entry_of, refused, scaled, time_of
from .const import DOMAIN
from .events import moment
from .household.courier import Answer
from .household.reason import Refusal
from .household.terms import next_open
from .protocol.client import CoordinatorRefused
from .protocol.keys import read_address
from .protocol.messages import ZERO_HASH, Side, TimeInForce
from .protocol.units import MICRO, WH_PER_KWH

PLACE_ORDER: Final = "place_order"
CANCEL_ORDER: Final = "cancel_order"
WITHDRAW: Final = "withdraw"
SET_INTERVAL: Final = "set_interval"
CLEAR_STATISTICS: Final = "clear_statistics"

ATTR_SIDE: Final = "side"
ATTR_ENERGY: Final = "energy_kwh"
ATTR_PRICE: Final = "limit_price"
ATTR_TIME_IN_FORCE: Final = "time_in_force"
ATTR_ORDER: Final = "order"
ATTR_AMOUNT: Final = "amount"
ATTR_TO: Final = "to"
ATTR_HOLD: Final = "hold"

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


SET_INTERVAL_SCHEMA = probatio.Schema(
    {
        probatio.Optional(ATTR_CONFIG_ENTRY): cv.string,
        probatio.Required(ATTR_START): cv.datetime,
        probatio.Required(ATTR_HOLD): cv.boolean,
    }
)
CLEAR_STATISTICS_SCHEMA = probatio.Schema({probatio.Optional(ATTR_CONFIG_ENTRY): cv.string})


_FOR_ADMINS: Final = frozenset({WITHDRAW, CLEAR_STATISTICS})
"""Money that leaves, and a history that is deleted, do not come back; the rest is for who may control the entities."""

SCHEMAS: Final = {
    PLACE_ORDER: PLACE_ORDER_SCHEMA,
    CANCEL_ORDER: CANCEL_ORDER_SCHEMA,
    WITHDRAW: WITHDRAW_SCHEMA,
    SET_INTERVAL: SET_INTERVAL_SCHEMA,
    CLEAR_STATISTICS: CLEAR_STATISTICS_SCHEMA,
    **inquiries.SCHEMAS,
}


@callback
def async_setup_services(hass: HomeAssistant) -> None:
    """Register the actions, once for all entries; automations may call each of them."""
    handlers = {
        PLACE_ORDER: _place_order,
        CANCEL_ORDER: _cancel_order,
        WITHDRAW: _withdraw,
        SET_INTERVAL: _set_interval,
        CLEAR_STATISTICS: _clear_statistics,
        **inquiries.HANDLERS,
    }
    for name, handler in handlers.items():
        only = name in inquiries.HANDLERS
        response = SupportsResponse.ONLY if only else SupportsResponse.OPTIONAL
        if name in _FOR_ADMINS:
            service.async_register_admin_service(hass, DOMAIN, name, handler, SCHEMAS[name], response)
            continue
        allowed = handler if only else service.verify_domain_control(DOMAIN)(handler)
        hass.services.async_register(DOMAIN, name, allowed, SCHEMAS[name], supports_response=response)


async def _place_order(call: ServiceCall) -> ServiceResponse:
    """Place one order; ``status`` is ``queued`` when the coordinator has not answered yet."""
    home = entry_of(call).runtime_data.home
    price = call.data.get(ATTR_PRICE)
    result = await home.async_place(
        time_of(call, ATTR_START, next_open(home.agent.info, home.market_time())),
        Side(call.data[ATTR_SIDE]),
        scaled(call.data[ATTR_ENERGY], WH_PER_KWH),
        None if price is None else scaled(price, MICRO),
        TimeInForce(call.data[ATTR_TIME_IN_FORCE]),
    )
    if isinstance(result, Refusal):
        raise refused(result.code, result.message)
    item, answer = result
    waiting = {"order": item.key.removeprefix("order:"), "status": "queued"}
    return _response(answer, waiting)


async def _cancel_order(call: ServiceCall) -> ServiceResponse:
    """Cancel one order, or all."""
    order = call.data.get(ATTR_ORDER)
    digest = ZERO_HASH if order is None else bytes.fromhex(order[2:])
    answer = await entry_of(call).runtime_data.home.async_cancel(digest)
    return _response(answer, {"cancelled": [], "status": "queued"})


async def _withdraw(call: ServiceCall) -> ServiceResponse:
    """Send money to a wallet; ``status`` is ``open`` until it is on chain, the balance shows when it is."""
    home = entry_of(call).runtime_data.home
    try:
        to = read_address(call.data[ATTR_TO])
    except ValueError as error:
        raise refused("recipient_invalid", str(error)) from error
    if home.held:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="held")
    with asking():
        return await home.async_withdraw(to, scaled(call.data[ATTR_AMOUNT], MICRO))


async def _set_interval(call: ServiceCall) -> ServiceResponse:
    """Take an interval out of the home's plan, or put it back."""
    home = entry_of(call).runtime_data.home
    start, info = time_of(call, ATTR_START, 0), home.agent.info
    if start % info.interval_s:
        raise refused("interval_misaligned", f"start at a multiple of {info.interval_s} s")
    if start < next_open(info, home.market_time()):
        raise refused("interval_not_open", "choose an interval whose gate is still open")
    await home.async_set_held(start, call.data[ATTR_HOLD])
    held: list[Any] = [moment(at) for at in sorted(home.agent.held)]
    return {"held": held}


async def _clear_statistics(call: ServiceCall) -> ServiceResponse:
    """Delete the home's statistics and begin them anew."""
    publisher = entry_of(call).runtime_data.statistics
    if "recorder" not in call.hass.config.components:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="recorder_missing")
    await publisher.async_clear()
    cleared: list[Any] = sorted(publisher.ids.values())
    return {"cleared": cleared}


def _response(answer: Answer | None, waiting: dict[str, Any]) -> ServiceResponse:
    if isinstance(answer, CoordinatorRefused):
        raise refused(answer.code, str(answer))
    return answer if isinstance(answer, dict) else waiting
