"""Handlers of what changes something but orders (``trading``): check who says it, hand it to the ledger, answer.

Every one can be repeated: the same signed message again is answered with what it already did.
"""

from __future__ import annotations

import hmac

from ..market.commands import AdmitMember, RegisterMeter, SignCorrection, Withdraw
from ..market.events import Rejected
from ..protocol.keys import device_id_of
from ..protocol.messages import DeviceReceipt, MeterRegistration, device_text
from .answers import DeviceReceiptAnswer, RegisteredMeter, SessionAnswer, SignedCorrection, WithdrawalAnswer
from .call import Call, Reply
from .checks import bad_signature, fresh, our_market, refusal_of
from .errors import Refusal
from .services import Services
from .wire import (
    CorrectionBody,
    JoinBody,
    JoinWire,
    NoParameters,
    ReadingBody,
    RegistrationBody,
    SessionBody,
    SessionWire,
    WithdrawalBody,
    unhex,
)

_ZERO_ADDRESS = "0x" + "00" * 20


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
        raise refusal_of(result)
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
        raise refusal_of(result)
    return Reply(201, answer)


async def withdraw(call: Call[NoParameters, WithdrawalBody]) -> Reply[WithdrawalAnswer]:
    """Bring a member's signed withdrawal on chain; the same one again is answered with its present status."""
    services, wanted = call.services, call.body.withdrawal.message()
    if wanted.to in {_ZERO_ADDRESS, services.domain.ledger}:
        raise Refusal("recipient_invalid", "The contract sends no money to this address: name the owner's wallet.")
    checked = await services.signatures.of_account(wanted, unhex(call.body.signature), wanted.account)
    if checked is None:
        raise bad_signature("withdrawal")
    call.spend(wanted.account)
    digest, compact = checked
    result = await services.ledger.submit(Withdraw(wanted, digest, compact))
    answer = services.views.withdrawal(wanted.account, digest)
    if isinstance(result, Rejected):
        if result.code != "duplicate_withdrawal" or answer is None:
            raise refusal_of(result)
        return Reply(200, answer)
    assert answer is not None
    return Reply(201, answer)


async def sign_correction(call: Call[NoParameters, CorrectionBody]) -> Reply[SignedCorrection]:
    """Agree to what a correction takes off one's account; signing it again is harmless."""
    services, correction = call.services, call.body.correction.message()
    our_market(services, correction.market)
    checked = await services.signatures.of_account(correction, unhex(call.body.signature), correction.account)
    if checked is None:
        raise bad_signature("correction")
    call.spend(correction.account)
    result = await services.ledger.submit(SignCorrection(correction, checked[1]))
    if isinstance(result, Rejected) and result.code != "already_signed":
        raise refusal_of(result)
    answer = SignedCorrection(delivery_start=correction.delivery_start, revision=correction.revision)
    return Reply(200 if isinstance(result, Rejected) else 201, answer)


async def store_reading(call: Call[NoParameters, ReadingBody]) -> Reply[DeviceReceiptAnswer]:
    """Store a meter's signed reading and answer with a signed receipt once it is durable."""
    services, reading = call.services, call.body.reading.message()
    binding = services.views.binding(reading.device_id)
    if binding is None:
        raise Refusal("unknown_meter", "No meter with this device id is registered here: register it first.")
    signature = unhex(call.body.signature)
    if await services.signatures.of_meter(reading, signature, binding.public_key) is None:
        raise bad_signature("reading")
    call.spend(binding.account)
    installation, now = call.body.installation, services.clock.now()
    with services.leases.storing(reading.device_id, installation, now):
        stored = await services.ledger.store_reading(reading, signature)
        if isinstance(stored, Rejected):
            raise refusal_of(stored)
        services.leases.take(reading.device_id, installation, now)
    if not stored.duplicate:
        services.metrics.reading_stored()
    receipt = DeviceReceipt(reading.device_id, reading.sequence, stored.digest, stored.committed_at)
    seal = services.sign(receipt.digest(services.domain))
    body = {**receipt.to_wire()}
    answer = DeviceReceiptAnswer(receipt=body, signature="0x" + seal.hex())  # type: ignore[typeddict-item]
    return Reply(200 if stored.duplicate else 201, answer)


async def _signed_by_account[P, B: (JoinBody, SessionBody)](call: Call[P, B], wish: JoinWire | SessionWire) -> None:
    """Check market, age and signature of a wish that opens a session."""
    our_market(call.services, wish.market)
    fresh(call.services, wish.issued_at)
    message, signature = wish.message(), unhex(call.body.signature)
    if await call.services.signatures.of_account(message, signature, wish.account) is None:
        raise bad_signature("request")
    call.spend(wish.account)


async def _registration_proof(
    call: Call[NoParameters, RegistrationBody], registration: MeterRegistration
) -> tuple[bytes, bytes]:
    """Return the meter's ``r || s`` and the account's ``r || vs``, both checked."""
    signatures, body = call.services.signatures, call.body
    proof = unhex(body.meter_signature)
    if await signatures.of_meter(registration, proof, registration.public_key) is None:
        raise bad_signature("registration, by the meter,")
    signature = unhex(body.account_signature)
    checked = await signatures.of_account(registration, signature, registration.account)
    if checked is None:
        raise bad_signature("registration, by the account,")
    call.spend(registration.account)
    return proof, checked[1]


def _session(services: Services, account: str) -> SessionAnswer:
    token, expires_at = services.sessions.issue(account, services.clock.now())
    return {"account": account, "token": token, "expires_at": expires_at}
