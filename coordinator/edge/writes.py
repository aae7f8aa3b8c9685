"""Handlers of what changes something: check who says it, hand it to the ledger, answer.

Every one can be repeated: the same signed message again is answered with what it already did.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from ..market.commands import AdmitMember, CancelOrder, PlaceOrder, RegisterMeter, Withdraw
from ..market.events import CloseReason, Event, OrderClosed, Rejected, Traded
from ..protocol.keys import device_id_of
from ..protocol.messages import ZERO_HASH, DeviceReceipt, MeterRegistration, Order, device_text
from .answers import (
    CancelledOrders,
    DeviceReceiptAnswer,
    Fill,
    PlacedOrder,
    RegisteredMeter,
    SessionAnswer,
    WithdrawalAnswer,
)
from .auth import REQUEST_AGE_S_MAX
from .call import Call, Reply
from .errors import Refusal
from .services import Services
from .wire import (
    CancelBody,
    JoinBody,
    JoinWire,
    NoParameters,
    OrderPath,
    PlaceOrderBody,
    ReadingBody,
    RegistrationBody,
    SessionBody,
    SessionWire,
    WithdrawalBody,
    unhex,
)

_ZERO_ADDRESS = "0x" + "00" * 20
_STATUS_OF_REASON = {
    CloseReason.FILLED: "filled",
    CloseReason.CANCELLED: "cancelled",
    CloseReason.SELF_TRADE: "closed",
    CloseReason.IMMEDIATE: "closed",
    CloseReason.EXPIRED: "expired",
    CloseReason.GATE_CLOSED: "closed",
    CloseReason.HALTED: "closed",
}


async def join(call: Call[NoParameters, JoinBody]) -> Reply[SessionAnswer]:
    """Admit a member with the operator's invite; who is one already gets a fresh token."""
    services, wish = call.services, call.body.join
    await _signed_by_account(call, wish)
    if services.views.is_member(wish.account):
        return Reply(200, _session(services, wish.account))
    if not hmac.compare_digest(wish.invite.encode(), services.invite.encode()):
        raise Refusal("invite_wrong", "The invite is not this market's: ask its operator for the present one.")
    result = await services.ledger.submit(AdmitMember(wish.account, wish.name))
    if isinstance(result, Rejected) and result.code != "already_member":
        raise _refusal(result)
    return Reply(201, _session(services, wish.account))


async def open_session(call: Call[NoParameters, SessionBody]) -> Reply[SessionAnswer]:
    """Give a member a token to read what is its own."""
    account = call.body.session.account
    await _signed_by_account(call, call.body.session)
    if not call.services.views.is_member(account):
        raise Refusal("not_a_member", "The account is no member of this market: join it first.")
    return Reply(201, _session(call.services, account))


async def register_meter(call: Call[NoParameters, RegistrationBody]) -> Reply[RegisteredMeter]:
    """Bind a meter's key to an account; the meter and the account both sign."""
    body, services = call.body, call.services
    registration = body.registration.message()
    if device_id_of(registration.public_key) != registration.device_id:
        raise Refusal("wrong_device_id", "The device id is not the Keccak-256 of the public key x || y.")
    proof, compact = await _registration_proof(call, registration)
    answer = RegisteredMeter(device_id=device_text(registration.device_id))
    result = await services.ledger.submit(
        RegisterMeter(
            device_id=registration.device_id,
            account=registration.account,
            public_key=registration.public_key,
            import_limit_w=registration.import_limit_w,
            export_limit_w=registration.export_limit_w,
            meter_signature=proof,
            account_signature=compact,
        )
    )
    if isinstance(result, Rejected):
        if result.code == "duplicate_meter":
            return Reply(200, answer)
        raise _refusal(result)
    return Reply(201, answer)


async def place_order(call: Call[NoParameters, PlaceOrderBody]) -> Reply[PlacedOrder]:
    """Place a signed order; the same order again is answered with its present status."""
    order = call.body.order.message()
    checked = await call.services.signatures.of_account(order, unhex(call.body.signature), order.account)
    if checked is None:
        raise _bad_signature("order")
    call.spend(order.account)
    digest, compact = checked
    result = await call.services.ledger.submit(PlaceOrder(order, digest, compact))
    if not isinstance(result, Rejected):
        return Reply(201, _placed(order, digest, result.events))
    placed = await call.services.views.placed(digest) if result.code == "duplicate_order" else None
    if placed is None:
        raise _refusal(result)
    return Reply(200, placed)


async def withdraw(call: Call[NoParameters, WithdrawalBody]) -> Reply[WithdrawalAnswer]:
    """Bring a member's signed withdrawal on chain; the same one again is answered with its present status."""
    services, wanted = call.services, call.body.withdrawal.message()
    if wanted.to in {_ZERO_ADDRESS, services.domain.ledger}:
        raise Refusal("recipient_invalid", "The contract sends no money to this address: name the owner's wallet.")
    checked = await services.signatures.of_account(wanted, unhex(call.body.signature), wanted.account)
    if checked is None:
        raise _bad_signature("withdrawal")
    call.spend(wanted.account)
    digest, compact = checked
    result = await services.ledger.submit(Withdraw(wanted, digest, compact))
    answer = services.views.withdrawal(wanted.account, digest)
    if isinstance(result, Rejected):
        if result.code != "duplicate_withdrawal" or answer is None:
            raise _refusal(result)
        return Reply(200, answer)
    assert answer is not None
    return Reply(201, answer)


async def cancel_order(call: Call[OrderPath, CancelBody]) -> Reply[CancelledOrders]:
    """Cancel one order."""
    if call.body.cancel.order != call.parameters.digest:
        raise Refusal("malformed", "The order in the path is not the order in the signed cancellation.")
    return await _cancel(call)


async def cancel_orders(call: Call[NoParameters, CancelBody]) -> Reply[CancelledOrders]:
    """Cancel all of an account's orders that were received by ``until``."""
    if unhex(call.body.cancel.order) != ZERO_HASH:
        raise Refusal("malformed", "To cancel one order send DELETE to its own path; here `order` is 32 zero bytes.")
    return await _cancel(call)


async def store_reading(call: Call[NoParameters, ReadingBody]) -> Reply[DeviceReceiptAnswer]:
    """Store a meter's signed reading and answer with a signed receipt once it is durable."""
    services, reading = call.services, call.body.reading.message()
    binding = services.views.binding(reading.device_id)
    if binding is None:
        raise Refusal("unknown_meter", "No meter with this device id is registered here: register it first.")
    signature = unhex(call.body.signature)
    if await services.signatures.of_meter(reading, signature, binding.public_key) is None:
        raise _bad_signature("reading")
    call.spend(binding.account)
    stored = await services.ledger.store_reading(reading, signature)
    if isinstance(stored, Rejected):
        raise _refusal(stored)
    if not stored.duplicate:
        services.metrics.reading_stored()
    receipt = DeviceReceipt(reading.device_id, reading.sequence, stored.digest, stored.committed_at)
    seal = services.sign(receipt.digest(services.domain))
    body = {**receipt.to_wire()}
    answer = DeviceReceiptAnswer(receipt=body, signature="0x" + seal.hex())  # type: ignore[typeddict-item]
    return Reply(200 if stored.duplicate else 201, answer)


async def _cancel[P](call: Call[P, CancelBody]) -> Reply[CancelledOrders]:
    cancel = call.body.cancel.message()
    _our_market(call.services, cancel.market)
    checked = await call.services.signatures.of_account(cancel, unhex(call.body.signature), cancel.account)
    if checked is None:
        raise _bad_signature("cancellation")
    call.spend(cancel.account)
    result = await call.services.ledger.submit(CancelOrder(cancel.account, cancel.order, cancel.until))
    if isinstance(result, Rejected):
        raise _refusal(result)
    closed = [event for event in result.events if isinstance(event, OrderClosed)]
    return Reply(200, {"cancelled": ["0x" + event.digest.hex() for event in closed]})


async def _signed_by_account[P, B: (JoinBody, SessionBody)](call: Call[P, B], wish: JoinWire | SessionWire) -> None:
    """Check market, age and signature of a wish that opens a session."""
    _our_market(call.services, wish.market)
    now = call.services.clock.now()
    if abs(now - wish.issued_at) > REQUEST_AGE_S_MAX:
        sentence = f"The request was not issued within {REQUEST_AGE_S_MAX} s of now: set the clock and sign again."
        raise Refusal("stale_request", sentence, f"the coordinator's time is {now}")
    message, signature = wish.message(), unhex(call.body.signature)
    if await call.services.signatures.of_account(message, signature, wish.account) is None:
        raise _bad_signature("request")
    call.spend(wish.account)


async def _registration_proof(
    call: Call[NoParameters, RegistrationBody], registration: MeterRegistration
) -> tuple[bytes, bytes]:
    """Return the meter's ``r || s`` and the account's ``r || vs``, both checked."""
    signatures, body = call.services.signatures, call.body
    proof = unhex(body.meter_signature)
    if await signatures.of_meter(registration, proof, registration.public_key) is None:
        raise _bad_signature("registration, by the meter,")
    signature = unhex(body.account_signature)
    checked = await signatures.of_account(registration, signature, registration.account)
    if checked is None:
        raise _bad_signature("registration, by the account,")
    call.spend(registration.account)
    return proof, checked[1]


def _our_market(services: Services, market: str) -> None:
    if market != services.market:
        raise Refusal("wrong_market", f"This is the market {services.market!r}: sign for that one.")


def _session(services: Services, account: str) -> SessionAnswer:
    token, expires_at = services.sessions.issue(account, services.clock.now())
    return {"account": account, "token": token, "expires_at": expires_at}


def _placed(order: Order, digest: bytes, events: Sequence[Event]) -> PlacedOrder:
    """Say what became of an order at once, from the events of its command."""
    trades = [event for event in events if isinstance(event, Traded) and digest in {event.buy, event.sell}]
    filled_wh = sum(trade.energy_wh for trade in trades)
    status = "partly_filled" if filled_wh else "resting"
    for event in events:
        if isinstance(event, OrderClosed) and event.digest == digest:
            status = _STATUS_OF_REASON[event.reason]
    fills = [
        Fill(trade_id=t.trade_id, energy_wh=t.energy_wh, price_micro_per_kwh=t.price_micro_per_kwh) for t in trades
    ]
    return {
        "order": "0x" + digest.hex(),
        "status": status,
        "filled_wh": filled_wh,
        "remaining_wh": order.energy_wh - filled_wh,
        "trades": fills,
    }


def _refusal(rejected: Rejected) -> Refusal:
    """Write what a room below decided as a whole sentence."""
    text = rejected.message[:1].upper() + rejected.message[1:]
    return Refusal(rejected.code, text if text.endswith((".", "?", "!")) else text + ".", rejected.detail)


def _bad_signature(what: str) -> Refusal:
    sentence = f"The signature over the {what} does not fit the key that is claimed or registered."
    return Refusal("bad_signature", sentence, "check market, chain id and ledger address in GET /api/v1/market")
