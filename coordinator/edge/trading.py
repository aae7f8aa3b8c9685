"""Handlers of orders and bundles: check every signature, hand them to the ledger, say what became of them.

Every one can be repeated: the same signed message again is answered with its present status.
"""

from __future__ import annotations

import asyncio

from ..market.commands import CancelOrder, ObserveSignal, PlaceBundles, PlaceOrder, ReplaceOrder, SignedLeg
from ..market.events import OrderClosed, Rejected
from ..protocol.messages import ZERO_HASH, Cancel, Order
from .call import Call, Reply
from .checks import bad_signature, fresh, our_market, refusal_of
from .errors import Refusal
from .order_wire import CancelBody, CancelWire, PlaceBundlesBody, PlaceOrderBody, ReplaceOrderBody
from .services import Committed
from .signed import SignedOrder
from .trading_answers import BundlesAnswer, CancelledOrders, ObservedSignal, OrderOutcome, OrderOutcomes, PlacedOrder
from .verifier import Checked
from .wire import NoParameters, OrderPath, SignalBody, unhex


async def place_order(call: Call[NoParameters, SignedOrder]) -> Reply[PlacedOrder]:
    """Place a signed order; the same order again is answered with its present status."""
    (checked,) = await call.services.signatures.of_orders([call.body])
    command = _command(call, call.body, checked)
    return _answer(call, command.digest, await call.services.ledger.submit(command))


async def place_orders(call: Call[NoParameters, list[SignedOrder]]) -> Reply[OrderOutcomes]:
    """Place signed orders, each for itself; answer for each, in the order of the request."""
    call.charge(len(call.body) - 1)
    checked = await call.services.signatures.of_orders(call.body)
    asked = [_asked(call, signed, found) for signed, found in zip(call.body, checked, strict=True)]
    commands = [command for command in asked if isinstance(command, PlaceOrder)]
    results = iter(await call.services.ledger.submit_many(commands))
    outcomes = [_outcome(call, one, next(results)) if isinstance(one, PlaceOrder) else _refused(one) for one in asked]
    return Reply(200, {"orders": outcomes})


async def replace_order(call: Call[OrderPath, ReplaceOrderBody]) -> Reply[PlacedOrder]:
    """Place a signed order instead of an open one; its place in the queue stays when only energy falls."""
    body = call.body
    if body.cancel.order != call.parameters.digest:
        raise Refusal("malformed", "The order in the path is not the order in the signed cancellation.")
    if body.cancel.account != body.order.account:
        raise Refusal("not_your_order", "Another account's order cannot be replaced: sign both with one account.")
    cancel = await _cancellation(call, body.cancel, body.cancel_signature)
    leg = await _signed(call, body)
    call.spend(cancel.account)
    command = ReplaceOrder(leg.order, leg.digest, leg.signature, cancel.order)
    return _answer(call, leg.digest, await call.services.ledger.submit(command))


async def place_bundles(call: Call[NoParameters, PlaceBundlesBody]) -> Reply[BundlesAnswer]:
    """Place bundles with all their legs' signed orders, all or none; the same again gets their present status."""
    asked, views = call.body.bundles, call.services.views
    accounts = {signed.bundle.account for signed in asked} | {leg.order.account for b in asked for leg in b.legs}
    if len(accounts) > 1:
        raise Refusal("bundle_invalid", "Bundles that are placed together, and their legs, are one account's.")
    call.charge(sum(len(signed.legs) for signed in asked) - 1)
    bundles = tuple(signed.bundle.bundle() for signed in asked)
    legs = [leg for signed in asked for leg in await asyncio.gather(*(_signed(call, leg) for leg in signed.legs))]
    for bundle in bundles:
        call.spend(bundle.account)
    result = await call.services.ledger.submit(PlaceBundles(bundles, tuple(legs)))
    found = [views.bundle(bundle.struct_hash()) for bundle in bundles]
    known = [answer for answer in found if answer is not None]
    if isinstance(result, Rejected) and len(known) < len(found):
        raise refusal_of(result)
    return Reply(200 if isinstance(result, Rejected) else 201, {"bundles": known})


async def cancel_order(call: Call[OrderPath, CancelBody]) -> Reply[CancelledOrders]:
    """Cancel one order, or the bundle that has this hash or this leg."""
    if call.body.cancel.order != call.parameters.digest:
        raise Refusal("malformed", "The order in the path is not the order in the signed cancellation.")
    return await _cancel(call)


async def cancel_orders(call: Call[NoParameters, CancelBody]) -> Reply[CancelledOrders]:
    """Cancel all of an account's orders that were received by ``until``."""
    if unhex(call.body.cancel.order) != ZERO_HASH:
        raise Refusal("malformed", "To cancel one order send DELETE to its own path; here `order` is 32 zero bytes.")
    return await _cancel(call)


async def observe_signal(call: Call[NoParameters, SignalBody]) -> Reply[ObservedSignal]:
    """Tell the market a signal that its operator signed; an older one never replaces a newer one."""
    services, message = call.services, call.body.signal.message()
    our_market(services, message.market)
    fresh(services, message.issued_at)
    operator = services.views.market()["operator"]["account"]
    if await services.signatures.of_account(message, unhex(call.body.signature), operator) is None:
        raise bad_signature("signal")
    answer = ObservedSignal(signal=message.signal, delivery_start=message.delivery_start, value=message.value)
    values = message.signal, message.delivery_start, message.value, message.issued_at
    result = await services.ledger.submit(ObserveSignal(*values))
    if not isinstance(result, Rejected):
        return Reply(201, answer)
    if result.code != "signal_outdated":
        raise refusal_of(result)
    return Reply(200, {**answer, "value": int(result.detail)})  # what the market holds


def _command[P, B](call: Call[P, B], signed: SignedOrder, checked: Checked) -> PlaceOrder:
    if checked is None:
        raise bad_signature("order")
    call.spend(signed.order.account)
    return PlaceOrder(signed.order, *checked)


def _asked[P, B](call: Call[P, B], signed: SignedOrder, checked: Checked) -> PlaceOrder | Refusal:
    """Return the command for one order of many: what would end a request of its own is its answer."""
    try:
        return _command(call, signed, checked)
    except Refusal as refusal:
        return refusal


def _outcome[P, B](call: Call[P, B], command: PlaceOrder, result: Committed | Rejected) -> OrderOutcome:
    try:
        reply = _answer(call, command.digest, result)
    except Refusal as refusal:
        return _refused(refusal)
    return {"status": reply.status, "order": reply.body, "refusal": None}


def _refused(refusal: Refusal) -> OrderOutcome:
    return {"status": refusal.status, "order": None, "refusal": {**refusal.envelope()}}


async def _signed[P, B](call: Call[P, B], body: PlaceOrderBody | ReplaceOrderBody) -> SignedLeg:
    order: Order = body.order.message()
    checked = await call.services.signatures.of_account(order, unhex(body.signature), order.account)
    if checked is None:
        raise bad_signature("order")
    return SignedLeg(order, *checked)


def _answer[P, B](call: Call[P, B], digest: bytes, result: Committed | Rejected) -> Reply[PlacedOrder]:
    """Say what became of an order; who sends it again hears of its present status.

    Of a replacement that was sent before, the order to be replaced is what is found closed first.
    """
    placed = call.services.views.placed(digest)
    if isinstance(result, Rejected) and (result.code not in {"duplicate_order", "order_not_open"} or placed is None):
        raise refusal_of(result)
    assert placed is not None
    return Reply(200 if isinstance(result, Rejected) else 201, placed)


async def _cancellation[P, B](call: Call[P, B], wire: CancelWire, signature: str) -> Cancel:
    cancel = wire.message()
    our_market(call.services, cancel.market)
    if await call.services.signatures.of_account(cancel, unhex(signature), cancel.account) is None:
        raise bad_signature("cancellation")
    return cancel


async def _cancel[P](call: Call[P, CancelBody]) -> Reply[CancelledOrders]:
    cancel = await _cancellation(call, call.body.cancel, call.body.signature)
    call.spend(cancel.account)
    result = await call.services.ledger.submit(CancelOrder(cancel.account, cancel.order, cancel.until))
    if isinstance(result, Rejected):
        raise refusal_of(result)
    closed = [event for event in result.events if isinstance(event, OrderClosed)]
    return Reply(200, {"cancelled": ["0x" + event.digest.hex() for event in closed]})
