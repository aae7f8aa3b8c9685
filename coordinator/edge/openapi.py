"""OpenAPI 3.1 from the route table; ``docs/api/openapi.json`` is its output, committed."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter

from .. import __version__
from .errors import STATUS, ErrorEnvelope
from .routes import API, ROUTES, Route, Scope

_REFERENCE = "#/components/schemas/{model}"
_COMMON_ERRORS = ("malformed", "too_many_requests")
_BODY_ERRORS = ("too_large", "too_slow", "unsupported_media_type")


@cache
def document() -> dict[str, Any]:
    """Return the whole description as JSON values."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    _reference(ErrorEnvelope, schemas)
    paths |= _plain_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Energy Trade coordinator",
            "version": __version__,
            "description": "Integers only. Energy Wh, power W, price 1e-6 currency per kWh, money 1e-6 currency, "
            "time UTC epoch seconds. Addresses, hashes and signatures are 0x hex.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def document_text() -> str:
    """Return the description as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    if parameters := [*_parameters(route, schemas)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(_reference(route.body, schemas))}
    if route.scope is Scope.SESSION:
        operation["security"] = [{"session": []}]
    operation["responses"] = _responses(route, schemas)
    return operation


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _definitions(route.parameters, schemas)
    found = []
    for name, kind in schema.get("properties", {}).items():
        place = "path" if f"{{{name}}}" in route.path else "query"
        required = name in schema.get("required", ())
        found.append({"name": name, "in": place, "required": required, "schema": kind})
    return found


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = _content(_reference(route.answer, schemas))
    responses = {str(status): {"description": _meaning(status, route), "content": answer} for status in route.statuses}
    for status, codes in sorted(_errors(route).items()):
        text = "Refused: " + ", ".join(codes) + "."
        envelope = _content({"$ref": _REFERENCE.format(model="ErrorEnvelope")})
        responses.setdefault(str(status), {"description": text, "content": envelope})
    return responses


def _errors(route: Route) -> dict[int, list[str]]:
    codes = [*_COMMON_ERRORS, *(_BODY_ERRORS if route.body else ()), *route.errors]
    if route.scope is Scope.SESSION:
        codes.append("unauthorized")
    by_status: dict[int, list[str]] = {}
    for code in sorted(set(codes)):
        by_status.setdefault(STATUS.get(code, 422), []).append(code)
    return by_status


def _meaning(status: int, route: Route) -> str:
    if status == 503:
        return "It cannot do its work now; the body says why."
    if status == 200 and 201 in route.statuses:
        return "It was so already; this is the present state."
    return "Done." if status == 201 else "The answer."


def _reference(kind: type, schemas: dict[str, Any]) -> dict[str, str]:
    """Put the type's schema with all it refers to among the components; return a reference."""
    schemas.setdefault(kind.__name__, {})
    schemas[kind.__name__] = _definitions(kind, schemas)
    return {"$ref": _REFERENCE.format(model=kind.__name__)}


def _definitions(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    if issubclass(kind, BaseModel):
        schema = kind.model_json_schema(ref_template=_REFERENCE)
    else:
        schema = TypeAdapter(kind).json_schema(ref_template=_REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    return schema


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _plain_paths() -> dict[str, Any]:
    """Describe what is not a JSON operation."""
    stream = {
        "operationId": "stream",
        "summary": "WebSocket: a snapshot (or what came after `since`), then events, changed states and heartbeats.",
        "parameters": [{"name": "since", "in": "query", "required": False, "schema": {"type": "integer"}}],
        "responses": {
            "101": {"description": "The stream begins; docs/api/PROTOCOL.md describes its messages."},
            "403": {"description": "Refused: origin_refused."},
            "503": {"description": "Refused: busy."},
        },
    }
    metrics = {
        "operationId": "metrics",
        "summary": "Metrics in Prometheus' text format.",
        "responses": {"200": {"description": "The metrics.", "content": {"text/plain": {}}}},
    }
    return {f"{API}/stream": {"get": stream}, "/metrics": {"get": metrics}}
