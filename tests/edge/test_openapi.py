"""The API's description: fresh, complete, and true to the rooms' codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from coordinator.edge.errors import STATUS, Refusal
from coordinator.edge.openapi import document, document_text
from coordinator.edge.routes import API, ROUTES, Scope
from coordinator.market.rejections import Code
from tests.edge.support import Door

COMMITTED = Path(__file__).parents[2] / "docs" / "api" / "openapi.json"
OPERATORS_OWN = {"already_member", "already_settled", "already_suspended", "duplicate_credit", "duplicate_meter"} | {
    "duplicate_order",
    "duplicate_withdrawal",
    "already_signed",
    "condition_not_met",
    "duplicate_bundle",
    "gate_open",
    "not_halted",
    "not_settleable",
    "nothing_due",
    "order_not_dormant",
    "session_not_due",
}
"""Codes of the coordinator's own commands, and repeats, which are answered as successes."""


def test_the_committed_description_is_fresh() -> None:
    # write it again with: energy-trade openapi > docs/api/openapi.json
    assert COMMITTED.read_text(encoding="utf-8") == document_text()


async def test_the_server_tells_the_same(door: Door) -> None:
    async with door.client.get(f"{API}/openapi.json") as response:
        assert await response.json() == document()


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert names <= set(document()["components"]["schemas"])
    assert all(document()["components"]["schemas"].values())


def test_every_route_is_described_with_its_answers_and_refusals() -> None:
    for route in ROUTES:
        operation = document()["paths"][route.path][route.method.lower()]
        assert operation["summary"].endswith(".")
        assert {str(status) for status in route.statuses} <= set(operation["responses"])
        assert ("security" in operation) == (route.scope is Scope.SESSION)
        described = json.dumps(operation["responses"])
        assert all(code in described for code in route.errors)
        assert {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"} == set(
            re.findall(r"{(\w+)}", route.path)
        )


def test_operation_ids_are_unique() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)


def test_every_refusal_of_the_market_is_documented() -> None:
    documented = {code for route in ROUTES for code in route.errors}
    answered = {"signal_outdated"}  # with 200 and the value that the market holds
    assert {code.value for code in Code} - documented == OPERATORS_OWN | answered


def test_integers_only() -> None:
    assert "number" not in _types(document()["components"]["schemas"])


def test_requests_refuse_unknown_fields() -> None:
    for route in ROUTES:
        if route.body is not None:
            assert document()["components"]["schemas"][route.body.__name__]["additionalProperties"] is False


def test_an_unlisted_code_is_a_refusal_by_rule() -> None:
    assert Refusal("price_out_of_band", "x").status == 422
    assert all(400 <= status < 600 for status in STATUS.values())


def _types(value: Any) -> set[str]:
    match value:
        case {"type": str(kind), **rest}:
            return {kind} | _types(rest)
        case dict():
            return set().union(*map(_types, value.values()))
        case list():
            return set().union(*map(_types, value))
    return set()
