"""Every form and fault of the flows has words, in the file and not only in somebody's head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from custom_components.energy_trade.const import SUBENTRIES
from custom_components.energy_trade.flows import device_forms, options_forms
from custom_components.energy_trade.flows import forms as flow_forms
from custom_components.energy_trade.flows.options_flow import MENU
from tests.component.outlook_bench import INFO
from tests.component.test_files import ENGLISH, FOLDER

CONFIG, OPTIONS = ENGLISH["config"], ENGLISH["options"]
FORMS: dict[str, Any] = {
    "user": flow_forms.USER,
    "discovery_confirm": flow_forms.DISCOVERED,
    "meter": flow_forms.METER,
    "devices": flow_forms.devices([]),
    "preview": flow_forms.SHADOW_FORM,
    "no_preview": flow_forms.SHADOW_FORM,
    "reauth_confirm": flow_forms.REAUTH,
    "reconfigure": flow_forms.RECONFIGURE,
}
SOURCES = (
    "config_flow",
    "flows/joining",
    "flows/forms",
    "flows/policy_steps",
    "flows/policy_forms",
    "flows/options_flow",
    "flows/options_forms",
)


def has_words(step: Mapping[str, Any], fields: set[str]) -> None:
    assert step["title"]
    assert step["description"]
    assert set(step.get("data", {})) == set(step.get("data_description", {})) == fields


@pytest.mark.parametrize("step", FORMS)
def test_every_field_of_joining_has_words(step: str) -> None:
    has_words(CONFIG["step"][step], {str(key) for key in FORMS[step].schema})


def test_no_step_has_words_and_no_form() -> None:
    assert set(CONFIG["step"]) == {*FORMS, "policy", "settings"}
    confirmed = {"preview", "no_preview", "energy_dashboard", "energy_dashboard_undo"}
    assert set(OPTIONS["step"]) == {"init", "settings", *MENU, *confirmed}


@pytest.mark.parametrize(
    ("step", "form"),
    [
        ("bounds", options_forms.bounds(INFO)),
        ("verification", options_forms.VERIFICATION),
        ("account", options_forms.account("0x")),
        ("preview", options_forms.CONFIRM),
        ("no_preview", options_forms.CONFIRM),
        ("energy_dashboard", options_forms.CONFIRM),
        ("energy_dashboard_undo", options_forms.CONFIRM),
    ],
)
def test_every_field_of_the_options_has_words(step: str, form: Any) -> None:
    has_words(OPTIONS["step"][step], {str(key) for key in form.schema})


def test_every_point_of_the_menu_has_words() -> None:
    assert set(OPTIONS["step"]["init"]["menu_options"]) == set(MENU)
    sources = {"supplier_price", "feed_in_price", "holiday_calendar", "grid_event_calendar"}
    has_words(OPTIONS["step"]["sources"], sources)


@pytest.mark.parametrize("kind", SUBENTRIES)
def test_every_field_of_a_device_has_words(kind: str) -> None:
    words = ENGLISH["config_subentries"][kind]
    assert words["entry_type"]
    assert set(words["initiate_flow"]) == set(words["step"]) == {"user", "reconfigure"}
    fields = {"name", *(asked.name for asked in device_forms.FIELDS[kind])}
    for step in words["step"].values():
        has_words(step, fields)


def test_every_fault_that_the_flows_name_has_words() -> None:
    """Faults are named as ``{field: "code"}``; those of policies' settings are tested with the policies."""
    text = "".join((FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in SOURCES)
    named = set(re.findall(r'{(?:"base"|CONF_[A-Z_]+|place|field|field\.key|key): "([a-z_]+)"', text))
    named |= set(re.findall(r'errors\[_[A-Z]+\] = "([a-z_]+)"', text))
    assert len(named) > 20
    assert named <= {*CONFIG["error"], *OPTIONS["error"]}
    for root in (CONFIG, OPTIONS):
        reasons = set(re.findall(r'async_abort\(reason="([a-z_]+)"', flow_text("config_flow", "flows/options_flow")))
        assert reasons <= {*CONFIG["abort"], *OPTIONS["abort"]}, root
    devices = flow_text("flows/device_forms", "flows/device_flows")
    faults = set(re.findall(r': "([a-z_]+)"}', devices)) | {
        "entity_missing",
        "entity_unit",
        "window_half",
        "window_empty",
    }
    told = {code for kind in SUBENTRIES for code in ENGLISH["config_subentries"][kind]["error"]}
    assert faults == told


def flow_text(*names: str) -> str:
    return "".join(Path(FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in names)
