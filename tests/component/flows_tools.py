"""What the tests of the flows share: looking at a form, and walking on from one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeassistant.data_entry_flow import FlowResult, FlowResultType

from tests.component.rig import EXPORT_METER, IMPORT_METER, LIMITS, LIVE, PRICES, Rig

METERS = {"import_meter": IMPORT_METER, "export_meter": EXPORT_METER, **LIMITS}
SURPLUS = {"policy": "surplus"}


def shows[F: FlowResult[Any, Any]](flow: F, step: str, **errors: str) -> F:
    """Check that a form is shown with exactly these errors."""
    assert flow["type"] is FlowResultType.FORM, flow
    assert flow["step_id"] == step
    assert (flow["errors"] or {}) == errors
    return flow


def ends(flow: FlowResult[Any, Any], reason: str) -> None:
    """Check that a flow ended with this reason."""
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, reason)


def words(flow: FlowResult[Any, Any]) -> Mapping[str, str]:
    """Return what a form's text is filled with."""
    return flow["description_placeholders"] or {}


def suggested(flow: FlowResult[Any, Any]) -> dict[str, Any]:
    """Return what a form proposes, by field."""
    schema = flow["data_schema"]
    assert schema is not None
    fields = {str(key): (key.description or {}).get("suggested_value") for key in schema.schema}
    return {name: value for name, value in fields.items() if value is not None}


def options_of(flow: FlowResult[Any, Any], field: str) -> list[Any]:
    """Return what a form's selector offers."""
    schema = flow["data_schema"]
    assert schema is not None
    selector = next(value for key, value in schema.schema.items() if str(key) == field)
    return list(selector.config["options"])


async def to_policy(rig: Rig, **user_input: Any) -> Any:
    """Walk to the choice of the policy."""
    return shows(await rig.answer(await rig.start_flow(**user_input), METERS), "policy")


async def to_settings(rig: Rig, policy: str) -> Any:
    """Walk to the settings of a policy."""
    return shows(await rig.answer(await to_policy(rig), {"policy": policy}), "settings")


async def finish(rig: Rig, flow: Any) -> Any:
    """Walk from the choice of the policy to the entry."""
    flow = await rig.answer(await rig.answer(flow, SURPLUS), PRICES)
    done = await rig.answer(flow, LIVE)
    assert done["type"] is FlowResultType.CREATE_ENTRY, done
    return done["result"]
