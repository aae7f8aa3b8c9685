"""The home's way to its coordinator: HTTPS and one WebSocket, over a session that is handed in.

Two kinds of failure: ``CoordinatorUnavailable`` (try again later; what was sent may or may not have
arrived, every call can be repeated) and ``CoordinatorRefused`` (final; code and sentence).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

import aiohttp

from .bundles import Bundle
from .chain_messages import Correction, Withdrawal
from .keys import AccountKey, MeterKey, verify_account
from .membership import Join, SessionRequest
from .messages import (
    Cancel,
    DeviceReceipt,
    MeterRegistration,
    Order,
    Reading,
    device_text,
)
from .signals import SignalMessage
from .typed_data import Domain
from .wire import read_bytes, read_int64, read_mapping, read_objects, read_text

ANSWER_BYTES_MAX = 4 * 1024 * 1024
STREAM_SILENCE_S_MAX = 35.0
RETRY_AFTER_S_MAX = 3_600
"""Nobody is made to stay away for longer, whatever an answer says."""
_FEES = ("community_micro_per_kwh", "community_share_ppm")
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class CoordinatorError(Exception):
    """A call to the coordinator failed."""


class CoordinatorUnavailable(CoordinatorError):
    """No usable answer: repeat later, ``retry_after_s`` when the coordinator named a time."""

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        """Keep the sentence and the wished pause."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CoordinatorRefused(CoordinatorError):
    """The coordinator refused: a stable code, a sentence that says what to do, a detail."""

    def __init__(self, status: int, code: str, message: str, detail: str = "") -> None:
        """Keep what the error envelope said."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class MarketInfo:
    """The market's public rules, as a home needs them.

    Bundles trade in sessions, held each ``session_every_s`` (0: never). On top of the price a buyer pays
    ``community_micro_per_kwh`` and the price's ``community_share_ppm``. ``signals`` is what the operator last told of
    the grid (``signal``, ``delivery_start``, ``value``). A coordinator that names none has none.
    """

    market: str
    name: str
    currency: str
    version: str
    state: str
    time: int
    interval_s: int
    gate_s: int
    horizon_s: int
    price_min_micro_per_kwh: int
    price_max_micro_per_kwh: int
    supplier_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    order_energy_max_wh: int
    domain: Domain
    operator_account: str
    operator_public_key: bytes
    session_every_s: int = 0
    community_micro_per_kwh: int = 0
    community_share_ppm: int = 0
    signals: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> MarketInfo:
        """Read the answer of ``GET /market``; raise ``ValueError`` naming the field."""
        band, tariff = read_mapping(wire, "price_band"), read_mapping(wire, "tariff")
        chain, operator = read_mapping(wire, "chain"), read_mapping(wire, "operator")
        stages = read_mapping(wire, "stages") if "stages" in wire else {"session_every_s": 0}
        fees = read_mapping(wire, "fees") if "fees" in wire else dict.fromkeys(_FEES, 0)
        return cls(
            market=read_text(wire, "market"),
            name=read_text(wire, "name"),
            currency=read_text(wire, "currency"),
            version=read_text(wire, "version"),
            state=read_text(wire, "state"),
            time=read_int64(wire, "time"),
            interval_s=read_int64(wire, "interval_s"),
            gate_s=read_int64(wire, "gate_s"),
            horizon_s=read_int64(wire, "horizon_s"),
            price_min_micro_per_kwh=read_int64(band, "min_micro_per_kwh"),
            price_max_micro_per_kwh=read_int64(band, "max_micro_per_kwh"),
            supplier_micro_per_kwh=read_int64(tariff, "supplier_micro_per_kwh"),
            feed_in_micro_per_kwh=read_int64(tariff, "feed_in_micro_per_kwh"),
            order_energy_max_wh=read_int64(read_mapping(wire, "order_limits"), "energy_max_wh"),
            domain=Domain(read_int64(chain, "chain_id"), read_text(chain, "ledger").lower()),
            operator_account=read_text(operator, "account").lower(),
            operator_public_key=read_bytes(operator, "public_key", 64),
            session_every_s=read_int64(stages, "session_every_s"),
            **{name: read_int64(fees, name) for name in _FEES},
            signals=tuple(read_objects(wire, "signals")) if "signals" in wire else (),
        )


class CoordinatorClient:
    """Calls of one home (or of a reader without keys) to one coordinator."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, timeout_s: float = 10.0, installation: str = ""
    ) -> None:
        """Use ``session`` (which stays the caller's) for the coordinator at ``url``.

        ``installation`` (lower-case hexadecimal, at most 64) tells systems apart that have the same keys.
        """
        self.installation = installation
        self._session = session
        self._base = url.rstrip("/") + "/api/v1"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._token: str | None = None

    async def market(self) -> MarketInfo:
        """Return the market's rules."""
        wire = await self._call("GET", "/market")
        try:
            return MarketInfo.from_wire(wire)
        except ValueError as error:
            raise CoordinatorUnavailable(f"the market's description is unusable: {error}") from error

    async def join(self, join: Join, key: AccountKey, domain: Domain) -> None:
        """Join the market; joining again is harmless and opens a new session."""
        body = {
            "join": join.to_wire(),
            "signature": _hex(key.sign(join.digest(domain))),
        }
        self._token = _token(await self._call("POST", "/members", body))

    async def open_session(self, request: SessionRequest, key: AccountKey, domain: Domain) -> None:
        """Get the right to read what is the account's own."""
        body = {
            "session": request.to_wire(),
            "signature": _hex(key.sign(request.digest(domain))),
        }
        self._token = _token(await self._call("POST", "/sessions", body))

    async def register_meter(
        self,
        registration: MeterRegistration,
        meter: MeterKey,
        key: AccountKey,
        domain: Domain,
    ) -> None:
        """Bind the meter to the account, signed by both; repeating it is harmless."""
        digest = registration.digest(domain)
        body = {
            "registration": registration.to_wire(),
            "meter_signature": _hex(meter.sign(digest)),
            "account_signature": _hex(key.sign(digest)),
        }
        await self._call("POST", "/meters", body)

    async def place_order(self, order: Order, signature: bytes) -> dict[str, Any]:
        """Place a signed order and return its status; placing it again returns its present one."""
        return await self._call("POST", "/orders", _signed_order(order, signature))

    async def place_orders(self, orders: Sequence[SignedOrder]) -> list[dict[str, Any]]:
        """Place up to 1,000 signed orders, each for itself; return each one's status, order and refusal."""
        body = {"orders": [_signed_order(*signed) for signed in orders]}
        return _listed(await self._call("POST", "/orders/batch", body), "orders")

    async def replace_order(
        self, order: Order, signature: bytes, cancel: Cancel, cancel_signature: bytes
    ) -> dict[str, Any]:
        """Place a signed order instead of the open one that ``cancel`` names; return its status.

        It keeps its place in the queue when only its energy is less than what was open, else it enters anew.
        """
        body = {
            **_signed_order(order, signature),
            "cancel": cancel.to_wire(),
            "cancel_signature": _hex(cancel_signature),
        }
        return await self._call("PUT", f"/orders/{_hex(cancel.order)}", body)

    async def place_bundles(self, bundles: Sequence[Bundle], legs: Sequence[SignedOrder]) -> dict[str, Any]:
        """Place bundles with the signed orders of all their legs, in that order, all or none; return their status."""
        left = iter(legs)
        signed = [
            {
                "bundle": bundle.to_wire(),
                "legs": [_signed_order(*leg) for leg in islice(left, len(bundle.legs))],
            }
            for bundle in bundles
        ]
        return await self._call("POST", "/bundles", {"bundles": signed})

    async def cancel(self, cancel: Cancel, signature: bytes) -> dict[str, Any]:
        """Cancel one order or bundle, or all orders (``cancel.order`` zero); return the digests cancelled."""
        path = f"/orders/{_hex(cancel.order)}" if any(cancel.order) else "/orders"
        body = {"cancel": cancel.to_wire(), "signature": _hex(signature)}
        return await self._call("DELETE", path, body)

    async def withdraw(self, withdrawal: Withdrawal, signature: bytes) -> dict[str, Any]:
        """Have a signed withdrawal brought on chain; return its status, sent again its present one.

        ``withdrawal.nonce`` is the account's ``withdrawal_nonce``; ``status`` is ``open`` until the chain has decided.
        """
        body = {"withdrawal": withdrawal.to_wire(), "signature": _hex(signature)}
        return await self._call("POST", "/withdrawals", body)

    async def send_signal(self, message: SignalMessage, key: AccountKey, domain: Domain) -> dict[str, Any]:
        """Tell the market a value of the grid or of a forecast; ``key`` is its operator's."""
        body = {"signal": message.to_wire(), "signature": _hex(key.sign(message.digest(domain)))}
        return await self._call("POST", "/signals", body)

    async def submit_reading(self, reading: Reading, signature: bytes, info: MarketInfo) -> DeviceReceipt:
        """Send a signed reading; return the coordinator's receipt, checked against its key.

        Raises ``CoordinatorUnavailable`` when the receipt is not for this reading or not signed by
        the market's operator: the reading must then stay in the outbox.
        """
        body = {"reading": reading.to_wire(), "signature": _hex(signature)}
        if self.installation:
            body["installation"] = self.installation
        answer = await self._call("POST", "/readings", body)
        try:
            receipt = DeviceReceipt.from_wire(read_mapping(answer, "receipt"))
            sealed = read_bytes(answer, "signature", 64)
        except ValueError as error:
            raise CoordinatorUnavailable(f"the receipt is unusable: {error}") from error
        digest = reading.digest(info.domain)
        ours = (reading.device_id, reading.sequence, digest)
        if (receipt.device_id, receipt.sequence, receipt.reading) != ours:
            raise CoordinatorUnavailable("the receipt is for another reading")
        if not verify_account(receipt.digest(info.domain), sealed, info.operator_public_key):
            raise CoordinatorUnavailable("the receipt is not signed by the market's operator")
        return receipt

    async def meter(self, device_id: int) -> dict[str, Any]:
        """Return what the coordinator knows of the meter (needs a session)."""
        return await self._call("GET", f"/meters/{device_text(device_id)}")

    async def account(self, address: str) -> dict[str, Any]:
        """Return the account's balances and totals."""
        return await self._call("GET", f"/accounts/{address}")

    async def accounts(self) -> list[dict[str, Any]]:
        """Return all accounts of the market."""
        return _listed(await self._call("GET", "/accounts"), "accounts")

    async def orders(self, address: str, limit: int = 100) -> list[dict[str, Any]]:
        """Return the account's newest orders with their status (needs a session)."""
        answer = await self._call("GET", f"/accounts/{address}/orders?limit={limit}")
        return _listed(answer, "orders")

    async def order(self, digest: bytes) -> dict[str, Any]:
        """Return one of the account's orders with its status (needs a session)."""
        return await self._call("GET", f"/orders/{_hex(digest)}")

    async def bundle(self, struct_hash: bytes) -> dict[str, Any]:
        """Return one of the account's bundles with its status and its legs' (needs a session)."""
        return await self._call("GET", f"/bundles/{_hex(struct_hash)}")

    async def book(self, delivery_start: int, node: str | None = None) -> dict[str, Any]:
        """Return the order book of one delivery interval, at one node or at all together."""
        at = "" if node is None else f"?node={quote(node, safe='')}"
        return await self._call("GET", f"/book/{delivery_start}{at}")

    async def auctions(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the newest auctions, closing auctions and sessions, newest first."""
        return _listed(await self._call("GET", f"/auctions?limit={limit}"), "auctions")

    async def auction(self, delivery_start: int) -> dict[str, Any]:
        """Return the closing auction of one delivery interval with its certificate."""
        return await self._call("GET", f"/auctions/{delivery_start}")

    async def session_auction(self, session_at: int) -> dict[str, Any]:
        """Return one session auction with its certificate."""
        return await self._call("GET", f"/session-auctions/{session_at}")

    async def intervals(self, since: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return delivery intervals from ``since`` on."""
        return _listed(await self._call("GET", f"/intervals?since={since}&limit={limit}"), "intervals")

    async def receipts(self, address: str, since: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the account's settlement receipts in short (needs a session)."""
        answer = await self._call("GET", f"/receipts/{address}?since={since}&limit={limit}")
        return _listed(answer, "receipts")

    async def receipt(self, address: str, delivery_start: int) -> dict[str, Any]:
        """Return one settlement receipt with its proof (needs a session)."""
        return await self._call("GET", f"/receipts/{address}/{delivery_start}")

    async def corrections(self, address: str) -> list[dict[str, Any]]:
        """Return corrections of the account's settled intervals (needs a session)."""
        return _listed(await self._call("GET", f"/corrections/{address}"), "corrections")

    async def sign_correction(self, correction: Correction, signature: bytes) -> dict[str, Any]:
        """Agree to what a correction takes off the account; agreeing again is harmless."""
        body = {"correction": correction.to_wire(), "signature": _hex(signature)}
        return await self._call("POST", "/corrections", body)

    async def stream(self, since: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield the stream's messages: a snapshot (or what came after ``since``), then events.

        Ends with ``CoordinatorUnavailable`` when the connection closes, stays silent for longer
        than three heartbeats, or sends what is not a message.
        """
        path = "/stream" if since is None else f"/stream?since={since}"
        try:
            async with self._session.ws_connect(
                self._base + path,
                max_msg_size=ANSWER_BYTES_MAX,
                timeout=_STREAM_TIMEOUT,
            ) as socket:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    yield _object(message.data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CoordinatorUnavailable(f"the stream broke: {_said(error)}") from error
        raise CoordinatorUnavailable("the stream was closed")

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with self._session.request(
                method,
                self._base + path,
                json=body,
                headers=headers,
                timeout=self._timeout,
            ) as response:
                text = await _bounded_text(response)
                if response.status < 400:
                    return _object(text)
                raise _failure(response, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise CoordinatorUnavailable(f"no answer from {self._base}: {_said(error)}") from error


type SignedOrder = tuple[Order, bytes]

_STREAM_TIMEOUT = aiohttp.ClientWSTimeout(ws_receive=STREAM_SILENCE_S_MAX, ws_close=5.0)


def _said(error: Exception) -> str:
    """Return what a failed connection says of itself, else what it is called: a person reads it."""
    return str(error) or type(error).__name__


async def _bounded_text(response: aiohttp.ClientResponse) -> str:
    data = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            raise CoordinatorUnavailable("the answer is larger than 4 MiB")
    return data.decode(errors="replace")


def _failure(response: aiohttp.ClientResponse, text: str) -> CoordinatorError:
    """Turn an error answer into the kind of failure that it is."""
    try:
        envelope = _object(text)
        code, message = read_text(envelope, "code"), read_text(envelope, "message")
    except ValueError, CoordinatorUnavailable:
        return CoordinatorUnavailable(f"HTTP {response.status} without an error envelope")
    if response.status in _TRANSIENT_STATUS:
        pause = response.headers.get("Retry-After", "")
        known = pause.isdecimal() and len(pause) < 10  # more than three decades is no pause
        return CoordinatorUnavailable(f"{code}: {message}", min(int(pause), RETRY_AFTER_S_MAX) if known else None)
    return CoordinatorRefused(response.status, code, message, str(envelope.get("detail", "")))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise CoordinatorUnavailable("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise CoordinatorUnavailable("the answer is not a JSON object")
    return value


def _listed(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of an answer's list."""
    try:
        return [dict(item) for item in read_objects(answer, name)]
    except ValueError as error:
        raise CoordinatorUnavailable(f"the answer is unusable: {error}") from error


def _token(answer: Mapping[str, Any]) -> str:
    try:
        return read_text(answer, "token")
    except ValueError as error:
        raise CoordinatorUnavailable(f"the answer is unusable: {error}") from error


def _signed_order(order: Order, signature: bytes) -> dict[str, Any]:
    return {"order": order.to_wire(), "signature": _hex(signature)}


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
