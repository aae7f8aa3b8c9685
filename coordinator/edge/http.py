"""The HTTP application: one wrapper around every handler, limits, errors and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from ..config import HttpConfig
from .call import Call
from .decode import BODY_BYTES_MAX, read_body, read_bytes, read_parameters
from .errors import Refusal
from .limits import RateLimiter, address_of
from .metrics import CONTENT_TYPE
from .openapi import document
from .routes import API, ROUTES, Route, Scope
from .services import Services
from .signatures import Busy
from .stream import Hub, stream_handler

type _Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)
_STATIC = Path(__file__).parent / "static"


def create_application(services: Services, config: HttpConfig, hub: Hub) -> web.Application:
    """Return the application; ``hub.run()`` is the caller's to run."""
    guard = _Guard(services, config)
    application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[guard.middleware])
    for route in ROUTES:
        application.router.add_route(route.method, route.path, guard.wrap(route))
    application.router.add_get(f"{API}/stream", stream_handler(hub, config))
    application.router.add_get(f"{API}/openapi.json", _openapi)
    application.router.add_get("/metrics", _metrics(services))
    application.router.add_get("/", _file(_STATIC / "index.html"))
    for file in sorted(_STATIC.iterdir()):
        application.router.add_get(f"/static/{file.name}", _file(file))
    application.on_response_prepare.append(_headers(config))
    return application


@dataclass(slots=True)
class _Guard:
    """What stands around every handler."""

    services: Services
    config: HttpConfig
    addresses: RateLimiter
    accounts: RateLimiter

    def __init__(self, services: Services, config: HttpConfig) -> None:
        self.services = services
        self.config = config
        self.addresses = RateLimiter(config.address_requests_per_s, config.address_burst)
        self.accounts = RateLimiter(config.account_requests_per_s, config.account_burst)

    def wrap(self, route: Route) -> _Handler:
        """Return the aiohttp handler of a route."""

        async def handle(request: web.Request) -> web.Response:
            session = self._session(request) if route.scope is Scope.SESSION else None
            parameters = read_parameters(request, route.parameters)
            body = await _body(request, route)
            charge = partial(self._charge, address_of(request, self.config))
            reply = await route.handler(Call(self.services, parameters, body, session, self._spend, charge))
            return _json(reply.status, reply.body)

        return handle

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Limit the caller, turn every failure into the one envelope, measure."""
        started_s = _now_s()
        try:
            self._admit(request, started_s)
            response = await handler(request)
        except Refusal as refusal:
            response = self._refused(refusal)
        except Busy:
            response = self._refused(Refusal("busy", "The coordinator has more work than it can check: try again."))
        except web.HTTPException as error:
            response = self._refused(_translated(error))
        except Exception:  # noqa: BLE001 - a fault of ours in one request is logged whole and answered
            _log.exception("request failed", method=request.method, path=request.path)
            response = self._refused(Refusal("internal", "The coordinator failed on this request; it was logged."))
        self.services.metrics.answered(request.method, _route_name(request), response.status, _now_s() - started_s)
        return response

    def _admit(self, request: web.Request, now_s: float) -> None:
        wait_s = self.addresses.take(address_of(request, self.config), now_s)
        if wait_s:
            raise _too_many("address", wait_s)

    def _refused(self, refusal: Refusal) -> web.Response:
        self.services.metrics.refused(refusal.code)
        response = _json(refusal.status, refusal.envelope())
        if refusal.retry_after_s is not None:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _spend(self, account: str) -> None:
        wait_s = self.accounts.take(account, _now_s())
        if wait_s:
            raise _too_many("account", wait_s)

    def _charge(self, address: str, requests: int) -> None:
        wait_s = self.addresses.take(address, _now_s(), requests) if requests else 0
        if wait_s:
            raise _too_many("address", wait_s)

    def _session(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        now = self.services.clock.now()
        account = self.services.sessions.account(token.strip(), now) if scheme.lower() == "bearer" else None
        if account is None:
            raise Refusal("unauthorized", "The session is missing, wrong or expired: open one with POST /sessions.")
        return account


async def _body(request: web.Request, route: Route) -> object:
    """Return what the handler gets as its call's body."""
    if route.reader is not None:
        return route.reader(await read_bytes(request, route.body_bytes_max))
    return None if route.body is None else await read_body(request, route.body, route.body_bytes_max)


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _too_many(what: str, wait_s: int) -> Refusal:
    return Refusal("too_many_requests", f"Too many requests for this {what}: wait, then go on.", retry_after_s=wait_s)


def _translated(error: web.HTTPException) -> Refusal:
    """Give the framework's own refusals our shape."""
    match error:
        case web.HTTPNotFound():
            return Refusal("not_found", f"There is nothing here: see {API}/openapi.json.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Refusal("method_not_allowed", f"Use one of: {allowed}.")
        case web.HTTPRequestEntityTooLarge():
            return Refusal("too_large", "The body is larger than this path takes.")
    return Refusal("malformed" if error.status < 500 else "internal", error.reason)


def _route_name(request: web.Request) -> str:
    """Return the route's pattern, never the caller's text: metrics must stay few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _openapi(_request: web.Request) -> web.Response:
    return _json(200, document())


def _metrics(services: Services) -> _Handler:
    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=services.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    return metrics


def _file(path: Path) -> _Handler:
    async def file(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers={"Cache-Control": "no-cache"})

    return file


def _headers(config: HttpConfig) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the signal that puts the security headers on every answer."""
    policy = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {' '.join(config.frame_ancestors) or "'none'"}",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    fixed = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }

    async def prepare(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(fixed)
        response.headers.setdefault("Cache-Control", "no-store")

    return prepare
