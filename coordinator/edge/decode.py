"""From bytes and texts to checked models, with refusals that name the field."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web
from pydantic import ValidationError

from .errors import Refusal
from .order_wire import ORDERS_MAX, PlaceOrderBody, PlaceOrdersBody
from .signed import SignedOrder, read_batch, read_signed
from .wire import Parameters, Wire, unhex

BODY_BYTES_MAX = 64 * 1024
BODY_S_MAX = 10.0
_FAULTS_SHOWN = 5


async def read_body[W: Wire](request: web.Request, kind: type[W], bytes_max: int = BODY_BYTES_MAX) -> W:
    """Read the request's JSON as ``kind``; never more than ``bytes_max``, never longer than 10 s."""
    return _as(kind, await read_bytes(request, bytes_max))


def read_signed_order(data: bytes) -> SignedOrder:
    """Read the JSON of a signed order."""
    return read_signed(data) or _signed(_as(PlaceOrderBody, data))


def read_signed_orders(data: bytes) -> list[SignedOrder]:
    """Read the JSON of many signed orders."""
    raws = read_batch(data)
    if raws is not None and 1 <= len(raws) <= ORDERS_MAX:
        found = [read_signed(raw) for raw in raws]
        signed = [order for order in found if order is not None]
        if len(signed) == len(found):
            return signed
    return [_signed(body) for body in _as(PlaceOrdersBody, data).orders]


async def read_bytes(request: web.Request, bytes_max: int) -> bytes:
    """Read the body of a request that must be JSON."""
    if request.content_type != "application/json":
        raise Refusal("unsupported_media_type", "Send the body as Content-Type: application/json.")
    if bytes_max > BODY_BYTES_MAX:  # the application's own limit
        request = request.clone(client_max_size=bytes_max)
    try:
        if request.content.is_eof():  # it is all here, as nearly always
            data = await request.read()
        else:
            async with asyncio.timeout(BODY_S_MAX):
                data = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal("too_large", f"The body is larger than {bytes_max} bytes.") from error
    except TimeoutError as error:
        raise Refusal("too_slow", f"The body did not arrive within {BODY_S_MAX:.0f} s.") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        request.content.feed_eof()  # nothing more is to be had of it: else the server reads on, and logs the fault
        text = "The body broke off, or is not encoded as its headers say: send it whole, without Content-Encoding."
        raise Refusal("malformed", text) from error
    return data


def read_parameters[P: Parameters](request: web.Request, kind: type[P]) -> P:
    """Read path and query as ``kind``; a name may come once only."""
    if not (kind.model_fields or request.match_info or request.query_string):
        return kind()
    return _parameters(dict(request.match_info), list(request.query.items()), kind)


def _parameters[P: Parameters](path: Mapping[str, str], query: list[tuple[str, str]], kind: type[P]) -> P:
    values = dict(path)
    for name, text in query:
        if name in values:
            raise Refusal("malformed", f"{name[:60]}: is given more than once.")
        values[name] = text
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _malformed(error) from error


def _as[W: Wire](kind: type[W], data: bytes) -> W:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise _malformed(error) from error


def _signed(body: PlaceOrderBody) -> SignedOrder:
    return SignedOrder(body.order.message(), unhex(body.signature))


def _malformed(error: ValidationError) -> Refusal:
    faults = [_sentence(fault["loc"], fault["msg"]) for fault in error.errors(include_url=False, include_input=False)]
    more = len(faults) - _FAULTS_SHOWN
    detail = "; ".join(faults[1:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return Refusal("malformed", faults[0], detail)


def _sentence(where: tuple[int | str, ...], message: str) -> str:
    field = ".".join(str(part) for part in where)[:120] or "body"
    return f"{field}: {message[0].lower()}{message[1:200]}."
